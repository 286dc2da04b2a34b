"""BERT: the transformer's encoder, trained to fill in blanks and to tell what belongs together.

Shapes: B sequences of T tokens, d numbers for a token, V pieces in the vocabulary.

Source: Devlin et al. 2019; lecture items A10, A23, A24, A25.
"""

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.training.batches import derive_seed

from .tokenizer import SPECIAL
from .transformer import Block, checked_ids, look_up

PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
IGNORE = -100  # the label of a token that is not to be predicted: F.cross_entropy leaves it out


def longest_match(letters, pieces):
    """Cut a word into the longest pieces, from the left, as WordPiece does.

        at each place: the longest piece that the rest of the word begins with

    letters: (n,) int64, a word as numbers of its letters. pieces: list of tuples of such numbers.
    Returns (n,) int64: the number, in the list, of the piece that covers each letter; all -1
    where some place has no piece that fits (the word is then the unknown token).
    Source: Devlin et al. 2019, section 3 and its code.
    """
    word, cover, place = tuple(letters.tolist()), [], 0
    while place < len(word):
        fits = [p for p in pieces if word[place : place + len(p)] == p]
        if not fits:
            return torch.full_like(letters, -1)
        longest = max(fits, key=len)
        cover += [pieces.index(longest)] * len(longest)
        place += len(longest)
    return torch.tensor(cover, dtype=torch.int64)


def pack_pair(a, b, length):
    """Two texts as one input, [CLS] a [SEP] b [SEP], filled up with [PAD].

    a, b: (n,), (m,) int64 ids. If n + m + 3 > length, the longer of the two (b, if they are equally
    long) loses its last token until they fit.
    Returns ids, segments (0 up to and with the first [SEP], 1 to the second, 0 on padding) and
    real (True where there is no padding), each (length,).
    Raises ValueError for a length below 5.
    Source: Devlin et al. 2019, figure 2 and appendix A.2; lecture item A25.
    """
    if length < 5:
        raise ValueError(f"[CLS] a [SEP] b [SEP] needs a length of at least 5, got {length}")
    n, m = len(a), len(b)
    while n + m + 3 > length:
        n, m = (n - 1, m) if n > m else (n, m - 1)
    cls, sep, pad = 2, 3, 0
    parts = [[cls], a[:n].tolist(), [sep], b[:m].tolist(), [sep], [pad] * (length - n - m - 3)]
    ids = torch.tensor([i for part in parts for i in part], dtype=torch.int64)
    place = torch.arange(length)
    real = place < n + m + 3
    segments = ((place > n + 1) & real).long()
    return ids, segments, real


def apply_mask(ids, chosen, draw, random_ids):
    """The 80/10/10 rule: what the model sees, and what it should say.

        chosen and draw < 0.8:          [MASK]
        chosen and 0.8 <= draw < 0.9:   a random token
        chosen and draw >= 0.9:         the token itself

    ids: (B, T) int64. chosen: (B, T) bool, which tokens are to be predicted. draw: (B, T) uniform
    numbers in [0, 1). random_ids: (B, T) int64.
    Returns inputs (B, T), and labels (B, T): the token where chosen, -100 elsewhere.
    Source: Devlin et al. 2019, section 3.1; lecture item A24.
    """
    inputs = torch.where(chosen & (draw < 0.9), random_ids, ids)
    inputs = torch.where(chosen & (draw < 0.8), torch.full_like(ids, 4), inputs)  # 4: [MASK]
    return inputs, torch.where(chosen, ids, torch.full_like(ids, -100))


