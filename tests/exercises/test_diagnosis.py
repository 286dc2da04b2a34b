"""What a check says to each kind of answer, on toy functions."""

import sys
import time

import numpy as np
import pytest
import torch

from genai_utils.checks import Exercise
from genai_utils.checks.clues import is_stub, unused_parameters
from genai_utils.checks.diagnosis import diagnose

from .toys import DIRECTION, HURRIED, LARGEST, NORMS, PAIR, SHIFT, VALUES, matrices, row_norms

offset = 0.0


def loops(x):
    total = torch.zeros(len(x))
    for j in range(x.shape[1]):
        total = total + x[:, j] ** 2
    return total.sqrt()


RIGHT = {
    "norm": lambda x: x.norm(dim=1),
    "einsum": lambda x: torch.einsum("ij,ij->i", x, x).sqrt(),
    "loops": loops,
    "float64": lambda x: x.double().norm(dim=1),
    "other name": lambda matrix: matrix.norm(dim=1),
    "with a default": lambda x, dim=1: x.norm(dim=dim),
    "any arguments": lambda *a: a[0].norm(dim=1),
    "prints": lambda x: print(x) or x.norm(dim=1),
    "reads a global": lambda x: x.norm(dim=1) + offset,
    "seeds and draws": lambda x: torch.manual_seed(5) and x.norm(dim=1) + 0 * torch.rand(1),
}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize("exercise", [NORMS, VALUES], ids=["grad", "values"])
def test_right_answers_are_correct(exercise, answer):
    verdict = diagnose(exercise, answer)
    assert verdict.state == "correct", verdict


def test_other_types_are_accepted_where_no_gradient_is_asked_for_and_that_is_said():
    verdict = diagnose(VALUES, lambda x: np.linalg.norm(x.numpy(), axis=1))
    assert verdict.state == "correct" and "NumPy array was accepted" in verdict.sentence
    verdict = diagnose(LARGEST, lambda x: int(np.argmax(x.numpy())))
    assert verdict.state == "correct" and "plain number was accepted" in verdict.sentence
    assert diagnose(PAIR, lambda x: [x - x.mean(0), x.mean(0)]).state == "correct"


def nothing(x):
    """Docstring."""
    ...


def half_done(x):
    square = x**2
    return square + ...


def returns_dots(x):
    result = ...
    return result


def not_implemented(x):
    raise NotImplementedError


@pytest.mark.parametrize(
    "answer",
    [nothing, lambda x: ..., lambda x: None, half_done, returns_dots, not_implemented, row_norms],
)
def test_to_do(answer):
    assert diagnose(NORMS, answer).state == "to do"


def forgets_return(x):
    x.norm(dim=1)


def spoils(x):
    return x.mul_(x).sum(1).sqrt()


def with_nan(x):
    return (x - 10).sqrt().sum(1)


def one_nan(x):
    y = x.norm(dim=1)
    y[0] = float("nan")
    return y


def part_detached(x):
    return x.norm(dim=1) + 0.5 * (x.sum(1) - x.detach().sum(1))


def prints(x):
    print(x.norm(dim=1))


def prints_when_wide(x):
    return x.norm(dim=1) if x.shape[1] > x.shape[0] else None


def one_place_too_late(x):
    return x.norm(dim=1).roll(1)


def first_row_forgotten(x, by):
    return torch.cat([x[:1], x[1:] + by])


def by_numpy(x):
    return torch.as_tensor(np.linalg.norm(x.numpy(), axis=1))


