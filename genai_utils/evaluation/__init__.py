"""Metrics: numbers that say how good a reconstruction, a sample or a code is. They know no model.

Every metric takes torch tensors or NumPy arrays from any device, computes in double precision on
the CPU (so that a GPU run and a CPU run print the same number) and returns plain Python floats or
CPU tensors. Bad input raises `ValueError` or `TypeError` with what was expected and what came.
"""

from genai_utils.evaluation.distances import (
    diversity,
    frechet_distance,
    frechet_gaussians,
    knn_accuracy,
    nearest_distance,
    precision_recall,
)
from genai_utils.evaluation.images import psnr, radial_power_spectrum, sharpness
from genai_utils.evaluation.judge import Judge, load_judge, train_judge
from genai_utils.evaluation.likelihood import bits_per_dim
from genai_utils.evaluation.scorecard import Measure, Scorecard, Scores
from genai_utils.evaluation.subspaces import procrustes, subspace_angle
from genai_utils.evaluation.text import NGram, next_token_nll
from genai_utils.evaluation.words import (
    Score,
    analogy_accuracy,
    nearest,
    similarity_spearman,
)

__all__ = [
    "Judge",
    "Measure",
    "NGram",
    "Score",
    "Scorecard",
    "Scores",
    "analogy_accuracy",
    "bits_per_dim",
    "diversity",
    "frechet_distance",
    "frechet_gaussians",
    "knn_accuracy",
    "load_judge",
    "nearest",
    "nearest_distance",
    "next_token_nll",
    "precision_recall",
    "procrustes",
    "psnr",
    "radial_power_spectrum",
    "sharpness",
    "similarity_spearman",
    "subspace_angle",
    "train_judge",
]
