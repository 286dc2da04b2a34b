"""The zoomable map: moved by pointer, wheel, keys, buttons and search; bad input is named."""

import numpy as np
import pytest
import torch

from genai_utils.display.zoom_map import zoom_map_bundle

POINTS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [10.0, 5.0], [0.0, 5.0], [5.0, 2.5]])
NAMES = ["a.north", "a.east", "b.south", "b.west", "b.<middle>"]
GROUPS = ["a", "a", "b", "b", "b"]
LINES = [(0, 4), (1, 4), (2, 4)]
MAP = {"points": POINTS, "names": NAMES, "groups": GROUPS, "lines": LINES, "alt": "Five places."}
PICTURE = "return document.querySelector('.genai-mapbox canvas').toDataURL()"
SAID = "return document.querySelector('.genai-map output').textContent"


@pytest.fixture
def opened(browser, tmp_path):
    bundle = zoom_map_bundle(**MAP, caption="Move it.", name="places")
    page = tmp_path / "map.html"
    page.write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
                    '<meta name="viewport" content="width=device-width">' + bundle.html,
                    encoding="utf-8")  # fmt: skip
    browser.open(page)
    browser.wait("return document.querySelector('.genai-mapbox canvas').width > 100")
    return browser


def press(browser, key):
    browser.js("const b = document.querySelector('.genai-mapbox'); b.focus();"
               "b.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true,"
               "cancelable: true}))", key)  # fmt: skip


def changes(browser, action):
    before = browser.js(PICTURE)
    action()
    browser.wait(PICTURE.replace("return ", "return arguments[0] !== "), before)
    return browser.js(PICTURE)


def test_it_holds_a_still_with_alt_text_and_every_name_escaped():
    bundle = zoom_map_bundle(**MAP, caption="Move <it>.", name="places")
    assert set(bundle.data) == {"text/html", "image/png", "text/plain"}
    assert 'data-explorer="map"' in bundle.html and 'data-figure="places"' in bundle.html
    assert 'alt="Five places."' in bundle.html and "Move &lt;it&gt;." in bundle.html
    assert bundle.html.count("</script>") == 1 and bundle.size < 40_000
    evil = zoom_map_bundle(**{**MAP, "names": ["</script>", *NAMES[1:]]}).html
    assert evil.count("</script>") == 1


def test_keys_move_and_zoom_and_home_brings_it_back(opened):
    whole = opened.js(PICTURE)
    zoomed = changes(opened, lambda: press(opened, "+"))
    assert opened.js(SAID) == "zoom 1.5×"
    moved = changes(opened, lambda: press(opened, "ArrowRight"))
    assert changes(opened, lambda: press(opened, "ArrowLeft")) == zoomed != moved
    assert changes(opened, lambda: press(opened, "Home")) == whole
    assert opened.js("return document.activeElement.className") == "genai-mapbox"
    assert opened.errors() == [] and len(opened.requests()) == 1


def test_wheel_and_pointer_move_it_and_a_click_names_the_neighbours(opened):
    box = opened.js("const r = document.querySelector('.genai-mapbox').getBoundingClientRect();"
                    "return [r.x, r.y, r.width]")  # fmt: skip
    x, y = box[0] + box[2] / 2, box[1] + box[2] / 2

    def mouse(kind, x, y, **more):
        opened.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)  # the page's, as long as nobody chose the map
    assert opened.js(SAID) == ""
    opened.js("document.querySelector('.genai-mapbox').focus()")
    changes(opened, lambda: mouse("mouseWheel", x, y, deltaX=0, deltaY=-200))
    assert opened.js(SAID).startswith("zoom 1.6")
    held = {"button": "left", "buttons": 1, "clickCount": 1}

    def drag():
        mouse("mousePressed", x, y, **held)
        mouse("mouseMoved", x + 40, y + 30, **held)
        mouse("mouseReleased", x + 40, y + 30, **held)

    changes(opened, drag)
    mouse("mousePressed", x + 40, y + 30, **held)  # where the middle is now
    mouse("mouseReleased", x + 40, y + 30, **held)
    opened.wait(SAID + ".includes('middle')")
    assert opened.js(SAID) == "b.<middle>: a.north, a.east, b.south"


LABELS = """<script>window.labels = new Map();
const fill = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, u, v) {
  labels.set(text, [u, v, this.measureText(text).width]);
  return fill.call(this, text, u, v);
};</script>"""


def test_on_a_phone_names_are_short_apart_and_inside(browser, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"library.package.of.a_long_name.thing_{i}" for i in range(60)]
    many = zoom_map_bundle(rng.random((60, 2)), names, ["a"] * 60, alt="Sixty places.")
    page = tmp_path / "map.html"
    page.write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
                    '<meta name="viewport" content="width=device-width, initial-scale=1">'
                    + LABELS + many.html, encoding="utf-8")  # fmt: skip
    browser.open(page, width=390, wide=True)
    browser.wait("return document.querySelector('.genai-mapbox canvas').width > 100")
    side = browser.js("return document.querySelector('.genai-mapbox').clientWidth")
    labels = browser.js("return [...labels]")
    assert 4 <= len(labels) <= 10
    for text, (u, v, width) in labels:
        assert text.startswith("…") and text.split("_")[-1].isdigit()
        assert u >= 0 and u + width <= side and 0 < v < side and width < side / 2
    for i, (_, (u, v, width)) in enumerate(labels):
        for _, (a, b, other) in labels[:i]:
            assert u + width < a or a + other < u or abs(v - b) >= 14


@pytest.mark.parametrize(
    "text, said",
    [("B.WEST", "b.west: no"), ("north", "a.north: "), ("orth", "a.north: "), ("zzz", "no such")],
)
def test_a_search_finds_a_name(opened, text, said):
    opened.js("const i = document.querySelector('.genai-map input'); i.value = arguments[0];"
              "i.dispatchEvent(new Event('change', {bubbles: true}))", text)  # fmt: skip
    assert opened.js(SAID).startswith(said)


def test_buttons_zoom_and_a_phone_is_wide_enough(browser, tmp_path):
    page = tmp_path / "map.html"
    page.write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
                    '<meta name="viewport" content="width=device-width, initial-scale=1">'
                    + zoom_map_bundle(**MAP).html, encoding="utf-8")  # fmt: skip
    browser.open(page, width=390, dark=True, wide=True)
    browser.wait("return document.querySelector('.genai-mapbox canvas').width > 100")
    changes(browser, lambda: browser.js("document.querySelector('.genai-map button').click()"))
    assert browser.overflow() == 0 and browser.errors() == []


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"alt": " "}, ValueError, "alt"),
        ({"points": POINTS[:, :1]}, ValueError, r"points \(n, 2\)"),
        ({"points": POINTS * float("nan")}, ValueError, "finite"),
        ({"names": NAMES[:4]}, ValueError, "got .*, 4 and 5"),
        ({"groups": []}, ValueError, "got .*, 5 and 0"),
        ({"lines": [(0, 5)]}, ValueError, "from 0 to 4"),
        ({"names": [600_000 * "x", *NAMES[1:]]}, ValueError, "600 kB.*5 points and 3 lines"),
    ],
)
def test_bad_input_is_named(options, error, says):
    with pytest.raises(error, match=says):
        zoom_map_bundle(**{**MAP, **options})


def test_all_points_in_one_place_are_drawn():
    assert zoom_map_bundle(**{**MAP, "points": np.zeros((5, 2))}).size > 0
