"""What a submission's process does with one exercise: define, call, ask for gradients, report.

Only `pupil` uses it, after which the package can no longer be imported there.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
import time
import types

from genai_utils.checks import sandbox, wire
from genai_utils.checks.clues import gradients_of, text_of
from genai_utils.checks.compare import unchanged
from genai_utils.checks.results import article

TEXT = 2_000  # characters of an error's message that are kept


def tried(job: dict) -> dict:
    """The reply to one job.

    job: folder; first (code that runs before), cells (label -> code), plan (pairs of a label and
    the number of a statement in that cell), name, trials (lists of packed arguments), parts (for
    each trial the clause that it tries, None for the ordinary ones), gradients (whether they are
    asked for), places (of the arguments whose gradient is asked for, None: all), limit (seconds,
    for each part), most (numbers in a result, for each trial).
    """
    os.makedirs(job["folder"], exist_ok=True)
    os.chdir(job["folder"])
    home = types.ModuleType("__main__")
    sys.modules["__main__"] = home
    home.display = lambda *values, **settings: None
    exec(job["first"], home.__dict__)
    notes = _define(job, home.__dict__)
    function = home.__dict__.get(job["name"])
    reply = {"notes": notes, "kind": None, "trials": [], "gradients": []}
    if not callable(function):
        reply["kind"] = "missing" if job["name"] not in home.__dict__ else article(function)
        return reply
    arguments = [tuple(map(wire.unpack, trial)) for trial in job["trials"]]
    left = _clock(job)
    for number, (given, most) in enumerate(zip(arguments, job["most"], strict=True)):
        outcome = sandbox.call(function, given, limit=left(number), seed=number)
        reply["trials"].append(_told(outcome, given, most))
        if outcome.failure and job["parts"][number] is None:
            return reply  # nothing else is asked; in a clause, an error may be what is promised
        if outcome.failure == "time":
            break
    if job["gradients"]:
        reply["gradients"] = _gradients(job, function, arguments, reply["trials"])
    return reply


def _clock(job):
    """A function of a trial's number: the seconds that are left for the part it belongs to."""
    ends = {}

    def left(number):
        now = time.monotonic()
        return ends.setdefault(job["parts"][number], now + job["limit"]) - now

    return left


def _define(job, names) -> list[str]:
    """Run the statements that the function needs. Returns what went wrong, in words."""
    trees = {}
    for label, code in job["cells"].items():
        trees[label] = ast.parse(code).body
        # So that an error can show the student's line.
        linecache.cache[f"<{label}>"] = (len(code), None, code.splitlines(True), f"<{label}>")
    notes, end = [], time.monotonic() + job["limit"]
    for label, number in job["plan"]:
        tree = ast.Module([trees[label][number]], type_ignores=[])
        code = compile(tree, f"<{label}>", "exec", dont_inherit=True)
        done = sandbox.call(lambda code=code: exec(code, names), (), limit=end - time.monotonic())
        if done.failure == "time":
            notes.append(f"{label} was stopped after {job['limit']:g} seconds")
            break
        if done.failure:
            what = f"{type(done.error).__name__}: {text_of(done.error)}"[:TEXT]
            notes.append(f"{label}, line {trees[label][number].lineno}: {what}")
    return notes


def _told(outcome, given, most) -> dict:
    pairs = zip(given, outcome.arguments, strict=True)
    changed = [[i, wire.pack(new)] for i, (old, new) in enumerate(pairs) if not unchanged(old, new)]
    return {
        "value": wire.pack(outcome.value, most) if outcome.value is not Ellipsis else {"dots": 1},
        "changed": changed,
        "printed": outcome.printed,
        "drew": outcome.drew,
        **_failure(outcome),
    }


def _failure(outcome) -> dict:
    if not outcome.failure:
        return {"failure": None}
    error = outcome.error or TimeoutError()  # when its time was over, there is none
    return {
        "failure": outcome.failure,
        "error": type(error).__name__[:100],
        "base": next(k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"),
        "text": text_of(error)[:TEXT],
        "line": outcome.line,
    }


def _gradients(job, function, arguments, trials) -> list[dict | None]:
    """For each trial; None where its call failed."""
    left, told = _clock(job), []
    for number, (given, trial) in enumerate(zip(arguments, trials, strict=False)):
        if trial["failure"]:
            told.append(None)
            continue
        made = sandbox.call(
            lambda *a: gradients_of(function, a, job["places"]), given, limit=left(number)
        )
        told.append(_failure(made))
        if made.failure:
            break
        told[-1]["value"] = [wire.pack(each) for each in made.value]
    return told
