"""Bag of words, TF-IDF, latent semantic analysis, and features of sentences from word vectors.

Symbols follow the lecture: X (n, V) is the term-document matrix with one document in each row and
one of V words in each column, X = U diag(s) V^T, z_i the vector of document i (a row of Z), y_j
that of word j (a column of Y), and X~ = Z Y the best matrix of rank k.

X is a scipy.sparse CSR array: more than 99 of 100 of its entries are zero here, and SciPy slices
such rows, multiplies them and finds their top singular vectors; torch's sparse tensors do not.
What is dense, codes and word vectors, is a torch tensor. The other kinds (SciPy's older matrices,
as scikit-learn's vectorizers make them, NumPy arrays, nested lists) are taken everywhere too.

Sources: Spärck Jones 1972 (idf); Robertson & Zaragoza 2009 (saturated counts); Deerwester et al.
1990 (LSA). Lecture items A16, A17, B26-B31, B33-B36, B38.
"""

import math

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from genai_utils.inputs import array, matrix, one_of, refusal, whole
from genai_utils.structure import pca

# --- texts as rows of numbers


def bag_of_words(documents, vocabulary) -> sp.csr_array:
    """X[i, j] = how often word j occurs in document i: (n, V) float64, sparse. (A16, B33)

    documents: lists of words; vocabulary: a data.Vocabulary. Words that it does not know are left
    out, so a document of such words only is a row of zeros. Raises ValueError for no documents and
    TypeError for a document, or all of them, that is a bare string.
    """
    if isinstance(documents, (str, bytes)):
        raise refusal(
            "documents", "a list of lists of words", "one text",
            "cut each text with data.words(text)", kind=TypeError,
        )  # fmt: skip
    columns = [vocabulary.encode(document).int().numpy() for document in documents]
    if not columns:
        raise ValueError("the corpus is empty: give at least one document, a list of words")
    rows = np.repeat(np.arange(len(columns), dtype=np.int32), [len(c) for c in columns])
    entries = (np.ones(len(rows)), (rows, np.concatenate(columns)))
    return sp.csr_array(entries, shape=(len(columns), len(vocabulary)))  # (n, V), doubles added up


def idf(document_frequency: Tensor, n: int) -> Tensor:
    """Inverse document frequency of each word: ln((1 + n) / (1 + df_j)) + 1.

    document_frequency is (V,), the number of the n documents that hold word j, as whole numbers or
    floats; returns floats (V,). The ones added pretend one more document that holds every word, so
    that nothing is divided by zero. A word of every document gets 1, a word of no document the
    most. Source: Spärck Jones 1972.
    """
    return torch.log((1 + n) / (1 + document_frequency)) + 1


def saturated(count: Tensor, length: Tensor, k1: float = 1.5, b: float = 0.75) -> Tensor:
    """What a count is worth if the tenth occurrence says less than the first (BM25).

    (k1 + 1) c / (c + k1 (1 - b + b l)): count c is (n, V), whole numbers or floats, length l (n,)
    is the document's number of words divided by the mean of all documents, of which these n may be
    a few. Returns floats (n, V); a count of 0 stays 0, also where k1 = 0 or the document is empty,
    and no count is worth more than k1 + 1. Source: Robertson & Zaragoza 2009.
    """
    crowd = k1 * (1 - b + b * length)  # (n,)
    return (k1 + 1) * count / (count + crowd[:, None]).clamp(min=1e-30)  # of nothing: 0


def unit_rows(A):
    """Each row divided by its length, so that inner products are cosines; zero rows stay zero.

    A is (n, d); sparse in, sparse out, else a tensor.
    """
    if sp.issparse(A):
        A = sp.csr_array(A)
        length = np.sqrt(A.multiply(A).sum(axis=1))
        return sp.csr_array(sp.diags_array(1 / np.where(length > 0, length, 1)) @ A)
    A = array(A, "A", finite=False)
    length = A.norm(dim=1, keepdim=True)  # (n, 1)
    return A / torch.where(length > 0, length, torch.ones_like(length))


def document_frequency(X) -> Tensor:
    """In how many documents each word occurs: (n, V) -> (V,) float64."""
    X = _matrix(X)
    return torch.as_tensor((X > 0).sum(axis=0), dtype=torch.float64).cpu()


