"""What comes in, checked at the door: one order of arguments, one wording.

    steps = whole(steps, "steps", least=1)
    # ValueError: steps: expected a whole number of at least 1, got 0.

Each function takes the value, then its name in the message, and returns the value in the form that
the rest of the code works with. A message says what was expected, what came, and, where that is
not plain, what to do. TypeError for a value of the wrong kind, ValueError for one out of range.

To look at the values of a tensor makes the processor wait for a graphics card. So a `loss` looks
at kinds and shapes only (`values=False`); values are looked at by a model's `check_batch` and
where a user hands something over.
"""

import math
import operator
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch


def refusal(name, expected, got, cure="", kind=ValueError):
    """The error to raise: "name: expected …, got …; cure."."""
    sentence = f"{name}: expected {expected}, got {got}"
    return kind(f"{sentence}; {cure}." if cure else f"{sentence}.")


def kind_of(value):
    """How a message calls a value that is no number: "a tensor of int64", "a list", "'abc'"."""
    if torch.is_tensor(value) or isinstance(value, np.ndarray):
        what = "tensor" if torch.is_tensor(value) else "NumPy array"
        return f"a {what} of {str(value.dtype).removeprefix('torch.')}"
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def whole(value, name, least=1, most=None):
    """`value` as an int from `least` to `most` (None: no limit). True and 3.0 are none."""
    expected = "a whole number"
    if least is not None:
        expected += f" of at least {least:,}" if most is None else f" from {least:,} to {most:,}"
    elif most is not None:
        expected += f" of at most {most:,}"
    try:
        if not _scalar(value):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise refusal(name, expected, kind_of(value), kind=TypeError) from None
    if (least is not None and found < least) or (most is not None and found > most):
        raise refusal(name, expected, f"{found:,}")
    return found


def number(value, name, least=None, most=None, above=None, below=None):
    """`value` as a finite float, least <= value <= most and above < value < below where given."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("of at least", least), ("above", above), ("at most", most), ("below", below),
        )
        if bound is not None
    ]  # fmt: skip
    expected = " ".join(["a finite number", " and ".join(bounds)]).strip()
    try:
        if isinstance(value, (str, bytes)) or not _scalar(value):
            raise TypeError
        found = float(value.detach() if torch.is_tensor(value) else value)
    except (TypeError, ValueError):
        raise refusal(name, expected, kind_of(value), kind=TypeError) from None
    except OverflowError:  # a whole number beyond floats
        found = math.inf if value > 0 else -math.inf
    inside = (
        math.isfinite(found)
        and (least is None or found >= least)
        and (most is None or found <= most)
        and (above is None or found > above)
        and (below is None or found < below)
    )
    if not inside:
        raise refusal(name, expected, f"{found:g}")
    return found


def _scalar(value):
    """Whether this can be one number: no truth value, no array with axes."""
    truth = isinstance(value, (bool, np.bool_)) or str(getattr(value, "dtype", "")).endswith("bool")
    return not truth and getattr(value, "ndim", 0) == 0


def one_of(value, name, choices):
    """`value`, if it is among `choices`: type and all, so True is not 1 and 28.0 is not 28."""
    choices = list(choices)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise refusal(name, f"one of {', '.join(map(repr, choices))}", kind_of(value))
    return value


def path(value, name):
    """The name of a file or folder (text, bytes, path) as a Path; a leading ~ is the home folder.

    Whether something lies there is not looked at.
    """
    expected = "a path (text, bytes or pathlib.Path)"
    try:
        found = os.fsdecode(value)
    except TypeError:
        raise refusal(name, expected, kind_of(value), kind=TypeError) from None
    if not found or "\0" in found:
        raise refusal(name, expected, repr(found))
    try:
        return Path(found).expanduser()
    except RuntimeError:  # a user without an entry in the password file
        raise refusal(
            name, expected, repr(found), "no home folder is known for ~, so write the path in full"
        ) from None


def texts(value, name, cure="put it into a list: [text]"):
    """A list of strings. A bare string, which Python would take for its letters, is refused.

    cure: what to do with a bare string.
    """
    if isinstance(value, (str, bytes)):
        raise refusal(
            name, "a list of texts", f"one text, {value[:20]!r}", cure, kind=TypeError
        )  # fmt: skip
    try:
        found = list(value)
    except TypeError:
        raise refusal(name, "a list of texts", kind_of(value), kind=TypeError) from None
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise refusal(f"{name}[{place}]", "a text", kind_of(text), kind=TypeError)
    return found


def tensor(value, name):
    """A tensor, unchanged, or a NumPy array of numbers as a tensor of its kind; nothing else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.itemsize <= 8:
        value = _from_numpy(value)
    if not torch.is_tensor(value):
        raise refusal(name, "a torch tensor or NumPy array", kind_of(value), kind=TypeError)
    return value


def all_finite(x: torch.Tensor) -> bool:
    """Whether no entry is NaN or infinite. The least and the largest tell, without a copy of x."""
    if not (x.is_floating_point() and x.numel()):
        return bool(torch.isfinite(x).all())
    return bool(torch.isfinite(torch.stack(x.detach().aminmax())).all())


