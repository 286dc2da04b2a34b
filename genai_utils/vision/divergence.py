"""Divergences, maximum likelihood, and the smallest generator. Lecture items A37–A40.

The story of the file: three ways to say how far a distribution is from another one, and a generator
with two parameters that is fitted by each of them. The generators of images are in `mixture`.

P is the data, Q the model (the lecture's P_g). Every function takes log-probabilities, since on a
fine grid probabilities such as exp(-3000) would round to zero and a divergence to infinity. All
divergences are in nats.

Sources: Kullback & Leibler 1951; Lin 1991 (Jensen-Shannon); Minka 2005 (alpha divergences).
"""

import math

import numpy as np
import scipy.optimize
import torch
from torch import nn
from torch.distributions import Normal

from genai_utils import inputs

from .image_model import drawn

# --- How far is Q from P? ------------------------------------------------------------------------


def kl_divergence(log_p, log_q):
    """Kullback-Leibler divergence of Q from P, in nats: forward, if P is the data.

        D_KL(P ‖ Q) = Σ_i p_i (log p_i - log q_i),   0 log 0 = 0

    Infinite where q_i = 0 < p_i. Finite where q_i is only too small for a floating-point number,
    such as exp(-1000). With the arguments exchanged it is the reverse one.
    Shapes: log_p, log_q (..., n), -inf where the probability is zero -> (...).
    Source: Kullback & Leibler 1951; lecture items A37, A38.
    """
    p = log_p.exp()
    return (p * torch.where(p > 0, log_p - log_q, 0.0)).sum(dim=-1)


def reverse_kl(log_p, log_q):
    """D_KL(Q ‖ P) in nats: what A38 asks about. Shapes and arguments as in `kl_divergence`."""
    return kl_divergence(log_q, log_p)


def js_divergence(log_p, log_q):
    """Jensen-Shannon divergence, in nats: symmetric, and at most log 2 = 0.693.

        D_JS(P, Q) = ½ D_KL(P ‖ M) + ½ D_KL(Q ‖ M),   M = ½ (P + Q)

    Finite even where P and Q do not overlap: then it is log 2. Outcomes that neither can have
    count nothing.
    Shapes: log_p, log_q (..., n), -inf where the probability is zero -> (...).
    Source: Lin 1991, eq. 4.1; lecture item A40.
    """
    neither = (log_p == -math.inf) & (log_q == -math.inf)  # there logaddexp has no gradient
    log_m = torch.logaddexp(*(a.masked_fill(neither, 0.0) for a in (log_p, log_q))) - math.log(2)
    sides = [a.exp() * torch.where(a > -math.inf, a - log_m, 0.0) for a in (log_p, log_q)]
    return 0.5 * (sides[0] + sides[1]).sum(dim=-1)


def alpha_divergence(log_p, log_q, alpha):
    """Alpha divergence, in nats: a dial from the reverse KL (0) to the forward one (1).

        D_α(P ‖ Q) = (1 - Σ_i p_i^α q_i^(1 - α)) / (α (1 - α))

    Its limits are D_KL(P ‖ Q) for α -> 1 and D_KL(Q ‖ P) for α -> 0;
    α = 2 is half of the chi-squared divergence. The sum is taken in the log domain, so that
    probabilities such as exp(-1000) do no harm, to its gradient either.
    Shapes: log_p, log_q (..., n), finite; alpha α, any number but 0 and 1 -> (...).
    Source: Minka 2005, eq. 5.
    """
    terms = alpha * log_p + (1 - alpha) * log_q
    terms = terms.masked_fill((log_p == -math.inf) & (log_q == -math.inf), -math.inf)
    apart = (terms == -math.inf).all(dim=-1, keepdim=True)  # logsumexp has no gradient there
    overlap = torch.logsumexp(terms.masked_fill(apart, 0.0), dim=-1).exp()
    return (1 - overlap.masked_fill(apart[..., 0], 0.0)) / (alpha * (1 - alpha))


DIVERGENCES = {"forward KL": kl_divergence, "reverse KL": reverse_kl, "JS": js_divergence}

# --- Densities on a grid -------------------------------------------------------------------------


def log_masses(log_density, grid):
    """Log-probabilities of the cells of an even grid: log p(x_i) + log(step).

    A divergence of these sums is the midpoint rule for the integral between the densities.
    Shapes: log_density (..., n), grid (n,) -> (..., n).
    Raises ValueError for a grid that is not even and rising.
    """
    steps = grid.diff()
    if len(grid) < 2 or not steps[0] > 0 or not torch.allclose(steps, steps.mean(), rtol=1e-3):
        raise inputs.refusal("grid", "at least two rising points at even distances", "others")
    return log_density + steps[0].log()


