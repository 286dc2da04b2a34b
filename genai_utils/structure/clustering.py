"""Clustering: K-means with its relatives, agglomerative trees, and the mixture behind K-means.

Symbols: X (n, d) holds one example per row, C (K, d) one centre per row, labels (n,) int64 the
cluster of each example, Z (n, K) the labels as one-hot rows. Inertia is the squared Euclidean
distance of every example to its centre, summed over the examples: J = ||X - Z C||_F^2.

Sources: Lloyd 1982; Arthur & Vassilvitskii 2007 (k-means++); Sculley 2010 (mini-batch); Lance &
Williams 1967; Ward 1963; Dempster, Laird & Rubin 1977 (EM); Dhillon & Modha 2001 (spherical).
Lecture items A1-A5.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LINKAGES = ("single", "complete", "average", "ward")
STARTS = ("k-means++", "random")


def _matrix(X: Tensor, name="X") -> Tensor:
    """Return X if it is a finite, non-empty, real floating-point matrix; else say what is wrong."""
    if not isinstance(X, Tensor):
        got = type(X).__name__
        raise TypeError(f"{name} should be a torch tensor, got {got}; use torch.as_tensor")
    if X.dim() != 2 or X.numel() == 0:
        shape = tuple(X.shape)
        raise ValueError(f"{name} should be (n, d) with n, d >= 1, got {shape}; is it empty?")
    if not X.is_floating_point():
        raise TypeError(f"{name} should hold real floating-point numbers, got {X.dtype}")
    if not torch.isfinite(X).all():
        raise ValueError(f"{name} holds NaN or infinity; drop or fill in those rows first")
    return X


def _clusters(K: int, n: int) -> int:
    if type(K) is not int:
        raise TypeError(f"K should be an integer, got {type(K).__name__} {K!r}")
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
    D = lengths - 2 * X @ centres.T + (centres**2).sum(dim=1)  # (n, K)
    return D.clamp(min=0)  # rounding can leave -1e-7 where a point sits on its centre


def assign(X: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre of every example: labels (n,) and squared distances (n,). Ties: the first.

    Works through X in pieces that fit a processor's cache, which also bounds the memory.
    """
    rows = 2**21 // max(X.shape[1], len(centres)) + 1
    pieces = [squared_distances(x, centres).min(dim=1) for x in X.split(rows)]
    return torch.cat([p.indices for p in pieces]), torch.cat([p.values for p in pieces])


