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

from genai_utils import inputs

from .image_model import ImageModel, drawn
from .pixel_cache import Naive

# --- The chain rule ------------------------------------------------------------------------------


def running_log_prob(x, logits):
    """log P of the first i pixels, for every i, in nats: the chain rule as a running total.

        log P(x_1, …, x_i) = Σ_{j ≤ i} log P(x_j | x_1, …, x_{j-1})

    logits: of P(x_j = 1 | the pixels before j), a_j. The last column is log P(x). A model may be
    sure of the wrong colour: with a logit of -150 a white pixel costs 150 nats.
    Shapes: x (B, 1, H, W) of zeros and ones, logits (B, 1, H, W) -> (B, H W).
    Source: van den Oord et al. 2016, eq. 1; lecture items A33, A34.
    """
    most = torch.finfo(logits.dtype).max  # a sure pixel has the logit inf, and 0 inf is no number
    log_p = -F.binary_cross_entropy_with_logits(logits.clamp(-most, most), x, reduction="none")
    return log_p.flatten(1).cumsum(dim=1)


def next_pixel(logit, u, temperature=1.0):
    """Draw the next pixel: 1 with the probability that the model gives it.

        x = 1 if u < sigmoid(a / τ), else 0

    u comes from the uniform distribution on [0, 1), so it can be 0: strictly below, or a pixel
    with the probability 0 could be drawn. The temperature τ is 1 for an honest draw; below 1 the
    coin leans further to its likelier side, and a / τ may become large.
    Shapes: logit a (B,), u (B,) -> (B,) of zeros and ones, in the type of the logit.
    """
    return (u < torch.sigmoid(logit / temperature)).to(logit.dtype)


def reorder(x, order):
    """Write the pixels of each image in another order: pixel i becomes pixel order[i] of x.

    A model that reads the result in raster order has read x in the given order.
    Shapes: x (B, 1, H, W), order (H W,), a permutation of 0 ... H W - 1 -> (B, 1, H, W), in the
    type of x.
    """
    return x.flatten(1)[:, order].reshape(x.shape)


class PixelModel(ImageModel):
    """What all pixel models share. A model adds `logits(x, y)` and, if it can, a `reader(x, y)`.

    x are black-and-white images; y their classes, None where the model knows none. Then read
    P(x|y) for P(x).
    """

    pixels = "binary"

    def __init__(self, size, classes=None):
        super().__init__(size, classes=classes)

    def logits(self, x, y=None):
        """a_i of P(x_i = 1 | the pixels before i), all at once: (B, 1, H, W) -> the same shape."""
        raise NotImplementedError

    def reader(self, x, y=None):
        """Gives one logit after the other while x is filled in; `Naive` asks the whole network."""
        return Naive(self, x, y)

    def loss(self, batch):
        """-log P(x), the mean over the batch, in nats per image."""
        x, y = self.batch(batch)
        return F.binary_cross_entropy_with_logits(self.logits(x, y), x, reduction="sum") / len(x)

    @torch.no_grad()
    def log_prob(self, x, chunk=50, y=None):
        """log P(x), exact: (B, 1, H, W) -> (B,), in nats; `chunk` images at a time."""
        parts = self.parts(x, y, inputs.whole(chunk, "chunk"))
        return torch.cat([running_log_prob(x, self.logits(x, y))[:, -1] for x, y in parts])

    def sample(self, n, y=None, generator=None, cached=True, temperature=1.0, u=None):
        """n new images, pixel by pixel: (n, 1, H, W) of zeros and ones.

        y: their class, or classes (n,); if None, each class is equally likely.
        u: (n, H, W) uniform random numbers, one for each pixel; drawn here if None.
        """
        weight = next(self.parameters())
        x = weight.new_zeros(inputs.whole(n, "n"), 1, self.size, self.size)
        known = torch.zeros(self.size, self.size, dtype=torch.bool)
        y = self.kinds(n, y, generator)
        return self.complete(x, known, cached, temperature, u, y, generator)

    @torch.no_grad()
    def complete(
        self, x, known, cached=True, temperature=1.0, u=None, y=None, generator=None
    ):  # fmt: skip
        """Keep the known pixels of x, draw the others from P(rest | known), one after the other.

        known: (H, W) of bools. The known pixels must be the first ones in raster order: a pixel
        model cannot look at what comes later.
        Shapes: x (B, 1, H, W), u None or (B, H, W) -> (B, 1, H, W). Raises ValueError otherwise.
        """
        known, square = torch.as_tensor(known).cpu(), (self.size, self.size)
        if known.dtype != torch.bool or tuple(known.shape) != square:
            got = f"{inputs.kind_of(known)}, {tuple(known.shape)}"
            raise inputs.refusal("known", f"bools of shape {square}", got)
        if (known.flatten().int().diff() > 0).any():
            raise inputs.refusal(
                "known", "the first pixels in raster order, such as the top rows", "others",
                "a pixel model cannot look at pixels that come later; a masked one can (chapter 21)"
            )  # fmt: skip
        inputs.number(temperature, "temperature", above=0)
        x, y = self.batch((x, y), values=True)
        x = x * known.to(x)  # a copy: the caller's image stays as it is
        if u is None:
            u = drawn(torch.rand, len(x), *square, like=x, generator=generator, dtype=x.dtype)
        if tuple(u.shape) != (len(x), *square):
            whole = f"a number for each pixel, {(len(x), *square)}"
            raise inputs.refusal("u", whole, f"{tuple(u.shape)}")
        reader = self.reader(x, y) if cached else Naive(self, x, y)
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
    inputs.whole(size, "size", most=4)  # of 5 x 5 pixels there are 2^25
    pixels = torch.tensor(list(itertools.product((0.0, 1.0), repeat=size * size)))
    return pixels.reshape(-1, 1, size, size)
