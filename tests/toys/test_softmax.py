"""The arrows of the softmax: numbers as PyTorch has them, by pointer, finger and keys."""

import functools
import math
import re

import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils.toys import softmax as toy

TIPS = """
return [...arguments[0].querySelectorAll('.genai-tip')].map(tip => {
  const box = tip.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}).reverse()
"""


@pytest.fixture
def opened(open_toy):
    return functools.partial(open_toy, toy.bundle(), "genaiWeights")


ROOT_D = math.sqrt(2)


def expected(query, keys, scale=ROOT_D):
    """Products, weights and the mixed value, by torch.softmax."""
    q, k, v = (torch.tensor(part, dtype=torch.float64) for part in (query, keys, toy.VALUES))
    weights = torch.softmax(k @ q / scale, 0)
    return (k @ q).tolist(), weights.tolist(), (weights @ v).item()


def same(found, wanted):
    products, weights, mixed = wanted
    assert found["products"] == pytest.approx(products, abs=1e-9)
    assert found["weights"] == pytest.approx(weights, abs=1e-9)
    assert found["mixed"] == pytest.approx(mixed, abs=1e-9)


def press(browser, element, *keys, shift=False):
    """Keys for a part of a drawing, which Selenium's send_keys does not focus."""
    browser.js("arguments[0].focus()", element)
    actions = ActionChains(browser.driver)
    if shift:
        actions.key_down(Keys.SHIFT).send_keys(*keys).key_up(Keys.SHIFT).perform()
    else:
        actions.send_keys(*keys).perform()


def test_without_a_script_the_numbers_of_the_opening_stand_in_a_table():
    html = re.sub(r"<(script|style)>.*?</\1>", "", toy.bundle().html, flags=re.DOTALL)
    products, weights, mixed = expected(toy.QUERY, toy.KEYS)
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html)
    for row, product, weight in zip(rows, products, weights, strict=True):
        cells = [f"{product:.2f}", f"{product / math.sqrt(2):.2f}", f"<b>{weight:.3f}</b>"]
        assert re.findall(r"<td[^>]*>([^<]+|<b>.*?</b>)", row)[:3] == [
            cell.replace("-", "−") for cell in cells
        ]
    assert f"≈ {mixed:.3f}</p>" in html
    assert 'class="genai-untrusted"' in html
    assert "\N{MINUS SIGN}0.00" not in html


def test_two_keys_share_the_weight_at_first():
    weights = sorted(expected(toy.QUERY, toy.KEYS)[1])
    assert weights[-2] > 0.3 and weights[-1] < 0.6 and weights[-3] < 0.1


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_computes_what_pytorch_computes(browser, opened, width):
    root, numbers = opened(width, wide=width < 600)
    same(numbers(), expected(toy.QUERY, toy.KEYS))
    assert not root.find_elements(By.CLASS_NAME, "genai-untrusted")
    knobs = root.find_elements(By.CLASS_NAME, "genai-knob")[::-1]  # the query first
    press(browser, knobs[0], Keys.ARROW_UP)
    press(browser, knobs[0], Keys.ARROW_LEFT, shift=True)
    query = [toy.QUERY[0] - 0.5, toy.QUERY[1] + 0.1]
    same(numbers(), expected(query, toy.KEYS))
    press(browser, knobs[3], Keys.ARROW_DOWN)
    keys = [list(key) for key in toy.KEYS]
    keys[2][1] -= 0.1
    same(numbers(), expected(query, keys))
    label = knobs[3].get_attribute("aria-label")
    assert label.startswith(f"key 3 at (−1.0, {keys[2][1]:.1f}), weight ")
    shown = [cell.text for cell in root.find_elements(By.CSS_SELECTOR, ".genai-share b")]
    assert shown == [f"{w:.3f}" for w in expected(query, keys)[1]]
    assert browser.overflow() == 0 and browser.errors() == []


def test_a_key_is_dragged_with_the_mouse(browser, opened):
    root, numbers = opened()
    tips = browser.js(TIPS, root)
    box = root.find_element(By.CLASS_NAME, "genai-plane").rect
    unit = box["width"] / (2 * toy.EXTENT)
    actions = ActionChains(browser.driver)
    knobs = root.find_elements(By.CLASS_NAME, "genai-knob")[::-1]
    tip = knobs[4].find_element(By.CLASS_NAME, "genai-tip")
    actions.move_to_element(tip).click_and_hold()
    actions.move_by_offset(round(unit), round(-2 * unit)).release()
    actions.move_by_offset(30, 30).perform()  # let go: it stays where it is
    assert browser.js(TIPS, root)[:4] == tips[:4]
    x, y = browser.js(TIPS, root)[4]
    assert (x - tips[4][0], y - tips[4][1]) == pytest.approx((unit, -2 * unit), abs=0.06 * unit)
    moved = [toy.KEYS[3][0] + 1, toy.KEYS[3][1] + 2]
    same(numbers(), expected(toy.QUERY, [*toy.KEYS[:3], moved, toy.KEYS[4]]))
    root.find_element(By.CLASS_NAME, "genai-again").click()
    same(numbers(), expected(toy.QUERY, toy.KEYS))


def test_a_finger_drags_the_query_and_not_the_page(browser, opened):
    root, numbers = opened(390)
    browser.js("document.body.style.paddingBottom = '2000px'")
    x, y = browser.js(TIPS, root)[0]
    unit = root.find_element(By.CLASS_NAME, "genai-plane").rect["width"] / (2 * toy.EXTENT)

    def touch(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        browser.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", (x, y))
    for part in range(1, 11):
        touch("touchMove", (x - part * unit / 10, y - part * unit / 10))
    touch("touchEnd")
    browser.wait("return arguments[0].genaiWeights.products[4] < -3.3", root)
    found = browser.js("return arguments[0].genaiWeights.products", root)
    query = [toy.QUERY[0] - 1, toy.QUERY[1] + 1]
    assert found == pytest.approx(expected(query, toy.KEYS)[0], abs=0.35)  # pixels
    assert browser.js("return scrollY") == 0


def test_a_small_scale_hardens_and_a_large_one_evens_out(browser, opened):
    root, numbers = opened()
    slider = root.find_element(By.CSS_SELECTOR, "input[type=range]")
    set_to = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    for notch, words in ((-24, "vectors of 64 random numbers"), (-4, "of 2.0 random"),
                         (24, "closer to an even share")):  # fmt: skip
        browser.js(set_to, slider, notch)
        scale = math.sqrt(2) * 2 ** (notch / 8)
        assert numbers()["scale"] == pytest.approx(scale)
        same(numbers(), expected(toy.QUERY, toy.KEYS, scale))
        meaning = root.find_element(By.CLASS_NAME, "genai-meaning").text
        assert words in meaning
        w = max(numbers()["weights"])
        assert f"{w * (1 - w):.3f}." in meaning
    browser.js(set_to, slider, -24)
    assert max(numbers()["weights"]) > 0.89
    root.find_element(By.CLASS_NAME, "genai-usual").click()
    same(numbers(), expected(toy.QUERY, toy.KEYS))
    slider.send_keys(Keys.ARROW_LEFT)
    assert numbers()["scale"] == pytest.approx(math.sqrt(2) * 2 ** (-1 / 8))


def test_arrows_stay_in_the_plane(browser, opened):
    root, numbers = opened()
    knob = root.find_elements(By.CLASS_NAME, "genai-knob")[-1]
    press(browser, knob, *[Keys.ARROW_RIGHT] * 9, shift=True)
    same(numbers(), expected([toy.EXTENT, toy.QUERY[1]], toy.KEYS))
