"""GPT: the transformer's decoder blocks, trained to predict the next token, and how to sample it.

Shapes: B sequences in a batch, T tokens, d numbers for a token, V tokens in the vocabulary.

Source: Radford et al. 2018, 2019; lecture items A28, A44.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .transformer import Block, KVCache, checked_ids, look_up


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

    forward(ids, cache=None): ids (B, T) int64 → logits of the next token (B, T, V). It is
    unembed(hidden(embed(ids))). With a cache, ids follow the tokens that are in it.
    loss(batch): batch (B, T + 1) ids → mean negative log-likelihood, nats per token.
    generate(prompt, n, …): n further tokens, one at a time.

    Raises ValueError for no tokens, more tokens than the context, or ids outside the vocabulary.
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

    def embed(self, ids, start=0):
        """Token plus position, (B, T) → (B, T, d); the first token stands at place `start`."""
        self._check(ids, start)
        place = torch.arange(start, start + ids.shape[1], device=ids.device)
        return look_up(self.tokens, ids) + self.positions(place)

    def hidden(self, x, cache=None):
        """Through all blocks and the last norm, (B, T, d) → (B, T, d)."""
        x = self.drop(x)
        for i, block in enumerate(self.blocks):
            x = block(x, cache=cache[i] if cache else None)
        return self.norm(x)

    def unembed(self, x):
        """Logits of the next token, (…, d) → (…, V)."""
        return F.linear(x, self.tokens.weight)

    def forward(self, ids, cache=None):
        start = cache[0].used if cache else 0
        return self.unembed(self.hidden(self.embed(ids, start), cache))  # (B, T, V)

    def check_batch(self, batch):
        """Raises ValueError for ids outside the vocabulary."""
        checked_ids(batch, self.config.vocabulary)

    def loss(self, batch):
        return next_token_loss(self(batch[:, :-1]), batch)

    def new_cache(self):
        """An empty cache for each block."""
        return [KVCache(self.config.context) for _ in self.blocks]

    @torch.no_grad()
    def generate(self, prompt, n, temperature=1.0, top_k=None, top_p=None, cache=True,
                 generator=None):  # fmt: skip
        """The prompt and n further tokens, each drawn given all before it.

        prompt: (T,) or (B, T) int64, T ≥ 1. Returns (T + n,) or (B, T + n).
        temperature, top_k, top_p: see `sample_probabilities`; temperature 0 takes the likeliest.
        cache: keep keys and values, so that a step computes one token only. The model sees the
        last `context` tokens. From there on the window slides, each token gets another position,
        no key stays what it was, and each step computes the whole window: the same tokens.

        Raises ValueError for an empty prompt (give one token to start from, such as a newline),
        a negative n, and what `sample_probabilities` refuses.
        """
        ids = prompt[None] if prompt.ndim == 1 else prompt
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"n must be a whole number of at least 0, got {n!r}")
        self._check(ids[:, -1:])
        self.check_batch(ids)
        sample_probabilities(torch.zeros(1), temperature, top_k, top_p)  # refuses bad settings
        ids = torch.cat([ids, ids.new_zeros(len(ids), n)], 1)
        store, training = self.new_cache() if cache else None, self.training
        self.eval()
        for t in range(ids.shape[1] - n, ids.shape[1]):
            if cache and t <= self.config.context:
                x = self.embed(ids[:, store[0].used : t], store[0].used)  # only what is new
                x = self.hidden(x, store)
            else:
                x = self.hidden(self.embed(ids[:, max(0, t - self.config.context) : t]))
            logits = self.unembed(x[:, -1])  # (B, V)
            if temperature == 0:
                ids[:, t] = logits.argmax(-1)
            else:
                p = sample_probabilities(logits, temperature, top_k, top_p)
                ids[:, t] = torch.multinomial(p, 1, generator=generator)[:, 0]
        self.train(training)
        return ids[0] if prompt.ndim == 1 else ids

    def _check(self, ids, start=0):
        c = self.config
        if ids.ndim != 2 or not ids.numel():
            raise ValueError(f"ids must be (B, T) with T of at least 1, got {tuple(ids.shape)}")
        if start + ids.shape[1] > c.context:
            raise ValueError(
                f"the context is {c.context} tokens, got {start + ids.shape[1]}: "
                "keep the last ones only, or build the model with a longer context"
            )

    @classmethod
    def from_pretrained(cls, name="gpt2"):
        """The real GPT-2 from the Hugging Face hub, or a model from a local folder."""
        from transformers import GPT2LMHeadModel

        return from_transformers(GPT2LMHeadModel.from_pretrained(name))


def next_token_loss(logits, batch):
    """Mean negative log-likelihood of the next tokens, nats per token; exp of it: perplexity.

        -1 / (B T) Σ_b Σ_t log softmax(logits[b, t])[batch[b, t + 1]]

    batch (B, T + 1) int64; logits (B, T, V): row t has seen the tokens 0 … t and is about token
    t + 1. Source: Radford et al. 2018, eq. 1; lecture item A44.
    """
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def top_k_filter(logits, k):
    """Keep the k largest logits, put -inf for the others.

    logits (..., V); k from 1. k of V or more keeps all; logits as large as the k-th are kept too.
    Raises ValueError for k below 1. Source: Fan, Lewis & Dauphin 2018.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]  # the k-th largest
    return logits.masked_fill(logits < least, -math.inf)


