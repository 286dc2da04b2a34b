"""The K-means toy: its numbers are the package's, and what the reader does changes what is seen."""

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from sklearn.cluster import KMeans

from genai_utils.structure import clustering
from genai_utils.toys import kmeans, play

PRESETS = {one["name"]: one for one in kmeans.presets()}
STATE = "return document.querySelector('.genai').genaiKmeans.state()"
SAYS = "return document.querySelector('.genai-status').textContent"
CALL = """
const [name, ...given] = arguments;
return document.querySelector('.genai').genaiKmeans[name](...given)
"""
DONE = "return document.querySelector('.genai').genaiKmeans.state().done"


@pytest.fixture
def toy(browser, tmp_path):
    """The toy on a page, not running by itself unless asked to."""

    def opened(width=1200, calm=True, above=0, **options):
        page = tmp_path / "p.html"
        page.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<div style="height:{above}px"></div>{kmeans.bundle().html}',
            encoding="utf-8",
        )
        browser.open(page, width=width, calm=calm, **options)
        assert browser.requests() == [page.as_uri()]
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


def choose(browser, place, text):
    select = browser.driver.find_elements(By.CSS_SELECTOR, ".genai-menus select")[place]
    Select(select).select_by_visible_text(text)


def press(browser, text):
    browser.driver.find_element(By.XPATH, f"//button[starts-with(., '{text}')]").click()


def corner(points, K):
    order = np.argsort((points**2).sum(axis=1), kind="stable")[:K]
    return torch.tensor(points[order])


# -- what is said of the four sets -----------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_said_of_a_set_holds_at_its_lowest_inertia(name):
    one = PRESETS[name]
    X = one["points"]
    sizes = {
        "three blobs": [40, 40, 40],
        "two moons": [50, 50],
        "one far outlier": [30, 30, 1],
        "uneven sizes": [100, 15, 15],
    }[name]
    found = KMeans(one["K"], n_init=50, random_state=0).fit(X)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    table = np.zeros((len(sizes), one["K"]), int)
    np.add.at(table, (groups, found.labels_), 1)  # (groups, clusters)
    if name == "three blobs":  # each group has its centre
        assert sorted(table.argmax(axis=1)) == [0, 1, 2] and (table.max(axis=1) >= 38).all()
    if name == "two moons":  # each centre took a part of both moons
        assert (table >= 10).all()
    if name == "one far outlier":
        assert sorted(table[2]) == [0, 1] and 1 in table.sum(axis=0)
    if name == "uneven sizes":  # the large one is cut, the small ones share a centre
        assert sorted(table[0] >= 30) == [False, True, True]
        assert table[1].argmax() == table[2].argmax() == table[0].argmin()
        truth = sum(((X[groups == k] - X[groups == k].mean(axis=0)) ** 2).sum() for k in range(3))
        assert found.inertia_ < truth  # "that costs less"


def test_the_toy_is_displayed_by_its_name(capsys):
    play("kmeans")
    assert "inertia" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no toy 'k-means'; there are kmeans"):
        play("k-means")


def test_without_its_script_the_toy_says_how_to_start_it():
    html = kmeans.bundle().html
    before = html.partition("<script>")[0]
    assert 'data-figure="toy-kmeans"' in before and 'data-explorer="toy"' in before
    assert "<img" in before and 'class="genai-untrusted"' in before and "<button" not in before


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_whole_runs_are_the_packages(toy, name):
    browser, points = toy(), PRESETS[name]["points"]
    points = points + 1e-4 * np.random.default_rng(0).standard_normal(points.shape)  # without ties
    X = torch.tensor(points)
    for K in range(1, 9):
        g = torch.Generator().manual_seed(K)
        for C in (corner(points, K), clustering.start_centres(X, K, "random", g)):
            expected = clustering.lloyd(X, C)
            found = browser.js(CALL, "lloyd", points.tolist(), C.tolist())
            assert found["J"] == pytest.approx(expected.inertia, rel=1e-9)
            np.testing.assert_allclose(found["centres"], expected.centres, atol=1e-9)
            assert found["labels"] == expected.labels.tolist()


def test_a_centre_without_points_takes_over_the_one_served_worst(toy):
    browser, points = toy(), PRESETS["three blobs"]["points"]
    X, C = torch.tensor(points), torch.tensor([[5.0, 3.0], [90, 90], [5, 4], [80, 80]]).double()
    centres, labels, _ = clustering.refill(X, C, *clustering.assign(X, C))
    found = browser.js(CALL, "assignPoints", points.tolist(), C.tolist())
    np.testing.assert_allclose(found["centres"], centres)
    assert found["labels"] == labels.tolist() and found["jumped"] == [1, 3]


