"""Exercises of notebook 24_vae: the terms of the bound, and what is done with them."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import vae

NOTEBOOK = "24_vae"


def _normal(seed):
    """A function that draws normal numbers of a given shape."""
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g)


# --- gaussian_kl -------------------------------------------------------------------------------


def _terms(mu, logvar):
    return logvar.exp() - 1 - logvar + mu**2  # (B, k)


def _codes(seed):
    normal = _normal(seed)
    return [(normal(b, k), normal(b, k)) for b, k in ((3, 2), (4, 7), (6, 5))]


exercise(
    vae.gaussian_kl,
    cases=_codes,
    mistakes={
        "half forgotten": (
            lambda mu, logvar: _terms(mu, logvar).sum(-1),
            "You left out the factor 1/2 in front of the sum, as the slide does (erratum N10).",
        ),
        "logvar read as sigma": (
            lambda mu, logvar: 0.5 * (logvar**2 - 1 - (logvar**2).log() + mu**2).sum(-1),
            "You read logvar as the standard deviation sigma. The encoder gives log sigma^2, so "
            "sigma^2 is exp(logvar) (erratum N09).",
        ),
        "logvar read as log sigma": (
            lambda mu, logvar: 0.5 * _terms(mu, 2 * logvar).sum(-1),
            "You read logvar as log sigma. It is log sigma^2 already, so that sigma^2 is "
            "exp(logvar), not exp(2 logvar).",
        ),
        "mean over the code": (
            lambda mu, logvar: 0.5 * _terms(mu, logvar).mean(-1),
            "You took the mean over the code's dimensions. Independent dimensions add up: it is "
            "a sum.",
        ),
        "mean over the batch": (
            lambda mu, logvar: 0.5 * _terms(mu, logvar).sum(-1).mean(),
            "You averaged over the batch as well. One number per example is wanted, shape (B,); "
            "the loss averages later.",
        ),
        "sum over everything": (
            lambda mu, logvar: 0.5 * _terms(mu, logvar).sum(),
            "You summed over the batch as well. Sum over the last dimension only: one number "
            "per example, shape (B,).",
        ),
        "sum over the batch instead": (
            lambda mu, logvar: 0.5 * _terms(mu, logvar).sum(0),
            "You summed over the batch (dimension 0) and kept the code's dimensions. It is the "
            "other way round: shape (B,).",
        ),
        "wrong sign": (
            lambda mu, logvar: -0.5 * _terms(mu, logvar).sum(-1),
            "Yours is the negative. A KL divergence is never below zero.",
        ),
        "the other direction": (
            lambda mu, logvar: 0.5 * ((1 + mu**2) * (-logvar).exp() - 1 + logvar).sum(-1),
            "This is the divergence of the standard normal from yours. The two directions differ: "
            "here the expectation is over the encoder's normal.",
        ),
    },
    clauses={
        "any variance": Clause(
            lambda seed: [(_normal(seed)(3, 4), _normal(seed + 1)(3, 4) + s) for s in (-35, 0, 35)],
            "The formula holds for every variance, however small or large: s stands in it as it "
            "is, with no bound on it and nothing added.",
            lambda mu, logvar: 0.5 * _terms(mu, logvar.clamp(-20, 20)).sum(-1),
        ),
        "sizes of one": Clause(
            lambda seed: [
                (_normal(seed)(b, k), _normal(seed + 1)(b, k)) for b, k in ((1, 4), (3, 1), (1, 1))
            ],
            "One example or one unit changes nothing: the shape is (B,), also where B is 1.",
            lambda mu, logvar: 0.5 * _terms(mu, logvar).sum(-1).squeeze(),
        ),
    },
    hints=[
        "For one dimension: half of (variance minus 1 minus log variance plus squared mean).",
        "The dimensions of the code are independent, so their divergences add up.",
        "0.5 * (logvar.exp() - 1 - logvar + mu**2), then a sum over the last dimension.",
    ],
    grad=True,
)


# --- bernoulli_log_likelihood ------------------------------------------------------------------


def _pixelwise(x, logits):
    return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")


def _pixels(x):
    return tuple(range(1 - x.dim(), 0))  # all dimensions but the batch, counted from the end


def _by_probability(x, logits):
    p = logits.sigmoid()
    return (x * p.log() + (1 - x) * (1 - p).log()).sum(_pixels(x))


def _log_p(x, logits):
    return _pixelwise(x, logits).sum(_pixels(x))


def _product(x, logits):
    a = logits.double()
    each = torch.where(x.expand_as(a) > 0, a, -a).sigmoid()
    return each.flatten(logits.dim() - x.dim() + 1).prod(-1).log()


def _leading_by_size(x, logits):
    start = 1 if logits.shape[0] == x.shape[0] else 2
    return _pixelwise(x, logits).flatten(start).sum(-1)


def _pairs(seed, scale, *sizes):
    normal = _normal(seed)
    pairs = []
    for leading, shape in sizes:
        pairs.append(((normal(*shape) > 0).float(), scale * normal(*leading, *shape)))
    return pairs


def _large_logits(seed):
    """The sigmoid is 0 or 1 to the last bit, in double precision too."""
    x, logits = torch.tensor([[1.0], [0.0], [1.0]]), torch.tensor([[-500.0], [500.0], [90.0]])
    return [*_pairs(seed, 60, ((), (4, 1, 2, 3)), ((2,), (3, 5))), (x, logits)]


def _images(seed):
    several = (3,), (5, 1, 2, 4)  # three decoded codes per image
    return _pairs(seed, 2, ((), (3, 1, 2, 5)), ((), (4, 3, 2)), ((), (6, 7)), several)


exercise(
    vae.bernoulli_log_likelihood,
    cases=_images,
    mistakes={
        "mean over the pixels": (
            lambda x, logits: _pixelwise(x, logits).mean(_pixels(x)),
            "You averaged over the pixels. The log-likelihood of an image is the sum over its "
            "pixels; with a mean, the KL term would weigh far too much (erratum N10).",
        ),
        "a loss": (
            lambda x, logits: -_pixelwise(x, logits).sum(_pixels(x)),
            "Yours has the other sign: it is the loss. A log-probability of black-and-white "
            "pixels is never above zero.",
        ),
        "logits taken as probabilities": (
            lambda x, logits: (x * logits.log() + (1 - x) * (1 - logits).log()).sum(_pixels(x)),
            "You used the logits as if they were probabilities. The probability of a white pixel "
            "is sigmoid(logit).",
        ),
        "sum over the batch too": (
            lambda x, logits: _pixelwise(x, logits).sum((-x.dim(), *_pixels(x))),
            "You summed over the batch as well. One number per example is wanted: sum over the "
            "pixels only.",
        ),
        "white and black exchanged": (
            lambda x, logits: _log_p(1 - x, logits),
            "You exchanged black and white: p is the probability of a one.",
        ),
    },
    clauses={
        "large logits": Clause(
            _large_logits,
            "For large logits the sigmoid rounds to 0 or 1. Its logarithm is then minus infinity, "
            "or what a small number or F.binary_cross_entropy cuts it off at. Compute from the "
            "logits, as F.binary_cross_entropy_with_logits and F.logsigmoid do.",
            _by_probability,
        ),
        "many pixels": Clause(
            lambda seed: _pairs(seed, 3, ((), (3, 1, 28, 56)), ((2,), (3, 1500))),
            "The probability of a whole image is a product of so many factors that it is zero in "
            "floating point. Add the logarithms of the pixels.",
            _product,
        ),
        "as many codes as images": Clause(
            lambda seed: _pairs(seed, 2, ((3,), (3, 4)), ((2,), (2, 1, 3, 5))),
            "K may be as large as B. Whether there are K sets of logits in front is told by the "
            "number of dimensions, not by a size.",
            _leading_by_size,
        ),
        "sizes of one": Clause(
            lambda seed: _pairs(seed, 2, ((), (1, 4)), ((1,), (3, 4)), ((3,), (1, 2, 3))),
            "One image, or one code for each (K = 1), keeps its dimension: the shape is (B,) or "
            "(K, B), whatever the sizes.",
            lambda x, logits: _log_p(x, logits).squeeze(),
        ),
    },
    hints=[
        "A white pixel costs log p, a black one log(1 - p), with p = sigmoid(logit). Add them up.",
        "F.binary_cross_entropy_with_logits is minus that, pixel by pixel, with reduction='none'.",
        "There may be K sets of logits in front. The pixels are the last x.dim() - 1 dimensions: "
        "count from the end, as in log_p.sum(dim=(-3, -2, -1)) for images (B, 1, H, W).",
    ],
    grad=["logits"],
)


# --- reparameterize ----------------------------------------------------------------------------


def _samples(seed):
    normal = _normal(seed)
    single = [(normal(b, k), normal(b, k), normal(b, k)) for b, k in ((3, 2), (4, 7), (6, 5))]
    return [*single, (normal(4, 3), normal(4, 3), normal(5, 4, 3))]  # five codes per example


def _sample(mu, logvar, eps):
    return mu + (logvar / 2).exp() * eps


def _extreme_spreads(seed):
    normal = _normal(seed)
    return [(torch.zeros(3, 4), normal(3, 4) + s, normal(3, 4)) for s in (-30, 30)]


def _single_samples(seed):
    normal = _normal(seed)
    sizes = ((1, 3), (1, 3)), ((4, 1), (4, 1)), ((4, 3), (1, 4, 3)), ((1, 3), (5, 1, 3))
    return [(normal(*size), normal(*size), normal(*drawn)) for size, drawn in sizes]


exercise(
    vae.reparameterize,
    cases=_samples,
    mistakes={
        "variance instead of standard deviation": (
            lambda mu, logvar, eps: mu + logvar.exp() * eps,
            "You scaled eps by the variance, exp(logvar). The standard deviation is its square "
            "root: exp(logvar / 2).",
        ),
        "mean forgotten": (
            lambda mu, logvar, eps: (logvar / 2).exp() * eps,
            "Your samples have the right spread but lie around 0. They should lie around mu.",
        ),
        "logvar taken as the standard deviation": (
            lambda mu, logvar, eps: mu + logvar * eps,
            "You used logvar itself as the standard deviation. It is log sigma^2, and may be "
            "negative; sigma is exp(logvar / 2).",
        ),
        "divided by sigma": (
            lambda mu, logvar, eps: mu + (-logvar / 2).exp() * eps,
            "You divided eps by sigma. A code is mu plus sigma times eps.",
        ),
        "sigma detached": (
            lambda mu, logvar, eps: mu + (logvar / 2).exp().detach() * eps,
            "The samples are right, but no gradient reaches logvar: the spread of the codes could "
            "not be learned. Take sigma from logvar without cutting the way back.",
        ),
    },
    clauses={
        "any variance": Clause(
            _extreme_spreads,
            "Sigma is exp(s/2) for every s, however small or large: no bound is put on it, and "
            "nothing is added.",
            lambda mu, logvar, eps: _sample(mu, logvar.clamp(-20, 20), eps),
        ),
        "sizes of one": Clause(
            _single_samples,
            "One example, one unit or one draw (K = 1) keeps its dimension: the samples have the "
            "shape of eps.",
            lambda mu, logvar, eps: _sample(mu, logvar, eps).squeeze(),
        ),
    },
    hints=[
        "A normal number with mean m and standard deviation s is m plus s times a standard one.",
        "logvar is log sigma^2. What do you do to a logarithm to get a square root?",
        "sigma is torch.exp(0.5 * logvar). Use the eps that is given; draw nothing yourself.",
    ],
    grad=["mu", "logvar"],
)


# --- iwae_bound --------------------------------------------------------------------------------


def _weights(seed):
    normal = _normal(seed)
    return [
        (2 * normal(4, 3),),
        (2 * normal(5, 7) - 20,),
        (2 * normal(3, 6) + 10,),
    ]


# The cases below reach to the ends of what double precision can take the exponential of, so that
# a function that breaks one clause keeps the others.


def _tiny_and_huge(seed):
    normal = _normal(seed)
    return [(2 * normal(3, 6) - 1000,), (2 * normal(4, 3) + 1000,)]  # log P(x) of an image: -1000


def _examples_far_apart(seed):
    return [(_normal(seed)(4, 3) + torch.tensor([690.0, -690.0, 0.0]),)]


def _samples_far_apart(seed):
    return [(_normal(seed)(4, 3) + torch.tensor([-690.0, -690.0, 690.0, 0.0])[:, None],)]


def _a_zero_weight(seed):
    log_w = _normal(seed)(4, 3)
    log_w[2, 0], log_w[3, 1] = -torch.inf, -torch.inf
    return [(log_w,)]


def _bound(log_w):
    return torch.logsumexp(log_w, 0) - math.log(log_w.shape[0])


def _shifted(log_w, shift):
    return (log_w.double() - shift).exp().mean(0).log() + shift


def _zero_weights_left_out(log_w):
    return torch.logsumexp(log_w, 0) - log_w.isfinite().sum(0).log()


def _squeezed_first(log_w):
    return torch.logsumexp(log_w.squeeze(), 0) - math.log(log_w.shape[0])


exercise(
    vae.iwae_bound,
    cases=_weights,
    mistakes={
        "mean of the logarithms": (
            lambda log_w: log_w.mean(0),
            "You averaged the log-weights: that is the ELBO. The bound is the log of the average "
            "weight, which is larger.",
        ),
        "log K forgotten": (
            lambda log_w: torch.logsumexp(log_w, 0),
            "You have the log of the sum of the weights. Their mean is wanted: subtract log K.",
        ),
        "mean over the batch": (
            lambda log_w: torch.logsumexp(log_w, 1) - math.log(log_w.shape[1]),
            "You averaged over the batch (dimension 1). log_w has shape (K, B): the K samples lie "
            "along dimension 0.",
        ),
        "largest weight only": (
            lambda log_w: log_w.max(0).values - math.log(log_w.shape[0]),
            "You kept the largest weight of each example. The others count, too: it is the mean "
            "of all K.",
        ),
        "gradient of the ELBO": (
            lambda log_w: log_w.mean(0) + (_bound(log_w) - log_w.mean(0)).detach(),
            "The values are right, but the gradient is that of the ELBO. A part of the bound is "
            "detached: a sample's gradient counts by its share of the weights.",
        ),
        "average over the batch too": (
            lambda log_w: (torch.logsumexp(log_w, 0) - math.log(log_w.shape[0])).mean(),
            "You averaged the bound over the batch. One number per example is wanted, shape (B,).",
        ),
    },
    clauses={
        "in the log domain": Clause(
            _tiny_and_huge,
            "Right on paper. But exp(-1000) is zero in floating point and its log minus infinity "
            "(and exp(1000) infinite): the sum is taken in the log domain.",
            lambda log_w: log_w.double().exp().mean(0).log(),
        ),
        "examples far apart": Clause(
            _examples_far_apart,
            "The examples may lie far apart: what is subtracted before the exponential must be "
            "the largest log-weight of each example, not one number for all of them.",
            lambda log_w: _shifted(log_w, log_w.detach().max().double()),
        ),
        "samples far apart": Clause(
            _samples_far_apart,
            "The weights of one example may lie far apart: subtract the largest before the "
            "exponential. After the mean or the first one is subtracted, it still overflows.",
            lambda log_w: _shifted(log_w, log_w.detach()[0].double()),
        ),
        "a weight of zero": Clause(
            _a_zero_weight,
            "A sample of weight 0 (log_w is minus infinity) adds nothing to the sum but counts "
            "among the K.",
            _zero_weights_left_out,
        ),
        "sizes of one": Clause(
            lambda seed: [(_normal(seed)(1, 4),), (_normal(seed)(3, 1),)],
            "K = 1 gives the ELBO, the log-weights themselves, and one example keeps its "
            "dimension: the shape is (B,), whatever the sizes.",
            _squeezed_first,
        ),
    },
    hints=[
        "The log of a mean is not the mean of the logs. Which of the two is asked for?",
        "log(1/K * sum) is log(sum) minus log K.",
        "torch.logsumexp(log_w, dim=0) computes log(sum(exp(log_w))) without underflow.",
    ],
    grad=True,
)


# --- free_bits ---------------------------------------------------------------------------------


def _divergences(seed):
    normal = _normal(seed)

    def case(b, k, floor):
        used = torch.arange(k) % 2 * 1.5  # every second dimension is in use
        return normal(b, k) ** 2 * (0.1 + used), floor

    quiet = normal(4, 6) ** 2 * 0.02, 0.75  # even their sum is below the floor
    return [case(3, 4, 0.5), case(5, 7, 0.25), case(8, 6, 0.4), quiet]


def _single_divergences(seed):
    normal = _normal(seed)
    return [(normal(b, k) ** 2, 0.3) for b, k in ((1, 6), (5, 1))]


exercise(
    vae.free_bits,
    cases=_divergences,
    mistakes={
        "maximum of the sum": (
            lambda kl, floor: kl.mean(0).sum().clamp(min=floor),
            "You compared the sum of all dimensions with the floor. Each dimension has a floor of "
            "its own: maximum first, then the sum.",
        ),
        "minimum": (
            lambda kl, floor: kl.mean(0).clamp(max=floor).sum(),
            "You took the minimum: that caps what a dimension may say. The floor is a maximum, "
            "clamp(min=floor).",
        ),
        "maximum for each example": (
            lambda kl, floor: kl.clamp(min=floor).sum(1).mean(),
            "You took the maximum example by example. Average over the batch first, so that "
            "single examples may use less.",
        ),
        "sum over the batch": (
            lambda kl, floor: kl.sum(0).clamp(min=floor).sum(),
            "You summed over the batch. It is the batch's mean that is compared with the floor.",
        ),
        "mean over the code": (
            lambda kl, floor: kl.mean(0).clamp(min=floor).mean(),
            "You averaged over the code's dimensions in the end. Their divergences add up.",
        ),
        "only what exceeds the floor": (
            lambda kl, floor: (kl.mean(0) - floor).clamp(min=0).sum(),
            "You kept only what exceeds the floor. The gradient is the same, but the maximum is "
            "wanted: a dimension below the floor counts with the floor itself.",
        ),
        "floor never applied": (
            lambda kl, floor: kl.mean(0).sum(),
            "This is the plain KL term: floor has no effect on it yet.",
        ),
        "gradient below the floor": (
            lambda kl, floor: (
                kl.mean(0).sum() + (kl.mean(0).clamp(min=floor) - kl.mean(0)).sum().detach()
            ),
            "The value is right, but a dimension below the floor still has a gradient. It is free "
            "there: the maximum is the floor, a constant.",
        ),
    },
    clauses={
        "floor of zero": Clause(
            lambda seed: [(kl, 0.0) for kl, _ in _divergences(seed)],
            "With a floor of 0 nothing is free: it is the plain KL term.",
            lambda kl, floor: kl.mean(0).clamp(min=floor or 0.3).sum(),
        ),
        "sizes of one": Clause(
            _single_divergences,
            "One example or one unit changes nothing: mean over the batch, maximum for each unit, "
            "sum over the units, and the result is a scalar.",
            lambda kl, floor: kl.squeeze().mean(0).clamp(min=floor).sum(),
        ),
    },
    hints=[
        "Three steps: mean over the batch, maximum with the floor, sum over the dimensions.",
        "x.clamp(min=floor) is the maximum of each number and the floor.",
    ],
    grad=["kl"],
)


# --- log_weights: find the fault -----------------------------------------------------------------


def log_weights(log_p_x, mu, logvar, c):
    """The log-weights of K codes for each image, which the bound (24.9) averages.

        log w_k = log P(x|c_k) + log P(c_k) - log Q(c_k|x)
        P(c) = N(0, I),   Q(c|x) = N(mu, diag(σ²)),   logvar = log σ²

    Shapes: log_p_x (K, B), which is log P(x|c); mu, logvar (B, k); c (K, B, k) -> (K, B), in
    nats. Right for a σ however small.
    Source: Burda et al. 2016, eq. 8; lecture item A89.
    """
    log_prior = -0.5 * (c**2 + math.log(2 * math.pi)).sum(dim=-1)
    log_q = -0.5 * ((c - mu) ** 2 / logvar.exp() + logvar + math.log(2 * math.pi)).sum(dim=-1)
    return log_p_x + log_prior - log_q


def _half_of_a_half(log_p_x, mu, logvar, c):
    log_prior = -0.5 * (c**2 + math.log(2 * math.pi)).sum(dim=-1)
    log_q = -0.5 * ((c - mu) ** 2 / logvar.exp() + logvar / 2 + math.log(2 * math.pi)).sum(dim=-1)
    return log_p_x + log_prior - log_q


def _log_normal(c, mu, logvar):
    return torch.distributions.Normal(mu, (logvar / 2).exp()).log_prob(c).sum(-1)


def _log_w(log_p_x, mu, logvar, c):
    return log_p_x + _log_normal(c, c.new_zeros(()), c.new_zeros(())) - _log_normal(c, mu, logvar)


def _drawn_codes(*sizes, shift=0.0, around=1.0):
    """Codes of the encoder's normal, with its log-variances near `shift`."""

    def cases(seed):
        normal, made = _normal(seed), []
        for K, B, k in sizes:
            mu, logvar = around * normal(B, k), normal(B, k) + shift
            made.append((normal(K, B) - 3, mu, logvar, mu + (logvar / 2).exp() * normal(K, B, k)))
        return made

    return cases


