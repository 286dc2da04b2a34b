"""Answers, rankings and the reward model: numbers by hand, and what nobody may hand in."""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language import rlhf
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import fit

IDS = torch.tensor([[5, 0, 7, 3, 0, 0, 0], [5, 6, 7, 8, 9, 0, 0], [5, 6, 7, 8, 9, 4, 3]])


def tiny(vocabulary=10, context=16, dim=16):
    torch.manual_seed(0)
    return GPT(GPTConfig(vocabulary, context=context, layers=1, heads=2, dim=dim))


# --- answers -------------------------------------------------------------------------------------


def test_the_answer_is_what_follows_the_prompt_up_to_its_first_end():
    mask = rlhf.answer_mask(IDS, torch.tensor([2, 3, 1]), 0)
    assert mask.int().tolist() == [
        [0, 0, 1, 1, 1, 0, 0],  # the prompt's own end token ends nothing
        [0, 0, 0, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 1, 1],  # it never ends
    ]
    assert torch.equal(rlhf.answer_mask(IDS, 3, 0), rlhf.answer_mask(IDS, torch.tensor([3] * 3), 0))


def test_only_answers_are_learned():
    """The loss is that of the answer's tokens, one by one; what the prompt would cost is not in."""
    model = tiny().eval()
    start = torch.tensor([2, 3, 1])
    inputs, targets = rlhf.answer_targets(IDS, start, 0)
    assert targets[0].tolist() == [-100, 7, 3, 0, -100, -100]
    log_p = model(IDS).log_softmax(-1)
    by_hand = [
        -log_p[b, t - 1, IDS[b, t]].item()
        for b, places in enumerate(((2, 3, 4), (3, 4, 5), (1, 2, 3, 4, 5, 6)))
        for t in places
    ]
    assert model.loss((inputs, targets)).item() == pytest.approx(sum(by_hand) / 12, rel=1e-5)


@pytest.mark.parametrize("start", [0, 7, torch.tensor([1, 2, 9])])
def test_a_prompt_that_leaves_no_answer_is_refused(start):
    with pytest.raises(ValueError, match="start: expected prompts of 1 to 6 tokens"):
        rlhf.answer_targets(IDS, start, 0)


# --- rankings ------------------------------------------------------------------------------------


def test_the_slides_ranking_holds_five_pairs():
    """D > C > A = B of A, B, C, D: C(4, 2) = 6 pairs less the tie."""
    pairs = rlhf.ranking_pairs(torch.tensor([3, 3, 2, 1]))
    names = ["".join("ABCD"[i] for i in row) for row in pairs.tolist()]
    assert names == ["CA", "CB", "DA", "DB", "DC"] and math.comb(4, 2) - 1 == len(names)


def test_rankings_of_any_length_and_ties():
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        ranks = torch.randint(4, (7,), generator=g)
        pairs = rlhf.ranking_pairs(ranks)
        ties = sum(math.comb(int((ranks == r).sum()), 2) for r in range(4))
        assert len(pairs) == math.comb(7, 2) - ties
        assert (ranks[pairs[:, 0]] < ranks[pairs[:, 1]]).all()


@pytest.mark.parametrize("ranks", [[], [1], [2, 2, 2], [[1, 2], [3, 4]]])
def test_a_ranking_that_says_nothing_is_refused(ranks):
    with pytest.raises(ValueError, match="ranks: expected"):
        rlhf.ranking_pairs(ranks)


# --- Bradley and Terry ---------------------------------------------------------------------------


def test_preference_loss_by_hand():
    better, worse = torch.tensor([2.0, 0.0, 500.0]), torch.tensor([1.0, 1.0, -500.0])
    by_hand = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1)) + 0) / 3
    assert rlhf.preference_loss(better, worse).item() == pytest.approx(by_hand, rel=1e-6)
    assert rlhf.preference_loss(worse, better).isfinite()
    assert rlhf.preference_loss(better, better).item() == pytest.approx(math.log(2))


def test_scores_recover_the_order_of_the_slide():
    pairs = rlhf.ranking_pairs(torch.tensor([3, 3, 2, 1]))
    A, B, C, D = rlhf.bradley_terry(pairs, torch.eye(4)).tolist()
    assert D > C + 0.5 and C > A + 0.5 and pytest.approx(B) == A


