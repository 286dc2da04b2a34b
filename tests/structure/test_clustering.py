"""Clustering against its theorems, scikit-learn and SciPy."""

import math
import warnings

import numpy as np
import pytest
import scipy.cluster.hierarchy
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from genai_utils.structure import clustering as c
from genai_utils.structure import pca
from tests.card import Card


def gaussian(n=60, d=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


def blobs(n=300, K=4, seed=1):
    X, y = make_blobs(n, centers=K, cluster_std=0.6, center_box=(-8, 8), random_state=seed)
    return torch.tensor(X), y


def naive(X, C):
    return (X[:, None] - C).square().sum(-1)


def inertia(X, C, labels):
    return (X - C[labels]).square().sum().item()


@pytest.fixture(scope="module")
def digits():
    raw = load_digits()
    return torch.tensor(raw.data / 16), raw.target


# ---------------------------------------------------------------- K-means


def test_squared_distances_are_those_of_the_definition_and_never_negative():
    X, C = gaussian(40, 3), gaussian(5, 3, 1)
    torch.testing.assert_close(c.squared_distances(X, C), naive(X, C))
    far = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) + 1000  # float32
    assert c.squared_distances(far, far).min() == 0


def test_assign_works_in_pieces_and_takes_the_first_of_equals(monkeypatch):
    X, C = gaussian(3_000, 900), gaussian(4, 900, 1)
    labels, distances = c.assign(X, C)
    assert len(c.pieces(X, 4)) == 6
    torch.testing.assert_close(distances, torch.cdist(X, C).square().min(1).values)
    assert torch.equal(labels, torch.cdist(X, C).argmin(1))
    twice = torch.tensor([[1.0], [1.0]])
    assert c.assign(torch.ones(3, 1), twice)[0].tolist() == [0, 0, 0]


def totals(X, labels, K):
    """The sum of the rows of each cluster, (K, d), by the definition."""
    return torch.stack([X[labels == k].double().sum(0) for k in range(K)])


def test_a_sweep_is_both_half_steps_on_a_processor_and_on_a_card():
    X, C = gaussian(3_000, 900).float(), gaussian(4, 900, 1).float()
    labels, least, sums = c.sweep(X, C)
    D = torch.cdist(X.double(), C.double()).square()
    assert torch.equal(labels, D.argmin(1)) and sums.dtype == torch.float64
    lengths = X.double().square().sum(1)
    torch.testing.assert_close(c.squared_lengths(X).double(), lengths, rtol=1e-5, atol=0)
    torch.testing.assert_close(least.double() + lengths, D.min(1).values, rtol=1e-5, atol=0)
    torch.testing.assert_close(sums, totals(X, labels, 4), rtol=0, atol=1e-3)
    with Card():
        there = [part.cpu() for part in c.sweep(X.to("cuda"), C.to("cuda"))]
    assert torch.equal(there[0], labels)
    torch.testing.assert_close(there[1:], [least, sums], rtol=0, atol=1e-3)


def test_the_sums_are_those_of_the_clusters_after_empty_ones_were_filled():
    X, C = gaussian(50, 3), torch.cat([gaussian(3, 3, 1), torch.full((2, 3), 99.0).double()])
    centres, labels, distances, sums = c.settle(X, C, c.squared_lengths(X))
    assert labels.bincount(minlength=5).min() >= 1 and (labels >= 3).sum() == 2
    torch.testing.assert_close(sums, totals(X, labels, 5))
    torch.testing.assert_close(distances, (X - centres[labels]).square().sum(1))


def test_update_gives_means_and_keeps_the_centre_of_an_empty_cluster():
    X, old = gaussian(9, 2), gaussian(4, 2, 5)
    labels = torch.tensor([0, 0, 1, 3, 1, 0, 3, 3, 3])
    new = c.update(X, labels, old)
    for k in (0, 1, 3):
        torch.testing.assert_close(new[k], X[labels == k].mean(0))
    assert torch.equal(new[2], old[2])


