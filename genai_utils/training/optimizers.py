"""Optimisers beside PyTorch's own: AdamW that spares biases and norms, and Muon.

`fit` takes them ready made, `optimizer=Muon(muon_groups(model, model.blocks), lr=0.01)`, or as a
function of (parameters, lr=…), `optimizer=adamw`. Parts of a model that need steps of their own
(a critic, a value head) are groups of one optimiser: each keeps its own lr, betas and decay.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genai_utils.inputs import refusal

from .shards import spread, whole


def adamw(
    parameters: Iterable[Tensor],
    lr: float,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.99),
) -> torch.optim.AdamW:
    """AdamW whose weight decay leaves biases and norms alone; an `optimizer` for `fit`."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


def orthogonal(G: Tensor, steps: int = 5) -> Tensor:
    """Nearly the nearest matrices with orthonormal rows or columns, (…, m, n) → (…, m, n).

    G = U Σ Vᵀ → about U Vᵀ: singular values end between 0.7 and 1.2, small ones included, by
    Newton-Schulz steps X ← aX + (bA + cA²)X with A = XXᵀ, which need products of matrices only.
    A matrix of norm far below 1e-7 counts as zero, and zeros stay zero.
    Source: Jordan et al. 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = G.shape[-2] > G.shape[-1]
    X = G.mT if tall else G  # the short side first: A is small
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X.mT if tall else X


def muon_groups(model: nn.Module, blocks: nn.Module) -> list[dict]:
    """The groups of `Muon`: the matrices inside `blocks` (a part of the model), and the rest.

    The kernels of two-dimensional convolutions count as matrices, see `Muon`.
    Embeddings and the last layer are matrices too, but their rows are looked up or scored one by
    one; they stay with AdamW, without decay, as do biases and norms.
    Raises ValueError where `blocks` holds no matrix of the model that is trained.
    """
    inside = {id(p) for p in blocks.parameters() if p.ndim in (2, 4)}
    weights = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in weights if id(p) in inside]
    rest = [p for p in weights if id(p) not in inside]
    if not matrices:
        raise refusal(
            "blocks", "a part of the model that holds matrices",
            f"{type(blocks).__name__} with none", "pass model.blocks",
        )  # fmt: skip
    return [{"params": matrices, "muon": True}, {"params": rest, "weight_decay": 0.0}]


class Muon(torch.optim.AdamW):
    """Muon for the groups that say so, AdamW for the others; an `optimizer` for `fit`.

    The averaged gradient of a matrix is replaced by the nearest orthogonal matrix, so that each
    direction moves alike, and scaled to the size of AdamW's steps: one lr serves both. A kernel of
    a convolution (C_out, C_in, k, k) is the matrix (C_out, C_in k²) that multiplies its patches.

    groups: dicts as for any optimiser; those with "muon": True hold matrices and kernels only,
        see `muon_groups`. momentum: of Muon's average of the gradients.
    Raises ValueError for a Muon group with something that is no matrix, or for no such group.
    Source: Jordan et al. 2024; scale: Liu et al. 2025.
    """

    def __init__(
        self, groups: Iterable[dict], lr: float, weight_decay: float = 0.1, momentum: float = 0.95
    ):
        groups = [{"muon": False, "momentum": momentum, **group} for group in groups]
        for group in groups:
            group["params"] = list(group["params"])
            shapes = [tuple(p.shape) for p in group["params"]]
            odd = [shape for shape in shapes if group["muon"] and len(shape) not in (2, 4)]
            if odd:
                raise refusal("Muon", "matrices only", f"a weight of shape {odd[0]}")
        if not any(group["muon"] for group in groups):
            raise refusal("Muon", 'a group with "muon": True', "none", "muon_groups makes one")
        super().__init__(groups, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            moved = [p for p in group["params"] if group["muon"] and p.grad is not None]
            for shape in {p.shape for p in moved}:  # matrices of one shape in one product
                self._move([p for p in moved if p.shape == shape], group)
            for p in moved:
                p.grad = None  # AdamW, which follows, passes over it
        return super().step(closure)

    def _move(self, weights: list[Tensor], group: dict) -> None:
        for p in weights:
            if "mean" not in self.state[p]:  # AdamW expects a step in every state it loads
                step = torch.zeros((), device=p.device if group["capturable"] else "cpu")
                self.state[p] = {"step": step, "mean": torch.zeros_like(p)}
        means, gradients = [self.state[p]["mean"] for p in weights], [p.grad for p in weights]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])  # Nesterov's look ahead
        # Where processes share the rows, each needs the whole matrix: it is not worked row by row.
        updates = orthogonal(torch.stack([whole(x).flatten(1) for x in ahead]))
        updates = (updates * (0.2 * max(updates.shape[1:]) ** 0.5) * group["lr"]).unbind()
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(
            weights,
            [spread(x.reshape(p.shape), p) for x, p in zip(updates, weights, strict=True)],
        )
