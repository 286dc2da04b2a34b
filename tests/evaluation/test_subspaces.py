"""Angles between planes that were turned by a known angle, and maps that were turned and scaled."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch

from genai_utils.evaluation import procrustes, subspace_angle


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("degrees", [0, 1e-7, 0.1, 30, 45, 60, 90])
def test_angle_of_a_plane_turned_by_a_known_angle(degrees):
    t = math.radians(degrees)
    e = np.eye(4)
    a = e[:, :2]
    b = np.stack([e[0], math.cos(t) * e[1] + math.sin(t) * e[2]], axis=1)
    assert subspace_angle(a, b) == pytest.approx(degrees, rel=1e-6, abs=1e-12)


def test_angle_does_not_see_the_basis(rng):
    a = rng.normal(size=(20, 3))
    mixed = a @ rng.normal(size=(3, 3))
    assert subspace_angle(a, mixed) < 1e-10
    b = rng.normal(size=(20, 3))
    assert subspace_angle(mixed, -7 * b) == pytest.approx(subspace_angle(a, b))


def test_angle_equals_scipy_and_the_cosines(rng):
    for columns in (1, 2, 5):
        a, b = rng.normal(size=(12, 4)), rng.normal(size=(12, columns))
        expected = np.degrees(scipy.linalg.subspace_angles(a, b).max())
        assert subspace_angle(torch.tensor(a), b) == pytest.approx(expected)
        cosines = np.linalg.svd(np.linalg.qr(a)[0].T @ np.linalg.qr(b)[0])[1]
        assert subspace_angle(a, b) == pytest.approx(np.degrees(np.arccos(cosines.min())))


def test_a_smaller_subspace_inside_a_larger_one_has_no_angle(rng):
    a = rng.normal(size=(10, 4))
    assert subspace_angle(a, a @ [1.0, -2.0, 0.0, 3.0]) < 1e-10  # a vector is one column


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.eye(3), np.eye(4), "b: expected as many rows as a, 3, got 4"),
        (np.zeros((3, 2)), np.eye(3), "a: expected columns that span a subspace, got zeros only"),
        (
            np.eye(3),
            np.ones((3, 1, 1)),
            r"b: expected a matrix \(d, k\), got the shape \(3, 1",
        ),
        (np.eye(3), np.full((3, 1), np.nan), "b: expected finite numbers, got 3 NaN"),
    ],
)
def test_angle_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        subspace_angle(a, b)


def rotation(rng, d, reflect):
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    q = q * np.sign(np.diag(r))
    if (np.linalg.det(q) < 0) != reflect:
        q[:, 0] *= -1
    return q


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("d", [2, 5])
def test_procrustes_undoes_shift_rotation_reflection_and_scale(rng, d, reflect):
    target = rng.normal(size=(30, d)) + 4
    points = 0.2 * target @ rotation(rng, d, reflect) - 7
    aligned, disparity = procrustes(target, points)
    np.testing.assert_allclose(aligned, target, atol=1e-12)
    assert disparity < 1e-24


def test_procrustes_equals_scipy_and_lies_in_the_targets_units(rng):
    target = rng.normal(size=(40, 2)) * [30, 10]
    points = target @ rotation(rng, 2, False) / 50 + 0.3 * rng.normal(size=(40, 2))
    aligned, disparity = procrustes(target, points)
    assert 0.05 < disparity < 1
    assert disparity == pytest.approx(scipy.spatial.procrustes(target, points)[2])
    left = np.square(target - aligned.numpy()).sum() / np.square(target - target.mean(0)).sum()
    assert disparity == pytest.approx(left)


@pytest.mark.parametrize(
    ("target", "points", "message"),
    [
        (
            np.eye(3),
            np.eye(3)[:2],
            r"the shape of target, \(3, 3\), .* got \(2, 3\)",
        ),
        (np.ones((3, 2)), np.eye(3)[:, :2], "target: expected points that span a shape"),
        (np.eye(3)[:, :2], np.full((3, 2), 0.1), "points: expected points that span a shape"),
        (np.eye(2)[:1], np.eye(2)[:1], "of at least 2 rows, got 1"),
    ],
)
def test_procrustes_refuses(target, points, message):
    with pytest.raises(ValueError, match=message):
        procrustes(target, points)
