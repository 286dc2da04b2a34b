"""Vectors for the nodes of a graph: the matrix behind random walks, and links that are predicted.

Symbols follow Qiu et al.: A (n, n) is the symmetric matrix of edge weights, D = diag(d_1 ... d_n)
holds the degrees (row sums of A), P = D^-1 A the step of a random walk, vol(G) = sum_i d_i,
T the window and b the number of negative samples. Graphs and walks: see `walks`.

Sources: Qiu, Dong, Ma, Li, Wang & Tang 2018 (the matrix); Grover & Leskovec 2016 (node2vec); Tang
et al. 2015 (LINE). Lecture items B47-B51.
"""

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import array, number, refusal, whole
from genai_utils.structure import pca
from genai_utils.structure.walks import (  # noqa: F401, chapter 7 knows them from here
    Graph,
    arrow_graph,
    from_edges,
    from_networkx,
    node2vec_walks,
    node2vec_weights,
    random_walks,
    walk_step,
    walks_from,
)

# --- the matrix that they factorise


def distance_weights(window: int, shrinking: bool = False) -> Tensor:
    """Share w_r of the pairs at distance r = 1 ... T: (T,) float64, sum 1.

    All alike in Qiu et al.; with shrinking=True as in word2vec, whose window is drawn anew from
    1 ... T at each word, so that distance r counts with T + 1 - r.
    """
    T = whole(window, "window")
    weights = torch.arange(T, 0, -1).double() if shrinking else torch.ones(T).double()
    return weights / weights.sum()


def cooccurrence(walks: Tensor, window: int, n: int, shrinking: bool = False) -> Tensor:
    """#(i, j): how often j stands within `window` steps of i, on either side. (n, n) float64.

    shrinking: weigh the distances as word2vec does (see `distance_weights`), the nearest by 1.
    """
    walks, n = torch.as_tensor(walks), whole(n, "n")
    weights = distance_weights(window, shrinking)
    counts = torch.zeros(n * n, dtype=torch.float64, device=walks.device)
    for r in range(1, min(window, walks.shape[1] - 1) + 1):
        a, b = walks[:, :-r].flatten(), walks[:, r:].flatten()
        kept = (a >= 0) & (b >= 0)
        share = float(weights[r - 1] / weights[0])
        counts += share * torch.bincount(a[kept] * n + b[kept], minlength=n * n)
    counts = counts.view(n, n)
    return counts + counts.T


def measured_association(counts: Tensor) -> Tensor:
    """#(i, j) |D| / (#(i) #(j)) from counts (n, n): 1 where i and j meet as often as by chance."""
    counts = array(counts, "counts", dtype=torch.float64)
    totals = counts.sum(dim=1)
    return counts * totals.sum() / (totals[:, None] * totals).clamp(min=1e-300)


def association(degrees: Tensor, P: Tensor, weights: Tensor) -> Tensor:
    """What #(i, j) |D| / (#(i) #(j)) tends to in long walks: vol(G) (sum_r w_r P^r) D^-1.

    degrees (n,), all positive, with vol(G) their sum, whole numbers or floats; P (n, n) the step of
    the walk, float32 or float64; weights (T,) the share w_r of the pairs that are r = 1 ... T steps
    apart, T >= 1, 1/T each in Qiu et al. 2018, theorem 2.2. Returns (n, n). Lecture item B51.
    """
    power = torch.eye(len(degrees), dtype=P.dtype, device=P.device)
    total = torch.zeros_like(power)
    for w in weights:
        power = P @ power
        total = total + w * power
    return degrees.sum() * total / degrees


def deepwalk_matrix(
    graph: Graph, window: int, negatives: float = 1, shrinking: bool = False
) -> Tensor:
    """log( vol(G) / (b T) (sum_{r=1..T} P^r) D^-1 ), (n, n): what DeepWalk factorises. (B51)

    shrinking: distances weighted as in word2vec (see `distance_weights`).
    -inf where no walk of at most T steps leads from i to j, thus for isolated nodes too.
    """
    negatives = number(negatives, "negatives", above=0)
    degrees = torch.where(graph.degrees > 0, graph.degrees, 1.0)  # their rows of P are zero
    weights = distance_weights(window, shrinking).to(degrees)
    ratio = association(degrees, graph.step(), weights)
    return torch.log(ratio * (graph.degrees.sum() / degrees.sum()) / negatives)


