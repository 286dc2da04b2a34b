"""The start of a notebook: profile, seed, sizes and recorded numbers."""

import json
import os
import random

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from genai_utils import run as runs
from genai_utils.course import session


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(runs, "_current", None)
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    monkeypatch.delenv("GENAI_SEED", raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")  # start sets it; put back after the test


def test_start_seeds_everything_and_says_so_in_one_line(capsys):
    run = session.start("24_vae", seed=3)
    drawn = (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert all(word in line for word in ("24_vae", "ci", "bundled", "seed 3", "CPU"))
    session.start("24_vae", seed=3)
    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
    assert runs.current().seed == run.seed == 3
    assert run.device.type == "cpu"


def test_profile_comes_from_the_environment_or_the_device(monkeypatch):
    for profile in runs.PROFILES:
        monkeypatch.setenv("GENAI_PROFILE", profile)
        assert session.start("02_pca").profile == profile
    monkeypatch.delenv("GENAI_PROFILE")
    assert session.start("02_pca").profile == ("gpu" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("GENAI_PROFILE", "fast")
    with pytest.raises(ValueError, match="ci, cpu, gpu; GENAI_PROFILE is 'fast'"):
        session.start("02_pca")


def test_training_uses_the_device_of_the_run(monkeypatch):
    """Accelerate prefers a Mac's GPU, or CUDA; the tensors of a cpu run are not there."""
    from genai_utils.training.parallel import make_accelerator

    other = property(lambda self: torch.device("meta"))
    monkeypatch.setattr(PartialState, "default_device", other)
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        run = session.start("24_vae")
        assert make_accelerator().device == run.device == torch.device("cpu")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("name", ["vae", "24-vae", "24_VAE", "", None, 24])
def test_an_odd_name_is_refused(name):
    with pytest.raises(ValueError, match="name of a notebook"):
        session.start(name)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, 2**32])
def test_an_odd_seed_is_refused(seed):
    with pytest.raises(ValueError, match="a whole number from 0 to 4294967295; it got"):
        session.start("24_vae", seed=seed)


def test_the_seed_comes_from_the_call_or_the_environment_or_is_0(monkeypatch, capsys):
    def drawn(**given):
        assert "seed" in (line := (session.start("24_vae", **given), capsys.readouterr().out)[1])
        return int(line.rsplit(" ", 1)[1]), torch.rand(1).item()

    zero, seven = drawn(seed=0), drawn(seed=7)
    assert zero[0] == 0 and seven[0] == 7 and zero[1] != seven[1]
    assert drawn() == zero
    monkeypatch.setenv("GENAI_SEED", "7")
    assert drawn() == seven and drawn(seed=0) == zero
    assert runs.current().seed == 0
    monkeypatch.setenv("GENAI_SEED", "")
    assert drawn() == zero


@pytest.mark.parametrize("value", ["one", "-1", "1.0", "1e3", "٣", str(2**32), "9" * 5000])
def test_an_odd_seed_in_the_environment_is_refused(value, monkeypatch):
    monkeypatch.setenv("GENAI_SEED", value)
    with pytest.raises(ValueError, match="GENAI_SEED is a whole number .* it is '.*or unset it"):
        session.start("24_vae")


def test_pick_wants_all_three_profiles():
    run = session.start("24_vae")
    assert run.pick(ci=1, cpu=2, gpu=3) == 1
    for sizes in ({"ci": 1, "cpu": 2}, {}, {"ci": 1, "cpu": 2, "gpu": 3, "tpu": 4}):
        with pytest.raises(ValueError, match="ci, cpu, gpu"):
            run.pick(**sizes)


def test_recorded_numbers_reach_the_report():
    run = session.start("24_vae")
    run.record("loss", 2.0, "nats")
    run.record("loss", torch.tensor(1.5), "nats", "again")
    run.record("share", 0.25)
    report = json.loads(runs.report())
    assert report["metrics"] == [
        {"name": "loss", "value": 1.5, "unit": "nats", "note": "again"},
        {"name": "share", "value": 0.25, "unit": "", "note": ""},
    ]
    assert report["notebook"] == "24_vae" and report["profile"] == "ci"
    assert report["seconds"] >= 0 and report["peak_memory_gb"] > 0.05
    assert report["versions"]["torch"] == torch.__version__.split("+")[0]
    with pytest.raises(ValueError, match="finite"):
        run.record("loss", float("nan"))


def test_a_run_counts_the_seconds_of_all_its_threads_and_ended_processes(monkeypatch):
    times = iter([(1, 2, 3, 4, 50), (2, 4, 6, 8.5, 51)])  # user, system, those of children, clock
    monkeypatch.setattr(runs.os, "times", lambda: os.times_result(next(times)))
    session.start("24_vae")
    report = json.loads(runs.report())
    assert report["processor_seconds"] == 10.5
    assert report["threads"] == torch.get_num_threads()


def test_no_report_without_a_start():
    with pytest.raises(RuntimeError, match="set-up cell"):
        runs.report()
