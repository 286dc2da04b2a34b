"""A mixture of experts on the plane that trains in the page, with a balanced load or without.

Each expert is a flat sheet, and the landscape has hills and valleys, so that none can do it alone.
The page does what `language.moe` does: `choose`, `balance_loss`, `bias_step`, with the gradients
written out, and Adam. Nothing is trained before.
"""

import math

from genai_utils.display.figures import COLORS
from genai_utils.display.tokens import GROUPS
from genai_utils.toys.figure import field, toy_figure

RANGE = (-1.6, 1.6, -1.6, 1.6)
RULES = {"balance": "loss", "k": 1}
WEIGHT, BIAS_RATE, RATE = 0.1, 0.01, 0.02  # of the balance loss, of a bias step, of Adam
WORKING = 0.16  # of an even share: an expert with less is not at work
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "moe.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_learn.js", "page_canvas.js", "page_fields.js", "moe.js",
)  # fmt: skip
ALT = (
    "A square with hills and valleys. A mixture of experts learns their height; each place is "
    "coloured by the expert that the router sends it to. Bars show the share of each expert."
)
CAPTION = (
    "Eight experts, each a flat sheet, learn a landscape; a router sends every point to one of "
    "them, and its colour shows which. Lines: contours of the landscape. Choose how the load is "
    "kept even, and train again from the same first weights."
)


def hills():
    """Places where the first landscape is high, for the picture before the script runs."""
    steps = [RANGE[0] + 0.1 * i for i in range(33)]
    return [(x, y) for x in steps for y in steps if math.sin(3 * x) * math.cos(3 * y) > 0.5]


def bundle():
    """The output that `play("moe")` displays."""
    data = {
        "range": RANGE,
        "grid": 65,
        "rules": RULES,
        "experts": 8,
        "weight": WEIGHT,
        "biasRate": BIAS_RATE,
        "rate": RATE,
        "working": WORKING,
        "colours": list(GROUPS),
        "batch": 128,
        "perFrame": 3,
        "most": 1500,
        "seed": 1,
    }
    left, right, bottom, top = RANGE
    size = (right - left, top - bottom)
    body = field(ALT, hills(), left, top, size, 400, COLORS["blue"], 0.06)
    return toy_figure(
        "moe", body, CAPTION, data, "moeToy", SCRIPTS, STYLES, ALT, "Show fewer points.",
        looks="genai-moe",
    )  # fmt: skip
