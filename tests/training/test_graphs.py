"""The step as a CUDA graph: its logic on any machine, and the real thing where a card is.

Without a card, a recording is replaced by the step itself on the static batch: what is tested then
is all around it (static batches, rates as tensors, what is put back after the warm-up, refusals).
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from toy import Toy, interrupted, toy_data

from genai_utils.training import TensorBatches, dynamic_binarize, fit, graphs
from genai_utils.training import loop as loop_module

ROOT = Path(__file__).parents[2]


class Pretended(graphs.Recorded):
    """A recording that runs the step on the static batch at each replay."""

    def record(self):
        """Nothing is computed yet, as with a graph."""
        self.graph = self

    def replay(self):
        """The step, as a graph would repeat it."""
        self.step(self.batch, self.kind, self._keep)


@pytest.fixture
def pretended(monkeypatch):
    """As if this machine could record; returns the list of all recordings."""
    made = []

    def recorded(*args):
        made.append(Pretended(*args))
        return made[-1]

    monkeypatch.setattr(graphs, "Recorded", recorded)
    monkeypatch.setattr(graphs, "aside", contextlib.nullcontext)
    monkeypatch.setattr(graphs, "alarm", contextlib.nullcontext)
    monkeypatch.setattr(loop_module, "can_capture", lambda device: True)
    return made


class Plain(Toy):
    """The toy without the numbers that its loss reads from other generators."""

    def loss(self, x):
        """Scalar; dropout draws from PyTorch's generator."""
        y = self.net(nn.functional.dropout(self.norm(x), 0.3))
        return ((y - x) ** 2).sum(1).mean()


def run(graph, model=None, steps=30, **how):
    batches = TensorBatches(toy_data(), batch_size=8, transform=dynamic_binarize)
    how = {"lr": 0.01, "warmup": 3, "ema": 0.9, "clip": 1.0, "progress": False, **how}
    return fit(model or Plain(), how.pop("batches", batches), steps, graph=graph, **how)


def same(one, two, **near):
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, **near)


def test_a_replayed_run_is_the_same_run(pretended):
    eager, replayed = run(False), run(True)
    assert len(pretended) == 1 and pretended[0].names == ("loss",)
    same(eager.model, replayed.model, rtol=1e-5, atol=1e-6)  # dropout, norm and moments, too
    same(eager.ema_model, replayed.ema_model, rtol=1e-5, atol=1e-6)
    assert replayed.history["loss"] == pytest.approx(eager.history["loss"], rel=1e-5)


def test_without_a_card_the_option_does_nothing():
    eager, asked = run(False), run(True)
    same(eager.model, asked.model, rtol=0, atol=0)


@pytest.mark.parametrize("make", ["adam", "sgd"])
def test_the_optimizer_goes_on_from_where_it_stood(pretended, make):
    """A second run with the same optimiser finds its moments, not those of the warm-up."""
    ends = []
    for graph in (False, True):
        model = Plain()
        if make == "adam":
            optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
        else:
            optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        for _ in range(2):
            run(graph, model, steps=5, optimizer=optimizer)
        ends.append(model)
    same(*ends, rtol=1e-5, atol=1e-6)
    assert bool(pretended) == (make == "adam")


def test_what_cannot_be_a_graph_trains_as_usual_and_says_why(pretended, capsys, monkeypatch):
    sgd = lambda weights, lr: torch.optim.SGD(weights, lr)  # noqa: E731
    result = run(True, optimizer=sgd, progress=True, title="A")
    assert "A: the step is no CUDA graph, since SGD keeps its counters" in capsys.readouterr().out
    same(result.model, run(False, optimizer=sgd).model, rtol=0, atol=0)

    nadam = lambda weights, lr: torch.optim.NAdam(weights, lr)  # noqa: E731
    result = run(True, optimizer=nadam, progress=True, title="N")
    assert "since what NAdam remembers does not begin at 0" in capsys.readouterr().out
    same(result.model, run(False, optimizer=nadam).model, rtol=0, atol=0)

    @contextlib.contextmanager
    def alarm():
        yield
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(graphs, "alarm", alarm)
    result = run(True, progress=True, title="B")
    out = capsys.readouterr().out
    assert out.count("B: the step is no CUDA graph, since its loss waits for the card") == 1
    same(result.model, run(False).model, rtol=1e-5, atol=1e-6)
    same(result.ema_model, run(False).ema_model, rtol=1e-5, atol=1e-6)


def test_what_comes_after_waits_for_the_stream_also_after_an_error(monkeypatch):
    done = []

    class Stream:
        def __init__(self, name="aside"):
            self.name = name

        def wait_stream(self, other):
            done.append(f"{self.name} waits for {other.name}")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("main"))
    with pytest.raises(RuntimeError, match="half a step"), graphs.aside():
        done.append("work")
        raise RuntimeError("half a step")
    assert done == ["aside waits for main", "work", "main waits for aside"]


def test_other_errors_of_a_first_step_are_not_swallowed(pretended, capsys):
    class Wrong(Plain):
        def loss(self, x):
            return self.net(x[:, :5]).sum()

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(True, Wrong(), progress=True)
    assert "graph" not in capsys.readouterr().out  # nor blamed on the recording


def test_one_graph_for_each_kind_of_batch(pretended, capsys):
    class Parts(Plain):
        def loss(self, batch):
            x, part = batch
            return super().loss(x) if part == "all" else (self.net[0](x) ** 2).mean()

    batches = lambda step: (toy_data()[step : step + 8], "all" if step % 3 else "some")  # noqa: E731
    ends = [run(graph, Parts(), batches=batches, ema=None).model for graph in (False, True)]
    assert [r.batch[1] for r in pretended] == ["some", "all"]
    same(*ends, rtol=1e-5, atol=1e-6)
    ever_new = lambda step: toy_data()[: step + 2]  # noqa: E731
    ends = [run(g, Plain(), batches=ever_new, title="C", progress=True) for g in (False, True)]
    assert "since the batches are of more than 8 kinds" in capsys.readouterr().out
    same(ends[0].model, ends[1].model, rtol=1e-5, atol=1e-6)


