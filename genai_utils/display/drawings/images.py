"""Chapters 19 to 27: divergences, pixels, codes, sheets, bounds and noise."""

import numpy as np

from genai_utils.display.drawings.canvas import LEAST, Canvas, toward

# A three of 8 x 8 pixels, drawn by hand: "#" ink, "+" half of it.
THREE = (
    "........", ".+####+.", ".....+#.", "...###+.", ".....+#.", "......#.", ".+####+.", "........",
)  # fmt: skip
BLURRED = (
    "........", ".+###++.", "....++#.", "..+###+.", ".....+#.", ".....+#.", ".+###++.", "........",
)  # fmt: skip


# --- 19 Divergences ------------------------------------------------------------------------------

X = np.linspace(-9, 9, 1801)  # the ruler on which densities are added up


def normal(mean, std):
    """The density of a normal on X."""
    return np.exp(-0.5 * ((X - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


TARGET = 0.6 * normal(-3, 0.8) + 0.4 * normal(3, 0.8)  # equation 19.4

# The best normals, mean and standard deviation: forward, those of the whole target.
FORWARD = (0.6 * -3 + 0.4 * 3, np.sqrt(0.8**2 + 9 - (0.6 * -3 + 0.4 * 3) ** 2))
REVERSE = (-3.0, 0.8)


def kl(p, q):
    """The divergence of q from p, in nats."""
    return float(np.sum(p * np.log(p / q)) * (X[1] - X[0]))


def kl_directions():
    """The two directions of the divergence, on two bumps.

    Two panels show the same blue target with a bump of 60 % at -3 and one of 40 % at 3, and the
    best normal curve by either direction. Forward, weighed by P data: the best curve is broad, with
    mean -0.6 and standard deviation 3.05. It covers both bumps and puts most of its mass between
    them, for 0.66 nats. Reverse, weighed by P g: the best curve is narrow and sits on the left
    bump, as if the other did not exist, for 0.51 nats.
    """
    c = Canvas(500, 430)
    covers, seeks = normal(*FORWARD), normal(*REVERSE)
    panels = (
        ("Forward", "*D*_{KL}(*P*_{data} ‖ *P*_{*g*})", covers, kl(TARGET, covers), (250, 54)),
        ("Reverse", "*D*_{KL}(*P*_{*g*} ‖ *P*_{data})", seeks, kl(seeks, TARGET), (230, 108)),
    )
    for k, (title, formula, q, value, label) in enumerate(panels):
        floor = 180 + 220 * k
        c.text(10, floor - 152, title, 17, "start", "strong")
        c.text(106, floor - 152, formula, 17, "start")
        c.text(490, floor - 152, f"{value:.2f} nats", anchor="end", kind="muted")

        def curve(density, floor=floor):
            return list(zip(25 * X[::15] + 250, floor - 250 * density[::15], strict=True))

        c.area([(25, floor), *curve(TARGET), (475, floor)], "data")
        c.path(curve(q), "warning")
        c.path([(25, floor), (475, floor)], "muted")
        for x in (-3, 3):
            c.text(250 + 25 * x, floor + 19, f"{x}".replace("-", "−"), LEAST, kind="muted")
        c.text(370, floor - 64, "*P*_{data}", 17, "start", "data")
        c.text(label[0], floor - label[1], "*P*_{*g*}", 17, kind="warning")
    return c


# --- 20 Pixel models -----------------------------------------------------------------------------


def seen_by_one_stack(size, row, column, layers):
    """Which pixels the logit of one pixel depends on: masked 3 x 3 kernels, one A and then B.

    The same as where the Jacobian of `vision.pixel_models.MaskedPixelCNN` is not zero.
    """
    back = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    places = {(row, column)}
    for layer in range(layers + 1):
        reached = {(r + dr, c + dc) for r, c in places for dr, dc in back}
        # Mask B, of all layers but the one that reads the image, keeps the place itself.
        places = reached if layer == layers else reached | places
        places = {(r, c) for r, c in places if 0 <= r < size and 0 <= c < size}
    return places


def blind_spot():
    """What a pixel sees: one stack of masks has a blind spot, two stacks have none.

    Two grids of 15 by 15 pixels. A dark pixel stands in row 10, column 5; pixels after it are
    empty. On the left, one stack of masked convolutions sees the pixels before it but for a wedge
    to the right of it: 36 pixels that come before and are not seen. On the right two stacks: the
    vertical one sees all rows above, the horizontal one what is left of the pixel in its own row,
    and no pixel is missed.
    """
    size, row, column, cell = 15, 10, 5, 15
    c = Canvas(500, 342)
    seen = seen_by_one_stack(size, row, column, 12)
    earlier = [(r, k) for r in range(size) for k in range(size) if (r, k) < (row, column)]
    missed = [place for place in earlier if place not in seen]
    looks = {"one": {place: "warning" if place in missed else "data" for place in earlier}}
    looks["two"] = {(r, k): "data" if r < row else "output" for r, k in earlier}
    for at, name, title in ((6, "one", "One masked stack"), (269, "two", "Two stacks")):
        look = looks[name]
        body = c.grid(at, 34, [[look.get((r, k)) for k in range(size)] for r in range(size)], cell)
        c.text(at, 22, title, anchor="start", kind="strong")
        c.grid(at + column * cell, 34 + row * cell, [[1]], cell, "plain")
        legend = (
            [("data", "seen"), ("warning", f"blind spot: {len(missed)} pixels")]
            if name == "one"
            else [("data", "**v**: the rows above"), ("output", "**h**: its own row")]
        )
        for k, (role, what) in enumerate(legend):
            y = body.y + body.height + 22 + 26 * k
            c.mark(at + 8, y, "square", role, 7)
            c.text(at + 24, y + 5, what, LEAST, "start")
        if name == "one":
            for r, k in missed:
                x, y = at + k * cell, 34 + r * cell
                c.path([(x, y + cell), (x + cell, y)], "muted")
    return c


# --- 21 MaskGIT ----------------------------------------------------------------------------------

GRID = (".......", ".#####.", ".....#.", "..####.", ".....#.", ".#####.", ".......")  # of codes


def token_numbers():
    """A number for each place of GRID: equal surroundings, equal number, and 0 is empty paper."""
    ink = np.pad(np.array([[letter == "#" for letter in row] for row in GRID], int), 1)
    kinds = ink[1:-1, 1:-1] * (
        1 + ink[:-2, 1:-1] + 2 * ink[2:, 1:-1] + 4 * ink[1:-1, :-2] + 8 * ink[1:-1, 2:]
    )
    return [[int(kind * 7 % 32) for kind in row] for row in kinds]


def image_tokens():
    """An image becomes 49 tokens, and an image again.

    From left to right: an image of 28 by 28 pixels; an encoder; a grid of 7 by 7 numbers; a
    decoder; the image rebuilt. Below the grid stands a codebook of K = 32 entries. The encoder's
    vector at each place is replaced by the nearest entry, and the number of the entry is the token.
    Places that look alike have the same token.
    """
    c = Canvas(500, 320)
    x = c.picture(6, 59, THREE, 80)
    c.funnel(98, 99, 48, 80, 124, "*f*", "parameter")
    numbers = token_numbers()
    body = c.grid(170, 19, [["output" if n else "data" for n in row] for row in numbers], 23,
                  texts=[[f"{n}" for n in row] for row in numbers])  # fmt: skip
    c.funnel(354, 99, 48, 124, 80, "*g*", "parameter")
    a = c.picture(414, 59, BLURRED, 80)
    c.text(x.bottom[0], 162, "28 × 28", LEAST, kind="muted")
    c.text(a.bottom[0], 162, "28 × 28", LEAST, kind="muted")
    c.text(122, 186, "encoder", LEAST, kind="muted")
    c.text(378, 186, "decoder", LEAST, kind="muted")
    c.text(body.bottom[0], 204, "7 × 7 tokens", LEAST, kind="muted")
    rng = np.random.default_rng(0)
    for k in range(6):
        at = 146 + 30 * k + (26 if k == 5 else 0)
        c.grid(at, 250, rng.uniform(0, 1, (4, 1)), 11, "parameter")
        c.text(at + 5.5, 313, f"{k}" if k < 5 else "31", LEAST, kind="muted")
    c.text(308, 278, "…", 20)
    c.arrow((250.5, 243), (250.5, 212))
    c.text(264, 233, "the nearest entry", LEAST, "start", "muted")
    c.text(130, 278, "codebook", LEAST, "end", "parameter")
    return c


def rounds_left(blanks, steps):
    """How many are hidden before round 1 and after each round, by the cosine of chapter 21.

    The same as `language.fill_in.still_hidden`, of which this room knows nothing.
    """
    left = [blanks]
    for k in range(1, steps + 1):
        wanted = int(np.cos(np.pi / 2 * k / steps) * blanks + 1e-9)
        left.append(max(0, min(wanted, left[-1] - 1)))
    return left


def rounds():
    """Forty-nine tokens in eight rounds.

    Five grids of 7 by 7 places, before the first round and after rounds 2, 4, 6 and 8 of 8. Hidden
    places are striped, known ones show paper or ink. 49 are hidden at first, then 45, 34, 18 and
    0, by the cosine schedule: few are filled while little is known. Which places are filled first
    is made up here.
    """
    c = Canvas(500, 176)
    left = rounds_left(49, 8)
    order = np.random.default_rng(4).permutation(49)
    for panel, k in enumerate((0, 2, 4, 6, 8)):
        at, cell = 7 + 100 * panel, 12
        known = set(order[: 49 - left[k]].tolist())
        shown = [("plain", 0.7) if letter == "#" else None for row in GRID for letter in row]
        cells = [shown[place] if place in known else "warning" for place in range(49)]
        body = c.grid(at, 40, [cells[row : row + 7] for row in range(0, 49, 7)], cell)
        for place in set(range(49)) - known:
            x, y = at + place % 7 * cell, 40 + place // 7 * cell
            c.path([(x + 3, y + cell - 3), (x + cell - 3, y + 3)], "muted")
        c.text(body.top[0], 26, f"round {k}" if k else "start", LEAST, kind="strong")
        c.text(body.bottom[0], 148, f"{left[k]}", 18)
    c.text(250, 170, "tokens still hidden", LEAST, kind="muted")
    return c


# --- 22 Autoencoders -----------------------------------------------------------------------------


def autoencoder():
    """A funnel: many numbers, few numbers, many numbers.

    An image x of 32 by 32 pixels, 1,024 numbers, goes into the encoder f, a funnel that becomes
    narrow. Out comes the code c, 32 numbers. The decoder g, a funnel that becomes wide, makes the
    image a of it, as large as x and a little blurred. Below, in bits: 8,192, then 256 if each
    number of the code has 8 bits.
    """
    c = Canvas(500, 240)
    x = c.picture(16, 40, THREE, 112)
    c.funnel(142, 96, 88, 112, 60, "*f*", "parameter")
    code = c.grid(244, 66, [["output"]] * 5, 12)
    c.funnel(270, 96, 88, 60, 112, "*g*", "parameter")
    a = c.picture(372, 40, BLURRED, 112)
    for body, name, numbers, bits in (
        (x, "**x**", "1,024 numbers", "8,192 bits"), (code, "**c**", "32 numbers", "256 bits"),
        (a, "**a** ≈ **x**", "1,024 numbers", "8,192 bits"),
    ):  # fmt: skip
        c.text(body.top[0], 26, name, 18)
        c.text(body.bottom[0], 190, numbers, LEAST, kind="muted")
        c.text(body.bottom[0], 212, bits, LEAST, kind="muted")
    return c


# --- 23 Manifolds --------------------------------------------------------------------------------


def sheet(t):
    """A place on the sheet, for t from 0 to 1; here the sheet is a line."""
    return np.array([30 + 440 * t, 200 - 75 * np.sin(5.2 * t + 0.2) - 40 * t])


def tangent_at(t):
    """The direction of the sheet, of length 1."""
    way = sheet(t + 1e-4) - sheet(t - 1e-4)
    return way / np.hypot(*way)


def manifold():
    """Data near a thin sheet: noise leads away from it, a denoiser leads back.

    Points lie near a curved line, the sheet. On the left a point x is moved off the sheet by noise,
    to x plus s epsilon, and an arrow leads from there back to the sheet, to the denoiser's answer.
    On the right, at another point, a tangent vector t lies along the sheet: in this direction the
    code changes. An arrow at a right angle to it, off the sheet, is where the code stays the same.
    """
    c = Canvas(500, 320)
    rng = np.random.default_rng(11)
    c.path([tuple(sheet(t)) for t in np.linspace(-0.04, 1.04, 90)], "data")
    for t in np.sort(rng.uniform(0, 1, 30)):
        way = tangent_at(t)
        if min(abs(t - 0.2), abs(t - 0.72)) > 0.04:
            c.mark(*(sheet(t) + rng.normal() * 5 * np.array([way[1], -way[0]])), radius=4)

    x, way = sheet(0.2), tangent_at(0.2)
    off = np.array([way[1], -way[0]])  # a right angle to the sheet, upwards
    noisy, answer = x + 66 * off + 38 * way, sheet(0.2) + 10 * way
    c.arrow(toward(noisy, x, 9), toward(x, noisy, 8), kind="warning", dashed=True)
    c.arrow(toward(answer, noisy, 8), toward(noisy, answer, 7), kind="output")
    c.mark(*x, radius=6), c.mark(*noisy, "square", "warning", 6)
    c.text(x[0] + 6, x[1] + 26, "**x**", 18)
    c.text(noisy[0] + 14, noisy[1] - 2, "**x** + *s* **ε**", 17, "start", "warning")
    c.text(noisy[0] + 22, noisy[1] + 40, "the denoiser's answer", LEAST, "start", "output")

    x, way = sheet(0.72), tangent_at(0.72)
    off = np.array([way[1], -way[0]])
    for sign in (1, -1):
        c.arrow(tuple(x + 9 * sign * way), tuple(x + 76 * sign * way), kind="parameter")
    c.arrow(tuple(x + 9 * off), tuple(x + 66 * off), kind="muted", dashed=True)
    c.mark(*x, radius=6)
    tip = x + 76 * way
    c.text(tip[0] + 14, tip[1] + 8, "**t**", 18, kind="parameter")
    c.text(tip[0] - 14, tip[1] + 32, "the code changes", LEAST, kind="parameter")
    tip = x + 66 * off
    c.text(tip[0], tip[1] - 10, "the code stays", LEAST, kind="muted")
    return c


# --- 24 Variational autoencoders -----------------------------------------------------------------


def vae():
    """An encoder that answers with a distribution.

    An image x goes into the encoder f. It returns, for k code units, k means mu and k numbers log
    sigma squared. In the plane of the codes they are an ellipse with its middle at mu and the radii
    sigma; a dashed circle around zero is the prior. A code c is drawn from the ellipse: mu plus
    sigma times epsilon, with noise epsilon from outside. The decoder g turns c into the image a.
    """
    c = Canvas(500, 316)
    x = c.picture(6, 78, THREE, 78)
    c.funnel(96, 117, 54, 78, 46, "*f*", "parameter")
    plane = c.box(188, 40, 154, 154, role="plain")
    c.arrow((153, 117), (185, 117))
    middle = np.array(plane.centre)
    c.ellipse(*middle, 48, 48, "plain", dashed=True)
    mu, sigma = middle + (12, -10), np.array([25, 15])
    c.ellipse(*mu, *sigma, "output")
    code = mu + sigma * (-0.55, 0.6)
    c.mark(*mu, radius=3.5, role="plain")
    c.text(mu[0], mu[1] - 20, "**μ**", 17)
    c.mark(*code, "square", "warning", 5)
    c.text(code[0] - 16, code[1] + 16, "**c**", 18)
    c.text(middle[0], 186, "*N*(0, **I**)", LEAST, kind="muted")
    c.arrow((345, 117), (365, 117))
    c.funnel(368, 117, 46, 46, 70, "*g*", "parameter")
    a = c.picture(424, 82, BLURRED, 70)
    c.text(x.bottom[0], 64, "**x**", 18)
    c.text(a.bottom[0], 64, "**a**", 18)
    c.text(plane.top[0], 28, "*Q*(**c** | **x**)", 17)
    c.text(108, 190, ["**μ**, log **σ**^{2}"], 17)
    c.text(108, 212, "2*k* numbers", LEAST, kind="muted")
    c.text(412, 190, "**c**", 17)
    c.text(412, 212, "*k* numbers", LEAST, kind="muted")
    c.arrow((265, 250), (265, 198), kind="warning")
    c.text(265, 270, "**c** = **μ** + **σ** ⊙ **ε**", 17)
    c.text(265, 294, "**ε** is noise from outside", LEAST, kind="muted")
    return c


def bound():
    """The bound as a bar that is cut in two.

    Two bars of the same length, minus the ELBO, in nats. The first is cut as training computes it:
    1.77 for rebuilding the image, and 0.42 for the divergence of Q from the prior. The second is
    cut as it cannot be computed for a network: 1.60 for minus log P of x, which no encoder changes,
    and 0.60 for the gap, the divergence of Q from the true posterior. The gap is never below zero,
    so the bar is never shorter than minus log P of x.
    """
    # The continuous example of section 24.3: x = 1.2, w = 1, s^2 = 0.5, and an encoder of our own.
    x, var, mu, q = 1.2, 0.5, 0.2, 0.2
    rebuild = 0.5 * np.log(2 * np.pi * var) + ((x - mu) ** 2 + q) / (2 * var)
    prior = 0.5 * (q - 1 - np.log(q) + mu**2)
    log_p = -0.5 * np.log(2 * np.pi * (1 + var)) - x**2 / (2 * (1 + var))
    gap = rebuild + prior + log_p
    unit = 480 / (rebuild + prior)
    c = Canvas(500, 306)
    rows = (
        (44, "What training adds up", (rebuild, "data"), (prior, "parameter"),
         "−E log *P*(**x** | **c**)", "rebuild the image",
         "*D*_{KL}(*Q* ‖ *P*(**c**))", "stay near the prior"),
        (196, "What it is", (-log_p, "output"), (gap, "warning"),
         "−log *P*(**x**)", "no encoder changes it",
         "*D*_{KL}(*Q* ‖ *P*(**c** | **x**))", "how wrong *Q* is"),
    )  # fmt: skip
    for y, title, (one, role), (two, other), first, below, second, under in rows:
        c.text(10, y - 16, title, anchor="start", kind="strong")
        c.bar(10, y, [(one, f"{one:.2f}", role), (two, f"{two:.2f}", other)], unit, 40)
        c.text(10, y + 64, first, 17, "start")
        c.text(10, y + 86, below, LEAST, "start", "muted")
        c.text(490, y + 64, second, 17, "end")
        c.text(490, y + 86, under, LEAST, "end", "muted")
    c.text(490, 28, f"−ELBO = {rebuild + prior:.2f} nats", anchor="end")
    return c


# --- 26 Generative adversarial networks -----------------------------------------------------------


def gan():
    """Two players and two ways back.

    Noise z goes into the generator G, which returns a sample. Data x and the sample both go into
    the discriminator D, which answers with a score a; D is the probability of data. Below, two
    arrows lead back: the loss of the discriminator changes D only, the loss of the generator goes
    through D, which is held still, into G.
    """
    c = Canvas(500, 330)
    c.box(6, 166, 40, 40, "**z**", role="plain")
    c.arrow((49, 186), (70, 186))
    c.funnel(73, 186, 54, 44, 78, "*G*", "parameter")
    c.arrow((130, 186), (150, 186))
    fake = c.picture(153, 151, BLURRED, 70)
    real = c.picture(153, 40, THREE, 70)
    c.text(fake.bottom[0], 240, "*G*(**z**)", 17)
    c.text(real.top[0], 28, "**x**", 18)
    c.arrow((227, 78), (292, 112))
    c.arrow((227, 184), (292, 150))
    c.funnel(296, 131, 66, 86, 46, "*D*", "operation")
    c.arrow((365, 131), (392, 131))
    c.text(446, 124, "*a* = log *p*/*q*", LEAST)
    c.text(446, 146, "at its best", LEAST, kind="muted")
    c.arrow((446, 166), (446, 258), kind="operation")
    c.text(446, 276, "*L*_{D}", 18, kind="operation")
    c.arrow((420, 272), (329, 186), kind="operation")
    c.text(352, 250, "moves *D*", LEAST, "end", kind="operation")
    c.text(446, 312, "*L*_{G}", 18, kind="parameter")
    c.arrow((420, 308), (100, 234), kind="parameter")
    c.text(176, 306, "through *D*, held still: moves *G*", LEAST, kind="parameter")
    return c


# --- 27 Diffusion --------------------------------------------------------------------------------


def diffusion():
    """Noise is added by a rule, and taken away by a network.

    Five pictures of a three in a row, with more and more noise from left to right: x 0, then x t-1,
    x t, and x T, which is noise alone. Arrows above lead to the right, from data to noise: Q, a
    rule, nothing to learn. Arrows below lead to the left: P theta, a network that takes a little of
    the noise away, and adds fresh noise z. A long arrow on top leads from x 0 to x t in one step.
    """
    c = Canvas(500, 258)
    rng = np.random.default_rng(3)
    ink = {"#": 1.0, "+": 0.0, ".": -1.0}
    clean = np.array([[ink[letter] for letter in row] for row in THREE])
    eps = rng.normal(size=clean.shape)
    side = 68
    left = [8 + 104 * k for k in range(5)]
    boxes = []
    for x, bar in zip(left, (1.0, 0.85, 0.55, 0.25, 0.0), strict=True):
        noisy = np.sqrt(bar) * clean + np.sqrt(1 - bar) * eps
        shade = np.clip((noisy + 1.6) / 3.2, 0, 1) if bar < 1 else (noisy + 1) / 2
        boxes.append(c.grid(x, 96, shade.tolist(), side / 8, role="plain"))
    for box, name in zip(
        boxes, ("**x**_{0}", "", "**x**_{*t*−1}", "**x**_{*t*}", "**x**_{*T*}"), strict=True
    ):
        c.text(box.bottom[0], 194, name, 18)
    for one, other in zip(boxes, boxes[1:], strict=False):
        c.arrow((one.right[0] + 4, 118), (other.left[0] - 4, 118), kind="data")
        c.arrow((other.left[0] - 4, 148), (one.right[0] + 4, 148), kind="output")
    c.arrow((boxes[0].top[0], 90), (boxes[0].top[0], 62), (boxes[3].top[0], 62),
            (boxes[3].top[0], 90), kind="data")  # fmt: skip
    c.text(250, 26, "*Q*: a rule adds noise, nothing is learned", kind="data")
    c.text(202, 50, "√*ᾱ*_{*t*} **x**_{0} + √(1 − *ᾱ*_{*t*}) **ε**, in one step", LEAST)
    c.text(250, 224, "*P*_{*θ*}: a network takes a little noise away", kind="output")
    c.text(250, 248, "and adds fresh noise σ_{*t*} **z**", LEAST, kind="muted")
    return c


def unet():
    """A U-Net: down to coarse levels and up again, with bridges.

    A noisy picture x t comes in at the upper left, 28 by 28 places with 32 channels. Two steps down
    lead to 14 by 14 places with 64 channels and to 7 by 7 with 64, where attention joins all of
    them. Two steps up on the right lead back to 28 by 28, and out comes the noise. Dashed bridges
    carry each level from the left side to the same level on the right. The time t, and the class y
    where there is one, are told to every block.
    """
    c = Canvas(500, 330)
    levels = (("28 × 28", "32", 52, 86), ("14 × 14", "64", 142, 64), ("7 × 7", "64", 232, 46))
    sides = []
    for k, (places, channels, y, height) in enumerate(levels):
        x = 60 + 46 * k
        one = c.box(x, y, 30 + 6 * k, height, role="parameter", round=3)
        other = c.box(500 - x - 30 - 6 * k, y, 30 + 6 * k, height, role="parameter", round=3)
        sides.append((one, other))
        if k < 2:
            c.arrow((one.right[0] + 3, one.centre[1]), (other.left[0] - 3, other.centre[1]),
                    kind="muted", dashed=True)  # fmt: skip
            c.text(250, one.centre[1] - 10, f"{places}, {channels} channels", LEAST, kind="muted")
    deep, back = sides[2]
    middle = c.box(216, 238, 68, 34, "attend", role="operation", size=LEAST)
    c.arrow((deep.right[0] + 3, 255), (middle.left[0] - 2, 255))
    c.arrow((middle.right[0] + 2, 255), (back.left[0] - 3, 255))
    c.text(250, 226, "7 × 7, 64", LEAST, kind="muted")
    for (one, other), (low, high) in zip(sides, sides[1:], strict=False):
        c.arrow((one.bottom[0], one.y + one.height + 2), (one.bottom[0], low.centre[1]),
                (low.left[0] - 2, low.centre[1]))  # fmt: skip
        c.arrow((high.right[0] + 2, high.centre[1]), (other.bottom[0], high.centre[1]),
                (other.bottom[0], other.y + other.height + 3))  # fmt: skip
    first, last = sides[0]
    c.arrow((30, 95), (first.left[0] - 2, 95))
    c.arrow((last.right[0] + 2, 95), (470, 95))
    c.text(18, 100, "**x**_{*t*}", 18)
    c.text(484, 100, "**ε**", 18)
    c.text(250, 26, "bridges: where things are", kind="muted")
    c.text(250, 312, "*t* and *y* are told to every block", LEAST, kind="muted")
    return c


DRAWINGS = {
    "kl-directions": kl_directions,
    "blind-spot": blind_spot,
    "image-tokens": image_tokens,
    "rounds": rounds,
    "autoencoder": autoencoder,
    "manifold": manifold,
    "vae": vae,
    "bound": bound,
    "gan": gan,
    "diffusion": diffusion,
    "unet": unet,
}
