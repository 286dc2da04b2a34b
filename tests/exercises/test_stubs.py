"""Stubs come from the library, and a notebook is solved by putting the library back."""

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from genai_utils.checks import Exercise, register, stubs
from genai_utils.checks.clues import is_stub

from .toys import NORMS, SHIFT, matrices, row_norms


def decorated(
    x,
    dims: int = 1,
):
    """Two lines.

    Shapes: x (n, d) -> (n,).
    """
    # a comment
    return x.sum(dims)


def undocumented(x):
    return x


@pytest.fixture
def toys(monkeypatch):
    shelf = {"row_norms": NORMS, "shift": SHIFT}
    monkeypatch.setattr(register, "REGISTER", {"toys": shelf})
    monkeypatch.setattr(register, "topics", lambda: ["toys"])
    monkeypatch.setattr(register, "import_module", lambda name: None)


def test_stub_is_signature_docstring_and_dots(toys):
    expected = (
        "def row_norms(x):\n"
        '    """Length of each row: sqrt(sum_j x_ij^2). Shapes: x (n, d) -> (n,)."""\n'
        "    ...\n"
    )
    for way in (NORMS, row_norms, "row_norms"):
        assert stubs.stub(way) == expected
    assert stubs.stub(decorated) == (
        "def decorated(\n    x,\n    dims: int = 1,\n):\n"
        '    """Two lines.\n\n    Shapes: x (n, d) -> (n,).\n    """\n    ...\n'
    )
    with pytest.raises(ValueError, match="undocumented needs a docstring"):
        stubs.stub(undocumented)


def test_source_is_the_whole_function():
    names = {}
    exec(stubs.source(row_norms), names)
    x = matrices(0)[0][0]
    assert names["row_norms"](x).equal(row_norms(x))
    assert not is_stub(names["row_norms"])


def test_foreign_names():
    def clean(x: stubs.NAMES, n=1):
        y = [torch.ones(i) for i in range(n)]
        return math.sqrt(len(y)) + np.sum(y) + F.relu(x) + clean(x)  # noqa: F821

    clean.__annotations__ = {}
    assert stubs.foreign_names(clean) == {"stubs"}  # an annotation is run in a notebook as well
    assert stubs.foreign_names(lambda_holder) == {"row_norms", "os"}


def lambda_holder(x):
    """Uses two names that a notebook does not have."""
    return (lambda y: row_norms(y) + os.getpid())(x)  # noqa: F821


def notebook(*cells):
    return new_notebook(cells=[new_code_cell(c) for c in cells])


def test_solved_replaces_stubs_of_this_notebook_and_nothing_else(toys):
    before = notebook(
        '%pip install x\nrun = start("31_toys")',
        stubs.stub(NORMS) + "\nrow_norms",
        'def shift(x, by):\n    return "my own"',
        "def other(x):\n    ...",
        "def shift(x, by): ...",
        "check(row_norms)",
    )
    before.cells.append(new_markdown_cell("def shift(x, by): ..."))
    kept = nbformat.writes(before)
    after = stubs.solved(before)
    assert nbformat.writes(before) == kept
    sources = [cell.source for cell in after.cells]
    assert sources[1] == stubs.source(row_norms) + "\nrow_norms"
    assert sources[4] == stubs.source(SHIFT.reference).rstrip()
    for same in (0, 2, 3, 5, 6):
        assert sources[same] == before.cells[same].source


def test_solved_needs_to_know_the_notebook(toys):
    with pytest.raises(ValueError, match="start"):
        stubs.solved(notebook("x = 1"))
    with pytest.raises(register.UnknownExercise, match="'32_none'"):
        stubs.solved(notebook("start('32_none')"))


def test_command_line_prints_every_stub_of_a_notebook(toys, capsys):
    assert stubs.main(["31_toys"]) == 0
    names = {}
    exec(capsys.readouterr().out, names)
    assert is_stub(names["row_norms"]) and is_stub(names["shift"])
    assert stubs.main(["--help"]) == 0 and "usage" in capsys.readouterr().out
    assert stubs.main([]) == 2 and stubs.main(["99_none"]) == 2
    error = capsys.readouterr().err
    assert "usage:" in error and "'99_none'" in error


def row_norms_squared(x):
    total = (x**2).sum(1)  # its root is missing
    return torch.clamp(total, min=0.0)


def rooted(x):
    """The lengths."""
    total = (x**2).sum(1)
    return torch.clamp(total, min=0.0).sqrt()


FAULTY = Exercise(rooted, cases=matrices, planted=row_norms_squared, symptom="It is too long.")


def made(code, name, *before):
    names = {}
    exec("\n".join([*before, code]), names)
    return names[name]


def test_a_stub_with_a_planted_fault_has_the_faulty_body_under_a_mark(toys):
    stub = stubs.stub(FAULTY)
    assert stub == (
        f'def rooted(x):\n    """The lengths."""\n    {stubs.PLANTED}\n'
        "    total = (x**2).sum(1)  # its root is missing\n"
        "    return torch.clamp(total, min=0.0)\n"
    )
    assert [n.name for n in stubs.stubs_in(f"import torch\n{stub}")] == ["rooted"]
    assert stubs.stubs_in(stubs.source(rooted)) == []


def test_the_planted_version_is_known_and_what_differs_is_not():
    stub = stubs.stub(FAULTY)
    for before in ((), ("import torch",), stubs.NAMES.values()):  # which change the byte code
        assert stubs.is_planted(made(stub, "rooted", *before), FAULTY)
    same = stub.replace(stubs.PLANTED, "# mine").replace("The lengths.", "What I think.")
    assert stubs.is_planted(made(same, "rooted", "import torch"), FAULTY)
    for other in (stub.replace("min=0.0", "min=0.1"), stub.replace("0.0)", "0.0).sqrt()")):
        assert not stubs.is_planted(made(other, "rooted", "import torch"), FAULTY)
    assert not stubs.is_planted(made(stub, "rooted"), NORMS) and not stubs.is_planted(3, FAULTY)


def product(x, y):
    """The product."""
    return [torch.einsum("ij,jk->ik", x, each) for each in y]


def transposed(x, y):
    return [torch.einsum("ij,kj->ik", x, each) for each in y]


def test_a_repair_of_a_text_or_of_an_inner_function_is_a_repair():
    fault = Exercise(product, cases=matrices, planted=transposed, symptom="It is turned.")
    stub = stubs.stub(fault)
    assert stubs.is_planted(made(stub, "product", "import torch"), fault)
    undocumented = stub.replace('    """The product."""\n', "")
    assert stubs.is_planted(made(undocumented, "product"), fault)
    assert not stubs.is_planted(made(stub.replace("kj", "jk"), "product"), fault)
    whole = stubs.stub(FAULTY).replace("min=0.0", "min=0")  # another type of the same number
    assert not stubs.is_planted(made(whole, "rooted"), FAULTY)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"planted": row_norms, "symptom": "It is."}, TypeError),  # it has a docstring
        ({"planted": lambda y: y, "symptom": "It is."}, ValueError),
        ({"planted": row_norms_squared}, TypeError),
        ({"planted": 3, "symptom": "It is."}, TypeError),
    ],
)
def test_a_broken_planted_fault_is_refused(settings, error):
    with pytest.raises(error):
        Exercise(rooted, cases=matrices, **settings)
