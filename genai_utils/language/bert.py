"""BERT: the transformer's encoder, trained to fill in blanks and to tell what belongs together.

What it is trained on is in bert_data.py, whose names are at hand here too. Shapes: B sequences of T
tokens, d numbers for a token, V pieces in the vocabulary.

Source: Devlin et al. 2019; lecture items A10, A23, A24, A25.
"""

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.inputs import kind_of, number, one_of, refusal, whole
from genai_utils.weights import Row, exchange

from .bert_data import (
    CLS,
    MASK,
    PAD,
    SEP,
    UNK,
    PairBatches,
    apply_mask,
    chosen_places,
    longest_match,
    mask_tokens,
    pack_pair,
)
from .sampling import evaluating, sample_probabilities
from .tokens import IGNORE, look_up, require_ids
from .transformer import Block, small_weights


def cloze_loss(logits, labels):
    """Mean negative log-likelihood of the chosen tokens, in nats per token.

        loss = -1/M  sum over chosen (b, t) of  log softmax(logits[b, t])[labels[b, t]]

    logits: (B, T, V), of any size. labels: (B, T) int64, -100 where nothing is to be predicted;
    the logits there do not count, even if some are -inf. If nothing is chosen at all: 0.
    Source: Devlin et al. 2019, section 3.1; lecture items A10, A24.
    """
    chosen = labels != -100  # (B, T)
    log_p = logits.log_softmax(-1)  # (B, T, V)
    nll = -log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]  # (B, T)
    nll = torch.where(chosen, nll, 0.0)  # a product would make NaN of 0 times infinity
    return nll.sum() / chosen.sum().clamp(min=1)


@dataclass
class BERTConfig:
    """The size of a BERT. BERT-base: BERTConfig(30522, 512, 12, 12, 768)."""

    vocabulary: int
    context: int = 128
    layers: int = 4
    heads: int = 4
    dim: int = 128
    dropout: float = 0.0


class BERT(nn.Module):
    """The encoder: each token sees all others, those to its right too.

    forward(ids, segments=None, real=None): ids (B, T) int64, segments (B, T) 0 or 1, real (B, T)
    bool, False on padding → vectors of the tokens (B, T, d), and of the whole input (B, d): the
    tanh of a linear layer on [CLS].

    Its parts are those of `transformer.Stack`, but it is none: the norm comes after each sum and
    before the blocks, a third table tells two texts apart, and there is a vector of the whole.

    Raises TypeError or ValueError for more tokens than the context, none, or ids outside the
    vocabulary.
    """

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        for name in ("vocabulary", "context", "layers", "dim"):
            whole(getattr(c, name), name)
        self.tokens = nn.Embedding(c.vocabulary, c.dim)
        self.positions = nn.Embedding(c.context, c.dim)
        self.segments = nn.Embedding(2, c.dim)
        self.norm = nn.LayerNorm(c.dim, 1e-12)
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(
            Block(c.dim, c.heads, norm="post", activation="gelu", dropout=c.dropout, eps=1e-12)
            for _ in range(c.layers)
        )
        self.pooler = nn.Linear(c.dim, c.dim)

    def forward(self, ids, segments=None, real=None):
        require_ids(ids, self.config.context)
        segments = torch.zeros_like(ids) if segments is None else segments
        place = torch.arange(ids.shape[1], device=ids.device)
        x = look_up(self.tokens, ids) + self.positions(place) + self.segments(segments)  # (B, T, d)
        x = self.drop(self.norm(x))
        mask = None if real is None else real[:, None, None, :]  # nobody looks at padding
        for block in self.blocks:
            x = block(x, mask)
        return x, torch.tanh(self.pooler(x[:, 0]))


class PreTraining(nn.Module):
    """BERT with the two heads of pre-training: which token was here, and does b follow a?

    forward(ids, segments=None, real=None) → logits of the tokens (B, T, V), and of the pair
    (B, 2): 0 is "b follows a", 1 "b is from elsewhere". The tokens' table is the output table too.
    loss(batch): batch of `PairBatches` → dict of loss = masked + pair_weight · next, all in nats.
    """

    def __init__(self, config, pair_weight=1.0):
        super().__init__()
        self.pair_weight = number(pair_weight, "pair_weight", least=0)
        self.bert = BERT(config)
        self.dense = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim, 1e-12)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.next = nn.Linear(config.dim, 2)
        self.apply(small_weights)

    def words(self, x):
        """Logits of the token that belongs where a vector stands: (…, d) → (…, V)."""
        return F.linear(self.norm(F.gelu(self.dense(x))), self.bert.tokens.weight, self.bias)

    def forward(self, ids, segments=None, real=None):
        x, pooled = self.bert(ids, segments, real)
        return self.words(x), self.next(pooled)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids outside the vocabulary."""
        inputs.tokens(batch[0], "ids", self.bert.config.vocabulary)

    def loss(self, batch):
        ids, segments, (places, targets), follows = batch
        x, pooled = self.bert(ids, segments)
        x = x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))  # (B, k, d)
        masked = cloze_loss(self.words(x).float(), targets)  # only where needed
        pair = F.cross_entropy(self.next(pooled).float(), follows)
        loss = masked + self.pair_weight * pair
        return {"loss": loss, "masked": masked.detach(), "next": pair.detach()}


class Classifier(nn.Module):
    """The same BERT with another head: classes of a text or of a pair, read off [CLS].

    forward(ids, segments, real) → logits (B, classes). loss(batch): (ids, segments, real, labels).
    """

    def __init__(self, config, classes):
        super().__init__()
        self.bert = BERT(config)
        self.head = nn.Linear(config.dim, whole(classes, "classes"))
        self.apply(small_weights)

    def forward(self, ids, segments=None, real=None):
        return self.head(self.bert(ids, segments, real)[1])

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids outside the vocabulary."""
        inputs.tokens(batch[0], "ids", self.bert.config.vocabulary)

    def loss(self, batch):
        *inputs, labels = batch
        return F.cross_entropy(self(*inputs).float(), labels)


