"""Exercises of 08_transformer: mistakes named, wrong answers refused, right ones accepted."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("08_transformer")


def test_there_are_four_each_with_hints_and_named_mistakes():
    assert list(SHELF) == ["attention", "rotary", "local_mask", "induction_share"]
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 5


def loop_attention(q, k, v, mask=None):
    """One query at a time, with exponentials."""
    rows = []
    for t in range(len(q)):
        e = torch.stack([torch.exp(torch.dot(q[t], key) / q.shape[1] ** 0.5) for key in k])
        e = e if mask is None else e * mask[t]
        rows.append(e / e.sum())
    weights = torch.stack(rows)
    return torch.stack([(w[:, None] * v).sum(0) for w in weights]), weights


def library_attention(q, k, v, mask=None):
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], mask)[0]
    eye = torch.eye(len(k))
    return out, F.scaled_dot_product_attention(q[None], k[None], eye[None], mask)[0]


def einsum_attention(q, k, v, mask=None):
    scores = torch.einsum("td,sd->ts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e30))
    weights = torch.exp(scores - scores.logsumexp(-1, keepdim=True))
    return torch.einsum("ts,sv->tv", weights, v), weights


def complex_rotary(x, positions):
    d = x.shape[-1]
    z = torch.view_as_complex(x.unflatten(-1, (d // 2, 2)).contiguous())
    angle = torch.outer(positions.float(), 1e4 ** -(torch.arange(d // 2) * 2 / d))
    return torch.view_as_real(z * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


def matrix_rotary(x, positions):
    """A block-diagonal matrix of turns for each position."""
    d, parts = x.shape[-1], []
    for row, p in enumerate(positions.tolist()):
        R = torch.zeros(d, d)
        for i in range(0, d, 2):
            a = p / 10_000 ** (i / d)
            R[i : i + 2, i : i + 2] = torch.tensor(
                [[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]
            )
        parts.append(x[..., row, :] @ R.T)
    return torch.stack(parts, -2)


def loop_mask(positions, window):
    p = positions.tolist()
    return torch.tensor([[0 <= t - s < window for s in p] for t in p])


def numpy_induction(ids, weights):
    ids, weights = ids.numpy(), weights.numpy()
    found = [
        weights[b, :, t, np.flatnonzero(row[:t] == row[t])[-1] + 1]
        for b, row in enumerate(ids)
        for t in range(len(row))
        if (row[:t] == row[t]).any()
    ]
    return np.mean(found, axis=0)


def dictionary_induction(ids, weights):
    total, n = 0, 0
    for row, table in zip(ids.tolist(), weights, strict=True):
        last = {}
        for t, token in enumerate(row):
            if token in last:
                total, n = total + table[:, t, last[token] + 1], n + 1
            last[token] = t
    return total / n


RIGHT = [
    ("attention", loop_attention),
    ("attention", library_attention),
    ("attention", einsum_attention),
    ("rotary", complex_rotary),
    ("rotary", matrix_rotary),
    ("local_mask", loop_mask),
    ("local_mask", lambda p, w: torch.ones(len(p), len(p)).tril().triu(1 - w).bool()),
    ("induction_share", numpy_induction),
    ("induction_share", dictionary_induction),
]


WRONG = [
    ("attention", lambda q, k, v, mask=None: loop_attention(q, k, v, mask)[::-1]),
    ("attention", lambda q, k, v, mask=None: loop_attention(q, k, v, mask)[0]),
    ("attention", lambda q, k, v, mask=None: loop_attention(-q, k, v, mask)),
    ("attention", lambda q, k, v, mask=None: loop_attention(q * 2**0.5, k, v, mask)),
    ("attention", lambda q, k, v, mask=None: loop_attention(q.detach(), k, v, mask)),
    ("rotary", lambda x, p: complex_rotary(x, p + 1)),
    ("rotary", lambda x, p: complex_rotary(x, torch.arange(len(p)))),
    ("rotary", lambda x, p: complex_rotary(x, p / 10)),
    ("rotary", lambda x, p: x),
    ("rotary", lambda x, p: complex_rotary(x.flip(-1), p).flip(-1)),
    ("local_mask", lambda p, w: loop_mask(p, w - 1)),
    ("local_mask", lambda p, w: torch.ones(len(p), len(p), dtype=torch.bool)),
    ("local_mask", lambda p, w: torch.where(loop_mask(p, w), 0.0, -math.inf)),
    ("local_mask", lambda p, w: loop_mask(p, w).T),
    ("induction_share", lambda ids, w: dictionary_induction(ids, w) * 2),
    ("induction_share", lambda ids, w: dictionary_induction(ids, w.transpose(-1, -2))),
    ("induction_share", lambda ids, w: w.diagonal(-1, -2, -1).mean((0, 2))),
    ("induction_share", lambda ids, w: dictionary_induction(ids[:1], w[:1])),
]
