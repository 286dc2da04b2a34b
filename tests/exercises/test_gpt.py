"""Exercises of 10_gpt: mistakes named, wrong answers refused, right ones accepted."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("10_gpt")
INF = math.inf


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "next_token_loss", "top_k_filter", "top_p_filter", "trapezoid", "hidden_nll",
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
    kept = torch.full_like(logits, -INF)
    for i, row in enumerate(logits):
        total = 0.0
        for place in row.argsort(descending=True).tolist():
            if total >= p:
                break
            kept[i, place] = row[place]
            total += row.softmax(0)[place].item()
    return kept


def where_p(logits, p):
    q = logits.double().softmax(-1)
    likelier = (q[..., None, :] > q[..., :, None]) * q[..., None, :]
    return torch.where(likelier.sum(-1) < p, logits, torch.tensor(-INF))


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
    ("hidden_nll", gathered_hidden),
    ("next_token_loss", loops_loss),
    ("next_token_loss", lambda logits, batch: F.nll_loss(
        logits.log_softmax(-1).transpose(1, 2), batch[:, 1:])),
    ("next_token_loss", lambda logits, batch: F.cross_entropy(
        logits.double().transpose(1, 2), batch[:, 1:])),
    ("next_token_loss", lambda logits, batch: -(
        F.one_hot(batch[:, 1:], logits.shape[-1]) * logits.softmax(-1).log()).sum(-1).mean()),
    ("top_k_filter", loops_k),
    ("top_k_filter", lambda logits, k: torch.where(
        logits >= logits.sort(-1).values[..., -k, None], logits, torch.tensor(-INF))),
    ("top_k_filter", lambda logits, k: torch.full_like(logits, -INF).scatter(
        -1, logits.topk(k).indices, logits.topk(k).values)),
    ("top_p_filter", loops_p),
    ("top_p_filter", where_p),
    ("trapezoid", branches),
    ("trapezoid", lambda step, steps, warmup, decay: torch.tensor(
        [min(1, (i + 1) / warmup, (steps - i) / decay) for i in step.tolist()])),
]  # fmt: skip


WRONG = [
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
