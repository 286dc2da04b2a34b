"""Exercises of notebook 03_nmf: from a masked loss to sparse factors."""

import torch

from genai_utils.checks import exercise
from genai_utils.structure import nmf

NOTEBOOK = "03_nmf"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _problem(n, d, k, g):
    """Non-negative X (n, d), W (n, k), H (k, d) of about the same size."""
    X = 5 * torch.rand(n, d, generator=g) + 0.1
    W, H = (torch.rand(*shape, generator=g) + 0.1 for shape in ((n, k), (k, d)))
    return X, W, H


def _mask(n, d, g):
    """About 60 % observed, at least one entry in each row and column."""
    mask = torch.rand(n, d, generator=g) < 0.6
    mask[torch.arange(n), torch.arange(n) % d] = True
    mask[torch.arange(d) % n, torch.arange(d)] = True
    return mask


SIZES = ((4, 6, 2), (7, 5, 3), (6, 9, 4))


def masked_matrices(seed):
    g = _generator(seed)
    cases = []
    for n, d, k in SIZES:
        X, W, H = _problem(n, d, k, g)
        cases.append((X, _mask(n, d, g), W, H))
    return cases


exercise(
    nmf.masked_loss,
    cases=masked_matrices,
    mistakes={
        "everything counted": (
            lambda X, mask, W, H: (X - W @ H).square().sum(),
            "You counted all entries: the sum goes over those where the mask is True.",
        ),
        "missing as zero": (
            lambda X, mask, W, H: (torch.where(mask, X, 0.0) - W @ H).square().sum(),
            "You set missing entries to zero and still counted their error: a rating of 0 is a "
            "statement, a missing one is none.",
        ),
        "mean": (
            lambda X, mask, W, H: (X - W @ H)[mask].square().mean(),
            "You averaged over the observed entries: their sum is asked for.",
        ),
        "not squared": (
            lambda X, mask, W, H: (X - W @ H)[mask].abs().sum(),
            "You summed absolute errors: their squares are asked for.",
        ),
        "the missing ones": (
            lambda X, mask, W, H: (X - W @ H)[~mask].square().sum(),
            "You summed over the entries that are missing: True means observed.",
        ),
    },
    hints=[
        "The error of every entry is X - W @ H. Which of them may count?",
        "A boolean mask picks entries: error[mask] is a vector of the observed ones.",
        "Square them and sum.",
    ],
    grad=["W", "H"],
)


def matrices(seed):
    g = _generator(seed)
    return [_problem(n, d, k, g) for n, d, k in SIZES]


exercise(
    nmf.multiplicative_update,
    cases=matrices,
    mistakes={
        "upside down": (
            lambda X, W, H: H * (W.T @ W @ H) / (W.T @ X + 1e-12),
            "Your fraction is upside down: where W H is too small, H has to grow.",
        ),
        "fraction only": (
            lambda X, W, H: (W.T @ X) / (W.T @ W @ H + 1e-12),
            "You returned the factor of change: multiply the present H by it.",
        ),
        "square root": (
            lambda X, W, H: H * ((W.T @ X) / (W.T @ W @ H + 1e-12)).sqrt(),
            "You took the square root of the fraction. That also descends, but more slowly, and "
            "belongs to other losses.",
        ),
        "least squares, clipped": (
            lambda X, W, H: torch.linalg.lstsq(W, X).solution.clamp(min=0),
            "You solved least squares and cut off what is negative: that is no multiplicative "
            "update, and the loss may rise.",
        ),
        "gradient step": (
            lambda X, W, H: (H - 0.01 * (W.T @ W @ H - W.T @ X)).clamp(min=0),
            "You took a gradient step and cut off what is negative: multiply H by a fraction "
            "instead.",
        ),
        "Kullback-Leibler": (
            lambda X, W, H: H * (W.T @ (X / (W @ H))) / W.sum(0)[:, None],
            "This is the update for the Kullback-Leibler divergence; the squared error is asked.",
        ),
    },
    hints=[
        "Three matrices of shape (k, d) are combined entry by entry: H, and one above and one "
        "below the line.",
        "Above the line stands W.T @ X, below it W.T @ W @ H + 1e-12.",
    ],
)


def masked_problems(seed):
    g = _generator(seed)
    cases = []
    for (n, d, k), pull, prior in zip(SIZES, (1.5, 0.5, 4.0), (0.8, 1.2, 0.6), strict=True):
        X, W, H = _problem(n, d, k, g)
        cases.append((X, _mask(n, d, g), W, H, pull, prior))
    return cases


def _zeroed(mask, A):
    return torch.where(mask, A, 0.0)


def _no_mask_below(X, mask, W, H, pull, prior):
    above = W.T @ _zeroed(mask, X) + pull * prior
    return H * above / (W.T @ (W @ H) + pull * H + 1e-12)


def _no_mask(X, mask, W, H, pull, prior):
    return H * (W.T @ X + pull * prior) / (W.T @ (W @ H) + pull * H + 1e-12)


def _no_prior(X, mask, W, H, pull, prior):
    return H * (W.T @ _zeroed(mask, X)) / (W.T @ _zeroed(mask, W @ H) + pull * H + 1e-12)


def _no_pull(X, mask, W, H, pull, prior):
    return H * (W.T @ _zeroed(mask, X)) / (W.T @ _zeroed(mask, W @ H) + 1e-12)


