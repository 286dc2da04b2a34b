"""Answers to the exercises of 21_maskgit, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def ne_cdist(z, codebook):
    return torch.cdist(z.reshape(-1, z.shape[-1]), codebook).argmin(1).reshape(z.shape[:-1])


def ne_loops(z, codebook):
    flat = [min(range(len(codebook)), key=lambda j: float(((v - codebook[j]) ** 2).sum()))
            for v in z.reshape(-1, z.shape[-1])]  # fmt: skip
    return torch.tensor(flat).reshape(z.shape[:-1])


def ne_double(z, codebook):
    return (z.double()[..., None, :] - codebook.double()).norm(dim=-1).min(-1).indices


def ne_manhattan(z, codebook):
    return (z[..., None, :] - codebook).abs().sum(-1).argmin(-1)


def ne_half(z, codebook):
    return (codebook.pow(2).sum(1) - z @ codebook.T).argmin(-1)


def ne_plus(z, codebook):
    return (codebook.pow(2).sum(1) + 2 * z @ codebook.T).argmin(-1)


def ne_length_not_squared(z, codebook):
    return (codebook.norm(dim=1) - 2 * z @ codebook.T).argmin(-1)


def cp_library(z, q, weight):
    return F.mse_loss(q, z.detach()) + weight * F.mse_loss(z, q.detach())


def cp_loops(z, q, weight):
    a, b, n = z.flatten(), q.flatten(), z.numel()
    first = sum((a[i].detach() - b[i]) ** 2 for i in range(n)) / n
    return first + weight * sum((a[i] - b[i].detach()) ** 2 for i in range(n)) / n


def cp_scaled(z, q, weight):
    d = (z - q).square().mean()  # the same value, the gradients of q and z by hand
    to_z, to_q = (z - q.detach()).square().mean(), (z.detach() - q).square().mean()
    return (1 + weight) * d.detach() + weight * (to_z - to_z.detach()) + (to_q - to_q.detach())


def cp_nothing_detached(z, q, weight):
    return (1 + weight) * (z - q).pow(2).mean()


def cp_swapped(z, q, weight):
    return (z - q.detach()).pow(2).mean() + weight * (z.detach() - q).pow(2).mean()


def cp_encoder_only(z, q, weight):
    return (1 + weight) * (z - q.detach()).pow(2).mean()


def cp_per_row(z, q, weight):
    return (z.detach() - q).pow(2).mean(-1) + weight * (z - q.detach()).pow(2).mean(-1)


def cp_norm(z, q, weight):
    return (z.detach() - q).norm() + weight * (z - q.detach()).norm()


def ks_topk(confidence, hidden, count):
    kept = torch.zeros_like(hidden)
    best = confidence.masked_fill(~hidden, -math.inf).topk(count).indices
    return kept.scatter(1, best, True) & hidden


def ks_loops(confidence, hidden, count):
    kept = torch.zeros_like(hidden)
    for b in range(len(hidden)):
        places = [t for t in range(hidden.shape[1]) if hidden[b, t]]
        for t in sorted(places, key=lambda t: -float(confidence[b, t]))[:count]:
            kept[b, t] = True
    return kept


def ks_whole_batch(confidence, hidden, count):
    values = confidence.masked_fill(~hidden, -math.inf)
    return values >= values.flatten().topk(count).values[-1]


def ks_all(confidence, hidden, count):
    return hidden.clone()


def ks_columns(confidence, hidden, count):
    values = confidence.masked_fill(~hidden, -math.inf)
    return (values.argsort(0, descending=True).argsort(0) < count) & hidden


def hs_loops(noise, share):
    rows = []
    for row, r in zip(noise, share, strict=True):
        limit = row.sort().values[math.ceil(float(r) * len(row)) - 1]
        rows.append(row <= limit)
    return torch.stack(rows)


def hs_scatter(noise, share):
    B, T = noise.shape
    count = (share * T).ceil()
    slots = torch.arange(T) < count[:, None]
    return torch.zeros(B, T, dtype=torch.bool).scatter(1, noise.argsort(1), slots)


def hs_first(noise, share):
    B, T = noise.shape
    return (torch.arange(T) < share[:, None] * T).expand(B, T).clone()


def hs_one_share(noise, share):
    return noise.argsort(-1).argsort(-1) < share.mean() * noise.shape[1]


def hs_columns(noise, share):
    return noise.argsort(0).argsort(0) < share[:, None] * noise.shape[0]


NE, CP, KS, HS = "nearest_entry", "codebook_penalty", "keep_surest", "hide_share"
RIGHT = [
    *((NE, f) for f in (ne_cdist, ne_loops, ne_double)),
    *((CP, f) for f in (cp_library, cp_loops, cp_scaled)),
    *((KS, f) for f in (ks_topk, ks_loops)),
    *((HS, f) for f in (hs_loops, hs_scatter)),
]
WRONG = [
    *((NE, f) for f in (ne_manhattan, ne_half, ne_plus, ne_length_not_squared)),
    *((CP, f) for f in (cp_nothing_detached, cp_swapped, cp_encoder_only, cp_per_row, cp_norm)),
    *((KS, f) for f in (ks_whole_batch, ks_all, ks_columns)),
    *((HS, f) for f in (hs_first, hs_one_share, hs_columns)),
]

SAID = [
    (CP, cp_nothing_detached, "the gradient with respect to z is not"),
    (CP, cp_swapped, "the gradient with respect to z is not"),
    (CP, cp_encoder_only, "the gradient with respect to z is not"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_a_right_value_with_a_wrong_gradient(name, answer, words):
    assert words in diagnose(register.find(name, "21_maskgit"), answer).sentence
