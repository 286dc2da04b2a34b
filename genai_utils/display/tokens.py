"""Text whose tokens show how probable a model found them: in the page, and as a still.

Five steps from likely to surprising. Each step has a colour and an underline of its own, so it can
be told without colour, in light and in dark mode; the number itself is the token's title.
"""

import math

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genai_utils.display.figures import COLORS
from genai_utils.display.output import (
    Bundle,
    attribute,
    escape,
    figcaption,
    require_size,
    require_text,
    stylesheet,
    unique_id,
)
from genai_utils.display.pictures import as_array
from genai_utils.inputs import refusal, whole

BOUNDS = (0.5, 0.2, 0.05, 0.01)  # step 0 from 50 % up, step 4 below 1 %
NAMES = ("50 % and more", "20 to 50 %", "5 to 20 %", "1 to 5 %", "below 1 %")
FILL = ("#ffffff", "#fff0d2", "#fdd9a0", "#f9b35c", "#ee8a3a")  # the light mode of tokens.css
LINE = (None, ":", "--", "-", "-")  # underline of a step in the still; the last one is thick
MOST = 3_000  # tokens of one strip
GROUPS = tuple(
    COLORS[name]
    for name in ("blue", "orange", "green", "vermillion", "purple", "sky", "yellow", "grey")
)
FONT, ADVANCE = 11, 0.602  # points; width of a monospaced letter in units of its height


def step(probability):
    """The step of a probability: 0 (at least 50 %) to 4 (below 1 %)."""
    return sum(probability < bound for bound in BOUNDS)


def percent(probability):
    """A probability in words of a page: 43 %, 4.3 %, 0.43 %, below 0.01 %."""
    share = 100 * probability
    if share < 0.01:
        return "below 0.01 %"
    digits = 0 if share >= 9.95 else 1 if share >= 0.995 else 2
    return f"{share:.{digits}f} %"


def checked(tokens, probabilities):
    """[(token, probability or None)]; raises where they do not fit or are none."""
    tokens = [tokens] if isinstance(tokens, str) else list(tokens)
    if not tokens or not all(isinstance(token, str) for token in tokens):
        raise TypeError(
            "tokens must be a list of at least one string; tokenizer.pieces(ids) gives one."
        )
    if len(tokens) > MOST:
        raise ValueError(f"A strip shows at most {MOST:,} tokens, got {len(tokens):,}.")
    if hasattr(probabilities, "detach"):
        probabilities = as_array(probabilities)
    values = []
    for value in probabilities:
        value = None if value is None else float(value)
        if value is not None and not -1e-6 <= value <= 1 + 1e-6:
            raise ValueError(
                f"probabilities must lie in [0, 1], got {value:.4g}; "
                "None stands for a token that has none, such as one of the prompt."
            )
        values.append(value)
    if len(values) != len(tokens):
        raise ValueError(
            f"Each of the {len(tokens)} tokens needs a probability or None, got {len(values)}."
        )
    return list(zip(tokens, values, strict=True))


def visible(token):
    """A token as it stands in a strip: a line break is shown, and breaks the line."""
    return token.replace("\r", "").replace("\n", "↵\n").replace("\t", "⇥\t")


def legend():
    """The five steps as HTML."""
    steps = (f'<span><b class="genai-p{i}">a</b> {name}</span>' for i, name in enumerate(NAMES))
    return f'<div class="genai-steps">probability: {" ".join(steps)}</div>'


def token_bundle(tokens, probabilities, *, alt, name=None, caption=None):
    """The output that :func:`token_strip` displays; its ``.html`` fits into an ipywidgets.HTML."""
    alt, pairs = require_text(alt, "alt"), checked(tokens, probabilities)
    spans = "".join(
        f"<span>{escape(visible(token))}</span>"
        if p is None
        else f'<span class="genai-p{step(p)}" title="{percent(p)}">{escape(visible(token))}</span>'
        for token, p in pairs
    )
    html = (
        f'<figure class="genai genai-strip" id="{unique_id(spans + alt)}" '
        f'aria-label="{escape(alt)}"{attribute("data-figure", name)}>'
        f"{stylesheet('figure.css', 'tokens.css')}"
        f'<div class="genai-tokens">{spans}</div>{legend()}{figcaption(caption)}</figure>'
    )
    said = " ".join(
        visible(token).strip() + ("" if p is None else f" ({percent(p)})") for token, p in pairs
    )
    bundle = Bundle(text_html=html, text_plain=f"{alt}\n{said}")
    require_size(bundle, f"It has {len(pairs)} tokens: show fewer.")
    return bundle


def token_strip(tokens, probabilities, *, alt, name=None, caption=None):
    """Display a text whose tokens are coloured and underlined by their probability.

    Args:
        tokens: strings, in order; they are joined as they are, so a token that begins a word
            brings its own space.
        probabilities: one number in [0, 1] per token, or None for a token that has none.
        alt: what is seen.
        name: lets pages of the book reuse it.
        caption: a short line below it.

    Raises:
        TypeError: tokens that are no strings.
        ValueError: another number of probabilities, one outside [0, 1], too many tokens.
    """
    token_bundle(tokens, probabilities, alt=alt, name=name, caption=caption).display()


