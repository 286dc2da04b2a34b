"""Assignments: what the notebooks hold and what not, for students, for nbgrader and for otter."""

import ast
import json
import re
import sys

import nbformat
import pytest

from genai_utils.checks import assign, grade, register, stubs, tasks
from genai_utils.checks.diagnosis import diagnose
from genai_utils.checks.gradebook import Gradebook
from genai_utils.checks.graded import must_be_correct
from genai_utils.checks.process import Limits

ALL = [task for name in tasks.chapters() for task in tasks.read(name).tasks]
WORTH = {"8.1": 2.0, "10.2": 0.5}


def made(form="plain", exercises=("8.1", "8.3"), points=None):
    sets = assign.chosen(exercises=exercises, points=points)
    return assign.notebook(tasks.read(sets[0].task.chapter), sets, form), sets


def by_role(notebook, role):
    return [c for c in notebook.cells if c.metadata.get("genai_assignment", {}).get("role") == role]


# --- the tasks of the chapters ------------------------------------------------------------------


def test_every_exercise_of_the_register_is_a_task_and_numbered_in_order():
    for name in tasks.chapters():
        found = tasks.read(name).tasks
        assert {task.name for task in found} == set(register.load(name))
        assert [t.number for t in found] == [f"{int(name[:2])}.{n + 1}" for n in range(len(found))]
    assert len(tasks.chapters()) == len(register.topics())


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.number)
def test_a_text_says_something_and_names_nothing_that_is_not_there(task):
    assert len(task.text) > 10 and (task.text[0].isupper() or task.text[0] in "`$")
    assert not re.search(r"solution\(|cells? (after|below)|loop below", task.text)
    for number in re.findall(r"\((\d+\.\d+)\)", task.text):
        assert any(rf"\tag{{{number}}}" in formula for formula in task.formulas), number


def test_the_sentences_about_other_cells_go_and_the_others_stay():
    assert tasks.without_elsewhere("Write (1). The cell after the check trains. Mind ½.") == (
        "Write (1). Mind ½."
    )
    assert tasks.without_elsewhere("Write a step, then put it into the loop below.") == (
        "Write a step."
    )


# --- what is chosen -----------------------------------------------------------------------------


def test_chapters_exercises_and_points():
    sets = assign.chosen(["08", "gpt"], points=WORTH)
    assert [s.task.number for s in sets] == ["8.1", "8.2", "8.3", "8.4", "8.5",
                                             "10.1", "10.2", "10.3", "10.4", "10.5"]  # fmt: skip
    assert {s.task.number: s.points for s in sets if s.points != 1} == WORTH
    assert [s.task.name for s in assign.chosen(exercises=["10.2", "8.1"])] == [
        "attention",
        "trapezoid",
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"chapters": ["99"]}, LookupError, "No chapter .* '99'.*08_transformer"),
        ({"exercises": ["8.9"]}, LookupError, "no exercise 8.9.*8.1, 8.2, 8.3, 8.4"),
        ({"exercises": ["8.1"], "points": {"8.2": 1}}, ValueError, "8.2, which is not chosen"),
        ({"exercises": ["8.1"], "points": {"8.1": -1}}, ValueError, "points of 8.1"),
        ({}, ValueError, "--chapters or --exercises"),
    ],
)
def test_a_wrong_choice_is_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        assign.chosen(**arguments)


# --- the notebook for students ------------------------------------------------------------------


def test_the_notebook_holds_setup_imports_text_stub_and_check():
    notebook, sets = made(points={"8.1": 2})
    nbformat.validate(notebook)
    assert 'start("08_transformer")' in by_role(notebook, "setup")[0].source
    heads = [c.source.splitlines()[0] for c in by_role(notebook, "text")]
    assert heads == ["## Exercise 8.1 (2 points)", "## Exercise 8.3 (1 point)"]
    assert "2 exercises, 3 points" in by_role(notebook, "head")[0].source
    for each, answer, check in zip(
        sets, by_role(notebook, "answer"), by_role(notebook, "check"), strict=True
    ):
        assert answer.source == stubs.stub(each.task.exercise).rstrip()
        assert check.source.startswith(f"check({each.task.name})")
        mark = answer.metadata["genai_assignment"]
        assert (mark["exercise"], mark["points"]) == (each.task.number, each.points)


