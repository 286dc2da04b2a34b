"""Exercises of 07_node_embeddings: from one step of a walk to a model that is retrained."""

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.structure import node_embeddings as ne

NOTEBOOK = "07_node_embeddings"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _weights(n, g, density=0.5):
    """A symmetric matrix of edge weights (n, n): a ring, so that no node is alone, and chords."""
    ring = torch.roll(torch.eye(n), 1, 0)
    chords = (torch.rand(n, n, generator=g) < density) * (torch.rand(n, n, generator=g) + 0.5)
    A = torch.triu(ring + ring.T + chords, diagonal=1)
    return A + A.T


def walkers(seed):
    g = _generator(seed)
    return [
        (torch.rand(k, n, generator=g).softmax(dim=1), _weights(n, g))
        for k, n in ((3, 5), (4, 7), (6, 9))
    ]


exercise(
    ne.walk_step,
    cases=walkers,
    mistakes={
        "not divided": (
            lambda p, A: p @ A,
            "You did not divide by the degrees: a walker chooses one of its edges, so the weights "
            "of a node's edges have to add up to one.",
        ),
        "divided on arrival": (
            lambda p, A: p @ A / A.sum(1),
            "You divided by the degree of the node where the walker arrives. It chooses where it "
            "leaves: divide by that node's degree, or the rows no longer add up to one.",
        ),
        "number of edges": (
            lambda p, A: p / (A > 0).sum(1) @ A,
            "You divided by the number of a node's edges. With weights, its degree is their sum.",
        ),
        "all edges alike": (
            lambda p, A: p @ ((A > 0).float() / (A > 0).float().sum(1, keepdim=True)),
            "You took all edges alike; here an edge is chosen in proportion to its weight.",
        ),
    },
    hints=[
        "P = D^-1 A: row i of A divided by the degree of node i. What is the degree in terms of A?",
        "p / degrees divides column i of p by the degree of node i; then multiply by A.",
    ],
    grad=["p"],
)


def second_steps(seed):
    g = _generator(seed)
    cases = []
    for n, p, q in ((6, 0.25, 4.0), (8, 4.0, 0.5), (11, 0.5, 2.0)):
        A = _weights(n, g)
        t = int(torch.randint(n, (1,), generator=g))
        A[t, (t + 2) % n] = A[(t + 2) % n, t] = 0.0  # someone is away from t ...
        v = (t + 1) % n
        A[v, (t + 2) % n] = A[(t + 2) % n, v] = 1.5
        A[t, (t + 3) % n] = A[(t + 3) % n, t] = 2.0  # ... and someone is near
        A[v, (t + 3) % n] = A[(t + 3) % n, v] = 0.75
        cases.append((A[t].clone(), A[v].clone(), t, p, q))
    return cases


def _node2vec(before, here, t, back, near, far):
    weights = torch.where(before > 0, near, far) * here
    weights[t] = back * here[t]
    return weights


exercise(
    ne.node2vec_weights,
    cases=second_steps,
    mistakes={
        "p and q swapped": (
            lambda before, here, t, p, q: _node2vec(before, here, t, 1 / q, 1.0, 1 / p),
            "You swapped p and q: p is for the way back to t, q for the nodes away from t.",
        ),
        "multiplied": (
            lambda before, here, t, p, q: _node2vec(before, here, t, p, 1.0, q),
            "You multiplied by p and q. A large p should make the way back rare: divide.",
        ),
        "near and away swapped": (
            lambda before, here, t, p, q: _node2vec(before, here, t, 1 / p, 1 / q, 1.0),
            "You divided the neighbours of t by q. It is the other nodes, those away from t.",
        ),
        "no way back": (
            lambda before, here, t, p, q: torch.where(before > 0, 1.0, 1 / q) * here,
            "Node t is no neighbour of itself, so you gave it 1/q. The way back to t gets 1/p.",
        ),
        "normalised": (
            lambda before, here, t, p, q: F.normalize(
                _node2vec(before, here, t, 1 / p, 1.0, 1 / q), p=1, dim=0
            ),
            "You divided by the sum. That gives probabilities; asked are the weights before that.",
        ),
    },
    hints=[
        "Start from here, the weights of the edges of v. Each is multiplied by 1/p, by 1 or by "
        "1/q.",
        "torch.where(before > 0, 1.0, 1 / q) tells the neighbours of t from the others.",
        "Then put 1 / p at place t. Do not change here itself.",
    ],
)


