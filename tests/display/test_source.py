"""show_source: the page shows the very text of the file."""

import functools
import html
import inspect
import re

import pytest

from genai_utils.display import output, pictures
from genai_utils.display.output import Bundle
from genai_utils.display.source import source_bundle


def shown(bundle):
    """What a reader sees in the code blocks."""
    blocks = re.findall(r"<code>(.*?)</code>", bundle.html, re.S)
    return [html.unescape(re.sub(r"<[^>]+>", "", block)) for block in blocks]


def test_the_source_is_shown_word_for_word_and_coloured():
    bundle = source_bundle(pictures.align)
    assert shown(bundle) == [inspect.getsource(pictures.align).strip("\n")]
    assert bundle.data["text/plain"] == shown(bundle)[0]
    assert "<b>align</b>" in bundle.html and "genai_utils.display.pictures" in bundle.html
    for kind in set(re.findall(r'<span class="(\w+)">', bundle.html)) - {"w"}:
        assert f".genai-source .{kind}{{" in bundle.html  # in light
        assert f'html[data-theme="dark"] .genai-source .{kind}' in bundle.html


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


@pytest.mark.parametrize("thing", [3, "text", len, functools.partial(max, 1)])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(TypeError, match="has no source to show"):
        source_bundle(thing)


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        source_bundle()