def mask_tokens(ids, vocabulary, rate=0.15, generator=None, rule=(0.8, 0.1, 0.1)):
    """Choose tokens to predict, and hide them by the 80/10/10 rule.

    In a row with n tokens that are not special (ids 0 to 4), rate · n of them, rounded, are chosen
    at random; at least one, if there is any. BERT's code does so too: the batches then all have the
    same number of tokens to predict.
    ids: (B, T) int64. vocabulary: V; random tokens are drawn from 5 … V - 1. rule: shares of
    [MASK], random, unchanged.
    Returns inputs and labels as `apply_mask` does.
    Raises ValueError for a rate outside (0, 1] or shares that do not sum to 1.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate must be above 0 and at most 1, got {rate}")
    if min(rule) < 0 or abs(sum(rule) - 1) > 1e-6:
        raise ValueError(f"rule must be three shares that sum to 1, got {rule}")
    settings = {"generator": generator, "device": ids.device}
    score = torch.rand(ids.shape, **settings)
    score = score.masked_fill(ids < len(SPECIAL), 2.0)  # last in line
    real = (ids >= len(SPECIAL)).sum(-1, keepdim=True)  # (B, 1)
    wanted = torch.minimum((rate * real.double()).round().clamp(min=1), real)
    chosen = score.argsort(-1).argsort(-1) < wanted
    draw = torch.rand(ids.shape, **settings)
    if rule != (0.8, 0.1, 0.1):  # move the borders to where apply_mask has them
        borders = torch.tensor([0, rule[0], rule[0] + rule[1], 1.0], device=ids.device)
        kind = torch.bucketize(draw, borders[1:3], right=True)  # 0, 1, 2
        draw = torch.tensor([0.0, 0.8, 0.9], device=ids.device)[kind]
    random_ids = torch.randint(len(SPECIAL), vocabulary, ids.shape, **settings)
    return apply_mask(ids, chosen, draw, random_ids)


def chosen_places(labels, k):
    """Where the tokens to predict stand, and which they are: (B, T) → places, targets (B, k).

    labels: as of `apply_mask`, at most k in a row that are not -100. A row with fewer is filled up
    with other places, whose target is -100. The output layer, of V numbers per token, is the most
    expensive one; with a fixed k it is computed for B k tokens instead of all B T, and a graphics
    card need not tell the processor how many there are.
    """
    places = (labels != IGNORE).byte().topk(k, dim=-1).indices.sort(-1).values
    return places, labels.gather(-1, places)


def cloze_loss(logits, labels):
    """Mean negative log-likelihood of the chosen tokens, in nats per token.

        loss = -1/M  sum over chosen (b, t) of  log softmax(logits[b, t])[labels[b, t]]

    logits: (B, T, V). labels: (B, T) int64, -100 where nothing is to be predicted. If nothing is
    chosen at all, the loss is 0.
    Source: Devlin et al. 2019, section 3.1; lecture items A10, A24.
    """
    chosen = labels != -100  # (B, T)
    log_p = logits.log_softmax(-1)  # (B, T, V)
    nll = -log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]  # (B, T)
    return (nll * chosen).sum() / chosen.sum().clamp(min=1)


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

    Raises ValueError for more tokens than the context, none, or ids outside the vocabulary.
    """

    def __init__(self, config):
        super().__init__()
        c = self.config = config
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
        self._check(ids)
        segments = torch.zeros_like(ids) if segments is None else segments
        place = torch.arange(ids.shape[1], device=ids.device)
        x = look_up(self.tokens, ids) + self.positions(place) + self.segments(segments)  # (B, T, d)
        x = self.drop(self.norm(x))
        mask = None if real is None else real[:, None, None, :]  # nobody looks at padding
        for block in self.blocks:
            x = block(x, mask)
        return x, torch.tanh(self.pooler(x[:, 0]))

    def _check(self, ids):
        c = self.config
        if ids.ndim != 2 or not ids.numel():
            raise ValueError(f"ids must be (B, T) with at least one token, got {tuple(ids.shape)}")
        if ids.shape[1] > c.context:
            raise ValueError(
                f"the context is {c.context} tokens, got {ids.shape[1]}: "
                "shorten the text, or build the model with a longer context"
            )