class TfIdf:
    """Counts, times idf, each row of length 1: TfIdf().fit(X).transform(X). (A16)

    local: what is done to the counts first: None, "log" (1 + ln c) or "bm25" (see saturated).
    After fit: idf (V,) and mean_length, the mean number of words of a document. A document without
    a word stays a row of zeros.
    """

    def __init__(self, local: str | None = None):
        self.local = one_of(local, "local", (None, "log", "bm25"))

    def fit(self, X) -> "TfIdf":
        X = _some(_counts(X))
        self.idf = idf(document_frequency(X), X.shape[0])
        self.mean_length = max(X.sum() / X.shape[0], 1e-9)
        return self

    def transform(self, X) -> sp.csr_array:
        if not hasattr(self, "idf"):
            raise ValueError("this TfIdf is not fitted yet; call fit(X) first")
        X = _counts(X, len(self.idf))
        if self.local == "log":
            X.data = 1 + np.log(X.data)
        elif self.local == "bm25":
            length = np.repeat(X.sum(axis=1) / self.mean_length, np.diff(X.indptr))  # per entry
            entries = torch.as_tensor(X.data)[:, None], torch.as_tensor(length)
            X.data = saturated(*entries)[:, 0].numpy()
        return unit_rows(X @ sp.diags_array(self.idf.numpy()))

    def fit_transform(self, X) -> sp.csr_array:
        return self.fit(X).transform(X)


def _matrix(X, columns: int | None = None):
    """X (n, V) in float64: a CSR array where it is sparse, else a tensor. All finite."""
    if not sp.issparse(X):
        return matrix(X, "X", columns=columns, dtype=torch.float64)
    X = sp.csr_array(X).astype(float)  # a copy
    if min(X.shape) == 0 or columns not in (None, X.shape[1]):
        wanted = "V" if columns is None else columns
        raise refusal("X", f"a matrix (n, {wanted}), n >= 1", f"the shape {X.shape}")
    array(X.data, "X", empty=True)  # looks for NaN and infinity
    return X


def _counts(X, columns: int | None = None) -> sp.csr_array:
    """X as a CSR array of its own, without stored zeros, if nothing is negative."""
    X = _matrix(X, columns)
    X = X if sp.issparse(X) else sp.csr_array(X.cpu().numpy())
    X.sum_duplicates(), X.eliminate_zeros()  # one entry each, for log(0) would be -inf
    if X.nnz and X.data.min() < 0:
        raise refusal("X", "counts of words, none negative", f"{X.data.min():g}")
    return X


def _some(X):
    """X, if it is not zero everywhere."""
    if not (X.data if sp.issparse(X) else X).any():
        raise ValueError("X is zero everywhere: no document holds a word of the vocabulary")
    return X


# --- latent semantic analysis


