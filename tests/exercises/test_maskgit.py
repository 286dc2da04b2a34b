"""Answers to the exercises of 21_maskgit, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
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


def ne_numpy(z, codebook):
    d = ((z.numpy()[..., None, :] - codebook.numpy()) ** 2).sum(-1)
    return torch.as_tensor(d.argmin(-1))


def ne_einsum(z, codebook):
    d = z[..., None, :] - codebook
    return torch.einsum("...k,...k->...", d, d).argmin(-1)


def ne_broadcast_running(z, codebook):
    best, where = torch.full(z.shape[:-1], torch.inf), torch.zeros(z.shape[:-1], dtype=torch.long)
    for j, e in enumerate(codebook):
        d = ((z - e) ** 2).sum(-1)
        where = torch.where(d < best, j, where)
        best = torch.minimum(best, d)
    return where


def ne_cosine(z, codebook):
    return (F.normalize(z, dim=-1) @ F.normalize(codebook, dim=-1).T).argmax(-1)


def ne_inner(z, codebook):
    return (z @ codebook.T).argmax(-1)


def ne_one_based(z, codebook):
    return torch.cdist(z.reshape(-1, z.shape[-1]), codebook).argmin(1).reshape(z.shape[:-1]) + 1


def ne_as_floats(z, codebook):
    return (z[..., None, :] - codebook).pow(2).sum(-1).argmin(-1).float()


def ne_squeezed(z, codebook):
    return (z[..., None, :] - codebook).pow(2).sum(-1).argmin(-1).squeeze()


def ne_two_dims(z, codebook):
    d = torch.cdist(z.reshape(-1, z.shape[-1]), codebook)
    return d.argmin(1).reshape(*z.shape[:-1]) if z.dim() > 1 else d.argmin(1)


def ne_largest_difference(z, codebook):
    return (z[..., None, :] - codebook).abs().amax(-1).argmin(-1)


def ne_farthest_loop(z, codebook):
    best, where = torch.zeros(z.shape[:-1]), torch.zeros(z.shape[:-1], dtype=torch.long)
    for j, e in enumerate(codebook):
        d = ((z - e) ** 2).sum(-1)
        where[d > best] = j
        best = torch.maximum(best, d)
    return where


def ne_limit(z, codebook):  # a start that is too small
    best, where = torch.full(z.shape[:-1], 100.0), torch.zeros(z.shape[:-1], dtype=torch.long)
    for j, e in enumerate(codebook):
        d = ((z - e) ** 2).sum(-1)
        where[d < best] = j
        best = torch.minimum(best, d)
    return where


def cp_loop(z, q, weight):
    total = 0
    for a, b in zip(z.reshape(-1, z.shape[-1]), q.reshape(-1, z.shape[-1]), strict=False):
        total = total + (b - a.detach()).square().sum() + weight * (a - b.detach()).square().sum()
    return total / z.numel()


def cp_inner(z, q, weight):
    a, b = (q - z.detach()).flatten(), (z - q.detach()).flatten()
    return (a @ a + weight * (b @ b)) / z.numel()


def cp_double(z, q, weight):
    z, q = z.double(), q.double()
    return torch.nn.MSELoss()(q, z.data) + weight * torch.nn.MSELoss()(z, q.data)


def cp_weight_first(z, q, weight):
    return weight * F.mse_loss(q, z.detach()) + F.mse_loss(z, q.detach())


def cp_default_for_zero(z, q, weight):
    weight = weight or 0.25
    return F.mse_loss(q, z.detach()) + weight * F.mse_loss(z, q.detach())


def cp_crossed(z, q, weight):
    return F.mse_loss(z, q.detach()) + weight * F.mse_loss(q, z.detach())


def cp_per_vector(z, q, weight):
    return ((q - z.detach()) ** 2).sum(-1).mean() + weight * ((z - q.detach()) ** 2).sum(-1).mean()


def cp_roots(z, q, weight):
    return (q - z.detach()).norm(dim=-1).mean() + weight * (z - q.detach()).norm(dim=-1).mean()


def cp_nan_at_zero(z, q, weight):
    d1 = ((q - z.detach()) ** 2).sum(-1).sqrt() ** 2
    d2 = ((z - q.detach()) ** 2).sum(-1).sqrt() ** 2
    return (d1 + weight * d2).mean() / z.shape[-1]


def cp_only_rows(z, q, weight):
    n = z.shape[0] * z.shape[-1]
    return (((q - z.detach()) ** 2).sum() + weight * ((z - q.detach()) ** 2).sum()) / n


def cp_kept(z, q, weight):
    return (q - z.detach()).pow(2).mean() + weight * (z - q.detach()).pow(2)


def cp_first_no_grad(z, q, weight):
    with torch.no_grad():
        first = (q - z).pow(2).mean()
    return first + weight * (z - q.detach()).pow(2).mean()


def cp_huber(z, q, weight):
    return 2 * (F.smooth_l1_loss(q, z.detach()) + weight * F.smooth_l1_loss(z, q.detach()))


def ks_lists(confidence, hidden, count):
    rows = []
    for c, h in zip(confidence.tolist(), hidden.tolist(), strict=False):
        places = sorted((i for i in range(len(c)) if h[i]), key=lambda i: -c[i])[:count]
        rows.append([i in places for i in range(len(c))])
    return torch.tensor(rows)


def ks_one_row_at_a_time(confidence, hidden, count):
    keep = torch.zeros_like(hidden)
    for b in range(len(hidden)):
        places = hidden[b].nonzero().flatten()
        keep[
            b, places[confidence[b, places].sort(descending=True, stable=True).indices[:count]]
        ] = True
    return keep


def ks_numpy(confidence, hidden, count):
    values = np.where(hidden, -confidence, np.inf)  # least first
    kept = np.zeros(hidden.shape, dtype=bool)
    np.put_along_axis(kept, values.argsort(1, kind="stable")[:, :count], True, 1)
    return kept & hidden.numpy()


def ks_all_places(confidence, hidden, count):
    order = confidence.argsort(-1, descending=True).argsort(-1)
    return order < count


def ks_after(confidence, hidden, count):
    order = confidence.argsort(-1, descending=True).argsort(-1)
    return (order < count) & hidden


def ks_times(confidence, hidden, count):
    order = (confidence * hidden).argsort(-1, descending=True).argsort(-1)
    return (order < count) & hidden


def ks_minus_one(confidence, hidden, count):
    order = confidence.masked_fill(~hidden, -1).argsort(-1, descending=True).argsort(-1)
    return (order < count) & hidden


def ks_threshold(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, -torch.inf)
    kth = c.sort(-1, descending=True).values[:, min(count, c.shape[1]) - 1 : min(count, c.shape[1])]
    return (c >= kth) & hidden


def ks_topk_plain(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, -torch.inf)
    keep = torch.zeros_like(hidden)
    return keep.scatter(1, c.topk(count, 1).indices, True) & hidden


def ks_topk_no_and(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, -torch.inf)
    keep = torch.zeros_like(hidden)
    return keep.scatter(1, c.topk(min(count, c.shape[1]), 1).indices, True)


def ks_at_least_one(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, -torch.inf)
    keep = torch.zeros_like(hidden)
    return keep.scatter(1, c.topk(max(1, min(count, c.shape[1])), 1).indices, True) & hidden


def ks_smallest_row(confidence, hidden, count):
    count = min(count, int(hidden.sum(1).min()))
    c = confidence.masked_fill(~hidden, -torch.inf)
    return (c.argsort(-1, descending=True).argsort(-1) < count) & hidden


def ks_rest(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, -torch.inf)
    return hidden & ~(c.argsort(-1, descending=True).argsort(-1) < count)


def ks_float(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, -torch.inf)
    return ((c.argsort(-1, descending=True).argsort(-1) < count) & hidden).float()


def ks_less_sure(confidence, hidden, count):
    c = confidence.masked_fill(~hidden, torch.inf)
    return (c.argsort(-1).argsort(-1) < count) & hidden


def ks_big_negative(confidence, hidden, count):
    c = confidence - 10.0 * (~hidden)
    return (c.argsort(-1, descending=True).argsort(-1) < count) & hidden


def ks_ranks(confidence, hidden, count):
    above = (confidence[:, None, :] > confidence[:, :, None]) & hidden[:, None, :]
    return hidden & (above.sum(-1) < count)


def ks_topk_of_all(confidence, hidden, count):
    kept = torch.zeros_like(hidden)
    best = confidence.masked_fill(~hidden, -math.inf).topk(min(count, hidden.shape[1])).indices
    kept = kept.scatter(1, best, True) & hidden
    return kept if kept.any() else hidden


def hs_loop(noise, share):
    out = torch.zeros(noise.shape, dtype=torch.bool)
    for b, (row, r) in enumerate(zip(noise, share.tolist(), strict=False)):
        n = math.ceil(r * len(row))
        out[b, row.topk(n, largest=False).indices] = True
    return out


def hs_kth(noise, share):
    n = (share * noise.shape[1]).ceil().long()
    return noise <= noise.sort(1).values.gather(1, (n - 1)[:, None])


def hs_count_smaller(noise, share):
    rank = (noise[:, None, :] < noise[:, :, None]).sum(-1)
    return rank < share[:, None] * noise.shape[1]


def hs_floor_one(noise, share):
    n = (share * noise.shape[1]).floor() + 1
    return noise.argsort(1).argsort(1) < n[:, None]


def hs_floor_min(noise, share):
    n = (share * noise.shape[1]).floor().clamp(min=1)
    return noise.argsort(1).argsort(1) < n[:, None]


def hs_round(noise, share):
    n = (share * noise.shape[1]).round().clamp(min=1)
    return noise.argsort(1).argsort(1) < n[:, None]


def hs_coin(noise, share):
    return noise < share[:, None]


def hs_argsort_once(noise, share):
    return noise.argsort(1) < (share * noise.shape[1]).ceil()[:, None]


def hs_most(noise, share):
    n = (share * noise.shape[1]).ceil()
    return noise.argsort(1, descending=True).argsort(1) < n[:, None]


def hs_strict(noise, share):
    n = (share * noise.shape[1]).ceil().long()
    kth = noise.sort(1).values.gather(1, (n - 1)[:, None])
    return noise < kth


def hs_never_all(noise, share):
    n = (share * noise.shape[1]).ceil().clamp(max=noise.shape[1] - 1)
    return noise.argsort(1).argsort(1) < n[:, None]


def hs_quantile(noise, share):
    q = torch.stack([torch.quantile(r, s) for r, s in zip(noise, share, strict=False)])
    return noise <= q[:, None]


def hs_long(noise, share):
    n = (share * noise.shape[1]).ceil()
    return (noise.argsort(1).argsort(1) < n[:, None]).long()


def hs_wrong_length(noise, share):
    n = (share * noise.shape[0]).ceil()
    return noise.argsort(1).argsort(1) < n[:, None]


NE, CP, KS, HS = "nearest_entry", "codebook_penalty", "keep_surest", "hide_share"
RIGHT = [
    *((NE, f) for f in (ne_cdist, ne_loops, ne_double)),
    *((CP, f) for f in (cp_library, cp_loops, cp_scaled)),
    *((KS, f) for f in (ks_loops,)),
    *((HS, f) for f in (hs_loops, hs_scatter)),
    *(
        (NE, f)
        for f in (
            ne_numpy,
            ne_einsum,
            ne_broadcast_running,
        )
    ),
    *(
        (CP, f)
        for f in (
            cp_loop,
            cp_inner,
            cp_double,
        )
    ),
    *(
        (KS, f)
        for f in (
            ks_lists,
            ks_one_row_at_a_time,
            ks_numpy,
        )
    ),
    *(
        (HS, f)
        for f in (
            hs_loop,
            hs_kth,
            hs_count_smaller,
        )
    ),
]
WRONG = [
    *((NE, f) for f in (ne_manhattan, ne_half, ne_plus, ne_length_not_squared)),
    *((CP, f) for f in (cp_nothing_detached, cp_swapped, cp_encoder_only, cp_per_row, cp_norm)),
    *((KS, f) for f in (ks_whole_batch, ks_all, ks_columns)),
    *((HS, f) for f in (hs_first, hs_one_share, hs_columns)),
    *(
        (NE, f)
        for f in (
            ne_cosine,
            ne_inner,
            ne_one_based,
            ne_as_floats,
            ne_squeezed,
            ne_two_dims,
            ne_largest_difference,
            ne_farthest_loop,
            ne_limit,
        )
    ),
    *(
        (CP, f)
        for f in (
            cp_weight_first,
            cp_default_for_zero,
            cp_crossed,
            cp_per_vector,
            cp_roots,
            cp_nan_at_zero,
            cp_only_rows,
            cp_kept,
            cp_first_no_grad,
            cp_huber,
        )
    ),
    *(
        (KS, f)
        for f in (
            ks_all_places,
            ks_after,
            ks_times,
            ks_minus_one,
            ks_threshold,
            ks_topk_plain,
            ks_topk_no_and,
            ks_at_least_one,
            ks_smallest_row,
            ks_rest,
            ks_float,
            ks_less_sure,
            ks_big_negative,
            ks_ranks,
            ks_topk_of_all,
        )
    ),
    *(
        (HS, f)
        for f in (
            hs_floor_one,
            hs_floor_min,
            hs_round,
            hs_coin,
            hs_argsort_once,
            hs_most,
            hs_strict,
            hs_never_all,
            hs_quantile,
            hs_long,
            hs_wrong_length,
        )
    ),
    (KS, ks_topk),
]

SAID = [
    (CP, cp_nothing_detached, "both terms move the vectors z"),
    (CP, cp_encoder_only, "both terms move the vectors z"),
    (CP, cp_swapped, "held the wrong sides still"),
    (CP, cp_first_no_grad, "no gradient flows back to q"),
    (KS, ks_topk, "larger than the row"),
    (KS, ks_ranks, "a threshold keeps too many"),
    (HS, hs_floor_one, "3 is 3 and not 4"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "21_maskgit"), answer).sentence
