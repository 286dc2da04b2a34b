"""The law of scaling, L(N, D) = E + A/N^α + B/D^β: its optimum, its fit, and how sure the fit is.

N weights, D training tokens, C = 6 N D operations of the training; losses L in nats per token.

Source: Hoffmann et al. 2022 (Chinchilla); Besiroglu et al. 2024; lecture item A62.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize

from genai_utils.inputs import array, number, refusal, whole


class Law(NamedTuple):
    """L(N, D) = E + A / N^α + B / D^β, nats per token (Hoffmann et al. 2022, eq. 2).

    E: what no model can know; A/N^α: the model is too small; B/D^β: it has read too little.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, N, D):
        return self.E + self.A / N**self.alpha + self.B / D**self.beta

    @property
    def exponent(self):
        """a in N_opt ∝ C^a: β / (α + β)."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, C):
        """(N, D) of the smallest loss for C = 6 N D; see `compute_optimal`."""
        return compute_optimal(C, self.A, self.B, self.alpha, self.beta)


LAWS = {
    "Hoffmann et al. 2022": Law(1.69, 406.4, 410.7, 0.34, 0.28),
    "Besiroglu et al. 2024": Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
}


def compute_optimal(C, A, B, alpha, beta):
    """The size and the tokens with the smallest A / N^α + B / D^β for 6 N D = C operations.

        N = G (C/6)^(β/(α+β)),   D = (C/6) / N,   G = (α A / (β B))^(1/(α+β))

    C: a number, or a tensor of any shape. Returns N and D, each like C.
    Source: Hoffmann et al. 2022, eq. 4; lecture item A62.
    """
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    N = G * (C / 6) ** (beta / (alpha + beta))
    return N, C / 6 / N


def law_error(parameters, N, D, loss, delta=1e-3):
    """What a fit of the law minimises: Huber's loss of the error of the logarithm, summed.

        Σ_i Huber_δ( log(exp(e) + exp(a - α log N_i) + exp(b - β log D_i)) - log L_i )

        Huber_δ(r) = r²/2 where |r| ≤ δ, else δ (|r| - δ/2)

    parameters: (5,) a, b, e, α, β, where A = exp(a), B = exp(b), E = exp(e). N, D, loss: (n,).
    Returns a scalar. A sum, not a mean: Besiroglu et al. 2024 found that a mean is so small that
    the search ended too early. a and b may be large: exp(100) is infinite in 32 bits.
    Source: Hoffmann et al. 2022, eq. 3.
    """
    a, b, e, alpha, beta = parameters
    terms = torch.stack([e.expand(len(N)), a - alpha * N.log(), b - beta * D.log()])  # (3, n)
    r = (terms.logsumexp(0) - loss.log()).abs()
    return torch.where(r <= delta, r.square() / 2, delta * (r - delta / 2)).sum()


def _value_and_slope(p, n, d, y, delta):
    """`law_error` and its gradient in NumPy; n, d, y: logarithms. As above, for speed."""
    a, b, e, alpha, beta = p
    terms = np.stack([a - alpha * n, b - beta * d, np.full_like(n, e)])
    most = terms.max(0)
    parts = np.exp(terms - most)
    share = parts / parts.sum(0)  # of each term in L
    r = most + np.log(parts.sum(0)) - y
    small = np.abs(r) <= delta
    value = np.where(small, r**2 / 2, delta * (np.abs(r) - delta / 2)).sum()
    pull = np.where(small, r, delta * np.sign(r))
    slope = [share[0] @ pull, share[1] @ pull, share[2] @ pull]
    return value, np.array([*slope, -(share[0] * n) @ pull, -(share[1] * d) @ pull])


def _runs(N, D, loss):
    runs = [array(v, name, torch.float64).numpy() for v, name in
            ((N, "N"), (D, "D"), (loss, "loss"))]  # fmt: skip
    if len({v.shape for v in runs}) > 1 or runs[0].ndim != 1 or len(runs[0]) < 6:
        shapes = ", ".join(str(v.shape) for v in runs)
        raise refusal("runs", "N, D and loss (n,) of n ≥ 6 runs", shapes, "5 numbers are fitted")
    for v, name in zip(runs, ("N", "D", "loss"), strict=True):
        if not (v > 0).all():
            raise refusal(name, "numbers above 0", f"{v.min():g}")
    return [np.log(v) for v in runs]


def _search(runs, starts, delta):
    n, d, y = runs
    bounds = [(None, None), (None, None), (-4, y.min()), (0.02, 3), (0.02, 3)]
    options = {"maxiter": 5_000, "ftol": 1e-15, "gtol": 1e-10}
    found = [
        minimize(_value_and_slope, start, (n, d, y, delta), "L-BFGS-B", True,
                 bounds=bounds, options=options) for start in starts
    ]  # fmt: skip
    return min(found, key=lambda one: one.fun).x


def _law(p):
    a, b, e, alpha, beta = map(float, p)
    return Law(math.exp(e), math.exp(a), math.exp(b), alpha, beta)


def fit_law(N, D, loss, delta=1e-3):
    """The `Law` that fits runs best: `law_error` minimised by L-BFGS from 16 starts.

    N, D, loss: (n,), n ≥ 6 runs. E lies between 0.02 and the smallest loss, the exponents between
    0.02 and 3. Raises ValueError for fewer runs, unlike lengths, or numbers that are not positive.
    Source: Hoffmann et al. 2022, section 3.3.
    """
    runs = _runs(N, D, loss)
    n, d, y = (v.mean() for v in runs)
    starts = [
        (alpha * n + y - gap, beta * d + y - gap, y - e, alpha, beta)
        for alpha in (0.3, 0.7) for beta in (0.3, 0.7) for e in (0.3, 1.0) for gap in (1.0, 2.0)
    ]  # fmt: skip
    return _law(_search(runs, starts, number(delta, "delta", above=0)))


def bootstrap_laws(N, D, loss, n=200, seed=0, delta=1e-3):
    """n laws, each fitted to as many runs drawn with replacement: how sure is the fit?

    Each search starts at the fit of all runs and at two places near it. A draw of fewer than six
    different runs is drawn again. Raises as `fit_law`.
    """
    runs, best = _runs(N, D, loss), fit_law(N, D, loss, delta)
    middle = [math.log(best.A), math.log(best.B), math.log(best.E), best.alpha, best.beta]
    g, laws = np.random.default_rng(whole(seed, "seed", least=0)), []
    for _ in range(whole(n, "n")):
        index = np.zeros(1, int)
        while len(set(index)) < 6:
            index = g.integers(len(runs[0]), size=len(runs[0]))
        away = [np.multiply(middle, s) for s in (1, 0.8, 1.2)]
        laws.append(_law(_search([v[index] for v in runs], away, delta)))
    return laws


def interval(values, share=0.95):
    """The middle `share` of the values, (low, high), by quantiles."""
    rest = (1 - number(share, "share", above=0, below=1)) / 2
    return tuple(float(q) for q in np.quantile(np.asarray(values, float), (rest, 1 - rest)))


def valley(N, loss):
    """The bottom of an IsoFLOP curve: a parabola of the loss over log N → (N, loss, inside).

    N, loss: (n,), n ≥ 3 runs of one budget. inside: whether the bottom lies between the smallest
    and the largest size and the parabola opens upwards. Where it does not open upwards, the best
    run is returned. Source: Hoffmann et al. 2022, section 3.2.
    """
    x, y = (array(v, name, torch.float64).numpy() for v, name in ((N, "N"), (loss, "loss")))
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3:
        raise refusal("N", "three sizes or more, as many losses", f"{x.shape} and {y.shape}")
    x = np.log(x)
    middle = x.mean()
    c2, c1, c0 = np.polyfit(x - middle, y, 2)
    if c2 <= 0:
        best = y.argmin()
        return float(np.exp(x[best])), float(y[best]), False
    bottom = middle - c1 / (2 * c2)
    inside = bool(x.min() < bottom < x.max())
    return float(np.exp(bottom)), float(c0 - c1**2 / (4 * c2)), inside


def slope(x, y):
    """The exponent of a power law: the slope of log y over log x by least squares."""
    x, y = (np.log(array(v, name, torch.float64).numpy()) for v, name in ((x, "x"), (y, "y")))
    return float(np.polyfit(x, y, 1)[0])
