"""The digest of a notebook's code sees what can change its outputs, and nothing else."""

import nbformat
import pytest

from genai_utils.book.digest import code_sha256, meaning, package_call, planted_cells
from genai_utils.checks.stubs import PLANTED

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


FAULT = f"def mean(x):\n    {PLANTED}\n    return x.sum()"


def test_a_planted_fault_and_its_check_are_left_out():
    check = "check(mean)\n# hint('mean')"
    tasks = notebook("x = 1", FAULT, check, FAULT.replace("sum", "max"), "y = 2")
    assert planted_cells(tasks) == {2: "mean", 3: "mean", 4: "mean"}
    assert code_sha256(tasks, "cpu") == code_sha256(notebook("x = 1", "y = 2"), "cpu")
    for code in (FAULT.replace(PLANTED, "# mine"), "y = 3\n" + FAULT, FAULT + "\ny = 3"):
        assert planted_cells(notebook(code, check)) == {}  # the check of what a run has made
        assert code_sha256(notebook(code), "cpu") != code_sha256(notebook(), "cpu")
    for code in ("check(other)", "check(mean)\nz = 1", "z = mean(x)", "check(mean, 1)"):
        assert 2 not in planted_cells(notebook(FAULT, code))


def same(one, other, profile="cpu"):
    return meaning(one, profile) == meaning(other, profile)


def test_the_docstring_of_a_stub_is_left_out_and_its_signature_is_not():
    assert same(STUB, STUB.replace("µ", "mu")) and not same(STUB, STUB.replace("(x)", "(x, dim)"))
    written = STUB.replace("...", "return x.mean()")  # what a student has filled in is code
    assert not same(written, written.replace("µ", "mu")) and not same(written, STUB)


def test_comments_and_the_form_of_a_line_are_left_out():
    assert same("x = f(1,\n      2)  # the sum", "# more\nx = f(1, 2)")
    for other in ("x = f(2, 1)", "y = f(1, 2)", "x = f(1, 2.0)", "x = f(1, '2')", "f(1, 2)"):
        assert not same("x = f(1, 2)", other)
    assert not same("def f(*, a, b=1): pass", "def f(*, a=1, b): pass")
    assert not same("{**a, 'b': 1}", "{'b': 1}")


@pytest.mark.parametrize(
    ("profile", "changed"), [("ci", "ci=5"), ("cpu", "cpu=max(2, 3)"), ("gpu", "gpu=20_000")]
)
def test_only_the_sizes_of_the_own_profile_count(profile, changed):
    other = PICK.replace(changed, changed.partition("=")[0] + "=77")
    assert [same(PICK, other, p) for p in ("ci", "cpu", "gpu")] == [
        p != profile for p in ("ci", "cpu", "gpu")
    ]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("show(fig, alt='a', caption='b')", "show(fig, alt='c', caption='d')", True),
        ("show(fig, alt='a')", "show(other, alt='a')", False),
        ("show(fig, alt=f'{a}')", "show(fig, alt=f'{b}')", False),
        ("explore(f, alt='a', k=[1])", "explore(f, alt='a', k=[1], start={'k': 1})", True),
        ("explore(f, alt='a', k=[1])", "explore(f, alt='a', k=[2])", False),
        ("explore(f, alt='a', k=[1, 2], j=x)", "explore(f, j=x, k=[2, 1], alt='a')", True),
        ("explore(f, alt='a', k=[x, y])", "explore(f, alt='a', k=[y, x])", False),
        ("explore(f, k=[1], j=[2], **m)", "explore(f, j=[2], k=[1], **m)", False),
        ("explore(f, alt='a', k=g(1, 2))", "explore(f, alt='a', k=g(2, 1))", False),
        ("latent_walk(d, z, alt='a', labels=[1])", "latent_walk(d, z, alt='a', labels=[2])", True),
        ("latent_pad(d, alt='a', labels=[1])", "latent_pad(d, alt='a', labels=[2])", False),
        ("for x in y:\n    show(f, alt='a')", "for x in y:\n    show(f, alt='b')", False),
        ("plot(alt='a')", "plot(alt='b')", False),
    ],
)
def test_words_that_can_be_renewed_without_a_run_are_left_out(one, other, equal):
    assert same(one, other) == equal


@pytest.mark.parametrize(
    "code", ["%pip install x\nrun.pick(ci=1, cpu=2, gpu=3)", "other.pick(ci=1)"]
)
def test_what_is_no_python_or_no_pick_counts_whole(code):
    assert not same(code, code.replace("ci=1", "ci=2"), "gpu")
