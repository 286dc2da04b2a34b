"""The one training loop of the book. Every model is trained by `fit`.

A model gives `loss(batch)`; the data come from `batches(step)`; the loop does the rest: it runs
on one CPU, one GPU or several processes (by Accelerate), warms up and anneals the learning rate,
clips gradients, keeps a moving average of the weights, stops at NaN, and writes checkpoints from
which a killed run goes on as if nothing had happened.
"""

from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple

from accelerate.utils import set_seed
from torch import nn
from torch.optim import Optimizer

from . import options as opt
from .checkpoint import check_writable, latest_checkpoint
from .ema import EMA
from .meter import Bar, Meter, TrainingError
from .parallel import Loss, make_accelerator, share
from .schedules import make_schedule
from .state import RunState


class FitResult(NamedTuple):
    """What a run leaves.

    model: the trained model, in eval mode, on the device it was trained on.
    ema_model: a copy with the averaged weights, or None.
    history: lists of equal length: "step" (steps done) and the average since the point before of
        "loss" and of each other scalar of the loss dict; about 200 points.
    seconds: of training, those before an interruption included.
    """

    model: nn.Module
    ema_model: nn.Module | None
    history: dict[str, list]
    seconds: float


def fit(
    model: nn.Module,
    batches: Callable[[int], Any],
    steps: int,
    *,
    lr: float = 1e-3,
    optimizer: Callable | Optimizer | None = None,
    schedule: str | Callable[[int], float] = "cosine",
    warmup: int = 0,
    ema: float | None = None,
    clip: float | None = None,
    seed: int = 0,
    checkpoint: str | PathLike | None = None,
    every: int = 1000,
    precision: str = "auto",
    compile: bool = False,
    progress: bool = True,
    title: str = "",
) -> FitResult:
    """Train a model: `steps` times, take a batch and walk down the gradient of its loss.

    model: nn.Module with `loss(batch)`, a scalar (a mean over the batch) or a dict whose "loss"
        is one; the other scalars of the dict go to the history.
    batches: `batches(step)` is the global batch of step 0, 1, …; it depends on nothing else.
        With several processes each takes its equal slice. See `TensorBatches`.
    lr, schedule, warmup: the learning rate is lr · factor(step), see `linear_warmup_cosine`.
    optimizer: None for Adam, or called as optimizer(parameters, lr=lr), or a torch optimiser.
    ema: decay of the moving average of the weights, for example 0.999. See `EMA`.
    clip: the greatest norm of the gradient; a longer one is shortened to it.
    seed: of Python's, NumPy's and PyTorch's random numbers, set at the start.
    checkpoint, every: folder that gets a checkpoint every `every` steps and at the end. A run
        that finds its own checkpoint there goes on from it, a finished one is returned at once.
    precision: "fp32", "bf16" or "auto" (bf16 where the GPU has it, else fp32).
    compile: compile `model.loss` with torch.compile.
    progress, title: a live bar where somebody watches, and one line at the end; False: neither.

    Raises ValueError or TypeError for options that make no sense, CheckpointError for a folder
    that cannot be written or holds another run, TrainingError when the loss is NaN or infinite.
    """
    opt.check_model(model)
    opt.check_batches(batches)
    opt.check_folder(checkpoint)
    opt.check_numbers(steps, lr, warmup, clip, seed, every, precision)
    factor = make_schedule(schedule, steps, warmup)
    title = title or type(model).__name__
    settings = opt.describe(
        batches=batches, steps=steps, lr=lr, optimizer=optimizer, schedule=schedule,
        warmup=warmup, ema=ema, clip=clip, seed=seed, precision=precision,
    )  # fmt: skip

    accelerator = make_accelerator()
    set_seed(seed + accelerator.process_index)
    bf16 = opt.uses_bf16(precision, accelerator)
    net = accelerator.prepare(Loss(model.train(), bf16, accelerator.device, compile))
    optimizer = opt.make_optimizer(optimizer, model, lr)
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    base = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
    average = None if ema is None else EMA(model, ema)
    meter = Meter(steps, accelerator)
    state = RunState(model, average, optimizer, meter, accelerator, settings)

    start = state.restore(checkpoint) if checkpoint is not None else 0
    if checkpoint is not None and start < steps:
        check_writable(checkpoint)
    accelerator.wait_for_everyone()

    bar = Bar(title, start, steps, progress and accelerator.is_main_process)
    try:
        for step in range(start, steps):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * factor(step)
            losses = net(share(batches(step), accelerator))
            meter.add(step, losses)  # raises TrainingError at NaN, before the weights are touched
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(weights, clip)
            optimizer.step()
            if average is not None:
                average.update()
            done = step + 1
            if checkpoint is not None and (done % every == 0 or done == steps):
                state.save(checkpoint, done)
            bar.update(meter.last)
        meter.flush()
        state.check_finite(steps)
    except TrainingError as error:
        raise TrainingError(f"{title}: {error}. {_advice(checkpoint)}") from None
    finally:
        bar.close()

    if progress and accelerator.is_main_process:
        print(meter.summary(title, start))
    ema_model = None if average is None else average.model
    return FitResult(model.eval(), ema_model, meter.history, meter.seconds)


def _advice(checkpoint) -> str:
    kept = latest_checkpoint(checkpoint) if checkpoint is not None else None
    kept = f"The last good checkpoint is {kept}. " if kept else ""
    return f"{kept}Try a smaller lr, a warm-up or clip=1.0; look for log(0) or 0/0 in the loss."