def _small(module):
    """BERT's first weights: normal with standard deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


class PreTraining(nn.Module):
    """BERT with the two heads of pre-training: which token was here, and does b follow a?

    forward(ids, segments=None, real=None) → logits of the tokens (B, T, V), and of the pair
    (B, 2): 0 is "b follows a", 1 "b is from elsewhere". The tokens' table is the output table too.
    loss(batch): batch of `PairBatches` → dict of loss = masked + pair_weight · next, all in nats.
    """

    def __init__(self, config, pair_weight=1.0):
        super().__init__()
        self.pair_weight = pair_weight
        self.bert = BERT(config)
        self.dense = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim, 1e-12)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.next = nn.Linear(config.dim, 2)
        self.apply(_small)

    def words(self, x):
        """Logits of the token that belongs where a vector stands: (…, d) → (…, V)."""
        return F.linear(self.norm(F.gelu(self.dense(x))), self.bert.tokens.weight, self.bias)

    def forward(self, ids, segments=None, real=None):
        x, pooled = self.bert(ids, segments, real)
        return self.words(x), self.next(pooled)

    def check_batch(self, batch):
        """Raises ValueError for ids outside the vocabulary."""
        checked_ids(batch[0], self.bert.config.vocabulary)

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
        self.head = nn.Linear(config.dim, classes)
        self.apply(_small)

    def forward(self, ids, segments=None, real=None):
        return self.head(self.bert(ids, segments, real)[1])

    def check_batch(self, batch):
        """Raises ValueError for ids outside the vocabulary."""
        checked_ids(batch[0], self.bert.config.vocabulary)

    def loss(self, batch):
        *inputs, labels = batch
        return F.cross_entropy(self(*inputs).float(), labels)


class PairBatches:
    """Batches for pre-training: `batches(step)` is ids, segments, (places, targets), follows.

    ids and segments: (B, T). The tokens to predict stand at `places` (B, k) and are `targets`
    (B, k), see `chosen_places`. follows: (B,).
    Each row is [CLS] a [SEP] b [SEP]: a from a random place of a random article, b what follows
    it there (0, half of the rows), or a piece of another article (1). Long articles come up
    more often. A batch depends on (seed, step) alone.

    articles: list of (n,) int64, at least two with `length` tokens. rate, rule: see `mask_tokens`.
    Raises ValueError for fewer such articles.
    """

    def __init__(self, articles, vocabulary, length=128, batch_size=64, rate=0.15,
                 rule=(0.8, 0.1, 0.1), seed=0, device=None):  # fmt: skip
        self.articles = [a for a in articles if len(a) >= length]
        if len(self.articles) < 2:
            raise ValueError(
                f"pairs need two articles of at least {length} tokens, got {len(self.articles)}"
            )
        self.vocabulary, self.length, self.batch_size = vocabulary, length, batch_size
        self.rate, self.rule, self.seed, self.device = rate, rule, seed, device
        self.text = torch.cat(self.articles)
        sizes = torch.tensor([len(a) for a in self.articles])
        self.start = sizes.cumsum(0) - sizes  # where each article begins
        self.places = sizes - length + 1  # where a window may begin in it

    def windows(self, article, n, generator):
        """A window of n tokens from a random place of each article: (B,) → (B, n)."""
        place = torch.rand(len(article), generator=generator) * self.places[article]
        return self.text[(self.start[article] + place.long())[:, None] + torch.arange(n)]

    def __call__(self, step):
        g = torch.Generator().manual_seed(derive_seed(self.seed, "pairs", step))
        B, T = self.batch_size, self.length
        weight = self.places.double()
        one = torch.multinomial(weight, B, True, generator=g)
        other = torch.multinomial(weight, B, True, generator=g)
        while (same := one == other).any():
            other[same] = torch.multinomial(weight, int(same.sum()), True, generator=g)
        n = T // 2 - 2 + int(torch.randint(3, (1,), generator=g))  # tokens of a
        follows = torch.arange(B) % 2  # 0: b follows a
        text = self.windows(one, T - 3, g)
        elsewhere = self.windows(other, T - 3 - n, g)
        b = torch.where(follows[:, None] == 0, text[:, n:], elsewhere)
        edge = torch.full((B, 1), CLS), torch.full((B, 1), SEP)
        ids = torch.cat([edge[0], text[:, :n], edge[1], b, edge[1]], 1)  # (B, T)
        segments = (torch.arange(T) > n + 1).long().expand(B, T)
        inputs, labels = mask_tokens(ids, self.vocabulary, self.rate, g, self.rule)
        chosen = chosen_places(labels, max(1, round(self.rate * (T - 3))))
        inputs, segments, places, targets, follows = (
            x.to(self.device or "cpu") for x in (inputs, segments, *chosen, follows)
        )
        return inputs, segments, (places, targets), follows


# --- the same weights in the library `transformers`

EMBEDDINGS = {"tokens": "word_embeddings", "positions": "position_embeddings",
              "segments": "token_type_embeddings", "norm": "LayerNorm"}  # fmt: skip
LAYER = {"attention.out": "attention.output.dense", "norm1": "attention.output.LayerNorm",
         "mlp.0": "intermediate.dense", "mlp.2": "output.dense",
         "norm2": "output.LayerNorm"}  # fmt: skip
HEADS = {"bert.pooler": "bert.pooler.dense", "dense": "cls.predictions.transform.dense",
         "norm": "cls.predictions.transform.LayerNorm", "next": "cls.seq_relationship"}  # fmt: skip


def _pairs(ours, peer):
    """Each tensor of a `PreTraining` beside those of a BertForPreTraining that hold the same."""
    left, right = dict(ours.named_parameters()), peer.state_dict()  # its tensors share memory
    names = {f"bert.{a}": f"bert.embeddings.{b}" for a, b in EMBEDDINGS.items()} | HEADS
    for i in range(len(ours.bert.blocks)):
        layer = f"bert.encoder.layer.{i}"
        names |= {f"bert.blocks.{i}.{a}": f"{layer}.{b}" for a, b in LAYER.items()}
        for kind in ("weight", "bias"):
            parts = [f"{layer}.attention.self.{x}.{kind}" for x in ("query", "key", "value")]
            yield left[f"bert.blocks.{i}.attention.qkv.{kind}"], [right[part] for part in parts]
    for a, b in names.items():
        for kind in ("weight", "bias"):
            if f"{a}.{kind}" in left:
                yield left[f"{a}.{kind}"], [right[f"{b}.{kind}"]]
    yield left["bias"], [right["cls.predictions.bias"]]


@torch.no_grad()
def to_transformers(model):
    """A `transformers.BertForPreTraining` with the weights of a `PreTraining`, in eval mode.

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
    for ours, theirs in _pairs(model, peer):
        for one, part in zip(theirs, ours.chunk(len(theirs)), strict=True):
            one.copy_(part)
    return peer.eval()