def test_neither_half_step_raises_the_inertia_and_lloyd_ends_at_a_fixed_point(digits):
    X = digits[0]
    for seed in range(5):
        C = c.start_centres(X, 12, "random", torch.Generator().manual_seed(seed))
        run, values = c.lloyd(X, C), []
        for _ in range(len(run.history)):
            labels, D = c.assign(X, C)
            values.append(inertia(X, C, labels))
            assert values[-1] == pytest.approx(D.sum().item(), rel=1e-9)
            C = c.update(X, labels, C)
            values.append(inertia(X, C, labels))
        assert all(b <= a * (1 + 1e-12) for a, b in zip(values, values[1:], strict=False))
        np.testing.assert_allclose(run.history, values[: 2 * len(run.history) : 2], rtol=1e-9)
        assert torch.equal(c.assign(X, run.centres)[0], run.labels)  # A3
        moved = c.update(X, run.labels, run.centres)
        torch.testing.assert_close(moved, run.centres)
        assert run.inertia == run.history[-1]


def test_lloyd_equals_scikit_learn_from_the_same_start(digits):
    X = digits[0]
    for seed in range(3):
        start = c.start_centres(X, 10, "random", torch.Generator().manual_seed(seed))
        ours = c.lloyd(X, start)
        theirs = KMeans(10, init=start.numpy(), n_init=1, tol=0, algorithm="lloyd").fit(X.numpy())
        assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-10)
        np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, atol=1e-10)
        assert (ours.labels.numpy() == theirs.labels_).all()


def test_best_of_ten_is_within_one_percent_of_scikit_learn_s(digits):
    ours = c.kmeans(digits[0].float(), 10)
    theirs = KMeans(10, n_init=10, random_state=0).fit(digits[0].numpy())
    assert ours.inertia <= 1.01 * theirs.inertia_  # A3
    assert adjusted_rand_score(digits[1], ours.labels) > 0.6


def test_separated_blobs_are_found():
    X, y = blobs()
    assert adjusted_rand_score(y, c.kmeans(X, 4).labels) >= 0.9  # A3


def test_most_bounds_the_moves_and_zero_moves_only_assign():
    X, _ = blobs()
    start = X[:6]
    none, two = c.lloyd(X, start, most=0), c.lloyd(X, start, most=2)
    assert torch.equal(none.centres, start) and len(none.history) == 1
    assert len(two.history) == 3
    again = c.lloyd(X, two.centres)
    assert again.inertia == c.lloyd(X, start).inertia


def test_an_empty_cluster_takes_the_farthest_example_of_a_cluster_that_can_spare_one():
    X = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    C = torch.tensor([[1.0], [25.0], [99.0], [98.0]])  # two of them get nobody
    labels, D = c.assign(X, C)
    assert labels.tolist() == [0, 0, 0, 1]
    centres, new, distances = c.refill(X, C, labels, D)
    assert new.tolist() == [2, 0, 3, 1]  # 30 is the last of its cluster, so it stays
    assert centres.flatten().tolist() == [1.0, 25.0, 0.0, 2.0]
    assert distances.tolist() == [0, 0, 0, 25] and distances.sum() <= D.sum()
    assert C.flatten().tolist() == [1.0, 25.0, 99.0, 98.0] and labels.tolist() == [0, 0, 0, 1]
    run = c.lloyd(X, C)
    assert run.labels.unique().numel() == 4 and run.inertia == 0
    assert all(b <= a for a, b in zip(run.history, run.history[1:], strict=False))


def test_equal_examples_and_as_many_clusters_as_examples():
    same = torch.ones(5, 2)
    run = c.kmeans(same, 3)
    assert run.inertia == 0 and run.labels.bincount(minlength=3).min() >= 1
    X = gaussian(7, 3)
    assert c.kmeans(X, 7).inertia == pytest.approx(0, abs=1e-20)
    one = c.kmeans(X, 1)
    torch.testing.assert_close(one.centres[0], X.mean(0))


