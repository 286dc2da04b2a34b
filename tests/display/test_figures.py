"""Figures, image grids and tables: what is stored, how large, and what is refused."""

import base64
import io
import re
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from genai_utils.display import figures, pictures


@pytest.fixture(autouse=True)
def look():
    with plt.rc_context():
        figures.style()
        yield
        plt.close("all")


def line():
    fig, ax = plt.subplots()
    ax.plot([0, 1, 4, 9])
    return fig


def picture(html):
    """The first image of an output."""
    data = re.search(r'src="data:image/\w+;base64,([^"]+)"', html).group(1)
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_a_figure_has_alt_text_name_caption_and_its_size():
    bundle = figures.figure_bundle(line(), 'A "rising" line.', "Squares < cubes.", name="rise")
    assert set(bundle.data) == {"text/html", "text/plain"}
    assert bundle.data["text/plain"] == 'A "rising" line.'
    assert 'data-figure="rise"' in bundle.html
    assert 'alt="A &quot;rising&quot; line."' in bundle.html
    assert "<figcaption>Squares &lt; cubes.</figcaption>" in bundle.html
    width, height = map(int, re.search(r'width="(\d+)" height="(\d+)"', bundle.html).groups())
    image = picture(bundle.html)
    assert (round(image.width * 96 / 144), round(image.height * 96 / 144)) == (width, height)
    assert image.getpixel((0, 0)) == (255, 255, 255)  # a white card in dark mode too


def test_show_closes_the_figure_and_displays_once(monkeypatch):
    shown = []
    monkeypatch.setattr("genai_utils.display.output.display", lambda data, raw: shown.append(data))
    monkeypatch.setattr("genai_utils.display.output.get_ipython", object)
    fig = line()
    assert figures.show(fig, "A line.") is None
    assert len(shown) == 1 and not plt.fignum_exists(fig.number)


def test_outside_ipython_the_plain_text_is_printed(capsys):
    figures.show(line(), "A line.", caption="It rises.")
    assert capsys.readouterr().out == "A line.\n"


def test_ipython_in_a_terminal_that_is_no_utf_8_gets_plain_signs(monkeypatch):
    shown = []
    monkeypatch.setattr("genai_utils.display.output.display", lambda data, raw: shown.append(data))
    monkeypatch.setattr("genai_utils.display.output.get_ipython", object)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    figures.show(line(), "Loss → 0.")
    assert shown[0]["text/plain"] == "Loss -> 0." and "Loss → 0." in shown[0]["text/html"]


@pytest.mark.parametrize(
    ("alt", "error"), [("", ValueError), ("  ", ValueError), (None, TypeError), (3, TypeError)]
)
def test_alt_text_is_required(alt, error):
    with pytest.raises(error, match="alt"):
        figures.figure_bundle(line(), alt)


def test_show_refuses_what_is_no_figure():
    with pytest.raises(TypeError, match="Figure, got ndarray"):
        figures.figure_bundle(np.zeros((3, 3)), "Zeros.")


def test_a_plot_is_small_and_looks_like_the_figure():
    fig = line()
    image = pictures.from_figure(fig)
    true = np.asarray(image, dtype=float)
    bundle = figures.figure_bundle(fig, "A line.")
    url = re.search(r'src="(data:image/(?:png|webp);base64,[^"]+)"', bundle.html)[1]
    assert len(url) <= len(pictures.encode(image)) and bundle.size < 25_000
    assert np.abs(np.asarray(picture(bundle.html), dtype=float) - true).max() <= pictures.UNSEEN


def test_a_plot_of_many_colours_keeps_them():
    hues = np.linspace(0, 1, 256).reshape(1, -1)
    image = Image.fromarray((plt.get_cmap("hsv")(hues)[..., :3] * 255).astype(np.uint8))
    image = image.resize((256, 64), Image.Resampling.NEAREST)
    stored = picture(f'src="{pictures.encode(image)}"')
    assert np.abs(np.asarray(stored, float) - np.asarray(image, float)).max() <= 6


def test_a_photograph_becomes_webp_and_stays_close():
    y, x = np.mgrid[:200, :300] / 40
    photo = np.stack([np.sin(x + y), np.cos(x * y), np.sin(y)], -1) * 0.4 + 0.5
    photo += np.random.default_rng(0).normal(size=photo.shape) * 0.03
    image = pictures.from_array(photo)
    url = pictures.encode(image)
    assert url.startswith("data:image/webp")
    assert len(url) < len(base64.b64encode(pictures.palette_png(image)))
    off = np.asarray(picture(f'src="{url}"'), dtype=float) - np.asarray(image, dtype=float)
    assert np.abs(off).mean() < 6


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 1, 8, 8), (5, 3, 8, 8), (5, 8, 8, 3)])
@pytest.mark.parametrize("kind", [torch.tensor, np.asarray])
def test_grids_take_every_layout(shape, kind):
    fig = figures.image_grid(kind(np.random.default_rng(0).random(shape)), columns=3)
    drawn = fig.axes[0].images
    assert len(drawn) == 5 and drawn[0].get_array().shape[:2] == (8, 8)
    left = [image.get_extent()[0] for image in drawn]
    top = [image.get_extent()[3] for image in drawn]
    assert left[0] == left[3] < left[1] < left[2] and top[0] == top[2] < top[3]


