"""The network that looks at a noisy image and says what the noise is. Lecture item A107.

The story of the file: how a network is told the time (`time_features`), a block that listens to
it, attention among the few places of the coarsest level, the U-Net, and a small network for points,
for the cases whose truth is known. All take (x, t, y) and return the shape of x.

    t: the time, (B,), from 0 (data) to T (noise), whole or not; y: classes (B,), or None.

Sources: Ronneberger, Fischer & Brox 2015 (U-Net); Ho, Jain & Abbeel 2020, appendix B (with time and
attention); Vaswani et al. 2017 (sines); Ho & Salimans 2022 (a class "none").
"""

import copy
import math
import os

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.training import Muon, muon_groups
from genai_utils.training.graphs import aside, can_capture


def time_features(t, width, longest=10_000):
    """A time as sines and cosines of many wavelengths, so that a network sees it coarse and fine.

        (cos(ω_1 t), …, cos(ω_h t), sin(ω_1 t), …, sin(ω_h t)),   h = width / 2
        ω_i = longest^(-(i - 1) / h)

    Shapes: t (B,) -> (B, width), width even. Source: Vaswani et al. 2017, section 3.5; item A107.
    """
    half = width // 2
    steps = torch.arange(half, device=t.device, dtype=torch.float32)
    angles = t.float()[:, None] * torch.exp(-math.log(longest) * steps / half)  # (B, h)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class Condition(nn.Module):
    """Time, and class where there are classes, as one vector: t (B,), y (B,) -> (B, 4 width).

    Beside the `classes` there is one more, "none": y = classes, or y = None for the whole batch.
    """

    def __init__(self, width, classes=None):
        super().__init__()
        self.width, self.classes = width, classes
        self.time = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width), nn.SiLU()
        )
        self.of_class = None if classes is None else nn.Embedding(classes + 1, 4 * width)

    def forward(self, t, y=None):
        features = time_features(t, self.width).to(self.time[0].weight.dtype)
        vector = self.time(features)  # (B, 4 width)
        if self.of_class is None:
            return vector
        none = torch.full(t.shape, self.classes, dtype=torch.long, device=t.device)
        return vector + self.of_class(none if y is None else y).to(vector.dtype)


class Norm(nn.GroupNorm):
    """GroupNorm: the numbers of each group of channels, over all pixels, to mean 0 and variance 1.

    Then a learned scale and shift for each channel: x (B, C, H, W) -> the same. It stays in the
    type of x where autocast would turn bf16 into float32. A norm of each pixel by itself
    (LayerNorm over the channels) was tried: after 200 steps on small digits the error at much
    noise, where the shape is decided, was a third larger. Source: Wu & He 2018.
    """

    def __init__(self, channels, groups=4):
        super().__init__(groups, channels)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            return F.group_norm(x, self.num_groups, weight, bias)


class Block(nn.Module):
    """Two convolutions and a way past them; time and class scale and shift what is between.

        h = conv(silu(norm(x))),   h = conv(silu((1 + a) norm(h) + b)),   x' = past(x) + h
        (a, b) = linear(condition)

    Shapes: x (B, c_in, H, W), condition (B, d) -> (B, c_out, H, W).
    Source: Dhariwal & Nichol 2021, section 3 (scale and shift).
    """

    def __init__(self, c_in, c_out, d):
        super().__init__()
        self.norm_in, self.norm_out = Norm(c_in), Norm(c_out)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv_out = zeroed(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.tell = nn.Linear(d, 2 * c_out)
        self.past = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x, condition):
        h = self.conv_in(F.silu(self.norm_in(x)))
        a, b = self.tell(condition)[..., None, None].chunk(2, dim=1)  # (B, c_out, 1, 1)
        h = self.conv_out(F.silu((1 + a) * self.norm_out(h) + b))
        return self.past(x) + h


class Attention(nn.Module):
    """Every place looks at every other one: x (B, C, H, W) -> the same (chapter 8)."""

    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads, self.norm = heads, Norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x):
        B, C, H, W = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)  # (B, H, W, 3C)
        qkv = qkv.reshape(B, H * W, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, HW, C / heads)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # (B, HW, heads, C / heads)
        return x + self.out(h.reshape(B, H, W, C).permute(0, 3, 1, 2))


