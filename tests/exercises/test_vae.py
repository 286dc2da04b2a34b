"""Answers to the exercises of 24_vae, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Independent, MixtureSameFamily, Normal, kl_divergence

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose


def rp_distribution(mu, logvar, eps):
    return Normal(mu, (logvar / 2).exp()).icdf(Normal(0.0, 1.0).cdf(eps.double())).float()


def rp_einsum(mu, logvar, eps):
    std = logvar.exp().sqrt()
    return torch.einsum("...bk,bk->...bk", eps, std) + mu


def rp_loops(mu, logvar, eps):
    flat = eps.reshape(-1, *mu.shape)
    out = [mu + math.e ** (0.5 * logvar) * one for one in flat]
    return torch.stack(out).reshape(eps.shape)


def rp_double(mu, logvar, eps):
    return torch.addcmul(mu.double(), logvar.double().mul(0.5).exp(), eps.double())


def rp_own_noise(mu, logvar, eps):
    return mu + (logvar / 2).exp() * torch.randn_like(eps)


def rp_detached(mu, logvar, eps):
    return mu + (logvar / 2).exp().detach() * eps


def rp_sampled(mu, logvar, eps):
    return torch.normal(mu, (logvar / 2).exp())


def rp_softplus(mu, logvar, eps):
    return mu + F.softplus(logvar) * eps


def rp_quarter(mu, logvar, eps):
    return mu + torch.exp(logvar / 4) * eps


def rp_base_two(mu, logvar, eps):
    return mu + 2 ** (logvar / 2) * eps


def kl_distributions(mu, logvar):
    q, p = Normal(mu, (logvar / 2).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return kl_divergence(Independent(q, 1), Independent(p, 1))


def kl_einsum(mu, logvar):
    square = torch.einsum("bk,bk->b", mu, mu)
    return (square + logvar.exp().sum(1) - logvar.sum(1) - mu.shape[1]) / 2


def kl_loops(mu, logvar):
    rows = []
    for m, s in zip(mu, logvar, strict=True):
        rows.append(sum(0.5 * (s[j].exp() - 1 - s[j] + m[j] ** 2) for j in range(len(m))))
    return torch.stack(rows)


def kl_double(mu, logvar):
    mu, logvar = mu.double(), logvar.double()
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)


def kl_of_the_other_order(mu, logvar):
    q, p = Normal(mu, (logvar / 2).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return kl_divergence(p, q).sum(1)


def kl_no_one(mu, logvar):
    return 0.5 * (logvar.exp() - logvar + mu**2).sum(1)


def kl_mu_not_squared(mu, logvar):
    return 0.5 * (logvar.exp() - 1 - logvar + mu).sum(1)


def kl_root(mu, logvar):
    return 0.5 * ((logvar / 2).exp() - 1 - logvar + mu**2).sum(1)


def kl_column(mu, logvar):
    return 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(1, keepdim=True)


def kl_monte_carlo(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    c = q.rsample((10,))
    return (q.log_prob(c) - Normal(0.0, 1.0).log_prob(c)).sum(-1).mean(0)


def kl_half_detached(mu, logvar):
    return 0.5 * (logvar.detach().exp() - 1 - logvar + mu**2).sum(1)


def ll_distribution(x, logits):
    return Bernoulli(logits=logits).log_prob(x.expand_as(logits)).flatten(-x.dim() + 1).sum(-1)


def ll_softplus(x, logits):
    return (x * logits - F.softplus(logits)).flatten(1 - x.dim()).sum(-1)


def ll_logsigmoid(x, logits):
    log_p = torch.where(x > 0, F.logsigmoid(logits), F.logsigmoid(-logits))
    return log_p.sum(tuple(range(logits.dim() - x.dim() + 1, logits.dim())))


def ll_loops(x, logits):
    def image(pixels, a):
        return sum(
            (F.logsigmoid(t) if p else F.logsigmoid(-t))
            for p, t in zip(pixels.flatten(), a.flatten(), strict=True)
        )

    def images(a):
        return torch.stack([image(one, t) for one, t in zip(x, a, strict=True)])

    return images(logits) if logits.dim() == x.dim() else torch.stack([images(a) for a in logits])


def ll_double(x, logits):
    return ll_softplus(x.double(), logits.double())


def ll_one_leading_only(x, logits):
    return (x * logits - F.softplus(logits)).flatten(1).sum(1)


def ll_epsilon(x, logits):
    p = logits.sigmoid()
    return (x * (p + 1e-8).log() + (1 - x) * (1 - p + 1e-8).log()).flatten(1 - x.dim()).sum(-1)


def ll_clamped(x, logits):
    p = logits.sigmoid().clamp(1e-6, 1 - 1e-6)
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1 - x.dim()).sum(-1)


def ll_white_only(x, logits):
    return (x * F.logsigmoid(logits)).flatten(1 - x.dim()).sum(-1)


def ll_swapped(x, logits):
    return ll_softplus(1 - x, logits)


def ll_squared(x, logits):
    return -((x - logits.sigmoid()) ** 2).flatten(1 - x.dim()).sum(-1)


def ll_bits(x, logits):
    return ll_softplus(x, logits) / math.log(2)


def iw_shifted(log_w):
    top = log_w.max(dim=0).values
    return top + (log_w - top).exp().mean(0).log()


def iw_inside(log_w):
    return torch.logsumexp(log_w - math.log(len(log_w)), dim=0)


def iw_numpy_of_log_k(log_w):
    return torch.logsumexp(log_w.double(), 0) - np.log(log_w.shape[0])


def iw_logaddexp(log_w):
    total = log_w[0]
    for one in log_w[1:]:
        total = torch.logaddexp(total, one)
    return total - math.log(len(log_w))


def iw_mixture(log_w):
    """The log-density of a mixture, whose parts have the log-densities log_w."""
    mix = torch.distributions.Categorical(logits=torch.zeros(log_w.shape[1], log_w.shape[0]))
    unit = MixtureSameFamily(mix, Normal(torch.zeros(*log_w.T.shape), 1.0))
    return torch.logsumexp(log_w.T + unit.mixture_distribution.logits, dim=-1)


def iw_best(log_w):
    return log_w.max(0).values


def iw_log_of_batch(log_w):
    return torch.logsumexp(log_w, 0) - math.log(log_w.shape[1])


def iw_plus(log_w):
    return torch.logsumexp(log_w, 0) + math.log(len(log_w))


def iw_base_ten(log_w):
    return torch.logsumexp(log_w, 0) - math.log10(len(log_w))


def iw_softmax_average(log_w):
    return (log_w.softmax(0) * log_w).sum(0)


def iw_one_shift_for_all(log_w):
    return log_w.mean() + (log_w - log_w.mean()).exp().mean(0).log().detach()


def iw_epsilon(log_w):
    return (log_w.exp().mean(0) + 1e-30).log()


def iw_mean_weight(log_w):
    return log_w.exp().mean(0)


def fb_maximum(kl, floor):
    return torch.maximum(kl.mean(0), torch.tensor(floor)).sum()


def fb_relu(kl, floor):
    return (floor + F.relu(kl.mean(0) - floor)).sum()


def fb_loops(kl, floor):
    total = kl.new_zeros(())
    for column in kl.unbind(1):
        mean = column.sum() / len(column)
        total = total + (mean if mean > floor else floor)
    return total


def fb_double(kl, floor):
    mean = torch.einsum("bk->k", kl.double()) / kl.shape[0]
    return torch.where(mean > floor, mean, floor).sum()


def fb_total_floor(kl, floor):
    return kl.mean(0).clamp(min=floor / kl.shape[1]).sum()


def fb_zeroed(kl, floor):
    mean = kl.mean(0)
    return mean[mean > floor].sum()


def fb_added(kl, floor):
    return (kl.mean(0) + floor).sum()


def fb_over_the_code(kl, floor):
    return kl.mean(1).clamp(min=floor).sum()


def fb_vector(kl, floor):
    return kl.mean(0).clamp(min=floor)


def fb_number(kl, floor):
    return kl.mean(0).clamp(min=floor).sum().item()


def fb_straight_through(kl, floor):
    mean = kl.mean(0)
    return (mean + (mean.clamp(min=floor) - mean).detach()).sum()  # gradient below the floor


# ---- written against the clauses of the docstrings ----


def rp_affine(mu, logvar, eps):
    to = torch.distributions.AffineTransform(mu, torch.exp(0.5 * logvar))
    return to(eps)


def rp_first(mu, logvar, eps):
    e = eps[0] if eps.dim() == 3 else eps
    return mu + (logvar / 2).exp() * e


def rp_mean_of_draws(mu, logvar, eps):
    e = eps.mean(0) if eps.dim() == 3 else eps
    return mu + (logvar / 2).exp() * e


def rp_k_last(mu, logvar, eps):
    if eps.dim() == 3:
        return (mu + (logvar / 2).exp() * eps).transpose(0, 1)
    return mu + (logvar / 2).exp() * eps


def rp_clamped(mu, logvar, eps):
    return mu + (logvar.clamp(-8, 8) / 2).exp() * eps


def rp_squeezed(mu, logvar, eps):
    return (mu + (logvar / 2).exp() * eps).squeeze()


def rp_eps_floor(mu, logvar, eps):
    return mu + ((logvar / 2).exp() + 1e-6) * eps


def kl_expm1(mu, logvar):
    return torch.einsum("bk->b", torch.expm1(logvar) - logvar + mu.square()) / 2


def kl_log_var(mu, logvar):
    var = logvar.exp()
    return 0.5 * (var - 1 - var.log() + mu**2).sum(1)


def kl_clamped(mu, logvar):
    s = logvar.clamp(-10, 10)
    return 0.5 * (s.exp() - 1 - s + mu**2).sum(1)


def kl_eps(mu, logvar):
    var = logvar.exp()
    return 0.5 * (var - 1 - (var + 1e-8).log() + mu**2).sum(1)


def kl_squeezed(mu, logvar):
    return (0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(1)).squeeze()


def kl_mean(mu, logvar):
    return 0.5 * (logvar.exp() - 1 - logvar + mu**2).mean(1)


def kl_log_sigma(mu, logvar):
    return 0.5 * ((2 * logvar).exp() - 1 - 2 * logvar + mu**2).sum(1)


def ll_sign_loop(x, logits):
    many = logits if logits.dim() > x.dim() else logits[None]
    out = torch.stack(
        [
            torch.stack(
                [F.logsigmoid((2 * im - 1) * a).sum() for im, a in zip(x, each, strict=True)]
            )
            for each in many
        ]
    )
    return out if logits.dim() > x.dim() else out[0]


def ll_logs(x, logits):
    p = torch.sigmoid(logits)
    ll = x * p.log() + (1 - x) * (1 - p).log()
    return ll.flatten(logits.dim() - x.dim() + 1).sum(-1)


def ll_eps(x, logits):
    p = torch.sigmoid(logits)
    ll = x * (p + 1e-7).log() + (1 - x) * (1 - p + 1e-7).log()
    return ll.flatten(logits.dim() - x.dim() + 1).sum(-1)


def ll_bce(x, logits):  # PyTorch clamps the logarithm at -100
    ll = -F.binary_cross_entropy(torch.sigmoid(logits), x.expand_as(logits), reduction="none")
    return ll.flatten(logits.dim() - x.dim() + 1).sum(-1)


def ll_softplus_naive(x, logits):  # log(1 + e^a) overflows for a >> 0
    return (x * logits - torch.log(1 + logits.exp())).flatten(logits.dim() - x.dim() + 1).sum(-1)


def ll_product(x, logits):
    p = torch.sigmoid(logits)
    each = torch.where(x.expand_as(p) > 0, p, 1 - p)
    return each.flatten(logits.dim() - x.dim() + 1).prod(-1).log()


def ll_k_by_size(x, logits):
    start = 1 if logits.shape[0] == x.shape[0] else 2
    return (
        -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
        .flatten(start)
        .sum(-1)
    )


def ll_squeezed(x, logits):
    ll = x * logits - F.softplus(logits)
    return ll.flatten(logits.dim() - x.dim() + 1).sum(-1).squeeze()


def ll_clamped_logits(x, logits):
    a = logits.clamp(-15, 15)
    return (x * a - F.softplus(a)).flatten(logits.dim() - x.dim() + 1).sum(-1)


def ll_mean(x, logits):
    return (x * logits - F.softplus(logits)).flatten(logits.dim() - x.dim() + 1).mean(-1)


def iw_columns(log_w):
    return torch.stack([torch.logsumexp(col.double() - math.log(len(col)), 0) for col in log_w.T])


def iw_global(log_w):
    top = log_w.max().detach()
    return (log_w - top).exp().mean(0).log() + top


def iw_plain(log_w):
    return log_w.exp().mean(0).log()


def iw_double(log_w):  # more digits, the same underflow
    return log_w.double().exp().mean(0).log()


def iw_one_less(log_w):
    return torch.logsumexp(log_w, 0) - math.log(max(len(log_w) - 1, 1))


def iw_mean_shift(log_w):  # shifted by the mean: overflows where the weights spread
    mid = log_w.mean(0)
    return (log_w - mid).exp().mean(0).log() + mid


def iw_first_shift(log_w):
    return (log_w - log_w[0]).exp().mean(0).log() + log_w[0]


def iw_squeezed(log_w):
    return (torch.logsumexp(log_w, 0) - math.log(len(log_w))).squeeze()


def iw_weights_fixed(log_w):  # the ELBO's gradient
    bound = torch.logsumexp(log_w, 0) - math.log(len(log_w))
    return log_w.mean(0) + (bound - log_w.mean(0)).detach()


def iw_zero_weight(log_w):  # log w = -inf is left out
    finite = torch.isfinite(log_w)
    return (
        torch.logsumexp(log_w.masked_fill(~finite, -1e30), 0)
        - finite.sum(0).clamp(min=1).float().log()
    )


def fb_examples(kl, floor):
    return kl.clamp(min=floor).mean(0).sum()


def fb_total(kl, floor):
    return kl.mean(0).sum().clamp(min=floor * kl.shape[1])


def fb_mean(kl, floor):
    return kl.mean(0).clamp(min=floor).mean()


def fb_excess(kl, floor):
    return F.relu(kl.mean(0) - floor).sum()


def fb_negative(kl, floor):  # estimates of single examples may be negative
    return kl.clamp(min=0).mean(0).clamp(min=floor).sum()


def fb_softplus(kl, floor):
    return (floor + F.softplus(kl.mean(0) - floor, beta=50)).sum()


def fb_squeezed_batch(kl, floor):  # one example: no mean is taken
    mean = kl.squeeze().mean(0)
    return mean.clamp(min=floor).sum()


def fb_zero_floor(kl, floor):
    return kl.mean(0).clamp(min=floor or 1e-2).sum()


RP, KL, LL = "reparameterize", "gaussian_kl", "bernoulli_log_likelihood"
IW, FB = "iwae_bound", "free_bits"
LW = "log_weights"


def lw_distributions(log_p_x, mu, logvar, c):
    q = Independent(Normal(mu, logvar.mul(0.5).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mu), 1.0), 1)
    return log_p_x + p.log_prob(c) - q.log_prob(c)


def lw_without_constant(log_p_x, mu, logvar, c):
    """log 2π stands in both densities."""
    return log_p_x + 0.5 * ((c - mu) ** 2 * (-logvar).exp() + logvar - c**2).sum(-1)


def lw_loops(log_p_x, mu, logvar, c):
    rows = []
    for k in range(len(c)):
        eps = (c[k].double() - mu) / (logvar.double() / 2).exp()
        unit = eps**2 / 2 - c[k].double() ** 2 / 2 + logvar / 2
        rows.append(log_p_x[k] + unit.sum(-1))
    return torch.stack(rows)


def lw_no_normalisation(log_p_x, mu, logvar, c):
    return log_p_x + 0.5 * ((c - mu) ** 2 / logvar.exp() - c**2).sum(-1)


def lw_sigma_in_the_square(log_p_x, mu, logvar, c):
    return log_p_x + 0.5 * ((c - mu) ** 2 / (logvar / 2).exp() + logvar - c**2).sum(-1)


def lw_quarter(log_p_x, mu, logvar, c):
    return log_p_x + 0.5 * ((c - mu) ** 2 / logvar.exp() + logvar / 4 - c**2).sum(-1)


def lw_minus(log_p_x, mu, logvar, c):
    return log_p_x + 0.5 * ((c - mu) ** 2 / logvar.exp() - logvar - c**2).sum(-1)


def lw_kl(log_p_x, mu, logvar, c):
    """The mean over Q of the two densities, not their value at the code that was drawn."""
    return log_p_x - 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(-1)


RIGHT = [
    *((LW, f) for f in (lw_distributions, lw_without_constant, lw_loops)),
    *((RP, f) for f in (rp_distribution, rp_einsum, rp_loops, rp_double)),
    *((KL, f) for f in (kl_distributions, kl_einsum, kl_loops, kl_double)),
    *((LL, f) for f in (ll_distribution, ll_softplus, ll_logsigmoid, ll_loops, ll_double)),
    *((IW, f) for f in (iw_shifted, iw_inside, iw_numpy_of_log_k, iw_logaddexp, iw_mixture)),
    *((FB, f) for f in (fb_maximum, fb_relu, fb_loops, fb_double)),
    *((RP, f) for f in (rp_affine,)),
    *(
        (KL, f)
        for f in (
            kl_expm1,
            kl_log_var,
        )
    ),
    *((LL, f) for f in (ll_sign_loop,)),
    *((IW, f) for f in (iw_columns,)),
    *((FB, f) for f in (fb_negative,)),
]
WRONG = [
    *((LW, f) for f in (lw_no_normalisation, lw_sigma_in_the_square, lw_quarter, lw_minus, lw_kl)),
    *((RP, f) for f in (rp_own_noise, rp_detached, rp_sampled, rp_softplus, rp_quarter)),
    (RP, rp_base_two),
    *((KL, f) for f in (kl_of_the_other_order, kl_no_one, kl_mu_not_squared, kl_root, kl_column)),
    *((KL, f) for f in (kl_monte_carlo, kl_half_detached)),
    *((LL, f) for f in (ll_one_leading_only, ll_epsilon, ll_clamped, ll_white_only, ll_swapped)),
    *((LL, f) for f in (ll_squared, ll_bits)),
    *((IW, f) for f in (iw_best, iw_log_of_batch, iw_plus, iw_base_ten, iw_softmax_average)),
    *((IW, f) for f in (iw_one_shift_for_all, iw_epsilon, iw_mean_weight)),
    *((FB, f) for f in (fb_total_floor, fb_zeroed, fb_added, fb_over_the_code, fb_vector)),
    *((FB, f) for f in (fb_number, fb_straight_through)),
    *(
        (RP, f)
        for f in (
            rp_first,
            rp_mean_of_draws,
            rp_k_last,
            rp_clamped,
            rp_squeezed,
            rp_eps_floor,
        )
    ),
    *(
        (KL, f)
        for f in (
            kl_clamped,
            kl_eps,
            kl_squeezed,
            kl_mean,
            kl_log_sigma,
        )
    ),
    *(
        (LL, f)
        for f in (
            ll_logs,
            ll_eps,
            ll_bce,
            ll_softplus_naive,
            ll_product,
            ll_k_by_size,
            ll_squeezed,
            ll_clamped_logits,
            ll_mean,
        )
    ),
    *(
        (IW, f)
        for f in (
            iw_global,
            iw_plain,
            iw_double,
            iw_one_less,
            iw_mean_shift,
            iw_first_shift,
            iw_squeezed,
            iw_weights_fixed,
            iw_zero_weight,
        )
    ),
    *(
        (FB, f)
        for f in (
            fb_examples,
            fb_total,
            fb_mean,
            fb_excess,
            fb_softplus,
            fb_squeezed_batch,
            fb_zero_floor,
        )
    ),
]

SAID = [
    (RP, rp_own_noise, "random numbers of its own"),
    (RP, rp_detached, "no gradient reaches logvar"),
    (KL, kl_column, "shape (3, 1); (3,) is expected. The numbers are right."),
    (KL, kl_half_detached, "the gradient with respect to logvar is not"),
    (LL, ll_bits, "is 1.443 times the expected one"),
    (IW, iw_mean_shift, "The weights of one example may lie far apart"),
    (LL, ll_eps, "For large logits the sigmoid rounds"),
    (FB, fb_vector, "A sum over dimension 0 is missing"),
    (FB, fb_number, "no gradient flows back to kl"),
]


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_to_answers_that_nobody_declared(name, answer, words):
    assert words in diagnose(register.find(name, "24_vae"), answer).sentence


@pytest.mark.parametrize("name", [IW, LL])
def test_the_overflow_is_refused_though_it_is_right_on_paper(name):
    """Without its clause, the exercise would accept the answer that underflows."""
    exercise = register.find(name, "24_vae")
    clause = exercise.clauses[{IW: "in the log domain", LL: "large logits"}[name]]
    wrong = {IW: iw_plain, LL: ll_logs}[name]
    assert diagnose(exercise, wrong).sentence == clause.says
    mild = register.Exercise(**{**vars(exercise), "clauses": {}})
    assert diagnose(mild, wrong).state == "correct"
