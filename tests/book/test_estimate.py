"""Estimates: nothing is trained, failing cells are passed over, and only --store writes."""

import threading
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from genai_utils.book import client, running
from genai_utils.book import estimate as estimates
from genai_utils.book.digest import code_sha256
from genai_utils.book.execute import main

START = "from genai_utils.course import start\nrun = start('24_vae')"
TRAIN = """\
import torch
from genai_utils.training import TensorBatches, fit

class Line(torch.nn.Linear):
    seen = 0
    def loss(self, x):
        Line.seen += 1
        return self(x).square().mean()

batches = TensorBatches(torch.randn(64, 8), batch_size=16)
_ = fit(Line(8, 4), batches, run.pick(ci=1, cpu=2, gpu=50_000), progress=False)"""
EVALUATE = """\
rows = []
net = torch.nn.Linear(8, 4)
net.register_forward_hook(lambda net, x, y: rows.append(len(y)))
with torch.no_grad():
    assert net(torch.zeros(5_000, 8)).shape == (5_000, 4)
assert rows[0] < 100, rows"""
HONEST = "assert (run.profile, run.device.type) == ('gpu', 'cpu') and Line.seen < 10, Line.seen"
# A ledger without torch, so that each cell of this notebook is quick.
TOY = """\
import os, sys, types
ledger = types.ModuleType("genai_utils.training.ledger")
trained = [{"steps": 1000, "flops": 9e12 if os.environ["GENAI_ESTIMATE"] == "1" else 0}]
ledger.trainings = lambda: trained
sys.modules["genai_utils.training.ledger"] = ledger"""


def write(path, *sources):
    cells = [new_markdown_cell("# A notebook"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells, metadata={"kept": 1}), path)


def test_a_notebook_is_estimated_without_training_and_stored(tmp_path, capsys):
    path = tmp_path / "24_vae.ipynb"
    write(path, START, TRAIN, EVALUATE, HONEST)
    assert main(["--estimate", "--store", "--profile", "gpu", str(path)]) == 0
    said = capsys.readouterr().out
    assert "50,000" in said and "T4" in said and "failed" not in said
    stored = nbformat.read(path, as_version=4)
    found = estimates.fresh(stored)
    assert (found["models"], found["steps"], found["failed"]) == (1, 50_000, 0)
    # Forward and the gradient of the weights: 2 * 2 * 16 * 8 * 4 operations a step, at least.
    assert 50_000 * 2048 <= found["flops"] < 50_000 * 2048 * 3
    assert found["minutes"]["T4"] == pytest.approx(50_000 * 3.3e-3 / 60, abs=0.01)
    assert not any(cell.get("outputs") for cell in stored.cells) and stored.metadata["kept"] == 1


def test_cells_that_fail_are_named_and_the_next_ones_are_run(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "MOST_OUTPUT", 10_000)
    path = tmp_path / "10_toy.ipynb"
    write(
        path, TOY, "1 / 0", "import time\ntime.sleep(3600)", "trained.append(trained[0])",
        "print('x' * 10_001, flush=True)\ntime.sleep(3600)", "trained.append(trained[0])",
        "os.kill(os.getpid(), 9)", "trained.append(trained[0])",
    )  # fmt: skip
    before, log = path.read_bytes(), []
    found, failed = estimates.estimate(path, timeout=10, log=log.append)
    assert (found["models"], found["steps"], found["flops"]) == (3, 3000, 2.7e13)
    assert found["failed"] == len(failed) == 4
    assert "10_toy cell 2/9: ZeroDivisionError" in failed[0]
    assert "10_toy cell 3/9 took more than 10 seconds" in failed[1]
    assert "10_toy cell 5/9 shows more than" in failed[2]
    assert "10_toy cell 7/9: the kernel died" in failed[3] and "were not run" in failed[3]
    assert [line.split()[2] for line in log] == [f"{cell}/9" for cell in range(1, 8)]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("SIG_IGN", "10_toy: the cell cannot be interrupted. The cells after it were not run."),
        ("lambda *_: os._exit(3)", "10_toy: the kernel died: it ended with exit code 3. The cells"),
    ],
)
def test_a_cell_that_cannot_be_interrupted_ends_the_estimate(tmp_path, monkeypatch, answer, says):
    monkeypatch.setattr(running, "PATIENCE", 2)
    path = tmp_path / "10_toy.ipynb"
    deaf = f"from signal import *\n_ = signal(SIGINT, {answer}), signal(SIGTERM, SIG_IGN)"
    write(path, TOY, f"{deaf}\nimport time\ntime.sleep(3600)", "trained.append(trained[0])")
    found, failed = estimates.estimate(path, timeout=8)
    assert found["models"] == 1 and found["failed"] == len(failed) == 2
    assert "10_toy cell 2/4 took more than 8 seconds" in failed[0] and failed[1].startswith(says)