def test_far_from_the_origin_float32_still_finds_the_clusters():
    X, y = blobs()
    far = (X + 1e5).float()
    assert adjusted_rand_score(y, c.kmeans(far, 4).labels) > 0.9
    assert (c.kmeans(far, 4).centres - 1e5).abs().max() < 20


def villages(seed=0):
    """60 houses in each of three villages, metres east and north as in UTM, float64."""
    g = torch.Generator().manual_seed(seed)
    middle = torch.tensor([[0.0, 0.0], [300.0, 0.0], [0.0, 300.0]]).repeat_interleave(60, 0)
    return middle + 20 * torch.randn(180, 2, generator=g), torch.tensor([500_000.0, 5_400_000.0])


@pytest.mark.parametrize("find", [c.kmeans, c.minibatch_kmeans])
def test_map_coordinates_in_float32_give_the_villages_and_their_inertia(find):
    near, corner = villages()
    run = find(near + corner, 3)
    assert run.labels.bincount().tolist() == [60, 60, 60]
    assert run.labels.view(3, 60).unique(dim=1).shape == (3, 1)
    exact = find((near + corner).double(), 3)
    assert run.inertia == pytest.approx(exact.inertia, rel=1e-3)
    torch.testing.assert_close(run.centres, exact.centres.float(), rtol=0, atol=0.5)


def test_lloyd_and_assign_see_far_data_as_near_ones():
    near, corner = villages()
    far, start = near + corner, torch.arange(0, 180, 60)
    run, exact = c.lloyd(far, far[start]), c.lloyd(far.double(), far[start].double())
    assert torch.equal(run.labels, exact.labels) and len(run.history) == len(exact.history)
    np.testing.assert_allclose(run.history, exact.history, rtol=1e-3)
    labels, D = c.assign(far, far[start])
    torch.testing.assert_close(D, (far - far[start][labels]).square().sum(1))
    assert torch.equal(labels, c.assign(far.double(), far[start].double())[0])
    drawn = [c.start_centres(x, 3, generator=torch.Generator().manual_seed(1)) for x in
             (far, far.double())]  # fmt: skip
    assert torch.equal(drawn[0].double(), drawn[1])


def test_unix_times_may_come_as_whole_numbers():
    g = torch.Generator().manual_seed(0)
    days = torch.tensor([0, 30, 90]).repeat_interleave(40) * 86_400
    times = (1_700_000_000 + days + torch.randint(20, (120,), generator=g))[:, None]
    for X in (times, times.numpy(), times.tolist()):
        run = c.kmeans(X, 3)
        assert sorted(run.labels.bincount().tolist()) == [40, 40, 40]
        spread = times.double() - run.centres[run.labels]
        assert run.inertia == pytest.approx(spread.square().sum().item())
        assert spread.abs().max() < 20  # seconds; float32 knows steps of 128


@pytest.mark.parametrize("find", [c.kmeans, c.minibatch_kmeans])
def test_narrow_clusters_keep_their_inertia(find):
    four = torch.tensor([[1 + 1e-4], [1 - 1e-4], [-1 + 1e-4], [-1 - 1e-4]])
    assert find(four, 2).inertia == pytest.approx(4e-8, rel=1e-3)
    assert find(four, 4).labels.unique().numel() == 4


def test_the_origin_is_zero_for_ordinary_data_and_exact_for_all():
    g = torch.Generator().manual_seed(0)
    for X in (torch.rand(50, 3, generator=g), torch.randn(50, 3, generator=g) + 0.3):
        for unit in (1.0, 1e-60, 1e60):
            assert pca.origin(X.double() * unit).tolist() == [0, 0, 0]
    X = torch.cat([villages()[0] + villages()[1], torch.full((180, 1), -7.25)], dim=1)
    moved = X - pca.origin(X)
    assert torch.equal(moved.double(), X.double() - pca.origin(X).double())
    assert moved.abs().max() < 2000 and moved[:, 2].abs().max() < 4


