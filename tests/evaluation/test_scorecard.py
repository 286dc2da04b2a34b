"""The scorecard: real images score at the floor, and each fault of a generator shows where it must.

The faults are made by hand, so that the right answer is known: noise, one repeated image, a blur
(eight principal components), copies of training images, half of the classes.
"""

import random

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from genai_utils import data
from genai_utils.evaluation import Scorecard, frechet_distance, scorecard, sharpness
from genai_utils.evaluation.scorecard import MEASURES


@pytest.fixture(scope="module")
def digits():
    return data.digits("train"), data.digits("test")


@pytest.fixture(scope="module", params=[8, 28])
def made(request):
    """(card, fresh test images that it does not know, train) at both sizes."""
    train, test = data.digits("train", request.param), data.digits("test", request.param)
    few = train.x[:600]  # a quicker search for copies
    return Scorecard((few, test.x[:240]), "digits"), test, few


@pytest.fixture(scope="module")
def scores(made):
    """Name of the fault -> its scores."""
    card, test, train = made
    fresh, generator = test.x[240:], torch.Generator().manual_seed(1)
    sharp = max(range(len(fresh)), key=lambda i: sharpness(fresh[i]))
    mean = train.flatten(1).mean(0)
    _, _, V = torch.linalg.svd(train.flatten(1) - mean, full_matrices=False)
    coarse = (fresh.flatten(1) - mean) @ V[:8].T @ V[:8] + mean
    faults = {
        "real": fresh,
        "noise": torch.rand(fresh.shape, generator=generator),
        "one": fresh[sharp, None].repeat(len(fresh), 1, 1, 1),
        "blur": coarse.clamp(0, 1).reshape(fresh.shape),
        "copies": train[torch.randperm(len(train), generator=generator)[: len(fresh)]],
        "classes lost": test.x[test.y < 5][:120],
    }
    return {name: card.of(x) for name, x in faults.items()}


def test_real_images_score_at_the_floor(scores):
    for name, m in scores["real"].measures.items():
        assert abs(m.value - m.real) <= 4 * (m.spread + m.real_spread) + 1e-9, name
        assert 0 <= m.spread < 0.8 * m.value + 0.03 and m.real_spread > 0, name
    assert scores["real"].n == 120 and list(scores["real"].measures) == list(MEASURES)
    for name in ("sharpness", "diversity", "nearest"):
        assert scores["real"][name].real == pytest.approx(1, abs=0.05)
    assert scores["real"]["copies"].real == pytest.approx(0.01, abs=0.01)


def worst(scores, name, highest):
    values = {fault: each[name].value for fault, each in scores.items()}
    return (max if highest else min)(values, key=values.get)


def test_each_fault_is_worst_where_it_must(scores):
    assert worst(scores, "recognised", False) == "noise" == worst(scores, "sharpness", True)
    assert worst(scores, "nearest", True) == "noise"
    assert worst(scores, "sharpness", False) == "blur"
    assert worst(scores, "nearest", False) == "copies" == worst(scores, "copies", True)
    assert scores["noise"]["recognised"].value == scores["noise"]["classes"].value == 0
    one = scores["one"]
    assert one["diversity"].value == 0 == one["recall"].value and one["classes"].value == 1
    assert scores["copies"]["nearest"].value == 0 and scores["copies"]["copies"].value == 1
    assert scores["classes lost"]["classes"].value < 6 < scores["real"]["classes"].value


def test_every_fault_but_copies_is_far_above_the_floor(scores):
    for fault, each in scores.items():
        m = each["frechet"]
        above = (m.value - m.real) / (m.spread + m.real_spread)
        assert above < 1.5 if fault in ("real", "copies") else above > 1.5, fault
        assert m.real == scores["real"]["frechet"].real  # the floor belongs to n


