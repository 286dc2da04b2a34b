"""The page's numbers are PyTorch's: products, convolutions, gradients, Adam; what it draws."""

import base64

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from torch import nn

from genai_utils.display.output import static, stylesheet
from genai_utils.display.page_bytes import quantize
from genai_utils.display.page_gpt import _mulberry32

NUMBERS = ("page_random.js", "page_math.js", "page_norm.js", "page_learn.js",
           "page_tower.js")  # fmt: skip
DRAWINGS = ("page_canvas.js", "page_ink.js", "page_fields.js")


@pytest.fixture
def page(browser, tmp_path):
    """A page that has all files; `page(script, *arguments)` is what the script returns."""

    def opened(width=1200, dark=False, **options):
        theme = ' data-theme="dark"' if dark else ""
        file = tmp_path / "p.html"
        file.write_text(
            f'<!doctype html><html lang="en"{theme}><meta charset="utf-8"><title>t</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"{stylesheet('figure.css', 'controls.css', 'toys.css')}"
            f'<figure class="genai" id="root" style="width:300px;margin:0"></figure>'
            f"<script>{static(*NUMBERS, *DRAWINGS)}\nconst f32 = (x) => Float32Array.from(x);"
            "const root = document.getElementById('root');</script>",
            encoding="utf-8",
        )
        browser.open(file, width=width, **options)
        return browser.js

    opened.browser = browser
    yield opened
    assert browser.errors() == []


def flat(tensor):
    return tensor.detach().flatten().tolist()


def close(found, expected, within=1e-5):
    expected = expected.detach().double().flatten().numpy()
    assert np.abs(np.array(found) - expected).max() < within * max(1, np.abs(expected).max())


# -- numbers ---------------------------------------------------------------------------------------


def test_weights_of_half_precision_and_of_one_byte_are_read(page):
    js = page()
    numbers = torch.randn(200) * torch.logspace(-8, 4, 200)
    packed = base64.b64encode(numbers.numpy().astype("<f2").tobytes()).decode()
    assert js("return [...unpackHalf(arguments[0])]", packed) == numbers.half().float().tolist()
    whole, scale = quantize(torch.randn(7, 11) * torch.logspace(-3, 3, 7)[:, None])
    script = "return [...unpackBytes(Int8Array.from(arguments[0]), f32(arguments[1]))]"
    close(js(script, flat(whole), flat(scale)), whole * scale[:, None], 1e-7)


def test_random_numbers_are_uniform_and_normal_and_a_seed_decides(page):
    js = page()
    seeded = _mulberry32(12)
    uniform = "const r = randomNumbers(12); return Array.from({length: 50}, r)"
    assert js(uniform) == [next(seeded) for _ in range(50)]
    normal = "const r = normalNumbers(randomNumbers(3)); return Array.from({length: 20000}, r)"
    numbers = js(normal)
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
    assert js(normal) == numbers


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", F.relu),
        ("leaky", lambda v: F.leaky_relu(v, 0.2)),
        ("silu", F.silu),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda v: F.gelu(v, approximate="tanh")),
        ("tanh", torch.tanh),
        ("sigmoid", torch.sigmoid),
    ],
)
def test_activations_and_their_derivatives(page, name, function):
    v = torch.linspace(-6, 6, 121).double()[torch.arange(121) != 60].requires_grad_()  # not 0
    y = function(v)
    y.sum().backward()
    found = page()(f"return activations.{name}.map((f) => arguments[0].map((v) => f(v, 0.2)))",
                   flat(v))  # fmt: skip
    close(found[0], y, 1e-6)
    close(found[1], v.grad, 1e-5)


