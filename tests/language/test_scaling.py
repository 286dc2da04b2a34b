"""Scaling: what is counted is what is there, the optimum is one, a fit finds its law again."""

import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from genai_utils.language import scaling
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.scaling_law import (
    LAWS,
    Law,
    _value_and_slope,
    bootstrap_laws,
    compute_optimal,
    fit_law,
    interval,
    law_error,
    slope,
    valley,
)
from genai_utils.training import WindowBatches, adamw, fit, ledger, muon_groups
from genai_utils.training.optimizers import Muon, orthogonal

GPT2 = {(12, 768): 124_439_808, (24, 1024): 354_823_168, (36, 1280): 774_030_080,
        (48, 1600): 1_557_611_200}  # fmt: skip
SIZES = [(1, 16, 2), (2, 24, 3), (3, 32, 4)]


def model_of(layers, dim, heads, vocabulary=37, context=20):
    return GPT(GPTConfig(vocabulary, context, layers, heads, dim))


# --- Counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_weights_are_those_of_the_model(size):
    layers, dim, _ = size
    model = model_of(*size)
    there = sum(p.numel() for p in model.parameters())
    assert scaling.gpt_parameters(layers, dim, 37, 20) == there
    assert scaling.gpt_parameters(layers, dim, 37, 20, tied=False) == there + 37 * dim


def test_gpt2s_four_sizes_and_the_rule_within_three_per_cent():
    for (layers, dim), weights in GPT2.items():
        assert scaling.gpt_parameters(layers, dim, 50257, 1024) == weights
        assert abs(scaling.rule_of_thumb(layers, dim, 50257) / weights - 1) < 0.03
    assert scaling.rule_of_thumb(12, 768) == 12 * 12 * 768**2


def test_ways_of_counting_are_parts_of_the_model():
    model = model_of(2, 24, 3)
    matrices = {
        "blocks": sum(p.numel() for p in model.blocks.parameters() if p.ndim == 2),
        "head": model.tokens.weight.numel(),
    }
    found = {way: scaling.counted(model.config, way) for way in scaling.WAYS}
    assert found["blocks"] == matrices["blocks"]
    assert found["blocks + table"] == matrices["blocks"] + matrices["head"]
    assert found["blocks + two tables"] == matrices["blocks"] + 2 * matrices["head"]
    with pytest.raises(ValueError, match="one of 'blocks'"):
        scaling.counted(model.config, "everything")


@pytest.mark.parametrize("size", SIZES)
def test_operations_are_those_that_a_training_counts(size):
    model, batches = model_of(*size), WindowBatches(torch.randint(37, (500,)), 21, 3)
    fit(model, batches, 2, optimizer=adamw, progress=False, precision="fp32")
    told = ledger.trainings()[-1]["flops"] / (2 * 3 * 20)
    assert told == pytest.approx(scaling.flops_per_token(model.config), rel=1e-9)


def test_six_n_d_leaves_out_attention_alone():
    config = GPTConfig(50257, 1024, 12, 12, 768)
    exact, rule = scaling.flops_per_token(config), 6 * scaling.counted(config, "blocks + table")
    assert exact - rule == 14 * 12 * 1024 * 768
    assert scaling.training_flops(70e9, 1.4e12) == pytest.approx(5.88e23)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_muons_operations_are_those_of_its_products(shape):
    with FlopCounterMode(display=False) as counter:
        orthogonal(torch.randn(*shape))
    m, n = sorted(shape)
    assert counter.get_total_flops() == 5 * (4 * m * m * n + 2 * m**3)


def test_muons_operations_of_a_model():
    model = model_of(2, 24, 3)
    shapes = [(24, 72), (24, 24), (24, 96), (24, 96)] * 2
    wanted = sum(5 * (4 * m * m * n + 2 * m**3) for m, n in shapes)
    assert scaling.muon_flops(model, model.blocks) == wanted
    Muon(muon_groups(model, model.blocks), 0.01)  # the same matrices
    moved = muon_groups(model, model.blocks)[0]["params"]
    assert sorted(sorted(p.shape) for p in moved) == sorted(map(list, shapes))


