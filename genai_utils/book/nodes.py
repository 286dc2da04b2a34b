"""Small pieces of a page: formulas from plain text, links, tables, sections, numbers."""

import re

from docutils import nodes
from docutils.parsers.rst import Directive

# Formula text in lectures.json: x_t, W_{3x3}, P_data, x^(t-1), R^k; names such as p_sample stay.
_SCRIPT = re.compile(r"([_^])(\{[^}]+\}|\([^()]+\)|data\b|[A-Za-z0-9Α-ω]{1,2}(?![A-Za-z0-9Α-ω]))")


def _word(before):
    """Whether text ends in a word, and not in a single letter or the name of an operator."""
    last = re.search(r"[A-Za-z]*$", before)[0]
    return len(last) > 1 and last not in ("sum", "prod", "argmin", "argmax")


def formula(text):
    """Plain formula text as nodes, with real sub- and superscripts."""
    result, end = [], 0
    for found in _SCRIPT.finditer(text):
        before = text[found.start() - 1 : found.start()]
        if found.start() == 0 or before.isspace() or (found[1] == "_" and found[2][0] == "("):
            continue
        # A subscript belongs to a letter, a bracket or an operator: x_t, Y]_ij; not infer_vector.
        if found[1] == "_" and _word(text[: found.start()]):
            continue
        result.append(nodes.Text(text[end : found.start()]))
        kind = nodes.subscript if found[1] == "_" else nodes.superscript
        inner = found[2].strip("{}") if found[2][0] == "{" else found[2]
        result.append(kind("", inner))
        end = found.end()
    return [*result, nodes.Text(text[end:])]


def paragraph(*parts, classes=()):
    """A paragraph of strings and inline nodes."""
    return nodes.paragraph(
        "", "", *(nodes.Text(p) if isinstance(p, str) else p for p in parts), classes=list(classes)
    )


def link(text, uri):
    """A link to another page of the book, or to another site."""
    return nodes.reference("", text, refuri=uri, internal=not uri.startswith("http"))


def table(head, rows, widths, classes=()):
    """A table; a cell is a string or a list of inline nodes."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]

    def row(cells):
        entries = []
        for cell in cells:
            parts = [cell] if isinstance(cell, str) else cell
            entries.append(nodes.entry("", paragraph(*parts)))
        return nodes.row("", *entries)

    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    return nodes.table("", group, classes=["book-table", *classes])


def section(directive, title, *body, name=None):
    """A section with its own anchor, so that it appears in the page's contents."""
    node = nodes.section("", nodes.title("", title), *body)
    node["ids"] = [nodes.make_id(name or title)]
    node["names"] = [nodes.fully_normalize_name(name or title)]
    directive.state.document.note_implicit_target(node, node)
    return node


def duration(seconds):
    """412.3 -> "6 min 52 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(value, unit=""):
    """Four significant digits, no exponent for ordinary sizes: 89.34, 0.0123, 60,000.

    A percentage that is nothing but rounding is 0.
    """
    if unit == "%" and abs(value) < 1e-9:
        return "0"
    if value == round(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:#.4g}".rstrip(".") if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def where(card):
    """ "6 min 52 s and 1.9 GB on CPU (2 cores)"."""
    return f"{duration(card['seconds'])} and {card['peak_memory_gb']:.1f} GB on {card['device']}"


def worked(card):
    """ "5 min 10 s in 1 thread"; empty on a graphics card and on an older run card.

    What the run would take on a quiet machine: its time holds what other programs took, too.
    """
    if "processor_seconds" not in card or not card["device"].startswith("CPU"):
        return ""
    threads = "1 thread" if card["threads"] == 1 else f"{card['threads']} threads"
    return f"{duration(card['processor_seconds'])} in {threads}"


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
