"""Generative adversarial networks (GANs): the game, and its two players for images.

The story of the file: what each player minimises (`discriminator_loss`, `generator_loss` and their
rivals), the answer that the best discriminator gives, the penalty that calms it, packing, the game
itself (`play`), by turns or at once (`Turns`), and a DCGAN. Lecture items A42, B62–B65. The same
game on points, where modes can be counted, is in `modes.py`.

Symbols follow the lecture: x data, z random code, G generator, D discriminator. The discriminator
network returns a score a, any real number, and D = sigmoid(a) is the probability of "real".

Sources: Goodfellow et al. 2014; Radford et al. 2016 (DCGAN); Miyato et al. 2018 (spectral
normalisation); Mescheder et al. 2018 (R1); Lin et al. 2018 (PacGAN); Jolicoeur-Martineau 2019 and
Huang et al. 2024 (pairs).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from genai_utils import data, inputs
from genai_utils.training import TensorBatches

from .image_model import ImageModel, drawn

# --- What each player makes small ----------------------------------------------------------------


def discriminator_loss(real, fake):
    """Cross-entropy of the discriminator, from its scores, in nats: what it minimises.

        L_D = 1/n Σ_i -log D(x_i) + 1/m Σ_j -log(1 - D(G(z_j))),   D = sigmoid(a)

    Means, not sums: the two batches may be of different sizes (erratum Y27). From the scores,
    since log(sigmoid(a)) underflows for a << 0. Twice log 2 where every score is 0.
    Shapes: scores a of data, real (..., n), and of samples, fake (..., m) -> (...).
    Source: Goodfellow et al. 2014, eq. 1; lecture item B62.
    """
    return F.softplus(-real).mean(dim=-1) + F.softplus(fake).mean(dim=-1)


def generator_loss(fake, saturating=False):
    """What the generator minimises, from the discriminator's scores of its samples, in nats.

        saturating:      1/m Σ_j  log(1 - D(G(z_j)))    the minimax game: -L_D, but for a constant
        non-saturating:  1/m Σ_j -log D(G(z_j))

    Both fall as D grows. Where D is sure of a sample, a << 0, the first has the slope 0 and
    the second the slope -1.
    Shapes: fake (..., m) -> (...). Source: Goodfellow et al. 2014, section 3; items B63, B65.
    """
    return -F.softplus(fake).mean(dim=-1) if saturating else F.softplus(-fake).mean(dim=-1)


def pair_loss(ahead, behind):
    """How far the first scores of pairs are from lying above the second ones, in nats.

        1/n Σ_i -log sigmoid(ahead_i - behind_i)

    The discriminator minimises it with data ahead of samples, the generator with samples ahead of
    data. Only the difference counts: no score is good or bad by itself.
    Shapes: ahead, behind (..., n), paired by place -> (...).
    Source: Jolicoeur-Martineau 2019, section 4; Huang et al. 2024, eq. 2; lecture item B65.
    """
    return F.softplus(behind - ahead).mean(dim=-1)


def _least_squares(real, fake):
    """Half the squared error to the targets 1 (data) and 0; the generator wants 1. Mao 2017."""
    discriminator = 0.5 * ((real - 1) ** 2).mean(-1) + 0.5 * (fake**2).mean(-1)
    return discriminator, 0.5 * ((fake - 1) ** 2).mean(-1)


LOSSES = {  # name -> (scores of data, scores of samples) -> (discriminator's loss, generator's)
    "minimax": lambda real, fake: (discriminator_loss(real, fake), generator_loss(fake, True)),
    "non-saturating": lambda real, fake: (discriminator_loss(real, fake), generator_loss(fake)),
    "least squares": _least_squares,
    "wasserstein": lambda real, fake: (fake.mean(-1) - real.mean(-1), -fake.mean(-1)),
    "pairs": lambda real, fake: (pair_loss(real, fake), pair_loss(fake, real)),
}


def optimal_discriminator(p, q, n=1, m=1):
    """The D that minimises L_D where data have the density p and samples the density q.

        D*(x) = n p(x) / (n p(x) + m q(x))

    n, m: how often each is counted; equal for the means of `discriminator_loss`, the sizes of the
    two batches for the slide's sums. Where both densities are 0 every answer costs nothing: ½.
    Shapes: p, q >= 0 of one shape -> that shape, in [0, 1].
    Source: Goodfellow et al. 2014, proposition 1; lecture item B62, erratum Y27.
    """
    p, q = n * p, m * q
    nowhere = (p + q) == 0
    return torch.where(nowhere, 0.5, p / torch.where(nowhere, 1.0, p + q))


# --- What calms the discriminator ----------------------------------------------------------------


def gradient_penalty(score, x, slope=0.0):
    """Half the mean squared steepness of the scores, measured from the wanted slope.

        ½ 1/B Σ_i (‖∇_x a(x_i)‖ - slope)²

    slope 0 is R1 on data and R2 on samples, slope 1 that of WGAN-GP (which takes points between
    data and samples). The result has gradients for the weights of the score, and none for x.
    Shapes: score, a function (..., B, *shape) -> (..., B); x (..., B, *shape) -> (...).
    Source: Mescheder et al. 2018, eq. 9; Gulrajani et al. 2017, eq. 3; lecture item B65.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True).clone()  # no leaf: hooks of a module may look at it
        scores = score(x)
        (g,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    square = g.square().flatten(start_dim=scores.dim()).sum(dim=-1)  # (..., B)
    if slope:
        square = ((square + 1e-12).sqrt() - slope) ** 2
    return 0.5 * square.mean(dim=-1)


def pack(x, m, axis=0):
    """m examples as one: (..., B, c, *shape) -> (..., B/m, m·c, *shape), B at `axis`.

    A discriminator that sees several samples together sees that they are all alike.
    Raises ValueError where m does not divide B. Source: Lin et al. 2018, section 2.
    """
    if x.shape[axis] % m:
        raise inputs.refusal("pack", f"a batch that {m} divides", x.shape[axis])
    return x.unflatten(axis, (-1, m)).flatten(axis + 1, axis + 2) if m > 1 else x


# --- The game ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """How a game is played.

    loss: a name of LOSSES, or a function of the kind that stands there. r1, r2: weights of the
    gradient penalty on data and on samples; slope: weight of WGAN-GP's penalty. pack: examples
    that the discriminator sees together.
    Raises ValueError for another loss, a weight below 0 or a pack below 1.
    """

    loss: str | Callable = "non-saturating"
    r1: float = 0.0
    r2: float = 0.0
    slope: float = 0.0
    pack: int = 1

    def __post_init__(self):
        if not callable(self.loss):
            inputs.one_of(self.loss, "loss", LOSSES)
        inputs.whole(self.pack, "pack")
        for name in ("r1", "r2", "slope"):
            inputs.number(getattr(self, name), name, least=0)


TURNS = ("both", "discriminator", "generator")


def turn_of(batch):
    """The data and whose turn it is: of x, both; of (x, "discriminator") or (x, "generator")."""
    x, turn = batch if isinstance(batch, (tuple, list)) else (batch, "both")
    return x, inputs.one_of(turn, "turn", TURNS)


def play(model, real, fake, turn="both", axis=0):
    """Both players' losses on data and samples, as the dict that `fit` takes.

    model: has `generator`, `discriminator` and `rules`. Each player's loss is computed with the
    other held still: the discriminator's on samples without a gradient, the generator's with the
    weights of D as constants. So one backward pass of their sum gives each the gradient of its own.
    turn: "both" at once, or the one whose turn it is. axis: where the batch stands. Places between
    data and samples, for `slope`, are drawn by the global generator.
    """
    rules, D = model.rules, model.discriminator
    real, made, fake = (pack(x, rules.pack, axis) for x in (real, fake.detach(), fake))
    loss, out = LOSSES.get(rules.loss, rules.loss), {}
    scores = D(real)
    if turn != "generator":
        out["discriminator"] = loss(scores, D(made))[0].sum()
        penalties = [
            weight * gradient_penalty(D, x).sum()
            for weight, x in ((rules.r1, real), (rules.r2, made))
            if weight
        ]
        if rules.slope:
            each = (*real.shape[: axis + 1], *[1] * (real.dim() - axis - 1))
            share = torch.rand(each, device=real.device, dtype=real.dtype)
            between = share * real + (1 - share) * made
            penalties.append(rules.slope * gradient_penalty(D, between, slope=1.0).sum())
        if penalties:
            out["penalty"] = sum(penalties)
    if turn != "discriminator":
        still = {name: p.detach() for name, p in D.named_parameters()}
        out["generator"] = loss(scores.detach(), functional_call(D, still, fake))[1].sum()
    return {"loss": sum(out.values()), **out}


class Turns:
    """Batches for a game by turns: `discriminator` steps of the one, then `generator` of the other.

    batches: a function of the step, as `fit` takes it. 1 and 1 is alternating play, 100 and 100
    nearly "train the other to convergence" (item B64).
    """

    def __init__(self, batches, discriminator=1, generator=1):
        self.batches = batches
        self.discriminator = inputs.whole(discriminator, "discriminator")
        self.generator = inputs.whole(generator, "generator")

    def __repr__(self):
        return f"Turns({self.batches!r}, {self.discriminator}, {self.generator})"

    def describe(self):
        """What shapes the batches; see `fit`'s checkpoint."""
        inner = getattr(self.batches, "describe", lambda: repr(self.batches))()
        return {"turns": (self.discriminator, self.generator), "batches": inner}

    def __call__(self, step):
        first = step % (self.discriminator + self.generator) < self.discriminator
        return self.batches(step), "discriminator" if first else "generator"


def two_rates(model, lr=2e-4, ratio=1.0, betas=(0.0, 0.99)):
    """Adam with a group for each player; the discriminator's rate is `ratio` times the generator's.

    betas: GANs are trained with little momentum, since each gradient chases a moving target.
    """
    groups = [
        {"params": list(model.generator.parameters()), "lr": lr},
        {"params": list(model.discriminator.parameters()), "lr": lr * ratio},
    ]
    return torch.optim.Adam(groups, betas=betas, eps=1e-8)


# --- Two players for images ----------------------------------------------------------------------


def image_generator(code, width, size, channels):
    """Code (B, code) -> (B, C, size, size), through two doublings; logits of the pixels."""
    quarter = size // 4
    return nn.Sequential(
        nn.Linear(code, 2 * width * quarter**2, bias=False),
        nn.Unflatten(1, (2 * width, quarter, quarter)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
    )


def image_discriminator(width, size, channels, spectral=False):
    """Image (B, C, size, size) -> score (B,), through two halvings; no normalisation of batches.

    spectral: divide each weight by its largest singular value (Miyato et al. 2018).
    """
    norm = spectral_norm if spectral else (lambda layer: layer)
    quarter = size // 4
    return nn.Sequential(
        norm(nn.Conv2d(channels, width, 4, stride=2, padding=1)),  # (B, w, size/2, size/2)
        nn.LeakyReLU(0.2),
        norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),  # (B, 2w, size/4, size/4)
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        norm(nn.Linear(2 * width * quarter**2, 1)),
        nn.Flatten(0),
    )


class GAN(ImageModel):
    """A DCGAN: transposed convolutions against convolutions (A42, B62–B65).

    Args:
        size, channels: of the images; the side is a multiple of 4.
        code: numbers of the random code z ~ N(0, I).
        width: channels of the widest-but-one layer of each player.
        spectral: spectral normalisation of the discriminator.
        loss, r1, r2, slope, pack: see `Rules`.
    """

    def __init__(self, size=28, code=64, width=64, channels=1, spectral=False, **rules):
        super().__init__(size, channels)
        if size % 4:
            raise inputs.refusal("size", "a multiple of 4, since it is halved twice", f"{size}")
        self.code, width = inputs.whole(code, "code"), inputs.whole(width, "width")
        self.rules = Rules(**rules)
        self.generator = image_generator(code, width, size, channels)
        self.discriminator = image_discriminator(width, size, channels * self.rules.pack, spectral)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for images or turns that do not fit, values included."""
        x, _ = turn_of(batch)
        self.images(x)

    def loss(self, batch):
        """Of x, both players at once; of (x, "discriminator") or (x, "generator"), one of them."""
        x, turn = turn_of(batch)
        x = self.images(x, values=False)
        z = torch.randn(len(x), self.code, device=x.device, dtype=x.dtype)
        return play(self, x, self.decode(z), turn)

    def decode(self, z):
        """G(z): codes (B, code) -> images (B, C, size, size) in [0, 1]."""
        return torch.sigmoid(self.generator(z))

    @torch.no_grad()
    def sample(self, n, y=None, generator=None):
        """n new images (n, C, H, W) in [0, 1], G of codes from N(0, I)."""
        self.kinds(inputs.whole(n, "n"), y, generator)
        weight = next(self.parameters())
        z = drawn(torch.randn, n, self.code, like=weight, generator=generator, dtype=weight.dtype)
        return torch.cat([self.decode(part) for part in z.split(1_000)])


def recipe():
    """What `python -m genai_utils.train gan` trains: the main model of chapter 26 on MNIST."""
    batches = TensorBatches(data.mnist("train").x, batch_size=128)
    model = GAN()
    options = {"steps": 5_500, "optimizer": two_rates(model, 5e-4), "ema": 0.999, "graph": True}
    return model, batches, options
