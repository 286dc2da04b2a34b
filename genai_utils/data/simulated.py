"""Tables that a chapter can draw for itself, because their true structure is then known."""

import math

import numpy as np
import torch

from genai_utils.inputs import number, whole

from .entries import mark_used
from .ratings import Ratings

# The corners of the map on which the simulated people live: about Europe, in degrees.
LATITUDES = (36.0, 60.0)  # south to north
LONGITUDES = (-10.0, 30.0)  # west to east

# How fast allele frequencies change across the map, in logits per standard deviation of position.
# Measured at 1000 x 20,000, seed 0, columns centred: the first two components hold 0.65 % of the
# variance, explain (lat, lon) with R^2 = 0.965 and 0.960, and 850 components hold 90 %. With
# columns scaled to unit variance: 0.60 %, 0.966 and 0.959, 853.
GRADIENT_NORTH, GRADIENT_EAST = 0.077, 0.070

HOME_COLUMNS = [
    "bedrooms", "bathrooms", "sq.ft.", "floors", "lot size",
    "yard size", "list price", "sale price", "property tax",
]  # fmt: skip
INDEPENDENT_HOME_COLUMNS = [
    "bedrooms", "bathrooms", "sq.ft.", "floors", "lot size", "list price",
]  # fmt: skip


def simulated_genotypes(n=1000, snps=20000, seed=0):
    """Genotypes of people whose allele frequencies drift with the place where they live.

    Person i lives at s_i, uniform on the map. SNP j has an overall frequency f_j ~ U(0.05, 0.95)
    and a random direction w_j ~ N(0, diag(gradient^2)); the person carries

        g_ij ~ Binomial(2, sigmoid(logit f_j + w_j . s_i))

    copies of the allele. Each SNP says almost nothing about the place; thousands together do.

    Returns (G, latlon), NumPy arrays: G (n, snps) int8 of 0, 1, 2; latlon (n, 2) float64, degrees.
    Raises TypeError or ValueError where n or snps is not a whole number >= 1.
    Source: a linear version of isolation by distance, Novembre & Stephens 2008; lecture item B20.
    """
    n, snps = whole(n, "n"), whole(snps, "snps")
    rng = np.random.default_rng(whole(seed, "seed", least=0))
    place = rng.random((n, 2))  # (n, 2) in [0, 1): south to north, west to east
    south_west = np.array([LATITUDES[0], LONGITUDES[0]])
    north_east = np.array([LATITUDES[1], LONGITUDES[1]])
    latlon = south_west + place * (north_east - south_west)

    standard = (place - 0.5) * math.sqrt(12.0)  # unit variance in both directions
    gradient = np.array([[GRADIENT_NORTH], [GRADIENT_EAST]])
    genotypes = np.empty((n, snps), dtype=np.int8)
    block = 2000  # all frequencies at once would fill eight times the memory of G
    for first in range(0, snps, block):
        width = min(block, snps - first)
        frequency = rng.uniform(0.05, 0.95, width)
        direction = rng.normal(size=(2, width)) * gradient
        logit = np.log(frequency / (1 - frequency)) + standard @ direction  # (n, width)
        p = (1 / (1 + np.exp(-logit))).astype(np.float32)
        copies = genotypes[:, first : first + width]
        copies[...] = rng.random(p.shape, dtype=np.float32) < p  # the mother's copy
        copies += rng.random(p.shape, dtype=np.float32) < p  # the father's
    mark_used("simulated_genotypes")
    return genotypes, latlon


