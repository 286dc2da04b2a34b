"""Finds out what is wrong with a student's function, in the order that helps most.

Signature; still to do; changed its input; a named mistake; None, type, shape, NaN, gradient; a
constant factor; and only then "differs". The library's results and those of the known mistakes
are computed before the student's function runs, so that it cannot change them.
"""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass, field

import torch

from genai_utils.checks import sandbox
from genai_utils.checks.clues import (
    brief_text,
    gradients_of,
    in_words,
    is_stub,
    shape_clue,
    unused_parameters,
)
from genai_utils.checks.compare import (
    Values,
    WrongType,
    agree,
    article,
    brief,
    factor,
    read,
    same,
    unchanged,
)
from genai_utils.checks.trials import Trial, prepare

SEEDS = (11, 12, 13)
TO_DO, CORRECT, NOT_YET, ERROR = "to do", "correct", "not yet", "error"


@dataclass
class Verdict:
    """What a check found: a state, one sentence, and where it helps inputs / yours / expected."""

    state: str
    name: str
    sentence: str
    details: list[tuple[str, str]] = field(default_factory=list)
    mistake: str | None = None


def diagnose(exercise, function, seeds=SEEDS) -> Verdict:
    """The verdict on a student's function. Raises only if the exercise itself is broken."""
    return _Diagnosis(exercise, function).verdict(seeds)


