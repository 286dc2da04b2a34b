"""Every notebook keeps the contract; and each rule of the contract can be broken."""

import copy
import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from genai_utils.book.chapters import Book, Chapter, address
from genai_utils.book.digest import code_sha256
from genai_utils.checks import stubs
from tests.notebooks.contract import cells, problems, two_more_kinds

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
ADDRESS = address(ROOT)
NAMES = list(BOOK.chapters)
EXAMPLE = "02_pca"  # has all that the rules are about, errata too


def test_there_are_notebooks_and_all_are_planned():
    assert NAMES
    assert set(NAMES) <= {plan["name"] for plan in BOOK.plan}
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert re.findall(r"file: notebooks/(\w+)", toc) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_keeps_the_contract(name):
    assert problems(BOOK.chapters[name], BOOK, ADDRESS) == []


def test_the_lecture_map_is_whole():
    assert len(BOOK.items) == 185 and len(BOOK.errata) == 84 and len(BOOK.plan) == 30
    assert [f"{p['name'][:2]}" for p in BOOK.plan] == [f"{i:02}" for i in range(1, 31)]
    ids = [f"A{i}" for i in range(1, 115)] + [f"B{i}" for i in range(1, 72)]
    assert list(BOOK.items) == ids
    names = {plan["name"] for plan in BOOK.plan}
    for item in BOOK.items.values():
        assert item["notebook"] in names and item["kind"] in BOOK.kinds
        assert set(item["errata"]) <= set(BOOK.errata)
    for erratum in BOOK.errata.values():
        assert erratum["class"] in BOOK.classes and erratum["says"] and erratum["right"]


def test_the_address_is_read_from_the_configuration():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert address(ROOT) == config["repository"]["url"]


# ---- each rule can be broken ---------------------------------------------------------------------


def markdown(nb, old, new, count=1):
    """Replace text in the Markdown cells; the text must be there."""
    hits = 0
    for cell in nb.cells:
        if cell.cell_type == "markdown" and re.search(old, cell.source, re.MULTILINE):
            cell.source, n = re.subn(old, new, cell.source, count=count, flags=re.MULTILINE)
            hits += n
            if count:
                break
    assert hits, old


def code(nb, index=-1):
    return [cell for cell in nb.cells if cell.cell_type == "code"][index]


FAULT = stubs.stub("log_weights", "24_vae").rstrip()
ASKED = 'from genai_utils.course import experiment\n\nexperiment("units-in-use")'
HANDED_IN = 'from genai_utils.course import hand_in\n\nhand_in("units-in-use", None)'


def add_code(nb, text):
    nb.cells.append(nbformat.v4.new_code_cell(text))


def the_toy(nb):
    return next(cell for cell in nb.cells if cell.metadata.get("toy"))


def recode(nb, old, new):
    hits = 0
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source, n = re.subn(old, new, cell.source, flags=re.MULTILINE)
            hits += n
    assert hits, old


def add_output(nb, **data):
    code(nb).outputs.append(nbformat.v4.new_output("display_data", data=data))


def without_html(nb, *parts):
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html")
            for part in parts if html else ():
                html = output.data["text/html"] = html.replace(part, "data-other=")


def estimated(nb, **changes):
    """As if it had been run on a CPU, and estimated for a card."""
    nb.metadata.genai.update(profile="cpu", device="CPU (2 cores)")
    found = {"code_sha256": code_sha256(nb, "gpu"), "profile": "gpu", "steps": 10, **changes}
    nb.metadata.update(genai_estimate=found)


def stderr(nb):
    code(nb).outputs.append(nbformat.v4.new_output("stream", name="stderr", text="Warning: x"))


def source(nb):
    """The first stored source that holds a folded answer."""
    outputs = (output for cell in nb.cells for output in cell.get("outputs", []))
    return next(o for o in outputs if "<details><summary" in o.get("data", {}).get("text/html", ""))


def unfold(output):
    html = re.sub(r"</?(details|summary)[^>]*>", "", output.data["text/html"])
    output.data["text/html"] = html


