"""Outputs that were stored by an earlier version of this package, brought up to date as text."""

import re

from genai_utils.display.output import HIDDEN, UNTRUSTED, dot

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_READY = "\nroot.genaiReady = true;"
_AWAY = "\nroot.querySelectorAll('.genai-untrusted').forEach((line) => line.remove());"


def upgrade(html):
    """The stored HTML of one output so that it reads well in JupyterLab before it is trusted.

    Controls that wait for their script stay hidden, the words of a legend stand apart, and a line
    says what to do until the script takes it away. A style sheet is one line. Pictures, data and
    code of the script stay as the run left them, and an output of today's version as it is.
    """
    html = _STYLE.sub(lambda found: found[0].replace("\n", " "), html)
    head, start, code = html.partition("<script>(() => {\n")
    if not start or _READY not in code or "genai-untrusted" in html:
        return html
    head = re.sub(r"(<[a-z]+\b[^<>]*) hidden>", rf"\1{HIDDEN}>", head)
    head = re.sub(r'<i style="background:([^"]+)"></i>', lambda found: dot(found[1]), head)
    head = head.replace("</span><span>", "</span> <span>")
    return head + UNTRUSTED + start + code.replace(_READY, _READY + _AWAY, 1)