def lanczos_directions(A, B, k: int) -> np.ndarray:
    """The top k eigenvectors of A B = A A^T, symmetric: (m, k), by SciPy's eigsh, exact."""
    m = A.shape[0]
    start = np.random.default_rng(0).normal(size=m)  # so that every run gives the same
    product = scipy.sparse.linalg.LinearOperator((m, m), lambda q: A @ (B @ q), dtype=float)
    # A third more vectors than asked for: with more, most of the time goes into their products.
    room = min(m, k + max(20, k // 3))
    return scipy.sparse.linalg.eigsh(product, k, v0=start, ncv=room)[1]


def random_directions(A, B, k: int, iterations: int = 7, oversample: int = 10) -> np.ndarray:
    """Vectors whose span is near to that of the top k of A B = A A^T: (m, k + 10), orthonormal.

    Subspace iteration from a random start, as in `pca.subspace_iteration`, but in single precision
    and with one QR for two products: its products are so cheap that most of the time goes there.
    """
    unit, m = abs(A).max(), A.shape[0]  # of large entries A B would be infinite
    A, B = ((part / unit).astype(np.float32) for part in (A, B))
    Q = np.random.default_rng(0).normal(size=(m, k + oversample)).astype(np.float32)
    for _ in range(iterations):
        Q = torch.linalg.qr(torch.from_numpy(A @ (B @ Q))).Q.numpy()
    return torch.linalg.qr(torch.from_numpy(Q).double()).Q.numpy()


SOLVERS = {"lanczos": lanczos_directions, "randomised": random_directions}


def truncated_svd(X, k: int, solver: str = "lanczos") -> tuple[Tensor, Tensor, Tensor]:
    """Top k singular triplets of X (n, V): U (n, k), s (k,) falling, V (V, k), float64.

    Nothing is subtracted from X: the mean would fill its zeros. Small matrices by the full SVD,
    large ones by Lanczos iteration for X X^T or X^T X, whichever is smaller (ARPACK, by SciPy's
    eigsh), and an SVD of what is left; exact to rounding. solver "randomised": sooner, and the k
    directions hold a little less of ||X||^2. Raises ValueError where k is not between 1 and
    min(n, V). Lecture items B4, B27.
    """
    solver = one_of(solver, "solver", SOLVERS)
    X = _some(_matrix(X))
    most = min(X.shape)
    k = whole(k, "k", 1, most)  # no more components than documents, nor than words
    X = X if sp.issparse(X) else X.cpu()
    if most <= 200 or k > most // 2:
        U, s, V = pca.thin_svd(torch.as_tensor(X.toarray()) if sp.issparse(X) else X)
        return U[:, :k], s[:k], V[:, :k]
    # Random directions are those of V, long or short, so that U diag(s) = X V.
    wide = X.shape[0] < X.shape[1] and solver == "lanczos"
    X = X if sp.issparse(X) else X.numpy()
    A, B = (X, X.T) if wide else (X.T, X)  # of Lanczos A (short, long); B its transpose
    if sp.issparse(X):
        A, B = A.tocsr(), B.tocsr()  # each by rows, which are multiplied quickest
    Q = SOLVERS[solver](A, B, k)  # (n or V, k or more)
    L, s, R = pca.thin_svd(torch.as_tensor(B @ Q))  # B Q = L diag(s) R^T
    Q, L, s = torch.as_tensor(Q) @ R[:, :k], L[:, :k], s[:k]
    U, V = pca.fix_signs(Q, L) if wide else pca.fix_signs(L, Q)
    return U, s, V


def query_codes(X: Tensor, V: Tensor, s: Tensor) -> Tensor:
    """Codes of new documents where Z = U_k: the z with z diag(s) V^T nearest to x, X V diag(1/s).

    X is (m, V), rows weighted like those that V (V, k) and s (k,) come from: V has orthonormal
    columns, s is positive and may be small. Returns (m, k), also for one document or k = 1. A
    document of the training matrix gets its own row of U_k back, one without a known word, a row of
    zeros, the code 0. Lecture item B38.
    """
    return X @ V / s


class LSA:
    """Latent semantic analysis: X ~ Z Y with Z (n, k), a vector per document, Y (k, V), per word.

    scaling "documents": Z = X V_k = U_k S_k, Y = V_k^T, so <z_a, z_b> are those of X~'s rows.
    scaling "words": Z = U_k, Y = S_k V_k^T, so <y_i, y_j> are those of X~'s columns. (B27, B38)
    Where the data have fewer directions than k, the others are zero in s, V, Z and Y.
    solver: see truncated_svd.
    """

    def __init__(self, k: int, scaling: str = "documents", solver: str = "lanczos"):
        self.k, self.solver = whole(k, "k"), one_of(solver, "solver", SOLVERS)
        self.scaling = one_of(scaling, "scaling", ("documents", "words"))

    def fit(self, X) -> "LSA":
        U, s, V = truncated_svd(X, self.k, self.solver)
        there = s > s[0] * max(len(U), len(V)) * torch.finfo(s.dtype).eps  # else only rounding
        U, self.s, self.V = (torch.where(there, part, 0.0) for part in (U, s, V))
        by_documents = self.scaling == "documents"
        self.Z = U * self.s if by_documents else U  # (n, k)
        self.Y = self.V.T if by_documents else (self.V * self.s).T  # (k, V)
        return self

    def transform(self, X) -> Tensor:
        """Codes of new documents, "folded in" with V fixed: (m, V) -> (m, k).

        z = V_k^T x, or the same divided by s (see query_codes) where Z = U_k. A document without a
        known word gets zeros.
        """
        if not hasattr(self, "V"):
            raise ValueError("this LSA is not fitted yet; call fit(X) first")
        X = _matrix(X, len(self.V))
        scale = torch.ones_like(self.s) if self.scaling == "documents" else self.s
        scale = torch.where(scale > 0, scale, 1.0)  # 0 / 1 in directions that the data do not have
        if sp.issparse(X):
            return torch.as_tensor(query_codes(X, self.V.numpy(), scale.numpy()))
        return query_codes(X.to(self.V), self.V, scale)


def cosine_scores(Z: Tensor, z: Tensor) -> Tensor:
    """Cosine of the angle between a query and each document: <z_i, z> / (||z_i|| ||z||).

    Z is (n, k), z is (k,); returns (n,), also for one document. A document, or a query, of zeros
    has no direction: its score is 0. All others have one, however short they are. Lecture item B28.
    """
    lengths = Z.norm(dim=1) * z.norm()  # (n,)
    return torch.where(lengths > 0, Z @ z / torch.where(lengths > 0, lengths, 1.0), 0.0)


def search(Z: Tensor, z: Tensor, top: int = 10) -> tuple[Tensor, Tensor]:
    """The `top` documents that point most in the query's direction, and their cosines, falling."""
    Z, z, top = array(Z, "Z"), array(z, "z"), whole(top, "top")
    scores = cosine_scores(Z, z)
    best = scores.argsort(descending=True, stable=True)[:top]
    return best, scores[best]


# --- from word vectors to one feature vector


def average_vector(ids: Tensor, vectors: Tensor) -> Tensor:
    """Sentence feature x = (1/q) sum_i y_i over the words i = 1 ... q that are known.

    ids is (m,) int64, the numbers 0 ... V - 1 of a sentence's words, -1 for a word that is not
    known; a word that stands twice counts twice. vectors is (V, d), row j the vector of word j.
    Returns (d,), zeros where no word is known or there is none. (B35)
    """
    known = ids[ids >= 0]  # (q,)
    if len(known) == 0:
        return torch.zeros_like(vectors[0])
    return vectors[known].mean(dim=0)


def concatenated_vectors(ids: Tensor, vectors: Tensor, length: int) -> Tensor:
    """Sentence feature x = [y_1, y_2, ..., y_length], cut or filled up with zeros.

    ids is (m,) int64 (-1: not known, left out), vectors (V, d); returns (length * d,). The place
    of a word counts. Lecture item B36.
    """
    ids, vectors = torch.as_tensor(ids), array(vectors, "vectors", finite=False)
    rows = vectors[ids[ids >= 0][: whole(length, "length")]]  # (q, d), q <= length
    return nn.functional.pad(rows, (0, 0, 0, length - len(rows))).flatten()


def principal_vectors(ids: Tensor, vectors: Tensor, k: int) -> Tensor:
    """Sentence feature: the top k principal directions of its words' vectors, one after another.

    The matrix of the q word vectors (q, d) is U diag(s) V^T, nothing subtracted; the feature is
    s_1 v_1 / sqrt(q), ..., s_k v_k / sqrt(q), zeros where q < k. The sign of v_i is such that the
    words' scores on it have a positive sum. Returns (k * d,), whatever the sentence's length; the
    order of the words does not change it. Lecture item B36.
    """
    ids, vectors, k = torch.as_tensor(ids), array(vectors, "vectors", finite=False), whole(k, "k")
    rows = vectors[ids[ids >= 0]]  # (q, d)
    if len(rows) == 0:
        return vectors.new_zeros(k * vectors.shape[1])
    _, s, V = torch.linalg.svd(rows, full_matrices=False)  # V (r, d), r = min(q, d)
    signs = torch.where((rows @ V.T).sum(dim=0) < 0, -1.0, 1.0).to(V)  # (r,)
    top = (V * (signs * s)[:, None] / math.sqrt(len(rows)))[:k]
    return nn.functional.pad(top, (0, 0, 0, k - len(top))).flatten()
