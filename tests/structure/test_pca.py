"""PCA against its theorems, scikit-learn, SciPy and the autoencoder trained by gradient descent."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA as SkPCA

from genai_utils.structure import pca
from genai_utils.training import TensorBatches, fit

TIGHT = {"rtol": 0, "atol": 1e-10}


def gaussian(n=60, d=9, seed=0):
    """Rows with clearly different variances, a rotation and a mean, so that nothing is aligned."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=g, dtype=torch.float64) * 0.7 ** torch.arange(d)
    turn = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    return X @ turn + torch.randn(d, generator=g, dtype=torch.float64)


def with_spectrum(s, n, d, seed=0):
    """An (n, d) matrix with exactly these singular values; also its left and right vectors."""
    g = torch.Generator().manual_seed(seed)
    U = torch.linalg.qr(torch.randn(n, len(s), generator=g, dtype=torch.float64)).Q
    V = torch.linalg.qr(torch.randn(d, len(s), generator=g, dtype=torch.float64)).Q
    return (U * torch.tensor(s, dtype=torch.float64)) @ V.T, U, V


def angle(A, B):
    return np.degrees(scipy.linalg.subspace_angles(A.numpy(), B.numpy()).max())


def distances(X):
    return torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist")


@pytest.fixture(scope="module")
def digits():
    return torch.tensor(load_digits().data / 16)  # (1797, 64) float64


@pytest.mark.parametrize("n, d", [(40, 7), (7, 40), (9, 9), (5, 1), (1, 5)])
@pytest.mark.parametrize("factorise", [pca.thin_svd, pca.eigen_svd])
def test_factors_rebuild_x_and_agree_with_scipy(factorise, n, d):
    X = gaussian(n, d)
    U, s, V = factorise(X)
    r = min(n, d)
    assert U.shape == (n, r) and s.shape == (r,) and V.shape == (d, r)
    torch.testing.assert_close((U * s) @ V.T, X, **TIGHT)
    torch.testing.assert_close(U.T @ U, torch.eye(r, dtype=X.dtype), rtol=0, atol=1e-8)
    torch.testing.assert_close(V.T @ V, torch.eye(r, dtype=X.dtype), rtol=0, atol=1e-8)
    np.testing.assert_allclose(s, scipy.linalg.svdvals(X.numpy()), atol=1e-8)


