"""Scenes and their sentences: rows and words, combinations kept away, captions there and back."""

import numpy as np
import pytest
import torch

from genai_utils.vision import scene_words as scenes
from genai_utils.vision.scene_words import COLOUR, COUNT, KIND, PLACE, SIZE, TEXTURE, UNSAID


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- scenes


def test_rows_and_words_are_each_others_opposite():
    row = scenes.scene(kind="7", colour="cyan", place="top left")
    assert row.tolist() == [15, 4, UNSAID, UNSAID, 0, UNSAID]
    assert scenes.words(row) == {"kind": "7", "colour": "cyan", "place": "top left"}
    assert scenes.words(scenes.scene()) == {}


def test_drawn_scenes_are_complete_and_of_no_held_out_pair():
    table = scenes.draw(4_000, generator())
    assert table.shape == (4_000, 6) and table.dtype == torch.int64
    assert not scenes.held_out(table).any()
    assert ((table == UNSAID) <= (torch.arange(6) == PLACE)).all()
    assert torch.equal(table[:, PLACE] == UNSAID, table[:, COUNT] > 0)
    assert (table[table[:, KIND] >= len(scenes.SHAPES), TEXTURE] == 0).all()
    pairs = torch.zeros_like(scenes.HELD_OUT, dtype=torch.long)
    pairs.index_put_((table[:, KIND], table[:, COLOUR]), torch.ones(4_000).long(), accumulate=True)
    assert torch.equal(pairs == 0, scenes.HELD_OUT)  # all others come, and alike:
    assert pairs[pairs > 0].min() > 10 and pairs.max() < 75
    share = torch.bincount(table[:, COUNT]) / 4_000
    np.testing.assert_allclose(share, scenes.COUNTED, atol=0.03)


def test_held_out_pairs_leave_each_word_enough():
    """Each kind keeps six colours, each colour eight kinds; of the digits white is kept away."""
    assert scenes.HELD_OUT.sum() == 28
    assert (~scenes.HELD_OUT).sum(1).min() == 6 and (~scenes.HELD_OUT).sum(0).min() == 8
    assert scenes.HELD_OUT[8:, 7].all() and not scenes.HELD_OUT[:8, 7].any()
    unseen = scenes.draw(500, generator(), unseen=True)
    assert scenes.held_out(unseen).all()
    both = scenes.held_out(scenes.draw(2_000, generator(), unseen=None)).double().mean()
    assert 0.15 < both < 0.25
    half = torch.stack([scenes.scene(colour="red"), scenes.scene(kind="circle")])
    assert scenes.held_out(scenes.scene(kind="circle", colour="red")[None]).all()
    assert not scenes.held_out(half).any()  # of what kind, or of what colour, is not said


def test_a_place_that_is_said_is_that_of_one_object():
    table = scenes.draw(50, generator(), said=scenes.scene(place="top left"))
    assert (table[:, PLACE] == 0).all() and (table[:, COUNT] == 0).all()
    table = scenes.draw(50, generator(), said=scenes.scene(place="top left", count="two"))
    assert (table[:, PLACE] == UNSAID).all() and (table[:, COUNT] == 1).all()


def test_what_is_said_holds():
    said = scenes.scene(kind="star", count="two", texture="dotted")
    table = scenes.draw(200, generator(), said=said)
    assert (table[:, [KIND, COUNT, TEXTURE]] == said[[KIND, COUNT, TEXTURE]]).all()
    assert len(table[:, COLOUR].unique()) == 7 and len(table[:, SIZE].unique()) == 3
    striped = scenes.draw(5, generator(), said=scenes.scene(kind="7", texture="striped"))
    assert (striped[:, TEXTURE] == 1).all()
    with pytest.raises(
        ValueError, match="said: expected scenes with unseen=False, got 'a white 7'"
    ):
        scenes.draw(3, generator(), said=scenes.scene(kind="7", colour="white"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scenes.scene(shape="circle"), "attribute: expected one of 'kind', 'colour'"),
        (lambda: scenes.scene(colour="pink"), "colour: expected one of 'red', 'orange'"),
        (lambda: scenes.scene(kind=7), "kind: expected one of 'circle'"),
        (lambda: scenes.draw(0, generator()), "n: expected a whole number of at least 1"),
        (lambda: scenes.held_out(torch.zeros(3, 5).long()), r"scenes of shape \(n, 6\)"),
        (lambda: scenes.held_out(torch.full((2, 6), 30)), r"table\[0\]: expected places of words"),
        (lambda: scenes.words(torch.zeros(1, 6).long()), r"row: expected one scene of shape \(6"),
        (lambda: scenes.caption(scenes.scene(), 5), "phrasing: expected a whole number from 0"),
    ],
)  # fmt: skip
def test_bad_scenes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_table_of_floats_is_refused():
    with pytest.raises(TypeError, match="table: expected a tensor of int64"):
        scenes.held_out(torch.zeros(2, 6))


