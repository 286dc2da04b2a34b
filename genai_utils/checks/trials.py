"""The cases that a check tries, with all that is known about them before the student's turn."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, field

import torch

from genai_utils.checks import sandbox
from genai_utils.checks.clues import gradients_of
from genai_utils.checks.results import Values, read


@dataclass
class Trial:
    """One case: its arguments, what the library says, and what each known mistake would say.

    clause: the name of the clause that the case belongs to; None: it is an ordinary one. raises:
    the error that is expected in place of a result.
    """

    arguments: tuple
    expected: Values | None
    mistakes: dict[str, Values]
    gradients: list | None
    slips: dict[str, list] = field(default_factory=dict)  # gradients of the known mistakes
    number: int = 0  # among all cases of a check
    clause: str | None = None
    raises: type[Exception] | None = None
    outcome: sandbox.Outcome | None = None
    yours: Values | None = None

    @property
    def size(self) -> int:
        """How many numbers its arguments hold."""
        return sum(a.numel() for a in self.arguments if isinstance(a, torch.Tensor))


def prepare(exercise, seeds) -> list[Trial]:
    """The library's results and those of the mistakes, for every case of every seed.

    The ordinary cases come first, then those of the clauses, in their order.

    Raises RuntimeError if the library's own function fails: then the exercise is broken.
    """
    with sandbox.untouched():
        cases = [(None, given) for seed in seeds for given in exercise.arguments(seed)]
        for clause in exercise.clauses:
            cases += [
                (clause, given) for seed in seeds for given in exercise.promised(clause, seed)
            ]
        return [_trial(exercise, number, *case) for number, case in enumerate(cases)]


def _trial(exercise, number, clause, arguments) -> Trial:
    raises = exercise.clauses[clause].raises if clause else None

    def result(function):
        sandbox.seed_all(number)  # for a function that draws: the student's draws the same
        return read(function(*copy.deepcopy(arguments)))

    try:
        right = result(exercise.reference)
    except Exception as error:
        if raises is not None and isinstance(error, raises):
            return Trial(arguments, None, {}, None, {}, number, clause, raises)
        raise RuntimeError(f"the library's own {exercise.name} failed: {error!r}") from error
    if raises is not None:
        raise RuntimeError(f"the library's own {exercise.name} raises no {raises.__name__}")
    mistakes = {}
    # Named mistakes are a matter of the ordinary cases; at an edge one might even loop for ever.
    for name, (wrong, _) in exercise.mistakes.items() if clause is None else ():
        with contextlib.suppress(Exception):  # a mistake that fails here is not made here
            mistakes[name] = result(wrong)
    gradients, slips = None, {}
    if exercise.grad:
        gradients = gradients_of(exercise.reference, arguments, exercise.gradient_places)
        for name in mistakes:
            with contextlib.suppress(Exception):
                slips[name] = gradients_of(
                    exercise.mistakes[name][0], arguments, exercise.gradient_places
                )
    return Trial(arguments, right, mistakes, gradients, slips, number, clause)
