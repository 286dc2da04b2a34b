"""Divergences and the simplest generators: identities of chapter 19 against known answers."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.mixture import GaussianMixture
from torch.distributions import Bernoulli, Categorical, Normal
from torch.distributions import kl_divergence as library_kl

from genai_utils import evaluation
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


def binary(n, size, seed=0):
    g = torch.Generator().manual_seed(seed)
    shade = torch.rand(1, 1, size, size, generator=g)
    return (torch.rand(n, 1, size, size, generator=g) < shade).float()


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
    points = torch.randn(5)
    assert torch.allclose(model.log_prob(points), Normal(2.0, 0.5).log_prob(points))
    assert model.loss(points).item() == pytest.approx(-model.log_prob(points).mean().item())
    data = 3 + 2 * torch.randn(2_000)
    learned = fit(
        dv.LinearGenerator(), TensorBatches(data, batch_size=2_000), 400, lr=0.1, progress=False
    ).model
    assert learned.mu.item() == pytest.approx(data.mean().item(), abs=5e-3)
    assert learned.log_sigma.exp().item() == pytest.approx(data.std(correction=0).item(), abs=5e-3)


# --- Generators of images ------------------------------------------------------------------------


def test_probabilities_of_all_images_add_up_to_one():
    pixels = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    model = dv.BernoulliMixture(0.05 + 0.9 * torch.rand(3, 1, 2, 2), torch.tensor([0.2, 0.3, 0.5]))
    assert model.log_prob(pixels).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(model.responsibilities(pixels).sum(1), torch.ones(16))


def test_random_pixels_cost_one_bit_each():
    model = dv.BernoulliMixture(torch.full((1, 1, 28, 28), 0.5))
    nats = -model.log_prob(binary(5, 28))
    assert torch.allclose(nats, torch.full((5,), 784 * math.log(2)))
    assert evaluation.bits_per_dim(nats.double(), 784).numpy() == pytest.approx(1, abs=1e-5)


def test_mixture_likelihood_equals_the_library_also_where_probabilities_underflow():
    torch.manual_seed(1)
    means, weights = 0.05 + 0.9 * torch.rand(4, 1, 30, 30), torch.rand(4).softmax(0)
    model, x = dv.BernoulliMixture(means, weights), binary(6, 30)
    parts = Bernoulli(means.double()).log_prob(x[:, None].double()).sum((-3, -2, -1))  # (6, 4)
    library = torch.logsumexp(weights.double().log() + parts, dim=1)
    assert (library < -500).all() and library.exp().float().max() == 0
    assert torch.allclose(model.log_prob(x, chunk=4).double(), library, rtol=1e-5)
    assert model.loss(x).item() == pytest.approx(-library.mean().item(), rel=1e-5)


def test_samples_have_the_models_means_and_follow_from_their_code():
    g = torch.Generator().manual_seed(0)
    means = torch.tensor([[0.1, 0.9], [0.5, 0.2]]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    means[1] = 1 - means[0]
    model = dv.BernoulliMixture(means, torch.tensor([0.25, 0.75]))
    x = model.sample(40_000, generator=g)
    assert torch.allclose(x.mean(0), 0.25 * means[0] + 0.75 * means[1], atol=0.02)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    u = torch.full((2, 1, 2, 2), 0.3)
    expected = torch.tensor([[[0.0, 1], [1, 0]], [[1.0, 0], [1, 1]]])
    assert torch.equal(model(torch.tensor([0, 1]), u)[:, 0], expected)


def test_em_step_equals_the_same_in_distributions():
    g = torch.Generator().manual_seed(5)
    x, means = binary(30, 3).flatten(1), 0.1 + 0.8 * torch.rand(4, 9, generator=g)
    weights = torch.tensor([0.6, 0.2, 0.15, 0.05])
    log_joint = weights.log() + Bernoulli(means).log_prob(x[:, None]).sum(-1)
    r = Categorical(logits=log_joint).probs
    new_weights, new_means = dv.em_step(x, weights, means, 0.5)
    assert torch.allclose(new_weights, r.mean(0), atol=1e-6)
    for k in range(4):
        seen = (r[:, k, None] * x).sum(0) + 0.5, (r[:, k, None] * (1 - x)).sum(0) + 0.5
        assert torch.allclose(new_means[k], seen[0] / (seen[0] + seen[1]), atol=1e-6)


def test_em_step_never_lowers_the_objective():
    """log-likelihood plus log prior, which EM with pseudo-counts climbs (Dempster et al. 1977)."""
    x = torch.cat([binary(60, 4, seed) for seed in (1, 2, 3)]).double()
    g = torch.Generator().manual_seed(4)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    means = 0.25 + 0.5 * torch.rand(3, 16, generator=g, dtype=torch.float64)
    values = []
    for _ in range(15):
        model = dv.BernoulliMixture(means.view(3, 1, 4, 4), weights)
        prior = 0.7 * (means.log() + torch.log1p(-means)).sum()
        values.append((model.log_prob(x).sum() + prior).item())
        weights, means = dv.em_step(x.flatten(1), weights, means, 0.7)
    assert weights.sum().item() == pytest.approx(1)
    assert np.diff(values).min() > -1e-9 and values[-1] > values[0] + 10


def test_mixture_finds_the_parts_of_made_up_images():
    means = torch.full((3, 1, 4, 4), 0.1)
    for k in range(3):
        means[k, :, k] = 0.9
    truth = dv.BernoulliMixture(means, torch.tensor([0.5, 0.3, 0.2]))
    x = truth.sample(3_000, generator=torch.Generator().manual_seed(0))
    found = dv.fit_mixture(x, 3, 30, seed=1)
    order = [(found.means - m).abs().flatten(1).sum(1).argmin().item() for m in means]
    assert sorted(order) == [0, 1, 2]
    assert torch.allclose(found.means[order], means, atol=0.05)
    assert torch.allclose(found.weights[order], truth.weights, atol=0.03)
    assert found.log_prob(x).mean() > truth.log_prob(x).mean() - 0.01


def test_one_component_is_the_mean_image():
    x = binary(500, 5)
    model = dv.fit_mixture(x, 1, 1, prior=1e-3)
    inside = x.mean(0).clamp(1e-3, 1 - 1e-3)
    assert torch.allclose(model.means[0], inside, atol=2e-3)


def test_nearest_distance_equals_the_full_table_and_is_exactly_zero_for_copies():
    g = torch.Generator().manual_seed(0)
    x, others = torch.rand(7, 1, 3, 3, generator=g), torch.rand(20, 1, 3, 3, generator=g)
    table = torch.cdist(x.flatten(1), others.flatten(1)).min(1).values
    assert torch.allclose(dv.nearest_distance(x, others, chunk=3), table, atol=1e-5)
    assert dv.nearest_distance(others[:5], others).max() == 0


# --- Bad input -----------------------------------------------------------------------------------


def test_bad_input_is_named():
    uneven = torch.tensor([0.0, 1.0, 3.0])
    for grid in (uneven, -GRID, GRID[:1]):
        with pytest.raises(ValueError, match="grid: expected"):
            dv.log_masses(torch.zeros(len(grid)), grid)
    with pytest.raises(ValueError, match="weights: expected .* they give 1.2"):
        dv.mixture_log_prob(GRID, [0.6, 0.6], [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="sigma > 0"):
        dv.LinearGenerator(sigma=0)
    for start in ((0.0, -1.0), (20.0, 1.0), (0.0, 0.001)):
        with pytest.raises(ValueError, match="start: expected mu in"):
            dv.fit_normal(two_modes(), GRID, dv.kl_divergence, start)
    apart = torch.where(GRID < 0, 0.0, -math.inf).log_softmax(0)
    with pytest.raises(ValueError, match="not finite at the start"):
        dv.fit_normal(apart, GRID, dv.reverse_kl, (0.0, 1.0))
    with pytest.raises((TypeError, ValueError), match="n: expected"):
        dv.LinearGenerator().sample(0)


def test_bad_images_are_named():
    with pytest.raises(ValueError, match=r"shape \(K, 1, H, H\)"):
        dv.BernoulliMixture(torch.rand(3, 4))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        dv.BernoulliMixture(binary(3, 4))
    with pytest.raises(ValueError, match="the sum 1"):
        dv.BernoulliMixture(torch.full((2, 1, 3, 3), 0.5), torch.ones(2))
    model = dv.BernoulliMixture(torch.full((2, 1, 3, 3), 0.5))
    with pytest.raises(ValueError, match="dynamic_binarize"):
        model.log_prob(torch.rand(2, 1, 3, 3))
    with pytest.raises(ValueError, match=r"\(B, 1, 3, 3\)"):
        model.log_prob(torch.zeros(2, 1, 4, 4))
    with pytest.raises((TypeError, ValueError), match="n: expected"):
        model.sample(1.5)
    x = binary(4, 3)
    with pytest.raises(ValueError, match="at most the 4 images"):
        dv.fit_mixture(x, 5, 1)
    with pytest.raises(ValueError, match="prior: expected"):
        dv.fit_mixture(x, 2, 1, prior=0)
    with pytest.raises(ValueError, match="dynamic_binarize"):
        dv.fit_mixture(torch.rand(4, 1, 3, 3), 2, 1)
    with pytest.raises(ValueError, match="equal width"):
        dv.nearest_distance(torch.zeros(3, 4), torch.zeros(3, 5))
