"""Finding passages: BM25, exact and approximate search by vectors, their fusion, and its measures.

Symbols: n passages, V words, Q questions, d numbers of a vector. A *ranking* is a tensor (Q, k) of
passage numbers 0 … n - 1, the best first, filled up with -1 where there are fewer: where the index
is smaller than k, or where a question has no word, or no direction, in common with anything.

Sources: Robertson & Zaragoza 2009 (BM25); Cormack, Clarke & Buettcher 2009 (fusion); Jégou, Douze &
Schmid 2011 (inverted file); Efron 1979 (bootstrap). Lecture item A65.
"""

import itertools
import re
from collections import Counter

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from genai_utils.inputs import array, kind_of, matrix, refusal, whole
from genai_utils.training.batches import derive_seed

NONE = -1  # in a ranking: nothing more was found
MANY = 20_000
ROOM = 2**24  # numbers: as many scores an approximate search may hold at a time
TERM = re.compile(r"[^\W_]+")  # letters and digits of any alphabet
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # LogisticRegression -> Logistic Regression


def terms(text):
    """What a text is searched by: "np.linalg.SVDResult of x_1" -> np linalg svdresult of x 1.

    Words and numbers in lower case; names are cut at points, underscores and humps (kMeans).
    Raises TypeError for anything but a text.
    """
    if not isinstance(text, str):
        raise refusal("text", "a text", kind_of(text), "take texts one by one", kind=TypeError)
    return [term.lower() for term in TERM.findall(HUMP.sub(" ", text))]


# --- by words


def bm25_scores(counts: Tensor, query: Tensor, k1: float = 1.5, b: float = 0.75) -> Tensor:
    """How well each passage fits a question, by the words that they share (BM25).

        score_i = Σ_j idf_j · (k1 + 1) c_ij / (c_ij + k1 (1 - b + b l_i)),   over the words j of the
        question, with   idf_j = ln(1 + (n - df_j + ½) / (df_j + ½))

    c_ij: how often word j stands in passage i; df_j: in how many of the n passages it stands; l_i:
    the number of words of passage i, divided by the mean over all passages.
    counts (n, V) floats; query (q,) int64 are numbers of words, -1 for a word that no passage has,
    which adds nothing; a word that is asked twice counts twice. A passage without a word gets 0,
    whatever k1 and b are. Returns (n,) floats.
    Source: Robertson & Zaragoza 2009.
    """
    n = len(counts)
    df = (counts > 0).sum(0).to(counts.dtype)  # (V,)
    idf = torch.log(1 + (n - df + 0.5) / (df + 0.5))
    length = counts.sum(1, keepdim=True)  # (n, 1)
    crowd = k1 * (1 - b + b * length / length.mean().clamp(min=1e-9))
    worth = idf * (k1 + 1) * counts / (counts + crowd).clamp(min=1e-30)  # (n, V); of nothing: 0
    return worth[:, query[query >= 0]].sum(1)


class BM25:
    """An index of words: BM25([["a", "cat"], …]).rank([["cat"]], k=10).

    documents: lists of terms. Holds, for each word, what it is worth in each passage that has it.
    An index of no passage is one too: nothing is found in it.
    """

    def __init__(self, documents, k1=1.5, b=0.75):
        documents = [Counter(document) for document in documents]
        self.index = {}
        for document in documents:
            for term in document:
                self.index.setdefault(term, len(self.index))
        rows = np.repeat(np.arange(len(documents)), [len(d) for d in documents])
        columns = np.array([self.index[t] for d in documents for t in d], dtype=np.int64)
        count = np.array([c for d in documents for c in d.values()], dtype=float)
        n, length = len(documents), np.array([sum(d.values()) for d in documents], dtype=float)
        crowd = k1 * (1 - b + b * length / max(length.mean(), 1e-9)) if n else length
        df = np.bincount(columns, minlength=len(self.index))
        self.idf = np.log1p((n - df + 0.5) / (df + 0.5))
        worth = self.idf[columns] * (k1 + 1) * count / (count + crowd[rows])
        self.worth = sp.csr_array((worth, (rows, columns)), shape=(n, len(self.index)))

    def __len__(self):
        return self.worth.shape[0]

    def scores(self, queries):
        """As `bm25_scores`, for lists of terms: (Q, n) float64."""
        asked = [[self.index[t] for t in query if t in self.index] for query in queries]
        rows = np.repeat(np.arange(len(asked)), [len(ids) for ids in asked])
        columns = np.array([i for ids in asked for i in ids], dtype=np.int64)
        shape = (len(asked), len(self.index))
        chosen = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
        return torch.as_tensor((chosen @ self.worth.T).toarray())

    def rank(self, queries, k=10):
        """The ranking (Q, k) of lists of terms; a passage without a shared word is not found."""
        scores = self.scores(queries)
        return best(scores, k, found=scores > 0)


