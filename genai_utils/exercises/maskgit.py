"""Exercises of notebook 21_maskgit: tokens of an image, which of them stay, which are hidden."""

import math

import torch

from genai_utils.checks import Clause, exercise
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


def _blocks(seed):
    """z with no leading dimension, with several, and with one of size 1."""
    g = _generator(seed)
    shapes = (3,), (2, 5, 3, 4), (4, 1, 3)
    return [
        (torch.randn(*shape, generator=g), torch.randn(6, shape[-1], generator=g))
        for shape in shapes
    ]


def _long_vectors(seed):
    g = _generator(seed)
    return [(40 * torch.randn(7, 4, generator=g), 40 * torch.randn(5, 4, generator=g))]


def _twins(seed):
    """A codebook with equal entries: such as two dead ones that started anew at one vector."""
    g = _generator(seed)
    book = torch.randint(-9, 9, (5, 3), generator=g).float()  # whole numbers: distances are exact
    return [(book[[2, 0, 4, 1]] + 0.25, book[[0, 1, 2, 2, 1, 3, 4, 0]])]


def _last_of_equals(z, codebook):
    """A loop that moves on to an entry that is as near as the best one before."""
    best, token = _squares(z, codebook)[..., 0], torch.zeros(z.shape[:-1], dtype=torch.int64)
    for j in range(1, len(codebook)):
        far = _squares(z, codebook)[..., j]
        token[far <= best] = j
        best = torch.minimum(far, best)
    return token


