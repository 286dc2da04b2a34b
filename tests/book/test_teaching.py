"""The minutes of a chapter, and the page for lecturers."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes

from genai_utils.book import teaching
from genai_utils.book.chapters import Book
from genai_utils.book.directives import DIRECTIVES
from tests.book.test_pages import notebook, project

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
PAGE = (ROOT / "book" / "teach.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^(\d\d_\w+): ", PAGE, re.MULTILINE)


def test_words_are_counted_without_formulas_and_code():
    prose = [
        "word " * 390 + f"${'a ' * 200}$ `{'b ' * 200}` $${'c ' * 200}\n$$ [two words](http://x)",
        "—",
    ]
    chapter = SimpleNamespace(prose=[*prose, "eight more words stand in this second cell"])
    assert teaching.reading_minutes(chapter) == 2


def test_exercises_count_by_their_level():
    prose = [
        "> **Exercise 2.1** (easy, 10 minutes). A.",
        "> **Exercise 2.2** (hard). B.\n\nText (medium).",
        "> **Exercise 2.3** (find the fault, medium, 20 minutes). C.",
    ]
    chapter = SimpleNamespace(prose=prose)
    assert teaching.levels(chapter) == ["easy", "hard", "medium"]
    assert teaching.exercise_minutes(chapter) == 60


@pytest.mark.parametrize("name", BOOK.chapters)
def test_every_written_chapter_is_on_the_page_in_a_week_and_has_known_levels(name):
    chapter = BOOK.chapters[name]
    assert len(teaching.levels(chapter)) == len(chapter.exercises) >= 3
    assert teaching.exercise_minutes(chapter) > 0 and 5 < teaching.reading_minutes(chapter) < 60
    assert LISTED.count(name) == 1
    weeks = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(weeks) == 14
    assert sum(f"notebooks/{name}.ipynb" in week for week in weeks) == 1


def test_what_is_not_written_is_called_planned():
    plan = {c["name"]: c["title"] for c in BOOK.plan}
    assert set(LISTED) <= set(plan) and sorted(LISTED) == LISTED
    for name in set(plan) - set(BOOK.chapters):
        assert f"{name}.ipynb" not in PAGE
        for line in PAGE.splitlines():
            if f"{int(name[:2])} {plan[name]}" in line:
                assert "*planned*" in line, line
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    all_thirty = "All thirty chapters are written" in readme and "The thirty chapters" in PAGE
    assert all_thirty == (set(plan) == set(BOOK.chapters)) and len(plan) == 30


def test_the_commands_of_the_page_are_understood(tmp_path, capsys):
    from genai_utils.checks import assign

    commands = re.findall(r"python -m genai_utils\.checks\.assign (.+)", PAGE)
    assert len(commands) == 4
    for number, command in enumerate(commands):
        words = command.split()
        words[words.index("--out") + 1] = str(tmp_path / str(number))
        assert assign.main(words) == 0
    capsys.readouterr()


def test_the_table_is_made(tmp_path, monkeypatch):
    """Without Sphinx: a second application in one process warns about what the first one did."""
    root, told = project(tmp_path), []
    text = "# 2  PCA\n\n" + "word " * 600 + "\n\n> **Exercise 2.1** (medium). Write."
    (root / "notebooks/02_pca.ipynb").write_text(notebook(text))
    directive = teaching.TeachingMinutes.__new__(teaching.TeachingMinutes)
    directive.book, directive.lineno = Book(root), 1
    directive.content = ["02_pca: eigenvectors", "03_nmf: x", "99_no: y"]
    monkeypatch.setattr(teaching.log, "warning", lambda *parts, **place: told.append(parts))
    (table,) = directive.build(SimpleNamespace(docname="index"))
    rows = [
        [cell.astext() for cell in row.findall(nodes.entry)] for row in table.findall(nodes.row)
    ]
    assert rows[1:] == [
        ["2 PCA", "eigenvectors", "3 min", "20 min for 1", "23 min"],
        ["3 NMF", "x", "planned", "", ""],
    ]
    links = [each["refuri"] for each in table.findall(nodes.reference)]
    assert links == ["../notebooks/02_pca.html"]
    assert told == [("teaching-minutes: expected `NN_name: what it needs`, got %r", "99_no: y")]


def test_the_directive_is_known_to_the_book():
    assert DIRECTIVES["teaching-minutes"] is teaching.TeachingMinutes
