"""Two classifiers in a page: pieces and verdicts are the package's, your own words count."""

import functools
import hashlib
import re

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils import data
from genai_utils.data import DataError
from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language.finetuning import EXTRACT, START, classification, pack
from genai_utils.language.tokenizer import SPECIAL, from_pieces, train_wordpiece
from genai_utils.toys import make, make_verdict
from genai_utils.toys import verdict as toy

SHOWN = "return arguments[0].genaiVerdict.shown()"


@pytest.fixture(scope="module")
def loaded():
    return toy.load()


@pytest.fixture
def opened(open_toy):
    return functools.partial(open_toy, toy.bundle(), "genaiVerdict.chosen()")


def expected(loaded, text):
    """[(word, [P of each model])] as PyTorch computes it, with the weights that the page has."""
    models, tokenizer, _ = loaded
    words = toy.words_of(text, tokenizer)
    found = []
    for model in models.values():
        page, bias = toy.for_page(model)
        found.append(toy.verdicts(quantized_copy(page), bias, words))
    return [word for word, _ in words], np.array(found).T


def retype(browser, root, text):
    field = root.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)


def agree(browser, root, loaded, text):
    words, p = expected(loaded, text)
    shown = browser.js(SHOWN, root)
    assert len(shown) == len(words)
    np.testing.assert_allclose([found for _, found in shown], p, atol=2e-3)
    return shown


# -- the weights ---------------------------------------------------------------------------------


def test_the_weights_are_those_of_the_record_and_small(loaded):
    payload = (toy.WEIGHTS / "verdict.safetensors").read_bytes()
    record = loaded[2]
    assert hashlib.sha256(payload).hexdigest() == record["sha256"]
    assert len(payload) == record["bytes"] < 400_000
    counted = {sum(p.numel() for p in model.parameters()) for model in loaded[0].values()}
    assert counted == {record["parameters"]}


def test_the_page_model_gives_the_log_odds_of_the_classifier(loaded):
    models, tokenizer, _ = loaded
    ids = tokenizer.encode("an odd and funny film , at times too long .")
    for model in models.values():
        page, bias = toy.for_page(model)
        with torch.no_grad():
            logits = model(pack([classification(ids)], 40))[0]
            score = page(torch.tensor([[START, *ids.tolist(), EXTRACT]]))[0, -1, -1] + bias
        assert score.item() == pytest.approx((logits[1] - logits[0]).item(), abs=1e-4)


def test_pre_training_is_worth_something_by_the_record(loaded):
    right = loaded[2]["test"]
    assert right["pretrained"] > right["scratch"] > 0.5
    assert all(e["label"] in (0, 1) and e["text"] for e in loaded[2]["examples"])


def test_the_pieces_of_the_record_cut_as_they_were_learnt():
    texts = ["the plot is dull", "a dull but lovely plot", "lovely, isn't it?"]
    learnt = train_wordpiece(texts, 60)
    again = from_pieces(learnt.pieces(range(len(learnt))))
    for text in (*texts, "unlovely ☃ plots"):
        assert again.encode(text).equal(learnt.encode(text))
    with pytest.raises(ValueError, match="pieces"):
        from_pieces(["a", "b"])
    with pytest.raises(ValueError, match="pieces"):
        from_pieces([*SPECIAL, "a", "a"])


def test_words_are_cut_off_where_the_context_ends(loaded):
    words = toy.words_of("film " * 80, loaded[1])
    assert sum(len(own) for _, own in words) == toy.SIZES["context"] - 2


def test_a_training_of_a_few_steps_gives_a_record_and_leaves_the_random_state(monkeypatch):
    if len(data.reviews().texts) < 10_000:
        pytest.skip("the film reviews are not on this machine")
    monkeypatch.setattr(make_verdict, "TEST", 60)
    monkeypatch.setattr(make_verdict, "VALIDATION", 40)
    monkeypatch.setattr(make_verdict, "RATES", (1e-3,))
    state = torch.get_rng_state()
    payload, record = make_verdict.make(steps=2)
    assert torch.get_rng_state().equal(state)
    again = make_verdict.make(steps=2)
    assert again[0] == payload and again[1] == record
    assert record.keys() == toy.load()[2].keys()


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    with pytest.raises(DataError, match="python -m genai_utils.toys.make verdict"):
        toy.load()


def test_the_command_knows_it(monkeypatch, tmp_path, capsys):
    payload, record = b"x", {"bytes": 1, "test": {"pretrained": 0.7, "scratch": 0.6}}
    made = lambda steps, progress: (payload, record)  # noqa: E731
    monkeypatch.setitem(make.MAKERS, "verdict", made)
    assert make.main(["verdict", "--out", str(tmp_path)]) == 0
    assert "70.0 % of the test sentences right, 60.0 % without" in capsys.readouterr().out


# -- the page ------------------------------------------------------------------------------------


def test_without_a_script_the_first_review_is_there(loaded):
    bundle = toy.bundle()
    html = re.sub(r"<(script|style)>.*?</\1>", "", bundle.html, flags=re.DOTALL)
    first = loaded[2]["examples"][0]
    assert 'data-figure="toy-verdict"' in html and "<input" not in html
    words, p = expected(loaded, first["text"])
    assert html.count('class="genai-word"') == len(words)
    meant = ("negative", "positive")[first["label"]]
    assert f"The critic meant it {meant}." in html and toy.said(p[-1, 0]) in html
    assert bundle.size < 330_000


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_computes_what_pytorch_computes(browser, opened, loaded, width):
    root, _ = opened(width, wide=width < 600)
    for text, label in [(e["text"], e["label"]) for e in loaded[2]["examples"]][:3]:
        agree(browser, root, loaded, text)
        meant = ("negative", "positive")[label]
        assert f"The critic meant it {meant}." in root.text
        root.find_element(By.XPATH, ".//button[. = 'Another review']").click()
    for text in ("Naïve, isn't it?  A déjà vu.", "unputdownable", "film " * 60):
        retype(browser, root, text)
        agree(browser, root, loaded, text)
        assert "Your own words" in root.text
    assert browser.overflow() == 0 and browser.errors() == []


def test_pieces_in_the_page_are_the_tokenizers(browser, opened, loaded):
    root, _ = opened()
    texts = [*(e["text"] for e in loaded[2]["examples"]), "Élan & ½ price: 100% zzyzx-like!"]
    texts += ["a" * 100, "a" * 101, "so 漢字 then"]  # the longest word, one longer, no piece for it
    for text in texts:
        ids = browser.js("return arguments[0].genaiVerdict.ids(arguments[1])", root, text)
        assert ids == loaded[1].encode(text).tolist()


def test_a_word_is_chosen_with_the_keys_and_an_empty_field_is_no_error(browser, opened, loaded):
    root, chosen = opened()
    assert chosen() == -1
    review = root.find_element(By.CLASS_NAME, "genai-review")
    review.send_keys(Keys.ARROW_RIGHT)
    review.send_keys(Keys.ARROW_RIGHT)
    assert chosen() == 1
    words, p = expected(loaded, loaded[2]["examples"][0]["text"])
    said = root.find_element(By.CLASS_NAME, "genai-status").text
    assert said.startswith(f"After “{words[1]}”") and f"→ {p[1, 0]:.2f}" in said
    review.send_keys(Keys.END)
    assert chosen() == len(words) - 1
    retype(browser, root, "")
    assert browser.js(SHOWN, root) == [] and "–" in root.text and chosen() == -1
    assert browser.errors() == []
