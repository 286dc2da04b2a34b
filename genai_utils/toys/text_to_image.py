"""A sentence that becomes a picture, step by step, in the page (chapter 29).

Three networks of the book's own: the textual tower of a CLIP as chapter 28's toy has one, a U-Net
on latents whose places look at the words, and the decoder of an autoencoder. They were trained
once, by `python -m genai_utils.toys.make text_to_image`; their weights are in the package, one byte
for each weight of a matrix. The page brings no image encoder: nothing has to be encoded there.
"""

import math
from pathlib import Path

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.display import page_bytes, pictures
from genai_utils.toys import scenes as toy_of_28
from genai_utils.toys.figure import part, toy_figure
from genai_utils.vision import scenes
from genai_utils.vision.cross_attention import TextEncoder, text_unet
from genai_utils.vision.image_coder import ImageCoder
from genai_utils.vision.latent_diffusion import LatentDiffusion

WEIGHTS = Path(__file__).with_name("weights")
CODER = {"width": 24, "latent": 8}
DENOISER = {"width": 32, "mults": (1, 2)}
WORLD = {"count": "one", "texture": "plain", "size": "large"}  # what all its scenes have in common
MOST = 900_000  # bytes of the figure
OPENING = "a purple heart"  # the sentence at first
EXAMPLES = (  # buttons; beside them those of `unseen_examples`
    "a yellow star", "a red 7 at the top left", "a picture of a blue circle on the right",
)  # fmt: skip
STEPS, GUIDANCE = 20, 2.0  # of the walk at first, and of those that are measured
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "text_to_image.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_decoder.js", "page_canvas.js", "page_bytes.js",
    "page_norm.js", "page_tower.js", "page_latent.js", "text_to_image.js",
)  # fmt: skip
ALT = (
    "A field for a sentence, the picture that three networks make of it step by step, the latent "
    "behind it, and the pictures on the way from noise."
)


# --- The networks ----------------------------------------------------------------------------


def blank_coder():
    """The untrained image encoder and decoder."""
    return ImageCoder(scenes.SIDE, **CODER)


def blank_clip():
    """The CLIP, untrained, whose textual tower becomes the text encoder: as in chapter 28's toy."""
    return toy_of_28.network()


def blank_text():
    """The text encoder, untrained."""
    return TextEncoder(blank_clip().textual, scenes.END)


def blank(coder, text):
    """The untrained denoiser beside the other two."""
    return LatentDiffusion(coder, text_unet(text, coder.side, coder.latent, **DENOISER))


def state_of(model):
    """What the page needs of a `LatentDiffusion`: text tower, denoiser, decoder, by name."""
    found = {f"text.{name}": weight for name, weight in model.text.stack.state_dict().items()}
    for name, weight in model.net.state_dict().items():
        if not name.startswith("condition.text."):
            found[f"net.{name}"] = weight
    for name, weight in model.coder.state_dict().items():
        if not name.startswith("encoder."):
            found[name] = weight.flatten() if name in ("shift", "scale") else weight
    return {name: weight.detach().float().cpu() for name, weight in found.items()}


def packed(state):
    """Weights as they are kept: matrices and kernels in int8 with a scale for each row, all other
    numbers in half precision: {"a": int8, "a|scale": float16, "b": float16}."""
    found = {}
    for name, weight in state.items():
        if weight.ndim < 2:
            found[name] = weight.half()
            continue
        scale = page_bytes.quantize(weight.flatten(1))[1].half()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # too small for a half
        whole = (weight.flatten(1) / scale.float()[:, None]).round().clamp(-127, 127)
        found[name] = whole.to(torch.int8).reshape(weight.shape).contiguous()
        found[f"{name}|scale"] = scale
    return found


def unpacked(kept):
    """The weights, in float32, that `packed` numbers stand for."""
    found = {}
    for name, weight in kept.items():
        if name.endswith("|scale"):
            continue
        weight = weight.float()
        if weight.ndim > 1:
            scale = kept[f"{name}|scale"].float()
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        found[name] = weight
    return found


def network(kept):
    """The model, without an image encoder that was trained, from weights as they are kept."""
    with torch.random.fork_rng(devices=[]):
        model = blank(blank_coder(), blank_text())
    state = unpacked(kept)
    expected = state_of(model)
    if state.keys() != expected.keys():
        odd = sorted(state.keys() ^ expected.keys())
        raise ValueError(f"weights: expected those of this model, {odd[0]} is odd.")
    with torch.no_grad():
        for name, weight in state.items():
            own = _own(model, name)
            own.copy_(weight.reshape(own.shape))
    return model.eval()


def _own(model, name):
    """The tensor of the model that has this name in the page."""
    if name.startswith("text."):
        return model.text.stack.state_dict()[name.removeprefix("text.")]
    if name.startswith("net."):
        return model.net.state_dict()[name.removeprefix("net.")]
    return model.coder.state_dict()[name]


def counts(model):
    """How many weights each network has in the page."""
    found = {"text": 0, "net": 0, "decoder": 0}
    for name, weight in state_of(model).items():
        part_of = name.partition(".")[0]
        found[part_of if part_of in found else "decoder"] += weight.numel()
    return found