def simulated_homes(n=1000, seed=0, noise=0.0):
    """A table of homes, three of whose nine columns repeat what the other six say.

        yard size = lot size - sq.ft. / 2,  sale price = list price,  property tax = 0.01 list price

    The other six (INDEPENDENT_HOME_COLUMNS) are correlated but free, so that with noise = 0 the
    table has numerical rank 6. With noise > 0 each repeated value is multiplied by
    1 + noise * N(0, 1), as real ones are: noise = 0.03 is a sale within a few per cent of its list
    price. The independent columns are the same whatever the noise.

    Returns (X, columns): X (n, 9) float64 NumPy array in sq.ft. and dollars, columns a list of 9.
    Raises TypeError or ValueError where n is not a whole number >= 1 or noise is negative.
    Source: lecture items B17, B18 (column redundancy).
    """
    n = whole(n, "n")
    noise = number(noise, "noise", least=0)
    rng = np.random.default_rng(whole(seed, "seed", least=0))
    bedrooms = rng.integers(1, 7, n)
    bathrooms = np.maximum(1, bedrooms - rng.integers(0, 4, n)) + 0.5 * rng.integers(0, 2, n)
    sqft = np.round(500 + 400 * bedrooms + 150 * bathrooms + 250 * np.abs(rng.normal(size=n)))
    floors = rng.integers(1, 4, n)
    lot = np.round(sqft * rng.uniform(1.2, 5.0, n))
    # What the table does not hold (street, age, view) moves the price too: it is a free column.
    list_price = np.round((60_000 + 180 * sqft + 12 * lot) * np.exp(0.25 * rng.normal(size=n)))

    wobble = 1 + noise * rng.normal(size=(3, n))
    columns = {
        "bedrooms": bedrooms,
        "bathrooms": bathrooms,
        "sq.ft.": sqft,
        "floors": floors,
        "lot size": lot,
        "yard size": (lot - 0.5 * sqft) * wobble[0],
        "list price": list_price,
        "sale price": list_price * wobble[1],
        "property tax": 0.01 * list_price * wobble[2],
    }
    mark_used("simulated_homes")
    return np.stack([columns[name] for name in HOME_COLUMNS], 1).astype(np.float64), [*HOME_COLUMNS]


def simulated_ratings(users=120, items=80, rank=4, density=0.25, noise=0.25, seed=0):
    """Ratings that non-negative factors give, of a random part of all pairs.

        rating = round_to_half(clip(W H + noise * N(0, 1), 0.5, 5))

    Each user likes one or two of `rank` genres and each film belongs to one or two, so that W and
    H are sparse and W H lies between 0.5 and 5. Every user and every film has a rating.

    Returns Ratings (see data.movielens) with the films "film 1", "film 2", … and their genres.
    Raises TypeError or ValueError for sizes below 1, a density outside (0, 1] or negative noise.
    Source: planted factors, lecture items A6-A8.
    """
    users, items = whole(users, "users"), whole(items, "items")
    rank = whole(rank, "rank")
    density, noise = number(density, "density", above=0, most=1), number(noise, "noise", least=0)
    rng = np.random.default_rng(whole(seed, "seed", least=0))
    likes = _sparse_factors(rng, users, rank)  # (users, rank), rows sum to 1
    belongs = _sparse_factors(rng, items, rank)  # (items, rank), rows sum to 1
    match = likes @ belongs.T / np.max(likes @ belongs.T)  # (users, items) in [0, 1]
    stars = 0.75 + 4.25 * match + noise * rng.normal(size=match.shape)
    stars = np.clip(np.round(2 * stars) / 2, 0.5, 5.0)

    rated = rng.random(stars.shape) < density
    rated[np.arange(users), rng.integers(0, items, users)] = True
    rated[rng.integers(0, users, items), np.arange(items)] = True
    user, item = np.nonzero(rated)
    mark_used("simulated_ratings")
    return Ratings(
        torch.from_numpy(user),
        torch.from_numpy(item),
        torch.from_numpy(stars[user, item].astype(np.float32)),
        [f"film {i + 1}" for i in range(items)],
        [tuple(f"genre {g + 1}" for g in np.nonzero(row)[0]) for row in belongs],
    )


def _sparse_factors(rng, n, rank):
    """(n, rank) shares: one or two of the factors in each row."""
    factors = np.zeros((n, rank))
    rows = np.arange(n)
    factors[rows, rng.integers(0, rank, n)] += 1.0
    factors[rows, rng.integers(0, rank, n)] += rng.uniform(0.2, 0.8, n)
    return factors / factors.sum(1, keepdims=True)
