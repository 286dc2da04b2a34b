"""Printing where the stream is no UTF-8, and OpenMP's waiting threads: both before anything else.

Both are about a fresh process, so each test starts one.
"""

import ast
import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from genai_utils.printing import PLAIN, plain, say

ROOT = Path(__file__).parents[1]
NARROW = ("ascii", "cp1252", "latin-1")
SIGNS = "loss 2.3 → 0.4 ✓ ✗ … – − ≥ α ΔΣ λ x² Xᵀ z₂ ŷ 漢 é"


def python(code, *arguments, folder=None, **environment):
    """What a fresh Python prints, as bytes; it must end well."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "PYTHONUTF8"))}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env=env, cwd=folder)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


# ---- signs ---------------------------------------------------------------------------------------


class Stream(io.StringIO):
    def __init__(self, encoding):
        super().__init__()
        self._encoding = encoding

    encoding = property(lambda self: self._encoding)


def test_signs_that_a_stream_lacks_become_plain_ones():
    assert plain(SIGNS, Stream("ascii")) == (
        "loss 2.3 -> 0.4 [ok] [x] ... - - >= alpha DeltaSigma lambda x^2 X^T z_2 y ? e"
    )
    assert plain(SIGNS, Stream("cp1252")) == (
        "loss 2.3 -> 0.4 [ok] [x] … – - >= alpha DeltaSigma lambda x² X^T z_2 y ? é"
    )
    for stream in (Stream("utf-8"), Stream("UTF8"), io.StringIO()):
        assert plain(SIGNS, stream) is SIGNS
    assert plain("\ud800", Stream("utf-8")) == "?"


@pytest.mark.parametrize("encoding", NARROW)
def test_every_sign_that_the_package_may_print_has_a_plain_form(encoding):
    """Messages, names and docstrings of the whole package; only other scripts have none."""
    texts = list(PLAIN)
    for path in (ROOT / "genai_utils").rglob("*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts += [n.value for n in tree if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    for sign in sorted(set("".join(texts))):
        shown = plain(sign, Stream(encoding))
        shown.encode(encoding)
        assert sign == "?" or "?" not in shown, f"{sign!r} has no plain form: add one to PLAIN"


def test_the_package_prints_by_say_alone():
    """A bare print would raise where the stream is not UTF-8."""
    bare = []
    for path in (ROOT / "genai_utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", None)
            if isinstance(node, ast.Call) and name == "print" and path.name != "printing.py":
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert bare == [], "print with genai_utils.printing.say"


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_what_nobody_can_read_is_lost_and_the_work_goes_on(monkeypatch, error):
    """A pipe whose reader has ended, or a full disk."""

    class Full(io.StringIO):
        def flush(self):
            raise error

    say("loss 2.3", Full(), flush=True)
    Full.write = lambda self, text: self.flush()

    say("loss 2.3", Full())
    monkeypatch.setattr(sys, "stdout", Full())
    say("loss 2.3", flush=True)


def test_say_prints_to_the_stream_that_is_there_now(capsys):
    say("a → b")
    say("c", sys.stderr)
    assert tuple(capsys.readouterr()) == ("a → b\n", "c\n")


@pytest.mark.parametrize("encoding", NARROW)
def test_check_start_and_progress_say_what_they_have_to_say(encoding, tmp_path):
    code = """
    from genai_utils.course import check, hint, progress, solution, start
    start("24_vae")
    for factor in (2, 1, "β"):
        def gaussian_kl(mu, logvar):
            return factor * 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=-1)
        check(gaussian_kl)
    hint("gaussian_kl")
    solution("gaussian_kl")
    progress()
    """
    told = python(code, PYTHONIOENCODING=encoding, GENAI_PROGRESS=str(tmp_path)).decode(encoding)
    assert "24_vae: CPU" in told and "fault of the book" not in told
    for said in ("[x] gaussian_kl: not yet", "[ok] gaussian_kl: correct", "! gaussian_kl: error"):
        assert said in told
    assert "def gaussian_kl(" in told  # the solution, as text
    table = told[told.index("number  ") :].splitlines()
    rows = [row for row in table[1:] if "] " in row]
    assert len(rows) > 3 and any("[ok] correct" in row for row in rows)
    assert all(row[table[0].index("tries")].isdigit() for row in rows)  # columns still stand


RECIPE = """
import torch
from genai_utils.training import TensorBatches

class Toy(torch.nn.Linear):
    def loss(self, batch):
        return self(batch).square().mean()

def recipe():
    batches = TensorBatches(torch.ones(8, 2), batch_size=4)
    return Toy(2, 1), batches, {"steps": 3, "title": "a toy with β = 4 ✓"}
"""


@pytest.mark.parametrize("encoding", NARROW)
def test_training_on_the_command_line_writes_its_weights(encoding, tmp_path):
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "__init__.py").touch()
    (tmp_path / "toys" / "toy.py").write_text(RECIPE, encoding="utf-8")
    code = """
    import sys
    from genai_utils import train
    sys.path.insert(0, ".")
    train.PACKAGES = ("toys",)
    sys.exit(train.main(["toy", "--out", sys.argv[1]]))
    """
    out = tmp_path / "out"
    told = python(code, out, folder=tmp_path, PYTHONIOENCODING=encoding).decode(encoding)
    assert "a toy with beta = 4 [ok]: 3 steps, loss" in told and " -> " in told
    assert (out / "model.safetensors").stat().st_size > 0
    assert json.loads((out / "history.json").read_text(encoding="utf-8"))["step"]


MAINS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "genai_utils").rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MAINS)
def test_every_command_says_what_it_does_in_ascii(module):
    """--help, or where a command has none, its complaint: never a UnicodeEncodeError."""
    code = f"""
    import runpy, sys
    sys.argv = ["it", "--help"]
    try:
        runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    """
    python(code, PYTHONIOENCODING="ascii")


# ---- OpenMP --------------------------------------------------------------------------------------

# An entry's first import of torch sees the variable: the import is replaced by a look at it.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch:", os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
            os._exit(sys.stdout.flush() or 0)
sys.meta_path.insert(0, Watch())
import runpy
if sys.argv[1].endswith(".py"):
    runpy.run_path(sys.argv[1], run_name="__main__")
else:
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""
ENTRIES = ["genai_utils.train", "genai_utils.course", "genai_utils.training"]
ENTRIES += [str(path) for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))]


@pytest.mark.parametrize("entry", ENTRIES)
def test_openmp_is_told_to_wait_quietly_before_torch_is_loaded(entry):
    code = (
        WATCH
        if entry != "genai_utils.course"
        else WATCH.split("import runpy")[0] + ("from genai_utils.course import start")
    )  # as the first line of a notebook
    assert python(code, entry).split(b"\n")[0] == b"torch: 3000 None"


def test_what_the_user_set_about_waiting_stays():
    assert python(WATCH, "genai_utils.train", GOMP_SPINCOUNT="7").startswith(b"torch: 7 None")
    for policy in ("ACTIVE", "PASSIVE"):  # a spin count would overrule it
        told = python(WATCH, "genai_utils.train", OMP_WAIT_POLICY=policy)
        assert told.startswith(b"torch: None " + policy.encode())


def test_the_package_itself_loads_nothing():
    code = "import sys, genai_utils; print({'torch', 'numpy', 'IPython'} & set(sys.modules))"
    assert python(code).split() == [b"set()"]
