"""Exercises of notebook 03_nmf: from a masked loss to sparse factors."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
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


def _with_nan(cases):
    """NaN wherever nothing was observed; X and mask are the first two arguments."""
    return [(X.masked_fill(~mask, torch.nan), mask, *others) for X, mask, *others in cases]


def _with_zeros(cases):
    """About half of the observed entries are 0."""
    return [(X * (X.median() < X), *others) for X, *others in cases]


def _unobserved(cases):
    return [(X, torch.zeros_like(mask), *others) for X, mask, *others in cases]


UNKNOWN = (
    "What X holds where the mask is False has no influence, be it NaN. 0 * NaN is NaN, in a "
    "gradient too: pick the observed entries before anything is computed from them, or use "
    "torch.where(mask, ..., 0.0)."
)
ZERO = "An observed 0 is an observation: the mask alone says what was observed, not the value of X."


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
        "halved": (
            lambda X, mask, W, H: (X - W @ H)[mask].square().sum() / 2,
            "You halved the sum: it makes gradients shorter, but the loss here has no factor.",
        ),
        "root": (
            lambda X, mask, W, H: (X - W @ H)[mask].norm(),
            "You took the square root of the sum: the loss is the sum of squares itself.",
        ),
    },
    clauses={
        "unknown entries": Clause(
            cases=lambda seed: _with_nan(masked_matrices(seed)),
            says=UNKNOWN,
            broken=lambda X, mask, W, H: (mask * (X - W @ H)).square().sum(),
        ),
        "observed zeros": Clause(
            cases=lambda seed: _with_zeros(masked_matrices(seed)),
            says=ZERO,
            broken=lambda X, mask, W, H: (X - W @ H)[mask & (X != 0)].square().sum(),
        ),
        "nothing observed": Clause(
            cases=lambda seed: _unobserved(masked_matrices(seed)),
            says="Where nothing was observed the sum is 0; a mean over no entries is NaN.",
            broken=lambda X, mask, W, H: (X - W @ H)[mask].square().mean() * mask.sum(),
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


def _idle(cases):
    """The first factor is idle: no row has any of it."""
    for _, W, *_ in cases:
        W[:, 0] = 0
    return cases


def _holes(cases):
    """Zeros in H, one in each row."""
    for _, _, H, *_ in cases:
        H[torch.arange(len(H)), torch.arange(len(H))] = 0
    return cases


SMALL = 1e-2  # the size of W and H in a small unit: 1e-12 is still nothing below the line


def _in_a_small_unit(cases):
    return [(SMALL**2 * X, SMALL * W, SMALL * H, *others) for X, W, H, *others in cases]


FLOOR = (
    "Where an idle factor makes it 0 / 0 the new entry is 0: 1e-12 is added below the line, and "
    "only there."
)
TINY = (
    "What is added below the line is 1e-12: a larger number bends the update where the data are "
    "small."
)


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
        "added": (
            lambda X, W, H: H + (W.T @ X) / (W.T @ W @ H + 1e-12),
            "You added the fraction to H: multiply by it.",
        ),
    },
    clauses={
        "0 / 0": Clause(
            cases=lambda seed: _idle(matrices(seed)),
            says=FLOOR,
            broken=lambda X, W, H: H * (W.T @ X) / (W.T @ W @ H),
        ),
        "any unit": Clause(
            cases=lambda seed: _in_a_small_unit(matrices(seed)),
            says=TINY,
            broken=lambda X, W, H: H * (W.T @ X) / (W.T @ W @ H + 1e-8),
        ),
        "zeros stay": Clause(
            cases=lambda seed: _holes(matrices(seed)),
            says="An entry of H that is 0 stays 0, since it is multiplied: H is not lifted to a "
            "least value.",
            broken=lambda X, W, H: (H + 0.05 * (H == 0)) * (W.T @ X) / (W.T @ W @ H + 1e-12),
        ),
    },
    hints=[
        "Three matrices of shape (k, d) are combined entry by entry: H, and one above and one "
        "below the line.",
        "Above the line stands W.T @ X, below it W.T @ W @ H + 1e-12.",
    ],
)


def penalised(seed):
    g = _generator(seed)
    return [
        (*_problem(n, d, k, g), l1) for (n, d, k), l1 in zip(SIZES, (3.0, 8.0, 1.5), strict=True)
    ]


def _no_penalty_idle(seed):
    return [(*case[:-1], 0.0) for case in _idle(penalised(seed))]


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
        "subtracted from H": (
            lambda X, W, H, l1: (H * (W.T @ X) / (W.T @ W @ H + 1e-12) - l1 / 2).clamp(min=0),
            "You made the update without the penalty and subtracted it afterwards: it stands "
            "below the line.",
        ),
    },
    clauses={
        "0 / 0": Clause(
            cases=_no_penalty_idle,
            says=FLOOR,
            broken=lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 2),
        ),
        "any unit": Clause(
            cases=lambda seed: [
                (*case, SMALL**3 * l1) for *case, l1 in _in_a_small_unit(penalised(seed))
            ],
            says=TINY,
            broken=lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 2 + 1e-8),
        ),
        "zeros stay": Clause(
            cases=lambda seed: _holes(penalised(seed)),
            says="An entry of H that is 0 stays 0, since it is multiplied: that is how the penalty "
            "makes H sparse, and H is not lifted to a least value.",
            broken=lambda X, W, H, l1: (
                (H + 0.05 * (H == 0)) * (W.T @ X) / (W.T @ W @ H + l1 / 2 + 1e-12)
            ),
        ),
    },
    hints=[
        "Write the gradient as (what is positive) - (what is negative): the update multiplies by "
        "negative over positive.",
        "The gradient is 2 W^T W H + l1 - 2 W^T X. Divide it by 2.",
        "Below the line: W.T @ W @ H + l1 / 2 + 1e-12.",
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


def _no_pull_no_rating(seed):
    """No pull, and nobody rated the first column."""
    cases = []
    for X, mask, W, H, _, prior in masked_problems(seed):
        mask[:, 0] = False
        cases.append((X, mask, W, H, 0.0, prior))
    return cases


def _masked_in_a_small_unit(seed):
    cases = []
    for X, mask, W, H, _, prior in masked_problems(seed):
        mask[:3] = True  # so that no number below the line is as small as 1e-12
        cases.append((SMALL**2 * X, mask, SMALL * W, SMALL * H, 0.0, SMALL * prior))
    return cases


def _masked_update(X, mask, W, H, pull, prior, least=1e-12):
    above = W.T @ _zeroed(mask, X) + pull * prior
    return H * above / (W.T @ _zeroed(mask, W @ H) + pull * H + least)


def _multiplied_by_the_mask(X, mask, W, H, pull, prior):
    return H * (W.T @ (mask * X) + pull * prior) / (W.T @ (mask * (W @ H)) + pull * H + 1e-12)


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
        "pull above only": (
            lambda X, mask, W, H, pull, prior: (
                H * (W.T @ _zeroed(mask, X) + pull * prior) / (W.T @ _zeroed(mask, W @ H) + 1e-12)
            ),
            "Below the line pull * H is missing, so the factors only grow.",
        ),
        "pull halved": (
            lambda X, mask, W, H, pull, prior: _masked_update(X, mask, W, H, pull / 2, prior),
            "You halved the pull. The gradient of the squared error has the same factor 2 as that "
            "of the pull: both cancel.",
        ),
        "the missing ones": (
            lambda X, mask, W, H, pull, prior: _masked_update(X, ~mask, W, H, pull, prior),
            "You used the entries that are missing: True means observed.",
        ),
    },
    clauses={
        "unknown entries": Clause(
            cases=lambda seed: _with_nan(masked_problems(seed)),
            says=UNKNOWN,
            broken=_multiplied_by_the_mask,
        ),
        "observed zeros": Clause(
            cases=lambda seed: _with_zeros(masked_problems(seed)),
            says=ZERO,
            broken=lambda X, mask, W, H, pull, prior: _masked_update(
                X, mask & (X != 0), W, H, pull, prior
            ),
        ),
        "0 / 0": Clause(
            cases=_no_pull_no_rating,
            says="Without a pull, a column that nobody rated makes it 0 / 0, and the new entries "
            "are 0: 1e-12 is added below the line, and only there.",
            broken=lambda *given: _masked_update(*given, least=0.0),
        ),
        "any unit": Clause(
            cases=_masked_in_a_small_unit,
            says=TINY,
            broken=lambda *given: _masked_update(*given, least=1e-8),
        ),
        "prior of 0": Clause(
            cases=lambda seed: [(*case[:-1], 0.0) for case in masked_problems(seed)],
            says="A prior of 0 pulls to 0: it is a number like any other, and pull * H stays below "
            "the line.",
            broken=lambda X, mask, W, H, pull, prior: _masked_update(
                X, mask, W, H, pull if prior else 0.0, prior
            ),
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


def _unknown_ratings(seed):
    return _with_nan(newcomers(seed))


def _of_each_factor(seed):
    """Pull and prior for each factor: both, then the prior, then the pull."""
    g, cases = _generator(seed), []
    for place, (x, mask, H, pull, prior, updates) in enumerate(newcomers(seed)):
        pulls, priors = (a * (0.3 + torch.rand(len(H), generator=g)) for a in (pull, prior))
        pull, prior = ((pulls, priors), (pull, priors), (pulls, prior))[place]
        cases.append((x, mask, H, pull, prior, updates))
    return cases


def _nobody(seed):
    return [(x, mask & False, *others) for x, mask, *others in newcomers(seed)]


def _no_pull_unseen_factor(seed):
    """No pull, and no rated column has any of the first factor."""
    cases = []
    for x, mask, H, _, prior, updates in newcomers(seed):
        H[0, mask] = 0
        cases.append((x, mask, H, 0.0, prior, updates))
    return cases


def _ratings_in_a_small_unit(seed):
    small = 3e-4
    return [
        (small * x, mask, small * H, 0.0, prior, updates)
        for x, mask, H, _, prior, updates in newcomers(seed)
    ]


def _folded(x, mask, H, pull, prior, updates, least=1e-12):
    H_m, w = H[:, mask], torch.ones(len(H))
    for _ in range(updates):
        w = w * (H_m @ x[mask] + pull * prior) / (H_m @ (w @ H_m) + pull * w + least)
    return w


def _zeros_for_the_missing(x, mask, H, pull, prior, updates):
    """Right where x holds numbers: the columns of H are 0 where nothing was rated."""
    return _folded(x * mask, torch.ones_like(mask), H * mask, pull, prior, updates)


def _mean(a):
    return a.mean().item() if isinstance(a, torch.Tensor) else a


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
        "no pull": (
            lambda x, mask, H, pull, prior, updates: _folded(x, mask, H, 0.0, prior, updates),
            "You left the pull out: it adds pull * prior above and pull * w below the line.",
        ),
        "one update too many": (
            lambda x, mask, H, pull, prior, updates: _folded(x, mask, H, pull, prior, updates + 1),
            "You made one update too many: `updates` of them, from w = ones.",
        ),
        "solved": (
            lambda x, mask, H, pull, prior, updates: torch.linalg.solve(
                H[:, mask] @ H[:, mask].T + pull * torch.eye(len(H)),
                H[:, mask] @ x[mask] + pull * prior,
            ),
            "You solved least squares, whose w may be negative: make the updates, which keep w "
            ">= 0.",
        ),
    },
    clauses={
        "unknown ratings": Clause(
            cases=_unknown_ratings,
            says="What x holds where the mask is False has no influence, be it NaN. 0 * NaN is "
            "NaN: pick the rated entries, do not multiply by the mask.",
            broken=_zeros_for_the_missing,
        ),
        "one for each factor": Clause(
            cases=_of_each_factor,
            says="pull and prior may be numbers or vectors (k,), one entry for each factor: they "
            "are multiplied entry by entry, pull * prior and pull * w.",
            broken=lambda x, mask, H, pull, prior, updates: _folded(
                x, mask, H, _mean(pull), _mean(prior), updates
            ),
        ),
        "no updates": Clause(
            cases=lambda seed: [(*case[:-1], 0) for case in newcomers(seed)],
            says="With updates = 0 the result is the start, w = ones.",
            broken=lambda x, mask, H, pull, prior, updates: _folded(
                x, mask, H, pull, prior, max(updates, 1)
            ),
        ),
        "nothing rated": Clause(
            cases=_nobody,
            says="Without any rating the pull alone acts, and w becomes the prior.",
            broken=lambda x, mask, H, pull, prior, updates: (
                _folded(x, mask, H, pull, prior, updates) if mask.any() else torch.ones(len(H))
            ),
        ),
        "0 / 0": Clause(
            cases=_no_pull_unseen_factor,
            says="Without a pull, a factor that no rated column has makes it 0 / 0, and its degree "
            "becomes 0: 1e-12 is added below the line, and only there.",
            broken=lambda *given: _folded(*given, least=0.0),
        ),
        "any unit": Clause(
            cases=_ratings_in_a_small_unit,
            says=TINY,
            broken=lambda *given: _folded(*given, least=1e-8),
        ),
    },
    hints=[
        "It is the masked update of a matrix with one row, so the mask can simply pick columns.",
        "H[:, mask] is (k, m), x[mask] is (m,). Start from torch.ones(k).",
        "In the loop: above H_m @ x_m + pull * prior, below H_m @ (w @ H_m) + pull * w + 1e-12.",
    ],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "stars-or-lists",
        "Each user gets a list of ten films. Which list holds most of the films that the user "
        "will choose and like?",
        "c",
        "The lists of zero-filled factors hold 20 % of them, popularity 12.5 %, and the factors "
        "that predict stars best fewer than 4 %. What a user watches at all stands in the pattern "
        "of missing ratings, which the mask throws away (section 3.9).",
        choices=(
            "the ten with the most stars by the factors with mask and pull, 0.85 stars off",
            "the ten films that most people liked, the same for everybody",
            "the ten largest entries of the factors that took every gap for a zero, 2.9 stars off",
        ),
    ),
)
