"""Open experiments: asked, handed in, kept beside what was handed in before, and reported."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from genai_utils.book.digest import package_call
from genai_utils.book.folding import kind
from genai_utils.checks import experiments, register
from genai_utils.checks.checking import progress
from genai_utils.checks.experimenting import experiment, experiment_bundle, hand_in, hand_in_bundle
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.records import Records

from .toys import shelves

GOOD = ("It names <the seeds>.", "It has a `unit`.", "It says what is not shown.")
NUMBER = Experiment(
    "toy-number", "How wide? Use `width=k`.", "the smallest width", GOOD, 30,
    kind="number", unit="units", between=(2, 40), beyond="Is it counted once?",
)  # fmt: skip
TEXT = Experiment("toy-text", "Why?", "two sentences", GOOD, 20)
FIGURE = Experiment("toy-figure", "How does it fall?", "a figure: a against b", GOOD, 40, "figure")


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """The toy experiments are the book's only ones."""
    shelves(monkeypatch, "EXPERIMENTS", toys=(NUMBER, TEXT), others=(FIGURE,))


@pytest.fixture
def kept(fresh):
    return lambda: json.loads((fresh / "progress.json").read_text())["handed_in"]


def drawn(size=3):
    figure = Figure((size, 2))
    figure.subplots().plot([1, 2, 4])
    return figure


# ---- handed in -----------------------------------------------------------------------------------


def test_what_is_asked_is_shown_and_the_points_of_a_good_answer_wait_in_a_fold(capsys):
    experiment("toy-number")
    out = capsys.readouterr().out
    assert "Open experiment (30 minutes)" in out
    assert 'hand_in("toy-number", 12, "what you did")' in out
    html = experiment_bundle("toy-number").html
    before, details = html.split("<details>")
    assert "<code>width=k</code>" in before and "the seeds" not in before + out
    assert "<li>It names &lt;the seeds&gt;.</li>" in details and details.count("<li>") == 3


def test_a_number_is_kept_and_then_the_points_are_shown(kept, capsys):
    hand_in("toy-number", 12, " two seeds ")
    out = capsys.readouterr().out.splitlines()
    assert out == ["Kept: 12 units", "What a good answer contains:", *(f"- {g}" for g in GOOD)]
    record = kept()["toys"]["toy-number"]
    assert (record["kind"], record["said"], record["note"]) == ("number", "12", "two seeds")
    assert record["earlier"] == [] and record["last"]


@pytest.mark.parametrize("said", [1, 41, -12])
def test_an_implausible_number_is_kept_and_what_to_check_is_said(kept, said, capsys):
    hand_in("toy-number", said)
    out = capsys.readouterr().out
    assert "not between 2 and 40 units" in out and "Is it counted once?" in out
    assert kept()["toys"]["toy-number"]["said"] == str(said)
    hand_in("toy-number", 40)
    assert "not between" not in capsys.readouterr().out


def test_a_second_answer_is_said_and_the_first_is_kept_beside_it(kept, capsys):
    hand_in("toy-number", 12)
    hand_in("toy-number", 12)  # the same again is no second one
    assert "Before" not in capsys.readouterr().out
    hand_in("toy-number", 14, "counted again")
    assert "you handed in 12 units. That is kept, too." in capsys.readouterr().out
    record = kept()["toys"]["toy-number"]
    assert record["said"] == "14" and [e["said"] for e in record["earlier"]] == ["12"]


@pytest.mark.parametrize("said", [torch.tensor(12.0), np.float32(12), np.array(12)], ids=repr)
def test_a_number_may_come_out_of_a_computation(kept, said):
    hand_in("toy-number", said)
    assert kept()["toys"]["toy-number"]["said"] == "12"


def test_the_last_five_answers_are_kept_beside_it(kept):
    for said in range(2, 10):
        hand_in("toy-number", said)
    assert [e["said"] for e in kept()["toys"]["toy-number"]["earlier"]] == list("45678")


def test_an_unreadable_file_is_set_aside_and_the_answer_is_kept(fresh, kept, capsys):
    (fresh / "progress.json").write_text("{")
    hand_in("toy-number", 12)
    out = capsys.readouterr().out
    assert out.startswith("Kept: 12 units")
    assert kept()["toys"]["toy-number"]["said"] == "12"


def test_a_file_of_a_newer_version_is_left_alone_and_what_to_do_is_said(fresh, capsys):
    newer = {"format": "genai-from-scratch progress", "version": 4, "notebooks": [1],
             "handed_in": 3}  # fmt: skip
    (fresh / "progress.json").write_text(json.dumps(newer))
    hand_in("toy-number", 12)
    out = capsys.readouterr().out
    assert out.startswith("Not kept: 12 units") and "install that one here" in out
    assert [p.name for p in fresh.glob("*.json")] == ["progress.json"]
    assert json.loads((fresh / "progress.json").read_text()) == newer


def test_none_is_to_do_and_nothing_is_kept(fresh, capsys):
    hand_in("toy-figure", None)
    assert capsys.readouterr().out == hand_in_bundle("toy-figure").data["text/plain"] + "\n"
    assert "to do" in hand_in_bundle("toy-figure").html and not (fresh / "progress.json").exists()