def top_p_filter(logits, p):
    """Keep the fewest tokens whose probabilities sum to at least p, put -inf for the others.

    logits (..., V); 0 < p <= 1. The likeliest token is always kept.
    Raises ValueError for another p. Source: Holtzman et al. 2020 (nucleus sampling).
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {p}")
    ordered, index = torch.sort(logits, dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability  # the sum of all that are likelier
    keep = torch.empty_like(logits, dtype=torch.bool).scatter_(-1, index, before < p)
    return logits if p == 1 else logits.masked_fill(~keep, -math.inf)


def sample_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """The distribution from which the next token is drawn: softmax(logits / τ), cut, sums to 1.

    logits (…, V) → (…, V). First the temperature, then top-k, then top-p. Temperature 0 is the
    limit: all on the largest logit (the first, if several are equal).
    Raises ValueError for a negative temperature, k below 1, p outside (0, 1], NaN in the logits.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be at least 0 and finite, got {temperature}")
    if logits.isnan().any():
        raise ValueError("the logits hold NaN: check how the model was trained")
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)).float() / temperature  # largest: 0
    if top_k is not None:
        logits = top_k_filter(logits, top_k)
    if top_p is not None:
        logits = top_p_filter(logits, top_p)
    return logits.softmax(-1)


# Our name of each parameter, and GPT-2's in transformers; {i} is the number of the block.
NAMES = {
    "tokens": "transformer.wte",
    "positions": "transformer.wpe",
    "blocks.{i}.norm1": "transformer.h.{i}.ln_1",
    "blocks.{i}.attention.qkv": "transformer.h.{i}.attn.c_attn",
    "blocks.{i}.attention.out": "transformer.h.{i}.attn.c_proj",
    "blocks.{i}.norm2": "transformer.h.{i}.ln_2",
    "blocks.{i}.mlp.0": "transformer.h.{i}.mlp.c_fc",
    "blocks.{i}.mlp.2": "transformer.h.{i}.mlp.c_proj",
    "norm": "transformer.ln_f",
}


@torch.no_grad()
def _copy(model, peer, to_peer):
    """Copy every weight between a GPT and a GPT2LMHeadModel; its linear maps are transposed."""
    for ours, theirs in NAMES.items():
        for i in range(model.config.layers if "{i}" in ours else 1):
            a, b = (m.get_submodule(n.format(i=i)) for m, n in ((model, ours), (peer, theirs)))
            for name, p in a.named_parameters():
                q = getattr(b, name)
                q = q.T if isinstance(a, nn.Linear) and name == "weight" else q
                q.copy_(p) if to_peer else p.copy_(q)


def to_transformers(model):
    """The same model as transformers' GPT2LMHeadModel, weights copied, in eval mode."""
    from transformers import GPT2Config, GPT2LMHeadModel

    c = model.config
    peer = GPT2LMHeadModel(GPT2Config(
        vocab_size=c.vocabulary, n_positions=c.context, n_embd=c.dim, n_layer=c.layers,
        n_head=c.heads, resid_pdrop=c.dropout, embd_pdrop=c.dropout, attn_pdrop=c.dropout,
        bos_token_id=None, eos_token_id=None,
    ))  # fmt: skip
    _copy(model, peer, to_peer=True)
    return peer.to(model.tokens.weight.device).eval()


def from_transformers(peer):
    """A GPT with the weights of a GPT2LMHeadModel, in eval mode.

    Raises ValueError where its configuration is not that of GPT-2 (activation, widths, ties).
    """
    c = peer.config
    for name, wanted in {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "n_inner": (None, 4 * c.n_embd),
        "layer_norm_epsilon": (1e-5,),
        "tie_word_embeddings": (True,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
    }.items():
        if getattr(c, name) not in wanted:
            raise ValueError(f"{name} must be one of {wanted} as in GPT-2, got {getattr(c, name)}")
    model = GPT(GPTConfig(c.vocab_size, c.n_positions, c.n_layer, c.n_head, c.n_embd))
    _copy(model, peer, to_peer=False)
    return model.to(peer.device).eval()
