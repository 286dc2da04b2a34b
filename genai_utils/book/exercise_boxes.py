"""Exercises in the page: hints and the solution as buttons in the exercise's box.

The box of "Exercise 24.3" ends with a line that says where it is solved, and with a button for each
hint and for the solution, which is what `solution(...)` shows in the notebook. The buttons are
`<details>`: they work from a folder and without JavaScript. The stub stays; the cells that only
check, or only show the answer, are left out of the page. The notebook keeps them.

The hints and the answers come from the register, so this is the one place where the build imports
models (four seconds, once in a process). Reading them out of the files would be a second register.
"""

import ast
import inspect
import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from genai_utils.book import chapters
from genai_utils.book.nodes import link, paragraph
from genai_utils.checks import register
from genai_utils.display.source import source_bundle

log = logging.getLogger(__name__)
_BOX = re.compile(r"exercise-(\d+)-(\d+)")
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


class ExerciseBoxes(SphinxTransform):
    """Right after the boxes are made, before anything looks at the cells."""

    default_priority = 501

    def apply(self):
        # The box of an exercise is an admonition with the id "exercise-24-3".
        boxes = [
            (box, f"{found[1]}.{found[2]}")
            for box in self.document.findall(nodes.admonition)
            for found in [_BOX.fullmatch("".join(box["ids"]))]
            if found
        ]
        if not boxes:
            return
        name = self.env.docname.rpartition("/")[2]
        try:
            known = {exercise.number: exercise for exercise in register.load(name).values()}
        except register.UnknownExercise:
            known = {}
        self.note(known.values())
        references = [known[number].reference for _, number in boxes if number in known]
        style = "".join(_STYLE.findall(source_bundle(*references).html)) if references else ""
        for box, number in boxes:
            if number not in known:
                log.warning(
                    "Exercise %s is not in genai_utils/exercises: its box has no hints.",
                    number,
                    location=self.env.docname,
                )
                continue
            box += self.where(known[number])
            box += nodes.raw("", style + help_for(known[number]), format="html")
            style = ""  # once in a page is enough
        self.leave_out({exercise.name for exercise in known.values()})

    def note(self, exercises):
        """The page is written anew when a file of exercises or of an answer has changed."""
        for exercise in exercises:
            self.env.note_dependency(inspect.getsourcefile(exercise.reference))
            self.env.note_dependency(inspect.getsourcefile(exercise.cases))

    def where(self, exercise):
        return paragraph(
            "Solve it in the notebook (",
            link("open it on Colab", chapters.launches(self.app.srcdir, self.env.docname)["colab"]),
            "): ",
            nodes.literal("", f"check({exercise.name})"),
            " there says whether it is mended."
            if exercise.planted
            else " there names the mistake.",
            classes=["exercise-where"],
        )

    def leave_out(self, names):
        # What a cell says is read from the notebook: on the page it may already be folded away.
        cells = chapters.Chapter(Path(self.env.doc2path(self.env.docname))).notebook.cells
        for node in list(self.document.findall(nodes.container)):
            if "cell_index" in node and only_about(names, cells[node["cell_index"]].source):
                node.parent.remove(node)


def only_about(names, code):
    """Whether code does nothing but check, hint at or show the answers of exercises."""
    try:
        body = ast.parse(code).body
    except SyntaxError:  # %magics
        return False
    return bool(body) and all(_about(names, statement) for statement in body)


def _about(names, statement):
    """`check(gate)`, `hint("gate")`, `show_source(models.gate)`, for a name among the names."""
    call = getattr(statement, "value", None)
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return False
    if call.func.id not in ("check", "hint", "solution", "show_source") or not call.args:
        return False
    return all(ast.unparse(a).strip("'\"").rpartition(".")[2] in names for a in call.args)


def help_for(exercise):
    """The buttons of one exercise, HTML."""
    parts = [
        (f"Hint {number}", f"<p>{escape(text)}</p>")
        for number, text in enumerate(exercise.hints, start=1)
    ]
    parts.append(("Solution", _STYLE.sub("", source_bundle(exercise.reference).html)))
    body = "".join(
        f"<details><summary>{title}</summary>{inside}</details>" for title, inside in parts
    )
    return f'<div class="exercise-help">{body}</div>'


def setup(app):
    app.add_transform(ExerciseBoxes)
    app.add_css_file("exercises.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
