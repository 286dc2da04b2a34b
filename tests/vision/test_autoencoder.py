"""The mathematics of the autoencoder: each identity of chapter 22 against another computation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Laplace, Normal

from genai_utils.training import TensorBatches, fit
from genai_utils.vision.autoencoder import (
    Autoencoder,
    checkerboard_energy,
    conv_decoder,
    gaussian_log_likelihood,
    laplace_log_likelihood,
    lloyd_max,
    pca_transform_coding,
    quantise,
    straight_through_sign,
    transposed_conv1d,
    transposed_decoder,
    unpool,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# --- An error as a likelihood --------------------------------------------------------------------


def test_likelihoods_equal_the_library():
    x, a = torch.randn(5, 1, 3, 4), torch.randn(5, 1, 3, 4)
    normal, laplace = Normal(a, 0.6).log_prob(x), Laplace(a, 0.6).log_prob(x)
    assert torch.allclose(gaussian_log_likelihood(x, a, 0.6), normal.sum((1, 2, 3)), atol=1e-4)
    assert torch.allclose(laplace_log_likelihood(x, a, 0.6), laplace.sum((1, 2, 3)), atol=1e-4)


def test_log_likelihood_is_affine_in_the_squared_error():
    x, a = torch.rand(50, 64, dtype=torch.float64), torch.rand(50, 64, dtype=torch.float64)
    square = ((x - a) ** 2).sum(1)
    slope, intercept = np.polyfit(-square, gaussian_log_likelihood(x, a, 0.5), 1)
    assert slope == pytest.approx(1 / (2 * 0.25)) and slope > 0
    assert intercept == pytest.approx(-32 * math.log(2 * math.pi * 0.25))


def test_gradients_of_error_and_likelihood_are_parallel():
    x = torch.rand(3, 20)
    a = torch.rand(3, 20, requires_grad=True)
    (one,) = torch.autograd.grad(-((x - a) ** 2).sum(), a)
    (two,) = torch.autograd.grad(gaussian_log_likelihood(x, a, 0.3).sum(), a)
    assert F.cosine_similarity(one, two, dim=1).numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    "log_likelihood, best", [(gaussian_log_likelihood, "mean"), (laplace_log_likelihood, "median")]
)
def test_the_best_answer_to_an_ambiguous_set(log_likelihood, best):
    x = torch.rand(9, 6) ** 3
    answer = x.mean(0) if best == "mean" else x.median(0).values
    at_best = log_likelihood(x, answer.expand_as(x)).sum()
    for _ in range(50):
        other = answer + 0.05 * torch.randn(6)
        assert log_likelihood(x, other.expand_as(x)).sum() < at_best


# --- Making images larger ------------------------------------------------------------------------


@pytest.mark.parametrize("stride, width", [(1, 3), (2, 3), (3, 2), (2, 4)])
def test_transposed_convolution_is_the_transposed_matrix(stride, width):
    kernel, n = torch.randn(width, dtype=torch.float64), 5
    length = (n - 1) * stride + width
    unit = torch.eye(length, dtype=torch.float64)
    C = F.conv1d(unit[:, None], kernel[None, None], stride=stride)[:, 0].T  # (n, length)
    y = torch.randn(4, n, dtype=torch.float64)
    assert torch.allclose(transposed_conv1d(y, kernel, stride), y @ C, atol=1e-12)
    assert not torch.allclose(C @ C.T @ y[0], y[0])  # it is no inverse


def test_unpooling_equals_the_library_and_pooling_undoes_it():
    values, switches = F.max_pool2d(torch.rand(3, 2, 6, 8), 2, return_indices=True)
    large = unpool(values, switches)
    assert torch.equal(large, F.max_unpool2d(values, switches, 2))
    assert torch.equal(F.max_pool2d(large, 2), values)
    assert (large != 0).sum() == values.numel()


def test_checkerboard_energy_of_known_images():
    i, j = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((i + j) % 2).float()[None, None]
    stripes = (i % 2).float()[None, None]
    wave = torch.cos(2 * math.pi * j / 8)[None, None]
    assert checkerboard_energy(board) == pytest.approx(1)
    assert checkerboard_energy(stripes) == pytest.approx(1)
    assert checkerboard_energy(wave) == pytest.approx(0, abs=1e-9)
    assert checkerboard_energy(torch.full((2, 1, 8, 8), 0.3)) == 0
    both = wave + 2 * (stripes - 0.5)  # variances 1/2 and 1
    assert checkerboard_energy(both) == pytest.approx(2 / 3, abs=1e-6)
    noise = checkerboard_energy(torch.randn(2_000, 1, 8, 8))
    assert noise == pytest.approx(15 / 63, rel=0.03)
    with pytest.raises(ValueError, match=r"N even, got \(1, 1, 7, 7\)"):
        checkerboard_energy(torch.rand(1, 1, 7, 7))


def test_upsampling_keeps_a_constant_image_flat_and_transposing_does_not():
    """The same number in every place, in all channels: only the borders may differ."""
    for make, low, high in (
        (lambda: conv_decoder(2, 4, 16), 0, 1e-9),
        (lambda: transposed_decoder(2, 4, 16, kernel=3), 0.01, 1),
        (lambda: transposed_decoder(2, 4, 16, kernel=4), 0.01, 1),
    ):
        body = make()[3:]  # what comes after Unflatten
        with torch.no_grad():
            inner = body(torch.ones(1, 8, 12, 12))[..., 8:-8, 8:-8]
        assert low <= checkerboard_energy(inner) <= high


def test_decoders_have_the_same_weights_where_the_kernel_is_3():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    assert count(transposed_decoder(4, 6, 8, kernel=3)) == count(conv_decoder(4, 6, 8))
    assert transposed_decoder(4, 6, 8, kernel=4)(torch.randn(3, 4)).shape == (3, 1, 8, 8)


# --- Codes of true bits --------------------------------------------------------------------------


def test_straight_through_sign():
    h = torch.tensor([[-2.0, -0.1, 0.0, 0.3]], requires_grad=True)
    bits = straight_through_sign(h)
    assert bits.tolist() == [[-1, -1, 1, 1]]
    bits.sum().backward()
    assert torch.allclose(h.grad, 1 - torch.tanh(h.detach()) ** 2)


def test_lloyd_max_of_a_normal_is_the_published_quantiser():
    draws = np.random.default_rng(0).standard_normal(80_000)
    for levels, distortion in ((2, 0.3634), (4, 0.1175), (8, 0.03454)):  # Max 1960, table I
        book = lloyd_max(draws, levels, rounds=150)
        assert ((draws - quantise(draws, book)) ** 2).mean() == pytest.approx(distortion, rel=0.02)
    assert np.abs(lloyd_max(draws, 2)) == pytest.approx(math.sqrt(2 / math.pi), rel=0.01)


def test_lloyd_max_equals_k_means_in_one_dimension():
    from sklearn.cluster import KMeans

    values = np.random.default_rng(1).gamma(2.0, size=3_000)
    start = np.quantile(values, (np.arange(6) + 0.5) / 6)[:, None]
    peer = KMeans(6, init=start, n_init=1, max_iter=300, tol=0).fit(values[:, None])
    ours = lloyd_max(values, 6, rounds=300)
    assert ours == pytest.approx(np.sort(peer.cluster_centers_[:, 0]), abs=1e-6)


def test_quantise_takes_the_nearest_and_keeps_the_shape():
    values = np.array([[0.1, 0.9], [5.0, -3.0]])
    assert quantise(values, np.array([0.0, 1.0, 2.0])).tolist() == [[0, 1], [2, 0]]


def coded3(train, test):
    return pca_transform_coding(train, test, 3)[0]


def test_transform_coding_spends_its_bits_on_the_long_axes():
    rng = np.random.default_rng(0)
    spread = np.array([4.0, 2.0, 1.0, 0.5, 0.1])
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    train, test = (rng.standard_normal((n, 5)) * spread @ turn + 3 for n in (20_000, 5_000))
    coded, given = pca_transform_coding(train, test, bits=5)
    assert given.tolist() == [3, 2, 0, 0, 0]  # by the table of Max: gains 10.2, 3.9, 2.5, 1.3, 1.0
    table = {0: 1.0, 1: 0.3634, 2: 0.1175, 3: 0.03454}
    error = ((test - coded) ** 2).sum(1).mean()
    predicted = sum(s**2 * table[b] for s, b in zip(spread, given, strict=True))
    assert error == pytest.approx(predicted, rel=0.03)
    assert len(np.unique(coded.round(9), axis=0)) <= 2**5  # five bits name 32 images at most
    same, _ = pca_transform_coding(np.ones((9, 4)), np.ones((2, 4)), bits=2)  # nothing varies
    assert np.allclose(same, 1)
    one = torch.from_numpy(test[:7])
    assert np.array_equal(pca_transform_coding(train, one, 3)[0], coded3(train, test[:7]))
    with pytest.raises(ValueError, match="train: expected a matrix .* of at least 2 rows, got 1"):
        pca_transform_coding(train[:1], test, bits=1)
    with pytest.raises(ValueError, match="bits: expected a whole number from 1 to 5, got 9"):
        pca_transform_coding(train, test, bits=9)


# --- The models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, kernel", [("dense", 3), ("conv", 3), ("transposed", 3),
                                          ("transposed", 4)])  # fmt: skip
@pytest.mark.parametrize("size", [8, 28, 32])
def test_shapes(kind, kernel, size):
    model = Autoencoder(size=size, code=5, width=6, kind=kind, kernel=kernel)
    x = torch.rand(3, 1, size, size)
    assert model.encode(x).shape == (3, 5)
    assert model.decode(torch.randn(4, 5)).shape == (4, 1, size, size)
    image = model.image(10 * torch.randn(4, 5))
    assert image.min() >= 0 and image.max() <= 1


def test_loss_is_the_squared_error_and_an_affine_likelihood():
    model = Autoencoder(size=8, code=3, width=16)
    x = torch.rand(5, 1, 8, 8)
    a = model.decode(model.encode(x))
    terms = model.loss(x)
    assert torch.isclose(terms["mse"], F.mse_loss(a, x))
    assert torch.isclose(terms["loss"], 64 * terms["mse"])
    likelihood = gaussian_log_likelihood(x, a, 1.0).mean()
    assert torch.isclose(-terms["loss"] / 2 - 32 * math.log(2 * math.pi), likelihood)


def test_a_linear_autoencoder_is_pca():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    x = 0.5 + 0.2 * rng.standard_normal((400, 16)) * 0.6 ** np.arange(16) @ turn
    x = torch.tensor(x.clip(0, 1), dtype=torch.float32).reshape(-1, 1, 4, 4)
    model = Autoencoder(size=4, code=3, width=8)
    model.encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    model.decoder = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Unflatten(1, (1, 4, 4)))
    descent = torch.optim.LBFGS(model.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        descent.zero_grad()
        loss = model.loss(x)["loss"]
        loss.backward()
        return loss

    descent.step(closure)
    flat = x.flatten(1) - x.flatten(1).mean(0)
    best = torch.linalg.svdvals(flat)[3:].square().sum() / len(x)
    assert model.loss(x)["loss"].item() == pytest.approx(best.item(), rel=0.01)


@pytest.mark.parametrize("kind, binary", [("dense", False), ("dense", True), ("conv", False),
                                          ("transposed", False)])  # fmt: skip
def test_training_lowers_the_loss_and_every_parameter_moves(kind, binary):
    prototypes = torch.rand(4, 1, 8, 8)
    x = prototypes[torch.randint(4, (256,))]
    width = 32 if kind == "dense" else 8
    model = Autoencoder(size=8, code=4, width=width, kind=kind, binary=binary)
    before = [p.clone() for p in model.parameters()]
    mean = ((x - x.mean(0)) ** 2).mean()
    fit(model, TensorBatches(x, batch_size=64), steps=250, lr=5e-3, progress=False)
    assert model.loss(x)["mse"] < 0.6 * mean
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    if binary:
        assert set(model.encode(x).unique().tolist()) <= {-1.0, 1.0}


def test_bad_settings_are_refused_in_words():
    for arguments, words in (
        ({"size": 0}, "size"),
        ({"code": 0}, "code"),
        ({"width": 2.5}, "width"),
        ({"kind": "deep"}, "dense"),
        ({"kind": "conv", "size": 30}, "multiple of 4"),
        ({"kind": "transposed", "size": 6}, "multiple of 4"),
        ({"kernel": 5}, "kernel"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            Autoencoder(**arguments)
    Autoencoder(size=30, code=2, width=4)  # a dense one takes any side


def test_bad_input_is_refused_in_words():
    model = Autoencoder(size=8, code=3, width=8)
    with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\), got \(2, 3, 8, 8\)"):
        model.encode(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.check_batch(torch.full((2, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.encode(torch.full((2, 1, 8, 8), float("nan")))
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\)"):
        model.loss(torch.zeros(2, 3, 8, 8))
    with pytest.raises(TypeError, match="floats"):
        model.encode(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"c: expected codes of shape \(\.\.\., 3\), got \(2, 4\)"):
        model.decode(torch.zeros(2, 4))
    with pytest.raises((TypeError, ValueError), match="bits"):
        pca_transform_coding(np.zeros((9, 4)), np.zeros((2, 4)), bits=0)
