"""Exercises of notebook 19_divergence: three divergences, and one step of EM."""

import math

import torch

from genai_utils.checks import exercise
from genai_utils.vision import divergence as dv
from genai_utils.vision import mixture

NOTEBOOK = "19_divergence"


def _logits(seed):
    """A function that draws log-probabilities over the last dimension, in double precision."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.5):
        return (scale * torch.randn(*shape, generator=g, dtype=torch.float64)).log_softmax(-1)

    return draw


def _without(log_p, *places):
    """The distribution with probability zero in those places of the last dimension."""
    log_p = log_p.clone()
    log_p[..., list(places)] = -math.inf
    return log_p.log_softmax(-1)


# --- kl_divergence -----------------------------------------------------------------------------


def _pairs(seed):
    draw = _logits(seed)
    far = draw(4, 6), draw(4, 6, scale=400)  # probabilities such as exp(-1000)
    return [
        (draw(5, 4), draw(5, 4)),
        (_without(draw(3, 7), 1, 4), draw(3, 7)),  # p has zeros: 0 log 0 = 0
        (_without(draw(4, 5), 0, 2), _without(draw(4, 5), 2)),  # both are zero in place 2
        (draw(6, 3), _without(draw(6, 3), 1)),  # q is zero where p is not: infinite
        far,
    ]


def _masked(p, values):
    return torch.where(p > 0, values, 0.0)


def _through_probabilities(log_p, log_q):
    p, q = log_p.exp(), log_q.exp()
    return _masked(p, p * (p / q).log()).sum(-1)


def _reversed(log_p, log_q):
    q = log_q.exp()
    return (q * _masked(q, log_q - log_p)).sum(-1)


exercise(
    dv.kl_divergence,
    cases=_pairs,
    mistakes={
        "arguments exchanged": (
            _reversed,
            "You weighed the differences by q: that is the reverse divergence, D(Q || P). The "
            "forward one asks P where it has its mass.",
        ),
        "zero times infinity": (
            lambda log_p, log_q: (log_p.exp() * (log_p - log_q)).sum(-1),
            "Right where no probability is zero. Where p = 0 you get 0 times minus infinity, "
            "which is NaN; by definition 0 log 0 = 0, so use torch.where there.",
        ),
        "through the probabilities": (
            _through_probabilities,
            "Right on paper. But exp(-1000) is zero in floating point, and your logarithm of the "
            "ratio becomes infinite: subtract the logarithms that you are given.",
        ),
        "cross-entropy": (
            lambda log_p, log_q: (log_p.exp() * _masked(log_p.exp(), -log_q)).sum(-1),
            "You left out the term with log p: this is the cross-entropy, which is larger than "
            "the divergence by the entropy of P.",
        ),
        "mean over the outcomes": (
            lambda log_p, log_q: (log_p.exp() * _masked(log_p.exp(), log_p - log_q)).mean(-1),
            "You averaged over the outcomes. The probabilities p are the weights already: sum.",
        ),
        "sum over everything": (
            lambda log_p, log_q: (log_p.exp() * _masked(log_p.exp(), log_p - log_q)).sum(),
            "You summed over the batch as well. One number for each pair of distributions: sum "
            "over the last dimension only.",
        ),
    },
    hints=[
        "It is a mean under P of log p - log q: weights p = log_p.exp(), then a sum.",
        "Where p = 0 the term counts nothing: torch.where(p > 0, log_p - log_q, 0.0).",
        "Multiply the masked difference by p, then sum over the last dimension (dim=-1).",
    ],
)


# --- js_divergence -----------------------------------------------------------------------------


def _overlaps(seed):
    draw = _logits(seed)
    return [
        (draw(5, 4), draw(5, 4)),
        (_without(draw(3, 7), 1, 4), _without(draw(3, 7), 0, 4)),
        (_without(draw(3, 6), 0, 1, 2), _without(draw(3, 6), 3, 4, 5)),  # no overlap: log 2
        (draw(7, 5, scale=30), draw(7, 5, scale=30)),
    ]


def _half(a, log_m):
    return _masked(a.exp(), a.exp() * (a - log_m)).sum(-1)


def _mid(log_p, log_q):
    return torch.logaddexp(log_p, log_q) - math.log(2)


def _geometric(log_p, log_q):
    log_m = ((log_p + log_q) / 2).log_softmax(-1)
    return 0.5 * (_half(log_p, log_m) + _half(log_q, log_m))


exercise(
    dv.js_divergence,
    cases=_overlaps,
    mistakes={
        "mean of the two divergences": (
            lambda p, q: 0.5 * (_half(p, q) + _half(q, p)),
            "You averaged the forward and the reverse divergence, which are infinite without "
            "overlap. Jensen-Shannon compares each with the mixture M.",
        ),
        "mixture not halved": (
            lambda p, q: 0.5 * (_half(p, torch.logaddexp(p, q)) + _half(q, torch.logaddexp(p, q))),
            "Your M is P + Q, which has mass 2: each result is too small by log 2. M is the mean.",
        ),
        "half forgotten": (
            lambda p, q: _half(p, _mid(p, q)) + _half(q, _mid(p, q)),
            "You added the two sides without the factor 1/2: the largest value is log 2, not "
            "2 log 2.",
        ),
        "one side only": (
            lambda p, q: _half(p, _mid(p, q)),
            "You compared P with the mixture but not Q. Both sides count, half each.",
        ),
        "geometric mean": (
            _geometric,
            "You averaged the logarithms. The mixture averages the probabilities: "
            "torch.logaddexp adds in the log domain.",
        ),
        "square root": (
            lambda p, q: (0.5 * (_half(p, _mid(p, q)) + _half(q, _mid(p, q)))).clamp(min=0).sqrt(),
            "You took the square root. That is the Jensen-Shannon distance, which SciPy returns; "
            "the divergence is its square.",
        ),
    },
    hints=[
        "First the mixture: log m = log((p + q) / 2). torch.logaddexp gives log(p + q).",
        "Then half of the divergence of P from M plus half of that of Q from M.",
        "M is zero only where P and Q both are. Mask those places with torch.where.",
    ],
)


# --- em_step -----------------------------------------------------------------------------------


def _pictures(seed):
    g = torch.Generator().manual_seed(seed)

    def case(n, d, K, prior):
        x = (torch.rand(n, d, generator=g) < 0.5).double()
        weights = torch.rand(K, generator=g).double() + 0.2
        means = 0.1 + 0.8 * torch.rand(K, d, generator=g).double()
        return x, weights / weights.sum(), means, prior

    return [case(6, 4, 3, 1.0), case(9, 5, 2, 0.5), case(12, 7, 4, 2.0)]


def _responsibilities(x, weights, means):
    log_p = x @ means.log().T + (1 - x) @ (1 - means).log().T
    return (weights.log() + log_p).softmax(-1)


def _from(r, x, prior):
    counts = r.sum(0)
    return counts / len(x), (r.T @ x + prior) / (counts[:, None] + 2 * prior)


def _hard(x, weights, means, prior):
    r = _responsibilities(x, weights, means)
    return _from(torch.nn.functional.one_hot(r.argmax(1), len(weights)).to(x), x, prior)


def _white_only(x, weights, means, prior):
    return _from((weights.log() + x @ means.log().T).softmax(-1), x, prior)


def _no_weights(x, weights, means, prior):
    return _from(_responsibilities(x, torch.ones_like(weights), means), x, prior)


def _over_images(x, weights, means, prior):
    log_p = x @ means.log().T + (1 - x) @ (1 - means).log().T
    return _from((weights.log() + log_p).softmax(0), x, prior)


def _no_prior(x, weights, means, prior):
    return _from(_responsibilities(x, weights, means), x, 0.0)


def _prior_once(x, weights, means, prior):
    r = _responsibilities(x, weights, means)
    counts = r.sum(0)
    return counts / len(x), (r.T @ x + prior) / (counts[:, None] + prior)


def _counts(x, weights, means, prior):
    r = _responsibilities(x, weights, means)
    return r.sum(0), _from(r, x, prior)[1]


exercise(
    mixture.em_step,
    cases=_pictures,
    mistakes={
        "hard assignment": (
            _hard,
            "You gave each image to its best component alone. That is K-means' way; EM shares it "
            "out in proportion to w_k P_k(x).",
        ),
        "black pixels forgotten": (
            _white_only,
            "Your likelihood counts the white pixels only. A black one has the probability "
            "1 - m and costs log(1 - m).",
        ),
        "weights forgotten": (
            _no_weights,
            "Your responsibilities leave out the old weights w_k: they treat all components as "
            "equally common.",
        ),
        "normalised over the images": (
            _over_images,
            "Your responsibilities add up to 1 over the images. For each image they add up to 1 "
            "over the components: softmax over dim=-1.",
        ),
        "prior forgotten": (
            _no_prior,
            "You left out the prior. Without it a pixel that was black in all images of a "
            "component would get probability 0, and its logarithm is minus infinity.",
        ),
        "prior once in the denominator": (
            _prior_once,
            "You added the prior once in the denominator. It stands for a white and a black "
            "pixel, so it counts twice there.",
        ),
        "counts instead of weights": (
            _counts,
            "Your new weights are the counts n_k. Divide them by the number of images.",
        ),
    },
    hints=[
        "First log w_k + log P_k(x_i) for all i and k, a table (n, K): two matrix products.",
        "x @ means.log().T adds log m over the white pixels; do the same for 1 - x and 1 - means.",
        "The responsibilities r are the softmax of each row. Then n_k = r.sum(0), and r.T @ x "
        "holds the white pixels of each component.",
    ],
)


# --- alpha_divergence --------------------------------------------------------------------------


def _dials(seed):
    draw = _logits(seed)
    return [
        (draw(5, 4), draw(5, 4), 0.5),
        (draw(3, 7), draw(3, 7), 0.2),
        (draw(6, 3), draw(6, 3), 2.0),
        (draw(4, 5) - 0.1, draw(4, 5), 0.7),  # P is cut off at the ends of its grid
        (draw(4, 6, scale=1.0), draw(4, 6, scale=300), 0.3),  # probabilities that round to zero
    ]


def _overlap(log_p, log_q, alpha):
    return torch.logsumexp(alpha * log_p + (1 - alpha) * log_q, -1).exp()


def _renyi(log_p, log_q, alpha):
    return torch.logsumexp(alpha * log_p + (1 - alpha) * log_q, -1) / (alpha - 1)


exercise(
    dv.alpha_divergence,
    cases=_dials,
    mistakes={
        "powers exchanged": (
            lambda p, q, alpha: (1 - _overlap(q, p, alpha)) / (alpha * (1 - alpha)),
            "You raised q to the power alpha. It is p that gets alpha; q gets 1 - alpha.",
        ),
        "denominator forgotten": (
            lambda p, q, alpha: 1 - _overlap(p, q, alpha),
            "You left out the denominator alpha (1 - alpha). Without it the limits at 0 and 1 "
            "are zero and not the two KL divergences.",
        ),
        "denominator alpha only": (
            lambda p, q, alpha: (1 - _overlap(p, q, alpha)) / alpha,
            "Your denominator is alpha; the factor 1 - alpha is missing.",
        ),
        "Rényi's": (
            _renyi,
            "You took the logarithm of the sum: that is Rényi's divergence, another family.",
        ),
        "wrong sign": (
            lambda p, q, alpha: (_overlap(p, q, alpha) - 1) / (alpha * (1 - alpha)),
            "Yours is the negative. It is one minus the overlap: equal distributions overlap "
            "fully and have the divergence 0.",
        ),
        "overlap averaged": (
            lambda p, q, alpha: (1 - _overlap(p, q, alpha) / p.shape[-1]) / (alpha * (1 - alpha)),
            "You averaged over the outcomes. The overlap is a sum: 1 for equal distributions.",
        ),
    },
    hints=[
        "p to the power alpha is exp(alpha log p). A product of powers is a sum of logarithms.",
        "The overlap is torch.logsumexp(alpha * log_p + (1 - alpha) * log_q, dim=-1).exp().",
    ],
    grad=True,
)
