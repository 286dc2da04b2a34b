"""Glow: a flow of images on several scales, with dequantisation. Lecture items A95–A99.

The story of the file: the network of a coupling layer, and the model. Its steps are those of
`vision/flow.py`; how grey levels become real numbers stands in `vision/dequantize.py`.

    model = Glow(size=28).start(images)
    model.log_prob(x, samples=16)          # nats per image, of its grey levels
    model.sample(16, temperature=0.8)      # (16, 1, 28, 28) in [0, 1]

Sources: Dinh et al. 2017 (scales); Kingma & Dhariwal 2018 (Glow); Ho et al. 2019 (the noise).
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import data, inputs
from genai_utils.training import TensorBatches

from .dequantize import (
    UniformNoise,
    VariationalNoise,
    logit,
    logit_inverse,
    squeeze,
    unsqueeze,
)
from .flow import Cascade, flow_log_prob, flow_step
from .image_model import ImageModel, drawn


class GatedBlock(nn.Module):
    """h + a·sigmoid(b): a and b by two convolutions of h. Shapes: (B, w, H, W), unchanged."""

    def __init__(self, width):
        super().__init__()
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, 2 * width, 1)

    def forward(self, h):
        a, b = self.mix(F.silu(self.look(F.silu(h)))).chunk(2, dim=1)
        return h + a * torch.sigmoid(b)


def conv_network(inputs_, outputs, width, blocks):
    """The network of a coupling layer; its last convolution is 0 at first."""
    last = nn.Conv2d(width, outputs, 3, padding=1)
    nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)
    first = nn.Conv2d(inputs_, width, 3, padding=1)
    return nn.Sequential(first, *(GatedBlock(width) for _ in range(blocks)), nn.SiLU(), last)


class Glow(ImageModel):
    """A multi-scale flow of images of whole grey levels (A95–A99).

    On each scale: squeeze, then `depth` steps of ActNorm, 1×1 convolution and affine coupling. Then
    half of the channels leave as part of the code; the rest goes on. Those that leave are those
    that the last coupling has just stretched and shifted, given those that go on.

    Args:
        size: side of the square images, a multiple of 2^scales.
        channels: 1 for grey images, 3 for colour.
        scales: number of scales.
        depth: steps on each scale, one number or one for each.
        width: channels of the networks of the couplings, one number or one for each scale.
        blocks: gated blocks in each of these networks.
        noise: "variational" or "uniform" dequantisation.
        noise_depth: coupling steps of the variational one; its networks are those of scale 1.
        levels: number of grey levels; pixels are k / (levels - 1).
        lu: how the 1×1 convolutions are held, see `InvertibleLinear`.

    Call `start(x)` with some images before the training. `loss` is in bits per dimension.
    """

    def __init__(
        self, size=28, channels=1, scales=2, depth=8, width=64, blocks=2, noise="variational",
        noise_depth=4, levels=256, lu=False,
    ):  # fmt: skip
        super().__init__(size, channels)
        scales = inputs.whole(scales, "scales")
        if size % 2**scales:
            raise inputs.refusal(
                "size", f"a multiple of 2^scales = {2**scales}", size, "pad the images"
            )
        depths, widths = _for_each(depth, "depth", scales), _for_each(width, "width", scales)
        inputs.whole(blocks, "blocks", least=0), inputs.whole(noise_depth, "noise_depth", least=0)
        inputs.one_of(noise, "noise", ("variational", "uniform"))
        self.levels = inputs.whole(levels, "levels", least=2)
        self.dims = channels * size * size
        self.noise = UniformNoise()
        if noise == "variational":
            networks = partial(conv_network, width=widths[0], blocks=blocks)
            self.noise = VariationalNoise(channels, networks, noise_depth, lu=lu)
        self.scales, n = nn.ModuleList(), channels
        for depth, width in zip(depths, widths, strict=True):
            n = 4 * n
            steps = []
            for _ in range(depth):
                net = conv_network(n - n // 2, 2 * (n // 2), width, blocks)
                steps += flow_step(n, net, lu)
            self.scales.append(Cascade(steps))
            n = n // 2
        self.to(memory_format=torch.channels_last)

    # --- images and codes --------------------------------------------------------------------

    def flow(self, y):
        """c = g⁻¹(y) and log|det J|: y (B, C, H, W), any real numbers -> (B, D), (B,)."""
        parts, total = [], 0.0
        for i, cascade in enumerate(self.scales):
            y, log_det = cascade(squeeze(y))  # (B, 4C, H/2, W/2)
            total = total + log_det
            if i < len(self.scales) - 1:
                y, done = y.chunk(2, dim=1)
                parts.append(done.flatten(1))
        return torch.cat([*parts, y.flatten(1)], dim=1), total

    def decode(self, c):
        """y = g(c): (B, D) -> (B, C, H, W)."""
        if c.dim() != 2 or c.shape[1] != self.dims:
            raise inputs.refusal("c", f"codes of shape (B, {self.dims})", f"{tuple(c.shape)}")
        shapes, side, n = [], self.size, self.channels
        for _ in self.scales:
            side, n = side // 2, 2 * n
            shapes.append((n, side, side))  # of what leaves
        shapes[-1] = (2 * n, side, side)
        parts = c.split([math.prod(shape) for shape in shapes], dim=1)
        y = None
        for part, shape, cascade in zip(
            reversed(parts), reversed(shapes), reversed(self.scales), strict=True
        ):
            part = part.reshape(-1, *shape)
            y = unsqueeze(cascade.inverse(part if y is None else torch.cat([y, part], dim=1)))
        return y

    @torch.no_grad()
    def start(self, x):
        """Data-dependent start: set each ActNorm by these images. Returns the model."""
        x = self.images(x)
        y, _ = self.dequantize(x)
        for cascade in self.scales:
            y = cascade.start(squeeze(y))
            y = y.chunk(2, dim=1)[0]
        return self

    def dequantize(self, x):
        """Real numbers for grey levels: x (B, C, H, W) in [0, 1] -> y (B, C, H, W), a log weight.

        The weight, (B,) in nats, is all of log P(x) but log p(y): the logit's log|det J|, the
        scaling by the number of levels, and -log q(u|x).
        """
        u, log_q = self.noise(x)
        v = ((self.levels - 1) * x + u) / self.levels
        y, log_det = logit(v)
        return y, log_det - self.dims * math.log(self.levels) - log_q

    def quantize(self, y):
        """The grey levels of real numbers, as pixels in [0, 1]."""
        level = (self.levels * logit_inverse(y)).floor().clamp(0, self.levels - 1)
        return level / (self.levels - 1)

    # --- the likelihood ------------------------------------------------------------------------

    def log_weight(self, x):
        """log p(v) - D log levels - log q(u|x) for one draw of u: (B,), in nats."""
        y, weight = self.dequantize(x)
        return flow_log_prob(*self.flow(y)) + weight

    def loss(self, batch):
        """The bound on -log P(x) with one draw of the noise, in bits per dimension."""
        x, _ = self.batch(batch)
        return -self.log_weight(x).mean() / (self.dims * math.log(2))

    @torch.no_grad()
    def log_weights(self, x, samples=16, chunk=2_000):
        """Log weights of `samples` draws of the noise: (B, C, H, W) -> (samples, B), in nats."""
        samples, chunk = inputs.whole(samples, "samples"), inputs.whole(chunk, "chunk")
        found = []
        for part, _ in self.parts(x, None, chunk):
            found.append(torch.stack([self.log_weight(part) for _ in range(samples)]))
        return torch.cat(found, dim=1)

    def bound(self, x, samples=1, chunk=2_000):
        """The bound on log P(x) that is trained, mean over `samples` draws: (B,), in nats."""
        return self.log_weights(x, samples, chunk).mean(dim=0)

    def log_prob(self, x, samples=16, chunk=2_000):
        """log P(x) of the grey levels from below, by importance weights: (B,), in nats.

        log 1/K Σ_k p(v_k) levels^-D / q(u_k|x),   u_k ~ q(u|x),   K = samples
        """
        log_w = self.log_weights(x, samples, chunk)
        return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))

    # --- pictures ------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n, y=None, generator=None, temperature=1.0):
        """n new images (n, C, H, W) in [0, 1]: c ~ N(0, temperature² I), decoded."""
        temperature = inputs.number(temperature, "temperature", least=0)
        self.kinds(inputs.whole(n, "n"), y)  # it knows no classes
        weight = next(self.parameters())
        c = drawn(torch.randn, n, self.dims, like=weight, generator=generator, dtype=weight.dtype)
        return torch.cat([self.quantize(self.decode(p)) for p in (temperature * c).split(2_000)])

    def code(self, x):
        """The code of images, with one draw of the noise: (B, C, H, W) -> (B, D)."""
        y, _ = self.dequantize(self.images(x))
        return self.flow(y)[0]


def _for_each(value, name, scales):
    """One whole number for each scale, of one number or a list."""
    values = list(value) if isinstance(value, (list, tuple)) else [value] * scales
    if len(values) != scales:
        raise inputs.refusal(name, f"one number, or one for each of {scales} scales", f"{value}")
    return [inputs.whole(each, name) for each in values]


def recipe():
    """What `python -m genai_utils.train glow` trains: chapter 25's Glow on MNIST, for a card."""
    images = data.mnist("train").x
    batches = TensorBatches(images, batch_size=128)
    options = {"steps": 5_600, "lr": 2e-3, "warmup": 280, "ema": 0.998, "clip": 1.0}
    model = Glow(width=96, depth=6, noise_depth=2, lu=True).start(images[:500])
    return model, batches, options | {"graph": True}
