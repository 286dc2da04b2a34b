"""Clustering: K-means with its relatives, and the mixture behind it; trees: see `agglomerative`.

Symbols: X (n, d) holds one example per row, C (K, d) one centre per row, labels (n,) int64 the
cluster of each example, Z (n, K) the labels as one-hot rows. Inertia is the squared Euclidean
distance of every example to its centre, summed over the examples: J = ||X - Z C||_F^2.

||x||^2 - 2 <x, c> + ||c||^2 is quick, but a difference of large numbers: far from the origin, or
where clusters are narrow, it keeps no digit of the distance. So it is used with the data moved to
the origin, and where the distance is small against these numbers, it comes from differences.

Sources: Lloyd 1982; Arthur & Vassilvitskii 2007 (k-means++); Sculley 2010 (mini-batch); Dempster,
Laird & Rubin 1977 (EM); Dhillon & Modha 2001 (spherical). Lecture items A1-A4.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_utils.inputs import all_finite, array, number, one_of, refusal, whole
from genai_utils.structure.agglomerative import (  # noqa: F401, chapter 1 knows them from here
    LINKAGES,
    cut,
    distance_matrix,
    lance_williams,
    linkage,
)
from genai_utils.structure.pca import moved, origin

STARTS = ("k-means++", "random")


def _points(X, name="X") -> Tensor:
    """X (n, d) as a tensor; its sentences are those that chapter 1 shows."""
    X = array(X, name, finite=False, empty=True)
    if X.dim() != 2 or X.numel() == 0:
        shape = tuple(X.shape)
        raise ValueError(f"{name} should be (n, d) with n, d >= 1, got {shape}; is it empty?")
    if not all_finite(X):
        raise ValueError(f"{name} holds NaN or infinity; drop or fill in those rows first")
    return X


def _clusters(K: int, n: int) -> int:
    K = whole(K, "K", least=None)
    if not 1 <= K <= n:
        raise ValueError(f"K should be between 1 and the number of points, n = {n}, got {K}")
    return K


# --- K-means


def squared_distances(X: Tensor, centres: Tensor) -> Tensor:
    """Squared Euclidean distance of every example to every centre.

    D_ik = ||x_i||^2 - 2 <x_i, c_k> + ||c_k||^2, which is one matrix product and needs no array of
    n K d numbers. X is (n, d), centres (K, d); returns (n, K), no entry below 0.
    """
    lengths = (X**2).sum(dim=1, keepdim=True)  # (n, 1)
    D = lengths - X @ (2 * centres).T + (centres**2).sum(dim=1)  # (n, K); not 2 * X, a copy of X
    return D.clamp(min=0)  # rounding can leave -1e-7 where a point sits on its centre


def assign(X: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre of every example: labels (n,) and squared distances (n,). Ties: the first."""
    X, centres = array(X, "X", finite=False), array(centres, "centres", finite=False)
    near = origin(X)
    return nearest(moved(X, near), centres - near)[:2]


