"""Clauses: what a docstring promises beside the ordinary, tried when the ordinary is right."""

import pytest
import torch

from genai_utils.checks import Clause, Exercise
from genai_utils.checks.diagnosis import diagnose
from genai_utils.checks.trials import prepare


def root(x, floor):
    """The square root, at least floor. Raises ValueError for a negative floor."""
    if floor < 0:
        raise ValueError("floor")
    return torch.where(x > floor**2, x.clamp(min=1e-12).sqrt(), torch.full_like(x, floor))


def own(x, floor):
    """The same, as a student wrote it: a call of the library's function would be refused."""
    if floor < 0:
        raise ValueError("floor")
    return torch.where(x > floor**2, x.clamp(min=1e-12).sqrt(), floor * torch.ones_like(x))


def matrices(seed):
    g = torch.Generator().manual_seed(seed)
    return [(torch.rand(n, 3, generator=g) + 0.5, 0.1) for n in (2, 5)]


def no_error(x, floor):
    return own(x, abs(floor))


def no_floor(x, floor):
    if floor < 0:
        raise ValueError
    return x.sqrt()


FLOOR = "Below the floor the result is the floor."
ERROR = "A negative floor is an error: raise ValueError."
CLAUSES = {
    "floor": Clause(lambda seed: [(torch.zeros(2, 3), 0.1)], FLOOR, no_floor),
    "error": Clause(lambda seed: [(torch.ones(2), -1.0)], ERROR, no_error, raises=ValueError),
}
ROOT = Exercise(root, cases=matrices, clauses=CLAUSES, grad=["x"])


@pytest.mark.parametrize(
    ("function", "clause", "says"), [(no_floor, "floor", FLOOR), (no_error, "error", ERROR)]
)
def test_a_breach_gets_the_sentence_of_its_clause(function, clause, says):
    verdict = diagnose(ROOT, function)
    assert (verdict.state, verdict.mistake, verdict.sentence) == ("not yet", clause, says)
    labels = [label for label, _ in verdict.details]
    assert "inputs" in labels and "expected" in labels and "what was seen" in labels
    ordinary = Exercise(root, cases=matrices, grad=["x"])
    assert diagnose(ordinary, function).state == "correct"  # the clause alone tells it


def test_what_keeps_all_clauses_is_correct():
    assert diagnose(ROOT, lambda x, floor: own(x, floor)).state == "correct"


def test_an_ordinary_fault_comes_first():
    assert "2 times" in diagnose(ROOT, lambda x, floor: 2 * own(x, floor)).sentence


def another_error(x, floor):
    if floor < 0:
        raise KeyError("floor")
    return own(x, floor)


def failing(x, floor):
    if (x == 0).any():
        raise ValueError("zero")
    return own(x, floor)


@pytest.mark.parametrize(
    ("function", "seen"),
    [
        (another_error, "raised KeyError"),
        (no_error, "returned a result; ValueError is expected"),
        (failing, "raised ValueError: zero"),
    ],
)
def test_what_was_seen_is_told(function, seen):
    verdict = diagnose(ROOT, function)
    assert verdict.state == "not yet" and seen in dict(verdict.details)["what was seen"]


def test_a_gradient_can_break_a_clause():
    def nan_gradient(x, floor):
        if floor < 0:
            raise ValueError
        return torch.where(x > floor**2, x.sqrt(), torch.full_like(x, floor))

    case = lambda seed: [(torch.tensor([0.0, 1.0]), 0.1)]  # noqa: E731
    exercise = Exercise(
        root, cases=matrices, grad=["x"], clauses={"floor": Clause(case, FLOOR, no_floor)}
    )
    assert diagnose(exercise, nan_gradient).sentence == FLOOR


def test_the_subclass_of_an_error_will_do():
    class Mine(ValueError):
        pass

    def mine(x, floor):
        if floor < 0:
            raise Mine
        return own(x, floor)

    assert diagnose(ROOT, mine).state == "correct"


