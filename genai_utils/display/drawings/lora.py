"""Chapter 15: the low-rank sum beside a frozen matrix, and a draft that is checked in one call."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def low_rank():
    """A frozen matrix, and a narrow way beside it.

    From left to right. A vector x of n numbers goes two ways. Above, through the large matrix W of
    m rows and n columns, which is frozen. Below, through the flat matrix A, r rows and n columns,
    to r numbers, and through the narrow matrix B, m rows and r columns, times alpha over r. Both
    ways end in a sum of m numbers, y. Only A and B are trained. B begins at zero.
    """
    c = Canvas(500, 336)
    x = c.box(8, 120, 40, 40, "*x*", "data")
    W = c.box(150, 20, 150, 110, ["**W** frozen", "*m* × *n*"], "plain")
    A = c.box(94, 226, 122, 44, "**A**  *r* × *n*", "parameter")
    B = c.box(302, 190, 64, 116, ["**B**", "*m* × *r*"], "parameter")
    c.node(412, 140, 20, "+", "operation")
    y = c.box(452, 120, 40, 40, "*y*", "output")
    c.arrow(x.right, (74, 140), (74, 75), W.left)
    c.arrow(x.right, (74, 140), (74, 248), A.left)
    c.arrow(A.right, B.left)
    c.text(259, 238, "*r* numbers", LEAST, kind="muted")
    c.arrow(W.right, (412, 75), (412, 119))
    c.arrow(B.right, (412, 248), (412, 161))
    c.text(420, 206, "× *α*/*r*", LEAST, "start")
    c.arrow((432, 140), y.left)
    c.text(225, 160, "as trained before", LEAST, kind="muted")
    c.text(158, 296, "small random numbers", LEAST, kind="parameter")
    c.text(334, 328, "begins at zero", LEAST, kind="parameter")
    return c


def speculation():
    """Four tokens are drafted, and checked in one call.

    In the upper row the small model writes four tokens after the text so far, one after the other,
    in four small calls. In the middle the large model reads all of them in one call and says of
    each whether it stands: the first two do, the third falls, and with it the fourth. In the lower
    row stand the two tokens that are kept and one more in place of the third, drawn from what the
    large model has more than the small one. So one call of the large model gave three tokens.
    """
    c = Canvas(500, 330)
    c.text(6, 22, "the small model drafts, four calls", LEAST, "start", "muted")
    start = c.box(4, 36, 106, 40, "text so far", "data")
    words, before = ("the", "king", "is", "not"), start
    drafts = []
    for i, word in enumerate(words):
        box = c.box(130 + 92 * i, 36, 70, 40, word, "operation", dashed=i > 1)
        c.arrow(before.right, box.left)
        drafts.append(before := box)
    big = c.box(130, 118, 346, 44, "the large model reads all, one call", "plain")
    c.text(6, 146, "check", LEAST, "start", "muted")
    for i, box in enumerate(drafts):
        c.arrow(box.bottom, (box.bottom[0], big.y))
        c.text(box.bottom[0], 188, ("stands", "stands", "falls", "falls")[i], LEAST,
               kind="output" if i < 2 else "warning")  # fmt: skip
    c.text(6, 246, "kept", LEAST, "start", "muted")
    for i, word in enumerate(("the", "king", "shall")):
        c.box(130 + 92 * i, 220, 70, 40, word, "output")
    c.text(349, 284, "drawn from what the large", LEAST, kind="muted")
    c.text(349, 304, "model has more", LEAST, kind="muted")
    return c


DRAWINGS = {"low-rank": low_rank, "speculation": speculation}
