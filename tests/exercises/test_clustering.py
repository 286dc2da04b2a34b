"""Exercises of 01_clustering: mistakes named, wrong answers refused, other right ones accepted."""

import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("01_clustering")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "squared_distances", "update", "plus_plus_probabilities", "lance_williams",
        "spherical_step",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) == 5


def loops_distances(X, centres):
    return torch.stack([torch.stack([((x - c) ** 2).sum() for c in centres]) for x in X])


def loops_update(X, labels, centres):
    return torch.stack(
        [X[labels == k].mean(0) if (labels == k).any() else c for k, c in enumerate(centres)]
    )


def index_update(X, labels, centres):
    new = centres.clone()
    for k in labels.unique():
        new[k] = X[labels == k].sum(0) / (labels == k).sum()
    return new


def loops_probabilities(distances):
    nearest = torch.stack([min(row) for row in distances])
    if nearest.sum() == 0:
        nearest = nearest + 1
    return nearest / nearest.sum()


def table_update(d_i, d_j, d_ij, n_i, n_j, n_k, method):
    """The one-line form of Lance & Williams with its table of coefficients."""
    n, N = n_i + n_j, n_i + n_j + n_k
    a, b, c, e = {
        "single": (0.5, 0.5, 0, -0.5),
        "complete": (0.5, 0.5, 0, 0.5),
        "average": (n_i / n, n_j / n, 0, 0),
        "ward": ((n_i + n_k) / N, (n_j + n_k) / N, -n_k / N, 0),
    }[method]
    return a * d_i + b * d_j + c * d_ij + e * (d_i - d_j).abs()


def loops_update_tree(d_i, d_j, d_ij, n_i, n_j, n_k, method):
    one = {
        "single": lambda a, b, n: min(a, b),
        "complete": lambda a, b, n: max(a, b),
        "average": lambda a, b, n: (n_i * a + n_j * b) / (n_i + n_j),
        "ward": lambda a, b, n: ((n_i + n) * a + (n_j + n) * b - n * d_ij) / (n_i + n_j + n),
    }[method]
    return torch.stack([one(a, b, n) for a, b, n in zip(d_i, d_j, n_k, strict=True)])


def loops_spherical(X, centres):
    U = [x / x.norm() for x in X]
    new = []
    for k, c in enumerate(centres):
        mine = [u for u in U if max(range(len(centres)), key=lambda j: float(u @ centres[j])) == k]
        new.append(sum(mine) / sum(mine).norm() if mine else c)
    return torch.stack(new)


def cosine_spherical(X, centres):
    labels = F.cosine_similarity(X[:, None], centres[None], dim=2).argmax(1)
    means = index_update(X / X.norm(dim=1, keepdim=True), labels, centres)
    return means / means.norm(dim=1, keepdim=True)


RIGHT = [
    ("squared_distances", loops_distances),
    ("squared_distances", lambda X, centres: torch.cdist(X, centres) ** 2),
    ("squared_distances", lambda X, centres: (X[:, None] - centres).square().sum(-1)),
    ("update", loops_update),
    ("update", index_update),
    ("plus_plus_probabilities", loops_probabilities),
    ("plus_plus_probabilities", lambda distances: (
        F.normalize(distances.amin(1), p=1, dim=0) if distances.amin(1).any()
        else torch.ones(len(distances)) / len(distances))),
    ("lance_williams", table_update),
    ("lance_williams", loops_update_tree),
    ("spherical_step", loops_spherical),
    ("spherical_step", cosine_spherical),
]  # fmt: skip


WRONG = [
    ("squared_distances", lambda X, centres: (X[:, None] - centres).abs().sum(-1)),
    ("squared_distances", lambda X, centres: torch.cdist(X, centres, p=float("inf")) ** 2),
    ("squared_distances", lambda X, centres: (X @ centres.T) ** 2),
    ("squared_distances", lambda X, centres: (X[:, None] - centres).square().mean()),
    ("update", lambda X, labels, centres: centres),
    ("update", lambda X, labels, centres: (loops_update(X, labels, centres) + centres) / 2),
    ("update", lambda X, labels, centres: torch.stack(
        [X[labels == k].median(0).values if (labels == k).any() else c
         for k, c in enumerate(centres)])),
    ("update", lambda X, labels, centres: loops_update(X, labels.flip(0), centres)),
    ("plus_plus_probabilities", lambda distances: distances / distances.sum()),
    ("plus_plus_probabilities", lambda distances: distances.amin(1)),
    ("plus_plus_probabilities", lambda distances: distances.amin(1) / distances.amin(1).max()),
    ("plus_plus_probabilities", lambda distances: distances.amin(1) / distances.amin(1).sum()),
    ("lance_williams", lambda d_i, d_j, d_ij, n_i, n_j, n_k, method: torch.minimum(d_i, d_j)),
    ("lance_williams", lambda d_i, d_j, d_ij, n_i, n_j, n_k, method:
        table_update(d_i, d_j, -d_ij, n_i, n_j, n_k, method)),
    ("lance_williams", lambda d_i, d_j, d_ij, n_i, n_j, n_k, method:
        table_update(d_i, d_j, d_ij, n_j, n_i, n_k, method)),
    ("spherical_step", lambda X, centres: X[: len(centres)]),
    ("spherical_step", lambda X, centres: index_update(
        X, torch.cdist(X, centres).argmin(1), centres)),
    ("spherical_step", lambda X, centres: loops_spherical(X, centres) * 2),
]  # fmt: skip
