"""Answers to the exercises of 26_gan, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import torch
import torch.nn.functional as F

# --- discriminator_loss --------------------------------------------------------------------------


def dl_library(real, fake):
    one, none = torch.ones_like(real), torch.zeros_like(fake)
    bce = F.binary_cross_entropy_with_logits
    return bce(real, one, reduction="none").mean(-1) + bce(fake, none, reduction="none").mean(-1)


def dl_logsigmoid(real, fake):
    return -F.logsigmoid(real).mean(-1) - F.logsigmoid(-fake).mean(-1)


def dl_logaddexp(real, fake):
    zero = torch.zeros(())
    first = torch.logaddexp(zero, -real).sum(-1) / real.shape[-1]
    return first + torch.logaddexp(zero, fake).sum(-1) / fake.shape[-1]


def dl_double(real, fake):
    return dl_logsigmoid(real.double(), fake.double())


def dl_bits(real, fake):
    return dl_library(real, fake) / math.log(2)


def dl_squares(real, fake):
    return ((real - 1) ** 2).mean(-1) + (fake**2).mean(-1)


def dl_hinge(real, fake):
    return (1 - real).relu().mean(-1) + (1 + fake).relu().mean(-1)


def dl_scores(real, fake):
    return fake.mean(-1) - real.mean(-1)


def dl_data_only(real, fake):
    return F.softplus(-real).mean(-1)


def dl_of_the_mean(real, fake):
    return F.softplus(-real.mean(-1)) + F.softplus(fake.mean(-1))


def dl_clamped(real, fake):
    return dl_library(real.clamp(-50, 50), fake.clamp(-50, 50))


def dl_column(real, fake):
    return dl_library(real, fake)[..., None]


def dl_detached(real, fake):
    return dl_library(real, fake.detach())


# --- optimal_discriminator -----------------------------------------------------------------------


def od_sigmoid(p, q, n=1, m=1):
    score = (n * p.double()).log() - (m * q.double()).log()
    return torch.where((p + q) == 0, 0.5, torch.sigmoid(score)).float()


def od_loop(p, q, n=1, m=1):
    pairs = zip(p.tolist(), q.tolist(), strict=True)
    return torch.tensor([n * a / (n * a + m * b) if a + b else 0.5 for a, b in pairs])


def od_fill(p, q, n=1, m=1):
    D = n * p / (n * p + m * q)
    D[(p == 0) & (q == 0)] = 0.5
    return D


def od_no_weights(p, q, n=1, m=1):
    return od_fill(p, q)


def od_nan(p, q, n=1, m=1):
    return n * p / (n * p + m * q)


def od_epsilon(p, q, n=1, m=1):
    return (n * p + 1e-3) / (n * p + m * q + 2e-3)


def od_weights_exchanged(p, q, n=1, m=1):
    return od_fill(p, q, m, n)


def od_mean(p, q, n=1, m=1):
    return od_fill(p, q, n, m) * 2


def od_hard(p, q, n=1, m=1):
    return (n * p > m * q).float()


def od_softmax(p, q, n=1, m=1):
    return torch.sigmoid(n * p - m * q)


def od_root(p, q, n=1, m=1):
    return od_fill(p.sqrt(), q.sqrt(), n, m)


# --- generator_loss ------------------------------------------------------------------------------


def gl_logsigmoid(fake, saturating=False):
    return F.logsigmoid(-fake).mean(-1) if saturating else -F.logsigmoid(fake).mean(-1)


def gl_library(fake, saturating=False):
    target = torch.zeros_like(fake) if saturating else torch.ones_like(fake)
    loss = F.binary_cross_entropy_with_logits(fake, target, reduction="none").mean(-1)
    return -loss if saturating else loss


def gl_logaddexp(fake, saturating=False):
    sign = 1 if saturating else -1
    value = torch.logaddexp(torch.zeros_like(fake), sign * fake).sum(-1) / fake.shape[-1]
    return -value if saturating else value


def gl_always_one(fake, saturating=False):
    return gl_library(fake, False)


def gl_flag_exchanged(fake, saturating=False):
    return gl_library(fake, not saturating)


def gl_sign_of_the_game(fake, saturating=False):
    return F.softplus(fake).mean(-1) if saturating else F.softplus(-fake).mean(-1)


def gl_scores(fake, saturating=False):
    return -fake.mean(-1)


def gl_squares(fake, saturating=False):
    return ((fake - 1) ** 2).mean(-1)


def gl_epsilon(fake, saturating=False):
    p = fake.sigmoid()
    return (1 - p + 1e-8).log().mean(-1) if saturating else -(p + 1e-8).log().mean(-1)


def gl_everything(fake, saturating=False):
    return gl_library(fake, saturating).mean()


def gl_bits(fake, saturating=False):
    return gl_library(fake, saturating) / math.log(2)


def gl_detached(fake, saturating=False):
    return gl_library(fake.detach(), saturating) + 0 * fake.sum(-1)


# --- count_modes ---------------------------------------------------------------------------------


def cm_cdist(x, centres, std=0.01):
    distance = torch.cdist(x, centres, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.argmin(-1)
    good = distance.amin(-1) <= 3 * std
    each = torch.arange(len(centres)) == nearest[..., None]
    counts = (each & good[..., None]).sum(-2)
    return counts.gt(0).sum(-1), good.double().mean(-1), counts


def cm_norm(x, centres, std=0.01):
    distance = torch.linalg.vector_norm(x[..., :, None, :] - centres, dim=-1)
    hit = (distance <= 3 * std) & (distance == distance.amin(-1, keepdim=True))
    return hit.any(-2).sum(-1), hit.any(-1).float().mean(-1), hit.sum(-2)


def cm_loops(x, centres, std=0.01):
    runs = x.reshape(-1, *x.shape[-2:])
    counts = torch.zeros(len(runs), len(centres), dtype=torch.int64)
    for r, points in enumerate(runs):
        for point in points:
            far = ((point - centres) ** 2).sum(-1).sqrt()
            if far.min() <= 3 * std:
                counts[r, far.argmin()] += 1
    counts = counts.reshape(*x.shape[:-2], len(centres))
    return (counts > 0).sum(-1), counts.sum(-1).double() / x.shape[-2], counts


def cm_two_deviations(x, centres, std=0.01):
    return cm_cdist(x, centres, 2 / 3 * std)


def cm_squared(x, centres, std=0.01):
    return cm_cdist(x, centres, std**0.5)


def cm_all_cover(x, centres, std=0.01):
    counts = F.one_hot(torch.cdist(x, centres).argmin(-1), len(centres)).sum(-2)
    return (counts > 0).sum(-1), cm_cdist(x, centres, std)[1], counts


def cm_fixed(x, centres, std=0.01):
    return cm_cdist(x, centres, 0.01)


def cm_percent(x, centres, std=0.01):
    covered, good, counts = cm_cdist(x, centres, std)
    return covered, 100 * good, counts


def cm_all_runs(x, centres, std=0.01):
    return cm_cdist(x.reshape(-1, x.shape[-1]), centres, std)


def cm_two_needed(x, centres, std=0.01):
    _, good, counts = cm_cdist(x, centres, std)
    return (counts > 1).sum(-1), good, counts


def cm_covered_only(x, centres, std=0.01):
    return cm_cdist(x, centres, std)[0]


def cm_box(x, centres, std=0.01):
    distance = (x[..., None, :] - centres).abs().amax(-1)
    hit = distance <= 2.2 * std
    return hit.any(-2).sum(-1), hit.any(-1).double().mean(-1), hit.sum(-2)


# --- pair_loss -----------------------------------------------------------------------------------


def pl_logsigmoid(ahead, behind):
    return -F.logsigmoid(ahead - behind).mean(-1)


def pl_library(ahead, behind):
    gap = ahead - behind
    one = torch.ones_like(gap)
    return F.binary_cross_entropy_with_logits(gap, one, reduction="none").mean(-1)


def pl_two_classes(ahead, behind):
    both = torch.stack([ahead, behind], -1)
    return -both.log_softmax(-1)[..., 0].mean(-1)


def pl_hinge(ahead, behind):
    return (1 - ahead + behind).relu().mean(-1)


def pl_difference(ahead, behind):
    return (behind - ahead).mean(-1)


def pl_epsilon(ahead, behind):
    return -((ahead - behind).sigmoid() + 1e-8).log().mean(-1)


def pl_every_pair(ahead, behind):
    return F.softplus(behind[..., None, :] - ahead[..., None]).mean((-1, -2))


def pl_average(ahead, behind):
    return F.softplus(behind.mean(-1, keepdim=True) - ahead).mean(-1)


def pl_backwards(ahead, behind):
    return pl_logsigmoid(behind, ahead)


def pl_everything(ahead, behind):
    return pl_logsigmoid(ahead, behind).mean()


def pl_bits(ahead, behind):
    return pl_logsigmoid(ahead, behind) / math.log(2)


def pl_one_player(ahead, behind):
    return pl_logsigmoid(ahead, behind.detach())


# --- mean_steepness ------------------------------------------------------------------------------


def ms_autograd(x, W, b, v):
    x = x.detach().requires_grad_()
    scores = torch.tanh(x @ W.T + b) @ v
    (g,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return 0.5 * (g**2).sum(-1).mean()


def ms_einsum(x, W, b, v):
    inner = 1 / torch.cosh(x @ W.T + b) ** 2  # (B, h)
    g = torch.einsum("bh,h,hd->bd", inner, v, W)
    return torch.einsum("bd,bd->", g, g) / (2 * len(x))


def ms_loop(x, W, b, v):
    total = 0
    for one in x:
        g = W.T @ (v / torch.cosh(W @ one + b) ** 2)
        total = total + 0.5 * g @ g
    return total / len(x)


def ms_mean_score(x, W, b, v):
    x = x.detach().requires_grad_()
    scores = torch.tanh(x @ W.T + b) @ v
    (g,) = torch.autograd.grad(scores.mean(), x, create_graph=True)
    return 0.5 * (g**2).sum(-1).mean()


def ms_no_tanh(x, W, b, v):
    return 0.5 * (v @ W).square().sum() + 0 * b.sum()


def ms_lipschitz(x, W, b, v):
    g = (v * (1 - torch.tanh(x @ W.T + b) ** 2)) @ W
    return 0.5 * ((g.norm(dim=-1) - 1) ** 2).mean()


def ms_norm(x, W, b, v):
    """The norm where its square belongs."""
    g = (v * (1 - torch.tanh(x @ W.T + b) ** 2)) @ W
    return 0.5 * g.norm(dim=-1).mean()


def ms_largest(x, W, b, v):
    g = (v * (1 - torch.tanh(x @ W.T + b) ** 2)) @ W
    return 0.5 * g.square().sum(-1).max()


WRONG = [
    *(("discriminator_loss", f) for f in (
        dl_bits, dl_squares, dl_hinge, dl_scores, dl_data_only, dl_of_the_mean, dl_clamped,
        dl_column, dl_detached,
    )),
    *(("optimal_discriminator", f) for f in (
        od_no_weights, od_nan, od_epsilon, od_weights_exchanged, od_mean, od_hard, od_softmax,
        od_root,
    )),
    *(("generator_loss", f) for f in (
        gl_always_one, gl_flag_exchanged, gl_sign_of_the_game, gl_scores, gl_squares, gl_epsilon,
        gl_everything, gl_bits, gl_detached,
    )),
    *(("count_modes", f) for f in (
        cm_two_deviations, cm_squared, cm_all_cover, cm_fixed, cm_percent, cm_all_runs,
        cm_two_needed, cm_covered_only, cm_box,
    )),
    *(("pair_loss", f) for f in (
        pl_hinge, pl_difference, pl_epsilon, pl_every_pair, pl_average, pl_backwards,
        pl_everything, pl_bits, pl_one_player,
    )),
    *(("mean_steepness", f)
      for f in (ms_mean_score, ms_no_tanh, ms_lipschitz, ms_norm, ms_largest)),
]  # fmt: skip

RIGHT = [
    *(("discriminator_loss", f) for f in (dl_library, dl_logsigmoid, dl_logaddexp, dl_double)),
    *(("optimal_discriminator", f) for f in (od_sigmoid, od_loop, od_fill)),
    *(("generator_loss", f) for f in (gl_logsigmoid, gl_library, gl_logaddexp)),
    *(("count_modes", f) for f in (cm_cdist, cm_norm, cm_loops)),
    *(("pair_loss", f) for f in (pl_logsigmoid, pl_library, pl_two_classes)),
    *(("mean_steepness", f) for f in (ms_autograd, ms_einsum, ms_loop)),
]  # fmt: skip
