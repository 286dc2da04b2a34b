"""Two processes (gloo) give what one gives with the same global batch, and fail together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from accelerate import Accelerator, DistributedType
from toy import STEPS, Meeting, Narrow, Toy, by_muon, interrupted, toy_data, toy_fit

from genai_utils import train
from genai_utils.training import TensorBatches, dynamic_binarize, parallel
from genai_utils.training.parallel import share
from genai_utils.training.shards import Shards, share_weights

forks = pytest.mark.skipif(
    not (hasattr(os, "fork") and torch.distributed.is_gloo_available()), reason="needs fork, gloo"
)

GROUPS = ("model", "ema", "optimizer")


def run_toy(command, folder, ports):
    """Run toy.py, which forks two processes that meet at a free port, once for each port."""
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.socket()) for _ in range(ports)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        ports = [str(each.getsockname()[1]) for each in free]
    script = Path(__file__).with_name("toy.py")
    command = [sys.executable, str(script), command, str(folder), *ports]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done


@forks
def test_a_killed_worker_comes_back(tmp_path):
    """One of two dies at step 17, the other with it; started again, they end as one does."""
    done = run_toy("killed", tmp_path, ports=2)
    (second, first), again = json.loads(done.stdout.splitlines()[-1])
    assert second == signal.SIGKILL and first != 0 and again == [0, 0], done.stderr
    lines = (tmp_path / "rank1" / "diary.jsonl").read_text().splitlines()
    steps = [json.loads(line)[0] for line in lines]
    assert steps == [*range(17), *range(12, STEPS)]  # from the checkpoint of step 12
    batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    alone = toy_fit(None, batches, progress=False)
    theirs = torch.load(tmp_path / "rank0.pt", weights_only=True)
    for name, values in alone.history.items():
        torch.testing.assert_close(
            torch.tensor(theirs[name]), torch.tensor(values), atol=1e-5, rtol=1e-5
        )


@forks
def test_workers_that_are_started_again_do_not_look_for_the_dead(tmp_path):
    """The launcher keeps its store, with the addresses of the workers before."""
    done = run_toy("again", tmp_path, ports=1)
    first, again = json.loads(done.stdout.splitlines()[-1])
    assert signal.SIGKILL in first and again == [0, 0], done.stderr


@pytest.mark.parametrize("processes, start, hosts", [(1, 1, 1), (2, 0, 1), (4, 1, 2)])
def test_others_meet_where_the_launcher_says(processes, start, hosts, monkeypatch):
    """One process alone, a first start, and several hosts: no name of our own."""
    told = {"WORLD_SIZE": processes, "TORCHELASTIC_RESTART_COUNT": start}
    for name, value in {**told, "GROUP_WORLD_SIZE": hosts, "ACCELERATE_USE_CPU": "no"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.distributed, "rendezvous", lambda url: pytest.fail(url))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    train.join_processes()
    assert os.environ["ACCELERATE_USE_CPU"] == ("true" if processes > 1 else "no")


@forks
def test_two_processes_equal_one(tmp_path):
    done = run_toy("two", tmp_path, ports=1)
    *lines, ends = done.stdout.splitlines()
    assert json.loads(ends) == [0, 0], done.stderr
    assert len(lines) == 1 and lines[0].startswith(f"Toy: {STEPS} steps")  # one line, one process

    alone = toy_fit(None, TensorBatches(toy_data(), batch_size=8), Toy(noisy=False))
    for rank in (0, 1):
        theirs = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        for name, weight in alone.model.state_dict().items():
            torch.testing.assert_close(theirs["model"][name], weight, atol=1e-6, rtol=1e-6)
        for name, values in alone.history.items():
            torch.testing.assert_close(
                torch.tensor(theirs["history"][name]), torch.tensor(values), atol=1e-5, rtol=1e-5
            )

    # Noise too is that of one process: dropout, batch norm, and numbers of all three generators.
    # A run of two that is taken up by one goes on in the same noise.
    batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    alone, on = toy_fit(None, batches), toy_fit(tmp_path / "cut", batches)
    for rank in (0, 1):
        theirs = torch.load(tmp_path / f"noisy{rank}.pt", weights_only=True)
        for name, weight in alone.model.state_dict().items():
            torch.testing.assert_close(theirs["model"][name], weight, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(on.model.state_dict()[name], weight, atol=1e-5, rtol=1e-5)
        for name, values in alone.history.items():
            for other in (theirs["history"][name], on.history[name]):
                torch.testing.assert_close(
                    torch.tensor(other), torch.tensor(values), atol=1e-5, rtol=1e-5
                )

    # So is a loss that compares rows of different processes, or divides by what it counted.
    alone = toy_fit(None, batches, Meeting(), progress=False)
    for rank in (0, 1):
        theirs = torch.load(tmp_path / f"meeting{rank}.pt", weights_only=True)
        for name, values in alone.history.items():
            torch.testing.assert_close(
                torch.tensor(theirs[name]), torch.tensor(values), atol=1e-5, rtol=1e-5
            )

    for rank in (0, 1):  # a NaN that one process sees stops both, at the step where it came
        assert "loss is nan at step 0" in (tmp_path / f"nan{rank}.txt").read_text()
        assert "7 does not divide into 2" in (tmp_path / f"odd{rank}.txt").read_text()
    assert not list((tmp_path / "nan").iterdir())  # and no checkpoint was written


def test_share_of_one_process_is_the_whole_batch():
    batch = {"x": (torch.arange(6), torch.zeros(6, 2)), "name": "n"}
    mine = share(batch, Accelerator())
    assert torch.equal(mine["x"][0], batch["x"][0]) and mine["x"][1].shape == (6, 2)


def close(a, b, tolerance=1e-5):
    """Whether dicts of tensors and lists are the same but for rounding."""
    assert set(a) == set(b)
    for name, value in a.items():
        mine, theirs = torch.as_tensor(value), torch.as_tensor(b[name])
        torch.testing.assert_close(mine, theirs, atol=tolerance, rtol=tolerance)


@forks
def test_two_processes_that_share_the_weights_equal_one(tmp_path):
    """Noise, batch norm, clipping, average, Muon and looks; resumed by two, by one, from one."""
    batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    with contextlib.suppress(KeyboardInterrupt):
        toy_fit(tmp_path / "one", batches, interrupted(Narrow, after=20)(), progress=False)
    done = run_toy("shared", tmp_path, ports=1)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0], done.stderr

    # Each process writes its rows, the first also what is not shared; nothing else lies there.
    (kept,) = (tmp_path / "alone").iterdir()
    parts = [f"{group}-{n}-of-2.safetensors" for group in GROUPS for n in (1, 2)]
    assert {path.name for path in kept.iterdir()} == {*parts, "state.json"}
    parts = [safetensors.torch.load_file(kept / f"model-{n}-of-2.safetensors") for n in (1, 2)]
    assert [part["net.0.weight"].shape for part in parts] == [(1, 6), (0, 6)]
    assert "norm.running_mean" in parts[0] and "norm.running_mean" not in parts[1]

    alone, muon = toy_fit(None, batches, Narrow(), progress=False), by_muon()
    taken_up = toy_fit(tmp_path / "alone", batches, Narrow(), progress=False)
    close(taken_up.model.state_dict(), alone.model.state_dict())
    close(taken_up.history, alone.history)
    for rank in (0, 1):
        theirs = torch.load(tmp_path / f"shared{rank}.pt", weights_only=True)
        for name in ("both", "one"):
            model, history, average = theirs[name]
            close(model, alone.model.state_dict())
            close(history, alone.history)
            close(average, alone.ema_model.state_dict())
        model, looks, best = theirs["muon"]
        close(model, muon.model.state_dict(), 1e-4)
        close(looks, muon.looks | {"seconds": looks["seconds"]}, 1e-4)
        close(best, muon.best_model.state_dict(), 1e-4)
        assert (
            "a loss that leaves the weights alone, got one that writes net.0.bias"
            in (theirs["writer"])
        )
        assert "weights that have rows, got scale, which is one number" in theirs["scalar"]
        assert "expected a function of the step, got a Policy" in theirs["policy"]
        assert len(theirs["told"]) == (rank == 0)  # the disk of the second was full
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["step_00000006"]


@pytest.mark.parametrize(
    "asked",
    [{"FSDP_VERSION": "1"}, {"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}],
    ids=lambda asked: " ".join(asked),
)
def test_ways_to_share_that_are_refused(asked, monkeypatch):
    """They are told before anything is shared, to one process too, which itself never shares."""
    for name, value in {"ACCELERATE_USE_FSDP": "true", **asked}.items():
        monkeypatch.setenv(name, value)
    accelerator = SimpleNamespace(num_processes=1, device=torch.device("cpu"))
    assert not share_weights(accelerator)
    with pytest.raises(ValueError, match="fsdp_version: 2 and fsdp_offload_params: false"):
        Shards(Toy(), accelerator, TensorBatches(toy_data(), batch_size=8))


@pytest.mark.parametrize("kind", [DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM])
def test_other_libraries_that_share_weights_are_refused(kind, monkeypatch):
    made = SimpleNamespace(distributed_type=kind)
    monkeypatch.setattr(parallel, "Accelerator", lambda **options: made)
    with pytest.raises(ValueError, match=f"MULTI_GPU or FSDP, got {kind.value}"):
        toy_fit(None)


def test_share_slices_every_part():
    class Second:
        num_processes, process_index, device = 3, 1, torch.device("cpu")

    batch = (torch.arange(6), {"y": torch.arange(12).view(6, 2)})
    x, rest = share(batch, Second())
    assert x.tolist() == [2, 3] and rest["y"].tolist() == [[4, 5], [6, 7]]
