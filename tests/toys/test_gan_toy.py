"""The GAN toy: its gradients are PyTorch's, the recipe finds all modes, the collapse loses them."""

from types import SimpleNamespace

import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from torch import nn

from genai_utils.toys import gan as toy
from genai_utils.toys import play
from genai_utils.vision.gan import Rules
from genai_utils.vision.gan import play as the_game
from genai_utils.vision.modes import count_modes

ROOT = "document.querySelector('.genai').genaiGan"
STATE = f"return {ROOT}.state()"
WIDTHS = ([2, 7, 6, 2], [2, 8, 5, 1])


@pytest.fixture
def page(browser, open_toy):
    """The toy on a page, not running by itself."""

    def opened(**options):
        open_toy(toy.bundle(), "genaiGan", calm=True, **options)
        return browser

    yield opened
    assert browser.errors() == [] and browser.overflow() == 0


def network(sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()]).tolist()


@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "least squares", "pairs"])
@pytest.mark.parametrize("gamma", [0, 0.7])
def test_losses_and_gradients_are_pytorchs(page, loss, gamma):
    torch.manual_seed(1)
    G, D = (network(sizes) for sizes in WIDTHS)
    for p in (*G.parameters(), *D.parameters()):
        p.data.mul_(2.5)
    x, z = torch.randn(9, 2), torch.randn(9, 2)
    script = f"return {ROOT}.gradients(...arguments)"
    given = ({"loss": loss, "gamma": gamma}, WIDTHS, flat(G), flat(D))
    found = page().js(script, *given, x.flatten().tolist(), z.flatten().tolist())

    scores = nn.Sequential(D, nn.Flatten(0))
    model = SimpleNamespace(discriminator=scores, rules=Rules(loss, r1=gamma, r2=gamma))
    fake = G(z)
    fake.retain_grad()
    losses = the_game(model, x, fake)
    losses["loss"].backward()
    assert found["losses"] == pytest.approx(
        [losses["discriminator"].item(), losses["generator"].item()], abs=1e-5
    )
    if gamma:
        assert found["penalty"] == pytest.approx(losses["penalty"].item(), rel=1e-5)
    for name, net in (("generator", G), ("discriminator", D)):
        wanted = torch.cat([p.grad.flatten() for p in net.parameters()])
        gap = (torch.tensor(found[name]) - wanted).abs().max()
        assert gap < 1e-4 * max(1, wanted.abs().max())
        assert wanted.abs().max() > 1e-3  # there was something to be equal
    torch.testing.assert_close(
        torch.tensor(found["pull"]), -fake.grad.flatten(), atol=1e-5, rtol=1e-4
    )


def test_the_recipe_finds_all_modes_and_the_collapse_loses_them(page):
    browser = page()
    assert browser.js(STATE)["rules"] == toy.RECIPE
    browser.js(f"{ROOT}.train(900)")
    found = browser.js(STATE)
    assert found["modes"] == 8 and found["good"] > 0.5 and found["step"] == 900
    x = torch.tensor(found["dots"]).reshape(-1, 2)
    centres = torch.tensor(toy.sets()[0]["centres"])
    covered, good, _ = count_modes(x, centres, toy.DEVIATION)
    assert found["modes"] == covered and found["good"] == pytest.approx(good.item(), abs=0.01)
    browser.press("Make it collapse", "Stop")
    lost = []
    for _ in range(4):
        browser.js(f"{ROOT}.train(200)")
        lost.append(browser.js(STATE)["modes"])
    assert max(lost[1:]) <= 3
    browser.press("Cure it", "Stop")
    for _ in range(8):  # wait for the cure
        browser.js(f"{ROOT}.train(450)")
        found = browser.js(STATE)
        if found["modes"] == 8:
            break
    assert found["modes"] == 8 and found["rules"] == toy.RECIPE


def test_what_is_chosen_is_played(page):
    browser = page()
    for name in ("minimax", "least squares"):
        browser.press(name)
        state = browser.js(STATE)
        assert state["rules"]["loss"] == name
        pressed = browser.driver.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")
        assert [one.text for one in pressed] == [name]
    browser.press("One step")
    assert browser.js(STATE)["step"] == 1
    select = Select(browser.driver.find_element(By.CSS_SELECTOR, ".genai-menus select"))
    select.select_by_visible_text("nine on a grid")
    assert browser.js(STATE)["step"] == 0 and browser.js(STATE)["of"] == 9
    select.select_by_visible_text("my own points")
    browser.press("Run")
    says = browser.js("return document.querySelector('.genai-status').textContent")
    assert says == "Click on the field to put data there." and browser.js(STATE)["step"] == 0
    canvas = browser.driver.find_element(By.CSS_SELECTOR, ".genai-field canvas")
    canvas.click()
    state = browser.js(STATE)
    assert state["of"] == 1 and state["own"][0] == pytest.approx([0, 0], abs=0.05)
    browser.press("One step")
    assert browser.js(STATE)["step"] == 1


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits(page, width):
    browser = page(width=width)
    browser.js(f"{ROOT}.train(20)")


def test_without_its_script_the_toy_says_how_to_start_it(capsys):
    before = toy.bundle().html.partition("<script>")[0]
    assert 'data-figure="toy-gan"' in before and 'data-explorer="toy"' in before
    assert "<img" in before and 'class="genai-untrusted"' in before and "<button" not in before
    play("gan")
    assert "discriminator" in capsys.readouterr().out
