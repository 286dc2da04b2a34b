"""The digit toy: its numbers are the model's, its weights are as recorded, a drawing is encoded."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils import data
from genai_utils.toys import digit, make
from genai_utils.training import dynamic_binarize
from genai_utils.vision.vae import gaussian_kl

TOY = "const toy = document.querySelector('.genai').genaiDigit;"
SAYS = "return document.querySelector('.genai-status').textContent"
SEES = """const c = document.querySelector('.genai-draw .genai-smalls canvas');
return [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"""
PICTURES = "return [...document.querySelectorAll('.genai-digit canvas')].map((c) => c.toDataURL())"


@pytest.fixture(scope="module")
def loaded():
    return digit.load()


@pytest.fixture
def toy(browser, open_toy):
    def opened(width=1200, **options):
        open_toy(digit.bundle(), "genaiDigit", width, **options)
        browser.wait(SAYS)
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


def mnist():
    images = data.mnist("test")
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine (GENAI_DATA)")
    return images


def press(browser, text):
    browser.driver.find_element(By.XPATH, f"//button[. = '{text}']").click()
    frames(browser)


def frames(browser):
    browser.js("return new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))")


# -- weights ---------------------------------------------------------------------------------------


def test_the_weights_are_small_and_those_of_the_record(loaded):
    net, dots, kinds, digits, record = loaded
    assert record["bytes"] <= 150_000 and record["bytes"] == (
        (digit.WEIGHTS / "digit.safetensors").stat().st_size
    )
    assert record["parameters"] == sum(p.numel() for p in net.parameters())
    assert {name: record[name] for name in make.RECIPE} == make.RECIPE
    assert dots.shape == (digit.DOTS, 2) and kinds.bincount().min() >= 30
    assert digits.shape == (10, 28, 28)
    with torch.no_grad():
        found = digit.votes(net.encode(digits.round()[:, None])[0], dots, kinds)
    assert (found.argmax(dim=1) == torch.arange(10)).sum() >= 8
    assert found[digit.OPENING].argmax() == digit.OPENING


def test_what_the_caption_says_was_measured(loaded):
    net, dots, kinds, digits, record = loaded
    test = mnist()
    rest = slice(digit.DOTS, None)
    found = make.measured(net, test.x[rest], test.y[rest], dots, kinds)
    for kind in ("coins", "sharp"):
        assert found["elbo"][kind] == pytest.approx(record["test"]["elbo"][kind], abs=0.1)
    assert found["nearest"] == pytest.approx(record["test"]["nearest"], abs=0.002)
    with torch.no_grad():
        np.testing.assert_allclose(net.encode(test.x[:500].round())[0], dots, atol=2e-3)
    assert torch.equal(kinds.long(), test.y[:500])
    caption = digit.bundle().html.partition("<figcaption>")[2]
    assert f"{-record['test']['elbo']['coins']:.1f} nats with coins" in caption
    assert f"{100 * record['test']['nearest']:.0f} % of them" in caption


def test_damaged_weights_are_named(monkeypatch, tmp_path):
    shutil.copytree(digit.WEIGHTS, tmp_path / "w")
    monkeypatch.setattr(digit, "WEIGHTS", tmp_path / "w")
    file = tmp_path / "w" / "digit.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(data.DataError, match="python -m genai_utils.toys.make digit"):
        digit.load()
    file.unlink()
    with pytest.raises(data.DataError, match="missing"):
        digit.load()


def test_the_command_makes_weights_that_load(monkeypatch, tmp_path):
    x = torch.rand(260, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    images = data.Images(x, torch.arange(260) % 10)
    monkeypatch.setattr(data, "mnist", lambda split: images)
    monkeypatch.setattr(data, "used", lambda: ["mnist"])
    monkeypatch.setitem(make.RECIPE, "images", 200)
    monkeypatch.setattr(digit, "DOTS", 60)
    threads = torch.get_num_threads()
    try:
        for folder in "ab":
            out = ["--steps", "5", "--out", str(tmp_path / folder)]
            assert make.main(["digit", *out]) == 0
    finally:
        torch.set_num_threads(threads)
    one, other = ((tmp_path / f / "digit.safetensors").read_bytes() for f in "ab")
    assert one == other  # the seed decides
    recorded = json.loads((digit.WEIGHTS / "digit.json").read_text())
    monkeypatch.setattr(digit, "WEIGHTS", tmp_path / "a")
    net, dots, kinds, digits, record = digit.load()
    assert record["steps"] == 5 and record.keys() == recorded.keys()
    with torch.no_grad():
        np.testing.assert_allclose(net.encode(x[:60].round())[0], dots, atol=2e-3)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        again = net.bound(dynamic_binarize(x[60:], g), samples=10, generator=g).mean().item()
    assert record["test"]["elbo"]["coins"] == pytest.approx(again)


def test_the_stand_in_does_not_become_the_toy(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path))
    data.forget_used()
    threads = torch.get_num_threads()
    assert make.main(["digit", "--out", str(tmp_path / "out")]) == 1
    torch.set_num_threads(threads)
    assert "needs MNIST" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_checkpoint_that_the_toy_would_not_read_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        make.main(["digit", "--checkpoint", str(tmp_path), "--out", str(tmp_path)])
    assert "--checkpoint goes with text_to_image, not with digit" in capsys.readouterr().err


# -- numbers in the page ---------------------------------------------------------------------------


@torch.no_grad()
def test_the_page_encodes_and_decodes_what_the_model_does(toy, loaded):
    net, dots, kinds, digits, _ = loaded
    browser, x = toy(), torch.cat([digits.round(), digits])[:, None]
    mu, logvar = net.encode(x)
    for i, image in enumerate(x):
        found = browser.js(f"{TOY} return toy.posterior(arguments[0])", image.flatten().tolist())
        np.testing.assert_allclose(found["mean"], mu[i], atol=1e-3)
        np.testing.assert_allclose(found["sd"], (logvar[i] / 2).exp(), atol=1e-3)
    for c in [*mu[:5], torch.tensor([3.0, -3.0])]:
        found = browser.js(f"{TOY} return toy.image(arguments[0])", c.tolist())
        np.testing.assert_allclose(found, net.image(c[None]).flatten(), atol=1e-3)
        found = browser.js(f"{TOY} return toy.votes(arguments[0])", c.tolist())
        counts = torch.tensor(sorted(found))[:, 1]
        expected = digit.votes(c[None], (100 * dots).round() / 100, kinds)[0]  # as in the page
        assert counts.tolist() == expected.tolist()


@torch.no_grad()
def test_the_page_computes_the_bound(toy, loaded):
    net, _, _, digits, _ = loaded
    browser, x = toy(), digits.round()[:, None]
    mu, logvar = net.encode(x)
    c = mu + torch.randn(4, 10, 2) * (logvar / 2).exp()  # (K, B, 2)
    log_p = net.log_likelihood(x, net.decode(c)).mean(dim=0)
    script = f"{TOY} return toy.cost(arguments[0], toy.posterior(arguments[0]), arguments[1])"
    for i in range(10):
        found = browser.js(script, x[i].flatten().tolist(), c[:, i].tolist())
        expected = gaussian_kl(mu, logvar)[i] - log_p[i]
        assert found == pytest.approx(expected.item(), abs=0.05)


SEE = f"{TOY} return toy.likeMnist(Float32Array.from(arguments[0]), arguments[1])"


def test_mnists_digits_pass_the_preprocessing_unchanged(toy, loaded):
    browser, digits = toy(), loaded[3]
    for image in digits:
        big = image.repeat_interleave(10, 0).repeat_interleave(10, 1)
        for moved in (big, F.pad(big, (60, 10, 7, 63))):  # wherever it is drawn
            found = browser.js(SEE, moved.flatten().tolist(), len(moved))
            np.testing.assert_allclose(found, image.flatten(), atol=1e-5)


def test_a_drawing_is_made_20_pixels_long_with_its_mass_in_the_middle(toy, loaded):
    browser = toy()
    for ink, side in (
        (torch.zeros(90, 90).index_fill(1, torch.arange(31, 40), 1), 90),  # a stroke, edge to edge
        (F.pad(torch.rand(33, 21) + 0.1, (50, 7, 2, 43)).clamp(0, 1), 78),
    ):
        found = torch.tensor(browser.js(SEE, ink.flatten().tolist(), side)).reshape(28, 28)
        rows, columns = ((found > 1e-6).any(dim=axis).nonzero().flatten() for axis in (1, 0))
        assert rows.max() - rows.min() == 19 and columns.max() - columns.min() < 14
        place = torch.arange(28.0)
        for axis in (0, 1):
            mean = (found.sum(dim=axis) * place).sum() / found.sum()
            assert abs(mean - 14) <= 0.5
    # each pixel is the mean of what it covers
    long = ink.nonzero()[:, 0].aminmax()
    crop = ink[long.min : long.max + 1, 50:71]
    exact = F.interpolate(crop.repeat_interleave(20, 0)[None, None], (20, 21), mode="area")[0, 0]
    np.testing.assert_allclose(found[rows.min() : rows.max() + 1].sum(dim=1),
                               exact.sum(dim=1) * 20 / 33, atol=1e-3)  # fmt: skip
    assert browser.js(SEE, [0] * 100, 10) == []


# -- what the reader does --------------------------------------------------------------------------


@torch.no_grad()
def test_it_opens_with_a_real_digit_that_is_encoded(toy, loaded):
    net, dots, kinds, digits, _ = loaded
    browser = toy()
    assert browser.driver.find_elements(By.CLASS_NAME, "genai-untrusted") == []
    order = [*range(digit.OPENING, 10), *range(digit.OPENING)]
    for k in order[:3]:
        frames(browser)
        x = digits[k].round()
        assert browser.js(SEES) == (255 * x).flatten().tolist()
        mu, logvar = net.encode(x[None, None])
        state = browser.js(f"{TOY} return toy.state()")
        np.testing.assert_allclose(state["mean"], mu[0], atol=1e-3)
        np.testing.assert_allclose(state["sd"], (logvar[0] / 2).exp(), atol=1e-3)
        said = ", ".join(f"{v:.2f}".replace("-", "−") for v in mu[0].tolist())
        assert f"μ = ({said})" in browser.js(SAYS)
        most = digit.votes(mu, dots, kinds)[0]
        assert f"{most.max()} are a {most.argmax()}" in browser.js(SAYS)
        offsets = (np.array(state["samples"]) - state["mean"]) / state["sd"]
        assert len(offsets) == 4 and 0.2 < np.abs(offsets).mean() < 2
        press(browser, "Another test digit")


@pytest.mark.parametrize("width", [1200, 390])
def test_a_drawing_changes_everything_that_is_shown(toy, width):
    browser = toy(width, wide=width < 600)
    before = browser.js(PICTURES)
    assert len(before) == 8
    press(browser, "Clear")
    blank = browser.js(PICTURES)
    assert "Nothing is drawn" in browser.js(SAYS) and len(set(blank[3:8])) <= 3
    assert browser.js(f"{TOY} return toy.state()") is None
    left, top, side = browser.js("""
        const canvas = document.querySelector('.genai-ink');
        canvas.scrollIntoView({block: 'center'});
        const b = canvas.getBoundingClientRect(); return [b.left, b.top, b.width]""")
    path = [(left + 0.55 * side, top + y * side) for y in (0.2, 0.5, 0.8)]
    if width < 600:
        for kind, place in zip(("Start", "Move", "Move", "End"), [*path, None], strict=True):
            touch = [{"x": place[0], "y": place[1]}] if place else []
            browser.cdp("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=touch)
    else:
        for kind, (x, y) in zip(("Pressed", "Moved", "Moved", "Released"), [*path, path[-1]],
                                strict=True):  # fmt: skip
            browser.cdp("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="left",
                        buttons=0 if kind == "Released" else 1, clickCount=1)  # fmt: skip
    browser.wait(f"{TOY} return toy.state() !== null")
    frames(browser)
    assert all(a != b for a, b in zip(browser.js(PICTURES), before, strict=True))
    assert "of the 15 nearest dots 15 are a 1." in browser.js(SAYS).lower()  # a straight stroke
    seen = np.array(browser.js(SEES)).reshape(28, 28)
    assert set(np.unique(seen)) == {0, 255} and (seen.any(axis=1)).sum() == 20


def test_one_draws_with_keys(toy):
    browser = toy()
    canvas = browser.driver.find_element(By.CLASS_NAME, "genai-ink")
    canvas.send_keys(Keys.DELETE)
    frames(browser)
    assert "Nothing is drawn" in browser.js(SAYS)
    canvas.send_keys(*[Keys.ARROW_UP] * 8, Keys.SPACE, *[Keys.ARROW_DOWN] * 16, Keys.SPACE)
    browser.wait(f"{TOY} return toy.state() !== null")
    frames(browser)
    assert "15 are a 1." in browser.js(SAYS)
    plane = browser.driver.find_element(By.CSS_SELECTOR, ".genai-plane canvas")
    mean = browser.js(f"{TOY} return toy.state().mean")
    assert f"lies at {mean[0]:.2f}, {mean[1]:.2f}".replace("-", "−") in plane.accessible_name


def test_without_its_script_the_toy_shows_a_digit_and_says_how_to_start_it():
    before = digit.bundle().html.partition("<script>")[0]
    assert before.count("<img") == 3 and "<button" not in before
    assert 'class="genai-untrusted"' in before and 'data-figure="toy-digit"' in before
