"""The links that the build makes: what is a reference and what is a number, and where it leads."""

import calendar
import io
import json
import re
import time
import unicodedata
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx

from genai_utils.book import citations, linking, terms
from genai_utils.book.chapters import Book

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
ENTRIES = citations.read(ROOT / "book/references.bib")
PROSE = {name: "\n\n".join(chapter.prose) for name, chapter in BOOK.chapters.items()}


def numbered():
    """What Anchors notes in the real chapters, without a build."""
    found = {"sections": {}, "equations": {}, "exercises": {}}
    for name, text in PROSE.items():
        page = f"notebooks/{name}"
        for number in re.findall(r"^## (\d+\.\d+) ", text, re.MULTILINE):
            found["sections"][number] = (page, f"s{number}", f"{number} Title")
        for number in re.findall(r"\\tag\{(\d+\.\d+)\}", text):
            found["equations"][number] = (page, f"equation-{number}", f"Equation ({number})")
        for number in BOOK.chapters[name].exercises:
            found["exercises"][number] = (page, f"exercise-{number}", f"Exercise {number}")
    return linking.Targets(**found)


TARGETS = numbered()


def rules(docname):
    name = docname.removeprefix("notebooks/")
    references = citations.References(ENTRIES, near=PROSE.get(name, ""))
    uri = lambda page, anchor: f"{page}#{anchor}"  # noqa: E731
    return linking.Rules(BOOK, TARGETS, references, docname, uri)


def links(text, docname="notebooks/24_vae", **options):
    """[what is linked] -> where, in the order of the text."""
    new = rules(docname).apply(text, **options)
    root = nodes.inline("", "", *(new or []))
    return [
        (node.astext(), node["refuri"] if isinstance(node, nodes.reference) else node["title"])
        for node in root.findall(lambda n: isinstance(n, nodes.reference | linking.planned))
    ]


def shown(text, *arguments, **options):
    return [text for text, _ in links(text, *arguments, **options)]


# ---- chapters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PCA (chapter 2) minimises", ["chapter 2"]),
        ("Chapter 5 gave every word a vector", ["Chapter 5"]),
        ("(BERT, GPT-2: chapters 9 and 10). Simple", ["9", "10"]),
        ("chapters 8, 9 and 10", ["8", "9", "10"]),
        ("the reference for chapters 20 to 30.", ["20", "30"]),
        ("from chapter 4's LSA", ["chapter 4"]),
        ("in\nchapter\n2, whose", ["chapter\n2"]),
        ("the recipe of chapter 24 with", []),  # the page itself
        ("chapter 31, chapter 0 and chapter 2.5", []),
        ("subchapter 2", []),
        ("two chapters and 10 pages", []),
    ],
)
def test_chapters(text, expected):
    assert shown(text) == expected


def test_a_chapter_leads_to_its_page_and_a_planned_one_to_none(monkeypatch):
    monkeypatch.delitem(BOOK.chapters, "22_autoencoder")
    written, planned = links("chapter 2 and chapter 22")
    assert written == ("chapter 2", "notebooks/02_pca#")
    assert planned == ("chapter 22", "planned: Autoencoders")


def test_read_next_shows_titles_once():
    text = "Chapter 2 drops it, chapter 26 (generative adversarial networks) learns it"
    assert shown(text, titles=True) == ["Chapter 2 (Principal component analysis)", "chapter 26"]


# ---- sections, equations, exercises --------------------------------------------------------------

S, E, X = "s{}", "equation-{}", "exercise-{}"


