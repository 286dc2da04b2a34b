"""Outputs of earlier versions, brought up to date as text."""

from pathlib import Path

import numpy as np

from genai_utils.book.chapters import Book
from genai_utils.display.explorer import explorer_bundle
from genai_utils.display.stored import upgrade

ROOT = Path(__file__).parents[2]
OLD = (
    '<figure class="genai" data-explorer="pad"><style>.a{}</style><div class="genai-legend"><span>'
    '<i style="background:#0072B2"></i>0</span><span><i style="background:#E69F00"></i>1</span>'
    '</div><div class="genai-padline" hidden>x</div><script>(() => {\nif (!root || '
    'root.genaiReady) return;\nroot.genaiReady = true;\npad(root, {"a":"<p hidden>"});\n})();'
    "</script></figure>"
)


def test_an_old_output_hides_what_is_dead_and_says_why():
    new = upgrade(OLD)
    assert 'class="genai-padline" hidden="hidden">x' in new
    assert "</span> <span>" in new and 'height:0.7em;background:#0072B2"></i> 0' in new
    assert new.index("genai-untrusted") < new.index("<script>")
    assert new.index("root.genaiReady = true") < new.index(".remove()") < new.index("pad(root")
    assert '{"a":"<p hidden>"}' in new  # the data are the run's


def test_a_style_sheet_becomes_one_line_and_a_script_keeps_its_lines():
    html = "<figure><style>.a {\nb: c;\n}</style><script>x()\ny()</script></figure>"
    assert upgrade(html) == html.replace(".a {\nb: c;\n}", ".a { b: c; }")


def test_what_is_up_to_date_or_has_no_script_stays():
    bundle = explorer_bundle(lambda k: np.full((4, 4), k / 2), alt="A.", k=[0, 1])
    for html in (bundle.html, upgrade(OLD), "<figure><img></figure>", "<script>other()</script>"):
        assert upgrade(html) == html


def test_every_stored_output_keeps_its_pictures_and_data():
    for chapter in Book(ROOT).chapters.values():
        for html in chapter.html():
            new = upgrade(html)
            assert upgrade(new) == new
            assert new.count('src="data:') == html.count('src="data:')
            assert new.rpartition("\n")[0][-2000:] == html.rpartition("\n")[0][-2000:]
            assert ('class="genai-untrusted"' in new) == ("<script>(() => {\n" in html)
