"""Chapter 30: the same terms for all, and one judge."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def scoreboard():
    """Ten generators, two budgets, one judge.

    On the left one set of training digits of eight grey levels. It goes to all entrants: AE, VAE,
    PixelCNN, MaskGIT, flow, GAN, DDPM and flow matching, and, dashed, the two floors PCA and random
    pixels. A bracket holds them to one budget, equal seconds or equal weights, with three seeds.
    Each hands n samples, rounded to the same grey levels, to one judge. The judge compares them
    with n test digits, and n other test digits with these: that is the floor. Out comes a table.
    """
    c = Canvas(500, 400)
    data = c.box(6, 150, 92, 62, ["digits,", "8 levels"], "data")
    names = ["AE", "VAE", "PixelCNN", "MaskGIT", "flow", "GAN", "DDPM", "flow matching"]
    boxes = []
    for i, name in enumerate(names + ["PCA", "random pixels"]):
        floor = i >= len(names)
        y = 10 + 33 * i + (10 if floor else 0)
        boxes.append(c.box(148, y, 142, 28, name, "plain" if floor else "parameter",
                           size=LEAST, dashed=floor))  # fmt: skip
    c.arrow((data.right[0] + 3, 181), (142, 181))
    c.brace((304, 12), (304, 268))
    c.text(219, 374, "equal seconds,", LEAST, kind="muted")
    c.text(219, 392, "or equal weights; 3 seeds", LEAST, kind="muted")
    judge = c.box(392, 110, 102, 60, "judge", "operation")
    c.arrow((324, 140), (judge.left[0] - 3, 140))
    c.text(357, 104, ["*n* samples"], LEAST, kind="muted")
    real = c.box(392, 206, 102, 46, "test digits", "data")
    c.arrow((real.top[0], 203), (real.top[0], 173))
    table = c.box(392, 24, 102, 46, "the table", "output")
    c.arrow((judge.top[0], 107), (table.bottom[0], 73))
    c.text(443, 274, ["*n* of them;", "*n* others for", "the floor"], LEAST, kind="muted")
    return c


DRAWINGS = {"scoreboard": scoreboard}
