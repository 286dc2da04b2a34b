"""One base, two adapters, two sliders: a small GPT writes between three styles, in the page.

The base has read Wikipedia, an adapter Shakespeare, another one NumPy's manual. The page adds
s · (α / r) B A of each to the base's matrices, writes with the sum, and measures it on three texts.
`make_lora` trains them.
"""

import base64
from importlib.resources import files

import safetensors.torch
import torch
import torch.nn.functional as F

from genai_utils.data import shipped
from genai_utils.display.output import escape
from genai_utils.display.page_gpt import PageGPT
from genai_utils.language import lora
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.toys.figure import toy_figure

WEIGHTS = files("genai_utils.toys") / "weights"
SIGNS = "\n" + "".join(map(chr, range(32, 127)))  # a line end, and what a typewriter had
CONFIG = GPTConfig(len(SIGNS), context=64, layers=2, heads=4, dim=64)
RANK, ADAPTERS = 4, ("shakespeare", "manual")
PIECE = 64  # letters of each text on which the page measures
TITLES = {"wikipedia": "Wikipedia", "shakespeare": "Shakespeare", "manual": "NumPy's manual"}
START, SEED, TEMPERATURE, LENGTH = (1.0, 0.0), 1, 0.7, 260  # how it opens; letters that it writes
MOST = 4.5  # nats, the end of a bar
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "lora.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_canvas.js", "page_gpt.js", "sampling.js", "lora.js",
)  # fmt: skip
ALT = (
    "Two sliders, the strengths of two adapters, Shakespeare and NumPy's manual; the text that a "
    "small GPT with them writes; and its loss on a piece of Wikipedia, Shakespeare and the manual."
)


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


def at(model, strengths):
    """The model with each adapter at its strength, merged: a plain GPT."""
    return lora.plain(lora.switch(model, dict(zip(ADAPTERS, strengths, strict=True))))


@torch.no_grad()
def piece_nats(model, text):
    """Mean negative log-likelihood of a piece of text, nats per letter, as the page measures it."""
    ids = encode(text)
    return F.cross_entropy(model(ids[None, :-1])[0], ids[1:]).item()


def adapter_half(model, name):
    """A and B of each matrix, in the order of the page's weights, as base64 of half precision."""
    layers = lora.lora_layers(model)
    found = []
    for i in range(CONFIG.layers):
        for part in lora.TARGETS:
            layer = layers[f"blocks.{i}.{part}"]
            found += [layer.A[name].detach().flatten(), layer.B[name].detach().flatten()]
    return base64.b64encode(torch.cat(found).half().numpy().tobytes()).decode()


def opening(model):
    """What stands in the page before its script runs."""
    summed = at(model, START)
    page = PageGPT(summed)
    page.weights = summed.state_dict()  # as the page sums them, not rounded once more
    written = page.write(encode("\n").tolist(), LENGTH, TEMPERATURE, 1.0, SEED)
    return "".join(SIGNS[token] for token, *_ in written)


def bundle():
    """The output that ``play("lora")`` displays."""
    model, record = load()
    base = lora.plain(lora.switch(model, None))
    data = {
        "characters": SIGNS,
        "gpt": PageGPT(base).export(),
        "rank": RANK,
        "adapters": [
            {"title": TITLES[name], "start": start, "scale": lora.ALPHA / RANK,
             "half": adapter_half(model, name)}
            for name, start in zip(ADAPTERS, START, strict=True)
        ],
        "pieces": [
            {"title": TITLES[name], "text": text} for name, text in record["pieces"].items()
        ],
        "seed": SEED,
        "temperature": TEMPERATURE,
        "length": LENGTH,
        "most": MOST,
    }  # fmt: skip
    nats, told = record["nats"], []
    for name in ADAPTERS:
        before, after = nats["none"][name], nats[name][name]
        told.append(f"of {TITLES[name]} from {before:.2f} to {after:.2f}")
    caption = (
        f"A GPT of {record['parameters']:,} weights that read Wikipedia, and two adapters of rank "
        f"{RANK}, {record['adapter']:,} weights each, computed in the page. The base is frozen: it "
        f"is the same wherever the sliders stand. Alone, each adapter brings the loss down "
        f"{', '.join(told)} nats per letter (20,000 held-out letters each). The texts are drawn at "
        f"temperature {TEMPERATURE}."
    )
    body = f'<div class="genai-lora"><div class="genai-paper">{escape(opening(model))}</div></div>'
    return toy_figure(
        "lora", body, caption, data, "loraToy", SCRIPTS, STYLES, ALT,
        "Use fewer layers or channels.", key=data["gpt"]["weights"],
    )  # fmt: skip
