"""Autoencoders, dense and convolutional. Lecture items A68–A72, A85, A86, B1, B56–B58.

The story of the file: squared error as a likelihood, and its rival; the layers that make an image
larger again and the pattern that one of them leaves; codes of true bits, from a network and from
PCA; the networks; the model.

Symbols: x image, c code, a the decoder's output, d pixels, k code units. Sources: Hinton
& Salakhutdinov 2006; Zeiler & Fergus 2014 (DeconvNet); Odena et al. 2016 (checkerboards); Bengio et
al. 2013 (straight-through); Gersho & Gray 1992 (transform coding).
"""

import math

import numpy as np
import torch
from torch import nn

from genai_utils import inputs

from .image_model import ImageModel, codes

# --- An error as a likelihood --------------------------------------------------------------------


def gaussian_log_likelihood(x, mean, std=1.0):
    """log P(x|c) of real-valued pixels with one fixed std, per example, in nats.

        log P(x|c) = -‖x - a‖² / (2 s²) - ½ d log(2π s²),   s = std

    Finite also where the density itself is zero in floating point.
    Shapes: x (B, ...); mean a, of the shape of x or (K, B, ...) -> (B,) or (K, B).
    Source: lecture items A69, A91; errata N10, N19.
    """
    square = ((x - mean) ** 2).flatten(start_dim=mean.dim() - x.dim() + 1).sum(dim=-1)
    dims = x[0].numel()
    return -square / (2 * std**2) - dims / 2 * math.log(2 * math.pi * std**2)


def laplace_log_likelihood(x, mean, scale=1.0):
    """log P(x|c) of pixels with Laplace noise of one fixed scale, per example, in nats.

        log P(x|c) = -Σ_i |x_i - a_i| / b - d log(2b),   b = scale

    Affine in the absolute error, as the Gaussian is in the squared one: the best a is
    the median of the images that share a code, not their mean. A pixel that a meets
    exactly has the gradient 0. Finite also where the density is zero in floating point.
    Shapes: x, mean (B, ...) -> (B,). Source: lecture item A86.
    """
    absolute = (x - mean).abs().flatten(start_dim=1).sum(dim=-1)
    return -absolute / scale - x[0].numel() * math.log(2 * scale)


# --- Making images larger ------------------------------------------------------------------------


def transposed_conv1d(y, kernel, stride):
    """Transposed convolution in one dimension: every y_i stamps the kernel onto the result.

        x_j = Σ_i y_i w_{j - i s},   that is x = Cᵀ y with (C x)_i = Σ_j w_{j - i s} x_j

    C is the matrix of the convolution with the same kernel and stride, without padding.
    A stride above K leaves zeros between the stamps.
    Shapes: y (B, n), kernel w (K,), stride s >= 1 -> (B, (n - 1) s + K).
    Source: Dumoulin & Visin 2016, chapter 4; lecture item A70, erratum N31.
    """
    n, width = y.shape[1], kernel.shape[0]
    x = y.new_zeros(y.shape[0], (n - 1) * stride + width)
    for i in range(n):
        x[:, i * stride : i * stride + width] += y[:, i : i + 1] * kernel
    return x


def unpool(y, switches):
    """Undo a 2 x 2 max-pooling: each value goes back to where the maximum was, 0 elsewhere.

    The values may be negative.
    Shapes: y (B, C, h, w); switches (B, C, h, w), the place of each maximum in its plane of
    2h x 2w pixels, counted row by row (as `F.max_pool2d(..., return_indices=True)` gives it)
    -> (B, C, 2h, 2w). Source: Zeiler & Fergus 2014, section 2.1; item A71, erratum N30.
    """
    batch, channels, h, w = y.shape
    plane = y.new_zeros(batch, channels, 4 * h * w)
    plane = plane.scatter(2, switches.flatten(2), y.flatten(2))
    return plane.reshape(batch, channels, 2 * h, 2 * w)


