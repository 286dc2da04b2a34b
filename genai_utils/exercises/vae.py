"""Exercises of notebook 24_vae: the terms of the bound, and what is done with them."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.vision import vae

NOTEBOOK = "24_vae"


def _normal(seed):
    """A function that draws normal numbers of a given shape."""
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g)


# --- reparameterize ----------------------------------------------------------------------------


def _samples(seed):
    normal = _normal(seed)
    single = [(normal(b, k), normal(b, k), normal(b, k)) for b, k in ((3, 2), (4, 7), (6, 5))]
    return [*single, (normal(4, 3), normal(4, 3), normal(5, 4, 3))]  # five codes per example


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
    },
    hints=[
        "A normal number with mean m and standard deviation s is m plus s times a standard one.",
        "logvar is log sigma^2. What do you do to a logarithm to get a square root?",
        "sigma is torch.exp(0.5 * logvar). Use the eps that is given; draw nothing yourself.",
    ],
    grad=["mu", "logvar"],
)


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


def _images(seed):
    normal = _normal(seed)

    def pair(scale, leading, *shape):
        return (normal(*shape) > 0).float(), scale * normal(*leading, *shape)

    return [
        pair(2, (), 3, 1, 2, 5),
        pair(2, (), 4, 1, 3, 2),
        pair(2, (), 6, 7),
        pair(2, (3,), 5, 1, 2, 4),  # three decoded codes per image
        pair(150, (), 4, 1, 2, 3),  # logits so large that the sigmoid is 0 or 1 to the last bit
    ]


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
        "logarithm of the sigmoid": (
            _by_probability,
            "Right for small logits. For large ones the sigmoid rounds to 0 or 1, and its "
            "logarithm to minus infinity: compute from the logits, with "
            "F.binary_cross_entropy_with_logits or F.logsigmoid.",
        ),
        "cross-entropy of the sigmoid": (
            lambda x, logits: (
                -F.binary_cross_entropy(
                    logits.sigmoid(), x.expand_as(logits), reduction="none"
                ).sum(_pixels(x))
            ),
            "Right for small logits. F.binary_cross_entropy cuts each logarithm off at -100: use "
            "F.binary_cross_entropy_with_logits, which needs no sigmoid.",
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


# --- iwae_bound --------------------------------------------------------------------------------


def _weights(seed):
    normal = _normal(seed)
    return [
        (2 * normal(4, 3),),
        (2 * normal(5, 7) - 80,),
        (2 * normal(3, 6) - 1000,),  # like log P(x) of an image: exp(-1000) is zero
    ]


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
        "exponential underflows": (
            lambda log_w: log_w.exp().mean(0).log(),
            "Right on paper. But exp(-1000) is zero in floating point and its log minus infinity: "
            "use torch.logsumexp, or subtract the maximum first and add it again.",
        ),
        "average over the batch too": (
            lambda log_w: (torch.logsumexp(log_w, 0) - math.log(log_w.shape[0])).mean(),
            "You averaged the bound over the batch. One number per example is wanted, shape (B,).",
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
    },
    hints=[
        "Three steps: mean over the batch, maximum with the floor, sum over the dimensions.",
        "x.clamp(min=floor) is the maximum of each number and the floor.",
    ],
    grad=["kl"],
)
