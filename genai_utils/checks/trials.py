"""The cases that a check tries, with all that is known about them before the student's turn."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass

import torch

from genai_utils.checks import sandbox
from genai_utils.checks.clues import gradients_of
from genai_utils.checks.results import Values, read


@dataclass
class Trial:
    """One case: its arguments, what the library says, and what each known mistake would say."""

    arguments: tuple
    expected: Values
    mistakes: dict[str, Values]
    gradients: list | None
    outcome: sandbox.Outcome | None = None
    yours: Values | None = None

    @property
    def size(self) -> int:
        """How many numbers its arguments hold."""
        return sum(a.numel() for a in self.arguments if isinstance(a, torch.Tensor))


def prepare(exercise, seeds) -> list[Trial]:
    """The library's results and those of the mistakes, for every case of every seed.

    Raises RuntimeError if the library's own function fails: then the exercise is broken.
    """
    with sandbox.untouched():
        cases = [arguments for seed in seeds for arguments in exercise.arguments(seed)]
        return [_trial(exercise, number, arguments) for number, arguments in enumerate(cases)]


def _trial(exercise, number, arguments) -> Trial:
    def result(function):
        sandbox.seed_all(number)  # for a function that draws: the student's draws the same
        return read(function(*copy.deepcopy(arguments)))

    try:
        right = result(exercise.reference)
    except Exception as error:
        raise RuntimeError(f"the library's own {exercise.name} failed: {error!r}") from error
    mistakes = {}
    for name, (wrong, _) in exercise.mistakes.items():
        with contextlib.suppress(Exception):  # a mistake that fails here is not made here
            mistakes[name] = result(wrong)
    gradients = gradients_of(exercise.reference, arguments) if exercise.grad else None
    return Trial(arguments, right, mistakes, gradients)
