"""Exercises of 03_nmf: answers written independently of the exercise file."""

import numpy as np
import torch
import torch.nn.functional as F

# ---------------------------------------------------------------- right


def loops_loss(X, mask, W, H):
    total = 0
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            if mask[i, j]:
                total = total + (X[i, j] - (W[i] * H[:, j]).sum()) ** 2
    return total


def scaled_gradient(X, W, H):
    """Gradient descent on half the squared error with the step H / (W^T W H)."""
    H = H.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((X - W @ H).square().sum() / 2, H)
    H = H.detach()
    return H - H / (W.T @ W @ H + 1e-12) * (gradient + 1e-12)


def loops_update(X, W, H):
    new = torch.empty_like(H)
    for a in range(H.shape[0]):
        for j in range(H.shape[1]):
            new[a, j] = H[a, j] * (W[:, a] @ X[:, j]) / (W[:, a] @ (W @ H[:, j]) + 1e-12)
    return new


def columns_update(X, mask, W, H, pull, prior):
    columns = []
    for j in range(X.shape[1]):
        Wj, xj, h = W[mask[:, j]], X[mask[:, j], j], H[:, j]
        above, below = Wj.T @ xj + pull * prior, Wj.T @ Wj @ h + pull * h + 1e-12
        columns.append(h * above / below)
    return torch.stack(columns, dim=1)


def masked_gradient(X, mask, W, H, pull, prior):
    H = H.clone().requires_grad_()
    loss = ((X - W @ H)[mask].square().sum() + pull * (H - prior).square().sum()) / 2
    (gradient,) = torch.autograd.grad(loss, H)
    H = H.detach()
    below = W.T @ (mask * (W @ H)) + pull * H + 1e-12
    return H - H / below * (gradient + 1e-12)


def einsum_fold(x, mask, H, pull, prior, updates):
    A, b = H[:, mask].double().numpy(), x[mask].double().numpy()
    pull, prior = np.asarray(pull, float), np.asarray(prior, float)
    gram, target = A @ A.T + np.diag(pull * np.ones(len(A))), A @ b + pull * prior
    w = np.ones(len(A))
    for _ in range(updates):
        w = w * target / (gram @ w + 1e-12)
    return torch.as_tensor(w)


def fold_by_rows(x, mask, H, pull, prior, updates):
    """Row by row of H, as loops over plain numbers would."""
    w = torch.ones(len(H), dtype=torch.float64)
    pull, prior = (torch.as_tensor(a).double().expand(len(H)) for a in (pull, prior))
    seen = mask.nonzero().flatten().tolist()
    for _ in range(updates):
        new = w.clone()
        for a, row in enumerate(H.double()):
            above = sum(row[j] * x[j] for j in seen) + pull[a] * prior[a]
            below = sum(row[j] * (w @ H[:, j].double()) for j in seen) + pull[a] * w[a] + 1e-12
            new[a] = w[a] * above / below
        w = new
    return w


def l1_gradient(X, W, H, l1):
    H = H.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((X - W @ H).square().sum() + l1 * H.sum(), H)
    H = H.detach()
    return H - H / (2 * W.T @ W @ H + l1 + 2e-12) * (gradient + 2e-12)


def double_update(X, W, H):
    X, W, H = X.double(), W.double(), H.double()
    below = torch.einsum("na,nb,bd->ad", W, W, H) + 1e-12
    return H * torch.einsum("na,nd->ad", W, X) / below


def listed_loss(X, mask, W, H):
    """Over the list of the observed entries, in float64."""
    i, j = mask.nonzero(as_tuple=True)
    error = X[i, j].double() - torch.einsum("ta,at->t", W[i].double(), H[:, j].double())
    return error @ error


def numpy_masked(X, mask, W, H, pull, prior):
    X, W, H, M = np.where(mask, X, 0.0), W.numpy(), H.numpy(), mask.numpy()
    below = W.T @ np.where(M, W @ H, 0) + pull * H + 1e-12
    return torch.from_numpy(H * (W.T @ X + pull * prior) / below)


def filled_masked(X, mask, W, H, pull, prior):
    above = W.T @ X.masked_fill(~mask, 0) + pull * prior
    return H * above / (W.T @ (mask.to(X.dtype) * (W @ H)) + pull * H + 1e-12)


