"""A sentence or a drawing of the reader's, and which of 400 scenes fit it (chapter 28).

The two networks are the chapter's, small. They were trained once, on the processor, by
`python -m genai_utils.toys.make scenes`; their weights are in the package.
"""

import base64
import io
from importlib.resources import files

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from genai_utils.data import shipped
from genai_utils.display import page_bytes, pictures
from genai_utils.display.output import escape
from genai_utils.toys.figure import toy_figure
from genai_utils.vision import clip, scenes

WEIGHTS = files("genai_utils.toys") / "weights"
SETTINGS = {"dim": 32, "channels": 16, "width": 64, "layers": 1, "heads": 4, "text": 48}
ACROSS, DOWN = 25, 16  # scenes of the sheet
SHOWN = 8  # the nearest
GROUND = 0.06  # of a new drawing
EXAMPLES = (
    "a white 7", "three hearts", "a blue star at the top", "two small striped red circles",
)  # fmt: skip
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "scenes.css")
SCRIPTS = (
    "page_math.js", "page_decoder.js", "page_canvas.js", "page_bytes.js", "page_norm.js",
    "page_tower.js", "page_clip.js", "scenes.js",
)  # fmt: skip
ALT = (
    "A field for a sentence, one to draw in, and a sheet of 400 scenes, of which those are bright "
    "whose vectors are near to that of the sentence or the drawing."
)


def network(state=None):
    """The model; state: its weights, as they are kept."""
    with torch.random.fork_rng(devices=[], enabled=state is not None):
        model = clip.small_clip(len(scenes.WORDS), scenes.CONTEXT, scenes.END, **SETTINGS)
    if state is not None:
        model.load_state_dict({name: state[name].float() for name in model.state_dict()})
    return model


def load():
    """The model, the sheet as the bytes of a WebP picture, its vectors, the record of their making.

    The vectors, (400, dim), are kept as a page has them: computed anew on another processor, one
    in some thousand would be rounded the other way. Raises DataError where a file is damaged.
    """

    def build(payload):
        state = safetensors.torch.load(payload)
        return network(state).eval(), state["sheet"].numpy().tobytes(), state["vectors"]

    make = "python -m genai_utils.toys.make scenes"
    kept, record = shipped.read(WEIGHTS / "scenes.safetensors", "toy of scenes", make, build)
    return *kept, record


def packed(x):
    """Scenes (400, 3, 32, 32) as one WebP picture, its bytes."""
    side = scenes.SIDE
    picture = x.view(DOWN, ACROSS, 3, side, side).permute(2, 0, 3, 1, 4)
    buffer = io.BytesIO()
    made = pictures.from_array(picture.reshape(3, DOWN * side, -1))
    made.save(buffer, format="WEBP", quality=70, method=6)
    return buffer.getvalue()


def unpacked(sheet):
    """The scenes of such a picture, (400, 3, 32, 32) in [0, 1]."""
    side = scenes.SIDE
    picture = torch.from_numpy(np.array(Image.open(io.BytesIO(sheet)).convert("RGB"))) / 255
    picture = picture.view(DOWN, side, ACROSS, side, 3).permute(0, 2, 4, 1, 3)
    return picture.reshape(-1, 3, side, side)


def readings():
    """The sentences among which a drawing is read: each kind in each colour."""
    return [
        scenes.caption(scenes.scene(kind=kind, colour=colour))
        for kind in scenes.KINDS
        for colour in scenes.COLOURS
    ]


@torch.no_grad()
def sheet_vectors(model, sheet):
    """The vectors of the sheet's scenes, as a page has them: a byte each number."""
    return page_bytes.rounded(model.image(unpacked(sheet)))


@torch.no_grad()
def bundle():
    """The output that `play("scenes")` displays."""
    model, sheet, vectors, record = load()
    page = page_bytes.rounded_copy(model)
    best = (vectors @ page.text(scenes.encode([EXAMPLES[0]]))[0]).argsort(descending=True)
    data = {
        "side": scenes.SIDE,
        "across": ACROSS,
        "shown": SHOWN,
        "heads": SETTINGS["heads"],
        "groups": clip.Norm(4).num_groups,
        "end": scenes.END,
        "context": scenes.CONTEXT,
        "ground": GROUND,
        "words": list(scenes.WORDS),
        "colours": [[name, list(rgb)] for name, rgb in scenes.COLOURS.items()],
        "examples": list(EXAMPLES),
        "readings": readings(),
        "weights": page_bytes.export(page.state_dict()),
        "sheet": page_bytes.export({"vectors": vectors}),
    }
    found = record["test"]
    caption = (
        f"Two networks of together {record['parameters']:,} weights, computed in the page. They "
        f"were trained on {record['pairs']:,} pairs of a scene and its caption, and on nothing "
        f"else. Asked for kind and colour among {len(data['readings'])} sentences they are right "
        f"for {100 * found['seen']:.0f} % of new scenes, and for {100 * found['unseen']:.0f} % of "
        "scenes of a kind and a colour that they never saw together, such as a white 7."
    )
    source = f"data:image/webp;base64,{base64.b64encode(sheet).decode()}"
    alt = f"400 scenes. Nearest to “{EXAMPLES[0]}”: scene {int(best[0]) + 1}."
    image = (
        f'<img class="dark-light genai-crisp" alt="{escape(alt)}" src="{source}" '
        f'width="{ACROSS * scenes.SIDE}" height="{DOWN * scenes.SIDE}">'
    )
    body = (
        f'<div class="genai-toyrow genai-scenes"><div class="genai-sheet">{image}</div>'
        f'<div class="genai-easel"></div></div>'
    )
    return toy_figure(
        "scenes", body, caption, data, "scenesToy", SCRIPTS, STYLES, ALT, "Use fewer channels.",
        key=data["weights"]["bytes"],
    )  # fmt: skip
