"""Printing that never fails: a stream that cannot hold a sign gets a plain one instead.

A terminal or a log file need not be UTF-8 (`PYTHONIOENCODING=ascii`, a Windows console in cp1252).
There Python's `print` raises UnicodeEncodeError at the first arrow, and whatever was to follow it,
such as the writing of trained weights, is lost.

    say("loss 2.31 → 0.47")      # in ASCII: loss 2.31 -> 0.47
"""

import contextlib
import re
import sys
import unicodedata

# What reads the same in ASCII. Accents, superscripts, subscripts and Greek follow from Unicode's
# own tables.
PLAIN = {
    "→": "->", "←": "<-", "↔": "<->", "⇒": "=>", "✓": "[ok]", "✗": "[x]", "○": "[ ]", "×": "x",
    "⋯": "...",
    "·": "*", "⋅": "*", "•": "*", "…": "...", "−": "-", "–": "-", "—": "-", "‑": "-", "±": "+-",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∝": "~", "÷": "/", "\u2044": "/", "√": "sqrt ",
    "∑": "sum", "∏": "prod", "∞": "inf", "∂": "d", "∇": "grad", "∈": "in", "‖": "||", "∥": "||",
    "∣": "|", "⊤": "^T", "⟨": "<", "⟩": ">", "⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")",
    "“": '"',
    "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "′": "'",
    "°": " deg", "§": "section ", "⊙": "*", "␣": "_", "▁": "_", "↵": "\\n", "⇥": "\\t", "⌂": "home",
    "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l",
}  # fmt: skip
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)( SYMBOL)?$")


def say(text="", file=None, flush=False) -> None:
    """Print a text to a stream (default: sys.stdout), with plain signs where it holds no others.

    flush: show it at once. Where nobody can read it any more (a closed pipe, a full disk), it is
    lost, and the work goes on.
    """
    file = sys.stdout if file is None else file
    with contextlib.suppress(OSError):
        print(plain(text, file), file=file, flush=flush)


def plain(text, stream=None) -> str:
    """The text with each sign that the stream (default: sys.stdout) cannot hold made plain.

    A sign that has no plain form becomes a question mark. A stream without an encoding, such as
    io.StringIO, holds everything.
    """
    text = str(text)
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None) or "utf-8"
    if _holds(encoding, text):
        return text
    return "".join(sign if _holds(encoding, sign) else _plain(sign, encoding) for sign in text)


def _holds(encoding, text) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _plain(sign, encoding) -> str:
    """What stands for one sign that the encoding does not have."""
    if sign in PLAIN:
        return PLAIN[sign]
    if greek := GREEK.match(unicodedata.name(sign, "")):
        word = greek[2].lower().replace("lamda", "lambda")
        return word if greek[1] == "SMALL" else word.capitalize()
    kind, *codes = unicodedata.decomposition(sign).split() or [""]
    mark = {"<super>": "^", "<sub>": "_"}.get(kind, "")
    codes = codes if kind.startswith("<") else [kind, *codes]
    parts = [chr(int(code, 16)) for code in codes if code]
    if not parts:
        return "" if unicodedata.combining(sign) else "?"
    return mark + "".join(p if _holds(encoding, p) else _plain(p, encoding) for p in parts)
