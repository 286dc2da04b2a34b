"""The judge of scenes: its heads, its loss, what it learns, how agreement counts."""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.training import fit
from genai_utils.vision import scenes
from genai_utils.vision.scene_judge import (
    SIZES,
    JudgeBatches,
    Pooled,
    SceneJudge,
    agreement,
    all_agree,
    train_judge,
)


class Told(SceneJudge):
    """A judge that sees what it is told."""

    def __init__(self, seen):
        super().__init__(4)
        self.seen = seen

    def read(self, x, chunk=1_000):
        return self.seen


def table(n=200, seed=0):
    return scenes.draw(n, torch.Generator().manual_seed(seed), unseen=None)


def test_a_head_for_each_attribute():
    torch.manual_seed(0)
    judge = SceneJudge(4)
    logits = judge(torch.rand(3, 3, 32, 32))
    assert {name: part.shape[1] for name, part in logits.items()} == SIZES
    seen = judge.read(torch.rand(5, 3, 32, 32), chunk=2)
    assert seen.shape == (5, 6) and (seen >= 0).all()
    assert (seen < torch.tensor(list(SIZES.values()))).all()
    with pytest.raises(ValueError, match="pictures|x: expected"):
        judge.read(torch.rand(3, 1, 32, 32))


def test_the_loss_is_the_cross_entropy_of_what_is_said():
    torch.manual_seed(0)
    judge, x, said = SceneJudge(4), torch.rand(50, 3, 32, 32), table(50)
    found = judge.loss((x, said))
    place = list(SIZES).index("place")
    known = said[:, place] != scenes.UNSAID
    assert 0 < known.sum() < 50
    logits = judge(x)
    expected = (
        sum(F.cross_entropy(logits[name], said[:, i]) for i, name in enumerate(SIZES) if i != place)
        + F.cross_entropy(logits["place"][known], said[known, place], reduction="sum") / 50
    )
    torch.testing.assert_close(found["loss"], expected)
    silent = judge.loss((x, torch.full_like(said, scenes.UNSAID)))
    assert silent["loss"] == 0  # not NaN


def test_all_that_was_said_must_be_seen_and_nothing_else():
    said = torch.tensor([[1, 2, -1], [3, -1, -1], [-1, -1, -1], [0, 0, 0]])
    seen = torch.tensor([[1, 2, 9], [4, 7, 7], [5, 5, 5], [0, 0, 0]])
    assert all_agree(seen, said).item() == pytest.approx(2 / 3)  # the third does not count
    assert all_agree(said.clamp(min=0), said) == 1
    with pytest.raises(ValueError, match="nothing"):
        all_agree(seen, torch.full_like(said, -1))


def test_agreement_counts_each_attribute_where_it_was_said():
    said = table(400)
    seen = said.clamp(min=0)
    wrong = torch.arange(400) < 100
    seen[wrong, 1] = (seen[wrong, 1] + 1) % SIZES["colour"]
    x = torch.rand(400, 3, 32, 32)
    found = agreement(Told(seen), x, said)
    assert found["colour"] == found["pair"] == found["all"] == 0.75
    assert found["kind"] == found["place"] == found["count"] == 1
    open_ones = said.clone()
    open_ones[wrong, 1] = scenes.UNSAID
    found = agreement(Told(seen), x, open_ones)
    assert found["colour"] == found["all"] == 1
    only_colour = torch.full_like(said, scenes.UNSAID)
    only_colour[:300, scenes.COLOUR] = said[:300, scenes.COLOUR]
    found = agreement(Told(seen), x, only_colour)
    assert found["pair"] == found["all"] == pytest.approx(200 / 300)
    assert math.isnan(found["kind"])
    with pytest.raises(ValueError, match="each of 400"):
        agreement(Told(seen), x, said[:5])


def test_sentences_of_others_agree_by_chance():
    said = table(4_000)
    other = said[torch.randperm(4_000, generator=torch.Generator().manual_seed(1))]
    found = agreement(Told(said.clamp(min=0)), torch.rand(4_000, 3, 32, 32), other)
    assert found["pair"] == pytest.approx(1 / (18 * 8), abs=0.006)
    assert found["colour"] == pytest.approx(1 / 8, abs=0.03)


def test_it_is_shown_all_combinations_and_a_step_is_a_step():
    batches = JudgeBatches(500)
    x, said = batches(0)
    assert scenes.held_out(said).any() and not scenes.held_out(said).all()
    again = batches(0)
    assert torch.equal(x, again[0]) and torch.equal(said, again[1])
    assert not torch.equal(said, batches(1)[1])
    assert "seed 1000" in batches.describe()
    part = JudgeBatches(50, said=scenes.scene(size="large", count="one"))
    assert (part(0)[1][:, [scenes.SIZE, scenes.COUNT]] == torch.tensor([2, 0])).all()
    assert scenes.held_out(part(0)[1]).any() and part.describe() != JudgeBatches(50).describe()


def test_what_is_seen_anywhere_does_not_know_where():
    h = torch.zeros(2, 3, 8, 8)
    h[0, 1, 0, 0] = h[1, 1, 7, 5] = 2.0
    found = Pooled()(h)
    assert found.shape == (2, 17 * 3)
    assert torch.equal(found[0, :3], found[1, :3]) and found[0, 1] == 2
    assert found[0, 3:].argmax() == 16 and found[1, 3:].argmax() == 16 + 3 * 4 + 2


def test_it_learns_what_it_is_shown():
    x, said = JudgeBatches(32)(0)
    torch.manual_seed(0)
    judge = fit(SceneJudge(8), lambda step: (x, said), 80, lr=1e-2, progress=False).model.eval()
    found = agreement(judge, x, said)
    assert found["colour"] > 0.8 and found["count"] > 0.8


def test_the_judge_of_a_chapter_is_made_by_one_call_and_seeds_nothing():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    judge = train_judge(2, 8, width=4, progress=False)
    assert not judge.training and torch.equal(torch.rand(3), expected)
    again = train_judge(2, 8, width=4, progress=False)
    for one, other in zip(judge.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
