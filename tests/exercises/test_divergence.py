"""Answers to the exercises of 19_divergence, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F
from scipy.spatial.distance import jensenshannon
from torch.distributions import Bernoulli, Categorical, Independent

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def kl_loops(log_p, log_q):
    flat_p, flat_q = log_p.reshape(-1, log_p.shape[-1]), log_q.reshape(-1, log_q.shape[-1])
    out = []
    for a, b in zip(flat_p.tolist(), flat_q.tolist(), strict=False):
        out.append(sum(math.exp(i) * (i - j) for i, j in zip(a, b, strict=False) if i > -math.inf))
    return torch.tensor(out).reshape(log_p.shape[:-1])


def kl_nan_to_zero(log_p, log_q):
    term = log_p.exp() * (log_p - log_q)
    return torch.where(term.isnan(), 0.0, term).sum(-1)


def kl_xlogy(log_p, log_q):
    p = log_p.exp()
    entropy = torch.special.xlogy(p, p).sum(-1)
    return entropy - torch.where(p == 0, 0.0, p * log_q).sum(-1)


def kl_library(log_p, log_q):
    p = log_p.exp()
    return F.kl_div(log_q, p, reduction="none").masked_fill(p == 0, 0).sum(-1)


def kl_clamped(log_p, log_q):
    p = log_p.exp()
    return (p * (p.clamp(min=1e-12).log() - log_q.clamp(min=-27))).sum(-1)


def kl_rel_entr(log_p, log_q):
    return scipy.special.rel_entr(log_p.exp().numpy(), log_q.exp().numpy()).sum(-1)


def kl_batchmean(log_p, log_q):
    return F.kl_div(log_q, log_p.exp(), reduction="batchmean")


def kl_absolute(log_p, log_q):
    p = log_p.exp()
    return (p * torch.where(p > 0, (log_p - log_q).abs(), 0.0)).sum(-1)


def kl_bits(log_p, log_q):
    return kl_nan_to_zero(log_p, log_q) / math.log(2)


def kl_first_dimension(log_p, log_q):
    p = log_p.exp()
    return (p * torch.where(p > 0, log_p - log_q, 0.0)).sum(0)


def js_scipy_squared(log_p, log_q):
    d = jensenshannon(log_p.double().exp().numpy(), log_q.double().exp().numpy(), axis=-1)
    return torch.as_tensor(np.asarray(d) ** 2)


def js_entropies(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    h = [torch.special.entr(a).sum(-1) for a in ((p + q) / 2, p, q)]
    return h[0] - (h[1] + h[2]) / 2


def js_categorical(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    m = (p + q) / 2
    return sum(
        0.5 * torch.where(a > 0, a * (a / m.clamp(min=1e-300)).log(), 0.0).sum(-1) for a in (p, q)
    )


def js_unmasked(log_p, log_q):
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return 0.5 * sum((a.exp() * (a - log_m)).sum(-1) for a in (log_p, log_q))


def js_reversed_sides(log_p, log_q):
    m = (log_p.exp() + log_q.exp()) / 2
    return 0.5 * sum(
        torch.where(m > 0, m * (m.log() - a.clamp(min=-50)), 0.0).sum(-1) for a in (log_p, log_q)
    )


def js_normalised(log_p, log_q):
    return js_entropies(log_p, log_q) / math.log(2)


def js_total_variation(log_p, log_q):
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1)


def js_of_batch(log_p, log_q):
    return js_entropies(log_p, log_q).mean()


def em_distributions(x, weights, means, prior):
    log_p = Independent(Bernoulli(means), 1).log_prob(x[:, None])
    r = Categorical(logits=log_p + weights.log()).probs
    counts = r.sum(0)
    white = torch.einsum("nk,nd->kd", r, x)
    new = (prior + white) / (2 * prior + counts)[:, None]
    return counts / counts.sum(), torch.where(new.isnan(), means, new)


def em_loops(x, weights, means, prior):
    r = []
    for image in x:
        logs = [(w * 1.0).log() + torch.where(image > 0, m, 1 - m).log().sum()
                for w, m in zip(weights, means, strict=True)]  # fmt: skip
        top = max(logs)
        shares = torch.stack([(one - top).exp() for one in logs])
        r.append(shares / shares.sum())
    counts, new = sum(r), []
    for k, n in enumerate(counts.tolist()):
        white = sum(one[k] * image for one, image in zip(r, x, strict=True))
        new.append((white + prior) / (n + 2 * prior) if n + prior > 0 else means[k])
    return counts / len(x), torch.stack(new)


def em_list(x, weights, means, prior):
    return list(em_distributions(x, weights, means, prior))


def em_means_only(x, weights, means, prior):
    return em_distributions(x, weights, means, prior)[1]


def em_swapped(x, weights, means, prior):
    return em_distributions(x, weights, means, prior)[::-1]


def em_weights_kept(x, weights, means, prior):
    return weights, em_distributions(x, weights, means, prior)[1]


def em_prior_in_weights(x, weights, means, prior):
    r = Categorical(logits=Independent(Bernoulli(means), 1).log_prob(x[:, None]) + weights.log())
    counts = r.probs.sum(0) + prior
    return counts / counts.sum(), em_distributions(x, weights, means, prior)[1]


def em_divided_by_n(x, weights, means, prior):
    r = Categorical(logits=Independent(Bernoulli(means), 1).log_prob(x[:, None]) + weights.log())
    return r.probs.mean(0), (r.probs.T @ x + prior) / (len(x) + 2 * prior)


def alpha_powers(log_p, log_q, alpha):
    log_terms = alpha * log_p + (1 - alpha) * log_q
    top = log_terms.max(-1, keepdim=True).values
    total = top.squeeze(-1).exp() * (log_terms - top).exp().sum(-1)
    return (total - 1) / (alpha * (alpha - 1))


def alpha_plain(log_p, log_q, alpha):
    mixed = torch.exp(log_q + alpha * (log_p - log_q))
    return (1 - mixed.sum(-1)) / (alpha - alpha**2)


def alpha_loops(log_p, log_q, alpha):
    pairs = zip(log_p.reshape(-1, log_p.shape[-1]), log_q.reshape(-1, log_q.shape[-1]), strict=True)
    rows = [
        1 - sum((alpha * a + (1 - alpha) * b).exp() for a, b in zip(*pair, strict=True))
        for pair in pairs
    ]
    return torch.stack(rows).reshape(log_p.shape[:-1]) / (alpha * (1 - alpha))


def alpha_probabilities_added(log_p, log_q, alpha):
    mixed = alpha * log_p.exp() + (1 - alpha) * log_q.exp()
    return (1 - mixed.sum(-1)) / (alpha * (1 - alpha))


def alpha_hellinger(log_p, log_q, alpha):
    return 2 * ((log_p / 2).exp() - (log_q / 2).exp()).square().sum(-1)


def alpha_detached(log_p, log_q, alpha):
    return alpha_plain(log_p.detach(), log_q, alpha)


def alpha_squared(log_p, log_q, alpha):
    return (1 - torch.exp(alpha * log_p + (1 - alpha) * log_q).sum(-1)) / alpha**2


def em_r(x, weights, means):
    return (x @ means.log().T + (1 - x) @ (1 - means).log().T + weights.log()).softmax(1)


def kl_nansum(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).nansum(-1)


def kl_double(log_p, log_q):
    p, a, b = log_p.double().exp(), log_p.double(), log_q.double()
    return torch.where(p > 0, p * (a - b), torch.zeros_like(p)).sum(-1)


def kl_entropies(log_p, log_q):
    p = log_p.exp()
    cross = torch.where(p > 0, -p * log_q, 0.0).sum(-1)
    own = torch.special.entr(p).sum(-1)
    return cross - own


def kl_plain(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def kl_nan_to_num(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).nan_to_num().sum(-1)


def kl_eps(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    return (p * ((p + 1e-8) / (q + 1e-8)).log()).sum(-1)


def kl_reversed(log_p, log_q):
    return (log_q.exp() * (log_q - log_p)).nansum(-1)


def kl_both_supports(log_p, log_q):
    ok = torch.isfinite(log_p) & torch.isfinite(log_q)
    return torch.where(ok, log_p.exp() * (log_p - log_q), 0.0).sum(-1)


def kl_xlogy_two(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)


def kl_all(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).nansum()


def kl_positive_terms(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).nan_to_num(nan=0.0).clamp(min=0).sum(-1)


def kl_zero_is_nan(log_p, log_q):  # 0 log 0 handled, 0 log(0/0) not
    p = log_p.exp()
    return (p * log_p.clamp(min=-1e30) - p * log_q).sum(-1)


def kl_library_mean(log_p, log_q):
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").nan_to_num(nan=0.0).mean(-1)


def kl_dim_one(log_p, log_q):
    return torch.where(log_p == -torch.inf, 0.0, log_p.exp() * (log_p - log_q)).sum(
        1 if log_p.dim() > 1 else 0
    )


def js_nansum(log_p, log_q):
    m = torch.logaddexp(log_p, log_q) - math.log(2)
    return 0.5 * ((log_p.exp() * (log_p - m)).nansum(-1) + (log_q.exp() * (log_q - m)).nansum(-1))


def js_loop(log_p, log_q):
    out = []
    for a, b in zip(
        log_p.reshape(-1, log_p.shape[-1]).tolist(),
        log_q.reshape(-1, log_q.shape[-1]).tolist(),
        strict=False,
    ):
        s = 0.0
        for i, j in zip(a, b, strict=False):
            p, q = math.exp(i), math.exp(j)
            m = (p + q) / 2
            s += 0.5 * (p * math.log(p / m) if p else 0) + 0.5 * (q * math.log(q / m) if q else 0)
        out.append(s)
    return torch.tensor(out).reshape(log_p.shape[:-1])


def js_geometric(log_p, log_q):
    m = (log_p + log_q) / 2
    return 0.5 * ((log_p.exp() * (log_p - m)).nansum(-1) + (log_q.exp() * (log_q - m)).nansum(-1))


def js_plain(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    m = ((p + q) / 2).log()
    return 0.5 * ((p * (log_p - m)).sum(-1) + (q * (log_q - m)).sum(-1))


def js_linear(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    m = (p + q) / 2
    return 0.5 * (torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m)).sum(-1)


def js_no_half(log_p, log_q):
    m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (log_p.exp() * (log_p - m)).nansum(-1) + (log_q.exp() * (log_q - m)).nansum(-1)


def js_one_side(log_p, log_q):
    m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (log_p.exp() * (log_p - m)).nansum(-1)


def js_jeffreys(log_p, log_q):
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).nansum(-1)


def js_root(log_p, log_q):
    m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (
        (0.5 * ((log_p.exp() * (log_p - m)).nansum(-1) + (log_q.exp() * (log_q - m)).nansum(-1)))
        .clamp(min=0)
        .sqrt()
    )


def js_eps(log_p, log_q):
    p, q = log_p.exp() + 1e-6, log_q.exp() + 1e-6
    m = (p + q) / 2
    return 0.5 * (p * (p / m).log() + q * (q / m).log()).sum(-1)


def js_common_support(log_p, log_q):
    ok = torch.isfinite(log_p) & torch.isfinite(log_q)
    m = torch.logaddexp(log_p, log_q) - math.log(2)
    return torch.where(ok, 0.5 * (log_p.exp() * (log_p - m) + log_q.exp() * (log_q - m)), 0.0).sum(
        -1
    )


def js_bits(log_p, log_q):
    m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (
        0.5
        * ((log_p.exp() * (log_p - m)).nansum(-1) + (log_q.exp() * (log_q - m)).nansum(-1))
        / math.log(2)
    )


def em_double(x, weights, means, prior):
    x, means = x.double(), means.double()
    log_joint = torch.special.xlogy(x[:, None], means).sum(-1)
    log_joint += torch.special.xlog1py(1 - x[:, None], -means).sum(-1) + weights.double().log()
    r = (log_joint - log_joint.logsumexp(1, keepdim=True)).exp()
    n, a = r.sum(0)[:, None], prior
    new = (r.T @ x + a) / (n + 2 * a).clamp(min=1e-300)
    return n[:, 0] / len(x), means.where(n + a == 0, new)


def em_product(x, weights, means, prior):
    p = (means ** x[:, None, :] * (1 - means) ** (1 - x[:, None, :])).prod(-1) * weights
    r = p / p.sum(1, keepdim=True)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_exp_of_logs(x, weights, means, prior):
    p = (x @ means.log().T + (1 - x) @ (1 - means).log().T).exp() * weights
    r = p / p.sum(1, keepdim=True)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_hard(x, weights, means, prior):
    r = F.one_hot(em_r(x, weights, means).argmax(1), len(weights)).to(x.dtype)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_no_weights(x, weights, means, prior):
    r = em_r(x, torch.ones_like(weights), means)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_prior_once(x, weights, means, prior):
    r = em_r(x, weights, means)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (prior + n[:, None])


def em_prior_one(x, weights, means, prior):
    r = em_r(x, weights, means)
    n = r.sum(0)
    return n / len(x), (1 + r.T @ x) / (2 + n[:, None])


def em_no_prior(x, weights, means, prior):
    r = em_r(x, weights, means)
    n = r.sum(0)
    return n / len(x), (r.T @ x) / n[:, None]


def em_prior_at_least_one(x, weights, means, prior):
    prior = max(prior, 1)
    r = em_r(x, weights, means)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_white_only(x, weights, means, prior):
    r = (x @ means.log().T + weights.log()).softmax(1)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_counts(x, weights, means, prior):
    r = em_r(x, weights, means)
    n = r.sum(0)
    return n, (prior + r.T @ x) / (2 * prior + n[:, None])


def em_weights_after(x, weights, means, prior):
    r = em_r(x, weights, means)
    n = r.sum(0)
    new = (prior + r.T @ x) / (2 * prior + n[:, None])
    return em_r(x, weights, new).mean(0), new


def em_whole_prior(x, weights, means, prior):
    prior = int(prior)
    r = em_r(x, weights, means)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None] + 1e-12)


def em_eps(x, weights, means, prior):
    m = means.clamp(1e-2, 1 - 1e-2)
    r = em_r(x, weights, m)
    n = r.sum(0)
    return n / len(x), (prior + r.T @ x) / (2 * prior + n[:, None])


def em_products(x, weights, means, prior):
    r = torch.stack([weights * (means**v * (1 - means) ** (1 - v)).prod(1) for v in x])
    r = r / r.sum(1, keepdim=True)
    counts = r.sum(0)
    new = (r.T @ x + prior) / (counts + 2 * prior)[:, None]
    return r.mean(0), torch.where(counts[:, None] + prior > 0, new, means)


def em_no_guard(x, weights, means, prior):
    log_p = Independent(Bernoulli(means), 1).log_prob(x[:, None])
    r = (log_p + weights.log()).softmax(1)
    return r.mean(0), (r.T @ x + prior) / (r.sum(0) + 2 * prior)[:, None]


def al_expm1(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q).logsumexp(-1)
    return -torch.expm1(s) / (alpha * (1 - alpha))


def al_double(log_p, log_q, alpha):
    p, q = log_p.double(), log_q.double()
    return (1 - (p * alpha + q * (1 - alpha)).exp().sum(-1)) / (alpha * (1 - alpha))


def al_ratio(log_p, log_q, alpha):
    s = torch.exp(log_q + alpha * (log_p - log_q)).sum(-1)
    return (1 - s) / (alpha - alpha**2)


def al_exp_of_sum(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q).exp().sum(-1)
    return (1 - s) / (alpha * (1 - alpha))


def al_plain(log_p, log_q, alpha):
    p, q = log_p.exp(), log_q.exp()
    return (1 - (p**alpha * q ** (1 - alpha)).sum(-1)) / (alpha * (1 - alpha))


def al_swapped(log_p, log_q, alpha):
    s = ((1 - alpha) * log_p + alpha * log_q).logsumexp(-1).exp()
    return (1 - s) / (alpha * (1 - alpha))


def al_renyi(log_p, log_q, alpha):
    return (alpha * log_p + (1 - alpha) * log_q).logsumexp(-1) / (alpha - 1)


def al_one_factor(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q).logsumexp(-1).exp()
    return (1 - s) / (1 - alpha)


def al_sign(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q).logsumexp(-1).exp()
    return (1 - s) / (alpha * (alpha - 1))


def al_abs(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q).logsumexp(-1).exp()
    return (1 - s).abs() / (alpha * (1 - alpha))


def al_clamped_alpha(log_p, log_q, alpha):
    alpha = min(max(alpha, 1e-3), 1 - 1e-3)
    s = (alpha * log_p + (1 - alpha) * log_q).logsumexp(-1).exp()
    return (1 - s) / (alpha * (1 - alpha))


def al_detached_q(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q.detach()).logsumexp(-1).exp()
    return (1 - s) / (alpha * (1 - alpha))


def al_amari(log_p, log_q, alpha):
    s = ((1 - alpha) / 2 * log_p + (1 + alpha) / 2 * log_q).logsumexp(-1).exp()
    return 4 / (1 - alpha**2) * (1 - s)


def al_near_limit(log_p, log_q, alpha):
    if abs(alpha - 1) < 0.1:
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    if abs(alpha) < 0.1:
        return (log_q.exp() * (log_q - log_p)).sum(-1)
    return al_expm1(log_p, log_q, alpha)


def al_total(log_p, log_q, alpha):
    s = (alpha * log_p + (1 - alpha) * log_q).exp().sum()
    return (1 - s) / (alpha * (1 - alpha))


KL, JS, EM, ALPHA = "kl_divergence", "js_divergence", "em_step", "alpha_divergence"
RIGHT = [
    *((KL, f) for f in (kl_loops, kl_nan_to_zero, kl_xlogy, kl_library)),
    *((JS, f) for f in (js_scipy_squared, js_entropies, js_categorical)),
    *((EM, f) for f in (em_distributions, em_loops, em_list)),
    *((ALPHA, f) for f in (alpha_powers, alpha_plain, alpha_loops)),
    *(
        (KL, f)
        for f in (
            kl_nansum,
            kl_double,
            kl_entropies,
        )
    ),
    *(
        (JS, f)
        for f in (
            js_nansum,
            js_loop,
        )
    ),
    *((EM, f) for f in (em_double,)),
    *(
        (ALPHA, f)
        for f in (
            al_expm1,
            al_double,
            al_ratio,
            al_exp_of_sum,
        )
    ),
]
WRONG = [
    *((KL, f) for f in (kl_clamped, kl_rel_entr, kl_batchmean, kl_absolute, kl_bits)),
    (KL, kl_first_dimension),
    *((JS, f) for f in (js_unmasked, js_reversed_sides, js_normalised, js_total_variation)),
    (JS, js_of_batch),
    *((EM, f) for f in (em_means_only, em_swapped, em_weights_kept, em_prior_in_weights)),
    (EM, em_divided_by_n),
    *((ALPHA, f) for f in (alpha_probabilities_added, alpha_hellinger, alpha_detached)),
    (ALPHA, alpha_squared),
    *(
        (KL, f)
        for f in (
            kl_plain,
            kl_nan_to_num,
            kl_eps,
            kl_reversed,
            kl_both_supports,
            kl_xlogy_two,
            kl_all,
            kl_positive_terms,
            kl_zero_is_nan,
            kl_library_mean,
            kl_dim_one,
        )
    ),
    *(
        (JS, f)
        for f in (
            js_geometric,
            js_plain,
            js_linear,
            js_no_half,
            js_one_side,
            js_jeffreys,
            js_root,
            js_eps,
            js_common_support,
            js_bits,
        )
    ),
    *(
        (EM, f)
        for f in (
            em_product,
            em_exp_of_logs,
            em_hard,
            em_no_weights,
            em_prior_once,
            em_prior_one,
            em_no_prior,
            em_prior_at_least_one,
            em_white_only,
            em_counts,
            em_weights_after,
            em_whole_prior,
            em_eps,
            em_products,
            em_no_guard,
        )
    ),
    *(
        (ALPHA, f)
        for f in (
            al_plain,
            al_swapped,
            al_renyi,
            al_one_factor,
            al_sign,
            al_abs,
            al_clamped_alpha,
            al_detached_q,
            al_amari,
            al_near_limit,
            al_total,
        )
    ),
]

SAID = [
    (KL, kl_clamped, "infinite: the model rules out"),
    (KL, kl_rel_entr, "exp(-1000) is zero"),
    (JS, js_unmasked, "the result is log 2, no NaN"),
    (EM, em_products, "rounds to 0"),
    (JS, js_normalised, "is 1.443 times the expected one"),
    (EM, em_means_only, "a tuple of 2 tensors is expected"),
    (ALPHA, alpha_detached, "no gradient flows back to log_p"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "19_divergence"), answer).sentence