def test_softmax_and_layer_norm_of_rows(page):
    js, x = page(), torch.randn(5, 7) * 30
    soft = "return [...softmax(f32(arguments[0]), arguments[1], 7)]"
    close(js(soft, flat(x), 1), x.softmax(-1))
    close(js(soft, flat(x), 0.25), (x / 0.25).softmax(-1))
    close(js("return [...softmax(f32(arguments[0]))]", flat(x)), x.flatten().softmax(0))
    weight, bias = torch.randn(7), torch.randn(7)
    norm = "return [...layerNorm(f32(arguments[0]), f32(arguments[1]), f32(arguments[2]), 0.03)]"
    close(js(norm, flat(x), flat(weight), flat(bias)), F.layer_norm(x, (7,), weight, bias, 0.03))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("size", [3.0, 1e-2])  # so small that what is added to the variance counts
def test_norms_of_groups_of_channels(page, groups, size):
    js, x = page(), size * torch.randn(6, 4, 5) + torch.randn(6, 1, 1)
    weight, bias = torch.randn(6), torch.randn(6)
    norm = "const [x, w, b, ...of] = arguments; return [...groupNorm(...[x, w, b].map(f32), ...of)]"
    expected = F.group_norm(x[None], groups, weight, bias)[0]
    close(js(norm, flat(x), flat(weight), flat(bias), groups), expected, 1e-4)
    rows, expected = x.permute(1, 2, 0), expected.permute(1, 2, 0)  # places, and their channels
    close(js(norm, flat(rows), flat(weight), flat(bias), groups, True), expected, 1e-4)


@pytest.mark.parametrize("turn_a", [False, True])
@pytest.mark.parametrize("turn_b", [False, True])
def test_products_of_matrices(page, turn_a, turn_b):
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    given = flat(a.T if turn_a else a), flat(b.T if turn_b else b)
    script = """return [...matmul(f32(arguments[0]), f32(arguments[1]), 3, 4, 5,
                                  {turnA: arguments[2], turnB: arguments[3]})]"""
    close(page()(script, *given, turn_a, turn_b), a @ b)


CONVOLVE = """
const [x, weight, bias, step] = arguments;
return [...convolve(f32(x), step, f32(weight), bias && f32(bias))]
"""
GRADIENT = """
const [x, weight, g, step] = arguments;
const found = convolveGradient(f32(x), step, f32(weight), f32(g));
return ['x', 'weight', 'bias'].map((name) => [...found[name]])
"""


@pytest.mark.parametrize("rows, wide, outputs", [(1, 5, 1), (2, 8, 4), (3, 7, 6), (17, 48, 11)])
def test_linear_layers_by_blocks(page, rows, wide, outputs):
    """Whole blocks of two rows and four outputs, and what is left of them."""
    x, weight, bias = torch.randn(rows, wide), torch.randn(outputs, wide), torch.randn(outputs)
    found = page()(
        "return [...quickLinear(...[...arguments].map(f32))]", *map(flat, (x, weight, bias))
    )
    assert len(found) == rows * outputs
    close(found, F.linear(x.double(), weight.double(), bias.double()), 1e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((3, 3), (1, 1), (1, 1)), ((3, 4), (2, 1), (0, 2)), ((1, 1), (1, 1), (0, 0)),
     ((5, 2), (3, 2), (2, 0))],
)  # fmt: skip
def test_convolutions_and_their_gradients(page, kernel, stride, padding):
    js = page()
    x = torch.randn(3, 7, 9, requires_grad=True)
    weight, bias = (torch.randn(4, 3, *kernel, requires_grad=True),
                    torch.randn(4, requires_grad=True))  # fmt: skip
    y = F.conv2d(x[None], weight, bias, stride, padding)[0]
    step = {"op": "conv", "kernel": kernel, "stride": stride, "padding": padding,
            "from": list(x.shape), "to": list(y.shape)}  # fmt: skip
    close(js(CONVOLVE, flat(x), flat(weight), flat(bias), step), y)
    g = torch.randn_like(y)
    y.backward(g)
    found = js(GRADIENT, flat(x), flat(weight), flat(g), step)
    for numbers, expected in zip(found, (x.grad, weight.grad, bias.grad), strict=True):
        close(numbers, expected)
    up = torch.randn(3, 4, *kernel)  # transposed: (in, out, kh, kw)
    back = F.conv_transpose2d(x[None], up, None, stride, padding)[0]
    step |= {"op": "convT", "to": list(back.shape)}
    close(js(CONVOLVE, flat(x), flat(up), None, step), back)


