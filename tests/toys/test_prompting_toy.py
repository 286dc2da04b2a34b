"""Examples instead of training: the page answers as PyTorch does, by the reader's rule."""

import functools
import hashlib

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language import prompting
from genai_utils.toys import make_prompting
from genai_utils.toys import prompting as toy

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def model():
    return quantized_copy(toy.load()[0])


@pytest.fixture
def opened(browser, open_toy):
    yield functools.partial(open_toy, toy.bundle(), "genaiPrompting")
    assert browser.errors() == [] and browser.overflow() == 0


def retype(root, text):
    field = root.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)
    return field


def move_to(browser, root, shots):
    set_value = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    browser.js(set_value, root.find_element(By.CSS_SELECTOR, "input[type=range]"), shots)


def text_of(now):
    return " ".join(prompting.LETTERS[a] + prompting.LETTERS[b] for a, b in now()["pairs"])


def agrees(model, now, task=prompting.BLANK):
    """The page's probabilities of the eight letters, for all eight queries, are PyTorch's."""
    wanted = toy.answers(model, text_of(now), task).numpy()
    found = np.array(now()["answers"])[:, : prompting.N]
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
    return found


# -- the weights ---------------------------------------------------------------------------------


def test_the_weights_are_those_of_the_record_and_small():
    payload = (toy.WEIGHTS / "prompting.safetensors").read_bytes()
    record = toy.load()[1]
    assert hashlib.sha256(payload).hexdigest() == record["sha256"]
    assert len(payload) == record["bytes"] < 200_000
    assert len(toy.bundle().html) < 300_000


def test_what_the_caption_says_was_measured(model):
    found, again = toy.load()[1]["accuracy"], make_prompting.measured(model, 1_000)
    for kind in ("table", "shift"):
        assert again[kind] == pytest.approx(found[kind], abs=0.05)
    assert again["named"] == pytest.approx(found["named"], abs=0.02)
    assert again["shuffled"] == pytest.approx(found["shuffled"], abs=0.05)
    assert found["table"][-1] > 0.9 > 0.2 > found["table"][0]
    assert found["shift"][4] > 0.8 > 0.3 > found["shuffled"]
    caption = toy.bundle().html.partition("<figcaption>")[2]
    assert f"{100 * found['table'][-1]:.0f} % with all eight" in caption


def test_a_training_of_a_few_steps_gives_a_record_and_leaves_the_random_state():
    state = torch.get_rng_state()
    payload, record = make_prompting.make(steps=3)
    assert torch.get_rng_state().equal(state)
    assert record["steps"] == 3 and record["bytes"] == len(payload)
    assert record["accuracy"]["table"][-1] < 0.4


def test_the_answers_of_a_text_are_those_of_its_pairs(model):
    p = toy.answers(model, "ad be cf")
    assert p.shape == (8, 8) and p.sum(1).max() <= 1.001
    prompt = torch.tensor([[prompting.BLANK, 0, 3, 1, 4, 2, 5, 6]])
    with torch.no_grad():
        wanted = model(prompt)[0, -1].softmax(-1)[:8]
    torch.testing.assert_close(p[6], wanted)


# -- the page ------------------------------------------------------------------------------------


def test_it_opens_on_three_examples_and_computes_what_pytorch_does(opened, model):
    root, now = opened()
    assert text_of(now) == toy.opening() and len(now()["pairs"]) == toy.SHOTS
    found = agrees(model, now)
    assert now()["said"] == found.argmax(1).tolist()
    cells = root.find_elements(By.CSS_SELECTOR, "tr:nth-child(3) td")
    assert [c.text[0] for c in cells] == [prompting.LETTERS[i] for i in found.argmax(1)]


def test_more_examples_make_more_answers_right(browser, opened, model):
    root, now = opened()
    right = []
    for shots in range(9):
        move_to(browser, root, shots)
        agrees(model, now)
        right.append(now()["right"])
        says = root.find_element(By.CLASS_NAME, "genai-says").text
        assert f"With {shots} example" in says and f"for {right[-1]} of 8 letters" in says
    assert right[-1] >= 7 and right[0] <= 3


def test_a_rule_of_the_readers_own(opened, model):
    root, now = opened()
    retype(root, "a→h, h→a b>g c=f")
    assert text_of(now) == "ah ha bg cf" and now()["kind"] == "own"
    agrees(model, now)
    said = now()["said"]
    assert [said[i] for i in (0, 7, 1, 2)] == [7, 0, 6, 5]
    status = root.find_element(By.CLASS_NAME, "genai-status")
    retype(root, "ad xy b cab fe")
    assert text_of(now) == "ad fe" and status.text.startswith("Left out: xy b cab.")
    retype(root, "ab " * 20)
    assert len(now()["pairs"]) == toy.PAIRS and "first 16" in status.text
    agrees(model, now)
    retype(root, "")
    assert now()["pairs"] == []
    agrees(model, now)


def test_a_shift_can_be_named_and_labels_shuffled(browser, opened, model):
    root, now = opened()
    Select(root.find_element(By.TAG_NAME, "select")).select_by_value("3")
    move_to(browser, root, 0)
    name, shuffle = root.find_elements(By.CSS_SELECTOR, "input[type=checkbox]")
    agrees(model, now)
    name.click()
    assert now()["named"]
    agrees(model, now, prompting.BLANK + 3)
    assert now()["right"] >= 7  # zero examples, but a description
    name.click()
    move_to(browser, root, 8)
    before = now()["pairs"]
    shuffle.click()
    after = now()["pairs"]
    assert [k for k, _ in after] == [k for k, _ in before] and after != before
    assert sorted(v for _, v in after) == sorted(v for _, v in before)
    agrees(model, now)


def test_a_new_table_has_no_name_and_a_query_is_chosen(browser, opened, model):
    root, now = opened(390)
    rule = now()["rule"]
    root.find_element(By.XPATH, ".//button[. = 'New table']").click()
    assert now()["rule"] != rule and sorted(now()["rule"]) == list(range(8))
    assert not root.find_element(By.CSS_SELECTOR, "input[type=checkbox]").is_enabled()
    agrees(model, now)
    root.find_elements(By.CSS_SELECTOR, "th button")[6].click()
    assert now()["asked"] == 6
    shares = [e.text for e in root.find_elements(By.CSS_SELECTOR, ".genai-number")]
    np.testing.assert_allclose([float(s) for s in shares], now()["answers"][6][:8], atol=0.006)
