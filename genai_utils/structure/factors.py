"""Non-negative factors: what a matrix of them has to be, a start for one, and how to judge them."""

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from genai_utils.inputs import all_finite, matrix, refusal


def nonnegative(X, name: str = "X") -> Tensor:
    """X (n, d) as a tensor of floats, finite and without negative entries; see inputs.matrix."""
    X = matrix(X, name, finite=False)
    if not all_finite(X):
        raise refusal(
            name, "finite numbers", "NaN or infinity", "leave missing ratings out: see RatingNMF"
        )
    if (X < 0).any():
        raise ValueError(
            f"{name} holds negative entries, the least is {X.min():.3g}: W H cannot be negative; "
            "do not centre, or subtract the least value"
        )
    return X


def scale_of(X: Tensor) -> tuple[float, float]:
    """The unit in which X >= 0 is of ordinary size, and its square root, for the factors.

    A power of 2^20, so that to divide by either is exact; 1 for numbers of about 1e-3 to 1e3. The
    updates add 1e-12 below their lines: much less than any of their numbers, in this unit.
    """
    largest = X.max().item()
    power = 10 * round(math.log2(largest) / 20) if largest > 0 else 0
    return 4.0**power, 2.0**power


def random_factor(rows: int, columns: int, level: float, seed: int, like: Tensor) -> Tensor:
    """A start: numbers between 0 and 2 level, so that their mean is `level`. (rows, columns)"""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return (2 * level * start.clamp(min=1e-3)).to(like)


def match_factors(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Pair the rows of A (k, d) with rows of B (k, d) so that the sum of |cosine| is largest.

    Returns (order, cosines): B[order[i]] belongs to A[i] with |cos| = cosines[i]. The Hungarian
    method, by scipy.optimize.linear_sum_assignment. A row of zeros has cosine 0 with every row.
    Lecture item A8.
    """
    A, B = matrix(A, "A"), matrix(B, "B")
    if A.shape != B.shape:
        raise refusal("B", f"factors of the shape {tuple(A.shape)}, as A", f"{tuple(B.shape)}")
    lengths = [M.norm(dim=1, keepdim=True) for M in (A, B)]
    unit = [M / torch.where(L > 0, L, 1.0) for M, L in zip((A, B), lengths, strict=True)]
    cosines = (unit[0] @ unit[1].T).abs().cpu()  # (k, k)
    row, order = linear_sum_assignment(-np.asarray(cosines))
    return torch.as_tensor(order), cosines[row, order]


def hoyer_sparseness(A: Tensor) -> Tensor:
    """(sqrt(d) - |a|_1 / |a|_2) / (sqrt(d) - 1) of each row of A (m, d): 1 one entry, 0 all equal.

    A row of zeros, such as a factor that a penalty has switched off, counts as 1. The formula is
    0 / 0 there; a row with a single entry has 1 however small the entry is, and ends in zeros.
    Raises ValueError for d = 1, where one entry is all entries. Hoyer 2004, section 3.1.
    """
    A = matrix(A, "A")
    if A.shape[1] < 2:
        raise refusal("A", "rows of at least 2 entries", f"the shape {tuple(A.shape)}")
    root, B = A.shape[1] ** 0.5, A.double()  # squares of 1e-30 are no zeros there
    length = B.norm(dim=1)
    ratio = torch.where(length > 0, B.abs().sum(dim=1) / torch.where(length > 0, length, 1.0), 1.0)
    return ((root - ratio) / (root - 1)).to(A)
