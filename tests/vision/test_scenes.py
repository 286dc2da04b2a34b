"""Captioned scenes: sentences there and back, combinations kept away, pictures that show it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genai_utils.vision import scenes
from genai_utils.vision.scenes import COLOUR, COUNT, KIND, PLACE, SIZE, TEXTURE, UNSAID


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(seed=0, **said):
    """A picture of a scene with these words, all else plain, medium, in the centre, one."""
    usual = {"kind": "square", "colour": "white", "size": "medium", "texture": "plain"}
    said = {**usual, "place": "centre", "count": "one"} | said
    return scenes.render(scenes.scene(**said)[None], generator(seed))[0]


def covered(x):
    """Where a picture is brighter than its ground can be, (32, 32) bool."""
    return x.amax(0) > 0.4


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
        (lambda: scenes.render(scenes.scene(kind="ring")[None], generator()), "a complete scene"),
        (lambda: scenes.render(scenes.draw(2, generator()), generator(), "all"), "split: expected"),
    ],
)  # fmt: skip
def test_bad_scenes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_table_of_floats_is_refused():
    with pytest.raises(TypeError, match="table: expected a tensor of int64"):
        scenes.render(torch.zeros(2, 6), generator())


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


# ---- pictures


def test_pictures_are_colours_in_range_and_of_their_generator():
    table = scenes.draw(20, generator())
    x = scenes.render(table, generator(1))
    assert x.shape == (20, 3, 32, 32) and x.dtype == torch.float32
    assert x.min() >= 0 and x.max() <= 1
    assert torch.equal(x, scenes.render(table, generator(1)))
    assert not torch.equal(x, scenes.render(table, generator(2)))
    smooth = scenes.render(table, generator(1), noise=0.0)
    assert 0.015 < (x - smooth).std() < 0.02


@pytest.mark.parametrize("name", scenes.COLOURS)
def test_an_object_has_its_colour(name):
    x = picture(colour=name)
    seen = x[:, 14:18, 14:18].mean((1, 2))
    far = {other: (torch.tensor(rgb) - seen).norm() for other, rgb in scenes.COLOURS.items()}
    assert min(far, key=far.get) == name and far[name] < 0.3


@pytest.mark.parametrize("place", scenes.PLACES)
def test_an_object_is_where_it_should_be(place):
    right, down, _ = scenes.PLACES[place]
    away = 16 - 1.2 - scenes.RADII[0][0]
    for seed in range(3):
        at = covered(picture(seed, size="small", place=place)).nonzero().double().mean(0) - 15.5
        assert at.tolist() == pytest.approx([away * down, away * right], abs=1.8)


def test_sizes_are_apart_and_nothing_is_cut_off():
    for count in ("one", "two", "three"):
        areas = {}
        for size in scenes.ATTRIBUTES["size"]:
            found = [covered(picture(s, size=size, count=count)) for s in range(12)]
            areas[size] = [f.sum().item() for f in found]
            edge = torch.stack(found).clone()
            edge[:, 1:-1, 1:-1] = False
            assert not edge.any(), (count, size)
        assert max(areas["small"]) < min(areas["medium"])
        assert max(areas["medium"]) < min(areas["large"])


@pytest.mark.parametrize(("count", "many"), [("one", 1), ("two", 2), ("three", 3)])
@pytest.mark.parametrize("kind", ["circle", "diamond", "heart", "ring"])
def test_there_are_as_many_objects_as_the_caption_says(count, many, kind):
    from scipy.ndimage import label

    for seed in range(6):
        x = picture(seed, kind=kind, count=count, size="large")
        assert label(x.amax(0) > 0.5)[1] == many


@pytest.mark.parametrize("kind", scenes.SHAPES)
def test_a_shape_covers_the_area_that_it_has(kind):
    """Against the outline counted on a fine grid."""
    fine = ((np.arange(1_000) + 0.5) / 500 - 1) / scenes.FILLED
    inside = scenes._outlines(*np.meshgrid(fine, fine))[kind]
    half = scenes.RADII[0][2] / scenes.FILLED  # half a box, in pixels, before its random share
    ratios = []
    for seed in range(12):
        x = picture(seed, kind=kind, size="large")
        ground, paint = x[:, 0].mean(1), x.flatten(1).amax(1)
        share = ((x - ground[:, None, None]) / (paint - ground)[:, None, None]).mean(0)
        ratios.append(share.clamp(0, 1).sum().item() / (inside.mean() * (2 * half) ** 2))
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)


def test_edges_are_grey_between():
    x = picture(kind="circle", size="large")
    line = x[0, 16]
    steps = (line[1:] - line[:-1]).abs()
    assert steps.max() < 0.95 * (line.max() - line.min())
    ground, paint = x[:, 0, 0], x[:, 16, 16]
    share = ((x - ground[:, None, None]) / (paint - ground)[:, None, None]).mean(0)
    between = ((share > 0.15) & (share < 0.85)).sum()
    assert 15 < between < 90  # a circle of 54 pixels around


def test_signed_distances_are_those_of_a_disc():
    grid = np.arange(64) + 0.5 - 32
    r = np.hypot(*np.meshgrid(grid, grid))
    found = scenes.signed_distance(r < 20)
    np.testing.assert_allclose(found, r - 20, atol=1.1)


def test_textures_differ_as_they_should():
    """Stripes change in one direction, dots in both, plain in none."""
    roughness = {}
    for texture in scenes.ATTRIBUTES["texture"]:
        found = []
        for seed in range(6):
            x = picture(seed, texture=texture, size="large")[:, 11:21, 11:21].mean(0)
            found.append([x.diff(dim=0).abs().mean().item(), x.diff(dim=1).abs().mean().item()])
        roughness[texture] = np.mean(found, 0)
    assert max(roughness["plain"]) < 0.04
    assert roughness["striped"][0] > 2.5 * roughness["striped"][1]
    assert min(roughness["dotted"]) > 0.08
    assert max(roughness["dotted"]) < 1.6 * min(roughness["dotted"])


def test_digits_are_real_and_of_their_part():
    outlines, first, many = scenes.fields("train")
    assert many[:8].eq(1).all() and many[8:].min() > 20 and many.sum() == len(outlines)
    assert torch.equal(first, many.cumsum(0) - many)
    other = scenes.fields("test")[0]
    assert not any((outlines[8:30] - field).abs().max() < 1e-6 for field in other[8:60])
    seven = [covered(picture(s, kind="7", size="large")) for s in range(8)]
    assert len({tuple(s.flatten().tolist()) for s in seven}) == 8  # several hands


def test_digits_are_read_by_the_judge():
    from genai_utils import data, evaluation

    data.mnist("test")
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine (GENAI_DATA)")
    said = scenes.scene(colour="white", size="large", place="centre", count="one")
    g = generator()
    table = scenes.draw(300, g, unseen=None, said=said)
    table[:, KIND], table[:, TEXTURE] = 8 + torch.arange(300) % 10, 0
    x = scenes.render(table, g, "test").mean(1, keepdim=True)
    x = F.interpolate((x - 0.3) / 0.6, size=36, mode="bilinear").clamp(0, 1)[:, :, 4:32, 4:32]
    right = evaluation.load_judge(28, "mnist").accuracy(x, table[:, KIND] - 8)
    assert right > 0.9


def test_batches_are_functions_of_their_step():
    batches = scenes.SceneBatches(6, seed=3)
    x, ids = batches(5)
    again = scenes.SceneBatches(6, seed=3)(5)
    assert torch.equal(x, again[0]) and torch.equal(ids, again[1])
    assert x.shape == (6, 3, 32, 32) and ids.shape == (6, scenes.CONTEXT)
    for other in (batches(6)[0], scenes.SceneBatches(6, seed=4)(5)[0]):
        assert not torch.equal(x, other)
    table, _, said = batches.pairs(5)
    for row, text in zip(table, said, strict=True):
        spoken = scenes.parse(text)
        assert ((spoken == row) | (spoken == UNSAID)).all()
    assert repr(batches) == "SceneBatches(6, seed=3, unseen=False, said=None, split='train')"
    unseen = scenes.SceneBatches(6, unseen=True).pairs(0)[0]
    assert scenes.held_out(unseen).all()
