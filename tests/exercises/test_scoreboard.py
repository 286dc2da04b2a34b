"""Answers to the exercises of 30_scoreboard, written without a look at the mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import torch
import torch.nn.functional as F

LP, CR, RR, PF, SI = "levels_log_prob", "crossed", "rank_range", "puts_first", "steps_in"


# --- levels_log_prob


def whole(x, a):
    return torch.round(x * (a.shape[-1] - 1)).to(torch.int64)


def lp_cross_entropy(x, a):
    flat = F.cross_entropy(a.flatten(0, 3), whole(x, a).flatten(), reduction="none")
    return -flat.reshape(len(x), -1).sum(1)


def lp_one_hot(x, a):
    picked = F.one_hot(whole(x, a), a.shape[-1]) * (a - a.logsumexp(-1, keepdim=True))
    return picked.sum((1, 2, 3, 4))


def lp_categorical(x, a):
    return torch.distributions.Categorical(logits=a).log_prob(whole(x, a)).sum((1, 2, 3))


def lp_loop(x, a):
    rows = []
    for levels, logits in zip(whole(x, a).flatten(1), a.flatten(1, 3), strict=True):
        rows.append(sum(row.log_softmax(0)[k] for k, row in zip(levels, logits, strict=True)))
    return torch.stack(rows)


def lp_truncated_up(x, a):
    level = (x * (a.shape[-1] - 1)).ceil().long().clamp(max=a.shape[-1] - 2)
    return a.log_softmax(-1).gather(-1, level[..., None]).flatten(1).sum(1)


def lp_scaled_by_levels(x, a):
    level = (x * a.shape[-1]).long().clamp(max=a.shape[-1] - 1)
    level = torch.where(level > 0, level - 1, level)
    return a.log_softmax(-1).gather(-1, level[..., None]).flatten(1).sum(1)


def lp_over_the_rows(x, a):
    return a.log_softmax(2).gather(-1, whole(x, a)[..., None]).flatten(1).sum(1)


def lp_first_level(x, a):
    return a.log_softmax(-1)[..., 0].flatten(1).sum(1)


def lp_sigmoid(x, a):
    return F.logsigmoid(a).gather(-1, whole(x, a)[..., None]).flatten(1).sum(1)


def lp_expected(x, a):
    return (a.softmax(-1) * a.log_softmax(-1)).sum(-1).flatten(1).sum(1)


def lp_product(x, a):
    return a.softmax(-1).gather(-1, whole(x, a)[..., None]).flatten(1).prod(1)


def lp_kept_pixels(x, a):
    return a.log_softmax(-1).gather(-1, whole(x, a)[..., None])[..., 0]


def lp_no_gradient(x, a):
    return lp_cross_entropy(x, a.detach())


# --- crossed


def cr_where(images, upper, lower, row):
    above = torch.arange(images.shape[2])[:, None] < row
    return torch.where(above, images[upper], images[lower])


def cr_written(images, upper, lower, row):
    made = images[lower].clone()
    made[:, :, :row] = images[upper][:, :, :row]
    return made


def cr_loop(images, upper, lower, row):
    pairs = zip(upper.tolist(), lower.tolist(), strict=True)
    return torch.stack([torch.cat([images[u][:, :row], images[w][:, row:]], 1) for u, w in pairs])


def cr_lower_image(images, upper, lower, row):
    return images[lower]


def cr_row_short(images, upper, lower, row):
    return cr_where(images, upper, lower, row - 1)


def cr_from_the_bottom(images, upper, lower, row):
    return cr_where(images, upper, lower, images.shape[2] - row)


def cr_maximum(images, upper, lower, row):
    return torch.maximum(images[upper], images[lower])


def cr_same_for_all(images, upper, lower, row):
    return cr_where(images, upper[:1].expand(len(upper)), lower, row)


def cr_zeros_below(images, upper, lower, row):
    above = torch.arange(images.shape[2])[:, None] < row
    return images[upper] * above


def cr_channels(images, upper, lower, row):
    return torch.cat([images[upper][:, :row], images[lower][:, row:]], 1)


def cr_transposed(images, upper, lower, row):
    return cr_where(images, upper, lower, row).transpose(2, 3)


def cr_flipped(images, upper, lower, row):
    return cr_where(images, upper, lower, row).flip(2)


# --- rank_range


def rr_loop(v):
    rows = []
    for i in range(len(v)):
        better = sum(bool(v[j].max() < v[i].min()) for j in range(len(v)))
        worse = sum(bool(v[i].max() < v[j].min()) for j in range(len(v)))
        rows.append([1 + better, len(v) - worse])
    return torch.tensor(rows)


def rr_every_pair(v):
    ahead = (v[:, None, :, None] < v[None, :, None, :]).all(-1).all(-1)
    return torch.stack([ahead.sum(0) + 1, len(v) - ahead.sum(1)], dim=-1)


def rr_lists(v):
    low, high = v.min(1).values.tolist(), v.max(1).values.tolist()
    best = [1 + sum(h < a for h in high) for a in low]
    worst = [len(low) - sum(b < a for a in low) for b in high]
    return torch.tensor([best, worst]).T


def rr_medians(v):
    order = v.median(1).values.argsort().argsort() + 1
    return torch.stack([order, order], 1)


def rr_all_possible(v):
    return torch.tensor([[1, len(v)]]).repeat(len(v), 1)


def rr_two_deviations(v):
    m, s = v.mean(1), 2 * v.std(1)
    ahead = (m + s)[:, None] < m - s
    return torch.stack([1 + ahead.sum(0), len(v) - ahead.sum(1)], 1)


def rr_worst_seeds(v):
    ahead = v.amax(1)[:, None] < v.amax(1)
    return torch.stack([1 + ahead.sum(0), len(v) - ahead.sum(1)], 1)


def rr_turned(v):
    ahead = v.amax(1)[:, None] < v.amin(1)
    return torch.stack([1 + ahead.sum(1), len(v) - ahead.sum(0)], 1)


def rr_best_only(v):
    return rr_loop(v)[:, :1]


def rr_without_e(v):
    ahead = v.amax(1)[:, None] < v.amin(1)
    return torch.stack([1 + ahead.sum(0), ahead.sum(1)], 1)


def rr_numbers_before(v):
    ahead = v.amax(1)[:, None] < v.amin(1)
    return torch.stack([ahead.sum(0), len(v) - 1 - ahead.sum(1)], 1).double() + 0.5


def rr_rows(v):
    return rr_loop(v).T


# --- puts_first


def pf_loop(values, larger, who):
    found = []
    for row, up in zip(values.tolist(), larger.tolist(), strict=True):
        rest = [r for i, r in enumerate(row) if i != who and not math.isnan(r)]
        mine = row[who]
        found.append(all(mine > r if up else mine < r for r in rest) and not math.isnan(mine))
    return torch.tensor(found)


def pf_counted(values, larger, who):
    sign = 2.0 * larger - 1
    mine = (sign * values[:, who])[:, None]
    beaten = (mine > sign[:, None] * values) | values.isnan()
    beaten[:, who] = True
    return beaten.all(1) & ~values[:, who].isnan()


def pf_filled(values, larger, who):
    sign = torch.where(larger, 1.0, -1.0)[:, None]
    score = torch.where(values.isnan(), -torch.inf, sign * values)
    mine = score[:, who].clone()
    score[:, who] = -torch.inf
    return (mine > score.max(1).values) & torch.isfinite(mine)


def pf_all(values, larger, who):
    return torch.ones(len(values), dtype=torch.bool)


def pf_none(values, larger, who):
    return torch.zeros(len(values), dtype=torch.bool)


def pf_first_column(values, larger, who):
    return pf_filled(values, larger, (who + 1) % values.shape[1])


def pf_turned(values, larger, who):
    return ~pf_filled(values, larger, who)


def pf_numbers(values, larger, who):
    return pf_filled(values, larger, who).nonzero()[:, 0]


def pf_count(values, larger, who):
    return pf_filled(values, larger, who).sum()


def pf_top_half(values, larger, who):
    score = torch.where(larger[:, None], values, -values)
    return score[:, who] >= score.median(1).values


def pf_largest_value(values, larger, who):
    return values.argmax(1) == who


def pf_smallest_value(values, larger, who):
    return values.argmin(1) == who


# --- steps_in


def si_written(seconds, done, clock):
    each = (clock[-1] - clock[1]) / (done[-1] - done[1])
    left = seconds - clock[1]
    return max(int(math.floor(float(done[1] + left / each))), 1)


def si_floats(seconds, done, clock):
    done, clock = [float(d) for d in done], [float(c) for c in clock]
    rate = (done[-1] - done[1]) / (clock[-1] - clock[1])
    steps = int(done[1] + rate * (seconds - clock[1]))
    return steps if steps >= 1 else 1


def si_tensors(seconds, done, clock):
    stretch = (clock[-1] - clock[1]) / (done[-1] - done[1]).double()
    return int((done[1] + (seconds - clock[1]) / stretch).clamp(min=1))


def si_first_stretch(seconds, done, clock):
    pace = (clock[1] - clock[0]) / (done[1] - done[0])
    return max(1, int(done[1] + (seconds - clock[1]) / pace))


def si_double(seconds, done, clock):
    return 2 * si_floats(seconds, done, clock)


def si_no_start(seconds, done, clock):
    pace = (clock[-1] - clock[1]) / done[-1]
    return max(1, int(done[1] + (seconds - clock[1]) / pace))


def si_seconds(seconds, done, clock):
    return max(1, int(seconds))


def si_pace(seconds, done, clock):
    return float((clock[-1] - clock[1]) / (done[-1] - done[1]))


def si_less_the_stretch(seconds, done, clock):
    pace = (clock[-1] - clock[1]) / (done[-1] - done[1])
    return max(1, int((seconds - clock[-1]) / pace))


def si_after_all(seconds, done, clock):
    pace = (clock[-1] - clock[1]) / (done[-1] - done[1])
    return max(1, int(done[-1] + (seconds - clock[1]) / pace))


def si_stops(seconds, done, clock):
    return int(done[-1])


def si_ten_percent_less(seconds, done, clock):
    return max(1, int(0.9 * si_floats(seconds, done, clock)))


WRONG = [
    *((LP, f) for f in (lp_truncated_up, lp_scaled_by_levels, lp_over_the_rows, lp_first_level,
                        lp_sigmoid, lp_expected, lp_product, lp_kept_pixels, lp_no_gradient)),
    *((CR, f) for f in (cr_lower_image, cr_row_short, cr_from_the_bottom, cr_maximum,
                        cr_same_for_all, cr_zeros_below, cr_channels, cr_transposed, cr_flipped)),
    *((RR, f) for f in (rr_medians, rr_all_possible, rr_two_deviations, rr_worst_seeds, rr_turned,
                        rr_best_only, rr_without_e, rr_numbers_before, rr_rows)),
    *((PF, f) for f in (pf_all, pf_none, pf_first_column, pf_turned, pf_numbers, pf_count,
                        pf_top_half, pf_largest_value, pf_smallest_value)),
    *((SI, f) for f in (si_first_stretch, si_double, si_no_start, si_seconds, si_pace,
                        si_less_the_stretch, si_after_all, si_stops, si_ten_percent_less)),
]  # fmt: skip

RIGHT = [
    *((LP, f) for f in (lp_cross_entropy, lp_one_hot, lp_categorical, lp_loop)),
    *((CR, f) for f in (cr_where, cr_written, cr_loop)),
    *((RR, f) for f in (rr_loop, rr_every_pair, rr_lists)),
    *((PF, f) for f in (pf_loop, pf_counted, pf_filled)),
    *((SI, f) for f in (si_written, si_floats, si_tensors)),
]  # fmt: skip
