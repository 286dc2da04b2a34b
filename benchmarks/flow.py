"""Is our Glow the one of normflows, and which of the two is quicker?

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.flow [--store]                        # do they agree?
    python -m benchmarks --only flow-train flow-draw           # which is quicker?

agree: both flows get the same weights; log p of the same real images must be the same, or the
benchmark stops. --store writes what normflows gave to `flow_normflows.json`, which a test of CI
holds our numbers against without normflows. Speed: log p and its gradient of a batch, and decoding
a batch of codes, again with the same weights and the same results.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import json
import math
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from benchmarks.compare import Race, Row
from genai_utils.vision.flow import flow_log_prob
from genai_utils.vision.glow import Glow

STORED = Path(__file__).with_name("flow_normflows.json")
SMALL = {"size": 8, "depth": 3, "width": 6, "blocks": 1, "noise": "uniform"}  # what is stored
CHAPTER = {"size": 28, "depth": 8, "width": 24, "blocks": 1, "noise": "uniform"}


def numbered(model):
    """Give each weight a number that any machine makes: sines, small; matrices stay invertible."""
    count = 0
    with torch.no_grad():
        for name, weight in model.named_parameters():
            places = torch.arange(count, count + weight.numel(), dtype=torch.float64)
            values = 0.2 * torch.sin(1.7 * places + 0.3).reshape(weight.shape)
            if name.endswith("matrix"):
                values += torch.eye(len(weight))
            weight.copy_(values)
            count += weight.numel()
    return model


def images(n, size):
    """Real images (n, 1, size, size) that any machine makes."""
    places = torch.arange(n * size * size, dtype=torch.float64)
    return 2 * torch.cos(0.37 * places**1.1).reshape(n, 1, size, size)


class Parameters(nn.Module):
    """Our network, answering as normflows asks: shift and scale in turn, for the way back."""

    def __init__(self, coupling):
        super().__init__()
        self.coupling = coupling

    def forward(self, a):
        s, t = self.coupling.parameters_for(a, None)
        return torch.stack([-t * (-s).exp(), -s], dim=2).flatten(1, 2)


def in_normflows(model):
    """The same flow, of normflows' parts."""
    import normflows as nf

    levels, priors, side = [], [], model.size
    for i, cascade in enumerate(model.scales):
        side //= 2
        blocks = []
        for norm, conv, coupling in zip(*(cascade.layers[k::3] for k in range(3)), strict=True):
            n = len(norm.shift)
            theirs = nf.flows.ActNorm((n, 1, 1))
            theirs.s.data = -norm.log_scale.detach().reshape(1, n, 1, 1)
            theirs.t.data = (-norm.shift * (-norm.log_scale).exp()).detach().reshape(1, n, 1, 1)
            theirs.data_dep_init_done = torch.tensor(1.0)
            mix = nf.flows.Invertible1x1Conv(n)
            mix.W.data = conv.matrix.detach()
            affine = nf.flows.AffineCouplingBlock(Parameters(coupling))
            block = nf.flows.GlowBlock(n, 1, use_lu=False)
            block.flows = nn.ModuleList([affine, mix, theirs])
            blocks = [block, *blocks]  # theirs goes from code to image
        levels.insert(0, [*blocks, nf.flows.Squeeze()])
        last = i == len(model.scales) - 1
        shape = (n if last else n // 2, side, side)
        priors.insert(0, nf.distributions.DiagGaussian(shape, trainable=False))
    merges = [nf.flows.Merge() for _ in priors[1:]]
    return nf.MultiscaleFlow(priors, levels, merges, class_cond=False).to(
        next(model.parameters()).dtype
    )


def race(kind, quick):
    """Training or drawing, a batch of 32, or 16."""
    torch.manual_seed(0)
    ours, batch = Glow(**CHAPTER), 16 if quick else 32
    theirs = in_normflows(ours)
    if kind == "train":
        y = torch.randn(batch, 1, 28, 28)

        def step(model, log_prob):
            model.zero_grad()
            loss = -log_prob(y).mean()
            loss.backward()
            return loss.item()

        return Race(
            lambda turn: partial(step, ours, lambda y: flow_log_prob(*ours.flow(y))),
            lambda turn: partial(step, theirs, lambda y: theirs.log_prob(y, None)),
            batch,
            float,
        )
    code = torch.randn(batch, 784)
    parts, at, shapes = [], 0, [tuple(q.shape) for q in theirs.q0]
    for shape in reversed(shapes):  # our code begins with what leaves first
        parts.insert(0, code[:, at : at + math.prod(shape)].reshape(-1, *shape))
        at += math.prod(shape)
    return Race(
        lambda turn: torch.no_grad()(lambda: ours.decode(code)),
        lambda turn: torch.no_grad()(lambda: theirs.forward_and_log_det(parts)[0]),
        batch,
        lambda images: images.std(),
    )


ROWS = [
    Row(f"flow-{kind}", "25_flow", f"Glow, two scales of 8 steps, {what}", "normflows", "images/s",
        partial(race, kind), measure, slack=1e-4, small="batch of 16")
    for kind, what, measure in (
        ("train", "a training step", "-log p (nats)"), ("draw", "drawing", "spread of the images"),
    )
]  # fmt: skip


def main():
    """Print the agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true")
    arguments = parser.parse_args()
    version = metadata.version("normflows")
    ours = numbered(Glow(**SMALL).double())
    theirs = in_normflows(ours)
    x = images(4, SMALL["size"])
    with torch.no_grad():
        mine, found = flow_log_prob(*ours.flow(x)), theirs.log_prob(x, None)
    print(f"log p: ours {mine.tolist()}, normflows {version} {found.tolist()}")
    if not torch.allclose(mine, found, rtol=1e-9):
        raise SystemExit("The two do not agree.")
    if arguments.store:
        row = {"normflows": version, "torch": torch.__version__, "model": SMALL, "images": 4}
        STORED.write_text(json.dumps({**row, "log_prob": found.tolist()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
