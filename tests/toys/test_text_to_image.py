"""The text-to-image toy: the page computes what the three networks do, with the rounded weights."""

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from genai_utils import data
from genai_utils.display import page_bytes
from genai_utils.toys import make, make_text_to_image
from genai_utils.toys import text_to_image as toy_module
from genai_utils.vision import scenes

TOY = "const toy = document.querySelector('.genai').genaiTextToImage;"
SAYS = "return document.querySelector('.genai-status').textContent"
made = pytest.mark.skipif(
    not (toy_module.WEIGHTS / "text_to_image.json").exists(),
    reason="its weights are to be made: python -m genai_utils.toys.make text_to_image",
)
SHOWN = ".genai-trail figure:not([hidden])"
RECORD = {
    "test": {
        "seen": {"pair": 0.9},
        "unseen": {"pair": 0.7},
        "shuffled": {"pair": 0.05},
        "seen, short": {"pair": 0.8},
        "unseen, short": {"pair": 0.6},
    },
    "guidance": 2.0,
    "steps of a walk": 20,
}


def random_model():
    """Networks whose weights are random, those that begin at zero too."""
    torch.manual_seed(0)
    model = toy_module.blank(toy_module.blank_coder(), toy_module.blank_text())
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.04 * torch.randn(weight.shape))
        model.coder.shift.add_(0.1 * torch.randn(8, 1, 1))
        model.coder.scale.mul_(1 + torch.rand(8, 1, 1))
    return model


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        return toy_module.network(toy_module.packed(toy_module.state_of(random_model())))


@pytest.fixture(scope="module")
def figure(model):
    return toy_module.bundle_of(model, RECORD)


@pytest.fixture
def page(browser, open_toy, figure):
    def opened(width=1200, **options):
        open_toy(figure, "genaiTextToImage", width, calm=True, **options)
        browser.wait("return !!document.querySelector('.genai').genaiTextToImage")
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


def state(browser):
    return browser.js(f"{TOY} return toy.state()")


def press(browser, text):
    browser.driver.find_element(By.XPATH, f"//button[. = '{text}']").click()


def finished(browser, walks):
    browser.wait(f"{TOY} return toy.state().finished >= {walks}")
    return state(browser)


def field(browser):
    return browser.driver.find_element(By.CSS_SELECTOR, ".genai-sentence input")


# -- weights ---------------------------------------------------------------------------------------


def test_a_byte_a_weight_and_no_more(model, figure):
    count = sum(toy_module.counts(model).values())
    assert figure.size <= toy_module.MOST
    found = page_bytes.export(toy_module.state_of(model))
    assert len(found["bytes"]) < 1.5 * count  # base64 of a byte each is 4/3
    assert sum(np.prod(shape) for _, shape in found["shapes"]) == count
    assert not any("encoder" in name for name, _ in found["shapes"])


def test_the_page_has_the_very_weights_that_are_kept(model):
    exact = toy_module.state_of(model)
    again = page_bytes.rounded_copy(model)
    for name, weight in toy_module.state_of(again).items():
        torch.testing.assert_close(weight, exact[name], rtol=1e-6, atol=1e-9)


@made
def test_the_weights_of_the_package_are_those_of_the_record_and_good_enough():
    model, record = toy_module.load()
    assert record["bytes"] == (toy_module.WEIGHTS / "text_to_image.safetensors").stat().st_size
    assert record["parameters"] == toy_module.counts(model)
    assert {name: record[name] for name in make_text_to_image.RECIPE} == make_text_to_image.RECIPE
    test = record["test"]
    assert test["seen"]["pair"] >= 0.9 and test["unseen"]["pair"] >= 0.7
    assert test["shuffled"]["pair"] < 0.05 and test["judge, seen"]["pair"] > 0.95
    caption = toy_module.bundle().html.partition("<figcaption>")[2]
    assert f"{100 * test['unseen']['pair']:.0f} % of those that they never saw" in caption


