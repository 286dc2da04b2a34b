"""Comparison of results: tolerant of rounding and of the type, of nothing else."""

import numpy as np
import pytest
import torch

from genai_utils.checks.compare import agree, factor, same, unchanged
from genai_utils.checks.results import WrongType, brief, read

INF, NAN = float("inf"), float("nan")
b = torch.tensor([1.0, -2.0, 0.01], dtype=torch.float64)


@pytest.mark.parametrize(
    ("a", "equal"),
    [
        (b, True),
        (b * (1 + 5e-5), True),  # rounding, relative
        (b + 1e-7, True),
        (b * 1.001, False),
        (b + torch.tensor([0, 0, 1e-4]), False),  # small numbers count as well
        (-b, False),
        (b[:2], False),
        (torch.tensor([1.0, -2.0, NAN]).double(), False),
        (torch.tensor([1.0, -2.0, INF]).double(), False),
    ],
)
def test_agree(a, equal):
    assert agree(a, b, 1e-4) is equal


def test_agree_compares_nan_and_infinity_by_place_and_sign():
    odd = torch.tensor([1.0, INF, NAN])
    assert agree(odd.clone(), odd, 1e-4)
    assert not agree(torch.tensor([1.0, -INF, NAN]), odd, 1e-4)
    assert not agree(torch.tensor([1.0, NAN, INF]), odd, 1e-4)
    assert not agree(torch.tensor([1.0, INF, 0.5]), odd, 1e-4)  # a number is no NaN
    assert agree(torch.zeros(3), torch.zeros(3), 1e-4)
    assert not agree(torch.full((3,), 1e-3), torch.zeros(3), 1e-4)


def test_whole_numbers_are_compared_exactly():
    assert same(read(torch.tensor(100_000)), read(torch.tensor(100_000)), 1e-4)
    assert not same(read(torch.tensor(100_001)), read(torch.tensor(100_000)), 1e-4)
    assert same(read(torch.tensor([True])), read(torch.tensor([1])), 1e-4)


def test_types_that_will_do_and_what_is_said_about_them():
    vector, number = read(torch.ones(3)), read(torch.tensor(2.0))
    assert "NumPy" in read(np.ones(3), vector).note
    assert "plain number" in read(2.0, number).note
    assert "plain number" in read(np.float32(2), number).note
    assert read(torch.ones(3, dtype=torch.float16), vector).note == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1.0, 2.0], "a list"),
        ("text", "a str"),
        ({"a": 1}, "a dict"),
        (object(), "an object"),
        (2.0, "one number"),
        (torch.ones(3, dtype=torch.complex64), "complex"),
        (np.array(["a"]), "a NumPy array of strings"),
        (torch.ones(3).to_sparse(), r"a sparse tensor.*\.to_dense\(\)"),
        ((torch.ones(3),), "a tuple"),
    ],
)
def test_types_that_will_not(value, words):
    with pytest.raises(WrongType, match=words):
        read(value, read(torch.ones(3)))


def test_unchanged_looks_inside():
    x = torch.tensor([1.0, NAN])
    assert unchanged(x, x.clone()) and not unchanged(x, x + 1)
    assert not unchanged(x, x.double()) and not unchanged(x, x[:1])
    assert unchanged({"a": [x, 1]}, {"a": [x.clone(), 1]})
    assert not unchanged({"a": [x, 1]}, {"a": [x, 2]})
    assert not unchanged([1], [1, 2]) and not unchanged(np.ones(2), np.zeros(2))
    layer = torch.nn.Linear(2, 2)
    other = torch.nn.Linear(2, 2)
    assert unchanged(layer, layer) and not unchanged(layer, other)


def test_factor():
    assert factor([3 * b], [b], 1e-4) == pytest.approx(3)
    assert factor([b * b], [b], 1e-4) is None
    assert factor([0 * b], [b], 1e-4) is None
    assert factor([b[:1]], [2 * b[:1]], 1e-4) is None  # one number shows no factor


def test_brief_is_short_whatever_comes():
    large = torch.zeros(3, 1000, 1000), np.zeros((5, 5, 5, 5)), torch.zeros([2] * 20)
    for value in (*large, torch.ones(1).expand(10**5, 10**5), "x" * 10**6, [b] * 4, None):
        assert len(brief(value)) < 2_500 and brief(value).count("\n") < 20
    assert brief(torch.tensor([0.123456])) == "shape (1,)\n[0.1235]"
    assert brief(torch.tensor([1 + 2j]).conj()) == "shape (1,)\n[1.-2.j]"
    assert brief(np.float32(0.5)) == "0.5"
    assert brief(torch.eye(60)).startswith("shape (60, 60) (its corner)\n[[1., 0., 0., ..., 0., 0.")


def test_small_numbers_are_shown_as_what_they_are():
    assert "2.5e-08" in brief(torch.tensor([2.5e-8, 1e-8])).replace("2.5000e-08", "2.5e-08")
    assert "e-" not in brief(torch.tensor([1.0, 2.5e-8])) and "0." in brief(torch.zeros(2))
    assert "inf" in brief(torch.tensor([float("inf"), 1.0])) and "nan" in brief(
        torch.tensor([float("nan")])
    )
