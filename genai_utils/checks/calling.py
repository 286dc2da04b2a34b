"""Questions about how a student's function is called, and what it does before it returns.

Each takes an answer and returns a verdict, or None: ask on. `run` fills in the outcomes.
"""

from __future__ import annotations

import inspect
import re
import time

from genai_utils.checks import sandbox
from genai_utils.checks.clues import brief_text, is_stub, text_of
from genai_utils.checks.compare import unchanged
from genai_utils.checks.results import brief
from genai_utils.checks.stubs import NAMES, is_planted
from genai_utils.checks.trials import Trial
from genai_utils.checks.verdict import ERROR, NOT_YET, TO_DO, Answer, Verdict

# What errors of torch mean that do not say it: a pattern in the message, and the cure.
CURES = {
    "Boolean value of Tensor with more than one": "(if, and, or, not, max(a, b) want one truth "
    "value. For a whole tensor there are torch.where, &, |, ~, torch.maximum.)",
    r"sort\(\) takes from 1 to 0": "(With stable=True the dimension has to be named: dim=-1.)",
    "same dtype|expected scalar type": "(Two types of numbers meet. Make new tensors in that of "
    "the arguments, as torch.zeros(n, dtype=x.dtype) does for x.)",
}

# --- the signature ------------------------------------------------------------------------------


