"""An independent judge of scenes: what is in a picture, so that it can be held against a sentence.

It is trained on real pictures of all combinations, held-out ones too, and has no part in the model
that it judges: neither weights nor pictures nor loss. One thing both know: the handwriting of the
training's digits. Pictures with test digits tell how far the judge can be trusted.

    judge(x)                                     # logits of each attribute, a dict
    agreement(judge, x, table)                   # share of pictures that agree, by attribute
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.training import fit
from genai_utils.training.checkpoint import kept_random_state

from . import scenes
from .unet import Norm

SIZES = {name: len(words) for name, words in scenes.ATTRIBUTES.items()}


class Pooled(nn.Module):
    """What is seen anywhere, and what is seen where: (B, c, 8, 8) → (B, 17 c).

    The largest of all places for each channel, and the largest of each square of 2 × 2 places.
    """

    def forward(self, h):
        return torch.cat([h.amax((2, 3)), F.max_pool2d(h, 2).flatten(1)], 1)


class SceneJudge(nn.Module):
    """A convolutional classifier with a head for each attribute of a scene.

    forward(x): (B, 3, 32, 32) in [0, 1] → {"kind": (B, 18), "colour": (B, 8), …}, logits.
    loss((x, table)): the sum of the cross-entropies, in nats; what is UNSAID does not count.
    """

    def __init__(self, width=32):
        super().__init__()
        w = inputs.whole(width, "width")
        self.net = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 12, 16, 16)
            nn.Conv2d(12, w, 3, padding=1),
            Norm(w),
            nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, stride=2, padding=1),  # (B, 2w, 8, 8)
            Norm(2 * w),
            nn.ReLU(),
            nn.Conv2d(2 * w, 2 * w, 3, padding=1),
            Norm(2 * w),
            nn.ReLU(),
            Pooled(),  # (B, 34w)
            nn.Linear(34 * w, 4 * w),
            nn.ReLU(),
            nn.Linear(4 * w, sum(SIZES.values())),
        )

    def forward(self, x):
        logits = self.net(x).split(list(SIZES.values()), -1)
        return dict(zip(SIZES, logits, strict=True))

    def loss(self, batch):
        x, table = batch
        total, found = 0.0, {}
        for column, (name, logits) in enumerate(self(x).items()):
            nll = F.cross_entropy(
                logits.float(), table[:, column], ignore_index=scenes.UNSAID, reduction="sum"
            ) / len(x)  # fmt: skip
            total, found[name] = total + nll, nll
        return {"loss": total, **found}

    @torch.no_grad()
    def read(self, x, chunk=1_000):
        """What is seen in pictures: a table (B, 6), complete."""
        x = inputs.images(x, "x", scenes.SIDE, 3).to(self.net[1].weight.device)
        rows = [
            torch.stack([logits.argmax(-1) for logits in self(part).values()], 1)
            for part in x.split(chunk)
        ]
        return torch.cat(rows)


def all_agree(seen, said):
    """The share of pictures in which all is seen that was said of them, a scalar in [0, 1].

    seen, said (n, k) int64: attributes as numbers; -1 in `said` means that nothing was said of this
    one, and then anything may be seen. A picture of which nothing at all was said does not count.
    Raises ValueError where none counts. Lecture items A113, B71.
    """
    known = said != -1
    counts = known.any(1)
    if not counts.any():
        raise ValueError("said: expected something said of at least one picture, got nothing.")
    right = ((seen == said) | ~known).all(1)
    return right[counts].double().mean()


def agreement(judge, x, said):
    """The share of pictures that agree with what was said, in [0, 1], by attribute: a dict.

    x (B, 3, 32, 32); said (B, 6) int64, with UNSAID for what was left open. Each attribute counts
    the pictures of which it was said; beside them "pair", kind and colour, and "all" that was said.
    NaN where nothing was said. Raises ValueError where there is not a row for each picture.
    """
    if len(said) != len(x):
        raise inputs.refusal("said", f"a row for each of {len(x)} pictures", f"{len(said)}")
    seen = judge.read(x)
    said = said.to(seen.device)
    parts = {name: [column] for column, name in enumerate(SIZES)}
    parts |= {"pair": [scenes.KIND, scenes.COLOUR], "all": list(range(len(SIZES)))}
    return {
        name: all_agree(seen[:, columns], said[:, columns]).item()
        if (said[:, columns] != scenes.UNSAID).any()
        else float("nan")
        for name, columns in parts.items()
    }


class JudgeBatches:
    """Pictures of all combinations and what is in them, a fresh batch at each step.

    said: a row; what it says holds in all scenes, as of `scenes.draw`.
    """

    def __init__(self, batch_size, seed=1_000, device="cpu", said=None):
        self.pairs = scenes.SceneBatches(batch_size, seed, unseen=None, said=said, device=device)

    def describe(self):
        part = "" if self.pairs.said is None else f", of scenes {self.pairs.said.tolist()}"
        return f"judge, {self.pairs.batch_size} at a time, seed {self.pairs.seed}{part}"

    def __call__(self, step):
        table, x, _ = self.pairs.pairs(step)
        return x, table.to(x.device)


def train_judge(steps, batch_size=128, seed=1_000, device="cpu", width=32, said=None, **options):
    """A judge from pictures of its own seed; said as of `JudgeBatches`, the options of `fit`."""
    options = {"lr": 3e-3, "warmup": min(50, steps // 10), "clip": 1.0, "graph": True, **options}
    with kept_random_state():
        torch.manual_seed(seed)
        model = SceneJudge(width).to(device)
        return fit(
            model, JudgeBatches(batch_size, seed, device, said), steps, **options
        ).model.eval()
