"""Grade the submissions of a class: a table, a page for each student, a summary.

    python -m genai_utils.checks.grade submissions --assignment homework/assignment.json

The folder holds notebooks (ada.ipynb, or 08_transformer_ada.ipynb) or a folder for each student
with theirs. The chapter of a notebook is known by its call of start("08_transformer"), else by its
file name. Without --assignment, or an assignment.json in the folder, all exercises of the chapters
found count, one point each. Of two notebooks of one chapter the newer one counts.

Each submission runs in a fresh process and an empty folder, with limits; its functions are tried on
cases from seeds that are drawn for this run (`genai_utils.checks.graded`). What is run of a
notebook says `genai_utils.checks.handed_in`. A submission that fails is named with a sentence and
does not stop the others. Interrupted, the same command goes on where it stopped; a notebook that
has changed is graded again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from genai_utils.checks import assign, gradebook, handed_in, register, tasks
from genai_utils.checks.graded import BOUNDARY, Grader, Result, clean, draw_seeds
from genai_utils.checks.process import CannotStart, Limits
from genai_utils.inputs import number, whole
from genai_utils.printing import say

BROKEN, NOT_GRADED = "broken", "not graded"


@dataclass
class Submission:
    """A notebook that was handed in."""

    path: Path
    name: str  # its path within the folder
    student: str
    notebook: handed_in.Notebook | None = None
    problem: str = ""  # why it cannot be read
    chapter: str | None = None
    digest: str = ""


@dataclass
class Class:
    """What lies in a folder: for each student a submission for each chapter, and remarks."""

    submissions: list[Submission] = field(default_factory=list)
    students: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # student -> remarks

    def note(self, student: str, sentence: str) -> None:
        self.notes.setdefault(student, []).append(sentence)


def collect(folder: Path, chapters: list[str], roster=()) -> Class:
    """Read what was handed in. Nothing of it is run.

    chapters: those that are graded, none for all. roster: students who should be in the table.
    """
    if not Path(folder).is_dir():
        raise NotADirectoryError(f"There is no folder {folder}.")
    found, newest = Class(students={str(name): {} for name in roster}), {}
    known = chapters or tasks.chapters()
    paths = [p for p in sorted(Path(folder).rglob("*.ipynb")) if not _hidden(p, folder)]
    for path in paths:
        one = _submission(path, folder, known)
        found.students.setdefault(one.student, {})
        if one.chapter not in known:
            why = one.problem or "It is not known of which chapter it is."
            if one.chapter:
                why = f"It is of {one.chapter}, which is not graded."
            found.note(one.student, f"{one.name} was not graded. {why}")
            continue
        other = newest.get((one.student, one.chapter))
        if other is not None:
            later = max(one, other, key=lambda s: (s.path.stat().st_mtime, s.name))
            earlier = other if later is one else one
            found.note(one.student, f"{earlier.name} was not graded: {later.name} is newer.")
            one = later
        newest[one.student, one.chapter] = one
    for (student, chapter), one in newest.items():
        found.students[student][chapter] = one.name
        found.submissions.append(one)
    found.students = dict(sorted(found.students.items()))
    return found


def _hidden(path, folder) -> bool:
    """Checkpoints of Jupyter, remains of a Mac's zip, and what is no file."""
    parts = path.relative_to(folder).parts
    return any(p.startswith(".") or p == "__MACOSX" for p in parts) or not path.is_file()


def _submission(path, folder, known) -> Submission:
    inside = path.relative_to(folder)
    chapter = next((name for name in known if name in path.stem), None)
    above = inside.parts[0] if len(inside.parts) > 1 else None
    if above in known:  # a folder for each chapter
        chapter, above = above, None
    student = above or path.stem
    if above is None and chapter:
        student = re.sub(r"^[\W_]+|[\W_]+$", "", student.replace(chapter, "")) or student
    found = Submission(path, clean(inside.as_posix()), clean(student))
    try:
        found.notebook = handed_in.read(path)
        found.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        chapter = found.notebook.chapter or chapter
    except (handed_in.Unreadable, OSError) as problem:
        found.problem = str(problem)
        found.digest = f"{path.stat().st_size} {path.stat().st_mtime}"
    found.chapter = chapter or (known[0] if len(known) == 1 else None)
    return found


