"""What a visit costs: each built page is left with what it needs.

When all pages are written, each is read once more (`lean`). Its icons become small pictures in the
page, out of the theme's own file of two thousand, which then is left out of pages and output.
Scripts and style sheets of functions that the page does not have go. What several outputs of a
notebook bring, each in a copy of its own, is kept once. Pictures, and the frames and weights of
explorers, come when the reader comes near them: they are nearly all of a chapter. What the first
figure needs comes at once, before the rest of the page is read. What is heavy comes when the reader
asks for it. Plots are marked for dark mode (`dark`), and the text of the
sections is written down for the search (`searching`). The theme's style sheets keep the rules of
which a page can have the classes.
"""

import base64
import gzip
import hashlib
import re
from html import escape
from pathlib import Path

from sphinx.util import logging

from genai_utils.book import dark, searching

log = logging.getLogger(__name__)

# What a page loads -> what in the page needs it; None: nothing does.
_NEEDED_BY = {
    r"scripts/fontawesome\.js": None,
    r"sphinx-thebe\.css": None,
    # The theme loads these for a search while one types, which is switched off. The search page
    # has the text of the sections instead of the index.
    r"searchindex\.js": None,
    r"(?:searchtools|language_data)\.js": r'id="search-results"',
    r"mathjax/\S+\.js": r'class="[^"]*\bmath\b',
    r"togglebutton\.(?:js|css)": r'class="(?:[^"]* )?(?:toggle\b(?!-)|admonition [^"]*dropdown\b)',
    r"design-tabs\.js": r'class="[^"]*\bsd-tab-set\b',
    r"sphinx-design\.min\.css": r'class="[^"]*\bsd-',
    r"mystnb\.\w+\.css": r'class="(?:[^"]* )?cell[ "]',
    r"(?:copybutton|clipboard\.min)\.(?:js|css)": r'class="[^"]*\bhighlight\b',
}
# MathJax asks for its parts one after the other; told beforehand, the browser loads them at once.
_MATHJAX = ("core", "input/tex", "output/chtml", "output/chtml/fonts/tex", "a11y/assistive-mml")
_LOADED = re.compile(
    r'[ \t]*<(?:script|link)\b[^>]*\b(?:src|href)="(?P<file>[^"?]+)[^"]*"[^>]*>(?:</script>)?\n?'
)
_INLINE = r"[ \t]*<script\b[^>]*>[^<]*?(?:%s)[^<]*</script>\n?"
_THEBE = re.compile(_INLINE % r"requestKernel|kernelName")
_TOGGLE = re.compile(_INLINE % r"toggleHint|toggleOpenOnPrint|togglebuttonSelector")
_STARTUP = re.compile(r'<script[^>]* src="([^"]*mathjax/)startup\.js[^>]*></script>')
_SCRIPT = re.compile(r"<script>(\(\(\) => \{\n.*?\n\}\)\(\);)</script>", re.DOTALL)
_SHORT = 8_000  # letters of a figure's script or picture that stays in the page
_HEAVY = 500_000  # bytes of a script, compressed, from which on the reader is asked
# A picture that no script of its figure shows; its size is told, so that nothing moves.
_PICTURE = re.compile(
    r'(<figure class="genai genai-figure"[^>]*>(?:<style>[^<]*</style>)?<img [^>]*?)'
    r'src="data:image/(png|webp);base64,([A-Za-z0-9+/=]+)"(?=[^>]* width="\d+" height="\d+")'
)
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


def lean(html, icons):
    """A page with its icons in place and without what it does not use; again: the same page."""

    def load(found):
        for file, needs in _NEEDED_BY.items():
            if re.search(rf"(?:^|/){file}$", found["file"]):
                return found[0] if needs and re.search(needs, html) else ""
        return found[0]

    html = _THEBE.sub("", _LOADED.sub(load, html))
    if "togglebutton.js" not in html:
        html = _TOGGLE.sub("", html)
    return once(icons.place(ahead(coloured(html))))


# The theme knows its colours when all scripts have run, which takes a slow telephone seconds.
_THEME = 'dataset.theme = localStorage.getItem("theme") || "auto"'
_AT_ONCE = (
    "dataset.theme = { light: 'light', dark: 'dark' }[localStorage.getItem('mode')]"
    " ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')"
)
_WITHOUT = (
    "<noscript><p><em>Without JavaScript formulas stand as TeX, and figures do not move."
    "</em></p></noscript>"
)


def coloured(html):
    """The page with its colours from the beginning, and without JavaScript too, which it tells."""
    html = html.replace(_THEME, _AT_ONCE, 1)
    html = re.sub(r'(<html\b[^>]*\bdata-theme=)"auto"', r'\1"light"', html, count=1)
    needs = re.search(r'data-explorer="|class="[^"]*\bmath\b', html) and _WITHOUT not in html
    return re.sub(r"<article\b[^>]*>", rf"\g<0>{_WITHOUT}", html, count=1) if needs else html


