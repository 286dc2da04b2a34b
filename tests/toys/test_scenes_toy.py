"""The toy of scenes: the page's two networks are PyTorch's, and the reader asks them."""

import functools
import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils import data
from genai_utils.display import page_bytes
from genai_utils.toys import make, make_scenes
from genai_utils.toys import scenes as toy
from genai_utils.vision import scenes

TOLERANCE = 2e-4
SAYS = "return document.querySelector('.genai-says').textContent"


@pytest.fixture(scope="module")
def loaded():
    return toy.load()


@pytest.fixture(scope="module")
def page(loaded):
    """The model as a page has it."""
    return page_bytes.rounded_copy(loaded[0])


@pytest.fixture
def opened(browser, open_toy):
    yield functools.partial(open_toy, toy.bundle(), "genaiScenes")
    assert browser.errors() == [] and browser.overflow() == 0


def state(browser, root):
    return browser.js("return arguments[0].genaiScenes.state()", root)


def frames(browser):
    browser.driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
    )


def retype(browser, root, text):
    field = root.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)
    frames(browser)


# -- the weights -----------------------------------------------------------------------------------


def test_the_weights_are_small_and_those_of_the_record(loaded):
    model, sheet, vectors, record = loaded
    payload = (toy.WEIGHTS / "scenes.safetensors").read_bytes()
    assert hashlib.sha256(payload).hexdigest() == record["sha256"]
    assert len(payload) == record["bytes"] < 400_000
    assert record["parameters"] == sum(p.numel() for p in model.parameters())
    assert record["pairs"] == make_scenes.STEPS * make_scenes.BATCH
    assert toy.unpacked(sheet).shape == (400, 3, 32, 32) and vectors.shape == (
        400,
        toy.SETTINGS["dim"],
    )


def test_what_the_caption_says_was_measured(page, loaded):
    record = loaded[-1]
    data.mnist("test")
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine (GENAI_DATA)")
    found = make_scenes.measured(page)
    for name in ("seen", "unseen"):
        assert found[name] == pytest.approx(record["test"][name], abs=0.01)
    assert record["test"]["seen"] > 0.75 and record["test"]["unseen"] > 0.5
    caption = toy.bundle().html.partition("<figcaption>")[2]
    assert f"right for {100 * record['test']['seen']:.0f} % of new scenes" in caption
    assert f"for {100 * record['test']['unseen']:.0f} % of scenes of a kind" in caption


@torch.no_grad()
def test_a_byte_a_weight_costs_little(page, loaded):
    model, sheet, vectors, record = loaded
    x, ids = toy.unpacked(sheet), scenes.encode(toy.readings())
    off = (page.image(x) @ page.text(ids).T - model.image(x) @ model.text(ids).T).abs()
    assert off.max() <= record["precision"][0] + 0.005 and record["precision"][0] < 0.1
    assert off.mean() < 0.01
    assert (vectors - page.image(x)).abs().max() < 1 / 250
    assert torch.equal(vectors, page_bytes.rounded(vectors))


def test_the_bytes_hold_what_is_rounded(page, loaded):
    """Each weight is a whole number of its row's scale, and lies within half a scale."""
    exact, kept = loaded[0].state_dict(), page.state_dict()
    for name, weight in kept.items():
        if weight.ndim < 2:
            assert torch.equal(weight, exact[name])
            continue
        rows, was = weight.flatten(1), exact[name].flatten(1)
        scale = was.abs().amax(1, keepdim=True) / 127
        assert ((rows - was).abs() <= 0.501 * scale).all()
        whole = rows / scale.clamp(min=1e-12)
        assert (whole - whole.round()).abs().max() < 1e-3
    with torch.no_grad():
        broken = toy.network(loaded[0].state_dict())
        broken.image_map.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="image_map.weight: expected finite weights"):
        page_bytes.rounded_copy(broken)


def test_damaged_weights_are_named(monkeypatch, tmp_path):
    shutil.copytree(toy.WEIGHTS, tmp_path / "w")
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path / "w")
    file = tmp_path / "w" / "scenes.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(data.DataError, match="python -m genai_utils.toys.make scenes"):
        toy.load()


