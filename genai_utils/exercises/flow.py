"""Exercises of notebook 25_flow: the change of variables, and the pieces of Glow."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import dequantize, flow

NOTEBOOK = "25_flow"


def _normal(seed):
    """A function that draws normal numbers of a given shape."""
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g)


# --- flow_log_prob -----------------------------------------------------------------------------


def _coded(*sizes):
    def cases(seed):
        normal = _normal(seed)
        return [(normal(*size), normal(size[0])) for size in sizes]

    return cases


def _normal_log(c):
    return -0.5 * (c**2 + math.log(2 * math.pi)).flatten(1).sum(1)


def _unlikely(seed):
    c, log_det = _coded((4, 3))(seed)[0]
    log_det[1] = -torch.inf
    return [(c, log_det), (c * 40, log_det)]


def _last_axis(c, log_det):
    """Right for vectors; of an image it adds up the last axis only and averages the others."""
    return -0.5 * (c**2 + math.log(2 * math.pi)).sum(-1).flatten(1).mean(1) + log_det


def _vectors_only(c, log_det):
    return _normal_log(c) + log_det if c.dim() == 2 else _last_axis(c, log_det)


exercise(
    flow.flow_log_prob,
    cases=_coded((3, 2), (4, 7), (6, 5)),
    mistakes={
        "determinant subtracted": (
            lambda c, log_det: _normal_log(c) - log_det,
            "You subtracted log|det J|. It belongs to the way from x to c, and where that way "
            "stretches, the density of x is larger: it is added.",
        ),
        "determinants of all examples": (
            lambda c, log_det: _normal_log(c) + log_det.sum(),
            "You added the determinants of the whole batch to each example. Each example has a "
            "determinant of its own (erratum N22).",
        ),
        "2π forgotten": (
            lambda c, log_det: -0.5 * (c**2).flatten(1).sum(1) + log_det,
            "You left out log 2π for each number of the code. Without it the density does not "
            "integrate to one.",
        ),
        "half forgotten": (
            lambda c, log_det: 2 * _normal_log(c) + log_det,
            "You left out the factor ½ of the normal's logarithm.",
        ),
        "determinant forgotten": (
            lambda c, log_det: _normal_log(c) + 0 * log_det,
            "You left out log|det J|. With it missing, the best code is 0 for everything (A94).",
        ),
        "mean over the code": (
            lambda c, log_det: _normal_log(c) / c[0].numel() + log_det,
            "You took the mean over the numbers of the code. Independent numbers add up: a sum.",
        ),
        "mean over the batch": (
            lambda c, log_det: (_normal_log(c) + log_det).mean(),
            "You averaged over the batch. One number per example is wanted, shape (B,).",
        ),
    },
    clauses={
        "images": Clause(
            _coded((3, 2, 4, 5), (4, 1, 3)),
            "A code may have any number of axes: all but the first are added up.",
            _vectors_only,
        ),
        "no volume": Clause(
            _unlikely,
            "Where a volume becomes nothing, log|det J| is -inf, and so is log P: nothing is "
            "clamped.",
            lambda c, log_det: _normal_log(c) + log_det.clamp(min=-1e6),
        ),
        "sizes of one": Clause(
            _coded((1, 4), (3, 1)),
            "One example or one number of code keeps its dimension: the shape is (B,).",
            lambda c, log_det: (
                (_normal_log(c) + log_det).squeeze() if len(c) == 1 else _normal_log(c) + log_det
            ),
        ),
    },
    hints=[
        "The density of the code is a standard normal in every number. What is its logarithm?",
        "Add up over all axes but the first: .flatten(1).sum(dim=1).",
        "c = g⁻¹(x), and log_det belongs to g⁻¹: it is added.",
    ],
    grad=True,
)


# --- conv1x1 -----------------------------------------------------------------------------------


def _conv(x, weight):
    return torch.einsum("ij,bj...->bi...", weight, x)


def _volume(x, weight):
    return (x[0, 0].numel() * torch.linalg.slogdet(weight).logabsdet).expand(len(x))


def _signed(sign, *sizes):
    """Images and matrices whose determinant has that sign."""

    def cases(seed):
        normal = _normal(seed)
        made = [(normal(*size), normal(size[1], size[1])) for size in sizes]
        for _, weight in made:
            if torch.det(weight) * sign < 0:
                weight[0] *= -1
        return made

    return cases


def _large_images(seed):
    normal = _normal(seed)
    return [(normal(3, 2, 64, 48), 0.3 * torch.eye(2) + 0.01 * normal(2, 2))]


def _places_by_shape(x, weight):
    places = x.shape[-2] * x.shape[-1] if x.dim() == 4 else x.shape[-1]
    return _conv(x, weight), (places * torch.linalg.slogdet(weight).logabsdet).expand(len(x))


exercise(
    flow.conv1x1,
    cases=_signed(1, (3, 2, 4, 5), (4, 3, 2, 6)),
    mistakes={
        "one place": (
            lambda x, weight: (_conv(x, weight), _volume(x, weight) / x[0, 0].numel()),
            "Your log-determinant is that of one place. The matrix acts at H·W places, and their "
            "logarithms add up.",
        ),
        "every image of the batch": (
            lambda x, weight: (_conv(x, weight), _volume(x, weight) * len(x)),
            "You multiplied by B as well. Each image has the log-determinant of its own H·W "
            "places.",
        ),
        "matrix turned": (
            lambda x, weight: (_conv(x, weight.T), _volume(x, weight)),
            "You applied the transposed matrix. Output channel i is the sum over j of "
            "weight[i, j] times input channel j.",
        ),
        "the way back": (
            lambda x, weight: (_conv(x, weight), -_volume(x, weight)),
            "Your log-determinant has the wrong sign: it is that of the inverse.",
        ),
        "determinant without its logarithm": (
            lambda x, weight: (
                _conv(x, weight),
                (x[0, 0].numel() * torch.det(weight).abs()).expand(len(x)),
            ),
            "You used the determinant itself. Its logarithm is wanted.",
        ),
        "channels counted as places": (
            lambda x, weight: (_conv(x, weight), _volume(x, weight) * x.shape[1]),
            "You multiplied by C·H·W. The determinant of W stands for all channels of a place: "
            "H·W is enough.",
        ),
    },
    clauses={
        "negative determinant": Clause(
            _signed(-1, (3, 2, 4, 5), (4, 3, 2, 6)),
            "A determinant may be negative: the matrix also mirrors. The volume changes by its "
            "absolute value.",
            lambda x, weight: (
                _conv(x, weight),
                (
                    x[0, 0].numel()
                    * torch.linalg.slogdet(weight).sign
                    * torch.linalg.slogdet(weight).logabsdet
                ).expand(len(x)),
            ),
        ),
        "large images": Clause(
            _large_images,
            "det(W) to the power H·W is 0 or infinite in floating point. Multiply the logarithm "
            "instead (erratum N21).",
            lambda x, weight: (
                _conv(x, weight),
                (torch.det(weight).abs() ** x[0, 0].numel()).log().expand(len(x)),
            ),
        ),
        "vectors": Clause(
            _signed(1, (3, 2), (4, 6)),
            "A vector (B, C) is an image of one place: the number of places is 1.",
            _places_by_shape,
        ),
        "sizes of one": Clause(
            _signed(1, (1, 3, 2, 4), (3, 1, 4, 2), (3, 2, 1, 1)),
            "One image, one channel or one place changes nothing: c has the shape of x, and the "
            "log-determinant the shape (B,).",
            lambda x, weight: (_conv(x, weight).squeeze(), _volume(x, weight)),
        ),
    },
    hints=[
        "Two results: c, and one number for each image. The second does not depend on x.",
        "torch.einsum('ij,bjhw->bihw', weight, x) multiplies at each place; '...' in place of hw "
        "takes vectors, too.",
        "torch.linalg.slogdet(weight) gives sign and logabsdet. Multiply the second by the number "
        "of places, x[0, 0].numel(), and .expand(len(x)).",
    ],
    grad=True,
)


# --- affine ------------------------------------------------------------------------------------


def _stretches(*sizes, scale=1.0):
    def cases(seed):
        normal = _normal(seed)
        return [(normal(*size), scale * normal(*size), normal(*size)) for size in sizes]

    return cases


def _total(s):
    return s.flatten(1).sum(1)


exercise(
    flow.affine,
    cases=_stretches((3, 2), (4, 7), (5, 3, 2, 4)),
    mistakes={
        "logarithm not taken back": (
            lambda x, s, t: (x * s + t, s.abs().log().flatten(1).sum(1)),
            "You multiplied by log_scale itself, which may be 0 or negative. Its exponential is "
            "positive: that is what keeps the layer invertible.",
        ),
        "shifted first": (
            lambda x, s, t: ((x + t) * s.exp(), _total(s)),
            "You shifted before you stretched. The layer is x·exp(s) + t.",
        ),
        "the way back": (
            lambda x, s, t: ((x - t) * (-s).exp(), -_total(s)),
            "That is the inverse. The layer itself is x·exp(s) + t.",
        ),
        "determinant of the way back": (
            lambda x, s, t: (x * s.exp() + t, -_total(s)),
            "Your log-determinant has the wrong sign: where s is positive, volumes grow.",
        ),
        "sum of the stretches": (
            lambda x, s, t: (x * s.exp() + t, _total(s.exp())),
            "You added the stretches. The determinant is their product, so its logarithm is the "
            "sum of the s.",
        ),
        "mean of the logarithms": (
            lambda x, s, t: (x * s.exp() + t, s.flatten(1).mean(1)),
            "You took the mean of s. The logarithms of all stretches add up.",
        ),
        "one determinant for the batch": (
            lambda x, s, t: (x * s.exp() + t, s.sum()),
            "You added over the batch as well. Each example has its own log-determinant, (B,).",
        ),
        "shift in the determinant": (
            lambda x, s, t: (x * s.exp() + t, _total(s + t)),
            "A shift moves a volume and does not change it: t has no part in the determinant.",
        ),
    },
    clauses={
        "any stretch": Clause(
            _stretches((3, 4), (4, 2), scale=15.0),
            "s may be any real number: no bound is put on it here.",
            lambda x, s, t: (x * s.clamp(-6, 6).exp() + t, _total(s.clamp(-6, 6))),
        ),
        "sizes of one": Clause(
            _stretches((1, 3), (4, 1), (1, 1)),
            "One example or one number keeps its dimension: c has the shape of x, and log|det J| "
            "the shape (B,).",
            lambda x, s, t: ((x * s.exp() + t), _total(s).squeeze()),
        ),
    },
    hints=[
        "log_scale is a logarithm. What makes a positive stretch of it?",
        "The Jacobian is diagonal: its determinant is the product of the stretches. And the "
        "logarithm of a product?",
        "x * log_scale.exp() + shift, and log_scale summed over all axes but the first.",
    ],
    grad=True,
)


# --- squeeze -----------------------------------------------------------------------------------


def _pictures(*sizes):
    return lambda seed: [(_normal(seed)(*size),) for size in sizes]


def _blocks(x):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // 2, 2, W // 2, 2)  # (B, C, h, i, w, j)


def _even(x):
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError("odd")
    return x


def _gathered(x, *order):
    B, C, H, W = _even(x).shape
    return _blocks(x).permute(*order).reshape(B, 4 * C, H // 2, W // 2)


def _cropped(x):
    H, W = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    return _gathered(x[..., :H, :W], 0, 1, 3, 5, 2, 4)


def _quarters(x):
    h, w = _even(x).shape[-2] // 2, x.shape[-1] // 2
    parts = x[..., :h, :w], x[..., :h, w:], x[..., h:, :w], x[..., h:, w:]
    return torch.stack(parts, 2).flatten(1, 2)


exercise(
    dequantize.squeeze,
    cases=_pictures((3, 2, 4, 6), (4, 3, 6, 10), (5, 1, 8, 4)),
    mistakes={
        "across before down": (
            lambda x: _gathered(x, 0, 1, 5, 3, 2, 4),
            "You exchanged i and j: the channels of a block are read row by row, 2i + j, with i "
            "down and j across.",
        ),
        "blocks before channels": (
            lambda x: _gathered(x, 0, 3, 5, 1, 2, 4),
            "The four places of one channel stand together: output channel 4c + 2i + j, not "
            "(2i + j)·C + c.",
        ),
        "quarters of the picture": (
            _quarters,
            "You cut the picture into four quarters. Neighbouring places belong together: each "
            "block of 2 × 2 becomes four channels of one place.",
        ),
        "only reshaped": (
            lambda x: _even(x).reshape(
                len(x), 4 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2
            ),
            "A reshape alone keeps the numbers in their row, so each channel gets a stripe of the "
            "picture. Split H and W in two axes each, and move those of size 2 to the channels.",
        ),
        "averaged": (
            lambda x: F.avg_pool2d(_even(x), 2).repeat_interleave(4, 1),
            "You averaged each block. Then numbers are lost, and there is no way back.",
        ),
        "first place of each block": (
            lambda x: _even(x)[..., ::2, ::2].repeat_interleave(4, 1),
            "All four channels hold the same place of a block. Each of its four places becomes a "
            "channel.",
        ),
    },
    clauses={
        "odd sides": Clause(
            _pictures((3, 1, 5, 4), (3, 2, 4, 7)),
            "Raise ValueError for an odd side: a row or column would be lost.",
            _cropped,
            raises=ValueError,
        ),
        "sizes of one": Clause(
            _pictures((1, 3, 4, 6), (3, 1, 2, 2)),
            "One image, or one block, keeps its dimensions: (B, 4C, H/2, W/2).",
            lambda x: _gathered(x, 0, 1, 3, 5, 2, 4).squeeze(),
        ),
    },
    hints=[
        "Give each block an axis of its own: x.reshape(B, C, H // 2, 2, W // 2, 2).",
        "Its axes are (B, C, H/2, i, W/2, j). Which order do you need before the last reshape?",
        ".permute(0, 1, 3, 5, 2, 4), then .reshape(B, 4 * C, H // 2, W // 2). And raise "
        "ValueError for an odd side first.",
    ],
    grad=True,
)  # fmt: skip


# --- noise_log_prob: a planted fault -------------------------------------------------------------


def _slope_divides(eps, y, log_det):
    log_normal = -0.5 * (eps**2 + math.log(2 * math.pi)).flatten(1).sum(dim=1)
    slope = F.logsigmoid(y) + F.logsigmoid(-y)  # log u + log(1 - u)
    log_det = log_det - slope.flatten(1).sum(dim=1)
    return log_normal - log_det


def _noise(*sizes, far=1.0):
    def cases(seed):
        normal = _normal(seed)
        return [(normal(*s), far * normal(*s), normal(s[0])) for s in sizes]

    return cases


def _slope(y):
    return (F.logsigmoid(y) + F.logsigmoid(-y)).flatten(1).sum(1)


def _log_q(eps, y, log_det):
    return _normal_log(eps) - log_det - _slope(y)


def _by_probability(eps, y, log_det):
    u = torch.sigmoid(y)
    return _normal_log(eps) - log_det - (u * (1 - u)).log().flatten(1).sum(1)


exercise(
    dequantize.noise_log_prob,
    cases=_noise((3, 2), (4, 6), (5, 1, 2, 3)),
    planted=_slope_divides,
    symptom="Training fell below zero bits per dimension, which no code of grey levels can, and "
    "all noise sits at 0 or 1: there the density of the noise comes out too small.",
    mistakes={
        "flow forgotten": (
            lambda eps, y, log_det: _normal_log(eps) - _slope(y) + 0 * log_det,
            "log|det J(f)| has gone: ε became y by a flow, and that changed volumes, too.",
        ),
        "everything added": (
            lambda eps, y, log_det: _normal_log(eps) + log_det + _slope(y),
            "Both determinants belong to the way from ε to u. Where it stretches, the density of "
            "u falls: they are subtracted.",
        ),
        "slope left out": (
            lambda eps, y, log_det: _normal_log(eps) - log_det,
            "That is the density of y. The sigmoid squeezes it into [0, 1], and its slope counts.",
        ),
        "one side only": (
            lambda eps, y, log_det: _normal_log(eps) - log_det - F.logsigmoid(y).flatten(1).sum(1),
            "The slope of the sigmoid is u(1 - u): two factors, and two logarithms.",
        ),
    },
    clauses={
        "far from 0": Clause(
            _noise((3, 2), (4, 3), far=60.0),
            "Far from 0, u is 0 or 1 in floating point and its logarithm -inf. Take the slope from "
            "y, by F.logsigmoid.",
            _by_probability,
        ),
        "sizes of one": Clause(
            _noise((1, 3), (4, 1), (1, 1)),
            "One image or one pixel keeps its dimension: the shape is (B,).",
            lambda eps, y, log_det: _log_q(eps, y, log_det).squeeze(),
        ),
    },
    hints=[
        "A density has a test: its mean over uniform u is 1. Or take a case whose density is "
        "known: if y is such that u is uniform, log q has to be 0.",
        "Let log_det be 0 and y = eps: then u = sigmoid(ε). Compare with a histogram of many u "
        "near 0.5 and near 1.",
        "From ε to u there are two stretches, that of the flow and that of the sigmoid. Their "
        "logarithms add up, whatever their sign.",
    ],
    grad=True,
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "best-temperature",
        question="Samples at temperature 1 are what the model believes. Cooler ones may look "
        "better, and differ less from each other. Score samples of the chapter's Glow at six "
        "temperatures between 0.4 and 1.1 with the Scorecard of section 25.8, and find the one "
        "whose Fréchet distance is smallest. Choose it on one half of the test digits and report "
        "it on the other.",
        hand_in="the temperature with the smallest Fréchet distance",
        good=(
            "A table or a figure over all temperatures: Fréchet distance, precision, recall, "
            "recognised share, sharpness, each beside what real images get.",
            "The same number of images at each temperature, and the spread over three draws of "
            "the noise at the best ones: neighbours may not differ.",
            "Where precision rises and recall falls, and a sentence on what that says.",
            "The choice was made on other digits than those of the number that is reported.",
            "A sentence on why the likelihood has no say in this: it is that of temperature 1.",
        ),
        minutes=45,
        kind="number",
        unit="",
        between=(0.4, 1.1),
        beyond="Is the temperature a factor of the code, `sample(n, temperature=0.7)`, and not of "
        "its square?",
    ),
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "ten-matrices",
        "Fit a flow of one 1×1 convolution to two half moons, then one of ten. How much does the "
        "likelihood of fresh points gain by the nine further ones?",
        "a",
        "The two differ by less than 0.001 nats: ten matrices in a row are one matrix, and one "
        "makes a normal distribution of a normal distribution (section 25.5).",
        choices=("nothing", "about a tenth of a nat", "more than a nat"),
    ),
    Prediction(
        "colder-samples",
        "The codes of the trained model are multiplied by 0.7 before they are decoded: "
        "temperature 0.7. How does the share of samples that the judge recognises change?",
        "a",
        "From 57.2 % to 60.1 %, in one training of four minutes (section 25.8). That is a small "
        "rise: each share has a standard error of one to two percentage points, so another draw "
        "may show none. What cold codes lose stands in the same table: at 0.5 the samples show "
        "the fewest classes, and recall is the lowest.",
        choices=(
            "it rises",
            "it stays within two percentage points",
            "it falls",
        ),
    ),
)
