"""Exercises of notebook 26_gan: both players' losses, the best answer, counting, a steepness."""

import torch
from torch.nn.functional import logsigmoid, softplus

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import gan, modes

NOTEBOOK = "26_gan"


def _normal(seed):
    """A function that draws normal numbers of a given shape."""
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=g)


def _drawn(*cases, scale=2.0):
    """Normal tensors: for each case the shapes of its arguments."""

    def of(seed):
        normal = _normal(seed)
        return [tuple(scale * normal(*shape) for shape in shapes) for shapes in cases]

    return of


# --- discriminator_loss --------------------------------------------------------------------------


def _both(real, fake):
    return softplus(-real).mean(-1) + softplus(fake).mean(-1)


exercise(
    gan.discriminator_loss,
    cases=_drawn(((4,), (4,)), ((6,), (6,)), ((3,), (3,))),
    mistakes={
        "sums": (
            lambda real, fake: softplus(-real).sum(-1) + softplus(fake).sum(-1),
            "You added up, as the slide does. Take the mean over each batch (erratum Y27).",
        ),
        "exchanged": (
            lambda real, fake: softplus(real).mean(-1) + softplus(-fake).mean(-1),
            "You rewarded the opposite: data should get a D near 1, samples one near 0.",
        ),
        "what D maximises": (
            lambda real, fake: -_both(real, fake),
            "Yours has the other sign: it is the value V, which the discriminator maximises. A "
            "loss is what is minimised.",
        ),
        "halved": (
            lambda real, fake: _both(real, fake) / 2,
            "You took the mean over both batches together. The loss adds the two means.",
        ),
        "scores taken as D": (
            lambda real, fake: -real.log().mean(-1) - (1 - fake).log().mean(-1),
            "You used the scores as if they were probabilities. D is sigmoid(a).",
        ),
        "fakes only": (
            lambda real, fake: softplus(fake).mean(-1),
            "The term of the data is missing: without it D = 0 everywhere is perfect.",
        ),
    },
    clauses={
        "batches of different sizes": Clause(
            _drawn(((4,), (9,)), ((7,), (2,)), ((1,), (5,))),
            "n and m may differ. Each batch has a mean of its own, so that neither weighs more.",
            lambda real, fake: softplus(torch.cat([-real, fake], -1)).mean(-1) * 2,
        ),
        "sure scores": Clause(
            _drawn(((4,), (4,)), ((5,), (5,)), scale=400.0),
            "A score of -400 has D = 0 in floating point, and its logarithm is minus infinity. "
            "Compute from the scores: -log sigmoid(a) is softplus(-a).",
            lambda real, fake: (
                -(real.sigmoid() + 1e-12).log().mean(-1)
                - (1 - fake.sigmoid() + 1e-12).log().mean(-1)
            ),
        ),
        "several runs": Clause(
            _drawn(((3, 4), (3, 4)), ((2, 5), (2, 5)), ((2, 1, 3), (2, 1, 3))),
            "Dimensions in front are runs, each with a loss of its own: average over the last one.",
            lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        ),
    },
    hints=[
        "-log D of the data is small where D is near 1, -log(1 - D) of the samples where it is "
        "near 0. Take a mean of each and add.",
        "With D = sigmoid(a): -log D = softplus(-a), and -log(1 - D) = softplus(a).",
        "torch.nn.functional.softplus(-real).mean(dim=-1) is the first term.",
    ],
    grad=True,
)


# --- optimal_discriminator -----------------------------------------------------------------------


def _densities(seed):
    normal = _normal(seed)
    return [(normal(n).abs() + 0.05, normal(n).abs() + 0.05) for n in (4, 7, 5)]


def _counted(seed):
    g = torch.Generator().manual_seed(seed)
    p, q = torch.rand(2, 5, generator=g) + 0.05
    return [(p, q, 100, 1000), (q, p, 1, 3), (p, q, 7, 2)]


def _empty(seed):
    g = torch.Generator().manual_seed(seed)
    p, q = torch.rand(2, 6, generator=g) + 0.05
    p[:2], q[:1], q[4:] = 0, 0, 0
    return [(p, q), (torch.zeros(3), torch.zeros(3))]


