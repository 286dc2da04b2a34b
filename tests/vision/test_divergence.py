"""Divergences and the simplest generators: identities of chapter 19 against known answers."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.mixture import GaussianMixture
from torch.distributions import Normal
from torch.distributions import kl_divergence as library_kl

from genai_utils.training import TensorBatches, fit
from genai_utils.vision import divergence as dv

GRID = torch.linspace(-25, 25, 2001, dtype=torch.float64)


def normal(mu, sigma):
    return Normal(torch.tensor(mu, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64))


def masses(mu, sigma):
    return dv.log_masses(normal(mu, sigma).log_prob(GRID), GRID)


def two_modes(grid=GRID):
    return dv.log_masses(dv.mixture_log_prob(grid, [0.6, 0.4], [-3.0, 3.0], [0.8, 0.8]), grid)


def random_pairs(n=7, batch=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, n, generator=g, dtype=torch.float64).log_softmax(-1)


# --- Divergences ---------------------------------------------------------------------------------


def test_divergences_of_discrete_distributions_equal_scipy_and_sit_between_their_bounds():
    log_p, log_q = random_pairs()
    p, q = log_p.exp().numpy(), log_q.exp().numpy()
    assert np.allclose(dv.kl_divergence(log_p, log_q), scipy.special.rel_entr(p, q).sum(-1))
    assert np.allclose(dv.reverse_kl(log_p, log_q), scipy.special.rel_entr(q, p).sum(-1))
    js = dv.js_divergence(log_p, log_q)
    assert np.allclose(js, jensenshannon(p, q, axis=-1) ** 2)
    assert torch.allclose(js, dv.js_divergence(log_q, log_p))
    assert (js > 0).all() and (js < math.log(2)).all()
    for divergence in dv.DIVERGENCES.values():
        assert divergence(log_p, log_p).abs().max() < 1e-15


def test_worked_numbers_of_a_coin():
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]).log()
    assert dv.kl_divergence(p, q).item() == pytest.approx(0.5 * math.log(0.25 / 0.09), abs=1e-6)
    assert dv.kl_divergence(p, q).item() == pytest.approx(0.5108, abs=1e-4)
    assert dv.reverse_kl(p, q).item() == pytest.approx(0.3681, abs=1e-4)


def test_zeros_and_missing_overlap():
    inf = math.inf
    p = torch.tensor([0.0, -inf, -inf])  # all mass on the first outcome
    q = torch.tensor([0.5, 0.5, 0.0]).log()
    away = torch.tensor([-inf, -inf, 0.0])
    assert dv.kl_divergence(p, q).item() == pytest.approx(math.log(2))
    assert dv.reverse_kl(p, q) == inf
    assert dv.kl_divergence(p, away) == inf
    assert dv.js_divergence(p, away).item() == pytest.approx(math.log(2))
    # probabilities that round to zero: the log domain keeps the divergence finite
    tiny = torch.tensor([[-2000.0, 0.0, -3000.0]])
    assert dv.kl_divergence(q[None].nan_to_num(neginf=-50), tiny).item() == pytest.approx(
        1000 - math.log(2)
    )


def test_on_a_grid_it_is_the_closed_form_of_two_normals():
    for (m, s), (n, t) in itertools.permutations([(0.0, 1.0), (1.5, 0.4), (-2.0, 3.0)], 2):
        exact = library_kl(normal(m, s), normal(n, t)).item()
        assert dv.kl_divergence(masses(m, s), masses(n, t)).item() == pytest.approx(exact, abs=1e-9)
    # 23 / 0.3 = 77 standard deviations away: exp(-2900) is zero, its logarithm is not
    far = library_kl(normal(-20.0, 1.0), normal(3.0, 0.3)).item()
    assert dv.kl_divergence(masses(-20.0, 1.0), masses(3.0, 0.3)).item() == pytest.approx(far, 1e-6)


def test_alpha_divergence_joins_the_two_kl_and_meets_hellinger_and_chi_squared():
    log_p, log_q = random_pairs(seed=3)
    p, q = log_p.exp(), log_q.exp()
    near = {0.0: dv.reverse_kl(log_p, log_q), 1.0: dv.kl_divergence(log_p, log_q)}
    for limit, value in near.items():
        for alpha in (limit - 1e-6, limit + 1e-6):
            assert torch.allclose(dv.alpha_divergence(log_p, log_q, alpha), value, atol=1e-4)
    hellinger = 2 * (p.sqrt() - q.sqrt()).square().sum(-1)
    assert torch.allclose(dv.alpha_divergence(log_p, log_q, 0.5), hellinger)
    chi = ((p - q) ** 2 / q).sum(-1) / 2
    assert torch.allclose(dv.alpha_divergence(log_p, log_q, 2.0), chi)
    swapped = dv.alpha_divergence(log_q, log_p, 0.7)
    assert torch.allclose(dv.alpha_divergence(log_p, log_q, 0.3), swapped)


def test_gradients_against_finite_differences():
    log_p, log_q = (t.requires_grad_() for t in random_pairs(4, 3))
    for divergence in (*dv.DIVERGENCES.values(), lambda p, q: dv.alpha_divergence(p, q, 0.3)):
        assert torch.autograd.gradcheck(divergence, (log_p, log_q))


def test_maximum_likelihood_is_minimum_forward_kl():
    """-KL(P || G) = E_P[log G] + H(P) for any G, to 1e-6 (A39)."""
    log_p = two_modes()
    entropy = -(log_p.exp() * log_p).sum()
    for mu, sigma in [(-3.0, 0.8), (0.0, 3.0), (5.0, 1.0), (-8.0, 6.0)]:
        log_g = masses(mu, sigma)
        expected = (log_p.exp() * log_g).sum()
        assert abs(expected + entropy + dv.kl_divergence(log_p, log_g)) < 1e-6


def test_mixture_density_integrates_to_one_and_equals_scikit_learn():
    weights, means, stds = [0.6, 0.4], [-3.0, 3.0], [0.8, 1.7]
    log_density = dv.mixture_log_prob(GRID, weights, means, stds)
    assert dv.log_masses(log_density, GRID).exp().sum().item() == pytest.approx(1, abs=1e-9)
    library = GaussianMixture(2)
    library.weights_, library.means_ = np.array(weights), np.array(means)[:, None]
    library.covariances_ = np.square(stds)[:, None, None]
    library.precisions_cholesky_ = (1 / np.array(stds))[:, None, None]
    assert np.allclose(library.score_samples(GRID[:, None].numpy()), log_density)


# --- A probability of exactly 0 ------------------------------------------------------------------


def with_zeros(seed=0):
    """P and Q with a zero in both, one in P alone, one in Q alone; and the logits behind them."""
    logits = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(seed)).double()
    logits[:, :, 0], logits[0, :, 1], logits[1, :, 2] = -math.inf, -math.inf, -math.inf
    return [t.clone().requires_grad_() for t in logits]


def by_hand(name, p, q):
    """The same divergence from the probabilities, outcome by outcome, 0 log 0 = 0."""
    m = (p + q) / 2
    if name == "JS":
        return (scipy.special.rel_entr(p, m) + scipy.special.rel_entr(q, m)).sum(-1) / 2
    alpha = float(name)
    both = (p > 0) & (q > 0)
    overlap = np.where(both, p, 1) ** alpha * np.where(both, q, 1) ** (1 - alpha) * both
    return (1 - overlap.sum(-1)) / (alpha * (1 - alpha))


@pytest.mark.parametrize("name", ["JS", "0.3", "0.7"])
def test_zeros_have_the_right_value_and_the_right_gradient(name):
    """Gradients with respect to logits, through a softmax, as a training would ask for them."""
    divergence = (
        dv.js_divergence if name == "JS" else lambda p, q: dv.alpha_divergence(p, q, float(name))
    )
    a, b = with_zeros()
    value = divergence(a.log_softmax(-1), b.log_softmax(-1))
    p, q = (t.detach().softmax(-1).numpy() for t in (a, b))
    assert np.allclose(value.detach(), by_hand(name, p, q), atol=1e-12)
    for t, slope in zip((a, b), torch.autograd.grad(value.sum(), (a, b)), strict=True):
        assert torch.isfinite(slope).all() and (slope[t == -math.inf] == 0).all()
        for row, place in itertools.product(range(4), range(3, 6)):  # where no logit is infinite
            moved = []
            for h in (1e-6, -1e-6):
                new = t.detach().clone()
                new[row, place] += h
                pair = [(new if s is t else s.detach()).softmax(-1).numpy() for s in (a, b)]
                moved.append(by_hand(name, *pair)[row])
            numeric = (moved[0] - moved[1]) / 2e-6
            assert slope[row, place].item() == pytest.approx(numeric, abs=1e-7)


def test_kl_leaves_out_what_has_no_mass_in_p():
    a, b = with_zeros()
    log_p, log_q = a.log_softmax(-1), b.log_softmax(-1).nan_to_num(neginf=-50.0)
    value = dv.kl_divergence(log_p, log_q).sum()
    slope, other = torch.autograd.grad(value, (a, b), allow_unused=True)
    assert torch.isfinite(value) and torch.isfinite(slope).all() and torch.isfinite(other).all()


def test_without_overlap_the_gradient_is_zero_and_not_nan():
    log_p = torch.tensor([[0.0, -math.inf, -math.inf]], requires_grad=True)
    log_q = torch.tensor([[-math.inf, 0.0, -math.inf]], requires_grad=True)
    for divergence, value in (
        (dv.js_divergence, math.log(2)), (lambda p, q: dv.alpha_divergence(p, q, 0.5), 4.0),
    ):  # fmt: skip
        found = divergence(log_p, log_q)
        assert found.item() == pytest.approx(value)
        for slope in torch.autograd.grad(found.sum(), (log_p, log_q)):
            assert torch.isfinite(slope).all()
    chi = dv.alpha_divergence(*(t.detach() for t in (log_p, log_p)), 2.0)
    assert chi.item() == pytest.approx(0, abs=1e-12)  # zero in both: 0^2 / 0 counts nothing


def test_a_component_of_weight_zero_is_left_out():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.6, 0.0, 0.4], dtype=torch.float64, requires_grad=True)
    means = torch.tensor([-1.0, 5.0, 2.0], dtype=torch.float64, requires_grad=True)
    log_p = dv.mixture_log_prob(x, weights, means, [1.0, 1.0, 0.5])
    alone = dv.mixture_log_prob(x, [0.6, 0.4], [-1.0, 2.0], [1.0, 0.5])
    assert torch.equal(log_p, alone)
    for slope in torch.autograd.grad(log_p.sum(), (x, weights, means)):
        assert torch.isfinite(slope).all()
    with pytest.raises(ValueError, match="stds: expected numbers above 0"):
        dv.mixture_log_prob(x, [1.0], [0.0], [0.0])


def test_js_finds_data_that_have_zeros():
    """Data on a part of the grid: the fit by Jensen-Shannon had no gradient there."""
    log_p = masses(-1.0, 1.5).clone()
    log_p[(GRID + 1).abs() > 6] = -math.inf
    mu, sigma, value = dv.fit_normal(log_p, GRID, dv.js_divergence, (1.0, 3.0))
    assert (mu, sigma) == pytest.approx((-1.0, 1.5), abs=0.01) and value < 1e-4


# --- The fits of A38 and A40 ---------------------------------------------------------------------

STARTS = [(m, s) for m in (-5.0, -3.0, -1.0, 1.0, 3.0, 5.0) for s in (0.5, 1.5, 4.0)]


@pytest.mark.parametrize(
    ("name", "mu", "sigma"),
    [("forward KL", -0.60, 3.05), ("reverse KL", -3.0, 0.80), ("JS", -3.0, 0.80)],
)
def test_the_numbers_of_the_lecture(name, mu, sigma):
    fits = dv.fit_from_everywhere(two_modes(), GRID, dv.DIVERGENCES[name], STARTS)
    best, *_ = dv.minima(fits)[0]
    assert best[0].item() == pytest.approx(mu, abs=0.005)
    assert best[1].item() == pytest.approx(sigma, abs=0.005)


def test_forward_kl_has_one_minimum_the_moments_and_the_others_have_three():
    ends = {}
    for name, divergence in dv.DIVERGENCES.items():
        fits = dv.fit_from_everywhere(two_modes(), GRID, divergence, STARTS)
        ends[name], index = dv.minima(fits)
        assert torch.equal(ends[name][:, 2], ends[name][:, 2].sort().values)
        assert (ends[name][index] - fits)[:, :2].abs().max() < 0.05
    assert {name: len(found) for name, found in ends.items()} == {
        "forward KL": 1, "reverse KL": 3, "JS": 3,
    }  # fmt: skip
    moments = (-0.6, math.sqrt(0.64 + 9 - 0.36))
    assert ends["forward KL"][0, :2].tolist() == pytest.approx(moments, abs=1e-5)
    # each is a valley and no pass: all eight neighbours are higher
    for name, found in ends.items():
        for mu, sigma, value in found.tolist():
            for a, b in itertools.product((-1, 0, 1), repeat=2):
                moved = masses(mu + 0.02 * a, sigma * math.exp(0.01 * b))
                assert dv.DIVERGENCES[name](two_modes(), moved).item() >= value - 1e-12


def test_inside_the_family_all_three_find_the_data():
    for divergence in dv.DIVERGENCES.values():
        mu, sigma, value = dv.fit_normal(masses(-1.0, 1.5), GRID, divergence, (1.0, 3.0))
        assert (mu, sigma) == pytest.approx((-1.0, 1.5), abs=1e-4)
        assert abs(value) < 1e-8


# --- The generator of A37 ------------------------------------------------------------------------


def test_generator_has_the_density_that_it_claims_and_learns_by_the_one_loop():
    torch.manual_seed(0)
    model = dv.LinearGenerator(2.0, 0.5)
    x = model.sample(100_000)
    assert x.mean().item() == pytest.approx(2, abs=0.01)
    assert x.std().item() == pytest.approx(0.5, rel=0.01)
    assert model(torch.tensor(-2.0)).item() == pytest.approx(1.0)
    one, two = (model.sample(5, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two) and not torch.equal(one, model.sample(5))
    points = torch.randn(5)
    assert torch.allclose(model.log_prob(points), Normal(2.0, 0.5).log_prob(points))
    assert model.loss(points).item() == pytest.approx(-model.log_prob(points).mean().item())
    data = 3 + 2 * torch.randn(2_000)
    learned = fit(
        dv.LinearGenerator(), TensorBatches(data, batch_size=2_000), 400, lr=0.1, progress=False
    ).model
    assert learned.mu.item() == pytest.approx(data.mean().item(), abs=5e-3)
    assert learned.log_sigma.exp().item() == pytest.approx(data.std(correction=0).item(), abs=5e-3)


# --- Bad input -----------------------------------------------------------------------------------


def test_bad_input_is_named():
    uneven = torch.tensor([0.0, 1.0, 3.0])
    for grid in (uneven, -GRID, GRID[:1]):
        with pytest.raises(ValueError, match="grid: expected"):
            dv.log_masses(torch.zeros(len(grid)), grid)
    with pytest.raises(
        ValueError, match="weights: expected numbers >= 0 with the sum 1, got the sum 1.2"
    ):
        dv.mixture_log_prob(GRID, [0.6, 0.6], [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="sigma: expected a finite number above 0, got 0"):
        dv.LinearGenerator(sigma=0)
    for start in ((0.0, -1.0), (20.0, 1.0), (0.0, 0.001)):
        with pytest.raises(ValueError, match="start: expected mu in"):
            dv.fit_normal(two_modes(), GRID, dv.kl_divergence, start)
    apart = torch.where(GRID < 0, 0.0, -math.inf).log_softmax(0)
    with pytest.raises(
        ValueError,
        match="start: expected a divergence that is a finite number there, got an infinite",
    ):
        dv.fit_normal(apart, GRID, dv.reverse_kl, (0.0, 1.0))
    with pytest.raises((TypeError, ValueError), match="n: expected"):
        dv.LinearGenerator().sample(0)
