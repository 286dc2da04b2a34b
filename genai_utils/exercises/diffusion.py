"""Exercises of notebook 27_diffusion: noise, the way back, long steps, a wish, a line."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import diffusion, flow_matching

NOTEBOOK = "27_diffusion"

_each = diffusion.per_example


def _random(seed):
    """Two functions: normal numbers of a shape, and numbers between two bounds of a shape."""
    g = torch.Generator().manual_seed(seed)

    def between(low, high, n):
        return low + (high - low) * torch.rand(n, generator=g)

    return (lambda *shape: torch.randn(*shape, generator=g)), between


def _as_images(value, x):
    """Right for images only: three axes behind the batch, whatever x has."""
    return value.reshape(-1, 1, 1, 1) if x.ndim == 4 else value.mean()


IMAGES, OTHERS = ((3, 1, 4, 5), (5, 2, 3, 4)), ((4,), (3, 2), (6, 5))

# --- noised --------------------------------------------------------------------------------------


def _noise_cases(shapes):
    def cases(seed):
        normal, between = _random(seed)
        return [(normal(*s), between(0.05, 0.95, s[0]), normal(*s)) for s in shapes]

    return cases


def _ends(seed):
    normal, _ = _random(seed)
    return [(normal(3, 1, 2, 2), torch.tensor([1.0, 0.0, 1.0]), normal(3, 1, 2, 2))]


exercise(
    diffusion.noised,
    cases=_noise_cases(IMAGES),
    mistakes={
        "roots forgotten": (
            lambda x, bar, eps: _each(bar, x) * x + _each(1 - bar, x) * eps,
            "You left out the roots. Variances add up, not standard deviations: the shares of the "
            "variance are ᾱ and 1 - ᾱ.",
        ),
        "root of one only": (
            lambda x, bar, eps: _each(bar, x).sqrt() * x + _each(1 - bar, x) * eps,
            "The data have their root, the noise has not: its factor is a standard deviation, "
            "√(1 - ᾱ).",
        ),
        "one less the root": (
            lambda x, bar, eps: _each(bar.sqrt(), x) * x + _each(1 - bar.sqrt(), x) * eps,
            "The factor of the noise is √(1 - ᾱ), and you have 1 - √ᾱ. It is the squares of both "
            "factors that add up to 1, not the factors.",
        ),
        "turned round": (
            lambda x, bar, eps: _each(1 - bar, x).sqrt() * x + _each(bar, x).sqrt() * eps,
            "You gave the share ᾱ to the noise. ᾱ says how much of the data is left: it is 1 at "
            "first and falls.",
        ),
        "data kept whole": (
            lambda x, bar, eps: x + _each(1 - bar, x).sqrt() * eps,
            "You added noise to the whole of the data. They are shrunk by √ᾱ as well, or the sum "
            "would grow without end.",
        ),
        "one time for all": (
            lambda x, bar, eps: bar[0].sqrt() * x + (1 - bar[0]).sqrt() * eps,
            "You used the first example's ᾱ for all. Each has its own time.",
        ),
        "noise subtracted": (
            lambda x, bar, eps: _each(bar, x).sqrt() * x - _each(1 - bar, x).sqrt() * eps,
            "You subtracted the noise. As a draw that is as good, but it is not the ε that the "
            "network is asked for.",
        ),
    },
    clauses={
        "any shape": Clause(
            _noise_cases(OTHERS),
            "x may have any number of axes: (B,), (B, d), images. The B numbers of bar belong to "
            "its first axis, whatever follows.",
            lambda x, bar, eps: (
                _as_images(bar.sqrt(), x) * x + _as_images((1 - bar).sqrt(), x) * eps
            ),
        ),
        "both ends": Clause(
            _ends,
            "ᾱ = 1 gives the data and ᾱ = 0 the noise, exactly: nothing is kept away from 0 or 1.",
            lambda x, bar, eps: (
                _each(bar.clamp(0.02, 0.98), x).sqrt() * x
                + _each(1 - bar.clamp(0.02, 0.98), x).sqrt() * eps
            ),
        ),
    },
    hints=[
        "Two terms: the data times a number, and the noise times a number.",
        "bar has the shape (B,). To multiply x (B, C, H, W) it must be (B, 1, 1, 1).",
        "bar = bar.reshape(-1, *[1] * (x.ndim - 1)); then bar.sqrt() * x + (1 - bar).sqrt() * eps.",
    ],
    grad=["x", "eps"],
)

# --- posterior -----------------------------------------------------------------------------------


def _posterior_cases(shapes):
    def cases(seed):
        normal, between = _random(seed)
        found = []
        for s in shapes:
            before, alpha = between(0.2, 0.95, s[0]), between(0.5, 0.98, s[0])
            found.append((normal(*s), normal(*s), alpha * before, before))
        return found

    return cases


def _first_step(seed):
    normal, between = _random(seed)
    return [(normal(4, 1, 2, 2), normal(4, 1, 2, 2), between(0.6, 0.99, 4), torch.ones(4))]


def _parts(x, x_t, bar, before, of_x_t=None, of_x=None, variance=None, each=_each):
    alpha = bar / before
    of_x_t = alpha.sqrt() * (1 - before) / (1 - bar) if of_x_t is None else of_x_t(alpha)
    of_x = before.sqrt() * (1 - alpha) / (1 - bar) if of_x is None else of_x(alpha)
    right = (1 - before) / (1 - bar) * (1 - alpha)
    variance = right if variance is None else variance(alpha)
    return each(of_x_t, x) * x_t + each(of_x, x) * x, variance


exercise(
    diffusion.posterior,
    cases=_posterior_cases(IMAGES),
    mistakes={
        "bar forgotten": (
            lambda x, x_t, bar, before: _parts(
                x, x_t, bar, before, of_x_t=lambda a: a.sqrt() * (1 - a) / (1 - bar)
            ),
            "The factor of x_t holds 1 - α, of one step. It is 1 - ᾱ of the step before: the bar "
            "that the slide lost (erratum N04).",
        ),
        "places of x_0 and x_t exchanged": (
            lambda x, x_t, bar, before: _parts(x_t, x, bar, before),
            "You gave the factor of x_t to x_0, and the other way round. Where little noise was "
            "added in this step, x_{t-1} lies near x_t.",
        ),
        "bar of the wrong time": (
            lambda x, x_t, bar, before: _parts(
                x, x_t, bar, before, of_x=lambda a: bar.sqrt() * (1 - a) / (1 - bar)
            ),
            "The factor of x_0 holds √ᾱ_t. It is √ᾱ_{t-1}: that is how much of x_0 there is in "
            "x_{t-1}.",
        ),
        "roots forgotten": (
            lambda x, x_t, bar, before: _parts(
                x,
                x_t,
                bar,
                before,
                lambda a: a * (1 - before) / (1 - bar),
                lambda a: before * (1 - a) / (1 - bar),
            ),
            "You left out the roots of α_t and ᾱ_{t-1} in the mean.",
        ),
        "variance of the step": (
            lambda x, x_t, bar, before: _parts(x, x_t, bar, before, variance=lambda a: 1 - a),
            "Your variance is β_t, that of the step forward. Knowing x_0 leaves less: "
            "(1 - ᾱ_{t-1}) / (1 - ᾱ_t) times that.",
        ),
        "variance without β": (
            lambda x, x_t, bar, before: _parts(
                x, x_t, bar, before, variance=lambda a: (1 - before) / (1 - bar)
            ),
            "Your variance is (1 - ᾱ_{t-1}) / (1 - ᾱ_t). That is a share, the one of β_t that is "
            "left: multiply by β_t = 1 - α_t.",
        ),
        "standard deviation": (
            lambda x, x_t, bar, before: _parts(
                x,
                x_t,
                bar,
                before,
                variance=lambda a: ((1 - before) / (1 - bar) * (1 - a)).sqrt(),
            ),
            "Your second result is the standard deviation. The variance is asked for.",
        ),
        "not divided": (
            lambda x, x_t, bar, before: _parts(
                x,
                x_t,
                bar,
                before,
                lambda a: a.sqrt() * (1 - before),
                lambda a: before.sqrt() * (1 - a),
            ),
            "You forgot to divide the mean by 1 - ᾱ_t.",
        ),
    },  # fmt: skip
    clauses={
        "the first step": Clause(
            _first_step,
            "At t = 1, where ᾱ_{t-1} = 1, the mean is x_0 and the variance 0, exactly.",
            lambda x, x_t, bar, before: _parts(x, x_t, bar, before.clamp(max=0.98)),
        ),
        "any shape": Clause(
            _posterior_cases(OTHERS),
            "x may have any number of axes; the mean has its shape, the variance is (B,).",
            lambda x, x_t, bar, before: _parts(x, x_t, bar, before, each=_as_images),
        ),
    },
    hints=[
        "α_t is not given, but ᾱ_t = α_t ᾱ_{t-1}, so it is bar / before.",
        "Compute the two factors and the variance as rows of B numbers, then reshape the factors.",
        "of_x_t = alpha.sqrt() * (1 - before) / (1 - bar), and "
        "of_x = before.sqrt() * (1 - alpha) / (1 - bar).",
    ],
    grad=["x", "x_t"],
)

# --- ddim_step -----------------------------------------------------------------------------------


def _leaps(eta, earlier=None, shapes=IMAGES):
    def cases(seed):
        normal, between = _random(seed)
        found = []
        for s in shapes:
            bar, gap = between(0.05, 0.6, s[0]), between(0.1, 0.35, s[0])
            then = bar + gap if earlier is None else torch.full_like(bar, earlier)
            z = None if eta == 0 else normal(*s)
            found.append((normal(*s), normal(*s), bar, then, eta, z))
        return found

    return cases


def _leap(x_t, eps, bar, earlier, eta=0.0, z=None, *, x=None, kept=None, squared=True, each=_each):
    x = (x_t - each((1 - bar).sqrt(), x_t) * eps) / each(bar.sqrt(), x_t) if x is None else x
    variance = (1 - earlier) / (1 - bar) * (1 - bar / earlier)
    variance = (eta**2 if squared else eta) * variance
    kept = (1 - earlier - variance).clamp(min=0) if kept is None else kept(variance)
    x_s = each(earlier.sqrt(), x_t) * x + each(kept.sqrt(), x_t) * eps
    return x_s if z is None else x_s + each(variance.sqrt(), x_t) * z


exercise(
    diffusion.ddim_step,
    cases=lambda seed: [*_leaps(0.5)(seed), *_leaps(0.8)(seed + 1)],
    mistakes={
        "noise added twice": (
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t, eps, bar, earlier, eta, z, kept=lambda variance: 1 - earlier
            ),
            "The predicted noise is kept whole, and fresh noise is added to it. Together they must "
            "have the variance 1 - ᾱ_s, so σ² is taken off under the first root.",
        ),
        "eta not squared": (
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t, eps, bar, earlier, eta, z, squared=False
            ),
            "η multiplies σ, so η² multiplies σ².",
        ),
        "x_t in place of x_0": (
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t, eps, bar, earlier, eta, z, x=x_t
            ),
            "You mixed x_t with the noise. First find x̂_0, then add noise to it as of time s.",
        ),
        "times exchanged": (
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t,
                eps,
                bar,
                earlier,
                eta,
                z,
                x=(x_t - _each((1 - earlier).sqrt(), x_t) * eps) / _each(earlier.sqrt(), x_t),
            ),
            "You took x̂_0 out of x_t with ᾱ_s. The noise in x_t is that of time t.",
        ),
        "not divided": (
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t, eps, bar, earlier, eta, z, x=x_t - _each((1 - bar).sqrt(), x_t) * eps
            ),
            "You forgot to divide x̂_0 by √ᾱ_t.",
        ),
        "variance as deviation": (
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: (
                _leap(x_t, eps, bar, earlier, eta)
                + _each(eta**2 * (1 - earlier) / (1 - bar) * (1 - bar / earlier), x_t) * z
            ),
            "You multiplied z by σ². A draw of that variance is σ z.",
        ),
    },  # fmt: skip
    clauses={
        "no fresh noise": Clause(
            _leaps(0.0),
            "η = 0 draws nothing: the step must work with z = None, and it is a map.",
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t,
                eps,
                bar,
                earlier,
                eta,
                z,
                kept=lambda variance: (1 - earlier) * (0.9 if eta == 0 else 1) - variance,
            ),
        ),
        "to the end": Clause(
            _leaps(0.5, earlier=1.0),
            "ᾱ_s = 1 is the data: the step gives x̂_0, and no noise.",
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t, eps, bar, earlier.clamp(max=0.98), eta, z
            ),
        ),
        "any shape": Clause(
            _leaps(0.5, shapes=OTHERS),
            "x_t may have any number of axes; bar and earlier belong to its first.",
            lambda x_t, eps, bar, earlier, eta=0.0, z=None: _leap(
                x_t, eps, bar, earlier, eta, z, each=_as_images
            ),
        ),
    },  # fmt: skip
    hints=[
        "Three lines: x̂_0 from x_t and eps; σ²; then x̂_0, eps and z with their factors.",
        "The factors of eps and z are √(1 - ᾱ_s - σ²) and σ.",
        "Return before z is used where eta == 0. Rounding may leave -1e-8 under a root: clamp it.",
    ],
    grad=["x_t", "eps"],
)

# --- guided --------------------------------------------------------------------------------------


def _guidance(*scales):
    def cases(seed):
        normal, _ = _random(seed)
        sizes = ((3, 1, 2, 4), (4, 2, 3, 5))
        return [(normal(*s), normal(*s), w) for w, s in zip(scales, sizes * 2, strict=False)]

    return cases


exercise(
    diffusion.guided,
    cases=_guidance(0.5, 2.0, 3.5),
    mistakes={
        "the other scale": (
            lambda none, one, w: w * one + (1 - w) * none,
            "This is the other way of counting, in which 1 is no guidance. Here w = 0 is none.",
        ),
        "away from the class": (
            lambda none, one, w: (1 + w) * none - w * one,
            "You walk away from the class: the two predictions have changed places.",
        ),
        "only added": (
            lambda none, one, w: one + w * none,
            "You added the prediction without a class. It is taken off: what is exaggerated is "
            "the difference of the two.",
        ),
    },
    clauses={
        "no guidance": Clause(
            _guidance(0, 0.0),
            "w = 0 gives the prediction with the class, unchanged.",
            lambda none, one, w: diffusion.guided(none, one, w) if w else (one + none) / 2,
        ),
        "no scale below 0": Clause(
            _guidance(-0.5, -1),
            "A scale below 0 asks for the opposite of the class: raise ValueError.",
            lambda none, one, w: (1 + w) * one - w * none,
            raises=ValueError,
        ),
    },
    hints=[
        "The difference ε(y) - ε is what the class adds.",
        "Add it w times more to the prediction with the class.",
        "(1 + scale) * eps_class - scale * eps_none, after the check of the scale.",
    ],
    grad=True,
)

# --- straight ------------------------------------------------------------------------------------


def _line_ends(seed):
    normal, _ = _random(seed)
    return [(normal(2, 1, 2, 2), torch.tensor([0.0, 1.0]), normal(2, 1, 2, 2))]


def _line(x, u, eps, each=_each):
    u = each(u, x)
    return (1 - u) * x + u * eps, eps - x


exercise(
    flow_matching.straight,
    cases=_noise_cases(IMAGES),
    mistakes={
        "velocity towards the data": (
            lambda x, u, eps: (_line(x, u, eps)[0], x - eps),
            "Your velocity points from noise to data. u grows towards the noise, so dx/du = ε - x.",
        ),
        "ends exchanged": (
            lambda x, u, eps: (_line(x, 1 - u, eps)[0], eps - x),
            "At u = 0 you have the noise. u = 0 are the data, u = 1 is the noise.",
        ),
        "roots as in DDPM": (
            lambda x, u, eps: (diffusion.noised(x, 1 - u, eps), eps - x),
            "These are DDPM's roots: a circle, on which the variance stays. The line has none.",
        ),
        "velocity times u": (
            lambda x, u, eps: (_line(x, u, eps)[0], _each(u, x) * (eps - x)),
            "You multiplied the velocity by u. Along a straight line it is the same everywhere.",
        ),
        "the place as velocity": (
            lambda x, u, eps: (_line(x, u, eps)[0], eps),
            "Your velocity is the noise alone. Differentiate (1 - u) x + u ε: the first term "
            "gives -x.",
        ),
    },
    clauses={
        "both ends": Clause(
            _line_ends,
            "u = 0 gives the data and u = 1 the noise, exactly.",
            lambda x, u, eps: _line(x, u.clamp(0.02, 0.98), eps),
        ),
        "any shape": Clause(
            _noise_cases(OTHERS),
            "x may have any number of axes; the B numbers of u belong to its first.",
            lambda x, u, eps: _line(x, u, eps, _as_images),
        ),
    },
    hints=[
        "u has the shape (B,); bring it into the shape (B, 1, …, 1).",
        "The velocity is the derivative of the place by u.",
        "Return the pair (1 - u) * x + u * eps and eps - x.",
    ],
    grad=["x", "eps"],
)

# --- step_kl: find the fault ---------------------------------------------------------------------


def _other_direction(mean, variance, model_mean, model_variance):
    d = mean[0].numel()
    error = (mean - model_mean).flatten(1).square().sum(1)  # (B,)
    ratio = model_variance / variance
    return 0.5 * (d * (ratio - 1 - ratio.log()) + error / model_variance)


def _kl_cases(seed):
    normal, between = _random(seed)
    return [
        (normal(*s), between(0.1, 1.0, s[0]), normal(*s), between(0.2, 2.0, s[0])) for s in IMAGES
    ]


def _one_number(seed):
    normal, between = _random(seed)
    return [(normal(4, 1), between(0.1, 1.0, 4), normal(4, 1), between(0.2, 2.0, 4))]


def _kl(mean, variance, model_mean, model_variance, d=None, of=None):
    d = mean[0].numel() if d is None else d
    error = (mean - model_mean).flatten(1).square().sum(1)
    ratio = variance / model_variance
    return 0.5 * (d * (ratio - 1 - ratio.log()) + error / (model_variance if of is None else of))


exercise(
    diffusion.step_kl,
    cases=_kl_cases,
    planted=_other_direction,
    symptom="Where both variances are alike all is right, and it is never negative. Where they "
    "differ, the part of the variances is that of the other direction, KL(P ‖ Q).",
    mistakes={
        "all of it turned round": (
            lambda m, v, n, w: _kl(n, w, m, v),
            "Now all of it is KL(P ‖ Q). The mean is taken over Q, whose variance stands above "
            "the fraction bar.",
        ),
        "one dimension": (
            lambda m, v, n, w: _kl(m, v, n, w, d=1),
            "The part of the variances is counted once. All d numbers have that variance.",
        ),
        "error by the wrong variance": (
            lambda m, v, n, w: _kl(m, v, n, w, of=v),
            "The squared error is divided by Q's variance. It is the model's that judges.",
        ),
        "half forgotten": (
            lambda m, v, n, w: 2 * _kl(m, v, n, w),
            "The factor 1/2 is missing.",
        ),
    },
    clauses={
        "one number": Clause(
            _one_number,
            "Data of one number (B, 1) give (B,), as all others do.",
            lambda m, v, n, w: _kl(m, v, n, w) if m[0].numel() > 1 else _kl(m, v, n, w)[:, None],
        ),
    },
    hints=[
        "Compare with torch.distributions.kl_divergence: once with equal variances, once not.",
        "Let the two means be equal. Which of the two variances should be the larger one for the "
        "divergence to grow without end?",
        "KL(N(0, v) ‖ N(0, w)) = (v/w - 1 - log(v/w)) / 2.",
    ],
    grad=True,
)

# --- Predictions and the open experiment ---------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "without-fresh-noise",
        'Algorithm 2 adds fresh noise σ z after each step. The slide says that it "improves '
        'performance empirically". Leave it out, and change nothing else. What happens?',
        "b",
        "Each step moves to a mean, and means are narrower than the data. With the exact noise "
        "predicted, less than 0.0002 of the variance is left without z, and all of it with z "
        "(section 27.5). In this sampler the noise is no improvement but a part.",
        choices=(
            "the samples are a little noisier",
            "the samples are all too much alike: the spread of the data is lost",
            "nothing, since the network has learned to remove noise anyway",
        ),
    ),
)

EXPERIMENTS = (
    Experiment(
        "fewest-steps",
        question="With how few evaluations of the network does this chapter's rectified flow stay "
        "within 1.5 times the Fréchet distance that it reaches with 50? Change what you like but "
        "the network: the solver, where the steps lie, reflow (train a second flow on pairs from "
        "the first). Budget: one training as long as the chapter's, three seeds of sampling.",
        hand_in="the number of evaluations of the network per image",
        good=(
            "Evaluations of the network are counted, not steps: Heun's method takes two a step.",
            "The distance is given with its spread over seeds, beside the floor of as many images.",
            "What was tuned was tuned on validation digits.",
            "It says what was tried and did not help.",
        ),
        minutes=90,
        kind="number",
        unit="evaluations",
        between=(1, 40),
        beyond="Are these evaluations for one image, and is the distance within 1.5 times?",
    ),
)