def test_the_next_centre_of_k_means_plus_plus_is_drawn_with_the_packages_probability(toy):
    browser, points = toy(), PRESETS["one far outlier"]["points"]
    X = torch.tensor(points)
    D = clustering.squared_distances(X, X[[0, 40]])
    expected = clustering.plus_plus_probabilities(D)
    given = points.tolist(), points[[0, 40]].tolist()
    np.testing.assert_allclose(browser.js(CALL, "nextProbabilities", *given), expected, atol=1e-9)
    three = [[0, 0], [3, 0], [4, 0]]
    draw = f"""const {{startCentres}} = document.querySelector('.genai').genaiKmeans;
    const random = randomOf(7);
    return Array.from({{length: 3000}}, () => startCentres({three}, 2, arguments[0], random)
      .map((p) => p[0]).join())"""
    script = "const randomOf = (seed) => () => (seed = (16807 * seed) % 2147483647) / 2147483647;"
    for start, shares in {"k-means++": [9 / 25, 16 / 25], "random": [1 / 2, 1 / 2]}.items():
        drawn = browser.js(script + draw, start)
        after = [pair for pair in drawn if pair.startswith("0")]
        assert len(after) / 3000 == pytest.approx(1 / 3, abs=0.04)
        assert after.count("0,3") / len(after) == pytest.approx(shares[0], abs=0.06)


def test_regions_part_the_field_by_the_nearest_centre(toy):
    browser, rng = toy(), np.random.default_rng(0)
    C = rng.uniform([0, 0], [10, 7], (6, 2))
    regions = [browser.js(CALL, "regionOf", k, C.tolist(), 10, 7) for k in range(6)]
    areas = []
    for k, corners in enumerate(regions):
        x, y = np.array(corners).T
        areas.append(0.5 * abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)))
        inside = np.array(corners).mean(axis=0) * 0.02 + np.array(corners) * 0.98
        assert (((inside[:, None] - C) ** 2).sum(axis=2).argmin(axis=1) == k).all()
    assert sum(areas) == pytest.approx(70)


@pytest.mark.parametrize(("name", "K"), [("three blobs", 3), ("uneven sizes", 3), ("two moons", 2)])
def test_each_half_step_is_the_packages_and_the_inertia_never_rises(toy, name, K):
    browser, points = toy(), PRESETS[name]["points"]
    choose(browser, 0, name)
    X, C = torch.tensor(points), corner(points, K)
    expected, labels = [], None
    for _ in range(100):
        press(browser, "Step: assign points")
        C, new, distances = clustering.refill(X, C, *clustering.assign(X, C))
        expected.append(distances.sum().item())
        state = browser.js(STATE)
        assert state["labels"] == new.tolist()
        if state["done"]:
            assert torch.equal(new, labels) or expected[-1] >= expected[-3]
            break
        labels = new
        assert f"J = {expected[-1]:.1f}" in browser.js(SAYS) or (
            browser.js(SAYS).endswith(f"to {expected[-1]:.1f}.")
        )
        press(browser, "Step: move centres")
        C = clustering.update(X, labels, C)
        expected.append((X - C[labels]).square().sum().item())
        np.testing.assert_allclose(browser.js(STATE)["centres"], C, atol=1e-9)
    history = browser.js(STATE)["history"]
    np.testing.assert_allclose([h["J"] for h in history], expected, rtol=1e-9)
    assert [h["kind"] for h in history[:4]] == ["assign", "move"] * 2
    assert (np.diff(expected) < 1e-9).all() and len(expected) >= 7
    shown = browser.driver.find_element(By.CSS_SELECTOR, ".genai-side output").text
    assert shown == f"{expected[-1]:.1f}"


# -- what the reader does --------------------------------------------------------------------------


def field_box(browser):
    script = """const canvas = document.querySelector('.genai-field canvas');
    const box = canvas.getBoundingClientRect();
    return [box.left, box.top, box.width, box.height]"""
    return browser.js(script)


def on_screen(browser, x, y):
    left, top, width, height = field_box(browser)
    return left + width * x / 10, top + height * (1 - y / 7)


def tap(browser, x, y, finger):
    if finger:
        touch = [{"x": x, "y": y}]
        browser.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
        browser.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    else:
        for kind in ("mousePressed", "mouseReleased"):
            browser.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                        clickCount=1)  # fmt: skip


