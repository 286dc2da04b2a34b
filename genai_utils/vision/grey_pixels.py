"""A PixelCNN of grey levels: each pixel is one of a few levels, drawn from a softmax.

Chapter 20's PixelCNN writes black and white. Here its head says, at each place, how likely every
level is; masks, stacks and cache are the same. Exact likelihood, as there.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, section 3.1 (a softmax over the levels);
lecture items A33, A34.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs

from .image_model import drawn
from .maskgit import draw_tokens
from .pixel_cache import Naive
from .pixel_models import PixelCNN
from .unet import only_counted


def levels_log_prob(x, logits):
    """log P(x) of grey levels, the sum over the pixels, in nats.

        log P(x) = Σ_i log softmax(a_i)_{k_i},   k_i = round((L - 1) x_i)

    Shapes: x (B, 1, H, W) with values k / (L - 1); logits a (B, 1, H, W, L) -> (B,).
    Source: van den Oord et al. 2016, eq. 1 and section 3.1; lecture item A33.
    """
    level = (x * (logits.shape[-1] - 1)).round().long()  # (B, 1, H, W)
    log_p = logits.log_softmax(-1).gather(-1, level[..., None])
    return log_p.flatten(1).sum(1)


class LevelsLast(nn.Module):
    """(B, L, H, W) -> (B, 1, H, W, L): one image, and at each pixel its levels."""

    def forward(self, a):
        return a[:, None].movedim(2, -1)


class GreyPixelCNN(PixelCNN):
    """The gated PixelCNN with a softmax over `levels` grey levels (A33, A34).

    Args: as of `PixelCNN`; levels: L, pixels are k / (L - 1).
    logits(x): (B, 1, H, W, L). loss(x): -log P(x) in nats per image. log_prob(x): (B,), exact.
    """

    pixels = "unit"

    def __init__(self, size=28, width=32, layers=6, levels=8, **options):
        super().__init__(size, width, layers, **options)
        self.levels = inputs.whole(levels, "levels", least=2)
        self.head[-1] = nn.Conv2d(2 * width, levels, 1)
        self.head.append(LevelsLast())
        self.to(memory_format=torch.channels_last)

    def loss(self, batch):
        x, y = self.batch(batch)
        return -levels_log_prob(x, self.logits(x, y)).mean()

    def check_batch(self, batch):
        """Raises TypeError or ValueError for images that do not fit, or between two levels."""
        x, _ = self.batch(batch, values=True)
        k = x * (self.levels - 1)
        if (k - k.round()).abs().max() > 1e-3:
            raise inputs.refusal(
                "x", f"pixels of {self.levels} levels, k / {self.levels - 1}", "values between",
                "round them first: grey_levels(x)",
            )  # fmt: skip

    @torch.no_grad()
    def log_prob(self, x, chunk=50, y=None):
        """log P(x), exact: (B, 1, H, W) -> (B,), in nats; `chunk` images at a time."""
        parts = self.parts(x, y, inputs.whole(chunk, "chunk"))
        return torch.cat([levels_log_prob(x, self.logits(x, y)) for x, y in parts])

    def bits_per_dim(self, x):
        """The mean of -log2 P(x) over images and pixels."""
        return -self.log_prob(x).mean().item() / (self.size**2 * math.log(2))

    @torch.no_grad()
    def sample(self, n, y=None, generator=None, cached=True, temperature=1.0, chunk=500):
        """n new images, level by level in raster order: (n, 1, H, W), `chunk` at a time."""
        inputs.number(temperature, "temperature", above=0)
        y = self.kinds(inputs.whole(n, "n"), y, generator)
        weight, square = next(self.parameters()), (self.size, self.size)
        u = drawn(torch.rand, n, *square, like=weight, generator=generator, dtype=weight.dtype)
        of = [None] * n if y is None else y.split(chunk)
        images = [self._written(u, y, cached, temperature)
                  for u, y in zip(u.split(chunk), of, strict=False)]  # fmt: skip
        return torch.cat(images)

    def _written(self, u, y, cached, temperature):
        if only_counted():
            return u[:, None].clone()
        x = u.new_zeros(len(u), 1, self.size, self.size)
        reader = self.reader(x, y) if cached else Naive(self, x, y)
        for row in range(self.size):
            reader.start(row)
            for column in range(self.size):
                p = F.softmax(reader.logit(row, column) / temperature, -1)  # (B, L)
                x[:, 0, row, column] = draw_tokens(p, u[:, row, column]) / (self.levels - 1)
        return x
