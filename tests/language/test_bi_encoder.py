"""Vectors of texts: the contrastive loss against its formula, the weighted mean, learning."""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language.bi_encoder import BiEncoder, in_batch_loss, padded
from genai_utils.language.retrieval import Dense, recall_at_k
from genai_utils.training import TensorBatches, fit


def pairs(B, d=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(2, B, d, generator=g, dtype=torch.float64)


def test_the_loss_is_its_formula():
    Q, P = pairs(6)
    total = 0.0
    for i in range(6):
        s = [F.cosine_similarity(Q[i], P[j], dim=0) / 0.1 for j in range(6)]
        total -= s[i] - torch.stack(s).exp().sum().log()
    torch.testing.assert_close(in_batch_loss(Q, P, 0.1), total / 6)


def test_values_that_are_known():
    eye = torch.eye(4)
    assert in_batch_loss(eye, eye, 0.01) == pytest.approx(0, abs=1e-6)
    assert in_batch_loss(torch.ones(4, 3), torch.ones(4, 3)).item() == pytest.approx(math.log(4))
    assert in_batch_loss(eye[:1], -eye[:1]).item() == 0
    wrong = in_batch_loss(eye, eye.roll(1, 0), 0.001)  # a score of 1000 for the wrong one
    assert wrong.item() == pytest.approx(1000, rel=1e-3)


def test_lengths_do_not_matter_and_questions_choose():
    Q, P = pairs(5)
    scale = torch.rand(5, 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(in_batch_loss(Q * scale, P * 7), in_batch_loss(Q, P))
    assert not torch.isclose(in_batch_loss(Q, P), in_batch_loss(P, Q))


def test_the_loss_has_the_right_gradient():
    Q, P = (x.requires_grad_() for x in pairs(4))
    assert torch.autograd.gradcheck(lambda q, p: in_batch_loss(q, p, 0.5), (Q, P))


def test_a_vector_is_the_weighted_mean_of_known_words():
    net = BiEncoder(6, 3)
    torch.nn.init.normal_(net.weights.weight)
    ids = torch.tensor([[2, 4, 2, -1], [-1, -1, -1, -1]])
    with torch.no_grad():
        share = net.weights.weight[[2, 4, 2], 0].softmax(0)
        wanted = share @ net.vectors.weight[[2, 4, 2]]
        torch.testing.assert_close(net(ids)[0], wanted)
        assert net(ids)[1].tolist() == [0, 0, 0]
        torch.testing.assert_close(net(ids[:, :3]), net(ids))  # padding changes nothing
    torch.testing.assert_close(net.encode(ids, split=1), net(ids).detach())
    assert net.encode(ids[:0]).shape == (0, 3)


def test_it_learns_which_words_go_together():
    """Questions and passages share no word: word i of a question is about word i + 20."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    asked = torch.rand(400, 20, generator=g).argsort(1)[:, :3]
    noise = torch.full((400, 2), 40)  # a word that says nothing, in all of them
    told = torch.cat([asked + 20, noise], 1)
    net = BiEncoder(41, 16)
    batches = TensorBatches(asked[:300], told[:300], batch_size=32)
    before = net.loss((asked[300:332], told[300:332])).item()
    fit(net, batches, 150, lr=2e-2, progress=False)
    assert net.loss((asked[300:332], told[300:332])).item() < before / 2
    ranking = Dense(net.encode(told[300:])).rank(net.encode(asked[300:]), 5)
    assert recall_at_k(ranking, torch.arange(100)[:, None], 5).mean() > 0.6
    weights = net.weights.weight[:, 0]
    assert weights[40] < weights[20:40].mean() - 0.1  # it has found out


def test_texts_become_one_tensor():
    ids = padded([[1, 2, 3], torch.tensor([4]), []], length=2)
    assert ids.tolist() == [[1, 2], [4, -1], [-1, -1]]
    assert padded([[]]).tolist() == [[-1]]
    with pytest.raises(ValueError, match="at least one text"):
        padded([])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        BiEncoder(5, 2, temperature=0)
    with pytest.raises(ValueError, match="queries"):
        BiEncoder(5, 2).check_batch((torch.tensor([[5]]), torch.tensor([[1]])))
