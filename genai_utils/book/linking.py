"""Links that the build makes by itself: chapters, sections, equations, slides, citations, terms.

Nothing in a notebook changes. Once all pages are read, the text of each is searched by these rules:

    chapter 24, chapters 8 and 9       the chapter's page; grey where it is only planned
    `24_vae`                           the same, by its title
    section 24.3, sections 2.3 and 2.4 the section whose heading has that number
    in 24.3. the toy of 24.3           the same, on the pages of chapter 24
    equation 24.3, formula (24.3)      the equation with that \\tag
    (24.3)                             the same, on the pages of chapter 24
    exercise 24.2                      its box
    (A93), (A93, B12), A93             the row of the lecture map
    (N20), N20                         the note on the slides
    Kingma and Welling (2014)          the list of references, with the paper's address
    ELBO, nats                         the notation page, once in each section of a notebook

Headings, code, formulas, links and the outputs of cells are left alone. A number is a link only
where such a section, equation or exercise exists: "24.3 %" and "an error of 24.3" are numbers.
What is shown over a link is its title; links.js makes a card of it, a line for each " · ".
"""

import re
from dataclasses import dataclass, field

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from genai_utils.book import citations, terms

log = logging.getLogger(__name__)

_CLOSED = (
    nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment,
    nodes.title, nodes.rubric, nodes.reference, nodes.citation, nodes.label, addnodes.toctree,
)  # fmt: skip
_CELL = {"cell_input", "cell_output"}
_BOOKS = {"items": "book/lecture_map", "errata": "book/errata", "references": "book/references"}
_NOTATION = "book/notation"

_NUMBER = r"\d{1,2}\.\d{1,2}(?![\d%°]|\.\d|,\d|\s*[%°])"
_MORE = r"(?:\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or|to)\s+|\s*–\s*)"
_ID = r"[AB]\d{1,3}(?!\w)"


class planned(nodes.inline):
    """A chapter that is not yet written: grey, with its title on hover and on focus."""


def visit_planned(self, node):
    title = self.attval(node["title"])
    self.body.append(f'<span class="planned" tabindex="0" title="{title}">')


def depart_planned(self, node):
    self.body.append("</span>")


# ---- what there is to link to -------------------------------------------------------------------


class Anchors(SphinxTransform):
    """Note the numbered sections, equations and boxes of a page, and the terms of the notation."""

    default_priority = 520  # after the boxes and formulas of notebook_page

    def apply(self):
        found = {"sections": {}, "equations": {}, "exercises": {}, "terms": []}
        for section in self.document.findall(nodes.section):
            title = section.next_node(nodes.title)
            if title is not None and (number := re.match(r"(\d+\.\d+)\s", title.astext())):
                found["sections"].setdefault(number[1], (section["ids"][0], title.astext()))
        for formula in self.document.findall(nodes.math_block):
            for tag in re.findall(r"\\tag\{(\d+\.\d+)\}", formula.astext()):
                id = f"equation-{tag.replace('.', '-')}"
                formula["ids"].append(id)
                found["equations"].setdefault(tag, (id, f"Equation ({tag})"))
        for box in self.document.findall(nodes.Element):
            for id in box.get("ids", ()):
                if number := re.fullmatch(r"exercise-(\d+)-(\d+)", id):
                    number = f"{number[1]}.{number[2]}"
                    found["exercises"].setdefault(number, (id, f"Exercise {number}"))
        if self.env.docname == _NOTATION:
            found["terms"] = terms.collect(self.document)
        self.env.genai_anchors[self.env.docname] = found


@dataclass
class Targets:
    """All that there is to link to. Numbers lead to (page, anchor, title)."""

    sections: dict = field(default_factory=dict)
    equations: dict = field(default_factory=dict)
    exercises: dict = field(default_factory=dict)
    terms: list = field(default_factory=list)

    @classmethod
    def of(cls, anchors):
        result = cls()
        for page, found in sorted(anchors.items()):
            for kind in ("sections", "equations", "exercises"):
                for number, (id, title) in found[kind].items():
                    getattr(result, kind).setdefault(number, (page, id, title))
            result.terms += found["terms"]
        return result


