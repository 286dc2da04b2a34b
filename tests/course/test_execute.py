"""Running a notebook in place: the run card, and that a failure changes nothing."""

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from genai_utils.course.execute import code_sha256, execute, load_card, main

START = "from genai_utils.course import start\nrun = start('24_vae')"


def notebook(*sources):
    cells = [new_markdown_cell("# A notebook"), *map(new_code_cell, sources)]
    return new_notebook(cells=cells, metadata={"widgets": {"state": {}}})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a notebook.ipynb"


def test_outputs_and_run_card_are_stored(path):
    nbformat.write(notebook(START, "run.record('six', 2 * 3, 'nats')\nprint('it ran')"), path)
    card = execute(path, "ci")
    stored = nbformat.read(path, as_version=4)
    assert load_card(stored) == card
    assert stored.cells[2].outputs[0].text == "it ran\n"
    assert [c.execution_count for c in stored.cells[1:]] == [1, 2]
    assert card["metrics"] == [{"name": "six", "value": 6.0, "unit": "nats", "note": ""}]
    assert (card["notebook"], card["profile"]) == ("24_vae", "ci")
    assert card["code_sha256"] == code_sha256(stored)
    assert set(stored.metadata) == {"kernelspec", "language_info", "genai"}  # no widget state
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failing_notebook_is_left_as_it_was(path, capsys):
    nbformat.write(notebook(START, "1 / 0"), path)
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(path, "ci")
    assert main([str(path), "--profile", "ci"]) == 1
    assert "not stored" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_notebook_without_start_gets_no_card(path):
    nbformat.write(notebook("x = 1"), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="No notebook was started"):
        execute(path, "ci")
    assert path.read_bytes() == before


def test_the_hash_sees_code_and_nothing_else():
    one = notebook("x = 1", "url = 'https://here.example/book'")
    same = notebook("x = 1  \n", "url = 'https://there.example/fork'")
    same.cells[0].source = "# Another title"
    assert code_sha256(one) == code_sha256(same)
    for other in (notebook("x = 2", one.cells[2].source), notebook(one.cells[2].source, "x = 1")):
        assert code_sha256(other) != code_sha256(one)
    assert code_sha256(notebook("ab", "c")) != code_sha256(notebook("a", "bc"))


def test_foreseeable_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebook at"):
        execute(tmp_path / "none.ipynb")
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{")
    with pytest.raises(ValueError, match="cannot be read as a notebook"):
        execute(broken)
    with pytest.raises(ValueError, match="it is 'fast'"):
        execute(broken, "fast")