@torch.no_grad()
def from_transformers(peer):
    """A `PreTraining` with the weights of a `transformers.BertForPreTraining`, in eval mode.

    Raises ValueError for a BERT of another build: other activation, hidden size or eps.
    """
    c = peer.config
    wanted = {"hidden_act": "gelu", "intermediate_size": 4 * c.hidden_size, "type_vocab_size": 2,
              "layer_norm_eps": 1e-12, "tie_word_embeddings": True}  # fmt: skip
    for name, value in wanted.items():
        if getattr(c, name) != value:
            raise ValueError(
                f"this BERT has {name} = {getattr(c, name)!r}; only {value!r} can be copied"
            )
    model = PreTraining(
        BERTConfig(c.vocab_size, c.max_position_embeddings, c.num_hidden_layers,
                   c.num_attention_heads, c.hidden_size, c.hidden_dropout_prob)
    )  # fmt: skip
    for ours, theirs in _pairs(model, peer):
        ours.copy_(torch.cat(theirs))
    return model.eval()


# --- the use: type a sentence with a blank


def probabilities(logits, temperature=1.0):
    """softmax(logits / temperature); temperature 0 gives all to the largest. (…, V) → same.

    Raises ValueError for a temperature below 0.
    """
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be 0 or more, got {temperature}")
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    return (logits / temperature).softmax(-1)


@torch.no_grad()
def fill(model, tokenizer, text, k=5, temperature=1.0):
    """The k most probable tokens for each blank of a text: a list of lists of (piece, probability).

    A blank is [MASK] or _. A text may be all blanks; words that the tokenizer does not know are
    [UNK]. Two sentences are told apart by [SEP] between them.
    Raises ValueError for a text without a blank, or longer than the context.
    """
    text = re.sub(r"_+", "[MASK]", text)
    ids = tokenizer.encode(text)
    if not (ids == MASK).any():
        raise ValueError(f"the text needs a blank, [MASK] or _, got {text!r}")
    ids = torch.cat([torch.tensor([CLS]), ids, torch.tensor([SEP])])[None]
    ids = ids.to(next(model.parameters()).device)
    segments = (ids == SEP).cumsum(1) - (ids == SEP).long()
    logits = model(ids, segments.clamp(max=1))[0][ids == MASK].float()  # (blanks, V)
    best = probabilities(logits, temperature).topk(min(k, logits.shape[-1]))
    return [
        list(zip(tokenizer.pieces(i), p.tolist(), strict=True))
        for i, p in zip(best.indices, best.values, strict=True)
    ]
