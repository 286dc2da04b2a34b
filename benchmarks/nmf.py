"""NMF of 3,000 digits into 20 parts, ours and both solvers of scikit-learn, to the same error.

    python -m benchmarks --only nmf-mu nmf-cd

All begin with the same W and H. Each of our solvers stands against the peer's of the same rule:
multiplicative updates ("mu") against "mu", row by row ("hals") against coordinate descent ("cd").
The peer makes as many updates as are asked for, ours the fewest with which its error is as low,
found before the race: where it repeats the cheap part of an update (`inner`), it needs fewer. That
does not pay for "hals" so near to its end, where it needs nearly as many.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import warnings

import torch

from benchmarks.compare import Race, Row
from genai_utils import data
from genai_utils.structure import nmf

K, N = 20, 3_000


def race(solver: str, inner: int, peer: str, quick: bool) -> Race:
    """200 updates, or 60, by one of scikit-learn's solvers, and as many of ours as it takes."""
    import sklearn.decomposition

    X, updates = data.mnist("train", n=N).x.flatten(1), 60 if quick else 200
    n, d = X.shape
    level = (X.mean() / K).sqrt().item()
    start = nmf.random_factor(n, K, level, 0, X), nmf.random_factor(K, d, level, 1, X)

    def theirs():
        W, H = (A.numpy().copy() for A in start)
        model = sklearn.decomposition.NMF(K, init="custom", solver=peer, tol=0, max_iter=updates)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            return model.fit_transform(X.numpy(), W=W, H=H), model.components_

    def error(found):
        W, H = map(torch.as_tensor, found)
        return (X - W @ H).square().sum().item()

    model, aim = nmf.NMF(K, solver=solver, inner=inner), error(theirs())
    losses = model.fit(X, 2 * updates, start).history
    ours = next((t for t, loss in enumerate(losses) if loss <= aim * (1 + 1e-5)), 2 * updates)

    def fitted():
        model.fit(X, ours, start)
        return model.W, model.H

    return Race(
        lambda turn: fitted,
        lambda turn: theirs,
        amount=updates,
        quality=error,
        flop=ours * (4 * n * d * K + 2 * (1 + inner) * (n + d) * K**2),
        bytes=ours * 8 * n * d,
    )


WORK = "NMF, 20 parts of 3,000 digits, to the same error"
ABOUT = {"measure": "squared error", "module": "sklearn", "floor": "X Hᵀ and Wᵀ X for each update"}
WHY = {
    "cd": "Both do the same, row by row. Tried: a plain loop over the rows, rows scaled "
    "beforehand, a product and a sum in one call (kept), and rows repeated with the same products "
    "(slower: near its end nearly as many updates are needed)."
}
ROWS = [
    Row(f"nmf-{given[-1]}", "03_nmf", f"{WORK} ({name})", "scikit-learn", "of its updates/s",
        lambda quick, given=given: race(*given, quick), slack=1e-4, small="60 updates",
        why=WHY.get(given[-1], ""), **ABOUT)
    for given, name in (
        (("mu", 2, "mu"), "multiplicative updates"), (("hals", 1, "cd"), "coordinate descent"),
    )
]  # fmt: skip
