"""What the pages on measurements read: the JSON files of `benchmarks/`, and numbers out of them.

A role: {stored}`cost: rows.attention_T.time` is what stands in `benchmarks/cost.json` under these
keys, here an exponent with its interval; {stored}`cost: rows.linkage_n.time.bend | 2` is a number
with two digits, and `| 1%`, `| 0.1f` or `| .0e` a format of Python.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

from genai_utils.book.nodes import number

log = logging.getLogger(__name__)


def record(env, name):
    """The content of `benchmarks/NAME.json`; the page is made anew when it changes."""
    path = Path(env.srcdir) / "benchmarks" / f"{name}.json"
    env.note_dependency(str(path))
    return json.loads(path.read_text(encoding="utf-8"))


def look_up(found, keys):
    """The value below the keys, joined by full stops. Raises KeyError where there is none."""
    for key in keys.split("."):
        if not isinstance(found, dict) or key not in found:
            raise KeyError(key)
        found = found[key]
    return found


def digits(value, count):
    """12345.6 with 2 digits -> "12,000"; 0.0123 -> "0.012"."""
    rounded = float(f"{value:.{count - 1}e}")
    if rounded == round(rounded) and abs(rounded) < 1e9:
        return f"{rounded:,.0f}"
    return f"{rounded:.3g}" if abs(rounded) < 1e-4 else f"{rounded:.10f}".rstrip("0").rstrip(".")


def exponent(fit):
    """{"exponent": 0.981, "low": 0.97, "high": 1.0} -> "0.98 (0.97 to 1.00)"."""
    value, low, high = (f"{fit[key]:.2f}" for key in ("exponent", "low", "high"))
    value, low, high = (
        {"-0.00": "0.00"}.get(text, text).replace("-", "−") for text in (value, low, high)
    )
    return f"{value} ({low} to {high})"


def written(value, form=""):
    """A stored value as the page has it; form: see above."""
    if isinstance(value, dict) and "exponent" in value:
        return exponent(value)
    if isinstance(value, str):
        return value
    if form.isdecimal():
        return digits(value, int(form))
    return format(value, form) if form else number(value)


def stored(name, rawtext, text, lineno, inliner, options=None, content=()):
    """The role."""
    env = inliner.document.settings.env
    path, _, form = (part.strip() for part in text.partition("|"))
    file, _, keys = (part.strip() for part in path.partition(":"))
    try:
        return [nodes.Text(written(look_up(record(env, file), keys), form))], []
    except (OSError, KeyError, TypeError, ValueError) as error:
        message = "stored: %r names no value of a file in benchmarks/ (%r)"
        log.warning(message, text, error, location=(env.docname, lineno))
        return [nodes.Text("?")], []
