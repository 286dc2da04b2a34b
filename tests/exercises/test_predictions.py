"""Predictions: kept until the answer is shown, compared then; in the page without a kernel too."""

import json
import re
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils import run as runs
from genai_utils.book.chapters import Book
from genai_utils.book.digest import package_call
from genai_utils.checks import predictions, register
from genai_utils.checks.checking import progress
from genai_utils.checks.predicting import predict, predict_bundle, reveal, reveal_bundle
from genai_utils.checks.predictions import Prediction
from genai_utils.checks.records import Records
from tests.book.test_lecture_map import lost_numbers, stored

from .toys import shelves

BOOK = Book(Path(__file__).parents[2])
CHOICE = Prediction(
    "toy-choice", "Which is <longest>?", "b", "The second, by 3 (section 1.1).",
    choices=("the first", "the second", "neither"),
)  # fmt: skip
NUMBER = Prediction("toy-number", "How many?", 14.0, "It is 14.0.", unit="%", within=5)
TIMES = Prediction("toy-times", "How often?", 200, "It is 200.", factor=2)
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
)


@pytest.fixture
def toys(monkeypatch):
    """The toy predictions are the book's only ones."""
    shelves(monkeypatch, "PREDICTIONS", toys=(CHOICE, NUMBER), others=(TIMES,))


@pytest.fixture
def kept(fresh):
    return lambda: json.loads((fresh / "progress.json").read_text())["predictions"]


# ---- what a notebook says ------------------------------------------------------------------------


def test_the_last_prediction_before_the_answer_counts(toys, kept, capsys):
    predict("toy-choice", "a")
    predict("toy-choice", " B. ")
    assert capsys.readouterr().out == "kept: a. the first\nkept: b. the second\n"
    reveal("toy-choice")
    out = capsys.readouterr().out.splitlines()
    assert out == [CHOICE.question, "You predicted: b. the second. ✓ It came true.",
                   "The answer: b. the second", CHOICE.because]  # fmt: skip
    predict("toy-choice", "c")
    assert capsys.readouterr().out.startswith("The answer has been shown.")
    reveal("toy-choice")
    assert "You predicted: b. the second. ✓" in capsys.readouterr().out
    record = kept()["toys"]["toy-choice"]
    assert (record["said"], record["shown"], record["right"]) == ("b", True, True)


def test_another_notebook_may_have_shown_the_answer_meanwhile(toys, kept):
    predict("toy-choice", "a")
    reveal("toy-choice")
    Records().foretell("toys", "toy-choice", said="b")
    assert kept()["toys"]["toy-choice"]["said"] == "a"


@pytest.mark.parametrize(
    ("name", "said", "right"),
    [("toy-number", 9, True), ("toy-number", 19.5, False), ("toy-number", 8.9, False),
     ("toy-times", 100, True), ("toy-times", 401, False), ("toy-times", -200, False)],
)  # fmt: skip
def test_a_number_is_right_where_it_is_near(toys, kept, name, said, right, capsys):
    predict(name, said)
    reveal(name)
    assert f"You predicted: {said:g}" in capsys.readouterr().out
    (record,) = [shelf[name] for shelf in kept().values()]
    assert record["right"] == right


def test_without_a_prediction_the_answer_is_shown_and_that_is_said(toys, capsys):
    reveal("toy-number")
    assert 'No prediction was kept: predict("toy-number", …)' in capsys.readouterr().out
    predict("toy-number", 14)
    assert "The answer has been shown." in capsys.readouterr().out
    progress()
    assert "prediction" not in capsys.readouterr().out


def test_the_question_is_shown_where_nothing_is_predicted(toys, fresh, capsys):
    predict("toy-choice")
    out = capsys.readouterr().out
    assert out == predict_bundle("toy-choice").data["text/plain"] + "\n"
    assert CHOICE.question in out and "c. neither" in out and CHOICE.because not in out
    assert not (fresh / "progress.json").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("toy-choice", "d"), ValueError, "a, b or c, in quotes; got 'd'"),
        (("toy-choice", ""), ValueError, "a, b or c"),
        (("toy-choice", "ab"), ValueError, "got 'ab'"),
        (("toy-choice", 1), TypeError, "the letter of a choice.*got 1"),
        (("toy-number", "14 %"), TypeError, "a number of %, without its unit.*got '14 %'"),
        (("toy-number", True), TypeError, "a number"),
        (("toy-number", [14]), TypeError, "got a list"),
        (("toy-number", float("nan")), ValueError, "finite number; got nan"),
        (("toy-chioce",), ValueError, "no prediction 'toy-chioce'. Near it: toy-choice"),
        (("zzz",), ValueError, "Near it: toy-times, toy-choice, toy-number|toy-choice, toy"),
        ((3,), TypeError, "name of a prediction is a text.*got 3"),
    ],
)
def test_what_is_no_prediction_is_refused(toys, fresh, arguments, error, message):
    with pytest.raises(error, match=message):
        predict(*arguments)
    assert not (fresh / "progress.json").exists()


