"""The mathematics of diffusion: each identity of chapter 27 against an independent computation."""

import json
import math

import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)

from benchmarks import diffusion as benchmark
from genai_utils.training import fit
from genai_utils.vision.diffusion import (
    DDPM,
    Diffusion,
    class_or_none,
    cosine_betas,
    cumulative,
    ddim_step,
    denoised,
    grey_log_prob,
    guided,
    linear_betas,
    mixture_noise,
    noise_behind,
    noised,
    posterior,
    step_kl,
    step_mean,
)
from genai_utils.vision.unet import PointNet


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


class Exact(nn.Module):
    """The best network there is for data from N(m, s² I): a mixture of one."""

    def __init__(self, means, std, bar):
        super().__init__()
        self.means, self.std, self.bar = nn.Parameter(means), std, bar

    def forward(self, x, t, y=None):
        return mixture_noise(x, self.bar.to(x)[t], self.means, self.std)


def exact_chain(means, std, T=50, **options):
    beta = linear_betas(T)
    return Diffusion(Exact(means, std, cumulative(beta)), beta, **options)


def small(**options):
    return DDPM(8, width=8, mults=(1, 2), T=options.pop("T", 20), **options)


def run_of_betas(T=1_000):
    bar = cumulative(linear_betas(T))
    return bar[1:], bar[:-1], bar[1:] / bar[:-1]  # ᾱ_t, ᾱ_{t-1}, α_t


# --- Schedules -----------------------------------------------------------------------------------


def test_the_linear_schedule_is_that_of_the_paper():
    beta = linear_betas()
    assert beta[0].item() == 1e-4 and beta[-1].item() == pytest.approx(0.02) and len(beta) == 1_000
    assert beta.diff().std() < 1e-12
    # as much noise with a tenth of the steps
    assert linear_betas(100).sum() == pytest.approx(beta.sum().item(), rel=1e-9)
    assert cumulative(beta)[-1].item() == pytest.approx(
        4.036e-5, rel=1e-3
    )  # the paper's chain ends here


def test_the_cosine_schedule_makes_a_cosine_of_what_is_left():
    bar = cumulative(cosine_betas())
    u = torch.arange(1_000).double() / 1_000
    f = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    assert torch.allclose(bar[:-1], f / f[0], atol=1e-12)
    assert cosine_betas().max() == 0.999


def test_what_is_left_is_a_product():
    beta = torch.tensor([0.1, 0.2, 0.5])
    expected = torch.tensor([1, 0.9, 0.72, 0.36], dtype=torch.float64)
    assert torch.allclose(cumulative(beta), expected)


@pytest.mark.parametrize("beta, says", [
    ([0.2, 0.1], "never falls.*t = 2"), ([0.0, 0.1], "above 0"), ([0.1, 1.0], "below 1"),
    ([0.1, math.nan], "finite"), ([[0.1]], "a row"), ([], "at least one"),
])  # fmt: skip
def test_a_schedule_that_makes_no_sense_is_refused(beta, says):
    with pytest.raises(ValueError, match=says):
        cumulative(torch.tensor(beta))


# --- The algebra ---------------------------------------------------------------------------------


def test_one_step_of_noise_is_as_good_as_many():
    beta, n = linear_betas(100), 200_000
    x = torch.full((n, 1), 1.5)
    for b in beta[:60]:
        x = (1 - b).sqrt() * x + b.sqrt() * torch.randn(n, 1)
    bar = cumulative(beta)[60].float()
    once = noised(torch.full((n, 1), 1.5), bar.expand(n), torch.randn(n, 1))
    assert x.mean() == pytest.approx(1.5 * bar.sqrt().item(), abs=0.01)
    assert x.var() == pytest.approx(1 - bar.item(), rel=0.01)
    assert once.mean() == pytest.approx(x.mean().item(), abs=0.01)
    assert once.var() == pytest.approx(x.var().item(), rel=0.02)


def test_each_example_has_its_own_time():
    x, eps = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    bar = torch.tensor([1.0, 0.5, 0.0])
    found = noised(x, bar, eps)
    assert torch.equal(found[0], x[0]) and torch.equal(found[2], eps[2])
    assert torch.allclose(found[1], (x[1] + eps[1]) * 0.5**0.5)


