"""The loop: what it computes, when it stops, what it prints, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from toy import STEPS, Toy, toy_data, toy_fit

from genai_utils.training import (
    EMA,
    CheckpointError,
    TensorBatches,
    TrainingError,
    fit,
    linear_warmup_cosine,
    load_checkpoint,
)
from genai_utils.training import meter as meter_module


class Point(nn.Module):
    """One vector; the loss is the squared distance to the batch's mean."""

    def __init__(self, value=(0.0, 0.0)):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(value))

    def loss(self, batch):
        """Scalar."""
        return ((self.at - batch) ** 2).sum(1).mean()


def data(step):
    return torch.full((4, 2), float(step % 3))


def test_fit_equals_a_loop_by_hand():
    model = Point()
    model.at.grad = torch.full_like(model.at, -100.0)  # left from before, it does not count
    result = fit(
        model, data, 30, lr=0.1, warmup=5, ema=0.8, clip=0.5, progress=False,
        optimizer=torch.optim.SGD,
    )  # fmt: skip
    hand = Point()
    average, losses = EMA(hand, 0.8), []
    for step in range(30):
        loss = hand.loss(data(step))
        (gradient,) = torch.autograd.grad(loss, [hand.at])
        gradient *= min(1.0, 0.5 / gradient.norm())
        with torch.no_grad():
            hand.at -= 0.1 * linear_warmup_cosine(step, 30, 5) * gradient
        average.update()
        losses.append(loss.item())
    torch.testing.assert_close(model.at, hand.at, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(result.ema_model.at, average.module.at, rtol=1e-5, atol=1e-6)
    assert result.history["loss"] == pytest.approx(losses, rel=1e-4)
    assert result.model is model and not model.training and result.seconds > 0


def test_adam_is_the_default_and_optimisers_can_be_given():
    by_default = fit(Point(), data, 20, lr=0.05, progress=False).model
    adam = torch.optim.Adam((given := Point()).parameters(), lr=0.05)
    fit(given, data, 20, optimizer=adam, progress=False)
    torch.testing.assert_close(by_default.at, given.at)
    fit(given, data, 1, optimizer=adam, progress=False)
    assert adam.param_groups[0]["lr"] == 0.05  # not what the first schedule ended with
    other = fit(Point(), data, 20, lr=0.05, optimizer=torch.optim.SGD, progress=False).model
    assert not torch.allclose(by_default.at, other.at)


def test_history_averages_over_intervals():
    class Counter(Point):
        def loss(self, batch):
            step = batch[0, 0]
            return {"loss": super().loss(batch) * 0 + step, "double": 2 * step}

    batches = lambda step: torch.full((4, 2), float(step))  # noqa: E731
    history = fit(Counter(), batches, 450, progress=False).history
    assert history["step"] == list(range(3, 451, 3))
    assert history["loss"] == [step - 2 for step in history["step"]]
    assert history["double"] == [2 * (step - 2) for step in history["step"]]
    short = fit(Counter(), batches, 401, progress=False).history
    assert short["step"][-2:] == [399, 401] and short["loss"][-1] == 399.5


def test_same_seed_same_run_whatever_came_before():
    first = toy_fit(None)
    torch.rand(7), np.random.rand(3)  # noqa: NPY002
    second, third = toy_fit(None), toy_fit(None, seed=1)
    assert first.history == second.history != third.history


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_once(tmp_path, bad):
    class Poisoned(Toy):
        steps = 0

        def loss(self, x):
            self.steps += 1
            return super().loss(x)["loss"] * (bad if self.steps == 15 else 1)

    with pytest.raises(TrainingError, match=f"^Toy: the loss is {bad} at step 14") as error:
        toy_fit(tmp_path, model=(model := Poisoned()))
    assert "step_00000012" in str(error.value) and model.steps == 15
    kept = load_checkpoint(tmp_path)
    assert kept.step == 12
    for tensors in kept.tensors.values():
        assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
    assert all(torch.isfinite(p).all() for p in model.parameters())  # not touched by the NaN


def test_nan_is_named_by_its_step_when_losses_are_read_together(monkeypatch, tmp_path):
    monkeypatch.setattr(meter_module, "WINDOW", 5)
    real = meter_module.Meter.__init__

    def as_on_a_gpu(self, *args):
        real(self, *args)
        self.window = 5

    monkeypatch.setattr(meter_module.Meter, "__init__", as_on_a_gpu)
    poisoned = lambda step: data(step) if step < 11 else data(step) * math.nan  # noqa: E731
    for every in (4, 13):  # read by a full window, or because a checkpoint is due
        with pytest.raises(TrainingError, match="nan at step 11"):
            fit(Point(), poisoned, 50, checkpoint=tmp_path / str(every), every=every)
    assert load_checkpoint(tmp_path / "4").step == 8
    whole = fit(Point(), data, 23, progress=False).history
    assert whole["step"] == list(range(1, 24))


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path):
    class Root(Point):
        def loss(self, batch):
            return (self.at**2).sum().sqrt()  # 0 at 0, where its gradient is 0/0

    with pytest.raises(TrainingError, match="weight at is no longer finite after step 0"):
        fit(Root(), data, 10, checkpoint=tmp_path, every=1)
    assert load_checkpoint(tmp_path) is None
    with pytest.raises(TrainingError, match="nan at step 1"):
        fit(Root(), data, 10)
    with pytest.raises(TrainingError, match="no longer finite after step 0"):
        fit(Root(), data, 1)


