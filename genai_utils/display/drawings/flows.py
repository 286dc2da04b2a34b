"""Chapter 25: a coupling layer, and the scales of Glow."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def coupling():
    """A coupling layer: a network that is never inverted.

    The numbers x are split in two halves. The first half, x a, goes through unchanged and is c a.
    On its way it is also read by a network, which answers with s and t. The second half, x b, is
    multiplied by e to the s, then t is added: c b. On the way back c a is known, so the network is
    asked again and gives the same s and t: t is subtracted and the rest multiplied by e to the
    minus s. No arrow goes through the network the other way.
    """
    c = Canvas(500, 300)
    for top, first, second, names in (
        (34, "× *e*^{**s**}", "+ **t**", "xc"),
        (184, "− **t**", "× *e*^{−**s**}", "cx"),
    ):
        a, b = top + 6, top + 86
        here, there = names
        c.text(6, top - 12, "to the code" if here == "x" else "and back",
               LEAST, "start", "strong")  # fmt: skip
        one = c.box(6, a - 16, 50, 34, f"**{here}**_{{*a*}}", "data")
        two = c.box(6, b - 17, 50, 34, f"**{here}**_{{*b*}}", "data")
        end = c.box(444, a - 16, 50, 34, f"**{there}**_{{*a*}}", "output")
        last = c.box(444, b - 17, 50, 34, f"**{there}**_{{*b*}}", "output")
        c.arrow(one.right, end.left, text="unchanged", shift=(120, -8))
        net = c.box(98, a + 20, 96, 34, "network", "parameter")
        c.arrow((146, a + 1), net.top)
        left = c.box(236, b - 17, 66, 34, first, "operation")
        right = c.box(342, b - 17, 66, 34, second, "operation")
        c.arrow(two.right, left.left)
        c.arrow(left.right, right.left)
        c.arrow(right.right, last.left)
        c.arrow((194, a + 37), (right.top[0], a + 37), right.top)
        c.arrow((194, a + 37), (left.top[0], a + 37), left.top, head=True)
        c.text(214, a + 29, "**s**, **t**", LEAST)
    return c


def scales():
    """The scales of Glow: squeeze, bend, and let half of it go.

    An image of 28 by 28 places and one channel is squeezed to 14 by 14 places and four channels.
    Several steps follow, each of ActNorm, a 1 by 1 convolution and a coupling. Half of the channels
    leave: 392 numbers of the code. The other half is squeezed to 7 by 7 places and eight channels,
    more steps follow, and all 392 numbers join the code. In all it has 784 numbers, as many as the
    image.
    """
    c = Canvas(500, 300)
    image = c.grid(8, 78, [["data"] * 4] * 4, 14)
    c.text(image.top[0], 66, "**x**", 18)
    c.text(image.bottom[0] + 6, 164, "28 × 28", LEAST, kind="muted")
    first = c.tensor(132, 88, 2, 2, size=18, behind=3)
    c.arrow((68, 106), (128, 106), text="squeeze", shift=(1, 22))
    c.text(first.bottom[0] + 14, 164, "4 × 14 × 14", LEAST, kind="muted")
    steps = c.box(216, 80, 104, 54, ["steps", "of Glow"], "parameter")
    c.arrow((190, 106), steps.left)
    c.box(408, 60, 84, 190, "", "output")
    c.text(450, 130, "**c**", 20)
    c.text(450, 156, "784", LEAST, kind="muted")
    c.text(450, 176, "numbers", LEAST, kind="muted")
    c.arrow(steps.right, (405, 107), text="half", shift=(0, -8))
    c.text(364, 126, "392", LEAST, kind="muted")
    second = c.tensor(140, 216, 1, 1, size=18, behind=4)
    c.arrow((268, 134), (268, 178), (150, 178), (150, 188))
    c.text(278, 164, "the other half", LEAST, "start", "muted")
    c.text(second.bottom[0] + 10, 262, "8 × 7 × 7", LEAST, kind="muted")
    c.text(104, 214, "squeeze", LEAST, kind="muted")
    more = c.box(216, 204, 104, 54, ["further", "steps"], "parameter")
    c.arrow((190, 228), more.left)
    c.arrow(more.right, (405, 231), text="all", shift=(0, -8))
    c.text(364, 250, "392", LEAST, kind="muted")
    c.text(250, 290, "each step: ActNorm, 1×1 convolution, coupling", LEAST, kind="muted")
    return c


DRAWINGS = {"coupling": coupling, "glow": scales}
