"""The text of the pages, section by section, for the search: words, without formulas and code.

`write` makes `_static/sections.js` from the built pages; `book/_assets/search.js` looks in it and
shows what it finds. The file is loaded by a script element, so that the search also works where
the book is opened from a folder.
"""

import json
import re
import unicodedata
from html.parser import HTMLParser

_VOID = {"img", "br", "hr", "input", "meta", "link", "source", "wbr", "col", "area", "embed"}
_LEFT_OUT = {"script", "style", "svg", "button", "nav", "canvas", "textarea", "select", "output"}
_BLOCKS = {"p", "li", "td", "th", "tr", "div", "figcaption", "caption", "dt", "dd", "br", "summary"}
# Parts of a page that say nothing of its topic: link signs, legends, "Show code cell source".
_ASIDE = {
    "headerlink", "genai-legend", "genai-steps", "genai-controls", "genai-typing", "genai-padline",
    "genai-mapline", "genai-untrusted", "formula-number", "collapsed", "expanded",
}  # fmt: skip
_SIGNS = {
    "log": "log", "exp": "exp", "max": "max", "min": "min", "mid": "|", "times": "×", "cdot": "·",
    "to": "→", "le": "≤", "ge": "≥", "approx": "≈", "sum": "Σ", "infty": "∞", "dots": "…",
}  # fmt: skip
_SIMPLE = re.compile(r"[^\\{}^_&]*")


class Sections(HTMLParser):
    """The sections and boxes of a page: `found` is a list of [anchor, title, text, other words]."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.found = []
        self._units = []  # the sections that are open, innermost last
        self._open = []  # of each element that is open: (tag, what ends with it)
        self._inside = {"article": 0, "skip": 0, "code": 0, "math": 0, "title": 0}
        self._formula = ""
        self.feed(_short(html))
        self.found = [
            [anchor, _joined(title), _joined(text), " ".join(sorted(words))]
            for anchor, title, text, words in self.found
        ]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        classes = (attributes.get("class") or "").split()
        ends = self._ends(tag, attributes, classes)
        for kind in ends:
            if kind == "unit":
                unit = [attributes["id"], [], [], set()]
                self._units.append(unit)
                self.found.append(unit)
            else:
                self._inside[kind] += 1
        if tag in _BLOCKS or "tag" in classes:
            self._add(" ")
        if tag not in _VOID:
            self._open.append((tag, ends))

    def _ends(self, tag, attributes, classes):
        """What begins with an element, and ends with it."""
        ends = []
        if tag == "article":
            ends.append("article")
        if attributes.get("id") and self._inside["article"] and (
            tag == "section" or "book-box" in classes or "erratum-entry" in classes
        ):  # fmt: skip
            ends.append("unit")
        aside = not _ASIDE.isdisjoint(classes) or attributes.get("role") == "status"
        if tag in _LEFT_OUT or aside:
            ends.append("skip")
        if "math" in classes:
            ends.append("math")
        elif "highlight" in classes or tag == "pre":  # `fit` in a line is part of its sentence
            ends.append("code")
        heads = re.fullmatch("h[1-6]", tag) or "admonition-title" in classes
        if heads and self._units and not "".join(self._units[-1][1]).strip():
            ends.append("title")
        return ends

    def handle_endtag(self, tag):
        if not any(tag == open for open, _ in reversed(self._open)):
            return
        while self._open:
            name, ends = self._open.pop()
            for kind in ends:
                if kind == "unit":
                    self._units.pop()
                    continue
                self._inside[kind] -= 1
                if kind == "math":
                    self._add(plain(self._formula))
                    self._formula = ""
            if name == tag:
                break
        if tag in _BLOCKS:
            self._add(" ")

    def handle_data(self, data):
        if self._inside["math"]:
            self._formula += data
        elif self._inside["code"]:
            if self._here():
                self._units[-1][3].update(re.findall(r"[^\W\d_]\w{2,}", data.lower()))
        else:
            self._add(data)

    def _here(self):
        return self._units and self._inside["article"] and not self._inside["skip"]

    def _add(self, text):
        if self._here():
            self._units[-1][1 if self._inside["title"] else 2].append(text)


def _short(html):
    """The article of a page without what says nothing: pictures, scripts, the colours of code.

    The parser takes as long for each of these as for a word, and they are nine tenths of a page.
    """
    start, end = html.find("<article"), html.rfind("</article>")
    html = re.sub(r'(src=")data:[^"]*', r"\1", html[max(start, 0) : end if end > 0 else None])
    html = re.sub(r"<(svg|script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    html = re.sub(r'<span class="se">[^<]*</span>', " ", html)  # an escape, \\n, is no letter
    return re.sub(r'<span class="(?!tag")\w{1,3}">([^<]*)</span>', r"\1", html)


def _joined(parts):
    text = " ".join("".join(parts).replace("\\", " ").split())
    return re.sub(r" ([.,;:)])", r"\1", text)


def plain(formula):
    """A formula as text where it is as simple as `k = 3`, else three points."""
    tex = formula.strip().removeprefix("\\(").removesuffix("\\)").strip()
    tex = re.sub(r"\\(\w+)", _sign, re.sub(r"\\[,;! ]", " ", tex)).replace("'", "′")
    return tex if _SIMPLE.fullmatch(tex) and len(tex) < 40 else "…"


def _sign(found):
    name = found[1].removeprefix("var")
    if name in _SIGNS:
        return _SIGNS[name]
    kind = "CAPITAL" if name[0].isupper() else "SMALL"
    spelt = "lamda" if name.lower() == "lambda" else name
    try:
        return unicodedata.lookup(f"GREEK {kind} LETTER {spelt}")
    except KeyError:
        return found[0]


def write(out, pages):
    """Write `_static/sections.js`. pages: name of the file -> its HTML."""
    index = {}
    for name, html in pages.items():
        sections = Sections(html).found if name.startswith(("book/", "notebooks/")) else []
        if sections:
            index[name] = sections
    data = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / "sections.js").write_text(f"const sections = {data};\n", encoding="utf-8")


def on_the_search_page(app, pagename, templatename, context, doctree):
    if pagename == "search":
        app.add_js_file("sections.js", defer="defer")
        app.add_js_file("search.js", defer="defer")


def setup(app):
    app.connect("html-page-context", on_the_search_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
