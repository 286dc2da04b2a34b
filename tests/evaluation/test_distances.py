"""Metrics between sets of features: closed forms, hand-made sets, SciPy and scikit-learn."""

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from genai_utils.evaluation import (
    distances,
    diversity,
    frechet_distance,
    frechet_gaussians,
    knn_accuracy,
    nearest_distance,
    precision_recall,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def with_moments(rng, n, mean, cov):
    """n points whose sample mean and covariance are exactly these (n > d)."""
    x = rng.normal(size=(n, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    values, vectors = np.linalg.eigh(cov)
    return white @ (np.sqrt(values.clip(0))[:, None] * vectors.T) + mean


def covariance(rng, d):
    root = rng.normal(size=(d, d))
    return root @ root.T


def by_matrix_square_root(mean_a, cov_a, mean_b, cov_b):
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b - 2 * root)


# frechet_distance, frechet_gaussians


def test_frechet_in_one_dimension_is_the_difference_of_means_and_of_deviations():
    value = frechet_gaussians([1.0], [[4.0]], [4.0], [[0.25]])
    assert value == pytest.approx((1 - 4) ** 2 + (2 - 0.5) ** 2)


def test_frechet_of_axis_parallel_gaussians():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, 5.0])  # standard deviations
    mean_a, mean_b = np.array([0.0, 1.0, 0.0]), np.array([2.0, 1.0, -1.0])
    value = frechet_gaussians(mean_a, np.diag(a**2), mean_b, np.diag(b**2))
    assert value == pytest.approx(5 + np.square(a - b).sum())


def test_frechet_of_covariances_that_do_not_commute(rng):
    mean_a, mean_b = rng.normal(size=(2, 6))
    cov_a, cov_b = covariance(rng, 6), covariance(rng, 6)
    expected = by_matrix_square_root(mean_a, cov_a, mean_b, cov_b)
    assert frechet_gaussians(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected)
    a = with_moments(rng, 20, mean_a, cov_a)
    b = with_moments(rng, 50, mean_b, cov_b)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(torch.tensor(b), a) == pytest.approx(expected)


def test_frechet_of_a_set_with_itself_is_zero(rng):
    for shape in ((100, 8), (5, 40), (2, 3)):  # full rank, and fewer samples than dimensions
        x = 10 * rng.normal(size=shape) + 3
        assert frechet_distance(x, x.copy()) < 1e-11 * np.square(x).sum()


def test_frechet_of_singular_covariances():
    # Variances 4 and 9 along one line, 1 along orthogonal lines: nothing else is spread at all.
    line, other = np.diag([4.0, 0, 0, 0]), np.diag([9.0, 0, 0, 0])
    orthogonal = np.diag([0, 1.0, 0, 0])
    zero = np.zeros(4)
    assert frechet_gaussians(zero, line, zero, other) == pytest.approx(1)
    assert frechet_gaussians(zero, line, zero, orthogonal) == pytest.approx(5)
    assert frechet_gaussians(zero, line, zero, np.zeros((4, 4))) == pytest.approx(4)


def test_frechet_of_fewer_samples_than_dimensions(rng):
    flat = np.zeros((6, 50))
    flat[:, :2] = with_moments(rng, 6, [0.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])
    turn = np.linalg.qr(rng.normal(size=(50, 50)))[0]
    a, b = flat @ turn, (3 * flat + 1) @ turn
    # b's deviations are three times a's in every direction, its mean is off by 1 in each of 50
    assert frechet_distance(a, b) == pytest.approx(50 + (3 - 1) ** 2 * 3)


