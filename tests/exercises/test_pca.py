"""Exercises of 02_pca: mistakes named, other wrong answers refused, other right ones accepted."""

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import diagnosis, register

SHELF = register.load("02_pca")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "explained_variance_ratio", "project", "power_iteration_step", "tied_loss", "complete",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 5 and len(one.clauses) >= 2


def loops_project(X, V):
    rows = [sum((x @ v) * v for v in V.T) for x in X]
    return torch.stack(rows)


def loops_tied(X, W):
    return sum(((x - (x @ W) @ W.T) ** 2).sum() for x in X) / len(X)


def trace_tied(X, W):
    P = torch.eye(X.shape[1], dtype=X.dtype) - W @ W.T
    return torch.trace(P.T @ (X.T @ X / len(X)) @ P)


def normal_equations(X, visible, V, mean):
    A = V[visible]
    return mean + torch.linalg.solve(A.T @ A, A.T @ (X - mean)[:, visible].T).T @ V.T


def row_by_row(X, visible, V, mean):
    inverse = torch.linalg.pinv(V[visible])
    return torch.stack([mean + V @ (inverse @ (x - mean)[visible]) for x in X])


def outer_project(X, V):
    return sum(torch.outer(X @ v, v) for v in V.T)


def numpy_step(X, v):
    w = sum((x @ v) * x for x in X)
    return w / float(w @ w) ** 0.5


def gram_tied(X, W):
    """tr S - 2 tr W^T S W + tr W^T S W W^T W, in float64: a difference of large numbers."""
    X, W = X.double(), W.double()
    S = X.T @ X / len(X)
    return S.trace() - 2 * (W.T @ S @ W).trace() + (W.T @ S @ W @ W.T @ W).trace()


def numpy_complete(X, visible, V, mean):
    seen = visible.numpy()
    Z, *_ = np.linalg.lstsq(V.numpy()[seen], (X - mean).numpy()[:, seen].T, rcond=None)
    return torch.as_tensor(mean.numpy() + (V.numpy() @ Z).T)


def qr_complete(X, visible, V, mean):
    X, V, mean = X.double(), V.double(), mean.double()
    Q, R = torch.linalg.qr(V[visible])
    Z = torch.linalg.solve_triangular(R, Q.T @ (X - mean)[:, visible].T, upper=True)
    return mean + Z.T @ V.T


RIGHT = [
    ("explained_variance_ratio", lambda s: F.normalize(s, dim=0).square()),
    ("explained_variance_ratio", lambda s: (s.double() / s.max()) ** 2
        / ((s.double() / s.max()) ** 2).sum()),
    ("project", outer_project),
    ("project", lambda X, V: X - X @ (torch.eye(len(V)) - V @ V.T)),
    ("power_iteration_step", numpy_step),
    ("power_iteration_step", lambda X, v: F.normalize(
        torch.einsum("nd,ne,e->d", X.double(), X.double(), v.double()), dim=0)),
    ("tied_loss", gram_tied),
    ("tied_loss", lambda X, W: torch.linalg.matrix_norm(
        X - torch.einsum("nd,dk,ek->ne", X, W, W)) ** 2 / X.shape[0]),
    ("complete", numpy_complete),
    ("complete", qr_complete),
    ("explained_variance_ratio", lambda s: s.square() / s.square().sum()),
    ("explained_variance_ratio", lambda s: torch.stack([(t / s.norm()) ** 2 for t in s])),
    ("project", lambda X, V: torch.einsum("nd,dk,ek->ne", X, V, V)),
    ("project", loops_project),
    ("project", lambda X, V: (X.double() @ (V @ V.T).double())),
    ("power_iteration_step", lambda X, v: torch.nn.functional.normalize(X.T @ X @ v, dim=0)),
    ("power_iteration_step", lambda X, v: torch.from_numpy(
        (lambda w: w / np.linalg.norm(w))((X.T @ (X @ v)).numpy()))),
    ("tied_loss", loops_tied),
    ("tied_loss", trace_tied),
    ("tied_loss", lambda X, W: torch.nn.functional.mse_loss(X @ W @ W.T, X) * X.shape[1]),
    ("complete", normal_equations),
    ("complete", row_by_row),
]  # fmt: skip


def multiplied_complete(X, visible, V, mean):
    """0 * NaN where a hidden pixel is unknown."""
    inverse = torch.linalg.inv(V[visible].T @ V[visible])
    return mean + ((X - mean) * visible) @ V @ inverse @ V.T


def ridge_complete(X, visible, V, mean, ridge=1e-6):
    A = V[visible]
    gram = A.T @ A + ridge * torch.eye(V.shape[1])
    return mean + torch.linalg.solve(gram, A.T @ (X - mean)[:, visible].T).T @ V.T


def projected_complete(X, visible, V, mean):
    if visible.all():
        return mean + (X - mean) @ V @ V.T
    return normal_equations(X, visible, V, mean)


def idle_complete(X, visible, V, mean):
    return X.clone() if visible.all() else normal_equations(X, visible, V, mean)


