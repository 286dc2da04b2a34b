"""Non-negative matrix factorisation: X is approximated by W H with no negative number anywhere.

Symbols follow the lecture: X (n, d) holds one user or one image per row, W (n, k) says how much of
each factor a row has, H (k, d) what each factor is made of, and X^ = W H is dense. Where ratings
are missing, a mask (n, d) says which entries were observed, and only those count.

Sources: Lee & Seung 1999 (parts), 2001 (the updates and why the loss cannot rise); Hoyer 2004
(sparseness); Koren, Bell & Volinsky 2009 (biases). Lecture items A6-A8, erratum N39.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def _nonnegative(X: Tensor, name: str = "X") -> Tensor:
    """Return X if it is a finite, non-empty floating-point matrix without negative entries."""
    if not isinstance(X, Tensor):
        raise TypeError(f"{name} should be a torch tensor, got {type(X).__name__}; use as_tensor")
    if X.dim() != 2 or X.numel() == 0:
        raise ValueError(f"{name} should be (n, d) with n, d >= 1, got {tuple(X.shape)}")
    if not X.is_floating_point():
        raise TypeError(f"{name} should hold floating-point numbers, got {X.dtype}; use .float()")
    if not torch.isfinite(X).all():
        raise ValueError(f"{name} holds NaN or infinity; leave missing ratings out, see RatingNMF")
    if (X < 0).any():
        raise ValueError(
            f"{name} holds negative entries, the least is {X.min():.3g}: W H cannot be negative; "
            "do not centre, or subtract the least value"
        )
    return X


def _whole(value, name: str, most: int | None = None) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} should be an integer, got {type(value).__name__} {value!r}")
    if value < 1 or (most is not None and value > most):
        raise ValueError(f"{name} should be between 1 and {most or 'any number'}, got {value}")
    return value


def _amount(value, name: str) -> float:
    if not (isinstance(value, int | float) and 0 <= value < float("inf")):
        raise ValueError(f"{name} should be a finite number >= 0, got {value!r}")
    return float(value)


def random_factor(rows: int, columns: int, level: float, seed: int, like: Tensor) -> Tensor:
    """A start: numbers between 0 and 2 level, so that their mean is `level`. (rows, columns)"""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return (2 * level * start.clamp(min=1e-3)).to(like)


# --- all entries observed


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
    fit = W @ H + 1e-12  # (n, d)
    return (torch.xlogy(X, X) - torch.xlogy(X, fit) - X + fit).sum()


def kl_update(X: Tensor, W: Tensor, H: Tensor) -> Tensor:
    """One multiplicative update of H for the Kullback-Leibler divergence of W H from X.

    H_aj <- H_aj * sum_i W_ia X_ij / (W H)_ij / sum_i W_ia. Returns (k, d); the column sums of
    W H are then those of X. Lee & Seung 2001, eq. 5; probabilistic LSA (Hofmann 1999).
    """
    return H * (W.T @ (X / (W @ H + 1e-12))) / (W.sum(dim=0)[:, None] + 1e-12)


class NMF:
    """X is approximated by W H, all entries of X observed: NMF(k).fit(X), then W, H, history.

    loss: "frobenius", ||X - W H||_F^2 + l1 (sum(W) + sum(H)), or "kl". history[t] is the loss
    after t updates of W and H; it never rises (up to rounding).
    """

    def __init__(self, k: int, loss: str = "frobenius", l1: float = 0.0, seed: int = 0):
        if loss not in ("frobenius", "kl"):
            raise ValueError(f"loss should be 'frobenius' or 'kl', got {loss!r}")
        if loss == "kl" and l1:
            raise ValueError("l1 is for loss='frobenius' only; leave it at 0 with 'kl'")
        self.k, self.loss, self.l1, self.seed = _whole(k, "k"), loss, _amount(l1, "l1"), seed

    def objective(self, X: Tensor) -> float:
        """The loss at the present W and H."""
        if self.loss == "kl":
            return kl_divergence(X, self.W, self.H).item()
        fit = (X - self.W @ self.H).square().sum()
        return (fit + self.l1 * (self.W.sum() + self.H.sum())).item()

    def update(self, X: Tensor, W: Tensor, H: Tensor) -> Tensor:
        """One update of H (of W where everything is transposed)."""
        if self.loss == "kl":
            return kl_update(X, W, H)
        return l1_update(X, W, H, self.l1) if self.l1 else multiplicative_update(X, W, H)

    def fit(self, X: Tensor, updates: int = 200, start=None) -> "NMF":
        """`updates` times W, then H. start: (W, H) to begin with; default: random, from the seed.

        A row of zeros is allowed: nothing is there, and its row of W goes to zero.
        """
        n, d = _nonnegative(X).shape
        k = _whole(self.k, "k", min(n, d))
        _whole(updates, "updates")
        if start is None:
            level = (X.mean() / k).sqrt().item()
            self.W = random_factor(n, k, level, 2 * self.seed, X)
            self.H = random_factor(k, d, level, 2 * self.seed + 1, X)
        else:
            self.W, self.H = (_nonnegative(A, name) for A, name in zip(start, "WH", strict=True))
            if self.W.shape != (n, k) or self.H.shape != (k, d):
                raise ValueError(f"start should be W ({n}, {k}) and H ({k}, {d})")
        self.history = [self.objective(X)]
        for _ in range(updates):
            self.W = self.update(X.T, self.H.T, self.W.T).T  # (n, k)
            self.H = self.update(X, self.W, self.H)  # (k, d)
            self.history.append(self.objective(X))
        return self


# --- some entries observed: ratings


def masked_loss(X: Tensor, mask: Tensor, W: Tensor, H: Tensor) -> Tensor:
    """Squared error over the observed entries only: sum_{ij observed} (X_ij - (W H)_ij)^2.

    X is (n, d), mask (n, d) boolean, W (n, k), H (k, d); returns a scalar. What X holds where
    the mask is False has no influence, be it 0 or NaN. Erratum N39.
    """
    error = torch.where(mask, X - W @ H, 0.0)  # (n, d)
    return (error**2).sum()


def masked_update(
    X: Tensor, mask: Tensor, W: Tensor, H: Tensor, pull: float, prior: float
) -> Tensor:
    """One multiplicative update of H for masked_loss + pull * sum((H - prior)^2), W held fixed.

    H <- H * (W^T (M*X) + pull * prior) / (W^T (M*(W H)) + pull * H), entry by entry, with M*A the
    matrix A with zeros where nothing was observed; 1e-12 is added below the line against 0 / 0.
    X is (n, d), mask (n, d) boolean, W (n, k), H (k, d); returns the new H (k, d). Items A6, A7.
    """
    seen = torch.where(mask, X, 0.0)  # (n, d)
    fit = torch.where(mask, W @ H, 0.0)  # (n, d)
    return H * (W.T @ seen + pull * prior) / (W.T @ fit + pull * H + 1e-12)


def observed_update(
    row: Tensor, column: Tensor, x: Tensor, W: Tensor, Ht: Tensor, pull: float, prior: float
) -> Tensor:
    """masked_update from the list of the m observed entries, in O(m k) instead of O(n d k).

    row, column, x: (m,); W (n, k), Ht = H^T (d, k); pull and prior are numbers, or (k,), one for
    each factor; returns the new H^T (d, k).
    """
    mine = W[row]  # (m, k)
    fit = (mine * Ht[column]).sum(dim=1)  # (m,): (W H) where something was observed
    above = torch.zeros_like(Ht).index_add_(0, column, mine * x[:, None])  # (d, k)
    below = torch.zeros_like(Ht).index_add_(0, column, mine * fit[:, None])
    return Ht * (above + pull * prior) / (below + pull * Ht + 1e-12)


def fold_in(x: Tensor, mask: Tensor, H: Tensor, pull: float, prior: float, updates: int) -> Tensor:
    """The factor degrees of a new row, H held fixed: non-negative least squares by updates of w.

    From w = ones, `updates` times w <- w * (H_m x_m + pull * prior) / (H_m H_m^T w + pull * w),
    with 1e-12 added below the line; H_m and x_m are the observed columns.
    x is (d,), mask (d,) boolean, H (k, d), pull and prior numbers or (k,); returns w (k,) >= 0.
    Lecture item A6.
    """
    H_m, x_m = H[:, mask], x[mask]  # (k, m), (m,)
    w = torch.ones(len(H), dtype=H.dtype, device=H.device)
    for _ in range(updates):
        w = w * (H_m @ x_m + pull * prior) / (H_m @ (w @ H_m) + pull * w + 1e-12)
    return w


def _check_list(user, item, rating, users, items, pull):
    """What a list of ratings has to be; says which user or film is empty where that matters."""
    for name, t in (("user", user), ("item", item), ("rating", rating)):
        if not isinstance(t, Tensor) or t.dim() != 1 or len(t) == 0:
            raise ValueError(f"{name} should be a tensor (m,) with m >= 1")
    if not len(user) == len(item) == len(rating):
        raise ValueError(f"lengths differ: {len(user)} users, {len(item)} items, {len(rating)}")
    _nonnegative(rating[:, None], "rating")
    for name, t, most in (("user", user, users), ("item", item, items)):
        if t.dtype != torch.int64 or t.min() < 0 or t.max() >= most:
            raise ValueError(f"{name} should be int64 between 0 and {most - 1}")
        empty = (torch.bincount(t, minlength=most) == 0).nonzero().flatten().tolist()
        if empty and not pull:
            raise ValueError(
                f"{len(empty)} {name}s have no rating, the first is {name} {empty[0]}: with "
                "pull=0 nothing determines their factors; leave them out or set pull > 0"
            )
    if len(torch.unique(user * items + item)) < len(user):
        raise ValueError("some (user, item) pairs occur twice; keep one rating of each")


class RatingNMF:
    """X^ = W H fitted to a list of ratings: missing ones do not count (erratum N39).

    Minimises sum_observed (x - w_u h_i)^2 + pull (sum (W - prior)^2 + sum (H - prior)^2), where
    k prior^2 is the mean rating: where there is no evidence, the prediction is the mean and not
    zero. So with pull > 0 a user or film without ratings has a defined result; with pull = 0 it
    is an error.

    biases=True appends two factors: (generosity of the user) * 1 and 1 * (quality of the film),
    the ones being held by a pull of 1e9. They share the mean rating but for the 0.5 stars that
    are left to the k tastes. So prior_W, prior_H, pull_W, pull_H are (k,) or (k + 2,).
    After fit: W (users, k or k + 2), H, history. Lecture items A6, A7.
    """

    def __init__(self, k: int, pull: float, biases: bool = False, seed: int = 0):
        self.k, self.pull, self.seed = _whole(k, "k"), _amount(pull, "pull"), seed
        self.biases = bool(biases)

    def _priors(self, mean: Tensor) -> None:
        """What every factor is pulled to, and how strongly."""
        tastes = min(0.5, mean.item() / 2) if self.biases else mean.item()
        p, half = (tastes / self.k) ** 0.5, (mean.item() - tastes) / 2
        ends = {"W": ([half, 1.0], [4.0, 1e9]), "H": ([1.0, half], [1e9, 4.0])}
        for name, (prior, pull) in ends.items():
            prior, pull = (prior, pull) if self.biases else ([], [])
            setattr(self, f"prior_{name}", mean.new_tensor([p] * self.k + prior))
            setattr(self, f"pull_{name}", mean.new_tensor([self.pull] * self.k + pull))

    def fit(self, user, item, rating, users: int, items: int, updates: int = 200, watch=None):
        """`updates` times W, then H. watch(model), if given, is called after each of them."""
        k = _whole(self.k, "k", min(users, items))
        _check_list(user, item, rating, users, items, self.pull)
        self._priors(rating.mean())
        level = self.prior_W[0].item()
        W, Ht = self.prior_W.repeat(users, 1), self.prior_H.repeat(items, 1)
        W[:, :k] = random_factor(users, k, level, 2 * self.seed, rating)
        Ht[:, :k] = random_factor(items, k, level, 2 * self.seed + 1, rating)
        self.history = []
        for _ in range(_whole(updates, "updates")):
            W = observed_update(item, user, rating, Ht, W, self.pull_W, self.prior_W)
            Ht = observed_update(user, item, rating, W, Ht, self.pull_H, self.prior_H)
            self.W, self.H = W, Ht.T  # (users, k), (k, items)
            loss = (rating - self.predict(user, item)).square().sum()
            loss = loss + (self.pull_W * (W - self.prior_W).square()).sum()
            self.history.append((loss + (self.pull_H * (Ht - self.prior_H).square()).sum()).item())
            if watch is not None:
                watch(self)
        return self

    def fold_in(self, x: Tensor, mask: Tensor, updates: int = 300) -> Tensor:
        """The row w of a person who was not in the data: fold_in with this model's priors."""
        return fold_in(x, mask, self.H, self.pull_W, self.prior_W, updates)

    def predict(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted ratings (m,) of the pairs (user, item)."""
        return (self.W[user] * self.H.T[item]).sum(dim=1)


def bias_model(user, item, rating, users: int, items: int, shrink=(5.0, 3.0), sweeps: int = 20):
    """Mean, user biases (users,) and item biases (items,): rating = mean + b_u + c_i + rest.

    Alternating means, each shrunk towards zero as if `shrink` further ratings had been ordinary;
    the baseline of Koren, Bell & Volinsky 2009. shrink=(0, inf) gives user means.
    """
    _check_list(user, item, rating, users, items, pull=1.0)
    mean = rating.mean()
    b, c = rating.new_zeros(users), rating.new_zeros(items)
    n_b, n_c = (torch.bincount(t, minlength=m) for t, m in ((user, users), (item, items)))
    for _ in range(sweeps):
        rest = torch.zeros_like(c).index_add_(0, item, rating - mean - b[user])
        c = rest / (n_c + shrink[1]).clamp(min=1)
        rest = torch.zeros_like(b).index_add_(0, user, rating - mean - c[item])
        b = rest / (n_b + shrink[0]).clamp(min=1)
    return mean, b, c


# --- judging factors and lists


def hit_rate(scores: Tensor, seen: Tensor, user: Tensor, item: Tensor, top: int = 10) -> Tensor:
    """Per user, the share of held-out (user, item) pairs that a list of `top` items would hold.

    Each held-out item competes with all items that its user has neither seen (mask (n, d)) nor
    held out. scores is (n, d); returns (users with a held-out item,), shares between 0 and 1.
    """
    shares = []
    for u in user.unique():
        mine = item[user == u]
        others = scores[u].masked_fill(seen[u], -torch.inf)  # (d,)
        others[mine] = -torch.inf
        shares.append((scores[u, mine] > others.topk(top).values[-1]).double().mean())
    return torch.stack(shares)


def match_factors(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Pair the rows of A (k, d) with rows of B (k, d) so that the sum of |cosine| is largest.

    Returns (order, cosines): B[order[i]] belongs to A[i] with |cos| = cosines[i]. The Hungarian
    method, by scipy.optimize.linear_sum_assignment. Lecture item A8.
    """
    unit = [M / M.norm(dim=1, keepdim=True).clamp(min=1e-12) for M in (A, B)]
    cosines = (unit[0] @ unit[1].T).abs().cpu()  # (k, k)
    row, order = linear_sum_assignment(-np.asarray(cosines))
    return torch.as_tensor(order), cosines[row, order]


def hoyer_sparseness(A: Tensor) -> Tensor:
    """(sqrt(d) - |a|_1 / |a|_2) / (sqrt(d) - 1) of each row of A (m, d): 1 one entry, 0 all equal.

    Hoyer 2004, section 3.1.
    """
    root = A.shape[1] ** 0.5
    ratio = A.abs().sum(dim=1) / A.norm(dim=1).clamp(min=1e-12)
    return (root - ratio) / (root - 1)
