"""Weights that the package brings: a file, and beside it a record that knows its digest.

record = sealed({"steps": 2_000}, payload)
write(folder / "judge_28.safetensors", payload, record)
net, record = read(folder / "judge_28.safetensors", "judge", "python -m …", build)
"""

import hashlib
import json
from pathlib import Path

import safetensors
import torch

from genai_utils.data.entries import DataError


def sealed(record, payload):
    """The record with the size and the digest of the payload, and with the torch that made it."""
    return {
        **record,
        "bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "torch": torch.__version__.split("+")[0],
    }


def write(file, payload, record):
    """Write the payload (bytes) and its sealed record into a folder that may be new."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(payload)
    text = json.dumps(record, indent=1) + "\n"
    file.with_suffix(".json").write_text(text, encoding="utf-8")


def read(file, what, make, build):
    """What `build(payload)` makes of a file's bytes, and the record of the file.

    what: whose weights they are, for the message; make: the command that makes them anew.
    Raises DataError where either file is missing or damaged, or are another network's weights.
    """
    file = Path(file)
    try:
        record = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        payload = file.read_bytes()
        found = hashlib.sha256(payload).hexdigest()
        if found != record["sha256"]:
            raise ValueError(f"SHA-256 {found[:12]}… instead of {record['sha256'][:12]}…")
        return build(payload), record
    except (OSError, ValueError, KeyError, TypeError, RuntimeError,
            safetensors.SafetensorError) as error:  # fmt: skip
        raise DataError(
            f"the weights of the {what}, {file}, or the record beside them are damaged or missing "
            f"({error}). Install genai_utils again, or make them anew: {make}"
        ) from error
