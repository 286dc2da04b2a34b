"""A store in the page: it finds, reads and cites as Python does, whatever the reader writes."""

import functools
import hashlib

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language import fact_world as world
from genai_utils.toys import make_rag
from genai_utils.toys import rag as toy

TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def parts():
    reader, encoder, _ = toy.load()
    return quantized_copy(reader), encoder


@pytest.fixture
def opened(browser, open_toy):
    yield functools.partial(open_toy, toy.bundle(), "genaiRag")
    assert browser.errors() == [] and browser.overflow() == 0


def retype(root, text, css="input[type=text]"):
    field = root.find_element(By.CSS_SELECTOR, css)
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)


def press(root, name):
    root.find_element(By.XPATH, f".//button[. = '{name}']").click()


def agrees(parts, now):
    """What the page finds and says is what Python finds and says of the same store."""
    reader, encoder = parts
    now = now()
    found = toy.ranked(encoder, now["lines"], now["question"], now["method"])
    assert now["found"] == found
    told = [now["lines"][i] for i in found[: now["k"]]]
    assert now["passages"] == told
    word, cited, p = toy.answer(reader, told, now["question"])
    np.testing.assert_allclose(now["p"], p.numpy(), atol=TOLERANCE)
    assert (now["answer"], now["cited"]) == (word, cited)


# -- the weights ---------------------------------------------------------------------------------


def test_the_weights_are_those_of_the_record_and_small():
    payload = (toy.WEIGHTS / "rag.safetensors").read_bytes()
    record = toy.load()[2]
    assert hashlib.sha256(payload).hexdigest() == record["sha256"]
    assert len(payload) == record["bytes"] < 250_000
    assert len(toy.bundle().html) < 300_000


def test_what_the_caption_says_was_measured(parts):
    found, again = toy.load()[2]["accuracy"], make_rag.measured(parts[0], 800)
    for name in ("right", "cited", "unknown"):
        assert again[name] == pytest.approx(found[name], abs=0.04)
    assert found["right"] > 0.9 and found["cited"] > 0.9 and found["unknown"] > 0.8
    caption = toy.bundle().html.partition("<figcaption>")[2]
    assert f"right in {100 * found['right']:.0f} %" in caption


def stubborn(ids):
    """A reader that says <end> twice, then [1], then <end>; words that are not its own change that.

    After other first words it says "unknown", after another number the answer of that passage.
    """
    logits, end = torch.zeros(*ids.shape, world.VOCABULARY), world.END
    for row, out in zip(ids.tolist(), logits, strict=True):
        sign = row.index(world.INDEX["="])
        value = [token for token in row[:sign] if token >= world.FIRST_VALUE]  # of each passage
        first, number = row[sign + 1 : sign + 3], row[sign + 3]
        out[sign, end] = out[sign + 1, end] = 1
        out[sign + 2, 1 if first == [end, end] else world.INDEX["unknown"]] = 1
        out[sign + 3, value[number - 1] if 2 <= number <= 4 else end] = 1
    return logits


def test_a_reader_is_measured_by_what_it_says_after_its_own_words():
    found = make_rag.measured(stubborn, 400)
    assert found["cited"] == pytest.approx(0.25, abs=0.11)  # five deviations
    assert found["right"] == found["unknown"] == 0


def test_the_store_and_the_questions_are_of_the_world(parts):
    reader, encoder = parts
    assert len(toy.STORE) <= toy.LINES
    for line in (*toy.STORE, *toy.QUESTIONS):
        assert world.encode(line).numel() <= world.LONGEST + 1
    right = 0
    for question in toy.QUESTIONS[:-1]:  # the last has no answer in the store
        told = [toy.STORE[i] for i in toy.ranked(encoder, toy.STORE, question)[: toy.K]]
        word, cited, _ = toy.answer(reader, told, question)
        right += cited is not None and word in told[cited].split()
    assert right >= 5  # of six


def test_a_training_of_a_few_steps_gives_a_record_and_leaves_the_random_state():
    state = torch.get_rng_state()
    payload, record = make_rag.make(steps=2)
    assert torch.get_rng_state().equal(state)
    assert record["steps"] == 2 and record["bytes"] == len(payload)
    assert record["accuracy"]["right"] < 0.5


# -- the page ------------------------------------------------------------------------------------


def test_it_opens_on_an_answer_and_computes_what_python_does(opened, parts):
    root, now = opened()
    assert now()["lines"] == list(toy.STORE) and now()["question"] == toy.QUESTIONS[0]
    agrees(parts, now)
    assert now()["answer"] == "baker"
    cited = root.find_element(By.CSS_SELECTOR, "li.genai-cited").text
    assert cited == "ravi works as a baker ."
    for _ in toy.QUESTIONS[1:]:
        press(root, "Another question")
        agrees(parts, now)


def test_a_fact_that_the_reader_changes_changes_the_answer(opened, parts):
    root, now = opened()
    store = "\n".join(toy.STORE).replace("works as a baker", "works as a pilot")
    retype(root, store, "textarea")
    agrees(parts, now)
    assert now()["answer"] == "pilot" and now()["passages"][now()["cited"]].startswith("ravi")
    press(root, "The store as it was")
    assert now()["answer"] == "baker"
    agrees(parts, now)


@pytest.mark.parametrize("method", toy.METHODS)
def test_each_search_and_any_number_of_passages(browser, opened, parts, method):
    root, now = opened()
    Select(root.find_element(By.TAG_NAME, "select")).select_by_value(method)
    slider = root.find_element(By.CSS_SELECTOR, "input[type=range]")
    set_value = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    for k in range(world.MOST + 1):
        browser.js(set_value, slider, k)
        assert now()["method"] == method and len(now()["passages"]) == k
        agrees(parts, now)


def test_strange_words_and_an_empty_store(opened, parts):
    root, now = opened(390)
    status = root.find_element(By.CLASS_NAME, "genai-status")
    retype(root, "ravi works as a Zookeeper .\n\nmina lives in oslo .", "textarea")
    agrees(parts, now)
    assert "zookeeper" in now()["strange"] and "does not know zookeeper" in status.text
    retype(root, "", "textarea")
    assert now()["found"] == [] and now()["cited"] is None
    agrees(parts, now)
    retype(root, "")
    agrees(parts, now)
    retype(root, "mina lives in oslo .\n" * 30, "textarea")
    assert len(now()["lines"]) == toy.LINES and f"first {toy.LINES} lines" in status.text
    retype(root, "zzz")
    agrees(parts, now)
    assert now()["found"] == []