MUTANTS = {
    "the first line is expected": lambda nb: markdown(nb, r"^# \d+ ", "# 77 "),
    "the promise is expected": lambda nb: markdown(nb, r"^\*([^*\n]{20,})\*$", r"\1"),
    "at least three points": lambda nb: markdown(nb, "After this chapter you can", "You can"),
    'a line "> **You need**': lambda nb: markdown(nb, r"\*\*You need\*\*", "You need"),
    'marked "toy" in its metadata': lambda nb: code(nb, 0).metadata.update(toy="Another."),
    "expected as a sentence or two": lambda nb: the_toy(nb).metadata.update(toy="Short."),
    "marked as toy stores no explorer": lambda nb: the_toy(nb).outputs.clear(),
    "the line *Cost": lambda nb: markdown(nb, r"\*Cost: ", "*Costs: "),
    "is not the set-up cell": lambda nb: recode(nb, r"^import os$", "import os, sys"),
    "is no item of the lecture map": lambda nb: markdown(
        nb, r"(\*\*Lecture items:\*\*)", r"\1 A999,"
    ),
    "the lecture map gives it": lambda nb: markdown(nb, r"(\*\*Lecture items:\*\*) \w+,", r"\1"),
    "is claimed, but no text names it": lambda nb: markdown(
        nb, rf"(?<!items:\*\* )\b{BOOK.chapters[EXAMPLE].claims[0]}\b", "", count=0
    ),
    "is in no list": lambda nb: markdown(nb, r"\*\*Erratum \w\d\d\.", "**Erratum N99."),
    "no box for the errata": lambda nb: markdown(nb, r"\*\*Erratum ", "**Note ", count=0),
    "an erratum has two boxes": lambda nb: nb.cells.insert(
        5, nbformat.v4.new_markdown_cell(next(c.source for c in nb.cells if "> **Err" in c.source))
    ),
    "an erratum box has no code after it": lambda nb: nb.cells.append(
        nbformat.v4.new_markdown_cell("> **Erratum N01.** Nothing proves it.")
    ),
    "it shows no source": lambda nb: recode(nb, r"\bshow_source\(", "print("),
    "no stored output is an explorer": lambda nb: without_html(nb, "data-explorer="),
    "it has no drawing": lambda nb: recode(nb, r"^draw\(", "print("),
    "it has no lab": lambda nb: recode(nb, r"^lab\(", "print("),
    "at least three exercises": lambda nb: markdown(nb, r"> \*\*Exercise", "> **Task", count=0),
    "the exercises are numbered": lambda nb: markdown(
        nb, r"\*\*Exercise (\d+)\.2", r"**Exercise \1.7"
    ),
    "has no check": lambda nb: recode(nb, r"^check\(", "print("),
    "by the rule it is": lambda nb: markdown(nb, r"\((easy|medium|hard), ", "(trivial, "),
    "it sets the planted faults": lambda nb: add_code(nb, FAULT),
    "need cells of their own": lambda nb: add_code(nb, FAULT),
    "experiment(…) is called for": lambda nb: add_code(nb, ASKED),
    "hand_in(…) is called for": lambda nb: add_code(nb, HANDED_IN),
    "how to get a hint": lambda nb: [
        cell.update(source=cell.source.replace("hint(", "help(")) for cell in nb.cells
    ],
    "it has no progress": lambda nb: recode(nb, r"^progress\(", "print("),
    "five numbered lines": lambda nb: markdown(nb, r"^5\. .*$", ""),
    'does not say "read next"': lambda nb: markdown(nb, "[Rr]ead next", "More", count=0),
    'does not say "references"': lambda nb: markdown(nb, r"\bReferences\b", "Papers", count=0),
    "is not the library's": lambda nb: recode(nb, r'^(    r?""".*)$', r"\1 Changed."),
    "shows source that has changed": lambda nb: source(nb).data.update({"text/plain": "x = 1"}),
    "shows source that has changed: python": lambda nb: unfold(source(nb)),
    "its shown source cannot be compared": lambda nb: recode(nb, r"^show_source\(.*", "None"),
    "outputs in an older form": lambda nb: without_html(nb, "genai-untrusted"),
    "other words than its output": lambda nb: recode(nb, r"\balt=\"", 'alt="Changed: '),
    "outputs cannot be compared": lambda nb: next(
        c for c in nb.cells if re.search(r"^explore\(", c.source, re.MULTILINE)
    ).outputs.clear(),
    "the text still holds": lambda nb: markdown(nb, r"^## (.*)$", r"## \1 «S1»"),
    "lines, at most": lambda nb: code(nb).update(source="\n".join(["x = 1"] * 26)),
    "it has no run card": lambda nb: nb.metadata.pop("genai"),
    "its run card is that of": lambda nb: nb.metadata.genai.update(notebook="99_other"),
    "its run card says ci": lambda nb: nb.metadata.genai.update(profile="ci"),
    "its code has changed": lambda nb: code(nb).update(source=code(nb).source + "\nx = 1"),
    "it recorded no number": lambda nb: nb.metadata.genai.update(metrics=[]),
    "publish from real data": lambda nb: nb.metadata.genai.update(
        data=["digits (stand-in for mnist)"]
    ),
    "its estimate is of other code": lambda nb: estimated(nb, code_sha256="0", flops=1.0),
    "PFLOP of training, at most 4": lambda nb: estimated(nb, flops=4.1e15),
    "60,001 steps of training": lambda nb: nb.metadata.genai.update(
        profile="gpu", device="NVIDIA T4", training={"steps": 60_001, "flops": 1.0}
    ),
    "run once from top to bottom": lambda nb: code(nb).update(execution_count=1),
    "ended in ValueError": lambda nb: code(nb).outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])
    ),
    "wrote to stderr": stderr,
    "without alt text": lambda nb: add_output(nb, **{"text/html": '<img src="x" alt=" ">'}),
    "shows a bare image": lambda nb: add_output(nb, **{"image/png": "iVBORw0KGgo="}),
    "stores a live widget": lambda nb: add_output(
        nb, **{"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}
    ),
    "MB, at most": lambda nb: nb.metadata.update(padding="x" * 1_500_001),
}


