"""The mathematics of the VAE: each identity of chapter 24 against an independent computation."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from genai_utils.vision.vae import (
    VAE,
    bernoulli_log_likelihood,
    free_bits,
    gaussian_kl,
    gaussian_log_likelihood,
    iwae_bound,
    linear_gaussian_elbo,
    linear_gaussian_log_prob,
    reparameterize,
    standard_normal_log_prob,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random_gaussian(batch=5, code=3):
    return torch.randn(batch, code), torch.randn(batch, code)


# --- The terms -----------------------------------------------------------------------------------


def test_kl_equals_the_library_and_a_monte_carlo_mean():
    mu, logvar = random_gaussian()
    q = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    assert torch.allclose(gaussian_kl(mu, logvar), kl_divergence(q, p), atol=1e-5)
    c = q.sample((200_000,))
    monte_carlo = (q.log_prob(c) - p.log_prob(c)).mean(dim=0)
    assert torch.allclose(gaussian_kl(mu, logvar), monte_carlo, rtol=0.02, atol=0.02)


def test_kl_is_zero_only_at_the_prior():
    zero = torch.zeros(4, 2)
    assert gaussian_kl(zero, zero).abs().max() == 0
    assert (gaussian_kl(zero + 0.1, zero) > 0).all()
    assert (gaussian_kl(zero, zero + 0.1) > 0).all()
    assert (gaussian_kl(zero, zero - 0.1) > 0).all()


def test_gradients_against_finite_differences():
    mu, logvar = (t.double().requires_grad_() for t in random_gaussian())
    eps = torch.randn(5, 3, dtype=torch.float64)
    x = torch.bernoulli(torch.full((5, 1, 2, 2), 0.5)).double()
    logits = torch.randn(5, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    log_w = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(gaussian_kl, (mu, logvar))
    assert check(lambda m, s: reparameterize(m, s, eps), (mu, logvar))
    assert check(lambda a: bernoulli_log_likelihood(x, a), (logits,))
    assert check(lambda a: gaussian_log_likelihood(x, a, 0.3), (logits,))
    assert check(iwae_bound, (log_w,))


def test_reparameterized_samples_have_the_right_moments_and_let_gradients_through():
    mu = torch.tensor([1.0, -2.0], requires_grad=True)
    logvar = torch.tensor([0.0, math.log(9.0)], requires_grad=True)
    c = reparameterize(mu, logvar, torch.randn(400_000, 2))
    assert torch.allclose(c.mean(dim=0), mu, atol=0.03)
    assert torch.allclose(c.std(dim=0), torch.tensor([1.0, 3.0]), rtol=0.01)
    # d E[c^2] / d mu = 2 mu and d E[c^2] / d logvar = sigma^2
    (c**2).sum(dim=1).mean().backward()
    assert torch.allclose(mu.grad, 2 * mu, atol=0.05)
    assert torch.allclose(logvar.grad, logvar.exp(), rtol=0.02)


def test_likelihoods_equal_the_library_with_one_code_and_with_many():
    x = torch.bernoulli(torch.full((4, 1, 3, 3), 0.3))
    a = torch.randn(6, 4, 1, 3, 3)
    bernoulli = Bernoulli(logits=a).log_prob(x).sum(dim=(-3, -2, -1))
    normal = Normal(a, 0.3).log_prob(x).sum(dim=(-3, -2, -1))
    assert torch.allclose(bernoulli_log_likelihood(x, a), bernoulli, atol=1e-4)
    assert torch.allclose(bernoulli_log_likelihood(x, a[2]), bernoulli[2], atol=1e-4)
    assert torch.allclose(gaussian_log_likelihood(x, a, 0.3), normal, rtol=1e-5)
    assert torch.allclose(gaussian_log_likelihood(x, a[2], 0.3), normal[2], rtol=1e-5)
    prior = Normal(0.0, 1.0).log_prob(a).sum(dim=-1)
    assert torch.allclose(standard_normal_log_prob(a), prior, atol=1e-5)


def test_iwae_bound_is_a_log_mean_and_does_not_underflow():
    log_w = torch.randn(50, 4)
    assert torch.allclose(iwae_bound(log_w), log_w.exp().mean(dim=0).log(), atol=1e-5)
    assert torch.allclose(iwae_bound(log_w - 1000), iwae_bound(log_w) - 1000, atol=1e-2)
    assert torch.equal(iwae_bound(log_w[:1]), log_w[0])


def test_free_bits_floors_the_mean_of_each_dimension():
    kl = torch.tensor([[0.0, 3.0, 0.1], [1.6, 0.2, 0.3]])  # means 0.8, 1.6 and 0.2
    assert free_bits(kl, 0.5) == pytest.approx(0.8 + 1.6 + 0.5)
    assert free_bits(kl, 0.0) == pytest.approx(kl.mean(dim=0).sum().item())


# --- Models whose log P(x) is known --------------------------------------------------------------


def test_linear_gaussian_model_identity_for_any_encoder():
    """log P = ELBO + KL(Q || posterior), and equality at the true posterior (A88)."""
    x, w, s2 = torch.tensor(0.9, dtype=torch.float64), 0.8, 0.5
    log_p = linear_gaussian_log_prob(x, w, s2)
    total = torch.tensor(w**2 + s2, dtype=torch.float64)
    assert torch.isclose(log_p, Normal(torch.zeros_like(x), total.sqrt()).log_prob(x))
    posterior_var = 1 / (1 + w**2 / s2)
    posterior = Normal(posterior_var * w * x / s2, math.sqrt(posterior_var))
    for mu, var in [(0.0, 1.0), (0.7, 0.2), (posterior.mean.item(), posterior_var)]:
        q = Normal(torch.tensor(mu, dtype=torch.float64), math.sqrt(var))
        elbo = linear_gaussian_elbo(x, w, s2, q.mean, q.variance)
        assert torch.isclose(elbo + kl_divergence(q, posterior), log_p, atol=1e-10)
        assert elbo <= log_p + 1e-12
    assert torch.isclose(elbo, log_p, atol=1e-10)


@pytest.fixture(scope="module")
def tiny():
    """A VAE with a 1-D code and 2 x 2 images: its P(x) can be integrated on a grid."""
    torch.manual_seed(1)
    model = VAE(size=2, code=1, width=8)
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.mul_(3)  # an untrained decoder hardly depends on its code
    grid = torch.linspace(-8, 8, 4001)[:, None]
    images = torch.tensor([[i >> b & 1 for b in range(4)] for i in range(16)]).float()
    images = images.reshape(16, 1, 2, 2)
    with torch.no_grad():
        a = model.decode(grid)[:, None].expand(-1, 16, -1, -1, -1)
        log_joint = model.log_likelihood(images, a) + standard_normal_log_prob(grid)[:, None]
        log_p = torch.logsumexp(log_joint, dim=0) + math.log(16 / 4000)
    return model, images, log_p


def test_probabilities_of_all_images_sum_to_one(tiny):
    _, _, log_p = tiny
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-4)
    assert log_p.std() > 0.1  # not the uniform distribution


def test_importance_weighted_estimate_tends_to_log_p_from_below(tiny):
    model, images, log_p = tiny
    elbo = model.bound(images, samples=4000)
    copies = images.repeat(400, 1, 1, 1)
    few = model.log_prob(copies, samples=5).reshape(400, 16).mean(dim=0)
    many = model.log_prob(images, samples=20_000)
    assert (elbo <= few + 0.02).all() and (few <= log_p + 0.02).all()
    assert torch.allclose(many, log_p, atol=0.03)
    assert (log_p - elbo).mean() > 0.01  # an untrained encoder: the gap is real


def test_mean_log_weight_is_the_elbo(tiny):
    """The sampled KL term inside log w has the analytic KL as its mean."""
    model, images, _ = tiny
    torch.manual_seed(0)
    with torch.no_grad():
        sampled = model.log_weights(images, samples=20_000).mean(dim=0)
    torch.manual_seed(0)  # the same codes: only the two forms of the KL term differ
    bound = model.bound(images, samples=20_000, chunk=10**9)
    assert torch.allclose(sampled, bound, atol=0.03)


def test_loss_is_minus_the_mean_bound(tiny):
    model, images, _ = tiny
    torch.manual_seed(0)
    loss = model.loss(images)["loss"].item()
    torch.manual_seed(0)  # the same noise
    assert loss == pytest.approx(-model.bound(images, samples=1).mean().item(), abs=1e-4)


# --- The model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("size", [8, 28, 32])
def test_shapes(kind, size):
    model = VAE(size=size, code=6, width=8, kind=kind)
    x = torch.bernoulli(torch.rand(3, 1, size, size))
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (3, 6)
    assert model.decode(torch.randn(5, 3, 6)).shape == (5, 3, 1, size, size)
    assert model.sample(4).shape == (4, 1, size, size)
    assert model.sample(4).min() >= 0 and model.sample(4).max() <= 1
    assert model.log_prob(x, samples=3).shape == (3,)


def test_chunks_do_not_change_the_estimate():
    model = VAE(size=4, code=2, width=8)
    x = torch.bernoulli(torch.rand(6, 1, 4, 4))
    whole = model.log_prob(x, samples=5000, chunk=10**9)
    parts = model.log_prob(x, samples=5000, chunk=5000)
    assert parts.shape == whole.shape and torch.allclose(whole, parts, atol=0.05)
    whole, parts = model.bound(x, 5000, chunk=10**9), model.bound(x, 5000, chunk=10_000)
    assert parts.shape == whole.shape and torch.allclose(whole, parts, atol=0.05)


def test_training_lowers_the_loss_and_every_parameter_moves():
    from genai_utils.training import TensorBatches, fit

    prototypes = torch.bernoulli(torch.rand(4, 1, 8, 8))
    x = prototypes[torch.randint(4, (512,))]
    model = VAE(size=8, code=2, width=32)
    before = [p.clone() for p in model.parameters()]
    start = -model.bound(x).mean()
    fit(model, TensorBatches(x, batch_size=64), steps=300, lr=3e-3, progress=False)
    assert -model.bound(x).mean() < 0.25 * start  # 44 nats at the start, log 4 = 1.4 at best
    assert -model.bound(x, 50).mean() > math.log(4) - 0.05  # no bound exceeds the entropy
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_model_of_the_gpu_profile_trains_in_half_precision():
    """Chapter 24 takes the convolutional pair and bf16 on a card; here in small, on the CPU."""
    from genai_utils.training import TensorBatches, dynamic_binarize, fit

    x = torch.zeros(64, 1, 28, 28)
    x[:, :, 6:22, 10:18] = 0.9
    model = VAE(size=28, code=40, width=64, kind="conv")
    before = -model.bound(torch.bernoulli(x[:16])).mean()
    batches = TensorBatches(x, batch_size=16, transform=dynamic_binarize)
    result = fit(model, batches, steps=12, lr=2e-3, ema=0.9, precision="bf16", progress=False)
    assert result.ema_model.log_prob(torch.bernoulli(x[:2]), samples=10).isfinite().all()
    assert -model.bound(torch.bernoulli(x[:16])).mean() < 0.8 * before
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_the_recipe_is_the_main_model_of_the_chapter():
    from pathlib import Path

    from genai_utils.vision.vae import recipe

    model, batches, options = recipe()
    assert torch.isfinite(model.loss(batches(0))["loss"])
    assert set(batches(0).unique().tolist()) == {0.0, 1.0}  # binarised
    chapter = Path(__file__).parents[2] / "notebooks" / "24_vae.ipynb"
    text = chapter.read_text(encoding="utf-8")
    steps = f"{options['steps']:_}"
    assert f"steps = run.pick(ci=400, cpu={steps}," in text
    for name in ("lr", "warmup", "ema"):
        value = "2e-3" if name == "lr" else options[name]
        assert float(value) == options[name] and f"{name}={value}," in text


def test_without_noise_and_penalty_it_is_an_autoencoder():
    model = VAE(size=4, code=2, width=8, likelihood="gaussian", beta=0, noise=False)
    x = torch.rand(5, 1, 4, 4)
    mu, _ = model.encode(x)
    square = ((x - model.decode(mu)) ** 2).flatten(1).sum(dim=1).mean()
    expected = square / 2 + 16 / 2 * math.log(2 * math.pi)
    assert torch.isclose(model.loss(x)["loss"], expected)


def test_beta_weighs_the_penalty_only():
    x = torch.bernoulli(torch.rand(5, 1, 4, 4))
    terms = VAE(size=4, code=3, width=8, beta=2.5).loss(x)
    assert torch.isclose(terms["loss"], terms["reconstruction"] + 2.5 * terms["kl"])
    assert terms["kl"] > 1e-4


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"size": 0}, "size"),
        ({"code": -3}, "code"),
        ({"width": 2.5}, "width"),
        ({"kind": "deep"}, "dense"),
        ({"kind": "conv", "size": 30}, "multiple of 4"),
        ({"likelihood": "poisson"}, "bernoulli"),
        ({"std": 0.0}, "std"),
        ({"beta": -1}, "beta"),
    ],
)
def test_bad_settings_are_refused_in_words(arguments, words):
    with pytest.raises((TypeError, ValueError), match=words):
        VAE(**arguments)


def test_bad_input_is_refused_in_words():
    model = VAE(size=8, code=3, width=8)
    with pytest.raises(
        ValueError,
        match=r"x of this VAE: expected images of shape \(B, 1, 8, 8\), got \(2, 1, 28, 28\)",
    ):
        model.encode(torch.zeros(2, 1, 28, 28))
    with pytest.raises(ValueError, match=r"c: expected codes of shape \(\.\.\., 3\), got \(2, 4\)"):
        model.decode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.check_batch(torch.full((2, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.encode(torch.full((2, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match=r"\(2, 1, 28, 28\)"):
        model.loss(torch.zeros(2, 1, 28, 28))
    for n in (0, -1, 2.0):
        with pytest.raises((TypeError, ValueError), match="n: expected"):
            model.sample(n)
        with pytest.raises((TypeError, ValueError), match="samples: expected"):
            model.log_prob(torch.zeros(2, 1, 8, 8), samples=n)
        with pytest.raises((TypeError, ValueError), match="samples: expected"):
            model.bound(torch.zeros(2, 1, 8, 8), samples=n)


def test_a_pixel_that_is_sure_costs_nothing_or_everything():
    """p of exactly 0 or 1 has the logit -inf or inf; 0 log 0 = 0, in the gradient, too."""
    inf = math.inf
    a = torch.tensor([[inf, -inf, 0.0], [-inf, 0.0, 0.0]], requires_grad=True)
    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    log_p = bernoulli_log_likelihood(x, a)
    assert log_p[0].item() == pytest.approx(-math.log(2)) and log_p[1] < -1e30
    (slope,) = torch.autograd.grad(log_p[0], a)
    assert slope[0].tolist() == [0, 0, 0.5] and torch.isfinite(slope).all()


def test_a_code_without_spread_has_an_infinite_divergence_and_a_gradient():
    mu, logvar = torch.tensor([[0.3, -0.2]], requires_grad=True), torch.tensor([[-math.inf, 0.0]])
    logvar.requires_grad_()
    assert gaussian_kl(mu, logvar).item() == math.inf
    one, two = torch.autograd.grad(gaussian_kl(mu, logvar).sum(), (mu, logvar))
    assert torch.allclose(one, mu) and two.tolist() == [[-0.5, 0.0]]
    c = reparameterize(mu, logvar, torch.ones(1, 2))
    assert c[0, 0] == mu[0, 0]
    (slope,) = torch.autograd.grad(c.sum(), logvar)
    assert slope.tolist() == [[0.0, 0.5]]


def test_the_elbo_of_the_toy_has_a_gradient_for_its_noise():
    x, s2 = torch.tensor(0.9), torch.tensor(0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(linear_gaussian_elbo(x, 0.8, s2, 0.3, 0.7), s2)
    h = 1e-3
    ends = [linear_gaussian_elbo(x.double(), 0.8, 0.5 + d, 0.3, 0.7).item() for d in (h, -h)]
    assert slope.item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)


def test_log_of_sigmoid_is_taken_from_the_logits():
    x, a = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), -200.0)
    assert bernoulli_log_likelihood(x, a).item() == pytest.approx(-200)
    assert torch.isinf(F.sigmoid(a).log()).all()  # what the naive route gives
