"""A checkpoint is taken up by its own run only: what shapes a run is described, and compared."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy import Toy, toy_data, toy_fit

from genai_utils.training import (
    CheckpointError,
    Muon,
    TensorBatches,
    WindowBatches,
    cosine_to_floor,
    fit,
    muon_groups,
)
from genai_utils.training.describe import (
    Undescribable,
    describe,
    describe_model,
    describe_optimizer,
    fingerprint,
)
from genai_utils.vision.vae import VAE


@dataclass
class Config:
    """Settings of a model."""

    width: int = 3
    rate: float = 0.5


class Beta(Toy):
    """A toy with settings in several forms."""

    def __init__(self, beta=1.0, config=None, table=None):
        super().__init__()
        self.beta, self.config = beta, config or Config()
        self.table = torch.arange(3.0) if table is None else table
        self.act = torch.tanh


def refused(tmp_path, name, first, second):
    """Both runs alone are fine; the second does not take up the first's checkpoint."""
    toy_fit(tmp_path, **first())
    toy_fit(tmp_path, **first())
    with pytest.raises(CheckpointError, match=f"{name}.* was .* and is now"):
        toy_fit(tmp_path, **second())


def test_another_setting_of_the_model(tmp_path):
    made = lambda *a: lambda: {"model": Beta(*a)}  # noqa: E731
    refused(tmp_path / "a", "model.beta", made(1.0), made(100.0))
    refused(tmp_path / "b", "model.config", made(1.0, Config(3)), made(1.0, Config(4)))
    refused(tmp_path / "c", "model.table", made(1.0), made(1.0, None, torch.ones(3)))


def test_another_beta_of_the_vae(tmp_path):
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    how = {"checkpoint": tmp_path, "progress": False}
    batches = TensorBatches(x, batch_size=4)
    fit(VAE(8, code=2, width=8, beta=1.0), batches, 2, **how)
    with pytest.raises(CheckpointError, match="model.beta was 1.0 and is now 100.0"):
        fit(VAE(8, code=2, width=8, beta=100.0), batches, 2, **how)


def test_other_data_of_the_same_shape(tmp_path):
    other = toy_data()
    other[17, 3] += 1e-3
    made = lambda x: lambda: {"batches": TensorBatches(x, batch_size=8)}  # noqa: E731
    refused(tmp_path, "batches", made(toy_data()), made(other))
    windows = [WindowBatches(torch.tensor(ids), 2, 2) for ids in ([1, 2, 3], [1, 2, 4])]
    assert describe(windows[0]) != describe(windows[1])


def test_another_setting_of_the_optimizer(tmp_path):
    made = lambda m: lambda: {"optimizer": functools.partial(torch.optim.SGD, momentum=m)}  # noqa: E731
    refused(tmp_path / "sgd", "optimizer.groups", made(0.5), made(0.9))
    block = nn.Sequential(nn.Linear(2, 3))
    one, two = (Muon(muon_groups(block, block), 0.1, momentum=m) for m in (0.9, 0.95))
    assert describe_optimizer(one) != describe_optimizer(two)
    cut = torch.optim.AdamW(block[:1].parameters(), 0.1)
    assert describe_optimizer(cut) != describe_optimizer(torch.optim.AdamW([block[0].bias], 0.1))


def test_another_schedule_even_a_lambda(tmp_path):
    made = lambda f: lambda: {"schedule": f, "warmup": 0}  # noqa: E731
    refused(tmp_path / "a", "schedule", made(lambda s: 1.0), made(lambda s: 0.5))
    floors = [functools.partial(cosine_to_floor, steps=40, floor=f) for f in (0.1, 0.2)]
    refused(tmp_path / "b", "schedule", *map(made, floors))
    inner = [lambda s, f=f: f for f in (0.1, 0.2)]  # a default
    assert describe(inner[0]) != describe(inner[1])

    def around(factor):
        return lambda s: factor**s

    assert describe(around(0.5)) == describe(around(0.5)) != describe(around(0.6))
    made = [around(0.5), around(0.6)]
    for each in made:
        each.__module__ = "genai_utils.training.schedules"  # as if the package had made it
    assert describe(made[0]) != describe(made[1])


class Own:
    """Batches of a notebook's own class."""

    def __init__(self, size):
        self.size = size

    def __call__(self, step):
        """Grey values."""
        return toy_data(self.size)


class Told(Own):
    """The same, with a repr."""

    def __repr__(self):
        return f"Told({self.size})"


def test_what_cannot_be_described_is_refused_and_says_how(tmp_path):
    toy_fit(None, Own(8))  # without a checkpoint nothing is asked
    with pytest.raises(Undescribable, match="batches cannot be described: it is a Own .*__repr__"):
        toy_fit(tmp_path, Own(8))
    model = Beta()
    model.judge = object()
    with pytest.raises(Undescribable, match="attribute judge of the model cannot be"):
        toy_fit(tmp_path, model=model)
    refused(tmp_path, "batches", lambda: {"batches": Told(8)}, lambda: {"batches": Told(9)})


GLOBAL = 0.5


def reads_a_global(step):
    """A schedule that depends on a number beside it."""
    return GLOBAL


def test_a_function_is_known_by_what_it_reads(monkeypatch):
    before = describe(reads_a_global)
    monkeypatch.setattr(sys.modules[__name__], "GLOBAL", 0.7)
    assert describe(reads_a_global) != before
    assert describe(len) == "len" and describe(Toy) == "Toy"
    assert describe(Told(3).__call__) != describe(Told(4).__call__)
    assert describe({"b": 2, "a": {3, 1}}) == {"b": 2, "a": [1, 3]}
    assert describe(float("nan")) == "nan" and describe(torch.device("cpu")) == "device"
    assert describe(nn.Linear(2, 2)) != describe(nn.Linear(2, 2))  # other weights
    circle = []
    circle.append(circle)
    json.dumps(describe(circle))


def test_sets_arrays_methods_and_what_has_no_digest():
    assert describe(lambda s: s in {1, 2}) != describe(lambda s: s in {1, 3})
    assert describe(np.arange(3)) == describe(np.arange(3)) != describe(np.arange(3) + 1)
    rates = [functools.partial(pow, r) for r in (2, 3)]
    assert describe(rates[0]) != describe(rates[1])
    with pytest.raises(Undescribable, match="sparse_coo has no digest; keep it as a dense one"):
        describe(torch.eye(3).to_sparse())


def test_fingerprints():
    x = torch.arange(6.0).view(2, 3)
    assert fingerprint(x) == fingerprint(x.T.contiguous().T)  # values count, not the memory
    seen = [x, x.view(3, 2), x.double(), x + 1, x.bfloat16(), x.long(), x[:0]]
    assert len({fingerprint(each) for each in seen}) == len(seen)


SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_describe import Beta, Told, describe, describe_model, reads_a_global
print(json.dumps([describe_model(Beta()), describe(Told(3)), describe(reads_a_global),
                  describe({"é", "a", "b", "c"})], sort_keys=True))
"""


def test_another_process_describes_it_alike():
    here = str(Path(__file__).parent)
    said = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, here], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1
    assert json.loads(said.pop())[0]["beta"] == describe_model(Beta())["beta"]


def test_the_weights_of_a_recurrent_network_are_no_setting():
    """PyTorch keeps them a second time, as plain attributes, and references to them."""
    first, second = torch.nn.LSTM(3, 4), torch.nn.LSTM(3, 4)
    assert describe_model(first) == describe_model(second)
    assert describe_model(first) != describe_model(torch.nn.LSTM(3, 5))
