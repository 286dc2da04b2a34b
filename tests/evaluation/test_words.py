"""Neighbours, agreement with people, analogies: against values known by hand and gensim's."""

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors

from genai_utils import data, evaluation


@pytest.fixture
def vocabulary():
    return data.Vocabulary([list("abcdefgh")])


@pytest.fixture
def vectors():
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def peer(vocabulary, vectors):
    keyed = KeyedVectors(5)
    keyed.add_vectors(vocabulary.words, vectors.numpy())
    return keyed


def test_nearest_by_three_measures():
    points = [[1.0, 0.0], [3.0, 3.0], [0.0, 0.5], [0.0, 0.0]]
    found = {
        metric: evaluation.nearest(points, [1.0, 0.1], 2, metric=metric)
        for metric in ("cosine", "dot", "euclidean")
    }
    assert found["cosine"][0].tolist() == [0, 1]
    assert found["dot"][0].tolist() == [1, 0]
    assert found["euclidean"][0].tolist() == [0, 3]
    assert found["euclidean"][1][0].item() == pytest.approx(0.1)
    assert found["cosine"][1][1].item() == pytest.approx(1.1 / (2**0.5 * 1.01**0.5))
    indices, scores = evaluation.nearest(points, points, 1)
    assert indices.shape == scores.shape == (4, 1)
    assert indices[:3, 0].tolist() == [0, 1, 2] and scores[3, 0] == 0  # a zero vector is near none


def test_nearest_refuses_what_does_not_fit(vectors):
    with pytest.raises(ValueError, match="query: expected as many columns as vectors"):
        evaluation.nearest(vectors, torch.ones(4), 1)
    with pytest.raises(ValueError, match="k: expected a whole number from 1 to 8, got 9"):
        evaluation.nearest(vectors, vectors[0], 9)
    with pytest.raises(ValueError, match="metric: expected"):
        evaluation.nearest(vectors, vectors[0], 1, metric="cos")


def test_spearman_is_gensims(vocabulary, vectors, peer, tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(a, b, float(rng.random())) for a in "abcd" for b in "efgh"]
    pairs += [("a", "unknown", 9.0)]
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{a}\t{b}\t{s}\n" for a, b, s in pairs))
    score = evaluation.similarity_spearman(vectors, vocabulary, pairs)
    _, theirs, _ = peer.evaluate_word_pairs(str(path))
    assert score.used == 16
    assert score.value == pytest.approx(theirs.statistic, abs=1e-9)


def test_analogies_are_gensims(vocabulary, vectors, peer, tmp_path):
    letters = "abcdefgh"
    questions = [(a, b, c, d) for a in letters for b in letters for c in letters for d in letters
                 if len({a, b, c, d}) == 4]  # fmt: skip
    path = tmp_path / "questions.txt"
    path.write_text(": all\n" + "".join(" ".join(q) + "\n" for q in questions))
    score = evaluation.analogy_accuracy(vectors, vocabulary, [*questions, ("a", "b", "c", "?")])
    theirs, _ = peer.evaluate_word_analogies(str(path), case_insensitive=False)
    assert score.used == len(questions)
    assert score.value == pytest.approx(theirs, abs=1e-9) and score.value > 0.1


def test_a_perfect_parallelogram_is_found(vocabulary):
    x = torch.eye(8)
    x[3] = x[1] - x[0] + x[2]
    score = evaluation.analogy_accuracy(x, vocabulary, [("a", "b", "c", "d")])
    assert score == (1.0, 1)


def test_too_few_pairs_or_wrong_sizes_are_errors(vocabulary, vectors):
    with pytest.raises(ValueError, match="at least 3 whose words are both known, got 1"):
        evaluation.similarity_spearman(vectors, vocabulary, [("a", "b", 1.0), ("a", "?", 2.0)])
    with pytest.raises(ValueError, match="four words are all known, got none"):
        evaluation.analogy_accuracy(vectors, vocabulary, [("a", "b", "c", "?")])
    with pytest.raises(ValueError, match=r"questions: expected four words each, got 3: \('a', "):
        evaluation.analogy_accuracy(vectors, vocabulary, [("a", "b", "c")])
    with pytest.raises(ValueError, match="a row for each of the 8 words, got 7"):
        evaluation.analogy_accuracy(vectors[:7], vocabulary, [("a", "b", "c", "d")])


def test_what_cannot_be_ranked_has_no_rank_correlation(vocabulary, vectors):
    pairs = [("a", "b", 1.0), ("c", "d", 2.0), ("e", "f", 3.0)]
    for x in (torch.zeros(8, 3), torch.ones(8, 3)):
        with pytest.raises(ValueError, match="vectors: expected values that can be ranked, got"):
            evaluation.similarity_spearman(x, vocabulary, pairs)
    with pytest.raises(ValueError, match="pairs: expected values that can be ranked, got 2 for"):
        evaluation.similarity_spearman(vectors, vocabulary, [(a, b, 2.0) for a, b, _ in pairs])
