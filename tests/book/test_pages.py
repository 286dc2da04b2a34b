"""What the book's extension writes, on a small book, and the repository's address."""

import io
import json
import re

import nbformat
import pytest
from sphinx.application import Sphinx

from genai_utils.book import address, chapters
from genai_utils.book import nodes as book
from genai_utils.book.digest import code_sha256
from genai_utils.book.notebook_page import LEVEL, expected

PLAN = {
    "decks": {k: {"title": k, "author": k, "place": k, "short": k} for k in "AB"},
    "kinds": {"C": "claim"},
    "classes": {"E": "error"},
    "chapters": [
        {"name": "02_pca", "title": "PCA", "part": "P", "about": "x"},
        {"name": "03_nmf", "title": "NMF", "part": "P", "about": "y"},
    ],
    "items": [
        {"id": id, "item": "x_t", "slide": "S", "kind": "C", "notebook": name, "errata": errata}
        for id, name, errata in (
            ("A9", "02_pca", ["Y05"]),
            ("A10", "02_pca", []),
            ("A11", "03_nmf", ["N01"]),
        )
    ],
    "errata": [
        {"id": id, "class": "E", "slide": "S", "says": "x", "right": "y"} for id in ("N01", "Y05")
    ],
}
CARD = {
    "notebook": "02_pca", "profile": "cpu", "device": "CPU (2 cores)", "seconds": 412.3,
    "peak_memory_gb": 1.94, "data": ["mnist"], "date": "2026-01-01", "versions": {"torch": "2"},
    "metrics": [{"name": "log P", "value": -89.3, "unit": "nats", "note": ""}],
}  # fmt: skip


ESTIMATE = {"profile": "gpu", "models": 2, "failed": 0, "minutes": {"T4": 12.4}}


def notebook(*cells, card=None, estimate=None):
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
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            **({"genai": card} if card else {}),
            **({"genai_estimate": estimate} if estimate else {}),
        },
    })  # fmt: skip


def project(folder):
    """A small project: configuration, plan, one notebook."""
    for name in ("book", "notebooks", ".git", "_build", ".github"):
        (folder / name).mkdir()
    (folder / "_config.yml").write_text(
        "title: x\nrepository:\n  branch: main\n  url: https://github.com/old/book\nother: 1\n"
    )
    (folder / "book/lectures.json").write_text(json.dumps(PLAN))
    text = notebook(
        "# 2  PCA\n\n*Cost: see the run card at the end of this page.*\n\n"
        "**Lecture items:** A9, B2,\nB16\n\nMore A77.",
        "## The spectrum\n\nIt falls (A9).",
        "> **Erratum Y05.** It says x.\n\n> **Exercise 2.1** (easy). Write.",
        card=CARD,
    )
    (folder / "notebooks/02_pca.ipynb").write_text(text)
    return folder


@pytest.fixture
def root(tmp_path):
    return project(tmp_path)


def test_a_chapter_tells_what_it_holds(root):
    chapter = chapters.Book(root).chapter("02_pca")
    assert chapter.title == "PCA" and chapter.claims == ["A9", "B2", "B16"]
    assert chapter.errata == ["Y05"] and chapter.exercises == ["2.1"]
    assert chapter.card == CARD and list(chapter.figures) == ["pad"]


def test_an_unknown_chapter_is_refused_and_a_planned_one_is_none(root):
    found = chapters.Book(root)
    with pytest.raises(ValueError, match="No chapter is named '04_lsa'"):
        found.chapter("04_lsa")
    assert found.chapter("03_nmf") is None


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


def test_a_percentage_of_rounding_is_nothing():
    assert book.number(-1.11e-14, "%") == "0" and book.number(1e-14, "nats") == "1e-14"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(59.4, "59 s"), (60, "1 min 0 s"), (412.3, "6 min 52 s")]
)
def test_durations(seconds, shown):
    assert book.duration(seconds) == shown


# ---- a small book --------------------------------------------------------------------------------

INDEX = """# Index

```{toctree}
book/lecture_map
book/errata
notebooks/02_pca
```

The code ($c$), or $d$.

$$
a \\\\ b \\tag{2.1}
$$

```{from-notebook} 02_pca#pad
```

```{from-notebook} 02_pca#nothing
```

```{from-notebook} 03_nmf#pad
```

```{results}
```

```{run-times}
```

```{open-figures}
02_pca: log P | at least -89.4 nats
02_pca: log P | at most -90 nats, all
02_pca: other | at most 3 nats
```

It reached {measured}`02_pca: log P`, and {measured}`02_pca: no such number`.
"""


