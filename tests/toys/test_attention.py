"""A transformer in the page: the weights and guesses of PyTorch's, and what the reader moves."""

import functools
import hashlib
import json
import re

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils.data import DataError
from genai_utils.display.page_gpt import quantized_copy
from genai_utils.toys import attention as toy
from genai_utils.toys import make, make_attention

TOLERANCE = 1e-3
MEASURED = "return Array.from({length: 2}, (_, l) => [0, 1].map(h => arguments[0].genaiMaps(l, h)))"


@pytest.fixture(scope="module")
def model():
    return quantized_copy(toy.load()[0])


@pytest.fixture
def opened(open_toy):
    return functools.partial(open_toy, toy.bundle(), "genaiAttention")


def retype(browser, root, text):
    field = root.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)
    return field


@torch.no_grad()
def pytorch(model, text):
    """The maps (layers, heads, T, T) and the probabilities of what follows each letter (T, V)."""
    ids = toy.encode(text)[None]
    return toy.maps(model, ids)[:, 0].numpy(), model(ids)[0].softmax(-1).numpy()


def agree(browser, root, model, text):
    maps, guesses = pytorch(model, text)
    found = browser.js(MEASURED, root)
    for layer in range(2):
        for head in range(2):
            for t, row in enumerate(found[layer][head]):
                np.testing.assert_allclose(row, maps[layer, head, t, : t + 1], atol=TOLERANCE)
    ours = browser.js("return arguments[0].genaiGuesses()", root)
    np.testing.assert_allclose(ours, guesses, atol=TOLERANCE)


# -- the weights ---------------------------------------------------------------------------------


def test_the_weights_are_those_of_the_record_and_small():
    payload = (toy.WEIGHTS / "attention.safetensors").read_bytes()
    record = toy.load()[1]
    assert hashlib.sha256(payload).hexdigest() == record["sha256"]
    assert len(payload) == record["bytes"] < 150_000


def test_the_record_says_what_the_heads_do(model):
    """Measured again, on other texts, by a count of its own."""
    record = toy.load()[1]
    ids = make_attention.twice(200, torch.Generator().manual_seed(5))
    half = ids.shape[1] // 2
    backs = {"before": 1, "two before": 2, "itself": 0, "same": half, "after": half - 1}
    weights = toy.maps(model, ids)  # (layers, B, heads, T, T)
    again = make_attention.look(model, ids)
    for layer, heads in enumerate(record["heads"]):
        for head, shares in enumerate(heads):
            rows = weights[layer, :, head]
            for key, back in backs.items():
                own = np.mean([rows[:, t, t - back].mean() for t in range(half, 2 * half)])
                assert own == pytest.approx(again[layer][head][key], abs=1e-3), (layer, head, key)
                assert own == pytest.approx(shares[key], abs=0.02), (layer, head, key)
            new = np.mean([rows[:, t, 0].mean() for t in range(1, half)])
            assert new == pytest.approx(again[layer][head]["new"], abs=1e-3)
            assert new == pytest.approx(shares["new"], abs=0.02)
    best = [max(max(shares.values()) for shares in heads) for heads in record["heads"]]
    assert min(best) > 0.75 and record["right"]["second half"] > 0.95
    assert toy.strongest(record, "before")[0] == 0 and toy.strongest(record, "after")[0] == 1


def test_the_precision_costs_what_the_record_says():
    record = toy.load()[1]["precision"]
    assert all(mean <= largest for largest, mean in record.values())
    assert record["attention"][1] < TOLERANCE and record["probabilities"][1] < TOLERANCE


def test_texts_copy_themselves():
    ids, copied = make_attention.texts(200, 41, 0.0, torch.Generator().manual_seed(1))
    assert 0.3 < copied.float().mean() < 0.8 and not copied[:, :4].any()
    for row, marks in zip(ids.tolist(), copied.tolist(), strict=True):
        for t, mark in enumerate(marks):
            pairs = list(zip(row[: t - 1], row[1:t], strict=False)) if mark else []
            assert not mark or (row[t - 1], row[t]) in pairs


