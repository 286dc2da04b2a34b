"""Everything about the slides steps aside, behind one switch.

A chapter belongs to two lectures: its text names their items, "(A93)", and has a box for each slip
of a slide. Whoever came without the slides is not to be interrupted by that. So on a notebook's
page

- a box "Erratum N20" is a folded note, whose first sentence is its one line;
- a bracket of nothing but items or notes, "(A93, B2)", is a span of the class `slide-codes`, with
  the space before it, and so is their part of a bracket, "(Burda et al. 2016; A93)". Items that
  are part of a sentence ("A44 says that …") stay;
- the line "Lecture items: …" has the class `slide-items`;
- after the cost stands a switch, "Show the slides".

`slides.js` hides the last three and folds the notes until the switch is on, which the reader's
browser remembers. Without JavaScript all is shown, and the notes are folded. A link to a folded
place unfolds it.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

_ITEM = r"(?:[AB]\d{1,3}|[NY]\d\d)"  # of a lecture, or a note on its slides
_LIST = rf"{_ITEM}(?:(?:,| and|;| to|–)\s*{_ITEM})*"
_CODES = re.compile(rf"\s?\({_LIST}\)|(?<=\(){_LIST};\s|;\s{_LIST}(?=\))")
_SENTENCE = re.compile(r"[.?!][\"”’')]*(?=\s|$)")
_KEPT = nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.reference

SWITCH = (
    '<button type="button" class="slides-switch" aria-pressed="false" hidden title="Which item '
    'of the two lectures is where, and notes on their slides">Show the slides</button>'
)


class slide_note(nodes.General, nodes.Element):
    """A folded note; its first child is the line that stays."""


class slide_line(nodes.General, nodes.TextElement):
    """The line of a folded note."""


def erratum_note(id, quote, label):
    """The folded note of an erratum, from its quote, without the bold label of its beginning."""
    first = quote[0]
    line = slide_line("", "", nodes.inline("", label, classes=["slide-label"]), nodes.Text(" "))
    for part in _first_sentence(first):
        line += part
    rest = quote.children if first.children else quote.children[1:]
    return slide_note("", line, *rest, ids=[id], classes=["erratum"])


def _first_sentence(paragraph):
    """Take the first sentence out of a paragraph: its nodes."""
    taken = []
    while paragraph.children:
        node = paragraph.pop(0)
        found = _SENTENCE.search(node) if isinstance(node, nodes.Text) else None
        if found:
            taken.append(nodes.Text(node[: found.end()]))
            if rest := node[found.end() :].lstrip():
                paragraph.insert(0, nodes.Text(rest))
            break
        taken.append(node)
    return taken


class SlideCodes(SphinxTransform):
    """Mark what names the items of the slides, and set the switch where there is any."""

    default_priority = 600

    def apply(self):
        if Path(self.env.doc2path(self.env.docname)).suffix != ".ipynb":
            return
        found = [self.mark(text) for text in list(self.document.findall(nodes.Text))]
        for paragraph in self.document.findall(nodes.paragraph):
            if paragraph.astext().startswith("Lecture items:"):
                paragraph["classes"].append("slide-items")
                found.append(True)
        found += self.document.findall(slide_note)
        cost = next(
            (n for n in self.document.findall(nodes.Element) if "cost" in n["classes"]), None
        )
        if any(found) and cost is not None:
            line = cost if isinstance(cost, nodes.paragraph) else cost.parent
            line += [nodes.Text(" "), nodes.raw("", SWITCH, format="html")]

    def mark(self, text):
        """Put the brackets of a piece of text into spans; says whether there was one."""
        above = text.parent
        while above is not None:
            if isinstance(above, _KEPT):
                return False
            above = above.parent
        parts, end = [], 0
        for found in _CODES.finditer(text):
            parts += [
                nodes.Text(text[end : found.start()]),
                nodes.inline("", found[0], classes=["slide-codes"]),
            ]
            end = found.end()
        if parts:
            kept = [part for part in [*parts, nodes.Text(text[end:])] if part.astext()]
            text.parent[text.parent.index(text) : text.parent.index(text) + 1] = kept
        return bool(parts)


def _open(tag):
    return lambda self, node: self.body.append(self.starttag(node, tag, ""))


def _close(tag):
    return lambda self, node: self.body.append(f"</{tag}>\n")


def setup(app):
    app.add_node(slide_note, html=(_open("details"), _close("details")))
    app.add_node(slide_line, html=(_open("summary"), _close("summary")))
    app.add_transform(SlideCodes)
    app.add_css_file("slides.css")
    app.add_js_file("slides.js")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
