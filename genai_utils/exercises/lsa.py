"""Exercises of notebook 04_lsa: weights of words, cosines, folding in, averages, saturation."""

import torch

from genai_utils.checks import exercise
from genai_utils.structure import lsa

NOTEBOOK = "04_lsa"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def frequencies(seed):
    g = _generator(seed)
    cases = []
    for words, n in ((4, 9), (6, 30), (9, 200)):
        df = torch.randint(1, n, (words,), generator=g).double()
        df[0], df[-1] = 0, n  # a word of no document, and one of every document
        cases.append((df, n))
    return cases


exercise(
    lsa.idf,
    cases=frequencies,
    mistakes={
        "not smoothed": (
            lambda document_frequency, n: torch.log(n / document_frequency) + 1,
            "You left out the ones that are added to n and to the document frequency: a word of no "
            "document now gets an infinite weight.",
        ),
        "without the last one": (
            lambda document_frequency, n: torch.log((1 + n) / (1 + document_frequency)),
            "You left out the + 1 at the end: a word of every document would vanish altogether.",
        ),
        "upside down": (
            lambda document_frequency, n: torch.log((1 + document_frequency) / (1 + n)) + 1,
            "Your fraction is upside down: rare words should get the larger weight.",
        ),
        "no logarithm": (
            lambda document_frequency, n: (1 + n) / (1 + document_frequency) + 1,
            "You left out the logarithm: a word of one document in a million would outweigh all "
            "others.",
        ),
        "base two": (
            lambda document_frequency, n: torch.log2((1 + n) / (1 + document_frequency)) + 1,
            "You took the logarithm to base 2: the natural one, torch.log, is asked for.",
        ),
    },
    hints=[
        "The fewer documents hold a word, the larger its weight: which number goes below the line?",
        "Add 1 to both numbers, divide, take torch.log, add 1.",
    ],
)


def rows_and_factors(seed):
    g = _generator(seed)
    cases = []
    for m, words, k in ((3, 6, 2), (5, 8, 3), (4, 9, 5)):
        V = torch.linalg.qr(torch.randn(words, k, generator=g)).Q
        s = 1 + torch.rand(k, generator=g).cumsum(0).flip(0)
        cases.append((torch.rand(m, words, generator=g), V, s))
    return cases


exercise(
    lsa.query_codes,
    cases=rows_and_factors,
    mistakes={
        "not divided": (
            lambda X, V, s: X @ V,
            "You returned X V: that is the code where Z = X V_k. Here Z = U_k, so s still has to "
            "be divided out.",
        ),
        "multiplied": (
            lambda X, V, s: X @ V * s,
            "You multiplied by the singular values: X V already holds them once, so divide.",
        ),
        "divided twice": (
            lambda X, V, s: X @ V / s**2,
            "You divided by the squares of the singular values: X V = U diag(s) holds them once.",
        ),
        "reconstruction": (
            lambda X, V, s: X @ V @ V.T,
            "You went back to the words: the code has k numbers, not one for each word.",
        ),
        "rows made unit length": (
            lambda X, V, s: X @ V / (X @ V).norm(dim=1, keepdim=True),
            "You gave each code length 1. Instead divide component i by the i-th singular value.",
        ),
    },
    hints=[
        "Start from X = U diag(s) V^T, and multiply both sides by V from the right. V^T V = I.",
        "That gives X V = U diag(s). What is U?",
        "Dividing (m, k) by (k,) divides column i by the i-th number.",
    ],
    grad=["X"],
)


def codes_and_query(seed):
    g = _generator(seed)
    cases = []
    for n, k in ((4, 3), (7, 2), (9, 5)):
        Z = torch.randn(n, k, generator=g) * (1 + 3 * torch.rand(n, 1, generator=g))
        cases.append((Z, torch.randn(k, generator=g) * 2))
    cases[1][0][2] = 0  # a document without a known word
    cases.append((torch.randn(5, 3, generator=g), torch.zeros(3)))
    return cases


exercise(
    lsa.cosine_scores,
    cases=codes_and_query,
    mistakes={
        "inner products": (
            lambda Z, z: Z @ z,
            "You returned the inner products: a long document would win only because it is long.",
        ),
        "division by zero": (
            lambda Z, z: Z @ z / (Z.norm(dim=1) * z.norm()),
            "A document (or a query) of zeros has length 0, and 0 / 0 is NaN: its score should "
            "be 0.",
        ),
        "query not divided": (
            lambda Z, z: torch.where(Z.norm(dim=1) > 0, Z @ z / Z.norm(dim=1).clamp(min=1e-30), 0),
            "You divided by the documents' lengths only: the ranking is right, but a cosine also "
            "divides by the query's length.",
        ),
        "one length for all": (
            lambda Z, z: Z @ z / (Z.norm() * z.norm()).clamp(min=1e-30),
            "You divided by the length of the whole matrix: each row has its own, norm(dim=1).",
        ),
        "squared lengths": (
            lambda Z, z: Z @ z / (Z.square().sum(1) * z.square().sum()).clamp(min=1e-30),
            "You divided by the squared lengths: take the square root of each.",
        ),
        "distance": (
            lambda Z, z: (Z - z).norm(dim=1),
            "You returned distances: cosines are asked for, and those grow with the similarity.",
        ),
    },
    hints=[
        "Z @ z holds the inner product of each document with the query, (n,).",
        "Z.norm(dim=1) holds the n lengths of the documents; the query has one length.",
        "Where the product of the lengths is 0, torch.where can put a 0.",
    ],
)


