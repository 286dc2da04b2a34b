"""Answers to the exercises of 04_lsa that were written independently: right ones and wrong ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist


def loop_idf(document_frequency, n):
    return torch.tensor([math.log((n + 1) / (f + 1)) + 1 for f in document_frequency.tolist()])


def loop_cosines(Z, z):
    scores = []
    for row in Z:
        lengths = float(row.norm() * z.norm())
        scores.append(float(row @ z) / lengths if lengths else 0.0)
    return torch.tensor(scores)


def least_squares_codes(X, V, s):
    return torch.linalg.lstsq(V * s, X.T).solution.T


def loop_average(ids, vectors):
    known = [vectors[i] for i in ids.tolist() if i >= 0]
    return sum(known) / len(known) if known else vectors[0] * 0


def bag_average(ids, vectors):
    counts = torch.bincount(ids[ids >= 0], minlength=len(vectors)).to(vectors.dtype)
    return counts @ vectors / counts.sum().clamp(min=1)


def loop_saturated(count, length, k1=1.5, b=0.75):
    pairs = zip(count, length, strict=True)
    rows = [(k1 + 1) * c / (c + k1 * (1 - b) + k1 * b * l + 1e-30 * (c == 0)) for c, l in pairs]
    return torch.stack(rows)


RIGHT = [
    ("idf", loop_idf),
    ("idf", lambda document_frequency, n:
        1 + math.log(n + 1) - torch.log1p(document_frequency)),
    ("cosine_scores", loop_cosines),
    ("cosine_scores", lambda Z, z: F.cosine_similarity(Z, z[None], dim=1)),
    ("cosine_scores", lambda Z, z: F.normalize(Z, dim=1) @ F.normalize(z, dim=0)),
    ("query_codes", lambda X, V, s: torch.einsum("mv,vk,k->mk", X, V, 1 / s)),
    ("query_codes", lambda X, V, s: X @ V @ torch.diag(1 / s)),
    ("query_codes", least_squares_codes),
    ("average_vector", loop_average),
    ("average_vector", bag_average),
    ("saturated", loop_saturated),
    ("saturated", lambda count, length, k1=1.5, b=0.75:
        (k1 + 1) / (1 + k1 * (1 - b + b * length).unsqueeze(1) / count.clamp(min=1e-20))
        * (count > 0)),
]  # fmt: skip

WRONG = [
    ("idf", lambda document_frequency, n: torch.log1p(n / (1 + document_frequency)) + 1),
    ("idf", lambda document_frequency, n: torch.log((2 + n) / (1 + document_frequency)) + 1),
    ("idf", lambda document_frequency, n: 1 / (1 + document_frequency)),
    ("cosine_scores", lambda Z, z: loop_cosines(Z, z).clamp(min=0)),
    ("cosine_scores", lambda Z, z: loop_cosines(Z, z).acos()),
    ("cosine_scores", lambda Z, z: loop_cosines(Z - Z.mean(0), z)),
    ("cosine_scores", lambda Z, z: loop_cosines(Z, z).argsort(descending=True)),
    ("query_codes", lambda X, V, s: X @ V / s.norm()),
    ("query_codes", lambda X, V, s: X @ V / s.sqrt()),
    ("query_codes", lambda X, V, s: (X - X.mean(0)) @ V / s),
    ("query_codes", lambda X, V, s: (X @ V / s).T),
    ("average_vector", lambda ids, vectors: vectors.mean(0)),
    ("average_vector", lambda ids, vectors: loop_average(ids.unique(), vectors)),
    ("average_vector", lambda ids, vectors: loop_average(ids[:-1], vectors)),
    ("average_vector", lambda ids, vectors: loop_average(ids.abs(), vectors)),
    ("saturated", lambda count, length, k1=1.5, b=0.75: torch.log1p(count)),
    ("saturated", lambda count, length, k1=1.5, b=0.75: loop_saturated(count, length)),
    ("saturated", lambda count, length, k1=1.5, b=0.75:
        loop_saturated(count, 1 / length, k1, b)),
    ("saturated", lambda count, length, k1=1.5, b=0.75:
        loop_saturated(count, length, k1, b) / count.clamp(min=1)),
]  # fmt: skip


# --- answers from the docstrings alone, written before the declared mistakes were read -----------


# idf
def idf_only_below(df, n):
    return torch.log(n / (1 + df)) + 1


def idf_log1p(df, n):
    return torch.log1p(n / (1 + df)) + 1


def idf_floor(df, n):
    return torch.log(((1 + n) // (1 + df)).float()) + 1


def idf_vocabulary(df, n):
    return torch.log((1 + len(df)) / (1 + df)) + 1


def idf_at_least_one(df, n):
    return torch.log((1 + n) / (1 + df.clamp(min=1))) + 1


def idf_unseen_zero(df, n):
    out = torch.log((1 + n) / (1 + df)) + 1
    return torch.where(df > 0, out, torch.zeros_like(out))


def idf_loop_ints(df, n):
    out = torch.zeros_like(df)
    for j in range(len(df)):
        out[j] = math.log((1 + n) / (1 + float(df[j]))) + 1
    return out


def idf_everywhere_zero(df, n):
    out = torch.log((1 + n) / (1 + df)) + 1
    return torch.where(df == n, torch.zeros_like(out), out)


def idf_difference(df, n):
    return math.log1p(n) - torch.log1p(df) + 1


def idf_numpy(df, n):
    return np.log((1.0 + n) / (1.0 + df.numpy())) + 1


def idf_loop(df, n):
    return torch.tensor([math.log((1 + n) / (1 + c)) + 1 for c in df.tolist()])


# query_codes
def qc_squared(X, V, s):
    return X @ V / s**2


def qc_centred(X, V, s):
    return (X - X.mean(0)) @ V / s


def qc_unit(X, V, s):
    return F.normalize(X, dim=1) @ V / s


def qc_squeezed(X, V, s):
    return (X @ V / s).squeeze()


def qc_eps(X, V, s):
    return X @ V / (s + 1e-2)


def qc_detached(X, V, s):
    return torch.from_numpy(X.detach().numpy() @ V.numpy() / s.numpy())


def qc_norm(X, V, s):
    return F.normalize(X @ V / s, dim=1)


def qc_einsum(X, V, s):
    return torch.einsum("mv,vk,k->mk", X, V, 1 / s)


def qc_double(X, V, s):
    return X.double() @ V.double() @ torch.diag(1 / s.double())


def qc_lstsq(X, V, s):
    """The definition: least squares."""
    return torch.linalg.lstsq(V * s, X.T).solution.T


def qc_pinv(X, V, s):
    return X @ torch.linalg.pinv((V * s).T)


def qc_loop(X, V, s):
    rows = [torch.stack([(x * V[:, j]).sum() / s[j] for j in range(len(s))]) for x in X]
    return torch.stack(rows)


# cosine_scores
def cs_nan_doc(Z, z):
    zz = z if z.any() else torch.ones_like(z)
    out = Z @ z / (Z.norm(dim=1) * zz.norm())
    return out


def cs_nan_query(Z, z):
    n = Z.norm(dim=1)
    out = Z @ z / (n.clamp(min=1e-12) * z.norm())
    return out


def cs_eps(Z, z):
    return Z @ z / (Z.norm(dim=1) * z.norm() + 1e-3)


def cs_eps_small(Z, z):
    return Z @ z / (Z.norm(dim=1) * z.norm() + 1e-8)


def cs_abs(Z, z):
    return (F.normalize(Z, dim=1) @ F.normalize(z, dim=0)).abs()


def cs_positive(Z, z):
    return (F.normalize(Z, dim=1) @ F.normalize(z, dim=0)).clamp(0, 1)


def cs_zero_one(Z, z):
    out = Z @ z / (Z.norm(dim=1) * z.norm())
    return out.nan_to_num(1.0)


def cs_angle(Z, z):
    return 1 - torch.arccos((F.normalize(Z, dim=1) @ F.normalize(z, dim=0)).clamp(-1, 1)) / math.pi


def cs_similarity(Z, z):
    return F.cosine_similarity(Z, z[None])


def cs_normalize(Z, z):
    return F.normalize(Z.double(), dim=1) @ F.normalize(z.double(), dim=0)


def cs_loop(Z, z):
    out = []
    for row in Z.tolist():
        a = math.sqrt(sum(v * v for v in row))
        b = math.sqrt(sum(v * v for v in z.tolist()))
        dot = sum(u * v for u, v in zip(row, z.tolist(), strict=True))
        out.append(dot / (a * b) if a and b else 0.0)
    return torch.tensor(out)


def cs_nan_to_num(Z, z):
    return (Z @ z / (Z.norm(dim=1) * z.norm())).nan_to_num(0.0)


def cs_scipy(Z, z):
    with np.errstate(all="ignore"):
        out = 1 - cdist(Z.double().numpy(), z[None].double().numpy(), "cosine")
    return np.nan_to_num(out[:, 0])


# saturated
def sat_zero_nan(count, length, k1=1.5, b=0.75):
    return (k1 + 1) / (1 + k1 * (1 - b + b * length[:, None]) / count)


def sat_plain(count, length, k1=1.5, b=0.75):
    return (k1 + 1) * count / (count + k1 * (1 - b + b * length[:, None]))


def sat_default(count, length, k1=1.2, b=0.75):
    return (k1 + 1) * count / (count + k1 * (1 - b + b * length[:, None]))


def sat_default_b(count, length, k1=1.5, b=0.5):
    return (k1 + 1) * count / (count + k1 * (1 - b + b * length[:, None]))


def sat_ignores(count, length, k1=1.5, b=0.75):
    return 2.5 * count / (count + 1.5 * (0.25 + 0.75 * length[:, None]))


def sat_eps(count, length, k1=1.5, b=0.75):
    return (k1 + 1) * count / (count + k1 * (1 - b + b * length[:, None]) + 0.01)


def sat_mean_again(count, length, k1=1.5, b=0.75):
    crowd = k1 * (1 - b + b * (length / length.mean())[:, None])
    return (k1 + 1) * count / (count + crowd).clamp(min=1e-30)


def sat_ints(count, length, k1=1.5, b=0.75):
    out = torch.zeros_like(count)
    for i in range(count.shape[0]):
        below = (count[i] + k1 * (1 - b + b * length[i])).clamp(min=1e-30)
        out[i] = (k1 + 1) * count[i] / below
    return out


def sat_delta(count, length, k1=1.5, b=0.75):
    return (count > 0) * (0.1 + (k1 + 1) * count / (count + k1 * (1 - b + b * length[:, None])))


def sat_loop(count, length, k1=1.5, b=0.75):
    out = torch.zeros(count.shape)
    for i in range(count.shape[0]):
        for j in range(count.shape[1]):
            c = float(count[i, j])
            if c > 0:
                out[i, j] = (k1 + 1) * c / (c + k1 * (1 - b + b * float(length[i])))
    return out


def sat_double(count, length, k1=1.5, b=0.75):
    K = k1 * (1 - b + b * length.double())
    below = count.double() + K.unsqueeze(-1)
    return torch.where(count > 0, (k1 + 1) * count / below, 0.0)


def sat_transposed(count, length, k1=1.5, b=0.75):
    K = k1 * (1 - b + b * length)
    return (count.T * (k1 + 1) / (count.T + K)).nan_to_num(0.0).T


# average_vector
def av_positive(ids, vectors):
    known = ids[ids > 0]
    return vectors[known].mean(0) if len(known) else torch.zeros(vectors.shape[1])


def av_unique(ids, vectors):
    known = ids[ids >= 0].unique()
    return vectors[known].mean(0) if len(known) else torch.zeros(vectors.shape[1])


def av_wraps(ids, vectors):
    if not (ids >= 0).any():
        return torch.zeros(vectors.shape[1])
    return vectors[ids].mean(0)


def av_plus_one(ids, vectors):
    known = ids[ids >= 0]
    return vectors[known].sum(0) / (len(known) + 1)


def av_nan(ids, vectors):
    return vectors[ids[ids >= 0]].mean(0)


def av_empty(ids, vectors):
    if not len(ids):
        return vectors.mean(0)
    known = ids[ids >= 0]
    return vectors[known].sum(0) / max(len(known), 1)


def av_zero_times(ids, vectors):
    seen = (ids >= 0).float()
    return (vectors[ids.clamp(min=0)] * seen[:, None]).sum(0) / seen.sum().clamp(min=1).sqrt()


def av_scalar_zero(ids, vectors):
    known = ids[ids >= 0]
    return vectors[known].mean(0) if len(known) else torch.zeros(1)


def av_int_zero(ids, vectors):
    known = ids[ids >= 0]
    return (
        vectors[known].mean(0) if len(known) else torch.zeros(vectors.shape[1], dtype=torch.int64)
    )


def av_loop(ids, vectors):
    total, q = torch.zeros(vectors.shape[1]), 0
    for i in ids.tolist():
        if i != -1:
            total, q = total + vectors[i], q + 1
    return total / q if q else total


def av_bincount(ids, vectors):
    c = torch.bincount(ids[ids >= 0], minlength=len(vectors)).double()
    return c @ vectors.double() / c.sum().clamp(min=1)


def av_masked(ids, vectors):
    seen = ids >= 0
    rows = vectors[ids.clamp(min=0)].masked_fill(~seen[:, None], 0.0)
    return rows.sum(0) / seen.sum().clamp(min=1)


WRONG += [
    ("idf", idf_only_below),
    ("idf", idf_log1p),
    ("idf", idf_floor),
    ("idf", idf_vocabulary),
    ("idf", idf_at_least_one),
    ("idf", idf_unseen_zero),
    ("idf", idf_loop_ints),
    ("idf", idf_everywhere_zero),
    ("query_codes", qc_squared),
    ("query_codes", qc_centred),
    ("query_codes", qc_unit),
    ("query_codes", qc_squeezed),
    ("query_codes", qc_eps),
    ("query_codes", qc_detached),
    ("query_codes", qc_norm),
    ("cosine_scores", cs_nan_doc),
    ("cosine_scores", cs_nan_query),
    ("cosine_scores", cs_eps),
    ("cosine_scores", cs_eps_small),
    ("cosine_scores", cs_abs),
    ("cosine_scores", cs_positive),
    ("cosine_scores", cs_zero_one),
    ("cosine_scores", cs_angle),
    ("saturated", sat_zero_nan),
    ("saturated", sat_plain),
    ("saturated", sat_default),
    ("saturated", sat_default_b),
    ("saturated", sat_ignores),
    ("saturated", sat_eps),
    ("saturated", sat_mean_again),
    ("saturated", sat_ints),
    ("saturated", sat_delta),
    ("average_vector", av_positive),
    ("average_vector", av_unique),
    ("average_vector", av_wraps),
    ("average_vector", av_plus_one),
    ("average_vector", av_nan),
    ("average_vector", av_empty),
    ("average_vector", av_zero_times),
    ("average_vector", av_scalar_zero),
    ("average_vector", av_int_zero),
]

RIGHT += [
    ("idf", idf_difference),
    ("idf", idf_numpy),
    ("idf", idf_loop),
    ("query_codes", qc_einsum),
    ("query_codes", qc_double),
    ("query_codes", qc_lstsq),
    ("query_codes", qc_pinv),
    ("query_codes", qc_loop),
    ("cosine_scores", cs_similarity),
    ("cosine_scores", cs_normalize),
    ("cosine_scores", cs_loop),
    ("cosine_scores", cs_nan_to_num),
    ("cosine_scores", cs_scipy),
    ("saturated", sat_loop),
    ("saturated", sat_double),
    ("saturated", sat_transposed),
    ("average_vector", av_loop),
    ("average_vector", av_bincount),
    ("average_vector", av_masked),
]
