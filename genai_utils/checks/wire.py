"""Values on their way between the grading process and a submission's: JSON, and nothing else.

Nothing is unpickled, since unpickling runs code. A plain tensor arrives as a plain tensor, bit for
bit. What is no plain value arrives as a stand-in that only bears the name of its type, and one that
is far too large as a view that holds nothing but the shape.
"""

from __future__ import annotations

import base64
import math
import re

import numpy as np
import torch

from genai_utils.checks.results import DIMENSIONS, LARGE, article

DTYPES = ("float16", "bfloat16", "float32", "float64", "bool")
DTYPES += ("uint8", "int8", "int16", "int32", "int64")
DEPTH, LONG, TEXT = 4, 100, 300  # of nested lists, of one list, of a string
HUGE = 10**400  # stands for every whole number that is too large for a float


def pack(value, most=LARGE, depth=0):
    """A value as what JSON can hold. Never fails. most: numbers that a tensor may hold."""
    try:
        return _packed(value, most, depth)
    except Exception:  # an object of the student's own can fail at any touch
        return {"noun": "object"}


def _packed(value, most, depth):
    kind = type(value)
    if value is None or kind is str:
        return {"plain": value if value is None else value[:TEXT]}
    if issubclass(kind, (bool, np.bool_)):
        return {"plain": bool(value)}
    if issubclass(kind, (int, np.integer)) and not issubclass(kind, np.timedelta64):
        return {"int": hex(int(value) if abs(int(value)) < HUGE else HUGE)}
    if issubclass(kind, (float, np.floating)):
        return {"plain": float(value)}
    if issubclass(kind, torch.Tensor) and article(value) == "a tensor":
        return _tensor(value, most)
    if issubclass(kind, np.ndarray) and article(value) == "a NumPy array":
        made = _tensor(torch.from_numpy(value.astype(value.dtype.newbyteorder("="))), most)
        return {"array": made["tensor"]} if "tensor" in made else made
    if issubclass(kind, (tuple, list)) and depth < DEPTH:
        parts = [pack(part, most, depth + 1) for part in value[:LONG]]
        name = "list" if issubclass(kind, list) else "tuple"
        if kind.__module__ == "torch.return_types":
            name = kind.__name__
        return {"parts": parts, "length": len(value), "kind": name}
    return {"noun": re.sub(r"^(a|an|the) ", "", article(value))[:60]}


def _tensor(value, most):
    value = torch.Tensor.detach(value)
    name = str(value.dtype).removeprefix("torch.")
    if value.numel() > most or value.dim() > DIMENSIONS:
        return {"large": list(value.shape)}
    if name not in DTYPES:
        name = "float64" if value.is_floating_point() else "int64"
        value = value.to(getattr(torch, name))
    flat = value.to("cpu").resolve_neg().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    encoded = base64.b64encode(data).decode("ascii")
    return {"tensor": {"dtype": name, "shape": list(value.shape), "data": encoded}}


def unpack(packed):
    """The value of what `pack` made. Raises ValueError for what it cannot have made."""
    try:
        return _unpacked(packed)
    except ValueError:
        raise
    except Exception as problem:
        raise ValueError(f"no packed value ({problem!r})") from problem


def _unpacked(packed):
    if "plain" in packed:
        if not isinstance(packed["plain"], (type(None), bool, float, str)):
            raise ValueError("no plain value")
        return packed["plain"]
    if "int" in packed:
        return int(packed["int"], 16)
    if "tensor" in packed:
        return _read(packed["tensor"])
    if "array" in packed:
        return _read(packed["array"]).numpy()
    if "large" in packed:
        return torch.zeros(()).expand([int(n) for n in packed["large"]])
    if "parts" in packed:
        parts = [_unpacked(part) for part in packed["parts"]]
        parts += [None] * (min(int(packed["length"]), LARGE) - len(parts))
        if packed["kind"] == "list":
            return parts
        return getattr(torch.return_types, packed["kind"], tuple)(parts)
    return type(str(packed["noun"]).replace("\0", " "), (), {})()


def _read(packed) -> torch.Tensor:
    if packed["dtype"] not in DTYPES:
        raise ValueError("no such dtype")
    dtype = getattr(torch, packed["dtype"])
    data = base64.b64decode(packed["data"], validate=True)
    shape = [int(n) for n in packed["shape"]]
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
