"""Write the notebooks of an assignment: chosen exercises of chapters, with points.

    python -m genai_utils.checks.assign --chapters 08 10 --out homework
    python -m genai_utils.checks.assign --exercises 8.1 10.2 --points 8.1=2 10.2=1.5 --out homework
    python -m genai_utils.checks.assign --chapters 08 --format nbgrader --out source/homework

A notebook has the chapter's set-up cell, the imports, and for each exercise its text, its formulas,
the stub and the check. There are no solutions, no shown answers and no outputs. Beside the
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

from genai_utils.checks import exports, stubs, tasks
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
        return f"{self.points:g} point{'' if self.points == 1 else 's'}"


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


def notebook(chapter: tasks.Chapter, sets: list[Set], form: str = "plain"):
    """The notebook of an assignment on one chapter (nbformat)."""
    total = sum(each.points for each in sets)
    head = (
        f"# Assignment: {chapter.title}\n\n"
        f"{len(sets)} exercise{'s' if len(sets) > 1 else ''}, {total:g} points. Each is a function "
        "with its body left out. Replace the `...`, run the cell, then run the check below it. You "
        "may write helper functions in cells of their own. Keep the names of the functions."
    )
    if form == "plain":
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
    made = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            MARK: {"chapter": chapter.name},
        },
    )
    if form != "plain":
        made = {"nbgrader": exports.nbgrader, "otter": exports.otter}[form](made, sets)
    for place, cell in enumerate(made.cells):  # the same ids whenever it is made
        cell.id = f"cell-{place:03}"
    return made


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


def manifest(sets: list[Set]) -> dict:
    """What `grade` has to know of an assignment."""
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
    }


def write(sets: list[Set], out: Path, form: str = "plain", folder=tasks.NOTEBOOKS) -> list[Path]:
    """Write the notebooks and the manifest. Returns the paths.

    Raises FileExistsError, before anything is written, where one of the files is there already.
    """
    one_of(form, "format", FORMATS)
    out, files = Path(out), {}
    for name in dict.fromkeys(each.task.chapter for each in sets):
        mine = [each for each in sets if each.task.chapter == name]
        made = notebook(tasks.read(name, folder), mine, form)
        nbformat.validate(made)
        files[out / f"{name}.ipynb"] = nbformat.writes(made) + "\n"
    files[out / MANIFEST] = json.dumps(manifest(sets), indent=1) + "\n"
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
        "--points", nargs="+", default=[], type=_points, metavar="NUMBER=POINTS", help="1 if unsaid"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--format", choices=FORMATS, default="plain")
    parser.add_argument(
        "--notebooks", type=Path, default=tasks.NOTEBOOKS, metavar="FOLDER", help="the chapters"
    )
    given = parser.parse_args(arguments)
    try:
        sets = chosen(given.chapters, given.exercises, dict(given.points), given.notebooks)
        paths = write(sets, given.out, given.format, given.notebooks)
    except (LookupError, ValueError, OSError) as problem:
        say(problem, sys.stderr)
        return 1
    for path in paths:
        say(path)
    say(f"{len(sets)} exercises, {sum(each.points for each in sets):g} points.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
