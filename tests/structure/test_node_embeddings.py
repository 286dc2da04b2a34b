"""Walks against exact probabilities, the matrix against counts, and bad input named."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse.csgraph
import torch

from genai_utils import data
from genai_utils.structure import node_embeddings as ne
from genai_utils.structure import word_embeddings
from genai_utils.training import TensorBatches, fit

TIGHT = {"rtol": 0, "atol": 1e-10}
SPOKES = torch.tensor([[0, 1], [1, 2], [2, 0], [2, 3], [3, 4], [4, 5], [5, 3]])  # two triangles


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def karate():
    return ne.from_networkx(data.graph("karate"))[0]


@pytest.fixture(scope="module")
def weighted():
    return ne.from_networkx(data.graph("karate"), weight="weight")[0]


# ---------------------------------------------------------------- the graph


@pytest.mark.parametrize("name, weight", [("karate", "weight"), ("les_miserables", None)])
def test_the_graph_is_networkxs(name, weight):
    G = data.graph(name)
    graph, names = ne.from_networkx(G, weight)
    want = nx.to_numpy_array(G, nodelist=names, weight=weight)
    np.testing.assert_array_equal(graph.adjacency(), want)
    np.testing.assert_array_equal(graph.degrees, want.sum(1))
    np.testing.assert_allclose(graph.step().to_dense(), want / want.sum(1, keepdims=True))
    for i in range(graph.n):  # neighbours of each node in order
        row = graph.indices[graph.indptr[i] : graph.indptr[i + 1]]
        assert row.tolist() == np.flatnonzero(want[i]).tolist()
    a, b = torch.meshgrid(*[torch.arange(graph.n)] * 2, indexing="ij")
    np.testing.assert_array_equal(graph.has_edge(a, b), want > 0)


def test_edges_may_come_in_any_order_and_direction():
    turned = ne.from_edges(SPOKES.flip(0).flip(1))
    assert torch.equal(turned.adjacency(), ne.from_edges(SPOKES).adjacency())


@pytest.mark.parametrize(
    "edges, options, error, says",
    [
        (torch.zeros(0, 2).long(), {}, ValueError, "m >= 1"),
        (SPOKES.T, {}, ValueError, r"\(m, 2\)"),
        (SPOKES.float(), {}, TypeError, "int64"),
        ([[0, 1]], {}, TypeError, "torch.as_tensor"),
        (SPOKES - 1, {}, ValueError, "got -1"),
        (SPOKES, {"n": 5}, ValueError, "n - 1 = 4, got 0 to 5"),
        (SPOKES, {"n": 6.0}, TypeError, "whole number"),
        (torch.cat([SPOKES, SPOKES[:2].flip(1)]), {}, ValueError, "2 edges .* directed"),
        (torch.cat([SPOKES, SPOKES[:1]]), {}, ValueError, "1 edges .* torch.unique"),
        (torch.tensor([[0, 1], [1, 1]]), {}, ValueError, "1 edges join a node with itself"),
        (SPOKES, {"weights": torch.zeros(7)}, ValueError, "7 positive"),
        (SPOKES, {"weights": torch.ones(6)}, ValueError, "7 positive"),
        (SPOKES, {"weights": torch.full((7,), float("nan"))}, ValueError, "7 positive"),
    ],
)
def test_bad_edges_are_named(edges, options, error, says):
    with pytest.raises(error, match=says):
        ne.from_edges(edges, **options)


def test_networkx_graphs_that_do_not_fit_are_named():
    for G in (nx.DiGraph([(0, 1)]), nx.MultiGraph([(0, 1), (0, 1)])):
        with pytest.raises(ValueError, match=f"{type(G).__name__}.*to_undirected"):
            ne.from_networkx(G)
    with pytest.raises(ValueError, match="m >= 1"):
        ne.from_networkx(nx.empty_graph(3))
    ne.from_networkx(nx.Graph(nx.DiGraph([(0, 1), (1, 0)]).to_undirected()))  # the advice works


# ---------------------------------------------------------------- random walks


def shares(graph, walks):
    """Measured probabilities of each step i -> j of walks, (n, n)."""
    a, b = walks[:, :-1].flatten(), walks[:, 1:].flatten()
    counts = torch.bincount(a * graph.n + b, minlength=graph.n**2).view(graph.n, -1).double()
    return counts / counts.sum(1, keepdim=True), counts.sum(1)


def test_each_step_follows_an_edge_in_proportion_to_its_weight(weighted):
    walks = ne.random_walks(weighted, 400, 60, generator())
    assert walks.shape == (400 * 34, 60) and walks.dtype == torch.int64
    assert torch.equal(walks[:, 0], torch.arange(34).repeat(400))
    assert weighted.has_edge(walks[:, :-1], walks[:, 1:]).all()
    P, (measured, count) = weighted.step().to_dense(), shares(weighted, walks)
    error = (measured - P).abs() / (P * (1 - P) / count[:, None]).sqrt().clamp(min=1e-12)
    assert error[(P > 0) & (P < 1)].max() < 4.5  # standard errors, the largest of 156
    assert (measured[P == 0] == 0).all()


def test_walks_repeat_with_their_seed_and_differ_without(karate):
    a, b, c = (ne.random_walks(karate, 2, 9, generator(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_an_isolated_nodes_walk_ends_and_trains_nothing():
    graph = ne.from_edges(SPOKES, n=8)  # 6 and 7 are alone
    for walks in (
        ne.random_walks(graph, 3, 5, generator()),
        ne.node2vec_walks(graph, 3, 5, 0.5, 2.0, generator()),
    ):
        alone = (walks[:, 0] >= 6) & (walks[:, 0] <= 7)
        assert alone.sum() == 6 and (walks[alone, 1:] == -1).all() and (walks[~alone] >= 0).all()
    M = ne.deepwalk_matrix(graph, 5)
    assert (M[6:] == -torch.inf).all() and (M[:, 6:] == -torch.inf).all()
    torch.testing.assert_close(M[:6, :6], ne.deepwalk_matrix(ne.from_edges(SPOKES), 5), **TIGHT)
    assert ne.cooccurrence(walks, 2, 8)[6:].sum() == 0
    U, _ = ne.netmf(graph, 3)
    assert torch.isfinite(U).all() and U[6:].abs().max() < 1e-9


@pytest.mark.parametrize(
    "count, length, error", [(0, 5, ValueError), (2, 0, ValueError), (2.5, 5, TypeError)]
)
def test_bad_sizes_of_walks_are_named(karate, count, length, error):
    for walk in (
        lambda: ne.random_walks(karate, count, length),
        lambda: ne.node2vec_walks(karate, count, length, 1, 1),
    ):
        with pytest.raises(error, match="expected"):
            walk()


def test_walk_step_is_one_step_and_many_reach_the_degrees(weighted):
    A, d = weighted.adjacency(), weighted.degrees
    p = torch.eye(34, dtype=torch.float64)
    torch.testing.assert_close(ne.walk_step(p, A), weighted.step().to_dense(), **TIGHT)
    for _ in range(500):
        p = ne.walk_step(p, A)
    torch.testing.assert_close(p, (d / d.sum()).expand(34, 34), rtol=0, atol=1e-9)


# ---------------------------------------------------------------- node2vec


def exact_second_order(A, p, q):
    """Grover & Leskovec's transition probabilities by their definition: {(t, v): (n,)}."""
    n, table = len(A), {}
    distance = scipy.sparse.csgraph.shortest_path(A, unweighted=True)
    for t, v in zip(*np.nonzero(A), strict=True):
        alpha = np.zeros(n)
        for x in np.flatnonzero(A[v]):
            alpha[x] = {0: 1 / p, 1: 1.0, 2: 1 / q}[distance[t, x]]
        weights = alpha * A[v]
        table[t, v] = weights / weights.sum()
    return table