def netmf(
    graph: Graph, dim: int, window: int = 10, negatives: float = 1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """NetMF: U_d sqrt(S_d), V_d sqrt(S_d) of max(deepwalk_matrix, 0), each (n, dim). (B51)

    The truncation at 0 is the paper's, for -inf cannot be factorised. Qiu et al. 2018, algorithm 3.
    """
    M = deepwalk_matrix(graph, window, negatives).clamp(min=0)
    U, s, V = pca.subspace_iteration(M, whole(dim, "dim"), seed=seed)
    return U * s.sqrt(), V * s.sqrt()


def node2vec_association(graph: Graph, p: float, q: float, window: int) -> Tensor:
    """The limit of #(i, j) |D| / (#(i) #(j)) for node2vec's walks, (n, n), on a connected graph.

    P^r is not defined for nodes, but it is for arrows: with their stationary probabilities pi and
    H (a, n) from arrow to end node, the joint probability of i and, r steps later, j is
    H^T diag(pi) P^r H. For small graphs: it holds a dense (2m, 2m) matrix. (Y33)
    Raises ValueError for a graph of several parts, where the limit depends on the start.
    """
    parts = scipy.sparse.csgraph.connected_components(_csr(graph))[0]
    if parts > 1:
        raise refusal("graph", "a connected graph", f"{parts} parts", "take them one by one")
    arrows = arrow_graph(graph, p, q)
    P, a = arrows.step().to_dense(), arrows.n
    eye = torch.eye(a).to(P)
    pi = torch.linalg.solve(eye - P.T + 1, torch.ones(a).to(P))  # pi P = pi, sum 1
    reach = H = F.one_hot(graph.indices, graph.n).to(P)  # (a, n)
    joint = torch.zeros(graph.n, graph.n).to(P)
    for w in distance_weights(window):
        reach = P @ reach
        joint += w * (pi[:, None] * H).T @ reach
    nodes = pi @ H
    return (joint + joint.T) / 2 / (nodes[:, None] * nodes)


# --- links, and a model that knows nothing but them


def _csr(graph: Graph) -> scipy.sparse.csr_matrix:
    parts = (part.cpu().numpy() for part in (graph.weights, graph.indices, graph.indptr))
    return scipy.sparse.csr_matrix(tuple(parts), shape=(graph.n, graph.n))


def hide_edges(edges: Tensor, n: int, share: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """For link prediction: edges that stay, edges that are hidden, and as many pairs without edge.

    Hides round(share * m) random edges outside a random spanning forest, so that what was connected
    stays so (Grover & Leskovec 2016, section 4.4). edges (m, 2) as for `from_edges`; each result is
    (., 2) int64. Raises ValueError where the forest leaves too few edges to hide, and where fewer
    pairs than that have no edge.
    """
    from_edges(edges, n)  # says what is wrong with them
    edges, share = torch.as_tensor(edges), number(share, "share")
    g = np.random.default_rng(seed)
    m, (i, j) = len(edges), edges.cpu().numpy().T
    random = scipy.sparse.csr_matrix((g.permutation(m) + 1.0, (i, j)), shape=(n, n))
    tree = scipy.sparse.csgraph.minimum_spanning_tree(random).tocoo()
    in_tree = np.isin(i * n + j, tree.row.astype(np.int64) * n + tree.col)
    free, count = np.flatnonzero(~in_tree), round(share * m)
    if not 1 <= count <= len(free):
        raise ValueError(f"share = {share} hides {count} of {m} edges; at most {len(free)} can be")
    unlinked = n * (n - 1) // 2 - m
    if unlinked < count:
        raise ValueError(
            f"share = {share} needs {count} pairs without an edge; with {n} nodes and {m} edges "
            f"there are {unlinked}; hide fewer"
        )
    hidden = np.zeros(m, bool)
    hidden[g.choice(free, count, replace=False)] = True
    hidden = torch.from_numpy(hidden).to(edges.device)
    return edges[~hidden], edges[hidden], _unlinked(i, j, n, count, g).to(edges.device)


def _unlinked(i, j, n: int, count: int, g) -> Tensor:
    """`count` different pairs without an edge, (count, 2), drawn with NumPy's generator g."""
    known = set((np.minimum(i, j) * n + np.maximum(i, j)).tolist())
    pairs = []
    for _ in range(100 * count):
        a, b = sorted(g.integers(0, n, 2).tolist())
        if a != b and a * n + b not in known:
            known.add(a * n + b)
            pairs.append((a, b))
            if len(pairs) == count:
                return torch.tensor(pairs)
    # Hardly any pair is left: list them, and draw the rest from the list.
    left = [(a, b) for a in range(n) for b in range(a + 1, n) if a * n + b not in known]
    rest = g.choice(len(left), count - len(pairs), replace=False)
    return torch.tensor(pairs + [left[place] for place in rest])


def line_loss(vectors: Tensor, edges: Tensor, negatives: Tensor) -> Tensor:
    """Loss of LINE, first order: ends of an edge alike, random pairs not.

    Mean over the edges (i, j) of -log sigmoid(z_i . z_j) - sum_k log sigmoid(-z_i . z_k), in nats.
    vectors (n, d), edges (B, 2), negatives (B, K) the nodes k; returns a scalar. Every edge counts,
    a loop or one drawn twice too, and every k, also one that is i or j. Right for scores of any
    size: where sigmoid(s) is rounded to 0, its logarithm is near s. Tang et al. 2015, eq. 7.
    """
    z = vectors[edges[:, 0]]  # (B, d)
    near = (z * vectors[edges[:, 1]]).sum(dim=1)  # (B,)
    far = (z[:, None] * vectors[negatives]).sum(dim=2)  # (B, K)
    return -(F.logsigmoid(near) + F.logsigmoid(-far).sum(dim=1)).mean()


class Line(nn.Module):
    """One vector per node, trained on edges (B, 2) alone: LINE with first-order proximity."""

    def __init__(self, degrees: Tensor, dim: int, negatives: int = 5, power: float = 0.75):
        super().__init__()
        degrees, dim = array(degrees, "degrees", dtype=torch.float64), whole(dim, "dim")
        if degrees.min() < 0 or not degrees.any():
            raise refusal("degrees", "numbers >= 0, not all 0", f"{degrees.min():g} and others")
        self.vectors = nn.Parameter(torch.randn(len(degrees), dim) * 0.1 * dim**-0.5)
        self.negatives = whole(negatives, "negatives")
        self.register_buffer("noise", degrees**power)

    def loss(self, edges: Tensor) -> Tensor:
        """`line_loss` of edges (B, 2), either end first, with fresh negatives."""
        turn = torch.rand(len(edges), 1, device=edges.device) < 0.5
        edges = torch.where(turn, edges.flip(1), edges)
        count = len(edges) * self.negatives
        negatives = torch.multinomial(self.noise, count, replacement=True)
        return line_loss(self.vectors, edges, negatives.view(len(edges), -1))
