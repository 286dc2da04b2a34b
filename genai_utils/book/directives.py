"""The directives: what the book's pages take from the notebooks, the lecture map and the data."""

import re

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util import logging

from genai_utils.book.cards import on_card, trained
from genai_utils.book.nodes import (
    duration,
    formula,
    link,
    number,
    paragraph,
    section,
    table,
)

log = logging.getLogger(__name__)


class claim(nodes.Inline, nodes.TextElement):
    """The place where a chapter shows an item; becomes a link once all pages are read."""


class proof(nodes.Inline, nodes.TextElement):
    """The box that proves an erratum; becomes a link once all pages are read."""


class BookDirective(Directive):
    """What the directives share: the book, and a note that the page depends on it."""

    has_content = False

    def run(self):
        env = self.state.document.settings.env
        self.book = env.app.genai_book
        env.note_dependency(str(self.book.source))
        for chapter in self.book.chapters.values():
            env.note_dependency(str(chapter.path))
        return self.build(env)


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


class Results(BookDirective):
    """A table of all runs, then the numbers of each."""

    def build(self, env):
        run = {name: c for name, c in self.book.chapters.items() if c.card}
        if not run:
            return [paragraph("No chapter has been run yet.")]
        rows = [
            [
                [link(self.title(name), f"../notebooks/{name}.html")],
                chapter.card["profile"],
                duration(chapter.card["seconds"]),
                f"{chapter.card['peak_memory_gb']:.1f} GB",
                chapter.card["device"],
            ]
            for name, chapter in run.items()
        ]
        head = ["Chapter", "Profile", "Time", "Memory", "Device"]
        return [table(head, rows, [36, 10, 16, 12, 26], ["runs"]), *map(self.chapter, run)]

    def title(self, name):
        return f"{int(name[:2])}  {self.book.chapters[name].title}"

    def chapter(self, name):
        card = self.book.chapters[name].card
        run = f"Run on {card['date']}, on the data {', '.join(card['data']) or 'it makes itself'}"
        run += f"; trained {what}." if (what := trained(card.get("training"))) else "."
        body = [paragraph(run, classes=["about"])]
        if card["metrics"]:
            body.append(metrics(card))
        if not on_card(card):
            still = "the figures of the gpu profile, which are due when such a card is at hand."
            body.append(paragraph(nodes.strong("", "Open: "), still))
        return section(self, self.title(name), *body, name=f"results-{name}")


class RunTimes(BookDirective):
    """For each profile that run cards have, one sentence: how long its chapters took."""

    def build(self, env):
        profiles = {}
        for chapter in self.book.chapters.values():
            if chapter.card:
                profiles.setdefault(chapter.card["profile"], []).append(chapter)
        return [self.sentence(*profiles[name]) for name in sorted(profiles)]

    def sentence(self, *chapters):
        seconds = [chapter.card["seconds"] for chapter in chapters]
        longest = max(chapters, key=lambda chapter: chapter.card["seconds"])
        memory = max(chapter.card["peak_memory_gb"] for chapter in chapters)
        many = "1 chapter was" if len(chapters) == 1 else f"{len(chapters)} chapters were"
        devices = ", ".join(sorted({chapter.card["device"] for chapter in chapters}))
        return paragraph(
            f"{many} last run in the ",
            nodes.literal("", longest.card["profile"]),
            f" profile, on {devices}: {duration(sum(seconds) / len(seconds))} on average, at most "
            f"{duration(max(seconds))} (chapter ",
            link(str(int(longest.name[:2])), f"../notebooks/{longest.name}.html"),
            f") and {memory:.1f} GB.",
        )


