"""Write the notebooks of an assignment: chosen exercises of chapters, with points.

    python -m genai_utils.checks.assign --chapters 08 10 --out homework
    python -m genai_utils.checks.assign --exercises 8.1 10.2 --points 8.1=2 10.2=1.5 --out homework
    python -m genai_utils.checks.assign --chapters 08 --format nbgrader --out source/homework
    python -m genai_utils.checks.assign --chapters 24 --experiments units-in-use --out homework

A notebook has the chapter's set-up cell, the imports, and for each exercise its text, its formulas,
the stub and the check; for an open experiment its text and a place for the answer, which is marked
by hand. There are no solutions, no shown answers and no outputs. Beside the
notebooks stands `assignment.json`, which `grade` reads: keep it. A file that is there already is
never written over.

The formats nbgrader and otter are the lecturer's versions of these tools, and hold the solutions:
hand out what the tools make of them (`nbgrader generate_assignment`, `otter assign`).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

from genai_utils.checks import experiments, exports, stubs, tasks
from genai_utils.inputs import number, one_of
from genai_utils.printing import say

FORMAT, VERSION = "genai-from-scratch assignment", 1
MARK = "genai_assignment"  # in the metadata of a notebook and of its cells
MANIFEST = "assignment.json"
FORMATS = ("plain", "nbgrader", "otter")


@dataclass(frozen=True)
class Set:
    """A task that is set, and what it is worth."""

    task: tasks.Task
    points: float = 1.0

    @property
    def worth(self) -> str:
        return _worth(self.points)


@dataclass(frozen=True)
class Open:
    """An open experiment that is set, and what it is worth. It is marked by hand."""

    chapter: str
    experiment: experiments.Experiment
    points: float = 1.0

    @property
    def worth(self) -> str:
        return f"{_worth(self.points)}, marked by hand"


def _worth(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"


def opened(names, points=None, folder=tasks.NOTEBOOKS) -> list[Open]:
    """The open experiments of those names, in the order of the book.

    points: name -> points, 1 where none are given. Raises tasks.NoSuchTask.
    """
    found = []
    for name in dict.fromkeys(names):
        try:
            topic, experiment = experiments.find(name)
        except ValueError as problem:
            raise tasks.NoSuchTask(str(problem)) from None
        worth = number((points or {}).get(name, 1.0), f"points of {name}", least=0)
        found.append(Open(tasks.find(topic, folder), experiment, worth))
    return sorted(found, key=lambda each: each.chapter)


def chosen(chapters=(), exercises=(), points=None, folder=tasks.NOTEBOOKS) -> list[Set]:
    """The exercises of an assignment, in the order of the book.

    chapters: names or numbers; exercises: numbers such as "8.1", none for all of the chapters.
    points: number -> points, 1 where none are given. Raises tasks.NoSuchTask, or ValueError where
    nothing is chosen or points are given for what is not.
    """
    names = [tasks.find(str(c), folder) for c in chapters]
    names += [tasks.find(str(e).partition(".")[0], folder) for e in exercises]
    found = [t for name in sorted(set(names)) for t in tasks.read(name, folder).tasks]
    numbers = [task.number for task in found]
    for wanted in [*exercises, *(points or {})]:
        if str(wanted) not in numbers:
            there = ", ".join(numbers) or "none"
            raise tasks.NoSuchTask(f"There is no exercise {wanted}. There are: {there}.")
    found = [t for t in found if not exercises or t.number in map(str, exercises)]
    for name in points or {}:
        if name not in [task.number for task in found]:
            raise ValueError(f"Points are given for exercise {name}, which is not chosen.")
    if not found:
        raise ValueError("Nothing is chosen: name --chapters or --exercises.")
    worth = {n: number(p, f"points of {n}", least=0) for n, p in (points or {}).items()}
    return [Set(task, worth.get(task.number, 1.0)) for task in found]


def notebook(chapter: tasks.Chapter, sets: list[Set], form: str = "plain", open_ones=()):
    """The notebook of an assignment on one chapter (nbformat)."""
    total = sum(each.points for each in [*sets, *open_ones])
    head = f"# Assignment: {chapter.title}\n\n{counted(sets, open_ones)}, {_worth(total)}."
    if sets:
        head += (
            " Each exercise is a function with its body left out. Replace the `...`, run the cell, "
            "then run the check below it. You may write helper functions in cells of their own. "
            "Keep the names of the functions."
        )
    if any(each.task.exercise.planted for each in sets):
        head += " A function whose body is there has a fault in it: find it, and mend it."
    if open_ones:
        head += (
            " An open experiment has no check: do it in the chapter's own notebook, and write your "
            "answer, and what you did, below its text."
        )
    if form == "plain" and sets:
        head += (
            " When this is graded, only definitions, imports and assignments are run, and the "
            "book's package is not there: write everything yourself."
        )
    names = "from genai_utils.course import check, hint, progress"
    imports = "\n".join([*stubs.NAMES.values(), "", names])
    cells = [
        _cell("markdown", head, role="head"),
        _cell("code", chapter.setup, role="setup"),
        _cell("code", imports, role="imports"),
    ]
    for each in sets:
        text, answer, check = parts(each)
        about = {"exercise": each.task.number, "function": each.task.name, "points": each.points}
        cells += [
            _cell("markdown", text, role="text", **about),
            _cell("code", answer, role="answer", **about),
            _cell("code", check, role="check", **about),
        ]
    for each in open_ones:
        asked = each.experiment
        text = f"## Open experiment: {asked.name} ({each.worth})\n\n{asked.question}\n\n"
        text += f"Hand in {asked.hand_in}. About {asked.minutes} minutes."
        about = {"experiment": asked.name, "points": each.points}
        cells += [
            _cell("markdown", text, role="open", **about),
            _cell("markdown", "*Your answer:*", role="open answer", **about),
        ]
    made = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            MARK: {"chapter": chapter.name},
        },
    )
    if form != "plain":
        made = {"nbgrader": exports.nbgrader, "otter": exports.otter}[form](made, sets, open_ones)
    for place, cell in enumerate(made.cells):  # the same ids whenever it is made
        cell.id = f"cell-{place:03}"
    return made


def counted(sets, open_ones=()) -> str:
    """ "3 exercises, 1 open experiment"."""
    kinds = ((len(sets), "exercise"), (len(open_ones), "open experiment"))
    return ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for n, what in kinds if n)


def parts(each: Set) -> tuple[str, str, str]:
    """The text, the stub and the check of an exercise."""
    task = each.task
    text = f"## Exercise {task.number} ({each.worth})\n\n"
    text += f"*{task.level}; section {task.section}*\n\n"
    text += "\n\n".join([task.text, *task.formulas])
    stub = stubs.stub(task.exercise).rstrip()
    return text, stub, f'check({task.name})\n# hint("{task.name}")'


def _cell(kind, source, **mark):
    make = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
    return make(source, metadata={MARK: mark})


def manifest(sets: list[Set], open_ones=()) -> dict:
    """What `grade` has to know of an assignment, and what is marked by hand."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "exercises": [
            {
                "chapter": each.task.chapter,
                "number": each.task.number,
                "function": each.task.name,
                "points": each.points,
            }
            for each in sets
        ],
        "by hand": [
            {"chapter": o.chapter, "experiment": o.experiment.name, "points": o.points}
            for o in open_ones
        ],
    }


