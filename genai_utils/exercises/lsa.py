"""Exercises of notebook 04_lsa: weights of words, cosines, folding in, averages, saturation."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
from genai_utils.structure import lsa

NOTEBOOK = "04_lsa"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def frequencies(seed):
    g = _generator(seed)
    cases = []
    for words, n in ((4, 9), (6, 30), (9, 200)):
        cases.append((torch.randint(1, n, (words,), generator=g).double(), n))
    return cases


def with_unseen(seed):
    return [(torch.cat([df, torch.zeros(1).double()]), n) for df, n in frequencies(seed)]


def with_everywhere(seed):
    return [(torch.cat([df, torch.tensor([n]).double()]), n) for df, n in frequencies(seed)]


def whole_frequencies(seed):
    return [(df.long(), n) for df, n in frequencies(seed)]


def _idf(document_frequency, n):
    return torch.log((1 + n) / (1 + document_frequency)) + 1


def _idf_of_the_same_kind(document_frequency, n):
    out = torch.zeros_like(document_frequency)
    for j in range(len(out)):
        out[j] = _idf(document_frequency[j], n)
    return out


exercise(
    lsa.idf,
    cases=frequencies,
    mistakes={
        "not smoothed": (
            lambda document_frequency, n: torch.log(n / document_frequency) + 1,
            "You left out the ones that are added to n and to the document frequency: a word of no "
            "document would get an infinite weight.",
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
        "as in many books": (
            lambda document_frequency, n: torch.log(n / document_frequency),
            "This is the plain ln(n / df) of many books. Here a 1 is added to n, to the document "
            "frequency and to the logarithm.",
        ),
        "base ten": (
            lambda document_frequency, n: torch.log10((1 + n) / (1 + document_frequency)) + 1,
            "You took the logarithm to base 10: the natural one, torch.log, is asked for.",
        ),
        "base two": (
            lambda document_frequency, n: torch.log2((1 + n) / (1 + document_frequency)) + 1,
            "You took the logarithm to base 2: the natural one, torch.log, is asked for.",
        ),
    },
    clauses={
        "word of no document": Clause(
            with_unseen,
            "A word of no document (df = 0) needs nothing of its own: the formula gives it the "
            "largest weight, ln(1 + n) + 1.",
            lambda document_frequency, n: _idf(document_frequency.clamp(min=1), n),
        ),
        "word of every document": Clause(
            with_everywhere,
            "A word of every document (df = n) gets the weight 1, not less: ln 1 + 1.",
            lambda document_frequency, n: (
                _idf(document_frequency, n) * (document_frequency < n).double()
            ),
        ),
        "whole numbers": Clause(
            whole_frequencies,
            "The document frequencies may come as whole numbers (int64); the weights are floats "
            "all the same. A tensor made by zeros_like of whole numbers cannot hold them.",
            _idf_of_the_same_kind,
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


def one_row_or_one_column(seed):
    (X, V, s), (Y, W, t), _ = rows_and_factors(seed)
    return [(X[:1], V, s), (Y, W[:, :1], t[:1])]


def small_values(seed):
    return [(X, V, 1e-5 * s) for X, V, s in rows_and_factors(seed)]


def with_an_empty_row(seed):
    return [(torch.cat([X, 0 * X[:1]]), V, s) for X, V, s in rows_and_factors(seed)]


def _codes_of_unit_rows(X, V, s):
    lengths = X.norm(dim=1, keepdim=True)
    return X / lengths @ V / s * lengths


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
        "centred": (
            lambda X, V, s: (X - X.mean(dim=0)) @ V / s,
            "You took off the mean of the rows: a document's code must not depend on which others "
            "come with it.",
        ),
    },
    clauses={
        "one document, or k = 1": Clause(
            one_row_or_one_column,
            "The result has the shape (m, k) also for one document (m = 1) and for k = 1: "
            "squeeze, or a sum too much, takes that dimension away.",
            lambda X, V, s: (X @ V / s).squeeze(),
        ),
        "small singular values": Clause(
            small_values,
            "Divide by s as it is: something added to it or a lower limit changes the codes where "
            "the singular values are small.",
            lambda X, V, s: X @ V / s.clamp(min=1e-3),
        ),
        "document of zeros": Clause(
            with_an_empty_row,
            "A document without a known word is a row of zeros: its code is 0, not NaN. Do not "
            "divide by a document's length.",
            _codes_of_unit_rows,
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
    return cases


def with_a_zero_document(seed):
    return [(torch.cat([Z, 0 * Z[:1]]), z) for Z, z in codes_and_query(seed)]


def with_a_zero_query(seed):
    return [(Z, 0 * z) for Z, z in codes_and_query(seed)]


def short_codes(seed):
    return [(1e-5 * Z, 1e-5 * z) for Z, z in codes_and_query(seed)]


def one_code(seed):
    return [(Z[:1], z) for Z, z in codes_and_query(seed)]


def _cosines(Z, z):
    return F.normalize(Z, dim=1) @ F.normalize(z, dim=0)


def _cosines_nan_for_documents(Z, z):
    return Z / Z.norm(dim=1, keepdim=True) @ F.normalize(z, dim=0)


def _cosines_nan_for_queries(Z, z):
    return F.normalize(Z, dim=1) @ (z / z.norm())


exercise(
    lsa.cosine_scores,
    cases=codes_and_query,
    mistakes={
        "inner products": (
            lambda Z, z: Z @ z,
            "You returned the inner products: a long document would win only because it is long.",
        ),
        "query not divided": (
            lambda Z, z: F.normalize(Z, dim=1) @ z,
            "You divided by the documents' lengths only: the ranking is right, but a cosine also "
            "divides by the query's length.",
        ),
        "one length for all": (
            lambda Z, z: Z @ z / (Z.norm() * z.norm()),
            "You divided by the length of the whole matrix: each row has its own, norm(dim=1).",
        ),
        "squared lengths": (
            lambda Z, z: Z @ z / (Z.square().sum(1) * z.square().sum()),
            "You divided by the squared lengths: take the square root of each.",
        ),
        "distance": (
            lambda Z, z: (Z - z).norm(dim=1),
            "You returned distances: cosines are asked for, and those grow with the similarity.",
        ),
        "negative ones cut off": (
            lambda Z, z: _cosines(Z, z).clamp(min=0),
            "You cut off the negative cosines, or took their size: a document that points the "
            "other way has a cosine below 0.",
        ),
    },
    clauses={
        "document of zeros": Clause(
            with_a_zero_document,
            "A document of zeros has length 0, and 0 / 0 is NaN: its score should be 0.",
            _cosines_nan_for_documents,
        ),
        "query of zeros": Clause(
            with_a_zero_query,
            "A query of zeros has length 0, and 0 / 0 is NaN: all its scores should be 0.",
            _cosines_nan_for_queries,
        ),
        "short vectors": Clause(
            short_codes,
            "A cosine does not depend on the lengths, however small they are: what you add to the "
            "denominator, or its lower limit, changes the scores of short vectors. Only a length "
            "of exactly 0 is special.",
            lambda Z, z: Z @ z / (Z.norm(dim=1) * z.norm() + 1e-8),
        ),
        "one document": Clause(
            one_code,
            "For one document, Z (1, k), the result has the shape (1,): squeeze takes that "
            "dimension away.",
            lambda Z, z: _cosines(Z, z).squeeze(),
        ),
    },
    hints=[
        "Z @ z holds the inner product of each document with the query, (n,).",
        "Z.norm(dim=1) holds the n lengths of the documents; the query has one length.",
        "Where the product of the lengths is 0, torch.where can put a 0 in place of 0 / 0.",
    ],
)


def counts_and_lengths(seed):
    g = _generator(seed)
    cases = []
    for n, words, k1, b in ((3, 5, 0.9, 0.4), (6, 4, 2.0, 0.7), (4, 8, 1.2, 0.9)):
        count = torch.randint(0, 5, (n, words), generator=g).double()
        count[:, 0] += 1
        length = count.sum(dim=1)
        cases.append((count, length / length.mean(), k1, b))
    return cases


def without_options(seed):
    return [(count, length) for count, length, _, _ in counts_and_lengths(seed)]


def nothing_over_nothing(seed):
    cases = []
    for count, length, k1, _ in counts_and_lengths(seed):
        cases.append((count, length, 0.0, 0.5))  # 1 for each word that is there
        longer = F.pad(length, (0, 1)) * (1 + 1 / len(count))  # an empty document; mean 1
        cases.append((torch.cat([count, 0 * count[:1]]), longer, k1, 1.0))
    return cases


def a_few_of_all(seed):
    cases = counts_and_lengths(seed)
    return [(count[:2], length[:2] + 0.5, k1, b) for count, length, k1, b in cases]


def whole_counts(seed):
    return [(count.long(), *rest) for count, *rest in counts_and_lengths(seed)]


def _saturated(count, length, k1=1.5, b=0.75):
    crowd = k1 * (1 - b + b * length)[:, None]
    return (k1 + 1) * count / (count + crowd).clamp(min=1e-30)


def _saturated_of_the_same_kind(count, length, k1=1.5, b=0.75):
    out = torch.zeros_like(count)
    out[:] = _saturated(count, length, k1, b)
    return out


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
        "options ignored": (
            lambda count, length, k1=1.5, b=0.75: _saturated(count, length),
            "Your value is always that of k1 = 1.5 and b = 0.75: these are only the defaults, use "
            "the arguments k1 and b.",
        ),
    },
    clauses={
        "defaults": Clause(
            without_options,
            "Called without them, k1 is 1.5 and b is 0.75: keep the defaults of the signature.",
            lambda count, length, k1=1.2, b=0.75: _saturated(count, length, k1, b),
        ),
        "nothing stays nothing": Clause(
            nothing_over_nothing,
            "A count of 0 stays 0, also where k1 = 0 or a document is empty: the formula gives "
            "0 / 0 there, which is NaN.",
            lambda count, length, k1=1.5, b=0.75: (
                (k1 + 1) * count / (count + k1 * (1 - b + b * length)[:, None])
            ),
        ),
        "length divided already": Clause(
            a_few_of_all,
            "The length is divided by the mean of all documents already, and those given may be a "
            "few of them: do not divide by the mean of these again.",
            lambda count, length, k1=1.5, b=0.75: _saturated(count, length / length.mean(), k1, b),
        ),
        "whole counts": Clause(
            whole_counts,
            "The counts may come as whole numbers (int64); their worth is a float all the same. A "
            "tensor made by zeros_like of whole numbers cannot hold it.",
            _saturated_of_the_same_kind,
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
    for q, words, d in ((4, 6, 3), (5, 9, 2), (7, 10, 4)):
        ids = 1 + torch.randperm(words - 1, generator=g)[:q]  # not word 0, and no word twice
        ids[1] = -1
        cases.append((ids, torch.randn(words, d, generator=g)))
    cases[2][0][-1] = -1
    return cases


def none_known(seed):
    return [(torch.full((3,), -1), vectors) for _, vectors in sentences(seed)]


def no_words(seed):
    return [(ids[:0], vectors) for ids, vectors in sentences(seed)]


def with_word_zero(seed):
    return [(torch.cat([ids, torch.tensor([0])]), vectors) for ids, vectors in sentences(seed)]


def with_a_word_twice(seed):
    return [(torch.cat([ids[:1], ids]), vectors) for ids, vectors in sentences(seed)]


def _average(ids, vectors):
    return vectors[_known(ids)].sum(dim=0) / max(len(_known(ids)), 1)


def _average_unless_none_known(ids, vectors):
    return _average(ids, vectors) if len(ids) == 0 else vectors[_known(ids)].mean(dim=0)


def _average_by_maximum(ids, vectors):
    return torch.zeros_like(vectors[0]) if ids.max() < 0 else _average(ids, vectors)


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
        "unknown words counted as word 0": (
            lambda ids, vectors: vectors[ids.clamp(min=0)].mean(dim=0),
            "You turned -1 into 0, which is the number of a word like any other: leave the unknown "
            "words out first.",
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
            lambda ids, vectors: vectors[_known(ids)[-1]],
            "You returned the last word's vector: that is what the slide's y_q says (erratum Y18). "
            "The average runs over all the y_i.",
        ),
        "mean over the dimensions": (
            lambda ids, vectors: vectors[_known(ids)].mean(dim=1),
            "You averaged over the d numbers of each word: average over the words, dimension 0.",
        ),
    },
    clauses={
        "none known": Clause(
            none_known,
            "A sentence without a known word has no mean, 0 / 0 is NaN: return zeros there, floats "
            "of shape (d,).",
            _average_unless_none_known,
        ),
        "no words": Clause(
            no_words,
            "A sentence may have no word at all, ids of shape (0,): return zeros of shape (d,) "
            "there. It has no maximum, and no mean.",
            _average_by_maximum,
        ),
        "word 0": Clause(
            with_word_zero,
            "0 is the number of a word like any other: only -1 means that a word is not known.",
            lambda ids, vectors: _average(ids[(ids > 0) | (len(_known(ids)) == 0)], vectors),
        ),
        "a word twice": Clause(
            with_a_word_twice,
            "A word that stands twice in the sentence counts twice: the mean is over the places, "
            "not over the different words.",
            lambda ids, vectors: _average(ids.unique(), vectors),
        ),
    },
    hints=[
        "ids[ids >= 0] keeps the words that are known.",
        "vectors[known] has one row per word; the mean over dimension 0 has shape (d,).",
        "If no word is known, torch.zeros_like(vectors[0]) is the answer.",
    ],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "page-or-topic",
        "A page asks with its first paragraph, a dozen words; the right answers are the pages of "
        "its See Also list. Whose first ten answers hold more of them: those of LSA, trained on "
        "the whole texts, with 100 numbers for a page, or those of TF-IDF?",
        "c",
        "TF-IDF has a recall of 0.56, LSA one of 0.43. Linked pages tend to use the same rare "
        "words, and these are in the tail that LSA cuts off. For the right topic LSA is the "
        "better one (section 4.6).",
        choices=("LSA's, clearly", "both alike", "TF-IDF's, clearly"),
    ),
)
