"""What the book's pages and its tests read from the notebooks: claims, errata, figures, run cards.

    book = Book(root)                   # the folder that holds _config.yml
    book.items["B16"]["notebook"]       # "02_pca"
    book.chapter("02_pca").claims       # ["A9", "B2", ...], or None where it is not yet written

The list of lecture items and slide errata is `book/lectures.json`. Notebooks are read, never run.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from genai_utils.book.execute import load_card

ITEM = re.compile(r"\b[AB]\d{1,3}\b")
_CLAIMS = re.compile(r"^\*\*Lecture items:\*\*(.*?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
_ERRATUM = re.compile(r"^> ?\*\*Erratum ([NY]\d\d)\.\*\*", re.MULTILINE)
_EXERCISE = re.compile(r"^> ?\*\*Exercise (\d+\.\d+)\*\*", re.MULTILINE)
_FIGURE = re.compile(r"""data-figure=["']([^"']+)["']""")


def address(root):
    """The repository's address, from the one place where it stands: `_config.yml`."""
    text = (Path(root) / "_config.yml").read_text(encoding="utf-8")
    found = re.search(r"^repository:\s*\n(?:[ \t]+.*\n)*?[ \t]+url:[ \t]*(\S+)", text, re.MULTILINE)
    if not found:
        raise ValueError("_config.yml has no `url:` under `repository:`.")
    return found[1]


def launches(root, page):
    """{"colab": …, "kaggle": …}: where a page such as "notebooks/24_vae" can be run."""
    source = f"{address(root)}/blob/main/{page}.ipynb"
    path = source.removeprefix("https://github.com/")
    return {
        "colab": f"https://colab.research.google.com/github/{path}",
        "kaggle": f"https://kaggle.com/kernels/welcome?src={source}",
    }


@dataclass
class Chapter:
    """One written notebook."""

    path: Path

    @property
    def name(self):
        return self.path.stem

    @cached_property
    def notebook(self):
        return nbformat.read(self.path, as_version=4)

    @cached_property
    def prose(self):
        """All Markdown cells, in order."""
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "markdown"]

    @property
    def code_cells(self):
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def title(self):
        """The title without its number: "Variational autoencoders"."""
        heading = re.search(r"^#\s+(.+)$", self.prose[0], re.MULTILINE)
        return re.sub(r"^\d+\s+", "", heading[1].strip()) if heading else self.name

    @property
    def claims(self):
        """The ids on the line "**Lecture items:** A9, B2, …", in order."""
        for text in self.prose:
            if found := _CLAIMS.search(text):
                return ITEM.findall(found[1])
        return []

    @property
    def errata(self):
        """The ids of the errata boxes, in order."""
        return [id for text in self.prose for id in _ERRATUM.findall(text)]

    @property
    def exercises(self):
        """The numbers of the exercise boxes, in order: "24.1", "24.2"."""
        return [number for text in self.prose for number in _EXERCISE.findall(text)]

    @property
    def card(self):
        """The run card, or None."""
        return load_card(self.notebook)

    def html(self):
        """Every stored HTML output, in order."""
        for cell in self.code_cells:
            yield from self.html_of(cell)

    @staticmethod
    def html_of(cell):
        """The stored HTML outputs of one cell."""
        for output in cell.outputs:
            if "text/html" in output.get("data", {}):
                html = output["data"]["text/html"]
                yield html if isinstance(html, str) else "".join(html)

    @property
    def figures(self):
        """Name of a figure, explorer or pad -> its stored HTML."""
        return {name: html for html in self.html() for name in _FIGURE.findall(html)}


class Book:
    """The lecture map and the notebooks under `root`."""

    def __init__(self, root):
        self.root = Path(root)
        self.source = self.root / "book" / "lectures.json"
        data = json.loads(self.source.read_text(encoding="utf-8"))
        self.decks, self.kinds, self.classes = data["decks"], data["kinds"], data["classes"]
        self.plan = data["chapters"]
        self.items = {item["id"]: item for item in data["items"]}
        self.errata = {erratum["id"]: erratum for erratum in data["errata"]}

    @cached_property
    def chapters(self):
        """Name -> Chapter, for the notebooks that are written."""
        paths = sorted((self.root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
        return {path.stem: Chapter(path) for path in paths}

    def chapter(self, name):
        """The written chapter of that name, or None where it is only planned.

        Raises ValueError for a name that is in no plan.
        """
        if name not in {chapter["name"] for chapter in self.plan}:
            raise ValueError(f"No chapter is named {name!r} in {self.source.name}.")
        return self.chapters.get(name)
