"""node2vec's walks on Cora: ours and a compiled implementation's.

    python -m benchmarks --only node2vec

Ten walks of 40 nodes from each node, p = 0.25 and q = 4. fastnode2vec compiles its loop with numba;
pecanpy, the other compiled one, cannot be imported beside NumPy 2. Both draw from the same
probabilities: the share of steps that return at once must be the same but for chance.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import torch

from benchmarks.compare import Race, Row
from genai_utils import data
from genai_utils.structure import walks

LENGTH, PER_NODE, P, Q = 40, 10, 0.25, 4.0


def race(quick: bool) -> Race:
    """The same at both sizes: it takes less than a second."""
    from fastnode2vec import Graph

    cora = data.cora()
    graph = walks.from_edges(cora.edges, len(cora.labels))
    theirs = Graph(cora.edges.tolist(), directed=False, weighted=False, verbose=False)

    def ours(seed):
        g = torch.Generator().manual_seed(seed)
        return lambda: walks.node2vec_walks(graph, PER_NODE, LENGTH, P, Q, g)

    def walk():
        nodes = range(len(theirs.node_names))
        return torch.tensor(
            [theirs.generate_random_walk(LENGTH, P, Q, i) for i in nodes for _ in range(PER_NODE)]
        )

    return Race(
        ours,
        lambda seed: walk,
        amount=PER_NODE * graph.n,
        bytes=8 * 5 * PER_NODE * graph.n * (LENGTH - 1),
        quality=lambda found: (found[:, 2:] == found[:, :-2]).double().mean().item(),
    )


ROWS = [
    Row("node2vec", "07_node_embeddings", "node2vec's walks of 40 nodes on Cora, p = 0.25, q = 4",
        "fastnode2vec", "walks/s", race, "share of steps that return", higher=True, slack=0.02,
        floor="of each step: where a list begins and ends, a neighbour, a random number, a node")
]  # fmt: skip
