"""The scoreboard: all image generators on one data set, by one judge, at equal budgets. Item A41.

    python -m genai_utils.vision.scoreboard --out runs/board --budget seconds --seconds 60
    python -m genai_utils.vision.scoreboard --out runs/board --budget parameters

One row is an entrant, a seed and a budget: trained by `play`, sampled, and scored by chapter 19's
`Scorecard`, whose floor is that of real digits against as many others. Each row has a folder of its
own in --out, named by a digest of all that shapes it: the same command goes on where it was killed,
in the middle of a training, too. What differs between two entrants is said by the measures; what
the seeds allow to say, by `rank_range` and `leaning`.

Limits: one data set of small grey images, small models, one judge, the learning rates of the
chapters. What holds here need not hold for photographs, or after a thousand times the training.

Sources: the measures are those of `evaluation`; ranks that hold under all seeds: a permutation
argument, Fisher 1935.
"""

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch

from genai_utils import data, inputs
from genai_utils.evaluation import Scorecard
from genai_utils.printing import say
from genai_utils.training import load_model, save_model
from genai_utils.training.batches import derive_seed
from genai_utils.training.describe import describe, fingerprint

from .budgets import LEVELS, Budget, Trainer, grey_levels, keep, weights_of
from .entrants import ENTRANTS

LEAST = 8  # images, so that the judge can take halves of them
LARGER = {  # measure -> whether more of it is better; None: neither
    "Fréchet / floor": False, "precision": True, "recall": True, "recognised": True,
    "classes": True, "sharpness": True, "diversity": True, "nearest": None, "copies": False,
    "ms per image": False, "ms per step": False, "seconds": False, "weights": False,
}  # fmt: skip

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


# --- One row -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What became of one entrant under one seed and budget; `images` (n, 1, H, W) of its levels."""

    entrant: str
    seed: int
    budget: str
    rate: float
    width: int
    weights: int
    steps: int
    seconds: float
    ms_per_step: float
    ms_per_image: float
    calls: int
    folder: str
    images: torch.Tensor


def key_of(entrant, images, budget, seed, n, rate):
    """A digest of all that shapes a row: the entrant with its code, the data, the budget, n, …"""
    said = describe({"entrant": entrant, "budget": budget, "seed": seed, "n": n, "rate": rate})
    code = sorted({f.__module__ for f in (entrant.build, entrant.train, entrant.sample)})
    files = [sys.modules[name].__file__ for name in code if name.startswith("genai_utils.")]
    content = [Path(file).read_text(encoding="utf-8") for file in files]
    text = json.dumps([said, fingerprint(images), content], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def play(entrant, images, budget, seed=0, n=500, folder=None, device="cpu", rate=1.0):
    """Train an entrant within a budget, draw n images, keep both. Returns a `Row`.

    entrant: an `Entrant`, or the name of one of `ENTRANTS`. images: (N, 1, H, W) of grey levels, to
    learn from. folder: where rows are kept; a row that is there is read, a training that was
    killed goes on. None: nothing is kept. rate: multiplies the learning rates.

    Raises ValueError for a name that is none, n below 8, and samples of another shape, outside
    [0, 1] or not finite: the message names the entrant.
    """
    if isinstance(entrant, str):
        entrant = ENTRANTS[inputs.one_of(entrant, "entrant", ENTRANTS)]
    images = grey_levels(inputs.images(images, "images"))
    n, size = inputs.whole(n, "n", least=LEAST), images.shape[-1]
    own = None
    if folder is not None:
        name = entrant.name.replace(" ", "-")
        key = key_of(entrant, images, budget, seed, n, rate)
        own = inputs.path(folder, "folder") / f"{name}-{seed}-{key}"
        if (own / "row.json").exists():
            return read(own)
    trainer = Trainer(images, budget, seed, own, device, rate)
    width = entrant.width_for(size, budget)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "weights"))
        model = entrant.build(size, width)
        model = entrant.train(model, trainer).eval()
        torch.manual_seed(derive_seed(seed, "samples"))
        generator = torch.Generator().manual_seed(derive_seed(seed, "draws"))
        entrant.sample(model, LEAST, generator)  # what is slow at first only is not counted
        began = time.perf_counter()
        with torch.no_grad():
            x = entrant.sample(model, n, generator)
            x = x.cpu() if torch.is_tensor(x) else x  # waits for a card
        drawing = time.perf_counter() - began
    x = grey_levels(_checked(x, entrant, n, images.shape[1:]))
    row = Row(
        entrant.name, seed, str(budget), rate, width, weights_of(model), trainer.steps,
        trainer.seconds, 1e3 * trainer.seconds / max(1, trainer.steps), 1e3 * drawing / n,
        entrant.calls(model), "" if own is None else str(own), x,
    )  # fmt: skip
    if own is not None:
        _write(own, row, model)
    return row


