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

from genai_utils.inputs import refusal

from .flow import Cascade, Coupling, InvertibleLinear, flow_log_prob

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
        raise refusal(
            "x", "images of even sides to squeeze", f"{tuple(x.shape)}", "pad them, size=32"
        )
    return F.pixel_unshuffle(x, 2)


def unsqueeze(y):
    """The way back. Shapes: y (B, 4C, H, W) -> (B, C, 2H, 2W)."""
    return F.pixel_shuffle(y, 2)


class UniformNoise(nn.Module):
    """u uniform in [0, 1), whatever the image: log q(u|x) = 0."""

    def forward(self, x):
        return torch.rand_like(x), x.new_zeros(len(x))


class VariationalNoise(nn.Module):
    """u = sigmoid(f(ε; x)), ε ~ N(0, I), with f a small flow that is told the image.

        log q(u|x) = log N(ε; 0, I) - log|det J(f)(ε)| - Σ log u(1 - u)

    channels: of the images. network: a function (in, out) -> module that makes the networks.
    depth: steps of matrix and coupling after the first, which scales each number by the image
        alone. context: channels that describe the image.
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
        # of the sigmoid: log u + log(1 - u)
        log_det = log_det + (F.logsigmoid(y) + F.logsigmoid(-y)).flatten(1).sum(dim=1)
        return unsqueeze(torch.sigmoid(y)), flow_log_prob(eps, 0.0) - log_det
