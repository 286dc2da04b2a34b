"""Two plots that notebooks draw again and again, so that their cells hold the lesson only."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from genai_utils.display.figures import CLASSES
from genai_utils.display.pictures import as_array


def line_plot(curves, xlabel, ylabel, ax=None, **settings):
    """Curves on one pair of axes, with a legend.

    Args:
        curves: label -> (x, y) or (x, y, format), tensors, arrays or lists; the format is
            matplotlib's, such as "o-" or "--". A label that starts with "_" is left out of the
            legend.
        xlabel, ylabel: names of the axes, with units.
        ax: axes to draw on; default: a new figure of 5.8 by 3.2 inches.
        settings: for ``ax.set``, such as xscale="log"; ``xticks`` are written as plain numbers.

    Returns:
        the Figure.

    Raises:
        ValueError: no curves, or x and y of different lengths.
    """
    if not curves:
        raise ValueError("line_plot() needs at least one curve: {label: (x, y)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(5.8, 3.2))
    for label, (x, y, *form) in curves.items():
        x, y = as_array(x), as_array(y)
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(f"The curve {label!r} needs x and y of one length, got {x.shape} and "
                             f"{y.shape}.")  # fmt: skip
        ax.plot(x, y, *form, label=label)
    ticks = settings.pop("xticks", None)
    ax.set(xlabel=xlabel, ylabel=ylabel, **settings)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log" and _decades(axis) < 2:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(lambda value, _: f"{value:,g}")
            axis.set_minor_formatter(NullFormatter())
    if ticks is not None:
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
    if any(not label.startswith("_") for label in curves):
        ax.legend()
    return ax.figure


def _decades(axis):
    """How many powers of ten an axis spans; in few of them matplotlib's own labels overlap."""
    low, high = axis.get_view_interval()
    return np.log10(high / low) if low > 0 else np.inf


def class_scatter(points, labels, ax=None, **settings):
    """Points (N, 2) coloured by class, with each class's name at its median.

    labels: N class names or numbers; colours repeat after ten classes, which is why the names stand
    in the plot. settings are for ``ax.set``. Returns the Figure; ValueError for other shapes.
    """
    points, labels = as_array(points), as_array(labels)
    if points.ndim != 2 or points.shape[1] != 2 or len(labels) != len(points):
        raise ValueError(
            f"class_scatter() needs points (N, 2) and N labels, got {points.shape} and "
            f"{labels.shape}."
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(4.8, 4.2))
    for index, name in enumerate(np.unique(labels)):
        mine, colour = points[labels == name], CLASSES[index % len(CLASSES)]
        ax.scatter(*mine.T, s=4, alpha=0.5, color=colour, linewidths=0)
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85}
        ax.text(*np.median(mine, axis=0), str(name), fontsize=12, weight="bold", ha="center",
                va="center", bbox=box, zorder=3)  # fmt: skip
    ax.set(**settings)
    return ax.figure
