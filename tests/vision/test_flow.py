"""The mathematics of flows: each identity of chapter 25 against an independent computation."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import (
    AffineTransform,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)
from torch.func import jacrev, vmap

from benchmarks import flow as benchmark
from genai_utils.training import TensorBatches, fit
from genai_utils.vision.dequantize import (
    VariationalNoise,
    logit,
    logit_inverse,
    squeeze,
    unsqueeze,
)
from genai_utils.vision.flow import (
    ActNorm,
    Cascade,
    Coupling,
    Flow,
    InvertibleLinear,
    affine,
    affine_inverse,
    conv1x1,
    dense_network,
    flow_log_prob,
    flow_step,
)
from genai_utils.vision.glow import Glow, conv_network, recipe


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shaken(module, size=0.2):
    """The module in double precision, with weights that do something."""
    module = module.double()
    with torch.no_grad():
        for weight in module.parameters():
            weight += size * torch.randn_like(weight)
    return module


def small_glow(**settings):
    return Glow(**{"size": 8, "depth": 2, "width": 6, "blocks": 1, "noise_depth": 1, **settings})


def true_log_det(function, x):
    """log|det| of each example's Jacobian by autograd: x (B, ...) -> (B,)."""
    n = x[0].numel()
    jacobians = vmap(jacrev(lambda one: function(one[None])[0]))(x)
    return torch.linalg.slogdet(jacobians.reshape(len(x), n, n)).logabsdet


# --- The change of variables ---------------------------------------------------------------------


def test_log_prob_equals_the_library_for_scaled_and_shifted_normals():
    loc, scale = torch.randn(3).double(), torch.rand(3).double() + 0.3
    x = torch.randn(5, 3).double()
    base = Independent(Normal(torch.zeros(3).double(), torch.ones(3).double()), 1)
    library = TransformedDistribution(base, AffineTransform(loc, scale, event_dim=1))
    log_det = -scale.log().sum().expand(5)
    assert torch.allclose(flow_log_prob((x - loc) / scale, log_det), library.log_prob(x))


def test_one_determinant_for_each_example_not_one_for_all():
    c, log_det = torch.randn(4, 3), torch.randn(4)
    total = sum(flow_log_prob(c[i : i + 1], log_det[i : i + 1]) for i in range(4))
    assert torch.allclose(flow_log_prob(c, log_det).sum(), total.sum())
    assert flow_log_prob(c, torch.full((4,), -torch.inf)).tolist() == [-math.inf] * 4


