"""A tiny model for the tests of the loop, and a driver that runs it in forked processes.

`python toy.py resume FOLDER KILL,KILL…` and `python toy.py two FOLDER PORT` import torch once and
fork, which is what makes a test that needs a dozen processes take seconds.
"""

import contextlib
import errno
import importlib
import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from genai_utils import train
from genai_utils.training import (
    Muon,
    TensorBatches,
    TrainingError,
    checkpoint,
    counted,
    dynamic_binarize,
    fit,
    gathered,
)  # fmt: skip

STEPS, EVERY = 40, 6


class Toy(nn.Module):
    """6 -> width -> 6 with dropout and batch norm; its loss draws from all three generators."""

    def __init__(self, width: int = 8, noisy: bool = True):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 6))
        self.norm = nn.BatchNorm1d(6)
        self.noisy = noisy

    def loss(self, x):
        """A dict, with a scalar beside the loss."""
        if not self.noisy:
            return {"loss": ((self.net(x) - x) ** 2).sum(1).mean(), "mean": x.mean()}
        noise = torch.rand(()).item() + random.random() + np.random.rand()  # noqa: NPY002
        y = self.net(F.dropout(self.norm(x), 0.3))
        return {"loss": ((y - x) ** 2).sum(1).mean() * noise, "noise": noise}


class Narrow(Toy):
    """One hidden number, of whose row the second of two processes holds nothing; a frozen bias."""

    def __init__(self):
        super().__init__(width=1)
        self.norm.bias.requires_grad_(False)


class Meeting(Toy):
    """Rows that meet: each finds itself among all of the batch; a mean over what was drawn."""

    def loss(self, x):
        """A comparison between rows, and a sum over a count that differs between processes."""
        y = gathered(self.net(x))
        chosen = torch.rand_like(x) < x.mean(1, keepdim=True)
        error = torch.where(chosen, (self.net(x) - x) ** 2, 0.0).sum() / counted(chosen.sum())
        return {"loss": F.cross_entropy(y @ y.T, torch.arange(len(y))) + error, "error": error}


def interrupted(model: type, after: int) -> type:
    """The same class of model, stopped (as by Ctrl-C) when its loss was asked for so many times."""

    class Interrupted(model):
        left = after

        def loss(self, x):
            """As before, until it stops."""
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().loss(x)

    Interrupted.__qualname__ = model.__qualname__  # a checkpoint is to take it for the same
    return Interrupted


def toy_data(n: int = 50) -> torch.Tensor:
    """Grey values (n, 6)."""
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(3))


def toy_fit(folder, batches=None, model=None, **changes):
    """The run that the tests interrupt."""
    batches = batches or TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    options = {"lr": 0.01, "warmup": 3, "ema": 0.9, "clip": 1.0, "every": EVERY, "title": "Toy"}
    steps = changes.pop("steps", STEPS)
    return fit(model or Toy(), batches, steps, checkpoint=folder, **{**options, **changes})


class Diary:
    """Batches that write down what they gave, and kill the process (as `kill -9`) at one step."""

    def __init__(self, folder: Path, kill: int | None = None):
        self.batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
        self.path, self.kill = folder / "diary.jsonl", kill

    def __repr__(self) -> str:
        return f"Diary of {self.batches}"

    def __call__(self, step: int) -> torch.Tensor:
        if step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        batch = self.batches(step)
        with open(self.path, "a") as file:
            file.write(json.dumps([step, batch.flatten().tolist()]) + "\n")
        return batch


