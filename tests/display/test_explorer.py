"""Explorers: frames, sizes, what is refused, and how they behave in a browser."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils.display.explorer import explorer_bundle


def square(k, row=0):
    """An 8x8 image that is different for every k and row."""
    image = np.zeros((8, 8))
    image[row, k] = 1
    return image


def data_of(bundle):
    """What the script is given."""
    return json.loads(re.search(r"^explorer\(root, (.*)\);$", bundle.html, re.M).group(1))


def test_one_frame_for_every_combination_in_order():
    called = []

    def draw(k, row):
        called.append((k, row))
        return square(k, row)

    bundle = explorer_bundle(draw, alt="A dot.", k=[0, 3, 5], row={"top": 0, "last": 7}, name="dot")
    assert called == [(0, 0), (0, 7), (3, 0), (3, 7), (5, 0), (5, 7)]
    data = data_of(bundle)
    assert data["order"] == [0, 1, 2, 3, 4, 5] and len(set(data["frames"])) == 6
    assert data["labels"] == [["0", "3", "5"], ["top", "last"]]
    assert data["frames"][0] == ""  # the first is the page's own image
    assert 'data-figure="dot"' in bundle.html and 'data-explorer="6"' in bundle.html
    assert 'alt="A dot. Now k = 0, row = top."' in bundle.html
    assert set(bundle.data) == {"text/html", "image/png", "text/plain"}


def test_equal_frames_are_stored_once():
    bundle = explorer_bundle(lambda k: square(k // 3), alt="A dot.", k=range(6))
    data = data_of(bundle)
    assert data["order"] == [0, 0, 0, 1, 1, 1] and len(data["frames"]) == 2


def test_it_opens_where_it_is_told_to():
    bundle = explorer_bundle(square, alt="A dot.", k=[0, 3, 5], start={"k": 3})
    data = data_of(bundle)
    assert data["frames"][1] == "" and data["frames"][0] and 'value="1"' in bundle.html
    with pytest.raises(ValueError, match="one of"):
        explorer_bundle(square, alt="A dot.", k=[0, 3], start={"k": 4})
    with pytest.raises(ValueError, match="no axis"):
        explorer_bundle(square, alt="A dot.", k=[0, 3], start={"q": 0})


@pytest.mark.parametrize(("k", "at"), [([0, 3, 5], 2), (["first", "last", "none"], 1)])
def test_last_is_the_last_value_or_the_one_of_that_name(k, at):
    bundle = explorer_bundle(lambda k: square(0), alt="A dot.", k=k, start={"k": "last"})
    assert f'max="2" step="1" value="{at}"' in bundle.html


def test_figures_of_different_size_become_frames_of_one_size_and_are_closed():
    def draw(k):
        fig, ax = plt.subplots(figsize=(2 + k, 2))
        ax.set_ylabel("a label " * k)
        plt.figure()  # one too many, left open
        return fig

    sizes = []
    import genai_utils.display.pictures as pictures

    encode = pictures.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "encode", lambda im, **o: sizes.append(im.size) or encode(im, **o))
        explorer_bundle(draw, alt="Axes.", k=[0, 1, 2])
    assert len(sizes) == 3 and len(set(sizes)) == 1
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "drawn", [Image.new("RGB", (8, 8)), np.zeros((3, 8, 8)), np.zeros((8, 8, 3), np.uint8)]
)
def test_draw_may_return_pictures_of_every_kind(drawn):
    assert data_of(explorer_bundle(lambda k: drawn, alt="Black.", k=[1]))["order"] == [0]


@pytest.mark.parametrize(
    ("draw", "options", "error", "message"),
    [
        (square, {"k": []}, ValueError, "'k' is empty"),
        (square, {"k": 3}, TypeError, "list of values"),
        (square, {"k": "abc"}, TypeError, "list of values"),
        (square, {}, ValueError, "at least one axis"),
        (square, {"k": [0], "alt": " "}, ValueError, "alt"),
        (square, {"k": range(401)}, ValueError, "at most 400"),
        (lambda k: "text", {"k": [0]}, TypeError, "got str"),
        (lambda k: None, {"k": [0]}, TypeError, "got NoneType"),
        (lambda k: np.zeros(8), {"k": [0]}, ValueError, "shape"),
        (lambda k: np.full((8, 8), 255.0), {"k": [0]}, ValueError, "Divide by 255"),
        (np.zeros(3), {"k": [0]}, TypeError, "draw must be a function"),
    ],
)
def test_it_refuses(draw, options, error, message):
    with pytest.raises(error, match=message):
        explorer_bundle(draw, **{"alt": "A dot.", **options})


def test_too_large_an_explorer_says_how_large_and_what_to_do():
    noise = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"at most 600 kB, got [\d,]+ kB. Reduce frames or size"):
        explorer_bundle(lambda k: noise.random((300, 300, 3)), alt="Noise.", k=range(9))


def test_a_name_cannot_break_out_of_the_page():
    label = '</script><b>"&'
    bundle = explorer_bundle(square, alt="A dot.", k={label: 1, "two": 2})
    assert bundle.html.count("</script>") == 1 and data_of(bundle)["labels"][0][0] == label


# -- in the browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two equal explorers (their ids must differ) and one of figures, on one page."""

    def draw(epoch):
        fig, ax = plt.subplots()
        ax.plot([0, epoch])
        return fig

    two = [explorer_bundle(square, alt="A dot.", k=range(5), row=[0, 4]) for _ in range(2)]
    plots = explorer_bundle(draw, alt="A line.", caption="A line.", epoch=[1, 10, 100])
    path = tmp_path_factory.mktemp("page with space") / "explorers.html"
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        + "".join(bundle.html for bundle in [*two, plots]),
        encoding="utf-8",
    )
    return path


