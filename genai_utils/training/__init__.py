"""The one training loop, its batches, schedules, moving average and checkpoints."""

from .batches import TensorBatches, WindowBatches, dynamic_binarize
from .checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)
from .ema import EMA
from .loop import FitResult, fit
from .meter import TrainingError
from .schedules import linear_warmup_cosine

__all__ = [
    "EMA",
    "CheckpointError",
    "FitResult",
    "TensorBatches",
    "TrainingError",
    "WindowBatches",
    "dynamic_binarize",
    "fit",
    "linear_warmup_cosine",
    "load_checkpoint",
    "load_model",
    "save_checkpoint",
    "save_model",
]