def torch_mlp(sizes, act):
    layers = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


MLP = """
const [sizes, activation, parameters, x, g] = arguments;
const net = mlp(sizes, {activation, slope: 0.2});
net.parameters.set(parameters);
const trace = net.forward(f32(x));
const back = net.backward(trace, f32(g));
return [trace.output, back.parameters, back.x].map((part) => [...part])
"""


@pytest.mark.parametrize(
    ("sizes", "name", "act"),
    [([2, 16, 16, 3], "silu", nn.SiLU), ([3, 5], "relu", nn.ReLU), ([4, 8, 1], "gelu", nn.GELU),
     ([2, 7, 5, 6, 2], "leaky", lambda: nn.LeakyReLU(0.2)), ([1, 9, 2], "tanh", nn.Tanh)],
)  # fmt: skip
def test_an_mlp_and_its_gradients(page, sizes, name, act):
    torch.manual_seed(0)
    net = torch_mlp(sizes, act)
    x = torch.randn(6, sizes[0], requires_grad=True)
    y = net(x)
    g = torch.randn_like(y)
    y.backward(g)
    own = list(net.parameters())
    parameters = [v for p in own for v in flat(p)]
    output, found, to_x = page()(MLP, sizes, name, parameters, flat(x), flat(g))
    close(output, y)
    close(found, torch.cat([p.grad.flatten() for p in own]))
    close(to_x, x.grad)


def test_an_mlp_starts_as_pytorchs_linear_layers_do(page):
    js = page()
    script = """const net = mlp([100, 200, 4], {random: randomNumbers(arguments[0])});
                return net.layers.map(({weight, bias}) => [[...weight], [...bias]])"""
    layers = js(script, 1)
    for (weight, bias), fan_in in zip(layers, (100, 200), strict=True):
        assert np.abs(weight).max() <= fan_in**-0.5 and np.abs(bias).max() <= fan_in**-0.5
        assert np.std(weight) == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)
    assert js(script, 1) == layers != js(script, 2)


@pytest.mark.parametrize(
    ("name", "loss", "target"),
    [
        ("squaredError", F.mse_loss, torch.randn(8, 3)),
        ("crossEntropy", F.cross_entropy, torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])),
        ("coinEntropy", F.binary_cross_entropy_with_logits, torch.rand(8, 3)),
    ],
)
def test_losses_and_their_gradients(page, name, loss, target):
    y = (torch.randn(8, 3) * 20).requires_grad_()
    expected = loss(y, target)
    expected.backward()
    script = f"""const {{loss, gradient}} = {name}(f32(arguments[0]), arguments[1]);
                 return [loss, [...gradient]]"""
    found = page()(script, flat(y), flat(target))
    assert found[0] == pytest.approx(expected.item(), rel=1e-5)
    close(found[1], y.grad)


TRAIN = """
const [sizes, parameters, x, labels, steps] = arguments;
const net = mlp(sizes);
net.parameters.set(parameters);
const move = adam(net.parameters, {rate: 0.02, betas: [0.8, 0.95], eps: 1e-6});
const losses = [];
for (let i = 0; i < steps; i++) {
  const trace = net.forward(f32(x));
  const {loss, gradient} = crossEntropy(trace.output, labels);
  losses.push(loss);
  move(net.backward(trace, gradient).parameters);
}
return [losses, [...net.parameters]]
"""