class OpenFigures(BookDirective):
    """What is asked of a run on a graphics card and was not reached there yet.

    Each line is `24_vae: -log P(x), IWAE k = 500, test | at most 86.8 nats`: the name of a recorded
    number, and its bound. A line goes as soon as the run card of a card keeps the bound.
    """

    has_content = True
    _LINE = re.compile(r"(\d\d_\w+):\s*(.+?)\s*\|\s*(at most|at least) (-?\d+(?:\.\d+)?)\b.*")

    def build(self, env):
        rows = []
        for line in filter(str.strip, self.content):
            found = self._LINE.fullmatch(line.strip())
            if not found or found[1] not in self.book.chapters:
                message = (
                    "open-figures: expected `24_vae: name of a number | at most 86.8 nats`, got %r"
                )
                log.warning(message, line, location=(env.docname, self.lineno))
                continue
            name, wanted, side, bound = found.groups()
            state = self.state_of(env, name, wanted, side, float(bound))
            if state:
                chapter = [link(str(int(name[:2])), f"../notebooks/{name}.html")]
                asked = line.partition("|")[2].strip()
                rows.append([chapter, formula(wanted), asked, state])
        if not rows:
            return [paragraph("None: all that was asked has been reached.")]
        head = ["Chapter", "Figure", "Asked", "On a card"]
        return [table(head, rows, [10, 46, 24, 20], ["open-figures"])]

    def state_of(self, env, name, wanted, side, bound):
        """What the table says of a figure; empty where it was reached."""
        card = self.book.chapters[name].card
        values = {metric["name"]: metric["value"] for metric in card["metrics"]} if card else {}
        if card and wanted not in values:
            has = "; ".join(values) or "nothing"
            message = "open-figures: %s has recorded no %r (it has: %s)"
            log.warning(message, name, wanted, has, location=(env.docname, self.lineno))
            return "?"
        if not card or not on_card(card):
            return "not yet run"
        value = values[wanted]
        reached = value <= bound if side == "at most" else value >= bound
        return "" if reached else f"{number(value)}, missed"


def metrics(card):
    """The recorded numbers of a run card, as a table."""
    rows = [[formula(m["name"]), number(m["value"]), m["unit"], m["note"]] for m in card["metrics"]]
    return table(["Measured", "Value", "Unit", "Note"], rows, [40, 12, 12, 36], ["metrics"])


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
    """A figure, explorer or pad of a notebook, as it was stored there."""

    required_arguments = 1

    def build(self, env):
        name, _, figure = self.arguments[0].partition("#")
        chapter = self.book.chapters.get(name)
        html = chapter.figures.get(figure) if chapter else None
        if html is None:
            has = ", ".join(chapter.figures) or "none" if chapter else "no such notebook"
            message = "from-notebook: %s has no figure %r (it has: %s)"
            log.warning(message, name, figure, has, location=(env.docname, self.lineno))
            return []
        return [nodes.raw("", f'<div class="from-notebook">{html}</div>', format="html")]


def measured(name, rawtext, text, lineno, inliner, options=None, content=()):
    """A role: {measured}`02_pca: log P` is the number that the chapter recorded, and its unit."""
    env = inliner.document.settings.env
    chapter, _, wanted = (part.strip() for part in text.partition(":"))
    found = env.app.genai_book.chapters.get(chapter)
    recorded = (found.card or {}).get("metrics", []) if found else []
    for metric in recorded:
        if metric["name"] == wanted:
            env.note_dependency(str(found.path))
            value = f"{number(metric['value'])} {metric['unit']}".strip()
            return [link(value, f"../notebooks/{chapter}.html")], []
    has = "; ".join(m["name"] for m in recorded) or "nothing"
    message = "measured: %s has recorded no %r (it has: %s)"
    log.warning(message, chapter, wanted, has, location=(env.docname, lineno))
    return [nodes.Text("?")], []


ROLES = {"measured": measured}

DIRECTIVES = {
    "lecture-map": LectureMap,
    "errata-list": ErrataList,
    "results": Results,
    "run-times": RunTimes,
    "open-figures": OpenFigures,
    "data-catalogue": DataCatalogue,
    "from-notebook": FromNotebook,
}
