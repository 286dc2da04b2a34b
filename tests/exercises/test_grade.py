"""Grading: hostile, broken and honest submissions, each in a process of its own."""

import csv
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from genai_utils.checks import (
    Clause,
    Exercise,
    assign,
    grade,
    gradebook,
    graded,
    handed_in,
    register,
    stubs,
    wire,
)
from genai_utils.checks.diagnosis import SEEDS, diagnose
from genai_utils.checks.graded import Grader
from genai_utils.checks.process import CannotStart, Ended, Limits, Pupil
from genai_utils.checks.verdict import Answer

from .toys import VALUES, matrices

CHAPTER = "24_vae"
SHELF = register.load(CHAPTER)
SOURCE = {name: stubs.source(exercise.reference) for name, exercise in SHELF.items()}
KL, KEEP = "gaussian_kl", "reparameterize"
RIGHT = SOURCE[KL]
posix = pytest.mark.skipif(os.name != "posix", reason="limits are set by resource.setrlimit")


def content(*cells, marks=()):
    code = [
        {"cell_type": "code", "source": c, "metadata": dict(m), "outputs": []}
        for c, m in zip(cells, [*marks, *[{}] * len(cells)], strict=False)
    ]
    return json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def notebook(tmp_path):
    def make(*cells, marks=()):
        path = tmp_path / "notebook.ipynb"
        path.write_text(content(*cells, marks=marks), encoding="utf-8")
        return handed_in.read(path)

    return make


@pytest.fixture(scope="module")
def grader():
    return Grader((5, 6), Limits(seconds=2, memory=600))


class Room:
    """Judges function after function in one process, and takes a new one where that has ended."""

    def __init__(self, grader, folder):
        self.grader, self.path, self.pupil = grader, folder / "notebook.ipynb", None

    def judged(self, *cells, name=KL):
        """The verdict, and whether the process went on."""
        self.path.write_text(content(*cells), encoding="utf-8")
        self.pupil = self.pupil or Pupil(self.grader.limits).__enter__()
        verdict, alive = self.grader._judged(self.pupil, handed_in.read(self.path), SHELF[name])
        if not alive:
            self.close()
        return verdict, alive

    def close(self):
        if self.pupil is not None:
            self.pupil.__exit__()
        self.pupil = None


@pytest.fixture(scope="module")
def room(grader, tmp_path_factory):
    made = Room(grader, tmp_path_factory.mktemp("room"))
    yield made
    made.close()


def exercises(*names):
    return [SHELF[name] for name in names]


# --- what is run of a notebook ------------------------------------------------------------------


def test_helpers_in_other_cells_and_the_last_definition_count(notebook, grader):
    found = notebook(
        "%matplotlib inline\nimport torch as T\nfrom genai_utils.course import check, start",
        "HALF = 0.5\ndef squares(mu):\n    return mu ** 2",
        "def gaussian_kl(mu, logvar):\n    return mu",
        "check(gaussian_kl)\nmodel = train_for_hours()\nT.manual_seed(0)",
        "%%time\ndef gaussian_kl(mu, logvar):\n"
        "    return HALF * (T.exp(logvar) - 1 - logvar + squares(mu)).sum(-1)",
    )
    assert "train_for_hours" not in found.code(KL) and "check(" not in found.code(KL)
    assert [s.cell for s in found.plan(KL)] == [
        "code cell 1", "code cell 2", "code cell 2", "code cell 3", "code cell 5",
    ]  # fmt: skip
    assert [r.state for r in grader.grade(found, exercises(KL))] == ["correct"]


def test_helpers_of_helpers_and_conditional_definitions(notebook):
    found = notebook(
        "def a(x):\n    return b(x)\ndef b(x):\n    return c",
        "if True:\n    c = d = 1\nelse:\n    c = 2",
        "unused = 1\nfor i in range(9):\n    j = i",
        "def f(x, z=d):\n    unused = a(x)\n    return unused",
    )
    names = [name for s in found.plan("f") for name in sorted(s.binds)]
    assert names == ["a", "b", "c", "d", "f"]


def test_assignments_into_an_imported_module_are_not_run(notebook):
    found = notebook("import torch\ntorch.exp = 3\ndef f(x):\n    return torch.exp(x)\nf.more = 1")
    assert found.code("f").count("torch.exp = 3") == 0 and "f.more = 1" in found.code("f")


