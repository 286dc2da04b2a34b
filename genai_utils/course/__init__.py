"""What a notebook is made of: session, figures, explorers, labs, exercises. Knows no model.

The names below are loaded when first used, so that `from genai_utils.course import start` is quick
and a notebook pays only for what it shows.
"""

from importlib import import_module

_HOME = {
    "start": "session",
    "Run": "session",
    "show": "figures",
    "image_grid": "figures",
    "table": "figures",
    "COLORS": "figures",
    "explore": "explorer",
    "latent_pad": "pad",
    "latent_walk": "pad",
    "zoom_map": "zoom_map",
    "typewriter": "typewriter",
    "quantized_copy": "pocket",
    "token_bundle": "tokens",
    "token_figure": "tokens",
    "token_strip": "tokens",
    "show_source": "source",
    "lab": "labs",
    "check": "checking",
    "examine": "checking",
    "hint": "checking",
    "solution": "checking",
    "progress": "checking",
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"genai_utils.course has no {name!r}; it has {', '.join(__all__)}.")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
