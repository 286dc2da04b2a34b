"""Tangent Prop: a classifier that may not change along tangent vectors. Lecture items A75, A83.

`transformation_tangents` are tangent vectors that we know by name. `tangent_prop_penalty` is the
definition of the penalty; `change_along` estimates it with one forward-mode pass, however many
tangent vectors there are; `Classifiers` trains several networks side by side, one for each seed
and each weight of the penalty, so that a comparison costs one run.

Sources: Simard et al. 1992; Rifai et al. 2011b (learned tangents).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import jvp

from genai_utils import inputs

# --- Known tangent vectors: move an image by a formula -------------------------------------------


def moved(x, right=0.0, down=0.0, angle=0.0, zoom=1.0):
    """Images shifted (pixels), turned (degrees) and zoomed, bilinear: (B, 1, H, H) -> same shape.

    Each setting is a number or a tensor (B,). What comes in from outside is black.
    """
    x = inputs.images(x, "x", values=False)
    if not (inputs.array(zoom, "zoom") > 0).all():
        raise inputs.refusal("zoom", "numbers above 0", f"{zoom}")
    settings = (torch.as_tensor(t, dtype=x.dtype, device=x.device) for t in (angle, right, down))
    angle, right, down = (t.expand(len(x)) for t in settings)
    cos, sin = torch.cos(angle.deg2rad()) / zoom, torch.sin(angle.deg2rad()) / zoom
    to = 2 / x.shape[-1]  # grid coordinates run from -1 to 1
    tx, ty = -(cos * right + sin * down) * to, -(cos * down - sin * right) * to
    theta = torch.stack([cos, sin, tx, -sin, cos, ty], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def transformation_tangents(x, step=0.5):
    """Unit tangent vectors of four known moves, by central differences.

        t = ∂s(x, α)/∂α ≈ (s(x, ε) - s(x, -ε)) / (2 ε),   s(x, α): x moved by α

    The moves: one pixel to the right, one down, one turn, one zoom; `step` is the largest way
    of a pixel, in pixels. Shapes: x (B, 1, H, H) -> (B, 4, H²), rows of length 1; rows of zeros
    where a move changes nothing, as with an image of one grey.
    Source: Simard et al. 1992; lecture items A75, A83.
    """
    x, step = inputs.images(x, "x", values=False), inputs.number(step, "step", above=0)
    turn = math.degrees(step / (x.shape[-1] / 2))
    grow = 1 + step / (x.shape[-1] / 2)
    pairs = [
        (moved(x, right=step), moved(x, right=-step)),
        (moved(x, down=step), moved(x, down=-step)),
        (moved(x, angle=turn), moved(x, angle=-turn)),
        (moved(x, zoom=grow), moved(x, zoom=1 / grow)),
    ]
    return F.normalize(torch.stack([(a - b).flatten(1) for a, b in pairs], dim=1), dim=-1)


# --- The penalty, and the classifier -------------------------------------------------------------


def tangent_prop_penalty(J, v):
    """How much a classifier changes along tangent vectors, squared; mean over the examples.

        Ω = 1/B Σ_i Σ_j ‖J_i v_ij‖²,   J_i = ∂f/∂x at x_i

    A tangent of zeros, as a blank image has, adds 0 and has the gradient 0.
    Shapes: J (B, classes, d), v (B, m, d) -> a scalar.
    Source: Simard et al. 1992; lecture item A83, erratum N17.
    """
    return torch.einsum("bcd,bmd->bmc", J, v).square().sum(dim=(1, 2)).mean()


def random_direction(v):
    """Σ_j ±v_j with one random sign for each tangent: v (..., m, d) -> (..., d)."""
    signs = torch.randint(0, 2, v.shape[:-1], device=v.device) * 2.0 - 1
    return (signs[..., None] * v).sum(dim=-2)


def change_along(f, x, direction):
    """f(x), and ‖J u‖² of each example along its direction u, by one forward-mode pass.

    With u = Σ_j ±v_j its mean over the signs is Σ_j ‖J v_j‖²: the mixed terms cancel.
    Shapes: x, direction (..., d) -> f(x) (..., classes), (...).
    """
    out, change = jvp(f, (x,), (direction,))
    return out, change.square().sum(dim=-1)


class Classifiers(nn.Module):
    """S multilayer perceptrons trained side by side, each on its own labelled set.

    Args:
        weights: the penalty's weight of each network; there are N of them.
        widths: numbers of units from the input to the classes.

    `loss((x, y, v))` takes x (B, S, d), y (B, S) and tangents v (B, S, m, d) of S labelled sets,
    where S divides N: network i learns from set i modulo S. The loss is the sum over the
    networks, so that none feels the others.
    """

    def __init__(self, weights, widths=(784, 256, 128, 10)):
        super().__init__()
        weights = inputs.array(weights, "weights", torch.float32)
        if weights.dim() != 1 or not (weights >= 0).all():
            raise inputs.refusal("weights", "a list of numbers >= 0", f"{weights.tolist()}")
        for width in widths:
            inputs.whole(width, "widths")
        self.register_buffer("weights", weights)
        self.penalised = bool(weights.any())
        self.W, self.b = nn.ParameterList(), nn.ParameterList()
        for i, o in zip(widths[:-1], widths[1:], strict=True):
            bound = math.sqrt(6 / i)  # He: keeps the size of the activations through ReLUs
            self.W.append((2 * torch.rand(len(weights), i, o) - 1) * bound)
            self.b.append(torch.zeros(len(weights), 1, o))

    def forward(self, x):
        """Logits of every network: x (N, B, d), or (B, d) for all of them -> (N, B, classes)."""
        h = x if x.dim() == 3 else x.expand(len(self.weights), *x.shape)
        for W, b in zip(self.W[:-1], self.b[:-1], strict=True):
            h = F.softplus(torch.baddbmm(b, h, W), beta=5)
        return torch.baddbmm(self.b[-1], h, self.W[-1])

    def loss(self, batch):
        """Cross-entropy and weighted penalty, summed over the networks."""
        x, y, v = (t.transpose(0, 1) for t in batch)  # sets first: (S, B, ...)
        sets, networks = len(x), len(self.weights)
        if networks % sets:
            expected = f"a number of labelled sets that divides the {networks} networks"
            raise inputs.refusal("batch", expected, f"{sets}")
        x, y = (torch.cat([t] * (networks // sets)) for t in (x, y))  # (N, B, ...)
        if self.penalised:
            direction = torch.cat([random_direction(v)] * (networks // sets))
            logits, changes = change_along(self, x, direction)  # (N, B, classes), (N, B)
        else:
            logits, changes = self(x), x.new_zeros(x.shape[:2])
        nats = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
        nats = nats.reshape(y.shape).mean(dim=1)  # (S,)
        penalty = changes.mean(dim=1)
        loss = (nats + self.weights * penalty).sum()
        return {"loss": loss, "nats": nats.mean(), "penalty": penalty.mean()}

    @torch.no_grad()
    def errors(self, x, y):
        """Share of wrong answers of each network on the same images: x (n, d), y (n,) -> (S,)."""
        answers = torch.cat([self(part).argmax(dim=-1) for part in x.split(2_000)], dim=1)
        return (answers != y).float().mean(dim=1)
