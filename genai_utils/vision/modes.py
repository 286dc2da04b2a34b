"""Data whose modes can be counted: a ring of Gaussians, and stacked digits. Items A42, B65.

The ring: eight narrow Gaussians on a circle. `PointGAN` plays the game of `gan.py` on points, many
GANs at once: the weights of all runs stand in one tensor, their losses are added, and Adam moves
each weight by its own gradient, so that each run is what it would be alone. Stacked digits: one
digit in each channel of an image, every combination of classes a mode.

Sources: Metz et al. 2017; Srivastava et al. 2017; Lin et al. 2018.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.training.batches import derive_seed
from genai_utils.training.describe import fingerprint

from .gan import Rules, play, turn_of
from .image_model import drawn

# --- The ring ------------------------------------------------------------------------------------

STD = 0.01  # of each Gaussian, on a circle of radius 1


def ring_centres(modes=8, device="cpu"):
    """The centres of the ring, (modes, 2), on a circle of radius 1; the first is (1, 0)."""
    angle = 2 * math.pi * torch.arange(inputs.whole(modes, "modes"), device=device) / modes
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def ring(n, modes=8, std=STD, generator=None, device="cpu"):
    """n points (n, 2) of the ring: a centre, each as likely, and normal noise of deviation std."""
    centres = ring_centres(modes, device)
    where = torch.randint(modes, (n,), generator=generator, device=device)
    return centres[where] + std * torch.randn(n, 2, generator=generator, device=device)


def count_modes(x, centres, std=0.01):
    """Which modes samples cover, and how many samples are good.

    A sample is good if it lies within 3 std of a centre. A mode is covered if at least one good
    sample lies nearest to it.
    Shapes: samples x (..., n, d), centres (k, d) -> three tensors: how many modes are covered
    (...), the share of good samples (...), and the good samples of each mode (..., k).
    Source: Srivastava et al. 2017, section 4.1; Lin et al. 2018, section 4.1; lecture item A42.
    """
    distance = (x.unsqueeze(-2) - centres).square().sum(dim=-1).sqrt()  # (..., n, k)
    near = distance.min(dim=-1)
    good = near.values <= 3 * std  # (..., n)
    chosen = F.one_hot(near.indices, len(centres)) * good.unsqueeze(-1)
    counts = chosen.sum(dim=-2)  # (..., k)
    return (counts > 0).sum(dim=-1), good.double().mean(dim=-1), counts


# --- A digit in each channel ---------------------------------------------------------------------


class StackedBatches:
    """Random digits, one a channel: `batches(step)` is (B, channels, H, W).

    x: grey images (n, 1, H, W). Source: Metz et al. 2017, section 3.3.1 (three channels).
    """

    def __init__(self, x, batch_size, channels=3, seed=0, device="cpu"):
        self.x = inputs.images(x, "x").to(device)
        self.batch_size = inputs.whole(batch_size, "batch_size")
        self.channels = inputs.whole(channels, "channels")
        self.seed = inputs.whole(seed, "seed", least=0)
        self._generator = torch.Generator(self.x.device)

    def __repr__(self):
        return f"StackedBatches(n={len(self.x)}, {self.batch_size}, {self.channels}, {self.seed})"

    def describe(self):
        """What shapes the batches; see `fit`'s checkpoint."""
        return {"batches": repr(self), "data": fingerprint(self.x)}

    def __call__(self, step):
        self._generator.manual_seed(derive_seed(self.seed, "stacked", step))
        shape, device = (self.batch_size * self.channels,), self.x.device
        index = torch.randint(len(self.x), shape, generator=self._generator, device=device)
        images = self.x.index_select(0, index)
        return images.reshape(self.batch_size, self.channels, *self.x.shape[2:])


class Stacked(NamedTuple):
    """modes: how many kinds occur, an int. kl: D_KL(samples ‖ all kinds alike), nats."""

    modes: int
    kl: float


def count_stacks(labels, classes=10):
    """Which of the classes^c kinds of stacked images occur, and how evenly.

        KL = Σ_k s_k log(s_k K),   s_k the share of kind k among the n, K = classes^c

    Of no stacks both are 0.
    Shapes: labels (n, c), the class that a judge reads in each channel -> `Stacked`.
    Source: Metz et al. 2017, section 3.3.1; Lin et al. 2018, section 4.2; lecture item A42.
    """
    base = classes ** torch.arange(labels.shape[1], device=labels.device)
    kinds = classes ** labels.shape[1]
    counts = torch.bincount((labels * base).sum(dim=1), minlength=kinds).double()
    share = counts / max(len(labels), 1)
    kl = torch.xlogy(share, share * kinds).sum()
    return Stacked(int((share > 0).sum()), kl.item())


