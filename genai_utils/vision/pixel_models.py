"""PixelCNN: an image is written pixel by pixel, as a text is written word by word. A33, A34.

The story of the file: a convolution that looks back only (`masked_weight`), the first PixelCNN with
its blind spot (`MaskedPixelCNN`), and the gated one with two stacks and none (`PixelCNN`). The
chain rule, and what every pixel model can do with it, is in `pixel_chain`; the cache that makes
sampling bearable in `pixel_cache`; the PixelRNN in `pixel_rnn`.

Sources: van den Oord, Kalchbrenner & Kavukcuoglu 2016 (masks, PixelCNN, PixelRNN); van den Oord et
al. 2016b (gates, two stacks).
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import data, inputs
from genai_utils.training import TensorBatches, dynamic_binarize

from .image_model import class_vectors
from .pixel_cache import Cached
from .pixel_chain import PixelModel

# --- A convolution that looks back, and the first PixelCNN ---------------------------------------


def masked_weight(weight, kind):
    """The weights of a convolution that looks at earlier pixels only: the others are set to 0.

    Mask "A" keeps the places before the centre in raster order: all rows above it, and what is
    left of it in its own row. Mask "B" keeps the centre, too.
    Shapes: weight (out, in, kh, kw) with odd kh and kw -> the same shape. Raises ValueError for
    another kind: a misspelt mask must not let the model see what it predicts.
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
        if inputs.whole(kernel, name) > size:
            raise inputs.refusal(name, f"a kernel no wider than the image, {size}", f"{kernel}")
        if kernel % 2 == 0:
            raise inputs.refusal(name, "an odd kernel, which has a centre", f"{kernel}")


class MaskedConv2d(nn.Conv2d):
    """A convolution with mask "A" or "B" that keeps the size of the image (A34)."""

    def __init__(self, channels_in, channels_out, kernel, kind):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 for side in kernel)
        super().__init__(channels_in, channels_out, kernel, padding=padding)
        self.kind = kind

    def forward(self, x):
        weight = masked_weight(self.weight, self.kind)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class PixelPosition(nn.Module):
    """Adds what was learnt about the row and the column: a convolution knows neither.

    And about the class, where the model knows classes: a vector for each, the same everywhere.
    Shapes: features (B, width, h, w), the first of them in row `row`; y (B,) -> as features.
    """

    def __init__(self, width, size, classes=None):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(width, size, 1))
        self.columns = nn.Parameter(torch.zeros(width, 1, size))
        self.of_class = class_vectors(classes, width)

    def forward(self, features, y=None, row=0):
        h, w = features.shape[-2:]
        features = features + self.rows[:, row : row + h] + self.columns[..., :w]
        return features if y is None else features + self.of_class(y)[..., None, None]