@pytest.mark.parametrize(
    ("page", "text", "kind", "numbers"),
    [
        ("24", "the gap in section 24.7.", S, ["24.7"]),
        ("21", "are about 2 apart (section 19.8).", S, ["19.8"]),
        ("10", "Section 10.6 will train with it", S, ["10.6"]),
        ("10", "sections 10.5, 10.6 and 10.7 train", S, ["10.5", "10.6", "10.7"]),
        ("08", "does what helped in 8.7: it finds", S, ["8.7"]),
        ("21", "as the toy of 21.1 foretold. In Chang", S, ["21.1"]),
        ("22", "or 256 by the table of 22.3. Thirty-two", S, ["22.3"]),
        ("24", "Which of the two ideas of 24.1 closes the holes", S, ["24.1"]),
        ("24", "every term of (24.3) has a formula", E, ["24.3"]),
        ("24", "Write (24.10) for kl", E, ["24.10"]),
        ("03", "and its lowest point is (3.5). Going", E, ["3.5"]),
        ("24", "(24.5) and (24.6), or (24.5, 24.6)", E, ["24.5", "24.6", "24.5", "24.6"]),
        ("06", "cannot, as equation 6.1 shows", E, ["6.1"]),
        ("22", "by equation (24.5) of the VAE", E, ["24.5"]),
        ("07", "Formula 7.3 shows why. Write the right side of 7.3.", E, ["7.3", "7.3"]),
        ("07", "with the weights of 7.2, and reuse", E, ["7.2"]),
        ("10", "the trapezoid of exercise 10.2, one", X, ["10.2"]),
        ("09", "*Exercise 9.4, second part:*", X, ["9.4"]),
    ],
)
def test_numbers_that_are_references(page, text, kind, numbers):
    docname = next(f"notebooks/{name}" for name in PROSE if name.startswith(page))
    assert [uri.split("#")[1] for _, uri in links(text, docname)] == [
        kind.format(number) for number in numbers
    ]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("24", "sharpness rises from 20.4 to 22.4 % of the data's"),
        ("24", "a gap of 24.3 %, at 24.3 GB, 24.3° and 24.31"),
        ("24", "keeps (24.3 %) of it, and (24.3 nats) more"),
        ("24", "by section 24.3 % of"),
        ("24", "is in 24.3 nats, in 24.3 of 100 runs, in 24.3 dimensions and within 24.3."),
        ("24", "an error of 24.3. A loss of 24.7, and 24.1"),
        ("02", "Its error here is up to 2.2 % above the best, 2.4 GB"),
        ("03", "lower (2.2), and an ARI of (1.3)"),  # equations of other chapters, unnamed
        ("10", "reports a validation loss of 10.4. In perplexity: 4.5 characters"),
        ("24", "section 24.99 and equation 24.99 are not there, nor exercise 24.99"),
        ("24", "version 24.3.1 and 1,024.3 and (Figure 1.1)"),
    ],
)
def test_numbers_that_are_none(page, text):
    docname = next(f"notebooks/{name}" for name in PROSE if name.startswith(page))
    assert links(text, docname) == []


def test_on_other_pages_a_number_needs_its_word():
    assert links("(24.3), in 24.3.", "book/one_idea") == []
    assert shown("section 24.3, exercise 24.2", "book/one_idea") == [
        "section 24.3",
        "exercise 24.2",
    ]


def test_every_number_called_a_section_equation_or_exercise_is_one():
    words = {
        "sections": "[Ss]ection",
        "equations": "[Ee]quation|[Ff]ormula",
        "exercises": "[Ee]xercise",
    }
    lost = [
        (name, found[0])
        for name, text in PROSE.items()
        for kind, word in words.items()
        for found in re.finditer(rf"\b(?:{word})\s+\(?(\d+\.\d+)(?!\d|\s*%)", text)
        if found[1] not in getattr(TARGETS, kind)
    ]
    assert lost == []


# ---- the slides ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("for any Q (A88), it", ["A88"]),
        ("codes (A93, B12).", ["A93", "B12"]),
        ("each step (B51; Qiu et al. 2018).", ["B51"]),
        ("will stand (B50: so).", ["B50"]),
        ("The last column is A77: for", ["A77"]),
        ("on an A100, or (A100)", []),
        ("(A999) or B0, UA77, A77b", []),
        ("as erratum Y36 warned", ["Y36"]),
        ("not proportional (N19).", ["N19"]),
        ("with N = 20 and N99", []),
    ],
)
def test_items_and_notes_on_the_slides(text, items):
    anchors = [f"#item-{i.lower()}" if i[0] in "AB" else f"#{i.lower()}" for i in items]
    found = [uri for name, uri in links(text) if name in items]
    assert [uri[uri.index("#") :] for uri in found] == anchors


def test_a100_is_an_item_where_its_chapter_says_so(monkeypatch):
    assert shown("(A100)") == []
    monkeypatch.setitem(BOOK.items, "A100", {**BOOK.items["A100"], "notebook": "24_vae"})
    assert shown("(A100)") == ["A100"]


