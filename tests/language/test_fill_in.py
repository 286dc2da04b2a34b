"""Filling in: the schedule, the loss against a loop and random orders, and sampling in rounds."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language import fill_in as fi
from genai_utils.language.gpt import GPTConfig
from genai_utils.training import WindowBatches, fit


def small(vocabulary=5, context=6, layers=2, heads=4, dim=16, seed=0):
    torch.manual_seed(seed)
    model = fi.FillIn(GPTConfig(vocabulary, context, layers, heads, dim)).eval()
    with torch.no_grad():  # weights large enough to have opinions
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


# --- the schedule


@pytest.mark.parametrize(
    ("blanks", "steps"), [(1, 1), (7, 3), (64, 16), (64, 64), (64, 65), (9, 1)]
)
def test_schedule_ends_at_zero_and_fills_one_at_least_while_there_are_any(blanks, steps):
    left = fi.still_hidden(blanks, steps)
    filled = left[:-1] - left[1:]
    assert len(left) == steps + 1 and left[0] == blanks and left[-1] == 0
    assert ((filled >= 1) | (left[:-1] == 0)).all()
    if steps == blanks:
        assert (filled == 1).all()


def test_schedule_by_hand_starts_slowly():
    assert fi.still_hidden(100, 3).tolist() == [100, 86, 50, 0] or fi.still_hidden(
        100, 3
    ).tolist() == [100, 86, 49, 0]  # cos(60°) in floating point
    assert fi.still_hidden(100, 4).tolist() == [100, 92, 70, 38, 0]
    assert fi.still_hidden(0, 3).tolist() == [0, 0, 0, 0]


# --- the loss


def test_hidden_nll_by_a_loop():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, generator=g, dtype=torch.float64)
    ids = torch.randint(6, (3, 4), generator=g)
    hidden = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]]).bool()
    rows = []
    for b in range(3):
        nll = [-logits[b, t].log_softmax(0)[ids[b, t]] for t in range(4) if hidden[b, t]]
        rows.append(sum(nll) / len(nll))
    torch.testing.assert_close(fi.hidden_nll(logits, ids, hidden), sum(rows) / 3)


def test_each_number_of_hidden_tokens_is_equally_likely_and_none_is_empty():
    model = small()
    hidden = model.hide(torch.zeros(60_000, 6, dtype=torch.int64), torch.Generator().manual_seed(1))
    counts = torch.bincount(hidden.sum(1), minlength=7)
    assert counts[0] == 0
    torch.testing.assert_close(counts[1:] / 60_000, torch.full((6,), 1 / 6), rtol=0, atol=0.006)
    torch.testing.assert_close(hidden.float().mean(0), torch.full((6,), 3.5 / 6), rtol=0, atol=0.01)


def test_loss_is_the_likelihood_in_a_random_order():
    """Mean over all 24 orders of -log p(text, one token at a time) / T = the loss's expectation."""
    model, text = small(context=4), torch.tensor([3, 0, 4, 1])

    def nll(hidden, place):
        seen = text.masked_fill(hidden, model.mask)
        return F.cross_entropy(model(seen[None])[0, place], text[place]).item()

    orders = list(itertools.permutations(range(4)))
    total = 0.0
    for order in orders:
        hidden = torch.ones(4, dtype=torch.bool)
        for place in order:
            total += nll(hidden.clone(), place)
            hidden[place] = False
    by_orders = total / len(orders) / 4
    expected = 0.0
    for n in range(1, 5):
        masks = list(itertools.combinations(range(4), n))
        for mask in masks:
            hidden = torch.zeros(4, dtype=torch.bool)
            hidden[list(mask)] = True
            with torch.no_grad():
                logits = model(text.masked_fill(hidden, model.mask)[None])
            expected += fi.hidden_nll(logits, text[None], hidden[None]).item() / len(masks) / 4
    assert by_orders == pytest.approx(expected, rel=1e-5)


def test_loss_does_not_see_the_hidden_tokens():
    model = small()
    batch = torch.randint(5, (8, 6), generator=torch.Generator().manual_seed(0))
    hidden = model.hide(batch, torch.Generator().manual_seed(3))
    other = torch.where(hidden, (batch + 1) % 5, batch)
    seen, changed = (model(x.masked_fill(hidden, model.mask)) for x in (batch, other))
    assert torch.equal(seen, changed)
    a = model.loss(batch, torch.Generator().manual_seed(3))
    assert a == model.loss(batch, torch.Generator().manual_seed(3))
    assert a != model.loss(batch, torch.Generator().manual_seed(4))


# --- the network


def test_fields_of_view():
    see = fi.who_sees_whom(5, 4)
    assert see[0].nonzero().tolist() == [[0, 0], [1, 0], [2, 1], [3, 2], [4, 3]]
    assert see[1].nonzero().tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 4]]
    assert see[2:].all()
    assert fi.who_sees_whom(1, 4).all() and fi.who_sees_whom(3, 2).all()


