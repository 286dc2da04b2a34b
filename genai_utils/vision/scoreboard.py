"""The scoreboard: all image generators on one data set, by one judge, at equal budgets. Item A41.

    python -m genai_utils.vision.scoreboard --out runs/board --budget seconds --seconds 60
    python -m genai_utils.vision.scoreboard --out runs/board --budget parameters

One row is an entrant, a seed and a budget: trained by `play`, sampled, and scored by chapter 19's
`Scorecard`, whose floor is that of real digits against as many others. Each row has a folder of its
own in --out, named by a digest of all that shapes it: the same command goes on where it was killed,
in the middle of a training, too. Seconds become steps by a stretch that is timed; a training whose
pace then changed is planned and trained anew (`within`). What differs between two entrants is said
by the measures; what the seeds allow to say, by `rank_range` and `leaning`.

Limits: one data set of small grey images, small models, one judge, the learning rates of the
chapters. What holds here need not hold for photographs, or after a thousand times the training.

Sources: the measures are those of `evaluation`; ranks that hold under all seeds: a permutation
argument, Fisher 1935.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from genai_utils import data, inputs
from genai_utils.evaluation import Scorecard
from genai_utils.printing import say

from .board_rows import LEAST, key_of, play, score, trained
from .budgets import Budget, grey_levels, keep
from .entrants import ENTRANTS

LARGER = {  # measure -> whether more of it is better; None: neither
    "Fréchet / floor": False, "precision": True, "recall": True, "recognised": True,
    "classes": True, "sharpness": True, "diversity": True, "nearest": None, "copies": False,
    "ms per image": False, "ms per step": False, "seconds": False, "weights": False,
}  # fmt: skip
TRIES = 3  # trainings of a row at most, where its seconds are held within a share of the budget's

# --- What may be said of an order ----------------------------------------------------------------


def rank_range(values):
    """The best and the worst rank that each entrant could have, as far as the seeds decide.

    Entrant i is ahead of entrant j if every value of i is smaller than every value of j. With three
    seeds each, equal entrants come apart like that once in ten times; with one seed always.

        best = 1 + how many are ahead of i,   worst = E - how many i is ahead of

    Shapes: values (E, S), smaller is better -> (E, 2) int64. Lecture item A41.
    """
    ahead = values.amax(1)[:, None] < values.amin(1)  # (E, E): row i is ahead of column j
    best = 1 + ahead.sum(0)
    worst = len(values) - ahead.sum(1)
    return torch.stack([best, worst], 1)


def puts_first(values, larger, who):
    """Which measures put one entrant strictly first.

    Shapes: values (M, E) of M measures; larger (M,), whether more of it is better; who, the number
    of the entrant -> (M,) of bools. Who shares the first place is not first, and where its value is
    NaN, not measured, neither. Others that were not measured are passed over.
    """
    score = torch.where(larger[:, None], values, -values)
    rest = score.nan_to_num(nan=-torch.inf)
    rest[:, who] = -torch.inf
    return score[:, who] > rest.amax(1)


def crossed(images, upper, lower, row):
    """A generator that learns nothing: the upper part of one image, the lower part of another.

    Rows 0 … row - 1 come from images[upper], the others from images[lower]. row = 0 and row = H
    give back images as they are: copies.
    Shapes: images (N, C, H, W), upper and lower (n,), numbers of images -> (n, C, H, W).
    """
    return torch.cat([images[upper, :, :row], images[lower, :, row:]], 2)


def leaning(values, who, larger):
    """Whether an entrant has more of a measure than the others: 1, or less: -1, or undecided: 0.

    It is held against the median of the others, seed by seed: all seeds have to agree.
    Shapes: values (E, S); who, its number; larger, whether more of it is meant -> a whole number.
    """
    others = torch.cat([values[:who], values[who + 1 :]]).median(0).values  # (S,)
    side = torch.sign(values[who] - others) * (1 if larger else -1)
    return int(side[0]) if (side == side[0]).all() else 0


# --- All rows ------------------------------------------------------------------------------------


def grey_digits(load=data.mnist, n=None, aside=5_000):
    """Training and test images of `LEVELS` levels; the last `aside` training images are left out.

    load: `data.mnist` or `data.digits`. n: so many training images at most. Settings may be chosen
    on those left out. Returns (train, test), each (N, 1, H, W).
    """
    train, test = load("train").x, load("test").x
    rest = len(train) - min(aside, len(train) // 5)
    return grey_levels(train[: rest if n is None else min(n, rest)]), grey_levels(test)


def departure(row, budget):
    """How far a row's training came from the seconds of its budget, as a share of them.

        |seconds that it took - seconds of the budget| / seconds of the budget

    0 where seconds are not what ended it: under a budget of steps, with as many steps as `most`
    allows, or where nothing was trained.
    """
    full = budget.most is not None and row.steps >= 0.99 * budget.most  # shares of it are rounded
    if budget.seconds is None or row.steps == 0 or full:
        return 0.0
    return abs(row.seconds / budget.seconds - 1)


def _plan_anew(folder, factor):
    """Clear a row's folder, and leave there the plan of a training `factor` times as long."""
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    folder.mkdir()
    plan = [max(1, round(factor * steps)) for steps in plan]
    keep(folder / "plan.json", json.dumps(plan).encode())


