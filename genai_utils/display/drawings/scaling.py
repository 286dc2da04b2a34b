"""Chapter 13: GPT-2's block and a modern one, and the valleys of the loss."""

import math

from genai_utils.display.drawings.canvas import LEAST, Canvas


def modern_block():
    """GPT-2's block, and a modern one beside it.

    Two columns with the same stream from top to bottom. On the left, GPT-2: a table of positions is
    added to the tokens, LayerNorm, attention, LayerNorm, an MLP with GELU, and AdamW trains it. On
    the right each part has changed: no positions are added, RMSNorm takes the place of LayerNorm,
    attention norms its queries and keys and turns them by their places, the MLP has a gate, SwiGLU,
    or ReLU squared, and Muon trains the matrices. The wiring is the same.
    """
    c = Canvas(500, 480)
    for x, title, role, names in (
        (14, "GPT-2, 2019", "operation",
         ("tokens + positions", "LayerNorm", "attention", "", "LayerNorm", "MLP, GELU", "AdamW")),
        (264, "a modern block", "output",
         ("tokens", "RMSNorm", "attention:", "QK-norm, RoPE", "RMSNorm", "SwiGLU / ReLU²", "Muon")),
    ):  # fmt: skip
        first, norm, attend, more, norm2, mlp, optimiser = names
        c.text(x + 108, 24, title, kind="strong")
        c.box(x, 40, 216, 36, first, "data")
        stream, sums = x + 20, []
        for top, one, two in ((100, norm, [attend, more] if more else attend), (244, norm2, mlp)):
            a = c.box(x + 62, top, 154, 34, one, role)
            b = c.box(x + 62, top + 48, 154, 50, two, role if two != "attention" else "operation")
            c.arrow((stream, top + 17), a.left)
            c.arrow(a.bottom, b.top)
            plus = c.node(stream, top + 114, 13, "+", "plain", 18)
            c.arrow(b.bottom, (b.bottom[0], top + 114), plus.right)
            sums.append(plus)
        c.arrow((stream, 76), sums[0].top)
        c.arrow(sums[0].bottom, sums[1].top)
        c.arrow(sums[1].bottom, (stream, 404))
        c.text(stream + 14, 398, "to the next block", LEAST, "start", "muted")
        c.box(x, 424, 216, 36, f"trained by {optimiser}", role)
    return c


def valleys():
    """One valley for each budget, and the line through their bottoms.

    The loss over the size of the model, for three budgets. Each is a valley: on the left the model
    is too small, on the right it has read too little. A larger budget has a lower bottom, further
    to the right. A dashed line joins the bottoms: it says how the best size grows with the budget.
    """
    c = Canvas(500, 330)
    c.arrow((50, 280), (484, 280))
    c.arrow((50, 280), (50, 24))
    c.text(490, 306, "size of the model *N*, logarithmic", LEAST, "end", "muted")
    c.text(34, 150, "loss", LEAST, kind="muted", turn=-90)
    bottoms = [(150, 128), (236, 178), (322, 214)]
    for (x, y), name in zip(bottoms, ("*C*", "10 *C*", "100 *C*"), strict=True):
        points = [(x + 4 * t, y - 52 * (math.cosh(t / 12) - 1)) for t in range(-20, 21)]
        c.path(points, kind="data")
        c.mark(x, y, role="output", radius=6)
        c.text(points[-1][0] + 8, points[-1][1] + 2, name, LEAST, "start")
    ends = [(2 * bottoms[0][i] - bottoms[1][i] for i in (0, 1)), *bottoms]
    c.path([*(tuple(one) for one in ends), (400, 243)], kind="output", dashed=True)
    c.text(70, 262, "too small", LEAST, "start", "muted")
    c.text(300, 262, "too little text", LEAST, "start", "muted")
    return c


DRAWINGS = {"modern-block": modern_block, "valleys": valleys}