def test_frechet_refuses(rng):
    x = rng.normal(size=(5, 3))
    with pytest.raises(ValueError, match="as many columns as [a-z_]+, 3, got 2"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(ValueError, match="feats_b: .* of at least 2 rows, got 1"):
        frechet_distance(x, x[:1])
    with pytest.raises(ValueError, match=r"feats_a: expected a matrix \(n, d\), got the"):
        frechet_distance(x[0], x)
    with pytest.raises(ValueError, match="feats_b: expected finite numbers, got 15 NaN"):
        frechet_distance(x, x * np.inf)
    good = (np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match=r"cov_b: .* \(d, d\), got \(2,\) and \(3, 3\)"):
        frechet_gaussians(*good, np.zeros(2), np.eye(3))
    for bad in ([[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]]):  # indefinite, not symmetric
        with pytest.raises(ValueError, match="cov_b: expected a covariance"):
            frechet_gaussians(*good, np.zeros(2), bad)
    with pytest.raises(ValueError, match="cov_b: expected as many columns as cov_a, 2, got 3"):
        frechet_gaussians(*good, np.zeros(3), np.eye(3))


# diversity


def test_diversity_of_a_triangle_and_of_a_collapse():
    assert diversity([[0.0, 0], [3, 0], [0, 4]]) == pytest.approx((3 + 4 + 5) / 3)
    assert diversity(np.ones((10, 4))) == 0


def test_diversity_equals_scipy_over_several_blocks(rng, monkeypatch):
    x = rng.normal(size=(50, 3))
    monkeypatch.setattr(distances, "ROWS", 7)
    assert diversity(x) == pytest.approx(pdist(x).mean())
    with pytest.raises(ValueError, match="of at least 2 rows, got 1"):
        diversity(x[:1])


# precision_recall


def test_precision_recall_of_identical_sets_is_one(rng):
    x = rng.normal(size=(60, 5))
    assert precision_recall(x, x.copy()) == (1, 1)
    copies = np.repeat(x[:10], 5, axis=0)  # more copies than k: balls of radius 0
    assert precision_recall(copies, copies) == (1, 1)


def test_precision_recall_of_disjoint_sets_is_zero(rng):
    x = rng.random((60, 5))
    assert precision_recall(x, x + 100) == (0, 0)


def test_fakes_on_half_of_the_real_have_full_precision_and_half_the_recall(rng):
    left, right = rng.random((40, 2)), rng.random((40, 2)) + 100
    real = np.concatenate([left, right])
    assert precision_recall(real, left) == (1, 0.5)
    assert precision_recall(left, real) == (0.5, 1)  # and the other way round


def test_a_common_shift_changes_nothing(rng):
    # Far from the origin |a|² + |b|² − 2ab would leave nothing but rounding.
    real, fake = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)) + 1
    far = 1e7
    assert precision_recall(real + far, fake + far) == precision_recall(real, fake)
    assert diversity(real + far) == pytest.approx(diversity(real), rel=1e-6)
    assert frechet_distance(real + far, fake + far) == pytest.approx(
        frechet_distance(real, fake), rel=1e-6
    )


def test_precision_recall_of_points_on_a_line():
    # Real 0, 1, 3, 7, k = 1: radii 1, 1, 2, 4, so the manifold is [-1, 5] and [3, 11].
    real = np.array([[0.0], [1], [3], [7]])
    fake = np.array([[-1.5], [-1], [11], [11.5], [40]])  # radii .5, .5, .5, .5, 28.5: [11.5, 68.5]
    assert precision_recall(real, fake, k=1) == (2 / 5, 0)
    # k = 2: real radii 3, 2, 3, 6, so [-3, 13] holds four; fake radii reach 0 and 1 and 3 and 7
    assert precision_recall(real, fake, k=2).precision == 4 / 5
    # One far fake has a wide ball, [1.75, 58.25], and seems to cover 3 and 7: recall's known flaw.
    assert precision_recall(real, np.array([[1.5], [1.75], [30]]), k=1) == (2 / 3, 2 / 4)


def test_precision_recall_equals_a_loop_over_several_blocks(rng, monkeypatch):
    real, fake = rng.normal(size=(40, 3)), 0.7 * rng.normal(size=(30, 3)) + 0.5

    def share(points, centres, k):
        inside = 0
        for p in points:
            for c in centres:
                radius = np.sort(np.linalg.norm(centres - c, axis=1))[k]  # [0] is itself
                if np.linalg.norm(p - c) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    monkeypatch.setattr(distances, "ROWS", 11)
    for k in (1, 3):
        result = precision_recall(torch.tensor(real), fake, k)
        assert result.precision == pytest.approx(share(fake, real, k))
        assert result.recall == pytest.approx(share(real, fake, k))
    assert 0 < result.recall < 1


def test_precision_recall_refuses(rng):
    x = rng.normal(size=(4, 3))
    with pytest.raises(ValueError, match="fake_feats: .* of at least 4 rows, got 3"):
        precision_recall(x, x[:3])
    with pytest.raises(ValueError, match="as many columns as [a-z_]+, 3, got 2"):
        precision_recall(x, x[:, :2])
    with pytest.raises(ValueError, match="k: expected a whole number of at least 1, got 0"):
        precision_recall(x, x, k=0)
    with pytest.raises(TypeError, match="k: expected a whole number of at least 1, got 1.5"):
        precision_recall(x, x, k=1.5)


# knn_accuracy


