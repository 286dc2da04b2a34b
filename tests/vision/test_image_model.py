"""One protocol for all models of images: what they take, what they give, colour and classes."""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genai_utils import evaluation
from genai_utils.training import TensorBatches, dynamic_binarize, fit
from genai_utils.vision.autoencoder import Autoencoder
from genai_utils.vision.glow import Glow
from genai_utils.vision.image_model import ImageModel, codes
from genai_utils.vision.manifold import ManifoldAutoencoder
from genai_utils.vision.maskgit import MaskGIT
from genai_utils.vision.mixture import BernoulliMixture
from genai_utils.vision.pixel_models import MaskedPixelCNN, PixelCNN
from genai_utils.vision.pixel_rnn import PixelRNN
from genai_utils.vision.vae import VAE
from genai_utils.vision.vq import TokenImages, VQAutoencoder

MODELS = {
    "Autoencoder": lambda **more: Autoencoder(8, 3, 8, **more),
    "conv Autoencoder": lambda **more: Autoencoder(8, 3, 4, "conv", **more),
    "transposed Autoencoder": lambda **more: Autoencoder(8, 3, 4, "transposed", **more),
    "VAE": lambda **more: VAE(8, 3, 8, **more),
    "conv VAE": lambda **more: VAE(8, 3, 4, "conv", "gaussian", **more),
    "VQAutoencoder": lambda **more: VQAutoencoder(8, 6, 4, 8, **more),
    "ManifoldAutoencoder": lambda: ManifoldAutoencoder(8, 5, noise=0.1),
    "mixture": lambda: BernoulliMixture(torch.rand(3, 1, 8, 8).clamp(0.1, 0.9)),
    "MaskedPixelCNN": lambda **more: MaskedPixelCNN(8, 4, 2, first=3, **more),
    "PixelCNN": lambda **more: PixelCNN(8, 4, 2, first=3, **more),
    "PixelRNN": lambda **more: PixelRNN(8, 4, 1, first=3, **more),
    "tokens": lambda: TokenImages(VQAutoencoder(8, 6, 4, 8), MaskGIT(6, 2, 16, 1, 2)),
    "Glow": lambda **more: Glow(8, depth=1, width=4, blocks=1, noise_depth=1, **more),
}
GENERATORS = [name for name in MODELS if "utoencoder" not in name]
COLOURED = {
    "Autoencoder": lambda: Autoencoder(8, 3, 16, channels=3),
    "conv Autoencoder": lambda: Autoencoder(8, 3, 4, "conv", channels=3),
    "transposed Autoencoder": lambda: Autoencoder(8, 3, 4, "transposed", channels=3),
    "VAE": lambda: VAE(8, 3, 32, channels=3),
    "conv VAE": lambda: VAE(8, 3, 8, "conv", "gaussian", std=0.2, channels=3),
}
PIXELS = {"MaskedPixelCNN": MaskedPixelCNN, "PixelCNN": PixelCNN, "PixelRNN": PixelRNN}
CLASSED = ["VAE", "conv VAE", *PIXELS]
NAMES = {"loss", "reconstruction", "kl", "penalty", "mse", "used"}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make(name, **more):
    return MODELS[name](**more).eval()


def binary(n=5, channels=1, size=8):
    return torch.bernoulli(torch.full((n, channels, size, size), 0.5))


def total(loss):
    return loss["loss"] if isinstance(loss, dict) else loss


# --- What all of them share ----------------------------------------------------------------------


@every_model
def test_every_model_is_an_image_model_and_its_losses_have_the_same_names(name):
    model = make(name)
    assert isinstance(model, ImageModel)
    assert (model.size, model.channels, model.classes) == (8, 1, None)
    loss = model.loss(binary())
    assert total(loss).shape == () and torch.isfinite(total(loss))
    if isinstance(loss, dict):
        assert {"loss", "reconstruction"} <= set(loss) <= NAMES