@pytest.mark.parametrize("find", [c.kmeans, c.minibatch_kmeans])
def test_more_clusters_than_different_points_leave_none_empty(find):
    X = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).repeat(4, 1)
    run = find(X, 5)
    assert run.labels.bincount(minlength=5).min() >= 1 and run.inertia == 0
    assert torch.isfinite(run.centres).all()


def test_arrays_and_lists_are_points_too(digits):
    X = digits[0][:200]
    for made in (X.numpy(), X.tolist()):
        assert torch.equal(c.kmeans(made, 4).centres, c.kmeans(X, 4).centres)
        assert torch.equal(c.em(made, made[:2], steps=3).means, c.em(X, X[:2], steps=3).means)
        assert torch.equal(c.distance_matrix(made), c.distance_matrix(X))
        assert torch.equal(c.assign(made, made[:3])[1], c.assign(X, X[:3])[1])


def test_seeded_functions_leave_the_global_generators_alone():
    X = gaussian()
    torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    c.kmeans(X, 3), c.minibatch_kmeans(X, 3, steps=3), c.em(X, X[:2], steps=2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_plus_plus_probabilities_and_the_centres_drawn_with_them():
    D = torch.tensor([[0.0, 4.0], [1.0, 9.0], [16.0, 3.0]])
    torch.testing.assert_close(c.plus_plus_probabilities(D), torch.tensor([0, 0.25, 0.75]))
    assert c.plus_plus_probabilities(torch.zeros(4, 2)).tolist() == [0.25] * 4
    X = torch.tensor([[0.0], [1.0], [3.0]]).double()  # second centre: by hand, given the first
    counts = torch.zeros(3, 3)
    for seed in range(3_000):
        C = c.start_centres(X, 2, generator=torch.Generator().manual_seed(seed)).flatten()
        counts[(X[:, 0] == C[0]).int().argmax(), (X[:, 0] == C[1]).int().argmax()] += 1
    share = counts / counts.sum(1, keepdim=True)
    wanted = torch.tensor([[0, 1 / 10, 9 / 10], [1 / 5, 0, 4 / 5], [9 / 13, 4 / 13, 0]])
    assert (share - wanted).abs().max() < 0.05
    for seed in range(50):  # a centre is never drawn twice
        all_three = c.start_centres(X, 3, generator=torch.Generator().manual_seed(seed))
        assert sorted(all_three.flatten().tolist()) == [0, 1, 3]


def test_plus_plus_starts_are_as_good_as_scikit_learn_s_and_better_than_random(digits):
    X, ours, theirs, alike = digits[0], [], [], []
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        ours.append(c.assign(X, c.start_centres(X, 10, generator=g))[1].sum())
        alike.append(c.assign(X, c.start_centres(X, 10, "random", g))[1].sum())
        peer, _ = kmeans_plusplus(X.numpy(), 10, n_local_trials=1, random_state=seed)
        theirs.append(c.assign(X, torch.tensor(peer))[1].sum())
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)
    assert np.mean(ours) < np.mean(alike)


def test_minibatch_centres_are_the_means_of_all_that_they_were_given(digits):
    X = digits[0].float()
    one = c.minibatch_kmeans(X[:, :9] + 3, 1, batch=16, steps=1, seed=4)
    g = torch.Generator().manual_seed(4)
    c.start_centres(X[torch.randperm(len(X), generator=g)[:48]], 1, generator=g)
    rows = torch.randint(len(X), (16,), generator=g)
    torch.testing.assert_close(one.centres[0], X[rows, :9].mean(0) + 3)
    two = c.minibatch_kmeans(X[:, :9] + 3, 1, batch=16, steps=2, seed=4)
    rows = torch.cat([rows, torch.randint(len(X), (16,), generator=g)])
    torch.testing.assert_close(two.centres[0], X[rows, :9].mean(0) + 3)
    many = c.minibatch_kmeans(X, 10, batch=256, steps=100)
    assert many.inertia < 1.06 * c.kmeans(X, 10).inertia
    assert many.inertia == pytest.approx(inertia(X, many.centres, many.labels), rel=1e-5)


