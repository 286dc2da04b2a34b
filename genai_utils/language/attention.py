"""Attention: who looks where, several heads side by side, positions, and the cache of keys.

Shapes: B sequences in a batch, T tokens that look, S that are looked at, d numbers for a token,
h heads of d/h numbers each.

Source: Vaswani et al. 2017; lecture items A21, A22, B37.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import refusal, whole


def attention(q, k, v, mask=None):
    """Scaled dot-product attention: each query takes a weighted mean of the values.

        weights = softmax(q kᵀ / √d_k)   over the keys
        output  = weights v

    q: (…, T, d_k). k: (…, S, d_k). v: (…, S, d_v). mask: bool, broadcastable to (…, T, S), True
    where a query may look; None: everywhere. Scores may be large: exp(100) is infinite in float32.
    Returns output (…, T, d_v) and weights (…, T, S), whose rows sum to 1. A query that may look
    nowhere gets zeros, as its output and as its weights.
    Source: Vaswani et al. 2017, eq. 1; lecture item A22.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (…, T, S)
    if mask is not None:  # a finite number: the softmax of -inf alone would be NaN
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, -1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v, weights


def causal_mask(T, S=None, device=None):
    """Who may look where if nobody looks ahead: (T, S) bool; the T queries are the last of S."""
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


def sinusoidal_positions(T, d):
    """The positions of the first transformer, (T, d): sines and cosines of falling frequency.

        P[t, 2i] = sin(t / 10000^(2i/d)),   P[t, 2i + 1] = cos(t / 10000^(2i/d))

    Raises ValueError for an odd d.
    Source: Vaswani et al. 2017, section 3.5.
    """
    if d % 2:
        raise ValueError(f"sines and cosines come in pairs: d must be even, got {d}")
    angle = torch.arange(T)[:, None] / 10_000 ** (torch.arange(0, d, 2) / d)  # (T, d/2)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)  # (T, d)


def rotary(x: Tensor, positions: Tensor) -> Tensor:
    """Turn each pair of numbers (x_2i, x_2i+1) by the angle position / 10000^(2i/d).

    A product of a turned query and a turned key depends on their distance alone.
    x: (…, T, d), d even. positions: (T,) whole numbers in any order, also negative ones.
    Returns (…, T, d).
    Raises ValueError for an odd d. Source: Su et al. 2021 (RoFormer), eq. 34.
    """
    d = x.shape[-1]
    if d % 2:
        raise ValueError(f"rotary turns pairs of numbers: d must be even, got {d}")
    exact = torch.promote_types(x.dtype, torch.float32)  # angles in half precision would be wrong
    rate = 10_000 ** (-torch.arange(0, d, 2, device=x.device, dtype=exact) / d)  # (d/2,)
    angle = positions.to(x.device, exact)[:, None] * rate  # (T, d/2)
    cos, sin, a, b = angle.cos(), angle.sin(), x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


def local_mask(positions: Tensor, window: int) -> Tensor:
    """Who may look where if nobody looks ahead, nor back further than the last `window` tokens.

    positions: (T,) int64, the place of each token in the text, in any order and with gaps: near is
    what is near in the text. The token itself is the first of the window.
    Returns (T, T) bool: row t, column s is True where t may look at s.
    Raises ValueError for a window below 1. Source: Beltagy et al. 2020, section 3.1.
    """
    if window < 1:
        raise ValueError(f"the window must hold at least the token itself, got {window}")
    back = positions[:, None] - positions[None, :]  # how far s lies behind t
    return (back >= 0) & (back < window)