def test_the_posterior_is_what_conditioning_a_joint_normal_gives():
    bar, before, alpha = run_of_betas()
    x, x_t = torch.randn(1_000, 1).double(), torch.randn(1_000, 1).double()
    mean, variance = posterior(x, x_t, bar, before)
    # (x_{t-1}, x_t) given x_0: means √before x, √bar x; variances; covariance √α (1 - before)
    gain = alpha.sqrt() * (1 - before) / (1 - bar)
    expected = before.sqrt() * x[:, 0] + gain * (x_t[:, 0] - bar.sqrt() * x[:, 0])
    assert torch.allclose(mean[:, 0], expected, atol=1e-12)
    assert torch.allclose(variance, (1 - before) - gain**2 * (1 - bar), atol=1e-12)
    assert mean[0] == x[0] and variance[0] == 0


def test_the_posterior_is_bayes_rule():
    bar, before = torch.tensor([0.3]).double(), torch.tensor([0.5]).double()
    x, x_t, alpha = torch.tensor([[0.7]]).double(), torch.tensor([[-0.4]]).double(), 0.6
    between = torch.linspace(-6, 6, 20_001).double()
    log_p = Normal(alpha**0.5 * between, 0.4**0.5).log_prob(x_t[0]) + Normal(
        before.sqrt() * x[0], (1 - before).sqrt()
    ).log_prob(between)
    p = log_p.softmax(0)
    mean, variance = posterior(x, x_t, bar, before)
    assert mean.item() == pytest.approx((p * between).sum().item(), abs=1e-6)
    assert variance.item() == pytest.approx((p * (between - mean) ** 2).sum().item(), abs=1e-6)


def test_the_mean_from_the_noise_is_the_posteriors():
    bar, before, _ = run_of_betas()
    x, eps = torch.randn(1_000, 3).double(), torch.randn(1_000, 3).double()
    x_t = noised(x, bar, eps)
    assert torch.allclose(denoised(x_t, eps, bar), x, atol=1e-9)
    expected = posterior(x, x_t, bar, before)[0]
    assert torch.allclose(step_mean(x_t, eps, bar, before), expected, atol=1e-9)


def test_the_velocity_on_the_circle_tells_noise_and_data():
    bar, x, eps = run_of_betas()[0], torch.randn(1_000, 3).double(), torch.randn(1_000, 3).double()
    angle = bar.sqrt().acos()
    x_t, v = torch.func.jvp(  # where x_t is, and how it moves as the angle grows
        lambda a: a.cos()[:, None] * x + a.sin()[:, None] * eps, (angle,), (torch.ones_like(angle),)
    )
    assert torch.allclose(x_t, noised(x, bar, eps), atol=1e-9)
    assert torch.allclose(noise_behind(x_t, v, bar), eps, atol=1e-9)
    # an error of v is not enlarged on its way to x_0, one of the noise is
    off = denoised(x_t, noise_behind(x_t, v + 1, bar), bar) - x
    assert torch.allclose(off, -(1 - bar).sqrt()[:, None].expand_as(x), atol=1e-9)


def test_ddim_with_all_its_noise_is_ddpm_and_with_none_a_map():
    bar, before, _ = run_of_betas()
    x_t, eps, z = (torch.randn(1_000, 2).double() for _ in range(3))
    mean, variance = posterior(denoised(x_t, eps, bar), x_t, bar, before)
    full = ddim_step(x_t, eps, bar, before, 1.0, z)
    assert torch.allclose(full, mean + variance.sqrt()[:, None] * z, atol=1e-9)
    x = torch.randn(1_000, 2).double()
    exact = noised(x, bar, eps)
    later = torch.full_like(bar, 0.9)
    early = bar < 0.9
    found = ddim_step(exact, eps, bar, later)[early]
    assert torch.allclose(found, noised(x, later, eps)[early], atol=1e-8)
    assert torch.allclose(ddim_step(exact, eps, bar, torch.ones_like(bar)), x, atol=1e-9)


