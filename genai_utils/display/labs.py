"""Labs: live widgets where a kernel runs, a still picture of them in the published page."""

import os

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure

from genai_utils.display.figures import figure_bundle
from genai_utils.display.output import require_text
from genai_utils.printing import say

PUBLISHED = "A still of a live lab: run this notebook on Colab or at home and use it here."


def publishing():
    """Whether the notebook is being executed for the page (``GENAI_PUBLISH=1``)."""
    return os.environ.get("GENAI_PUBLISH", "") not in ("", "0")


def lab(build, still, alt, hint=""):
    """Display a live widget, or a still picture of it in the published page.

    Args:
        build: function without arguments that returns an ipywidgets widget. It is called only
            where the lab is live.
        still: the Figure that stands for it in the page, or a function that returns it.
        alt: what the still shows.
        hint: one sentence on what to try; it stands below either.

    Raises:
        TypeError: ``build`` is no function, ``still`` no figure, or ``alt`` no string.
        ValueError: ``alt`` is empty.
    """
    alt = require_text(alt, "alt")
    if not callable(build):
        raise TypeError(
            f"build must be a function that returns a widget, got {type(build).__name__}; "
            "write lambda: widget."
        )
    if not isinstance(still, Figure) and not callable(still):
        raise TypeError(f"still must be a matplotlib Figure, got {type(still).__name__}.")
    if publishing():
        figure = still() if callable(still) else still
        figure_bundle(figure, alt, f"{PUBLISHED} {hint}".strip()).display()
        return
    if isinstance(still, Figure):
        plt.close(still)
    widget = build()
    if hint:
        say(hint)
    display(widget)
