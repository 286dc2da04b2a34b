"""The pen of all drawings: boxes, arrows, grids and tensors with their shapes, as one SVG.

A canvas is about 500 units wide. On a wide page a unit is a pixel, on a phone two thirds of one, so
no letter is smaller than 15 units. y points down. A place is a pair (x, y).

Text has four marks: `*x*` is an italic and `**X**` a bold letter of mathematics, `_{i}` and `^{T}`
stand below and above the line. Colours are roles, and drawing.css knows them in light and in dark.
"""

import math
import re
from html import escape
from typing import NamedTuple

from genai_utils.inputs import number, one_of, refusal

ROLES = ("data", "operation", "parameter", "output", "warning", "plain")
SIZE, LEAST = 16, 15  # units of a letter: as usual, and at least
EM = 0.56  # a letter is about so wide, in units of its size
MARKS = re.compile(r"(\*\*.+?\*\*|\*.+?\*|[_^]\{.+?\})")


class Box(NamedTuple):
    """A rectangle that was drawn; arrows begin and end at the middles of its sides."""

    x: float
    y: float
    width: float
    height: float

    def at(self, across, down):
        """The place at shares of the width and the height."""
        return (self.x + across * self.width, self.y + down * self.height)

    left = property(lambda self: self.at(0, 0.5))
    right = property(lambda self: self.at(1, 0.5))
    top = property(lambda self: self.at(0.5, 0))
    bottom = property(lambda self: self.at(0.5, 1))
    centre = property(lambda self: self.at(0.5, 0.5))


def short(*values):
    """Numbers as SVG has them: one decimal, no zeros behind it."""
    return " ".join(f"{round(float(value), 1):g}" for value in values)


def spans(text):
    """[(piece, kind, level)] of a text with marks: kind "", "i" or "b"; level -1, 0 or 1."""
    found = []
    for piece in filter(None, MARKS.split(text)):
        if piece[0] in "_^" and piece[1:2] == "{":
            level = -1 if piece[0] == "_" else 1
            found += [(inner, kind, level) for inner, kind, _ in spans(piece[2:-1])]
        elif piece.startswith("**") and len(piece) > 4:
            found.append((piece[2:-2], "b", 0))
        elif piece.startswith("*") and len(piece) > 2:
            found.append((piece[1:-1], "i", 0))
        else:
            found.append((piece, "", 0))
    return found


def about(text, size=SIZE):
    """Roughly the width of a text, in units."""
    return sum(len(piece) * (0.72 if level else 1) for piece, _, level in spans(text)) * size * EM


def plain_text(text):
    """A text without its marks."""
    return "".join(piece for piece, *_ in spans(text))