def test_the_noise_of_ddim_is_a_share_of_ddpms():
    bar, before, _ = run_of_betas()
    x_t, eps, z = (torch.randn(1_000, 2).double() for _ in range(3))
    variance = 0.25 * posterior(x_t, x_t, bar, before)[1]  # eta^2 of it
    still = ddim_step(x_t, eps, bar, before, 0.5, torch.zeros_like(z))
    found = ddim_step(x_t, eps, bar, before, 0.5, z) - still
    assert torch.allclose(found, variance.sqrt()[:, None] * z, atol=1e-9)
    expected = before.sqrt()[:, None] * denoised(x_t, eps, bar)
    expected += (1 - before - variance).clamp(min=0).sqrt()[:, None] * eps
    assert torch.allclose(still, expected, atol=1e-9)


def test_guidance_goes_past_the_class():
    none, of_class = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    assert torch.equal(guided(none, of_class, 0), of_class)
    assert torch.equal(guided(none, of_class, 2.0), torch.tensor([[3.0, 1.0]]))
    with pytest.raises(ValueError, match="scale: expected a finite number of at least 0, got -1"):
        guided(none, of_class, -1)


def test_the_divergence_of_a_step_is_the_librarys():
    a, b = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    v, w = torch.rand(4) + 0.1, torch.rand(4) + 0.1

    def normal(mean, variance):
        return Independent(Normal(mean, variance.sqrt()[:, None, None].expand_as(mean)), 2)

    expected = kl_divergence(normal(a, v), normal(b, w))
    assert torch.allclose(step_kl(a, v, b, w), expected, atol=1e-5)


def test_probabilities_of_grey_values_add_up_to_one():
    grey = torch.linspace(-1, 1, 256)[:, None]
    for mean, std in ((0.2, 0.05), (-1.3, 0.02), (0.9, 0.5)):
        log_p = grey_log_prob(grey, torch.full_like(grey, mean), torch.full((256,), std))
        assert log_p.exp().sum() == pytest.approx(1, abs=1e-6)
    # a narrow bin is its width times the density
    log_p = grey_log_prob(grey[100:101], torch.full((1, 1), -0.2), torch.tensor([0.4]))
    density = Normal(-0.2, 0.4).log_prob(grey[100]) + math.log(2 / 255)
    assert log_p.item() == pytest.approx(density.item(), abs=1e-3)


def test_the_best_noise_is_the_score_of_the_mixture():
    means, std, weights = torch.randn(3, 2).double(), 0.3, torch.tensor([0.2, 0.5, 0.3]).double()
    x = torch.randn(5, 2).double().requires_grad_()
    bar = torch.tensor([0.999, 0.8, 0.5, 0.1, 0.01]).double()
    scale = (bar * std**2 + 1 - bar).sqrt()[:, None, None].expand(5, 3, 2)
    parts = Independent(Normal(bar.sqrt()[:, None, None] * means, scale), 1)
    log_q = MixtureSameFamily(Categorical(weights.expand(5, 3)), parts).log_prob(x)
    score = torch.autograd.grad(log_q.sum(), x)[0]
    found = mixture_noise(x.detach(), bar, means, std, weights)
    assert torch.allclose(found, -(1 - bar).sqrt()[:, None] * score, atol=1e-10)


def test_diffusers_once_gave_the_same_numbers():
    """They are stored with their version: `python benchmarks/diffusion.py --store`."""
    stored = json.loads(benchmark.STORED.read_text(encoding="utf-8"))
    found = benchmark.ours()
    assert (
        f"diffusers=={stored['diffusers']}"
        in benchmark.STORED.with_name("requirements.txt").read_text()
    )
    assert found.keys() == stored["numbers"].keys() and len(found) == 10
    for name, values in found.items():
        assert values == pytest.approx(stored["numbers"][name], abs=1e-4), name  # theirs: float32


# --- The chain -----------------------------------------------------------------------------------