def _pull_without_h(X, mask, W, H, pull, prior):
    above = W.T @ _zeroed(mask, X) + pull * prior
    return H * above / (W.T @ _zeroed(mask, W @ H) + pull + 1e-12)


exercise(
    nmf.masked_update,
    cases=masked_problems,
    mistakes={
        "mask only above the line": (
            _no_mask_below,
            "You masked X but not W H. Then missing ratings count as zeros: below the line, too, "
            "only observed entries may stand.",
        ),
        "no mask": (
            _no_mask,
            "You used all entries of X: those where the mask is False must have no influence.",
        ),
        "pulled to zero": (
            _no_prior,
            "You left out pull * prior above the line, so the factors are pulled to zero, not to "
            "the prior.",
        ),
        "no pull": (
            _no_pull,
            "You left the pull out: it adds pull * prior above and pull * H below the line.",
        ),
        "pull without H": (
            _pull_without_h,
            "You added pull below the line; the gradient of pull * (H - prior)^2 has pull * H "
            "there.",
        ),
    },
    hints=[
        "Start from the update without a mask. Which two products may only see observed entries?",
        "torch.where(mask, A, 0.0) is the matrix A with zeros where nothing was observed.",
        "Above the line: W.T @ (M*X) + pull * prior. Below: W.T @ (M*(W H)) + pull * H + 1e-12.",
    ],
)


def newcomers(seed):
    g = _generator(seed)
    cases = []
    for d, k, pull, updates in ((6, 2, 0.5, 3), (9, 3, 2.0, 5), (12, 4, 1.0, 8)):
        x = 4 * torch.rand(d, generator=g) + 0.5
        mask = _mask(d, 1, g)[:, 0]
        mask[: d // 2] = True
        mask[torch.randint(d // 2, d, (2,), generator=g)] = False
        cases.append((x, mask, torch.rand(k, d, generator=g) + 0.1, pull, 0.9, updates))
    return cases


def _folded(x, mask, H, pull, prior, updates):
    w = torch.ones(len(H))
    for _ in range(updates):
        w = (
            w
            * (H[:, mask] @ x[mask] + pull * prior)
            / (H[:, mask] @ (w @ H[:, mask]) + pull * w + 1e-12)
        )
    return w


exercise(
    nmf.fold_in,
    cases=newcomers,
    mistakes={
        "missing as zero": (
            lambda x, mask, H, pull, prior, updates: _folded(
                x * mask, torch.ones_like(mask), H, pull, prior, updates
            ),
            "You let the missing ratings count as zeros: use the columns of H and the entries of "
            "x where the mask is True.",
        ),
        "mask ignored": (
            lambda x, mask, H, pull, prior, updates: _folded(
                x, torch.ones_like(mask), H, pull, prior, updates
            ),
            "You used all of x: what it holds where the mask is False must have no influence.",
        ),
        "one update": (
            lambda x, mask, H, pull, prior, updates: _folded(x, mask, H, pull, prior, 1),
            "You made one update only: repeat it, always with the newest w.",
        ),
        "predicted ratings": (
            lambda x, mask, H, pull, prior, updates: _folded(x, mask, H, pull, prior, updates) @ H,
            "You returned the predicted ratings w H: the factor degrees w are asked for.",
        ),
        "pulled to zero": (
            lambda x, mask, H, pull, prior, updates: _folded(x, mask, H, pull, 0.0, updates),
            "You left out pull * prior above the line, so w is pulled to zero.",
        ),
    },
    hints=[
        "It is the masked update of a matrix with one row, so the mask can simply pick columns.",
        "H[:, mask] is (k, m), x[mask] is (m,). Start from torch.ones(k).",
        "In the loop: above H_m @ x_m + pull * prior, below H_m @ (w @ H_m) + pull * w + 1e-12.",
    ],
)


def penalised(seed):
    g = _generator(seed)
    return [
        (*_problem(n, d, k, g), l1) for (n, d, k), l1 in zip(SIZES, (3.0, 8.0, 1.5), strict=True)
    ]


exercise(
    nmf.l1_update,
    cases=penalised,
    mistakes={
        "not halved": (
            lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 + 1e-12),
            "You added l1 whole. The gradient of the squared error has a factor 2 that was "
            "cancelled, so the penalty's has to be halved.",
        ),
        "no penalty": (
            lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + 1e-12),
            "You left the penalty out: it adds l1 / 2 below the line.",
        ),
        "above the line": (
            lambda X, W, H, l1: H * (W.T @ X + l1 / 2) / (W.T @ W @ H + 1e-12),
            "You added the penalty above the line, which makes H larger: it belongs below.",
        ),
        "squares penalised": (
            lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 2 * H + 1e-12),
            "You added l1 / 2 times H, as for a penalty on squares: the gradient of sum(H) is 1 "
            "everywhere.",
        ),
        "subtracted above": (
            lambda X, W, H, l1: H * (W.T @ X - l1 / 2).clamp(min=0) / (W.T @ W @ H + 1e-12),
            "You subtracted the penalty above the line. Then zeros appear at once, but the proof "
            "that the loss falls needs it below.",
        ),
    },
    hints=[
        "Write the gradient as (what is positive) - (what is negative): the update multiplies by "
        "negative over positive.",
        "The gradient is 2 W^T W H + l1 - 2 W^T X. Divide it by 2.",
        "Below the line: W.T @ W @ H + l1 / 2 + 1e-12.",
    ],
)