def induction_share(ids: Tensor, weights: Tensor) -> Tensor:
    """How much a head looks at what followed the last time: the mark of an induction head.

    The attention on the place right after the latest earlier occurrence of the same token, as a
    mean over all tokens that have one (0 if none has). ids: (B, T) int64. weights: (B, h, T, T),
    row t of a table is what token t looks at. Returns one number per head, (h,), also for h = 1.
    Source: Olsson et al. 2022.
    """
    T = ids.shape[1]
    same = (ids[:, :, None] == ids[:, None, :]).tril(-1)  # (B, T, T): same token, earlier place
    latest = (same * torch.arange(T, device=ids.device)).amax(-1)  # (B, T)
    seen = same.any(-1)[:, None]  # (B, 1, T)
    after = (latest + 1).clamp(max=T - 1)[:, None, :, None].expand(-1, weights.shape[1], -1, -1)
    share = weights.gather(-1, after)[..., 0] * seen  # (B, h, T)
    return share.sum((0, 2)) / max(seen.sum().item(), 1)


class KVCache:
    """Keys and values of the tokens so far, of one block; room for `length` tokens."""

    def __init__(self, length):
        self.length, self.used, self.k, self.v = length, 0, None, None

    def extend(self, k, v):
        """Append k, v (B, h, T, d/h); returns those of all tokens so far (B, h, S, d/h)."""
        B, h, T, size = k.shape
        if self.k is None:
            self.k, self.v = (k.new_empty(B, h, self.length, size) for _ in range(2))
        if self.used + T > self.length:
            raise refusal("cache", f"at most {self.length} tokens", f"{self.used + T}")
        self.k[:, :, self.used : self.used + T] = k
        self.v[:, :, self.used : self.used + T] = v
        self.used += T
        return self.k[:, :, : self.used], self.v[:, :, : self.used]


class MultiHeadAttention(nn.Module):
    """h attentions side by side, each on d/h numbers of its own, mixed by one matrix at the end.

    forward(x, mask=None, cache=None): x (B, T, d) → (B, T, d). causal: no token looks ahead.
    mask: bool, broadcastable to (B, h, T, S), True where a token may look (and causal allows it).
    rotary: turn queries and keys by their positions. weights(x, mask=None): (B, h, T, T).

    Raises ValueError where d is no multiple of h, or x is not (B, T, d).
    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, dim, heads, causal=False, dropout=0.0, rotary=False):
        super().__init__()
        if whole(dim, "dim") % whole(heads, "heads"):
            raise refusal("dim", f"a multiple of heads, which is {heads}", f"{dim}")
        self.dim, self.heads = dim, heads
        self.causal, self.dropout, self.rotary = causal, dropout, rotary
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def split(self, x, start=0):
        """Queries, keys and values of all heads, (3, B, h, T, d/h); x begins at place `start`."""
        d = self.dim
        if x.ndim != 3 or x.shape[2] != d:
            raise refusal("x", f"vectors of tokens (B, T, {d})", f"the shape {tuple(x.shape)}")
        B, T, _ = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.rotary:
            place = torch.arange(start, start + T, device=x.device)
            qkv = torch.cat([rotary(qkv[:2], place), qkv[2:]])
        return qkv  # (3, B, h, T, d/h)

    def allowed(self, T, S, mask, device):
        """The mask given, and the causal one where there is one; None: everything."""
        if not self.causal or T == 1:
            return mask
        causal = causal_mask(T, S, device)
        return causal if mask is None else mask & causal

    def forward(self, x, mask=None, cache=None):
        q, k, v = self.split(x, cache.used if cache else 0)
        if cache is not None:
            k, v = cache.extend(k, v)
        T, S = q.shape[2], k.shape[2]
        plain = self.causal and mask is None and T == S > 1  # the kernel has this mask built in
        x = F.scaled_dot_product_attention(  # the same as attention(), in one kernel
            q, k, v, None if plain else self.allowed(T, S, mask, x.device),
            dropout_p=self.dropout if self.training else 0.0, is_causal=plain,
        )  # fmt: skip
        return self.out(x.transpose(1, 2).flatten(2))  # (B, T, d)

    @torch.no_grad()
    def weights(self, x, mask=None):
        q, k, v = self.split(x)
        T = x.shape[1]
        return attention(q, k, v, self.allowed(T, T, mask, x.device))[1]
