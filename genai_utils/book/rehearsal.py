"""Evaluation cut short, for an estimate: what a barely trained network answers does not count.

While an estimate runs (`book.estimate`), a network that is called without gradients looks at the
first `ROWS` rows of what it is given, and gives the same answers again for the others. So shapes
are right, and the numbers are those of other rows. A network whose answer has no rows, that fails
on a few, or that keeps something of what it saw, as `moe.MoE` does, is called with all, and its
layers with few; what keeps something is not called again where it was given more than tensors, such
as a cache, which is filled by then. Training, whose FLOPs are counted, is as ever.
"""

from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

ROWS = 4


def begin():
    """From now on, in this process, networks without gradients look at a few rows only."""
    if nn.Module.__call__ is not _called:
        global _whole
        _whole, nn.Module.__call__ = nn.Module.__call__, _called


def end():
    """Networks look at all rows again."""
    if nn.Module.__call__ is _called:
        nn.Module.__call__ = _whole


_whole = nn.Module.__call__
_inside = False  # of a call that was cut: the layers of a network see what it sees


def _called(module, *args, **kwargs):
    global _inside
    rows = 0 if _inside or torch.is_grad_enabled() else _rows((args, kwargs))
    if not rows:
        return _whole(module, *args, **kwargs)
    if rows <= ROWS:  # its layers see all, also what has other rows, such as a table of places
        _inside = True
        try:
            return _whole(module, *args, **kwargs)
        finally:
            _inside = False

    def few(x):
        return x[:ROWS] if _has(x, rows) else x

    before, _inside = _held(module), True
    try:
        answer = _whole(module, *tree_map(few, args), **tree_map(few, kwargs))
        kept = any(a is not b for a, b in zip_longest(before, _held(module)))
        plain = all(x is None or isinstance(x, Tensor) for x in tree_flatten((args, kwargs))[0])
        if not (kept and plain) and all(_has(x, ROWS) for x in tree_flatten(answer)[0]):
            repeated = torch.arange(rows) % ROWS
            return tree_map(lambda x: x[repeated.to(x.device)], answer)
    except Exception:  # where it fails on all rows too, it says so below
        pass
    finally:
        _inside = False
    return _whole(module, *args, **kwargs)


def _rows(given):
    """The length of the first tensor that has an axis, else 0."""
    return next((len(x) for x in tree_flatten(given)[0] if isinstance(x, Tensor) and x.ndim), 0)


def _held(module):
    """What stands in the attributes of a network and of its layers."""
    return [value for layer in module.modules() for value in vars(layer).values()]


def _has(x, rows):
    return isinstance(x, Tensor) and x.ndim > 0 and len(x) == rows
