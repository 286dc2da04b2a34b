"""NMF against its theorems, scikit-learn, SciPy's least squares, K-means and the SVD."""

import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF as SkNMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer

from genai_utils import data
from genai_utils.structure import nmf, pca

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def positive(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=g, dtype=torch.float64) + 0.05


def problem(n=9, d=7, k=3, seed=0):
    """X, W, H and a mask with something in each row and column."""
    X, W, H = (positive(*s, seed=seed + i) for i, s in enumerate(((n, d), (n, k), (k, d))))
    mask = torch.rand(n, d, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[torch.arange(n), torch.arange(n) % d] = True
    return 4 * X, mask, W, H


def planted(n=120, d=80, k=4, noise=0.02, seed=0):
    """X = W H + noise >= 0 with sparse non-negative factors."""
    g = torch.Generator().manual_seed(seed)
    W, H = (
        torch.rand(*s, generator=g, dtype=torch.float64)
        * (torch.rand(*s, generator=g, dtype=torch.float64) < 0.4)
        for s in ((n, k), (k, d))
    )
    X = W @ H
    error = noise * X.mean() * torch.randn(n, d, generator=g, dtype=torch.float64)
    return (X + error).clamp(min=0), W, H


@pytest.fixture(scope="module")
def digits():
    return torch.tensor(load_digits().data[:600] / 16)  # (600, 64) float64


def scikit_learn(X, start, solver, updates, loss="frobenius", l1=0.0):
    """scikit-learn's factors from the same start. It updates W first, as we do.

    Its penalty is half of ours, times the number of columns for W, of rows for H.
    """
    k = start[0].shape[1]
    model = SkNMF(k, init="custom", solver=solver, beta_loss=loss, tol=0, max_iter=updates)
    model.set_params(l1_ratio=1.0, alpha_W=l1 / 2 / X.shape[1], alpha_H=l1 / 2 / X.shape[0])
    W, H = (A.numpy().copy() for A in start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        W = model.fit_transform(X.numpy(), W=W, H=H)
    return W, model.components_


# ---------------------------------------------------------------- the updates


def gradient(loss, H):
    H = H.clone().requires_grad_()
    return torch.autograd.grad(loss(H), H)[0]


def test_the_update_is_gradient_descent_with_a_step_size_per_entry():
    X, mask, W, H = problem()
    slope = gradient(lambda A: (X - W @ A).square().sum() / 2, H)
    step = H / (W.T @ W @ H)
    torch.testing.assert_close(nmf.multiplicative_update(X, W, H), H - step * slope, **EXACT)
    slope = gradient(lambda A: (X - W @ A).square().sum() + 3.0 * A.sum(), H)
    step = H / (2 * W.T @ W @ H + 3.0)
    torch.testing.assert_close(nmf.l1_update(X, W, H, 3.0), H - step * slope, **EXACT)

    def masked(A):
        return nmf.masked_loss(X, mask, W, A) + 2.0 * (A - 0.7).square().sum()

    step = H / (2 * W.T @ (mask * (W @ H)) + 4.0 * H)
    new = nmf.masked_update(X, mask, W, H, 2.0, 0.7)
    torch.testing.assert_close(new, H - step * gradient(masked, H), **EXACT)
    step = H / W.sum(0)[:, None]
    new = H - step * gradient(lambda A: nmf.kl_divergence(X, W, A), H)
    torch.testing.assert_close(nmf.kl_update(X, W, H), new, **EXACT)


HALS = {"solver": "hals"}
SETTINGS = [{}, {"l1": 2.0}, {"loss": "kl"}, HALS, HALS | {"l1": 2.0}, {"inner": 3, "l1": 2.0}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_loss_never_rises_and_nothing_becomes_negative(digits, settings):
    for seed in range(3):
        model = nmf.NMF(8, seed=seed, **settings).fit(digits, updates=100)
        fall = np.diff(model.history)
        assert (fall <= 1e-9 * model.history[0]).all() and fall[0] < 0
        assert model.W.min() >= 0 and model.H.min() >= 0
        assert model.history[-1] == pytest.approx(model.objective(digits), rel=1e-12)


@pytest.mark.parametrize("pull", [0.0, 0.5, 10.0])
def test_masked_objective_never_rises(pull):
    X, mask, W, H = problem(20, 15, 4)
    prior, before = 0.8, np.inf
    for _ in range(60):
        W = nmf.masked_update(X.T, mask.T, H.T, W.T, pull, prior).T
        H = nmf.masked_update(X, mask, W, H, pull, prior)
        away = (W - prior).square().sum() + (H - prior).square().sum()
        now = (nmf.masked_loss(X, mask, W, H) + pull * away).item()
        assert now <= before + 1e-10
        before = now
    assert W.min() >= 0 and H.min() >= 0


def test_perfect_factors_stay_and_zeros_stay_zero():
    _, mask, W, H = problem()
    H[0, :3] = 0
    torch.testing.assert_close(nmf.multiplicative_update(W @ H, W, H), H, **EXACT)
    torch.testing.assert_close(nmf.kl_update(W @ H, W, H), H, **EXACT)
    assert (nmf.multiplicative_update(positive(9, 7), W, H)[0, :3] == 0).all()
    torch.testing.assert_close(nmf.masked_update(W @ H, mask, W, H, 0.0, 1.0), H, **EXACT)


def test_masked_functions_look_only_where_the_mask_is_true():
    X, mask, W, H = problem()
    hidden = torch.where(mask, X, float("nan"))
    assert nmf.masked_loss(hidden, mask, W, H) == nmf.masked_loss(X, mask, W, H)
    loop = sum(((X[i] - W[i] @ H) ** 2)[mask[i]].sum() for i in range(len(X)))
    torch.testing.assert_close(nmf.masked_loss(X, mask, W, H), loop)
    new = nmf.masked_update(hidden, mask, W, H, 1.0, 0.5)
    torch.testing.assert_close(new, nmf.masked_update(X, mask, W, H, 1.0, 0.5))
    everything = torch.ones_like(mask)
    plain = nmf.multiplicative_update(X, W, H)
    torch.testing.assert_close(nmf.masked_update(X, everything, W, H, 0.0, 0.0), plain, **EXACT)
    torch.testing.assert_close(nmf.l1_update(X, W, H, 0.0), plain, **EXACT)


@pytest.mark.parametrize("pull, prior", [(0.0, 0.0), (3.0, 0.6)])
def test_the_list_of_ratings_gives_the_same_update_as_the_dense_mask(pull, prior):
    X, mask, W, H = problem(12, 8, 3)
    row, column = mask.nonzero(as_tuple=True)
    listed = nmf.observed_update(row, column, X[mask], W, H.T, pull, prior)
    torch.testing.assert_close(listed, nmf.masked_update(X, mask, W, H, pull, prior).T, **EXACT)


def test_fold_in_solves_non_negative_least_squares():
    H, x = positive(3, 20, seed=1), 4 * positive(20, seed=2)
    mask = torch.arange(20) % 3 != 0
    free = nmf.fold_in(torch.where(mask, x, float("nan")), mask, H, 0.0, 0.0, 20_000)
    best, _ = scipy.optimize.nnls(H[:, mask].T.numpy(), x[mask].numpy())
    np.testing.assert_allclose(free, best, atol=1e-4)
    pulled = nmf.fold_in(x, mask, H, 2.0, 0.5, 5_000)
    rows = np.vstack([H[:, mask].T.numpy(), np.sqrt(2) * np.eye(3)])
    best, _ = scipy.optimize.nnls(rows, np.append(x[mask].numpy(), [np.sqrt(0.5)] * 3))
    np.testing.assert_allclose(pulled, best, atol=1e-6)
    nobody = nmf.fold_in(x, torch.zeros(20, dtype=torch.bool), H, 2.0, 0.5, 3)
    torch.testing.assert_close(nobody, torch.full((3,), 0.5, dtype=x.dtype))


def test_kl_update_keeps_the_column_sums_and_the_divergence_is_one():
    X, _, W, H = problem()
    torch.testing.assert_close((W @ nmf.kl_update(X, W, H)).sum(0), X.sum(0), **EXACT)
    assert nmf.kl_divergence(W @ H, W, H).abs() < 1e-9 < nmf.kl_divergence(X, W, H)
    X[0, :] = 0  # 0 log 0 = 0
    fit = W @ H
    by_hand = (X[1:] * (X[1:] / fit[1:]).log() - X[1:] + fit[1:]).sum() + fit[0].sum()
    torch.testing.assert_close(nmf.kl_divergence(X, W, H), by_hand)


# ---------------------------------------------------------------- peers and other chapters


@pytest.mark.parametrize("loss, name", [("frobenius", "frobenius"), ("kl", "kullback-leibler")])
def test_equals_scikit_learn_from_the_same_start(digits, loss, name):
    start = positive(600, 10, seed=1), positive(10, 64, seed=2)
    X = digits + 1e-3
    ours = nmf.NMF(10, loss).fit(X, updates=60, start=start)
    W, H = scikit_learn(X, start, "mu", 60, name)
    np.testing.assert_allclose(ours.W, W, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours.H, H, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("l1", [0.0, 1.5])
def test_row_by_row_is_scikit_learns_coordinate_descent(digits, l1):
    start = positive(600, 10, seed=1), positive(10, 64, seed=2)
    ours = nmf.NMF(10, l1=l1, solver="hals").fit(digits, updates=30, start=start)
    W, H = scikit_learn(digits, start, "cd", 30, l1=l1)
    np.testing.assert_allclose(ours.W, W, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.H, H, rtol=1e-6, atol=1e-8)


def test_each_row_is_set_to_its_best_value():
    X, _, W, H = problem()
    new = nmf.row_by_row(W.T @ X, W.T @ W, H, 0.7)
    for a in range(len(H)):
        H[a] = new[a]
        slope = gradient(lambda A: (X - W @ A).square().sum() + 0.7 * A.sum(), H)[a]
        assert (slope[new[a] > 0].abs() < 1e-9).all() and (slope[new[a] == 0] >= -1e-9).all()
    assert (new == 0).any() and (new > 0).any()
    unused = nmf.row_by_row(torch.zeros(3, 7), torch.zeros(3, 3), H.float(), 0.7)
    assert torch.equal(unused, H.float())


def test_inner_updates_are_updates_with_the_other_side_held(digits):
    W, H = positive(600, 5, seed=1), positive(5, 64, seed=2)
    model = nmf.NMF(5, inner=3).fit(digits, updates=1, start=(W, H))
    for _ in range(3):
        W = nmf.multiplicative_update(digits.T, H.T, W.T).T
    for _ in range(3):
        H = nmf.multiplicative_update(digits, W, H)
    torch.testing.assert_close(model.W, W, **EXACT)
    torch.testing.assert_close(model.H, H, **EXACT)


@pytest.mark.parametrize("solver", ["mu", "hals"])
def test_the_loss_from_products_is_the_loss_also_where_little_is_left(solver):
    """The difference of large numbers is rounding there: in float32, of about 1e-7 ||X||^2."""
    W, H = positive(40, 3, seed=1).float(), positive(3, 30, seed=2).float()
    X = W @ H
    for start, steps, most in ((None, 5, 1.0), (None, 1_000, 1e-6), ((W * (1 + 1e-5), H), 3, 1e-9)):
        model = nmf.NMF(3, solver=solver).fit(X, updates=steps, start=start)
        exact = (X.double() - model.W.double() @ model.H.double()).square().sum().item()
        assert 0 <= model.history[-1] < most * X.square().sum().item()
        if exact > 1e-12 * X.square().sum().item():  # below, W H itself is rounded in float32
            assert model.history[-1] == pytest.approx(exact, rel=2e-3)


def test_final_loss_is_within_one_per_cent_of_both_solvers(digits):
    """On digits from the same start; where minima differ between solvers, on planted factors."""
    for X, k, solver in ((digits, 10, "mu"), (planted(noise=0.2)[0], 4, "cd")):
        start = positive(len(X), k, seed=1), positive(k, X.shape[1], seed=2)
        ours = nmf.NMF(k).fit(X, updates=500, start=start).history[-1]
        W, H = scikit_learn(X, start, solver, 500)
        assert abs(ours / np.square(X.numpy() - W @ H).sum() - 1) < 0.01, solver  # A7


def test_never_below_the_svd_and_equal_to_it_at_rank_one(digits):
    floor = pca.tail_energy(pca.thin_svd(digits)[1])
    one = nmf.NMF(1).fit(digits, updates=300).history[-1]
    assert one == pytest.approx(floor[1].item(), rel=1e-9)  # Perron-Frobenius
    assert nmf.NMF(8).fit(digits, updates=300).history[-1] > floor[8]


def test_with_one_hot_rows_it_is_k_means(digits):
    means = KMeans(7, n_init=1, random_state=0, tol=0).fit(digits.numpy())
    W = torch.nn.functional.one_hot(torch.as_tensor(means.labels_).long(), 7).double()
    H = nmf.multiplicative_update(digits, W, positive(7, 64))  # one update, from anywhere
    np.testing.assert_allclose(H, means.cluster_centers_, atol=1e-6)
    loss = nmf.masked_loss(digits, torch.ones_like(digits, dtype=torch.bool), W, H)
    assert loss.item() == pytest.approx(means.inertia_, rel=1e-6)


def test_planted_factors_are_recovered_and_those_of_the_svd_have_signs():
    for seed in range(2):
        X, W, H = planted(seed=seed)
        model = nmf.NMF(4, seed=seed).fit(X, updates=600)
        order, cosines = nmf.match_factors(H, model.H)
        assert cosines.mean() >= 0.95  # A8
        assert sorted(order.tolist()) == list(range(4))
        assert nmf.match_factors(W.T, model.W.T)[1].mean() >= 0.95
        U, s, V = pca.thin_svd(X)
        assert (V[:, :4] < 0).double().mean() > 0.2
        assert not (model.H < 0).any() and not (model.W < 0).any()


def test_matching_undoes_a_permutation_and_a_scale():
    A = positive(6, 11, seed=3) ** 3
    turn = torch.tensor([3, 1, 5, 0, 2, 4])
    order, cosines = nmf.match_factors(A, -2.5 * A[turn])
    assert torch.equal(turn[order], torch.arange(6))
    torch.testing.assert_close(cosines, torch.ones(6, dtype=A.dtype))


def test_hoyer_sparseness_at_its_ends_and_under_scaling():
    A = torch.tensor([[0.0, 0, 7, 0], [2, 2, 2, 2], [3, 0, 4, 0]])
    got = nmf.hoyer_sparseness(A)
    torch.testing.assert_close(got, torch.tensor([1.0, 0.0, 2 - 7 / 5]))
    torch.testing.assert_close(nmf.hoyer_sparseness(-3 * A), got)


def test_l1_makes_factors_sparser(digits):
    plain, sparse = (nmf.NMF(12, l1=l1).fit(digits, updates=150) for l1 in (0.0, 3.0))
    for A, B in ((plain.W, sparse.W), (plain.H, sparse.H)):
        assert nmf.hoyer_sparseness(B).mean() > nmf.hoyer_sparseness(A).mean() + 0.03


# ---------------------------------------------------------------- ratings


@pytest.fixture(scope="module")
def ratings():
    return data.simulated_ratings(users=150, items=60, density=0.3, noise=0.1)


def split(ratings):
    order = torch.randperm(len(ratings.user), generator=torch.Generator().manual_seed(0))
    parts = order[len(order) // 5 :], order[: len(order) // 5]
    return [(ratings.user[p], ratings.item[p], ratings.rating[p].double()) for p in parts]


def rmse(prediction, rating):
    return (prediction - rating).square().mean().sqrt().item()


def test_ratings_are_predicted_better_than_by_means_and_biases(ratings):
    train, (user, item, rating) = split(ratings)
    model = nmf.RatingNMF(4, pull=1.0).fit(*train, 150, 60, updates=300)
    mean, b, c = nmf.bias_model(*train, 150, 60)
    ours, biases = rmse(model.predict(user, item), rating), rmse(mean + b[user] + c[item], rating)
    assert ours < 0.6 * min(biases, rmse(mean, rating))  # A6
    X = torch.zeros(150, 60, dtype=torch.float64)
    X[train[0], train[1]] = train[2]
    zeros = nmf.NMF(4).fit(X, updates=300)
    assert rmse((zeros.W @ zeros.H)[user, item], rating) > 2 * ours  # N39


def test_history_never_rises_and_is_the_stated_objective(ratings):
    train, _ = split(ratings)
    model = nmf.RatingNMF(3, pull=2.0).fit(*train, 150, 60, updates=50)
    assert (np.diff(model.history) <= 1e-9 * model.history[0]).all()
    X = torch.full((150, 60), float("nan"), dtype=torch.float64)
    X[train[0], train[1]] = train[2]
    prior = model.prior_W[0]
    away = (model.W - prior).square().sum() + (model.H - prior).square().sum()
    total = nmf.masked_loss(X, ~X.isnan(), model.W, model.H) + 2.0 * away
    assert model.history[-1] == pytest.approx(total.item(), rel=1e-12)
    assert (3 * prior**2).item() == pytest.approx(train[2].mean().item())


def test_with_biases_two_factors_hold_their_ones_and_the_loss_never_rises(ratings):
    train, (user, item, rating) = split(ratings)
    model = nmf.RatingNMF(3, pull=2.0, biases=True).fit(*train, 150, 60, updates=80)
    assert model.W.shape == (150, 5) and model.H.shape == (5, 60)
    ones = torch.cat([model.W[:, 4], model.H[3]])
    torch.testing.assert_close(ones, torch.ones(210, dtype=ones.dtype), atol=1e-5, rtol=0)
    assert (np.diff(model.history) <= 1e-9 * model.history[0]).all()
    assert model.W.min() >= 0 and model.H.min() >= 0
    start = (model.prior_W * model.prior_H).sum().item()  # nothing known: the mean rating
    assert start == pytest.approx(train[2].mean().item())
    by_hand = (model.W[user, :3] * model.H.T[item, :3]).sum(1) + model.W[user, 3] + model.H[4, item]
    torch.testing.assert_close(model.predict(user, item), by_hand, atol=1e-4, rtol=0)


def test_biases_alone_are_the_bias_model():
    """With the tastes held at their prior, generosity and quality are shrunken means."""
    g = torch.Generator().manual_seed(0)
    user, item = torch.arange(300) % 30, torch.randperm(300, generator=g) % 20
    keep = torch.unique(user * 20 + item)
    user, item = keep // 20, keep % 20
    worth = (
        torch.rand(30, generator=g).double()[user] + 2 * torch.rand(20, generator=g).double()[item]
    )
    rating = 1.5 + worth
    model = nmf.RatingNMF(1, pull=1e8, biases=True).fit(user, item, rating, 30, 20, updates=3_000)
    mean, b, c = nmf.bias_model(user, item, rating, 30, 20, shrink=(4.0, 4.0), sweeps=500)
    ours, theirs = model.predict(user, item), mean + b[user] + c[item]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_folding_in_a_known_user_gives_the_trained_row(ratings):
    train, _ = split(ratings)
    for biases in (False, True):
        model = nmf.RatingNMF(3, 3.0, biases).fit(*train, 150, 60, updates=600)
        x = torch.zeros(60, dtype=torch.float64)
        mine = train[0] == 7
        x[train[1][mine]] = train[2][mine]
        torch.testing.assert_close(model.fold_in(x, x > 0, 2_000), model.W[7], atol=2e-2, rtol=0)


def test_a_user_without_ratings_gets_the_prior_or_an_error():
    user, item = torch.tensor([0, 0, 2, 2]), torch.tensor([0, 1, 1, 2])
    rating = torch.tensor([4.0, 2.0, 5.0, 3.0])
    model = nmf.RatingNMF(2, pull=1.0).fit(user, item, rating, 3, 3, updates=100)
    torch.testing.assert_close(
        model.W[1], torch.full((2,), model.prior_W[0].item()), atol=1e-5, rtol=0
    )
    with pytest.raises(ValueError, match="1 users have no rating, the first is user 1.*pull > 0"):
        nmf.RatingNMF(2, pull=0.0).fit(user, item, rating, 3, 3)
    with pytest.raises(ValueError, match="items have no rating, the first is item 3"):
        nmf.RatingNMF(2, pull=0.0).fit(user.clamp(max=1), item, rating, 2, 4)


def test_a_row_of_zeros_in_a_full_matrix_gets_zero_degrees():
    X = positive(6, 5)
    X[2] = 0
    model = nmf.NMF(2).fit(X, updates=20)
    assert model.W[2].max() == 0 and torch.isfinite(model.W @ model.H).all()


def test_biases_equal_least_squares_and_user_means(ratings):
    (user, item, rating), _ = split(ratings)
    mean, b, c = nmf.bias_model(user, item, rating, 150, 60, shrink=(4.0, 2.0), sweeps=300)
    m = len(user)
    A = np.zeros((m + 210, 210))
    A[np.arange(m), user], A[np.arange(m), 150 + item] = 1, 1
    A[m:] = np.diag(np.sqrt([4.0] * 150 + [2.0] * 60))
    target = np.append((rating - mean).numpy(), np.zeros(210))
    np.testing.assert_allclose(np.append(b, c), np.linalg.lstsq(A, target)[0], atol=1e-6)
    mean, b, c = nmf.bias_model(user, item, rating, 150, 60, shrink=(0.0, float("inf")))
    assert (c == 0).all() and (mean + b[5]).item() == pytest.approx(rating[user == 5].mean())


def test_hit_rate_by_hand():
    scores = torch.tensor([[9.0, 8, 7, 6, 5, 4], [1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1]])
    seen = torch.zeros(3, 6, dtype=torch.bool)
    seen[0, 0] = True
    user, item = torch.tensor([0, 0, 1]), torch.tensor([2, 5, 4])
    # user 0, item 2 (7 stars) against 8, 6, 5 (item 0 was seen, item 5 is held out): second
    assert nmf.hit_rate(scores, seen, user, item, top=1).tolist() == [0.0, 0.0]
    assert nmf.hit_rate(scores, seen, user, item, top=2).tolist() == [0.5, 1.0]
    assert nmf.hit_rate(scores, seen, user, item, top=3).tolist() == [0.5, 1.0]
    everybody = torch.tensor([2]), torch.tensor([0])
    assert nmf.hit_rate(scores, seen, *everybody, top=2).tolist() == [0.0]  # ties do not count


# ---------------------------------------------------------------- types and bad input


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_the_dtype_and_repeat(dtype):
    X = positive(8, 6).to(dtype)
    one, again = (nmf.NMF(2, seed=3).fit(X, updates=5) for _ in range(2))
    assert one.W.dtype == one.H.dtype == dtype
    assert torch.equal(one.W, again.W)
    assert not torch.equal(one.W, nmf.NMF(2, seed=4).fit(X, updates=5).W)


@pytest.mark.parametrize(
    "X, error, says",
    [
        ("no numbers", TypeError, "X: expected"),
        (torch.ones(3), ValueError, r"matrix \(n, d\)"),
        (torch.ones(0, 4), ValueError, "at least"),
        (torch.ones(3, 2, dtype=torch.complex64), TypeError, "real"),
        (torch.tensor([[1.0, float("nan")]]), ValueError, "NaN.*RatingNMF"),
        (torch.tensor([[1.0, float("inf")]]), ValueError, "infinit"),
        (torch.tensor([[1.0, -0.5]]), ValueError, "negative entries, the least is -0.5"),
    ],
)
def test_bad_matrices_are_named(X, error, says):
    with pytest.raises(error, match=says):
        nmf.NMF(1).fit(X)


def test_bad_ranks_and_settings_are_named():
    X = positive(4, 5)
    for k, error in ((0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="k: expected a whole number"):
            nmf.NMF(k)
        with pytest.raises(error, match="k: expected a whole number"):
            nmf.RatingNMF(k, 1.0)
    with pytest.raises(ValueError, match="from 1 to 4"):
        nmf.NMF(5).fit(X)
    with pytest.raises(ValueError, match="updates"):
        nmf.NMF(2).fit(X, updates=0)
    with pytest.raises(ValueError, match="'frobenius', 'kl'"):
        nmf.NMF(2, loss="l2")
    for only in ({"l1": 1.0}, {"solver": "hals"}, {"inner": 2}):
        with pytest.raises(ValueError, match="frobenius.* only"):
            nmf.NMF(2, loss="kl", **only)
    with pytest.raises(ValueError, match="'mu', 'hals'"):
        nmf.NMF(2, solver="cd")
    for wrong in (-1.0, float("nan"), float("inf"), "much"):
        with pytest.raises((ValueError, TypeError), match="pull: expected"):
            nmf.RatingNMF(2, pull=wrong)
    with pytest.raises(ValueError, match=r"W \(4, 2\) and H \(2, 5\)"):
        nmf.NMF(2).fit(X, start=(positive(4, 2), positive(5, 2)))


def test_bad_lists_of_ratings_are_named():
    user, item, rating = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([3.0, 4.0])

    def fit(*triple, users=2, items=2):
        return nmf.RatingNMF(1, pull=1.0).fit(*triple, users, items, updates=2)

    cases = [
        ((user, item, rating[:1]), "lengths differ"),
        ((user, item, -rating), "rating holds negative"),
        ((user, item, rating * float("nan")), "rating: expected finite"),
        ((user + 1, item, rating), "user should be int64 between 0 and 1"),
        ((user, item.float(), rating), "item should be int64"),
        ((user * 0, item * 0, rating), "occur twice"),
        ((user[:0], item[:0], rating[:0]), "m >= 1"),
    ]
    for triple, says in cases:
        with pytest.raises(ValueError, match=says):
            fit(*triple)
    whole = fit(user, item, rating.long())  # whole stars are fine
    assert torch.equal(whole.W, fit(user, item, rating).W)
    with pytest.raises(ValueError, match="from 1 to 2"):
        nmf.RatingNMF(3, pull=1.0).fit(user, item, rating, 2, 2)


# ---------------------------------------------------------------- units, zeros, other kinds


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"l1": 2.0}, {"loss": "kl"}, HALS])
def test_the_unit_of_the_matrix_changes_nothing_but_the_unit(dtype, settings):
    X = positive(30, 20).to(dtype)
    usual = nmf.NMF(4, **settings).fit(X, 40)
    for unit in (2.0**-26, 2.0**-80, 2.0**60):  # 1.5e-8, 8e-25, 1e18
        l1 = {"l1": 2.0 * unit**1.5} if "l1" in settings else {}  # in units of X^2 / W
        model = nmf.NMF(4, **(settings | l1)).fit(X * unit, 40)
        assert (np.diff(model.history) <= 1e-6 * model.history[0]).all()
        worth = unit if "loss" in settings else unit**2
        np.testing.assert_allclose(np.array(model.history) / worth, usual.history, rtol=1e-4)
        near = (model.W @ model.H).double() / unit
        torch.testing.assert_close(near, (usual.W @ usual.H).double(), rtol=1e-3, atol=1e-4)
        assert model.history[-1] == pytest.approx(model.objective(X * unit), rel=1e-5)


def test_the_unit_of_the_ratings_changes_nothing_but_the_unit():
    X, mask, *_ = problem(20, 15, 3)
    user, item = mask.nonzero(as_tuple=True)
    usual = nmf.RatingNMF(2, pull=1.0).fit(user, item, X[mask], 20, 15, 60)
    for unit in (2.0**-26, 2.0**-60, 2.0**40):
        model = nmf.RatingNMF(2, pull=unit).fit(user, item, X[mask] * unit, 20, 15, 60)
        np.testing.assert_allclose(np.array(model.history) / unit**2, usual.history, rtol=1e-6)
        torch.testing.assert_close(model.W / unit**0.5, usual.W, rtol=1e-5, atol=1e-8)


def test_data_of_ordinary_size_have_the_unit_one():
    for largest in (2e-3, 1.0, 5.0, 800.0):
        assert nmf.scale_of(torch.tensor([0.0, largest])) == (1, 1)
    assert nmf.scale_of(torch.zeros(2)) == (1, 1)
    unit, half = nmf.scale_of(torch.tensor([1e-8]))
    assert half**2 == unit and 1e-3 < 1e-8 / unit < 1e3


def test_a_matrix_of_zeros_has_factors_of_zeros():
    for loss in ("frobenius", "kl"):
        model = nmf.NMF(2, loss).fit(torch.zeros(4, 5), 5)
        assert not model.W.any() and not model.H.any() and model.history[-1] < 1e-9


def test_sparseness_of_rows_of_zeros_of_tiny_rows_and_of_single_entries():
    rows = [[0, 0, 0, 0], [3, 0, 0, 0], [2, 2, 2, 2], [1, 1, 0, 0]]
    wanted = torch.tensor([1, 1, 0, 2 - 2**0.5])  # 1: nothing but at most one entry
    for unit in (1.0, 1e-20, 1e-30):
        found = nmf.hoyer_sparseness(torch.tensor(rows).float() * unit)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="at least 2 entries"):
        nmf.hoyer_sparseness(torch.ones(3, 1))


def test_matching_does_not_depend_on_the_unit_and_survives_zeros():
    A = positive(3, 6)
    order, cosines = nmf.match_factors(A, A[[2, 0, 1]] * 1e-15)
    assert order.tolist() == [1, 2, 0]
    torch.testing.assert_close(cosines, torch.ones(3).double())
    A[1] = 0
    assert nmf.match_factors(A, A)[1].tolist() == pytest.approx([1, 0, 1])
    with pytest.raises(ValueError, match="as A"):
        nmf.match_factors(A, A[:2])


def test_a_list_longer_than_the_catalogue_holds_every_item():
    scores, seen = torch.tensor([[5.0, 4.0, 3.0, 2.0]]), torch.zeros(1, 4, dtype=torch.bool)
    seen[0, 0] = True
    user, item = torch.tensor([0, 0]), torch.tensor([2, 3])
    for top, rate in ((1, 0.0), (2, 1.0), (4, 1.0), (5, 1.0), (1000, 1.0)):
        assert nmf.hit_rate(scores, seen, user, item, top).tolist() == [rate]  # only item 1 is left
    with pytest.raises(ValueError, match="top"):
        nmf.hit_rate(scores, seen, user, item, 0)
    with pytest.raises(ValueError, match="at least one"):
        nmf.hit_rate(scores, seen, user[:0], item[:0])


def test_sparse_matrices_and_arrays_are_taken_too():
    X = positive(8, 6) * (positive(8, 6, seed=3) > 0.6)
    usual = nmf.NMF(2).fit(X, 5)
    start = usual.W.numpy(), usual.H.numpy()
    for made in (scipy.sparse.csr_matrix(X.numpy()), scipy.sparse.csr_array(X.numpy()),
                 X.numpy(), X.tolist(), X.to_sparse()):  # fmt: skip
        assert torch.equal(nmf.NMF(2).fit(made, 5).W, usual.W)
        assert usual.objective(made) == usual.objective(X)
        again = nmf.NMF(2).fit(made, 5, start=start)
        assert torch.equal(again.W, nmf.NMF(2).fit(X, 5, start=(usual.W, usual.H)).W)
        loss = nmf.kl_divergence(made, usual.W, usual.H)
        assert loss == nmf.kl_divergence(X, usual.W, usual.H)
        assert torch.equal(nmf.kl_update(made, usual.W, usual.H),
                           nmf.kl_update(X, usual.W, usual.H))  # fmt: skip
        assert torch.equal(nmf.hoyer_sparseness(made), nmf.hoyer_sparseness(X))
    counts = CountVectorizer().fit_transform(["a cat sat there", "the cat", "dogs sat there"])
    assert nmf.NMF(2).fit(counts, 3).W.shape == (3, 2)


def test_lists_of_ratings_may_be_arrays():
    user, item = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 0, 1, 0])
    rating = torch.tensor([3.0, 4.0, 1.0, 2.0])
    usual = nmf.RatingNMF(1, pull=1.0).fit(user, item, rating, 3, 2, 4)
    made = nmf.RatingNMF(1, pull=1.0).fit(user.numpy(), item.numpy(), rating.numpy(), 3, 2, 4)
    assert torch.equal(made.W, usual.W)
    assert torch.equal(made.predict(user.numpy(), item.numpy()), usual.predict(user, item))
    mask = np.array([True, False])
    x = np.array([2.0, 0.0], np.float32)
    assert torch.equal(made.fold_in(x, mask), usual.fold_in(torch.tensor(x), torch.tensor(mask)))
    ours = nmf.bias_model(user.numpy(), item.numpy(), rating.numpy(), 3, 2)
    assert torch.equal(ours[1], nmf.bias_model(user, item, rating, 3, 2)[1])