@pytest.mark.parametrize("p, q", [(0.25, 4.0), (4.0, 0.25), (1.0, 1.0), (0.1, 0.7)])
def test_arrow_graph_is_grover_and_leskovecs_definition(weighted, p, q):
    A = weighted.adjacency()
    table, arrows = exact_second_order(A.numpy(), p, q), ne.arrow_graph(weighted, p, q)
    P = arrows.step().to_dense()
    assert P.shape == (156, 156)
    ends = zip(weighted.tails.tolist(), weighted.indices.tolist(), strict=True)
    for e, (t, v) in enumerate(ends):
        row = torch.zeros(34).double().index_add(0, weighted.indices, P[e])
        np.testing.assert_allclose(row, table[t, v], atol=1e-12)
        assert (weighted.tails[P[e] > 0] == v).all()  # the next arrow starts where this one ends
        weights = ne.node2vec_weights(A[t], A[v], t, p, q)
        np.testing.assert_allclose(weights / weights.sum(), table[t, v], atol=1e-12)


@pytest.mark.parametrize("p, q", [(0.25, 4.0), (4.0, 0.25)])
def test_node2vec_walks_follow_the_second_order_probabilities(weighted, p, q):
    walks = ne.node2vec_walks(weighted, 600, 50, p, q, generator(1))
    assert walks.shape == (600 * 34, 50)
    assert weighted.has_edge(walks[:, :-1], walks[:, 1:]).all()
    first, _ = shares(weighted, walks[:, :2])
    assert (first - weighted.step().to_dense()).abs().max() < 0.1
    t, v, x = (walks[:, i : i + 48].flatten() for i in range(3))
    counts = torch.bincount((t * 34 + v) * 34 + x, minlength=34**3).view(34, 34, 34).double()
    for (a, b), want in exact_second_order(weighted.adjacency().numpy(), p, q).items():
        seen, want = counts[a, b], torch.from_numpy(want)
        total = seen.sum()
        assert total > 100
        error = (seen / total - want).abs() / (want * (1 - want) / total + 1e-12).sqrt()
        assert error[want > 0].max() < 5.5 and (seen[want == 0] == 0).all()


