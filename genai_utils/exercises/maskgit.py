"""Exercises of notebook 21_maskgit: tokens of an image, which of them stay, which are hidden."""

import math

import torch

from genai_utils.checks import exercise
from genai_utils.vision import maskgit, vq

NOTEBOOK = "21_maskgit"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- nearest_entry -----------------------------------------------------------------------------


def _vectors(seed):
    g = _generator(seed)

    def case(shape, entries, code):  # entries of very different lengths
        length = torch.linspace(0.3, 3, entries)[:, None]
        return torch.randn(*shape, code, generator=g), length * torch.randn(
            entries, code, generator=g
        )

    return [case((7,), 5, 3), case((4, 9), 8, 6), case((6, 5), 12, 4)]


def _squares(z, codebook):
    return (z[..., None, :] - codebook).pow(2).sum(-1)  # (..., K)


exercise(
    vq.nearest_entry,
    cases=_vectors,
    mistakes={
        "largest product": (
            lambda z, codebook: (z @ codebook.T).argmax(-1),
            "You took the entry with the largest product with z. A long entry wins that without "
            "being near: its squared length must be subtracted.",
        ),
        "cosine": (
            lambda z, codebook: (z @ (codebook / codebook.norm(dim=1, keepdim=True)).T).argmax(-1),
            "You compared directions (cosine). The nearest entry is the one at the smallest "
            "distance.",
        ),
        "farthest": (
            lambda z, codebook: _squares(z, codebook).argmax(-1),
            "You took the entry that is farthest: the smallest distance is wanted, argmin.",
        ),
        "entry instead of its number": (
            lambda z, codebook: codebook[_squares(z, codebook).argmin(-1)],
            "You returned the entries themselves. A token is the number of the entry.",
        ),
        "nearest vector of each entry": (
            lambda z, codebook: _squares(z.flatten(0, -2), codebook).argmin(0),
            "You looked for the vector nearest to each entry. It is the other way round: one entry "
            "for each vector.",
        ),
    },
    hints=[
        "Write the squared distance of a vector z to an entry e as |z|^2 - 2 z.e + |e|^2.",
        "|z|^2 is the same for all entries, so it does not matter for the smallest.",
        "codebook.pow(2).sum(1) has shape (K,), z @ codebook.T has (..., K). Then argmin(-1).",
    ],
)


# --- codebook_penalty --------------------------------------------------------------------------


def _pairs(seed):
    g = _generator(seed)
    shapes = ((4, 3), (5, 7), (3, 6, 4))
    pairs = [torch.randn(2, *shape, generator=g).unbind(0) for shape in shapes]
    return [(z, q, weight) for (z, q), weight in zip(pairs, (0.25, 0.5, 2.0), strict=True)]


def _mse(z, q):
    return (z - q).pow(2).mean()


exercise(
    vq.codebook_penalty,
    cases=_pairs,
    mistakes={
        "second term forgotten": (
            lambda z, q, weight: _mse(z, q),
            "You have one term. The entries move to the vectors, and, with the weight, the vectors "
            "to the entries.",
        ),
        "weight forgotten": (
            lambda z, q, weight: 2 * _mse(z, q),
            "You left out the weight of the second term.",
        ),
        "weight on both": (
            lambda z, q, weight: 2 * weight * _mse(z, q),
            "You weighted both terms. The weight belongs to the second one, which pulls the "
            "encoder.",
        ),
        "sum": (
            lambda z, q, weight: (1 + weight) * (z - q).pow(2).sum(),
            "You summed over all numbers: take the mean, so that the size of the batch does not "
            "matter.",
        ),
        "no square": (
            lambda z, q, weight: (1 + weight) * (z - q).abs().mean(),
            "You took the absolute difference. It is squared.",
        ),
    },
    hints=[
        "Both terms have the same value, a mean squared difference. What differs is who moves.",
        "x.detach() is x as a constant: no gradient reaches it.",
        "First term: z.detach() against q. Second term, times the weight: z against q.detach().",
    ],
    grad=["z", "q"],
)