def test_adam_trains_as_pytorchs_adam_does(page):
    torch.manual_seed(0)
    sizes, steps = [2, 12, 12, 2], 60
    net = torch_mlp(sizes, nn.SiLU)
    x = torch.randn(40, 2)
    labels = (x.prod(dim=1) > 0).long()
    start = [v for p in net.parameters() for v in flat(p)]
    losses, parameters = page()(TRAIN, sizes, start, flat(x), labels.tolist(), steps)
    adam = torch.optim.Adam(net.parameters(), lr=0.02, betas=(0.8, 0.95), eps=1e-6)
    expected = []
    for _ in range(steps):
        adam.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        adam.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, atol=1e-4)
    assert expected[-1] < 0.5 * expected[0]
    close(parameters, torch.cat([p.flatten() for p in net.parameters()]), 1e-3)


# -- drawings --------------------------------------------------------------------------------------

CANVAS = """
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [200, 100];
const pen = canvas.getContext('2d', {willReadFrequently: true});
const range = [-2, 2, -1, 1], at = plane(range, 200, 100);
const seen = (x, y) => [...pen.getImageData(Math.round(at.x(x)), Math.round(at.y(y)), 1, 1).data];
"""


def test_a_plane_maps_both_ways(page):
    found = page()(f"{CANVAS} return [at.x(-2), at.x(1), at.y(1), at.y(-0.5), at.u(150), at.v(75)]")
    assert found == [0, 150, 0, 75, 1, -0.5]


def test_a_contour_lies_on_its_level(page):
    js = page()
    plane = "sampleField((x, y) => 3 * x - y, 5, 9, [-2, 2, -1, 1])"
    pieces = np.array(js(f"return contour({plane}, 5, 9, [-2, 2, -1, 1], 0.7)")).reshape(-1, 2)
    assert np.abs(3 * pieces[:, 0] - pieces[:, 1] - 0.7).max() < 1e-6 and len(pieces) > 8
    assert pieces[:, 1].min() == -1 and pieces[:, 1].max() == 1  # from edge to edge
    ring = "sampleField((x, y) => x * x + y * y, 81, 81, [-1, 1, -1, 1])"
    pieces = np.array(js(f"return contour({ring}, 81, 81, [-1, 1, -1, 1], 0.5)"))
    radius = np.hypot(*pieces.reshape(-1, 2).T)
    assert np.abs(radius - 0.5**0.5).max() < 1e-3
    length = np.hypot(pieces[:, 2] - pieces[:, 0], pieces[:, 3] - pieces[:, 1]).sum()
    assert length == pytest.approx(2 * np.pi * 0.5**0.5, rel=1e-3)  # all of it, and once


@pytest.mark.parametrize("dark", [False, True])
def test_colours_begin_at_the_page_and_grow_apart_from_it(page, dark):
    script = """const {sequential, diverging} = ramps(themeOf(root));
    const t = Array.from({length: 21}, (_, i) => i / 20);
    return [themeOf(root).dark, t.map(sequential), t.map(diverging), themeOf(root).card]"""
    found, sequential, diverging, card = page(dark=dark)(script)
    assert found is dark
    ground = [int(card[i : i + 2], 16) for i in (1, 3, 5)]
    assert sequential[0] == diverging[10] == ground
    light = np.array(sequential) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all() if dark else (np.diff(light) < 0).all()
    assert abs(light[-1] - light[0]) > 150
    side = np.array(diverging) @ [0.2126, 0.7152, 0.0722] - light[0]
    assert (np.abs(side[[0, -1]]) > 60).all()
    assert diverging[0][2] > diverging[0][0] and diverging[-1][0] > diverging[-1][2]  # blue, orange


