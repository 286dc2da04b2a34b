"""The transformer: attention, heads, blocks and positions.

The parts of which chapters 9 and 10 build BERT and GPT. Shapes: B sequences in a batch, T tokens,
d numbers for a token, h heads of d/h numbers each.

Source: Vaswani et al. 2017; lecture items A21, A22, B37.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def attention(q, k, v, mask=None):
    """Scaled dot-product attention: each query takes a weighted mean of the values.

        weights = softmax(q kᵀ / √d_k)   over the keys
        output  = weights v

    q: (…, T, d_k). k: (…, S, d_k). v: (…, S, d_v). mask: bool, broadcastable to (…, T, S), True
    where a query may look; a query that may look nowhere gets zeros.
    Returns output (…, T, d_v) and weights (…, T, S), whose rows sum to 1.
    Source: Vaswani et al. 2017, eq. 1; lecture item A22.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (…, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, -1)
    if mask is not None:
        weights = weights.masked_fill(
            ~mask.any(-1, keepdim=True), 0.0
        )  # softmax of -inf alone: NaN
    return weights @ v, weights


def causal_mask(T, S=None):
    """Who may look where if nobody looks ahead: (T, S) bool; the T queries are the last of S."""
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


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
            raise ValueError(f"the cache has room for {self.length} tokens, got {self.used + T}")
        self.k[:, :, self.used : self.used + T] = k
        self.v[:, :, self.used : self.used + T] = v
        self.used += T
        return self.k[:, :, : self.used], self.v[:, :, : self.used]


class MultiHeadAttention(nn.Module):
    """h attentions side by side, each on d/h numbers of its own, mixed by one matrix at the end.

    forward(x, mask=None, cache=None): x (B, T, d) → (B, T, d). causal: no token looks ahead.
    mask: bool, broadcastable to (B, h, T, T), True where a token may look.
    weights(x, mask=None): who looks where, (B, h, T, T).

    Raises ValueError where d is no multiple of h.
    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, dim, heads, causal=False, dropout=0.0):
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got {dim} and {heads}")
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def split(self, x):
        """Queries, keys and values of all heads, each (B, h, T, d/h)."""
        B, T, d = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.heads, d // self.heads)
        return qkv.permute(2, 0, 3, 1, 4)  # (3, B, h, T, d/h)

    def forward(self, x, mask=None, cache=None):
        q, k, v = self.split(x)
        if cache is not None:
            k, v = cache.extend(k, v)
        T, S = q.shape[2], k.shape[2]
        if self.causal and 1 < T < S:  # several new tokens after cached ones
            mask = causal_mask(T, S).to(x.device)
        x = F.scaled_dot_product_attention(  # the same as attention(), in one kernel
            q, k, v, mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal and T == S > 1,
        )  # fmt: skip
        return self.out(x.transpose(1, 2).flatten(2))  # (B, T, d)

    @torch.no_grad()
    def weights(self, x, mask=None):
        q, k, v = self.split(x)
        if self.causal:
            mask = causal_mask(x.shape[1]).to(x.device)
        return attention(q, k, v, mask)[1]


class Block(nn.Module):
    """One layer: tokens exchange by attention, then each is worked on by itself.

    norm "pre" (GPT-2):                        norm "post" (Vaswani et al., BERT):
        x = x + attention(norm1(x))                x = norm1(x + attention(x))
        x = x + mlp(norm2(x))                      x = norm2(x + mlp(x))

    activation: "gelu", "gelu_tanh" or "relu". forward(x, mask=None, cache=None): (B, T, d) → same.
    """

    ACTIVATIONS = {"gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh"), "relu": nn.ReLU()}

    def __init__(self, dim, heads, causal=False, norm="pre", activation="gelu", dropout=0.0,
                 hidden=None, eps=1e-5):  # fmt: skip
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError(f"norm must be 'pre' or 'post', got {norm!r}")
        if activation not in self.ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {list(self.ACTIVATIONS)}, got {activation!r}"
            )
        hidden = 4 * dim if hidden is None else hidden
        self.norm = norm
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attention = MultiHeadAttention(dim, heads, causal, dropout)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), self.ACTIVATIONS[activation], nn.Linear(hidden, dim)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x, mask=None, cache=None):
        if self.norm == "pre":
            x = x + self.drop(self.attention(self.norm1(x), mask, cache))
            return x + self.drop(self.mlp(self.norm2(x)))
        x = self.norm1(x + self.drop(self.attention(x, mask, cache)))
        return self.norm2(x + self.drop(self.mlp(x)))
