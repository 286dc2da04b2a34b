"""What a function returned: its numbers, read for a comparison, and how it is shown.

Everything is brought to a list of float64 tensors on the CPU first, so that float32 and float64,
CPU and GPU, and where it is sensible NumPy arrays and Python numbers, are compared alike. Whatever
else comes is refused with a sentence that names its type. A result is looked at before it is
copied: a view of a few numbers may claim ten gigabytes.
"""

from __future__ import annotations

import math
import types
from dataclasses import dataclass, field

import numpy as np
import torch

LARGE = 1_000_000  # numbers
DIMENSIONS = 32  # more than any lecture needs, fewer than NumPy can hold
DIGITS = {"precision": 4, "edgeitems": 3, "separator": ", "}
HOLDS = {
    "O": "objects",
    "U": "strings",
    "S": "strings",
    "T": "strings",
    "M": "dates",
    "m": "time spans",
    "c": "complex numbers",
    "V": "records",
}  # a letter for each kind of NumPy array that is no array of numbers
NAMES = {
    type(None): "None",
    type: "a class",
    types.ModuleType: "a module",
    types.BuiltinFunctionType: "a function",
    types.MethodType: "a method",
    torch.Size: "a torch.Size",
}
CURES = {
    "a sparse tensor": "call its .to_dense()",
    "a quantized tensor": "call its .dequantize()",
    "a function": "is a pair of parentheses missing behind a name",
    "a method": "is a pair of parentheses missing behind a name",
    "a coroutine": "is an await missing",
}


@dataclass
class Values:
    """The numbers of a result: one tensor, or the tensors of a tuple."""

    tensors: list[torch.Tensor]
    several: bool  # the result is a tuple of tensors
    note: str = ""  # said to the student whose answer was accepted in another type
    whole: bool = False  # integers or booleans: compared exactly (up to 2^53)
    kinds: list[str] = field(default_factory=list)  # of each tensor: "b", "i", "f", "" unknown


class WrongType(Exception):
    """The result cannot be read as numbers; the message is a sentence for the student."""


def article(value) -> str:
    """'a list', 'an int', 'a sparse tensor': the type of a value, in words. Never fails."""
    try:
        return _article(value, type(value))  # isinstance would ask the value, which may lie
    except Exception:
        return "an object"


def _article(value, kind) -> str:
    if issubclass(kind, torch.Tensor):
        return f"a{_kind_of_tensor(value)} tensor"
    if issubclass(kind, np.ma.MaskedArray):
        return "a masked array"
    if issubclass(kind, np.ndarray):
        holds = HOLDS.get(value.dtype.kind)
        return f"a NumPy array of {holds}" if holds else "a NumPy array"
    if kind in NAMES:
        return NAMES[kind]
    if kind.__module__ == "torch.return_types":  # of x.max(dim), x.sort(), x.topk(k)
        parts = ", ".join(name for name in vars(kind) if name in ("values", "indices"))
        return f"the tuple torch.return_types.{kind.__name__}" + (f" ({parts})" if parts else "")
    name = kind.__name__
    return ("an " if name[:1].lower() in "aeiou" else "a ") + name


def _kind_of_tensor(value) -> str:
    """' sparse', ' quantized', … where a tensor is no plain block of real numbers, else ''."""
    try:
        if value.is_nested:
            return " nested"
        if value.is_quantized:
            return " quantized"
        if value.layout != torch.strided:
            return " sparse" if "sparse" in str(value.layout) else f" {value.layout}"
        return " meta" if value.is_meta else " complex" if value.is_complex() else ""
    except Exception:
        return "n unusual"


# --- read ---------------------------------------------------------------------------------------


def read(value, like: Values | None = None) -> Values:
    """The numbers of a result. `like` are those of the reference, and say which types will do.

    Raises WrongType, and nothing else, where it cannot be read.
    """
    try:
        if isinstance(value, (tuple, list)) and (like is None or like.several):
            return _read_several(value, like)
        if like is not None and like.several:
            raise _refusal(value, like)
        tensor, note, whole = _numbers(value, like)
    except WrongType:
        raise
    except Exception as problem:  # an object of the student's own can fail at any touch
        raise _refusal(value, like, cure="its numbers cannot be read") from problem
    if like is not None and like.note == note:
        note = ""  # the library's own result is of this type
    return Values([tensor], False, note, whole, [_kind_of_numbers(value)])


def _read_several(parts, like) -> Values:
    if like is not None and len(parts) != len(like.tensors):
        raise WrongType(f"You returned {article(parts)} of {len(parts)}; {_wanted(like)} expected.")
    if not parts:
        raise WrongType(f"You returned {article(parts)} that holds nothing.")
    found = []
    for number, part in enumerate(parts, start=1):
        one = None if like is None else Values([like.tensors[number - 1]], False, like.note)
        try:
            if issubclass(type(part), (tuple, list)):  # isinstance asks the object itself
                raise _refusal(part, one)
            found.append(read(part, one))
        except WrongType as problem:
            text = str(problem).replace("You returned", f"Part {number} of your result is", 1)
            raise WrongType(text) from None
    note = next((each.note for each in found if each.note), "")
    tensors = [tensor for each in found for tensor in each.tensors]
    kinds = [kind for each in found for kind in each.kinds]
    return Values(tensors, True, note, all(each.whole for each in found), kinds)


def _kind_of_numbers(value) -> str:
    """ "b", "i" or "f" of a tensor or array; "" of a plain number, which may stand for any."""
    if isinstance(value, torch.Tensor):
        return "b" if value.dtype == torch.bool else "f" if value.is_floating_point() else "i"
    if isinstance(value, np.ndarray):
        return {"u": "i"}.get(value.dtype.kind, value.dtype.kind)
    return ""


