"""Chapter 18: a router, its experts, and what becomes of one token."""

from genai_utils.display.drawings.canvas import LEAST, Canvas

SHARES = (0.15, 0.60, 0.05, 0.20)  # of the router, for the token in the middle
CHOSEN = (1, 3)


def router():
    """A token and the two experts that it passes.

    At the bottom stand three tokens, "the", "black" and "cat". From "black" an arrow leads to the
    router, and from the router to four experts, with the probabilities 0.15, 0.60, 0.05 and 0.20.
    The second and the fourth are the largest and are chosen; the arrows to the other two are
    dashed, and these do not work. The answers of the two are added, with the gates 0.75 and 0.25,
    which are 0.60 and 0.20 divided by their sum.
    """
    c = Canvas(500, 378)
    c.text(250, 22, "*y* = 0.75 · expert 2 + 0.25 · expert 4", kind="output")
    c.node(250, 58, 17, "+", "output")
    c.box(198, 236, 104, 38, "router", "parameter")
    kept = sum(SHARES[i] for i in CHOSEN)
    for i, share in enumerate(SHARES):
        x, on = 14 + 124 * i, i in CHOSEN
        c.box(x, 118, 100, 44, f"expert {i + 1}", "operation" if on else "plain", dashed=not on)
        c.text(x + 50, 186, f"*p* = {share:.2f}", LEAST, kind="strong" if on else "muted")
        side = -34 if i < 2 else 34
        c.arrow((250 + side, 234), (x + 50, 196), kind="operation" if on else "muted",
                dashed=not on)  # fmt: skip
        if on:
            near = 236 if i < 2 else 266
            shift = (-26, -2) if i < 2 else (6, -12)
            c.arrow((x + 50, 116), (near, 68), text=f"{share / kept:.2f}", shift=shift,
                    kind="output")  # fmt: skip
    for i, word in enumerate(("the", "black", "cat")):
        c.box(40 + 160 * i, 312, 100, 36, word, "data" if i == 1 else "plain")
    c.arrow((250, 312), (250, 276))
    c.text(250, 370, "each token chooses for itself", LEAST, kind="muted")
    return c


DRAWINGS = {"router": router}
