"""Word embeddings: counts in a window, PMI and its factorisation, GloVe, CBOW and skip-gram.

Symbols follow the lecture: M (V, V) holds the similarity of each two of V words; w_i and y_i are
the left and right vectors of word i, of length d. Words stand in rows, so M is near W Y^T where
the lecture, with words in columns, writes W^T Y. A text is a tensor of word ids; -1 is padding.

Sources: Mikolov et al. 2013a, 2013b (CBOW, skip-gram, negative sampling); Pennington, Socher &
Manning 2014 (GloVe); Levy & Goldberg 2014; Levy, Goldberg & Dagan 2015. Lecture items A12-A15,
B32, B39-B46.
"""

import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.structure import lsa
from genai_utils.training.batches import derive_seed


def _whole(name: str, value: int, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} should be a whole number of at least {least}, got {value!r}")
    return value


def _counts(counts: Tensor) -> Tensor:
    """Return counts (V,) if they are those of a vocabulary; else say what is wrong."""
    if not isinstance(counts, Tensor) or counts.dim() != 1:
        found = tuple(counts.shape) if isinstance(counts, Tensor) else type(counts).__name__
        raise ValueError(f"counts should be a tensor (V,), how often each word occurs, got {found}")
    if len(counts) == 0:
        raise ValueError("the vocabulary is empty: no word is left; lower min_count or add text")
    if not (counts > 0).all():
        raise ValueError("counts should be positive: leave out words that never occur")
    return counts


# --- counting, and what to make of the counts


def window_counts(blocks: Tensor, size: int, window: int, weighting: str = "flat") -> Tensor:
    """How often each two words stand at most `window` words apart: M (size, size), symmetric.

    blocks (N, L): N texts of word ids, filled up with -1; no pair spans two of them. A pair o words
    apart counts 1 ("flat"), 1/o ("harmonic", as in GloVe) or 1 - (o - 1)/window ("linear": what
    word2vec's random windows come to). The lecture's "window size 4", any 4 consecutive words, is
    window = 3. Lecture items B41 and B42.
    """
    if type(window) is not int or window < 1:
        raise ValueError(f"window should be a whole number of at least 1, got {window!r}")
    if not (blocks >= 0).any():
        raise ValueError("the corpus is empty: no word is left; lower min_count or add text")
    M = torch.zeros(size * size, device=blocks.device)
    for o in range(1, min(window, blocks.shape[1] - 1) + 1):
        first, second = blocks[:, :-o], blocks[:, o:]  # a word, and the word o later
        real = (first >= 0) & (second >= 0)
        cells = first[real] * size + second[real]
        weight = {"flat": 1.0, "harmonic": 1 / o, "linear": 1 - (o - 1) / window}[weighting]
        M.index_add_(0, cells, torch.full(cells.shape, weight, device=M.device))
    return M.view(size, size) + M.view(size, size).T


def pmi(M: Tensor, power: float = 1.0) -> Tensor:
    """Pointwise mutual information: how much more often two words meet than chance would have it.

    log[ p(i,j) / (p(i) p(j)) ] in nats, p(i,j) = M_ij / sum of M, p(i) its row sum, p(j) in
    proportion to (column sum)^power. -inf where M is 0. M >= 0 is (V, V), or words by contexts.
    Lecture items B41 and B44.
    """
    P = M / M.sum()
    left, right = P.sum(1, keepdim=True), P.sum(0) ** power  # (V, 1), (V,)
    return (P / (left * right / right.sum())).log()


def shifted_positive_pmi(M: Tensor, negatives: float = 1, power: float = 1.0) -> Tensor:
    """max(PMI - log k, 0): no -inf, and as sparse as M. (V, V) -> (V, V); k = 1 is plain PPMI."""
    return (pmi(M, power) - torch.tensor(float(negatives)).log()).clamp(min=0)


def factorise(M: Tensor, d: int, share: float = 0.5) -> tuple[Tensor, Tensor]:
    """W, Y (V, d) with W Y^T the best approximation of M of rank d: U S^share and V S^(1-share).

    The truncated SVD of chapter 4, exact to rounding: of M only the cells that are not 0 are kept.
    The spectrum of such a table falls slowly, so a few steps of subspace iteration are not enough.
    W and Y differ in signs unless M is positive semi-definite: lecture items B40, B45 and B46.
    """
    sparse = scipy.sparse.csr_array(M.cpu().numpy()).astype(float)
    U, s, V = (part.to(M).contiguous() for part in lsa.truncated_svd(sparse, d))
    return U * s**share, V * s ** (1 - share)


def symmetric_factor(M: Tensor, d: int) -> Tensor:
    """Y (V, d) with Y Y^T as near to the symmetric M as one matrix and its transpose can come.

    The d largest eigenvalues, where positive; negative ones cannot be had. Lecture item B45.
    """
    values, vectors = torch.linalg.eigh(M)  # ascending
    return vectors[:, -d:].flip(1) * values[-d:].flip(0).clamp(min=0).sqrt()


# --- GloVe


