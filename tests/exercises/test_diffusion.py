"""Answers to the exercises of 27_diffusion, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
import torch
from torch.distributions import Independent, Normal, kl_divergence

NO, PO, DD, GU, ST, KL = "noised", "posterior", "ddim_step", "guided", "straight", "step_kl"


def column(v, x):
    return v.view(len(v), *(1 for _ in x.shape[1:]))


# --- noised


def no_loop(x, bar, eps):
    return torch.stack(
        [b**0.5 * a + (1 - b) ** 0.5 * e for a, b, e in zip(x, bar, eps, strict=True)]
    )


def no_einsum(x, bar, eps):
    return torch.einsum("b,b...->b...", bar.sqrt(), x) + torch.einsum(
        "b,b...->b...", (1 - bar).sqrt(), eps
    )


def no_last_axis(x, bar, eps):
    turned = x.movedim(0, -1) * bar**0.5 + eps.movedim(0, -1) * (1 - bar) ** 0.5
    return turned.movedim(-1, 0)


def no_double(x, bar, eps):
    b = column(bar.double(), x)
    return b.sqrt() * x.double() + torch.sqrt(1 - b) * eps.double()


def no_own_noise(x, bar, eps):
    return column(bar, x).sqrt() * x + column(1 - bar, x).sqrt() * torch.randn_like(x)


def no_added_roots(x, bar, eps):
    return column(bar, x).sqrt() * x + (1 - column(bar, x).sqrt()) * eps


def no_mean_time(x, bar, eps):
    return bar.mean().sqrt() * x + (1 - bar.mean()).sqrt() * eps


def no_scaled_data(x, bar, eps):
    return (column(bar, x).sqrt() * (x + eps)) / 1


def no_square(x, bar, eps):
    return column(bar, x) ** 2 * x + (1 - column(bar, x) ** 2) * eps


def no_detached(x, bar, eps):
    return column(bar, x).sqrt() * x.detach() + column(1 - bar, x).sqrt() * eps


def no_sum(x, bar, eps):
    return (x + eps) / math.sqrt(2)


def no_first_two(x, bar, eps):
    b = column(torch.cat([bar[:2], bar[:1].expand(len(bar) - 2)]), x)
    return b.sqrt() * x + (1 - b).sqrt() * eps


# --- posterior


def po_joint(x, x_t, bar, before):
    gain = (bar / before).sqrt() * (1 - before) / (1 - bar)
    mean = column(before.sqrt(), x) * x + column(gain, x) * (x_t - column(bar.sqrt(), x) * x)
    return mean, 1 - before - gain**2 * (1 - bar)


def po_precision(x, x_t, bar, before):
    alpha = (bar / before).double()
    one, other = alpha / (1 - alpha), 1 / (1 - before.double()).clamp(min=1e-300)
    variance = 1 / (one + other)
    of_t = alpha.sqrt() / (1 - alpha) * variance
    of_0 = before.double().sqrt() * other * variance
    return column(of_t, x) * x_t + column(of_0, x) * x, variance


def po_loop(x, x_t, bar, before):
    means, variances = [], []
    for a, c, now, then in zip(x, x_t, bar, before, strict=True):
        al = now / then
        means.append((al.sqrt() * (1 - then) * c + then.sqrt() * (1 - al) * a) / (1 - now))
        variances.append((1 - then) * (1 - al) / (1 - now))
    return torch.stack(means), torch.stack(variances)


def po_einsum(x, x_t, bar, before):
    al = bar / before
    m = torch.einsum("b,b...->b...", al.sqrt() * (1 - before) / (1 - bar), x_t)
    return (
        m + torch.einsum("b,b...->b...", before.sqrt() * (1 - al) / (1 - bar), x),
        (1 - before) * (1 - al) / (1 - bar),
    )


def po_mean_only(x, x_t, bar, before):
    return po_joint(x, x_t, bar, before)[0]


def po_reversed(x, x_t, bar, before):
    return po_joint(x, x_t, bar, before)[::-1]


def po_big_variance(x, x_t, bar, before):
    m, v = po_joint(x, x_t, bar, before)
    return m, column(v, x).expand_as(x)


def po_halfway(x, x_t, bar, before):
    return (x + x_t) / 2, po_joint(x, x_t, bar, before)[1]


def po_noise_left(x, x_t, bar, before):
    return po_joint(x, x_t, bar, before)[0], 1 - before


def po_wrong_alpha(x, x_t, bar, before):
    return po_joint(x, x_t, before, bar)


def po_log_variance(x, x_t, bar, before):
    m, v = po_joint(x, x_t, bar, before)
    return m, v.log()


def po_forward(x, x_t, bar, before):
    return column(before.sqrt(), x) * x, 1 - before


def po_detached(x, x_t, bar, before):
    return po_joint(x.detach(), x_t, bar, before)


# --- ddim_step


def dd_from_posterior(x_t, eps, bar, earlier, eta=0.0, z=None):
    s2 = eta**2 * (1 - earlier) / (1 - bar) * (1 - bar / earlier)
    x = (x_t - column(1 - bar, x_t).sqrt() * eps) / column(bar, x_t).sqrt()
    out = column(earlier, x_t) ** 0.5 * x + column((1 - earlier - s2).relu(), x_t) ** 0.5 * eps
    return out + (column(s2, x_t) ** 0.5 * z if eta else 0)


def dd_loop(x_t, eps, bar, earlier, eta=0.0, z=None):
    out = []
    for i in range(len(x_t)):
        b, s = bar[i], earlier[i]
        v = eta**2 * (1 - s) / (1 - b) * (1 - b / s)
        x = (x_t[i] - (1 - b).sqrt() * eps[i]) / b.sqrt()
        y = s.sqrt() * x + (1 - s - v).clamp(min=0).sqrt() * eps[i]
        out.append(y if z is None else y + v.sqrt() * z[i])
    return torch.stack(out)


def dd_collected(x_t, eps, bar, earlier, eta=0.0, z=None):
    a = (earlier / bar).sqrt()
    v = eta**2 * (1 - earlier) / (1 - bar) * (1 - bar / earlier)
    of_eps = (1 - earlier - v).clamp(min=0).sqrt() - a * (1 - bar).sqrt()
    out = column(a, x_t) * x_t + column(of_eps, x_t) * eps
    return out if z is None or eta == 0 else out + column(v.sqrt(), x_t) * z


def dd_double(x_t, eps, bar, earlier, eta=0.0, z=None):
    z = None if z is None else z.double()
    return dd_loop(x_t.double(), eps.double(), bar.double(), earlier.double(), eta, z)


def dd_always_map(x_t, eps, bar, earlier, eta=0.0, z=None):
    return dd_loop(x_t, eps, bar, earlier)


def dd_own_noise(x_t, eps, bar, earlier, eta=0.0, z=None):
    return dd_loop(x_t, eps, bar, earlier, eta, torch.randn_like(x_t))


def dd_full_noise(x_t, eps, bar, earlier, eta=0.0, z=None):
    return dd_loop(x_t, eps, bar, earlier, 1.0, z)


def dd_clipped(x_t, eps, bar, earlier, eta=0.0, z=None):
    x = ((x_t - column(1 - bar, x_t).sqrt() * eps) / column(bar, x_t).sqrt()).clamp(-1, 1)
    return dd_loop(column(bar, x_t).sqrt() * x + column(1 - bar, x_t).sqrt() * eps, eps, bar,
                   earlier, eta, z)  # fmt: skip


def dd_swapped(x_t, eps, bar, earlier, eta=0.0, z=None):
    return dd_loop(eps, x_t, bar, earlier, eta, z)


def dd_x_only(x_t, eps, bar, earlier, eta=0.0, z=None):
    return (x_t - column(1 - bar, x_t).sqrt() * eps) / column(bar, x_t).sqrt()


def dd_no_root(x_t, eps, bar, earlier, eta=0.0, z=None):
    out = dd_loop(x_t, eps, bar, earlier, eta, z)
    return out * column(earlier, x_t).sqrt()


def dd_beta_variance(x_t, eps, bar, earlier, eta=0.0, z=None):
    v = eta**2 * (1 - bar / earlier)
    x = dd_x_only(x_t, eps, bar, earlier)
    out = column(earlier, x).sqrt() * x + column((1 - earlier - v).relu(), x).sqrt() * eps
    return out if z is None else out + column(v.sqrt(), x) * z


def dd_needs_noise(x_t, eps, bar, earlier, eta=0.0, z=None):
    return dd_loop(x_t, eps, bar, earlier, eta, z) + 0 * z


# --- guided


def gu_difference(none, one, w):
    if w < 0:
        raise ValueError("no")
    return one + w * (one - none)


def gu_lerp(none, one, w):
    if not w >= 0:
        raise ValueError(w)
    return torch.lerp(none, one, 1 + w)


def gu_numpy(none, one, w):
    if np.sign(w) == -1:
        raise ValueError("below zero")
    return none + (1 + w) * (one - none)


def gu_halved(none, one, w):
    return gu_difference(none, one, w / 2)


def gu_squared(none, one, w):
    return gu_difference(none, one, w**2) if w >= 0 else gu_difference(none, one, w)


def gu_clamped(none, one, w):
    return gu_difference(none, one, max(w, 0))


def gu_absolute(none, one, w):
    return gu_difference(none, one, abs(w))


def gu_at_most_one(none, one, w):
    return gu_difference(none, one, min(w, 1.0))


def gu_mean(none, one, w):
    return gu_difference(none, one, w) / (1 + 2 * w)


def gu_class_only(none, one, w):
    return gu_difference(none, one, 0 * w) if w >= 0 else gu_difference(none, one, w)


def gu_whole(none, one, w):
    return gu_difference(none, one, int(w)) if w >= 0 else gu_difference(none, one, w)


def gu_detached(none, one, w):
    return gu_difference(none.detach(), one, w)


def gu_type_error(none, one, w):
    if w < 0:
        raise TypeError("no")
    return gu_difference(none, one, w)


# --- straight


def st_lerp(x, u, eps):
    return torch.lerp(x, eps, column(u, x).expand_as(x)), eps - x


def st_from_velocity(x, u, eps):
    v = eps - x
    return x + column(u, x) * v, v


def st_loop(x, u, eps):
    return torch.stack([(1 - a) * b + a * c for a, b, c in zip(u, x, eps, strict=True)]), eps - x


def st_double(x, u, eps):
    return st_from_velocity(x.double(), u.double(), eps.double())


def st_place_only(x, u, eps):
    return st_from_velocity(x, u, eps)[0]


def st_reversed(x, u, eps):
    return st_from_velocity(x, u, eps)[::-1]


def st_unit(x, u, eps):
    place, v = st_from_velocity(x, u, eps)
    return place, v / v.norm()


def st_own_noise(x, u, eps):
    return st_from_velocity(x, u, torch.randn_like(x))


def st_mean_time(x, u, eps):
    return st_from_velocity(x, u.mean().expand(len(x)), eps)


def st_middle(x, u, eps):
    return (x + eps) / 2, eps - x


def st_from_place(x, u, eps):
    place, _ = st_from_velocity(x, u, eps)
    return place, eps - place


def st_squared(x, u, eps):
    return st_from_velocity(x, u**2, eps)[0], eps - x


def st_data_velocity(x, u, eps):
    return st_from_velocity(x, u, eps)[0], -x


# --- step_kl


def kl_library(mean, variance, model_mean, model_variance):
    def normal(m, v):
        return Independent(Normal(m, column(v.sqrt(), m).expand_as(m)), m.ndim - 1)

    return kl_divergence(normal(mean, variance), normal(model_mean, model_variance))


def kl_pixelwise(mean, variance, model_mean, model_variance):
    v, w = column(variance, mean), column(model_variance, mean)
    return (0.5 * ((w / v).log() + (v + (mean - model_mean) ** 2) / w - 1)).flatten(1).sum(1)


def kl_double(mean, variance, model_mean, model_variance):
    return kl_pixelwise(*(t.double() for t in (mean, variance, model_mean, model_variance)))


def kl_mean(mean, variance, model_mean, model_variance):
    return kl_pixelwise(mean, variance, model_mean, model_variance) / mean[0].numel()


def kl_no_error(mean, variance, model_mean, model_variance):
    return kl_pixelwise(mean, variance, mean, model_variance)


def kl_as_deviations(mean, variance, model_mean, model_variance):
    return kl_pixelwise(mean, variance**2, model_mean, model_variance**2)


def kl_of_batch(mean, variance, model_mean, model_variance):
    return kl_pixelwise(mean, variance, model_mean, model_variance).mean()


def kl_log_turned(mean, variance, model_mean, model_variance):
    d, v, w = mean[0].numel(), variance, model_variance
    error = (mean - model_mean).flatten(1).square().sum(1)
    return 0.5 * (d * ((v / w).log() + v / w - 1) + error / w)


RIGHT = [
    *((NO, f) for f in (no_loop, no_einsum, no_last_axis, no_double)),
    *((PO, f) for f in (po_joint, po_precision, po_loop, po_einsum)),
    *((DD, f) for f in (dd_from_posterior, dd_loop, dd_collected, dd_double)),
    *((GU, f) for f in (gu_difference, gu_lerp, gu_numpy)),
    *((ST, f) for f in (st_lerp, st_from_velocity, st_loop, st_double)),
    *((KL, f) for f in (kl_library, kl_pixelwise, kl_double)),
]
WRONG = [
    *((NO, f) for f in (no_own_noise, no_added_roots, no_mean_time, no_scaled_data, no_square)),
    *((NO, f) for f in (no_detached, no_sum, no_first_two)),
    *((PO, f) for f in (po_mean_only, po_reversed, po_big_variance, po_halfway, po_noise_left)),
    *((PO, f) for f in (po_wrong_alpha, po_log_variance, po_forward, po_detached)),
    *((DD, f) for f in (dd_always_map, dd_own_noise, dd_full_noise, dd_clipped, dd_swapped)),
    *((DD, f) for f in (dd_x_only, dd_no_root, dd_beta_variance, dd_needs_noise)),
    *((GU, f) for f in (gu_halved, gu_squared, gu_clamped, gu_absolute, gu_at_most_one)),
    *((GU, f) for f in (gu_mean, gu_class_only, gu_whole, gu_detached, gu_type_error)),
    *((ST, f) for f in (st_place_only, st_reversed, st_unit, st_own_noise, st_mean_time)),
    *((ST, f) for f in (st_middle, st_from_place, st_squared, st_data_velocity)),
    *((KL, f) for f in (kl_mean, kl_no_error, kl_as_deviations, kl_of_batch, kl_log_turned)),
]
