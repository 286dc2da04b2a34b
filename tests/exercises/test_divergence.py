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
    out = []
    for row_p, row_q in zip(log_p, log_q, strict=True):
        total = 0.0
        for a, b in zip(row_p.tolist(), row_q.tolist(), strict=True):
            if a > -math.inf:
                total += math.exp(a) * (a - b)
        out.append(total)
    return torch.tensor(out)


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
    p, q = log_p.exp().numpy(), log_q.exp().numpy()
    return torch.from_numpy(np.nan_to_num(jensenshannon(p, q, axis=-1)) ** 2)


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
    return counts / counts.sum(), (prior + white) / (2 * prior + counts)[:, None]


def em_loops(x, weights, means, prior):
    r = torch.stack([weights * (means**v * (1 - means) ** (1 - v)).prod(1) for v in x])
    r = r / r.sum(1, keepdim=True)
    new = [
        (sum(r[i, k] * x[i] for i in range(len(x))) + prior) / (r[:, k].sum() + 2 * prior)
        for k in range(len(weights))
    ]
    return r.mean(0), torch.stack(new)


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
    rows = [
        1 - sum((alpha * a + (1 - alpha) * b).exp() for a, b in zip(*pair, strict=True))
        for pair in zip(log_p, log_q, strict=True)
    ]
    return torch.stack(rows) / (alpha * (1 - alpha))


def alpha_probabilities_added(log_p, log_q, alpha):
    mixed = alpha * log_p.exp() + (1 - alpha) * log_q.exp()
    return (1 - mixed.sum(-1)) / (alpha * (1 - alpha))


def alpha_hellinger(log_p, log_q, alpha):
    return 2 * ((log_p / 2).exp() - (log_q / 2).exp()).square().sum(-1)


def alpha_detached(log_p, log_q, alpha):
    return alpha_plain(log_p.detach(), log_q, alpha)


def alpha_squared(log_p, log_q, alpha):
    return (1 - torch.exp(alpha * log_p + (1 - alpha) * log_q).sum(-1)) / alpha**2


KL, JS, EM, ALPHA = "kl_divergence", "js_divergence", "em_step", "alpha_divergence"
RIGHT = [
    *((KL, f) for f in (kl_loops, kl_nan_to_zero, kl_xlogy, kl_library)),
    *((JS, f) for f in (js_scipy_squared, js_entropies, js_categorical)),
    *((EM, f) for f in (em_distributions, em_loops, em_list)),
    *((ALPHA, f) for f in (alpha_powers, alpha_plain, alpha_loops)),
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
]

SAID = [
    (JS, js_unmasked, "NaN"),
    (JS, js_normalised, "is 1.443 times the expected one"),
    (EM, em_means_only, "a tuple of 2 tensors is expected"),
    (ALPHA, alpha_detached, "no gradient flows back to log_p"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "19_divergence"), answer).sentence


@pytest.mark.parametrize("mistake", ["zero times infinity", "through the probabilities"])
def test_a_zero_and_a_tiny_probability_are_among_the_cases_of_kl(mistake):
    """Without them, the exercise would accept answers that are right on paper only."""
    exercise = register.find(KL, "19_divergence")
    wrong, sentence = exercise.mistakes[mistake]
    assert diagnose(exercise, wrong).sentence == sentence
    mild = register.Exercise(
        **{**vars(exercise), "cases": lambda seed: list(exercise.cases(seed))[:1]}
    )
    assert diagnose(mild, wrong).state == "correct"