def _place(pairs, columns):
    """[(row, column, text, probability)] of the pieces of all tokens, wrapped at ``columns``."""
    row, column, pieces = 0, 0, []
    for token, p in pairs:
        for i, line in enumerate(visible(token).expandtabs(4).split("\n")):
            if i:
                row, column = row + 1, 0
            if column and column + len(line.rstrip()) > columns:  # a token stays in one piece …
                row, column, line = row + 1, 0, line.lstrip(" ")
            while line:  # … unless it is longer than a line
                pieces.append((row, column, line[: columns - column], p))
                column, line = column + len(pieces[-1][2]), line[columns - column :]
                if column >= columns:
                    row, column = row + 1, 0
    return pieces


def token_figure(tokens, probabilities, *, columns=48, title=None):
    """A matplotlib figure of the same text, for a place where only a picture can stand.

    columns: letters in a line; 48 can be read on a phone. title: a short line above.
    Raises as :func:`token_strip`, and ValueError for fewer than 8 columns.
    """
    pairs = checked(tokens, probabilities)
    whole(columns, "columns", least=8)
    pieces = _place(pairs, columns)
    rows = 1 + max((row for row, *_ in pieces), default=0)
    top, bottom = (1.6 if title else 0.2), 1.8  # in rows
    per_line = max(1, columns // 16)  # entries of the legend side by side
    bottom += math.ceil(len(NAMES) / per_line) * 1.3
    width, height = FONT * ADVANCE / 72, FONT * 1.75 / 72  # inches of a letter's place
    fig = Figure(figsize=(columns * width, (rows + top + bottom) * height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(rows + bottom, -top))
    ax.axis("off")
    kind = {"family": "monospace", "fontsize": FONT, "va": "center", "clip_on": False}
    if title:
        ax.text(0, -0.9, title, **{**kind, "family": "sans-serif"})

    def piece(row, column, text, p, spaced=0.06):
        if p is not None:
            k, end = step(p), column + len(text) - spaced
            ax.add_patch(Rectangle((column + spaced, row + 0.08), end - column - spaced, 0.84,
                                   facecolor=FILL[k], linewidth=0))  # fmt: skip
            if LINE[k]:
                ax.plot((column + spaced, end), (row + 0.88,) * 2, LINE[k], color="#7a3e12",
                        linewidth=2.4 if k == 4 else 1.1, solid_capstyle="butt")  # fmt: skip
        for i, letter in enumerate(text):  # one by one: no font's advance can shift them
            if letter.strip():
                ax.text(column + i + 0.5, row + 0.48, letter.replace("$", r"\$"), ha="center",
                        color="#57606a" if p is None else "#24292f", **kind)  # fmt: skip

    for place in pieces:
        piece(*place)
    example = (0.7, 0.3, 0.1, 0.03, 0.001)
    for i, (p, label) in enumerate(zip(example, NAMES, strict=True)):
        row, column = rows + 1.0 + (i // per_line) * 1.3, (i % per_line) * (columns / per_line)
        piece(row, column, "a", p)
        ax.text(column + 1.7, row + 0.5, label, **{**kind, "family": "sans-serif", "fontsize": 10})
    return fig


def group_figure(tokens, groups, *, columns=48, title=None):
    """A matplotlib figure of a text whose tokens are coloured by the group that each belongs to.

    groups: a whole number from 0 to 7 for each token, such as the expert it goes to. Its number,
    counted from 1, stands small below the token, so that it can be told without colour.
    columns: letters in a line. title: a short line above.
    Raises as :func:`token_strip` for the tokens, and ValueError for another number of groups, a
    group outside of 0 to 7, or fewer than 8 columns.
    """
    tokens, groups = list(tokens), [int(group) for group in groups]
    checked(tokens, [None] * len(tokens))
    whole(columns, "columns", least=8)
    if len(groups) != len(tokens):
        raise refusal("groups", f"one for each of the {len(tokens)} tokens", f"{len(groups)}")
    for group in groups:
        whole(group, "groups", least=0, most=len(GROUPS) - 1)
    pieces = _place(list(zip(tokens, groups, strict=True)), columns)
    rows = 1 + max((row for row, *_ in pieces), default=0)
    top = 1.2 if title else 0.2
    width, height = FONT * ADVANCE / 72, FONT * 2.1 / 72  # inches of a letter's place
    fig = Figure(figsize=(columns * width, (rows + top + 0.2) * height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(rows + 0.2, -top))
    ax.axis("off")
    look = {"va": "center", "ha": "center", "color": "#24292f", "clip_on": False}
    if title:
        ax.text(0, -0.6, title, fontsize=FONT, **(look | {"ha": "left"}))
    for row, column, text, group in pieces:
        wide = len(text) - 0.12
        ax.add_patch(Rectangle((column + 0.06, row + 0.06), wide, 0.88, facecolor=GROUPS[group],
                               linewidth=0, alpha=0.45))  # fmt: skip
        ax.text(column + len(text) / 2, row + 0.79, str(group + 1), fontsize=6, **look)
        for i, letter in enumerate(text):
            if letter.strip():
                ax.text(column + i + 0.5, row + 0.38, letter.replace("$", r"\$"), fontsize=FONT,
                        family="monospace", **look)  # fmt: skip
    return fig
