"""How hard an exercise is, by a rule, and the minutes that it is given.

An exercise counts a point for each operation of the shortest answer that we know, the library's:
a call, an operator, a comparison, an index, a loop, a branch. Checks of input do not count. It
counts two for each clause of its text, an edge or an option that one has to think of. Up to 12
points it is easy, up to 20 medium, above that hard. A function with a planted fault counts as any
other, since all of it has to be read, and its box says that a fault is to be found.
"""

import ast

from genai_utils.checks.stubs import source
from genai_utils.display.source import only_checks

MINUTES = {"easy": 10, "medium": 20, "hard": 30}
FAULT = "find the fault, "
EASY, MEDIUM = 12, 20  # the most points
_OPERATIONS = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Subscript, ast.comprehension,
               ast.For, ast.While, ast.If, ast.IfExp)  # fmt: skip


def points(exercise):
    """The points of an exercise of the register."""
    function = ast.parse(source(exercise.reference)).body[0]
    body = function.body[1:] if ast.get_docstring(function) else function.body
    nodes = [n for part in body if not only_checks(part) for n in ast.walk(part)]
    return sum(isinstance(n, _OPERATIONS) for n in nodes) + 2 * len(exercise.clauses)


def level(exercise):
    """ "easy", "medium" or "hard"."""
    count = points(exercise)
    return "easy" if count <= EASY else "medium" if count <= MEDIUM else "hard"


def label(exercise):
    """What its box says: "medium, 20 minutes", or "find the fault, medium, 20 minutes"."""
    fault = FAULT if exercise.planted else ""
    return f"{fault}{level(exercise)}, {MINUTES[level(exercise)]} minutes"
