"""K-means that one plays with: points that one clicks, centres that one drags (chapter 1).

The page computes what `structure.clustering` computes: `assign` with `refill`, and `update`, half a
step at a time. The points of the four sets are made here, with a seed.
"""

import numpy as np

from genai_utils.display.figures import COLORS
from genai_utils.toys.figure import field, toy_figure

SIZE = (10, 7)  # of the field, in units of the points
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css")
SCRIPTS = ("page_random.js", "page_canvas.js", "kmeans.js")
PAINT = ["blue", "orange", "green", "vermillion", "purple", "sky", "yellow", "grey"]
ALT = (
    "Points on a field in three groups, each with a centre; lines part the field into the regions "
    "of the centres. Below, the inertia after each half-step, which never rises."
)
CAPTION = (
    "Click to add a point, drag a centre, or let it run. Filled dots of the curve: points were "
    "assigned; open dots: centres moved."
)


def _clouds(generator, centres, sizes, spread):
    """Round clouds of points (n, 2) around centres, inside the field."""
    clouds = [
        np.array(centre) + spread[i] * generator.standard_normal((sizes[i], 2))
        for i, centre in enumerate(centres)
    ]
    return _inside(np.concatenate(clouds))


def _inside(points):
    return points.clip(0.2, np.array(SIZE) - 0.2).round(2)


def _moons(generator, n=50):
    """Two half circles that reach into each other, (2n, 2)."""
    t = np.linspace(0, np.pi, n)
    arcs = np.r_[np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]]
    return _inside([3.55, 2.6] + 2.6 * arcs + 0.18 * generator.standard_normal((2 * n, 2)))


def presets():
    """The sets of points: name, points (n, 2), K, a question before and a lesson after the run.

    The lesson is said where the run ended as low as any of 200 random starts.
    """
    g = [np.random.default_rng(seed) for seed in (4, 0, 0, 2)]
    blobs = _clouds(g[0], [(2.2, 2.0), (7.3, 1.9), (5.6, 5.2)], [40] * 3, [0.85] * 3)
    near = _clouds(g[2], [(1.3, 1.5), (2.5, 2.6)], [30, 30], [0.4, 0.4])
    uneven = _clouds(g[3], [(3.4, 3.6), (8.7, 2.3), (8.7, 4.9)], [100, 15, 15], [1.1, 0.3, 0.3])
    return [
        {
            "name": "three blobs",
            "points": blobs,
            "K": 3,
            "question": "Three groups, three centres.",
            "lesson": "Each group has its centre. Now take the worst of 200 random starts.",
        },
        {
            "name": "two moons",
            "points": _moons(g[1]),
            "K": 2,
            "question": "Two groups that are not round.",
            "lesson": "Each centre took a part of both moons: the border is always straight.",
        },
        {
            "name": "one far outlier",
            "points": np.r_[near, [[9.8, 6.8]]],
            "K": 2,
            "question": "Two groups and one point far away.",
            "lesson": "One point holds a centre of its own: squares make far points heavy.",
        },
        {
            "name": "uneven sizes",
            "points": uneven,
            "K": 3,
            "question": "One large group and two small ones.",
            "lesson": "The large group is cut, and the small ones share a centre: that costs less.",
        },
    ]


def bundle():
    """The output that `play("kmeans")` displays."""
    sets = presets()
    data = {
        "size": SIZE,
        "colours": [COLORS[name] for name in PAINT],
        "presets": [{**one, "points": one["points"].tolist()} for one in sets],
    }
    body = field(ALT, sets[0]["points"], 0, SIZE[1], SIZE, 640, COLORS["blue"], 0.12)
    return toy_figure(
        "kmeans", body, CAPTION, data, "kmeans", SCRIPTS, STYLES, ALT, "Use fewer points."
    )