def again(x, mask, H, pull, prior, updates):
    if updates == 0:
        return torch.ones(H.shape[0])
    w, A = again(x, mask, H, pull, prior, updates - 1), H[:, mask]
    return w * (A @ x[mask] + pull * prior) / (A @ A.T @ w + pull * w + 1e-12)


def filled_fold(x, mask, H, pull, prior, updates):
    above = torch.einsum("kd,d->k", H, torch.where(mask, x, 0.0)) + pull * prior
    gram, w = torch.einsum("kd,ld,d->kl", H, H, mask.to(H.dtype)), H.new_ones(len(H))
    for _ in range(updates):
        w = w * above / (gram @ w + pull * w + 1e-12)
    return w


def columns_l1(X, W, H, l1):
    new = [h * (W.T @ x) / (W.T @ (W @ h) + l1 / 2 + 1e-12) for x, h in zip(X.T, H.T, strict=True)]
    return torch.stack(new, dim=1)


RIGHT = [
    ("masked_loss", loops_loss),
    ("masked_loss", lambda X, mask, W, H: torch.where(
        mask, X - torch.einsum("ia,aj", W, H), 0.0).pow(2).sum()),
    ("masked_loss", listed_loss),
    ("masked_loss", lambda X, mask, W, H: F.mse_loss((W @ H)[mask], X[mask], reduction="sum")),
    ("masked_loss", lambda X, mask, W, H: (X[mask] - (W @ H)[mask]).norm() ** 2),
    ("multiplicative_update", scaled_gradient),
    ("multiplicative_update", loops_update),
    ("multiplicative_update", double_update),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X) / (W.T @ (W @ H)).clamp(min=1e-12)),
    ("masked_update", columns_update),
    ("masked_update", masked_gradient),
    ("masked_update", numpy_masked),
    ("masked_update", filled_masked),
    ("fold_in", einsum_fold),
    ("fold_in", fold_by_rows),
    ("fold_in", again),
    ("fold_in", filled_fold),
    ("l1_update", l1_gradient),
    ("l1_update", columns_l1),
    ("l1_update", lambda X, W, H, l1: 2 * H * (W.T @ X) / (2 * W.T @ W @ H + l1 + 2e-12)),
]  # fmt: skip


# ---------------------------------------------------------------- wrong


def mask_on_x(X, mask, W, H):
    return (X * mask - (W @ H) * mask).abs().sum() ** 2


def rows_first(X, mask, W, H, pull, prior):
    weights = mask.float().mean(dim=1, keepdim=True)
    return H * (W.T @ (weights * X)) / (W.T @ (weights * (W @ H)) + pull * H)


def masked(X, mask, W, H, pull, prior, least=1e-12):
    fit = torch.where(mask, W @ H, 0.0)
    above = W.T @ torch.where(mask, X, 0.0) + pull * prior
    return H * above / (W.T @ fit + pull * H + least)


def fold(x, mask, H, pull, prior, updates, least=1e-12):
    A, w = H[:, mask], torch.ones(len(H))
    for _ in range(updates):
        w = w * (A @ x[mask] + pull * prior) / (A @ (A.T @ w) + pull * w + least)
    return w


def one_number(a):
    return float(torch.as_tensor(a, dtype=torch.float32).max())


def zeros_fold(x, mask, H, pull, prior, updates):
    """Right but for 0 * NaN."""
    return fold(x * mask, torch.ones_like(mask), H * mask, pull, prior, updates)


def keeping(X, W, H):
    """Keeps H where the formula is 0 / 0."""
    below = W.T @ W @ H
    return torch.where(below > 0, H * (W.T @ X) / below, H)


