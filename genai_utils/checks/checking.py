"""What a notebook says about its exercises: check, hint, solution, progress, yours.

    check(gaussian_kl)            is it right? If not: one sentence, then inputs, yours, expected
    hint("gaussian_kl")           the next hint; hint("gaussian_kl", 1) the first one again
    solution("gaussian_kl")       the library's own source
    progress()                    what is solved; progress("report.html") writes it to a file
    yours(gaussian_kl)            your function where it is correct, else the library's

The first four never raise, so that a notebook with nothing filled in runs to its end. How a
verdict is reached stands in `diagnosis`, what a function is kept from doing in `sandbox`.
"""

from __future__ import annotations

import functools
import html
import inspect

from genai_utils.checks import diagnosis, records, register
from genai_utils.checks.clues import source_text
from genai_utils.checks.results import article, brief
from genai_utils.checks.verdict import CORRECT, ERROR, NOT_YET, TO_DO, Verdict
from genai_utils.display.output import Bundle
from genai_utils.printing import say

__all__ = ["check", "examine", "hint", "progress", "solution", "yours"]

# The symbol says it without the colour. The colours are readable on white and on black.
SYMBOLS = {TO_DO: "○", CORRECT: "✓", NOT_YET: "✗", ERROR: "!"}
COLOURS = {TO_DO: "#8c8c8c", CORRECT: "#009e73", NOT_YET: "#d55e00", ERROR: "#cc79a7"}
NEUTRAL = "#56b4e9"
_hints_shown: dict[tuple[str, str], int] = {}


def _never_raises(tell):
    """A fault of ours must not stop a student's notebook: it is told in one line instead."""
    name, takes = tell.__name__, inspect.signature(tell)

    @functools.wraps(tell)
    def told(*arguments, **settings):
        try:
            takes.bind(*arguments, **settings)
        except TypeError as problem:
            _box("!", name, f"It is called as {name}{takes}: {problem}.", colour=COLOURS[ERROR])
            return
        try:
            tell(*arguments, **settings)
        except register.UnknownExercise as problem:
            _box("!", name, str(problem), colour=COLOURS[ERROR])
        except Exception as problem:
            _box(
                "!",
                name,
                f"This is a fault of the book, not of your code: {type(problem).__name__}: "
                f"{problem}. Please report it.",
                colour=COLOURS[ERROR],
            )

    return told


def examine(function) -> Verdict:
    """The verdict on a function, neither shown nor remembered."""
    return _examined(function)[0]


@_never_raises
def check(function):
    """Try your function on several cases and say what is wrong, if anything is."""
    verdict, found = _examined(function)
    notes = []
    if found is not None and verdict.state != TO_DO:
        made = {"state": verdict.state, "tries": 1, "code": source_text(function)}
        notes = records.Records().change(found.topic, found.name, **made)
    _show(_verdict_bundle(verdict, notes))


def planted_bundle(name):
    """The output of `check` for a planted fault as the notebook has it."""
    from genai_utils.checks import calling
    from genai_utils.checks.verdict import Answer

    found = register.find(name)
    return _verdict_bundle(calling.still_planted(Answer(found, found.reference)))


def _verdict_bundle(verdict, notes=()):
    symbol, colour = SYMBOLS[verdict.state], COLOURS[verdict.state]
    sentence = " ".join([verdict.sentence, *notes])
    title = f"{verdict.name}: {verdict.state}"
    return _box_bundle(symbol, title, sentence, verdict.details, colour)


def yours(function):
    """Your function where it is correct, else the library's; one line says which.

    For the cells after an exercise: they go on whatever the state of the exercise, and where it is
    solved they run on the student's own work. Raises UnknownExercise for a function that no
    exercise asks for, TypeError for what is no function.
    """
    verdict, found = _examined(function)
    if found is None:
        raise TypeError(verdict.sentence)
    if verdict.state == CORRECT:
        say(f"{found.name}: yours is used.")
        return function
    say(f"{found.name}: the library's is used.")  # short: a phone shows 43 letters of a line
    return found.reference


@_never_raises
def hint(function, n=None):
    """Show the next hint for an exercise, or hint number n."""
    found = _exercise(function)
    key, total = (found.topic, found.name), len(found.hints)
    if not total:
        _box("?", f"{found.name}: no hints", f'solution("{found.name}") shows the answer.')
        return
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= total):
        sentence = f"Its hints are numbered 1 to {total}; got {brief(n, 1, 60)}."
        _box("?", f"{found.name}: no such hint", sentence)
        return
    shown = _hints_shown.get(key, 0)
    number = min(shown + 1, total) if n is None else n
    notes = []
    if number > shown:
        _hints_shown[key] = number
        notes = records.Records().change(*key, hints=number)
    after = f' This is the last one; solution("{found.name}") shows the answer.'
    text = " ".join([found.hints[number - 1], *notes]) + (after if number == total else "")
    _box("?", f"{found.name}: hint {number} of {total}", text)


