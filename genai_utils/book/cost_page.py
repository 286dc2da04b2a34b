"""The directives of the page on how cost grows: a figure of all exponents, tables of all curves.

Both are made from `benchmarks/cost.json`, which `python -m benchmarks.cost` writes.
"""

import math
from collections import Counter

from docutils import nodes

from genai_utils.book.nodes import BookDirective, link, paragraph, section, table
from genai_utils.book.stored import digits, exponent, record
from genai_utils.display.drawing import drawn
from genai_utils.display.drawings.canvas import Canvas

NEAR = 0.15  # of theory's exponent: what the intervals of the page are widened by
KINDS = ("time", "memory")


def theory_range(theory):
    """(lowest, highest) exponent of theory: a number, or a list of two."""
    return tuple(theory) if isinstance(theory, list) else (theory, theory)


def verdict(fit, theory):
    """ "as theory", "below" or "above": the interval, widened by NEAR, against theory."""
    low, high = theory_range(theory)
    if fit["high"] + NEAR < low:
        return "below"
    return "above" if fit["low"] - NEAR > high else "as theory"


def said(theory):
    """1 -> "1", 0.5 -> "½", [1, 2] -> "1 to 2"."""
    each = ["½" if value == 0.5 else f"{value:g}" for value in dict.fromkeys(theory_range(theory))]
    return " to ".join(each)


class CostSummary(BookDirective):
    """A sentence for time and one for memory: how many exponents are as theory says."""

    def build(self, env):
        rows = record(env, "cost")["rows"].values()
        parts = []
        for kind in KINDS:
            count = Counter(verdict(row[kind], row["theory"][kind]) for row in rows)
            told = f"{count['as theory']} of {count.total()} exponents of {kind} are theory's"
            told += f", {count['below']} are below it, {count['above']} above"
            parts.append(told)
        return [paragraph(nodes.strong("", f"{parts[0]}; {parts[1]}."))]


class CostExponents(BookDirective):
    """The figure: each measured exponent with its interval, over what theory says."""

    def build(self, env):
        rows = list(record(env, "cost")["rows"].values())
        alt = (
            "Measured exponents with their intervals, in columns by what theory says: 0, 0 to 1 "
            "and so on up to 4. Grey fields are theory. Most circles, for time, and most squares, "
            "for memory, lie on the fields or a little below them."
        )
        html = drawn(exponents(rows), "Measured exponents beside those of theory", alt, "cost")
        return [nodes.raw("", f'<div class="from-notebook">{html}</div>', format="html")]


def exponents(rows, width=640, height=470):
    """The canvas of the figure."""
    canvas = Canvas(width, height)
    columns = {}
    for row in rows:
        for kind in KINDS:
            columns.setdefault(theory_range(row["theory"][kind]), []).append((kind, row[kind]))
    left, right, top, bottom = 34, 6, 40, height - 58
    most = 4.4
    gap, least = 8, 34  # room for a label below the narrowest column
    free = width - left - right - (gap + least) * len(columns)
    one = free / sum(len(fits) for fits in columns.values())

    def y(value):
        return bottom - (bottom - top) * min(max(value, -0.2) + 0.2, most) / (most + 0.2)

    for value in range(5):
        canvas.rule((left - 4, y(value)), (width - right, y(value)))
        canvas.text(left - 10, y(value) + 5, str(value), anchor="end", kind="muted")
    x = left
    for (low, high), fits in sorted(columns.items()):
        wide = least + one * len(fits)
        field = [(x, y(low - NEAR)), (x + wide, y(low - NEAR)),
                 (x + wide, y(high + NEAR)), (x, y(high + NEAR))]  # fmt: skip
        canvas.area(field, "operation")
        label = said([low, high]).split(" to ")
        lines = label if len(label) == 1 else [f"{label[0]} to", label[1]]
        canvas.text(x + wide / 2, bottom + 24, lines)
        fits = sorted(fits, key=lambda pair: (pair[0] == "memory", pair[1]["exponent"]))
        for i, (kind, fit) in enumerate(fits):
            at = x + wide * (i + 0.5) / len(fits)
            role = "data" if kind == "time" else "output"
            canvas.path([(at, y(fit["low"])), (at, y(fit["high"]))], role)
            shape = "circle" if kind == "time" else "square"
            canvas.mark(at, y(fit["exponent"]), shape, role, 3)
        x += wide + gap
    canvas.mark(left + 6, 16, "circle", "data", 4)
    canvas.text(left + 16, 21, "exponent of time", anchor="start", kind="data")
    canvas.mark(left + 164, 16, "square", "output", 4)
    canvas.text(left + 174, 21, "of memory", anchor="start", kind="output")
    canvas.text(width - right, 21, "grey, and below: theory", anchor="end", kind="muted")
    return canvas


