"""What notebooks import: start, figures, explorers, labs, exercises. Knows no model.

The names below are loaded when first used, so that `from genai_utils.course import start` is quick
and a notebook pays only for what it shows.
"""

from importlib import import_module

_HOME = {
    "start": "course.session",
    "Run": "run",
    "show": "display.figures",
    "image_grid": "display.figures",
    "table": "display.figures",
    "COLORS": "display.figures",
    "explore": "display.explorer",
    "latent_pad": "display.latent_pad",
    "latent_walk": "display.latent_pad",
    "zoom_map": "display.zoom_map",
    "typewriter": "display.typewriter",
    "quantized_copy": "display.page_gpt",
    "token_bundle": "display.tokens",
    "token_figure": "display.tokens",
    "token_strip": "display.tokens",
    "group_figure": "display.tokens",
    "show_source": "checks.shown",
    "draw": "display.drawing",
    "play": "toys",
    "lab": "display.labs",
    "check": "checks.checking",
    "examine": "checks.checking",
    "hint": "checks.checking",
    "solution": "checks.checking",
    "progress": "checks.checking",
    "yours": "checks.checking",
    "predict": "checks.predicting",
    "reveal": "checks.predicting",
    "experiment": "checks.experimenting",
    "hand_in": "checks.experimenting",
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"genai_utils.course has no {name!r}; it has {', '.join(__all__)}.")
    value = getattr(import_module(f"genai_utils.{_HOME[name]}"), name)
    globals()[name] = value
    return value
