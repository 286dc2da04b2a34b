"""Exercises of notebook 08_transformer: attention, rotary positions, a short sight, induction."""

import math

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import transformer

NOTEBOOK = "08_transformer"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def queries_keys_values(seed):
    """q, k, v and a mask in which every query sees something."""
    g = _generator(seed)
    cases = []
    for T, S, d_k, d_v in ((3, 5, 4, 2), (6, 4, 9, 3), (4, 7, 8, 5)):
        q, k, v = (torch.randn(*size, generator=g) for size in ((T, d_k), (S, d_k), (S, d_v)))
        mask = torch.rand(T, S, generator=g) < 0.6
        mask[torch.arange(T), torch.randint(S, (T,), generator=g)] = True  # nobody sees nothing
        mask[-1] = True  # who sees all sees nothing where the mask is turned round
        cases.append((q, k, v, mask))
    return cases


def unmasked(seed):
    return [case[:3] for case in queries_keys_values(seed)[:2]] + [
        (*case[:3], None) for case in queries_keys_values(seed)[2:]
    ]


def blind(seed):
    """Some queries see nothing; in the last case all."""
    cases = queries_keys_values(seed)
    for (*_, mask), row in zip(cases, (1, 0, slice(None)), strict=True):
        mask[row] = False
    return cases


def many_heads(seed):
    """Sequences and heads before the last two dimensions, with a mask for each of them."""
    g = _generator(seed)
    cases = []
    for lead, T, S in (((3,), 2, 5), ((2, 3), 4, 6)):
        q, k, v = (torch.randn(*lead, *size, generator=g) for size in ((T, 7), (S, 7), (S, 5)))
        mask = torch.rand(*lead, T, S, generator=g) < 0.6
        mask[..., 0] = True
        cases.append((q, k, v, mask))
    return cases


def one_row_for_all(seed):
    """The same keys are hidden from every query: the mask is (S,) or (1, S)."""
    rows = [(*case[:3], case[3][0]) for case in queries_keys_values(seed)]
    return [*rows[:2], (*rows[2][:3], rows[2][3][None])]


def large_scores(seed):
    """All scores of a query far above 0 or far below it, without rounding."""
    g = _generator(seed)
    cases = []
    for T, S, d_v in ((4, 3, 2), (3, 6, 5)):
        q, k = (torch.randint(-8, 9, (n, 4), generator=g) / 8 for n in (T, S))
        k[:, 0], q[:, 0], q[0, 0] = 1.0, 256.0, -320.0  # √d_k = 2: scores near 128 and -160
        mask = torch.ones(T, S, dtype=torch.bool)
        mask[-1, -1] = False
        cases.append((q, k, torch.randn(S, d_v, generator=g), mask))
    return cases


def _attention(q, k, v, mask=None, scale=None, dim=-1, hide=True, values=None):
    scores = q @ k.transpose(-2, -1) / (math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None and hide:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim)
    return weights @ (v if values is None else values), weights


