"""Metrics of pictures: each against a picture whose answer is known in closed form."""

import math

import numpy as np
import pytest
import torch

from genai_utils.evaluation import psnr, radial_power_spectrum, sharpness
from genai_utils.evaluation.images import frequency_rings


def noise(n=64, side=32, spread=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 0.5 + spread * torch.randn(n, side, side, generator=generator, dtype=torch.float64)
    return x.clamp(0, 1)


def cosine(height, width, cycles, along="width", amplitude=0.5):
    """0.5 + a cos(2π cycles i / side): `cycles` whole periods along one side."""
    side = width if along == "width" else height
    wave = amplitude * torch.cos(2 * math.pi * cycles * torch.arange(side).double() / side)
    wave = wave[None, :] if along == "width" else wave[:, None]
    return (0.5 + wave).expand(height, width)[None]


# psnr


def test_psnr_of_a_constant_error_is_minus_20_log10_of_it():
    x = torch.full((3, 1, 4, 4), 0.5)
    assert psnr(x, x + 0.1) == pytest.approx(20, abs=1e-5)
    assert psnr(x, x - 0.01) == pytest.approx(40, abs=1e-4)


def test_psnr_of_noise_of_known_variance():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(200, 28, 28, generator=generator)
    y = x + 0.05 * torch.randn(x.shape, generator=generator)
    assert psnr(x, y) == pytest.approx(-20 * math.log10(0.05), abs=0.05)


def test_psnr_scales_with_its_peak_and_is_symmetric():
    x, y = noise(seed=0), noise(seed=1)
    assert psnr(255 * x, 255 * y, peak=255) == pytest.approx(psnr(x, y))
    assert psnr(y, x) == psnr(x, y)


def test_psnr_averages_the_error_and_not_the_decibels():
    x = torch.zeros(2, 4, 4)
    y = torch.stack([torch.full((4, 4), 0.1), torch.full((4, 4), 0.3)])
    assert psnr(x, y) == pytest.approx(-10 * math.log10((0.01 + 0.09) / 2), abs=1e-5)


def test_psnr_of_equal_images_is_infinite():
    x = np.random.default_rng(0).random((2, 5, 5))
    assert psnr(x, x.copy()) == math.inf


def test_psnr_takes_a_reconstruction_that_overshoots():
    x = torch.ones(1, 4, 4)
    assert psnr(x, x + 0.1) == pytest.approx(20, abs=1e-4)
    assert psnr(x + 0.1, x) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(
    ("x", "y", "kwargs", "message"),
    [
        (
            torch.zeros(2, 3),
            torch.zeros(3, 2),
            {},
            r"the shape of x, \(2, 3\), got \(3, 2\)",
        ),
        (torch.full((2, 2), 200.0), torch.full((2, 2), 190.0), {}, "peak=255"),
        (
            torch.zeros(2, 2),
            torch.ones(2, 2),
            {"peak": 0},
            "peak: expected .* above 0, got 0",
        ),
        (torch.zeros(0, 2), torch.zeros(0, 2), {}, "x: expected at least one number"),
        (
            torch.zeros(2),
            torch.tensor([0.0, math.nan]),
            {},
            "y: expected finite numbers, got 1",
        ),
    ],
)
def test_psnr_refuses(x, y, kwargs, message):
    with pytest.raises(ValueError, match=message):
        psnr(x, y, **kwargs)


def test_what_is_no_array_of_numbers_is_a_type_error():
    with pytest.raises(TypeError, match="x: expected a torch tensor or NumPy array"):
        psnr("a picture", torch.zeros(2))
    with pytest.raises(TypeError, match="expected real numbers"):
        psnr(torch.zeros(2, dtype=torch.complex64), torch.zeros(2))


# sharpness


def test_sharpness_of_white_noise_is_twenty_times_its_variance():
    assert sharpness(noise(400, spread=0.1)) == pytest.approx(20 * 0.01, rel=0.01)


def test_sharpness_of_a_cosine():
    # The Laplacian of a cosine is (2 cos k - 2) times it; 34 columns leave 32 inside, 4 periods.
    inside = cosine(34, 32, cycles=4)
    x = torch.cat([inside[..., -1:], inside, inside[..., :1]], dim=-1)  # (1, 34, 34)
    k = 2 * math.pi * 4 / 32
    assert sharpness(x) == pytest.approx((2 * math.cos(k) - 2) ** 2 * 0.5**2 / 2)
    assert sharpness(x.transpose(1, 2)) == pytest.approx(sharpness(x))


def test_sharpness_of_a_ramp_is_zero():
    ramp = torch.linspace(0, 1, 12).double()
    assert sharpness((ramp[:, None] + ramp[None]).div(2)[None]) == pytest.approx(0, abs=1e-12)


def test_sharpness_scales_with_the_square_of_the_contrast_and_ignores_brightness():
    x = noise(8)
    assert sharpness(0.3 * x) == pytest.approx(0.09 * sharpness(x))
    assert sharpness(0.3 * x + 0.6) == pytest.approx(0.09 * sharpness(x))


def test_sharpness_falls_with_every_blur():
    x = noise(16)
    values = [sharpness(x)]
    for width in (3, 5, 7):
        blurred = torch.nn.functional.avg_pool2d(x, width, stride=1, padding=width // 2)
        values.append(sharpness(blurred[:, 4:-4, 4:-4]))
    assert values == sorted(values, reverse=True) and values[-1] < 0.02 * values[0]


def test_sharpness_is_the_mean_over_images_and_not_their_common_variance():
    x, flat = noise(1), torch.full((1, 32, 32), 0.5, dtype=torch.float64)
    assert sharpness(torch.cat([x, flat])) == pytest.approx(sharpness(x) / 2)


def test_sharpness_of_bowls_of_different_curvature_is_zero():
    # The Laplacian of a bowl is one number all over: no variance within, much between the images.
    row = torch.linspace(-1, 1, 16).double().square() / 2
    bowl = row[:, None] + row[None]  # (16, 16)
    assert sharpness(torch.stack([bowl, 1 - bowl, 0.5 * bowl])) == pytest.approx(0, abs=1e-12)


def test_every_layout_gives_the_same_number():
    x = noise(5)
    colour = torch.stack([x, x, x], dim=1)  # (5, 3, 32, 32)
    expected = sharpness(x)
    for images in (x[:, None], colour, colour.permute(0, 2, 3, 1), colour.numpy()):
        assert sharpness(images) == pytest.approx(expected)
        torch.testing.assert_close(radial_power_spectrum(images), radial_power_spectrum(x))


# radial_power_spectrum


def test_spectrum_of_white_noise_is_flat_at_its_variance():
    _, power = radial_power_spectrum(noise(2000, side=16, spread=0.1))
    torch.testing.assert_close(power[1:], torch.full_like(power[1:], 0.01), rtol=0.05, atol=0)


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (9, 14), (15, 7), (1, 6)])
def test_parseval(shape):
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    freq, power = radial_power_spectrum(x)
    ring, rings, count = frequency_rings(*shape)
    assert torch.equal(freq, rings) and count.sum() == ring.numel() == shape[0] * shape[1]
    assert (count > 0).all() and (freq.diff() > 0).all()
    assert ((power * count).sum() / count.sum()).item() == pytest.approx(x.square().mean().item())


