"""Learning-rate schedules: pure functions from the step to a factor that multiplies `lr`."""

import math
from collections.abc import Callable

import torch

from genai_utils.inputs import kind_of, number, refusal


def linear_warmup(step: int, warmup: int) -> float:
    """Linear warm-up: (step + 1) / warmup while step < warmup, then 1."""
    return min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0


def linear_warmup_cosine(step: int, steps: int, warmup: int = 0) -> float:
    """Warm up in a straight line, then follow half a cosine down to zero.

    factor = (step + 1) / warmup                                      for step < warmup
    factor = (1 + cos(pi (step - warmup) / (steps - warmup))) / 2     afterwards

    The factor is 1 at `step == warmup` and 0 at `step == steps` (which is never trained).
    Source: Loshchilov & Hutter 2017, eq. 5, one period.
    """
    if not 0 <= warmup < steps:
        raise refusal("warmup", f"from 0 to fewer than the {steps:,} steps", warmup)
    if step < warmup:
        return linear_warmup(step, warmup)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def cosine_to_floor(step: int, steps: int, warmup: int = 0, floor: float = 0.1) -> float:
    """Warm up in a straight line, then follow half a cosine down to `floor` instead of zero.

    factor = floor + (1 - floor) · (factor of `linear_warmup_cosine`)     after the warm-up
    Source: Karpathy's nanoGPT, whose floor is a tenth.
    """
    number(floor, "floor", least=0, most=1)
    factor = linear_warmup_cosine(step, steps, warmup)
    return factor if step < warmup else floor + (1 - floor) * factor


def trapezoid(step, steps, warmup, decay):
    """A learning rate's factor: up in a straight line, 1 for long, down in a straight line.

        min(1, (step + 1) / warmup, (steps - step) / decay)

    step: tensor (n,) of step numbers, from 0 to steps - 1. warmup, decay: so many steps at the
    start and at the end, each at least 1; the two may overlap, and the smallest number counts.
    Returns (n,). Source: Hägele et al. 2024.
    """
    step = torch.as_tensor(step)
    rise, fall = (step + 1) / warmup, (steps - step) / decay
    return torch.minimum(rise, fall).clamp(max=1)


def make_schedule(schedule: str | Callable, steps: int, warmup: int = 0) -> Callable:
    """The function `factor(step)` for "cosine", "constant" or the reader's own function of step."""
    if callable(schedule):
        if warmup:
            raise refusal(
                "warmup", "0 beside a schedule of your own", warmup, "let it do its own warm-up"
            )
        return lambda step: _checked(schedule(step), step)
    if schedule == "cosine":
        return lambda step: linear_warmup_cosine(step, steps, warmup)
    if schedule == "constant":
        return lambda step: linear_warmup(step, warmup)
    raise refusal("schedule", "'cosine', 'constant' or a function of the step", kind_of(schedule))


def _checked(factor, step: int) -> float:
    factor = factor.item() if hasattr(factor, "item") else factor  # of a tensor (1,), too
    return number(factor, f"schedule({step})", least=0)