def _low_start(z, codebook):
    """A loop whose first "smallest distance so far" is not infinite."""
    best, token = torch.full(z.shape[:-1], 1e3), torch.zeros(z.shape[:-1], dtype=torch.int64)
    for j, far in enumerate(_squares(z, codebook).unbind(-1)):
        token[far < best] = j
        best = torch.minimum(far, best)
    return token


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
        "sum of the absolute differences": (
            lambda z, codebook: (z[..., None, :] - codebook).abs().sum(-1).argmin(-1),
            "You added up absolute differences. The distance of the text squares them.",
        ),
        "product once": (
            lambda z, codebook: (codebook.pow(2).sum(1) - z @ codebook.T).argmin(-1),
            "The product of z and e counts twice in the squared distance.",
        ),
        "differences not squared": (
            lambda z, codebook: (z[..., None, :] - codebook).sum(-1).argmin(-1),
            "You added the differences as they are, so that they cancel. Square each of them "
            "first.",
        ),
        "distance instead of number": (
            lambda z, codebook: _squares(z, codebook).min(-1).values,
            "This is the smallest distance. The number of the entry that has it is asked for: "
            "argmin, not min.",
        ),
    },
    clauses={
        "any leading dimensions": Clause(
            _blocks,
            "z may have any number of dimensions before the last, of any size: the tokens have "
            "the shape z.shape[:-1]. One vector alone gives one token, of shape ().",
            lambda z, codebook: _squares(z, codebook).argmin(-1).squeeze(),
        ),
        "long vectors": Clause(
            _long_vectors,
            "Wrong where all entries are far away: one of them is the nearest all the same. A "
            "search for the smallest starts with infinity.",
            _low_start,
        ),
        "equally near": Clause(
            _twins,
            "Of several entries that are equally near it is the first: argmin gives that one, a "
            "loop asks for < and not <=.",
            _last_of_equals,
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


def _no_weight(seed):
    return [(z, q, 0.0) for z, q, _ in _pairs(seed)]


def _some_equal(seed):
    pairs = [(z, q.clone(), weight) for z, q, weight in _pairs(seed)]
    for z, q, _ in pairs:
        q[1] = z[1]
    return pairs


def _other_blocks(seed):
    g = _generator(seed)
    pairs = [torch.randn(2, *shape, generator=g).unbind(0) for shape in ((5,), (2, 3, 4, 6))]
    return [(z, q, 0.5) for z, q in pairs]


def _penalty(z, q, weight):
    return _mse(z.detach(), q) + weight * _mse(z, q.detach())


def _rows_only(z, q, weight):
    return _penalty(z.flatten(0, -2), q.flatten(0, -2), weight)  # fails for one vector


def _squared_norms(z, q, weight):
    """The square of a square root, whose slope at 0 is infinite."""
    first, second = (
        (a - b).pow(2).sum(-1).sqrt().pow(2).mean() / z.shape[-1]
        for a, b in ((z.detach(), q), (z, q.detach()))
    )
    return first + weight * second


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
        "sum over each vector": (
            lambda z, q, weight: (1 + weight) * (z - q).pow(2).sum(-1).mean(),
            "You summed over each vector and took the mean of that. It is a mean over all numbers: "
            "k times less.",
        ),
        "nothing detached": (
            lambda z, q, weight: (1 + weight) * _mse(z, q),
            "The value is right, but both terms move the vectors z. Each must hold one side still: "
            "z.detach() in the first, q.detach() in the second.",
        ),
        "the other side detached": (
            lambda z, q, weight: _mse(z, q.detach()) + weight * _mse(z.detach(), q),
            "The value is right, but you held the wrong sides still: the first term, without a "
            "weight, must move the entries q, the second, with it, the vectors z.",
        ),
    },
    clauses={
        "weight 0": Clause(
            _no_weight,
            "With the weight 0 the second term is gone. `weight or ...` takes 0 for no weight "
            "given.",
            lambda z, q, weight: _penalty(z, q, weight or 0.25),
        ),
        "equal vectors": Clause(
            _some_equal,
            "Where a vector is its entry, the gradient is 0, and yours is not: a square root has "
            "an infinite slope at 0. Square the differences and leave the root out.",
            _squared_norms,
        ),
        "any leading dimensions": Clause(
            _other_blocks,
            "z and q may have any number of dimensions before the last, none as well: the mean is "
            "over all their numbers.",
            _rows_only,
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
        hidden[:, 1], hidden[:, 2 : 4 + count] = False, True  # more of them than are asked for
        confidence = 20 * torch.rand(B, T, generator=g).log()
        confidence[:, 1] = -0.01  # the surest place of all is not hidden
        return confidence, hidden, count

    return [case(3, 9, 2), case(5, 12, 3), case(4, 8, 2)]


def _few_hidden(seed):
    cases = _confidences(seed)
    for _, hidden, _ in cases:
        hidden[0, 3:] = False  # one place in the first row, none in the last
        hidden[0, 0] = hidden[-1] = False
    return cases


def _more_than_all(seed):
    return [(c, torch.ones_like(hidden), c.shape[1] + 3) for c, hidden, _ in _confidences(seed)]


def _none_asked(seed):
    return [(confidence, hidden, 0) for confidence, hidden, _ in _confidences(seed)]


def _equally_sure(seed):
    """Probabilities that are all 1: their logarithms are all 0."""
    cases = _confidences(seed)
    for confidence, hidden, _ in cases:
        confidence[hidden] = confidence[hidden].clamp(max=-1.0)
        confidence[:, 2:6] = 0.0  # four of them, two or three are asked for
    return [case for case in cases if case[0].shape[1] < 12]  # short rows: any sort is stable


def _by_places(confidence, hidden, count):
    """The places of the surest ones, `count` of them: an error where a row has fewer places."""
    order = confidence.masked_fill(~hidden, -math.inf).argsort(dim=-1, descending=True, stable=True)
    best = order.gather(1, torch.arange(count).expand(len(hidden), count))
    return torch.zeros_like(hidden).scatter(1, best, True) & hidden


def _in_order(confidence, hidden, count):
    masked = confidence.masked_fill(~hidden, -math.inf)
    return (masked.argsort(dim=-1, descending=True, stable=True).argsort(-1) < count) & hidden


def _threshold(confidence, hidden, count):
    """All that are as sure as the last one that may stay."""
    values = confidence.masked_fill(~hidden, -math.inf)
    ordered = torch.cat([torch.full_like(values[:, :1], math.inf), values.sort(-1)[0].flip(-1)], 1)
    last = ordered[:, min(count, values.shape[1])]
    return (values >= last[:, None]) & hidden


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
        "those that are hidden again": (
            lambda confidence, hidden, count: hidden & ~_in_order(confidence, hidden, count),
            "You marked the places that are hidden again. True means: this token stays.",
        ),
        "over the whole batch": (
            lambda confidence, hidden, count: (
                confidence.masked_fill(~hidden, -math.inf)
                .flatten()
                .argsort(descending=True)
                .argsort()
                .view_as(confidence)
                < count * len(hidden)
            ),
            "You ranked the tokens of all rows together. Each row keeps its own `count` surest.",
        ),
        "order instead of rank": (
            lambda confidence, hidden, count: (
                (
                    confidence.masked_fill(~hidden, -math.inf).argsort(
                        dim=-1, descending=True, stable=True
                    )
                    < count
                )
                & hidden
            ),
            "argsort gives the place of the k-th surest, not the rank of each place. Apply argsort "
            "once more to what it gives.",
        ),
        "one too few": (
            lambda confidence, hidden, count: (
                (_ranked(confidence.masked_fill(~hidden, -math.inf)) + 1 < count) & hidden
            ),
            "You kept one too few: ranks count from 0, so rank < count.",
        ),
    },
    clauses={
        "fewer hidden than asked for": Clause(
            _few_hidden,
            "Where fewer places are hidden than asked for, all of these stay and no others: "
            "combine with hidden at the end.",
            lambda confidence, hidden, count: (
                _ranked(confidence.masked_fill(~hidden, -math.inf)) < count
            ),
        ),
        "more than there are places": Clause(
            _more_than_all,
            "`count` may be larger than the row: then all hidden places stay. topk fails there, a "
            "rank does not.",
            _by_places,
        ),
        "none asked for": Clause(
            _none_asked,
            "With a count of 0 no token stays.",
            lambda confidence, hidden, count: _in_order(confidence, hidden, max(count, 1)),
        ),
        "equally sure": Clause(
            _equally_sure,
            "Of equally sure places the first stay, never more than `count`: a threshold keeps too "
            "many, and topk any of them. argsort(..., stable=True) keeps the order of equals.",
            _threshold,
        ),
    },
    hints=[
        "First make sure that no place wins that was not hidden: masked_fill(~hidden, -math.inf).",
        "The rank of each place in its row is x.argsort(dim=-1, descending=True, stable=True)"
        ".argsort(-1).",
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


def _whole_numbers(seed):
    """Shares whose r T is whole, without any rounding: eighths of 8 places, halves of 6."""
    g = _generator(seed)
    eighths = torch.randperm(8, generator=g)[:5] + 1
    return [
        (torch.rand(5, 8, generator=g), eighths / 8),
        (torch.rand(3, 6, generator=g), torch.tensor([0.5, 1.0, 0.5])),
    ]


def _small_shares(seed):
    g = _generator(seed)
    return [(torch.rand(3, T, generator=g), torch.tensor([1e-6, 0.5, 1e-9])) for T in (7, 11)]


def _any_noise(seed):
    g = _generator(seed)
    return [
        (9 * torch.randn(4, 7, generator=g), torch.rand(4, generator=g) * 0.9 + 0.1),
        (torch.rand(3, 9, generator=g) - 5, torch.rand(3, generator=g) * 0.9 + 0.1),
    ]


def _rows_apart(noise, share):
    """All rows ranked at once, which keeps them apart only where the noise is in [0, 1)."""
    B, T = noise.shape
    order = (noise + torch.arange(B)[:, None]).flatten().argsort()
    return (order.argsort().view(B, T) - T * torch.arange(B)[:, None]) < share[:, None] * T


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
        "one share for all rows": (
            lambda noise, share: _ranks(noise) < share.mean() * noise.shape[1],
            "You hid as many places in every row. Each row has its own share.",
        ),
        "the first places": (
            lambda noise, share: torch.arange(noise.shape[1]) < share[:, None] * noise.shape[1],
            "You hid the first places of each row. Those with the least noise are to be hidden: "
            "compare their ranks.",
        ),
        "ranks down the columns": (
            lambda noise, share: noise.argsort(0).argsort(0) < share[:, None] * noise.shape[1],
            "Your ranks are those within a column. Each row has ranks of its own: dim=-1.",
        ),
    },
    clauses={
        "whole numbers": Clause(
            _whole_numbers,
            "Where r T is a whole number, exactly so many are hidden: rounded up, 3 is 3 and not "
            "4. The floor plus 1 is one too many there.",
            lambda noise, share: _ranks(noise) < (share[:, None] * noise.shape[1]).floor() + 1,
        ),
        "small shares": Clause(
            _small_shares,
            "However small the share is, at least one token of each row is hidden: nothing to "
            "guess would mean a loss of 0 / 0.",
            lambda noise, share: _ranks(noise) < (share[:, None] * noise.shape[1] - 1e-4).ceil(),
        ),
        "any noise": Clause(
            _any_noise,
            "The noise may be any numbers, negative ones and large ones, too: only their order "
            "within a row counts.",
            _rows_apart,
        ),
    },
    hints=[
        "The rank of each place among the noise of its row decides, not the noise itself.",
        "noise.argsort(-1).argsort(-1) is the rank, from 0.",
        "rank < share[:, None] * T hides ceil(share T) places.",
    ],
)