def zeroed(layer):
    """The layer with weights of zero: at first a block lets pass what comes."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class UNet(nn.Module):
    """Down to coarse levels and up again, with bridges between equals (A107).

    Each level has half the side of the one above. On the way down a level keeps what it found; on
    the way up it is joined to what comes from below: the coarse levels see the whole digit, the
    bridges carry where exactly each edge was. One network serves all times t.

    Args:
        size: side of the images; divisible by 2^(levels - 1).
        channels: 1 for grey, 3 for colour.
        width: channels of the first level; a multiple of 4.
        mults: channels of each level, as multiples of the width.
        classes: number of classes, or None.
        patch: side of the squares of pixels that the network sees as one place with patch² times
            the channels. With 2 a step costs about a quarter, and fine detail suffers first.
    Shapes: x (B, C, H, W), t (B,), y (B,) or None -> (B, C, H, W).
    """

    def __init__(self, size=28, channels=1, width=32, mults=(1, 2, 2), classes=None, patch=1):
        super().__init__()
        size, self.patch = inputs.whole(size, "size"), inputs.whole(patch, "patch")
        if inputs.whole(width, "width") % 4:
            raise inputs.refusal("width", "a multiple of 4", width)
        widths = [width * inputs.whole(m, "mults") for m in mults]
        unit = self.patch * 2 ** (len(widths) - 1)
        if size % unit:
            raise inputs.refusal(
                "size", f"a multiple of {unit} for {len(widths)} levels and patch = {self.patch}",
                size, "use fewer levels (mults), or pad the images",
            )  # fmt: skip
        channels = channels * self.patch**2
        d = 4 * width
        self.condition = Condition(width, classes)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for before, c in zip([width, *widths], widths, strict=False):
            self.down.append(Block(before, c, d))
            self.shrink.append(nn.Conv2d(c, c, 3, stride=2, padding=1))
        self.shrink[-1] = nn.Identity()  # the coarsest level
        self.middle = nn.ModuleList([Block(c, c, d), Block(c, c, d)])
        self.attention = Attention(c)
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for c, after in zip(reversed(widths), [*reversed(widths[:-1]), width], strict=True):
            self.up.append(Block(2 * c, after, d))
            self.grow.append(nn.Conv2d(after, after, 3, padding=1))
        self.grow[-1] = nn.Identity()  # the finest level
        self.norm = Norm(width)
        self.last = zeroed(nn.Conv2d(width, channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x, t, y=None):
        condition = self.condition(t, y)
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round little noise away
            x = F.pixel_unshuffle(x, self.patch)  # (B, C p², H / p, W / p)
            h = self.first(x.to(self.first.weight.dtype))
        h = h.to(condition.dtype)  # (B, width, H / p, W / p)
        bridges = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            h = block(h, condition)
            bridges.append(h)
            h = shrink(h)
        h = self.middle[0](h, condition)
        h = self.middle[1](self.attention(h), condition)
        for block, grow in zip(self.up, self.grow, strict=True):
            h = block(torch.cat([h, bridges.pop()], dim=1), condition)
            if not isinstance(grow, nn.Identity):
                h = grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return F.pixel_shuffle(self.last(F.silu(self.norm(h))), self.patch)


class PointNet(nn.Module):
    """The same for points in a few dimensions: x (B, d), t (B,), y (B,) or None -> (B, d)."""

    def __init__(self, d=2, width=64, layers=3, classes=None):
        super().__init__()
        self.condition = Condition(width, classes)
        self.first = nn.Linear(d, width)
        self.tell = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(layers))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = zeroed(nn.Linear(width, d))

    def forward(self, x, t, y=None):
        condition = self.condition(t, y)
        h = self.first(x)
        for layer, tell in zip(self.layers, self.tell, strict=True):
            h = h + layer(F.silu(h + tell(condition)))
        return self.last(F.silu(h))


# --- Training it ---------------------------------------------------------------------------------


def muon(model, lr=6e-3):
    """Muon for the kernels and matrices inside a model's U-Net, AdamW for the rest; for `fit`.

    The first and the last convolution, and what tells of time and class, are of the rest, which
    learns at half the rate. Nothing decays. model: a module with one `UNet` in it.
    """
    net = next(m for m in model.modules() if isinstance(m, UNet))
    inside = nn.ModuleList([net.down, net.shrink, net.middle, net.attention, net.grow, net.up])
    kernels, rest = muon_groups(model, inside)
    return Muon([kernels, rest | {"lr": lr / 2}], lr=lr, weight_decay=0.0)


# --- Asking it a thousand times ------------------------------------------------------------------


def for_sampling(net):
    """A network as it samples fastest: itself, or on a card with bfloat16 a U-Net's copy in it."""
    device = next(net.parameters()).device
    able = can_capture(device) and torch.cuda.get_device_capability(device) >= (8, 0)
    if not able or not isinstance(net, UNet):
        return net.eval()
    net = copy.deepcopy(net).to(torch.bfloat16).eval()
    net.first.float()  # it sees the image itself
    return net


def only_counted():
    """Whether a run only counts what it would train (`execute --estimate`): then none is drawn."""
    return os.environ.get("GENAI_ESTIMATE") == "1"


def recorded(function, *tensors):
    """`function(*tensors) -> tensor` as a CUDA graph for tensors of these shapes.

    Without a card it is the function itself. What it computes may not wait for the card.
    """
    if not can_capture(tensors[0].device):
        return function
    static = [tensor.clone() for tensor in tensors]
    with aside():
        for _ in range(3):
            function(*static)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = function(*static)

    def replay(*new):
        for kept, tensor in zip(static, new, strict=True):
            kept.copy_(tensor)
        graph.replay()
        return out.clone()

    return replay