def test_every_token_depends_on_every_other_and_no_logit_is_the_mask():
    model = small()
    ids = torch.tensor([[0, 1, 2, 3, 4, 0]])
    base = model(ids)
    assert base.shape == (1, 6, 5)
    for place in range(6):
        other = ids.clone()
        other[0, place] = model.mask
        assert ((model(other) - base).abs().amax(-1) > 1e-6).all()


# --- filling in


def test_visible_tokens_stay_and_nothing_stays_hidden():
    model, g = small(), torch.Generator().manual_seed(0)
    ids = torch.randint(5, (20, 6), generator=g)
    hidden = torch.rand(20, 6, generator=g) < 0.5
    given = ids.masked_fill(hidden, model.mask)
    before = given.clone()
    for steps in (1, 2, 6, 50):
        out = model.fill_in(given, steps, generator=g)
        assert torch.equal(out[~hidden], ids[~hidden]) and (out < model.mask).all()
        assert torch.equal(given, before)


def test_none_hidden_is_the_input_and_all_hidden_is_allowed():
    model = small()
    ids = torch.tensor([[0, 1, 2, 3, 4, 0]])
    assert torch.equal(model.fill_in(ids, 3), ids)
    assert torch.equal(model.fill_in(ids[:0], 3), ids[:0])
    out = model.fill_in(torch.full((2, 6), model.mask), 3, temperature=0)
    assert torch.equal(out[0], out[1]) and (out < model.mask).all()


def test_rounds_follow_the_schedule_and_what_is_written_stays():
    model, trace = small(), []
    given = torch.full((3, 6), model.mask)
    given[1, 2:] = 0  # two blanks only
    model.fill_in(given, 3, generator=torch.Generator().manual_seed(0), trace=trace)
    left = torch.stack([(t == model.mask).sum(1) for t in trace])
    assert left[:, 0].tolist() == fi.still_hidden(6, 3)[1:].tolist()
    assert left[:, 1].tolist() == [1, 0, 0]
    for now, then in itertools.pairwise(trace):
        written = now != model.mask
        assert torch.equal(now[written], then[written])


def test_surest_first_one_at_a_time_is_greedy_by_hand():
    model = small()
    given = torch.tensor([[model.mask, 2, model.mask, model.mask, 1, model.mask]])
    ids = given.clone()
    while (ids == model.mask).any():
        p = model(ids).softmax(-1)[0]  # (T, V)
        places = (ids[0] == model.mask).nonzero()[:, 0].tolist()
        best = max(places, key=lambda t: p[t].max().item())
        ids[0, best] = p[best].argmax()
    assert torch.equal(model.fill_in(given, 4, temperature=0), ids)


def test_one_shot_draws_each_place_from_its_own_marginal():
    model = small(vocabulary=3, context=4)
    given = torch.full((30_000, 4), model.mask)
    out = model.fill_in(given, 1, generator=torch.Generator().manual_seed(0))
    p = model(given[:1]).softmax(-1)[0]  # (T, V)
    torch.testing.assert_close(F.one_hot(out, 3).float().mean(0), p, rtol=0, atol=0.012)
    pair = F.one_hot(out[:, 0] * 3 + out[:, 3], 9).float().mean(0).view(3, 3)
    torch.testing.assert_close(pair, p[0][:, None] * p[3], rtol=0, atol=0.012)  # independent


def test_one_at_a_time_draws_from_the_product_of_its_conditionals():
    model = small(vocabulary=2, context=2)
    given = torch.full((40_000, 2), model.mask)
    out = model.fill_in(given, 2, generator=torch.Generator().manual_seed(0))
    p = model(given[:1]).softmax(-1)[0]
    first = int(p.amax(-1).argmax())  # where it is surest
    joint = torch.zeros(2, 2)
    for a in range(2):
        seen = given[:1].clone()
        seen[0, first] = a
        rest = model(seen).softmax(-1)[0, 1 - first]
        for b in range(2):
            joint[(a, b) if first == 0 else (b, a)] = p[first, a] * rest[b]
    found = torch.bincount(out[:, 0] * 2 + out[:, 1], minlength=4).view(2, 2) / len(out)
    torch.testing.assert_close(found, joint, rtol=0, atol=0.01)


def test_temperature_sharpens_and_the_generator_decides():
    model, given = small(), torch.full((300, 6), 5)

    def draw(temperature, seed=0):
        g = torch.Generator().manual_seed(seed)
        return model.fill_in(given, 2, temperature=temperature, generator=g)

    assert torch.equal(draw(1.0), draw(1.0)) and not torch.equal(draw(1.0), draw(1.0, 1))
    assert torch.equal(draw(1e-6), draw(0))
    assert len(draw(0.3).unique(dim=0)) < len(draw(3.0).unique(dim=0))


