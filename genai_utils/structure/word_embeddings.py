"""Word embeddings that are learned from text: CBOW and skip-gram; from counts: see `word_counts`.

Symbols follow the lecture: M (V, V) holds the similarity of each two of V words; w_i and y_i are
the left and right vectors of word i, of length d. Words stand in rows, so M is near W Y^T where
the lecture, with words in columns, writes W^T Y. A text is a tensor of word ids; -1 is padding.

Sources: Mikolov et al. 2013a, 2013b (CBOW, skip-gram, negative sampling); Levy & Goldberg 2014.
Lecture items A12-A15, B44.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import array, number, refusal, whole
from genai_utils.structure.word_counts import (  # noqa: F401, chapter 5 knows them from here
    GloVe,
    factorise,
    glove_loss,
    pmi,
    shifted_positive_pmi,
    symmetric_factor,
    window_counts,
)
from genai_utils.training.batches import derive_seed
from genai_utils.training.describe import fingerprint
from genai_utils.training.draws import counted

# After thinning so many words are left on average that never is none left: e^-32 is 1e-14.
LEFT = 32


def _counts(counts) -> Tensor:
    """counts (V,) in float64, if they are those of a vocabulary; else says what is wrong."""
    counts = array(counts, "counts", dtype=torch.float64, empty=True)
    if counts.dim() != 1:
        raise refusal("counts", "how often each word occurs, (V,)", f"{tuple(counts.shape)}")
    if len(counts) == 0:
        raise ValueError("the vocabulary is empty: no word is left; lower min_count or add text")
    if not (counts > 0).all():
        raise refusal("counts", "positive numbers", "a zero", "leave out words that never occur")
    return counts


# --- text as blocks of word ids


def word_ids(texts, name: str) -> list[Tensor]:
    """Texts as a list of tensors; TypeError where they, or one of them, are still words."""
    if isinstance(texts, (str, bytes)):
        raise refusal(
            name, "a list of tensors of word ids", f"one text, {texts[:20]!r}",
            "number its words with vocabulary.encode", kind=TypeError,
        )  # fmt: skip
    found = list(texts)
    for place, text in enumerate(found):
        listed = text if isinstance(text, (list, tuple)) else ()
        if isinstance(text, (str, bytes)) or any(isinstance(word, str) for word in listed):
            raise refusal(
                f"{name}[{place}]", "word ids (L,)", "words",
                "number them with vocabulary.encode", kind=TypeError,
            )  # fmt: skip
    return [torch.as_tensor(text) for text in found]


def blocks(ids: Tensor | list[Tensor], length: int) -> Tensor:
    """Cut a text, or each of a list of texts, into runs of consecutive words.

    ids: word ids (n,) int64, or a list of such tensors; no run holds words of two texts.
    Returns (N, length) int64; the last run of each text is filled up with -1.
    Raises ValueError for a length below 2 and where no word is left.
    """
    length = whole(length, "length", 2)
    one = isinstance(ids, Tensor) or getattr(ids, "ndim", 0) == 1
    texts = [text.long() for text in word_ids([ids] if one else ids, "ids")]
    if any(text.dim() != 1 for text in texts):
        raise ValueError("each text should be a tensor of word ids (n,)")
    if not sum(len(text) for text in texts):
        raise ValueError("the corpus is empty: no word is left; lower min_count or add text")
    padded = [F.pad(text, (0, -len(text) % length), value=-1) for text in texts]
    return torch.cat(padded).view(-1, length)  # (N, length)


def keep_probability(counts: Tensor, sample: float = 1e-3) -> Tensor:
    """With which probability word2vec keeps an occurrence of a word: min(1, sqrt(t/f) + t/f).

    f = counts / sum of counts is the word's frequency, t = sample. (V,) -> (V,) in (0, 1]. Rare
    words are all kept, so a word with count 0 gets 1; "the" is mostly left out. Source: Mikolov et
    al. 2013b, in its code's form.
    """
    ratio = sample / (counts / counts.sum())  # t / f
    return (ratio.sqrt() + ratio).clamp(max=1)


class TextBatches:
    """Blocks of a text for `fit`: `batches(step)` is (batch_size, length) int64.

    In each epoch the frequent words are thinned out anew (`keep_probability`; sample None keeps
    all), the cuts between the blocks shift, and the blocks are shuffled. A batch depends on the
    step alone; it holds fewer rows only at the end of an epoch, and never none.

    Raises ValueError for texts without two words in a row, and for so few words that thinning
    might leave none of them: fewer than about 32 on average.
    """

    def __init__(self, texts, counts, batch_size=64, length=32, sample=1e-3, seed=0):
        self.length = whole(length, "length", 2)
        self.batch_size, self.seed = whole(batch_size, "batch_size"), seed
        _counts(counts)
        self.counts = torch.as_tensor(counts)
        self.sample = sample if sample is None else number(sample, "sample", above=0)
        self.texts, self.epoch = [text for text in word_ids(texts, "texts") if len(text)], -1
        if not self.texts:
            raise ValueError("the corpus is empty: no word is left; lower min_count or add text")
        if max(map(len, self.texts)) < 2:
            raise refusal("texts", "a text of at least two words", "one word in each")
        if sample is not None:
            keep = keep_probability(self.counts, sample)
            left = sum(float(keep[text].sum()) for text in self.texts)
            if left < LEFT:
                raise refusal(
                    "texts", f"about {LEFT} words or more after thinning", f"about {left:.1f}",
                    "give more text, or thin out less: a larger sample, or None",
                )  # fmt: skip
        self.steps_per_epoch = max(1, len(self._blocks(0)) // self.batch_size)

    def describe(self) -> dict:
        """What shapes the batches, the texts by a digest; see `fit`'s checkpoint."""
        ends = torch.tensor([len(text) for text in self.texts]).cumsum(0)
        data = [fingerprint(torch.cat(self.texts)), fingerprint(ends), fingerprint(self.counts)]
        names = ("length", "batch_size", "sample", "seed")
        return {"data": data} | {name: getattr(self, name) for name in names}

    def _blocks(self, epoch: int) -> Tensor:
        if epoch != self.epoch:
            g = torch.Generator().manual_seed(derive_seed(self.seed, "text", epoch))
            keep = (
                torch.ones(())
                if self.sample is None
                else keep_probability(self.counts, self.sample)
            )
            parts = []
            for text in self.texts:
                chance = keep if self.sample is None else keep[text]
                text = text[torch.rand(len(text), generator=g) < chance]
                cut = int(torch.randint(1, self.length + 1, (1,), generator=g))
                parts += [text[:cut], text[cut:]]
            found = blocks(parts, self.length)
            self.current, self.epoch = found[torch.randperm(len(found), generator=g)], epoch
        return self.current

    def __call__(self, step: int) -> Tensor:
        epoch, batch = divmod(step, self.steps_per_epoch)
        found, first = self._blocks(epoch), batch * self.batch_size
        if first >= len(found):  # thinning left fewer blocks than in epoch 0: the first ones again
            first %= len(found)
        return found[first : first + self.batch_size]