# ---- the rules ----------------------------------------------------------------------------------


def _listed(words, number):
    """A pattern for "section 2.3" and "sections 2.3, 2.4 and 2.6"; numbers may be in brackets."""
    one = rf"(?:\((?:{number})\)|(?:{number}))"
    return re.compile(
        rf"(?<![\w-])(?P<word>(?:{words}))(?:(?P<many>s)\s+(?P<list>{one}(?:{_MORE}{one})*)"
        rf"|\s+(?P<one>{one}))"
    )


_CHAPTERS = _listed("[Cc]hapter", r"\d{1,2}(?!\d|\.\d)")
_NUMBERED = {
    "sections": _listed("[Ss]ection|§", _NUMBER),
    "equations": _listed("[Ee]quation|[Ff]ormula|[Ee]q\\.", _NUMBER),
    "exercises": _listed("[Ee]xercise", _NUMBER),
}
_BRACKETS = re.compile(rf"\(({_NUMBER})(?:{_MORE}{_NUMBER})*\)")
_BARE = {
    "sections": re.compile(
        rf"(?:(?<![\w-])in\s+(?={_NUMBER}(?:[.,:;)?]|$))"
        rf"|(?:toys?|ideas?|tables?|figures?|lab|experiments?)\s+of\s+)({_NUMBER})"
    ),
    "equations": re.compile(rf"(?:side|sum|terms?|weights)\s+of\s+({_NUMBER})(?=[.,:;)?]|$)"),
}
_ITEM = re.compile(rf"(?<![\w-]){_ID}")
_ERRATUM = re.compile(r"(?<![\w-])[NY]\d\d(?!\w)")