def test_training_finds_the_best_noise_of_known_data():
    means, std = torch.tensor([[-1.0], [1.0]]), 0.2
    chain = Diffusion(PointNet(1, width=32), linear_betas(50))

    class Points(nn.Module):
        def __init__(self):
            super().__init__()
            self.chain = chain

        def loss(self, x):
            return self.chain.loss(x)

    def batches(step):
        g = torch.Generator().manual_seed(step)
        pick = torch.randint(2, (256,), generator=g)
        return means[pick] + std * torch.randn(256, 1, generator=g)

    before = chain.loss(batches(10_000)).item()
    fit(Points(), batches, 400, lr=3e-3, progress=False)
    x, t = torch.linspace(-2, 2, 41)[:, None], torch.full((41,), 25)
    best = mixture_noise(x, chain.bar[t], means, std)
    with torch.no_grad():
        error = (chain.eps(x, t) - best).square().mean().item()
    assert before > 0.9 and error < 0.05


def test_a_chain_whose_network_says_the_velocity_is_the_same_chain():
    means, std = torch.tensor([[-1.0, 0.5], [1.0, 0.0]]), 0.4
    exact = exact_chain(means, std)

    class Velocity(Exact):
        def forward(self, x, t, y=None):
            bar = self.bar.to(x)[t][:, None]
            return (super().forward(x, t) - (1 - bar).sqrt() * x) / bar.sqrt()

    beta = linear_betas(50)
    chain = Diffusion(Velocity(means, std, cumulative(beta)), beta, output="velocity")
    x, t = torch.randn(64, 2), torch.randint(1, 51, (64,))
    assert torch.allclose(chain.eps(x, t), exact.eps(x, t), atol=1e-5)
    torch.manual_seed(1)
    loss = chain.loss(x)
    torch.manual_seed(1)
    assert loss.item() == pytest.approx(exact.loss(x).item(), rel=1e-5)  # Algorithm 1's
    for eta in (None, 0.0):
        torch.manual_seed(1)
        found = chain.walk(x, eta=eta)[0]
        torch.manual_seed(1)
        assert torch.allclose(found, exact.walk(x, eta=eta)[0], atol=1e-3)


def test_a_network_of_zeros_says_that_the_image_is_noise_and_data_in_their_shares():
    chain = small(output="velocity").chain  # its last layer begins with zeros
    x_t, t = torch.randn(3, 1, 8, 8), torch.tensor([1, 10, 20])
    eps, bar = chain.eps(x_t, t), chain.bar[t].reshape(3, 1, 1, 1)
    assert torch.allclose(eps, (1 - bar).sqrt() * x_t)
    assert torch.allclose(denoised(x_t, eps, chain.bar[t]), bar.sqrt() * x_t, atol=1e-3)
    # another network in its place, as a walk has it; its few digits leave those of x_t alone
    other = chain.eps(x_t, t, net=lambda x, t, y: torch.ones_like(x).bfloat16())
    assert torch.equal(other, noise_behind(x_t, torch.ones_like(x_t), chain.bar[t]))
    assert small().chain.eps(x_t, t, net=lambda x, t, y: x.bfloat16()).dtype == x_t.dtype
    model = small(classes=3, output="velocity")
    told(model.chain.net, [])
    y = torch.tensor([0, 2, 1])
    both = noise_behind(x_t, guided(3.0, y.float(), 2.0).reshape(3, 1, 1, 1), model.chain.bar[t])
    assert torch.allclose(model.chain.eps(x_t, t, y, guidance=2.0), both, atol=1e-5)


@pytest.mark.parametrize("variance, width", [("posterior", 0.58), ("step", 0.602)])
def test_algorithm_2_with_the_best_noise_draws_the_data(variance, width):
    mean, std = torch.tensor([[0.5]]), 0.6
    chain = exact_chain(mean, std, T=200, variance=variance)
    x, kept = chain.walk(torch.randn(20_000, 1), keep=(200, 100))
    assert x.mean().item() == pytest.approx(0.5, abs=0.02)
    assert x.std().item() == pytest.approx(width, rel=0.02)  # 0.6 for many steps
    middle = chain.bar[100]
    expected = (middle * std**2 + 1 - middle).sqrt()
    assert kept[100].std() == pytest.approx(expected.item(), rel=0.03)


def test_without_its_noise_algorithm_2_shrinks_the_data():
    chain = exact_chain(torch.tensor([[0.0]]), 0.6, T=200)
    chain.variance.zero_()
    assert chain.walk(torch.randn(5_000, 1))[0].std() < 0.3
    assert chain.walk(torch.randn(5_000, 1), eta=0.0)[0].std() == pytest.approx(0.6, rel=0.05)


