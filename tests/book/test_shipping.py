"""What a page is left with: icons, needed files, plots in dark mode, the text that is searched."""

import base64
import io
import random
import re
from pathlib import Path

import pydata_sphinx_theme
import pytest
from PIL import Image, ImageDraw

from genai_utils.book import dark, searching, shipping
from genai_utils.book.directives import started

ASSETS = Path(__file__).parents[2] / "book" / "_assets"
FONTAWESOME = (
    'var p={github:[496,512,[],"f09b","M1 2"]};x(function(){d("fab",p),d("fa-brands",p)})();'
    'var p={"file":[384,512,[128],"f15b","M3 4"]};x(function(){d("far",p)})();'
    'var p={"magnifying-glass":[512,512,[128269,"search"],"f002","M5 6"],'
    'file:[384,512,[],"f15b","M7 8"]};x(function(){d("fas",p),d("fa-solid",p)})();'
)


@pytest.fixture
def icons():
    return shipping.Icons(FONTAWESOME)


def test_an_icon_becomes_its_picture(icons):
    html = icons.place('<a><i class="fas fa-file"></i></a><span class="fab fa-github"></span>')
    assert '<path fill="currentColor" d="M7 8"/>' in html and 'd="M1 2"' in html
    assert "<i" not in html and "<span" not in html and html.count("CC BY 4.0") == 1
    assert icons.place(html) == html


def test_an_icon_keeps_its_name_its_classes_and_what_scripts_look_for(icons):
    classes = "theme-switch fa-solid fa-search fa-lg"
    html = icons.place(f'<i class="{classes}" data-mode="x" title="T"></i>')
    assert 'class="svg-inline--fa theme-switch fa-search fa-lg" data-mode="x"' in html
    assert "<title>T</title>" in html and "aria-hidden" not in html and 'd="M5 6"' in html


def test_an_icon_that_the_theme_does_not_have_stays_and_warns(icons, caplog):
    html = '<i class="fas fa-none"></i>'
    assert icons.place(html) == html and "fa-none" in caplog.text


HEAD = (
    '<script defer src="../_static/scripts/fontawesome.js?digest=1"></script>\n'
    '<script src="../searchindex.js"></script>\n'
    '<link rel="stylesheet" href="../_static/copybutton.css?v=1" />\n'
    '<script defer="defer" src="../_static/mathjax/startup.js"></script>\n'
    "<script>var togglebuttonSelector = '.toggle';</script>\n"
)


def test_a_page_loads_what_it_needs(icons):
    assert shipping.lean(HEAD, icons).strip() == ""
    html = HEAD + '<div class="highlight"></div><span class="math">x</span>'
    lean = shipping.lean(html, icons)
    assert "copybutton.css" in lean and "fontawesome" not in lean and "searchindex" not in lean
    assert lean.index('as="script" fetchpriority="low" href="../_static/mathjax/core.js"') < (
        lean.index("startup.js")
    )
    assert shipping.lean(lean, icons) == lean


PAINTED = (
    '<html data-theme="auto"><script>document.documentElement.dataset.theme = '
    'localStorage.getItem("theme") || "auto";</script><article class="a">{}</article></html>'
)


@pytest.mark.parametrize("dark", [False, True])
def test_a_page_has_its_colours_before_the_script_of_the_theme(browser, tmp_path, dark):
    page, chosen = tmp_path / "page.html", "light" if dark else "dark"
    html = shipping.coloured(PAINTED.format("text"))
    theme = "return document.documentElement.dataset.theme"
    page.write_text(html)
    browser.open(page, dark=dark)
    assert browser.js(theme) == ("dark" if dark else "light")
    # Set in the page itself: what one page stores may reach the next one late.
    page.write_text(html.replace("<script>", f"<script>localStorage.mode = '{chosen}';", 1))
    browser.open(page, dark=dark)
    found = browser.js(theme)
    browser.js("localStorage.clear()")
    assert found == chosen