# --- keep_surest -------------------------------------------------------------------------------


def _confidences(seed):
    g = _generator(seed)

    def case(B, T, count):
        hidden = torch.rand(B, T, generator=g) < 0.6
        hidden[:, :2] = torch.tensor([True, False])
        confidence = torch.randn(B, T, generator=g)
        confidence[:, 1] = 9.0  # the surest place of all is not hidden
        return confidence, hidden, count

    few = case(4, 6, 2)
    few[1][0, 1:] = False  # one place left, two asked for
    return [case(3, 9, 2), case(5, 12, 3), few]


def _ranked(values):
    return values.argsort(-1, descending=True).argsort(-1)


exercise(
    maskgit.keep_surest,
    cases=_confidences,
    mistakes={
        "places that were not hidden": (
            lambda confidence, hidden, count: (_ranked(confidence) < count) & hidden,
            "You ranked all places. Those that are not hidden take up ranks, so that fewer tokens "
            "than asked for are kept: give them minus infinity first.",
        ),
        "the least sure": (
            lambda confidence, hidden, count: (
                (_ranked(-confidence.masked_fill(~hidden, math.inf)) < count) & hidden
            ),
            "You kept the least sure ones. A round keeps what the model is surest of.",
        ),
        "zero for what is not hidden": (
            lambda confidence, hidden, count: (_ranked(confidence * hidden) < count) & hidden,
            "You set the confidence of the other places to 0. A log-probability is below 0, so "
            "that 0 wins: use minus infinity.",
        ),
        "one too many": (
            lambda confidence, hidden, count: (
                (_ranked(confidence.masked_fill(~hidden, -math.inf)) <= count) & hidden
            ),
            "You kept one too many: ranks count from 0, so rank < count.",
        ),
        "filled though not hidden": (
            lambda confidence, hidden, count: (
                _ranked(confidence.masked_fill(~hidden, -math.inf)) < count
            ),
            "Where fewer places are hidden than asked for, you kept some that were not hidden: "
            "combine with hidden at the end.",
        ),
    },
    hints=[
        "First make sure that no place wins that was not hidden: masked_fill(~hidden, -math.inf).",
        "The rank of each place in its row is x.argsort(-1, descending=True).argsort(-1).",
        "Keep rank < count, and only where hidden is True.",
    ],
)


# --- hide_share --------------------------------------------------------------------------------


def _noises(seed):
    g = _generator(seed)
    return [
        (torch.rand(B, T, generator=g), torch.rand(B, generator=g) * (1 - low) + low)
        for B, T, low in ((4, 7, 0.01), (5, 11, 0.3), (6, 9, 0.5))
    ]


def _ranks(noise):
    return noise.argsort(-1).argsort(-1)


exercise(
    maskgit.hide_share,
    cases=_noises,
    mistakes={
        "each token by itself": (
            lambda noise, share: noise < share[:, None],
            "You hid each token with probability r. That gives the share only on average, and "
            "sometimes nothing at all: hide exactly ceil(r T) places, by rank.",
        ),
        "the others": (
            lambda noise, share: _ranks(noise) >= share[:, None] * noise.shape[1],
            "You hid all the others: True means hidden, a share r of the row.",
        ),
        "order instead of rank": (
            lambda noise, share: noise.argsort(-1) < share[:, None] * noise.shape[1],
            "argsort gives the place of the k-th smallest, not the rank of each place. Apply "
            "argsort twice.",
        ),
        "rounded down": (
            lambda noise, share: _ranks(noise) < (share[:, None] * noise.shape[1]).floor(),
            "You rounded down, so that a small share hides nothing. Round up: rank < r T does it.",
        ),
        "the largest noise": (
            lambda noise, share: _ranks(-noise) < share[:, None] * noise.shape[1],
            "You hid the places with the most noise; as random, but here the least noise counts.",
        ),
    },
    hints=[
        "The rank of each place among the noise of its row decides, not the noise itself.",
        "noise.argsort(-1).argsort(-1) is the rank, from 0.",
        "rank < share[:, None] * T hides ceil(share T) places.",
    ],
)
