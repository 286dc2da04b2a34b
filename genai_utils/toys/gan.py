"""A GAN on points of the plane that trains in the page (chapter 26).

The page plays the game of `vision.gan.play`: its losses and the penalty on steep scores, with
gradients written out, both players at once, Adam. Nothing is trained before.
"""

import math

from genai_utils.display.figures import COLORS
from genai_utils.toys.figure import field, toy_figure

RANGE = (-1.6, 1.6, -1.6, 1.6)
DEVIATION = 0.06  # of the data around each centre
RECIPE = {"loss": "pairs", "gamma": 0.1, "rate": 0.004, "ratio": 1, "momentum": 0}
COLLAPSE = {"loss": "non-saturating", "gamma": 0, "rate": 0.006, "ratio": 0.3, "momentum": 0.9}
GAMMAS = (0, 0.02, 0.1, 0.5, 2)
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "gan.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_learn.js", "page_canvas.js", "page_fields.js", "gan.js",
)  # fmt: skip
ALT = (
    "Eight groups of data on a circle, and dots that a generator draws. The colour of the field "
    "says where the discriminator believes in data; a small line at a dot shows where the "
    "discriminator's slope pulls it."
)
CAPTION = (
    "Blue: data, and where the discriminator believes in them. Orange: samples of the generator, "
    "and where they are suspected. The lines pull samples. Dashed: where the discriminator cannot "
    "tell; scores of pairs have no zero, and there it is their mean. Click to put data of your own."
)


def sets():
    """The sets of data: name and centres."""
    turn = [2 * math.pi * i / 8 for i in range(8)]
    ring = [[round(math.cos(t), 3), round(math.sin(t), 3)] for t in turn]
    grid = [[x, y] for x in (-1, 0, 1) for y in (-1, 0, 1)]
    two = [[-0.8, 0], [0.8, 0]]
    return [
        {"name": "ring of eight", "centres": ring},
        {"name": "nine on a grid", "centres": grid},
        {"name": "two groups", "centres": two},
    ]


def bundle():
    """The output that `play("gan")` displays."""
    data = {
        "range": RANGE,
        "deviation": DEVIATION,
        "sets": sets(),
        "recipe": RECIPE,
        "collapse": COLLAPSE,
        "gammas": GAMMAS,
        "width": 24,
        "batch": 64,
        "shown": 240,
        "perFrame": 2,
        "seed": 3,
    }
    left, right, bottom, top = RANGE
    centres, size = sets()[0]["centres"], (right - left, top - bottom)
    body = field(ALT, centres, left, top, size, 480, COLORS["blue"], 0.2)
    return toy_figure(
        "gan", body, CAPTION, data, "ganToy", SCRIPTS, STYLES, ALT, "Show fewer points.",
        looks="genai-gan",
    )  # fmt: skip