def build(root, index=INDEX):
    """Build the small book; returns its folder and the warnings."""
    (root / "index.md").write_text(index)
    for name in ("lecture_map", "errata"):
        directive = name.replace("_", "-").replace("errata", "errata-list")
        (root / f"book/{name}.md").write_text(f"# Page\n\n```{{{directive}}}\n```\n")
    warnings = io.StringIO()
    overrides = {
        "extensions": ["myst_nb", "genai_utils.book.extension"],
        "myst_enable_extensions": ["dollarmath"],
        "nb_execution_mode": "off",
        "exclude_patterns": ["_build"],
        "nb_mime_priority_overrides": [("html", "text/html", 5)],
    }
    app = Sphinx(
        root, None, root / "_build/html", root / "_build/trees", "html", overrides,
        status=None, warning=warnings,
    )  # fmt: skip
    app.build()
    # Sphinx says of every further book of one process that its nodes are known already.
    told = [line for line in warnings.getvalue().splitlines() if "already registered" not in line]
    return root / "_build/html", "\n".join(told)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("small"))
    html, warnings = build(root)
    return {path.stem: path.read_text() for path in html.rglob("*.html")}, warnings


def test_a_figure_that_is_not_there_is_a_warning(small):
    pages, warnings = small
    assert "02_pca has no figure 'nothing' (it has: pad)" in warnings
    assert "03_nmf has no figure 'pad' (it has: no such notebook)" in warnings
    assert warnings.count("WARNING") == 4
    assert pages["index"].count('data-figure="pad"') == 1


def test_a_measured_number_comes_from_the_run_card(small):
    pages, warnings = small
    assert ">-89.30 nats</a>" in pages["index"]
    assert "02_pca has recorded no 'no such number' (it has: log P)" in warnings


def test_quotes_become_boxes_and_their_ids_are_linked(small):
    pages, _ = small
    page = pages["02_pca"]
    assert re.search(r'<details class="erratum" id="erratum-y05">\s*<summary>', page)
    assert '>Exercise 2.1<span class="tag">easy</span></p>' in page and "<p>Write.</p>" in page
    assert "<blockquote" not in page
    assert 'href="../notebooks/02_pca.html#erratum-y05"' in pages["errata"]
    assert "planned: 3 NMF" in pages["errata"]


def test_the_cost_line_and_the_run_card_come_from_the_card(small):
    pages, _ = small
    assert "6 min 52 s and 1.9 GB on CPU (2 cores), in the cpu profile." in pages["02_pca"]
    assert 'id="run-card"' in pages["02_pca"] and "-89.30" in pages["02_pca"]
    assert "Trained</p>" not in pages["02_pca"]  # a card from before trainings were counted
    assert "Processor time" not in pages["02_pca"]
    assert "6 min 52 s" in pages["index"] and "figures of the gpu profile" in pages["index"]


def test_what_no_card_has_run_is_open(small):
    page = small[0]["index"]
    assert page.count("not yet run") == 2 and "at most -90 nats, all" in page
    assert "open-figures: 02_pca has recorded no 'other' (it has: log P)" in small[1]
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "1 chapter was last run in the cpu profile, on CPU (2 cores): 6 min 52 s on" in words
    assert "6 min 52 s on average, at most 6 min 52 s (chapter 2) and 1.9 GB." in words


def test_a_run_on_a_card_closes_what_it_reached(root):
    path = root / "notebooks/02_pca.ipynb"
    training = {"models": 9, "steps": 61_000, "flops": 8e14, "seconds": 195.0}
    card = CARD | {"profile": "gpu", "device": "NVIDIA T4", "training": training}
    hashed = code_sha256(nbformat.read(path, as_version=4), "gpu")
    cost = "# 2  PCA\n\n*Cost: see the run card at the end of this page.*"
    path.write_text(notebook(cost, card=card, estimate=ESTIMATE | {"code_sha256": hashed}))
    html, warnings = build(root)
    page = (html / "notebooks/02_pca.html").read_text()
    told = "9 models, 61,000 steps, 0.8 PFLOP, at 4.1 TFLOP/s"
    assert f"<p>{told}</p>" in page and "Trained</p>" in page and "estimated" not in page
    index = (html / "index.html").read_text()
    assert f"mnist; trained {told}." in index and "figures of the gpu profile" not in index
    assert "not yet run" not in index and "at least -89.4" not in index  # -89.3 reaches it
    assert "at most -90 nats, all" in index and "-89.30, missed" in index

    text = INDEX.replace("at most -90 nats, all", "roughly -90").replace("02_pca: other", "09_x: y")
    text = re.sub(r"(?s)```\{from-notebook\}.*?```\n", "", text)
    _, warnings = build(root, text)
    assert warnings.count("open-figures: expected `24_vae: name of a number | at most") == 2
    assert "None: all that was asked has been reached." in (html / "index.html").read_text()


@pytest.mark.parametrize(("stale", "card"), [(False, CARD), (False, None), (True, CARD)])
def test_an_estimate_stands_in_the_cost_line_while_it_is_fresh(root, stale, card):
    path = root / "notebooks/02_pca.ipynb"
    hashed = "0" if stale else code_sha256(nbformat.read(path, as_version=4), "gpu")
    cost = "# 2  PCA\n\n*Cost: see the run card at the end of this page.*"
    path.write_text(notebook(cost, card=card, estimate=ESTIMATE | {"code_sha256": hashed}))
    html, _ = build(root)
    page = (html / "notebooks/02_pca.html").read_text()
    told = "In the gpu profile a free T4 trains for about 12 minutes, estimated."
    assert (told in page) == (not stale)