def test_the_same_seed_gives_the_same_clusters(digits):
    X = digits[0]
    for find in (c.kmeans, c.minibatch_kmeans):
        assert torch.equal(find(X, 5, seed=3).centres, find(X, 5, seed=3).centres)
    assert not torch.equal(
        c.kmeans(X, 9, starts=1, seed=1).centres, c.kmeans(X, 9, starts=1, seed=2).centres
    )


def test_inertia_is_a_factorisation_error_that_pca_bounds_from_below(digits):
    X = digits[0]
    run = c.kmeans(X, 6)
    Z = torch.nn.functional.one_hot(run.labels, 6).double()
    assert (X - Z @ run.centres).norm() ** 2 == pytest.approx(run.inertia, rel=1e-9)
    torch.testing.assert_close(torch.linalg.lstsq(Z, X).solution, run.centres)
    assert run.inertia > pca.tail_energy(pca.thin_svd(X)[1])[6]


def test_spherical_steps_do_not_depend_on_the_unit():
    X = gaussian(30, 4).float()
    C = torch.nn.functional.normalize(X[:3], dim=1)
    torch.testing.assert_close(c.spherical_step(X * 1e-14, C), c.spherical_step(X, C))


def test_spherical_steps_never_lower_the_total_similarity(digits):
    X = digits[0] * torch.linspace(0.1, 5, len(digits[0])).double()[:, None]
    U = X / X.norm(dim=1, keepdim=True)
    C, values = U[:8], []
    for _ in range(40):
        values.append((U @ C.T).max(1).values.sum().item())
        C = c.spherical_step(X, C)
        torch.testing.assert_close(C.norm(dim=1), torch.ones(8).double())
    assert all(b >= a - 1e-9 for a, b in zip(values, values[1:], strict=False))
    torch.testing.assert_close(c.spherical_step(X, C), c.spherical_step(U, C))


# ---------------------------------------------------------------- the mixture


