"""Metrics between two sets of feature vectors: real and generated, training and test."""

from typing import NamedTuple

import torch

from genai_utils.evaluation.inputs import (
    as_array,
    as_labels,
    as_points,
    same_width,
)
from genai_utils.inputs import refusal, whole

ROWS = 1024  # rows of a distance matrix held at once: 10,000 columns are 80 MB


def _frechet(mean_a, root_a, mean_b, root_b):
    """Fréchet distance from means (d,) and any roots R (r, d) of the covariances, C = RᵀR.

    The eigenvalues of C_a C_b are the squared singular values of R_a R_bᵀ, so the trace of its
    square root is their sum. This never takes the root of a rounded zero: it stays exact to
    1e-15 where covariances are singular, where a matrix square root gives 1e-8 or complex numbers.
    """
    spread = root_a.square().sum() + root_b.square().sum()  # tr C_a + tr C_b
    overlap = torch.linalg.svdvals(root_a @ root_b.T).sum()  # tr (C_a C_b)^½
    value = (mean_a - mean_b).square().sum() + spread - 2 * overlap
    return value.clamp(min=0).item()  # rounding may leave −1e-15


def frechet_distance(feats_a, feats_b):
    """Fréchet distance between Gaussians fitted to two sets of features, in squared feature units.

        d² = ‖μ_a − μ_b‖² + tr(C_a + C_b − 2 (C_a C_b)^½)

    feats_a: (n, d), feats_b: (m, d), n, m ≥ 2; covariances are divided by n − 1, as in the FID.
    Symmetric, 0 for a set with itself, singular covariances (n ≤ d) included. Like the FID it is
    the squared 2-Wasserstein distance, is biased upwards for small n, and depends on whose features
    are taken: compare numbers of one judge and one n only.

    Raises ValueError for different d, fewer than 2 rows, NaN.
    Source: Dowson & Landau 1982; Heusel et al. 2017, eq. 6; lecture items A41, A111.
    """
    moments = []
    for name, feats in (("feats_a", feats_a), ("feats_b", feats_b)):
        x = as_points(feats, name, at_least=2)  # (n, d)
        root = torch.linalg.qr(x - x.mean(0), mode="r").R / (len(x) - 1) ** 0.5  # (min(n, d), d)
        moments += [x.mean(0), root]
    same_width(moments[1], moments[3], "feats_a", "feats_b")
    return _frechet(*moments)


def frechet_gaussians(mean_a, cov_a, mean_b, cov_b):
    """Fréchet distance between N(μ_a, C_a) and N(μ_b, C_b); the equation of `frechet_distance`.

    mean: (d,), cov: (d, d), symmetric and positive semi-definite. In one dimension it is
    (μ_a − μ_b)² + (σ_a − σ_b)². Squared units of the variable.

    Raises ValueError for shapes that do not fit, or a covariance that is none.
    Source: Dowson & Landau 1982.
    """
    moments = []
    for name, mean, cov in (("a", mean_a, cov_a), ("b", mean_b, cov_b)):
        mean, cov = as_array(mean, f"mean_{name}"), as_array(cov, f"cov_{name}")
        if mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
            raise refusal(
                f"mean_{name}, cov_{name}", "the shapes (d,) and (d, d)",
                f"{tuple(mean.shape)} and {tuple(cov.shape)}",
            )  # fmt: skip
        values, vectors = torch.linalg.eigh(cov)
        room = 1e-8 * cov.abs().max()
        if not torch.allclose(cov, cov.T, rtol=0, atol=room) or values[0] < -room:
            raise refusal(
                f"cov_{name}", "a covariance: symmetric, with eigenvalues of at least 0",
                f"a lowest eigenvalue of {values[0]:.3g}" if torch.equal(cov, cov.T)
                else "a matrix that is not symmetric",
            )  # fmt: skip
        moments += [mean, values.clamp(min=0).sqrt()[:, None] * vectors.T]  # (d,), (d, d)
    same_width(moments[1], moments[3], "cov_a", "cov_b")
    return _frechet(*moments)


def diversity(feats):
    """Mean distance between two samples, in feature units: 0 if a generator has collapsed.

        D = 2 / (n (n − 1)) · Σ_{i<j} ‖f_i − f_j‖

    feats: (n, d), n ≥ 2. Compare it with that of real data by the same features. It measures
    spread, not coverage: two far modes of ten can have all the spread (for coverage see recall in
    `precision_recall`).

    Raises ValueError for fewer than 2 rows, NaN. Source: lecture item A41.
    """
    x = as_points(feats, "feats", at_least=2)  # (n, d)
    total = sum(_distances(rows, x).sum().item() for rows in x.split(ROWS))
    return total / (len(x) * (len(x) - 1))  # the n zeros of the diagonal add nothing


