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
        total = total - torch.log(torch.sigmoid(one @ word))
        for other in others:
            total = total - torch.log(1 - torch.sigmoid(one @ other))
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