class Canvas:
    """One drawing. Its methods add to it, from back to front."""

    def __init__(self, width, height):
        self.width = number(width, "width", above=0)
        self.height = number(height, "height", above=0)
        self.parts = []

    def svg(self, title, alt):
        """The `<svg>` element; title and alt are what a reader who cannot see it is told."""
        return (
            f'<svg role="img" viewBox="0 0 {short(self.width, self.height)}" '
            f'font-size="{SIZE}" text-anchor="middle" '
            f'style="width:{short(self.width)}px;max-width:100%;height:auto">'
            f"<title>{escape(title)}</title><desc>{escape(alt)}</desc>{''.join(self.parts)}</svg>"
        )

    # --- Text ------------------------------------------------------------------------------------

    def text(self, x, y, text, size=SIZE, anchor="middle", kind="", turn=0):
        """A line of text whose letters stand on y - or several, below each other, for a list.

        anchor: "start", "middle" or "end"; kind: "" (ink), "muted", "strong" or a role's name;
        turn: degrees, clockwise.
        """
        one_of(anchor, "anchor", ("start", "middle", "end"))
        one_of(kind, "kind", ("", "muted", "strong", *ROLES))
        if number(size, "size") < LEAST:
            raise refusal("size", f"letters of at least {LEAST} units, for phones", f"{size}")
        for row, line in enumerate([text] if isinstance(text, str) else text):
            self.parts.append(self._line(x, y + row * 1.3 * size, line, size, anchor, kind, turn))

    def _line(self, x, y, text, size, anchor, kind, turn):
        pieces, level = [], 0.0  # of the baseline, in units
        for piece, letters, place in spans(text):
            wanted = {-1: 0.22, 0: 0.0, 1: -0.38}[place] * size
            look = f' class="{letters}"' if letters else ""
            look += f' font-size="{short(0.72 * size)}"' if place else ""
            look += f' dy="{short(wanted - level)}"' if wanted != level else ""
            level = wanted
            pieces.append(f"<tspan{look}>{escape(piece)}</tspan>" if look else escape(piece))
        look = f' class="t-{kind}"' if kind else ""
        look += "" if anchor == "middle" else f' text-anchor="{anchor}"'
        look += "" if size == SIZE else f' font-size="{short(size)}"'
        look += f' transform="rotate({turn:g} {short(x, y)})"' if turn else ""
        return f'<text x="{short(x)}" y="{short(y)}"{look}>{"".join(pieces)}</text>'

    # --- Boxes -----------------------------------------------------------------------------------

    def box(self, x, y, width, height, text="", role="operation", size=SIZE, dashed=False, round=8):
        """A box with rounded corners and a text, or a list of lines, in its middle. Gives the Box.

        Raises ValueError where the text has no room in it.
        """
        lines = [text] if isinstance(text, str) else list(text)
        wide = max(about(line, size) for line in lines)
        if text and (wide > width or 1.3 * size * len(lines) > height):
            raise refusal("text", f"what fits into a box of {width:g} x {height:g} units",
                          f"{text!r}, about {wide:.0f} wide", "make the box larger")  # fmt: skip
        look = f"r-{one_of(role, 'role', ROLES)}" + (" dashed" if dashed else "")
        self.parts.append(f'<g><rect class="{look}" x="{short(x)}" y="{short(y)}" rx="{round}" '
                          f'width="{short(width)}" height="{short(height)}"/>')  # fmt: skip
        if text:
            first = y + height / 2 + 0.35 * size - 0.65 * size * (len(lines) - 1)
            self.text(x + width / 2, first, lines, size)
        self.parts.append("</g>")
        return Box(x, y, width, height)

    def node(self, x, y, radius, text="", role="operation", size=SIZE):
        """A circle with a text in it. Gives the Box around it."""
        look = f"r-{one_of(role, 'role', ROLES)}"
        self.parts.append(f'<circle class="{look}" cx="{short(x)}" cy="{short(y)}" '
                          f'r="{short(radius)}"/>')  # fmt: skip
        if text:
            self.text(x, y + 0.35 * size, text, size)
        return Box(x - radius, y - radius, 2 * radius, 2 * radius)

    def ellipse(self, x, y, across, down, role="data", dashed=False):
        """An ellipse around a place, with those two radii."""
        look = f"r-{one_of(role, 'role', ROLES)}" + (" dashed" if dashed else "")
        self.parts.append(f'<ellipse class="{look}" cx="{short(x)}" cy="{short(y)}" '
                          f'rx="{short(across)}" ry="{short(down)}"/>')  # fmt: skip

    def mark(self, x, y, shape="circle", role="data", radius=5):
        """A data point: "circle", "square" or "triangle". Gives the Box around it."""
        one_of(shape, "shape", ("circle", "square", "triangle"))
        if shape == "circle":
            return self.node(x, y, radius, role=role)
        r, k = radius, 0.9 * radius
        around = {
            "square": [(-k, -k), (k, -k), (k, k), (-k, k)],
            "triangle": [(0, -1.2 * r), (1.15 * r, 0.8 * r), (-1.15 * r, 0.8 * r)],
        }
        self.area([(x + dx, y + dy) for dx, dy in around[shape]], role)
        return Box(x - r, y - r, 2 * r, 2 * r)

    def funnel(self, x, y, width, left, right, text="", role="operation"):
        """A network that makes narrow or wide: a trapezium with sides of two heights around y."""
        self.area([(x, y - left / 2), (x + width, y - right / 2),
                   (x + width, y + right / 2), (x, y + left / 2)], role)  # fmt: skip
        if text:
            lines = [text] if isinstance(text, str) else text
            self.text(x + width / 2, y + 0.35 * SIZE - 0.65 * SIZE * (len(lines) - 1), lines)
        most = max(left, right)
        return Box(x, y - most / 2, width, most)

    # --- Lines -----------------------------------------------------------------------------------

    def path(self, points, kind="", dashed=False):
        """A line through the points; kind: "", "muted" or a role."""
        look = " ".join(["line", f"l-{kind}" if kind else "", "dashed" if dashed else ""]).split()
        d = "M" + "L".join(short(*point) for point in points)
        self.parts.append(f'<path class="{" ".join(look)}" d="{d}"/>')

    def rule(self, start, end):
        """A faint line, such as that of a scale."""
        self.parts.append(f'<path class="rule" d="M{short(*start)}L{short(*end)}"/>')

    def area(self, points, role="data"):
        """A filled shape with those corners."""
        d = "M" + "L".join(short(*point) for point in points) + "Z"
        self.parts.append(f'<path class="r-{one_of(role, "role", ROLES)}" d="{d}"/>')

    def arrow(self, *points, text="", shift=(0, -8), anchor="middle", bend=0, kind="",
              dashed=False, head=True):  # fmt: skip
        """An arrow through two or more points, with round corners; `bend` curves one of two.

        text: a label at the middle of the first and the last point, moved by `shift`.
        """
        if len(points) < 2 or (bend and len(points) != 2):
            raise refusal("points", "two or more points, two for a bend", f"{len(points)}")
        (x1, y1), (x2, y2) = points[0], points[-1]
        length = math.hypot(x2 - x1, y2 - y1)
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        if bend:  # a quadratic curve; its middle is half as far out as its handle
            away = ((y2 - y1) / length * bend, -(x2 - x1) / length * bend)
            handle = (middle[0] + 2 * away[0], middle[1] + 2 * away[1])
            middle = (middle[0] + away[0], middle[1] + away[1])
            points = (points[0], handle, points[-1])
        (ax, ay), (tx, ty) = points[-2:]
        far = math.hypot(tx - ax, ty - ay)
        if not far:
            raise refusal("points", "a last step of some length", f"{points[-1]} twice")
        ux, uy = (tx - ax) / far, (ty - ay) / far
        stop = (tx - 7 * ux, ty - 7 * uy) if head else (tx, ty)
        if bend:
            d = f"M{short(*points[0])}Q{short(*handle, *stop)}"
        else:
            d = "M" + short(*points[0])
            for i in range(1, len(points) - 1):
                d += rounded(*points[i - 1 : i + 2])
            d += "L" + short(*stop)
        look = " ".join(["line", f"l-{kind}" if kind else "", "dashed" if dashed else ""]).split()
        self.parts.append(f'<path class="{" ".join(look)}" d="{d}"/>')
        if head:
            wings = [(tx - 9 * ux - s * 4.5 * uy, ty - 9 * uy + s * 4.5 * ux) for s in (1, -1)]
            d = "M" + "L".join(short(*point) for point in [(tx, ty), *wings]) + "Z"
            self.parts.append(f'<path class="head{f" h-{kind}" if kind else ""}" d="{d}"/>')
        if text:
            self.text(middle[0] + shift[0], middle[1] + shift[1], text, LEAST, anchor, "muted")

    def brace(self, start, end, text="", depth=10, kind="muted"):
        """A brace from one point to another, on the left hand of the way; text beyond its tip."""
        (x1, y1), (x2, y2) = start, end
        length = math.hypot(x2 - x1, y2 - y1)
        if length < 4 * depth:
            raise refusal("end", f"a brace of at least {4 * depth} units", f"{length:.0f}")
        ux, uy = (x2 - x1) / length, (y2 - y1) / length
        vx, vy = uy, -ux

        def place(along, out):
            return short(x1 + along * ux + out * vx, y1 + along * uy + out * vy)

        h, half = depth / 2, length / 2
        self.parts.append(
            f'<path class="line l-muted" d="M{place(0, 0)}Q{place(0, h)} {place(h, h)}'
            f"L{place(half - h, h)}Q{place(half, h)} {place(half, depth)}"
            f"Q{place(half, h)} {place(half + h, h)}L{place(length - h, h)}"
            f'Q{place(length, h)} {place(length, 0)}"/>'
        )
        if text:
            lines = [text] if isinstance(text, str) else list(text)
            x, y = (x1 + x2) / 2 + (depth + 6) * vx, (y1 + y2) / 2 + (depth + 6) * vy
            anchor = "start" if vx > 0.5 else "end" if vx < -0.5 else "middle"
            down = {-1: -1.3 * LEAST * (len(lines) - 1), 0: 0.35 * LEAST, 1: 0.75 * LEAST}
            self.text(x, y + down[round(vy)], lines, LEAST, anchor, kind)

    # --- Grids and tensors -----------------------------------------------------------------------

    def grid(self, x, y, cells, size=18, role="data", texts=None):
        """Cells in rows. Gives the Box.

        cells: rows of None (empty), a role, a share from 0 to 1 that shades `role`, or a pair
            (role, share).
        texts: rows of what stands in the cells, or None.
        """
        cells = [list(row) for row in cells]
        if not cells or not cells[0] or any(len(row) != len(cells[0]) for row in cells):
            raise refusal("cells", "rows of one length", f"{[len(row) for row in cells]}")
        groups = {}
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                if cell is None:
                    continue
                if isinstance(cell, str):
                    key = (one_of(cell, "cells", ROLES), "")
                else:
                    mine, share = cell if isinstance(cell, tuple) else (role, cell)
                    share = round(0.06 + 0.94 * number(share, "cells", least=0, most=1), 2)
                    key = (one_of(mine, "role", ROLES), f' fill-opacity="{share:g}"')
                corner = short(x + j * size, y + i * size)
                groups.setdefault(key, []).append(
                    f"M{corner}h{short(size)}v{short(size)}h{short(-size)}z"
                )
        for (name, shade), squares in groups.items():
            look = f"s-{name}" if shade else f"f-{name}"
            self.parts.append(f'<path class="{look}"{shade} d="{"".join(squares)}"/>')
        rows, columns = len(cells), len(cells[0])
        width, height = columns * size, rows * size
        lines = [f"M{short(x, y + i * size)}h{short(width)}" for i in range(rows + 1)]
        lines += [f"M{short(x + j * size, y)}v{short(height)}" for j in range(columns + 1)]
        self.parts.append(f'<path class="rule" d="{"".join(lines)}"/>')
        for i, row in enumerate(texts or []):
            for j, text in enumerate(row):
                if text:
                    self.text(
                        x + (j + 0.5) * size, y + (i + 0.5) * size + 0.35 * LEAST, text, LEAST
                    )
        return Box(x, y, width, height)

    def tensor(self, x, y, rows, columns, name="", shape="", role="data", size=18, behind=0):
        """A table of rows x columns cells, its name above and its shape below. Gives the Box.

        behind: how many more stand behind it, as in a batch.
        """
        for back in range(behind, 0, -1):
            self.box(x + 6 * back, y - 6 * back, columns * size, rows * size, role=role, round=2)
        body = self.grid(x, y, [[role] * columns] * rows, size)
        if name:
            self.text(*body.at(0.5, 0)[:1], y - 6 * behind - 10, name, 18)
        if shape:
            self.text(body.bottom[0], body.bottom[1] + 20, shape, LEAST, kind="muted")
        return body

    def frame(self, box, kind="strong", room=0):
        """A line around a part of something, such as one row of a tensor."""
        self.parts.append(
            f'<rect class="frame" x="{short(box.x - room)}" y="{short(box.y - room)}" rx="2" '
            f'width="{short(box.width + 2 * room)}" height="{short(box.height + 2 * room)}"/>'
        )

    def bar(self, x, y, parts, unit, height=40):
        """A bar cut into parts, [(length, text, role)], `unit` units for 1. Gives the Boxes."""
        boxes = []
        for length, text, role in parts:
            width = number(length, "length", above=0) * unit
            boxes.append(self.box(x, y, width, height, text, role, round=3))
            x += width
        return boxes

    def picture(self, x, y, rows, side):
        """An image from rows of letters: "#" is ink, "+" half of it, "." paper. Gives the Box."""
        ink = {"#": 1, "+": 0.45, ".": 0}
        return self.grid(x, y, [[ink[letter] for letter in row] for row in rows],
                         side / len(rows), role="plain")  # fmt: skip


def toward(start, end, room):
    """The place that lies `room` units before the end of a line."""
    far = math.dist(start, end)
    return tuple(e - (e - s) / far * room for s, e in zip(start, end, strict=True))


def rounded(before, corner, after, radius=9):
    """The piece of a path that turns a corner."""
    ways = []
    for other in (before, after):
        far = math.dist(corner, other)
        share = min(radius, far / 2) / far if far else 0
        ways.append([c + share * (o - c) for c, o in zip(corner, other, strict=True)])
    return f"L{short(*ways[0])}Q{short(*corner, *ways[1])}"
