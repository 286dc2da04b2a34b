"""Noise that becomes a digit, step by step, in the page (chapter 27).

The network is the chapter's U-Net, small, for digits of 14 by 14 pixels, told the class. It was
trained once, by `python -m genai_utils.toys.make denoise`; its weights are in the package.
"""

import base64
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from genai_utils.data import shipped
from genai_utils.display import pictures
from genai_utils.toys.figure import part, toy_figure
from genai_utils.vision.diffusion import DDPM, denoised

WEIGHTS = Path(__file__).with_name("weights")
SIDE = 14
SETTINGS = {"width": 12, "mults": (1, 2), "classes": 10}
LEVELS = 50  # times between data and noise at which the page can be
OPENING = 3  # the digit that is asked for at first
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "denoise.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_decoder.js", "page_canvas.js", "page_norm.js",
    "page_unet.js", "denoise.js",
)  # fmt: skip
ALT = (
    "An image of noise into which one can draw, what the network sees behind it, and the images on "
    "the way from noise to digit."
)


def coarse(x):
    """MNIST's digits (N, 1, 28, 28) at 14 by 14 pixels, each the mean of four."""
    return F.avg_pool2d(x, 2)


def network(state=None):
    """The model; state: its network's weights, as they are kept."""
    with torch.random.fork_rng(devices=[], enabled=state is not None):
        model = DDPM(SIDE, **SETTINGS)
    if state is not None:
        net = model.chain.net
        net.load_state_dict({name: state[name].float() for name in net.state_dict()})
    return model


def load():
    """The model of the package and its record. Raises DataError where a file is damaged."""
    make = "python -m genai_utils.toys.make denoise"
    return shipped.read(
        WEIGHTS / "denoise.safetensors",
        "denoising toy",
        make,
        lambda payload: network(safetensors.torch.load(payload)).eval(),
    )


def exported(net):
    """Names and shapes of all weights, and all of them in half precision, for the page."""
    state = net.state_dict()
    flat = torch.cat([weight.flatten() for weight in state.values()]).numpy()
    half = base64.b64encode(flat.astype(np.dtype("<f2")).tobytes()).decode()
    return [[name, list(weight.shape)] for name, weight in state.items()], half


def _source(image):
    """A grey image (H, W) in [-1, 1] as a data URL."""
    return pictures.encode(pictures.from_array(((image + 1) / 2).clamp(0, 1)))


@torch.no_grad()
def bundle():
    """The output that `play("denoise")` displays."""
    model, record = load()
    chain, net = model.chain, model.chain.net
    times = list(reversed(chain.times(LEVELS)))  # 0, 20, …, 1,000
    start = torch.randn(SIDE**2, generator=torch.Generator().manual_seed(4))
    start = (100 * start).round() / 100
    shapes, half = exported(net)
    data = {
        "side": SIDE,
        "width": SETTINGS["width"],
        "levels": len(SETTINGS["mults"]),
        "heads": net.attention.heads,
        "groups": net.norm.num_groups,
        "classes": SETTINGS["classes"],
        "shapes": shapes,
        "weights": half,
        "times": times,
        "bars": [float(f"{bar:.7g}") for bar in chain.bar[times].tolist()],
        "start": [round(v, 2) for v in start.tolist()],
        "opening": OPENING,
    }
    x = start.reshape(1, 1, SIDE, SIDE)
    t, y = torch.tensor([chain.T]), torch.tensor([OPENING])
    guess = denoised(x, chain.eps(x, t, y), chain.bar[t]).clamp(-1, 1)
    end, _ = chain.walk(x, times[::-2], y, guidance=1.0, eta=0.0)
    noise, guess, end = (_source(image[0, 0]) for image in (x, guess, end))
    measured = record["test"]
    caption = (
        f"The chapter's U-Net, {record['parameters']:,} weights, trained on {record['images']:,} "
        f"MNIST digits of {SIDE} × {SIDE} pixels; guidance w = 1. Of digits that were asked for, "
        f"in 25 steps and without guidance, a judge reads {100 * measured['right']:.1f} % as "
        f"such; of real digits made as coarse {100 * measured['real']:.1f} %."
    )
    body = (
        f'<div class="genai-toyrow genai-denoise">'
        f"{part('now', 'the image now: draw into it', 'Noise.', noise)}"
        f"{part('seen', 'what it sees behind it', 'A grey guess.', guess)}"
        f"{part('past', 'the walk so far', f'A {OPENING} that was made of it.', end)}</div>"
    )
    return toy_figure(
        "denoise", body, caption, data, "denoise", SCRIPTS, STYLES, ALT, "Use fewer channels.",
        key=half,
    )  # fmt: skip
