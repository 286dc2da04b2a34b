"""Latent pads and walks: the page computes what PyTorch computes, and says what it cannot."""

import re

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from torch import nn

from genai_utils.display.latent_pad import pad_bundle, walk_bundle
from genai_utils.display.page_decoder import evaluation_copy

TOLERANCE = 5e-3  # half-precision weights, outputs in [0, 1]


def mlp(k=2, out=64):
    torch.manual_seed(0)
    hidden = nn.Sequential(nn.Linear(k, 48), nn.GELU(), nn.Dropout(0.5), nn.Linear(48, 32))
    net = nn.Sequential(hidden, nn.SiLU(), nn.Linear(32, out, bias=False), nn.Sigmoid())
    with torch.no_grad():
        net[2].weight.mul_(10)  # spread the outputs over (0, 1)
    return net


def convolutional(k=2):
    """Every kind of layer, sizes that are not square, strides, paddings and output paddings."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Linear(k, 6 * 3 * 4), nn.LeakyReLU(0.2), nn.Unflatten(1, (6, 3, 4)),
        nn.BatchNorm2d(6), nn.GELU("tanh"),
        nn.ConvTranspose2d(6, 5, (3, 4), stride=2, padding=1, output_padding=(1, 0)),  # (5, 6, 8)
        nn.Tanh(), nn.Upsample(scale_factor=2), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4, 3, (3, 5), stride=2, padding=(1, 2)), nn.Identity(),  # (3, 6, 8)
        nn.Upsample(size=(9, 12)), nn.Flatten(), nn.Unflatten(1, (3, 9, 12)), nn.Sigmoid(),
    )  # fmt: skip
    norm = net[3]
    with torch.no_grad():
        for value in (norm.weight, norm.running_var):
            value.uniform_(0.5, 2)
        for value in (norm.bias, norm.running_mean):
            value.normal_()
        for layer in net:  # spread the outputs over (0, 1)
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                layer.weight.mul_(2)
    return net


def write(path, *bundles):
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        + "".join(bundle.html for bundle in bundles),
        encoding="utf-8",
    )
    return path


def test_a_pad_holds_the_picture_of_its_origin_and_alt_text():
    net = mlp()
    bundle = pad_bundle(net, alt="A pattern.", shape=(8, 8), name="pad", caption="Move it.")
    assert set(bundle.data) == {"text/html", "image/png", "text/plain"}
    assert 'data-explorer="pad"' in bundle.html and 'data-figure="pad"' in bundle.html
    assert 'alt="A pattern."' in bundle.html and "Move it." in bundle.html
    assert net.training and net[0][0].weight.requires_grad  # the caller's module as it was


def test_dots_are_coloured_and_named():
    points, labels = torch.randn(300, 2), torch.arange(300) % 3
    html = pad_bundle(mlp(), alt="A.", shape=(8, 8), points=points, labels=labels).html
    assert re.findall(r"</i> (\w)</span>", html) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.LSTM(2, 4), "LSTM"),
        (nn.Softplus(), "Softplus"),
        (nn.GroupNorm(1, 4), "GroupNorm"),
        (nn.Conv2d(4, 4, 3, groups=2), "Conv2d"),
        (nn.Conv2d(4, 4, 3, dilation=2), "Conv2d"),
        (nn.Conv2d(4, 4, 3, padding="same"), "Conv2d"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "Conv2d"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), "bilinear"),
        (nn.BatchNorm2d(4, track_running_stats=False), "running"),
    ],
)
def test_a_layer_that_a_page_cannot_compute_is_named(layer, name):
    reach = [nn.Linear(2, 4 * 6 * 6), nn.Unflatten(1, (4, 6, 6))]
    net = nn.Sequential(*reach, layer, nn.Flatten())
    with torch.no_grad():
        supported = not isinstance(layer, (nn.LSTM, nn.Softplus, nn.GroupNorm))
        out = evaluation_copy(net)(torch.zeros(1, 2)).numel() if supported else 144
    with pytest.raises(TypeError, match=name) as caught:
        pad_bundle(net, alt="A.", shape=(1, out))
    if not supported:
        assert "Linear, Conv2d, ConvTranspose2d" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"decoder": 3}, TypeError, "nn.Sequential, got int"),
        ({"decoder": lambda c: c}, TypeError, "nn.Sequential"),
        ({"alt": ""}, ValueError, "alt"),
        ({"shape": (28, 28)}, ValueError, "gives 64 numbers .* needs 784"),
        ({"shape": (2, 8, 4)}, ValueError, "shape must be"),
        ({"shape": (-8, -8)}, ValueError, "shape must be"),
        ({"decoder": mlp(k=5)}, ValueError, "codes of 5 numbers, got 2.*origin="),
        ({"origin": [0, 0, 0]}, ValueError, "codes of 2 numbers, got 3"),
        ({"origin": [0, float("nan")]}, ValueError, "finite"),
        ({"origin": "ab"}, TypeError, "array of numbers"),
        ({"dims": (0, 0)}, ValueError, "dims"),
        ({"dims": (0, 2)}, ValueError, "dims"),
        ({"extent": 0}, ValueError, "extent"),
        ({"points": torch.zeros(4, 3)}, ValueError, "points must have 2"),
        ({"points": torch.zeros(4, 2), "labels": [1]}, ValueError, "each of the 4"),
        ({"labels": [1]}, ValueError, "labels"),
        ({"decoder": mlp(out=10_000), "shape": (100, 100)}, ValueError, "at most 600 kB.*weights"),
    ],
)
def test_a_pad_refuses(options, error, message):
    options = {"decoder": mlp(), "alt": "A.", "shape": (8, 8), **options}
    with pytest.raises(error, match=message):
        pad_bundle(options.pop("decoder"), **options)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Unflatten(1, (4, 6)), nn.Linear(6, 5)], (4, 5)),
        ([nn.Unflatten(1, (4, 6)), nn.Upsample(scale_factor=2)], (4, 12)),
    ],
)
def test_shapes_that_a_page_would_compute_wrongly_are_refused(layers, shape):
    with pytest.raises(TypeError, match=r"gets the shape \(4, 6\)"):
        pad_bundle(nn.Sequential(nn.Linear(2, 24), *layers), alt="A.", shape=shape)


def test_weights_that_half_precision_cannot_hold_are_refused():
    net = mlp()
    with torch.no_grad():
        net[0][0].weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="65504"):
        pad_bundle(net, alt="A.", shape=(8, 8))


@pytest.mark.parametrize(
    ("codes", "options", "message"),
    [
        (torch.zeros(1, 2), {}, "at least two"),
        (torch.zeros(2), {}, r"\(N, k\)"),
        (torch.zeros(2, 3), {}, "codes of 2 numbers, got 3"),
        (torch.zeros(2, 2), {"labels": ["a"]}, "labels"),
    ],
)
def test_a_walk_refuses(codes, options, message):
    with pytest.raises(ValueError, match=message):
        walk_bundle(mlp(), codes, alt="A.", shape=(8, 8), **options)


# -- in the browser ------------------------------------------------------------------------------

CANVAS = """
const c = arguments[0].querySelector('canvas.genai-decoded');
return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)
"""


def canvas(browser, root):
    """(H, W, 3) bytes of the decoded picture."""
    width = browser.js("return arguments[0].querySelector('canvas').width", root)
    return np.array(browser.js(CANVAS, root)).reshape(-1, width, 4)[..., :3]


@torch.no_grad()
def pytorch(net, code, shape):
    return evaluation_copy(net)(torch.tensor([code]).float()).reshape(shape).numpy()


@pytest.mark.parametrize(
    ("net", "k", "shape"),
    [(mlp(), 2, (8, 8)), (mlp(7), 7, (8, 8)), (convolutional(), 2, (3, 9, 12))],
    ids=["mlp", "mlp with seven numbers", "convolutional"],
)
def test_the_page_decodes_what_pytorch_decodes(browser, tmp_path, net, k, shape):
    origin = torch.linspace(-1, 1, k)
    page = write(tmp_path / "p.html", pad_bundle(net, alt="A.", shape=shape, origin=origin))
    browser.open(page)
    root = browser.driver.find_element(By.CLASS_NAME, "genai-latent")
    codes = torch.randn(8, k, generator=torch.Generator().manual_seed(3)) * 2
    spread = []
    for code in codes.tolist():
        page_says = browser.js("return arguments[0].genaiDecode(arguments[1])", root, code)
        expected = pytorch(net, code, shape)
        spread.append(expected)
        assert np.abs(np.array(page_says).reshape(shape) - expected).max() < TOLERANCE
    assert np.std(spread, axis=0).max() > 0.05  # the codes do lead to different pictures
    expected = pytorch(net, origin.tolist(), shape)
    expected = np.moveaxis(expected, 0, -1) if len(shape) == 3 else expected[..., None]
    assert np.abs(canvas(browser, root) / 255 - expected).max() < TOLERANCE + 1 / 255
    assert browser.errors() == []


def test_every_half_precision_number_is_read_right(browser, tmp_path):
    net = nn.Sequential(nn.Linear(2, 8, bias=False))
    values = torch.tensor([0, 1, -1.5, 65504, 6.1e-5, 5.9e-5, -6e-8, 0.333]).half().float()
    with torch.no_grad():
        net[0].weight.copy_(torch.stack([values, values.flip(0)], 1))
    browser.open(write(tmp_path / "p.html", pad_bundle(net, alt="A.", shape=(1, 8))))
    says = browser.js("return document.querySelector('.genai-latent').genaiDecode([1, 0])")
    assert says == values.tolist()


@pytest.mark.parametrize("width", [1200, 390])
def test_pointer_and_keys_move_the_code(browser, tmp_path, width):
    net = mlp()
    points, labels = torch.randn(50, 2), [i % 10 for i in range(50)]
    bundle = pad_bundle(net, alt="A.", shape=(8, 8), points=points, labels=labels)
    page = write(tmp_path / "p.html", bundle, bundle)
    browser.open(page, width=width, wide=width < 600)
    root, other = browser.driver.find_elements(By.CLASS_NAME, "genai-latent")
    square = root.find_element(By.CLASS_NAME, "genai-pad")
    output = root.find_element(By.TAG_NAME, "output")
    assert output.text == "c₁ = 0.00, c₂ = 0.00"
    untouched = canvas(browser, other)

    box = browser.js(
        "const r = arguments[0].getBoundingClientRect(); return [r.left, r.top, r.width, r.height]",
        square,
    )
    x, y = box[0] + 0.75 * box[2], box[1] + 0.25 * box[3]  # c = (1.5, 1.5) of an extent of 3
    if width < 600:
        touch = [{"x": x, "y": y}]
        browser.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
        browser.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    else:
        for kind in ("mousePressed", "mouseReleased"):
            browser.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                        clickCount=1)  # fmt: skip
    browser.wait("return arguments[0].textContent !== 'c₁ = 0.00, c₂ = 0.00'", output)
    now = [float(v.replace("−", "-")) for v in re.findall(r"= (\S+?)(?:,|$)", output.text)]
    assert now == pytest.approx([1.5, 1.5], abs=0.05)
    expected = pytorch(net, now, (8, 8, 1))
    assert np.abs(canvas(browser, root) / 255 - expected).max() < 0.02

    text = output.text
    square.send_keys(Keys.HOME)
    browser.wait("return arguments[0].textContent !== arguments[1]", output, text)
    square.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_UP)
    browser.wait("return arguments[0].textContent === 'c₁ = −0.15, c₂ = 0.30'", output)
    expected = pytorch(net, [-0.15, 0.3], (8, 8, 1))
    assert np.abs(canvas(browser, root) / 255 - expected).max() < TOLERANCE + 1 / 255
    square.send_keys(*[Keys.ARROW_DOWN] * 45)  # stays on the pad
    browser.wait("return arguments[0].textContent === 'c₁ = −0.15, c₂ = −3.00'", output)
    assert (canvas(browser, other) == untouched).all()
    assert browser.overflow() == 0 and browser.errors() == []
    assert browser.requests() == [page.as_uri()]


def test_a_pad_moves_only_the_two_numbers_that_it_names(browser, tmp_path):
    net, origin = mlp(5), torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0])
    bundle = pad_bundle(net, alt="A.", shape=(8, 8), origin=origin, dims=(3, 1))
    browser.open(write(tmp_path / "p.html", bundle))
    root = browser.driver.find_element(By.CLASS_NAME, "genai-latent")
    output = root.find_element(By.TAG_NAME, "output")
    root.find_element(By.CLASS_NAME, "genai-pad").send_keys(Keys.ARROW_RIGHT)
    browser.wait("return arguments[0].textContent === 'c₄ = 0.15, c₂ = −1.00'", output)
    expected = pytorch(net, [0.5, -1.0, 2.0, 0.15, 1.0], (8, 8, 1))
    assert np.abs(canvas(browser, root) / 255 - expected).max() < TOLERANCE + 1 / 255


@pytest.mark.parametrize("width", [1200, 390])
def test_a_walk_goes_straight_from_code_to_code(browser, tmp_path, width):
    net = mlp(3)
    codes = torch.tensor([[0.0, 0, 0], [2, -2, 1], [-1, 3, 0], [1, 1, 1]])
    bundle = walk_bundle(net, codes, alt="A.", shape=(8, 8), labels=list("abcd"), caption="Walk.")
    page = write(tmp_path / "p.html", bundle)
    browser.open(page, width=width, wide=width < 600)
    root = browser.driver.find_element(By.CLASS_NAME, "genai-walk")
    slider = root.find_element(By.TAG_NAME, "input")

    def matches(code):
        expected = pytorch(net, code, (8, 8, 1))
        return np.abs(canvas(browser, root) / 255 - expected).max() < TOLERANCE + 1 / 255

    assert matches([0, 0, 0]) and not matches([2, -2, 1])
    move = "arguments[0].value = 1.25; arguments[0].dispatchEvent(new Event('input'))"
    browser.js(move, slider)
    assert matches([1.25, -0.75, 0.75])  # a quarter of the way from b to c
    assert slider.get_attribute("aria-valuetext") == "25 % from b to c"
    slider.send_keys(Keys.END)
    assert matches([1, 1, 1])
    root.find_elements(By.CSS_SELECTOR, ".genai-stops button")[2].click()
    assert matches([-1, 3, 0])
    before = float(slider.get_attribute("value"))
    root.find_element(By.CLASS_NAME, "genai-play").click()
    browser.wait("return Number(arguments[0].value) !== arguments[1]", slider, before)
    assert browser.overflow() == 0 and browser.errors() == []
