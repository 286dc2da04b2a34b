"""Exercises of notebook 06_doc2vec: PV-DBOW's loss, PV-DM's two forms, a document never seen."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
from genai_utils.structure import doc2vec

NOTEBOOK = "06_doc2vec"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def documents_words_negatives(seed):
    g = _generator(seed)
    cases = []
    for B, K, dim in ((3, 4, 5), (7, 5, 3), (6, 3, 8)):
        d, y = torch.randn(B, dim, generator=g), torch.randn(B, dim, generator=g)
        cases.append((d, y, torch.randn(B, K, dim, generator=g)))
    return cases


def large_scores(seed):
    """Words and negatives of which the model is sure: wrong in some, right in others."""
    cases = []
    for size in (60.0, 2000.0):
        for d, y, noise in documents_words_negatives(seed):
            y, noise, unit = y.clone(), noise.clone(), d / d.square().sum(1, keepdim=True)
            y[0], y[1] = -size * unit[0], size * unit[1]
            noise[1, 0], noise[2, 1] = size * unit[1], -size * unit[2]
            cases.append((d, y, noise))
    return cases


def one_word_or_negative(seed):
    cases = documents_words_negatives(seed)
    return [(d[:1], y[:1], z[:1]) for d, y, z in cases] + [(d, y, z[:, :1]) for d, y, z in cases]


def _logarithms_of_sigmoids(d, y, noise):
    positive, negative = _scores(d, y, noise)
    return -(positive.sigmoid().log() + (-negative).sigmoid().log().sum(1)).mean()


def _squeezed_scores(d, y, noise):
    positive, negative = _scores(d, y, noise)
    return (F.softplus(-positive) + F.softplus(negative.squeeze()).sum(-1)).mean()


def _scores(d, y, noise):
    return (d * y).sum(1), torch.einsum("bd,bkd->bk", d, noise)


def _one_sign(d, y, noise):
    positive, negative = _scores(d, y, noise)
    return (F.softplus(-positive) + F.softplus(-negative).sum(1)).mean()


def _mean_of_negatives(d, y, noise):
    positive, negative = _scores(d, y, noise)
    return (F.softplus(-positive) + F.softplus(negative).mean(1)).mean()


def _sum_over_words(d, y, noise):
    positive, negative = _scores(d, y, noise)
    return (F.softplus(-positive) + F.softplus(negative).sum(1)).sum()


def _no_negatives(d, y, noise):
    return F.softplus(-(d * y).sum(1)).mean()


def _word_against_noise(d, y, noise):
    positive = (d * y).sum(1)
    negative = torch.einsum("bd,bkd->bk", y, noise)
    return (F.softplus(-positive) + F.softplus(negative).sum(1)).mean()


exercise(
    doc2vec.pvdbow_loss,
    cases=documents_words_negatives,
    mistakes={
        "negatives with the sign of positives": (
            _one_sign,
            "You pull the negatives towards the document as well: their scores need the other "
            "sign, -log sigmoid(-s).",
        ),
        "mean over the negatives": (
            _mean_of_negatives,
            "You averaged over the K negatives: sum over them. The mean is over the words only.",
        ),
        "sum over the words": (
            _sum_over_words,
            "You summed over the words, so the loss grows with the batch: take their mean.",
        ),
        "no negatives": (
            _no_negatives,
            "You left out the negatives: without them every score simply grows.",
        ),
        "negatives scored by the word": (
            _word_against_noise,
            "You scored the negatives against the word y: they are scored against the document d.",
        ),
    },
    clauses={
        "large scores": Clause(
            large_scores,
            "For a large score sigmoid(s) is rounded to 0 or 1, and its logarithm is -inf or 0. "
            "F.logsigmoid(s) and F.softplus(-s) are right for every s, and so are their gradients.",
            _logarithms_of_sigmoids,
        ),
        "one word, or one negative": Clause(
            one_word_or_negative,
            "It should also be right for one word (B = 1) and for one negative each (K = 1): "
            "squeeze takes that dimension away, and the sum is then over another one.",
            _squeezed_scores,
        ),
    },
    hints=[
        "Two kinds of scores: one positive per word, shape (B,), and K negatives, shape (B, K).",
        "(d * y).sum(1) gives the first, torch.einsum('bd,bkd->bk', d, noise) the second.",
        "F.softplus(-s) is -log sigmoid(s), and F.softplus(s) is -log sigmoid(-s).",
    ],
    grad=True,
)


def gap_and_context(seed):
    """Each document has a word around; where there are fewer than C, the last are absent."""
    g = _generator(seed)
    cases = []
    for B, C, dim in ((3, 4, 5), (7, 6, 3), (5, 2, 4)):
        words = torch.randint(1, C + 1, (B,), generator=g)
        words[1], words[2] = 1, C  # one, and all
        d, x = torch.randn(B, dim, generator=g), torch.randn(B, C, dim, generator=g)
        cases.append((d, x, torch.arange(C) < words[:, None]))
    return cases


def no_word_around(seed):
    return [
        (d, x, present & (torch.arange(len(d)) != 1)[:, None])
        for d, x, present in gap_and_context(seed)
    ]


def absent_in_front(seed):
    return [(d, x, present.flip(1)) for d, x, present in gap_and_context(seed)]


def one_document_or_place(seed):
    cases = gap_and_context(seed)
    return [(d[:1], x[:1], present[:1]) for d, x, present in cases] + [
        (d, x[:, :1], present[:, :1]) for d, x, present in cases
    ]


def nan_where_absent(seed):
    return [
        (d, x.masked_fill(~present[:, :, None], torch.nan), present)
        for d, x, present in gap_and_context(seed)
    ]


def _hidden(d, x, present):
    return (d + _masked(x, present).sum(1)) / (1 + present.sum(1, keepdim=True))


def _hidden_by_lengths(d, x, present):
    words = present.sum(1)
    return torch.stack([(d[b] + x[b, : words[b]].sum(0)) / (1 + words[b]) for b in range(len(d))])


def _hidden_squeezed(d, x, present):
    return _hidden(d, x, present).squeeze(0)


exercise(
    doc2vec.pvdm_hidden,
    cases=gap_and_context,
    mistakes={
        "absent words counted": (
            lambda d, x, present: (d + (x * present[:, :, None]).sum(1)) / (1 + x.shape[1]),
            "You divided by 1 + C although some words are not there: count those that are present.",
        ),
        "absent words added": (
            lambda d, x, present: (d + x.sum(1)) / (1 + present.sum(1, keepdim=True)),
            "You added the vectors of words that are not there: multiply by the mask first.",
        ),
        "document not counted": (
            lambda d, x, present: (
                (d + (x * present[:, :, None]).sum(1)) / present.sum(1, keepdim=True).clamp(min=1)
            ),
            "You divided by the number of words: the document is one more vector in the mean.",
        ),
        "sum": (
            lambda d, x, present: d + (x * present[:, :, None]).sum(1),
            "You returned the sum: divide by how many vectors went into it.",
        ),
        "no document": (
            lambda d, x, present: (
                (x * present[:, :, None]).sum(1) / (1 + present.sum(1, keepdim=True))
            ),
            "You left out the document's vector: this would be CBOW.",
        ),
        "mean of two means": (
            lambda d, x, present: (
                (d + _masked(x, present).sum(1) / present.sum(1, keepdim=True).clamp(min=1)) / 2
            ),
            "You gave the document half of the weight: it is one vector of the mean like each of "
            "the words.",
        ),
    },
    clauses={
        "no word around": Clause(
            no_word_around,
            "Where no word is around, the mean is over the document's vector alone: h = d.",
            lambda d, x, present: (
                (d + _masked(x, present).sum(1)) / (1 + present.sum(1, keepdim=True).clamp(min=1))
            ),
        ),
        "absent in front": Clause(
            absent_in_front,
            "Absent words need not be the last ones: at the beginning of a text it is the first "
            "that are not there. Go by the mask.",
            _hidden_by_lengths,
        ),
        "one document, or one place": Clause(
            one_document_or_place,
            "The result has the shape (B, dim) also for one document (B = 1) and for one place "
            "(C = 1): squeeze takes that dimension away.",
            _hidden_squeezed,
        ),
    },
    hints=[
        "present[:, :, None] has shape (B, C, 1): multiplied with x it removes absent words.",
        "How many vectors go into the mean of row b? The document, and present[b].sum() words.",
    ],
    grad=["d", "x"],
)


def _masked(x, present):
    return x * present[:, :, None]


def _beside(d, x, present):
    return torch.cat([d, x.masked_fill(~present[:, :, None], 0).flatten(1)], dim=1)


def _packed(d, x, present):
    """The words that are there in front, the zeros behind them."""
    order = (~present).long().argsort(dim=1, stable=True)
    x = x.gather(1, order[:, :, None].expand_as(x))
    return _beside(d, x, present.gather(1, order))


exercise(
    doc2vec.pvdm_concatenated,
    cases=gap_and_context,
    mistakes={
        "document last": (
            lambda d, x, present: torch.cat([_masked(x, present).flatten(1), d], dim=1),
            "You put the document at the end: it comes first, as in the equation.",
        ),
        "absent words kept": (
            lambda d, x, present: torch.cat([d, x.flatten(1)], dim=1),
            "You kept the vectors of words that are not there: their places should hold zeros.",
        ),
        "order lost": (
            lambda d, x, present: torch.cat([d, _masked(x, present).sum(1)], dim=1),
            "You added up the words: each place must keep numbers of its own, or order is lost.",
        ),
        "places mixed": (
            lambda d, x, present: torch.cat(
                [d, _masked(x, present).transpose(1, 2).flatten(1)], dim=1
            ),
            "You put coordinate after coordinate: all numbers of the first place come first.",
        ),
    },
    clauses={
        "absent in front": Clause(
            absent_in_front,
            "An absent word leaves zeros at its own place; the words behind it do not move up, or "
            "a place would no longer have numbers of its own.",
            _packed,
        ),
        "no word around": Clause(
            no_word_around,
            "Where no word is around, the document's vector still stands in front, with zeros "
            "behind it.",
            lambda d, x, present: _beside(d * present.any(1, keepdim=True), x, present),
        ),
        "whatever x holds": Clause(
            nan_where_absent,
            "Where there is no word x may hold anything, and NaN * 0 is NaN: put the zeros there "
            "with masked_fill or torch.where.",
            lambda d, x, present: torch.cat([d, _masked(x, present).flatten(1)], dim=1),
        ),
    },
    hints=[
        "x.masked_fill(~present[:, :, None], 0.0) has zeros for absent words, whatever x held.",
        "(B, C, dim) becomes (B, C dim) by .flatten(1).",
        "torch.cat([...], dim=1) puts the document's (B, dim) in front.",
    ],
    grad=["d", "x"],
)


def one_document(seed):
    g = _generator(seed)
    cases = []
    for n, K, dim, lr in ((4, 2, 3, 0.5), (3, 5, 6, 0.1), (8, 3, 5, 1.0)):
        d, y = torch.randn(dim, generator=g), torch.randn(n, dim, generator=g)
        cases.append((d, y, torch.randn(n, K, dim, generator=g), lr))
    return cases


def _step(d, y, noise, lr, pull=True, push=True):
    up = (torch.sigmoid(-y @ d)[:, None] * y) if pull else torch.zeros_like(y)
    down = (torch.sigmoid(noise @ d)[:, :, None] * noise).sum(1) if push else 0
    return d + lr * (up - down).mean(0)


def large_inner_products(seed):
    cases = []
    for size in (60.0, 2000.0):
        for d, y, noise, lr in one_document(seed):
            y, noise, unit = y.clone(), noise.clone(), d / d.square().sum()
            y[0], y[1], noise[0, 0], noise[1, 1] = (
                -size * unit, size * unit, size * unit, -size * unit,
            )  # fmt: skip
            cases.append((d, y, noise, lr))
    return cases


def one_word_or_one_negative(seed):
    cases = one_document(seed)
    return [(d, y[:1], z[:1], lr) for d, y, z, lr in cases] + [
        (d, y, z[:, :1], lr) for d, y, z, lr in cases
    ]


def _step_by_exp(d, y, noise, lr):
    up, down = (y @ d).exp(), (noise @ d).exp()
    push = ((down / (1 + down))[:, :, None] * noise).sum(1)
    return d + lr * (y / (1 + up)[:, None] - push).mean(0)


def _step_squeezed(d, y, noise, lr):
    push = torch.sigmoid(noise @ d).squeeze()[..., None] * noise.squeeze()
    push = push.sum(-2) if push.dim() == 3 else push.sum(0)
    return d + lr * (torch.sigmoid(-y @ d)[:, None] * y - push).mean(0)


exercise(
    doc2vec.inference_step,
    cases=one_document,
    mistakes={
        "uphill": (
            lambda d, y, noise, lr: 2 * d - _step(d, y, noise, lr),
            "You walked up the loss: the document must move towards its words and away from the "
            "negatives.",
        ),
        "residual turned round": (
            lambda d, y, noise, lr: d + lr * (
                torch.sigmoid(y @ d)[:, None] * y
                - (torch.sigmoid(noise @ d)[:, :, None] * noise).sum(1)
            ).mean(0),
            "You weighted the words by sigmoid(s). A word that fits already should pull less: "
            "1 - sigmoid(s), which is sigmoid(-s).",
        ),
        "negatives ignored": (
            lambda d, y, noise, lr: _step(d, y, noise, lr, push=False),
            "You used the words only: the negatives push the vector away, each by sigmoid(s).",
        ),
        "summed": (
            lambda d, y, noise, lr: d + len(y) * (_step(d, y, noise, lr) - d),
            "You summed over the words, so a long document takes longer steps: take the mean.",
        ),
        "unweighted": (
            lambda d, y, noise, lr: d + lr * (y - noise.sum(1)).mean(0),
            "You left out the weights: the gradient of -log sigmoid(s) is -(1 - sigmoid(s)) y.",
        ),
        "mean over the negatives": (
            lambda d, y, noise, lr: d + lr * (
                torch.sigmoid(-y @ d)[:, None] * y
                - (torch.sigmoid(noise @ d)[:, :, None] * noise).mean(1)
            ).mean(0),
            "You averaged over the K negatives: sum over them. The mean is over the words only.",
        ),
        "the change alone": (
            lambda d, y, noise, lr: _step(d, y, noise, lr) - d,
            "You returned the change: the new vector is d plus that.",
        ),
    },
    clauses={
        "large scores": Clause(
            large_inner_products,
            "For a large score exp(s) is infinite, and inf / (1 + inf) is NaN: torch.sigmoid is "
            "right for scores of any size.",
            _step_by_exp,
        ),
        "one word, or one negative": Clause(
            one_word_or_one_negative,
            "It should also be right for one word (n = 1) and for one negative each (K = 1): "
            "squeeze takes that dimension away, and the sum is then over another one.",
            _step_squeezed,
        ),
    },
    hints=[
        "The derivative of -log sigmoid(s) by s is -(1 - sigmoid(s)) = -sigmoid(-s).",
        "With s = <d, y> the gradient by d is -sigmoid(-s) y; for a negative it is "
        "+sigmoid(s) noise.",
        "Sum over the K negatives, mean over the n words, and step against the gradient.",
    ],
)  # fmt: skip

PREDICTIONS = (
    Prediction(
        "reverse-document",
        "The side-by-side form of PV-DM hears the order of words. How alike are its vectors of the "
        "documents “a likes b” and “b likes a”?",
        "d",
        "Their cosine is 0.9977, where two other documents have 0.1133 on average. The order that "
        "the model knows sits in its words' vectors (section 6.5).",
        choices=(
            "opposite: a cosine below 0",
            "as alike as any two documents",
            "half way between these and equal",
            "nearly equal: a cosine above 0.99",
        ),
    ),
)
