"""LSA: the top 100 of 10,662 film reviews, ours and scikit-learn's two ways.

    python -m benchmarks --only lsa-randomised lsa-arpack

All get the same TF-IDF matrix. Lanczos iteration, ours and ARPACK's, is exact to rounding, the
randomised ways are not: of ‖X‖² the 100 directions hold a share, which says how good they are.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

from functools import partial

import torch

from benchmarks.compare import Race, Row
from genai_utils import data
from genai_utils.structure import lsa

TOP = 100


def reviews():
    """TF-IDF of all reviews whose words stand at least twice, sparse (n, V)."""
    sentences = [data.words(text) for text in data.reviews().texts]
    vocabulary = data.Vocabulary(sentences, min_count=2)
    return lsa.TfIdf().fit_transform(lsa.bag_of_words(sentences, vocabulary))


def race(solver: str, algorithm: str, quick: bool) -> Race:
    """Our solver against scikit-learn's algorithm: all reviews, or 3,000 of them."""
    import sklearn.decomposition

    X = reviews()
    X = X[:3_000] if quick else X
    energy = X.multiply(X).sum()

    def peer(turn):
        model = sklearn.decomposition.TruncatedSVD(TOP, algorithm=algorithm, random_state=turn)
        return lambda: torch.as_tensor(model.fit(X).components_.copy()).T

    return Race(
        lambda turn: lambda: lsa.LSA(TOP, solver=solver).fit(X).V,
        peer,
        amount=X.shape[0],
        quality=lambda V: (X @ V.numpy()).__pow__(2).sum() / energy,
        flop=4 * X.nnz * TOP + 2 * min(X.shape) * TOP**2,
        bytes=2 * (X.data.nbytes + X.indices.nbytes),
    )


ROWS = [
    Row(f"lsa-{name}", "04_lsa", f"LSA, top 100 of 10,662 reviews, {title}", "scikit-learn",
        "reviews/s", partial(race, solver, algorithm), "share of ‖X‖²", higher=True, slack=1e-6,
        module="sklearn", small="3,000 reviews",
        floor="X and Xᵀ times 100 vectors, once each, and these made orthogonal")
    for name, title, solver, algorithm in (
        ("randomised", "randomised", "randomised", "randomized"),
        ("arpack", "exact, against ARPACK", "lanczos", "arpack"),
    )
]  # fmt: skip
