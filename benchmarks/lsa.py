"""LSA: the top 100 of 10,662 film reviews, ours and scikit-learn's two ways.

    python -m benchmarks --only lsa-randomised lsa-arpack

All get the same TF-IDF matrix. Ours and ARPACK are exact to rounding, the randomised way is not: of
‖X‖² the 100 directions found hold a share, which says how good they are.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

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


def race(algorithm: str, quick: bool) -> Race:
    """All reviews, or 3,000 of them."""
    import sklearn.decomposition

    X = reviews()
    X = X[:3_000] if quick else X
    energy = X.multiply(X).sum()

    def peer(turn):
        model = sklearn.decomposition.TruncatedSVD(TOP, algorithm=algorithm, random_state=turn)
        return lambda: torch.as_tensor(model.fit(X).components_.T)

    return Race(
        lambda turn: lambda: lsa.LSA(TOP).fit(X).V,
        peer,
        amount=X.shape[0],
        quality=lambda V: (X @ V.numpy()).__pow__(2).sum() / energy,
        flop=0.0,  # a sparse product has no floor that is easily said
    )


WHY = (
    "Ours stays exact, and the randomised way finds a smaller share. The products with X are a "
    "seventh of our time; most of it is Lanczos vectors held orthogonal to each other. Tried: less "
    "room for them (kept: a third more than k; twice as many took longer), a tolerance of 1e-10 "
    "(nearly as many steps), block Krylov (after the same time its share is no higher than that of "
    "the randomised way)."
)
ROWS = [
    Row(f"lsa-{name}", "04_lsa", f"LSA, top 100 of 10,662 reviews, against {title}", "scikit-learn",
        "reviews/s", lambda quick, algorithm=algorithm: race(algorithm, quick), "share of ‖X‖²",
        higher=True, slack=1e-6, module="sklearn", small="3,000 reviews",
        why=WHY if name == "randomised" else "")
    for name, title, algorithm in (
        ("randomised", "a randomised SVD", "randomized"), ("arpack", "ARPACK", "arpack"),
    )
]  # fmt: skip