def test_processor_time_is_told_of_runs_without_a_graphics_card():
    card = CARD | {"processor_seconds": 310.4, "threads": 1}
    assert book.worked(card) == "5 min 10 s in 1 thread"
    assert book.worked(card | {"threads": 2}) == "5 min 10 s in 2 threads"
    assert book.worked(CARD) == book.worked(card | {"device": "NVIDIA T4"}) == ""


def test_an_estimate_says_how_sure_it_is():
    assert "at least 12 minutes" in expected(ESTIMATE | {"failed": 1})
    assert "about 1 minute," in expected(ESTIMATE | {"minutes": {"T4": 0.2}})
    assert expected(None) == expected(ESTIMATE | {"models": 0}) == ""


def test_the_lecture_map_says_what_is_shown_and_where(small):
    page = small[0]["lecture_map"]
    assert "1 of 3 items are shown" in page and "in 1 of 2 chapters" in page
    assert 'href="../notebooks/02_pca.html#the-spectrum">The spectrum</a>' in page
    assert page.count(">planned</span>") == 2 and 'id="item-a9"' in page
    assert 'href="errata.html#y05"' in page


def test_formulas_keep_their_tag_and_their_punctuation(small):
    page = small[0]["index"]
    assert r"\[\begin{split}a \\ b\end{split} \tag{2.1}\]" in page
    assert '<span class="joined">(<span class="math' in page
    assert r"\(c\)</span>),</span>" in page and r"\(d\)</span>.</span>" in page


def test_no_card_is_said(root):
    path = root / "notebooks/02_pca.ipynb"
    path.write_text(notebook("# 2  PCA\n\n*Cost: see the run card at the end of this page.*"))
    html, _ = build(root)
    assert "Cost: not yet measured." in (html / "notebooks/02_pca.html").read_text()
    assert "No chapter has been run yet." in (html / "index.html").read_text()


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


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("(easy). Write.", "easy"),
        ("(hard, 30 minutes). Write.", "hard, 30 minutes"),
        ("(find the fault, medium, 20 minutes). It", "find the fault, medium, 20 minutes"),
        ("(see below). Write.", None),
    ],
)
def test_what_a_box_says_of_its_level(text, tag):
    found = LEVEL.match(text)
    assert (found and found[1]) == tag


def test_the_table_of_peers_is_the_kept_one(root):
    """Each row with its ratio, spread and figures; what is missing or not as good is told."""
    row = {
        "chapter": "02_pca", "work": "PCA of X", "peer": "lib", "version": "1.2", "quick": True,
        "small": "20 rows", "unit": "rows/s", "ours": 1234.0, "theirs": 617.0,
        "ratio": 2.0, "low": 1.5, "high": 2.5,
        "quality": {"measure": "error", "ours": 2_378_851.5, "theirs": 0.125, "as good": False},
        "floor": {"share": 0.62, "what": "X read once"}, "machine": "here", "load": 3.25,
    }  # fmt: skip
    gone = {
        "chapter": "",
        "work": "the other",
        "peer": "no-lib",
        "missing": "not installed",
        "small": "",
    }
    here = {"name": "here", "threads": 1, "cores": 2, "torch": "9.9", "flops": 9e10, "copy": 17e9}
    text = "# Index\n\n```{side-by-side}\n```\n"
    html, _ = build(root, text)
    assert "The comparisons have not been run yet." in (html / "index.html").read_text()

    (root / "benchmarks").mkdir()
    quiet = row | {"work": "full PCA", "machine": "there", "quick": False, "small": "", "load": 1.2}
    del quiet["quality"], quiet["floor"]
    row |= {"why": "It is quick."}
    quiet |= {"ratio": 0.9, "why": "X is read twice."}
    rows = {"pca": row, "gone": gone | {"quick": True}, "full": quiet}
    bad = gone | {"work": "a third", "failed": "RuntimeError: no"}
    del bad["missing"]
    table = {"machines": {"here": here, "there": here | {"name": "there"}}}
    table["rows"] = rows | {"bad": bad | {"quick": False}}
    (root / "benchmarks/table.json").write_text(json.dumps(table))
    html, _ = build(root, text)
    page = " ".join(re.sub(r"<[^>]+>", " ", (html / "index.html").read_text()).split())
    assert "Measured on here, with torch 9.9. A matrix product reaches 90 GFLOP/s there" in page
    assert (
        "a copy 17 GB/s. Where a row says so, its sizes are smaller. Other work ran beside: up to"
        in page
    )
    assert "3.2 processes for 2 cores" in page
    assert "2 PCA of X (here 20 rows) lib 1.2 2.00 (1.50 to 2.50) 1,234; 617 rows/s" in page
    assert "error 2,378,852; 0.1250, not as good 62 %: X read once" in page
    assert "the other no-lib – not installed" in page
    assert "a third no-lib – failed: RuntimeError: no" in page
    assert "Below 1: full PCA. X is read twice." in page and "It is quick" not in page
    assert "full PCA lib 1.2 0.90 (1.50 to 2.50) 1,234; 617 rows/s the same work" in page
    assert "Measured on there" in page and page.count("Other work ran beside") == 1
    assert page.count("its sizes are smaller") == 1