def test_a_syntax_error_costs_its_own_cell_only(notebook, grader):
    found = notebook("def broken(:\n    pass", RIGHT, "def reparameterize(mu:\n    return")
    results = {r.name: r for r in grader.grade(found, exercises(KL, KEEP, "iwae_bound"))}
    assert results[KL].state == "correct"
    assert results[KEEP].state == "missing"
    assert "cannot be read (code cell 3): SyntaxError" in results[KEEP].sentence
    assert "Some cells cannot be read (code cell 1: SyntaxError" in results["iwae_bound"].sentence


def test_a_renamed_function_is_named(notebook, grader):
    found = notebook("def gaussian_klx(mu, logvar):\n    return mu")
    (result,) = grader.grade(found, exercises(KL))
    assert result.state == "missing" and "There is gaussian_klx: was it renamed?" in result.sentence
    mark = {"genai_assignment": {"role": "answer", "function": KL}}
    found = notebook("def mine(mu, logvar):\n    return mu", marks=[mark])
    assert "There is mine: was it renamed?" in found.why_missing(KL)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ('{"cells": [', "no notebook, or a part of one"),
        ("[1, 2]", "JSON, but no notebook"),
        ('{"cells": [{"cell_type": "code"}]}', "JSON, but no notebook"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00\x81", "no text"),
    ],
)
def test_what_is_no_notebook_is_refused_with_a_reason(tmp_path, text, says):
    path = tmp_path / "x.ipynb"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(handed_in.Unreadable, match=says):
        handed_in.read(path)


def test_an_enormous_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(handed_in, "LARGEST", 100)
    path = tmp_path / "x.ipynb"
    path.write_text(content("x = 1" * 100))
    with pytest.raises(handed_in.Unreadable, match="Clear its outputs"):
        handed_in.read(path)


def test_the_likeness_of_a_function_has_its_arguments_and_runs_nothing(notebook):
    found = notebook(
        "def f(x, by=explode(), *, c=1):\n    yield x", "class g:\n    pass", "h = lambda x: x"
    )
    seen = handed_in.likeness(found.plan("f"), "f")
    assert str(__import__("inspect").signature(seen)) == "(x, by=explode(), *, c=1)"
    assert isinstance(handed_in.likeness(found.plan("g"), "g"), type)
    assert not hasattr(handed_in.likeness(found.plan("h"), "h"), "__code__")


# --- values on their way ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [torch.arange(6.0).view(2, 3) / 7, torch.arange(6.0).view(3, 2).T / 7,
     torch.tensor(1.5, dtype=torch.bfloat16),
     torch.tensor([True, False]), torch.zeros(0, 4), torch.tensor([float("nan"), float("inf")]),
     torch.arange(3, dtype=torch.int32), torch.tensor([0.3, -1.7], requires_grad=True)],
    ids=["matrix", "transposed", "bfloat16", "bool", "empty", "not finite", "int32", "leaf"],
)  # fmt: skip
def test_a_tensor_arrives_as_it_was(value):
    there = wire.unpack(json.loads(json.dumps(wire.pack(value))))
    assert type(there) is torch.Tensor and there.dtype == value.dtype and not there.requires_grad
    assert there.shape == value.shape
    assert torch.equal(torch.nan_to_num(there, 7), torch.nan_to_num(value.detach(), 7))


def test_other_values_arrive_or_are_named():
    def there(value, **settings):
        return wire.unpack(json.loads(json.dumps(wire.pack(value, **settings))))

    for value in (None, True, 3, -(2**70), 2.5, "word", [1, (2.0, None)], (torch.ones(1), 2)):
        assert there(value) == value and type(there(value)) is type(value)
    assert np.array_equal(there(np.arange(4.0)), np.arange(4.0))
    assert there(torch.ones(3).max(0)).indices == 0
    assert there(10**500) == wire.HUGE
    assert there(torch.zeros(1).expand(10**12), most=100).shape == (10**12,)
    assert len(there(list(range(5000)))) == 5000
    for value, name in (({}, "dict"), (torch.ones(2).to_sparse(), "sparse tensor"), (len, None)):
        assert type(there(value)).__name__ == (name or "function")
    loop = []
    loop.append(loop)
    assert isinstance(there(loop), list)


