"""PixelRNN with row LSTMs: the rows above are remembered, not looked up. Lecture item A33.

A row LSTM walks down the image. Its state is a whole row; the next row's state is computed from
it by a convolution, for all places of the row at once. What it shares with PixelCNN (chain rule,
likelihood, sampling) is in `pixel_chain`.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, sections 3.1 and 3.3.
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs

from .pixel_chain import PixelModel
from .pixel_models import MaskedConv2d, PixelPosition, checked_kernel, make_head, masked_weight


class RowLSTM(nn.Module):
    """An LSTM whose state is a row, with a residual connection around it.

        (o, f, i, g) = K_ss * s_{r-1} + K_is * x_r
        c_r = sigmoid(f) c_{r-1} + sigmoid(i) tanh(g)
        s_r = sigmoid(o) tanh(c_r)

    K_is * x is masked (mask "B") and computed for the whole image at once; K_ss * s sees
    `kernel` places of the row above, so the field of view is a triangle that widens upwards.
    Shapes: x (B, width, H, W) -> (the same, the state after the last row).
    """

    def __init__(self, width, hidden, kernel):
        super().__init__()
        self.input_to_state = MaskedConv2d(width, 4 * hidden, (1, kernel), "B")
        self.state_to_state = nn.Conv1d(hidden, 4 * hidden, kernel, padding=kernel // 2, bias=False)
        self.out = nn.Conv2d(hidden, width, 1)
        self.hidden = hidden

    def forward(self, x, state=None):
        given = self.input_to_state(x)  # (B, 4 hidden, H, W)
        if state is None:
            blank = x.new_zeros(len(x), self.hidden, x.shape[-1])
            state = blank, blank
        s, c = state  # (B, hidden, W) each
        rows = []
        for row in given.unbind(dim=2):  # (B, 4 hidden, W)
            gates, new = (row + self.state_to_state(s)).split([3 * self.hidden, self.hidden], 1)
            output, forget, enter = gates.sigmoid().chunk(3, dim=1)
            c = forget * c + enter * new.tanh()
            s = output * c.tanh()
            rows.append(s)
        return x + self.out(torch.stack(rows, dim=2)), (s, c)


class PixelRNN(PixelModel):
    """A masked convolution and some row LSTMs (A33).

    Args:
        size: side of the square images.
        width: channels of the features between the layers.
        layers: number of row LSTMs.
        kernel: side of their kernels along the row; odd.
        first: side of the first, masked kernel; odd.
        hidden: units of an LSTM; half of the width if None, as in the paper.
        classes: as of `PixelCNN`.
    """

    def __init__(
        self, size=28, width=32, layers=2, kernel=3, first=7, hidden=None, classes=None
    ):  # fmt: skip
        super().__init__(size, classes)
        checked_kernel(size, kernel=kernel, first=first)
        inputs.whole(width, "width"), inputs.whole(layers, "layers")
        hidden = max(1, width // 2) if hidden is None else inputs.whole(hidden, "hidden")
        self.first = MaskedConv2d(1, width, first, "A")
        self.place = PixelPosition(width, size, classes)
        self.layers = nn.ModuleList(RowLSTM(width, hidden, kernel) for _ in range(layers))
        self.head = make_head(width, 2 * width)

    def logits(self, x, y=None):
        h = self.place(self.first(2 * x - 1), y)
        for layer in self.layers:
            h, _ = layer(h)
        return self.head(h)

    def reader(self, x, y=None):
        return RowByRow(self, x, y)


class RowByRow:
    """Keeps the states of the rows above: a pixel costs one row of the network, not the image."""

    def __init__(self, model, x, y=None):
        self.model, self.x, self.y = model, x, y
        self.states = [None] * len(model.layers)  # after the row above

    def run(self, row):
        """Logits of one row, (B, W), and the states after it."""
        n = self.model.first.padding[0]
        seen = 2 * self.x[:, :, max(0, row - n) : row + 1] - 1
        seen = F.pad(seen, (n, n, max(0, n - row), n))  # rows below are masked: zeros will do
        first = self.model.first
        h = F.conv2d(seen, masked_weight(first.weight, first.kind), first.bias)
        h = self.model.place(h, self.y, row)  # (B, width, 1, W)
        states = []
        for layer, state in zip(self.model.layers, self.states, strict=True):
            h, state = layer(h, state)
            states.append(state)
        return self.model.head(h)[:, 0, 0], states

    def start(self, row):
        if row:
            _, self.states = self.run(row - 1)  # now that it is complete

    def logit(self, row, column):
        return self.run(row)[0][:, column]
