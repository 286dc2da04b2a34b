"""Bits per dimension of densities whose entropy is known."""

import math

import numpy as np
import pytest
import torch

from genai_utils.evaluation import bits_per_dim


def test_fair_coins_cost_one_bit_each():
    assert bits_per_dim(784 * math.log(2), 784) == pytest.approx(1)
    assert bits_per_dim(12 * math.log(256), 12) == pytest.approx(8)


def test_a_uniform_density_over_scaled_pixels_costs_eight_bits():
    assert bits_per_dim(0.0, 3072, levels=256) == pytest.approx(8)
    # the same density over 0…255: −log p = d log 256, no scaling to undo
    assert bits_per_dim(3072 * math.log(256), 3072) == pytest.approx(8)


def test_shape_and_type_are_kept():
    nats = torch.tensor([[math.log(2)], [math.log(4)]])
    torch.testing.assert_close(bits_per_dim(nats, 1), torch.tensor([[1.0], [2.0]]))
    np.testing.assert_allclose(bits_per_dim(np.array([math.log(2)]), 1), [1])
    assert isinstance(bits_per_dim(3, 4), float)
    nats.requires_grad_()
    assert bits_per_dim(nats, 2).requires_grad


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((1.0, 0), ValueError, "dims: expected a whole number of at least 1, got 0"),
        ((1.0, 2.5), TypeError, "dims: expected a whole number of at least 1, got 2.5"),
        ((1.0, 2, 0), ValueError, "levels: expected a whole number of at least 1, got 0"),
        ((math.nan, 2), ValueError, "nats: expected numbers, got NaN"),
        (("90", 2), TypeError, "nats: expected numbers, got '90'"),
    ],
)
def test_bits_per_dim_refuses(args, error, message):
    with pytest.raises(error, match=message):
        bits_per_dim(*args)