class CostTable(BookDirective):
    """A section for each part of the book, with a table of its curves."""

    def build(self, env):
        rows, parts = record(env, "cost")["rows"], {}
        titles = {plan["name"]: plan for plan in self.book.plan}
        for name, row in rows.items():
            parts.setdefault(titles[row["chapter"]]["part"], []).append((name, row))
        return [self.part(part, found) for part, found in parts.items()]

    def part(self, part, rows):
        head = ["What, against what", "Time and memory", "Time", "Memory"]
        made = table(head, [self.row(*row) for row in rows], [34, 20, 23, 23], ["cost-table"])
        for entry, (name, _) in zip(made.next_node(nodes.tbody).children, rows, strict=True):
            entry["ids"] = [nodes.make_id(f"cost-{name}")]
        return section(self, part, made, name=f"cost-{part}")

    def row(self, name, row):
        chapter = row["chapter"]
        number = link(str(int(chapter[:2])), f"../notebooks/{chapter}.html")
        what = [number, nodes.Text("  "), nodes.strong("", row["what"]),
                nodes.Text(f", against {row['axis']}. "), aside(sentence(row["why"]))]  # fmt: skip
        return [what, [curve(row)], *(self.cell(row, kind) for kind in KINDS)]

    def cell(self, row, kind):
        fit, theory = row[kind], row["theory"][kind]
        state = verdict(fit, theory)
        told = f"theory {said(theory)}" + ("" if state == "as theory" else f", {state}")
        parts = [nodes.Text(f"{exponent(fit)} "), aside(told)]
        if kind == "memory":
            parts.append(aside(f": {row['holds']}"))
        elif fit["bend"]:
            parts.append(aside(f"; grows from about {digits(fit['bend'], 2)} on"))
        return parts


def sentence(text):
    """With a capital and a full stop; a formula in front stays as it is."""
    first = text[0].upper() if text[:2].isalpha() or text[1] == " " and text[0] == "a" else text[0]
    return f"{first}{text[1:]}."


def aside(text):
    return nodes.inline("", text, classes=["aside-text"])


def curve(row, width=150, height=64):
    """Both curves as a small picture on logarithmic axes, each in its own unit; lines: the fits."""
    label = (
        f"Time and memory against {row['axis']}, from {digits(row['x'][0], 3)} to "
        f"{digits(row['x'][-1], 3)}: exponents {row['time']['exponent']:.2f} and "
        f"{row['memory']['exponent']:.2f}"
    )
    x = [math.log(value) for value in row["x"]]
    medians = [sorted(each)[len(each) // 2] for each in row["seconds"]]
    curves = {"time": [math.log(v) for v in medians], "memory": [math.log(v) for v in row["bytes"]]}
    # One scale for both curves, so that the steeper one is steeper; noise is not made large.
    span = max(x[-1] - x[0], *(max(y) - min(y) for y in curves.values()))
    parts = []
    for kind, y in curves.items():
        top = max(y)

        def place(u, v, top=top):
            across = 6 + (width - 12) * (u - x[0]) / (x[-1] - x[0])
            return f"{across:.1f} {6 + (height - 12) * (top - v) / span:.1f}"

        fit = row[kind]
        ends = [(u, math.log(fit["scale"]) + fit["exponent"] * u) for u in (x[-4], x[-1])]
        line = "L".join(place(u, v) for u, v in ends)
        dots = "".join(
            '<circle cx="{}" cy="{}" r="2.2"/>'.format(*place(u, v).split())
            for u, v in zip(x, y, strict=True)
        )
        parts.append(f'<g class="curve-{kind}"><path d="M{line}"/>{dots}</g>')
    svg = (
        f'<svg class="cost-curve" role="img" aria-label="{label}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )
    return nodes.raw("", svg, format="html")