# --- the same weights in the library `transformers`

EMBEDDINGS, LAYER, CLOZE = "bert.embeddings", "bert.encoder.layer.{i}", "cls.predictions"
TABLE = (
    Row("bert.tokens", f"{EMBEDDINGS}.word_embeddings"),
    Row("bert.positions", f"{EMBEDDINGS}.position_embeddings"),
    Row("bert.segments", f"{EMBEDDINGS}.token_type_embeddings"),
    Row("bert.norm", f"{EMBEDDINGS}.LayerNorm"),
    Row(
        "bert.blocks.{i}.attention.qkv",
        tuple(f"{LAYER}.attention.self.{x}" for x in ("query", "key", "value")),
    ),
    Row("bert.blocks.{i}.attention.out", f"{LAYER}.attention.output.dense"),
    Row("bert.blocks.{i}.norm1", f"{LAYER}.attention.output.LayerNorm"),
    Row("bert.blocks.{i}.mlp.0", f"{LAYER}.intermediate.dense"),
    Row("bert.blocks.{i}.mlp.2", f"{LAYER}.output.dense"),
    Row("bert.blocks.{i}.norm2", f"{LAYER}.output.LayerNorm"),
    Row("bert.pooler", "bert.pooler.dense"),
    Row("dense", f"{CLOZE}.transform.dense"),
    Row("norm", f"{CLOZE}.transform.LayerNorm"),
    Row("bias", f"{CLOZE}.bias"),
    Row("next", "cls.seq_relationship"),
)


def to_transformers(model):
    """A `transformers.BertForPreTraining` with the weights of a `PreTraining`, in eval mode.

    A new model is made, whose first weights come from torch's global generator.
    Same input, same logits. Its names for ours: token_type_ids segments, attention_mask real.
    """
    from transformers import BertConfig, BertForPreTraining

    c = model.bert.config
    peer = BertForPreTraining(
        BertConfig(
            vocab_size=c.vocabulary, hidden_size=c.dim, num_hidden_layers=c.layers,
            num_attention_heads=c.heads, intermediate_size=4 * c.dim, hidden_act="gelu",
            max_position_embeddings=c.context, hidden_dropout_prob=c.dropout,
            attention_probs_dropout_prob=c.dropout, pad_token_id=PAD,
        )
    )  # fmt: skip
    exchange(model, peer, TABLE, to="theirs")
    return peer.eval()


def from_transformers(peer):
    """A `PreTraining` with the weights of a `transformers.BertForPreTraining`, in eval mode.

    A new model is made, whose first weights come from torch's global generator.
    Raises ValueError for a BERT of another build: other activation, hidden size or eps.
    """
    c = peer.config
    wanted = {"hidden_act": "gelu", "intermediate_size": 4 * c.hidden_size, "type_vocab_size": 2,
              "layer_norm_eps": 1e-12, "tie_word_embeddings": True}  # fmt: skip
    for name, value in wanted.items():
        one_of(getattr(c, name), name, [value])
    model = PreTraining(
        BERTConfig(c.vocab_size, c.max_position_embeddings, c.num_hidden_layers,
                   c.num_attention_heads, c.hidden_size, c.hidden_dropout_prob)
    )  # fmt: skip
    exchange(model, peer, TABLE, to="ours")
    return model.eval()


# --- the use: type a sentence with a blank


@torch.no_grad()
def fill(model, tokenizer, text, k=5, temperature=1.0):
    """The k most probable tokens for each blank of a text: a list of lists of (piece, probability).

    A blank is [MASK] or _. A text may be all blanks; words that the tokenizer does not know are
    [UNK]. Two sentences are told apart by [SEP] between them.
    Raises TypeError or ValueError for a text without a blank, or longer than the context, and NaN
    or infinite logits.
    """
    whole(k, "k")
    if not isinstance(text, str):
        raise refusal("text", "one text with a blank", kind_of(text), kind=TypeError)
    text = re.sub(r"_+", "[MASK]", text)
    ids = tokenizer.encode(text)
    if not (ids == MASK).any():
        raise refusal("text", "a blank in it, [MASK] or _", repr(text))
    ids = torch.cat([torch.tensor([CLS]), ids, torch.tensor([SEP])])[None]
    ids = ids.to(next(model.parameters()).device)
    segments = (ids == SEP).cumsum(1) - (ids == SEP).long()
    with evaluating(model):
        logits = model(ids, segments.clamp(max=1))[0][ids == MASK].float()  # (blanks, V)
    best = sample_probabilities(logits, temperature).topk(min(k, logits.shape[-1]))
    return [
        list(zip(tokenizer.pieces(i), p.tolist(), strict=True))
        for i, p in zip(best.indices, best.values, strict=True)
    ]


__all__ = [
    "BERT", "BERTConfig", "CLS", "Classifier", "IGNORE", "MASK", "PAD", "PairBatches",
    "PreTraining", "SEP", "UNK", "apply_mask", "chosen_places", "cloze_loss", "fill",
    "from_transformers", "longest_match", "mask_tokens", "pack_pair", "to_transformers",
]  # fmt: skip