def test_the_floor_is_real_against_real_at_the_same_n(digits):
    train, test = digits
    card = Scorecard((train.x[:300], test), "digits")
    features = card.judge.features(test.x)
    generator = torch.Generator().manual_seed(9)
    for n in (60, 90, 180):
        splits = [torch.randperm(len(features), generator=generator) for _ in range(40)]
        mine = [frechet_distance(features[o[:n]], features[o[n : 2 * n]]) for o in splits]
        found = card.of(test.x[:n])["frechet"]
        assert found.real == pytest.approx(np.mean(mine), rel=0.25)
        assert found.real_spread == pytest.approx(np.std(mine), rel=0.7)


def test_the_reference_is_not_among_the_real_images_of_the_floor(digits, monkeypatch):
    seen = []
    card = Scorecard((digits[0].x[:50], digits[1]), "digits", n=100)
    monkeypatch.setattr(
        scorecard, "frechet_distance", lambda a, b: seen.append((a, b)) or frechet_distance(a, b)
    )
    card.of(torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    splits = seen[1 + scorecard.DRAWS :]
    assert len(splits) == scorecard.DRAWS
    for one, two in splits:
        assert one.shape == two.shape == (100, 64) and torch.cdist(one, two).min() > 0
    assert seen[0][0].shape == seen[0][1].shape == (100, 64)
    assert all(a.shape == b.shape == (50, 64) for a, b in seen[1 : 1 + scorecard.DRAWS])


def test_the_spread_is_the_standard_error():
    """Of a share it is known: sqrt(p (1 - p) / n)."""
    train, test = data.digits("train"), data.digits("test")
    card = Scorecard((train.x[:50], test), "digits")
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(90, 1, 8, 8, generator=generator)
    spreads = []
    for i in range(12):
        x = torch.cat([noise, test.x[10 * i : 10 * i + 90]])
        spreads.append(card.of(x)["recognised"].spread)
    assert np.mean(spreads) == pytest.approx((0.5 * 0.5 / 180) ** 0.5, rel=0.25)


def test_it_answers_alike_and_leaves_the_random_state(digits):
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    train, test = digits
    pair = (train.x[:100], test.x)
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    expected = draw()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    card = Scorecard(pair, "digits")
    first = card.of(test.x[:50])
    assert draw() == expected
    card.of(train.x[:100])
    assert (
        card.of(test.x[:50]) == first == Scorecard(pair, "digits").of(test.x[:50].double().numpy())
    )
    assert card.of(test.x[:50, 0]) == first
    assert Scorecard(pair, "digits", seed=1).of(test.x[:50]) != first


def test_of_many_images_a_random_n_is_taken(digits):
    train, test = digits
    card = Scorecard((train.x[:100], test.x), "digits", n=60)
    sorted_by_class = train.x[train.y.argsort()]
    scores = card.of(sorted_by_class)
    assert scores.n == 60 and scores["classes"].value > 7  # the first 60 are all zeros
    assert Scorecard((train.x[:100], test.x), "digits").n == 180  # half of the 360


def test_it_prints_as_a_table_and_gives_rows(scores):
    result = scores["real"]
    head, titles, *lines = str(result).splitlines()
    assert head.startswith("120 images; judge of the bundled digits")
    assert titles.split() == ["measure", "images", "real"] and len(lines) == len(MEASURES)
    m = result["precision"]
    row = next(row for row in result.rows() if row["measure"] == "precision")
    assert row["images"] == f"{m.value:.2f} ± {m.spread:.2f}"
    assert row["real"] == f"{m.real:.2f} ± {m.real_spread:.2f}"
    assert any(all(text in line for text in row.values()) for line in lines)


def test_it_finds_out_which_digits_were_loaded(digits):
    train, test = digits
    data.forget_used()
    with pytest.raises(ValueError, match=r"digits: expected .* or data.used\(\), got \[\]"):
        Scorecard((train.x[:50], test.x))
    data.digits("test", 28)
    large = data.digits("train", 28).x[:50], data.digits("test", 28).x
    assert "brought back to 8 x 8" in str(Scorecard(large).judge)


def test_black_and_white_is_compared_with_black_and_white(digits):
    train, test = (torch.bernoulli(part.x, generator=torch.Generator().manual_seed(3))
                   for part in digits)  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    binary = torch.bernoulli(digits[1].x[180:], generator=generator)
    like = Scorecard((train[:100], test[:180]), "digits").of(binary)["frechet"]
    unlike = Scorecard((digits[0].x[:100], digits[1].x[:180]), "digits").of(binary)["frechet"]
    assert like.value < like.real + 3 * like.real_spread < unlike.value


def test_it_refuses_nonsense(digits):
    train, test = digits[0].x[:40], digits[1].x
    card = Scorecard((train, test), "digits")
    shape = r"images of the data's shape \(N, 1, 8, 8\)"
    for images, error, message in [
        (test[:20, :, :7], ValueError, rf"images: expected {shape}, got \(20, 1, 7, 8\)"),
        (torch.rand(20, 3, 8, 8), ValueError, rf"images: expected {shape}, got \(20, 3, 8, 8\)"),
        (test[0], ValueError, rf"images: expected {shape}|at least 8"),
        (test[:7], ValueError, "images: expected at least 8 of them, got 7"),
        (2 * test - 1, ValueError, "images: expected pixels between 0 and 1, got values from -1"),
        (test[:20] * torch.nan, ValueError, "images: expected finite numbers, got 1280 NaN"),
        ("pictures", TypeError, "images: expected a torch tensor or NumPy array"),
    ]:
        with pytest.raises(error, match=message):
            card.of(images)
    side = torch.rand(40, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    one = test[:1].repeat(40, 1, 1, 1)
    for pair, options, message in [
        ((side, side), {}, "size: expected 8, 16 or 28 to 32 pixels, got 20"),
        ((train, side), {}, r"test: expected images of train's shape, \(1, 8, 8\), got \(1, 20"),
        ((train, test[:15]), {}, "test: expected at least 16 images, got 15"),
        (train, {}, r"data: expected a pair, \(train, test\), got Tensor"),
        ((train, test), {"n": 7}, "n: expected a whole number of at least 8, got 7"),
        ((train, test), {"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ((train, train), {}, "test: expected images that are not flat, .* not those of train"),
        ((train, one), {}, "test: expected images that are not flat, not all alike"),
        ((train, 0 * test), {}, "test: expected images that are not flat"),
    ]:
        with pytest.raises(ValueError, match=message):
            Scorecard(pair, "digits", **options)


def test_mnist_by_the_larger_judge(monkeypatch):
    monkeypatch.setattr("genai_utils.data.search._stood_in", set())
    train, test = data.mnist("train"), data.mnist("test")
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine")
    order = torch.randperm(len(test.x), generator=torch.Generator().manual_seed(0))
    x = test.x[order]
    card = Scorecard((train.x[:2000], x[:1000]), ["mnist"])
    assert "judge of MNIST" in str(card.judge) and card.n == 500
    real = card.of(x[1000:1500])
    blurred = card.of(torch.from_numpy(gaussian_filter(x[1000:1500].numpy(), (0, 0, 1, 1))))
    assert abs(real["frechet"].value - real["frechet"].real) < 3 * real["frechet"].spread
    assert blurred["frechet"].value > 2 * real["frechet"].value
    assert blurred["sharpness"].value < 0.2 < 0.9 < real["sharpness"].value


def test_only_recognised_images_have_a_class(digits):
    train, test = digits
    card = Scorecard((train.x[:50], test), "digits")
    ones = test.x[test.y == 1][:1].repeat(40, 1, 1, 1)
    noise = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    scores = card.of(torch.cat([ones, noise]))
    assert scores["classes"].value == pytest.approx(1) and scores["recognised"].value == 0.5


def test_copies_are_found_where_some_test_images_are_copies_too(digits):
    train, test = digits[0].x[:60], digits[1].x
    card = Scorecard((train, torch.cat([train[:10], test[:200]])), "digits")
    scores = card.of(train)
    assert scores["copies"].value == 1 and scores["copies"].real == pytest.approx(0.05, abs=0.03)
