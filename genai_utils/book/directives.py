"""The directives of the lecture map, the errata, the data and the notebooks' figures."""

import json
import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging

from genai_utils.book.nodes import (
    BookDirective,
    formula,
    paragraph,
    section,
    table,
)
from genai_utils.book.results import OpenFigures, Results, RunTimes, measured
from genai_utils.book.teaching import TeachingMinutes

log = logging.getLogger(__name__)


class claim(nodes.Inline, nodes.TextElement):
    """The place where a chapter shows an item; becomes a link once all pages are read."""


class proof(nodes.Inline, nodes.TextElement):
    """The box that proves an erratum; becomes a link once all pages are read."""


class LectureMap(BookDirective):
    """A section for each part, in it one for each chapter with the table of its items.

    `{lecture-map} summary` is the sentence alone that says how many are shown.
    """

    optional_arguments = 1

    def build(self, env):
        book, written = self.book, self.book.chapters
        claims = {name: set(chapter.claims) for name, chapter in written.items()}
        shown = sum(id in claims.get(item["notebook"], ()) for id, item in book.items.items())
        result = [
            paragraph(
                nodes.strong("", f"{shown} of {len(book.items)} items are shown"),
                f", in {len(written)} of {len(book.plan)} chapters. The others are planned.",
            )
        ]
        if self.arguments == ["summary"]:
            return result
        parts = {}
        for plan in book.plan:
            parts.setdefault(plan["part"], []).append(plan)
        for part, plans in parts.items():
            result.append(section(self, part, *(self.chapter(env, plan, claims) for plan in plans)))
        return result

    def chapter(self, env, plan, claims):
        name = plan["name"]
        rows = []
        for id, item in self.book.items.items():
            if item["notebook"] != name:
                continue
            state = [nodes.inline("", "planned", classes=["planned"])]
            if id in claims.get(name, ()):
                state = [claim("", "shown", chapter=name, item=id)]
            what = formula(item["item"])
            for erratum in item["errata"]:
                target = nodes.reference("", erratum, refuri=f"errata.html#{erratum.lower()}")
                target["internal"] = True
                what += [nodes.Text(" "), nodes.inline("", "", target, classes=["tag"])]
            rows.append([id, what, state, item["slide"], self.book.kinds[item["kind"]]])
        head = f"{int(name[:2])}  {plan['title']}"
        about = plan["about"] + "."
        if not rows:
            about += " It compares the chapters before it and shows no item of its own."
        body = [paragraph(about, classes=["about"])]
        if rows:
            columns = ["Item", "What", "Where", "Slide", "Kind"]
            body.append(table(columns, rows, [6, 42, 18, 24, 10], ["lecture-map"]))
        return section(self, head, *body, name=f"chapter-{name[:2]}")


class ErrataList(BookDirective):
    """The notes on each deck; what only our copy of the text lost stands apart."""

    def build(self, env):
        result = []
        written = {id for chapter in self.book.chapters.values() for id in chapter.errata}
        for letter, deck in (("N", "A"), ("Y", "B")):
            entries = [e for e in self.book.errata.values() if e["id"][0] == letter]
            real = [e for e in entries if e["class"] != "X"]
            lost = [e for e in entries if e["class"] == "X"]
            deck = self.book.decks[deck]
            body = [
                paragraph(
                    f"{deck['author']}, ",
                    nodes.emphasis("", deck["title"]),
                    f", {deck['place']}. "
                    f"{len(real)} notes, {sum(e['id'] in written for e in real)} of them proved in "
                    "a chapter that is written.",
                ),
                *(self.entry(e) for e in real),
            ]
            if lost:
                body.append(nodes.rubric("", "Lost when the slides were turned into text"))
                body.append(paragraph("These are no errors of the slides."))
                body += [self.entry(e) for e in lost]
            result.append(section(self, f"{deck['short']} lecture", *body))
        return result

    def entry(self, erratum):
        id = erratum["id"]
        homes = sorted({i["notebook"] for i in self.book.items.values() if id in i["errata"]})
        head = paragraph(
            nodes.strong("", id),
            nodes.inline("", self.book.classes[erratum["class"]], classes=["tag"]),
            nodes.inline("", erratum["slide"], classes=["slide"]),
            proof("", "", erratum=id, homes=homes),
            classes=["head"],
        )
        says = paragraph(nodes.strong("", "Slide: "), *formula(erratum["says"]))
        right = paragraph(nodes.strong("", "Right: "), *formula(erratum["right"]))
        box = nodes.container("", head, says, right, classes=["erratum-entry"])
        box["ids"] = [id.lower()]
        return box


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


ROLES = {"measured": measured}

DIRECTIVES = {
    "lecture-map": LectureMap,
    "errata-list": ErrataList,
    "results": Results,
    "run-times": RunTimes,
    "open-figures": OpenFigures,
    "teaching-minutes": TeachingMinutes,
    "data-catalogue": DataCatalogue,
    "from-notebook": FromNotebook,
}
