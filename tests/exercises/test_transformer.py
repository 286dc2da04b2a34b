"""Exercises of 08_transformer: mistakes named, wrong answers refused, right ones accepted."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("08_transformer")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == ["attention", "rotary", "local_mask", "induction_share", "multi_head"]
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 5


def loop_attention(q, k, v, mask=None):
    """One query at a time, with exponentials, which overflow."""
    rows = []
    for t in range(len(q)):
        e = torch.stack([torch.exp(torch.dot(q[t], key) / q.shape[1] ** 0.5) for key in k])
        e = e if mask is None else e * mask[t]
        rows.append(e / e.sum())
    weights = torch.stack(rows)
    return torch.stack([(w[:, None] * v).sum(0) for w in weights]), weights


def library_attention(q, k, v, mask=None):
    T, S = q.shape[-2], k.shape[-2]
    mask = torch.ones(T, S, dtype=torch.bool) if mask is None else mask.expand(*q.shape[:-1], S)
    eye = torch.eye(S).expand(*k.shape[:-1], S)
    seen = mask.any(-1, keepdim=True)
    weights = F.scaled_dot_product_attention(q, k, eye, mask | ~seen) * seen
    return F.scaled_dot_product_attention(q, k, v, mask | ~seen) * seen, weights


def einsum_attention(q, k, v, mask=None):
    scores = torch.einsum("td,sd->ts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e30))
    weights = torch.exp(scores - scores.logsumexp(-1, keepdim=True))
    return torch.einsum("ts,sv->tv", weights, v), weights


def complex_rotary(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError("d is odd")
    z = torch.view_as_complex(x.unflatten(-1, (d // 2, 2)).contiguous())
    angle = torch.outer(positions.float(), 1e4 ** -(torch.arange(d // 2) * 2 / d))
    return torch.view_as_real(z * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


def matrix_rotary(x, positions):
    """A block-diagonal matrix of turns for each position."""
    d, parts = x.shape[-1], []
    if d % 2:
        raise ValueError("d is odd")
    for row, p in enumerate(positions.tolist()):
        R = torch.zeros(d, d)
        for i in range(0, d, 2):
            a = p / 10_000 ** (i / d)
            R[i : i + 2, i : i + 2] = torch.tensor(
                [[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]
            )
        parts.append(x[..., row, :] @ R.T)
    return torch.stack(parts, -2)


def band(positions, window):
    if window < 1:
        raise ValueError
    T = len(positions)
    return torch.ones(T, T).tril().triu(1 - window).bool()


def loop_mask(positions, window):
    if window < 1:
        raise ValueError
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
    return np.mean(found, axis=0) if found else np.zeros(weights.shape[1])


def dictionary_induction(ids, weights):
    total, n = torch.zeros(weights.shape[1]), 0
    for row, table in zip(ids.tolist(), weights, strict=True):
        last = {}
        for t, token in enumerate(row):
            if token in last:
                total, n = total + table[:, t, last[token] + 1], n + 1
            last[token] = t
    return total / max(n, 1)


MH = "multi_head"


def mh_loop(x, w_in, w_out, heads):
    q, k, v = (x @ w_in).split(x.shape[-1], -1)
    parts = []
    for a, b, c in zip(*(m.chunk(heads, -1) for m in (q, k, v)), strict=True):
        parts.append(torch.nn.functional.scaled_dot_product_attention(a, b, c, is_causal=True))
    return torch.cat(parts, -1) @ w_out


def mh_einsum(x, w_in, w_out, heads):
    B, T, d = x.shape
    q, k, v = (x @ w_in).view(B, T, 3, heads, d // heads).unbind(2)
    scores = torch.einsum("bthe,bshe->bhts", q, k) * (d // heads) ** -0.5
    scores = scores + torch.full((T, T), -torch.inf).triu(1)
    return torch.einsum("bhts,bshe->bthe", scores.softmax(-1), v).flatten(2) @ w_out


def mh_double(x, w_in, w_out, heads):
    B, T, d = x.shape
    x, w_in, w_out = x.double(), w_in.double(), w_out.double()
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)).mT.mT.swapaxes(1, 2) for w in w_in.chunk(3, 1))
    e = (q @ k.mT / (d / heads) ** 0.5).exp() * torch.ones(T, T).tril()
    return (e / e.sum(-1, keepdim=True) @ v).swapaxes(1, 2).flatten(2) @ w_out


def mh_split_too(x, w_in, w_out, heads):
    """Both the split and the merge without an exchange: right shapes, tokens mixed."""
    B, T, d = x.shape
    q, k, v = (m.reshape(B, heads, T, d // heads) for m in (x @ w_in).chunk(3, -1))
    a = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return a.reshape(B, T, d) @ w_out


def mh_last_two(x, w_in, w_out, heads):
    """The merge exchanges the wrong two dimensions."""
    B, T, d = x.shape
    q, k, v = (m.reshape(B, T, heads, -1).transpose(1, 2) for m in (x @ w_in).chunk(3, -1))
    a = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return a.transpose(2, 3).reshape(B, T, d) @ w_out


def mh_interleaved(x, w_in, w_out, heads):
    """Heads are merged number by number, not part by part."""
    B, T, d = x.shape
    q, k, v = (m.reshape(B, T, heads, -1).transpose(1, 2) for m in (x @ w_in).chunk(3, -1))
    a = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return a.permute(0, 2, 3, 1).reshape(B, T, d) @ w_out


def mh_reversed(x, w_in, w_out, heads):
    """Reads the heads in the reverse order when they are put together."""
    B, T, d = x.shape
    q, k, v = (m.reshape(B, T, heads, -1).transpose(1, 2) for m in (x @ w_in).chunk(3, -1))
    a = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return a.flip(1).transpose(1, 2).reshape(B, T, d) @ w_out


def mh_no_mask(x, w_in, w_out, heads):
    B, T, d = x.shape
    q, k, v = (m.reshape(B, T, heads, -1).transpose(1, 2) for m in (x @ w_in).chunk(3, -1))
    a = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return a.transpose(1, 2).reshape(B, T, d) @ w_out


RIGHT = [
    *((MH, f) for f in (mh_loop, mh_einsum, mh_double)),
    ("attention", library_attention),
    ("rotary", complex_rotary),
    ("rotary", matrix_rotary),
    ("local_mask", loop_mask),
    ("induction_share", numpy_induction),
    ("induction_share", dictionary_induction),
]


WRONG = [
    *((MH, f) for f in (mh_split_too, mh_last_two, mh_interleaved, mh_reversed, mh_no_mask)),
    ("attention", loop_attention),
    ("attention", einsum_attention),
    ("local_mask", band),
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


# --- written from the docstrings alone, before the declared mistakes were read -------------------


def wrong(name):
    return lambda function: WRONG.append((name, function)) or function


def right(name):
    return lambda function: RIGHT.append((name, function)) or function


# --- attention
@wrong("attention")
def infinite_scores_of_a_blind_query(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    w = scores.softmax(-1)
    return w @ v, w


@wrong("attention")
def a_large_number_instead_of_infinity(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    w = scores.softmax(-1)
    return w @ v, w


@wrong("attention")
def masked_after_the_softmax(q, k, v, mask=None):
    w = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
    if mask is not None:
        w = w * mask
    return w @ v, w


@wrong("attention")
def always_a_mask(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    w = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0)
    return w @ v, w


@wrong("attention")
def exponentials_that_overflow(q, k, v, mask=None):
    e = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).exp()
    if mask is not None:
        e = e * mask
    w = e / e.sum(-1, keepdim=True).clamp(min=1e-30)
    return w @ v, w


@wrong("attention")
def three_dimensions_only(q, k, v, mask=None):
    scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    w = scores.softmax(-1).nan_to_num(0)
    return torch.bmm(w, v), w


@wrong("attention")
def uniform_weights_for_the_blind(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is None:
        w = scores.softmax(-1)
        return w @ v, w
    w = scores.masked_fill(~mask, -1e9).softmax(-1)
    sees = mask.expand(w.shape).any(-1, keepdim=True)
    return (w @ v) * sees, w


@wrong("attention")
def weights_that_are_detached(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    w = scores.softmax(-1).nan_to_num(0).detach()
    return w @ v, w


@right("attention")
def einsum_and_nan_to_num(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    w = scores.softmax(-1).nan_to_num(0.0)
    return torch.einsum("...ts,...sv->...tv", w, v), w


@right("attention")
def the_largest_taken_off_in_double(q, k, v, mask=None):
    scores = (q.double() @ k.double().mT) * q.shape[-1] ** -0.5
    allowed = torch.ones_like(scores) if mask is None else mask.double().expand(scores.shape)
    e = (scores - scores.amax(-1, keepdim=True)).exp() * allowed
    total = e.sum(-1, keepdim=True)
    w = e / torch.where(total > 0, total, torch.ones_like(total))
    return w @ v.double(), w


@right("attention")
def row_by_row(q, k, v, mask=None):
    shape = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    T, S = q.shape[-2], k.shape[-2]
    m = torch.ones(*shape, T, S, dtype=torch.bool) if mask is None else mask.expand(*shape, T, S)
    qs = q.reshape(-1, T, q.shape[-1])
    ks = k.reshape(-1, S, k.shape[-1])
    vs = v.reshape(-1, S, v.shape[-1])
    ms = m.reshape(-1, T, S)
    outs, ws = [], []
    for b in range(len(qs)):
        for t in range(T):
            w = torch.zeros(S, dtype=q.dtype)
            seen = ms[b, t].nonzero()[:, 0]
            if len(seen):
                w = w.index_copy(
                    0, seen, ((ks[b, seen] @ qs[b, t]) / math.sqrt(q.shape[-1])).softmax(0)
                )
            ws.append(w)
            outs.append(w @ vs[b])
    return torch.stack(outs).reshape(*shape, T, -1), torch.stack(ws).reshape(*shape, T, S)


# --- rotary
@wrong("rotary")
def halves_as_pairs(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError
    angle = positions[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


@wrong("rotary")
def odd_without_an_error(x, positions):
    d = x.shape[-1]
    angle = positions[:, None] / 10000 ** (torch.arange(0, d - 1, 2) / d)
    a, b = x[..., 0 : d - d % 2 : 2], x[..., 1::2]
    out = x.clone()
    out[..., 0 : d - d % 2 : 2] = a * angle.cos() - b * angle.sin()
    out[..., 1::2] = a * angle.sin() + b * angle.cos()
    return out


@wrong("rotary")
def its_own_places(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError
    angle = torch.arange(x.shape[-2])[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


@wrong("rotary")
def places_from_the_first(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError
    angle = (positions - positions[0])[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


@wrong("rotary")
def turned_backwards(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError
    angle = -positions[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


@wrong("rotary")
def exponent_without_the_two(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError
    angle = positions[:, None] / 10000 ** (torch.arange(d // 2) / d)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


@wrong("rotary")
def four_dimensions_only(x, positions):
    B, h, T, d = x.shape
    if d % 2:
        raise ValueError
    angle = positions[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


@wrong("rotary")
def an_assertion_for_an_odd_size(x, positions):
    d = x.shape[-1]
    assert d % 2 == 0
    angle = positions[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack(
        [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
    ).flatten(-2)


@right("rotary")
def as_complex_numbers(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError("d must be even")
    angle = torch.outer(positions.double(), 10000.0 ** -(torch.arange(0, d, 2).double() / d))
    z = torch.view_as_complex(x.double().reshape(*x.shape[:-1], d // 2, 2).contiguous())
    return torch.view_as_real(z * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


@right("rotary")
def a_matrix_for_each_place(x, positions):
    d = x.shape[-1]
    if d % 2 == 1:
        raise ValueError("odd")
    rows = []
    for t in range(x.shape[-2]):
        m = torch.zeros(d, d)
        for i in range(d // 2):
            a = float(positions[t]) / 10000 ** (2 * i / d)
            m[2 * i, 2 * i] = m[2 * i + 1, 2 * i + 1] = math.cos(a)
            m[2 * i, 2 * i + 1] = -math.sin(a)
            m[2 * i + 1, 2 * i] = math.sin(a)
        rows.append(x[..., t, :] @ m.T)
    return torch.stack(rows, -2)


@right("rotary")
def cosine_and_a_turned_copy(x, positions):
    d = x.shape[-1]
    if d % 2:
        raise ValueError
    angle = positions[:, None] * 10000 ** (-torch.arange(0, d, 2) / d)
    angle = angle.repeat_interleave(2, -1)
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    return x * angle.cos() + turned * angle.sin()


# --- local_mask
@wrong("local_mask")
def without_positions(positions, window):
    if window < 1:
        raise ValueError
    i = torch.arange(len(positions))
    d = i[:, None] - i[None]
    return (d >= 0) & (d < window)


@wrong("local_mask")
def order_of_the_list_for_ahead(positions, window):
    if window < 1:
        raise ValueError
    T = len(positions)
    near = (positions[:, None] - positions[None]) < window
    return torch.ones(T, T, dtype=torch.bool).tril() & near


@wrong("local_mask")
def both_sides(positions, window):
    if window < 1:
        raise ValueError
    return (positions[:, None] - positions[None]).abs() < window


@wrong("local_mask")
def one_further_back(positions, window):
    if window < 1:
        raise ValueError
    d = positions[:, None] - positions[None]
    return (d >= 0) & (d <= window)


@wrong("local_mask")
def ones_and_zeros(positions, window):
    if window < 1:
        raise ValueError
    d = positions[:, None] - positions[None]
    return ((d >= 0) & (d < window)).float()


@wrong("local_mask")
def any_window(positions, window):
    d = positions[:, None] - positions[None]
    return (d >= 0) & (d < window)


@wrong("local_mask")
def negative_windows_only(positions, window):
    if window < 0:
        raise ValueError
    d = positions[:, None] - positions[None]
    return (d >= 0) & (d < window)


@wrong("local_mask")
def window_of_at_least_two(positions, window):
    if window < 2:
        raise ValueError
    d = positions[:, None] - positions[None]
    return (d >= 0) & (d < window)


@right("local_mask")
def two_loops(positions, window):
    if window < 1:
        raise ValueError("window")
    T = len(positions)
    m = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        for s in range(T):
            m[t, s] = 0 <= int(positions[t]) - int(positions[s]) < window
    return m


@right("local_mask")
def subtract_outer_of_numpy(positions, window):
    if window <= 0:
        raise ValueError("window")
    p = positions.numpy()
    d = np.subtract.outer(p, p)
    return torch.from_numpy((d >= 0) & (d <= window - 1))


@right("local_mask")
def two_comparisons_by_broadcasting(positions, window):
    if window < 1:
        raise ValueError
    t, s = positions.unsqueeze(1), positions.unsqueeze(0)
    return torch.logical_and(s.le(t), s.gt(t - window))


# --- induction_share
def _places(row, pick):
    out = []
    for t in range(len(row)):
        earlier = [j for j in range(t) if row[j] == row[t]]
        if earlier:
            out.append((t, pick(earlier)))
    return out


def _share(ids, weights, pick=lambda e: e[-1], shift=1):
    total, n = torch.zeros(weights.shape[1]), 0
    for b, row in enumerate(ids.tolist()):
        for t, j in _places(row, pick):
            total = total + weights[b, :, t, j + shift]
            n += 1
    return total, n


@wrong("induction_share")
def the_first_time(ids, weights):
    total, n = _share(ids, weights, lambda e: e[0])
    return total / max(n, 1)


@wrong("induction_share")
def the_token_itself(ids, weights):
    total, n = _share(ids, weights, shift=0)
    return total / max(n, 1)


@wrong("induction_share")
def nothing_repeated_is_nan(ids, weights):
    total, n = _share(ids, weights)
    return total / torch.tensor(n)


@wrong("induction_share")
def mean_over_all(ids, weights):
    total, n = _share(ids, weights)
    return total / ids.numel()


@wrong("induction_share")
def mean_of_means(ids, weights):
    rows = []
    for b in range(len(ids)):
        total, n = _share(ids[b : b + 1], weights[b : b + 1])
        rows.append(total / max(n, 1))
    return torch.stack(rows).mean(0)


@wrong("induction_share")
def all_earlier_ones(ids, weights):
    total, n = torch.zeros(weights.shape[1]), 0
    for b, row in enumerate(ids.tolist()):
        for t in range(len(row)):
            e = [j for j in range(t) if row[j] == row[t]]
            if e:
                n += 1
                total = total + sum(weights[b, :, t, j + 1] for j in e)
    return total / max(n, 1)


@wrong("induction_share")
def not_itself(ids, weights):
    """drops repeats right after each other"""
    total, n = torch.zeros(weights.shape[1]), 0
    for b, row in enumerate(ids.tolist()):
        for t, j in _places(row, lambda e: e[-1]):
            if j + 1 < t:
                total = total + weights[b, :, t, j + 1]
                n += 1
    return total / max(n, 1)


@wrong("induction_share")
def mean_over_heads_too(ids, weights):
    total, n = _share(ids, weights)
    return (total / max(n, 1)).mean()


@wrong("induction_share")
def only_the_first_text(ids, weights):
    total, n = _share(ids[:1], weights[:1])
    return total / max(n, 1)


@right("induction_share")
def last_place_kept_in_a_dictionary(ids, weights):
    found = []
    for b, row in enumerate(ids.tolist()):
        last = {}
        for t, token in enumerate(row):
            if token in last:
                found.append(weights[b, :, t, last[token] + 1])
            last[token] = t
    return torch.stack(found).mean(0) if found else torch.zeros(weights.shape[1])


@right("induction_share")
def equal_pairs_and_gather(ids, weights):
    B, T = ids.shape
    same = (ids[:, :, None] == ids[:, None, :]).tril(-1)
    place = (same * torch.arange(1, T + 1)).amax(-1)
    seen = place > 0
    index = place.clamp(max=T - 1)[:, None, :, None].expand(-1, weights.shape[1], -1, 1)
    w = weights.gather(-1, index)[..., 0] * seen[:, None]
    return w.sum((0, 2)) / seen.sum().clamp(min=1)


@right("induction_share")
def numpy_in_double(ids, weights):
    a, w = ids.numpy(), weights.double().numpy()
    total, n = np.zeros(w.shape[1]), 0
    for b in range(a.shape[0]):
        for t in range(1, a.shape[1]):
            hits = np.flatnonzero(a[b, :t] == a[b, t])
            if hits.size:
                total += w[b, :, t, hits[-1] + 1]
                n += 1
    return torch.from_numpy(total / n if n else total)
