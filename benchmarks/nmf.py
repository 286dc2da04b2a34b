"""NMF of 3,000 digits into 20 parts, ours and both solvers of scikit-learn, to the same error.

    python -m benchmarks --only nmf-mu nmf-cd

All begin with the same W and H. Against multiplicative updates ("mu") as many updates are made, and
the errors are equal. Coordinate descent ("cd") needs fewer passes: it makes as many as it needs to
come down to our error, found before the race; a pass more or less is up to 2 % of it.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import warnings

import torch

from benchmarks.compare import Race, Row
from genai_utils import data
from genai_utils.structure import nmf

K, N = 20, 3_000


def race(solver: str, quick: bool) -> Race:
    """200 of our updates, or 60, against one of scikit-learn's solvers."""
    import sklearn.decomposition

    X, updates = data.mnist("train", n=N).x.flatten(1), 60 if quick else 200
    n, d = X.shape
    level = (X.mean() / K).sqrt().item()
    start = nmf.random_factor(n, K, level, 0, X), nmf.random_factor(K, d, level, 1, X)

    def theirs(passes):
        W, H = (A.numpy().copy() for A in start)
        model = sklearn.decomposition.NMF(K, init="custom", solver=solver, tol=0, max_iter=passes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            return model.fit_transform(X.numpy(), W=W, H=H), model.components_

    def error(found):
        W, H = map(torch.as_tensor, found)
        return (X - W @ H).square().sum().item()

    def ours():
        model = nmf.NMF(K).fit(X, updates, start)
        return model.W, model.H

    passes = updates
    if solver == "cd":  # the fewest passes that are as good
        aim, passes = error(ours()), 1
        while error(theirs(passes)) > aim:
            passes += 1
    return Race(
        lambda turn: ours,
        lambda turn: lambda: theirs(passes),
        amount=updates,
        quality=error,
        flop=updates * (4 * n * d * K + 4 * (n + d) * K**2),
        bytes=updates * 8 * n * d,
    )


WORK = "NMF, 20 parts of 3,000 digits, to the same error"
ABOUT = {"measure": "squared error", "module": "sklearn", "floor": "X Hᵀ and Wᵀ X for each update"}
ROWS = [
    Row(f"nmf-{solver}", "03_nmf", f"{WORK} ({name})", "scikit-learn", "our updates/s",
        lambda quick, solver=solver: race(solver, quick), slack=slack, small="60 updates",
        **ABOUT)
    for solver, name, slack in (
        ("mu", "multiplicative updates", 1e-4), ("cd", "coordinate descent", 0.02),
    )
]  # fmt: skip