class Rules:
    """Turns the text of one page into text and links.

    uri: a function of (page, anchor) that gives the address from this page.
    """

    def __init__(self, book, targets, references, docname, uri):
        self.book, self.targets, self.references = book, targets, references
        self.docname, self.uri = docname, uri
        name = docname.removeprefix("notebooks/")
        self.name = name if name in book.chapters else None
        self.number = int(name[:2]) if self.name else None
        self.plan = {int(plan["name"][:2]): plan for plan in book.plan}

    def link(self, text, page, anchor, title="", kind=""):
        """A link to a place of this book; `title` is its card."""
        node = nodes.reference("", text, refuri=self.uri(page, anchor), internal=True)
        if title:
            node["reftitle"] = title
        if kind:
            node["classes"].append(kind)
        return node

    # -- each rule gives (start, end, nodes) ----

    def chapters(self, text, titles=False):
        """`titles`: the title stands behind the number, where it is not there already."""
        for found in _CHAPTERS.finditer(text):
            for start, end, number in self._numbers(found, r"\d{1,2}"):
                number = int(number)
                if number == self.number or number not in self.plan:
                    continue
                shown = text[start:end]
                title = self._title(number)
                if titles and not text[end:].lstrip(" ,(").lower().startswith(title.lower()):
                    shown += f" ({title})"
                yield start, end, [self.chapter(number, shown)]

    def _title(self, number):
        name = self.plan[number]["name"]
        chapter = self.book.chapters.get(name)
        return chapter.title if chapter else self.plan[number]["title"]

    def chapter(self, number, shown=None):
        """A link to a chapter, or what stands for it while it is planned."""
        name, title = self.plan[number]["name"], self._title(number)
        shown = shown or f"{number} {title}"
        if name in self.book.chapters:
            return self.link(shown, f"notebooks/{name}", "", f"Chapter {number} · {title}")
        return planned("", shown, title=f"planned: {title}")

    @staticmethod
    def _numbers(found, number):
        """(start, end, number) in a match of `_listed`: the word belongs to a single number."""
        if found["one"]:
            yield found.start(), found.end(), found["one"].strip("()")
        else:
            for one in re.finditer(number, found["list"]):
                at = found.start("list")
                yield at + one.start(), at + one.end(), one[0]

    def numbered(self, text):
        """Sections, equations, exercises that are called so, or that only their page can mean."""
        for kind, pattern in _NUMBERED.items():
            for found in pattern.finditer(text):
                for start, end, number in self._numbers(found, _NUMBER):
                    if number in getattr(self.targets, kind):
                        yield start, end, [self.place(kind, number, text[start:end])]
        if self.number is None:
            return
        for found in _BRACKETS.finditer(text):
            for one in re.finditer(_NUMBER, found[0]):
                alone = found[0] == f"({one[0]})"
                start = found.start() + (0 if alone else one.start())
                end = found.end() if alone else found.start() + one.end()
                if self._own(one[0]) and one[0] in self.targets.equations:
                    yield start, end, [self.place("equations", one[0], text[start:end])]
        for kind, pattern in _BARE.items():
            for found in pattern.finditer(text):
                if self._own(found[1]) and found[1] in getattr(self.targets, kind):
                    yield found.start(1), found.end(1), [self.place(kind, found[1], found[1])]

    def _own(self, number):
        return int(number.split(".")[0]) == self.number

    def place(self, kind, number, shown):
        page, id, title = getattr(self.targets, kind)[number]
        if kind == "sections":
            title = f"Section {title.replace(' ', ' · ', 1)}"
        if page != self.docname:
            of = int(number.split(".")[0])
            title += f" · Chapter {of}, {self._title(of)}" if of in self.plan else ""
        return self.link(shown, page, id, title, kind.removesuffix("s"))

    def items(self, text):
        """Lecture items, also in the brackets that `slides` hides."""
        if self.docname == _BOOKS["items"]:
            return
        for found in _ITEM.finditer(text):
            if node := self._item(found[0]):
                yield found.start(), found.end(), [node]

    def _item(self, id):
        item = self.book.items.get(id)
        # A100 is a graphics card, too.
        if item is None or (id == "A100" and item["notebook"] != self.name):
            return None
        deck = self.book.decks[id[0]]["short"]
        card = f"{id} · {item['item']} · Slide “{item['slide']}” of the {deck} lecture"
        return self.link(id, _BOOKS["items"], f"item-{id.lower()}", card, "item")

    def errata(self, text):
        if self.docname in (_BOOKS["errata"], _BOOKS["items"]):
            return
        for found in _ERRATUM.finditer(text):
            if node := self._erratum(found[0]):
                yield found.start(), found.end(), [node]

    def _erratum(self, id):
        erratum = self.book.errata.get(id)
        if erratum is None:
            return None
        card = f"Note {id} on the slides · Slide: {erratum['says']} · Right: {erratum['right']}"
        return self.link(id, _BOOKS["errata"], id.lower(), card, "erratum-link")

    def cited(self, text, outside=False):
        """Citations; `outside`: to the paper itself, as in the references of a chapter."""
        if self.docname == _BOOKS["references"]:
            return
        for start, end, entry in self.references.find(text):
            shown = text[start:end]
            node = self.link(shown, _BOOKS["references"], f"ref-{entry.key}", entry.card, "cite")
            if outside and entry.address:
                node["refuri"], node["internal"] = entry.address, False
            yield start, end, [node]

    def apply(self, text, titles=False, outside=False):
        """The text as nodes, or None where there is nothing to link."""
        found = [
            *self.cited(text, outside),
            *self.numbered(text),
            *self.chapters(text, titles),
            *self.items(text),
            *self.errata(text),
        ]
        result, at = [], 0
        # What begins first wins, then what is longer.
        for start, end, new in sorted(found, key=lambda each: (each[0], -each[1])):
            if start < at:
                continue
            result += [nodes.Text(text[at:start]), *new]
            at = end
        if not result:
            return None
        return [node for node in [*result, nodes.Text(text[at:])] if node.astext()]


# ---- a page -------------------------------------------------------------------------------------


def _closed(node):
    """Whether a text stands where nothing is linked."""
    while node is not None:
        if isinstance(node, _CLOSED):
            return True
        if isinstance(node, nodes.container) and _CELL & set(node["classes"]):
            return True
        node = node.parent
    return False


def _block(node):
    """The paragraph that a text belongs to."""
    while node is not None and not isinstance(node, nodes.paragraph):
        node = node.parent
    return node