def test_p_and_q_change_how_often_a_walk_returns(karate):
    def returns(p, q):
        walks = ne.node2vec_walks(karate, 50, 40, p, q, generator())
        return (walks[:, 2:] == walks[:, :-2]).double().mean().item()

    assert returns(0.1, 1) > returns(1, 1) + 0.2 > returns(10, 1) + 0.25
    walks = ne.random_walks(karate, 50, 40, generator(3))
    plain = (walks[:, 2:] == walks[:, :-2]).double().mean().item()
    assert returns(1, 1) == pytest.approx(plain, abs=0.01)


@pytest.mark.parametrize("p, q", [(0, 1), (1, 0), (-1, 1), (1, -0.5), (float("nan"), 1),
                                  (1, float("inf"))])  # fmt: skip
def test_p_and_q_that_are_not_positive_are_named(karate, p, q):
    for use in (
        lambda: ne.node2vec_walks(karate, 1, 5, p, q),
        lambda: ne.arrow_graph(karate, p, q),
        lambda: ne.node2vec_association(karate, p, q, 2),
    ):
        with pytest.raises(ValueError, match="[pq] should be a positive"):
            use()


# ---------------------------------------------------------------- the matrix


def test_cooccurrence_counts_pairs_on_either_side():
    walks = torch.tensor([[0, 1, 2, 0], [2, 3, -1, -1]])
    want = torch.zeros(4, 4).double()
    for row in walks.tolist():
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                if a >= 0 and b >= 0 and 1 <= abs(i - j) <= 2:
                    want[a, b] += 1
    assert torch.equal(ne.cooccurrence(walks, 2, 4), want)
    assert torch.equal(ne.cooccurrence(walks, 50, 4)[0, 0], torch.tensor(2.0).double())
    shrunk = ne.cooccurrence(walks, 2, 4, shrinking=True)
    assert shrunk[2, 3] == 1 and shrunk[0, 2] == 0.5 + 1  # two apart: half