def test_the_last_step_of_algorithm_2_adds_nothing():
    chain = exact_chain(torch.tensor([[0.0]]), 0.6)
    x, t = torch.randn(4, 1), torch.tensor([1, 1, 2, 2])
    found = chain.step(x, t, torch.full((4, 1), 100.0))
    mean = chain.mean(x, t, chain.eps(x, t))
    assert torch.equal(found[:2], mean[:2]) and (found[2:] - mean[2:]).min() > 1


def test_long_steps_end_where_short_ones_do():
    chain = exact_chain(torch.tensor([[-1.0], [1.0]]), 0.2, T=400)
    x = torch.randn(2_000, 1)
    far = chain.walk(x, chain.times(100), eta=0.0)[0]
    near = chain.walk(x, eta=0.0)[0]
    assert (far - near).abs().mean() < 0.02
    assert chain.times(3) == [400, 267, 133, 0] and chain.times()[:2] == [400, 399]


def test_the_bound_is_tight_for_normal_data_and_many_steps():
    mean, std, n = torch.tensor([[0.3, -0.2]]), 0.5, 20_000
    chain = exact_chain(mean, std, T=200, variance="step")
    x = mean + std * torch.randn(n, 2)
    log_p = Independent(Normal(mean.expand(n, 2), std), 1).log_prob(x)
    gap = log_p - chain.bound(x)
    error = gap.std().item() / n**0.5
    assert -3 * error < gap.mean().item() < 0.1 + 3 * error and error < 0.02
    part = (chain.bound(x, draws=20) - chain.bound(x)).detach()
    assert abs(part.mean().item()) < 4 * part.std().item() / n**0.5


def test_three_terms_say_what_the_joint_form_says():
    """log P(x_0 … x_T) - log Q(x_1 … x_T | x_0), drawn, is the sum of the three terms."""
    beta, n = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), 100_000
    chain = Diffusion(Exact(torch.tensor([[0.4]]), 0.5, cumulative(beta)), beta)
    x_0 = torch.full((n, 1), 0.7)
    x, joint = x_0, torch.zeros(n)
    for t in range(1, 6):
        alpha = chain.bar[t] / chain.bar[t - 1]
        forward = Normal(alpha.sqrt() * x, (1 - alpha).sqrt())
        later = forward.sample()
        time = torch.full((n,), t)
        back = Normal(chain.mean(later, time, chain.eps(later, time)), chain.variance[t].sqrt())
        joint += (back.log_prob(x) - forward.log_prob(later))[:, 0].detach()
        x = later
    joint += Normal(0.0, 1.0).log_prob(x)[:, 0]
    bound = chain.bound(x_0)
    error = (joint.var() / n + bound.var() / n).sqrt().item()
    assert bound.mean().item() == pytest.approx(joint.mean().item(), abs=4 * error)
    assert error < 0.02


def test_the_first_term_has_no_gradient():
    model = small()
    x = torch.rand(3, 1, 8, 8) * 2 - 1
    assert not model.chain.fixed_term(x).requires_grad
    t = torch.tensor([1, 2, 7])
    model.chain.terms(x, t, torch.randn_like(x), levels=256).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


# --- The model -----------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_samples_are_images():
    model = small(classes=10)
    x, y = torch.rand(64, 1, 8, 8).round(), torch.arange(64) % 10
    fitted = fit(model, lambda step: (x, y), 60, lr=3e-3, progress=False)
    assert fitted.history["loss"][-1] < 0.6 * fitted.history["loss"][0]
    g = torch.Generator
    images = model.sample(5, y=[0, 1, 2, 3, 4], generator=g().manual_seed(1))
    assert images.shape == (5, 1, 8, 8) and images.min() >= 0 and images.max() <= 1
    again = model.sample(5, y=[0, 1, 2, 3, 4], generator=g().manual_seed(1))
    assert torch.equal(images, again)
    few = model.sample(5, y=3, generator=g().manual_seed(1), steps=4, guidance=1.0)
    assert few.shape == images.shape and not torch.equal(few, images)
    parts = model.sample(5, y=3, generator=g().manual_seed(1), steps=4, chunk=2)
    assert parts.shape == images.shape


