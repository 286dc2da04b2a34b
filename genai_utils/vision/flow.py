"""Normalizing flows: an invertible generator, whose likelihood is exact. Lecture items A93–A98.

The story of the file: the change of variables (`flow_log_prob`), the three layers of a step of Glow
and what each does to a volume (`ActNorm`, `InvertibleLinear`, `Coupling`), their cascade, and a
flow of vectors. Each layer is a module with

    c, log_det = layer(x, context)     # one way: g⁻¹ and log|det J(g⁻¹)|, (B,)
    x = layer.inverse(c, context)      # back: g

and takes vectors (B, C) as well as images (B, C, H, W): a vector is an image of one place. So a
matrix on the entries of a vector and a 1×1 convolution are one layer. Images have more to them:
`vision/glow.py`. All log-probabilities are in nats, one number per example.

Symbols follow the lecture: x data, c code, c ~ N(0, I), x = g(c), W the matrix of a 1×1
convolution.

Sources: Dinh, Sohl-Dickstein & Bengio 2017 (affine coupling); Kingma & Dhariwal 2018 (Glow).
"""

import math

import torch
from torch import nn

from genai_utils import inputs

from .image_model import drawn

BOUND = 2.0  # a coupling layer stretches by at most e² = 7.4: deep cascades stay calm

# --- The mathematics ---------------------------------------------------------------------------


def flow_log_prob(c, log_det):
    """log P(x) of each example by the change of variables, in nats.

        log P(x) = log N(c; 0, I) + log|det J(g⁻¹)(x)|,   c = g⁻¹(x)
        log N(c; 0, I) = -½ Σ_j (c_j² + log 2π)

    Each example has a determinant of its own. A log_det of -inf gives -inf.
    Shapes: c (B, ...), log_det (B,) -> (B,).
    Source: Dinh et al. 2017, eq. 2; lecture item A93, erratum N22.
    """
    return -0.5 * (c**2 + math.log(2 * math.pi)).flatten(1).sum(dim=1) + log_det


def conv1x1(x, weight):
    """A 1×1 convolution: one matrix for the channels of each place, and what it does to volumes.

        c[b, :, h, w] = W x[b, :, h, w],   log|det J| = H·W·log|det W|

    The Jacobian holds H·W copies of W on its diagonal. Vectors (B, C) have one place. det W may be
    negative. Its power may leave what floating point can hold: det(½ I) to the power 64² is 0, and
    its logarithm is finite. So slogdet, and a product.
    Shapes: x (B, C, H, W) or (B, C), weight (C, C) -> c as x, log|det J| (B,), in nats.
    Source: Kingma & Dhariwal 2018, eqs. 9, 10; lecture item A95, erratum N21.
    """
    c = torch.einsum("ij,bj...->bi...", weight, x)
    places = x[0, 0].numel()
    log_det = places * torch.linalg.slogdet(weight).logabsdet
    return c, log_det.expand(len(x))


def affine(x, log_scale, shift):
    """Stretch and shift each number by amounts of its own; the volume grows by all stretches.

        c = x·exp(s) + t,   log|det J| = Σ s,   s = log_scale, t = shift

    s may be any real number: no stretch is zero or negative, so the way back always exists.
    Shapes: x, log_scale, shift (B, ...) -> c (B, ...), log|det J| (B,).
    Source: Dinh et al. 2017, eqs. 4, 6; lecture item A98, erratum N20.
    """
    return x * log_scale.exp() + shift, log_scale.flatten(1).sum(dim=1)


def affine_inverse(c, log_scale, shift):
    """The way back: x = (c - t)·exp(-s). Shapes as in `affine`, -> x."""
    return (c - shift) * (-log_scale).exp()


# --- The three layers of a step ----------------------------------------------------------------


def _per_channel(values, x):
    """(C,) -> (C, 1, ..., 1), so that it fits the channels of x (B, C, ...)."""
    return values.reshape(-1, *[1] * (x.dim() - 2))


def _places(x):
    """H·W of images (B, C, H, W), 1 of vectors (B, C)."""
    return x[0, 0].numel()


