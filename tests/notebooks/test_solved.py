"""Each notebook also runs with every stub solved, and then all its checks say so.

It runs on a graphics card that is only pretended (`tests.card`): what the notebook puts on the
wrong device is found on a machine without one. As shipped, with nothing filled in, the notebooks
run under nbval, on the processor: `pytest notebooks`.

What is on the wrong device is so in the first steps of a training. So each training ends after a few
steps here, where the notebook has been seen to run with barely trained models: by an estimate of
which no cell failed (`book.estimate`), or by hand (`SHORT`). In full it runs as shipped.
"""

from pathlib import Path

import nbformat
import pytest

from genai_utils.book import estimate
from genai_utils.book.chapters import Book
from genai_utils.book.client import Client
from genai_utils.checks.stubs import solved, stubs_in
from tests.card import CELL, NAME, SHORTLY

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
SHORT = {"05", "08", "09", "10", "15", "20", "21", "22", "23", "24", "25"}


def texts(cell):
    """The plain text of a cell's outputs."""
    for output in cell.get("outputs", []):
        yield output.get("text") or output.get("data", {}).get("text/plain", "")


@pytest.mark.timeout(1800)  # a bound for what hangs; how long a notebook takes is no test
@pytest.mark.parametrize("name", BOOK.chapters)
def test_the_notebook_runs_with_every_stub_solved(name, tmp_path):
    chapter = BOOK.chapters[name]
    shipped = sum(len(stubs_in(cell.source)) for cell in chapter.code_cells)
    notebook = solved(chapter.notebook)
    left = [s.name for c in notebook.cells if c.cell_type == "code" for s in stubs_in(c.source)]
    assert shipped >= 3 and left == []

    found = estimate.load(notebook)
    short = name[:2] in SHORT or (found and not found["failed"])
    on_a_card = nbformat.v4.new_code_cell(CELL.format(root=str(ROOT)) + (SHORTLY if short else ""))
    notebook.cells.insert(0, on_a_card)
    client = Client(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert any(NAME in text for cell in notebook.cells for text in texts(cell))
    checked = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith("check(")
    ]
    assert len(checked) == shipped
    for text in ("".join(texts(cell)) for cell in checked):
        assert "correct" in text.lower() and "not yet" not in text.lower(), text
