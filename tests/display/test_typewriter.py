"""The model in the page: it computes what PyTorch computes and writes what Python writes."""

import re
import string

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from torch import nn

from genai_utils.display.page_bytes import quantize
from genai_utils.display.page_gpt import PageGPT, draw, quantized_copy, window
from genai_utils.display.typewriter import typewriter_bundle
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import WindowBatches, fit

LETTERS = "\n !<>&'/" + string.ascii_letters  # 60
PROMPT = "ROMEO:\nO, she".replace(":", "!").replace(",", "'")


def model(seed=0, context=16, layers=2, heads=3, dim=24, letters=LETTERS, eps=0.03):
    """A GPT with sharp opinions: no weight, bias, scale or eps can be left out unseen."""
    torch.manual_seed(seed)
    net = GPT(GPTConfig(len(letters), context, layers, heads, dim)).eval()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "norm" in name and name.endswith("weight"):
                weight.uniform_(0.5, 1.5)
            elif weight.ndim == 1:
                weight.normal_(std=0.3)
            else:
                weight.normal_(std=0.35 if "blocks" in name else 0.5)
    for module in net.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
    return net


def bundle(net=None, **options):
    given = {"prompt": PROMPT, "alt": "A text that goes on.", "first": 40, "length": 30}
    options = {**given, **options}
    net = model() if net is None else net
    return typewriter_bundle(net, options.pop("characters", LETTERS), **options)


def ids_of(text):
    return [LETTERS.index(char) for char in text]


@torch.no_grad()
def pytorch(net, text):
    """Probabilities of the letter after a text, by the model's own forward, weights rounded."""
    ids = torch.tensor(ids_of(text))
    seen = ids[len(ids) - window(len(ids), net.config.context) :]
    return quantized_copy(net)(seen[None])[0, -1].double().softmax(-1).numpy()


def text_of(written):
    return "".join(LETTERS[token] for token, *_ in written)


# -- the weights ---------------------------------------------------------------------------------


def test_a_row_is_rounded_to_whole_steps_of_its_own_scale():
    weight = torch.randn(7, 30) * torch.logspace(-3, 3, 7)[:, None]
    weight[3] = 0
    whole, scale = quantize(weight)
    assert whole.dtype == torch.int8 and scale.shape == (7,) and scale.isfinite().all()
    assert whole.abs().amax(1).tolist() == [127, 127, 127, 0, 127, 127, 127]
    off = (whole * scale[:, None] - weight).abs()
    assert (off <= 0.5001 * scale[:, None]).all() and (off[0] > 0).any()


def test_the_rounded_copy_is_rounded_once_and_leaves_the_model_alone():
    net = model()
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    rounded = quantized_copy(net)
    assert all(weight.equal(before[name]) for name, weight in net.state_dict().items())
    for name, weight in rounded.state_dict().items():
        assert weight.equal(before[name]) == (weight.ndim == 1), name
        if weight.ndim == 2:
            step = before[name].abs().amax(1, keepdim=True) / 127
            assert ((weight - before[name]).abs() <= 0.5001 * step).all()
    again = quantized_copy(rounded).state_dict()
    for name, weight in rounded.state_dict().items():
        torch.testing.assert_close(again[name], weight, rtol=1e-6, atol=0)


def test_rounding_costs_a_trained_model_less_than_a_hundredth_of_a_nat():
    text = "the cat sat on the mat and the dog sat on the log\n" * 20
    torch.manual_seed(0)
    net = GPT(GPTConfig(len(LETTERS), 16, 2, 2, 32))
    batches = WindowBatches(torch.tensor(ids_of(text)), 17, 16)
    fit(net, batches, 150, lr=3e-3, progress=False)
    rounded, batch = quantized_copy(net), batches(1_000)
    with torch.no_grad():
        loss, after = net.loss(batch).item(), rounded.loss(batch).item()
    assert loss < 0.6  # it has learned something that rounding could destroy
    assert abs(after - loss) < 0.01


