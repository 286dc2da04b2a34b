"""The one training loop, its batches, schedules, moving average and checkpoints."""

from .batches import TensorBatches, WindowBatches, dynamic_binarize
from .checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)
from .draws import counted, gathered
from .ema import EMA
from .loop import FitResult, fit
from .meter import TrainingError
from .optimizers import Muon, adamw, muon_groups
from .schedules import cosine_to_floor, linear_warmup_cosine, trapezoid

__all__ = [
    "EMA",
    "CheckpointError",
    "FitResult",
    "Muon",
    "TensorBatches",
    "TrainingError",
    "WindowBatches",
    "adamw",
    "cosine_to_floor",
    "counted",
    "dynamic_binarize",
    "fit",
    "gathered",
    "linear_warmup_cosine",
    "load_checkpoint",
    "load_model",
    "muon_groups",
    "save_checkpoint",
    "save_model",
    "trapezoid",
]