def test_a_field_is_drawn_where_its_numbers_are(page):
    script = f"""{CANVAS}
    const values = sampleField((x, y) => (x + 2) / 8 + (y + 1) / 4, 41, 81, range);
    drawField(pen, values, 41, 81, 200, 100, ramp('#000000', '#ffffff'));
    return [[-1.9, -0.9], [1.9, -0.9], [-1.9, 0.9], [1.9, 0.9], [0.5, 0.2]].map((p) => seen(...p))
    """
    places = np.array([[-1.9, -0.9], [1.9, -0.9], [-1.9, 0.9], [1.9, 0.9], [0.5, 0.2]])
    expected = 255 * ((places[:, 0] + 2) / 8 + (places[:, 1] + 1) / 4)
    found = np.array(page()(script))
    assert np.abs(found[:, 0] - expected).max() < 4 and (found[:, 3] == 255).all()


def test_arrows_point_where_the_field_points(page):
    script = f"""{CANVAS}
    pen.lineWidth = 3;
    drawArrows(pen, at, (x, y) => [0, x > 0 ? 1 : -1], range, 4);
    const column = (x) => [-0.5, 0.5].flatMap((y) => [-0.4, 0.4].map((d) => {{
      const spread = [-0.1, 0.1].map((side) => seen(x + side, y + 0.6 * d)[3]);
      return spread[0] > 0 && spread[1] > 0;
    }}));
    return [column(0.5), column(-0.5), seen(0.5, 0.5)[3], seen(0.5, 0)[3] + seen(0, 0.5)[3]]"""
    up, down, middle, between = page()(script)
    assert up == [False, True] * 2 and down == [True, False] * 2  # the head is the wide end
    assert middle > 0 and between == 0


def test_a_grid_is_bent_by_its_map(page):
    script = f"""{CANVAS}
    pen.lineWidth = 2;
    drawBentGrid(pen, at, (x, y) => [x, y + 0.25 * x * x], [-1, 1, -1, 0], 2);
    return [[0, -0.95], [0.9, -1 + 0.25 * 0.81], [-0.5, 0.0625], [0.5, -0.4375], [0, -0.3],
            [1, -0.5], [0.9, -1 + 0.05], [0.5, -0.2]].map((p) => seen(...p)[3] > 0)"""
    assert page()(script) == [True] * 6 + [False] * 2


SURFACE = """
const canvas = document.createElement('canvas');
canvas.style.cssText = 'display:block;width:200px;height:100px';
root.append(canvas);
window.drawn = [];
surface(root, canvas, (pen, width, height, theme) => {
  drawn.push([width, height, canvas.width, canvas.height, theme.dark]);
});
"""


def test_a_surface_is_sharp_and_follows_size_and_theme(page):
    js = page()
    page.browser.cdp("Emulation.setDeviceMetricsOverride", width=800, height=600,
                     deviceScaleFactor=2, mobile=False)  # fmt: skip
    js(SURFACE)
    last = "return JSON.stringify(drawn.at(-1)) === JSON.stringify(arguments[0])"
    page.browser.wait(last, [200, 100, 400, 200, False])
    js("document.documentElement.dataset.theme = 'dark'")
    page.browser.wait(last, [200, 100, 400, 200, True])
    js("root.firstElementChild.style.width = '150px'")
    page.browser.wait(last, [150, 100, 300, 200, True])


def test_sliders_menus_and_buttons_say_what_was_chosen(page):
    js = page()
    js("""window.heard = [];
    const options = {min: 1, max: 8, value: 3, say: (v) => v + ' centres'};
    const one = slider('K', options, (v) => heard.push(v));
    const two = menu('start', {a: 'first', b: 'second'}, (v) => heard.push(v));
    root.append(...one.row, two.row, button('Go', () => heard.push('go')));""")
    root = page.browser.driver.find_element(By.ID, "root")
    assert root.find_element(By.TAG_NAME, "output").text == "3 centres"
    root.find_element(By.TAG_NAME, "input").send_keys(Keys.ARROW_RIGHT)
    root.find_element(By.TAG_NAME, "select").send_keys("second")
    root.find_element(By.TAG_NAME, "button").click()
    assert js("return heard") == [4, "b", "go"]
    assert root.find_element(By.TAG_NAME, "output").text == "4 centres"
    assert root.find_element(By.TAG_NAME, "input").accessible_name == "K"
    assert root.find_element(By.TAG_NAME, "select").accessible_name == "start"