@pytest.mark.parametrize("lu", [False, True])
def test_the_density_of_a_flow_integrates_to_one(lu):
    flow = shaken(Flow(2, depth=3, width=8, lu=lu), 0.15)
    axis = torch.linspace(-14, 14, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = flow.log_prob(grid).exp().detach()
    assert density.max() > 0.02  # there is something to sum
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_density_of_samples_is_the_density_that_is_said():
    flow = shaken(Flow(2, depth=2, width=8))
    x = flow.sample(40_000, generator=torch.Generator().manual_seed(1))
    inside = ((x - x.mean(0)).abs() < 0.5).all(dim=1).double().mean()
    axis = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    grid = x.mean(0) + torch.cartesian_prod(axis, axis)
    mass = torch.trapezoid(
        torch.trapezoid(flow.log_prob(grid).exp().reshape(101, 101), dx=0.01), dx=0.01
    )
    assert inside == pytest.approx(mass.item(), abs=0.01)


# --- The layers ----------------------------------------------------------------------------------

LAYERS = {
    "ActNorm": lambda: ActNorm(4),
    "matrix": lambda: InvertibleLinear(4),
    "LU": lambda: InvertibleLinear(4, lu=True),
    "coupling": lambda: Coupling(4, conv_network(2, 4, 5, 1)),
    "one channel stays": lambda: Coupling(4, conv_network(1, 6, 5, 0), keep=1),
    "step": lambda: Cascade(flow_step(4, conv_network(2, 4, 5, 1))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_log_det_is_that_of_the_jacobian_and_the_way_back_ends_where_it_began(name):
    layer, x = shaken(LAYERS[name]()), torch.randn(3, 4, 2, 3).double()
    c, log_det = layer(x)
    assert log_det.shape == (3,)
    assert torch.allclose(log_det, true_log_det(lambda v: layer(v)[0], x), atol=1e-10)
    assert (layer.inverse(c) - x).abs().max() < 1e-12
    assert (c - x).abs().max() > 0.1


@pytest.mark.parametrize("dims", [2, 5])
def test_a_flow_of_vectors_too(dims):
    flow, x = shaken(Flow(dims, depth=4, width=8)), torch.randn(4, dims).double()
    c, log_det = flow.encode(x)
    assert torch.allclose(log_det, true_log_det(lambda v: flow.encode(v)[0], x), atol=1e-10)
    assert (flow.decode(c) - x).abs().max() < 1e-12
    stages = flow.stages(c)
    assert len(stages) == 13 and stages[0] is c and torch.equal(stages[-1], flow.decode(c))


def test_the_inverse_is_exact_to_1e_5_in_single_precision():
    flow, glow = (shaken(m, 0.1).float() for m in (Flow(2, depth=8, width=32), small_glow()))
    x, y = 2 * torch.randn(500, 2), 2 * torch.randn(50, 1, 8, 8)
    with torch.no_grad():
        assert (flow.decode(flow.encode(x)[0]) - x).abs().max() < 1e-5 * x.abs().max()
        assert (glow.decode(glow.flow(y)[0]) - y).abs().max() < 1e-5 * y.abs().max()


def test_a_1x1_convolution_is_one_and_its_log_det_is_hw_times_that_of_its_matrix():
    weight, x = torch.randn(3, 3).double(), torch.randn(1, 3, 4, 5).double()
    library = lambda v: F.conv2d(v, weight[:, :, None, None])  # noqa: E731
    c, log_det = conv1x1(x, weight)
    assert torch.allclose(c, library(x)) and torch.allclose(log_det, true_log_det(library, x))
    turned = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # its determinant is -1
    assert conv1x1(torch.ones(2, 2, 7, 3), turned)[1].tolist() == [0, 0]


def test_the_power_of_a_determinant_underflows_and_its_logarithm_does_not():
    w, x = 0.5 * torch.eye(3), torch.zeros(1, 3, 64, 64)
    assert torch.det(w) ** 4096 == 0
    assert conv1x1(x, w)[1].item() == pytest.approx(4096 * 3 * math.log(0.5))
    assert conv1x1(x, torch.zeros(3, 3))[1].item() == -math.inf


def test_affine_there_and_back():
    x, s, t = torch.randn(3, 4, 5, 2, 2).double()
    c, log_det = affine(x, s, t)
    assert torch.allclose(affine_inverse(c, s, t), x)
    assert torch.allclose(log_det, s.sum(dim=(1, 2, 3)))
    first = true_log_det(lambda v: affine(v, s[:1], t[:1])[0], x[:1])
    assert torch.allclose(log_det[:1], first)


def test_both_forms_of_the_matrix_are_one_at_the_start():
    free, lu = (torch.manual_seed(1) and InvertibleLinear(5, lu=lu) for lu in (False, True))
    assert torch.allclose(free.weight, lu.weight, atol=1e-6)
    x = torch.randn(2, 5, 3, 3)
    assert free(x)[1].abs().max() < 1e-4 and lu(x)[1].abs().max() < 1e-4  # a rotation
    assert torch.allclose(free.weight @ free.weight.T, torch.eye(5), atol=1e-6)


def test_the_first_batch_sets_every_actnorm():
    x = torch.randn(400, 2) @ torch.tensor([[3.0, 1.0], [0.0, 0.1]]) + 5
    flow = Flow(2, depth=3, width=8).start(x)
    for layer in flow.cascade.layers:
        x, _ = layer(x)
        if isinstance(layer, ActNorm):
            assert x.mean(0).abs().max() < 1e-4 and (x.std(0) - 1).abs().max() < 1e-4


def test_the_start_of_a_glow_sets_every_actnorm_on_every_scale():
    model, x = small_glow(noise="uniform"), torch.rand(32, 1, 8, 8) ** 3
    torch.manual_seed(1)
    model.start(x)
    torch.manual_seed(1)  # the same noise
    y, norms = model.dequantize(x)[0], 0
    for cascade in model.scales:
        y = squeeze(y)
        for layer in cascade.layers:
            y, _ = layer(y)
            if isinstance(layer, ActNorm):
                values, norms = y.transpose(0, 1).flatten(1), norms + 1
                assert values.mean(dim=1).abs().max() < 1e-3
                assert (values.std(dim=1) - 1).abs().max() < 1e-3
        y = y.chunk(2, dim=1)[0]
    assert norms == 4


def test_settings_reach_the_parts_they_are_for():
    model = small_glow(width=[4, 6], noise_depth=3, lu=True)
    matrices = [part for part in model.modules() if isinstance(part, InvertibleLinear)]
    assert len(matrices) == 2 + 2 + 3 and all(part.lu for part in matrices)
    assert model.noise.look[0].out_channels == 4  # networks of the noise: those of scale 1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_coupling_stretches_by_at_most_e_squared(sign):
    coupling = Coupling(4, lambda a: torch.full((len(a), 4), sign * 1e4))
    assert coupling(torch.randn(3, 4))[1].tolist() == [4 * sign] * 3  # two numbers, s = ±2 each


def test_a_channel_that_never_varies_is_no_trouble_at_the_start():
    norm = ActNorm(2)
    norm.start(torch.ones(8, 2, 3, 3))
    assert torch.isfinite(norm(torch.ones(8, 2, 3, 3))[0]).all()


def test_half_precision_stays_inside_the_networks():
    flow = shaken(Flow(4, depth=3, width=8)).float()
    x = torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        c, log_det = flow.encode(x)
        back = flow.decode(c)
    assert c.dtype == log_det.dtype == torch.float32
    # the log-det is exactly that of the s that was used, so the way back differs by rounding only
    assert (back - x).abs().max() < 0.1
    for lu in (False, True):
        conv = InvertibleLinear(4, lu=lu)
        with torch.autocast("cpu", torch.bfloat16):
            assert (conv.inverse(conv(x)[0]) - x).abs().max() < 1e-5


def test_a_cascade_of_matrices_is_one_matrix_and_its_samples_are_normal():
    flow = shaken(Flow(3, depth=10, coupling=False))
    x = torch.randn(6, 3).double()
    offset = flow.encode(torch.zeros(1, 3).double())[0]
    matrix = torch.stack([flow.encode(e[None])[0][0] for e in torch.eye(3).double()], 1) - offset.T
    c, log_det = flow.encode(x)
    assert torch.allclose(c, x @ matrix.T + offset, atol=1e-12)
    assert torch.allclose(log_det, torch.linalg.slogdet(matrix).logabsdet.expand(6))
    inverse = torch.linalg.inv(matrix)
    gaussian = MultivariateNormal(-(offset @ inverse.T)[0], inverse @ inverse.T)
    assert torch.allclose(flow.log_prob(x), gaussian.log_prob(x))


# --- Learning ------------------------------------------------------------------------------------


def banana(n, generator):
    """Points (n, 2) of a bent normal distribution, and their exact log-density (n,)."""
    z = torch.randn(n, 2, generator=generator)
    x = torch.stack([z[:, 0], z[:, 1] * 0.5 + z[:, 0] ** 2], dim=1)
    return x, flow_log_prob(z, torch.full((n,), -math.log(0.5)))


def test_it_learns_a_density_that_is_known():
    g = torch.Generator().manual_seed(0)
    x, _ = banana(4_000, g)
    flow = Flow(2, depth=4, width=32).start(x[:500])
    before = flow.loss(x).item()
    flow = fit(flow, TensorBatches(x, batch_size=256), 500, lr=5e-3, progress=False).model
    fresh, truth = banana(4_000, g)
    assert flow.loss(fresh).item() == pytest.approx(-truth.mean().item(), abs=0.06)
    assert before > -truth.mean().item() + 0.3


def test_without_the_log_det_all_codes_fall_to_zero():
    class Blind(Flow):
        def loss(self, x):
            return -flow_log_prob(self.encode(x)[0], 0.0).mean()

    x = torch.randn(1_000, 2)
    spread = {}
    for kind in (Blind, Flow):
        torch.manual_seed(0)
        flow = kind(2, depth=2, width=8).start(x)
        flow = fit(flow, TensorBatches(x, batch_size=200), 200, lr=2e-2, progress=False).model
        spread[kind] = flow.encode(x)[0].std().item()
    assert spread[Blind] < 0.05 and spread[Flow] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("lu", [False, True])
def test_every_weight_of_a_glow_learns(lu):
    x = (255 * torch.rand(64, 1, 8, 8) ** 4).round() / 255
    model = small_glow(lu=lu).start(x)
    before = {name: p.clone() for name, p in model.named_parameters()}
    result = fit(model, TensorBatches(x, batch_size=32), 30, lr=3e-3, progress=False)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not still
    assert result.history["loss"][-1] < result.history["loss"][0] - 0.1


# --- Images --------------------------------------------------------------------------------------


def test_squeeze_moves_numbers_and_changes_none():
    x = torch.randn(2, 3, 4, 6)
    y = squeeze(x)
    assert y.shape == (2, 12, 2, 3) and torch.equal(unsqueeze(y), x)
    for c, i, j in ((0, 0, 0), (1, 0, 1), (2, 1, 0), (2, 1, 1)):
        assert torch.equal(y[:, 4 * c + 2 * i + j], x[:, c, i::2, j::2])
    for shape in ((1, 1, 3, 4), (1, 1, 4, 3)):
        with pytest.raises(ValueError, match="images of even sides"):
            squeeze(torch.zeros(shape))


def test_logit_there_and_back_with_its_log_det():
    v = torch.rand(3, 1, 2, 2).double()
    for margin in (1e-5, 0.1):
        y, log_det = logit(v, margin)
        true = true_log_det(lambda one: logit(one, margin)[0], v)  # noqa: B023
        assert torch.allclose(log_det, true, rtol=1e-9)
        assert torch.allclose(logit_inverse(y, margin), v, atol=1e-12)
    ends = logit(torch.tensor([[0.0, 1.0]]))
    assert torch.isfinite(ends[0]).all() and torch.isfinite(ends[1]).all()
    assert logit_inverse(torch.tensor([[-99.0, 99.0]])).tolist() == [[0, 1]]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_glow_is_a_bijection_with_the_log_det_of_its_jacobian(channels):
    model = shaken(small_glow(channels=channels, depth=[2, 1], width=[4, 6]))
    y = torch.randn(2, channels, 8, 8).double()
    c, log_det = model.flow(y)
    assert c.shape == (2, 64 * channels)
    assert (model.decode(c) - y).abs().max() < 1e-10
    if channels == 1:
        true = true_log_det(lambda v: model.flow(v)[0], y)
        assert torch.allclose(log_det, true, atol=1e-8)


def test_grey_levels_survive_the_way_to_real_numbers_and_back():
    x = torch.arange(256).reshape(4, 1, 8, 8) / 255
    for noise in ("uniform", "variational"):
        model = small_glow(noise=noise)
        assert torch.equal(model.quantize(model.dequantize(x)[0]), x)
        u, _ = model.noise(x)
        assert u.min() >= 0 and u.max() <= 1
        with torch.no_grad():
            c = model.code(x)
            assert torch.equal(model.quantize(model.decode(c)), x)
            assert not torch.equal(model.code(x), c)  # another draw of the noise
    ends = small_glow(levels=4).quantize(torch.tensor([-99.0, -0.2, 99.0]))  # v = 0, 0.45, 1
    assert ends.tolist() == pytest.approx([0, 1 / 3, 1])


def test_density_of_the_noise_is_that_of_its_jacobian(monkeypatch):
    noise = shaken(VariationalNoise(1, lambda i, o: conv_network(i, o, 4, 0), depth=2))
    x, eps = torch.rand(1, 1, 4, 4).double(), torch.randn(1, 4, 2, 2).double()

    def noise_of(given):
        monkeypatch.setattr(torch, "randn_like", lambda like: given.reshape(like.shape))
        return noise(x)

    true = flow_log_prob(eps, -true_log_det(lambda v: noise_of(v)[0].flatten(1), eps))
    u, log_q = noise_of(eps)
    assert torch.allclose(log_q, true, atol=1e-10)
    assert not torch.allclose(noise(1 - x)[0], u)  # it looks at the image


def test_the_density_of_the_noise_lowers_the_weight_of_a_draw(monkeypatch):
    model, x = small_glow(), torch.rand(2, 1, 8, 8)
    u, log_q, found = torch.rand_like(x), torch.tensor([3.0, -20.0]), []
    for given in (torch.zeros(2), log_q):
        monkeypatch.setattr(model.noise, "forward", lambda x: (u, given))  # noqa: B023
        found.append(model.log_weight(x))
    assert torch.allclose(found[0] - found[1], log_q, atol=1e-3)


def test_the_probability_of_an_image_is_how_often_it_is_drawn():
    model = shaken(small_glow(size=2, scales=1, levels=2, noise="uniform"), 0.1)
    bits = torch.arange(16)[:, None] >> torch.arange(4) & 1
    x = bits.reshape(16, 1, 2, 2).double()
    log_w = model.log_weights(x.repeat(1_000, 1, 1, 1), samples=10, chunk=16_000)
    probability = log_w.exp().reshape(10_000, 16).mean(dim=0)
    assert probability.sum() == pytest.approx(1, abs=0.04)
    drawn = (model.sample(20_000).flatten(1).long() << torch.arange(4)).sum(dim=1)
    share = torch.bincount(drawn, minlength=16) / 20_000
    assert (share - probability).abs().max() < 0.02
    assert share.max() > 2 * share.min()


def test_the_loss_is_the_bound_in_bits_per_dimension():
    model, x = shaken(small_glow(), 0.1).float(), (torch.rand(5, 1, 8, 8) * 255).round() / 255
    torch.manual_seed(3)
    loss = model.loss(x)
    torch.manual_seed(3)
    bound = model.bound(x)
    assert loss.item() == pytest.approx(-bound.mean().item() / 64 / math.log(2), rel=1e-5)
    found = []
    for take in (model.log_weights, model.bound, model.log_prob):
        torch.manual_seed(3)
        found.append(take(x, samples=5))
    log_w, bound, log_p = found
    assert torch.allclose(bound, log_w.mean(dim=0))
    assert torch.allclose(log_p, log_w.double().exp().mean(dim=0).log().float(), rtol=1e-5)
    assert (log_p > bound).all()  # Jensen


def test_importance_weights_in_parts_stay_with_their_images():
    model, x = small_glow(), torch.full((7, 1, 8, 8), 0.5)
    x[:3] = 0  # black is far from the middle of an untrained flow
    log_w = model.log_weights(x, samples=3, chunk=2)
    assert log_w.shape == (3, 7) and log_w[:, :3].max() < log_w[:, 3:].min()


def test_samples_are_grey_levels_and_temperature_0_is_one_picture():
    model = small_glow(levels=4).eval()
    images = model.sample(6, generator=torch.Generator().manual_seed(0))
    assert images.shape == (6, 1, 8, 8) and set((3 * images).unique().tolist()) <= {0, 1, 2, 3}
    again = model.sample(6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    cold = model.sample(3, temperature=0)
    assert torch.equal(cold[0], cold[2])


def test_the_temperature_multiplies_the_whole_code():
    flow, glow = shaken(Flow(3, depth=2, width=8)), shaken(small_glow())
    for model, dims, seen in ((flow, 3, lambda x: x), (glow, 64, glow.quantize)):
        c = torch.randn(5, dims, generator=torch.Generator().manual_seed(1)).double()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn", lambda *shape, **_: c)  # noqa: B023
            cool = model.sample(5, temperature=0.5)
        assert torch.allclose(cool, seen(model.decode(0.5 * c)))
        assert not torch.allclose(cool, seen(model.decode(c)))


def test_the_recipe_is_for_whole_digits(monkeypatch):
    images = torch.rand(130, 1, 28, 28)
    monkeypatch.setattr(
        "genai_utils.vision.glow.data.mnist", lambda split: type("Images", (), {"x": images})
    )
    model, batches, options = recipe()
    assert isinstance(model, Glow) and model.size == 28
    assert batches(0).shape == (128, 1, 28, 28) and options["steps"] > 1_000


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Flow(1), "dims: expected a whole number of at least 2, got 1"),
        (lambda: Flow(2, depth=0), "depth"),
        (lambda: Glow(30, scales=2), "size: expected a multiple of 2\\^scales = 4, got 30"),
        (lambda: Glow(8, depth=[1, 2, 3]), "depth: expected one number, or one for each of 2"),
        (lambda: Glow(8, noise="none"), "noise: expected one of 'variational', 'uniform'"),
        (lambda: Glow(8, levels=1), "levels"),
        (lambda: small_glow().decode(torch.zeros(2, 63)), "codes of shape \\(B, 64\\)"),
        (lambda: small_glow().sample(2, temperature=-1), "temperature"),
        (lambda: Flow(2).sample(2, temperature=-1), "temperature"),
        (lambda: Flow(2).start(torch.zeros(4, 3)), "matrix \\(n, 2\\)"),
        (lambda: Flow(2).check_batch(torch.full((4, 2), torch.nan)), "finite"),
        (lambda: small_glow().log_prob(torch.full((1, 1, 8, 8), 2.0)), "pixels between 0 and 1"),
        (lambda: small_glow().log_prob(torch.rand(2, 1, 8, 8), samples=0), "samples"),
        (lambda: small_glow().sample(2, y=3), "no labels"),
    ],
)
def test_bad_input_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("entry", [1.0, torch.nan])
def test_a_singular_matrix_is_named(entry):
    conv = InvertibleLinear(2)
    with torch.no_grad():
        conv.matrix.fill_(entry)
    with pytest.raises(ValueError, match="expected an invertible matrix, got a singular one"):
        conv.inverse(torch.randn(3, 2))


def test_the_network_of_a_coupling_does_nothing_at_first():
    dense, conv = dense_network(2, 4, 8), conv_network(2, 4, 8, 1)
    assert dense(torch.randn(3, 2)).abs().max() == 0
    assert conv(torch.randn(3, 2, 4, 4)).abs().max() == 0


def test_normflows_once_gave_the_same_likelihoods():
    """The numbers are stored with their version: benchmarks/flow.py, which asks normflows."""
    stored = json.loads(benchmark.STORED.read_text(encoding="utf-8"))
    assert stored["normflows"] == "1.7.3" and stored["model"] == benchmark.SMALL
    model = benchmark.numbered(Glow(**benchmark.SMALL).double())
    found = flow_log_prob(*model.flow(benchmark.images(stored["images"], 8)))
    assert torch.allclose(
        found, torch.tensor(stored["log_prob"], dtype=torch.float64), rtol=1e-9, atol=0
    )
