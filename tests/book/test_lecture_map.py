"""What the lecture map and the errata page say: states read from cells, verdicts, formulas."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from docutils import nodes

from genai_utils.book import states
from genai_utils.book.chapters import ITEM, Book, Chapter
from genai_utils.book.directives import worded
from tests.book.test_pages import CARD, PLAN, build, notebook, project

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
VERDICTS = {id: item for id, item in BOOK.items.items() if "verdict" in item}
STUB = 'def f(x):\n    """Text."""\n    ...'


def chapter(*cells):
    """A chapter of texts and, marked by a first ">>> ", cells of code."""
    made = nbformat.v4.new_notebook()
    for text in cells:
        code = text.startswith(">>> ")
        new = nbformat.v4.new_code_cell if code else nbformat.v4.new_markdown_cell
        made.cells.append(new(text.removeprefix(">>> ")))
    result = Chapter(Path("02_pca.ipynb"))
    result.notebook = made
    return result


class Small:
    items, errata = {}, {}


def shown(*cells, verdicts=()):
    book = Small()
    book.items = {id: {"verdict": {"section": section}} for id, section in verdicts}
    return states.shown(book, chapter(*cells))


# ---- what a notebook shows -----------------------------------------------------------------------


def test_an_item_is_shown_by_the_cell_that_follows_its_name():
    cells = ("**Lecture items:** A1, A2", "## 2.2 T\n\nIt is so (A1).", ">>> 1 + 1", ">>> 2")
    assert shown(*cells) == {"A1": 2}


@pytest.mark.parametrize(
    "silent",
    [STUB, "check(f)\n# hint('f')", "show_source(pca.f)", "import math", "progress()", "%pip x"],
)
def test_a_cell_that_computes_nothing_shows_nothing(silent):
    assert shown("## 2.2 T\n\n(A1).", f">>> {silent}") == {"A1": None}
    assert shown("## 2.2 T\n\n(A1).", f">>> {silent}", ">>> y = f(2)") == {"A1": 2}


def test_a_cell_before_counts_where_none_follows_and_none_of_another_section():
    assert shown("## 2.2 T", ">>> 1", ">>> 2", "We see (A1).", "## 2.3 U", ">>> 3") == {"A1": 2}
    assert shown("## 2.2 T", ">>> 1", "## 2.3 U\n\n(A1)", "## 2.4 V", ">>> 3") == {"A1": None}


def test_the_opening_section_asks_and_a_later_one_shows():
    cells = ("## 2.1 Q\n\n(A1) (A2)", ">>> 1", "## 2.2 T\n\n(A1)", ">>> 2")
    assert shown(*cells) == {"A1": 3, "A2": 1}


def test_a_verdict_names_its_section():
    cells = ("## 2.2 T\n\n(A1)", ">>> 1", "## 2.3 U", "### More\n\n(A1)", ">>> 2")
    assert shown(*cells) == {"A1": 1}
    assert shown(*cells, verdicts=[("A1", "2.3")]) == {"A1": 4}


def test_an_erratum_is_proved_by_a_cell_of_its_section():
    book = Small()
    cells = ("## 2.2 T", ">>> 1", "> **Erratum N01.** So.", ">>> check(f)", ">>> 2",
             "## 2.3 U\n\n> **Erratum N02.** So.\n\nOn.", "## 2.4 V", ">>> 3")  # fmt: skip
    assert states.proved(book, chapter(*cells)) == {"N01": 4, "N02": None}
    book.errata = {"N01": {"told": True}}
    assert states.proved(book, chapter(*cells)) == {"N01": None, "N02": None}


def test_all_that_the_chapters_claim_is_shown_by_a_cell():
    for name, written in BOOK.chapters.items():
        found = states.shown(BOOK, written)
        assert [id for id in written.claims if found.get(id) is None] == [], name


def test_all_errata_but_those_marked_are_proved_by_a_cell():
    told = {id for id, erratum in BOOK.errata.items() if erratum.get("told")}
    found = {}
    for written in BOOK.chapters.values():
        for id, cell in states.proved(BOOK, written).items():
            found[id] = found.get(id) is not None or cell is not None
    assert {id for id, proved in found.items() if not proved} == told


# ---- verdicts ------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")


def stored(written):
    """All that a notebook says: its prose and the text of its outputs. 1{,}068 reads 1,068."""
    parts = list(written.prose)
    for cell in written.code_cells:
        for output in cell.outputs:
            parts += [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
    return "\n".join(parts).replace("{,}", ",")


def lost_numbers(text, found):
    """The numbers of a verdict that stand nowhere in a text."""
    told = set(_NUMBER.findall(text))
    return [n for n in _NUMBER.findall(found) if n not in told]


@pytest.mark.parametrize("id", VERDICTS)
def test_a_verdict_stands_in_its_chapter(id):
    item = VERDICTS[id]
    verdict, written = item["verdict"], BOOK.chapters[item["notebook"]]
    assert set(verdict) == {"state", "section", "found"} and verdict["state"] in states.VERDICTS
    assert lost_numbers(stored(written), verdict["found"]) == []
    section = [
        text
        for title, blocks in states._sections(written)
        if title.startswith(f"{verdict['section']} ")
        for kind, text in blocks
        if kind == "text"
    ]
    assert any(id in ITEM.findall(text) for text in section), f"{id} is not named there"
    assert verdict["found"].endswith(".")


def test_a_number_that_is_nowhere_is_seen():
    text = "We got 1,068 of 1.5 and 10."
    assert lost_numbers(text, "It is 1,068, and 1.5.") == []
    assert lost_numbers(text, "It is 1,06, 68 and 1.") == ["1,06", "68", "1"]


def test_no_verdict_is_given_to_what_is_only_planned():
    assert all(item["notebook"] in BOOK.chapters for item in VERDICTS.values())
    # What the chapters refute or bound is not to look confirmed.
    for id in ("A12", "A19", "A21", "A35", "A71", "A75", "A76", "A79", "A91", "B19", "B32", "B60"):
        assert states.state(BOOK, BOOK.items[id]) in states.VERDICTS


# ---- formulas ------------------------------------------------------------------------------------

TEX = [
    (entry["id"], field, entry)
    for entry in (*BOOK.items.values(), *BOOK.errata.values())
    for field in ("item", "says", "right")
    if f"{field}_tex" in entry
]


@pytest.mark.parametrize(("id", "field", "entry"), TEX)
def test_a_set_text_says_what_the_plain_one_says(id, field, entry):
    """Outside of its formulas it has the same words in the same order."""
    text = entry[f"{field}_tex"]
    assert "$" in text and text.count("$") % 2 == 0
    plain = entry[field]
    for part in re.split(r"\$[^$]+\$", text):
        for word in re.findall(r"[A-Za-z]{4,}", part):
            assert word in plain, word
            plain = plain[plain.index(word) + len(word) :]


def test_formulas_are_set_and_texts_without_are_as_they_were():
    parts = worded({"says": "x_t is", "says_tex": "$x_t$ is $y$"}, "says")
    assert [type(p) for p in parts] == [nodes.math, nodes.Text, nodes.math]
    assert [p.astext() for p in worded({"says": "x_t is"}, "says")] == ["x", "t", " is"]


# ---- the pages -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("map"))
    plan = json.loads(json.dumps(PLAN))
    plan["items"][0]["verdict"] = {"state": "fails", "section": "2.2", "found": "Only 9 % of it."}
    plan["items"][1] |= {"item_tex": "the $x_t$"}
    plan["items"].append(plan["items"][1] | {"id": "A12", "errata": ["N02"]})
    plan["errata"].append(plan["errata"][0] | {"id": "N02", "class": "X"})
    plan["classes"]["X"] = "lost"
    plan["errata"][1]["told"] = True
    (root / "book/lectures.json").write_text(json.dumps(plan))
    text = notebook(
        "# 2  PCA\n\n**Lecture items:** A9, A10, A12",
        "## 2.2 The spectrum\n\n### Details\n\nIt falls (A9, A10).\n\n> **Erratum Y05.** It says.",
        card=CARD,
    )
    (root / "notebooks/02_pca.ipynb").write_text(text)
    index = "# Index\n\n```{toctree}\nbook/lecture_map\nbook/errata\nnotebooks/02_pca\n```\n"
    folder, warnings = build(root, f"{index}\n```{{lecture-map}} summary\n```\n")
    assert warnings == ""
    return {path.stem: path.read_text() for path in folder.rglob("*.html")}


def row(page, id):
    return re.search(rf'<tr[^>]* id="item-{id}">(.*?)</tr>', page, re.DOTALL)[1]


def test_a_row_says_the_state_what_was_found_and_where(pages):
    found = row(pages["lecture_map"], "a9")
    assert '<span class="state fails">does not hold as the slide says</span>' in found
    assert "<strong>Found: </strong>Only 9 % of it." in found
    assert 'href="../notebooks/02_pca.html#details">2.2 Details</a>' in found
    assert 'href="../notebooks/02_pca.html#shows-a9">its cell</a>' in found
    assert re.search(r'<div class="cell[^>]* id="shows-a9"', pages["02_pca"])
    assert 'id="shows-a10"' in pages["02_pca"]
    assert ">shown</span>" in row(pages["lecture_map"], "a10")
    assert r"the <span class=\"math" in row(pages["lecture_map"], "a10").replace('"', r"\"")
    assert ">planned</span>" in row(pages["lecture_map"], "a11")
    assert ">told in prose</span>" in row(pages["lecture_map"], "a12")


def test_the_summary_counts_the_states(pages):
    for page in (pages["lecture_map"], pages["index"]):
        words = " ".join(re.sub(r"<[^>]+>", "", page).split())
        assert "2 of 4 items are shown, in 1 of 2 chapters: 1 as the slide has them, " in words
        assert "0 with conditions, 1 told in prose only, and 1 do not hold as the slide" in words


def test_the_errata_page_tells_proofs_from_prose_and_plans(pages):
    page = pages["errata"]
    assert "told in prose in <a" in page and "proved in" not in page
    assert "Notes: 1, of which 0 are proved by a cell and 1 told in prose." in page
    assert ">planned: 3 NMF</span>" in page
    lost = page[page.index('id="n02"') :]
    assert ">in no chapter</span>" in lost  # its chapter is written, and does not tell it


def test_on_a_phone_state_and_link_are_seen(pages, browser, tmp_path):
    css = "".join(
        (ROOT / f"book/_assets/{name}.css").read_text(encoding="utf-8")
        for name in ("custom", "slides")
    )
    table = re.search(r'<table class="[^"]*lecture-map.*?</table>', pages["lecture_map"], re.DOTALL)
    path = tmp_path / "map.html"
    path.write_text(
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<style>{css}</style><div class="bd-article">{table[0]}</div>',
        encoding="utf-8",
    )
    right = (
        "return Math.max(...[...document.querySelectorAll('.state, .where a, .lecture-map td')]"
        ".map(e => e.getBoundingClientRect().right))"
    )
    browser.open(path, width=390, wide=True)
    assert 0 < browser.js(right) <= 390 and browser.overflow() == 0
    tops = browser.js(
        "return [...document.querySelector('#item-a9').children]"
        ".map(e => Math.round(e.getBoundingClientRect().top))"
    )
    # The item beside its text, below it state and link, then slide and kind.
    assert tops[0] == tops[1] < tops[2] < tops[3] == tops[4]
