"""One process or several: the loss as a module, and each process's share of a batch."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    find_batch_size,
    send_to_device,
    slice_tensors,
)
from torch import nn

from genai_utils.inputs import refusal

from .draws import Draws


class Loss(nn.Module):
    """A module whose forward is `model.loss(batch)`, checked.

    Data parallelism averages gradients by a hook in forward, so the loss has to be one.
    bf16: run it in bfloat16 where that is safe (autocast); compile: by torch.compile.
    With several processes it draws what one would, see `Draws`.
    """

    def __init__(self, model: nn.Module, bf16: bool, accelerator: Accelerator, compile: bool):
        super().__init__()
        self.model = model
        self.autocast = (
            partial(torch.autocast, accelerator.device.type, torch.bfloat16)
            if bf16
            else nullcontext
        )
        self.process, self.processes = accelerator.process_index, accelerator.num_processes
        self.loss, self._compile = model.loss, compile
        self.guard = nullcontext  # where weights are shared: around the loss

    def compiled(self) -> None:
        """From now on by torch.compile, where that is wanted (the first step is counted)."""
        if self._compile:
            self.loss = torch.compile(self.model.loss)

    def draws(self, batch):
        """The context in which the loss of this process's rows is computed."""
        if self.processes == 1:
            return nullcontext()
        return Draws(find_batch_size(batch), self.process, self.processes)

    def call(self, function, *arguments):
        """Call a function as a forward pass, for which weights that are shared come together."""
        return function(*arguments)

    def forward(self, batch) -> dict[str, torch.Tensor]:
        with self.autocast(), self.draws(batch), self.guard():
            out = self.loss(batch)
        out = out if isinstance(out, dict) else {"loss": out}
        loss = out.get("loss")
        if not isinstance(loss, torch.Tensor) or loss.ndim or not loss.requires_grad:
            raise ValueError(
                f"{type(self.model).__name__}.loss must return a scalar tensor with a gradient, or "
                f'a dict whose "loss" is one; got {_describe(out)}.'
            )
        for name, value in out.items():
            if not isinstance(value, float | int) and getattr(value, "ndim", 1):
                raise ValueError(
                    f"{type(self.model).__name__}.loss must return scalars only, "
                    f"got {name!r}: {_describe(out, name)}."
                )
        return {name: torch.as_tensor(v, device=loss.device) for name, v in out.items()}


def make_accelerator() -> Accelerator:
    """The device and the processes of this run; weights that a step leaves out are allowed.

    Raises ValueError where another library (DeepSpeed, Megatron-LM) is to share the weights.
    """
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(kwargs_handlers=[unused])
    kind = str(getattr(accelerator.distributed_type, "value", accelerator.distributed_type))
    if kind in ("DEEPSPEED", "MEGATRON_LM"):
        raise refusal("the processes", "MULTI_GPU or FSDP", kind)
    return accelerator


def share(batch: Any, accelerator: Accelerator) -> Any:
    """This process's equal slice of the global batch, on its device.

    batch: a tensor (B, …) or tuples, lists and dicts of them. With P processes, number p takes
    examples p·B/P … (p + 1)·B/P - 1. Raises ValueError where P does not divide B.
    """
    parts = accelerator.num_processes
    if parts > 1:
        size = find_batch_size(batch)
        if size is None or size % parts:
            raise ValueError(
                f"A global batch of {size} does not divide into {parts} processes; "
                f"choose a batch size that is a multiple of {parts}."
            )
        first = accelerator.process_index * size // parts
        batch = slice_tensors(batch, slice(first, first + size // parts))
    return send_to_device(batch, accelerator.device, non_blocking=True)


def _describe(out: dict, name: str = "loss") -> str:
    if name not in out:
        return f"a dict with {sorted(out)}"
    value = out[name]
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"a tensor of shape {tuple(value.shape)}, requires_grad={value.requires_grad}"
