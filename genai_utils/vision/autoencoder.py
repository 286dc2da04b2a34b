"""Autoencoders, dense and convolutional. Lecture items A68–A72, A85, A86.

(networks and the Gaussian likelihood; the models follow)
"""

import math

from torch import nn

# --- Squared error as a likelihood ---------------------------------------------------------------


def gaussian_log_likelihood(x, mean, std=1.0):
    r"""log P(x|c) of real-valued pixels with one fixed std, per example, in nats.

    $$ \log P(x|c) = -\frac{\|x - a\|^2}{2 s^2} - \frac d2 \log 2 \pi s^2 $$

    Shapes: x (B, ...); mean a, of the shape of x or (K, B, ...) -> (B,) or (K, B).
    Source: lecture items A69, A91; errata N10, N19.
    """
    square = ((x - mean) ** 2).flatten(start_dim=mean.dim() - x.dim() + 1).sum(dim=-1)
    dims = x[0].numel()
    return -square / (2 * std**2) - dims / 2 * math.log(2 * math.pi * std**2)


# --- The networks ------------------------------------------------------------------------------


def dense_encoder(size, hidden, outputs):
    """Image (B, 1, size, size) -> (B, outputs) through two hidden layers of `hidden` units."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(size * size, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, outputs),
    )


def dense_decoder(code, hidden, size):
    """Code (B, code) -> logits (B, 1, size, size) through two hidden layers of `hidden` units."""
    return nn.Sequential(
        nn.Linear(code, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, size * size),
        nn.Unflatten(1, (1, size, size)),
    )


def conv_encoder(size, channels, outputs):
    """Image (B, 1, size, size) -> (B, outputs): two halvings of the image, then one matrix."""
    quarter = size // 4
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, stride=2, padding=1),  # (B, C, size/2, size/2)
        nn.GELU(),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),  # (B, 2C, size/4, size/4)
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(2 * channels * quarter**2, outputs),
    )


def conv_decoder(code, channels, size):
    """Code (B, code) -> logits (B, 1, size, size): one matrix, then two doublings of the image.

    Upsampling and convolution instead of a transposed convolution: no checkerboard (item A71).
    """
    quarter = size // 4
    return nn.Sequential(
        nn.Linear(code, 2 * channels * quarter**2),
        nn.GELU(),
        nn.Unflatten(1, (2 * channels, quarter, quarter)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        nn.GELU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(channels, 1, 3, padding=1),
    )
