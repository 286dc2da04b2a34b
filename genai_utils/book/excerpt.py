"""The part of a notebook that one of its results needs: what else it shows is left out.

    excerpt = Excerpt("notebooks/24_vae.ipynb")
    excerpt.trainings()             # the names that statements bind which call `fit`: ["aes", …]
    exec(excerpt.code("result"), {"__name__": "__main__"})

A program slice (Weiser 1981), backwards from the statement that binds the result: a statement is
kept if it binds or changes something that a kept one reads. What only shows (figures, tables,
prints, checks) is left out. So a training runs by the notebook's very code, without the notebook.
"""

import ast
import builtins
import symtable
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from genai_utils.book.running import read
from genai_utils.inputs import refusal

SEEDING = {"manual_seed", "seed"}
SHOWING = ("genai_utils.course", "matplotlib", "IPython")  # what comes from there changes nothing
_TOLD = {"print", "say", "run", "plt", "assert_close"}
_BUILT_IN = set(dir(builtins))
_SCOPES = (ast.FunctionDef, ast.ClassDef)
_SURE = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.With, *_SCOPES)  # bind always


class Excerpt:
    """The code cells of a notebook as one list of statements.

    path: of the notebook. Raises FileNotFoundError, or ValueError where it is no notebook.
    """

    def __init__(self, path):
        self.path = Path(path)
        notebook, _ = read(self.path)
        transform = TransformerManager().transform_cell
        self.statements = []  # (number of the cell, statement)
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                body = ast.parse(transform(cell.source)).body
                self.statements += [(number, statement) for statement in body]

    @cached_property
    def shown(self):
        """Names of functions that only show."""
        names = set(_TOLD)
        for _, statement in self.statements:
            if isinstance(statement, ast.ImportFrom) and statement.module.startswith(SHOWING):
                names |= {alias.asname or alias.name for alias in statement.names}
        return names

    @cached_property
    def bound(self):
        """What each statement binds, and what it changes; `run` and imports do not change."""
        imports = [s for _, s in self.statements if isinstance(s, ast.Import | ast.ImportFrom)]
        imported = {"run"}.union(*map(binds, imports))
        return [(binds(s), changes(s, self.shown) - imported) for _, s in self.statements]

    @cached_property
    def definitions(self):
        """Name -> [(place, what a function of that name reads, or nothing)], in order."""
        found = {}
        for place, (_, statement) in enumerate(self.statements):
            function = statement if isinstance(statement, _SCOPES) else _lambda(statement)
            read = set() if function is None else reads(function)
            for name in self.bound[place][0]:
                found.setdefault(name, []).append((place, read))
        return found

    def reached(self, names, before):
        """These names and all that the functions among them read, for they read it when called."""
        found, waiting = set(), set(names)
        while waiting:
            name = waiting.pop()
            found.add(name)
            earlier = [read for place, read in self.definitions.get(name, ()) if place < before]
            waiting |= earlier[-1] - found if earlier else set()
        return found

    @cached_property
    def trains(self):
        """Places of the statements that call `fit`, by themselves or by a function."""
        if not any(_imports_fit(statement) for _, statement in self.statements):
            return []
        return [
            place
            for place, (_, statement) in enumerate(self.statements)
            if not isinstance(statement, (*_SCOPES, ast.Import, ast.ImportFrom))
            and "fit" in self.reached(calls(statement), place)
        ]

    def trainings(self):
        """Names that statements which train bind or change: a list."""
        names = [sorted(set.union(*self.bound[place])) for place in self.trains]
        return list(dict.fromkeys(sum(names, [])))

    def kept(self, name, which=1):
        """Places of the statements that a training needs, the `which`-th of this name, in order.

        Raises ValueError where no statement that trains binds the name so often.
        """
        last = [place for place in self.trains if name in set.union(*self.bound[place])]
        if not 1 <= which <= len(last):
            known = ", ".join(self.trainings()) or "none"
            found = f"{name!r}, which trains {len(last)} times, and the number {which}"
            raise refusal("training", f"one of {self.path.name}: {known}", found)
        return self.needed(last[which - 1])

    def needed(self, last):
        """Places of the statement at the place `last` and of all that it needs, in order."""
        target = self.statements[last][1]
        filled = _filled(target)  # a list or dict that the result goes to: only that it is there
        kept, needed = {last}, self.reached(reads(target) - filled, last)
        for place in range(last - 1, -1, -1):
            cell, statement = self.statements[place]
            bound, changed = self.bound[place]
            seeds = _seeds(statement) and any(self.statements[k][0] == cell for k in kept)
            first = cell == self.statements[0][0]  # the set-up cell
            if not (seeds or first or (bound | changed) & needed or bound & filled):
                continue
            filled -= bound
            kept.add(place)
            if isinstance(statement, (ast.Assign, *_SCOPES)):
                needed -= bound - changed
            needed |= self.reached(reads(statement), place)
        return sorted(kept)

    def code(self, name, which=1):
        """The kept statements as compiled code, which `exec` runs."""
        body = [self.statements[place][1] for place in self.kept(name, which)]
        return compile(ast.Module(body, []), str(self.path), "exec")

    def source(self, name, which=1):
        """The kept statements as text."""
        kept = self.kept(name, which)
        return "\n".join(ast.unparse(self.statements[place][1]) for place in kept)


