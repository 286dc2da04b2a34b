"""Bag of words, TF-IDF, latent semantic analysis, and features of sentences from word vectors.

Symbols follow the lecture: X (n, V) is the term-document matrix with one document in each row and
one of V words in each column, X = U diag(s) V^T, z_i the vector of document i (a row of Z), y_j
that of word j (a column of Y), and X~ = Z Y the best matrix of rank k.

X is a scipy.sparse CSR array: more than 99 of 100 of its entries are zero here, and SciPy slices
such rows, multiplies them and finds their top singular vectors; torch's sparse tensors do not.
What is dense, codes and word vectors, is a torch tensor.

Sources: Spärck Jones 1972 (idf); Robertson & Zaragoza 2009 (saturated counts); Deerwester et al.
1990 (LSA). Lecture items A16, A17, B26-B31, B33-B36, B38.
"""

import math

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from genai_utils.structure import pca

# --- texts as rows of numbers


def bag_of_words(documents, vocabulary) -> sp.csr_array:
    """X[i, j] = how often word j occurs in document i: (n, V) float64, sparse. (A16, B33)

    documents: lists of words; vocabulary: a data.Vocabulary. Words that it does not know are left
    out, so a document of such words only is a row of zeros. Raises ValueError for no documents and
    TypeError for a document that is a bare string.
    """
    columns = [vocabulary.encode(document).int().numpy() for document in documents]
    if not columns:
        raise ValueError("the corpus is empty: give at least one document, a list of words")
    rows = np.repeat(np.arange(len(columns), dtype=np.int32), [len(c) for c in columns])
    entries = (np.ones(len(rows)), (rows, np.concatenate(columns)))
    return sp.csr_array(entries, shape=(len(columns), len(vocabulary)))  # (n, V), doubles added up


def idf(document_frequency: Tensor, n: int) -> Tensor:
    """Inverse document frequency of each word: ln((1 + n) / (1 + df_j)) + 1.

    document_frequency is (V,), the number of the n documents that hold word j; returns (V,). The
    ones added pretend one more document that holds every word, so that nothing is divided by zero.
    A word of every document gets 1, a word of no document the most. Source: Spärck Jones 1972.
    """
    return torch.log((1 + n) / (1 + document_frequency)) + 1


def saturated(count: Tensor, length: Tensor, k1: float = 1.5, b: float = 0.75) -> Tensor:
    """What a count is worth if the tenth occurrence says less than the first (BM25).

    (k1 + 1) c / (c + k1 (1 - b + b l)): count c is (n, V), length l (n,) is the document's number
    of words divided by the mean of all documents. Returns (n, V); a count of 0 stays 0, and no
    count is worth more than k1 + 1. Source: Robertson & Zaragoza 2009.
    """
    crowd = k1 * (1 - b + b * length)  # (n,)
    return (k1 + 1) * count / (count + crowd[:, None])


def unit_rows(A):
    """Each row divided by its length, so that inner products are cosines; zero rows stay zero."""
    if isinstance(A, Tensor):
        length = A.norm(dim=1, keepdim=True)  # (n, 1)
        return A / torch.where(length > 0, length, torch.ones_like(length))
    length = np.sqrt(A.multiply(A).sum(axis=1))
    return sp.csr_array(sp.diags_array(1 / np.where(length > 0, length, 1)) @ A)


def document_frequency(X) -> Tensor:
    """In how many documents each word occurs: (n, V) -> (V,)."""
    return torch.as_tensor(np.asarray((X > 0).sum(axis=0)), dtype=torch.float64)


class TfIdf:
    """Counts, times idf, each row of length 1: TfIdf().fit(X).transform(X). (A16)

    local: what is done to the counts first: None, "log" (1 + ln c) or "bm25" (see saturated).
    After fit: idf (V,) and mean_length, the mean number of words of a document.
    """

    def __init__(self, local: str | None = None):
        if local not in (None, "log", "bm25"):
            raise ValueError(f"local should be None, 'log' or 'bm25', got {local!r}")
        self.local = local

    def fit(self, X) -> "TfIdf":
        _matrix(X)
        self.idf = idf(document_frequency(X), X.shape[0])
        self.mean_length = max(X.sum() / X.shape[0], 1e-9)
        return self

    def transform(self, X) -> sp.csr_array:
        X = sp.csr_array(X).astype(float)  # a copy
        if X.shape[1] != len(self.idf):
            raise ValueError(f"X should have {len(self.idf)} columns, got {tuple(X.shape)}")
        if self.local == "log":
            X.data = 1 + np.log(X.data)
        elif self.local == "bm25":
            length = np.repeat(X.sum(axis=1) / self.mean_length, np.diff(X.indptr))  # per entry
            entries = torch.as_tensor(X.data)[:, None], torch.as_tensor(length)
            X.data = saturated(*entries)[:, 0].numpy()
        return unit_rows(X @ sp.diags_array(self.idf.numpy()))

    def fit_transform(self, X) -> sp.csr_array:
        return self.fit(X).transform(X)


# --- latent semantic analysis


def _matrix(X):
    """Return X if it is a finite matrix that is not all zero; else say what is wrong."""
    if not sp.issparse(X) and not (isinstance(X, Tensor) and X.dim() == 2):
        raise TypeError(f"X should be a scipy.sparse or torch matrix, got {type(X).__name__}")
    if min(X.shape) == 0:
        raise ValueError(f"X should hold documents and words, got shape {tuple(X.shape)}")
    values = torch.as_tensor(X.data) if sp.issparse(X) else X
    if not torch.isfinite(values).all():
        raise ValueError("X holds NaN or infinity")
    if not values.any():
        raise ValueError("X is zero everywhere: no document holds a word of the vocabulary")
    return X


