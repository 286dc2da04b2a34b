"""Equal terms: what a comparison of generators gives to each of them, and how it is measured.

The story of the file: images of a few grey levels, which every generator can write; how many steps
fit into a number of seconds (`steps_in`); the width at which a model has a number of weights
(`nearest_width`); a `Budget`; an `Entrant`, which is all that a comparison knows of a model; and
the `Trainer`, which trains an entrant within a budget and goes on after an interruption.

    mine = Entrant(
        "my model",
        build=lambda size, width: VAE(size, 8, width, "conv", "gaussian", 0.2),
        train=lambda model, trainer: trainer.fit(model, lr=2e-3),
        width=16,
    )

A training has to know its length beforehand, since its learning rate falls along a cosine to 0 at
the end. So a budget of seconds is turned into steps: a copy of the model is trained for a short
stretch by the loop's own clock, and thrown away. What the real training then takes is measured, and
stands beside the result. On a processor the clock is that of the process: seconds in which another
program had the processor do not count. On a graphics card it is that on the wall. Lecture item A41.
"""

import copy
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from genai_utils import inputs
from genai_utils.training import TensorBatches, fit
from genai_utils.training.checkpoint import write_file

LEVELS = 8  # grey levels of all images
BATCH = 32  # images of a step, the same for all
FIRST, STRETCH = 8, 0.05  # steps of the first timed stretch; share of the seconds that is enough

# --- Images, steps, widths -----------------------------------------------------------------------


def grey_levels(x, levels=LEVELS):
    """Images with each pixel brought to the nearest of `levels` grey levels, k / (levels - 1).

    Shapes: x (...) in [0, 1] -> (...). With 256 levels, what a file of 8 bits holds.
    Raises ValueError for fewer than two levels.
    """
    top = inputs.whole(levels, "levels", least=2) - 1
    return (x * top).round() / top


def steps_in(seconds, done, clock):
    """How many steps of a training fit into so many seconds, by a stretch that was timed.

        floor(done_1 + (seconds - clock_1) / pace)
        pace = (clock_last - clock_1) / (done_last - done_1)

    The readings number 0, 1, …, last of the clock were taken after `done` steps. Up to reading 1
    kernels are loaded and memory is reserved: these steps are slow, in every training, and tell
    nothing of the pace of those that follow. At least 1, since a training has a step.
    Shapes: done, clock (k,), k >= 3, in steps and seconds -> a whole number. Lecture item A41.
    """
    pace = (clock[-1] - clock[1]) / (done[-1] - done[1])
    return max(1, int(done[1] + (seconds - clock[1]) / pace))


def nearest_width(count, weights, widths):
    """The width at which a model comes nearest to a number of weights, found by bisection.

    count: a function of the width, growing with it: how many weights the model has. widths: the
    widths that are allowed, growing. It builds about log2(len(widths)) models, not all of them. Of
    two that are equally near it takes the smaller. Below the smallest or above the largest the
    nearest is the end.
    """
    low, high = 0, len(widths) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if count(widths[middle]) <= weights:
            low = middle
        else:
            high = middle
    near = abs(count(widths[low]) - weights) <= abs(count(widths[high]) - weights)
    return widths[low if near else high]


def clock_of(device):
    """The clock that seconds are read from: the process's on a processor, else that on the wall.

    A process's clock stands still while another program has the processor. It counts the seconds of
    all threads, so that one thread and two are held alike.
    """
    return time.process_time if torch.device(device).type == "cpu" else time.perf_counter


def weights_of(model):
    """How many numbers of a model are learned: all its parameters, those that are frozen too."""
    return sum(p.numel() for p in model.parameters())