NOT_YET = {
    "swapped": (SHIFT, lambda by, x: x + by, "order (by, x); it should be shift(x, by)"),
    "too few": (SHIFT, lambda x: x, "called as shift(x, by); yours takes (x)"),
    "too many": (NORMS, lambda x, dim: x, "yours takes (x, dim)"),
    "spoils": (NORMS, spoils, "changed its argument x in place"),
    "squared": (NORMS, lambda x: torch.einsum("ij,ij->i", x, x), "You forgot the square root."),
    "squared twice": (NORMS, lambda x: 2 * (x**2).sum(1), "differs"),
    "None": (NORMS, forgets_return, "return missing"),
    "list": (NORMS, lambda x: x.norm(dim=1).tolist(), "returned a list; a tensor of shape (3,)"),
    "printed": (NORMS, prints, "What it prints is seen and gone: return"),
    "NumPy": (NORMS, by_numpy, "asked for: NumPy keeps no gradients. Use the functions of torch."),
    "exchanged": (
        PAIR,
        lambda x: (x.mean(0), x - x.mean(0)),
        "parts of your result are right, but",
    ),
    "half right": (
        PAIR,
        lambda x: (x - x.mean(0), x.mean(0) ** 3),
        "Tensor 2 of your result differs from the expected one; tensor 1 is right.",
    ),
    "half by a factor": (
        PAIR,
        lambda x: (x.mean(0) - x, x.mean(0)),
        "Every number of tensor 1 of your result has the wrong sign; tensor 2 is right.",
    ),
    "one over": (VALUES, lambda x: 1 / x.norm(dim=1), "is 1 over the expected one"),
    "complement": (VALUES, lambda x: 1 - x.norm(dim=1), "is 1 minus the expected one"),
    "too large": (VALUES, lambda x: x.norm(dim=1) + 1, "is 1 too large, in every case"),
    "too late": (VALUES, one_place_too_late, "right, but stand one place too late along dim"),
    "reversed": (VALUES, lambda x: x.norm(dim=1).flip(0), "reversed order along dimension 0"),
    "some places": (
        SHIFT,
        first_row_forgotten,
        "2 of 8 numbers are wrong, the first of them",
    ),
    "list of tensors": (NORMS, lambda x: [r.norm() for r in x], "torch.stack(…) makes one of the"),
    "list of numbers": (NORMS, lambda x: x.norm(dim=1).tolist(), "torch.tensor(…) makes one of it"),
    "string": (NORMS, lambda x: "done", "returned a str"),
    "long string": (NORMS, lambda x: "x" * 10**7, "returned a str"),
    "generator": (NORMS, lambda x: (y.norm() for y in x), "returned a generator"),
    "number": (NORMS, lambda x: 1.0, "You returned one number (1)"),
    "huge": (NORMS, lambda x: torch.zeros(3_000, 3_000), "9,000,000 numbers, of shape (30"),
    "column": (NORMS, lambda x: x.norm(dim=1, keepdim=True), "(3, 1); (3,) is expected. The n"),
    "transposed": (SHIFT, lambda x, by: (x + by).T, "It is the transpose"),
    "sum": (VALUES, lambda x: x.norm(dim=1).sum(), "It is the sum of the expected numbers"),
    "mean": (VALUES, lambda x: x.norm(dim=1).mean(), "It is the mean of the expected numbers"),
    "too early": (
        Exercise(lambda x: x.sum(1), cases=matrices),
        lambda x: x,
        "A sum over dimension 1 is missing",
    ),
    "NaN": (NORMS, with_nan, "holds NaN (not a number) in 3 of 3 places"),
    "one NaN": (NORMS, one_nan, "NaN (not a number) in 1 of 3 places"),
    "infinity": (NORMS, lambda x: x.norm(dim=1) / 0, "infinity"),
    "detached": (NORMS, lambda x: x.detach().norm(dim=1), "values are right, but no gradient"),
    "array": (NORMS, lambda x: np.linalg.norm(x.detach().numpy(), axis=1), "no gradient flows"),
    "wrong and detached": (NORMS, lambda x: x.detach().sum(1), "No gradient flows back to x"),
    "part detached": (NORMS, part_detached, "the gradient with respect to x is not"),
    "twice": (NORMS, lambda x: 2 * x.norm(dim=1), "is 2 times the expected one"),
    "third": (NORMS, lambda x: x.norm(dim=1) / 3, "is 1/3 times the expected one"),
    "sign": (NORMS, lambda x: -x.norm(dim=1), "wrong sign"),
    "by size": (
        NORMS,
        lambda x: x.norm(dim=1) / x.shape[1],
        "(1/5, 1/4, 1/2, 1 over the size of dimension 1 of x): do",
    ),
    "one number by size": (
        Exercise(lambda x: x.sum(), cases=matrices),
        lambda x: len(x) * x.sum(),
        "(3, 7, 4, the size of dimension 0 of x): do you divide by a size",
    ),
    "one number by no size": (
        Exercise(lambda x: x.square().sum(), cases=matrices),
        lambda x: x.square().sum() ** 2,
        "is the square of the expected one",
    ),
    "constant": (NORMS, lambda x: 0 * x.sum(1) + 1, "differs"),
    "unused": (SHIFT, lambda x, by: x, "never uses its argument by"),
    "random": (VALUES, lambda x: torch.rand(len(x)), "draws random numbers of its own"),
    "some cases": (VALUES, lambda x: x.norm(dim=1).clamp(max=2.5), "right in"),
    "three of two": (
        PAIR,
        lambda x: (x, x, x),
        "returned a tuple of 3; a tuple of 2 tensors is expected",
    ),
    "one of two": (PAIR, lambda x: x - x.mean(0), "returned a tensor; a tuple of 2 tensors"),
    "second wrong": (PAIR, lambda x: (x - x.mean(0), x[:2]), "Tensor 2 of your result has shape"),
    "position": (LARGEST, lambda x: x.argmin(), "differs"),
}