def test_the_lists_do_not_link_to_themselves():
    assert links("A77 (N19)", "book/lecture_map") == []
    assert links("(N19)", "book/errata") == []
    assert links("Kingma and Welling (2014)", "book/references") == []


# ---- citations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "text", "cited"),
    [
        ("24", "Kingma and Welling (2014) and Kingma & Welling 2014", ["kingma2014"] * 2),
        ("24", "(Rezende et al. 2014; Burda et al. 2016)", ["rezende2014", "burda2016"]),
        ("24", "Kingma et al. (2016) report", ["kingma2016"]),
        ("03", "(Davis, Gardner & Gardner, 1941)", ["davis1941"]),
        ("06", "Lee, Pincombe and Welsh (2005) asked", ["lee2005"]),
        ("03", "Lee & Seung (1999) saw; Lee & Seung (2001)", ["lee1999", "lee2001"]),
        ("05", "Mikolov, Chen, Corrado & Dean (2013)", ["mikolov2013a"]),
        ("05", "Mikolov, Sutskever, Chen, Corrado\n& Dean (2013)", ["mikolov2013b"]),
        ("23", "Rifai et al. (2011b) met", ["rifai2011b"]),
        ("20", "van den Oord et al. 2016, van den Oord et al. 2016b", ["oord2016a", "oord2016b"]),
        ("08", "(van den Oord et al. 2016 and Dauphin et al. 2017)", ["oord2016", "dauphin2017"]),
        ("24", "Kingma 2014, Kingma (2017), Welling et al. 2014, in 2014 Kingma & Welling", []),
        ("24", "Wang & Rosenberg 2012", []),
    ],
)
def test_citations(page, text, cited):
    docname = next(f"notebooks/{name}" for name in PROSE if name.startswith(page))
    assert [uri for _, uri in links(text, docname)] == [
        f"book/references#ref-{key}" for key in cited
    ]


def test_in_the_references_a_citation_leads_to_the_paper():
    text = "Kingma & Welling 2014; Davis, Gardner & Gardner (1941)"
    assert [uri for _, uri in links(text, outside=True)] == [
        "https://arxiv.org/abs/1312.6114",
        "book/references#ref-davis1941",  # it has no address
    ]


def test_a_card_says_who_what_where():
    assert ENTRIES["wang2012"].card == (
        "Chaolong Wang, Sebastian Zöllner and Noah A. Rosenberg (2012) · A quantitative comparison "
        "of the similarity between genes and geography in worldwide human populations · "
        "PLoS Genetics · doi:10.1371/journal.pgen.1002886"
    )
    assert "and others (2017)" in ENTRIES["vaswani2017"].card


@pytest.mark.parametrize("name", PROSE)
def test_every_citation_of_a_chapter_is_found(name):
    text = re.sub(r"[*$]", "", PROSE[name])
    found = [range(a, b) for a, b, _ in citations.References(ENTRIES, near=text).find(text)]
    surname = r"[A-ZŘ][\w’'-]+"
    cited = rf"{surname}(?:\s+et\s+al\.)?,?\s+\(?(?:18|19|20)\d\d[a-c]?\b"
    lost = [m[0] for m in re.finditer(cited, text) if not any(m.start() in r for r in found)]
    words = "|".join(["LREC", "In", "MovieLens", *calendar.month_name[1:]])
    assert [each for each in lost if not re.match(rf"(?:{words})\b", each)] == []


def test_addresses_have_their_form():
    for entry in ENTRIES.values():
        kind = entry.address_name.split(":")[0]
        form = {
            "doi": r"https://doi\.org/10\.\d{4,5}/[^\s<>]+",
            "arXiv": r"https://arxiv\.org/abs/\d{4}\.\d{4,5}",
            "": r"|https?://[^\s<>]+",
        }[kind]
        assert re.fullmatch(form, entry.address), entry
    without = [key for key, entry in ENTRIES.items() if not entry.address]
    assert len(without) <= 6, without


# ---- terms ---------------------------------------------------------------------------------------


def term(*names, symbol=False, chapters=(24,)):
    return terms.Term(names, symbol, f"{names[0]} · x", f"term-{names[0]}", frozenset(chapters))


