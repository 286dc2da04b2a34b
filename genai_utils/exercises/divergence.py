"""Exercises of notebook 19_divergence: three divergences, and one step of EM."""

import math

import torch

from genai_utils.checks import Clause, exercise
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


def _blocks(seed):
    """One pair alone, pairs in two leading dimensions, and one pair in a batch."""
    draw = _logits(seed)
    return [(draw(5), draw(5)), (draw(2, 3, 4), draw(2, 3, 4)), (draw(1, 6), draw(1, 6))]


BLOCKS = (
    "There may be any number of dimensions before the last, none as well: sum over the last one "
    "(dim=-1) only. One pair of distributions gives one number, of shape ()."
)


def _second_dimension(a):
    """The sum over dimension 1, or over the only one."""
    return a.sum(min(1, a.dim() - 1))


# --- kl_divergence -----------------------------------------------------------------------------


def _pairs(seed):
    draw = _logits(seed)
    return [(draw(*shape), draw(*shape)) for shape in ((5, 4), (3, 7), (6, 3), (4, 5))]


def _zeros_of_p(seed):
    draw = _logits(seed)
    return [
        (_without(draw(3, 7), 1, 4), draw(3, 7)),
        (_without(draw(4, 5), 0, 2), _without(draw(4, 5), 2)),  # both are zero in place 2
    ]


def _zeros_of_q(seed):
    draw = _logits(seed)
    return [
        (draw(6, 3), _without(draw(6, 3), 1)),
        (draw(4, 5), _without(draw(4, 5), 2, 3)),
    ]


def _far(seed):
    draw = _logits(seed)
    return [(draw(4, 6), draw(4, 6, scale=400)), (draw(4, 6, scale=400), draw(4, 6, scale=400))]