def checkerboard_energy(images):
    """Share of the images' power that alternates from one pixel to the next, in [0, 1].

        E = Σ_fast |F(u, v)|² / Σ_all |F(u, v)|²

    fast: |u| or |v| is ½ cycle per pixel; all: every (u, v) but (0, 0). 0 where nothing varies;
    (2N - 1) / (N² - 1) for white noise.
    Shapes: (B, 1, N, N), N even. Source: Odena et al. 2016; lecture item A71.
    """
    images = inputs.array(images, "images")
    if images.dim() != 4 or images.shape[-1] != images.shape[-2] or images.shape[-1] % 2:
        raise inputs.refusal("images", "the shape (B, C, N, N), N even", f"{tuple(images.shape)}")
    power = torch.fft.fft2(images.double()).abs().square().mean(dim=(0, 1))  # (N, N)
    half = images.shape[-1] // 2
    fast = power[half].sum() + power[:, half].sum() - power[half, half]
    total = power.sum() - power[0, 0]
    return 0.0 if total <= 1e-12 * power.sum() else (fast / total).item()


# --- Codes of true bits --------------------------------------------------------------------------


def straight_through_sign(h):
    """Bits with a gradient: the sign of h forwards, the derivative of tanh(h) backwards.

        b = sign(h), -1 or 1;   ∂b/∂h := 1 - tanh² h

    Zero counts as +1, also minus zero. A large |h| has the gradient 0, never NaN.
    Shapes: h (B, k) -> (B, k).
    Source: Bengio, Léonard & Courville 2013; lecture item A72, erratum N29.
    """
    soft = torch.tanh(h)
    bits = torch.where(h >= 0, 1.0, -1.0).to(h.dtype)
    return soft + (bits - soft).detach()


def lloyd_max(values, levels, rounds=50):
    """The codebook (levels,) that quantises numbers (n,) with little squared error: 1-D K-means.

    Starts from quantiles; each round takes the mean of every cell. Source: Lloyd 1982; Max 1960.
    """
    levels = inputs.whole(levels, "levels")
    codebook = np.quantile(values, (np.arange(levels) + 0.5) / levels)
    for _ in range(rounds):
        cell = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values)
        count = np.bincount(cell, minlength=levels)
        total = np.bincount(cell, weights=values, minlength=levels)
        codebook = np.where(count > 0, total / np.maximum(count, 1), codebook)
    return codebook


def quantise(values, codebook):
    """Each number replaced by the nearest of a sorted codebook; the shape stays."""
    return codebook[np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values)]


def pca_transform_coding(train, test, bits, most=5):
    """Images through a code of `bits` bits: PCA, then a Lloyd–Max quantiser for each component.

    Each bit goes where it takes away most of the error that is left (a greedy reverse
    water-filling), at most `most` bits to one component. Everything is learnt from `train`.
    Shapes: train (n, d), test (m, d) -> test through the code (m, d), bits per component (bits,).
    Source: Gersho & Gray 1992, chapter 8; lecture item A72.
    """
    train = inputs.matrix(train, "train", rows=2, dtype=torch.float64).numpy(force=True)
    test = inputs.matrix(test, "test", columns=train.shape[1], dtype=torch.float64)
    test = test.numpy(force=True)
    inputs.whole(bits, "bits", most=min(train.shape))  # each bit may need a component of its own
    inputs.whole(most, "most")
    mean = train.mean(axis=0)
    axes = np.linalg.eigh(np.cov(train.T))[1][:, ::-1][:, :bits]  # (d, bits), longest first
    scores = (train - mean) @ axes  # (n, bits)
    books = [[lloyd_max(s, 2**b) for b in range(most + 1)] for s in scores.T]
    left = np.array([[((s - quantise(s, b)) ** 2).mean() for b in row]
                     for s, row in zip(scores.T, books, strict=True)])  # fmt: skip
    given, each = np.zeros(bits, int), np.arange(bits)
    for _ in range(bits):
        gain = left[each, given] - left[each, np.minimum(given + 1, most)]
        given[gain.argmax()] += 1
    code = (test - mean) @ axes
    for j, b in enumerate(given):
        code[:, j] = quantise(code[:, j], books[j][b])
    return mean + code @ axes.T, given


# --- The networks ------------------------------------------------------------------------------