def _replace(text, new):
    parent = text.parent
    at = parent.index(text)
    parent.remove(text)
    parent[at:at] = new


def _reference_blocks(document):
    """The paragraphs of a chapter's references: the one that begins so, and the list after it."""
    found = set()
    for paragraph in document.findall(nodes.paragraph):
        if re.match(r"References\b", paragraph.astext()):
            found.add(id(paragraph))
            after = paragraph.next_node(descend=False, siblings=True)
            if isinstance(after, nodes.bullet_list):
                found.update(id(each) for each in after.findall(nodes.paragraph))
    return found


def _apply(document, rules):
    """Put all links but those of terms into a page."""
    references = _reference_blocks(document)
    for literal in list(document.findall(nodes.literal)):
        name = literal.astext()
        known = next((n for n, plan in rules.plan.items() if plan["name"] == name), None)
        if rules.name and known and known != rules.number and not _closed(literal.parent):
            literal.replace_self(rules.chapter(known))
    for text in list(document.findall(nodes.Text)):
        if _closed(text) or isinstance(text.parent, planned):
            continue
        block = _block(text)
        said = block.astext() if block is not None else ""
        titles = bool(re.match(r"(?:What to read next|Read next)\b", said))
        if new := rules.apply(str(text), titles, id(block) in references):
            _replace(text, new)


_NO_TERMS = re.compile(r"(?:What to read next|Read next|References|Lecture items|Cost)\b")


def _apply_terms(document, finder, uri):
    """Mark the first use of each term in each section of a notebook."""
    top = document.next_node(nodes.section)
    parts = [node for node in top.children if isinstance(node, nodes.section)] if top else []
    card = [part for part in parts if "run-card" in part["ids"]]
    for part in [top, *parts] if top else ():
        seen = set()
        for node in list(part.findall(lambda n: isinstance(n, nodes.Text | nodes.math))):
            if _inside(node, parts if part is top else card):
                continue
            where = node if isinstance(node, nodes.Text) else node.parent
            if _closed(where) or _block(node) is None or _NO_TERMS.match(_block(node).astext()):
                continue
            if isinstance(node, nodes.math):
                term = finder.symbol(node.astext())
                if term and term.id not in seen:
                    seen.add(term.id)
                    node.replace_self(_term(term, node.deepcopy(), uri, "symbol"))
                continue
            # In italics a term is being introduced: it is explained right there.
            introduced = isinstance(node.parent, nodes.emphasis)
            result, at, text = [], 0, str(node)
            for start, end, term in finder.find(text):
                if term.id not in seen and not introduced:
                    link = _term(term, nodes.Text(text[start:end]), uri)
                    result += [nodes.Text(text[at:start]), link]
                    at = end
                seen.add(term.id)
            if result:
                _replace(node, [n for n in [*result, nodes.Text(text[at:])] if n.astext()])


def _inside(node, parts):
    while node is not None:
        if any(node is part for part in parts):
            return True
        node = node.parent
    return False


def _term(term, inner, uri, *classes):
    node = nodes.reference("", "", inner, refuri=uri(_NOTATION, term.id), internal=True)
    node["reftitle"] = term.card
    node["classes"] += ["term", *classes]
    return node


def _give_ids(app, document, docname):
    """The places that links lead to, where the page's own maker has not given them yet."""
    have = {id for node in document.findall(nodes.Element) for id in node.get("ids", ())}
    if docname == _BOOKS["items"]:
        for row in document.findall(nodes.row):
            id = row.astext().split("\n")[0].strip()
            if id in app.genai_book.items and (new := f"item-{id.lower()}") not in have:
                row["ids"].append(new)
                have.add(new)
        written = {int(name[:2]) for name in app.genai_book.chapters}
        for section in document.findall(nodes.section):
            number = re.fullmatch(r"chapter-(\d\d)", section["ids"][0])
            if number and int(number[1]) not in written:
                section["classes"].append("planned-chapter")
    if docname == _BOOKS["references"]:
        keys = {c.citation_id: c.key for c in app.env.get_domain("cite").citations}
        for citation in document.findall(nodes.citation):
            for id in list(citation["ids"]):
                if id in keys and f"ref-{keys[id]}" not in have:
                    citation["ids"].append(f"ref-{keys[id]}")


