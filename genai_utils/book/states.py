"""What a chapter does with a lecture item or a slide erratum, read from its notebook.

    shown(book, chapter)["A93"]     index of the cell that shows the item; None: only prose names it
    proved(book, chapter)["N20"]    index of the cell that proves it; None: prose tells it
    state(book, item)               "planned", "told", "shown", "conditions" or "fails"

An item is shown where a section's prose names it and a code cell of that section follows, or goes
before where none follows. Cells that only set, check or answer an exercise, and cells that only
show source, compute nothing of an item. Whether the claim then holds is a verdict: it stands in
`book/lectures.json` beside the item, with the section and what was found there.
"""

import ast
import re

from genai_utils.book import chapters
from genai_utils.checks.stubs import stubs_in

STATES = {
    "planned": "planned",
    "told": "told in prose",
    "shown": "shown",
    "conditions": "shown, holds with conditions",
    "fails": "does not hold as the slide says",
}
VERDICTS = ("conditions", "fails")
_HEADING = re.compile(r"(#+)\s+(.+)")
_CLAIMS = "**Lecture items:**"
_SILENT = ("check", "hint", "solution", "show_source", "progress", "start")


def state(book, item):
    """The state of an item of `book.items`, a key of STATES."""
    chapter = book.chapters.get(item["notebook"])
    if chapter is None or item["id"] not in chapter.claims:
        return "planned"
    if shown(book, chapter).get(item["id"]) is None:
        return "told"
    return item.get("verdict", {}).get("state", "shown")


def shown(book, chapter):
    """For each item that the prose names, the cell that shows it, or None.

    Of several sections the one of the verdict counts. Otherwise it is the first; but the chapter's
    opening section asks the question, and where a later one names the item, that one shows it.
    """
    sections = _sections(chapter)
    found = {}
    for number, (title, blocks) in enumerate(sections):
        for place, (kind, content) in enumerate(blocks):
            if kind == "cell" or content.startswith(_CLAIMS):
                continue
            cell = _first_cell(blocks[place + 1 :])
            cell = _first_cell(blocks[:place][::-1]) if cell is None else cell
            for id in chapters.ITEM.findall(content):
                wanted = book.items.get(id, {}).get("verdict", {}).get("section")
                rank = (
                    cell is None,
                    wanted is not None and not title.startswith(f"{wanted} "),
                    title.partition(" ")[0].endswith(".1"),
                    number,
                )
                found.setdefault(id, []).append((rank, cell))
    return {id: min(places, key=lambda place: place[0])[1] for id, places in found.items()}


def proved(book, chapter):
    """For each erratum that the chapter boxes, the cell that proves it; None: prose tells it.

    An erratum of which nothing can be computed is marked in the list: `"told": true`.
    """
    result = {}
    for _, blocks in _sections(chapter):
        for place, (kind, content) in enumerate(blocks):
            found = re.match(r"\*\*Erratum ([NY]\d\d)\.\*\*", content) if kind == "text" else None
            if found:
                told = book.errata.get(found[1], {}).get("told", False)
                result[found[1]] = None if told else _first_cell(blocks[place + 1 :])
    return result


def _sections(chapter):
    """[title, blocks] per heading; a block is ("text", paragraph) or ("cell", its index)."""
    sections = [["", []]]
    for index, cell in enumerate(chapter.notebook.cells):
        if cell.cell_type == "code":
            if computes(cell.source):
                sections[-1][1].append(("cell", index))
            continue
        for text in re.split(r"\n\s*\n", cell.source):
            text = re.sub(r"^> ?", "", text.strip(), flags=re.MULTILINE)
            if found := _HEADING.match(text):
                # What stands under "### …" belongs to the "## 2.4 …" above it, too: its title.
                numbered = re.match(r"\d+\.\d+ ", found[2])
                title = found[2] if numbered or len(found[1]) < 3 else sections[-1][0]
                sections.append([title, []])
            sections[-1][1].append(("text", text))
    return sections


def _first_cell(blocks):
    """The index of the first cell; None where there is none."""
    return next((content for kind, content in blocks if kind == "cell"), None)


def computes(code):
    """Whether a cell does more than set or check an exercise, show source or import."""
    try:
        body = ast.parse(code).body
    except SyntaxError:  # %magics: the set-up
        return False
    empty = {stub.name for stub in stubs_in(code)}
    return any(not _silent(statement, empty) for statement in body)


def _silent(statement, empty):
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if isinstance(statement, ast.FunctionDef) and statement.name in empty:
        return True
    call = getattr(statement, "value", None)
    return isinstance(call, ast.Call) and ast.unparse(call.func) in _SILENT
