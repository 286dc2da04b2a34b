"""Exercises of notebook 08_transformer: attention, rotary positions, a short sight, induction."""

import math

import torch

from genai_utils.checks import exercise
from genai_utils.language import transformer

NOTEBOOK = "08_transformer"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def queries_keys_values(seed):
    """q, k, v and a mask; in the last case there is none."""
    g = _generator(seed)
    cases = []
    for T, S, d_k, d_v in ((3, 5, 4, 2), (6, 4, 9, 3), (4, 7, 8, 5)):
        q, k, v = (torch.randn(*size, generator=g) for size in ((T, d_k), (S, d_k), (S, d_v)))
        mask = torch.rand(T, S, generator=g) < 0.6
        mask[torch.arange(T), torch.randint(S, (T,), generator=g)] = True  # nobody sees nothing
        cases.append((q, k, v, mask))
    return [*cases, (*cases[0][:3], None)]


def _attention(q, k, v, mask=None, scale=None, dim=-1, hide=True, values=None):
    scores = q @ k.transpose(-2, -1) / (math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None and hide:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim)
    return weights @ (v if values is None else values), weights


def _hidden_after(q, k, v, mask=None):
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1)
    weights = weights if mask is None else weights * mask
    return weights @ v, weights


exercise(
    transformer.attention,
    cases=queries_keys_values,
    mistakes={
        "not scaled": (
            lambda q, k, v, mask=None: _attention(q, k, v, mask, scale=1.0),
            "You left out the division by √d_k: the scores grow with d_k and the softmax becomes "
            "almost one-hot.",
        ),
        "divided by d": (
            lambda q, k, v, mask=None: _attention(q, k, v, mask, scale=q.shape[-1]),
            "You divided by d_k: divide by its square root.",
        ),
        "softmax over the queries": (
            lambda q, k, v, mask=None: _attention(q, k, v, mask, dim=-2),
            "Your softmax runs over the queries: each query shares out its own 100 % over the "
            "keys, the last dimension.",
        ),
        "mask forgotten": (
            lambda q, k, v, mask=None: _attention(q, k, v, mask, hide=False),
            "You did not use the mask: where it is False, the weight is 0.",
        ),
        "masked after the softmax": (
            _hidden_after,
            "You set weights to 0 after the softmax, so the rows no longer sum to 1. Hide the "
            "scores (-inf) before it.",
        ),
        "mask turned round": (
            lambda q, k, v, mask=None: _attention(
                q, k, v, None if mask is None else ~mask | ~(~mask).any(-1, keepdim=True)
            ),
            "You hid what may be seen: the mask is True where a query MAY look.",
        ),
    },
    hints=[
        "The scores are q @ k.transpose(-2, -1) / math.sqrt(d_k), shape (..., T, S).",
        "scores.masked_fill(~mask, -math.inf) hides a key; do it before the softmax over the last "
        "dimension, and only if there is a mask. (The check has no query that sees nothing.)",
        "Return two things: weights @ v, and weights.",
    ],
    grad=["q", "k", "v"],
)


def turned(seed):
    g = _generator(seed)
    return [
        (torch.randn(*size, generator=g), torch.randint(0, 40, (size[-2],), generator=g))
        for size in ((3, 7, 6), (3, 8), (5, 4))
    ] + [(torch.randn(4, 10, generator=g), torch.arange(4))]


