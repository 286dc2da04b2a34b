"""LSA against scikit-learn, its own identities, and bad input; sentence features by hand."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from genai_utils import data
from genai_utils.structure import lsa, pca

TIGHT = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(scope="module")
def lee():
    texts = data.lee().background
    documents = [data.words(text) for text in texts]
    vocabulary = data.Vocabulary(documents, min_count=2)
    return texts, vocabulary, lsa.bag_of_words(documents, vocabulary)


@pytest.fixture(scope="module")
def weighted(lee):
    return lsa.TfIdf("log").fit_transform(lee[2])


def gaussian(n=40, d=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64) + 0.5


# --- counts and weights


def test_the_lectures_three_reviews():
    vocabulary = data.Vocabulary([[word] for word in REVIEW_WORDS])
    X = lsa.bag_of_words([data.words(text) for text in REVIEWS], vocabulary).toarray()
    order = [vocabulary.index[word] for word in REVIEW_WORDS]
    assert X[:, order].tolist() == [
        [1, 1, 1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ]
    assert X[0] @ X[1] == 0 and len(order) == 8  # erratum Y17


REVIEW_WORDS = ["small", "handy", "excellent", "great", "quality", "compact", "easy", "difficult"]
REVIEWS = [
    "Very small and handy for traveling or camping. Excellent quality, operation, and appearance.",
    "So far this thing is great. Well designed, compact, and easy to use. I'll never use another "
    "can opener.",
    "Not entirely sure this was worth $20. Mom couldn't figure out how to use it and it's fairly "
    "difficult to turn for someone with arthritis.",
]


def test_counts_equal_scikit_learns(lee):
    texts, vocabulary, X = lee
    peer = CountVectorizer(analyzer=data.words, vocabulary=vocabulary.words).fit_transform(texts)
    assert abs(X - peer).max() == 0
    assert X.max() > 5  # there is something to count


@pytest.mark.parametrize("local, settings", [(None, {}), ("log", {"sublinear_tf": True})])
def test_tf_idf_equals_scikit_learns(lee, local, settings):
    texts, vocabulary, X = lee
    peer = TfidfVectorizer(analyzer=data.words, vocabulary=vocabulary.words, **settings)
    wanted = peer.fit_transform(texts[:200])
    model = lsa.TfIdf(local).fit(X[:200])
    assert abs(model.transform(X[:200]) - wanted).max() < 1e-14
    assert abs(model.transform(X[200:]) - peer.transform(texts[200:])).max() < 1e-14
    np.testing.assert_allclose(model.idf, peer.idf_, rtol=1e-14)


def test_transform_leaves_the_counts_alone(lee):
    X = lee[2].copy()
    for local in ("log", "bm25"):
        lsa.TfIdf(local).fit_transform(X)
    assert abs(X - lee[2]).max() == 0


def test_saturated_counts_by_hand_and_in_the_sparse_matrix():
    count = torch.tensor([[0.0, 1.0, 4.0], [2.0, 0.0, 1.0]], dtype=torch.float64)
    length = count.sum(1) / count.sum(1).mean()  # 5/4 and 3/4
    crowd = [1.5 * (0.25 + 0.75 * 1.25), 1.5 * (0.25 + 0.75 * 0.75)]
    wanted = [[0, 2.5 / (1 + crowd[0]), 10 / (4 + crowd[0])],
              [5 / (2 + crowd[1]), 0, 2.5 / (1 + crowd[1])]]  # fmt: skip
    got = lsa.saturated(count, length)
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float64), **TIGHT)
    assert (lsa.saturated(count * 1e9, length) <= 2.5).all()
    X = sp.csr_array(count.numpy())
    model = lsa.TfIdf("bm25").fit(X)
    by_hand = lsa.unit_rows(got * model.idf)
    np.testing.assert_allclose(model.transform(X).toarray(), by_hand, atol=1e-12)


def test_unit_rows_keep_zero_rows():
    A = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert lsa.unit_rows(A).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    np.testing.assert_allclose(lsa.unit_rows(sp.csr_array(A.numpy())).toarray(), lsa.unit_rows(A))


def test_order_of_the_words_changes_nothing():
    pair = [["john", "likes", "mary"], ["mary", "likes", "john"]]
    vocabulary = data.Vocabulary(pair)
    X = lsa.bag_of_words(pair, vocabulary)
    assert abs(X[[0]] - X[[1]]).max() == 0
    T = lsa.TfIdf().fit_transform(X)
    assert abs(T[[0]] - T[[1]]).max() == 0


# --- bad input


def test_no_documents_and_no_words():
    vocabulary = data.Vocabulary([["a", "b"]])
    with pytest.raises(ValueError, match="corpus is empty"):
        lsa.bag_of_words([], vocabulary)
    with pytest.raises(TypeError, match="words"):
        lsa.bag_of_words(["a b"], vocabulary)
    nothing = lsa.bag_of_words([["x"], []], vocabulary)
    assert nothing.shape == (2, 2) and nothing.nnz == 0
    for fit in (lsa.LSA(1).fit, lsa.TfIdf().fit):
        with pytest.raises(ValueError, match="zero everywhere"):
            fit(nothing)


def test_a_document_of_unknown_words_gets_zeros_and_a_score_of_zero(lee, weighted):
    _, vocabulary, X = lee
    unknown = lsa.bag_of_words([["zzz", "qqq"], []], vocabulary)
    model = lsa.TfIdf("log").fit(X)
    T = model.transform(unknown)
    assert T.nnz == 0
    for scaling in ("documents", "words"):
        codes = lsa.LSA(5, scaling).fit(weighted)
        z = codes.transform(T)
        assert (z == 0).all()
        assert (lsa.cosine_scores(codes.Z, z[0]) == 0).all()
    assert lsa.TfIdf("bm25").fit(X).transform(unknown).nnz == 0
    best, scores = lsa.search(codes.Z, z[0], 3)
    assert best.tolist() == [0, 1, 2] and (scores == 0).all()


@pytest.mark.parametrize("k", [0, -1, 13, 2.0, None, True])
def test_k_that_makes_no_sense(k):
    with pytest.raises((ValueError, TypeError), match="k: expected a whole number"):
        lsa.LSA(k).fit(gaussian())


def test_other_bad_input(lee):
    X = lee[2]
    with pytest.raises(TypeError, match="X: expected"):
        lsa.truncated_svd("the cat", 1)
    with pytest.raises(ValueError, match="NaN"):
        lsa.truncated_svd(torch.tensor([[1.0, math.nan], [0.0, 1.0]]), 1)
    with pytest.raises(ValueError, match="at least one number"):
        lsa.truncated_svd(torch.zeros(3, 0), 1)
    with pytest.raises(ValueError, match="not fitted"):
        lsa.LSA(2).transform(X)
    with pytest.raises(ValueError, match=r"matrix \(n, \d+\)"):
        lsa.LSA(2).fit(X).transform(X[:, :7])
    with pytest.raises(ValueError, match=r"matrix \(n, \d+\)"):
        lsa.TfIdf().fit(X).transform(X[:, :7])
    with pytest.raises(ValueError, match="local"):
        lsa.TfIdf("tf")
    with pytest.raises(ValueError, match="scaling"):
        lsa.LSA(2, "both")
    with pytest.raises(ValueError, match="solver"):
        lsa.LSA(2, solver="power")


# --- the factorisation


def test_the_three_routes_agree_with_each_other_and_with_scikit_learn(weighted):
    U, s, V = lsa.truncated_svd(weighted, 20)  # Lanczos: 300 documents
    dense_U, dense_s, dense_V = pca.thin_svd(torch.as_tensor(weighted.toarray()))
    torch.testing.assert_close(s, dense_s[:20], **TIGHT)
    torch.testing.assert_close(V, dense_V[:, :20], rtol=0, atol=1e-8)
    torch.testing.assert_close(U, dense_U[:, :20], rtol=0, atol=1e-8)
    torch.testing.assert_close(lsa.truncated_svd(weighted, 200)[1], dense_s[:200], **TIGHT)
    torch.testing.assert_close(lsa.truncated_svd(weighted[:150], 9)[1],
                               pca.thin_svd(torch.as_tensor(weighted[:150].toarray()))[1][:9],
                               **TIGHT)  # fmt: skip
    peer = TruncatedSVD(20, algorithm="arpack", random_state=0).fit(weighted)
    np.testing.assert_allclose(s, peer.singular_values_, rtol=1e-9)
    cosines = np.abs((V.T.numpy() * peer.components_).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e30])
@pytest.mark.parametrize("turned", [False, True])
def test_random_directions_hold_nearly_as_much_and_are_orthonormal(weighted, scale, turned):
    X = (weighted.T if turned else weighted) * scale
    U, s, V = lsa.truncated_svd(X, 20, "randomised")
    best = lsa.truncated_svd(X, 20)[1]
    assert 0.985 < ((s / best) ** 2).mean() <= 1 + 1e-9 and not torch.allclose(s, best, rtol=1e-9)
    for part in (U, V):
        torch.testing.assert_close(part.T @ part, torch.eye(20).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.as_tensor(X @ V.numpy()), U * s, rtol=0, atol=1e-9 * scale)
    assert (lsa.LSA(20, solver="randomised").fit(X).s == s).all()


def test_random_directions_are_the_top_ones_where_few_hold_everything():
    g = torch.Generator().manual_seed(0)
    X = torch.randn(400, 7, generator=g).double() @ torch.randn(7, 300, generator=g).double()
    _, s, V = lsa.truncated_svd(X, 5, "randomised")
    _, wanted, W = pca.thin_svd(X)
    torch.testing.assert_close(s, wanted[:5], **TIGHT)
    torch.testing.assert_close(V, W[:, :5], rtol=0, atol=1e-6)


def test_every_run_gives_the_same(weighted):
    one, two = (lsa.LSA(10).fit(weighted) for _ in range(2))
    assert (one.Z == two.Z).all() and (one.Y == two.Y).all()
    assert (one.s.diff() < 0).all()
    largest = one.V.gather(0, one.V.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_both_scalings_give_the_same_matrix_and_each_keeps_its_geometry(weighted):
    """Lecture item B38, and the geometry of chapter 2."""
    documents, words = (lsa.LSA(15, scaling).fit(weighted) for scaling in ("documents", "words"))
    near = documents.Z @ documents.Y  # X_k
    torch.testing.assert_close(near, words.Z @ words.Y, **TIGHT)
    i, j = 7, 30
    assert near[i, j].item() == pytest.approx((documents.Z[i] @ documents.Y[:, j]).item())
    eye = torch.eye(15, dtype=near.dtype)
    torch.testing.assert_close(words.Z.T @ words.Z, eye, **TIGHT)
    assert (documents.Z.T @ documents.Z - eye).abs().max() > 1
    torch.testing.assert_close(words.Y.T @ words.Y, near.T @ near, **TIGHT)
    torch.testing.assert_close(documents.Z @ documents.Z.T, near @ near.T, **TIGHT)


def test_vectors_are_eigenvectors_of_both_similarities(weighted):
    m = lsa.LSA(8, "words").fit(weighted)
    between_documents, between_words = weighted @ weighted.T, weighted.T @ weighted
    np.testing.assert_allclose(between_documents @ m.Z.numpy(), m.Z * m.s**2, atol=1e-8)
    np.testing.assert_allclose(between_words @ m.V.numpy(), m.V * m.s**2, atol=1e-8)


@pytest.mark.parametrize("scaling", ["documents", "words"])
def test_folding_in_a_training_document_gives_its_own_code(weighted, scaling):
    m = lsa.LSA(12, scaling).fit(weighted)
    torch.testing.assert_close(m.transform(weighted), m.Z, rtol=0, atol=1e-8)
    dense = torch.as_tensor(weighted[:5].toarray())
    torch.testing.assert_close(m.transform(dense), m.Z[:5], rtol=0, atol=1e-8)


def test_documents_without_a_common_word_come_close():
    """Lecture item B29: a and c share no word, but both share one with b."""
    X = torch.tensor([[1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0],
                      [0, 0, 0, 0, 1, 1, 1]]).double()  # fmt: skip
    Z = lsa.LSA(2).fit(X).Z
    assert X[0] @ X[2] == 0
    assert (Z[0] @ Z[2]).item() == pytest.approx((2 + math.sqrt(2)) / 4)  # 0.854
    assert lsa.cosine_scores(Z, Z[0])[[2, 3]].tolist() == pytest.approx([1, 0], abs=1e-12)


def test_nothing_is_centred():
    X = gaussian() + 3
    _, _, V = lsa.truncated_svd(X, 1)
    mean = X.mean(0)
    assert abs(V[:, 0] @ mean / mean.norm()) > 0.99  # erratum Y11
    centred = pca.PCA(1).fit(X).V
    assert abs(centred[:, 0] @ mean / mean.norm()) < 0.9


def test_cosines_equal_scikit_learns_and_search_sorts_them():
    Z = gaussian(30, 4)
    Z[3] = 0
    z = gaussian(1, 4, seed=9)[0]
    wanted = cosine_similarity(Z.numpy(), z[None].numpy())[:, 0]
    np.testing.assert_allclose(lsa.cosine_scores(Z, z), wanted, atol=1e-12)
    best, scores = lsa.search(Z, z, 5)
    assert best.tolist() == np.argsort(-wanted, kind="stable")[:5].tolist()
    assert (scores.diff() <= 0).all() and len(lsa.search(Z, z, 99)[0]) == 30


# --- sentences


def test_average_of_the_known_words():
    vectors = gaussian(6, 3)
    got = lsa.average_vector(torch.tensor([2, -1, 5, 2]), vectors)
    torch.testing.assert_close(got, (2 * vectors[2] + vectors[5]) / 3, **TIGHT)
    for ids in ([-1, -1], []):
        empty = lsa.average_vector(torch.tensor(ids, dtype=torch.int64), vectors)
        assert empty.tolist() == [0, 0, 0]


def test_concatenation_is_cut_or_filled_up():
    vectors = gaussian(6, 3)
    long = lsa.concatenated_vectors(torch.tensor([1, -1, 4, 0]), vectors, 2)
    torch.testing.assert_close(long, torch.cat([vectors[1], vectors[4]]), **TIGHT)
    short = lsa.concatenated_vectors(torch.tensor([1]), vectors, 3)
    torch.testing.assert_close(short, torch.cat([vectors[1], torch.zeros(6).double()]), **TIGHT)
    assert lsa.concatenated_vectors(torch.tensor([-1]), vectors, 2).tolist() == [0] * 6


def test_principal_directions_do_not_depend_on_the_order_and_rebuild_the_gram_matrix():
    vectors = gaussian(20, 5)
    ids = torch.tensor([3, 7, 7, 1, 12, 19, 4])
    feature = lsa.principal_vectors(ids, vectors, 5)
    torch.testing.assert_close(lsa.principal_vectors(ids.flip(0), vectors, 5), feature, **TIGHT)
    rows, parts = vectors[ids], feature.view(5, 5)
    torch.testing.assert_close(parts.T @ parts, rows.T @ rows / len(ids), **TIGHT)
    assert (rows @ parts.T).sum(0).min() > 0  # the rule for the signs
    two = lsa.principal_vectors(ids[:2], vectors, 4)
    assert two.shape == (20,) and (two[10:] == 0).all() and (two[:10] != 0).all()
    assert lsa.principal_vectors(torch.tensor([-1]), vectors, 2).tolist() == [0] * 10


# --- few directions, zeros, other kinds of matrices


@pytest.mark.parametrize("scaling", ["documents", "words"])
@pytest.mark.parametrize(
    "rows", [[[1, 2, 0], [1, 2, 0], [0, 1, 1]], [[1, 1, 1]] * 4, [[0, 0, 2], [0, 0, 0], [0, 0, 1]]]
)
def test_directions_that_the_documents_do_not_have_are_zero(rows, scaling):
    X = torch.tensor(rows).double()
    rank = torch.linalg.matrix_rank(X)
    for made in (X, sp.csr_array(X.numpy())):
        m = lsa.LSA(3, scaling).fit(made)
        torch.testing.assert_close(m.transform(made), m.Z, rtol=0, atol=1e-12)
        torch.testing.assert_close(m.Z @ m.Y, X, rtol=0, atol=1e-12)
        assert not m.Z[:, rank:].any() and not m.Y[rank:].any() and not m.s[rank:].any()
        other = m.transform(torch.tensor([[5.0, -3.0, 2.0]]))
        assert not other[:, rank:].any() and other.abs().max() < 10


def test_scikit_learns_matrices_work_everywhere():
    texts = ["a cat sat", "the cat sat on a mat", "dogs and cats", "the dog, the mat"]
    counts = CountVectorizer().fit_transform(texts)  # the older kind of CSR, whole numbers
    X = sp.csr_array(counts).astype(float)
    assert torch.equal(lsa.document_frequency(counts), lsa.document_frequency(X))
    assert lsa.document_frequency(counts).shape == (counts.shape[1],)
    dense = counts.toarray()
    for made in (counts, counts.tocoo(), dense, dense.tolist(), torch.tensor(dense),
                 torch.tensor(dense).to_sparse()):  # fmt: skip
        for local in (None, "log", "bm25"):
            model = lsa.TfIdf(local).fit(made)
            T = model.transform(made)
            assert abs(T - lsa.TfIdf(local).fit_transform(X)).max() < 1e-15
            assert isinstance(T, sp.csr_array)
        for A, B in zip(lsa.truncated_svd(made, 2), lsa.truncated_svd(X, 2), strict=True):
            torch.testing.assert_close(A, B, rtol=0, atol=1e-12)
        m = lsa.LSA(2, "words").fit(made)
        torch.testing.assert_close(m.transform(made), m.Z, rtol=0, atol=1e-12)
        rows = lsa.unit_rows(made)
        rows = rows.toarray() if sp.issparse(rows) else rows.numpy()
        np.testing.assert_allclose(rows, lsa.unit_rows(X).toarray(), atol=1e-6)
    weighted = TfidfVectorizer().fit_transform(texts)
    torch.testing.assert_close(lsa.LSA(2).fit(weighted).transform(weighted),
                               lsa.LSA(2).fit(weighted).Z, rtol=0, atol=1e-12)  # fmt: skip
    big = sp.csr_matrix(sp.random(300, 250, 0.2, random_state=0))  # Lanczos
    assert lsa.LSA(3).fit(big).Z.shape == (300, 3)


def test_stored_zeros_count_as_zeros_and_negative_counts_are_refused():
    stored = sp.csr_array(np.array([[1.0, 2.0], [3.0, 0.0]]))
    zero = stored.copy()
    zero.data[0] = 0
    plain = sp.csr_array(zero.toarray())
    for local in (None, "log", "bm25"):
        ours, wanted = (lsa.TfIdf(local).fit_transform(X) for X in (zero, plain))
        assert abs(ours - wanted).max() == 0 and np.isfinite(ours.data).all()
    assert zero.nnz == 3  # the reader's own matrix is left as it was
    for use in (lsa.TfIdf().fit, lsa.TfIdf().fit(stored).transform):
        with pytest.raises(ValueError, match="none negative"):
            use(-stored)
    with pytest.raises(ValueError, match="not fitted"):
        lsa.TfIdf().transform(stored)


def test_documents_without_a_word_are_worth_nothing():
    saturated = lsa.saturated(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0.0, 2]), b=1.0)
    assert saturated[0].tolist() == [0, 0] and saturated[1, 1] == 0 and saturated[1, 0] > 0
    for local in (None, "log", "bm25"):
        T = lsa.TfIdf(local).fit_transform(sp.csr_array(np.array([[1.0, 2.0], [0.0, 0.0]])))
        assert T[[1]].nnz == 0 and np.isfinite(T.data).all()


def test_the_cosine_of_short_vectors_and_of_zeros_and_its_gradient():
    Z = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    for unit in (1.0, 1e-25):
        scores = lsa.cosine_scores(Z * unit, torch.tensor([1.0, 0.0]).double() * unit)
        assert scores.tolist() == pytest.approx([0.6, 0.0])
    Z.requires_grad_()
    lsa.cosine_scores(Z, torch.tensor([1.0, 0.0]).double()).sum().backward()
    assert torch.isfinite(Z.grad).all() and not Z.grad[1].any()


@pytest.mark.parametrize("documents", ["the cat", ["the cat", "the dog"], [["the"], "the cat"]])
def test_a_text_is_no_list_of_words(documents):
    with pytest.raises(TypeError, match=r"data\.words"):
        lsa.bag_of_words(documents, data.Vocabulary([["the", "cat"]]))
