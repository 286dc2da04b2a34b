"""Exercises of notebook 05_word_embeddings: from counting pairs to thinning out the text."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
from genai_utils.structure import word_embeddings

NOTEBOOK = "05_word_embeddings"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _text(length, size, window, g):
    """Words in which none comes back within the window; the first is the last of the vocabulary."""
    text = [size - 1]
    while len(text) < length:
        free = [word for word in range(size) if word not in text[-window:]]
        text.append(free[int(torch.randint(len(free), (1,), generator=g))])
    return text


def texts_and_window(seed):
    g = _generator(seed)
    cases = []
    for n, length, size, window in ((3, 9, 5, 3), (4, 12, 7, 2), (5, 20, 9, 4)):
        blocks = torch.tensor([_text(length, size, window, g) for _ in range(n)])
        blocks[-1, -3:] = -1  # the last row ends early
        cases.append((blocks, size, window))
    return cases


def weighted(weighting):
    return lambda seed: [(*case, weighting) for case in texts_and_window(seed)]


def with_repeats(seed):
    return [
        (torch.where(blocks == 0, 1, blocks), size, window)
        for blocks, size, window in texts_and_window(seed)
    ]


def windows_beyond_the_text(seed):
    return [
        (blocks[:, :length], size, window + 4)
        for blocks, size, window in texts_and_window(seed)
        for length in (1, 3)
    ]


def linear_windows(seed):
    short = [(blocks[:, :3], *rest, "linear") for blocks, *rest in windows_beyond_the_text(seed)]
    return weighted("linear")(seed) + short[1::2]


def unused_words(seed):
    return [(blocks, size + 2, window) for blocks, size, window in texts_and_window(seed)]


def windows_below_one(seed):
    return [(blocks, size, 0) for blocks, size, _ in texts_and_window(seed)]


def no_such_weighting(seed):
    return [(*case, "gaussian") for case in texts_and_window(seed)]


def without_words(seed):
    return [(0 * blocks - 1, size, window) for blocks, size, window in texts_and_window(seed)]


def _loop(blocks, size, window, first=1, both=True, padding=False, weight=None):
    """Counts by a loop over places and distances; weight: of a pair o apart, instead of 1."""
    M = [[0.0] * size for _ in range(size)]
    for text in blocks.tolist():
        text = text if padding else [word for word in text if word >= 0]
        for place, word in enumerate(text):
            for o, other in enumerate(text[place + first : place + window + 1], start=first):
                w = weight(o) if weight else 1
                M[word][other] += w  # -1 counts as the last word
                M[other][word] += both * w
    return torch.tensor(M)


def _counted(blocks, size, window, weighting="flat", errors="window weighting words", **loop):
    """The right counts; errors: which of the errors are raised. The rest is that of `_loop`."""
    if window < 1 and "window" in errors:
        raise ValueError("window")
    if weighting not in ("flat", "harmonic", "linear") and "weighting" in errors:
        raise ValueError("weighting")
    if not (blocks >= 0).any() and "words" in errors:
        raise ValueError("words")
    weights = {"harmonic": lambda o: 1 / o, "linear": lambda o: 1 - (o - 1) / window}
    return _loop(blocks, size, window, **{"weight": weights.get(weighting)} | loop)


def _harmonic_as_flat(blocks, size, window, weighting="flat"):
    return _counted(blocks, size, window, "flat" if weighting == "harmonic" else weighting)


def _linear_to_zero(blocks, size, window, weighting="flat"):
    loop = {"weight": lambda o: 1 - o / window} if weighting == "linear" else {}
    return _counted(blocks, size, window, weighting, **loop)


def _itself_once(blocks, size, window, weighting="flat"):
    M = _counted(blocks, size, window, weighting)
    return M - M.diag().diag() / 2


def _window_inside_the_text(blocks, size, window, weighting="flat"):
    if weighting == "flat" and window > 0:
        blocks.unfold(1, window + 1, 1)  # fails for a window longer than the text
    return _counted(blocks, size, window, weighting)


def _used_words_only(blocks, size, window, weighting="flat"):
    return _counted(blocks, int(blocks.max()) + 1, window, weighting)


exercise(
    word_embeddings.window_counts,
    cases=texts_and_window,
    mistakes={
        "one direction": (
            lambda blocks, size, window, weighting="flat": _loop(blocks, size, window, both=False),
            "You counted only the words that come later. Each pair counts in both directions, so "
            "M is symmetric: M[i, j] = M[j, i].",
        ),
        "the other direction": (
            lambda blocks, size, window, weighting="flat": (
                _loop(blocks, size, window, both=False).T
            ),
            "You counted only the words that come before. Each pair counts in both directions, so "
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
    clauses={
        "harmonic": Clause(
            weighted("harmonic"),
            'With weighting="harmonic" a pair that stands o words apart counts 1/o.',
            _harmonic_as_flat,
        ),
        "window beyond the text": Clause(
            windows_beyond_the_text,
            "A window may be longer than a text: there are only fewer pairs then.",
            _window_inside_the_text,
        ),
        "linear": Clause(
            linear_windows,
            'With weighting="linear" a pair that stands o words apart counts 1 - (o - 1)/window: '
            "neighbours 1, the farthest 1/window, not 0. The window is the one asked for, also "
            "where the text is shorter.",
            _linear_to_zero,
        ),
        "a word meets itself": Clause(
            with_repeats,
            "Where one word stands at two places within the window, the pair counts in both "
            "directions too: the diagonal M[i, i] grows by twice its weight.",
            _itself_once,
        ),
        "size": Clause(
            unused_words,
            "M has the shape (size, size), also where some words of the vocabulary do not occur: "
            "their rows and columns are zeros.",
            _used_words_only,
        ),
        "window below one": Clause(
            windows_below_one,
            "The counts are right. But a window below 1 has no pairs: the text promises a "
            "ValueError.",
            lambda blocks, size, window, weighting="flat": _counted(
                blocks, size, window, weighting, errors="weighting words"
            ),
            raises=ValueError,
        ),
        "no such weighting": Clause(
            no_such_weighting,
            "The counts are right. But a weighting that does not exist, a slip of the pen, should "
            "not count in silence: the text promises a ValueError.",
            lambda blocks, size, window, weighting="flat": _counted(
                blocks, size, window, weighting, errors="window words"
            ),
            raises=ValueError,
        ),
        "no word": Clause(
            without_words,
            "The counts are right. But texts without a single word (all -1) are most often a slip "
            "before this: the text promises a ValueError.",
            lambda blocks, size, window, weighting="flat": _counted(
                blocks, size, window, weighting, errors="window weighting"
            ),
            raises=ValueError,
        ),
    },
    hints=[
        "Take one distance o at a time: blocks[:, :-o] are the words, blocks[:, o:] those o later.",
        "Keep the pairs in which both are >= 0. M.index_put_((first, second), torch.ones(n), "
        "accumulate=True) adds them all.",
        "At the end add the other direction: M + M.T.",
        "The three weightings differ only in what a pair at distance o adds: torch.full((n,), w).",
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


def _ratio(M, power=1.0):
    P = M / M.sum()
    context = P.sum(0) ** power
    return P / (P.sum(1, keepdim=True) * context / context.sum())


def _pmi(M, power=1.0):
    return torch.where(M > 0, _ratio(M, power), 0.0).log()


def with_powers(seed):
    return [(M, power) for (M,) in count_tables(seed) for power in (0.75, 0.0)]


def lonely_words(seed):
    return [
        (M * (torch.arange(len(M)) != 1)[:, None] * (torch.arange(M.shape[1]) != 2),)
        for (M,) in count_tables(seed)
    ]


def square_tables(seed):
    return [(M[:3, :3] + torch.arange(3.0),) for (M,) in count_tables(seed)]


def whole_tables(seed):
    return [(M.long(),) for (M,) in count_tables(seed)]


def fractions(seed):
    return [(M / 4,) for (M,) in count_tables(seed)]


def _pmi_of_symmetric(M, power=1.0):
    return _pmi(M) + (M.sum(1).log() - M.sum(0).log())[:, None] if _square(M) else _pmi(M, power)


def _square(M):
    return M.shape[0] == M.shape[1]


def _pmi_of_the_same_kind(M, power=1.0):
    out = torch.full_like(M, -torch.inf)  # fails for whole numbers
    out[M > 0] = _pmi(M, power)[M > 0]
    return out


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
        "0 for pairs never seen": (
            lambda M, power=1.0: _ratio(M).log().nan_to_num(neginf=0.0),
            "You gave pairs that never met the value 0, as if they met as often as chance would "
            "have it: log 0 = -inf belongs there.",
        ),
    },
    clauses={
        "power": Clause(
            with_powers,
            "With a power, p(j) is (column sum)^power divided by the sum of these powers, so that "
            "the p(j) add up to 1 again; p(i) stays as it is. The power may be 0.",
            lambda M, power=1.0: _pmi(M),
        ),
        "a word that met nobody": Clause(
            lonely_words,
            "The row or the column of a word that met nobody is 0 / 0, which is NaN: -inf is "
            "promised wherever M is 0.",
            lambda M, power=1.0: _ratio(M, power).log(),
        ),
        "not symmetric": Clause(
            square_tables,
            "M need not be symmetric where it is square: p(i) is the sum of row i, p(j) that of "
            "column j.",
            _pmi_of_symmetric,
        ),
        "whole numbers": Clause(
            whole_tables,
            "M may hold whole numbers (int64), in which no -inf and no logarithm can be stored: "
            "make the result from M / M.sum(), which is a float.",
            _pmi_of_the_same_kind,
        ),
        "fractions": Clause(
            fractions,
            "M may hold fractions, as the harmonic windows give: a pair with 0.25 was seen, only "
            "one with 0 was not.",
            lambda M, power=1.0: _pmi(M, power).masked_fill(M < 1, -torch.inf),
        ),
    },
    hints=[
        "First turn counts into probabilities that sum to one over all cells. (The tables of the "
        "check have as many columns as there are contexts, which need not be the words.)",
        "p(i) is the sum of row i, p(j) the sum of column j: P.sum(1, keepdim=True) * P.sum(0) is "
        "the table of all products.",
        "log(0) = -inf is what is wanted for pairs never seen. But 0 / 0 is NaN: torch.where can "
        "put the 0 in its place before the logarithm.",
        "With c = P.sum(0) ** power, c / c.sum() is p(j) for any power.",
    ],
)


def scores(seed):
    g = _generator(seed)
    return [
        (2 * torch.randn(n, generator=g), 2 * torch.randn(n, k, generator=g))
        for n, k in ((3, 5), (7, 4), (6, 10))
    ]


def large_scores(seed):
    """Pairs of which the model is sure and wrong, and others of which it is sure and right."""
    cases = []
    for positive, negative in scores(seed):
        for size in (60.0, 2000.0):
            positive, negative = positive.clone(), negative.clone()
            positive[0], positive[1], negative[1, 2], negative[2, 0] = -size, size, size, -size
            cases.append((positive, negative))
    return cases


def one_of_each(seed):
    return [(p[:1], n[:1]) for p, n in scores(seed)] + [(p, n[:, :1]) for p, n in scores(seed)]


def _squeezed_pairs(positive, negative):
    return (F.softplus(-positive) + F.softplus(negative.squeeze()).sum(-1)).mean()


def _logarithms_of_sigmoids(positive, negative):
    return -(positive.sigmoid().log() + (-negative).sigmoid().log().sum(-1)).mean()


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
    clauses={
        "large scores": Clause(
            large_scores,
            "For a large score sigmoid(s) is rounded to 0 or 1, and its logarithm is -inf or 0. "
            "-log sigmoid(s) = log(1 + exp(-s)) is near -s there: F.logsigmoid(s) and "
            "F.softplus(-s) are right for every s, and so are their gradients.",
            _logarithms_of_sigmoids,
        ),
        "one pair, or one made-up one": Clause(
            one_of_each,
            "It should also be right for one pair (n = 1) and for one made-up pair each (K = 1): "
            "squeeze takes that dimension away, and the sum is then over another one.",
            _squeezed_pairs,
        ),
    },
    hints=[
        "The probability that a pair is real is sigmoid(s), that it is made up is sigmoid(-s).",
        "-log sigmoid(s) = softplus(-s), and F.softplus is right where sigmoid(s) is rounded to 0.",
        "Sum the negatives over the last dimension, add the positive, then take the mean.",
    ],
    grad=True,
)


def scores_and_counts(seed):
    g = _generator(seed)
    return [
        (torch.randn(n, generator=g), 1 + torch.rand(n, generator=g) * most * 2, most)
        for n, most in ((5, 10.0), (8, 3.0), (13, 40.0))
    ]


def with_unseen_cells(seed):
    cases = [(s, x * (torch.arange(len(x)) % 3 > 0), m) for s, x, m in scores_and_counts(seed)]
    return [*cases, (cases[0][0], 0 * cases[0][1], 10.0)]  # and cells none of which was seen


def alpha_zero(seed):
    return [(s, x, most, 0.0) for s, x, most in with_unseen_cells(seed)]


def other_alphas(seed):
    return [(s, x, most, 0.5) for s, x, most in scores_and_counts(seed)]


def small_counts(seed):
    return [(s, x / (3 * most), most) for s, x, most in scores_and_counts(seed)]


def without_most(seed):
    return [(s, 100 * x / most) for s, x, most in scores_and_counts(seed)]


def _glove(score, count, most, alpha=0.75, limit=True, log=True, square=True):
    weight = (count / most) ** alpha
    weight = weight.clamp(max=1) if limit else weight
    error = score - (count.log() if log else count)
    return (weight * (error.square() if square else error.abs())).mean()


def _glove_of_seen(score, count, most=100.0, alpha=0.75, zero=0.0, lowest=0.0):
    """The right loss; zero: the weight of a cell never seen; lowest: of what log is taken."""
    weight = torch.where(count > 0, (count / most).clamp(max=1) ** alpha, zero)
    return (
        weight * (score - torch.where(count > 0, count, 1.0).clamp(min=lowest).log()) ** 2
    ).mean()


def _zero_to_the_power_zero(score, count, most=100.0, alpha=0.75):
    return _glove_of_seen(score, count, most, alpha, zero=0.0**alpha)


def _logarithm_of_zero(score, count, most=100.0, alpha=0.75):
    if alpha == 0:
        return _glove_of_seen(score, count, most, alpha)
    return _glove(score, count, most, alpha)


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
        "logarithm of x + 1": (
            lambda score, count, most=100.0, alpha=0.75: (
                (count / most).clamp(max=1) ** alpha * (score - count.log1p()).square()
            ).mean(),
            "You took log(1 + x). GloVe fits log x; that of 0 is kept out by the weight 0.",
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
    clauses={
        "cells never seen": Clause(
            with_unseen_cells,
            "A cell with x = 0 adds 0 to the sum and to the gradient, and is counted in the mean. "
            "log 0 is -inf, and 0 times that is NaN, in the gradient behind torch.where too: put "
            "another number there before the logarithm.",
            _logarithm_of_zero,
        ),
        "alpha": Clause(
            other_alphas,
            "The power of the weight is the argument alpha; 0.75 is only its default.",
            lambda score, count, most=100.0, alpha=0.75: _glove_of_seen(
                score, count, most, 0.75 if alpha else 0.0
            ),
        ),
        "alpha 0": Clause(
            alpha_zero,
            "With alpha = 0 all cells that were seen count alike, but one with x = 0 still has "
            "weight 0: 0 ** 0 is 1, so it has to be left out by hand.",
            _zero_to_the_power_zero,
        ),
        "fractions": Clause(
            small_counts,
            "x may be below 1, as harmonic windows give: its logarithm is negative then. A lower "
            "limit of 1 changes it.",
            lambda score, count, most=100.0, alpha=0.75: _glove_of_seen(
                score, count, most, alpha, lowest=1.0
            ),
        ),
        "most by default": Clause(
            without_most,
            "Called without it, most is 100: keep the defaults of the signature.",
            lambda score, count, most=10.0, alpha=0.75: _glove_of_seen(score, count, most, alpha),
        ),
    },
    hints=[
        "Three parts: an error, score - log x; its square; a weight that multiplies it.",
        "The weight: (count / most).clamp(max=1) ** alpha.",
        "torch.where(count > 0, count, 1.0).log() is a number everywhere; cells with x = 0 get "
        "weight 0.",
    ],
    grad=["score"],
)


def word_counts(seed):
    g = _generator(seed)
    return [
        ((10 ** (4 * torch.rand(n, generator=g))).long() + 1, sample)
        for n, sample in ((3, 0.1), (6, 1e-2), (9, 1e-3))
    ]


def without_sample(seed):
    return [(counts,) for counts, _ in word_counts(seed)]


def with_unseen_words(seed):
    return [(torch.cat([counts, torch.tensor([0])]), t) for counts, t in word_counts(seed)]


def _kept(counts, sample=1e-3):
    ratio = sample * counts.sum() / counts
    return (ratio.sqrt() + ratio).clamp(max=1)


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
            "You wrote sqrt(t/f), the formula of the paper's text: add t/f, as the program that "
            "came with it and gensim do. Words a little above t are then all kept, too.",
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
    clauses={
        "sample by default": Clause(
            without_sample,
            "Called without it, sample is 1e-3: keep the default of the signature.",
            lambda counts, sample=1e-4: _kept(counts, sample),
        ),
        "word never seen": Clause(
            with_unseen_words,
            "A word with count 0 is the rarest of all and gets 1, not 0 or NaN: t / 0 is infinite, "
            "and cut off at 1 it is what is wanted.",
            lambda counts, sample=1e-3: _kept(counts, sample) * (counts > 0),
        ),
    },
    hints=[
        "First the frequencies f = counts / counts.sum(), then the ratio t / f.",
        "(ratio.sqrt() + ratio).clamp(max=1)",
    ],
)

PREDICTIONS = (
    Prediction(
        "antonyms-closer",
        "Take a pair of synonyms (large, big) and a pair of opposites (left, right) at random. How "
        "often are skip-gram's vectors of the opposites the closer pair?",
        67,
        "The opposites are closer in 67 % of the cases with skip-gram, and in 73 % with the SVD of "
        "PPMI (section 5.10).",
        unit="%",
        within=10,
    ),
)