def test_rounding_moves_a_weight_by_half_a_step_and_only_once(model):
    exact = toy_module.state_of(random_model())
    kept = toy_module.packed(exact)
    rounded = toy_module.unpacked(kept)
    for name, weight in exact.items():
        if weight.ndim < 2:
            assert torch.equal(rounded[name], weight.half().float())
            continue
        step = weight.flatten(1).abs().amax(1) / 127
        off = (rounded[name] - weight).flatten(1).abs().amax(1)
        assert (off <= 0.57 * step).all()  # a half, and what the scale's own rounding moves
    again = toy_module.packed(rounded)
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_weights_of_another_model_are_refused(model):
    kept = toy_module.packed(toy_module.state_of(model))
    kept.pop("net.first.bias")
    with pytest.raises(ValueError, match=r"net\.first\.bias"):
        toy_module.network(kept)


def test_examples_are_sentences_and_the_last_of_held_out_combinations():
    rows = [scenes.parse(text) for text in toy_module.EXAMPLES]
    assert not scenes.held_out(torch.stack(rows)).any()
    unseen = [scenes.parse(text) for text in toy_module.unseen_examples()]
    assert scenes.held_out(torch.stack(unseen)).all()
    assert not scenes.held_out(scenes.parse(toy_module.OPENING)[None]).any()
    listed = [word for group in toy_module.words() for word in group]
    world = scenes.scene(**toy_module.WORLD)
    said = []
    for k in range(200):  # all that a training can have read
        g = torch.Generator().manual_seed(k)
        said += scenes.captions(scenes.draw(50, g, None, world), g)
    assert sorted(listed) == sorted({word for text in said for word in text.split()})


@pytest.fixture
def quick(monkeypatch):
    """A recipe of seconds."""
    maker = make_text_to_image
    for name, small in (("text", 8), ("coder", 8), ("denoiser", 8), ("judge", 8)):
        monkeypatch.setitem(maker.RECIPE, name, {**maker.RECIPE[name], "batch": small})
    monkeypatch.setitem(maker.RECIPE["denoiser"], "pairs", 20)
    measured = maker.measured
    monkeypatch.setattr(maker, "measured", lambda *given: measured(*given, count=10))


def test_the_command_makes_weights_that_load_and_goes_on_where_it_stopped(
    quick, monkeypatch, tmp_path
):
    arguments = ["text_to_image", "--steps", "2", "--checkpoint", str(tmp_path / "so far")]
    threads, made = torch.get_num_threads(), []
    try:
        for name in ("one", "other"):  # the second finds all networks done
            assert make.main([*arguments, "--out", str(tmp_path / name)]) == 0
            made.append((tmp_path / name / "text_to_image.safetensors").read_bytes())
    finally:
        torch.set_num_threads(threads)
    assert made[0] == made[1]
    parts = {part.name for part in (tmp_path / "so far").iterdir()}
    assert parts == {"text", "coder", "denoiser", "judge"}
    monkeypatch.setattr(toy_module, "WEIGHTS", tmp_path / "one")
    model, record = toy_module.load()
    assert record["denoiser"]["steps"] == record["text"]["steps"] == 2
    assert sum(record["parameters"].values()) == sum(toy_module.counts(model).values())
    for name in ("seen", "unseen", "shuffled", "judge, seen", "judge, decoded", "seen, short"):
        assert 0 <= record["test"][name]["pair"] <= 1
    assert toy_module.bundle().size <= toy_module.MOST