# --- What each is given --------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """What every entrant may use: seconds or steps of training, and perhaps a number of weights.

    seconds: of training, by `clock_of`; steps: of `BATCH` images each, in place of them.
    weights: each model is built at the width that comes nearest; None: at its own width.
    most: steps of one training at most, where seconds would allow more.
    Raises TypeError or ValueError unless exactly one of seconds and steps is there, above 0.
    """

    seconds: float | None = None
    steps: int | None = None
    weights: int | None = None
    most: int | None = None

    def __post_init__(self):
        if (self.seconds is None) == (self.steps is None):
            got = "both" if self.seconds is not None else "neither"
            raise inputs.refusal("budget", "either seconds or steps", got)
        if self.seconds is not None:
            inputs.number(self.seconds, "seconds", above=0)
        for name in ("steps", "weights", "most"):
            if getattr(self, name) is not None:
                inputs.whole(getattr(self, name), name)

    def __str__(self):
        time = f"{self.seconds:g} s" if self.steps is None else f"{self.steps:,} steps"
        return time if self.weights is None else f"{time}, {self.weights:,} weights"


def _trained(model, trainer):
    return trainer.fit(model)


def _sampled(model, n, generator):
    return model.sample(n, generator=generator)


@dataclass(frozen=True)
class Entrant:
    """A generator of images, as a comparison sees it.

    name: unlike all others.
    build(size, width): an untrained model, an `nn.Module`, for images of that side.
    train(model, trainer): trains it by `trainer.fit(model, …)`, once or more often, and returns
        the model to be judged. Default: `trainer.fit(model)`.
    sample(model, n, generator): n images (n, 1, size, size) in [0, 1], drawn by the generator as
        far as the model takes one (PyTorch's own is seeded as well). Default: model.sample.
    width: its own width. widths: the widths allowed where weights are given, growing; empty for a
        model that has only one size.
    calls(model): calls of a network, one after the other, that an image takes; 0: none.
    """

    name: str
    build: Callable[[int, int], nn.Module]
    train: Callable = _trained
    sample: Callable = _sampled
    width: int = 16
    widths: Sequence[int] = range(2, 129)
    calls: Callable[[nn.Module], int] = field(default=lambda model: 1)

    def width_for(self, size, budget):
        """The width that the budget gives it, for images of that side."""
        if budget.weights is None or not len(self.widths):
            return self.width

        def count(width):
            with torch.random.fork_rng():
                return weights_of(self.build(size, width))

        return nearest_width(count, budget.weights, self.widths)


# --- The training --------------------------------------------------------------------------------


class Trainer:
    """Trains one entrant within a budget; `fit` is what an entrant's `train` calls.

    images: (N, 1, H, W) to learn from. folder: gets checkpoints and the planned steps, so that a
    training that was killed goes on. rate: multiplies all learning rates. Afterwards `steps` and
    `seconds` say what was used; the timed stretch does not count.
    """

    def __init__(self, images, budget, seed=0, folder=None, device="cpu", rate=1.0):
        self.images, self.budget, self.seed = images, budget, inputs.whole(seed, "seed", least=0)
        self.device, self.rate = torch.device(device), inputs.number(rate, "rate", above=0)
        self.clock = clock_of(device)
        self.folder = None if folder is None else Path(folder)
        self.steps, self.seconds, self.planned = 0, 0.0, []
        if self.folder is not None and (self.folder / "plan.json").exists():
            self.planned = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        self.stages, self.left = 0, 1.0

    def fit(self, model, share=1.0, lr=1e-3, optimizer=None, average=True, **options):
        """Train `model` for a share of the budget; returns it, with averaged weights.

        optimizer: a function (model, lr) -> a torch optimiser; None: Adam. average: False for the
        weights as they are. options: further ones of `training.fit`. The rate rises over the first
        twentieth of the steps and falls to 0 along a cosine.
        Raises ValueError for more than is left of the budget.
        """
        share = inputs.number(share, "share", above=0)
        if share > self.left + 1e-9:  # a sum of shares is rounded
            most = f"a number above 0 and at most what is left, {self.left:.3g}"
            raise inputs.refusal("share", most, f"{share:g}")
        self.left = max(0.0, self.left - share)
        model, lr = model.to(self.device), lr * self.rate
        batches = TensorBatches(
            self.images, batch_size=min(BATCH, len(self.images)), seed=self.seed, device=self.device
        )

        def run(net, steps, **more):
            made = None if optimizer is None else optimizer(net, lr)
            warmup = min(max(1, steps // 20), steps - 1)
            return fit(net, batches, steps, lr=lr, optimizer=made, warmup=warmup, graph=True,
                       seed=self.seed, clock=self.clock, progress=False, **options,
                       **more)  # fmt: skip

        steps, stage = self._steps(model, share, run), self.stages - 1
        ema = min(0.999, max(0.5, 1 - 10 / steps)) if average else None  # over the last steps
        checkpoint = None if self.folder is None else self.folder / f"stage{stage}"
        every = max(1, steps // self._parts(share))
        result = run(model, steps, ema=ema, checkpoint=checkpoint, every=every,
                     title=type(model).__name__)  # fmt: skip
        self.steps, self.seconds = self.steps + steps, self.seconds + result.seconds
        return result.model if result.ema_model is None else result.ema_model

    def _parts(self, share):
        """Checkpoints of a stage: one for every half minute, or four; writing them takes time."""
        seconds = self.budget.seconds
        return 4 if seconds is None else max(1, round(share * seconds / 30))

    def _steps(self, model, share, run):
        """The steps of this stage: those of the budget, or as many as its seconds allow."""
        self.stages += 1
        if len(self.planned) < self.stages:
            self.planned.append(self._counted(model, share, run))
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                keep(self.folder / "plan.json", json.dumps(self.planned).encode())
        return self.planned[self.stages - 1]

    def _counted(self, model, share, run):
        budget = self.budget
        if budget.steps is not None:
            return max(1, round(share * budget.steps))
        most = None if budget.most is None else max(1, round(share * budget.most))
        if os.environ.get("GENAI_ESTIMATE") == "1":  # counted, not timed
            return most or 1_000
        seconds, steps = share * budget.seconds, FIRST
        while True:
            # Three readings of the loop's clock: at the start, half-way and at the end.
            looks = run(copy.deepcopy(model), steps, look=_tick, looks=3, title="timed").looks
            clock = looks["seconds"]
            if clock[-1] - clock[1] >= STRETCH * seconds or steps >= (most or steps + 1):
                found = steps_in(seconds, looks["step"], clock)
                return found if most is None else min(found, most)
            steps *= 2


def _tick(model, step):
    return {"tick": 0.0}


def keep(path, content):
    """Write a file all or nothing: beside it first, then renamed."""
    beside = path.with_name(f".writing-{os.getpid()}-{path.name}")
    write_file(beside, content)
    os.replace(beside, path)
