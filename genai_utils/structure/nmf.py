"""Non-negative matrix factorisation: X is approximated by W H with no negative number anywhere.

Symbols follow the lecture: X (n, d) holds one user or one image per row, W (n, k) says how much of
each factor a row has, H (k, d) what each factor is made of, and X^ = W H is dense. Where ratings
are missing, a mask (n, d) says which entries were observed, and only those count.

Sources: Lee & Seung 1999 (parts), 2001 (the updates and why the loss cannot rise); Hoyer 2004
(sparseness); Cichocki, Zdunek & Amari 2007 (row by row); Koren, Bell & Volinsky 2009 (biases).
Lecture items A6-A8, erratum N39.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_utils.inputs import array, number, one_of, whole
from genai_utils.structure.factors import (  # noqa: F401, chapter 3 knows them from here
    hoyer_sparseness,
    match_factors,
    nonnegative,
    random_factor,
    scale_of,
)
from genai_utils.structure.ratings import (  # noqa: F401, chapter 3 knows them from here
    RatingNMF,
    bias_model,
    fold_in,
    hit_rate,
    masked_loss,
    masked_update,
    observed_update,
)


def multiplicative_update(X: Tensor, W: Tensor, H: Tensor) -> Tensor:
    """One multiplicative update of H for ||X - W H||_F^2, W held fixed.

    H <- H * (W^T X) / (W^T W H), entry by entry; 1e-12 is added below the line against 0 / 0.
    X is (n, d), W (n, k), H (k, d), all >= 0; returns the new H (k, d) >= 0. W is updated by the
    same function, transposed: W^T <- update(X^T, H^T, W^T). Lee & Seung 2001, eq. 4; item A7.
    """
    return H * (W.T @ X) / (W.T @ W @ H + 1e-12)


def l1_update(X: Tensor, W: Tensor, H: Tensor, l1: float) -> Tensor:
    """One multiplicative update of H for ||X - W H||_F^2 + l1 * sum(H), W held fixed.

    The penalty joins the part of the gradient that is positive, halved like the rest of it:
    H <- H * (W^T X) / (W^T W H + l1 / 2); 1e-12 is added below the line against 0 / 0.
    X is (n, d), W (n, k), H (k, d), all >= 0; returns the new H (k, d). Hoyer 2002; item A8.
    """
    return H * (W.T @ X) / (W.T @ W @ H + l1 / 2 + 1e-12)


def kl_divergence(X: Tensor, W: Tensor, H: Tensor) -> Tensor:
    """sum_ij x log(x / x^) - x + x^ with x^ = (W H)_ij, in nats; a scalar >= 0. (Lee & Seung)"""
    X = array(X, "X", finite=False)
    fit = W @ H + 1e-12 * scale_of(X)[0]  # (n, d)
    return (torch.xlogy(X, X) - torch.xlogy(X, fit) - X + fit).sum()


def kl_update(X: Tensor, W: Tensor, H: Tensor) -> Tensor:
    """One multiplicative update of H for the Kullback-Leibler divergence of W H from X.

    H_aj <- H_aj * sum_i W_ia X_ij / (W H)_ij / sum_i W_ia. Returns (k, d); the column sums of
    W H are then those of X. Lee & Seung 2001, eq. 5; probabilistic LSA (Hofmann 1999).
    """
    X = array(X, "X", finite=False)
    unit, half = scale_of(X)
    return H * (W.T @ (X / (W @ H + 1e-12 * unit))) / (W.sum(dim=0)[:, None] + 1e-12 * half)


def multiply(A: Tensor, G: Tensor, H: Tensor, l1: float = 0.0) -> Tensor:
    """`l1_update` of H (k, d) from the two products that it needs: A = W^T X and G = W^T W."""
    return H * A / (G @ H + l1 / 2 + 1e-12)


def row_by_row(A: Tensor, G: Tensor, H: Tensor, l1: float = 0.0) -> Tensor:
    """Each row of H (k, d) in turn set to its best value >= 0, the rows before it being new.

    H_a <- max(0, H_a + (A - G H - l1 / 2)_a / G_aa) with A = W^T X (k, d) and G = W^T W (k, k), for
    ||X - W H||_F^2 + l1 sum(H), W held fixed. Returns the new H. A row that W makes no use of stays
    as it is, and may come back. "Hierarchical alternating least squares" (Cichocki, Zdunek & Amari
    2007); entry by entry it is coordinate descent.
    """
    H, curve = H.clone(memory_format=torch.contiguous_format), G.diagonal()[:, None]
    curve = torch.where(curve > 0, curve, torch.inf)  # half the second derivative by an entry
    A, G = (A - l1 / 2) / curve, G / curve
    for h, a, g in zip(H, A, G, strict=True):  # h is a view: H changes with it
        h.add_(torch.addmv(a, H.T, g, alpha=-1)).clamp_(min=0)  # a - g H
    return H


class NMF:
    """X is approximated by W H, all entries of X observed: NMF(k).fit(X), then W, H, history.

    loss: "frobenius", ||X - W H||_F^2 + l1 (sum(W) + sum(H)), or "kl". solver: "mu",
    multiplicative updates, or "hals", row by row, much quicker to the same loss. inner: how often W
    is updated, and then H, from the same products with X, which take most of the time (Gillis &
    Glineur 2012). Both are for "frobenius". history[t] is the loss after t updates of W and H; it
    never rises (up to rounding).
    """

    def __init__(
        self, k: int, loss: str = "frobenius", l1: float = 0.0, seed: int = 0, solver: str = "mu",
        inner: int = 1,
    ):  # fmt: skip
        self.k, self.seed, self.inner = whole(k, "k"), whole(seed, "seed", 0), whole(inner, "inner")
        self.loss, self.l1 = one_of(loss, "loss", ("frobenius", "kl")), number(l1, "l1", least=0)
        self.solver = one_of(solver, "solver", ("mu", "hals"))
        if loss == "kl" and (l1 or solver != "mu" or inner != 1):
            raise ValueError("l1, solver and inner: for loss='frobenius' only")

    def objective(self, X: Tensor) -> float:
        """The loss at the present W and H."""
        X = nonnegative(X)
        unit, half = scale_of(X)
        X, W, H = X / unit, self.W / half, self.H / half
        return self._loss(self._error(X, W, H), W, H, unit)

    def _error(self, X, W, H) -> Tensor:
        """Squared error or divergence, entry by entry."""
        if self.loss == "kl":
            return kl_divergence(X, W, H)
        return F.mse_loss(W @ H, X, reduction="sum")

    def _loss(self, error: Tensor, W, H, unit: float) -> float:
        """The loss, of what is in the unit of `scale_of`."""
        if self.loss == "kl":
            return unit * error.item()
        return unit**2 * (error + self.l1 * unit**-1.5 * (W.sum() + H.sum())).item()

    def _update(self, X, W, H, l1: float, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """New W and H, and their error, in the unit of `scale_of`. square: ||X||^2.

        Of X the updates need the products X H^T and W^T X only, and the second gives the error too:
        ||X - W H||^2 = ||X||^2 - 2 <W^T X, H> + <W^T W, H H^T>. Where hardly anything of ||X||^2 is
        left, this difference would be rounding, and the error is summed entry by entry.
        """
        if self.loss == "kl":
            W = kl_update(X.T, H.T, W.T).T
            H = kl_update(X, W, H)
            return W, H, self._error(X, W, H)
        step = multiply if self.solver == "mu" else row_by_row
        A, G = H @ X.T, H @ H.T
        for _ in range(self.inner):
            W = step(A, G, W.T, l1).T  # (n, k)
        A, G = W.T @ X, W.T @ W
        for _ in range(self.inner):
            H = step(A, G, H, l1)  # (k, d)
        error = square - 2 * (A * H).sum() + (G * (H @ H.T)).sum()
        if error < torch.finfo(X.dtype).eps ** 0.5 * square:
            error = self._error(X, W, H)
        return W, H, error

    def fit(self, X: Tensor, updates: int = 200, start=None) -> "NMF":
        """`updates` times W, then H. start: (W, H) to begin with; default: random, from the seed.

        X may be a sparse matrix of SciPy; it is written out. A row of zeros is allowed: nothing is
        there, and its row of W goes to zero.
        """
        X = nonnegative(X)
        n, d = X.shape
        k = whole(self.k, "k", 1, min(n, d))
        if start is None:
            level = (X.mean() / k).sqrt().item()
            self.W = random_factor(n, k, level, 2 * self.seed, X)
            self.H = random_factor(k, d, level, 2 * self.seed + 1, X)
        else:
            self.W, self.H = (
                nonnegative(A, name).to(X) for A, name in zip(start, "WH", strict=True)
            )
            if self.W.shape != (n, k) or self.H.shape != (k, d):
                raise ValueError(f"start should be W ({n}, {k}) and H ({k}, {d})")
        unit, half = scale_of(X)  # once: a look at X costs as much as an update
        X, W, H = X / unit, self.W / half, self.H / half
        l1, square = self.l1 * half / unit**2, torch.linalg.vector_norm(X, dim=1).square().sum()
        self.history = [self._loss(self._error(X, W, H), W, H, unit)]
        for _ in range(whole(updates, "updates")):
            W, H, error = self._update(X, W, H, l1, square)
            self.history.append(self._loss(error, W, H, unit))
        self.W, self.H = half * W, half * H
        return self
