"""Exercises of notebook 22_autoencoder: errors as likelihoods, larger images, codes of bits."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.vision import autoencoder

NOTEBOOK = "22_autoencoder"


def _normal(seed):
    """A function that draws normal numbers of a given shape."""
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g)


# --- gaussian_log_likelihood -------------------------------------------------------------------


def _squares(x, mean):
    return ((x - mean) ** 2).flatten(mean.dim() - x.dim() + 1).sum(-1)


def _constant(x, std):
    return x[0].numel() / 2 * math.log(2 * math.pi * std**2)


def _gaussians(seed):
    normal = _normal(seed)
    return [
        (normal(3, 1, 2, 5), normal(3, 1, 2, 5), 0.7),
        (normal(4, 6), normal(4, 6), 1.6),
        (normal(5, 1, 3, 2), normal(3, 5, 1, 3, 2), 0.4),  # three decoded codes per image
    ]


exercise(
    autoencoder.gaussian_log_likelihood,
    cases=_gaussians,
    mistakes={
        "constant forgotten": (
            lambda x, mean, std=1.0: -_squares(x, mean) / (2 * std**2),
            "You left out the constant, as the slide does (erratum N19): minus d/2 log(2 pi s^2).",
        ),
        "constant of one pixel": (
            lambda x, mean, std=1.0: (
                -_squares(x, mean) / (2 * std**2) - 0.5 * math.log(2 * math.pi * std**2)
            ),
            "Your constant is that of one pixel. Every one of the d pixels has its own density.",
        ),
        "half forgotten": (
            lambda x, mean, std=1.0: -_squares(x, mean) / std**2 - _constant(x, std),
            "The squared error is divided by 2 s^2, not by s^2.",
        ),
        "standard deviation not squared": (
            lambda x, mean, std=1.0: -_squares(x, mean) / (2 * std) - _constant(x, std),
            "You divided by 2 s. The variance s^2 belongs there.",
        ),
        "mean over the pixels": (
            lambda x, mean, std=1.0: (
                -_squares(x, mean) / x[0].numel() / (2 * std**2) - _constant(x, std)
            ),
            "You averaged the squares over the pixels. Independent pixels multiply their "
            "densities, so the squares add up.",
        ),
        "a loss": (
            lambda x, mean, std=1.0: _squares(x, mean) / (2 * std**2) + _constant(x, std),
            "Yours has the other sign: it is the loss.",
        ),
    },
    hints=[
        "One pixel: log of the normal density, -(x - a)^2 / (2 s^2) - 1/2 log(2 pi s^2). Pixels "
        "add up.",
        "There may be K reconstructions in front. Count the pixels' dimensions from the end: "
        "mean.dim() - x.dim() + 1 is the first of them.",
        "((x - mean) ** 2).flatten(start_dim=mean.dim() - x.dim() + 1).sum(dim=-1) is the "
        "squared error of each.",
    ],
    grad=["mean"],
)


# --- transposed_conv1d -------------------------------------------------------------------------


def _stamped(y, kernel, stride):
    weight = kernel[None, None]
    return F.conv_transpose1d(y[:, None], weight, stride=stride)[:, 0]


def _overwritten(y, kernel, stride):
    n, width = y.shape[1], kernel.shape[0]
    x = y.new_zeros(y.shape[0], (n - 1) * stride + width)
    for i in range(n):
        x[:, i * stride : i * stride + width] = y[:, i : i + 1] * kernel
    return x


def _signals(seed):
    normal = _normal(seed)
    return [
        (normal(3, 4), normal(3), 2),  # stamps that overlap in every second place
        (normal(4, 6), normal(5), 3),
        (normal(5, 3), normal(2), 4),  # stamps with gaps between them
        (normal(3, 7), normal(4), 1),
    ]


exercise(
    autoencoder.transposed_conv1d,
    cases=_signals,
    mistakes={
        "overwritten, not added": (
            _overwritten,
            "Where two stamps overlap, yours keeps the later one. They add up: use +=.",
        ),
        "kernel turned round": (
            lambda y, kernel, stride: _stamped(y, kernel.flip(0), stride),
            "You stamped the kernel back to front. The first weight goes to the place i * stride.",
        ),
        "stride forgotten": (
            lambda y, kernel, stride: _stamped(y, kernel, 1),
            "Your stamps lie one place apart. Stamp i begins at i * stride.",
        ),
        "overlaps averaged": (
            lambda y, kernel, stride: (
                _stamped(y, kernel, stride)
                / _stamped(torch.ones_like(y), torch.ones_like(kernel), stride).clamp(min=1)
            ),
            "You averaged where stamps overlap. That would hide the checkerboard; the transposed "
            "convolution adds them up.",
        ),
    },
    hints=[
        "Start from zeros, as long as the last stamp reaches: (n - 1) * stride + K.",
        "Stamp i covers the places i * stride to i * stride + K - 1. Add y[:, i] times the "
        "kernel there.",
        "x[:, i * stride : i * stride + K] += y[:, i : i + 1] * kernel, for every i.",
    ],
    grad=True,
)


# --- unpool ------------------------------------------------------------------------------------


def _pooled(seed):
    normal = _normal(seed)
    cases = []
    for shape in ((3, 2, 8, 10), (4, 3, 2, 12), (5, 2, 6, 8)):
        _, switches = F.max_pool2d(normal(*shape), 2, return_indices=True)
        cases.append((normal(*switches.shape), switches))  # other values at the same places
    return cases


def _corner(y, down, right):
    out = torch.stack([y if i == right else torch.zeros_like(y) for i in range(2)], -1)
    out = out.flatten(-2)  # (B, C, h, 2w)
    rows = [out if i == down else torch.zeros_like(out) for i in range(2)]
    return torch.stack(rows, -2).flatten(-3, -2)


exercise(
    autoencoder.unpool,
    cases=_pooled,
    mistakes={
        "upsampling": (
            lambda y, switches: y.repeat_interleave(2, -1).repeat_interleave(2, -2),
            "You copied each value to all four places: that is upsampling, which needs no "
            "switches. Unpooling fills one place of the four.",
        ),
        "always the first corner": (
            lambda y, switches: _corner(y, 0, 0),
            "You put each value into the upper left place of its four. The switches say where "
            "the maximum was.",
        ),
        "always the last corner": (
            lambda y, switches: _corner(y, 1, 1),
            "You put each value into the lower right place of its four. The switches say where "
            "the maximum was.",
        ),
        "spread over four places": (
            lambda y, switches: y.repeat_interleave(2, -1).repeat_interleave(2, -2) / 4,
            "You shared each value out over its four places. Max-pooling took one of the four; "
            "the switches say which.",
        ),
    },
    hints=[
        "Make a plane of zeros with 4 h w places for each image and channel, flat.",
        "scatter(2, places, values) writes values[b, c, i] to the place places[b, c, i].",
        "torch.zeros(B, C, 4 * h * w).scatter(2, switches.flatten(2), y.flatten(2)), then "
        "reshape to (B, C, 2h, 2w).",
    ],
    grad=["y"],
)


# --- straight_through_sign ---------------------------------------------------------------------


def _signs(seed):
    normal = _normal(seed)
    zeros = normal(4, 5)
    zeros[0, 0] = 0.0
    return [(normal(3, 2),), (2 * normal(5, 7),), (zeros,)]


def _sign(h):
    return torch.where(h >= 0, 1.0, -1.0).to(h.dtype)


exercise(
    autoencoder.straight_through_sign,
    cases=_signs,
    mistakes={
        "soft bits": (
            lambda h: torch.tanh(h),
            "Yours are numbers between -1 and 1, which hold more than one bit each. Forwards it "
            "must be the sign.",
        ),
        "signs exchanged": (
            lambda h: -torch.tanh(h) - (_sign(h) - torch.tanh(h)).detach(),
            "Your bits are turned round: a positive h is to become +1.",
        ),
        "zeros and ones": (
            lambda h: (lambda s: s + ((h >= 0).to(h.dtype) - s).detach())(torch.tanh(h)),
            "Your bits are 0 and 1. Here they are -1 and 1.",
        ),
        "sign of zero": (
            lambda h: (lambda s: s + (torch.sign(h) - s).detach())(torch.tanh(h)),
            "torch.sign(0) is 0, a third value. Zero is to count as +1.",
        ),
    },
    hints=[
        "A tensor t.detach() has the value of t and no gradient.",
        "soft + (bits - soft).detach() has the value of bits and the gradient of soft.",
        "bits = torch.where(h >= 0, 1.0, -1.0) and soft = torch.tanh(h).",
    ],
    grad=True,
)


# --- laplace_log_likelihood --------------------------------------------------------------------


def _absolute(x, mean):
    return (x - mean).abs().flatten(1).sum(-1)


def _laplaces(seed):
    normal = _normal(seed)
    return [
        (normal(3, 1, 2, 5), normal(3, 1, 2, 5), 0.7),
        (normal(4, 6), normal(4, 6), 1.6),
        (normal(5, 1, 3, 2), normal(5, 1, 3, 2), 0.3),
    ]


exercise(
    autoencoder.laplace_log_likelihood,
    cases=_laplaces,
    mistakes={
        "constant forgotten": (
            lambda x, mean, scale=1.0: -_absolute(x, mean) / scale,
            "You left out the constant, -d log(2 b). Without it the density does not integrate "
            "to one.",
        ),
        "constant of one pixel": (
            lambda x, mean, scale=1.0: -_absolute(x, mean) / scale - math.log(2 * scale),
            "Your constant is that of one pixel. Each of the d pixels brings -log(2 b).",
        ),
        "squared error": (
            lambda x, mean, scale=1.0: (
                -((x - mean) ** 2).flatten(1).sum(-1) / scale - x[0].numel() * math.log(2 * scale)
            ),
            "You took the squared error. The Laplace density falls with the absolute one.",
        ),
        "mean over the pixels": (
            lambda x, mean, scale=1.0: (
                -(x - mean).abs().flatten(1).mean(-1) / scale - x[0].numel() * math.log(2 * scale)
            ),
            "You averaged over the pixels. Their log-densities add up.",
        ),
        "a loss": (
            lambda x, mean, scale=1.0: (
                _absolute(x, mean) / scale + x[0].numel() * math.log(2 * scale)
            ),
            "Yours has the other sign: it is the loss.",
        ),
    },
    hints=[
        "One pixel: the density is exp(-|x - a| / b) / (2 b). Take its logarithm; pixels add up.",
        "(x - mean).abs().flatten(start_dim=1).sum(dim=-1) is the absolute error of each image.",
        "The constant is x[0].numel() times log(2 b).",
    ],
    grad=["mean"],
)
