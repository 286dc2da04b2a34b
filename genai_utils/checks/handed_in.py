"""A submission as it lies in a folder: its cells, and what of them an exercise's function needs.

Nothing is run here. Of a notebook, these statements are run for a function, from top to bottom:
the imports, definitions (def, class) and assignments that bind a name which it uses, or which
these use in turn. So a helper in another cell works, and of two definitions the last one wins.
Not run: calls that stand alone, such as `check(f)`, a training or `torch.manual_seed(0)`; imports
of the book's package; assignments into an imported module, such as `torch.exp = mine`. A cell with
a syntax error is left out, as Jupyter does. Other files are not there.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import json
import re
import symtable
import types
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 50_000_000  # bytes of a notebook, outputs included
PACKAGE = "genai_utils"
START = re.compile(r"""\bstart\(\s*["'](\d\d_\w+)["']""")
WRAPPED = re.compile(r"^\s*%%(time|capture)\b.*\n")  # cell magics that run the cell all the same
COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While)


class Unreadable(ValueError):
    """The file is no notebook that can be graded; the message says why."""


@dataclass
class Statement:
    """A statement of a notebook, and the names that it binds and uses."""

    cell: str
    number: int  # within its cell
    node: ast.stmt
    binds: set[str]
    uses: set[str]


@dataclass
class Notebook:
    """The code of a submission, read but not run."""

    cells: dict[str, str] = field(default_factory=dict)  # label -> code, of those that can be read
    statements: list[Statement] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # label -> code that cannot be read
    problems: dict[str, str] = field(default_factory=dict)  # label -> why not
    library: dict[str, str] = field(default_factory=dict)  # name -> where the book's package has it
    answers: dict[str, str] = field(default_factory=dict)  # function -> label of the cell for it
    chapter: str | None = None

    def plan(self, name: str) -> list[Statement]:
        """The statements that have to be run so that `name` is defined."""
        imported = {n for s in self.statements if _is_import(s.node) for n in s.binds}
        binding = [s for s in self.statements if not (_into(s.node) and s.binds & imported)]
        needed, waiting = set(), {name}
        while waiting:
            needed |= waiting
            chosen = [s for s in binding if s.binds & needed or "*" in s.binds]
            waiting = set().union(*(s.uses for s in chosen)) - needed
        return chosen

    def code(self, name: str) -> str:
        """The text of those statements."""
        return "\n\n".join(ast.unparse(s.node) for s in self.plan(name))

    def why_missing(self, name: str) -> str:
        """The sentence for a function that no cell defines."""
        defining = re.compile(rf"\bdef\s+{name}\b|^\s*{name}\s*=", re.MULTILINE)
        for label, code in self.broken.items():
            if defining.search(code):
                return f"The cell of {name} cannot be read ({label}): {self.problems[label]}."
        found = [n for s in self.statements if _is_definition(s.node) for n in s.binds]
        home = self.answers.get(name)
        there = [n for s in self.statements if s.cell == home and _is_definition(s.node)
                 for n in s.binds]  # fmt: skip
        other = there or difflib.get_close_matches(name, found, 1, 0.7)
        clue = f" There is {other[-1]}: was it renamed?" if other else ""
        broken = [f"{label}: {why}" for label, why in self.problems.items()]
        clue += f" Some cells cannot be read ({'; '.join(broken)})." if broken else ""
        return f"No cell defines {name}.{clue}"


def read(path: Path) -> Notebook:
    """The notebook at a path. Raises Unreadable."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise Unreadable(
                f"The file has {size / 1e6:,.0f} MB; at most {LARGEST / 1e6:.0f} are read. "
                "Clear its outputs and hand it in again."
            )
        if not size:
            raise Unreadable("The file is empty.")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = content["cells"] if "cells" in content else content["worksheets"][0]["cells"]
        found = Notebook()
        for number, cell in enumerate(c for c in cells if c["cell_type"] == "code"):
            code = cell["source"] if "source" in cell else cell["input"]
            code = code if isinstance(code, str) else "".join(code)
            mark = cell.get("metadata", {}).get("genai_assignment", {})
            _add(found, f"code cell {number + 1}", code, mark)
    except Unreadable:
        raise
    except OSError as problem:
        raise Unreadable(f"The file cannot be read: {problem.strerror or problem}.") from problem
    except UnicodeDecodeError as problem:
        raise Unreadable("The file is no text, so it is no notebook.") from problem
    except RecursionError as problem:
        raise Unreadable("The file is nested too deeply to be a notebook.") from problem
    except json.JSONDecodeError as problem:
        raise Unreadable(f"The file is no notebook, or a part of one: {problem}.") from problem
    except Exception as problem:
        raise Unreadable("The file is JSON, but no notebook.") from problem
    return found


def _add(notebook, label, code, mark) -> None:
    """Put one code cell in its place."""
    if started := START.search(code):
        notebook.chapter = notebook.chapter or started[1]
    if isinstance(mark, dict) and mark.get("role") == "answer":
        notebook.answers[str(mark.get("function"))] = label
    try:
        plain = _without_magics(code)
        statements = [
            _statement(label, number, node) for number, node in enumerate(ast.parse(plain).body)
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        notebook.broken[label] = code
        line = f", line {problem.lineno}" if getattr(problem, "lineno", None) else ""
        what = getattr(problem, "msg", None) or str(problem)
        notebook.problems[label] = f"{type(problem).__name__}: {what}{line}"
        return
    notebook.cells[label] = plain
    for statement in statements:
        if _is_import(statement.node) and _modules(statement.node) <= {PACKAGE}:
            where = getattr(statement.node, "module", None)
            for alias in statement.node.names:
                full = f"{where}.{alias.name}" if where else alias.name
                notebook.library[alias.asname or alias.name.partition(".")[0]] = full
        elif statement.binds:
            notebook.statements.append(statement)


def _without_magics(code: str) -> str:
    """The cell as plain Python: what begins with % or ! becomes a call that stands alone."""
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(WRAPPED.sub("", code))


def _statement(label, number, node) -> Statement:
    binds, uses = set(), set()
    if isinstance(node, ast.Expr):
        return Statement(label, number, node, binds, uses)
    if _is_import(node):
        binds = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        return Statement(label, number, node, binds, uses)
    with contextlib.suppress(SyntaxError):  # such as an await outside of a function
        tables = [symtable.symtable(ast.unparse(node), "cell", "exec")]
        binds = {s.get_name() for s in tables[0].get_symbols() if s.is_assigned()}
        binds |= {s.get_name() for s in tables[0].get_symbols() if s.is_imported()}
        while tables:
            table = tables.pop()
            outermost = table.get_type() == "module"
            tables += table.get_children()
            for symbol in table.get_symbols():
                if symbol.is_referenced() and (outermost or symbol.is_global()):
                    uses.add(symbol.get_name())
        if _into(node):
            binds |= {base for base in map(_base, _targets(node)) if base}
    return Statement(label, number, node, binds, uses)


def _is_import(node) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _is_definition(node) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _modules(node) -> set[str]:
    """The packages that an import statement names."""
    names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.partition(".")[0] for name in names}


def _targets(node) -> list:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets if not isinstance(node, COMPOUND) else []


def _into(node) -> bool:
    """Does it assign into an object, as x.y = … and x[0] = … do?"""
    return any(isinstance(t, (ast.Attribute, ast.Subscript)) for t in _targets(node))


def _base(target) -> str | None:
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


# --- a function to look at, never to call -------------------------------------------------------


class Default:
    """Stands for a default value that was not computed."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


class Unseen:
    """Stands for a function whose definition cannot be looked at."""

    def __call__(self, *arguments):
        raise NotImplementedError


def likeness(plan: list[Statement], name: str):
    """The function or class `name` as far as it can be seen without running anything."""
    node = next(s.node for s in reversed(plan) if name in s.binds)
    if isinstance(node, ast.ClassDef):
        return type(name, (), {})
    seen = Unseen()
    if _is_definition(node):
        with contextlib.suppress(Exception):
            seen = _shell(node)
    return seen


def _shell(node) -> types.FunctionType:
    """A function with the node's code, arguments and flags, which has never been defined."""
    bare = ast.parse(ast.unparse(node)).body[0]
    bare.decorator_list = []
    code = compile(ast.Module([bare], []), "submission", "exec", dont_inherit=True)
    while code.co_name != node.name:  # within the scope of type parameters, where there are some
        code = next(c for c in code.co_consts if inspect.iscode(c))
    places = tuple(Default(ast.unparse(d)) for d in node.args.defaults)
    named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    closure = tuple(types.CellType() for _ in code.co_freevars)
    made = types.FunctionType(code, {}, node.name, places, closure)
    made.__kwdefaults__ = {a.arg: Default(ast.unparse(d)) for a, d in named if d is not None}
    return made
