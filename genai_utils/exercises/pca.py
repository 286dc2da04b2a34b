"""Exercises of notebook 02_pca: from a share of variance to a completed image."""

import torch

from genai_utils.checks import exercise
from genai_utils.structure import pca

NOTEBOOK = "02_pca"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _axes(d, k, g):
    """k orthonormal columns in d dimensions, (d, k)."""
    return torch.linalg.qr(torch.randn(d, k, generator=g)).Q


def spectra(seed):
    g = _generator(seed)
    return [(torch.rand(r, generator=g).sort(descending=True).values * 9 + 0.1,) for r in (3, 5, 8)]


exercise(
    pca.explained_variance_ratio,
    cases=spectra,
    mistakes={
        "singular values not squared": (
            lambda s: s / s.sum(),
            "You took shares of the singular values themselves: variance is in their squares.",
        ),
        "squared too late": (
            lambda s: (s / s.sum()) ** 2,
            "You squared after dividing, so the shares do not add up to one: square first.",
        ),
        "share of the first": (
            lambda s: s**2 / s[0] ** 2,
            "You divided by the first component's variance: a share is of the sum of all of them.",
        ),
        "running total": (
            lambda s: (s**2).cumsum(0) / (s**2).sum(),
            "You returned the running total: useful, but each component's own share is asked.",
        ),
    },
    hints=[
        "For centred data the variance along component i is s_i^2 / (n - 1). What cancels?",
        "Square the singular values, then divide by the sum of the squares.",
    ],
    grad=True,
)


def rows_and_axes(seed):
    g = _generator(seed)
    return [
        (torch.randn(n, d, generator=g) + 1, _axes(d, k, g))
        for n, d, k in ((3, 5, 2), (7, 4, 3), (6, 9, 4))
    ]


exercise(
    pca.project,
    cases=rows_and_axes,
    mistakes={
        "codes": (
            lambda X, V: X @ V,
            "You returned the k coordinates <x, v_i>: they still have to be turned back into d "
            "numbers, as sum_i <x, v_i> v_i.",
        ),
        "residual": (
            lambda X, V: X - X @ V @ V.T,
            "You returned what the projection leaves over, X - X V V^T.",
        ),
        "first component only": (
            lambda X, V: X @ V[:, :1] @ V[:, :1].T,
            "You projected on the first component only: add up all k of them.",
        ),
        "centred": (
            lambda X, V: (X - X.mean(0)) @ V @ V.T,
            "You subtracted the mean of the rows. Here X is taken as it is; PCA centres before.",
        ),
        "one direction": (
            lambda X, V: X @ V.sum(1, keepdim=True) @ V.sum(1, keepdim=True).T,
            "You added up the components first and projected on their sum: project on each, then "
            "add up.",
        ),
    },
    hints=[
        "Two steps: encode the rows into k numbers each, then decode these into d numbers.",
        "X @ V holds <x, v_i> in column i and has shape (n, k). Which matrix leads back to (n, d)?",
        "The columns of V are orthonormal, so the way back is V.T.",
    ],
    grad=True,
)


def matrix_and_vector(seed):
    g = _generator(seed)
    cases = []
    for n, d in ((4, 3), (3, 6), (9, 5)):
        v = torch.randn(d, generator=g)
        cases.append((torch.randn(n, d, generator=g), v / v.norm()))
    return cases


exercise(
    pca.power_iteration_step,
    cases=matrix_and_vector,
    mistakes={
        "not normalised": (
            lambda X, v: X.T @ (X @ v),
            "The direction is right, but its length is not 1: without dividing by the norm it "
            "overflows after some steps.",
        ),
        "half a step": (
            lambda X, v: X @ v / (X @ v).norm(),
            "You stopped at X v, which has one number per row; multiply by X^T to come back to d.",
        ),
        "squared norm": (
            lambda X, v: X.T @ (X @ v) / (X.T @ (X @ v)).square().sum(),
            "You divided by the squared length. Divide by the length, the square root of it.",
        ),
        "largest entry": (
            lambda X, v: X.T @ (X @ v) / (X.T @ (X @ v)).abs().max(),
            "You divided by the largest entry: that gives maximum 1, but a length other than 1.",
        ),
        "added to v": (
            lambda X, v: (v + X.T @ (X @ v)) / (v + X.T @ (X @ v)).norm(),
            "You added X^T X v to v. That also converges, but more slowly: replace v instead.",
        ),
    },
    hints=[
        "Which matrix has the principal components as its eigenvectors, and how do you multiply "
        "by it without building it?",
        "First X @ v, shape (n,); then X.T @ of that, shape (d,).",
        "Divide the result by its norm, w.norm().",
    ],
)