def settings_of(folder: Path, assignment: Path | None, limits: Limits, seeds=None) -> dict:
    """What the grades depend on: exercises with points, what is marked by hand, seeds, limits.

    Raises ValueError where the assignment cannot be read or names what is not in the book.
    """
    path = assignment or Path(folder) / assign.MANIFEST
    if assignment is not None or path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["format"], content["version"]) != (assign.FORMAT, assign.VERSION):
                raise ValueError
            exercises = [
                {
                    "chapter": str(e["chapter"]),
                    "number": str(e["number"]),
                    "function": str(e["function"]),
                    "points": number(e["points"], "points", least=0),
                }
                for e in content["exercises"]
            ]
            by_hand = [
                [str(e["experiment"]), number(e["points"], "points", least=0)]
                for e in content.get("by hand", ())
            ]
        except (ValueError, KeyError, TypeError) as problem:
            raise ValueError(f"{path} is no assignment that `assign` wrote.") from problem
        if not exercises:
            raise ValueError(f"{path} has no exercise to grade: what it sets is marked by hand.")
        for each in exercises:
            register.find(each["function"], each["chapter"])
    else:
        chapters = {s.chapter for s in collect(folder, []).submissions}
        exercises, by_hand = [e for name in sorted(chapters) for e in _all_of(name)], []
        if not exercises:
            raise ValueError(f"There is no notebook of a chapter in {folder}.")
    limits = {"seconds": limits.seconds, "memory": limits.memory, "file": limits.file}
    settings = {"exercises": exercises, "limits": limits, "seeds": seeds and list(seeds)}
    return settings | ({"by hand": by_hand} if by_hand else {})


def _all_of(chapter: str) -> list[dict]:
    """Every exercise of a chapter, for one point each."""
    sets = [assign.Set(task) for task in tasks.read(chapter).tasks]
    return assign.manifest(sets)["exercises"]


def grade(folder, out, settings: dict, roster=(), tell=say) -> list[dict]:
    """Grade all that is in a folder, write everything to `out`, and return the table's rows.

    settings: of `settings_of`. Raises gradebook.OtherGrading or CannotStart. KeyboardInterrupt goes
    through; what was found by then is written.
    """
    book = gradebook.Gradebook(out, settings)
    settings["seeds"] = settings["seeds"] or list(draw_seeds())
    chapters = list(dict.fromkeys(e["chapter"] for e in settings["exercises"]))
    handed = collect(folder, chapters, roster)
    book.save()
    grader = Grader(settings["seeds"], Limits(**settings["limits"]))
    tell(f"Seeds: {' '.join(map(str, settings['seeds']))}. {BOUNDARY}")
    left = [s for s in handed.submissions if not book.known(s.name, s.digest)]
    try:
        for place, one in enumerate(left, start=1):
            names = [e["function"] for e in settings["exercises"] if e["chapter"] == one.chapter]
            exercises = [register.find(name, one.chapter) for name in names]
            faulty = False
            if one.notebook is None:
                results = [Result(name, BROKEN, one.problem) for name in names]
            else:
                results, faulty = _graded(grader, one, exercises)
            book.add(
                one.name, "" if faulty else one.digest, student=one.student, chapter=one.chapter,
                results={r.name: {k: v for k, v in vars(r).items() if k != "name"}
                         for r in results},
            )  # fmt: skip
            book.held(grader.held)
            states = Counter(r.state for r in results)
            said = ", ".join(f"{count} {state}" for state, count in states.items())
            tell(f"{place} of {len(left)}  {one.name}: {said}")
    finally:
        rows = book.publish(handed.students, handed.notes)
    return rows


def _graded(grader, one, exercises) -> tuple[list[Result], bool]:
    """The results of a submission, and whether the book is at fault: then it is tried again."""
    try:
        return grader.grade(one.notebook, exercises), False
    except CannotStart:
        raise
    except Exception as problem:
        why = f"This is a fault of the book, not of the submission: {problem!r}."
        return [Result(e.name, NOT_GRADED, why) for e in exercises], True


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.checks.grade", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="the submissions")
    parser.add_argument("--assignment", type=Path, metavar="FILE", help="assignment.json of assign")
    parser.add_argument("--students", type=Path, metavar="FILE", help="a name on each line")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: FOLDER-grades")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default: drawn anew")
    parser.add_argument("--seconds", type=float, help="for one exercise; default: its own limit")
    parser.add_argument(
        "--memory", type=int, default=Limits.memory, help="MB; %(default)s if unsaid"
    )
    given = parser.parse_args(arguments)
    folder = given.folder
    out = given.out or folder.resolve().with_name(f"{folder.resolve().name}-grades")
    try:
        seconds = given.seconds and number(given.seconds, "--seconds", above=0)
        limits = Limits(seconds, whole(given.memory, "--memory", 100))
        seeds = given.seeds and [whole(s, "--seeds", 0, 2**31 - 1) for s in given.seeds]
        roster = (
            given.students.read_text(encoding="utf-8-sig").split("\n") if given.students else []
        )
        roster = [name.strip() for name in roster if name.strip()]
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError("--out lies within the submissions; name a folder beside them.")
        settings = settings_of(folder, given.assignment, limits, seeds)
        rows = grade(folder, out, settings, roster)
    except KeyboardInterrupt:
        say(f"Interrupted. What was graded is in {out}; the same command goes on.", sys.stderr)
        return 130
    except (LookupError, ValueError, OSError, CannotStart) as problem:
        say(problem, sys.stderr)
        return 1
    people = len({row["student"] for row in rows})
    say(f"{people} students: {out / gradebook.TABLE} and {out / gradebook.SUMMARY}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