def _numbers(value, like) -> tuple[torch.Tensor, str, bool]:
    """A float64 copy of the value on the CPU, the note on its type, and whether it is whole."""
    if isinstance(value, torch.Tensor):
        if _kind_of_tensor(value):
            raise _refusal(value, like)
        _require_size(value.shape, like)
        array = value.detach().to("cpu").to(torch.float64).resolve_neg().numpy()
        # By way of NumPy, so that nothing is left of a subclass or of a transformation.
        return torch.from_numpy(np.array(array)), "", not value.is_floating_point()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub" or isinstance(value, np.ma.MaskedArray):
            raise _refusal(value, like)
        _require_size(value.shape, like)
        note = "A NumPy array was accepted here; the library's function returns a tensor."
        return torch.from_numpy(value.astype(np.float64)), note, value.dtype.kind != "f"
    numbers = (bool, int, float, np.floating, np.integer, np.bool_)
    if isinstance(value, numbers) and not isinstance(value, np.timedelta64):
        try:
            number = float(value)
        except OverflowError:
            raise _refusal(value, like, "whose number is too large for a tensor") from None
        if like is not None and any(t.dim() for t in like.tensors):
            raise WrongType(f"You returned one number ({number:.4g}); {_wanted(like)} expected.")
        note = "A plain number was accepted here; the library's function returns a tensor."
        whole = isinstance(value, (bool, int, np.integer, np.bool_))
        return torch.tensor(number, dtype=torch.float64), note, whole
    raise _refusal(value, like)


def _require_size(shape, like) -> None:
    """Refuse what is far too large, before it is copied."""
    if len(shape) > DIMENSIONS:
        raise WrongType(
            f"You returned a tensor of {len(shape)} dimensions; {_wanted(like)} expected."
        )
    count = math.prod(shape)
    if like is not None and count > max(100 * sum(t.numel() for t in like.tensors), LARGE):
        raise WrongType(
            f"You returned {count:,} numbers, of shape {tuple(shape)}; {_wanted(like)} expected."
        )


def _refusal(value, like, what="", cure="") -> WrongType:
    kind = article(value)
    cure = cure or CURES.get(kind, "")
    if not cure and type(value) is list and value and like is not None and not like.several:
        cure = "torch.tensor(…) makes one of it, if it holds numbers"
        if issubclass(type(value[0]), torch.Tensor):  # torch.tensor would cut off their gradient
            cure = "torch.stack(…) makes one of the tensors in it"
    if not cure and issubclass(type(value), tuple) and tuple.__len__(value) == 1:
        cure = "is there a comma behind the result"
    said = f"You returned {' '.join([kind, what]).strip()}; {_wanted(like)} expected"
    end = "?" if cure.startswith("is ") else "."
    return WrongType(f"{said}: {cure}{end}" if cure else f"{said}.")


def _wanted(like: Values | None) -> str:
    if like is None:
        return "a tensor is"
    if like.several:
        return f"a tuple of {len(like.tensors)} tensors is"
    return f"a tensor of shape {tuple(like.tensors[0].shape)} is"


# --- show ---------------------------------------------------------------------------------------


def brief(value, lines: int = 8, width: int = 300) -> str:
    """A value in a few short lines: shape first, four digits, the middle of large ones left out.

    Never fails: what cannot be shown is named by its type.
    """
    try:
        text = _text(value, lines, width)
    except Exception:
        text = article(value)
    kept = [line[:width] for line in text.splitlines()[:lines]]
    return "\n".join(kept) + ("\n…" if len(text.splitlines()) > lines else "")


def _text(value, lines, width) -> str:
    if isinstance(value, torch.Tensor):
        if _kind_of_tensor(value) not in ("", " complex"):
            return f"{article(value)} of shape {tuple(value.shape)}"
        corner = _corner(value.detach()).to("cpu").resolve_conj().resolve_neg()
        if corner.is_floating_point() and corner.dtype != torch.float64:
            corner = corner.float()  # NumPy has no bfloat16
        return _block(value.shape, corner.numpy())
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiubc":
            return f"{article(value)} of shape {value.shape}"
        return _block(value.shape, np.asarray(_corner(value)))
    if isinstance(value, (tuple, list)) and len(value) <= 4:
        inside = (tuple, list)  # one level only: a list can hold itself
        return "\n".join(
            article(part) if isinstance(part, inside) else brief(part, 4, width) for part in value
        )
    if isinstance(value, np.generic):
        return str(value)
    if type(value) in (bool, int, float, complex, str, type(None)):
        return repr(value[:width] if isinstance(value, str) else value)
    return article(value)


def _corner(value):
    """The beginning of a large array or tensor, as a view."""
    if math.prod(value.shape) <= 2_500 and value.ndim <= 4:
        return value
    while value.ndim > 3:
        value = value[0]
    return value[tuple(slice(0, 50) for _ in value.shape)]


def _block(shape, corner: np.ndarray) -> str:
    shape = tuple(shape)
    finite = np.abs(corner[np.isfinite(corner)]) if corner.dtype.kind in "fc" else np.ones(1)
    small = not finite.size or finite.max() >= 1e-3 or not finite.any()  # else 0 would be shown
    text = np.array2string(corner, threshold=30, suppress_small=small, **DIGITS)
    dots = " (its corner)" if corner.shape != shape else ""
    return f"shape {shape}{dots}\n{text}" if shape else text
