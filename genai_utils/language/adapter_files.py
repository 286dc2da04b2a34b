"""Adapters as files of their own: one base on the disk, and a small file for each thing it learned.

Source: Hu et al. 2022, section 4.2.
"""

import os

import safetensors
import safetensors.torch
import torch

from genai_utils import inputs
from genai_utils.inputs import refusal
from genai_utils.training.checkpoint import TEMPORARY, write_file

from .lora import adapters, add_adapter, lora_layers


def save_adapter(model, name, path):
    """Write one adapter as safetensors, all or nothing: its matrices, rank and alpha.

    Raises ValueError for a name that is none, OSError where the file cannot be written.
    """
    path = inputs.path(path, "path")
    tensors, alpha = {}, None
    for at, layer in lora_layers(model).items():
        if name in layer.A:
            alpha = layer.alpha[name]
            tensors |= {f"{at}.A": layer.A[name], f"{at}.B": layer.B[name]}
    if not tensors:
        raise refusal("name", f"one of {', '.join(adapters(model)) or 'no adapters'}", repr(name))
    tensors = {key: t.detach().cpu().contiguous() for key, t in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        write_file(temporary, safetensors.torch.save(tensors, {"alpha": repr(alpha)}))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_adapter(model, name, path):
    """Read an adapter's file into the model under a name, and switch it on, alone.

    Raises ValueError where the file is none of an adapter's, or does not fit the model, which is
    then as it was; OSError where there is no such file.
    """
    path = inputs.path(path, "path")
    try:
        with safetensors.safe_open(path, "pt") as file:
            alpha = float((file.metadata() or {})["alpha"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 no dict
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise refusal("path", "a file of save_adapter", f"{path} ({error})") from None
    ranks = {n for key, t in tensors.items() if key.endswith(".A") for n in t.shape[:1]}
    paths = {key.rpartition(".")[0] for key in tensors}
    targets = sorted({".".join(at.split(".")[2:]) for at in paths})
    if len(ranks) != 1 or len(tensors) != 2 * len(targets) * len(model.blocks):
        got = f"{len(paths)} matrices of the ranks {sorted(ranks)}"
        raise refusal("path", f"an adapter for {len(model.blocks)} blocks", got)
    rank, parts = ranks.pop(), dict(model.named_modules())
    for key, t in tensors.items():
        at, _, which = key.rpartition(".")
        base = getattr(parts.get(at), "base", parts.get(at))
        m, n = (getattr(base, side, None) for side in ("out_features", "in_features"))
        if tuple(t.shape) != {"A": (rank, n), "B": (m, rank)}.get(which):
            raise refusal(
                "path", "an adapter for this model", f"{key} of {tuple(t.shape)}",
                "load it beside the base that it was trained on",
            )  # fmt: skip
    add_adapter(model, name, rank, alpha, targets)
    with torch.no_grad():
        for key, t in tensors.items():
            at, _, which = key.rpartition(".")
            getattr(model.get_submodule(at), which)[name].copy_(t)
    return model
