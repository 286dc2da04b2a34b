"""Makes an exercise's stub from the library, and solves a notebook by putting the library back.

    python -m genai_utils.checks.stubs 24_vae          prints the stub cells of a notebook

A stub is the reference's own signature and docstring, and a body of `...`; where a fault is to be
found (`planted` of an exercise), the faulty body, under a comment that says so. A solved notebook
has the reference's source in that place. All run among the notebook's own names, so a reference
may use only the names in NAMES, which the notebook imports before its first exercise; a test
holds every exercise to this.
"""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import re
import sys
import textwrap
import types

from genai_utils.checks import register
from genai_utils.printing import say

NAMES = {
    "torch": "import torch",
    "math": "import math",
    "np": "import numpy as np",
    "F": "import torch.nn.functional as F",
    "Tensor": "from torch import Tensor",
}


PLANTED = "# One thing in this function is wrong. Find it and mend it."


def source(reference) -> str:
    """The reference's source text, from `def` to its last line."""
    text = textwrap.dedent(inspect.getsource(reference))
    definition = _definition(text)
    return "\n".join(text.splitlines()[definition.lineno - 1 : definition.end_lineno]) + "\n"


def stub(exercise, notebook: str | None = None) -> str:
    """The source text of an exercise's stub. Takes an exercise, a library function or a name.

    notebook: where an exercise of that name is looked for ("24_vae"); two may share a name.
    """
    if isinstance(exercise, str):
        exercise = register.find(exercise, notebook)
    text = source(getattr(exercise, "reference", exercise))
    body = _definition(text).body
    if not _is_docstring(body[0]):
        raise ValueError(f"{_definition(text).name} needs a docstring: it tells what to write")
    kept, space = text.splitlines()[: body[0].end_lineno], " " * body[0].col_offset
    if planted := getattr(exercise, "planted", None):
        faulty = source(planted)
        first = _definition(faulty).body[0].lineno
        return "\n".join([*kept, space + PLANTED, *faulty.splitlines()[first - 1 :]]) + "\n"
    return "\n".join(kept) + "\n" + space + "...\n"


def is_planted(function, exercise) -> bool:
    """Is it the faulty version of the exercise, as its notebook has it? By the byte code."""
    code = getattr(function, "__code__", None)
    if exercise.planted is None or not isinstance(code, types.CodeType):
        return False
    # Python compiles a call of what the same text imports in another way.
    alone = stub(exercise)
    made = [compile(t, "stub", "exec") for t in (alone, "\n".join([*NAMES.values(), alone]))]
    codes = [c for m in made for c in m.co_consts if isinstance(c, types.CodeType)]
    return any(_same_code(code, each) for each in codes)


def _same_code(a: types.CodeType, b: types.CodeType, documented=True) -> bool:
    """Do they do the same? A docstring, the first constant of a function, does not count."""
    if (a.co_code, a.co_names, a.co_varnames) != (b.co_code, b.co_names, b.co_varnames):
        return False
    ours, theirs = a.co_consts, b.co_consts
    if documented and all(isinstance(c[0], str | None) for c in (ours, theirs) if c):
        ours, theirs = ours[1:], theirs[1:]
    return len(ours) == len(theirs) and all(
        type(x) is type(y)
        and (_same_code(x, y, documented=False) if isinstance(x, types.CodeType) else x == y)
        for x, y in zip(ours, theirs, strict=True)
    )


def foreign_names(reference) -> set[str]:
    """Names that the reference uses and that a notebook does not have."""
    tree = ast.parse(source(reference))
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
    return used - bound - set(NAMES) - set(dir(builtins)) - {reference.__name__}


def stubs_in(code: str) -> list[ast.FunctionDef]:
    """The functions of a code cell whose body is still to be written, or to be mended."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # %magics
        return []
    planted = [node.name for node in planted_in(code)]
    return [
        n
        for n in tree.body
        if isinstance(n, ast.FunctionDef) and (_is_empty(n) or n.name in planted)
    ]


def planted_in(code: str) -> list[ast.FunctionDef]:
    """The functions of a code cell that have a planted fault."""
    if PLANTED not in code:
        return []
    lines = code.splitlines()
    return [
        n
        for n in ast.parse(code).body
        if isinstance(n, ast.FunctionDef)
        and any(line.strip() == PLANTED for line in lines[n.lineno : n.end_lineno])
    ]


def stubs_of(tree: ast.Module) -> list[ast.FunctionDef]:
    """Those of a parsed cell that are still to be written."""
    return [n for n in tree.body if isinstance(n, ast.FunctionDef) and _is_empty(n)]


def solved(notebook):
    """A copy of a notebook (nbformat) with every stub of an exercise replaced by its solution.

    Which exercises are meant is read from the cell that calls `start("24_vae")`. Raises ValueError
    if there is no such cell.
    """
    done = copy.deepcopy(notebook)
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    starts = [m for cell in code for m in re.findall(r"""\bstart\(\s*["'](\w+)["']""", cell.source)]
    if not starts:
        raise ValueError('this notebook has no cell with start("NN_name")')
    known = register.load(starts[0])
    for cell in code:
        lines = cell.source.splitlines()
        for node in reversed(stubs_in(cell.source)):
            if node.name in known:
                answer = source(known[node.name].reference).splitlines()
                lines[node.lineno - 1 : node.end_lineno] = answer
        cell.source = "\n".join(lines)
    return done


def _definition(text: str) -> ast.FunctionDef:
    return next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef))


def docstring_of(function: ast.FunctionDef) -> ast.Expr | None:
    """The node of a function's docstring, or None."""
    return function.body[0] if _is_docstring(function.body[0]) else None


def _is_docstring(node) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_empty(function: ast.FunctionDef) -> bool:
    rest = function.body[1:] if _is_docstring(function.body[0]) else function.body
    values = [node.value if isinstance(node, ast.Expr) else None for node in rest]
    return all(isinstance(value, ast.Constant) and value.value is ... for value in values)


def main(arguments: list[str]) -> int:
    """Print the stubs of the notebooks named on the command line."""
    asked = bool({"-h", "--help"} & set(arguments))
    if asked or not arguments:
        usage = "usage: python -m genai_utils.checks.stubs NOTEBOOK …, such as 24_vae"
        say(usage, sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        shelves = [register.load(name) for name in arguments]
    except register.UnknownExercise as problem:
        say(problem, sys.stderr)
        return 2
    say("\n\n".join(stub(e).rstrip() for shelf in shelves for e in shelf.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