class ActNorm(nn.Module):
    """Scale and shift each channel: c = x·exp(s) + t, with s and t (C,) for all places.

    `start(x)` sets s and t such that the channels of this batch have mean 0 and deviation 1; from
    there they are trained. log|det J| = H·W·Σ s.
    Source: Kingma & Dhariwal 2018, section 3.1; lecture item A98.
    """

    def __init__(self, channels):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def start(self, x):
        values = x.transpose(0, 1).flatten(1)  # (C, B·H·W)
        self.log_scale.copy_(-values.std(dim=1).clamp(min=1e-3).log())
        self.shift.copy_(-values.mean(dim=1) * self.log_scale.exp())

    def forward(self, x, context=None):
        c = x * _per_channel(self.log_scale.exp(), x) + _per_channel(self.shift, x)
        return c, (_places(x) * self.log_scale.sum()).expand(len(x))

    def inverse(self, c, context=None):
        return (c - _per_channel(self.shift, c)) * _per_channel((-self.log_scale).exp(), c)


class InvertibleLinear(nn.Module):
    """One matrix W for the channels of each place: a 1×1 convolution (A95).

    It starts as a random rotation, whose log|det W| is 0. Nothing but the log-det term of the loss
    keeps it invertible (A96).
    lu: hold W as P L (U + diag(s)), with L and U triangular, P a fixed permutation: the determinant
        is the product of s then, and W is invertible as long as no s is 0.
    Source: Kingma & Dhariwal 2018, section 3.2.
    """

    def __init__(self, channels, lu=False):
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64)).Q
        self.lu = bool(lu)
        if not lu:
            self.matrix = nn.Parameter(rotation.float())
            return
        p, lower, upper = torch.linalg.lu(rotation)
        s = upper.diagonal()
        self.register_buffer("p", p.float())
        self.register_buffer("sign", s.sign().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self.log_s = nn.Parameter(s.abs().log().float())

    @property
    def weight(self):
        """W, (C, C)."""
        if not self.lu:
            return self.matrix
        eye = torch.eye(len(self.p), device=self.p.device, dtype=self.p.dtype)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp())
        return self.p @ (self.lower.tril(-1) + eye) @ upper

    def forward(self, x, context=None):
        with torch.autocast(x.device.type, enabled=False):  # in half precision W would not fit W⁻¹
            if not self.lu:
                return conv1x1(x, self.matrix)
            c = torch.einsum("ij,bj...->bi...", self.weight, x)
        return c, (_places(x) * self.log_s.sum()).expand(len(x))

    def inverse(self, c, context=None):
        with torch.autocast(c.device.type, enabled=False):  # W as forward has it
            inverse, info = torch.linalg.inv_ex(self.weight.double())
        if int(info) or not torch.isfinite(inverse).all():
            raise inputs.refusal(
                "weight of this 1×1 convolution", "an invertible matrix",
                "a singular one", "train with the log-det term, or take lu=True",
            )  # fmt: skip
        with torch.autocast(c.device.type, enabled=False):
            return torch.einsum("ij,bj...->bi...", inverse.to(c.dtype), c)


class Coupling(nn.Module):
    """Affine coupling: the first channels stay, and say how the others are stretched and shifted.

        c_a = x_a,   c_b = x_b·exp(s) + t,   (s, t) = network(x_a),   log|det J| = Σ s

    The network is never inverted, so it may be anything (A98, erratum N20). s is kept within ±2 by
    2 tanh(· / 2).
    channels: of x; keep: how many stay. network: a module, (B, keep + those of the context, ...)
        -> (B, 2·(channels - keep), ...).
    Source: Dinh et al. 2017, section 3.2.
    """

    def __init__(self, channels, network, keep=None):
        super().__init__()
        self.keep = channels - channels // 2 if keep is None else keep
        self.network = network

    def parameters_for(self, a, context):
        """log_scale and shift for the other channels, from those that stay."""
        raw = self.network(a if context is None else torch.cat([a, context], dim=1))
        raw, shift = raw.to(a.dtype).chunk(2, dim=1)  # a network may compute in half precision
        return BOUND * torch.tanh(raw / BOUND), shift

    def forward(self, x, context=None):
        a, b = x[:, : self.keep], x[:, self.keep :]
        b, log_det = affine(b, *self.parameters_for(a, context))
        return torch.cat([a, b], dim=1), log_det

    def inverse(self, c, context=None):
        a, b = c[:, : self.keep], c[:, self.keep :]
        return torch.cat([a, affine_inverse(b, *self.parameters_for(a, context))], dim=1)


