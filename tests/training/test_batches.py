"""Batches: each example once per epoch, and nothing but (seed, step) decides."""

import numpy as np
import pytest
import torch

from genai_utils.training import TensorBatches, WindowBatches, dynamic_binarize


@pytest.mark.parametrize("n, batch_size", [(12, 4), (10, 4), (7, 7), (5, 1), (9, 5)])
def test_each_epoch_holds_each_example_once(n, batch_size):
    batches = TensorBatches(torch.arange(n), batch_size=batch_size)
    stream = [int(i) for step in range(4 * n) for i in batches(step)]
    assert all(len(batches(step)) == batch_size for step in range(2 * n))
    epochs = [stream[e * n : (e + 1) * n] for e in range(4 * batch_size)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    if n > 5:
        assert epochs[0] != epochs[1] != list(range(n))  # shuffled anew


def test_a_batch_is_a_function_of_seed_and_step():
    x = torch.rand(30, 3)
    options = {"batch_size": 7, "transform": dynamic_binarize}
    batches = TensorBatches(x, seed=5, **options)
    forward = [batches(step) for step in range(12)]
    torch.manual_seed(99)  # the global random numbers play no part,
    before = torch.get_rng_state()
    again = TensorBatches(x, seed=5, **options)
    for step in reversed(range(12)):  # nor does the order in which batches are asked for
        assert torch.equal(again(step), forward[step])
    assert torch.equal(torch.get_rng_state(), before)
    other = TensorBatches(x, seed=6, **options)
    assert not all(torch.equal(other(step), forward[step]) for step in range(12))


def test_neighbouring_seeds_share_no_epochs():
    orders = [
        tuple(TensorBatches(torch.arange(50), batch_size=5, seed=s).permutation(e).tolist())
        for s in range(6)
        for e in range(6)
    ]
    assert len(set(orders)) == 36


def test_several_tensors_stay_together():
    x, y = torch.arange(20.0).view(10, 2), torch.arange(10)
    for step in range(8):
        xs, ys = TensorBatches(x, y, batch_size=4)(step)
        assert torch.equal(xs, x[ys])


def test_dynamic_binarize_is_a_fair_coin_per_pixel():
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).repeat(20_000, 1)
    labels = torch.arange(20_000)
    x, kept = dynamic_binarize((p, labels), torch.Generator().manual_seed(0))
    assert kept is labels and x.dtype == p.dtype and set(x.unique().tolist()) == {0.0, 1.0}
    sigma = (p[0] * (1 - p[0]) / 20_000).sqrt()
    assert ((x.mean(0) - p[0]).abs() <= 4 * sigma).all()  # exact where p is 0 or 1
    batches = TensorBatches(p[:100, 1:4], batch_size=100, transform=dynamic_binarize)
    assert not torch.equal(batches(0), batches(1))  # drawn anew at each step


@pytest.mark.parametrize(
    "batch_size, error, message",
    [
        (0, ValueError, "a whole number of at least 1, got 0"),
        (-3, ValueError, "a whole number of at least 1, got -3"),
        (11, ValueError, "at most the number of examples, 10, got 11"),
        (2.0, TypeError, "a whole number of at least 1, got 2.0"),
        (True, TypeError, "a whole number of at least 1, got True"),
        ("8", TypeError, "a whole number of at least 1, got '8'"),
    ],
)
def test_bad_batch_sizes(batch_size, error, message):
    with pytest.raises(error, match=f"batch_size: expected {message}"):
        TensorBatches(torch.zeros(10, 2), batch_size=batch_size)


@pytest.mark.parametrize(
    "tensors, error, message",
    [
        ((), ValueError, "at least one"),
        (([1, 2],), TypeError, "NumPy array, got a list"),
        ((torch.tensor(1.0),), ValueError, "scalar"),
        ((torch.zeros(0, 3), torch.zeros(0)), ValueError, "at least one example, got none"),
        ((torch.zeros(2), np.zeros(2, object)), TypeError, "NumPy array of object"),
        ((torch.zeros(3), torch.zeros(4)), ValueError, "3, 4"),
        (
            (torch.tensor([0.0, torch.nan, torch.inf]),),
            ValueError,
            "finite numbers, got 2 NaN or infinite of 3",
        ),
    ],
)
def test_bad_tensors(tensors, error, message):
    with pytest.raises(error, match=message):
        TensorBatches(*tensors, batch_size=1)