@pytest.mark.parametrize("name", tasks.chapters())
def test_no_notebook_for_students_holds_an_answer_or_an_output(name):
    sets = assign.chosen([name])
    notebook = assign.notebook(tasks.read(name), sets)
    whole = nbformat.writes(notebook)
    assert "solution(" not in whole and "show_source" not in whole
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)
    for each in sets:
        body = ast.parse(stubs.source(each.task.exercise.reference)).body[0].body[1:]
        shown = ast.parse(stubs.stub(each.task.exercise)).body[0].body  # of a planted fault: most
        lines = {ast.unparse(statement) for statement in body}
        for line in lines - {ast.unparse(statement) for statement in shown}:
            assert len(line) < 12 or line not in "\n".join(c.source for c in notebook.cells)


def test_the_stubs_run_after_the_imports_and_the_answers_are_correct():
    notebook, sets = made(exercises=["8.1", "8.2"])
    names = {}
    imports = by_role(notebook, "imports")[0].source
    exec(imports.replace("from genai_utils.course import check, hint, progress", ""), names)
    for each, cell in zip(sets, by_role(notebook, "answer"), strict=True):
        exec(cell.source, names)
        assert diagnose(each.task.exercise, names[each.task.name]).state == "to do"
        exec(stubs.source(each.task.exercise.reference), names)
        assert diagnose(each.task.exercise, names[each.task.name]).state == "correct"


# --- the files ----------------------------------------------------------------------------------


def run(*arguments):
    return assign.main([str(a) for a in arguments])


def test_the_command_writes_notebooks_and_the_manifest(tmp_path, capsys):
    out = tmp_path / "homework"
    assert run("--chapters", "08", "--exercises", "8.1", "10.2", "--points", "10.2=0.5",
               "--out", out) == 0  # fmt: skip
    assert "2 exercises, 1.5 points" in capsys.readouterr().out
    names = sorted(path.name for path in out.iterdir())
    assert names == ["08_transformer.ipynb", "10_gpt.ipynb", "assignment.json"]
    manifest = json.loads((out / "assignment.json").read_text())
    assert manifest["exercises"][1] == {
        "chapter": "10_gpt", "number": "10.2", "function": "trapezoid", "points": 0.5,
    }  # fmt: skip
    assert "import math" in (out / "10_gpt.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("there", ["08_transformer.ipynb", "assignment.json"])
def test_no_file_is_written_over(tmp_path, capsys, there):
    (tmp_path / there).write_text("mine")
    assert run("--chapters", "08", "--out", tmp_path) == 1
    assert "is there already. Nothing was written" in capsys.readouterr().err
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(there, "mine")]


