"""The one training loop of the book. Every model is trained by `fit`.

A model gives `loss(batch)`; the data come from `batches(step)`; the loop does the rest: it runs
on one CPU, one GPU or several processes (by Accelerate), each with a copy of the model or with a
share of its weights, warms up and anneals the learning rate, clips gradients, keeps a moving
average of the weights, stops at NaN, and writes checkpoints from which a killed run goes on as if
nothing had happened.
"""

import copy
import math
import os
import time
from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

from accelerate.utils import set_seed
from torch import nn
from torch.optim import Optimizer

from genai_utils.inputs import refusal
from genai_utils.printing import say

from . import ledger
from . import options as opt
from .checkpoint import check_writable, kept_random_state, latest_checkpoint
from .describe import describe_code
from .ema import EMA
from .graphs import GraphStep, can_capture
from .meter import Bar, Meter, TrainingError
from .parallel import Loss, make_accelerator, share
from .schedules import make_schedule
from .shards import Shards, share_weights, whole
from .state import RunState
from .step import Step, is_empty, kind_of


class FitResult(NamedTuple):
    """What a run leaves.

    model: the trained model, in eval mode, on the device it was trained on; where processes shared
        the weights, with all of them, on the device that it came on.
    ema_model: a copy with the averaged weights, or None.
    history: lists of equal length: "step" (steps done) and the average since the point before of
        "loss" and of each other scalar of the loss dict; about 200 points.
    seconds: of training, those before an interruption included, those of looks not.
    looks: lists of equal length: "step", "seconds" (of training until then) and each number that
        `look` returned; {} without `look`.
    best_model: a copy with the weights of the best look, in eval mode; None without `best`, or
        where each look found NaN.
    """

    model: nn.Module
    ema_model: nn.Module | None
    history: dict[str, list]
    seconds: float
    looks: dict[str, list] = {}
    best_model: nn.Module | None = None


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
    checkpoint: str | bytes | PathLike | None = None,
    every: int = 1000,
    precision: str = "auto",
    compile: bool = False,
    graph: bool = False,
    look: Callable[[nn.Module, int], dict] | None = None,
    looks: int = 20,
    best: str | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: bool = True,
    title: str = "",
) -> FitResult:
    """Train a model: `steps` times, take a batch and walk down the gradient of its loss.

    model: nn.Module with `loss(batch)`, a scalar (a mean over the batch) or a dict whose "loss"
        is one; the other scalars of the dict go to the history. Where it has `check_batch(batch)`,
        the first batch is given to it, so that `loss` need not look at values.
    batches: `batches(step)` is the global batch of step 0, 1, …; it depends on nothing else, or
        has `state_dict()` and `load_state_dict(…)`, whose tensors the checkpoint keeps. With
        several processes each takes its equal slice, and the noise of its rows in `loss` is what
        one process would draw for them, see `Draws`. See `TensorBatches`.
    lr, schedule, warmup: the learning rate is lr · factor(step), see `linear_warmup_cosine`.
    optimizer: None for Adam, or called as optimizer(parameters, lr=lr), or a torch optimiser, whose
        groups keep their own rates. A weight that a step's loss leaves out is not moved.
    ema: decay of the moving average of the weights, for example 0.999. See `EMA`.
    clip: the greatest norm of the gradient; a longer one is shortened to it.
    seed: of Python's, NumPy's and PyTorch's random numbers, set at the start. At the end they
        stand where the caller had them.
    checkpoint, every: folder that gets a checkpoint every `every` steps and at the end. A run
        that finds its own checkpoint there goes on from it, a finished one is returned at once.
        Its own is one with the same options, the same settings of the model and the same data;
        the weights that the model comes with are not compared.
    precision: "fp32", "bf16" or "auto" (bf16 where the GPU has it, else fp32).
    compile: compile `model.loss` with torch.compile.
    graph: on a CUDA card, record the whole step once and replay it, which spares Python's time. A
        step that cannot be recorded trains as usual, and a line says why. See `GraphStep`.
    look, looks: `look(model, step)` returns a dict of numbers. It is called `looks` times: before
        the first step, after the last and evenly between, in eval mode and without gradients.
    best: the name of a number of `look`; the weights are kept where it is smallest. NaN is never.
    clock: what seconds are read from. `time.process_time` counts those that the processor spent on
        this process, summed over its threads, whatever else runs on the machine.
    progress, title: a live bar where somebody watches, and one line at the end; False: neither.

    With GENAI_ESTIMATE=1 in the environment it takes two steps and at most two looks, and notes all
    of its steps in the ledger. A look that returns no number keeps something for later: it is also
    called, at the end, with each step at which a whole training would have called it.

    Raises ValueError or TypeError for options that make no sense, CheckpointError for a folder
    that cannot be written or holds another run, TrainingError when the loss is NaN or infinite.
    """
    opt.check_model(model)
    opt.check_batches(batches)
    checkpoint = opt.folder(checkpoint)
    steps, lr, warmup, clip, seed, every = opt.check_numbers(
        steps, lr, warmup, clip, seed, every, precision
    )
    opt.check_looks(look, looks, best)
    factor = make_schedule(schedule, steps, warmup)
    title = title or type(model).__name__
    planned, all_looks = steps, looks
    if os.environ.get("GENAI_ESTIMATE") == "1":
        steps, looks, checkpoint = min(steps, 2), min(looks, 2), None

    accelerator = make_accelerator()
    device = accelerator.device

    def report(line: str) -> None:
        if progress and accelerator.is_main_process:
            say(line)

    with kept_random_state():
        set_seed(seed)  # alike in all processes, see `Draws`
        bf16 = opt.uses_bf16(precision, accelerator)
        shards = Shards(model, accelerator, batches) if share_weights(accelerator) else None
        given, model = model, model if shards is None else shards.model
        loss = Loss(model.train(), bf16, accelerator, compile)
        average = None if ema is None else EMA(model, ema)
        if shards is None:
            net = accelerator.prepare(loss)
        else:
            net = shards.prepare(loss, average, optimizer)
        if average is not None:
            average.module.to(device)
        made = opt.make_optimizer(optimizer, model, lr)
        weights = [p for group in made.param_groups for p in group["params"]]
        base = [group.setdefault("initial_lr", float(group["lr"])) for group in made.param_groups]
        meter = Meter(steps, accelerator, clock)
        described = {} if checkpoint is None else opt.describe_run(
            given, batches, made, schedule, steps=steps, lr=lr, warmup=warmup, ema=ema, clip=clip,
            seed=seed, precision=precision, looks=look and looks, best=best,
            look=describe_code(look),
        )  # fmt: skip
        state = RunState(model, average, made, meter, accelerator, batches, described)

        start = state.restore(checkpoint) if checkpoint is not None else 0
        if checkpoint is not None and start < steps:
            check_writable(checkpoint)
        accelerator.wait_for_everyone()

        step_of = Step(net, made, weights, clip, average, loss.compiled)
        if graph and can_capture(device) and accelerator.num_processes == 1:
            step_of = GraphStep(step_of, device, lambda why: report(f"{title}: {why}."))
        due = opt.look_steps(steps, looks) if look is not None else ()

        def take_a_look(done: int) -> None:
            with kept_random_state(device):
                row = meter.look(done, partial(net.call, look) if shards else look, model)
            if best is None:
                return
            if best not in row:
                raise ValueError(f"best is {best!r}, but look returned {sorted(row)}.")
            if row[best] <= min(v for v in (*meter.looks[best], math.inf) if not math.isnan(v)):
                state.best = {k: v.detach().clone() for k, v in model.state_dict().items()}

        bar = Bar(title, start, steps, progress and accelerator.is_main_process)
        try:
            if 0 in due and start == 0:
                take_a_look(0)
            for step in range(start, steps):
                step_of.rates(factor(step), base)
                batch = share(batches(step), accelerator)
                if step == start and hasattr(model, "check_batch"):
                    model.check_batch(batch)  # values are looked at once: it makes the loop wait
                kind = kind_of(batch)
                if is_empty(kind):
                    raise refusal(f"batches({step})", "at least one row", "none", "use more data")
                # Raises TrainingError at NaN, on a CPU before the weights are touched.
                step_of(batch, kind, partial(meter.add, step, kind))
                meter.flops += step_of.flops[kind] * accelerator.num_processes
                done = step + 1
                if done in due:
                    take_a_look(done)
                if checkpoint is not None and (done % every == 0 or done == steps):
                    state.save(checkpoint, done)
                bar.update(meter.last)
            meter.flush()
            state.check_finite(steps)
            if steps < planned and set(meter.looks) == {"step", "seconds"}:
                for done in sorted(opt.look_steps(planned, all_looks) - {0}):
                    take_a_look(done)
        except TrainingError as error:
            raise TrainingError(f"{title}: {error}. {_advice(checkpoint)}") from None
        finally:
            bar.close()
            step_of.rates(factor(steps - 1), base, plain=True)
            made.zero_grad(set_to_none=True)

        report(meter.summary(title, start))
        numbers = sum(p.numel() for p in weights)
        ledger.note(title, planned, meter.flops * planned / steps, meter.seconds, numbers)
        if shards is not None:
            model = shards.give_back(average)
        ema_model = None if average is None else average.module
        best_model = None
        if state.best:
            best_model = copy.deepcopy(model)
            best_model.load_state_dict({name: whole(t) for name, t in state.best.items()})
            best_model.eval()
        model.eval()
        return FitResult(model, ema_model, meter.history, meter.seconds, meter.looks, best_model)


def _advice(checkpoint) -> str:
    kept = latest_checkpoint(checkpoint) if checkpoint is not None else None
    kept = f"The last good checkpoint is {kept}. " if kept else ""
    return f"{kept}Try a smaller lr, a warm-up or clip=1.0; look for log(0) or 0/0 in the loss."