def test_words_are_found_as_they_are_written():
    finder = terms.Finder(
        [term("token"), term("the judge"), term("ELBO"), term("KL divergence", "KL"),
         term("temperature"), term("choice temperature"), term("nats", chapters=(5,))], 24,
    )  # fmt: skip
    text = (
        "Tokens and a token; The judge, the\njudge; ELBO and elbo; the KL divergence, KL; "
        "a choice temperature; broken, tokenizer, non-token; nats"
    )
    assert [" ".join(text[a:b].split()) for a, b, _ in finder.find(text)] == [
        "Tokens", "token", "The judge", "the judge", "ELBO", "KL divergence", "KL",
        "choice temperature",
    ]  # fmt: skip
    assert list(terms.Finder([], 24).find("token")) == []


def test_symbols_are_compared_without_spaces():
    finder = terms.Finder([term(r"\gamma(k/S)", symbol=True)], 24)
    assert finder.symbol(r"\gamma(k / S)") and finder.symbol(r"\gamma") is None


@pytest.mark.parametrize(
    ("tex", "plain"),
    [
        (r"\mathbf{X} \in \mathbb{R}^{n \times d}", "X ∈ R^(n × d)"),
        (r"\sigma_i^2 / n", "σᵢ² / n"),
        (r"\bar{\alpha}_t = \prod_{s \le t} \alpha_s", "ᾱₜ = ∏_(s ≤ t) αₛ"),
        (r"\mathbf{Z} \in \{0, 1\}^{n}", "Z ∈ {0, 1}ⁿ"),
        (r"-\log p", "−log p"),
        (r"\frac{p(i, j)}{p(i)\,p(j)}", "p(i, j) / (p(i) p(j))"),
    ],
)
def test_short_formulas_as_text(tex, plain):
    assert unicodedata.normalize("NFC", terms.text_of(tex)) == plain


def test_numbers_of_chapters():
    assert terms.numbers("1, 4 to 7 and 21") == {1, 4, 5, 6, 7, 21}


# ---- a page --------------------------------------------------------------------------------------

NOTATION = """# Notation

## Here

Chapter 24.

| Symbol | Meaning |
|---|---|
| $\\boldsymbol{\\mu}$, $k$ | mean, count |

## Terms

| Term | Meaning | Chapters |
|---|---|---|
| nats, nat | unit $-\\log p$ | 24 |
"""
PAGE = """# 24 VAE

**Lecture items:** A87, A88

Chapter 2 has nats.

## 24.1 In nats, chapter 2 (A87)

First nats, then nats, `chapter 2`, [chapter 2](https://example.org/) and *nats*.
The $\\boldsymbol{\\mu}$ and $k$ of $\\boldsymbol{\\mu}$ (A88). See (24.1).

$$ x \\tag{24.1} $$

> **Exercise 24.1** (easy). As in section 24.2.

## 24.2 More

A *nat* is a unit. Here `25_flow` and nats. Kingma & Welling (2014).

**Read next:** chapter 2.

**References**

- Kingma & Welling (2014), *Title*.
"""


def cell(text, number):
    return {"cell_type": "markdown", "metadata": {}, "id": f"c{number}", "source": text}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    (root / "book").mkdir()
    (root / "notebooks").mkdir()
    for name in ("lectures.json", "references.bib"):
        (root / "book" / name).write_bytes((ROOT / "book" / name).read_bytes())
    (root / "index.md").write_text(
        "# Book\n\n```{toctree}\nnotebooks/24_vae\nnotebooks/02_pca\nbook/notation\n"
        "book/lecture_map\nbook/references\n```\n"
    )
    (root / "book/notation.md").write_text(NOTATION)
    (root / "book/lecture_map.md").write_text("# Map\n\n```{lecture-map}\n```\n")
    (root / "book/references.md").write_text("# R\n\n```{bibliography}\n:all:\n```\n")
    kernel = {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}
    for name, text in (("24_vae", PAGE), ("02_pca", "# 2 PCA\n\nIt is section 24.1.")):
        cells = [cell(part, i) for i, part in enumerate(re.split(r"\n(?=## )", text))]
        notebook = {"nbformat": 4, "nbformat_minor": 5, "cells": cells, "metadata": kernel}
        (root / f"notebooks/{name}.ipynb").write_text(json.dumps(notebook))
    (root / "_config.yml").write_text("repository:\n  url: https://github.com/a/b\n")
    overrides = {
        "extensions": ["myst_nb", "sphinxcontrib.bibtex", "genai_utils.book.extension"],
        "myst_enable_extensions": ["dollarmath"],
        "nb_execution_mode": "off",
        "bibtex_bibfiles": ["book/references.bib"],
        "suppress_warnings": ["bibtex.missing_field", "config.cache"],
        "html_theme": "basic",
    }
    warnings = io.StringIO()
    app = Sphinx(
        root, None, root / "_build/html", root / "_build/trees", "html", overrides,
        status=None, warning=warnings,
    )  # fmt: skip
    app.build()
    lost = [
        w
        for w in warnings.getvalue().splitlines()
        if "links." not in w and "already registered" not in w and "WARNING" in w
    ]
    assert lost == []
    return {
        path.stem: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one(
            ".body"
        )
        for path in (root / "_build/html").rglob("*.html")
    }