def truncated_svd(X, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Top k singular triplets of X (n, V): U (n, k), s (k,) falling, V (V, k), float64.

    Nothing is subtracted from X: the mean would fill its zeros. Large matrices by Lanczos iteration
    (scipy's svds, exact to rounding), small ones by the full SVD. Raises ValueError where k is
    not between 1 and min(n, V). Lecture items B4, B27.
    """
    most = min(_matrix(X).shape)
    if type(k) is not int or not 1 <= k <= most:
        raise ValueError(
            f"k should be a whole number from 1 to min(n, V) = {most}, got {k!r}: there are "
            "no more components than documents, nor than words"
        )
    if most <= 200 or k > most // 2:
        dense = torch.as_tensor(X.toarray()) if sp.issparse(X) else X.double().cpu()
        U, s, V = pca.thin_svd(dense)
        return U[:, :k], s[:k], V[:, :k]
    X = X if sp.issparse(X) else X.double().cpu().numpy()
    start = np.random.default_rng(0).normal(size=most)  # so that every run gives the same
    U, s, Vt = scipy.sparse.linalg.svds(X, k, v0=start)  # ascending
    U, s, V = (torch.as_tensor(np.flip(A, -1).copy()) for A in (U, s, Vt.T))
    U, V = pca.fix_signs(U, V)
    return U, s, V


def query_codes(X: Tensor, V: Tensor, s: Tensor) -> Tensor:
    """Codes of new documents where Z = U_k: the z with z diag(s) V^T nearest to x, X V diag(1/s).

    X is (m, V), rows weighted like those that V (V, k) and s (k,) come from; returns (m, k). A
    document of the training matrix gets its own row of U_k back. Lecture item B38.
    """
    return X @ V / s


class LSA:
    """Latent semantic analysis: X ~ Z Y with Z (n, k), a vector per document, Y (k, V), per word.

    scaling "documents": Z = X V_k = U_k S_k, Y = V_k^T, so <z_a, z_b> are those of X~'s rows.
    scaling "words": Z = U_k, Y = S_k V_k^T, so <y_i, y_j> are those of X~'s columns. (B27, B38)
    """

    def __init__(self, k: int, scaling: str = "documents"):
        if scaling not in ("documents", "words"):
            raise ValueError(f"scaling should be 'documents' or 'words', got {scaling!r}")
        self.k, self.scaling = k, scaling

    def fit(self, X) -> "LSA":
        U, self.s, self.V = truncated_svd(X, self.k)
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
        if X.shape[1] != len(self.V):
            raise ValueError(f"X should have {len(self.V)} columns, got {tuple(X.shape)}")
        scale = torch.ones_like(self.s) if self.scaling == "documents" else self.s
        if sp.issparse(X):
            return torch.as_tensor(query_codes(X, self.V.numpy(), scale.numpy()))
        return query_codes(X.to(self.V), self.V, scale)


def cosine_scores(Z: Tensor, z: Tensor) -> Tensor:
    """Cosine of the angle between a query and each document: <z_i, z> / (||z_i|| ||z||).

    Z is (n, k), z is (k,); returns (n,). A document, or a query, of zeros has no direction: its
    score is 0. Lecture item B28.
    """
    lengths = Z.norm(dim=1) * z.norm()  # (n,)
    return torch.where(lengths > 0, Z @ z / lengths.clamp(min=1e-30), 0.0)


def search(Z: Tensor, z: Tensor, top: int = 10) -> tuple[Tensor, Tensor]:
    """The `top` documents that point most in the query's direction, and their cosines, falling."""
    scores = cosine_scores(Z, z)
    best = scores.argsort(descending=True, stable=True)[:top]
    return best, scores[best]


# --- from word vectors to one feature vector


def average_vector(ids: Tensor, vectors: Tensor) -> Tensor:
    """Sentence feature x = (1/q) sum_i y_i over the words i = 1 ... q that are known.

    ids is (m,) int64, the numbers of a sentence's words, -1 for a word that is not known; vectors
    is (V, d), row j the vector of word j. Returns (d,), zeros where no word is known. (B35)
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
    rows = vectors[ids[ids >= 0][:length]]  # (q, d), q <= length
    return nn.functional.pad(rows, (0, 0, 0, length - len(rows))).flatten()


def principal_vectors(ids: Tensor, vectors: Tensor, k: int) -> Tensor:
    """Sentence feature: the top k principal directions of its words' vectors, one after another.

    The matrix of the q word vectors (q, d) is U diag(s) V^T, nothing subtracted; the feature is
    s_1 v_1 / sqrt(q), ..., s_k v_k / sqrt(q), zeros where q < k. The sign of v_i is such that the
    words' scores on it have a positive sum. Returns (k * d,), whatever the sentence's length; the
    order of the words does not change it. Lecture item B36.
    """
    rows = vectors[ids[ids >= 0]]  # (q, d)
    if len(rows) == 0:
        return vectors.new_zeros(k * vectors.shape[1])
    _, s, V = torch.linalg.svd(rows, full_matrices=False)  # V (r, d), r = min(q, d)
    signs = torch.where((rows @ V.T).sum(dim=0) < 0, -1.0, 1.0).to(V)  # (r,)
    top = (V * (signs * s)[:, None] / math.sqrt(len(rows)))[:k]
    return nn.functional.pad(top, (0, 0, 0, k - len(top))).flatten()