WRONG = [
    ("masked_loss", lambda X, mask, W, H: (mask * (X - W @ H)).square().sum()),
    ("masked_loss", lambda X, mask, W, H: torch.where(mask, (X - W @ H) ** 2, 0.0).sum()),
    ("masked_loss", lambda X, mask, W, H: ((X - W @ H) * mask).square().nansum()),
    ("masked_loss", lambda X, mask, W, H: (X - W @ H)[mask & (X != 0)].square().sum()),
    ("masked_loss", lambda X, mask, W, H: (X - W @ H)[mask].square().mean() * mask.sum()),
    ("masked_loss", lambda X, mask, W, H: (X - W.detach() @ H)[mask].square().sum()),
    ("masked_loss", lambda X, mask, W, H: (X - W @ H)[~X.isnan()].square().sum()),
    ("multiplicative_update", keeping),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X) / (W.T @ W @ H)),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X + 1e-12) / (W.T @ W @ H + 1e-12)),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X) / (W.T @ W @ H + 1e-8)),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X) / (W.T @ W @ H + 1e-6)),
    ("multiplicative_update", lambda X, W, H:
        (H * (W.T @ X) / (W.T @ W @ H + 1e-12)).clamp(min=1e-3)),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        H * (W.T @ (mask * X) + pull * prior) / (W.T @ (mask * (W @ H)) + pull * H + 1e-12)),
    ("masked_update", lambda *given: masked(*given, least=0.0)),
    ("masked_update", lambda *given: masked(*given, least=1e-6)),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        masked(X, mask & (X != 0), W, H, pull, prior)),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        masked(X, mask, W, H, pull if prior else 0.0, prior)),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        masked(X, ~X.isnan(), W, H, pull, prior)),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        masked(X, mask, W, H, pull, 0.0) + pull * prior),
    ("fold_in", zeros_fold),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        fold(x, mask, H, pull, one_number(prior), updates)),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        fold(x, mask, H, one_number(pull), prior, updates)),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        fold(x, mask, H, pull, prior, max(updates, 1))),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        fold(x, mask, H, pull, prior, updates) if mask.any() else torch.zeros(len(H))),
    ("fold_in", lambda *given: fold(*given, least=0.0)),
    ("fold_in", lambda *given: fold(*given, least=1e-5)),
    ("l1_update", lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 2)),
    ("l1_update", lambda X, W, H, l1: H * (W.T @ X + 1e-12) / (W.T @ W @ H + l1 / 2 + 1e-12)),
    ("l1_update", lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 2 + 1e-6)),
    ("l1_update", lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 2 / len(H) + 1e-12)),
    ("l1_update", lambda X, W, H, l1:
        (H * (W.T @ X) / (W.T @ W @ H + l1 / 2 + 1e-12)).clamp(min=1e-2)),
    ("masked_loss", mask_on_x),
    ("masked_loss", lambda X, mask, W, H: (X - W @ H)[mask].norm()),
    ("masked_loss", lambda X, mask, W, H: 0.5 * (X - W @ H)[mask].square().sum()),
    ("masked_loss", lambda X, mask, W, H: (X - (W @ H).detach())[mask].square().sum()),
    ("masked_loss", lambda X, mask, W, H: (X * mask - W @ H * mask).square().mean()),
    ("multiplicative_update", lambda X, W, H: H),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X)),
    ("multiplicative_update", lambda X, W, H: H + (W.T @ X) / (W.T @ W @ H)),
    ("multiplicative_update", lambda X, W, H: H * (W.T @ X) / (W.T @ W @ H).sum()),
    ("multiplicative_update", lambda X, W, H: (H * (W.T @ X) / (W.T @ W @ H)).T),
    ("masked_update", rows_first),
    ("masked_update", lambda X, mask, W, H, pull, prior: H),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        columns_update(X, ~mask, W, H, pull, prior)),
    ("masked_update", lambda X, mask, W, H, pull, prior:
        columns_update(X, mask, W, H, pull, prior * pull)),
    ("fold_in", lambda x, mask, H, pull, prior, updates: torch.ones(len(H))),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        einsum_fold(x, mask, H, 0, prior, updates)),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        torch.linalg.lstsq(H[:, mask].T, x[mask][:, None]).solution[:, 0]),
    ("fold_in", lambda x, mask, H, pull, prior, updates:
        einsum_fold(x, mask, H, pull, prior, updates + 1)),
    ("l1_update", lambda X, W, H, l1: (H - l1 / 2).clamp(min=0)),
    ("l1_update", lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H + l1 / 4)),
    ("l1_update", lambda X, W, H, l1: H * (W.T @ X) / (W.T @ W @ H) / (1 + l1 / 2)),
]  # fmt: skip


def test_tables_name_the_exercises_of_this_chapter():
    from genai_utils.checks import register

    shelf = register.load("nmf")
    assert all(len(one.clauses) >= 3 and len(one.mistakes) >= 5 for one in shelf.values())
    names = ["masked_loss", "multiplicative_update", "l1_update", "masked_update", "fold_in"]
    assert list(shelf) == names
    assert {name for name, _ in RIGHT + WRONG} == set(names)