@pytest.mark.parametrize(
    "packed",
    [{"tensor": {"dtype": "object", "shape": [1], "data": ""}}, {"plain": {}}, {}, [], 3,
     {"tensor": {"dtype": "float32", "shape": [9], "data": "AAAA"}}, {"int": "x"}],
    ids=str,
)  # fmt: skip
def test_what_pack_cannot_have_made_is_refused(packed):
    with pytest.raises(ValueError):
        wire.unpack(packed)


# --- the process --------------------------------------------------------------------------------


PROBE = """
import os, sys, torch
found = []
def note(what, value): found.append(float(bool(value)))
note("modules", any(name.startswith("genai_utils") for name in sys.modules))
try:
    import genai_utils
    note("import", True)
except ModuleNotFoundError:
    note("import", False)
try:
    from genai_utils.vision import vae
    note("from", True)
except ModuleNotFoundError:
    note("from", False)
note("files", os.listdir("."))
note("variables", [n for n in os.environ if n.startswith("GENAI")])
note("patched", type(torch.exp).__name__ != "builtin_function_or_method")
def gaussian_kl(mu, logvar):
    return torch.tensor(found)
"""


def test_the_library_is_not_there_the_folder_is_empty_and_torch_is_whole(
    notebook, grader, monkeypatch
):
    monkeypatch.setenv("GENAI_SECRET", "1")
    seen = []
    kept = graded.Recorded.called

    def called(answer, number, limit):
        outcome = kept(answer, number, limit)
        seen.append(outcome.value)
        return outcome

    monkeypatch.setattr(graded.Recorded, "called", called)
    # One statement, so that the whole probe is what the function needs.
    probe = "if True:\n" + "\n".join("    " + line for line in PROBE.splitlines())
    grader.grade(notebook(probe), exercises(KL))
    assert seen[0].tolist() == [0.0] * 6


def test_torch_of_another_place_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "0.0.0")
    with pytest.raises(CannotStart, match="is not the grader's"):
        Pupil(Limits()).__enter__()


def test_the_results_are_compared_with_the_graders_own_torch(notebook, grader):
    """A patched torch in the submission changes what it returns, not how that is judged."""
    cheat = (
        "def gaussian_kl(mu, logvar):\n"
        "    torch.Tensor.__eq__ = lambda *a: True\n"
        "    torch.equal = torch.allclose = torch.isfinite = lambda *a, **k: torch.tensor(True)\n"
        "    return mu.sum(-1)"
    )
    (result,) = grader.grade(notebook(cheat), exercises(KL))
    assert result.state == "not yet"


HOSTILE = {
    "endless": ("    while True: pass", "error", "Stopped after 2 seconds"),
    "swallows": (
        "    while True:\n        try:\n            while True: pass\n        except: pass",
        "error", "Stopped after",
    ),
    "sys.exit": ("    import sys; sys.exit(3)", "error", "tried to leave Python"),
    "os._exit": ("    import os; os._exit(7)", "error", "ended its process (exit code 7)"),
    "crash": ("    import ctypes; ctypes.string_at(0)", "error", "ended by SIGSEGV"),
    "kills": ("    import os; os.kill(os.getpid(), 9)", "error", "ended by SIGKILL"),
    "recursion": ("    return gaussian_kl(mu, logvar)", "error", "calls itself without end"),
    "raises": ("    raise ValueError('ho\\0w \\udc80')", "error", "raised ValueError: ho w ?"),
    "returns a view": ("    return mu[:1, :1].expand(10**6, 10**7)", "not yet", "10,000,000,000,"),
    "returns a dict": ("    return {}", "not yet", "You returned a dict"),
    "channel": (
        "    import os\n    for fd in range(3, 20):\n        try: os.write(fd, b'{}\\n')\n"
        "        except OSError: pass\n    return mu", "error", "",
    ),
    "imports the library": (
        "    from genai_utils.vision import vae\n    return vae.gaussian_kl(mu, logvar)",
        "error", "the library's; write it yourself",
    ),
    "changes its input": ("    mu += 1\n    return mu", "not yet", "changed its argument mu"),
    "stub": ("    ...", "to do", "Replace the ..."),
    "dots": ("    x = ...\n    return x", "to do", "A ... is still in the way"),
    "no gradient": (
        "    mu = mu.detach()\n    return 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(-1)",
        "not yet", "no gradient flows back to mu",
    ),
}  # fmt: skip