def signature(answer: Answer) -> Verdict | None:
    """Is it a plain function, and can it be called as the exercise calls it?"""
    function = answer.function
    define = f"def {answer.name}({', '.join(answer.parameters)})"
    if inspect.isclass(function):
        return answer.say(NOT_YET, f"{answer.name} is a class; a function is expected: {define}.")
    if inspect.iscoroutinefunction(function):
        return answer.say(
            NOT_YET, f"An async function returns no result when it is called. Begin it {define}."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return answer.say(
            NOT_YET,
            "Your function contains yield, so that a call only makes a generator and runs none of "
            "its lines: give the result back with return.",
        )
    try:
        yours = inspect.signature(function)
        lengths = sorted({len(trial.arguments) for trial in answer.trials}, reverse=True)
        failed = [n for n in lengths if not _takes(yours, n)]
    except Exception:
        return None  # some compiled functions have no signature
    sentence = _order(answer, yours) or (_misfit(answer, yours, failed[0]) if failed else None)
    return answer.say(NOT_YET, sentence) if sentence else None


def _takes(signature, count: int) -> bool:
    """Can it be called with that many arguments, none of them named?"""
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _order(answer, yours) -> str | None:
    """The sentence for the right arguments in another order."""
    names = list(yours.parameters)
    named_only = any(p.kind is p.KEYWORD_ONLY for p in yours.parameters.values())
    if named_only or names == answer.parameters or sorted(names) != sorted(answer.parameters):
        return None
    call = _call(answer, len(names))
    return f"Your arguments are in the order ({', '.join(names)}); it should be {call}."


def _misfit(answer, yours, count: int) -> str:
    """Why it cannot be called with that many arguments."""
    parameters, call = list(yours.parameters.values()), _call(answer, count)
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    by_name = [name for name in by_name if name in answer.parameters[:count]]
    if by_name:
        return (
            f"It is called as {call}, without names; yours takes {', '.join(by_name)} only by "
            "name. Leave out the * among its arguments."
        )
    theirs = inspect.signature(answer.exercise.reference).parameters.values()
    defaults = {p.name: p.default for p in theirs if p.default is not p.empty}
    bare = [p.name for p in placed[count:] if p.default is p.empty]
    if bare and all(name in defaults for name in bare):
        one = len(bare) == 1
        return (
            f"It is also called as {call}, so {', '.join(bare)} "
            f"{'needs a default value' if one else 'need default values'}: "
            f"{', '.join(f'{name}={defaults[name]!r}' for name in bare)}."
        )
    if placed and placed[0].name in ("self", "cls") and len(placed) == count + 1:
        return (
            f"It is called as {call}; yours takes {placed[0].name} first, as a method of a class "
            "does. Write it outside of a class, as a plain function."
        )
    return f"It is called as {call}; yours takes {_shown(yours)} instead."


def _call(answer, count: int) -> str:
    return f"{answer.name}({', '.join(answer.parameters[:count])})"


def _shown(signature) -> str:
    """(x, *rest, dim=1): the arguments without their annotations."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    try:
        return str(signature.replace(parameters=bare, return_annotation=signature.empty))[:200]
    except Exception:  # a default value that cannot be shown
        return f"({', '.join(signature.parameters)})"


# --- the call -----------------------------------------------------------------------------------


def still_to_do(answer: Answer) -> Verdict | None:
    """Is its body still empty, or its fault still there?"""
    if is_planted(answer.own, answer.exercise):
        return still_planted(answer)
    if is_stub(answer.own):
        return answer.say(TO_DO, "Replace the ... with your code, run the cell, and check again.")
    return None


def still_planted(answer: Answer) -> Verdict:
    """What is said to the faulty version of an exercise, word for word."""
    return answer.say(
        TO_DO,
        "This is still the planted version. Find what is wrong in it, mend it, run the cell, and "
        "check again.",
    )


def run(answer: Answer) -> Verdict | None:
    """Does it return something in every case, in time, and without the library's answer?"""
    end = time.monotonic() + answer.exercise.limit
    for trial in answer.trials:
        with sandbox.calls_of(answer.exercise.reference) as calls:
            trial.outcome = answer.called(trial.number, end - time.monotonic())
        if calls:
            reference = answer.exercise.reference
            whole = f"{reference.__module__}.{reference.__qualname__}"
            return answer.say(
                NOT_YET, f"Your function calls {whole}: this is the library's; write it yourself."
            )
        found = _failure(answer, trial)
        if found is not None:
            return found
    return None


def _failure(answer, trial) -> Verdict | None:
    outcome, error = trial.outcome, trial.outcome.error
    if outcome.value is Ellipsis:
        return answer.say(TO_DO, "A ... is still in the way of a result. Put your code there.")
    if outcome.failure is None:
        return None
    if outcome.failure == "time":
        return answer.say(
            ERROR,
            f"Stopped after {answer.exercise.limit:g} seconds: your function did not come back. "
            "Is there a loop that never ends?",
            trial,
        )
    if outcome.failure == "exit":
        what = "tried to leave Python (exit, quit)"
        if isinstance(error, KeyboardInterrupt):
            what = "was interrupted"
        return answer.say(ERROR, f"Your function {what} before it returned a result.", trial)
    text = text_of(error)
    unwritten = type(error) is NotImplementedError and "implemented for" not in text
    if unwritten or (isinstance(error, TypeError) and "ellipsis" in text.lower()):
        return answer.say(TO_DO, "A part of it is still to be written.")
    if isinstance(error, RecursionError):
        return answer.say(ERROR, "Your function calls itself without end.", trial)
    message = brief_text(text, 3)
    where = [("where", outcome.line)] if outcome.line else []
    sentence = f"Your function raised {type(error).__name__}" + (f": {message}" if message else ".")
    sentence += _cure(text)
    return answer.say(ERROR, sentence, trial, details=where)


def _cure(text: str) -> str:
    """What to do about an error whose message does not say it; nothing for the others."""
    for pattern, cure in CURES.items():
        if re.search(pattern, text):
            return f" {cure}"
    name = re.match("name '(\\w+)' is not defined", text)
    if name and name[1] in NAMES:
        return f" ({NAMES[name[1]]} stands in a cell above: run it, also after a restart.)"
    return ""


def changed_input(answer: Answer) -> Verdict | None:
    """Are its arguments, after the call, what they were?"""
    for trial in answer.trials:
        pairs = zip(answer.parameters, trial.arguments, trial.outcome.arguments, strict=False)
        for name, before, after in pairs:
            if not unchanged(before, after):
                return answer.say(
                    NOT_YET,
                    f"Your function changed its argument {name} in place. Its caller still "
                    f"needs it: work on a copy ({name} = {name}.clone()) or on a new tensor.",
                    Trial(trial.arguments, None, {}, None),
                    details=[(f"{name} after your call", brief(after))],
                )
    return None


def promised_error(answer: Answer) -> Verdict | None:
    """Does it raise the error that is expected in place of a result, in every case?"""
    end = time.monotonic() + answer.exercise.limit
    for trial in answer.trials:
        trial.outcome = answer.called(trial.number, end - time.monotonic())
        kind = trial.raises.__name__
        if trial.outcome.failure is None:
            sentence = f"It returned a result; {kind} is expected."
            if isinstance(trial.outcome.value, trial.raises):
                sentence = f"It returned {kind}: write raise in place of return."
            return answer.say(NOT_YET, sentence, trial)
        error = trial.outcome.error
        raised = trial.outcome.failure == "raised"
        # By name, too: grading hears of the errors of another process by their names.
        names = {base.__name__ for base in type(error).__mro__}
        if not raised or not (isinstance(error, trial.raises) or kind in names):
            told = _failure(answer, trial)
            said = told.sentence if told.sentence[-1] in ".)" else f"{told.sentence}."
            return answer.say(NOT_YET, f"{said} {kind} is expected.", trial)
    return None
