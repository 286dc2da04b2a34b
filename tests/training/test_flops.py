"""Operations are counted as by hand, and the ledger notes what was trained."""

import pytest
import torch
from torch import nn
from toy import Toy, toy_fit

from genai_utils.training import TensorBatches, fit, ledger
from genai_utils.training.step import count_flops, kind_of


def both(net, x):
    def run():
        out = net(x)
        (out[0] if isinstance(out, tuple) else out).sum().backward()

    return count_flops(run)


def test_a_linear_layer():
    x = torch.randn(7, 6, requires_grad=True)
    assert both(nn.Linear(6, 5), x) == 3 * 2 * 7 * 6 * 5  # forward, two products backward
    assert both(nn.Linear(6, 5), x.detach()) == 2 * 2 * 7 * 6 * 5


def test_a_convolution():
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    assert both(nn.Conv2d(3, 4, 3, padding=1), x) == 3 * 2 * 2 * 64 * 4 * 3 * 9


def test_recurrent_layers_and_attention_on_a_cpu():
    x = torch.randn(4, 10, 8, requires_grad=True)
    net = nn.LSTM(8, 16, 2, batch_first=True)
    matrices = sum(p.numel() for p in net.parameters() if p.ndim == 2)
    assert both(net, x) == 3 * 2 * 4 * 10 * matrices
    q = torch.randn(2, 4, 32, 16, requires_grad=True)
    score = 2 * 2 * 4 * 32 * 32 * 16
    attend = nn.functional.scaled_dot_product_attention
    assert both(lambda q: attend(q, q, q, is_causal=True), q) == score * 2 + score * 5


def test_the_ledger_notes_every_run(tmp_path):
    ledger.forget()
    toy_fit(tmp_path, steps=40)
    weights = 8 * 6 + 6 * 8  # of the two matrices
    per_step = 3 * 2 * 8 * 2 * 48  # the norm before them needs their gradient
    (one,) = ledger.trainings()
    assert one["steps"] == 40 and one["flops"] == 40 * per_step and one["title"] == "Toy"
    assert one["parameters"] == weights + 8 + 6 + 12 and one["seconds"] > 0
    toy_fit(tmp_path, steps=40)  # finished earlier: it is still what this process shows
    assert ledger.trainings()[1]["flops"] == one["flops"]


def test_kinds_of_batches_are_counted_apart():
    class Two(Toy):
        def loss(self, batch):
            x, part = batch
            return super().loss(x) if part == "whole" else (self.net[0](x) ** 2).mean()

    batches = lambda step: (torch.rand(8, 6), "whole" if step % 4 == 0 else "half")  # noqa: E731
    ledger.forget()
    fit(Two(noisy=False), batches, 8, progress=False)
    assert ledger.trainings()[0]["flops"] == 2 * 2 * 8 * (2 * 48 + 3 * 48) + 6 * 2 * 8 * 2 * 48


def test_kinds():
    x = torch.zeros(2, 3)
    same = [(x, "a"), (x + 1, "a")]
    assert kind_of(same[0]) == kind_of(same[1])
    others = [x, (x, "b"), [x, "a"], {"x": x}, (x.double(), "a"), (x[:1], "a"), (x, "a", x)]
    assert len({kind_of(each) for each in [same[0], *others]}) == 1 + len(others)


def test_an_estimate_takes_two_steps_and_notes_all(monkeypatch, tmp_path):
    ledger.forget()
    seen = []
    whole = toy_fit(None, steps=30)
    monkeypatch.setenv("GENAI_ESTIMATE", "1")
    look = lambda m, s: seen.append(s) or {"seen": 1.0}  # noqa: E731
    result = toy_fit(tmp_path, steps=30, look=look, looks=4)
    assert len(result.history["step"]) == 2 and seen == [0, 2]
    planned, estimated = ledger.trainings()
    assert estimated["steps"] == 30 and estimated["flops"] == planned["flops"]
    assert result.history["loss"] == whole.history["loss"][:2]
    assert not list(tmp_path.iterdir())  # nothing of it may be taken up later


def test_in_an_estimate_a_look_that_keeps_something_is_called_with_all_its_steps(monkeypatch):
    monkeypatch.setenv("GENAI_ESTIMATE", "1")
    kept = {}
    toy_fit(None, steps=30, look=lambda m, s: kept.update({s: m}) or {}, looks=4)
    assert set(kept) >= {0, 10, 20, 30}


@pytest.mark.parametrize("steps", [1, 2])
def test_an_estimate_of_a_short_run(monkeypatch, steps):
    monkeypatch.setenv("GENAI_ESTIMATE", "1")
    batches = TensorBatches(torch.rand(9, 6), batch_size=3)
    assert fit(Toy(), batches, steps, progress=False).history["step"][-1] == steps