def told(net, calls):
    """A network that writes down what it is asked, and answers with its class."""
    net.forward = lambda x, t, y=None: (
        calls.append((x, t, y))
        or (torch.zeros_like(x) if y is None else y.to(x)[:, None, None, None].expand_as(x))
    )


def test_guidance_asks_for_the_class_and_for_none():
    model, calls = small(classes=3), []
    told(model.chain.net, calls)
    x, t, y = torch.randn(2, 1, 8, 8), torch.tensor([4, 9]), torch.tensor([0, 2])
    found = model.chain.eps(x, t, y, guidance=2.0)[:, 0, 0, 0]
    assert found.tolist() == [3 * 0 - 2 * 3, 3 * 2 - 2 * 3]  # "none" is class 3
    assert calls[0][1].tolist() == [4, 9, 4, 9]


def test_the_loss_shows_images_at_all_times_from_1_to_T_and_hides_classes():
    model, calls = small(classes=3, T=21, schedule="linear", dropped=0.5), []
    told(model.chain.net, calls)
    model.chain.bar[1:] = 1.0  # no noise: the network sees the images
    x, y = torch.rand(400, 1, 8, 8), torch.arange(400) % 3
    model.loss((x, y))
    seen, t, classes = calls[0]
    assert torch.equal(seen, 2 * x - 1) and t.unique().tolist() == list(range(1, 22))
    assert 0.4 < (classes == 3).float().mean() < 0.6


def test_a_share_of_the_classes_is_hidden():
    y = class_or_none(torch.arange(10_000) % 10, 10, 0.1)
    assert (y == 10).float().mean() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(y[y < 10], (torch.arange(10_000) % 10)[y < 10])


def test_the_bound_of_images_is_one_of_eight_bit_images():
    model, x = small(), (torch.rand(6, 1, 8, 8) * 255).round() / 255
    bound = model.bound(x)
    bits = -bound / (64 * math.log(2))
    assert bound.shape == (6,) and 4 < bits.mean() < 60  # untrained: worse than 8 bits a pixel
    some = torch.stack([model.bound(x, draws=10) for _ in range(20)]).mean()
    assert some.item() == pytest.approx(bound.mean().item(), rel=0.15)


def test_bad_input_is_told():
    model, x = small(), torch.rand(3, 1, 8, 8)
    chain, noise = model.chain, torch.randn(3, 1, 8, 8)
    for times, says in (
        ([21, 0], "from 0 to 20"), ([5, -1], "from 0"),
        ([5, 6], "that fall"), ([5, 5], "that fall"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            chain.walk(noise, times, eta=0.0)
    with pytest.raises(ValueError, match="set eta"):
        chain.walk(noise, [20, 10, 0])
    with pytest.raises(ValueError, match="steps"):
        model.sample(2, steps=21)
    with pytest.raises(ValueError, match="guidance"):
        chain.walk(noise, guidance=-0.5)
    with pytest.raises(ValueError, match="without classes"):
        model.sample(2, guidance=1.0)
    with pytest.raises(ValueError, match="schedule"):
        small(schedule="quadratic")
    with pytest.raises(ValueError, match="at most 1"):
        chain.walk(noise, eta=1.5)
    with pytest.raises(ValueError, match="output: expected one of 'noise', 'velocity'"):
        small(output="v")
    with pytest.raises(ValueError, match="pixels between 0 and 1"):
        model.bound(2 * x - 1)
    with pytest.raises(ValueError, match="multiple of 4"):
        DDPM(30, mults=(1, 2, 2))


def test_where_only_training_is_counted_nothing_is_drawn(monkeypatch):
    model = small()
    calls = []
    monkeypatch.setattr(model.chain.net, "forward", lambda x, *rest: calls.append(1) or x)
    monkeypatch.setenv("GENAI_ESTIMATE", "1")
    assert model.sample(3).shape == (3, 1, 8, 8) and calls == []
    x, kept = model.chain.walk(model.noise(2), keep=(5, 0))
    assert set(kept) == {5, 0} and kept[5].shape == x.shape
    monkeypatch.delenv("GENAI_ESTIMATE")
    model.sample(3, steps=2)
    assert len(calls) == 2