def test_the_command_makes_weights_that_load(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "used", lambda: ["mnist"])
    monkeypatch.setattr(make_scenes, "BATCH", 8)
    monkeypatch.setattr(make_scenes, "TESTED", 10)
    measured = make_scenes.measured
    monkeypatch.setattr(make_scenes, "measured", lambda model: measured(model, 10))
    threads = torch.get_num_threads()
    try:
        assert make.main(["scenes", "--steps", "2", "--out", str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(threads)
    recorded = json.loads((toy.WEIGHTS / "scenes.json").read_text())
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    model, sheet, vectors, record = toy.load()
    assert record["steps"] == 2 and record.keys() == recorded.keys()
    assert all(torch.isfinite(p).all() for p in model.parameters())


# -- numbers in the page ---------------------------------------------------------------------------


@torch.no_grad()
def test_the_page_computes_what_pytorch_computes(browser, opened, page, loaded):
    root, _ = opened()
    x = toy.unpacked(loaded[1])[[0, 57, 399]]
    for picture, expected in zip(x, page.image(x), strict=True):
        found = browser.js(
            "return arguments[0].genaiScenes.image(arguments[1])", root, picture.flatten().tolist()
        )
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    sentences = [*toy.EXAMPLES, "circle", "there are three large dotted purple crosses"]
    for text, expected in zip(sentences, page.text(scenes.encode(sentences)), strict=True):
        found = browser.js("return arguments[0].genaiScenes.text(arguments[1])", root, text)
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("width", [1200, 390])
def test_a_sentence_finds_the_scenes_that_pytorch_finds(browser, opened, page, loaded, width):
    root, _ = opened(width)
    vectors = loaded[2]
    for text in (toy.EXAMPLES[0], "Three HEARTS!"):
        retype(browser, root, text)
        wanted = vectors @ page.text(scenes.encode([text]))[0]
        found = state(browser, root)
        assert found["asked"] == "sentence"
        np.testing.assert_allclose(found["cosines"], wanted, atol=TOLERANCE)
        assert found["order"][0] == wanted.argmax()
        shown = root.find_elements(By.CSS_SELECTOR, ".genai-best span")
        best = wanted.sort(descending=True).values[: toy.SHOWN]
        assert [float(s.text.replace("−", "-")) for s in shown] == pytest.approx(
            best.tolist(), abs=0.006
        )


def test_words_that_it_does_not_have_are_named(browser, opened):
    root, _ = opened()
    status = root.find_element(By.CLASS_NAME, "genai-status")
    retype(browser, root, "a pink circle")
    assert status.text == "Left out, as the model has no such word: pink."
    before = state(browser, root)
    retype(browser, root, "a circle")
    assert state(browser, root)["cosines"] == before["cosines"] and status.text == ""
    retype(browser, root, "")
    assert status.text.startswith("Write a word or more")
    retype(browser, root, "red " * 40)  # more than fits: the first are read
    assert state(browser, root)["order"] and len(state(browser, root)["vector"]) == 32


@torch.no_grad()
def test_what_is_drawn_is_read(browser, opened, page):
    root, _ = opened()
    field = root.find_element(By.CSS_SELECTOR, ".genai-ink")
    colours = root.find_elements(By.CSS_SELECTOR, ".genai-palette input")
    assert len(colours) == len(scenes.COLOURS) + 1 and colours[0].is_selected()
    browser.js("arguments[0].click()", colours[5])  # blue
    field.send_keys(Keys.SPACE, *[key for _ in range(6) for key in (Keys.ARROW_RIGHT, Keys.SPACE)])
    frames(browser)
    drawn = torch.tensor(browser.js("return arguments[0].genaiScenes.drawing()", root))
    drawn = drawn.view(3, 32, 32)
    blue = torch.tensor(scenes.COLOURS["blue"])
    full = ((drawn - blue[:, None, None]).abs() < 1e-4).all(0)
    assert full.sum() >= 12 and full.any(1).sum() <= 4  # a line to the right
    assert (drawn[:, 0, 0] - toy.GROUND).abs().max() < 1e-6
    found = state(browser, root)
    assert found["asked"] == "drawing"
    np.testing.assert_allclose(found["vector"], page.image(drawn[None])[0], atol=TOLERANCE)
    read = page.text(scenes.encode(toy.readings())) @ page.image(drawn[None])[0]
    assert found["reading"][0][0] == toy.readings()[int(read.argmax())]
    assert found["reading"][0][0] in browser.js(SAYS)


def test_a_scene_can_be_taken_and_cleared(browser, opened, loaded):
    root, _ = opened()
    browser.wait("return document.querySelector('.genai-sheet img').complete")
    first = state(browser, root)["order"][0]
    root.find_element(By.CSS_SELECTOR, ".genai-best button").click()
    frames(browser)
    drawn = np.array(browser.js("return arguments[0].genaiScenes.drawing()", root))
    wanted = toy.unpacked(loaded[1])[first].flatten().numpy()
    assert np.abs(drawn - wanted).mean() < 0.02  # two decoders of one picture
    found = state(browser, root)
    assert found["asked"] == "drawing" and found["cosines"][first] > max(found["cosines"]) - 0.02
    root.find_element(By.XPATH, "//button[. = 'Clear']").click()
    frames(browser)
    drawn = np.array(browser.js("return arguments[0].genaiScenes.drawing()", root))
    assert np.allclose(drawn, toy.GROUND)


def test_without_its_script_the_sheet_is_there():
    before = toy.bundle().html.partition("<script>")[0]
    assert before.count("<img") == 1 and "<button" not in before and "<input" not in before
    assert 'class="genai-untrusted"' in before and 'data-figure="toy-scenes"' in before
    assert f"400 scenes. Nearest to “{toy.EXAMPLES[0]}”: scene" in before


def test_the_toy_is_small():
    assert toy.bundle().size < 320_000
