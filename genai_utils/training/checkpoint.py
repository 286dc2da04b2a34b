"""Checkpoints: tensors as safetensors, everything else as plain JSON, written all or nothing.

A checkpoint folder holds `step_00001000/` with one `.safetensors` file per group of tensors and
`state.json`. A new one is written under a temporary name, flushed to the disk and renamed; only
then is the older one removed. Whenever the process is killed, a complete checkpoint is there.
Where processes share the tensors, each writes a file with its own rows of them.
"""

import base64
import contextlib
import errno
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import nn

from genai_utils.inputs import path as as_path

FORMAT = 1
TEMPORARY = ".writing-"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, cannot be written, or belongs to another run."""


class Checkpoint(NamedTuple):
    """path: its folder; step: steps done; tensors: group -> name -> tensor; state: plain data."""

    path: Path
    step: int
    tensors: dict[str, dict[str, torch.Tensor]]
    state: dict[str, Any]


def latest_checkpoint(folder: str | bytes | Path) -> Path | None:
    """The newest complete checkpoint in the folder, or None."""
    done = {step: path for step, path in _folders(folder).items() if (path / "state.json").exists()}
    return done[max(done)] if done else None


def save_checkpoint(
    folder: str | bytes | Path,
    step: int,
    tensors: dict[str, dict[str, torch.Tensor]],
    state: dict,
    *,
    part: tuple[int, int] = (0, 1),
    agree: Callable[[OSError | None], None] | None = None,
) -> Path:
    """Write one checkpoint, then remove the older ones. Returns its folder.

    tensors: group ("model", "ema", "optimizer", …) -> name -> tensor; state: what JSON can hold.
    part: (p, P) where P processes call this together, each with its rows of every tensor, the first
        also with those that are not shared. `agree(error)` waits for all of them, and raises in
        each where one of them has an error.
    Raises OSError (disk full, not writable); the checkpoints from before are then untouched.
    """
    folder = as_path(folder, "folder")
    target = folder / f"step_{step:08d}"
    temporary = folder / f"{TEMPORARY}{target.name}"
    first = part[0] == 0

    def begin():
        if first:
            folder.mkdir(parents=True, exist_ok=True)
            clean(folder)
            temporary.mkdir()

    def write():
        for group, named in tensors.items():
            write_file(temporary / _file(group, *part), _to_bytes(named))

    def finish():
        if first:
            document = {"format": FORMAT, "step": step, "groups": list(tensors), "parts": part[1]}
            write_file(temporary / "state.json", json.dumps({**document, **state}).encode())
            _sync_folder(temporary)
            os.rename(temporary, target)
            _sync_folder(folder)

    try:
        for stage in (begin, write, finish):
            error = None
            try:
                stage()
            except OSError as found:
                error = found
            if agree is not None:
                agree(error)
            elif error is not None:
                raise error
    except BaseException:
        if first:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _folders(folder).values() if first else ():
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def load_checkpoint(
    folder: str | bytes | Path, keep: Callable[[str, str, torch.Tensor], torch.Tensor] | None = None
) -> Checkpoint | None:
    """Read the newest checkpoint of a folder (tensors on the CPU); None where there is none.

    Parts are put together, one tensor after the other. keep(group, name, tensor): what is to be
    kept of it, for a process that shares the tensors with others.
    Raises CheckpointError where it is damaged, or where the folder is a file. Nothing is unpickled.
    """
    folder = as_path(folder, "folder")
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file; checkpoints need a folder of their own.")
    path = latest_checkpoint(folder)
    if path is None:
        return None
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {state['format']}, this version reads {FORMAT}."
            )
        tensors = {
            group: _read(path, group, state.get("parts", 1), keep) for group in state["groups"]
        }
        return Checkpoint(path, int(state["step"]), tensors, state)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"The checkpoint {path} is damaged ({error}). Delete that folder to start again."
        ) from error


def save_model(model: nn.Module, path: str | bytes | Path) -> Path:
    """Write the model's weights to one safetensors file, all or nothing. Returns its path.

    Raises CheckpointError where the file cannot be written, or where a folder has its name.
    """
    path = as_path(path, "path")
    if path.is_dir():
        raise CheckpointError(f"Cannot write the model to {path}: it is a folder; name a file.")
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(temporary, _to_bytes(model.state_dict()))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise CheckpointError(f"Cannot write the model to {path}: {error}.") from error
    return path


def load_model(model: nn.Module, path: str | bytes | Path) -> nn.Module:
    """Fill the model with the weights in a safetensors file and return it.

    Raises CheckpointError if there is no such file, or if it belongs to another model; the
    message then names the tensors that differ with both shapes, and the model is unchanged.
    """
    path = as_path(path, "path")
    if path.is_dir():
        raise CheckpointError(f"Cannot read a model from {path}: it is a folder; name a file.")
    try:
        named = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"Cannot read a model from {path}: {error}.") from error
    return fill(model, named, path)


def fill(model: nn.Module, named: dict[str, torch.Tensor], source: Any) -> nn.Module:
    """Copy named tensors into the model, which must have exactly these names and shapes."""
    check_same_model(model, named, source)
    model.load_state_dict(named)
    return model


def check_same_model(model: nn.Module, named: dict[str, torch.Tensor], source: Any) -> None:
    """Raise CheckpointError, naming both shapes, unless the tensors fit the model."""
    own = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    theirs = {name: tuple(t.shape) for name, t in named.items()}
    wrong = [
        f"{name}: {_shape(theirs.get(name))} in the file, {_shape(own.get(name))} in this model"
        for name in {**own, **theirs}
        if own.get(name) != theirs.get(name)
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"{source} holds another model: {'; '.join(wrong[:5])}{more}. "
            "Build the model with the same sizes, or choose another folder."
        )


def check_writable(folder: str | bytes | Path) -> None:
    """Raise CheckpointError unless a file can be made in the folder; leftovers are removed."""
    folder = as_path(folder, "folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clean(folder)
        probe = folder / f"{TEMPORARY}{os.getpid()}-probe"
        probe.write_bytes(b"x")
        probe.unlink(missing_ok=True)  # another process may have cleaned up
    except OSError as error:
        raise CheckpointError(
            f"Cannot write checkpoints to {folder}: {error.strerror or error}. "
            "Give a folder that you may write to, or checkpoint=None."
        ) from error


def clean(folder: str | bytes | Path) -> None:
    """Remove what an interrupted write has left behind."""
    for leftover in as_path(folder, "folder").glob(f"{TEMPORARY}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def rng_state(device: torch.device) -> dict:
    """The state of Python's, NumPy's and PyTorch's random numbers, as JSON can hold it."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 the global state is meant
    state = {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), position, has_gauss, gauss],
        "torch": _encode(torch.get_rng_state()),
    }
    if device.type == "cuda":
        state["cuda"] = _encode(torch.cuda.get_rng_state(device))
    return state


