"""Noise that becomes a digit, step by step, in the page (chapter 27).

The network is the chapter's U-Net, small, for digits of 14 by 14 pixels, told the class. It was
trained once, by `python -m genai_utils.toys.make denoise`; its weights are in the package.
"""

from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from genai_utils.data import shipped
from genai_utils.vision.diffusion import DDPM

WEIGHTS = Path(__file__).with_name("weights")
SIDE = 14
SETTINGS = {"width": 12, "mults": (1, 2), "classes": 10}


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