@posix
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_function_is_named(case, room):
    body, state, says = HOSTILE[case]
    verdict, alive = room.judged("import torch", f"def gaussian_kl(mu, logvar):\n{body}")
    assert verdict.state == state and says in graded.clean(verdict.sentence), verdict
    assert alive == (case not in ("os._exit", "crash", "kills", "channel"))


@posix
def test_after_a_crash_the_others_are_graded(notebook, grader):
    crash = "def gaussian_kl(mu, logvar):\n    import os; os._exit(1)"
    results = grader.grade(notebook(crash, SOURCE[KEEP]), exercises(KL, KEEP))
    assert [r.state for r in results] == ["error", "correct"]


@posix
def test_memory_printing_and_files_are_limited(notebook, grader):
    found = notebook(
        "def gaussian_kl(mu, logvar):\n    return torch.ones(10**9)",
        "def reparameterize(mu, logvar, eps):\n    open('big', 'wb').write(bytes(10**8))",
        "def iwae_bound(log_w):\n    import os, shutil\n    os.write(1, b'x' * 10**6)\n"
        "    print('y' * 10**7)\n    shutil.rmtree('.', ignore_errors=True)\n"
        "    return torch.logsumexp(log_w, 0) - math.log(len(log_w))",
    )
    memory, file, noisy = grader.grade(found, exercises(KL, KEEP, "iwae_bound"))
    assert "memory" in grader.held or sys.platform != "linux"  # where /proc tells the size
    if "memory" in grader.held:
        assert memory.state == "error" and "more memory than 600 MB" in memory.sentence
    assert file.state == "error" and "File too large" in file.sentence
    assert noisy.state == "correct"
    assert {"processor", "file"} <= set(grader.held)


def test_a_process_that_cannot_be_interrupted_is_ended(monkeypatch):
    with Pupil(Limits()) as pupil:
        pid = pupil.process.pid
        job = {"first": "import time", "cells": {"c": "import signal\ndef f():\n  signal.signal("
               "signal.SIGALRM, signal.SIG_IGN)\n  while True: pass"},
               "plan": [["c", 0], ["c", 1]], "name": "f", "trials": [[]], "parts": [None],
               "most": [9],               "gradients": False, "limit": 1}  # fmt: skip
        began = time.monotonic()
        with pytest.raises(Ended, match="could not be interrupted"):
            pupil.ask(job, 3)
    assert time.monotonic() - began < 60
    assert pupil.process.poll() is not None and not Path(pupil.room.name).exists()
    if os.name == "posix":
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_library_itself_as_an_answer_is_refused(notebook, grader):
    imported = notebook("from genai_utils.vision.vae import gaussian_kl, reparameterize as r",
                        "reparameterize = r")  # fmt: skip
    first, second = grader.grade(imported, exercises(KL, KEEP))
    assert first.state == "not yet"
    assert first.sentence == (
        "genai_utils.vision.vae.gaussian_kl: this is the library's; write it yourself."
    )
    assert second.state == "error"
    assert "genai_utils.vision.vae.reparameterize is the library's" in second.sentence


# --- the judgement ------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", ["08_transformer", "09_bert", "21_maskgit", CHAPTER])
def test_the_librarys_own_source_is_correct_and_each_mistake_is_named(chapter, tmp_path):
    shelf = register.load(chapter)
    path = tmp_path / "n.ipynb"
    path.write_text(content(*(stubs.source(e.reference) for e in shelf.values())), "utf-8")
    grader = Grader(graded.draw_seeds())
    results = grader.grade(handed_in.read(path), list(shelf.values()))
    assert {r.name: r.state for r in results} == dict.fromkeys(shelf, "correct")


def test_the_verdict_is_that_of_a_check(room):
    """One wrong answer of each kind: in grading it is told the same as in the notebook."""
    for body in (
        "return mu", "return None", "return (mu, logvar)", "return mu.sum(0)", "return 3",
        "return 2 * (0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(-1))", "return mu.missing",
        "return 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum()", "return mu.log().sum(-1)",
        "return torch.rand(len(mu))", "return logvar.numpy().sum(-1)",
    ):  # fmt: skip
        code = f"def gaussian_kl(mu, logvar):\n    {body}"
        names = {}
        exec("\n".join(stubs.NAMES.values()) + "\n" + code, names)
        here, (there, _) = diagnose(SHELF[KL], names[KL], room.grader.seeds), room.judged(code)
        assert (there.state, there.sentence) == (here.state, here.sentence), body
        assert there.mistake == here.mistake, body
        kept = [[d for d in v.details if d[0] != "where"] for v in (here, there)]
        assert kept[0] == kept[1], body  # "where" shows the line, which exec does not keep


