"""Weights in fewer bits: four, in blocks with a scale each, or eight, with a scale for each row.

A quantised weight is a code, a place in a short table, times a scale. It is made a number again
when it is used: the model computes in floats as before, and only keeps less.

Shapes: a matrix W (m, n); its m n numbers, row by row, are cut into blocks of `block`.

Source: Dettmers et al. 2023 (QLoRA); Dettmers et al. 2022 (8 bits).
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.inputs import array, one_of, refusal, whole

from .lora import TARGETS, lora_layers, replace

BLOCK = 64  # weights that share a scale
SCALES = 256  # scales that share a scale, in double quantisation


def normal_float(bits=4):
    """The table of NormalFloat: 2^bits levels from -1 to 1 that normal numbers use about equally.

    Quantiles of the standard normal distribution, at equal steps of probability, 2^(bits-1) + 1
    above zero and 2^(bits-1) below, the outermost cut off at δ; zero itself belongs to both sides,
    and all are divided by the largest. δ is the mean of 1 / (2 · 2^bits) and 1 / (2 (2^bits - 1)).

    Returns (2^bits,) float32 in rising order. Raises ValueError for bits outside 2 to 8.
    Source: Dettmers et al. 2023, section 3 and appendix E.
    """
    half = 2 ** whole(bits, "bits", 2, 8) // 2
    top = 1 - (1 / (4 * half) + 1 / (4 * half - 2)) / 2
    up = torch.special.ndtri(torch.linspace(0.5, top, half + 1, dtype=torch.float64))  # 0 first
    down = -torch.special.ndtri(torch.linspace(0.5, top, half, dtype=torch.float64))
    levels = torch.cat([down.flip(0), up[1:]])
    return (levels / levels.abs().max()).float() + 0.0  # no minus zero


def quantize_blocks(w, table, block):
    """Each weight as the place of the nearest level, in units of the largest of its block.

        scale = max |w| over the block,   code = argmin_c |w / scale − table[c]|

    w: (…), any shape; its numbers, in a row, are cut into blocks of `block`; the last may be
    shorter. table: (K,) levels in rising order, K ≤ 256. Between two levels the lower one is taken.
    A block of zeros has the scale 0, and codes of the level nearest to 0.
    Returns codes, uint8, in the shape of w, and scales (blocks,).
    Source: Dettmers et al. 2023, eq. 1.
    """
    flat = w.flatten()
    blocks = F.pad(flat, (0, -len(flat) % block)).view(-1, block)
    scales = blocks.abs().amax(1)
    unit = blocks / torch.where(scales > 0, scales, 1.0)[:, None]
    codes = torch.bucketize(unit, (table[1:] + table[:-1]) / 2)  # a level reaches half-way
    return codes.flatten()[: len(flat)].view(w.shape).to(torch.uint8), scales


def dequantize_blocks(codes, scales, table, block):
    """The weights again: table[code] times the scale of the block; codes (…) → (…)."""
    levels = table[codes.long().flatten()]
    return (levels * scales.repeat_interleave(block)[: len(levels)]).view(codes.shape)


def pack(codes):
    """Two codes below 16 in a byte, the first one in the upper half: (…) → (half as many,)."""
    flat = codes.flatten()
    pairs = F.pad(flat, (0, len(flat) % 2)).view(-1, 2)
    return pairs[:, 0] << 4 | pairs[:, 1]


def unpack(packed, shape):
    """The codes of `pack`, in a shape."""
    codes = torch.stack([packed >> 4, packed & 15], 1).flatten()
    return codes[: torch.Size(shape).numel()].view(shape)


class _FewBits(nn.Module):
    """What both kinds share: `weight` is made anew at each use; coded: how many there are."""

    def __init__(self, linear):
        super().__init__()
        self.out_features, self.in_features = linear.weight.shape
        self.coded = sum(p.numel() for p in linear.parameters())
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("bias", bias)

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), self.bias)

    def plain(self):
        """An nn.Linear with the weights that this layer computes with."""
        weight, bias = self.weight, self.bias is not None
        sizes = (self.in_features, self.out_features, bias)
        made = nn.utils.skip_init(nn.Linear, *sizes, device=weight.device)  # nothing is drawn
        with torch.no_grad():
            made.weight.copy_(weight)
            if bias:
                made.bias.copy_(self.bias)
        return made


class Linear4bit(_FewBits):
    """A linear layer whose matrix has four bits for each weight, and a scale for each block.

    double: the scales are quantised too, to eight bits around their mean, in blocks of 256 with a
    scale each. The paper takes floats of eight bits there, this book whole numbers.
    forward: (…, n) → (…, m). Its weights are not trained; gradients pass through to x.
    """

    def __init__(self, linear, block=BLOCK, double=False):
        super().__init__(linear)
        self.block = whole(block, "block")
        table = normal_float().to(linear.weight.device)
        self.register_buffer("table", table, persistent=False)
        codes, scales = quantize_blocks(linear.weight.detach().float(), table, self.block)
        self.register_buffer("packed", pack(codes))
        self.double = double
        if double:
            self.register_buffer("mean", scales.mean())
            levels = torch.arange(-127, 128, device=scales.device) / 127
            codes, steps = quantize_blocks(scales - self.mean, levels, SCALES)
            self.register_buffer("scale_codes", codes)
            self.register_buffer("scale_steps", steps)
        else:
            self.register_buffer("scales", scales)

    @property
    def weight(self):
        scales = self.scales if not self.double else self._scales()
        codes = unpack(self.packed, (self.out_features, self.in_features))
        return dequantize_blocks(codes, scales, self.table, self.block)

    def _scales(self):
        steps = self.scale_steps.repeat_interleave(SCALES)[: len(self.scale_codes)]
        return (self.scale_codes.float() - 127) / 127 * steps + self.mean


class Linear8bit(_FewBits):
    """A linear layer whose matrix has one byte for each weight, and a scale for each row.

        weight ≈ whole · scale,   scale = max |row| / 127

    forward: (…, n) → (…, m). Source: Dettmers et al. 2022, section 2.
    """

    def __init__(self, linear):
        super().__init__(linear)
        rows = linear.weight.detach().float()
        largest = rows.abs().amax(1, keepdim=True)
        scale = torch.where(largest > 0, largest / 127, 1.0)
        self.register_buffer("whole", (rows / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    @property
    def weight(self):
        return self.whole.to(self.scale.dtype) * self.scale


@torch.no_grad()
def quantized(model, bits=4, block=BLOCK, double=False, targets=TARGETS):
    """A copy of a model (a `Stack`), frozen, the matrices of its blocks in four or eight bits.

    Embeddings, norms and biases stay as they are. block, double: of four bits, see `Linear4bit`.
    Raises ValueError for other bits, a model with adapters, or weights that are not finite.
    """
    one_of(bits, "bits", (4, 8))
    if lora_layers(model):
        raise refusal(
            "model", "one without adapters", "adapters", "quantise first, or take plain(model)"
        )
    made = copy.deepcopy(model)
    for i, part in enumerate(made.blocks):
        for target in targets:
            linear = part.get_submodule(target)
            if not isinstance(linear, nn.Linear):
                raise refusal(f"blocks.{i}.{target}", "an nn.Linear", type(linear).__name__)
            array(linear.weight, f"blocks.{i}.{target}")
            few = Linear4bit(linear, block, double) if bits == 4 else Linear8bit(linear)
            replace(made, f"blocks.{i}.{target}", few)
    return made.requires_grad_(False)


@torch.no_grad()
def dequantized(model):
    """A copy in which every layer of fewer bits is an nn.Linear with the very same weights."""
    made = copy.deepcopy(model)
    for path, part in list(made.named_modules()):
        if isinstance(part, _FewBits):
            replace(made, path, part.plain().requires_grad_(False))
    return made


def weight_bytes(model):
    """Bytes of all that a file of the model holds; what two parts share counts once."""
    tensors = {t.data_ptr(): t for t in model.state_dict().values() if t is not None}
    return sum(t.numel() * t.element_size() for t in tensors.values())


__all__ = [
    "Linear4bit", "Linear8bit", "dequantize_blocks", "dequantized", "normal_float",
    "pack", "quantize_blocks", "quantized", "unpack", "weight_bytes",
]  # fmt: skip