exercise(
    gan.optimal_discriminator,
    cases=_densities,
    mistakes={
        "the share of samples": (
            lambda p, q, n=1, m=1: m * q / (n * p + m * q),
            "This is the probability of a sample. D is near 1 where data are.",
        ),
        "the ratio": (
            lambda p, q, n=1, m=1: n * p / (m * q),
            "This is the ratio of the two densities, which goes beyond 1. D is the share of data "
            "among all that lies there.",
        ),
        "the score": (
            lambda p, q, n=1, m=1: (n * p / (m * q)).log(),
            "This is the best score a, the logarithm of the ratio. D is its sigmoid.",
        ),
        "half too much": (
            lambda p, q, n=1, m=1: n * p / ((n * p + m * q) / 2),
            "You divided by the mean of the two densities. It is their sum: D is at most 1.",
        ),
        "squared": (
            lambda p, q, n=1, m=1: (n * p) ** 2 / ((n * p) ** 2 + (m * q) ** 2),
            "There are no squares: set the derivative of -p log D - q log(1 - D) to zero.",
        ),
    },
    clauses={
        "counted unequally": Clause(
            _counted,
            "With sums, data count n times and samples m times: weigh p by n and q by m.",
            lambda p, q, n=1, m=1: torch.where(p + q == 0, 0.5, p / (p + q)),
        ),
        "where nothing is": Clause(
            _empty,
            "Where both densities are 0 there is nothing to be right about, and the answer is ½. "
            "Where only one is 0, D is exactly 0 or 1.",
            lambda p, q, n=1, m=1: torch.nan_to_num(n * p / (n * p + m * q), nan=0.0),
        ),
    },
    hints=[
        "At one place x the loss is -n p log D - m q log(1 - D). Which D makes it smallest?",
        "The derivative is -n p / D + m q / (1 - D). Set it to zero and solve for D.",
        "torch.where chooses without dividing by zero: divide by 1 where the sum is 0.",
    ],
)


# --- generator_loss ------------------------------------------------------------------------------


def _saturating(seed):
    normal = _normal(seed)
    return [(normal(n), flag) for n in (4, 6) for flag in (True, False)]


exercise(
    gan.generator_loss,
    cases=_drawn(((4,),), ((7,),), ((5,),)),
    mistakes={
        "of the discriminator": (
            lambda fake, saturating=False: softplus(fake).mean(-1),
            "This is what the discriminator minimises. The generator wants its samples to be "
            "taken for data: D near 1.",
        ),
        "the minimax loss": (
            lambda fake, saturating=False: -softplus(fake).mean(-1),
            "This is the saturating loss, log(1 - D). Without saturating=True the other one is "
            "wanted, -log D.",
        ),
        "sign": (
            lambda fake, saturating=False: logsigmoid(fake).mean(-1),
            "Yours is log D, which the generator would make small. It should make D large.",
        ),
        "sum": (
            lambda fake, saturating=False: softplus(-fake).sum(-1),
            "You added up. Take the mean over the samples (erratum Y27).",
        ),
        "D itself": (
            lambda fake, saturating=False: (1 - fake.sigmoid()).mean(-1),
            "You left the logarithm out. Without it a sample that is surely false has no slope "
            "either.",
        ),
    },
    clauses={
        "the minimax game": Clause(
            _saturating,
            "saturating=True is the loss of the minimax game, the mean of log(1 - D): minus what "
            "the discriminator pays for samples.",
            lambda fake, saturating=False: softplus(-fake).mean(-1),
        ),
        "sure scores": Clause(
            _drawn(((4,),), ((5,),), scale=400.0),
            "A sure discriminator has scores such as -400, whose sigmoid is 0: compute from the "
            "scores. The loss is then 400, and its slope is -1.",
            lambda fake, saturating=False: (
                (1 - fake.sigmoid()).log().mean(-1)
                if saturating
                else -(fake.sigmoid() + 1e-12).log().mean(-1)
            ),
        ),
        "several runs": Clause(
            _drawn(((3, 4),), ((2, 1, 5),)),
            "Dimensions in front are runs: average over the last one only.",
            lambda fake, saturating=False: (
                -softplus(fake).mean() if saturating else softplus(-fake).mean()
            ),
        ),
    },
    hints=[
        "-log D(G(z)), with D = sigmoid(a), is softplus(-a).",
        "The other one is log(1 - D) = -softplus(a). Choose by the argument `saturating`.",
        "Both are means over the last dimension.",
    ],
    grad=["fake"],
)