def section(page, heading):
    return next(s for s in page.select("section section") if s.h2.get_text().startswith(heading))


def test_headings_code_and_links_are_left_alone(page):
    vae = page["24_vae"]
    assert not vae.select("h1 a.reference, h2 a.reference, code a, a a")
    assert [a["href"] for a in section(vae, "24.1").select("a") if a.get_text() == "chapter 2"] == [
        "https://example.org/"
    ]


def test_a_term_is_marked_once_in_each_section(page):
    vae = page["24_vae"]
    words = [a.get_text() for a in vae.select("a.term:not(.symbol)")]
    assert words == ["nats", "nats"]  # the beginning and 24.1; 24.2 explains it in italics
    assert all("unit −log p" in a["title"] for a in vae.select("a.term:not(.symbol)"))
    assert len(vae.select("a.symbol")) == 1 and vae.select_one("a.symbol .math")
    ids = {row["id"] for row in page["notation"].select("tr[id]")} | {
        span["id"] for span in page["notation"].select("span[id]")
    }
    assert {a["href"].split("#")[1] for a in vae.select("a.term")} <= ids


def test_an_equation_and_a_section_have_their_anchor(page):
    vae = page["24_vae"]
    equation = vae.select_one("a.equation")
    assert equation["href"] == "#equation-24-1" and vae.select_one("#equation-24-1.math")
    assert vae.select_one("a.section")["href"] == "#" + section(vae, "24.2")["id"]
    other = page["02_pca"].select_one("a.section")
    assert other["href"] == "24_vae.html#" + section(vae, "24.1")["id"]
    assert "Chapter 24, VAE" in other["title"]


def test_read_next_and_references(page):
    more = section(page["24_vae"], "24.2")
    assert "chapter 2 (PCA)" in [a.get_text() for a in more.select("a")]
    flow = more.select_one("span.planned")
    assert flow.get_text() == "25 Flows" and flow["title"] == "planned: Flows"
    assert flow["tabindex"] == "0"
    inside, outside = [a["href"] for a in more.select("a.cite")]
    assert inside == "../book/references.html#ref-kingma2014"
    assert outside == "https://arxiv.org/abs/1312.6114"
    assert page["references"].select_one("#ref-kingma2014")


def test_items_lead_to_rows_of_the_map(page):
    vae = page["24_vae"]
    assert [a["href"] for a in vae.select("a.item")] == [
        f"../book/lecture_map.html#item-{id}" for id in ("a87", "a88", "a88")
    ]
    assert page["lecture_map"].select_one("#item-a88")
    assert page["lecture_map"].select_one("#chapter-25.planned-chapter")
    assert not page["lecture_map"].select_one("#chapter-24.planned-chapter")


# ---- the sidebar ---------------------------------------------------------------------------------

SIDEBAR = """<p class="caption"><span class="caption-text">Text</span></p>
<ul class="nav bd-sidenav"><li class="toctree-l1"><a href="#">8 A</a></li></ul>
<p class="caption"><span class="caption-text">Images</span></p>
<ul class="current nav bd-sidenav"><li class="toctree-l1"><a href="#">19 C</a></li>
<li class="toctree-l1"><a href="#">24 E</a></li></ul>
<p class="caption"><span class="caption-text">Look up</span></p>
<ul class="nav bd-sidenav"><li class="toctree-l1"><a href="#">Data</a></li></ul>"""


