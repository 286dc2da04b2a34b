"""Answers to the exercises of 12_prompting, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

WRONG, RIGHT = [], []


def wrong(name):
    return lambda function: WRONG.append((name, function)) or function


def right(name):
    return lambda function: RIGHT.append((name, function)) or function


# --- few_shot_prompt -----------------------------------------------------------------------------


@right("few_shot_prompt")
def filled_in_place(task, keys, labels, query):
    B, k = keys.shape
    ids = torch.empty(B, 2 * k + 2, dtype=torch.int64)
    ids[:, 0], ids[:, -1] = task, query
    ids[:, 1:-1:2], ids[:, 2:-1:2] = keys, labels
    return ids


@right("few_shot_prompt")
def row_by_row(task, keys, labels, query):
    rows = []
    for t, ks, ls, q in zip(
        task.tolist(), keys.tolist(), labels.tolist(), query.tolist(), strict=True
    ):
        row = [t]
        for key, label in zip(ks, ls, strict=True):
            row += [key, label]
        rows.append([*row, q])
    return torch.tensor(rows)


@right("few_shot_prompt")
def column_by_column(task, keys, labels, query):
    columns = [task]
    for i in range(keys.shape[1]):
        columns += [keys[:, i], labels[:, i]]
    return torch.stack([*columns, query], dim=1)


@wrong("few_shot_prompt")
def side_by_side(task, keys, labels, query):
    return torch.cat([task[:, None], keys, labels, query[:, None]], 1)


@wrong("few_shot_prompt")
def answers_first(task, keys, labels, query):
    return row_by_row(task, labels, keys, query)


@wrong("few_shot_prompt")
def the_task_last(task, keys, labels, query):
    return torch.cat([column_by_column(task, keys, labels, query)[:, 1:], task[:, None]], 1)


@wrong("few_shot_prompt")
def nothing_asked(task, keys, labels, query):
    return column_by_column(task, keys, labels, query)[:, :-1]


@wrong("few_shot_prompt")
def without_the_task(task, keys, labels, query):
    return column_by_column(task, keys, labels, query)[:, 1:]


@wrong("few_shot_prompt")
def last_example_first(task, keys, labels, query):
    return column_by_column(task, keys.flip(1), labels.flip(1), query)


@wrong("few_shot_prompt")
def stacked_in_front(task, keys, labels, query):
    pairs = torch.stack([keys, labels]).view(len(keys), -1)
    return torch.cat([task[:, None], pairs, query[:, None]], 1)


@wrong("few_shot_prompt")
def one_task_for_all(task, keys, labels, query):
    return column_by_column(task[:1].expand(len(task)), keys, labels, query)


@wrong("few_shot_prompt")
def in_floats(task, keys, labels, query):
    return column_by_column(task, keys, labels, query).float()


@wrong("few_shot_prompt")
def at_least_one_example(task, keys, labels, query):
    if keys.shape[1] == 0:
        return torch.stack([task, query, query], 1)
    return column_by_column(task, keys, labels, query)


# --- label_nll -----------------------------------------------------------------------------------


@right("label_nll")
def two_loops(logits, ids):
    B, T = ids.shape
    found = []
    for t in range(2, T, 2):
        each = [-logits[b, t - 1].double().log_softmax(0)[ids[b, t]] for b in range(B)]
        found.append(sum(each) / B)
    return torch.stack(found)


@right("label_nll")
def all_then_every_other(logits, ids):
    nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return nll[:, 1::2].mean(dim=0)


@right("label_nll")
def by_logsumexp(logits, ids):
    rows, labels = logits[:, 1:-1:2], ids[:, 2::2]
    picked = rows.gather(2, labels.unsqueeze(2)).squeeze(2)
    return (rows.logsumexp(2) - picked).mean(0)


@wrong("label_nll")
def at_the_label(logits, ids):
    nll = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
    return nll[:, 2::2].mean(0)


@wrong("label_nll")
def of_the_keys(logits, ids):
    nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return nll[:, ::2].mean(0)


@wrong("label_nll")
def each_token(logits, ids):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none").mean(0)


@wrong("label_nll")
def one_number(logits, ids):
    return all_then_every_other(logits, ids).mean()


@wrong("label_nll")
def for_each_stream(logits, ids):
    nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return nll[:, 1::2]


@wrong("label_nll")
def in_bits(logits, ids):
    return all_then_every_other(logits, ids) / math.log(2)


@wrong("label_nll")
def log_of_the_mean(logits, ids):
    p = logits[:, 1:-1:2].softmax(-1).gather(-1, ids[:, 2::2, None])[..., 0]
    return -p.mean(0).log()


@wrong("label_nll")
def turned_sign(logits, ids):
    return -all_then_every_other(logits, ids)


@wrong("label_nll")
def bare_exponentials(logits, ids):
    rows = logits[:, 1:-1:2]
    picked = rows.gather(-1, ids[:, 2::2, None])[..., 0]
    return (rows.exp().sum(-1).log() - picked).mean(0)


@wrong("label_nll")
def no_gradient(logits, ids):
    return all_then_every_other(logits.detach(), ids)


@wrong("label_nll")
def over_the_labels(logits, ids):
    nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return nll[:, 1::2].mean(1)


# --- copying_share -------------------------------------------------------------------------------


def counted(ids, weights, label=1, latest=False, first=0):
    B, h, T, _ = weights.shape
    total, count = weights.new_zeros(h), 0
    for b in range(B):
        for t in range(1 + first, T, 2):
            places = [s for s in range(1, t, 2) if ids[b, s] == ids[b, t]]
            count += bool(places)
            for s in places[-1:] if latest else places:
                total = total + weights[b, :, t, s + label]
    return total / max(count, 1)


@right("copying_share")
def by_loops(ids, weights):
    return counted(ids, weights)


@right("copying_share")
def by_einsum(ids, weights):
    keys = ids[:, 1::2]
    same = torch.tril(keys.unsqueeze(2) == keys.unsqueeze(1), -1).to(weights.dtype)
    total = torch.einsum("bhij,bij->h", weights[:, :, 1::2, 2::2], same)
    return total / max(int(same.any(2).sum()), 1)


@right("copying_share")
def whole_tables(ids, weights):
    T = ids.shape[1]
    place = torch.arange(T)
    key = place % 2 == 1
    before = torch.cat([ids[:, :1] * 0 - 1, ids[:, :-1]], 1)  # the token in front of each place
    same = ids[:, :, None] == before[:, None, :]
    allowed = key[:, None] & (place % 2 == 0)[None, :] & (place[None, :] >= 2)
    mask = same & allowed & (place[None, :] < place[:, None])
    has = mask.any(-1).sum()
    return (weights * mask[:, None]).sum((0, 2, 3)) / (has if has > 0 else 1)


@wrong("copying_share")
def on_the_key(ids, weights):
    return counted(ids, weights, label=0)


@wrong("copying_share")
def the_latest(ids, weights):
    return counted(ids, weights, latest=True)


@wrong("copying_share")
def over_every_key(ids, weights):
    keys = ids[:, 1::2]
    same = (keys[:, :, None] == keys[:, None, :]).tril(-1)
    return (weights[:, :, 1::2, 2::2] * same[:, None]).sum(-1).mean((0, 2))


@wrong("copying_share")
def columns_look(ids, weights):
    return counted(ids, weights.transpose(2, 3))


@wrong("copying_share")
def of_equal_pairs(ids, weights):
    keys = ids[:, 1::2]
    same = (keys[:, :, None] == keys[:, None, :]).tril(-1)
    total = (weights[:, :, 1::2, 2::2] * same[:, None]).sum((0, 2, 3))
    return total / same.sum().clamp(min=1)


@wrong("copying_share")
def all_tokens(ids, weights):
    same = (ids[:, :, None] == ids[:, None, :]).tril(-1)[:, :, :-1]
    total = (weights[..., 1:] * same[:, None]).sum((0, 2, 3))
    return total / same.any(-1).sum().clamp(min=1)


@wrong("copying_share")
def itself_too(ids, weights):
    keys = ids[:, 1::2]
    same = (keys[:, :, None] == keys[:, None, :]).tril()
    return (weights[:, :, 1::2, 2::2] * same[:, None]).sum(-1).mean((0, 2))


@wrong("copying_share")
def nan_for_nothing(ids, weights):
    keys = ids[:, 1::2]
    same = (keys[:, :, None] == keys[:, None, :]).tril(-1)
    total = (weights[:, :, 1::2, 2::2] * same[:, None]).sum((0, 2, 3))
    return total / same.any(-1).sum()


@wrong("copying_share")
def one_for_all_heads(ids, weights):
    return counted(ids, weights).mean()


@wrong("copying_share")
def mean_of_means(ids, weights):
    """Each stream alike, however many of its keys return."""
    rows = [counted(ids[i : i + 1], weights[i : i + 1]) for i in range(len(ids))]
    return torch.stack(rows).mean(0)


# --- cut_head ------------------------------------------------------------------------------------


@right("cut_head")
def in_three_dimensions(out, head, heads):
    apart = out.reshape(out.shape[0], heads, -1).clone()
    apart[:, head] = 0
    return apart.reshape(out.shape)


@right("cut_head")
def put_together(out, head, heads):
    parts = list(out.chunk(heads, dim=1))
    parts[head] = torch.zeros_like(parts[head])
    return torch.cat(parts, 1)


@right("cut_head")
def by_number(out, head, heads):
    owner = torch.arange(out.shape[1]) // (out.shape[1] // heads)
    return out.masked_fill(owner == head, 0.0)


@wrong("cut_head")
def rows_of_it(out, head, heads):
    size = out.shape[0] // heads
    cut = out.clone()
    cut[head * size : (head + 1) * size] = 0
    return cut


@wrong("cut_head")
def in_turns(out, head, heads):
    return out.masked_fill(torch.arange(out.shape[1]) % heads == head, 0.0)


@wrong("cut_head")
def the_next(out, head, heads):
    return by_number(out, (head + 1) % heads, heads)


@wrong("cut_head")
def the_others(out, head, heads):
    return out - by_number(out, head, heads)


@wrong("cut_head")
def a_single_column(out, head, heads):
    cut = out.clone()
    cut[:, head] = 0
    return cut


@wrong("cut_head")
def so_many_columns(out, head, heads):
    cut = out.clone()
    cut[:, head * heads : (head + 1) * heads] = 0
    return cut


@wrong("cut_head")
def the_mean_instead(out, head, heads):
    parts = list(out.chunk(heads, dim=1))
    parts[head] = parts[head].mean().expand_as(parts[head])
    return torch.cat(parts, 1)


@wrong("cut_head")
def written_into(out, head, heads):
    size = out.shape[1] // heads
    out[:, head * size : (head + 1) * size] = 0
    return out


@wrong("cut_head")
def taken_away(out, head, heads):
    parts = list(out.chunk(heads, dim=1))
    return torch.cat([p for i, p in enumerate(parts) if i != head] or [out[:, :0]], 1)


@wrong("cut_head")
def made_up_for(out, head, heads):
    return by_number(out, head, heads) * heads / max(heads - 1, 1)


# --- least_squares -------------------------------------------------------------------------------


@right("least_squares")
def one_map_for_each_prompt(x, y):
    """The predictions are linear in y."""
    B, K = y.shape
    maps = torch.zeros(B, K, K, dtype=y.dtype)
    for b in range(B):
        for k in range(1, K):
            inverse = torch.from_numpy(np.linalg.pinv(x[b, :k].numpy()))  # (d, k)
            maps[b, k, :k] = x[b, k] @ inverse
    return torch.einsum("bkj,bj->bk", maps, y)


@right("least_squares")
def by_svd(x, y):
    found = [0 * y[:, 0]]
    for k in range(1, y.shape[1]):
        u, s, vh = torch.linalg.svd(x[:, :k], full_matrices=False)
        kept = s > 1e-9 * s[:, :1]
        turned = torch.where(kept, 1 / s.clamp(min=1e-300), 0) * (u.mT @ y[:, :k, None])[..., 0]
        found.append((x[:, k] * (vh.mT @ turned[..., None])[..., 0]).sum(-1))
    return torch.stack(found, 1)


@right("least_squares")
def one_prompt_at_a_time(x, y):
    rows = []
    for points, values in zip(x, y, strict=True):
        row = [values[0] * 0]
        for k in range(1, len(values)):
            row.append(points[k] @ torch.linalg.pinv(points[:k]) @ values[:k])
        rows.append(torch.stack(row))
    return torch.stack(rows)


@wrong("least_squares")
def still_with_itself(x, y):
    found = [torch.zeros_like(y[:, 0])]
    for k in range(1, y.shape[1]):
        w = torch.linalg.pinv(x[:, : k + 1]) @ y[:, : k + 1, None]
        found.append((x[:, k] * w[..., 0]).sum(-1))
    return torch.stack(found, 1)


@wrong("least_squares")
def the_last_pair_left_out(x, y):
    found = [torch.zeros_like(y[:, 0])] * 2
    for k in range(2, y.shape[1]):
        w = torch.linalg.pinv(x[:, : k - 1]) @ y[:, : k - 1, None]
        found.append((x[:, k] * w[..., 0]).sum(-1))
    return torch.stack(found[: y.shape[1]], 1)


@wrong("least_squares")
def everything_at_once(x, y):
    return (x @ torch.linalg.pinv(x) @ y[..., None])[..., 0]


@wrong("least_squares")
def only_with_enough_pairs(x, y):
    found = one_prompt_at_a_time(x, y)
    found[:, : x.shape[-1]] = 0
    return found


@wrong("least_squares")
def a_little_ridge(x, y):
    eye = 0.1 * torch.eye(x.shape[-1], dtype=x.dtype)
    found = [torch.zeros_like(y[:, 0])]
    for k in range(1, y.shape[1]):
        p = x[:, :k]
        w = torch.linalg.solve(p.mT @ p + eye, p.mT @ y[:, :k, None])
        found.append((x[:, k] * w[..., 0]).sum(-1))
    return torch.stack(found, 1)


@wrong("least_squares")
def the_first_is_its_value(x, y):
    return torch.cat([y[:, :1], one_prompt_at_a_time(x, y)[:, 1:]], 1)