# ---- sentences


@pytest.mark.parametrize(
    ("phrasing", "several", "one"),
    [
        (0, "two small striped red circles", "an orange 8 on the left"),
        (1, "there are two small striped red circles", "there is an orange 8 on the left"),
        (2, "a picture of two small striped red circles", "a picture of an orange 8 on the left"),
        (3, "two circles that are small striped and red", "an 8 that is orange on the left"),
        (4, "two circles small striped red", "one 8 orange left"),
    ],
)
def test_phrasings(phrasing, several, one):
    row = scenes.scene(kind="circle", colour="red", size="small", texture="striped", count="two")
    assert scenes.caption(row, phrasing) == several
    row = scenes.scene(kind="8", colour="orange", place="left")
    assert scenes.caption(row, phrasing) == one


def test_what_is_not_said_is_an_object():
    assert scenes.caption(scenes.scene(), 0) == "an object"
    assert (
        scenes.caption(scenes.scene(count="three", colour="red"), 3) == "three objects that are red"
    )
    assert scenes.caption(scenes.scene(kind="cross", count="two")) == "two crosses"


def test_every_caption_is_parsed_back():
    g = generator(1)
    table = scenes.draw(600, g, unseen=None)
    spoken = torch.rand(table.shape, generator=g) < scenes.SAID
    spoken[:, COUNT] = True
    rows = torch.where(spoken, table, UNSAID)
    for i, row in enumerate(rows):
        text = scenes.caption(row, i % scenes.PHRASINGS)
        assert torch.equal(scenes.parse(text), row), text
        ids = scenes.encode([text])
        assert scenes.decode(ids[0]) == text and len(text.split()) < scenes.CONTEXT


def test_captions_say_as_often_as_they_should():
    table = scenes.draw(3_000, generator(), said=scenes.scene(count="one"))
    found = torch.stack([scenes.parse(t) for t in scenes.captions(table, generator())]) != UNSAID
    np.testing.assert_allclose(found.double().mean(0), scenes.SAID, atol=0.04)
    full = scenes.captions(table[:50], generator(), say=torch.ones(6))
    assert all(torch.equal(scenes.parse(t), row) for t, row in zip(full, table, strict=False))


def test_parse_does_not_mind_order_case_or_signs():
    assert scenes.words(scenes.parse("Right, top: two RED and striped hearts!")) == {
        "kind": "heart", "colour": "red", "texture": "striped", "place": "top right",
        "count": "two",
    }  # fmt: skip
    assert scenes.words(scenes.parse("3s; three, purple")) == {
        "kind": "3", "colour": "purple", "count": "three",
    }  # fmt: skip
    with pytest.raises(ValueError, match="place: expected one of .* got 'left right'"):
        scenes.parse("a circle on the left right")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a pink circle", "words of this world, got 'pink'; as red"),
        ("", "text: expected at least one word, got ''"),
        (" ?! ", "text: expected at least one word"),
        ("a red red red red red red red red red red red red red red circle", "at most 15 words"),
    ],
)
def test_sentences_of_other_words_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        scenes.encode([text])
    if "red red" not in text:
        with pytest.raises(ValueError, match=message):
            scenes.parse(text)


def test_a_sentence_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="text: expected one colour, got red and blue"):
        scenes.parse("a red blue circle")
    with pytest.raises(TypeError, match="sentences: expected a list of texts"):
        scenes.encode("a red circle")


def test_the_words_are_different_and_enough():
    assert len(set(scenes.WORDS)) == len(scenes.WORDS) and scenes.WORDS[scenes.END] == "<end>"
    assert scenes.encode(["a circle"]).shape == (1, scenes.CONTEXT)
    assert scenes.encode([]).shape == (0, scenes.CONTEXT)
