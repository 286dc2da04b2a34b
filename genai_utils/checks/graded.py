"""Grades a submission: its code runs in a process of its own, and is judged here.

    with Grader(draw_seeds()) as grader:
        results = grader.grade(notebook, exercises)

The cases come from seeds that nobody knows before. Their results are computed here, by the library
and by the torch of this process; the other process gets the student's statements and arguments
only, and gives values back (`pupil`, `wire`). What they say is found out by the questions that a
check in a notebook asks.

This is not a security boundary. A submission that wants to can read other files, open connections
or look for the library's source. Run submissions that you do not trust in a container.
"""

from __future__ import annotations

import builtins
import copy
import secrets
import time
from dataclasses import dataclass, field, replace

from genai_utils.checks import handed_in, stubs, wire
from genai_utils.checks.diagnosis import judged
from genai_utils.checks.process import GRACE, PATIENCE, Ended, Limits, Pupil
from genai_utils.checks.register import Exercise
from genai_utils.checks.results import LARGE
from genai_utils.checks.sandbox import Outcome
from genai_utils.checks.trials import prepare
from genai_utils.checks.verdict import CORRECT, ERROR, NOT_YET, Answer, Verdict

MISSING = "missing"
SEEDS = 3  # drawn for a run
FIRST = "\n".join(stubs.NAMES.values())
# Told from each other by the questions; every other error is told by its name.
KNOWN = ("TypeError", "RecursionError", "NotImplementedError", "KeyboardInterrupt", "SystemExit")
BOUNDARY = (
    "Each submission ran in a fresh process and an empty folder, with limits of time and memory. "
    "This is not a security boundary: code that wants to do harm can."
)


def draw_seeds() -> tuple[int, ...]:
    """Seeds that nobody can know before."""
    return tuple(secrets.randbelow(2**31) for _ in range(SEEDS))


def must_be_correct(function, notebook: str | None = None) -> None:
    """Raise AssertionError with the verdict's sentence, unless the function is correct.

    For the test cells of nbgrader and otter, which run beside the student's code.
    """
    from genai_utils.checks import register
    from genai_utils.checks.diagnosis import diagnose

    verdict = diagnose(register.find(function.__name__, notebook), function, draw_seeds())
    if verdict.state != CORRECT:
        raise AssertionError(f"{verdict.name}: {verdict.state}. {verdict.sentence}")


@dataclass
class Result:
    """What was found for one exercise of one submission."""

    name: str
    state: str
    sentence: str
    seconds: float = 0.0
    details: list = field(default_factory=list)
    code: str = ""


# --- the judgement ------------------------------------------------------------------------------


@dataclass
class Recorded(Answer):
    """An answer whose calls have been made elsewhere; `function` is only looked at."""

    reply: dict = field(default_factory=dict)

    def called(self, number, limit) -> Outcome:
        told, trial = self.reply["trials"][number], self.trial(number)
        arguments = list(trial.arguments)
        for place, value in told["changed"]:
            arguments[place] = wire.unpack(value)
        value = told["value"]
        return Outcome(
            value=Ellipsis if "dots" in value else wire.unpack(value),
            printed=clean(told["printed"]),
            drew=bool(told["drew"]),
            arguments=tuple(arguments),
            **_failure(told),
        )

    def gradients(self, number, limit) -> Outcome:
        told = self.reply["gradients"][number]
        value = None if told["failure"] else [wire.unpack(each) for each in told["value"]]
        return Outcome(value=value, **_failure(told))


def _failure(told) -> dict:
    """failure, error and line of an outcome, as they were told."""
    if told["failure"] is None:
        return {}
    if told["failure"] not in ("raised", "time", "exit"):
        raise ValueError("no such failure")
    return {
        "failure": told["failure"],
        "error": _error(clean(told["error"]), clean(told["base"]), clean(told["text"])),
        "line": clean(told["line"]),
    }


def _error(name, base, text) -> BaseException:
    """An error of that name and message, of a class below the built-in one called `base`."""
    if name in KNOWN:
        return getattr(builtins, name)(text)
    base = getattr(builtins, base, None)
    if not (isinstance(base, type) and issubclass(base, BaseException)):
        raise ValueError("no such error")
    plain = {"__init__": lambda self, *_: None, "__str__": lambda self: text}
    return type(name, (base,), plain)()


def _ended(sentence: str) -> str:
    """The sentence with its full stop: it may end with a message of Python."""
    return sentence if sentence.rstrip().endswith((".", "?")) else f"{sentence.rstrip()}."


def clean(text) -> str:
    """A text that every file can hold."""
    return str(text).replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


