"""The chain rule for images, and what every pixel model can do with it. Lecture items A33, A34.

The story of the file: log P(x) as a running total (`running_log_prob`), drawing one pixel
(`next_pixel`), other orders (`reorder`), the likelihood, sampling and completion that all pixel
models share (`PixelModel`), and two exact checks of any of them (`jacobian`, `all_images`).
All log-probabilities are in nats, one number per image.

Pixels are 0 or 1 and stand in raster order: row by row from the top, each from left to right.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016.
"""

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.evaluation.inputs import positive_int

from .inputs import checked_binary, shaped_images
from .pixel_cache import Naive

# --- The chain rule ------------------------------------------------------------------------------


def running_log_prob(x, logits):
    r"""log P of the first i pixels, for every i, in nats: the chain rule as a running total.

    $$ \log P(x_1, \dots, x_i) = \sum_{j \le i} \log P(x_j \mid x_1, \dots, x_{j-1}) $$

    logits: of P(x_j = 1 | the pixels before j), a_j. The last column is log P(x).
    Shapes: x (B, 1, H, W) of zeros and ones, logits (B, 1, H, W) -> (B, H W).
    Source: van den Oord et al. 2016, eq. 1; lecture items A33, A34.
    """
    log_p = -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return log_p.flatten(1).cumsum(dim=1)


def next_pixel(logit, u, temperature=1.0):
    r"""Draw the next pixel: 1 with the probability that the model gives it.

    $$ x = 1 \text{ if } u < \mathrm{sigmoid}(a / \tau), \text{ else } 0 $$

    u comes from the uniform distribution on [0, 1). The temperature tau is 1 for an honest draw;
    below 1 the coin leans further to its likelier side.
    Shapes: logit a (B,), u (B,) -> (B,) of zeros and ones, in the type of the logit.
    """
    return (u < torch.sigmoid(logit / temperature)).to(logit.dtype)


def reorder(x, order):
    """Write the pixels of each image in another order: pixel i becomes pixel order[i] of x.

    A model that reads the result in raster order has read x in the given order.
    Shapes: x (B, 1, H, W), order (H W,), a permutation of 0 ... H W - 1 -> (B, 1, H, W).
    """
    return x.flatten(1)[:, order].reshape(x.shape)


class PixelModel(nn.Module):
    """What all pixel models share. A model adds `logits(x)` and, if it can, a `reader(x)`."""

    def __init__(self, size):
        super().__init__()
        self.size = positive_int(size, "size")

    def logits(self, x):
        """a_i of P(x_i = 1 | the pixels before i), all at once: (B, 1, H, W) -> the same shape."""
        raise NotImplementedError

    def reader(self, x):
        """Gives one logit after the other while x is filled in; `Naive` asks the whole network."""
        return Naive(self, x)

    def checked(self, x):
        """x, if it is a batch of black-and-white images of the model's size."""
        return checked_binary(x, self.size, type(self).__name__)

    def check_batch(self, x):
        """Raises TypeError or ValueError for images that do not fit, values included."""
        self.checked(x)

    def loss(self, x):
        """-log P(x), the mean over the batch, in nats per image."""
        logits = self.logits(shaped_images(x, self.size, type(self).__name__))
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)

    @torch.no_grad()
    def log_prob(self, x, chunk=50):
        """log P(x), exact: (B, 1, H, W) -> (B,), in nats; `chunk` images at a time."""
        parts = self.checked(x).split(positive_int(chunk, "chunk"))
        return torch.cat([running_log_prob(part, self.logits(part))[:, -1] for part in parts])

    def sample(self, n, cached=True, temperature=1.0, u=None):
        """n new images, pixel by pixel: (n, 1, H, W) of zeros and ones.

        u: (n, H, W) uniform random numbers, one for each pixel; drawn here if None.
        """
        weight = next(self.parameters())
        x = weight.new_zeros(positive_int(n, "n"), 1, self.size, self.size)
        known = torch.zeros(self.size, self.size, dtype=torch.bool)
        return self.complete(x, known, cached, temperature, u)

    @torch.no_grad()
    def complete(self, x, known, cached=True, temperature=1.0, u=None):
        """Keep the known pixels of x, draw the others from P(rest | known), one after the other.

        known: (H, W) of bools. The known pixels must be the first ones in raster order: a pixel
        model cannot look at what comes later.
        Shapes: x (B, 1, H, W), u None or (B, H, W) -> (B, 1, H, W). Raises ValueError otherwise.
        """
        known = torch.as_tensor(known).cpu()
        if known.dtype != torch.bool or tuple(known.shape) != (self.size, self.size):
            raise ValueError(
                f"known: expected bools of shape ({self.size}, {self.size}), got {known.dtype} of "
                f"shape {tuple(known.shape)}."
            )
        if (known.flatten().int().diff() > 0).any():
            raise ValueError(
                "known: expected the first pixels in raster order, such as the top rows. A pixel "
                "model cannot look at pixels that come later; a masked model can (chapter 21)."
            )
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature!r}.")
        x = self.checked(x) * known.to(x)  # a copy: the caller's image stays as it is
        if u is None:
            u = torch.rand(len(x), self.size, self.size, device=x.device, dtype=x.dtype)
        if tuple(u.shape) != (len(x), self.size, self.size):
            raise ValueError(
                f"u: expected a number for each pixel, ({len(x)}, {self.size}, {self.size}); got "
                f"{tuple(u.shape)}."
            )
        reader = self.reader(x) if cached else Naive(self, x)
        for row in range(self.size):
            reader.start(row)
            if known[row].all():
                continue
            for column in range(self.size):
                logit = reader.logit(row, column)
                if not known[row, column]:
                    x[:, 0, row, column] = next_pixel(logit, u[:, row, column], temperature)
        return x


# --- What is exact about it ----------------------------------------------------------------------


def jacobian(model, x, pixels=None):
    """d logit_i / d x_j in double precision: causal means exactly 0 for every j >= i.

    x: one image (1, 1, H, W), of any size that the kernels fit into. pixels: the numbers i, in
    raster order; all of them if None. Returns (len(pixels), H W).
    """
    model = copy.deepcopy(model).double()
    pixels = torch.arange(x.numel()) if pixels is None else torch.as_tensor(pixels)
    rows = x.double().repeat(len(pixels), 1, 1, 1).requires_grad_()  # a copy for each i
    chosen = model.logits(rows).flatten(1)[torch.arange(len(pixels)), pixels]
    (slopes,) = torch.autograd.grad(chosen.sum(), rows)
    return slopes.flatten(1)


def all_images(size):
    """Every black-and-white image of size x size pixels: (2^(size size), 1, size, size)."""
    if positive_int(size, "size") > 4:
        raise ValueError(f"size: there are 2^{size * size} such images; expected at most 4.")
    pixels = torch.tensor(list(itertools.product((0.0, 1.0), repeat=size * size)))
    return pixels.reshape(-1, 1, size, size)
