"""Exercises of notebook 30_scoreboard: grey levels, ranks, a measure to order, a thief, a clock."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import budgets, grey_pixels, scoreboard

NOTEBOOK = "30_scoreboard"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- levels_log_prob -----------------------------------------------------------------------------


def _grey(seed, sizes=((3, 4, 5, 8), (5, 3, 4, 4), (4, 5, 2, 16)), scale=2.0):
    g = _generator(seed)
    cases = []
    for B, H, W, L in sizes:
        x = torch.randint(L, (B, 1, H, W), generator=g) / (L - 1)
        cases.append((x, scale * torch.randn(B, 1, H, W, L, generator=g)))
    return cases


def _level(x, logits):
    return (x * (logits.shape[-1] - 1)).round().long()[..., None]


def _log_p(x, logits, normed):
    return normed.gather(-1, _level(x, logits)).flatten(1).sum(1)


exercise(
    grey_pixels.levels_log_prob,
    cases=_grey,
    mistakes={
        "not normalised": (
            lambda x, a: _log_p(x, a, a),
            "You add the numbers of the network themselves. They become log-probabilities by "
            "log_softmax over the levels.",
        ),
        "mean over the pixels": (
            lambda x, a: _log_p(x, a, a.log_softmax(-1)) / x[0].numel(),
            "You took the mean over the pixels. An image's probability is a product over its "
            "pixels, so the logarithms are summed.",
        ),
        "sum over the batch": (
            lambda x, a: _log_p(x, a, a.log_softmax(-1)).sum(),
            "You summed over the batch, too. Each image has its own number.",
        ),
        "the loss": (
            lambda x, a: -_log_p(x, a, a.log_softmax(-1)),
            "The sign is turned: this is the loss, -log P(x).",
        ),
        "bits": (
            lambda x, a: _log_p(x, a, a.log_softmax(-1)) / torch.tensor(2.0).log(),
            "That is in bits. Nats are asked for: no division by log 2.",
        ),
        "probabilities": (
            lambda x, a: _log_p(x, a, a.softmax(-1)),
            "You add probabilities. Add their logarithms.",
        ),
        "the likeliest level": (
            lambda x, a: a.log_softmax(-1).amax(-1).flatten(1).sum(1),
            "You take the likeliest level of each pixel, whatever the image says. Take that of x.",
        ),
        "times L": (
            lambda x, logits: (
                logits.log_softmax(-1)
                .gather(
                    -1,
                    (x * logits.shape[-1])
                    .round()
                    .long()
                    .clamp(max=logits.shape[-1] - 1)[..., None],
                )
                .flatten(1)
                .sum(1)
            ),
            "The largest of L levels is L - 1: multiply x by L - 1 to get the level.",
        ),
    },
    clauses={
        "levels that are not met exactly": Clause(
            lambda seed: [(x * 0.9999, a) for x, a in _grey(seed)],
            "Three sevenths times seven is 2.9999… in floating point, and becomes 2 if the rest is "
            "cut off. Round to the nearest level.",
            lambda x, a: (
                a.log_softmax(-1)
                .gather(-1, (x * (a.shape[-1] - 1) + 1e-4).long()[..., None])
                .flatten(1)
                .sum(1)
            ),
        ),
        "large numbers": Clause(
            lambda seed: _grey(seed, scale=200.0),
            "Numbers of some hundreds give infinity or NaN in yours. log_softmax takes the largest "
            "off before it exponentiates.",
            lambda x, a: _log_p(x, a, a - a.exp().sum(-1, keepdim=True).log()),
        ),
    },
    hints=[
        "Which level is a pixel? (x * (L - 1)).round().long(), a whole number for each.",
        "log_p = logits.log_softmax(-1); gather(-1, level[..., None]) picks that of the level.",
        ".flatten(1).sum(1): one number for each image.",
    ],
    grad=["logits"],
)


# --- rank_range ----------------------------------------------------------------------------------


def _results(seed, sizes=((6, 3), (7, 4), (9, 2), (8, 3)), ties=False):
    g = _generator(seed)
    cases = []
    for E, S in sizes:
        place = torch.randperm(E, generator=g).double()
        values = place[:, None] + 1.6 * torch.rand(E, S, generator=g).double()
        by, far = torch.arange(S).double(), (torch.arange(S) > 0).double()
        values[0], values[1] = 40 + 9 * far, 41  # the best seed is ahead, the mean is not
        values[2], values[3] = 60 + by, 60.5 + by  # ahead seed by seed, and not decided
        values[:4] += 0.1 * torch.rand(4, S, generator=g)
        if ties:
            values = torch.arange(E).double()[:, None] + torch.arange(S).double() / (S - 1)
        cases.append((values,))
    return cases


def _ranked(ahead):
    return torch.stack([1 + ahead.sum(0), len(ahead) - ahead.sum(1)], 1)


def _by(score):
    return (score[:, None] < score).sum(0) + 1


exercise(
    scoreboard.rank_range,
    cases=_results,
    mistakes={
        "the order of the means": (
            lambda v: torch.stack([_by(v.mean(1)), _by(v.mean(1))], 1),
            "You rank the means: that is one order, as if the seeds agreed. Where two entrants "
            "overlap, both ranks are possible.",
        ),
        "larger is better": (
            lambda v: scoreboard.rank_range(-v),
            "Your order is turned round. Smaller is better: the smallest values come first. "
            "Are the axes of your two sums exchanged?",
        ),
        "best seed against best seed": (
            lambda v: _ranked(v.amin(1)[:, None] < v.amin(1)),
            "You compare the best seeds. Ahead is who is better with the worst seed than the other "
            "with the best.",
        ),
        "seed by seed": (
            lambda v: _ranked((v[:, None] < v).all(-1)),
            "You compare seed 0 with seed 0, and so on. The seeds of two entrants are not pairs: "
            "every value has to be smaller than every other.",
        ),
        "from 0": (
            lambda v: scoreboard.rank_range(v) - 1,
            "Ranks begin at 1.",
        ),
        "worst and best": (
            lambda v: scoreboard.rank_range(v).flip(1),
            "The columns are exchanged: first the best rank, then the worst.",
        ),
        "those behind": (
            lambda v: torch.stack(
                [scoreboard.rank_range(v)[:, 0], 1 + len(v) - scoreboard.rank_range(v)[:, 1]], 1
            ),
            "Your second column counts those that are behind i. The worst rank is E less their "
            "number.",
        ),
        "worst rank from 0": (
            lambda values: _ranked(values.amax(1)[:, None] < values.amin(1)) - torch.tensor([0, 1]),
            "Your worst rank is one too small: who is ahead of nobody has the rank E.",
        ),
    },
    clauses={
        "equal values": Clause(
            lambda seed: _results(seed, ties=True),
            "Where the worst value of one is equal to the best of another, neither is ahead.",
            lambda v: _ranked((v.amax(1)[:, None] <= v.amin(1)) & ~torch.eye(len(v)).bool()),
        ),
        "one seed": Clause(
            lambda seed: _results(seed, sizes=((5, 1), (7, 1))),
            "With one seed each, every order is decided: best and worst rank are the same.",
            lambda v: (
                scoreboard.rank_range(v)
                if v.shape[1] > 1
                else torch.tensor([[1, len(v)]]).repeat(len(v), 1)
            ),
        ),
    },
    hints=[
        "worst = values.amax(1), best = values.amin(1): i is ahead of j if worst[i] < best[j].",
        "All pairs at once: ahead = worst[:, None] < best, (E, E).",
        "How many are ahead of i: ahead.sum(0). How many i is ahead of: ahead.sum(1).",
    ],
)


# --- puts_first ----------------------------------------------------------------------------------


def _measured(seed, tie=False, missing=False, others=False):
    g = _generator(seed)
    cases = []
    for M, E in ((8, 5), (10, 4), (9, 6)):
        values = torch.rand(M, E, generator=g)
        larger = torch.arange(M) % 2 == 0
        who = int(torch.randint(E, (), generator=g))
        top = torch.where(larger, 2.0, -1.0)
        values[:4, who] = top[:4]  # first under four of them, and last under two more
        values[4:6, who] = 1 - top[4:6]
        if tie:
            values[:2, (who + 1) % E] = top[:2]
        if missing:
            values[1:3, who] = torch.nan
        if others:
            values[:2, (who + 1) % E] = torch.nan
        cases.append((values, larger, who))
    return cases


def _first(values, larger, who, how):
    score = torch.where(larger[:, None], values, -values)
    return how(score, score[:, who], torch.cat([score[:, :who], score[:, who + 1 :]], 1))


def _filled(rest):
    return rest.nan_to_num(nan=-torch.inf).amax(1)


exercise(
    scoreboard.puts_first,
    cases=_measured,
    mistakes={
        "always the largest": (
            lambda values, larger, who: _first(
                values, larger | True, who, lambda s, mine, rest: mine > _filled(rest)
            ),
            "You take the largest everywhere. Where `larger` is False, the smallest is the best.",
        ),
        "always the smallest": (
            lambda values, larger, who: _first(
                values, larger & False, who, lambda s, mine, rest: mine > _filled(rest)
            ),
            "You take the smallest everywhere. Where `larger` is True, the largest is the best.",
        ),
        "last": (
            lambda values, larger, who: _first(
                values, ~larger, who, lambda s, mine, rest: mine > _filled(rest)
            ),
            "You found the measures that put it last.",
        ),
        "against itself": (
            lambda values, larger, who: _first(
                values, larger, who, lambda s, mine, rest: mine > s.amax(1)
            ),
            "Nobody is larger than the largest of all, itself included. Leave its own column out.",
        ),
        "better than the mean": (
            lambda values, larger, who: _first(
                values, larger, who, lambda s, mine, rest: mine > rest.nanmean(1)
            ),
            "Better than the mean of the others is not first: it has to beat the best of them.",
        ),
        "who is first": (
            lambda values, larger, who: _first(
                values, larger, who, lambda s, mine, rest: s.nan_to_num(nan=-torch.inf).argmax(1)
            ),
            "You return who is first. Return whether it is `who`: True or False.",
        ),
    },
    clauses={
        "a shared first place": Clause(
            lambda seed: _measured(seed, tie=True),
            "Who shares the first place is not strictly first.",
            lambda values, larger, who: _first(
                values, larger, who, lambda s, mine, rest: mine >= _filled(rest)
            ),
        ),
        "not measured": Clause(
            lambda seed: _measured(seed, missing=True),
            "A value of NaN was not measured: who has none is not first.",
            lambda values, larger, who: (
                scoreboard.puts_first(values, larger, who) | values[:, who].isnan()
            ),
        ),
        "others not measured": Clause(
            lambda seed: _measured(seed, others=True),
            "An other entrant that was not measured is passed over; the rest are still compared.",
            lambda values, larger, who: (
                scoreboard.puts_first(values, larger, who) & ~values.isnan().any(1)
            ),
        ),
    },
    hints=[
        "Make larger always better first: score = torch.where(larger[:, None], values, -values).",
        "Then compare score[:, who] with the largest of the other columns.",
        "NaN in the others: nan_to_num(nan=-torch.inf). A comparison with NaN is False by itself.",
    ],
)


# --- crossed -------------------------------------------------------------------------------------


def _halves(seed, row=(2, 3, 1)):
    g = _generator(seed)
    cases = []
    for (N, C, H, W), n, r in zip(((5, 1, 6, 7), (6, 3, 5, 4), (7, 2, 4, 5)), (3, 4, 9), row,
                                  strict=True):  # fmt: skip
        images = torch.rand(N, C, H, W, generator=g)
        upper, lower = torch.randint(N, (2, n), generator=g)
        lower = torch.where(lower == upper, (lower + 1) % N, lower)
        cases.append((images, upper, lower, r if isinstance(r, int) else r(H)))
    return cases


exercise(
    scoreboard.crossed,
    cases=_halves,
    mistakes={
        "exchanged": (
            lambda images, upper, lower, row: scoreboard.crossed(images, lower, upper, row),
            "The two are exchanged: the rows above come from images[upper].",
        ),
        "left and right": (
            lambda images, upper, lower, row: torch.cat(
                [images[upper, ..., :row], images[lower, ..., row:]], 3
            ),
            "You cut columns. The last axis is the width; rows are the axis before it.",
        ),
        "the mean": (
            lambda images, upper, lower, row: (images[upper] + images[lower]) / 2,
            "That is the mean of both images. Cut them.",
        ),
        "one row too many": (
            lambda images, upper, lower, row: scoreboard.crossed(images, upper, lower, row + 1),
            "Row number `row` belongs to the lower part: the upper part has rows 0 … row - 1.",
        ),
        "the first images": (
            lambda images, upper, lower, row: scoreboard.crossed(
                images, torch.arange(len(upper)) % len(images), lower, row
            ),
            "You take the upper parts in order. upper says which image each comes from.",
        ),
        "only one image": (
            lambda images, upper, lower, row: images[upper],
            "The lower part is that of images[upper], too.",
        ),
    },
    clauses={
        "nothing above": Clause(
            lambda seed: _halves(seed, row=(0, 0, 0)),
            "With row = 0 nothing comes from above: the result is images[lower].",
            lambda images, upper, lower, row: (
                scoreboard.crossed(images, upper, lower, row) if row else images[upper]
            ),
        ),
        "nothing below": Clause(
            lambda seed: _halves(seed, row=(lambda H: H,) * 3),
            "With row = H nothing comes from below: the result is images[upper].",
            lambda images, upper, lower, row: (
                scoreboard.crossed(images, upper, lower, row)
                if row < images.shape[2]
                else images[lower]
            ),
        ),
    },
    hints=[
        "images[upper] has the shape (n, C, H, W); its first rows are images[upper][:, :, :row].",
        "The same for the lower part, from row on.",
        "torch.cat([…, …], 2) puts rows below rows.",
    ],
)


# --- steps_in: find the fault --------------------------------------------------------------------


def _through_the_start(seconds, done, clock):
    pace = clock[-1] / done[-1]
    return max(1, int(done[1] + (seconds - clock[1]) / pace))


def _readings(seed, seconds=(40.0, 90.0, 25.0)):
    g = _generator(seed)
    cases = []
    for total, k in zip(seconds, (3, 4, 5), strict=True):
        a, b, c = (0.5 + 0.5 * torch.rand(3, generator=g)).tolist()
        done = [0, *(8 * (i + 1) for i in range(k - 1))]
        clock = [0.05 * a] + [0.4 + b + 0.6 * c + 0.01 * (8 + c) * i * i * 0.2 + 0.11 * i * c
                              for i in range(k - 1)]  # fmt: skip
        cases.append((total, torch.tensor(done), torch.tensor(clock, dtype=torch.float64)))
    return cases


def _pace(clock, done, first=1):
    return (clock[-1] - clock[first]) / (done[-1] - done[first])


exercise(
    budgets.steps_in,
    cases=_readings,
    planted=_through_the_start,
    symptom="All trainings still end long before their seconds are over, and the longer a model "
    "takes to start, the earlier it ends.",
    mistakes={
        "from the first reading": (
            lambda seconds, done, clock: max(
                1, int(done[1] + (seconds - clock[1]) / _pace(clock, done, 0))
            ),
            "Your pace still holds the first stretch, from reading 0 to reading 1, in which "
            "kernels are loaded.",
        ),
        "the start for nothing": (
            lambda seconds, done, clock: max(1, int(seconds / _pace(clock, done))),
            "The pace is right. But the start is not for nothing: the first done_1 steps took "
            "clock_1 seconds, and the rest of the seconds is for the rest of the steps.",
        ),
        "the start counted twice": (
            lambda seconds, done, clock: max(1, int((seconds - clock[1]) / _pace(clock, done))),
            "The pace is right. The first done_1 steps are steps, too: add them.",
        ),
        "steps per second": (
            lambda seconds, done, clock: max(
                1, int(done[1] + (seconds - clock[1]) * _pace(clock, done))
            ),
            "The pace is in seconds for a step: the seconds are divided by it.",
        ),
        "last stretch only": (
            lambda seconds, done, clock: max(
                1,
                int(
                    done[1] + (seconds - clock[1]) * (done[-1] - done[-2]) / (clock[-1] - clock[-2])
                ),
            ),
            "The pace is over all readings from 1 to the last: one stretch alone is measured less "
            "exactly.",
        ),
        "not rounded": (
            lambda seconds, done, clock: max(
                1.0, float(done[1] + (seconds - clock[1]) / _pace(clock, done))
            ),
            "A training has a whole number of steps: round down.",
        ),
    },
    clauses={
        "no time at all": Clause(
            lambda seed: _readings(seed, seconds=(0.001, 0.002, 0.003)),
            "Where the seconds are over before the first step, there is one step all the same: a "
            "training has at least one.",
            lambda seconds, done, clock: int(done[1] + (seconds - clock[1]) / _pace(clock, done)),
        ),
    },
    hints=[
        "Try it on a clock of which you know the truth: 10 seconds until the first reading, then "
        "one second for each step.",
        "Which of the readings stand in the pace? What does the docstring leave out of it?",
        "The pace is a difference of two readings of the clock over a difference of two of `done`; "
        "neither of them is reading 0.",
    ],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "board-first",
        "Eight generators get the same 40 seconds of training on a processor. Whose samples lie "
        "nearest to real digits, by the mean Fréchet distance of three seeds?",
        "c",
        "The PixelCNN leads at equal seconds, with 10.8 ± 1.1 times the floor. The GAN has "
        "15.1 ± 3.8, and three seeds do not tell the two apart; MaskGIT has 17.5 ± 2.8, the VAE "
        "22.3, the diffusion model 25.9, the autoencoder 26.1 (section 30.5).",
        choices=(
            "the diffusion model's: the slide gives it the best quality",
            "the autoencoder's or the VAE's: their steps cost least",
            "the PixelCNN's or MaskGIT's: they choose among a few levels or tokens",
            "the GAN's: the slide calls it sharp and coherent",
        ),
    ),
    Prediction(
        "worst-first",
        "Of the nine measures of the Scorecard, how many put independent random pixels strictly "
        "first of all ten entrants?",
        2.0,
        "Sharpness, which takes noise for edges, and the distance to the nearest training digit, "
        "if it is read as originality; at both budgets (section 30.8).",
        unit="measures",
        within=0.5,
    ),
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "where-orders-cross",
        question="With few seconds one generator is ahead, with many another. Where do they cross? "
        "Choose two entrants whose order differs between two budgets, train both at four or more "
        "budgets of seconds between and beyond, three seeds each, and find the seconds at which "
        "their Fréchet distances are equal.",
        hand_in="the seconds of training at which the two are equal, on your machine",
        good=(
            "Both curves of the distance over the seconds, on logarithmic axes, with all seeds.",
            "A region and no point: from where to where the seeds do not decide.",
            "The real seconds of each training, not those that were planned.",
            "The same crossing in steps, and in operations: which of the three would hold on "
            "another machine?",
        ),
        minutes=90,
        kind="number",
        unit="s",
        between=(0.5, 20_000),
        beyond="Do the curves really cross there, or is one of them ahead at all budgets?",
    ),
)
