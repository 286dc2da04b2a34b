"""Held-out loss of language models, and n-gram models against counting by hand."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from genai_utils.evaluation import NGram, next_token_nll


def by_hand(train, history, word, order, V):
    """Witten-Bell by its definition, one token at a time."""
    if order == 0:
        return 1 / V
    history = tuple(history[len(history) - (order - 1) :]) if order > 1 else ()
    after = Counter(
        train[i] for i in range(order - 1, len(train)) if tuple(train[i - order + 1 : i]) == history
    )
    lower = by_hand(train, history[1:], word, order - 1, V)
    if not after:
        return lower
    return (after[word] + len(after) * lower) / (after.total() + len(after))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngram_is_witten_bell(order):
    rng = np.random.default_rng(order)
    train, held = rng.integers(0, 5, 60), rng.integers(0, 5, 25)
    p = NGram(torch.from_numpy(train), order, 5).probability(torch.from_numpy(held))
    for place, word in enumerate(held):
        history = held[max(0, place - order + 1) : place].tolist()
        want = by_hand(train.tolist(), history, word, min(order, len(history) + 1), 5)
        assert p[place] == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("history", [[], [1], [4, 4], [0, 3, 2, 1, 1]])
def test_ngram_is_a_distribution(history):
    rng = np.random.default_rng(1)
    model = NGram(rng.integers(0, 6, 200), 3, 6)
    p = model.distribution(history)
    assert p.shape == (6,) and (p > 0).all() and p.sum() == pytest.approx(1, abs=1e-12)
    assert p[2] == pytest.approx(model.probability(np.array([*history, 2]))[-1], abs=1e-15)


def test_longer_histories_help_where_there_is_something_to_learn():
    text = np.tile([0, 1, 2, 0, 2, 1], 200)
    losses = [NGram(text[:900], order, 3).nll(text[900:]) for order in (1, 2, 3)]
    assert losses[0] == pytest.approx(math.log(3), abs=1e-3)
    assert losses[0] > losses[1] > losses[2] and losses[2] < 0.05


@pytest.mark.parametrize(
    "ids, order, message",
    [
        ([0, 1, 7], 1, "ids: expected ids from 0 to 4, got"),
        ([0, -1, 2], 1, "ids: expected ids from 0 to 4, got"),
        ([0, 1], 3, r"n of at least 3, got the shape \(2,\)"),
        ([0, 1], 0, "order"),
        ([[0, 1]], 1, r"one sequence \(n,\) of tokens, .* got the shape \(1, 2\)"),
    ],
)
def test_ngram_refuses(ids, order, message):
    with pytest.raises(ValueError, match=message):
        NGram(np.array(ids), order, 5)


def test_each_token_is_predicted_once():
    V, ids = 7, torch.randint(7, (53,), generator=torch.Generator().manual_seed(0))
    table = torch.randn(V, V, generator=torch.Generator().manual_seed(1))
    want = torch.nn.functional.cross_entropy(table[ids[:-1]], ids[1:]).item()
    for length in (1, 5, 13, 52, 100):  # a model that looks at one token only does not mind
        assert next_token_nll(lambda x: table[x], ids, length, 3) == pytest.approx(want, rel=1e-6)


def test_windows_bound_what_a_model_sees():
    seen = []

    def logits(x):
        seen.append(tuple(x.shape))
        return torch.zeros(*x.shape, 4)

    assert next_token_nll(logits, torch.zeros(24).long(), 10, 1) == pytest.approx(math.log(4))
    assert seen == [(1, 10), (1, 10), (1, 3)]


def test_a_text_of_one_token_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        next_token_nll(lambda x: x, torch.zeros(1).long(), 4)


def test_a_text_may_be_an_array_and_must_be_whole_numbers():
    ids = np.array([0, 2, 1, 1])
    table = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    expected = next_token_nll(lambda x: table[x], torch.from_numpy(ids), 2)
    assert next_token_nll(lambda x: table[x], ids, 2) == expected
    with pytest.raises(TypeError, match="ids: expected a tensor of whole numbers, got a tensor of"):
        next_token_nll(lambda x: x, torch.rand(4), 2)
    with pytest.raises(TypeError, match="ids: expected whole numbers, got a NumPy array of float"):
        NGram(ids / 2, 1, 3)
    assert NGram(torch.from_numpy(ids), 2, 3).nll(ids) == NGram(ids.astype(np.uint16), 2, 3).nll(
        torch.from_numpy(ids)
    )


def test_the_loss_of_no_text_is_no_number():
    model = NGram(np.array([0, 1, 2]), 2, 3)
    with pytest.raises(ValueError, match=r"n of at least 1, got the shape \(0,\)"):
        model.nll(np.zeros(0, int))
    with pytest.raises(ValueError, match="vocabulary: expected a whole number of at least 1"):
        NGram(np.array([0]), 1, 0)
