"""The table that `progress()` shows, and the report that it writes to hand in."""

from __future__ import annotations

import datetime
from html import escape
from pathlib import Path

from genai_utils.checks.experiments import prose
from genai_utils.checks.records import write
from genai_utils.display.figures import table_bundle
from genai_utils.printing import plain

MARK = "genai-from-scratch report"  # a file that bears it may be written over, no other
COLUMNS = (
    "number", "exercise", "chapter", "state", "tries", "hints", "solution seen", "solved on",
)  # fmt: skip
STYLE = (
    ":root{color-scheme:light dark}body{font-family:sans-serif;margin:2em}"
    "td,th{padding:.2em .8em}pre{overflow-x:auto;padding:.6em;border:1px solid #8888}"
    ".said{white-space:pre-line}"
)


def rows(exercises, kept: dict) -> list[dict]:
    """One row per exercise, solved or not. Once solved it stays solved, and is worth one point."""
    found = []
    for exercise in exercises:
        record = kept.get(exercise.topic, {}).get(exercise.name, {})
        state = "correct" if record.get("solved") else record.get("state") or "to do"
        found.append(
            {
                "number": exercise.number,
                "exercise": exercise.name,
                "chapter": exercise.chapter,
                "state": state,
                "points": int(state == "correct"),
                "tries": record.get("tries", 0),
                "hints": record.get("hints", 0),
                "solution seen": "yes" if record.get("solution") else "no",
                "solved on": record.get("solved", "")[:10],
                "code": record.get("code", ""),
            }
        )
    return found


def summary(table: list[dict]) -> str:
    """'2 of 4 exercises solved.'"""
    solved = sum(row["state"] == "correct" for row in table)
    return f"{solved} of {len(table)} exercises solved."


def foretold(predictions: list[dict]) -> str:
    """'3 predictions made; of 2 revealed 1 came true.'; nothing where none was made."""
    made = [p for p in predictions if p["said"]]
    shown = [p for p in made if p["shown"]]
    if not made:
        return ""
    number = "1 prediction" if len(made) == 1 else f"{len(made)} predictions"
    if not shown:
        return f"{number} made, none revealed yet."
    return f"{number} made; of {len(shown)} revealed {sum(p['right'] for p in shown)} came true."


def experiments(asked, kept: dict) -> list[dict]:
    """One row per open experiment that was handed in; asked: pairs (topic, experiment)."""
    found = []
    for topic, experiment in asked:
        record = kept.get(topic, {}).get(experiment.name, {})
        if record.get("said"):
            found.append(
                {
                    "experiment": experiment.name,
                    "topic": topic,
                    "question": experiment.question,
                    "kind": record["kind"],
                    "handed in": record["said"],
                    "unit": experiment.unit,
                    "note": record["note"],
                    "on": record["last"][:10],
                    "earlier answers": len(record["earlier"]),
                }
            )
    return found


def handed_in(found: list[dict], asked: int) -> str:
    """'1 of 3 open experiments handed in.'; nothing where none was."""
    return f"{len(found)} of {asked} open experiments handed in." if found else ""


def _cells(row: dict) -> list[str]:
    symbols = {"to do": "○", "correct": "✓", "not yet": "✗", "error": "!"}
    state = f"{symbols.get(row['state'], '')} {row['state']}"
    return [state if c == "state" else str(row[c]) for c in COLUMNS]


def as_text(table: list[dict]) -> str:
    """The table in signs that standard output can hold."""
    # Plain signs may be longer, so they are put in before the columns are set.
    lines = [list(COLUMNS), *([plain(cell) for cell in _cells(row)] for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    padded = ["  ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)).rstrip() for x in lines]
    return "\n".join([*padded, summary(table)])


def as_html(table: list[dict]) -> str:
    if not table:
        return f"<p>{summary(table)}</p>"
    cells = [dict(zip(COLUMNS, _cells(row), strict=True)) for row in table]
    return table_bundle(cells, caption=summary(table)).html


def by_chapter(table: list[dict]) -> dict[str, list[dict]]:
    """The rows of each chapter, in order."""
    return {
        chapter: [row for row in table if row["chapter"] == chapter]
        for chapter in dict.fromkeys(row["chapter"] for row in table)
    }


def _answer(row: dict) -> str:
    """An open experiment in the page."""
    if row["kind"] == "figure":
        alt = escape(row["note"] or f"The figure handed in for {row['experiment']}.")
        said = f'<img src="{escape(row["handed in"])}" alt="{alt}" style="max-width:100%">'
    else:
        said = f"<p class=said><b>{escape(row['handed in'])} {escape(row['unit'])}</b></p>"
    note = f"<p class=said>{escape(row['note'])}</p>" if row["note"] else ""
    again = f", after {row['earlier answers']} other" if row["earlier answers"] else ""
    return (
        f"<h3>{escape(row['experiment'])}</h3><p>{prose(row['question'])}</p>{said}{note}"
        f"<p>Handed in on {escape(row['on'])}{again}.</p>"
    )


def as_page(table: list[dict], name: str, now: str, answers: list[dict] = ()) -> str:
    """The report as a page: a section for each chapter, and below it the code that was checked."""
    sections = []
    for chapter, mine in by_chapter(table).items():
        code = [
            f"<details><summary>{escape(row['number'])} {escape(row['exercise'])}: "
            f"{row['state']}</summary><pre>{escape(row['code'])}</pre></details>"
            for row in mine
            if row["code"]
        ]
        sections.append(f"<h2>{escape(chapter)}</h2>\n{as_html(mine)}\n{''.join(code)}")
    if answers:
        sections.append("<h2>Open experiments</h2>\n" + "\n".join(map(_answer, answers)))
    who = f"<p>Name: {escape(name)}</p>\n" if name else ""
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{MARK}</title>\n'
        f"<style>{STYLE}</style>\n<h1>Exercises</h1>\n{who}<p>Written {now}. {summary(table)}</p>\n"
        + "\n".join(sections)
        + "</html>\n"
    )


def export(path, table: list[dict], name: str = "", answers: list[dict] = ()) -> str:
    """Write the report as .json or .html, and return the sentence that says how it went."""
    if not isinstance(name, str):
        return f"name expects a text such as 'Ada Lovelace'; got {type(name).__name__}."
    try:
        path = Path(path).expanduser()
    except TypeError:
        return f"export expects a file name such as 'progress.html'; got {type(path).__name__}."
    except RuntimeError as problem:  # a ~ where there is no home folder
        return f"The report could not be written ({problem})."
    if path.suffix not in (".json", ".html"):
        return f"The report can be a .json or a .html file; {path.name} is neither."
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    if path.suffix == ".json":
        content = {"format": MARK, "written": now, "name": name, "summary": summary(table)}
        content["exercises"], content["experiments"] = table, list(answers)
    else:
        content = as_page(table, name, now, answers)
    try:
        if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
            return f"{path} is there already and is no report of this book. Nothing was written."
        write(path, content)
    except (OSError, ValueError) as problem:  # ValueError: a name that no file can have
        return f"The report could not be written ({problem})."
    return f"The report is in {path}."