def array(values, name, dtype=None, finite=True, empty=False):
    """Real numbers as a tensor: tensors as they are, NumPy arrays, nested lists, SciPy's sparse.

    dtype: None keeps that of floats and makes whole numbers torch's default floats, or float64 if
    one is so large that it would lose digits, as a Unix time would. finite: look for NaN and
    infinity. empty: whether no number at all is fine too. A sparse matrix of SciPy is
    written out.
    """
    what = "a torch tensor or NumPy array of numbers"
    if hasattr(values, "toarray"):  # SciPy's sparse matrices
        values = values.toarray()
    try:
        tensor = values if torch.is_tensor(values) else _from_numpy(np.array(values))
    except (TypeError, ValueError, RuntimeError) as error:  # the last: a list of tensors with grad
        raise refusal(name, what, kind_of(values), kind=TypeError) from error
    if tensor.is_complex():
        raise refusal(name, "real numbers", kind_of(tensor), kind=TypeError)
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if dtype is None:
        dtype = tensor.dtype if tensor.is_floating_point() else _floats_for(tensor)
    tensor = tensor.to(dtype)
    if not empty and tensor.numel() == 0:
        raise refusal(name, "at least one number", f"none: its shape is {tuple(tensor.shape)}")
    if finite and not all_finite(tensor):
        bad = int((~torch.isfinite(tensor)).sum())
        raise refusal(name, "finite numbers", f"{bad} NaN or infinite of {tensor.numel()}")
    return tensor


def _floats_for(whole_numbers):
    """The default floats, or float64 if they would round one of these whole numbers."""
    usual = torch.get_default_dtype()
    if whole_numbers.dtype in (torch.bool, torch.uint8) or not whole_numbers.numel():
        return usual
    low, high = whole_numbers.double().aminmax()  # aminmax itself knows no uint16
    return usual if max(-low, high) <= 2 / torch.finfo(usual).eps else torch.float64


def _from_numpy(values):
    """A NumPy array as a tensor; copied where torch refuses it: foreign bytes, reversed, locked."""
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    plain = values.flags.writeable and all(stride >= 0 for stride in values.strides)
    return torch.from_numpy(values if plain else values.copy())


def matrix(values, name, rows=1, columns=None, dtype=None, finite=True):
    """A matrix (n, d) of real numbers, n >= rows, as a tensor; see `array` for what is taken."""
    x = array(values, name, dtype, finite=False)
    expected = f"a matrix (n, {'d' if columns is None else columns})"
    if x.ndim != 2 or (columns is not None and x.shape[1] != columns):
        cure = "x.flatten(1) makes each example a row" if x.ndim > 2 else ""
        raise refusal(name, expected, f"the shape {tuple(x.shape)}", cure)
    if len(x) < rows:
        raise refusal(name, f"{expected} of at least {rows} rows", f"{len(x)}")
    return array(x, name, x.dtype) if finite else x


def images(x, name, size=None, channels=1, values="unit", dtype=None):
    """Images x (B, C, H, W) as a tensor of floats of `dtype` (None: as they come).

    size: the side that both H and W must have, or None for any. values: "unit", all in [0, 1];
    "binary", all 0 or 1; False, not looked at. NumPy arrays are taken too.
    """
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.itemsize <= 8:
        x = _from_numpy(x)
    if not torch.is_tensor(x) or not x.is_floating_point():
        raise refusal(name, "a tensor of floats in [0, 1]", kind_of(x), kind=TypeError)
    side = ("H", "W") if size is None else (size, size)
    if x.ndim != 4 or len(x) == 0 or x.shape[1] != channels or (
        size is not None and tuple(x.shape[2:]) != side
    ):  # fmt: skip
        shape = ", ".join(map(str, ("B", channels, *side)))
        raise refusal(name, f"images of shape ({shape})", f"{tuple(x.shape)}")
    if values:
        low, high = x.aminmax()
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise refusal(
                name, "pixels between 0 and 1", f"values from {low:.3g} to {high:.3g}",
                "divide by 255, or undo the normalisation",
            )  # fmt: skip
    if values == "binary" and not ((x == 0) | (x == 1)).all():
        raise refusal(
            name, "pixels that are 0 or 1", "grey values",
            "throw the coins first: dynamic_binarize(x, generator)",
        )  # fmt: skip
    return x if dtype is None else x.to(dtype)


def labels(y, name, classes, values=True):
    """Class labels (n,) as int64, all from 0 to classes - 1: a tensor, NumPy array or list.

    values: whether to look at them; see the head of this file.
    """
    found = y
    with suppress(ValueError):  # lists of unlike lengths are no array
        if not torch.is_tensor(y) and np.asarray(y).dtype.kind in "iu":
            found = _from_numpy(np.array(y))
    if not _whole_numbers(found):
        raise refusal(name, "class labels, whole numbers", kind_of(y), kind=TypeError)
    if found.ndim != 1:
        raise refusal(name, "class labels of shape (n,)", f"the shape {tuple(found.shape)}")
    if values and found.numel():
        low, high = (int(v) for v in found.long().aminmax())
        if low < 0 or high >= classes:
            raise refusal(name, f"labels from 0 to {classes - 1}", f"{low} to {high}")
    return found.long()


def _whole_numbers(x):
    """Whether this is a tensor of a kind of whole numbers."""
    if not torch.is_tensor(x):
        return False
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)


def tokens(ids, name, vocabulary, values=True):
    """Token ids of any shape, unchanged: a tensor of whole numbers, all from 0 to vocabulary - 1.

    values: whether to look at them; see the head of this file. NumPy arrays are taken too.
    """
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        ids = _from_numpy(ids.astype(np.int64))
    if not _whole_numbers(ids):
        raise refusal(name, "a tensor of whole numbers", kind_of(ids), kind=TypeError)
    if values and ids.numel():
        low, high = (int(v) for v in ids.long().aminmax())
        if low < 0 or high >= vocabulary:
            raise refusal(
                name, f"ids from 0 to {vocabulary - 1}", f"{low} to {high}",
                "the tokenizer and the model must have one vocabulary",
            )  # fmt: skip
    return ids


__all__ = [
    "all_finite", "array", "images", "kind_of", "labels", "matrix", "number", "one_of", "path",
    "refusal", "tensor", "texts", "tokens", "whole",
]  # fmt: skip