def test_a_figure_is_kept_as_a_picture(kept):
    hand_in("toy-figure", drawn(), "It falls.")
    record = kept()["others"]["toy-figure"]
    assert record["said"].startswith("data:image/png;base64,") and record["kind"] == "figure"
    noisy = Figure((12, 9))
    noise = torch.rand(900, 900, generator=torch.Generator().manual_seed(0))
    noisy.subplots().imshow(noise, interpolation="nearest")
    with pytest.raises(ValueError, match="at most 300 kB"):
        hand_in("toy-figure", noisy)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("toy-number", "12 units"), TypeError, "a number of units, without its unit; got '12"),
        (("toy-number", True), TypeError, "a number"),
        (("toy-number", float("inf")), ValueError, "a finite number"),
        (("toy-text", 3), TypeError, "a text in quotes; got 3"),
        (("toy-text", "too short a text"), ValueError, "at least 5 words"),
        (("toy-number", torch.ones(2)), TypeError, "a number of units, .*; got a Tensor"),
        (("toy-number", torch.tensor(True)), TypeError, "a number of units"),
        (("toy-figure", [1, 2]), TypeError, "a matplotlib figure, as in .*; got a list"),
        (("toy-figure", plt), TypeError, "a matplotlib figure, as in .*; got a module"),
        (("toy-figure", Figure()), ValueError, "nothing is drawn in this one"),
        (("toy-number", 3, 4), TypeError, "a text as note; got a int"),
        (("toy-nubmer", 3), ValueError, "no open experiment 'toy-nubmer'. Near it: toy-number"),
        ((3, 3), TypeError, "name of an open experiment is a text"),
    ],
)
def test_what_cannot_be_handed_in_is_refused(fresh, arguments, error, message):
    with pytest.raises(error, match=message):
        hand_in(*arguments)
    assert not (fresh / "progress.json").exists()


def test_while_the_book_is_published_nothing_is_kept(fresh, monkeypatch, capsys):
    monkeypatch.setenv("GENAI_PUBLISH", "1")
    hand_in("toy-number", 12)
    assert "Not kept: 12 units" in capsys.readouterr().out
    assert not (fresh / "progress.json").exists()


# ---- kept and reported ---------------------------------------------------------------------------


def test_a_file_of_an_earlier_version_is_taken_over(fresh, kept, capsys):
    record = {"state": "correct", "solved": "2026-01-01", "last": "", "tries": 1, "hints": 0,
              "solution": False, "code": ""}  # fmt: skip
    old = {"format": "genai-from-scratch progress", "version": 2,
           "notebooks": {"toys": {"row_norms": record}}, "predictions": {}}  # fmt: skip
    (fresh / "progress.json").write_text(json.dumps(old))
    hand_in("toy-text", "It is so because of this.")
    assert Records().all()[0]["toys"]["row_norms"]["solved"] == "2026-01-01"
    assert kept()["toys"]["toy-text"]["said"].startswith("It is so")


def test_the_report_tells_what_was_handed_in(fresh, capsys):
    progress()
    assert "open experiment" not in capsys.readouterr().out
    hand_in("toy-number", 12)
    hand_in("toy-number", 14, "with <two>\nseeds")
    hand_in("toy-figure", drawn(), "It falls.")
    capsys.readouterr()
    progress(fresh / "r.json")
    assert "2 of 3 open experiments handed in." in capsys.readouterr().out
    figure, number = json.loads((fresh / "r.json").read_text())["experiments"]
    assert (number["handed in"], number["unit"], number["earlier answers"]) == ("14", "units", 1)
    assert figure["handed in"].startswith("data:image/png")
    progress(fresh / "r.html", name="Ada")
    page = (fresh / "r.html").read_text()
    assert (
        "<b>14 units</b>" in page and "with &lt;two&gt;\nseeds" in page and "after 1 other" in page
    )
    assert "<code>width=k</code>" in page and "white-space:pre-line" in page
    assert re.search(r'<img src="data:image/png;base64,[\w+/=]+" alt="It falls."', page)


# ---- declared ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "table"},
        {"good": GOOD[:2]},
        {"unit": "nats"},
        {"good": "One. Two. Three."},
        {"kind": "number"},
        {"between": (1, 2), "beyond": "Why?"},
        {"kind": "number", "between": (1, 2)},
        {"kind": "number", "between": (2, 1), "beyond": "Why?"},
    ],
)
def test_a_broken_experiment_is_refused(settings):
    with pytest.raises(ValueError):
        Experiment(**{"name": "x", "question": "?", "hand_in": "it", "good": GOOD, "minutes": 30}
                   | settings)  # fmt: skip


def test_names_are_unique_in_the_book_and_texts_are_sentences(monkeypatch):
    monkeypatch.undo()
    found = [e for topic in register.topics() for e in experiments.of_topic(topic)]
    names = [each.name for each in found]
    assert len(names) == len(set(names)) and all(re.fullmatch(r"[\w-]+", name) for name in names)
    assert {"longer-than-trained", "context-that-helps", "units-in-use"} <= set(names)
    for each in found:
        assert each.question[-1] in ".?" and each.hand_in[-1] not in ".?:" and each.minutes >= 10
        for text in (*each.good, each.beyond):
            assert (not text or text[-1] in ".?") and len(text) < 300


# ---- cells ---------------------------------------------------------------------------------------


def test_the_cells_of_an_experiment_are_known():
    asks = 'from genai_utils.course import experiment\n\nexperiment("toy-text")'
    hands = 'from genai_utils.course import hand_in\n\nhand_in("toy-text", None)  # your text'
    assert package_call(asks) == ("experiment", "toy-text") and kind(asks) == "output alone"
    assert package_call(hands) == ("hand_in", "toy-text") and kind(hands) == "nothing"
    for code in (hands.replace("None", "3"), hands.replace(", None", ""), hands + "\nx = 3",
                 asks.replace('")', '", None)'), asks + "  # a comment"):  # fmt: skip
        assert package_call(code) is None
