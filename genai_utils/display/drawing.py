"""Drawings of an idea: boxes, arrows and tensors with their shapes, as one consistent SVG."""

from genai_utils.display.output import Bundle

DRAWINGS = {}  # name -> function without arguments that gives the Bundle


def draw_bundle(name):
    """The output that `draw` displays. Raises ValueError for a name that is none."""
    if name not in DRAWINGS:
        raise ValueError(f"There is no drawing {name!r}; there are {', '.join(DRAWINGS)}.")
    bundle: Bundle = DRAWINGS[name]()
    return bundle


def draw(name):
    """Display the drawing of that name. Raises ValueError for a name that is none."""
    draw_bundle(name).display()
