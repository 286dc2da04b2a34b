"""The directives of the lecture map, the errata, the data and the notebooks' figures."""

import json
import re
from collections import Counter
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging

from genai_utils.book import cost_page, same_page, states
from genai_utils.book.nodes import (
    BookDirective,
    formula,
    link,
    paragraph,
    section,
    table,
)
from genai_utils.book.results import OpenFigures, Results, RunTimes, measured
from genai_utils.book.side_by_side import SideBySide
from genai_utils.book.stored import stored
from genai_utils.book.teaching import TeachingMinutes
from genai_utils.display.drawing import drawing_bundle

log = logging.getLogger(__name__)


class claim(nodes.Inline, nodes.TextElement):
    """The place where a chapter shows an item; becomes a link once all pages are read."""


class proof(nodes.Inline, nodes.TextElement):
    """The box that proves an erratum; becomes a link once all pages are read."""


class LectureMap(BookDirective):
    """A section for each part, in it one for each chapter with the table of its items.

    `{lecture-map} summary` is the sentence alone that says how many are shown, and what they say.
    """

    optional_arguments = 1

    def build(self, env):
        book = self.book
        self.states = {id: states.state(book, item) for id, item in book.items.items()}
        result = [self.summary()]
        if self.arguments == ["summary"]:
            return result
        parts = {}
        for plan in book.plan:
            parts.setdefault(plan["part"], []).append(plan)
        for part, plans in parts.items():
            result.append(section(self, part, *map(self.chapter, plans)))
        return result

    def summary(self):
        count = Counter(self.states.values())
        shown = count["shown"] + count["conditions"] + count["fails"]
        book = self.book
        said = [f"{count['shown']} as the slide has them", f"{count['conditions']} with conditions"]
        if count["told"]:
            said.append(f"{count['told']} told in prose only")
        return paragraph(
            nodes.strong("", f"{shown} of {len(book.items)} items are shown"),
            f", in {len(book.chapters)} of {len(book.plan)} chapters: {', '.join(said)}, and "
            f"{count['fails']} do not hold as the slide says.",
            " The others are planned." if shown < len(book.items) else "",
        )

    def chapter(self, plan):
        name = plan["name"]
        items = [item for item in self.book.items.values() if item["notebook"] == name]
        head = f"{int(name[:2])}  {plan['title']}"
        about = plan["about"] + "."
        if not items:
            about += " It compares the chapters before it and shows no item of its own."
        body = [paragraph(about, classes=["about"])]
        if items:
            columns = ["Item", "What", "State", "Slide", "Kind"]
            made = table(columns, map(self.row, items), [6, 46, 20, 20, 8], ["lecture-map"])
            rows = made.next_node(nodes.tbody).children
            for row, item in zip(rows, items, strict=True):
                row["ids"] = [f"item-{item['id'].lower()}"]
            body.append(made)
        return section(self, head, *body, name=f"chapter-{name[:2]}")

    def row(self, item):
        what = worded(item, "item")
        for erratum in item["errata"]:
            target = link(erratum, f"errata.html#{erratum.lower()}")
            what += [nodes.Text(" "), nodes.inline("", "", target, classes=["tag"])]
        state = self.states[item["id"]]
        if state in states.VERDICTS:
            found = [nodes.strong("", "Found: "), *worded(item["verdict"], "found")]
            what.append(nodes.inline("", "", *found, classes=["found"]))
        where = [nodes.inline("", states.STATES[state], classes=["state", state])]
        if state != "planned":
            where += [nodes.Text(" "), claim("", "", chapter=item["notebook"], item=item["id"])]
        return [item["id"], what, where, item["slide"], self.book.kinds[item["kind"]]]


class ErrataList(BookDirective):
    """The notes on each deck; what only our copy of the text lost stands apart."""

    def build(self, env):
        result = []
        told = {}  # erratum -> whether a cell proves it somewhere, or prose alone tells it
        for chapter in self.book.chapters.values():
            for id, cell in states.proved(self.book, chapter).items():
                told[id] = told.get(id, False) or cell is not None
        for letter, deck in (("N", "A"), ("Y", "B")):
            entries = [e for e in self.book.errata.values() if e["id"][0] == letter]
            real = [e for e in entries if e["class"] != "X"]
            lost = [e for e in entries if e["class"] == "X"]
            deck = self.book.decks[deck]
            count = Counter(told.get(e["id"]) for e in real)
            body = [
                paragraph(
                    f"{deck['author']}, ",
                    nodes.emphasis("", deck["title"]),
                    f", {deck['place']}. Notes: {len(real)}, of which {count[True]} are proved by "
                    f"a cell and {count[False]} told in prose",
                    f"; {count[None]} are planned." if count[None] else ".",
                ),
                *(self.entry(e) for e in real),
            ]
            if lost:
                body.append(nodes.rubric("", "Lost when the slides were turned into text"))
                body.append(
                    paragraph("These are no errors of the slides, but of the copy that we read.")
                )
                body += [self.entry(e) for e in lost]
            result.append(section(self, f"{deck['short']} lecture", *body))
        return result

    def entry(self, erratum):
        id = erratum["id"]
        homes = sorted({i["notebook"] for i in self.book.items.values() if id in i["errata"]})
        head = paragraph(
            nodes.strong("", id),
            nodes.inline("", self.book.classes[erratum["class"]], classes=["tag"]),
            nodes.inline("", f"Slide “{erratum['slide']}”", classes=["slide"]),
            proof("", "", erratum=id, homes=homes),
            classes=["head"],
        )
        says = paragraph(nodes.strong("", "It says: "), *worded(erratum, "says"))
        right = paragraph(nodes.strong("", "We propose: "), *worded(erratum, "right"))
        box = nodes.container("", head, says, right, classes=["erratum-entry"])
        box["ids"] = [id.lower()]
        return box