# --- The law -------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [*LAWS.values(), Law(1.0, 5.0, 900.0, 0.2, 0.6)])
def test_the_optimum_is_the_lowest_place_of_its_budget(law):
    for C in (1e12, 3.14e23):
        N, D = law.optimum(C)
        assert pytest.approx(C) == 6 * N * D
        sizes = N * np.linspace(0.5, 2, 2_001)
        losses = law.loss(sizes, C / 6 / sizes)
        assert losses.argmin() == abs(sizes - N).argmin()
        assert law.optimum(100 * C)[0] == pytest.approx(N * 100**law.exponent)


def test_chinchillas_refit_is_the_published_one():
    law = LAWS["Besiroglu et al. 2024"]
    assert law.exponent == pytest.approx(0.513, abs=5e-4)
    assert LAWS["Hoffmann et al. 2022"].exponent == pytest.approx(0.452, abs=5e-4)
    N, D = law.optimum(5.88e23)
    assert 60e9 < N < 80e9 and 15 < D / N < 25


def test_optimum_takes_tensors():
    C = torch.tensor([1e12, 1e24, 1e30], dtype=torch.float64)
    N, D = compute_optimal(C, 482.01, 2085.43, 0.3478, 0.3658)
    for c, n, d in zip(C.tolist(), N.tolist(), D.tolist(), strict=True):
        assert (n, d) == pytest.approx(compute_optimal(c, 482.01, 2085.43, 0.3478, 0.3658))


TRUTH = Law(1.2, 20.0, 60.0, 0.35, 0.37)


def runs(noise=0.0, seed=0):
    g = np.random.default_rng(seed)
    N = np.repeat([3e3, 8e3, 2e4, 5e4, 1.2e5, 3e5], 3)
    D = np.tile([3e10, 1e11, 3e11], 6) / 6 / N
    return N, D, TRUTH.loss(N, D) * np.exp(noise * g.standard_normal(18))


def test_a_fit_finds_the_law_of_clean_runs():
    found = fit_law(*runs())
    assert found == pytest.approx(TRUTH, rel=1e-3)


def test_one_spoilt_run_moves_the_fit_little():
    N, D, loss = runs(0.002)
    clean = fit_law(N, D, loss).exponent
    loss[4] *= 1.3
    assert fit_law(N, D, loss).exponent == pytest.approx(clean, abs=0.03)
    # Squares instead of Huber's loss (δ so large that all errors count as small) follow it.
    assert abs(fit_law(N, D, loss, delta=10.0).exponent - clean) > 0.05


def test_the_error_and_its_slope_are_those_of_the_torch_function():
    N, D, loss = (torch.from_numpy(v) for v in runs(0.01))
    p = torch.tensor([2.5, 4.5, 0.1, 0.4, 0.33], dtype=torch.float64, requires_grad=True)
    value = law_error(p, N, D, loss)
    value.backward()
    logs = [v.log().numpy() for v in (N, D, loss)]
    mine, gradient = _value_and_slope(p.detach().numpy(), *logs, 1e-3)
    assert mine == pytest.approx(value.item(), rel=1e-9)
    wanted = p.grad[[0, 1, 2, 3, 4]].numpy()
    np.testing.assert_allclose(gradient, wanted, rtol=1e-8)
    assert torch.autograd.gradcheck(lambda q: law_error(q, N, D, loss, 10.0), (p,))


def test_the_bootstrap_covers_the_truth_and_is_narrower_with_less_noise():
    wide, narrow = (
        interval([law.exponent for law in bootstrap_laws(*runs(noise, 3), n=40)])
        for noise in (0.01, 0.001)
    )
    assert wide[0] < TRUTH.exponent < wide[1] and wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    again = bootstrap_laws(*runs(0.01, 3), n=3)
    assert again == bootstrap_laws(*runs(0.01, 3), n=3)


def test_an_interval_is_of_the_middle():
    assert interval(range(101), 0.9) == pytest.approx((5, 95))