@pytest.mark.parametrize("k", [1, 2, 5, 50])
def test_knn_accuracy_equals_scikit_learn_on_the_digits(k, monkeypatch):
    monkeypatch.setattr(distances, "ROWS", 100)
    x, y = load_digits(return_X_y=True)
    # whole grey values make equal distances, whose order is anyone's choice: break the ties
    x = x + 1e-3 * np.random.default_rng(0).random(x.shape)
    peer = KNeighborsClassifier(k).fit(x[:600], y[:600])
    expected = peer.score(x[600:1000], y[600:1000])
    assert expected < 0.99
    images = torch.tensor(x).reshape(-1, 1, 8, 8)
    assert knn_accuracy(images[:600], y[:600], images[600:1000], y[600:1000], k) == expected


def test_knn_accuracy_of_a_tie_takes_the_lower_label():
    train = [[0.0], [1.0], [10.0]]
    assert knn_accuracy(train, [7, 2, 2], [[0.4]], [2], k=2) == 1
    assert knn_accuracy(train, [7, 2, 2], [[0.4]], [7], k=1) == 1
    assert knn_accuracy(train, [7, 2, 2], [[0.4], [9.0]], [5, 2], k=1) == 0.5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 4}, ValueError, "k: expected a whole number from 1 to 3, got 4"),
        ({"train_y": [0, 1]}, ValueError, "train_y: expected 3 labels, one a sample, got 2"),
        (
            {"test_y": [[0]]},
            ValueError,
            r"test_y: expected one label a sample, .* got \(1, 1\)",
        ),
        ({"train_y": [0, 1.5, 2]}, TypeError, "train_y: expected whole numbers, got 1.5"),
        ({"train_y": [0, -1, 2]}, ValueError, "labels of at least 0, got -1"),
        (
            {"test_x": [[0.0, 1.0]]},
            ValueError,
            "test_x: expected as many columns as .*, 1, got 2",
        ),
        ({"test_x": np.zeros((0, 1))}, ValueError, "test_x: expected at least one number"),
    ],
)
def test_knn_accuracy_refuses(change, error, message):
    good = {"train_x": [[0.0], [1.0], [2.0]], "train_y": [0, 1, 2], "test_x": [[0.5]]}
    with pytest.raises(error, match=message):
        knn_accuracy(**{**good, "test_y": [0], "k": 1} | change)


def test_nearest_distance_equals_the_full_table_and_is_exactly_zero_for_copies(rng, monkeypatch):
    monkeypatch.setattr(distances, "ROWS", 3)  # several blocks
    x, others = rng.random((7, 1, 3, 3)), rng.random((20, 1, 3, 3))
    table = torch.cdist(torch.from_numpy(x).flatten(1), torch.from_numpy(others).flatten(1))
    assert torch.allclose(nearest_distance(x, others), table.min(1).values, atol=1e-12)
    assert nearest_distance(others[:5], others).max() == 0
    moved = nearest_distance(others + 1e3, others + 1e3 + 0.1)  # far from the origin
    assert (moved <= 0.3 + 1e-9).all() and moved.max() > 0.2


def test_nearest_distance_refuses():
    with pytest.raises(ValueError, match="x: expected as many columns as others, 5, got 4"):
        nearest_distance(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match="others"):
        nearest_distance(torch.zeros(3, 4), torch.zeros(0, 4))


def test_nearest_distance_far_from_the_origin(rng):
    """Places in metres of a map grid: |o|² − 2xo would lose all digits that tell them apart."""
    origin = np.array([5e8, 3e9])
    others = rng.uniform(0, 1000, (400, 2))
    x = rng.uniform(0, 1000, (50, 2))
    expected = np.sqrt(((x[:, None] - others) ** 2).sum(-1)).min(1)
    far = nearest_distance(x + origin, others + origin).numpy()
    np.testing.assert_allclose(far, expected, atol=1e-5)
    assert nearest_distance(others[:5] + origin, others + origin).tolist() == [0.0] * 5


def test_metrics_know_zeros():
    zeros, one = np.zeros((6, 3)), np.ones((6, 3))
    assert frechet_distance(zeros, zeros) == 0 and frechet_distance(zeros, one) == pytest.approx(3)
    assert frechet_gaussians([0.0], [[0.0]], [0.0], [[0.0]]) == 0 and diversity(zeros) == 0
    assert precision_recall(zeros, zeros) == (1, 1) and precision_recall(zeros, one) == (0, 0)
    assert nearest_distance(zeros, zeros).tolist() == [0.0] * 6
    assert knn_accuracy(zeros, [1] * 6, zeros, [1] * 6, k=6) == 1