def make_head(width, hidden):
    """From features to the logit, pixel by pixel."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(width, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 1, 1))


class MaskedPixelCNN(PixelModel):
    """The first PixelCNN: one stack of masked convolutions. It has a blind spot (A34).

    Args: as of `PixelCNN`.
    """

    def __init__(self, size=28, width=32, layers=6, kernel=3, first=7, classes=None):
        super().__init__(size, classes)
        checked_kernel(size, kernel=kernel, first=first)
        inputs.whole(width, "width"), inputs.whole(layers, "layers")
        self.first = MaskedConv2d(1, width, first, "A")
        self.place = PixelPosition(width, size, classes)
        self.layers = nn.ModuleList(MaskedConv2d(width, width, kernel, "B") for _ in range(layers))
        self.head = make_head(width, 2 * width)

    def logits(self, x, y=None):
        h = self.place(self.first(2 * x - 1), y)
        for layer in self.layers:
            h = h + layer(h.relu())
        return self.head(h)


# --- Gates and two stacks ------------------------------------------------------------------------


def gate(a):
    """Half of the channels say what, the other half says how much of it passes.

        y = tanh(a_1) · sigmoid(a_2)

    a_1 is the first half of the channels, a_2 the second. Far from 0 both functions are flat:
    there, too, the value and the gradient are finite.
    Shapes: a (B, 2h, H, W) -> (B, h, H, W).
    Source: van den Oord et al. 2016b, eq. 2; lecture item A34.
    """
    signal, valve = a.chunk(2, dim=1)
    return signal.tanh() * valve.clone().sigmoid()  # of a copy: twice as fast as of a slice


class GatedLayer(nn.Module):
    """One gated layer. v knows the rows above, h those and what is left in the same row.

        a  = conv_v(v),  v' = v + out_v(gate(a))
        b  = conv_h(h) + link(a),  h' = h + out_h(gate(b))

    `conv_v` sees `kernel // 2` rows back and the pixel's own, in both directions along the row;
    `conv_h` sees the pixel and `kernel // 2` places to its left. Nothing flows from h to v. After
    the last layer nobody needs v.
    """

    gate = staticmethod(gate)

    def __init__(self, width, kernel, dilation=1, last=False):
        super().__init__()
        back = kernel // 2
        self.reach = back * dilation
        self.conv_v = nn.Conv2d(width, 2 * width, (back + 1, kernel), dilation=dilation)
        self.conv_h = nn.Conv2d(width, 2 * width, (1, back + 1), dilation=dilation)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out_v = None if last else nn.Conv2d(width, width, 1)
        self.out_h = nn.Conv2d(width, width, 1)

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
        width: h, the channels of each of the two stacks.
        layers: number of gated layers.
        kernel: side of their kernels; odd.
        first: side of the first kernel; odd. It reads the image itself and is cheap.
        dilations: gaps in the kernels of the layers, used in turn.
        classes: number of classes y, or None. A vector learned for each is added to the features
            in front of the first layer; both stacks carry it on to the others.
    """

    def __init__(
        self, size=28, width=32, layers=6, kernel=3, first=7, dilations=(1,), classes=None
    ):  # fmt: skip
        super().__init__(size, classes)
        checked_kernel(size, kernel=kernel, first=first)
        inputs.whole(width, "width"), inputs.whole(layers, "layers")
        inputs.whole(first, "first", least=3)
        dilations = [inputs.whole(gap, "dilations") for gap in dilations]
        self.width, self.back = width, first // 2
        self.first_v = nn.Conv2d(1, width, (self.back, first))  # the rows above, not its own
        self.first_h = nn.Conv2d(1, width, (1, self.back))  # what is left of it
        self.place = PixelPosition(width, size, classes)
        self.layers = nn.ModuleList(
            GatedLayer(width, kernel, dilations[i % len(dilations)], last=i == layers - 1)
            for i in range(layers)
        )
        self.head = make_head(width, 2 * width)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def logits(self, x, y=None):
        x, n = 2 * x - 1, self.back
        v = self.first_v(F.pad(x, (n, n, n, 0)))[:, :, :-1]  # row r sees rows r - n ... r - 1
        h = self.first_h(F.pad(x, (n, 0, 0, 0)))[..., :-1]  # places c - n ... c - 1
        v = self.place(v, y).contiguous(memory_format=torch.channels_last)
        h = h + v
        for layer in self.layers:
            v, h = layer(v, h)
        return self.head(h)

    def reader(self, x, y=None):
        return Cached(self, x, y)


def recipe():
    """What `python -m genai_utils.train pixel_models` trains: chapter 20's PixelCNN on MNIST."""
    images = data.mnist("train").x
    batches = TensorBatches(images, batch_size=32, transform=dynamic_binarize)
    options = {"steps": 1_500, "lr": 5e-3, "warmup": 100, "ema": 0.995, "clip": 50.0}
    options |= {"graph": True}  # on a graphics card only
    return PixelCNN(dilations=(1, 2, 4)), batches, options