# --- count_modes ---------------------------------------------------------------------------------


def _ring_samples(std=0.01, bad=3, runs=()):
    """Samples near some of the centres, and a few nowhere near one."""

    def cases(seed):
        g = torch.Generator().manual_seed(seed)
        made = []
        for n, some in ((12, 3), (20, 5), (9, 8)):
            centres = modes.ring_centres()
            where = torch.randint(some, (*runs, n), generator=g)
            x = centres[where] + 0.8 * std * torch.randn(*runs, n, 2, generator=g)
            if bad:  # between two neighbours that have no sample, or far off
                x[..., :bad, :] = 0.5 * (centres[6] + centres[7]) + 0.05
            made.append((x, centres) if std == modes.STD else (x, centres, std))
        return made

    return cases


def _on_the_edge(seed):
    g = torch.Generator().manual_seed(seed)
    centres = 4 * torch.randn(5, 3, generator=g)
    way = torch.nn.functional.normalize(torch.randn(8, 3, generator=g), dim=-1)
    factor = torch.tensor([0.5, 2.0, 2.8, 2.95, 3.05, 3.5, 0.1, 4.0])[:, None]
    return [(centres[[0, 0, 1, 2, 3, 3, 4, 4]] + 0.05 * factor * way, centres, 0.05)]


def _found(x, centres, std=0.01, radius=3.0, every=False):
    distance = torch.cdist(x, centres)
    near = distance.min(-1)
    good = near.values <= radius * std
    mask = torch.ones_like(good) if every else good
    counts = (torch.nn.functional.one_hot(near.indices, len(centres)) * mask[..., None]).sum(-2)
    return (counts > 0).sum(-1), good.double().mean(-1), counts


def _with_good(found, change):
    covered, good, counts = found
    return covered, change(good), counts


def _at_least_one(covered, good, counts):
    return covered.clamp(min=1), good, counts


exercise(
    modes.count_modes,
    cases=_ring_samples(),
    mistakes={
        "bad samples cover": (
            lambda x, centres, std=0.01: _found(x, centres, std, every=True),
            "A sample that is not good covers nothing: noise all over the plane would find every "
            "mode.",
        ),
        "one deviation": (
            lambda x, centres, std=0.01: _found(x, centres, std, radius=1.0),
            "Good samples lie within 3 std of a centre, not within one.",
        ),
        "variance": (
            lambda x, centres, std=0.01: _found(x, centres, std**2),
            "You took std for a variance, or squared it once too often.",
        ),
        "bad share": (
            lambda x, centres, std=0.01: _with_good(_found(x, centres, std), lambda g: 1 - g),
            "The second result is the share of good samples; yours is that of the others.",
        ),
        "number instead of share": (
            lambda x, centres, std=0.01: _with_good(
                _found(x, centres, std), lambda g: g * x.shape[-2]
            ),
            "The second result is a share, between 0 and 1: divide by the number of samples.",
        ),
    },
    clauses={
        "another width": Clause(
            _on_the_edge,
            "std, the number of modes and the dimension are arguments, not those of the ring.",
            lambda x, centres, std=0.01: _found(x, centres),
        ),
        "several runs": Clause(
            _ring_samples(runs=(3,)),
            "Dimensions in front are runs: each has its own modes, share and counts.",
            lambda x, centres, std=0.01: _found(x.flatten(0, -2), centres, std),
        ),
        "nothing good": Clause(
            lambda seed: [(torch.full((5, 2), 9.0), modes.ring_centres())],
            "Where no sample is good, 0 modes are covered, and the share is 0.",
            lambda x, centres, std=0.01: _at_least_one(*_found(x, centres, std)),
        ),
    },
    hints=[
        "Take the distances of all samples to all centres, (..., n, k): x.unsqueeze(-2) - centres.",
        "distance.min(dim=-1) gives the nearest centre and how far it is. Good is at most 3 std.",
        "one_hot(nearest, k), times good as a column, summed over the samples, counts the good "
        "samples of each mode. Return modes, good, counts.",
    ],
)