def test_the_library_must_keep_its_own_word():
    silent = Clause(lambda seed: [(torch.ones(2), 1.0)], ERROR, no_error, raises=ValueError)
    with pytest.raises(RuntimeError, match="raises no ValueError"):
        prepare(Exercise(root, cases=matrices, clauses={"error": silent}), (1,))
    failing = Clause(lambda seed: [(torch.ones(2), -1.0)], FLOOR, no_floor)
    with pytest.raises(RuntimeError, match="the library's own root failed"):
        prepare(Exercise(root, cases=matrices, clauses={"floor": failing}), (1,))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"clauses": {"floor": (1, 2)}}, "must be a Clause"),
        ({"clauses": CLAUSES, "mistakes": {"floor": (no_floor, "No.")}}, "are both called"),
    ],
)
def test_bad_clauses_are_refused(settings, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Exercise(root, cases=matrices, **settings)


@pytest.mark.parametrize(
    "settings", [{"cases": 3}, {"broken": None}, {"says": " "}, {"raises": "ValueError"}]
)
def test_a_clause_needs_its_parts(settings):
    whole = {"cases": matrices, "says": FLOOR, "broken": no_floor}
    with pytest.raises(TypeError):
        Clause(**whole | settings)


# ---- kinds of numbers, misplaced infinity, gradients of mistakes ---------------------------------


@pytest.mark.parametrize(
    ("reference", "answer", "words"),
    [
        (lambda x: x > 1, lambda x: (x > 1).float(), "truth values (bool) are expected"),
        (lambda x: x > 1, lambda x: (x > 1).long(), "holds whole numbers; truth values"),
        (lambda x: x.argmax(1), lambda x: x.argmax(1).float(), "whole numbers are expected"),
        (torch.ones_like, lambda x: torch.ones(x.shape, dtype=torch.int64), "floating-point"),
    ],
)
def test_the_kind_of_numbers_is_checked(reference, answer, words):
    def asked(x):
        return reference(x)

    cases = lambda seed: [(x,) for x, _ in matrices(seed)]  # noqa: E731
    exercise = Exercise(asked, cases=cases)
    verdict = diagnose(exercise, answer)
    assert verdict.state == "not yet" and words in verdict.sentence
    assert diagnose(exercise, lambda x: reference(x.double())).state == "correct"


def test_infinity_in_the_wrong_places_is_said():
    def masked(x):
        return x.masked_fill(x < 1, -torch.inf)

    cases = lambda seed: [(x,) for x, _ in matrices(seed)]  # noqa: E731
    verdict = diagnose(Exercise(masked, cases=cases), lambda x: x.masked_fill(x < 1.2, -torch.inf))
    assert "infinity in other places" in verdict.sentence


def test_a_mistake_is_known_by_its_gradient_too():
    def detached(x):
        return x.detach() * x

    says = "Something is detached here that should not be."
    cases = lambda seed: [(x,) for x, _ in matrices(seed)]  # noqa: E731
    exercise = Exercise(square, cases=cases, grad=True, mistakes={"detached": (detached, says)})
    verdict = diagnose(exercise, lambda x: x * x.detach())
    assert (verdict.state, verdict.sentence, verdict.mistake) == ("not yet", says, "detached")


def square(x):
    return x * x


def test_only_gradients_that_are_asked_for_need_flow():
    def chosen(x, u):
        return x * (u > 0)

    def without_gradient(x, u):
        return x * torch.heaviside(u, torch.zeros(()))  # torch has no gradient of it for u

    def cases(seed):
        return [(x, torch.randn(x.shape)) for x, _ in matrices(seed)]

    assert diagnose(Exercise(chosen, cases=cases, grad=["x"]), without_gradient).state == "correct"
    asked = diagnose(Exercise(chosen, cases=cases, grad=True), without_gradient)
    assert "fails when gradients are asked for" in asked.sentence
