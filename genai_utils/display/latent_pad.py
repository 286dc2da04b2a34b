"""Latent pads and walks: a small decoder that runs in the reader's browser."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from genai_utils.display import page_decoder as network
from genai_utils.display import pictures
from genai_utils.display.figures import CLASSES
from genai_utils.display.output import (
    HIDDEN,
    Bundle,
    attribute,
    dot,
    escape,
    figcaption,
    require_size,
    require_text,
    script,
    stylesheet,
    unique_id,
)
from genai_utils.inputs import array, number, refusal

MOST_POINTS = 1_200
DECODER = ("page_math.js", "page_decoder.js")
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _codes(values, what, ndim):
    """A float tensor on the CPU with ``ndim`` axes and no NaN."""
    codes = array(values, what, torch.float32).detach().cpu()
    if codes.ndim != ndim:
        raise refusal(what, f"the shape {'(k,)' if ndim == 1 else '(N, k)'}", tuple(codes.shape))
    return codes


def _shape(shape):
    """A valid image shape as a tuple: (H, W), (1, H, W) or (3, H, W)."""
    shape = tuple(shape)
    whole = all(isinstance(side, int) and side > 0 for side in shape)
    if not whole or not (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))):
        raise ValueError(f"shape must be (H, W), (1, H, W) or (3, H, W), got {shape}.")
    return shape


def _still(image):
    """The PIL image of one decoded picture (values clipped to [0, 1] as in the page)."""
    return pictures.from_array(image.clamp(0, 1), "the decoded image")


def _screen(still, alt):
    """The decoded picture as ``<img>``, over which the page puts its canvas."""
    return (
        '<div class="genai-screen"><img class="dark-light genai-crisp genai-decoded" '
        f'alt="{escape(alt)}" src="{pictures.encode(still)}" '
        f'width="{still.width}" height="{still.height}"></div>'
    )


def _advice(decoder):
    count = sum(parameter.numel() for parameter in decoder.parameters())
    return (
        f"The decoder has {count:,} weights; at most about 200,000 fit in half precision. "
        "Use fewer hidden units or convolutions."
    )


def _background(points, labels, dims, extent):
    """(PIL image of the pad's ground, [(label, colour)]): grid lines and encoded points."""
    fig = Figure(figsize=(3, 3), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent))
    ax.axis("off")
    step = 10 ** math.floor(math.log10(extent))
    step = step if extent / step >= 2 else step / 2
    for i in range(-math.floor(extent / step), math.floor(extent / step) + 1):
        width = 1.2 if i == 0 else 0.6
        ax.axhline(i * step, color="#DADDE1", linewidth=width, zorder=0)
        ax.axvline(i * step, color="#DADDE1", linewidth=width, zorder=0)
        if i and abs(i * step) < 0.97 * extent:
            text = f"{i * step:g}".replace("-", "−")
            small = {"fontsize": 7, "color": "#6B7280", "zorder": 4}
            ax.text(i * step, -0.98 * extent, text, ha="center", va="bottom", **small)
            ax.text(-0.98 * extent, i * step, text, ha="left", va="center", **small)
    legend = []
    if points is not None:
        points = points[:: math.ceil(len(points) / MOST_POINTS)]
        labels = None if labels is None else labels[:: math.ceil(len(labels) / MOST_POINTS)]
        xy = points[:, list(dims)].numpy()
        kinds = [None] if labels is None else sorted(set(labels))
        for index, kind in enumerate(kinds):
            colour = CLASSES[index % len(CLASSES)] if labels is not None else CLASSES[0]
            mine = [kind is None or label == kind for label in labels or [None] * len(xy)]
            ax.scatter(*xy[mine].T, s=5, alpha=0.65, color=colour, linewidths=0)
            if kind is not None:  # the name in the middle of its dots tells without colour
                legend.append((str(kind), colour))
                ax.text(*np.median(xy[mine], axis=0), kind, ha="center", va="center", zorder=5,
                        fontweight="bold", path_effects=[withStroke(linewidth=3, foreground="w")],
                        clip_on=True)  # fmt: skip
    return pictures.from_figure(fig, tight=False).crop(
        [round(side * pictures.DPI) for side in (1, 1, 4, 4)]  # without MARGIN
    ), legend