@pytest.mark.parametrize(("exercise", "answer", "words"), NOT_YET.values(), ids=NOT_YET)
def test_not_yet(exercise, answer, words):
    verdict = diagnose(exercise, answer)
    assert verdict.state == "not yet" and words in verdict.sentence, verdict
    assert sum(len(text) for _, text in verdict.details) < 5_000


def recursive(x):
    return recursive(x)


def endless(x):
    while True:
        try:  # noqa: SIM105
            x = x + 1
        except Exception:
            pass


def interrupted(x):
    raise KeyboardInterrupt


def long_message(x):
    raise ValueError("no\n" * 10**6)


def fails_when_wide(x):
    if x.shape[1] > x.shape[0]:
        return x.norm(dim=1)
    raise IndexError("out of range")


ERRORS = {
    "if of a tensor": (lambda x: x if x > 0 else -x, "there are torch.where"),
    "stable": (lambda x: x.argsort(-1, descending=True, stable=True), "has to be named: dim=-1.)"),
    "import": (lambda x: F.normalize(x), "torch.nn.functional as F stands in a cell above"),  # noqa: F821
    "two types": (lambda x: x @ torch.ones(x.shape[1]).double(), "torch.zeros(n, dtype=x.dtype)"),
    "exception": (lambda x: x @ x, "raised RuntimeError: mat1 and mat2 shapes"),
    "name": (lambda x: unknown(x), "raised NameError: name 'unknown'"),  # noqa: F821
    "exit": (lambda x: sys.exit(1), "tried to leave Python"),
    "interrupt": (interrupted, "was interrupted"),
    "recursion": (recursive, "calls itself without end"),
    "long message": (long_message, "raised ValueError: no"),
    "one case": (fails_when_wide, "raised IndexError: out of range"),
}


@pytest.mark.parametrize(("answer", "words"), ERRORS.values(), ids=ERRORS)
def test_error(answer, words):
    verdict = diagnose(NORMS, answer)
    assert verdict.state == "error" and words in verdict.sentence, verdict
    assert len(verdict.sentence) < 800
    assert dict(verdict.details)["inputs"].startswith("x: shape (")


def test_not_implemented_by_torch_is_an_error_by_the_student_is_to_do():
    def torch_cannot(x):
        raise NotImplementedError('"addmm" not implemented for "Char"')

    def asks(x):
        return input("x?")

    assert diagnose(NORMS, torch_cannot).state == "error"
    assert diagnose(NORMS, asks).state == "error"


def test_a_result_that_is_missing_in_some_cases_is_shown_with_such_a_case():
    assert "inputs" not in dict(diagnose(NORMS, prints).details)
    assert dict(diagnose(NORMS, prints_when_wide).details)["inputs"].startswith("x: shape (7, 4)")


def test_error_names_the_line():
    details = dict(diagnose(NORMS, fails_when_wide).details)
    assert details["where"] == 'line 4 of your function: raise IndexError("out of range")'


def test_time_limit_is_for_the_whole_check():
    def slow(x):
        time.sleep(0.2)
        return x.norm(dim=1)

    verdict = diagnose(HURRIED, slow)  # nine cases
    assert verdict.state == "error" and "Stopped after 0.4 seconds" in verdict.sentence
    assert "Stopped" in diagnose(HURRIED, endless).sentence


def test_details_show_the_smallest_wrong_case_and_what_was_printed():
    details = dict(diagnose(NORMS, lambda x: print("size", x.shape) or 2 * x.norm(dim=1)).details)
    assert details["inputs"].startswith("x: shape (4, 2)")
    assert details["yours"].startswith("shape (4,)")
    assert details["expected"].startswith("shape (4,)")
    assert details["printed"] == "size torch.Size([4, 2])"


def far(x):
    """Two rows of large whole numbers. Shapes: x (n, d) -> (n,), (n,), int64."""
    n = torch.arange(len(x))
    return n * 3_000_000 + 1_000_000, n * 5_000_000 + 2_000_000


