"""Exercises of 01_clustering: mistakes named, wrong answers refused, other right ones accepted."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist

from genai_utils.checks import register

SHELF = register.load("01_clustering")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "squared_distances", "update", "plus_plus_probabilities", "lance_williams",
        "spherical_step",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 5 and len(one.clauses) >= 2


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


def float64_distances(X, centres):
    X, centres = X.double(), centres.double()
    D = torch.einsum("nd,nd->n", X, X)[:, None] + torch.einsum("kd,kd->k", centres, centres)
    return (D - 2 * torch.einsum("nd,kd->nk", X, centres)).clamp(min=0)


def expanded(X, centres):
    return X.square().sum(1, keepdim=True) - 2 * X @ centres.T + centres.square().sum(1)


def pinv_update(X, labels, centres):
    Z = F.one_hot(labels, len(centres)).double()
    new = torch.linalg.pinv(Z.T @ Z) @ Z.T @ X.double()
    return torch.where(Z.sum(0)[:, None] == 0, centres.double(), new)


def added_update(X, labels, centres):
    sums = torch.zeros_like(centres).index_add(0, labels, X)
    counts = torch.bincount(labels, minlength=len(centres))[:, None]
    return torch.where(counts > 0, sums / counts, centres)


def nan_update(X, labels, centres):
    Z = F.one_hot(labels, len(centres)).to(X.dtype)
    means = Z.T @ X / Z.sum(0)[:, None]
    return torch.where(means.isnan(), centres, means)


def numpy_probabilities(distances):
    nearest = distances.numpy().astype(float).min(axis=1)
    n, total = len(nearest), nearest.sum()
    return np.full(n, 1 / n) if total == 0 else nearest / total


def categorical(distances):
    nearest = distances.double().amin(1)
    return torch.distributions.Categorical(nearest if nearest.any() else nearest + 1).probs


def numpy_tree(d_i, d_j, d_ij, n_i, n_j, n_k, method):
    a, b, n = (np.asarray(t, float) for t in (d_i, d_j, n_k))
    d, i, j = float(d_ij), float(n_i), float(n_j)
    return torch.as_tensor({
        "single": np.minimum(a, b),
        "complete": np.maximum(a, b),
        "average": np.average([a, b], axis=0, weights=[i, j]),
        "ward": ((i + n) * a + (j + n) * b - n * d) / (i + j + n),
    }[method])  # fmt: skip


def stacked_tree(d_i, d_j, d_ij, n_i, n_j, n_k, method):
    pair = torch.stack([d_i, d_j]).double()
    if method in ("single", "complete"):
        return pair.amin(0) if method == "single" else pair.amax(0)
    if method == "average":
        return d_j + n_i / (n_i + n_j) * (d_i - d_j)
    weights = torch.stack([n_i + n_k, n_j + n_k]) / (n_i + n_j + n_k)
    return (weights * pair).sum(0) - n_k / (n_i + n_j + n_k) * d_ij


def einsum_spherical(X, centres):
    U = F.normalize(X.double(), dim=1)
    Z = F.one_hot((U @ centres.double().T).argmax(1), len(centres)).double()
    sums = torch.einsum("nk,nd->kd", Z, U)
    return torch.where(Z.sum(0)[:, None] > 0, F.normalize(sums, dim=1), centres.double())


def numpy_spherical(X, centres):
    u, new = X.numpy() / np.linalg.norm(X.numpy(), axis=1, keepdims=True), centres.numpy().copy()
    labels = np.argmax(u @ new.T, axis=1)
    for k in np.unique(labels):
        total = u[labels == k].sum(0)
        new[k] = total / np.sqrt(total @ total)
    return new


def distance_spherical(X, centres):
    """Between vectors of length 1 the nearest centre is the most similar one."""
    U = X / X.square().sum(1, keepdim=True).sqrt()
    sums = index_update(U, torch.cdist(U, centres).argmin(1), centres)
    return sums / sums.norm(dim=1, keepdim=True)


RIGHT = [
    ("squared_distances", float64_distances),
    ("squared_distances", lambda X, centres: torch.relu(expanded(X, centres))),
    ("squared_distances", lambda X, centres: torch.as_tensor(
        cdist(X.numpy(), centres.numpy(), "sqeuclidean"))),
    ("update", pinv_update),
    ("update", added_update),
    ("update", nan_update),
    ("plus_plus_probabilities", numpy_probabilities),
    ("plus_plus_probabilities", categorical),
    ("lance_williams", numpy_tree),
    ("lance_williams", stacked_tree),
    ("spherical_step", einsum_spherical),
    ("spherical_step", numpy_spherical),
    ("spherical_step", distance_spherical),
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


def sum_zero_update(X, labels, centres):
    """Takes a cluster whose examples add up to 0 for an empty one."""
    Z = F.one_hot(labels, len(centres)).to(X.dtype)
    sums = Z.T @ X
    return torch.where(sums.any(1)[:, None], sums / Z.sum(0).clamp(min=1)[:, None], centres)


def largest_label_update(X, labels, centres):
    return loops_update(X, labels, centres[: int(labels.max()) + 1])


def little_probabilities(distances):
    nearest = distances.amin(1) + 1e-6
    return nearest / nearest.sum()


def threshold_probabilities(distances):
    nearest = distances.amin(1)
    if nearest.sum() < 1e-4:
        return torch.full_like(nearest, 1 / len(nearest))
    return nearest / nearest.sum()


def any_zero_probabilities(distances):
    nearest = distances.amin(1)
    if (nearest == 0).any():
        return torch.full_like(nearest, 1 / len(nearest))
    return nearest / nearest.sum()


def other_tree(method, rule):
    def wrong_tree(d_i, d_j, d_ij, n_i, n_j, n_k, asked):
        if asked == method:
            return rule(d_i, d_j, d_ij, n_i, n_j, n_k)
        return table_update(d_i, d_j, d_ij, n_i, n_j, n_k, asked)

    return wrong_tree


def spherical(X, centres, least=1, similarity=torch.clone, added=0.0):
    U = X / (X.norm(dim=1, keepdim=True) + added)
    labels, new = similarity(U @ centres.T).argmax(1), centres.clone()
    for k in range(len(centres)):
        if (labels == k).sum() >= least:
            total = U[labels == k].sum(0)
            new[k] = total / total.norm()
    return new


def normalised_spherical(X, centres):
    """F.normalize leaves a sum of no rows at 0."""
    U = F.normalize(X, dim=1)
    Z = F.one_hot((U @ centres.T).argmax(1), len(centres)).float()
    return F.normalize(Z.T @ U, dim=1)


WRONG = [
    ("squared_distances", expanded),
    ("squared_distances", lambda X, centres: expanded(X, centres).clamp(min=1e-3)),
    ("squared_distances", lambda X, centres: (X[:, None] - centres).square().sum(-1).squeeze()),
    ("squared_distances", lambda X, centres: loops_distances(X, centres).round().long()),
    ("squared_distances", lambda X, centres: (expanded(X, -centres)).clamp(min=0)),
    ("squared_distances", lambda X, centres: 2 - 2 * F.normalize(X) @ F.normalize(centres).T),
    ("update", sum_zero_update),
    ("update", largest_label_update),
    ("update", lambda X, labels, centres: torch.stack(
        [X[labels == k].mean(0) for k in labels.unique()])),
    ("update", lambda X, labels, centres: torch.stack(
        [X[labels == k].mean(0) if (labels == k).sum() > 1 else c
         for k, c in enumerate(centres)])),
    ("update", lambda X, labels, centres: torch.stack(
        [torch.cat([X[labels == k], c[None]]).mean(0) for k, c in enumerate(centres)])),
    ("update", lambda X, labels, centres: torch.stack(
        [X[labels == k].mean(0) if (labels == k).any() else X.mean(0)
         for k in range(len(centres))])),
    ("plus_plus_probabilities", little_probabilities),
    ("plus_plus_probabilities", threshold_probabilities),
    ("plus_plus_probabilities", any_zero_probabilities),
    ("plus_plus_probabilities", lambda distances: (
        distances.amin(1) / (distances.amin(1).sum() + 1e-12))),
    ("plus_plus_probabilities", lambda distances: loops_probabilities(distances)[:, None]),
    ("plus_plus_probabilities", lambda distances: loops_probabilities(distances.square())),
    ("plus_plus_probabilities", lambda distances: loops_probabilities(distances.squeeze())),
    ("lance_williams", other_tree("complete", lambda a, b, d, i, j, k: (
        torch.maximum(torch.maximum(a, b), d)))),
    ("lance_williams", other_tree("single", lambda a, b, d, i, j, k: (
        torch.minimum(torch.minimum(a, b), d)))),
    ("lance_williams", other_tree("single", lambda a, b, d, i, j, k: (
        torch.cat([a, b]).min().expand(len(a))))),
    ("lance_williams", other_tree("average", lambda a, b, d, i, j, k: (i * a + j * b) // (i + j))),
    ("lance_williams", other_tree("ward", lambda a, b, d, i, j, k: (
        (i * a + j * b) / (i + j) - i * j * d / (i + j) ** 2))),
    ("lance_williams", other_tree("ward", lambda a, b, d, i, j, k: (
        ((i + 1) * a + (j + 1) * b - d) / (i + j + 1)))),
    ("spherical_step", normalised_spherical),
    ("spherical_step", lambda X, centres: spherical(X, centres, least=2)),
    ("spherical_step", lambda X, centres: spherical(X, centres, least=0)),
    ("spherical_step", lambda X, centres: spherical(X, centres, similarity=torch.abs)),
    ("spherical_step", lambda X, centres: spherical(X, centres, added=1e-3)),
    ("spherical_step", lambda X, centres: spherical(X / X.norm(dim=0), centres)),
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
