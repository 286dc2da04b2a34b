"""Exercises of notebook 05_word_embeddings: from counting pairs to thinning out the text."""

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.structure import word_embeddings

NOTEBOOK = "05_word_embeddings"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _padded(blocks):
    """The last row ends early."""
    blocks[-1, -3:] = -1
    return blocks


def texts_and_window(seed):
    g = _generator(seed)
    return [
        (_padded(torch.randint(size, (n, length), generator=g)), size, window)
        for n, length, size, window in ((3, 9, 5, 3), (4, 12, 7, 2), (5, 20, 9, 4))
    ]


def _loop(blocks, size, window, first=1, both=True, padding=False):
    """Counts by a loop over places and distances."""
    M = torch.zeros(size, size)
    for text in blocks.tolist():
        text = text if padding else [word for word in text if word >= 0]
        for place, word in enumerate(text):
            for other in text[place + first : place + window + 1]:
                M[word, other] += 1  # -1 counts as the last word
                M[other, word] += both
    return M


exercise(
    word_embeddings.window_counts,
    cases=texts_and_window,
    mistakes={
        "one direction": (
            lambda blocks, size, window, weighting="flat": _loop(blocks, size, window, both=False),
            "You counted only the words that come later. Each pair counts in both directions, so "
            "M is symmetric: M[i, j] = M[j, i].",
        ),
        "across texts": (
            lambda blocks, size, window, weighting="flat": _loop(blocks.view(1, -1), size, window),
            "You joined the texts first, so the end of one meets the beginning of the next. Count "
            "in each row on its own.",
        ),
        "padding counted": (
            lambda blocks, size, window, weighting="flat": _loop(
                blocks, size, window, padding=True
            ),
            "You counted the padding: -1 as an index is the last word. Leave out pairs with a -1.",
        ),
        "a step too short": (
            lambda blocks, size, window, weighting="flat": _loop(blocks, size, window - 1),
            "Your window is one step too short: words exactly `window` apart count too. "
            "range(1, window) stops before its end.",
        ),
        "the word with itself": (
            lambda blocks, size, window, weighting="flat": _loop(blocks, size, window, first=0),
            "You counted distance 0 too: a word at one place is no neighbour of itself.",
        ),
        "seen or not": (
            lambda blocks, size, window, weighting="flat": (
                _loop(blocks, size, window) > 0
            ).float(),
            "You wrote 1 for each pair that occurs. M should say how often. Note that "
            "M[i, j] += 1 on tensors of indices adds each cell once: use index_put_ with "
            "accumulate=True, or a loop.",
        ),
    },
    hints=[
        "Take one distance o at a time: blocks[:, :-o] are the words, blocks[:, o:] those o later.",
        "Keep the pairs in which both are >= 0. M.index_put_((first, second), torch.ones(n), "
        "accumulate=True) adds them all.",
        "At the end add the other direction: M + M.T. The default, every pair counts 1, is enough "
        "for the check.",
    ],
)


def count_tables(seed):
    g = _generator(seed)
    cases = []
    for words, contexts in ((3, 4), (5, 7), (8, 6)):
        M = torch.randint(0, 6, (words, contexts), generator=g).float()
        M += torch.eye(words, contexts) + (torch.arange(words) > 3)[:, None]  # no empty row
        M[:, -1] += 1  # nor column
        M[0, 1] = 0
        cases.append((M,))
    return cases


def _ratio(M):
    P = M / M.sum()
    return P / (P.sum(1, keepdim=True) * P.sum(0))


exercise(
    word_embeddings.pmi,
    cases=count_tables,
    mistakes={
        "ratio": (
            lambda M, power=1.0: _ratio(M),
            "You returned the ratio p(i,j) / (p(i) p(j)): take its logarithm.",
        ),
        "bits": (
            lambda M, power=1.0: _ratio(M).log2(),
            "You took the logarithm to base 2: nats, the natural logarithm, are asked.",
        ),
        "counts not divided": (
            lambda M, power=1.0: (M / (M.sum(1, keepdim=True) * M.sum(0))).log(),
            "You used counts where probabilities belong: divide M by the sum of all of it first. "
            "Each entry is off by the logarithm of that sum.",
        ),
        "only one marginal": (
            lambda M, power=1.0: (M / M.sum(1, keepdim=True)).log(),
            "You divided by p(i) only: that is log p(j | i). Divide by p(j) as well.",
        ),
        "positive part": (
            lambda M, power=1.0: _ratio(M).log().clamp(min=0),
            "You cut off what is negative: that is PPMI. Here -inf stays where M is 0.",
        ),
    },
    hints=[
        "First turn counts into probabilities that sum to one over all cells. (The tables of the "
        "check have as many columns as there are contexts, which need not be the words.)",
        "p(i) is the sum of row i, p(j) the sum of column j: P.sum(1, keepdim=True) * P.sum(0) is "
        "the table of all products.",
        "The power is 1 here. log(0) = -inf is what is wanted for pairs never seen.",
    ],
)


def scores(seed):
    g = _generator(seed)
    return [
        (2 * torch.randn(n, generator=g), 2 * torch.randn(n, k, generator=g))
        for n, k in ((3, 5), (7, 4), (6, 10))
    ]


