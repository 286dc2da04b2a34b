"""The real source of the package, shown where the notebook teaches it."""

import ast
import inspect
import re
import textwrap
from collections import defaultdict
from io import StringIO
from tokenize import COMMENT, TokenError, generate_tokens

from pygments import highlight, lex
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.styles import get_style_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token

from genai_utils import inputs
from genai_utils.display.output import Bundle, escape, stylesheet

FOLDED = "the answer, to unfold when you have tried"
DARK_HOSTS = (
    'html[data-theme="dark"]',
    'html[theme="dark"]',
    'body[data-jp-theme-light="false"]',
    "body.vscode-dark",
)


class Light(Style):
    """The hues of the book's code cells. Of Pygments' own styles none is as calm and as easy to
    read: their comments are too pale, or their docstrings red."""

    styles = {
        Comment: "#515151",
        String: "#00622f",
        Keyword: "#6730c5",
        Operator.Word: "#6730c5",
        Name.Class: "#005b82",
        Name.Function: "#005b82",
        Name.Builtin: "#7f4707",
        Name.Decorator: "#7f4707",
        Number: "#7f4707",
    }


STYLES = (Light, ""), (get_style_by_name("github-dark"), f":is({','.join(DARK_HOSTS)}) ")


_MARKS = re.compile(r"\s*# ?(NBVAL_\w+|fmt: (skip|on|off)|noqa\b.*|type: ignore.*)$")


def without_marks(code):
    """The code without marks for tools, and without the lines that held nothing else."""
    lines, gone = code.splitlines(), set()
    try:
        comments = [t for t in generate_tokens(StringIO(code).readline) if t.type == COMMENT]
    except (TokenError, SyntaxError):  # no Python
        return code
    for comment in comments:
        row, column = comment.start
        text = _MARKS.sub("", comment.string)
        if text != comment.string:
            lines[row - 1] = (lines[row - 1][:column] + text).rstrip()
            if not lines[row - 1]:
                gone.add(row - 1)
    return "\n".join(line for i, line in enumerate(lines) if i not in gone)


def source_of(thing):
    """The source text of a function, class, method or module.

    Without the indentation that all of it has, and without marks for tools.
    """
    if isinstance(thing, property):
        thing = thing.fget
    thing = inspect.unwrap(thing) if callable(thing) else thing
    try:
        text = inspect.getsource(thing)
    except (TypeError, OSError):
        what = getattr(thing, "__qualname__", None) or f"a {type(thing).__name__}"
        raise TypeError(
            f"show_source() needs functions, classes, methods or modules written in Python; "
            f"{what} has no source to show."
        ) from None
    return without_marks(textwrap.dedent(text).strip("\n"))


def _name(thing):
    """Where the reader finds it: ``genai_utils.vision.vae`` and the name within."""
    if inspect.ismodule(thing):
        return thing.__name__, ""
    thing = thing.fget if isinstance(thing, property) else inspect.unwrap(thing)
    return getattr(thing, "__module__", "") or "", getattr(thing, "__qualname__", "")


def _colours(kinds):
    """CSS for just the token kinds that occur, light and dark; a rule for each look."""
    rules = []
    short = HtmlFormatter()._get_css_class
    for style, host in STYLES:
        looks = defaultdict(list)
        for kind in sorted(kinds, key=str):
            look = style.style_for_token(kind)
            css = f"color:#{look['color']};" if look["color"] else "color:inherit;"
            css += "font-weight:600;" if look["bold"] else ""
            css += "font-style:italic;" if look["italic"] else ""
            looks[css].append(f".{short(kind)}")
        rules += [
            f"{host}.genai-source :is({','.join(names)}){{{css}}}" for css, names in looks.items()
        ]
    return f"<style>{''.join(rules)}</style>"


_HEAD = re.compile(r"^\s*(Args|Arguments|Attributes|Returns|Raises|Yields):\s*$")
_CHECKS = {name for name in vars(inputs) if callable(getattr(inputs, name))}


def only_checks(statement):
    """Whether a statement only looks at what came in: `if …: raise …`, or a call of `inputs`."""
    if isinstance(statement, ast.If):
        rest = statement.orelse
        return all(isinstance(s, ast.Raise) for s in statement.body) and all(map(only_checks, rest))
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in _CHECKS


def folds(text):
    """[(first line, line after the last, label)] of what a reader may pass over, counted from 0.

    That is the list of arguments, results and errors in a docstring, and the checks of input.
    """
    lines, found = text.splitlines(), []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node) is not None:
            words = node.body[0]
            inside = range(words.lineno - 1, words.end_lineno)
            heads = [i for i in inside if _HEAD.match(lines[i])]
            if heads:
                # The line of the closing quotes stays, where it is a line of its own.
                end = inside.stop - (lines[inside.stop - 1].strip() in ('"""', "'''"))
                names = [lines[i].strip(" :").lower() for i in heads]
                found.append((heads[0], end, ", ".join(dict.fromkeys(names))))
        if not isinstance(node, ast.ClassDef):
            for statement in filter(only_checks, node.body):
                found.append(
                    (statement.lineno - 1, statement.end_lineno, "checks of what comes in")
                )
    joined = []
    for first, end, label in sorted(found):
        if joined and joined[-1][1:] == (first, label):
            first = joined.pop()[0]
        joined.append((first, end, label))
    return [fold for fold in joined if fold[1] - fold[0] > 1]


def _blocks(text, lines):
    """The highlighted lines of a text as blocks of code, with what `folds` names folded."""

    def block(first, end):
        code = "\n".join(lines[first:end])
        return f'<pre tabindex="0"><code>{code}</code></pre>' if code else ""

    html, at = "", 0
    for first, end, label in folds(text):
        html += block(at, first)
        html += (
            f'<details class="genai-fold"><summary>{label}</summary>{block(first, end)}</details>'
        )
        at = end
    return html + block(at, len(lines))


def source_bundle(*objects, answers=()):
    """The output that :func:`show_source` displays; what is among ``answers`` is folded.

    Folded are also the lists of arguments, results and errors, and the checks of input.
    """
    if not objects:
        raise ValueError("show_source() needs at least one function, class or module.")
    texts = [source_of(thing) for thing in objects]
    kinds = {kind for text in texts for kind, _ in lex(text, PythonLexer())}
    kinds -= {Token.Text, Token.Text.Whitespace}
    formatter = HtmlFormatter(nowrap=True)
    body = ""
    for thing, text in zip(objects, texts, strict=True):
        module, name = _name(thing)
        title = escape(module) + (f" · <b>{escape(name)}</b>" if name else "")
        code = highlight(text, PythonLexer(), formatter).rstrip("\n")
        block = _blocks(text, code.split("\n"))
        if thing in answers:
            body += f'<details><summary class="genai-where">{title}: {FOLDED}</summary>'
            body += f"{block}</details>"
        else:
            body += f'<div class="genai-where">{title}</div>{block}'
    html = (
        f'<div class="genai genai-source">{stylesheet("figure.css", "source.css")}'
        f"{_colours(kinds)}{body}</div>"
    )
    return Bundle(text_html=html, text_plain="\n\n\n".join(texts))