def pad_bundle(decoder, *, alt, shape=(28, 28), extent=3.0, name=None, caption=None, points=None,
               labels=None, dims=(0, 1), origin=None, symbol="c"):  # fmt: skip
    """The output that :func:`latent_pad` displays."""
    alt = require_text(alt, "alt")
    shape = _shape(shape)
    number(extent, "extent", above=0)
    origin = torch.zeros(2) if origin is None else _codes(origin, "origin", 1)
    dims = tuple(dims)
    if len(set(dims)) != 2 or len(dims) != 2 or not all(0 <= d < len(origin) for d in dims):
        raise ValueError(f"dims must be two different positions below {len(origin)}, got {dims}.")
    if points is not None:
        points = _codes(points, "points", 2)
        if points.shape[1] != len(origin):
            raise ValueError(f"points must have {len(origin)} numbers each, got {points.shape[1]}.")
    if labels is not None:
        labels = pictures.as_array(labels).tolist()
        if points is None or len(labels) != len(points):
            count = 0 if points is None else len(points)
            raise ValueError(f"labels must name each of the {count} points, got {len(labels)}.")
    frozen = network.evaluation_copy(decoder)
    still = _still(network.decode(frozen, origin[None], shape)[0])
    ground, legend = _background(points, labels, dims, extent)
    names = [symbol + str(d + 1).translate(SUBSCRIPTS) for d in dims]
    data = {
        "shape": shape,
        "extent": float(extent),
        "dims": dims,
        "origin": [round(value, 6) for value in origin.tolist()],
        "names": names,
        "network": network.export(frozen, len(origin)),
    }
    dots = " ".join(f"<span>{dot(c)}{escape(t)}</span>" for t, c in legend)
    dots = f'<div class="genai-legend">{dots}</div>' if dots else ""
    seen = "Encoded points" if points is not None else "Grid"
    seen += f", {names[0]} to the right and {names[1]} upwards, from −{extent:g} to {extent:g}."
    identity = unique_id(data["network"]["weights"] + alt)
    html = (
        f'<figure class="genai genai-latent" id="{identity}" data-explorer="pad"'
        f"{attribute('data-figure', name)}>"
        f"{stylesheet('figure.css', 'controls.css', 'latent_pad.css')}"
        f'<div class="genai-two"><div class="genai-pad" tabindex="0" role="application" '
        f'aria-roledescription="two-dimensional slider" aria-label="Code {names[0]}, {names[1]}: '
        f'arrow keys move it, Shift moves it further, Home brings it back.">'
        f'<img class="dark-light" alt="{escape(seen)}" src="{pictures.encode(ground)}" '
        f'width="{ground.width}" height="{ground.height}"><div class="genai-cross" '
        f'style="left:{50 * (1 + origin[dims[0]].item() / extent):.4g}%;'
        f'top:{50 * (1 - origin[dims[1]].item() / extent):.4g}%"></div></div>'
        f"{_screen(still, alt)}</div>"
        f'<div class="genai-padline"{HIDDEN}><output aria-live="polite"></output>'
        f"<span>drag, or use the arrow keys</span></div>"
        f"{dots}{figcaption(caption)}"
        f"{script(identity, 'pad', data, *DECODER, 'latent_pad.js')}</figure>"
    )
    bundle = Bundle(text_html=html, image_png=pictures.png_text(still), text_plain=alt)
    require_size(bundle, _advice(frozen))
    return bundle


