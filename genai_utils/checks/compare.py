"""Compares what a student's function returned with what the library returned.

Everything is brought to a list of float64 tensors on the CPU first, so that float32 and float64,
CPU and GPU, and where it is sensible NumPy arrays and Python numbers, are compared alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

LARGE = 1_000_000  # numbers
DIGITS = {"precision": 4, "edgeitems": 3, "suppress_small": True, "separator": ", "}


@dataclass
class Values:
    """The numbers of a result: one tensor, or the tensors of a tuple."""

    tensors: list[torch.Tensor]
    several: bool  # the result is a tuple of tensors
    note: str = ""  # said to the student whose answer was accepted in another type
    whole: bool = False  # integers or booleans: compared exactly


class WrongType(Exception):
    """The result cannot be read as numbers; the message is a sentence for the student."""


def article(value) -> str:
    """'a list', 'an int': the type of a value, in words."""
    if isinstance(value, torch.Tensor):
        return "a tensor"
    name = type(value).__name__
    return ("an " if name[:1].lower() in "aeiou" else "a ") + name


def read(value, like: Values | None = None) -> Values:
    """The numbers of a result. `like` are those of the reference, and say which types will do."""
    if isinstance(value, (tuple, list)) and (like is None or like.several):
        parts = [read(part) for part in value]
        if not parts or any(part.several for part in parts):
            raise WrongType(f"You returned {article(value)} that holds no plain tensors.")
        return Values([p.tensors[0] for p in parts], True, whole=all(p.whole for p in parts))
    if like is not None and like.several:
        raise WrongType(f"You returned {article(value)}; {_wanted(like)} is expected.")
    if isinstance(value, torch.Tensor):
        tensor, note = value.detach().to("cpu"), ""
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        tensor = torch.from_numpy(np.array(value))  # a copy, and writable
        note = "A NumPy array was accepted here; the library's function returns a tensor."
    elif isinstance(value, (bool, int, float, np.number, np.bool_)):
        if like is not None and any(t.dim() for t in like.tensors):
            raise WrongType(
                f"You returned one number ({float(value):.4g}); a tensor of shape "
                f"{tuple(like.tensors[0].shape)} is expected."
            )
        tensor = torch.as_tensor(value if isinstance(value, (bool, int)) else float(value))
        note = "A plain number was accepted here; the library's function returns a tensor."
    else:
        raise WrongType(f"You returned {article(value)}; {_wanted(like)} is expected.")
    if like is not None and tensor.numel() > max(100 * sum(t.numel() for t in like.tensors), LARGE):
        raise WrongType(  # do not even copy it
            f"You returned {tensor.numel():,} numbers, of shape {tuple(tensor.shape)}; "
            f"{_wanted(like)} is expected."
        )
    if tensor.is_complex():
        raise WrongType("You returned complex numbers; real ones are expected.")
    whole = not tensor.is_floating_point()
    return Values([tensor.to(torch.float64, copy=True)], False, note, whole)


def _wanted(like: Values | None) -> str:
    if like is None:
        return "a tensor"
    if like.several:
        return f"a tuple of {len(like.tensors)} tensors"
    return f"a tensor of shape {tuple(like.tensors[0].shape)}"


def agree(a: torch.Tensor, b: torch.Tensor, rtol: float) -> bool:
    """Are the numbers of a those of b? Relative tolerance; NaN and infinity must be in place."""
    if a.shape != b.shape:
        return False
    finite = torch.isfinite(b)
    if not torch.equal(torch.isfinite(a), finite):
        return False
    if not torch.equal(a[~finite].nan_to_num(0.5), b[~finite].nan_to_num(0.5)):
        return False
    a, b = a[finite], b[finite]
    if not b.numel():
        return True
    # The small absolute part forgives rounding where large terms cancel to nearly zero.
    scale = b.abs().max().item()
    return bool(((a - b).abs() <= rtol * b.abs() + 0.01 * rtol * scale + 1e-12).all())


def same(a: Values, b: Values, rtol: float) -> bool:
    """Are two results equal in number, shapes and numbers?"""
    tolerance = 0.0 if b.whole and a.whole else rtol
    pairs = zip(a.tensors, b.tensors, strict=False)
    return len(a.tensors) == len(b.tensors) and all(agree(x, y, tolerance) for x, y in pairs)


def unchanged(a, b) -> bool:
    """Is an argument, after the call, bit for bit what it was before it?"""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, torch.nn.Module) and isinstance(b, torch.nn.Module):
        return unchanged(dict(a.state_dict()), dict(b.state_dict()))
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(unchanged, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(unchanged(a[key], b[key]) for key in a)
    if isinstance(a, (bool, int, float, str)):
        return a == b or a != a
    return True  # an object of a kind that we cannot compare gets the benefit of the doubt


def factor(yours: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], rtol: float):
    """The number c with yours = c * expected, if there is one and two or more numbers show it."""
    a = torch.cat([t.flatten() for t in yours])
    b = torch.cat([t.flatten() for t in expected])
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()) or (b != 0).sum() < 2:
        return None
    largest = b.abs().argmax()
    c = (a[largest] / b[largest]).item()
    if c == 0 or not agree(a, c * b, rtol):
        return None
    return c


def brief(value, lines: int = 8, width: int = 300) -> str:
    """A value in a few short lines: shape first, four digits, the middle of large ones left out."""
    if isinstance(value, torch.Tensor):
        shape, value = tuple(value.shape), value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
        corner = value[tuple(slice(0, 50) for _ in shape)] if value.numel() > 2_500 else value
        dots = " (its corner)" if corner.shape != value.shape else ""
        text = np.array2string(corner.numpy(), threshold=30, **DIGITS)
        text = text if not shape else f"shape {shape}{dots}\n{text}"
    elif isinstance(value, np.ndarray):
        return brief(torch.from_numpy(np.array(value)), lines, width)
    elif isinstance(value, (tuple, list)) and len(value) <= 4:
        text = "\n".join(brief(part, 4, width) for part in value)
    elif isinstance(value, (bool, int, float, str, type(None))):
        text = repr(value[:width] if isinstance(value, str) else value)
    else:
        text = article(value)
    kept = [line[:width] for line in text.splitlines()[:lines]]
    return "\n".join(kept) + ("\n…" if len(text.splitlines()) > lines else "")
