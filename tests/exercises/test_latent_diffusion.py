"""Answers to the exercises of 29_latent_diffusion, written without a look at the mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import torch
import torch.nn.functional as F

# --- latent_statistics ---------------------------------------------------------------------------


def safe(std):
    return torch.where(std > 0, std, torch.ones_like(std))


def ls_flat(z):
    flat = z.transpose(0, 1).flatten(1)  # (C, B H W)
    return flat.mean(1), safe(flat.std(1, correction=0))


def ls_loop(z):
    means = [z[:, c].mean() for c in range(z.shape[1])]
    stds = [(z[:, c] - m).pow(2).mean().sqrt() for c, m in enumerate(means)]
    return torch.stack(means), torch.stack([s if s > 0 else torch.ones_like(s) for s in stds])


def ls_einsum(z):
    n = z[:, 0].numel()
    m = torch.einsum("bchw->c", z) / n
    centred = z - m.view(1, -1, 1, 1)
    return m, safe(torch.einsum("bchw,bchw->c", centred, centred).div(n).sqrt())


def ls_unbiased_far(z):
    """As if there were two numbers fewer."""
    m, s = ls_flat(z)
    n = z[:, 0].numel()
    return m, safe(s * math.sqrt(n / (n - 2)))


def ls_swapped(z):
    return ls_flat(z)[::-1]


def ls_of_examples(z):
    return z.mean((1, 2, 3)), safe(z.std((1, 2, 3), correction=0))


def ls_scalar(z):
    return z.mean(), z.std(correction=0)


def ls_absolute(z):
    m = z.mean((0, 2, 3))
    return m, safe((z - m[:, None, None]).abs().mean((0, 2, 3)))


def ls_batch_only(z):
    return z.mean(0), safe(z.std(0, correction=0))


def ls_sum(z):
    m = z.mean((0, 2, 3))
    return m, safe((z - m[:, None, None]).square().sum((0, 2, 3)).sqrt())


def ls_with_small(z):
    m, s = ls_flat(z)
    return m, s + 0.01


def ls_zero(z):
    flat = z.transpose(0, 1).flatten(1)
    return flat.mean(1), flat.std(1, correction=0)


# --- cross_attention -----------------------------------------------------------------------------


def divides(c, heads):
    if c % heads:
        raise ValueError("heads")


def ca_loop(q, k, v, heads):
    divides(q.shape[-1], heads)
    outs, maps = [], []
    for a, b, c in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
        w = (a @ b.mT / math.sqrt(a.shape[-1])).softmax(-1)
        outs.append(w @ c)
        maps.append(w)
    return torch.cat(outs, -1), torch.stack(maps, 1)


def ca_einsum(q, k, v, heads):
    divides(q.shape[-1], heads)
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
    w = torch.einsum("bphi,bshi->bhps", q, k).div(q.shape[-1] ** 0.5).softmax(-1)
    return torch.einsum("bhps,bshi->bphi", w, v).flatten(2), w


def ca_batched(q, k, v, heads):
    """Heads as further examples."""
    divides(q.shape[-1], heads)
    B = len(q)
    fold = lambda x: torch.cat(x.chunk(heads, -1))  # noqa: E731
    w = torch.softmax(fold(q) @ fold(k).mT * (q.shape[-1] / heads) ** -0.5, -1)
    out = torch.cat((w @ fold(v)).split(B), -1)
    return out, torch.stack(w.split(B), 1)


def ca_only_output(q, k, v, heads):
    return ca_loop(q, k, v, heads)[0]


def ca_mean_map(q, k, v, heads):
    out, w = ca_loop(q, k, v, heads)
    return out, w.mean(1)


def ca_of_words(q, k, v, heads):
    """Words ask, places answer."""
    divides(q.shape[-1], heads)
    w = ca_loop(q, k, v, heads)[1].mT.softmax(-1).mT
    return ca_loop(q, k, v, heads)[0] * 0.5, w


def ca_no_softmax(q, k, v, heads):
    divides(q.shape[-1], heads)
    outs, maps = [], []
    for a, b, c in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
        w = a @ b.mT / math.sqrt(a.shape[-1])
        outs.append(w @ c)
        maps.append(w)
    return torch.cat(outs, -1), torch.stack(maps, 1)


def ca_twice(q, k, v, heads):
    out, w = ca_loop(q, k, v, heads)
    return out, w.softmax(-1)


def ca_residual(q, k, v, heads):
    out, w = ca_loop(q, k, v, heads)
    return q + out, w


def ca_values_first(q, k, v, heads):
    return ca_loop(q, v, k, heads)


def ca_hard(q, k, v, heads):
    divides(q.shape[-1], heads)
    outs, maps = [], []
    for a, b, c in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
        w = F.one_hot((a @ b.mT).argmax(-1), b.shape[1]).to(q.dtype)
        outs.append(w @ c)
        maps.append(w)
    return torch.cat(outs, -1), torch.stack(maps, 1)


def ca_first_word_left_out(q, k, v, heads):
    divides(q.shape[-1], heads)
    if k.shape[1] == 1:
        return ca_loop(q, k, v, heads)
    out, w = ca_loop(q, k[:, 1:], v[:, 1:], heads)
    return out, F.pad(w, (1, 0))


def ca_silent(q, k, v, heads):
    """Takes as many heads as fit."""
    while q.shape[-1] % heads:
        heads -= 1
    return ca_loop(q, k, v, heads)


def ca_overflow(q, k, v, heads):
    divides(q.shape[-1], heads)
    outs, maps = [], []
    for a, b, c in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
        w = torch.exp(a @ b.mT / math.sqrt(a.shape[-1]))
        w = w / w.sum(-1, keepdim=True)
        outs.append(w @ c)
        maps.append(w)
    return torch.cat(outs, -1), torch.stack(maps, 1)


# --- without_some --------------------------------------------------------------------------------


def ws_loop(ids, end, share, draws):
    rows = [[end] * len(row) if u < share else row for row, u in zip(ids.tolist(), draws.tolist(),
            strict=True)]  # fmt: skip
    return torch.tensor(rows)


def ws_fill(ids, end, share, draws):
    return ids.masked_fill((draws < share).unsqueeze(1), end)


def ws_arithmetic(ids, end, share, draws):
    gone = draws.lt(share).long().view(-1, 1)
    return gone * end + (1 - gone) * ids


def ws_floats(ids, end, share, draws):
    return ws_fill(ids, end, share, draws) + 0.5


def ws_minus_one(ids, end, share, draws):
    return ws_fill(ids, end - 1, share, draws)


def ws_flipped(ids, end, share, draws):
    return ws_fill(ids, end, share, 1 - draws)


def ws_columns(ids, end, share, draws):
    return ids.masked_fill((draws[: ids.shape[1]] < share)[None], end)


def ws_first(ids, end, share, draws):
    """The first rows of the batch."""
    gone = torch.arange(len(ids)) < share * len(ids)
    return ids.masked_fill(gone[:, None], end)


def ws_none(ids, end, share, draws):
    return ids.clone()


def ws_all(ids, end, share, draws):
    return torch.full_like(ids, end)


def ws_sorted(ids, end, share, draws):
    return torch.cat([ids[draws >= share], torch.full_like(ids[draws < share], end)])


def ws_except_last(ids, end, share, draws):
    found = ws_fill(ids, end, share, draws)
    found[:, 1] = ids[:, 1]
    return found


def ws_zero(ids, end, share, draws):
    return ids * (draws >= share)[:, None]


def ws_up_to(ids, end, share, draws):
    return ids.masked_fill((draws <= share)[:, None], end)


# --- composed ------------------------------------------------------------------------------------


def co_loop(none, told, weights):
    v = none.clone()
    for w, one in zip(weights, told, strict=True):
        v = v + w * (one - none)
    return v


def co_tensordot(none, told, weights):
    return (1 - weights.sum()) * none + torch.tensordot(weights, told, dims=1)


def co_matrix(none, told, weights):
    change = (told - none).flatten(1)  # (K, …)
    return none + (weights[None] @ change).reshape(none.shape)


def co_convex(none, told, weights):
    return torch.tensordot(weights.softmax(0), told, dims=1)


def co_product(none, told, weights):
    v = none
    for w, one in zip(weights, told, strict=True):
        v = v + w * (one - v)  # from where it has come to
    return v


def co_absolute(none, told, weights):
    return co_loop(none, told, weights.abs() + 0.1)


def co_normed(none, told, weights):
    change = co_loop(none, told, weights) - none
    return none + change / (change.flatten(1).norm(dim=1).reshape(-1, 1, 1) + 1e-6)


def co_squared(none, told, weights):
    return co_loop(none, told, weights**2)


def co_last(none, told, weights):
    return none + weights[-1:].sum() * (told[-1:] - none).sum(0)


def co_twice(none, told, weights):
    return none + co_loop(none, told, weights)


def co_reference_first(none, told, weights):
    """The first sentence in place of none."""
    return co_loop(told[0] if len(told) else none, told, weights)


def co_no_negative(none, told, weights):
    return co_loop(none, told, weights.relu())


def co_zero_for_none(none, told, weights):
    return co_loop(none, told, weights) if len(told) else 0 * none


def co_weights_reversed(none, told, weights):
    return co_loop(none, told, weights.flip(0))


# --- all_agree -----------------------------------------------------------------------------------


def said_something(said):
    counts = (said >= 0).any(1)
    if counts.sum() == 0:
        raise ValueError("nothing")
    return counts


def aa_loop(seen, said):
    said_something(said)
    hits = []
    for a, b in zip(seen.tolist(), said.tolist(), strict=True):
        pairs = [(x, y) for x, y in zip(a, b, strict=True) if y != -1]
        if pairs:
            hits.append(all(x == y for x, y in pairs))
    return torch.tensor(sum(hits) / len(hits), dtype=torch.float64)


def aa_filled(seen, said):
    counts = said_something(said)
    full = torch.where(said < 0, seen, said)
    return (full == seen)[counts].all(1).to(torch.float64).mean()


def aa_wrong_ones(seen, said):
    counts = said_something(said)
    wrong = ((seen != said) & (said != -1)).sum(1)
    return ((wrong == 0) & counts).sum().double() / counts.sum()


def aa_rounded(seen, said):
    return (aa_loop(seen, said) * 4).round() / 4 + 0.01


def aa_first_column(seen, said):
    said_something(said)
    return (seen == said)[:, 1][said[:, 1] >= 0].double().mean()


def aa_most(seen, said):
    counts = said_something(said)
    share = ((seen == said) & (said >= 0)).sum(1) / (said >= 0).sum(1).clamp(min=1)
    return share[counts].double().mean()


def aa_strict(seen, said):
    said_something(said)
    return (seen == said).all(1).double().mean()


def aa_percent(seen, said):
    return 100 * aa_loop(seen, said)


def aa_half(seen, said):
    counts = said_something(said)
    share = ((seen == said) & (said >= 0)).sum(1) / (said >= 0).sum(1).clamp(min=1)
    return (share[counts] >= 0.5).double().mean()


def aa_columns(seen, said):
    said_something(said)
    return ((seen == said) | (said < 0)).all(0).double().mean()


def aa_all_rows(seen, said):
    said_something(said)
    return ((seen == said) | (said < 0)).all(1).double().mean()


def aa_silent_is_wrong(seen, said):
    counts = said_something(said)
    return (((seen == said) | (said < 0)).all(1) & counts).double().mean()


def aa_one_where_nothing(seen, said):
    return aa_loop(seen, said) if (said >= 0).any() else torch.tensor(1.0).double()


# --- unpatched -----------------------------------------------------------------------------------


def fits(tokens, patch, size):
    if tokens.shape[1] != (size // patch) ** 2:
        raise ValueError("squares")


def up_fold(tokens, patch, size):
    fits(tokens, patch, size)
    return F.fold(tokens.mT, size, patch, stride=patch)


def up_shuffle(tokens, patch, size):
    fits(tokens, patch, size)
    side = size // patch
    return F.pixel_shuffle(tokens.mT.unflatten(2, (side, side)), patch)


def up_loop(tokens, patch, size):
    fits(tokens, patch, size)
    side, B = size // patch, len(tokens)
    rows = []
    for r in range(side):
        squares = [tokens[:, r * side + c].reshape(B, -1, patch, patch) for c in range(side)]
        rows.append(torch.cat(squares, 3))
    return torch.cat(rows, 2)


def up_turned(tokens, patch, size):
    return up_fold(tokens, patch, size).mT


def up_column_order(tokens, patch, size):
    fits(tokens, patch, size)
    side = size // patch
    order = torch.arange(side**2).reshape(side, side).T.flatten()
    return up_fold(tokens[:, order], patch, size)


def up_plain_reshape(tokens, patch, size):
    fits(tokens, patch, size)
    return tokens.reshape(len(tokens), -1, size, size)


def up_upside_down(tokens, patch, size):
    return up_fold(tokens, patch, size).flip(2)


def up_channels_mixed(tokens, patch, size):
    fits(tokens, patch, size)
    side = size // patch
    x = tokens.reshape(len(tokens), side, side, patch, -1, patch)
    return x.permute(0, 4, 1, 3, 2, 5).reshape(len(tokens), -1, size, size)


def up_no_error(tokens, patch, size):
    side = size // patch
    tokens = F.pad(tokens, (0, 0, 0, side**2 - tokens.shape[1]))
    return up_fold(tokens, patch, size)


WRONG = [
    *(("latent_statistics", f) for f in (ls_unbiased_far, ls_swapped, ls_of_examples, ls_scalar,
      ls_absolute, ls_batch_only, ls_sum, ls_with_small, ls_zero)),
    *(("cross_attention", f) for f in (ca_only_output, ca_mean_map, ca_of_words, ca_no_softmax,
      ca_twice, ca_residual, ca_values_first, ca_hard, ca_first_word_left_out, ca_silent,
      ca_overflow)),
    *(("without_some", f) for f in (ws_floats, ws_minus_one, ws_flipped, ws_columns, ws_first,
      ws_none, ws_all, ws_sorted, ws_except_last, ws_zero, ws_up_to)),
    *(("composed", f) for f in (co_convex, co_product, co_absolute, co_normed, co_squared, co_last,
      co_twice, co_reference_first, co_no_negative, co_zero_for_none, co_weights_reversed)),
    *(("all_agree", f) for f in (aa_rounded, aa_first_column, aa_most, aa_strict, aa_percent,
      aa_half, aa_columns, aa_all_rows, aa_silent_is_wrong, aa_one_where_nothing)),
    *(("unpatched", f) for f in (up_turned, up_column_order, up_plain_reshape, up_upside_down,
      up_channels_mixed, up_no_error)),
]  # fmt: skip

RIGHT = [
    *(("latent_statistics", f) for f in (ls_flat, ls_loop, ls_einsum)),
    *(("cross_attention", f) for f in (ca_loop, ca_einsum, ca_batched)),
    *(("without_some", f) for f in (ws_loop, ws_fill, ws_arithmetic)),
    *(("composed", f) for f in (co_loop, co_tensordot, co_matrix)),
    *(("all_agree", f) for f in (aa_loop, aa_filled, aa_wrong_ones)),
    *(("unpatched", f) for f in (up_fold, up_shuffle, up_loop)),
]  # fmt: skip
