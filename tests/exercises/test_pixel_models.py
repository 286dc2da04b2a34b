"""Answers to the exercises of 20_pixel_models, written independently of the exercise file."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def mw_slices(weight, kind):
    mask = torch.zeros_like(weight)
    i, j = weight.shape[2] // 2, weight.shape[3] // 2
    mask[:, :, :i] = 1
    mask[:, :, i, :j] = 1
    if kind == "B":
        mask[:, :, i, j] = 1
    return weight * mask


def mw_loops(weight, kind):
    rows = []
    i, j = weight.shape[2] // 2, weight.shape[3] // 2
    for r in range(weight.shape[2]):
        for c in range(weight.shape[3]):
            keep = (r, c) < (i, j) or (kind == "B" and (r, c) == (i, j))
            rows.append(weight[:, :, r, c] * float(keep))
    return torch.stack(rows, dim=-1).reshape(weight.shape)


def mw_triangle(weight, kind):
    n = weight.shape[2] * weight.shape[3]
    lower = torch.ones(n, n).tril(-1 if kind == "A" else 0)[n // 2]
    return weight * lower.reshape(weight.shape[2:])


def mw_double(weight, kind):
    return mw_slices(weight.double(), kind)


def mw_left_forgotten_in_b(weight, kind):
    out = mw_slices(weight, kind).clone()
    if kind == "B":
        out[:, :, weight.shape[2] // 2, : weight.shape[3] // 2] = 0
    return out


def mw_one_row_only(weight, kind):
    out = mw_slices(weight, kind).clone()
    out[:, :, : weight.shape[2] // 2] = 0
    return out


def mw_mask(weight, kind):
    return mw_slices(torch.ones_like(weight), kind)[0, 0]


def mw_detached(weight, kind):
    return mw_slices(weight.detach(), kind)


def ga_split(a):
    h = a.shape[1] // 2
    return torch.tanh(a[:, :h]) / (1 + torch.exp(-a[:, h:]))


def ga_tanh_only(a):
    one, two = a.split(a.shape[1] // 2, dim=1)
    return one.tanh() * (0.5 + 0.5 * (two / 2).tanh())


def ga_double(a):
    return ga_split(a.double())


def ga_hard(a):
    one, two = a.chunk(2, 1)
    return one.tanh() * F.hardsigmoid(two)


def ga_rows(a):
    one, two = F.pad(a, (0, a.shape[2] % 2)).chunk(2, 1)
    return one.tanh() * two.softmax(1)


def ga_minus(a):
    one, two = a.chunk(2, 1)
    return one.tanh() * (1 - two.sigmoid())


def ga_batch(a):
    return a[:, ::2].sigmoid() * a[:, 1::2].tanh()


def ru_distribution(x, logits):
    return Bernoulli(logits=logits).log_prob(x).flatten(1).cumsum(-1)


def ru_softplus(x, logits):
    return (x * logits - F.softplus(logits)).flatten(1).cumsum(1)


def ru_loops(x, logits):
    rows = []
    for pixels, a in zip(x.flatten(1), logits.flatten(1), strict=True):
        total, row = 0.0, []
        for p, t in zip(pixels, a, strict=True):
            total = total + (F.logsigmoid(t) if p > 0 else F.logsigmoid(-t))
            row.append(total)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def ru_matrix(x, logits):
    terms = (x * logits - F.softplus(logits)).flatten(1)
    n = terms.shape[1]
    return terms @ torch.ones(n, n, dtype=terms.dtype).triu()


def ru_bits(x, logits):
    return ru_softplus(x, logits) / math.log(2)


def ru_backwards(x, logits):
    return (x * logits - F.softplus(logits)).flatten(1).flip(1).cumsum(1).flip(1)


def ru_before(x, logits):
    terms = (x * logits - F.softplus(logits)).flatten(1)
    return terms.cumsum(1) - terms


def ru_mean(x, logits):
    total = ru_softplus(x, logits)
    return total / torch.arange(1, total.shape[1] + 1)


def ru_epsilon(x, logits):
    p = logits.sigmoid()
    return (x * (p + 1e-8).log() + (1 - x) * (1 - p + 1e-8).log()).flatten(1).cumsum(1)


def ru_image(x, logits):
    return ru_softplus(x, logits).reshape(x.shape)


def ne_logit_of_u(logit, u, temperature=1.0):
    return (torch.logit(u) * temperature < logit).float()


def ne_where(logit, u, temperature=1.0):
    p = 1 / (1 + torch.exp(-logit / temperature))
    return torch.where(u < p, torch.ones_like(p), torch.zeros_like(p))


def ne_loops(logit, u, temperature=1.0):
    pairs = zip(logit.tolist(), u.tolist(), strict=True)
    return torch.tensor([float(b < 1 / (1 + math.exp(-a / temperature))) for a, b in pairs])


def ne_own_coins(logit, u, temperature=1.0):
    return torch.bernoulli(torch.sigmoid(logit / temperature))


def ne_rounded(logit, u, temperature=1.0):
    return torch.sigmoid(logit / temperature).round()


def ne_probability(logit, u, temperature=1.0):
    return torch.sigmoid(logit / temperature)


def ne_tanh(logit, u, temperature=1.0):
    return (u < torch.tanh(logit / temperature)).float()


def re_gather(x, order):
    index = order.expand(len(x), -1)
    return x.flatten(1).gather(1, index).view_as(x)


def re_matrix(x, order):
    return (x.flatten(1) @ torch.eye(len(order))[:, order]).reshape(x.shape)


def re_loops(x, order):
    width = x.shape[-1]
    flat = [x[:, :, int(i) // width, int(i) % width] for i in order]
    return torch.stack(flat, dim=-1).reshape(x.shape)


def re_wrong_width(x, order):
    height = x.shape[-2]
    flat = [x[:, :, int(i) % height, int(i) // height] for i in order]
    return torch.stack(flat, dim=-1).reshape(x.shape)


def re_reversed(x, order):
    return x.flatten(1)[:, order.flip(0)].reshape(x.shape)


def re_sorted(x, order):
    return x.flatten(1).sort(dim=1).values.reshape(x.shape)


def re_first_image(x, order):
    return x[:1].flatten(1)[:, order].reshape(1, *x.shape[1:]).expand(x.shape)


MW, GA, RU = "masked_weight", "gate", "running_log_prob"
NE, RE = "next_pixel", "reorder"
RIGHT = [
    *((MW, f) for f in (mw_slices, mw_loops, mw_triangle, mw_double)),
    *((GA, f) for f in (ga_split, ga_tanh_only, ga_double)),
    *((RU, f) for f in (ru_distribution, ru_softplus, ru_loops, ru_matrix)),
    *((NE, f) for f in (ne_logit_of_u, ne_where, ne_loops)),
    *((RE, f) for f in (re_gather, re_matrix, re_loops)),
]
WRONG = [
    *((MW, f) for f in (mw_left_forgotten_in_b, mw_one_row_only, mw_mask, mw_detached)),
    *((GA, f) for f in (ga_hard, ga_rows, ga_minus, ga_batch)),
    *((RU, f) for f in (ru_bits, ru_backwards, ru_before, ru_mean, ru_epsilon, ru_image)),
    *((NE, f) for f in (ne_own_coins, ne_rounded, ne_probability, ne_tanh)),
    *((RE, f) for f in (re_wrong_width, re_reversed, re_sorted, re_first_image)),
]

SAID = [
    (MW, mw_detached, "no gradient flows back to weight"),
    (RU, ru_bits, "is 1.443 times the expected one"),
    (RU, ru_image, "shape"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "20_pixel_models"), answer).sentence


def test_the_overflow_is_refused_though_it_is_right_on_paper():
    exercise = register.find(RU, "20_pixel_models")
    wrong, sentence = exercise.mistakes["logarithm of the sigmoid"]
    assert diagnose(exercise, wrong).sentence == sentence
    mild = {**vars(exercise), "cases": lambda seed: list(exercise.cases(seed))[:3], "mistakes": {}}
    assert diagnose(register.Exercise(**mild), wrong).state == "correct"
