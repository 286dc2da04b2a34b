"""Outputs of earlier versions, brought up to date as text."""

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from genai_utils.book.chapters import Book
from genai_utils.display import pictures
from genai_utils.display.explorer import explorer_bundle
from genai_utils.display.stored import upgrade, upgrade_still
from genai_utils.display.zoom_map import zoom_map_bundle

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


def test_an_old_map_is_drawn_by_the_script_of_today():
    new = zoom_map_bundle([[0, 0], [1, 1]], "ab", "ab", alt="Two places.").html
    old = re.sub(r"const fitted.*?\n};\n", "", new, flags=re.DOTALL)
    assert "fitted" in new and old != new and upgrade(old) == new == upgrade(new)


def test_what_is_up_to_date_or_has_no_script_stays():
    bundle = explorer_bundle(lambda k: np.full((4, 4), k / 2), alt="A.", k=[0, 1])
    for html in (bundle.html, upgrade(OLD), "<figure><img></figure>", "<script>other()</script>"):
        assert upgrade(html) == html


def photograph(k):
    """Soft clouds of all colours with some grain, (3, 90, 120)."""
    rng = np.random.default_rng(k)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    fine = np.asarray(coarse.resize((120, 90), Image.Resampling.BICUBIC)) / 255
    return (fine + 0.03 * rng.normal(size=fine.shape)).clip(0, 1).transpose(2, 0, 1)


def picture(text):
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


def test_the_still_of_a_photograph_is_a_jpeg_in_a_new_output_and_in_an_old_one():
    new = explorer_bundle(photograph, alt="Clouds.", k=[0, 1])
    assert set(new.data) == {"text/html", "image/jpeg", "text/plain"}
    image = pictures.from_array(photograph(0))
    png = pictures.png_text(image)
    fresh = upgrade_still({"text/html": new.html, "image/png": png, "text/plain": "Clouds."})
    assert set(fresh) == set(new.data) and fresh["text/html"] == new.html
    for data in (new.data, fresh):
        assert len(data["image/jpeg"]) < 0.6 * len(png)
        off = np.abs(np.asarray(picture(data["image/jpeg"]), float) - np.asarray(image))
        assert off.mean() < 8  # of 255
    assert upgrade_still(fresh) == fresh


def test_the_still_of_a_plot_stays_as_it_is():
    plot = explorer_bundle(lambda k: np.full((40, 40), k / 2), alt="A.", k=[0, 1])
    assert set(plot.data) == {"text/html", "image/png", "text/plain"}
    assert upgrade_still(plot.data) == plot.data
    assert upgrade_still({"text/plain": "words"}) == {"text/plain": "words"}


def test_every_stored_output_keeps_its_pictures_and_data():
    for chapter in Book(ROOT).chapters.values():
        for html in chapter.html():
            new = upgrade(html)
            assert upgrade(new) == new
            assert new.count('src="data:') == html.count('src="data:')
            assert new.rpartition("\n")[0][-2000:] == html.rpartition("\n")[0][-2000:]
            assert ('class="genai-untrusted"' in new) == ("<script>(() => {\n" in html)
