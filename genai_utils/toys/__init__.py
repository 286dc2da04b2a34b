"""What a page computes by itself, without a kernel: `play("kmeans")`.

A toy is one HTML output with its script, made from the package alone: the run of a notebook has no
part in it. Weights that a toy needs are trained by `python -m genai_utils.toys.make`.
"""

from importlib import import_module

TOYS = {  # name -> the module of this room that has `bundle()`
    "kmeans": "kmeans",
    "softmax": "softmax",
    "attention": "attention",
    "digit": "digit",
    "flow": "flow",
    "gan": "gan",
    "denoise": "denoise",
    "prompting": "prompting",
    "scaling": "scaling",
    "labeller": "labeller",
    "scenes": "scenes",
    "moe": "moe",
    "rag": "rag",
    "agent": "agent",
    "lora": "lora",
    "verdict": "verdict",
    "text_to_image": "text_to_image",
    "scoreboard": "scoreboard",
}


def play_bundle(name):
    """The output that `play` displays. Raises ValueError for a name that is none."""
    if name not in TOYS:
        raise ValueError(f"There is no toy {name!r}; there are {', '.join(TOYS)}.")
    return import_module(f"genai_utils.toys.{TOYS[name]}").bundle()


def play(name):
    """Display the toy of that name. Raises ValueError for a name that is none."""
    play_bundle(name).display()