@_never_raises
def solution(function):
    """Show the library's own source, which is the answer."""
    found = _exercise(function)
    for note in records.Records().change(found.topic, found.name, solution=True):
        _box("!", found.name, note)
    from genai_utils.display.source import source_bundle

    source_bundle(found.reference).display()


@_never_raises
def progress(export=None, name=""):
    """Show what is solved in this notebook, or in all; `export` writes a .json or .html report.

    The report has a section for each chapter, with the code that was checked, and the open
    experiments with what was handed in; `name` is who hands it in.
    """
    from genai_utils.checks import report

    notebook = _notebook()
    topics = [register.topic_of(notebook)] if notebook and export is None else register.topics()
    topics = sorted(topics, key=register.notebook_of)
    kept, notes = records.Records().all()
    rows = report.rows([e for t in topics for e in _shelf(t).values()], kept)
    text, page = report.as_text(rows), report.as_html(rows)
    foretold, _ = records.Records().predictions()
    if line := report.foretold([p for t in topics for p in foretold.get(t, {}).values()]):
        text += f"\n{line}"
        page += f"<p>{line}</p>"
    asked = [(t, each) for t in topics for each in _experiments(t)]
    answers = report.experiments(asked, records.Records().handed_in()[0])
    if line := report.handed_in(answers, len(asked)):
        text += f"\n{line}"
        page += f"<p>{line}</p>"
    if export is not None:
        notes.append(report.export(export, rows, name, answers))
    if notes:
        text = "\n".join([text, *notes])
        page += "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    _display(page, text)


# --- helpers ------------------------------------------------------------------------------------


def _notebook() -> str | None:
    """The notebook that was started, if it has exercises."""
    from genai_utils.run import current  # torch is imported only where a check is asked for

    run = current()
    if run is None or register.topic_of(run.name) not in register.topics():
        return None
    return run.name


def _examined(function) -> tuple[Verdict, register.Exercise | None]:
    """The verdict on a function and the exercise that it answers, if it is a function at all."""
    if not callable(function) or _name(function) is None:
        got = repr(function[:60]) if type(function) is str else article(function)
        sentence = (
            "check expects your function itself, written with def, as in check(my_function); "
            f"got {got}."
        )
        return Verdict(ERROR, "check", sentence), None
    found = _exercise(function)
    return diagnosis.diagnose(found, function), found


def _exercise(function) -> register.Exercise:
    """The exercise of that function or name, in the notebook that was started."""
    name = function if type(function) is str else _name(function)
    if name is None:
        raise register.UnknownExercise(
            f"A function or its name is expected, as in hint('gaussian_kl'); "
            f"got {article(function)}."
        )
    try:
        return register.find(name, _notebook())
    except register.UnknownExercise as problem:
        why = ""
        if name == "<lambda>":
            why = " A lambda has no name: write your function with def."
        elif "<locals>" in str(getattr(function, "__qualname__", "")):
            why = " A decorator gives your function its own name, unless it uses functools.wraps."
        raise register.UnknownExercise(f"{problem}{why}") from None


def _name(function) -> str | None:
    """The name that a function was defined with; None where there is none."""
    try:
        name = function.__name__
    except Exception:  # an object may fail in its own way
        return None
    return name if isinstance(name, str) else None


def _shelf(topic):
    try:
        return register.load(topic)
    except Exception:  # a chapter whose own packages are missing must not hide the others
        return {}


def _experiments(topic):
    from genai_utils.checks import experiments

    try:
        return experiments.of_topic(topic)
    except register.UnknownExercise:
        return ()


def _box(*parts, **settings):
    _show(_box_bundle(*parts, **settings))


def _show(bundle):
    _display(bundle.html, bundle.data["text/plain"])


def _box_bundle(symbol, title, sentence, details=(), colour=NEUTRAL):
    text = [f"{symbol} {title}. {sentence}"]
    text += [f"  {label}:\n" + _indented(value) for label, value in details]
    rows = "".join(
        f'<div style="margin-top:.4em;opacity:.85">{html.escape(label)}</div>'
        '<pre style="margin:0;padding:0 0 0 1em;background:transparent;color:inherit;border:0;'
        f'overflow-x:auto;white-space:pre">{html.escape(value)}</pre>'
        for label, value in details
    )
    page = (
        f'<div role="status" style="border-left:.35em solid {colour};padding:.4em .8em;'
        'margin:.4em 0;color:inherit;background:transparent">'
        f'<strong><span aria-hidden="true">{symbol}</span> {html.escape(title)}.</strong> '
        f"{html.escape(sentence)}{rows}</div>"
    )
    return Bundle(text_html=page, text_plain="\n".join(text))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _display(page: str, text: str) -> None:
    """In a notebook: HTML with the plain text beside it. Elsewhere: the plain text."""
    Bundle(text_html=page, text_plain=text).display()
