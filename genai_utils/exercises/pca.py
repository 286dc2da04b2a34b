"""Exercises of notebook 02_pca: from a share of variance to a completed image."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
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


def _flat(seed):
    """The last components, then all but the first, have no variance."""
    cases = []
    for (s,), kept in zip(spectra(seed), (2, 1, 5), strict=True):
        s[kept:] = 0
        cases.append((s,))
    return cases


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
        "percent": (
            lambda s: 100 * s**2 / (s**2).sum(),
            "You returned percent: shares are asked, which sum to one.",
        ),
        "the sum held fixed": (
            lambda s: s**2 / (s**2).sum().detach(),
            "The shares are right, but not their gradient: the sum below the line depends on s, "
            "too, so it may not be detached.",
        ),
    },
    clauses={
        "no variance": Clause(
            cases=_flat,
            says="A component without variance has the share 0 and a finite gradient: s may hold "
            "zeros, and does for n <= d, so take no logarithm and no root of it.",
            broken=lambda s: (2 * s.log()).softmax(0),
        ),
        "any unit": Clause(
            cases=lambda seed: [(1e-5 * s,) for (s,) in spectra(seed)],
            says="The shares sum to one in any unit of the data: nothing may be added to the sum "
            "below the line.",
            broken=lambda s: s**2 / ((s**2).sum() + 1e-8),
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


def _one_row(seed):
    return [(X[:1], V) for X, V in rows_and_axes(seed)]


def _whole_space(seed):
    """As many columns as dimensions."""
    g = _generator(seed)
    return [(torch.randn(n, d, generator=g), _axes(d, d, g)) for n, d in ((5, 3), (4, 6))]


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
        "mean kept": (
            lambda X, V: X.mean(0) + (X - X.mean(0)) @ V @ V.T,
            "You projected around the mean of the rows. Here X is taken as it is; PCA centres "
            "before.",
        ),
        "one V held fixed": (
            lambda X, V: X @ V @ V.T.detach(),
            "The values are right, but V stands in X V V^T twice, and a gradient has to flow "
            "through both: detach neither.",
        ),
        "pseudo-inverse": (
            lambda X, V: X @ V @ torch.linalg.pinv(V),
            "The values are right, but with a (pseudo-)inverse the gradient with respect to V is "
            "another: the columns are orthonormal, so X V V^T is asked.",
        ),
    },
    clauses={
        "one row": Clause(
            cases=_one_row,
            says="A single row comes back as a matrix (1, d): no squeeze.",
            broken=lambda X, V: (X @ V @ V.T).squeeze(),
        ),
        "whole space": Clause(
            cases=_whole_space,
            says="With d columns nothing is lost: all of them count, and X comes back.",
            broken=lambda X, V: X @ V[:, : X.shape[1] - 1] @ V[:, : X.shape[1] - 1].T,
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
    X, v = cases[0]
    return [*cases, (X, -v)]  # one of the two results has its largest entry below 0


def _small_unit(seed):
    return [(1e-4 * X, v) for X, v in matrix_and_vector(seed)]


def _any_length(seed):
    return [(X, scale * v) for X, v in matrix_and_vector(seed) for scale in (0.01, 30)]


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
        "centred": (
            lambda X, v: (lambda Y: Y.T @ (Y @ v) / (Y.T @ (Y @ v)).norm())(X - X.mean(0)),
            "You subtracted the mean of the rows. Here X is taken as it is; PCA centres before.",
        ),
        "sign chosen": (
            lambda X, v: (lambda w: w / w.norm() * w[w.abs().argmax()].sign())(X.T @ (X @ v)),
            "You chose the sign of the result: a step keeps the sign of X^T X v.",
        ),
        "two steps": (
            lambda X, v: (lambda w: w / w.norm())(X.T @ (X @ (X.T @ (X @ v)))),
            "You multiplied by X^T X twice: one step is asked.",
        ),
    },
    clauses={
        "any unit": Clause(
            cases=_small_unit,
            says="The result has length 1 in any unit of X: nothing may be added to the length "
            "that you divide by.",
            broken=lambda X, v: X.T @ (X @ v) / ((X.T @ (X @ v)).norm() + 1e-8),
        ),
        "v of any length": Clause(
            cases=_any_length,
            says="v may have any length; the result has length 1.",
            broken=lambda X, v: (lambda w: w / w.norm() * v.norm())(X.T @ (X @ v)),
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


def _with_zero_rows(seed):
    cases = rows_and_weights(seed)
    for X, _ in cases:
        X[1] = 0
    return cases


def _wide(seed):
    g = _generator(seed)
    return [
        (torch.randn(n, d, generator=g), torch.randn(d, k, generator=g) / k**0.5)
        for n, d, k in ((4, 2, 5), (3, 5, 7))
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
        "W taken as orthonormal": (
            lambda X, W: (X.square().sum() - (X @ W).square().sum()) / len(X),
            "||x||^2 - ||x W||^2 is the error only for orthonormal columns. W is any matrix here: "
            "subtract x W W^T first, then square.",
        ),
        "decoder held fixed": (
            lambda X, W: (X - X @ W @ W.T.detach()).square().sum(dim=1).mean(),
            "The loss is right, but encoder and decoder are one W, and its gradient comes from "
            "both: detach neither.",
        ),
        "target held fixed": (
            lambda X, W: (X.detach() - X @ W @ W.T).square().sum(dim=1).mean(),
            "The loss is right, but not its gradient with respect to X: the target is X as well, "
            "and is not detached.",
        ),
    },
    clauses={
        "exact rows": Clause(
            cases=_with_zero_rows,
            says="A row that is reproduced exactly, such as a row of zeros, has the error 0 and a "
            "finite gradient: no square root on the way.",
            broken=lambda X, W: (X - X @ W @ W.T).square().sum(dim=1).sqrt().square().mean(),
        ),
        "more codes than columns": Clause(
            cases=_wide,
            says="W may be any (d, k), wider than high as well.",
            broken=lambda X, W: (lambda P: (X - X @ P).square().sum() / len(X))(
                W[:, : len(W)] @ W[:, : len(W)].T
            ),
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


def unknown_pixels(seed):
    cases = half_hidden(seed)
    for X, visible, _, _ in cases:
        X[:, ~visible] = torch.nan
    return cases


def _any_columns(seed):
    """Columns that are neither orthonormal nor of ordinary size."""
    g, cases = _generator(seed), []
    for X, visible, V, mean in half_hidden(seed):
        mix = torch.eye(V.shape[1]) + 0.3 * torch.rand(V.shape[1], V.shape[1], generator=g)
        cases += [(X, visible, V @ mix, mean), (X, visible, 1e-3 * V @ mix, mean)]
    return cases


def all_visible(seed):
    cases = [*half_hidden(seed), *_any_columns(seed)]
    return [(X, torch.ones_like(visible), V, mean) for X, visible, V, mean in cases]


def _from_the_hidden(X, visible, V, mean):
    """Right for orthonormal columns, whose V^T V is 1."""
    if visible.all():
        return mean + _fit(X, visible, V, mean)
    gram = torch.eye(V.shape[1]) - V[~visible].T @ V[~visible]
    return mean + torch.linalg.solve(gram, V[visible].T @ (X - mean)[:, visible].T).T @ V.T


def _zero_times_nan(X, visible, V, mean):
    A = V * visible[:, None]
    return mean + torch.linalg.solve(A.T @ A, A.T @ (X - mean).T).T @ V.T


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
        "mean of X": (
            lambda X, visible, V, mean: X.mean(0) + _fit(X, visible, V, X.mean(0)),
            "You used the mean of the rows of X: the mean is an argument, that of the data which V "
            "was made from.",
        ),
        "codes": (
            lambda X, visible, V, mean: (
                torch.linalg.lstsq(V[visible], (X - mean)[:, visible].T).solution.T
            ),
            "You returned the codes z: decode them to d pixels with mean + V z.",
        ),
    },
    clauses={
        "unknown pixels": Clause(
            cases=unknown_pixels,
            says="What X holds at the hidden pixels has no influence, be it NaN. 0 * NaN is NaN: "
            "pick the visible ones, do not multiply by the mask.",
            broken=_zero_times_nan,
        ),
        "all visible": Clause(
            cases=all_visible,
            says="With every pixel visible the result is still mean + V z, the point of the span "
            "nearest to x, and not x.",
            broken=lambda X, visible, V, mean: (
                X.clone() if visible.all() else mean + _fit(X, visible, V, mean)
            ),
        ),
        "any columns": Clause(
            cases=_any_columns,
            says="Nothing is said of the columns of V: they may be neither orthonormal nor of "
            "ordinary size, and least squares is asked, with nothing added to hold z back.",
            broken=_from_the_hidden,
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


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "tied-columns",
        "The tied autoencoder has the loss of (2.1) with W for W₁ and its transpose for W₂. "
        "Nothing in it asks for orthonormal columns. What is WᵀW after the training?",
        "b",
        "The identity, to seven decimals. Of all matrices with the right span, only a projection "
        "rebuilds what it encodes (section 2.6).",
        choices=(
            "some invertible matrix: only the span of W is determined",
            "the identity: the columns become orthonormal by themselves",
            "diagonal, with the variances of the components",
        ),
    ),
)
