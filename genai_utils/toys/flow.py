"""A flow of the plane that trains in the page, on points that one draws (chapter 25).

The page computes what `vision.flow.Flow` computes: steps of ActNorm, a matrix and an affine
coupling, their log-determinants, and the gradients of -log P(x), written out by hand.
"""

import numpy as np

from genai_utils.display.figures import COLORS
from genai_utils.toys.figure import field, toy_figure

SIZE = (10, 7)  # of the field, around 0
DEPTH, WIDTH = 6, 16
RATE, CLIP, STEPS, MOST = 0.005, 0.5, 900, 400  # of the training; points at most
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css")
SHARED = ("random", "math", "learn", "canvas", "fields")
SCRIPTS = (*(f"page_{name}.js" for name in SHARED), "flow.js")
ALT = (
    "Points on a field in two half circles, and behind them the density of a flow that learns "
    "them: at first one broad hill, later two bent ridges. Beside it the cost in nats, falling."
)
CAPTION = (
    "Draw points, or choose a set, and train. The flow makes this density out of a round cloud; "
    "the bent grid shows how."
)


def presets():
    """The sets of points: name, points (n, 2), what is said before and after the training."""
    g = np.random.default_rng(0)
    t = np.linspace(0, np.pi, 80)
    moons = np.r_[
        np.c_[np.cos(t) - 0.5, np.sin(t) - 0.25], np.c_[0.5 - np.cos(t), 0.25 - np.sin(t)]
    ]
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    ring = 2.2 * np.c_[np.cos(turn), np.sin(turn)]
    centres = np.array([[-2.5, 0], [2.5, 0], [0, 2], [0, -2]])
    blobs = np.repeat(centres, 40, axis=0)
    sets = [
        ("two moons", 2 * moons, 0.15, "Two half circles.",
         "Two moons out of one cloud. Set the flow to one step, and it cannot."),
        ("a ring", ring, 0.15, "A ring with a hole.",
         "The hole cannot be empty: a flow bends the plane, and does not tear it."),
        ("four blobs", blobs, 0.3, "Four separate clouds.",
         "Thin bridges stay between the clouds: what was one piece stays one piece."),
    ]  # fmt: skip
    return [
        {
            "name": name,
            "points": _inside(points + noise * g.standard_normal(points.shape)),
            "question": question,
            "lesson": lesson,
        }
        for name, points, noise, question, lesson in sets
    ]


def _inside(points):
    half = np.array(SIZE) / 2
    return points.clip(0.1 - half, half - 0.1).round(2)


def bundle():
    """The output that `play("flow")` displays."""
    sets = presets()
    data = {
        "size": SIZE,
        "colours": [COLORS["orange"], COLORS["vermillion"]],
        "presets": [{**one, "points": one["points"].tolist()} for one in sets],
        "depth": DEPTH,
        "width": WIDTH,
        "rate": RATE,
        "clip": CLIP,
        "steps": STEPS,
        "most": MOST,
    }
    left, top = -SIZE[0] / 2, SIZE[1] / 2
    body = field(ALT, sets[0]["points"], left, top, SIZE, 640, COLORS["orange"], 0.12)
    return toy_figure(
        "flow", body, CAPTION, data, "flowToy", SCRIPTS, STYLES, ALT, "Use fewer points."
    )
