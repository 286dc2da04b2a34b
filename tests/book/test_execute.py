"""Running notebooks in place: the run card, and that a failure changes nothing and is named."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from genai_utils import run as runs
from genai_utils.book import estimate
from genai_utils.book.client import Client
from genai_utils.book.digest import code_sha256
from genai_utils.book.execute import _clean, execute, load_card, main
from genai_utils.book.running import CellError, CellTimeout, KernelDied
from genai_utils.course import session
from genai_utils.training import ledger
from tests.book.toys import QUICK, notebook

START = "from genai_utils.course import start\nrun = start('24_vae')"
# It takes no notice of an interrupt, nor of a friendly request to end.
DEAF = "import signal as s\n_ = [s.signal(k, s.SIG_IGN) for k in (s.SIGINT, s.SIGTERM)]\n"
CARD = {"profile": "cpu", "device": "CPU (2 cores)"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a notebook.ipynb"


def test_outputs_and_run_card_are_stored(path, monkeypatch):
    monkeypatch.setenv("GENAI_ESTIMATE", "1")  # what is stored was really trained all the same
    note = "from genai_utils.training import ledger\nledger.note('x', 50, 1e9, 2.5, 3)"
    real = "import os\nassert 'GENAI_ESTIMATE' not in os.environ"
    recorded = "run.record('six', 2 * 3, 'nats')\nprint('it ran')"
    nbformat.write(notebook(START, recorded, note, real), path)
    card = execute(path, "ci")
    stored = nbformat.read(path, as_version=4)
    assert load_card(stored) == card
    assert stored.cells[2].outputs[0].text == "it ran\n"
    assert [c.execution_count for c in stored.cells[1:]] == [1, 2, 3, 4]
    assert card["metrics"] == [{"name": "six", "value": 6.0, "unit": "nats", "note": ""}]
    assert (card["notebook"], card["profile"]) == ("24_vae", "ci")
    assert card["training"] == {"models": 1, "steps": 50, "flops": 1e9, "seconds": 2.5}
    assert card["code_sha256"] == code_sha256(stored, card["profile"])
    assert set(stored.metadata) == {"kernelspec", "language_info", "genai"}  # no widget state
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_report_sums_what_was_trained_since_the_start(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # `start` sets it; put back afterwards
    ledger.note("before", 1, 1e9, 1.0, 1)
    session.start("24_vae")
    ledger.note("one", 60_000, 7e14, 190.0, 10)
    ledger.note("two", 1_000, 1e14, 5.0, 10)
    trained = json.loads(runs.report())["training"]
    ledger.forget()
    assert trained == {"models": 2, "steps": 61_000, "flops": 8e14, "seconds": 195.0}


def test_a_failing_notebook_is_left_as_it_was_and_the_next_one_is_run(tmp_path, capsys):
    bad, good = tmp_path / "06_bad.ipynb", tmp_path / "07_good.ipynb"
    nbformat.write(notebook("x = 1", "1 / 0"), bad)
    nbformat.write(notebook(QUICK), good)
    before = bad.read_bytes()
    assert main([str(bad), str(good), "--profile", "ci"]) == 1
    said = capsys.readouterr()
    assert "not stored" in said.err and "06_bad cell 2/3: " in said.err
    assert "ZeroDivisionError" in said.err and "\x1b" not in said.err
    assert f"1 of 2 not stored: {bad}" in said.err
    assert bad.read_bytes() == before
    assert load_card(nbformat.read(good, as_version=4)) and f"{good}: ci" in said.out


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("1 / 0", CellError, "cell 2/4: .*ZeroDivisionError"),
        ("input('?')", CellError, "cell 2/4: .*does not support input"),
        ("display({'text/plain': 3}, raw=True)", CellError, "cell 2/4 shows no valid output: 3 is"),
        (f"import time\n{DEAF}time.sleep(3600)", CellTimeout, "cell 2/4 took more than 10 sec"),
        ("print('x' * 20_000_001)", CellTimeout, "cell 2/4 shows more than 20 million char"),
        ("os.kill(os.getpid(), 9)", KernelDied, "cell 2/4: .*Killed, signal 9; .* memory"),
        ("os.kill(os.getpid(), 11)", KernelDied, "cell 2/4: .* died in it: Seg.*, signal 11.$"),
        ("os._exit(3)", KernelDied, "cell 2/4: the kernel died in it: it ended with exit code 3.$"),
    ],
)
def test_each_kind_of_failure_names_notebook_and_cell(path, source, error, says, capsys):
    nbformat.write(notebook("import os", source, "x = 2"), path)
    before = path.read_bytes()
    with pytest.raises(error, match="(?s)a notebook " + says):
        execute(path, "ci", timeout=10)
    assert path.read_bytes() == before
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [RuntimeError, OSError, KeyError])
@pytest.mark.parametrize(("failures", "stored"), [(1, True), (9, False)])
def test_a_kernel_that_does_not_start_is_tried_again(
    path, monkeypatch, failures, stored, kind, capsys
):
    nbformat.write(notebook(QUICK), path)
    starts, real = [], Client.start_new_kernel

    def taken(self, **options):
        starts.append(self)
        if len(starts) <= failures:
            raise kind("Kernel died before replying to kernel_info")
        return real(self, **options)

    monkeypatch.setattr(Client, "start_new_kernel", taken)
    assert main([str(path), "--profile", "ci"]) == (0 if stored else 1)
    said = capsys.readouterr().err
    assert bool(re.search("no kernel starts: '?Kernel died before", said)) != stored
    assert "Traceback" not in said
    assert len(starts) == (2 if stored else 3)


def test_a_failure_that_nobody_foresaw_does_not_end_the_others(monkeypatch, tmp_path, capsys):
    def broken(path, *_):
        if "bad" in str(path):
            raise AssertionError("a fault of ours")
        trained = {"models": 2, "steps": 10, "flops": 1e12, "seconds": 1.0}
        return CARD | {"seconds": 1.0, "peak_memory_gb": 1.0, "training": trained}

    monkeypatch.setattr("genai_utils.book.execute.execute", broken)
    for jobs in ("1", "2"):
        assert main(["bad", "good", "--jobs", jobs]) == 1
        said = capsys.readouterr()
        assert "AssertionError: a fault of ours" in said.err
        assert "good: cpu, 1 s, 1.0 GB, trained 2 models, 10 steps, 1.0 TFLOP, at" in said.out


def test_several_at_once_share_nothing_and_each_cell_is_logged(tmp_path):
    where = "import os\nprint(os.getcwd(), os.getpid())\nopen('mine', 'x').close()"
    paths = [tmp_path / f"0{i}_toy.ipynb" for i in (1, 2)]
    for path in paths:
        nbformat.write(notebook(QUICK, where), path)
    log = tmp_path / "run.log"
    options = ["--profile", "ci", "--jobs", "2", "--log", str(log)]
    assert main([*map(str, paths), *options]) == 0
    stored = [nbformat.read(path, as_version=4).cells[2].outputs[0].text.split() for path in paths]
    assert all(one != other for one, other in zip(*stored, strict=True))  # folder and process
    assert not any(os.path.exists(folder) for folder, _ in stored)
    lines = log.read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"0[12]_toy cell [12]/3 \d+\.\d s", line) for line in lines)
    assert sorted(line[:14] for line in lines) == [
        "01_toy cell 1/", "01_toy cell 2/", "02_toy cell 1/", "02_toy cell 2/",
    ]  # fmt: skip


def test_what_somebody_changed_in_the_meantime_is_kept(path):
    edit = f"with open({str(path)!r}, 'a') as file:\n    _ = file.write(' ')"
    nbformat.write(notebook(QUICK, edit), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="has changed while it ran"):
        execute(path, "ci")
    assert path.read_bytes() == before + b" "
    nbformat.write(notebook(QUICK, f"os.remove({str(path)!r})"), path)
    with pytest.raises(ValueError, match="has changed while it ran"):
        execute(path, "ci")
    assert not path.exists()


def test_a_notebook_that_is_named_twice_is_run_once(monkeypatch, tmp_path):
    """Two runs of one file at once would each find that the other has changed it."""
    ran = []
    monkeypatch.setattr("genai_utils.book.execute._run", lambda path, *_: ran.append(path) or True)
    one, other = tmp_path / "01.ipynb", tmp_path / "02.ipynb"
    (tmp_path / "link.ipynb").symlink_to(one)
    named = [one, other, f"{tmp_path}/../{tmp_path.name}/01.ipynb", tmp_path / "link.ipynb"]
    assert main(list(map(str, named))) == 0 and ran == [str(one), str(other)]


def test_notebooks_of_one_name_are_told_apart_in_the_log(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "genai_utils.book.execute._run",
        lambda path, options, log: log("toy cell 1/2 1.0 s") or True,
    )
    log = tmp_path / "log"
    main(["a/toy.ipynb", "b/toy.ipynb", "b/other.ipynb", "--log", str(log)])
    assert log.read_text() == "a/toy cell 1/2 1.0 s\nb/toy cell 1/2 1.0 s\ntoy cell 1/2 1.0 s\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk here that is always full")
def test_a_log_that_cannot_be_written_does_not_end_the_run(monkeypatch, capsys):
    def logs(path, options, log):
        log("one")
        log("two")
        return True

    monkeypatch.setattr("genai_utils.book.execute._run", logs)
    assert main(["x.ipynb", "--log", "/dev/full", "-v"]) == 0
    one, full, two = capsys.readouterr().err.splitlines()
    assert (one, two) == ("one", "two") and full.startswith("The log ends here: ")


# ---- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no signals of this kind here")
@pytest.mark.parametrize(("jobs", "kind"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_ctrl_c_ends_kernels_and_what_they_began(tmp_path, jobs, kind):
    """A pipe ends when nobody is left to write to it."""
    pipe, temporary = tmp_path / "pipe", tmp_path / "temporary"
    os.mkfifo(pipe)
    temporary.mkdir()
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = "import subprocess, time\n_ = subprocess.Popen(['sleep', '3600'], stdout=file)\n"
    begin = f"file = open({str(pipe)!r}, 'w')\n{child}file.write('.')\nfile.flush()\n"
    paths = [tmp_path / f"{number}.ipynb" for number in range(jobs + 2)]
    for path in paths:
        nbformat.write(notebook(QUICK, DEAF + begin + "time.sleep(3600)"), path)
    before = [path.read_bytes() for path in paths]
    command = [sys.executable, "-m", "genai_utils.book.execute", "--profile", "ci", "--jobs"]
    done = subprocess.Popen(
        [*command, str(jobs), *map(str, paths)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        # Whoever runs these tests in the background has told them to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(kind, signal.SIG_DFL),
    )
    marks, end = b"", time.monotonic() + 120
    while len(marks) < jobs and time.monotonic() < end:  # until all of them are in that cell
        time.sleep(0.1)
        with contextlib.suppress(BlockingIOError):
            marks += os.read(reader, 9)
    try:
        done.send_signal(kind)
        said = done.communicate(timeout=60)[1]
    finally:
        done.kill()
    assert (len(marks), done.returncode) == (jobs, 130)
    assert select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b""  # all have ended
    os.close(reader)
    assert "Traceback" not in said and said.count("it was stopped") == jobs
    assert "Stopped. What was running is not stored.\n" in said
    assert [path.read_bytes() for path in paths] == before and list(temporary.iterdir()) == []


def test_a_notebook_without_start_gets_no_card(path):
    nbformat.write(notebook("x = 1"), path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="No notebook was started"):
        execute(path, "ci")
    assert path.read_bytes() == before


def test_an_estimate_stays_until_a_card_has_run_the_code():
    for card, code, stays in (
        (CARD, None, True),
        (CARD | {"profile": "gpu"}, None, True),  # on a CPU
        (CARD | {"profile": "gpu", "device": "NVIDIA T4"}, None, False),
        (CARD, "other", False),
    ):
        run = notebook("x = 1")
        run.metadata[estimate.KEY] = {
            "profile": "gpu",
            "code_sha256": code or code_sha256(run, "gpu"),
        }
        _clean(run, card)
        assert (estimate.KEY in run.metadata) == stays


def test_foreseeable_mistakes_are_named(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no notebook at"):
        execute(tmp_path / "none.ipynb")
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{")
    with pytest.raises(ValueError, match="cannot be read as a notebook"):
        execute(broken)
    with pytest.raises(ValueError, match="profile: expected one of 'ci', .* got 'fast'"):
        execute(broken, "fast")
    nbformat.write(notebook("x = 1"), broken)
    with pytest.raises(ValueError, match="timeout: expected a whole number of at least 1, got 0"):
        execute(broken, "ci", timeout=0)
    for options, says in (
        (["--store"], "--store belongs to --estimate"),
        (["--estimate", "--store", "--profile", "cpu"], "an estimate of the gpu profile"),
        (["--jobs", "0"], "--jobs: expected a whole number of at least 1, got 0"),
        (["--timeout", "-3"], "--timeout: expected a whole number of at least 1, got -3"),
        (["--log", str(tmp_path)], "directory"),
    ):
        with pytest.raises(SystemExit):
            main([str(broken), *options])
        assert says in capsys.readouterr().err
