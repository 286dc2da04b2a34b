"""A graph in compressed rows, and random walks on it: sentences of nodes.

Symbols follow Qiu et al.: A (n, n) is the symmetric matrix of edge weights, D = diag(d_1 ... d_n)
holds the degrees (row sums of A), P = D^-1 A the step of a random walk. Walks are rows of node ids,
and -1 is padding: they are `blocks` for `word_embeddings.SkipGram` as they are.

Sources: Perozzi, Al-Rfou & Skiena 2014 (DeepWalk); Grover & Leskovec 2016 (node2vec). Lecture items
B47-B49.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_utils.inputs import array, kind_of, refusal, whole


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
        """Running sum of the steps' probabilities, with a zero in front: (a + 1,).

        Of probabilities, for among weights of 1e12 a running sum loses those of 1e-12.
        """
        return F.pad((self.weights / self.degrees[self.tails]).cumsum(0), (1, 0))

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
        # Checked, since PyTorch 2.11 warns of what is not.
        return torch.sparse_coo_tensor(places, values, shape, check_invariants=True)


def from_edges(edges: Tensor, n: int | None = None, weights: Tensor | None = None) -> Graph:
    """The undirected graph of m edges, each given once in either direction.

    edges (m, 2) int64; n nodes, by default the largest id plus one (a node without edges is
    isolated); weights (m,), default 1. Raises ValueError for an empty graph, ids outside 0..n-1,
    self-loops, weights that are not positive, and an edge that is there twice: (i, j) and (j, i)
    are the same edge, so a directed list has to be made undirected first.
    """
    if hasattr(edges, "dtype"):  # a tensor or NumPy array
        edges = torch.as_tensor(edges)
    if not isinstance(edges, Tensor) or edges.dtype != torch.int64:
        raise refusal(
            "edges", "an int64 tensor (m, 2)", kind_of(edges), "use torch.as_tensor",
            kind=TypeError,
        )  # fmt: skip
    if edges.dim() != 2 or edges.shape[1] != 2 or len(edges) == 0:
        raise ValueError(f"edges should be (m, 2) with m >= 1, got {tuple(edges.shape)}")
    low, high = int(edges.min()), int(edges.max())
    n = high + 1 if n is None else whole(n, "n")
    if low < 0 or high >= n:
        raise ValueError(f"node ids should be between 0 and n - 1 = {n - 1}, got {low} to {high}")
    if loops := int((edges[:, 0] == edges[:, 1]).sum()):
        raise ValueError(f"{loops} edges join a node with itself; leave them out")
    weights = torch.ones(len(edges)) if weights is None else array(weights, "weights", finite=False)
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


# --- random walks


def walk_step(p: Tensor, A: Tensor) -> Tensor:
    """Where walkers are after one step: p P with P = D^-1 A.

    Each row of p (k, n) says with which probability a walker is at each node; A (n, n) holds the
    edge weights, row i those that lead away from node i, a loop among them, and D the row sums.
    Returns (k, n); its rows sum to what p's did (less than 1 where some are gone already), but for
    walkers at a node without edges, who are gone. (B48)
    """
    degrees = A.sum(dim=1)  # (n,)
    return (p / torch.where(degrees > 0, degrees, 1.0)) @ A


def walks_from(graph: Graph, starts: Tensor, length: int, generator=None) -> Tensor:
    """Walks from the given nodes (N,), all at once: (N, length) int64.

    Each step goes to a neighbour, with probability proportional to the weight. Where there is none
    (an isolated node), the walk ends: the rest is -1. generator: a torch.Generator on the CPU.
    """
    here, walks = starts, [starts]
    for _ in range(whole(length, "length") - 1):
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
    return nodes.repeat(whole(walks_per_node, "walks_per_node"))


def random_walks(graph: Graph, walks_per_node: int, length: int, generator=None) -> Tensor:
    """DeepWalk's walks: (walks_per_node * n, length) int64, pass after pass over all nodes. (B48)

    Row i starts at node i mod n. The walk from an isolated node ends at once: the rest is -1.
    """
    return walks_from(graph, _starts(graph, walks_per_node), length, generator)


def node2vec_weights(before: Tensor, here: Tensor, t: int, p: float, q: float) -> Tensor:
    """Weight of each next node x for a walk that came from node t and is at v now, not normalised.

    w(v, x) / p if x is t itself (also if t has a loop), w(v, x) if x is a neighbour of t, w(v, x)/q
    otherwise. before (n,) and here (n,) are the rows t and v of A, whole numbers or floats: a
    neighbour has a weight above 0. Returns floats (n,), zero where v has no edge. Grover &
    Leskovec 2016, eq. 2 (there: alpha_pq(t, x) w_vx); lecture item B49.
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
    if whole(length, "length") == 1:
        return starts[:, None]
    second = walks_from(graph, starts, 2, generator)[:, 1]  # (N,)
    keys = graph.tails * graph.n + graph.indices
    first = torch.searchsorted(keys, starts * graph.n + second.clamp(min=0))
    first = torch.where(second >= 0, first, -1)
    trail = walks_from(arrows, first, length - 1, generator)  # (N, length - 1)
    return torch.cat([starts[:, None], torch.where(trail >= 0, graph.indices[trail], -1)], dim=1)