# --- pair_loss -----------------------------------------------------------------------------------


exercise(
    gan.pair_loss,
    cases=_drawn(((4,), (4,)), ((6,), (6,)), ((3,), (3,))),
    mistakes={
        "exchanged": (
            lambda ahead, behind: softplus(ahead - behind).mean(-1),
            "Yours is small where `behind` is ahead. The first one should come out higher.",
        ),
        "each alone": (
            lambda ahead, behind: softplus(-ahead).mean(-1) + softplus(behind).mean(-1),
            "This scores each by itself, as the discriminator's old loss does. Only the "
            "difference of a pair counts here.",
        ),
        "sum": (
            lambda ahead, behind: softplus(behind - ahead).sum(-1),
            "You added up over the pairs. Take their mean.",
        ),
        "difference of means": (
            lambda ahead, behind: softplus(behind.mean(-1) - ahead.mean(-1)),
            "You compared the two means. Compare pair by pair, then average the losses.",
        ),
        "sign": (
            lambda ahead, behind: logsigmoid(ahead - behind).mean(-1),
            "Yours is the log-probability; the loss is minus that.",
        ),
    },
    clauses={
        "sure pairs": Clause(
            _drawn(((4,), (4,)), ((5,), (5,)), scale=300.0),
            "Differences of several hundred have a sigmoid of 0: compute from the difference.",
            lambda ahead, behind: -((ahead - behind).sigmoid() + 1e-12).log().mean(-1),
        ),
        "several runs": Clause(
            _drawn(((3, 4), (3, 4)), ((2, 1, 5), (2, 1, 5))),
            "Dimensions in front are runs: average over the last one only.",
            lambda ahead, behind: softplus(behind - ahead).mean(),
        ),
    },
    hints=[
        "A sample and a datum form a pair. The loss of a pair is -log sigmoid(first - second).",
        "-log sigmoid(d) is softplus(-d), and d is ahead - behind.",
        "softplus(behind - ahead), and the mean over the last dimension.",
    ],
    grad=True,
)


# --- mean_steepness: find the fault --------------------------------------------------------------


def mean_steepness(x, W, b, v):
    """The penalty R1 of a discriminator with one hidden layer, with its slopes written out.

        ½ 1/B Σ_i ‖∇_x a(x_i)‖²,   a(x) = v · tanh(W x + b)

    Shapes: points x (B, d), weights W (h, d), b (h,) and v (h,) -> a scalar with
    gradients for the weights.
    Source: Mescheder et al. 2018, eq. 9; lecture item B65.
    """
    h = torch.tanh(x @ W.T + b)  # (B, h)
    slope = (v * (1 - h**2)) @ W  # (B, d), the gradient of each score at its own point
    return 0.5 * slope.square().sum(dim=-1).mean()


def _cancelling(x, W, b, v):
    h = torch.tanh(x @ W.T + b)  # (B, h)
    slope = (v * (1 - h**2)) @ W  # (B, d), the gradient of each score at its own point
    return 0.5 * slope.mean(dim=0).square().sum()


def _slope(x, W, b, v):
    return (v * (1 - torch.tanh(x @ W.T + b) ** 2)) @ W


def _small_critics(*sizes):
    return _drawn(*(((B, d), (h, d), (h,), (h,)) for B, d, h in sizes), scale=1.0)