def dense_encoder(size, width, outputs, channels=1):
    """Image (B, C, size, size) -> (B, outputs) through two hidden layers of `width` units."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * size * size, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, outputs),
    )


def dense_decoder(code, width, size, channels=1):
    """Code (B, code) -> logits (B, C, size, size) through two hidden layers of `width` units."""
    return nn.Sequential(
        nn.Linear(code, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, channels * size * size),
        nn.Unflatten(1, (channels, size, size)),
    )


def conv_encoder(size, width, outputs, channels=1):
    """Image (B, C, size, size) -> (B, outputs): two halvings of the image, then one matrix."""
    quarter = size // 4
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1),  # (B, w, size/2, size/2)
        nn.GELU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),  # (B, 2w, size/4, size/4)
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(2 * width * quarter**2, outputs),
    )


def conv_decoder(code, width, size, channels=1):
    """Code (B, code) -> logits (B, C, size, size): one matrix, then two doublings of the image.

    Upsampling and convolution instead of a transposed convolution: no checkerboard (item A71).
    """
    quarter = size // 4
    return nn.Sequential(
        nn.Linear(code, 2 * width * quarter**2),
        nn.GELU(),
        nn.Unflatten(1, (2 * width, quarter, quarter)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * width, width, 3, padding=1),
        nn.GELU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, channels, 3, padding=1),
    )


def transposed_decoder(code, width, size, channels=1, kernel=3):
    """As `conv_decoder`, with transposed convolutions of stride 2 (kernel 3 or 4) that double."""
    quarter, options = size // 4, {"stride": 2, "padding": 1, "output_padding": 4 - kernel}
    return nn.Sequential(
        nn.Linear(code, 2 * width * quarter**2),
        nn.GELU(),
        nn.Unflatten(1, (2 * width, quarter, quarter)),
        nn.ConvTranspose2d(2 * width, width, kernel, **options),  # (B, w, size/2, size/2)
        nn.GELU(),
        nn.ConvTranspose2d(width, channels, kernel, **options),
    )


# --- The models ----------------------------------------------------------------------------------

DECODERS = {"dense": dense_decoder, "conv": conv_decoder, "transposed": transposed_decoder}


def checked_kind(kind, known, size):
    """Raises ValueError for networks that are not known, or that halve an odd image."""
    inputs.one_of(kind, "kind", known)
    if kind != "dense" and size % 4:
        raise inputs.refusal("size", f"a multiple of 4 for {kind!r}, which halves twice", f"{size}")


class Autoencoder(ImageModel):
    """Encoder, code, decoder, and the squared error that trains both (A68, A70, A72).

    Args:
        size, code: side of the square images (a multiple of 4 unless dense); code units k.
        width: hidden units of the dense networks, or channels of the convolutional ones.
        kind: "dense"; "conv", whose decoder upsamples and convolves; or "transposed".
        binary: every code unit is -1 or 1, so that the code has k bits.
        kernel: of the transposed convolutions, 3 or 4.
        channels: 1 for grey images, 3 for colour.
    """

    def __init__(
        self, size=32, code=32, width=256, kind="dense", binary=False, kernel=3, channels=1
    ):  # fmt: skip
        super().__init__(size, channels)
        code, width = inputs.whole(code, "code"), inputs.whole(width, "width")
        checked_kind(kind, DECODERS, size)
        inputs.one_of(kernel, "kernel", (3, 4))
        self.code, self.binary = code, binary
        encoder = dense_encoder if kind == "dense" else conv_encoder
        self.encoder = encoder(size, width, code, channels)
        options = {"kernel": kernel} if kind == "transposed" else {}
        self.decoder = DECODERS[kind](code, width, size, channels, **options)

    def encode(self, x):
        """c = f(x): images (B, C, size, size) in [0, 1] -> codes (B, code)."""
        return self.features(self.images(x))

    def features(self, x):
        """`encode` without a look at the values of x: for a loss, which should wait for nothing."""
        c = self.encoder(self.images(x, values=False))
        return straight_through_sign(c) if self.binary else c

    def decode(self, c):
        """a = g(c), linear outputs: codes (B, code) -> (B, C, size, size)."""
        return self.decoder(codes(c, self.code))

    def image(self, c):
        """The decoded codes as pictures, cut off at 0 and 1."""
        return self.decode(c).clamp(0, 1)

    def loss(self, x):
        """||x - a||^2 per image: -2 s^2 times the Gaussian log-likelihood, but for a constant."""
        x, _ = self.batch(x)
        error = (x - self.decode(self.features(x))) ** 2
        total = error.sum() / len(x)
        return {"loss": total, "reconstruction": total, "mse": error.mean()}
