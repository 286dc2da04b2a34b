"""What word vectors know: neighbours, agreement with people's judgements, analogies."""

from typing import NamedTuple

import torch
from scipy.stats import spearmanr

from genai_utils.evaluation.inputs import as_array, as_points, same_width
from genai_utils.inputs import one_of, refusal, whole


class Score(NamedTuple):
    """value: the metric; used: how many questions had no unknown word, so that they count."""

    value: float
    used: int


def nearest(vectors, query, k, metric="cosine"):
    """The k rows of `vectors` (n, d) that are nearest to each query, best first.

    query: (d,) or (m, d). metric "cosine" (larger is nearer; the cosine with a zero vector is 0),
    "dot" (inner product, larger is nearer) or "euclidean" (distance, smaller is nearer).

    Returns (indices (k,) or (m, k) int64, similarities or distances of that shape, float64).
    Raises ValueError for another metric, width, or a k outside 1…n.
    """
    x = as_points(vectors, "vectors")
    q = as_array(query, "query")
    single = q.ndim == 1
    q = as_points(q[None] if single else q, "query")  # (m, d)
    same_width(x, q, "vectors", "query")
    k = whole(k, "k", most=len(x))
    one_of(metric, "metric", ("cosine", "dot", "euclidean"))
    if metric == "cosine":
        scores = unit_rows(q) @ unit_rows(x).T  # (m, n)
    elif metric == "dot":
        scores = q @ x.T
    else:
        scores = torch.cdist(q, x, compute_mode="donot_use_mm_for_euclid_dist")
    best = scores.topk(k, dim=1, largest=metric != "euclidean")
    return (best.indices[0], best.values[0]) if single else (best.indices, best.values)


def similarity_spearman(vectors, vocabulary, pairs):
    """Spearman's rank correlation between the cosines of word vectors and people's scores.

    vectors (V, d), row i is the vector of vocabulary.words[i]; pairs: (word, word, score), as of
    data.word_similarity. Pairs with a word that the vocabulary lacks are left out and counted.

    Returns Score(value in [-1, 1], used). Raises ValueError where fewer than three pairs are left,
    where all their cosines or all their scores are equal (ranks need an order), or where the sizes
    do not fit.
    """
    x = _word_vectors(vectors, vocabulary)
    known = [(a, b, s) for a, b, s in pairs if a in vocabulary.index and b in vocabulary.index]
    if len(known) < 3:
        raise refusal("pairs", "at least 3 whose words are both known", len(known))
    first = vocabulary.encode([a for a, _, _ in known])
    second = vocabulary.encode([b for _, b, _ in known])
    cosines = (unit_rows(x[first]) * unit_rows(x[second])).sum(1)  # (pairs,)
    scores = as_array([s for *_, s in known], "the scores of pairs")
    for name, values in (("vectors", cosines), ("pairs", scores)):
        if (values == values[0]).all():
            raise refusal(name, "values that can be ranked", f"{values[0]:g} for all pairs")
    return Score(float(spearmanr(cosines, scores).statistic), len(known))


def analogy_accuracy(vectors, vocabulary, questions, block=512):
    """Share of the questions "a is to b as c is to d" that b - a + c answers with d (3CosAdd).

    The vectors are brought to length 1 first, and the three words of the question are no answers,
    as in Mikolov et al. 2013. questions: (a, b, c, d); those with an unknown word are left out.

    Returns Score(value in [0, 1], used). Raises ValueError where no question is left.
    """
    x = unit_rows(_word_vectors(vectors, vocabulary)).float()
    questions = [tuple(q) for q in questions]
    if odd := [q for q in questions if len(q) != 4]:
        raise refusal("questions", "four words each", f"{len(odd[0])}: {odd[0]}")
    known = [q for q in questions if all(word in vocabulary.index for word in q)]
    if not known:
        raise refusal("questions", "one whose four words are all known", "none")
    ids = vocabulary.encode([word for q in known for word in q]).view(-1, 4)  # (m, 4)
    right = 0
    for part in ids.split(block):
        a, b, c, d = part.T
        scores = (x[b] - x[a] + x[c]) @ x.T  # (block, V)
        scores.scatter_(1, part[:, :3], -torch.inf)
        right += (scores.argmax(1) == d).sum().item()
    return Score(right / len(ids), len(ids))


def unit_rows(x):
    """Rows of length 1; rows of zeros stay zero."""
    return x / x.norm(dim=1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)


def _word_vectors(vectors, vocabulary):
    x = as_points(vectors, "vectors")
    if len(x) != len(vocabulary):
        raise refusal("vectors", f"a row for each of the {len(vocabulary)} words", len(x))
    return x