@pytest.mark.parametrize("context", [1, 2, 7, 16])
def test_a_full_context_goes_on_with_its_last_half(context):
    sizes = [window(n, context) for n in range(1, 5 * context)]
    assert sizes[:context] == list(range(1, context + 1))
    half = max(context // 2, 1)
    for before, after in zip(sizes, sizes[1:], strict=False):
        assert after == (half if before == context else before + 1)


def test_a_letter_is_drawn_with_its_probability_and_never_outside_the_nucleus():
    p = np.array([0.05, 0.5, 0.2, 0.2, 0.05])
    scores, us = np.log(p), (np.arange(4_000) + 0.5) / 4_000

    def shares(temperature, top_p):
        drawn = [draw(scores, temperature, top_p, u) for u in us]
        return np.bincount(drawn, minlength=5) / len(us)

    np.testing.assert_allclose(shares(1, 1), p, atol=1e-3)
    np.testing.assert_allclose(shares(0.5, 1), p**2 / (p**2).sum(), atol=1e-3)
    np.testing.assert_allclose(shares(1, 0.6), np.array([0, 5, 2, 0, 0]) / 7, atol=1e-3)
    np.testing.assert_allclose(shares(1, 0.4), [0, 1, 0, 0, 0])
    np.testing.assert_allclose(shares(0, 1), [0, 1, 0, 0, 0])


def test_python_writes_what_the_models_own_forward_gives():
    net = model()
    written = PageGPT(net).write(ids_of(PROMPT), 30, 0.7, 0.9, seed=4)
    text = PROMPT
    for token, p, likely, shares in written:
        expected = pytorch(net, text)
        assert p == pytest.approx(expected[token], abs=1e-5)
        assert likely == np.argsort(-expected)[:4].tolist()
        np.testing.assert_allclose(shares, expected[likely], atol=1e-4)
        text += LETTERS[token]


# -- what it refuses -----------------------------------------------------------------------------


class Stranger(nn.Module):
    """Has some of a GPT's weights."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(60, 8), nn.Embedding(16, 8)


def changed(change):
    net = model()
    change(net)
    return net


def relu(net):
    for block in net.blocks:
        block.mlp[1] = nn.ReLU()


def exact_gelu_and_post_norm(net):
    for block in net.blocks:
        block.norm = "post"


def wrong_heads(net):
    net.config = GPTConfig(60, 16, 2, 4, 24)  # the blocks still have three


def five_heads(net):
    net.config = GPTConfig(60, 16, 2, 5, 24)


def no_config(net):
    net.config = None


def extra(net):
    net.output = nn.Linear(24, 60)


def short(net):
    net.blocks[1].mlp[2] = nn.Linear(96, 20)


def infinite(net):
    with torch.no_grad():
        net.blocks[0].mlp[0].weight[3, 2] = float("inf")


def two_eps(net):
    net.norm.eps = 1e-5


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (3, TypeError, "torch module such as a GPT, got int"),
        (Stranger(), TypeError, "this Stranger has no norm.weight"),
        (changed(extra), TypeError, "has, but a page does not know, output.bias"),
        (changed(no_config), TypeError, "config.heads"),
        (changed(five_heads), ValueError, "24 channels must be a multiple .* 5 heads"),
        (changed(short), ValueError, r"blocks.1.mlp.2.weight must have the shape \(24, 96\)"),
        (changed(infinite), ValueError, "blocks.0.mlp.0.weight: expected finite weights"),
        (changed(two_eps), ValueError, "same eps"),
        (changed(relu), ValueError, "does not compute what a page computes"),
        (changed(exact_gelu_and_post_norm), ValueError, "does not compute what a page computes"),
        (changed(wrong_heads), ValueError, "does not compute what a page computes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_a_page_cannot_compute_is_named(net, error, message):
    with pytest.raises(error, match=message):
        bundle(net)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alt": ""}, ValueError, "alt"),
        ({"prompt": "ROMEO: 1"}, ValueError, r"does not know: \['1', ':'\]"),
        ({"prompt": None}, ValueError, "prompt must be a string"),
        ({"prompt": "a" * 1001}, ValueError, "at most 1000 letters"),
        ({"characters": LETTERS[:-1]}, ValueError, "60 tokens, but characters names 59"),
        ({"characters": "a" + LETTERS[1:]}, ValueError, "characters must all differ"),
        ({"characters": ["ab", *LETTERS[1:]]}, TypeError, "single letters"),
        ({"temperature": -0.1}, ValueError, "temperature: expected a finite number"),
        ({"temperature": "hot"}, TypeError, "temperature: expected a finite number"),
        ({"top_p": 0}, ValueError, "top_p: expected a finite number of at least 0.05"),
        ({"seed": -1}, ValueError, "seed: expected a whole number from 0"),
        ({"first": 0}, ValueError, "first: expected a whole number from 1 to 1,000, got 0"),
        ({"length": 1.5}, TypeError, "length: expected a whole number"),
    ],
)
def test_bad_settings_are_named(options, error, message):
    with pytest.raises(error, match=message):
        bundle(**options)


@pytest.mark.parametrize(("layers", "fits"), [(3, True), (4, False)])
def test_a_page_holds_370_000_weights(layers, fits):
    net = GPT(GPTConfig(65, 256, layers, 4, 96)).eval()  # 366,528 weights, and a block more
    letters = string.ascii_letters + string.digits + ".,!"
    if fits:
        assert 540_000 < bundle(net, characters=letters, prompt="", first=240).size < 600_000
    else:
        with pytest.raises(ValueError, match="at most 600 kB.*478,368 weights"):
            bundle(net, characters=letters, prompt="", first=1)


# -- what the page has without scripts -----------------------------------------------------------


def test_a_first_text_stands_in_the_page_already():
    net = model()
    made = bundle(net, name="writer", caption="It <writes>.", seed=7)
    assert set(made.data) == {"text/html", "text/plain"}  # it is text, so it needs no picture
    assert 'data-explorer="typewriter"' in made.html and 'data-figure="writer"' in made.html
    assert 'aria-label="A text that goes on."' in made.html and "It &lt;writes&gt;." in made.html
    written = PageGPT(net).write(ids_of(PROMPT), 40, 0.8, 1.0, seed=7)
    assert made.data["text/plain"] == f"A text that goes on.\n{PROMPT}{text_of(written)}"
    paper = made.html.partition('role="group"')[2].partition("</div>")[0]
    assert [float(t) for t in re.findall(r'title="(?:below )?([\d.]+) %"', paper)] == pytest.approx(
        [100 * p for _, p, *_ in written], abs=0.51
    )


def test_letters_of_html_in_the_text_stay_letters():
    made = bundle(prompt="</script><b>&lt").html
    assert made.count("</script>") == 1 and "</textarea><b>" not in made


# -- in the browser ------------------------------------------------------------------------------

PAPER = "return document.querySelector('.genai-tokens').textContent"
WRITES = "return document.querySelector('.genai-go').textContent === 'Stop'"
RESTS = "return document.querySelector('.genai-go').textContent === 'Go on'"
STATUS = "return document.querySelector('.genai-status').textContent"
TYPE = """const f = document.querySelector('textarea'); f.value = arguments[0];
f.dispatchEvent(new Event('input', {bubbles: true}))"""
ASK = "return document.querySelector('.genai').genaiProbabilities(arguments[0])"
VALUES = "return [...document.querySelectorAll('.genai-value')].map(v => v.textContent)"
STEPS = """return [...document.querySelector('.genai-tokens').children].slice(1)
.map(s => Number(s.className[7]))"""
SET = """const s = document.querySelector(`input[name="${arguments[0]}"]`); s.value = arguments[1];
s.dispatchEvent(new Event('input', {bubbles: true}))"""


def steps_of(shares):
    return [sum(p < bound for bound in (0.5, 0.2, 0.05, 0.01)) for p in shares]


def write(path, *bundles, theme=""):
    path.write_text(
        f'<!doctype html><html lang="en"{theme}><meta charset="utf-8"><title>t</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        + "".join(made.html for made in bundles),
        encoding="utf-8",
    )
    return path


def press(browser, button):
    browser.js(f"document.querySelector('.genai-{button}').click()")


def finish(browser):
    browser.wait(RESTS, seconds=60)
    return browser.js(PAPER)


LONG = "It is the east and Juliet is the sun Arise fair sun and kill the envious moon"


@pytest.mark.parametrize(
    "net",
    [model(), model(1, context=9, layers=1, heads=1, dim=21), model(2, 32, 3, 2, 48, eps=1e-5)],
    ids=["2 x 24", "1 x 21, one head, odd sizes", "3 x 48"],
)
def test_the_page_computes_what_pytorch_computes(browser, tmp_path, net):
    browser.open(write(tmp_path / "p.html", bundle(net)))
    context = net.config.context
    texts = ["a", "\n", "Romeo", "Rome", "Romulus", "Ro", PROMPT[:8], LONG[:context],
             LONG[: context + 1], LONG[: context + 2], LONG, LONG[1:], LONG[: 2 * context],
             "aaaa"]  # fmt: skip
    sharp = []
    for text in texts:
        says = browser.js(ASK, text)
        expected = pytorch(net, text)
        assert np.abs(np.array(says) - expected).max() < 1e-4, text
        sharp.append(expected.max())
    assert np.mean(sharp) > 0.15  # not the uniform answer, on which everybody agrees
    assert browser.errors() == []


@pytest.mark.parametrize(("temperature", "top_p"), [(0.8, 1.0), (1.3, 0.7), (0, 1.0)])
def test_the_page_writes_what_python_writes(browser, tmp_path, temperature, top_p):
    net = model()
    page = write(tmp_path / "p.html", bundle(net, temperature=temperature, top_p=top_p, seed=5))
    browser.open(page)
    gpt = PageGPT(net)

    def expected(n, seed):
        return PROMPT + text_of(gpt.write(ids_of(PROMPT), n, temperature, top_p, seed))

    assert browser.js(PAPER) == expected(40, 5)
    press(browser, "go")
    assert finish(browser) == expected(70, 5)  # it goes on from where the first text ended
    press(browser, "again")
    assert finish(browser) == expected(30, 6)
    shares = [p for _, p, *_ in gpt.write(ids_of(PROMPT), 30, temperature, top_p, 6)]
    assert browser.js(STEPS) == steps_of(shares)  # shaded as at temperature 1, whatever is drawn
    assert browser.js("return document.querySelector('.genai-seed').textContent") == "seed 6"
    assert browser.errors() == [] and browser.requests() == [page.as_uri()]


def test_sliders_change_what_is_drawn(browser, tmp_path):
    net = model()
    browser.open(write(tmp_path / "p.html", bundle(net)))
    browser.js(SET, "temperature", "0")
    browser.js(TYPE, "Juliet")
    press(browser, "go")
    greedy = "Juliet" + text_of(PageGPT(net).write(ids_of("Juliet"), 30, 0, 1.0, seed=1))
    assert finish(browser) == greedy
    browser.js(SET, "temperature", "2")
    browser.js(TYPE, "Juliet")
    press(browser, "go")
    hot = finish(browser)
    assert hot == "Juliet" + text_of(PageGPT(net).write(ids_of("Juliet"), 30, 2, 1.0, seed=1))
    browser.js(SET, "top_p", "0.05")  # only the likeliest is left
    browser.js(TYPE, "Juliet")
    press(browser, "go")
    assert finish(browser) == greedy != hot
    assert browser.js(VALUES) == ["2.00", "0.05"]


def test_unknown_letters_are_named_and_left_out(browser, tmp_path):
    net = model()
    browser.open(write(tmp_path / "p.html", bundle(net, temperature=0)))
    browser.js(TYPE, "Jul1et é😀é")
    assert "never seen it: 1 é 😀" in browser.js(STATUS)
    assert browser.js(PAPER) == "Julet "
    press(browser, "go")
    expected = "Julet " + text_of(PageGPT(net).write(ids_of("Julet "), 30, 0, 1.0, seed=1))
    assert finish(browser) == expected
    left_out = "Left out, as the model has never seen it: 1 é 😀"
    assert browser.js(STATUS) == f"Wrote 30 letters. {left_out}"
    assert browser.errors() == []


def test_an_empty_text_begins_after_a_line_break(browser, tmp_path):
    net = model()
    browser.open(write(tmp_path / "p.html", bundle(net, prompt="")))
    expected = text_of(PageGPT(net).write(ids_of("\n"), 30, 0.8, 1.0, seed=1))
    assert browser.js(PAPER)[:30] == expected
    browser.js(TYPE, "")
    press(browser, "go")
    assert finish(browser) == expected
    browser.js(TYPE, "123")  # nothing of it is known
    press(browser, "go")
    assert finish(browser) == expected


def test_a_prompt_that_begins_with_a_line_break_keeps_it(browser, tmp_path):
    net = model()
    browser.open(write(tmp_path / "p.html", bundle(net, prompt="\nA")))
    assert browser.js("return document.querySelector('textarea').value") == "\nA"
    first = browser.js(PAPER)
    assert first == "\nA" + text_of(PageGPT(net).write(ids_of("\nA"), 40, 0.8, 1.0, seed=1))


def test_it_stops_and_goes_on_by_keyboard(browser, tmp_path):
    net = model()
    browser.open(write(tmp_path / "p.html", bundle(net, length=1_000)))
    field = browser.driver.find_element(By.TAG_NAME, "textarea")
    field.send_keys(Keys.END, "x")
    assert browser.js(PAPER) == PROMPT + "x" and browser.js(RESTS)
    field.send_keys(Keys.CONTROL, Keys.ENTER)
    browser.wait(WRITES)
    browser.wait(PAPER.replace("return ", "return 20 < ") + ".length")
    button = browser.driver.find_element(By.CLASS_NAME, "genai-go")
    button.send_keys(Keys.ENTER)
    assert browser.js(RESTS)
    stopped = browser.js(PAPER)
    count = len(stopped) - len(PROMPT) - 1
    assert browser.js(STATUS) == f"Stopped after {count} letters." and 0 < count < 1_000
    assert browser.js("return document.querySelector('textarea').value") == PROMPT + "x"
    expected = PROMPT + "x" + text_of(PageGPT(net).write(ids_of(PROMPT + "x"), count, 0.8, 1.0, 1))
    assert stopped == expected
    button.send_keys(Keys.SPACE)
    browser.wait(PAPER.replace("return ", "return arguments[0] < ") + ".length", len(stopped))
    button.send_keys(Keys.ENTER)
    assert browser.js(PAPER).startswith(stopped) and browser.errors() == []


def test_readers_who_want_less_motion_see_many_letters_at_once(browser, tmp_path):
    browser.open(write(tmp_path / "p.html", bundle(length=20)), calm=True)
    browser.js("document.querySelector('textarea').dispatchEvent(new Event('input'))")
    lengths = browser.driver.execute_async_script("""
        const done = arguments[0], paper = document.querySelector('.genai-tokens'), seen = [];
        new MutationObserver(() => seen.push(paper.children.length - 1)).observe(paper,
            {childList: true});
        document.querySelector('.genai-go').click();
        setTimeout(() => done(seen), 500)""")
    assert lengths == [20]


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_pointer_finger_and_keys_show_what_was_likely(browser, tmp_path, width, dark):
    net = model()
    theme = ' data-theme="dark"' if dark else ""
    made = bundle(net, caption="Pocket.")
    browser.open(write(tmp_path / "p.html", made, made, theme=theme), width=width, wide=width < 600)
    written = PageGPT(net).write(ids_of(PROMPT), 40, 0.8, 1.0, seed=1)
    paper = browser.driver.find_element(By.CLASS_NAME, "genai-tokens")
    said = "return document.querySelector('.genai-picked').textContent"

    def expected(place):
        signs = {"\n": "↵", " ": "␣"}
        name = lambda token: signs.get(LETTERS[token], LETTERS[token])  # noqa: E731
        token, _, likely, _ = written[place]
        return [name(token), *map(name, likely)]

    def shown():
        return browser.js("return [...document.querySelector('.genai-picked')"
                          ".querySelectorAll('b')].map(b => b.textContent)")  # fmt: skip

    box = browser.js("const r = document.querySelectorAll('.genai-tokens > span')[4]"
                     ".getBoundingClientRect();"
                     "return [r.x + r.width / 2, r.y + r.height / 2]")  # fmt: skip
    if width < 600:
        touch = [{"x": box[0], "y": box[1]}]
        browser.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
        browser.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    else:
        browser.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    browser.wait(said + ".includes('Most likely')")
    assert shown() == expected(3)
    share = float(re.search(r"([\d.]+) %", browser.js(said))[1])
    assert share == pytest.approx(100 * written[3][1], abs=0.51)
    paper.send_keys(Keys.HOME)
    assert shown() == expected(0)
    paper.send_keys(Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert shown() == expected(2)
    paper.send_keys(Keys.END, Keys.ARROW_RIGHT)
    assert shown() == expected(39)
    assert browser.js(STEPS) == steps_of(p for _, p, *_ in written)
    other = browser.js("return document.querySelectorAll('.genai-picked')[1].textContent")
    assert other.startswith("Point at a letter")
    assert browser.overflow() == 0 and browser.errors() == []
