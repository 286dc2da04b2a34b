"""Images: the digits that come with scikit-learn, MNIST, and two photographs."""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.inputs import one_of, whole

from .entries import DataError, mark_used
from .search import fetch_or_stand_in, read_bytes

DIGITS_TRAIN = 1437  # of 1,797: 80 %


class Images(NamedTuple):
    """x (N, 1, H, W) float32 in [0, 1], ink = 1; y (N,) int64, the digit."""

    x: torch.Tensor
    y: torch.Tensor


def digits(split="train", size=8):
    """1,797 handwritten digits that need no download.

    split "train" (1,437), "test" (360) or "all" (1,797, in scikit-learn's order). The two parts
    are a fixed random division, the same on every machine. size 8 is the original; 28 and 32 are
    enlarged to 20 x 20 (bilinear) inside a black border, as MNIST's digits are.

    Returns Images. Raises ValueError for another split or size.
    Source: Alpaydin & Kaynak 1998.
    """
    one_of(split, "split", ("train", "test", "all"))
    one_of(size, "size", (8, 28, 32))
    images = _resized_digits(split, size)
    mark_used("digits")
    return images


def _resized_digits(split, size):
    x, y = _all_digits()
    if split != "all":
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(y)))
        part = order[:DIGITS_TRAIN] if split == "train" else order[DIGITS_TRAIN:]
        x, y = x[part], y[part]
    if size > 8:
        x = F.interpolate(x, size=20, mode="bilinear", align_corners=False)
        x = F.pad(x, [(size - 20) // 2] * 4)
    return Images(x.clone(), y.clone())  # clones: what a reader changes in place stays his own


@functools.lru_cache(maxsize=1)
def _all_digits():
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.from_numpy(raw.images.astype(np.float32) / 16)[:, None]  # (1797, 1, 8, 8)
    return x, torch.from_numpy(raw.target.astype(np.int64))


def mnist(split="train", size=28, n=None):
    """MNIST: 60,000 training and 10,000 test digits.

    split "train", "test" or "all"; size 28 is the original, 32 puts two black pixels on every
    side, 16 takes of that the mean over 2×2 pixels; n keeps the first n. Where MNIST cannot be had
    (no network, or the ci profile) the enlarged `digits` stand in for it, with one printed line;
    `used()` names them.

    Returns Images. Raises ValueError or TypeError for another split, size or n, DataError for
    files that are damaged.
    Source: LeCun et al. 1998.
    """
    one_of(split, "split", ("train", "test", "all"))
    one_of(size, "size", (16, 28, 32))
    if n is not None:
        n = whole(n, "n", most={"train": 60_000, "test": 10_000, "all": 70_000}[split])
    # All four files, whichever split: train and test must never come from different data sets.
    paths = fetch_or_stand_in("mnist")
    if paths is None:
        x, y = _resized_digits(split, 32 if size == 16 else size)
        mark_used("digits (stand-in for mnist)")
        return Images((F.avg_pool2d(x, 2) if size == 16 else x)[:n], y[:n])
    parts = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}[split]
    x = np.concatenate([_idx(paths[f"{part}-images-idx3-ubyte"], 3) for part in parts])[:n]
    y = np.concatenate([_idx(paths[f"{part}-labels-idx1-ubyte"], 1) for part in parts])[:n]
    x = torch.from_numpy(x.astype(np.float32) / 255)[:, None]  # (N, 1, 28, 28)
    if size != 28:
        x = F.pad(x, [2, 2, 2, 2])  # (N, 1, 32, 32)
    if size == 16:
        x = F.avg_pool2d(x, 2)  # (N, 1, 16, 16)
    mark_used("mnist")
    return Images(x, torch.from_numpy(y.astype(np.int64)))


def _idx(path, dimensions):
    """The uint8 array of an IDX file: magic 0 0 8 d, then d big-endian sizes, then the bytes."""
    raw, head = read_bytes(path), 4 + 4 * dimensions
    if len(raw) < head or raw[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"mnist: {path} is no IDX file of {dimensions}-dimensional bytes")
    shape = tuple(int(side) for side in np.frombuffer(raw[4:head], ">i4"))
    if min(shape) < 0 or len(raw) != head + math.prod(shape):
        raise DataError(f"mnist: {path} says {shape}, and holds {len(raw) - head:,} bytes")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def photographs():
    """Two colour photographs: {"china": …, "flower": …}, each (3, 427, 640) float32 in [0, 1].

    Source: scikit-learn's sample images.
    """
    from sklearn.datasets import load_sample_images

    raw = load_sample_images()
    mark_used("photographs")
    return {
        name.rsplit("/", 1)[-1].removesuffix(".jpg"): torch.from_numpy(
            np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 255
        )
        for name, image in zip(raw.filenames, raw.images, strict=True)
    }
