"""PixelCNN: an image is written pixel by pixel, as a text is written word by word. A33, A34.

The story of the file: the chain rule (`running_log_prob`, `next_pixel`, `reorder`), what every
pixel model can do with it (`PixelModel`: likelihood, sampling, completion), a convolution that
looks back only (`masked_weight`), the first PixelCNN with its blind spot (`MaskedPixelCNN`), and
the gated one with two stacks and none (`PixelCNN`). The cache that makes sampling bearable is in
`pixel_cache`, the PixelRNN in `pixel_rnn`. All log-probabilities are in nats, one number per image.

Pixels are 0 or 1 and stand in raster order: row by row from the top, each from left to right.

Sources: van den Oord, Kalchbrenner & Kavukcuoglu 2016 (masks, PixelCNN, PixelRNN); van den Oord et
al. 2016b (gates, two stacks).
"""

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import data
from genai_utils.evaluation.inputs import positive_int
from genai_utils.training import TensorBatches, dynamic_binarize

from .inputs import checked_images
from .pixel_cache import Cached, Naive

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
        checked_images(x, self.size, type(self).__name__)
        if not ((x == 0) | (x == 1)).all():
            raise ValueError(
                f"This {type(self).__name__} expects pixels that are 0 or 1; it got grey values. "
                "Throw the coins first: dynamic_binarize(x, generator)."
            )
        return x

    def loss(self, x):
        """-log P(x), the mean over the batch, in nats per image."""
        logits = self.logits(self.checked(x))
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


# --- A convolution that looks back, and the first PixelCNN ---------------------------------------


def masked_weight(weight, kind):
    """The weights of a convolution that looks at earlier pixels only: the others are set to 0.

    Mask "A" keeps the places before the centre in raster order: all rows above it, and what is
    left of it in its own row. Mask "B" keeps the centre, too.
    Shapes: weight (out, in, kh, kw) with odd kh and kw -> the same shape.
    Source: van den Oord et al. 2016, section 3.4; lecture item A34.
    """
    if kind not in ("A", "B"):
        raise ValueError(f'kind: expected "A" or "B", got {kind!r}.')
    height, width = weight.shape[-2:]
    place = torch.arange(height * width, device=weight.device).reshape(height, width)
    centre = height // 2 * width + width // 2
    return weight * (place < centre if kind == "A" else place <= centre)


def checked_kernel(size, **kernels):
    """Raises ValueError for a kernel that is even or wider than the image."""
    for name, kernel in kernels.items():
        if positive_int(kernel, name) % 2 == 0:
            raise ValueError(f"{name}: expected an odd kernel, which has a centre; got {kernel}.")
        if kernel > size:
            raise ValueError(f"{name}: a kernel of {kernel} is wider than the image ({size}).")


class MaskedConv2d(nn.Conv2d):
    """A convolution with mask "A" or "B" that keeps the size of the image (A34)."""

    def __init__(self, channels_in, channels_out, kernel, kind):
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = height // 2, width // 2
        super().__init__(channels_in, channels_out, (height, width), padding=padding)
        self.kind = kind

    def forward(self, x):
        weight = masked_weight(self.weight, self.kind)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class Place(nn.Module):
    """Adds what was learnt about the row and the column: a convolution knows neither.

    Shapes: features (B, channels, h, w), the first of them in row `row` -> the same shape.
    """

    def __init__(self, channels, size):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(channels, size, 1))
        self.columns = nn.Parameter(torch.zeros(channels, 1, size))

    def forward(self, features, row=0):
        height, width = features.shape[-2:]
        return features + self.rows[:, row : row + height] + self.columns[..., :width]


