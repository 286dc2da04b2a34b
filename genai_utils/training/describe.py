"""What shapes a run, as plain data: the key by which a checkpoint is known as this run's own.

`describe(value)` turns settings, data and functions into what JSON can hold, the same in every
process. Data are described by a digest of their content, a function by its code and by what it
closes over, an object by its own `repr`. What cannot be described is refused, and the message says
how to make it describable.
"""

import dataclasses
import enum
import functools
import hashlib
import math
import types
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import PurePath

import numpy as np
import torch
from torch import nn

# Set by PyTorch or by the loop itself; they do not shape what a run computes.
_OF_MODULES = set(vars(nn.Module())) | {"training", "_flat_weights", "_flat_weight_refs"}
_OF_GROUPS = {"params", "lr", "initial_lr", "fused", "foreach", "capturable", "differentiable"}


class Undescribable(ValueError):
    """A value that has no description which another process would give it, too."""


def describe(value, name: str = "value"):
    """Plain data (numbers, words, lists, dicts) that stand for the value.

    Raises Undescribable for an object that has no `repr` of its own; `name` is the message's name
    for it.
    """
    return _describe(value, name, ())


def describe_model(model: nn.Module) -> dict:
    """The classes and settings of a model's modules: "beta" -> 4, "decoder.width" -> 512, …

    Settings are the attributes that the modules were given; weights are not among them: a run
    that is taken up again has those of its checkpoint.
    """
    found = {}
    for place, module in model.named_modules():
        dot = f"{place}." if place else ""
        found[f"{dot}class"] = type(module).__qualname__
        for key, value in vars(module).items():
            if key in _OF_MODULES or isinstance(value, nn.Module):
                continue
            found[f"{dot}{key}"] = describe(value, f"the attribute {dot}{key} of the model")
    return found


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict:
    """Its class, and of each group the number of weights and every setting that shapes a step."""
    groups = []
    for group in optimizer.param_groups:
        settings = {k: v for k, v in group.items() if k not in _OF_GROUPS}
        settings |= {"lr": float(group.get("initial_lr", group["lr"]))}
        settings |= {"weights": [list(p.shape) for p in group["params"]]}
        groups.append(describe(settings, "a group of the optimizer"))
    return {"class": type(optimizer).__qualname__, "groups": groups}


def describe_code(function) -> dict | None:
    """A function by its code, without what it reads: of one that looks at a run.

    An object that is called is known by its class. None stays None.
    """
    while isinstance(function, functools.partial | types.MethodType):
        function = function.func if hasattr(function, "func") else function.__func__
    if not isinstance(function, types.FunctionType):
        return None if function is None else {"class": type(function).__qualname__}
    return {"function": function.__qualname__, "code": _code(function)}


def fingerprint(tensor: torch.Tensor) -> str:
    """Shape, kind and digest of a tensor's values: "float32 (60000, 784) 3f2a…"."""
    digest = hashlib.blake2b(digest_size=12)
    if tensor.is_quantized or tensor.layout != torch.strided:
        raise Undescribable(
            f"A run with a checkpoint has to be known again, and a tensor of layout "
            f"{tensor.layout} has no digest; keep it as a dense one (to_dense())."
        )
    flat = tensor.detach().cpu().contiguous()
    if flat.numel():
        digest.update(memoryview(flat.view(-1).view(torch.uint8).numpy()))
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{kind} {tuple(tensor.shape)} {digest.hexdigest()}"


def _describe(value, name, above):
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)  # JSON has no NaN
    if isinstance(value, torch.Tensor):
        return fingerprint(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = np.ascontiguousarray(value)
        digest = hashlib.blake2b(content.tobytes(), digest_size=12).hexdigest()
        return f"{value.dtype} {value.shape} {digest}"
    if isinstance(value, torch.device):
        return "device"  # a run may be taken up on another one
    if isinstance(value, torch.Generator):
        return fingerprint(value.get_state())
    if isinstance(value, torch.dtype | torch.Size | range | slice | complex | bytes | PurePath):
        return repr(value)
    if any(value is each for each in above):
        return "…"  # a circle
    above = (*above, value)
    if callable(getattr(value, "describe", None)) and not isinstance(value, type):
        return _describe(value.describe(), name, above)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"class": type(value).__qualname__, **_items(fields, name, above)}
    if isinstance(value, Mapping):
        return _items(value, name, above)
    if isinstance(value, list | tuple):
        return [_describe(each, name, above) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_describe(each, name, above) for each in value), key=repr)
    if isinstance(value, nn.Module):
        settings = describe_model(value)
        weights = {k: fingerprint(v) for k, v in value.state_dict().items()}
        return {**settings, "weights": _digest(weights)}
    if isinstance(value, functools.partial):
        return {
            "partial": _describe(value.func, name, above),
            "with": [_describe(value.args, name, above), _items(value.keywords, name, above)],
        }
    if isinstance(value, types.MethodType):
        owner = _describe(value.__self__, name, above)
        return {"method": value.__func__.__qualname__, "of": owner}
    if isinstance(value, types.FunctionType):
        return _function(value, name, above)
    if isinstance(value, type | types.BuiltinFunctionType | types.ModuleType | np.ufunc):
        return getattr(value, "__qualname__", getattr(value, "__name__", ""))
    if type(value).__repr__ is not object.__repr__ and " at 0x" not in (text := repr(value)):
        return text
    raise Undescribable(
        f"A run with a checkpoint has to be known again, and {name} cannot be described: it is a "
        f"{type(value).__qualname__} without a repr of its own. Give that class a __repr__ that "
        "names all that shapes the run (or a method describe() that returns it), or train without "
        "checkpoint=."
    )


def _items(mapping, name, above):
    return {str(k): _describe(v, f"{k!r} of {name}", above) for k, v in mapping.items()}


def _function(function, name, above):
    """A function by its name, its code, its defaults and what it takes from around it."""
    code, module = function.__code__, function.__module__ or ""
    library = module.partition(".")[0] in ("genai_utils", "torch", "numpy")
    around = {}
    if not library or "<locals>" in function.__qualname__:
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        around = {key: cell.cell_contents for key, cell in cells}
    if not library:  # a library's function is known by its name, and by what it was made with
        names = {n for each in _codes(code) for n in each.co_names}
        around |= {n: function.__globals__[n] for n in sorted(names & set(function.__globals__))}
    return {
        "function": f"{module}.{function.__qualname__}",
        "code": _code(function),
        "defaults": _describe([function.__defaults__, function.__kwdefaults__], name, above),
        "around": {k: _describe(v, f"{k!r}, used by {name}", above) for k, v in around.items()},
    }


def _code(function):
    codes = _codes(function.__code__)
    return _digest([[c.co_code.hex(), _constants(c), c.co_names] for c in codes])


def _codes(code):
    """A code object and those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _constants(code):
    plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    # A set has another order in another process.
    return [sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c) for c in plain]


def _digest(value) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=12).hexdigest()
