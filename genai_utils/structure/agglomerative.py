"""Agglomerative clustering: the tree that grows when the two closest clusters are merged.

Symbols: X (n, d) holds one example per row, D (n, n) the distances between examples, labels (n,)
int64 the cluster of each.

Sources: Lance & Williams 1967; Ward 1963. Lecture item A5.
"""

import math

import torch
from torch import Tensor

from genai_utils.inputs import matrix, one_of, refusal, whole

LINKAGES = ("single", "complete", "average", "ward")


def distance_matrix(X: Tensor, metric: str = "euclidean") -> Tensor:
    """Distances between all rows, (n, n) float64: ||x - y||, or 1 - cos(x, y) for "cosine".

    Raises ValueError for a cosine with a row of zeros, which has no direction.
    """
    X = matrix(X, "X").double()
    if one_of(metric, "metric", ("euclidean", "cosine")) == "euclidean":
        return torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist")
    lengths = X.norm(dim=1, keepdim=True)
    if (lengths == 0).any():
        raise refusal("X", "rows with a direction", "a row of zeros", "leave it out")
    U = X / lengths
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
    one_of(method, "method", LINKAGES)
    D = matrix(D, "D").double()
    square = D.shape[0] == D.shape[1]
    # Symmetric up to rounding, in whatever unit: no tolerance but that of the largest distance.
    if not square or D.min() < 0 or (D - D.T).abs().max() > 1e-5 * D.max():
        raise refusal(
            "D", "a square, symmetric matrix without negative entries", "another one",
            "use distance_matrix(X)",
        )  # fmt: skip
    n, inf = len(D), math.inf
    D = (D**2 if method == "ward" else D.clone()).fill_diagonal_(inf)
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
    K, labels = whole(K, "K", 1, n), torch.arange(n)
    for step, (a, b) in enumerate(merges[: n - K, :2].long().tolist()):
        labels[(labels == a) | (labels == b)] = n + step
    return labels.unique(return_inverse=True)[1]
