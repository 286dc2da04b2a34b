"""Every exercise of the book, held to the same rules: one file for all that there are.

Each clause of an exercise (`register.Clause`) brings a function that breaks it alone; it must be
refused with the clause's sentence, and accepted once the clause is left out.

`test_<topic>.py` beside this file holds two tables of answers that were written independently of
the exercise file, as lists of (exercise name, function): WRONG, at least eight for each exercise,
all refused, and RIGHT, at least three, all accepted.
"""

import importlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch

from genai_utils.checks import diagnosis, register, stubs
from genai_utils.checks.compare import unchanged
from genai_utils.checks.diagnosis import SEEDS, diagnose
from genai_utils.checks.results import read

ROOT = Path(__file__).parents[2]
ALL = [each for topic in register.topics() for each in register.load(topic).values()]
OTHER_SEEDS = [(103,), (2024,)]


@pytest.fixture(autouse=True, scope="module")
def patient():
    """Other work may take the processor: an answer by loops has time here, however long it waits.

    The limit has tests of its own, in test_calls.py and test_diagnosis.py.
    """
    limits = [each.limit for each in ALL]
    for each in ALL:
        object.__setattr__(each, "limit", 10 * each.limit)
    yield
    for each, limit in zip(ALL, limits, strict=True):
        object.__setattr__(each, "limit", limit)


_prepared = {}  # what the library and the known mistakes say, by exercise and seeds


@pytest.fixture(autouse=True)
def prepared_once(monkeypatch):
    """What is known before an answer's turn is computed once; it was half of all time here.

    A trial's outcomes belong to one answer, so each gets trials of its own. Their arguments may be
    shared: an answer is called with copies.
    """

    def prepare(exercise, seeds, compute=diagnosis.prepare):
        if not any(exercise is each for each in ALL):  # a test has changed it
            return compute(exercise, seeds)
        key = ids(exercise), tuple(seeds)
        if key not in _prepared:
            _prepared[key] = compute(exercise, seeds)
        return [replace(trial) for trial in _prepared[key]]

    monkeypatch.setattr(diagnosis, "prepare", prepare)


def tables(topic):
    return importlib.import_module(f".test_{topic}", __package__)


def answers(kind):
    for topic in register.topics():
        for name, function in getattr(tables(topic), kind):
            label = f"{topic}-{name}-{function.__name__}"
            yield pytest.param(register.load(topic)[name], function, id=label)


def with_notebook_names(code, name):
    """The function that a notebook's cell with that code defines."""
    names = {}
    exec("\n".join(stubs.NAMES.values()), names)
    exec(code, names)
    return names[name]


def ids(exercise):
    return f"{exercise.topic}-{exercise.name}"


every_exercise = pytest.mark.parametrize("exercise", ALL, ids=ids)
every_mistake = pytest.mark.parametrize(
    ("exercise", "mistake"),
    [pytest.param(e, m, id=f"{ids(e)}-{m}") for e in ALL for m in e.mistakes],
)

every_clause = pytest.mark.parametrize(
    ("exercise", "clause"),
    [pytest.param(e, c, id=f"{ids(e)}-{c}") for e in ALL for c in e.clauses],
)


@every_exercise
def test_stub_is_to_do(exercise):
    stub = with_notebook_names(stubs.stub(exercise), exercise.name)
    verdict = diagnose(exercise, stub)
    assert verdict.state == "to do"
    assert ("planted version" in verdict.sentence) == bool(exercise.planted)
    assert stub.__doc__ == exercise.reference.__doc__


@every_exercise
def test_the_librarys_source_pasted_in_is_correct(exercise):
    assert stubs.foreign_names(exercise.reference) == set()
    pasted = with_notebook_names(stubs.source(exercise.reference), exercise.name)
    for seeds in (SEEDS, *OTHER_SEEDS):
        assert diagnose(exercise, pasted, seeds).state == "correct"


@pytest.mark.parametrize("exercise", [e for e in ALL if e.planted], ids=ids)
def test_a_planted_fault_is_plausible(exercise):
    """It runs, gives what has the right form and the wrong numbers, and is in one place."""
    assert stubs.foreign_names(exercise.planted) == set()
    planted = with_notebook_names(stubs.stub(exercise), exercise.name)
    for given in exercise.arguments(SEEDS[0]):
        right, wrong = read(exercise.reference(*given)), read(planted(*given))
        assert [t.shape for t in right.tensors] == [t.shape for t in wrong.tensors]
        assert [t.dtype for t in right.tensors] == [t.dtype for t in wrong.tensors]
        assert all(t.isfinite().all() for t in wrong.tensors)
    lines = set(stubs.stub(exercise).splitlines())
    right = stubs.source(exercise.reference).splitlines()
    assert len(lines - set(right)) == 2, "the comment, and one line that is faulty"


