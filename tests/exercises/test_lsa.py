"""Answers to the exercises of 04_lsa that were written independently: right ones and wrong ones."""

import math

import torch
import torch.nn.functional as F


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
    rows = [(k1 + 1) * c / (c + k1 * (1 - b) + k1 * b * l) for c, l in pairs]
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