# --- word2vec


def rows(table: Tensor, ids: Tensor) -> Tensor:
    """The rows of a table (V, d) that ids (…,) name, (…, d); the same as F.embedding(ids, table).

    On a processor its gradient adds the rows by index_add_, which takes half of the time of
    F.embedding's. On a graphics card F.embedding's is kept: it adds in the same order each time.
    """
    if table.is_cuda:
        return F.embedding(ids, table)
    return table.index_select(0, ids.flatten()).view(*ids.shape, -1)


def noise_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    """Which words serve as negatives: P(i) = n_i^power / sum_j n_j^power. (V,) -> (V,) float32."""
    weights = _counts(counts) ** power
    return (weights / weights.sum()).float()


def negative_sampling_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Tell pairs seen in the text from pairs made up by chance.

    mean over the pairs of -log sigmoid(s) - sum_k log sigmoid(-s_k), in nats per pair, with s the
    score of the pair, positive (n,), and s_k those of its K made-up ones, negative (n, K). Right
    for scores of any size: where sigmoid(s) is rounded to 0, its logarithm is near s, not -inf.
    Source: Mikolov et al. 2013b, eq. 4; lecture item A13.
    """
    return (F.softplus(-positive) + F.softplus(negative).sum(-1)).mean()


def expected_loss(score: Tensor, M: Tensor, negatives: float = 5, power: float = 1.0) -> Tensor:
    """The same loss, averaged over all pairs of a text and all negatives that could be drawn.

    sum_ij p(i,j) softplus(-s_ij) + k sum_ij p(i) q(j) softplus(s_ij), q(j) in proportion to
    p(j)^power. score, M (V, V). Least for s = PMI - log k (Levy & Goldberg 2014). Lecture item B44.
    """
    P = M / M.sum()
    noise = P.sum(0) ** power
    made_up = P.sum(1, keepdim=True) * noise / noise.sum()  # (V, V)
    return (P * F.softplus(-score) + negatives * made_up * F.softplus(score)).sum()


class Word2Vec(nn.Module):
    """What CBOW and skip-gram share: two tables of vectors, windows and negatives.

    counts (V,): how often each word occurs; `input.weight` holds w and `output.weight` y, both
    (V, dim); negatives: made-up pairs for each real one, drawn with counts^power; shared: how many
    of them a block draws for all its words.
    """

    def __init__(
        self,
        counts: Tensor,
        dim: int = 100,
        window: int = 5,
        negatives: int = 5,
        power: float = 0.75,
        shared: int = 32,
    ):
        super().__init__()
        noise, dim = noise_distribution(counts, power), whole(dim, "dim")
        self.window, self.negatives = whole(window, "window"), whole(negatives, "negatives")
        self.shared = whole(shared, "shared")
        self.input = nn.Embedding(len(counts), dim)
        self.output = nn.Embedding(len(counts), dim)
        nn.init.uniform_(self.input.weight, -0.5 / dim, 0.5 / dim)
        nn.init.zeros_(self.output.weight)
        self.register_buffer("cumulative", noise.double().cumsum(0), persistent=False)

    @property
    def vectors(self) -> Tensor:
        """The words' vectors w, (V, dim)."""
        return self.input.weight.detach()

    def draw(self, *shape: int) -> Tensor:
        """Word ids drawn from the noise distribution, int64 of this shape."""
        u = torch.rand(shape, device=self.cumulative.device, dtype=torch.float64)
        last = len(self.cumulative) - 1
        return torch.searchsorted(self.cumulative, u * self.cumulative[-1]).clamp(max=last)

    def pairs(self, blocks: Tensor) -> Tensor:
        """Which (centre, context) pairs of each block count: (B, L) ids -> (B, L, L) of 0 and 1.

        Each centre sees its neighbours up to a distance drawn anew from 1 ... window, as word2vec
        does, so that nearer words count more.
        """
        if blocks.dim() != 2 or not len(blocks):  # the loss of no rows would be 0
            raise refusal("blocks", "word ids (B, L) with B >= 1", f"{tuple(blocks.shape)}")
        L, device = blocks.shape[1], blocks.device
        place = torch.arange(L, device=device)
        distance = (place[:, None] - place).abs()  # (L, L)
        reach = torch.randint(1, self.window + 1, (*blocks.shape, 1), device=device)  # (B, L, 1)
        real = blocks >= 0
        seen = (distance <= reach) & (distance > 0) & real[:, :, None] & real[:, None, :]
        return seen.to(self.input.weight.dtype)

    def look_up(self, blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """w and y of each word (B, L, d), and y of the negatives of each block (B, shared, d)."""
        ids, made_up = blocks.clamp(min=0), self.draw(len(blocks), self.shared)
        y = rows(self.output.weight, torch.cat([ids, made_up], 1))  # (B, L + shared, d)
        return rows(self.input.weight, ids), *y.split([ids.shape[1], self.shared], 1)


class SkipGram(Word2Vec):
    """A word predicts each word near it; the score of centre i and context j is <w_i, y_j>. (A13)

    SkipGram(counts, dim=100, window=5, negatives=5, power=0.75); see `Word2Vec`.
    """

    def loss(self, blocks: Tensor) -> Tensor:
        """Negative-sampling loss of the pairs in blocks (B, L), in nats per pair.

        Every block draws `shared` negatives for all its words. Weighted by how many pairs a word
        has, their expectation is that of fresh negatives for each pair; it is all matrix products.
        """
        pairs = self.pairs(blocks)  # (B, L, L)
        w, y, noise = self.look_up(blocks)
        positive = F.softplus(-w @ y.transpose(1, 2))  # (B, L, L)
        negative = F.softplus(w @ noise.transpose(1, 2)).mean(-1)  # (B, L)
        seen = pairs.sum(-1)  # (B, L): pairs of each centre
        total = (positive * pairs).sum() + self.negatives * (negative * seen).sum()
        return total / counted(seen.sum())


class CBOW(Word2Vec):
    """The mean of the words around predicts the word in the middle: score <h, y_i>. (A12)"""

    def hidden(self, pairs: Tensor, w: Tensor) -> Tensor:
        """h: the mean vector of what each centre sees, (B, L, L), (B, L, d) -> (B, L, d)."""
        return pairs @ w / pairs.sum(-1, keepdim=True).clamp(min=1)

    def loss(self, blocks: Tensor) -> Tensor:
        """Negative-sampling loss of the words in blocks (B, L), in nats per word."""
        pairs = self.pairs(blocks)  # (B, L, L)
        w, y, noise = self.look_up(blocks)
        h = self.hidden(pairs, w)
        positive = F.softplus(-(h * y).sum(-1))  # (B, L)
        negative = F.softplus(h @ noise.transpose(1, 2)).mean(-1)  # (B, L)
        counts = (pairs.sum(-1) > 0).to(h.dtype)  # words with a context
        return ((positive + self.negatives * negative) * counts).sum() / counted(counts.sum())