def chains(seed):
    g = _generator(seed)
    cases = []
    for n, T in ((4, 3), (6, 4), (9, 2)):
        A = _weights(n, g)
        weights = torch.arange(T, 0, -1) / (T * (T + 1) / 2)
        cases.append((A.sum(1), A / A.sum(1, keepdim=True), weights))
    return cases


def _powers(P, weights, first=1):
    return sum(w * torch.linalg.matrix_power(P, r) for r, w in enumerate(weights, first))


exercise(
    ne.association,
    cases=chains,
    mistakes={
        "starts at power 0": (
            lambda degrees, P, weights: degrees.sum() * _powers(P, weights, 0) / degrees,
            "Your sum starts at P^0, the walk that stays; neighbours are one step away.",
        ),
        "rows divided": (
            lambda degrees, P, weights: degrees.sum() * _powers(P, weights) / degrees[:, None],
            "You divided the rows by the degrees. D^-1 stands on the right: divide the columns.",
        ),
        "no volume": (
            lambda degrees, P, weights: _powers(P, weights) / degrees,
            "The factor vol(G) is missing, the sum of all degrees.",
        ),
        "entries to the power": (
            lambda degrees, P, weights: (
                degrees.sum() * sum(w * P**r for r, w in enumerate(weights, 1)) / degrees
            ),
            "You raised each entry to the power r. P^r is a matrix product: P @ P @ ...",
        ),
        "last power only": (
            lambda degrees, P, weights: (
                degrees.sum() * torch.linalg.matrix_power(P, len(weights)) / degrees
            ),
            "You took the last power only: all distances 1 ... T count, each with its weight.",
        ),
    },
    hints=[
        "Keep the power of P in a variable that is multiplied by P in each round of a loop.",
        "total / degrees divides column j by d_j, which is what D^-1 on the right does.",
        "The factor vol(G) is degrees.sum().",
    ],
)


def edge_batches(seed):
    g = _generator(seed)
    cases = []
    for n, d, B, K in ((7, 3, 4, 5), (9, 4, 6, 3), (12, 5, 3, 2)):
        edges = torch.rand(B, n, generator=g).argsort(dim=1)[:, :2]
        vectors = torch.randn(n, d, generator=g)
        cases.append((vectors, edges, torch.randint(n, (B, K), generator=g)))
    return cases


def _scores(vectors, edges, negatives):
    z = vectors[edges[:, 0]]
    return (z * vectors[edges[:, 1]]).sum(1), (z[:, None] * vectors[negatives]).sum(2)


def _line(near, far):
    return F.softplus(-near), F.softplus(far)


def wrong_sign(vectors, edges, negatives):
    near, far = _scores(vectors, edges, negatives)
    return (F.softplus(-near) + F.softplus(-far).sum(1)).mean()


def averaged_negatives(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges, negatives))
    return (near + far.mean(1)).mean()


def summed_edges(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges, negatives))
    return (near + far.sum(1)).sum()


def other_end(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges.flip(1), negatives))
    return (near + far.sum(1)).mean()


def log_likelihood(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges, negatives))
    return -(near + far.sum(1)).mean()


exercise(
    ne.line_loss,
    cases=edge_batches,
    mistakes={
        "sign of the negatives": (
            wrong_sign,
            "You pull the random pairs together as well. Their score needs a minus sign: "
            "log sigmoid(-z_i . z_k).",
        ),
        "mean over the negatives": (
            averaged_negatives,
            "You averaged over the K negatives of an edge; add them up. The mean is over edges.",
        ),
        "sum over the edges": (
            summed_edges,
            "You returned the sum over the edges; the loss is their mean, so that a batch's size "
            "does not matter.",
        ),
        "negatives for the other end": (
            other_end,
            "You compared the negatives with the second end of the edge, j. They belong to the "
            "first, i.",
        ),
        "sign of the whole": (
            log_likelihood,
            "That is the log-likelihood. A loss is to be made small, so take its negative.",
        ),
    },
    hints=[
        "vectors[edges[:, 0]] are the vectors z_i of the first ends, (B, d).",
        "vectors[negatives] has the shape (B, K, d); z_i has to become (B, 1, d) to meet it.",
        "F.logsigmoid(x) is log sigmoid(x), and it does not underflow.",
    ],
    grad=["vectors"],
)