exercise(
    word_embeddings.negative_sampling_loss,
    cases=scores,
    mistakes={
        "mean over the negatives": (
            lambda positive, negative: (
                F.softplus(-positive) + F.softplus(negative).mean(-1)
            ).mean(),
            "You averaged over the K negatives: sum over them, average over the pairs.",
        ),
        "sum over the pairs": (
            lambda positive, negative: F.softplus(-positive).sum() + F.softplus(negative).sum(),
            "You summed over the pairs, so the loss grows with the batch: average over them.",
        ),
        "negatives as positives": (
            lambda positive, negative: (
                F.softplus(-positive) + F.softplus(-negative).sum(-1)
            ).mean(),
            "You asked for large scores of the made-up pairs too. Theirs should be small: "
            "log sigmoid(-s).",
        ),
        "negatives left out": (
            lambda positive, negative: F.softplus(-positive).mean(),
            "You left the made-up pairs out. Without them the best answer is an infinite score "
            "for everything.",
        ),
        "sign": (
            lambda positive, negative: (
                F.logsigmoid(positive) + F.logsigmoid(-negative).sum(-1)
            ).mean(),
            "You returned the log likelihood, which is to be made large: the loss is minus that.",
        ),
        "no logarithm": (
            lambda positive, negative: (
                -(torch.sigmoid(positive) + torch.sigmoid(-negative).sum(-1)).mean()
            ),
            "You summed the probabilities themselves: take the logarithm of each first.",
        ),
    },
    hints=[
        "The probability that a pair is real is sigmoid(s), that it is made up is sigmoid(-s).",
        "-log sigmoid(s) = softplus(-s), and F.softplus does not overflow where log(sigmoid) does.",
        "Sum the negatives over the last dimension, add the positive, then take the mean.",
    ],
    grad=True,
)


def scores_and_counts(seed):
    g = _generator(seed)
    return [
        (torch.randn(n, generator=g), torch.rand(n, generator=g) * most * 2 + 0.1, most)
        for n, most in ((5, 10.0), (8, 3.0), (13, 40.0))
    ]


def _glove(score, count, most, alpha=0.75, limit=True, log=True, square=True):
    weight = (count / most) ** alpha
    weight = weight.clamp(max=1) if limit else weight
    error = score - (count.log() if log else count)
    return (weight * (error.square() if square else error.abs())).mean()


exercise(
    word_embeddings.glove_loss,
    cases=scores_and_counts,
    mistakes={
        "no weight": (
            lambda score, count, most=100.0, alpha=0.75: (score - count.log()).square().mean(),
            "You left out the weight f(x): a pair seen once would count as much as one seen a "
            "thousand times.",
        ),
        "weight without limit": (
            lambda score, count, most=100.0, alpha=0.75: _glove(
                score, count, most, alpha, limit=False
            ),
            "Your weight goes on growing beyond `most`: it is 1 from there on.",
        ),
        "the count itself": (
            lambda score, count, most=100.0, alpha=0.75: _glove(
                score, count, most, alpha, log=False
            ),
            "You compared the score with the count: compare it with the logarithm of the count.",
        ),
        "straight weight": (
            lambda score, count, most=100.0, alpha=0.75: _glove(score, count, most, 1.0),
            "Your weight is x / most: raise it to the power alpha.",
        ),
        "weight inside the square": (
            lambda score, count, most=100.0, alpha=0.75: (
                ((count / most).clamp(max=1) ** alpha * (score - count.log())).square().mean()
            ),
            "You squared the weight too: the weight multiplies the squared error.",
        ),
        "sum": (
            lambda score, count, most=100.0, alpha=0.75: (
                _glove(score, count, most, alpha) * len(score)
            ),
            "You summed over the cells: here the loss is their mean.",
        ),
    },
    hints=[
        "Three parts: an error, score - log x; its square; a weight that multiplies it.",
        "The weight: (count / most).clamp(max=1) ** alpha.",
    ],
    grad=["score"],
)


def word_counts(seed):
    g = _generator(seed)
    return [
        ((10 ** (4 * torch.rand(n, generator=g))).long() + 1, sample)
        for n, sample in ((3, 0.1), (6, 1e-2), (9, 1e-3))
    ]


exercise(
    word_embeddings.keep_probability,
    cases=word_counts,
    mistakes={
        "probability to drop": (
            lambda counts, sample=1e-3: (
                1
                - ((sample * counts.sum() / counts) ** 0.5 + sample * counts.sum() / counts).clamp(
                    max=1
                )
            ),
            "You returned the probability to leave a word out: one minus it is asked.",
        ),
        "counts for frequencies": (
            lambda counts, sample=1e-3: ((sample / counts) ** 0.5 + sample / counts).clamp(max=1),
            "You divided by the counts: f is a frequency, counts / counts.sum().",
        ),
        "the paper's formula": (
            lambda counts, sample=1e-3: (sample * counts.sum() / counts).sqrt().clamp(max=1),
            "You wrote sqrt(t/f), the formula of the paper's text. The program that came with it, "
            "and gensim, add t/f.",
        ),
        "no root": (
            lambda counts, sample=1e-3: (sample * counts.sum() / counts).clamp(max=1),
            "You wrote t/f without the square root of it.",
        ),
        "above one": (
            lambda counts, sample=1e-3: (
                (sample * counts.sum() / counts).sqrt() + sample * counts.sum() / counts
            ),
            "Rare words come out above 1, which is no probability: cut off at 1.",
        ),
    },
    hints=[
        "First the frequencies f = counts / counts.sum(), then the ratio t / f.",
        "(ratio.sqrt() + ratio).clamp(max=1)",
    ],
)