def test_an_unknown_name_is_refused_by_reveal_too(toys):
    with pytest.raises(ValueError, match="no prediction 'zzz'"):
        reveal("zzz")


@pytest.mark.parametrize("broken", ['{"a": 3}', "[]", '{"toys": {"toy-choice": {"said": 3}}}'])
def test_a_corrupt_file_is_kept_aside_and_that_is_said(toys, kept, fresh, broken, capsys):
    text = '{"format": "genai-from-scratch progress", "version": 2, "notebooks": {}, '
    text += f'"predictions": {broken}}}'
    (fresh / "progress.json").write_text(text)
    predict("toy-choice", "a")
    (aside,) = fresh.glob("progress.unreadable-*.json")
    assert aside.read_text() == text and aside.name in capsys.readouterr().out
    assert kept()["toys"]["toy-choice"]["said"] == "a"


def test_a_file_of_the_first_version_loses_nothing(toys, kept, fresh):
    record = {"toys": {"row_norms": {"state": "correct", "solved": "2026-11-26"}}}
    old = {"format": "genai-from-scratch progress", "version": 1, "notebooks": record}
    (fresh / "progress.json").write_text(json.dumps(old))
    predict("toy-choice", "a")
    found = json.loads((fresh / "progress.json").read_text())
    assert found["notebooks"]["toys"]["row_norms"]["solved"] == "2026-11-26"
    assert found["version"] == 3 and kept()["toys"]["toy-choice"]["said"] == "a"


def test_what_cannot_be_kept_is_said(toys, fresh, monkeypatch, capsys):
    (fresh / "file").write_text("not a folder")
    monkeypatch.setenv("GENAI_PROGRESS", str(fresh / "file" / "progress.json"))
    predict("toy-choice", "a")
    out = capsys.readouterr().out
    assert out.startswith("not kept: a.") and "could not be saved" in out


def test_a_published_run_keeps_nothing_and_stores_what_the_page_shows(
    toys, fresh, monkeypatch, capsys
):
    monkeypatch.setenv("GENAI_PUBLISH", "1")
    predict("toy-choice", "a")
    assert capsys.readouterr().out.startswith("not kept")
    reveal("toy-choice")
    assert capsys.readouterr().out == reveal_bundle("toy-choice").data["text/plain"] + "\n"
    assert not (fresh / "progress.json").exists()


def test_progress_counts_predictions_in_one_line(toys, monkeypatch, capsys):
    progress()
    before = capsys.readouterr().out
    predict("toy-choice", "a"), capsys.readouterr()
    progress()
    assert capsys.readouterr().out == before + "1 prediction made, none revealed yet.\n"
    predict("toy-times", 300), predict("toy-number", 80)
    reveal("toy-times"), reveal("toy-choice"), capsys.readouterr()
    progress()
    assert capsys.readouterr().out.endswith("\n3 predictions made; of 2 revealed 1 came true.\n")
    monkeypatch.setattr(runs, "_current", runs.Run("31_others", "cpu", None, 0))
    progress()
    assert capsys.readouterr().out.endswith("\n1 prediction made; of 1 revealed 1 came true.\n")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"answer": "d", "choices": ("x", "y")}, ValueError),
        ({"answer": "a", "choices": ("x",)}, ValueError),
        ({"answer": 3}, ValueError),
        ({"answer": 3, "within": 1, "factor": 2}, ValueError),
        ({"answer": 3, "factor": 1}, ValueError),
        ({"answer": 0, "factor": 2}, ValueError),
        ({"answer": "3", "factor": 2}, TypeError),
    ],
)
def test_a_broken_prediction_is_refused(settings, error):
    with pytest.raises(error):
        Prediction("x", "Which?", because="So.", **settings)


# ---- the book's ----------------------------------------------------------------------------------


def declared():
    return {topic: predictions.of_topic(topic) for topic in register.topics()}


def test_names_are_unique_in_the_book_and_three_chapters_have_three():
    found = {topic: shelf for topic, shelf in declared().items() if shelf}
    names = [prediction.name for shelf in found.values() for prediction in shelf]
    assert len(names) == len(set(names)) and all(re.fullmatch(r"[\w-]+", name) for name in names)
    assert {"transformer", "bert", "vae"} <= set(found)
    assert all(len(found[topic]) == 3 for topic in ("transformer", "bert", "vae"))


