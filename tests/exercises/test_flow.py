"""Answers to the exercises of 25_flow, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import torch
import torch.nn.functional as F
from torch.distributions import AffineTransform, Independent, Normal

LP, CV, AF, SQ, NL = "flow_log_prob", "conv1x1", "affine", "squeeze", "noise_log_prob"


# --- flow_log_prob -------------------------------------------------------------------------------


def lp_distribution(c, log_det):
    normal = Normal(torch.zeros_like(c), torch.ones_like(c))
    return Independent(normal, c.dim() - 1).log_prob(c) + log_det


def lp_double(c, log_det):
    c = c.double().reshape(len(c), -1)
    return -(c.square().sum(1) + c.shape[1] * math.log(2 * math.pi)) / 2 + log_det.double()


def lp_loop(c, log_det):
    rows = [
        -0.5 * (row.pow(2) + math.log(2 * math.pi)).sum() + d
        for row, d in zip(c, log_det, strict=True)
    ]
    return torch.stack(rows)


def lp_minus(c, log_det):
    return lp_distribution(c, log_det) - 2 * log_det


def lp_density(c, log_det):
    return lp_distribution(c, log_det).exp()


def lp_base_two(c, log_det):
    return lp_distribution(c, log_det) / math.log(2)


def lp_two_pi(c, log_det):
    return lp_distribution(c, log_det) + 0.5 * math.log(2 * math.pi) * (c[0].numel() - 1)


def lp_mean_det(c, log_det):
    return lp_distribution(c, 0) + log_det.mean()


def lp_batch(c, log_det):
    return -0.5 * (c**2 + math.log(2 * math.pi)).sum(0) + log_det.sum()


def lp_scalar(c, log_det):
    return lp_distribution(c, log_det).sum()


def lp_absolute(c, log_det):
    return lp_distribution(c, log_det.abs())


def lp_root(c, log_det):
    return -0.5 * (c.abs() + math.log(2 * math.pi)).flatten(1).sum(1) + log_det


def lp_detached(c, log_det):
    return lp_distribution(c, log_det.detach())


# --- conv1x1 -------------------------------------------------------------------------------------


def cv_library(x, weight):
    c = (x.flatten(2).mT @ weight.T).mT.reshape(x.shape) if x.dim() > 2 else x @ weight.T
    places = math.prod(x.shape[2:])
    return c, torch.linalg.slogdet(weight)[1].repeat(len(x)) * places


def cv_conv2d(x, weight):
    whole = x if x.dim() == 4 else x[..., None, None]
    c = F.conv2d(whole, weight[:, :, None, None]).reshape(x.shape)
    log_det = torch.slogdet(weight)[1] * (whole.shape[2] * whole.shape[3])
    return c, log_det + torch.zeros(len(x))


def cv_tensordot(x, weight):
    c = torch.tensordot(x, weight, dims=([1], [1])).movedim(-1, 1)
    log_det = torch.linalg.svdvals(weight.double()).log().sum() * x[0, 0].numel()
    return c, log_det.expand(len(x)).float()


def _cv(x, weight, log_det):
    return cv_library(x, weight)[0], log_det


def cv_rows_only(x, weight):
    return _cv(x, weight, torch.slogdet(weight)[1].repeat(len(x)) * x.shape[-1])


def cv_scalar(x, weight):
    return _cv(x, weight, torch.slogdet(weight)[1] * x[0, 0].numel())


def cv_only_c(x, weight):
    return cv_library(x, weight)[0]


def cv_swapped(x, weight):
    return tuple(reversed(cv_library(x, weight)))


def cv_inverse(x, weight):
    return cv_library(x, torch.linalg.inv(weight))


def cv_log10(x, weight):
    return _cv(x, weight, cv_library(x, weight)[1] / math.log(10))


def cv_trace(x, weight):
    return _cv(x, weight, weight.trace().abs().log().repeat(len(x)) * x[0, 0].numel())


def cv_diagonal(x, weight):
    return _cv(x, weight, weight.diagonal().abs().log().sum().repeat(len(x)) * x[0, 0].numel())


def cv_no_gradient(x, weight):
    return _cv(x, weight, cv_library(x, weight)[1].detach())


# --- affine --------------------------------------------------------------------------------------


def af_distribution(x, log_scale, shift):
    transform = AffineTransform(shift, log_scale.exp())
    c = transform(x)
    return c, transform.log_abs_det_jacobian(x, c).reshape(len(x), -1).sum(1)


def af_addcmul(x, log_scale, shift):
    return torch.addcmul(shift, x, math.e**log_scale), torch.einsum("b...->b", log_scale)


def af_double(x, log_scale, shift):
    s = log_scale.double()
    return x.double() * torch.exp(s) + shift.double(), s.sum(dim=tuple(range(1, s.dim())))


def af_softplus(x, log_scale, shift):
    return x * F.softplus(log_scale) + shift, F.softplus(log_scale).log().flatten(1).sum(1)


def af_no_shift(x, log_scale, shift):
    return x * log_scale.exp(), log_scale.flatten(1).sum(1)


def af_minus_shift(x, log_scale, shift):
    return x * log_scale.exp() - shift, log_scale.flatten(1).sum(1)


def af_one_plus(x, log_scale, shift):
    return x * (1 + log_scale) + shift, (1 + log_scale).abs().log().flatten(1).sum(1)


def af_last_axis(x, log_scale, shift):
    return x * log_scale.exp() + shift, log_scale.sum(0)


def af_no_sum(x, log_scale, shift):
    return x * log_scale.exp() + shift, log_scale


def af_two(x, log_scale, shift):
    return x * 2**log_scale + shift, log_scale.flatten(1).sum(1) * math.log(2)


def af_square(x, log_scale, shift):
    return x * (2 * log_scale).exp() + shift, 2 * log_scale.flatten(1).sum(1)


def af_detached(x, log_scale, shift):
    return x * log_scale.exp() + shift, log_scale.detach().flatten(1).sum(1)


# --- squeeze -------------------------------------------------------------------------------------


def sq_library(x):
    return F.pixel_unshuffle(x, 2)  # its error is a RuntimeError: see sq_checked


def sq_checked(x):
    if any(side % 2 for side in x.shape[-2:]):
        raise ValueError("odd")
    return sq_library(x)


def sq_slices(x):
    if x.shape[2] % 2 == 1 or x.shape[3] % 2 == 1:
        raise ValueError("an odd side")
    parts = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return torch.stack(parts, dim=2).flatten(1, 2)


def sq_unfold(x):
    B, C, H, W = x.shape
    if H % 2 or W % 2:
        raise ValueError((H, W))
    return F.unfold(x, 2, stride=2).reshape(B, 4 * C, H // 2, W // 2)


def sq_cat(x):
    return torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)


def sq_turned(x):
    return sq_checked(x).mT


def sq_up(x):
    return F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2)


def sq_max(x):
    return F.max_pool2d(x, 2).repeat(1, 4, 1, 1)


def sq_view(x):
    B, C, H, W = x.shape
    return x.reshape(B, C, 2, H // 2, 2, W // 2).permute(0, 1, 2, 4, 3, 5).flatten(1, 3)


def sq_backwards(x):
    return sq_checked(x).flip(1)


def sq_columns(x):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // 2, 2, W // 2, 2).permute(0, 1, 5, 3, 2, 4).flatten(1, 3)


def sq_detached(x):
    return sq_checked(x).detach().clone()


# --- noise_log_prob ------------------------------------------------------------------------------


def nl_written_out(eps, y, log_det):
    slope = -F.softplus(-y) - F.softplus(y)
    return lp_distribution(eps, -log_det) - slope.reshape(len(y), -1).sum(1)


def nl_double(eps, y, log_det):
    y = y.double()
    each = (y.abs() + 2 * torch.log1p((-y.abs()).exp())).flatten(1).sum(1)
    return lp_distribution(eps.double(), -log_det.double()) + each


def nl_mended(eps, y, log_det):
    log_normal = -0.5 * (eps**2 + math.log(2 * math.pi)).flatten(1).sum(dim=1)
    slope = F.logsigmoid(y) + F.logsigmoid(-y)
    return log_normal - (slope.flatten(1).sum(dim=1) + log_det)


def nl_clamped(eps, y, log_det):
    u = torch.sigmoid(y).clamp(1e-6, 1 - 1e-6)
    return lp_distribution(eps, -log_det) - (u * (1 - u)).log().flatten(1).sum(1)


def nl_twice(eps, y, log_det):
    return nl_mended(eps, y, log_det) - (F.logsigmoid(y) + F.logsigmoid(-y)).flatten(1).sum(1)


def nl_mean(eps, y, log_det):
    slope = (F.logsigmoid(y) + F.logsigmoid(-y)).flatten(1).mean(1)
    return lp_distribution(eps, -log_det) - slope


def nl_one_side(eps, y, log_det):
    """Half of the slope: log u without log(1 - u)."""
    return lp_distribution(eps, -log_det) - F.logsigmoid(y).flatten(1).sum(1)


def nl_of_y(eps, y, log_det):
    return lp_distribution(y, -log_det) - (F.logsigmoid(y) + F.logsigmoid(-y)).flatten(1).sum(1)


WRONG = [
    *((LP, f) for f in (lp_minus, lp_density, lp_base_two, lp_two_pi, lp_mean_det, lp_batch,
                        lp_scalar, lp_absolute, lp_root, lp_detached)),
    *((CV, f) for f in (cv_rows_only, cv_scalar, cv_only_c, cv_swapped, cv_inverse, cv_log10,
                        cv_trace, cv_diagonal, cv_no_gradient)),
    *((AF, f) for f in (af_softplus, af_no_shift, af_minus_shift, af_one_plus, af_last_axis,
                        af_no_sum, af_two, af_square, af_detached)),
    *((SQ, f) for f in (sq_library, sq_cat, sq_turned, sq_up, sq_max, sq_view, sq_backwards,
                        sq_columns, sq_detached)),
    *((NL, f) for f in (nl_clamped, nl_twice, nl_mean, nl_one_side, nl_of_y)),
]  # fmt: skip

RIGHT = [
    *((LP, f) for f in (lp_distribution, lp_double, lp_loop)),
    *((CV, f) for f in (cv_library, cv_conv2d, cv_tensordot)),
    *((AF, f) for f in (af_distribution, af_addcmul, af_double)),
    *((SQ, f) for f in (sq_checked, sq_slices, sq_unfold)),
    *((NL, f) for f in (nl_written_out, nl_double, nl_mended)),
]
