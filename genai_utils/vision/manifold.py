"""Manifolds, and autoencoders that learn them. Lecture items A73–A82, A84.

The story of the file: how many dimensions data have (`two_nn`), how flat they are from near by
(`local_pca`), two autoencoders whose code follows the data and nothing else (contractive and
denoising, one class), how their Jacobian gives tangent vectors (`tangent_vectors`), and what a
denoiser knows about the density of the data (`tweedie_score`). Known tangent vectors, and the
classifier that uses them, stand in `tangent_prop.py`.

Symbols follow the lecture: x image, c code, J = dc/dx. Images are flattened to d = size² numbers.

Sources: Facco et al. 2017 (TwoNN); Rifai et al. 2011a (contractive), 2011b (tangents);
Vincent et al. 2008, Vincent 2011 (denoising, score); Alain & Bengio 2014.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import jacrev, jvp, vmap

from genai_utils import inputs

from .image_model import ImageModel

GUARDS = ("norm", "tied", "none")

# --- How many dimensions? ------------------------------------------------------------------------


def two_nn(distances):
    """Intrinsic dimension of data, from the distances to the two nearest neighbours.

        k = n / Σ_i log(r_i2 / r_i1)

    On a k-dimensional manifold the ratio r2/r1 is larger than m with probability
    m^-k, whatever the density; this is the maximum-likelihood estimate of k.
    Only ratios count, no unit of length; all n points do, those with r2 = r1 too.
    Shapes: distances (n, 2), the smaller one first -> a scalar.
    Source: Facco et al. 2017; lecture item A73.
    """
    return len(distances) / torch.log(distances[:, 1] / distances[:, 0]).sum()


def neighbour_distances(points, k=2, chunk=1_000):
    """Distances of each point to its k nearest others: points (n, ...) -> (n, k), ascending.

    Copies of a point are left out first, since a distance of 0 has no logarithm. In double
    precision. Raises ValueError for fewer than k + 1 different points.
    """
    inputs.whole(k, "k"), inputs.whole(chunk, "chunk")
    x = torch.unique(_points(points), dim=0)
    if len(x) <= k:
        expected = f"more than {k} different points"
        raise inputs.refusal("points", expected, f"{len(x)}", "use more data")
    x = x - x.mean(dim=0)
    rough = 1e4 * torch.finfo(x.dtype).eps * x.square().sum(dim=1).max()
    nearest = []
    for part in x.split(chunk):
        found = torch.cdist(part, x).topk(k + 1, largest=False).values
        if found[:, 1:].square().min() < rough:  # a small difference of large squares: no good
            exact = torch.cdist(part, x, compute_mode="donot_use_mm_for_euclid_dist")
            found = exact.topk(k + 1, largest=False).values
        nearest.append(found[:, 1:])  # the nearest of all is the point itself
    return torch.cat(nearest)


def _points(points, rows=2):
    """Points (n, ...) as a matrix (n, d) of at least so many rows, in double, on the processor."""
    x = inputs.array(points, "points")
    if x.ndim < 2:
        raise inputs.refusal("points", "the shape (n, d), a row a point", f"{tuple(x.shape)}")
    return inputs.matrix(x.detach().cpu().double().flatten(1), "points", rows=rows)


def local_pca(points, m):
    """The m main directions of a small cloud, and how far its points lie from their plane.

    Shapes: points (n, d) -> directions (m, d), orthonormal rows; root mean square distance ().
    Source: lecture items A74, A75.
    """
    x = _points(points)
    inputs.whole(m, "m", most=min(len(x) - 1, x.shape[1]))  # n points span n - 1 directions
    _, s, vh = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    return vh[:m], (s[m:].square().sum() / len(x)).sqrt()


# --- Contractive and denoising autoencoder -------------------------------------------------------


def contractive_penalty(c, W):
    """Squared Frobenius norm of dc/dx for a code c = sigmoid(W x + b), per example.

        ‖∂c/∂x‖_F² = Σ_j (c_j (1 - c_j))² Σ_i W_ji²

    Saturated units, with c_j of 0 or 1, add 0 and have the gradient 0.
    Shapes: c (B, k), W (k, d) -> (B,). It costs one small product, no Jacobian.
    Source: Rifai et al. 2011a, eq. 6; lecture item A76.
    """
    slope = c * (1 - c)  # (B, k)
    return slope.square() @ W.square().sum(dim=1)


def masked(x, u, share):
    """Masking noise: each pixel is set to 0 where its uniform number falls below `share`.

    Shapes: x (B, ...); u, uniform in [0, 1), of the same shape -> the same shape.
    The pixels that stay keep their values; a share of 0 masks none, a share of 1 all.
    Source: Vincent et al. 2008; lecture item A78.
    """
    return x * (u >= share)


class ManifoldAutoencoder(ImageModel):
    """One layer of sigmoids each way: plain, contractive (A76) or denoising (A78).

        c = sigmoid(W x + b),   a = D c + e,   L = -log P(x|a) + λ ‖∂c/∂x‖_F²

    With noise, c is the code of x + noise·eps, and a still has to explain the clean x.

    Args:
        size: side of the square images.
        code: number of code units k.
        contraction: weight λ of the contractive penalty, 0 for none.
        noise: standard deviation of the Gaussian noise on the input, 0 for none.
        guard: what keeps the decoder from undoing a small code (erratum N32): "norm" (each column
            of D has length `radius`), "tied" (D is the transpose of W), or "none".
        radius: that length.
    """

    def __init__(
        self, size=28, code=256, contraction=0.0, noise=0.0, guard="norm", radius=8.0
    ):  # fmt: skip
        super().__init__(size)
        self.code, self.guard = inputs.whole(code, "code"), inputs.one_of(guard, "guard", GUARDS)
        self.contraction = inputs.number(contraction, "contraction", least=0)
        self.noise = inputs.number(noise, "noise", least=0)
        self.radius = inputs.number(radius, "radius", above=0)
        self.W = nn.Parameter(nn.init.xavier_uniform_(torch.empty(code, size**2)))
        self.b = nn.Parameter(torch.zeros(code))
        self.D = None if guard == "tied" else nn.Parameter(self.W.detach().clone())
        self.e = nn.Parameter(torch.zeros(size**2))

    def encode(self, x):
        """The code of images: (B, 1, H, H) -> (B, k), in (0, 1)."""
        return self.features(self.images(x).flatten(1))

    def features(self, v):
        """The code of flat, perhaps noisy images: (..., d) -> (..., k). Checks nothing."""
        return torch.sigmoid(v @ self.W.T + self.b)

    def decode(self, c):
        """Logits of the pixels: (..., k) -> (..., d)."""
        rows = self.W if self.guard == "tied" else self.D
        if self.guard == "norm":
            rows = self.radius * F.normalize(rows, dim=1)
        return c @ rows + self.e

    def rebuild(self, v):
        """Flat images, noisy ones too, through code and back: (B, d) -> (B, d), in [0, 1]."""
        return self.decode(self.features(v)).sigmoid()

    def corrupt(self, v):
        """What the encoder gets to see in training: (B, d) -> (B, d)."""
        return v + self.noise * torch.randn_like(v) if self.noise else v

    def loss(self, x):
        """Cross-entropy in nats per image (lowest where a is the mean of x), and the penalty."""
        v = self.batch(x)[0].flatten(1)
        c = self.features(self.corrupt(v))
        nats = F.binary_cross_entropy_with_logits(self.decode(c), v, reduction="none")
        nats = nats.sum(dim=1).mean()
        if not self.contraction:
            return {"loss": nats, "reconstruction": nats}
        penalty = contractive_penalty(c, self.W).mean()
        loss = nats + self.contraction * penalty
        return {"loss": loss, "reconstruction": nats, "penalty": penalty}

    @torch.no_grad()
    def jacobian(self, x):
        """dc/dx in closed form: (B, 1, H, H) -> (B, k, d)."""
        c = self.encode(x)
        return (c * (1 - c))[:, :, None] * self.W


class PointAutoencoder(nn.Module):
    """Two tanh layers each way, for points (B, d): plain, contractive or denoising.

    The contractive penalty has no formula here. Since E‖J n‖² = ‖J‖_F² for n ~ N(0, I), one
    forward-mode pass along a random n estimates it. It is divided by the variance of the code:
    then nothing is won by a smaller code (erratum N32), and the loss has the unit of x².
    """

    def __init__(self, dims=3, code=3, width=64, contraction=0.0, noise=0.0):
        super().__init__()
        for name, value in {"dims": dims, "code": code, "width": width}.items():
            inputs.whole(value, name)
        self.contraction = inputs.number(contraction, "contraction", least=0)
        self.noise = inputs.number(noise, "noise", least=0)
        self.encoder = self._network(dims, width, code)
        self.decoder = self._network(code, width, dims)

    @staticmethod
    def _network(inputs, width, outputs):
        first, second = nn.Linear(inputs, width), nn.Linear(width, width)
        return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, y):
        """Points through code and back: (B, d) -> (B, d)."""
        return self.decoder(self.encoder(y))

    def loss(self, x):
        """Squared error to the clean point (its minimum is E[x | noisy x]), and the penalty."""
        error = (self(x + self.noise * torch.randn_like(x)) - x).square().sum(dim=-1).mean()
        if not self.contraction:
            return error
        if len(x) < 2:
            raise inputs.refusal("x", "at least 2 points, whose codes have a variance", f"{len(x)}")
        c, change = jvp(self.encoder, (x,), (torch.randn_like(x),))
        spread = c.var(dim=0).sum().clamp(min=torch.finfo(c.dtype).tiny)  # a constant code: 0 / 0
        penalty = change.square().sum(dim=-1).mean() / spread
        loss = error + self.contraction * penalty
        return {"loss": loss, "reconstruction": error, "penalty": penalty}


def jacobian(f, x):
    """df/dx of each example by reverse mode: f (n, d) -> (n, k), x (B, d) -> (B, k, d).

    One pass for each of the k outputs; `f` must treat its rows one by one (no batch norm).
    """
    return vmap(jacrev(lambda row: f(row[None])[0]))(x)


# --- Tangent vectors -----------------------------------------------------------------------------


def tangent_vectors(J, m):
    """The m directions in input space that change the code most: right singular vectors.

        J = U D Vᵀ,   tangents: the first m columns of V

    Shapes: J (B, k, d) -> (B, m, d), one unit vector in each row, largest
    singular value first; each is unique up to its sign.
    Raises ValueError unless 1 <= m <= min(k, d).
    Source: Rifai et al. 2011b; lecture item A80, erratum N16.
    """
    if not 1 <= m <= min(J.shape[-2:]):
        raise ValueError(f"J {tuple(J.shape)} has at most {min(J.shape[-2:])} tangents, not {m}.")
    return torch.linalg.svd(J, full_matrices=False).Vh[..., :m, :]


@torch.no_grad()
def code_tangents(model, x, m, passes=4):
    """`tangent_vectors` of a ManifoldAutoencoder by subspace iteration: (B, m, d), much faster.

    J Jᵀ = S (W Wᵀ) S with S the diagonal of slopes, so that all work is on k x k matrices.
    """
    inputs.whole(m, "m", most=min(model.code, model.size**2))  # a code has no more tangents
    c = model.encode(x)
    s = c * (1 - c)  # (B, k)
    gram, g = model.W @ model.W.T, torch.Generator().manual_seed(0)
    wide = min(2 * m + 4, model.code)
    q = torch.randn(model.code, wide, generator=g).to(c).expand(len(c), -1, -1)
    for _ in range(passes):
        q = torch.linalg.qr(s[..., None] * (gram @ (s[..., None] * q)))[0]  # (B, k, wide)
    rows = (s[..., None] * q).mT @ model.W  # (B, wide, d): the best combinations of J's rows
    values, turn = torch.linalg.eigh(rows @ rows.mT)  # ascending
    return F.normalize(turn.flip(-1)[..., :m].mT @ rows, dim=-1)


def participation_ratio(s):
    """How many singular values share the squared norm: 1 if one has all of it, k if all are equal.

        (Σ_i σ_i²)² / Σ_i σ_i⁴

    0 where all are zero. Shapes: s, the σ_i, (..., k) -> (...). Source: lecture item A81.
    """
    # fourth powers leave the range of floats soon; a power of two changes no digit of the ratio
    exponent = torch.frexp(s.detach().abs().amax(dim=-1, keepdim=True)).exponent
    s = s * torch.exp2(-exponent.clamp(-120, 120).to(s.dtype))
    total, fourth = s.square().sum(dim=-1).square(), s.pow(4).sum(dim=-1)
    return total / torch.where(fourth > 0, fourth, 1.0)


# --- A denoiser knows the density: one step of diffusion -----------------------------------------


def tweedie_score(noisy, denoised, std):
    """Gradient of the log-density of noisy data, from its best denoiser.

        ∇ log p_s(y) = (E[x | y] - y) / s²,   y = x + s ε

    Shapes: noisy, denoised (...); std s > 0 -> (...), in units of 1 / (unit of y).
    Source: Vincent 2011; Alain & Bengio 2014; lecture item A78.
    """
    return (denoised - noisy) / std**2


def implied_noise(x_t, x_0, alpha_bar):
    """The noise that a guess of the clean image implies, in the notation of diffusion.

        x_t = √alpha_bar · x_0 + √(1 - alpha_bar) · ε

    Shapes: x_t, x_0 (...); alpha_bar in (0, 1) -> (...). Source: Ho et al. 2020, eq. 4.
    """
    return (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