def _checked(x, entrant, n, shape):
    """Samples as they should be, or a ValueError that names the entrant."""
    name = f"samples of {entrant.name!r}"
    x = inputs.images(x, name, shape[-1], shape[0])
    if len(x) != n:
        raise inputs.refusal(name, f"{n} images", len(x))
    return x.float()


def _write(folder, row, model):
    """Keep a row: weights, samples, and last the numbers, which say that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.safetensors")
    level = (row.images * (LEVELS - 1)).round().to(torch.uint8)
    keep(folder / "samples.safetensors", safetensors.torch.save({"level": level}))
    numbers = {k: v for k, v in row.__dict__.items() if k not in ("images", "folder")}
    keep(folder / "row.json", json.dumps(numbers).encode())


def read(folder):
    """The row that a folder holds."""
    numbers = json.loads((folder / "row.json").read_text(encoding="utf-8"))
    level = safetensors.torch.load_file(folder / "samples.safetensors")["level"]
    return Row(**numbers, folder=str(folder), images=level.float() / (LEVELS - 1))


def trained(row, entrants=ENTRANTS):
    """The model of a row that was kept, ready to sample."""
    entrant = entrants[inputs.one_of(row.entrant, "entrant", entrants)]
    model = entrant.build(row.images.shape[-1], row.width)
    return load_model(model, Path(row.folder) / "model.safetensors").eval()


# --- All rows ------------------------------------------------------------------------------------


def score(row, card):
    """The measures of a row, a dict of `LARGER`'s names, by a `Scorecard`; kept beside the row."""
    kept = None
    if row.folder:
        by = fingerprint(card.test) + f"{card.judge} {card.n} {card.seed}"
        by = hashlib.blake2b(by.encode(), digest_size=6).hexdigest()
        kept = Path(row.folder) / f"scores-{by}.json"
        if kept.exists():
            return json.loads(kept.read_text(encoding="utf-8"))
    found = card.of(row.images)
    numbers = {name: measure.value for name, measure in found.measures.items()}
    frechet = found["frechet"]
    numbers["Fréchet / floor"] = frechet.value / frechet.real
    numbers |= {"ms per image": row.ms_per_image, "ms per step": row.ms_per_step,
                "seconds": row.seconds, "weights": row.weights}  # fmt: skip
    if kept is not None:
        keep(kept, json.dumps(numbers).encode())
    return numbers


def grey_digits(load=data.mnist, n=None, aside=5_000):
    """Training and test images of `LEVELS` levels; the last `aside` training images are left out.

    load: `data.mnist` or `data.digits`. n: so many training images at most. Settings may be chosen
    on those left out. Returns (train, test), each (N, 1, H, W).
    """
    train, test = load("train").x, load("test").x
    rest = len(train) - min(aside, len(train) // 5)
    return grey_levels(train[: rest if n is None else min(n, rest)]), grey_levels(test)


def board(images, card, budget, seeds=(0, 1, 2), n=500, entrants=None, tell=None, **options):
    """All rows of one budget: a dict from entrant to its list of scores, a dict for each seed.

    entrants: a list of names and `Entrant`s; None: all of `ENTRANTS`. tell: called with a line for
    each row. options: further ones of `play`. Each score holds its row as "row".
    Raises ValueError for n above what the card can judge, and as `play`.
    """
    if inputs.whole(n, "n", least=LEAST) > card.n:
        raise inputs.refusal("n", f"at most {card.n}, which this card judges", n)
    found = {}
    for entrant in list(ENTRANTS) if entrants is None else entrants:
        for seed in seeds:
            row = play(entrant, images, budget, seed, n, **options)
            numbers = score(row, card)
            found.setdefault(row.entrant, []).append({**numbers, "row": row})
            if tell is not None:
                tell(f"{row.entrant}, seed {seed}: {row.weights:,} weights, {row.steps:,} steps, "
                     f"{row.seconds:.1f} s, Fréchet / floor {numbers['Fréchet / floor']:.2f}")  # fmt: skip
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
    asked = parser.parse_args(argv)
    try:
        if asked.budget == "seconds":
            budget = Budget(seconds=asked.seconds)
        else:
            budget = Budget(steps=asked.steps, weights=asked.weights)
        train, test = grey_digits(getattr(data, asked.data))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        card = Scorecard((train, test), n=asked.images, device=device)
        found = board(train, card, budget, range(inputs.whole(asked.seeds, "--seeds")),
                      asked.images, asked.entrants, say, folder=asked.out, device=device)  # fmt: skip
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


if __name__ == "__main__":
    sys.exit(main())