def state(root):
    """(src, alt, values) of an explorer."""
    image = root.find_element(By.TAG_NAME, "img")
    values = [output.text for output in root.find_elements(By.TAG_NAME, "output")]
    return image.get_attribute("src"), image.get_attribute("alt"), values


@pytest.mark.parametrize("width", [1200, 390])
def test_sliders_and_keys_change_the_picture_of_their_own_explorer(browser, page, width):
    browser.open(page, width=width, wide=width < 600)
    first, second, plots = browser.driver.find_elements(By.CLASS_NAME, "genai-explorer")
    assert first.get_attribute("id") != second.get_attribute("id")
    before, untouched = state(first), state(second)
    k, row = first.find_elements(By.TAG_NAME, "input")
    k.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    moved = state(first)
    assert moved[0] != before[0] and moved[2] == ["2", "0"]
    assert moved[1] == "A dot. Now k = 2, row = 0." and k.get_attribute("aria-valuetext") == "2"
    browser.js("arguments[0].value = 1; arguments[0].dispatchEvent(new Event('input'))", row)
    assert state(first)[2] == ["2", "4"] and state(first)[0] != moved[0]
    assert state(second) == untouched
    drawn = browser.js(
        "const i = arguments[0].querySelector('img'); const c = document.createElement('canvas');"
        "c.width = c.height = 8; const x = c.getContext('2d');"
        "return i.decode().then(() => { x.drawImage(i, 0, 0, 8, 8);"
        "return Array.from(x.getImageData(2, 4, 1, 1).data) })",
        first,
    )
    assert drawn == [255, 255, 255, 255]  # the dot of k = 2, row = 4
    plots.find_element(By.TAG_NAME, "input").send_keys(Keys.END)
    assert state(plots)[2] == ["100"]
    assert browser.overflow() == 0 and browser.errors() == []
    assert browser.requests() == [page.as_uri()]


@pytest.mark.parametrize("calm", [False, True])
def test_play_moves_the_first_slider_and_stops(browser, page, calm):
    browser.open(page, calm=calm)
    root = browser.driver.find_element(By.CLASS_NAME, "genai-explorer")
    button = root.find_element(By.CLASS_NAME, "genai-play")
    output = root.find_element(By.TAG_NAME, "output")
    before = state(root)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert output.get_attribute("aria-live") == "off"  # it would read out every step
    browser.wait("return arguments[0].textContent !== '0'", output)
    assert state(root)[0] != before[0]
    root.find_elements(By.TAG_NAME, "input")[1].send_keys(Keys.ARROW_RIGHT)  # a touch stops it
    assert button.get_attribute("aria-pressed") == "false"
    assert output.get_attribute("aria-live") == "polite"
    assert browser.errors() == []