def resolve(app, document, docname):
    _give_ids(app, document, docname)

    def uri(page, anchor):
        to = app.builder.get_relative_uri(docname, page) if page != docname else ""
        return f"{to}#{anchor}" if anchor else to

    targets = Targets.of(app.env.genai_anchors)
    references = citations.References(app.genai_references, near=document.astext())
    rules = Rules(app.genai_book, targets, references, docname, uri)
    _apply(document, rules)
    if rules.number:
        _apply_terms(document, terms.Finder(targets.terms, rules.number), uri)


# ---- the sidebar --------------------------------------------------------------------------------


def plan_of(book):
    """Part -> [(number, title, written)], in the order of the chapters."""
    parts = {}
    for plan in book.plan:
        number, name = int(plan["name"][:2]), plan["name"]
        parts.setdefault(plan["part"], []).append((number, plan["title"], name in book.chapters))
    return parts


def add_planned(soup, parts):
    """Put the planned chapters, grey, into the sidebar: under their part, in order."""
    captions = {p.get_text(strip=True): p for p in soup.select("p.caption")}
    before = None
    for part, chapters in parts.items():
        waiting = [(number, title) for number, title, written in chapters if not written]
        caption = captions.get(part)
        if caption is None and waiting and before is not None:
            caption = BeautifulSoup(str(before[0]), "html.parser").p
            caption.select_one(".caption-text").string = part
            new = soup.new_tag("ul", attrs={"class": "nav bd-sidenav"})
            before[1].insert_after("\n", caption, "\n", new)
        if caption is None:
            continue
        entries = caption.find_next_sibling("ul")
        before = (caption, entries)
        for number, title in waiting:
            entry = soup.new_tag("li", attrs={"class": "toctree-l1 planned"})
            name = soup.new_tag("span", attrs={"class": "planned"})
            name.string = f"{number} {title}"
            note = soup.new_tag("span", attrs={"class": "planned-note"})
            note.string = "planned"
            entry.extend([name, " ", note])
            later = [
                li
                for li in entries.find_all("li", recursive=False)
                if int((re.match(r"\s*(\d+)\s", li.get_text()) or ("", 0))[1]) > number
            ]
            if later:
                later[0].insert_before(entry, "\n")
            else:
                entries.append(entry)
                entries.append("\n")
    return soup


def grey_sidebar(app, pagename, templatename, context, doctree):
    make = context.get("generate_toctree_html")
    if make is None:
        return

    def with_planned(kind, *arguments, **options):
        soup = make(kind, *arguments, **options)
        if kind != "sidebar" or not hasattr(soup, "select"):
            return soup
        return add_planned(soup, plan_of(app.genai_book))

    context["generate_toctree_html"] = with_planned


# ---- the build ----------------------------------------------------------------------------------


def begin(app):
    if not hasattr(app.env, "genai_anchors"):
        app.env.genai_anchors = {}
    files = [f"{app.srcdir}/{name}" for name in getattr(app.config, "bibtex_bibfiles", ())]
    app.genai_references = {}
    for path in files:
        app.genai_references.update(citations.read(path))


def purge(app, env, docname):
    env.genai_anchors.pop(docname, None)


def merge(app, env, docnames, other):
    env.genai_anchors.update(other.genai_anchors)


def rewrite(app, env):
    """All pages are written anew when there is something else to link to."""
    now = repr((sorted(env.genai_anchors.items()), app.genai_references, app.genai_book.plan))
    before = getattr(env, "genai_anchors_seen", None)
    env.genai_anchors_seen = now
    return list(env.found_docs) if before != now else []


def setup(app):
    app.add_node(planned, html=(visit_planned, depart_planned))
    app.add_transform(Anchors)
    app.add_css_file("links.css")
    app.add_js_file("links.js")
    app.connect("builder-inited", begin)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", rewrite)
    app.connect("doctree-resolved", resolve)
    app.connect("html-page-context", grey_sidebar, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
