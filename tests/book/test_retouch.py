"""Words of a stored output that are renewed equal those that a run would store."""

import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from genai_utils.book.renew import renew, stale_words
from genai_utils.book.retouch import Unlike, retouched
from genai_utils.display.explorer import explorer_bundle
from genai_utils.display.figures import figure_bundle, table_bundle
from genai_utils.display.latent_pad import pad_bundle, walk_bundle

ALT = 'A "curve" < a line.'


def curve(**words):
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    return figure_bundle(fig, **words)


def squares(**words):
    def draw(size, shade):
        image = np.zeros((8, 8))
        image[:size, :size] = shade
        return image

    return explorer_bundle(
        draw, size=[1, 2, 4], shade={"dark </script>": 0.2, "light": 1.0}, **words
    )


def swapped(**words):
    if "start" not in words:
        return squares(**words)
    shades = {"dark </script>": 0.2, "light": 1.0}

    def draw(shade, size):
        image = np.zeros((8, 8))
        image[:size, :size] = shade
        return image

    return explorer_bundle(draw, shade=shades, size=[4, 1, 2], **words)


def walk(**words):
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid())
    return walk_bundle(decoder, torch.eye(2), shape=(2, 2), alt=ALT, **words)


def pad(**words):
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid())
    return pad_bundle(decoder, shape=(2, 2), alt=ALT, caption="Cod₁es.", **words)


def rows(**words):
    return table_bundle([{"a": 1.5, "b": "x"}], **words)


CASES = [
    ("show(fig, {})", curve, {"alt": "Old."}, {"alt": ALT}),
    ("show(fig, {})", curve, {"alt": ALT, "caption": "a < b"}, {"alt": ALT, "caption": 'b & "c"'}),
    ("explore(draw, {})", squares, {"alt": "Old."}, {"alt": ALT}),
    ("explore(draw, {})", squares, {"alt": ALT}, {"alt": ALT, "start": {"size": 2}}),
    ("explore(draw, {})", squares, {"alt": ALT, "start": {"size": 2, "shade": "light"}},
     {"alt": ALT, "start": {"shade": "light", "size": 4}, }),
    ("explore(draw, {})", squares, {"alt": ALT, "start": {"size": 4}}, {"alt": "New.", }),
    ("explore(draw, {})", squares, {"alt": ALT}, {"alt": ALT, "start": {"size": "last"}}),
    ("explore(draw, shade=SHADES, size=[4, 1, 2], {})", swapped, {"alt": ALT},
     {"alt": ALT, "start": {"size": 2}}),
    ("latent_walk(d, z, {})", walk, {"labels": ["a", "b"]}, {"labels": [3, 8]}),
    ("latent_walk(d, z, {})", walk, {"labels": ["a", "b"]}, {}),
    ("latent_pad(d, caption='Cod₁es.', {})", pad, {}, {"symbol": "z"}),
    ("latent_pad(d, caption='Cod₁es.', {})", pad, {"symbol": "z"}, {}),
    ("table(rows, {})", rows, {"caption": "Old"}, {"caption": "New < old"}),
]  # fmt: skip


def notebook(*cells):
    made = []
    for code, *bundles in cells:
        cell = nbformat.v4.new_code_cell(code, execution_count=len(made) + 1)
        cell.outputs = [nbformat.v4.new_output("display_data", dict(b.data)) for b in bundles]
        made.append(cell)
    return nbformat.v4.new_notebook(cells=made)


def said(call, words):
    return call.format(", ".join(f"{key}={value!r}" for key, value in words.items()))


def seen(data):
    """Without the id, which is made of the content."""
    return {key: re.sub(r"genai-[0-9a-f]{10}-\d+", "id", value) for key, value in data.items()}


@pytest.mark.parametrize(("call", "make", "old", "new"), CASES)
def test_renewed_words_are_those_of_a_run(call, make, old, new, tmp_path):
    nb = notebook(("x = 1",), (said(call, new), make(**old)))
    assert stale_words(nb) == [1]
    path = tmp_path / "90_toy.ipynb"
    nbformat.write(nb, path)
    assert renew(path) == ["the words of 1 outputs"] and renew(path) == []
    stored = nbformat.read(path, as_version=4).cells[1].outputs[0]["data"]
    assert seen(stored) == seen(make(**new).data)


@pytest.mark.parametrize(("call", "make", "old", "new"), CASES)
def test_what_is_current_is_left(call, make, old, new):
    nb = notebook((said(call, new), make(**new)), ("show(f, alt='Old.')", curve(alt="Old.")))
    assert stale_words(nb) == []


@pytest.mark.parametrize(
    "code",
    [
        "for k in (1, 2):\n    show(fig, alt='New.')",  # its outputs cannot be told apart
        "show(fig, alt=f'{x}')",
        "explore(draw, alt=ALT, start={'size': best})",
        "fig = show(fig, alt='New.')",
    ],
)
def test_words_that_are_computed_are_left_to_a_run(code):
    assert stale_words(notebook((code, squares(alt="Old.", start={"size": 2})))) == []


@pytest.mark.parametrize(
    ("code", "bundles", "told"),
    [
        ("show(f, alt='a')\nshow(g, alt='b')", [curve(alt="a")], "has 2 calls .* stores 1 outputs"),
        ("show(fig, alt='a', caption='b')", [curve(alt="a")], "no caption yet"),
        ("show(fig, alt='a')", [curve(alt="a", caption="b")], "a caption that the code has not"),
        ("explore(d, alt='a', start={'size': 9})", [squares(alt="a")], "size = 9 is none of"),
        ("explore(d, alt='a', start={'q': 'last'})", [squares(alt="a")], "q = last is none of"),
        ("explore(d, alt='a')", [curve(alt="a")], "no explorer is stored"),
        ("explore(d, alt='a', size=[1, 2, 3], shade=s)", [squares(alt="a")], "have other values"),
        ("latent_walk(d, z, labels=[1])", [walk()], "names 1 stops, and the walk has 2"),
    ],
)
def test_what_needs_a_run_is_said(code, bundles, told):
    with pytest.raises(Unlike, match=told):
        list(retouched(notebook((code, *bundles))))