class PrecisionRecall(NamedTuple):
    """Two shares in [0, 1]: of fakes that look real, and of the real that the fakes cover."""

    precision: float
    recall: float


def precision_recall(real_feats, fake_feats, k=3):
    """Share of fakes inside the manifold of the real samples, and of the real inside the fakes'.

        manifold(F) = union of balls around each f in F, its radius the distance to the k-th nearest
                      other member of F
        precision = share of fakes in manifold(real),   recall = share of real in manifold(fakes)

    real_feats: (n, d), fake_feats: (m, d), n, m > k. Precision is quality, recall is coverage: mode
    collapse keeps the first and loses the second. Time O((n + m)² d), memory O(n + m).

    Raises ValueError for different d, k < 1, or no more than k samples in a set.
    Source: Kynkäänniemi et al. 2019, eqs. 1-2.
    """
    k = whole(k, "k")
    real = as_points(real_feats, "real_feats", at_least=k + 1)  # (n, d)
    fake = as_points(fake_feats, "fake_feats", at_least=k + 1)  # (m, d)
    same_width(real, fake, "real_feats", "fake_feats")
    return PrecisionRecall(
        precision=_share_inside(fake, real, _radii(real, k)),
        recall=_share_inside(real, fake, _radii(fake, k)),
    )


def _distances(rows, x):
    # The differences are squared one by one: |a|² + |b|² − 2ab is faster but leaves 1e-8 instead
    # of 0 between equal points; whether a copy lies in a ball of radius 0 must not depend on it.
    return torch.cdist(rows, x, compute_mode="donot_use_mm_for_euclid_dist")  # (rows, n)


def _radii(x, k):
    # The nearest of all is the point itself, at distance 0: hence k + 1.
    return torch.cat([_distances(rows, x).kthvalue(k + 1).values for rows in x.split(ROWS)])  # (n,)


def _share_inside(points, centres, radii):
    inside = [(_distances(rows, centres) <= radii).any(dim=1) for rows in points.split(ROWS)]
    return torch.cat(inside).double().mean().item()


def nearest_distance(x, others):
    """Euclidean distance of each x to the nearest of the others: 0 unmasks a copy.

        d(x) = min_j ‖x − o_j‖

    x: (n, d), others: (m, d); further axes are flattened. Returns (n,) float64. Time O(n m d).
    Compare its median with that of held-out data: far below means memorised, far above no data.

    Raises ValueError for different d, NaN. Source: lecture items B56, A82.
    """
    x, others = as_points(x, "x"), as_points(others, "others")
    same_width(others, x, "others", "x")
    centre = others.mean(0)  # small numbers lose less in |o|² − 2xo
    around = others - centre  # (m, d)
    squares = around.square().sum(1)  # (m,); |x|² moves no minimum
    best = []
    for rows in x.split(ROWS):
        nearest = others[(squares - 2 * (rows - centre) @ around.T).argmin(1)]  # (rows, d)
        best.append((rows - nearest).norm(dim=1))  # from the difference: exactly 0 for a copy
    return torch.cat(best)


def knn_accuracy(train_x, train_y, test_x, test_y, k=5):
    """Share of test samples whose label is the commonest among their k nearest training samples.

        ŷ(x) = argmax_c #{i in the k nearest by ‖x − x_i‖ : y_i = c}

    train_x: (n, d), test_x: (m, d) (images are flattened), train_y: (n,), test_y: (m,) whole
    numbers ≥ 0. A tie goes to the lower label. In [0, 1]. It says how well a code keeps the classes
    apart without having seen a label.

    Raises ValueError for different d, k outside 1…n, labels that do not match the samples.
    Source: Fix & Hodges 1951; equals scikit-learn's KNeighborsClassifier.
    """
    train_x, test_x = as_points(train_x, "train_x"), as_points(test_x, "test_x")
    same_width(train_x, test_x, "train_x", "test_x")
    train_y = as_labels(train_y, "train_y", len(train_x))
    test_y = as_labels(test_y, "test_y", len(test_x))
    k = whole(k, "k", most=len(train_x))
    classes = int(train_y.max()) + 1
    centre = train_x.mean(0)  # small numbers lose less in |a|² + |b|² − 2ab
    train_x, test_x = train_x - centre, test_x - centre
    correct = 0
    for rows, labels in zip(test_x.split(ROWS), test_y.split(ROWS), strict=True):
        far = train_x.square().sum(1) - 2 * rows @ train_x.T  # (rows, n), |row|² left out
        votes = train_y[far.topk(k, largest=False).indices]  # (rows, k)
        counts = torch.nn.functional.one_hot(votes, classes).sum(1)  # (rows, classes)
        correct += (counts.argmax(1) == labels).sum().item()
    return correct / len(test_x)