def test_what_does_not_work_without_scripts_is_told_where_it_is_missed():
    plain, formula = PAINTED.format("text"), PAINTED.format('<span class="math">x</span>')
    assert "noscript" not in shipping.coloured(plain)
    told = shipping.coloured(formula)
    assert told.startswith('<html data-theme="light">') and told.count("<noscript>") == 1
    assert '<article class="a"><noscript>' in told and shipping.coloured(told) == told


def test_equal_style_sheets_stand_once():
    html = "<style>a</style>1<style>b</style>2<style>a</style>3"
    assert shipping.once(html) == "<style>a</style>1<style>b</style>23"


def test_long_scripts_of_figures_come_later(monkeypatch):
    monkeypatch.setattr(shipping, "_SHORT", 60)
    long = "(() => {\n" + "x" * 60 + "\n})();"
    html = f"<figure><script>{long}</script></figure><script>(() => {{\nx\n}})();</script>"
    files = {}
    page = shipping.later(html, "../_static/figures/", files)
    assert list(files.values()) == [long] and page.count("<script>") == 1
    assert f'data-later="../_static/figures/{next(iter(files))}"></script></figure>' in page
    assert shipping.later(page, "../_static/figures/", files) == page


def test_the_script_of_the_first_figure_comes_with_the_page(monkeypatch):
    monkeypatch.setattr(shipping, "_SHORT", 60)
    script = "<script>(() => {{\n{}\n}})();</script>"
    figures = [
        f'<figure class="genai genai-toy">{script.format(letter * 60)}</figure>' for letter in "abc"
    ]
    still = '<figure class="genai"><img></figure>'
    later, at_once = '<script type="text/plain" data-later=', "<script async "
    page = shipping.later("".join(figures), "figures/", {})
    assert page.count(later) == 2 and page.index(at_once) < page.index(later)
    page = shipping.later(still + "".join(figures), "figures/", {})
    assert page.count(later) == 3 and at_once not in page
    monkeypatch.setattr(shipping, "_HEAVY", 20)  # what is heavy waits, wherever it stands
    assert at_once not in shipping.later("".join(figures), "figures/", {})


def test_a_heavy_script_tells_its_size(monkeypatch):
    monkeypatch.setattr(shipping, "_SHORT", 60)
    monkeypatch.setattr(shipping, "_HEAVY", 60_000)
    noise = base64.b64encode(random.Random(0).randbytes(90_000)).decode()
    sizes = []
    for letters in (noise, "x" * len(noise), noise[:50_000]):  # what counts is what is sent
        page = shipping.later(f"<script>(() => {{\n{letters}\n}})();</script>", "", {})
        sizes.append(re.findall(' data-size="([^"]*)"', page))
    assert sizes == [["0.1 MB"], [], []]


HEAVY = """<!doctype html><body>
<figure><div>still</div><script type="text/plain" data-later="FILE" data-size="0.6 MB"></script>
</figure><figure><div>still</div><script type="text/plain" data-later="near.js"></script></figure>
"""
TOY = """(() => {
  const figure = document.currentScript.closest("figure");
  figure.dataset.ready = "yes";
  figure.append(document.createElement("button"));
})();"""


def test_what_is_heavy_comes_when_the_reader_asks(browser, tmp_path):
    for name in ("heavy", "near"):
        (tmp_path / f"{name}.js").write_text(TOY)
    site = (ASSETS / "site.js").read_text()
    page = tmp_path / "page.html"
    page.write_text(HEAVY.replace("FILE", "heavy.js") + f"<script>{site}</script>")
    browser.open(page)
    figures = "document.querySelectorAll('figure')"
    browser.wait(f"return {figures}[1].dataset.ready")
    assert not any(url.endswith("/heavy.js") for url in browser.requests())
    button = "document.querySelector('.genai-load')"
    assert browser.js(f"return {button}.textContent") == "Run it here (loads 0.6 MB)"
    browser.js(f"{button}.focus(); {button}.click(); {button}.click()")
    browser.wait(f"return {figures}[0].dataset.ready && !{button}")
    assert browser.js(f"return document.activeElement === {figures}[0].querySelector('button')")
    assert (
        sum(url.endswith("/heavy.js") for url in browser.requests()) == 1 and browser.errors() == []
    )