def _both_supports(log_p, log_q):
    seen = (log_p > -math.inf) & (log_q > -math.inf)
    return (log_p.exp() * torch.where(seen, log_p - log_q, 0.0)).sum(-1)


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
        "size of the differences": (
            lambda log_p, log_q: (log_p.exp() * (log_p - log_q).abs()).sum(-1),
            "You took the absolute differences. Terms where q is larger than p count negatively; "
            "only their sum is never below 0.",
        ),
        "both directions": (
            lambda log_p, log_q: ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1),
            "You added both directions. Here it is the forward divergence alone.",
        ),
        "logarithms as weights": (
            lambda log_p, log_q: (log_p * (log_p - log_q)).sum(-1),
            "You weighed by log p. What comes in are logarithms; the weights are p = log_p.exp().",
        ),
    },
    clauses={
        "zero times infinity": Clause(
            _zeros_of_p,
            "Right where p has no zero. Where p = 0 the term counts 0, by definition, whatever q "
            "is there (0 log 0 = 0): 0 times infinity is NaN, so use torch.where.",
            lambda log_p, log_q: (log_p.exp() * (log_p - log_q)).sum(-1),
        ),
        "infinite": Clause(
            _zeros_of_q,
            "Where q = 0 and p is not, the divergence is infinite: the model rules out what "
            "happens. Leave out the terms with p = 0 only, and clamp no logarithm.",
            _both_supports,
        ),
        "tiny probabilities": Clause(
            _far,
            "Right on paper. But exp(-1000) is zero in floating point, and the logarithm of that "
            "is infinite: subtract the logarithms that you are given.",
            _through_probabilities,
        ),
        "any leading dimensions": Clause(
            _blocks,
            BLOCKS,
            lambda log_p, log_q: _second_dimension(
                log_p.exp() * torch.where(log_p > -math.inf, log_p - log_q, 0.0)
            ),
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
        (draw(3, 6), draw(3, 6)),
        (draw(7, 5, scale=4), draw(7, 5, scale=4)),
    ]


def _neither(seed):
    draw = _logits(seed)
    return [(_without(draw(3, 7), 1, 4), _without(draw(3, 7), 1, 4)) for _ in range(2)]


def _apart(seed):
    draw = _logits(seed)
    return [
        (_without(draw(3, 6), 0, 1, 2), _without(draw(3, 6), 3, 4, 5)),  # no overlap: log 2
        (_without(draw(4, 5), 1, 2), _without(draw(4, 5), 0)),  # some overlap
        (_without(draw(4, 5), 1), draw(4, 5)),
    ]


def _ratios(log_p, log_q):
    """0 / 0 where both probabilities are zero."""
    p, q = log_p.exp(), log_q.exp()
    m = (p + q) / 2
    return 0.5 * (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum(-1)


def _common_support(log_p, log_q):
    seen = (log_p > -math.inf) & (log_q > -math.inf)
    log_m = _mid(log_p, log_q)
    sides = [a.exp() * (a - log_m) for a in (log_p, log_q)]
    return 0.5 * torch.where(seen, sides[0] + sides[1], 0.0).sum(-1)


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
        "the mixture's divergences": (
            lambda p, q: 0.5 * (_half(_mid(p, q), p) + _half(_mid(p, q), q)),
            "You took the divergences of M from P and from Q, with M as the weights. Here P and Q "
            "are the weights: D(P || M) and D(Q || M).",
        ),
        "mixture without logarithm": (
            lambda p, q: (
                0.5 * sum((a.exp() * (a - (p.exp() + q.exp()) / 2)).sum(-1) for a in (p, q))
            ),
            "You subtracted the probabilities of M from logarithms. Take log M.",
        ),
    },
    clauses={
        "no overlap": Clause(
            _apart,
            "Wrong where one of the two is zero and the other is not: the other one's term counts "
            "there, p log(p / m) with m = p / 2. Without any overlap the result is log 2, no NaN.",
            _common_support,
        ),
        "neither": Clause(
            _neither,
            "Wrong where both probabilities are zero: the mixture is zero there, too, and 0 / 0 "
            "or a difference of infinities is NaN. Such an outcome counts 0: use torch.where.",
            _ratios,
        ),
        "any leading dimensions": Clause(
            _blocks,
            BLOCKS,
            lambda p, q: (
                0.5
                * _second_dimension(
                    sum(_masked(a.exp(), a.exp() * (a - _mid(p, q))) for a in (p, q))
                )
            ),
        ),
    },
    hints=[
        "First the mixture: log m = log((p + q) / 2). torch.logaddexp gives log(p + q).",
        "Then half of the divergence of P from M plus half of that of Q from M.",
        "M is zero only where P and Q both are. Mask those places with torch.where.",
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
    ]


def _outside(seed):
    draw = _logits(seed)
    return [(draw(5, 4), draw(5, 4), -1.0), (draw(3, 4), draw(3, 4), -0.5)]


def _near_the_ends(seed):
    draw = _logits(seed)
    return [(draw(5, 4), draw(5, 4), alpha) for alpha in (0.05, 0.95, 1.05)]


def _both_far(seed):
    """Probabilities that round to zero, of P alone, and of P and Q in the same places."""
    draw = _logits(seed)
    log_p = draw(4, 6, scale=600)
    log_q = (log_p + draw(4, 6)).log_softmax(-1)
    return [(draw(4, 6), draw(4, 6, scale=600), 0.3), (log_p, log_q, 2.0)]


def _powers(log_p, log_q, alpha):
    p, q = log_p.exp(), log_q.exp()
    return (1 - (p**alpha * q ** (1 - alpha)).sum(-1)) / (alpha * (1 - alpha))


def _with_limits(log_p, log_q, alpha):
    if abs(alpha - 1) < 0.1:
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    if abs(alpha) < 0.1:
        return (log_q.exp() * (log_q - log_p)).sum(-1)
    return (1 - _overlap(log_p, log_q, alpha)) / (alpha * (1 - alpha))


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
        "arithmetic mean": (
            lambda p, q, alpha: (
                (1 - (alpha * p.exp() + (1 - alpha) * q.exp()).sum(-1)) / (alpha * (1 - alpha))
            ),
            "You added alpha p and (1 - alpha) q. The text multiplies powers: in the log domain "
            "that is alpha log p + (1 - alpha) log q, before the exponential.",
        ),
        "a bracket": (
            lambda p, q, alpha: 1 - _overlap(p, q, alpha) / (alpha * (1 - alpha)),
            "Only the overlap is divided in yours. One minus the overlap, in brackets, is.",
        ),
        "logarithm of the overlap": (
            lambda p, q, alpha: (1 - _overlap(p, q, alpha).log()) / (alpha * (1 - alpha)),
            "logsumexp is the logarithm of the sum: .exp() is missing.",
        ),
    },
    clauses={
        "negative alpha": Clause(
            _outside,
            "alpha may be any number but 0 and 1, below 0 as well: the formula stays the same.",
            lambda p, q, alpha: (
                (1 - _overlap(p, q, max(alpha, 1e-3))) / (max(alpha, 1e-3) * (1 - max(alpha, 1e-3)))
            ),
        ),
        "near 0 and 1": Clause(
            _near_the_ends,
            "Close to 0 and to 1 it is the formula still. The two KL divergences are its limits, "
            "which are reached at 0 and 1 alone; nobody asks for those.",
            _with_limits,
        ),
        "log domain": Clause(
            _both_far,
            "Right on paper. But probabilities such as exp(-1000) round to 0, and powers of 0 or "
            "their gradients become NaN: add alpha log p and (1 - alpha) log q first, then take "
            "the exponential.",
            _powers,
        ),
        "any leading dimensions": Clause(
            lambda seed: [(p, q, 0.5) for p, q in _blocks(seed)],
            BLOCKS,
            lambda p, q, alpha: (
                (1 - _second_dimension((alpha * p + (1 - alpha) * q).exp())) / (alpha * (1 - alpha))
            ),
        ),
    },
    hints=[
        "p to the power alpha is exp(alpha log p). A product of powers is a sum of logarithms.",
        "The overlap is torch.logsumexp(alpha * log_p + (1 - alpha) * log_q, dim=-1).exp().",
    ],
    grad=True,
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


