"""The mixture toy: its numbers are PyTorch's, and without balance experts are lost."""

import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from genai_utils.language import moe
from genai_utils.toys import moe as toy
from genai_utils.toys import play

ROOT = "document.querySelector('.genai').genaiMoe"
STATE = f"return {ROOT}.state()"


@pytest.fixture
def page(browser, open_toy):
    """The toy on a page, not running by itself."""

    def opened(**options):
        open_toy(toy.bundle(), "genaiMoe", calm=True, **options)
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("weight", [0, 0.7])
def test_the_numbers_are_those_of_the_chapters_functions(page, k, weight):
    g = torch.Generator().manual_seed(k)
    router, experts = (torch.randn(5, 3, generator=g).double().requires_grad_() for _ in "ab")
    x, t = torch.randn(40, 2, generator=g).double(), torch.randn(40, generator=g).double()
    bias = 0.2 * torch.randn(5, generator=g).double()
    seen = torch.cat([x, torch.ones(40, 1)], 1)
    p = (seen @ router.T).softmax(-1)
    gates, chosen = moe.choose(p, k, bias)
    gates = p.gather(-1, chosen) if k == 1 else gates
    y = (gates * (seen @ experts.T).gather(-1, chosen)).sum(1)
    error, balance = (y - t).square().mean(), moe.balance_loss(p, chosen)
    (error + weight * balance).backward()

    given = (router, experts, bias, {"k": k, "weight": weight}, x, t)
    given = [v.flatten().tolist() if torch.is_tensor(v) else v for v in given]
    found = page().js(f"return {ROOT}.gradients(...arguments)", *given)
    for name, wanted in (
        ("y", y), ("error", error), ("balance", balance), ("router", router.grad.flatten()),
        ("experts", experts.grad.flatten()), ("load", moe.expert_load(chosen, 5)),
    ):  # fmt: skip
        torch.testing.assert_close(
            torch.tensor(found[name]).double(), wanted.detach().double(), rtol=1e-5, atol=1e-7
        )
    assert router.grad.abs().max() > 1e-3


def test_without_balance_experts_are_lost_and_with_it_all_work(page):
    browser, found = page(), {}
    for balance in ("none", "loss", "bias"):
        browser.press(balance)
        browser.js(f"{ROOT}.train(1000)")
        found[balance] = browser.js(STATE)
        assert found[balance]["rules"]["balance"] == balance and found[balance]["step"] == 1000
    assert found["none"]["working"] <= 6 and max(found["none"]["bias"]) == 0
    for balance in ("loss", "bias"):
        assert found[balance]["working"] == 8
        assert found[balance]["error"] < found["none"]["error"]
    assert max(found["bias"]["bias"]) > 0.01
    assert found["none"]["seed"] == found["loss"]["seed"]  # the same first weights
    even = browser.js("return document.querySelector('.genai-side output').textContent")
    assert even == "8 of 8"


def test_what_is_chosen_is_trained(page):
    browser = page()
    before = browser.js(STATE)
    browser.js(f"{ROOT}.train(5)")
    browser.press("Restart")
    after = browser.js(STATE)
    assert after["step"] == 0 and after["load"] != before["load"]
    browser.press("2")
    assert browser.js(STATE)["rules"]["k"] == 2
    pressed = browser.driver.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")
    assert [one.text for one in pressed] == ["loss", "2"]
    select = Select(browser.driver.find_element(By.CSS_SELECTOR, ".genai-menus select"))
    select.select_by_visible_text("rings")
    assert browser.js(STATE)["land"] == "rings"
    slide = "arguments[0].value = 3; arguments[0].dispatchEvent(new Event('input'))"
    browser.js(slide, browser.driver.find_element(By.CSS_SELECTOR, "input[type=range]"))
    assert browser.js(STATE)["E"] == 3 and len(browser.js(STATE)["load"]) == 3
    browser.js(f"{ROOT}.train(20)")
    status = browser.driver.find_element(By.CLASS_NAME, "genai-status").text
    assert "Step 20" in status
    browser.press("Run")
    assert browser.js(STATE)["running"]
    browser.press("Stop")
    assert not browser.js(STATE)["running"]


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits(page, width):
    browser = page(width=width)
    browser.js(f"{ROOT}.train(20)")


def test_without_its_script_the_toy_says_how_to_start_it(capsys):
    before = toy.bundle().html.partition("<script>")[0]
    assert 'data-figure="toy-moe"' in before and 'data-explorer="toy"' in before
    assert "<img" in before and 'class="genai-untrusted"' in before and "<button" not in before
    assert len(toy.bundle().html) < 100_000
    play("moe")
    assert "experts" in capsys.readouterr().out
