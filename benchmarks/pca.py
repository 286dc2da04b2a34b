"""PCA of MNIST, (60000, 784) in single precision: our solvers against their peers.

    python -m benchmarks --only pca-full pca-gram pca-top pca-svds

Each of our solvers stands against the peers that do the same kind of work, and every time contains
the centring. How good: the largest relative error of the k singular values, measured against a
decomposition in double precision by NumPy. Several solvers of one kind do not ask for the same
accuracy: the randomised one of scikit-learn picks its number of passes by itself (4 or 7), ours
(block Krylov) makes 4 and keeps them all; an error of 1e-3 is taken as good enough. Where the top
32 are to be exact, our Gram solver stands against SciPy's Lanczos iteration.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import numpy as np
import torch

from benchmarks.compare import Race, Row
from genai_utils import data
from genai_utils.structure.pca import PCA

K = 32


def by_scikit_learn(solver):
    """Singular values (k,) of x by sklearn.decomposition.PCA."""
    import sklearn.decomposition

    return lambda x: (
        sklearn.decomposition.PCA(K, svd_solver=solver, random_state=0).fit(x).singular_values_
    )


def by_scipy(x):
    """The same by scipy.sparse.linalg.svds, which gives them in rising order."""
    import scipy.sparse.linalg

    return scipy.sparse.linalg.svds(x - x.mean(0), K, rng=0)[1][::-1]


def exact(x):
    """The same in double precision."""
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    return np.sqrt(np.linalg.eigvalsh(centred.T @ centred)[::-1][:K])


def race(solver, peer, products, quick):
    """All images, or 20,000. products(d): with how many columns X has to be multiplied."""
    x = data.mnist("train", size=28, n=20_000 if quick else 60_000).x.flatten(1).numpy()
    n, d = x.shape
    s = exact(x)
    return Race(
        lambda turn: lambda: PCA(K, solver=solver).fit(torch.from_numpy(x)).s.numpy(),
        lambda turn: lambda: peer(x),
        amount=n,
        quality=lambda found: np.abs(found / s - 1).max(),
        flop=2 * n * d * products(d),
        bytes=4 * n * d,
    )


def row(name, what, solver, package, peer, products, floor, why=""):
    """One of our solvers against one peer."""
    return Row(
        f"pca-{name}", "02_pca", f"PCA of MNIST 60,000 × 784, {what}", package, "images/s",
        lambda quick: race(solver, peer, products, quick), "error of s", enough=1e-3,
        small="20,000 images",
        module=package.replace("scikit-learn", "sklearn"), floor=floor, why=why,
    )  # fmt: skip


WHY = (
    "As quick as the peer, within the spread. With blocks of XᵀX by PyTorch, and X looked at four "
    "times (a round origin, the mean, the difference, the product), it was 0.75. Now NumPy "
    "computes the symmetric product, and X is looked at once, from a point near its mean. Parts of "
    "1,024 to 4,096 rows took up to 7 % longer, all rows at once 24 %, blocks halved again and "
    "again by PyTorch a fifth. The singular values are 200 times as close to the exact ones as the "
    "peer's."
)
# A QR of X takes 2 n d², XᵀX half a product, n d²; the top k at least one pass over X and one back.
ROWS = [
    row("full", "all by an SVD", "svd", "scikit-learn", by_scikit_learn("full"), lambda d: d,
        "the QR of X"),
    row("gram", "by XᵀX", "gram", "scikit-learn", by_scikit_learn("covariance_eigh"),
        lambda d: d / 2, "half of XᵀX, which is symmetric", WHY),
    row("top", "top 32, randomised", "krylov", "scikit-learn", by_scikit_learn("randomized"),
        lambda d: 2 * K, "X and Xᵀ times 32 vectors, once each"),
    row("svds", "top 32, exact", "gram", "scipy", by_scipy, lambda d: 2 * K,
        "X and Xᵀ times 32 vectors, once each"),
]  # fmt: skip
