"""Answers to the exercises of 06_doc2vec, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("06_doc2vec")


def test_there_are_four_with_hints_and_named_mistakes():
    assert list(SHELF) == ["pvdbow_loss", "pvdm_hidden", "pvdm_concatenated", "inference_step"]
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 4


def bow_loops(d, y, noise):
    total = 0.0
    for one, word, others in zip(d, y, noise, strict=True):
        total = total - F.logsigmoid(one @ word)
        for other in others:
            total = total - F.logsigmoid(-(one @ other))
    return total / len(d)


def bow_cross_entropy(d, y, noise):
    scores = torch.cat([y[:, None], noise], 1) @ d[:, :, None]  # (B, 1 + K, 1)
    target = torch.zeros_like(scores)
    target[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, target, reduction="sum") / len(d)


def hidden_loops(d, x, present):
    return torch.stack([
        torch.stack([a, *(v for v, here in zip(rows, mask, strict=True) if here)]).mean(0)
        for a, rows, mask in zip(d, x, present, strict=True)
    ])  # fmt: skip


def hidden_weights(d, x, present):
    everything = torch.cat([d[:, None], x], 1)
    weights = torch.cat([torch.ones(len(d), 1), present.float()], 1)
    return torch.einsum("bc,bcd->bd", weights / weights.sum(1, keepdim=True), everything)


def step_autograd(d, y, noise, lr):
    d = d.clone().requires_grad_()
    loss = (-F.logsigmoid(y @ d) - F.logsigmoid(-(noise @ d)).sum(1)).mean()
    return (d - lr * torch.autograd.grad(loss, d)[0]).detach()


def step_loops(d, y, noise, lr):
    gradient = torch.zeros_like(d)
    for word, others in zip(y, noise, strict=True):
        gradient += (torch.sigmoid(d @ word) - 1) * word
        for other in others:
            gradient += torch.sigmoid(d @ other) * other
    return d - lr * gradient / len(y)


def side_by_side(d, x, present):
    out = [d]
    for place in range(x.shape[1]):
        out.append(torch.where(present[:, place, None], x[:, place], torch.zeros(())))
    return torch.cat(out, 1)


def side_filled(d, x, present):
    whole = torch.cat([d[:, None], x.masked_fill(~present[:, :, None], 0)], 1)
    return whole.reshape(len(d), -1)


RIGHT = [
    ("pvdbow_loss", bow_loops),
    ("pvdbow_loss", bow_cross_entropy),
    ("pvdm_hidden", hidden_loops),
    ("pvdm_hidden", hidden_weights),
    ("inference_step", step_autograd),
    ("inference_step", step_loops),
    ("pvdm_concatenated", side_by_side),
    ("pvdm_concatenated", side_filled),
]


def bow_softmax(d, y, noise):
    scores = (torch.cat([y[:, None], noise], 1) @ d[:, :, None])[..., 0]
    return -scores.log_softmax(1)[:, 0].mean()


def bow_sign(d, y, noise):
    return -bow_loops(d, y, noise)


def bow_bits(d, y, noise):
    return bow_loops(d, y, noise) / torch.tensor(2.0).log()


def bow_detached(d, y, noise):
    return bow_loops(d, y, noise.detach())


def hidden_two_means(d, x, present):
    count = present.sum(1, keepdim=True).clamp(min=1)
    return (d + (x * present[:, :, None]).sum(1) / count) / 2


def hidden_plain(d, x, present):
    return torch.cat([d[:, None], x], 1).mean(1)


def hidden_detached(d, x, present):
    return hidden_weights(d, x.detach(), present)


def step_moves_only(d, y, noise, lr):
    return step_autograd(d, y, noise, lr) - d


def step_twice(d, y, noise, lr):
    return step_autograd(step_autograd(d, y, noise, lr), y, noise, lr)


def step_mean_negatives(d, y, noise, lr):
    d = d.clone().requires_grad_()
    loss = (-F.logsigmoid(y @ d) - F.logsigmoid(-(noise @ d)).mean(1)).mean()
    return (d - lr * torch.autograd.grad(loss, d)[0]).detach()


def side_wrong_mask(d, x, present):
    return side_by_side(d, x, ~present)


def side_reversed(d, x, present):
    return side_by_side(d, x.flip(1), present.flip(1))


def side_no_document(d, x, present):
    return (x * present[:, :, None]).flatten(1)


def side_three_dimensions(d, x, present):
    return torch.cat([d[:, None], x * present[:, :, None]], 1)


WRONG = [
    ("pvdbow_loss", bow_softmax),
    ("pvdbow_loss", bow_sign),
    ("pvdbow_loss", bow_bits),
    ("pvdbow_loss", bow_detached),
    ("pvdm_hidden", hidden_two_means),
    ("pvdm_hidden", hidden_plain),
    ("pvdm_hidden", hidden_detached),
    ("inference_step", step_moves_only),
    ("inference_step", step_twice),
    ("inference_step", step_mean_negatives),
    ("pvdm_concatenated", side_wrong_mask),
    ("pvdm_concatenated", side_reversed),
    ("pvdm_concatenated", side_no_document),
    ("pvdm_concatenated", side_three_dimensions),
]


# --- answers from the docstrings alone, written before the declared mistakes were read -----------


def _scores(d, y, noise):
    return (d * y).sum(1), torch.einsum("bd,bkd->bk", d, noise)


# pvdbow_loss
def db_naive(d, y, noise):
    s, t = _scores(d, y, noise)
    return -(s.sigmoid().log() + (-t).sigmoid().log().sum(1)).mean()


def db_one_minus(d, y, noise):
    s, t = _scores(d, y, noise)
    return -(F.logsigmoid(s) + torch.log(1 - t.sigmoid()).sum(1)).mean()


def db_eps(d, y, noise):
    s, t = _scores(d, y, noise)
    return -((s.sigmoid() + 1e-6).log() + (1 - t.sigmoid() + 1e-6).log().sum(1)).mean()


def db_frozen(d, y, noise):
    s, t = _scores(d, y.detach(), noise.detach())
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def db_shared_noise(d, y, noise):
    s = (d * y).sum(1)
    t = d @ noise.mean(1).T
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def db_with_y(d, y, noise):
    s = (d * y).sum(1)
    t = torch.einsum("bd,bkd->bk", y, noise)
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def db_cosine(d, y, noise):
    s, t = _scores(F.normalize(d, dim=1), F.normalize(y, dim=1), F.normalize(noise, dim=2))
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def db_mean_k(d, y, noise):
    s, t = _scores(d, y, noise)
    return F.softplus(-s).mean() + F.softplus(t).mean()


def db_softmax(d, y, noise):
    s, t = _scores(d, y, noise)
    return -F.log_softmax(torch.cat([s[:, None], t], 1), 1)[:, 0].mean()


def db_sum(d, y, noise):
    s, t = _scores(d, y, noise)
    return (F.softplus(-s) + F.softplus(t).sum(1)).sum()


def db_bmm(d, y, noise):
    all_ = torch.cat([y[:, None], -noise], 1)
    return F.softplus(-torch.bmm(all_, d[:, :, None]).squeeze(2)).sum(1).mean()


def db_bce(d, y, noise):
    s, t = _scores(d.double(), y.double(), noise.double())
    one = F.binary_cross_entropy_with_logits(s, torch.ones_like(s), reduction="sum")
    none = F.binary_cross_entropy_with_logits(t, torch.zeros_like(t), reduction="sum")
    return (one + none) / len(d)


def db_loop(d, y, noise):
    total = 0.0
    for i in range(len(d)):
        total = total - F.logsigmoid(d[i] @ y[i])
        for k in range(noise.shape[1]):
            total = total - F.logsigmoid(-(d[i] @ noise[i, k]))
    return total / len(d)


# pvdm_hidden
def dm_all_places(d, x, present):
    return (d + (x * present[..., None]).sum(1)) / (1 + x.shape[1])


def dm_pads_in(d, x, present):
    return (d + x.sum(1)) / (1 + present.sum(1, keepdim=True))


def dm_mean_of_two(d, x, present):
    n = present.sum(1, keepdim=True).clamp(min=1)
    return (d + (x * present[..., None]).sum(1) / n) / 2


def dm_doc_alone_halved(d, x, present):
    n = present.sum(1, keepdim=True)
    return (d + (x * present[..., None]).sum(1)) / (1 + n.clamp(min=1))


def dm_no_words_zero(d, x, present):
    n = present.sum(1, keepdim=True)
    h = (d + (x * present[..., None]).sum(1)) / (1 + n)
    return h * (n > 0)


def dm_batch_count(d, x, present):
    return (d + (x * present[..., None]).sum(1)) / (1 + present.float().sum(1).mean())


def dm_detached(d, x, present):
    x = x.detach()
    return (d + (x * present[..., None]).sum(1)) / (1 + present.sum(1, keepdim=True))


def dm_words_only(d, x, present):
    return (x * present[..., None]).sum(1) / present.sum(1, keepdim=True).clamp(min=1)


def dm_cat(d, x, present):
    whole = torch.cat([d[:, None], x.masked_fill(~present[..., None], 0)], 1)
    return whole.sum(1) / (1 + present.sum(1))[:, None]


def dm_loop(d, x, present):
    rows = [torch.cat([d[i : i + 1], x[i][present[i]]]).mean(0) for i in range(len(d))]
    return torch.stack(rows)


def dm_einsum(d, x, present):
    x = torch.where(present[..., None], x.double(), 0.0)
    w = present.double()
    return (d + torch.einsum("bcd,bc->bd", x, w)) / (1 + w.sum(1, keepdim=True))


# pvdm_concatenated
def dc_nan_times(d, x, present):
    return torch.cat([d, (x * present[..., None]).flatten(1)], 1)


def dc_pads_kept(d, x, present):
    return torch.cat([d, x.flatten(1)], 1)


def dc_last(d, x, present):
    return torch.cat([(x * present[..., None]).flatten(1), d], 1)


def dc_packed(d, x, present):
    out = torch.zeros(d.shape[0], d.shape[1] * (1 + x.shape[1]))
    for i in range(len(d)):
        row = torch.cat([d[i], x[i][present[i]].flatten()])
        out[i, : len(row)] = row
    return out


def dc_interleaved(d, x, present):
    x = x * present[..., None]
    return torch.cat([d, x.transpose(1, 2).flatten(1)], 1)


def dc_doc_masked(d, x, present):
    d = d * present.any(1, keepdim=True)
    return torch.cat([d, (x * present[..., None]).flatten(1)], 1)


def dc_mean_filled(d, x, present):
    x = torch.where(present[..., None], x, d[:, None])
    return torch.cat([d, x.flatten(1)], 1)


def dc_stacked(d, x, present):
    return torch.cat([d[:, None], x * present[..., None]], 1)


def dc_fill(d, x, present):
    return torch.cat([d[:, None], x.masked_fill(~present[..., None], 0)], 1).flatten(1)


def dc_loop(d, x, present):
    rows = []
    for i in range(len(d)):
        parts = [d[i]]
        for j in range(x.shape[1]):
            parts.append(x[i, j] if present[i, j] else torch.zeros_like(d[i]))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def dc_hstack(d, x, present):
    x = torch.where(present.unsqueeze(-1), x.double(), 0.0)
    return torch.hstack([d, x.reshape(len(d), x.shape[1] * x.shape[2])])


# inference_step
def inf_sum(d, y, noise, lr):
    g = torch.sigmoid(-(y @ d)) @ y - torch.einsum("nk,nkd->d", torch.sigmoid(noise @ d), noise)
    return d + lr * g


def inf_mean_k(d, y, noise, lr):
    g = (torch.sigmoid(-(y @ d))[:, None] * y).mean(0)
    return d + lr * (g - (torch.sigmoid(noise @ d)[..., None] * noise).mean((0, 1)))


def inf_exp(d, y, noise, lr):
    a, b = (y @ d).exp(), (noise @ d).exp()
    g = y / (1 + a)[:, None] - ((b / (1 + b))[..., None] * noise).sum(1)
    return d + lr * g.mean(0)


def inf_in_place(d, y, noise, lr):
    g = torch.sigmoid(-(y @ d))[:, None] * y - (torch.sigmoid(noise @ d)[..., None] * noise).sum(1)
    d += lr * g.mean(0)
    return d


def inf_sequential(d, y, noise, lr):
    for i in range(len(y)):
        g = torch.sigmoid(-(y[i] @ d)) * y[i] - torch.sigmoid(noise[i] @ d) @ noise[i]
        d = d + lr / len(y) * g
    return d


def inf_unit(d, y, noise, lr):
    g = torch.sigmoid(-(y @ d))[:, None] * y - (torch.sigmoid(noise @ d)[..., None] * noise).sum(1)
    return F.normalize(d + lr * g.mean(0), dim=0)


def inf_only_words(d, y, noise, lr):
    return d + lr * (torch.sigmoid(-(y @ d))[:, None] * y).mean(0)


def inf_up(d, y, noise, lr):
    g = torch.sigmoid(-(y @ d))[:, None] * y - (torch.sigmoid(noise @ d)[..., None] * noise).sum(1)
    return d - lr * g.mean(0)


def inf_change(d, y, noise, lr):
    g = torch.sigmoid(-(y @ d))[:, None] * y - (torch.sigmoid(noise @ d)[..., None] * noise).sum(1)
    return lr * g.mean(0)


def inf_fixed_lr(d, y, noise, lr):
    g = torch.sigmoid(-(y @ d))[:, None] * y - (torch.sigmoid(noise @ d)[..., None] * noise).sum(1)
    return d + 0.1 * g.mean(0)


def inf_autograd(d, y, noise, lr):
    with torch.enable_grad():
        v = d.detach().clone().requires_grad_()
        loss = (F.softplus(-(y @ v)) + F.softplus(noise @ v).sum(1)).mean()
        (g,) = torch.autograd.grad(loss, v)
    return d - lr * g


def inf_sgd(d, y, noise, lr):
    v = torch.nn.Parameter(d.clone())
    optimizer = torch.optim.SGD([v], lr=lr)
    with torch.enable_grad():
        (-F.logsigmoid(y @ v) - F.logsigmoid(-(noise @ v)).sum(1)).mean().backward()
    optimizer.step()
    return v.detach()


def inf_loop(d, y, noise, lr):
    d, y, noise = d.double(), y.double(), noise.double()
    g = torch.zeros_like(d)
    for i in range(len(y)):
        g += torch.sigmoid(-torch.dot(d, y[i])) * y[i]
        for z in noise[i]:
            g -= torch.sigmoid(torch.dot(d, z)) * z
    return d + lr / len(y) * g


WRONG += [
    ("pvdbow_loss", db_naive),
    ("pvdbow_loss", db_one_minus),
    ("pvdbow_loss", db_eps),
    ("pvdbow_loss", db_frozen),
    ("pvdbow_loss", db_shared_noise),
    ("pvdbow_loss", db_with_y),
    ("pvdbow_loss", db_cosine),
    ("pvdbow_loss", db_mean_k),
    ("pvdbow_loss", db_softmax),
    ("pvdbow_loss", db_sum),
    ("pvdm_hidden", dm_all_places),
    ("pvdm_hidden", dm_pads_in),
    ("pvdm_hidden", dm_mean_of_two),
    ("pvdm_hidden", dm_doc_alone_halved),
    ("pvdm_hidden", dm_no_words_zero),
    ("pvdm_hidden", dm_batch_count),
    ("pvdm_hidden", dm_detached),
    ("pvdm_hidden", dm_words_only),
    ("pvdm_concatenated", dc_nan_times),
    ("pvdm_concatenated", dc_pads_kept),
    ("pvdm_concatenated", dc_last),
    ("pvdm_concatenated", dc_packed),
    ("pvdm_concatenated", dc_interleaved),
    ("pvdm_concatenated", dc_doc_masked),
    ("pvdm_concatenated", dc_mean_filled),
    ("pvdm_concatenated", dc_stacked),
    ("inference_step", inf_sum),
    ("inference_step", inf_mean_k),
    ("inference_step", inf_exp),
    ("inference_step", inf_in_place),
    ("inference_step", inf_sequential),
    ("inference_step", inf_unit),
    ("inference_step", inf_only_words),
    ("inference_step", inf_up),
    ("inference_step", inf_change),
    ("inference_step", inf_fixed_lr),
]

RIGHT += [
    ("pvdbow_loss", db_bmm),
    ("pvdbow_loss", db_bce),
    ("pvdbow_loss", db_loop),
    ("pvdm_hidden", dm_cat),
    ("pvdm_hidden", dm_loop),
    ("pvdm_hidden", dm_einsum),
    ("pvdm_concatenated", dc_fill),
    ("pvdm_concatenated", dc_loop),
    ("pvdm_concatenated", dc_hstack),
    ("inference_step", inf_autograd),
    ("inference_step", inf_sgd),
    ("inference_step", inf_loop),
]