def test_a_training_of_a_few_steps_gives_a_record_and_leaves_the_random_state():
    state = torch.get_rng_state()
    payload, record = make_attention.make(steps=3)
    assert torch.get_rng_state().equal(state)
    again = make_attention.make(steps=3)
    assert again[0] == payload and again[1] == record
    assert record.keys() == toy.load()[1].keys() and json.dumps(record)


def test_the_command_writes_what_the_toy_loads(tmp_path, monkeypatch, capsys):
    assert make.main(["attention", "--steps", "3", "--out", str(tmp_path)]) == 0
    assert "of repeated letters right" in capsys.readouterr().out
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    assert toy.load()[1]["steps"] == 3
    (tmp_path / "attention.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="python -m genai_utils.toys.make attention"):
        toy.load()


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"before": 0.9}, "0.90 of its weight on the letter just before"),
        (
            {"after": 0.6, "new": 0.7},
            "0.60 of its weight on the letter that came after the same letter",
        ),
        ({"itself": 0.3}, "no plain pattern: at most 0.30 on the letter itself"),
    ],
)
def test_the_sentence_of_a_head_follows_the_measure(shares, words):
    shares = dict.fromkeys([*toy.TOLD, "new"], 0.01) | shares
    said = toy.says(shares, {"texts": 123, "even": 0.04})
    assert words in said and "123 texts: 20 random letters" in said and "be 0.04." in said
    assert ("rests on the first of the text (0.70)" in said) == (shares["new"] > 0.5)


# -- the page ------------------------------------------------------------------------------------


def test_without_a_script_a_picture_and_a_sentence_are_there():
    bundle = toy.bundle()
    html = re.sub(r"<(script|style)>.*?</\1>", "", bundle.html, flags=re.DOTALL)
    assert 'data-figure="toy-attention"' in html and "<img" in html and 'alt="The text' in html
    assert "Measured over 1,000 texts" in html
    assert 'class="genai-untrusted"' in html
    assert "<input" not in html and "<svg" not in html  # what a sanitizer would leave of them
    assert bundle.data["text/plain"].startswith("The text") and bundle.size < 300_000


def test_it_opens_on_a_plain_pattern(model):
    layer, head = toy.strongest(toy.load()[1], "after")
    row = pytorch(model, toy.TEXT)[0][layer, head, -1]
    last = toy.TEXT[-1]
    assert row.max() > 0.8 and row.argmax() == toy.TEXT.rindex(last, 0, len(toy.TEXT) - 1) + 1


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_computes_what_pytorch_computes(browser, opened, model, width):
    root, now = opened(width, wide=width < 600)
    agree(browser, root, model, toy.TEXT)
    assert not root.find_elements(By.CLASS_NAME, "genai-untrusted")
    for text in ("abc, abd? ab", "ö", "to be or not to be, that is the quest"):
        retype(browser, root, text)
        assert now()["ids"] == toy.encode(text).tolist() and now()["chosen"] == len(text) - 1
        agree(browser, root, model, text)
    assert browser.overflow() == 0 and browser.errors() == []
    fits = "const b = arguments[0].querySelector('.genai-lines').getBoundingClientRect();"
    assert browser.js(fits + "return b.left >= 0 && b.right <= innerWidth", root)