def test_the_matrix_by_dense_powers(weighted):
    A = weighted.adjacency().numpy()
    d = A.sum(1)
    P = A / d[:, None]
    powers = sum(np.linalg.matrix_power(P, r) for r in range(1, 6))
    want = np.log(d.sum() / (3 * 5) * powers @ np.diag(1 / d))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(ne.deepwalk_matrix(weighted, 5, 3), want, atol=1e-10)
    M = ne.deepwalk_matrix(weighted, 5)
    torch.testing.assert_close(M, M.T, **TIGHT)
    near = ne.deepwalk_matrix(weighted, 1)  # T = 1: log(w_ij vol / (d_i d_j)) on edges, else -inf
    i, j = 0, 1
    assert near[i, j].exp().item() == pytest.approx(A[i, j] * d.sum() / d[i] / d[j])
    assert torch.equal(near > -torch.inf, weighted.adjacency() > 0)


@pytest.mark.parametrize("shrinking", [False, True])
def test_counts_come_closer_to_the_matrix_as_walks_get_longer(karate, shrinking):
    want = ne.deepwalk_matrix(karate, 4, shrinking=shrinking).exp()
    errors = []
    for length in (250, 2_500, 25_000):
        walks = ne.random_walks(karate, 1, length, generator())
        counts = ne.cooccurrence(walks, 4, 34, shrinking)
        errors.append(((ne.measured_association(counts) - want).norm() / want.norm()).item())
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.02
    other = ne.deepwalk_matrix(karate, 4, shrinking=not shrinking).exp()
    assert (other - want).norm() / want.norm() > 0.1  # the wrong weighting would be seen


@pytest.mark.parametrize("window", [0, -1, 2.5, True])
def test_bad_windows_are_named(karate, window):
    for use in (lambda: ne.deepwalk_matrix(karate, window), lambda: ne.netmf(karate, 2, window)):
        with pytest.raises((ValueError, TypeError), match="window: expected"):
            use()
    with pytest.raises(ValueError, match="negatives"):
        ne.deepwalk_matrix(karate, 2, 0)
    with pytest.raises(ValueError, match="dim"):
        ne.netmf(karate, 0)


def test_node2vecs_limit_needs_arrows(karate):
    first = ne.deepwalk_matrix(karate, 5).exp()
    same = ne.node2vec_association(karate, 1, 1, 5)
    torch.testing.assert_close(same, first, rtol=0, atol=1e-9)
    for p, q in ((0.25, 4.0), (4.0, 0.25)):
        walks = ne.node2vec_walks(karate, 40, 500, p, q, generator())
        seen = ne.measured_association(ne.cooccurrence(walks, 5, 34))
        second = ne.node2vec_association(karate, p, q, 5)
        assert (seen - second).norm() < 0.03 * second.norm()
        assert (seen - first).norm() > 0.2 * first.norm()  # erratum Y33


def test_netmf_is_the_truncated_svd(karate):
    M = ne.deepwalk_matrix(karate, 10, 2).clamp(min=0).numpy()
    u, s, vt = np.linalg.svd(M)
    for dim in (3, 34):
        U, V = ne.netmf(karate, dim, 10, 2)
        assert U.shape == V.shape == (34, dim)
        np.testing.assert_allclose(U @ V.T, (u[:, :dim] * s[:dim]) @ vt[:dim], atol=1e-4)
        np.testing.assert_allclose(U.norm(dim=0) ** 2, s[:dim], atol=1e-4)


