"""One base, two adapters, two sliders: a small GPT writes between three styles, in the page.

The base has read Wikipedia, an adapter Shakespeare, another one NumPy's manual. The page adds
s · (α / r) B A of each to the base's matrices, writes with the sum, and measures it on three texts.
`make_lora` trains them.
"""

from importlib.resources import files

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.language import lora
from genai_utils.language.gpt import GPT, GPTConfig

WEIGHTS = files("genai_utils.toys") / "weights"
SIGNS = "\n" + "".join(map(chr, range(32, 127)))  # a line end, and what a typewriter had
CONFIG = GPTConfig(len(SIGNS), context=96, layers=2, heads=4, dim=64)
RANK, ADAPTERS = 4, ("shakespeare", "manual")
PIECE = 96  # letters of each text on which the page measures


def encode(text):
    """The letters of a text that the model has a sign for, (T,) int64."""
    index = {sign: i for i, sign in enumerate(SIGNS)}
    return torch.tensor([index[sign] for sign in text if sign in index])


def decode(ids):
    """The text of ids (T,)."""
    return "".join(SIGNS[i] for i in ids.tolist())


def blank():
    """The untrained model with its adapters; the random numbers of its start are nobody's."""
    with torch.random.fork_rng(devices=[]):
        model = GPT(CONFIG).eval()
        for name in ADAPTERS:
            lora.add_adapter(model, name, RANK)
    return model


def build(payload):
    """The model of a file's bytes: a GPT with both adapters, all off."""
    state, model, found = safetensors.torch.load(payload), blank(), {}
    for name, weight in state.items():
        part, _, kind = name.rpartition(".")
        if kind == "whole":
            found[part] = weight.float() * state[f"{part}.scale"].float()[:, None]
        elif kind != "scale":
            found[name] = weight.float()
    layers = lora.lora_layers(model)
    at = lambda name: name.rpartition(".")[0]  # noqa: E731
    named = {
        name.replace(at(name), f"{at(name)}.base") if at(name) in layers else name: weight
        for name, weight in found.items()
    }
    model.load_state_dict(named)
    return lora.switch(model, None).eval()


def load():
    """The model with its adapters and the record of its making.

    Raises DataError where they are damaged.
    """
    make = "python -m genai_utils.toys.make lora"
    return shipped.read(WEIGHTS / "lora.safetensors", "LoRA toy", make, build)
