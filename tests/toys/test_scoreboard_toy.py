"""The toy of measures: its numbers are the package's, and each measure has a first of its own."""

import pytest
import torch

from genai_utils.evaluation import diversity, frechet_distance, nearest_distance, precision_recall
from genai_utils.toys import play
from genai_utils.toys import scoreboard as toy

ROOT = "document.querySelector('.genai').genaiScoreboard"
STATE = f"return {ROOT}.state()"


@pytest.fixture
def page(browser, open_toy):
    """The toy on a page."""

    def opened(**options):
        open_toy(toy.bundle(), "genaiScoreboard", **options)
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


def test_the_measures_are_those_of_the_package(page):
    browser = page()
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        real, train = (torch.randn(n, 2, generator=g).double() for n in (40, 30))
        fake = 0.7 * torch.randn(25, 2, generator=g).double() + 0.3
        fake[:4] = train[:4]
        limit = nearest_distance(fake, train).quantile(0.5).item() + 1e-9
        given = [real.tolist(), fake.tolist(), train.tolist(), limit]
        found = browser.js(f"return {ROOT}.measures(...arguments)", *given)
        pr = precision_recall(real, fake)
        wanted = {
            "Fréchet distance": frechet_distance(real, fake),
            "precision": pr.precision,
            "recall": pr.recall,
            "diversity": diversity(fake) / diversity(real),
            "copies": (nearest_distance(fake, train) <= limit).double().mean().item(),
        }
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    line = [[x / 10, x / 10] for x in range(12)]  # a covariance of rank one
    found = browser.js(f"return {ROOT}.measures(...arguments)", line, line[:6], line, 0)
    points = torch.tensor(line).double()
    assert found["Fréchet distance"] == pytest.approx(frechet_distance(points, points[:6]))


def test_the_order_follows_the_measure(page):
    browser, first = page(), {}
    for measure, larger in toy.LARGER.items():
        browser.press(measure)
        state = browser.js(STATE)
        values = [state["values"][name][measure] for name in state["order"]]
        assert values == sorted(values, reverse=larger) and len(values) == 6
        first[measure] = state["order"][0]
        says = browser.js("return document.querySelector('.genai-status').textContent")
        assert f"By {measure}" in says and first[measure] in says
    assert first["diversity"] == "noise"  # spread is not quality
    assert first["precision"] in ("copies", "one group", "honest", "averages")
    assert len(set(first.values())) >= 3


def test_copies_are_told_by_one_measure_only(page):
    state = page().js(STATE)["values"]
    assert state["copies"]["copies"] == 1 and state["honest"]["copies"] < 0.2
    assert state["copies"]["Fréchet distance"] < state["noise"]["Fréchet distance"]
    assert state["one group"]["recall"] < 0.6 < state["honest"]["recall"]


def test_points_are_drawn_anew_and_more_of_them(page):
    browser = page()
    before = browser.js(STATE)
    browser.press("Draw anew")
    after = browser.js(STATE)
    assert after["values"] != before["values"] and after["seed"] == before["seed"] + 1
    browser.js(
        "const input = document.querySelector('input[type=range]'); input.value = 200;"
        "input.dispatchEvent(new Event('input'));"
    )
    assert browser.js(STATE)["n"] == 200


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits(page, width):
    page(width=width)


def test_without_its_script_the_toy_says_how_to_start_it(capsys):
    before = toy.bundle().html.partition("<script>")[0]
    assert 'data-figure="toy-scoreboard"' in before and 'data-explorer="toy"' in before
    assert "<img" in before and 'class="genai-untrusted"' in before and "<button" not in before
    play("scoreboard")
    assert "Six squares of points" in capsys.readouterr().out
