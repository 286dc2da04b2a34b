"""Metrics of pictures themselves: how close, how sharp, how much power at which frequency."""

import math

import torch

from genai_utils.evaluation.inputs import as_array, as_images
from genai_utils.inputs import number, refusal


def psnr(x, y, peak=1.0):
    """Peak signal-to-noise ratio between images and their reconstructions, in decibels.

        PSNR = 10 log10(peak² / MSE),   MSE = mean over all images and pixels of (x − y)²

    x, y: the same shape, any number of axes; `peak` is the largest value a pixel can have. One
    number for the whole batch (the mean error is taken before the logarithm); inf if x equals y.
    Noise of standard deviation s gives −20 log10(s) dB at peak 1.

    Either may overshoot [0, peak], as a PCA reconstruction does, but one of them must be the
    original. Raises ValueError if the shapes differ, if both leave [0, peak], or peak ≤ 0.
    Source: Gonzalez & Woods, Digital Image Processing; lecture item B14.
    """
    peak = number(peak, "peak", above=0)
    x, y = as_array(x, "x"), as_array(y, "y")
    if x.shape != y.shape:
        raise refusal("y", f"the shape of x, {tuple(x.shape)}", tuple(y.shape))
    room = 1e-6 * peak
    if all(v.min() < -room or v.max() > peak + room for v in (x, y)):
        raise refusal(
            "x, y", f"the original among them, in [0, {peak:g}]",
            f"[{x.min():.4g}, {x.max():.4g}] and [{y.min():.4g}, {y.max():.4g}]",
            "for 8-bit images pass peak=255",
        )  # fmt: skip
    error = ((x - y) ** 2).mean().item()
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def sharpness(images):
    """Mean over the images of the variance of their Laplacian, in squared intensity.

        S = mean over n of Var over (i, j) of [x(i−1,j) + x(i+1,j) + x(i,j−1) + x(i,j+1) − 4 x(i,j)]

    images: (N, H, W), (N, 1, H, W), (N, 3, H, W) or (N, H, W, 3) in [0, 1], sides ≥ 3. Only
    interior pixels count, so the frame of the picture is not mistaken for an edge; channels are
    averaged. Blur lowers it. Adding a constant changes nothing, and scaling the contrast by a
    scales S by a²: compare images of one contrast. White noise of variance s² gives 20 s² (as
    4·1² + 4² = 20): noise counts as sharp.

    Raises ValueError for a wrong shape, values outside [0, 1], or an empty batch.
    Source: Pech-Pacheco et al. 2000 (the "variance of the Laplacian"); lecture items A86, A92.
    """
    x = as_images(images, smallest=3)  # (N, C, H, W)
    centre = x[..., 1:-1, 1:-1]  # (N, C, H-2, W-2)
    around = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
    laplacian = around - 4 * centre  # (N, C, H-2, W-2)
    return laplacian.var(dim=(-2, -1), correction=0).mean().item()


def frequency_rings(height, width):
    """The rings of equal spatial frequency of an H×W Fourier transform.

    Returns ring (H, W) int64, the ring that each coefficient of `torch.fft.fft2` falls in;
    freq (R,) in cycles per pixel; count (R,), the number of coefficients of each ring. Rings are
    1 / max(H, W) wide, centred on their frequency, and reach the corners at √½ cycles per pixel,
    so that every coefficient belongs to exactly one. A ring with no coefficient is left out.
    """
    side = max(height, width)
    vertical = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]  # (H, 1)
    horizontal = torch.fft.fftfreq(width, dtype=torch.float64)[None]  # (1, W)
    step = torch.hypot(vertical, horizontal).mul(side).round().long()  # (H, W)
    used, ring = step.unique(return_inverse=True)
    return ring, used / side, torch.bincount(ring.flatten())


def radial_power_spectrum(images):
    """Power of the images at each spatial frequency, averaged over direction, images and channels.

        P(u, v) = |F(u, v)|² / (H W),   power(r) = mean of P over the ring |(u, v)| ≈ r

    images: (N, H, W), (N, 1, H, W), (N, 3, H, W) or (N, H, W, 3) in [0, 1].
    Returns (freq, power), both (R,) float64: frequency in cycles per pixel (0 is the mean of the
    image, ½ a checkerboard's row, √½ its diagonal) and power in squared intensity per coefficient.
    White noise of variance s² has power s² everywhere. Parseval: the mean of `power` weighted by
    the rings' sizes (`frequency_rings`) is the mean squared pixel. Natural photographs fall like
    1/r²; what blur takes away is at the right end.

    Raises ValueError for a wrong shape, values outside [0, 1], or an empty batch.
    Source: Field 1987; van der Schaaf & van Hateren 1996.
    """
    x = as_images(images)  # (N, C, H, W)
    height, width = x.shape[-2:]
    power = torch.fft.fft2(x).abs().square().mean(dim=(0, 1)) / (height * width)  # (H, W)
    ring, freq, count = frequency_rings(height, width)
    total = torch.zeros(len(freq), dtype=torch.float64)
    total.index_add_(0, ring.flatten(), power.flatten())  # (R,)
    return freq, total / count
