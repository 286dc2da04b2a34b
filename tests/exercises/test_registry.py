"""The register of exercises: found by name, and a broken one is refused with a reason."""

import pytest

from genai_utils.checks import Exercise, UnknownExercise, exercise, register

from .toys import matrices, row_norms


@pytest.fixture
def shelves(monkeypatch):
    one = Exercise(row_norms, cases=matrices, topic="one")
    two = Exercise(row_norms, cases=matrices, topic="two")
    shelves = {"one": {"row_norms": one}, "two": {"row_norms": two}}
    monkeypatch.setattr(register, "REGISTER", shelves)
    monkeypatch.setattr(register, "topics", lambda: ["one", "two"])
    monkeypatch.setattr(register, "import_module", lambda name: None)


def test_find_in_a_notebook_and_in_all(shelves):
    assert register.find("row_norms", "31_two").topic == "two"
    with pytest.raises(UnknownExercise, match="Several notebooks.*one, two"):
        register.find("row_norms")
    with pytest.raises(UnknownExercise, match="of 31_two.*'row_norm'.*row_norms"):
        register.find("row_norm", "31_two")
    with pytest.raises(UnknownExercise, match="'99_none'.*one, two"):
        register.load("99_none")


@pytest.fixture
def one_is_broken(shelves, monkeypatch):
    """The chapter `one` needs a package that is not there."""

    def load(name):
        if name.endswith(".one"):
            raise ImportError("No module named 'absent'")

    monkeypatch.setattr(register, "import_module", load)


def test_a_chapter_that_cannot_be_loaded_does_not_hide_the_others(one_is_broken):
    assert register.find("row_norms").topic == "two"
    with pytest.raises(UnknownExercise, match="'one' could not be loaded: No module named 'abs"):
        register.find("shift")
    with pytest.raises(UnknownExercise, match="'one' could not be loaded"):
        register.find("row_norms", "31_one")


def test_exercise_registers_under_the_file_that_sets_it(monkeypatch):
    monkeypatch.setattr(register, "REGISTER", {})
    made = exercise(row_norms, cases=matrices)
    assert made.topic == "test_registry"
    assert register.REGISTER["test_registry"]["row_norms"] is made


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"cases": [(1,)]}, TypeError),
        ({"cases": matrices, "hints": "one string"}, TypeError),
        ({"cases": matrices, "mistakes": {"a": lambda x: x}}, TypeError),
        ({"cases": matrices, "grad": "x"}, TypeError),
        ({"cases": matrices, "grad": ["y"]}, ValueError),
        ({"cases": matrices, "grad": True, "canonical": abs}, ValueError),
    ],
)
def test_a_broken_exercise_is_refused(settings, error):
    with pytest.raises(error):
        Exercise(row_norms, **settings)


def test_reference_and_cases_must_be_what_they_should():
    with pytest.raises(TypeError, match="plain function"):
        Exercise(len, cases=matrices)
    with pytest.raises(TypeError, match="argument tuples"):
        Exercise(row_norms, cases=lambda seed: [1, 2]).arguments(0)
