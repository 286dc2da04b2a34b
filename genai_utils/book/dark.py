"""Which stored pictures are plots: dark mode turns their ground dark, and never a photograph's.

A plot is drawn on white: white takes a third of it or more, and hardly anything is black. A picture
of digits or faces is the other way round, and keeps its colours. So does a plot whose caption or
description speaks of black, white, dark or light. `site.css` and `site.js` do the rest.
"""

import base64
import io
import re

import numpy as np
from PIL import Image

PLOT, PICTURE = "genai-plot", "genai-picture"
WHITE, BLACK = 0.33, 0.08  # at least so much of a plot is white, at most so much is black
MOST = 6  # frames of an explorer that are looked at

_FIGURE = re.compile(r'<figure class="genai\b.*?</figure>', re.DOTALL)
_OPEN = re.compile(r'<img class="dark-light"(?=[^>]* src="data:image)')
_SAID = re.compile(r'(?<=alt=")[^"]*|(?<=<figcaption>)[^<]*')
_SHADES = re.compile(
    r"\b(?:black|white|dark\w*|bright\w*|light(?:er|est)?|pale\w*)\b", re.IGNORECASE
)
_PIXELS = re.compile(r'"data:image/(?:png|webp);base64,([A-Za-z0-9+/=]+)"')


def is_plot(picture):
    """Whether a PIL image is drawn on white."""
    values = np.asarray(picture.convert("RGB"))
    white = (values.min(axis=2) >= 248).mean()
    black = (values.max(axis=2) <= 70).mean()
    return bool(white >= WHITE and black <= BLACK)


def mark(html):
    """The page with a class at each picture that says whether it is a plot."""
    return _FIGURE.sub(_marked, html)


def _marked(found):
    figure = found[0]
    if not _OPEN.search(figure):
        return figure
    if any(_SHADES.search(said) for said in _SAID.findall(figure)):
        return _OPEN.sub(f'<img class="dark-light {PICTURE}"', figure)
    frames = _PIXELS.findall(figure)
    if "genai-crisp" in figure:  # the ground of a pad; its picture is beside it, in pixels
        frames = _PIXELS.findall(figure[_OPEN.search(figure).start() :])[:1]
    if not frames:  # drawn by other means
        return figure
    frames = frames[:: -(-len(frames) // MOST)]
    plots = [is_plot(Image.open(io.BytesIO(base64.b64decode(frame)))) for frame in frames]
    return _OPEN.sub(f'<img class="dark-light {PLOT if all(plots) else PICTURE}"', figure)
