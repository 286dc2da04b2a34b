"""Denoising diffusion: noise is added by a rule, and a network learns to take it away.

Lecture items A41, A100–A111, B66–B70. The story of the file: how much noise when (`linear_betas`,
`cosine_betas`), the way there in one step (`noised`), the way back if the data were known
(`posterior`), the same from the noise alone (`denoised`, `step_mean`), long steps (`ddim_step`), a
class as a wish (`guided`); then the chain around any network (`Diffusion`), its bound, and the
model of images (`DDPM`). The network is in `unet`.

Symbols follow NTHU's slides: β_t, α_t = 1 - β_t, ᾱ_t = α_1 ⋯ α_t (`bar`), t = 1 … T, x_0 the data.
NYU's slides write α_t for ᾱ_t (erratum Y32). Tables over t begin at t = 0, where ᾱ_0 = 1, so that
`bar[t]` reads as ᾱ_t. Log-probabilities are in nats, one number per example.

Sources: Sohl-Dickstein et al. 2015; Ho, Jain & Abbeel 2020 (DDPM); Nichol & Dhariwal 2021 (cosine);
Song, Meng & Ermon 2021 (DDIM); Ho & Salimans 2022 (guidance); Salimans & Ho 2022 (velocity).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs

from .image_model import ImageModel, drawn
from .unet import UNet, for_sampling, only_counted, recorded

# --- How much noise, and when --------------------------------------------------------------------


def linear_betas(steps=1_000):
    """β_1, …, β_T rising in a straight line from 1e-4 to 0.02, as DDPM has them (A100).

    With another number of steps than 1,000 both ends are scaled by 1,000 / T, so that as much noise
    is added in all. Returns (T,) float64. Raises ValueError for fewer than 21 steps, where β_T
    would reach 1. Source: Ho et al. 2020, section 4; Nichol & Dhariwal 2021 (the scale).
    """
    scale = 1_000 / inputs.whole(steps, "steps", least=21)
    return torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64)


def cosine_betas(steps=1_000, offset=0.008, most=0.999):
    """β_1, …, β_T such that ᾱ falls like a squared cosine: more time at little noise.

        ᾱ_t = f(t) / f(0),   f(t) = cos²( (t/T + s) / (1 + s) · π/2 ),   s = offset
        β_t = min(1 - ᾱ_t / ᾱ_{t-1}, most)

    Returns (T,) float64. Source: Nichol & Dhariwal 2021, eq. 17.
    """
    t = torch.arange(inputs.whole(steps, "steps") + 1, dtype=torch.float64) / steps
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2  # (T + 1,)
    return (1 - f[1:] / f[:-1]).clamp(max=most)


def cumulative(beta):
    """ᾱ_0 = 1, ᾱ_1, …, ᾱ_T of β_1, …, β_T: how much of the data is left, (T,) -> (T + 1,) float64.

    Raises ValueError unless all β are above 0 and below 1, and none is smaller than the one before.
    Source: lecture items A101, B67.
    """
    beta = inputs.array(beta, "beta", torch.float64)
    if beta.ndim != 1 or not (beta.min() > 0 and beta.max() < 1):
        raise inputs.refusal(
            "beta", "a row of numbers above 0 and below 1",
            f"{tuple(beta.shape)}, from {beta.min():.3g} to {beta.max():.3g}",
        )  # fmt: skip
    if len(beta) > 1 and beta.diff().min() < 0:
        t = int(beta.diff().argmin()) + 2
        raise inputs.refusal("beta", "a schedule that never falls", f"a fall at t = {t}",
                             "put the larger ones last: the noise grows with t")  # fmt: skip
    return torch.cat([beta.new_ones(1), (1 - beta).cumprod(0)])


# --- The algebra of one example ------------------------------------------------------------------


def per_example(value, x):
    """Numbers (B,) in the shape that multiplies examples x (B, …): (B, 1, …, 1)."""
    return value.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)


def noised(x, bar, eps):
    """The data after t steps of noise, all of them in one.

        x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε

    Shapes: x = x_0 (B, …), eps ~ N(0, I) of the same shape, bar = ᾱ_t (B,), one for each example
    -> x_t (B, …).
    Source: Ho et al. 2020, eq. 4; lecture items A101, B67.
    """
    bar = bar.reshape(-1, *[1] * (x.ndim - 1))  # (B, 1, …, 1)
    return bar.sqrt() * x + (1 - bar).sqrt() * eps


def posterior(x, x_t, bar, before):
    """Where x_{t-1} was, if both x_0 and x_t are known: mean and variance of a normal.

        mean = (√α_t (1 - ᾱ_{t-1}) x_t + √ᾱ_{t-1} β_t x_0) / (1 - ᾱ_t)
        variance = (1 - ᾱ_{t-1}) / (1 - ᾱ_t) · β_t,   α_t = ᾱ_t / ᾱ_{t-1},   β_t = 1 - α_t

    Shapes: x = x_0 and x_t (B, …), bar = ᾱ_t and before = ᾱ_{t-1} (B,) -> mean (B, …), variance
    (B,). At t = 1, before = 1: the mean is x_0, the variance 0.
    Source: Ho et al. 2020, eqs. 6-7; lecture item A104, erratum N04.
    """
    shape = (-1, *[1] * (x.ndim - 1))
    alpha = bar / before
    of_x_t = alpha.sqrt() * (1 - before) / (1 - bar)
    of_x = before.sqrt() * (1 - alpha) / (1 - bar)
    mean = of_x_t.reshape(shape) * x_t + of_x.reshape(shape) * x
    return mean, (1 - before) / (1 - bar) * (1 - alpha)


def denoised(x_t, eps, bar):
    """What x_0 was, if the noise was eps: `noised` solved for x_0.

        x_0 = (x_t - √(1 - ᾱ_t) ε) / √ᾱ_t

    Shapes: x_t, eps (B, …), bar = ᾱ_t (B,) -> (B, …). Source: lecture item A105.
    """
    bar = per_example(bar, x_t)
    return (x_t - (1 - bar).sqrt() * eps) / bar.sqrt()


def noise_behind(x_t, v, bar):
    """The noise in x_t, if v is the velocity at x_t on the circle from x_0 to ε.

        ε = √(1 - ᾱ_t) x_t + √ᾱ_t v,   v = √ᾱ_t ε - √(1 - ᾱ_t) x_0

    √ᾱ and √(1 - ᾱ) are cosine and sine of one angle, x_t = x_0 cos φ + ε sin φ, and v = dx_t / dφ.
    Shapes: x_t, v (B, …), bar = ᾱ_t (B,) -> (B, …).
    Source: Salimans & Ho 2022, section 4 and appendix D.
    """
    bar = per_example(bar, x_t)
    return (1 - bar).sqrt() * x_t + bar.sqrt() * v


def step_mean(x_t, eps, bar, before):
    """The mean of x_{t-1}, if the noise in x_t is eps.

        mean = 1/√α_t · (x_t - (1 - α_t) / √(1 - ᾱ_t) · ε)

    Shapes as `posterior`; it is the mean of `posterior` with x_0 = `denoised`.
    Source: Ho et al. 2020, eq. 11; lecture items A105, A109, errata N05, N06, Y31.
    """
    alpha = bar / before
    part = per_example((1 - alpha) / (1 - bar).sqrt(), x_t)
    return (x_t - part * eps) / per_example(alpha.sqrt(), x_t)


def ddim_step(x_t, eps, bar, earlier, eta=0.0, z=None):
    """From time t to any earlier time s in one step, with as much fresh noise as is wished.

        x_s = √ᾱ_s x̂_0 + √(1 - ᾱ_s - σ²) ε + σ z,   x̂_0 = (x_t - √(1 - ᾱ_t) ε) / √ᾱ_t
        σ² = η² (1 - ᾱ_s) / (1 - ᾱ_t) · (1 - ᾱ_t / ᾱ_s)

    Shapes: x_t, eps, z (B, …), bar = ᾱ_t and earlier = ᾱ_s >= ᾱ_t (B,); η from 0 to 1, and z is
    needed where it is above 0 -> x_s (B, …). η = 0 draws nothing; η = 1 and s = t - 1 is DDPM's
    step with the variance of `posterior`; ᾱ_s = 1 gives x̂_0.
    Source: Song et al. 2021, eqs. 12 and 16.
    """
    shape = (-1, *[1] * (x_t.ndim - 1))
    variance = eta**2 * (1 - earlier) / (1 - bar) * (1 - bar / earlier)
    kept = (1 - earlier - variance).clamp(min=0).sqrt()  # rounding may leave it below 0
    x = (x_t - (1 - bar).sqrt().reshape(shape) * eps) / bar.sqrt().reshape(shape)
    x_s = earlier.sqrt().reshape(shape) * x + kept.reshape(shape) * eps
    return x_s if eta == 0 else x_s + variance.sqrt().reshape(shape) * z


def guided(eps_none, eps_class, scale):
    """The noise, with what the class adds exaggerated: classifier-free guidance.

        ε = (1 + w) ε(x_t, y) - w ε(x_t),   w = scale

    w = 0 asks for nothing more than the class. Shapes: both (B, …) -> (B, …). Raises ValueError
    for a scale below 0. Source: Ho & Salimans 2022, eq. 6.
    """
    if not scale >= 0:
        raise ValueError(f"scale: expected a finite number of at least 0, got {scale}.")
    return (1 + scale) * eps_class - scale * eps_none


def step_kl(mean, variance, model_mean, model_variance):
    """KL divergence of N(mean, variance I) from the model's N(·, · I), per example, in nats.

        ½ Σ_i [ log(v_θ / v) + (v + (m_i - m_θi)²) / v_θ - 1 ]

    Shapes: means (B, …), variances (B,) -> (B,). Source: lecture items A102, A103, erratum N23.
    """
    d = mean[0].numel()
    error = (mean - model_mean).flatten(1).square().sum(1)  # (B,)
    ratio = variance / model_variance
    return 0.5 * (d * (ratio - 1 - ratio.log()) + error / model_variance)


def grey_log_prob(x, mean, std, levels=256):
    """log P of grey values under a normal that is cut into as many bins, per example, in nats.

        Σ_i log [ Φ((x_i + h - m_i) / σ) - Φ((x_i - h - m_i) / σ) ],   h = 1 / (levels - 1)

    The values 0, 1/255, …, 1 are -1 … 1 here; the first bin reaches down to -∞, the last up to ∞.
    Shapes: x in [-1, 1] and mean (B, …), std (B,) -> (B,). Source: Ho et al. 2020, eq. 13.
    """
    std, half = per_example(std, x).double(), 1 / (levels - 1)
    x, mean = x.double(), mean.double()
    above = torch.special.ndtr((x + half - mean) / std).where(x < 1 - half, torch.ones_like(x))
    below = torch.special.ndtr((x - half - mean) / std).where(x > half - 1, torch.zeros_like(x))
    return (above - below).clamp(min=1e-12).log().flatten(1).sum(1).float()


# --- The chain around a network ------------------------------------------------------------------


class Diffusion(nn.Module):
    """T steps of noise, and a network that predicts it: for data x (B, …) of any shape.

    net: ε(x_t, t, y), of the shape of x_t; t (B,), y (B,) or None.
    beta: β_1, …, β_T, see `cumulative`.
    variance: σ_t² of the way back. "posterior": that of `posterior`, right if the data were one
        point; "step": β_t, right if they were N(0, I) (erratum N37).
    clip: whether a predicted x_0 is brought back to [-1, 1]; for images scaled to it. Algorithm 2
        has no such line, its authors' program does.
    output: what the numbers of net are. "noise": ε itself. "velocity": v, of which `noise_behind`
        makes ε. The loss is the same. At much noise x_t is nearly ε, and only the small rest is
        left to learn: an error e of v is one of √(1 - ᾱ) e in the x_0 that it tells, where the same
        error of ε is one of √(1 - ᾱ) / √ᾱ · e.
    """

    def __init__(self, net, beta, variance="posterior", clip=False, output="noise"):
        super().__init__()
        inputs.one_of(variance, "variance", ("posterior", "step"))
        self.output = inputs.one_of(output, "output", ("noise", "velocity"))
        bar = cumulative(beta)  # (T + 1,)
        self.net, self.T, self.clip = net, len(bar) - 1, clip
        alpha = bar[1:] / bar[:-1]
        small = (1 - bar[:-1]) / (1 - bar[1:]) * (1 - alpha)  # 0 at t = 1
        small[0] = small[min(1, self.T - 1)]  # a density needs a width there, too
        chosen = small if variance == "posterior" else 1 - alpha
        self.register_buffer("bar", bar.float())
        self.register_buffer("variance", torch.cat([chosen[:1], chosen]).float())  # [t] is σ_t²

    def predicted(self, x_t, t, y=None, net=None):
        """The noise that the network sees in x_t."""
        out = (self.net if net is None else net)(x_t, t, y).to(x_t.dtype)
        return out if self.output == "noise" else noise_behind(x_t, out, self.bar[t])

    def eps(self, x_t, t, y=None, guidance=0.0, net=None):
        """The predicted noise, as the network has it, or guided towards the class y."""
        if y is None or guidance == 0:
            return self.predicted(x_t, t, y, net)
        none = torch.full_like(y, self.net.condition.classes)
        twice = torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([none, y])
        return guided(*self.predicted(*twice, net).chunk(2), guidance)

    def loss(self, x, y=None):
        """Algorithm 1: ‖ε - ε(x_t, t)‖², the mean over all numbers, t uniform in 1 … T (A108)."""
        t = torch.randint(1, self.T + 1, (len(x),), device=x.device)
        eps = torch.randn_like(x)
        return F.mse_loss(self.predicted(noised(x, self.bar[t], eps), t, y).float(), eps)

    def mean(self, x_t, t, eps):
        """The mean of x_{t-1} that the predicted noise gives (A105)."""
        bar, before = self.bar[t], self.bar[t - 1]
        if not self.clip:
            return step_mean(x_t, eps, bar, before)
        return posterior(denoised(x_t, eps, bar).clamp(-1, 1), x_t, bar, before)[0]

    def step(self, x_t, t, z, y=None, guidance=0.0, net=None):
        """Algorithm 2, line 4: x_{t-1} of x_t. z ~ N(0, I) is not used where t = 1 (A109, A110)."""
        mean = self.mean(x_t, t, self.eps(x_t, t, y, guidance, net))
        std = self.variance[t].sqrt() * (t > 1)
        return mean + per_example(std, x_t) * z

    def leap(self, x_t, t, s, z, y=None, guidance=0.0, eta=0.0, net=None):
        """DDIM: x_s of x_t, from time t (B,) to an earlier time s (B,)."""
        eps, bar = self.eps(x_t, t, y, guidance, net), self.bar[t]
        if self.clip:
            x = denoised(x_t, eps, bar).clamp(-1, 1)
            eps = (x_t - per_example(bar.sqrt(), x_t) * x) / per_example((1 - bar).sqrt(), x_t)
        return ddim_step(x_t, eps, bar, self.bar[s], eta, z)

    def times(self, steps=None):
        """The times of a walk of so many steps: T = t_1 > … > 0; None: all of them."""
        steps = self.T if steps is None else inputs.whole(steps, "steps", most=self.T)
        return [round(self.T * i / steps) for i in range(steps, -1, -1)]

    @torch.no_grad()
    def walk(self, x, times=None, y=None, guidance=0.0, eta=None, generator=None, keep=()):
        """Walk back from noise x = x_T (B, …) along falling times, by default all of them.

        eta: None for Algorithm 2, which must not leave out a time; a number for DDIM.
        keep: times at which x_t is kept. Returns (x at the last time, {t: x_t}).
        Raises ValueError for times that do not fall, or lie outside 0 … T.
        """
        times = (
            self.times() if times is None else [inputs.whole(t, "times", 0, self.T) for t in times]
        )
        if any(t <= s for t, s in zip(times, times[1:], strict=False)):
            raise inputs.refusal("times", "times that fall from noise to data", times)
        if eta is None and any(t - s > 1 for t, s in zip(times, times[1:], strict=False)):
            raise inputs.refusal("times", "every time of Algorithm 2", "times with gaps",
                                 "set eta, which makes the steps DDIM's")  # fmt: skip
        guidance = inputs.number(guidance, "guidance", least=0)
        eta = None if eta is None else inputs.number(eta, "eta", least=0, most=1)
        if only_counted():
            return x, dict.fromkeys(keep, x)
        net = for_sampling(self.net)

        def one(x, t, s, z, *y):
            if eta is None:
                return self.step(x, t, z, *y, guidance=guidance, net=net)
            return self.leap(x, t, s, z, *y, guidance=guidance, eta=eta, net=net)

        t = torch.full((len(x),), self.T, device=x.device)
        noise, given = torch.zeros_like(x), () if y is None else (y,)
        one = recorded(one, x, t, t - 1, noise, *given)
        kept = {times[0]: x} if times[0] in keep else {}
        for now, then in zip(times, times[1:], strict=False):
            if eta is None or eta > 0:
                noise = drawn(torch.randn, *x.shape, like=x, generator=generator)
            x = one(x, torch.full_like(t, now), torch.full_like(t, then), noise, *given)
            if then in keep:
                kept[then] = x
        return x, kept

    def terms(self, x, t, eps, y=None, levels=None):
        """One term of the bound for each example, in nats: (B,), all >= 0 but for a density.

            t = 1:  -log P(x_0 | x_1)        t > 1:  KL(Q(x_{t-1} | x_t, x_0) ‖ P(x_{t-1} | x_t))

        eps ~ N(0, I) makes x_t of x. levels: P(x_0 | x_1) of so many grey values; None: a density.
        Source: Ho et al. 2020, eq. 5; lecture items A102, A103.
        """
        bar, before = self.bar[t], self.bar[t - 1]
        x_t = noised(x, bar, eps)
        found = self.mean(x_t, t, self.eps(x_t, t, y))
        mean, variance = posterior(x, x_t, bar, before)
        later = step_kl(mean, variance.clamp(min=1e-20), found, self.variance[t])
        std = self.variance[t].sqrt()
        if levels is None:
            z = (x - found) / per_example(std, x)
            first = (0.5 * (z**2 + math.log(2 * math.pi)) + per_example(std, x).log()).flatten(1)
            return torch.where(t == 1, first.sum(1), later)
        return torch.where(t == 1, -grey_log_prob(x, found, std, levels), later)

    def fixed_term(self, x):
        """KL(Q(x_T | x_0) ‖ N(0, I)) in nats, (B,): no network has a part in it (A103)."""
        bar = self.bar[-1].expand(len(x))
        zero, one = torch.zeros_like(x), torch.ones_like(bar)
        return step_kl(noised(x, bar, zero), 1 - bar, zero, one)

    @torch.no_grad()
    def bound(self, x, y=None, levels=None, draws=None, generator=None):
        """A lower bound of log P(x), in nats, (B,): minus the sum of the terms (A102).

        draws: at so many times, drawn one from each of equal stretches of 1 … T, the terms are
        computed and scaled up; None: at all. Less time, the same mean, some noise.
        """
        draws = self.T if draws is None else inputs.whole(draws, "draws", most=self.T)
        draws = 1 if only_counted() else draws
        edges = torch.linspace(0, self.T, draws + 1).round().long().tolist()
        total = self.fixed_term(x)
        for low, high in zip(edges, edges[1:], strict=False):
            t = drawn(torch.rand, len(x), like=x, generator=generator)
            t = (low + 1 + (t * (high - low)).long()).clamp(max=high)
            eps = drawn(torch.randn, *x.shape, like=x, generator=generator)
            total = total + (high - low) * self.terms(x, t, eps, y, levels)
        return -total


# --- Data whose score is known -------------------------------------------------------------------


def mixture_noise(x_t, bar, means, std, weights=None):
    """The best prediction of the noise where the data are a mixture of K equal round normals.

        ε*(x_t) = E[ε | x_t] = -√(1 - ᾱ_t) ∇ log q_t(x_t)
        q_t = Σ_k w_k N(√ᾱ_t m_k, v_t I),   v_t = ᾱ_t s² + 1 - ᾱ_t,   s = std

    Shapes: x_t (B, d), bar (B,), means (K, d), weights (K,), default equal -> (B, d).
    ∇ log q_t is called the score. Source: Vincent 2011; Song & Ermon 2019.
    """
    weights = means.new_full((len(means),), 1 / len(means)) if weights is None else weights
    bar = bar[:, None]  # (B, 1)
    v = bar * std**2 + 1 - bar
    gap = bar.sqrt()[..., None] * means - x_t[:, None]  # (B, K, d)
    share = (weights.log() - gap.square().sum(-1) / (2 * v)).softmax(-1)  # (B, K)
    return -(1 - bar).sqrt() * (share[..., None] * gap).sum(1) / v


# --- The model of images -------------------------------------------------------------------------


def class_or_none(y, none, share):
    """Labels y (B,), of which a random share, by the global generator, is `none` (guidance)."""
    return torch.where(torch.rand(len(y), device=y.device) < share, none, y)


class DDPM(ImageModel):
    """A denoising diffusion model of images: the U-Net inside the chain (A100–A109).

    Args:
        size, channels, classes: as in `ImageModel`.
        T: number of steps of noise.
        schedule: "cosine" or "linear", or β_1, …, β_T.
        variance, output: σ_t², and what the network's numbers are, see `Diffusion`.
        dropped: share of the training examples whose class is kept from the network, which so
            learns the noise without a class too; guidance needs it.
        net: the network; None: `UNet` with the settings that follow.
        width, mults, patch: of the U-Net.
    """

    def __init__(
        self, size=28, channels=1, classes=None, T=1_000, schedule="cosine", variance="posterior",
        dropped=0.1, net=None, width=32, mults=(1, 2, 2), patch=1, output="noise",
    ):  # fmt: skip
        super().__init__(size, channels, classes)
        if isinstance(schedule, str):
            inputs.one_of(schedule, "schedule", ("cosine", "linear"))
            schedule = (cosine_betas if schedule == "cosine" else linear_betas)(T)
        self.dropped = inputs.number(dropped, "dropped", least=0, most=1)
        net = UNet(size, channels, width, mults, classes, patch) if net is None else net
        self.chain = Diffusion(net, schedule, variance, clip=True, output=output)

    def loss(self, batch):
        x, y = self.batch(batch)
        if y is not None:
            y = class_or_none(y, self.classes, self.dropped)
        loss = self.chain.loss(2 * x - 1, y)
        return {"loss": loss, "mse": loss}

    def noise(self, n, generator=None):
        """Where a walk begins: n draws of N(0, I), (n, C, H, W)."""
        shape = (n, self.channels, self.size, self.size)
        return drawn(torch.randn, *shape, like=self._weight(), generator=generator)

    @torch.no_grad()
    def sample(self, n, y=None, generator=None, steps=None, eta=0.0, guidance=0.0, chunk=2_500):
        """n images (n, C, H, W) in [0, 1].

        steps: None for all T steps of Algorithm 2; a number for as many of DDIM, with `eta`.
        y, guidance: the classes, and how much they are exaggerated, see `guided`.
        chunk: images at a time.
        """
        y, images = self.kinds(n, y, generator), []
        if guidance and y is None:
            raise inputs.refusal("guidance", "0 for a model without classes", guidance)
        for start in range(0, n, chunk):
            x = self.noise(min(chunk, n - start), generator)
            of = None if y is None else y[start : start + chunk]
            x, _ = self.chain.walk(
                x, self.chain.times(steps), of, guidance, None if steps is None else eta, generator
            )
            images.append((x + 1).clamp(0, 2) / 2)
        return torch.cat(images)

    def bound(self, x, y=None, draws=None, generator=None, chunk=1_000):
        """A lower bound of log P(x) of 8-bit images, in nats, (B,); see `Diffusion.bound`."""
        bounds = [
            self.chain.bound(2 * part - 1, of, 256, draws, generator)
            for part, of in self.parts(x, y, chunk)
        ]
        return torch.cat(bounds)
