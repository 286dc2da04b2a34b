"""Drawings of an idea: boxes, arrows and tensors with their shapes, as one consistent SVG.

    draw("attention")

The drawings themselves stand in `drawings/`, by the parts of the book, and share one pen,
`drawings.canvas`. They follow the page's theme by themselves.
"""

from genai_utils.display.drawings import (
    agents,
    clip,
    experts,
    finetuning,
    flows,
    images,
    language,
    lora,
    prompting,
    rag,
    scaling,
    scoreboard,
    structure,
    text_to_image,
)
from genai_utils.display.output import Bundle, escape, require_text, stylesheet
from genai_utils.inputs import one_of

DRAWINGS = {  # name -> function
    **structure.DRAWINGS,
    **language.DRAWINGS,
    **finetuning.DRAWINGS,
    **images.DRAWINGS,
    **flows.DRAWINGS,
    **prompting.DRAWINGS,
    **rag.DRAWINGS,
    **agents.DRAWINGS,
    **scaling.DRAWINGS,
    **text_to_image.DRAWINGS,
    **clip.DRAWINGS,
    **experts.DRAWINGS,
    **lora.DRAWINGS,
    **scoreboard.DRAWINGS,
}


def drawing_bundle(name):
    """The output that :func:`draw` displays."""
    function = DRAWINGS[one_of(name, "name", DRAWINGS)]
    # The docstring is what is seen: its first line the title, all of it the alt text.
    title, _, alt = (" ".join(part.split()) for part in function.__doc__.partition("\n"))
    alt = require_text(alt, "alt")
    html = drawn(function(), title, alt, f"drawing-{name}")
    return Bundle(text_html=html, text_plain=alt)


def drawn(canvas, title, alt, name):
    """The figure of a canvas: HTML that follows the page's theme. name: of the figure."""
    return (
        f'<figure class="genai genai-drawing" data-figure="{name}">'
        f"{stylesheet('figure.css', 'drawing.css')}"
        # Where a host keeps the words of a drawing and nothing else, they are not to be seen.
        f'<div style="font-size:0px">{canvas.svg(title, alt)}</div>'
        f'<p class="genai-alt">{escape(alt)}</p></figure>'
    )


def draw(name):
    """Display the drawing of that name.

    Raises ValueError for a name that is none.
    """
    drawing_bundle(name).display()