@pytest.mark.parametrize("complaint", MUTANTS)
def test_a_notebook_that_breaks_the_rule_is_told_so(complaint, tmp_path):
    good = BOOK.chapters[EXAMPLE]
    broken = copy.deepcopy(good.notebook)
    MUTANTS[complaint](broken)
    path = tmp_path / good.path.name
    path.write_text(json.dumps(broken), encoding="utf-8")
    assert any(complaint in problem for problem in problems(Chapter(path), BOOK, ADDRESS))


@pytest.mark.parametrize(("name", "lines", "long"), [
    ("02_pca", 25, False), ("02_pca", 26, True), ("25_flow", 18, False), ("25_flow", 19, True),
])  # fmt: skip
def test_cells_of_new_chapters_are_shorter(name, lines, long, tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("\n".join(["x = 1"] * lines))]
    )
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(notebook, path)
    found = list(cells(Chapter(path), BOOK, ADDRESS))
    assert bool(found) == long and all(f"has {lines} lines, at most" in each for each in found)


@pytest.mark.parametrize("name", ["31_unwritten", "10_gpt", "24_vae"])
def test_new_chapters_and_three_others_have_two_more_kinds_of_task(name, tmp_path):
    path = tmp_path / f"{name}.ipynb"
    codes = [FAULT, "check(log_weights)", ASKED, HANDED_IN] if name == "24_vae" else []
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes]), path
    )
    found = list(two_more_kinds(Chapter(path), BOOK, ADDRESS))
    wanted = ["has no planted fault", "has no open experiment"] if name == "31_unwritten" else []
    assert len(found) == len(wanted) and all(w in f for w, f in zip(wanted, found, strict=True))