@every_model
def test_float64_and_numpy_images_give_what_float32_ones_give(name):
    model, x = make(name), binary()
    for same in (x.double(), x.numpy(), x.double().numpy(), x.double().numpy()[::-1][::-1]):
        model.check_batch(same)
        torch.manual_seed(1)
        loss = total(model.loss(same))
        torch.manual_seed(1)
        assert torch.equal(loss, total(model.loss(x))) and loss.dtype == torch.float32
        for ask in ("encode", "log_prob", "bound", "responsibilities"):
            if hasattr(model, ask):
                torch.manual_seed(2)
                ours = getattr(model, ask)(same)
                torch.manual_seed(2)
                theirs = getattr(model, ask)(x)
                for a, b in zip([*ours], [*theirs], strict=True):
                    assert torch.equal(a, b), ask
    double = make(name).double()
    if name != "tokens":  # a transformer in double precision is not asked for
        assert total(double.loss(x)).dtype == torch.float64


@every_model
def test_wrong_images_are_refused_by_name(name):
    model = make(name)
    who = f"x of this {type(model).__name__}: expected "
    for x, words in (
        (torch.zeros(2, 3, 8, 8), r"images of shape \(B, 1, 8, 8\), got \(2, 3, 8, 8\)\."),
        (torch.zeros(1, 8, 8), r"images of shape \(B, 1, 8, 8\), got \(1, 8, 8\)\."),
        (torch.zeros(0, 1, 8, 8), r"images of shape \(B, 1, 8, 8\), got \(0, 1, 8, 8\)\."),
        (torch.zeros(2, 1, 8, 8).long(), r"a tensor of floats in \[0, 1\], got a tensor of int64"),
        (np.zeros((2, 1, 8, 8), np.uint8), r"a tensor of floats .* got a NumPy array of uint8"),
        ([[0.0]], "a tensor of floats .* got a list"),
        ((binary(), binary(), binary()), "a tensor of floats .* got a tuple"),
    ):
        for ask in (model.check_batch, model.loss):
            with pytest.raises((TypeError, ValueError), match=who + words):
                ask(x)
    for x in (255 * binary(), -binary(), binary() * torch.nan, 255 * binary().numpy()):
        with pytest.raises(ValueError, match=f"{who}pixels between 0 and 1, .*; divide by 255"):
            model.check_batch(x)
    if model.pixels == "binary":
        with pytest.raises(ValueError, match=f"{who}pixels that are 0 or 1, got grey values; thr"):
            model.check_batch(binary() / 2)
    else:
        model.check_batch(binary() / 2)


