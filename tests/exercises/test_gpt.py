"""Exercises of 10_gpt: mistakes named, wrong answers refused, right ones accepted."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("10_gpt")
INF = math.inf


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "next_token_loss", "trapezoid", "top_k_filter", "top_p_filter", "hidden_nll",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 5


def loops_loss(logits, batch):
    total = 0
    for row, text in zip(logits, batch, strict=True):
        for scores, token in zip(row, text[1:], strict=True):
            total = total + scores.logsumexp(0) - scores[token]
    return total / (batch.shape[0] * (batch.shape[1] - 1))


def loops_k(logits, k):
    rows = []
    for row in logits:
        kept = torch.full_like(row, -INF)
        for place in row.argsort(descending=True)[:k]:
            kept[place] = row[place]
        rows.append(kept)
    return torch.stack(rows)


def loops_p(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    rows = logits.reshape(-1, logits.shape[-1])
    kept = torch.full_like(rows, -INF)
    for i, row in enumerate(rows):
        total = 0.0
        for place in row.argsort(descending=True, stable=True).tolist():
            if total >= p < 1:
                break
            kept[i, place] = row[place]
            total += row.softmax(0)[place].item()
    return kept.view(logits.shape)


def where_p(logits, p):
    """Not the fewest: of equally likely tokens all are kept."""
    if not 0 < p <= 1:
        raise ValueError
    q = logits.double().softmax(-1)
    likelier = (q[..., None, :] > q[..., :, None]) * q[..., None, :]
    return torch.where((likelier.sum(-1) < p) | (p == 1), logits, torch.tensor(-INF))


def pairs_p(logits, p):
    """Each token against each: which are likelier, or as likely and earlier?"""
    if not 0 < p <= 1:
        raise ValueError
    q = logits.double().softmax(-1)
    mine, other = q[..., :, None], q[..., None, :]
    earlier = torch.ones(q.shape[-1], q.shape[-1], dtype=torch.bool).tril(-1)
    before = (((other > mine) | ((other == mine) & earlier)) * other).sum(-1)
    return torch.where((before < p) | (p == 1), logits, torch.tensor(-INF))


def branches(step, steps, warmup, decay):
    factor = torch.ones(len(step))
    factor[step < warmup] = (1 + step[step < warmup]) / warmup
    last = step >= steps - decay
    factor[last] = 1 - (step[last] - (steps - decay)) / decay
    return factor


def loop_hidden(logits, ids, hidden):
    rows = [
        torch.stack([-logits[b, t].log_softmax(0)[ids[b, t]] for t in h.nonzero()[:, 0]]).mean()
        for b, h in enumerate(hidden)
    ]
    return sum(rows) / len(rows)


def gathered_hidden(logits, ids, hidden):
    nll = -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    weight = hidden / hidden.sum(1, keepdim=True) / len(hidden)
    return (nll * weight).sum()


RIGHT = [
    ("hidden_nll", loop_hidden),
    ("next_token_loss", loops_loss),
    ("next_token_loss", lambda logits, batch: F.nll_loss(
        logits.log_softmax(-1).transpose(1, 2), batch[:, 1:])),
    ("next_token_loss", lambda logits, batch: F.cross_entropy(
        logits.double().transpose(1, 2), batch[:, 1:])),
    ("top_p_filter", loops_p),
    ("top_p_filter", pairs_p),
    ("trapezoid", lambda step, steps, warmup, decay: torch.tensor(
        [min(1, (i + 1) / warmup, (steps - i) / decay) for i in step.tolist()])),
]  # fmt: skip


WRONG = [
    ("hidden_nll", gathered_hidden),
    ("next_token_loss", lambda logits, batch: -(
        F.one_hot(batch[:, 1:], logits.shape[-1]) * logits.softmax(-1).log()).sum(-1).mean()),
    ("top_k_filter", loops_k),
    ("top_k_filter", lambda logits, k: torch.where(
        logits >= logits.sort(-1).values[..., -k, None], logits, torch.tensor(-INF))),
    ("top_k_filter", lambda logits, k: torch.full_like(logits, -INF).scatter(
        -1, logits.topk(k).indices, logits.topk(k).values)),
    ("top_p_filter", where_p),
    ("trapezoid", branches),
    ("hidden_nll", lambda x, ids, hidden: loop_hidden(x.detach(), ids, hidden)),
    ("hidden_nll", lambda x, ids, hidden: loop_hidden(x[:1], ids[:1], hidden[:1])),
    ("hidden_nll", lambda x, ids, hidden: loop_hidden(x, ids, hidden) / math.log(2)),
    ("hidden_nll", lambda x, ids, hidden: (
        -x.softmax(-1).gather(-1, ids[..., None])[..., 0][hidden].mean())),
    ("next_token_loss", lambda logits, batch: loops_loss(logits.detach(), batch)),
    ("next_token_loss", lambda logits, batch: F.cross_entropy(logits[:, -1], batch[:, -1])),
    ("next_token_loss", lambda logits, batch: F.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch[:, 2:].flatten())),
    ("next_token_loss", lambda logits, batch: F.cross_entropy(
        logits.softmax(-1).flatten(0, 1), batch[:, 1:].flatten())),
    ("next_token_loss", lambda logits, batch: loops_loss(logits, batch).exp()),
    ("top_k_filter", lambda logits, k: loops_k(logits, k + 1)),
    ("top_k_filter", lambda logits, k: loops_k(logits.T, min(k, len(logits))).T),
    ("top_k_filter", lambda logits, k: loops_k(logits, k).clamp(min=-10)),
    ("top_k_filter", lambda logits, k: loops_k(logits, k).softmax(-1)),
    ("top_p_filter", lambda logits, p: loops_p(logits, 1 - p)),
    ("top_p_filter", lambda logits, p: loops_p(logits[:1].expand_as(logits), p)),
    ("top_p_filter", lambda logits, p: loops_k(logits, max(1, round(p * logits.shape[-1])))),
    ("top_p_filter", lambda logits, p: loops_p(2 * logits, p) / 2),
    ("trapezoid", lambda step, steps, warmup, decay: torch.ones(len(step))),
    ("trapezoid", lambda step, steps, warmup, decay: branches(step + 1, steps, warmup, decay)),
    ("trapezoid", lambda step, steps, warmup, decay: branches(step, steps, decay, warmup)),
    ("trapezoid", lambda step, steps, warmup, decay: (
        0.5 * (1 + torch.cos(math.pi * step / steps)))),
]  # fmt: skip


# --- written from the docstrings alone, before the declared mistakes were read -------------------


def wrong(name):
    return lambda function: WRONG.append((name, function)) or function


def right(name):
    return lambda function: RIGHT.append((name, function)) or function


# --- next_token_loss
@wrong("next_token_loss")
def the_token_just_read(logits, batch):
    return F.cross_entropy(logits.flatten(0, 1), batch[:, :-1].flatten())


@wrong("next_token_loss")
def shifted_twice(logits, batch):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 2:].flatten())


@wrong("next_token_loss")
def logarithm_of_the_softmax(logits, batch):
    p = logits.softmax(-1).gather(-1, batch[:, 1:, None])
    return -p.log().mean()


@wrong("next_token_loss")
def exponentials_bare(logits, batch):
    picked = logits.gather(-1, batch[:, 1:, None])[..., 0]
    return (logits.exp().sum(-1).log() - picked).mean()


@wrong("next_token_loss")
def sum_per_text(logits, batch):
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum") / len(
        batch
    )


@wrong("next_token_loss")
def zero_left_out(logits, batch):
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), ignore_index=0)


@wrong("next_token_loss")
def one_loss_per_text(logits, batch):
    return F.cross_entropy(logits.mT, batch[:, 1:], reduction="none").mean(1)


@wrong("next_token_loss")
def a_little_added(logits, batch):
    p = logits.softmax(-1).gather(-1, batch[:, 1:, None])
    return -(p + 1e-8).log().mean()


@wrong("next_token_loss")
def perplexity(logits, batch):
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).exp()


@wrong("next_token_loss")
def the_lse_detached(logits, batch):
    picked = logits.gather(-1, batch[:, 1:, None])[..., 0]
    return (logits.logsumexp(-1).detach() - picked).mean()


@right("next_token_loss")
def classes_second(logits, batch):
    return F.cross_entropy(logits.transpose(1, 2), batch[:, 1:])


@right("next_token_loss")
def two_loops_in_double(logits, batch):
    B, T, _ = logits.shape
    total = 0
    for b in range(B):
        for t in range(T):
            total = total - logits[b, t].double().log_softmax(0)[batch[b, t + 1]]
    return total / (B * T)


@right("next_token_loss")
def log_prob_of_a_distribution(logits, batch):
    return -torch.distributions.Categorical(logits=logits).log_prob(batch[:, 1:]).mean()


@right("next_token_loss")
def einsum_with_one_hot(logits, batch):
    hot = F.one_hot(batch[:, 1:], logits.shape[-1]).to(logits.dtype)
    z = logits - logits.amax(-1, keepdim=True)
    lp = z - z.exp().sum(-1, keepdim=True).log()
    return -torch.einsum("btv,btv->", hot, lp) / hot.sum()


# --- top_k_filter
@wrong("top_k_filter")
def exactly_k(logits, k):
    if k < 1:
        raise ValueError
    k = min(k, logits.shape[-1])
    i = logits.topk(k, -1).indices
    return torch.full_like(logits, -torch.inf).scatter(-1, i, logits.gather(-1, i))


@wrong("top_k_filter")
def k_above_the_vocabulary_fails(logits, k):
    if k < 1:
        raise ValueError
    return logits.masked_fill(logits < logits.topk(k, -1).values[..., -1:], -torch.inf)


@wrong("top_k_filter")
def zero_keeps_all(logits, k):
    if k < 1:
        return logits.clone()
    k = min(k, logits.shape[-1])
    return logits.masked_fill(logits < logits.topk(k, -1).values[..., -1:], -torch.inf)


@wrong("top_k_filter")
def one_is_kept_at_least(logits, k):
    k = max(1, min(k, logits.shape[-1]))
    return logits.masked_fill(logits < logits.topk(k, -1).values[..., -1:], -torch.inf)


@wrong("top_k_filter")
def ties_fall(logits, k):
    if k < 1:
        raise ValueError
    V = logits.shape[-1]
    if k >= V:
        return logits.clone()
    return logits.masked_fill(logits <= logits.topk(k + 1, -1).values[..., -1:], -torch.inf)


@wrong("top_k_filter")
def two_dimensions(logits, k):
    if k < 1:
        raise ValueError
    k = min(k, logits.shape[1])
    return logits.masked_fill(logits < logits.topk(k, 1).values[:, -1:], -torch.inf)


@wrong("top_k_filter")
def one_threshold_for_all(logits, k):
    if k < 1:
        raise ValueError
    k = min(k, logits.shape[-1])
    return logits.masked_fill(logits < logits.topk(k, -1).values[..., -1].min(), -torch.inf)


@wrong("top_k_filter")
def large_negative(logits, k):
    if k < 1:
        raise ValueError
    k = min(k, logits.shape[-1])
    return logits.masked_fill(logits < logits.topk(k, -1).values[..., -1:], -1e9)


@wrong("top_k_filter")
def by_magnitude(logits, k):
    if k < 1:
        raise ValueError
    k = min(k, logits.shape[-1])
    a = logits.abs()
    return logits.masked_fill(a < a.topk(k, -1).values[..., -1:], -torch.inf)


@wrong("top_k_filter")
def distinct_values(logits, k):
    """the k largest distinct values"""
    if k < 1:
        raise ValueError
    out = torch.full_like(logits, -torch.inf)
    flat, o = logits.reshape(-1, logits.shape[-1]), out.view(-1, logits.shape[-1])
    for r in range(len(flat)):
        vals = flat[r].unique().flip(0)
        th = vals[min(k, len(vals)) - 1]
        o[r] = flat[r].masked_fill(flat[r] < th, -torch.inf)
    return out


@right("top_k_filter")
def sorted_threshold(logits, k):
    if k < 1:
        raise ValueError("k")
    k = min(k, logits.shape[-1])
    th = logits.sort(-1, descending=True).values[..., k - 1 : k]
    return torch.where(logits >= th, logits, -torch.inf)


@right("top_k_filter")
def counting_the_larger(logits, k):
    if k < 1:
        raise ValueError("k")
    larger = (logits[..., None, :] > logits[..., :, None]).sum(-1)
    return torch.where(larger < k, logits, torch.tensor(-math.inf))


@right("top_k_filter")
def row_by_row_in_numpy(logits, k):
    if k < 1:
        raise ValueError("k")
    x = logits.numpy().copy()
    for row in x.reshape(-1, x.shape[-1]):
        th = sorted(row.tolist(), reverse=True)[:k][-1]
        row[row < np.float32(th)] = -np.inf
    return torch.from_numpy(x)


# --- top_p_filter
@wrong("top_p_filter")
def the_crossing_token_falls(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    keep = s.softmax(-1).cumsum(-1) <= p
    return torch.full_like(logits, -torch.inf).scatter(-1, i, s.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def the_crossing_token_falls_but_the_first(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    keep = s.softmax(-1).cumsum(-1) <= p
    keep[..., 0] = True
    return torch.full_like(logits, -torch.inf).scatter(-1, i, s.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def any_p(logits, p):
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    return torch.full_like(logits, -torch.inf).scatter(-1, i, s.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def p_of_one_is_an_error(logits, p):
    if not 0 < p < 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    return torch.full_like(logits, -torch.inf).scatter(-1, i, s.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def p_of_zero_keeps_one(logits, p):
    if not 0 <= p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    keep[..., 0] = True
    return torch.full_like(logits, -torch.inf).scatter(-1, i, s.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def left_in_sorted_order(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    return s.masked_fill(~keep, -torch.inf)


@wrong("top_p_filter")
def probabilities_instead(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    return torch.full_like(logits, -torch.inf).scatter(-1, i, q.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def renormalised(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    return (
        torch.full_like(logits, -torch.inf)
        .scatter(-1, i, s.masked_fill(~keep, -torch.inf))
        .log_softmax(-1)
    )


@wrong("top_p_filter")
def each_above_a_share(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    q = logits.softmax(-1)
    return logits.masked_fill(q < (1 - p) * q.amax(-1, keepdim=True), -torch.inf)


@wrong("top_p_filter")
def ties_kept_too(logits, p):
    """keeps all tokens as likely as the last kept"""
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    q = s.softmax(-1)
    keep = q.cumsum(-1) - q < p
    th = s.masked_fill(~keep, torch.inf).amin(-1, keepdim=True)
    return logits.masked_fill(logits < th, -torch.inf)


@wrong("top_p_filter")
def a_bare_exp(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(-1, descending=True)
    e = s.exp()
    q = e / e.sum(-1, keepdim=True)
    keep = q.cumsum(-1) - q < p
    return torch.full_like(logits, -torch.inf).scatter(-1, i, s.masked_fill(~keep, -torch.inf))


@wrong("top_p_filter")
def matrices_only(logits, p):
    if not 0 < p <= 1:
        raise ValueError
    s, i = logits.sort(1, descending=True)
    q = s.softmax(1)
    keep = q.cumsum(1) - q < p
    out = torch.full_like(logits, -torch.inf)
    return out.scatter(1, i, s.masked_fill(~keep, -torch.inf))


@right("top_p_filter")
def a_loop_with_a_running_sum(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    flat = logits.reshape(-1, logits.shape[-1])
    out = torch.full_like(flat, -torch.inf)
    for r, row in enumerate(flat):
        q, total = row.double().softmax(0), 0.0
        for i in q.argsort(descending=True, stable=True).tolist():
            if total >= p < 1:
                break
            out[r, i] = row[i]
            total += q[i].item()
    return out.reshape(logits.shape)


@right("top_p_filter")
def mask_shifted_by_one(logits, p):
    if p <= 0 or p > 1:
        raise ValueError("p")
    s, i = torch.sort(logits, dim=-1, descending=True, stable=True)
    total = s.softmax(-1).cumsum(-1)
    drop = (total >= p) & (p < 1)
    drop = torch.cat([torch.zeros_like(drop[..., :1]), drop[..., :-1]], -1)
    back = drop.gather(-1, i.argsort(-1))
    return logits.masked_fill(back, -math.inf)


@right("top_p_filter")
def search_sorted_in_numpy(logits, p):
    if not (p > 0 and p <= 1):
        raise ValueError("p")
    x = logits.double().numpy()
    out = np.full_like(x, -np.inf)
    f, o = x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1])
    for a, b in zip(f, o, strict=True):
        order = np.argsort(-a, kind="stable")
        q = np.exp(a[order] - a.max())
        c = np.cumsum(q / q.sum())
        n = min(int(np.searchsorted(c, p)) + 1, len(a)) if p < 1 else len(a)
        b[order[:n]] = a[order[:n]]
    return torch.from_numpy(out)


# --- trapezoid
@wrong("trapezoid")
def ramps_in_pieces(step, steps, warmup, decay):
    return torch.where(
        step < warmup,
        (step + 1) / warmup,
        torch.where(step > steps - decay, (steps - step) / decay, torch.ones(len(step))),
    )


@wrong("trapezoid")
def ramps_multiplied(step, steps, warmup, decay):
    return ((step + 1) / warmup).clamp(max=1) * ((steps - step) / decay).clamp(max=1)


@wrong("trapezoid")
def starts_at_zero(step, steps, warmup, decay):
    up, down = step / warmup, (steps - step) / decay
    return torch.minimum(up, down).clamp(max=1)


@wrong("trapezoid")
def ends_at_zero(step, steps, warmup, decay):
    up, down = (step + 1) / warmup, (steps - 1 - step) / decay
    return torch.minimum(up, down).clamp(max=1)


@wrong("trapezoid")
def whole_division(step, steps, warmup, decay):
    up, down = (step + 1) // warmup, (steps - step) // decay
    return torch.minimum(up, down).clamp(max=1)


@wrong("trapezoid")
def no_decay(step, steps, warmup, decay):
    return ((step + 1) / warmup).clamp(max=1)


@wrong("trapezoid")
def own_steps(step, steps, warmup, decay):
    step = torch.arange(len(step))
    return torch.minimum((step + 1) / warmup, (steps - step) / decay).clamp(max=1)


@wrong("trapezoid")
def decay_wins(step, steps, warmup, decay):
    return torch.where(
        step >= steps - decay, (steps - step) / decay, ((step + 1) / warmup).clamp(max=1)
    )


@wrong("trapezoid")
def no_ceiling(step, steps, warmup, decay):
    return torch.minimum((step + 1) / warmup, (steps - step) / decay)


@wrong("trapezoid")
def kept_as_whole_numbers(step, steps, warmup, decay):
    f = torch.minimum((step + 1) / warmup, (steps - step) / decay).clamp(max=1)
    return f.to(step.dtype)


@wrong("trapezoid")
def cosine_down(step, steps, warmup, decay):
    up = ((step + 1) / warmup).clamp(max=1)
    x = ((steps - step) / decay).clamp(max=1)
    return torch.minimum(up, 0.5 - 0.5 * torch.cos(math.pi * x))


@right("trapezoid")
def a_list_of_minima(step, steps, warmup, decay):
    return torch.tensor([min(1.0, (s + 1) / warmup, (steps - s) / decay) for s in step.tolist()])


@right("trapezoid")
def stacked_and_reduced(step, steps, warmup, decay):
    s = step.double()
    return torch.stack([torch.ones_like(s), (s + 1) / warmup, (steps - s) / decay]).amin(0)


@right("trapezoid")
def minimum_of_numpy(step, steps, warmup, decay):
    s = step.numpy()
    return np.minimum(1, np.minimum((s + 1) / warmup, (steps - s) / decay))


# --- hidden_nll
@wrong("hidden_nll")
def mean_over_hidden(logits, ids, hidden):
    return F.cross_entropy(logits[hidden], ids[hidden])


@wrong("hidden_nll")
def mean_over_the_whole_row(logits, ids, hidden):
    nll = F.cross_entropy(logits.mT, ids, reduction="none")
    return (nll * hidden).mean()


@wrong("hidden_nll")
def sum_of_each_row(logits, ids, hidden):
    nll = F.cross_entropy(logits.mT, ids, reduction="none")
    return (nll * hidden).sum(1).mean()


@wrong("hidden_nll")
def next_tokens(logits, ids, hidden):
    nll = F.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none")
    h = hidden[:, 1:]
    return ((nll * h).sum(1) / h.sum(1).clamp(min=1)).mean()


@wrong("hidden_nll")
def the_visible_ones(logits, ids, hidden):
    nll = F.cross_entropy(logits.mT, ids, reduction="none")
    return ((nll * ~hidden).sum(1) / (~hidden).sum(1).clamp(min=1)).mean()


@wrong("hidden_nll")
def log_of_softmax(logits, ids, hidden):
    nll = -logits.softmax(-1).gather(-1, ids[..., None])[..., 0].log()
    return ((nll * hidden).sum(1) / hidden.sum(1)).mean()


@wrong("hidden_nll")
def zero_times_infinity(logits, ids, hidden):
    nll = -logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return ((nll * hidden).sum(1) / hidden.sum(1)).mean()


@wrong("hidden_nll")
def a_number_for_each_row(logits, ids, hidden):
    nll = F.cross_entropy(logits.mT, ids, reduction="none")
    return (nll * hidden).sum(1) / hidden.sum(1)


@wrong("hidden_nll")
def bare_exponentials(logits, ids, hidden):
    nll = logits.exp().sum(-1).log() - logits.gather(-1, ids[..., None])[..., 0]
    return ((nll * hidden).sum(1) / hidden.sum(1)).mean()


@wrong("hidden_nll")
def detached(logits, ids, hidden):
    nll = F.cross_entropy(logits.mT, ids, reduction="none").detach()
    return ((nll * hidden).sum(1) / hidden.sum(1)).mean()


@right("hidden_nll")
def row_after_row(logits, ids, hidden):
    rows = [F.cross_entropy(l[h], i[h]) for l, i, h in zip(logits, ids, hidden, strict=True)]
    return torch.stack(rows).mean()


@right("hidden_nll")
def weights_by_einsum(logits, ids, hidden):
    nll = F.cross_entropy(logits.double().mT, ids, reduction="none")
    w = hidden.double() / hidden.sum(1, keepdim=True) / len(ids)
    return torch.einsum("bt,bt->", w, torch.where(hidden, nll, 0.0))


@right("hidden_nll")
def a_distribution_of_torch(logits, ids, hidden):
    lp = torch.distributions.Categorical(logits=logits).log_prob(ids)
    return -(torch.where(hidden, lp, 0.0).sum(-1) / hidden.sum(-1)).mean()
