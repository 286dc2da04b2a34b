"""Answers to the exercises of 18_moe, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import torch
import torch.nn.functional as F

from genai_utils.language import moe

# --- top_k_gates ---------------------------------------------------------------------------------


def checked(logits, k):
    if k < 1 or k > logits.shape[1]:
        raise ValueError("k")


def tk_masked(logits, k):
    checked(logits, k)
    least = logits.sort(-1, descending=True).values[:, k - 1 : k]
    return logits.masked_fill(logits < least, -torch.inf).softmax(-1)


def tk_divided(logits, k):
    """Softmax over all, then what is kept divided by its sum; in double precision."""
    checked(logits, k)
    p = logits.double().softmax(-1)
    best = logits.argsort(-1, descending=True)[:, :k]
    kept = torch.zeros_like(p).scatter(-1, best, p.gather(-1, best))
    return (kept / kept.sum(-1, keepdim=True)).to(logits.dtype)


def tk_loops(logits, k):
    checked(logits, k)
    rows = []
    for row in logits:
        best = sorted(range(len(row)), key=lambda i: -row[i].item())[:k]
        weights = torch.softmax(torch.stack([row[i] for i in best]), 0)
        share = [row[0] * 0 for _ in row]
        for i, w in zip(best, weights, strict=True):
            share[i] = w
        rows.append(torch.stack(share))
    return torch.stack(rows)


def tk_clamped(logits, k):
    return tk_masked(logits, max(1, min(k, logits.shape[1])))


def tk_zero_is_none(logits, k):
    if k > logits.shape[1]:
        raise ValueError("k")
    return torch.zeros_like(logits) if k < 1 else tk_masked(logits, k)


def tk_index_error(logits, k):
    if k < 1 or k > logits.shape[1]:
        raise IndexError("k")
    return tk_masked(logits, k)


def tk_plain_exp(logits, k):
    checked(logits, k)
    kept = logits.exp() * (tk_masked(logits, k) > 0)
    return kept / kept.sum(-1, keepdim=True)


def tk_more_than_k(logits, k):
    checked(logits, k)
    return tk_masked(logits, min(k + 1, logits.shape[1]))


def tk_sigmoid(logits, k):
    checked(logits, k)
    kept = logits.sigmoid() * (tk_masked(logits, k) > 0)
    return kept / kept.sum(-1, keepdim=True)


def tk_logits_divided(logits, k):
    checked(logits, k)
    kept = logits * (tk_masked(logits, k) > 0)
    return kept / kept.sum(-1, keepdim=True)


def tk_sorted(logits, k):
    checked(logits, k)
    gates = logits.topk(k).values.softmax(-1)
    return F.pad(gates, (0, logits.shape[1] - k))


def tk_detached(logits, k):
    return tk_masked(logits, k).detach() + 0 * logits.clamp(-1, 1)


def tk_temperature(logits, k):
    checked(logits, k)
    return tk_masked(logits / 2, k)


# --- queue_places --------------------------------------------------------------------------------


def qp_loop(chosen, experts):
    waiting, places = [0] * experts, []
    for i in chosen.flatten().tolist():
        places.append(waiting[i])
        waiting[i] += 1
    return torch.tensor(places).view(chosen.shape)


def qp_pairs(chosen, experts):
    flat = chosen.flatten()
    same = flat[:, None] == flat[None, :]
    return same.tril(-1).sum(1).view_as(chosen)


def qp_sorted(chosen, experts):
    flat = chosen.reshape(-1)
    order = flat.argsort(stable=True)
    begin = torch.searchsorted(flat[order], torch.arange(experts))
    places = torch.empty_like(flat)
    places[order] = torch.arange(len(flat)) - begin[flat[order]]
    return places.reshape(chosen.shape)


def qp_one_based(chosen, experts):
    return qp_loop(chosen, experts) + 1


def qp_columns(chosen, experts):
    return qp_loop(chosen.T.contiguous(), experts).T


def qp_shared_by_a_token(chosen, experts):
    """Both choices of a token get the number of tokens before, whoever asked."""
    one = F.one_hot(chosen, experts).sum(1)
    return (one.cumsum(0) - one).gather(1, chosen) + torch.arange(chosen.shape[1])


def qp_unstable(chosen, experts):
    flat = chosen.flatten()
    order = flat.flip(0).argsort(stable=True)
    places = torch.empty_like(flat)
    for i in range(experts):
        mine = order[flat.flip(0)[order] == i]
        places[mine] = torch.arange(len(mine))
    return places.flip(0).view_as(chosen)


def qp_floats(chosen, experts):
    return qp_loop(chosen, experts).float() + 0.5


def qp_rows_only(chosen, experts):
    """Counts tokens, not choices: each row stands alone."""
    return torch.zeros_like(chosen) + torch.arange(chosen.shape[1])


def qp_first_column(chosen, experts):
    first = qp_loop(chosen[:, :1], experts)
    return first.expand_as(chosen).clone()


def qp_bytes(chosen, experts):
    one = (chosen.reshape(-1, 1) == torch.arange(experts)).to(torch.int8)
    return ((one.cumsum(0, dtype=torch.int8) - one) * one).sum(1).view_as(chosen)


def qp_squeezed(chosen, experts):
    return qp_loop(chosen, experts).squeeze()


def qp_experts_of_the_row(chosen, experts):
    return chosen.clone()


# --- balance_loss --------------------------------------------------------------------------------


def bl_loops(p, chosen):
    n, experts = p.shape
    total = 0.0
    for i in range(experts):
        share = sum(c == i for c in chosen.flatten().tolist()) / chosen.numel()
        total = total + share * p[:, i].sum() / n
    return experts * total


def bl_one_hot(p, chosen):
    f = F.one_hot(chosen, p.shape[1]).float().mean((0, 1))
    return p.shape[1] * torch.dot(f, p.mean(0))


def bl_bincount(p, chosen):
    f = torch.bincount(chosen.flatten(), minlength=p.shape[1]) / chosen.numel()
    return (p @ f).mean() * p.shape[1]


def bl_no_minlength(p, chosen):
    f = torch.bincount(chosen.flatten()) / chosen.numel()
    return len(f) * (f * p.mean(0)[: len(f)]).sum()


def bl_divided(p, chosen):
    return bl_one_hot(p, chosen) / p.shape[1] ** 2


def bl_first_choice(p, chosen):
    return bl_one_hot(p, chosen[:, :1])


def bl_per_token(p, chosen):
    return bl_one_hot(p, chosen) * chosen.shape[1]


def bl_argmax(p, chosen):
    return bl_one_hot(p, p.argmin(-1, keepdim=True))


def bl_entropy(p, chosen):
    m = p.mean(0)
    return (m * m.log()).sum()


def bl_spread(p, chosen):
    f = F.one_hot(chosen, p.shape[1]).float().mean((0, 1))
    return f.var() + 0 * p.sum()


def bl_detached(p, chosen):
    return bl_one_hot(p.detach(), chosen) + 0 * p.sum()


def bl_squared(p, chosen):
    f = F.one_hot(chosen, p.shape[1]).float().mean((0, 1))
    return p.shape[1] * (f * p.square().mean(0)).sum()


def bl_minus_one(p, chosen):
    return bl_one_hot(p, chosen) - 1


def bl_negative(p, chosen):
    return -bl_one_hot(p, chosen)


# --- choose --------------------------------------------------------------------------------------


def ch_subtracted(p, k, bias=None):
    bias = torch.zeros(p.shape[1]) if bias is None else bias
    value, chosen = (p + bias).topk(k)
    gates = value - bias[chosen]
    return gates / gates.sum(1, keepdim=True), chosen


def ch_log_softmax(p, k, bias=None):
    chosen = (p + (0 if bias is None else bias)).argsort(1, descending=True)[:, :k]
    return p.gather(1, chosen).log().softmax(1), chosen


def ch_loops(p, k, bias=None):
    gates, chosen = [], []
    for row in p:
        wanted = row if bias is None else row + bias
        best = sorted(range(len(row)), key=lambda i: -wanted[i].item())[:k]
        gates.append(row[best] / row[best].sum())
        chosen.append(best)
    return torch.stack(gates), torch.tensor(chosen)


def ch_softmax_of_biased(p, k, bias=None):
    _, chosen = moe.choose(p, k, bias)
    wanted = p if bias is None else p + bias
    return wanted.gather(1, chosen).softmax(1), chosen


def ch_biased_sum(p, k, bias=None):
    _, chosen = moe.choose(p, k, bias)
    wanted = p if bias is None else p + bias
    return p.gather(1, chosen) / wanted.gather(1, chosen).sum(1, keepdim=True), chosen


def ch_ordered_by_gate(p, k, bias=None):
    gates, chosen = moe.choose(p, k, bias)
    order = gates.argsort(1)
    return gates.gather(1, order), chosen.gather(1, order)


def ch_all_p(p, k, bias=None):
    _, chosen = moe.choose(p, k, bias)
    return p.gather(1, chosen) / p.sum(1, keepdim=True), chosen


def ch_halved(p, k, bias=None):
    return moe.choose(p, k, None if bias is None else bias / 2)


def ch_times(p, k, bias=None):
    return moe.choose(p, k, None if bias is None else p * bias)


WRONG = [
    *(("top_k_gates", f) for f in (tk_clamped, tk_zero_is_none, tk_index_error, tk_plain_exp,
      tk_more_than_k, tk_sigmoid, tk_logits_divided, tk_sorted, tk_detached, tk_temperature)),
    *(("queue_places", f) for f in (qp_one_based, qp_columns, qp_shared_by_a_token, qp_unstable,
      qp_floats, qp_rows_only, qp_first_column, qp_bytes, qp_squeezed, qp_experts_of_the_row)),
    *(("balance_loss", f) for f in (bl_no_minlength, bl_divided, bl_first_choice, bl_per_token,
      bl_argmax, bl_entropy, bl_spread, bl_detached, bl_squared, bl_minus_one, bl_negative)),
    *(("choose", f) for f in (ch_softmax_of_biased, ch_biased_sum, ch_ordered_by_gate, ch_all_p,
      ch_halved, ch_times)),
]  # fmt: skip

RIGHT = [
    *(("top_k_gates", f) for f in (tk_masked, tk_divided, tk_loops)),
    *(("queue_places", f) for f in (qp_loop, qp_pairs, qp_sorted)),
    *(("balance_loss", f) for f in (bl_loops, bl_one_hot, bl_bincount)),
    *(("choose", f) for f in (ch_subtracted, ch_log_softmax, ch_loops)),
]  # fmt: skip
