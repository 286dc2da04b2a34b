"""Answers to the exercises of 22_autoencoder, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Independent, Laplace, Normal

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


# ---- written against the clauses of the docstrings ----


def ga_independent(x, mean, std=1.0):
    return Independent(Normal(mean, std), x.dim() - 1).log_prob(x.expand_as(mean))


def ga_double_loop(x, mean, std=1.0):
    lead = mean if mean.dim() > x.dim() else mean[None]
    rows = []
    for each in lead:
        row = []
        for image, centre in zip(x, each, strict=True):
            total = 0.0
            for p, a in zip(image.flatten(), centre.flatten(), strict=True):
                total = (
                    total
                    - (p - a).double() ** 2 / (2 * std * std)
                    - math.log(std)
                    - 0.5 * math.log(2 * math.pi)
                )
            row.append(total)
        rows.append(torch.stack(row))
    out = torch.stack(rows)
    return out if mean.dim() > x.dim() else out[0]


def ga_einsum(x, mean, std=1.0):
    diff = (x - mean) / std
    diff = diff.reshape(*mean.shape[: mean.dim() - x.dim() + 1], -1)
    return -0.5 * torch.einsum("...d,...d->...", diff, diff) - diff.shape[-1] * math.log(
        std * math.sqrt(2 * math.pi)
    )


def ga_k_by_size(x, mean, std=1.0):  # K = B is taken for no K
    start = 1 if mean.shape[0] == x.shape[0] else 2
    square = ((x - mean) ** 2).flatten(start).sum(-1)
    return -square / (2 * std**2) - x[0].numel() / 2 * math.log(2 * math.pi * std**2)


def ga_log_of_density(x, mean, std=1.0):
    z = ((x - mean) / std).flatten(mean.dim() - x.dim() + 1)
    return torch.log(torch.prod(torch.exp(-0.5 * z**2) / (std * math.sqrt(2 * math.pi)), dim=-1))


def ga_log_of_pixel_density(x, mean, std=1.0):
    z = ((x - mean) / std).flatten(mean.dim() - x.dim() + 1)
    return torch.log(torch.exp(-0.5 * z**2) / (std * math.sqrt(2 * math.pi))).sum(-1)


def ga_squeezed(x, mean, std=1.0):  # K = 1 or B = 1 lost
    square = ((x - mean) ** 2).flatten(mean.dim() - x.dim() + 1).sum(-1)
    return (-square / (2 * std**2) - x[0].numel() / 2 * math.log(2 * math.pi * std**2)).squeeze()


def ga_images_only(x, mean, std=1.0):
    square = ((x - mean) ** 2).sum(dim=(-3, -2, -1) if x.dim() == 4 else -1)
    return -square / (2 * std**2) - x[0].numel() / 2 * math.log(2 * math.pi * std**2)


def ga_no_default(x, mean, std=0.5):
    square = ((x - mean) ** 2).flatten(mean.dim() - x.dim() + 1).sum(-1)
    return -square / (2 * std**2) - x[0].numel() / 2 * math.log(2 * math.pi * std**2)


def ga_norm_root(x, mean, std=1.0):  # gradient NaN at x = mean
    square = ((x - mean) ** 2).flatten(mean.dim() - x.dim() + 1).sum(-1).sqrt() ** 2
    return -square / (2 * std**2) - x[0].numel() / 2 * math.log(2 * math.pi * std**2)


def ga_rounded_std(x, mean, std=1.0):  # a variance that may not be small
    var = max(std**2, 1e-2)
    square = ((x - mean) ** 2).flatten(mean.dim() - x.dim() + 1).sum(-1)
    return -square / (2 * var) - x[0].numel() / 2 * math.log(2 * math.pi * var)


def la_loop(x, mean, scale=1.0):
    out = []
    for a, b in zip(x, mean, strict=True):
        out.append(
            -sum(
                (p - q).abs() / scale + math.log(2 * scale)
                for p, q in zip(a.flatten(), b.flatten(), strict=True)
            )
        )
    return torch.stack(out)


def la_where(x, mean, scale=1.0):
    d = x - mean
    return (torch.where(d < 0, d, -d) / scale - math.log(2 * scale)).flatten(1).sum(1)


def la_root(x, mean, scale=1.0):  # NaN gradient where x = mean
    error = ((x - mean) ** 2).sqrt().flatten(1).sum(1)
    return -error / scale - x[0].numel() * math.log(2 * scale)


def la_log_exp(x, mean, scale=1.0):
    return torch.log(torch.exp(-(x - mean).abs() / scale) / (2 * scale)).flatten(1).sum(1)


def la_smooth(x, mean, scale=1.0):  # smooth L1
    error = torch.sqrt((x - mean) ** 2 + 1e-6).flatten(1).sum(1)
    return -error / scale - x[0].numel() * math.log(2 * scale)


def la_squeezed(x, mean, scale=1.0):
    error = (x - mean).abs().flatten(1).sum(1)
    return (-error / scale - x[0].numel() * math.log(2 * scale)).squeeze()


def la_std(x, mean, scale=1.0):  # scale read as the standard deviation
    b = scale / math.sqrt(2)
    error = (x - mean).abs().flatten(1).sum(1)
    return -error / b - x[0].numel() * math.log(2 * b)


def la_other_default(x, mean, scale=0.5):
    error = (x - mean).abs().flatten(1).sum(1)
    return -error / scale - x[0].numel() * math.log(2 * scale)


def la_log2(x, mean, scale=1.0):
    error = (x - mean).abs().flatten(1).sum(1)
    return (-error / scale - x[0].numel() * math.log(2 * scale)) / math.log(2)


def tc_dilated(y, kernel, stride):
    batch, n = y.shape
    spread = torch.cat([y[:, :, None], y.new_zeros(batch, n, stride - 1)], 2).reshape(batch, -1)
    spread = spread[:, : (n - 1) * stride + 1]
    w = len(kernel) - 1
    return F.conv1d(F.pad(spread, (w, w))[:, None], kernel.flip(0)[None, None])[:, 0]


def tc_loops(y, kernel, stride):
    batch, n = y.shape
    out = []
    for b in range(batch):
        line = []
        for j in range((n - 1) * stride + len(kernel)):
            total = torch.zeros((), dtype=torch.float64)
            for i in range(n):
                if 0 <= j - i * stride < len(kernel):
                    total = total + y[b, i] * kernel[j - i * stride]
            line.append(total)
        out.append(torch.stack(line))
    return torch.stack(out)


def tc_padded_end(y, kernel, stride):  # stride longer than the kernel: a gap at the end
    n, width = y.shape[1], len(kernel)
    x = y.new_zeros(len(y), n * stride + max(width - stride, 0))
    for i in range(n):
        x[:, i * stride : i * stride + width] += y[:, i : i + 1] * kernel
    return x


def tc_no_gaps(y, kernel, stride):  # a stride above the kernel is cut to it
    stride = min(stride, len(kernel))
    return F.conv_transpose1d(y[:, None], kernel[None, None], stride=stride)[:, 0]


def tc_stride_two(y, kernel, stride):
    stride = max(stride, 2)
    return F.conv_transpose1d(y[:, None], kernel[None, None], stride=stride)[:, 0]


def tc_squeezed(y, kernel, stride):
    return F.conv_transpose1d(y[:, None], kernel[None, None], stride=stride).squeeze()


def tc_same(y, kernel, stride):
    x = F.conv_transpose1d(y[:, None], kernel[None, None], stride=stride)[:, 0]
    return x[:, : y.shape[1] * stride]


def tc_strided_full(y, kernel, stride):
    full = F.conv_transpose1d(y[:, None], kernel[None, None])[:, 0]
    return full.repeat_interleave(stride, 1)[:, : (y.shape[1] - 1) * stride + len(kernel)]


def un_compared(y, switches):
    h, w = y.shape[2:]
    up = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
    at = switches.repeat_interleave(2, 2).repeat_interleave(2, 3)
    here = torch.arange(4 * h * w).view(2 * h, 2 * w)
    return up * (at == here)


def un_negative(y, switches):
    return F.max_unpool2d(y, switches, 2).clamp(min=0)


def un_first_channel(y, switches):
    return F.max_unpool2d(y, switches[:, :1].expand_as(switches).contiguous(), 2)


def un_no_gradient(y, switches):
    b, c, h, w = y.shape
    out = np.zeros((b, c, 4 * h * w), dtype=np.float32)
    np.put_along_axis(out, switches.flatten(2).numpy(), y.detach().flatten(2).numpy(), 2)
    return torch.from_numpy(out.reshape(b, c, 2 * h, 2 * w))


def un_in_window(y, switches):
    b, c, h, w = y.shape
    out = y.new_zeros(b, c, 2 * h, 2 * w)
    for k in range(4):
        out[:, :, k // 2 :: 2, k % 2 :: 2] = y * (switches % 4 == k)
    return out


def un_spread(y, switches):
    return (
        F.max_unpool2d(y, switches, 2) * 0.25
        + y.repeat_interleave(2, 2).repeat_interleave(2, 3) * 0
    )


def un_squeezed(y, switches):
    return F.max_unpool2d(y, switches, 2).squeeze()


def st_linear(h):
    slope = 1 - torch.tanh(h.detach()) ** 2
    bits = torch.copysign(torch.ones_like(h), h + 0.0).detach()
    bits = torch.where(h.detach() == 0, torch.ones_like(bits), bits)
    return bits + slope * (h - h.detach())


def st_torch(h):
    soft = torch.tanh(h)
    return soft + (torch.sign(h) - soft).detach()


def st_above(h):
    soft = torch.tanh(h)
    return soft + ((h > 0) * 2.0 - 1 - soft).detach()


def st_copysign(h):  # minus zero
    soft = torch.tanh(h)
    return soft + (torch.copysign(torch.ones_like(h), h) - soft).detach()


def st_exponentials(h):  # overflows for large h
    soft = (h.exp() - (-h).exp()) / (h.exp() + (-h).exp())
    return soft + (torch.where(h >= 0, 1.0, -1.0) - soft).detach()


def st_by_division(h):
    soft = torch.tanh(h)
    return soft + (h / h.abs() - soft).detach()


def st_sharp(h):
    return torch.tanh(1e4 * h)


def st_softer(h):
    soft = 2 * torch.sigmoid(h) - 1
    return soft + (torch.where(h >= 0, 1.0, -1.0) - soft).detach()


GA, TC, UN = "gaussian_log_likelihood", "transposed_conv1d", "unpool"
ST, LA = "straight_through_sign", "laplace_log_likelihood"
RIGHT = [
    *((GA, f) for f in (ga_distribution, ga_double)),
    *((TC, f) for f in (tc_library, tc_matrix, tc_spread, tc_of_the_gradient)),
    *((UN, f) for f in (un_library, un_one_hot, un_loops)),
    *((ST, f) for f in (st_function, st_sigmoid, st_double)),
    *((LA, f) for f in (la_distribution, la_norm, la_double)),
    *(
        (GA, f)
        for f in (
            ga_independent,
            ga_double_loop,
            ga_einsum,
        )
    ),
    *((LA, f) for f in (la_loop,)),
    *(
        (TC, f)
        for f in (
            tc_dilated,
            tc_loops,
        )
    ),
    *((UN, f) for f in (un_compared,)),
    *((ST, f) for f in (st_linear,)),
]
WRONG = [
    *((GA, f) for f in (ga_one_leading, ga_over_the_batch, ga_log_two, ga_std_one, ga_loops)),
    *((TC, f) for f in (tc_convolution, tc_upsampled, tc_short, tc_detached)),
    *((UN, f) for f in (un_flat, un_one_off, un_filled, un_ones)),
    *((ST, f) for f in (st_clipped, st_plain, st_identity, st_rounded, st_scaled, st_random)),
    *((LA, f) for f in (la_no_two, la_normal, la_total, la_half)),
    *(
        (GA, f)
        for f in (
            ga_k_by_size,
            ga_log_of_density,
            ga_log_of_pixel_density,
            ga_squeezed,
            ga_images_only,
            ga_no_default,
            ga_norm_root,
            ga_rounded_std,
        )
    ),
    *(
        (LA, f)
        for f in (
            la_where,
            la_root,
            la_log_exp,
            la_smooth,
            la_squeezed,
            la_std,
            la_other_default,
            la_log2,
        )
    ),
    *(
        (TC, f)
        for f in (
            tc_padded_end,
            tc_no_gaps,
            tc_stride_two,
            tc_squeezed,
            tc_same,
            tc_strided_full,
        )
    ),
    *(
        (UN, f)
        for f in (
            un_negative,
            un_first_channel,
            un_no_gradient,
            un_in_window,
            un_spread,
            un_squeezed,
        )
    ),
    *(
        (ST, f)
        for f in (
            st_torch,
            st_above,
            st_copysign,
            st_exponentials,
            st_by_division,
            st_sharp,
            st_softer,
        )
    ),
]

SAID = [
    (GA, ga_loops, "the gradient with respect to mean is not"),
    (TC, tc_detached, "no gradient flows back to kernel"),
    (UN, un_flat, "The numbers are right"),
    (ST, st_clipped, "backwards yours is the derivative of h clipped"),
    (ST, st_softer, "the gradient with respect to h is not"),
    (ST, st_above, "Zero counts as +1"),
    (UN, un_squeezed, "One image or one channel keeps its dimension"),
    (LA, la_total, "shape"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "22_autoencoder"), answer).sentence
