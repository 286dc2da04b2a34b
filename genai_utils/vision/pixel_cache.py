"""How the next pixel is asked for: from the whole network each time, or from what is kept.

A reader gives one logit after the other while an image x is filled in: `start(row)` before each
row, then `logit(row, column)` for its places from left to right. `PixelModel.complete` fills x; y
are the classes of the images, where the model knows classes.

Source: Ramachandran et al. 2017. Lecture item A34.
"""

import torch.nn.functional as F


class Naive:
    """Asks the whole network for every single pixel."""

    def __init__(self, model, x, y=None):
        self.model, self.x, self.y = model, x, y

    def start(self, row):
        """Nothing is prepared."""
        pass

    def logit(self, row, column):
        return self.model.logits(self.x, self.y)[:, 0, row, column]


class Cached:
    """Reads a PixelCNN one pixel at a time and computes nothing twice.

    The vertical stack does not know the row that is being drawn, so `start(row)` computes it once
    for the row. The horizontal stack is computed for one place at a time, from kept values.
    Source: Ramachandran et al. 2017.
    """

    def __init__(self, model, x, y=None):
        self.model, self.x, self.y = model, x, y
        width, side = model.width, model.size
        self.v = [  # of each layer's input: all rows so far, with its padding around them
            x.new_zeros(len(x), width, layer.reach + side, side + 2 * layer.reach)
            for layer in model.layers
        ]
        self.h = [x.new_zeros(len(x), width, layer.reach + side) for layer in model.layers]
        self.weights = [layer.conv_h.weight.flatten(1) for layer in model.layers]

    def start(self, row):
        n = self.model.back
        above = F.pad(2 * self.x[:, :, max(0, row - n) : row] - 1, (n, n, max(0, n - row), 0))
        v = self.model.place(self.model.first_v(above), self.y, row)  # (B, h, 1, W)
        self.first, self.links = v[:, :, 0], []
        for layer, kept in zip(self.model.layers, self.v, strict=True):
            r = layer.reach
            kept[:, :, r + row, r : r + v.shape[-1]] = v[:, :, 0]
            a = layer.conv_v(kept[:, :, row : row + r + 1])  # (B, 2h, 1, W)
            self.links.append(layer.link(a)[:, :, 0] + layer.conv_h.bias[:, None])
            v = layer.down(v, a)

    def logit(self, row, column):
        model, n = self.model, self.model.back
        left = 2 * self.x[:, 0, row, max(0, column - n) : column] - 1
        seen = F.pad(left, (max(0, n - column), 0))  # (B, n)
        h = F.linear(seen, model.first_h.weight.flatten(1), model.first_h.bias)
        h = h + self.first[:, :, column]  # (B, h)
        for layer, kept, weight, link in zip(
            model.layers, self.h, self.weights, self.links, strict=True
        ):
            r, gap = layer.reach, layer.conv_h.dilation[1]
            kept[:, :, r + column] = h
            window = kept[:, :, column : column + r + 1 : gap].flatten(1)  # (B, h (k // 2 + 1))
            b = F.linear(window, weight) + link[:, :, column]
            h = layer.along(h[..., None, None], b[..., None, None])[..., 0, 0]
        return model.head(h[..., None, None])[:, 0, 0, 0]