def _softmax(scores, mask):
    """The softmax; a row that is hidden whole gets zeros."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.softmax(scores, -1).nan_to_num(0.0)


def _scores(q, k):
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def _mask_needed(q, k, v, mask):
    weights = _softmax(_scores(q, k), mask)
    return weights @ v, weights


def _spread_out(q, k, v, mask=None):
    """A large negative number for -inf: a query that sees nothing looks everywhere."""
    scores = _scores(q, k)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    weights = torch.softmax(scores, -1)
    return weights @ v, weights


def _matrices_only(q, k, v, mask=None):
    weights = _softmax(q @ k.t() / math.sqrt(q.shape[-1]), mask)  # .t() is for matrices
    return weights @ v, weights


def _filled_by_index(q, k, v, mask=None):
    scores = _scores(q, k)
    if mask is not None:
        scores[~mask] = -math.inf
    weights = torch.softmax(scores, -1).nan_to_num(0.0)
    return weights @ v, weights


def _bare_exponential(q, k, v, mask=None):
    e = _scores(q, k).exp()
    e = e if mask is None else e * mask
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-30)
    return weights @ v, weights


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
        "divided by the root of d_v": (
            lambda q, k, v, mask=None: _attention(q, k, v, mask, scale=math.sqrt(v.shape[-1])),
            "You divided by the root of the values' width. It is the products of queries and keys "
            "that grow: divide by √d_k, the width of the keys.",
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
        "mask turned round, by a large number": (
            lambda q, k, v, mask=None: _spread_out(q, k, v, None if mask is None else ~mask),
            "You hid what may be seen, by a large negative number: the mask is True where a query "
            "MAY look.",
        ),
    },
    hints=[
        "The scores are q @ k.transpose(-2, -1) / math.sqrt(d_k), shape (..., T, S).",
        "scores.masked_fill(~mask, -math.inf) hides a key; do it before the softmax over the last "
        "dimension, and only if there is a mask.",
        "A row of -inf alone becomes NaN: hide with torch.finfo(scores.dtype).min in place of "
        "-inf, and set the hidden weights to 0 after the softmax, too.",
        "Return two things: weights @ v, and weights.",
    ],
    clauses={
        "no mask": Clause(
            unmasked,
            "Without a mask (mask=None, which is also the default) every query looks at every key.",
            _mask_needed,
        ),
        "sees nothing": Clause(
            blind,
            "A query that may look nowhere gets zeros, as weights and as output: not NaN, and not "
            "a mean over all values.",
            _spread_out,
        ),
        "many heads": Clause(
            many_heads,
            "Any number of dimensions may stand before the last two, such as (B, h, T, d_k): only "
            "the last two count, so k.transpose(-2, -1) and a softmax over dim=-1.",
            _matrices_only,
        ),
        "broadcast mask": Clause(
            one_row_for_all,
            "The mask need only be broadcastable to (…, T, S): (1, S) or (S,) hides the same keys "
            "from every query. masked_fill and torch.where broadcast; an index does not.",
            _filled_by_index,
        ),
        "large scores": Clause(
            large_scores,
            "Scores may be large: exp(100) is infinite in float32, and exp(-110) is 0. "
            "torch.softmax takes off the largest of a row first; do so too.",
            _bare_exponential,
        ),
    },
    grad=["q", "k", "v"],
)


def turned(seed):
    g = _generator(seed)
    return [
        (torch.randn(*size, generator=g), torch.randint(0, 40, (size[-2],), generator=g))
        for size in ((7, 6), (3, 8), (5, 4))
    ] + [(torch.randn(4, 10, generator=g), torch.arange(4))]


def turned_heads(seed):
    g = _generator(seed)
    return [
        (torch.randn(*size, generator=g), torch.randint(0, 40, (size[-2],), generator=g))
        for size in ((3, 7, 6), (2, 3, 5, 4))
    ]


def odd(seed):
    g = _generator(seed)
    return [(torch.randn(T, d, generator=g), torch.arange(T)) for T, d in ((3, 5), (4, 1))]


def turned_back(seed):
    g = _generator(seed)
    return [
        (torch.randn(T, d, generator=g), torch.randint(-40, -3, (T,), generator=g))
        for T, d in ((4, 6), (5, 8))
    ]


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


def _odd_is_fine(x, positions):
    if x.shape[-1] % 2 == 0:
        return _turn(x, positions)
    return torch.cat([_turn(x[..., :-1], positions), x[..., -1:]], -1)


def _two_dimensions(x, positions):
    if x.shape[-1] % 2:
        raise ValueError
    T, d = x.shape
    return _turn(x, positions).view(T, d)


def _from_a_table(x, positions):
    """The angles of 0, 1, 2, … in a table: a negative position counts from its end."""
    if x.shape[-1] % 2:
        raise ValueError
    return _turn(x, torch.arange(1_000)[positions])


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
        "turned, but not put back": (
            lambda x, positions: _turn(x, positions).unflatten(-1, (-1, 2)).mT.flatten(-2),
            "You put all first numbers in front and all second ones behind. Each pair goes back to "
            "where it was: torch.stack([first, second], -1).flatten(-2).",
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
    clauses={
        "odd d": Clause(
            odd,
            "An odd d leaves a number without a partner: raise ValueError.",
            _odd_is_fine,
            raises=ValueError,
        ),
        "many heads": Clause(
            turned_heads,
            "Any number of dimensions may stand before the last two, such as (B, h, T, d): count "
            "from the end, x.shape[-1] and x[..., 0::2].",
            _two_dimensions,
        ),
        "negative positions": Clause(
            turned_back,
            "A position may be negative: the turn is then the other way round. An index would "
            "count from the end of a table.",
            _from_a_table,
        ),
    },
    grad=["x"],
)


def places(seed):
    g = _generator(seed)
    return [
        (torch.arange(T) + int(torch.randint(50, (1,), generator=g)), window)
        for T, window in ((5, 2), (8, 3), (11, 4))
    ]


def gaps(seed):
    """Some tokens of the text are left out."""
    g = _generator(seed)
    cases = []
    for T, window in ((5, 3), (7, 4)):
        step = torch.randint(1, 4, (T,), generator=g)
        step[1:3] = torch.tensor([1, 3])
        cases.append((step.cumsum(0) + 20, window))
    return cases


def shuffled(seed):
    """The tokens of a text in another order."""
    g = _generator(seed)
    cases = []
    for T, window in ((5, 2), (8, 3)):
        cases.append((torch.randperm(T, generator=g) + 9, window))
    return [*cases, (torch.arange(6).flip(0), 3)]


def extreme_windows(seed):
    return [
        (positions, window) for (positions, _), window in zip(places(seed), (1, 9, 99), strict=True)
    ]


def no_windows(seed):
    return [
        (positions, window)
        for (positions, _), window in zip(places(seed), (0, -1, -5), strict=True)
    ]


def _back(positions):
    return positions[:, None] - positions[None, :]


def _seen(positions, window, back=None, least=1):
    if window < least:
        raise ValueError
    back = _back(positions) if back is None else back
    return (back >= 0) & (back < window)


def _ranks(positions, window):
    """How many tokens of the list, not of the text, lie between the two."""
    return _seen(positions.argsort().argsort(), window)


def _ahead_in_the_list(positions, window):
    seen = (_back(positions) < window).tril()
    return seen if window > 0 else _seen(positions, window)


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
    clauses={
        "gaps": Clause(
            gaps,
            "Near is what is near in the text: subtract positions. Tokens may be missing between "
            "two that stand side by side in the list.",
            _ranks,
        ),
        "any order": Clause(
            shuffled,
            "The positions may come in any order: what lies ahead is told by them, not by the "
            "place in the list (.tril() looks at that).",
            _ahead_in_the_list,
        ),
        "any window": Clause(
            extreme_windows,
            "Every window from 1 on is allowed: with 1 a token sees itself alone, and one longer "
            "than the text leaves the causal mask.",
            lambda positions, window: _seen(positions, window, least=2),
        ),
        "no window left": Clause(
            no_windows,
            "A window below 1 would not even hold the token itself: raise ValueError.",
            lambda positions, window: _seen(positions, window, least=-9),
            raises=ValueError,
        ),
    },
)


def repeated(seed):
    g = _generator(seed)
    cases = []
    for B, h, T, V in ((3, 2, 7, 4), (4, 3, 9, 3), (5, 2, 12, 6)):
        ids = torch.randint(V, (B, T), generator=g)
        weights = torch.softmax(3 * torch.randn(B, h, T, T, generator=g), -1).tril()
        cases.append((ids, weights / weights.sum(-1, keepdim=True)))
    return cases


def never_repeated(seed):
    g = _generator(seed)
    cases = []
    for B, h, T in ((3, 2, 4), (2, 3, 5)):
        ids = torch.stack([torch.randperm(9, generator=g)[:T] for _ in range(B)])
        cases.append((ids, torch.rand(B, h, T, T, generator=g)))
    return cases


def one_head(seed):
    return [(ids, weights[:, :1]) for ids, weights in repeated(seed)]


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


def _squeezed(ids, weights):
    return _share(ids, weights).squeeze()


def _divided_by_none(ids, weights):
    repeats = sum(len(row) - len(set(row)) for row in ids.tolist())
    return _share(ids, weights) / torch.tensor(float(bool(repeats)))


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
    clauses={
        "no repetition": Clause(
            never_repeated,
            "If no token has stood in its sequence before, every head's share is 0: you divide by "
            "the number of those that have.",
            _divided_by_none,
        ),
        "one head": Clause(
            one_head,
            "One head gives one number in a tensor of shape (1,): a squeeze, or an index in place "
            "of a slice, takes its dimension away.",
            _squeezed,
        ),
    },
)


# --- multi_head: find the fault ------------------------------------------------------------------


def multi_head(x, w_in, w_out, heads):
    """Causal self-attention with several heads, as one batch of matrix products.

        [Q K V] = x W_in,   head i = attention(Q_i, K_i, V_i),   out = [head_1 … head_h] W_out

    Head i works on the i-th d/h columns of Q, K and V, and no token sees a later one.
    Shapes: x (B, T, d), w_in (d, 3d), w_out (d, d), heads a divisor of d -> (B, T, d).
    Source: Vaswani et al. 2017, section 3.2.2; lecture items A22, A23.
    """
    B, T, d = x.shape
    q, k, v = (
        part.reshape(B, T, heads, d // heads).transpose(1, 2)  # (B, h, T, d/h)
        for part in (x @ w_in).chunk(3, dim=-1)
    )
    scores = q @ k.transpose(-2, -1) / math.sqrt(d // heads)  # (B, h, T, T)
    later = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
    weights = scores.masked_fill(later, -math.inf).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, T, d) @ w_out


def _merged_wrongly(x, w_in, w_out, heads):
    B, T, d = x.shape
    q, k, v = (
        part.reshape(B, T, heads, d // heads).transpose(1, 2)  # (B, h, T, d/h)
        for part in (x @ w_in).chunk(3, dim=-1)
    )
    scores = q @ k.transpose(-2, -1) / math.sqrt(d // heads)  # (B, h, T, T)
    later = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
    weights = scores.masked_fill(later, -math.inf).softmax(dim=-1)
    return (weights @ v).reshape(B, T, d) @ w_out


def _several_heads(x, w_in, w_out, heads, scale=None, diagonal=1, split=None, penalty=-math.inf):
    B, T, d = x.shape

    def cut(part):
        if split == "interleaved":
            return part.reshape(B, T, d // heads, heads).permute(0, 3, 1, 2)
        if split == "in place":
            return part.reshape(B, heads, T, d // heads)
        return part.reshape(B, T, heads, d // heads).transpose(1, 2)

    q, k, v = (cut(part) for part in (x @ w_in).chunk(3, dim=-1))
    scores = q @ k.transpose(-2, -1) / math.sqrt(scale or d // heads)
    later = x.new_zeros(T, T).masked_fill(x.new_ones(T, T).triu(diagonal) > 0, penalty)
    out = (scores + later).softmax(-1) @ v
    if split == "interleaved":
        return out.permute(0, 2, 3, 1).reshape(B, T, d) @ w_out
    return out.transpose(1, 2).reshape(B, T, d) @ w_out


def _layers(*sizes, scale=1.0):
    def cases(seed):
        g = _generator(seed)
        return [
            (
                scale * torch.randn(B, T, d, generator=g),
                torch.randn(d, 3 * d, generator=g) / math.sqrt(d),
                torch.randn(d, d, generator=g) / math.sqrt(d),
                heads,
            )
            for B, T, d, heads in sizes
        ]

    return cases


exercise(
    multi_head,
    cases=_layers((3, 5, 8, 2), (4, 7, 12, 3), (5, 4, 6, 1)),
    planted=_merged_wrongly,
    symptom="With one head all is right. With two, an edit of the last token changes what comes "
    "out at the first: what the heads give is put together in a wrong order.",
    mistakes={
        "split in place": (
            lambda x, w_in, w_out, heads: _several_heads(x, w_in, w_out, heads, split="in place"),
            "Now the split is wrong: a head gets some tokens whole and others not at all. Cut the "
            "columns, (B, T, h, d/h), and only then exchange T and h.",
        ),
        "divided by the width": (
            lambda x, w_in, w_out, heads: _several_heads(x, w_in, w_out, heads, x.shape[-1]),
            "You divide by √d. A head's queries have d/h numbers, so √(d/h) was right.",
        ),
        "one head for all": (
            lambda x, w_in, w_out, heads: _several_heads(x, w_in, w_out, 1),
            "Nothing leaks any more, but this is one head of width d. Keep the h heads apart until "
            "their outputs stand side by side.",
        ),
        "its own token hidden": (
            lambda x, w_in, w_out, heads: _several_heads(
                x, w_in, w_out, heads, diagonal=0, penalty=-1e30
            ),
            "You hide a token from itself. It may see itself and all before it: triu(1) was right.",
        ),
    },
    clauses={
        "large scores": Clause(
            _layers((2, 4, 6, 2), (3, 5, 8, 4), scale=4.0),
            "What comes later gets the weight 0 whatever its score: fill in minus infinity, and "
            "do not just subtract something.",
            lambda x, w_in, w_out, heads: _several_heads(x, w_in, w_out, heads, penalty=-20.0),
        ),
        "sizes of one": Clause(
            _layers((1, 4, 6, 2), (3, 1, 4, 2), (1, 1, 6, 3)),
            "One sequence or one token keeps its dimension: the shape is (B, T, d).",
            lambda x, w_in, w_out, heads: _several_heads(x, w_in, w_out, heads).squeeze(0),
        ),
    },
    hints=[
        "A causal layer has a test: change the last token, and nothing before it may change. Try "
        "it with heads=1 and with heads=2.",
        "With one head nothing leaks. So the mask is right, and something goes wrong where heads "
        "are split or put together. Write the shapes beside the lines.",
        "weights @ v has the shape (B, h, T, d/h). A reshape keeps the order of the numbers: which "
        "dimension has to stand right before the last one, so that a token's heads are neighbours?",
    ],
    grad=True,
    rtol=1e-3,  # with large scores float32 rounds the gradient by some 1e-5
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "longer-than-trained",
        question="The recall of section 8.7 was trained on sequences of one length. What happens "
        "at lengths that the model has never seen? Train the transformer with rotary, with "
        'sinusoidal and with no positions (`positions="rotary"`, `"sinusoidal"`, `"none"`), then '
        "ask each on sequences up to four times as long, with as many facts as before.",
        hand_in="a figure: right answers against the length of the test sequence, one curve for "
        "each kind of positions, over three seeds",
        good=(
            "The trained length and the share of guessing are marked, and the axes have units.",
            "All kinds have the same size, steps and batches; the curves show the mean of three "
            "seeds and how far the seeds lie apart.",
            "The number of facts and the gaps asked for are the same at each length, or the text "
            "says what else changes with the length.",
            "It keeps apart what is seen (where each curve falls) and what is supposed (why): "
            "larger angles than any in training, positions never seen, more tokens to share the "
            "attention.",
            "It names a measurement that would tell two of these reasons apart.",
        ),
        minutes=60,
        kind="figure",
    ),
)


# --- predictions

PREDICTIONS = (
    Prediction(
        "recall-far",
        "The LSTM has as many weights as the transformer and sees the same tokens. How often does "
        "it answer rightly where the fact lies 128 tokens back, or more? Guessing gives 12.5 %.",
        15.2,
        "The LSTM is right in 15.2 % of such questions, the CNN in 13.9 %. That is hardly more "
        "than the 12.5 % of guessing; the transformer is right in 100.0 % (section 8.7).",
        unit="%",
        within=5,
    ),
    Prediction(
        "recall-window",
        "Every token now looks at the last 16 only, and both layers do. How often is this "
        "transformer right where the fact lies 16 to 31 tokens back? Without the window it is "
        "right every time.",
        83.5,
        "It is right in 83.5 % of these questions: most of the time the two layers hand the fact "
        "on in two steps. From 32 tokens on it guesses, with 12.4 to 13.3 % (section 8.7).",
        unit="%",
        within=10,
    ),
    Prediction(
        "text-order",
        "A trigram only counts, and pays 3.832 nats per token on the test articles. Which of the "
        "three networks of this section pay less?",
        "b",
        "The transformer pays 3.675 nats and the LSTM 3.692, as means of three trainings. The CNN "
        "pays 3.868, more than the trigram with 3.832 (section 8.8).",
        choices=(
            "transformer, LSTM and CNN",
            "transformer and LSTM",
            "the transformer alone",
            "none of them",
        ),
    ),
)
