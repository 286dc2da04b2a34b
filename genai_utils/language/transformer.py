"""The transformer: blocks of attention and an MLP, and the stack of them that models build on.

Attention itself, positions and the cache are in attention.py, the two peers of chapter 8 in
peers.py; their names are at hand here too. Shapes: B sequences in a batch, T tokens, d numbers for
a token, h heads of d/h numbers each, V tokens in the vocabulary.

Source: Vaswani et al. 2017; lecture items A21, A22, B37.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.inputs import number, one_of, whole

from .attention import (
    KVCache,
    MultiHeadAttention,
    attention,
    causal_mask,
    induction_share,
    local_mask,
    rotary,
    sinusoidal_positions,
)
from .peers import LSTMLM, ConvLM, LanguageModel
from .tokens import look_up, require_ids


class Block(nn.Module):
    """One layer: tokens exchange by attention, then each is worked on by itself.

    norm "pre" (GPT-2):
        x = x + attention(norm1(x))
        x = x + mlp(norm2(x))

    norm "post" (Vaswani et al., BERT):
        x = norm1(x + attention(x))
        x = norm2(x + mlp(x))

    activation: "gelu", "gelu_tanh" or "relu". forward(x, mask=None, cache=None): (B, T, d) → same.
    """

    ACTIVATIONS = {"gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh"), "relu": nn.ReLU()}

    def __init__(self, dim, heads, causal=False, norm="pre", activation="gelu", dropout=0.0,
                 hidden=None, eps=1e-5, rotary=False):  # fmt: skip
        super().__init__()
        self.norm = one_of(norm, "norm", ("pre", "post"))
        one_of(activation, "activation", self.ACTIVATIONS)
        hidden = 4 * dim if hidden is None else whole(hidden, "hidden")
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attention = MultiHeadAttention(dim, heads, causal, dropout, rotary)
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


def small_weights(module):
    """BERT's and GPT's first weights: normal with standard deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


class Stack(nn.Module):
    """Pre-norm blocks between a table of tokens and the same table: GPT, FillIn, MaskGIT.

    forward(ids, cache=None): ids (B, T) int64 → logits (B, T, V). It is
    unembed(hidden(embed(ids))). With a cache, ids follow the tokens that are in it.

    config: vocabulary, context, layers, heads, dim, dropout, as `gpt.GPTConfig`. causal: no token
    looks ahead. further: tokens that may be read beside those of the vocabulary ([MASK]).

    A plain stack is all that is built here. What else a model needs takes the place of a part, from
    outside, and needs no setting: a low-rank sum for a `blocks[i].attention.qkv` (LoRA), a mixture
    of experts for a `blocks[i].mlp`. Another head (a value, a class, the vector of a text) stands
    on what `hidden` gives. A part that wants a term in the loss leaves it in its attribute
    `extra_loss` in forward; see `with_extras`.

    Raises TypeError or ValueError for sizes that do not fit, no tokens, more tokens than the
    context, or ids outside the vocabulary.
    """

    def __init__(self, config, causal, further=0):
        super().__init__()
        c = self.config = config
        for name in ("vocabulary", "context", "layers", "dim"):
            whole(getattr(c, name), name)
        number(c.dropout, "dropout", least=0, below=1)
        self.tokens = nn.Embedding(c.vocabulary + further, c.dim)
        self.positions = nn.Embedding(c.context, c.dim)
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(
            Block(c.dim, c.heads, causal, activation="gelu_tanh", dropout=c.dropout)
            for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.dim)
        self.apply(self.first_weights)

    def first_weights(self, module):
        small_weights(module)
        if isinstance(module, Block):  # what is added 2·layers times starts smaller
            for layer in (module.attention.out, module.mlp[-1]):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * self.config.layers))

    def embed(self, ids, start=0):
        """Token plus position, (B, T) → (B, T, d); the first token stands at place `start`."""
        require_ids(ids, self.config.context, start)
        place = torch.arange(start, start + ids.shape[1], device=ids.device)
        return look_up(self.tokens, ids) + self.positions(place)

    def hidden(self, x, cache=None, mask=None):
        """Through all blocks and the last norm, (B, T, d) → (B, T, d). mask: as of a `Block`."""
        x = self.drop(x)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, cache[i] if cache else None)
        return self.norm(x)

    def unembed(self, x):
        """Logits of the tokens, (…, d) → (…, V)."""
        return F.linear(x, self.tokens.weight)

    def forward(self, ids, cache=None):
        start = cache[0].used if cache else 0
        return self.unembed(self.hidden(self.embed(ids, start), cache))  # (B, T, V)

    def new_cache(self):
        """An empty cache for each block."""
        return [KVCache(self.config.context) for _ in self.blocks]

    def with_extras(self, loss):
        """The loss plus the `extra_loss` of every module inside that left one in this forward.

        Each is taken out as it is added: none counts twice, and no graph outlives its step.
        """
        for module in self.modules():
            if getattr(module, "extra_loss", None) is not None:
                loss, module.extra_loss = loss + module.extra_loss, None
        return loss


class TransformerLM(LanguageModel):
    """Causal pre-norm blocks. positions: "rotary", "sinusoidal" or "none"; window: local_mask."""

    def __init__(self, vocabulary, dim, layers=4, heads=4, positions="rotary", window=None):
        super().__init__(vocabulary, dim)
        self.positions = one_of(positions, "positions", ("rotary", "sinusoidal", "none"))
        self.window = None if window is None else whole(window, "window")
        turn = positions == "rotary"
        self.blocks = nn.ModuleList(Block(dim, heads, True, rotary=turn) for _ in range(layers))

    def body(self, x, maps=None):
        T, d = x.shape[1:]
        if self.positions == "sinusoidal":
            with x.device:  # the table is made where x is: nothing is copied to a card
                x = x + sinusoidal_positions(T, d).to(x.dtype)
        place = torch.arange(T, device=x.device)
        mask = None if self.window is None else local_mask(place, self.window)
        for block in self.blocks:
            if maps is not None:
                maps.append(block.attention.weights(block.norm1(x), mask))
            x = block(x, mask)
        return x

    @torch.no_grad()
    def maps(self, ids):
        """Who looks where in each layer: (layers, B, h, T, T)."""
        self.body(self.tokens(ids), found := [])
        return torch.stack(found)


__all__ = [
    "Block", "ConvLM", "KVCache", "LSTMLM", "LanguageModel", "MultiHeadAttention", "Stack",
    "TransformerLM", "attention", "causal_mask", "induction_share", "local_mask", "look_up",
    "rotary", "sinusoidal_positions", "small_weights",
]  # fmt: skip
