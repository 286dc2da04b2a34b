"""A notebook's page: boxes for errata and exercises, the cost line, the run card."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

from genai_utils.book import chapters, estimate, states
from genai_utils.book.cards import on_card, trained
from genai_utils.book.nodes import duration, link, paragraph, table, where, worked
from genai_utils.book.results import metrics
from genai_utils.book.slides import erratum_note

# "(easy, 10 minutes). ", "(find the fault, medium, 20 minutes). "
LEVEL = re.compile(r"\(((?:find the fault, )?\w+(?:, \d+ minutes)?)\)\.?\s*")

COST = "Cost: see the run card at the end of this page."


class Formulas(SphinxTransform):
    """On every page: numbers of formulas in their place, punctuation beside its formula."""

    default_priority = 510

    def apply(self):
        self.tags()
        self.punctuation()

    def tags(self):
        """Keep `\\tag{2.3}` outside the environment that Sphinx puts around several lines."""
        for node in self.document.findall(nodes.math_block):
            text = node.astext()
            found = re.search(r"\\tag\{[^}]*\}", text)
            if not found or r"\\" not in text:
                continue
            text = text.replace(found[0], "").strip()
            if r"\begin{" not in text:
                text = rf"\begin{{split}}{text}\end{{split}}"
            text = rf"\[{text} {found[0]}\]"
            node.clear()
            node += nodes.Text(text)
            node["nowrap"] = True

    def punctuation(self):
        """Keep a bracket before a formula and the full stop after it on the formula's line."""
        for formula in list(self.document.findall(nodes.math)):
            parent, place = formula.parent, formula.parent.index(formula)
            joined = nodes.inline(classes=["joined"])
            before = parent[place - 1] if place else None
            after = parent[place + 1] if place + 1 < len(parent) else None
            if isinstance(before, nodes.Text) and before.endswith("("):
                parent[place - 1] = nodes.Text(before[:-1])
                joined += nodes.Text("(")
            joined += formula.deepcopy()
            found = re.match(r"[.,;:)?!]+", after) if isinstance(after, nodes.Text) else None
            if found:
                parent[place + 1] = nodes.Text(after[found.end() :])
                joined += nodes.Text(found[0])
            if len(joined) > 1:
                parent[place] = joined