def best(scores, k, found=None):
    """The ranking (Q, k) of scores (Q, n): the highest first, of equal ones the first.

    found (Q, n): which may be in it; None: all. Of more than MANY passages equal ones come in any
    order: to put all of them in order would take far longer than to find the k best.
    """
    k = whole(k, "k")
    if found is not None:
        scores = scores.masked_fill(~found, -torch.inf)
    if scores.shape[1] > max(k, MANY):
        values, ids = scores.topk(k, dim=1)
    else:
        values, ids = scores.sort(dim=1, descending=True, stable=True)
    ids = ids[:, :k].masked_fill(values[:, :k] == -torch.inf, NONE)
    return F.pad(ids, (0, k - ids.shape[1]), value=NONE)


# --- by vectors


def _unit(vectors, name, columns=None):
    """Rows of length 1, those of zeros left; there may be no row."""
    vectors = array(vectors, name, torch.float32, empty=True)
    if len(vectors) or vectors.ndim != 2:
        vectors = matrix(vectors, name, columns=columns)
    return F.normalize(vectors, dim=1)


class Dense:
    """Exact search by vectors: every passage is compared, by the cosine. Dense(vectors (n, d))."""

    def __init__(self, vectors):
        self.vectors = _unit(vectors, "vectors")

    def __len__(self):
        return len(self.vectors)

    def rank(self, queries, k=10):
        """The ranking (Q, k) of vectors (Q, d). A question whose vector is 0 finds nothing."""
        queries = _unit(queries, "queries", self.vectors.shape[1]).to(self.vectors)
        there = queries.any(1, keepdim=True)
        return best(queries @ self.vectors.T, k, there.expand(-1, len(self)))


