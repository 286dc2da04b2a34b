"""Exercises of 05_word_embeddings: mistakes named, wrong answers refused, right ones accepted."""

import math
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("05_word_embeddings")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == [
        "window_counts", "pmi", "negative_sampling_loss", "glove_loss", "keep_probability",
    ]  # fmt: skip
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 4


def texts_of(blocks):
    return [row[row >= 0] for row in blocks]


def one_hot_counts(blocks, size, window, weighting="flat"):
    """Counts as a product of matrices: one-hot words, and a band of who sees whom."""
    _refuse(blocks, window, weighting)
    M = torch.zeros(size, size)
    for text in texts_of(blocks):
        words, place = F.one_hot(text, size).float(), torch.arange(len(text))
        distance = (place[:, None] - place).abs()
        near = ((distance > 0) & (distance <= window)).float()
        near *= distance.float().apply_(lambda o: _w(o, window, weighting) if o else 0.0)
        M += words.T @ near @ words
    return M


def numpy_counts(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    M = np.zeros((size, size))
    for text in texts_of(blocks):
        ids = text.tolist()
        for i, a in enumerate(ids):
            for j in range(max(0, i - window), min(len(ids), i + window + 1)):
                M[a, ids[j]] += _w(abs(i - j), window, weighting) if i != j else 0
    return M


def sliding_windows(blocks, size, window, weighting="flat"):
    """Counts windows that hold both words: a pair at distance 1 counts several times."""
    M = torch.zeros(size, size)
    for text in texts_of(blocks):
        for start in range(len(text) - window):
            part = text[start : start + window + 1]
            for i in range(len(part)):
                for j in range(len(part)):
                    M[part[i], part[j]] += i != j
    return M


def loops_pmi(M, power=1.0):
    rows, columns = M.sum(1), M.sum(0) ** power
    out = torch.full(M.shape, -torch.inf)
    for i, j in M.nonzero().tolist():
        out[i, j] = torch.log(M[i, j] * columns.sum() / (rows[i] * columns[j]))
    return out


def loops_negative(positive, negative):
    total = 0
    for s, others in zip(positive, negative, strict=True):
        total = total - F.logsigmoid(s) - sum(F.logsigmoid(-t) for t in others)
    return total / len(positive)


def where_glove(score, count, most=100.0, alpha=0.75):
    weight = torch.where(count < most, (count / most) ** alpha, torch.ones_like(count))
    weight = weight.masked_fill(count == 0, 0.0)
    return (weight * (count.clamp(min=1e-30).log() - score) ** 2).sum() / len(count)


RIGHT = [
    ("window_counts", one_hot_counts),
    ("window_counts", numpy_counts),
    ("pmi", loops_pmi),
    ("pmi", lambda M, power=1.0: torch.where(
        M > 0, (M.double() * (M.sum(0) ** power).sum() / torch.outer(
            M.sum(1), M.sum(0) ** power)).log(), -torch.inf)),
    ("negative_sampling_loss", loops_negative),
    ("negative_sampling_loss", lambda p, n:
        F.binary_cross_entropy_with_logits(p, torch.ones_like(p))
        + F.binary_cross_entropy_with_logits(n, torch.zeros_like(n)) * n.shape[1]),
    ("glove_loss", where_glove),
    ("glove_loss", lambda s, x, most=100.0, alpha=0.75: torch.dot(
        (torch.minimum(x, torch.full_like(x, most)) / most).pow(alpha) * x.sign(),
        (s - x.masked_fill(x == 0, 1.0).log()).pow(2)) / len(s)),
    ("keep_probability", lambda counts, sample=1e-3: torch.minimum(
        torch.ones(len(counts)),
        ((counts / counts.sum() / sample) ** 0.5 + 1) * sample / (counts / counts.sum()))),
]  # fmt: skip


WRONG = [
    ("window_counts", sliding_windows),
    ("window_counts", lambda blocks, size, window, weighting="flat":
        one_hot_counts(blocks, size, window, weighting) / 2),
    ("window_counts", lambda blocks, size, window, weighting="flat":
        one_hot_counts(blocks[:1], size, window, weighting)),
    ("window_counts", lambda blocks, size, window, weighting="flat":
        one_hot_counts(blocks, size, window + 1, weighting)),
    ("window_counts", lambda blocks, size, window, weighting="flat":
        one_hot_counts(blocks, size, window, weighting).triu()),
    ("pmi", lambda M, power=1.0: loops_pmi(M, power).nan_to_num(neginf=0.0)),
    ("pmi", lambda M, power=1.0: loops_pmi(M + 1, power)),
    ("pmi", lambda M, power=1.0: -loops_pmi(M, power)),
    ("pmi", lambda M, power=1.0: M.log()),
    ("pmi", lambda M, power=1.0: loops_pmi(M, power) * M / M.sum()),
    ("negative_sampling_loss", lambda p, n: F.softplus(-p).mean() + F.softplus(n).mean(0).mean()),
    ("negative_sampling_loss", lambda p, n: loops_negative(-p, -n)),
    ("negative_sampling_loss", lambda p, n: loops_negative(p, n.detach())),
    ("negative_sampling_loss", lambda p, n: F.cross_entropy(
        torch.cat([p[:, None], n], 1), torch.zeros(len(p), dtype=torch.long))),
    ("negative_sampling_loss", lambda p, n: F.relu(1 - p).mean() + F.relu(1 + n).sum(1).mean()),
    ("glove_loss", lambda s, x, most=100.0, alpha=0.75: where_glove(s, x + 1, most, alpha)),
    ("glove_loss", lambda s, x, most=100.0, alpha=0.75: where_glove(s.detach(), x, most, alpha)),
    ("glove_loss", lambda s, x, most=100.0, alpha=0.75: where_glove(s, x, most, alpha) / 2),
    ("glove_loss", lambda s, x, most=100.0, alpha=0.75: where_glove(-s, x, most, alpha)),
    ("keep_probability", lambda counts, sample=1e-3: torch.ones(len(counts))),
    ("keep_probability", lambda counts, sample=1e-3: (
        (sample * counts / counts.sum()).sqrt() + sample * counts / counts.sum())),
    ("keep_probability", lambda counts, sample=1e-3: (counts / counts.sum()) ** 0.75),
]  # fmt: skip


# --- answers from the docstrings alone, written before the declared mistakes were read -----------


# window_counts
def _w(o, window, weighting):
    return {"flat": 1.0, "harmonic": 1 / o, "linear": 1 - (o - 1) / window}[weighting]


def _refuse(blocks, window, weighting):
    if window < 1 or weighting not in ("flat", "harmonic", "linear") or (blocks < 0).all():
        raise ValueError("an argument")


def _count(blocks, size, window, weighting, weight=_w, both=True, diagonal=2):
    _refuse(blocks, window, weighting)
    M = torch.zeros(size, size)
    for text in blocks.tolist():
        for a in range(len(text)):
            for o in range(1, window + 1):
                if a + o < len(text) and text[a] >= 0 and text[a + o] >= 0:
                    i, j, w = text[a], text[a + o], weight(o, window, weighting)
                    M[i, j] += w
                    if both and (i != j or diagonal == 2):
                        M[j, i] += w
    return M


def wc_one_sided(blocks, size, window, weighting="flat"):
    return _count(blocks, size, window, weighting, both=False)


def wc_self_once(blocks, size, window, weighting="flat"):
    return _count(blocks, size, window, weighting, diagonal=1)


def wc_no_self(blocks, size, window, weighting="flat"):
    return _count(blocks, size, window, weighting).fill_diagonal_(0)


def wc_span(blocks, size, window, weighting="flat"):
    return _count(blocks[blocks >= 0][None], size, window, weighting)


def wc_pad_last(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    return _count(blocks % size, size, window, weighting)


def wc_pad_zero(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    return _count(blocks.clamp(min=0), size, window, weighting)


def wc_ignores_weighting(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    return _count(blocks, size, window, "flat")


def wc_linear_plus(blocks, size, window, weighting="flat"):
    def weight(o, window, kind):
        return 1 - o / (window + 1) if kind == "linear" else _w(o, window, kind)

    return _count(blocks, size, window, weighting, weight)


def wc_linear_zero(blocks, size, window, weighting="flat"):
    def weight(o, window, kind):
        return 1 - o / window if kind == "linear" else _w(o, window, kind)

    return _count(blocks, size, window, weighting, weight)


def wc_window_short(blocks, size, window, weighting="flat"):
    return _count(blocks, size, window - 1, weighting, lambda o, _, kind: _w(o, window, kind))


def wc_fails_on_short(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    M = torch.zeros(size, size)
    for o in range(1, window + 1):
        L = blocks.shape[1]
        a, b = blocks[:, torch.arange(L - o)], blocks[:, torch.arange(L - o) + o]
        keep = (a >= 0) & (b >= 0)
        ones = torch.full((int(keep.sum()),), _w(o, window, weighting))
        M.index_put_((a[keep], b[keep]), ones, accumulate=True)
    return M + M.T


def wc_roll(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    M = torch.zeros(size, size)
    for o in range(1, window + 1):
        a, b = blocks, torch.roll(blocks, -o, 1)
        keep = (a >= 0) & (b >= 0)
        ones = torch.full((int(keep.sum()),), _w(o, window, weighting))
        M.index_put_((a[keep], b[keep]), ones, accumulate=True)
    return M + M.T


def wc_no_accumulate(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    M = torch.zeros(size, size)
    for o in range(1, min(window, blocks.shape[1] - 1) + 1):
        a, b = blocks[:, :-o], blocks[:, o:]
        keep = (a >= 0) & (b >= 0)
        M[a[keep], b[keep]] += _w(o, window, weighting)
    return M + M.T


def wc_largest(blocks, size, window, weighting="flat"):
    n = int(blocks.max()) + 1
    return _count(blocks, n, window, weighting)


def wc_whole(blocks, size, window, weighting="flat"):
    return _count(blocks, size, window, weighting).long()


def wc_loop(blocks, size, window, weighting="flat"):
    return _count(blocks, size, window, weighting)


def wc_counter(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    c = Counter()
    for text in blocks:
        words = [w for w in text.tolist() if w >= 0]
        for a, i in enumerate(words):
            for b, j in enumerate(words):
                if a != b and abs(a - b) <= window:
                    c[i, j] += _w(abs(a - b), window, weighting)
    M = np.zeros((size, size))
    for (i, j), v in c.items():
        M[i, j] = v
    return M


def wc_onehot(blocks, size, window, weighting="flat"):
    _refuse(blocks, window, weighting)
    hot = F.one_hot(blocks + 1, size + 1)[..., 1:].double()
    L = blocks.shape[1]
    place = torch.arange(L)
    o = (place[:, None] - place).abs()
    near = ((o > 0) & (o <= window)).double()
    if weighting == "harmonic":
        near = near / o.clamp(min=1)
    elif weighting == "linear":
        near = near * (1 - (o - 1) / window)
    return torch.einsum("nai,ab,nbj->ij", hot, near, hot)


# pmi
def _pmi(M, power=1.0):
    p = M / M.sum()
    pi = p.sum(1, keepdim=True)
    pj = p.sum(0, keepdim=True) ** power
    return p, pi, pj / pj.sum()


def pmi_ignores_power(M, power=1.0):
    p, i, j = _pmi(M, 1.0)
    return torch.where(M > 0, (p / (i * j)).log(), -torch.inf)


def pmi_power_rows(M, power=1.0):
    p = M / M.sum()
    i = p.sum(1, keepdim=True) ** power
    i = i / i.sum()
    return torch.where(M > 0, (p / (i * p.sum(0, keepdim=True))).log(), -torch.inf)


def pmi_power_unnormalised(M, power=1.0):
    p = M / M.sum()
    both = p.sum(1, keepdim=True) * p.sum(0, keepdim=True) ** power
    return torch.where(M > 0, (p / both).log(), -torch.inf)


def pmi_power_all(M, power=1.0):
    p, i, j = _pmi(M)
    return torch.where(M > 0, power * (p / (i * j)).log(), -torch.inf)


def pmi_nan_rows(M, power=1.0):
    p, i, j = _pmi(M, power)
    return (p / (i * j)).log()


def pmi_zero(M, power=1.0):
    p, i, j = _pmi(M, power)
    return torch.where(M > 0, (p / (i * j)).log(), 0.0)


def pmi_eps(M, power=1.0):
    p, i, j = _pmi(M, power)
    return (p / (i * j) + 1e-12).log()


def pmi_sums_are_symmetric(M, power=1.0):
    p = M / M.sum()
    i = p.sum(0)
    if M.shape[0] != M.shape[1]:
        return _ok(M, power)
    j = i**power
    return torch.where(M > 0, (p / (i[:, None] * (j / j.sum()))).log(), -torch.inf)


def pmi_positive(M, power=1.0):
    p, i, j = _pmi(M, power)
    return torch.where(M > 0, (p / (i * j)).log().clamp(min=0), -torch.inf)


def pmi_power_zero(M, power=1.0):
    p, i, j = _pmi(M, power or 1.0)
    return torch.where(M > 0, (p / (i * j)).log(), -torch.inf)


def pmi_joint_power(M, power=1.0):
    Mp = M**power
    p, i, j = _pmi(M)
    jp = Mp.sum(0) / Mp.sum()
    return torch.where(M > 0, (p / (i * jp)).log(), -torch.inf)


def _ok(M, power):
    p, i, j = _pmi(M, power)
    return torch.where(M > 0, (p / (i * j)).log(), -torch.inf)


def pmi_logs(M, power=1.0):
    r, c = M.sum(1), M.sum(0) ** power
    out = M.log() - r.log()[:, None] - c.log() + c.sum().log()
    return out.masked_fill(M == 0, -torch.inf)


def pmi_double(M, power=1.0):
    return _ok(M.double(), power)


def pmi_numpy(M, power=1.0):
    M = M.numpy().astype(float)
    r, c = M.sum(1), M.sum(0) ** power
    out = np.full(M.shape, -np.inf)
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            if M[i, j] > 0:
                out[i, j] = np.log(M[i, j] * c.sum() / (r[i] * c[j]))
    return out


# negative_sampling_loss
def ns_naive(positive, negative):
    return -(positive.sigmoid().log() + (-negative).sigmoid().log().sum(1)).mean()


def ns_eps(positive, negative):
    e = 1e-7
    return -((positive.sigmoid() + e).log() + ((1 - negative.sigmoid()) + e).log().sum(1)).mean()


def ns_one_minus(positive, negative):
    return -(F.logsigmoid(positive) + (1 - negative.sigmoid()).log().sum(1)).mean()


def ns_exp(positive, negative):
    return ((1 + (-positive).exp()).log() + (1 + negative.exp()).log().sum(1)).mean()


def ns_naive_positive(positive, negative):
    return -(positive.sigmoid().log() + F.logsigmoid(-negative).sum(1)).mean()


def ns_mean_all(positive, negative):
    return -torch.cat([F.logsigmoid(positive), F.logsigmoid(-negative).flatten()]).mean()


def ns_half(positive, negative):
    return F.softplus(-positive).mean() + F.softplus(negative).mean()


def ns_clamped(positive, negative):
    p, n = positive.clamp(-10, 10), negative.clamp(-10, 10)
    return (F.softplus(-p) + F.softplus(n).sum(1)).mean()


def ns_detached(positive, negative):
    return (F.softplus(-positive) + F.softplus(negative.detach()).sum(1)).mean()


def ns_bce_mean(positive, negative):
    s = torch.cat([positive[:, None], negative], 1)
    y = torch.zeros_like(s)
    y[:, 0] = 1
    return F.binary_cross_entropy_with_logits(s, y)


def ns_bce_probs(positive, negative):
    s = torch.cat([positive[:, None], negative], 1)
    y = torch.zeros_like(s)
    y[:, 0] = 1
    return F.binary_cross_entropy(s.sigmoid(), y, reduction="sum") / len(s)


def ns_softplus(positive, negative):
    return F.softplus(-positive).mean() + F.softplus(negative).sum(1).mean()


def ns_bce(positive, negative):
    s = torch.cat([positive[:, None], negative], 1)
    y = torch.zeros_like(s)
    y[:, 0] = 1
    return F.binary_cross_entropy_with_logits(s, y, reduction="sum") / len(s)


def ns_bernoulli(positive, negative):
    B = torch.distributions.Bernoulli
    one = B(logits=positive).log_prob(torch.ones_like(positive))
    none = B(logits=negative).log_prob(torch.zeros_like(negative))
    return -(one + none.sum(-1)).mean()


def ns_logaddexp(positive, negative):
    zero = torch.zeros((), dtype=torch.float64)
    total = 0
    for s, row in zip(positive.double(), negative.double(), strict=True):
        total = total + torch.logaddexp(zero, -s) + torch.logaddexp(zero, row).sum()
    return total / len(positive)


# glove_loss
def _f(x, most, alpha):
    return torch.where(x < most, (x / most) ** alpha, torch.ones_like(x)) * (x > 0)


def gl_nan(score, count, most=100.0, alpha=0.75):
    return ((count / most).clamp(max=1) ** alpha * (score - count.log()) ** 2).mean()


def gl_where(score, count, most=100.0, alpha=0.75):
    t = (count / most).clamp(max=1) ** alpha * (score - count.log()) ** 2
    return torch.where(count > 0, t, torch.zeros_like(t)).mean()


def gl_mean_of_seen(score, count, most=100.0, alpha=0.75):
    seen = count > 0
    return (_f(count, most, alpha) * (score - count.clamp(min=1e-30).log()) ** 2)[seen].mean()


def gl_clamp_one(score, count, most=100.0, alpha=0.75):
    return (_f(count, most, alpha) * (score - count.clamp(min=1).log()) ** 2).mean()


def gl_no_cap(score, count, most=100.0, alpha=0.75):
    return ((count / most) ** alpha * (score - count.clamp(min=1e-30).log()) ** 2).mean()


def gl_alpha_zero(score, count, most=100.0, alpha=0.75):
    f = (count / most).clamp(max=1) ** alpha
    return (f * (score - count.clamp(min=1e-30).log()) ** 2).mean()


def gl_ignores_most(score, count, most=100.0, alpha=0.75):
    return (_f(count, 100.0, alpha) * (score - count.clamp(min=1e-30).log()) ** 2).mean()


def gl_ignores_alpha(score, count, most=100.0, alpha=0.75):
    return (_f(count, most, 0.75) * (score - count.clamp(min=1e-30).log()) ** 2).mean()


def gl_log1p(score, count, most=100.0, alpha=0.75):
    return (_f(count, most, alpha) * (score - count.log1p()) ** 2).mean()


def gl_weights(score, count, most=100.0, alpha=0.75):
    f = _f(count, most, alpha)
    return (f * (score - count.clamp(min=1e-30).log()) ** 2).sum() / f.sum()


def gl_nansum(score, count, most=100.0, alpha=0.75):
    t = (count / most).clamp(max=1) ** alpha * (score - count.log()) ** 2
    return t.nanmean()


def gl_default_most(score, count, most=10.0, alpha=0.75):
    return (_f(count, most, alpha) * (score - count.clamp(min=1e-30).log()) ** 2).mean()


def gl_masked(score, count, most=100.0, alpha=0.75):
    safe = torch.where(count > 0, count, torch.ones_like(count))
    return (_f(count, most, alpha) * (score - safe.log()).square()).mean()


def gl_selected(score, count, most=100.0, alpha=0.75):
    seen = count > 0
    x = count[seen].double()
    f = (x / most).pow(alpha).clamp(max=1)
    return (f * (score[seen] - x.log()) ** 2).sum() / len(count)


def gl_loop(score, count, most=100.0, alpha=0.75):
    total = score.sum() * 0
    for s, x in zip(score, count.tolist(), strict=True):
        if x > 0:
            f = (x / most) ** alpha if x < most else 1.0
            total = total + f * (s - math.log(x)) ** 2
    return total / len(score)


# keep_probability
def kp_paper(counts, sample=1e-3):
    return (sample / (counts / counts.sum())).sqrt().clamp(max=1)


def kp_drop(counts, sample=1e-3):
    f = counts / counts.sum()
    return 1 - ((sample / f).sqrt() + sample / f).clamp(max=1)


def kp_default(counts, sample=1e-4):
    f = counts / counts.sum()
    return ((sample / f).sqrt() + sample / f).clamp(max=1)


def kp_ignores(counts, sample=1e-3):
    f = counts / counts.sum()
    return ((1e-3 / f).sqrt() + 1e-3 / f).clamp(max=1)


def kp_max(counts, sample=1e-3):
    f = counts / counts.max()
    return ((sample / f).sqrt() + sample / f).clamp(max=1)


def kp_no_cap(counts, sample=1e-3):
    f = counts / counts.sum()
    return (sample / f).sqrt() + sample / f


def kp_unseen(counts, sample=1e-3):
    f = counts / counts.sum()
    return torch.where(f > 0, ((sample / f).sqrt() + sample / f).clamp(max=1), 0.0)


def kp_sigmoid(counts, sample=1e-3):
    f = counts / counts.sum()
    return torch.tanh((sample / f).sqrt() + sample / f)


def kp_ints(counts, sample=1e-3):
    out, total = torch.ones_like(counts), float(counts.sum())
    for j, c in enumerate(counts.tolist()):
        if c:
            f = c / total
            out[j] = min(1, math.sqrt(sample / f) + sample / f)
    return out


def kp_less(counts, sample=1e-3):
    f = counts / counts.sum()
    return torch.where(f <= sample, 1.0, (sample / f).sqrt() + sample / f)


def kp_code(counts, sample=1e-3):
    """As word2vec.c writes it."""
    total = counts.sum().item()
    out = []
    for c in counts.tolist():
        ran = (math.sqrt(c / (sample * total)) + 1) * (sample * total) / c if c else 1.0
        out.append(min(1.0, ran))
    return torch.tensor(out)


def kp_double(counts, sample=1e-3):
    r = sample * counts.sum().double() / counts.double()
    return torch.minimum(r.sqrt() + r, torch.ones_like(r))


def kp_numpy(counts, sample=1e-3):
    c = counts.numpy().astype(float)
    with np.errstate(all="ignore"):
        r = sample / (c / c.sum())
    return np.minimum(1, np.sqrt(r) + r)


WRONG += [
    ("window_counts", wc_one_sided),
    ("window_counts", wc_self_once),
    ("window_counts", wc_no_self),
    ("window_counts", wc_span),
    ("window_counts", wc_pad_last),
    ("window_counts", wc_pad_zero),
    ("window_counts", wc_ignores_weighting),
    ("window_counts", wc_linear_plus),
    ("window_counts", wc_linear_zero),
    ("window_counts", wc_window_short),
    ("window_counts", wc_fails_on_short),
    ("window_counts", wc_roll),
    ("window_counts", wc_no_accumulate),
    ("window_counts", wc_largest),
    ("window_counts", wc_whole),
    ("pmi", pmi_ignores_power),
    ("pmi", pmi_power_rows),
    ("pmi", pmi_power_unnormalised),
    ("pmi", pmi_power_all),
    ("pmi", pmi_nan_rows),
    ("pmi", pmi_zero),
    ("pmi", pmi_eps),
    ("pmi", pmi_sums_are_symmetric),
    ("pmi", pmi_positive),
    ("pmi", pmi_power_zero),
    ("pmi", pmi_joint_power),
    ("negative_sampling_loss", ns_naive),
    ("negative_sampling_loss", ns_eps),
    ("negative_sampling_loss", ns_one_minus),
    ("negative_sampling_loss", ns_exp),
    ("negative_sampling_loss", ns_naive_positive),
    ("negative_sampling_loss", ns_mean_all),
    ("negative_sampling_loss", ns_half),
    ("negative_sampling_loss", ns_clamped),
    ("negative_sampling_loss", ns_detached),
    ("negative_sampling_loss", ns_bce_mean),
    ("negative_sampling_loss", ns_bce_probs),
    ("glove_loss", gl_nan),
    ("glove_loss", gl_where),
    ("glove_loss", gl_mean_of_seen),
    ("glove_loss", gl_clamp_one),
    ("glove_loss", gl_no_cap),
    ("glove_loss", gl_alpha_zero),
    ("glove_loss", gl_ignores_most),
    ("glove_loss", gl_ignores_alpha),
    ("glove_loss", gl_log1p),
    ("glove_loss", gl_weights),
    ("glove_loss", gl_nansum),
    ("glove_loss", gl_default_most),
    ("keep_probability", kp_paper),
    ("keep_probability", kp_drop),
    ("keep_probability", kp_default),
    ("keep_probability", kp_ignores),
    ("keep_probability", kp_max),
    ("keep_probability", kp_no_cap),
    ("keep_probability", kp_unseen),
    ("keep_probability", kp_sigmoid),
    ("keep_probability", kp_ints),
    ("keep_probability", kp_less),
]

RIGHT += [
    ("window_counts", wc_loop),
    ("window_counts", wc_counter),
    ("window_counts", wc_onehot),
    ("pmi", pmi_logs),
    ("pmi", pmi_double),
    ("pmi", pmi_numpy),
    ("negative_sampling_loss", ns_softplus),
    ("negative_sampling_loss", ns_bce),
    ("negative_sampling_loss", ns_bernoulli),
    ("negative_sampling_loss", ns_logaddexp),
    ("glove_loss", gl_masked),
    ("glove_loss", gl_selected),
    ("glove_loss", gl_loop),
    ("keep_probability", kp_code),
    ("keep_probability", kp_double),
    ("keep_probability", kp_numpy),
]
