"""The same numbers on every device: what is compared and how, and the page made from it."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from docutils import nodes

from benchmarks import device_cards
from benchmarks import same_numbers as same
from genai_utils.book import same_page, stored

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "same_numbers.md").read_text(encoding="utf-8")
MEASURED = same.FILE.is_file()
FOUND = json.loads(same.FILE.read_text(encoding="utf-8")) if MEASURED else {}
measured = pytest.mark.skipif(
    not MEASURED, reason="not measured: python -m benchmarks.same_numbers"
)
MODELS = FOUND.get("models", {})


# --- how numbers are compared


def test_digits_are_those_that_two_numbers_share():
    assert same.digits(1.0, 1.0) is None
    assert same.digits(1.0, 1.001) == pytest.approx(3) and same.digits(100.0, 101) == pytest.approx(
        2
    )
    assert same.digits(1.0, -5.0) == 0
    assert same.shared("abcd", "abxd") == 2 and same.shared("abc", "abc") == 3
    assert same.shared("abcd", "abc") == same.shared("abc", "abcd") == 3


def test_growth_is_read_from_the_curves():
    """A difference of 1e-7 that grows tenfold in 50 steps: two decades in 100."""
    base = [2.0] * 200
    other = [2.0] * 10 + [2 * (1 + 10 ** (-7 + i / 50)) for i in range(190)]
    found = same.growth(base, other)
    assert found["first"] == 11
    assert found["decades"] == pytest.approx(2, abs=0.01)
    assert found["end"] == pytest.approx(10 ** (-7 + 180 / 50), rel=0.2)
    assert same.growth(base, base) == {"first": None, "decades": None, "end": 0.0}


def test_growth_ends_where_nothing_is_left_to_grow():
    base = [1.0] * 200
    other = [1 + min(0.1, 10 ** (-7 + i / 10)) for i in range(200)]
    assert same.growth(base, other)["decades"] == pytest.approx(10, abs=0.3)
    # Below 1 % it could go on, and the steps at which it does not grow count.
    other = [1 + min(5e-3, 10 ** (-7 + i / 10)) for i in range(200)]
    assert same.growth(base, other)["decades"] < 5


def test_growth_is_of_no_single_step():
    """Nine steps that differ have no slope, and one that is far off does not make the end."""
    base = [1.0] * 100
    assert same.growth(base, [1.0] * 91 + [1 + 1e-6] * 9)["decades"] is None
    found = same.growth(base, [1.0] * 90 + [1 + 1e-6] * 9 + [2.0])
    assert found["decades"] > 0 and found["end"] == pytest.approx(5e-7)


def test_shorter_curves_are_compared_as_far_as_they_go():
    """Lloyd's algorithm may stop sooner."""
    found = same.compared(
        {"curve": [3.0, 2.0, 1.0], "figures": {"a": 1.0}, "text": "abcd"},
        {"curve": [3.0, 2.0], "figures": {"a": 1.1}, "text": "abxy"},
    )
    assert found["apart"] == [0, 0] and found["digits"]["a"] == pytest.approx(1)
    assert found["figures"] == {"a": 1.1} and found["text"] == 2


def test_a_setting_changes_its_own_variables_only(monkeypatch):
    """What the caller has set of those that a setting may change does not count."""
    seen = []

    def process(command, env):
        seen.append(env)
        Path(command[-1]).write_text("{}", encoding="utf-8")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(same.subprocess, "run", process)
    for name in ("GENAI_SEED", "OMP_NUM_THREADS", "MKL_CBWR", "SAME_NUMBERS_PRECISION"):
        monkeypatch.setenv(name, "7")
    for setting in ("native", "again", "seed 1"):
        same.run(setting, ["pca"])
    native, again, other = seen
    assert native == again and other == native | {"GENAI_SEED": "1"}
    assert (native["GENAI_SEED"], native["OMP_NUM_THREADS"]) == ("0", "1")
    assert not {"MKL_CBWR", "SAME_NUMBERS_PRECISION"} & set(native)


# --- what is run


