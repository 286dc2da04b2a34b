"""What a run tells about itself: loss averages, the alarm for NaN, a progress bar, one line."""

import math
import os
import sys
import time

import torch

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
    """

    def __init__(self, steps: int, accelerator):
        self.accelerator = accelerator
        many = accelerator.num_processes > 1
        self.window = WINDOW if many or accelerator.device.type != "cpu" else 1
        self.steps, self.interval = steps, max(1, math.ceil(steps / POINTS))
        self.pending: list[tuple[int, dict]] = []
        self.sums: dict[str, float] = {}
        self.history: dict[str, list] = {"step": [], "loss": []}
        self.before, self.started = 0.0, time.perf_counter()
        self.last = math.nan

    def add(self, step: int, scalars: dict[str, torch.Tensor]) -> None:
        """Note the scalars of this step; raise TrainingError at once if the loss is not finite."""
        self.pending.append((step, {name: v.detach() for name, v in scalars.items()}))
        if len(self.pending) >= self.window:
            self.flush()

    def flush(self) -> None:
        """Read what is pending into the history."""
        pending, self.pending = self.pending, []
        if not pending:
            return
        values = torch.stack([v.float() for _, row in pending for v in row.values()])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, reduction="mean")
        values = iter(values.tolist())
        for step, row in pending:
            self._count(step, {name: next(values) for name in row})

    def _count(self, step: int, row: dict[str, float]) -> None:
        self.last = row["loss"]
        if not math.isfinite(self.last):
            raise TrainingError(f"the loss is {self.last} at step {step}")
        expected = self.sums or [name for name in self.history if name != "step"]
        if len(self.history["step"]) + len(self.sums) and set(row) != set(expected):
            raise ValueError(
                f"The loss dict must hold the same names at each step: {sorted(expected)} before, "
                f"{sorted(row)} at step {step}."
            )
        for name, value in row.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        done = step + 1
        if done % self.interval == 0 or done == self.steps:
            count = (done - 1) % self.interval + 1
            self.history["step"].append(done)
            for name, total in self.sums.items():
                self.history.setdefault(name, []).append(total / count)
            self.sums = {}

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a restart included."""
        return self.before + time.perf_counter() - self.started

    def state(self) -> dict:
        """What a checkpoint keeps."""
        self.flush()
        return {"history": self.history, "sums": self.sums, "seconds": self.seconds}

    def restore(self, state: dict) -> None:
        """Go on from what a checkpoint kept."""
        self.history, self.sums, self.before = state["history"], state["sums"], state["seconds"]
        self.started = time.perf_counter()

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


def watched() -> bool:
    """Whether somebody watches: a terminal, or a notebook that is not being published."""
    if os.environ.get("GENAI_PUBLISH") == "1":
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    in_notebook = shell is not None and "IPKernelApp" in shell.config
    return in_notebook or sys.stderr.isatty()
