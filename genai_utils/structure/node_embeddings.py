"""Vectors for the nodes of a graph: random walks as sentences, and the matrix behind them.

Symbols follow Qiu et al.: A (n, n) is the symmetric matrix of edge weights, D = diag(d_1 ... d_n)
holds the degrees (row sums of A), P = D^-1 A the step of a random walk, vol(G) = sum_i d_i,
T the window and b the number of negative samples. Walks are rows of node ids, and -1 is padding:
they are `blocks` for `word_embeddings.SkipGram` as they are.

Sources: Perozzi, Al-Rfou & Skiena 2014 (DeepWalk); Grover & Leskovec 2016 (node2vec); Qiu, Dong,
Ma, Li, Wang & Tang 2018 (the matrix); Tang et al. 2015 (LINE). Lecture items B47-B51.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.structure import pca


def _whole(name: str, value, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} should be a whole number, got {type(value).__name__} {value!r}")
    if value < least:
        raise ValueError(f"{name} should be at least {least}, got {value}")
    return int(value)


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph in compressed sparse rows (CSR): the neighbours of node i, one after the other.

    indptr (n + 1,) int64: those of node i stand at indptr[i] to indptr[i + 1] - 1 of
    indices (a,) int64, increasing in each row, and of weights (a,) float64, positive. An undirected
    edge stands there twice, as two arrows, so a = 2 m. Make it with `from_edges`.
    """

    indptr: Tensor
    indices: Tensor
    weights: Tensor

    @property
    def n(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def tails(self) -> Tensor:
        """Where each arrow starts, (a,); it ends at `indices`."""
        rows = torch.arange(self.n, device=self.indptr.device)
        return rows.repeat_interleave(self.indptr.diff())

    @cached_property
    def totals(self) -> Tensor:
        """Running sum of the weights, with a zero in front: (a + 1,)."""
        return F.pad(self.weights.cumsum(0), (1, 0))

    @cached_property
    def degrees(self) -> Tensor:
        """Sum of the weights at each node, (n,) float64."""
        return torch.zeros(self.n).to(self.weights).index_add(0, self.tails, self.weights)

    def adjacency(self) -> Tensor:
        """The matrix A, (n, n) float64, dense."""
        A = torch.zeros(self.n, self.n).to(self.weights)
        A[self.tails, self.indices] = self.weights
        return A

    def has_edge(self, a: Tensor, b: Tensor) -> Tensor:
        """Whether a[i] and b[i] are joined, bool of their shape. O(log m) each."""
        keys, wanted = self.tails * self.n + self.indices, a * self.n + b
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return keys[place] == wanted

    def step(self) -> Tensor:
        """P = D^-1 A as a sparse matrix (n, n); an isolated node's row is zero."""
        values = self.weights / self.degrees[self.tails]
        places, shape = torch.stack([self.tails, self.indices]), (self.n, self.n)
        return torch.sparse_coo_tensor(places, values, shape, check_invariants=False)


def from_edges(edges: Tensor, n: int | None = None, weights: Tensor | None = None) -> Graph:
    """The undirected graph of m edges, each given once in either direction.

    edges (m, 2) int64; n nodes, by default the largest id plus one (a node without edges is
    isolated); weights (m,), default 1. Raises ValueError for an empty graph, ids outside 0..n-1,
    self-loops, weights that are not positive, and an edge that is there twice: (i, j) and (j, i)
    are the same edge, so a directed list has to be made undirected first.
    """
    if not isinstance(edges, Tensor) or edges.dtype != torch.int64:
        got = edges.dtype if isinstance(edges, Tensor) else type(edges).__name__
        raise TypeError(f"edges should be an int64 tensor (m, 2), got {got}; use torch.as_tensor")
    if edges.dim() != 2 or edges.shape[1] != 2 or len(edges) == 0:
        raise ValueError(f"edges should be (m, 2) with m >= 1, got {tuple(edges.shape)}")
    low, high = int(edges.min()), int(edges.max())
    n = high + 1 if n is None else _whole("n", n)
    if low < 0 or high >= n:
        raise ValueError(f"node ids should be between 0 and n - 1 = {n - 1}, got {low} to {high}")
    if loops := int((edges[:, 0] == edges[:, 1]).sum()):
        raise ValueError(f"{loops} edges join a node with itself; leave them out")
    weights = torch.ones(len(edges)) if weights is None else torch.as_tensor(weights)
    weights = weights.to(edges.device, torch.float64)
    if weights.shape != edges.shape[:1] or not (weights > 0).all() or weights.isinf().any():
        raise ValueError(f"weights should be {len(edges)} positive, finite numbers")
    tails, heads = torch.cat([edges, edges.flip(1)]).T  # each edge as two arrows, (2m,)
    keys, order = (tails * n + heads).sort()
    if twice := int((keys.diff() == 0).sum()) // 2:
        raise ValueError(
            f"{twice} edges are there more than once, as in a directed list that has (i, j) and "
            "(j, i); use torch.unique(edges.sort(dim=1).values, dim=0)"
        )
    indptr = F.pad(torch.bincount(tails, minlength=n).cumsum(0), (1, 0))
    return Graph(indptr, heads[order], weights.repeat(2)[order])


def from_networkx(G, weight: str | None = None) -> tuple[Graph, list]:
    """The Graph of an undirected networkx graph, and its nodes' names in order of their ids."""
    if G.is_directed() or G.is_multigraph():
        raise ValueError(f"an undirected simple graph is needed, got {type(G).__name__}; "
                         "use networkx.Graph(G.to_undirected())")  # fmt: skip
    names = list(G)
    place = {name: i for i, name in enumerate(names)}
    edges = [(place[a], place[b]) for a, b in G.edges]
    weights = [float(w) for _, _, w in G.edges.data(weight, default=1.0)] if weight else None
    edges = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2)
    return from_edges(edges, len(names), None if weights is None else torch.tensor(weights)), names


