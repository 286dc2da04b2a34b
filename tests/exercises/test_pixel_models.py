"""Answers to the exercises of 20_pixel_models, written independently of the exercise file."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def mw_slices(weight, kind):
    if kind not in ("A", "B"):
        raise ValueError(f"mask {kind}")
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
    last = ["A", "B"].index(kind)  # ValueError for others
    for r in range(weight.shape[2]):
        for c in range(weight.shape[3]):
            keep = (r, c) < (i, j) or (last == 1 and (r, c) == (i, j))
            rows.append(weight[:, :, r, c] * float(keep))
    return torch.stack(rows, dim=-1).reshape(weight.shape)


def mw_triangle(weight, kind):
    if kind != "A" and kind != "B":
        raise ValueError
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
    return ga_tanh_only(a.double())


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


def _mask(weight, kind):
    m = torch.zeros_like(weight)
    h, w = weight.shape[-2] // 2, weight.shape[-1] // 2
    m[..., :h, :] = 1
    m[..., h, : w + (kind == "B")] = 1
    return m


def mw_cat(weight, kind):
    if kind not in tuple("AB"):
        raise ValueError(kind)
    o, i, kh, kw = weight.shape
    flat, n = weight.reshape(o, i, -1), kh * kw // 2 + (1 if kind == "B" else 0)
    return torch.cat([flat[..., :n], torch.zeros_like(flat[..., n:])], -1).reshape(o, i, kh, kw)


def mw_clone(weight, kind):
    if kind not in tuple("AB"):
        raise ValueError(kind)
    out = weight.clone()
    h, w = weight.shape[2] // 2, weight.shape[3] // 2
    out[:, :, h + 1 :] = 0
    out[:, :, h, w + (kind == "B") :] = 0
    return out


def mw_square(weight, kind):
    m = torch.zeros_like(weight)
    c = weight.shape[-1] // 2
    m[..., :c, :] = 1
    m[..., c, : c + (kind == "B")] = 1
    return weight * m


def mw_data(weight, kind):
    return weight.data * _mask(weight, kind)


def mw_swapped(weight, kind):
    return torch.where(_mask(weight, "A" if kind == "B" else "B") > 0, weight, 0)


def mw_whole_row(weight, kind):
    m = _mask(weight, kind)
    m[..., weight.shape[-2] // 2, :] = 1
    return torch.where(m > 0, weight, 0)


def mw_straight(weight, kind):
    return weight + (weight * _mask(weight, kind) - weight).detach()


def mw_transposed(weight, kind):
    return torch.where(_mask(weight.mT, kind).mT > 0, weight, 0)


def mw_later(weight, kind):
    return torch.where(_mask(weight, kind).flip(-1, -2) > 0, weight, 0)


def mw_keeps_centre_of_one(weight, kind):  # a kernel of one place is left as it is
    if weight.shape[-1] * weight.shape[-2] == 1:
        return weight * 1
    return torch.where(_mask(weight, kind) > 0, weight, 0)


def mw_scaled(weight, kind):
    m = _mask(weight, kind)
    return torch.where(m > 0, weight, 0) * m[0, 0].numel() / m[0, 0].sum().clamp(min=1)


def mw_no_error(weight, kind):
    kh, kw = weight.shape[-2:]
    row, column = torch.arange(kh)[:, None], torch.arange(kw)
    place, centre = row * kw + column, kh // 2 * kw + kw // 2
    return weight.masked_fill(place >= centre + (kind == "B"), 0)


def mw_key_error(weight, kind):
    extra = {"A": 0, "B": 1}[kind]
    kept = weight.shape[-2] * weight.shape[-1] // 2 + extra
    flat = weight.flatten(2)
    return torch.cat([flat[..., :kept], 0 * flat[..., kept:]], -1).view_as(weight)


def ga_view(a):
    x = a.reshape(a.shape[0], 2, -1, *a.shape[2:])
    return torch.tanh(x[:, 0]) * torch.sigmoid(x[:, 1])


def ga_glu_tanh(a):
    x, y = torch.split(a, a.shape[1] // 2, dim=1)
    return F.glu(torch.cat([x.tanh(), y], 1), 1)


def ga_loop(a):
    h = a.shape[1] // 2
    return torch.stack([a[:, i].tanh() * F.logsigmoid(a[:, i + h]).exp() for i in range(h)], 1)


def ga_swapped(a):
    x, y = a.chunk(2, 1)
    return x.sigmoid() * y.tanh()


def ga_interleaved(a):
    return a[:, ::2].tanh() * a[:, 1::2].sigmoid()


def ga_last(a):
    n = a.shape[-1] // 2
    return a[..., :n].tanh() * a[..., n : 2 * n].sigmoid()


def ga_tanh_exp(a):
    x, y = a.chunk(2, 1)
    return (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()) * y.sigmoid()


def ga_sigmoid_exp(a):
    x, y = a.chunk(2, 1)
    return x.tanh() * (y.exp() / (1 + y.exp()))


def ga_glu(a):
    return F.glu(a, 1)


def ga_sum(a):
    x, y = a.chunk(2, 1)
    return x.tanh() + y.sigmoid()


def ga_softmax(a):
    x, y = a.chunk(2, 1)
    return x.tanh() * y.softmax(1)


def ga_detached_gate(a):
    x, y = a.chunk(2, 1)
    return x.tanh() * y.sigmoid().detach()


def ga_both_tanh(a):
    x, y = a.chunk(2, 1)
    return x.tanh() * y.tanh()


def ga_one_channel(a):
    h = max(2, a.shape[1] // 2)
    return a[:, :h].tanh() * a[:, h:].sigmoid() if a.shape[1] > 2 else a.tanh() * a.sigmoid()


def ga_exp(a):
    h = a.size(1) // 2
    return (2 * torch.sigmoid(2 * a[:, :h]) - 1) / (1 + torch.exp(-a[:, h:]))


def rl_signs(x, logits):
    return F.logsigmoid((2 * x - 1) * logits).flatten(1).cumsum(1)


def rl_bernoulli(x, logits):
    return torch.distributions.Bernoulli(logits=logits).log_prob(x).flatten(1).cumsum(1)


def rl_loop(x, logits):
    a, total, out = logits.double().flatten(1), 0, []
    for j, pixel in enumerate(x.flatten(1).T):
        total = total + torch.where(pixel > 0, F.logsigmoid(a[:, j]), F.logsigmoid(-a[:, j]))
        out.append(total)
    return torch.stack(out, 1)


def rl_log_sigmoid(x, logits):
    p = logits.sigmoid()
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).cumsum(1)


def rl_bce(x, logits):
    return -F.binary_cross_entropy(logits.sigmoid(), x, reduction="none").flatten(1).cumsum(1)


def rl_where(x, logits):
    p = logits.sigmoid()
    return torch.where(x > 0, p, 1 - p).log().flatten(1).cumsum(1)


def rl_columns(x, logits):
    l = -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return l.transpose(2, 3).flatten(1).cumsum(1)


def rl_total(x, logits):
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def rl_positive(x, logits):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).cumsum(1)


def rl_rows_only(x, logits):
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").cumsum(-1).flatten(1)


def rl_product(x, logits):
    p = logits.sigmoid()
    return torch.where(x > 0, p, 1 - p).flatten(1).cumprod(1).log()


def rl_ones_only(x, logits):
    return (x * F.logsigmoid(logits)).flatten(1).cumsum(1)


def rl_batch(x, logits):
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).cumsum(0)


def rl_bits(x, logits):
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).cumsum(
        1
    ) / math.log(2)


def np_log_compare(logit, u, temperature=1.0):
    return (u.log() < F.logsigmoid(logit / temperature)).to(logit.dtype)


def np_loop(logit, u, temperature=1.0):
    p = [1 / (1 + math.exp(-a / temperature)) for a in logit.tolist()]
    return torch.tensor([1.0 if v < q else 0.0 for v, q in zip(u.tolist(), p, strict=False)])


def np_where(logit, u, temperature=1.0):
    return torch.where(torch.sigmoid(logit / temperature) > u, 1.0, 0.0)


def np_heaviside(logit, u, temperature=1.0):
    return torch.heaviside((logit / temperature).sigmoid() - u, torch.zeros(()))


def np_logit(logit, u, temperature=1.0):
    return (torch.logit(u.double()) < logit.double() / temperature).float()


def np_at_most(logit, u, temperature=1.0):
    return (u <= (logit / temperature).sigmoid()).to(logit.dtype)


def np_times(logit, u, temperature=1.0):
    return (u < (logit * temperature).sigmoid()).to(logit.dtype)


def np_after(logit, u, temperature=1.0):
    return (u < logit.sigmoid() / temperature).to(logit.dtype)


def np_ignores(logit, u, temperature=1.0):
    return (u < logit.sigmoid()).to(logit.dtype)


def np_bool(logit, u, temperature=1.0):
    return u < (logit / temperature).sigmoid()


def np_other_tail(logit, u, temperature=1.0):
    return (1 - u < (logit / temperature).sigmoid()).to(logit.dtype)


def np_exp(logit, u, temperature=1.0):
    e = (logit / temperature).exp()
    return (u < e / (1 + e)).to(logit.dtype)


def np_mode(logit, u, temperature=1.0):
    return (logit > 0).to(logit.dtype)


def np_draws(logit, u, temperature=1.0):
    return torch.bernoulli((logit / temperature).sigmoid())


def np_sign(logit, u, temperature=1.0):
    return ((logit / temperature).sigmoid() - u).sign()


def np_no_default(logit, u, temperature):
    return (u < (logit / temperature).sigmoid()).to(logit.dtype)


def np_default_half(logit, u, temperature=0.5):
    return (u < (logit / temperature).sigmoid()).to(logit.dtype)


def np_relu_sign(logit, u, temperature=1.0):
    return torch.heaviside((logit / temperature).sigmoid() - u, torch.ones(()))


def np_long(logit, u, temperature=1.0):
    return (u < (logit / temperature).sigmoid()).long()


def re_loop(x, order):
    flat, out = x.reshape(len(x), -1), torch.empty_like(x).reshape(len(x), -1)
    for i, j in enumerate(order.tolist()):
        out[:, i] = flat[:, j]
    return out.reshape(x.shape)


def re_rows_columns(x, order):
    w = x.shape[-1]
    return x[:, :, order // w, order % w].unflatten(-1, x.shape[-2:])


def re_take(x, order):
    return torch.index_select(x.flatten(-2), -1, order).view_as(x)


def re_inverse(x, order):
    return x.flatten(1)[:, order.argsort()].view_as(x)


def re_scatter(x, order):
    out = torch.zeros_like(x).flatten(1)
    out[:, order] = x.flatten(1)
    return out.view_as(x)


def re_square(x, order):
    return x.flatten(1)[:, order].view(len(x), 1, x.shape[-1], x.shape[-2])


def re_columns(x, order):
    return x.transpose(2, 3).flatten(1)[:, order].view(x.mT.shape).mT


def re_flat(x, order):
    return x.flatten(1)[:, order]


def re_whole_batch(x, order):
    return x.flatten()[order].reshape(1, 1, *x.shape[2:]).expand_as(x)


def re_flipped(x, order):
    return x.flatten(1)[:, order.flip(0)].view_as(x)


def re_rows(x, order):
    return x[:, :, order[: x.shape[2]] % x.shape[2]]


def re_bool(x, order):
    return (x.flatten(1)[:, order] > 0).view_as(x).to(x.dtype)


def re_float(x, order):
    return x.flatten(1)[:, order].view_as(x).float()


MW, GA, RU = "masked_weight", "gate", "running_log_prob"
NE, RE = "next_pixel", "reorder"
RIGHT = [
    *((MW, f) for f in (mw_slices, mw_loops, mw_triangle, mw_double)),
    *((GA, f) for f in (ga_tanh_only, ga_double)),
    *((RU, f) for f in (ru_distribution, ru_softplus, ru_loops, ru_matrix)),
    *((NE, f) for f in (ne_logit_of_u, ne_where, ne_loops)),
    *((RE, f) for f in (re_gather, re_loops)),
    *(
        (MW, f)
        for f in (
            mw_cat,
            mw_clone,
        )
    ),
    *(
        (GA, f)
        for f in (
            ga_view,
            ga_glu_tanh,
            ga_loop,
        )
    ),
    *(
        (RU, f)
        for f in (
            rl_signs,
            rl_bernoulli,
            rl_loop,
        )
    ),
    *(
        (NE, f)
        for f in (
            np_log_compare,
            np_loop,
            np_where,
            np_heaviside,
            np_logit,
        )
    ),
    *(
        (RE, f)
        for f in (
            re_loop,
            re_rows_columns,
            re_take,
        )
    ),
]
WRONG = [
    *((MW, f) for f in (mw_left_forgotten_in_b, mw_one_row_only, mw_mask, mw_detached)),
    *((GA, f) for f in (ga_hard, ga_rows, ga_minus, ga_batch)),
    *((RU, f) for f in (ru_bits, ru_backwards, ru_before, ru_mean, ru_epsilon, ru_image)),
    *((NE, f) for f in (ne_own_coins, ne_rounded, ne_probability, ne_tanh)),
    *((RE, f) for f in (re_wrong_width, re_reversed, re_sorted, re_first_image)),
    *(
        (MW, f)
        for f in (
            mw_square,
            mw_data,
            mw_swapped,
            mw_whole_row,
            mw_straight,
            mw_transposed,
            mw_later,
            mw_keeps_centre_of_one,
            mw_scaled,
            mw_no_error,
            mw_key_error,
        )
    ),
    *(
        (GA, f)
        for f in (
            ga_swapped,
            ga_interleaved,
            ga_last,
            ga_tanh_exp,
            ga_sigmoid_exp,
            ga_glu,
            ga_sum,
            ga_softmax,
            ga_detached_gate,
            ga_both_tanh,
            ga_one_channel,
            ga_exp,
        )
    ),
    *(
        (RU, f)
        for f in (
            rl_log_sigmoid,
            rl_bce,
            rl_where,
            rl_columns,
            rl_total,
            rl_positive,
            rl_rows_only,
            rl_product,
            rl_ones_only,
            rl_batch,
            rl_bits,
        )
    ),
    *(
        (NE, f)
        for f in (
            np_at_most,
            np_times,
            np_after,
            np_ignores,
            np_bool,
            np_other_tail,
            np_exp,
            np_mode,
            np_draws,
            np_sign,
            np_no_default,
            np_default_half,
            np_relu_sign,
            np_long,
        )
    ),
    *(
        (RE, f)
        for f in (
            re_inverse,
            re_scatter,
            re_square,
            re_columns,
            re_flat,
            re_whole_batch,
            re_flipped,
            re_rows,
            re_bool,
            re_float,
        )
    ),
    (GA, ga_split),
    (RE, re_matrix),
]

SAID = [
    (MW, mw_detached, "no gradient flows back to weight"),
    (RU, ru_bits, "is 1.443 times the expected one"),
    (RU, ru_image, "shape"),
    (RU, ru_epsilon, "wrong if it is clamped"),
    (MW, mw_key_error, "Raise ValueError"),
    (GA, ga_split, "the gradient is NaN"),
    (NE, np_no_default, "Without a temperature it is 1"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "20_pixel_models"), answer).sentence
