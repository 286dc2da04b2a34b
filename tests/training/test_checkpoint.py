"""Checkpoints: all or nothing, nothing unpickled, and never another model's."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy import STEPS, Toy, toy_fit

from genai_utils.training import (
    CheckpointError,
    checkpoint,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)

resource = pytest.importorskip("resource")


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.fixture
def full_disk(monkeypatch):
    """A function that makes writes fail as on a full disk, for the steps given."""

    def fill_up(*steps):
        real = checkpoint.write_file

        def write_file(path, content):
            if any(f"{step:08d}" in str(path) for step in steps) and path.suffix == ".json":
                path.write_bytes(content[:100])  # a part still fits
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(path, content)

        monkeypatch.setattr(checkpoint, "write_file", write_file)

    return fill_up


def test_round_trip_of_tensors_and_state(tmp_path):
    shared = torch.randn(3, 4)
    tensors = {
        "model": {"a": shared, "tied": shared, "t": shared.T, "n": torch.tensor(3)},
        "empty": {},
        "bf16": {"b": torch.randn(5).bfloat16()},
    }
    path = save_checkpoint(tmp_path / "a b", 7, tensors, {"loss": [0.1, 1e-300], "none": None})
    found = load_checkpoint(tmp_path / "a b")
    assert found.step == 7 and found.path == path
    assert found.state["loss"] == [0.1, 1e-300] and found.state["none"] is None
    for group, named in tensors.items():
        for name, tensor in named.items():
            other = found.tensors[group][name]
            assert other.dtype == tensor.dtype and torch.equal(other, tensor)
    assert {p.suffix for p in path.iterdir()} == {".safetensors", ".json"}


def test_only_the_newest_is_kept(tmp_path):
    for step in (9, 10, 100_000_000):
        save_checkpoint(tmp_path, step, {"model": {"s": torch.tensor(step)}}, {})
        assert load_checkpoint(tmp_path).tensors["model"]["s"] == step
        assert len(list(tmp_path.iterdir())) == 1
    assert load_checkpoint(tmp_path / "nothing") is None


def test_random_state_goes_through_json():
    state = json.loads(json.dumps(checkpoint.rng_state(torch.device("cpu"))))
    first = [torch.rand(3).tolist(), np.random.rand(), checkpoint.random.gauss(0, 1)]  # noqa: NPY002
    checkpoint.set_rng_state(state, torch.device("cpu"))
    again = [torch.rand(3).tolist(), np.random.rand(), checkpoint.random.gauss(0, 1)]  # noqa: NPY002
    assert first == again


def test_full_disk_keeps_the_checkpoint_before(tmp_path, full_disk):
    save_checkpoint(tmp_path, 1, {"model": {"s": torch.ones(9)}}, {})
    full_disk(2)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 2, {"model": {"s": torch.zeros(9)}}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]
    assert load_checkpoint(tmp_path).tensors["model"]["s"].sum() == 9


def test_a_write_that_the_system_cuts_short(tmp_path):
    save_checkpoint(tmp_path, 1, {"model": {"s": torch.ones(9)}}, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            save_checkpoint(tmp_path, 2, {"model": {"s": torch.zeros(9000)}}, {})
        with pytest.raises(CheckpointError, match="Cannot write the model"):
            save_model(nn.Linear(90, 90), tmp_path / "m.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]
    assert load_checkpoint(tmp_path).step == 1


def test_fit_goes_on_when_the_disk_is_full(tmp_path, full_disk):
    alone = toy_fit(tmp_path / "alone")
    full_disk(12, 18, STEPS)
    with pytest.warns(RuntimeWarning, match="could not be written.*No space left") as warned:
        result = toy_fit(tmp_path / "run")
    kept = [str(warning.message).split("; ")[1].split("/")[-1] for warning in warned]
    assert kept == [f"step_{step:08d} stays valid." for step in (6, 6, 36)]
    assert same(result.model, alone.model) and result.history == alone.history
    assert load_checkpoint(tmp_path / "run").step == 36  # the last that could be written
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["step_00000036"]


def test_fit_resumes_from_what_a_full_disk_left(tmp_path, full_disk, monkeypatch):
    alone = toy_fit(tmp_path / "alone")
    with monkeypatch.context():
        full_disk(*range(13, STEPS + 1))
        with pytest.warns(RuntimeWarning, match="stays valid"):
            toy_fit(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").step == 12
    monkeypatch.undo()
    result = toy_fit(tmp_path / "run")
    assert same(result.model, alone.model) and same(result.ema_model, alone.ema_model)


def test_first_checkpoint_on_a_full_disk_says_that_there_is_none(tmp_path, full_disk):
    full_disk(*range(STEPS + 1))
    with pytest.warns(RuntimeWarning, match="there is none from before"):
        toy_fit(tmp_path)


def test_checkpoint_of_another_model_is_refused_with_both_shapes(tmp_path):
    toy_fit(tmp_path)
    wider = Toy(width=9)
    before = [p.clone() for p in wider.parameters()]
    with pytest.raises(CheckpointError) as error:
        toy_fit(tmp_path, model=wider)
    assert "net.0.weight: (8, 6) in the file, (9, 6) in this model" in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, wider.parameters(), strict=True))
    assert load_checkpoint(tmp_path).step == STEPS  # and it is still there


def test_load_model_round_trip_and_refusals(tmp_path):
    model, path = Toy(), tmp_path / "deep" / "toy.safetensors"
    with torch.no_grad():
        model.net[0].weight.add_(1)
    save_model(model, path)
    assert same(load_model(Toy(), path), model) and not same(Toy(), model)
    with pytest.raises(CheckpointError, match=r"net.2.weight: \(6, 8\).*\(6, 5\)"):
        load_model(Toy(width=5), path)
    with pytest.raises(CheckpointError, match=r"weight: absent in the file, \(1, 1\)"):
        load_model(nn.Linear(1, 1), path)
    with pytest.raises(CheckpointError, match="Cannot read"):
        load_model(model, tmp_path / "missing")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="Cannot read"):
        load_model(model, path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="Cannot write the model"):
        save_model(model, tmp_path / "file" / "m.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(tmp_path, name):
    toy_fit(tmp_path)
    (path,) = tmp_path.iterdir()
    with open(path / name, "r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    with pytest.raises(CheckpointError, match=f"{path.name} is damaged"):
        toy_fit(tmp_path)
    shutil.rmtree(path)
    assert toy_fit(tmp_path).history["step"][-1] == STEPS


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    toy_fit(tmp_path)
    for module in ("pickle", "torch"):
        monkeypatch.setattr(f"{module}.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    assert toy_fit(tmp_path).history["step"][-1] == STEPS


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".writing-1-step_00000099").mkdir(parents=True)
    (tmp_path / ".writing-1-step_00000099" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "step_notes").mkdir()  # a folder of the reader's
    assert load_checkpoint(tmp_path) is None
    toy_fit(tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {f"step_{STEPS:08d}", "step_notes"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and another one to work in."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_wave_is_the_home_folder_whatever_the_path_comes_as(home, kind):
    model = Toy()
    assert save_model(model, kind("~/m.safetensors")) == home / "m.safetensors"
    assert same(load_model(Toy(), kind("~/m.safetensors")), model)
    tensors = {"model": {"s": torch.ones(2)}}
    assert save_checkpoint(kind("~/runs"), 3, tensors, {}) == home / "runs" / "step_00000003"
    assert load_checkpoint(kind("~/runs")).step == 3
    result = toy_fit(kind("~/toy"), steps=4)
    assert load_checkpoint(home / "toy").step == 4
    assert toy_fit(kind("~/toy"), steps=4).history == result.history
    assert {p.name for p in home.iterdir()} == {"m.safetensors", "runs", "toy"}
    assert not list((home.parent / "here").iterdir())


def test_a_file_for_a_folder_and_a_folder_for_a_file(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_bytes(b"mine")
    folder.mkdir()
    never = lambda step: pytest.fail("trained")  # noqa: E731
    with pytest.raises(CheckpointError, match="file is a file; checkpoints need a folder"):
        load_checkpoint(file)
    with pytest.raises(CheckpointError, match="file is a file; checkpoints need a folder"):
        toy_fit(file, batches=never)
    with pytest.raises(CheckpointError, match="Cannot write the model to .*folder: it is a folder"):
        save_model(Toy(), folder)
    with pytest.raises(CheckpointError, match="Cannot read a model from .*folder: it is a folder"):
        load_model(Toy(), folder)
    assert file.read_bytes() == b"mine" and not list(folder.iterdir())
    for function in (save_model, load_model):
        with pytest.raises(TypeError, match=r"path: expected a path \(text, .* got 3"):
            function(Toy(), 3)
        with pytest.raises(ValueError, match="path: expected a path .* got ''"):
            function(Toy(), "")


def test_a_disk_that_cannot_be_waited_for_is_written_to_and_a_full_one_is_told(
    tmp_path, monkeypatch
):
    def failing(code):
        def fsync(descriptor):
            raise OSError(code, os.strerror(code))

        return fsync

    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    model = Toy()
    assert same(load_model(Toy(width=8), save_model(model, tmp_path / "m")), model)
    assert toy_fit(tmp_path / "run", steps=4) and load_checkpoint(tmp_path / "run").step == 4
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(CheckpointError, match="Cannot write the model .*No space left"):
        save_model(model, tmp_path / "m")
    assert same(load_model(Toy(width=8), tmp_path / "m"), model)