def update(X: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """New centres: the mean of the examples of each cluster; an empty cluster keeps its old centre.

    c_k = sum_i z_ik x_i / sum_i z_ik, in matrices C = (Z^T Z)^-1 Z^T X with one-hot rows Z.
    X is (n, d), labels (n,), centres (K, d), used for empty clusters only; returns (K, d).
    """
    Z = F.one_hot(labels, len(centres)).to(X.dtype)  # (n, K)
    counts = Z.sum(dim=0)[:, None]  # (K, 1)
    return torch.where(counts > 0, Z.T @ X / counts.clamp(min=1), centres)


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
    _clusters(len(_matrix(centres, "centres")), len(_matrix(X)))
    if centres.shape[1] != X.shape[1]:
        raise ValueError(f"centres should have {X.shape[1]} columns, got {tuple(centres.shape)}")
    centres, labels, distances = refill(X, centres, *assign(X, centres))
    history = [distances.sum(dtype=torch.float64).item()]
    for _ in range(most):
        centres = update(X, labels, centres)
        centres, new, distances = refill(X, centres, *assign(X, centres))
        history.append(distances.sum(dtype=torch.float64).item())
        done = torch.equal(new, labels) or history[-1] >= history[-2]
        labels = new
        if done:
            break
    return Clusters(centres, labels, history[-1], history)


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
    n = len(_matrix(X))
    _clusters(K, n)
    if start not in STARTS:
        raise ValueError(f"start should be one of {STARTS}, got {start!r}")
    if start == "random":
        return X[torch.randperm(n, generator=generator)[:K].to(X.device)]
    chosen = torch.randint(n, (1,), generator=generator).tolist()
    nearest = squared_distances(X, X[chosen])  # (n, 1)
    while len(chosen) < K:
        p = plus_plus_probabilities(nearest).double().cpu()
        chosen.append(int(torch.multinomial(p, 1, generator=generator)))
        nearest = torch.minimum(nearest, squared_distances(X, X[chosen[-1:]]))
    return X[chosen]


def kmeans(X: Tensor, K: int, starts=10, start="k-means++", most=300, seed=0) -> Clusters:
    """The best of `starts` runs of Lloyd's algorithm, by inertia. X is (n, d), on any device.

    The mean is subtracted first and added at the end: it changes no distance, and keeps
    ||x||^2 - 2 <x, c> + ||c||^2 exact where the data lie far from the origin. Lecture items A3, A4.
    """
    mean = _matrix(X).mean(dim=0)
    generator = torch.Generator().manual_seed(seed)
    Y = X - mean
    runs = (lloyd(Y, start_centres(Y, K, start, generator), most) for _ in range(starts))
    best = min(runs, key=lambda run: run.inertia)
    return best._replace(centres=best.centres + mean)


def minibatch_kmeans(X: Tensor, K: int, batch=1024, steps=300, seed=0) -> Clusters:
    """K-means that sees `batch` random examples per step: c_k is the mean of all that it was given.

    c_k <- c_k + (1 / N_k) sum_{i in batch, k} (x_i - c_k), N_k the examples given to k so far: a
    gradient step with its own falling rate for each centre. Sculley 2010, algorithm 1. `history`
    holds the inertia at the end only.
    """
    g = torch.Generator().manual_seed(seed)
    n, counts = len(_matrix(X)), torch.zeros(_clusters(K, len(X)), 1).to(X)
    centres = start_centres(X[torch.randperm(n, generator=g)[: max(3 * batch, K)]], K, generator=g)
    for _ in range(steps):
        x = X[torch.randint(n, (batch,), generator=g).to(X.device)]
        Z = F.one_hot(assign(x, centres)[0], K).to(x)  # (batch, K)
        counts = counts + Z.sum(dim=0)[:, None]
        given = Z.T @ x - Z.sum(dim=0)[:, None] * centres  # (K, d)
        centres = centres + given / counts.clamp(min=1)
    labels, distances = assign(X, centres)
    inertia = distances.sum(dtype=torch.float64).item()
    return Clusters(centres, labels, inertia, [inertia])


def spherical_step(X: Tensor, centres: Tensor) -> Tensor:
    """One step of spherical K-means: Lloyd's algorithm with cosine similarity instead of distance.

    Scale the rows of X to length 1, give each to the centre with the largest inner product, then
    c_k = s_k / ||s_k|| with s_k the sum of the rows that k got; a cluster without rows keeps its
    centre. X is (n, d), centres (K, d) of length 1; returns (K, d). Dhillon & Modha 2001.
    """
    U = F.normalize(X, dim=1)  # (n, d)
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
    normal = torch.distributions.MultivariateNormal(means, covariances)
    return weights.log() + normal.log_prob(X[:, None])


def em(X: Tensor, means: Tensor, variance=None, steps=100, ridge=1e-6) -> Mixture:
    """EM for a mixture of K Gaussians, from the given means (K, d) and equal weights.

    E: r_ik = w_k N(x_i; m_k, S_k) / sum_l w_l N(x_i; m_l, S_l).  M: weights, means and covariances
    become averages weighted by r (plus `ridge` on the diagonal). With `variance` s^2 only the means
    move, S_k = s^2 I and w_k = 1 / K: for s -> 0 this is Lloyd's algorithm. Dempster et al. 1977.
    """
    K, d = len(_matrix(means, "means")), _matrix(X).shape[1]
    eye = torch.eye(d).to(X).expand(_clusters(K, len(X)), d, d)
    covariances = eye * (X.var(dim=0).mean() if variance is None else variance)
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
            covariances = covariances + ridge * eye
    return Mixture(weights, means, covariances, R, history)


def bic(log_likelihood: float, n: int, d: int, K: int) -> float:
    """Bayesian information criterion of a mixture with full covariances: lower is better.

    -2 log L + p log n with p = (K - 1) + K d + K d (d + 1) / 2 free parameters. Schwarz 1978.
    """
    return -2 * log_likelihood + (K - 1 + K * d + K * d * (d + 1) // 2) * math.log(n)


# --- trees


def distance_matrix(X: Tensor, metric: str = "euclidean") -> Tensor:
    """Distances between all rows, (n, n) float64: ||x - y||, or 1 - cos(x, y) for "cosine"."""
    X = _matrix(X).double()
    if metric == "euclidean":
        return torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist")
    if metric != "cosine":
        raise ValueError(f"metric should be 'euclidean' or 'cosine', got {metric!r}")
    if (X.norm(dim=1) == 0).any():
        raise ValueError("a row of zeros has no direction, so no cosine: leave it out")
    U = F.normalize(X, dim=1)
    return (1 - U @ U.T).clamp(min=0).fill_diagonal_(0)


def lance_williams(d_i, d_j, d_ij, n_i, n_j, n_k, method: str) -> Tensor:
    """Distance of every other cluster k to the cluster that i and j become, from known distances.

    single: min(d_i, d_j).  complete: max(d_i, d_j).  average: (n_i d_i + n_j d_j) / (n_i + n_j).
    ward: ((n_i + n_k) d_i + (n_j + n_k) d_j - n_k d_ij) / (n_i + n_j + n_k); its d are SQUARED.
    d_i, d_j (m,) are the distances of the others to i and to j, d_ij that between these two, n_i,
    n_j and n_k (m,) the numbers of examples. Returns (m,). Lance & Williams 1967.
    """
    if method == "single":
        return torch.minimum(d_i, d_j)
    if method == "complete":
        return torch.maximum(d_i, d_j)
    if method == "average":
        return (n_i * d_i + n_j * d_j) / (n_i + n_j)
    return ((n_i + n_k) * d_i + (n_j + n_k) * d_j - n_k * d_ij) / (n_i + n_j + n_k)


def linkage(D: Tensor, method: str = "ward") -> Tensor:
    """The tree of agglomerative clustering: n - 1 times merge the two clusters that are closest.

    D (n, n) holds the distances between the examples (Euclidean for "ward"). Returns (n - 1, 4)
    float64 as SciPy does: the two clusters merged, the height (their distance), the new size; the
    new cluster is called n, n + 1, ... Memory n^2, time about n^2. Lecture item A5.
    """
    if method not in LINKAGES:
        raise ValueError(f"method should be one of {LINKAGES}, got {method!r}")
    if _matrix(D, "D").shape[0] != D.shape[1] or not torch.allclose(D, D.T) or D.min() < 0:
        raise ValueError("D should be square, symmetric, not negative; use distance_matrix(X)")
    n, inf = len(D), math.inf
    D = (D.double() ** 2 if method == "ward" else D.double().clone()).fill_diagonal_(inf)
    size, name = torch.ones(n).to(D), list(range(n))
    least, near = D.min(dim=1)  # of each row: distance and index of its nearest other cluster
    merges = []
    for step in range(n - 1):
        i = int(least.argmin())
        j = int(near[i])
        merges.append([*sorted((name[i], name[j])), float(D[i, j]), float(size[i] + size[j])])
        row = lance_williams(D[i], D[j], D[i, j], size[i], size[j], size, method)  # (n,)
        row[i] = row[j] = inf
        D[i] = D[:, i] = row  # i is the new cluster ...
        D[j] = D[:, j] = inf  # ... and j is gone
        size[i], name[i], least[j] = size[i] + size[j], n + step, inf
        stale = (near == i) | (near == j)
        least[stale], near[stale] = D[stale].min(dim=1)
    merges = torch.tensor(merges, dtype=torch.float64).view(-1, 4)
    if method == "ward":
        merges[:, 2] = merges[:, 2].sqrt()
    return merges


def cut(merges: Tensor, K: int) -> Tensor:
    """Labels (n,) of K clusters: undo the last K - 1 merges of the tree. One tree, every K."""
    n = len(merges) + 1
    labels = torch.arange(n)
    for step, (a, b) in enumerate(merges[: n - _clusters(K, n), :2].long().tolist()):
        labels[(labels == a) | (labels == b)] = n + step
    return labels.unique(return_inverse=True)[1]