def glove_loss(score: Tensor, count: Tensor, most: float = 100.0, alpha: float = 0.75) -> Tensor:
    """Weighted squared error of the logarithm: mean of f(x) (score - log x)^2, in nats squared.

    f(x) = (x / most)^alpha for x < most, else 1. score (n,) = <w_i, y_j> + b_i + c_j, count (n,)
    the x > 0 of the same cells. Source: Pennington et al. 2014, eqs. 8 and 9; lecture item B43.
    """
    weight = (count / most).clamp(max=1) ** alpha  # (n,)
    return (weight * (score - count.log()) ** 2).mean()


class GloVe(nn.Module):
    """Vectors and biases whose <w_i, y_j> + b_i + c_j is the logarithm of the count. (B43)"""

    def __init__(self, size: int, dim: int = 100, most: float = 100.0, alpha: float = 0.75):
        super().__init__()
        self.most, self.alpha = most, alpha
        self.w, self.y = (nn.Embedding(_whole("size", size), _whole("dim", dim)) for _ in "wy")
        self.b, self.c = (nn.Embedding(size, 1) for _ in "bc")
        for table in (self.w, self.y, self.b, self.c):
            nn.init.uniform_(table.weight, -0.5 / dim, 0.5 / dim)

    @property
    def vectors(self) -> Tensor:
        """w + y, as the paper uses them, (V, dim)."""
        return (self.w.weight + self.y.weight).detach()

    def forward(self, i: Tensor, j: Tensor) -> Tensor:
        """Score of each cell (i, j): (n,), (n,) -> (n,)."""
        return (self.w(i) * self.y(j)).sum(-1) + (self.b(i) + self.c(j))[:, 0]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """`glove_loss` of some cells: row i (n,), column j (n,), count x (n,)."""
        i, j, x = batch
        return glove_loss(self(i, j), x, self.most, self.alpha)


# --- text as blocks of word ids


def blocks(ids: Tensor | list[Tensor], length: int) -> Tensor:
    """Cut a text, or each of a list of texts, into runs of consecutive words.

    ids: word ids (n,) int64, or a list of such tensors; no run holds words of two texts.
    Returns (N, length) int64; the last run of each text is filled up with -1.
    Raises ValueError for a length below 2 and where no word is left.
    """
    _whole("length", length, 2)
    texts = [ids] if isinstance(ids, Tensor) else list(ids)
    texts = [torch.as_tensor(text).long() for text in texts]
    if any(text.dim() != 1 for text in texts):
        raise ValueError("each text should be a tensor of word ids (n,)")
    if not sum(len(text) for text in texts):
        raise ValueError("the corpus is empty: no word is left; lower min_count or add text")
    padded = [F.pad(text, (0, -len(text) % length), value=-1) for text in texts]
    return torch.cat(padded).view(-1, length)  # (N, length)


def keep_probability(counts: Tensor, sample: float = 1e-3) -> Tensor:
    """With which probability word2vec keeps an occurrence of a word: min(1, sqrt(t/f) + t/f).

    f = counts / sum of counts is the word's frequency, t = sample. (V,) -> (V,) in (0, 1]. Rare
    words are all kept; "the" is mostly left out. Source: Mikolov et al. 2013b, in its code's form.
    """
    ratio = sample / (counts / counts.sum())  # t / f
    return (ratio.sqrt() + ratio).clamp(max=1)


class TextBatches:
    """Blocks of a text for `fit`: `batches(step)` is (batch_size, length) int64.

    In each epoch the frequent words are thinned out anew (`keep_probability`; sample None keeps
    all), the cuts between the blocks shift, and the blocks are shuffled. A batch depends on the
    step alone.
    """

    def __init__(self, texts, counts, batch_size=64, length=32, sample=1e-3, seed=0):
        self.length, self.batch_size = _whole("length", length, 2), _whole("batch_size", batch_size)
        self.counts, self.sample, self.seed = _counts(counts), sample, seed
        self.texts, self.epoch = [text for text in texts if len(text)], -1
        if not self.texts:
            raise ValueError("the corpus is empty: no word is left; lower min_count or add text")
        self.steps_per_epoch = max(1, len(self._blocks(0)) // self.batch_size)

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
        epoch, number = divmod(step, self.steps_per_epoch)
        return self._blocks(epoch)[number * self.batch_size : (number + 1) * self.batch_size]


# --- word2vec


def noise_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    """Which words serve as negatives: P(i) = n_i^power / sum_j n_j^power. (V,) -> (V,) float32."""
    weights = _counts(counts).double() ** power
    return (weights / weights.sum()).float()


def negative_sampling_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Tell pairs seen in the text from pairs made up by chance.

    mean over the pairs of -log sigmoid(s) - sum_k log sigmoid(-s_k), in nats per pair, with s the
    score of the pair, positive (n,), and s_k those of its K made-up ones, negative (n, K).
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
        noise = noise_distribution(counts, power)
        self.window, self.negatives = _whole("window", window), _whole("negatives", negatives)
        self.shared = _whole("shared", shared)
        self.input = nn.Embedding(len(counts), _whole("dim", dim))
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
        y = self.output(torch.cat([ids, made_up], 1))  # (B, L + shared, d)
        return self.input(ids), y[:, : ids.shape[1]], y[:, ids.shape[1] :]


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
        return total / seen.sum().clamp(min=1)


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
        return ((positive + self.negatives * negative) * counts).sum() / counts.sum().clamp(min=1)
