"""Exercises of notebook 01_clustering: from one distance to a K-means for directions."""

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.structure import clustering

NOTEBOOK = "01_clustering"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


SIZES = ((5, 3, 2), (7, 4, 3), (9, 2, 5))  # n, d, K


def points_and_centres(seed):
    g = _generator(seed)
    return [
        (torch.randn(n, d, generator=g) + 1, torch.randn(K, d, generator=g)) for n, d, K in SIZES
    ]


def _squared(X, centres):
    return (X[:, None] - centres).square().sum(-1)


exercise(
    clustering.squared_distances,
    cases=points_and_centres,
    mistakes={
        "square root": (
            lambda X, centres: _squared(X, centres).sqrt(),
            "You returned the distances themselves. K-means needs their squares: no square root.",
        ),
        "no lengths": (
            lambda X, centres: -2 * X @ centres.T,
            "You kept the mixed term only: add ||x||^2 of every row and ||c||^2 of every centre.",
        ),
        "mixed term once": (
            lambda X, centres: (
                (X**2).sum(1, keepdim=True) - X @ centres.T + (centres**2).sum(1)
            ).clamp(min=0),
            "The mixed term is there once. (x - c)^2 = x^2 - 2 x c + c^2: it counts twice.",
        ),
        "mean over the columns": (
            lambda X, centres: _squared(X, centres) / X.shape[1],
            "You averaged over the d columns. A squared distance is their sum.",
        ),
        "transposed": (
            lambda X, centres: _squared(X, centres).T,
            "Your result is (K, n). One row per example is expected, one column per centre.",
        ),
    },
    hints=[
        "Write ||x - c||^2 out: three terms, of which only one mixes x and c.",
        "The mixed terms of all pairs are one matrix product, X @ centres.T, of shape (n, K). "
        "Give ||x||^2 the shape (n, 1), so that it is added to every column.",
        "Rounding can leave tiny negative numbers: .clamp(min=0).",
    ],
    rtol=1e-3,
)


def labelled_points(seed):
    """The last cluster is always empty."""
    g = _generator(seed)
    cases = []
    for n, d, K in ((6, 3, 3), (8, 2, 4), (11, 5, 4)):
        labels = torch.cat([torch.zeros(2).long(), torch.arange(K - 1)])
        labels = torch.cat([labels, torch.randint(K - 1, (n - K - 1,), generator=g)])
        X, centres = torch.randn(n, d, generator=g) + 1, torch.randn(K, d, generator=g)
        cases.append((X, labels[torch.randperm(n, generator=g)], centres))
    return cases


def _sums(X, labels, centres):
    Z = F.one_hot(labels, len(centres)).to(X.dtype)
    return Z.T @ X, Z.sum(0)[:, None]


def _means_with(X, labels, centres, empty):
    sums, counts = _sums(X, labels, centres)
    return torch.where(counts > 0, sums / counts.clamp(min=1), empty)


exercise(
    clustering.update,
    cases=labelled_points,
    mistakes={
        "0 / 0": (
            lambda X, labels, centres: (lambda s, c: s / c)(*_sums(X, labels, centres)),
            "An empty cluster has no mean: 0 / 0 is NaN, and soon every centre is. Keep its old "
            "centre.",
        ),
        "empty to zero": (
            lambda X, labels, centres: _means_with(X, labels, centres, torch.zeros_like(centres)),
            "You sent the empty cluster's centre to the origin. It keeps its old centre.",
        ),
        "empty to the mean": (
            lambda X, labels, centres: _means_with(
                X, labels, centres, X.mean(0).expand_as(centres)
            ),
            "You moved the empty cluster's centre to the mean of all. It keeps its old centre.",
        ),
        "sums": (
            lambda X, labels, centres: (
                lambda s, c: torch.where(c > 0, s, centres)
            )(*_sums(X, labels, centres)),
            "You added up the examples of a cluster, but did not divide by how many there are.",
        ),
        "divided by n": (
            lambda X, labels, centres: (
                lambda s, c: torch.where(c > 0, s / len(X), centres)
            )(*_sums(X, labels, centres)),
            "You divided by the number of all examples: divide each sum by its own cluster's.",
        ),
    },
    hints=[
        "A loop over the clusters will do: X[labels == k].mean(0). What if nobody has label k?",
        "With one-hot rows Z, Z.T @ X holds the sums of all clusters and Z.sum(0) the counts.",
        "torch.where(counts > 0, means, centres), with counts of shape (K, 1).",
    ],
)  # fmt: skip


def distances_so_far(seed):
    """In the last case every example sits on a centre."""
    g = _generator(seed)
    cases = [(torch.rand(n, m, generator=g) * 9,) for n, m in ((4, 3), (6, 2), (9, 5))]
    for (D,) in cases:
        D[1, 0] = 0  # an example that is a centre
    return [*cases, (torch.randint(2, (3, 2), generator=g) * torch.tensor([[0.0, 4.0]]),)]


def _shares(D):
    total = D.sum()
    return D / total if total > 0 else torch.full_like(D, 1 / len(D))


exercise(
    clustering.plus_plus_probabilities,
    cases=distances_so_far,
    mistakes={
        "farthest centre": (
            lambda distances: _shares(distances.amax(1)),
            "You took each example's farthest centre. What counts is how badly its nearest one "
            "serves it.",
        ),
        "all centres": (
            lambda distances: _shares(distances.sum(1)),
            "You added the distances to all centres: an example that sits on a centre could be "
            "drawn again.",
        ),
        "latest centre": (
            lambda distances: _shares(distances[:, -1]),
            "You looked at the latest centre only: the nearest of all centres so far counts.",
        ),
        "not squared": (
            lambda distances: _shares(distances.amin(1).sqrt()),
            "You took a square root. The distances come squared already, and k-means++ uses the "
            "squares.",
        ),
        "softmax": (
            lambda distances: distances.amin(1).softmax(0),
            "A softmax gives even a centre itself a chance. Divide by the sum instead.",
        ),
    },
    hints=[
        "First the squared distance of each example to its nearest centre: which dimension goes?",
        "Then divide by the sum, so that the n numbers add up to one.",
        "If that sum is 0, give each example 1 / n.",
    ],
)