@pytest.mark.parametrize("exercise", [e for e in ALL if e.planted], ids=ids)
def test_a_planted_fault_that_was_only_rewritten_is_told_its_symptom(exercise):
    first, rest = stubs.stub(exercise).split(stubs.PLANTED)
    body = rest.replace("    return ", "    mine = ") + "    return mine\n"
    verdict = diagnose(exercise, with_notebook_names(first + body, exercise.name))
    assert (verdict.state, verdict.sentence) == ("not yet", exercise.symptom)


@every_mistake
@pytest.mark.parametrize("seeds", [SEEDS, *OTHER_SEEDS], ids=str)
def test_each_mistake_is_caught_with_its_own_sentence(exercise, mistake, seeds):
    wrong, sentence = exercise.mistakes[mistake]
    verdict = diagnose(exercise, wrong, seeds)
    assert (verdict.state, verdict.mistake, verdict.sentence) == ("not yet", mistake, sentence)


@every_exercise
def test_mistakes_are_pairwise_distinguishable_whatever_their_order(exercise):
    """Caught under its own name with the declared order reversed: no other one equals it."""
    turned = dict(reversed(exercise.mistakes.items()))
    other = register.Exercise(**{**vars(exercise), "mistakes": turned})
    for name, (wrong, _) in turned.items():
        assert diagnose(other, wrong, (5,)).mistake == name
    sentences = [sentence for _, sentence in turned.values()]
    assert len(set(sentences)) == len(sentences)


@every_clause
@pytest.mark.parametrize("seeds", [SEEDS, *OTHER_SEEDS], ids=str)
def test_a_breach_of_each_clause_is_refused_with_its_sentence(exercise, clause, seeds):
    verdict = diagnose(exercise, exercise.clauses[clause].broken, seeds)
    said = exercise.clauses[clause].says
    assert (verdict.state, verdict.mistake, verdict.sentence) == ("not yet", clause, said)


@every_clause
def test_the_breach_of_a_clause_breaks_nothing_else(exercise, clause):
    others = {name: each for name, each in exercise.clauses.items() if name != clause}
    without = register.Exercise(**{**vars(exercise), "clauses": others})
    assert diagnose(without, exercise.clauses[clause].broken).state == "correct"


@every_exercise
def test_cases_are_fresh_repeatable_and_varied(exercise):
    one, again, other = exercise.arguments(1), exercise.arguments(1), exercise.arguments(2)
    assert all(unchanged(a, b) for a, b in zip(one, again, strict=True))
    assert not all(unchanged(a, b) for a, b in zip(one, other, strict=True))
    tensors = [[a for a in case if isinstance(a, torch.Tensor)] for case in one]
    shapes = [tuple(t.shape for t in case) for case in tensors]
    assert len(set(shapes)) >= 2, "the sizes do not vary"
    for first in (case[0] for case in tensors):
        assert first.shape[0] >= 3, "fewer than three examples"
        assert len(set(first.shape)) == first.dim(), f"two sizes of {tuple(first.shape)} are equal"


@every_exercise
def test_texts_are_there(exercise):
    assert len(exercise.mistakes) >= 3 and len(exercise.hints) >= 2
    said = [sentence for _, sentence in exercise.mistakes.values()]
    said += [clause.says for clause in exercise.clauses.values()]
    for text in [*exercise.hints, *said]:
        assert text[0].strip() and text.rstrip()[-1] in ".?!:)", text
        assert len(text) < 300


@pytest.mark.parametrize(("exercise", "answer"), list(answers("WRONG")))
def test_wrong_answers_are_refused(exercise, answer):
    verdict = diagnose(exercise, answer)
    assert verdict.state in ("not yet", "error"), verdict


@pytest.mark.parametrize(("exercise", "answer"), list(answers("RIGHT")))
def test_equivalent_right_answers_are_accepted(exercise, answer):
    verdict = diagnose(exercise, answer)
    assert verdict.state == "correct", verdict


@pytest.mark.parametrize("topic", register.topics())
def test_there_are_enough_exercises_and_answers(topic):
    shelf = register.load(topic)
    assert len(shelf) >= 3
    wrong = Counter(name for name, _ in tables(topic).WRONG)
    right = Counter(name for name, _ in tables(topic).RIGHT)
    for name in shelf:
        wanted = 5 if shelf[name].planted else 8  # wrong repairs: most of the function stands
        assert wrong[name] >= wanted, f"{name}: too few wrong answers"
        assert right[name] >= 3, f"{name}: too few right answers"
        assert shelf[name].clauses, f"{name}: no clause of its docstring is declared"


@pytest.mark.parametrize("topic", register.topics())
def test_exercises_have_the_numbers_of_their_boxes(topic):
    """The order of the file is that of the notebook, where each stub stands below its box."""
    shelf = list(register.load(topic).values())
    path = ROOT / "notebooks" / f"{shelf[0].chapter}.ipynb"
    number, found = None, {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            boxes = re.findall(r"^> ?\*\*Exercise (\d+\.\d+)\*\*", cell.source, re.MULTILINE)
            number = boxes[-1] if boxes else number
        else:
            found |= {stub.name: number for stub in stubs.stubs_in(cell.source)}
    assert {e.name: e.number for e in shelf} == found
