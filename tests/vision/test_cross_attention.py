"""A denoiser that reads: the text encoder, attention to words, the U-Net with both."""

import pytest
import torch
from torch import nn

from genai_utils.language.gpt import GPTConfig
from genai_utils.language.transformer import Stack
from genai_utils.vision.cross_attention import (
    TextCondition,
    TextEncoder,
    WordAttention,
    cross_attention,
    text_unet,
)
from genai_utils.vision.diffusion import Diffusion, cosine_betas, guided
from genai_utils.vision.unet import UNet

V, T, D = 11, 6, 16


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def encoder():
    return TextEncoder(Stack(GPTConfig(V, T, 1, 4, D), causal=True), end=0)


def small(text=None, **options):
    options = {"size": 8, "channels": 4, "width": 8, "mults": (1, 2), **options}
    return text_unet(text or encoder(), **options)


def stirred(net):
    """Its weights moved away from zero, where nothing is heard of the condition."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return net


IDS = torch.tensor([[3, 4, 5, 0, 0, 0], [3, 4, 6, 7, 0, 0], [1, 2, 3, 4, 5, 6]])


def test_a_sentence_is_its_words_and_again_what_stands_at_its_first_end():
    text = encoder()
    words = text(IDS)
    assert words.shape == (3, T + 1, D)
    hidden = text.stack.hidden(text.stack.embed(IDS))
    assert torch.equal(words[:, :-1], hidden)
    for row, place in enumerate((3, 4, 5)):  # the last sentence has no end: its last token
        assert torch.equal(words[row, -1], hidden[row, place])


def test_the_text_encoder_is_frozen_and_stays_so():
    text = encoder()
    net = TextCondition(8, text).train()
    assert not any(p.requires_grad for p in text.parameters())
    assert net.training and not text.training and not text.stack.training
    net(torch.tensor([3.0, 4, 5]), IDS).sum().backward()
    assert all(p.grad is None for p in text.parameters())
    assert net.of_text.weight.grad.abs().sum() > 0


def test_ids_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"\(B, 6\)"):
        encoder()(IDS[:, :5])
    with pytest.raises(ValueError, match="end"):
        TextEncoder(Stack(GPTConfig(V, T, 1, 4, D), causal=True), end=V)


def test_cross_attention_is_torchs_multi_head_attention():
    q, k, v = torch.randn(3, 5, 8), torch.randn(3, 7, 8), torch.randn(3, 7, 8)
    peer = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        peer.out_proj.weight.copy_(torch.eye(8))
    expected, weights = peer(q, k, v, average_attn_weights=False)
    out, found = cross_attention(q, k, v, 2)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found, weights)
    assert torch.allclose(found.sum(-1), torch.ones(3, 2, 5))
    with pytest.raises(ValueError, match="heads"):
        cross_attention(q, k, v, 3)


def test_cross_attention_asks_places_and_answers_with_words():
    q, k, v = torch.randn(1, 4, 6), torch.randn(1, 3, 6), torch.randn(1, 3, 6)
    out, _ = cross_attention(q, k, v, 1)
    assert out.shape == q.shape  # one answer for each place
    order = torch.tensor([2, 0, 1])
    again, _ = cross_attention(q, k[:, order], v[:, order], 1)
    torch.testing.assert_close(out, again)  # words are a set: their order is in their vectors
    sure, weights = cross_attention(1_000 * k[:, 1:2], k, v, 1)
    torch.testing.assert_close(sure[0, 0], v[0, weights[0, 0, 0].argmax()])


def test_the_layer_adds_nothing_at_first_and_is_the_function_with_its_matrices():
    layer, x, words = WordAttention(8, D, heads=2), torch.randn(2, 5, 8), torch.randn(2, 7, D)
    assert layer(x, words).abs().max() == 0
    stirred(layer)
    k, v = layer.kv(words).chunk(2, -1)
    expected, weights = cross_attention(layer.q(x), k, v, 2)
    torch.testing.assert_close(layer(x, words), layer.out(expected))
    torch.testing.assert_close(layer.weights(x, words), weights)
    with pytest.raises(ValueError, match="channels"):
        WordAttention(8, D, heads=3)


def test_the_condition_adds_time_and_sentence_and_none_is_the_empty_one():
    condition, t = TextCondition(8, encoder()), torch.tensor([1.0, 500, 3])
    vector, words = condition.told(t, IDS)
    assert vector.shape == (3, 32) and words.shape == (3, T + 1, D)
    row = condition(t, IDS)
    assert torch.equal(row[:, :32], vector)
    assert torch.equal(row[:, 32:].reshape(words.shape), words)
    assert torch.equal(condition(t), condition(t, torch.zeros_like(IDS)))
    expected = condition.of_text(words[:, -1])
    earlier = condition.told(t + 7, IDS)[0]
    torch.testing.assert_close(vector - condition.told(t)[0], expected - condition.of_text(
        condition.text(torch.zeros_like(IDS))[:, -1]
    ))  # fmt: skip
    assert not torch.allclose(vector, earlier)


def test_the_u_net_reads():
    net = stirred(small())
    x, t = torch.randn(3, 4, 8, 8), torch.tensor([1.0, 500, 999])
    out = net(x, t, IDS)
    assert out.shape == x.shape
    other = IDS.clone()
    other[0, 1] = 9  # one word of the first sentence
    changed = (net(x, t, other) - out).flatten(1).abs().amax(1)
    assert changed[0] > 1e-4 and changed[1:].max() == 0
    assert not torch.allclose(net(x, t), out)
    torch.testing.assert_close(net(x, t), net(x, t, torch.zeros_like(IDS)))


def test_words_reach_the_u_net_by_attention_also_without_their_sum():
    net = stirred(small())
    with torch.no_grad():
        net.condition.of_text.weight.zero_()
    x, t = torch.randn(3, 4, 8, 8), torch.full((3,), 500.0)
    order = IDS.clone()
    order[0, :2] = IDS[0, [1, 0]]
    assert (net(x, t, order) - net(x, t, IDS))[0].abs().max() > 1e-4


def test_with_untrained_readers_it_is_the_plain_u_net():
    """At first nothing is added by the words: the same weights give the same noise."""
    net, plain = small(), UNet(8, 4, 8, (1, 2))
    with torch.no_grad():  # so that there is something to see: both begin at zero
        for weight in (net.last.weight, *(b.block.conv_out.weight for b in net.down)):
            weight.normal_()
    state = {
        name.replace(".block.", "."): weight
        for name, weight in net.state_dict().items()
        if "words" not in name and "condition" not in name
    }
    own = plain.state_dict()
    own.update({name: weight for name, weight in state.items() if name in own})
    plain.load_state_dict(own)
    x, t = torch.randn(3, 4, 8, 8), torch.tensor([1.0, 2, 3])
    vector = net.condition.told(t, IDS)[0]
    plain.condition.forward = lambda t, y=None: vector
    torch.testing.assert_close(net(x, t, IDS), plain(x, t))
    assert net(x, t, IDS).std() > 0.1


def test_chapter_27s_chain_guides_it_as_it_is():
    net = stirred(small()).eval()
    chain = Diffusion(net, cosine_betas(50))
    x, t = torch.randn(3, 4, 8, 8), torch.tensor([50, 20, 1])
    with torch.no_grad():
        expected = guided(net(x, t), net(x, t, IDS), 2.0)
        torch.testing.assert_close(chain.eps(x, t, IDS, guidance=2.0), expected)


def test_every_part_of_it_learns():
    net = stirred(small())
    net(torch.randn(3, 4, 8, 8), torch.tensor([1.0, 500, 999]), IDS).square().sum().backward()
    for name, weight in net.named_parameters():
        assert not weight.requires_grad or weight.grad.abs().sum() > 0, name