def test_the_optimum_of_skipgram_is_the_matrix(karate):
    """With d = n, noise in proportion to the counts and long walks, training ends at the matrix."""
    walks = ne.random_walks(karate, 200, 20, generator())
    torch.manual_seed(0)
    model = word_embeddings.SkipGram(torch.bincount(walks.flatten()), 34, 2, 1, power=1.0)
    fit(model, TensorBatches(walks, batch_size=100), 500, lr=0.03, progress=False)
    with torch.no_grad():
        learned = (model.input.weight @ model.output.weight.T).double()
    often = ne.cooccurrence(walks, 2, 34, shrinking=True) > 200  # others have hardly any weight
    right, flat = (ne.deepwalk_matrix(karate, 2, 1, shrinking) for shrinking in (True, False))
    assert often.sum() > 200
    error, other = ((learned - M)[often].square().mean().sqrt() for M in (right, flat))
    assert error < 0.1 < 0.2 < other
    assert torch.corrcoef(torch.stack([learned[often], right[often]]))[0, 1] > 0.99


# ---------------------------------------------------------------- links


def test_hidden_edges_leave_the_graph_connected():
    G = data.graph("les_miserables")
    graph, _ = ne.from_networkx(G)
    edges = torch.stack([graph.tails, graph.indices], 1)
    edges = edges[edges[:, 0] < edges[:, 1]]
    kept, hidden, none = ne.hide_edges(edges, 77, 0.3, seed=1)
    assert len(hidden) == len(none) == round(0.3 * 254) and len(kept) + len(hidden) == 254
    assert nx.is_connected(nx.Graph(kept.tolist())) and len(nx.Graph(kept.tolist())) == 77
    keys = [set(map(tuple, part.tolist())) for part in (kept, hidden, none)]
    assert keys[0] | keys[1] == set(map(tuple, edges.tolist())) and not keys[0] & keys[1]
    assert len(keys[2]) == len(none) and not graph.has_edge(*none.T).any()
    assert torch.equal(hidden, ne.hide_edges(edges, 77, 0.3, seed=1)[1])
    assert not torch.equal(hidden, ne.hide_edges(edges, 77, 0.3, seed=2)[1])
    for share in (0.0, 0.9):
        with pytest.raises(ValueError, match="share"):
            ne.hide_edges(edges, 77, share)


def test_line_loss_by_a_loop_and_its_gradient():
    g = generator()
    z = torch.randn(6, 3, generator=g, dtype=torch.float64, requires_grad=True)
    edges, negatives = torch.tensor([[0, 1], [4, 2]]), torch.tensor([[3, 5, 0], [1, 1, 2]])
    loop = 0
    for (i, j), ks in zip(edges.tolist(), negatives.tolist(), strict=True):
        loop -= torch.log(torch.sigmoid(z[i] @ z[j])) / 2
        loop -= sum(torch.log(torch.sigmoid(-z[i] @ z[k])) for k in ks) / 2
    torch.testing.assert_close(ne.line_loss(z, edges, negatives), loop)
    assert torch.autograd.gradcheck(lambda z: ne.line_loss(z, edges, negatives), z)
    huge = 1e3 * torch.ones(6, 3)
    assert torch.isfinite(ne.line_loss(huge, edges, negatives))


def test_line_puts_the_ends_of_an_edge_together(karate):
    edges = torch.stack([karate.tails, karate.indices], 1)
    edges = edges[edges[:, 0] < edges[:, 1]]
    torch.manual_seed(0)
    model = ne.Line(karate.degrees, 16, negatives=1)
    result = fit(model, TensorBatches(edges, batch_size=39), 400, lr=0.02, progress=False)
    assert result.history["loss"][-1] < 0.8 * result.history["loss"][0]
    S = (model.vectors @ model.vectors.T).detach()
    A = karate.adjacency() > 0
    apart = ~A & ~torch.eye(34, dtype=torch.bool)
    assert (S[A][:, None] > S[apart]).double().mean() > 0.85  # the AUC


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_walks_and_matrix_are_the_same_on_cuda(karate):
    there = ne.Graph(*(t.cuda() for t in (karate.indptr, karate.indices, karate.weights)))
    a, b = (ne.node2vec_walks(g, 2, 9, 0.5, 2.0, generator()) for g in (karate, there))
    assert b.is_cuda and torch.equal(a, b.cpu())
    M = ne.deepwalk_matrix(there, 4)
    assert M.is_cuda
    torch.testing.assert_close(M.cpu(), ne.deepwalk_matrix(karate, 4), **TIGHT)


