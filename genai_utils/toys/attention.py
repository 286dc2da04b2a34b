"""The reader's own text in a small transformer: point at a letter, see where each head looks.

The model has two layers and was trained on random letters in which pieces come again, so that all
it can know of a text is what repeats in it. `make_attention` trains it and measures its heads.
"""

from importlib.resources import files

import safetensors.torch
import torch
from matplotlib.figure import Figure

from genai_utils.data import shipped
from genai_utils.display import pictures
from genai_utils.display.figures import COLORS
from genai_utils.display.output import (
    Bundle,
    escape,
    figcaption,
    require_size,
    script,
    stylesheet,
    unique_id,
)
from genai_utils.display.page_gpt import PageGPT, quantized_copy
from genai_utils.language.gpt import GPT, GPTConfig

WEIGHTS = files("genai_utils.toys") / "weights"
SIGNS = "abcdefghijklmnopqrstuvwxyzäöüß .,'-?!:;\""
CONFIG = GPTConfig(vocabulary=len(SIGNS), context=40, layers=2, heads=2, dim=48)
TEXT = "anna met otto. later anna m"  # it opens on this one, at its last letter
TOLD = {
    "before": "the letter just before",
    "two before": "the letter two places before",
    "itself": "the letter itself",
    "same": "the same letter, where it stood earlier",
    "after": "the letter that came after the same letter earlier",
    "first": "the first letter of the text",
}
PLAIN = 0.5  # of its weight on one of these: a head that can be named
STYLES = ("figure.css", "controls.css", "inputs.css", "attention.css")
SCRIPTS = ("elements.js", "page_math.js", "page_gpt.js", "sampling.js", "attention.js")
CAPTION = (
    "A transformer of two layers, computed in the page. It was trained on random letters in which "
    "pieces come again and has never seen a word: whatever it expects, it found in your text."
)


def blank():
    """The untrained model; the random numbers of its start are nobody's."""
    with torch.random.fork_rng(devices=[]):
        return GPT(CONFIG).eval()


def load():
    """The trained model and the record of its making. Raises DataError where they are damaged."""

    def build(payload):
        model, state = blank(), safetensors.torch.load(payload)
        model.load_state_dict({name: weight.float() for name, weight in state.items()})
        return model

    make = "python -m genai_utils.toys.make attention"
    return shipped.read(WEIGHTS / "attention.safetensors", "attention toy", make, build)


def encode(text):
    """The ids of a text, (T,); raises ValueError for a sign that the model does not have."""
    return torch.tensor([SIGNS.index(sign) for sign in text])


@torch.no_grad()
def maps(model, ids):
    """Who looks where: ids (B, T) → (layers, B, heads, T, T)."""
    x, found = model.embed(ids), []
    for block in model.blocks:
        found.append(block.attention.weights(block.norm1(x)))
        x = block(x)
    return torch.stack(found)


def says(shares, record):
    """What can be said of a head, from its measured shares (the keys of TOLD, and "new")."""
    most = max(TOLD, key=shares.get)
    if shares[most] < PLAIN:
        said = f"This head has no plain pattern: at most {shares[most]:.2f} on {TOLD[most]}."
    else:
        said = f"This head puts {shares[most]:.2f} of its weight on {TOLD[most]}."
    if shares["new"] >= PLAIN:
        said += f" Where a letter is new it rests on the first of the text ({shares['new']:.2f})."
    return (
        f"{said} Measured over {record['texts']:,} texts: {CONFIG.context // 2} random letters, "
        f"all different, then the same again; an even spread would be {record['even']:.2f}."
    )


def strongest(record, key):
    """(layer, head) of the head with the largest share of that kind."""
    found = {
        (layer, head): shares[key]
        for layer, heads in enumerate(record["heads"])
        for head, shares in enumerate(heads)
    }
    return max(found, key=found.get)


def still(text, weights):
    """The lines of one head from the last letter, as a PIL image, until the script draws them."""
    n = len(text)
    fig = Figure(figsize=(0.22 * n, 1.6), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-0.5, n - 0.5), ylim=(0, 1))
    ax.axis("off")
    for i, sign in enumerate(text):
        for y in (0.1, 0.9):
            look = {"family": "monospace", "ha": "center", "va": "center", "fontsize": 14}
            ax.text(i, y, sign.replace(" ", "␣"), color="#24292f", **look)
    for s, w in enumerate(weights):
        if w > 0.005:
            ax.plot((n - 1, s), (0.22, 0.78), color=COLORS["blue"], linewidth=0.5 + 6 * w,
                    alpha=0.25 + 0.75 * w)  # fmt: skip
    return pictures.from_figure(fig)


def bundle():
    """The output that ``play("attention")`` displays."""
    model, record = load()
    layer, head = strongest(record, "after")
    ids = encode(TEXT)
    weights = maps(quantized_copy(model), ids[None])[layer, 0, head, -1]
    target = int(weights.argmax())
    alt = (
        f"The text “{TEXT}”. In layer {layer + 1}, head {head + 1} the last letter, "
        f"{TEXT[-1]}, puts {weights[target]:.2f} of its weight on {TEXT[target]} at place "
        f"{target + 1}, the letter that came after {TEXT[-1]} earlier."
    )
    sentences = [
        [*(says(shares, record) for shares in heads), "The mean of the heads of a layer."]
        for heads in record["heads"]
    ]
    data = {
        "characters": list(SIGNS),
        "text": TEXT,
        "place": len(TEXT) - 1,
        "head": [layer, head],
        "says": sentences,
        "gpt": PageGPT(model).export(),
    }
    identity = unique_id(data["gpt"]["weights"] + TEXT)
    picture = still(TEXT, weights.tolist())
    html = (
        f'<figure class="genai genai-attention" id="{identity}" data-explorer="attention" '
        f'data-figure="toy-attention">{stylesheet(*STYLES)}'
        f'<div class="genai-still"><img class="dark-light" alt="{escape(alt)}" '
        f'src="{pictures.encode(picture)}" width="{picture.width * 2 // 3}" '
        f'height="{picture.height * 2 // 3}"><p>{escape(sentences[layer][head])}</p></div>'
        f"{figcaption(CAPTION)}"
        f"{script(identity, 'attentionToy', data, *SCRIPTS)}"
        "</figure>"
    )
    made = Bundle(text_html=html, image_png=pictures.png_text(picture), text_plain=alt)
    require_size(made, "Use fewer layers or channels.")
    return made
