"""GPT: the transformer's decoder blocks, trained to predict the next token, and how to sample it.

Source: Radford et al. 2018, 2019; lecture items A28, A32, A43, A44.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .transformer import Block, KVCache


@dataclass
class GPTConfig:
    """The size of a GPT. GPT-2 small: GPTConfig(50257, 1024, 12, 12, 768)."""

    vocabulary: int
    context: int = 256
    layers: int = 6
    heads: int = 6
    dim: int = 384
    dropout: float = 0.0


class GPT(nn.Module):
    """GPT-2: pre-norm decoder blocks without cross-attention; the embedding is the output too.

    forward(ids, cache=None): ids (B, T) int64 → logits of the next token (B, T, V).
    loss(batch): batch (B, T + 1) ids → mean negative log-likelihood, nats per token.
    generate(prompt, n, …): n further tokens, one at a time.

    Raises ValueError for more tokens than the context, or ids outside the vocabulary.
    """

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.tokens = nn.Embedding(c.vocabulary, c.dim)
        self.positions = nn.Embedding(c.context, c.dim)
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(
            Block(c.dim, c.heads, causal=True, activation="gelu_tanh", dropout=c.dropout)
            for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.dim)
        self.apply(self._init)

    def _init(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):  # what is added 2·layers times starts smaller
            for layer in (module.attention.out, module.mlp[-1]):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * self.config.layers))

    def forward(self, ids, cache=None):
        start = cache[0].used if cache else 0
        T = ids.shape[1]
        if start + T > self.config.context:
            raise ValueError(
                f"the context is {self.config.context} tokens, got {start + T}: "
                "keep the last ones only, or build the model with a longer context"
            )
        place = torch.arange(start, start + T, device=ids.device)
        x = self.drop(self.tokens(ids) + self.positions(place))  # (B, T, d)
        for i, block in enumerate(self.blocks):
            x = block(x, cache=cache[i] if cache else None)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)

    def loss(self, batch):
        logits = self(batch[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def new_cache(self):
        """An empty cache for each block."""
        return [KVCache(self.config.context) for _ in self.blocks]
