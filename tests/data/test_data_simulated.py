"""Simulated tables: the structure that the chapter looks for is in them, and as strong as said."""

import numpy as np
import pytest

from genai_utils import data
from genai_utils.data.simulated import HOME_COLUMNS, INDEPENDENT_HOME_COLUMNS


def spectrum(genotypes):
    """Shares of variance and scores of the principal components, by the small Gram matrix."""
    x = genotypes.astype(np.float32)
    x -= x.mean(0)
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    return values[::-1] / values.sum(), vectors[:, ::-1]


def r_squared(target, scores):
    design = np.c_[np.ones(len(scores)), scores]
    rest = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return 1 - (rest**2).sum(0) / ((target - target.mean(0)) ** 2).sum(0)


def test_two_components_of_the_genotypes_are_the_map_and_little_of_the_variance():
    genotypes, latlon = data.simulated_genotypes(seed=0)
    assert genotypes.shape == (1000, 20_000) and genotypes.dtype == np.int8
    assert set(np.unique(genotypes)) == {0, 1, 2}
    share, score = spectrum(genotypes)
    assert r_squared(latlon, score[:, :2]) == pytest.approx([0.96, 0.96], abs=0.01)
    assert (r_squared(latlon, score[:, 2:4]) < 0.05).all()  # and only those two
    assert share[:2].sum() == pytest.approx(0.0063, abs=0.0006)
    assert share[1] > 1.5 * share[2]
    assert np.searchsorted(share.cumsum(), 0.9) + 1 == pytest.approx(850, abs=5)
    # North-south is the first, east-west the second.
    turn = np.abs(np.corrcoef(np.c_[score[:, :2], latlon].T)[:2, 2:])
    assert turn[0, 0] > 0.9 and turn[1, 1] > 0.9


def test_genotypes_repeat_with_their_seed_and_only_then():
    first, place = data.simulated_genotypes(20, 3000, seed=3)  # more than one block of SNPs
    again, same_place = data.simulated_genotypes(20, 3000, seed=3)
    other, _ = data.simulated_genotypes(20, 3000, seed=4)
    assert np.array_equal(first, again) and np.array_equal(place, same_place)
    assert (first != other).mean() > 0.2
    assert (first[:, :1000] != first[:, 2000:]).mean() > 0.2  # blocks are not copies
    assert place[:, 0].min() >= 36 and place[:, 0].max() <= 60
    assert place[:, 1].min() >= -10 and place[:, 1].max() <= 30


def test_homes_without_noise_have_the_rank_of_their_independent_columns():
    x, columns = data.simulated_homes()
    assert x.shape == (1000, 9) and columns == HOME_COLUMNS
    assert np.linalg.matrix_rank(x) == len(INDEPENDENT_HOME_COLUMNS) == 6
    assert np.linalg.matrix_rank(x - x.mean(0)) == 6
    free = [columns.index(name) for name in INDEPENDENT_HOME_COLUMNS]
    assert np.linalg.matrix_rank(x[:, free]) == 6
    scaled = (x - x.mean(0)) / x.std(0)
    values = np.linalg.svd(scaled, compute_uv=False)
    assert values[5] > 1 and values[6] < 1e-10


def test_homes_keep_the_relations_of_the_slide():
    x, columns = data.simulated_homes(50, seed=1)
    home = dict(zip(columns, x.T, strict=True))
    np.testing.assert_allclose(home["yard size"], home["lot size"] - home["sq.ft."] / 2)
    np.testing.assert_allclose(home["sale price"], home["list price"])
    np.testing.assert_allclose(home["property tax"], 0.01 * home["list price"])
    assert (x > 0).all()


def test_noise_touches_the_repeated_columns_alone():
    exact, columns = data.simulated_homes(500, seed=2)
    noisy, _ = data.simulated_homes(500, seed=2, noise=0.03)
    free = [columns.index(name) for name in INDEPENDENT_HOME_COLUMNS]
    repeated = [i for i in range(9) if i not in free]
    assert np.array_equal(noisy[:, free], exact[:, free])
    ratio = noisy[:, repeated] / exact[:, repeated]
    assert ratio.std(0) == pytest.approx([0.03] * 3, rel=0.15)
    assert np.abs(np.corrcoef(ratio.T) - np.eye(3)).max() < 0.2
    assert np.linalg.matrix_rank(noisy) == 9


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "many", True, None])
def test_a_wrong_number_of_rows_is_an_error_that_says_what_came(wrong):
    for call in (
        lambda: data.simulated_homes(wrong),
        lambda: data.simulated_genotypes(wrong, 10),
        lambda: data.simulated_genotypes(10, wrong),
    ):
        with pytest.raises(
            (ValueError, TypeError), match=f": expected a whole number of at least 1, got {wrong!r}"
        ):
            call()


def test_a_wrong_noise_or_seed_is_an_error_that_says_what_came():
    for noise in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="noise: expected a finite number of at least 0"):
            data.simulated_homes(noise=noise)
    with pytest.raises(TypeError, match="noise: expected a finite number of at least 0"):
        data.simulated_homes(noise="some")
    with pytest.raises(ValueError, match="seed: expected a whole number of at least 0"):
        data.simulated_homes(seed=-1)
    with pytest.raises(TypeError, match="seed: expected a whole number of at least 0"):
        data.simulated_genotypes(10, 10, seed=0.5)
