"""What can be seen from a function's code and from its numbers: the parts of a diagnosis."""

from __future__ import annotations

import dis
import inspect
import textwrap
import types
from fractions import Fraction

import torch

from genai_utils.checks.compare import agree


def gradients_of(function, arguments, places=None) -> list:
    """d(weighted sum of the results)/d(argument), None where there is none. In float64.

    places: the arguments that are asked for, by number; None: all floating-point tensors.
    """
    with torch.enable_grad():
        leaves = [
            a.detach().clone().requires_grad_()
            if isinstance(a, torch.Tensor)
            and a.is_floating_point()
            and (places is None or place in places)
            else a
            for place, a in enumerate(arguments)
        ]
        result = function(*leaves)
        parts = result if isinstance(result, (tuple, list)) else [result]
        parts = [p for p in parts if isinstance(p, torch.Tensor) and p.requires_grad]
        asked = [a for a in leaves if isinstance(a, torch.Tensor) and a.requires_grad]
        found = [None] * len(asked)
        if parts and asked:
            total = sum(
                (
                    p.double() * torch.linspace(0.5, 1.5, p.numel(), device=p.device).view(p.shape)
                ).sum()
                for p in parts
            )
            found = torch.autograd.grad(total, asked, allow_unused=True)
    found = iter(found)
    asked = {id(a) for a in asked}
    grads = [next(found) if id(a) in asked else None for a in leaves]
    return [None if g is None else g.detach().to("cpu", torch.float64) for g in grads]


def shape_clue(yours, expected, rtol) -> str:
    """What one would have to do to the expected result to get a result of this shape."""
    if yours.numel() == expected.numel() > 0:
        if agree(yours.reshape(expected.shape), expected, rtol):
            return " The numbers are right."
        if yours.dim() == 2 and agree(yours.T.reshape(expected.shape), expected, rtol):
            return " It is the transpose of what is expected."
    if expected.numel() > 1 and yours.numel() == 1:
        number = yours.reshape(())
        if agree(number, expected.sum(), rtol):
            return " It is the sum of the expected numbers."
        if agree(number, expected.mean(), rtol):
            return " It is the mean of the expected numbers."
    if yours.dim() > expected.dim():
        for dim in range(yours.dim()):
            if agree(yours.sum(dim), expected, rtol):
                return f" A sum over dimension {dim} is missing."
            if agree(yours.mean(dim), expected, rtol):
                return f" A mean over dimension {dim} is missing."
    return ""


def in_words(c: float) -> str:
    """2.0 -> '2', 0.3333 -> '1/3', 0.1234 -> '0.1234'."""
    near = Fraction(c).limit_denominator(1000)
    simple = near.numerator in (1, -1) or near.denominator == 1
    return str(near) if simple and abs(float(near) - c) < 1e-4 * abs(c) else f"{c:.4g}"


def brief_text(text: str, lines: int = 8, width: int = 200) -> str:
    """The first lines of a text, none of them long."""
    kept = [line[:width] for line in text.strip().splitlines()[:lines]]
    return "\n".join(kept)


def text_of(error: BaseException) -> str:
    """The message of an error, or nothing where it cannot say it."""
    try:
        return str(error)
    except Exception:
        return ""


def unwrapped(function):
    """The function that was written, without the decorators that tell what they wrap."""
    try:
        return inspect.unwrap(function)
    except Exception:  # wrapped around itself, or an object that fails at any touch
        return function


def source_text(function) -> str:
    """The code of a function, or nothing where it cannot be found."""
    try:
        return textwrap.dedent(inspect.getsource(unwrapped(function)))
    except Exception:
        return ""


def is_stub(function) -> bool:
    """Is the body nothing but a docstring, `...`, `pass` or `return None`?

    Read from the byte code, since a function typed into a notebook may have no source file.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType):
        return False
    idle = {"RESUME", "NOP", "POP_TOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}
    steps = list(dis.get_instructions(code))
    constants = [s.argval for s in steps if "CONST" in s.opname]
    return {s.opname for s in steps} <= idle and all(c is None or c is ... for c in constants)


def unused_parameters(function) -> list[str]:
    """Arguments that the function's code never reads."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType):
        return []
    names = code.co_varnames[inspect.ismethod(function) : code.co_argcount]  # without self
    read_names = set(code.co_cellvars)
    for step in dis.get_instructions(code):
        if "LOAD" in step.opname:
            read_names.update(step.argval if isinstance(step.argval, tuple) else [step.argval])
    return [name for name in names if name not in read_names]