def pieces(X: Tensor, width: int = 1) -> tuple[Tensor, ...]:
    """X (n, d) in runs of rows, which also bound the memory of what has `width` columns for each.

    A run stays in a processor's cache while it is worked on; a graphics card wants longer ones.
    """
    return X.split(2 ** (19 if X.device.type == "cpu" else 24) // max(X.shape[1], width) + 1)


def squared_lengths(X: Tensor) -> Tensor:
    """||x_i||^2 of every row of X (n, d): (n,). A norm makes no array of squares."""
    return torch.linalg.vector_norm(X, dim=1).square()


def sweep(X: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both half-steps in one pass over X (n, d): each row is fetched from memory once.

    ||c_k||^2 - 2 <c_k, x_i> differs from the squared distance by ||x_i||^2, so the same k makes it
    least. Returns that k as labels (n,), the least value (n,), and the sum of the rows that each
    centre got (K, d), in float64.
    """
    K, found = len(centres), []
    between, twice = (centres**2).sum(dim=1, keepdim=True), -2 * centres  # (K, 1), (K, d)
    sums = torch.zeros_like(centres, dtype=torch.float64)
    for x in pieces(X, K):
        least, labels = torch.addmm(between, twice, x.T).min(dim=0)  # (K, rows): the quicker way up
        if x.device.type == "cpu":
            sums += torch.zeros_like(centres).index_add_(0, labels, x)
        else:  # a card would add the rows in another order each time
            sums += F.one_hot(labels, K).to(x).T @ x
        found.append((labels, least))
    return *(torch.cat(part) for part in zip(*found, strict=True)), sums


def nearest(X: Tensor, centres: Tensor, lengths: Tensor | None = None):
    """`assign` for data that lie around the origin, and the sums of each cluster (K, d) in float64.

    lengths (n,): `squared_lengths`, if known.
    """
    labels, least, sums = sweep(X, centres)
    distances = (least + (squared_lengths(X) if lengths is None else lengths)).clamp(min=0)
    # A small difference of large numbers has lost its digits; such are computed anew.
    lost = (distances < 0.1 * (centres**2).sum(dim=1)[labels]).nonzero().flatten()
    for some in lost.split(len(pieces(X)[0])):
        distances[some] = (X[some] - centres[labels[some]]).square().sum(dim=1)
    return labels, distances, sums


def update(X: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """New centres: the mean of the examples of each cluster; an empty cluster keeps its old centre.

    c_k = sum_i z_ik x_i / sum_i z_ik, in matrices C = (Z^T Z)^-1 Z^T X with one-hot rows Z.
    X is (n, d), labels (n,), centres (K, d), used for empty clusters only; returns (K, d).
    """
    Z = F.one_hot(labels, len(centres)).to(X.dtype)  # (n, K)
    counts = Z.sum(dim=0)[:, None]  # (K, 1)
    return torch.where(counts > 0, Z.T @ X / counts.clamp(min=1), centres)


def sizes(labels: Tensor, K: int) -> Tensor:
    """How many examples each cluster has, (K, 1)."""
    return torch.bincount(labels, minlength=K)[:, None]


def refill(X: Tensor, centres: Tensor, labels: Tensor, distances: Tensor):
    """The rule for empty clusters: each takes over the example that is farthest from its centre.

    It never takes the last example of a cluster, so that none becomes empty in turn; with n >= K
    there is always one to take. The inertia falls by the distance of the example that moves.
    Returns new (centres, labels, distances).
    """
    counts = torch.bincount(labels, minlength=len(centres))
    for k in (counts == 0).nonzero().flatten().tolist():
        free = torch.where(counts[labels] > 1, distances, -1.0)
        i = int(free.argmax())
        centres, labels, distances = centres.clone(), labels.clone(), distances.clone()
        counts[labels[i]] -= 1
        centres[k], labels[i], distances[i], counts[k] = X[i], k, 0.0, 1
    return centres, labels, distances


def settle(X: Tensor, centres: Tensor, lengths: Tensor):
    """Assign, and fill what is empty: centres, labels, distances, and each cluster's sum (K, d)."""
    labels, distances, sums = nearest(X, centres, lengths)
    centres, filled, distances = refill(X, centres, labels, distances)
    others = (filled != labels).nonzero().flatten()  # they went to clusters that were empty
    sums.index_add_(0, labels[others], X[others].double(), alpha=-1)
    sums.index_add_(0, filled[others], X[others].double())
    return centres, filled, distances, sums


class Clusters(NamedTuple):
    """centres (K, d), labels (n,), inertia, and the inertia after each assignment, `history`."""

    centres: Tensor
    labels: Tensor
    inertia: float
    history: list


def lloyd(X: Tensor, centres: Tensor, most: int = 300) -> Clusters:
    """Lloyd's algorithm: assign every example to its nearest centre, move centres to means, repeat.

    Stops at a fixed point, when no label changes (or rounding keeps the inertia from falling), or
    after `most` moves of the centres. Neither half-step can raise the inertia. Lecture item A3.
    """
    X = _points(X)
    centres = _points(centres, "centres").to(X)
    _clusters(len(centres), len(X))
    if centres.shape[1] != X.shape[1]:
        raise ValueError(f"centres should have {X.shape[1]} columns, got {tuple(centres.shape)}")
    near = origin(X)  # where the data lie; seen from there no digit is lost
    X, centres = moved(X, near), centres - near
    lengths = squared_lengths(X)  # they stay: once is enough
    centres, labels, distances, sums = settle(X, centres, lengths)
    history = [distances.sum(dtype=torch.float64).item()]
    for _ in range(whole(most, "most", 0)):
        centres = (sums / sizes(labels, len(centres))).to(X)  # none is empty: see `refill`
        centres, new, distances, sums = settle(X, centres, lengths)
        history.append(distances.sum(dtype=torch.float64).item())
        done = torch.equal(new, labels) or history[-1] >= history[-2]
        labels = new
        if done:
            break
    return Clusters(centres + near, labels, history[-1], history)


def plus_plus_probabilities(distances: Tensor) -> Tensor:
    """k-means++: the probability of every example to become the next centre.

    p_i = D_i / sum_j D_j, where D_i is the squared distance to the nearest of the centres so far.
    distances (n, m) holds the squared distances to these m centres; returns (n,). If every example
    sits on a centre, all are equally likely. Arthur & Vassilvitskii 2007, section 2.2.
    """
    nearest = distances.min(dim=1).values  # (n,)
    total = nearest.sum()
    return nearest / total if total > 0 else torch.full_like(nearest, 1 / len(nearest))


def start_centres(X: Tensor, K: int, start: str = "k-means++", generator=None) -> Tensor:
    """K examples to start from: "k-means++" (far from each other), or "random" (all alike)."""
    X = _points(X)
    n, K = len(X), _clusters(K, len(X))
    if one_of(start, "start", STARTS) == "random":
        return X[torch.randperm(n, generator=generator)[:K].to(X.device)]
    chosen = torch.randint(n, (1,), generator=generator).tolist()

    def to_last():
        """Squared distance of every example to the centre drawn last, (n, 1)."""
        away = [(x - X[chosen[-1]]).square().sum(dim=1, keepdim=True) for x in pieces(X)]
        return torch.cat(away)

    D = to_last()
    for _ in range(K - 1):
        p = plus_plus_probabilities(D).double().cpu()
        chosen.append(int(torch.multinomial(p, 1, generator=generator)))
        D = torch.minimum(D, to_last())
    return X[chosen]


def kmeans(X: Tensor, K: int, starts=10, start="k-means++", most=300, seed=0) -> Clusters:
    """The best of `starts` runs of Lloyd's algorithm, by inertia. X is (n, d), on any device.

    The mean is subtracted first and added at the end, which changes no distance. Items A3, A4.
    """
    X, K = _points(X), _clusters(K, len(X))
    mean, generator = X.mean(dim=0), torch.Generator().manual_seed(seed)
    Y = X - mean
    starting = (start_centres(Y, K, start, generator) for _ in range(whole(starts, "starts")))
    best = min((lloyd(Y, C, most) for C in starting), key=lambda run: run.inertia)
    return best._replace(centres=best.centres + mean)


def minibatch_kmeans(X: Tensor, K: int, batch=1024, steps=300, seed=0) -> Clusters:
    """K-means that sees `batch` random examples per step: c_k is the mean of all that it was given.

    c_k <- c_k + (1 / N_k) sum_{i in batch, k} (x_i - c_k), N_k the examples given to k so far: a
    gradient step with its own falling rate for each centre. Sculley 2010, algorithm 1. `history`
    holds the inertia at the end only. A cluster that is empty there is filled as in `lloyd`.
    """
    X, batch, g = _points(X), whole(batch, "batch"), torch.Generator().manual_seed(seed)
    n, counts, near = len(X), torch.zeros(_clusters(K, len(X)), 1).long().to(X.device), origin(X)
    X = moved(X, near)  # see `lloyd`
    centres = start_centres(X[torch.randperm(n, generator=g)[: max(3 * batch, K)]], K, generator=g)
    for _ in range(whole(steps, "steps")):
        labels, _, sums = sweep(X[torch.randint(n, (batch,), generator=g).to(X.device)], centres)
        given = sizes(labels, K)
        counts += given
        centres = (centres + (sums - given * centres) / counts.clamp(min=1)).to(X)
    centres, labels, distances, _ = settle(X, centres, squared_lengths(X))
    inertia = distances.sum(dtype=torch.float64).item()
    return Clusters(centres + near, labels, inertia, [inertia])


def spherical_step(X: Tensor, centres: Tensor) -> Tensor:
    """One step of spherical K-means: Lloyd's algorithm with cosine similarity instead of distance.

    Scale the rows of X to length 1, give each to the centre with the largest inner product, then
    c_k = s_k / ||s_k|| with s_k the sum of the rows that k got; a cluster without rows keeps its
    centre. X is (n, d), centres (K, d) of length 1; returns (K, d). Dhillon & Modha 2001.
    """
    U = F.normalize(X, dim=1, eps=1e-30)  # (n, d)
    labels = (U @ centres.T).argmax(dim=1)  # (n,)
    sums = F.one_hot(labels, len(centres)).to(U.dtype).T @ U  # (K, d)
    lengths = sums.norm(dim=1, keepdim=True)  # (K, 1)
    return torch.where(lengths > 0, F.normalize(sums, dim=1), centres)


# --- the mixture of Gaussians behind it


class Mixture(NamedTuple):
    """weights (K,), means (K, d), covariances (K, d, d), responsibilities (n, K), and `history`:
    the log-likelihood of all data in nats, before each step and at the end."""

    weights: Tensor
    means: Tensor
    covariances: Tensor
    responsibilities: Tensor
    history: list


def log_joint(X: Tensor, weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """log w_k N(x_i; m_k, S_k) in nats, (n, K)."""
    factors, wrong = torch.linalg.cholesky_ex(covariances)
    if wrong.any():
        raise refusal(
            "covariances", "positive definite matrices", f"{int((wrong > 0).sum())} that are not",
            "a larger ridge keeps a cluster from becoming flat",
        )  # fmt: skip
    normal = torch.distributions.MultivariateNormal(means, scale_tril=factors)
    return weights.log() + normal.log_prob(X[:, None])


def em(X: Tensor, means: Tensor, variance=None, steps=100, ridge=1e-6) -> Mixture:
    """EM for a mixture of K Gaussians, from the given means (K, d) and equal weights.

    E: r_ik = w_k N(x_i; m_k, S_k) / sum_l w_l N(x_i; m_l, S_l).  M: weights, means and covariances
    become averages weighted by r (plus `ridge`, in squared units of X, on the diagonal). With
    `variance` s^2 only the means move, S_k = s^2 I and w_k = 1 / K: for s -> 0 this is Lloyd's
    algorithm. Calculates in float64, and returns X's dtype. Dempster et al. 1977.
    """
    X, means = _points(X), _points(means, "means")
    K, d, dtype = _clusters(len(means), len(X)), X.shape[1], X.dtype
    X, means, eye = X.double(), means.double(), torch.eye(d).to(X).double()
    number(ridge, "ridge", least=0), whole(steps, "steps", 0)
    columns = X.var(dim=0, correction=min(1, len(X) - 1))  # (d,); of one row: 0
    spread = columns.mean() if variance is None else number(variance, "variance", above=0)
    if spread == 0 and ridge == 0:
        raise refusal("X", "points that differ", f"{len(X)} equal ones", "set ridge or variance")
    # A cluster on a line or in a point stays a Gaussian, whatever the unit of a column.
    least = torch.diag(torch.clamp(1e-12 * columns, min=ridge))
    covariances = (eye * spread if spread > 0 else least).expand(K, d, d)
    weights, history = torch.full((K,), 1 / K).to(X), []
    for step in range(steps + 1):
        joint = log_joint(X, weights, means, covariances)  # (n, K)
        R = joint.softmax(dim=1)
        history.append(joint.logsumexp(dim=1).sum().item())
        if step == steps or (step and history[-1] - history[-2] <= 1e-9 * abs(history[-1])):
            break
        counts = R.sum(dim=0).clamp(min=1e-12)  # (K,)
        means = R.T @ X / counts[:, None]
        if variance is None:
            weights = counts / counts.sum()
            away = X[:, None] - means  # (n, K, d)
            covariances = torch.einsum("nk,nki,nkj->kij", R, away, away) / counts[:, None, None]
            covariances = (covariances + covariances.mT) / 2 + least
    parts = weights, means, covariances, R
    return Mixture(*(part.to(dtype) for part in parts), history)


def bic(log_likelihood: float, n: int, d: int, K: int) -> float:
    """Bayesian information criterion of a mixture with full covariances: lower is better.

    -2 log L + p log n with p = (K - 1) + K d + K d (d + 1) / 2 free parameters. Schwarz 1978.
    """
    return -2 * log_likelihood + (K - 1 + K * d + K * d * (d + 1) // 2) * math.log(n)