exercise(
    log_weights,
    cases=_drawn_codes((3, 4, 2), (5, 3, 6), (6, 5, 3)),
    planted=_half_of_a_half,
    symptom="Where σ is 1 all is right. The smaller σ is, the larger the weights come out, until "
    "the bound lies above log P(x): the density of the code under Q is wrong.",
    mistakes={
        "prior left out": (
            lambda log_p_x, mu, logvar, c: log_p_x - _log_normal(c, mu, logvar),
            "The prior P(c) is missing now. A code that it makes improbable weighs less.",
        ),
        "Q added": (
            lambda log_p_x, mu, logvar, c: (
                _log_w(log_p_x, mu, logvar, c) + 2 * _log_normal(c, mu, logvar)
            ),
            "You add log Q. What is drawn often has to weigh less: the weight divides by Q.",
        ),
        "normalisation left out": (
            lambda log_p_x, mu, logvar, c: _log_w(log_p_x, mu, logvar, c) - logvar.sum(-1) / 2,
            "The density of Q has lost its factor 1/σ for each unit: a narrow normal is high.",
        ),
        "normalisation doubled": (
            lambda log_p_x, mu, logvar, c: _log_w(log_p_x, mu, logvar, c) + logvar.sum(-1) / 2,
            "Now the factor 1/σ counts twice. logvar is log σ²; half of it is log σ.",
        ),
    },
    clauses={
        "however narrow": Clause(
            _drawn_codes((3, 4, 2), (4, 2, 5), shift=-30.0, around=0.0),
            "σ may be very small: put no bound on it, and add nothing to it.",
            lambda log_p_x, mu, logvar, c: _log_w(log_p_x, mu, logvar.clamp(min=-20), c),
        ),
        "sizes of one": Clause(
            _drawn_codes((1, 4, 3), (3, 1, 2), (4, 2, 1), (1, 1, 3)),
            "One code, one image or one unit changes nothing: the shape is (K, B).",
            lambda log_p_x, mu, logvar, c: _log_w(log_p_x, mu, logvar, c).squeeze(),
        ),
    },
    hints=[
        "A weight has a test: average many exp(log w) of codes from Q for a model whose P(x) is "
        "known. The smallest such model has log P(x|c) = 0 for all c; what should the mean be?",
        "Do it with σ = 1 and with σ = 0.1, and mu = 0. Only one of the two comes out as it "
        "should, so look at what depends on σ.",
        "log N(c; μ, σ²) = -½ ((c - μ)²/σ² + log σ² + log 2π). Compare term by term, and mind "
        "what stands inside the bracket.",
    ],
    grad=True,
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "units-in-use",
        question="A VAE need not use all of its code. Train the small VAE of section 24.1 with "
        '2, 5, 10, 20, 40 and 80 code units, `train_small("k units", code=k)`, all else equal, '
        "and count the active units of each: those whose mean varies over the test images by more "
        "than 0.01, as in section 24.9.",
        hand_in="the number of active units of the model with 80",
        good=(
            "A table or a figure over all six widths: active units, the two terms of the bound and "
            "the bound itself, on test images.",
            "Three seeds at least at the width that the conclusion rests on, and their spread.",
            "Another threshold than 0.01, such as 0.001 or 0.1, to see whether the count hangs on "
            "it; a histogram of the variances shows it at once.",
            "An explanation by the two terms: what an unused unit costs, and what a further unit "
            "would have to bring.",
            "A sentence on what is not shown: whether a longer training would use more of them.",
        ),
        minutes=60,
        kind="number",
        unit="units",
        between=(5, 60),
        beyond="Is it the variance of the encoder's mean over the images, `mu.var(0)`, that you "
        "compare with 0.01, and not that of the drawn codes, which is near 1 in dead units, too?",
    ),
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "samples-recognised",
        "The judge recognises 98.9 % of the real test digits and 27.4 % of what the plain "
        "autoencoder decodes from random codes. How many of the VAE's samples?",
        72.7,
        "The judge recognises 72.7 % of them. No label was used in the training, and more than a "
        "quarter of the samples are no digit yet (section 24.7).",
        unit="%",
        within=8,
    ),
    Prediction(
        "noise-alone",
        "Train once with noise on the code, but without the penalty. The plain autoencoder has "
        "neither, and 27 % of its decoded random codes are recognised. How does noise alone change "
        "that?",
        "a",
        "With noise alone 27.46 % are recognised, without it 27.44 %. Nobody pays for a small "
        "σ, so the encoder makes it 0.003. The penalty alone gives "
        "68.08 % (section 24.9).",
        choices=(
            "not at all",
            "it closes about half of the gap to the VAE",
            "it does nearly as well as the VAE",
        ),
    ),
    Prediction(
        "smaller-noise",
        "Two Gaussian models sum the squared error. One believes in the pixel noise 1, the other "
        "in 0.2, and so it rebuilds digits better. In one training of each, how do the samples of "
        "the second compare?",
        "c",
        "The judge recognises 64.64 % of them, against 78.20 % of the first model's, though the "
        "error falls from 0.03143 to 0.01764. A code that describes the data better fills the "
        "prior worse (section 24.9, one training of each).",
        choices=(
            "they are recognised more often",
            "there is no difference",
            "they are recognised less often",
        ),
    ),
)
