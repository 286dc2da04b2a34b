"""What stands in the field of a toy before its script runs."""

import base64


def dotted(points, left, top, size, width, colour, dot):
    """Points as a small SVG image, a data URL.

    points: pairs (x, y), y upwards, in the units of the field; left, top: its upper left corner;
    size: (width, height) of the field in its units; width: of the image in pixels; dot: diameter
    of a point in units of the field.
    """
    dots = "".join(f"M{x - left:.4g} {top - y:.4g}h0" for x, y in points)
    wide, high = size
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" '
        f'width="{width}" height="{round(width * high / wide)}"><path d="{dots}" '
        f'stroke="{colour}" stroke-width="{dot:g}" stroke-linecap="round"/></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