def forked(function) -> int:
    """Run a function in a child process; return how it ended, as os.waitpid says it."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:  # the child must never go on in the parent's code
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def run_once(folder: Path, kill: str | None) -> None:
    """One process of a run: killed at a step, at a moment of a save, or not at all."""
    step = int(kill) if kill and kill.isdigit() else None
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    if kill and step is None:
        _kill_in_save(*kill.split("@"))
    result = toy_fit(folder / "run", Diary(folder, step))
    after = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002
    seen = [result.history, after, result.model.training]
    (folder / "result.json").write_text(json.dumps(seen))


def _kill_in_save(moment: str, at: str) -> None:
    """Die while the checkpoint of step `at` is written: half a file, before or after the rename."""
    write, rename = checkpoint.write_file, os.rename

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half(path, content):
        if path.name == "optimizer.safetensors" and f"{int(at):08d}" in str(path):
            path.write_bytes(content[: len(content) // 2])
            die()
        write(path, content)

    def rename_and_die(source, target):
        if f"{int(at):08d}" not in str(target):
            return rename(source, target)
        if moment == "after":
            rename(source, target)
        die()

    if moment == "half":
        checkpoint.write_file = write_half
    else:
        checkpoint.os.rename = rename_and_die


def join(rank: int, port: int) -> None:
    """Say that this process is one of two, which meet at a port."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}


