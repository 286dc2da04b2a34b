"""What `fit` checks before it starts, and the objects it makes from its options."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from genai_utils.inputs import kind_of, number, one_of, path, refusal, whole

from .describe import describe, describe_model, describe_optimizer

PRECISIONS = ("auto", "fp32", "bf16")


def check_model(model: nn.Module) -> None:
    """A model is an nn.Module with weights to train and a method `loss(batch)`."""
    if not isinstance(model, nn.Module):
        raise refusal("model", "a torch.nn.Module", kind_of(model), kind=TypeError)
    kind = type(model).__name__
    if not callable(getattr(model, "loss", None)):
        raise refusal(
            "model", "a method loss(batch)", f"{kind} without one",
            'let it return a scalar, or a dict whose "loss" is one',
        )  # fmt: skip
    if not any(p.requires_grad for p in model.parameters()):
        raise refusal("model", "weights to train", f"{kind} without any")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise refusal("model", "finite weights", f"NaN or infinity in {name}")


def check_batches(batches: Callable) -> None:
    """Batches are a function of the step."""
    if not callable(batches):
        raise refusal(
            "batches", "a function of the step", kind_of(batches),
            "TensorBatches(x, batch_size=128) makes one of a tensor", kind=TypeError,
        )  # fmt: skip


def folder(checkpoint) -> Path | None:
    """A checkpoint folder is None or a path."""
    return None if checkpoint is None else path(checkpoint, "checkpoint")


def check_numbers(steps, lr, warmup, clip, seed, every, precision) -> tuple:
    """Each option in its range, as plain numbers in this order (without the precision)."""
    steps, every = whole(steps, "steps"), whole(every, "every")
    warmup = whole(warmup, "warmup", least=0)
    seed = whole(seed, "seed", 0, 2**32 - 2**10)  # NumPy takes 32 bits; each process adds its own
    if warmup >= steps:
        raise refusal("warmup", f"fewer than the {steps:,} steps", f"{warmup:,}")
    lr = number(lr, "lr", least=0)
    clip = None if clip is None else number(clip, "clip", above=0)
    one_of(precision, "precision", PRECISIONS)
    return steps, lr, warmup, clip, seed, every


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
        raise refusal(
            "optimizer", "None, a torch optimiser, or a function such as torch.optim.AdamW",
            kind_of(optimizer), "it is called as optimizer(parameters, lr=lr)", kind=TypeError,
        )  # fmt: skip
    if isinstance(optimizer, torch.optim.LBFGS):
        raise refusal(
            "optimizer", "one that takes a step from one gradient", "LBFGS",
            "it computes the loss several times a step: call it yourself, on all data at once",
        )  # fmt: skip
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not held & {id(p) for p in parameters}:
        raise refusal("optimizer", "weights of the model", "none of them")
    return optimizer


def check_looks(look, looks, best) -> None:
    """A look is a function of (model, step); `best` names one of its numbers."""
    if look is not None and not callable(look):
        raise refusal("look", "a function of (model, step)", kind_of(look), kind=TypeError)
    looks = whole(looks, "looks", least=2)
    if best is not None and (look is None or not isinstance(best, str)):
        got = f"{kind_of(best)} without a look" if look is None else kind_of(best)
        raise refusal("best", "the name of a number that look returns", got)


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
