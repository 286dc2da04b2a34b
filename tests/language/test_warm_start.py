"""First weights for a short training: heads that look next door, tokens that know their topic."""

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language import bert, warm_start


def test_neighbour_start_looks_next_door_and_compares_two_texts():
    torch.manual_seed(0)
    texts = [torch.randint(5, 500, (700,)) for _ in range(5)]
    topics = warm_start.topic_vectors(texts, 500, 32, window=20)
    model = warm_start.neighbour_start(
        bert.PreTraining(bert.BERTConfig(500, 64, 2, 4, 128)), topics
    )
    ids = torch.randint(5, 500, (8, 64))
    segments = (torch.arange(64) > 31).long().expand(8, 64)
    net = model.eval().bert
    x = net.norm(net.tokens(ids) + net.positions.weight + net.segments(segments))
    looks = net.blocks[0].attention.weights(x)
    for head, step in enumerate((-1, 1, -2, 2)):
        there = torch.diagonal(looks[:, head], step, -2, -1)
        assert there.mean() > 0.5, step
    own = net.blocks[1].attention.weights(net.blocks[0](x))[:, :2, 0, :32].sum(-1).mean(0)
    assert own[0] > 0.9 and own[1] < 0.1  # of [CLS]: head 1 on its own text, head 2 on the other


def test_topic_vectors_of_one_subject_are_alike():
    g = torch.Generator().manual_seed(0)
    texts = [torch.randint(5 + 20 * i, 25 + 20 * i, (1200,), generator=g) for i in range(3)]
    Y = F.normalize(warm_start.topic_vectors(texts, 65, 3, window=20)[5:], dim=1).view(3, 20, 3)
    assert Y.shape == (3, 20, 3)
    within = torch.stack([(y @ y.T).mean() for y in Y])
    across = (Y[0] @ Y[1].T).abs().mean()
    assert within.min() > 0.9 and across < 0.2


def words(*sizes, low=5, high=40):
    g = torch.Generator().manual_seed(0)
    return [torch.randint(low, high, (n,), generator=g) for n in sizes]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (words(59, 40), "texts: expected 3 pieces of 60 tokens, as k, got 0"),
        ([], "texts: expected 3 pieces of 60 tokens, as k, got 0"),
        (words(120), "texts: expected 3 pieces .* got 2; take more text"),
        ([torch.full((600,), 4)], "texts: expected tokens that tell pieces apart, got none"),
        (words(600, high=60), r"texts\[0\]: expected ids from 0 to 39"),
    ],
    ids=["all too short", "none", "fewer than k", "special tokens", "unknown"],
)
def test_texts_that_tell_no_topics_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        warm_start.topic_vectors(texts, 40, 3)


def test_one_text_is_no_list_of_texts():
    with pytest.raises(TypeError, match="texts: expected a list of token ids"):
        warm_start.topic_vectors(words(600)[0], 40, 3)


@pytest.mark.parametrize(
    ("sizes", "topics", "message"),
    [
        ((1, 2, 6), None, "model: expected heads of an even size, got 3"),
        ((1, 4, 32), (30, 8), "two blocks and three heads of 4 numbers"),
        ((2, 2, 32), (30, 16), "two blocks and three heads of 4 numbers"),
        ((2, 4, 8), (30, 2), "two blocks and three heads of 4 numbers"),
        ((2, 4, 32), (30, 9), r"topics: expected the shape \(30, 8\), got \(30, 9\)"),
    ],
)
def test_models_too_small_for_these_weights_are_refused(sizes, topics, message):
    model = bert.PreTraining(bert.BERTConfig(30, 20, *sizes))
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        warm_start.neighbour_start(model, None if topics is None else torch.zeros(topics))
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