class NotebookPage(SphinxTransform):
    """All that a notebook's page gets. While it is read, so that its contents list has the card."""

    default_priority = 500

    def apply(self):
        if Path(self.env.doc2path(self.env.docname)).suffix != ".ipynb":
            return
        chapter = chapters.Chapter(Path(self.env.doc2path(self.env.docname)))
        self.boxes(chapter)
        card = chapter.card
        for node in list(self.document.findall(nodes.paragraph)):
            text = node.astext().strip()
            if text == COST:
                self.place(node, self.cost(card, estimate.fresh(chapter.notebook)))
            elif text.startswith("Lecture items:"):
                row = f"../book/lecture_map.html#chapter-{chapter.name[:2]}"
                node += [nodes.Text(" ("), link("lecture map", row), nodes.Text(")")]
        if card:
            self.append_card(card)
        self.note_items(chapter)

    def boxes(self, chapter):
        proved = states.proved(self.app.genai_book, chapter)
        errata = self.env.genai_errata.setdefault(self.env.docname, {})
        for quote in list(self.document.findall(nodes.block_quote)):
            first = quote.next_node(nodes.strong)
            if first is None or not quote.astext().startswith(first.astext()):
                continue
            label = first.astext().strip()
            text = first.parent
            if found := re.fullmatch(r"Erratum ([NY]\d\d)\.", label):
                without(text, first)
                quote.replace_self(erratum_note(f"erratum-{found[1].lower()}", quote, label[:-1]))
                errata[found[1]] = proved.get(found[1]) is not None
            elif found := re.match(r"Exercise (\d+)\.(\d+)", label):
                title = nodes.title("", label.rstrip("."))
                rest = without(text, first)
                # "> **Exercise 2.1** (easy). Write …": the difficulty goes into the title.
                if rest and (tag := LEVEL.match(rest)):
                    title += nodes.inline("", tag[1], classes=["tag"])
                    text[0] = nodes.Text(rest[tag.end() :])
                box = nodes.admonition(
                    "", title, *quote.children, classes=["book-box", "exercise-box"]
                )
                box["ids"] = [f"exercise-{found[1]}-{found[2]}"]
                quote.replace_self(box)

    def place(self, node, cost):
        """The cost stands on the line that says where the chapter runs, if there is one."""
        for line in self.document.findall(nodes.paragraph):
            if "run-line" in line["classes"]:
                break
        else:
            node.replace_self(cost)
            return
        line += [nodes.Text(" "), nodes.inline("", "", *cost.children, classes=["cost"])]
        node.parent.remove(node)

    def cost(self, card, estimated):
        """What the run took, and what the gpu profile would take until it has been run."""
        if not card:
            return paragraph("Cost: not yet measured.", expected(estimated), classes=["cost"])
        return paragraph(
            nodes.strong("", "Cost: "),
            f"{where(card)}, in the {card['profile']} profile.",
            "" if on_card(card) else expected(estimated),
            " ",
            link("All of the run", "#run-card"),
            ".",
            classes=["cost"],
        )

    def append_card(self, card):
        facts = [
            ("Profile", card["profile"]),
            ("Device", card["device"]),
            ("Time", duration(card["seconds"])),
            ("Processor time", worked(card)),
            ("Peak memory", f"{card['peak_memory_gb']:.1f} GB"),
            ("Trained", trained(card.get("training"))),
            ("Data", ", ".join(card["data"]) or "none"),
            ("Date", card["date"]),
            ("Versions", ", ".join(f"{name} {v}" for name, v in card["versions"].items())),
        ]
        rows = [[key, str(value)] for key, value in facts if value]
        body = [
            paragraph("The outputs on this page come from this one run, top to bottom."),
            table(["Run", ""], rows, [30, 70], ["run-card"]),
        ]
        if card["metrics"]:
            body.append(metrics(card))
        node = nodes.section("", nodes.title("", "Run card"), *body, ids=["run-card"])
        node["names"] = ["run card"]
        top = self.document.next_node(nodes.section)
        (top if top is not None else self.document).append(node)

    def note_items(self, chapter):
        """Note for each lecture item where it is shown: section, title, and the cell's anchor."""
        places = self.env.genai_items.setdefault(self.env.docname, {})
        containers = self.document.findall(nodes.container)
        cells = {cell["cell_index"]: cell for cell in containers if "cell_index" in cell}
        shown = states.shown(self.app.genai_book, chapter)
        for id in chapter.claims:
            cell = cells.get(shown.get(id))
            section = enclosing(cell) if cell is not None else self.first_named(id)
            if section is None:
                continue
            anchor = ""
            if cell is not None:
                anchor = f"shows-{id.lower()}"
                cell["ids"].append(anchor)
            places[id] = section["ids"][0], numbered(section), anchor

    def first_named(self, id):
        """The first section whose text names an item."""
        for node in self.document.findall(nodes.paragraph):
            text = node.astext()
            if id in chapters.ITEM.findall(text) and not text.startswith("Lecture items:"):
                return enclosing(node)
        return None


def enclosing(node):
    """The section that a node stands in."""
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def numbered(section):
    """The title of a section; one without a number has that of the section around it."""
    title = section.next_node(nodes.title).astext()
    around = enclosing(section.parent)
    above = around.next_node(nodes.title).astext() if around is not None else ""
    found = re.match(r"\d+\.\d+ ", above)
    return f"{found[0]}{title}" if found and not re.match(r"\d", title) else title


def without(text, label):
    """Take the label off the beginning of a text; returns the first words after it."""
    text.remove(label)
    while text.children and isinstance(text[0], nodes.Text) and not text[0].strip(" .:"):
        text.pop(0)
    if not text.children or not isinstance(text[0], nodes.Text):
        return ""
    text[0] = nodes.Text(text[0].lstrip(" .:"))
    return text[0]


def expected(estimated):
    """ " In the gpu profile a free T4 trains for about 12 minutes, estimated."; "" without one."""
    if not estimated or not estimated["models"]:
        return ""
    least = "at least" if estimated["failed"] else "about"
    minutes = max(1, round(estimated["minutes"]["T4"]))
    minutes = "1 minute" if minutes == 1 else f"{minutes} minutes"
    return f" In the gpu profile a free T4 trains for {least} {minutes}, estimated."