def test_the_signature_is_asked_about_too(room):
    for code, says in (
        ("def gaussian_kl(logvar, mu):\n    return mu", "in the order (logvar, mu)"),
        ("def gaussian_kl(mu):\n    return mu", "yours takes (mu) instead"),
        ("def gaussian_kl(mu, logvar):\n    yield mu", "contains yield"),
        ("class gaussian_kl:\n    pass", "is a class"),
        ("gaussian_kl = 3", "is an int, no function"),
        ("gaussian_kl = missing_name", "NameError: name 'missing_name' is not defined"),
        ("gaussian_kl = [0] * 10**11", "could not be defined"),
    ):
        verdict, _ = room.judged(code)
        assert verdict.state in ("not yet", "error") and says in verdict.sentence, verdict


def test_seeds_are_drawn_anew_and_used(notebook):
    assert graded.draw_seeds() != graded.draw_seeds()
    cases = [case for seed in SEEDS for case in VALUES.arguments(seed)]
    overfit = notebook(  # right for the seeds that everybody knows
        "def row_norms(x):\n"
        f"    known = {[round(float(x.sum()), 3) for (x,) in cases]}\n"
        "    right = (x**2).sum(1).sqrt()\n"
        "    return right if round(float(x.sum()), 3) in known else right + 1"
    )
    (known,) = Grader(SEEDS).grade(overfit, [VALUES])
    (drawn,) = Grader(graded.draw_seeds()).grade(overfit, [VALUES])
    assert (known.state, drawn.state) == ("correct", "not yet")


def root_of_rows(x, floor=0.0):
    """Length of each row, at least `floor`. Raises ValueError for a matrix without columns."""
    if not x.shape[1]:
        raise ValueError("no columns")
    return (x**2).sum(1).sqrt().clamp(min=floor)


CLAUSED = Exercise(
    root_of_rows,
    cases=matrices,
    grad=True,
    topic="toys",
    clauses={
        "floor": Clause(lambda seed: [(x, 5.0) for (x,) in matrices(seed)], "Mind the floor.",
                        lambda x, floor=0.0: (x**2).sum(1).sqrt()),
        "columns": Clause(lambda seed: [(torch.zeros(3, 0),), (torch.zeros(4, 0),)],
                          "Mind the missing columns.",
                          lambda x, floor=0.0: (x**2).sum(1).sqrt().clamp(min=floor),
                          ValueError),
        "zeros": Clause(lambda seed: [(torch.zeros(3, 2), 1.0)], "Mind the zeros.",
                        lambda x, floor=0.0: x.sum(1)),
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("", "", "It agrees"),
        ("min=floor", "min=0.0", "Mind the floor."),
        ("if not x", "if False and not x", "Mind the missing columns."),
        ('raise ValueError("no columns")', 'raise KeyError("no columns")', "Mind the missing"),
        ('raise ValueError("no columns")', 'b"\\xff".decode()', "It agrees"),  # a ValueError, too
        ("    return", "    if not x.any(): return x\n    return", "Mind the zeros."),
        (
            "    if not x.shape",
            "    while floor == 5.0: pass\n    if not x.shape",
            "Mind the floor.",
        ),
    ],
)
def test_each_clause_is_asked_in_grading_too(notebook, old, new, says):
    code = stubs.source(root_of_rows).replace(old, new) if old else stubs.source(root_of_rows)
    (result,) = Grader((1, 2), Limits(seconds=1)).grade(notebook(code), [CLAUSED])
    assert result.sentence.startswith(says), result


def test_a_submission_leaves_nothing_for_the_next(notebook, grader):
    notes = notebook("import builtins\ndef gaussian_kl(mu, logvar):\n    builtins.trace = 1")
    grader.grade(notes, exercises(KL))
    (result,) = grader.grade(
        notebook("def gaussian_kl(mu, logvar):\n    return trace"), exercises(KL)
    )
    assert "name 'trace' is not defined" in result.sentence


