"""The toy of budgets: its numbers are the package's to nine digits, and its controls are obeyed."""

import itertools
import math

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from genai_utils.language.scaling import CARDS, plan
from genai_utils.language.scaling_law import LAWS
from genai_utils.toys import play
from genai_utils.toys import scaling as toy

ROOT = "document.querySelector('.genai').genaiScaling"
STATE = f"return {ROOT}.state()"


@pytest.fixture
def page(browser, open_toy):
    """The toy on a page."""

    def opened(**options):
        open_toy(toy.bundle(), "genaiScaling", **options)
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


def move(browser, name, value):
    """Move the slider of that name."""
    script = """
      const [name, value] = arguments;
      const label = [...document.querySelectorAll('label')].find((one) => one.textContent === name);
      const input = label.querySelector('input');
      input.value = value;
      input.dispatchEvent(new Event('input'));"""
    browser.js(script, name, value)


def told(browser, name):
    """What stands beside a name in the list of results."""
    script = """
      const [name] = arguments;
      const dt = [...document.querySelectorAll('dt')].find((one) => one.textContent === name);
      return dt.nextElementSibling.textContent;"""
    return browser.js(script, name)


def test_plans_are_the_packages(page):
    browser = page()
    budgets = [("FLOPs", 10.0**e) for e in (18, 21.3, 23.77, 28)]
    budgets += [("dollars", 1.0), ("dollars", 2.5e6), ("card-hours", 3e9)]
    rules = itertools.product(budgets, LAWS, CARDS, (0.05, 0.4), (1 / 64, 1.0, 9.5))
    for (unit, amount), law, card, use, stretch in rules:
        given = {"amount": amount, "unit": unit, "law": law, "card": card, "rent": 1.75,
                 "use": use, "stretch": stretch}  # fmt: skip
        found = browser.js(f"return {ROOT}.plan(arguments[0])", given)
        assert found == pytest.approx(plan(**given)._asdict(), rel=1e-9)


def test_what_is_shown_is_the_plan_of_the_start(page):
    browser = page()
    state, start = browser.js(STATE), dict(toy.START)
    cards = start.pop("cards")
    wanted = plan(**start)
    assert state["parameters"] == pytest.approx(wanted.parameters)
    assert told(browser, "loss") == f"{wanted.loss:.3f} nats"
    assert told(browser, "size") == f"{wanted.parameters / 1e9:.3g} billion"
    assert told(browser, "time") == f"{wanted.card_hours / cards / 24:.3g} days"
    assert told(browser, "memory") == f"{wanted.memory / 1e12:.3g} TB"
    says = browser.js("return document.querySelector('.genai-status').textContent")
    assert "best size" in says and f"{wanted.least_cards} cards" in says


def test_a_unit_keeps_the_budget_and_a_slider_moves_it(page):
    browser = page()
    before = browser.js(STATE)["flops"]
    for unit in ("card-hours", "FLOPs", "dollars"):
        browser.press(unit)
        state = browser.js(STATE)
        assert state["unit"] == unit and state["flops"] == pytest.approx(before)
        pressed = browser.driver.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")
        assert [one.text for one in pressed] == [unit]
    browser.press("FLOPs")
    move(browser, "budget", 24)
    assert browser.js(STATE)["flops"] == pytest.approx(1e24)
    assert told(browser, "operations") == "1.0 · 10²⁴"
    move(browser, "size, of the best", 2)
    state = browser.js(STATE)
    assert state["stretch"] == 4 and state["loss"] > state["best_loss"]
    move(browser, "cards", 1)
    assert browser.js(STATE)["cards"] == 10
    says = browser.js("return document.querySelector('.genai-status').textContent")
    assert "too little" in says


def test_rent_share_card_and_law_count(page):
    browser = page()
    browser.press("dollars")
    before = browser.js(STATE)
    move(browser, "dollars for a card-hour", 4)
    assert browser.js(STATE)["flops"] == pytest.approx(before["flops"] / 2)
    move(browser, "share of the peak", 20)
    assert browser.js(STATE)["flops"] == pytest.approx(before["flops"] / 4)
    card, law = browser.driver.find_elements(By.CSS_SELECTOR, ".genai-menus select")
    Select(card).select_by_visible_text("A100")
    assert browser.js(STATE)["flops"] == pytest.approx(before["flops"] / 4 * 312 / 989)
    Select(law).select_by_visible_text("Hoffmann et al. 2022")
    state = browser.js(STATE)
    wanted = LAWS["Hoffmann et al. 2022"].optimum(state["flops"])
    assert (state["parameters"], state["tokens"]) == pytest.approx(wanted)


@pytest.mark.parametrize("name", toy.KNOWN)
def test_trained_models_stand_where_they_were(page, name):
    browser = page()
    browser.press(name)
    state, (N, D) = browser.js(STATE), toy.KNOWN[name]
    assert state["known"] == name
    assert (state["parameters"], state["tokens"]) == pytest.approx((N, D))
    assert state["loss"] == pytest.approx(LAWS[state["law"]].loss(N, D))
    bottom = math.log10(state["flops"])
    assert 18 <= bottom <= 28 and 10 ** toy.RANGE[0] < N < 10 ** toy.RANGE[1]


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits(page, width):
    browser = page(width=width)
    browser.press("Llama 3 405B")


def test_without_its_script_the_toy_says_how_to_start_it(capsys):
    before = toy.bundle().html.partition("<script>")[0]
    assert 'data-figure="toy-scaling"' in before and 'data-explorer="toy"' in before
    assert "<img" in before and 'class="genai-untrusted"' in before and "<button" not in before
    play("scaling")
    assert "Valleys of the loss" in capsys.readouterr().out
