"""Images: equal to their source, in [0, 1], split without overlap, padded with zeros alone."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images

from genai_utils import data
from genai_utils.data.images import _idx


def test_digits_are_those_of_scikit_learn():
    raw = load_digits()
    x, y = data.digits("all")
    assert x.shape == (1797, 1, 8, 8) and x.dtype == torch.float32 and y.dtype == torch.int64
    np.testing.assert_array_equal(x[:, 0].numpy() * 16, raw.images)
    np.testing.assert_array_equal(y.numpy(), raw.target)
    assert data.used() == ["digits"]


def test_digits_are_divided_into_two_parts_that_make_the_whole():
    whole = data.digits("all")
    train, test = data.digits("train"), data.digits("test")
    assert len(train.x) == len(train.y) == 1437 and len(test.x) == len(test.y) == 360

    def rows(part):
        return np.concatenate([part.x.flatten(1).numpy(), part.y[:, None].numpy()], 1)

    both = np.concatenate([rows(train), rows(test)])
    np.testing.assert_array_equal(np.unique(both, axis=0), np.unique(rows(whole), axis=0))
    assert len(np.unique(both, axis=0)) == len(np.unique(rows(whole), axis=0)) == 1797
    assert test.y.bincount(minlength=10).min() >= 20  # no class is missing from the small part
    again = data.digits("test")
    assert torch.equal(again.x, test.x)


def test_what_is_done_to_one_copy_of_the_digits_does_not_reach_the_next():
    data.digits("all").x.zero_()
    assert data.digits("all").x.sum() > 0


@pytest.mark.parametrize("size", [28, 32])
def test_enlarged_digits_lie_in_a_black_border_like_those_of_mnist(size):
    small, x = data.digits("test").x, data.digits("test", size).x
    assert x.shape == (360, 1, size, size) and x.min() >= 0 and x.max() <= 1
    edge = (size - 20) // 2
    inner = x[:, :, edge:-edge, edge:-edge]
    assert inner.shape[-1] == 20 and torch.isclose(inner.sum(), x.sum())
    # the same picture: averaged down again it is nearly the original
    again = F.adaptive_avg_pool2d(inner, 8)
    assert torch.corrcoef(torch.stack([again.flatten(), small.flatten()]))[0, 1] > 0.95


def test_mnist_is_read_as_it_was_written(small_mnist):
    raw, labels = small_mnist["train"]
    x, y = data.mnist("train")
    assert x.shape == (30, 1, 28, 28) and x.dtype == torch.float32 and y.dtype == torch.int64
    np.testing.assert_array_equal(np.round(x[:, 0].numpy() * 255), raw)
    np.testing.assert_array_equal(y.numpy(), labels)
    assert x.max() == 1 and x.min() == 0
    np.testing.assert_array_equal(
        np.round(data.mnist("test").x[:, 0].numpy() * 255), small_mnist["t10k"][0]
    )
    both = data.mnist("all")
    assert len(both.x) == len(both.y) == 42 and torch.equal(both.x[:30], x)
    assert data.used() == ["mnist"]


def test_mnist_32_is_mnist_28_with_two_zeros_on_every_side(small_mnist):
    wide, narrow = data.mnist("test", size=32).x, data.mnist("test").x
    assert wide.shape == (12, 1, 32, 32)
    assert torch.equal(wide[:, :, 2:30, 2:30], narrow)
    assert torch.isclose(wide.double().sum(), narrow.double().sum())


def test_mnist_16_is_the_mean_over_squares_of_mnist_32(small_mnist):
    half, wide = data.mnist("test", size=16).x, data.mnist("test", size=32).x
    squares = wide.reshape(12, 1, 16, 2, 16, 2)
    torch.testing.assert_close(half, squares.mean((3, 5)))
    assert half.std() > 0.01


def test_n_keeps_the_first_n(small_mnist):
    some = data.mnist("train", n=7)
    assert len(some.x) == len(some.y) == 7
    assert torch.equal(some.x, data.mnist("train").x[:7])


def test_the_real_mnist(real_data):
    x, y = data.mnist("test")
    assert x.shape == (10_000, 1, 28, 28)
    assert y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    wide = data.mnist("train", size=32, n=100)
    assert wide.x.shape == (100, 1, 32, 32) and wide.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert wide.x[:, :, :2].abs().sum() == wide.x[:, :, :, -2:].abs().sum() == 0
    assert 0.10 < wide.x[:, :, 2:30, 2:30].mean() < 0.16  # MNIST's mean ink is 0.13


@pytest.fixture
def mnist_nowhere(monkeypatch, dead_url):
    entry = data.catalogue["mnist"]
    files = tuple(dataclasses.replace(file, urls=(dead_url,)) for file in entry.files)
    monkeypatch.setitem(data.catalogue, "mnist", dataclasses.replace(entry, files=files))


@pytest.mark.parametrize("profile", ["ci", "cpu"])
def test_without_mnist_the_digits_stand_in_and_say_so_once(
    mnist_nowhere, monkeypatch, capsys, profile
):
    monkeypatch.setenv("GENAI_PROFILE", profile)
    x, y = data.mnist("train", size=32, n=5000)  # more than the digits have
    assert x.shape == (1437, 1, 32, 32) and len(y) == 1437
    assert torch.equal(x, data.digits("train", 32).x)
    assert data.mnist("test", n=10).x.shape == (10, 1, 28, 28)
    half, labels = data.mnist("train", size=16, n=50)
    assert torch.equal(labels, y[:50])
    torch.testing.assert_close(half, x[:50].reshape(50, 1, 16, 2, 16, 2).mean((3, 5)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "using the bundled digits instead" in lines[0]
    assert "digits (stand-in for mnist)" in data.used() and "mnist" not in data.used()


def test_a_stand_in_ends_when_the_data_arrive(mnist_nowhere, request):
    data.mnist("test")
    request.getfixturevalue("small_mnist")  # GENAI_DATA now names a folder that has it
    assert len(data.mnist("test").x) == 12


def test_photographs_are_those_of_scikit_learn():
    found = data.photographs()
    assert list(found) == ["china", "flower"]
    for mine, raw in zip(found.values(), load_sample_images().images, strict=True):
        assert mine.shape == (3, 427, 640) and mine.dtype == torch.float32
        np.testing.assert_array_equal(np.round(mine.permute(1, 2, 0).numpy() * 255), raw)


@pytest.mark.parametrize("loader", [data.digits, data.mnist])
@pytest.mark.parametrize("split", ["validation", "", None, 0, ["train"]])
def test_a_wrong_split_is_an_error_that_lists_the_right_ones(loader, split):
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test', 'all', got"):
        loader(split)


@pytest.mark.parametrize(
    ("loader", "size"),
    [(data.digits, 16), (data.digits, -8), (data.mnist, 8), (data.mnist, 28.0), (data.mnist, "28")],
)
def test_a_wrong_size_is_an_error_that_lists_the_right_ones(loader, size):
    with pytest.raises(ValueError, match="size: expected one of .*28, 32, got"):
        loader(size=size)


@pytest.mark.parametrize(
    ("n", "error"),
    [(-1, ValueError), (0, ValueError), (60_001, ValueError), (1.5, TypeError), (True, TypeError)],
)
def test_a_wrong_n_is_an_error_that_says_what_came(n, error):
    shown = f"{n:,}" if error is ValueError else n
    with pytest.raises(error, match=f"n: expected a whole number from 1 to 60,000, got {shown}"):
        data.mnist("train", n=n)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "is no IDX file of 3-dimensional bytes"),
        (bytes([0, 0, 8, 3, 0, 0]), "is no IDX file of 3-dimensional bytes"),
        (bytes([0, 0, 8, 1]) + bytes(12), "is no IDX file of 3-dimensional bytes"),
        (bytes([0, 0, 8, 3, *[0, 0, 0, 2] * 3]) + bytes(7), r"says \(2, 2, 2\), and holds 7 bytes"),
        (bytes([0, 0, 8, 3, *[255] * 8, 0, 0, 0, 7]) + bytes(7), r"says \(-1, -1, 7\), and holds"),
    ],
)
def test_an_idx_file_that_is_none_is_an_error_that_names_it(tmp_path, raw, complaint):
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(data.DataError, match=f"mnist: {tmp_path / 'x'} {complaint}"):
        _idx(tmp_path / "x", 3)