# --- a class ------------------------------------------------------------------------------------


@pytest.fixture
def homework(tmp_path):
    """A folder of submissions, and the assignment: two exercises of chapter 24, one of 8."""
    sets = assign.chosen(exercises=["24.1", "24.3", "8.2"], points={"24.1": 2})
    assign.write(sets, tmp_path / "homework")
    folder = tmp_path / "class"
    files = {
        "ada.ipynb": content('start("24_vae")', RIGHT, SOURCE[KEEP]),
        "ben/notebook.ipynb": content('start("24_vae")', RIGHT.replace("0.5", "0.25")),
        "ben/08_transformer.ipynb": content(
            stubs.source(register.find("rotary", "08_transformer").reference)
        ),
        "24_vae/cleo.ipynb": '{"cells": [',
        "=dan/24_vae.ipynb": content(
            "def gaussian_kl(mu, logvar):\n    raise ValueError('<b>')", SOURCE[KEEP]
        ),
        "eve.ipynb": content("x = 1"),
        ".ipynb_checkpoints/ada.ipynb": content(),
        "__MACOSX/ada.ipynb": "x",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def command(root, *arguments):
    return grade.main(
        [str(root / "class"), "--assignment", str(root / "homework/assignment.json"),
         "--seconds", "3", *map(str, arguments)]
    )  # fmt: skip


def table(root):
    with (root / "class-grades" / "grades.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_class_is_graded(homework, capsys):
    (homework / "roster").write_text("zoe\nada\n\n")
    assert command(homework, "--students", homework / "roster") == 0
    rows = table(homework)
    assert list(rows[0]) == list(gradebook.COLUMNS)
    states = {(r["student"], r["exercise"]): (r["state"], float(r["points"])) for r in rows}
    students = {"ada", "ben", "cleo", "'=dan", "eve", "zoe"}
    assert set(states) == {(s, e) for s in students for e in ("8.2", "24.1", "24.3")}
    assert states["ada", "24.1"] == ("correct", 2.0)
    assert states["ada", "24.3"] == ("correct", 1.0)
    assert states["ada", "8.2"] == ("missing", 0.0)
    assert states["ben", "8.2"] == ("correct", 1.0)
    assert states["ben", "24.1"] == ("not yet", 0.0)
    assert states["ben", "24.3"] == ("missing", 0.0)
    assert states["cleo", "24.1"] == ("broken", 0.0)
    assert states["'=dan", "24.1"] == ("error", 0.0)
    assert states["'=dan", "24.3"] == ("correct", 1.0)
    sentence = {(r["student"], r["exercise"]): r["sentence"] for r in rows}
    assert "eve.ipynb was not graded" in sentence["eve", "24.1"]
    assert "a part of one" in sentence["cleo", "24.3"]
    assert "No notebook of 24_vae" in sentence["zoe", "24.1"]

    out = homework / "class-grades"
    summary = (out / "summary.html").read_text(encoding="utf-8")
    assert "not a security boundary" in summary and "--seeds" in summary
    assert len(list((out / "students").iterdir())) == 6
    page = (out / "students" / gradebook.page_name("=dan")).read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page and "<b>" not in page and "1 of 4 points" in page
    assert "def gaussian_kl" in page
    assert "3 correct" not in capsys.readouterr().err


def test_an_interrupted_grading_goes_on_with_the_same_seeds(homework, monkeypatch, capsys):
    kept, graded_files = grade._graded, []

    def interrupted(grader, one, exercises):
        graded_files.append(one.name)
        if len(graded_files) == 2:
            raise KeyboardInterrupt
        return kept(grader, one, exercises)

    monkeypatch.setattr(grade, "_graded", interrupted)
    (homework / "class/=dan/24_vae.ipynb").unlink()
    assert command(homework) == 130
    assert "the same command goes on" in capsys.readouterr().err
    state = json.loads((homework / "class-grades/grading.json").read_text())
    assert {r["state"] for r in table(homework)} >= {"not graded"}
    assert command(homework) == 0
    assert sorted(graded_files[:1] + graded_files[2:]) == sorted(set(graded_files))
    after = json.loads((homework / "class-grades/grading.json").read_text())
    assert after["settings"]["seeds"] == state["settings"]["seeds"]
    assert "not graded" not in {r["state"] for r in table(homework)}

    graded_files[:] = ["", ""]
    assert command(homework) == 0 and graded_files[2:] == []  # all is known
    (homework / "class/ada.ipynb").write_text(content('start("24_vae")', SOURCE[KEEP]))
    assert command(homework) == 0 and graded_files[2:] == ["ada.ipynb"]
    states = {(r["student"], r["exercise"]): r["state"] for r in table(homework)}
    assert states["ada", "24.1"] == "missing"


def test_a_fault_of_the_book_stops_nothing_and_is_tried_again(homework, monkeypatch):
    kept = Grader.grade

    def faulty(self, notebook, exercises):
        if "0.25" in "".join(notebook.cells.values()):
            raise RuntimeError("the library's own gaussian_kl failed")
        return kept(self, notebook, exercises)

    monkeypatch.setattr(Grader, "grade", faulty)
    (homework / "class/ben/08_transformer.ipynb").unlink()
    (homework / "class/=dan/24_vae.ipynb").unlink()
    assert command(homework) == 0
    rows = {(r["student"], r["exercise"]): r for r in table(homework)}
    assert rows["ben", "24.1"]["state"] == "not graded"
    assert "fault of the book" in rows["ben", "24.1"]["sentence"]
    assert rows["ada", "24.1"]["state"] == "correct"
    monkeypatch.setattr(Grader, "grade", kept)
    assert command(homework) == 0
    rows = {(r["student"], r["exercise"]): r for r in table(homework)}
    assert rows["ben", "24.1"]["state"] == "not yet"


def test_named_seeds_are_used_and_others_are_refused_in_the_same_folder(homework, capsys):
    for name in ("ada.ipynb", "ben/notebook.ipynb", "=dan/24_vae.ipynb"):
        (homework / "class" / name).unlink()
    assert command(homework, "--seeds", 3, 4) == 0
    assert "--seeds 3 4" in (homework / "class-grades/summary.html").read_text(encoding="utf-8")
    assert {r["state"] for r in table(homework) if r["student"] == "ben"} == {"correct", "missing"}
    assert command(homework, "--seeds", 5) == 1
    assert "other seeds" in capsys.readouterr().err
    assert command(homework, "--memory", 4000) == 1
    assert "other limits" in capsys.readouterr().err


def test_foreign_folders_and_files_are_left_alone(homework, capsys):
    full = homework / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    assert command(homework, "--out", full) == 1
    assert "holds no grading" in capsys.readouterr().err
    assert [p.name for p in full.iterdir()] == ["thesis.txt"]
    assert command(homework, "--out", homework / "class/grades") == 1
    assert "within the submissions" in capsys.readouterr().err
    assert grade.main([str(homework / "nothing")]) == 1
    (homework / "homework/assignment.json").write_text("{}")
    assert command(homework) == 1
    assert "no assignment" in capsys.readouterr().err


def test_of_two_notebooks_of_a_chapter_the_newer_counts(homework):
    for age, name in ((100, "first.ipynb"), (50, "second.ipynb")):
        path = homework / "class/fay" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content('start("24_vae")', f"a = {age}"))
        os.utime(path, (time.time() - age, time.time() - age))
    found = grade.collect(homework / "class", ["24_vae", "08_transformer"])
    assert found.students["fay"] == {"24_vae": "fay/second.ipynb"}
    assert found.notes["fay"] == ["fay/first.ipynb was not graded: fay/second.ipynb is newer."]


def test_without_an_assignment_all_exercises_of_the_chapters_count(homework):
    settings = grade.settings_of(homework / "class", None, Limits())
    numbers = [e["number"] for e in settings["exercises"]]
    assert numbers == [*(f"8.{n}" for n in range(1, 6)), *(f"24.{n}" for n in range(1, 7))]
    assert {e["points"] for e in settings["exercises"]} == {1.0}


def test_the_default_answer_is_called_in_this_process():
    """`Recorded` replaces what an answer of a notebook does: both have the same questions."""
    assert Answer.called is not graded.Recorded.called
    assert Answer.gradients is not graded.Recorded.gradients


def test_this_interpreter_runs_the_submissions():
    with Pupil(Limits()) as pupil:
        assert pupil.process.args[0] == sys.executable and "-I" in pupil.process.args
