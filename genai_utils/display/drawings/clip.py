"""Chapter 28: two networks and the table of their cosines."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def clip():
    """CLIP: two networks, one table of cosines.

    Four sentences pass a text network, from above, and become the vectors T 1 to T 4. Four
    pictures pass an image network, on the left, and become the vectors I 1 to I 4. All have length
    1. A table of four by four holds the cosine of each picture with each sentence. Training makes
    the diagonal large, where the pairs are, against the rest of its row and of its column. A new
    picture is classified by its row alone: the sentence with the largest cosine names it.
    """
    c = Canvas(500, 374)
    side, left, top = 50, 262, 132
    c.text(left + 2 * side, 24, "“a blue star”, …", LEAST, kind="data")
    text = c.box(left, 38, 4 * side, 34, "text network", "operation")
    c.arrow(text.bottom, (text.bottom[0], 96))
    pictures = c.tensor(34, top + 52, 2, 2, size=36, role="data", behind=2)
    c.text(pictures.centre[0] + 6, top + 156, "pictures", LEAST, kind="data")
    image = c.box(136, top + 63, 84, 74, ["image", "network"], "operation")
    c.arrow((pictures.right[0] + 14, image.centre[1]), image.left)
    c.arrow(image.right, (left - 30, image.centre[1]))
    cells = [[("output", 0.75) if i == j else ("data", 0.12) for j in range(4)] for i in range(4)]
    table = c.grid(left, top, cells, side)
    for i in range(4):
        middle = (i + 0.5) * side
        c.text(left + middle, top - 12, f"**T**_{{{i + 1}}}")
        c.text(left - 16, top + middle + 6, f"**I**_{{{i + 1}}}")
    c.text(left + 2 * side, table.y + table.height + 26,
           "⟨**T**_{*j*}, **I**_{*i*}⟩: large for the pairs", LEAST)  # fmt: skip
    c.text(34, 60, "a row: which sentence?", LEAST, "start", "muted")
    c.text(34, 84, "a column: which picture?", LEAST, "start", "muted")
    return c


def simplex():
    """Where two, three and four vectors come to: not at right angles.

    Three circles. In the first two vectors point in opposite directions, their inner product is
    minus 1. In the second three vectors stand at 120 degrees, minus one half. In the third four
    vectors point to the corners of a tetrahedron, minus one third. Right angles, 0, are reached
    only as the number of vectors grows without end.
    """
    c = Canvas(500, 214)
    for x, ends, name in (
        (90, [(0, -62), (0, 62)], "*B* = 2: −1"),
        (250, [(0, -62), (53.7, 31), (-53.7, 31)], "*B* = 3: −½"),
        (410, [(0, -62), (58, 22), (-44, 42), (-18, 17)], "*B* = 4: −⅓"),
    ):
        c.ellipse(x, 92, 66, 66, "plain")
        for dx, dy in ends:
            c.arrow((x, 92), (x + dx, 92 + dy), kind="output")
        c.text(x, 190, name)
    return c


DRAWINGS = {"clip": clip, "simplex": simplex}
