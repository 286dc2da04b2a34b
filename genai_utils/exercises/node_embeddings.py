"""Exercises of 07_node_embeddings: from one step of a walk to a model that is retrained."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.predictions import Prediction
from genai_utils.structure import node_embeddings as ne

NOTEBOOK = "07_node_embeddings"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _weights(n, g, density=0.5):
    """A symmetric matrix of edge weights (n, n): a ring, so that no node is alone, and chords."""
    ring = torch.roll(torch.eye(n), 1, 0)
    chords = (torch.rand(n, n, generator=g) < density) * (torch.rand(n, n, generator=g) + 0.5)
    A = torch.triu(1.25 * (ring + ring.T) + chords, diagonal=1)
    return A + A.T


def walkers(seed):
    """Of some groups of walkers a part is gone already: their probabilities sum to less than 1."""
    g = _generator(seed)
    cases = []
    for k, n in ((3, 5), (4, 7), (6, 9)):
        p = torch.rand(k, n, generator=g).softmax(dim=1) * (0.3 + torch.rand(k, 1, generator=g) / 2)
        cases.append((p, _weights(n, g)))
    return cases


def lonely_nodes(seed):
    cases = []
    for p, A in walkers(seed):
        other = torch.arange(len(A)) != 2
        cases.append((p, A * other * other[:, None]))
    return cases


def light_edges(seed):
    return [(p, A / 100) for p, A in walkers(seed)]


def with_loops(seed):
    return [(p, A + torch.arange(len(A)).float().diag()) for p, A in walkers(seed)]


def one_way_streets(seed):
    return [(p, A * (1 + 3 * torch.ones_like(A).triu())) for p, A in walkers(seed)]


def one_group(seed):
    return [(p[:1], A) for p, A in walkers(seed)]


def _step(p, A, lowest=1e-12):
    return p / A.sum(1).clamp(min=lowest) @ A


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
        "made to sum to one": (
            lambda p, A: _step(p, A) / _step(p, A).sum(1, keepdim=True),
            "You divided the rows by their sums. A row sums to what p's did: walkers that are gone "
            "do not come back.",
        ),
    },
    clauses={
        "node without edges": Clause(
            lonely_nodes,
            "A node without edges has degree 0, and 0 / 0 is NaN: walkers there are gone, they "
            "neither stay nor jump. The gradient must be a number, too.",
            lambda p, A: p @ (A / A.sum(1, keepdim=True)),
        ),
        "light edges": Clause(
            light_edges,
            "A degree may be small, it is a sum of weights: a lower limit for the degrees, or "
            "something added to them, loses walkers.",
            lambda p, A: _step(p, A, lowest=0.5),
        ),
        "loops": Clause(
            with_loops,
            "An edge from a node to itself, A[i, i], is an edge like any other: it counts in the "
            "degree, and some walkers stay where they are.",
            lambda p, A: _step(p, A - A.diag().diag()),
        ),
        "edges with a direction": Clause(
            one_way_streets,
            "A need not be symmetric: row i holds the edges that lead away from node i, so its "
            "degree is the sum of that row.",
            lambda p, A: p @ torch.nan_to_num(A / A.sum(0)[:, None]),
        ),
        "one row": Clause(
            one_group,
            "For one row, p (1, n), the result has the shape (1, n): squeeze takes that dimension "
            "away.",
            lambda p, A: _step(p, A).squeeze(0),
        ),
    },
    hints=[
        "P = D^-1 A: row i of A divided by the degree of node i. What is the degree in terms of A?",
        "p / degrees divides column i of p by the degree of node i; then multiply by A.",
        "Where a degree is 0, put a 1 in its place before you divide: row i of A is 0 there.",
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
        before = torch.where(A[t] > 0, A[t] + 1, 0.0)  # how heavy an edge of t is does not matter
        cases.append((before, A[v].clone(), t, p, q))
    return cases


def _changed(seed, before=1.0, here=1.0):
    """Both rows times a number, as whole numbers where `before` is None."""
    for first, second, *rest in second_steps(seed):
        if before is None:
            yield ((2 * first).long(), (2 * second).ceil().long(), *rest)
        else:
            yield (before * first, here * second, *rest)


def loop_at_t(seed):
    cases = second_steps(seed)
    return [(before + 2 * _at(t, before), here, t, *pq) for before, here, t, *pq in cases]


def light_edges_of_t(seed):
    return list(_changed(seed, before=0.01))


def no_edge_back(seed):
    cases = second_steps(seed)
    cases = [(before, here * (1 - _at(t, here)), t, *pq) for before, here, t, *pq in cases]
    return cases + list(_changed(seed, here=0.0))


def whole_weights(seed):
    return list(_changed(seed, before=None))


def _at(t, row):
    return F.one_hot(torch.tensor(t), len(row)).to(row.dtype)


def _node2vec(before, here, t, back, near, far):
    weights = torch.where(before > 0, near, far) * here
    weights[t] = back * here[t]
    return weights


def _right(before, here, t, p, q):
    return _node2vec(before, here, t, 1 / p, 1.0, 1 / q)


def _neighbours_first(before, here, t, p, q):
    return torch.where(before > 0, 1.0, 1 / q + _at(t, here) * (1 / p - 1 / q)) * here


def _always_back(before, here, t, p, q):
    return torch.where((here == 0) & (_at(t, here) > 0), 1 / p, _right(before, here, t, p, q))


def _of_the_same_kind(before, here, t, p, q):
    weights = torch.zeros_like(here)
    weights[:] = _right(before, here, t, p, q)
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
        "back and near swapped": (
            lambda before, here, t, p, q: _node2vec(before, here, t, 1.0, 1 / p, 1 / q),
            "You divided the neighbours of t by p. It is the way back to t itself that gets 1/p.",
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
        "edges alike": (
            lambda before, here, t, p, q: _right(before, (here > 0).float(), t, p, q),
            "You left out the weight w(v, x) of the edge: 1/p, 1 and 1/q multiply it.",
        ),
        "weight of the first edge": (
            lambda before, here, t, p, q: (
                torch.where((before > 0) & (_at(t, here) == 0), before, 1.0)
                * _right(before, here, t, p, q)
            ),
            "You multiplied by the weight of the edge from t to x. It only matters whether there "
            "is one.",
        ),
    },
    clauses={
        "loop at t": Clause(
            loop_at_t,
            "If t has an edge to itself it is a neighbour of t as well, but the way back comes "
            "first: t gets 1/p.",
            _neighbours_first,
        ),
        "light edges of t": Clause(
            light_edges_of_t,
            "A neighbour of t is a node with any weight above 0, also a small one.",
            lambda before, here, t, p, q: _right((before >= 1).float(), here, t, p, q),
        ),
        "no edge back": Clause(
            no_edge_back,
            "Where v has no edge the weight is zero, also for the way back to t: without the edge "
            "v-t (a street with one direction) nobody walks it.",
            _always_back,
        ),
        "whole numbers": Clause(
            whole_weights,
            "The rows may hold whole numbers (int64), as in a graph without weights; the result is "
            "a float all the same. A copy of here cannot hold 1/p.",
            _of_the_same_kind,
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


def one_step(seed):
    return [(degrees, P, torch.ones(1)) for degrees, P, _ in chains(seed)]


def whole_degrees(seed):
    cases = []
    for _, P, weights in chains(seed):
        A = (P > 0).long()
        cases.append((A.sum(1), A / A.sum(1, keepdim=True), weights))
    return cases


def double_precision(seed):
    return [tuple(a.double() for a in case) for case in chains(seed)]


def _association(degrees, P, weights):
    return degrees.sum() * _powers(P, weights) / degrees


def _loop_from(power, degrees, P, weights):
    """By a loop that multiplies `power` by P in each round."""
    total = torch.zeros_like(P)
    for w in weights:
        power = power @ P
        total = total + w * power
    return degrees.sum() * total / degrees


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
        "weights alike": (
            lambda degrees, P, weights: _association(
                degrees, P, torch.full_like(weights, 1 / len(weights))
            ),
            "You took the mean of the powers: the power r counts with its own share, weights[r - "
            "1].",
        ),
        "divided by T": (
            lambda degrees, P, weights: _association(degrees, P, weights) / len(weights),
            "You divided by T as well: the weights are shares, they sum to one already.",
        ),
    },
    clauses={
        "one step": Clause(
            one_step,
            "T may be 1: the association of neighbours alone, vol(G) P D^-1. squeeze makes a "
            "single weight a number that no loop runs over.",
            lambda degrees, P, weights: (
                degrees.sum()
                * sum(
                    w * torch.linalg.matrix_power(P, r) for r, w in enumerate(weights.squeeze(), 1)
                )
                / degrees
            ),
        ),
        "whole degrees": Clause(
            whole_degrees,
            "Without weights the degrees are whole numbers (int64), while P is not: make the "
            "identity and the powers in the dtype of P.",
            lambda degrees, P, weights: _loop_from(
                torch.eye(len(P), dtype=degrees.dtype), degrees, P, weights
            ),
        ),
        "double precision": Clause(
            double_precision,
            "All may come in float64: torch.eye(n) is float32 and does not multiply with it. "
            "torch.eye(n, dtype=P.dtype) does.",
            lambda degrees, P, weights: _loop_from(torch.eye(len(P)), degrees, P, weights),
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
        pairs = torch.combinations(torch.arange(n))  # no loop, and none twice
        edges = pairs[torch.randperm(len(pairs), generator=g)[:B]]
        edges = torch.where(torch.arange(B)[:, None] % 2 > 0, edges, edges.flip(1))
        away = 1 + torch.randint(n - 2, (B, K), generator=g)  # past i and j, round the circle
        first, second = edges.sort(dim=1).values.T[:, :, None]
        away = away + (away >= second - first)
        negatives = (first + away) % n
        cases.append((0.5 * torch.randn(n, d, generator=g), edges, negatives))
    return cases


def long_vectors(seed):
    cases = []
    for vectors, edges, negatives in edge_batches(seed):
        directions = F.normalize(vectors, dim=1).abs()  # so that no score is small
        directions[edges[0, 1]] *= -1
        cases += [(size * directions, edges, negatives) for size in (12.0, 80.0)]
    return cases


def ends_drawn_as_negatives(seed):
    return [
        (vectors, edges, torch.cat([negatives, edges], 1))
        for vectors, edges, negatives in edge_batches(seed)
    ]


def loops_and_repeats(seed):
    cases = []
    for vectors, edges, negatives in edge_batches(seed):
        more = torch.stack([edges[0], edges[1, :1].expand(2)])  # one once more, and a loop
        cases.append((vectors, torch.cat([edges, more]), torch.cat([negatives, negatives[:2]])))
    return cases


def one_edge_or_negative(seed):
    cases = edge_batches(seed)
    return [(v, edges[:1], negatives[:1]) for v, edges, negatives in cases] + [
        (v, edges, negatives[:, :1]) for v, edges, negatives in cases
    ]


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


def logarithms_of_sigmoids(vectors, edges, negatives):
    near, far = _scores(vectors, edges, negatives)
    return -(near.sigmoid().log() + (-far).sigmoid().log().sum(1)).mean()


def without_ends(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges, negatives))
    others = (negatives[:, :, None] != edges[:, None]).all(2) | (edges[:, :1] == edges[:, 1:])
    return (near + (far * others).sum(1)).mean()


def each_edge_once(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges, negatives))
    rows = edges.tolist()
    new = [b for b, (i, j) in enumerate(rows) if i != j and [i, j] not in rows[:b]]
    return (near + far.sum(1))[new].mean()


def squeezed_negatives(vectors, edges, negatives):
    near, far = _line(*_scores(vectors, edges, negatives))
    return (near + far.squeeze().sum(-1)).mean()


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
    clauses={
        "large scores": Clause(
            long_vectors,
            "For a large score sigmoid(s) is rounded to 0 or 1, and its logarithm is -inf or 0. "
            "F.logsigmoid(s) and -F.softplus(-s) are right for every s, and so are their "
            "gradients.",
            logarithms_of_sigmoids,
        ),
        "ends drawn as negatives": Clause(
            ends_drawn_as_negatives,
            "A node drawn at random may be i or j itself. It counts like any other k: leave none "
            "out.",
            without_ends,
        ),
        "loops and repeats": Clause(
            loops_and_repeats,
            "Every row of edges counts, also a loop (i, i) and an edge that was drawn twice: leave "
            "none out.",
            each_edge_once,
        ),
        "one edge, or one negative": Clause(
            one_edge_or_negative,
            "It should also be right for one edge (B = 1) and for one negative each (K = 1): "
            "squeeze takes that dimension away, and the sum is then over another one.",
            squeezed_negatives,
        ),
    },
    hints=[
        "vectors[edges[:, 0]] are the vectors z_i of the first ends, (B, d).",
        "vectors[negatives] has the shape (B, K, d); z_i has to become (B, 1, d) to meet it.",
        "F.logsigmoid(x) is log sigmoid(x), and it does not underflow.",
    ],
    grad=["vectors"],
)

PREDICTIONS = (
    Prediction(
        "barbell-roles",
        "On the barbell, the two mirror images of a node have the same role. With which setting of "
        "node2vec does the cosine tell such pairs best?",
        "d",
        "Walking away has 0.61, q = 1/2 has 0.54 and q = 2, the paper's setting for roles, 0.37, "
        "less than the 0.43 of DeepWalk (section 7.6).",
        choices=(
            "q = 2, as the paper has it",
            "q = 1/2",
            "p = q = 1, which is DeepWalk",
            "p = 10, q = 1/10, which walks away",
        ),
    ),
    Prediction(
        "labels-without-vectors",
        "Half of the papers have a label. Label spreading hands labels along the citations and "
        "has no vectors. Against a classifier on DeepWalk's vectors, how does it do?",
        "a",
        "Label spreading names the subject of 85.0 % of the other papers, DeepWalk's vectors that "
        "of 81.9 % (section 7.7).",
        choices=(
            "better, by more than a point",
            "within a point",
            "worse, by one to five points",
            "worse, by more than five points",
        ),
    ),
)
