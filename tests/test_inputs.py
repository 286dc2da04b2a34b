"""What comes in: every function takes what it should, and says in one sentence what it does not."""

import math
import os
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from genai_utils import inputs


def refused(kind, sentence, function, *args, **options):
    """The call raises exactly this type with exactly this sentence."""
    with pytest.raises(Exception) as caught:
        function(*args, **options)
    assert type(caught.value) is kind and str(caught.value) == sentence


def test_a_refusal_says_what_was_expected_what_came_and_what_to_do():
    plain = inputs.refusal("k", "a number", "none")
    assert type(plain) is ValueError and str(plain) == "k: expected a number, got none."
    cured = inputs.refusal("k", "a number", "none", "give one", kind=TypeError)
    assert type(cured) is TypeError and str(cured) == "k: expected a number, got none; give one."


@pytest.mark.parametrize(
    ("value", "called"),
    [
        (torch.zeros(2, dtype=torch.int64), "a tensor of int64"),
        (np.zeros(2, np.float32), "a NumPy array of float32"),
        ([1], "a list"),
        (Exception(), "an Exception"),
        (None, "None"),
        (True, "True"),
        ("abc", "'abc'"),
        (2.5, "2.5"),
        ("x" * 100, "'" + "x" * 56 + "..."),
    ],
)
def test_a_value_that_is_no_number_has_a_name(value, called):
    assert inputs.kind_of(value) == called


# whole


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_whole_numbers_of_all_libraries_become_an_int(value):
    found = inputs.whole(value, "k")
    assert found == 3 and type(found) is int


def test_whole_numbers_have_limits():
    assert inputs.whole(1, "k") == 1 and inputs.whole(9, "k", most=9) == 9
    assert inputs.whole(-5, "k", least=None) == -5
    refused(ValueError, "k: expected a whole number of at least 1, got 0.", inputs.whole, 0, "k")
    refused(
        ValueError, "k: expected a whole number from 0 to 1,000, got 1,001.",
        inputs.whole, 1001, "k", 0, 1000,
    )  # fmt: skip
    refused(
        ValueError, "k: expected a whole number from 0 to 1,000, got -1.",
        inputs.whole, -1, "k", 0, 1000,
    )  # fmt: skip
    refused(
        ValueError, "k: expected a whole number of at most 5, got 6.",
        inputs.whole, 6, "k", least=None, most=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "called"),
    [
        (3.0, "3.0"),
        (True, "True"),
        (np.bool_(True), repr(np.bool_(True))),
        (torch.tensor(True), "a tensor of bool"),
        (torch.tensor(3.0), "a tensor of float32"),
        (torch.tensor([3]), "a tensor of int64"),
        (np.array([3]), "a NumPy array of int64"),
        ("3", "'3'"),
        (None, "None"),
        ([3], "a list"),
    ],
)
def test_what_is_no_whole_number_is_a_type_error(value, called):
    refused(
        TypeError, f"k: expected a whole number of at least 1, got {called}.",
        inputs.whole, value, "k",
    )  # fmt: skip
    refused(
        TypeError, f"k: expected a whole number, got {called}.",
        inputs.whole, value, "k", least=None,
    )  # fmt: skip


# number


@pytest.mark.parametrize(
    "value", [0.5, Fraction(1, 2), np.float32(0.5), torch.tensor(0.5), np.array(0.5)]
)
def test_numbers_of_all_libraries_become_a_float(value):
    found = inputs.number(value, "rate", 0, below=1)
    assert found == 0.5 and type(found) is float


