"""The figure of a toy: what stands in it before its script runs, its caption, and the script."""

import base64

from genai_utils.display.output import (
    LIMIT,
    Bundle,
    escape,
    figcaption,
    require_size,
    script,
    stylesheet,
    unique_id,
)


def toy_figure(
    name, body, caption, data, function, scripts, styles, alt, cure, looks="", key=None, most=LIMIT
):  # fmt: skip
    """The output of a toy.

    name: of the toy; body: HTML of the figure above its caption; function(root, data): of the
    page, from the files `scripts`; alt: what is printed where no page is; cure: what to do where
    the output is too large; looks: a further class of the figure; key: the text that makes its id,
    by default that of the data; most: bytes that it may have.
    """
    identity = unique_id(str(data) if key is None else key)
    html = (
        f'<figure class="{f"genai genai-toy {looks}".strip()}" id="{identity}" '
        f'data-explorer="toy" data-figure="toy-{name}">{stylesheet(*styles)}{body}'
        f"{figcaption(caption)}{script(identity, function, data, *scripts)}</figure>"
    )
    made = Bundle(text_html=html, text_plain=alt)
    require_size(made, cure, most)
    return made


def part(kind, name, alt, source):
    """A small picture with its name; source: a data URL."""
    image = f'<img class="dark-light genai-crisp" alt="{escape(alt)}" src="{source}" width="160">'
    return f'<div class="genai-part genai-{kind}"><span>{name}</span>{image}</div>'


def field(alt, points, left, top, size, width, colour, dot):
    """The field of a toy with its points, a small SVG image.

    points: pairs (x, y), y upwards, in the units of the field; left, top: its upper left corner;
    size: (width, height) of the field in its units; width: of the image in pixels; dot: diameter
    of a point in units of the field.
    """
    dots = "".join(f"M{x - left:.4g} {top - y:.4g}h0" for x, y in points)
    wide, high = size
    height = round(width * high / wide)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" '
        f'width="{width}" height="{height}"><path d="{dots}" '
        f'stroke="{colour}" stroke-width="{dot:g}" stroke-linecap="round"/></svg>'
    )
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return (
        f'<div class="genai-toyrow"><div class="genai-field"><img class="dark-light" '
        f'alt="{escape(alt)}" src="{source}" width="{width}" height="{height}"></div></div>'
    )