def test_the_command_refuses_odd_points(tmp_path, capsys):
    for odd in ("8.1", "8.1=x", "8.1=-1", "8.1=nan"):
        with pytest.raises(SystemExit):
            run("--chapters", "08", "--points", odd, "--out", tmp_path)
        assert "EXERCISE=POINTS" in capsys.readouterr().err
    assert run("--chapters", "77", "--out", tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


# --- for other tools ----------------------------------------------------------------------------


def test_a_function_must_be_correct_or_an_assertion_fails():
    reference = register.find("attention", "08_transformer").reference

    def attention(q, k, v, mask=None):
        return q, k

    names = {}
    exec("\n".join(stubs.NAMES.values()) + "\n" + stubs.source(reference), names)
    must_be_correct(names["attention"], "08_transformer")
    with pytest.raises(AssertionError, match="attention: not yet"):
        must_be_correct(attention, "08_transformer")


def test_nbgrader_cells_say_what_they_are_and_hide_solutions_and_tests():
    notebook, sets = made("nbgrader", points={"8.1": 2})
    nbformat.validate(notebook)
    ids = [cell.metadata["nbgrader"]["grade_id"] for cell in notebook.cells]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[A-Za-z0-9_-]+", id) for id in ids)
    for cell in notebook.cells:
        meta, role = cell.metadata["nbgrader"], cell.metadata["genai_assignment"]["role"]
        assert (meta["schema_version"], meta["cell_type"]) == (3, cell.cell_type)
        kinds = {"answer": (False, True, False), "check": (True, False, True)}
        expected = kinds.get(role, (False, False, True))
        assert (meta["grade"], meta["solution"], meta["locked"]) == expected
        assert ("points" in meta) == (role == "check")
    for each, cell in zip(sets, by_role(notebook, "answer"), strict=True):
        left = re.sub(r"(?s)### BEGIN SOLUTION.*### END SOLUTION", "...", cell.source)
        assert left == stubs.stub(each.task.exercise).rstrip()
        names = {}
        exec("\n".join(stubs.NAMES.values()) + "\n" + cell.source, names)
        must_be_correct(names[each.task.name], each.task.chapter)
    for cell in by_role(notebook, "check"):
        shown = re.sub(r"(?s)### BEGIN HIDDEN TESTS.*### END HIDDEN TESTS", "", cell.source)
        assert "must_be_correct" in cell.source and "must_be_correct" not in shown


def test_otter_cells_open_and_close_their_blocks():
    notebook, sets = made("otter", points={"8.1": 2})
    nbformat.validate(notebook)
    raw = [c.source for c in notebook.cells if c.cell_type == "raw"]
    assert raw[0].splitlines()[:2] == ["# ASSIGNMENT CONFIG", "name: 08_transformer"]
    blocks = [text.splitlines()[0].removeprefix("# ") for text in raw[1:]]
    one = ["BEGIN QUESTION", "BEGIN SOLUTION", "END SOLUTION", "BEGIN TESTS", "END TESTS"]
    assert blocks == [*one, "END QUESTION"] * len(sets)
    assert "name: q8_1\npoints: 2" in raw[1]
    tests = [c for c in notebook.cells if c.source.startswith("# HIDDEN")]
    assert len(tests) == len(sets) and all("must_be_correct" in c.source for c in tests)
    for each, cell in zip(sets, by_role(notebook, "answer"), strict=True):
        left = re.sub(r"(?s)# BEGIN SOLUTION.*# END SOLUTION", "...", cell.source)
        assert left == stubs.stub(each.task.exercise).rstrip()


def test_nbgrader_itself_reads_it(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed")
    from nbgrader.nbgraderformat.v3 import MetadataValidatorV3
    from nbgrader.preprocessors import CheckCellMetadata, ClearHiddenTests, ClearSolutions

    notebook, sets = made("nbgrader")
    MetadataValidatorV3().validate_nb(notebook)
    for step in (CheckCellMetadata, ClearSolutions, ClearHiddenTests):
        notebook, _ = step().preprocess(notebook, {})
    for each, cell in zip(sets, by_role(notebook, "answer"), strict=True):
        assert "raise NotImplementedError" in cell.source
        names = {}
        exec("\n".join(stubs.NAMES.values()) + "\n" + cell.source, names)
        assert diagnose(each.task.exercise, names[each.task.name]).state == "to do"
    assert "must_be_correct" not in nbformat.writes(notebook)


@pytest.mark.skipif(sys.platform == "win32", reason="otter assign starts a kernel in a folder")
def test_otter_itself_makes_a_notebook_for_students(tmp_path):
    otter = pytest.importorskip("otter.assign", reason="otter is not installed")
    assign.write(assign.chosen(exercises=["8.1"]), tmp_path / "in", "otter")
    otter.main(str(tmp_path / "in/08_transformer.ipynb"), str(tmp_path / "out"), no_pdfs=True)
    student = nbformat.read(tmp_path / "out/student/08_transformer.ipynb", as_version=4)
    sources = "\n".join(cell.source for cell in student.cells)
    assert stubs.stub("attention", "08_transformer").rstrip() in sources
    assert "must_be_correct" not in nbformat.writes(student) and "SOLUTION" not in sources
    tests = student.metadata["otter"]["tests"]
    assert tests["q8_1"]["points"] == 1


# --- planted faults and open experiments --------------------------------------------------------


def faulty():
    """The assignment of a planted fault, as if its chapter's notebook set it as 24.6."""
    task = tasks.Task("24_vae", "24.6", "log_weights", "find the fault, hard", "24.8", "Mend.", ())
    return assign.Set(task, 2.0)


def open_one():
    return assign.opened(["units-in-use"], {"units-in-use": 3.0})


def test_an_assignment_shows_the_faulty_body_and_no_other():
    notebook = assign.notebook(tasks.read("24_vae"), [faulty()])
    answer = by_role(notebook, "answer")[0].source
    assert answer == stubs.stub(faulty().task.exercise).rstrip() and stubs.PLANTED in answer
    right = set(stubs.source(faulty().task.exercise.reference).splitlines()) - set(
        answer.split("\n")
    )
    assert len(right) == 1 and right.pop() not in nbformat.writes(notebook)
    assert "has a fault in it" in by_role(notebook, "head")[0].source


@pytest.mark.parametrize(
    ("form", "begin", "end"),
    [("nbgrader", "### BEGIN SOLUTION", "### END SOLUTION"),
     ("otter", "# BEGIN SOLUTION", "# END SOLUTION")],
)  # fmt: skip
def test_the_lecturers_version_keeps_the_fault_outside_of_the_marks(form, begin, end):
    notebook = assign.notebook(tasks.read("24_vae"), [faulty()], form)
    answer = by_role(notebook, "answer")[0].source
    shown, solution = answer.split(begin)
    assert shown.rstrip() == stubs.stub(faulty().task.exercise).rstrip()
    names = {}
    exec("\n".join(stubs.NAMES.values()) + "\n" + answer, names)
    assert diagnose(faulty().task.exercise, names["log_weights"]).state == "correct"
    assert solution.rstrip().endswith(end)


def test_an_open_experiment_is_asked_and_its_good_points_are_not_told():
    notebook = assign.notebook(tasks.read("24_vae"), [], open_ones=open_one())
    text, place = by_role(notebook, "open")[0].source, by_role(notebook, "open answer")[0].source
    asked = open_one()[0].experiment
    assert text.startswith("## Open experiment: units-in-use (3 points, marked by hand)")
    assert asked.question in text and asked.hand_in in text and place == "*Your answer:*"
    assert not any(point in nbformat.writes(notebook) for point in asked.good)
    assert "1 open experiment, 3 points" in by_role(notebook, "head")[0].source


def test_open_experiments_come_in_the_order_of_the_book():
    names = ["units-in-use", "longer-than-trained", "units-in-use"]
    assert [each.chapter for each in assign.opened(names)] == ["08_transformer", "24_vae"]


def test_the_lecturers_versions_have_it_marked_by_hand():
    asked = open_one()[0].experiment
    notebook = assign.notebook(tasks.read("24_vae"), [], "nbgrader", open_one())
    cell = by_role(notebook, "open answer")[0]
    meta = cell.metadata["nbgrader"]
    assert (meta["grade"], meta["solution"], meta["points"]) == (True, True, 3.0)
    assert all(point in cell.source for point in asked.good)
    assert cell.source.startswith("### BEGIN SOLUTION") and cell.source.endswith("### END SOLUTION")
    notebook = assign.notebook(tasks.read("24_vae"), [], "otter", open_one())
    raw = [c.source for c in notebook.cells if c.cell_type == "raw"]
    assert "# BEGIN QUESTION\nname: units_in_use\nmanual: true\npoints: 3" in raw
    assert raw[-3:] == ["# BEGIN SOLUTION", "# END SOLUTION", "# END QUESTION"]


def test_the_command_sets_an_open_experiment_and_grading_passes_over_it(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--experiments", "units-in-use", "--points", "units-in-use=3", "24.1=2"]
    assert assign.main([*arguments, "--exercises", "24.1", "--out", str(out)]) == 0
    assert "1 exercise, 1 open experiment, 5 points." in capsys.readouterr().out
    manifest = json.loads((out / "assignment.json").read_text())
    assert manifest["by hand"] == [
        {"chapter": "24_vae", "experiment": "units-in-use", "points": 3.0}
    ]
    assert [e["number"] for e in manifest["exercises"]] == ["24.1"]
    settings = grade.settings_of(out, None, Limits())
    assert [e["number"] for e in settings["exercises"]] == ["24.1"]
    book = Gradebook(tmp_path / "grades", settings | {"seeds": [1]})
    rows = book.publish({"ada": {}}, {})
    assert [(row["exercise"], row["possible"]) for row in rows] == [("24.1", 2.0)]
    for page in (tmp_path / "grades").rglob("*.html"):
        assert "Marked by hand" in page.read_text() and "units-in-use (3)" in page.read_text()
    alone = tmp_path / "alone"
    assert assign.main(["--experiments", "units-in-use", "--out", str(alone)]) == 0
    assert "1 open experiment, 1 point." in capsys.readouterr().out
    with pytest.raises(ValueError, match="marked by hand"):
        grade.settings_of(alone, None, Limits())
    assert assign.main(["--experiments", "units-in-us", "--out", str(tmp_path / "no")]) == 1
    assert "Near it: units-in-use" in capsys.readouterr().err
