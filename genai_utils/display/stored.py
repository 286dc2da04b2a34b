"""Outputs that were stored by an earlier version of this package, brought up to date as text."""

import base64
import io
import re

from PIL import Image

from genai_utils.display import pictures
from genai_utils.display.output import HIDDEN, UNTRUSTED, dot, static

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_PICTURE = re.compile(r'<img\b[^>]* src="data:[^,"]*,([^"]*)"')
_READY = "\nroot.genaiReady = true;"
_AWAY = "\nroot.querySelectorAll('.genai-untrusted').forEach((line) => line.remove());"


def upgrade(html):
    """The stored HTML of one output so that it reads well in JupyterLab before it is trusted.

    Controls that wait for their script stay hidden, the words of a legend stand apart, and a line
    says what to do until the script takes it away. A style sheet is one line. A map is drawn by
    today's script. Else pictures, data and code of the script stay as the run left them, and an
    output of today's version as it is.
    """
    html = _STYLE.sub(lambda found: found[0].replace("\n", " "), html)
    head, start, code = html.partition("<script>(() => {\n")
    here = code.find("\nconst here = ")
    if 'data-explorer="map"' in head and here > 0:
        code = static("zoom_map.js") + code[here:]
        html = head + start + code
    if not start or _READY not in code or "genai-untrusted" in html:
        return html
    head = re.sub(r"(<[a-z]+\b[^<>]*) hidden>", rf"\1{HIDDEN}>", head)
    head = re.sub(r'<i style="background:([^"]+)"></i>', lambda found: dot(found[1]), head)
    head = head.replace("</span><span>", "</span> <span>")
    return head + UNTRUSTED + start + code.replace(_READY, _READY + _AWAY, 1)


def upgrade_still(data):
    """The stored data of one output, where the picture for readers without HTML is a photograph: as
    today's package writes it, from the one that the page opens with.

    Other data are returned as they are.
    """
    png = data.get("image/png")
    picture = png and _PICTURE.search(data.get("text/html", ""))
    if not picture or not pictures.photographic(base64.b64decode(png), _image(png)):
        return data
    fresh = pictures.still(_image(picture[1]).convert("RGB"))
    return {**{key: data[key] for key in data if key != "image/png"}, **fresh}


def _image(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))