def test_the_chosen_letter_decides_what_is_seen(browser, opened, model):
    root, now = opened()
    maps, guesses = pytorch(model, toy.TEXT)
    layer, head = toy.strongest(toy.load()[1], "after")
    lines = root.find_element(By.CLASS_NAME, "genai-lines")

    def shown():
        """(place of the letter that looks, where the thickest line ends, the first bar)."""
        thick = browser.js(
            "return [...arguments[0].querySelectorAll('.genai-strong')].map(line => "
            "[Number(line.getAttribute('stroke-width')), line.getAttribute('d')])", root
        )  # fmt: skip
        width = float(lines.get_attribute("width")) / len(toy.TEXT)
        end = float(max(thick)[1].split(" ")[-2]) / width - 0.5
        first = root.find_element(By.CSS_SELECTOR, ".genai-guesses b").text
        return now()["chosen"], round(end), first

    def right(t):
        best = toy.SIGNS[guesses[t].argmax()].replace(" ", "␣")
        assert shown() == (t, maps[layer, head, t].argmax(), best)
        text = root.find_element(By.CLASS_NAME, "genai-looks").text
        assert f"(place {t + 1}) looks at" in text
        assert text.split(": ")[1].startswith(f"{maps[layer, head, t].max():.2f}")

    right(len(toy.TEXT) - 1)
    browser.js("arguments[0].focus()", lines)
    ActionChains(browser.driver).send_keys(Keys.ARROW_LEFT).perform()
    right(len(toy.TEXT) - 2)
    assert lines.get_attribute("aria-valuenow") == str(len(toy.TEXT) - 1)
    ActionChains(browser.driver).send_keys(Keys.HOME, Keys.ARROW_RIGHT).perform()
    right(1)
    ActionChains(browser.driver).send_keys(Keys.END).perform()
    right(len(toy.TEXT) - 1)
    letter = root.find_elements(By.CSS_SELECTOR, ".genai-lines text.genai-query")[3]
    ActionChains(browser.driver).move_to_element(letter).perform()
    right(3)
    frame = root.find_element(By.CSS_SELECTOR, ".genai-matrix .genai-frame")
    assert float(frame.get_attribute("y")) == pytest.approx(3 + 1.4)


def test_a_head_is_chosen(browser, opened, model):
    root, now = opened()
    maps = pytorch(model, toy.TEXT)[0]
    record = toy.load()[1]
    says = root.find_element(By.CLASS_NAME, "genai-says")
    radios = root.find_elements(By.CSS_SELECTOR, ".genai-heads input")
    assert len(radios) == 6 and sum(radio.is_selected() for radio in radios) == 1
    for i, radio in enumerate(radios):
        layer, head = divmod(i, 3)
        radio.click()
        row = maps[layer, :, -1].mean(0) if head == 2 else maps[layer, head, -1]
        np.testing.assert_allclose(now()["weights"], row, atol=TOLERANCE)
        cells = root.find_elements(By.CSS_SELECTOR, ".genai-matrix .genai-cell")[-len(row) :]
        found = [float(cell.get_attribute("opacity")) for cell in cells]
        np.testing.assert_allclose(found, row, atol=TOLERANCE)
        if head < 2:
            assert says.text == toy.says(record["heads"][layer][head], record)
    radios[0].send_keys(Keys.ARROW_RIGHT)
    assert (now()["layer"], now()["head"]) == (0, 1)


def test_signs_that_the_model_does_not_have_are_named(browser, opened):
    root, now = opened()
    status = root.find_element(By.CLASS_NAME, "genai-status")
    retype(browser, root, "Año #1")
    assert now()["ids"] == toy.encode("ao ").tolist()
    assert status.text == "Left out, as the model has no sign for it: ñ # 1"
    field = retype(browser, root, "")
    assert status.text == "Type at least one letter."
    field.send_keys("hi")
    assert status.text == "" and now()["ids"] == toy.encode("hi").tolist()
    field.send_keys("x" * 60)
    assert len(now()["ids"]) == toy.CONFIG.context
    assert browser.errors() == []


def test_a_finger_glides_along_the_letters(browser, opened):
    root, now = opened(390)
    place = (
        "const b = arguments[0].querySelectorAll('.genai-query')[arguments[1]]"
        ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"
    )
    browser.js("arguments[0].querySelector('.genai-lines').scrollIntoView({block: 'center'})", root)

    def touch(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        browser.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", browser.js(place, root, 2))
    browser.wait("return arguments[0].genaiAttention.chosen === 2", root)
    for i in (3, 4, 5):
        touch("touchMove", browser.js(place, root, i))
    browser.wait("return arguments[0].genaiAttention.chosen === 5", root)
    touch("touchEnd")
