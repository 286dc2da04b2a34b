"""Non-negative matrix factorisation: X is approximated by W H with no negative number anywhere.

Symbols follow the lecture: X (n, d) holds one user or one image per row, W (n, k) says how much of
each factor a row has, H (k, d) what each factor is made of, and X^ = W H is dense. Where ratings
are missing, a mask (n, d) says which entries were observed, and only those count.

Sources: Lee & Seung 1999 (parts), 2001 (the updates and why the loss cannot rise); Hoyer 2004
(sparseness); Koren, Bell & Volinsky 2009 (biases). Lecture items A6-A8, erratum N39.
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


class NMF:
    """X is approximated by W H, all entries of X observed: NMF(k).fit(X), then W, H, history.

    loss: "frobenius", ||X - W H||_F^2 + l1 (sum(W) + sum(H)), or "kl". history[t] is the loss
    after t updates of W and H; it never rises (up to rounding).
    """

    def __init__(self, k: int, loss: str = "frobenius", l1: float = 0.0, seed: int = 0):
        self.k, self.seed = whole(k, "k"), whole(seed, "seed", 0)
        self.loss, self.l1 = one_of(loss, "loss", ("frobenius", "kl")), number(l1, "l1", least=0)
        if loss == "kl" and l1:
            raise ValueError("l1 is for loss='frobenius' only; leave it at 0 with 'kl'")

    def objective(self, X: Tensor) -> float:
        """The loss at the present W and H."""
        X = nonnegative(X)
        unit, half = scale_of(X)
        return self._loss(X / unit, self.W / half, self.H / half, unit, half)

    def _loss(self, X, W, H, unit, half) -> float:
        """The loss, of X, W and H in the unit of `scale_of`."""
        if self.loss == "kl":
            return unit * kl_divergence(X, W, H).item()
        penalty = self.l1 * half / unit**2 * (W.sum() + H.sum())
        return unit**2 * (F.mse_loss(W @ H, X, reduction="sum") + penalty).item()

    def _update(self, X: Tensor, W: Tensor, H: Tensor, l1: float) -> Tensor:
        """One update of H (of W where everything is transposed), in the unit of `scale_of`."""
        if self.loss == "kl":
            return kl_update(X, W, H)
        return l1_update(X, W, H, l1) if l1 else multiplicative_update(X, W, H)

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
        self.history = [self._loss(X, W, H, unit, half)]
        for _ in range(whole(updates, "updates")):
            W = self._update(X.T, H.T, W.T, self.l1 * half / unit**2).T  # (n, k)
            H = self._update(X, W, H, self.l1 * half / unit**2)  # (k, d)
            self.history.append(self._loss(X, W, H, unit, half))
        self.W, self.H = half * W, half * H
        return self
