"""Drawings: what is computed in them is true, and no word leaves its place in any font."""

import re

import numpy as np
import pytest
import torch

from genai_utils.display.drawing import DRAWINGS, draw, drawing_bundle
from genai_utils.display.drawings import experts, images, language, structure
from genai_utils.display.drawings.canvas import Canvas, spans
from genai_utils.language import moe
from genai_utils.language.fill_in import still_hidden
from genai_utils.structure import clustering, lsa
from genai_utils.vision import maskgit, pixel_chain, pixel_models

# What each text of a drawing is, in units of the drawing: its own box, that of the box it stands
# in, and that of the whole.
BOXES = """
return [...document.querySelectorAll('svg')].map(svg => {
  const view = svg.viewBox.baseVal, shown = svg.getBoundingClientRect();
  const unit = shown.width / view.width;
  const box = e => {
    const b = e.getBoundingClientRect();
    return [(b.left - shown.left) / unit, (b.top - shown.top) / unit,
            (b.right - shown.left) / unit, (b.bottom - shown.top) / unit];
  };
  return {
    view: [0, 0, view.width, view.height], shown: shown.width,
    texts: [...svg.querySelectorAll('text')].map(text => ({
      said: text.textContent, box: box(text), turned: text.hasAttribute('transform'),
      size: parseFloat(getComputedStyle(text).fontSize),
      room: text.parentElement.matches('g') ? box(text.parentElement.querySelector('rect')) : null,
    })),
  };
});
"""


def page(tmp_path, theme="light"):
    """A page with all drawings, as a notebook shows them."""
    path = tmp_path / f"{theme}.html"
    bodies = "".join(drawing_bundle(name).html for name in DRAWINGS)
    path.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><body style="margin:0 10px">{bodies}',
        encoding="utf-8",
    )
    return path


def inside(box, room, slack):
    return all(box[i] >= room[i] - slack and box[i + 2] <= room[i + 2] + slack for i in (0, 1))


def overlap(one, other):
    """Width and height that two boxes share, each at least 0."""
    return [max(0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1)]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("width", [370, 1000])
def test_no_word_leaves_its_place(browser, tmp_path, width, wide):
    browser.open(page(tmp_path), width=width, wide=wide)
    assert browser.overflow() == 0 and browser.errors() == []
    found = browser.js(BOXES)
    assert len(found) == len(DRAWINGS)
    faults = []
    for name, drawing in zip(DRAWINGS, found, strict=True):
        assert drawing["shown"] <= width - 20
        texts = drawing["texts"]
        for text in texts:
            what = f"{name}: {text['said']!r} at {[round(side) for side in text['box']]}"
            assert text["size"] >= 15, what
            if not inside(text["box"], drawing["view"], slack=1):
                faults.append(f"{what} leaves the drawing")
            if text["room"] and not inside(text["box"], text["room"], slack=1):
                faults.append(f"{what} leaves its box")
        flat = [text for text in texts if not text["turned"] and text["said"].strip()]
        for i, one in enumerate(flat):
            for other in flat[:i]:
                across, down = overlap(one["box"], other["box"])
                if across > 2 and down > 6:
                    faults.append(f"{name}: {one['said']!r} lies on {other['said']!r}")
    assert faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_can_be_read_on_what_they_stand_on(browser, tmp_path, theme):
    browser.open(page(tmp_path, theme), dark=theme == "dark")
    colors = browser.js("""
        const seen = new Set();
        const paper = arguments[0];
        for (const text of document.querySelectorAll('svg text')) {
          const rect = text.parentElement.matches('g')
            ? text.parentElement.querySelector('rect') : null;
          const below = rect ? getComputedStyle(rect).fill : paper;
          seen.add(getComputedStyle(text).fill + '|' + below);
        }
        return [...seen];
    """, "rgb(255, 255, 255)" if theme == "light" else "rgb(20, 24, 30)")  # fmt: skip
    assert len(colors) > 5

    def light(color):
        parts = np.array([int(part) for part in re.findall(r"\d+", color)[:3]]) / 255
        parts = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return parts @ [0.2126, 0.7152, 0.0722]

    for pair in colors:
        low, high = sorted(map(light, pair.split("|")))
        assert (high + 0.05) / (low + 0.05) >= 4, pair


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_one_output_that_says_what_is_seen(name):
    bundle = drawing_bundle(name)
    assert set(bundle.data) == {"text/html", "text/plain"} and bundle.size < 30_000
    assert f'data-figure="drawing-{name}"' in bundle.html and 'role="img"' in bundle.html
    alt = bundle.data["text/plain"]
    assert len(alt) > 80 and f"<title>{alt}" not in bundle.html and "<desc>" in bundle.html
    assert "http" not in bundle.html.replace("http://www.w3.org", "") and " id=" not in bundle.html
    assert drawing_bundle(name).html == bundle.html  # equal whenever a notebook is renewed


