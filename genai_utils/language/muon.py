"""Muon: steps for the matrices of a network that move every direction alike.

Source: Jordan et al. 2024.
"""

import torch


def orthogonal(G, steps=5):
    """Nearly the nearest matrix with orthonormal rows or columns, (m, n) → (m, n).

    G = U Σ Vᵀ → about U Vᵀ: singular values end between 0.7 and 1.2, small ones included, by
    Newton-Schulz steps X ← aX + (bA + cA²)X with A = XXᵀ, which need products of matrices only.
    Source: Jordan et al. 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G.T if len(G) > len(G.T) else G  # the short side first: A is small
    X = X / (X.norm() + 1e-7)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if len(G) > len(G.T) else X


class Muon(torch.optim.AdamW):
    """Muon for the matrices of the blocks, AdamW for the rest; an `optimizer` for `fit`.

    The averaged gradient of a matrix is replaced by the nearest orthogonal matrix, so that each
    direction moves alike, and scaled to the size of AdamW's steps: one lr serves both.
    Source: Jordan et al. 2024; scale: Liu et al. 2025.
    """

    def __init__(self, model, lr, weight_decay=0.1, momentum=0.95):
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in chosen]
        groups = [{"params": matrices, "momentum": momentum}, {"params": rest, "weight_decay": 0.0}]
        super().__init__(groups, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[0]
        for p in group["params"]:
            if p.grad is None:
                continue
            if "mean" not in self.state[p]:  # AdamW expects a step in every state it loads
                self.state[p] = {"step": torch.tensor(0.0), "mean": torch.zeros_like(p)}
            mean = self.state[p]["mean"]
            mean.lerp_(p.grad, 1 - group["momentum"])
            update = orthogonal(p.grad.lerp(mean, group["momentum"]))  # Nesterov's look ahead
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.sub_(update, alpha=0.2 * max(p.shape) ** 0.5 * group["lr"])
            p.grad = None  # AdamW, which follows, passes over it
        return super().step(closure)
