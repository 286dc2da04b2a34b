"""show_source: the page shows the very text of the file."""

import functools
import html
import inspect
import re

import pytest

from genai_utils.display import figures, output, pictures
from genai_utils.display.output import Bundle
from genai_utils.display.source import folds, source_bundle, source_of
from tests.browser import contrast


def shown(bundle):
    """What a reader sees of each thing, unfolded."""
    texts = []
    for part in bundle.html.split('class="genai-where"')[1:]:
        blocks = re.findall(r"<code>(.*?)</code>", part, re.S)
        texts.append(html.unescape(re.sub(r"<[^>]+>", "", "\n".join(blocks))))
    return texts


def test_the_source_is_shown_word_for_word_and_coloured():
    bundle = source_bundle(pictures.align)
    assert shown(bundle) == [inspect.getsource(pictures.align).strip("\n")]
    assert bundle.data["text/plain"] == shown(bundle)[0]
    assert "<b>align</b>" in bundle.html and "genai_utils.display.pictures" in bundle.html
    for kind in set(re.findall(r'<span class="(\w+)">', bundle.html)) - {"w"}:
        rules = re.findall(r"([^{}>]*)\{color:", bundle.html)
        mine = [rule for rule in rules if re.search(rf"\.{kind}\b", rule)]
        assert len(mine) == 2 and 'html[data-theme="dark"]' not in mine[0]  # in light
        assert 'html[data-theme="dark"]' in mine[1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_can_be_read_on_its_ground(theme, browser, tmp_path):
    """A contrast of 4.5 at least (WCAG 2.2, 1.4.3), of comments and strings too."""
    page = tmp_path / "source.html"
    shown = source_bundle(pictures).html + source_bundle(output).html
    page.write_text(f'<!doctype html><html data-theme="{theme}"><body>{shown}</body></html>')
    browser.open(page)
    pairs = browser.js(
        """
        const ground = (e) => {
          const css = getComputedStyle(e).backgroundColor;
          return css === "rgba(0, 0, 0, 0)" ? ground(e.parentElement) : css;
        };
        return [...document.querySelectorAll("code span[class]")].map((e) =>
          [e.className, getComputedStyle(e).color, ground(e)]);
        """
    )
    found = {kind: contrast(ink, ground) for kind, ink, ground in pairs}
    assert len(found) > 10 and min(found.values()) >= 4.5, found


def test_methods_lose_their_indentation_and_properties_work():
    bundle = source_bundle(Bundle.display, Bundle.size)
    first, second = shown(bundle)
    assert first.startswith("def display(self):\n    ") and second.startswith("@property\ndef size")
    assert bundle.data["text/plain"] == f"{first}\n\n\n{second}"


def test_a_wrapper_shows_what_it_wraps_and_modules_are_shown_whole():
    @functools.wraps(pictures.align)
    def wrapper(*arguments):
        return pictures.align(*arguments)

    assert shown(source_bundle(wrapper)) == shown(source_bundle(pictures.align))
    assert "def require_size" in shown(source_bundle(output))[0]


def test_an_answer_is_folded_and_nothing_else():
    things = (pictures.align, Bundle.size, pictures.encode)
    bundle = source_bundle(*things, answers=[pictures.align, pictures.webp])
    assert shown(bundle) == shown(source_bundle(*things))
    folded = re.findall(r"<details><summary.*?</details>", bundle.html, re.S)
    assert len(folded) == 1 and "align" in folded[0] and "encode" not in folded[0]
    assert "to unfold when you have tried" in folded[0]
    assert bundle.data["text/plain"] == source_bundle(*things).data["text/plain"]


LONG = '''def mean(x, dim):
    """The mean.

    Args:
        x: (N, d).
        dim: which.

    Raises:
        ValueError: an empty x.
    """
    inputs.whole(dim, "dim")
    if not len(x):
        raise ValueError("empty")
    if len(x) == 1:
        x = x + 0

    @cached
    def inner():
        """One line. Args: none."""
        if x is None:
            return 0
        raise ValueError
    return x.mean(dim)
'''


def test_lists_of_arguments_and_checks_of_input_are_folded_and_the_rest_is_not():
    lines = LONG.splitlines()
    (first, end, label), (check, after, checks) = folds(LONG)
    assert label == "args, raises" and checks == "checks of what comes in"
    assert lines[first].strip() == "Args:" and lines[end].strip() == '"""'
    assert lines[check:after] == lines[10:13]
    assert folds("def f(x):\n    x = number(x)\n    return x") == []


def test_a_fold_is_within_the_text_and_only_where_something_is_left_out():
    folded = source_bundle(figures.show)
    assert (
        folded.html.count('<details class="genai-fold">') == len(folds(source_of(figures.show))) > 0
    )
    assert 'genai-fold">' not in source_bundle(pictures.align).html


@pytest.mark.parametrize("thing", [3, "text", len, functools.partial(max, 1)])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(TypeError, match="has no source to show"):
        source_bundle(thing)


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        source_bundle()
