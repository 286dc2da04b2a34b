"""Compares what a student's function returned with what the library returned, as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from genai_utils.checks.results import Values


def close(a: torch.Tensor, b: torch.Tensor, rtol: float) -> torch.Tensor:
    """Which numbers of a are those of b, of the same shape; NaN and infinity must be in place."""
    finite = torch.isfinite(b)
    alike = (torch.isfinite(a) == finite) & (a.nan_to_num(0.5) == b.nan_to_num(0.5))
    # The small absolute part forgives rounding where large terms cancel to nearly zero.
    scale = b[finite].abs().max().item() if finite.any() else 0.0
    near = (a - b).abs() <= rtol * b.abs() + 0.01 * rtol * scale + 1e-12
    return torch.where(finite, torch.isfinite(a) & near, alike)


def agree(a: torch.Tensor, b: torch.Tensor, rtol: float) -> bool:
    """Are the numbers of a those of b? Relative tolerance; NaN and infinity must be in place."""
    return a.shape == b.shape and bool(close(a, b, rtol).all())


def tolerance(a: Values, b: Values, rtol: float) -> float:
    """The relative tolerance between two results: none between whole numbers, each counts."""
    return 0.0 if a.whole and b.whole else rtol


def same(a: Values, b: Values, rtol: float) -> bool:
    """Are two results equal in number, shapes and numbers?"""
    rtol = tolerance(a, b, rtol)
    pairs = zip(a.tensors, b.tensors, strict=False)
    return len(a.tensors) == len(b.tensors) and all(agree(x, y, rtol) for x, y in pairs)


def unchanged(a, b) -> bool:
    """Is an argument, after the call, bit for bit what it was before it?"""
    try:
        return _unchanged(a, b)
    except Exception:  # what can no longer be compared was changed
        return False


def _unchanged(a, b) -> bool:
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
    """The number c with yours = c * expected, if there is one and two or more numbers show it.

    It is not 1: large whole numbers may be wrong and nearly the expected ones.
    """
    a = torch.cat([t.flatten() for t in yours])
    b = torch.cat([t.flatten() for t in expected])
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()) or (b != 0).sum() < 2:
        return None
    largest = b.abs().argmax()
    c = (a[largest] / b[largest]).item()
    if c == 0 or abs(c - 1) <= rtol or not agree(a, c * b, rtol):
        return None
    return c