exercise(
    mean_steepness,
    cases=_small_critics((5, 2, 4), (6, 3, 5), (4, 2, 3)),
    planted=_cancelling,
    symptom="Slopes that point opposite ways cancel before they are squared. A hill with the data "
    "all around it, steep on every side, costs nothing.",
    mistakes={
        "length instead of square": (
            lambda x, W, b, v: 0.5 * (_slope(x, W, b, v).square().sum(-1) + 1e-12).sqrt().mean(),
            "You average the lengths of the slopes. R1 squares them: twice as steep costs four "
            "times as much.",
        ),
        "sum over the points": (
            lambda x, W, b, v: 0.5 * _slope(x, W, b, v).square().sum(),
            "You add up over the points now. Take the mean, or the size of the batch would set "
            "the weight of the penalty.",
        ),
        "mean over the axes": (
            lambda x, W, b, v: 0.5 * _slope(x, W, b, v).square().mean(),
            "You average over the axes of the space as well. The squared length of a slope is a "
            "sum over them.",
        ),
        "half lost": (
            lambda x, W, b, v: _slope(x, W, b, v).square().sum(-1).mean(),
            "The factor ½ has gone. Only one line was wrong, and it had it.",
        ),
    },
    clauses={
        "sizes of one": Clause(
            _small_critics((1, 3, 4), (1, 1, 3)),
            "One point is a batch, too: the penalty is half its squared slope.",
            lambda x, W, b, v: (
                0.5 * _slope(x, W, b, v).square().sum(-1).sum() / max(len(x), 2)
                if len(x) == 1
                else 0.5 * _slope(x, W, b, v).square().sum(-1).mean()
            ),
        ),
    },
    hints=[
        "Give it two points, and then each of the two alone. How should the three numbers go "
        "together, if the penalty is a mean over the batch?",
        "A hill in one dimension: W = [[1.], [-1.]], b = [1., 1.], v = [1., 1.], and the points "
        "x = [[1.], [-1.]] on its two sides. The penalty cannot be 0 there.",
        "First the squared length of each slope, a sum over dim=-1; then the mean over the points.",
    ],
    grad=["W", "b", "v"],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "perfect-discriminator",
        "The discriminator is trained until it is always right, with the generator held still. "
        "What does the generator of the minimax game learn from it?",
        "c",
        "Where D is sure, log(1 - D) is flat: the mean slope is 0.40 where data and samples are 1 "
        "deviation apart, and 4.5e-6 at 10 (section 26.4).",
        choices=(
            "everything: the best teacher gives the best advice",
            "as much as from a discriminator that is often wrong",
            "next to nothing",
        ),
    ),
    Prediction(
        "what-cures-collapse",
        "A recipe that finds all eight modes has four ingredients: a loss of pairs, a penalty on "
        "steep scores, no momentum, and a rate that falls. One of them is left out. Without which "
        "one are the fewest samples good?",
        "d",
        "At a constant rate 20.6 ± 12.3 % of the samples are good, and 4 runs of 10 find all eight "
        "modes. With momentum 0.9 it is 63.2 ± 17.8 % and 5 of 10; without the penalties "
        "87.5 ± 6.1 % and 10 of 10; without pairs 90.8 ± 1.9 % and 10 of 10 (section 26.6).",
        choices=("the loss of pairs", "the penalty", "no momentum", "the falling rate"),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "wider-ring",
        question="How many modes can the recipe of section 26.6 hold? Train it on rings of 8, 16, "
        "32 and 64 Gaussians, `RingBatches(…, modes=k)`, everything else as it "
        "is, and count the modes of five runs each.",
        hand_in="the mean number of modes found on the ring of 64",
        good=(
            "A table of modes found and good samples for each ring, mean and spread of the runs.",
            "A look at the samples: are modes missing, or are there samples between neighbours?",
            "One change that raises the number, such as width, steps or penalty, tried alone.",
            "A sentence on what limits it: on the ring of 64 neighbours are 0.098 apart, ten "
            "deviations.",
        ),
        minutes=60,
        kind="number",
        unit="modes",
        between=(8, 64),
        beyond="Is `ring_centres(64)` what you count with, and are good samples those within 3 "
        "deviations?",
    ),
)