def test_a_finished_run_is_returned_at_once(tmp_path, capsys):
    first = toy_fit(tmp_path)
    after = torch.rand(1)
    never = lambda step: pytest.fail("trained again")  # noqa: E731
    never.__qualname__ = "never"
    options = {"batches": TensorBatches(toy_data(), batch_size=8)}
    with pytest.raises(CheckpointError, match="batches was"):
        toy_fit(tmp_path, **options)
    again = toy_fit(tmp_path)
    assert torch.equal(torch.rand(1), after)  # even the random numbers stand where they stood
    for one, two in ((first.model, again.model), (first.ema_model, again.ema_model)):
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    assert again.history == first.history
    assert capsys.readouterr().out.splitlines()[-1].endswith("s (finished earlier)")


@pytest.mark.parametrize("change", [{"lr": 0.02}, {"steps": 50}, {"ema": None}, {"seed": 3}])
def test_a_checkpoint_of_other_options_is_refused(tmp_path, change):
    toy_fit(tmp_path)
    ((name, value),) = change.items()
    with pytest.raises(CheckpointError, match=f"{name} was .* and is now {value}"):
        toy_fit(tmp_path, **change)


def test_a_folder_that_cannot_be_written_stops_before_training(tmp_path):
    (tmp_path / "file").touch()
    never = lambda step: pytest.fail("trained")  # noqa: E731
    with pytest.raises(CheckpointError, match="Cannot write checkpoints to .*file"):
        fit(Point(), never, 5, checkpoint=tmp_path / "file" / "runs")


def test_bf16_runs_and_keeps_float32_weights():
    seen = []

    class Watching(Toy):
        def loss(self, x):
            seen.append(self.net(x).dtype)
            return super().loss(x)

    exact = toy_fit(None, model=Toy(noisy=False), precision="fp32")
    rough = toy_fit(None, model=(model := Watching(noisy=False)), precision="bf16")
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert rough.history["loss"] == pytest.approx(exact.history["loss"], rel=0.05)
    assert rough.history["loss"] != exact.history["loss"]
    plain = toy_fit(None, model=Toy(noisy=False))  # auto is fp32 on a CPU
    assert plain.history == exact.history


