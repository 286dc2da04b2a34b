"""GPTs with a mixture of experts: made new, or from a trained one; their size, and what they do.

`moe_gpt` makes a `gpt.GPT` with a `moe.MoE` in each block, `upcycle` makes one of a trained GPT,
whose MLPs it copies. Shapes: B sequences of T tokens, E experts, k choices for each token.

Source: Fedus, Zoph & Shazeer 2022; Komatsuzaki et al. 2023 (upcycling); Nakamura et al. 2025
(copies that are renewed in part); lecture item A67.
"""

import copy
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.inputs import number, refusal, whole

from .gpt import GPT
from .moe import MoE


def _put_in(model, make, **options):
    for block in model.blocks:
        mixture = MoE(make(block.mlp), model.config.dim, **options)
        block.mlp = mixture.to(next(model.parameters()).device)
    return model


def _new_mlp(model, hidden):
    """An MLP for a block, with GPT-2's first weights from torch's global generator."""
    d = model.config.dim
    mlp = nn.Sequential(nn.Linear(d, hidden), nn.GELU("tanh"), nn.Linear(hidden, d))
    mlp.apply(model.first_weights)
    nn.init.normal_(mlp[2].weight, std=0.02 / math.sqrt(2 * model.config.layers))
    return mlp


def moe_gpt(config, experts=8, k=1, hidden=None, **options):
    """A new `GPT` of that `GPTConfig` with `MoE` in each block.

    hidden: of each expert, 4 d / k by default: a token then costs what it costs in the plain GPT.
    Further options are those of `MoE`. Weights come from torch's global generator.
    """
    whole(experts, "experts"), whole(k, "k", 1, experts)
    hidden = 4 * config.dim // k if hidden is None else whole(hidden, "hidden")
    model = GPT(config)
    return _put_in(
        model, lambda mlp: [_new_mlp(model, hidden) for _ in range(experts)], k=k, **options
    )


def wide_gpt(config, hidden):
    """A new plain `GPT` whose MLPs have that many hidden numbers: all its weights always work."""
    model = GPT(config)
    for block in model.blocks:
        block.mlp = _new_mlp(model, whole(hidden, "hidden"))
    return model


@torch.no_grad()
def renewed(mlp, share, generator=None):
    """A copy of an MLP in which a share of the hidden units, drawn at random, begins anew.

    Their weights are drawn from a normal with the mean and deviation of the old matrices.
    Raises ValueError for a share outside [0, 1], or one above 0 of an MLP with a gate.
    Source: Nakamura et al. 2025 (drop-upcycling).
    """
    new, share = copy.deepcopy(mlp), number(share, "share", least=0, most=1)
    if share == 0:
        return new
    if not isinstance(mlp, nn.Sequential):
        got = type(mlp).__name__
        raise refusal(
            "mlp", "two linear layers, as in a Block, to be renewed", got, "share=0 copies"
        )
    units = torch.rand(new[0].out_features, generator=generator) < share
    units = units.to(new[0].weight.device)
    for weight, mine in ((new[0].weight, units[:, None]), (new[2].weight, units)):
        fresh = torch.randn(weight.shape, generator=generator).to(weight)
        weight.copy_(torch.where(mine, weight.mean() + weight.std() * fresh, weight))
    new[0].bias.masked_fill_(units, 0.0)
    return new


def upcycle(model, experts=8, k=1, share=0.0, gate=None, generator=None, **options):
    """A copy of a trained `GPT` in which each block's MLP has become a mixture of its copies.

    It computes what the model computed, until it is trained on: with share 0, and gates that sum to
    1, which are the usual ones here: "one" for k = 1, "renormalised" for more.
    share: of each copy's hidden units that are `renewed`, so that the copies differ.
    Source: Komatsuzaki et al. 2023; Nakamura et al. 2025.
    """
    whole(experts, "experts"), whole(k, "k", 1, experts)
    gate = gate or ("one" if k == 1 else "renormalised")

    def make(mlp):
        return [renewed(mlp, share, generator) for _ in range(experts)]

    return _put_in(copy.deepcopy(model), make, k=k, gate=gate, **options)


# --- What it costs, and what the experts do ------------------------------------------------------


class Size(NamedTuple):
    """total: weights; active: those that a token passes; flops: operations for a training token."""

    total: int
    active: int
    flops: int


def size_of(model):
    """The `Size` of a GPT, with or without experts.

        flops = 6 · (weights of the matrices that a token passes) + 14 L T d

    as `scaling.flops_per_token`, which it is for a plain GPT. Slots that stay empty, or a capacity
    above 1, cost operations beyond that: they belong to the way of computing, not to the model.
    """
    c, mixtures = model.config, [m for m in model.modules() if isinstance(m, MoE)]
    idle = {id(p) for m in mixtures for expert in m.experts[m.k :] for p in expert.parameters()}
    weights = list(model.parameters())
    active = [p for p in weights if id(p) not in idle]
    passed = sum(p.numel() for p in active if p.ndim == 2 and p is not model.positions.weight)
    flops = 6 * passed + 14 * c.layers * c.context * c.dim
    return Size(sum(p.numel() for p in weights), sum(p.numel() for p in active), flops)


@torch.no_grad()
def choices(model, ids):
    """Where each token goes in each layer of experts: ids (B, T) → (layers, B, T, k).

    The model is asked in eval mode, in which no choice is dropped, and left in the mode it had.
    """
    training = model.training
    model.eval()(ids)
    model.train(training)
    return torch.stack([m.seen.chosen for m in model.modules() if isinstance(m, MoE)])


def information(labels, chosen, kinds, experts):
    """How much a token's label tells about its expert: their mutual information, in nats.

        I = Σ_{a, i} q(a, i) log( q(a, i) / (q(a) q(i)) )

    0 where they are independent; at most log E. From n samples it comes out too large by about
    (kinds − 1)(E − 1) / 2n, so compare it with shuffled labels.
    labels, chosen: int64 of one shape, labels below `kinds`. Returns a float.
    """
    cell = labels.flatten() * experts + chosen.flatten()
    q = torch.bincount(cell, minlength=kinds * experts).double().view(kinds, experts)
    q = q / q.sum()
    apart = q.sum(1, keepdim=True) * q.sum(0)
    return torch.where(q > 0, q * (q / apart).log(), 0.0).sum().item()


def likeness(mixture):
    """How alike the experts of a `MoE` are: mean cosine of their first matrices, pair by pair.

    1 for copies; near 0 for random matrices. NaN for a single expert. Returns a float.
    """
    rows = torch.stack([next(e.parameters()).detach().flatten() for e in mixture.experts])
    rows = F.normalize(rows, dim=1)
    E = len(rows)
    return ((rows @ rows.T).sum() - E).div(E * (E - 1)).item() if E > 1 else math.nan
