"""How does our PCA compare with its peers? Prints seconds, the ratio to each peer, and the error.

    python benchmarks/pca.py [--n 60000] [--k 32] [--repeats 3] [--threads 1]

One matrix for all: the first n training images of MNIST, (n, 784), in single precision. Ours and
the peers take turns in one process; every time contains the centring, and the median over the
repeats counts. Each of our solvers stands against the peers that do the same kind of work. The
error is measured against a decomposition in double precision by NumPy. On one thread processor
time is measured, so that other work on the machine counts as little as it can; on more, wall time.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import statistics
import time

import numpy as np
import scipy
import scipy.sparse.linalg
import sklearn
import sklearn.decomposition
import torch
from threadpoolctl import threadpool_limits

from genai_utils import data
from genai_utils.evaluation import subspace_angle
from genai_utils.printing import say
from genai_utils.structure.pca import PCA

# kind of work -> our solver, and the peers' names for it
KINDS = {
    "SVD of X": ("svd", ["scikit-learn full"]),
    "eigenvectors of XᵀX": ("gram", ["scikit-learn covariance_eigh"]),
    "top k only": ("subspace", ["scikit-learn randomized", "scikit-learn arpack", "scipy svds"]),
}


def ours(x, k, solver):
    """Singular values (k,) and components (d, k) by our PCA."""
    model = PCA(k, solver=solver).fit(torch.from_numpy(x))
    return model.s.numpy(), model.V.numpy()


def by_scikit_learn(x, k, solver):
    """The same by sklearn.decomposition.PCA."""
    model = sklearn.decomposition.PCA(k, svd_solver=solver, random_state=0).fit(x)
    return model.singular_values_, model.components_.T


def by_scipy(x, k):
    """The same by scipy.sparse.linalg.svds, which gives them in rising order."""
    _, s, vt = scipy.sparse.linalg.svds(x - x.mean(0), k, rng=0)
    order = np.argsort(-s)
    return s[order], vt[order].T


def exact(x, k):
    """The same in double precision."""
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return np.sqrt(values[::-1][:k]), vectors[:, ::-1][:, :k]


def call(name, x, k):
    """Singular values and components by the method of this name."""
    if name == "scipy svds":
        return by_scipy(x, k)
    library, solver = name.split(" ")
    return (ours if library == "ours" else by_scikit_learn)(x, k, solver)


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60_000, help="images, from 784 to 60000")
    parser.add_argument("--k", type=int, default=32, help="components, from 1 to 783")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    n, k, repeats, threads = vars(arguments).values()
    if not (784 <= n <= 60_000 and 1 <= k < 784 and repeats >= 1 and threads >= 1):
        parser.error(f"out of range: {vars(arguments)}; see --help")
    x = data.mnist("train", size=28, n=n).x.flatten(1).numpy()  # (n, 784)
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.set_num_threads(threads)

    names = [name for solver, peers in KINDS.values() for name in (f"ours {solver}", *peers)]
    seconds, found = {name: [] for name in names}, {}
    with threadpool_limits(threads):
        s_exact, v_exact = exact(x, k)
        for name in names:
            call(name, x[:784], min(k, 8))  # warm up
        for _ in range(repeats):
            for name in names:
                start = clock()
                found[name] = call(name, x, k)
                seconds[name].append(clock() - start)

    say(
        f"X: {x.shape[0]:,} x {x.shape[1]} {x.dtype}, k = {k}, {threads} thread(s); torch "
        f"{torch.__version__}, scikit-learn {sklearn.__version__}, scipy {scipy.__version__}"
    )
    say(f"{'':29} {'seconds':>8} {'ours / peer':>12} {'error of s':>11} {'angle':>10}")
    for kind, (solver, peers) in KINDS.items():
        say(kind)
        for name in (f"ours {solver}", *peers):
            pairs = zip(seconds[f"ours {solver}"], seconds[name], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            shown = "" if name.startswith("ours") else f"{ratio:.2f}"
            s, v = found[name]
            error = np.abs(s / s_exact - 1).max()
            say(
                f"  {name:27} {statistics.median(seconds[name]):8.2f} {shown:>12} {error:11.1e} "
                f"{subspace_angle(v, v_exact):9.4f}°"
            )


if __name__ == "__main__":
    main()
