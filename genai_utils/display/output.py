"""What one notebook output is made of: HTML with its style and script inside, and plain text.

Nothing here knows what is drawn. Every output is self-contained, because a stored output is read
in Jupyter, on Colab, in the book and from ``file://``, where no other file of ours can be fetched.
"""

import hashlib
import json
import re
from collections import Counter
from html import escape
from importlib.resources import files

from IPython import get_ipython
from IPython.display import display

from genai_utils.printing import plain, say

LIMIT = 600_000  # bytes of one stored output
# JupyterLab shows outputs of a notebook that it does not trust yet without styles and scripts, and
# loses `hidden` where it has no value. This line stands there until the script takes it away.
HIDDEN = ' hidden="hidden"'
UNTRUSTED = '<p class="genai-untrusted">To use it, run this cell or trust the notebook.</p>'
_used = Counter()  # how often each id was handed out in this process


class Bundle:
    """One output in several formats, from the richest (``text/html``) to plain text."""

    def __init__(self, **formats):
        self.data = {name.replace("_", "/"): value for name, value in formats.items()}

    @property
    def html(self):
        """The HTML of the output."""
        return self.data["text/html"]

    @property
    def size(self):
        """Bytes that the output adds to a stored notebook."""
        return sum(len(value.encode()) for value in self.data.values())

    def display(self):
        """Show the output below the running cell; outside IPython its plain text is printed."""
        text = self.data.get("text/plain", "")
        if get_ipython() is None:
            say(text)
        elif text:  # IPython in a terminal prints the plain text
            display({**self.data, "text/plain": plain(text)}, raw=True)
        else:
            display(self.data, raw=True)


def require_text(value, what):
    """Return ``value`` stripped; raise if it is not a text that says something."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, got {type(value).__name__}.")
    if not value.strip():
        raise ValueError(f"{what} is empty: write one sentence that says what is seen.")
    return value.strip()


def require_size(bundle, advice, most=LIMIT):
    """Refuse an output that would make the page slow to load; most: bytes."""
    if bundle.size > most:
        raise ValueError(
            f"This output is too large for a page: at most {most // 1000} kB, "
            f"got {bundle.size / 1000:,.0f} kB. {advice}"
        )


def compact(text):
    """Drop the indentation, empty lines and comments of a JS or CSS file of ours."""
    lines = (line.strip() for line in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def static(*names):
    """The compacted text of files in ``display/static``, one after the other."""
    folder = files("genai_utils.display") / "static"
    return "\n".join(compact((folder / name).read_text(encoding="utf-8")) for name in names)


def stylesheet(*names):
    """A ``<style>`` element with those files of ``display/static``, in one line.

    A stored notebook keeps each line apart, which costs; a style sheet does not need them.
    """
    return f"<style>{static(*names)}</style>".replace("\n", " ")


def unique_id(content):
    """An id that no other output of this process has, and that is equal when it is run again."""
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    _used[digest] += 1
    return f"genai-{digest}-{_used[digest]}"


def attribute(name, value):
    """`` name="value"`` escaped, or nothing where the value is None."""
    return "" if value is None else f' {name}="{escape(str(value))}"'


def figcaption(caption):
    """A ``<figcaption>`` element, or nothing where there is no caption."""
    return f"<figcaption>{escape(caption)}</figcaption>" if caption else ""


def dot(colour):
    """A dot of a legend, which has its size without a style sheet too."""
    return f'<i style="display:inline-block;width:0.7em;height:0.7em;background:{colour}"></i> '


def script(identity, function, data, *names):
    """A ``<script>`` that calls ``function(root, data)`` of the JS files once for its own root.

    The root is the figure that holds the script, or, where the host runs scripts detached from
    their place, the element with the id ``identity``. Where scripts do not run, a line says why.
    """
    payload = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        f"{UNTRUSTED}<script>(() => {{\n"
        + static(*names)
        + "\nconst here = document.currentScript?.closest('.genai');"
        + f"\nconst root = here ?? document.getElementById('{identity}');"
        + "\nif (!root || root.genaiReady) return;\nroot.genaiReady = true;"
        + "\nroot.querySelectorAll('.genai-untrusted').forEach((line) => line.remove());"
        + f"\n{function}(root, {payload});\n}})();</script>"
    )
