"""Ratings, most of them missing: factors W H and biases fitted to the entries that were observed.

Symbols follow chapter 3: X (n, d) holds one user per row and one film per column, W (n, k) how
much of each factor a user likes, H (k, d) what each film has of it. A mask (n, d) says which
entries were observed, and only those count.

Sources: Lee & Seung 2001 (the updates); Koren, Bell & Volinsky 2009 (biases). Lecture items A6,
A7, erratum N39.
"""

import torch
from torch import Tensor

from genai_utils.inputs import array, matrix, number, refusal, whole
from genai_utils.structure.factors import nonnegative, random_factor, scale_of


def masked_loss(X: Tensor, mask: Tensor, W: Tensor, H: Tensor) -> Tensor:
    """Squared error over the observed entries only: sum_{ij observed} (X_ij - (W H)_ij)^2.

    X is (n, d), mask (n, d) boolean, W (n, k), H (k, d); returns a scalar. What X holds where
    the mask is False has no influence, on the gradient either, be it 0 or NaN. Erratum N39.
    """
    error = torch.where(mask, X - W @ H, 0.0)  # (n, d)
    return (error**2).sum()


def masked_update(
    X: Tensor, mask: Tensor, W: Tensor, H: Tensor, pull: float, prior: float
) -> Tensor:
    """One multiplicative update of H for masked_loss + pull * sum((H - prior)^2), W held fixed.

    H <- H * (W^T (M*X) + pull * prior) / (W^T (M*(W H)) + pull * H), entry by entry, with M*A the
    matrix A with zeros where nothing was observed; 1e-12 is added below the line against 0 / 0.
    X is (n, d), mask (n, d) boolean, W (n, k), H (k, d); returns the new H (k, d). What X holds
    where the mask is False has no influence, be it 0 or NaN. Items A6, A7.
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
    with 1e-12 added below the line against 0 / 0; H_m and x_m are the observed columns, and what
    x holds elsewhere has no influence, be it 0 or NaN. x is (d,), mask (d,) boolean, H (k, d), pull
    and prior numbers or (k,); returns w (k,) >= 0. Lecture item A6.
    """
    H_m, x_m = H[:, mask], x[mask]  # (k, m), (m,)
    w = torch.ones(len(H), dtype=H.dtype, device=H.device)
    for _ in range(updates):
        w = w * (H_m @ x_m + pull * prior) / (H_m @ (w @ H_m) + pull * w + 1e-12)
    return w


def _checked(user, item, rating, users, items, pull):
    """The list of ratings as tensors; says which user or film is empty where that matters."""
    for name, t in (("user", user), ("item", item), ("rating", rating)):
        if getattr(t, "ndim", 1) != 1 or len(t) == 0:
            raise refusal(name, "(m,) numbers with m >= 1", f"{tuple(getattr(t, 'shape', (0,)))}")
    if not len(user) == len(item) == len(rating):
        raise ValueError(f"lengths differ: {len(user)} users, {len(item)} items, {len(rating)}")
    rating = nonnegative(torch.as_tensor(rating)[:, None], "rating")[:, 0]
    users, items = whole(users, "users"), whole(items, "items")
    user, item = (torch.as_tensor(t).to(rating.device) for t in (user, item))
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
    return user, item, rating


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
        self.k, self.pull = whole(k, "k"), number(pull, "pull", least=0)
        self.biases, self.seed = bool(biases), whole(seed, "seed", 0)

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
        user, item, rating = _checked(user, item, rating, users, items, self.pull)
        k = whole(self.k, "k", 1, min(users, items))
        self._priors(rating.mean())
        level = self.prior_W[0].item()
        W, Ht = self.prior_W.repeat(users, 1), self.prior_H.repeat(items, 1)
        W[:, :k] = random_factor(users, k, level, 2 * self.seed, rating)
        Ht[:, :k] = random_factor(items, k, level, 2 * self.seed + 1, rating)
        unit, half = scale_of(rating)

        def updated(row, column, mine, theirs, pull, prior):
            """observed_update in the unit of `scale_of`, which makes its 1e-12 small."""
            x, mine, theirs = rating / unit, mine / half, theirs / half
            return half * observed_update(row, column, x, mine, theirs, pull / unit, prior / half)

        self.history = []
        for _ in range(whole(updates, "updates")):
            W = updated(item, user, Ht, W, self.pull_W, self.prior_W)
            Ht = updated(user, item, W, Ht, self.pull_H, self.prior_H)
            self.W, self.H = W, Ht.T  # (users, k), (k, items)
            loss = (rating - self.predict(user, item)).square().sum()
            loss = loss + (self.pull_W * (W - self.prior_W).square()).sum()
            self.history.append((loss + (self.pull_H * (Ht - self.prior_H).square()).sum()).item())
            if watch is not None:
                watch(self)
        return self

    def fold_in(self, x: Tensor, mask: Tensor, updates: int = 300) -> Tensor:
        """The row w of a person who was not in the data: fold_in with this model's priors."""
        x, mask = array(x, "x", finite=False).to(self.H), torch.as_tensor(mask, dtype=torch.bool)
        return fold_in(x, mask, self.H, self.pull_W, self.prior_W, updates)

    def predict(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted ratings (m,) of the pairs (user, item)."""
        user, item = torch.as_tensor(user), torch.as_tensor(item)
        return (self.W[user] * self.H.T[item]).sum(dim=1)


def bias_model(user, item, rating, users: int, items: int, shrink=(5.0, 3.0), sweeps: int = 20):
    """Mean, user biases (users,) and item biases (items,): rating = mean + b_u + c_i + rest.

    Alternating means, each shrunk towards zero as if `shrink` further ratings had been ordinary;
    the baseline of Koren, Bell & Volinsky 2009. shrink=(0, inf) gives user means.
    """
    user, item, rating = _checked(user, item, rating, users, items, pull=1.0)
    mean = rating.mean()
    b, c = rating.new_zeros(users), rating.new_zeros(items)
    n_b, n_c = (torch.bincount(t, minlength=m) for t, m in ((user, users), (item, items)))
    for _ in range(whole(sweeps, "sweeps", 0)):
        rest = torch.zeros_like(c).index_add_(0, item, rating - mean - b[user])
        c = rest / (n_c + shrink[1]).clamp(min=1)
        rest = torch.zeros_like(b).index_add_(0, user, rating - mean - c[item])
        b = rest / (n_b + shrink[0]).clamp(min=1)
    return mean, b, c


def hit_rate(scores: Tensor, seen: Tensor, user: Tensor, item: Tensor, top: int = 10) -> Tensor:
    """Per user, the share of held-out (user, item) pairs that a list of `top` items would hold.

    Each held-out item competes with all items that its user has neither seen (mask (n, d)) nor
    held out; a list that is longer than these are many holds every item. scores is (n, d); returns
    (users with a held-out item,), shares between 0 and 1.
    """
    scores, top = matrix(scores, "scores", finite=False), whole(top, "top")
    seen, user, item = (torch.as_tensor(t, device=scores.device) for t in (seen, user, item))
    if not len(user) == len(item) > 0:
        raise refusal("user, item", "as many of both, at least one", f"{len(user)} and {len(item)}")
    shares = []
    for u in user.unique():
        mine = item[user == u]
        others = scores[u].masked_fill(seen[u], -torch.inf)  # (d,)
        others[mine] = -torch.inf
        shares.append(
            (scores[u, mine] > others.topk(min(top, len(others))).values[-1]).double().mean()
        )
    return torch.stack(shares)