def test_checkpoints_and_looks_with_graphs(pretended, tmp_path):
    how = {"look": lambda m, s: {"norm": m.net[0].weight.norm()}, "looks": 4, "every": 10}
    whole = run(True, checkpoint=tmp_path / "whole", **how)

    with pytest.raises(KeyboardInterrupt):
        run(True, interrupted(Plain, 25)(), checkpoint=tmp_path / "run", **how)
    again = run(True, checkpoint=tmp_path / "run", **how)
    same(whole.model, again.model, rtol=0, atol=0)
    same(whole.ema_model, again.ema_model, rtol=0, atol=0)
    assert whole.history == again.history and whole.looks["norm"] == again.looks["norm"]


def test_the_rate_after_a_run_is_a_number_again(pretended):
    model = Plain()
    optimizer = torch.optim.Adam(model.parameters(), 0.02, fused=True)
    run(True, model, optimizer=optimizer, lr=0.02)
    assert isinstance(optimizer.param_groups[0]["lr"], float)


CARD = """
import json, torch
from torch import nn
import sys
sys.path.insert(0, sys.argv[1])
from test_graphs import Plain, run, same
from genai_utils.training import Muon, muon_groups, TensorBatches
from toy import toy_data

out = {}
for name, how in {
    "adam": {},
    "muon": {"optimizer": "muon"},
    "bf16": {"precision": "bf16"},
}.items():
    ends = []
    for graph in (False, True):
        model = Plain()
        model.norm = nn.Identity()
        again = dict(how)
        again.setdefault("precision", "fp32")
        if again.get("optimizer") == "muon":
            model.cuda()
            again["optimizer"] = Muon(muon_groups(model, model.net), 0.01)
        x = toy_data().cuda()
        ends.append(run(graph, model, steps=200, batches=TensorBatches(x, batch_size=8), **again))
    # dropout draws other numbers in a graph; the losses are near, the weights of a run without
    # dropout are the same
    out[name] = [ends[0].history["loss"][-1], ends[1].history["loss"][-1]]

class Exact(Plain):
    def loss(self, x):
        return ((self.net(x) - x) ** 2).sum(1).mean()

x = toy_data().cuda()
pair = [run(g, Exact(), steps=100, batches=TensorBatches(x, batch_size=8), precision="fp32")
        for g in (False, True)]
out["gap"] = max((a - b).abs().max().item() for a, b in zip(
    pair[0].model.parameters(), pair[1].model.parameters()))
out["ema gap"] = max((a - b).abs().max().item() for a, b in zip(
    pair[0].ema_model.parameters(), pair[1].ema_model.parameters()))

class Waits(Exact):
    def loss(self, x):
        loss = super().loss(x)
        if loss > 1e9:
            raise ValueError
        return loss

run(True, Waits(), steps=20, batches=TensorBatches(x, batch_size=8), title="waits", progress=True)
torch.rand(3, device="cuda")  # the generator still works

class Breaks(Exact):
    def loss(self, x):
        loss = super().loss(x + 0 * torch.rand_like(x))
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()
        return loss

run(True, Breaks(), steps=20, batches=TensorBatches(x, batch_size=8), title="breaks", progress=True)
out["random"] = torch.rand(3, device="cuda").tolist()
run(True, Exact(), steps=20, batches=TensorBatches(x, batch_size=8), title="fine", progress=True)

# two halves of a run are the whole
import tempfile
folder = tempfile.mkdtemp()
class Stops(Exact):
    def loss(self, x):
        return super().loss(x)
whole = run(True, Plain(), steps=60, batches=TensorBatches(x, batch_size=8), every=20)
class Batches(TensorBatches):
    stop = 45
    def __call__(self, step):
        if step == self.stop:
            raise KeyboardInterrupt
        return super().__call__(step)
b = Batches(x, batch_size=8)
try:
    run(True, Plain(), steps=60, batches=b, checkpoint=folder, every=20)
except KeyboardInterrupt:
    pass
b.stop = None
again = run(True, Plain(), steps=60, batches=b, checkpoint=folder, every=20)
out["resumed"] = max((a - b).abs().max().item() for a, b in zip(
    whole.model.state_dict().values(), again.model.state_dict().values()))
print("RESULT" + json.dumps(out))
"""


def a_card_is_here():
    """Tests run without one (see conftest.py); this one asks for it in a process of its own."""
    code = "import torch; raise SystemExit(0 if torch.cuda.is_available() else 1)"
    return subprocess.run([sys.executable, "-c", code], env=with_card()).returncode == 0


def with_card():
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    return {**env, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "false"}


@pytest.mark.skipif(not torch.version.cuda, reason="this PyTorch knows no CUDA")
def test_on_a_card():
    if not a_card_is_here():
        pytest.skip("no CUDA card")
    import json

    done = subprocess.run(
        [sys.executable, "-c", CARD, str(Path(__file__).parent)],
        env=with_card(), capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout.split("RESULT")[1])
    for name in ("adam", "muon", "bf16"):
        assert out[name][1] == pytest.approx(out[name][0], rel=0.3), name
    assert out["gap"] < 1e-4 and out["ema gap"] < 1e-4
    assert done.stdout.count("waits: the step is no CUDA graph, since its loss waits") == 1
    assert done.stdout.count("breaks: the step is no CUDA graph, since its recording broke") == 1
    assert "fine: the step" not in done.stdout
    assert out["resumed"] == 0
