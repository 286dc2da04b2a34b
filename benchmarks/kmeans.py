"""K-means of MNIST, ours and scikit-learn's, from the same centres; and in small batches.

    python -m benchmarks --only kmeans minibatch

The centres to start from are ten images, the same for both. Both stop at a fixed point, or after as
many moves; the inertias must be equal. In small batches each chooses its own start: the same number
of batches of the same size, and the inertia over all images counts.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import torch

from benchmarks.compare import Race, Row
from genai_utils import data
from genai_utils.structure import clustering

K, BATCH = 10, 1024


def images() -> torch.Tensor:
    """MNIST's training images, (60000, 784)."""
    return data.mnist("train").x.flatten(1)


def lloyd(quick: bool) -> Race:
    """From ten images until nothing moves; quick: ten moves."""
    from sklearn.cluster import KMeans

    X, most = images(), 10 if quick else 300
    centres = X[torch.randperm(len(X), generator=torch.Generator().manual_seed(0))[:K]]

    def peer(turn):
        model = KMeans(K, init=centres.numpy(), n_init=1, tol=0, max_iter=most, algorithm="lloyd")
        return lambda: model.fit(X.numpy()).inertia_

    moves = len(clustering.lloyd(X, centres, most).history) - 1
    return Race(
        lambda turn: lambda: clustering.lloyd(X, centres, most).inertia,
        peer,
        amount=len(X) * moves,
        quality=float,
        flop=2 * X.numel() * K * (moves + 1),
        bytes=4 * X.numel() * (moves + 1),
    )


def minibatch(quick: bool) -> Race:
    """300 batches of 1,024 images, or 100."""
    from sklearn.cluster import MiniBatchKMeans

    X = images()
    steps = 100 if quick else 300

    def peer(turn):
        model = MiniBatchKMeans(
            K, batch_size=BATCH, max_iter=-(-steps * BATCH // len(X)), n_init=1, tol=0,
            max_no_improvement=None, random_state=turn,
        )  # fmt: skip
        return lambda: model.fit(X.numpy()).inertia_

    return Race(
        lambda turn: lambda: clustering.minibatch_kmeans(X, K, BATCH, steps, turn).inertia,
        peer,
        amount=len(X),
        quality=float,
        flop=2 * X.shape[1] * K * (2 * steps * BATCH + len(X)),
        bytes=4 * X.shape[1] * (steps * BATCH + len(X)),
    )


ROWS = [
    Row(
        "kmeans", "01_clustering", "K-means, MNIST 60,000 × 784, K = 10, same start",
        "scikit-learn", "images moved/s", lloyd, "inertia", slack=1e-5, module="sklearn",
        small="10 moves",
        floor="each step reads X once, or X Cᵀ",
    ),
    Row(
        "minibatch", "01_clustering", "mini-batch K-means, MNIST, K = 10, batches of 1,024",
        "scikit-learn", "images/s", minibatch, "inertia", slack=0.01, module="sklearn",
        small="100 batches",
        floor="each batch and at the end X: read once, or times Cᵀ",
    ),
]  # fmt: skip
