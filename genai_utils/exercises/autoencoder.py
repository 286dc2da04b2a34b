"""Exercises of notebook 22_autoencoder: errors as likelihoods, larger images, codes of bits."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
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


def _gaussian(x, mean, std=1.0):
    return -_squares(x, mean) / (2 * std**2) - _constant(x, std)


def _density_first(x, mean, std=1.0):
    z = ((x - mean) / std).double().flatten(mean.dim() - x.dim() + 1)
    return torch.log(torch.exp(-0.5 * z**2) / (std * math.sqrt(2 * math.pi))).sum(-1)


def _leading_by_size(x, mean, std=1.0):
    start = 1 if mean.shape[0] == x.shape[0] else 2
    return -((x - mean) ** 2).flatten(start).sum(-1) / (2 * std**2) - _constant(x, std)


def _images_or_rows(x, mean, std=1.0):
    square = ((x - mean) ** 2).sum((-3, -2, -1) if x.dim() == 4 else -1)
    return -square / (2 * std**2) - _constant(x, std)


def _by_the_root(x, mean, std=1.0):
    return -(_squares(x, mean).sqrt() ** 2) / (2 * std**2) - _constant(x, std)


def _met_exactly(seed):
    normal = _normal(seed)
    x, mean = normal(3, 5), normal(3, 5)
    mean[1] = x[1]
    return [(x, mean, 0.8)]


def _pairs(seed, *shapes, std=0.7):
    normal = _normal(seed)
    return [(normal(*x), normal(*mean), std) for x, mean in shapes]


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
    clauses={
        "std left out": Clause(
            lambda seed: [(x, mean) for x, mean, _ in _gaussians(seed)],
            "Where no std is given, it is 1.",
            lambda x, mean, std=0.5: _gaussian(x, mean, std),
        ),
        "any number of dimensions": Clause(
            lambda seed: _pairs(seed, ((3, 2, 5), (3, 2, 5)), ((4, 3, 2), (2, 4, 3, 2))),
            "All dimensions of x behind the batch are pixels, however many there are: (B, d), "
            "(B, h, w), (B, C, h, w). An image has one log-likelihood.",
            _images_or_rows,
        ),
        "as many means as images": Clause(
            lambda seed: _pairs(seed, ((3, 4), (3, 3, 4)), ((2, 1, 3, 5), (2, 2, 1, 3, 5))),
            "K may be as large as B. Whether there are K means in front is told by the number of "
            "dimensions, not by a size.",
            _leading_by_size,
        ),
        "sizes of one": Clause(
            lambda seed: _pairs(seed, ((1, 4), (1, 4)), ((3, 4), (1, 3, 4)), ((1, 4), (3, 1, 4))),
            "One image, or one mean for each (K = 1), keeps its dimension: the shape is (B,) or "
            "(K, B), whatever the sizes.",
            lambda x, mean, std=1.0: _gaussian(x, mean, std).squeeze(),
        ),
        "pixels far from the mean": Clause(
            lambda seed: _pairs(seed, ((3, 40), (3, 40)), std=0.01),
            "Many standard deviations from the mean the density is zero in floating point, and "
            "the logarithm of that is minus infinity. The logarithm itself is a plain square.",
            _density_first,
        ),
        "an image met exactly": Clause(
            _met_exactly,
            "Where the mean meets an image exactly, its log-likelihood is the constant and has "
            "the gradient 0. A square root has no gradient at 0.",
            _by_the_root,
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
        (normal(5, 3), normal(6), 4),
        (normal(3, 7), normal(4), 1),
    ]


def _gaps(seed):
    normal = _normal(seed)
    return [(normal(5, 3), normal(2), 4), (normal(3, 4), normal(1), 2)]


def _gap_behind_the_last(y, kernel, stride):
    return F.pad(_stamped(y, kernel, stride), (0, max(stride - kernel.shape[0], 0)))


def _short_signals(seed):
    normal = _normal(seed)
    return [
        (normal(1, 4), normal(3), 2),
        (normal(3, 1), normal(1), 1),
        (normal(3, 1), normal(4), 3),
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
    clauses={
        "stride longer than the kernel": Clause(
            _gaps,
            "Where the stride is longer than the kernel, zeros stay between the stamps, and none "
            "behind the last one: the length is (n - 1) s + K.",
            _gap_behind_the_last,
        ),
        "sizes of one": Clause(
            _short_signals,
            "One signal, one value or a kernel of one weight keeps its dimension: the shape is "
            "(B, (n - 1) s + K), whatever the sizes.",
            lambda y, kernel, stride: _stamped(y, kernel, stride).squeeze(),
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
        # Other values at the same places, positive as after a ReLU.
        cases.append((normal(*switches.shape).abs() + 0.1, switches))
    return cases


def _one_plane(seed):
    cases = []
    for shape in ((1, 1, 4, 6), (3, 1, 2, 4), (1, 2, 2, 2)):
        y, switches = F.max_pool2d(_normal(seed)(*shape), 2, return_indices=True)
        cases.append((y.abs(), switches))
    return cases


def _largest_in_place(y, switches):
    b, c, h, w = y.shape
    plane = y.new_zeros(b, c, 4 * h * w)
    plane = plane.scatter_reduce(2, switches.flatten(2), y.flatten(2), "amax")
    return plane.reshape(b, c, 2 * h, 2 * w)


def _corner(y, down, right):
    out = torch.stack([y if i == right else torch.zeros_like(y) for i in range(2)], -1)
    out = out.flatten(-2)  # (B, C, h, 2w)
    rows = [out if i == down else torch.zeros_like(out) for i in range(2)]
    return torch.stack(rows, -2).flatten(-3, -2)


def _in_one_plane(y, switches):
    b, c, h, w = y.shape
    plane = [0.0] * (4 * b * c * h * w)
    for place, value in zip(switches.flatten().tolist(), y.flatten().tolist(), strict=True):
        plane[place] = value
    return torch.tensor(plane, dtype=y.dtype).reshape(b, c, 2 * h, 2 * w)


def _by_columns(y, switches):
    b, c, h, w = y.shape
    plane = y.new_zeros(b, c, 4 * h * w).scatter(2, switches.flatten(2), y.flatten(2))
    return plane.reshape(b, c, 2 * w, 2 * h).transpose(2, 3)


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
        "read by columns": (
            _by_columns,
            "You read the places column by column. They are counted row by row: place = row · 2w + "
            "column.",
        ),
        "all in the first plane": (
            _in_one_plane,
            "All values are in the first plane, one over the other. A switch counts in the plane "
            "of its own image and channel: flatten the last two dimensions only.",
        ),
        "spread over four places": (
            lambda y, switches: y.repeat_interleave(2, -1).repeat_interleave(2, -2) / 4,
            "You shared each value out over its four places. Max-pooling took one of the four; "
            "the switches say which.",
        ),
    },
    clauses={
        "negative maxima": Clause(
            lambda seed: [(-y, switches) for y, switches in _pooled(seed)],
            "A maximum may be negative: it goes back as it is, and its gradient with it.",
            _largest_in_place,
        ),
        "sizes of one": Clause(
            _one_plane,
            "One image or one channel keeps its dimension: the shape is (B, C, 2h, 2w), whatever "
            "the sizes.",
            lambda y, switches: F.max_unpool2d(y, switches, 2).squeeze(),
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
    return [(normal(3, 2),), (2 * normal(5, 7),), (normal(4, 5),)]


def _zeros(seed):
    h = _normal(seed)(4, 5)
    h[0, 0], h[1, 1] = 0.0, -0.0
    return [(h,)]


def _large(seed):
    h = _normal(seed)(3, 4)
    h[0, 0], h[1, 1], h[2, 2] = 1000.0, -1000.0, 100.0
    return [(h,)]


def _straight(bits, soft):
    return soft + (bits - soft).detach()


def _by_exponentials(h):
    up, down = h.exp(), (-h).exp()
    return _straight(_sign(h), (up - down) / (up + down))


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
            lambda h: -_straight(_sign(h), torch.tanh(h)),
            "Your bits are turned round: a positive h is to become +1.",
        ),
        "zeros and ones": (
            lambda h: _straight((h >= 0).to(h.dtype), torch.tanh(h)),
            "Your bits are 0 and 1. Here they are -1 and 1.",
        ),
        "gradient passed on unchanged": (
            lambda h: _straight(_sign(h), h),
            "The bits are right, but backwards you pass the gradient on unchanged. Here it is "
            "multiplied by the derivative of tanh(h), which is small where h is sure.",
        ),
        "gradient of a clipped line": (
            lambda h: _straight(_sign(h), h.clamp(-1, 1)),
            "The bits are right, but backwards yours is the derivative of h clipped to [-1, 1]. "
            "That of tanh(h) is asked for.",
        ),
    },
    clauses={
        "zero": Clause(
            _zeros,
            "Zero counts as +1, minus zero too: a third value would be no bit.",
            lambda h: _straight(torch.sign(h), torch.tanh(h)),
        ),
        "large h": Clause(
            _large,
            "However large h is, its bit is +1 or -1 and its gradient 0. The exponential of h "
            "overflows there, and infinity by infinity is no number.",
            _by_exponentials,
        ),
        "sizes of one": Clause(
            lambda seed: [(_normal(seed)(1, 4),), (_normal(seed)(3, 1),)],
            "One example or one bit keeps its dimension: the shape is (B, k), whatever the sizes.",
            lambda h: _straight(_sign(h), torch.tanh(h)).squeeze(),
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


def _laplace(x, mean, scale=1.0):
    return -_absolute(x, mean) / scale - x[0].numel() * math.log(2 * scale)


def _exponential_first(x, mean, scale=1.0):
    density = torch.exp(-(x - mean).double().abs() / scale) / (2 * scale)
    return torch.log(density).flatten(1).sum(-1)


def _root_of_the_square(x, mean, scale=1.0):
    root = ((x - mean) ** 2).sqrt().flatten(1).sum(-1)
    return -root / scale - x[0].numel() * math.log(2 * scale)


def _one_pixel_met(seed):
    normal = _normal(seed)
    x, mean = normal(3, 5), normal(3, 5)
    mean[1, 2] = x[1, 2]
    return [(x, mean, 0.8)]


def _laplaces(seed):
    normal = _normal(seed)
    return [
        (normal(3, 1, 2, 5), normal(3, 1, 2, 5), 0.7),
        (normal(4, 6), normal(4, 6), 1.6),
        (normal(5, 3, 2), normal(5, 3, 2), 0.3),
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
        "pixels counted in one dimension": (
            lambda x, mean, scale=1.0: (
                -_absolute(x, mean) / scale - x.shape[1] * math.log(2 * scale)
            ),
            "Your d counts one dimension of x. It is the number of all pixels of an image: the "
            "product of all sizes but the first.",
        ),
    },
    clauses={
        "scale left out": Clause(
            lambda seed: [(x, mean) for x, mean, _ in _laplaces(seed)],
            "Where no scale is given, it is 1.",
            lambda x, mean, scale=0.5: _laplace(x, mean, scale),
        ),
        "one image": Clause(
            lambda seed: _pairs(seed, ((1, 4), (1, 4)), ((1, 1, 2, 3), (1, 1, 2, 3))),
            "One image keeps the dimension of the batch: the shape is (B,), here (1,).",
            lambda x, mean, scale=1.0: _laplace(x, mean, scale).squeeze(),
        ),
        "pixels far from the mean": Clause(
            lambda seed: _pairs(seed, ((3, 40), (3, 40)), std=0.0005),
            "Far from the mean the density is zero in floating point, and the logarithm of that "
            "is minus infinity. The logarithm itself is affine in the error.",
            _exponential_first,
        ),
        "a pixel met exactly": Clause(
            _one_pixel_met,
            "Where the mean meets a pixel exactly, the gradient there is 0. The root of a square "
            "has none at 0.",
            _root_of_the_square,
        ),
    },
    hints=[
        "One pixel: the density is exp(-|x - a| / b) / (2 b). Take its logarithm; pixels add up.",
        "(x - mean).abs().flatten(start_dim=1).sum(dim=-1) is the absolute error of each image.",
        "The constant is x[0].numel() times log(2 b).",
    ],
    grad=["mean"],
)
