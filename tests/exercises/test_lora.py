"""Answers to the exercises of 15_lora, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import torch
import torch.nn.functional as F

# --- low_rank_linear -----------------------------------------------------------------------------


def lo_merged(x, weight, bias, A, B, alpha):
    return F.linear(x, weight + alpha / A.shape[0] * B @ A, bias)


def lo_einsum(x, weight, bias, A, B, alpha):
    y = torch.einsum("...n,mn->...m", x, weight)
    y = y + torch.einsum("...n,rn,mr->...m", x, A, B) * (alpha / B.shape[1])
    return y if bias is None else y + bias


def lo_matmul(x, weight, bias, A, B, alpha):
    low = (x @ A.t()) @ B.t()
    return x @ weight.t() + (0 if bias is None else bias) + low * alpha / len(A)


def lo_double(x, weight, bias, A, B, alpha):
    x, weight, A, B = (t.double() for t in (x, weight, A, B))
    y = x @ weight.T + alpha / len(A) * x @ (B @ A).T
    return (y if bias is None else y + bias.double()).float()


def lo_frozen_only(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias)


def lo_alpha_times_r(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) + alpha * len(A) * (x @ A.T @ B.T)


def lo_r_over_alpha(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) + len(A) / alpha * (x @ A.T @ B.T)


def lo_over_m(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) + alpha / len(B) * (x @ A.T @ B.T)


def lo_minus(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) - alpha / len(A) * (x @ A.T @ B.T)


def lo_detached(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) + alpha / len(A) * (x @ A.detach().T @ B.T)


def lo_bias_needed(x, weight, bias, A, B, alpha):
    return x @ weight.T + bias + alpha / len(A) * (x @ A.T @ B.T)


def lo_three_axes(x, weight, bias, A, B, alpha):
    if x.ndim == 1:
        x = x[None]
    return F.linear(x, weight, bias) + alpha / len(A) * (x @ A.T @ B.T)


def lo_relu(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) + alpha / len(A) * (F.relu(x @ A.T) @ B.T)


def lo_wrong_order(x, weight, bias, A, B, alpha):
    return F.linear(x, weight, bias) + alpha / len(A) * (x @ (A.T @ B.T).T)


# --- quantize_blocks -----------------------------------------------------------------------------


def qb_loops(w, table, block):
    flat, codes, scales = w.reshape(-1), [], []
    for start in range(0, len(flat), block):
        part = flat[start : start + block]
        scale = part.abs().max()
        scales.append(scale)
        for x in part:
            unit = x / scale if scale > 0 else x
            codes.append(min(range(len(table)), key=lambda c: (abs(unit - table[c]).item(), c)))
    return torch.tensor(codes, dtype=torch.uint8).view(w.shape), torch.stack(scales)


def qb_argmin(w, table, block):
    pad = (block - w.numel() % block) % block
    rows = torch.cat([w.flatten(), w.new_zeros(pad)]).view(-1, block)
    scale = rows.abs().max(1).values
    unit = torch.where(scale[:, None] == 0, 0.0, rows / scale[:, None].clamp(min=1e-30))
    codes = (unit.unsqueeze(-1) - table).abs().argmin(-1)
    return codes.view(-1)[: w.numel()].view_as(w).to(torch.uint8), scale


def qb_searchsorted(w, table, block):
    rows = F.pad(w.reshape(-1), (0, -w.numel() % block)).reshape(-1, block)
    scale = rows.abs().amax(dim=1)
    unit = rows / scale.masked_fill(scale == 0, 1.0)[:, None]
    middle = table[:-1] + table.diff() / 2
    codes = torch.searchsorted(middle, unit.contiguous())
    return codes.reshape(-1)[: w.numel()].reshape(w.shape).byte(), scale


def qb_signed(w, table, block):
    codes, scale = qb_argmin(w, table, block)
    return codes, F.pad(w.flatten(), (0, -w.numel() % block)).view(-1, block).amax(1)


def qb_by_rows(w, table, block):
    """A scale for each row of the matrix."""
    unit = w / w.abs().amax(-1, keepdim=True)
    return (unit[..., None] - table).abs().argmin(-1).to(torch.uint8), w.abs().amax(-1)


def qb_no_zero(w, table, block):
    rows = F.pad(w.flatten(), (0, -w.numel() % block)).view(-1, block)
    scale = rows.abs().amax(1)
    codes = (rows / scale[:, None])[..., None].sub(table).abs().argmin(-1)
    return codes.flatten()[: w.numel()].view(w.shape).to(torch.uint8), scale


def qb_scale_one_for_zero(w, table, block):
    codes, scale = qb_argmin(w, table, block)
    return codes, torch.where(scale > 0, scale, 1.0)


def qb_drops_the_rest(w, table, block):
    full = w.numel() // block * block
    rows = w.flatten()[:full].view(-1, block)
    codes, scale = qb_argmin(rows, table, block)
    return F.pad(codes.flatten(), (0, w.numel() - full)).view(w.shape), scale


def qb_values(w, table, block):
    """Levels in place of codes."""
    codes, scale = qb_argmin(w, table, block)
    return table[codes.long()], scale


def qb_flat(w, table, block):
    codes, scale = qb_argmin(w, table, block)
    return codes.flatten(), scale


def qb_swapped(w, table, block):
    return qb_argmin(w, table, block)[::-1]


def qb_inverse_scale(w, table, block):
    codes, scale = qb_argmin(w, table, block)
    return codes, 1 / scale


def qb_upper_tie(w, table, block):
    rows = F.pad(w.flatten(), (0, -w.numel() % block)).view(-1, block)
    scale = rows.abs().amax(1)
    unit = rows / torch.where(scale > 0, scale, 1.0)[:, None]
    codes = len(table) - 1 - (unit[..., None] - table.flip(0)).abs().argmin(-1)
    return codes.flatten()[: w.numel()].view(w.shape).to(torch.uint8), scale


def qb_not_scaled(w, table, block):
    scale = qb_argmin(w, table, block)[1]
    return (w[..., None] - table).abs().argmin(-1).to(torch.uint8), scale


def qb_one_less(w, table, block):
    return qb_argmin(w, table, max(1, block - 1))


# --- acceptance ----------------------------------------------------------------------------------


def ac_distance(p, q):
    return 1 - (p - q).abs().sum(-1) / 2


def ac_more(p, q):
    return 1 - (p - q).clamp(min=0).sum(-1)


def ac_where(p, q):
    return torch.where(p < q, p, q).sum(dim=-1)


def ac_stack(p, q):
    return torch.stack([p, q]).amin(0).double().sum(-1)


def ac_argmax(p, q):
    return (p.argmax(-1) == q.argmax(-1)).float()


def ac_root(p, q):
    return (p * q).sqrt().sum(-1)


def ac_cosine(p, q):
    return F.cosine_similarity(p, q, dim=-1)


def ac_kl(p, q):
    return (-(q * (q / p).log()).sum(-1)).exp()


def ac_ratio_of_sums(p, q):
    return p.sum(-1) / q.sum(-1)


def ac_first_axis(p, q):
    return torch.minimum(p, q).sum(0)


def ac_not_clamped(p, q):
    return (q * (p / q)).sum(-1)


def ac_kept(p, q):
    return torch.minimum(p, q).sum(-1, keepdim=True)


def ac_nan(p, q):
    return (q * torch.minimum(p / q, torch.ones(()))).sum(-1)


def ac_of_the_likeliest(p, q):
    x = q.argmax(-1, keepdim=True)
    return (p.gather(-1, x) / q.gather(-1, x)).clamp(max=1)[..., 0]


# --- verify --------------------------------------------------------------------------------------


def ve_loop(p, q, drafted, u):
    for i, x in enumerate(drafted.tolist()):
        if u[i] * q[i, x] >= p[i, x]:
            rest = torch.relu(p[i] - q[i])
            return i, rest / rest.sum() if rest.sum() > 0 else p[i]
    return len(drafted), p[-1]


def ve_minimum(p, q, drafted, u):
    k = len(drafted)
    ratio = (p[:k] / q).gather(1, drafted[:, None])[:, 0].clamp(max=1)
    fell = (u >= ratio).nonzero()
    n = int(fell[0]) if len(fell) else k
    if n == k:
        return n, p[k]
    rest = p[n] - torch.minimum(p[n], q[n])
    return n, p[n] if rest.sum() == 0 else rest / rest.sum()


def ve_padded(p, q, drafted, u):
    """After the last draft the small model has nothing: what p has more is all of it."""
    k = len(drafted)
    padded = torch.cat([q, torch.zeros_like(p[:1])])
    fell = u >= (p[:k] / q)[torch.arange(k), drafted]
    n = int(torch.cat([fell, torch.tensor([True])]).int().argmax())
    rest = torch.relu(p[n] - padded[n])
    return n, p[n] if not rest.any() else rest / rest.sum()


def ve_softmax(p, q, drafted, u):
    n, _ = ve_loop(p, q, drafted, u)
    return (n, p[n]) if n == len(drafted) else (n, (p[n] - q[n]).softmax(0))


def ve_ratio(p, q, drafted, u):
    n, _ = ve_loop(p, q, drafted, u)
    if n == len(drafted):
        return n, p[n]
    rest = p[n] / q[n]
    return n, rest / rest.sum()


def ve_next_row(p, q, drafted, u):
    n, after = ve_loop(p, q, drafted, u)
    return n, p[n + 1] if n < len(drafted) else after


def ve_mean(p, q, drafted, u):
    n, after = ve_loop(p, q, drafted, u)
    return n, (p[n] + q[n]) / 2 if n < len(drafted) else after


def ve_counts_all(p, q, drafted, u):
    """All that stand count, also behind one that fell."""
    place = torch.arange(len(drafted))
    n = int((u < p[place, drafted] / q[place, drafted]).sum())
    return n, ve_loop(p, q, drafted, u)[1]


def ve_greedy(p, q, drafted, u):
    n, after = ve_loop(p, q, drafted, u)
    return n, F.one_hot(after.argmax(), len(after)).to(after.dtype)


def ve_last_of_p(p, q, drafted, u):
    return ve_loop(p, q, drafted, u)[0], p[-1]


WRONG = [
    *(("low_rank_linear", f) for f in (lo_frozen_only, lo_alpha_times_r, lo_r_over_alpha, lo_over_m,
      lo_minus, lo_detached, lo_bias_needed, lo_three_axes, lo_relu, lo_wrong_order)),
    *(("quantize_blocks", f) for f in (qb_signed, qb_by_rows, qb_no_zero, qb_scale_one_for_zero,
      qb_drops_the_rest, qb_values, qb_flat, qb_swapped, qb_inverse_scale, qb_upper_tie,
      qb_not_scaled, qb_one_less)),
    *(("acceptance", f) for f in (ac_argmax, ac_root, ac_cosine, ac_kl, ac_ratio_of_sums,
      ac_first_axis, ac_not_clamped, ac_kept, ac_nan, ac_of_the_likeliest)),
    *(("verify", f) for f in (ve_softmax, ve_ratio, ve_next_row, ve_mean, ve_counts_all, ve_greedy,
      ve_last_of_p)),
]  # fmt: skip

RIGHT = [
    *(("low_rank_linear", f) for f in (lo_merged, lo_einsum, lo_matmul, lo_double)),
    *(("quantize_blocks", f) for f in (qb_loops, qb_argmin, qb_searchsorted)),
    *(("acceptance", f) for f in (ac_distance, ac_more, ac_where, ac_stack)),
    *(("verify", f) for f in (ve_loop, ve_minimum, ve_padded)),
]  # fmt: skip