@pytest.mark.parametrize("name", list(BOOK.chapters))
def test_a_chapter_asks_before_it_tells_and_its_numbers_stand_there(name):
    written = BOOK.chapters[name]
    cells = written.notebook.cells
    calls = [package_call(cell.source) if cell.cell_type == "code" else None for cell in cells]
    shelf = declared().get(register.topic_of(name), ())
    asked = [call for call in calls if call and call[0] in ("predict", "reveal")]
    assert sorted(asked) == sorted((f, p.name) for f in ("predict", "reveal") for p in shelf)
    for prediction in shelf:
        assert calls.index(("predict", prediction.name)) + 1 < calls.index(
            ("reveal", prediction.name)
        )
    # What the prediction's own cells store does not count.
    told = Told(written, [cell for cell, call in zip(cells, calls, strict=True) if call in asked])
    for prediction in shelf:
        assert lost_numbers(stored(told), prediction.because) == []
        assert prediction.because.endswith(".") and "(section " in prediction.because


class Told:
    """A chapter without some of its cells."""

    def __init__(self, written, without):
        self.prose = written.prose
        self.code_cells = [c for c in written.code_cells if not any(c is w for w in without)]


# ---- the page ------------------------------------------------------------------------------------


@pytest.fixture
def opened(toys, browser, tmp_path):
    """Open a page with the question and, below, the answer; returns the two figures."""

    def open_at(name, **options):
        page = tmp_path / "t.html"
        html = PAGE + predict_bundle(name).html + "<p>Text.</p>" + reveal_bundle(name).html
        page.write_text(html, encoding="utf-8")
        browser.open(page, **options)
        return browser.driver.find_elements(By.CLASS_NAME, "genai-predict")

    return open_at


def test_without_a_script_the_answer_waits_in_a_fold(toys):
    html = re.sub(r"<(script|style)>.*?</\1>", "", predict_bundle("toy-choice").html, flags=re.S)
    assert "Which is &lt;longest&gt;?" in html and html.count("<li>") == 3
    before, details = html.split("<details>")
    assert CHOICE.because not in before and CHOICE.because in details
    assert 'data-figure="predict-toy-choice"' in before and "data-explorer" not in html
    assert 'class="genai-untrusted"' in html


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_shows_the_answer_after_a_choice(browser, opened, width):
    asked, answer = opened("toy-choice", width=width, wide=width < 600)
    details = asked.find_element(By.TAG_NAME, "details")
    button = asked.find_element(By.TAG_NAME, "button")
    verdict = asked.find_element(By.CLASS_NAME, "genai-verdict")
    assert not details.is_displayed() and not asked.find_elements(By.CLASS_NAME, "genai-untrusted")
    button.click()
    assert verdict.text == "Choose an answer first." and not details.is_displayed()
    labels = asked.find_elements(By.TAG_NAME, "label")
    assert [label.text for label in labels] == ["a. the first", "b. the second", "c. neither"]
    labels[0].click()
    labels[1].click()
    button.click()
    assert verdict.text == "You predicted: b. the second. ✓ It came true."
    assert CHOICE.because in details.text and not button.is_enabled()
    answer.find_element(By.TAG_NAME, "summary").click()
    said = answer.find_element(By.CLASS_NAME, "genai-said")
    assert browser.wait("return arguments[0].textContent", said) == verdict.text
    assert CHOICE.because in answer.text
    assert browser.overflow() == 0 and browser.errors() == [] and len(browser.requests()) == 1


def test_the_keys_are_enough(browser, opened):
    asked, answer = opened("toy-choice")
    fields = asked.find_elements(By.TAG_NAME, "input")
    fields[0].send_keys(Keys.SPACE)
    fields[0].send_keys(Keys.ARROW_DOWN)
    fields[1].send_keys(Keys.ARROW_DOWN)
    fields[2].send_keys(Keys.ENTER)
    verdict = asked.find_element(By.CLASS_NAME, "genai-verdict")
    assert verdict.text == "You predicted: c. neither. ✗ It did not come true."
    assert browser.errors() == []


@pytest.mark.parametrize(
    ("name", "said", "right"),
    [("toy-number", "9", True), ("toy-number", "19.5", False),
     ("toy-times", "400", True), ("toy-times", "99", False)],
)  # fmt: skip
def test_the_page_compares_numbers_as_the_notebook_does(browser, opened, name, said, right):
    asked, _ = opened(name)
    field = asked.find_element(By.TAG_NAME, "input")
    verdict = asked.find_element(By.CLASS_NAME, "genai-verdict")
    field.send_keys(Keys.ENTER)
    assert verdict.text == "Write a number first."
    field.send_keys(said, Keys.ENTER)
    unit = " %" if name == "toy-number" else ""
    came = "✓ It came true." if right else "✗ It did not come true."
    assert verdict.text == f"You predicted: {said}{unit}. {came}"
    assert predictions.find(name)[1].right(float(said)) == right


def test_an_answer_that_was_not_predicted_says_so(browser, opened):
    _, answer = opened("toy-number")
    answer.find_element(By.TAG_NAME, "summary").click()
    said = answer.find_element(By.CLASS_NAME, "genai-said")
    text = browser.wait("return arguments[0].textContent", said)
    assert text == "You have made no prediction on this page."