def write(sets, out: Path, form: str = "plain", folder=tasks.NOTEBOOKS, open_ones=()) -> list[Path]:
    """Write the notebooks and the manifest. Returns the paths.

    Raises FileExistsError, before anything is written, where one of the files is there already.
    """
    one_of(form, "format", FORMATS)
    out, files = Path(out), {}
    chapters = {each.task.chapter for each in sets} | {each.chapter for each in open_ones}
    for name in sorted(chapters):
        mine = [each for each in sets if each.task.chapter == name]
        more = [each for each in open_ones if each.chapter == name]
        made = notebook(tasks.read(name, folder), mine, form, more)
        nbformat.validate(made)
        files[out / f"{name}.ipynb"] = nbformat.writes(made) + "\n"
    files[out / MANIFEST] = json.dumps(manifest(sets, open_ones), indent=1) + "\n"
    for path in files:
        if path.exists() or path.is_symlink():
            raise FileExistsError(
                f"{path} is there already. Nothing was written; name another --out."
            )
    out.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return list(files)


def _points(text: str) -> tuple[str, float]:
    name, _, worth = text.partition("=")
    try:
        return name, number(float(worth), f"points of {name}", least=0)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected EXERCISE=POINTS such as 8.1=2, got {text!r}"
        ) from None


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.checks.assign", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--chapters", nargs="+", default=[], metavar="CHAPTER", help="such as 08 10"
    )
    parser.add_argument(
        "--exercises", nargs="+", default=[], metavar="NUMBER", help="such as 8.1 10.2"
    )
    parser.add_argument(
        "--experiments",
        nargs="+",
        default=[],
        metavar="NAME",
        help="open ones, such as units-in-use",
    )
    parser.add_argument(
        "--points", nargs="+", default=[], type=_points, metavar="NUMBER=POINTS", help="1 if unsaid"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--format", choices=FORMATS, default="plain")
    parser.add_argument(
        "--notebooks", type=Path, default=tasks.NOTEBOOKS, metavar="FOLDER", help="the chapters"
    )
    given = parser.parse_args(arguments)
    try:
        worth = dict(given.points)
        more = opened(given.experiments, worth, given.notebooks)
        worth = {name: p for name, p in worth.items() if name not in given.experiments}
        sets = []
        if given.chapters or given.exercises or worth or not more:
            sets = chosen(given.chapters, given.exercises, worth, given.notebooks)
        paths = write(sets, given.out, given.format, given.notebooks, more)
    except (LookupError, ValueError, OSError) as problem:
        say(problem, sys.stderr)
        return 1
    for path in paths:
        say(path)
    say(f"{counted(sets, more)}, {_worth(sum(each.points for each in [*sets, *more]))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
