"""The learned code and MaskGIT: equations, peers, what a round may know, training, bad input."""

import math

import numpy as np
import pytest
import scipy.cluster.vq
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist

from genai_utils.language.fill_in import FillIn, hidden_nll, still_hidden
from genai_utils.language.gpt import GPTConfig
from genai_utils.training import TensorBatches, fit
from genai_utils.vision.maskgit import (
    SCHEDULES,
    MaskGIT,
    choice_confidence,
    draw_tokens,
    hide_share,
    keep_surest,
    round_plan,
)
from genai_utils.vision.vq import (
    VQAutoencoder,
    codebook_penalty,
    nearest_entry,
    straight_through,
    usage_perplexity,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# --- The learned code ----------------------------------------------------------------------------


def test_nearest_entry_equals_scipy():
    z, codebook = torch.randn(50, 5), torch.randn(11, 5) * torch.linspace(0.2, 3, 11)[:, None]
    tokens = nearest_entry(z, codebook)
    assert np.array_equal(tokens, cdist(z, codebook).argmin(1))
    assert np.array_equal(tokens, scipy.cluster.vq.vq(z.numpy(), codebook.numpy())[0])
    assert torch.equal(nearest_entry(z.reshape(5, 10, 5), codebook), tokens.reshape(5, 10))
    assert torch.equal(nearest_entry(codebook, codebook), torch.arange(11))


def test_straight_through_has_one_value_and_the_other_gradient():
    z, q = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    y = straight_through(z, q)
    assert torch.allclose(y, q, atol=1e-6)
    weights = torch.randn(4, 3)
    (y * weights).sum().backward()
    assert torch.equal(z.grad, weights) and q.grad is None


def test_codebook_penalty_moves_the_entries_and_the_encoder_by_different_weights():
    z, q = (torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    penalty = codebook_penalty(z, q, 0.25)
    assert torch.isclose(penalty, 1.25 * F.mse_loss(z, q))
    penalty.backward()
    assert torch.allclose(q.grad, 2 * (q - z).detach() / 18)
    assert torch.allclose(z.grad, 0.25 * 2 * (z - q).detach() / 18)


def test_perplexity_is_one_for_one_token_and_the_number_of_entries_if_used_alike():
    assert usage_perplexity(torch.full((3, 4), 2), 8) == pytest.approx(1)
    assert usage_perplexity(torch.arange(8).repeat(3), 8) == pytest.approx(8)
    halves = torch.tensor([0, 0, 1, 2])  # p = 1/2, 1/4, 1/4: entropy 1.5 log 2
    assert usage_perplexity(halves, 5) == pytest.approx(2**1.5)


def test_the_entries_that_serve_one_batch_best_are_the_centres_of_k_means():
    """With fixed vectors the first term of the penalty is K-means: its minimum are the means."""
    z = torch.cat([torch.randn(40, 2) * 0.1 + centre for centre in torch.tensor(
        [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])])  # fmt: skip
    book = torch.nn.Parameter(z[[0, 40, 80]].clone())
    step = torch.optim.Adam([book], lr=0.02)
    for _ in range(150):
        step.zero_grad()
        codebook_penalty(z, book[nearest_entry(z, book)], 0.0).backward()
        step.step()
    peer, _ = scipy.cluster.vq.kmeans2(z.numpy(), z[[0, 40, 80]].numpy(), minit="matrix")
    assert np.allclose(book.detach(), peer, atol=0.01)


def patterns(n=256):
    """8 x 8 images whose four quarters are each one of three patterns; 3^4 different images."""
    parts = torch.zeros(3, 4, 4)
    parts[1, :, 1:3], parts[2, 1:3] = 1.0, 1.0
    kinds = torch.randint(3, (n, 2, 2))
    return parts[kinds].permute(0, 1, 3, 2, 4).reshape(n, 1, 8, 8), kinds.flatten(1)


def test_the_autoencoder_learns_a_code_of_the_patterns():
    x, kinds = patterns()
    model = VQAutoencoder(size=8, entries=8, code=4, width=32, patience=50)
    first = model.codebook.detach().clone()
    fit(model, TensorBatches(x, batch_size=32), 400, lr=1e-2, progress=False)
    tokens = model.encode(x)
    assert tokens.shape == (256, 4) and tokens.dtype == torch.int64
    assert F.mse_loss(model.decode(tokens), x) < 0.03
    pairs = {(int(k), int(t)) for k, t in zip(kinds.flatten(), tokens.flatten(), strict=True)}
    assert len({t for _, t in pairs}) >= 3 and ((model.codebook - first).abs() > 0.01).any(1).all()


def test_idle_entries_start_anew_at_vectors_of_the_batch():
    model = VQAutoencoder(size=8, entries=6, code=4, width=8, patience=3)
    with torch.no_grad():
        model.codebook[4:] = 1000.0
    x = torch.rand(5, 1, 8, 8)
    model.idle.zero_()
    used = model.encode(x).unique()
    for _ in range(3):
        model.loss(x)
    assert (model.idle[used] == 0).all() and (model.idle[4:] == 3).all()
    assert (model.codebook[4:] == 1000).all()  # patience is not over yet
    model.loss(x)
    z = model.vectors(x).flatten(0, 1)
    assert all((entry - z).abs().sum(1).min() < 1e-5 for entry in model.codebook[4:])
    model.eval()
    before = model.idle.clone()
    model.loss(x)
    assert torch.equal(model.idle, before)  # only training counts


def test_one_token_decodes_to_a_patch_and_not_to_a_pixel():
    model = VQAutoencoder(size=28, width=16).eval()
    tokens = torch.randint(64, (1, 49))
    other = tokens.clone()
    other[0, 24] = (other[0, 24] + 1) % 64
    changed = (model.decode(tokens) != model.decode(other))[0, 0]
    rows, columns = changed.nonzero(as_tuple=True)
    assert changed[12:16, 12:16].all()  # the place of the token itself
    assert rows.min() >= 4 and rows.max() < 24 and columns.min() >= 4 and columns.max() < 24


# --- Which tokens are hidden, which stay ---------------------------------------------------------


def test_hide_share_hides_the_share_rounded_up():
    noise = torch.rand(6, 10)
    share = torch.tensor([1e-9, 0.1, 0.11, 0.5, 0.95, 1.0])
    hidden = hide_share(noise, share)
    assert hidden.sum(1).tolist() == [1, 1, 2, 5, 10, 10]
    for row, mask in zip(noise, hidden, strict=True):
        assert mask.all() or row[mask].max() < row[~mask].min()


def test_any_number_of_tokens_is_hidden_equally_often_and_any_place():
    model = MaskGIT(4, side=3, dim=8, layers=1, heads=2)
    hidden = model.hide(torch.zeros(20_000, 9, dtype=torch.int64))
    counts = torch.bincount(hidden.sum(1), minlength=10)
    assert counts[0] == 0 and (counts[1:] / 20_000 - 1 / 9).abs().max() < 0.01
    assert (hidden.float().mean(0) - 5 / 9).abs().max() < 0.015
    fixed = MaskGIT(4, side=3, dim=8, layers=1, heads=2, share=0.15)
    assert (fixed.hide(torch.zeros(50, 9, dtype=torch.int64)).sum(1) == 2).all()


def test_keep_surest_by_hand():
    confidence = torch.tensor([[-1.0, -3.0, 9.0, -2.0], [5.0, 5.0, 1.0, 0.0]])
    hidden = torch.tensor([[True, True, False, True], [False, False, True, False]])
    kept = keep_surest(confidence, hidden, 2)
    assert kept.tolist() == [[True, False, False, True], [False, False, True, False]]


def test_gumbel_noise_at_temperature_one_draws_places_by_their_weights():
    """The place with the largest log p + g is place i with probability p_i / sum p."""
    p = torch.tensor([0.1, 0.2, 0.3, 0.15])
    c = choice_confidence(p.log().expand(100_000, 4), torch.rand(100_000, 4), 1.0)
    shares = torch.bincount(c.argmax(1), minlength=4) / 100_000
    assert torch.allclose(shares, p / p.sum(), atol=0.01)
    assert torch.equal(choice_confidence(p.log(), torch.rand(4), 0.0), p.log())


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_a_plan_falls_from_all_to_none(schedule):
    for blanks, steps in ((49, 1), (49, 8), (49, 49), (10, 30)):
        plan = round_plan(blanks, steps, schedule).tolist()
        assert len(plan) == steps + 1 and plan[0] == blanks and plan[-1] == 0
        assert all(a > b or a == b == 0 for a, b in zip(plan, plan[1:], strict=False))
    if schedule != "root":  # as many rounds as blanks: one at a time (root begins with seven)
        assert round_plan(49, 49, schedule).tolist() == list(range(49, -1, -1))


def test_plans_are_those_of_chapter_10_and_of_arithmetic():
    assert torch.equal(round_plan(49, 8), still_hidden(49, 8))
    assert round_plan(49, 4).tolist() == [49, 45, 34, 18, 0]  # 49 cos(k pi / 8)
    assert round_plan(48, 4, "linear").tolist() == [48, 36, 24, 12, 0]
    assert round_plan(48, 4, "square").tolist() == [48, 45, 36, 21, 0]
    assert round_plan(48, 4, "root").tolist() == [48, 24, 14, 6, 0]


def test_draws_have_the_probabilities():
    p = torch.tensor([[0.5, 0.0, 0.2, 0.3], [0.0, 0.0, 1.0, 0.0]])
    drawn = draw_tokens(p.expand(50_000, 2, 4), torch.rand(50_000, 2))
    shares = torch.bincount(drawn[:, 0], minlength=4) / 50_000
    assert torch.allclose(shares, p[0], atol=0.01) and shares[1] == 0
    assert (drawn[:, 1] == 2).all()
    edge = draw_tokens(p, torch.zeros(2))
    assert edge.tolist() == [0, 2]


# --- The model -----------------------------------------------------------------------------------


def test_every_token_sees_every_other_and_its_place_on_the_grid():
    model = MaskGIT(6, side=3, dim=16, layers=2, heads=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(5)
        ids = torch.randint(6, (1, 9))
        before = model(ids)
        for t in (0, 4, 8):
            other = ids.clone()
            other[0, t] = (ids[0, t] + 1) % 6
            assert ((model(other) - before).abs().amax(-1) > 1e-6).all()
        same = torch.full((1, 9), 2)  # equal tokens: only the places differ
        rows = model(same)[0]
        assert (torch.cdist(rows, rows) + torch.eye(9) > 1e-4).all()


def test_the_loss_is_that_of_chapter_10_and_without_its_mask_the_same_model():
    model = MaskGIT(6, side=3, dim=16, layers=2, heads=2).eval()
    ids, g = torch.randint(6, (5, 9)), torch.Generator()
    loss = model.loss(ids, g.manual_seed(1))
    hidden = model.hide(ids, g.manual_seed(1))
    assert torch.isclose(loss, hidden_nll(model(ids.masked_fill(hidden, 6)), ids, hidden))
    peer = FillIn(GPTConfig(6, 9, 2, 2, 16)).eval()  # two heads: none of them sees only a neighbour
    torch.nn.init.zeros_(model.near.weight)  # what chapter 10 does by its heads
    torch.nn.init.zeros_(model.near.bias)
    weights = {k: v for k, v in model.state_dict().items() if k != "positions.weight"}
    peer.load_state_dict(weights, strict=False)
    row, column = model.positions.weight.split(3)
    with torch.no_grad():
        peer.positions.weight.copy_((row[:, None] + column).flatten(0, 1))
        assert torch.allclose(peer(ids), model(ids), atol=1e-5)


class Pairs(MaskGIT):
    """A perfect model of two pairs of equal tokens: (0, 0) or (1, 1), half and half."""

    def __init__(self):
        super().__init__(2, side=2, dim=8, layers=1, heads=2)

    def forward(self, ids):
        partner = ids[:, [1, 0, 3, 2]]
        known = F.one_hot(partner.clamp(max=1), 2).float()
        p = torch.where((partner == 2)[..., None], 0.5, known)
        return p.clamp(min=1e-12).log()


@pytest.mark.parametrize("order", ["random", "raster", "surest", "place"])
def test_tokens_of_one_round_do_not_know_each_other_tokens_of_two_do(order):
    model, g = Pairs(), torch.Generator().manual_seed(0)
    equal = {}
    for steps in (1, 4):
        drawn = model.sample(4_000, steps, order=order, generator=g).reshape(-1, 2, 2)
        equal[steps] = (drawn[..., 0] == drawn[..., 1]).float().mean().item()
    assert equal[1] == pytest.approx(0.5, abs=0.02) and equal[4] == 1.0


def test_each_row_is_filled_by_what_is_known_of_it():
    ids = torch.tensor([[0, 2, 1, 2], [1, 2, 1, 2], [2, 0, 2, 0]])  # 2 is hidden
    expected = [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    for steps in (1, 2):
        assert Pairs().complete(ids, steps).tolist() == expected


def test_one_token_at_a_time_draws_from_the_chain_rule():
    """On a grid of 2 x 2 with 2 kinds, the frequencies equal the exact ones of raster order."""
    model = MaskGIT(2, side=2, dim=8, layers=1, heads=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8)
    images = torch.tensor([[i >> b & 1 for b in range(4)] for i in range(16)])
    log_p = torch.zeros(16)
    with torch.no_grad():
        for t in range(4):
            known = images.clone()
            known[:, t:] = 2
            log_p += model(known).log_softmax(-1)[torch.arange(16), t, images[:, t]]
    drawn = model.sample(40_000, 4, order="raster", generator=torch.Generator().manual_seed(0))
    shares = torch.bincount((drawn * torch.tensor([1, 2, 4, 8])).sum(1), minlength=16) / 40_000
    assert log_p.exp().sum() == pytest.approx(1, abs=1e-5) and log_p.std() > 0.1
    assert torch.allclose(shares, log_p.exp(), atol=0.01)


@pytest.mark.parametrize("order", ["surest", "place", "random", "raster"])
def test_completion_keeps_what_was_there_and_follows_the_plan(order):
    model = MaskGIT(6, side=4, dim=16, layers=1, heads=2)
    ids = torch.randint(6, (5, 16))
    ids[:, 7:] = 6
    ids[0] = torch.arange(16) % 6  # nothing hidden in this row
    trace = []
    filled = model.complete(ids, 4, order=order, trace=trace)
    known = ids != 6
    assert torch.equal(filled[known], ids[known]) and (filled < 6).all()
    hidden = torch.stack([(step == 6).sum(1) for step, _ in trace])
    assert hidden[:, 1].tolist() == round_plan(9, 4).tolist()[1:]
    assert (hidden[:, 0] == 0).all() and model.training
    if order == "raster":
        assert (trace[0][0][1:, 7:] < 6).sum(1).tolist() == [1] * 4
        assert (trace[0][0][1:, 7] < 6).all()


def test_the_same_generator_draws_the_same_images_and_another_draws_others():
    model = MaskGIT(6, side=3, dim=16, layers=1, heads=2)
    a, b, c = (model.sample(300, 3, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_training_learns_the_dependence_of_tokens():
    kinds = torch.randint(4, (512, 1))
    ids = kinds.expand(-1, 9).contiguous()  # nine equal tokens
    model = MaskGIT(4, side=3, dim=32, layers=2, heads=2)
    fit(model, TensorBatches(ids, batch_size=64), 300, lr=3e-3, progress=False)
    bound = 9 * torch.stack([model.loss(ids) for _ in range(20)]).mean()
    assert math.log(4) - 0.2 < bound < 2.0  # the entropy is log 4 = 1.39; untrained: 12.5
    g = torch.Generator().manual_seed(0)
    equal = {}
    for steps in (1, 9):
        drawn = model.sample(200, steps, order="random", generator=g)
        equal[steps] = (drawn == drawn[:, :1]).all(1).float().mean()
    assert equal[9] > 0.9 and equal[1] < 0.1


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 30}, "multiple of 4"),
        ({"entries": 1}, "at least 2"),
        ({"entries": 0}, "entries"),
        ({"code": 2.5}, "code"),
        ({"width": 7}, "even"),
        ({"commitment": -1.0}, "commitment"),
        ({"patience": 0}, "patience"),
    ],
)
def test_bad_settings_of_the_autoencoder_are_refused_in_words(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        VQAutoencoder(**settings)


def test_bad_images_and_tokens_are_refused_in_words():
    model = VQAutoencoder(size=8, entries=8, width=8)
    with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\)"):
        model.encode(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.check_batch(torch.full((2, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.encode(torch.full((2, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\)"):
        model.loss(torch.zeros(2, 3, 8, 8))
    with pytest.raises(TypeError, match="tokens: expected a tensor of whole numbers"):
        model.decode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"tokens: expected the shape \(B, 4\)"):
        model.decode(torch.zeros(2, 5, dtype=torch.int64))
    for wrong in (-1, 8):
        with pytest.raises(ValueError, match="tokens: expected ids from 0 to 7"):
            model.decode(torch.full((2, 4), wrong))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"entries": 0}, "entries"), ({"side": 2.5}, "side"), ({"share": 0.0}, "share"),
     ({"share": 1.2}, "share"), ({"dim": 10, "heads": 3}, "multiple of heads")],
)  # fmt: skip
def test_bad_settings_of_maskgit_are_refused_in_words(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        MaskGIT(**settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps: expected a whole number of at least 1"),
        ({"steps": 2.0}, "steps: expected a whole number"),
        ({"order": "spiral"}, "order"),
        ({"schedule": "sine"}, "schedule"),
        ({"choice": -1.0}, "choice"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_bad_options_of_sampling_are_refused_in_words(options, words):
    model = MaskGIT(6, side=3, dim=16, layers=1, heads=2)
    with pytest.raises((TypeError, ValueError), match=words):
        model.sample(2, **options)


def test_bad_ids_are_refused_in_words():
    model = MaskGIT(6, side=3, dim=16, layers=1, heads=2)
    with pytest.raises(ValueError, match="ids from 0 to 6"):
        model.complete(torch.full((2, 9), 7))
    with pytest.raises(ValueError, match="ids from 0 to 5"):  # [MASK] is no token to learn
        model.check_batch(torch.full((2, 9), 6))
    with pytest.raises(IndexError, match="Target 6"):  # on a processor even without a check
        model.loss(torch.full((2, 9), 6))
    with pytest.raises(ValueError, match="ids from 0 to 6, got 7"):
        model(torch.full((2, 9), 7))
    with pytest.raises(TypeError, match="whole numbers"):
        model(torch.zeros(2, 9))
    for n in (0, 1.5):
        with pytest.raises((TypeError, ValueError), match="n: expected"):
            model.sample(n)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("order", ["surest", "place", "random", "raster"])
def test_broken_logits_are_refused_and_the_mode_stays(value, order):
    model = MaskGIT(6, side=3, dim=16, layers=1, heads=2).train()
    model.blocks[0].eval()  # a part that is kept still
    model.norm.bias.data[0] = value
    with pytest.raises(ValueError, match="logits: expected finite numbers"):
        model.sample(2, 3, order=order)
    assert model.training and not model.blocks[0].training


def test_hiding_draws_the_places_first_and_then_the_share():
    model = MaskGIT(4, side=3, dim=8, layers=1, heads=2)
    g = torch.Generator().manual_seed(4)
    noise, share = torch.rand(5, 9, generator=g), 1 - torch.rand(5, generator=g)
    hidden = model.hide(torch.zeros(5, 9, dtype=torch.int64), torch.Generator().manual_seed(4))
    assert torch.equal(hidden, hide_share(noise, share))