# --- random walks: sentences of nodes


def walk_step(p: Tensor, A: Tensor) -> Tensor:
    """Where walkers are after one step: p P with P = D^-1 A.

    Each row of p (k, n) says with which probability a walker is at each node; A (n, n) holds the
    edge weights, and every node has an edge. Returns (k, n); its rows sum to what p's did. (B48)
    """
    degrees = A.sum(dim=1)  # (n,)
    return (p / degrees) @ A


def walks_from(graph: Graph, starts: Tensor, length: int, generator=None) -> Tensor:
    """Walks from the given nodes (N,), all at once: (N, length) int64.

    Each step goes to a neighbour, with probability proportional to the weight. Where there is none
    (an isolated node), the walk ends: the rest is -1. generator: a torch.Generator on the CPU.
    """
    here, walks = starts, [starts]
    for _ in range(_whole("length", length) - 1):
        first, last = graph.indptr[here], graph.indptr[here + 1]  # here = -1: checked below
        alive = (here >= 0) & (first < last)
        chance = torch.rand(len(here), generator=generator, dtype=torch.float64).to(starts.device)
        low, high = graph.totals[first], graph.totals[last]
        arrow = torch.searchsorted(graph.totals, low + chance * (high - low), right=True) - 1
        arrow = torch.minimum(torch.maximum(arrow, first), last - 1)  # rounding
        here = torch.where(alive, graph.indices[arrow], -1)
        walks.append(here)
    return torch.stack(walks, dim=1)  # (N, length)


def _starts(graph: Graph, walks_per_node: int) -> Tensor:
    nodes = torch.arange(graph.n, device=graph.indptr.device)
    return nodes.repeat(_whole("walks_per_node", walks_per_node))


def random_walks(graph: Graph, walks_per_node: int, length: int, generator=None) -> Tensor:
    """DeepWalk's walks: (walks_per_node * n, length) int64, pass after pass over all nodes. (B48)

    Row i starts at node i mod n. The walk from an isolated node ends at once: the rest is -1.
    """
    return walks_from(graph, _starts(graph, walks_per_node), length, generator)