def test_em_equals_scikit_learn_from_the_same_start():
    X, _ = blobs()
    means, s2 = X[:4], X.var(0).mean()
    ours = c.em(X, means, steps=30, ridge=1e-6)
    peer = GaussianMixture(
        4, tol=0, max_iter=30, weights_init=[0.25] * 4, means_init=means.numpy(),
        precisions_init=np.stack([np.eye(2) / s2.item()] * 4), reg_covar=1e-6,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tol=0 never "converges"
        peer.fit(X.numpy())
    np.testing.assert_allclose(ours.means, peer.means_, atol=1e-5)
    np.testing.assert_allclose(ours.covariances, peer.covariances_, atol=1e-5)
    np.testing.assert_allclose(ours.weights, peer.weights_, atol=1e-6)
    assert ours.history[-1] == pytest.approx(peer.score(X.numpy()) * len(X), rel=1e-7)
    assert c.bic(ours.history[-1], len(X), 2, 4) == pytest.approx(peer.bic(X.numpy()), rel=1e-7)


@pytest.mark.parametrize("variance", [None, 2.0, 0.05])
def test_em_never_lowers_the_log_likelihood(variance):
    X = gaussian(200, 3)
    history = c.em(X, X[:5], variance, steps=60, ridge=0).history
    assert len(history) > 5
    assert all(b >= a - 1e-9 * abs(a) for a, b in zip(history, history[1:], strict=False))


def test_small_variance_turns_em_into_lloyd(digits):
    X = pca.PCA(6).fit(digits[0]).transform(digits[0])[:600]
    start = X[:5]
    hard = c.lloyd(X, start)
    gaps = []
    for s2 in (1.0, 0.1, 1e-2, 1e-3, 1e-4):
        soft = c.em(X, start, s2, steps=200)
        gaps.append((soft.means - hard.centres).abs().max().item())
    assert gaps[0] > 0.1 and gaps[-1] < 1e-6
    assert torch.equal(soft.responsibilities.argmax(1), hard.labels)
    assert soft.responsibilities.max(1).values.min() > 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_em_takes_columns_of_unlike_units(dtype):
    for seed in range(6):
        g = torch.Generator().manual_seed(seed)
        X = torch.randn(150, 3, generator=g) + 3 * torch.randint(3, (150, 1), generator=g)
        X = X.to(dtype) * torch.tensor([1e6, 1e-3, 1.0], dtype=dtype)
        run, exact = c.em(X, X[:4]), c.em(X.double(), X[:4].double())
        assert torch.isfinite(run.covariances).all() and run.covariances.dtype == dtype
        assert (np.diff(run.history) >= -1e-5 * abs(run.history[-1])).all()
        assert run.history[-1] == pytest.approx(exact.history[-1], rel=1e-9)


def test_em_of_one_row_and_of_equal_rows_is_as_wide_as_the_ridge():
    for X in (torch.ones(1, 2), torch.ones(6, 2), torch.ones(6, 2).double()):
        run = c.em(X, X[:1], ridge=0.25)
        assert run.means.tolist() == [[1, 1]] and run.weights.tolist() == [1]
        torch.testing.assert_close(run.covariances[0], 0.25 * torch.eye(2).to(X))
        per_row = -math.log(2 * math.pi * 0.25)  # the density of N(0, I / 4) at its mean
        assert run.history[-1] == pytest.approx(len(X) * per_row)
        with pytest.raises(ValueError, match="points that differ.*ridge"):
            c.em(X, X[:1], ridge=0)
    line = torch.linspace(-1, 1, 9).double()[:, None] * torch.ones(2)  # no width across
    assert math.isfinite(c.em(line, line[[0, 8]], ridge=0).history[-1])
    with pytest.raises(ValueError, match="positive definite.*ridge"):
        c.log_joint(line, torch.ones(1), line[:1], torch.ones(1, 2, 2).double())


def test_responsibilities_are_bayes_rule():
    X, w = gaussian(6, 2), torch.tensor([0.2, 0.8]).double()
    m, S = gaussian(2, 2, 3), torch.stack([torch.eye(2), 2 * torch.eye(2)]).double()
    joint = c.log_joint(X, w, m, S)
    for k in range(2):
        square = ((X - m[k]) ** 2).sum(1) / S[k, 0, 0]
        by_hand = w[k] * torch.exp(-square / 2) / (2 * math.pi * S[k, 0, 0])
        torch.testing.assert_close(joint[:, k].exp(), by_hand)


# ---------------------------------------------------------------- trees


@pytest.mark.parametrize("method", c.LINKAGES)
@pytest.mark.parametrize("n, d", [(2, 1), (3, 2), (40, 5), (300, 3)])
def test_trees_equal_scipy_s(method, n, d):
    X = gaussian(n, d)
    ours = c.linkage(c.distance_matrix(X), method)
    theirs = scipy.cluster.hierarchy.linkage(X.numpy(), method)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)  # A5
    for K in {1, 2, min(7, n), n}:
        labels = scipy.cluster.hierarchy.fcluster(theirs, K, "maxclust")
        assert adjusted_rand_score(labels, c.cut(ours, K)) == 1