class _Diagnosis:
    def __init__(self, exercise, function):
        self.exercise, self.function, self.name = exercise, function, exercise.name
        self.parameters = list(inspect.signature(exercise.reference).parameters)

    def verdict(self, seeds) -> Verdict:
        if inspect.unwrap(self.function) is self.exercise.reference:
            return self.say(
                TO_DO, "This is the library's own function. Run your own cell first, then check it."
            )
        trials = prepare(self.exercise, seeds)
        steps = (
            self.signature,
            self.still_to_do,
            self.run,
            self.changed_input,
            self.read_results,
            self.named_mistake,
            self.kind,
            self.gradient,
            self.factor,
            self.differs,
        )
        for step in steps:
            found = step(trials)
            if found:
                return found
        notes = {t.yours.note for t in trials if t.yours.note}
        return self.say(CORRECT, " ".join(["It agrees with the library in every case.", *notes]))

    def say(self, state, sentence, trial=None, mistake=None, details=()) -> Verdict:
        shown = list(details)
        if trial is not None:
            pairs = zip(self.parameters, trial.arguments, strict=False)
            inputs = "\n".join(f"{name}: {brief(value)}" for name, value in pairs)
            shown.append(("inputs", inputs))
            if trial.outcome is not None and trial.outcome.failure is None:
                shown.append(("yours", brief(trial.outcome.value)))
            if trial.expected is not None:
                shown.append(("expected", self.shown(trial.expected)))
            if trial.outcome is not None and trial.outcome.printed.strip():
                shown.append(("printed", brief_text(trial.outcome.printed)))
        return Verdict(state, self.name, sentence, shown, mistake)

    @staticmethod
    def shown(values: Values) -> str:
        return "\n".join(brief(t) for t in values.tensors)

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
        if not self.same_shapes(a, b):
            return False
        a, b = self.canonical(a), self.canonical(b)
        return a is not None and b is not None and same(a, b, self.exercise.rtol)

    @staticmethod
    def same_shapes(a: Values, b: Values) -> bool:
        return [t.shape for t in a.tensors] == [t.shape for t in b.tensors]

    # --- the steps ----------------------------------------------------------------------------

    def signature(self, trials):
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError):
            return None  # some compiled functions have none
        wanted, names = self.parameters, list(signature.parameters)
        call = f"{self.name}({', '.join(wanted)})"
        if sorted(names) == sorted(wanted) and names != wanted:
            return self.say(
                NOT_YET,
                f"Your arguments are in the order ({', '.join(names)}); it should be {call}.",
            )
        try:
            signature.bind(*trials[0].arguments)
        except TypeError:
            return self.say(
                NOT_YET, f"It is called as {call}; yours takes ({', '.join(names)}) instead."
            )
        return None

    def still_to_do(self, trials):
        if is_stub(self.function):
            return self.say(TO_DO, "Replace the ... with your code, run the cell, and check again.")
        return None

    def run(self, trials):
        end = time.monotonic() + self.exercise.limit
        for number, trial in enumerate(trials):
            left = end - time.monotonic()
            trial.outcome = sandbox.call(self.function, trial.arguments, limit=left, seed=number)
            found = self.failure(trial)
            if found:
                return found
        return None

    def failure(self, trial):
        outcome, error = trial.outcome, trial.outcome.error
        if outcome.value is Ellipsis:
            return self.say(TO_DO, "A ... is still in the way of a result. Put your code there.")
        if outcome.failure is None:
            return None
        if outcome.failure == "time":
            return self.say(
                ERROR,
                f"Stopped after {self.exercise.limit:g} seconds: your function did not come back. "
                "Is there a loop that never ends?",
                trial,
            )
        if outcome.failure == "exit":
            what = "tried to leave Python (exit, quit)"
            if isinstance(error, KeyboardInterrupt):
                what = "was interrupted"
            return self.say(ERROR, f"Your function {what} before it returned a result.", trial)
        text = str(error)
        unwritten = type(error) is NotImplementedError and "implemented for" not in text
        if unwritten or (isinstance(error, TypeError) and "ellipsis" in text.lower()):
            return self.say(TO_DO, "A part of it is still to be written.")
        if isinstance(error, RecursionError):
            return self.say(ERROR, "Your function calls itself without end.", trial)
        message = brief_text(text, 3)
        where = [("where", outcome.line)] if outcome.line else []
        sentence = f"Your function raised {type(error).__name__}" + (
            f": {message}" if message else "."
        )
        return self.say(ERROR, sentence, trial, details=where)

    def changed_input(self, trials):
        for trial in trials:
            pairs = zip(self.parameters, trial.arguments, trial.outcome.arguments, strict=False)
            for name, before, after in pairs:
                if not unchanged(before, after):
                    return self.say(
                        NOT_YET,
                        f"Your function changed its argument {name} in place. Its caller still "
                        f"needs it: work on a new tensor ({name} * 2, not {name} *= 2).",
                        Trial(trial.arguments, None, {}, None),
                        details=[(f"{name} after your call", brief(after))],
                    )
        return None

    def read_results(self, trials):
        for trial in trials:
            value = trial.outcome.value
            if value is None:
                return self.say(NOT_YET, "Your function returned None. Is its return missing?")
            try:
                trial.yours = read(value, trial.expected)
            except WrongType as problem:
                return self.say(NOT_YET, str(problem), trial)
            except Exception:
                return self.say(NOT_YET, f"The numbers of {article(value)} cannot be read.", trial)
            if len(trial.yours.tensors) != len(trial.expected.tensors):
                return self.say(
                    NOT_YET,
                    f"You returned {len(trial.yours.tensors)} tensors; "
                    f"{len(trial.expected.tensors)} are expected.",
                    trial,
                )
        return None

    def wrong(self, trials):
        return [t for t in trials if not self.equal(t.yours, t.expected)]

    def named_mistake(self, trials):
        wrong = self.wrong(trials)
        if not wrong:
            return None
        for name, (_, sentence) in self.exercise.mistakes.items():
            if all(name in t.mistakes and self.equal(t.yours, t.mistakes[name]) for t in trials):
                return self.say(NOT_YET, sentence, _smallest(wrong), mistake=name)
        return None

    def kind(self, trials):
        for trial in self.wrong(trials):
            pairs = list(zip(trial.yours.tensors, trial.expected.tensors, strict=True))
            for number, (yours, expected) in enumerate(pairs, start=1):
                which = f"Tensor {number} of your result" if len(pairs) > 1 else "Your result"
                if yours.shape != expected.shape:
                    sentence = (
                        f"{which} has shape {tuple(yours.shape)}; "
                        f"{tuple(expected.shape)} is expected."
                    )
                    more = shape_clue(yours, expected, self.exercise.rtol)
                    return self.say(NOT_YET, sentence + more, trial)
                for bad, word in ((torch.isnan, "NaN (not a number)"), (torch.isinf, "infinity")):
                    count = int((bad(yours) & ~bad(expected)).sum())
                    if count:
                        return self.say(
                            NOT_YET,
                            f"{which} holds {word} in {count} of {yours.numel()} places. Look for "
                            "a logarithm of zero, a division by zero, or an exponential that is "
                            "too large or too small.",
                            trial,
                        )
        return None

    def gradient(self, trials):
        """Gradients must flow where the library's do; if the values are right, be equal too."""
        if not self.exercise.grad:
            return None
        right = not self.wrong(trials)
        for trial in trials:
            made = sandbox.call(
                lambda *a: gradients_of(self.function, a),
                trial.arguments,
                limit=self.exercise.limit,
            )
            if made.failure:
                return self.say(
                    NOT_YET,
                    "It returns values, but fails when gradients are asked for: "
                    f"{type(made.error).__name__}: {brief_text(str(made.error), 2)}",
                    trial,
                )
            for name, ours, theirs in zip(
                self.parameters, trial.gradients, made.value, strict=False
            ):
                if ours is None or not ours.any() or not self.asked(name):
                    continue
                if theirs is None and name in unused_parameters(self.function):
                    return self.say(
                        NOT_YET, f"Your function never uses its argument {name}.", trial
                    )
                if theirs is None:
                    values = "The values are right, but no" if right else "No"
                    return self.say(
                        NOT_YET,
                        f"{values} gradient flows back to {name}: something like .detach(), "
                        ".item(), .numpy(), torch.tensor(...) or torch.no_grad() cuts it off.",
                        trial,
                    )
                if right and not agree(theirs, ours, max(self.exercise.rtol, 1e-3)):
                    return self.say(
                        NOT_YET,
                        f"The values are right, but the gradient with respect to {name} is not: "
                        "is a part of it detached, or rounded?",
                        Trial(trial.arguments, None, {}, None),
                        details=[("your gradient", brief(theirs)), ("expected", brief(ours))],
                    )
        return None

    def asked(self, name) -> bool:
        """Must the gradient with respect to this argument be right?"""
        return self.exercise.grad is True or name in self.exercise.grad

    def factor(self, trials):
        wrong = self.wrong(trials)
        if not wrong or self.exercise.canonical is not None:
            return None
        yours = [t for trial in trials for t in trial.yours.tensors]
        expected = [t for trial in trials for t in trial.expected.tensors]
        c = factor(yours, expected, self.exercise.rtol)
        if c is not None:
            if abs(c + 1) < 1e-3:
                sentence = "Every number has the wrong sign."
            else:
                sentence = f"Your result is {in_words(c)} times the expected one, in every case."
            return self.say(NOT_YET, sentence, _smallest(wrong))
        each = [factor(t.yours.tensors, t.expected.tensors, self.exercise.rtol) for t in trials]
        if all(c is not None for c in each):
            some = ", ".join(dict.fromkeys(in_words(c) for c in each[:4]))
            return self.say(
                NOT_YET,
                f"Your result is the expected one times a number that changes with the case "
                f"({some}): do you divide by a size, or forget to?",
                _smallest(wrong),
            )
        return None

    def differs(self, trials):
        wrong = self.wrong(trials)
        if not wrong:
            return None
        clues = []
        unused = unused_parameters(self.function)
        if unused:
            clues.append(f"It never uses its argument {', '.join(unused)}.")
        if any(t.outcome.drew for t in trials):
            clues.append(
                "It draws random numbers of its own, or sets a seed: what is random should come "
                "in through its arguments."
            )
        if len(wrong) < len(trials):
            clues.append(f"It is right in {len(trials) - len(wrong)} of {len(trials)} cases.")
        return self.say(
            NOT_YET, " ".join(["Your result differs from the expected one.", *clues]),
            _smallest(wrong),
        )  # fmt: skip


def _smallest(trials) -> Trial:
    """The case with the fewest numbers: the easiest to follow by hand."""

    def size(trial):
        return sum(a.numel() for a in trial.arguments if isinstance(a, torch.Tensor))

    return min(trials, key=size)
