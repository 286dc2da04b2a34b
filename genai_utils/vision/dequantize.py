"""From whole grey levels to real numbers and back: what a density needs of images. Lecture A99.

A pixel is one of 256 levels, and a density of real numbers may grow without limit on single points.
So noise u in [0, 1) is added to each level. With any density q(u|x) of the noise

    log P(x) >= E_q [log p(v) - D log 256 - log q(u|x)],   v = (x + u) / 256

where p is a density on [0, 1)^D. Uniform noise has log q = 0. A small flow that looks at x can do
better (variational dequantisation): then p need not be flat within each level.

Sources: Uria, Murray & Larochelle 2013; Theis, van den Oord & Bethge 2016; Ho et al. 2019 (Flow++).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .flow import Cascade, Coupling, InvertibleLinear

MARGIN = 1e-5  # of the logit: infinity lies beyond


def logit(v, margin=MARGIN):
    """From (0, 1) to the whole line: y = log(p / (1 - p)), p = margin / 2 + (1 - margin)·v.

        log|det J| = Σ [log(1 - margin) - log p - log(1 - p)]

    v may be 0 or 1: the margin keeps y finite there.
    Shapes: v (B, ...) in [0, 1] -> y (B, ...), log|det J| (B,), in nats.
    Source: Dinh et al. 2017, section 4.1; lecture item A99.
    """
    p = margin / 2 + (1 - margin) * v
    log_p, log_rest = p.log(), torch.log1p(-p)
    log_det = math.log(1 - margin) - log_p - log_rest
    return log_p - log_rest, log_det.flatten(1).sum(dim=1)


def logit_inverse(y, margin=MARGIN):
    """The way back, kept in [0, 1]. Shapes: y (B, ...) -> v (B, ...)."""
    return ((torch.sigmoid(y) - margin / 2) / (1 - margin)).clamp(0, 1)


def squeeze(x):
    """Blocks of 2 × 2 places become four channels; no number is lost or changed.

        y[:, 4c + 2i + j, h, w] = x[:, c, 2h + i, 2w + j],   i, j in {0, 1}

    Shapes: x (B, C, H, W), H and W even -> (B, 4C, H/2, W/2). Raises ValueError for an odd side.
    Source: Dinh et al. 2017, section 3.6; lecture item A99.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"x: expected images of even sides, got {tuple(x.shape)}; pad them.")
    B, C, H, W = x.shape
    blocks = x.reshape(B, C, H // 2, 2, W // 2, 2)  # (B, C, H/2, i, W/2, j)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(B, 4 * C, H // 2, W // 2)


def unsqueeze(y):
    """The way back. Shapes: y (B, 4C, H, W) -> (B, C, 2H, 2W)."""
    return F.pixel_shuffle(y, 2)


def noise_log_prob(eps, y, log_det):
    """log q(u|x) of the noise u = sigmoid(y), y = f(ε; x), in nats.

        log q(u|x) = log N(ε; 0, I) - log|det J(f)(ε)| - Σ log u(1 - u)

    u(1 - u) is the slope of the sigmoid. It is taken from y, where it stays finite: far from 0, u
    itself is 0 or 1 in floating point.
    Shapes: eps, y (B, ...), log_det = log|det J(f)(ε)| (B,) -> (B,).
    Source: Ho et al. 2019, section 3.1; lecture item A99.
    """
    log_normal = -0.5 * (eps**2 + math.log(2 * math.pi)).flatten(1).sum(dim=1)
    slope = F.logsigmoid(y) + F.logsigmoid(-y)  # log u + log(1 - u)
    log_det = log_det + slope.flatten(1).sum(dim=1)
    return log_normal - log_det


class UniformNoise(nn.Module):
    """u uniform in [0, 1), by the global generator, whatever the image: log q(u|x) = 0."""

    def forward(self, x):
        return torch.rand_like(x), x.new_zeros(len(x))


class VariationalNoise(nn.Module):
    """u = sigmoid(f(ε; x)), ε ~ N(0, I), with f a small flow that is told the image.

        log q(u|x): see `noise_log_prob`

    channels: of the images. network: a function (in, out) -> module that makes the networks.
    depth: steps of matrix and coupling after the first, which scales each number by the image
        alone. context: channels that describe the image. The noise comes from the global generator.
    Source: Ho et al. 2019, section 3.1; lecture item A99.
    """

    def __init__(self, channels, network, depth=2, context=16, lu=False):
        super().__init__()
        n = 4 * channels
        self.look = network(n, context)
        layers = [Coupling(n, nn.Conv2d(n + context, 2 * n, 1), keep=0)]
        nn.init.zeros_(layers[0].network.weight), nn.init.zeros_(layers[0].network.bias)
        for _ in range(depth):
            net = network(n // 2 + n + context, n)
            layers += [InvertibleLinear(n, lu), Coupling(n, net)]
        self.cascade = Cascade(layers)

    def forward(self, x):
        """x (B, C, H, W) in [0, 1] -> u (B, C, H, W) in [0, 1], log q(u|x) (B,)."""
        seen = squeeze(2 * x - 1)
        context = torch.cat([seen, self.look(seen).to(x.dtype)], dim=1)
        eps = torch.randn_like(seen)
        y, log_det = self.cascade(eps, context)
        return unsqueeze(torch.sigmoid(y)), noise_log_prob(eps, y, log_det)
