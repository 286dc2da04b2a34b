"""The built book: no warning, links that lead somewhere, and every page opened in a browser."""

import functools
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from genai_utils.book.chapters import Book, address
from tests.book.reading import Quiet, measure, reads

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
PAGES = [f"book/{path.stem}" for path in sorted((ROOT / "book").glob("*.md"))]
PAGES += [f"notebooks/{name}" for name in BOOK.chapters]

# The browser's own way to say what cannot be seen: formulas set, and none of them with an error.
MATHS = """
const want = document.querySelectorAll('.math').length;
const have = document.querySelectorAll('.math mjx-container').length;
return want === 0 || (have >= want && !document.querySelector('mjx-merror, [data-mjx-error]'));
"""
ALT = "return [...document.images].filter(image => !(image.alt || '').trim()).length"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built book; the build must end without a warning."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(ROOT),
        "--path-output", str(out), "-W", "--keep-going", "--all",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    assert done.returncode == 0, "\n".join(warnings) or done.stderr[-3000:]
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def server(site):
    """The address of the book below a sub-path, as on GitHub Pages: http://127.0.0.1:…/html/."""
    handler = functools.partial(Quiet, directory=str(site.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/{site.name}/"
        http.shutdown()


# ---- without a browser ---------------------------------------------------------------------------


class Page(HTMLParser):
    """The ids, links and resources of one page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.resources = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.update(filter(None, (attributes.get("id"), attributes.get("name"))))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        source = attributes.get("src")
        if tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload"):
            source = attributes.get("href")
        if source and not source.startswith("data:"):
            self.resources.append(source)


@pytest.fixture(scope="session")
def pages(site):
    found = {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}
    assert found
    return found


def test_every_page_of_the_book_is_built(site):
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert set(PAGES) <= built
    ours = {page for page in built if page.startswith(("book/", "notebooks/"))}
    assert ours == set(PAGES), "a page that is in no table of contents, or the other way round"


def test_links_between_pages_lead_somewhere(site, pages):
    lost = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(urljoin(f"http://here/{name}", link))
            target = unquote(parts.path).lstrip("/") or "index.html"
            if parts.netloc != "here" or target.startswith("_sources/"):
                continue
            ids = pages[target].ids if target in pages else ()
            if not (site / target).is_file() or (parts.fragment and parts.fragment not in ids):
                lost.append((name, link))
    assert lost == []


def test_nothing_is_loaded_from_another_host(pages):
    foreign = {(name, r) for name, p in pages.items() for r in p.resources if urlsplit(r).netloc}
    assert foreign == set()


def test_notebook_pages_have_their_buttons(pages):
    where = address(ROOT).removeprefix("https://github.com/")
    for name in BOOK.chapters:
        links = pages[f"notebooks/{name}.html"].links
        path = f"{where}/blob/main/notebooks/{name}.ipynb"
        assert f"https://colab.research.google.com/github/{path}" in links
        assert f"https://kaggle.com/kernels/welcome?src=https://github.com/{path}" in links


def test_boxes_and_run_cards_have_anchors_and_the_lists_lead_to_them(pages):
    errata, lectures = pages["book/errata.html"], pages["book/lecture_map.html"]
    for name, chapter in BOOK.chapters.items():
        page = pages[f"notebooks/{name}.html"]
        assert "run-card" in page.ids
        for id in chapter.errata:
            assert f"erratum-{id.lower()}" in page.ids
            assert f"../notebooks/{name}.html#erratum-{id.lower()}" in errata.links
        for number in chapter.exercises:
            assert f"exercise-{number.replace('.', '-')}" in page.ids
        shown = [link for link in lectures.links if link.startswith(f"../notebooks/{name}.html#")]
        assert len(shown) >= len(chapter.claims)


# ---- in a browser --------------------------------------------------------------------------------


def settle(browser):
    browser.wait("return document.readyState === 'complete'")
    browser.wait(MATHS)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_in_a_browser(page, browser, server, site):
    folder = site.as_uri() + "/"
    for start, width, dark, wide in (
        (server, 1280, False, False),
        (server, 390, False, True),  # a phone whose font is wider than this machine's
        (folder, 390, True, False),
    ):
        browser.open(f"{start}{page}.html", width=width, dark=dark, wide=wide)
        settle(browser)
        assert browser.errors() == []
        asked = browser.requests()
        assert asked and [url for url in asked if not url.startswith(start)] == []
        assert browser.js(ALT) == 0
        assert browser.overflow() == 0
        if width == 1280 and page.startswith("notebooks/"):
            reads_as_a_page(browser)


def reads_as_a_page(browser):
    """A picture at the top, little code, no endless page; a stranger sees no mark of a tool."""
    found = reads(browser)
    assert found["picture"] < 1500 and found["code"] < 0.25 and found["height"] < 45_000
    text = browser.js("return document.querySelector('article.bd-article').textContent")
    assert not re.search(r"NBVAL|fmt: skip|# noqa|run\.record\(", text)


def test_the_first_page_leads_to_the_intro(browser, server):
    browser.open(server)
    browser.wait("return location.pathname.endsWith('/book/intro.html')")
    browser.wait("return document.querySelector('h1')")


@pytest.mark.parametrize(
    ("query", "chapter"),
    [("free bits", "24_vae"), ("eckart", "02_pca"), ("blind spot", "20_pixel_models")],
)
def test_the_search_shows_words_and_lands_at_the_section(
    query, chapter, browser, site, server, pages
):
    for start in (server, site.as_uri() + "/"):
        browser.open(f"{start}search.html?q={query.replace(' ', '+')}", width=390)
        browser.wait("return document.querySelector('#search-results li a')")
        results = browser.js(
            "return [...document.querySelectorAll('#search-results li')]"
            ".map(item => [item.querySelector('a').href, item.innerText])"
        )
        assert results[0][0].startswith(f"{start}notebooks/{chapter}.html#")
        for link, text in results:
            page, _, anchor = link.removeprefix(start).partition("#")
            assert anchor in pages[page].ids and "\\" not in text and "$" not in text
        assert query in results[0][1].lower()
        assert browser.requests() and browser.errors() == [] and browser.overflow() == 0


KEY = """
const element = arguments[0];
element.scrollIntoView({block: 'center', behavior: 'instant'});
element.focus({preventScroll: true});
return document.activeElement === element;
"""
# A typewriter has letters in place of a picture, and toys have hands of their own.
OWN = "[data-explorer=typewriter], [data-explorer=toy], [data-explorer=softmax], "
OWN += "[data-explorer=attention]"
EXPLORERS = f"[data-explorer]:not({OWN})"

COME = f"""
const figure = document.querySelectorAll('{EXPLORERS}')[arguments[0]];
figure.scrollIntoView({{block: 'center', behavior: 'instant'}});
"""
LOOK = f"""
const figure = document.querySelectorAll('{EXPLORERS}')[arguments[0]];
const canvas = figure.querySelector('canvas.genai-decoded, .genai-screen canvas, canvas');
return canvas ? canvas.toDataURL() : figure.querySelector('img').src;
"""


def key(browser, element, name, code):
    assert browser.js(KEY, element), "the keyboard does not reach it"
    pressed = {"key": name, "code": name, "windowsVirtualKeyCode": code}
    for kind in ("keyDown", "keyUp"):
        browser.cdp("Input.dispatchKeyEvent", type=kind, **pressed)


def changed(browser, index, before):
    browser.wait(f"return (() => {{{LOOK}}})(...arguments) !== arguments[1]", index, before)


@pytest.mark.parametrize("page", ["book/intro", *(f"notebooks/{name}" for name in BOOK.chapters)])
def test_every_explorer_changes_its_picture(page, browser, server):
    browser.open(f"{server}{page}.html", width=1280)
    settle(browser)
    count = browser.js(f"return document.querySelectorAll('{EXPLORERS}').length")
    assert count >= 1
    for index in range(count):
        browser.js(COME, index)  # the frames come when the reader comes
        browser.wait(
            f"return document.querySelectorAll('{EXPLORERS}')[arguments[0]].genaiReady", index
        )
        handles = browser.js(
            f"return [...document.querySelectorAll('{EXPLORERS}')[arguments[0]]"
            ".querySelectorAll('input[type=range], [role=application]')]",
            index,
        )
        assert handles, f"explorer {index} has nothing to move"
        for handle in handles:
            before = browser.js(LOOK, index)
            at_end = browser.js("return arguments[0].max === arguments[0].value", handle)
            key(browser, handle, *(("ArrowLeft", 37) if at_end else ("ArrowRight", 39)))
            changed(browser, index, before)
    assert browser.errors() == []


@pytest.mark.parametrize("name", BOOK.chapters)
def test_a_typewriter_goes_on(name, browser, server):
    if not any('data-explorer="typewriter"' in html for html in BOOK.chapters[name].html()):
        pytest.skip(f"{name} has no typewriter")
    browser.open(f"{server}notebooks/{name}.html", width=390)
    settle(browser)
    figure = "document.querySelector('[data-explorer=typewriter]')"
    browser.js(f"{figure}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    browser.wait(f"return {figure}.genaiReady")
    text = f"{figure}.querySelector('.genai-tokens').textContent"
    before = browser.js(f"return {text}")
    browser.js("document.querySelector('[data-explorer=typewriter] .genai-go').click()")
    browser.wait(f"return {text}.length > arguments[0].length + 20", before)
    assert browser.js(f"return {text}").startswith(before) and browser.errors() == []


@pytest.mark.parametrize("name", BOOK.chapters)
def test_what_plays_by_itself_is_ready_when_the_reader_comes(name, browser, server):
    browser.open(f"{server}notebooks/{name}.html", width=390)
    settle(browser)
    for index in range(browser.js(f"return document.querySelectorAll('{OWN}').length")):
        figure = f"document.querySelectorAll('{OWN}')[{index}]"
        browser.js(f"{figure}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        browser.js(f"{figure}.querySelector('.genai-load')?.click()")  # what is heavy waits for it
        browser.wait(f"return {figure}.genaiReady")
    assert browser.errors() == [] and browser.overflow() == 0


PAD = """
const figure = document.querySelector('[data-explorer=pad]');
const pad = figure.querySelector('[role=application]');
pad.scrollIntoView({block: 'center', behavior: 'instant'});
const box = pad.getBoundingClientRect();
const index = [...document.querySelectorAll('[data-explorer]')].indexOf(figure);
return [index, box.x + 0.8 * box.width, box.y + 0.2 * box.height];
"""


@pytest.mark.parametrize("name", BOOK.chapters)
def test_a_pad_follows_the_pointer(name, browser, server):
    if not any('data-explorer="pad"' in html for html in BOOK.chapters[name].html()):
        pytest.skip("it has no latent pad")
    browser.open(f"{server}notebooks/{name}.html", width=1280)
    settle(browser)
    browser.js(PAD)
    browser.wait("return document.querySelector('[data-explorer=pad]').genaiReady")
    index, x, y = browser.js(PAD)
    before = browser.js(LOOK, index)
    click = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        browser.cdp("Input.dispatchMouseEvent", type=kind, **click)
    changed(browser, index, before)


NUMBERS = """
const boxes = [...document.querySelectorAll('div.math')]
  .filter(box => box.querySelector('mjx-labels'));
const wide = boxes.filter(box => box.scrollWidth > box.clientWidth + 2);
const seen = (e) => e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().right <= 390;
const number = (box) => box.classList.contains('number-below') ? box.nextElementSibling
  : box.querySelector('mjx-labels mjx-mtext');
return [boxes.length, boxes.filter(box => !seen(number(box))).length,
  wide.filter(box => !box.classList.contains('more-right')).length,
  document.querySelectorAll('.formula-number').length];
"""


@pytest.mark.parametrize("name", ["02_pca", "24_vae"])
def test_a_phone_shows_the_number_of_each_formula(name, browser, server):
    browser.open(f"{server}notebooks/{name}.html", width=390)
    settle(browser)
    browser.wait(f"{NUMBERS.replace('return', 'const found =')} return found[1] === 0")
    count, unseen, without_a_hint, _ = browser.js(NUMBERS)
    assert count > 2 and unseen == without_a_hint == 0
    browser.open(f"{server}notebooks/{name}.html", width=1280)
    settle(browser)
    assert browser.js(NUMBERS)[3] == 0


CAPTIONS = """
return [...document.querySelectorAll('figure:is(.genai-figure, .genai-drawing) > figcaption')]
  .filter(caption => caption.offsetParent && !caption.closest('.toy'))
  .map(caption => {
    const box = caption.getBoundingClientRect();
    const shown = caption.parentElement.querySelector('img, svg').getBoundingClientRect();
    const outside = document.elementFromPoint(
      (window.scrollTo(0, window.scrollY + box.top - 300), box.left + box.width / 2),
      caption.getBoundingClientRect().top + box.height / 2);
    return [box.left >= shown.right, box.top >= shown.bottom, caption.contains(outside)];
  });
"""


@pytest.mark.parametrize("name", ["01_clustering", "24_vae"])
def test_captions_stand_in_the_margin_where_there_is_one(name, browser, server):
    for width, beside in ((1680, True), (1280, False), (390, False)):
        browser.open(f"{server}notebooks/{name}.html", width=width)
        settle(browser)
        captions = browser.js(CAPTIONS)
        assert len(captions) > 3
        assert captions == [[beside, not beside, True]] * len(captions)
        assert browser.overflow() <= 0


def test_these_tests_can_fail(browser, tmp_path, server):
    """A page with every fault at once: each of the checks above sees its own."""
    path = tmp_path / "bad.html"
    path.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width">'
        '<img src="http://127.0.0.1:9/none.png"><div style="width:2000px">wide</div>'
        '<span class="math">\\(x\\)</span><script>undefinedName()</script>',
        encoding="utf-8",
    )
    browser.open(path, width=390)
    assert browser.overflow() > 0
    assert any("undefinedName" in message for message in browser.errors())
    assert any("127.0.0.1:9" in url for url in browser.requests())
    assert browser.js(ALT) == 1
    assert browser.js(MATHS) is False


def test_a_page_of_nothing_but_code_is_seen_as_such(browser, tmp_path):
    path = tmp_path / "code.html"
    path.write_text(
        '<!doctype html><article class="bd-article"><p>x</p><div class="cell_input"><pre>'
        + "x = 1\n" * 4_000
        + '</pre></div><details><div class="cell_input"><pre>hidden</pre></div></details>'
        '<img hidden alt="x" width="200" height="200"></article>',
        encoding="utf-8",
    )
    found = measure(browser, path)
    assert found["code"] > 0.9 and found["picture"] > 1500 and found["height"] > 45_000
    dot = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    path.write_text(
        '<!doctype html><article class="bd-article"><img alt="x" width="200" height="200" '
        f'src="data:image/gif;base64,{dot}"><p>text</p></article>',
        encoding="utf-8",
    )
    found = measure(browser, path)
    assert found["code"] == 0 and found["picture"] < 100


def test_a_wider_font_is_forced_on_text_and_on_what_formulas_hide(browser, tmp_path):
    path = tmp_path / "font.html"
    path.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width">'
        "<mjx-container><i>some words</i><mjx-math><i>some words</i></mjx-math>"
        "<mjx-assistive-mml><i>some words</i></mjx-assistive-mml></mjx-container>",
        encoding="utf-8",
    )
    widths = "return [...document.querySelectorAll('i')].map(i => i.getBoundingClientRect().width)"
    seen = []
    for wide in (False, True, False):
        browser.open(path, width=390, wide=wide)
        seen.append(browser.js(widths))
    assert seen[0] == seen[2]
    text, formula, hidden = (b / a for a, b in zip(*seen[:2], strict=True))
    assert text > 1.1 and formula == 1 and hidden > 1.3