# --- Many GANs on points, side by side -----------------------------------------------------------


class RingBatches:
    """Fresh points of the ring for each of some runs: `batches(step)` is (runs, batch_size, 2)."""

    def __init__(self, runs, batch_size, modes=8, std=STD, seed=0, device="cpu"):
        self.runs = inputs.whole(runs, "runs")
        self.batch_size = inputs.whole(batch_size, "batch_size")
        self.modes, self.std = modes, inputs.number(std, "std", least=0)
        self.seed = inputs.whole(seed, "seed", least=0)
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device)

    def __repr__(self):
        return (
            f"RingBatches({self.runs}, {self.batch_size}, modes={self.modes}, std={self.std}, "
            f"seed={self.seed})"
        )

    def __call__(self, step):
        self._generator.manual_seed(derive_seed(self.seed, "ring", step))
        n = self.runs * self.batch_size
        points = ring(n, self.modes, self.std, self._generator, self.device)
        return points.reshape(self.runs, self.batch_size, 2)


class Layers(nn.Module):
    """As many perceptrons as there are runs: (runs, B, sizes[0]) -> (runs, B, sizes[-1]).

    Weights begin uniform in ±gain/√(inputs). With gain √6 layers of ReLUs pass on what they get at
    its size; `nn.Linear` begins with 1.
    """

    def __init__(self, runs, sizes, activation, gain=1.0):
        super().__init__()
        self.activation = activation
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(
            gain * (2 * torch.rand(runs, a, b) - 1) / math.sqrt(a) for a, b in pairs
        )
        self.biases = nn.ParameterList(torch.zeros(runs, 1, b) for _, b in pairs)

    def forward(self, x):
        last = len(self.weights) - 1
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(b, x, w)  # (runs, B, out)
            if i < last:
                x = self.activation(x)
        return x


class Scores(Layers):
    """`Layers` with one output: (runs, B, d) -> (runs, B)."""

    def forward(self, x):
        return super().forward(x).squeeze(-1)


class PointGAN(nn.Module):
    """`runs` GANs on points of the plane, trained side by side (A42, B64, B65).

    Args:
        runs: how many; each has weights of its own.
        code: numbers of the random code z ~ N(0, I).
        width, depth: units of a hidden layer, and hidden layers, of each player.
        loss, r1, r2, slope, pack: see `Rules`.
    """

    def __init__(self, runs=1, code=2, width=128, depth=2, **rules):
        super().__init__()
        self.runs, self.code = inputs.whole(runs, "runs"), inputs.whole(code, "code")
        hidden = [inputs.whole(width, "width")] * inputs.whole(depth, "depth")
        self.rules = Rules(**rules)
        self.generator = Layers(runs, [code, *hidden, 2], F.relu, gain=math.sqrt(3))
        leaky = nn.LeakyReLU(0.2)
        self.discriminator = Scores(runs, [2 * self.rules.pack, *hidden, 1], leaky, math.sqrt(6))

    def check_batch(self, batch):
        """Raises TypeError or ValueError for points or turns that do not fit."""
        x, _ = turn_of(batch)
        x = inputs.array(x, "x of this PointGAN")
        if x.dim() != 3 or len(x) != self.runs or x.shape[2] != 2:
            raise inputs.refusal(
                "x of this PointGAN", f"points ({self.runs}, B, 2)", f"{tuple(x.shape)}"
            )

    def loss(self, batch):
        """The sum over the runs; of x (runs, B, 2), or of (x, turn)."""
        x, turn = turn_of(batch)
        z = torch.randn(*x.shape[:2], self.code, device=x.device, dtype=x.dtype)
        return play(self, x, self.generator(z), turn, axis=1)

    @torch.no_grad()
    def sample(self, n, generator=None):
        """n points of each run, (runs, n, 2)."""
        weight = next(self.parameters())
        n = inputs.whole(n, "n")
        z = drawn(torch.randn, self.runs, n, self.code, like=weight, generator=generator)
        return self.generator(z)
