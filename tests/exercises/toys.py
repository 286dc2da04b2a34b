"""Small functions with known answers, so that the framework is tested without any model."""

import sys
from types import ModuleType

import torch

from genai_utils.checks import Exercise, register


def row_norms(x):
    """Length of each row: sqrt(sum_j x_ij^2). Shapes: x (n, d) -> (n,)."""
    return (x**2).sum(1).sqrt()


def shift(x, by):
    """x plus `by`. Shapes: x (n, d), by a number -> (n, d)."""
    return x + by


def scaled(x, by=2.0):
    """x times `by`. Shapes: x (n, d), by a number -> (n, d)."""
    return x * by


def centre_and_mean(x):
    """The rows minus their mean, and the mean. Shapes: x (n, d) -> (n, d), (d,)."""
    return x - x.mean(0), x.mean(0)


def largest(x):
    """The position of the largest number. Shapes: x (n,) -> scalar, integer."""
    return x.argmax()


def direction(x):
    """First right singular vector, up to its sign. Shapes: x (n, d) -> (d,)."""
    return torch.linalg.svd(x)[2][0]


def matrices(seed):
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(n, d, generator=g),) for n, d in ((3, 5), (7, 4), (4, 2))]


def shifts(seed):
    return [(x, 1.5 + i) for i, (x,) in enumerate(matrices(seed))]


def with_and_without(seed):
    return [(x, 3.0) if i else (x,) for i, (x,) in enumerate(matrices(seed))]


def vectors(seed):
    return [(x[0],) for (x,) in matrices(seed)]


NORMS = Exercise(
    row_norms,
    cases=matrices,
    mistakes={
        "squared": (lambda x: (x**2).sum(1), "You forgot the square root."),
        "columns": (lambda x: (x**2).sum(0).sqrt(), "You summed over the rows."),
    },
    hints=["Square, add, root.", "Sum over dimension 1."],
    grad=True,
    topic="toys",
)
HURRIED = Exercise(row_norms, cases=matrices, limit=0.4, topic="toys")
VALUES = Exercise(row_norms, cases=matrices, topic="toys")  # no gradient asked for
SHIFT = Exercise(shift, cases=shifts, topic="toys")
SCALED = Exercise(scaled, cases=with_and_without, topic="toys")
PAIR = Exercise(centre_and_mean, cases=matrices, topic="toys")
LARGEST = Exercise(largest, cases=vectors, topic="toys")
DIRECTION = Exercise(
    direction, cases=matrices, canonical=lambda v: v * v.sum().sign(), topic="toys"
)


def shelves(monkeypatch, attribute, **entries):
    """Two toy chapters with an exercise each, and these PREDICTIONS or EXPERIMENTS beside them."""
    only(monkeypatch, toys=[NORMS], others=[SHIFT])
    for topic, shelf in entries.items():
        module = ModuleType(topic)
        setattr(module, attribute, shelf)
        monkeypatch.setitem(sys.modules, f"{register.SHELF}.{topic}", module)


def only(monkeypatch, **shelves):
    """Make these exercises, given as topic=[exercise, ...], the book's only ones."""
    register_of = {topic: {e.name: e for e in shelf} for topic, shelf in shelves.items()}
    monkeypatch.setattr(register, "REGISTER", register_of)
    monkeypatch.setattr(register, "topics", lambda: sorted(register_of))
    monkeypatch.setattr(register, "import_module", lambda name: None)
