"""Exercises of 03_nmf: answers written independently of the exercise file."""

import numpy as np
import torch

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
    return H - H / (W.T @ W @ H) * gradient


def loops_update(X, W, H):
    new = torch.empty_like(H)
    for a in range(H.shape[0]):
        for j in range(H.shape[1]):
            new[a, j] = H[a, j] * (W[:, a] @ X[:, j]) / (W[:, a] @ (W @ H[:, j]))
    return new


def columns_update(X, mask, W, H, pull, prior):
    columns = []
    for j in range(X.shape[1]):
        Wj, xj, h = W[mask[:, j]], X[mask[:, j], j], H[:, j]
        columns.append(h * (Wj.T @ xj + pull * prior) / (Wj.T @ Wj @ h + pull * h))
    return torch.stack(columns, dim=1)


def masked_gradient(X, mask, W, H, pull, prior):
    H = H.clone().requires_grad_()
    loss = ((X - W @ H)[mask].square().sum() + pull * (H - prior).square().sum()) / 2
    (gradient,) = torch.autograd.grad(loss, H)
    H = H.detach()
    return H - H / (W.T @ (mask * (W @ H)) + pull * H) * gradient


def einsum_fold(x, mask, H, pull, prior, updates):
    A, b = np.asarray(H[:, mask], float), np.asarray(x[mask], float)
    gram, target = A @ A.T + pull * np.eye(len(A)), A @ b + pull * prior
    w = np.ones(len(A))
    for _ in range(updates):
        w = w * target / (gram @ w)
    return torch.as_tensor(w)


def fold_by_rows(x, mask, H, pull, prior, updates):
    w = torch.ones(1, H.shape[0])
    for _ in range(updates):
        w = columns_update(x[:, None], mask[:, None], H.T, w.T, pull, prior).T
    return w[0]


def l1_gradient(X, W, H, l1):
    H = H.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((X - W @ H).square().sum() + l1 * H.sum(), H)
    H = H.detach()
    return H - H / (2 * W.T @ W @ H + l1) * gradient


RIGHT = [
    ("masked_loss", loops_loss),
    ("masked_loss", lambda X, mask, W, H: (mask * (X - torch.einsum("ia,aj", W, H)) ** 2).sum()),
    ("masked_loss", lambda X, mask, W, H: (X[mask] - (W @ H)[mask]).norm() ** 2),
    ("multiplicative_update", scaled_gradient),
    ("multiplicative_update", loops_update),
    ("multiplicative_update", lambda X, W, H: H.double() * (W.T @ X) / (W.T @ (W @ H))),
    ("masked_update", columns_update),
    ("masked_update", masked_gradient),
    ("fold_in", einsum_fold),
    ("fold_in", fold_by_rows),
    ("l1_update", l1_gradient),
    ("l1_update", lambda X, W, H, l1: 2 * H * (W.T @ X) / (2 * W.T @ W @ H + l1)),
]  # fmt: skip


# ---------------------------------------------------------------- wrong


def mask_on_x(X, mask, W, H):
    return (X * mask - (W @ H) * mask).abs().sum() ** 2


def rows_first(X, mask, W, H, pull, prior):
    weights = mask.float().mean(dim=1, keepdim=True)
    return H * (W.T @ (weights * X)) / (W.T @ (weights * (W @ H)) + pull * H)


WRONG = [
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

    names = ["masked_loss", "multiplicative_update", "masked_update", "fold_in", "l1_update"]
    assert list(register.load("nmf")) == names
    assert {name for name, _ in RIGHT + WRONG} == set(names)
