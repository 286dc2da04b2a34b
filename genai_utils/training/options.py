"""What `fit` checks before it starts, and the objects it makes from its options."""

import math
import os
from collections.abc import Callable
from numbers import Integral, Real

import torch
from torch import nn

from .describe import describe, describe_model, describe_optimizer

PRECISIONS = ("auto", "fp32", "bf16")


def check_model(model: nn.Module) -> None:
    """A model is an nn.Module with weights to train and a method `loss(batch)`."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    if not callable(getattr(model, "loss", None)):
        raise ValueError(
            f"{type(model).__name__} has no method loss(batch); fit needs it to return a scalar, "
            'or a dict whose "loss" is one.'
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no weights to train.")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(f"The weight {name} holds NaN or infinite values before training.")


def check_batches(batches: Callable) -> None:
    """Batches are a function of the step."""
    if not callable(batches):
        raise TypeError(
            f"batches must be a function of the step, got {type(batches).__name__}; "
            "TensorBatches(x, batch_size=128) makes one of a tensor."
        )


def check_folder(checkpoint) -> None:
    """A checkpoint folder is None or a path."""
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint must be None or a folder, got {type(checkpoint).__name__}.")


def check_numbers(steps, lr, warmup, clip, seed, every, precision) -> None:
    """Each option in its range; the message says what came."""
    _whole("steps", steps, 1)
    _whole("every", every, 1)
    _whole("warmup", warmup, 0)
    _whole("seed", seed, 0, 2**32 - 2**10)  # NumPy takes 32 bits; each process adds its number
    if warmup >= steps:
        raise ValueError(f"warmup must be shorter than the {steps} steps, got {warmup}.")
    if not _number(lr) or lr < 0:
        raise ValueError(f"lr must be a finite number of at least 0, got {lr!r}.")
    if clip is not None and (not _number(clip) or clip <= 0):
        raise ValueError(f"clip must be None or a positive gradient norm, got {clip!r}.")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}.")


def uses_bf16(precision: str, accelerator) -> bool:
    """Whether forward passes run in bfloat16 (weights and optimiser stay in float32)."""
    if accelerator.mixed_precision not in ("no", "bf16"):
        raise ValueError(
            f"fit trains in fp32 or bf16; this launch asks for {accelerator.mixed_precision}. "
            "Launch with --mixed_precision no or bf16."
        )
    if accelerator.mixed_precision == "bf16":
        if precision == "fp32":
            raise ValueError("precision='fp32' contradicts a launch with --mixed_precision bf16.")
        return True
    if precision == "auto":  # cards before Ampere only emulate bf16
        device = accelerator.device
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return precision == "bf16"


def make_optimizer(optimizer, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Adam by default; or what `optimizer(parameters, lr=lr)` returns; or an optimiser as it is."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if optimizer is None:
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        return torch.optim.Adam(parameters, lr=lr, fused=fused or None)
    if callable(optimizer) and not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer(parameters, lr=lr)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            "optimizer must be None, a function such as torch.optim.AdamW that is called as "
            f"optimizer(parameters, lr=lr), or a torch optimiser; got {type(optimizer).__name__}."
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not held & {id(p) for p in parameters}:
        raise ValueError("The optimizer holds none of the model's weights.")
    return optimizer


def check_looks(look, looks, best) -> None:
    """A look is a function of (model, step); `best` names one of its numbers."""
    if look is not None and not callable(look):
        raise TypeError(f"look must be a function of (model, step), got {type(look).__name__}.")
    _whole("looks", looks, 2)
    if best is not None and (look is None or not isinstance(best, str)):
        raise ValueError(f"best must name a number that look returns, got {best!r}, look={look}.")


def look_steps(steps: int, looks: int) -> set[int]:
    """After how many steps a look is due: 0, steps, and evenly between."""
    return {round(i * steps / (looks - 1)) for i in range(looks)}


def describe_run(model, batches, optimizer, schedule, **numbers) -> dict:
    """All that shapes a run, as plain data, to be compared with that of a checkpoint."""
    plain = {name: describe(value, name) for name, value in numbers.items()}
    plain["batches"] = describe(batches, "batches")
    plain["schedule"] = describe(schedule, "schedule")
    plain |= {f"optimizer.{k}": v for k, v in describe_optimizer(optimizer).items()}
    return plain | {f"model.{k}": v for k, v in describe_model(model).items()}


def _whole(name: str, value, low: int, high: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        limit = f" and at most {high}" if high < math.inf else ""
        raise ValueError(f"{name} must be a whole number of at least {low}{limit}, got {value!r}.")


def _number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
