"""The directives of the results: what the run cards say, on pages that are not notebooks."""

import re

from docutils import nodes
from sphinx.util import logging

from genai_utils.book.cards import on_card, trained
from genai_utils.book.nodes import (
    BookDirective,
    duration,
    formula,
    link,
    number,
    paragraph,
    section,
    table,
)

log = logging.getLogger(__name__)


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
    rows = [
        [formula(m["name"]), number(m["value"], m["unit"]), m["unit"], m["note"]]
        for m in card["metrics"]
    ]
    return table(["Measured", "Value", "Unit", "Note"], rows, [40, 12, 12, 36], ["metrics"])


def measured(name, rawtext, text, lineno, inliner, options=None, content=()):
    """A role: {measured}`02_pca: log P` is the number that the chapter recorded, and its unit."""
    env = inliner.document.settings.env
    chapter, _, wanted = (part.strip() for part in text.partition(":"))
    found = env.app.genai_book.chapters.get(chapter)
    recorded = (found.card or {}).get("metrics", []) if found else []
    for metric in recorded:
        if metric["name"] == wanted:
            env.note_dependency(str(found.path))
            value = f"{number(metric['value'], metric['unit'])} {metric['unit']}".strip()
            return [link(value, f"../notebooks/{chapter}.html")], []
    has = "; ".join(m["name"] for m in recorded) or "nothing"
    message = "measured: %s has recorded no %r (it has: %s)"
    log.warning(message, chapter, wanted, has, location=(env.docname, lineno))
    return [nodes.Text("?")], []
