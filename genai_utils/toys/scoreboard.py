"""Six generators of points, five measures: the order depends on the measure (chapter 30).

The page draws the points and computes what `evaluation` computes. Nothing is trained before.
"""

from genai_utils.display.figures import COLORS
from genai_utils.toys.figure import field, toy_figure

RANGE = (-1.6, 1.6, -1.6, 1.6)
CENTRES = ((-0.8, -0.5), (0.8, -0.5), (0.0, 0.9))
DEVIATION = 0.22
LARGER = {  # measure -> whether more of it is better
    "Fréchet distance": False,
    "precision": True,
    "recall": True,
    "diversity": True,
    "copies": False,
}
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "scoreboard.css")
SCRIPTS = ("page_random.js", "page_canvas.js", "scoreboard.js")
ALT = (
    "Six squares of points, one for each generator, in the order of a measure. Grey points are "
    "real, in three groups; orange ones are drawn by the generator: honest, copies, one group, "
    "averages, wide and noise."
)
CAPTION = (
    "Grey: real points. Orange: what a generator draws. One is honest, one copies the training "
    "points, one knows a single group, one draws averages of two training points, one spreads too "
    "wide, one is noise. Choose the measure, and see who comes first."
)


def bundle():
    """The output that `play("scoreboard")` displays."""
    data = {
        "range": RANGE,
        "centres": CENTRES,
        "deviation": DEVIATION,
        "larger": LARGER,
        "n": 100,
        "seed": 1,
    }
    left, right, bottom, top = RANGE
    size = (right - left, (top - bottom) * 0.7)
    body = field(ALT, CENTRES, left, top - 0.2, size, 480, COLORS["vermillion"], 0.3)
    return toy_figure(
        "scoreboard", body, CAPTION, data, "scoreboardToy", SCRIPTS, STYLES, ALT,
        "Show fewer points.", looks="genai-scoreboard",
    )  # fmt: skip
