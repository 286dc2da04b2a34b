"""The digest of a notebook's code sees what can change its outputs, and nothing else."""

import nbformat
import pytest

from genai_utils.book.digest import code_sha256, package_call, without_unseen

STUB = '''\
def mean(x):
    """The mean of µ and more,

    of any shape.
    """
    ...
'''
PICK = (
    "steps = run.pick(ci=5, cpu=max(2, 3), gpu=20_000)  # µ\nother = run.pick(ci=1, cpu=2, gpu=3)"
)


def notebook(*code):
    cells = [nbformat.v4.new_markdown_cell("# 24 VAE")]
    return nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(c) for c in code])


def test_the_digest_sees_code_and_no_address():
    one = notebook("x = 1", "url = 'https://here.example/book'")
    same = notebook("x = 1  \n", "url = 'https://there.example/fork'")
    same.cells[0].source = "# Another title"
    assert code_sha256(one, "gpu") == code_sha256(same, "gpu")
    for other in (notebook("x = 2", one.cells[2].source), notebook(one.cells[2].source, "x = 1")):
        assert code_sha256(other, "gpu") != code_sha256(one, "gpu")
    assert code_sha256(notebook("ab", "c"), "gpu") != code_sha256(notebook("a", "bc"), "gpu")


def test_cells_whose_output_comes_from_the_package_alone_are_left_out():
    draw = 'from genai_utils.course import draw\n\ndraw("attention")'
    assert package_call(draw) == ("draw", "attention")
    assert code_sha256(notebook("x = 1", draw), "cpu") == code_sha256(notebook("x = 1"), "cpu")
    for other in (draw + "\nx = 2", draw.replace('"', ""), draw.replace("draw", "show"),
                  'draw("attention")', draw.replace("import draw", "import play")):  # fmt: skip
        assert package_call(other) is None
        assert code_sha256(notebook(other), "cpu") != code_sha256(notebook(), "cpu")


def test_the_docstring_of_a_stub_is_left_out_and_its_signature_is_not():
    seen = without_unseen(STUB + "y = 'µ'", "cpu")
    assert seen == "def mean(x):\n    _\n    ...\ny = 'µ'"
    written = STUB.replace("...", "return x.mean()")  # what a student has filled in is code
    assert without_unseen(written, "cpu") == written
    assert without_unseen(STUB.replace("(x)", "(x, dim)"), "cpu") != without_unseen(STUB, "cpu")


@pytest.mark.parametrize(
    ("profile", "seen"), [("ci", ("5", "1")), ("cpu", ("max(2, 3)", "2")), ("gpu", ("20_000", "3"))]
)
def test_only_the_sizes_of_the_own_profile_count(profile, seen):
    text = without_unseen(PICK, profile)
    first, second = text.splitlines()
    assert f"{profile}={seen[0]}" in first and first.count("_") == 2 + ("20_000" in first)
    assert f"{profile}={seen[1]}" in second and second.count("=_") == 2 and "# µ" in first


@pytest.mark.parametrize(
    "code", ["%pip install x\nrun.pick(ci=1, cpu=2, gpu=3)", "other.pick(ci=1)"]
)
def test_what_is_none_of_these_stays_as_it_is(code):
    assert without_unseen(code, "gpu") == code
