"""The flow that learns in the page: its numbers are the package's, and what a reader does works."""

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from genai_utils.toys import flow as toy
from genai_utils.toys import play
from genai_utils.vision.flow import Flow

STATE = "const s = arguments[0].genaiFlow.state(); return {...s, flow: null}"


@pytest.fixture
def opened(open_toy, browser):
    """Open the toy; returns its figure and a function that runs a script with it."""

    def at(width=1200, calm=True, **options):
        root, _ = open_toy(toy.bundle(), "genaiFlow", width=width, calm=calm, **options)
        return root, lambda script, *given: browser.js(script, root, *given)

    yield at
    assert browser.errors() == []


def pages_weights(model):
    """A flow's weights as the page holds them: for each step [8 numbers, the network's]."""
    steps, layers = [], model.cascade.layers
    for norm, conv, coupling in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
        numbers = [norm.log_scale, norm.shift, conv.matrix]
        linear = [part for part in coupling.network if hasattr(part, "weight")]
        net = [p for part in linear for p in (part.weight, part.bias)]
        steps.append([numbers, net])
    return steps


def as_numbers(parts, of=lambda p: p):
    return torch.cat([of(p).detach().flatten() for p in parts]).tolist()


COMPARE = """
const flow = arguments[0].genaiFlow.planeFlow(arguments[1].length, 8, () => 0.3);
arguments[1].forEach(([numbers, net], k) => {
  flow.steps[k].numbers.set(numbers);
  flow.steps[k].net.parameters.set(net);
});
const x = Float32Array.from(arguments[2].flat());
const { loss, gradients } = flow.gradient(x);
const c = flow.encode(x).at(-1).c;
return { loss, c: [...c], back: [...flow.decode(c)], logProb: [...flow.logProb(x)],
  gradients: gradients.map(({ numbers, net }) => [[...numbers], [...net]]) };
"""


def test_losses_and_gradients_are_pytorchs(opened):
    torch.manual_seed(0)
    model = Flow(2, depth=3, width=8)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    x = torch.randn(40, 2)
    model.loss(x).backward()
    _, run = opened()
    steps = pages_weights(model)
    given = [[as_numbers(part) for part in step] for step in steps]
    found = run(COMPARE, given, x.tolist())
    assert found["loss"] == pytest.approx(model.loss(x).item(), abs=1e-4)
    np.testing.assert_allclose(found["logProb"], model.log_prob(x).detach(), atol=1e-4)
    np.testing.assert_allclose(found["c"], model.encode(x)[0].detach().flatten(), atol=1e-4)
    np.testing.assert_allclose(found["back"], x.flatten(), atol=1e-4)
    for mine, theirs in zip(found["gradients"], steps, strict=True):
        for part, weights in zip(mine, theirs, strict=True):
            expected = np.array(as_numbers(weights, lambda p: p.grad))
            assert np.abs(expected).max() > 1e-3
            np.testing.assert_allclose(part, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def test_the_start_is_the_packages(opened):
    points = torch.tensor(toy.presets()[0]["points"], dtype=torch.float32)
    model = Flow(2, depth=1, width=8).start(points)
    _, run = opened()
    script = """const flow = arguments[0].genaiFlow.planeFlow(1, 8, Math.random);
    flow.start(Float32Array.from(arguments[1].flat()));
    return [...flow.steps[0].numbers.slice(0, 4)]"""
    norm = model.cascade.layers[0]
    expected = torch.cat([norm.log_scale, norm.shift]).detach()
    np.testing.assert_allclose(run(script, points.tolist()), expected, atol=1e-4)


@pytest.mark.parametrize("name", [one["name"] for one in toy.presets()])
def test_training_makes_the_points_more_probable_than_any_normal_does(opened, name):
    root, run = opened()
    Select(root.find_element(By.CSS_SELECTOR, ".genai-menus select")).select_by_visible_text(name)
    run("const f = arguments[0].genaiFlow; f.learn(500); f.look()")
    state = run(STATE)
    x = torch.tensor(state["points"], dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))
    assert state["history"][-1] < -normal.log_prob(x).mean().item() - 0.25
    assert len(state["history"]) == 500


def test_the_density_of_the_page_adds_up_to_one(opened):
    _, run = opened()
    script = """const f = arguments[0].genaiFlow; f.learn(60);
    const axis = Array.from({ length: 241 }, (_, i) => -9 + i * 0.075);
    const grid = axis.flatMap((x) => axis.map((y) => [x, y]));
    const found = f.state().flow.logProb(Float32Array.from(grid.flat()));
    return found.reduce((a, v) => a + Math.exp(v), 0) * 0.075 ** 2"""
    assert run(script) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("width", [1200, 390])
def test_what_a_reader_does(opened, browser, width):
    root, run = opened(width=width)
    assert browser.overflow() == 0
    train = root.find_element(By.XPATH, ".//button[. = 'Train']")
    train.click()
    browser.wait("return document.querySelector('.genai').genaiFlow.state().history.length > 3")
    root.find_element(By.XPATH, ".//button[. = 'Stop']").click()
    assert not run(STATE)["training"]
    root.find_element(By.XPATH, ".//button[. = 'Restart']").click()
    assert run(STATE)["history"] == []
    points, show = (Select(s) for s in root.find_elements(By.CSS_SELECTOR, ".genai-menus select"))
    for text in ("bent grid and points", "density and draws"):
        show.select_by_visible_text(text)
    points.select_by_visible_text("my own")
    assert run(STATE)["points"] == [] and not train.is_enabled()
    canvas = root.find_element(By.CSS_SELECTOR, ".genai-field canvas")
    canvas.send_keys(Keys.ENTER, *[Keys.ARROW_RIGHT] * 10, Keys.ENTER, Keys.ARROW_UP, Keys.ENTER)
    found = run(STATE)["points"]
    np.testing.assert_allclose(found, [[0, 0], [1, 0], [1, 0.1]], atol=1e-6)
    assert train.is_enabled()
    canvas.send_keys(Keys.DELETE)
    assert len(run(STATE)["points"]) == 2
    slider = root.find_element(By.CSS_SELECTOR, ".genai-buttons input")
    slider.send_keys(Keys.HOME)
    assert run(STATE)["depth"] == 1
    assert browser.requests() == [] and browser.overflow() == 0


def test_it_is_displayed_by_its_name_and_says_what_it_is_without_scripts(capsys):
    play("flow")
    assert "density of a flow" in capsys.readouterr().out
    before = toy.bundle().html.partition("<script>")[0]
    assert "<img" in before and 'class="genai-untrusted"' in before and "<button" not in before
