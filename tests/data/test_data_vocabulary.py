"""Words and their numbers, the reviews, the lists of pairs; and Cora's citations."""

import io
import pickle

import networkx
import pytest
import torch

from genai_utils import data
from genai_utils.data.graphs import _Plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop at 2.5!", ["don't", "stop", "at"]),
        ("l’Été, mid-term; np.linalg_svd", ["l'été", "mid", "term", "np", "linalg", "svd"]),
        ("'quoted' words'", ["quoted", "words"]),
        ("42 %", []),
    ],
)
def test_a_text_is_cut_into_lower_case_words(text, expected):
    assert data.words(text) == expected


def test_words_of_a_list_are_an_error():
    with pytest.raises(TypeError, match="text: expected a text, got a list; take texts one by one"):
        data.words(["a"])


def test_a_vocabulary_counts_sorts_and_numbers():
    vocabulary = data.Vocabulary([["b", "a", "b"], ["c", "a", "b", "d", "d"]], min_count=2)
    assert vocabulary.words == ["b", "a", "d"]  # 3, 2, 2: ties by alphabet
    assert vocabulary.counts.tolist() == [3, 2, 2]
    assert vocabulary.encode(["d", "c", "b", "?"]).tolist() == [2, 0]
    assert vocabulary.encode([]).dtype == torch.int64
    assert vocabulary.decode(torch.tensor([1, 0])) == ["a", "b"]
    assert len(vocabulary) == 3 and "a" in vocabulary and "c" not in vocabulary
    assert data.Vocabulary([["b", "a", "b"]], max_size=1).words == ["b"]
    assert data.Vocabulary(iter([["x"], ["y"]])).words == ["x", "y"]


def test_a_vocabulary_of_nothing_is_an_error_that_says_why():
    for nothing in ([], [[]], [["once"], ["only"]]):
        with pytest.raises(ValueError, match="no word is left"):
            data.Vocabulary(nothing, min_count=2)
    with pytest.raises(ValueError, match="min_count: expected a whole number of at least 1, got 0"):
        data.Vocabulary([["a"]], min_count=0)


def test_a_bare_string_where_words_are_meant_is_an_error_with_the_cure():
    small = data.Vocabulary([["a"]])
    for call, sentence in (
        (lambda: data.Vocabulary("a text"), r"documents: expected a list of lists of words, got"),
        (lambda: data.Vocabulary([["a"], "a text"]), r"documents\[1\]: .* got one text, 'a text'"),
        (lambda: data.Vocabulary([["a", 3]]), r"documents\[0\]\[1\]: expected a text, got 3"),
        (lambda: data.Vocabulary(3), r"documents: expected a list of lists of words, got 3"),
        (lambda: small.encode("a"), r"words: .* got one text, 'a'; cut it into words"),
    ):
        with pytest.raises(TypeError, match=sentence):
            call()


@pytest.mark.parametrize(
    ("ids", "error"), [([-1], ValueError), ([1], ValueError), ([0.5], TypeError)]
)
def test_numbers_that_no_word_has_are_an_error(ids, error):
    with pytest.raises(error, match="ids: expected a whole number from 0 to 0, got"):
        data.Vocabulary([["a"]]).decode(ids)


def test_reviews_are_half_praise_in_a_fixed_mixed_order(real_data):
    texts, labels = data.reviews()
    assert len(texts) == 10_662 and labels.sum() == 5_331
    assert 0.45 < labels[:1000].float().mean() < 0.55
    good, bad = (sum("bad" in t.split() for t, y in zip(texts, labels, strict=True) if y == c)
                 for c in (1, 0))  # fmt: skip
    assert bad > 3 * good
    assert data.reviews().texts == texts and data.used() == ["reviews"]


def test_a_sample_of_reviews_stands_in(monkeypatch, capsys):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    texts, labels = data.reviews()
    assert len(texts) == 200 and labels.sum() == 100
    assert not any(text.startswith("__label__") for text in texts)
    assert "using the bundled review_sample" in capsys.readouterr().out
    assert data.used() == ["review_sample (stand-in for reviews)"]
    assert labels[texts.index("simplistic , silly and tedious .")] == 0


def test_benchmarks_are_whole():
    pairs = {name: data.word_similarity(name) for name in ("wordsim353", "simlex999")}
    assert len(pairs["wordsim353"]) == 353 and len(pairs["simlex999"]) == 999
    assert ("tiger", "cat", 7.35) in pairs["wordsim353"]
    assert ("old", "new", 1.58) in pairs["simlex999"]
    questions = data.analogies()
    assert len(questions) == 14 and sum(map(len, questions.values())) == 19_544
    assert ("athens", "greece", "baghdad", "iraq") in questions["capital-common-countries"]
    with pytest.raises(ValueError, match="name: expected one of"):
        data.word_similarity("wordsim")


def test_cora_is_the_published_graph(real_data):
    edges, labels, classes, features = data.cora()
    assert edges.shape == (5278, 2) and features.shape == (2708, 1433)
    assert (edges[:, 0] < edges[:, 1]).all()
    sizes = dict(zip(classes, labels.bincount().tolist(), strict=True))
    assert sizes["Neural networks"] == 818 and sizes["Rule learning"] == 180
    assert set(features.unique().tolist()) == {0.0, 1.0} and features.sum(1).min() >= 1
    graph = networkx.Graph(edges.tolist())
    assert len(graph) == 2708 and networkx.number_connected_components(graph) == 78
    same = (labels[edges[:, 0]] == labels[edges[:, 1]]).float().mean().item()
    assert abs(same - 0.81) < 0.005  # a wrong order of the test papers gives about 0.5
    # Papers that cite each other share words; with the rows in a wrong order they would not.
    shared = (features[edges[:, 0]] * features[edges[:, 1]]).sum(1)
    chance = (features[edges[:, 0]] * features[edges[:, 1].flip(0)]).sum(1)
    test = (edges >= 1708).any(1)
    assert shared[test].mean() > 1.8 * chance[test].mean()


class Evil:
    def __reduce__(self):
        return print, ("called",)


def test_a_pickle_that_asks_for_a_function_is_not_read(capsys):
    with pytest.raises(data.DataError, match=r"asks for builtins.print, which is no plain data"):
        _Plain(io.BytesIO(pickle.dumps([Evil()]))).load()
    assert capsys.readouterr().out == ""
