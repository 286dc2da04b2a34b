"""The labeller's page: rewards, policy and curves as Python has them, whatever one orders."""

import functools
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils.language import reviews, rlhf
from genai_utils.toys import labeller as toy


@pytest.fixture
def opened(open_toy):
    return functools.partial(open_toy, toy.bundle(), "genaiLabeller")


def same(found, pairs=toy.OPENING, notch=toy.START):
    wanted = toy.state(pairs, notch)
    for name in ("weights", "rewards", "policy"):
        assert found[name] == pytest.approx(wanted[name].tolist(), abs=1e-9), name
    for name in ("beta", "kl", "reward", "gold"):
        assert found[name] == pytest.approx(float(wanted[name]), abs=1e-9), name


def press(root, *words):
    for word in words:
        named = [b for b in root.find_elements(By.TAG_NAME, "button") if b.text == word]
        named[0].click()


def slide(browser, root, notch):
    """As a reader moves the slider."""
    script = (
        "const s = arguments[0].querySelector('input[type=range]'); s.value = arguments[1];"
        "s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    browser.js(script, root, notch)


def test_the_answers_are_a_distribution_that_the_judge_can_read():
    assert sum(share for _, share in toy.ANSWERS) == pytest.approx(1)
    counted = toy.features()
    assert counted[6].tolist() == [3, 0, 1, 4] and counted[2].tolist() == [0, 2, 2, 0]
    golds = [reviews.gold(toy.PROMPT, text) for text, _ in toy.ANSWERS]
    for better, worse in toy.OPENING:  # the labels of the start are the judge's
        assert golds[better] > golds[worse]
    assert min(golds) == golds[7] < 0 < golds[0] == max(golds)


def test_a_small_beta_hacks_the_reward_and_three_labels_mend_it():
    held, free = toy.state(notch=-4), toy.state(notch=8)
    assert free["reward"] > held["reward"] + 3 and free["gold"] < held["gold"] - 3
    assert free["policy"].argmax() == 7 and held["policy"].argmax() == 0
    assert free["weights"][3] == 0  # nothing that was labelled says a word twice
    mended = toy.state((*toy.OPENING, (0, 7), (1, 7), (1, 6)), 8)
    assert mended["gold"] > 4.5 and mended["weights"][3] < -1


def test_without_a_script_the_numbers_of_the_opening_stand_in_a_table():
    bundle = toy.bundle()
    html = re.sub(r"<(script|style)>.*?</\1>", "", bundle.html, flags=re.DOTALL)
    now = toy.state()
    for r, p in zip(now["rewards"].tolist(), now["policy"].tolist(), strict=True):
        assert f"<td>{r:.1f}</td><td>{p:.3f}</td>".replace("-", "−") in html
    assert 'class="genai-untrusted"' in html and 'data-figure="toy-labeller"' in html
    assert bundle.data["text/plain"].startswith("Eight reviews") and bundle.size < 60_000


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_computes_what_python_computes(browser, opened, width):
    root, now = opened(width, wide=width < 600)
    same(now())
    assert not root.find_elements(By.CLASS_NAME, "genai-untrusted")
    for notch in (*toy.NOTCHES, 3):
        slide(browser, root, notch)
        same(now(), notch=notch)
    assert browser.overflow() == 0 and browser.errors() == []


def test_orders_move_rewards_and_policy(browser, opened):
    root, now = opened()
    slide(browser, root, 8)
    same(now(), notch=8)
    pairs = list(toy.OPENING)
    for choice in ("left is better", "right is better", "left is better", "right is better"):
        left, right = now()["offered"]
        cards = [card.text for card in root.find_elements(By.CLASS_NAME, "genai-card")]
        assert cards == [toy.spoken(toy.ANSWERS[i][0]) for i in (left, right)]
        pairs.append((left, right) if choice.startswith("left") else (right, left))
        press(root, choice)
        same(now(), pairs, 8)
    before = now()
    press(root, "as good")
    after = now()
    assert after["weights"] == before["weights"] and len(after["ties"]) == 1
    assert after["offered"] != before["offered"]
    press(root, "labels as at first")
    same(now(), notch=8)
    press(root, "forget all labels")
    assert now()["weights"] == [0, 0, 0, 0] and now()["kl"] == pytest.approx(0, abs=1e-9)
    assert browser.errors() == []


def test_it_asks_about_what_the_policy_writes(browser, opened):
    """Where the policy hacks the reward, its rubbish is shown, and the judge's labels mend it."""
    root, now = opened()
    slide(browser, root, 8)
    assert 7 in now()["offered"]
    golds = [reviews.gold(toy.PROMPT, text) for text, _ in toy.ANSWERS]
    for _ in range(6):
        left, right = now()["offered"]
        better = "left is better" if golds[left] > golds[right] else "right is better"
        press(root, "as good" if golds[left] == golds[right] else better)
    assert now()["gold"] > 4.5 and now()["policy"][7] < 1e-3
    said = root.find_element(By.CLASS_NAME, "genai-status").text
    assert toy.spoken(toy.ANSWERS[0][0]) in said


def test_the_slider_works_with_keys(browser, opened):
    root, now = opened()
    slider = root.find_element(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT)
    same(now(), notch=toy.START + 1)
    assert slider.get_attribute("aria-valuetext").startswith("β = 1.68")


def test_the_weights_do_not_depend_on_the_number_of_newton_steps():
    import torch

    pairs = torch.tensor(toy.OPENING)
    few, many = (rlhf.bradley_terry(pairs, toy.features(), toy.PRIOR, n) for n in (15, 100))
    assert torch.allclose(few, many, atol=1e-10)