def test_trees_of_other_distances_equal_scipy_s():
    X = gaussian(50, 6)
    for method in ("single", "complete", "average"):
        ours = c.linkage(c.distance_matrix(X, "cosine"), method)
        theirs = scipy.cluster.hierarchy.linkage(X.numpy(), method, "cosine")
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_trees_do_not_depend_on_the_unit_of_length():
    X = gaussian(20, 3)
    for unit in (1e-12, 1e12):
        for metric in ("euclidean", "cosine"):
            ours = c.linkage(c.distance_matrix(X * unit, metric), "average")
            usual = c.linkage(c.distance_matrix(X, metric), "average")
            assert torch.equal(ours[:, :2], usual[:, :2])
            height = usual[:, 2] * (unit if metric == "euclidean" else 1)
            torch.testing.assert_close(ours[:, 2], height, rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="a square, symmetric"):
        c.linkage(torch.tensor([[0.0, 1e-12], [2e-12, 0.0]]))


def test_each_merge_is_what_lance_williams_says_it_is():
    """Single, complete, average: the definition on the pairs. Ward: the growth of the inertia."""
    X = gaussian(12, 3)
    pair = c.distance_matrix(X)
    A, B, other = torch.arange(0, 4), torch.arange(4, 6), torch.arange(6, 12)
    define = {
        "single": lambda P, Q: pair[P][:, Q].min(),
        "complete": lambda P, Q: pair[P][:, Q].max(),
        "average": lambda P, Q: pair[P][:, Q].mean(),
        "ward": lambda P, Q: 2 * len(P) * len(Q) / (len(P) + len(Q))
        * (X[P].mean(0) - X[Q].mean(0)).square().sum(),
    }  # fmt: skip
    for method, d in define.items():
        got = c.lance_williams(
            d(A, other)[None], d(B, other)[None], d(A, B),
            *torch.tensor([4.0, 2.0, 6.0]).double(), method,
        )  # fmt: skip
        assert got.item() == pytest.approx(d(torch.cat([A, B]), other).item(), rel=1e-12)


def test_one_tree_gives_every_number_of_clusters_and_they_are_nested():
    X = gaussian(30, 2)
    tree = c.linkage(c.distance_matrix(X), "average")
    assert (tree[1:, 2] >= tree[:-1, 2]).all() and tree[-1, 3] == 30
    before = torch.zeros(30).long()
    for K in range(1, 31):
        labels = c.cut(tree, K)
        assert labels.unique().tolist() == list(range(K))
        assert len({*zip(before.tolist(), labels.tolist(), strict=True)}) == K  # refined
        before = labels


def test_wards_height_is_the_growth_of_the_inertia():
    X = gaussian(25, 3)
    tree = c.linkage(c.distance_matrix(X), "ward")

    def cost(K):
        labels = c.cut(tree, K)
        return inertia(X, c.update(X, labels, X[:K]), labels)

    for step, height in enumerate(tree[:, 2].tolist()):
        K = 25 - step
        assert cost(K - 1) - cost(K) == pytest.approx(height**2 / 2, rel=1e-9)


def test_single_linkage_finds_the_moons_and_k_means_does_not():
    X, y = make_moons(300, noise=0.05, random_state=0)
    X = torch.tensor(X)
    single = c.cut(c.linkage(c.distance_matrix(X), "single"), 2)
    assert adjusted_rand_score(y, single) > 0.95  # A4
    assert adjusted_rand_score(y, c.kmeans(X, 2).labels) < 0.6


def test_single_link_trees_of_cosine_and_euclid_are_one_on_unit_rows():
    X = torch.nn.functional.normalize(gaussian(80, 5), dim=1)
    flat, turn = (c.linkage(c.distance_matrix(X, m), "single") for m in ("euclidean", "cosine"))
    assert torch.equal(flat[:, :2], turn[:, :2])  # A2
    torch.testing.assert_close(flat[:, 2], (2 * turn[:, 2]).sqrt())