class Grader:
    """Judges submissions on one set of cases, which are made once.

    seeds: those of the cases. limits: what a submission may take.
    """

    def __init__(self, seeds, limits: Limits | None = None):
        self.seeds, self.limits = tuple(seeds), limits or Limits()
        self.cases = {}
        self.held: list[str] | None = None  # the limits that hold here, once a process has run

    def grade(self, notebook: handed_in.Notebook, exercises: list[Exercise]) -> list[Result]:
        """A result for each exercise, in order. The submission's own faults never raise."""
        results = {e.name: self._unrun(notebook, e) for e in exercises}
        waiting = [e for e in exercises if results[e.name] is None]
        while waiting:
            total = sum(map(self._patience, waiting)) + PATIENCE
            with Pupil(self.limits, total) as pupil:
                self.held = pupil.held
                while waiting:
                    exercise, began = waiting.pop(0), time.monotonic()
                    verdict, alive = self._judged(pupil, notebook, exercise)
                    results[exercise.name] = Result(
                        exercise.name,
                        verdict.state,
                        clean(verdict.sentence),
                        time.monotonic() - began,
                        [[label, clean(text)] for label, text in verdict.details],
                        clean(notebook.code(exercise.name)),
                    )
                    if not alive:  # the others get a new process
                        break
        return list(results.values())

    def _unrun(self, notebook, exercise) -> Result | None:
        """The result where there is nothing to run, else None."""
        name = exercise.name
        if any(name in s.binds for s in notebook.plan(name)):
            return None
        if name in notebook.library:
            sentence = f"{notebook.library[name]}: this is the library's; write it yourself."
            return Result(name, NOT_YET, clean(sentence))
        return Result(name, MISSING, clean(notebook.why_missing(name)))

    def _limited(self, exercise) -> Exercise:
        seconds = self.limits.seconds
        return exercise if seconds is None else replace(exercise, limit=float(seconds))

    def _patience(self, exercise) -> float:
        """Definitions, and in each part calls and gradients, may take the limit each."""
        return (1 + 2 * (1 + len(exercise.clauses))) * self._limited(exercise).limit + GRACE

    def _trials(self, exercise) -> list:
        """The cases of an exercise, without what another submission said to them."""
        key = exercise.topic, exercise.name
        if key not in self.cases:
            self.cases[key] = prepare(exercise, self.seeds)
        return [copy.copy(trial) for trial in self.cases[key]]

    def _judged(self, pupil, notebook, exercise) -> tuple[Verdict, bool]:
        """The verdict, and whether the process can go on."""
        exercise, plan = self._limited(exercise), notebook.plan(exercise.name)
        seen = handed_in.likeness(plan, exercise.name)
        answer = Recorded(exercise, seen, self._trials(exercise))
        job = {
            "first": FIRST,
            "cells": {s.cell: notebook.cells[s.cell] for s in plan},
            "plan": [[s.cell, s.number] for s in plan],
            "name": exercise.name,
            "trials": [[wire.pack(a) for a in t.arguments] for t in answer.trials],
            "parts": [t.clause for t in answer.trials],
            "most": [max(100 * sum(e.numel() for e in t.expected.tensors) if t.expected else 0,
                         LARGE) for t in answer.trials],
            "gradients": bool(exercise.grad),
            "places": exercise.gradient_places,
            "limit": exercise.limit,
        }  # fmt: skip
        try:
            answer.reply = pupil.ask(job, self._patience(exercise))
        except Ended as problem:
            return answer.say(ERROR, str(problem)), False
        try:
            return self._verdict(answer, notebook), True
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            # What came back is nothing that `trying` sends.
            return answer.say(ERROR, "What your function gave back cannot be read."), False

    def _verdict(self, answer, notebook) -> Verdict:
        reply = answer.reply
        notes = [clean(note) for note in reply["notes"]]
        if reply["kind"] is not None:
            verdict = answer.say(ERROR, f"{answer.name} is {clean(reply['kind'])}, no function.")
            if reply["kind"] == "missing":
                verdict = answer.say(ERROR, f"{answer.name} could not be defined.")
        else:
            verdict = judged(answer)
        if verdict.state == CORRECT:
            return verdict
        outcomes = [t.outcome for t in answer.trials if t.outcome is not None]
        errors = [f"{type(o.error).__name__}: {o.error}" for o in outcomes if o.error is not None]
        for text in [*notes, *errors]:
            used = [n for n in notebook.library if f"name '{n}' is not defined" in text]
            used += ["genai_utils"] if "No module named 'genai_utils" in text else []
            if used:
                verdict.sentence = _ended(verdict.sentence) + (
                    f" {notebook.library.get(used[0], used[0])} is the library's; write it "
                    "yourself: in grading the library is not there."
                )
                break
        if any("DefaultCPUAllocator" in text or "MemoryError" in text for text in errors):
            verdict.sentence = _ended(verdict.sentence)
            verdict.sentence += f" It asked for more memory than {self.limits.memory} MB."
        if notes and verdict.state == ERROR:
            verdict.sentence = _ended(verdict.sentence)
            verdict.sentence += f" Before it: {'; '.join(notes)}."
        return verdict
