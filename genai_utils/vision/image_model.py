"""What all models of images share: what comes in, what comes out, and by which names.

    model = VAE(size=28, classes=10)
    model.loss((x, y))                       # a dict of scalars; without classes: model.loss(x)
    model.sample(16, y=3, generator=g)       # (16, 1, 28, 28), in [0, 1]
    model.bound(x, y=y), model.log_prob(x, y=y)   # nats per image, (B,), where there is one

x: images (B, C, H, W) in [0, 1], tensors or NumPy arrays of floats; they are brought to the type of
the model's weights once, where they come in. y: class labels (B,), whole numbers.

Names in the dict of a loss: "loss", what is minimised; "reconstruction", what it costs to rebuild
the image, in the unit of the loss; "kl", nats; "penalty", a further term before its weight; "mse",
squared error per pixel; "used", a share. `y` and `generator` are given by name.
"""

import itertools

import numpy as np
import torch
from torch import nn

from genai_utils import inputs


class ImageModel(nn.Module):
    """A model of square images with `channels` numbers per pixel, perhaps of `classes` kinds.

    Args:
        size: side of the images.
        channels: 1 for grey, 3 for colour.
        classes: number of classes that the model is told of; None: it knows none.

    A model adds `loss(batch)`, which begins with `x, y = self.batch(batch)`, and, where it is a
    generator, `sample(n, y=None, generator=None)`. Raises TypeError or ValueError for sizes,
    images or labels that do not fit.
    """

    pixels = "unit"  # what the values must be: "unit", in [0, 1], or "binary", 0 or 1

    def __init__(self, size, channels=1, classes=None):
        super().__init__()
        self.size = inputs.whole(size, "size")
        self.channels = inputs.whole(channels, "channels")
        self.classes = None if classes is None else inputs.whole(classes, "classes", least=2)

    def _weight(self):
        """A weight (or, where there is none, a constant): it tells type and device."""
        return next(itertools.chain(self.parameters(), self.buffers()))

    def images(self, x, values=True):
        """x as the model takes it: (B, C, H, W), in the type of its weights.

        values: whether to look at the pixels, which a loss should not: a card would be waited for.
        """
        weight, checks = self._weight(), self.pixels if values else False
        name = f"x of this {type(self).__name__}"
        if isinstance(x, np.ndarray):
            x = inputs.images(x, name, self.size, self.channels, checks).to(weight.device)
            checks = False
        return inputs.images(x, name, self.size, self.channels, checks, weight.dtype)

    def labels(self, y, n, values=True):
        """y as the model takes it: (n,) int64 on its device, or None where it knows no classes."""
        name = f"y of this {type(self).__name__}"
        if self.classes is None:
            if y is not None:
                raise inputs.refusal(
                    name, "no labels", inputs.kind_of(y), "make the model with classes=…"
                )
            return None
        if y is None:
            cure = "give images and labels: loss((x, y)), or y=…"
            raise inputs.refusal(name, f"{n} labels", "None", cure)
        y = inputs.labels(y, name, self.classes, values)
        if y.shape != (n,):
            raise inputs.refusal(name, f"a label for each of {n} images", f"{tuple(y.shape)}")
        return y.to(self._weight().device)

    def batch(self, batch, values=False):
        """Images x and labels y (None without classes) of a batch: x, or (x, y)."""
        x, y = batch if isinstance(batch, (tuple, list)) and len(batch) == 2 else (batch, None)
        x = self.images(x, values)
        return x, self.labels(y, len(x), values)

    def parts(self, x, y, size):
        """Checked images and labels, at most `size` at a time: pairs (x, y), (x, None), …"""
        x, y = self.batch((x, y), values=True)
        parts = x.split(size)
        return zip(parts, [None] * len(parts) if y is None else y.split(size), strict=True)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for images or labels that do not fit, values included."""
        self.batch(batch, values=True)

    def loss(self, batch):
        """What training makes small, of x or (x, y): a scalar, or a dict whose "loss" it is."""
        raise NotImplementedError

    def sample(self, n, y=None, generator=None):
        """n images (n, C, H, W) in [0, 1]; y: their classes, one number for all or (n,)."""
        raise NotImplementedError(
            f"{type(self).__name__} says nothing about how codes are distributed, so there is "
            "nothing to draw from; fit a distribution to its codes and decode draws of it."
        )

    def kinds(self, n, y=None, generator=None):
        """The classes of n images to be drawn, (n,) or None: as told, or each equally likely."""
        if self.classes is None or torch.is_tensor(y) or isinstance(y, (list, tuple, np.ndarray)):
            return self.labels(y, n)
        if y is not None:
            y = inputs.whole(y, f"y of this {type(self).__name__}", 0, self.classes - 1)
            return torch.full((n,), y, device=self._weight().device)
        device = self._weight().device if generator is None else generator.device
        y = torch.randint(self.classes, (n,), generator=generator, device=device)
        return y.to(self._weight().device)


def drawn(draw, *shape, like, generator=None, dtype=None):
    """Random numbers by torch.rand or torch.randn, on the device of `like`.

    They are drawn where the generator is, so that a seed gives the same on any device; without
    one they come from PyTorch's own stream.
    """
    device = like.device if generator is None else generator.device
    return draw(*shape, generator=generator, device=device, dtype=dtype).to(like.device)


def class_vectors(classes, width):
    """A learned vector for each class, zero at first; None where there are no classes."""
    zeros = torch.zeros(0 if classes is None else classes, width)
    return None if classes is None else nn.Embedding.from_pretrained(zeros, freeze=False)


def codes(c, code):
    """Codes c (..., code), unchanged. Raises ValueError for another width."""
    if c.shape[-1] != code:
        raise inputs.refusal("c", f"codes of shape (..., {code})", f"{tuple(c.shape)}")
    return c
