"""The mathematics of chapter 23: each identity against an independent computation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.linalg import subspace_angles
from torch.distributions import Categorical, MixtureSameFamily, Normal

from genai_utils.training import TensorBatches, fit
from genai_utils.vision import manifold, tangent_prop
from genai_utils.vision.manifold import ManifoldAutoencoder, PointAutoencoder


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# --- Dimension and flatness ----------------------------------------------------------------------


@pytest.mark.parametrize(("k", "d"), [(1, 3), (2, 5), (5, 9)])
def test_two_nn_finds_the_dimension_of_a_rotated_cube(k, d):
    turn = torch.linalg.qr(torch.randn(d, d))[0]
    points = torch.rand(4_000, k) @ turn[:k]
    found = manifold.two_nn(manifold.neighbour_distances(points)).item()
    assert found == pytest.approx(k, rel=0.1)


def test_two_nn_is_the_maximum_of_the_likelihood():
    r = torch.rand(50, 2, dtype=torch.float64).add(0.1).cumsum(dim=1)
    ratio = r[:, 1] / r[:, 0]
    k = manifold.two_nn(r)
    likelihood = [(torch.log(q) - (q + 1) * ratio.log()).sum() for q in (k, k * 0.99, k * 1.01)]
    assert likelihood[0] > max(likelihood[1:])


def test_neighbour_distances_equal_a_sort_and_leave_copies_out():
    points = torch.randn(30, 4)
    twice = torch.cat([points, points[:5]])
    found = manifold.neighbour_distances(twice, k=3, chunk=7)
    expected = torch.cdist(points, points).double().sort(dim=1).values[:, 1:4]
    assert found.shape == (30, 3)
    assert torch.allclose(found.sort(dim=0).values, expected.sort(dim=0).values, atol=1e-4)


def test_neighbours_are_told_apart_far_from_the_origin_and_in_far_clusters():
    """Two clouds a million units apart, a thousandth wide: squares lose all that is near."""
    g = torch.Generator().manual_seed(0)
    cloud = 1e-3 * torch.randn(2, 50, 3, generator=g, dtype=torch.float64)
    expected = torch.cat([torch.cdist(c, c).sort(dim=1).values[:, 1:3] for c in cloud])
    cloud[1] += 1e6
    found = manifold.neighbour_distances(cloud.flatten(0, 1) + 1e5)  # sorted by the first number
    assert torch.allclose(found, expected[_order(cloud)], rtol=1e-4)
    assert manifold.two_nn(found).item() == pytest.approx(3, rel=0.25)


def _order(cloud):
    """The rows in the order in which copies are left out: sorted."""
    points = cloud.flatten(0, 1)
    return torch.tensor(sorted(range(len(points)), key=lambda i: points[i].tolist()))


def test_local_pca_leaves_a_parabola_behind():
    """The points of y = a x² leave their tangent by a x²: four times less at half the radius."""
    left = []
    for radius in (0.1, 0.05):
        x = torch.linspace(-radius, radius, 201, dtype=torch.float64)
        top, error = manifold.local_pca(torch.stack([x, 3 * x**2], dim=1), 1)
        assert abs(top[0, 0]) == pytest.approx(1, abs=1e-9)
        left.append(error.item())
    # the spread of x² on [-r, r] is r² (1/5 - 1/9)^½
    assert left[0] == pytest.approx(3 * 0.1**2 * math.sqrt(1 / 5 - 1 / 9), rel=0.02)
    assert left[0] / left[1] == pytest.approx(4, rel=1e-3)


# --- Known moves ---------------------------------------------------------------------------------


def blob(right=0.0, down=0.0, size=28, width=3.0):
    """A round bump whose centre is moved: an image that can be moved exactly."""
    rows, columns = torch.meshgrid(*(torch.arange(size) - (size - 1) / 2,) * 2, indexing="ij")
    return torch.exp(-((columns - right) ** 2 + (rows - down) ** 2) / (2 * width**2))[None, None]


def test_moved_moves_to_the_right_and_down():
    assert torch.allclose(tangent_prop.moved(blob(), right=3.0), blob(right=3.0), atol=1e-4)
    assert torch.allclose(tangent_prop.moved(blob(), down=2.0), blob(down=2.0), atol=1e-4)
    x = torch.rand(3, 1, 9, 9)
    assert torch.allclose(tangent_prop.moved(x), x, atol=1e-5)
    each = tangent_prop.moved(x, right=torch.tensor([1.0, 0.0, -1.0]))
    assert torch.allclose(each[0, :, :, 1:], x[0, :, :, :-1], atol=1e-5)
    assert torch.allclose(each[2, :, :, :-1], x[2, :, :, 1:], atol=1e-5)


def test_moved_turns_and_zooms_like_scipy():
    x = blob(right=5.0, down=1.0, width=2.0)
    theirs = ndimage.rotate(x[0, 0].numpy(), 20, reshape=False, order=1)
    ours = tangent_prop.moved(x, angle=20.0)[0, 0].numpy()
    other = tangent_prop.moved(x, angle=-20.0)[0, 0].numpy()
    assert min(np.abs(ours - theirs).max(), np.abs(other - theirs).max()) < 1e-3
    wide = tangent_prop.moved(blob(right=4.0, down=1.0, width=3.0), zoom=1.5)
    assert torch.allclose(wide, blob(right=6.0, down=1.5, width=4.5), atol=0.03)


def test_transformation_tangents_are_the_derivatives_of_a_bump():
    t = tangent_prop.transformation_tangents(blob(), step=0.5)  # (1, 4, 784)
    centre = torch.arange(28) - 13.5
    exact = F.normalize((blob()[0, 0] * centre).flatten(), dim=0)  # -d/dx of the bump
    assert (t[0, 0] @ exact).item() == pytest.approx(1, abs=0.01)
    assert (t[0, 1] @ F.normalize((blob()[0, 0] * centre[:, None]).flatten(), dim=0)) > 0.99
    assert torch.allclose(t.norm(dim=-1)[:, [0, 1, 3]], torch.ones(1, 3), atol=1e-4)


# --- The penalty and the Jacobian ----------------------------------------------------------------


def test_penalty_equals_three_jacobians():
    model = ManifoldAutoencoder(size=5, code=4).double()
    x = torch.rand(3, 1, 5, 5, dtype=torch.float64)
    closed = model.jacobian(x)
    by_func = manifold.jacobian(model.features, x.flatten(1))
    older = torch.stack(
        [torch.autograd.functional.jacobian(model.features, row) for row in x.flatten(1)]
    )
    step = 1e-6 * torch.eye(25, dtype=torch.float64)
    v = x.flatten(1)[:, None]
    differences = ((model.features(v + step) - model.features(v - step)) / 2e-6).mT
    for other in (by_func, older, differences):
        assert torch.allclose(closed, other, atol=1e-8)
    penalty = manifold.contractive_penalty(model.encode(x), model.W)
    assert torch.allclose(penalty, closed.square().sum(dim=(1, 2)))
    check = torch.autograd.gradcheck
    assert check(manifold.contractive_penalty, (model.encode(x).detach().requires_grad_(), model.W))


def test_the_guards_do_what_they_say():
    for guard in manifold.GUARDS:
        model = ManifoldAutoencoder(size=4, code=3, guard=guard, radius=2.0)
        c = torch.eye(3)
        columns = model.decode(c) - model.decode(torch.zeros(3, 3))
        if guard == "norm":
            with torch.no_grad():
                model.D.mul_(7)
            assert torch.allclose(columns.norm(dim=1), torch.full((3,), 2.0), atol=1e-5)
            assert torch.allclose(model.decode(c) - model.e, columns, atol=1e-5)
        if guard == "tied":
            assert torch.allclose(columns, model.W, atol=1e-6)
    assert (len(list(ManifoldAutoencoder(guard="tied").parameters()))) == 3


def test_loss_is_the_cross_entropy_plus_the_weighted_penalty():
    x = torch.rand(6, 1, 4, 4)
    model = ManifoldAutoencoder(size=4, code=3, contraction=0.7)
    c = model.encode(x)
    nats = F.binary_cross_entropy(model.rebuild(x.flatten(1)), x.flatten(1), reduction="sum") / 6
    penalty = manifold.contractive_penalty(c, model.W).mean()
    out = model.loss(x)
    assert out["loss"].item() == pytest.approx((nats + 0.7 * penalty).item(), rel=1e-5)
    model.contraction = 0.0
    assert model.loss(x)["loss"].item() == pytest.approx(nats.item(), rel=1e-5)


def test_denoising_sees_noise_and_is_held_to_the_clean_image():
    x = torch.rand(5_000, 1, 3, 3)
    model = ManifoldAutoencoder(size=3, code=2, noise=0.3)
    added = model.corrupt(x.flatten(1)) - x.flatten(1)
    assert added.std().item() == pytest.approx(0.3, rel=0.02)
    torch.manual_seed(5)
    loss = model.loss(x)["loss"]
    torch.manual_seed(5)
    a = model.decode(model.features(model.corrupt(x.flatten(1))))
    nats = F.binary_cross_entropy_with_logits(a, x.flatten(1), reduction="sum") / len(x)
    assert torch.isclose(loss, nats)


def test_a_free_decoder_undoes_the_penalty_and_a_guarded_one_cannot():
    """Erratum N32: c -> s c, decoder / s. Near its middle a sigmoid is as good as linear."""
    x = torch.rand(50, 1, 4, 4)
    model = ManifoldAutoencoder(size=4, code=3, guard="none").double()
    x = x.double()
    before = model.decode(model.encode(x))
    penalty = manifold.contractive_penalty(model.encode(x), model.W).mean()
    with torch.no_grad():
        s = 1e-3
        model.e.add_(0.5 * model.D.sum(0) * (1 - 1 / s))
        small = [model.W.mul_(s), model.b.mul_(s), model.D.div_(s)]
    assert len(small) == 3
    assert torch.allclose(model.decode(model.encode(x)), before, atol=0.02)
    after = manifold.contractive_penalty(model.encode(x), model.W).mean()
    assert after < 2e-6 * penalty


def test_the_sampled_penalty_of_points_is_the_norm_of_the_jacobian():
    model = PointAutoencoder(dims=4, code=3, width=8, contraction=1.0).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    c = model.encoder(x)
    norm = manifold.jacobian(model.encoder, x).square().sum(dim=(1, 2)).mean()
    expected = (norm / c.var(dim=0).sum()).item()
    drawn = torch.stack([model.loss(x)["penalty"] for _ in range(1_500)]).mean().item()
    assert drawn == pytest.approx(expected, rel=0.08)
    with torch.no_grad():
        model.encoder[-1].weight.mul_(0.01)  # a smaller code wins nothing
    c = model.encoder(x)
    norm = manifold.jacobian(model.encoder, x).square().sum(dim=(1, 2)).mean()
    assert (norm / c.var(dim=0).sum()).item() == pytest.approx(expected, rel=1e-6)


def test_a_constant_code_has_a_penalty_of_zero_and_not_nan():
    model = PointAutoencoder(dims=4, code=3, width=8, contraction=1.0)
    with torch.no_grad():
        model.encoder[-1].weight.zero_()
    terms = model.loss(torch.randn(6, 4))
    assert terms["penalty"] == 0 and torch.isfinite(terms["loss"])
    terms["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with pytest.raises(ValueError, match="x: expected at least 2 points"):
        model.loss(torch.randn(1, 4))


def test_an_image_of_one_grey_has_no_tangents():
    t = tangent_prop.transformation_tangents(torch.zeros(2, 1, 8, 8).numpy())
    assert torch.equal(t, torch.zeros(2, 4, 64))


# --- Tangent vectors -----------------------------------------------------------------------------


def test_tangent_vectors_are_what_changes_the_code_most():
    J = torch.randn(3, 4, 9, dtype=torch.float64)
    v = manifold.tangent_vectors(J, 2)
    values = torch.linalg.svdvals(J)
    assert torch.allclose((J @ v.mT).norm(dim=1), values[:, :2])
    other = F.normalize(torch.randn(3, 9, 500, dtype=torch.float64), dim=1)
    assert ((J @ other).norm(dim=1) <= values[:, :1] + 1e-12).all()
    for one, tangents in zip(J, v, strict=True):
        exact = np.linalg.svd(one.numpy())[2][:2].T
        assert subspace_angles(exact, tangents.numpy().T).max() < 1e-6


def test_code_tangents_equal_the_svd_of_the_jacobian():
    model = ManifoldAutoencoder(size=8, code=20)
    with torch.no_grad():
        model.W.mul_(torch.logspace(1, -1, 20)[:, None])
    x = torch.rand(4, 1, 8, 8)
    fast = manifold.code_tangents(model, x, 3, passes=8)
    exact = manifold.tangent_vectors(model.jacobian(x), 3)
    assert torch.allclose((fast * exact).sum(dim=-1).abs(), torch.ones(4, 3), atol=1e-3)


def test_participation_ratio_of_zeros_and_of_tiny_and_huge_values():
    assert manifold.participation_ratio(torch.zeros(2, 3)).tolist() == [0, 0]
    for scale in (1e-30, 1e-15, 1.0, 1e15, 1e30):  # fourth powers leave the range of float32
        s = scale * torch.tensor([2.0, 2.0, 2.0, 0.0])
        assert manifold.participation_ratio(s).item() == pytest.approx(3)
    s = torch.tensor([[0.0, 0.0], [3.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(manifold.participation_ratio(s).sum(), s)
    assert slope[0].tolist() == [0, 0]
    assert torch.autograd.gradcheck(manifold.participation_ratio, s.detach()[1:].requires_grad_())


def test_participation_ratio_counts_equal_values():
    s = torch.tensor([[2.0, 2.0, 2.0, 0.0], [5.0, 0.0, 0.0, 0.0]])
    assert manifold.participation_ratio(s).tolist() == pytest.approx([3, 1])


def test_a_contractive_code_follows_a_line_and_ignores_the_rest():
    """Points near a line in the plane: only the contractive code ignores the way off the line."""
    x = torch.randn(2_000, 1) * torch.tensor([[1.0, 0.5]]) + 0.02 * torch.randn(2_000, 2)
    ratios = []
    for weight in (0.0, 0.1):
        torch.manual_seed(1)
        model = PointAutoencoder(dims=2, code=2, width=16, contraction=weight)
        stream = TensorBatches(x, batch_size=100)
        model = fit(model, stream, 300, lr=5e-3, progress=False).model
        J = manifold.jacobian(model.encoder, x[:200]).detach()
        t = F.normalize(torch.tensor([1.0, 0.5]), dim=0)
        n = torch.tensor([-t[1], t[0]])
        ratios.append(((J @ t).norm(dim=1) / (J @ n).norm(dim=1)).median().item())
    assert ratios[1] > 3 * ratios[0] and ratios[1] > 5


# --- Tangent Prop --------------------------------------------------------------------------------


def test_change_along_is_the_penalty_in_the_mean_over_the_signs():
    f = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4)).double()
    x, v = torch.randn(3, 5).double(), torch.randn(3, 2, 5).double()
    exact = tangent_prop.tangent_prop_penalty(manifold.jacobian(f, x), v)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])  # all that matter
    both = [tangent_prop.change_along(f, x, (s[:, None] * v).sum(1))[1].mean() for s in signs]
    assert torch.isclose(sum(both) / 2, exact)
    h = 1e-6
    differences = (f(x + h * v[:, 0]) - f(x - h * v[:, 0])) / (2 * h)
    out, change = tangent_prop.change_along(f, x, v[:, 0])
    assert torch.allclose(out, f(x))
    assert torch.allclose(change, differences.square().sum(dim=1), rtol=1e-6)


def test_random_directions_carry_one_sign_for_each_tangent():
    v = torch.eye(3).expand(2_000, 3, 3)
    u = tangent_prop.random_direction(v)
    assert torch.equal(u.abs(), torch.ones(2_000, 3))
    cov = u.T @ u / len(u)
    assert torch.allclose(cov, torch.eye(3), atol=0.1) and u.mean(dim=0).abs().max() < 0.1


def test_the_penalty_has_no_sign():
    J, v = torch.randn(3, 4, 5), torch.randn(3, 2, 5)
    penalty = tangent_prop.tangent_prop_penalty
    assert penalty(J, v) > 0 and torch.isclose(penalty(J, -v), penalty(J, v))
    exact = sum((j @ t).square().sum() for j, ts in zip(J, v, strict=True) for t in ts) / 3
    assert torch.isclose(penalty(J, v), exact)


def test_networks_side_by_side_do_not_feel_each_other():
    """Two sets, two weights: network i learns from set i modulo 2, as it would alone."""
    x, y = torch.randn(12, 2, 6), torch.randint(0, 3, (12, 2))
    v = torch.randn(12, 2, 4, 6)
    four = tangent_prop.Classifiers([0.0, 0.0, 0.5, 0.5], widths=(6, 5, 3))
    torch.manual_seed(2)
    four.loss((x, y, v))["loss"].backward()
    torch.manual_seed(2)
    direction = tangent_prop.random_direction(v.transpose(0, 1))  # the same signs
    for i, weight in enumerate((0.0, 0.0, 0.5, 0.5)):
        one = tangent_prop.Classifiers([weight], widths=(6, 5, 3))
        with torch.no_grad():
            for mine, theirs in zip(one.parameters(), four.parameters(), strict=True):
                mine.copy_(theirs[i : i + 1])
        logits, change = tangent_prop.change_along(one, x[None, :, i % 2], direction[None, i % 2])
        loss = F.cross_entropy(logits[0], y[:, i % 2]) + weight * change.mean()
        loss.backward()
        for mine, theirs in zip(one.parameters(), four.parameters(), strict=True):
            assert torch.allclose(mine.grad[0], theirs.grad[i], atol=1e-6)


def test_tangent_prop_makes_a_classifier_blind_along_the_tangent():
    """Labels depend on the first coordinate; the second, tangent, misleads in the training set."""
    x = torch.randn(20, 1, 2)
    y = (x[..., 0] > 0).long()
    x[..., 1] = 2 * y + 0.1 * torch.randn(20, 1)
    v = torch.tensor([0.0, 1.0]).expand(20, 1, 1, 2)
    net = tangent_prop.Classifiers([0.0, 10.0], widths=(2, 16, 2))
    net = fit(net, TensorBatches(x, y, v, batch_size=20), 300, lr=1e-2, progress=False).model
    new = torch.randn(2_000, 2)
    without, with_penalty = net.errors(new, (new[:, 0] > 0).long()).tolist()
    assert with_penalty < 0.1 < without


# --- A denoiser knows the density ----------------------------------------------------------------


def test_the_mean_of_the_clean_data_gives_the_score():
    """Two points ±1 and noise s: E[x|y] = tanh(y / s²), and the density is a known mixture."""
    s = 0.7
    y = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    parts = Normal(torch.tensor([-1.0, 1.0], dtype=torch.float64), s)
    density = MixtureSameFamily(Categorical(torch.ones(2, dtype=torch.float64)), parts)
    score = torch.autograd.grad(density.log_prob(y).sum(), y)[0]
    ours = manifold.tweedie_score(y, torch.tanh(y / s**2), s)
    assert torch.allclose(ours, score)


def test_implied_noise_undoes_the_noising_and_scales_the_loss():
    x, eps, guess = torch.randn(3, 5, 7, dtype=torch.float64)
    x_t = math.sqrt(0.8) * x + math.sqrt(0.2) * eps
    assert torch.allclose(manifold.implied_noise(x_t, x, 0.8), eps)
    noise_loss = (manifold.implied_noise(x_t, guess, 0.8) - eps).square().sum()
    assert torch.isclose(noise_loss, 0.8 / 0.2 * (guess - x).square().sum())


def test_a_trained_denoiser_answers_with_the_mean():
    """x = ±1: the best answer is tanh(y / s²)."""
    x = torch.randint(0, 2, (4_000, 1)) * 2.0 - 1
    model = PointAutoencoder(dims=1, code=4, width=24, noise=0.7)
    model = fit(model, TensorBatches(x, batch_size=500), 500, lr=5e-3, progress=False).model
    y = torch.linspace(-1.5, 1.5, 31)[:, None]
    assert (model(y) - torch.tanh(y / 0.49)).abs().mean() < 0.08


def test_masked_sets_that_share_to_zero():
    x, u = torch.rand(200, 1, 20, 20) + 0.1, torch.rand(200, 1, 20, 20)
    out = manifold.masked(x, u, 0.3)
    assert (out == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(out[out > 0], x[out > 0])


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"code": 0}, "code: expected a whole number of at least 1"),
        ({"size": 2.5}, "size: expected a whole number"),
        ({"noise": -0.1}, "noise: expected a finite number of at least 0, got -0.1"),
        (
            {"contraction": float("nan")},
            "contraction: expected a finite number of at least 0, got nan",
        ),
        ({"guard": "rope"}, "guard: expected one of 'norm', 'tied', 'none', got 'rope'"),
        ({"radius": 0}, "radius: expected a finite number above 0"),
    ],
)
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises((ValueError, TypeError), match=words):
        ManifoldAutoencoder(**settings)


def test_input_that_makes_no_sense():
    model = ManifoldAutoencoder(size=8, code=5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.encode(255 * torch.rand(2, 1, 8, 8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.check_batch(torch.rand(2, 1, 8, 8) - 0.5)
    with pytest.raises(ValueError, match="shape"):
        model.loss(torch.rand(2, 1, 4, 8))
    with pytest.raises(ValueError, match="shape"):
        model.encode(torch.rand(2, 3, 8, 8))
    with pytest.raises(TypeError, match="floats"):
        model.encode(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="m: expected a whole number from 1 to 5, got 6"):
        manifold.code_tangents(model, torch.rand(2, 1, 8, 8), 6)
    with pytest.raises(ValueError, match="at most 3"):
        manifold.tangent_vectors(torch.randn(2, 3, 7), 4)
    with pytest.raises(ValueError, match="points: expected more than 2 different points, got 1"):
        manifold.neighbour_distances(torch.zeros(9, 3))
    with pytest.raises(ValueError, match="m: expected a whole number from 1 to 2, got 3"):
        manifold.local_pca(torch.randn(3, 5), 3)
    with pytest.raises(ValueError, match="zoom: expected numbers above 0, got 0.0"):
        tangent_prop.moved(torch.rand(1, 1, 4, 4), zoom=0.0)
    with pytest.raises(ValueError, match="step: expected a finite number above 0"):
        tangent_prop.transformation_tangents(torch.rand(1, 1, 4, 4), step=0)
    with pytest.raises(ValueError, match="noise: expected a finite number of at least 0"):
        PointAutoencoder(noise=-1)
    with pytest.raises(ValueError, match="weights: expected a list of numbers >= 0"):
        tangent_prop.Classifiers([-1.0])
    with pytest.raises(
        ValueError, match="a number of labelled sets that divides the 3 networks, got 2"
    ):
        tangent_prop.Classifiers([0.0, 1.0, 2.0], widths=(4, 2)).loss(
            (torch.randn(5, 2, 4), torch.zeros(5, 2).long(), torch.randn(5, 2, 1, 4))
        )
