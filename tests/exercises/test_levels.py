"""The level of an exercise follows from its answer and its clauses, by a rule."""

from collections import Counter
from types import SimpleNamespace

import pytest

from genai_utils.checks import levels, register


def short(x):
    """One call, one operator."""
    return x.mean() + 1


def longer(x, dim):
    """Checks of input do not count."""
    if dim < 0:
        raise ValueError("dim: expected 0 or more, got less.")
    total = 0
    for row in x:  # 1 loop, 1 index, 2 operators, 1 call
        total = total + row[dim] * len(x)
    return total


def exercise(reference, clauses=0, planted=None):
    return SimpleNamespace(
        reference=reference, clauses=dict.fromkeys(range(clauses)), planted=planted
    )


def test_points_count_operations_and_clauses_and_no_checks():
    assert levels.points(exercise(short)) == 2
    assert levels.points(exercise(longer)) == 5
    assert levels.points(exercise(longer, clauses=3)) == 11


@pytest.mark.parametrize(
    ("clauses", "label"),
    [(5, "easy, 10 minutes"), (6, "medium, 20 minutes"), (9, "medium, 20 minutes"),
     (10, "hard, 30 minutes")],
)  # fmt: skip
def test_levels_begin_where_the_rule_says(clauses, label):
    assert levels.label(exercise(short, clauses)) == label


def test_a_planted_fault_is_said_and_counts_as_the_function_does():
    assert levels.label(exercise(longer, planted=short)) == "find the fault, easy, 10 minutes"


def test_the_book_has_exercises_of_all_levels():
    found = Counter(levels.level(e) for t in register.topics() for e in register.load(t).values())
    assert all(found[level] >= 15 for level in levels.MINUTES)
