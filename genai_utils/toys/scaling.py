"""What a budget buys: the best size, tokens, time and loss, computed in the page (chapter 13).

The page computes what `language.scaling.plan` computes, with the laws and cards of the package.
"""

import numpy as np

from genai_utils.display.figures import COLORS
from genai_utils.language.scaling import BYTES, CARDS
from genai_utils.language.scaling_law import LAWS
from genai_utils.toys.figure import field, toy_figure

RANGE = (7.0, 13.5, 1.6, 4.2)  # of the field: log10 of the size, loss in nats per token
KNOWN = {  # what was trained: weights and tokens
    "GPT-3": (175e9, 300e9),  # Brown et al. 2020
    "Gopher": (280e9, 300e9),  # Rae et al. 2021
    "Chinchilla": (70e9, 1.4e12),  # Hoffmann et al. 2022
    "Llama 3 8B": (8e9, 15e12),  # Grattafiori et al. 2024
    "Llama 3 405B": (405e9, 15.6e12),
}
UNITS = {"FLOPs": (18, 28), "dollars": (0, 10), "card-hours": (0, 10)}  # log10 of the least, most
START = {"unit": "dollars", "amount": 1e6, "law": "Besiroglu et al. 2024", "card": "H100",
         "rent": 2.0, "use": 0.4, "stretch": 1.0, "cards": 1000}  # fmt: skip
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "scaling.css")
SCRIPTS = ("page_canvas.js", "scaling.js")
ALT = (
    "Valleys of the loss over the size of a model, one for each budget: the larger the budget, the "
    "lower and the further to the right is its bottom. A dot shows the model that your budget buys."
)
CAPTION = (
    "Each curve is one budget: on the left too small a model, on the right too little text. The "
    "dot is your model, the dashed line the bottoms of all valleys. By a law that was fitted to "
    "trainings up to 10²² operations or so: what lies far beyond is extrapolated. Prices and the "
    "share of the peak are yours to set."
)


def curve(law, C, sizes):
    """The loss of models of those sizes (log10), each trained with C operations."""
    N = 10.0**sizes
    return LAWS[law].loss(N, C / 6 / N)


def bundle():
    """The output that `play("scaling")` displays."""
    left, right, bottom, top = RANGE
    sizes = np.linspace(left, right, 120)
    points = [
        (x, y) for e in (20, 22, 24, 26)
        for x, y in zip(sizes, curve(START["law"], 10.0**e, sizes), strict=True) if y < top
    ]  # fmt: skip
    tall = (right - left) * 0.7 / (top - bottom)  # the field is 10 to 7
    points = [(x, bottom + (y - bottom) * tall) for x, y in points]
    data = {
        "range": RANGE,
        "laws": {name: law._asdict() for name, law in LAWS.items()},
        "cards": {name: card._asdict() for name, card in CARDS.items()},
        "known": [{"name": name, "N": N, "D": D} for name, (N, D) in KNOWN.items()],
        "units": UNITS,
        "bytes": BYTES,
        "start": START,
    }
    size = (right - left, (right - left) * 0.7)
    body = field(ALT, points, left, bottom + size[1], size, 480, COLORS["blue"], 0.05)
    return toy_figure(
        "scaling", body, CAPTION, data, "scalingToy", SCRIPTS, STYLES, ALT, "Show fewer curves.",
        looks="genai-scaling",
    )  # fmt: skip