# ---------------------------------------------------------------- types, devices, bad input


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_the_dtype(dtype):
    X = gaussian().to(dtype)
    for run in (c.kmeans(X, 3), c.minibatch_kmeans(X, 3, batch=8, steps=5)):
        assert run.centres.dtype == dtype and run.labels.dtype == torch.int64
    assert c.em(X, X[:2], steps=2).means.dtype == dtype
    assert c.spherical_step(X, X[:2]).dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_results_are_the_same_on_cuda():
    X = gaussian(200, 5)
    here, there = c.kmeans(X, 4), c.kmeans(X.cuda(), 4)
    assert there.centres.is_cuda and there.inertia == pytest.approx(here.inertia, rel=1e-9)
    assert torch.equal(here.labels, there.labels.cpu())
    for method in c.LINKAGES:
        torch.testing.assert_close(
            c.linkage(c.distance_matrix(X), method),
            c.linkage(c.distance_matrix(X.cuda()), method), rtol=0, atol=1e-9)  # fmt: skip
    assert c.em(X.cuda(), X[:3].cuda(), steps=3).means.is_cuda
    assert c.minibatch_kmeans(X.cuda(), 3, batch=16, steps=3).centres.is_cuda


@pytest.mark.parametrize(
    "X, error, says",
    [
        ("no numbers", TypeError, "X|D"),
        (torch.zeros(3), ValueError, r"\(n, d\)"),
        (torch.zeros(0, 4), ValueError, "is it empty|none: its shape"),
        (torch.ones(3, 2, dtype=torch.complex64), TypeError, "real numbers"),
        (torch.tensor([[1.0, float("nan")], [0.0, 0.0]]), ValueError, "NaN"),
        (torch.tensor([[1.0, float("inf")], [0.0, 0.0]]), ValueError, "infinit"),
    ],
)
def test_bad_data_are_named(X, error, says):
    uses = (
        lambda X: c.kmeans(X, 2), lambda X: c.minibatch_kmeans(X, 2),
        lambda X: c.start_centres(X, 2), lambda X: c.lloyd(X, torch.zeros(1, 2)),
        lambda X: c.em(X, torch.zeros(1, 2)), c.distance_matrix, c.linkage,
    )  # fmt: skip
    for use in uses:
        with pytest.raises(error, match=says):
            use(X)


@pytest.mark.parametrize(
    "K, error, says",
    [(61, ValueError, "60.* got 61"), (0, ValueError, "1 .*60"), (-1, ValueError, "1 .*60"),
     (2.0, TypeError, "whole number"), (True, TypeError, "whole number")],
)  # fmt: skip
def test_bad_numbers_of_clusters_are_named(K, error, says):
    X = gaussian(60)
    tree = c.linkage(c.distance_matrix(X))
    for use in (
        lambda: c.kmeans(X, K),
        lambda: c.minibatch_kmeans(X, K),
        lambda: c.start_centres(X, K),
        lambda: c.cut(tree, K),
    ):
        with pytest.raises(error, match=says):
            use()
    with pytest.raises(ValueError, match="n = 60, got 61"):
        c.lloyd(X, gaussian(61))


def test_other_mistakes_are_named():
    X = gaussian()
    for say, use in {
        "start: expected": lambda: c.kmeans(X, 2, start="best"),
        "4 columns": lambda: c.lloyd(X, torch.zeros(2, 3).double()),
        "method: expected": lambda: c.linkage(c.distance_matrix(X), "centroid"),
        "square, symmetric": lambda: c.linkage(X),
        "a square": lambda: c.linkage(torch.tensor([[0.0, 1.0], [2.0, 0.0]])),
        "metric: expected": lambda: c.distance_matrix(X, "manhattan"),
        "rows with a direction": lambda: c.distance_matrix(torch.zeros(3, 2), "cosine"),
        "without negative": lambda: c.linkage(-c.distance_matrix(X)),
    }.items():
        with pytest.raises(ValueError, match=say):
            use()
    assert c.linkage(torch.zeros(1, 1)).shape == (0, 4)
