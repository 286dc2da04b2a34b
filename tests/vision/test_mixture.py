"""The simplest generators of images: probabilities, EM, samples."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical

from genai_utils import evaluation
from genai_utils.vision import mixture
from tests.card import Card


def binary(n, size, seed=0):
    g = torch.Generator().manual_seed(seed)
    shade = torch.rand(1, 1, size, size, generator=g)
    return (torch.rand(n, 1, size, size, generator=g) < shade).float()


def test_probabilities_of_all_images_add_up_to_one():
    pixels = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    model = mixture.BernoulliMixture(
        0.05 + 0.9 * torch.rand(3, 1, 2, 2), torch.tensor([0.2, 0.3, 0.5])
    )
    assert model.log_prob(pixels).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(model.responsibilities(pixels).sum(1), torch.ones(16))


def test_random_pixels_cost_one_bit_each():
    model = mixture.BernoulliMixture(torch.full((1, 1, 28, 28), 0.5))
    nats = -model.log_prob(binary(5, 28))
    assert torch.allclose(nats, torch.full((5,), 784 * math.log(2)))
    assert evaluation.bits_per_dim(nats.double(), 784).numpy() == pytest.approx(1, abs=1e-5)


def test_mixture_likelihood_equals_the_library_also_where_probabilities_underflow():
    torch.manual_seed(1)
    means, weights = 0.05 + 0.9 * torch.rand(4, 1, 30, 30), torch.rand(4).softmax(0)
    model, x = mixture.BernoulliMixture(means, weights), binary(6, 30)
    parts = Bernoulli(means.double()).log_prob(x[:, None].double()).sum((-3, -2, -1))  # (6, 4)
    library = torch.logsumexp(weights.double().log() + parts, dim=1)
    assert (library < -500).all() and library.exp().float().max() == 0
    assert torch.allclose(model.log_prob(x, chunk=4).double(), library, rtol=1e-5)
    assert model.loss(x).item() == pytest.approx(-library.mean().item(), rel=1e-5)


def test_samples_have_the_models_means_and_follow_from_their_code():
    g = torch.Generator().manual_seed(0)
    means = torch.tensor([[0.1, 0.9], [0.5, 0.2]]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    means[1] = 1 - means[0]
    model = mixture.BernoulliMixture(means, torch.tensor([0.25, 0.75]))
    x = model.sample(40_000, generator=g)
    assert torch.allclose(x.mean(0), 0.25 * means[0] + 0.75 * means[1], atol=0.02)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    u = torch.full((2, 1, 2, 2), 0.3)
    expected = torch.tensor([[[0.0, 1], [1, 0]], [[1.0, 0], [1, 1]]])
    assert torch.equal(model(torch.tensor([0, 1]), u)[:, 0], expected)


def test_a_seed_draws_the_same_images_on_a_card():
    x = binary(40, 4)
    here = mixture.fit_mixture(x, 3, 5).sample(6, torch.Generator().manual_seed(0))
    with Card():
        model = mixture.fit_mixture(x.to("cuda"), 3, 5)
        there = model.sample(6, torch.Generator().manual_seed(0))
        assert there.device.type == "cuda" and model.log_prob(there).device.type == "cuda"
        assert torch.equal(there.cpu(), here)


def test_em_step_equals_the_same_in_distributions():
    g = torch.Generator().manual_seed(5)
    x, means = binary(30, 3).flatten(1), 0.1 + 0.8 * torch.rand(4, 9, generator=g)
    weights = torch.tensor([0.6, 0.2, 0.15, 0.05])
    log_joint = weights.log() + Bernoulli(means).log_prob(x[:, None]).sum(-1)
    r = Categorical(logits=log_joint).probs
    new_weights, new_means = mixture.em_step(x, weights, means, 0.5)
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
        model = mixture.BernoulliMixture(means.view(3, 1, 4, 4), weights)
        prior = 0.7 * (means.log() + torch.log1p(-means)).sum()
        values.append((model.log_prob(x).sum() + prior).item())
        weights, means = mixture.em_step(x.flatten(1), weights, means, 0.7)
    assert weights.sum().item() == pytest.approx(1)
    assert np.diff(values).min() > -1e-9 and values[-1] > values[0] + 10


def test_a_component_that_no_image_belongs_to_keeps_its_mean():
    """Without a prior it would be 0 / 0."""
    x = torch.ones(5, 9, dtype=torch.float64)
    means = torch.full((2, 9), 0.5, dtype=torch.float64)
    weights, new = mixture.em_step(x, torch.tensor([1.0, 0.0], dtype=torch.float64), means, 0.0)
    assert weights.tolist() == [1.0, 0.0]
    assert torch.equal(new[0], torch.ones(9).double()) and torch.equal(new[1], means[1])


def test_arrays_are_taken_and_an_empty_drawer_is_never_drawn():
    x = binary(20, 4)
    means, weights = np.full((2, 1, 4, 4), 0.3), [0.0, 1.0]
    model = mixture.BernoulliMixture(means, weights)
    assert torch.isfinite(model.log_prob(x)).all()
    assert torch.equal(model.log_prob(x), model.log_prob(x.numpy()))
    assert (model.responsibilities(x)[:, 0] == 0).all()
    fitted = mixture.fit_mixture(x.numpy(), 3, 5)
    assert torch.equal(fitted.means, mixture.fit_mixture(x, 3, 5).means)


def test_mixture_finds_the_parts_of_made_up_images():
    means = torch.full((3, 1, 4, 4), 0.1)
    for k in range(3):
        means[k, :, k] = 0.9
    truth = mixture.BernoulliMixture(means, torch.tensor([0.5, 0.3, 0.2]))
    x = truth.sample(3_000, generator=torch.Generator().manual_seed(0))
    found = mixture.fit_mixture(x, 3, 30, seed=1)
    order = [(found.means - m).abs().flatten(1).sum(1).argmin().item() for m in means]
    assert sorted(order) == [0, 1, 2]
    assert torch.allclose(found.means[order], means, atol=0.05)
    assert torch.allclose(found.weights[order], truth.weights, atol=0.03)
    assert found.log_prob(x).mean() > truth.log_prob(x).mean() - 0.01


def test_one_component_is_the_mean_image():
    x = binary(500, 5)
    model = mixture.fit_mixture(x, 1, 1, prior=1e-3)
    inside = x.mean(0).clamp(1e-3, 1 - 1e-3)
    assert torch.allclose(model.means[0], inside, atol=2e-3)


def test_bad_images_are_named():
    with pytest.raises(ValueError, match=r"shape \(K, 1, H, H\)"):
        mixture.BernoulliMixture(torch.rand(3, 4))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        mixture.BernoulliMixture(binary(3, 4))
    with pytest.raises(ValueError, match="weights: expected 2 numbers >= 0 with the sum 1"):
        mixture.BernoulliMixture(torch.full((2, 1, 3, 3), 0.5), torch.ones(2))
    model = mixture.BernoulliMixture(torch.full((2, 1, 3, 3), 0.5))
    with pytest.raises(ValueError, match="dynamic_binarize"):
        model.log_prob(torch.rand(2, 1, 3, 3))
    with pytest.raises(ValueError, match=r"\(B, 1, 3, 3\)"):
        model.log_prob(torch.zeros(2, 1, 4, 4))
    with pytest.raises((TypeError, ValueError), match="n: expected"):
        model.sample(1.5)
    x = binary(4, 3)
    with pytest.raises(ValueError, match="components: expected a whole number from 1 to 4, got 5"):
        mixture.fit_mixture(x, 5, 1)
    with pytest.raises(ValueError, match="prior: expected"):
        mixture.fit_mixture(x, 2, 1, prior=0)
    with pytest.raises(ValueError, match="dynamic_binarize"):
        mixture.fit_mixture(torch.rand(4, 1, 3, 3), 2, 1)