def test_what_is_measured_is_what_was_asked_for(monkeypatch):
    """With pictures that are their scenes' numbers, a judge that reads them, a code off by 0.1."""

    class Asked:
        said = []

        def draw(self, said, steps, guidance, generator):
            assert (steps, guidance) == (toy_module.STEPS, toy_module.GUIDANCE)
            self.said.append(torch.stack([scenes.parse(text) for text in said]))
            return written(self.said[-1], generator, "test")

        encode = staticmethod(lambda x: x)
        decode = staticmethod(lambda z: z + 0.1)
        coder = property(lambda self: self)

    def written(table, generator, split="train"):
        assert split == "test"  # no hand of the training
        x = torch.zeros(len(table), 3, 1, 6)
        x[:, 0, 0] = table.clamp(min=0)
        return x

    class Judge:
        read = staticmethod(lambda x: x[:, 0, 0].round().long())

    monkeypatch.setattr(scenes, "render", written)
    model = Asked()
    found = make_text_to_image.measured(model, model, Judge(), 60)
    exact = ("seen", "unseen", "judge, seen", "judge, unseen", "judge, decoded")
    assert all(found[name]["all"] == 1 for name in exact)
    assert found["shuffled"]["pair"] < 0.2 and found["psnr"] == pytest.approx(20, abs=0.01)
    assert found["seen, short"] == found["unseen, short"] == {"pair": 1}
    for said, unseen in zip(model.said, (False, False, True, True), strict=True):
        assert torch.equal(scenes.held_out(said), torch.full((60,), unseen))
    world = scenes.scene(**toy_module.WORLD)
    for full, short in (model.said[:2], model.said[2:]):
        assert (full != scenes.UNSAID).all() and torch.equal(full[:, :2], short[:, :2])
        assert ((full == world) | (world == scenes.UNSAID)).all()
        assert (short[:, [scenes.SIZE, scenes.TEXTURE, scenes.PLACE]] == scenes.UNSAID).all()


def test_damaged_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(toy_module, "WEIGHTS", tmp_path)
    with pytest.raises(data.DataError, match="python -m genai_utils.toys.make text_to_image"):
        toy_module.load()


# -- numbers in the page ---------------------------------------------------------------------------


@torch.no_grad()
def test_the_page_reads_sentences_as_the_text_encoder_does(page, model):
    browser = page()
    for text in ("a red circle", "one 7 that is large plain and blue at the top left"):
        ids = scenes.encode([text])
        assert browser.js(f"{TOY} return toy.encode(arguments[0])", text) == ids[0].tolist()
        found = browser.js(f"{TOY} return toy.read(arguments[0])", ids[0].tolist())
        np.testing.assert_allclose(found, model.text(ids).flatten(), atol=1e-4)


@torch.no_grad()
def test_the_page_finds_the_velocity_that_the_denoiser_does(page, model):
    browser, g = page(), torch.Generator().manual_seed(0)
    empty = model.text.empty(1)
    for u, ids in ((1.0, scenes.encode(["a red circle"])), (0.5, empty), (0.03, empty)):
        z = model.noise(1, g)
        expected = model.walker.velocity(z, torch.tensor([u]), ids).flatten()
        found = browser.js(
            f"{TOY} return toy.velocity(...arguments)", z.flatten().tolist(), u, ids[0].tolist()
        )
        assert expected.abs().mean() > 0.05
        np.testing.assert_allclose(found, expected, atol=1e-3)


