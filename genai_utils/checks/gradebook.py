"""What a class gets: the state of a grading, the table, a page for each student and a summary."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
from pathlib import Path

from genai_utils.checks.graded import BOUNDARY, clean
from genai_utils.checks.records import write

FORMAT, VERSION = "genai-from-scratch grading", 1
STATE, TABLE, SUMMARY, PAGES = "grading.json", "grades.csv", "summary.html", "students"
COLUMNS = ("student", "exercise", "function", "state", "points", "possible", "sentence", "seconds")
LIMITS = {
    "memory": "Memory is not limited on this platform.",
    "processor": "Processor time is limited by the clock only.",
    "file": "The size of files is not limited on this platform.",
}
STYLE = """<style>:root{color-scheme:light dark}
body{font-family:sans-serif;margin:2em;max-width:75em}
td,th{padding:.2em .8em;text-align:left;vertical-align:top}td.n{text-align:right}
pre{overflow-x:auto;padding:.5em;border-left:.2em solid #8888}</style>"""


class OtherGrading(ValueError):
    """The folder holds something else; the message says what."""


class Gradebook:
    """The folder of a grading. What is in it stays, so that a grading can be taken up again.

    settings: what the grades depend on beside the submissions; a folder with others is refused.
    """

    def __init__(self, folder: Path, settings: dict):
        self.folder, self.settings = Path(folder), settings
        self.state = {"format": FORMAT, "version": VERSION, "settings": settings, "done": {}}
        self.state["held"] = None  # the limits that hold on this machine
        path = self.folder / STATE
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise OtherGrading(
                    f"{folder} is not empty and holds no grading. Name another --out."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if (found["format"], found["version"]) != (FORMAT, VERSION):
                raise ValueError
            theirs, done, held = found["settings"], dict(found["done"]), found["held"]
        except (ValueError, KeyError, TypeError) as problem:
            raise OtherGrading(f"{path} cannot be read as a grading.") from problem
        for name, value in settings.items():
            if name != "seeds" and theirs.get(name) != value:
                raise OtherGrading(
                    f"{folder} holds a grading with other {name}; name another --out."
                )
        if settings["seeds"] not in (None, theirs["seeds"]):
            raise OtherGrading(f"{folder} holds a grading with other seeds; name another --out.")
        self.settings["seeds"] = theirs["seeds"]
        self.state |= {"done": done, "held": held}

    def known(self, path: str, digest: str) -> bool:
        """Has this very file been graded?"""
        return self.state["done"].get(path, {}).get("sha256") == digest

    def add(self, path: str, digest: str, **found) -> None:
        """Keep what was found for a submission, at once."""
        self.state["done"][path] = {"sha256": digest, **found}
        self.save()

    def held(self, limits: list[str] | None) -> None:
        """Keep which limits hold, once a process has told it."""
        self.state["held"] = limits or self.state["held"]

    def save(self) -> None:
        write(self.folder / STATE, self.state)

    def rows(self, students: dict, notes: dict) -> list[dict]:
        """The rows of the table: each student's exercises, handed in or not.

        students: name -> {chapter: path of the submission}. notes: name -> remarks.
        """
        done, found = self.state["done"], []
        for student, handed_in in students.items():
            for task in self.settings["exercises"]:
                path = handed_in.get(task["chapter"])
                result = done.get(path, {}).get("results", {}).get(task["function"], {})
                state = result.get("state", "missing" if path is None else "not graded")
                sentence = result.get("sentence", "")
                if path is None:
                    sentence = f"No notebook of {task['chapter']} was handed in."
                    sentence = " ".join([sentence, *notes.get(student, [])])
                found.append(
                    {
                        "student": student,
                        "exercise": task["number"],
                        "function": task["function"],
                        "state": state,
                        "points": task["points"] if state == "correct" else 0.0,
                        "possible": task["points"],
                        "sentence": " ".join(sentence.split()),
                        "seconds": round(result.get("seconds", 0.0), 2),
                        "details": result.get("details", []),
                        "code": result.get("code", ""),
                        "path": path or "",
                    }
                )
        return found

    def publish(self, students: dict, notes: dict) -> list[dict]:
        """Write the table, the summary and the pages. Returns the rows."""
        self.save()
        rows = self.rows(students, notes)
        out = io.StringIO()
        table = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows({k: unformulated(v) for k, v in row.items()} for row in rows)
        write(self.folder / TABLE, out.getvalue())
        pages = self.folder / PAGES
        pages.mkdir(exist_ok=True)
        for student in students:
            mine = [row for row in rows if row["student"] == student]
            write(pages / page_name(student), _page(student, mine, self.about()))
        write(self.folder / SUMMARY, _summary(students, rows, notes, self.about()))
        return rows

    def about(self) -> list[str]:
        """How it was graded, in sentences."""
        seeds = " ".join(map(str, self.settings["seeds"]))
        said = [f"Seeds: {seeds}. The same cases again: --seeds {seeds}", BOUNDARY]
        if by_hand := self.settings.get("by hand"):
            listed = ", ".join(f"{name} ({points:g})" for name, points in by_hand)
            said.insert(0, f"Marked by hand, with the points in brackets, not counted: {listed}.")
        held = self.state["held"]
        if held is not None:
            said += [why for name, why in LIMITS.items() if name not in held]
        return said


def unformulated(value):
    """A cell that no spreadsheet takes for a formula."""
    risky = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if risky else value


def page_name(student: str) -> str:
    """A file name for a student's page. Two students never share one."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", student)[:60].strip("-")
    digest = hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()[:6]
    return f"{plain or 'student'}-{digest}.html"


def _total(rows) -> str:
    return f"{sum(r['points'] for r in rows):g} of {sum(r['possible'] for r in rows):g}"


def _document(title, body) -> str:
    title = html.escape(title)
    head = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
    return clean(f"{head}\n{STYLE}\n<h1>{title}</h1>\n{body}\n</html>\n")


def _listed(sentences) -> str:
    return "".join(f"<p>{html.escape(each)}</p>\n" for each in sentences)


def _table(head, rows) -> str:
    """rows: of HTML, ready."""
    top = "".join(f"<th>{html.escape(each)}</th>" for each in head)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table>\n<tr>{top}</tr>\n{body}\n</table>\n"


def _cell(value, number=False) -> str:
    return f"<td{' class=n' if number else ''}>{html.escape(str(value))}</td>"


def _page(student, rows, about) -> str:
    lines = [
        [_cell(r["exercise"]), _cell(r["function"]), _cell(r["state"]),
         _cell(f"{r['points']:g} of {r['possible']:g}", True), _cell(r["sentence"])]
        for r in rows
    ]  # fmt: skip
    body = f"<p>{_total(rows)} points.</p>\n"
    body += _table(["exercise", "function", "state", "points", "what was found"], lines)
    for row in rows:
        if not row["code"] and not row["details"]:
            continue
        body += f"<h2>{html.escape(row['exercise'])} {html.escape(row['function'])}</h2>\n"
        body += _listed([f"{row['state']}. {row['sentence']}"])
        shown = [*row["details"], ["what was run", row["code"]]]
        for label, text in shown:
            body += f"<p>{html.escape(label)}</p><pre>{html.escape(text)}</pre>\n"
    return _document(student, body + _listed(about))


def _summary(students, rows, notes, about) -> str:
    numbers = list(dict.fromkeys((r["exercise"], r["function"]) for r in rows))
    lines = []
    for student in students:
        mine = {(r["exercise"], r["function"]): r for r in rows if r["student"] == student}
        link = f'<td><a href="{PAGES}/{page_name(student)}">{html.escape(student)}</a></td>'
        lines.append([link, _cell(_total(mine.values()), True)])
        lines[-1] += [_cell(mine[each]["state"]) for each in numbers]
    solved = [sum(r["state"] == "correct" for r in rows if r["exercise"] == n) for n, _ in numbers]
    last = [_cell("correct"), _cell("")] + [_cell(n, True) for n in solved]
    head = ["student", "points", *(f"{number} {name}" for number, name in numbers)]
    body = f"<p>{len(students)} students.</p>\n" + _table(head, [*lines, last])
    return _document("Grades", body + _listed(sum(notes.values(), [])) + _listed(about))