@pytest.mark.parametrize("factorise", [pca.thin_svd, pca.eigen_svd])
def test_largest_entry_of_every_component_is_positive(factorise):
    X = gaussian(50, 12, seed=3)
    for Y in (X, -X, X.flip(0)):  # the sign of X must not decide the picture
        V = factorise(Y)[2]
        assert (V.gather(0, V.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("aside", [0.0, 1.0])
@pytest.mark.parametrize("away", [0.0, 2.0**12])
@pytest.mark.parametrize("dtype, close", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_gram_solver_looks_at_the_rows_once_in_parts(dtype, close, away, aside):
    """More rows than a part has; those that give the near point lie to one side of the others."""
    X = gaussian(9_000, 60, seed=4) + away
    X[::4] += aside
    X = X.to(dtype)  # far away the rows themselves are rounded, for both solvers alike
    ours, exact = pca.PCA(5, "gram").fit(X), pca.PCA(5, "svd").fit(X.double())
    for name, less in (("mean", 1), ("s", 1), ("explained_variance_ratio", 1), ("V", 100)):
        found, wanted = getattr(ours, name).double(), getattr(exact, name)
        torch.testing.assert_close(found, wanted, rtol=close, atol=less * close)


def test_the_gram_solver_of_equal_rows_finds_no_variance():
    for dtype in (torch.float32, torch.float64):
        fitted = pca.PCA(2, "gram").fit(torch.full((5_000, 3), 0.1, dtype=dtype))
        assert fitted.s.tolist() == fitted.explained_variance_ratio.tolist() == [0, 0]


def test_gradients_pass_through_the_eigenvectors():
    """d s_1 / dX = u_1 v_1^T; a product outside of autograd would lose it without a word."""
    X = gaussian(40, 5).requires_grad_()
    U, s, V = pca.eigen_svd(X)
    (found,) = torch.autograd.grad(s[0], X)
    torch.testing.assert_close(found, torch.outer(U[:, 0], V[:, 0]).detach(), rtol=0, atol=1e-9)
    (found,) = torch.autograd.grad(pca.PCA(1, "gram").fit(X).s[0], X)
    U, s, V = pca.thin_svd((X - X.mean(0)).detach())
    torch.testing.assert_close(found, torch.outer(U[:, 0], V[:, 0]), rtol=0, atol=1e-9)


def test_the_eigenvectors_of_a_wide_matrix_give_it_back():
    X = gaussian(2_500, 300, seed=4) * 0.97 ** torch.arange(300)
    U, s, V = pca.eigen_svd(X.T)
    torch.testing.assert_close((U * s) @ V.T, X.T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n, d", [(300, 120), (120, 300)])
def test_block_krylov_is_exact_where_the_spectrum_falls(n, d):
    X, _, _ = with_spectrum([0.9**i for i in range(100)], n, d)
    U, s, V = pca.block_krylov(X, 6)
    exact = pca.thin_svd(X)
    torch.testing.assert_close(s, exact[1][:6], rtol=1e-9, atol=0)
    torch.testing.assert_close(V, exact[2][:, :6], rtol=0, atol=1e-5)
    torch.testing.assert_close(U, exact[0][:, :6], rtol=0, atol=1e-5)
    worse = pca.subspace_iteration(X, 6, iterations=4)[1]  # as many products, larger blocks
    assert (s / exact[1][:6] - 1).abs().max() < (worse / exact[1][:6] - 1).abs().max() / 100
    torch.testing.assert_close(pca.block_krylov(X, 60)[1], exact[1][:60])  # the span is all


def test_block_krylov_of_few_directions_and_of_none():
    X, _, _ = with_spectrum([3.0, 2.0, 1.0], 200, 150)
    for A, wanted in ((X, [3.0, 2, 1, 0, 0]), (0 * X, [0.0] * 5)):
        U, s, V = pca.block_krylov(A, 5)
        np.testing.assert_allclose(s, wanted, atol=1e-7)
        torch.testing.assert_close(V.T @ V, torch.eye(5, dtype=V.dtype), **TIGHT)
        torch.testing.assert_close((U * s) @ V.T, A, rtol=0, atol=1e-7)


def test_tall_u_is_not_orthogonal():
    U, _, _ = pca.thin_svd(gaussian(50, 8))
    gap = U @ U.T - torch.eye(50, dtype=U.dtype)
    assert gap.norm().item() == pytest.approx((50 - 8) ** 0.5, abs=1e-9)  # erratum Y02


def test_eigenvectors_lose_small_singular_values_and_svd_keeps_them():
    X, _, _ = with_spectrum([1.0, 1e-4, 1e-10], 30, 3)
    assert pca.thin_svd(X)[1][2].item() == pytest.approx(1e-10, rel=1e-3)
    last = pca.eigen_svd(X)[1][2].item()
    assert 0 <= last < 1e-7 and abs(last - 1e-10) > 1e-11  # erratum Y04


def test_power_iteration_finds_the_first_direction():
    X = gaussian(80, 10)
    U, s, V = pca.thin_svd(X)
    s1, v, steps = pca.power_iteration(X)
    assert s1 == pytest.approx(s[0].item(), rel=1e-9) and 1 < steps < 10_000
    torch.testing.assert_close(v, V[:, 0], rtol=0, atol=1e-8)
    torch.testing.assert_close(v.norm(), torch.ones((), dtype=v.dtype))


def test_power_iteration_error_shrinks_by_the_squared_ratio_of_singular_values():
    X, _, V = with_spectrum([2.0, 1.5], 20, 6)
    v = (V[:, 0] + V[:, 1]) / 2**0.5  # tangent of the angle: 1
    for step in range(1, 8):
        v = pca.power_iteration_step(X, v)
        tangent = (v @ V[:, 1]) / (v @ V[:, 0])
        assert tangent.item() == pytest.approx((1.5 / 2.0) ** (2 * step), rel=1e-9)


@pytest.mark.parametrize("n, d, k", [(300, 60, 1), (300, 60, 7), (40, 200, 5), (20, 12, 12)])
def test_subspace_iteration_equals_svds(n, d, k):
    X = gaussian(n, d) if d < 20 else with_spectrum([0.8**i for i in range(40)], n, d)[0]
    U, s, V = pca.subspace_iteration(X, k)
    assert U.shape == (n, k) and V.shape == (d, k)
    if k < min(n, d):
        us, ss, vts = scipy.sparse.linalg.svds(X.numpy(), k)
    else:
        us, ss, vts = scipy.linalg.svd(X.numpy(), full_matrices=False)
        us, ss, vts = us[:, ::-1], ss[::-1], vts[::-1]
    np.testing.assert_allclose(s, ss[::-1], atol=1e-7)  # svds: ascending order
    best = (us * ss) @ vts
    np.testing.assert_allclose((U * s) @ V.T, best, atol=1e-6)
    torch.testing.assert_close(U.T @ U, torch.eye(k, dtype=X.dtype), **TIGHT)


def test_subspace_iteration_improves_with_iterations_and_repeats_with_its_seed(digits):
    X = digits - digits.mean(0)
    best = pca.tail_energy(pca.thin_svd(X)[1])[5].item()

    def excess(**settings):
        V = pca.subspace_iteration(X, 5, **settings)[2]
        return (X - pca.project(X, V)).square().sum() - best

    rough, fine = excess(iterations=0, oversample=0), excess(iterations=8)
    assert rough > 100 * fine >= -1e-6
    a, b, c = (pca.subspace_iteration(X, 5, iterations=1, seed=s)[2] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_subspace_iteration_keeps_small_values_beside_large_ones():
    wanted = [1.0, 1e-3, 1e-6, 1e-9]
    X, _, _ = with_spectrum(wanted, 40, 30)
    s = pca.subspace_iteration(X, 4, oversample=0)[1]
    np.testing.assert_allclose(s, wanted, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_eckart_young_no_competitor_beats_the_svd(k):
    X = gaussian(50, 9, seed=2)
    U, s, V = pca.thin_svd(X)
    best = pca.tail_energy(s)[k]
    Xk = pca.project(X, V[:, :k])
    torch.testing.assert_close(Xk, (U[:, :k] * s[:k]) @ V[:, :k].T, **TIGHT)  # B6
    torch.testing.assert_close((X - Xk).square().sum(), best, **TIGHT)  # B16
    g = torch.Generator().manual_seed(0)
    for _ in range(300):  # random, and near the optimum
        Q = torch.linalg.qr(torch.randn(9, k, generator=g, dtype=X.dtype)).Q
        near = torch.linalg.qr(V[:, :k] + 0.05 * Q).Q
        assert (X - pca.project(X, Q)).square().sum() > best
        assert (X - pca.project(X, near)).square().sum() >= best - 1e-10


def test_tail_energy_for_every_k_and_small_values_are_not_cancelled():
    X = gaussian(30, 6)
    U, s, V = pca.thin_svd(X)
    tail = pca.tail_energy(s)
    assert tail.shape == (7,) and tail[-1] == 0
    for k in range(7):
        error = (X - pca.project(X, V[:, :k])).square().sum()
        torch.testing.assert_close(tail[k], error, rtol=0, atol=1e-10)
    assert pca.tail_energy(torch.tensor([1e9, 1.0, 1.0], dtype=torch.float64))[1] == 2.0


def test_projection_and_the_three_exact_identities():
    X = gaussian(40, 9)
    V = pca.thin_svd(X)[2][:, :4]
    P = pca.project(torch.eye(9, dtype=X.dtype), V)
    torch.testing.assert_close(P, P.T, **TIGHT)
    torch.testing.assert_close(P @ P, P, **TIGHT)
    torch.testing.assert_close((X - pca.project(X, V)) @ V, torch.zeros(40, 4).double(), **TIGHT)
    near, Z = pca.project(X, V), X @ V
    torch.testing.assert_close(near @ near.T, Z @ Z.T, rtol=0, atol=1e-9)
    torch.testing.assert_close(distances(near), distances(Z), rtol=0, atol=1e-9)  # B24
    assert (distances(Z) <= distances(X) + 1e-9).all()  # Y08


@pytest.mark.parametrize("shape", [(60, 9), (6, 9)])
@pytest.mark.parametrize("solver", ["svd", "gram", "subspace", "krylov"])
def test_the_largest_entry_of_a_component_is_positive(solver, shape):
    """So every solver gives the same signs, of tall and of wide data."""
    for seed in range(4):
        V = pca.PCA(4, solver).fit(gaussian(*shape, seed)).V
        assert (V.gather(0, V.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("solver", ["svd", "gram", "subspace", "krylov"])
def test_pca_equals_scikit_learn(digits, solver):
    k = 10
    ours = pca.PCA(k, solver).fit(digits)
    theirs = SkPCA(k, svd_solver="full").fit(digits.numpy())
    # the subspace solver stops at eight iterations; the 10th and 11th values are close together
    loose = 2e-3 if solver == "subspace" else 1e-8
    np.testing.assert_allclose(ours.mean, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(ours.explained_variance, theirs.explained_variance_, rtol=loose)
    np.testing.assert_allclose(
        ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=loose
    )
    first = 6 if solver == "subspace" else k
    cosines = np.abs(theirs.components_[:first] @ ours.V.numpy()[:, :first])
    np.testing.assert_allclose(cosines, np.eye(first), atol=loose)
    held_out = digits[:50] + 0.1
    if solver != "subspace":
        np.testing.assert_allclose(
            ours.transform(held_out).abs(), np.abs(theirs.transform(held_out.numpy())), atol=1e-8
        )
        np.testing.assert_allclose(
            ours.reconstruct(held_out),
            theirs.inverse_transform(theirs.transform(held_out.numpy())),
            atol=1e-8,
        )


def test_explained_variance_ratio_and_number_of_components(digits):
    s = pca.thin_svd(digits - digits.mean(0))[1]
    ratio = pca.explained_variance_ratio(s)
    full = SkPCA(svd_solver="full").fit(digits.numpy())
    np.testing.assert_allclose(ratio, full.explained_variance_ratio_, atol=1e-10)
    for share in (0.1, 0.5, 0.9, 0.99):
        k = SkPCA(share, svd_solver="full").fit(digits.numpy()).n_components_
        assert pca.components_for(s, share) == k
    assert pca.components_for(torch.tensor([2.0, 2.0, 2.0, 2.0]), 0.5) == 2
    assert pca.components_for(torch.tensor([1.0, 0.0]), 1.0) == 1


def test_reconstruct_with_fewer_components_and_round_trip(digits):
    model = pca.PCA(12).fit(digits)
    five = pca.PCA(5).fit(digits)
    torch.testing.assert_close(model.reconstruct(digits, 5), five.reconstruct(digits))
    Z = model.transform(digits)
    torch.testing.assert_close(model.transform(model.inverse_transform(Z)), Z)
    assert Z.mean(0).abs().max() < 1e-10


def test_samples_have_the_mean_and_covariance_of_the_projected_data(digits):
    model = pca.PCA(6).fit(digits)
    new = model.sample(200_000, torch.Generator().manual_seed(1))
    want, have = torch.cov(model.reconstruct(digits).T), torch.cov(new.T)
    assert (want - have).norm() < 0.02 * want.norm()  # B13
    assert (new.mean(0) - digits.mean(0)).abs().max() < 0.01
    again = model.sample(3, torch.Generator().manual_seed(1))
    assert torch.equal(again, model.sample(3, torch.Generator().manual_seed(1)))


def test_complete_recovers_hidden_pixels_of_rows_in_the_span(digits):
    model = pca.PCA(8).fit(digits)
    X = model.reconstruct(digits[:3])
    visible = torch.arange(64) % 3 != 0
    spoiled = torch.where(visible, X, torch.tensor(9.0).double())
    torch.testing.assert_close(pca.complete(spoiled, visible, model.V, model.mean), X)


def test_complete_is_least_squares_on_the_visible_pixels_only(digits):
    model, X = pca.PCA(8).fit(digits), digits[5:9]
    visible = torch.arange(64) % 4 != 0
    filled = pca.complete(X, visible, model.V, model.mean)
    residual = (X - filled)[:, visible]  # normal equations hold where we look
    assert (residual @ model.V[visible]).abs().max() < 1e-10
    everything = pca.complete(X, torch.ones(64, dtype=torch.bool), model.V, model.mean)
    torch.testing.assert_close(everything, model.reconstruct(X))


def test_complete_gives_each_row_what_it_gets_alone(digits):
    model = pca.PCA(12).fit(digits)
    visible = torch.arange(64).view(8, 8).remainder(8).lt(5).flatten()
    together = pca.complete(digits[:50], visible, model.V, model.mean)
    assert together.shape == (50, 64)
    for x, filled in zip(digits[:50], together, strict=True):
        z = torch.linalg.pinv(model.V[visible]) @ (x - model.mean)[visible]
        torch.testing.assert_close(filled, model.mean + model.V @ z)


# ---------------------------------------------------------------- the linear autoencoder


def test_loss_is_summed_over_columns_and_averaged_over_rows():
    X = gaussian(5, 3).float()
    model = pca.LinearAutoencoder(3, 2)
    loop = sum(((x - x @ model.W1 @ model.W2) ** 2).sum() for x in X) / 5
    torch.testing.assert_close(model.loss(X), loop)
    tied = pca.LinearAutoencoder(3, 2, tied=True)
    loop = sum(((x - x @ tied.W1 @ tied.W1.T) ** 2).sum() for x in X) / 5
    torch.testing.assert_close(tied.loss(X), loop)
    torch.testing.assert_close(tied(X), X @ tied.W1 @ tied.W1.T)
    assert len(list(tied.parameters())) == 1


def test_the_svd_solution_is_a_stationary_point_and_so_is_its_mixture():
    X = gaussian(60, 7)
    X = X - X.mean(0)
    U, s, V = pca.thin_svd(X)
    A = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=X.dtype)
    model = pca.LinearAutoencoder(7, 3).double()
    with torch.no_grad():
        model.W1.copy_(V[:, :3] @ A)
        model.W2.copy_(torch.linalg.inv(A) @ V[:, :3].T)
    loss = model.loss(X)
    loss.backward()
    assert loss.item() == pytest.approx(pca.tail_energy(s)[3].item() / 60, rel=1e-10)  # Y36
    assert model.W1.grad.abs().max() < 1e-9 and model.W2.grad.abs().max() < 1e-9


def test_r_of_the_qr_decomposition_has_the_same_loss_as_all_rows():
    X = gaussian(500, 8)
    R = torch.linalg.qr(X).R * (8 / 500) ** 0.5  # 8 rows that stand for 500
    model = pca.LinearAutoencoder(8, 3).double()
    torch.testing.assert_close(model.loss(R), model.loss(X))


@pytest.mark.parametrize("tied", [False, True])
def test_gradient_descent_finds_the_subspace_of_pca(digits, tied):
    k = 6
    X = digits - digits.mean(0)
    U, s, V = pca.thin_svd(X)
    rows = (torch.linalg.qr(X).R * (64 / len(X)) ** 0.5).float()
    torch.manual_seed(0)
    model = pca.LinearAutoencoder(64, k, tied)
    fit(model, TensorBatches(rows, batch_size=64), 2_000, lr=1e-2, progress=False)
    best = pca.tail_energy(s)[k].item() / len(X)
    with torch.no_grad():
        loss = model.loss(X.float()).item()
        rebuilt = model(X.float())
    assert best * (1 - 1e-5) < loss < best * 1.001  # B2
    decoder = model.W1 if tied else model.W2.T
    assert angle(V[:, :k], decoder.detach().double()) < 1
    # The encoder is free where the data never go (three pixels are constant): compare its codes.
    assert angle(U[:, :k], X @ model.W1.detach().double()) < 1
    assert torch.linalg.matrix_rank(rebuilt, rtol=1e-5) == k
    if tied:  # nothing asks for it, yet W becomes orthonormal
        torch.testing.assert_close(model.W1.T @ model.W1, torch.eye(k), atol=1e-2, rtol=0)


# ---------------------------------------------------------------- types, devices, bad input


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_the_dtype(dtype):
    X = gaussian().to(dtype)
    for U, s, V in (pca.thin_svd(X), pca.eigen_svd(X), pca.subspace_iteration(X, 2)):
        assert U.dtype == s.dtype == V.dtype == dtype
    model = pca.PCA(2).fit(X)
    assert model.sample(3).dtype == model.reconstruct(X).dtype == dtype
    assert pca.power_iteration(X, 1e-4)[1].dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_results_are_the_same_on_cuda():
    X = gaussian()
    for solver in ("svd", "gram", "subspace"):
        here, there = pca.PCA(3, solver).fit(X), pca.PCA(3, solver).fit(X.cuda())
        torch.testing.assert_close(here.V, there.V.cpu(), rtol=0, atol=1e-7)
        assert there.sample(2).is_cuda


@pytest.mark.parametrize(
    "X, error, says",
    [
        ("no numbers", TypeError, "X: expected"),
        (torch.zeros(3), ValueError, r"matrix \(n, d\)"),
        (torch.zeros(2, 1, 8, 8), ValueError, r"x.flatten\(1\)"),
        (torch.zeros(0, 4), ValueError, "at least"),
        (torch.ones(3, 2, dtype=torch.complex64), TypeError, "real"),
        (torch.tensor([[1.0, float("nan")]] * 2), ValueError, "NaN"),
    ],
)
def test_bad_matrices_are_named(X, error, says):
    for use in (pca.thin_svd, pca.eigen_svd, pca.power_iteration, pca.PCA(1).fit):
        with pytest.raises(error, match=says):
            use(X)


@pytest.mark.parametrize(
    "k, error",
    [(0, ValueError), (-1, ValueError), (10, ValueError), (2.0, TypeError), (True, TypeError)],
)
def test_bad_ranks_are_named(k, error):
    for use in (
        lambda: pca.PCA(k).fit(gaussian(60, 9)),
        lambda: pca.subspace_iteration(gaussian(60, 9), k),
        lambda: pca.LinearAutoencoder(9, k),
    ):
        with pytest.raises(error, match="k: expected a whole number"):
            use()


def test_other_mistakes_are_named():
    X = gaussian()
    with pytest.raises(ValueError, match="solver"):
        pca.PCA(2, "fast")
    with pytest.raises(ValueError, match="fit"):
        pca.PCA(2).transform(X)
    with pytest.raises(ValueError, match=r"\(n, 9\)"):
        pca.PCA(2).fit(X).transform(X[:, :4])
    with pytest.raises(ValueError, match="2 rows"):
        pca.PCA(1).fit(X[:1])
    with pytest.raises(ValueError, match="from 1 to 2"):
        pca.PCA(2).fit(X).reconstruct(X, 3)
    with pytest.raises(ValueError, match="zeros everywhere"):
        pca.power_iteration(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="at most 1"):
        pca.components_for(torch.ones(3), 95)


# ---------------------------------------------------------------- far data, tiny units, zeros


@pytest.mark.parametrize("solver", ["svd", "gram", "subspace", "krylov"])
def test_far_from_the_origin_float32_keeps_the_variances(solver):
    X = gaussian(200, 4) * torch.tensor([50.0, 10.0, 3.0, 1.0]).double() + 2.0**20
    far = X.float()
    ours, exact = pca.PCA(4, solver).fit(far), pca.PCA(4).fit(far.double())
    torch.testing.assert_close(ours.s.double(), exact.s, rtol=5e-6, atol=0)
    torch.testing.assert_close(ours.mean.double(), exact.mean, rtol=1e-7, atol=0)


def test_ordinary_data_are_centred_by_their_mean_and_nothing_else():
    X = gaussian().float()
    assert torch.equal(pca.PCA(2).fit(X).mean, X.mean(0))


def test_rows_that_are_all_equal_have_no_variance_to_share():
    for solver in ("svd", "gram", "subspace", "krylov"):
        model = pca.PCA(2, solver).fit(torch.full((5, 3), 4.0))
        assert model.explained_variance_ratio.tolist() == [0, 0]
        assert model.transform(torch.full((2, 3), 4.0)).tolist() == [[0, 0], [0, 0]]
    assert pca.components_for(torch.zeros(3), 0.9) == 1


def test_directions_that_the_data_do_not_have_give_no_large_numbers():
    for shape in ((40, 9), (9, 40)):
        g = torch.Generator().manual_seed(0)
        X = torch.randn(shape[0], 3, generator=g) @ torch.randn(3, shape[1], generator=g)
        for A in (X, X.double(), torch.ones(shape)):
            U, s, V = pca.eigen_svd(A)
            assert max(U.norm(dim=0).max(), V.norm(dim=0).max()) < 1.5  # not 1e30
            torch.testing.assert_close((U * s) @ V.T, A, rtol=0, atol=2e-3)
        U, s, V = pca.eigen_svd(torch.ones(shape))
        assert not (U if shape[0] > shape[1] else V)[:, 1:].any()


def test_power_iteration_does_not_depend_on_the_unit():
    X = gaussian(20, 5).float()
    s, v, steps = pca.power_iteration(X, 1e-6)
    for unit in (2.0**-80, 2.0**80):
        tiny, w, again = pca.power_iteration(X * unit, 1e-6)
        assert tiny == s * unit and torch.equal(v, w) and steps == again


def test_arrays_and_lists_are_matrices_too():
    X = gaussian()
    for made in (X.numpy(), X.tolist()):
        model = pca.PCA(2).fit(made)
        assert torch.equal(model.V, pca.PCA(2).fit(X).V)
        assert torch.equal(model.transform(made), model.transform(X))
        assert torch.equal(pca.thin_svd(made)[1], pca.thin_svd(X)[1])
    small = pca.PCA(2).fit(X.float())
    assert small.transform(X.numpy()).dtype == torch.float32  # the model's own


def test_an_image_of_which_nothing_is_visible_becomes_the_mean():
    V, mean = torch.linalg.qr(gaussian(9, 3)).Q, gaussian(1, 9)[0]
    hidden = pca.complete(gaussian(2, 9), torch.zeros(9, dtype=torch.bool), V, mean)
    assert torch.equal(hidden, mean.expand(2, 9))