@torch.no_grad()
def test_the_page_decodes_as_the_decoder_does(page, model):
    browser = page()
    z = 2 * model.noise(1, torch.Generator().manual_seed(1))
    found = browser.js(f"{TOY} return toy.decode(arguments[0])", z.flatten().tolist())
    expected = model.coder.decode(z).flatten()
    assert expected.std() > 0.02
    np.testing.assert_allclose(found, expected, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_the_page_walks_where_the_model_walks(page, model, guidance):
    browser = page()
    noise = model.noise(1, torch.Generator().manual_seed(2))
    ids = scenes.encode(["three dotted green stars"])
    expected = model.walk(noise, ids, 10, guidance)
    found = browser.js(
        f"{TOY} return toy.walk(...arguments)", noise.flatten().tolist(), ids[0].tolist(), 10,
        guidance,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected.flatten(), atol=1e-2)
    *_, last = model.frames("three dotted green stars", 10, guidance, noise=noise)
    np.testing.assert_allclose(last[1].flatten(), expected.flatten(), atol=1e-4)


# -- what the reader does --------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1200, 390])
def test_one_types_a_sentence_and_a_picture_comes_step_by_step(page, model, width):
    browser = page(width)
    assert state(browser)["left"] is None  # calm readers start it themselves
    stored = "return document.querySelectorAll('.genai-part > img').length"
    label = "return document.querySelector('.genai-picture span').textContent"
    assert browser.js(stored) == 3 and browser.js(label) == "“a purple heart”"
    field(browser).clear()
    field(browser).send_keys("a blue ring", Keys.ENTER)
    after = finished(browser, 1)
    assert after["left"] == 0 and after["said"] == "a blue ring"
    assert browser.js(stored) == 0 and browser.js(label) == "the picture"
    assert "done in 20 steps; the denoiser was asked 40 times" in browser.js(SAYS)
    noise = torch.tensor(after["noise"]).reshape(1, 8, 8, 8)
    expected = model.walk(noise, scenes.encode(["a blue ring"]), 20, 2.0)
    np.testing.assert_allclose(after["z"], expected.flatten(), atol=1e-2)
    shown = browser.js("return document.querySelectorAll(arguments[0]).length", SHOWN)
    assert 5 <= shown <= 11


def test_the_noise_stays_until_new_noise_is_asked_for(page):
    browser = page()
    press(browser, "Draw it")
    first = finished(browser, 1)
    field(browser).clear()
    field(browser).send_keys("a green 7")
    press(browser, "Draw it")
    second = finished(browser, 2)
    assert first["noise"] == second["noise"] and first["z"] != second["z"]
    press(browser, "New noise")
    third = finished(browser, 3)
    assert third["noise"] != second["noise"]
    assert 0.85 < np.std(third["noise"]) < 1.15
    press(browser, toy_module.EXAMPLES[0])
    assert finished(browser, 4)["said"] == toy_module.EXAMPLES[0]


def test_what_is_no_sentence_is_told_and_nothing_is_drawn(page):
    browser = page()
    for text, says in (
        ("a red dog", "never shown “dog”"),
        ("three red stars", "never shown “three”"),
        ("  ", "Say what is to be seen"),
        ("a " * 16, "At most 15 words"),
    ):
        field(browser).clear()
        field(browser).send_keys(text, Keys.ENTER)
        browser.wait(
            f"return document.querySelector('.genai-status').textContent.includes('{says}')"
        )
        assert state(browser)["left"] is None
        assert field(browser).get_attribute("aria-invalid") == "true"
    press(browser, toy_module.EXAMPLES[1])
    finished(browser, 1)
    assert field(browser).get_attribute("aria-invalid") is None


def test_sliders_change_steps_and_guidance(page, model):
    browser = page()
    for label, value in (("steps", 5), ("guidance w", 0)):
        slider = browser.driver.find_element(By.XPATH, f"//label[span = '{label}']/input")
        browser.js(
            "arguments[0].value = arguments[1];"
            "for (const kind of ['input', 'change']) arguments[0].dispatchEvent(new Event(kind))",
            slider, value,
        )  # fmt: skip
    browser.wait("return document.querySelector('.genai-status').textContent.includes('done in 5')")
    assert "done in 5 steps; the denoiser was asked 5 times" in browser.js(SAYS)
    after = state(browser)
    noise = torch.tensor(after["noise"]).reshape(1, 8, 8, 8)
    expected = model.walk(noise, scenes.encode([toy_module.OPENING]), 5, 0.0)
    np.testing.assert_allclose(after["z"], expected.flatten(), atol=1e-2)


def test_without_its_script_the_toy_shows_a_picture(figure):
    before = figure.html.partition("<script>")[0]
    assert before.count("<img") == 3 and "<button" not in before
    assert 'data-figure="toy-text_to_image"' in before
    assert "90 %" in before and "70 %" in before  # what the record says