def test_of_large_whole_numbers_each_counts():
    def farther(x, one=1, two=0):
        n = torch.arange(len(x))
        return n * 3_000_000 + 1_000_000 + one, n * 5_000_000 + 2_000_000 + two

    large = Exercise(far, cases=matrices)
    assert diagnose(large, lambda x: farther(x, 0)).state == "correct"
    assert diagnose(large, farther).sentence == (
        "Each number of tensor 1 of your result is 1 too large, in every case; tensor 2 is right."
    )
    assert diagnose(large, lambda x: farther(x, 0)[::-1]).sentence == (
        "The two parts of your result are right, but exchanged."
    )
    said = diagnose(large, lambda x: farther(x, 0, torch.arange(len(x)) == 1)).sentence
    assert said.startswith("Tensor 2 of your result differs from the expected one; tensor 1 is")
    assert "numbers are wrong, the first of them at [1]" in said


def test_order_of_diagnosis():
    """Each answer has two faults; the one that stands earlier in the order is told."""
    wrong_signature_and_stub = diagnose(SHIFT, lambda x: ...)
    assert "called as" in wrong_signature_and_stub.sentence
    spoils_and_is_a_mistake = diagnose(NORMS, lambda x: x.mul_(x).sum(1))
    assert "in place" in spoils_and_is_a_mistake.sentence
    mistake_and_detached = diagnose(NORMS, lambda x: (x.detach() ** 2).sum(1))
    assert mistake_and_detached.mistake == "squared"
    mistake_and_shape = diagnose(NORMS, lambda x: x.norm(dim=0))
    assert mistake_and_shape.mistake == "columns"
    detached_and_factor = diagnose(NORMS, lambda x: 2 * x.detach().norm(dim=1))
    assert "gradient" in detached_and_factor.sentence


def test_a_mistake_must_be_made_in_every_case():
    def sometimes(x):
        return (x**2).sum(1) if len(x) < 7 else x.norm(dim=1)

    assert diagnose(NORMS, sometimes).mistake is None


def test_answers_that_are_equal_up_to_a_sign_are_both_right():
    assert diagnose(DIRECTION, lambda x: -torch.linalg.svd(x)[2][0]).state == "correct"
    assert diagnose(DIRECTION, lambda x: torch.linalg.svd(x)[2][1]).state == "not yet"
    assert diagnose(DIRECTION, lambda x: 2 * torch.linalg.svd(x)[2][0]).state == "not yet"


def test_gradient_is_asked_only_of_the_named_arguments():
    def weighted(x, w):
        """x w. Shapes: (n, d), (d,) -> (n,)."""
        return x @ w

    exercise = Exercise(weighted, cases=lambda s: [(x, x[0]) for (x,) in matrices(s)], grad=["x"])
    assert diagnose(exercise, lambda x, w: x @ w.detach()).state == "correct"
    assert "back to x" in diagnose(exercise, lambda x, w: x.detach() @ w).sentence

    product = Exercise(
        lambda x, w: x * w, cases=lambda s: [(x, x + 1) for (x,) in matrices(s)], grad=True
    )
    assert (
        diagnose(product, lambda x, w: w + 0).sentence == "Your function never uses its argument x."
    )


def test_the_students_function_cannot_change_the_expected_result():
    def spoils_torch(x):
        torch.Tensor.sqrt = lambda self: self
        return (x**2).sum(1)

    kept = torch.Tensor.sqrt
    try:
        assert diagnose(VALUES, spoils_torch).state == "not yet"
    finally:
        torch.Tensor.sqrt = kept


def test_a_mistake_may_fail_spoil_its_input_or_draw_and_still_be_recognised_or_not():
    def spoils_and_draws(x):
        torch.rand(3)
        return x.mul_(2).norm(dim=1)

    mistakes = {"fails": (lambda x: 1 / 0, "never"), "spoils": (spoils_and_draws, "doubled")}
    exercise = Exercise(row_norms, cases=matrices, mistakes=mistakes)
    before = torch.get_rng_state()
    assert diagnose(exercise, lambda x: 2 * x.norm(dim=1)).mistake == "spoils"
    assert diagnose(exercise, lambda x: x.norm(dim=1)).state == "correct"
    assert torch.equal(torch.get_rng_state(), before)


def test_a_broken_reference_is_our_fault():
    broken = Exercise(lambda x: 1 / 0, cases=matrices)
    with pytest.raises(RuntimeError, match="library's own"):
        diagnose(broken, lambda x: x)


def test_is_stub_and_unused_parameters_read_the_code():
    assert is_stub(nothing) and is_stub(lambda: None) and not is_stub(lambda: 0)
    assert not is_stub(forgets_return) and not is_stub(len)
    assert unused_parameters(lambda a, b: a + 1) == ["b"]
    assert unused_parameters(lambda a, b: [b for _ in range(a)]) == []
