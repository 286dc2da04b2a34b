"""A modern block, part by part: what has changed in a GPT since GPT-2.

`modern_gpt(config, parts)` is a `gpt.GPT` in which each part named takes the place of GPT-2's, from
outside; without a part it is that GPT, bit for bit. Shapes: B sequences, T tokens, d numbers for a
token, h heads.

Source: Su et al. 2021 (rotary positions); Zhang & Sennrich 2019 (RMSNorm); Shazeer 2020 (SwiGLU);
So et al. 2021 (ReLU²); Henry et al. 2020 (QK-norm); lecture item A59.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.inputs import one_of, refusal

from .attention import MultiHeadAttention, rotary
from .gpt import GPT

PARTS = ("rope", "rmsnorm", "swiglu", "relu2", "qk-norm")


def rms_norm(x, gain, eps=1e-6):
    """Each token's vector, divided by its root mean square; no mean is taken off.

        y = gain · x / √(mean_i x_i² + eps)      mean over the d numbers of one token

    x (…, d), gain (d,) → (…, d). A vector of zeros stays one.
    Source: Zhang & Sennrich 2019, eq. 4.
    """
    scale = x.square().mean(dim=-1, keepdim=True).add(eps).rsqrt()  # (…, 1)
    return gain * x * scale


class RMSNorm(nn.Module):
    """`rms_norm` with a learned gain, ones at first. forward(x): (…, d) → (…, d)."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return rms_norm(x, self.weight, self.eps)


class ReLU2(nn.Module):
    """max(0, x)², number by number. Source: So et al. 2021 (Primer)."""

    def forward(self, x):
        return F.relu(x).square()


class SwiGLU(nn.Module):
    """An MLP with a gate: W₃ (silu(W₁ x) · W₂ x). forward(x): (…, d) → (…, d).

    Three matrices in place of two. With 8d/3 hidden numbers, rounded, for the usual 4d it has as
    many weights, and takes as many operations. Source: Shazeer 2020, eq. 6.
    """

    def __init__(self, dim, hidden=None):
        super().__init__()
        hidden = round(8 * dim / 3) if hidden is None else hidden
        self.both = nn.Linear(dim, 2 * hidden)  # W₁ and W₂ side by side
        self.out = nn.Linear(hidden, dim)

    def forward(self, x):
        gate, value = self.both(x).chunk(2, -1)  # (…, hidden) each
        return self.out(F.silu(gate) * value)


class QKNormAttention(MultiHeadAttention):
    """Attention whose queries and keys are `rms_norm`ed in each head before they are compared.

    No score can then exceed √(d/h) times the gains, however large the activations become.
    Source: Henry et al. 2020; with RMSNorm as in today's models.
    """

    def __init__(self, dim, heads, causal=False, dropout=0.0, rotary=False):
        super().__init__(dim, heads, causal, dropout, rotary)
        self.norm_q, self.norm_k = RMSNorm(dim // heads), RMSNorm(dim // heads)

    def split(self, x, start=0):
        turn, self.rotary = self.rotary, False  # norm first, then turn
        try:
            q, k, v = super().split(x, start)  # (B, h, T, d/h) each
        finally:
            self.rotary = turn
        q, k = self.norm_q(q), self.norm_k(k)
        if turn:
            place = torch.arange(start, start + x.shape[1], device=x.device)
            q, k = rotary(q, place), rotary(k, place)
        return torch.stack([q, k, v])  # (3, B, h, T, d/h)


class NoPositions(nn.Module):
    """In place of a table of positions: nothing is added to a token's vector."""

    def forward(self, place):
        return torch.zeros((), device=place.device)


def modernise(model, parts):
    """Replace parts of a plain `GPT`, in place; returns it.

    parts: names out of "rope", "rmsnorm", "swiglu", "relu2", "qk-norm". What a part does not touch
    keeps its weights; new matrices get GPT-2's first weights from torch's global generator.
    Raises TypeError for one text in place of several, ValueError for a name that is none, both
    kinds of MLP together, and rotary positions where a head has an odd number of numbers.
    """
    if isinstance(parts, str):
        raise refusal("parts", "several names", repr(parts), f"pass ({parts!r},)", TypeError)
    parts = [one_of(part, "parts", PARTS) for part in parts]
    if {"swiglu", "relu2"} <= set(parts):
        raise refusal("parts", "one kind of MLP", "'swiglu' and 'relu2'", "leave one out")
    d, heads = model.config.dim, model.config.heads
    if "rope" in parts:
        if d // heads % 2:
            raise refusal("dim", "an even number for each head with 'rope'", f"{d // heads}")
        model.positions = NoPositions()
    for block in model.blocks:
        old = block.attention
        if "rope" in parts:
            old.rotary = True
        if "qk-norm" in parts:
            new = QKNormAttention(d, heads, old.causal, old.dropout, old.rotary)
            new.qkv, new.out = old.qkv, old.out
            block.attention = new
        if "rmsnorm" in parts:
            block.norm1, block.norm2 = RMSNorm(d), RMSNorm(d)
        if "relu2" in parts:
            block.mlp[1] = ReLU2()
        if "swiglu" in parts:
            block.mlp = SwiGLU(d)
            block.mlp.apply(model.first_weights)
            nn.init.normal_(block.mlp.out.weight, std=0.02 / math.sqrt(2 * model.config.layers))
    if "rmsnorm" in parts:
        model.norm = RMSNorm(d)
    return model


def modern_gpt(config, parts=()):
    """A GPT of that `GPTConfig` with the parts named; see `modernise`. No part: GPT-2's own."""
    return modernise(GPT(config), parts)


__all__ = [
    "PARTS", "NoPositions", "QKNormAttention", "RMSNorm", "ReLU2", "SwiGLU", "modern_gpt",
    "modernise", "rms_norm",
]  # fmt: skip