def ahead(html):
    """The page with a word on the parts of MathJax beside the script that will ask for them."""
    found = _STARTUP.search(html)
    if not found or f'{found[1]}core.js"' in html:
        return html
    attributes = 'rel="preload" as="script" fetchpriority="low"'  # behind the first figure
    links = (f'<link {attributes} href="{found[1]}{part}.js" />' for part in _MATHJAX)
    return html.replace(found[0], "\n".join([*links, found[0]]), 1)


def once(html):
    """The page with each style sheet of its outputs in the first place where it stands only."""
    seen = set()

    def keep(found):
        again = found[0] in seen
        seen.add(found[0])
        return "" if again else found[0]

    return _STYLE.sub(keep, html)


def later(html, path, files):
    """The page with the long scripts of its figures in files of their own.

    site.js loads one when the reader comes near the figure, by a script element in the same place:
    it finds its figure as before, and from a folder as well. Before a heavy one it asks, in a
    button that tells its size. That of the first figure is loaded at once: a slow telephone works
    at the rest of a chapter for many seconds, and the toy at its top need not wait for that.
    files: name -> text, added to.
    """
    first = re.search(r'<figure class="genai\b.*?</figure>', html, re.DOTALL)

    def move(found):
        if len(found[1]) < _SHORT:
            return found[0]
        name = f"{hashlib.sha256(found[1].encode()).hexdigest()[:16]}.js"
        files[name] = found[1]
        size = ""
        if len(found[1]) > _HEAVY and (packed := len(gzip.compress(found[1].encode(), 6))) > _HEAVY:
            size = f' data-size="{packed / 1e6:.1f} MB"'
        if first and first.start() < found.start() < first.end() and not size:
            return f'<script async fetchpriority="high" src="{path}{name}"></script>'
        return f'<script type="text/plain" data-later="{path}{name}"{size}></script>'

    return _SCRIPT.sub(move, html)


def apart(html, path, files):
    """The page with its large pictures in files of their own, loaded when the reader comes near.

    files: name -> bytes, added to.
    """

    def move(found):
        before, kind, letters = found.groups()
        if len(letters) < _SHORT:
            return found[0]
        picture = base64.b64decode(letters)
        name = f"{hashlib.sha256(picture).hexdigest()[:16]}.{kind}"
        files[name] = picture
        return f'{before}loading="lazy" src="{path}{name}"'

    return _PICTURE.sub(move, html)


class Icons:
    """The icons of Font Awesome 6, by set and name, read from the theme's own file.

    Icons by Font Awesome (https://fontawesome.com), CC BY 4.0. Each page says so beside the first.
    """

    _SETS = {"fab": "fab", "fa-brands": "fab", "far": "far", "fa-regular": "far"}  # else "fas"
    _CREDIT = "<!-- Icons: Font Awesome Free, https://fontawesome.com/license/free, CC BY 4.0 -->"
    _ICON = re.compile(
        r'(?:"(?P<quoted>[\w-]+)"|(?P<name>\w+)):\[(?P<width>\d+),(?P<height>\d+),'
        r'\[(?P<aliases>[^\[\]]*)\],"\w*","(?P<path>[^"]*)"\]'
    )
    _ELEMENT = re.compile(
        r'<(?P<tag>i|span)\b(?P<attributes>[^>]*\bclass="(?P<classes>[^"]*\bfa-[^"]*)"[^>]*)></(?P=tag)>'
    )

    def __init__(self, script):
        """script: the text of fontawesome.js."""
        self._known, start = {}, 0
        for end in re.finditer(r'\("(fa[brs])",\w+\)', script):  # closes the set of that name
            for icon in self._ICON.finditer(script, start, end.start()):
                names = [icon["quoted"] or icon["name"], *re.findall(r'"([^"]+)"', icon["aliases"])]
                for name in names:
                    self._known.setdefault((end[1], name), icon.group("width", "height", "path"))
            start = end.end()

    def place(self, html):
        """The page with each `<i class="fas fa-download">` as the picture itself."""
        placed = self._ELEMENT.sub(self._picture, html)
        if placed != html and self._CREDIT not in placed:
            placed = placed.replace("<svg", f"{self._CREDIT}<svg", 1)
        return placed

    def _picture(self, found):
        classes = found["classes"].split()
        kind = next((self._SETS[c] for c in classes if c in self._SETS), "fas")
        name = next((c for c in classes if (kind, c.removeprefix("fa-")) in self._known), None)
        if name is None:
            log.warning("no icon of the theme is named %r", found["classes"])
            return found[0]
        width, height, path = self._known[kind, name.removeprefix("fa-")]
        rest = [c for c in classes if not re.fullmatch("fa[brs]?|fa-(solid|brands|regular)", c)]
        attributes = re.sub(r'\s*\b(?:class|title|aria-hidden)="[^"]*"', "", found["attributes"])
        title = re.search(r'\btitle="([^"]*)"', found["attributes"])
        label = f"<title>{escape(title[1])}</title>" if title else ""
        hidden = "" if title else ' aria-hidden="true"'
        return (
            f'<svg class="{" ".join(["svg-inline--fa", *rest])}"{attributes}{hidden} role="img" '
            f'viewBox="0 0 {width} {height}">{label}<path fill="currentColor" d="{path}"/></svg>'
        )