def set_rng_state(state: dict, device: torch.device) -> None:
    """Put back what `rng_state` returned."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002
    torch.set_rng_state(_decode(state["torch"]))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(_decode(state["cuda"]), device)


@contextlib.contextmanager
def kept_random_state(device: torch.device | None = None):
    """Afterwards Python's, NumPy's and PyTorch's generators stand where they stood before.

    device: the card that is meant beside the processor; None: all of them, since to seed PyTorch
    is to seed every card.
    """
    states = {card: torch.cuda.get_rng_state(card) for card in _cards(device)}
    state = rng_state(torch.device("cpu"))
    try:
        yield
    finally:
        set_rng_state(state, torch.device("cpu"))
        for card, its_state in states.items():
            torch.cuda.set_rng_state(its_state, card)


def _cards(device: torch.device | None) -> list[torch.device]:
    if device is not None:
        return [device] if device.type == "cuda" else []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cuda", index) for index in range(count)]


def write_file(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk, where the disk can be waited for."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:  # some network drives know no such call; a full disk is told
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise


def _folders(folder: str | bytes | Path) -> dict[int, Path]:
    """Step -> folder; what else lies there is the reader's and is left alone."""
    found = (
        (re.fullmatch(r"step_(\d+)", path.name), path)
        for path in as_path(folder, "folder").glob("step_*")
    )
    return {int(match[1]): path for match, path in found if match}


def _file(group: str, process: int, processes: int) -> str:
    """The file of a group of tensors: "model", or "model-2-of-4" with the second process's rows."""
    return group + (f"-{process + 1}-of-{processes}" if processes > 1 else "") + ".safetensors"


def _read(path: Path, group: str, parts: int, keep) -> dict[str, torch.Tensor]:
    """A group's tensors; of one in parts the rows of all files, of another what the first has."""
    with contextlib.ExitStack() as stack:
        names = [path / _file(group, part, parts) for part in range(parts)]
        files = [stack.enter_context(safetensors.safe_open(name, "pt")) for name in names]
        holders = {key: [f for f in files if key in f.keys()] for key in files[0].keys()}  # noqa: SIM118
        found = {}
        for key, those in holders.items():
            pieces = [file.get_tensor(key) for file in those]
            tensor = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            found[key] = tensor if keep is None else keep(group, key, tensor)
        return found


def _to_bytes(named: dict[str, torch.Tensor]) -> bytes:
    # Cloned, because safetensors refuses tensors that share memory (tied embeddings do).
    return safetensors.torch.save(
        {name: t.detach().cpu().clone().contiguous() for name, t in named.items()}
    )


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk once its folder is. Windows and some network drives cannot do it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encode(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _decode(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _shape(shape: tuple | None) -> str:
    return "absent" if shape is None else str(shape)