def clusters_to_merge(seed):
    g = _generator(seed)
    cases = []
    for m, method in ((3, "single"), (4, "complete"), (5, "average"), (6, "ward"), (7, "average")):
        d_i, d_j = torch.rand(m, generator=g) * 5 + 1, torch.rand(m, generator=g) * 5 + 1
        n_i, n_j = torch.tensor(2.0), torch.tensor(5.0)
        n_k = torch.randint(1, 9, (m,), generator=g).float()
        cases.append((d_i, d_j, torch.rand(1, generator=g)[0] + 0.2, n_i, n_j, n_k, method))
    return cases


def _instead(**wrong):
    """The library's rule, with another one for the methods that are named."""

    def rule(d_i, d_j, d_ij, n_i, n_j, n_k, method):
        chosen = wrong.get(method, clustering.lance_williams)
        return chosen(d_i, d_j, d_ij, n_i, n_j, n_k, method)

    return rule


exercise(
    clustering.lance_williams,
    cases=clusters_to_merge,
    mistakes={
        "single and complete exchanged": (
            _instead(
                single=lambda a, b, *_: torch.maximum(a, b),
                complete=lambda a, b, *_: torch.minimum(a, b),
            ),
            "Single and complete are exchanged: single linkage takes the nearer of the two.",
        ),
        "average without sizes": (
            _instead(average=lambda a, b, *_: (a + b) / 2),
            "Your average counts both clusters alike. All pairs of examples count alike, so weigh "
            "with n_i and n_j.",
        ),
        "weights exchanged": (
            _instead(average=lambda a, b, _, n_i, n_j, *__: (n_j * a + n_i * b) / (n_i + n_j)),
            "The weights of the average are exchanged: d_i goes with n_i.",
        ),
        "ward without d_ij": (
            _instead(
                ward=lambda a, b, _, n_i, n_j, n_k, __: (
                    ((n_i + n_k) * a + (n_j + n_k) * b) / (n_i + n_j + n_k)
                )
            ),
            "In Ward's rule the term - n_k d_ij is missing, or has no effect.",
        ),
        "ward divided by two sizes": (
            _instead(
                ward=lambda a, b, d, n_i, n_j, n_k, _: (
                    ((n_i + n_k) * a + (n_j + n_k) * b - n_k * d) / (n_i + n_j)
                )
            ),
            "Ward's rule divides by all three sizes, n_i + n_j + n_k.",
        ),
    },
    hints=[
        "One case per method: what is the distance between two groups, if you only know it for "
        "their halves?",
        "torch.minimum and torch.maximum compare two tensors entry by entry.",
        "Ward: d_i has the weight n_i + n_k, d_j has n_j + n_k, d_ij has - n_k, and they add up to "
        "n_i + n_j + n_k.",
    ],
)


def directions(seed):
    """The last centre points away from every example and gets none."""
    g = _generator(seed)
    cases = []
    for n, d, K in ((7, 3, 3), (9, 4, 3), (12, 5, 4)):
        X = (torch.rand(n, d, generator=g) + 0.05) * (1 + 9 * torch.rand(n, 1, generator=g))
        centres = torch.cat([torch.rand(K - 1, d, generator=g), -torch.ones(1, d)])
        cases.append((X, F.normalize(centres, dim=1)))
    return cases


def _spherical(X, centres, assign_rows=None, sum_rows=None, finish=None):
    U = F.normalize(X, dim=1)
    rows = U if assign_rows is None else assign_rows
    labels = (rows @ centres.T).argmax(1)
    sums, counts = _sums(U if sum_rows is None else sum_rows, labels, centres)
    return torch.where(counts > 0, finish(sums, counts) if finish else F.normalize(sums, dim=1),
                       centres)  # fmt: skip


exercise(
    clustering.spherical_step,
    cases=directions,
    mistakes={
        "rows not scaled": (
            lambda X, centres: _spherical(X, centres, sum_rows=X),
            "You added up the rows as they are, so long rows count more: scale each to length 1 "
            "first.",
        ),
        "means": (
            lambda X, centres: _spherical(X, centres, finish=lambda s, c: s / c.clamp(min=1)),
            "You returned the means of the unit rows. They are shorter than 1: scale them to "
            "length 1.",
        ),
        "sums": (
            lambda X, centres: _spherical(X, centres, finish=lambda s, c: s),
            "You returned the sums: the direction is right, the length is not 1.",
        ),
        "empty to zero": (
            lambda X, centres: F.normalize(
                _sums(F.normalize(X, dim=1), (F.normalize(X, dim=1) @ centres.T).argmax(1),
                      centres)[0], dim=1),
            "A cluster without rows got the centre 0, which has no direction: keep its old centre.",
        ),
        "smallest similarity": (
            lambda X, centres: _spherical(X, centres, assign_rows=-F.normalize(X, dim=1)),
            "You gave each row to the centre it is least like: a large inner product is near.",
        ),
    },
    hints=[
        "F.normalize(X, dim=1) scales every row to length 1. Which centre has the largest inner "
        "product with a row?",
        "Then it is the update of exercise 1.2, with sums that are scaled to length 1 instead of "
        "means.",
        "A sum of length 0 belongs to a cluster without rows: torch.where(lengths > 0, ..., "
        "centres).",
    ],
)  # fmt: skip
