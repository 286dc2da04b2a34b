"""Answers to the exercises of 22_autoencoder, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Laplace, Normal

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def pixels(x):
    return tuple(range(1 - x.dim(), 0))


def ga_distribution(x, mean, std=1.0):
    return Normal(mean, std).log_prob(x.expand_as(mean)).sum(pixels(x))


def ga_double(x, mean, std=1.0):
    z = (x.double() - mean.double()) / std
    return -0.5 * (z**2 + math.log(2 * math.pi) + 2 * math.log(std)).sum(pixels(x))


def ga_loops(x, mean, std=1.0):
    flat = mean.reshape(-1, *x.shape)
    out = [
        [Normal(m, std).log_prob(v).sum().item() for m, v in zip(f, x, strict=True)] for f in flat
    ]
    return torch.tensor(out).reshape(mean.shape[: mean.dim() - x.dim() + 1]) + 0 * mean.sum()


def ga_one_leading(x, mean, std=1.0):
    return Normal(mean, std).log_prob(x.expand_as(mean)).flatten(1).sum(1)


def ga_over_the_batch(x, mean, std=1.0):
    return Normal(mean, std).log_prob(x.expand_as(mean)).sum()


def ga_log_two(x, mean, std=1.0):
    return ga_distribution(x, mean, std) / math.log(2)


def ga_std_one(x, mean, std=1.0):
    return ga_distribution(x, mean, 1.0)


def tc_library(y, kernel, stride):
    return F.conv_transpose1d(y[:, None], kernel[None, None], stride=stride)[:, 0]


def tc_matrix(y, kernel, stride):
    n, width = y.shape[1], len(kernel)
    rows = []
    for i in range(n):
        rows.append(F.pad(kernel, (i * stride, (n - 1 - i) * stride)))
    assert rows[0].shape[0] == (n - 1) * stride + width
    return y @ torch.stack(rows)


def tc_spread(y, kernel, stride):
    """Zeros between the inputs, then a full convolution with the kernel turned round."""
    n, width = y.shape[1], len(kernel)
    spread = torch.stack([y, *(torch.zeros_like(y) for _ in range(stride - 1))], 2).flatten(1)
    spread = F.pad(spread[:, : (n - 1) * stride + 1], (width - 1, width - 1))
    return F.conv1d(spread[:, None], kernel.flip(0)[None, None])[:, 0]


def tc_of_the_gradient(y, kernel, stride):
    length = (y.shape[1] - 1) * stride + len(kernel)
    x = torch.zeros(len(y), 1, length, requires_grad=True)
    down = F.conv1d(x, kernel[None, None], stride=stride)
    return torch.autograd.grad((down[:, 0] * y).sum(), x, create_graph=True)[0][:, 0]


def tc_convolution(y, kernel, stride):
    return F.conv1d(y[:, None], kernel[None, None], padding=len(kernel) - 1)[:, 0]


def tc_upsampled(y, kernel, stride):
    wide = y.repeat_interleave(stride, 1)
    return F.conv_transpose1d(wide[:, None], kernel[None, None])[:, 0][
        :, : (y.shape[1] - 1) * stride + len(kernel)
    ]


def tc_short(y, kernel, stride):
    return tc_library(y, kernel, stride)[:, :-1]


def tc_detached(y, kernel, stride):
    return tc_library(y, kernel.detach(), stride)


def un_library(y, switches):
    return F.max_unpool2d(y, switches, 2)


def un_one_hot(y, switches):
    h, w = y.shape[2:]
    places = F.one_hot(switches.flatten(2), 4 * h * w).to(y.dtype)
    return torch.einsum("bci,bcij->bcj", y.flatten(2), places).reshape(*y.shape[:2], 2 * h, 2 * w)


def un_loops(y, switches):
    b, c, h, w = y.shape
    out = torch.zeros(b, c, 2 * h, 2 * w)
    for i in range(b):
        for j in range(c):
            for value, place in zip(y[i, j].flatten(), switches[i, j].flatten(), strict=True):
                out[i, j, place // (2 * w), place % (2 * w)] = value
    return out


def un_flat(y, switches):
    return un_library(y, switches).flatten(2)


def un_one_off(y, switches):
    return un_library(y, switches).roll(1, -1)


def un_filled(y, switches):
    return torch.where(un_library(y, switches) == 0, -1.0, un_library(y, switches))


def un_ones(y, switches):
    return un_library(torch.ones_like(y), switches) * y.mean()


def st_function(h):
    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h):
            ctx.save_for_backward(h)
            return 2.0 * (h >= 0) - 1.0

        @staticmethod
        def backward(ctx, grad):
            return grad * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)

    return Sign.apply(h)


def st_sigmoid(h):
    soft = 2 * torch.sigmoid(2 * h) - 1
    return soft - soft.detach() + (2.0 * (h >= 0) - 1.0)


def st_double(h):
    soft = torch.tanh(h.double())
    return soft + ((h >= 0).double() * 2 - 1 - soft).detach()


def st_clipped(h):
    soft = h.clamp(-1, 1)
    return soft + (2.0 * (h >= 0) - 1.0 - soft).detach()


def st_plain(h):
    return _plus_or_minus(h) + 0 * h


def _plus_or_minus(h):
    return 2.0 * (h >= 0) - 1.0


def st_identity(h):
    return h + (_plus_or_minus(h) - h).detach()


def st_rounded(h):
    return torch.tanh(h).round()


def st_scaled(h):
    soft = torch.tanh(h)
    return 2 * soft + (2.0 * (h >= 0) - 1.0 - 2 * soft).detach()


def st_random(h):
    soft = torch.tanh(h)
    return soft + (2 * torch.bernoulli((1 + soft) / 2) - 1 - soft).detach()


def la_distribution(x, mean, scale=1.0):
    return Laplace(mean, scale).log_prob(x).flatten(1).sum(1)


def la_norm(x, mean, scale=1.0):
    gap = torch.linalg.vector_norm((x - mean).flatten(1), ord=1, dim=1)
    return -gap / scale - math.log(2 * scale) * math.prod(x.shape[1:])


def la_double(x, mean, scale=1.0):
    return la_distribution(x.double(), mean.double(), scale)


def la_no_two(x, mean, scale=1.0):
    return -(x - mean).abs().flatten(1).sum(1) / scale - x[0].numel() * math.log(scale)


def la_normal(x, mean, scale=1.0):
    return Normal(mean, scale).log_prob(x).flatten(1).sum(1)


def la_total(x, mean, scale=1.0):
    return la_distribution(x, mean, scale).mean()


def la_half(x, mean, scale=1.0):
    return -(x - mean).abs().flatten(1).sum(1) / (2 * scale) - x[0].numel() * math.log(2 * scale)


GA, TC, UN = "gaussian_log_likelihood", "transposed_conv1d", "unpool"
ST, LA = "straight_through_sign", "laplace_log_likelihood"
RIGHT = [
    *((GA, f) for f in (ga_distribution, ga_double)),
    *((TC, f) for f in (tc_library, tc_matrix, tc_spread, tc_of_the_gradient)),
    *((UN, f) for f in (un_library, un_one_hot, un_loops)),
    *((ST, f) for f in (st_function, st_sigmoid, st_double)),
    *((LA, f) for f in (la_distribution, la_norm, la_double)),
]
WRONG = [
    *((GA, f) for f in (ga_one_leading, ga_over_the_batch, ga_log_two, ga_std_one, ga_loops)),
    *((TC, f) for f in (tc_convolution, tc_upsampled, tc_short, tc_detached)),
    *((UN, f) for f in (un_flat, un_one_off, un_filled, un_ones)),
    *((ST, f) for f in (st_clipped, st_plain, st_identity, st_rounded, st_scaled, st_random)),
    *((LA, f) for f in (la_no_two, la_normal, la_total, la_half)),
]

SAID = [
    (GA, ga_loops, "the gradient with respect to mean is not"),
    (TC, tc_detached, "no gradient flows back to kernel"),
    (UN, un_flat, "The numbers are right"),
    (ST, st_clipped, "the gradient with respect to h is not"),
    (LA, la_total, "shape"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "22_autoencoder"), answer).sentence