def node2vec_weights(before: Tensor, here: Tensor, t: int, p: float, q: float) -> Tensor:
    """Weight of each next node x for a walk that came from node t and is at v now, not normalised.

    w(v, x) / p if x is t itself, w(v, x) if x is a neighbour of t, w(v, x) / q otherwise.
    before (n,) and here (n,) are the rows t and v of A. Returns (n,), zero where v has no edge.
    Grover & Leskovec 2016, eq. 2 (there: alpha_pq(t, x) w_vx); lecture item B49.
    """
    nodes = torch.arange(len(here), device=here.device)
    bias = torch.where(before > 0, 1.0, 1 / q)
    return torch.where(nodes == t, 1 / p, bias) * here


def arrow_graph(graph: Graph, p: float, q: float) -> Graph:
    """node2vec as a first-order walk: its nodes are the arrows of the graph.

    From arrow t -> v a walker goes to an arrow v -> x with the weight of `node2vec_weights`. The
    arrow's number is its position in graph.indices. Needs sum_i d_i^2 numbers.
    Raises ValueError where p or q is not positive.
    """
    for name, value in (("p", p), ("q", q)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} should be a positive, finite number, got {value}")
    heads, counts = graph.indices, graph.indptr.diff()[graph.indices]
    indptr = F.pad(counts.cumsum(0), (1, 0))
    came = torch.arange(len(heads), device=heads.device).repeat_interleave(counts)  # t -> v
    goes = torch.arange(len(came), device=heads.device) - indptr[came] + graph.indptr[heads[came]]
    t, x = graph.tails[came], heads[goes]
    bias = torch.where(graph.has_edge(t, x), 1.0, 1 / q).double()
    bias = torch.where(t == x, 1 / p, bias)
    return Graph(indptr, goes, bias * graph.weights[goes])


def node2vec_walks(
    graph: Graph, walks_per_node: int, length: int, p: float, q: float, generator=None
) -> Tensor:
    """node2vec's walks, (walks_per_node * n, length) int64: the first step as DeepWalk's. (B49)

    Small p: back to where it came from. Small q: away from there. p = q = 1 is DeepWalk.
    """
    arrows, starts = arrow_graph(graph, p, q), _starts(graph, walks_per_node)
    if _whole("length", length) == 1:
        return starts[:, None]
    second = walks_from(graph, starts, 2, generator)[:, 1]  # (N,)
    keys = graph.tails * graph.n + graph.indices
    first = torch.searchsorted(keys, starts * graph.n + second.clamp(min=0))
    first = torch.where(second >= 0, first, -1)
    trail = walks_from(arrows, first, length - 1, generator)  # (N, length - 1)
    return torch.cat([starts[:, None], torch.where(trail >= 0, graph.indices[trail], -1)], dim=1)


# --- the matrix that they factorise


def distance_weights(window: int, shrinking: bool = False) -> Tensor:
    """Share w_r of the pairs at distance r = 1 ... T: (T,) float64, sum 1.

    All alike in Qiu et al.; with shrinking=True as in word2vec, whose window is drawn anew from
    1 ... T at each word, so that distance r counts with T + 1 - r.
    """
    T = _whole("window", window)
    weights = torch.arange(T, 0, -1).double() if shrinking else torch.ones(T).double()
    return weights / weights.sum()


def cooccurrence(walks: Tensor, window: int, n: int, shrinking: bool = False) -> Tensor:
    """#(i, j): how often j stands within `window` steps of i, on either side. (n, n) float64.

    shrinking: weigh the distances as word2vec does (see `distance_weights`), the nearest by 1.
    """
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
    totals = counts.sum(dim=1)
    return counts * totals.sum() / (totals[:, None] * totals).clamp(min=1e-300)


def association(degrees: Tensor, P: Tensor, weights: Tensor) -> Tensor:
    """What #(i, j) |D| / (#(i) #(j)) tends to in long walks: vol(G) (sum_r w_r P^r) D^-1.

    degrees (n,), all positive, with vol(G) their sum; P (n, n) the step of the walk; weights (T,)
    the share w_r of the pairs that are r = 1 ... T steps apart, 1/T each in Qiu et al. 2018,
    theorem 2.2. Returns (n, n). Lecture item B51.
    """
    power = torch.eye(len(degrees), dtype=degrees.dtype, device=degrees.device)
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
    if not negatives > 0:
        raise ValueError(f"negatives should be positive, got {negatives}")
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
    U, s, V = pca.subspace_iteration(M, _whole("dim", dim), seed=seed)
    return U * s.sqrt(), V * s.sqrt()


