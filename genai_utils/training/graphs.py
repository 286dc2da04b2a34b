"""The step of training as a CUDA graph: recorded once, then replayed without Python.

A small model keeps a card waiting: Python needs milliseconds to ask for what the card does in
one. A graph is the list of all kernels of a step, launched at once. What it needs:

- The batch lies where the recording found it: each step copies its batch into static tensors.
- The learning rate, and how far the average moves, are tensors on the card, filled before a step.
- The optimiser keeps its counter on the card (`capturable`).
- Gradients are None when the recording begins, so that the backward pass makes them in the graph's
  own memory. The step frees them there, and the average may use the place again; outside they stay
  None, and a replay needs none.
- Nothing waits for the card. A loss that reads a value (`.item()`, `if tensor`) breaks the
  recording, and after it the random numbers of the whole process; so a step is tried first with
  PyTorch's own alarm for waiting, and what waits trains eagerly.

The steps that warm up and try are real steps; afterwards weights, optimiser, average and random
state are put back.
"""

import warnings
from collections.abc import Callable, Hashable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from .checkpoint import kept_random_state
from .step import Note, Step

WARM_UP = 3  # steps before the recording; the last one listens for waiting
# Optimisers whose state begins at 0, which is how the warm-up's is taken back (NAdam's does not).
FROM_ZERO = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RAdam, torch.optim.RMSprop)
KINDS = 8  # graphs of one run; batches of ever new shapes are no case for graphs


class CannotCapture(RuntimeError):
    """The step cannot be a graph; the message says why."""


def can_capture(device: torch.device) -> bool:
    """Whether this device records graphs."""
    return device.type == "cuda" and torch.cuda.is_available()


class GraphStep:
    """A `Step` that is recorded for each kind of batch and replayed.

    say: called once with the reason where it must train eagerly after all.
    """

    def __init__(self, step: Step, device: torch.device, say: Callable[[str], None]):
        self.step, self.device, self.say = step, device, say
        self.recorded: dict[Hashable, Recorded] = {}
        self.eager = False
        self._prepare()

    def _prepare(self) -> None:
        """Turn what changes from step to step into tensors on the device."""
        groups = self.step.optimizer.param_groups
        kind = type(self.step.optimizer).__name__
        if not all("capturable" in group for group in groups):
            return self._give_up(f"{kind} keeps its counters on the processor")
        if not isinstance(self.step.optimizer, FROM_ZERO):
            return self._give_up(f"what {kind} remembers does not begin at 0")
        for group in groups:
            group["capturable"] = True
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32).to(self.device)
        for state in self.step.optimizer.state.values():
            if isinstance(state.get("step"), Tensor):  # of a run that is taken up again
                state["step"] = state["step"].to(self.device)
        if self.step.average is not None:
            self.step.average_weight = torch.zeros((), device=self.device)

    def rates(self, factor: float, base: list[float], plain: bool = False) -> None:
        """The learning rate of each group, see `Step.rates`."""
        self.step.rates(factor, base, plain)

    @property
    def flops(self) -> dict[Hashable, int]:
        """Kind of batch -> floating-point operations of one step."""
        return self.step.flops

    def __call__(self, batch: Any, kind: Hashable, note: Note) -> None:
        """Do one step; `note` gets the scalars of the loss dict, before or after it."""
        if not self.eager and kind not in self.recorded:
            try:
                if len(self.recorded) == KINDS:
                    raise CannotCapture(f"the batches are of more than {KINDS} kinds")
                self.recorded[kind] = self._record(batch, kind)
            except CannotCapture as reason:
                self._give_up(str(reason))
        average = self.step.average
        if average is not None and self.step.average_weight is not None:
            self.step.average_weight.fill_(1 - average.rate(average.updates + 1))
        if self.eager:
            self.step(batch, kind, note)
        else:
            note(*self.recorded[kind](batch))
        if average is not None and self.step.average_weight is not None:
            average.updates += 1

    def _give_up(self, reason: str) -> None:
        self.eager = True
        self.recorded.clear()
        self.say(f"the step is no CUDA graph, since {reason}; it trains step by step")

    def _record(self, batch: Any, kind: Hashable) -> "Recorded":
        """Warm up, listen for waiting, put everything back, record."""
        recorded = Recorded(self.step, batch, kind)
        with self._put_back():
            for i in range(WARM_UP):
                try:
                    with alarm() if i == WARM_UP - 1 else aside():
                        self.step(recorded.batch, kind, _ignore)
                except RuntimeError as error:
                    if "synchroniz" not in str(error):
                        raise
                    raise CannotCapture("its loss waits for the card") from error
        recorded.record()
        return recorded

    @contextmanager
    def _put_back(self):
        """Leave weights, optimiser, average, gradients and random state as they were."""
        modules = [self.step.net, *filter(None, [self.step.average])]
        kept = [(t, t.detach().clone()) for m in modules for t in (*m.parameters(), *m.buffers())]
        before = {p: dict(s) for p, s in self.step.optimizer.state.items()}
        kept += [
            (t, t.clone()) for s in before.values() for t in s.values() if isinstance(t, Tensor)
        ]
        try:
            with kept_random_state(self.device):
                yield
        finally:
            with torch.no_grad():
                for tensor, value in kept:
                    tensor.copy_(value)
                for p, state in self.step.optimizer.state.items():
                    for name, value in state.items():
                        if isinstance(value, Tensor) and name not in before.get(p, {}):
                            value.zero_()
            self.step.optimizer.zero_grad(set_to_none=True)


class Recorded:
    """One kind of batch: its static tensors, its graph, the scalars that a replay leaves."""

    def __init__(self, step: Step, batch: Any, kind: Hashable):
        self.step, self.kind = step, kind
        self.batch = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, batch)
        self.tensors = _tensors(self.batch)
        self.names: tuple[str, ...] = ()
        self.values: Tensor | None = None

    def record(self) -> None:
        """Capture the step on the static batch. Nothing is computed yet.

        Raises CannotCapture where the recording breaks off; the generator of random numbers, which
        it leaves unusable, is then replaced.
        """
        self.graph = torch.cuda.CUDAGraph()
        random = torch.cuda.get_rng_state()
        try:
            with torch.cuda.graph(self.graph):
                self.step(self.batch, self.kind, self._keep)
        except RuntimeError as error:
            _new_generator(random)
            raise CannotCapture(f"its recording broke off ({_first_line(error)})") from error

    def __call__(self, batch: Any) -> tuple[tuple[str, ...], Tensor]:
        """Replay with another batch of the kind; the names and values (k,) of its scalars."""
        for static, new in zip(self.tensors, _tensors(batch), strict=True):
            static.copy_(new, non_blocking=True)
        self.graph.replay()
        return self.names, self.values.clone()

    def _keep(self, names: tuple[str, ...], values: Tensor) -> None:
        self.names, self.values = names, values


@contextmanager
def aside():
    """Work on a stream of its own, as PyTorch asks for before a recording.

    What comes after waits for it, also after an error: half a step may still be under way there
    when weights and buffers are put back.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def alarm():
    """Raise where something waits for the card."""
    with aside():
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "a prototype feature"
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _new_generator(state: Tensor) -> None:
    """A broken recording leaves the card's generator waiting for its end: put a fresh one there."""
    index = torch.cuda.current_device()
    fresh = torch.Generator(f"cuda:{index}")
    fresh.set_state(state)
    torch.cuda.default_generators[index].graphsafe_set_state(fresh.graphsafe_get_state())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def _tensors(batch: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(batch)[0] if isinstance(leaf, Tensor)]


def _ignore(names, values) -> None:
    pass