INK = """
window.changes = 0;
const box = element('div', {className: 'genai-inkbox'});
root.append(box);
window.field = inkField(box, {name: 'A field', size: 100, width: 10, change: () => changes++});
"""
AT = "return arguments[0].map(([x, y]) => field.ink()[100 * y + x])"


@pytest.mark.parametrize("width", [1200, 390])
def test_one_draws_with_mouse_or_finger(page, width):
    js = page(width)
    js(INK)
    page.browser.wait("return changes === 1")  # it was cleared
    assert js("return Math.max(...field.ink())") == 0
    left, top, side = js("const b = field.canvas.getBoundingClientRect();"
                         "return [b.left, b.top, b.width]")  # fmt: skip
    path = [(left + x * side, top + 0.4 * side) for x in (0.2, 0.5, 0.8)]
    if width < 600:
        for kind, points in zip(("Start", "Move", "Move", "End"), [*path, None], strict=True):
            touch = [{"x": points[0], "y": points[1]}] if points else []
            page.browser.cdp("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=touch)
    else:
        kinds = ("mousePressed", "mouseMoved", "mouseMoved")
        for kind, (x, y) in zip(kinds, path, strict=True):
            page.browser.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                             buttons=1, clickCount=1)  # fmt: skip
        page.browser.cdp("Input.dispatchMouseEvent", type="mouseReleased", x=path[2][0],
                         y=path[2][1], button="left", clickCount=1)  # fmt: skip
        page.browser.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=left + 0.5 * side,
                         y=top + 0.9 * side)  # fmt: skip
    page.browser.wait("return changes > 1")
    assert js(AT, [[21, 40], [35, 40], [65, 40], [79, 40]]) == [1] * 4
    assert js(AT, [[50, 50], [50, 88], [10, 40], [90, 40]]) == [0] * 4
    js("field.clear()")
    assert js("return Math.max(...field.ink())") == 0


def test_one_draws_with_keys(page):
    js = page()
    js(INK)
    canvas = page.browser.driver.find_element(By.TAG_NAME, "canvas")
    assert "Space" in canvas.accessible_name and canvas.get_attribute("tabindex") == "0"
    canvas.send_keys(*[Keys.ARROW_LEFT] * 7)  # a quarter, with the pen in the air
    assert js("return Math.max(...field.ink())") == 0
    canvas.send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 7, Keys.SPACE, *[Keys.ARROW_RIGHT] * 7)
    assert js(AT, [[25, 50], [25, 60], [25, 74]]) == [1] * 3
    assert js(AT, [[25, 40], [40, 75], [50, 75]]) == [0] * 3
    canvas.send_keys(Keys.SPACE, Keys.BACKSPACE)
    assert js("return Math.max(...field.ink())") == 0


def test_an_image_is_shown_pixel_by_pixel(page):
    js = page()
    js(INK)
    js("field.show(f32([0, 1, 0.2, 0]), 2)")
    assert js(AT, [[49, 49], [50, 49], [49, 50], [50, 50]]) == pytest.approx([0, 1, 0.2, 0])


@pytest.mark.parametrize("calm", [False, True])
def test_what_moves_starts_when_it_is_seen(page, calm):
    js = page(calm=calm)
    js("""root.style.cssText += 'margin-top:3000px;height:100px';
          window.starts = 0; whenSeen(root, () => starts++)""")
    page.browser.js("return new Promise((done) => setTimeout(done, 150))")
    assert js("return starts") == 0
    js("root.scrollIntoView()")
    if calm:
        page.browser.js("return new Promise((done) => setTimeout(done, 300))")
        assert js("return starts") == 0
    else:
        page.browser.wait("return starts === 1")