def test_a_valley_is_found_and_its_edge_is_told():
    N = np.array([1e3, 3e3, 1e4, 3e4, 1e5])
    bottom, loss, inside = valley(N, 2 + 0.1 * np.log(N / 8e3) ** 2)
    assert bottom == pytest.approx(8e3) and loss == pytest.approx(2) and inside
    assert not valley(N, 2 + 0.1 * np.log(N / 1e7) ** 2)[2]
    assert valley(N, -(np.log(N) ** 2))[::2] == (pytest.approx(1e5), False)


def test_the_slope_of_a_power_law():
    x = np.array([1.0, 10.0, 200.0])
    assert slope(x, 7 * x**0.6) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda N, D, y: fit_law(N[:5], D[:5], y[:5]), "n ≥ 6 runs"),
        (lambda N, D, y: fit_law(N, D[:-1], y), "n ≥ 6 runs"),
        (lambda N, D, y: fit_law(N, D, -y), "loss: expected numbers above 0"),
        (lambda N, D, y: fit_law(N * math.nan, D, y), "finite numbers"),
        (lambda N, D, y: bootstrap_laws(N, D, y, n=0), "at least 1"),
        (lambda N, D, y: valley(N[:2], y[:2]), "three sizes or more"),
        (lambda N, D, y: interval(y, 1.5), "share"),
    ],
)
def test_what_makes_no_sense_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        given(*runs())


# --- All or nothing, costs -----------------------------------------------------------------------


def test_scores_of_answers_by_hand():
    answers = torch.tensor([[3, 4, 5], [3, 4, -100], [7, -100, -100]])
    said = torch.tensor([[3, 4, 5], [3, 9, 1], [7, 0, 0]])
    tokens, whole = scaling.answer_scores(said, answers)
    assert tokens.item() == pytest.approx(5 / 6) and whole.item() == pytest.approx(2 / 3)


def test_independent_tokens_make_whole_answers_by_the_power():
    g = torch.Generator().manual_seed(0)
    answers = torch.randint(9, (200_000, 10), generator=g)
    wrong = torch.rand(answers.shape, generator=g) < 0.1
    tokens, whole = scaling.answer_scores(torch.where(wrong, 9, answers), answers)
    assert tokens.item() == pytest.approx(0.9, abs=2e-3)
    assert whole.item() == pytest.approx(0.9**10, abs=5e-3)


def test_a_plan_keeps_its_budget_in_each_unit():
    law = LAWS["Besiroglu et al. 2024"]
    for unit in ("FLOPs", "dollars", "card-hours"):
        found = scaling.plan(1e6, unit, card="A100", rent=1.5, use=0.5)
        assert found.flops == pytest.approx(6 * found.parameters * found.tokens)
        assert {"FLOPs": found.flops, "dollars": found.dollars,
                "card-hours": found.card_hours}[unit] == pytest.approx(1e6)  # fmt: skip
        assert found.flops == pytest.approx(found.card_hours * 3600 * 0.5 * 312e12)
        assert found.loss == found.best_loss == pytest.approx(law.loss(*law.optimum(found.flops)))
    small, large = (scaling.plan(1e20, stretch=s) for s in (0.25, 4))
    assert min(small.loss, large.loss) > small.best_loss == large.best_loss
    assert large.parameters == pytest.approx(16 * small.parameters)
    assert large.flops == pytest.approx(6 * large.parameters * large.tokens)


def test_memory_of_a_plan():
    assert scaling.training_memory(1.5e9) == pytest.approx(24e9)
    found = scaling.plan(5.88e23)
    assert found.least_cards == math.ceil(16 * found.parameters / 80e9) > 10
    assert scaling.plan(1e15).least_cards == 1


@pytest.mark.parametrize(
    "given",
    [
        {"amount": 0}, {"amount": -1}, {"amount": math.inf}, {"amount": 1, "unit": "euros"},
        {"amount": 1, "use": 0}, {"amount": 1, "use": 1.1}, {"amount": 1, "rent": 0},
        {"amount": 1, "law": "mine"}, {"amount": 1, "card": "B200"}, {"amount": 1, "stretch": 0},
    ],
)  # fmt: skip
def test_a_plan_without_sense_is_refused(given):
    with pytest.raises(ValueError, match="expected"):
        scaling.plan(**given)