def test_scores_recover_strengths_that_drew_the_pairs():
    g = torch.Generator().manual_seed(1)
    true = torch.tensor([1.5, 0.5, 0.0, -2.0]).double()
    one, two = torch.randint(4, (2, 20_000), generator=g)
    first = torch.rand(len(one), generator=g) < torch.sigmoid(true[one] - true[two])
    pairs = torch.stack([torch.where(first, one, two), torch.where(first, two, one)], 1)
    found = rlhf.bradley_terry(pairs[one != two], torch.eye(4), prior=1e-3)
    assert (found - found.mean() - (true - true.mean())).abs().max() < 0.1


def test_the_scores_are_the_minimum_that_autograd_finds():
    g = torch.Generator().manual_seed(2)
    phi = torch.randn(6, 3, generator=g, dtype=torch.float64)
    pairs = torch.stack([torch.randperm(6, generator=g)[:2] for _ in range(9)])
    w = rlhf.bradley_terry(pairs, phi, prior=0.3).requires_grad_()
    r = phi @ w
    loss = F.softplus(r[pairs[:, 1]] - r[pairs[:, 0]]).sum() + 0.15 * w.square().sum()
    assert torch.autograd.grad(loss, w)[0].abs().max() < 1e-8


@pytest.mark.parametrize(
    ("pairs", "prior", "says"),
    [
        (torch.zeros(0, 2).long(), 0.1, "pairs: expected"),
        (torch.tensor([[0, 4]]), 0.1, "places from 0 to 3"),
        (torch.tensor([[0, 1]]), 0.0, "prior"),
    ],
)
def test_scores_of_nothing_are_refused(pairs, prior, says):
    with pytest.raises(ValueError, match=says):
        rlhf.bradley_terry(pairs, torch.eye(4), prior)


# --- the reward model ----------------------------------------------------------------------------


def test_the_reward_is_read_at_the_last_token_of_the_answer():
    reward = rlhf.RewardModel(tiny(), start=2, end=0).eval()
    ids = torch.tensor([[5, 0, 7, 3, 0, 0, 0], [5, 6, 7, 8, 9, 4, 3]])
    with torch.no_grad():
        first, second = reward(ids)
        x = reward.gpt.hidden(reward.gpt.embed(ids))
        assert first == reward.score(x[0, 4])[0] and second == reward.score(x[1, 6])[0]
        other = ids.clone()
        other[0, 5:] = 9  # what fills up after the end is not read
        assert torch.allclose(reward(other)[0], first)
        other[0, 3] = 4
        assert not torch.allclose(reward(other)[0], first)


def test_it_learns_an_order_and_is_standardised():
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 10, (256, 8), generator=g)
    liked = (ids[:, 2:] == 3).sum(1)  # people like threes
    pairs = torch.stack([torch.randperm(256, generator=g)[:2] for _ in range(2_000)])
    pairs = pairs[liked[pairs[:, 0]] > liked[pairs[:, 1]]]
    model = rlhf.RewardModel(tiny(), start=2, end=0)
    batches = lambda step: tuple(ids[pairs[step * 64 % 500 :][:64]].unbind(1))  # noqa: E731
    done = fit(model, batches, 150, lr=3e-3, progress=False).model
    assert done.loss(tuple(ids[pairs[-100:]].unbind(1)))["accuracy"] > 0.9
    done.standardise(ids)
    r = done(ids)
    assert abs(r.mean()) < 1e-5 and abs(r.std() - 1) < 1e-5
    done.standardise(ids)  # twice is once
    assert abs(done(ids).std() - 1) < 1e-5


def test_rewards_that_cannot_be_standardised_are_refused():
    model, ids = rlhf.RewardModel(tiny(), start=2, end=0), IDS[:1].repeat(3, 1)
    with pytest.raises(ValueError, match="standard deviation"):
        model.standardise(ids)
    model.score.bias.data.fill_(math.nan)
    with pytest.raises(ValueError, match="rewards: expected finite"):
        model.standardise(IDS)
