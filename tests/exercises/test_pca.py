"""Exercises of 02_pca: mistakes named, other wrong answers refused, other right ones accepted."""

import numpy as np
import torch

from genai_utils.checks import diagnosis, register

SHELF = register.load("02_pca")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "explained_variance_ratio", "project", "power_iteration_step", "tied_loss", "complete",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 4


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


RIGHT = [
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


WRONG = [
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