class Cascade(nn.Module):
    """Layers one after the other: log-determinants add up, and the way back is reversed (A98)."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, context=None):
        total = 0.0
        for layer in self.layers:
            x, log_det = layer(x, context)
            total = total + log_det
        return x, total

    def inverse(self, c, context=None):
        for layer in reversed(self.layers):
            c = layer.inverse(c, context)
        return c

    @torch.no_grad()
    def start(self, x):
        """Set each ActNorm by what arrives there of this batch; returns what leaves the cascade."""
        for layer in self.layers:
            if isinstance(layer, ActNorm):
                layer.start(x)
            x, _ = layer(x)
        return x


def flow_step(channels, network, lu=False):
    """A step of Glow: ActNorm, a 1×1 convolution, an affine coupling; a list of layers."""
    return [ActNorm(channels), InvertibleLinear(channels, lu), Coupling(channels, network)]


# --- A flow of vectors -------------------------------------------------------------------------


def dense_network(inputs_, outputs, width):
    """A small MLP for a coupling layer; its last layer is 0 at first: the layer does nothing."""
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)
    hidden = [nn.Linear(inputs_, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(*hidden, last)


class Flow(nn.Module):
    """A flow of vectors (B, dims): `depth` steps of ActNorm, a matrix and an affine coupling.

    Args:
        dims: entries of x and of c, at least 2 where there are couplings.
        depth: number of steps T.
        width: hidden units of the networks of the couplings.
        coupling: False leaves the couplings out: a cascade of 1×1 convolutions alone (N20).
        lu: how the matrices are held, see `InvertibleLinear`.

    Call `start(x)` with a batch before the training. `loss` is in nats per example.
    Source: Kingma & Dhariwal 2018; lecture items A93–A98.
    """

    def __init__(self, dims=2, depth=8, width=64, coupling=True, lu=False):
        super().__init__()
        self.dims = inputs.whole(dims, "dims", least=2 if coupling else 1)
        inputs.whole(depth, "depth"), inputs.whole(width, "width")
        keep = dims - dims // 2
        layers = []
        for _ in range(depth):
            network = dense_network(keep, 2 * (dims - keep), width) if coupling else None
            step = flow_step(dims, network, lu)
            layers += step if coupling else step[:2]
        self.cascade = Cascade(layers)

    def check_batch(self, x):
        """Raises TypeError or ValueError unless x is a matrix (B, dims) of finite numbers."""
        inputs.matrix(x, f"x of this {type(self).__name__}", columns=self.dims)

    def start(self, x):
        """Data-dependent start: set each ActNorm by this batch (B, dims). Returns the flow."""
        self.check_batch(x)
        self.cascade.start(x.to(next(self.parameters())))
        return self

    def encode(self, x):
        """c = g⁻¹(x) and log|det J(g⁻¹)(x)|: x (B, dims) -> (B, dims), (B,)."""
        return self.cascade(x)

    def decode(self, c):
        """x = g(c): (B, dims) -> (B, dims)."""
        return self.cascade.inverse(c)

    @torch.no_grad()
    def stages(self, c):
        """c and what each layer on the way to x makes of it: a list of (B, dims)."""
        found = [c]
        for layer in reversed(self.cascade.layers):
            found.append(layer.inverse(found[-1]))
        return found

    def log_prob(self, x):
        """log P(x), exact, in nats: (B, dims) -> (B,)."""
        return flow_log_prob(*self.encode(x))

    def loss(self, x):
        """-log P(x), mean over the batch, in nats."""
        return -self.log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n, temperature=1.0, generator=None):
        """n new vectors (n, dims): c ~ N(0, temperature² I), decoded."""
        temperature = inputs.number(temperature, "temperature", least=0)
        weight = next(self.parameters())
        n = inputs.whole(n, "n")
        c = drawn(torch.randn, n, self.dims, like=weight, generator=generator, dtype=weight.dtype)
        return self.decode(temperature * c)
