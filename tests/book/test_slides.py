"""What belongs to the slides: marked by the build, hidden and shown by one switch."""

import re
import shutil
from pathlib import Path

import pytest
from docutils import nodes

from genai_utils.book import slides
from genai_utils.book.chapters import Book
from tests.book.test_pages import CARD, build, notebook, project

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
FIRST = (
    "# 2  PCA\n\n*Cost: see the run card at the end of this page.*\n\n"
    "**Lecture items:** A9, B2\n\nMore (A77)."
)
TEXTS = (
    "## The spectrum\n\nIt falls (A9, B2). That A9 holds (see A9) stays; so does `(A9)`.",
    "> **Erratum Y05.** The slide says $x$. It is *y*.\n>\n> And more.\n",
    "> **Erratum N01.** All in one: no end",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The small book's page, with the book's own style sheets and scripts beside it."""
    root = project(tmp_path_factory.mktemp("slides"))
    (root / "notebooks/02_pca.ipynb").write_text(notebook(FIRST, *TEXTS, card=CARD))
    folder, _ = build(root)
    shutil.copytree(ROOT / "book/_assets", folder / "_static", dirs_exist_ok=True)
    page = folder / "notebooks/02_pca.html"
    text = page.read_text()
    assert text.count("mathjax@3") == 1  # the small book would load it from elsewhere
    page.write_text(re.sub(r"<script [^>]*mathjax@3[^>]*></script>", "", text))
    return page


def without_links(text):
    """HTML without links and what they stand in: other parts of the build make items links."""
    text = re.sub(r"</?a\b[^>]*>", "", text)
    return re.sub(
        r'<span class="(?!slide-codes|slide-label|math)[^"]*">([^<]*)</span>', r"\1", text
    )


def test_brackets_of_items_are_marked_and_sentences_are_not(page):
    text = without_links(page.read_text())
    spans = re.findall(r'<span class="slide-codes">(.*?)</span>', text)
    assert spans == [" (A77)", " (A9, B2)"]
    assert "That A9 holds (see A9) stays" in text
    assert re.search(r'<p class="[^"]*slide-items[^"]*"><strong>Lecture items:</strong>', text)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("x (A93)", " (A93)"),
        ("(B2)", "(B2)"),
        ("x (A93, B2) y", " (A93, B2)"),
        ("x (A93 and B2)", " (A93 and B2)"),
        ("x (Y36) y", " (Y36)"),
        ("x (A93; Qiu et al. 2018)", "A93; "),
        ("x (Qiu et al. 2018; A93, B2)", "; A93, B2"),
        ("x (A93: so), A93; then", None),
        ("x (A1234) (24.3) (AB1)", None),
    ],
)
def test_what_a_bracket_of_items_is(text, marked):
    found = slides._CODES.search(text)
    assert (found and found[0]) == marked


def test_an_erratum_is_a_folded_note_whose_line_is_its_first_sentence(page):
    text = without_links(page.read_text())
    found = re.search(r'<details class="erratum" id="erratum-y05">(.*?)</details>', text, re.DOTALL)
    line, rest = found[1].split("</summary>")
    assert '<span class="slide-label">Erratum Y05</span> The slide says' in line
    assert re.search(r"\\\(x\\\)</span>\.", line) and "It is" not in line
    assert "<p>It is <em>y</em>.</p>" in rest and "<p>And more.</p>" in rest
    whole = re.search(r'id="erratum-n01">(.*?)</details>', text, re.DOTALL)[1]
    assert "All in one: no end</summary>" in whole and "<p></p>" not in whole


@pytest.mark.parametrize(
    ("parts", "taken"),
    [
        (["One. Two."], "One."),
        (["It has ", nodes.math("", "x"), ". More"], "It has x."),
        (["About 1.5 m"], "About 1.5 m"),
        (['He says "so." Then'], 'He says "so."'),
        (["What? No."], "What?"),
    ],
)
def test_a_first_sentence(parts, taken):
    parts = [nodes.Text(p) if isinstance(p, str) else p for p in parts]
    paragraph = nodes.paragraph("", "", *parts)
    assert "".join(p.astext() for p in slides._first_sentence(paragraph)) == taken


def test_a_page_without_the_slides_has_no_switch(tmp_path):
    root = project(tmp_path)
    cost = "# 2  PCA\n\n*Cost: see the run card at the end of this page.*\n\nNothing."
    (root / "notebooks/02_pca.ipynb").write_text(notebook(cost, card=CARD))
    folder, _ = build(root)
    assert "slides-switch" not in (folder / "notebooks/02_pca.html").read_text()


SEEN = """
const seen = e => e.getClientRects().length > 0;
return {
  codes: [...document.querySelectorAll('.slide-codes')].some(seen),
  items: seen(document.querySelector('.slide-items')),
  open: [...document.querySelectorAll('details.erratum')].map(d => d.open),
  pressed: document.querySelector('.slides-switch').getAttribute('aria-pressed'),
};
"""
OFF = {"codes": False, "items": False, "open": [False, False], "pressed": "false"}
ON = {"codes": True, "items": True, "open": [True, True], "pressed": "true"}


def test_the_switch_shows_hides_and_is_remembered(page, browser):
    browser.open(page)
    browser.js("try { localStorage.clear() } catch {}")
    browser.open(page)
    assert browser.js(SEEN) == OFF
    assert "It falls." in browser.js("return document.body.innerText")
    # By the keyboard: it is a button.
    browser.js("document.querySelector('.slides-switch').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.cdp("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", text=" ",
                    windowsVirtualKeyCode=32)  # fmt: skip
    assert browser.js(SEEN) == ON
    browser.open(page)
    assert browser.js(SEEN) == ON
    browser.js("document.querySelector('.slides-switch').click()")
    browser.open(page)
    assert browser.js(SEEN) == OFF and browser.errors() == []


def test_a_refused_storage_does_no_harm(page, browser):
    refuse = (
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no') }})"
    )
    name = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source=refuse)["identifier"]
    try:
        browser.open(page)
        assert browser.js(SEEN) == OFF
        browser.js("document.querySelector('.slides-switch').click()")
        assert browser.js(SEEN) == ON
        assert [e for e in browser.errors() if "slides.js" in e] == []  # Sphinx's own do complain
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=name)


def test_a_link_unfolds_what_it_leads_to(page, browser):
    opened = "return document.querySelector('#erratum-n01').open"
    browser.open(f"{page.as_uri()}#erratum-n01")
    assert browser.js(opened)
    browser.open(page)
    assert not browser.js(opened)
    browser.js("location.hash = 'erratum-n01'")
    browser.wait(opened)
    # The same link once more, after the reader has folded the note.
    browser.js(
        "document.querySelector('#erratum-n01').open = false;"
        "const a = document.createElement('a'); a.href = '#erratum-n01'; document.body.append(a);"
        "a.click()"
    )
    assert browser.js(opened) and browser.errors() == []


def test_without_javascript_all_is_there(page):
    text = page.read_text()
    assert "data-slides" not in text and "hidden" in slides.SWITCH
    css = (ROOT / "book/_assets/slides.css").read_text(encoding="utf-8")
    hidden = [rule for rule in css.split("}") if "display: none" in rule and "slide-codes" in rule]
    assert len(hidden) == 1 and 'html[data-slides="off"] .slide-codes' in hidden[0]


@pytest.mark.parametrize("name", BOOK.chapters)
def test_the_line_of_each_erratum_is_short_enough_to_say_what_the_slide_says(name):
    for text in BOOK.chapters[name].prose:
        for quote in re.findall(r"^> \*\*Erratum [NY]\d\d\.\*\* (.*)$", text, re.MULTILINE):
            assert len(slides._SENTENCE.split(quote)[0]) < 220
