"""Metrics between two linear pictures of the same data: are they one subspace, one map?"""

import math
from typing import NamedTuple

import scipy.linalg
import torch

from genai_utils.evaluation.inputs import as_array, as_points
from genai_utils.inputs import refusal


def _columns(values, name):
    matrix = as_array(values, name)
    if matrix.ndim == 1:
        matrix = matrix[:, None]  # (d,) -> (d, 1)
    if matrix.ndim != 2:
        raise refusal(name, "a matrix (d, k)", f"the shape {tuple(matrix.shape)}")
    if not matrix.any():
        raise refusal(name, "columns that span a subspace", "zeros only")
    return matrix


def subspace_angle(a, b):
    """Largest principal angle between the subspaces spanned by the columns of A and B, in degrees.

        cos θ_i = σ_i(Q_Aᵀ Q_B),   Q orthonormal bases;   the answer is max_i θ_i

    a: (d, k), b: (d, l) (a vector (d,) is one column). 0° means that the smaller subspace lies in
    the larger, 90° that some direction of it is orthogonal to the other. The sign, scale and order
    of the columns do not matter, so PCA's V and a linear autoencoder's decoder can be compared.

    Raises ValueError for different d, all zeros, another number of axes, NaN.
    Source: Björck & Golub 1973, by scipy.linalg.subspace_angles (accurate for tiny angles too).
    """
    a, b = _columns(a, "a"), _columns(b, "b")
    if a.shape[0] != b.shape[0]:
        raise refusal(
            "b", f"as many rows as a, {a.shape[0]}", b.shape[0],
            "the columns span the subspace, so a matrix of components in rows needs .T",
        )  # fmt: skip
    return math.degrees(scipy.linalg.subspace_angles(a.numpy(), b.numpy()).max())


class Procrustes(NamedTuple):
    """`aligned` (n, d): the points, laid over the target; `disparity` in [0, 1]: what is left."""

    aligned: torch.Tensor
    disparity: float


def procrustes(target, points):
    """Lay one cloud of points over another by shift, rotation or reflection, and one scale.

        min over s, Q, t of ‖T − (s P Q + t)‖²_F,   QᵀQ = I
        Q = U Vᵀ,   s = tr(Σ) / ‖P_c‖²_F,   from the SVD P_cᵀ T_c = U Σ Vᵀ of the centred clouds

    target, points: (n, d), row i of one belongs to row i of the other.
    Returns (aligned (n, d) in the target's units, disparity = the minimum / ‖T_c‖²_F): 0 for equal
    shapes, 1 for nothing in common. Principal components against a map of the sampled places.

    Raises ValueError if the shapes differ, n < 2, or all points of a cloud coincide.
    Source: Schönemann 1966; Novembre et al. 2008.
    """
    target, points = as_points(target, "target", 2), as_points(points, "points", 2)
    if target.shape != points.shape:
        raise refusal(
            "points", f"the shape of target, {tuple(target.shape)}, row by row the same samples",
            tuple(points.shape),
        )  # fmt: skip
    centre = target.mean(0)
    t, p = target - centre, points - points.mean(0)  # (n, d)
    for name, cloud, raw in (("target", t, target), ("points", p, points)):
        if cloud.norm() <= 1e-12 * raw.norm():
            raise refusal(name, "points that span a shape", "points that all coincide")
    u, sigma, vt = torch.linalg.svd(p.T @ t)  # (d, d)
    scale = sigma.sum() / p.square().sum()
    aligned = scale * p @ (u @ vt) + centre  # (n, d)
    return Procrustes(aligned, ((target - aligned).square().sum() / t.square().sum()).item())
