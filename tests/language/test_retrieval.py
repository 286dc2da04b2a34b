"""Finding passages: scores against their formulas, rankings at their edges, measures."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from genai_utils.language import retrieval
from genai_utils.language.retrieval import BM25, Dense, InvertedFile, best, recall_at_k, terms

TEXTS = [
    "the cat sat on the mat",
    "the dog sat",
    "a cat and a dog and a cat",
    "",
    "matrices of numbers",
]
DOCUMENTS = [terms(text) for text in TEXTS]


def counts_of(documents):
    vocabulary = sorted({term for document in documents for term in document})
    counts = [[document.count(term) for term in vocabulary] for document in documents]
    return torch.tensor(counts, dtype=torch.float64), vocabulary


def vectors(n, d=16, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


# --- terms ---------------------------------------------------------------------------------------


def test_names_are_cut_into_their_words():
    assert terms("np.linalg.matrix_rank(A, hermitian=True)")[:4] == [
        "np",
        "linalg",
        "matrix",
        "rank",
    ]
    assert terms("LogisticRegression, kMeans; x_1") == [
        "logistic", "regression", "k", "means", "x", "1",
    ]  # fmt: skip
    assert terms("Größe ≥ 3!") == ["größe", "3"] and terms("  …  ") == []
    with pytest.raises(TypeError, match="expected a text"):
        terms(["a"])


# --- BM25 ----------------------------------------------------------------------------------------


def by_hand(documents, query, k1=1.5, b=0.75):
    n, mean = len(documents), np.mean([len(d) for d in documents])
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            df = sum(term in d for d in documents)
            c = document.count(term)
            idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
            score += idf * (k1 + 1) * c / (c + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize(
    "query", [["cat"], ["cat", "dog"], ["cat", "cat", "mat"], ["the", "zebra"]]
)
def test_the_function_and_the_index_are_the_formula(query):
    counts, vocabulary = counts_of(DOCUMENTS)
    wanted = by_hand(DOCUMENTS, query)
    ids = torch.tensor([vocabulary.index(t) if t in vocabulary else -1 for t in query])
    found = retrieval.bm25_scores(counts, ids)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(BM25(DOCUMENTS).scores([query])[0], wanted, rtol=1e-9)


def test_a_longer_passage_and_a_commoner_word_are_worth_less():
    documents = [["cat"], ["cat", *["x"] * 9], ["cat", *["y"] * 4], ["z"]]
    scores = BM25(documents).scores([["cat"]])[0]
    assert scores[0] > scores[2] > scores[1] > scores[3] == 0
    index = BM25([["rare", "common"], ["common"], ["common"]])
    assert index.idf[index.index["rare"]] > 2 * index.idf[index.index["common"]] > 0


def test_counts_saturate():
    few, many = (BM25([["cat"] * c, ["dog"] * c]).scores([["cat"]])[0, 0].item() for c in (1, 50))
    assert few < many < 2.5 * few  # never more than k1 + 1 times the idf


def test_empty_passages_and_edges_of_the_options():
    counts = torch.tensor([[0.0, 0], [2, 1]])
    for k1, b in ((0.0, 0.5), (1.5, 1.0)):
        found = retrieval.bm25_scores(counts, torch.tensor([0]), k1, b)
        assert found[0] == 0 and found[1] > 0 and found.isfinite().all()
    assert retrieval.bm25_scores(0 * counts, torch.tensor([0])).tolist() == [0, 0]
    assert retrieval.bm25_scores(counts, torch.tensor([-1, -1])).tolist() == [0, 0]


def test_what_bm25_finds():
    index = BM25(DOCUMENTS)
    ranking = index.rank([["cat"], ["zebra"], [], ["numbers", "matrices"]], k=4)
    assert ranking.tolist() == [[2, 0, -1, -1], [-1] * 4, [-1] * 4, [4, -1, -1, -1]]
    assert index.rank([], k=3).shape == (0, 3)


@pytest.mark.parametrize("index", [BM25([]), BM25([[], []])])
def test_an_index_without_a_word_finds_nothing(index):
    assert index.rank([["cat"], []], 3).tolist() == [[-1] * 3] * 2


# --- vectors -------------------------------------------------------------------------------------


def test_exact_search_is_scikit_learns():
    X, Q = vectors(300), vectors(20, seed=1)
    peer = NearestNeighbors(n_neighbors=7, metric="cosine").fit(X.numpy())
    wanted = peer.kneighbors(Q.numpy(), return_distance=False)
    np.testing.assert_array_equal(Dense(X).rank(Q, 7), wanted)
    np.testing.assert_array_equal(Dense(5 * X).rank(0.1 * Q, 7), wanted)


def test_edges_of_exact_search():
    index = Dense(torch.eye(3))
    ranking = index.rank(torch.tensor([[0, 2.0, 1], [0, 0, 0]]), k=5)
    assert ranking.tolist() == [[1, 2, 0, -1, -1], [-1] * 5]
    assert Dense(torch.zeros(0, 3)).rank(torch.ones(2, 3), 2).tolist() == [[-1, -1]] * 2
    with pytest.raises(ValueError, match="3"):
        index.rank(torch.ones(1, 4))
    with pytest.raises(ValueError, match="k"):
        index.rank(torch.ones(1, 3), 0)


def test_of_equal_scores_the_first_wins():
    assert best(torch.ones(1, 100), 3).tolist() == [[0, 1, 2]]


def test_of_many_passages_the_same_are_found(monkeypatch):
    scores = vectors(5, 200)
    scores[0, 3:] = -torch.inf
    wanted = best(scores, 7)
    monkeypatch.setattr(retrieval, "MANY", 50)
    assert best(scores, 7).equal(wanted) and wanted[0, 3:].eq(-1).all()
    assert best(scores, 300).shape == (5, 300)


def test_all_cells_give_the_exact_result_and_fewer_cells_look_at_less():
    X, Q = vectors(2_000), vectors(50, seed=1)
    exact, index = Dense(X).rank(Q, 10), InvertedFile(X, X[:40])
    looked, found = [], []
    for probes in (1, 5, 40):
        ranking = index.rank(Q, 10, probes)
        looked.append(index.compared)
        found.append(recall_at_k(ranking, exact, 10).mean().item())
    assert looked[0] < looked[1] < looked[2] == len(X)
    assert found[0] < found[1] < found[2] == pytest.approx(1)
    assert (index.rank(Q, 10, 40) == exact).float().mean() > 0.99


def test_what_is_found_lies_in_the_probed_cell():
    X = torch.cat([vectors(50, 2) * 0.1 + torch.tensor([1.0, 0]), vectors(50, 2) * 0.1 - 1])
    index = InvertedFile(X, torch.tensor([[1.0, 0], [-1, -1]]))
    assert index.rank(torch.tensor([[1.0, 0.1]]), 60, 1)[0].sort().values[10:].tolist() == [
        *range(50)
    ]
    assert index.rank(torch.zeros(1, 2), 3).tolist() == [[-1] * 3]
    empty = InvertedFile(torch.zeros(0, 2), torch.eye(2))
    assert empty.rank(torch.ones(1, 2), 3, 2).tolist() == [[-1] * 3]


@pytest.mark.parametrize("room", [1, 300, 2**20])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_each_question_gets_the_best_of_its_own_cells(room, k, monkeypatch):
    """As a loop over questions finds them, however many are answered at a time."""
    monkeypatch.setattr(retrieval, "ROOM", room)
    X, Q, centres = vectors(300, 3), vectors(40, 3, seed=1), vectors(12, 3, seed=2)
    X[:200] = X[:200].abs()  # some cells are far larger than others
    X = X[(torch.nn.functional.normalize(centres, dim=1) @ X.T).argmax(0) != 3]  # and this is empty
    Q[5] = 0
    index = InvertedFile(X, centres)
    one_by_one = torch.cat([index.rank(query[None], k, probes=3) for query in Q])
    ranking = index.rank(Q, k, probes=3)
    assert one_by_one.equal(ranking)
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (X, Q, centres)]
    cells, looked = (unit[0] @ unit[2].T).argmax(1), 0
    for row, query in zip(ranking.tolist(), unit[1], strict=True):
        near = (unit[2] @ query).topk(3).indices
        ids = torch.isin(cells, near).nonzero()[:, 0] if query.any() else torch.zeros(0).long()
        looked += len(ids)
        wanted = ids[(unit[0][ids] @ query).argsort(descending=True)][:k].tolist()
        assert row == wanted + [-1] * (k - len(wanted))
    assert index.compared == looked / 40
    assert index.rank(Q[:0], k, 3).shape == (0, k)


def test_probes_and_centres_are_checked():
    index = InvertedFile(vectors(9), vectors(3))
    with pytest.raises(ValueError, match="probes"):
        index.rank(vectors(1), 2, probes=4)
    with pytest.raises(ValueError, match="centres"):
        InvertedFile(vectors(9), vectors(0))
    with pytest.raises(ValueError, match="16"):
        InvertedFile(vectors(9), vectors(3, 4))


# --- fusion --------------------------------------------------------------------------------------


def test_fusion_adds_reciprocal_places():
    rankings = torch.tensor([[[2, 0, -1]], [[0, 1, 2]]])
    scores = retrieval.reciprocal_rank_fusion(rankings, 4)
    wanted = [1 / 62 + 1 / 61, 1 / 62, 1 / 61 + 1 / 63, 0]
    np.testing.assert_allclose(scores[0], wanted, rtol=1e-6)
    assert retrieval.fused(rankings, 4, 5).tolist() == [[0, 2, 1, -1, -1]]


def test_fusion_does_not_ask_in_which_order_the_methods_come():
    g = torch.Generator().manual_seed(0)
    rankings = torch.rand(3, 5, 20, generator=g).argsort(-1)[..., :8]
    one = retrieval.reciprocal_rank_fusion(rankings, 20, 10.0)
    torch.testing.assert_close(one, retrieval.reciprocal_rank_fusion(rankings.flip(0), 20, 10.0))
    nothing = torch.full_like(rankings[:1], -1)
    with_nothing = retrieval.reciprocal_rank_fusion(torch.cat([rankings, nothing]), 20, 10.0)
    torch.testing.assert_close(one, with_nothing)


# --- measures ------------------------------------------------------------------------------------


def test_recall_counts_each_relevant_passage_once():
    ranked = torch.tensor([[3, 3, 1, 0], [5, -1, -1, -1], [7, 2, -1, -1], [1, 2, 3, 4]])
    relevant = torch.tensor([[3, 0], [-1, -1], [2, -1], [4, 1]])
    assert recall_at_k(ranked, relevant, 2).tolist() == [0.5, 0, 1, 0.5]
    assert recall_at_k(ranked, relevant, 9).tolist() == [1, 0, 1, 1]


def test_the_interval_is_the_binomials_and_holds_the_truth():
    g = torch.Generator().manual_seed(0)
    inside = 0
    for seed in range(60):
        hits = (torch.rand(200, generator=g) < 0.3).float()
        mean, low, high = retrieval.interval(hits, 500, seed)
        assert low < mean < high
        inside += low <= 0.3 <= high
    assert stats.binom.cdf(inside, 60, 0.95) > 0.001 and inside > 50
    mean, low, high = retrieval.interval((torch.arange(400) < 100).float(), 4_000)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert low == pytest.approx(0.25 - half, abs=0.01) and high == pytest.approx(
        0.25 + half, abs=0.01
    )


def test_pairs_are_compared_on_the_same_questions():
    draws = retrieval.resamples(100, 500)
    g = torch.Generator().manual_seed(0)
    hits = (torch.rand(100, generator=g) < 0.5).double()
    assert retrieval.paired_interval(hits, hits, draws).tolist() == [0, 0]
    better = (hits + (torch.arange(100) < 10)).clamp(max=1)
    low, high = retrieval.paired_interval(better, hits, draws).tolist()
    assert 0 <= low < high < 0.2
    opposite = retrieval.paired_interval(hits, 1 - hits, draws)
    assert opposite[1] - opposite[0] > 0.25  # never right on the same question
    torch.testing.assert_close(retrieval.paired_interval(1 - hits, hits, draws), -opposite.flip(0))


def test_resamples_are_of_all_questions_and_repeat():
    draws = retrieval.resamples(50, 200, seed=3)
    assert draws.shape == (200, 50) and draws.unique().tolist() == [*range(50)]
    assert draws.equal(retrieval.resamples(50, 200, seed=3))
    assert not draws.equal(retrieval.resamples(50, 200, seed=4))