def test_one_line_is_printed(capsys, monkeypatch):
    fit(Point((3.0, 4.0)), lambda step: torch.zeros(4, 2), 2000, title="VAE")
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    assert out.startswith("VAE: 2,000 steps, loss 24.") and out.endswith(" s\n") and "→" in out
    fit(Point(), data, 3, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_bar_where_somebody_watches(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("GENAI_PUBLISH", raising=False)
    fit(Point(), data, 50, title="Point")
    out, err = capsys.readouterr()
    assert "Point:" in err and "/50" in err and out.count("\n") == 1
    monkeypatch.setenv("GENAI_PUBLISH", "1")
    fit(Point(), data, 50)
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps: .* of at least 1, got 0"),
        ({"steps": -5}, "steps: .* got -5"),
        ({"steps": 2.5}, "steps: .* got 2.5"),
        ({"lr": -1e-3}, "lr: .* of at least 0, got -0.001"),
        ({"lr": math.nan}, "lr: .* got nan"),
        ({"lr": "fast"}, "lr: .* got 'fast'"),
        ({"schedule": "linear"}, "schedule: .* got 'linear'"),
        ({"precision": "fp16"}, "precision: expected one of 'auto', 'fp32', 'bf16', got 'fp16'"),
        ({"warmup": 10}, "warmup: expected fewer than the 10 steps, got 10"),
        ({"warmup": -1}, "warmup: .* got -1"),
        ({"clip": 0}, "clip: .* above 0, got 0"),
        ({"ema": 1.5}, "ema: .* below 1, got 1.5"),
        ({"every": 0}, "every: .* got 0"),
        ({"seed": -1}, "seed: .* from 0 to 4,294,966,272, got -1"),
        ({"checkpoint": ""}, "checkpoint: expected a path .*, got ''"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        fit(Point(), data, **{"steps": 10, **options})
    kind = TypeError if options.get("steps") == 2.5 or options.get("lr") == "fast" else ValueError
    assert caught.type is kind


def test_numbers_of_numpy_and_torch_train_as_plain_ones_do():
    plain = fit(Point(), data, 6, lr=0.25, warmup=2, clip=0.5, seed=3, progress=False)
    options = {"lr": torch.tensor(0.25), "warmup": np.int64(2), "clip": np.float32(0.5)}
    other = fit(Point(), data, np.int64(6), **options, seed=np.int64(3), progress=False)
    assert torch.equal(plain.model.at, other.model.at) and plain.history == other.history


def test_batches_without_rows_are_refused_and_not_counted_as_loss_0():
    class Sum(Point):
        def loss(self, batch):
            return ((self.at - batch[0]) ** 2).sum()

    full = torch.zeros(4, 2), torch.zeros(0)
    assert fit(Sum(), lambda step: full, 2, progress=False).model is not None
    empty = lambda step: (torch.zeros(4 if step < 3 else 0, 2), torch.zeros(4))  # noqa: E731
    with pytest.raises(ValueError, match=r"batches\(3\): expected at least one row, got none"):
        fit(Sum(), empty, 5, progress=False)


def test_arguments_of_the_wrong_kind():
    class Frozen(Point):
        def __init__(self):
            super().__init__()
            self.requires_grad_(False)

    wrong = [
        (
            (nn.Linear(2, 2), data, 5),
            {},
            ValueError,
            r"a method loss\(batch\), got Linear without one",
        ),
        ((Frozen(), data, 5), {}, ValueError, "weights to train, got Frozen without any"),
        (
            (Point((math.nan, 0.0)), data, 5),
            {},
            ValueError,
            "finite weights, got NaN or infinity in at",
        ),
        (("vae", data, 5), {}, TypeError, "a torch.nn.Module, got 'vae'"),
        (
            (Point(), torch.zeros(3, 2), 5),
            {},
            TypeError,
            "function of the step, got a tensor of float32",
        ),
        ((Point(), data, 5), {"checkpoint": 3}, TypeError, "checkpoint: expected a path .* got 3"),
        ((Point(), data, 5), {"optimizer": "adam"}, TypeError, "optimizer: .* got 'adam'"),
        (
            (Point(), data, 5),
            {"optimizer": torch.optim.SGD(Point().parameters())},
            ValueError,
            "weights of the model, got none of them",
        ),
        (
            (Point(), data, 5),
            {"optimizer": torch.optim.LBFGS},
            ValueError,
            "one that takes a step from one gradient, got LBFGS",
        ),
        (
            (Point(), lambda step: np.zeros((3, 2)), 5),
            {},
            TypeError,
            "batches: expected tensors, .* got a NumPy array of float64; torch.as_tensor",
        ),
    ]
    for arguments, options, error, message in wrong:
        with pytest.raises(error, match=message):
            fit(*arguments, **options)


@pytest.mark.parametrize(
    "output, message",
    [
        (lambda at: at * 2, r"shape \(2,\), requires_grad=True"),
        (lambda at: torch.tensor(1.0), "requires_grad=False"),
        (lambda at: 3.0, "got float"),
        (lambda at: None, "got NoneType"),
        (lambda at: {"mse": at.sum()}, r"a dict with \['mse'\]"),
        (lambda at: {"loss": at.sum(), "kl": at}, r"'kl': a tensor of shape \(2,\)"),
    ],
)
def test_losses_that_are_no_scalar(output, message):
    class Odd(Point):
        def loss(self, batch):
            return output(self.at)

    with pytest.raises(ValueError, match=message):
        fit(Odd(), data, 5)


def test_the_first_batch_is_checked_once_before_training():
    class Checked(Point):
        seen = 0

        def check_batch(self, batch):
            self.seen += 1
            if batch.max() > 1:
                raise ValueError("too large")

    fit(model := Checked(), lambda step: torch.zeros(4, 2), 5, progress=False)
    assert model.seen == 1
    with pytest.raises(ValueError, match="too large"):
        fit(model := Checked((3.0, 3.0)), lambda step: torch.full((4, 2), 9.0), 5, progress=False)
    assert model.at.tolist() == [3.0, 3.0]


def test_the_random_state_of_the_caller_comes_back(tmp_path):
    def drawn():
        return [*torch.rand(3).tolist(), *np.random.rand(3)]  # noqa: NPY002

    models = [Toy() for _ in range(3)]  # each seeds
    torch.manual_seed(7), np.random.seed(7)  # noqa: NPY002
    wanted = drawn()
    torch.manual_seed(7), np.random.seed(7)  # noqa: NPY002
    toy_fit(tmp_path, model=models[0])
    toy_fit(tmp_path, model=models[1])  # finished earlier
    with pytest.raises(CheckpointError):
        toy_fit(tmp_path, model=models[2], lr=0.5)
    assert drawn() == wanted


def test_a_loss_dict_that_changes_its_names():
    class Fickle(Point):
        steps = 0

        def loss(self, batch):
            self.steps += 1
            loss = super().loss(batch)
            return {"loss": loss, "kl": loss} if self.steps < 4 else {"loss": loss}

    with pytest.raises(ValueError, match=r"\['kl', 'loss'\] before, \['loss'\] at step 3"):
        fit(Fickle(), data, 10)


def test_checkpoints_come_every_so_often_and_at_the_end(tmp_path, monkeypatch):
    from genai_utils.training import state

    steps = []
    real = state.save_checkpoint
    monkeypatch.setattr(
        state, "save_checkpoint", lambda folder, step, *rest: steps.append(step) or
        real(folder, step, *rest)
    )  # fmt: skip
    toy_fit(tmp_path, every=15)
    assert steps == [15, 30, STEPS]
