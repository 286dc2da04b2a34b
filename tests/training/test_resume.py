"""A run killed by `kill -9` and started again ends bit for bit like one left alone."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from toy import EVERY, STEPS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
IN_A_SAVE = "half@12,before@18,after@24,half@40"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(folder, steps of the kills, printed lines): a run left alone, and two that are killed."""
    folder = tmp_path_factory.mktemp("resume")
    kills = sorted(random.SystemRandom().sample(range(1, STEPS), 3))
    at_steps = ",".join(map(str, kills))
    script = str(Path(__file__).with_name("toy.py"))
    command = [sys.executable, script, "resume", str(folder), at_steps, IN_A_SAVE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *lines, ends = done.stdout.splitlines()
    killed = {"whole": [0], at_steps: [9, 9, 9, 0], IN_A_SAVE: [9, 9, 9, 9, 0]}  # 9 is SIGKILL
    assert json.loads(ends) == killed, done.stderr
    return folder, kills, lines


def final(folder):
    """All that a run leaves, but for the seconds it took."""
    (path,) = (folder / "run").iterdir()  # one checkpoint, and nothing half-written beside it
    assert path.name == f"step_{STEPS:08d}"
    state = json.loads((path / "state.json").read_text())
    del state["meter"]["seconds"]
    tensors = {p.name: p.read_bytes() for p in path.glob("*.safetensors")}
    assert set(tensors) == {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}
    return tensors, state, (folder / "result.json").read_text()


def diary(folder):
    return [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]


def test_killed_at_three_random_steps(runs):
    folder, kills, lines = runs
    parts = folder / ",".join(map(str, kills))
    assert final(folder / "whole") == final(parts), kills  # weights, optimiser, random state …
    seen = diary(folder / "whole")
    assert [step for step, _ in seen] == list(range(STEPS))
    starts, expected = [0] + [kill // EVERY * EVERY for kill in kills], []
    for start, stop in zip(starts, [*kills, STEPS], strict=True):
        expected += list(range(start, stop))
    again = diary(parts)
    assert [step for step, _ in again] == expected, kills  # nothing repeated but what was lost
    assert all(batch == seen[step][1] for step, batch in again), kills
    assert len(lines) == 3  # one line for each run that came to its end
    assert f"went on from step {starts[-1]}" in lines[1] or not starts[-1]


def test_killed_while_a_checkpoint_is_written(runs):
    folder = runs[0]
    assert final(folder / "whole") == final(folder / IN_A_SAVE)
    steps = [step for step, _ in diary(folder / IN_A_SAVE)]
    resumed = [b for a, b in zip(steps, steps[1:], strict=False) if b != a + 1]
    assert resumed == [6, 12, 36]  # killed after the rename at 24, it goes on from 24 itself