def lean_theme(css):
    """The theme's style sheet without the letters and fonts of its two thousand icons."""
    css = re.sub(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}', "", css)
    return re.sub(
        r"@font-face\{[^{}]*Font Awesome[^{}]*\}", "", css.replace(r"Awesome\ ", "Awesome ")
    )


# The theme asks box after box whether it scrolls and writes after each question, so that the page
# is laid out again each time, what is folded too. site.js asks all of them first.
_STOPS = re.compile(
    r'(document\.querySelectorAll\(\["pre",[^\]]*\]\.join\(", "\)\))'
    r"\.forEach\(e=>\{e\.tabIndex=[^{}]*\}\)"
)


def lean_script(js):
    """The theme's script with the question which boxes scroll left to site.js."""
    return _STOPS.sub(r"window.genaiTabStops?.(\1)", js)


_RULE = re.compile(r"([^{}]+)\{((?:[^{}]*\{[^{}]*\})*[^{}]*)\}")
_HEAD = re.compile(r"(.*(?:;|\*/))?(.*)", re.DOTALL)  # what stands before a rule; its selectors


def fitting(css, words):
    """A style sheet without the rules for classes that are none of the words.

    words: all that stand in the pages and in their scripts, which also make classes. A rule stays
    where one of its selectors may apply; what stands in brackets, as in `:not(.a)`, does not count.
    """

    def may_apply(selector):
        while selector != (selector := re.sub(r"\([^()]*\)|\[[^][]*\]", "", selector)):
            pass
        classes = re.findall(r"\.((?:[\w-]|\\.)+)", selector)
        return all("\\" in name or name in words for name in classes)

    def keep(found):
        before, head = _HEAD.fullmatch(found[1]).groups("")
        body = found[2]
        if head.lstrip().startswith("@media"):
            body = _RULE.sub(keep, body)
        elif not head.lstrip().startswith("@"):
            head = ",".join(filter(may_apply, re.split(r",(?![^(]*\))", head)))
        return f"{before}{head}{{{body}}}" if head and body else before

    return _RULE.sub(keep, css)


def ship(app, error):
    """Go over the built pages, then take out of the output what none of them loads."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    theme = out / "_static" / "styles" / "pydata-sphinx-theme.css"
    script = out / "_static" / "scripts" / "fontawesome.js"
    if not script.is_file():  # another theme
        return
    icons = Icons(script.read_text(encoding="utf-8"))
    sections, scripts, pictures = {}, {}, {}
    for path in sorted(out.rglob("*.html")):
        if "_static" in path.parts:
            continue
        was = path.read_text(encoding="utf-8")
        figures = "../" * (len(path.relative_to(out).parts) - 1) + "_static/figures/"
        page = later(dark.mark(lean(was, icons)), figures, scripts)
        page = apart(page, figures, pictures)
        if page != was:
            path.write_text(page, encoding="utf-8")
        sections[path.relative_to(out).as_posix()] = page
    searching.write(out, sections)
    folder = out / "_static" / "figures"
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    used = set(re.findall(r'figures/(\w+\.(?:js|png|webp))"', "".join(sections.values())))
    for path in folder.iterdir():
        if path.name not in used:
            path.unlink()
    theme.write_text(lean_theme(theme.read_text(encoding="utf-8")), encoding="utf-8")
    tabs = theme.parents[1] / "scripts" / "pydata-sphinx-theme.js"
    tabs.write_text(lean_script(tabs.read_text(encoding="utf-8")), encoding="utf-8")
    folders = {folder, out / "_static" / "mathjax"}
    scripts = (path for path in (out / "_static").rglob("*.js") if folders.isdisjoint(path.parents))
    said = [*sections.values(), *(path.read_text(encoding="utf-8") for path in scripts)]
    words = set(re.findall(r"[\w-]+", "\n".join(said)))
    for kind in ("styles/*", "mystnb.*", "sphinx-design.*", "basic"):
        for path in (out / "_static").glob(f"{kind}.css"):
            path.write_text(fitting(path.read_text(encoding="utf-8"), words), encoding="utf-8")
    for path in [*(out / "_static").rglob("*.map"), *script.parent.glob("fontawesome*")]:
        path.unlink(missing_ok=True)


def setup(app):
    app.setup_extension("genai_utils.book.searching")
    app.add_css_file("site.css")
    app.add_js_file("site.js")
    app.connect("build-finished", ship, priority=900)  # after all that writes files
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