def latent_pad(decoder, *, alt, shape=(28, 28), extent=3.0, name=None, caption=None, points=None,
               labels=None, dims=(0, 1), origin=None, symbol="c"):  # fmt: skip
    """Display a pad: pick a code by pointer, finger or arrow keys, see it decoded in the page.

    Args:
        decoder: an nn.Sequential of Linear, Conv2d, ConvTranspose2d, Upsample(nearest),
            BatchNorm, Flatten, Unflatten and activations; its output is shown as it is, so put a
            Sigmoid at the end of one that gives logits. At most about 200,000 weights.
        alt: what is seen.
        shape: of an image, (H, W), (1, H, W) or (3, H, W), values in [0, 1].
        extent: the pad goes from -extent to extent in both directions.
        name: lets pages of the book reuse it.
        caption: a short line below it.
        points: (N, k) encoded data, drawn as dots; at most 1,200 of them, evenly picked.
        labels: N classes of these points, which colour them.
        dims: which two numbers of the code the pad moves.
        origin: (k,) the code at which it opens, and its other numbers; default: (0, 0).
        symbol: the letter that stands for the code in the chapter.

    Raises:
        TypeError: a layer that a page cannot compute, named with the list of those that it can.
        ValueError: sizes that do not fit, numbers that are not finite, more than 600 kB.
    """
    pad_bundle(decoder, alt=alt, shape=shape, extent=extent, name=name, caption=caption,
               points=points, labels=labels, dims=dims, origin=origin,
               symbol=symbol).display()  # fmt: skip


def walk_labels(count):
    """The names of a walk's stops that has given none: A, B, C, or numbers where there are many."""
    return [chr(ord("A") + i) if count <= 26 else str(i + 1) for i in range(count)]


def walk_bundle(decoder, codes, *, alt, shape=(28, 28), name=None, caption=None, labels=None):
    """The output that :func:`latent_walk` displays."""
    alt = require_text(alt, "alt")
    shape = _shape(shape)
    codes = _codes(codes, "codes", 2)
    if len(codes) < 2:
        raise ValueError(f"A walk needs at least two codes, got {len(codes)}.")
    if labels is None:
        labels = walk_labels(len(codes))
    labels = [str(label) for label in pictures.as_array(labels).tolist()]
    if len(labels) != len(codes):
        raise ValueError(f"labels must name each of the {len(codes)} codes, got {len(labels)}.")
    frozen = network.evaluation_copy(decoder)
    still = _still(network.decode(frozen, codes[:1], shape)[0])
    data = {
        "shape": shape,
        "codes": [[round(value, 5) for value in code] for code in codes.tolist()],
        "labels": labels,
        "network": network.export(frozen, codes.shape[1]),
    }
    identity = unique_id(data["network"]["weights"] + alt + str(data["codes"]))
    html = (
        f'<figure class="genai genai-walk" id="{identity}" data-explorer="walk"'
        f"{attribute('data-figure', name)}>"
        f"{stylesheet('figure.css', 'controls.css', 'latent_pad.css')}"
        f'{_screen(still, alt)}<div class="genai-controls genai-walkline"{HIDDEN}>'
        f'<button type="button" class="genai-play" aria-label="Play the walk"></button>'
        f'<label><span class="genai-name">walk</span><input type="range" min="0" '
        f'max="{len(codes) - 1}" step="0.05" value="0"></label><output aria-live="polite">0 %'
        f'</output><div class="genai-stops"></div></div>{figcaption(caption)}'
        f"{script(identity, 'walk', data, *DECODER, 'player.js', 'walk.js')}</figure>"
    )
    bundle = Bundle(text_html=html, image_png=pictures.png_text(still), text_plain=alt)
    require_size(bundle, _advice(frozen))
    return bundle


def latent_walk(decoder, codes, *, alt, shape=(28, 28), name=None, caption=None, labels=None):
    """Display a slider that walks along straight lines from code to code, decoded in the page.

    Args:
        decoder: as for :func:`latent_pad`.
        codes: (N, k), at least two.
        alt: what is seen.
        shape: of an image, (H, W), (1, H, W) or (3, H, W), values in [0, 1].
        name: lets pages of the book reuse it.
        caption: a short line below it.
        labels: N short names of the codes; default: A, B, C.

    Raises:
        TypeError: a layer that a page cannot compute, named with the list of those that it can.
        ValueError: sizes that do not fit, fewer than two codes, more than 600 kB.
    """
    walk_bundle(decoder, codes, alt=alt, shape=shape, name=name, caption=caption,
                labels=labels).display()  # fmt: skip
