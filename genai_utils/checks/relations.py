"""How a wrong result is related to the right one: what helps to find a slip that has no name.

Each function looks at all cases at once, since what holds in one of them may be chance. A pair
is what was returned and what is expected: two tensors of one shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from genai_utils.checks.compare import agree, close, factor

Pair = tuple[torch.Tensor, torch.Tensor]

FORMS = {
    "1 minus the expected one": lambda e: 1 - e,
    "1 over the expected one": lambda e: 1 / e,
    "the square of the expected one": torch.square,
    "the square root of the expected one": torch.sqrt,
    "the exponential of the expected one": torch.exp,
    "the logarithm of the expected one": torch.log,
}
MOST = 4  # parts of a result whose orders are all tried


def form(pairs: Sequence[Pair], rtol: float) -> str:
    """What each number is of the expected one ("1 minus the expected one"), or nothing."""
    if torch.cat([e.flatten() for _, e in pairs]).unique().numel() < 2:
        return ""
    for words, function in FORMS.items():
        if all(agree(yours, function(expected), rtol) for yours, expected in pairs):
            return words
    return ""


def offset(pairs: Sequence[Pair], rtol: float) -> float | None:
    """The number by which all of yours are too large, in every case; None if there is none."""
    c = None
    for yours, expected in pairs:
        if not torch.isfinite(yours).all() or not torch.isfinite(expected).all():
            return None
        if c is None and yours.numel():
            c = (yours - expected).flatten()[0].item()
    if c is None or torch.cat([e.flatten() for _, e in pairs]).unique().numel() < 2:
        return None
    return c if c and all(agree(y, e + c, rtol) for y, e in pairs) else None


def ratio(yours: list[torch.Tensor], expected: list[torch.Tensor], rtol: float) -> float | None:
    """The number c with yours = c * expected, of one number as well; None if there is none."""
    if sum(e.numel() for e in expected) > 1:
        return factor(yours, expected, rtol)
    y, e = (torch.cat([part.flatten() for part in parts]) for parts in (yours, expected))
    return (y / e).item() if y.numel() and y.isfinite() and e.isfinite() and e != 0 else None


def size(ratios: Sequence[float], arguments: Sequence[tuple], names: Sequence[str]) -> str:
    """Which size of an argument the ratios of all cases are, or one over which; or nothing."""
    for place, name in enumerate(names):
        given = [case[place] if place < len(case) else None for case in arguments]
        if not all(isinstance(each, torch.Tensor) for each in given):
            continue
        for dim in range(min(each.dim() for each in given)):
            sizes = [each.shape[dim] for each in given]
            of = f"size of dimension {dim} of {name}"
            if len(set(sizes)) < 2:
                continue
            if all(abs(c - n) <= 1e-3 * n for c, n in zip(ratios, sizes, strict=True)):
                return f", the {of}"
            if all(abs(c * n - 1) <= 1e-3 for c, n in zip(ratios, sizes, strict=True)):
                return f", 1 over the {of}"
    return ""


def moved(pairs: Sequence[Pair], rtol: float) -> str:
    """Whether the right numbers stand in other places along a dimension: how, or nothing."""
    dimensions = min(expected.dim() for _, expected in pairs)
    for dim in range(dimensions):
        if all(agree(yours, expected.flip(dim), rtol) for yours, expected in pairs):
            return f"in reversed order along dimension {dim}"
        for words, ours, theirs in (("late", 1, 0), ("early", 0, 1)):
            parts = [
                (y.narrow(dim, ours, n - 1), e.narrow(dim, theirs, n - 1))
                for y, e in pairs
                if (n := y.shape[dim]) > 1
            ]
            if not parts or torch.cat([e.flatten() for _, e in parts]).unique().numel() < 3:
                continue  # nothing that would show it
            if all(agree(y, e, rtol) for y, e in parts):
                return f"one place too {words} along dimension {dim}"
    return ""


def order(yours: list[list[torch.Tensor]], expected: list[list[torch.Tensor]], rtol: float):
    """The order in which the parts of your results are the expected ones, from 1, or None.

    Both are lists of results, and a result is a list of tensors. (2, 1): your second part should
    come first.
    """
    count = len(expected[0])
    if not 2 <= count <= MOST:
        return None
    for places in itertools.permutations(range(count)):
        if all(
            agree(mine[place], right, rtol)
            for mine, theirs in zip(yours, expected, strict=True)
            for place, right in zip(places, theirs, strict=True)
        ):
            return tuple(place + 1 for place in places)
    return None


def first_wrong(yours: torch.Tensor, expected: torch.Tensor, rtol: float) -> str:
    """How many numbers are wrong and where the first of them stands; nothing if all are."""
    if yours.numel() < 4:
        return ""
    wrong = ~close(yours, expected, rtol)
    count = int(wrong.sum())
    if count in (0, wrong.numel()):
        return ""
    place = torch.unravel_index(wrong.flatten().long().argmax(), expected.shape)
    where = ", ".join(str(int(i)) for i in place)
    return f"{count} of {wrong.numel()} numbers are wrong, the first of them at [{where}]"