def _many_pixels(seed):
    """Images of 40 x 40 pixels: P_k(x) is about exp(-1100). The components are alike."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(5, 1600, generator=g) < 0.5).double()
    means = 0.2 + 0.6 * torch.rand(1, 1600, generator=g).double()
    means = means + 0.02 * torch.rand(3, 1600, generator=g).double()
    return [(x, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, 1.0)]


def _no_prior_seen(seed):
    """The prior 0, with a component of weight 0, which sees nothing, in the second case."""
    (one, weights, means, _), (two, *rest), _ = _pictures(seed)
    rest[0] = torch.tensor([1.0, 0.0], dtype=torch.float64)
    return [(one, weights, means, 0), (two, *rest[:2], 0.0)]


def _sure_pixels(seed):
    """Means such as 1e-6: a component that is nearly sure of a pixel, and mostly wrong."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(8, 4, generator=g) < 0.5).double()
    small = 10 ** (-2 - 4 * torch.rand(3, 4, generator=g).double())
    means = torch.where(torch.rand(4, generator=g) < 0.5, small, 1 - small)
    return [(x, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, 1.0)]


def _step(x, weights, means, prior, joint=None):
    """The right step, or that of other joint logarithms (n, K)."""
    if joint is None:
        joint = x @ means.log().T + (1 - x) @ (1 - means).log().T + weights.log()
    r = joint.softmax(-1)
    counts = r.sum(0)
    white, seen = r.T @ x + prior, counts[:, None] + 2 * prior
    return counts / len(x), torch.where(seen > 0, white / seen, means)


def _products(x, weights, means, prior):
    p = (means ** x[:, None] * (1 - means) ** (1 - x[:, None])).prod(-1)
    return _step(x, weights, means, prior, (weights * p).log())


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
        "prior in the weights": (
            lambda x, weights, means, prior: (
                (_counts(x, weights, means, prior)[0] + prior) / (len(x) + prior * len(weights)),
                _counts(x, weights, means, prior)[1],
            ),
            "You gave the weights a prior, too. The prior counts pixels, for the means alone: the "
            "new weights are n_k / n.",
        ),
        "divided by all images": (
            lambda x, weights, means, prior: (
                _responsibilities(x, weights, means).mean(0),
                (_responsibilities(x, weights, means).T @ x + prior) / (len(x) + 2 * prior),
            ),
            "You divided the white pixels of each component by the number of all images. Divide "
            "by what that component has seen, 2a + n_k.",
        ),
        "prior in the numerator only": (
            lambda x, weights, means, prior: (
                _responsibilities(x, weights, means).mean(0),
                (_responsibilities(x, weights, means).T @ x + prior)
                / _responsibilities(x, weights, means).sum(0)[:, None],
            ),
            "The prior is missing below: each component has seen n_k images and 2a pixels of the "
            "prior.",
        ),
        "weights without logarithm": (
            lambda x, weights, means, prior: _from(
                (weights + x @ means.log().T + (1 - x) @ (1 - means).log().T).softmax(-1), x, prior
            ),
            "You added the weights to logarithms. Add log w_k.",
        ),
    },
    clauses={
        "many pixels": Clause(
            _many_pixels,
            "Right for small images. Of hundreds of pixels the product P_k(x) rounds to 0, and "
            "0 / 0 is NaN: add logarithms, and take the softmax of the sums, which never leaves "
            "the log domain.",
            _products,
        ),
        "prior 0": Clause(
            _no_prior_seen,
            "The prior may be 0: then the means are plain averages, and a component that has seen "
            "nothing (n_k = 0, say of weight 0) keeps its means, since 0 / 0 is no number.",
            lambda x, weights, means, prior: _from(_responsibilities(x, weights, means), x, prior),
        ),
        "sure pixels": Clause(
            _sure_pixels,
            "Wrong where a mean is close to 0 or 1. Means lie strictly between them, so their "
            "logarithms are finite: clamp nothing, or only far below 1e-6.",
            lambda x, weights, means, prior: _step(
                x,
                weights,
                means,
                prior,
                x @ means.clamp(0.01, 0.99).log().T
                + (1 - x) @ (1 - means.clamp(0.01, 0.99)).log().T
                + weights.log(),
            ),
        ),
    },
    hints=[
        "First log w_k + log P_k(x_i) for all i and k, a table (n, K): two matrix products.",
        "x @ means.log().T adds log m over the white pixels; do the same for 1 - x and 1 - means.",
        "The responsibilities r are the softmax of each row. Then n_k = r.sum(0), and r.T @ x "
        "holds the white pixels of each component.",
    ],
)
