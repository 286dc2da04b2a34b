"""Exercises of 07_node_embeddings: wrong answers that nobody declared, and other right ones."""

import networkx as nx
import numpy as np
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
    return total * degrees.sum() @ torch.diag((1 / degrees).to(P.dtype))


def bce_line(vectors, edges, negatives):
    targets = torch.cat([edges[:, 1:], negatives], 1)
    scores = torch.einsum("bd,bkd->bk", vectors[edges[:, 0]], vectors[targets])
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, truth, reduction="sum") / len(edges)


def looped_line(vectors, edges, negatives):
    total = 0
    for (i, j), ks in zip(edges.tolist(), negatives.tolist(), strict=True):
        total = total + torch.logaddexp(torch.zeros(()), -vectors[i] @ vectors[j])
        for k in ks:
            total = total + torch.logaddexp(torch.zeros(()), vectors[i] @ vectors[k])
    return total / len(edges)


RIGHT = [
    ("walk_step", lambda p, A: p @ torch.diag((1 / A.sum(1)).nan_to_num(posinf=0.0)) @ A),
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


# --- answers from the docstrings alone, written before the declared mistakes were read -----------


# walk_step
def ws_nan(p, A):
    return p @ (A / A.sum(1, keepdim=True))


def ws_columns(p, A):
    return p @ (A / A.sum(0).clamp(min=1e-12))


def ws_transposed(p, A):
    P = A / A.sum(1, keepdim=True).clamp(min=1e-12)
    return p @ P.T


def ws_binary(p, A):
    B = (A > 0).float()
    return p @ (B / B.sum(1, keepdim=True).clamp(min=1))


def ws_renormalised(p, A):
    out = p @ (A / A.sum(1, keepdim=True).clamp(min=1e-12))
    return out / out.sum(1, keepdim=True).clamp(min=1e-12)


def ws_stays(p, A):
    deg = A.sum(1)
    P = A / deg[:, None].clamp(min=1e-12) + torch.diag((deg == 0).float())
    return p @ P


def ws_clamp_one(p, A):
    return p @ (A / A.sum(1, keepdim=True).clamp(min=1))


def ws_eps(p, A):
    return p @ (A / (A.sum(1, keepdim=True) + 1e-2))


def ws_no_loops(p, A):
    A = A - torch.diag(A.diag())
    return p @ (A / A.sum(1, keepdim=True).clamp(min=1e-12))


def ws_jump(p, A):
    deg = A.sum(1, keepdim=True)
    P = torch.where(deg > 0, A / deg, 1 / len(A))
    return p @ P


def ws_nan_grad(p, A):
    deg = A.sum(1)
    q = torch.where(deg > 0, p / deg, 0.0)
    return q @ A


def ws_detached(p, A):
    return p.detach() @ (A / A.sum(1, keepdim=True).clamp(min=1e-12))


def ws_divided(p, A):
    deg = A.sum(1)
    return (p / torch.where(deg > 0, deg, torch.ones_like(deg))) @ A


def ws_nan_to_num(p, A):
    return p @ (A / A.sum(1, keepdim=True)).nan_to_num(0.0)


def ws_loop(p, A):
    out = torch.zeros(p.shape, dtype=torch.float64)
    for i in range(len(A)):
        if A[i].sum() > 0:
            out = out + p[:, i : i + 1] * (A[i] / A[i].sum())
    return out


def ws_einsum(p, A):
    inverse = torch.zeros(len(A))
    deg = A.sum(1)
    inverse[deg > 0] = 1 / deg[deg > 0]
    return torch.einsum("ki,i,ij->kj", p, inverse, A)


# node2vec_weights
def nv_loop_at_t(before, here, t, p, q):
    w = here / q
    w[t] = here[t] / p
    return torch.where(before > 0, here, w)


def nv_swapped(before, here, t, p, q):
    w = torch.where(before > 0, here, here / p)
    w[t] = here[t] / q
    return w


def nv_before_weight(before, here, t, p, q):
    w = torch.where(before > 0, here * before, here / q)
    w[t] = here[t] / p
    return w


def nv_unweighted(before, here, t, p, q):
    a = torch.where(before > 0, 1.0, 1 / q)
    a[t] = 1 / p
    return a * (here > 0)


def nv_normalised(before, here, t, p, q):
    a = torch.where(before > 0, 1.0, 1 / q)
    a[t] = 1 / p
    return a * here / (a * here).sum().clamp(min=1e-12)


def nv_no_edge(before, here, t, p, q):
    a = torch.where(before > 0, 1.0, 1 / q)
    out = torch.where(here > 0, here * a, a)
    out[t] = here[t] / p
    return out


def nv_in_place(before, here, t, p, q):
    back = here[t] / p
    here[before == 0] /= q
    here[t] = back
    return here


def nv_both(before, here, t, p, q):
    w = torch.where(before > 0, here, here / q)
    w[t] = w[t] / p
    return w


def nv_equal_one(before, here, t, p, q):
    w = torch.where(before == 1, here, here / q)
    w[t] = here[t] / p
    return w


def nv_return_always(before, here, t, p, q):
    w = torch.where(before > 0, here, here / q)
    w[t] = 1 / p
    return w


def nv_whole(before, here, t, p, q):
    w = here.clone().long()
    out = torch.where(before > 0, w, (w / q).long())
    out[t] = (here[t] / p).long()
    return out


def nv_loop(before, here, t, p, q):
    out = []
    for x, w in enumerate(here.tolist()):
        out.append(w / p if x == t else w if before[x] > 0 else w / q)
    return torch.tensor(out)


def nv_where(before, here, t, p, q):
    x = torch.arange(len(here))
    a = torch.where(x == t, 1 / p, torch.where(before != 0, 1.0, 1 / q))
    return a.double() * here


def nv_masks(before, here, t, p, q):
    back = F.one_hot(torch.tensor(t), len(here)).bool()
    near = (before > 0) & ~back
    far = ~near & ~back
    return here * (back / p + near.float() + far / q)


# association
def as_from_zero(degrees, P, weights):
    S, R = torch.zeros_like(P), torch.eye(len(P))
    for w in weights:
        S = S + w * R
        R = R @ P
    return degrees.sum() * S / degrees


def as_left(degrees, P, weights):
    S, R = torch.zeros_like(P), torch.eye(len(P))
    for w in weights:
        R = R @ P
        S = S + w * R
    return degrees.sum() * S / degrees[:, None]


def _S(P, weights):
    S, R = torch.zeros_like(P), torch.eye(len(P), dtype=P.dtype)
    for w in weights:
        R = R @ P
        S = S + w * R
    return S


def as_mean(degrees, P, weights):
    return degrees.sum() * _S(P, torch.full_like(weights, 1 / len(weights))) / degrees


def as_over_T(degrees, P, weights):
    return degrees.sum() * _S(P, weights) / len(weights) / degrees


def as_nodes(degrees, P, weights):
    return len(degrees) * _S(P, weights) / degrees


def as_elementwise(degrees, P, weights):
    S = sum(w * P ** (r + 1) for r, w in enumerate(weights))
    return degrees.sum() * S / degrees


def as_reversed(degrees, P, weights):
    return degrees.sum() * _S(P, weights.flip(0)) / degrees


def as_log(degrees, P, weights):
    return (degrees.sum() * _S(P, weights) / degrees).clamp(min=1).log()


def as_in_place(degrees, P, weights):
    S, R = torch.zeros_like(P), P.clone()
    for w in weights:
        S += w * R
        R @= P
    S *= degrees.sum()
    P /= degrees
    return S / degrees


def as_power(degrees, P, weights):
    S = sum(w * torch.linalg.matrix_power(P.double(), r) for r, w in enumerate(weights, 1))
    return degrees.sum() * S @ torch.diag(1 / degrees.double())


def as_horner(degrees, P, weights):
    S = torch.zeros_like(P)
    for w in weights.flip(0):
        S = P @ (S + w * torch.eye(len(P)))
    return S * (degrees.sum() / degrees)


def as_numpy(degrees, P, weights):
    d, P, w = degrees.double().numpy(), P.double().numpy(), weights.double().numpy()
    S = sum(w[r] * np.linalg.matrix_power(P, r + 1) for r in range(len(w)))
    return np.einsum("ij,j->ij", S, d.sum() / d)


# line_loss
def _ls(vectors, edges, negatives):
    i, j = edges.T
    return (vectors[i] * vectors[j]).sum(1), torch.einsum(
        "bd,bkd->bk", vectors[i], vectors[negatives]
    )


def ll_naive(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    return -(s.sigmoid().log() + (1 - t.sigmoid()).log().sum(1)).mean()


def ll_eps(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    return -((s.sigmoid() + 1e-6).log() + (1 - t.sigmoid() + 1e-6).log().sum(1)).mean()


def ll_other_end(vectors, edges, negatives):
    i, j = edges.T
    s, t = _ls(vectors, edges, negatives)
    t = torch.einsum("bd,bkd->bk", vectors[j], vectors[negatives])
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def ll_negatives_frozen(vectors, edges, negatives):
    i, j = edges.T
    s = (vectors[i] * vectors[j]).sum(1)
    t = torch.einsum("bd,bkd->bk", vectors[i], vectors[negatives].detach())
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def ll_hits_left_out(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    other = (negatives != edges[:, 1:]) & (negatives != edges[:, :1])
    return (F.softplus(-s) + (F.softplus(t) * other).sum(1)).mean()


def ll_no_loops(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    keep = edges[:, 0] != edges[:, 1]
    return (F.softplus(-s) + F.softplus(t).sum(1))[keep].sum() / len(edges)


def ll_unique_edges(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    seen, keep = set(), []
    for n, e in enumerate(edges.tolist()):
        if tuple(e) not in seen:
            seen.add(tuple(e))
            keep.append(n)
    return (F.softplus(-s) + F.softplus(t).sum(1))[keep].mean()


def ll_unit(vectors, edges, negatives):
    s, t = _ls(F.normalize(vectors, dim=1), edges, negatives)
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def ll_mean_k(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    return (F.softplus(-s) + F.softplus(t).mean(1)).mean()


def ll_both_ends(vectors, edges, negatives):
    s, t = _ls(vectors, edges, negatives)
    u = torch.einsum("bd,bkd->bk", vectors[edges[:, 1]], vectors[negatives])
    return (F.softplus(-s) + F.softplus(t).sum(1) + F.softplus(u).sum(1)).mean()


def ll_reshaped(vectors, edges, negatives):
    i, j = edges.reshape(2, -1)
    s = (vectors[i] * vectors[j]).sum(1)
    t = torch.einsum("bd,bkd->bk", vectors[i], vectors[negatives])
    return (F.softplus(-s) + F.softplus(t).sum(1)).mean()


def ll_bce(vectors, edges, negatives):
    nodes = torch.cat([edges[:, 1:], negatives], 1)
    s = torch.einsum("bd,bkd->bk", vectors[edges[:, 0]], vectors[nodes])
    y = torch.zeros_like(s)
    y[:, 0] = 1
    return F.binary_cross_entropy_with_logits(s, y, reduction="sum") / len(edges)


def ll_loop(vectors, edges, negatives):
    total = 0.0
    for (i, j), row in zip(edges.tolist(), negatives.tolist(), strict=True):
        total = total - F.logsigmoid(vectors[i] @ vectors[j])
        for k in row:
            total = total - F.logsigmoid(-(vectors[i] @ vectors[k]))
    return total / len(edges)


def ll_gram(vectors, edges, negatives):
    G = (vectors @ vectors.T).double()
    i, j = edges[:, 0], edges[:, 1]
    t = torch.gather(G[i], 1, negatives)
    return (F.softplus(-G[i, j]) + F.softplus(t).sum(1)).mean()


WRONG += [
    ("walk_step", ws_nan),
    ("walk_step", ws_columns),
    ("walk_step", ws_transposed),
    ("walk_step", ws_binary),
    ("walk_step", ws_renormalised),
    ("walk_step", ws_stays),
    ("walk_step", ws_clamp_one),
    ("walk_step", ws_eps),
    ("walk_step", ws_no_loops),
    ("walk_step", ws_jump),
    ("walk_step", ws_nan_grad),
    ("walk_step", ws_detached),
    ("node2vec_weights", nv_loop_at_t),
    ("node2vec_weights", nv_swapped),
    ("node2vec_weights", nv_before_weight),
    ("node2vec_weights", nv_unweighted),
    ("node2vec_weights", nv_normalised),
    ("node2vec_weights", nv_no_edge),
    ("node2vec_weights", nv_in_place),
    ("node2vec_weights", nv_both),
    ("node2vec_weights", nv_equal_one),
    ("node2vec_weights", nv_return_always),
    ("node2vec_weights", nv_whole),
    ("association", as_from_zero),
    ("association", as_left),
    ("association", as_mean),
    ("association", as_over_T),
    ("association", as_nodes),
    ("association", as_elementwise),
    ("association", as_reversed),
    ("association", as_log),
    ("association", as_in_place),
    ("line_loss", ll_naive),
    ("line_loss", ll_eps),
    ("line_loss", ll_other_end),
    ("line_loss", ll_negatives_frozen),
    ("line_loss", ll_hits_left_out),
    ("line_loss", ll_no_loops),
    ("line_loss", ll_unique_edges),
    ("line_loss", ll_unit),
    ("line_loss", ll_mean_k),
    ("line_loss", ll_both_ends),
    ("line_loss", ll_reshaped),
]

RIGHT += [
    ("walk_step", ws_divided),
    ("walk_step", ws_nan_to_num),
    ("walk_step", ws_loop),
    ("walk_step", ws_einsum),
    ("node2vec_weights", nv_loop),
    ("node2vec_weights", nv_where),
    ("node2vec_weights", nv_masks),
    ("association", as_power),
    ("association", as_horner),
    ("association", as_numpy),
    ("line_loss", ll_bce),
    ("line_loss", ll_loop),
    ("line_loss", ll_gram),
]
