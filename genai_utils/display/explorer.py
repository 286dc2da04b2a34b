"""Explorers: one picture for every combination of values, moved by sliders without a kernel."""

import itertools
import math

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from genai_utils.display import pictures
from genai_utils.display.output import (
    HIDDEN,
    Bundle,
    attribute,
    escape,
    figcaption,
    require_size,
    require_text,
    script,
    stylesheet,
    unique_id,
)

MOST_FRAMES = 400


def label_of(value):
    """How a value is written beside its slider."""
    if hasattr(value, "item"):
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _axis(name, values):
    """(labels, values) of one axis; raises where there is nothing to choose."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TypeError(
            f"The axis {name!r} needs a list of values or a dict from label to value, "
            f"got {type(values).__name__}."
        )
    if isinstance(values, dict):
        labels, values = [str(label) for label in values], list(values.values())
    else:
        values = list(values)
        labels = [label_of(value) for value in values]
    if not values:
        raise ValueError(f"The axis {name!r} is empty: give it at least one value.")
    return labels, values


def _picture(draw, values):
    """(PIL image, whether it is a plot) of what ``draw(**values)`` returns."""
    before = set(plt.get_fignums())
    try:
        drawn = draw(**values)
        if isinstance(drawn, Figure):
            return pictures.from_figure(drawn, tight=False, dpi=pictures.FRAME_DPI), True
        if isinstance(drawn, Image.Image):
            return drawn.convert("L" if drawn.mode in ("1", "L") else "RGB"), False
        if hasattr(drawn, "__array__") or hasattr(drawn, "detach"):
            return pictures.from_array(drawn, "the array that draw returned"), False
        raise TypeError(
            "draw must return a matplotlib Figure, a PIL image or an array of pixels, "
            f"got {type(drawn).__name__} for {values}."
        )
    finally:  # figures that draw left open would appear once more below the cell
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def place(labels, value):
    """Where on an axis of these labels a value of `start` is: its number, or None.

    "last" is the last value, unless it is the label of one.
    """
    if label_of(value) in labels:
        return labels.index(label_of(value))
    return len(labels) - 1 if labels and value == "last" else None


def _start(axes, start):
    """The position on every axis at which the explorer opens."""
    positions = []
    for name, (labels, _) in axes.items():
        positions.append(place(labels, start[name]) if start and name in start else 0)
        if positions[-1] is None:
            raise ValueError(f"start[{name!r}] must be one of {labels}, got {start[name]!r}.")
    unknown = set(start or {}) - set(axes)
    if unknown:
        raise ValueError(f"start names no axis {unknown.pop()!r}; the axes are {list(axes)}.")
    return positions


def controls(axes, positions):
    """The sliders' HTML: a play button for the first axis, then name, slider and value of each."""
    rows = []
    for index, ((name, (labels, _)), position) in enumerate(
        zip(axes.items(), positions, strict=True)
    ):
        title = escape(name.replace("_", " "))
        play = '<span class="genai-noplay"></span>'
        if index == 0 and len(labels) > 1:
            play = f'<button type="button" class="genai-play" aria-label="Play {title}"></button>'
        rows.append(
            f'{play}<label><span class="genai-name">{title}</span>'
            f'<input type="range" min="0" max="{len(labels) - 1}" step="1" value="{position}" '
            f'aria-valuetext="{escape(labels[position])}"></label>'
            f'<output aria-live="polite">{escape(labels[position])}</output>'
        )
    widest = max(len(label) for labels, _ in axes.values() for label in labels)
    return (
        f'<div class="genai-controls" style="--genai-value:{min(widest, 14)}ch"{HIDDEN}>'
        f"{''.join(rows)}</div>"
    )


def explorer_bundle(draw, *, alt, name=None, caption=None, start=None, **axes):
    """The output that :func:`explore` displays."""
    if not callable(draw):
        raise TypeError(f"draw must be a function of the axes, got {type(draw).__name__}.")
    alt = require_text(alt, "alt")
    if not axes:
        raise ValueError("explore() needs at least one axis, such as k=[1, 2, 4].")
    axes = {key: _axis(key, values) for key, values in axes.items()}
    count = math.prod(len(labels) for labels, _ in axes.values())
    if count > MOST_FRAMES:
        raise ValueError(f"Too many frames: {count:,} combinations, at most {MOST_FRAMES}.")
    positions = _start(axes, start)

    drawn = [
        _picture(draw, dict(zip(axes, combination, strict=True)))
        for combination in itertools.product(*(values for _, values in axes.values()))
    ]
    plots = any(is_plot for _, is_plot in drawn)
    images = pictures.align([image for image, _ in drawn], crop=plots)
    frames, order, seen = [], [], {}
    for image in images:
        key = (image.mode, image.tobytes())
        if key not in seen:
            seen[key] = len(frames)
            frames.append(pictures.encode(image, smallest=True))
        order.append(seen[key])

    first = 0
    for position, (labels, _) in zip(positions, axes.values(), strict=True):
        first = first * len(labels) + position
    image = images[first]
    zoom = pictures.CSS_DPI / pictures.FRAME_DPI if plots else max(1, round(280 / image.width))
    opening, frames[order[first]] = frames[order[first]], ""  # it is in the page already
    data = {
        "alt": alt,
        "names": [key.replace("_", " ") for key in axes],
        "labels": [labels for labels, _ in axes.values()],
        "order": order,
        "frames": frames,
    }
    identity = unique_id("".join(frames) + opening + alt)
    now = ", ".join(
        f"{axis} = {labels[position]}"
        for axis, labels, position in zip(data["names"], data["labels"], positions, strict=True)
    )
    width, height = (round(side * zoom) for side in image.size)
    html = (
        f'<figure class="genai genai-explorer" id="{identity}" data-explorer="{count}"'
        f"{attribute('data-figure', name)}>{stylesheet('figure.css', 'controls.css')}"
        f'<img class="dark-light{"" if plots else " genai-crisp"}" '
        f'alt="{escape(f"{alt} Now {now}.")}" src="{opening}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto">{controls(axes, positions)}{figcaption(caption)}'
        f"{script(identity, 'explorer', data, 'player.js', 'explorer.js')}</figure>"
    )
    bundle = Bundle(**{"text/html": html, **pictures.still(image), "text/plain": alt})
    require_size(
        bundle,
        f"Reduce frames or size: it has {len(frames)} frames of "
        f"{image.width} × {image.height} pixels.",
    )
    return bundle


def explore(draw, *, alt, name=None, caption=None, start=None, **axes):
    """Display a figure with one slider per axis; it needs no kernel and no network.

    Args:
        draw: ``draw(**values)`` returns a matplotlib Figure, a PIL image, or an array of pixels
            (H, W), (H, W, 3) or (3, H, W), floats in [0, 1] or uint8. It is called once for every
            combination.
        alt: what is seen; the values of the moment are added to it.
        name: lets pages of the book reuse the explorer.
        caption: a short line below it.
        start: axis -> value at which it opens, or "last"; default: the first of each.
        axes: name = list of values, or dict from label to value.

    Raises:
        TypeError: ``draw`` is no function or returns something else; an axis is no list.
        ValueError: an axis is empty, there are too many frames, or the output exceeds 600 kB.
    """
    explorer_bundle(draw, alt=alt, name=name, caption=caption, start=start, **axes).display()