def make_head(channels, hidden):
    """From features to the logit, pixel by pixel."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 1, 1)
    )


class MaskedPixelCNN(PixelModel):
    """The first PixelCNN: one stack of masked convolutions. It has a blind spot (A34).

    Args: as of `PixelCNN`.
    """

    def __init__(self, size=28, channels=32, layers=6, kernel=3, first=7):
        super().__init__(size)
        checked_kernel(size, kernel=kernel, first=first)
        for name, value in {"channels": channels, "layers": layers}.items():
            positive_int(value, name)
        self.first = MaskedConv2d(1, channels, first, "A")
        self.place = Place(channels, size)
        self.layers = nn.ModuleList(
            MaskedConv2d(channels, channels, kernel, "B") for _ in range(layers)
        )
        self.head = make_head(channels, 2 * channels)

    def logits(self, x):
        h = self.place(self.first(2 * x - 1))
        for layer in self.layers:
            h = h + layer(h.relu())
        return self.head(h)


# --- Gates and two stacks ------------------------------------------------------------------------


def gate(a):
    r"""Half of the channels say what, the other half says how much of it passes.

    $$ y = \tanh(a_1) \cdot \mathrm{sigmoid}(a_2) $$

    a_1 is the first half of the channels, a_2 the second.
    Shapes: a (B, 2h, H, W) -> (B, h, H, W).
    Source: van den Oord et al. 2016b, eq. 2; lecture item A34.
    """
    signal, valve = a.chunk(2, dim=1)
    return signal.tanh() * valve.clone().sigmoid()  # of a copy: twice as fast as of a slice


class Layer(nn.Module):
    """One gated layer. v knows the rows above, h those and what is left in the same row.

        a  = conv_v(v),  v' = v + out_v(gate(a))
        b  = conv_h(h) + link(a),  h' = h + out_h(gate(b))

    `conv_v` sees `kernel // 2` rows back and the pixel's own, in both directions along the row;
    `conv_h` sees the pixel and `kernel // 2` places to its left. Nothing flows from h to v. After
    the last layer nobody needs v.
    """

    gate = staticmethod(gate)

    def __init__(self, channels, kernel, dilation=1, last=False):
        super().__init__()
        back = kernel // 2
        self.reach = back * dilation
        self.conv_v = nn.Conv2d(channels, 2 * channels, (back + 1, kernel), dilation=dilation)
        self.conv_h = nn.Conv2d(channels, 2 * channels, (1, back + 1), dilation=dilation)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out_v = None if last else nn.Conv2d(channels, channels, 1)
        self.out_h = nn.Conv2d(channels, channels, 1)

    def forward(self, v, h):
        a = self.conv_v(F.pad(v, (self.reach, self.reach, self.reach, 0)))
        b = self.conv_h(F.pad(h, (self.reach, 0, 0, 0))) + self.link(a)
        return self.down(v, a), self.along(h, b)

    def down(self, v, a):
        """v', of the vertical stack."""
        return None if self.out_v is None else v + self.out_v(self.gate(a))

    def along(self, h, b):
        """h', of the horizontal stack."""
        return h + self.out_h(self.gate(b))


class PixelCNN(PixelModel):
    """The gated PixelCNN: two stacks, no blind spot, exact likelihood (A34).

    Args:
        size: side of the square images.
        channels: h, the width of each of the two stacks.
        layers: number of gated layers.
        kernel: side of their kernels; odd.
        first: side of the first kernel; odd. It reads the image itself and is cheap.
        dilations: gaps in the kernels of the layers, used in turn.
    """

    def __init__(self, size=28, channels=32, layers=6, kernel=3, first=7, dilations=(1,)):
        super().__init__(size)
        checked_kernel(size, kernel=kernel, first=first)
        for name, value in {"channels": channels, "layers": layers}.items():
            positive_int(value, name)
        for gap in dilations:
            positive_int(gap, "dilations")
        if first < 3:
            raise ValueError(f"first: expected a kernel of at least 3, got {first}.")
        self.channels, self.back = channels, first // 2
        self.first_v = nn.Conv2d(1, channels, (self.back, first))  # the rows above, not its own
        self.first_h = nn.Conv2d(1, channels, (1, self.back))  # what is left of it
        self.place = Place(channels, size)
        self.layers = nn.ModuleList(
            Layer(channels, kernel, dilations[i % len(dilations)], last=i == layers - 1)
            for i in range(layers)
        )
        self.head = make_head(channels, 2 * channels)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def logits(self, x):
        x, n = 2 * x - 1, self.back
        v = self.first_v(F.pad(x, (n, n, n, 0)))[:, :, :-1]  # row r sees rows r - n ... r - 1
        h = self.first_h(F.pad(x, (n, 0, 0, 0)))[..., :-1]  # places c - n ... c - 1
        v = self.place(v).contiguous(memory_format=torch.channels_last)
        h = h + v
        for layer in self.layers:
            v, h = layer(v, h)
        return self.head(h)

    def reader(self, x):
        return Cached(self, x)


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


def recipe():
    """What `python -m genai_utils.train pixel_models` trains: chapter 20's PixelCNN on MNIST."""
    images = data.mnist("train").x
    batches = TensorBatches(images, batch_size=32, transform=dynamic_binarize)
    options = {"steps": 1_500, "lr": 5e-3, "warmup": 100, "ema": 0.995, "clip": 50.0}
    return PixelCNN(dilations=(1, 2, 4)), batches, options