def rows_and_weights(seed):
    g = _generator(seed)
    return [
        (torch.randn(n, d, generator=g), torch.randn(d, k, generator=g) / d**0.5)
        for n, d, k in ((3, 5, 2), (8, 4, 3), (5, 7, 4))
    ]


exercise(
    pca.tied_loss,
    cases=rows_and_weights,
    mistakes={
        "mean over all numbers": (
            lambda X, W: (X - X @ W @ W.T).square().mean(),
            "You averaged over the columns too: sum over the d columns, average over the n rows.",
        ),
        "sum over the rows": (
            lambda X, W: (X - X @ W @ W.T).square().sum(),
            "You summed over the rows, so the loss grows with the batch: average over the n rows.",
        ),
        "length instead of its square": (
            lambda X, W: (X - X @ W @ W.T).norm(dim=1).mean(),
            "You averaged the lengths of the errors: the loss is the mean of their squares.",
        ),
        "absolute error": (
            lambda X, W: (X - X @ W @ W.T).abs().sum(dim=1).mean(),
            "You summed absolute errors: squares are asked for (the others give another model).",
        ),
        "wrong sign": (
            lambda X, W: (X + X @ W @ W.T).square().sum(dim=1).mean(),
            "You added the reconstruction to X: the error is the difference.",
        ),
        "energy kept": (
            lambda X, W: (X @ W @ W.T).square().sum(dim=1).mean(),
            "You measured the size of the reconstruction: compare it with X.",
        ),
    },
    hints=[
        "Encode, decode, subtract: one line gives the errors, shape (n, d).",
        "The decoder is the encoder's transpose: X @ W @ W.T.",
        "Square, sum over dimension 1 (the columns), then take the mean of the n numbers.",
    ],
    grad=True,
)


def half_hidden(seed):
    g = _generator(seed)
    cases = []
    for n, d, k in ((3, 8, 2), (4, 15, 3), (6, 20, 5)):
        visible = torch.zeros(d, dtype=torch.bool)
        visible[torch.randperm(d, generator=g)[: 3 * d // 4]] = True
        X, mean = torch.randn(n, d, generator=g) + 1, torch.randn(d, generator=g) + 1
        cases.append((X, visible, _axes(d, k, g), mean))
    return cases


def _fit(X, visible, V, mean):
    Z = torch.linalg.lstsq(V[visible], (X - mean)[:, visible].T).solution
    return Z.T @ V.T


exercise(
    pca.complete,
    cases=half_hidden,
    mistakes={
        "hidden pixels believed": (
            lambda X, visible, V, mean: mean + (X - mean) @ V @ V.T,
            "You projected all of X, hidden pixels included: their values must have no influence.",
        ),
        "hidden pixels at the mean": (
            lambda X, visible, V, mean: mean + (X - mean)[:, visible] @ V[visible] @ V.T,
            "You used V^T on the visible pixels as if its rows were still orthonormal, which fills "
            "the hidden ones with the mean. Solve least squares for z instead.",
        ),
        "hidden pixels at zero": (
            lambda X, visible, V, mean: mean + (X * visible - mean) @ V @ V.T,
            "You set the hidden pixels to zero and projected: zero is a value like any other. Fit "
            "z to the visible pixels alone.",
        ),
        "mean not subtracted": (
            lambda X, visible, V, mean: mean + _fit(X + mean, visible, V, mean),
            "You fitted V z to x itself: subtract the mean from the visible pixels first.",
        ),
        "mean not added": (
            lambda X, visible, V, mean: _fit(X, visible, V, mean),
            "You returned V z without the mean: it has to be added back.",
        ),
        "visible pixels kept": (
            lambda X, visible, V, mean: torch.where(visible, X, mean + _fit(X, visible, V, mean)),
            "You kept the visible pixels of X. A fair choice for a picture, but here mean + V z is "
            "asked at every pixel.",
        ),
    },
    hints=[
        "The code z of a row has k unknowns, and each visible pixel gives one equation: "
        "x_j - mean_j = sum_i V_ji z_i.",
        "V[visible] keeps the rows of V at the visible pixels, (m, k): the same for all rows of X.",
        "torch.linalg.lstsq(A, B).solution solves for all columns of B (m, n) at once; the rows of "
        "X have to become columns.",
        "Then decode with the whole V: mean + V z gives all d pixels of a row.",
    ],
)
