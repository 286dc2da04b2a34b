"""Pixel models: causality, probabilities that sum to one, sampling that wastes nothing."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli

from genai_utils.training import TensorBatches, dynamic_binarize, fit
from genai_utils.vision.pixel_chain import (
    PixelModel,
    all_images,
    jacobian,
    next_pixel,
    reorder,
    running_log_prob,
)
from genai_utils.vision.pixel_models import (
    GatedLayer,
    MaskedConv2d,
    MaskedPixelCNN,
    PixelCNN,
    gate,
    masked_weight,
)
from genai_utils.vision.pixel_rnn import PixelRNN, RowLSTM

MODELS = {
    "masked": (MaskedPixelCNN, {}),
    "gated": (PixelCNN, {}),
    "gated, dilated": (PixelCNN, {"dilations": (1, 2), "layers": 3}),
    "row LSTM": (PixelRNN, {}),
    "row LSTM, wide state": (PixelRNN, {"hidden": 7}),
}
every_model = pytest.mark.parametrize("kind", list(MODELS))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make(kind, **settings):
    model, own = MODELS[kind]
    model = model(**{"width": 6, "layers": 2, **own, **settings}).double()
    with torch.no_grad():  # larger weights: a model of strong opinions
        for weight in model.parameters():
            weight.mul_(2)
        for weight in model.place.parameters():  # zero at the start
            weight.normal_()
    return model


# --- The chain rule ------------------------------------------------------------------------------


def test_running_log_prob_is_the_chain_rule():
    x, logits = torch.bernoulli(torch.full((3, 1, 4, 5), 0.5)), torch.randn(3, 1, 4, 5)
    terms = Bernoulli(logits=logits).log_prob(x).flatten(1)
    total = running_log_prob(x, logits)
    assert total.shape == (3, 20)
    for i in range(20):
        assert torch.allclose(total[:, i], terms[:, : i + 1].sum(1), atol=1e-5)
    sure = running_log_prob(torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), -200.0))
    assert sure.tolist() == [[-200, -400]]  # log(sigmoid(-200)) would be minus infinity


def test_pixels_that_are_sure_do_not_spoil_the_sum():
    """p of exactly 0 or 1: the logit of a pixel that is always black is -inf."""
    p = torch.tensor([1.0, 0.0, 0.5]).view(1, 1, 1, 3)
    total = running_log_prob(torch.tensor([1.0, 0.0, 1.0]).view(1, 1, 1, 3), torch.logit(p))
    assert total[0].tolist() == pytest.approx([0, 0, -0.6931471805599453])
    assert (
        running_log_prob(torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 1, 3), torch.logit(p))[0, 2]
        < -1e30
    )


def test_next_pixel_is_one_as_often_as_the_model_says():
    u = torch.rand(200_000)
    for logit, temperature in ((0.8, 1.0), (-1.5, 1.0), (0.8, 0.5), (0.8, 2.0)):
        drawn = next_pixel(torch.full((200_000,), logit), u, temperature)
        p = 1 / (1 + 2.718281828 ** (-logit / temperature))
        assert set(drawn.tolist()) == {0.0, 1.0}
        assert drawn.mean().item() == pytest.approx(p, abs=5e-3)
    assert next_pixel(torch.zeros(2), torch.tensor([0.4999, 0.5])).tolist() == [1, 0]


def test_reorder_reads_the_pixels_in_the_given_order():
    x, order = torch.rand(2, 1, 3, 4), torch.randperm(12)
    y = reorder(x, order)
    for i, place in enumerate(order):
        assert torch.equal(y[:, 0, i // 4, i % 4], x[:, 0, place // 4, place % 4])
    assert torch.equal(reorder(y, order.argsort()), x)


@every_model
def test_the_probabilities_of_all_images_sum_to_one(kind):
    model, images = make(kind, size=3, first=3), all_images(3).double()
    p = model.log_prob(images, chunk=100).exp()
    assert len(images) == 512 and len(images.unique(dim=0)) == 512
    assert p.max() > 2 / 512  # they differ
    assert p.sum().item() == pytest.approx(1, abs=1e-12)


@every_model
def test_no_logit_depends_on_its_own_pixel_or_a_later_one(kind):
    model = make(kind, size=9, first=5)
    slopes = jacobian(model, torch.rand(1, 1, 9, 9))
    assert slopes.shape == (81, 81) and slopes.dtype == torch.float64
    assert slopes.triu().abs().max() == 0  # the 1e-12 of the lecture map, and exactly
    assert (slopes.diagonal(-1) != 0).sum() >= 60  # but most pixels see the one before
    parts = jacobian(model, torch.zeros(1, 1, 9, 9), pixels=[40, 3])
    assert torch.equal(parts, jacobian(model, torch.zeros(1, 1, 9, 9))[[40, 3]])


def test_the_jacobian_is_that_of_autograd_and_leaves_the_model_alone():
    model = PixelCNN(size=5, width=4, layers=1, first=3)
    x = torch.rand(1, 1, 5, 5)
    ours = jacobian(model, x)
    assert next(model.parameters()).dtype == torch.float32
    model.double()
    theirs = torch.autograd.functional.jacobian(lambda x: model.logits(x).flatten(), x.double())
    assert torch.allclose(ours, theirs.reshape(25, 25), atol=1e-14)


# --- What a pixel sees ---------------------------------------------------------------------------


def seen_by(model, size, row, column):
    place = row * size + column
    return jacobian(model, torch.rand(1, 1, size, size), [place])[0].reshape(size, size) != 0


def earlier(size, row, column):
    return (torch.arange(size * size) < row * size + column).reshape(size, size)


def test_one_stack_of_masks_has_a_blind_spot_and_two_stacks_have_none():
    size, row, column = 11, 7, 4
    masked = seen_by(make("masked", size=size, first=3, layers=6), size, row, column)
    gated = seen_by(make("gated", size=size, first=3, layers=6), size, row, column)
    assert torch.equal(gated, earlier(size, row, column))
    for r, c in itertools.product(range(row), range(size)):
        # a step up can go one place to the right; so can no step along the row
        assert masked[r, c] == (c - column <= row - r), (r, c)


def test_the_field_of_the_row_lstm_is_a_triangle():
    size, row, column = 11, 8, 5
    model = make("row LSTM", size=size, first=3, layers=1)
    field = seen_by(model, size, row, column)
    assert not field[row, column:].any() and field[row, column - 1]
    for r, c in itertools.product(range(row), range(size)):
        # first kernel: one row, one place to each side; each row of the state: one place more
        right = column + 1 + max(0, row - r - 1)
        left = column - 2 - (row - r)  # the masked kernel along the row looks left as well
        assert field[r, c] == (left <= c <= right), (r, c)


@pytest.mark.parametrize("dilation", [1, 2])
def test_the_first_kernel_and_a_layer_see_what_they_should(dilation):
    layer = GatedLayer(3, 3, dilation)
    v, h = torch.randn(2, 1, 3, 9, 9)
    v.requires_grad_()
    h.requires_grad_()
    below, beside = layer(v, h)
    for out, source, rows, columns in (
        (below, v, (0, dilation), (-dilation, 0, dilation)),
        (beside, v, (0, dilation), (-dilation, 0, dilation)),
        (beside, h, (0,), (0, -dilation)),
    ):
        (slope,) = torch.autograd.grad(out[0, :, 5, 5].sum(), source, retain_graph=True)
        field = {(5 - r, 5 + c) for r in rows for c in columns}
        assert set(map(tuple, slope[0].abs().sum(0).nonzero().tolist())) == field
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(below.sum(), h)


def test_the_first_kernels_together_are_one_masked_kernel():
    model, x = PixelCNN(size=9, width=4, layers=1, first=5), torch.randn(2, 1, 9, 9)
    whole = torch.zeros(4, 1, 5, 5)
    whole[:, :, :2], whole[:, :, 2:3, :2] = model.first_v.weight, model.first_h.weight
    expected = F.conv2d(x, whole, model.first_v.bias + model.first_h.bias, padding=2)
    masked = MaskedConv2d(1, 4, 5, "A")
    masked.load_state_dict({"weight": whole + 1 - masked_weight(torch.ones(5, 5), "A"),
                            "bias": model.first_v.bias + model.first_h.bias})  # fmt: skip
    assert torch.allclose(masked(x), expected, atol=1e-5)
    model.layers, model.head = nn.ModuleList(), nn.Identity()
    assert torch.allclose(model.logits((x + 1) / 2), expected, atol=1e-5)


def test_masks():
    ones = torch.ones(2, 3, 3, 5)
    assert masked_weight(ones, "A")[1, 2].tolist() == [[1] * 5, [1, 1, 0, 0, 0], [0] * 5]
    assert masked_weight(ones, "B")[1, 2].tolist() == [[1] * 5, [1, 1, 1, 0, 0], [0] * 5]
    with pytest.raises(ValueError, match="'C'"):
        masked_weight(ones, "C")


def test_gate():
    a = torch.randn(2, 6, 3, 4)
    assert torch.allclose(gate(a), a[:, :3].tanh() * a[:, 3:].sigmoid())
    a[:, 3:] = -100
    assert gate(a).abs().max() < 1e-30  # closed


def test_a_row_lstm_with_kernels_of_one_is_pytorchs_lstm_down_each_column():
    ours = RowLSTM(width=5, hidden=4, kernel=1).double()
    theirs = nn.LSTM(5, 4, batch_first=True).double()

    def order(weight):  # ours: o, f, i, g; theirs: i, f, g, o
        o, f, i, g = weight.flatten(1).chunk(4) if weight.dim() > 1 else weight.chunk(4)
        return torch.cat([i, f, g, o])

    theirs.load_state_dict({
        "weight_ih_l0": order(ours.input_to_state.weight),
        "weight_hh_l0": order(ours.state_to_state.weight),
        "bias_ih_l0": order(ours.input_to_state.bias),
        "bias_hh_l0": torch.zeros(16, dtype=torch.float64),
    })  # fmt: skip
    x = torch.randn(2, 5, 6, 3, dtype=torch.float64)
    states, _ = theirs(x.permute(0, 3, 2, 1).reshape(6, 6, 5))  # (B W, H, channels)
    states = states.reshape(2, 3, 6, 4).permute(0, 3, 2, 1)
    out, (s, c) = ours(x)
    assert torch.allclose(out, x + ours.out(states), atol=1e-12)
    first, state = ours(x[:, :, :4])  # the first rows, then the others from the kept state
    rest, _ = ours(x[:, :, 4:], state)
    assert torch.allclose(torch.cat([first, rest], dim=2), out, atol=1e-12)


# --- Sampling ------------------------------------------------------------------------------------


@every_model
def test_the_cache_draws_the_same_images_as_the_whole_network(kind):
    model = make(kind, size=10, first=5, kernel=5 if kind == "gated" else 3)
    u = torch.rand(4, 10, 10, dtype=torch.float64)
    quick, slow = model.sample(4, u=u), model.sample(4, cached=False, u=u)
    assert torch.equal(quick, slow) and quick.shape == (4, 1, 10, 10)
    assert 0.05 < quick.mean() < 0.95 and len(quick.unique(dim=0)) == 4
    assert torch.equal(quick, model.sample(4, u=u))  # nothing random but u

    reader, logits = model.reader(quick), model.logits(quick)
    for row in range(10):
        reader.start(row)
        for column in range(10):
            assert torch.allclose(reader.logit(row, column), logits[:, 0, row, column], atol=1e-10)


@every_model
def test_completion_keeps_what_is_known_and_agrees_with_the_cache(kind):
    model = make(kind, size=7, first=3)
    known = (torch.arange(49) < 24).reshape(7, 7)  # three rows and three pixels
    x = torch.bernoulli(torch.full((3, 1, 7, 7), 0.5)).double()
    before, u = x.clone(), torch.rand(3, 7, 7, dtype=torch.float64)
    done = model.complete(x, known, u=u)
    assert torch.equal(x, before)
    assert torch.equal(done[..., known], x[..., known])
    assert torch.equal(done, model.complete(x, known, cached=False, u=u))
    hidden = torch.where(known, x, 1 - x)  # what stands at the hidden places does not matter
    assert torch.equal(done, model.complete(hidden, known, u=u))
    assert torch.equal(model.complete(x, torch.ones(7, 7, dtype=torch.bool)), x)


@every_model
def test_completions_come_as_often_as_the_exact_conditional_says(kind):
    model, n = make(kind, size=3, first=3), 20_000
    known = (torch.arange(9) < 6).reshape(3, 3)
    images = all_images(3).double()
    given = images[images[..., :2, :].flatten(1).eq(torch.tensor([1, 0, 0, 1, 1, 0])).all(1)]
    p = model.log_prob(given).softmax(0)  # P(last row | first two), 8 cases
    drawn = model.complete(given[:1].repeat(n, 1, 1, 1), known)
    weights = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    code = (drawn[:, 0, 2] @ weights).long()
    share = code.bincount(minlength=8) / n
    expected = torch.zeros(8).double().index_put(((given[:, 0, 2] @ weights).long(),), p)
    assert (share - expected).abs().max() < 4 * 0.5 / n**0.5
    assert expected.max() - expected.min() > 0.02


def test_samples_do_not_need_a_gradient_and_heed_the_temperature():
    model = PixelCNN(size=8, width=4, layers=1, first=3)
    with torch.no_grad():
        model.head[-1].bias += 2.0
    u = torch.rand(200, 8, 8)
    sure, honest, wild = (model.sample(200, temperature=t, u=u).mean() for t in (0.1, 1.0, 10.0))
    assert sure > 0.99 and 0.75 < honest < 0.95 and wild < 0.7
    assert not model.sample(1).requires_grad


# --- Training ------------------------------------------------------------------------------------


@every_model
def test_loss_is_the_mean_of_log_prob_in_nats_per_image(kind):
    model = make(kind, size=6, first=3)
    x = torch.bernoulli(torch.full((7, 1, 6, 6), 0.3)).double()
    assert torch.isclose(model.loss(x), -model.log_prob(x).mean())
    assert torch.allclose(model.log_prob(x, chunk=2), model.log_prob(x), atol=1e-10)
    blank = make(kind, size=6, first=3)
    with torch.no_grad():
        blank.head[-1].weight.zero_()
        blank.head[-1].bias.zero_()
    assert blank.loss(x).item() == pytest.approx(36 * 0.6931471805599453)


@every_model
def test_training_comes_close_to_the_entropy_and_every_parameter_moves(kind):
    patterns = torch.bernoulli(torch.full((4, 1, 6, 6), 0.5))
    x = patterns[torch.randint(4, (256,))]
    model = make(kind, size=6, first=5, width=12).float()
    before = [p.clone() for p in model.parameters()]
    fit(model, TensorBatches(x, batch_size=32), 100, lr=1e-2, clip=50.0, progress=False)
    nats = -model.log_prob(patterns).mean()
    assert 1.38 < nats < 3  # four equal choices: log 4 = 1.386; before: about 25
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("model", [
    lambda: PixelCNN(size=12, width=64, layers=10, kernel=3, first=7),
    lambda: PixelRNN(size=12, width=64, layers=4, first=7),
], ids=["PixelCNN", "PixelRNN"])  # fmt: skip
def test_the_models_of_the_gpu_profile_train_in_half_precision(model):
    """Chapter 20 takes wider networks and bf16 on a card; here in small, on the CPU."""
    x = torch.zeros(32, 1, 12, 12)
    x[:, :, 2:10, 4:8] = 0.9
    model, test = model(), torch.bernoulli(x[:16])
    before = -model.log_prob(test).mean()
    batches = TensorBatches(x, batch_size=8, transform=dynamic_binarize)
    fitted = fit(model, batches, 12, lr=2e-3, ema=0.9, precision="bf16", progress=False)
    after = fitted.ema_model
    assert -after.log_prob(test).mean() < 0.8 * before
    assert all(p.dtype == torch.float32 for p in after.parameters())
    assert set(after.sample(2).unique().tolist()) <= {0.0, 1.0}


def test_the_recipe_is_the_main_model_of_the_chapter():
    from pathlib import Path

    from genai_utils.vision.pixel_models import recipe

    model, batches, options = recipe()
    assert torch.isfinite(model.loss(batches(0)))
    assert set(batches(0).unique().tolist()) == {0.0, 1.0}
    chapter = Path(__file__).parents[2] / "notebooks" / "20_pixel_models.ipynb"
    text = chapter.read_text(encoding="utf-8")
    assert f"steps = run.pick(ci=150, cpu={options['steps']:_}," in text
    for name in ("ema", "clip"):
        assert f"{name}={options[name]}," in text
    assert f"warmup=min({options['warmup']}, steps" in text
    assert f"cpu=dict(width={model.width}, layers={len(model.layers)}" in text


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["masked", "gated", "row LSTM"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 0}, r"^size: expected a whole number of at least 1, got 0\.$"),
        ({"size": 8.0}, "size: expected a whole number"),
        (
            {"size": 5, "first": 7},
            r"^first: expected a kernel no wider than the image, 5, got 7\.$",
        ),
        (
            {"size": 3, "first": 3, "kernel": 5},
            "kernel: expected a kernel no wider than the image, 3, got 5",
        ),
        ({"kernel": 4}, "kernel: expected an odd kernel"),
        ({"first": 6}, "first: expected an odd kernel"),
        ({"width": 0}, "width: expected a whole number of at least 1"),
        ({"layers": -1}, "layers: expected a whole number of at least 1"),
    ],
)
def test_bad_settings_are_refused_in_words(kind, settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        MODELS[kind][0](**settings)


def test_more_bad_settings():
    with pytest.raises(ValueError, match="first: expected a whole number of at least 3"):
        PixelCNN(first=1)
    with pytest.raises(ValueError, match="hidden: expected a whole number of at least 1"):
        PixelRNN(hidden=0)
    with pytest.raises(ValueError, match="dilations: expected a whole number of at least 1"):
        PixelCNN(dilations=(1, 0))
    with pytest.raises(NotImplementedError):
        PixelModel(4).logits(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="size: expected a whole number from 1 to 4, got 5"):
        all_images(5)


@pytest.mark.parametrize("call", ["check_batch", "log_prob"])
def test_bad_images_are_refused_in_words(call):
    model = PixelCNN(size=8, width=4, layers=1, first=3)
    ask = getattr(model, call)
    for x, words in (
        (
            torch.full((2, 1, 8, 8), 0.5),
            "x of this PixelCNN: expected pixels that are 0 or 1, got grey values",
        ),
        (torch.full((2, 1, 8, 8), 255.0), "between 0 and 1"),
        (torch.full((2, 1, 8, 8), float("nan")), "between 0 and 1"),
        (torch.zeros(2, 3, 8, 8), r"\(B, 1, 8, 8\), got \(2, 3, 8, 8\)"),
        (torch.zeros(2, 1, 28, 28), r"\(B, 1, 8, 8\), got \(2, 1, 28, 28\)"),
        (torch.zeros(0, 1, 8, 8), r"\(0, 1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.long), "floats"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            ask(x)
    for x in (torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 28, 28), torch.zeros(0, 1, 8, 8)):
        with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\)"):
            model.loss(x)


def test_bad_requests_for_samples_are_refused_in_words():
    model, x = PixelCNN(size=8, width=4, layers=1, first=3), torch.zeros(2, 1, 8, 8)
    for n in (0, -1, 2.0):
        with pytest.raises((TypeError, ValueError), match="n: expected"):
            model.sample(n)
    with pytest.raises(ValueError, match="temperature: expected a finite number above 0"):
        model.sample(1, temperature=0.0)
    with pytest.raises(ValueError, match="chunk: expected"):
        model.log_prob(x, chunk=0)
    lower = torch.zeros(8, 8, dtype=torch.bool)
    lower[4:] = True
    with pytest.raises(ValueError, match="the first pixels in raster order"):
        model.complete(x, lower)
    with pytest.raises(ValueError, match=r"known: expected bools of shape \(8, 8\)"):
        model.complete(x, torch.ones(4, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="known: expected bools"):
        model.complete(x, torch.ones(8, 8))
    with pytest.raises(ValueError, match="u: expected"):
        model.sample(2, u=torch.rand(2, 7, 8))
