"""Exercises of notebook 06_doc2vec: PV-DBOW's loss, PV-DM's two forms, a document never seen."""

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
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
    hints=[
        "Two kinds of scores: one positive per word, shape (B,), and K negatives, shape (B, K).",
        "(d * y).sum(1) gives the first, torch.einsum('bd,bkd->bk', d, noise) the second.",
        "F.softplus(-s) is -log sigmoid(s), and F.softplus(s) is -log sigmoid(-s).",
    ],
    grad=True,
)


def gap_and_context(seed):
    g = _generator(seed)
    cases = []
    for B, C, dim in ((3, 4, 5), (7, 6, 3), (5, 2, 4)):
        present = torch.rand(B, C, generator=g) < 0.6
        present[0], present[1, 0], present[2] = False, True, True  # none, some, all
        present[1, 1:] = False
        d, x = torch.randn(B, dim, generator=g), torch.randn(B, C, dim, generator=g)
        cases.append((d, x, present))
    return cases


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
    },
    hints=[
        "present[:, :, None] has shape (B, C, 1): multiplied with x it removes absent words.",
        "How many vectors go into the mean of row b? The document, and present[b].sum() words.",
    ],
    grad=["d", "x"],
)


def _masked(x, present):
    return x * present[:, :, None]


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
    hints=[
        "(B, C, dim) with zeros for absent words becomes (B, C dim) by .flatten(1).",
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
    },
    hints=[
        "The derivative of -log sigmoid(s) by s is -(1 - sigmoid(s)) = -sigmoid(-s).",
        "With s = <d, y> the gradient by d is -sigmoid(-s) y; for a negative it is "
        "+sigmoid(s) noise.",
        "Sum over the K negatives, mean over the n words, and step against the gradient.",
    ],
)  # fmt: skip