def test_an_estimate_that_is_stopped_is_none(tmp_path, monkeypatch, capsys):
    """What was found by then would be stored as if it were all."""
    path, begun = tmp_path / "10_toy.ipynb", tmp_path / "begun"
    write(path, TOY, f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(3600)")
    before = path.read_bytes()

    def stop():
        while not begun.exists():
            time.sleep(0.05)
        running.stop()

    threading.Thread(target=stop, daemon=True).start()
    assert main(["--estimate", "--store", str(path)]) == 1
    said = capsys.readouterr()
    assert "no estimate.\n10_toy cell 2/3: the kernel died in it: it was stopped." in said.err
    assert "models" in said.out and "10_toy" not in said.out and path.read_bytes() == before


def test_what_could_not_be_stored_is_not_estimated(monkeypatch, tmp_path, capsys):
    path = tmp_path / "10_toy.ipynb"
    write(path, "x = 1")
    monkeypatch.setattr(estimates, "estimate", lambda *_: pytest.fail("it was run"))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["--estimate", "--store", str(path)]) == 1
    assert f"{path} is read-only" in capsys.readouterr().err
    with pytest.raises(ValueError, match="profile: expected one of 'ci'"):
        monkeypatch.undo()
        estimates.estimate(path, "fast")


FOUND = {
    "profile": "gpu", "models": 2, "steps": 9, "flops": 1e12, "failed": 0, "code_sha256": "",
    "minutes": {"T4": 1.0, "L4": 1.0, "A100": 1.0, "H100/H200": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [({"steps": 60_001}, "60,001 steps of training"), ({"flops": 5e15}, "5.00 PFLOP")],
)
def test_too_much_training_is_flagged_in_the_gpu_profile(monkeypatch, capsys, change, says):
    monkeypatch.setattr(estimates, "estimate", lambda *_: (FOUND | change, []))
    monkeypatch.setattr(estimates, "store", lambda *_: pytest.fail("it was not asked to store"))
    assert main(["--estimate", "x.ipynb"]) == 1
    assert f"Too much for the gpu profile: {says}" in capsys.readouterr().out
    assert main(["--estimate", "--profile", "cpu", "x.ipynb"]) == 0
    assert "Too much" not in capsys.readouterr().out


def test_failed_cells_are_said(monkeypatch, capsys):
    monkeypatch.setattr(estimates, "estimate", lambda *_: (FOUND, ["x cell 2/3: it ≠ that"]))
    assert main(["--estimate", "x.ipynb"]) == 0
    said = capsys.readouterr().out
    assert "may be too low" in said and "  x cell 2/3: it ≠ that" in said


def test_an_estimate_of_other_code_is_neither_stored_nor_fresh(tmp_path):
    path = tmp_path / "24_vae.ipynb"
    write(path, "x = 1")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="has changed while it was estimated"):
        estimates.store(path, FOUND)
    assert path.read_bytes() == before

    stored = nbformat.read(path, as_version=4)
    assert estimates.fresh(stored) is None
    estimates.store(path, FOUND | {"code_sha256": code_sha256(stored, "gpu")})
    stored = nbformat.read(path, as_version=4)
    assert estimates.fresh(stored)["models"] == 2
    stored.cells[1].source = "x = 2"
    assert estimates.load(stored) and estimates.fresh(stored) is None