def test_what_did_not_come_can_be_asked_for_again(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        HEAVY.replace("FILE", "late.js").replace('"near.js"', '"late2.js" data-size="1 MB"')
        + f"<script>{(ASSETS / 'site.js').read_text()}</script>"
    )
    browser.open(page)
    button = "document.querySelector('.genai-load')"
    browser.js(f"{button}.click()")
    browser.wait(f"return {button}.textContent.includes('Try again')")
    (tmp_path / "late.js").write_text(TOY)
    browser.js(f"{button}.click()")
    browser.wait("return document.querySelector('figure').dataset.ready")


CSS = """@charset "UTF-8";/*! Licence */:root{--a:1}.here,.gone{a:b}
.gone{c:d}a.gone:hover,b .gone{c:d}.here:not(.gone, .lost){e:f}:is(.gone,.here) p{g:h}
@media (min-width:1px){.gone{i:j}.here{k:l}}@media print{.gone{i:j}}@keyframes gone{0%{m:n}to{o:p}}
.w\\.5{q:r}[title=".gone"]{s:t}h1,h2{u:v}"""
LEFT = """@charset "UTF-8";/*! Licence */:root{--a:1}.here{a:b}.here:not(.gone, .lost){e:f}
:is(.gone,.here) p{g:h}@media (min-width:1px){.here{k:l}}@keyframes gone{0%{m:n}to{o:p}}
.w\\.5{q:r}[title=".gone"]{s:t}h1,h2{u:v}"""


def test_a_style_sheet_keeps_the_rules_that_can_apply():
    left = shipping.fitting(CSS.replace("\n", ""), {"here"})
    assert left == LEFT.replace("\n", "") and shipping.fitting(left, {"here"}) == left
    assert shipping.fitting(CSS, {"here", "gone"}) == CSS


def test_the_theme_keeps_its_rules_but_no_fonts_of_icons():
    css = (
        '.a{b:c}.fa-x:before,.fa-y:before{content:"\\f1"}.fa-lg{font-size:1.25em}'
        "@font-face{font-family:Font Awesome\\ 6 Free;src:url(x)}@font-face{font-family:Other}"
    )
    assert shipping.lean_theme(css) == (
        ".a{b:c}.fa-lg{font-size:1.25em}@font-face{font-family:Other}"
    )


THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/scripts"
SCROLLING = """<!doctype html><body><style>pre {{ width: 200px; overflow: auto }}</style>
<div id="main-content"><pre>short</pre><pre>{long}</pre><pre tabindex="0">no longer long</pre>
<details><summary>more</summary><pre>short</pre><pre>{long}</pre></details></div>"""


def test_the_tab_key_reaches_what_scrolls_and_no_fold_is_opened_for_it(browser, tmp_path):
    theme = (THEME / "pydata-sphinx-theme.js").read_text(encoding="utf-8")
    ours = shipping.lean_script(theme)
    assert "e.clientHeight?0:-1" in theme and "genaiTabStops" in ours
    assert "e.clientHeight?0:-1" not in ours
    asked = re.search(r"window\.genaiTabStops\?\.\(.*?\.join\(\", \"\)\)\)", ours)[0]
    page = tmp_path / "page.html"
    site = (ASSETS / "site.js").read_text()
    page.write_text(SCROLLING.format(long="long " * 90) + f"<script>{site}\n{asked}</script>")
    browser.open(page)
    stops = "return [...document.querySelectorAll('pre')].map((pre) => pre.tabIndex)"
    assert browser.js(stops) == [-1, 0, -1, -1, -1]
    browser.js("document.querySelector('details').open = true")
    browser.wait(stops.replace("return", "return String(") + ") === '-1,0,-1,-1,0'")