@pytest.mark.parametrize("make", same.MODELS, ids=lambda make: make.__name__)
def test_a_model_gives_a_curve_and_figures(make, monkeypatch):
    monkeypatch.setattr(same, "STEPS", 3)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.delenv("GENAI_SEED", raising=False)
    torch.manual_seed(0)
    curve, figures, text = make()
    assert len(curve) >= 3 and figures and isinstance(text, str)
    assert all(isinstance(value, float) for value in [*curve, *figures.values()])
    if MEASURED:
        assert set(figures) == set(MODELS[make.__name__]["native"]["figures"])


# --- which run cards can be compared


def notebook(profile, *cells, name="error", values=(2.0, 2.002)):
    """Of two stored notebooks, whose first cells, which set up, are not the same."""
    metrics = [{"name": name, "value": values[profile == "gpu"], "unit": ""}]
    return {
        "cells": [
            {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "id": str(i),
             "execution_count": None}
            for i, source in enumerate([f"run = start({profile!r})", *cells])
        ],
        "metadata": {"genai": {"profile": profile, "metrics": metrics}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip


RECORD = 'run.record("error", fitted(x))'


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (["x = 3", RECORD], 1),
        (["x = run.pick(ci=1, cpu=2, gpu=2)", RECORD], 1),
        (["x = run.pick(ci=1, cpu=2, gpu=9)", RECORD], 0),
        (["n = run.pick(ci=1, cpu=2, gpu=9)\nx = 2 * n", RECORD], 0),
        (["steps = run.pick(ci=1, cpu=2, gpu=9)\nx = 3", RECORD], 1),
        (["x = 3 if run.profile == 'gpu' else 2", RECORD], 0),
        (["start = time.perf_counter()\nx = start", RECORD], 0),
    ],
)
def test_figures_of_other_sizes_or_of_times_are_not_compared(cells, number):
    found = device_cards.comparable(notebook("cpu", *cells), notebook("gpu", *cells))
    assert len(found) == number
    if number:
        assert found[0]["digits"] == pytest.approx(3) and not found[0]["texts"]


@pytest.mark.parametrize(
    ("values", "digits"), [((1e-9, 2e-9), []), ((1e-9, 2.0), [0]), ((0.0, 0.0), [None])]
)
def test_nothing_but_rounding_is_not_compared(values, digits):
    both = [notebook(profile, RECORD, values=values) for profile in ("cpu", "gpu")]
    assert [one["digits"] for one in device_cards.comparable(*both)] == digits


def test_a_figure_is_compared_by_the_one_record_that_can_have_written_it():
    def names(*cells):
        both = [notebook(profile, *cells, name="error of 3 nets") for profile in ("cpu", "gpu")]
        return [(one["name"], one["texts"]) for one in device_cards.comparable(*both)]

    record = 'run.record(f"error of {n} nets", docstrings(n))'
    assert names(record) == [("error of 3 nets", True)]
    assert names(record, 'run.record("error of", 1)') == [("error of 3 nets", True)]
    assert names(record, 'run.record("error of 3 nets", 1)') == []  # which of the two?


def test_figures_of_changed_code_are_not_compared():
    assert not device_cards.comparable(
        notebook("cpu", "x = 3", RECORD), notebook("gpu", "x = 4", RECORD)
    )


def test_the_last_run_before_the_card_is_taken():
    cpu, later, gpu = notebook("cpu", "x = 1"), notebook("cpu", "x = 2"), notebook("gpu", "x = 3")
    assert device_cards.pair([cpu, later, gpu, cpu]) == (later, gpu)
    assert device_cards.pair([gpu, cpu]) is None and device_cards.pair([cpu]) is None


# --- the page


def test_a_page_of_the_book_has_its_measurement():
    listed = "book/same_numbers\n" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert MEASURED or not listed


@measured
def test_the_file_has_all_models_and_settings():
    assert list(MODELS) == [make.__name__ for make in same.MODELS]
    assert FOUND["settings"] == same.SETTINGS
    for name, found in MODELS.items():
        missing = {"bf16"} if name in same.CLASSICAL else set()
        assert set(found) == set(same.SETTINGS) - missing, name
        for setting, other in same_page.others(found).items():
            figures = found["native"]["figures"]
            expected = {k: same.digits(v, other["figures"][k]) for k, v in figures.items()}
            assert other["digits"] == pytest.approx(expected), (name, setting)