@pytest.mark.parametrize("along", ["width", "height"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 32), (32, 16)])
def test_spectrum_of_a_cosine_peaks_at_its_frequency(along, height, width):
    side = width if along == "width" else height
    freq, power = radial_power_spectrum(cosine(height, width, 4, along))
    peak = power[1:].argmax() + 1  # the mean of the picture sits at frequency 0
    assert freq[peak].item() == pytest.approx(4 / side)
    assert power[0].item() == pytest.approx(0.25 * height * width)
    _, _, count = frequency_rings(height, width)
    # two coefficients hold the power a²/2 of the wave
    assert power[peak].item() * count[peak].item() == pytest.approx(0.125 * height * width)
    rest = torch.cat([power[1:peak], power[peak + 1 :]])
    assert rest.max() < 1e-20


def test_spectrum_reaches_the_corner_and_counts_its_rings():
    ring, freq, count = frequency_rings(4, 4)
    assert freq.tolist() == [0, 0.25, 0.5, 0.75]
    # distance in steps of 1/4: 0; 1 and √2; 2 and √5; √8
    assert count.tolist() == [1, 8, 6, 1] and ring[2, 2] == 3 and ring[1, 3] == 1


@pytest.mark.parametrize("metric", [sharpness, radial_power_spectrum])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(8, 8), "needs a batch axis"),
        (torch.zeros(2, 5, 8, 8), r"got \(2, 5, 8, 8\)"),
        (torch.zeros(0, 8, 8), "expected at least one number, got none"),
        (
            255 * torch.ones(2, 8, 8),
            "between 0 and 1, got values from 255 to 255; divide",
        ),
        (-torch.ones(2, 8, 8), "pixels between 0 and 1, got values from -1 to -1"),
        (torch.full((2, 8, 8), math.nan), "NaN"),
    ],
)
def test_pictures_are_checked(metric, images, message):
    with pytest.raises(ValueError, match=message):
        metric(images)


def test_sharpness_needs_an_inside():
    with pytest.raises(ValueError, match=r"at least 3 pixels, got \(2, 8\)"):
        sharpness(torch.zeros(1, 2, 8))
