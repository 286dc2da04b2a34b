"""GPT: the transformer's decoder blocks, trained to predict the next token.

Shapes: B sequences in a batch, T tokens, d numbers for a token, V tokens in the vocabulary.

Source: Radford et al. 2018, 2019; lecture items A28, A44.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from genai_utils.inputs import one_of
from genai_utils.weights import Row, exchange

from .sampling import generate, sample_probabilities, top_k_filter, top_p_filter
from .tokens import asked_nll, check_batch
from .transformer import Stack


@dataclass
class GPTConfig:
    """The size of a GPT. GPT-2 small: GPTConfig(50257, 1024, 12, 12, 768)."""

    vocabulary: int
    context: int = 256
    layers: int = 6
    heads: int = 6
    dim: int = 384
    dropout: float = 0.0


class GPT(Stack):
    """GPT-2: pre-norm decoder blocks without cross-attention; the embedding is the output too.

    forward(ids, cache=None): ids (B, T) int64 → logits of the next token (B, T, V). It is
    unembed(hidden(embed(ids))). With a cache, ids follow the tokens that are in it.
    loss(batch): batch (B, T + 1) ids, or a pair (ids, targets), both (B, T), with target -100
    where a token does not count → mean negative log-likelihood, nats per token.
    generate(prompt, n, …): n further tokens, one at a time; see `sampling.generate`.

    Raises TypeError or ValueError for no tokens, more tokens than the context, or ids outside the
    vocabulary. How to extend it: see `Stack`.
    """

    def __init__(self, config):
        super().__init__(config, causal=True)

    generate = generate

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids or targets outside the vocabulary."""
        check_batch(batch, self.config.vocabulary)

    def loss(self, batch):
        """As `next_token_loss`, or over the targets that count; plus what parts ask for."""
        if isinstance(batch, torch.Tensor):
            loss = next_token_loss(self(batch[:, :-1]), batch)
        else:
            ids, targets = batch
            loss = asked_nll(self(ids), targets)
        return self.with_extras(loss)

    @classmethod
    def from_pretrained(cls, name="gpt2"):
        """The real GPT-2 from the Hugging Face hub, or a model from a local folder."""
        from transformers import GPT2LMHeadModel

        return from_transformers(GPT2LMHeadModel.from_pretrained(name))


def next_token_loss(logits, batch):
    """Mean negative log-likelihood of the next tokens, nats per token; exp of it: perplexity.

        -1 / (B T) Σ_b Σ_t log softmax(logits[b, t])[batch[b, t + 1]]

    batch (B, T + 1) int64; logits (B, T, V), of any size: row t has seen the tokens 0 … t and is
    about token t + 1. Source: Radford et al. 2018, eq. 1; lecture item A44.
    """
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


TABLE = (  # our name of each part, and GPT-2's in transformers, which keeps matrices turned round
    Row("tokens", "transformer.wte"),
    Row("positions", "transformer.wpe"),
    Row("blocks.{i}.norm1", "transformer.h.{i}.ln_1"),
    Row("blocks.{i}.attention.qkv", "transformer.h.{i}.attn.c_attn", transposed=True),
    Row("blocks.{i}.attention.out", "transformer.h.{i}.attn.c_proj", transposed=True),
    Row("blocks.{i}.norm2", "transformer.h.{i}.ln_2"),
    Row("blocks.{i}.mlp.0", "transformer.h.{i}.mlp.c_fc", transposed=True),
    Row("blocks.{i}.mlp.2", "transformer.h.{i}.mlp.c_proj", transposed=True),
    Row("norm", "transformer.ln_f"),
)


def to_transformers(model):
    """The same model as transformers' GPT2LMHeadModel, weights copied, in eval mode.

    A new model is made, whose first weights come from torch's global generator.
    Raises ValueError for a model that is a plain GPT no longer, because a part was replaced.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    c = model.config
    peer = GPT2LMHeadModel(GPT2Config(
        vocab_size=c.vocabulary, n_positions=c.context, n_embd=c.dim, n_layer=c.layers,
        n_head=c.heads, resid_pdrop=c.dropout, embd_pdrop=c.dropout, attn_pdrop=c.dropout,
        bos_token_id=None, eos_token_id=None,
    ))  # fmt: skip
    exchange(model, peer, TABLE, to="theirs")
    return peer.to(model.tokens.weight.device).eval()


def from_transformers(peer):
    """A GPT with the weights of a GPT2LMHeadModel, in eval mode.

    A new model is made, whose first weights come from torch's global generator.
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
        one_of(getattr(c, name), name, wanted)
    model = GPT(GPTConfig(c.vocab_size, c.n_positions, c.n_layer, c.n_head, c.n_embd))
    exchange(model, peer, TABLE, to="ours")
    return model.to(peer.device).eval()


__all__ = [
    "GPT", "GPTConfig", "from_transformers", "next_token_loss", "sample_probabilities",
    "to_transformers", "top_k_filter", "top_p_filter",
]  # fmt: skip