def load():
    """The model of the package and its record. Raises DataError where a file is damaged."""
    return shipped.read(
        WEIGHTS / "text_to_image.safetensors",
        "text-to-image toy",
        "python -m genai_utils.toys.make text_to_image",
        lambda payload: network(safetensors.torch.load(payload)),
    )


# --- The page --------------------------------------------------------------------------------


def settings(model):
    """The sizes that the page's networks need."""
    text, net = model.text, model.net
    return {
        "text": {
            "width": text.width, "heads": text.stack.config.heads, "end": text.end,
            "context": text.context, "vocabulary": list(scenes.WORDS),
        },
        "denoiser": {
            "side": model.coder.side, "channels": model.coder.latent,
            "width": net.condition.width, "levels": len(net.down),
            "heads": net.attention.heads, "groups": net.norm.num_groups,
        },
    }  # fmt: skip


def latent_tile(z):
    """The maps of a latent (C, s, s) as one grey image, lines between them, in [0, 1]."""
    s, across = z.shape[-1], math.ceil(len(z) ** 0.5)
    tile = torch.full((-(-len(z) // across) * (s + 1) - 1, across * (s + 1) - 1), 0.5)
    for c, part_of in enumerate(z):
        row, column = c // across * (s + 1), c % across * (s + 1)
        tile[row : row + s, column : column + s] = 0.5 + part_of / 5
    return tile.clamp(0, 1)


def _source(image):
    """An image as a data URL."""
    return pictures.encode(pictures.from_array(image))


def words():
    """The words of the page's world in groups, for the reader to choose from.

    Those that no sentence of its training had are left out: other sizes and textures, plurals.
    """
    kinds, colours = list(scenes.KINDS), list(scenes.COLOURS)
    left_out = {"<end>", "are", "objects", *scenes.PLURALS.values()}
    for name, word in WORLD.items():
        left_out |= set(scenes.ATTRIBUTES[name]) - {word}
    left_out |= {*kinds, *colours}
    return [kinds, colours, [word for word in scenes.WORDS if word not in left_out]]


def unseen_examples():
    """A sentence of each of two held-out combinations of kind and colour."""
    found = []
    for kind in ("star", "cross"):
        row = scenes.HELD_OUT[scenes.KINDS.index(kind)].nonzero().flatten()[0]
        colour = list(scenes.COLOURS)[int(row)]
        found.append(scenes.caption(scenes.scene(kind=kind, colour=colour)))
    return found


def caption_of(model, record):
    """What the figure's caption says, with the record's numbers."""
    test, found = record["test"], counts(model)
    seen, unseen, others = (100 * test[name]["pair"] for name in ("seen", "unseen", "shuffled"))
    short = [100 * test[f"{name}, short"]["pair"] for name in ("seen", "unseen")]
    return (
        f"Three networks, computed in the page: a text encoder ({found['text']:,} weights), a "
        f"denoiser of latents ({found['net']:,}), a decoder ({found['decoder']:,}). A judge that "
        f"had no part in them finds kind and colour right in {seen:.0f} % of pictures of "
        f"combinations that they were trained on, in {unseen:.0f} % of those that they never saw, "
        f"such as “{unseen_examples()[0]}”; in {others:.0f} % where the sentences are shuffled. "
        f"These sentences say the place too; of those that say kind and colour only it is "
        f"{short[0]:.0f} and {short[1]:.0f} %. Guidance w = {record['guidance']:g}, "
        f"{record['steps of a walk']} steps."
    )


@torch.no_grad()
def bundle_of(model, record):
    """The figure of a model, with the record of its making."""
    weights = page_bytes.export(state_of(model))
    noise = model.noise(1, torch.Generator().manual_seed(7))
    noise = (100 * noise).round() / 100
    steps = list(model.frames(OPENING, STEPS, GUIDANCE, noise=noise))
    data = {
        **settings(model),
        "weights": weights,
        "start": [round(v, 2) for v in noise.flatten().tolist()],
        "opening": OPENING,
        "examples": [*EXAMPLES, *unseen_examples()],
        "words": words(),
        "steps": STEPS,
        "guidance": GUIDANCE,
    }
    end, early = steps[-1][1], steps[STEPS // 3][2]
    made = _source(model.coder.decode(end)[0])
    behind = _source(model.coder.decode(early)[0])
    latent = _source(latent_tile(end[0]))
    name = f"“{OPENING}”"
    after = f"after {STEPS // 3 + 1} of {STEPS} steps"
    numbers = f"its latent, {' × '.join(map(str, end[0].shape))}"
    body = (
        f'<div class="genai-toyrow genai-text-to-image">'
        f"{part('picture', name, f'A picture made of the words {OPENING}.', made)}"
        f"{part('latent', numbers, 'Grey maps.', latent)}"
        f"{part('past', after, 'An earlier picture.', behind)}</div>"
    )
    return toy_figure(
        "text_to_image", body, caption_of(model, record), data, "textToImage", SCRIPTS, STYLES, ALT,
        "Use fewer channels.", key=weights["bytes"], most=MOST,
    )  # fmt: skip


def bundle():
    """The output that `play("text_to_image")` displays."""
    return bundle_of(*load())
