"""Looks: when they come, that they leave no trace in the run, and that the best one is kept."""

import functools

import pytest
import torch
from accelerate import Accelerator
from toy import STEPS, Toy, interrupted, toy_fit

from genai_utils.training import CheckpointError, fit
from genai_utils.training.meter import Meter


class Point(torch.nn.Module):
    """One number; the loss is its squared distance to the batch's mean."""

    def __init__(self):
        super().__init__()
        self.at = torch.nn.Parameter(torch.tensor(4.0))

    def loss(self, batch):
        """Scalar."""
        return (self.at - batch.mean()) ** 2


def zeros(step):
    return torch.zeros(3)


@pytest.mark.parametrize("looks, expected", [(2, [0, 10]), (3, [0, 5, 10]), (4, [0, 3, 7, 10])])
def test_looks_come_first_last_and_evenly_between(looks, expected):
    seen = []
    result = fit(
        Point(), zeros, 10, looks=looks, progress=False, lr=0.1,
        look=lambda model, step: seen.append(step) or {"at": model.at},
    )  # fmt: skip
    assert seen == result.looks["step"] == expected
    assert result.looks["at"][0] == 4.0 and result.looks["at"][-1] == result.model.at.item()
    more = fit(Point(), zeros, 3, look=lambda m, s: {"s": s}, progress=False).looks  # 20 in 3
    assert more["step"] == more["s"] == [0, 1, 2, 3]
    assert fit(Point(), zeros, 3, progress=False).looks == {}


def test_a_look_leaves_no_trace_in_the_run():
    def look(model, step):
        assert not model.training and not torch.is_grad_enabled()
        torch.rand(7)
        with torch.enable_grad():  # a norm of the gradient, say
            sum((-100 * p).sum() for p in model.parameters()).backward()
        return {"one": 1}

    alone, watched = toy_fit(None), toy_fit(None, look=look, looks=5)
    assert alone.history == watched.history
    for a, b in zip(alone.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_look_that_finds_nan_is_never_the_best():
    def look(model, step):
        return {"far": float("nan") if step in (0, 10) else model.at.item()}

    found = fit(Point(), zeros, 10, look=look, looks=3, best="far", lr=0.1, progress=False)
    assert found.best_model.at.item() == found.looks["far"][1] > found.model.at.item()
    never = {"look": lambda model, step: {"far": float("nan")}, "best": "far", "looks": 2}
    assert fit(Point(), zeros, 2, progress=False, **never).best_model is None


def test_seconds_of_looks_are_not_training():
    clock = [0.0]

    def look(model, step):
        clock[0] += 100.0
        return {"at": model.at}

    def batches(step):
        clock[0] += 1.0
        return torch.zeros(3)

    options = {"look": look, "looks": 3, "clock": lambda: clock[0], "progress": False}
    result = fit(Point(), batches, 10, **options)
    assert result.looks["seconds"] == [0, 5, 10] and result.seconds == 10


def test_seconds_go_on_after_a_restart():
    clock = [5.0]
    before, after = (Meter(10, Accelerator(), lambda: clock[0]) for _ in range(2))
    clock[0] = 8.0
    kept = before.state()
    clock[0] = 100.0  # another process, whose loading is not training
    after.restore(kept)
    clock[0] = 104.0
    assert kept["seconds"] == 3 and after.seconds == 7


def test_the_best_weights_are_kept():
    def look(model, step):
        return {"far": (step - 5) ** 2}

    result = fit(Point(), zeros, 10, look=look, looks=11, best="far", progress=False, lr=0.1)
    at = {}
    fit(
        Point(), zeros, 10, looks=11, progress=False, lr=0.1,
        look=lambda model, step: at.update({step: model.at.item()}) or {},
    )  # fmt: skip
    assert result.best_model.at.item() == at[5] != result.model.at.item()
    assert not result.best_model.training
    with pytest.raises(ValueError, match=r"best is 'near', but look returned \['far'"):
        fit(Point(), zeros, 4, look=look, best="near", progress=False)


def test_looks_and_the_best_weights_go_through_a_checkpoint(tmp_path):
    def look(model, step):
        return {"weight": abs(model.net[0].weight[0, 0] - 0.1)}

    how = {"look": look, "looks": 9, "best": "weight"}
    whole = toy_fit(tmp_path / "whole", **how)

    with pytest.raises(KeyboardInterrupt):
        toy_fit(tmp_path / "run", model=interrupted(Toy, 20)(), **how)
    again = toy_fit(tmp_path / "run", **how)
    for name in ("step", "weight"):
        assert again.looks[name] == whole.looks[name]
    assert again.looks["step"] == [round(i * STEPS / 8) for i in range(9)]
    for a, b in zip(whole.best_model.parameters(), again.best_model.parameters(), strict=True):
        assert torch.equal(a, b)
    finished = toy_fit(tmp_path / "run", **how)
    assert finished.looks == again.looks and finished.best_model is not None
    with pytest.raises(CheckpointError, match="looks was 9 and is now 5"):
        toy_fit(tmp_path / "run", look=look, looks=5, best="weight")
    with pytest.raises(CheckpointError, match="look was .* and is now"):
        other = functools.partial(lambda key, model, step: {key: step}, "weight")
        toy_fit(tmp_path / "run", **{**how, "look": other})


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"look": "val"}, TypeError, r"function of \(model, step\), got 'val'"),
        ({"look": lambda m, s: 3.0}, TypeError, "dict of numbers .* got 3.0"),
        ({"look": lambda m, s: {"a": "b"}}, TypeError, "got 'b' for 'a'"),
        (
            {"look": lambda m, s: {"a": torch.zeros(2)}},
            TypeError,
            "got a tensor of float32 for 'a'",
        ),
        (
            {"look": lambda m, s: {"step": 1}},
            ValueError,
            "names beside 'step' and 'seconds', got 'step'",
        ),
        ({"look": lambda m, s: {"ab"[s > 0]: 1}}, ValueError, "same names .* at step 1"),
        ({"look": lambda m, s: {}, "looks": 1}, ValueError, "looks: .* at least 2, got 1"),
        ({"best": "val"}, ValueError, "best: expected the name of .* got 'val' without a look"),
    ],
)
def test_looks_that_make_no_sense(options, error, message):
    with pytest.raises(error, match=message):
        fit(Point(), zeros, 4, progress=False, **options)