def worded(entry, field):
    """A text of lectures.json as nodes: with set formulas where it has a form for them.

    "says" is plain text, for search and for hover cards; "says_tex" the same with $…$.
    """
    if f"{field}_tex" not in entry:
        return formula(entry[field])
    parts = re.split(r"\$([^$]+)\$", entry[f"{field}_tex"])
    kinds = (nodes.Text, lambda text: nodes.math(text, text))
    return [kinds[i % 2](part) for i, part in enumerate(parts) if part]


class DataCatalogue(BookDirective):
    """One section for each data set."""

    def build(self, env):
        from genai_utils import data

        return [self.dataset(name, entry) for name, entry in data.catalogue.items()]

    def dataset(self, name, entry):
        offline = entry.stand_in or ("nothing: it is an error" if entry.files else "the same")
        facts = {
            "Shape": entry.shape,
            "Where": entry.source,
            "Licence": entry.licence,
            "Cite": entry.citation,
            "Without a network": offline,
        }
        fields = nodes.field_list(classes=["facts"])
        for key, value in facts.items():
            body = nodes.field_body("", paragraph(str(value)))
            fields += nodes.field("", nodes.field_name("", key), body)
        files = [
            [
                [nodes.reference("", "", nodes.literal("", f.path), refuri=f.urls[0])],
                f"{f.size:,}" if f.size else "varies",
                [nodes.literal("", f.sha256 or f"known by its columns {f.columns}")],
            ]
            for f in entry.files
        ]
        listed = [table(["File", "Bytes", "SHA-256"], files, [30, 14, 56], ["files"])]
        title = f"{name}: {entry.title}"
        return section(self, title, fields, *(listed if files else []), name=f"data-{name}")


class FromNotebook(BookDirective):
    """A figure, explorer or pad of a notebook, as it was stored there.

    `:caption:` puts another line below it, or none. `:start: -0.25, 1.35` opens a pad there.
    """

    required_arguments = 1
    option_spec = {
        "caption": lambda text: (text or "").strip(),
        "start": directives.unchanged_required,
    }

    def build(self, env):
        name, _, figure = self.arguments[0].partition("#")
        chapter = self.book.chapters.get(name)
        html = chapter.figures.get(figure) if chapter else None
        if html is None:
            has = ", ".join(chapter.figures) or "none" if chapter else "no such notebook"
            message = "from-notebook: %s has no figure %r (it has: %s)"
            log.warning(message, name, figure, has, location=(env.docname, self.lineno))
            return []
        if "caption" in self.options:
            caption = self.options["caption"]
            line = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
            html = re.sub("<figcaption>.*?</figcaption>", lambda _: line, html, flags=re.DOTALL)
        if "start" in self.options:
            html = started(html, self.options["start"])
        return [nodes.raw("", f'<div class="from-notebook">{html}</div>', format="html")]


def started(html, start):
    """The HTML of a latent pad that opens at another place, "x, y" in its own units."""
    data = re.search(r'"extent":([\d.]+),"dims":\[(\d+),(\d+)\],"origin":(\[[^\]]*\])', html)
    place = [float(part) for part in start.split(",")]
    if not data or len(place) != 2 or max(map(abs, place)) > float(data[1]):
        raise ValueError(
            f"`:start:` needs two numbers on a latent pad, such as 1.0, -2.0; got {start!r}."
        )
    origin, extent = json.loads(data[4]), float(data[1])
    for axis, value in zip((int(data[2]), int(data[3])), place, strict=True):
        origin[axis] = value
    html = html.replace(data[0], data[0].replace(data[4], json.dumps(origin)), 1)
    left, top = 50 * (1 + place[0] / extent), 50 * (1 - place[1] / extent)
    return re.sub(
        r'(class="genai-cross" style=")[^"]*', rf"\g<1>left:{left:.4g}%;top:{top:.4g}%", html
    )


class Drawing(BookDirective):
    """A drawing of the package."""

    required_arguments = 1

    def build(self, env):
        html = drawing_bundle(self.arguments[0]).html
        return [nodes.raw("", f'<div class="from-notebook">{html}</div>', format="html")]


ROLES = {"measured": measured, "stored": stored}

DIRECTIVES = {
    "lecture-map": LectureMap,
    "errata-list": ErrataList,
    "results": Results,
    "run-times": RunTimes,
    "open-figures": OpenFigures,
    "side-by-side": SideBySide,
    "teaching-minutes": TeachingMinutes,
    "data-catalogue": DataCatalogue,
    "from-notebook": FromNotebook,
    "drawing": Drawing,
    "cost-summary": cost_page.CostSummary,
    "cost-exponents": cost_page.CostExponents,
    "cost-table": cost_page.CostTable,
    "same-digits": same_page.SameDigits,
    "same-growth": same_page.SameGrowth,
    "same-curves": same_page.SameCurves,
    "same-cards": same_page.SameCards,
}