@pytest.mark.parametrize("name", GENERATORS)
def test_samples_are_images_and_a_generator_repeats_them(name):
    model = make(name)
    assert {"y", "generator"} <= set(inspect.signature(model.sample).parameters)

    def draw(seed):
        return model.sample(7, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    x = draw(1)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's numbers are used up
    assert x.shape == (7, 1, 8, 8) and not x.requires_grad and 0 <= x.min() <= x.max() <= 1
    assert torch.equal(draw(1), x) and not torch.equal(draw(2), x)
    torch.manual_seed(3)
    default = model.sample(7)
    torch.manual_seed(3)
    assert torch.equal(model.sample(7), default) and not torch.equal(model.sample(7), default)
    for n in (0, -1, 2.0, True):
        with pytest.raises((TypeError, ValueError), match="n: expected a whole number of at lea"):
            model.sample(n)
    with pytest.raises(ValueError, match="expected no labels, got 3; make the model with classes"):
        model.sample(2, y=3)


@pytest.mark.parametrize("name", ["VAE", "PixelCNN"])
def test_likelihoods_are_repeated_by_a_generator_and_those_of_double_models_are_double(name):
    model, x = make(name), binary()
    if name == "VAE":
        for ask in (model.bound, model.log_prob, model.log_weights):
            one, two = (ask(x, 3, generator=torch.Generator().manual_seed(4)) for _ in range(2))
            assert torch.equal(one, two) and not torch.equal(one, ask(x, 3))
    model.double()
    assert model.log_prob(x).dtype == torch.float64 and model.sample(2).dtype == torch.float64


@pytest.mark.parametrize("name", ["Autoencoder", "VQAutoencoder", "ManifoldAutoencoder"])
def test_a_model_without_a_distribution_of_codes_says_so(name):
    with pytest.raises(NotImplementedError, match="how codes are distributed"):
        make(name).sample(3)


def test_tokens_are_written_by_the_writer_and_decoded_by_the_coder():
    coder, writer = VQAutoencoder(8, 6, 4, 8), MaskGIT(6, 2, 16, 1, 2)
    model, g = TokenImages(coder, writer), torch.Generator()
    tokens = writer.sample(5, 2, order="random", generator=g.manual_seed(1))
    images = model.sample(5, generator=g.manual_seed(1), steps=2, order="random")
    assert torch.equal(images, coder.decode(tokens))
    x = torch.rand(6, 1, 8, 8)
    torch.manual_seed(1)
    loss = writer.loss(coder.encode(x))
    torch.manual_seed(1)
    assert torch.equal(model.loss(x), loss)
    before = [p.clone() for p in coder.parameters()]
    fit(model, TensorBatches(x, batch_size=6), 5, lr=1e-2, progress=False)
    assert all(map(torch.equal, before, coder.parameters()))  # held still
    assert not any(p.requires_grad for p in coder.parameters())
    assert not torch.equal(model.loss(x), loss)


def test_codes_of_another_width_are_refused():
    c = torch.zeros(2, 5, 3)
    assert codes(c, 3) is c
    with pytest.raises(
        ValueError, match=r"^c: expected codes of shape \(\.\.\., 3\), got \(2, 4\)\.$"
    ):
        codes(torch.zeros(2, 4), 3)


def test_settings_that_make_no_sense():
    for settings, words in (
        ({"size": 0}, "size: expected a whole number of at least 1, got 0"),
        ({"size": 8, "channels": 0}, "channels: expected a whole number of at least 1, got 0"),
        ({"size": 8, "classes": 1}, "classes: expected a whole number of at least 2, got 1"),
        ({"size": 8, "classes": 2.5}, "classes: expected a whole number of at least 2, got 2.5"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            ImageModel(**settings)


# --- Colour --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLOURED)
def test_colour_learns_and_grey_is_told_apart(name):
    """Two pictures, the one red and the other blue: luminance alone could not rebuild them."""
    x = torch.zeros(64, 3, 8, 8)
    x[:32, 0, 2:6, 2:6], x[32:, 2, 2:6, 2:6] = 1, 1
    model = COLOURED[name]()
    with pytest.raises(ValueError, match=r"images of shape \(B, 3, 8, 8\), got \(64, 1, 8, 8\)"):
        model.loss(x[:, :1])
    before = total(model.loss(x))
    model = fit(model, TensorBatches(x, batch_size=32), 200, lr=1e-2, progress=False).model.eval()
    assert total(model.loss(x)) < 0.5 * before
    with torch.no_grad():
        code = model.encode(x[[0, -1]])
        image = model.image(code[0] if "VAE" in name else code)
    assert image.shape == (2, 3, 8, 8)
    red, blue = image[..., 2:6, 2:6].mean(dim=(2, 3))
    assert red[0] > 0.6 > 0.4 > red[2] and blue[2] > 0.6 > 0.4 > blue[0]
    if "VAE" in name:
        assert model.sample(4).shape == (4, 3, 8, 8)
        assert model.log_prob(x[:5], samples=3).shape == model.bound(x[:5]).shape == (5,)


def test_tokens_hold_colours():
    """Red and blue squares, equally bright: one token for each square."""
    palette = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    x = palette[torch.randint(2, (128, 2, 2))].permute(0, 3, 1, 2)
    x = x.repeat_interleave(4, 2).repeat_interleave(4, 3)  # (128, 3, 8, 8)
    model = VQAutoencoder(8, 16, 4, 16, patience=20, channels=3)
    before = total(model.loss(x))
    model = fit(model, TensorBatches(x, batch_size=32), 300, lr=1e-2, progress=False).model.eval()
    assert total(model.loss(x)) < 0.3 * before
    image = model.decode(model.encode(x))
    assert image.shape == x.shape and F.mse_loss(image, x) < 0.02


def test_a_coloured_pixel_counts_as_three():
    """Fair coins: log 2 for each of 3 · 64 numbers."""
    model = make("VAE", channels=3)
    with torch.no_grad():
        model.decoder[-2].weight.zero_(), model.decoder[-2].bias.zero_()
    loss = model.loss(binary(channels=3))
    assert loss["reconstruction"].item() == pytest.approx(192 * np.log(2), rel=1e-6)


# --- Classes -------------------------------------------------------------------------------------


def pictures(n, classes=3):
    """Images of a class: two of the eight rows are white, others with every tenth pixel."""
    y = torch.randint(classes, (n,))
    p = torch.full((n, 1, 8, 8), 0.1)
    p[torch.arange(n), :, 2 * y] = p[torch.arange(n), :, 2 * y + 1] = 0.95
    return p, y


def of_class(k, n=200):
    p = torch.full((1, 1, 8, 8), 0.1)
    p[..., 2 * k : 2 * k + 2, :] = 0.95
    return p.expand(n, -1, -1, -1)


@pytest.mark.parametrize("name", CLASSED)
def test_classes_change_nothing_where_there_are_none(name):
    """The first weights are those of the plain model, and so is what it says until it learns."""
    plain = make(name)
    torch.manual_seed(0)
    told = make(name, classes=3)
    more = set(told.state_dict()) - set(plain.state_dict())
    assert [name.split(".")[-2] for name in more] == ["of_class"]
    assert all(torch.equal(told.state_dict()[k], v) for k, v in plain.state_dict().items())
    x, y = binary(), torch.tensor([0, 1, 2, 2, 1])
    torch.manual_seed(1)
    loss = total(plain.loss(x))
    torch.manual_seed(1)
    assert torch.allclose(total(told.loss((x, y))), loss, rtol=1e-6)


@pytest.mark.parametrize("name", CLASSED)
def test_a_sample_of_a_class_is_like_the_class(name):
    grey, y = pictures(256)
    make_wide = {"VAE": lambda: VAE(8, 2, 32, classes=3),
                 "conv VAE": lambda: VAE(8, 2, 8, "conv", classes=3)}  # fmt: skip
    wide = make_wide.get(name, lambda: PIXELS[name](8, 12, 2, first=3, classes=3))
    model = wide()
    batches = TensorBatches(grey, y, batch_size=64, transform=dynamic_binarize)
    before = total(model.loss(batches(0)))
    model = fit(model, batches, 150, lr=1e-2, clip=50.0, progress=False).model.eval()
    assert total(model.loss(batches(0))) < 0.8 * before
    x, labels = torch.bernoulli(grey[:90]), y[:90]
    ask = model.bound if "VAE" in name else model.log_prob
    right, wrong = ask(x, y=labels).mean(), ask(x, y=(labels + 1) % 3).mean()
    assert right > wrong + 5  # nats
    for k in range(3):
        made = model.sample(200, y=k)
        gap = [F.mse_loss(made.mean(0), of_class(j)[0]).item() for j in range(3)]
        assert gap[k] < 0.05 < min(gap[:k] + gap[k + 1 :])
    each = model.sample(60, y=torch.arange(3).repeat(20))
    for k in range(3):
        assert each[k::3, :, 2 * k : 2 * k + 2].mean() > 0.55  # 0.1 elsewhere
    any_class = model.sample(300, generator=torch.Generator().manual_seed(1))
    top = any_class[:, 0].unflatten(1, (4, 2)).mean(dim=(2, 3))[:, :3].argmax(1)
    assert top.bincount(minlength=3).min() > 50  # each equally likely


def test_each_of_many_codes_of_an_image_is_decoded_with_its_class():
    model, c, y = make("VAE", classes=3), torch.randn(6, 4, 3), torch.tensor([0, 1, 2, 2])
    with torch.no_grad():
        model.of_class.weight.normal_()
    a = model.decode(c, y)  # (6, 4, 1, 8, 8)
    for codes_of_one, images in zip(c, a, strict=True):
        assert torch.allclose(model.decode(codes_of_one, y), images, atol=1e-6)
    for i, k in enumerate(y):  # as if the code had one more unit for each class, one of them 1
        first = F.linear(c[:, i], model.decoder[0].weight, model.decoder[0].bias)
        expected = model.decoder[1:](first + model.of_class.weight[k])
        assert torch.allclose(a[:, i], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["MaskedPixelCNN", "PixelCNN", "PixelRNN"])
def test_the_cache_and_the_completion_know_the_class_as_the_whole_network_does(name):
    model = make(name, classes=3).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
        model.place.of_class.weight.normal_()
    y, u = torch.tensor([0, 1, 2, 2]), torch.rand(4, 8, 8, dtype=torch.float64)
    quick = model.sample(4, y=y, u=u)
    assert torch.equal(quick, model.sample(4, y=y, cached=False, u=u))
    assert not torch.equal(quick, model.sample(4, y=0, u=u))
    known = (torch.arange(64) < 20).reshape(8, 8)
    done = model.complete(quick, known, u=u, y=y)
    assert torch.equal(done, quick)
    assert torch.allclose(model.loss((quick, y)), -model.log_prob(quick, y=y, chunk=3).mean())


@pytest.mark.parametrize("name", CLASSED)
def test_labels_that_do_not_fit_are_refused(name):
    model, x, y = make(name, classes=3), binary(4), torch.tensor([0, 1, 2, 0])
    who = f"y of this {type(model).__name__}: expected "
    for labels, words in (
        (None, r"4 labels, got None; give images and labels: loss\(\(x, y\)\), or y="),
        (y[:3], r"a label for each of 4 images, got \(3,\)"),
        (y.float(), "class labels, whole numbers, got a tensor of float32"),
        (y[:, None], r"class labels of shape \(n,\), got the shape \(4, 1\)"),
    ):
        for ask in (model.check_batch, model.loss):
            with pytest.raises((TypeError, ValueError), match=who + words):
                ask((x, labels))
        with pytest.raises((TypeError, ValueError), match=who + words):
            model.log_prob(x, y=labels)
    with pytest.raises(ValueError, match=f"{who}4 labels, got None"):
        model.loss(x)
    with pytest.raises(ValueError, match=f"{who}labels from 0 to 2, got 0 to 3"):
        model.check_batch((x, y + torch.tensor([0, 0, 0, 3])))
    with pytest.raises(ValueError, match=f"{who}a whole number from 0 to 2, got 3"):
        model.sample(2, y=3)
    plain = make(name)
    with pytest.raises(ValueError, match=f"{who}no labels, got .*; make the model with classes="):
        plain.loss((x, y))
    for same in (y.tolist(), y.numpy(), y.to(torch.uint8)):
        model.check_batch((x, same))
        assert model.sample(4, y=same).shape == (4, 1, 8, 8)


def test_a_seed_draws_the_same_images_on_a_card():
    from tests.card import Card

    g = torch.Generator()
    here = [make(name, classes=3) for name in ("VAE", "PixelCNN")]
    drawn = [m.sample(5, generator=g.manual_seed(1)) for m in here]
    with Card():
        for model, x in zip(here, drawn, strict=True):
            there = model.to("cuda").sample(5, generator=g.manual_seed(1))
            assert there.device.type == "cuda" and torch.allclose(there.cpu(), x, atol=1e-5)
            images, labels = model.batch((x.numpy(), [0, 1, 2, 0, 1]))  # arrays are brought there
            assert images.device.type == labels.device.type == "cuda"


def test_the_samples_of_a_model_can_be_judged():
    """The measures of chapter 19 take what `sample` gives."""
    x = make("tokens").sample(30)
    assert evaluation.sharpness(x) >= 0