def test_draw_prints_the_alt_text_outside_a_notebook(capsys):
    draw("pca")
    assert "encoder" in capsys.readouterr().out


def test_an_unknown_drawing_is_refused():
    with pytest.raises(ValueError, match="one of 'one-idea'.*got 'atention'"):
        draw("atention")


# --- What is computed ----------------------------------------------------------------------------


def test_the_blind_spot_is_that_of_the_real_network():
    torch.manual_seed(0)
    model = pixel_models.MaskedPixelCNN(size=15, width=8, first=3, layers=12)
    x, place = torch.rand(1, 1, 15, 15), 10 * 15 + 5
    jacobian = pixel_chain.jacobian(model, x, [place])[0].reshape(15, 15)
    true = set(map(tuple, jacobian.nonzero().tolist()))
    assert images.seen_by_one_stack(15, 10, 5, 12) == true
    assert f"blind spot: {place - len(true)} pixels" in drawing_bundle("blind-spot").html


def test_the_rounds_are_those_of_maskgit():
    assert images.rounds_left(49, 8) == still_hidden(49, 8).tolist() == [
        49, 48, 45, 40, 34, 27, 18, 9, 0]  # fmt: skip
    assert maskgit.round_plan is still_hidden


def test_the_curves_are_the_best_of_their_family():
    means, stds = np.arange(-4, 1.01, 0.05), np.arange(0.5, 4.01, 0.05)
    pairs = [(m, s) for m in means for s in stds]
    costs = {pair: images.kl(images.TARGET, images.normal(*pair)) for pair in pairs}
    assert min(costs, key=costs.get) == pytest.approx(images.FORWARD, abs=0.01)
    with np.errstate(divide="ignore", invalid="ignore"):
        back = {pair: images.kl(images.normal(*pair), images.TARGET) for pair in pairs}
    back = {pair: cost for pair, cost in back.items() if np.isfinite(cost)}
    assert min(back, key=back.get) == pytest.approx(images.REVERSE, abs=0.01)
    shown = drawing_bundle("kl-directions").html
    for best in (costs, back):
        assert f"{min(best.values()):.2f} nats" in shown


def test_the_panels_of_k_means_are_steps_of_the_real_algorithm():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 2))
    labels, moved = structure.lloyd(points, points[:3])
    X, centres = torch.tensor(points), torch.tensor(points[:3])
    true = clustering.squared_distances(X, centres).argmin(1)
    assert labels.tolist() == true.tolist()
    assert np.allclose(moved, clustering.update(X, true, centres).numpy())
    costs = [
        float(cost) for cost in re.findall(r"</tspan> = ([\d.]+)", drawing_bundle("kmeans").html)
    ]
    assert len(costs) == 3 and costs == sorted(costs, reverse=True)


def test_the_topics_are_those_of_lsa():
    Z, Y = structure.factors()
    model = lsa.LSA(2).fit(structure.DOCUMENTS.astype(float))
    assert np.allclose(np.abs(np.asarray(model.Z)), Z) and Z.min() > -1e-12 and Y.min() > -1e-12
    assert np.allclose(Z @ Y, np.asarray(model.Z) @ np.asarray(model.V).T)


def test_the_ratings_are_the_products_to_half_a_star():
    product = structure.TASTES @ structure.FILMS
    assert product[0, 0] == 4.5 and not structure.SEEN[0, 0]
    assert ((product >= 0.5) & (product <= 5))[structure.SEEN].all()