# ---------------------------------------------------------------- few pairs, zeros, wide units


def test_a_complete_graph_has_no_pairs_to_compare_with():
    with pytest.raises(ValueError, match="2 pairs without an edge.* there are 0"):
        ne.hide_edges(torch.combinations(torch.arange(5)), 5, 0.2)


@pytest.mark.parametrize("n, missing", [(30, 2), (200, 3)])
def test_the_last_pairs_without_an_edge_are_found(n, missing):
    edges = torch.combinations(torch.arange(n))
    edges = edges[torch.randperm(len(edges), generator=generator())]
    gone, edges = edges[:missing], edges[missing:]
    *_, none = ne.hide_edges(edges, n, missing / len(edges))
    assert {*map(tuple, none.tolist())} == {*map(tuple, gone.tolist())}


def test_hiding_names_bad_edges_as_a_graph_does():
    for edges, says in (([[0, 1], [1, 0]], "more than once"), ([[0, 0], [0, 1]], "itself"),
                        ([[0, 1], [1, 7]], "between 0 and")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            ne.hide_edges(torch.tensor(edges), 3, 0.5)


def test_weights_of_unlike_size_keep_their_probabilities():
    edges = torch.tensor([[0, 1], [1, 2], [3, 4], [4, 5]])
    graph = ne.from_edges(edges, weights=torch.tensor([1e12, 1e12, 1e-12, 3e-12]).double())
    first = ne.walks_from(graph, torch.full((4000,), 4), 2, generator())[:, 1]
    share = torch.bincount(first, minlength=6).double() / 4000
    torch.testing.assert_close(
        share[[3, 5]], torch.tensor([0.25, 0.75]).double(), rtol=0, atol=0.03
    )


def test_a_node_without_edges_spoils_no_other():
    A = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    p = torch.tensor([[0.5, 0.25, 0.25]], requires_grad=True)
    found = ne.walk_step(p, A)
    assert found.tolist() == [[0.25, 0.5, 0]]  # whoever was at node 2 is gone
    found.sum().backward()
    assert p.grad.tolist() == [[1, 1, 0]]


def test_node2vecs_limit_needs_one_part():
    two = ne.from_edges(torch.tensor([[0, 1], [2, 3]]))
    for graph in (two, ne.from_edges(torch.tensor([[0, 1]]), n=3)):
        with pytest.raises(ValueError, match="a connected graph, got 2 parts"):
            ne.node2vec_association(graph, 1.0, 2.0, 3)


def test_line_needs_degrees_and_takes_arrays():
    torch.manual_seed(0)
    one = ne.Line(np.array([1, 2, 1]), 4)
    torch.manual_seed(0)
    assert torch.equal(one.vectors, ne.Line(torch.tensor([1, 2, 1]), 4).vectors)
    for degrees in (torch.zeros(3), torch.tensor([1.0, -1.0])):
        with pytest.raises(ValueError, match="degrees"):
            ne.Line(degrees, 4)
    for name in ("dim", "negatives"):
        with pytest.raises(ValueError, match=name):
            ne.Line(torch.ones(3), **({"dim": 4} | {name: 0}))


def test_arrays_are_edges_and_walks_too():
    edges = torch.tensor([[0, 1], [1, 2]])
    made, usual = ne.from_edges(edges.numpy()), ne.from_edges(edges)
    assert torch.equal(made.indices, usual.indices)
    walks = ne.random_walks(usual, 2, 5, generator())
    assert torch.equal(ne.cooccurrence(walks.numpy(), 2, 3), ne.cooccurrence(walks, 2, 3))


def test_all_of_chapter_7_is_found_in_one_module():
    for name in ("Graph", "from_edges", "from_networkx", "walk_step", "walks_from", "random_walks",
                 "node2vec_weights", "arrow_graph", "node2vec_walks"):  # fmt: skip
        assert callable(getattr(ne, name))