def mixture_log_prob(x, weights, means, stds):
    """log of a one-dimensional mixture of normals, in nats: log Σ_k w_k N(x; m_k, s_k²).

    A component of weight 0 is left out, of the gradient, too.
    Shapes: x (...), weights, means, stds (K,) -> (...). Source: lecture item A38.
    """
    x = inputs.array(x, "x", finite=False)
    weights, means, stds = (
        torch.as_tensor(t, dtype=x.dtype, device=x.device) for t in (weights, means, stds)
    )
    total = weights.sum().item()
    if not (weights.min() >= 0 and abs(total - 1) <= 1e-6):
        raise inputs.refusal("weights", "numbers >= 0 with the sum 1", f"the sum {total:.6g}")
    if not (stds > 0).all():
        raise inputs.refusal("stds", "numbers above 0", f"{stds.tolist()}")
    log_w = torch.where(weights > 0, weights, 1.0).log().masked_fill(weights == 0, -math.inf)
    return torch.logsumexp(log_w + Normal(means, stds).log_prob(x[..., None]), dim=-1)


# --- A generator with two parameters -------------------------------------------------------------


class LinearGenerator(nn.Module):
    """The smallest generator: x = g(c) = mu + sigma c with a random code c ~ N(0, 1) (A37).

    Its samples have the density P_g = N(mu, sigma^2). `log_sigma` is learned instead of sigma, so
    that sigma stays positive.
    """

    def __init__(self, mu=0.0, sigma=1.0):
        super().__init__()
        mu, sigma = inputs.number(mu, "mu"), inputs.number(sigma, "sigma", above=0)
        self.mu = nn.Parameter(torch.tensor(mu))
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma)))

    def forward(self, c):
        """g(c): codes of any shape -> as many numbers."""
        return self.mu + self.log_sigma.exp() * c

    def log_prob(self, x):
        """log P_g(x) in nats: (...) -> (...)."""
        return self.density().log_prob(x)

    def density(self, check=True):
        """P_g as a distribution. check: look at its parameters and at each x, which waits for them.

        A training does not: its loss should wait for nothing.
        """
        return Normal(self.mu, self.log_sigma.exp(), validate_args=check)

    def loss(self, x):
        """-1/n Σ_i log P_g(x_i): minus the log-likelihood of a batch, per example (A39)."""
        return -self.density(check=False).log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n, generator=None):
        """n numbers g(c), c ~ N(0, 1)."""
        return self(drawn(torch.randn, inputs.whole(n, "n"), like=self.mu, generator=generator))


def fit_normal(log_p, grid, divergence, start):
    """Minimise divergence(log_p, log_q) over q = N(mu, sigma^2), downhill from one start.

    L-BFGS-B on (mu, log sigma), with PyTorch's gradient; it ends in a local minimum, mostly that
    of the valley in which it starts, which need not be the lowest one. q stays on the grid: mu in
    its middle half, sigma from two steps to an eighth of its width.
    Shapes: log_p (n,) of cells (see `log_masses`), grid (n,), float64; start (mu, sigma).
    Returns (mu, sigma, divergence in nats) as floats. Raises ValueError for a start outside of
    these limits, or a divergence that is no finite number there.
    """
    low, high = grid[0].item(), grid[-1].item()
    middle, width, step = (low + high) / 2, high - low, (grid[1] - grid[0]).item()
    box = (middle - width / 4, middle + width / 4), (2 * step, width / 8)
    if not all(a <= value <= b for value, (a, b) in zip(start, box, strict=True)):
        expected, cure = (
            f"mu in {box[0]} and sigma in {box[1]}",
            "a wider or finer grid allows more",
        )
        raise inputs.refusal("start", expected, f"{tuple(start)}", cure)

    def value_and_slope(point):
        point = torch.tensor(point, dtype=log_p.dtype, requires_grad=True)
        log_q = log_masses(Normal(point[0], point[1].exp()).log_prob(grid), grid)
        value = divergence(log_p, log_q)
        (slope,) = torch.autograd.grad(value, point)
        return value.item(), slope.numpy()

    first = np.array([start[0], math.log(start[1])])
    if not math.isfinite(value_and_slope(first)[0]):
        value = f"an infinite one at {tuple(start)}"
        raise inputs.refusal("start", "a divergence that is a finite number there", value)
    found = scipy.optimize.minimize(
        value_and_slope, first, jac=True, method="L-BFGS-B",
        bounds=[box[0], tuple(map(math.log, box[1]))], options={"ftol": 1e-14, "gtol": 1e-9},
    )  # fmt: skip
    return float(found.x[0]), math.exp(found.x[1]), float(found.fun)


def fit_from_everywhere(log_p, grid, divergence, starts):
    """`fit_normal` from each start: (S, 3) of mu, sigma, divergence, in the order of the starts."""
    fits = [fit_normal(log_p, grid, divergence, start) for start in starts]
    return torch.tensor(fits, dtype=torch.float64)


def minima(fits, room=0.05):
    """The different end points among fits (S, 3), lowest divergence first, and who ends where.

    Returns (ends (M, 3), index (S,) of the end that each start reached). Two ends are one if mu
    and sigma differ by less than `room`.
    """
    ends, index = [], torch.zeros(len(fits), dtype=torch.long)
    for i in fits[:, 2].argsort().tolist():
        near = [j for j, e in enumerate(ends) if (e - fits[i])[:2].abs().max() < room]
        index[i] = near[0] if near else len(ends)
        if not near:
            ends.append(fits[i])
    return torch.stack(ends), index