def test_the_weights_of_attention_are_those_of_the_chapter():
    weights = language.attention_weights(language.MEANING)
    assert np.allclose(weights[2], [0.08, 0.34, 0.34, 0.08, 0.17], atol=0.006)
    assert np.allclose(weights.sum(1), 1)


def test_the_two_cuts_of_the_bound_have_one_length():
    numbers = [float(n) for n in re.findall(r">(\d\.\d\d)</text>", drawing_bundle("bound").html)]
    assert sum(numbers[:2]) == pytest.approx(sum(numbers[2:]), abs=0.011) and len(numbers) == 4


# --- The pen -------------------------------------------------------------------------------------


def test_marks_of_a_text():
    assert spans("a **X**_{*k*}^{⊤} ≈ *z*") == [
        ("a ", "", 0), ("X", "b", 0), ("k", "i", -1), ("⊤", "", 1), (" ≈ ", "", 0), ("z", "i", 0),
    ]  # fmt: skip
    c = Canvas(100, 50)
    c.text(10, 20, "*x*_{2} < **y**")
    assert c.parts[0].count("<tspan") == 4 and "&lt;" in c.parts[0]
    # The line goes up again after what stands below it.
    assert [float(dy) for dy in re.findall(r'dy="(.*?)"', c.parts[0])] == [3.5, -3.5]


def test_arrows_begin_and_end_at_boxes():
    c = Canvas(300, 100)
    one, two = c.box(0, 20, 80, 40, "one"), c.box(200, 20, 80, 40, "two")
    assert one.right == (80, 40) and two.left == (200, 40) and one.bottom == (40, 60)
    c.arrow(one.right, two.left)
    assert 'd="M80 40L193 40"' in c.parts[-2] and 'd="M200 40L191 ' in c.parts[-1]


def test_a_bent_arrow_leaves_the_straight_way_and_a_batch_stands_behind():
    c = Canvas(300, 200)
    c.arrow((0, 100), (100, 100), bend=30, text="out")
    assert "M0 100Q50 40 " in c.parts[0] and 'y="62"' in c.parts[2]
    body = c.tensor(20, 120, 2, 3, "**X**", "(*B*, *T*, *d*)", behind=2)
    assert sum('class="r-data"' in part for part in c.parts) == 2
    assert body == (20, 120, 54, 36)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda c: c.text(0, 0, "small", size=12), ValueError, "at least 15 units"),
        (lambda c: c.text(0, 0, "a", anchor="left"), ValueError, "anchor.*'start'"),
        (lambda c: c.text(0, 0, "a", kind="red"), ValueError, "kind"),
        (lambda c: c.box(0, 0, 40, 30, "far too long"), ValueError, "make the box larger"),
        (lambda c: c.box(0, 0, 90, 30, "a", role="blue"), ValueError, "role.*'data'"),
        (lambda c: c.arrow((0, 0)), ValueError, "two or more points"),
        (lambda c: c.arrow((0, 0), (5, 5), (5, 5)), ValueError, "last step"),
        (lambda c: c.brace((0, 0), (20, 0)), ValueError, "at least 40 units"),
        (lambda c: c.grid(0, 0, [[1], [1, 0]]), ValueError, "rows of one length"),
        (lambda c: c.grid(0, 0, [[2.0]]), ValueError, "at most 1"),
        (lambda c: c.bar(0, 0, [(0, "", "data")], 10), ValueError, "length.*above 0"),
        (lambda c: c.mark(0, 0, "star"), ValueError, "shape.*'triangle'"),
        (lambda c: Canvas(0, 10), ValueError, "width"),
    ],
)
def test_the_pen_refuses(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(Canvas(200, 100))


def test_the_gates_of_the_router_are_those_of_chapter_18():
    gates, chosen = moe.choose(torch.tensor([experts.SHARES]), 2)
    assert sorted(chosen[0].tolist()) == sorted(experts.CHOSEN)
    said = drawing_bundle("router").html
    assert all(f">{gate:.2f}<" in said for gate in gates[0])
    assert "0.75 · expert 2 + 0.25 · expert 4" in said and gates.tolist()[0] == pytest.approx(
        [0.75, 0.25]
    )
