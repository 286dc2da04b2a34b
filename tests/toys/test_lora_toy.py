"""One base, two adapters: the page sums, measures and writes as PyTorch does."""

import functools
import hashlib

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By

from genai_utils.data import DataError
from genai_utils.language import lora
from genai_utils.toys import lora as toy
from genai_utils.toys import make_lora

TOLERANCE = 1e-3
STRENGTHS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (-0.5, 1.5))


@pytest.fixture(scope="module")
def model():
    """As the page has it: A and B in half precision."""
    return toy.load()[0]


@pytest.fixture
def opened(browser, open_toy):
    yield functools.partial(open_toy, toy.bundle(), "genaiLora")
    assert browser.errors() == [] and browser.overflow() == 0


def move_to(browser, root, *strengths):
    move = (
        "const all = arguments[0].querySelectorAll('input[type=range]');"
        "arguments[1].forEach((v, i) => { all[i].value = v;"
        "all[i].dispatchEvent(new Event('input')) })"
    )
    browser.js(move, root, list(strengths))
    now = "arguments[0].genaiLora.strengths"
    browser.wait(f"return {now}.every((s, i) => s === arguments[1][i])", root, list(strengths))


# -- the weights ---------------------------------------------------------------------------------


def test_the_weights_are_those_of_the_record_and_small():
    payload = (toy.WEIGHTS / "lora.safetensors").read_bytes()
    record = toy.load()[1]
    assert hashlib.sha256(payload).hexdigest() == record["sha256"]
    assert len(payload) == record["bytes"] < 300_000
    assert len(toy.bundle().html) < 320_000


def test_each_adapter_helps_its_own_text_and_bytes_cost_little(model):
    record = toy.load()[1]
    nats = record["nats"]
    for name in toy.ADAPTERS:
        assert nats[name][name] < nats["none"][name] - 0.2
        assert nats[name][name] == min(row[name] for row in nats.values())
    for name, wanted in record["unrounded"].items():
        assert nats["none"][name] == pytest.approx(wanted, abs=0.02)
    assert record["adapter"] == lora.trainable(lora.switch(model, toy.ADAPTERS[0]))[0]
    assert record["parameters"] == lora.trainable(model)[1]
    lora.switch(model, None)


def test_what_the_record_says_is_measured_again(model):
    pieces = toy.load()[1]["pieces"]
    assert all(len(piece) == toy.PIECE for piece in pieces.values())
    for text, piece in pieces.items():
        both = [toy.piece_nats(toy.at(model, s), piece) for s in ((0, 0), (1, 0), (0, 1))]
        own = {"wikipedia": 0, "shakespeare": 1, "manual": 2}[text]
        assert both[own] == min(both)


def test_a_training_of_a_few_steps_gives_a_record_and_leaves_the_random_state(monkeypatch):
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(len(toy.SIGNS), (3_000,), generator=g)
    texts = dict.fromkeys(("wikipedia", *toy.ADAPTERS), (ids[:2000], ids[2000:]))
    monkeypatch.setattr(make_lora, "texts", lambda: texts)
    state = torch.get_rng_state()
    payload, record = make_lora.make(steps=2)
    assert torch.get_rng_state().equal(state)
    assert record["steps"] == 2 and record["bytes"] == len(payload)
    made = toy.build(payload)
    assert lora.adapters(made) == list(toy.ADAPTERS)
    on = {n for n, p in lora.switch(made, toy.ADAPTERS).named_parameters() if p.requires_grad}
    b = [p for n, p in made.named_parameters() if n in on and ".B." in n]
    assert all(p.abs().sum() > 0 for p in b)


def test_adapters_trained_alone_stand_side_by_side(monkeypatch):
    """The second one was trained without the first: at its strength alone it is what it was."""
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(5, (2_000,), generator=g)
    monkeypatch.setattr(make_lora, "texts", lambda: dict.fromkeys(
        ("wikipedia", *toy.ADAPTERS), (ids, ids[:300])))  # fmt: skip
    payload, _ = make_lora.make(steps=2)
    made = toy.build(payload)
    first, second = (toy.at(made, s)(ids[None, :20]) for s in ((1, 0), (0, 1)))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)  # one text, one seed


def test_signs_that_it_does_not_have_are_left_out():
    assert toy.decode(toy.encode("Año\n1")) == "Ao\n1"


def test_damaged_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    with pytest.raises(DataError, match="toys.make lora"):
        toy.load()


# -- the page ------------------------------------------------------------------------------------


def test_the_page_computes_what_pytorch_does(browser, opened, model):
    root, now = opened()
    text = "KING:\nWhat is the arr"
    for strengths in STRENGTHS:
        found = browser.js("return arguments[0].genaiGuesses(arguments[1], arguments[2])",
                           root, text, list(strengths))  # fmt: skip
        with torch.no_grad():
            wanted = toy.at(model, strengths)(toy.encode(text)[None])[0, -1].softmax(-1)
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_it_opens_on_an_adapter_and_measures_the_three_texts(browser, opened, model):
    root, now = opened()
    assert tuple(now()["strengths"]) == toy.START
    pieces = toy.load()[1]["pieces"]
    wanted = [toy.piece_nats(toy.at(model, toy.START), piece) for piece in pieces.values()]
    np.testing.assert_allclose(now()["nats"], wanted, atol=0.01)
    written = toy.opening(model)
    assert len(now()["text"]) == len(written) == toy.LENGTH
    assert now()["text"][:20] == written[:20]
    rows = root.find_elements(By.CSS_SELECTOR, ".genai-losses > div")
    assert [row.text.split("\n")[0] for row in rows] == list(toy.TITLES.values())


def test_sliders_and_buttons_set_the_strengths(browser, opened, model):
    root, now = opened(390)
    pieces = list(toy.load()[1]["pieces"].values())
    for strengths in STRENGTHS:
        move_to(browser, root, *strengths)
        wanted = [toy.piece_nats(toy.at(model, strengths), piece) for piece in pieces]
        np.testing.assert_allclose(now()["nats"], wanted, atol=0.02)
    says = root.find_element(By.CLASS_NAME, "genai-says")
    root.find_element(By.XPATH, ".//button[. = 'neither']").click()
    browser.wait("return arguments[0].genaiLora.strengths.every(s => s === 0)", root)
    assert says.text.startswith("Both adapters are off")
    root.find_element(By.XPATH, f'.//button[. = "{toy.TITLES["manual"]} alone"]').click()
    browser.wait("return arguments[0].genaiLora.strengths[1] === 1", root)
    assert now()["strengths"] == [0, 1] and toy.TITLES["manual"] in says.text
    values = [e.get_attribute("value") for e in root.find_elements(By.CSS_SELECTOR, "input")]
    assert [float(v) for v in values] == [0, 1]


def test_another_text_has_another_seed_and_the_same_losses(browser, opened):
    root, now = opened()
    before = now()
    root.find_element(By.XPATH, ".//button[. = 'Another text']").click()
    browser.wait("return arguments[0].genaiLora.seed === 2", root)
    assert now()["text"] != before["text"] and now()["nats"] == before["nats"]
