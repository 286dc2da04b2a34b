"""Exercises of notebook 01_clustering: from one distance to a K-means for directions."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
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


def _unclamped(X, centres):
    return (X**2).sum(1, keepdim=True) - 2 * X @ centres.T + (centres**2).sum(1)


def points_on_centres(seed):
    """Rounding leaves numbers below 0 for about half of the examples."""
    g = _generator(seed)
    cases = []
    for n, d, K in ((40, 3, 2), (60, 5, 4)):
        centres = 5 + 5 * torch.randn(K, d, generator=g)
        near = centres[torch.randint(K, (n,), generator=g)]
        cases.append((near + 1e-4 * torch.randn(n, d, generator=g), centres))
    return cases


def _in_a_small_unit(seed):
    return [(1e-3 * X, 1e-3 * centres) for X, centres in points_and_centres(seed)]


def _one_of_each(seed):
    """One centre, then one example."""
    (X, centres), *_ = points_and_centres(seed)
    return [(X, centres[:1]), (X[:1], centres)]


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
    clauses={
        "not below 0": Clause(
            cases=points_on_centres,
            says="No entry may be below 0. Where an example sits on its centre, rounding leaves "
            "numbers such as -1e-7 in a difference of large ones: clamp them at 0.",
            broken=_unclamped,
        ),
        "small distances": Clause(
            cases=_in_a_small_unit,
            says="Small distances stay as they are, whatever the unit of the data: nothing is "
            "added, and the clamp is at 0.",
            broken=lambda X, centres: _unclamped(X, centres).clamp(min=1e-5),
        ),
        "one of each": Clause(
            cases=_one_of_each,
            says="The result is a matrix (n, K), for one centre or one example as well.",
            broken=lambda X, centres: _squared(X, centres).squeeze(),
        ),
    },
    hints=[
        "Write ||x - c||^2 out: three terms, of which only one mixes x and c.",
        "The mixed terms of all pairs are one matrix product, X @ centres.T, of shape (n, K). "
        "Give ||x||^2 the shape (n, 1), so that it is added to every column.",
        "Rounding can leave tiny negative numbers: .clamp(min=0).",
    ],
    canonical=lambda D: D.masked_fill(D < 0, -torch.inf),  # below 0 is not forgiven as rounding
    rtol=1e-3,
)


def labelled_points(seed):
    """At least two examples in every cluster."""
    g = _generator(seed)
    cases = []
    for n, d, K in ((7, 4, 3), (9, 2, 4), (13, 5, 3)):
        labels = torch.cat([torch.arange(K).repeat(2), torch.randint(K, (n - 2 * K,), generator=g)])
        X, centres = torch.randn(n, d, generator=g) + 1, torch.randn(K, d, generator=g)
        cases.append((X, labels[torch.randperm(n, generator=g)], centres))
    return cases


def without_examples(seed):
    """The cluster in the middle is empty, then the last, then all but one."""
    (X, a, C), (Y, b, D), (Z, c, E) = labelled_points(seed)
    return [(X, 2 * (a > 1), C), (Y, b.clamp(max=2), D), (Z, torch.ones_like(c), E)]


def around_the_origin(seed):
    """The examples of the first cluster add up to exactly 0."""
    cases = labelled_points(seed)
    for X, labels, _ in cases:
        mine = (labels == 0).nonzero().flatten()
        X[mine] = 0.0
        X[mine[0]], X[mine[1]] = 1.5, -1.5
    return cases


def a_cluster_of_one(seed):
    cases = []
    for X, labels, centres in labelled_points(seed):
        labels = labels.clamp(min=1)
        labels[0] = 0
        cases.append((X, labels, centres))
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
        "old centre counted in": (
            lambda X, labels, centres: (lambda s, c: (s + centres) / (c + 1))(
                *_sums(X, labels, centres)
            ),
            "You counted the old centre as one more example: the mean is over the examples alone.",
        ),
        "half way": (
            lambda X, labels, centres: (_means_with(X, labels, centres, centres) + centres) / 2,
            "You moved the centres half way to the means: they move all the way.",
        ),
        "medians": (
            lambda X, labels, centres: torch.stack(
                [X[labels == k].median(0).values if (labels == k).any() else c
                 for k, c in enumerate(centres)]
            ),
            "You took the median of each column: that minimises absolute distances, the mean "
            "squared ones.",
        ),
    },
    clauses={
        "empty cluster": Clause(
            cases=without_examples,
            says="A cluster without examples, wherever it stands, keeps its old centre: not "
            "NaN from 0 / 0, not the origin, not the mean of all, and K rows come back.",
            broken=lambda X, labels, centres: _means_with(
                X, labels, centres, torch.zeros_like(centres)
            ),
        ),
        "mean at the origin": Clause(
            cases=around_the_origin,
            says="A cluster is empty if it has no examples, and not if its examples add up to 0.",
            broken=lambda X, labels, centres: (
                lambda s, c: torch.where(s.any(1, keepdim=True), s / c.clamp(min=1), centres)
            )(*_sums(X, labels, centres)),
        ),
        "cluster of one": Clause(
            cases=a_cluster_of_one,
            says="A cluster with a single example is not empty: its centre moves onto it.",
            broken=lambda X, labels, centres: (
                lambda s, c: torch.where(c > 1, s / c.clamp(min=1), centres)
            )(*_sums(X, labels, centres)),
        ),
    },
    hints=[
        "A loop over the clusters will do: X[labels == k].mean(0). What if nobody has label k?",
        "With one-hot rows Z, Z.T @ X holds the sums of all clusters and Z.sum(0) the counts.",
        "torch.where(counts > 0, means, centres), with counts of shape (K, 1).",
    ],
)  # fmt: skip


def distances_so_far(seed):
    g = _generator(seed)
    cases = [(torch.rand(n, m, generator=g) * 9,) for n, m in ((4, 3), (6, 2), (9, 5))]
    for (D,) in cases:
        D[1, 0] = 0  # an example that is a centre
    return cases


def all_on_centres(seed):
    g = _generator(seed)
    D = torch.randint(2, (5, 2), generator=g) * torch.tensor([[0.0, 4.0]])
    return [(D,), (torch.zeros(4, 3),)]


def _in_the_smallest_unit(seed):
    return [(1e-9 * D,) for (D,) in distances_so_far(seed)]


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
        "squared again": (
            lambda distances: _shares(distances.amin(1) ** 2),
            "You squared the distances once more. They come squared already: take them as they "
            "are.",
        ),
        "softmax": (
            lambda distances: distances.amin(1).softmax(0),
            "A softmax gives even a centre itself a chance. Divide by the sum instead.",
        ),
        "not divided": (
            lambda distances: distances.amin(1),
            "You returned the distances to the nearest centre: divide by their sum, so that they "
            "add up to one.",
        ),
    },
    clauses={
        "all on centres": Clause(
            cases=all_on_centres,
            says="If every example sits on a centre, the sum is 0 and 0 / 0 is NaN: all n are then "
            "equally likely, 1 / n each.",
            broken=lambda distances: distances.amin(1) / distances.amin(1).sum(),
        ),
        "any unit": Clause(
            cases=_in_the_smallest_unit,
            says="Only a sum of exactly 0 is an exception. Distances in a small unit keep their "
            "shares: no small number is added to them, and no threshold is set.",
            broken=lambda distances: _shares(distances.amin(1) * (distances.amin(1).sum() > 1e-4)),
        ),
        "first centre": Clause(
            cases=lambda seed: [(D[:, 1:2].clone(),) for (D,) in distances_so_far(seed)],
            says="With one centre so far the distances are (n, 1), and the result is (n,) as ever.",
            broken=lambda distances: _shares(distances.squeeze().amin(-1)),
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
        n_i, n_j = (torch.randperm(8, generator=g)[:2] + 1).float()  # never equal
        n_k = torch.randint(1, 9, (m,), generator=g).float()
        cases.append((d_i, d_j, torch.rand(1, generator=g)[0] + 0.2, n_i, n_j, n_k, method))
    return cases


def far_apart(seed):
    """i and j lie farther from each other than from the rest, as no merge would have it."""
    cases = clusters_to_merge(seed)
    return [(*case[:2], 10 * case[1].max(), *case[3:]) for case in cases if case[-1] != "ward"]


def _one_other(seed):
    cases = clusters_to_merge(seed)
    return [(d_i[:1], d_j[:1], d, n_i, n_j, n_k[:1], m) for d_i, d_j, d, n_i, n_j, n_k, m in cases]


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
        "ward not squared": (
            _instead(
                ward=lambda a, b, d, n_i, n_j, n_k, _: (
                    ((n_i + n_k) * a**2 + (n_j + n_k) * b**2 - n_k * d**2) / (n_i + n_j + n_k)
                )
            ),
            "Ward's distances come squared already: do not square them again.",
        ),
        "ward with a root": (
            _instead(ward=lambda *given: clustering.lance_williams(*given).sqrt()),
            "Ward's distances stay squared while the tree grows: take no square root here.",
        ),
        "one number for all": (
            _instead(
                single=lambda a, b, *_: torch.minimum(a, b).min().expand(len(a)),
                complete=lambda a, b, *_: torch.maximum(a, b).max().expand(len(a)),
            ),
            "You took one minimum or maximum over all clusters: compare d_i and d_j entry by "
            "entry, so that each other cluster k has its own.",
        ),
    },
    clauses={
        "without d_ij": Clause(
            cases=far_apart,
            says="In single, complete and average linkage d_ij has no part: only the distances "
            "to the other cluster count.",
            broken=_instead(complete=lambda a, b, d, *_: torch.maximum(torch.maximum(a, b), d)),
        ),
        "one other cluster": Clause(
            cases=_one_other,
            says="With a single other cluster the result is (1,), not a scalar.",
            broken=lambda *given: clustering.lance_williams(*given).squeeze(),
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


def _around_axes(labels, d, K, g):
    """Rows (n, d) around K orthonormal axes, row i nearest to centre labels[i], and the centres."""
    axes = torch.linalg.qr(torch.randn(d, d, generator=g)).Q[:K]  # (K, d)
    noise = F.normalize(torch.randn(len(labels) + K, d, generator=g), dim=1)
    rows = axes[labels] + 0.15 * noise[K:]
    lengths = 1 + 9 * torch.rand(len(labels), 1, generator=g)
    return rows * lengths, F.normalize(axes + 0.15 * noise[:K], dim=1)


def directions(seed):
    """Every cluster gets at least two rows; two rows point away from all centres."""
    g = _generator(seed)
    cases = []
    for n, d, K in ((8, 3, 2), (11, 4, 3), (14, 5, 4)):
        X, centres = _around_axes(torch.arange(n) % K, d, K, g)
        X[-2:] = torch.randn(2, d, generator=g) - 3 * centres.sum(0)
        cases.append((X[torch.randperm(n, generator=g)], centres))
    return cases


def without_rows(seed):
    """No row for the centre in the middle, then for the last, then for all but one."""
    g = _generator(seed)
    labels = torch.tensor([0, 2, 2, 0, 2, 0]), torch.arange(8) % 3, torch.ones(5).long()
    sizes = ((4, 3), (5, 4), (3, 2))
    return [_around_axes(mine, d, K, g) for mine, (d, K) in zip(labels, sizes, strict=True)]


def a_centre_with_one_row(seed):
    g = _generator(seed)
    return [
        _around_axes((torch.arange(n) % (K - 1) + 1) * (torch.arange(n) > 0), d, K, g)
        for n, d, K in ((7, 4, 3), (9, 5, 4))
    ]


def short_rows(seed):
    """The first half of the rows is ten thousand times shorter than the other."""
    cases = directions(seed)
    for X, _ in cases:
        X[: len(X) // 2] *= 1e-4
    return cases


def _spherical(X, centres, sum_rows=None, finish=None, similarity=torch.clone, least=1, empty=1.0):
    """The step with parts to exchange; empty: what the old centre of an empty cluster is times."""
    U = F.normalize(X, dim=1)
    labels = similarity(U @ centres.T).argmax(1)
    sums, counts = _sums(U if sum_rows is None else sum_rows, labels, centres)
    new = finish(sums, counts) if finish else F.normalize(sums, dim=1)
    return torch.where(counts >= least, new, empty * centres)


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
        "smallest similarity": (
            lambda X, centres: _spherical(X, centres, similarity=torch.neg),
            "You gave each row to the centre it is least like: a large inner product is near.",
        ),
        "opposite counts as near": (
            lambda X, centres: _spherical(X, centres, similarity=torch.abs),
            "You compared absolute values, so a row may go to the centre it points away from: the "
            "largest inner product counts, with its sign.",
        ),
        "old centre counted in": (
            lambda X, centres: _spherical(
                X, centres, finish=lambda s, c: F.normalize(s + centres, dim=1)
            ),
            "You counted the old centre as one more row: the new one is made of the rows alone.",
        ),
    },
    clauses={
        "no rows": Clause(
            cases=without_rows,
            says="A cluster without rows, wherever it stands, keeps its centre: a sum of no rows "
            "is 0 and has no direction.",
            broken=lambda X, centres: _spherical(X, centres, empty=0.0),
        ),
        "one row": Clause(
            cases=a_centre_with_one_row,
            says="A cluster that got a single row moves onto it, scaled to length 1.",
            broken=lambda X, centres: _spherical(X, centres, least=2),
        ),
        "short rows": Clause(
            cases=short_rows,
            says="Every row is scaled to length 1, however short it is: a number added to the "
            "length, or a length not divided by, makes short rows count less.",
            broken=lambda X, centres: _spherical(
                X, centres, sum_rows=X / (X.norm(dim=1, keepdim=True) + 1e-6)
            ),
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


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "separated-blobs",
        "25 round blobs of points lie far apart, and K-means gets 25 centres: it starts at 25 "
        "points drawn at random. In how many of 50 such runs does every blob end with a centre "
        "of its own?",
        "c",
        "No random start out of fifty comes within 1 % of the best, and the typical one is more "
        "than four times as high. Two centres share one blob, two blobs share one centre, and no "
        "half-step can mend that, however clear the groups are (section 1.3).",
        choices=("in nearly all of them", "in about half of them", "in none or hardly any"),
    ),
)