def test_what_is_read_in_the_dark_is_printed_in_the_light(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body><script>{(ASSETS / 'site.js').read_text()}</script>")
    browser.open(page)
    send = "window.dispatchEvent(new Event('{}')); return document.documentElement.dataset.theme"
    browser.js("document.documentElement.dataset.theme = 'dark'")
    assert browser.js(send.format("beforeprint")) == "light"
    assert browser.js(send.format("beforeprint")) == "light"  # once more, before it is over
    assert browser.js(send.format("afterprint")) == "dark"


# ---- dark mode -----------------------------------------------------------------------------------


def picture(ground, ink, covered=0.2):
    image = Image.new("RGB", (100, 100), ground)
    ImageDraw.Draw(image).rectangle((0, 0, 99, round(100 * covered)), fill=ink)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure(source, caption="Loss.", frames=()):
    frames = "".join(f'"{frame}",' for frame in frames)
    return (
        f'<figure class="genai"><img class="dark-light" alt="A." src="{source}">'
        f"<figcaption>{caption}</figcaption><script>[{frames}]</script></figure>"
    )


@pytest.mark.parametrize(
    ("html", "kind"),
    [
        (figure(picture("white", "blue")), dark.PLOT),
        (figure(picture("black", "white")), dark.PICTURE),
        (figure(picture("white", "blue"), "Black: the pixel."), dark.PICTURE),
        (figure(picture("white", "blue"), frames=[picture("black", "white")]), dark.PICTURE),
    ],
)
def test_plots_are_told_from_pictures(html, kind):
    marked = dark.mark(html)
    assert f'<img class="dark-light {kind}" alt="A."' in marked
    assert dark.mark(marked) == marked


def test_the_decoded_picture_of_a_pad_is_never_a_plot():
    crisp = f'<img class="dark-light genai-crisp" alt="B." src="{picture("black", "white")}">'
    html = figure(picture("white", "blue")).replace("<figcaption>", f"{crisp}<figcaption>")
    marked = dark.mark(html)
    assert f"dark-light {dark.PLOT}" in marked and crisp in marked


def test_a_figure_whose_picture_is_no_image_of_ours_stays():
    html = figure("data:image/svg+xml;base64,PHN2Zy8+")
    assert dark.mark(html) == html


def test_in_dark_mode_a_plot_turns_its_ground_and_keeps_orange(browser, tmp_path):
    css, js = ((ASSETS / f"site.{kind}").read_text() for kind in ("css", "js"))
    page = tmp_path / "dark.html"
    plots = figure(picture("white", "#E69F00")), figure(picture("black", "white"))
    page.write_text(
        f'<!doctype html><html data-theme="dark" style="background:#121212"><style>{css}</style>'
        f"<script>{js}</script><body>{''.join(map(dark.mark, plots))}</body></html>"
    )
    browser.open(page)
    browser.wait("return document.querySelector('.genai-filter #genai-dark')")
    shot = tmp_path / "shot.png"
    browser.screenshot(shot)
    boxes = browser.js(
        "return [...document.images].map(i => {const r = i.getBoundingClientRect();"
        "return [r.x + window.scrollX, r.y + window.scrollY]})"
    )
    image = Image.open(shot).convert("RGB")
    at = [[image.getpixel((round(x) + 50, round(y) + down)) for down in (10, 80)] for x, y in boxes]
    (orange, ground), (ink, black) = at
    assert max(ground) < 40 and min(ink) > 200 and max(black) < 10
    assert orange[0] > 200 and 120 < orange[1] < 190 and orange[2] < 60


# ---- pictures ------------------------------------------------------------------------------------

SHOWN = (
    '<figure class="genai genai-figure" data-figure="x">{style}<img class="dark-light genai-plot" '
    'alt="A." src="{source}" width="{width}" height="200" style="height:auto"></figure>'
)


def test_a_large_picture_comes_in_a_file_of_its_own():
    pixels = bytes(range(256)) * 40
    source = f"data:image/png;base64,{base64.b64encode(pixels).decode()}"
    html = SHOWN.format(style="<style>a{}</style>", source=source, width=300)
    files = {}
    moved = shipping.apart(html * 2, "../figures/", files)
    [(name, kept)] = files.items()
    assert kept == pixels and name.endswith(".png") and "data:image" not in moved
    assert moved == html.replace("src=", 'loading="lazy" src=').replace(
        source, f"../figures/{name}"
    ) * 2  # fmt: skip
    assert shipping.apart(moved, "../figures/", files) == moved and len(files) == 1


@pytest.mark.parametrize(
    "change",
    [
        ("genai-figure", "genai-explorer"),  # its script shows other frames in the same place
        (' width="300"', ""),  # the page would jump
        ("data:image/png", "data:image/svg+xml"),
    ],
)
def test_other_pictures_stay_in_the_page(change):
    source = f"data:image/png;base64,{'A' * 12_000}"
    html, files = SHOWN.format(style="", source=source, width=300), {}
    assert shipping.apart(html, "", files) != html and files
    files.clear()
    html = html.replace(*change)
    assert shipping.apart(html, "", files) == html and not files
    small = html.replace(source, picture("white", "blue"))
    assert shipping.apart(small, "", files) == small and not files


# ---- search --------------------------------------------------------------------------------------

PAGE = r"""
<nav>menu</nav><article><section id="vae"><h1>24 VAE<a class="headerlink">#</a></h1>
<p>We maximise <span class="math">\(\log P(x)\)</span> with <span class="math">\(\frac12\)</span>.
</p><style>.a{}</style><svg><text>axis</text></svg><div class="highlight"><pre><span
 class="n">train_it</span><span class="p">(</span><span class="n">mu</span>
<span class="se">\\n</span><span class="s2">held</span></pre></div>
<section id="free"><h2>Free <em>bits</em></h2><p>A floor of <code>0.5</code> nats.<br>Next.</p>
<div class="admonition book-box" id="exercise-24-1"><p class="admonition-title">Exercise 24.1</p>
<p>Write it.</p></div><p>After.</p></section></section></article>
"""


def test_sections_hold_words():
    sections = {anchor: rest for anchor, *rest in searching.Sections(PAGE).found}
    assert list(sections) == ["vae", "free", "exercise-24-1"]
    assert sections["vae"] == ["24 VAE", "We maximise log P(x) with ….", "held train_it"]
    assert sections["free"] == ["Free bits", "A floor of 0.5 nats. Next. After.", ""]
    assert sections["exercise-24-1"] == ["Exercise 24.1", "Write it.", ""]


@pytest.mark.parametrize(
    ("formula", "text"),
    [(r"\(k = 3\)", "k = 3"), (r"\(\beta\)", "β"), (r"\(x_t\)", "…"), (r"\(\frac{a}{b}\)", "…")],
)
def test_simple_formulas_are_words_too(formula, text):
    assert searching.plain(formula) == text


# ---- a pad that opens elsewhere ------------------------------------------------------------------

PAD = (
    '<div class="genai-cross" style="left:50%;top:50%"></div>'
    '{"extent":4.0,"dims":[0,2],"origin":[0.0,0.5,0.0],"names":[]}'
)


def test_a_pad_opens_elsewhere():
    html = started(PAD, "-2.0, 1")
    assert '"origin":[-2.0, 0.5, 1.0]' in html and 'style="left:25%;top:37.5%"' in html


@pytest.mark.parametrize("start", ["1", "9, 0", "1, 2, 3"])
def test_a_start_off_the_pad_is_an_error(start):
    with pytest.raises(ValueError, match="two numbers on a latent pad"):
        started(PAD, start)