def _turn(x, positions, base=10_000.0, sign=1.0, halves=False, rate=None):
    d = x.shape[-1]
    rate = base ** (-torch.arange(0, d, 2) / d) if rate is None else rate
    angle = sign * positions[:, None] * rate
    cos, sin = angle.cos(), angle.sin()
    if halves:
        a, b = x[..., : d // 2], x[..., d // 2 :]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def _reflected(x, positions):
    d = x.shape[-1]
    angle = positions[:, None] * 10_000.0 ** (-torch.arange(0, d, 2) / d)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() + b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


exercise(
    transformer.rotary,
    cases=turned,
    mistakes={
        "the other way round": (
            lambda x, positions: _turn(x, positions, sign=-1.0),
            "You turned clockwise. Products of queries and keys would be the same, but here the "
            "turn is (a cos - b sin, a sin + b cos).",
        ),
        "halves for pairs": (
            lambda x, positions: _turn(x, positions, halves=True),
            "You paired number i with number i + d/2 (some programs do). Here the pairs are "
            "neighbours: x[..., 0::2] with x[..., 1::2].",
        ),
        "one rate for all": (
            lambda x, positions: _turn(x, positions, rate=torch.ones(x.shape[-1] // 2)),
            "You turned every pair at the same speed: pair i turns by position / 10000^(2i/d).",
        ),
        "no turn but a sum": (
            lambda x, positions: x + _turn(torch.ones_like(x), positions),
            "You added something to x: a turn multiplies pairs by cosines and sines, and keeps "
            "their length.",
        ),
        "not a rotation": (
            _reflected,
            "One sign is wrong: (a cos + b sin, a sin + b cos) does not keep lengths. The first "
            "number is a cos - b sin.",
        ),
        "exponent i/d": (
            lambda x, positions: _turn(
                x, positions, rate=10_000.0 ** (-torch.arange(x.shape[-1] // 2) / x.shape[-1])
            ),
            "Your exponent is i/d: it is 2i/d, with i counting pairs, so it goes up to almost 1.",
        ),
    },
    hints=[
        "rate = 10000 ** (-torch.arange(0, d, 2) / d) has d/2 numbers, one for each pair; "
        "angle = positions[:, None] * rate is (T, d/2).",
        "a, b = x[..., 0::2], x[..., 1::2] are the two numbers of each pair. Turned: "
        "a cos - b sin and a sin + b cos.",
        "torch.stack([first, second], -1).flatten(-2) puts the pairs back in their places.",
    ],
    grad=["x"],
)


def places(seed):
    g = _generator(seed)
    return [
        (torch.arange(T) + int(torch.randint(50, (1,), generator=g)), window)
        for T, window in ((5, 2), (8, 3), (11, 4))
    ]


def _back(positions):
    return positions[:, None] - positions[None, :]


exercise(
    transformer.local_mask,
    cases=places,
    mistakes={
        "looks ahead": (
            lambda positions, window: _back(positions).abs() < window,
            "Your window reaches ahead as well: a token may not look at later ones.",
        ),
        "only ahead": (
            lambda positions, window: (-_back(positions) >= 0) & (-_back(positions) < window),
            "Your mask is turned over: rows are the tokens that look, columns those looked at.",
        ),
        "one too far": (
            lambda positions, window: (_back(positions) >= 0) & (_back(positions) <= window),
            "Your window holds one token too many: with window 1 a token sees itself alone.",
        ),
        "not itself": (
            lambda positions, window: (_back(positions) > 0) & (_back(positions) <= window),
            "You left out the token itself; it is the first of its window.",
        ),
        "no window": (
            lambda positions, window: _back(positions) >= 0,
            "That is the causal mask: nothing limits how far back a token looks.",
        ),
        "hidden is True": (
            lambda positions, window: ~((_back(positions) >= 0) & (_back(positions) < window)),
            "Your mask is True where a token may NOT look: turn it round.",
        ),
    },
    hints=[
        "positions[:, None] - positions[None, :] tells how far column s lies behind row t.",
        "Two conditions, joined by &: not ahead (>= 0), and fewer than `window` steps back.",
    ],
)


def repeated(seed):
    g = _generator(seed)
    cases = []
    for B, h, T, V in ((3, 2, 7, 4), (4, 3, 9, 3), (5, 2, 12, 6)):
        ids = torch.randint(V, (B, T), generator=g)
        weights = torch.softmax(3 * torch.randn(B, h, T, T, generator=g), -1).tril()
        cases.append((ids, weights / weights.sum(-1, keepdim=True)))
    return cases


def _share(ids, weights, shift=1, first=False, over_all=False, strict=True):
    """By loops: the attention at (a place of the same token) + shift."""
    total, n = torch.zeros(weights.shape[1]), 0
    for b, row in enumerate(ids.tolist()):
        for t in range(len(row)):
            earlier = [s for s in range(t + (not strict)) if row[s] == row[t]]
            n += bool(earlier) or over_all
            if earlier:
                s = (earlier[0] if first else earlier[-1]) + shift
                total = total + weights[b, :, t, min(s, len(row) - 1)]
    return total / max(n, 1)


def _per_sequence(ids, weights):
    return torch.stack([_share(ids[i : i + 1], weights[i : i + 1]) for i in range(len(ids))]).mean(
        0
    )


exercise(
    transformer.induction_share,
    cases=repeated,
    mistakes={
        "the same token": (
            lambda ids, weights: _share(ids, weights, shift=0),
            "You took the attention on the earlier occurrence itself: the token AFTER it is what "
            "followed last time.",
        ),
        "the first occurrence": (
            lambda ids, weights: _share(ids, weights, first=True),
            "You took the first occurrence: the latest one before t is asked.",
        ),
        "mean over all tokens": (
            lambda ids, weights: _share(ids, weights, over_all=True),
            "You divided by all tokens: only those that stood in their sequence before count.",
        ),
        "before the occurrence": (
            lambda ids, weights: _share(ids, weights, shift=-1),
            "You looked at the token before the earlier occurrence: one to the right is asked.",
        ),
        "heads averaged": (
            lambda ids, weights: _share(ids, weights).mean(),
            "You averaged over the heads as well: one number for each head is asked.",
        ),
        "mean of means": (
            _per_sequence,
            "You averaged over each sequence and then over the sequences: every token that came "
            "before counts the same.",
        ),
    },
    hints=[
        "same = ids[:, :, None] == ids[:, None, :], cut to s < t by .tril(-1), says where the "
        "token of row t stood before.",
        "The latest such s is the largest: (same * torch.arange(T)).amax(-1). Where no s is True, "
        "the token does not count.",
        "weights.gather(-1, index) takes one column of each row; two loops over B and T are as "
        "right.",
    ],
)
