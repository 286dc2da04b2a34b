"""The state of a run, as a checkpoint keeps it and as a restarted run takes it up again."""

import warnings
from functools import partial

import torch
from accelerate.utils import gather_object
from torch.distributed.tensor import DTensor

from .checkpoint import (
    Checkpoint,
    CheckpointError,
    check_same_model,
    fill,
    latest_checkpoint,
    load_checkpoint,
    rng_state,
    save_checkpoint,
    set_rng_state,
)
from .meter import TrainingError
from .shards import own_rows, spread, whole


class RunState:
    """All that decides how a run goes on: weights, their average, optimiser, history, randomness.

    options: the run's options as plain data; a checkpoint of other options is refused.
    batches: where they have `state_dict()` and `load_state_dict(…)`, with tensors by name, these
        are kept too: batches that a policy sampled can be taken up in the middle.
    best: the weights of the best look, name -> tensor; {} where there is none.
    """

    def __init__(self, model, average, optimizer, meter, accelerator, batches, options: dict):
        self.model, self.average, self.optimizer = model, average, optimizer
        self.meter, self.accelerator, self.options = meter, accelerator, options
        self.batches = batches if hasattr(batches, "load_state_dict") else None
        self.best: dict[str, torch.Tensor] = {}
        shared = (p for p in model.parameters() if isinstance(p, DTensor))
        self.first_shared = next(shared, None)  # None: each process has all of the weights

    def save(self, folder, step: int) -> None:
        """Write a checkpoint after `step` steps. A full disk is a warning: training goes on."""
        state = {"options": self.options, "meter": self.meter.state()}
        tensors = {"model": self.model.state_dict()}
        if self.average is not None:
            tensors["ema"] = self.average.module.state_dict()
            state["ema_updates"] = self.average.updates
        if self.batches is not None:
            tensors["batches"] = self.batches.state_dict()
        if self.best:
            tensors["best"] = self.best
        tensors["optimizer"], state["optimizer"] = _flatten(self.optimizer.state_dict()["state"])
        state["rng"] = gather_object([rng_state(self.accelerator.device)])  # one per process
        self.check_finite(step)
        how, first = {}, self.accelerator.is_main_process
        if self.first_shared is not None:
            tensors = {group: own_rows(named, first) for group, named in tensors.items()}
            part = (self.accelerator.process_index, self.accelerator.num_processes)
            how = {"part": part, "agree": _agree}
        try:
            if how or first:
                save_checkpoint(folder, step, tensors, state, **how)
        except OSError as error:
            if first:
                kept = latest_checkpoint(folder)
                kept = f"{kept} stays valid" if kept else "there is none from before"
                warnings.warn(
                    f"The checkpoint of step {step} could not be written to {folder}: "
                    f"{error.strerror or error}. Training goes on; {kept}.",
                    RuntimeWarning,
                    stacklevel=3,
                )
        self.accelerator.wait_for_everyone()

    def restore(self, folder) -> int:
        """Take up the newest checkpoint of the folder; return the steps it has done (0: none)."""
        saved = load_checkpoint(folder, partial(self._keep, self.model.state_dict()))
        if saved is None:
            return 0
        check_same_model(self.model, saved.tensors["model"], saved.path)
        self._check_options(saved)
        fill(self.model, saved.tensors["model"], saved.path)
        if self.average is not None:
            fill(self.average.module, saved.tensors["ema"], saved.path)
            self.average.updates = saved.state["ema_updates"]
        state = _unflatten(saved.tensors["optimizer"], saved.state["optimizer"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.batches is not None:
            self.batches.load_state_dict(saved.tensors["batches"])
        self.best = saved.tensors.get("best", {})
        self.meter.restore(saved.state["meter"])
        rng, rank = saved.state["rng"], self.accelerator.process_index
        # all processes draw alike: a run may go on with more of them, or fewer
        set_rng_state(rng[rank if rank < len(rng) else 0], self.accelerator.device)
        return saved.step

    def check_finite(self, step: int) -> None:
        """Stop at weights that are no longer numbers, before they overwrite a checkpoint."""
        for name, weight in self.model.named_parameters():
            if not whole(torch.isfinite(weight).all()):
                raise TrainingError(f"the weight {name} is no longer finite after step {step - 1}")

    def _keep(self, own: dict, group: str, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Of a tensor in a checkpoint what this process holds: all of it, or its rows."""
        if group == "optimizer":
            like = self.first_shared if tensor.ndim else None  # its counters are not shared
        else:
            like = own.get(name)
        return spread(tensor, like)

    def _check_options(self, saved: Checkpoint) -> None:
        theirs = saved.state["options"]
        wrong = [
            f"{name} was {_short(theirs.get(name))} and is now {_short(self.options.get(name))}"
            for name in {**self.options, **theirs}
            if theirs.get(name) != self.options.get(name)
        ]
        if wrong:
            more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise CheckpointError(
                f"{saved.path} belongs to a run with other options: {'; '.join(wrong[:5])}{more}. "
                "Choose another checkpoint folder, or delete this one to start again."
            )


def _agree(error: OSError | None) -> None:
    """Wait for all processes; raise in each of them where one has an error."""
    mine = [] if error is None else [(error.errno, error.strerror or str(error))]
    if errors := gather_object(mine):
        raise OSError(*errors[0])


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:110]} … {text[-40:]}"


def _flatten(state: dict) -> tuple[dict[str, torch.Tensor], dict]:
    """Split the optimiser's state into tensors "index.name" and plain values."""
    tensors, plain = {}, {}
    for index, entries in state.items():
        for name, value in entries.items():
            (tensors if isinstance(value, torch.Tensor) else plain)[f"{index}.{name}"] = value
    return tensors, plain


def _unflatten(tensors: dict, plain: dict) -> dict:
    state: dict[int, dict] = {}
    for key, value in {**plain, **tensors}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return state
