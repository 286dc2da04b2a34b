"""Exercises of 05_word_embeddings: mistakes named, wrong answers refused, right ones accepted."""

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("05_word_embeddings")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "window_counts", "pmi", "negative_sampling_loss", "glove_loss", "keep_probability",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 4


def texts_of(blocks):
    return [row[row >= 0] for row in blocks]


def one_hot_counts(blocks, size, window):
    """Counts as a product of matrices: one-hot words, and a band of who sees whom."""
    M = torch.zeros(size, size)
    for text in texts_of(blocks):
        words, place = F.one_hot(text, size).float(), torch.arange(len(text))
        distance = (place[:, None] - place).abs()
        M += words.T @ ((distance > 0) & (distance <= window)).float() @ words
    return M


def numpy_counts(blocks, size, window):
    M = np.zeros((size, size))
    for text in texts_of(blocks):
        ids = text.tolist()
        for i, a in enumerate(ids):
            for j in range(max(0, i - window), min(len(ids), i + window + 1)):
                M[a, ids[j]] += i != j
    return M


def sliding_windows(blocks, size, window):
    """Counts windows that hold both words: a pair at distance 1 counts several times."""
    M = torch.zeros(size, size)
    for text in texts_of(blocks):
        for start in range(len(text) - window):
            part = text[start : start + window + 1]
            for i in range(len(part)):
                for j in range(len(part)):
                    M[part[i], part[j]] += i != j
    return M


def loops_pmi(M):
    total, rows, columns = M.sum(), M.sum(1), M.sum(0)
    cells = [
        [torch.log(M[i, j] * total / (rows[i] * columns[j])) for j in range(M.shape[1])]
        for i in range(len(M))
    ]
    return torch.tensor(cells)


def loops_negative(positive, negative):
    total = 0
    for s, others in zip(positive, negative, strict=True):
        total = total - F.logsigmoid(s) - sum(F.logsigmoid(-t) for t in others)
    return total / len(positive)


def where_glove(score, count, most):
    weight = torch.where(count < most, (count / most) ** 0.75, torch.ones_like(count))
    return (weight * (count.log() - score) ** 2).sum() / len(count)


RIGHT = [
    ("window_counts", one_hot_counts),
    ("window_counts", numpy_counts),
    ("pmi", loops_pmi),
    ("pmi", lambda M: M.log() + M.sum().log() - M.sum(1).log()[:, None] - M.sum(0).log()),
    ("pmi", lambda M: (M.double() * M.sum() / torch.outer(M.sum(1), M.sum(0))).log()),
    ("negative_sampling_loss", loops_negative),
    ("negative_sampling_loss", lambda p, n:
        -torch.sigmoid(p).log().mean() - torch.sigmoid(-n).log().sum() / len(p)),
    ("negative_sampling_loss", lambda p, n:
        F.binary_cross_entropy_with_logits(p, torch.ones_like(p))
        + F.binary_cross_entropy_with_logits(n, torch.zeros_like(n)) * n.shape[1]),
    ("glove_loss", where_glove),
    ("glove_loss", lambda s, x, most: torch.dot(
        (torch.minimum(x, torch.full_like(x, most)) / most).pow(0.75),
        (s - x.log()).pow(2)) / len(s)),
    ("keep_probability", lambda counts, sample: torch.tensor([
        min(1.0, (sample / f) ** 0.5 + sample / f) for f in (counts / counts.sum()).tolist()])),
    ("keep_probability", lambda counts, sample: torch.minimum(
        torch.ones(len(counts)),
        ((counts / counts.sum() / sample) ** 0.5 + 1) * sample / (counts / counts.sum()))),
]  # fmt: skip


WRONG = [
    ("window_counts", sliding_windows),
    ("window_counts", lambda blocks, size, window: one_hot_counts(blocks, size, window) / 2),
    ("window_counts", lambda blocks, size, window: one_hot_counts(blocks[:1], size, window)),
    ("window_counts", lambda blocks, size, window: one_hot_counts(blocks, size, window + 1)),
    ("window_counts", lambda blocks, size, window: one_hot_counts(blocks, size, window).triu()),
    ("pmi", lambda M: loops_pmi(M).nan_to_num(neginf=0.0)),
    ("pmi", lambda M: loops_pmi(M + 1)),
    ("pmi", lambda M: -loops_pmi(M)),
    ("pmi", lambda M: M.log()),
    ("pmi", lambda M: loops_pmi(M) * M / M.sum()),
    ("negative_sampling_loss", lambda p, n: F.softplus(-p).mean() + F.softplus(n).mean(0).mean()),
    ("negative_sampling_loss", lambda p, n: loops_negative(-p, -n)),
    ("negative_sampling_loss", lambda p, n: loops_negative(p, n.detach())),
    ("negative_sampling_loss", lambda p, n: F.cross_entropy(
        torch.cat([p[:, None], n], 1), torch.zeros(len(p), dtype=torch.long))),
    ("negative_sampling_loss", lambda p, n: F.relu(1 - p).mean() + F.relu(1 + n).sum(1).mean()),
    ("glove_loss", lambda s, x, most: where_glove(s, x + 1, most)),
    ("glove_loss", lambda s, x, most: where_glove(s.detach(), x, most)),
    ("glove_loss", lambda s, x, most: where_glove(s, x, most) / 2),
    ("glove_loss", lambda s, x, most: where_glove(-s, x, most)),
    ("keep_probability", lambda counts, sample: torch.ones(len(counts))),
    ("keep_probability", lambda counts, sample: (
        (sample * counts / counts.sum()).sqrt() + sample * counts / counts.sum())),
    ("keep_probability", lambda counts, sample: (counts / counts.sum()) ** 0.75),
]  # fmt: skip