def test_a_grid_shows_the_values_themselves_and_clips_a_little():
    values = torch.linspace(-0.5, 1.5, 4).reshape(4, 1, 1).expand(4, 4, 4)
    image = np.asarray(pictures.from_figure(figures.image_grid(values, columns=4)).convert("L"))
    middle = image[image.shape[0] // 2].astype(int)
    for value in (0, 255 / 6, 255 * 5 / 6, 255):
        assert np.sum(np.abs(middle - value) <= 1) > 50, value


@pytest.mark.parametrize(
    "titles", [["purple triangle"] * 3, ["two\nlines of a title"] * 3, ["", "", ""]]
)
def test_titles_of_a_grid_do_not_touch_each_other(titles):
    fig = figures.image_grid(np.zeros((3, 32, 32)), columns=3, titles=titles)
    renderer = FigureCanvasAgg(fig).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in fig.axes[0].texts]
    assert [text.get_text() for text in fig.axes[0].texts] == titles
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


def test_short_titles_of_a_grid_keep_their_size():
    fig = figures.image_grid(np.zeros((3, 32, 32)), columns=3, titles=["a", "b", "c"])
    assert {text.get_fontsize() for text in fig.axes[0].texts} == {9}


def test_a_signed_grid_is_symmetric_about_white():
    values = np.array([[-2.0, 0.0], [0.5, 1.0]])[None]
    drawn = figures.image_grid(values, signed=True).axes[0].images[0]
    assert drawn.get_clim() == (-2, 2)
    assert min(drawn.cmap(drawn.norm(0.0))[:3]) > 0.95


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((8, 8)), {}, "shape"),
        (np.zeros((2, 4, 8, 8)), {}, "shape"),
        (np.zeros((0, 8, 8)), {}, "shape"),
        (np.full((2, 8, 8), 255.0), {}, r"\[0, 1\]"),
        (np.full((2, 8, 8), np.nan), {}, "finite"),
        (np.zeros((2, 8, 8)), {"titles": ["one"]}, "titles"),
        (np.zeros((2, 8, 8)), {"columns": 0}, "columns"),
        (np.zeros((2, 8, 8)), {"scale": -1}, "scale"),
    ],
)
def test_a_grid_refuses(images, options, message):
    with pytest.raises(ValueError, match=message):
        figures.image_grid(images, **options)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.23456, "1.235"), (60000, "60,000"), (0.5, "0.5000"), (1234567.8, "1,235,000"),
     (1e-7, "1e-07"), (0.00012345, "0.0001234"), (None, "–"), (True, "True"), ("7.0000", "7.0000"),
     (np.float32(2.0), "2.000"), (torch.tensor(3), "3"), (float("nan"), "nan"),
     (-9.99996, "-10.00"), (0.0, "0")],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value, text):
    assert figures.format_number(value) == text


def test_a_table_as_html_and_as_text():
    rows = [{"model": "PCA", "error": 0.123456}, {"model": "<AE>", "error": 12.5, "k": 3}]
    bundle = figures.table_bundle(rows, caption="Errors")
    assert bundle.html.count("<tr>") == 3 and "&lt;AE&gt;" in bundle.html
    assert "<caption>Errors</caption>" in bundle.html and 'scope="col"' in bundle.html
    assert bundle.data["text/plain"].splitlines() == [
        "Errors", "model   error  k", "PCA    0.1235", "<AE>    12.50  3",
    ]  # fmt: skip
    renamed = figures.table_bundle(rows, columns={"k": "components"}).data["text/plain"]
    assert renamed.split() == ["components", "3"]


@pytest.mark.parametrize(("rows", "columns"), [([], None), ([1], None), ([{"a": 1}], ["b"])])
def test_a_table_refuses(rows, columns):
    with pytest.raises(ValueError, match="table|column"):
        figures.table_bundle(rows, columns)


def test_a_sign_that_no_font_has_is_drawn_as_a_box_without_a_warning(recwarn):
    figure = plt.figure(figsize=(1, 1))
    figure.text(0.1, 0.5, "\u11ab \U0001f9ff")
    assert pictures.from_figure(figure).size[0] > 0
    assert not recwarn.list