def test_bad_transforms_and_steps():
    with pytest.raises(ValueError, match="got values from 0 to 255; divide by 255"):
        TensorBatches(torch.tensor([0.0, 255.0]), batch_size=1, transform=dynamic_binarize)
    with pytest.raises(TypeError, match="int64"):
        dynamic_binarize(torch.tensor([0, 1]), torch.Generator())
    with pytest.raises(TypeError, match="transform: expected a function .*, got 'binarize'"):
        TensorBatches(torch.zeros(2), batch_size=1, transform="binarize")
    with pytest.raises(ValueError, match="got -1"):
        TensorBatches(torch.zeros(2), batch_size=1)(-1)


def test_windows_are_runs_of_the_sequence_and_depend_on_the_step_alone():
    ids = torch.arange(50) * 3
    batches = WindowBatches(ids, 8, 5, seed=1)
    seen = [batches(step) for step in range(40)]
    assert all(b.shape == (5, 8) and (b.diff(dim=1) == 3).all() for b in seen)
    assert min(int(b.min()) for b in seen) == 0
    assert max(int(b.max()) for b in seen) == 147  # the last window is drawn too
    assert torch.equal(WindowBatches(ids, 8, 5, seed=1)(17), seen[17])
    assert not torch.equal(WindowBatches(ids, 8, 5, seed=2)(17), seen[17])
    assert torch.equal(WindowBatches(ids[:8], 8, 2)(3), ids[:8].expand(2, 8))


@pytest.mark.parametrize(
    "ids, length, size, message",
    [
        (torch.zeros(3, 3), 2, 2, "one sequence"),
        (torch.zeros(5), 6, 2, "ids: expected a sequence of at least 6, .* got 5; take a longer"),
        (torch.zeros(5), 0, 2, "length"),
        (torch.zeros(5), 2, 0, "batch_size: expected a whole number of at least 1, got 0"),
        (torch.zeros(0), 1, 2, "ids: expected a sequence of at least 1, .* got 0"),
    ],
)
def test_windows_refuse(ids, length, size, message):
    with pytest.raises(ValueError, match=message):
        WindowBatches(ids, length, size)


def test_arrays_and_numbers_of_numpy_give_the_batches_of_tensors_and_ints():
    x, y = torch.rand(10, 3), torch.arange(10)
    mine = TensorBatches(x, y, batch_size=4, seed=3)
    theirs = TensorBatches(x.numpy(), y.numpy(), batch_size=np.int64(4), seed=np.int64(3))
    windows = WindowBatches(y, 3, 2, seed=3)
    same = WindowBatches(y.numpy(), np.int64(3), np.int64(2), seed=np.int64(3))
    for step in range(5):
        for a, b in zip(mine(step), theirs(np.int64(step)), strict=True):
            assert torch.equal(a, b) and a.dtype == b.dtype
        assert torch.equal(windows(step), same(np.int64(step)))
    assert repr(mine) == repr(theirs) and repr(windows) == repr(same)
    coins = [TensorBatches(x, batch_size=4, transform=dynamic_binarize)(s) for s in (2, np.int8(2))]
    assert torch.equal(*coins)


@pytest.mark.parametrize("step", [-1, 1.5, None])
def test_steps_are_whole_numbers_from_0(step):
    for batches in (
        TensorBatches(torch.zeros(4), batch_size=2),
        WindowBatches(torch.zeros(4), 2, 2),
    ):
        with pytest.raises((ValueError, TypeError), match="step: expected a whole number of at le"):
            batches(step)


def test_coins_are_not_thrown_for_nan():
    with pytest.raises(ValueError, match="got values from nan to nan"):
        dynamic_binarize(torch.tensor([0.5, torch.nan]), torch.Generator())
    for p in (0.0, 1.0):  # certain outcomes are certain
        x = torch.full((1000,), p, dtype=torch.float64)
        assert torch.equal(dynamic_binarize(x, torch.Generator().manual_seed(0)), x)
