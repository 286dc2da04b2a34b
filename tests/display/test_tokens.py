"""Coloured tokens: five steps that can be told without colour, in the page and in the still."""

import html.parser

import numpy as np
import pytest
import torch
from matplotlib import colors

from genai_utils.display.tokens import (
    FILL,
    GROUPS,
    MOST,
    group_figure,
    percent,
    step,
    token_bundle,
    token_figure,
)
from tests.browser import contrast, luminance

TOKENS = ["The", " <cat>", " sat", "\n", " & $5", "$", "…", "\n"]
SHARES = [None, 0.003, 0.97, 0.3, 0.1, 0.02, 0.0, 1.0]


class Spans(html.parser.HTMLParser):
    """(class, title, text) of each span of the text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "span" and self.open is None:
            self.open = dict(attributes)

    def handle_data(self, data):
        if self.open is not None:
            self.found.append((self.open.get("class"), self.open.get("title"), data))

    def handle_endtag(self, tag):
        self.open = None if tag == "span" else self.open


def spans(bundle):
    return Spans(bundle.html.partition('"genai-tokens">')[2].partition("</div>")[0]).found


@pytest.mark.parametrize(
    ("p", "expected", "said"),
    [
        (1.0, 0, "100 %"), (0.5, 0, "50 %"), (0.4999, 1, "50 %"), (0.2, 1, "20 %"),
        (0.19, 2, "19 %"), (0.05, 2, "5.0 %"), (0.0499, 3, "5.0 %"), (0.01, 3, "1.0 %"),
        (0.0099, 4, "0.99 %"), (0.00005, 4, "below 0.01 %"), (0.0, 4, "below 0.01 %"),
    ],
)  # fmt: skip
def test_a_probability_has_a_step_and_a_number(p, expected, said):
    assert (step(p), percent(p)) == (expected, said)


def test_each_token_has_its_step_its_number_and_its_text():
    bundle = token_bundle(TOKENS, SHARES, alt="Eight tokens.", name="cat", caption="Read <it>.")
    assert spans(bundle) == [
        (None, None, "The"), ("genai-p4", "0.30 %", " <cat>"), ("genai-p0", "97 %", " sat"),
        ("genai-p1", "30 %", "↵\n"), ("genai-p2", "10 %", " & $5"), ("genai-p3", "2.0 %", "$"),
        ("genai-p4", "below 0.01 %", "…"), ("genai-p0", "100 %", "↵\n"),
    ]  # fmt: skip
    assert 'data-figure="cat"' in bundle.html and "Read &lt;it&gt;." in bundle.html
    assert 'aria-label="Eight tokens."' in bundle.html and "below 1 %" in bundle.html
    assert bundle.data["text/plain"].startswith("Eight tokens.\nThe <cat> (0.30 %) sat (97 %)")


@pytest.mark.parametrize(
    "shares", [torch.tensor([0.3, 0.9]), np.array([0.3, 0.9], np.float32), (0.3, 0.9)]
)
def test_numbers_may_come_as_a_tensor_or_an_array(shares):
    assert [kind for kind, *_ in spans(token_bundle(["a", "b"], shares, alt="A."))] == [
        "genai-p1", "genai-p0"]  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "shares", "error", "message"),
    [
        (["a", "b"], [0.5], ValueError, "Each of the 2 tokens .* got 1"),
        (["a"], [1.2], ValueError, r"in \[0, 1\], got 1.2"),
        (["a"], [-0.1], ValueError, r"in \[0, 1\], got -0.1"),
        (["a"], [float("nan")], ValueError, r"in \[0, 1\], got nan"),
        ([3], [0.5], TypeError, "list of at least one string"),
        ([], [], TypeError, "list of at least one string"),
        (["a"] * (MOST + 1), [0.5] * (MOST + 1), ValueError, "at most 3,000 tokens, got 3,001"),
    ],
)
@pytest.mark.parametrize("show", ["strip", "figure"])
def test_bad_input_is_named(tokens, shares, error, message, show):
    with pytest.raises(error, match=message):
        if show == "strip":
            token_bundle(tokens, shares, alt="A.")
        else:
            token_figure(tokens, shares)


def test_alt_text_and_columns_are_asked_for():
    with pytest.raises(ValueError, match="alt"):
        token_bundle(["a"], [0.5], alt=" ")
    with pytest.raises(ValueError, match="columns: expected a whole number of at least 8, got 4"):
        token_figure(["a"], [0.5], columns=4)


def texts(figure):
    """The letters of the still, row by row, each as (row, column, letter)."""
    found = [(round(t.get_position()[1] - 0.48, 3), t.get_position()[0] - 0.5, t.get_text())
             for t in figure.axes[0].texts if t.get_family() == ["monospace"]]  # fmt: skip
    return [place for place in found if place[0] == int(place[0])]


def test_the_still_wraps_between_tokens_and_at_line_breaks():
    figure = token_figure(["abcd", " efgh", " ij\n", "kl", " a-word-of-20-letters", "ab    "],
                          [None, 0.3, 0.001, 0.03, 0.1, 0.3], columns=8)  # fmt: skip
    rows = {}
    for row, column, letter in texts(figure):
        rows.setdefault(row, {})[column] = letter
    lines = ["".join(rows[row].values()) for row in sorted(rows)]
    assert lines[:5] == ["abcd", "efghij↵", "kl", "a-word-o", "f-20-let"]
    assert lines[5] == "tersab" and max(c for row in rows.values() for c in row) < 8
    patches = [colors.to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]
    shown = [patch for patch in patches if patch != FILL[0]]
    assert shown[:4] == [FILL[1], FILL[4], FILL[3], FILL[2]]
    assert all(patch.get_x() + patch.get_width() <= 8 for patch in figure.axes[0].patches)
    widths = [line.get_linewidth() for line in figure.axes[0].lines]
    assert max(widths) > 2 * min(widths)  # a surprising token has a thick line: no colour needed


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_each_step_and_steps_differ_without_colour(browser, tmp_path, dark):
    bundle = token_bundle(list("abcde"), [0.7, 0.3, 0.1, 0.03, 0.001], alt="A.")
    theme = ' data-theme="dark" style="background:#121212"' if dark else ""
    page = tmp_path / "t.html"
    page.write_text(f'<!doctype html><html lang="en"{theme}><meta charset="utf-8"><title>t</title>'
                    f'<meta name="viewport" content="width=device-width">{bundle.html}',
                    encoding="utf-8")  # fmt: skip
    browser.open(page, width=390, wide=True)
    styles = browser.js("""return [...document.querySelectorAll('.genai-tokens span')].map(s => {
        const c = getComputedStyle(s);
        return [c.color, c.backgroundColor, c.textDecorationLine, c.textDecorationStyle,
                c.textDecorationThickness]})""")

    grounds = [luminance(ground) for _, ground, *_ in styles[1:]]
    assert grounds == sorted(grounds, reverse=not dark)  # one direction: it survives grey
    assert all(contrast(ink, ground) > 4.5 for ink, ground, *_ in styles[1:])
    assert len({tuple(style[2:]) for style in styles}) == 5  # and so do the underlines
    assert browser.overflow() == 0 and browser.errors() == []


def test_groups_have_a_colour_and_a_number():
    fig = group_figure(["The", " cat", " sat", " on", "\n", "it $"], [0, 3, 3, 7, 1, 2], columns=12)
    ax = fig.axes[0]
    filled = [colors.to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert filled == [GROUPS[i].lower() for i in (0, 3, 3, 7, 1, 2)]
    assert [t.get_text() for t in ax.texts if t.get_fontsize() == 6] == list("144823")
    letters = "".join(t.get_text() for t in ax.texts if t.get_fontsize() != 6)
    assert letters == r"Thecatsaton↵it\$"
    rows = {round(p.get_y() - 0.06) for p in ax.patches}
    assert rows == {0, 1, 2}
    assert all(0 <= p.get_x() <= p.get_x() + p.get_width() <= 12 for p in ax.patches)


@pytest.mark.parametrize(
    ("tokens", "groups", "error"),
    [([], [], TypeError), (["a"], [0, 1], ValueError), (["a"], [8], ValueError),
     (["a"], [-1], ValueError), ([1], [0], TypeError)],
)  # fmt: skip
def test_groups_that_do_not_fit_are_refused(tokens, groups, error):
    with pytest.raises(error):
        group_figure(tokens, groups)


def test_the_group_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="groups: expected a whole number from 0 to 7, got -1"):
        group_figure(["a", "b"], [3, -1])
    with pytest.raises(ValueError, match="columns"):
        group_figure(["a"], [0], columns=7)
