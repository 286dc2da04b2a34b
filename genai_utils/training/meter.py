"""What a run tells about itself: loss averages, the alarm for NaN, a progress bar, one line."""

import math
import os
import sys
import time
from collections.abc import Callable, Hashable
from numbers import Real

import torch

from genai_utils.inputs import kind_of, refusal

POINTS = 200  # of the history, about
WINDOW = 50  # steps between two looks at the loss where a look makes the processor wait


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step."""


class Meter:
    """Collects the scalars of each step and averages them over intervals of steps / 200.

    Reading a number from a GPU makes the processor wait for it, so the scalars stay on the
    device and are read together: every step on one CPU, else every 50 steps. With several
    processes they are averaged over all of them, so that all see a NaN at the same step.
    `history` holds lists: "step" (steps done), "loss" and the other scalars of the loss dict.
    clock: a function without arguments, what `seconds` are read from.
    """

    def __init__(self, steps: int, accelerator, clock: Callable[[], float] = time.perf_counter):
        self.accelerator, self.clock = accelerator, clock
        many = accelerator.num_processes > 1
        self.window = WINDOW if many or accelerator.device.type != "cpu" else 1
        self.steps, self.interval = steps, max(1, math.ceil(steps / POINTS))
        self.names: dict[Hashable, tuple[str, ...]] = {}
        self.pending: list[tuple[int, tuple[str, ...], torch.Tensor]] = []
        self.sums: dict[str, list] = {}  # name -> [sum, number of steps]
        self.history: dict[str, list] = {"step": [], "loss": []}
        self.looks: dict[str, list] = {}
        self.flops = 0
        self.before, self.started = 0.0, clock()
        self.last = math.nan

    def add(self, step: int, kind: Hashable, names: tuple[str, ...], values: torch.Tensor) -> None:
        """Note the scalars (k,) of this step; raise TrainingError if the loss is not finite.

        kind: of the batch; the same kind must give the same names at each step.
        """
        expected = self.names.setdefault(kind, names)
        if set(names) != set(expected):
            raise ValueError(
                f"The loss dict must hold the same names at each step: {sorted(expected)} before, "
                f"{sorted(names)} at step {step}."
            )
        self.pending.append((step, names, values))
        if len(self.pending) >= self.window:
            self.flush()

    def flush(self) -> None:
        """Read what is pending into the history."""
        pending, self.pending = self.pending, []
        if not pending:
            return
        values = torch.cat([v for _, _, v in pending])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, reduction="mean")
        values = iter(values.tolist())
        for step, names, _ in pending:
            self._count(step, {name: next(values) for name in names})

    def _count(self, step: int, row: dict[str, float]) -> None:
        self.last = row["loss"]
        if not math.isfinite(self.last):
            raise TrainingError(f"the loss is {self.last} at step {step}")
        for name, value in row.items():
            so_far = self.sums.setdefault(name, [0.0, 0])
            so_far[0] += value
            so_far[1] += 1
        done = step + 1
        if done % self.interval == 0 or done == self.steps:
            for name in self.sums:  # a name that comes late has no mean before
                self.history.setdefault(name, [math.nan] * len(self.history["step"]))
            self.history["step"].append(done)
            for name in set(self.history) - {"step"}:
                total, count = self.sums.get(name, (math.nan, 1))
                self.history[name].append(total / count)
            self.sums = {}

    def look(self, step: int, function: Callable, model) -> dict[str, float]:
        """Call `function(model, step)` in eval mode, without gradients; note its numbers.

        Its seconds do not count as training. Raises TypeError for what is no dict of numbers,
        ValueError for other names than before.
        """
        self.flush()  # waits for the card, so that its work is not taken for the look's
        seconds, began = self.seconds, self.clock()
        model.eval()
        with torch.no_grad():
            found = function(model, step)
        model.train()
        row = {"step": step, "seconds": seconds, **_numbers(found)}
        if self.looks and set(row) != set(self.looks):
            raise ValueError(
                f"look must give the same names each time: {sorted(self.looks)} before, "
                f"{sorted(row)} at step {step}."
            )
        for name, value in row.items():
            self.looks.setdefault(name, []).append(value)
        self.started += self.clock() - began
        return row

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a restart included."""
        return self.before + self.clock() - self.started

    def state(self) -> dict:
        """What a checkpoint keeps."""
        self.flush()
        kept = ("history", "sums", "looks", "flops", "seconds")
        return {name: getattr(self, name) for name in kept}

    def restore(self, state: dict) -> None:
        """Go on from what a checkpoint kept."""
        self.history, self.sums, self.looks = state["history"], state["sums"], state["looks"]
        self.before, self.flops = state["seconds"], state["flops"]
        self.started = self.clock()

    def summary(self, title: str, start: int = 0) -> str:
        """For example `VAE: 20,000 steps, loss 101.3 → 89.7, 241 s`; start: steps done before."""
        note = f" (went on from step {start:,})" if start else ""
        note = " (finished earlier)" if start == self.steps else note
        loss = self.history["loss"]
        seconds = f"{self.seconds:.0f}" if self.seconds >= 10 else f"{self.seconds:.1f}"
        return (
            f"{title}: {self.steps:,} steps, loss {loss[0]:.4g} → {loss[-1]:.4g}, {seconds} s{note}"
        )


class Bar:
    """A tqdm bar on stderr where somebody watches; nothing in published pages and log files."""

    def __init__(self, title: str, start: int, steps: int, wanted: bool):
        self.bar = None
        if wanted and watched():
            from tqdm.auto import tqdm

            self.bar = tqdm(initial=start, total=steps, desc=title, leave=False)
        self.shown = 0.0

    def update(self, loss: float) -> None:
        """One step is done."""
        if self.bar is not None:
            if time.perf_counter() > self.shown + 0.5:
                self.bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
                self.shown = time.perf_counter()
            self.bar.update()

    def close(self) -> None:
        """Take the bar away; the summary line remains."""
        if self.bar is not None:
            self.bar.close()


def _numbers(found) -> dict[str, float]:
    """The look's dict as plain numbers."""
    if not isinstance(found, dict):
        raise refusal("look", "a dict of numbers to come back", kind_of(found), kind=TypeError)
    row = {}
    for name, value in found.items():
        one = isinstance(value, torch.Tensor) and value.numel() == 1
        if not one and not isinstance(value, Real):
            got = f"{kind_of(value)} for {name!r}"
            raise refusal("look", "a dict of numbers to come back", got, kind=TypeError)
        row[str(name)] = value.item() if one else float(value)
    if reserved := {"step", "seconds"} & set(row):
        got = repr(sorted(reserved)[0])
        raise refusal("look", "names beside 'step' and 'seconds'", got, "fit notes these itself")
    return row


def watched() -> bool:
    """Whether somebody watches: a terminal, or a notebook that is not being published."""
    if os.environ.get("GENAI_PUBLISH") == "1":
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    in_notebook = shell is not None and "IPKernelApp" in shell.config
    return in_notebook or sys.stderr.isatty()
