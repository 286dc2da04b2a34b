"""What the book's extension writes, and the repository's address; no browser, no build."""

import json

import pytest

from genai_utils.course import address, chapters
from genai_utils.course.book import pieces as book

PLAN = {
    "decks": {}, "kinds": {}, "classes": {},
    "chapters": [{"name": "02_pca", "title": "PCA", "part": "P", "about": ""}],
    "items": [{"id": "A9", "notebook": "02_pca"}], "errata": [{"id": "Y05"}],
}  # fmt: skip


def notebook(*cells, card=None):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "id": str(i), "source": text}
        for i, text in enumerate(cells)
    ]
    html = '<figure data-figure="pad"><img alt="x" src="data:,"></figure>'
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}
    cells.append({
        "cell_type": "code", "metadata": {}, "id": "code", "source": "1", "execution_count": 1,
        "outputs": [output],
    })  # fmt: skip
    return json.dumps({
        "nbformat": 4, "nbformat_minor": 5, "cells": cells,
        "metadata": {"genai": card} if card else {},
    })  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """A small project: configuration, plan, one notebook."""
    for name in ("book", "notebooks", ".git", "_build", ".github"):
        (tmp_path / name).mkdir()
    (tmp_path / "_config.yml").write_text(
        "title: x\nrepository:\n  branch: main\n  url: https://github.com/old/book\nother: 1\n"
    )
    (tmp_path / "book/lectures.json").write_text(json.dumps(PLAN))
    text = notebook(
        "# 2  PCA\n\n**Lecture items:** A9, B2,\nB16\n\nMore A77.",
        "> **Erratum Y05.** It says x.\n\n> **Exercise 2.1** (easy). Write.",
        card={"profile": "cpu"},
    )
    (tmp_path / "notebooks/02_pca.ipynb").write_text(text)
    return tmp_path


def test_a_chapter_tells_what_it_holds(root):
    chapter = chapters.Book(root).chapter("02_pca")
    assert chapter.title == "PCA" and chapter.claims == ["A9", "B2", "B16"]
    assert chapter.errata == ["Y05"] and chapter.exercises == ["2.1"]
    assert chapter.card == {"profile": "cpu"} and list(chapter.figures) == ["pad"]


def test_an_unknown_chapter_is_refused_and_a_planned_one_is_none(root):
    found = chapters.Book(root)
    with pytest.raises(ValueError, match="No chapter is named '03_nmf'"):
        found.chapter("03_nmf")
    (root / "notebooks/02_pca.ipynb").unlink()
    assert chapters.Book(root).chapter("02_pca") is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x_t", "x<sub>t</sub>"),
        ("x_{t-1}|x", "x<sub>t-1</sub>|x"),
        ("P_data", "P<sub>data</sub>"),
        ("x^(t-1)", "x<sup>(t-1)</sup>"),
        ("sum_{i>k} σ_i²", "sum<sub>i>k</sub> σ<sub>i</sub>²"),
        ("‖X‖_F²", "‖X‖<sub>F</sub>²"),
        ("infer_vector and p_sample", "infer_vector and p_sample"),
        ("full_matrices=True", "full_matrices=True"),
        ("R^k; W^-1", "R<sup>k</sup>; W^-1"),
    ],
)
def test_formula_text_gets_real_scripts(text, shown):
    tags = {"subscript": "sub", "superscript": "sup"}
    html = "".join(
        f"<{tags[n.tagname]}>{n.astext()}</{tags[n.tagname]}>" if n.tagname in tags else n.astext()
        for n in book.formula(text)
    )
    assert html == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(60000.0, "60,000"), (89.3412, "89.34"), (-0.012345, "-0.01235"), (1e-9, "1e-09"),
     (12345.6, "12,346"), (0.0, "0"), (99.9, "99.90"), (1e12, "1e+12")],
)  # fmt: skip
def test_numbers_have_four_digits(value, shown):
    assert book.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(59.4, "59 s"), (60, "1 min 0 s"), (412.3, "6 min 52 s")]
)
def test_durations(seconds, shown):
    assert book.duration(seconds) == shown


# ---- the repository's address --------------------------------------------------------------------

OLD = (
    "[a](https://github.com/old/book) [b](https://github.com/old/book/blob/main/x) "
    "[c](https://colab.research.google.com/github/old/book/blob/main/x.ipynb) "
    "https://github.com/old/book.git https://github.com/old/book-draft https://github.com/old/bookish"
)
NEW = (
    "[a](https://github.com/me/gen.ai) [b](https://github.com/me/gen.ai/blob/main/x) "
    "[c](https://colab.research.google.com/github/me/gen.ai/blob/main/x.ipynb) "
    "https://github.com/me/gen.ai.git https://github.com/old/book-draft https://github.com/old/bookish"
)


def test_the_address_changes_everywhere_and_nowhere_else(root):
    kept = (".git/config", "_build/x.md", "x.bin")
    for name in ("README.md", ".github/ci.yml", "LICENSE-text", *kept):
        (root / name).write_text(OLD)
    assert address.main(["https://github.com/me/gen.ai/", "--root", str(root)]) == 0
    assert chapters.address(root) == "https://github.com/me/gen.ai"
    for name in ("README.md", ".github/ci.yml", "LICENSE-text"):
        assert (root / name).read_text() == NEW
    for name in kept:
        assert (root / name).read_text() == OLD
    assert address.change(root, "https://github.com/me/gen.ai") == []


@pytest.mark.parametrize(
    "url", ["github.com/me/x", "https://gitlab.com/me/x", "https://github.com/me", ""]
)
def test_a_wrong_address_is_refused(root, url, capsys):
    before = (root / "_config.yml").read_text()
    assert address.main([url, "--root", str(root)]) == 1
    assert "expected as https://github.com/OWNER/NAME" in capsys.readouterr().err
    assert (root / "_config.yml").read_text() == before


def test_a_configuration_without_address_is_named(tmp_path):
    (tmp_path / "_config.yml").write_text("title: x\nhtml:\n  url: https://example.org\n")
    with pytest.raises(ValueError, match="no `url:` under `repository:`"):
        chapters.address(tmp_path)
