"""What a check found, and how it is worded: a verdict, and the answer that it is about."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from genai_utils.checks import sandbox
from genai_utils.checks.clues import brief_text, gradients_of, unwrapped
from genai_utils.checks.compare import same, tolerance
from genai_utils.checks.register import Exercise
from genai_utils.checks.results import Values, brief, read
from genai_utils.checks.trials import Trial

TO_DO, CORRECT, NOT_YET, ERROR = "to do", "correct", "not yet", "error"


@dataclass
class Verdict:
    """What a check found: a state, one sentence, and where it helps inputs / yours / expected."""

    state: str
    name: str
    sentence: str
    details: list[tuple[str, str]] = field(default_factory=list)
    mistake: str | None = None


@dataclass
class Answer:
    """A student's function as the answer to an exercise, with the cases that it is tried on."""

    exercise: Exercise
    function: Callable
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self):
        self.name = self.exercise.name
        self.parameters = list(inspect.signature(self.exercise.reference).parameters)
        self.own = unwrapped(self.function)  # without its decorators

    # --- called -------------------------------------------------------------------------------

    def trial(self, number: int) -> Trial:
        """The trial of that number among all cases of the check."""
        return next(trial for trial in self.trials if trial.number == number)

    def called(self, number: int, limit: float) -> sandbox.Outcome:
        """What the function does on trial `number`, in at most `limit` seconds."""
        given = self.trial(number).arguments
        return sandbox.call(self.function, given, limit=limit, seed=number)

    def gradients(self, number: int, limit: float) -> sandbox.Outcome:
        """Its gradients on trial `number`: the outcome's value is a list, one for each argument."""
        given = self.trial(number).arguments
        return sandbox.call(
            lambda *a: gradients_of(self.function, a, self.exercise.gradient_places),
            given,
            limit=limit,
        )

    # --- right or wrong -----------------------------------------------------------------------

    def canonical(self, values: Values) -> Values | None:
        """Values ready for comparison; None where the exercise's canonical form fails on them."""
        if self.exercise.canonical is None:
            return values
        try:
            tensors = values.tensors
            form = self.exercise.canonical(tensors if values.several else tensors[0])
            return read(form)
        except Exception:
            return None

    def equal(self, a: Values, b: Values) -> bool:
        if [t.shape for t in a.tensors] != [t.shape for t in b.tensors]:
            return False
        a, b = self.canonical(a), self.canonical(b)
        return a is not None and b is not None and same(a, b, self.exercise.rtol)

    @property
    def rtol(self) -> float:
        """The relative tolerance for numbers of all trials."""
        return min(tolerance(t.yours, t.expected, self.exercise.rtol) for t in self.trials)

    def wrong(self) -> list[Trial]:
        """The cases in which the result is not the expected one."""
        return [t for t in self.trials if not self.equal(t.yours, t.expected)]

    def smallest_wrong(self) -> Trial:
        """The wrong case with the fewest numbers: the easiest to follow by hand."""
        return min(self.wrong(), key=lambda trial: trial.size)

    # --- said ---------------------------------------------------------------------------------

    def say(self, state, sentence, trial=None, mistake=None, details=()) -> Verdict:
        """The verdict with that sentence, and with what the trial shows."""
        shown = list(details)
        if trial is not None:
            pairs = zip(self.parameters, trial.arguments, strict=False)
            inputs = "\n".join(f"{name}: {brief(value)}" for name, value in pairs)
            shown.append(("inputs", inputs))
            if trial.outcome is not None and trial.outcome.failure is None:
                shown.append(("yours", brief(trial.outcome.value)))
            if trial.expected is not None:
                shown.append(("expected", "\n".join(brief(t) for t in trial.expected.tensors)))
            if trial.raises is not None:
                shown.append(("expected", f"an error: {trial.raises.__name__}"))
            if trial.outcome is not None and trial.outcome.printed.strip():
                shown.append(("printed", brief_text(trial.outcome.printed)))
        return Verdict(state, self.name, sentence, shown, mistake)
