"""All rulers of chapter 19 for samples of images, by one judge, beside what real images get.

    card = Scorecard((train, test))       # once for a data set; train and test as `data` gives them
    scores = card.of(model.sample(5000))  # once for a model
    print(scores)                         # or course.table(scores.rows())

What a number means depends on the data, the judge and n. So each stands beside the same number for
real images that nobody generated: held-out ones, as many, by the same judge.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from genai_utils.data import used
from genai_utils.evaluation.distances import (
    diversity,
    frechet_distance,
    nearest_distance,
    precision_recall,
)
from genai_utils.evaluation.images import sharpness
from genai_utils.evaluation.inputs import as_images
from genai_utils.evaluation.judge import load_judge
from genai_utils.inputs import refusal, whole

DRAWS = 10  # random halves, and random splits of the held-out images
MOST = 2_000  # images whose distances to each other are looked at: the time is quadratic
SEARCHED = 500  # images whose nearest training image is searched for
LEAST = 8  # images: halves of them have a third nearest neighbour
SURE = 0.9  # probability from which on an image counts as recognised

MEASURES = {
    "frechet": "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "recognised": "recognised",
    "classes": "classes",
    "sharpness": "sharpness",
    "diversity": "diversity",
    "nearest": "nearest training image",
    "copies": "copies",
}


class Measure(NamedTuple):
    """A measure of the images, and of as many real ones: each value with its standard error."""

    value: float
    spread: float
    real: float
    real_spread: float


@dataclass(frozen=True)
class Scores:
    """What `Scorecard.of` found: measures by name; `scores["frechet"].real` is the floor.

    n: images of each set. judge: who judged them, in a line.
    """

    n: int
    judge: str
    measures: dict[str, Measure]

    def __getitem__(self, name):
        return self.measures[name]

    def rows(self):
        """Dicts of strings, one a measure, as `course.table` takes them."""
        return [
            {
                "measure": MEASURES[name],
                "images": f"{_short(m.value)} ± {_short(m.spread)}",
                "real": f"{_short(m.real)} ± {_short(m.real_spread)}",
            }
            for name, m in self.measures.items()
        ]

    def __str__(self):
        lines = [["measure", "images", "real"], *(list(row.values()) for row in self.rows())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        pairs = (zip(line, widths, strict=True) for line in lines)
        body = ["  ".join(text.ljust(width) for text, width in pair).rstrip() for pair in pairs]
        return "\n".join([f"{self.n:,} images; {self.judge}", *body])


class Seen(NamedTuple):
    """Images as the measures need them, row by row the same ones."""

    x: torch.Tensor  # (n, C, H, W)
    features: torch.Tensor  # (n, 64)
    label: torch.Tensor  # (n,), the likeliest class
    sure: torch.Tensor  # (n,), whether it is recognised

    def at(self, index):
        """Some of the images."""
        return Seen(*(part[index] for part in self))


class Scorecard:
    """One judge and one call, `of(images)`, for all measures of chapter 19.

    data: (train, test), each images (N, H, W) or (N, 1, H, W) in [0, 1], or what `data.mnist` and
        `data.digits` return. They must be of the kind that is generated: black and white ones,
        binarised once, for a model of black-and-white images.
    digits: which digits they are, see `load_judge`; None: those that were loaded, `data.used()`.
    n: images of each set, at most; half of the test images is the limit, so that as many are left
        for the floor. MNIST's 10,000 allow the 5,000 of the book's recipe.

    What is used for what. The training images are only searched for copies. The test images, which
    neither the model nor the judge should have learned from, are the real ones: a random n of them
    are the reference, and the values of real images come from test images that are not in it.

    Raises ValueError for sides that no judge of the package reads (8, 16 and 28 to 32 have one),
    for fewer than 16 test images, for train and test of different shapes, and for test images that
    are flat, all alike or copies of training images.
    Source of the measures: `frechet_distance` and its like; lecture items A39 to A41.
    """

    def __init__(self, data, digits=None, *, n=5_000, seed=0, device="cpu"):
        try:
            train, test = (getattr(part, "x", part) for part in data)
        except (TypeError, ValueError):
            raise refusal("data", "a pair, (train, test)", type(data).__name__) from None
        self.train, self.test = (as_images(x, name, dtype=torch.float32)
                                 for x, name in ((train, "train"), (test, "test")))  # fmt: skip
        if self.train.shape[1:] != self.test.shape[1:]:
            shapes = tuple(self.train.shape[1:]), tuple(self.test.shape[1:])
            raise refusal("test", f"images of train's shape, {shapes[0]}", shapes[1])
        if len(self.test) < 2 * LEAST:
            raise refusal("test", f"at least {2 * LEAST} images", len(self.test))
        self.judge = load_judge(self.test.shape[-1], used() if digits is None else digits, device)
        self.n = min(whole(n, "n", least=LEAST), len(self.test) // 2)
        self.seed = whole(seed, "seed", least=0)

        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self.test), generator=generator)
        self._held_out = self._look(self.test[order])
        self._near = self._distance(self._held_out.x)  # (≤ 500,)
        self._sharpness = sharpness(self.test)
        self._diversity = diversity(self._held_out.features[:MOST])
        for scale in (self._near.median(), self._sharpness, self._diversity):
            if not scale > 0:
                raise refusal(
                    "test", "images that are not flat, not all alike and not those of train",
                    "others", "nothing can be measured relative to them",
                )  # fmt: skip
        self._floors = {}

    def of(self, images):
        """Score images (N, H, W) or (N, 1, H, W) in [0, 1]; returns `Scores`.

        N ≥ 8; of more than n, a random n are taken. Each measure is a `Measure`:

        - frechet: Fréchet distance of the features from n test images, squared feature units; its
          floor is that of n test images from n others.
        - precision, recall: shares by balls to the third nearest neighbour; at most 2,000 images.
        - recognised: share of images of which the judge is 90 % sure.
        - classes: exp of the entropy of the classes among these: 10 where all are as frequent, 1
          where there is but one, 0 where none is recognised.
        - sharpness, diversity: relative to test images (at most 2,000 for diversity).
        - nearest: median distance in pixels to the nearest training image, relative to that of test
          images: 0 for copies, about 1 for honest samples; at most 500 images.
        - copies: share of images as near to a training image as the nearest 1 % of the test images
          are; about 0.01 for honest samples.

        The value is that of all n. Its spread is the standard deviation over 10 random halves of
        images and reference, drawn without repeats: an estimate of the standard error of the value
        (on the large side for a Fréchet distance near its floor, which falls as 1/n). A bootstrap
        would repeat images, and a repeated image has a ball of no size. The value of real
        images is the mean over 10 random splits of the test images, and its spread their standard
        deviation. The same images and seed give the same numbers; torch's global generator stays.

        Raises ValueError for other sizes than the data's, values outside [0, 1], too few images.
        Source: half-samples: McCarthy 1969; Wu 1986.
        """
        x = as_images(images, dtype=torch.float32)
        if x.shape[1:] != self.test.shape[1:]:
            expected = f"images of the data's shape (N, {', '.join(map(str, self.test.shape[1:]))})"
            raise refusal("images", expected, tuple(x.shape))
        if len(x) < LEAST:
            raise refusal("images", f"at least {LEAST} of them", len(x))
        generator = torch.Generator().manual_seed(self.seed)
        n = min(len(x), self.n)
        seen = self._look(x[torch.randperm(len(x), generator=generator)[:n]])
        near = self._distance(seen.x)
        real = self._held_out.at(slice(n))
        of_all = self._measures(real, seen, near)
        halves = []
        for _ in range(DRAWS):
            one, two, some = (_half(part, generator) for part in (n, n, len(near)))
            halves.append(self._measures(real.at(one), seen.at(two), near[some], MOST // 2))
        floor = self._floor(n)
        measures = {
            name: Measure(value, _mean_and_spread(halves, name)[1], *floor[name])
            for name, value in of_all.items()
        }
        return Scores(n, str(self.judge), measures)

    def _look(self, x):
        best = self.judge.logits(x).softmax(1).max(1)
        return Seen(x, self.judge.features(x), best.indices, best.values >= SURE)

    def _distance(self, x):
        return nearest_distance(x[:SEARCHED], self.train)

    def _measures(self, real, seen, near, most=MOST):
        pr = precision_recall(real.features[:most], seen.features[:most])
        counts = torch.bincount(seen.label[seen.sure]).double()
        share = counts / counts.sum().clamp(min=1)
        return {
            "frechet": frechet_distance(real.features, seen.features),
            "precision": pr.precision,
            "recall": pr.recall,
            "recognised": seen.sure.double().mean().item(),
            "classes": (-torch.xlogy(share, share).sum()).exp().item() * bool(seen.sure.any()),
            "sharpness": sharpness(seen.x) / self._sharpness,
            "diversity": diversity(seen.features[:most]) / self._diversity,
            "nearest": (near.median() / self._near.median()).item(),
            "copies": (near <= self._near.quantile(0.01)).double().mean().item(),
        }

    def _floor(self, n):
        """What n real images get against n others: name -> mean and deviation over the splits."""
        if n not in self._floors:
            generator = torch.Generator().manual_seed(self.seed)
            splits = []
            for _ in range(DRAWS):
                order = torch.randperm(len(self.test), generator=generator)
                one, two = self._held_out.at(order[:n]), self._held_out.at(order[n : 2 * n])
                near = self._near[_half(len(self._near), generator)]
                splits.append(self._measures(one, two, near))
            self._floors[n] = {name: _mean_and_spread(splits, name) for name in MEASURES}
        return self._floors[n]


def _half(n, generator):
    # In order, so that the first half of a half is one of the first MOST images.
    return torch.randperm(n, generator=generator)[: (n + 1) // 2].sort().values


def _mean_and_spread(found, name):
    values = torch.tensor([each[name] for each in found], dtype=torch.float64)
    return values.mean().item(), values.std().item()


def _short(value):
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