def pull(browser, start, end, finger):
    if finger:
        for kind, places in (("Start", [start]), ("Move", [end]), ("End", [])):
            points = [{"x": x, "y": y} for x, y in places]
            browser.cdp("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)
    else:
        for kind, (x, y) in (("Pressed", start), ("Moved", end), ("Released", end)):
            browser.cdp("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="left",
                        buttons=0 if kind == "Released" else 1, clickCount=1)  # fmt: skip


def pixels(browser):
    """The drawn field, after the next frame."""
    browser.js("return new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))")
    return browser.js("return document.querySelector('.genai-field canvas').toDataURL()")


def nearest_inertia(state):
    X, C = (torch.tensor(state[name]).double() for name in ("points", "centres"))
    return clustering.assign(X, C)[1].sum().item()


@pytest.mark.parametrize("width", [1200, 390])
def test_clicks_add_points_and_drags_move_centres(toy, width):
    browser = toy(width, wide=width < 600)
    finger, before = width < 600, pixels(browser)
    tap(browser, *on_screen(browser, 8, 6.2), finger)
    browser.wait("return document.querySelector('.genai').genaiKmeans.state().points.length > 120")
    state = browser.js(STATE)
    assert state["points"][-1] == pytest.approx([8, 6.2], abs=0.06)
    assert state["history"][0]["J"] == pytest.approx(nearest_inertia(state))
    assert len(state["history"]) == 1 and pixels(browser) != before
    assert f"J = {nearest_inertia(state):.1f}" in browser.js(SAYS)

    before = pixels(browser)
    pull(browser, on_screen(browser, *state["centres"][2]), on_screen(browser, 7, 2), finger)
    browser.wait("return document.querySelector('.genai').genaiKmeans.state().centres[2][0] > 6.8")
    moved = browser.js(STATE)
    assert moved["centres"][2] == pytest.approx([7, 2], abs=0.06)
    assert moved["centres"][:2] == state["centres"][:2] and len(moved["points"]) == 121
    assert moved["history"][-1]["J"] == pytest.approx(nearest_inertia(moved))
    assert moved["history"][-1]["J"] < state["history"][-1]["J"] and pixels(browser) != before
    press(browser, "Step: move centres")
    assert [h["kind"] for h in browser.js(STATE)["history"]] == ["assign", "move"]


def test_keys_add_points_and_move_centres(toy):
    browser = toy()
    choose(browser, 0, "my own")
    assert browser.js(STATE)["points"] == [] and "click on the field" in browser.js(SAYS)
    canvas = browser.driver.find_element(By.CSS_SELECTOR, ".genai-field canvas")
    assert "Enter adds a point" in canvas.accessible_name
    canvas.send_keys(Keys.ENTER, *[Keys.ARROW_RIGHT] * 10, Keys.ENTER)
    canvas.send_keys(Keys.SHIFT, Keys.ARROW_UP)
    canvas.send_keys(Keys.ENTER, Keys.ENTER)
    state = browser.js(STATE)
    expected = [[5, 3.5], [6, 3.5], [6, 4], [6, 4]]
    np.testing.assert_allclose(state["points"], expected, atol=1e-9)
    np.testing.assert_allclose(state["centres"], expected[:3], atol=1e-9)  # K = 3
    centre = browser.driver.find_elements(By.CLASS_NAME, "genai-centre")[0]
    centre.send_keys(Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    assert browser.js(STATE)["centres"][0] == pytest.approx([4.9, 3.4])
    assert centre.accessible_name.startswith("Centre 1 at 4.9, 3.4")
    assert browser.js(STATE)["history"][0]["J"] == pytest.approx(0.02)
    canvas.send_keys(Keys.DELETE)
    assert len(browser.js(STATE)["points"]) == 3
    slider = browser.driver.find_element(By.CSS_SELECTOR, ".genai-buttons input")
    slider.send_keys(*[Keys.ARROW_RIGHT] * 2)
    assert browser.js(STATE)["K"] == 5 and len(browser.js(STATE)["centres"]) == 3
    assert "at most 3 centres" in browser.js(SAYS)


def test_it_runs_by_itself_when_it_is_seen_and_ends_in_the_lowest_valley(toy):
    browser = toy(calm=False, above=3000)
    assert browser.js(STATE)["history"] == []
    assert browser.driver.find_elements(By.CLASS_NAME, "genai-untrusted") == []
    browser.js("document.querySelector('.genai').scrollIntoView()")
    browser.wait(DONE, seconds=60)
    inertia = browser.js(STATE)["history"][-1]["J"]
    lowest = KMeans(3, n_init=20, random_state=0).fit(PRESETS["three blobs"]["points"]).inertia_
    assert inertia == pytest.approx(lowest) and "Each group has its centre" in browser.js(SAYS)
    press(browser, "Restart")
    assert browser.js(STATE)["history"] == [] and not browser.js(DONE)


def test_it_does_not_run_by_itself_for_readers_who_asked_for_less_motion(toy):
    browser = toy(calm=True)
    browser.js("return new Promise((done) => setTimeout(done, 400))")
    assert browser.js(STATE)["history"] == []
    press(browser, "Run")
    browser.wait("return document.querySelector('.genai').genaiKmeans.state().history.length > 1")
    press(browser, "Stop")


def test_a_bad_start_ends_in_a_worse_valley(toy):
    browser, points = toy(), PRESETS["three blobs"]["points"]
    choose(browser, 1, "the worst of 200 random")
    while not browser.js(DONE):
        press(browser, "Step")
    inertia = browser.js(STATE)["history"][-1]["J"]
    lowest = KMeans(3, n_init=20, random_state=0).fit(points).inertia_
    assert inertia > 2 * lowest and f"J = {inertia:.1f}, a worse valley" in browser.js(SAYS)
    assert f"ends at {lowest:.1f}" in browser.js(SAYS)
    choose(browser, 1, "k-means++")
    seen = browser.js(STATE)["centres"]
    press(browser, "Restart")
    assert browser.js(STATE)["centres"] != seen  # the next seed
    slider = browser.driver.find_element(By.CSS_SELECTOR, ".genai-buttons input")
    slider.send_keys(Keys.END)
    assert len(browser.js(STATE)["centres"]) == 8