def test_a_weight_that_is_trained_is_a_number_too():
    weight = torch.tensor(0.5, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert inputs.number(weight, "rate") == 0.5


def test_numbers_have_limits():
    assert inputs.number(0, "r", least=0, most=1) == 0 and inputs.number(1, "r", 0, 1) == 1
    for value, options, sentence in [
        (-1, {"least": 0}, "r: expected a finite number of at least 0, got -1."),
        (2, {"least": 0, "most": 1}, "r: expected a finite number of at least 0 and at most 1, "
         "got 2."),
        (0, {"above": 0}, "r: expected a finite number above 0, got 0."),
        (1, {"below": 1}, "r: expected a finite number below 1, got 1."),
        (1, {"least": 0, "below": 1}, "r: expected a finite number of at least 0 and below 1, "
         "got 1."),
        (math.inf, {}, "r: expected a finite number, got inf."),
        (math.nan, {"least": 0}, "r: expected a finite number of at least 0, got nan."),
        (10**400, {}, "r: expected a finite number, got inf."),
        (-(10**400), {}, "r: expected a finite number, got -inf."),
    ]:  # fmt: skip
        refused(ValueError, sentence, inputs.number, value, "r", **options)


@pytest.mark.parametrize(
    ("value", "called"),
    [
        ("0.5", "'0.5'"),
        (b"1", "a bytes"),
        (True, "True"),
        (torch.tensor(True), "a tensor of bool"),
        (torch.tensor([0.5]), "a tensor of float32"),
        (None, "None"),
        (1j, "a complex"),
        ([1.0], "a list"),
    ],
)
def test_what_is_no_number_is_a_type_error(value, called):
    refused(TypeError, f"r: expected a finite number, got {called}.", inputs.number, value, "r")


# one_of


def test_a_choice_is_compared_with_its_type():
    assert inputs.one_of("a", "mode", ("a", "b")) == "a" and inputs.one_of(28, "s", [8, 28]) == 28
    for value, called in (("c", "'c'"), (True, "True"), (1.0, "1.0"), (None, "None")):
        refused(
            ValueError, f"mode: expected one of 'a', 1, got {called}.",
            inputs.one_of, value, "mode", ("a", 1),
        )  # fmt: skip
    refused(
        ValueError, "mode: expected one of 'a', got a NumPy array of float64.",
        inputs.one_of, np.ones(3), "mode", ("a",),
    )  # fmt: skip


# path


def test_paths_come_as_text_bytes_and_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    expected = tmp_path / "runs" / "vae"
    for value in ("~/runs/vae", b"~/runs/vae", Path("~/runs/vae"), expected, os.fsencode(expected)):
        found = inputs.path(value, "folder")
        assert found == expected and isinstance(found, Path)
    assert inputs.path("a/~/b", "folder") == Path("a/~/b")


def test_what_is_no_path_is_refused():
    what = "a path (text, bytes or pathlib.Path)"
    refused(TypeError, f"out: expected {what}, got 3.", inputs.path, 3, "out")
    refused(TypeError, f"out: expected {what}, got None.", inputs.path, None, "out")
    refused(ValueError, f"out: expected {what}, got ''.", inputs.path, "", "out")
    refused(ValueError, f"out: expected {what}, got 'a\\x00b'.", inputs.path, "a\0b", "out")


def test_a_home_that_nobody_knows_is_said(monkeypatch):
    def nowhere(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    refused(
        ValueError,
        "out: expected a path (text, bytes or pathlib.Path), got '~/x'; no home folder is known "
        "for ~, so write the path in full.",
        inputs.path, "~/x", "out",
    )  # fmt: skip


# texts


def test_texts_are_any_collection_of_strings():
    assert inputs.texts(("a", "b"), "t") == ["a", "b"]
    assert inputs.texts((c for c in "ab"), "t") == ["a", "b"]
    assert inputs.texts([], "t") == [] and inputs.texts(np.array(["a"]), "t") == ["a"]


def test_a_bare_string_is_no_list_of_texts():
    refused(
        TypeError, "t: expected a list of texts, got one text, 'the cat'; put it into a list: "
        "[text].", inputs.texts, "the cat", "t",
    )  # fmt: skip
    refused(
        TypeError, "t: expected a list of texts, got one text, b'the cat'; put it into a list: "
        "[text].", inputs.texts, b"the cat", "t",
    )  # fmt: skip
    refused(TypeError, "t: expected a list of texts, got 3.", inputs.texts, 3, "t")
    refused(TypeError, "t[1]: expected a text, got 3.", inputs.texts, ["a", 3], "t")
    refused(TypeError, "t[0]: expected a text, got a list.", inputs.texts, [["a"]], "t")


# tensor


def test_tensors_stay_and_arrays_become_tensors_of_their_kind():
    x = torch.zeros(2, 3)
    assert inputs.tensor(x, "x") is x
    for kind, expected in (("i4", torch.int32), (">f8", torch.float64), (bool, torch.bool)):
        assert inputs.tensor(np.ones((2, 3), kind)[::-1], "x").dtype == expected
    what = "x: expected a torch tensor or NumPy array, got "
    refused(TypeError, f"{what}a list.", inputs.tensor, [1.0], "x")
    refused(TypeError, f"{what}a NumPy array of object.", inputs.tensor, np.array([None]), "x")


# array


def test_arrays_of_all_libraries_become_tensors():
    expected = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    full = expected.numpy()
    locked = full.copy()
    locked.flags.writeable = False
    for values in (
        expected, full, full.tolist(), sp.csr_matrix(full), sp.coo_array(full), expected.int(),
        full.astype(int), full.astype(bool) * full, full[::-1][::-1], full.astype(">f4"), locked,
        expected.to_sparse(), full.astype(np.uint8),
    ):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = inputs.array(values, "x")
        assert torch.equal(found.float(), expected) and found.is_floating_point()


def test_an_array_keeps_its_floats_unless_told_otherwise():
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert inputs.array(torch.ones(2, dtype=dtype), "x").dtype == dtype
    assert inputs.array(np.ones(2, ">f4"), "x").dtype == torch.float32
    assert inputs.array([1.5], "x").dtype == torch.float64  # as NumPy reads it
    assert inputs.array([1, 2], "x").dtype == torch.get_default_dtype()
    assert inputs.array([1, 2], "x", torch.float64).dtype == torch.float64
    x = torch.ones(3)
    assert inputs.array(x, "x") is x
    assert inputs.array([], "x", empty=True).shape == (0,)
    assert math.isnan(inputs.array([math.nan], "x", finite=False))


def test_whole_numbers_keep_all_their_digits():
    assert inputs.array([2**24], "x").dtype == torch.float32
    times = [1_700_000_000, 1_700_000_001]  # one second apart: float32 has steps of 128 there
    for made in (torch.tensor(times), np.array(times), times, [-t for t in times]):
        found = inputs.array(made, "x")
        assert found.dtype == torch.float64 and abs(found[1] - found[0]) == 1
    assert inputs.array(times, "x", dtype=torch.float32).dtype == torch.float32


def test_what_is_changed_in_place_is_not_the_readers_array():
    theirs = np.ones(3, np.float32)
    inputs.array(theirs, "x").zero_()
    assert theirs.tolist() == [1, 1, 1]


def test_what_is_no_array_of_real_numbers_is_refused():
    what = "x: expected a torch tensor or NumPy array of numbers, got "
    weights = [torch.ones(2, requires_grad=True)]
    for values, called in [
        (["a"], "a list"), ([[1], [1, 2]], "a list"), ({}, "a dict"), (None, "None"),
        (np.array([{}]), "a NumPy array of object"), (weights, "a list"), ("abc", "'abc'"),
    ]:  # fmt: skip
        refused(TypeError, f"{what}{called}.", inputs.array, values, "x")
    refused(
        TypeError, "x: expected real numbers, got a tensor of complex64.",
        inputs.array, torch.zeros(2, dtype=torch.complex64), "x",
    )  # fmt: skip
    refused(
        ValueError, "x: expected at least one number, got none: its shape is (0, 3).",
        inputs.array, torch.zeros(0, 3), "x",
    )  # fmt: skip
    refused(
        ValueError, "x: expected finite numbers, got 2 NaN or infinite of 3.",
        inputs.array, [1.0, math.nan, math.inf], "x",
    )  # fmt: skip


# matrix


def test_a_matrix_has_two_axes():
    x = np.arange(6.0).reshape(3, 2)
    assert torch.equal(inputs.matrix(x, "X"), torch.tensor(x))
    assert torch.equal(inputs.matrix(sp.csr_matrix(x), "X", columns=2), torch.tensor(x))
    assert inputs.matrix([[1, 2]], "X", dtype=torch.float64).dtype == torch.float64
    for values, options, sentence in [
        ([1.0, 2.0], {}, "X: expected a matrix (n, d), got the shape (2,)."),
        (
            x[None], {}, "X: expected a matrix (n, d), got the shape (1, 3, 2); "
            "x.flatten(1) makes each example a row.",
        ),
        (x, {"columns": 3}, "X: expected a matrix (n, 3), got the shape (3, 2)."),
        (x, {"rows": 4}, "X: expected a matrix (n, d) of at least 4 rows, got 3."),
        (x * math.nan, {}, "X: expected finite numbers, got 6 NaN or infinite of 6."),
        (x[:0], {}, "X: expected at least one number, got none: its shape is (0, 2)."),
    ]:  # fmt: skip
        refused(ValueError, sentence, inputs.matrix, values, "X", **options)
    assert inputs.matrix(x * math.nan, "X", finite=False).shape == (3, 2)


# images


def test_images_are_taken_as_tensors_and_arrays():
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert inputs.images(x, "x") is x
    double = x.double().numpy()
    locked = double.copy()
    locked.flags.writeable = False
    for values in (double, locked, double[..., ::-1][..., ::-1], double.astype(">f8")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = inputs.images(values, "x", size=4)
        assert found.dtype == torch.float64 and torch.equal(found, x.double())
    mirrored = inputs.images(double[..., ::-1], "x")
    assert torch.equal(mirrored, x.double().flip(-1))
    assert inputs.images(double, "x", dtype=torch.float32).dtype == torch.float32
    assert inputs.images(torch.rand(2, 3, 4, 5), "x", channels=3).shape == (2, 3, 4, 5)
    assert inputs.images(x.round(), "x", values="binary").shape == x.shape
    assert inputs.images(5 * x, "x", values=False).max() > 1


def test_what_is_no_image_is_refused():
    x = torch.full((2, 1, 4, 4), 0.5)
    floats = "x: expected a tensor of floats in [0, 1], got "
    for values, called in [
        (x.int(), "a tensor of int32"), (x.int().numpy(), "a NumPy array of int32"),
        (x.tolist(), "a list"), (x.numpy().astype(object), "a NumPy array of object"),
        (x.numpy().astype(complex), "a NumPy array of complex128"),
    ]:  # fmt: skip
        refused(TypeError, f"{floats}{called}.", inputs.images, values, "x")
    shapes = "x: expected images of shape "
    for values, options, sentence in [
        (x[0], {}, f"{shapes}(B, 1, H, W), got (1, 4, 4)."),
        (x[:0], {}, f"{shapes}(B, 1, H, W), got (0, 1, 4, 4)."),
        (x, {"channels": 3}, f"{shapes}(B, 3, H, W), got (2, 1, 4, 4)."),
        (x, {"size": 8}, f"{shapes}(B, 1, 8, 8), got (2, 1, 4, 4)."),
        (x[..., :3], {"size": 4}, f"{shapes}(B, 1, 4, 4), got (2, 1, 4, 3)."),
        (2 * x + 1, {}, "x: expected pixels between 0 and 1, got values from 2 to 2; divide by "
         "255, or undo the normalisation."),
        (x * math.nan, {}, "x: expected pixels between 0 and 1, got values from nan to nan; "
         "divide by 255, or undo the normalisation."),
        (x, {"values": "binary"}, "x: expected pixels that are 0 or 1, got grey values; throw the "
         "coins first: dynamic_binarize(x, generator)."),
        (-x, {"values": "binary"}, "x: expected pixels between 0 and 1, got values from -0.5 to "
         "-0.5; divide by 255, or undo the normalisation."),
    ]:  # fmt: skip
        refused(ValueError, sentence, inputs.images, values, "x", **options)


# tokens


def test_tokens_are_whole_numbers_of_a_vocabulary():
    ids = torch.tensor([[0, 4]])
    assert inputs.tokens(ids, "ids", 5) is ids
    assert torch.equal(inputs.tokens(ids.numpy(), "ids", 5), ids)
    assert torch.equal(inputs.tokens(ids.numpy().astype(np.uint16), "ids", 5), ids)
    assert inputs.tokens(ids.to(torch.uint16), "ids", 5).dtype == torch.uint16
    assert inputs.tokens(ids.to(torch.uint8), "ids", 5).dtype == torch.uint8
    assert inputs.tokens(ids[:0], "ids", 5).numel() == 0
    assert inputs.tokens(ids + 9, "ids", 5, values=False).max() == 13
    for values, called in [
        (ids.float(), "a tensor of float32"), (ids.bool(), "a tensor of bool"), ([0], "a list"),
        (ids.to(torch.complex64), "a tensor of complex64"),
        (ids.double().numpy(), "a NumPy array of float64"), ("abc", "'abc'"),
    ]:  # fmt: skip
        refused(
            TypeError, f"ids: expected a tensor of whole numbers, got {called}.",
            inputs.tokens, values, "ids", 5,
        )  # fmt: skip
    for shift, range_ in ((1, "1 to 5"), (-1, "-1 to 3")):
        refused(
            ValueError, f"ids: expected ids from 0 to 4, got {range_}; the tokenizer and the model "
            "must have one vocabulary.", inputs.tokens, ids + shift, "ids", 5,
        )  # fmt: skip


# labels


def test_labels_are_whole_numbers_of_some_classes():
    y = torch.tensor([0, 2, 1])
    assert inputs.labels(y, "y", 3) is y
    for same in (y.numpy(), y.tolist(), y.to(torch.uint8), y.to(torch.uint16),
                 y.numpy().astype(">i4"), y.flip(0).numpy()[::-1]):  # fmt: skip
        assert torch.equal(inputs.labels(same, "y", 3), y)
        assert inputs.labels(same, "y", 3).dtype == torch.int64
    assert inputs.labels(y + 9, "y", 3, values=False).max() == 11
    for values, called in [
        (y.float(), "a tensor of float32"), (y > 0, "a tensor of bool"), (1.5, "1.5"),
        ([0.0, 1.0], "a list"), (y.double().numpy(), "a NumPy array of float64"), ("abc", "'abc'"),
        (None, "None"), ([[0], [0, 1]], "a list"), (y.to(torch.complex64), "a tensor of complex64"),
    ]:  # fmt: skip
        refused(
            TypeError, f"y: expected class labels, whole numbers, got {called}.",
            inputs.labels, values, "y", 3,
        )  # fmt: skip
    refused(
        ValueError, "y: expected class labels of shape (n,), got the shape (1, 3).",
        inputs.labels, y[None], "y", 3,
    )  # fmt: skip
    for shift, range_ in ((1, "1 to 3"), (-1, "-1 to 1")):
        refused(
            ValueError, f"y: expected labels from 0 to 2, got {range_}.",
            inputs.labels, y + shift, "y", 3,
        )  # fmt: skip


def test_all_that_is_offered_is_named():
    functions = {
        name for name, value in vars(inputs).items()
        if callable(value) and getattr(value, "__module__", "") == inputs.__name__
        and not name.startswith("_")
    }  # fmt: skip
    assert functions == set(inputs.__all__)


def test_the_cure_of_a_bare_string_can_be_another():
    sentence = "documents[0]: expected a list of texts, got one text, 'the cat'; cut it."
    refused(TypeError, sentence, inputs.texts, "the cat", "documents[0]", "cut it")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_one_entry_that_is_not_finite_is_found_anywhere(wrong, dtype):
    x = torch.arange(-500, 500, dtype=dtype).reshape(10, 100).requires_grad_()
    assert inputs.all_finite(x) and inputs.all_finite(x[:0]) and inputs.all_finite(x.T)
    for place in (0, 37, 511, 999):
        y = x.detach().clone()
        y.view(-1)[place] = wrong
        assert not inputs.all_finite(y) and not inputs.all_finite(y.T), place
    y[0, 0] = -y[-1, -1]  # opposite infinities, or two NaN
    assert not inputs.all_finite(y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_largest_numbers_are_finite_though_their_sum_is_not(dtype):
    largest = torch.finfo(dtype).max
    x = torch.full((3, 2), largest, dtype=dtype)
    assert not x.sum().isfinite() and inputs.all_finite(x) and inputs.all_finite(-x)
    x[1] = -largest  # nor is their difference
    assert inputs.all_finite(x) and inputs.all_finite(x[1, 1])
    assert inputs.array(x, "X").equal(x)


def test_whole_numbers_are_finite_and_of_complex_ones_each_part_counts():
    for dtype in (torch.uint8, torch.int64, torch.bool):
        assert inputs.all_finite(torch.ones(3, dtype=dtype))
        assert inputs.all_finite(torch.ones(0, dtype=dtype))
    assert inputs.all_finite(torch.tensor([1 + 2j, 3]))
    assert not inputs.all_finite(torch.tensor([complex(1, math.inf), 3]))
