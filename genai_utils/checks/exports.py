"""An assignment as the lecturer's version of two other tools: nbgrader and otter.

Both versions hold the solutions between marks; what the tools make of them for students does not.
The formats are those of nbgrader's cell metadata (schema version 3) and of `otter assign`. The
tests of both call the book's check, with seeds that are drawn anew, beside the student's code: the
library can be imported there. `genai_utils.checks.grade` is the stricter way.
"""

from __future__ import annotations

import copy
import re

import nbformat

from genai_utils.checks import stubs

TEST = "from genai_utils.checks.graded import must_be_correct"


def nbgrader(notebook, sets, open_ones=()):
    """The source version for nbgrader: `### BEGIN SOLUTION` and hidden tests.

    The answer to an open experiment is a cell that nbgrader has marked by hand.
    """
    good = {each.experiment.name: each for each in open_ones}
    made, points = copy.deepcopy(notebook), {each.task.number: each for each in sets}
    for place, cell in enumerate(made.cells):
        mark = cell.metadata["genai_assignment"]
        role, each = mark["role"], points.get(mark.get("exercise"))
        name = f"{mark['function']}-{role}" if each else role
        meta = {"schema_version": 3, "grade_id": name, "task": False, "cell_type": cell.cell_type}
        meta |= {"grade": False, "solution": False, "locked": True}
        if role == "text" and each.task.exercise.planted:
            cell.source += "\n\nDelete the line below the function that raises an error."
        if role == "answer":
            cell.source = _solved(each, "### BEGIN SOLUTION", "### END SOLUTION")
            meta |= {"solution": True, "locked": False}
        if role == "check":
            cell.source += f"\n### BEGIN HIDDEN TESTS\n{_test(each)}\n### END HIDDEN TESTS"
            meta |= {"grade": True, "points": each.points}
        if role == "open answer":
            asked = good[mark["experiment"]]
            cell.source = f"### BEGIN SOLUTION\n{_points(asked)}\n### END SOLUTION"
            meta |= {"grade": True, "solution": True, "locked": False, "points": asked.points}
        if "experiment" in mark:
            meta["grade_id"] = f"{mark['experiment']}-{role.replace(' ', '-')}"
        made.cells[place].metadata["nbgrader"] = meta
    return made


def otter(notebook, sets, open_ones=()):
    """The master notebook for `otter assign`: raw cells mark questions, solutions and tests.

    An open experiment is a question that is marked by hand.
    """
    good = {each.experiment.name: each for each in open_ones}
    made, points = copy.deepcopy(notebook), {each.task.number: each for each in sets}
    chapter = notebook.metadata["genai_assignment"]["chapter"]
    cells = [
        _raw(f"# ASSIGNMENT CONFIG\nname: {chapter}\nexport_cell: false\nsolutions_pdf: false"),
    ]
    for cell in made.cells:
        mark = cell.metadata["genai_assignment"]
        role, each = mark["role"], points.get(mark.get("exercise"))
        if role == "text":
            question = f"# BEGIN QUESTION\nname: q{mark['exercise'].replace('.', '_')}"
            cells += [_raw(f"{question}\npoints: {each.points:g}"), cell]
        elif role == "answer":
            cell.source = _solved(each, "# BEGIN SOLUTION", "# END SOLUTION")
            cells += [_raw("# BEGIN SOLUTION"), cell, _raw("# END SOLUTION")]
        elif role == "open":
            asked = good[mark["experiment"]]
            name = re.sub(r"\W", "_", asked.experiment.name)
            question = f"# BEGIN QUESTION\nname: {name}\nmanual: true\npoints: {asked.points:g}"
            cells += [_raw(question), cell]
        elif role == "open answer":
            cell.source = _points(good[mark["experiment"]])
            cells += [_raw("# BEGIN SOLUTION"), cell, _raw("# END SOLUTION")]
            cells.append(_raw("# END QUESTION"))
        elif role == "check":
            test = nbformat.v4.new_code_cell(f"# HIDDEN\n{_test(each)}")
            cells += [_raw("# BEGIN TESTS"), test, _raw("# END TESTS"), _raw("# END QUESTION")]
            cells.append(cell)  # the book's own check, which says more than a test does
        else:
            cells.append(cell)
    made.cells = cells
    return made


def _points(asked) -> str:
    """What a good answer to an open experiment contains, for who marks it."""
    return "A good answer contains:\n\n" + "\n".join(f"- {p}" for p in asked.experiment.good)


def _raw(text):
    return nbformat.v4.new_raw_cell(text)


def _test(each) -> str:
    """What raises AssertionError unless the function is correct."""
    return f'{TEST}\nmust_be_correct({each.task.name}, "{each.task.chapter}")'


def _solved(each, begin: str, end: str) -> str:
    """The library's function, with the marks around what follows its docstring.

    Where a fault is to be found, the faulty function stays, and the whole of the right one is
    between the marks.
    """
    if each.task.exercise.planted:
        right = stubs.source(each.task.exercise.reference).rstrip()
        return "\n".join([stubs.stub(each.task.exercise).rstrip(), "", begin, right, end])
    lines = stubs.source(each.task.exercise.reference).rstrip().splitlines()
    place = len(stubs.stub(each.task.exercise).rstrip().splitlines()) - 1  # where the ... stands
    space = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    return "\n".join([*lines[:place], space + begin, *lines[place:], space + end])