def test_planned_chapters_stand_grey_in_their_place():
    parts = {
        "Text": [(8, "A", True)],
        "Chat": [(11, "B", False), (12, "B2", False)],
        "Images": [(19, "C", True), (20, "D", False), (24, "E", True), (25, "F", False)],
    }
    soup = linking.add_planned(BeautifulSoup(SIDEBAR, "html.parser"), parts)
    entries = [e.get_text(" ", strip=True) for e in soup.select("p.caption, li")]
    assert entries == [
        "Text", "8 A", "Chat", "11 B planned", "12 B2 planned", "Images", "19 C", "20 D planned",
        "24 E", "25 F planned", "Look up", "Data",
    ]  # fmt: skip
    assert not soup.select("li.planned a") and len(soup.select("ul > li.planned")) == 4


# ---- the card ------------------------------------------------------------------------------------


@pytest.fixture
def small(browser, tmp_path):
    for name in ("links.css", "links.js"):
        (tmp_path / name).write_bytes((ROOT / "book/_assets" / name).read_bytes())
    path = tmp_path / "page.html"
    path.write_text(
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="links.css">'
        '<meta name="viewport" content="width=device-width"><script src="links.js"></script>'
        '<article class="bd-article"><p><a class="reference" id="a" href="#x" title="One · Two">'
        'a</a> <span class="planned" id="b" tabindex="0" title="planned: B">b</span></p>'
        '<p style="position:fixed;right:0;bottom:0;margin:0">'
        f'<a class="reference" id="c" href="#x" title="C · {"word " * 60}">c</a></p>'
        '<p style="margin:3000px 0"><a class="reference" id="d" href="#x" title="D">d</a></p>'
        "</article>",
        encoding="utf-8",
    )
    browser.open(path, width=390)
    return browser


CARD = "(c => c.hidden ? '' : c.innerText)(document.querySelector('#hover-card'))"


def move(browser, x, y):
    browser.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def centre(browser, id):
    box = "const b = document.getElementById(arguments[0]).getBoundingClientRect();"
    return browser.js(f"{box} return [b.x + b.width / 2, b.y + b.height / 2]", id)


def press(browser, key, code):
    for kind in ("keyDown", "keyUp"):
        browser.cdp(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
        )


def test_a_card_under_the_pointer(small):
    move(small, *centre(small, "a"))
    small.wait(f"return {CARD}.includes('One')")
    assert small.js(f"return {CARD}").split() == ["One", "Two"]
    assert not small.js("return document.getElementById('a').hasAttribute('title')")
    assert small.js("return document.getElementById('a').getAttribute('aria-describedby')")
    # It stays while the pointer is on it, and goes when the pointer leaves.
    box = "const b = document.querySelector('#hover-card').getBoundingClientRect();"
    move(small, *small.js(f"{box} return [b.x + 5, b.y + 5]"))
    time.sleep(0.6)  # longer than it waits for the pointer to come back
    assert small.js(f"return {CARD} !== ''")
    move(small, 200, 600)
    small.wait(f"return {CARD} === ''")
    assert small.js("return document.getElementById('a').title") == "One · Two"
    assert small.errors() == []


def test_a_card_by_the_keyboard(small):
    press(small, "Tab", 9)
    assert small.js(f"return {CARD}").split() == ["One", "Two"]
    press(small, "Tab", 9)
    assert small.js(f"return {CARD}").split() == ["planned:", "B"]
    press(small, "Escape", 27)
    assert small.js(f"return {CARD}") == ""
    assert small.js("return document.activeElement.id") == "b"
    assert small.js("return document.activeElement.title") == "planned: B"


ROOM = """
const b = document.querySelector('#hover-card').getBoundingClientRect();
return Math.min(b.left, b.top, innerWidth - b.right, innerHeight - b.bottom);
"""


def test_a_card_stays_inside_the_window(small):
    move(small, *centre(small, "c"))
    small.wait(f"return {CARD} !== ''")
    assert small.js(ROOM) >= 0 and small.overflow() == 0


def test_a_card_goes_with_its_link_when_the_page_moves(small):
    for _ in range(4):
        press(small, "Tab", 9)
    assert small.js("return document.activeElement.id") == "d"
    small.wait("return window.scrollY > 1000")
    small.wait(f"return {CARD} === 'D'")
    small.wait(f"return (() => {{{ROOM}}})() >= 0")
    small.js("window.scrollTo({top: 0, behavior: 'instant'})")
    small.wait(f"return {CARD} === ''")