def binds(statement):
    """Names that a statement binds at the top of the notebook."""
    names = set()
    for node in _outside(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return names


def changes(statement, shown=frozenset()):
    """Names of things that a statement changes in place: x[i] = …, x.a = …, x.f(…), f(x)."""
    names = set()
    for node in _outside(statement):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            names.add(_root(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if _root(call.func) in shown:
                continue
            if isinstance(call.func, ast.Attribute):
                names.add(_root(call.func))
            names |= {_root(argument) for argument in call.args}
    return names - {None}


def reads(statement):
    """Names of the notebook that a statement reads before it binds them itself.

    What a function inside reads counts too, but not its arguments and own variables.
    """
    if isinstance(statement, ast.For):
        body = _reads_in_turn(statement.body) - binds(statement.target)
        return reads(statement.iter) | body | _reads_in_turn(statement.orelse)
    if isinstance(statement, ast.With):
        bound = set().union(*(binds(item.optional_vars) for item in statement.items
                              if item.optional_vars))  # fmt: skip
        given = set().union(*(reads(item.context_expr) for item in statement.items))
        return given | (_reads_in_turn(statement.body) - bound)
    if isinstance(statement, ast.If | ast.While):
        parts = (statement.body, statement.orelse)
        return reads(statement.test).union(*map(_reads_in_turn, parts))
    if isinstance(statement, ast.Try):
        caught = (_reads_in_turn(each.body) - {each.name} for each in statement.handlers)
        parts = (statement.body, statement.orelse, statement.finalbody)
        return set().union(*caught, *map(_reads_in_turn, parts))
    names = _referenced(symtable.symtable(ast.unparse(statement), "notebook", "exec"))
    if isinstance(statement, ast.AugAssign):
        names |= {_root(statement.target)}
    return names - _BUILT_IN


def _reads_in_turn(statements):
    read, bound = set(), set()
    for statement in statements:
        read |= reads(statement) - bound
        if isinstance(statement, _SURE):
            bound |= binds(statement)
    return read


def _referenced(table):
    """Names of the module that a scope and those inside it refer to."""
    outermost = table.get_type() == "module"
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (outermost or symbol.is_global())
    }
    return names.union(*map(_referenced, table.get_children()))


def calls(statement):
    """Names that are called, or given to what is called, outside of functions and classes."""
    names = set()
    for node in _outside(statement):
        if isinstance(node, ast.Call):
            for each in (node.func, *node.args, *(word.value for word in node.keywords)):
                names |= reads(ast.Expr(each)) if isinstance(each, ast.Lambda) else {_root(each)}
    return names - {None}


def _outside(statement):
    """The nodes of a statement, without the insides of functions and comprehensions' targets."""
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.comprehension):
            waiting += [node.iter, *node.ifs]
            continue
        waiting += ast.iter_child_nodes(node)


def _root(node):
    """The name that x, x.a, x[i] and x.f() begin with, or None."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _lambda(statement):
    """What an assignment of a lambda, or of something that holds one, assigns; else None."""
    value = getattr(statement, "value", None)
    if value is None or not any(isinstance(each, ast.Lambda) for each in ast.walk(value)):
        return None
    return value


def _imports_fit(statement):
    return (
        isinstance(statement, ast.ImportFrom)
        and statement.module == "genai_utils.training"
        and any(alias.name == "fit" for alias in statement.names)
    )


def _filled(statement):
    """The roots of x[i] = … and x.a = …, where nothing else of the statement reads them."""
    if not isinstance(statement, ast.Assign):
        return set()
    roots = {_root(t) for t in statement.targets if not isinstance(t, ast.Name | ast.Tuple)}
    return roots - reads(statement.value) - {None}


def _seeds(statement):
    call = getattr(statement, "value", None)
    return (
        isinstance(statement, ast.Expr)
        and isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in SEEDING
    )