def run_killed(folder: Path, rank: int, port: int, kill: int | None) -> None:
    """One of two processes of a run whose second one dies at a step."""
    join(rank, port)
    (folder / f"rank{rank}").mkdir(exist_ok=True)
    diary = Diary(folder / f"rank{rank}", kill if rank else None)
    result = toy_fit(folder / "run", diary, progress=False)
    torch.save(result.history, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


def run_again(rank: int, port: int, start: int) -> None:
    """One of two that meet at a launcher's store, die, and are started again; the second late."""
    join(rank, port)
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": str(start)}
    time.sleep(start * rank)
    train.join_processes()
    total = Accelerator().reduce(torch.tensor(1.0 + rank))
    if start == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    assert total == 3


def run_rank(folder: Path, rank: int, port: int) -> None:
    """One of two processes of a data-parallel run, and of one in which only one rank sees a NaN."""
    join(rank, port)
    batches = TensorBatches(toy_data(), batch_size=8)
    result = toy_fit(folder / "run", batches, Toy(noisy=False), progress=rank == 0)
    torch.save(
        {"model": result.model.state_dict(), "history": result.history}, folder / f"rank{rank}.pt"
    )
    batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    noisy = toy_fit(None, batches, progress=False)
    torch.save(
        {"model": noisy.model.state_dict(), "history": noisy.history}, folder / f"noisy{rank}.pt"
    )
    cut = interrupted(Toy, after=20)()  # after checkpoints of steps 6, 12 and 18
    with contextlib.suppress(KeyboardInterrupt):
        toy_fit(folder / "cut", batches, cut, progress=False)
    meeting = toy_fit(None, batches, Meeting(), progress=False)
    torch.save(meeting.history, folder / f"meeting{rank}.pt")
    poisoned = toy_data(8)
    poisoned[6] = torch.nan  # an example of the second process
    try:
        toy_fit(folder / "nan", lambda step: poisoned, Toy(noisy=False), steps=60)
    except TrainingError as error:
        (folder / f"nan{rank}.txt").write_text(str(error))
    try:
        toy_fit(None, lambda step: toy_data(7), Toy(noisy=False))
    except ValueError as error:
        (folder / f"odd{rank}.txt").write_text(str(error))
    torch.distributed.destroy_process_group()


class Writer(Toy):
    """A loss that writes into a weight, as one that moves idle entries of a codebook does."""

    def loss(self, x):
        """As before, after the weight is written."""
        with torch.no_grad():
            self.net[0].bias.mul_(0.5)
        return super().loss(x)


class Scalar(Toy):
    """A weight that is one number."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))


class Policy(TensorBatches):
    """Batches with a state of their own."""

    def load_state_dict(self, state):
        """Nothing."""


def by_muon(rank=0):
    """A run with an optimiser of matrices that was made before, looks, and the best of them.

    All processes begin with the weights of the first.
    """
    model, data = Toy(noisy=False), toy_data()
    model.net[0].bias.data += rank
    matrices = [model.net[0].weight, model.net[2].weight]
    rest = [model.net[0].bias, model.net[2].bias]
    groups = [{"params": matrices, "muon": True}, {"params": rest}]

    def look(net, step):
        loss = net.loss(data)["loss"]  # the outer one waits for the end, without weights
        waits = model is net or model.net[0].weight.isnan().all().item()
        return {"loss": loss, "waits": float(waits)}

    options = {"optimizer": Muon(groups, lr=0.02), "look": look, "looks": 5, "best": "loss"}
    batches = TensorBatches(data, batch_size=8)
    return toy_fit(None, batches, model, progress=False, **options)


def run_shared(folder: Path, rank: int, port: int) -> None:
    """One of two processes that share the weights, those of each linear layer apart."""
    join(rank, port)
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    os.environ |= {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
    os.environ |= {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Linear"}
    batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    found = {}
    for name in ("both", "alone"):  # cut here after the checkpoint of step 18
        cut = interrupted(Narrow, after=20)()
        with contextlib.suppress(KeyboardInterrupt):
            toy_fit(folder / name, batches, cut, progress=False)
    for name in ("both", "one"):  # "one" was cut in a single process
        result = toy_fit(folder / name, batches, Narrow(), progress=False)
        found[name] = [result.model.state_dict(), result.history, result.ema_model.state_dict()]
    result = by_muon(rank)
    found["muon"] = [result.model.state_dict(), result.looks, result.best_model.state_dict()]
    if rank == 1:  # its disk is full at step 12
        write = checkpoint.write_file

        def full(path, content):
            if "00000012" in str(path):
                raise OSError(errno.ENOSPC, "no space")
            write(path, content)

        checkpoint.write_file = full
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RuntimeWarning)
        cut = interrupted(Toy, after=13)()
        with contextlib.suppress(KeyboardInterrupt):
            toy_fit(folder / "full", batches, cut, progress=False)
    found["told"] = [str(w.message) for w in told if w.category is RuntimeWarning]
    refused = {"writer": Writer(), "scalar": Scalar(), "policy": Toy()}
    for name, model in refused.items():
        kind = Policy if name == "policy" else TensorBatches
        with pytest.raises(ValueError) as error:
            toy_fit(None, kind(toy_data(), batch_size=8), model, progress=False)
        found[name] = str(error.value)
    torch.save(found, folder / f"shared{rank}.pt")
    torch.distributed.destroy_process_group()


def both(function) -> list[int]:
    """Run a function of the rank in two child processes; return how they ended."""
    first = os.fork()
    if first == 0:
        os._exit(forked(lambda: function(0)) >> 8)
    return [forked(lambda: function(1)), os.waitpid(first, 0)[1]]


def main(command: str, folder: Path, *arguments: str) -> None:
    """Fork the processes of one test and print how each ended."""
    torch.set_num_threads(1)  # a fork does not take threads along
    importlib.import_module("torch._dynamo")  # else each child's first optimiser imports it
    if command == "resume":
        chains = {"whole": "", **{chain: chain for chain in arguments}}
        ends = {}
        for name, chain in chains.items():
            (folder / name).mkdir()
            kills = [*filter(None, chain.split(",")), None]
            ends[name] = [forked(lambda k=k, n=name: run_once(folder / n, k)) for k in kills]
    elif command == "two":
        ends = both(lambda rank: run_rank(folder, rank, int(arguments[0])))
    elif command == "shared":
        ends = both(lambda rank: run_shared(folder, rank, int(arguments[0])))
    elif command == "again":
        port = int(arguments[0])
        store = torch.distributed.TCPStore("127.0.0.1", port, None, True, wait_for_workers=False)
        ends = [both(lambda rank, s=start: run_again(rank, port, s)) for start in (0, 1)]
        del store
    else:  # "killed": once with a death, then again
        ends = [
            both(lambda rank, k=kill, p=port: run_killed(folder, rank, int(p), k))
            for kill, port in zip((17, None), arguments, strict=True)
        ]
    print(json.dumps(ends))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