def counts_and_lengths(seed):
    g = _generator(seed)
    cases = []
    for n, words in ((3, 5), (6, 4), (4, 8)):
        count = torch.randint(0, 5, (n, words), generator=g).double()
        count[:, 0] += 1
        length = count.sum(dim=1)
        cases.append((count, length / length.mean()))
    cases.append((cases[0][0], cases[0][1], 0.9, 0.4))
    return cases


exercise(
    lsa.saturated,
    cases=counts_and_lengths,
    mistakes={
        "length ignored": (
            lambda count, length, k1=1.5, b=0.75: (k1 + 1) * count / (count + k1),
            "You left out the length: in a long document each count should be worth less.",
        ),
        "b on the wrong side": (
            lambda count, length, k1=1.5, b=0.75: (
                (k1 + 1) * count / (count + k1 * (b + (1 - b) * length)[:, None])
            ),
            "You gave the length the share 1 - b: it should get the share b.",
        ),
        "numerator": (
            lambda count, length, k1=1.5, b=0.75: (
                count / (count + k1 * (1 - b + b * length)[:, None])
            ),
            "You left out the factor k1 + 1, which makes one word in a document of mean length "
            "worth exactly 1.",
        ),
        "not saturated": (
            lambda count, length, k1=1.5, b=0.75: (
                (k1 + 1) * count / (1 + k1 * (1 - b + b * length)[:, None])
            ),
            "Your value grows without end: the count itself has to stand below the line too.",
        ),
        "k1 outside": (
            lambda count, length, k1=1.5, b=0.75: (
                (k1 + 1) * count / (count + (k1 * (1 - b) + b * length)[:, None])
            ),
            "You multiplied only 1 - b by k1: the whole bracket (1 - b + b l) is multiplied.",
        ),
    },
    hints=[
        "The bracket (1 - b + b l) has one number per document, (n,). Which shape must it have to "
        "stand below counts (n, V)?",
        "crowd[:, None] turns (n,) into (n, 1), which PyTorch spreads over the V words.",
        "Then (k1 + 1) * count / (count + crowd).",
    ],
)


def sentences(seed):
    g = _generator(seed)
    cases = []
    for q, words, d in ((4, 6, 3), (5, 9, 2), (8, 7, 4)):
        ids = torch.randint(0, words, (q,), generator=g)
        ids[1] = -1
        cases.append((ids, torch.randn(words, d, generator=g)))
    cases[2][0][-1] = -1
    cases.append((torch.full((3,), -1), torch.randn(5, 2, generator=g)))
    return cases


def _known(ids):
    return ids[ids >= 0]


exercise(
    lsa.average_vector,
    cases=sentences,
    mistakes={
        "unknown words counted as the last word": (
            lambda ids, vectors: vectors[ids].mean(dim=0),
            "You used -1 as an index, which picks the last word of the vocabulary: leave the "
            "unknown words out first.",
        ),
        "nan where nothing is known": (
            lambda ids, vectors: vectors[_known(ids)].mean(dim=0),
            "A sentence without a known word gave NaN, a mean over nothing: return zeros there.",
        ),
        "unknown words in the count": (
            lambda ids, vectors: vectors[_known(ids)].sum(dim=0) / len(ids),
            "You divided by the number of all words: q counts only those that are known.",
        ),
        "sum": (
            lambda ids, vectors: vectors[_known(ids)].sum(dim=0),
            "You added the vectors up: divide by their number, or long sentences get long vectors.",
        ),
        "as printed on the slide": (
            lambda ids, vectors: (
                vectors[_known(ids)[-1]] if len(_known(ids)) else torch.zeros_like(vectors[0])
            ),
            "You returned the last word's vector: that is what the slide's y_q says (erratum Y18). "
            "The average runs over all the y_i.",
        ),
        "mean over the dimensions": (
            lambda ids, vectors: (
                vectors[_known(ids)].mean(dim=1) if len(_known(ids)) else torch.zeros(0)
            ),
            "You averaged over the d numbers of each word: average over the words, dimension 0.",
        ),
    },
    hints=[
        "ids[ids >= 0] keeps the words that are known.",
        "vectors[known] has one row per word; the mean over dimension 0 has shape (d,).",
        "If no word is known, torch.zeros_like(vectors[0]) is the answer.",
    ],
)
