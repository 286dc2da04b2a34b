"""The mathematics of chapter 26: what each player minimises, penalties, the game, the counting."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import stacked
from genai_utils.training import fit
from genai_utils.vision import gan, modes
from genai_utils.vision.gan import GAN, LOSSES, Rules, Turns, play
from genai_utils.vision.modes import PointGAN, RingBatches, StackedBatches


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# --- Losses --------------------------------------------------------------------------------------


def test_losses_equal_the_librarys_cross_entropy():
    real, fake = 3 * torch.randn(5), 3 * torch.randn(8)
    bce = F.binary_cross_entropy_with_logits
    wanted = bce(real, torch.ones(5)) + bce(fake, torch.zeros(8))
    torch.testing.assert_close(gan.discriminator_loss(real, fake), wanted)
    torch.testing.assert_close(gan.generator_loss(fake), bce(fake, torch.ones(8)))
    saturating = torch.log(1 - torch.sigmoid(fake)).mean()
    torch.testing.assert_close(gan.generator_loss(fake, True), saturating)


def test_losses_are_means_over_each_batch_and_finite_for_sure_scores():
    zero = torch.zeros(3)
    assert gan.discriminator_loss(zero, torch.zeros(7)).item() == pytest.approx(2 * math.log(2))
    sure = torch.tensor([-1e4, 1e4])
    assert gan.discriminator_loss(sure, sure).item() == pytest.approx(1e4)
    assert gan.generator_loss(sure).item() == pytest.approx(5e3)
    assert gan.generator_loss(sure, True).item() == pytest.approx(-5e3)
    runs = torch.randn(4, 6)
    each = torch.stack([gan.discriminator_loss(r, f) for r, f in zip(runs, -runs, strict=True)])
    torch.testing.assert_close(gan.discriminator_loss(runs, -runs), each)


def test_slopes_of_the_two_generator_losses():
    a = torch.tensor([-30.0, -2.0, 0.0, 2.0], requires_grad=True)
    for saturating, wanted in ((True, -torch.sigmoid(a)), (False, torch.sigmoid(a) - 1)):
        (slope,) = torch.autograd.grad(gan.generator_loss(a, saturating) * 4, a)
        torch.testing.assert_close(slope, wanted.detach())


@pytest.mark.parametrize("kind", LOSSES)
def test_each_player_wants_what_it_should(kind):
    real, fake = (torch.zeros(4).add_(0.1).requires_grad_() for _ in range(2))
    D, G = LOSSES[kind](real, fake)
    down, up = torch.autograd.grad(D, (real, fake))
    assert (down < 0).all() and (up > 0).all()
    (made,) = torch.autograd.grad(G, fake, retain_graph=True)
    assert (made < 0).all()
    assert LOSSES[kind](torch.randn(3, 5), torch.randn(3, 5))[0].shape == (3,)


def test_pairs_are_a_classifier_of_differences():
    ahead, behind = 3 * torch.randn(2, 6)
    wanted = F.binary_cross_entropy_with_logits(ahead - behind, torch.ones(6))
    torch.testing.assert_close(gan.pair_loss(ahead, behind), wanted)
    D, G = LOSSES["pairs"](ahead, behind)
    torch.testing.assert_close(D, wanted)
    torch.testing.assert_close(G, gan.pair_loss(behind, ahead))
    D, G = LOSSES["least squares"](ahead, behind)
    torch.testing.assert_close(D, F.mse_loss(ahead, torch.ones(6)) / 2 + behind.square().mean() / 2)
    torch.testing.assert_close(G, F.mse_loss(behind, torch.ones(6)) / 2)
    D, G = LOSSES["wasserstein"](ahead, behind)
    torch.testing.assert_close(D, (behind - ahead).mean())
    torch.testing.assert_close(G, -behind.mean())


@pytest.mark.parametrize(("n", "m"), [(1, 1), (100, 1000)])
def test_the_optimal_discriminator_has_no_gradient_left(n, m):
    p, q = torch.rand(6).double(), torch.rand(6).double()
    D = gan.optimal_discriminator(p, q, n, m)
    a = torch.logit(D).requires_grad_()
    loss = (n * p * F.softplus(-a) + m * q * F.softplus(a)).sum()  # as often as each comes
    (slope,) = torch.autograd.grad(loss, a)
    assert slope.abs().max() < 1e-9 * n * m + 1e-12
    assert gan.optimal_discriminator(torch.zeros(1), torch.zeros(1)).item() == 0.5


def test_numbers_of_the_lectures():
    p, q = torch.tensor(0.3), torch.tensor(0.1)
    assert gan.optimal_discriminator(p, q).item() == pytest.approx(0.75)
    assert gan.optimal_discriminator(p, q, 100, 1000).item() == pytest.approx(0.231, abs=5e-4)


def test_the_value_at_the_best_discriminator_is_the_jensen_shannon_divergence():
    p, q = (torch.rand(9).double() for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    D = gan.optimal_discriminator(p, q)
    value = (p * D.log() + q * (1 - D).log()).sum()
    half = (p + q) / 2
    js = 0.5 * (p * (p / half).log() + q * (q / half).log()).sum()
    torch.testing.assert_close(value, 2 * js - 2 * math.log(2))


# --- Penalties and packing -----------------------------------------------------------------------


def test_penalty_of_a_plane_and_of_a_bowl():
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    x = torch.randn(6, 2, requires_grad=True)
    flat = gan.gradient_penalty(lambda x: x @ w, x)
    assert flat.item() == pytest.approx(12.5)
    torch.testing.assert_close(torch.autograd.grad(flat, w)[0], w.detach())
    tilted = gan.gradient_penalty(lambda x: x @ w, x, slope=1.0)
    assert tilted.item() == pytest.approx(8.0)
    bowl = gan.gradient_penalty(lambda x: x.square().sum(-1) * w[0], x)
    torch.testing.assert_close(bowl, 18 * x.detach().square().sum(-1).mean())
    bowl.backward()
    assert x.grad is None


def test_penalty_against_finite_differences_in_float64():
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    x, h = torch.randn(4, 3).double(), 1e-6
    steps = torch.eye(3).double() * h
    g = torch.stack([(net(x + s) - net(x - s)) / (2 * h) for s in steps], dim=-1)
    wanted = 0.5 * g.square().sum(-1).mean()
    assert gan.gradient_penalty(net, x).item() == pytest.approx(wanted.item(), rel=1e-6)
    names = list(dict(net.named_parameters()))

    def of(*weights):
        weights = dict(zip(names, weights, strict=True))
        return gan.gradient_penalty(lambda x: torch.func.functional_call(net, weights, x), x)

    assert torch.autograd.gradcheck(
        of, tuple(p.detach().requires_grad_() for p in net.parameters())
    )


def test_penalty_where_the_score_is_flat_has_finite_gradients():
    w = torch.zeros(2, requires_grad=True)
    gan.gradient_penalty(lambda x: x @ w, torch.randn(3, 2), slope=1.0).backward()
    assert torch.isfinite(w.grad).all()


def test_penalty_keeps_the_runs_apart_and_works_without_gradients():
    x = torch.randn(3, 5, 2)
    with torch.no_grad():
        each = gan.gradient_penalty(lambda x: x.square().sum(-1), x)
    torch.testing.assert_close(each, 2 * x.square().sum(-1).mean(-1))


def test_packing():
    x = torch.arange(24.0).reshape(4, 2, 3)
    packed = gan.pack(x, 2)
    assert packed.shape == (2, 4, 3) and torch.equal(packed[0, :2], x[0])
    assert torch.equal(packed[1, 2:], x[3]) and gan.pack(x, 1) is x
    assert gan.pack(x, 2, axis=1).shape == (4, 1, 6)
    with pytest.raises(ValueError, match="a batch that 3 divides, got 4"):
        gan.pack(x, 3)


# --- The game ------------------------------------------------------------------------------------


def gradients(model, batch, name):
    torch.manual_seed(1)
    parts = model.loss(batch)
    total = sum(parts[n] for n in name)
    own = list((model.generator if name == ["generator"] else model.discriminator).parameters())
    return own, torch.autograd.grad(total, own)


@pytest.mark.parametrize("rules", [
    {"loss": "minimax"}, {"r1": 0.5}, {"loss": "pairs", "r1": 0.5, "r2": 0.2},
    {"loss": "wasserstein", "slope": 2.0}, {"loss": "least squares", "pack": 2},
])  # fmt: skip
@pytest.mark.parametrize("kind", ["points", "images"])
def test_each_player_gets_the_gradient_of_its_own_loss(rules, kind):
    if kind == "points":
        model, x = PointGAN(2, 3, width=6, **rules), torch.randn(2, 8, 2)
    else:
        model, x = GAN(8, 4, 4, **rules), torch.rand(8, 1, 8, 8)
    torch.manual_seed(1)
    model.loss(x)["loss"].backward()
    ours = ["discriminator", "penalty"] if "penalty" in model.loss(x) else ["discriminator"]
    for name in (ours, ["generator"]):
        for p, g in zip(*gradients(model, x, name), strict=True):
            torch.testing.assert_close(p.grad, g)


def test_the_losses_of_play_are_those_of_the_scores():
    model, x, fake = GAN(8, 4, 4), torch.rand(6, 1, 8, 8), torch.rand(6, 1, 8, 8)
    D = model.discriminator
    found = play(model, x, fake)
    torch.testing.assert_close(found["discriminator"], gan.discriminator_loss(D(x), D(fake)))
    torch.testing.assert_close(found["generator"], gan.generator_loss(D(fake)))
    torch.testing.assert_close(found["loss"], found["discriminator"] + found["generator"])
    model.rules = Rules(r1=3.0, r2=5.0)
    wanted = 3 * gan.gradient_penalty(D, x) + 5 * gan.gradient_penalty(D, fake)
    torch.testing.assert_close(play(model, x, fake)["penalty"], wanted)


@pytest.mark.parametrize("kind", ["points", "images"])
def test_the_slope_is_asked_for_between_data_and_samples(kind, monkeypatch):
    if kind == "points":
        model, shape, axis = PointGAN(2, 3, width=4, slope=3.0), (2, 50, 2), 1
    else:
        model, shape, axis = GAN(8, 4, 4, slope=3.0), (50, 1, 8, 8), 0
    seen = {}

    def penalty(score, x, slope=0.0):
        seen.update(x=x, slope=slope)
        return score(x).mean(-1)

    monkeypatch.setattr(gan, "gradient_penalty", penalty)
    found = play(model, torch.zeros(shape), torch.ones(shape), axis=axis)
    share = seen["x"].flatten(axis + 1)
    assert seen["slope"] == 1 and (share == share[..., :1]).all()  # one share for an example
    share = share[..., 0].flatten()
    assert len(share.unique()) == len(share) and share.min() < 0.2 and share.max() > 0.8
    wanted = 3 * model.discriminator(seen["x"]).mean(-1).sum()
    torch.testing.assert_close(found["penalty"], wanted)


def test_a_loss_of_ones_own():
    def mine(real, fake):
        return gan.pair_loss(real, fake), gan.pair_loss(fake, real)

    losses = []
    for loss in (mine, "pairs"):
        torch.manual_seed(0)
        losses.append(PointGAN(2, 2, width=4, loss=loss).loss(torch.ones(2, 6, 2))["loss"])
    assert torch.equal(*losses)


@pytest.mark.parametrize("loss", LOSSES)
def test_by_turns_the_other_player_has_no_gradient(loss):
    model, x = PointGAN(1, 2, width=4, loss=loss), torch.randn(1, 6, 2)
    for turn, still in (("discriminator", model.generator), ("generator", model.discriminator)):
        model.zero_grad(set_to_none=True)
        found = model.loss((x, turn))
        assert set(found) == {"loss", turn}
        found["loss"].backward()
        assert all(p.grad is None for p in still.parameters())
        moving = model.generator if turn == "generator" else model.discriminator
        assert all(p.grad is not None for p in moving.parameters())


def test_turns():
    turns = Turns(lambda step: step, 2, 1)
    wanted = ["discriminator", "discriminator", "generator"] * 2
    assert [turns(s) for s in range(6)] == list(enumerate(wanted))
    assert repr(Turns(RingBatches(1, 2), 3, 4)).endswith(", 3, 4)")
    assert Turns(RingBatches(1, 2), 3, 4).describe()["turns"] == (3, 4)
    with pytest.raises(ValueError, match="generator: expected a whole number of at least 1, got 0"):
        Turns(RingBatches(1, 2), 1, 0)


def test_runs_side_by_side_do_not_know_of_each_other():
    model, x = PointGAN(2, 3, width=6, r1=0.1), torch.randn(2, 8, 2)

    def moved(x):
        model.zero_grad()
        torch.manual_seed(1)
        model.loss(x)["loss"].backward()
        return [p.grad.clone() for p in model.parameters()]

    one, other = moved(x), moved(torch.stack([x[0], 5 + x[1]]))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_a_run_is_what_linear_layers_compute():
    layers, x = modes.Layers(3, [2, 5, 4], torch.tanh), torch.randn(3, 7, 2)
    for r in range(3):
        w, b = ([p[r] for p in part] for part in (layers.weights, layers.biases))
        wanted = torch.tanh(x[r] @ w[0] + b[0]) @ w[1] + b[1]
        torch.testing.assert_close(layers(x)[r], wanted)


def test_layers_begin_as_they_say():
    layers, x = modes.Layers(2, [200] * 6, F.relu, gain=math.sqrt(6)), torch.randn(2, 500, 200)
    for w in layers.weights:
        assert 0.99 * math.sqrt(6 / 200) < w.abs().max() <= math.sqrt(6 / 200)
    assert 0.5 < F.relu(layers(x)).square().mean() < 2  # the size that came in
    usual, linear = modes.Layers(1, [200, 50], F.relu).weights[0], nn.Linear(200, 50).weight
    assert usual.abs().max().item() == pytest.approx(linear.abs().max().item(), rel=0.01)


def test_two_rates():
    model = GAN(8, 4, 4)
    made = gan.two_rates(model, 1e-3, ratio=2, betas=(0.5, 0.9))
    G, D = made.param_groups
    assert (G["lr"], D["lr"], D["betas"]) == (1e-3, 2e-3, (0.5, 0.9))
    assert len(G["params"]) + len(D["params"]) == len(list(model.parameters()))


def test_a_game_of_one_gaussian_ends_near_it():
    model = PointGAN(2, 2, width=16, depth=1, r1=0.1)
    batches = RingBatches(2, 64, modes=1, std=0.2)
    options = {"optimizer": gan.two_rates(model, 1e-2), "schedule": "constant", "progress": False}
    model = fit(model, batches, 300, ema=0.95, **options).ema_model
    x = model.sample(500)
    assert (x.mean(1) - torch.tensor([1.0, 0.0])).abs().max() < 0.2
    assert ((x.std(1) > 0.02) & (x.std(1) < 0.45)).all()


# --- Counting ------------------------------------------------------------------------------------


def test_the_ring():
    c = modes.ring_centres()
    torch.testing.assert_close(c.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(c[2], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
    covered, good, counts = modes.count_modes(modes.ring(4000), c)
    assert covered == 8 and 0.98 < good < 0.995  # 1 - exp(-9/2) = 0.9889
    assert (counts > 400).all()


def test_modes_are_counted():
    c = modes.ring_centres()
    x = torch.stack([c[0], c[0] + 0.029, c[3] + torch.tensor([0.0, 0.031]), c[5]])
    x[1] = c[0] + torch.tensor([0.029, 0.0])
    covered, good, counts = modes.count_modes(torch.stack([x, x.flip(0), c[[1, 1, 1, 1]]]), c)
    assert covered.tolist() == [2, 2, 1] and good.tolist() == [0.75, 0.75, 1.0]
    assert counts[0].tolist() == [2, 0, 0, 0, 0, 1, 0, 0]


def test_stacks_are_counted():
    every = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    assert modes.count_stacks(every) == (100, pytest.approx(0, abs=1e-12))
    half = every[every[:, 0] < 5]
    assert modes.count_stacks(half) == (50, pytest.approx(math.log(2)))
    assert modes.count_stacks(torch.tensor([[1, 2, 3], [3, 2, 1]])).modes == 2
    assert modes.count_stacks(torch.empty(0, 3, dtype=torch.int64)) == (0, 0)


def test_batches_depend_on_nothing_but_the_step():
    ring = RingBatches(3, 5, seed=1)
    assert ring(4).shape == (3, 5, 2) and torch.equal(ring(4), ring(4))
    assert not torch.equal(ring(4), ring(5)) and not torch.equal(ring(4)[0], ring(4)[1])
    x = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 2, 2) / 4
    stacked = StackedBatches(x, 64, 3, seed=2)
    batch = stacked(0)
    assert batch.shape == (64, 3, 2, 2) and torch.equal(batch, stacked(0))
    assert len(batch[:, :, 0, 0].unique()) == 4 and not torch.equal(batch[:, 0], batch[:, 1])
    assert "data" in stacked.describe()


# --- The DCGAN -----------------------------------------------------------------------------------


def test_samples_are_images_and_repeatable():
    model = GAN(8, 4, 4, channels=2).eval()
    x = model.sample(5, generator=torch.Generator().manual_seed(3))
    assert x.shape == (5, 2, 8, 8) and x.min() >= 0 and x.max() <= 1
    assert torch.equal(x, model.sample(5, generator=torch.Generator().manual_seed(3)))
    assert not x.requires_grad


def test_spectral_normalisation_bounds_each_layer():
    D = GAN(8, 4, 4, spectral=True).discriminator
    with torch.no_grad():
        for layer in D:
            if hasattr(layer, "weight"):
                layer.parametrizations.weight.original.mul_(7)
        for _ in range(30):
            D(torch.rand(2, 1, 8, 8))
    largest = [
        torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        for layer in D if hasattr(layer, "weight")
    ]  # fmt: skip
    assert largest == pytest.approx([1, 1, 1], abs=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GAN(10), "size: expected a multiple of 4"),
        (lambda: GAN(loss="hinge"), "loss: expected one of 'minimax'"),
        (lambda: GAN(r1=-1.0), "r1: expected a finite number of at least 0"),
        (lambda: GAN(pack=0), "pack: expected a whole number of at least 1"),
        (lambda: GAN(8, 4, 4).sample(3, y=1), "expected no labels"),
        (
            lambda: GAN(8, 4, 4, pack=2).loss(torch.rand(3, 1, 8, 8)),
            "a batch that 2 divides, got 3",
        ),
        (lambda: GAN(8, 4, 4).loss((torch.rand(2, 1, 8, 8), "critic")), "turn: expected one of"),
        (lambda: GAN(8, 4, 4).check_batch(torch.rand(2, 1, 8, 8) + 1), "between 0 and 1"),
        (lambda: PointGAN(2).check_batch(torch.rand(3, 4, 2)), r"points \(2, B, 2\)"),
        (lambda: PointGAN(2).sample(0), "n: expected a whole number of at least 1"),
        (lambda: RingBatches(2, 4, std=-1.0), "std: expected a finite number of at least 0"),
        (lambda: StackedBatches(torch.rand(3, 2, 8, 8), 4), "x: expected"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_training_makes_better_digits():
    from genai_utils import data, evaluation
    from genai_utils.training import TensorBatches

    x = data.digits("train").x
    model = GAN(8, 16, 16, r1=0.1)
    real = evaluation.load_judge(8, "digits").features(x)
    judge = evaluation.load_judge(8, "digits")
    before = evaluation.frechet_distance(judge.features(model.eval().sample(500)), real)
    how = {"optimizer": gan.two_rates(model, 2e-3), "progress": False, "ema": 0.98}
    model = fit(model, TensorBatches(x, batch_size=64), 250, **how).ema_model
    after = evaluation.frechet_distance(judge.features(model.sample(500)), real)
    assert after < 0.5 * before


# --- The stacking of the cpu profile -------------------------------------------------------------


def test_what_the_chapter_says_of_a_hundred_stacks_was_counted_by_its_code():
    kept = json.loads(stacked.STORED.read_text(encoding="utf-8"))
    assert kept["code_sha256"] == stacked.digest()  # else: python -m benchmarks.stacked
    assert kept["modes"] == kept["of"] == 100
    text = Path(stacked.NOTEBOOK).read_text(encoding="utf-8")
    plain, cured, sure = kept["rows"][0], kept["rows"][2], kept["rows"][3]
    assert (plain["model"], cured["counted"]) == ("plain DCGAN", "all") and kept["seconds"] < 180
    assert f"find all {cured['modes']} with pairs and penalties, and {plain['modes']} with" in text
    assert f"are {sure['stacks']:,} of the former, and they cover {sure['modes']};" in text


def test_the_count_needs_the_two_trainings_and_nothing_of_the_other_sections():
    code = stacked.counting()
    assert "train_stacks('plain'" in code and "train_stacks('cured'" in code
    assert "train_ring" not in code and "Scorecard" not in code