def node2vec_association(graph: Graph, p: float, q: float, window: int) -> Tensor:
    """The limit of #(i, j) |D| / (#(i) #(j)) for node2vec's walks, (n, n), on a connected graph.

    P^r is not defined for nodes, but it is for arrows: with their stationary probabilities pi and
    H (a, n) from arrow to end node, the joint probability of i and, r steps later, j is
    H^T diag(pi) P^r H. For small graphs: it holds a dense (2m, 2m) matrix. (Y33)
    """
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


def hide_edges(edges: Tensor, n: int, share: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """For link prediction: edges that stay, edges that are hidden, and as many pairs without edge.

    Hides round(share * m) random edges outside a random spanning forest, so that what was connected
    stays so (Grover & Leskovec 2016, section 4.4). edges (m, 2); each result is (., 2) int64.
    Raises ValueError where the forest leaves too few edges to hide.
    """
    g = np.random.default_rng(seed)
    m, (i, j) = len(edges), edges.cpu().numpy().T
    random = scipy.sparse.csr_matrix((g.permutation(m) + 1.0, (i, j)), shape=(n, n))
    tree = scipy.sparse.csgraph.minimum_spanning_tree(random).tocoo()
    in_tree = np.isin(i * n + j, tree.row.astype(np.int64) * n + tree.col)
    free, count = np.flatnonzero(~in_tree), round(share * m)
    if not 1 <= count <= len(free):
        raise ValueError(f"share = {share} hides {count} of {m} edges; at most {len(free)} can be")
    hidden = np.zeros(m, bool)
    hidden[g.choice(free, count, replace=False)] = True
    known = set((np.minimum(i, j) * n + np.maximum(i, j)).tolist())
    none = []
    while len(none) < count:
        a, b = sorted(g.integers(0, n, 2).tolist())
        if a != b and a * n + b not in known:
            known.add(a * n + b)
            none.append((a, b))
    hidden = torch.from_numpy(hidden)
    return edges[~hidden], edges[hidden], torch.tensor(none)


def line_loss(vectors: Tensor, edges: Tensor, negatives: Tensor) -> Tensor:
    """Loss of LINE, first order: ends of an edge alike, random pairs not.

    Mean over the edges (i, j) of -log sigmoid(z_i . z_j) - sum_k log sigmoid(-z_i . z_k), in nats.
    vectors (n, d), edges (B, 2), negatives (B, K) the nodes k; returns a scalar.
    Tang et al. 2015, eq. 7.
    """
    z = vectors[edges[:, 0]]  # (B, d)
    near = (z * vectors[edges[:, 1]]).sum(dim=1)  # (B,)
    far = (z[:, None] * vectors[negatives]).sum(dim=2)  # (B, K)
    return -(F.logsigmoid(near) + F.logsigmoid(-far).sum(dim=1)).mean()


class Line(nn.Module):
    """One vector per node, trained on edges (B, 2) alone: LINE with first-order proximity."""

    def __init__(self, degrees: Tensor, dim: int, negatives: int = 5, power: float = 0.75):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(len(degrees), dim) * 0.1 * dim**-0.5)
        self.negatives = negatives
        self.register_buffer("noise", degrees.double() ** power)

    def loss(self, edges: Tensor) -> Tensor:
        """`line_loss` of edges (B, 2), either end first, with fresh negatives."""
        turn = torch.rand(len(edges), 1, device=edges.device) < 0.5
        edges = torch.where(turn, edges.flip(1), edges)
        count = len(edges) * self.negatives
        negatives = torch.multinomial(self.noise, count, replacement=True)
        return line_loss(self.vectors, edges, negatives.view(len(edges), -1))
