"""A map of named points that a reader drags and zooms, without a kernel or a network."""

from matplotlib.figure import Figure

from genai_utils.display import output, pictures
from genai_utils.display.figures import CLASSES


def zoom_map_bundle(points, names, groups, lines=(), *, alt, name=None, caption=None):
    """The output that :func:`zoom_map` displays."""
    alt, xy = output.require_text(alt, "alt"), pictures.as_array(points).astype(float)
    names, groups, n = list(map(str, names)), list(map(str, groups)), len(xy)
    if (
        xy.shape != (n, 2)
        or not n == len(names) == len(groups)
        or n < 2
        or not (abs(xy) < 1e30).all()
    ):
        raise ValueError(f"zoom_map() needs finite points (n, 2), n >= 2, n names and n groups; "
                         f"got {xy.shape}, {len(names)} and {len(groups)}.")  # fmt: skip
    lines = [(int(a), int(b)) for a, b in lines]
    if any(not 0 <= end < n for line in lines for end in line):
        raise ValueError(f"lines must join positions from 0 to {n - 1}.")
    kinds = list(dict.fromkeys(groups))
    place = [kinds.index(group) for group in groups]
    colors = [CLASSES[i % len(CLASSES)] for i in range(len(kinds))]
    middle, size = (xy.max(0) + xy.min(0)) / 2, max(float((xy.max(0) - xy.min(0)).max()), 1e-12)
    unit = (0.5 + 0.94 * (xy - middle) / size * [1, -1]).round(4)  # in the unit square, y downwards
    fig = Figure(figsize=(5, 5), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(1, 0))
    ax.axis("off")
    for line in lines:
        ax.plot(*unit[list(line)].T, color="#c9ced6", linewidth=0.4, zorder=0)
    ax.scatter(*unit.T, s=4, c=[colors[kind] for kind in place], linewidths=0)
    still = pictures.from_figure(fig)
    data = {"x": unit[:, 0].tolist(), "y": unit[:, 1].tolist(), "names": names, "group": place,
            "colors": colors, "lines": lines}  # fmt: skip
    legend = " ".join(
        f"<span>{output.dot(colour)}{output.escape(kind)}</span>"
        for kind, colour in zip(kinds, colors, strict=True)
    )
    buttons = "".join(
        f'<button type="button" value="{key}" aria-label="{what}">{sign}</button>'
        for key, what, sign in (("+", "Zoom in", "+"), ("-", "Zoom out", "−"), ("Home", "All", "⌂"))
    )
    identity = output.unique_id(str(data) + alt)
    html = (
        f'<figure class="genai genai-map" id="{identity}" data-explorer="map"'
        f"{output.attribute('data-figure', name)}>{output.stylesheet('figure.css', 'zoom_map.css')}"
        f'<div class="genai-mapbox" tabindex="0" role="application" aria-roledescription="map" '
        f'aria-label="Map: arrow keys move it, plus and minus zoom, Home shows all of it.">'
        f'<img class="dark-light" alt="{output.escape(alt)}" src="{pictures.encode(still)}"></div>'
        f'<div class="genai-mapline">{legend}</div>'
        f'<div class="genai-mapline"{output.HIDDEN}>{buttons}'
        f'<input type="search" placeholder="find a name" aria-label="Find a name"></div>'
        f'<output aria-live="polite"></output>{output.figcaption(caption)}'
        f"{output.script(identity, 'zoomMap', data, 'zoom_map.js')}</figure>"
    )
    bundle = output.Bundle(text_html=html, image_png=pictures.png_text(still), text_plain=alt)
    output.require_size(bundle, f"It has {n} points and {len(lines)} lines: leave some out.")
    return bundle


def zoom_map(points, names, groups, lines=(), *, alt, name=None, caption=None):
    """Display named points; pointer, wheel, buttons and keys move and zoom, a search finds a name.

    points (n, 2), in any unit; n names, shown where there is room, those with most lines first;
    n groups, which give the colours and the legend; lines, pairs of positions to join. alt says
    what is seen; name lets pages of the book reuse it; caption is a short line below.
    Raises ValueError for other shapes, NaN, a line to no point, or an output above 600 kB.
    """
    zoom_map_bundle(points, names, groups, lines, alt=alt, name=name, caption=caption).display()