class InvertedFile:
    """Approximate search: passages lie in cells, and only cells near the question are looked at.

    vectors (n, d), centres (m, d) of the cells, such as those of k-means. Each vector lies in the
    cell whose centre is nearest in angle, and the vectors are kept cell by cell, for the processor.
    compared: how many vectors the last `rank` looked at, for a question in the mean.
    Source: Jégou, Douze & Schmid 2011, without their compression.
    """

    def __init__(self, vectors, centres):
        vectors = _unit(vectors, "vectors").cpu()
        centres = _unit(centres, "centres", vectors.shape[1]).cpu()
        whole(len(centres), "number of centres")
        cells = torch.cat([(part @ centres.T).argmax(1) for part in vectors.split(8192)])
        order = cells.argsort(stable=True).numpy()  # (n,): passage numbers, cell after cell
        self.sizes = cells.bincount(minlength=len(centres)).numpy()  # (m,)
        ends = self.sizes.cumsum()[:-1]
        self.passages = np.split(order, ends)  # (size,) each
        self.cells = np.split(vectors.numpy()[order], ends)  # (size, d) each
        self.centres, self.compared = centres.numpy(), 0.0

    def __len__(self):
        return self.sizes.sum().item()

    def rank(self, queries, k=10, probes=1):
        """The ranking (Q, k) among the vectors of the `probes` cells nearest to each question."""
        k = whole(k, "k")
        probes = whole(probes, "probes", most=len(self.centres))
        queries = _unit(queries, "queries", self.centres.shape[1])
        asked = queries.cpu().numpy()
        closeness = asked @ self.centres.T  # (Q, m)
        near = np.argpartition(closeness, -probes, axis=1)[:, -probes:]  # (Q, probes)
        there = asked.any(1)
        self.compared = self.sizes[near[there]].sum().item() / max(len(asked), 1)
        ranking = np.full((len(asked), k), NONE)
        if len(asked) * probes <= len(self.centres):  # hardly two of them ask the same cell
            for row in there.nonzero()[0]:
                found = self._one(asked[row], near[row], k)
                ranking[row, : len(found)] = found
        else:
            nearest = closeness.argmax(1)
            rows = max(ROOM // (probes * max(self.sizes.max(), 1)), 1)
            for start in range(0, len(asked), rows):
                part = slice(start, start + rows)
                ranking[part] = self._many(asked[part], near[part], nearest[part, None], k)
            ranking[~there] = NONE
        return torch.from_numpy(ranking).to(queries.device)

    def _one(self, query, near, k):
        """The at most k best passages for a question (d,) in the cells near (p,)."""
        scores = np.concatenate([self.cells[cell] @ query for cell in near])
        passages = np.concatenate([self.passages[cell] for cell in near])
        return passages[torch.from_numpy(scores).topk(min(k, len(scores))).indices.numpy()]

    def _asking(self, near):
        """For each cell that is asked: its number, and which rows of near (Q, p) ask it."""
        rows = near.argsort(axis=None) // near.shape[1]
        ends = np.bincount(near.ravel(), minlength=len(self.cells)).cumsum()
        for cell, (start, end) in enumerate(itertools.pairwise([0, *ends.tolist()])):
            if start < end:
                yield cell, rows[start:end]

    def _many(self, queries, near, nearest, k):
        """The ranking (Q, k) in the cells near (Q, p): one product for all that ask the same cell.

        The nearest cell (Q, 1) gives k passages, of which the last sets a bound: the k best are
        among those that reach it, and so only a few have to be sorted. The bound is a little lower
        than that, since a product of other rows may be rounded another way.
        """
        bound = np.full((len(queries), 1), -np.inf, np.float32)
        for cell, rows in self._asking(nearest):
            if self.sizes[cell] >= k:
                scores = queries[rows] @ self.cells[cell].T
                bound[rows, 0] = np.partition(scores, -k, axis=1)[:, -k] - 1e-5
        found = []
        for cell, rows in self._asking(near):
            scores = queries[rows] @ self.cells[cell].T  # (asking, size)
            hits = np.flatnonzero(scores >= bound[rows])
            row, column = np.divmod(hits, scores.shape[1])
            found.append((rows[row], self.passages[cell][column], scores.ravel()[hits]))
        rows, passages, scores = map(np.concatenate, zip(*found, strict=True))
        order = (4.0 * rows - scores).argsort()  # question after question, the best first
        count = np.bincount(rows, minlength=len(queries))
        index = (count.cumsum() - count)[:, None] + np.arange(k)  # (Q, k)
        listed = np.append(passages[order], NONE)
        return listed[np.where(np.arange(k) < count[:, None], index, -1)]


# --- together


def reciprocal_rank_fusion(rankings: Tensor, n: int, k: float = 60.0) -> Tensor:
    """One score for each passage from the places that R methods give it.

        score_i = Σ_r 1 / (k + place of i in ranking r),   the best place is 1

    rankings (R, Q, m) int64: of each method and question the m passages that it found, the best
    first, -1 where it found no more. A passage that a method has not found gets nothing from it.
    Returns (Q, n) floats. Source: Cormack, Clarke & Buettcher 2009.
    """
    R, Q, m = rankings.shape
    worth = 1 / (k + torch.arange(1, m + 1, device=rankings.device))  # (m,)
    scores = torch.zeros(Q, n + 1, device=rankings.device)  # the last column: not found
    for ranking in rankings:
        scores.scatter_add_(1, torch.where(ranking < 0, n, ranking), worth.expand(Q, m))
    return scores[:, :n]


def fused(rankings, n, k=10):
    """The ranking (Q, k) of several rankings (Q, m) together."""
    scores = reciprocal_rank_fusion(torch.stack(list(rankings)), n)
    return best(scores, k, found=scores > 0)


# --- how good is it?


def recall_at_k(ranked: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Which share of a question's relevant passages is among the first k of its ranking.

    ranked (Q, m) int64, the best first, -1 where there is no more; relevant (Q, r) int64, a row for
    each question, -1 where it has fewer than r. k from 1; k above m takes all m. A passage that is
    ranked twice is found once. A question without a relevant passage gets 0.
    Returns (Q,) floats from 0 to 1. Lecture item A65.
    """
    real = relevant >= 0  # (Q, r)
    found = (ranked[:, :k, None] == relevant[:, None, :]).any(1) & real  # (Q, r)
    return found.sum(1) / real.sum(1).clamp(min=1)


def resamples(n, count=2000, seed=0):
    """n questions drawn anew with replacement, `count` times: (count, n) int64."""
    g = torch.Generator().manual_seed(derive_seed(seed, "bootstrap"))
    return torch.randint(whole(n, "n"), (whole(count, "count"), n), generator=g)


def interval(values, count=2000, seed=0):
    """(mean, low, high): a 95 % bootstrap interval of the mean of values (n,), over questions."""
    values = torch.as_tensor(values).double()
    means = values[resamples(len(values), count, seed)].mean(1)
    low, high = means.quantile(means.new_tensor([0.025, 0.975])).tolist()
    return values.mean().item(), low, high


def paired_interval(first: Tensor, second: Tensor, draws: Tensor) -> Tensor:
    """A 95 % interval of how much better one method is than another on the same questions.

    first, second (n,): what each method reached on the n questions, such as the recall at 10. draws
    (R, n) int64: R times n questions drawn anew with replacement. In each draw both methods are
    asked the same questions, and the mean of the first less that of the second is one value. The
    result (2,) are the 2.5 % and the 97.5 % quantile of the R values.
    Source: Efron 1979.
    """
    levels = torch.tensor([0.025, 0.975], dtype=first.dtype)
    one, other = first[draws].mean(1), second[draws].mean(1)  # (R,), the same questions in both
    return (one - other).quantile(levels)
