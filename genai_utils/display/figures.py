"""Figures with alt text, grids of images, and tables: the pictures of every notebook."""

import math
import numbers

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from genai_utils.display import pictures
from genai_utils.display.output import (
    Bundle,
    attribute,
    escape,
    figcaption,
    require_text,
    stylesheet,
)
from genai_utils.inputs import number, whole

# Okabe & Ito 2008: told apart with every common form of colour blindness.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#8A8A8A",
}
# One colour per class where there are up to ten; the digits of a plot also carry their label.
CLASSES = [*list(COLORS.values())[:8], "#8A8A8A", "#7A3E12"]


def style():
    """Set matplotlib's look for the whole book."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=list(COLORS.values())[:6] + [COLORS["black"]]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.labelsize": 10.5,
            "axes.edgecolor": "#444444",
            "axes.linewidth": 0.9,
            "axes.grid": False,
            "font.size": 10.5,
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "legend.fontsize": 9.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "grid.color": "#DDDDDD",
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": pictures.DPI,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "figure.max_open_warning": 0,
            "savefig.dpi": pictures.DPI,
            "savefig.facecolor": "white",
        }
    )


def figure_bundle(fig, alt, caption=None, name=None):
    """The output that :func:`show` displays; closes the figure."""
    if not isinstance(fig, Figure):
        raise TypeError(
            f"show() needs a matplotlib Figure, got {type(fig).__name__}. "
            "Write fig, ax = plt.subplots() and pass fig."
        )
    alt = require_text(alt, "alt")
    image = pictures.from_figure(fig)
    plt.close(fig)
    return image_bundle(image, alt, caption, name)


def image_bundle(image, alt, caption=None, name=None):
    """One ``<figure>`` with a PIL image drawn at :data:`pictures.DPI`."""
    width, height = (round(side * pictures.CSS_DPI / pictures.DPI) for side in image.size)
    source = pictures.encode(image, smallest=True)
    html = (
        f'<figure class="genai genai-figure"{attribute("data-figure", name)}>'
        f"{stylesheet('figure.css')}"
        f'<img class="dark-light" alt="{escape(alt)}" src="{source}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto">'
        f"{figcaption(caption)}</figure>"
    )
    return Bundle(text_html=html, text_plain=alt)


def show(fig, alt, caption=None, name=None):
    """Display a matplotlib figure with alt text, and close it.

    Args:
        fig: the figure.
        alt: what a reader who cannot see it needs to know; required.
        caption: a short line below it.
        name: lets pages of the book reuse the figure (attribute ``data-figure``).

    Raises:
        TypeError: ``fig`` is no figure, or ``alt`` no string.
        ValueError: ``alt`` is empty.
    """
    figure_bundle(fig, alt, caption, name).display()


def _pixels(images, signed):
    """(N, H, W) or (N, H, W, 3) floats from any of the accepted layouts."""
    array = pictures.as_array(images)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)  # (N, H, W, C)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]  # (N, H, W)
    fits = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == 3 and not signed)
    if not fits or array.size == 0:
        raise ValueError(
            "image_grid() needs images of shape (N, H, W), (N, 1, H, W), (N, 3, H, W) or "
            f"(N, H, W, 3){', grey where signed=True' if signed else ''}; "
            f"got {tuple(pictures.as_array(images).shape)}."
        )
    return array.astype("float32") if signed else pictures.unit_range(array, "images")


def _points(titles, width, most=9):
    """At most `most`: where no line of the titles is wider than `width` inches."""
    lines = [line for title in titles for line in str(title).splitlines() if line.strip()]
    widest = max(
        (TextPath((0, 0), line, size=most).get_extents().width for line in lines), default=0
    )
    return most * min(1, 72 * width / widest) if widest else most


def image_grid(images, columns=8, titles=None, suptitle=None, scale=1.0, signed=False):
    """A figure of images in rows, each pixel of equal size.

    Args:
        images: (N, H, W), (N, 1, H, W), (N, H, W, 3) or (N, 3, H, W), tensor or array, in [0, 1].
        columns: images in a row.
        titles: one short text per image, drawn above it; all smaller where one is too wide for it.
        suptitle: one text above all.
        scale: size of the images; 1 is about three quarters of an inch.
        signed: the values are signed (loadings, filters): blue below zero, red above, white zero,
            one symmetric scale for all.

    Raises:
        ValueError: wrong shape or range, or another number of titles than images.
    """
    array = _pixels(images, signed)
    count, rows_px, columns_px = array.shape[:3]
    whole(columns, "columns")
    number(scale, "scale", above=0)
    if titles is not None and len(titles) != count:
        raise ValueError(f"titles must name each of the {count} images, got {len(titles)}.")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    zoom = max(1, round(110 * scale / columns_px)) if columns_px < 110 * scale * 1.5 else None
    width = (zoom * columns_px if zoom else 110 * scale) / pictures.DPI  # inches of one image
    height = width * rows_px / columns_px
    gap, head = 8 / pictures.DPI, 0.21 if titles is not None else 0.0
    total_w = columns * (width + gap) - gap
    total_h = rows * (height + gap + head) - gap
    top = 0.32 if suptitle else 0.0

    fig = Figure(figsize=(total_w, total_h + top), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))  # in inches: one unit is one inch
    ax.set(xlim=(0, total_w), ylim=(total_h + top, 0))
    ax.axis("off")
    limit = float(abs(array).max()) or 1.0
    scale_to = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {}
    scale_to = scale_to or {"cmap": "gray", "vmin": 0, "vmax": 1}
    points = _points(() if titles is None else titles, width)
    for index, image in enumerate(array):
        x = (index % columns) * (width + gap)
        y = top + (index // columns) * (height + gap + head) + head
        ax.imshow(image, extent=(x, x + width, y + height, y), aspect="auto", **scale_to,
                  interpolation="nearest" if zoom else "antialiased")  # fmt: skip
        if titles is not None:
            ax.text(x + width / 2, y - 0.05, str(titles[index]), ha="center", fontsize=points)
    if suptitle:
        ax.text(total_w / 2, 0.17, suptitle, ha="center", fontsize=11)
    ax.set(xlim=(0, total_w), ylim=(total_h + top, 0))
    return fig


def format_number(value):
    """Text of a table cell: numbers with four significant digits, whole numbers in full."""
    if hasattr(value, "item") and getattr(value, "size", 1) in (1,) or hasattr(value, "detach"):
        value = value.item()
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"{value:,}"
    if not math.isfinite(value) or value == 0:
        return f"{value + 0.0:g}"  # no minus zero
    digits = 3 - math.floor(math.log10(abs(float(f"{value:.3e}"))))
    if digits > 7 or digits < -6:
        return f"{value:.4g}"
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def table_bundle(rows, columns=None, caption=None):
    """The output that :func:`table` displays."""
    rows = list(rows)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("table() needs a non-empty list of dicts, one per row.")
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
    heads = columns if isinstance(columns, dict) else {key: str(key) for key in columns}
    unknown = [key for key in heads if not any(key in row for row in rows)]
    if unknown:
        raise ValueError(f"No row has the column {unknown[0]!r}; there are {list(rows[0])}.")
    cells = [[format_number(row[key]) if key in row else "" for key in heads] for row in rows]
    numeric = [not any(isinstance(row.get(key), str) for row in rows) for key in heads]

    kind = [' class="genai-number"' if is_number else "" for is_number in numeric]
    head = "".join(
        f'<th scope="col"{k}>{escape(h)}</th>' for k, h in zip(kind, heads.values(), strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{k}>{escape(c)}</td>" for k, c in zip(kind, line, strict=True))
        + "</tr>"
        for line in cells
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    html = (
        f'<div class="genai genai-table">{stylesheet("figure.css", "table.css")}<table>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    lines = [list(heads.values()), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    plain = "\n".join(
        "  ".join(
            cell.rjust(w) if is_number else cell.ljust(w)
            for cell, w, is_number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )
    return Bundle(text_html=html, text_plain=f"{caption}\n{plain}" if caption else plain)


def table(rows, columns=None, caption=None):
    """Display a list of dicts as a small table.

    Args:
        rows: one dict per row. Numbers are written with four significant digits, whole numbers in
            full; strings stay as they are.
        columns: the keys to show, in order, or a dict from key to heading; default: all keys.
        caption: a short line above the table.

    Raises:
        ValueError: no rows, a row that is no dict, or a column that no row has.
    """
    table_bundle(rows, columns, caption).display()