def test_without_scripts_the_first_picture_stands_alone(browser, page):
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        root = browser.driver.find_element(By.CLASS_NAME, "genai-explorer")
        assert root.find_element(By.TAG_NAME, "img").is_displayed()
        assert not root.find_element(By.CLASS_NAME, "genai-controls").is_displayed()
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize(
    ("mark", "value", "system", "dark"),
    [("data-theme", "dark", False, True), ("data-theme", "light", True, False),
     ("data-theme", "", True, False)],
)  # fmt: skip
def test_the_page_decides_between_light_and_dark(browser, page, mark, value, system, dark):
    browser.open(page, dark=system)
    browser.js("document.documentElement.setAttribute(arguments[0], arguments[1])", mark, value)
    card = browser.js(
        "return getComputedStyle(document.querySelector('.genai-controls')).backgroundColor"
    )
    red = int(re.search(r"\d+", card).group())
    assert (red < 128) == dark


def test_a_jupyter_page_in_dark_mode_is_dark(browser, page):
    browser.open(page)
    browser.js("document.body.setAttribute('data-jp-theme-light', 'false')")
    ink = browser.js("return getComputedStyle(document.querySelector('.genai-explorer')).color")
    assert int(re.search(r"\d+", ink).group()) > 128


@pytest.mark.parametrize(
    "run",
    [
        # JupyterLab puts the HTML in place, then a fresh copy of each script in the script's place
        "s => { const n = document.createElement('script'); n.textContent = s.textContent;"
        "s.replaceWith(n); }",
        # classic notebooks evaluate the text elsewhere, so that the script stands nowhere
        "s => { const n = document.createElement('script'); n.textContent = s.textContent;"
        "document.head.append(n); n.remove(); }",
    ],
    ids=["lab", "classic"],
)
def test_hosts_that_run_scripts_their_own_way(browser, tmp_path, run):
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>t</title><div id=out></div>", encoding="utf-8")
    browser.open(empty)
    bundle = explorer_bundle(square, alt="A dot.", k=range(5))
    browser.js(
        "const out = document.getElementById('out'); out.innerHTML = arguments[0];"
        f"out.querySelectorAll('script').forEach({run})",
        bundle.html,
    )
    root = browser.driver.find_element(By.CLASS_NAME, "genai-explorer")
    before = state(root)
    root.find_element(By.TAG_NAME, "input").send_keys(Keys.ARROW_RIGHT)
    assert state(root)[2] == ["1"] and state(root)[0] != before[0]
    assert browser.errors() == []


def test_the_theme_of_the_book_puts_no_light_box_around_it_in_dark_mode(browser, tmp_path):
    theme = pytest.importorskip("pydata_sphinx_theme", reason="the book's theme is not installed")
    folder = Path(theme.__file__).parent / "theme/pydata_sphinx_theme/static/styles"
    sheet = (folder / "pydata-sphinx-theme.css").as_uri()
    page = tmp_path / "book.html"
    bundle = explorer_bundle(square, alt="A dot.", k=range(5))
    page.write_text(
        f'<!doctype html><html data-theme="dark"><title>t</title><link rel="stylesheet" '
        f'href="{sheet}"><main class="bd-content"><div class="cell_output"><div id="plain" '
        f'class="output text_html">x</div><div id="ours" class="output text_html">{bundle.html}'
        "</div></div></main></html>",
        encoding="utf-8",
    )
    browser.open(page, dark=True)
    look = "const s = getComputedStyle(document.querySelector(arguments[0])); return "
    assert browser.js(look + "s.padding", "#plain") != "0px"  # the theme does so, else drop this
    assert browser.js(look + "s.padding", "#ours") == "0px"
    assert browser.js(look + "s.backgroundColor", "#ours") == "rgba(0, 0, 0, 0)"
    assert browser.js(look + "s.padding + s.filter", "#ours img") == "0pxnone"