WRONG = [
    ("explained_variance_ratio", lambda s: s**2 / ((s**2).sum() + 1e-8)),
    ("explained_variance_ratio", lambda s: s.clamp(min=1e-2) ** 2 / (s**2).sum()),
    ("explained_variance_ratio", lambda s: torch.softmax(2 * s.log(), 0)),
    ("explained_variance_ratio", lambda s: s.detach() ** 2 / (s**2).sum()),
    ("explained_variance_ratio", lambda s: torch.as_tensor(s.detach().numpy() ** 2)
        / float((s.detach() ** 2).sum())),
    ("explained_variance_ratio", lambda s: torch.round(s**2 / (s**2).sum(), decimals=3)),
    ("project", lambda X, V: (X @ V @ V.T).squeeze()),
    ("project", lambda X, V: X.mean(0) + (X - X.mean(0)) @ V @ V.T),
    ("project", lambda X, V: X @ V @ V.detach().T),
    ("project", lambda X, V: F.normalize(X @ V @ V.T)),
    ("project", lambda X, V: torch.stack([sum((x @ v) * x for v in V.T) for x in X])),
    ("project", lambda X, V: V @ V.T @ X.T),
    ("power_iteration_step", lambda X, v: X.T @ (X @ v) / ((X.T @ (X @ v)).norm() + 1e-8)),
    ("power_iteration_step", lambda X, v: F.normalize(X.T @ (X @ v), dim=0) * v.norm()),
    ("power_iteration_step", lambda X, v: X.T @ (X @ v) / (X @ v).square().sum()),
    ("power_iteration_step", lambda X, v: F.normalize(X.T @ (X @ (X.T @ (X @ v))), dim=0)),
    ("power_iteration_step", lambda X, v: F.normalize(X.T @ (X @ v), dim=0).abs()),
    ("power_iteration_step", lambda X, v: F.normalize(
        (X - X.mean(0)).T @ ((X - X.mean(0)) @ v), dim=0)),
    ("tied_loss", lambda X, W: (X - X @ W @ W.T).square().sum(1).mean().item()),
    ("tied_loss", lambda X, W: (X - X @ W @ W.T).square().sum(1)),
    ("tied_loss", lambda X, W: (X.detach() - X @ W @ W.T).square().sum(1).mean()),
    ("tied_loss", lambda X, W: (X - F.relu(X @ W) @ W.T).square().sum(1).mean()),
    ("tied_loss", lambda X, W: (X.square().sum() - (X @ W).square().sum()) / len(X)),
    ("tied_loss", lambda X, W: ((X - X @ W @ W.T).square().sum(1).sqrt() ** 2).mean()),
    ("complete", multiplied_complete),
    ("complete", ridge_complete),
    ("complete", projected_complete),
    ("complete", idle_complete),
    ("complete", lambda X, visible, V, mean: normal_equations(X, visible, V, X.mean(0))),
    ("complete", lambda X, visible, V, mean: torch.linalg.lstsq(
        V[visible], (X - mean)[:, visible].T).solution.T),
    ("explained_variance_ratio", lambda s: s**2 / (len(s) - 1)),
    ("explained_variance_ratio", lambda s: (s**2 / (s**2).sum()).flip(0)),
    ("explained_variance_ratio", lambda s: torch.softmax(s**2, 0)),
    ("explained_variance_ratio", lambda s: s**2 / (s**2).sum().detach()),      # gradient cut off
    ("project", lambda X, V: X @ V @ V.T / len(X)),
    ("project", lambda X, V: X @ V.abs() @ V.abs().T),
    ("project", lambda X, V: X),
    ("project", lambda X, V: X @ (V / V.norm()) @ V.T),
    ("project", lambda X, V: (X @ V).detach() @ V.T),
    ("power_iteration_step", lambda X, v: v),
    ("power_iteration_step", lambda X, v: -X.T @ (X @ v) / (X.T @ (X @ v)).norm()),
    ("power_iteration_step", lambda X, v: torch.linalg.svd(X).Vh[0]),
    ("power_iteration_step", lambda X, v: X.T @ (X @ v) / (X.T @ (X @ v)).abs().sum()),
    ("tied_loss", lambda X, W: (X - X @ W @ W.T).square().sum(0).mean()),
    ("tied_loss", lambda X, W: (X - X @ W @ torch.linalg.pinv(W)).square().sum(1).mean()),
    ("tied_loss", lambda X, W: 0.5 * (X - X @ W @ W.T).square().sum(1).mean()),
    ("tied_loss", lambda X, W: (X - X @ W.detach() @ W.T).square().sum(1).mean()),
    ("tied_loss", lambda X, W: (X - X.mean(0) - X @ W @ W.T).square().sum(1).mean()),
    ("complete", lambda X, visible, V, mean: X),
    ("complete", lambda X, visible, V, mean: normal_equations(X, ~visible, V, mean)),
    ("complete", lambda X, visible, V, mean: normal_equations(X, visible, V[:, :1], mean)),
    ("complete", lambda X, visible, V, mean: normal_equations(X, visible, V, mean)[:, visible]),
    ("complete", lambda X, visible, V, mean:
        normal_equations(X[:1], visible, V, mean).expand(len(X), -1)),
]  # fmt: skip


def test_an_answer_that_changes_its_input_is_refused():
    def project(X, V):
        X -= X - X @ V @ V.T
        return X

    found = diagnosis.diagnose(SHELF["project"], project)
    assert found.state == "not yet" and "in place" in found.sentence
