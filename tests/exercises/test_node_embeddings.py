"""Exercises of 07_node_embeddings: wrong answers that nobody declared, and other right ones."""

import networkx as nx
import torch
import torch.nn.functional as F

from genai_utils.checks import diagnosis, register

SHELF = register.load("07_node_embeddings")


def test_there_are_four_each_with_hints_and_named_mistakes():
    assert list(SHELF) == ["walk_step", "node2vec_weights", "association", "line_loss"]
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 4


def walk_by_networkx(p, A):
    """A mean over ten times as many walkers would do as well; here networkx normalises."""
    G = nx.from_numpy_array(A.numpy())
    stochastic = nx.stochastic_graph(G.to_directed())
    return p.double() @ torch.from_numpy(nx.to_numpy_array(stochastic))


def weights_by_a_loop(before, here, t, p, q):
    out = torch.zeros(len(here))
    for x, w in enumerate(here.tolist()):
        if x == t:
            out[x] = w / p
        else:
            out[x] = w if before[x] > 0 else w / q
    return out


def weights_by_masks(before, here, t, p, q):
    same = F.one_hot(torch.tensor(t), len(here)).bool()
    near = (before > 0) & ~same
    return here * (same / p + near.float() + (~same & ~near) / q)


def symmetric_association(degrees, P, weights):
    """Through the symmetric matrix D^-1/2 A D^-1/2 and its eigenvalues."""
    root = degrees.double().sqrt()
    values, Q = torch.linalg.eigh(root[:, None] * P.double() / root)
    filtered = sum(w * values**r for r, w in enumerate(weights.double(), 1))
    return degrees.sum() * (Q * filtered) @ Q.T / root / root[:, None]


def horner_association(degrees, P, weights):
    total = torch.zeros_like(P)
    for w in weights.flip(0):
        total = P @ (total + w * torch.eye(len(P)))
    return total * degrees.sum() @ torch.diag(1 / degrees)


def bce_line(vectors, edges, negatives):
    targets = torch.cat([edges[:, 1:], negatives], 1)
    scores = torch.einsum("bd,bkd->bk", vectors[edges[:, 0]], vectors[targets])
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, truth, reduction="sum") / len(edges)


def looped_line(vectors, edges, negatives):
    total = 0
    for (i, j), ks in zip(edges.tolist(), negatives.tolist(), strict=True):
        total = total - torch.log(torch.sigmoid(vectors[i] @ vectors[j]))
        for k in ks:
            total = total - torch.log(torch.sigmoid(-vectors[i] @ vectors[k]))
    return total / len(edges)


RIGHT = [
    ("walk_step", lambda p, A: p @ torch.diag(1 / A.sum(0)) @ A),
    ("walk_step", lambda p, A: torch.einsum("ki,ij->kj", p, F.normalize(A, p=1, dim=1))),
    ("node2vec_weights", weights_by_a_loop),
    ("node2vec_weights", weights_by_masks),
    ("association", symmetric_association),
    ("association", horner_association),
    ("line_loss", bce_line),
    ("line_loss", looped_line),
]


def test_the_step_is_networkxs():
    for p, A in SHELF["walk_step"].arguments(5):
        mine = SHELF["walk_step"].reference(p, A).double()
        torch.testing.assert_close(mine, walk_by_networkx(p, A), rtol=0, atol=1e-6)


WRONG = [
    ("walk_step", lambda p, A: p),
    ("walk_step", lambda p, A: p / A.sum(1)),
    ("walk_step", lambda p, A: p @ A.softmax(1)),
    ("walk_step", lambda p, A: p @ A / A.sum()),
    ("walk_step", lambda p, A: (p @ (A / A.sum(1, keepdim=True)))[:, :-1]),
    ("node2vec_weights", lambda before, here, t, p, q: here),
    ("node2vec_weights", lambda before, here, t, p, q: before * here / p),
    ("node2vec_weights", lambda before, here, t, p, q: weights_by_a_loop(here, before, t, p, q)),
    ("node2vec_weights", lambda before, here, t, p, q: weights_by_a_loop(before, here, 0, p, q)),
    ("node2vec_weights", lambda before, here, t, p, q: (here > 0) * weights_by_a_loop(
        before, torch.ones_like(here), t, p, q)),
    ("association", lambda degrees, P, weights: degrees.sum() * P / degrees),
    ("association", lambda degrees, P, weights: torch.log(horner_association(degrees, P, weights))),
    ("association", lambda degrees, P, weights: horner_association(degrees, P.T, weights)),
    ("association", lambda degrees, P, weights: horner_association(degrees, P, weights.flip(0))),
    ("association", lambda degrees, P, weights: len(degrees) * horner_association(
        degrees, P, weights)),
    ("line_loss", lambda vectors, edges, negatives: vectors.sum()),
    ("line_loss", lambda vectors, edges, negatives: bce_line(vectors, edges, negatives) / 2),
    ("line_loss", lambda vectors, edges, negatives: bce_line(vectors.detach(), edges, negatives)),
    ("line_loss", lambda vectors, edges, negatives: bce_line(
        F.normalize(vectors, dim=1), edges, negatives)),
    ("line_loss", lambda vectors, edges, negatives: bce_line(
        vectors, edges, negatives[torch.arange(len(negatives)) - 1])),
]  # fmt: skip


def test_an_answer_that_changes_its_input_is_refused():
    def node2vec_weights(before, here, t, p, q):
        here *= torch.where(before > 0, 1.0, 1 / q)
        here[t] = here[t] * q / p
        return here

    found = diagnosis.diagnose(SHELF["node2vec_weights"], node2vec_weights)
    assert found.state == "not yet" and "in place" in found.sentence