def board(
    images, card, budget, seeds=(0, 1, 2), n=500, entrants=None, tell=None, within=None, **options
):
    """All rows of one budget: a dict from entrant to its list of scores, a dict for each seed.

    entrants: a list of names and `Entrant`s; None: all of `ENTRANTS`. tell: called with a line for
    each row. within: a row whose `departure` is larger, since the machine's pace changed after the
    timed stretch, is trained anew, up to `TRIES` trainings in all, of which the last one counts,
    and again at the next call. With a folder it is planned by the pace of the training before.
    None: each stands as it is. options: further ones of `play`. Each score holds its row as "row".
    Raises ValueError for n above what the card can judge, and as `play`.
    """
    if inputs.whole(n, "n", least=LEAST) > card.n:
        raise inputs.refusal("n", f"at most {card.n}, which this card judges", n)
    cut = os.environ.get("GENAI_ESTIMATE") == "1"  # of cut trainings the seconds say nothing
    held = None if within is None or cut else inputs.number(within, "within", above=0)
    found = {}
    for entrant in list(ENTRANTS) if entrants is None else entrants:
        for seed in seeds:
            for tries_left in reversed(range(TRIES)):
                row = play(entrant, images, budget, seed, n, **options)
                if held is None or departure(row, budget) <= held or not tries_left:
                    break
                if row.folder:
                    _plan_anew(Path(row.folder), budget.seconds / row.seconds)
            numbers = score(row, card)
            found.setdefault(row.entrant, []).append({**numbers, "row": row})
            if tell is not None:
                tell(
                    f"{row.entrant}, seed {seed}: {row.weights:,} weights, {row.steps:,} steps, "
                    f"{row.seconds:.1f} s, Fréchet / floor {numbers['Fréchet / floor']:.2f}"
                )
    return found


def values_of(found, measure):
    """A measure of a board, (E, S), in the order of its entrants."""
    return torch.tensor([[one[measure] for one in scores] for scores in found.values()],
                        dtype=torch.float64)  # fmt: skip


def main(argv=None):
    """The command line; see the head of this file. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.vision.scoreboard", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", required=True, help="folder of the rows")
    parser.add_argument("--budget", required=True, choices=("seconds", "parameters"))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each training (60)")
    parser.add_argument("--weights", type=int, default=63_000, help="of each model (63,000)")
    parser.add_argument("--steps", type=int, default=1_000, help="at equal parameters (1,000)")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 (3)")
    parser.add_argument("--entrants", nargs="+", metavar="NAME", help="these only")
    parser.add_argument("--images", type=int, default=1_000, help="drawn by each (1,000)")
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--within", type=float, default=0.1, metavar="SHARE",
                        help="train anew what departs further from its seconds (0.1)")  # fmt: skip
    parser.add_argument("--size", type=int, default=16, choices=(16, 28), help="of MNIST (16)")
    asked = parser.parse_args(argv)
    try:
        if asked.budget == "seconds":
            budget = Budget(seconds=asked.seconds)
        else:
            budget = Budget(steps=asked.steps, weights=asked.weights)
        load = data.digits if asked.data == "digits" else partial(data.mnist, size=asked.size)
        train, test = grey_digits(load)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        card = Scorecard((train, test), n=asked.images, device=device)
        seeds = range(inputs.whole(asked.seeds, "--seeds"))
        found = board(
            train, card, budget, seeds, asked.images, asked.entrants, say, asked.within,
            folder=asked.out, device=device,
        )  # fmt: skip
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        say(f"scoreboard: {error}", sys.stderr)
        return 1
    say(f"\n{card.judge}; {asked.images:,} images; {budget}")
    values = values_of(found, "Fréchet / floor")
    for (name, scores), ranks in zip(found.items(), rank_range(values).tolist(), strict=True):
        numbers = "  ".join(f"{one['Fréchet / floor']:8.2f}" for one in scores)
        say(f"{name:16}{numbers}   rank {ranks[0]}–{ranks[1]}")
    plain = {name: [{k: v for k, v in one.items() if k != "row"} for one in scores]
             for name, scores in found.items()}  # fmt: skip
    report = {"budget": asdict(budget), "judge": str(card.judge), "images": asked.images}
    out = inputs.path(asked.out, "--out") / f"board-{asked.budget}.json"
    keep(out, json.dumps({**report, "board": plain}, ensure_ascii=False).encode())
    return 0


__all__ = [
    "ENTRANTS", "LARGER", "Budget", "board", "crossed", "departure", "grey_digits", "key_of",
    "leaning", "main", "play", "puts_first", "rank_range", "score", "trained", "values_of",
]  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