@pytest.mark.parametrize("steps", [0, -1, 2.0, True, None])
def test_wrong_steps(steps):
    with pytest.raises((TypeError, ValueError), match="steps: expected a whole number"):
        small().fill_in(torch.full((1, 6), 5), steps)


@pytest.mark.parametrize("temperature", [-0.1, math.nan, math.inf, "1"])
def test_wrong_temperature(temperature):
    with pytest.raises((TypeError, ValueError), match="temperature: expected a finite number"):
        small().fill_in(torch.full((1, 6), 5), 2, temperature=temperature)


@pytest.mark.parametrize(
    ("ids", "error", "says"),
    [
        (torch.full((1, 6), 6), ValueError, "got 6"),
        (torch.full((1, 6), -1), ValueError, "got -1"),
        (torch.full((1, 7), 0), ValueError, "T at most 6, the context"),
        (torch.full((6,), 0), ValueError, r"expected \(B, T\)"),
        (torch.zeros(1, 6), TypeError, "whole numbers"),
    ],
)
def test_wrong_ids(ids, error, says):
    with pytest.raises(error, match=says):
        small().fill_in(ids, 2)


def test_it_learns_a_text_that_only_its_neighbours_tell():
    """In 0 1 2 0 1 2 … each token follows from any other one."""
    model = fi.FillIn(GPTConfig(3, 9, 2, 4, 16))
    fit(model, WindowBatches(torch.arange(300) % 3, 9, 32), 150, lr=1e-2, progress=False)
    out = model.fill_in(torch.full((50, 9), 3), 9, generator=torch.Generator().manual_seed(0))
    right = (out[:, 1:] == (out[:, :-1] + 1) % 3).float().mean()
    assert right > 0.98
    torch.manual_seed(0)
    once = model.fill_in(torch.full((50, 9), 3), 1)
    assert (once[:, 1:] == (once[:, :-1] + 1) % 3).float().mean() < 0.5


# --- what is left, whatever the rounding


@pytest.mark.parametrize("schedule", sorted(fi.SCHEDULES))
@pytest.mark.parametrize(("blanks", "steps"), [(0, 3), (1, 1), (7, 3), (5, 9), (52, 39), (48, 4)])
def test_rounds_fill_what_the_plan_says(schedule, blanks, steps):
    ids = torch.zeros(2, 60, dtype=torch.int64)
    ids[0, :blanks] = 9
    left = [blanks]
    for k, hidden, count in fi.rounds(ids, 9, steps, schedule):
        assert k == len(left) and torch.equal(hidden, ids == 9) and count[1] == 0
        ids[0, hidden[0].nonzero()[: int(count[0]), 0]] = 0
        left.append(int((ids == 9).sum()))
    plan = fi.still_hidden(blanks, steps, schedule).tolist()
    assert left + [0] * (len(plan) - len(left)) == plan and left[-1] == 0


def test_two_thirds_of_the_rounds_leave_half():
    """cos 60 degrees is 1/2; in floating point it is a little less for 26 of 39 rounds."""
    assert fi.still_hidden(52, 39)[26] == 26 and fi.still_hidden(52, 3)[2] == 26
    assert fi.still_hidden(10, 5, "linear").tolist() == [10, 8, 6, 4, 2, 0]


def test_more_rounds_than_blanks_fill_one_at_a_time():
    for steps in (7, 8, 100):
        assert fi.still_hidden(7, steps)[:8].tolist() == list(range(7, -1, -1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1, 2), "blanks"), ((3, 0), "steps"), ((3, 2, "sine"), "schedule"), ((3, 2.0), "steps")],
)
def test_a_plan_of_nothing_is_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=f"{message}: expected"):
        fi.still_hidden(*arguments)


def test_hiding_draws_the_share_first_and_then_the_places():
    model, batch = small(), torch.zeros(5, 6, dtype=torch.int64)
    g = torch.Generator().manual_seed(4)
    share, noise = 1 - torch.rand(5, generator=g), torch.rand(5, 6, generator=g)
    hidden = model.hide(batch, torch.Generator().manual_seed(4))
    assert torch.equal(hidden, fi.hide_share(noise, share))


# --- errors leave the model as it was


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_broken_logits_are_refused_and_the_mode_stays(value, temperature):
    model = small().train()
    model.blocks[0].eval()  # a part that is kept still
    model.norm.bias.data[0] = value
    with pytest.raises(ValueError, match="logits: expected finite numbers"):
        model.fill_in(torch.full((2, 6), model.mask), 2, temperature)
    assert model.training and model.blocks[1].training and not model.blocks[0].training


def test_filling_in_leaves_the_mode_of_every_part():
    model = small().train()
    model.blocks[1].eval()
    model.fill_in(torch.full((2, 6), model.mask), 2)
    assert model.training and model.blocks[0].training and not model.blocks[1].training
