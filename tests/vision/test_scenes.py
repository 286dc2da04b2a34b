"""Pictures of scenes: colour, place, size, count and texture are seen, digits are real; batches."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genai_utils.vision import scenes
from genai_utils.vision.scenes import KIND, TEXTURE, UNSAID


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


def test_pictures_are_colours_in_range_and_of_their_generator():
    table = scenes.draw(20, generator())
    x = scenes.render(table, generator(1))
    assert x.shape == (20, 3, 32, 32) and x.dtype == torch.float32
    assert x.min() >= 0 and x.max() <= 1
    assert torch.equal(x, scenes.render(table, generator(1)))
    assert not torch.equal(x, scenes.render(table, generator(2)))
    smooth = scenes.render(table, generator(1), noise=0.0)
    assert 0.015 < (x - smooth).std() < 0.02


def test_scenes_that_cannot_be_drawn_are_refused():
    g = generator()
    with pytest.raises(ValueError, match=r"table\[0\]: expected a complete scene, got 'a ring'"):
        scenes.render(scenes.scene(kind="ring")[None], g)
    with pytest.raises(TypeError, match="table: expected a tensor of int64"):
        scenes.render(torch.zeros(2, 6), g)
    with pytest.raises(ValueError, match="split: expected"):
        scenes.render(scenes.draw(2, g), g, "all")


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


def test_captions_of_batches_may_be_brief_and_begin_with_the_kind():
    batches = scenes.SceneBatches(200, seed=3, say=scenes.BRIEF, first=2)
    plain = scenes.SceneBatches(200, seed=3)
    said = []
    for step in (1, 2):
        table, x, sentences = batches.pairs(step)
        assert torch.equal(x, plain.pairs(step)[1])  # the pictures are the same
        rows = torch.stack([scenes.parse(text) for text in sentences])
        said.append((rows != UNSAID).double().mean(0))
    assert said[0][KIND] == said[1][KIND] == 1
    assert said[0][1] == pytest.approx(0.2, abs=0.1) and said[1][1] == pytest.approx(0.8, abs=0.1)
    assert said[0][2:5].tolist() == [0, 0, 0] and said[1][2:5].min() > 0.1
    assert repr(batches).endswith("say=[1.0, 0.8, 0.3, 0.3, 0.3, 0.4], first=2)")
    with pytest.raises(ValueError, match="first"):
        scenes.SceneBatches(2, first=-1)
