"""Answers to the exercises of 14_rlhf, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import itertools

import torch
import torch.nn.functional as F

# --- answer_mask ---------------------------------------------------------------------------------


def starts(ids, start):
    start = start if isinstance(start, torch.Tensor) else torch.tensor([start] * len(ids))
    return start


def am_loops(ids, start, end):
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for b, s in enumerate(starts(ids, start).tolist()):
        for t in range(s, ids.shape[1]):
            mask[b, t] = True
            if ids[b, t] == end:
                break
    return mask


def am_first_place(ids, start, end):
    T, s = ids.shape[1], starts(ids, start)[:, None]
    place = torch.arange(T).expand_as(ids)
    first = torch.where((ids == end) & (place >= s), place, T).amin(1, keepdim=True)
    return (place >= s) & (place <= first)


def am_cumprod(ids, start, end):
    begun = torch.arange(ids.shape[1]) >= starts(ids, start)[:, None]
    going = torch.cumprod(((ids != end) | ~begun).int(), 1)
    return begun & F.pad(going[:, :-1], (1, 0), value=1).bool()


def am_until_the_end(ids, start, end):
    return am_loops(ids, start, end) & (ids != end)


def am_all_after(ids, start, end):
    return torch.arange(ids.shape[1]) >= starts(ids, start)[:, None]


def am_two_ends(ids, start, end):
    mask = am_loops(ids, start, end)
    return mask | F.pad(mask[:, :-1], (1, 0))


def am_any_end(ids, start, end):
    T = ids.shape[1]
    place = torch.arange(T).expand_as(ids)
    first = torch.where(ids == end, place, T).amin(1, keepdim=True)
    return (place >= starts(ids, start)[:, None]) & (place <= first)


def am_argmax(ids, start, end):
    """Of a row without an end argmax says 0."""
    place = torch.arange(ids.shape[1]).expand_as(ids)
    hit = (ids == end) & (place >= starts(ids, start)[:, None])
    first = hit.int().argmax(1, keepdim=True)
    return (place >= starts(ids, start)[:, None]) & (place <= first)


def am_zero(ids, start, end):
    return am_loops(ids, start, 0)


def am_one_start(ids, start, end):
    return am_loops(ids, int(starts(ids, start)[0]), end)


def am_numbers(ids, start, end):
    return am_loops(ids, start, end).float() * 2


def am_shifted(ids, start, end):
    return am_loops(ids, starts(ids, start) - 1, end)


def am_prompt(ids, start, end):
    return am_loops(ids, start, end) | (torch.arange(ids.shape[1]) < starts(ids, start)[:, None])


def am_nothing(ids, start, end):
    return torch.zeros_like(ids, dtype=torch.bool)


# --- ranking_pairs -------------------------------------------------------------------------------


def checked(ranks):
    if len(ranks) < 2 or len(set(ranks.tolist())) < 2:
        raise ValueError("no order")


def rp_loops(ranks):
    checked(ranks)
    n = range(len(ranks))
    return torch.tensor([(i, j) for i in n for j in n if ranks[i] < ranks[j]])


def rp_argsort(ranks):
    checked(ranks)
    order = ranks.argsort(stable=True).tolist()
    rows = [(i, j) for i, j in itertools.combinations(order, 2) if ranks[i] < ranks[j]]
    return torch.tensor(sorted(rows))


def rp_where(ranks):
    rows = torch.stack(torch.where(ranks.unsqueeze(1) - ranks.unsqueeze(0) < 0), 1)
    if rows.numel() == 0:
        raise ValueError("all tie")
    return rows


def rp_large_is_good(ranks):
    checked(ranks)
    n = range(len(ranks))
    return torch.tensor([(i, j) for i in n for j in n if ranks[i] > ranks[j]])


def rp_with_ties(ranks):
    checked(ranks)
    n = range(len(ranks))
    return torch.tensor([(i, j) for i in n for j in n if ranks[i] <= ranks[j] and i != j])


def rp_half(ranks):
    """Only pairs whose better one comes first in the list."""
    checked(ranks)
    pairs = itertools.combinations(range(len(ranks)), 2)
    found = [p for p in pairs if ranks[p[0]] < ranks[p[1]]]
    return torch.tensor(found).reshape(-1, 2)


def rp_best_against_all(ranks):
    checked(ranks)
    best = int(ranks.argmin())
    return torch.tensor([(best, j) for j in range(len(ranks)) if ranks[j] > ranks[best]])


def rp_of_order(ranks):
    """Places in the order, not in the list."""
    checked(ranks)
    ordered = ranks.sort().values
    return rp_loops(ordered)


def rp_by_worse(ranks):
    rows = rp_loops(ranks)
    return rows[rows[:, 1].argsort(stable=True)]


def rp_transposed(ranks):
    return rp_loops(ranks).T


def rp_empty_for_ties(ranks):
    return (ranks[:, None] < ranks[None, :]).nonzero()


def rp_none_for_one(ranks):
    if len(ranks) == 1:
        return torch.zeros(0, 2, dtype=torch.int64)
    return rp_loops(ranks)


def rp_by_one_step(ranks):
    """Only where the ranks are neighbouring numbers."""
    checked(ranks)
    return (ranks[:, None] + 1 == ranks[None, :]).nonzero()


# --- gae -----------------------------------------------------------------------------------------


def deltas(rewards, values, mask, gamma):
    rewards, values = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    ahead = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    return rewards + gamma * ahead - values


def ga_matrix(rewards, values, mask, gamma=1.0, lam=0.95):
    """One product with the table of all (γλ)^(s - t)."""
    delta, T = deltas(rewards, values, mask, gamma), rewards.shape[1]
    gap = torch.arange(T)[None, :] - torch.arange(T)[:, None]
    table = torch.where(gap >= 0, (gamma * lam) ** gap.clamp(min=0).double(), 0.0)
    return ((delta.double() * mask) @ table.T).to(rewards.dtype) * mask


def ga_loop(rewards, values, mask, gamma=1.0, lam=0.95):
    rows = []
    for r, v, m in zip(rewards, values, mask, strict=True):
        out, now, after = [], torch.tensor(0.0), torch.tensor(0.0)
        for t in reversed(range(len(r))):
            if m[t]:
                now = r[t] + gamma * after - v[t] + gamma * lam * now
                after = v[t]
            else:
                now, after = torch.tensor(0.0), torch.tensor(0.0)
            out.append(now)
        rows.append(torch.stack(out[::-1]))
    return torch.stack(rows)


def ga_returns_first(rewards, values, mask, gamma=1.0, lam=0.95):
    """By λ-returns: G_t = r_t + γ ((1 - λ) V_{t+1} + λ G_{t+1})."""
    rewards, values = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    G, V, rows = torch.zeros(len(values)), torch.zeros(len(values)), []
    for t in reversed(range(values.shape[1])):
        G = (rewards[:, t] + gamma * ((1 - lam) * V + lam * G)) * mask[:, t]
        V = values[:, t]
        rows.append(G)
    return (torch.stack(rows[::-1], 1) - values) * mask


def ga_monte_carlo(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards, values, mask, gamma, 1.0)


def ga_delta(rewards, values, mask, gamma=1.0, lam=0.95):
    return deltas(rewards, values, mask, gamma) * mask


def ga_undiscounted(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards, values, mask, 1.0, lam)


def ga_swapped(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards, values, mask, lam, gamma)


def ga_normalised(rewards, values, mask, gamma=1.0, lam=0.95):
    A = ga_matrix(rewards, values, mask, gamma, lam)
    return A / A[mask].std()


def ga_no_baseline(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards, torch.zeros_like(values), mask, gamma, lam)


def ga_unmasked(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards, values, torch.ones_like(mask), gamma, lam)


def ga_mask_at_the_end(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards, values, torch.ones_like(mask), gamma, lam) * mask


def ga_wraps_around(rewards, values, mask, gamma=1.0, lam=0.95):
    r, v = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    delta = r + gamma * v.roll(-1, 1) - v + 1.0 * (mask & ~F.pad(mask[:, 1:], (0, 1)))
    return ga_matrix(delta, torch.zeros_like(v), mask, gamma, lam)


def ga_detached(rewards, values, mask, gamma=1.0, lam=0.95):
    return ga_matrix(rewards.detach(), values, mask, gamma, lam)


# --- clipped_surrogate ---------------------------------------------------------------------------


def gained(log_p, old, A, mask, clip):
    r = torch.where(mask, log_p - old, 0.0).exp()
    return torch.where(mask, torch.minimum(r * A, r.clamp(1 - clip, 1 + clip) * A), 0.0)


def cs_index(log_p, old_log_p, advantage, mask, clip=0.2):
    r, A = (log_p[mask] - old_log_p[mask]).exp(), advantage[mask]
    return -torch.min(r * A, r.clamp(1 - clip, 1 + clip) * A).mean()


def cs_by_sign(log_p, old_log_p, advantage, mask, clip=0.2):
    """A gain stops at 1 + clip, a loss at 1 - clip."""
    r, A = (log_p[mask] - old_log_p[mask]).exp(), advantage[mask]
    return -torch.where(A > 0, r.clamp(max=1 + clip) * A, r.clamp(min=1 - clip) * A).mean()


def cs_max_of_losses(log_p, old_log_p, advantage, mask, clip=0.2):
    r = torch.where(mask, log_p - old_log_p, 0.0).exp()
    losses = torch.max(-advantage * r, -advantage * r.clamp(1 - clip, 1 + clip))
    return torch.where(mask, losses, 0.0).sum() / mask.sum()


def cs_upside_down(log_p, old_log_p, advantage, mask, clip=0.2):
    return gained(log_p, old_log_p, advantage, mask, clip).sum() / mask.sum()


def cs_sum(log_p, old_log_p, advantage, mask, clip=0.2):
    return -gained(log_p, old_log_p, advantage, mask, clip).sum()


def cs_rows(log_p, old_log_p, advantage, mask, clip=0.2):
    return -(gained(log_p, old_log_p, advantage, mask, clip).sum(1) / mask.sum(1)).mean()


def cs_reinforce(log_p, old_log_p, advantage, mask, clip=0.2):
    return -(log_p * advantage)[mask].mean()


def cs_free(log_p, old_log_p, advantage, mask, clip=0.2):
    return -((log_p - old_log_p)[mask].exp() * advantage[mask]).mean()


def cs_clip_logs(log_p, old_log_p, advantage, mask, clip=0.2):
    d, A = (log_p - old_log_p)[mask], advantage[mask]
    return -torch.min(d.exp() * A, d.clamp(-clip, clip).exp() * A).mean()


def cs_clip_above(log_p, old_log_p, advantage, mask, clip=0.2):
    r, A = (log_p - old_log_p)[mask].exp(), advantage[mask]
    return -(r.clamp(max=1 + clip) * A).mean()


def cs_clip_gain(log_p, old_log_p, advantage, mask, clip=0.2):
    r, A = (log_p - old_log_p)[mask].exp(), advantage[mask]
    return -(r * A).clamp(1 - clip, 1 + clip).mean()


def cs_fixed(log_p, old_log_p, advantage, mask, clip=0.2):
    return cs_index(log_p, old_log_p, advantage, mask, 0.2)


def cs_detached(log_p, old_log_p, advantage, mask, clip=0.2):
    return cs_index(log_p.detach(), old_log_p, advantage, mask, clip)


# --- token_rewards -------------------------------------------------------------------------------


def tr_loops(score, log_p, ref_log_p, mask, beta):
    rows = []
    for s, a, b, m in zip(score, log_p, ref_log_p, mask, strict=True):
        last = int(m.nonzero()[-1])
        add = torch.zeros(len(m))
        add[last] = 1.0
        rows.append((beta * (b - a) + add * s) * m)
    return torch.stack(rows)


def tr_cumsum(score, log_p, ref_log_p, mask, beta):
    last = mask & (mask.long().cumsum(1) == mask.sum(1, keepdim=True))
    return torch.where(mask, beta * (ref_log_p - log_p), 0.0) + last * score[:, None]


def tr_neighbour(score, log_p, ref_log_p, mask, beta):
    last = mask & ~F.pad(mask[:, 1:], (0, 1))
    return torch.where(last, score[:, None], 0.0) + mask * beta * (ref_log_p - log_p)


def tr_after_the_last(score, log_p, ref_log_p, mask, beta):
    last = F.pad((mask & ~F.pad(mask[:, 1:], (0, 1)))[:, :-1], (1, 0))
    return torch.where(mask, beta * (ref_log_p - log_p), 0.0) + last * score[:, None]


def tr_no_price_at_the_last(score, log_p, ref_log_p, mask, beta):
    last = mask & ~F.pad(mask[:, 1:], (0, 1))
    return torch.where(last, score[:, None], torch.where(mask, beta * (ref_log_p - log_p), 0.0))


def tr_sign(score, log_p, ref_log_p, mask, beta):
    return tr_loops(score, ref_log_p, log_p, mask, beta)


def tr_divided(score, log_p, ref_log_p, mask, beta):
    """The score is shared out among the tokens of the answer."""
    share = (score / mask.sum(1))[:, None]
    return torch.where(mask, beta * (ref_log_p - log_p) + share, 0.0)


def tr_longest(score, log_p, ref_log_p, mask, beta):
    """The last place of the longest answer, for all."""
    last = torch.arange(mask.shape[1]) == int(mask.any(0).nonzero()[-1])
    return torch.where(mask, beta * (ref_log_p - log_p) + last * score[:, None], 0.0)


WRONG = [
    *(("answer_mask", f) for f in (am_until_the_end, am_all_after, am_two_ends, am_any_end,
      am_argmax, am_zero, am_one_start, am_numbers, am_shifted, am_prompt, am_nothing)),
    *(("ranking_pairs", f) for f in (rp_large_is_good, rp_with_ties, rp_half, rp_best_against_all,
      rp_of_order, rp_by_worse, rp_transposed, rp_empty_for_ties, rp_none_for_one,
      rp_by_one_step)),
    *(("gae", f) for f in (ga_monte_carlo, ga_delta, ga_undiscounted, ga_swapped, ga_normalised,
      ga_no_baseline, ga_unmasked, ga_mask_at_the_end, ga_wraps_around, ga_detached)),
    *(("clipped_surrogate", f) for f in (cs_upside_down, cs_sum, cs_rows, cs_reinforce, cs_free,
      cs_clip_logs, cs_clip_above, cs_clip_gain, cs_fixed, cs_detached)),
    *(("token_rewards", f) for f in (tr_after_the_last, tr_no_price_at_the_last, tr_sign,
      tr_divided, tr_longest)),
]  # fmt: skip

RIGHT = [
    *(("answer_mask", f) for f in (am_loops, am_first_place, am_cumprod)),
    *(("ranking_pairs", f) for f in (rp_loops, rp_argsort, rp_where)),
    *(("gae", f) for f in (ga_matrix, ga_loop, ga_returns_first)),
    *(("clipped_surrogate", f) for f in (cs_index, cs_by_sign, cs_max_of_losses)),
    *(("token_rewards", f) for f in (tr_loops, tr_cumsum, tr_neighbour)),
]  # fmt: skip