@measured
def test_again_is_the_same_to_the_last_bit():
    """What the page says first."""
    for name, found in MODELS.items():
        assert not any(found["again"]["apart"]), name
        assert set(found["again"]["digits"].values()) == {None}, name


@measured
def test_the_page_names_values_that_there_are():
    named = re.findall(r"\{stored\}`same_numbers: ([^`|]+?)(?: \| ([^`]+))?`", PAGE)
    assert named
    for keys, form in named:
        assert stored.written(stored.look_up(FOUND, keys), form or ""), keys
    for directive in ("same-digits", "same-growth", "same-curves", "same-cards"):
        assert f"```{{{directive}}}" in PAGE


def test_numbers_as_the_page_writes_them():
    assert same_page.shared(None) == "all" and same_page.shared(6.04) == "6.0"
    assert same_page.small(0) == "0" and same_page.small(2.3e-7) == "2e−7"
    assert same_page.small(0.012) == "1 %"
    assert same_page.tenfold(15.0) == "7 steps" and same_page.tenfold(0.1) == "does not grow"
    assert same_page.tenfold(0.5) == "200 steps" and same_page.tenfold(None) == ""


def tables(directive, *arguments):
    """The cells of each table that a directive makes, row by row, without the head."""
    made = object.__new__(directive)
    made.arguments = arguments
    env = SimpleNamespace(srcdir=ROOT, note_dependency=lambda path: None)
    bodies = [body for node in made.build(env) for body in node.findall(nodes.tbody)]
    return [[[cell.astext() for cell in row.children] for row in body.children] for body in bodies]


@measured
def test_the_tables_have_what_was_measured():
    settings = [name for name in same.SETTINGS if name != "native"]
    (rows,) = tables(same_page.SameDigits)
    here = [row for row in rows if row[0] == "GPT"]
    found = [MODELS["gpt"][setting] for setting in settings]
    assert [row[2:] for row in here] == [
        [same_page.shared(one["digits"]["validation loss"]) for one in found],
        [str(one["text"]) for one in found],
    ]
    assert {row[2 + settings.index("bf16")] for row in rows if row[0] == "PCA"} == {""}
    (rows,) = tables(same_page.SameGrowth, "two threads")
    ends = sorted(found["two threads"]["end"] for found in MODELS.values())
    assert [row[-1] for row in rows] == [same_page.small(end) for end in ends]
    both, few = tables(same_page.SameCards)
    assert sum(map(int, both[-1][1:])) == FOUND["cards"]["compared"]
    assert 0 < len(few) <= sum(map(int, both[-1][3:])) and all(float(row[-1]) <= 6 for row in few)
    texts = {one["name"] for one in FOUND["cards"]["figures"] if one["texts"]}
    assert texts and not texts & {row[1] for row in few}


@measured
def test_the_table_of_cards_counts_all_figures():
    figures = FOUND["cards"]["figures"]
    rows = [same_page.counts(figures, name) for name in {one["chapter"] for one in figures}]
    assert sum(map(sum, rows)) == len(figures) > 100
    few = [{"chapter": "x", "digits": d} for d in (None, 13.0, 6.0, 5.9, 1.9, 0.0)]
    assert same_page.counts(few, "x") == [2, 1, 1, 2]


@measured
def test_labels_of_the_figure_do_not_lie_on_each_other():
    labels = [[(510, 100), "a", ""], [(512, 101), "b", ""], [(512, 300), "c", ""]]
    assert same_page.spread(labels) == [100, 117, 300]
    svg = same_page.apart({"gan": [1e-9] * 30, "vq": [1.0] * 30}).svg("title", "alt")
    lines = re.findall(r'class="line l-(\w+)" d="M\S+ (\d+)', svg)
    assert lines == [("output", "350"), ("warning", "16")]  # at the bottom, and at the top
    curves = {name: found["two threads"]["apart"] for name, found in MODELS.items()}
    svg = same_page.apart(curves).svg("title", "alt")
    assert all(f">{same_page.TITLES[name]}<" in svg for name in MODELS)
