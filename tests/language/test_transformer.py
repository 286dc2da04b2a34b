"""The transformer against torch's own, its exact causality, positions, and the two peers."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.language import transformer as tr


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def double(*size):
    return torch.randn(*size, dtype=torch.float64)


# --- attention


def test_attention_by_hand():
    q, k = torch.tensor([[2.0, 0, 0, 0]]), torch.eye(4)[:2] * math.log(3)
    out, weights = tr.attention(q, k, torch.tensor([[8.0], [4.0]]))
    assert torch.allclose(weights, torch.tensor([[0.75, 0.25]]))  # scores log 3 and 0
    assert torch.allclose(out, torch.tensor([[7.0]]))


@pytest.mark.parametrize("shape", [(2, 3, 5, 7, 4, 6), (1, 1, 4, 4, 2, 3), (3, 2, 1, 9, 8, 5)])
def test_attention_equals_torchs(shape):
    B, h, T, S, d_k, d_v = shape
    q, k, v = double(B, h, T, d_k), double(B, h, S, d_k), double(B, h, S, d_v)
    some = torch.rand(T, S) < 0.5
    some[:, 0] = True
    for mask in (None, some, tr.causal_mask(T, S)):
        out, weights = tr.attention(q, k, v, mask)
        assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v, mask), atol=1e-12)
        assert torch.allclose(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert mask is None or (weights[..., ~mask] == 0).all()


def test_who_may_look_nowhere_gets_zeros_and_no_nan_gradient():
    q, k, v = (torch.randn(3, 4, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[True, True, False], [False] * 3, [False, True, True]])
    out, weights = tr.attention(q, k, v, mask)
    assert (out[1] == 0).all() and (weights[1] == 0).all()
    assert torch.allclose(weights[[0, 2]].sum(-1), torch.ones(2))
    out.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (q, k, v)) and (q.grad[1] == 0).all()
    layer = tr.MultiHeadAttention(4, 2)
    y = layer(torch.randn(2, 3, 4), torch.zeros(3, 3, dtype=torch.bool))
    assert torch.allclose(y, layer.out.bias.expand_as(y))


def test_gradients_against_finite_differences():
    mask = tr.causal_mask(4)
    inputs = [double(2, 4, 3).requires_grad_() for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *x: tr.attention(*x, mask), inputs)
    for norm in ("pre", "post"):
        block = tr.Block(4, 2, causal=True, norm=norm, rotary=True).double()
        assert torch.autograd.gradcheck(block, [double(1, 3, 4).requires_grad_()])


def test_causal_mask():
    assert tr.causal_mask(3).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert tr.causal_mask(2, 4).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_local_mask():
    place = torch.arange(10, 14)
    assert tr.local_mask(place, 2).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0],
                                                [0, 0, 1, 1]]  # fmt: skip
    assert torch.equal(tr.local_mask(place, 4), tr.causal_mask(4))
    with pytest.raises(ValueError, match="at least the token itself, got 0"):
        tr.local_mask(place, 0)


# --- heads and blocks against torch.nn, weights copied


def copied(ours, theirs):
    """torch.nn.MultiheadAttention with the weights of ours."""
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    return theirs


@pytest.mark.parametrize("heads", [1, 3, 6])
def test_heads_equal_torchs(heads):
    ours = tr.MultiHeadAttention(12, heads).double()
    nn.init.normal_(ours.qkv.bias)
    peer = copied(ours, nn.MultiheadAttention(12, heads, batch_first=True).double())
    x, mask = double(3, 7, 12), tr.causal_mask(7)
    for m in (None, mask):
        out, weights = peer(
            x, x, x, attn_mask=None if m is None else ~m, average_attn_weights=False
        )
        assert torch.allclose(ours(x, m), out, atol=1e-12)
        assert torch.allclose(ours.weights(x, m), weights, atol=1e-12)
    causal = tr.MultiHeadAttention(12, heads, causal=True).double()
    causal.load_state_dict(ours.state_dict())
    assert torch.allclose(causal(x), ours(x, mask), atol=1e-12)
    assert torch.allclose(causal.weights(x), ours.weights(x, mask), atol=1e-12)


def test_a_mask_adds_to_the_causal_one():
    layer = tr.MultiHeadAttention(8, 2, causal=True)
    x, place = torch.randn(2, 6, 8), torch.arange(6)
    near = (place[:, None] - place).abs() < 3
    free = tr.MultiHeadAttention(8, 2)
    free.load_state_dict(layer.state_dict())
    assert torch.allclose(layer(x, near), free(x, tr.local_mask(place, 3)), atol=1e-6)
    assert torch.allclose(layer.weights(x, near), free.weights(x, tr.local_mask(place, 3)))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_block_equals_torchs_encoder_layer(norm, activation):
    ours = tr.Block(12, 3, norm=norm, activation=activation, hidden=20).double().eval()
    peer = nn.TransformerEncoderLayer(12, 3, 20, 0.0, activation, batch_first=True,
                                      norm_first=norm == "pre").double().eval()  # fmt: skip
    copied(ours.attention, peer.self_attn)
    for mine, yours in ((ours.norm1, peer.norm1), (ours.norm2, peer.norm2),
                        (ours.mlp[0], peer.linear1), (ours.mlp[2], peer.linear2)):  # fmt: skip
        nn.init.normal_(mine.weight)
        yours.load_state_dict(mine.state_dict())
    x, mask = double(2, 5, 12), tr.causal_mask(5)
    assert torch.allclose(ours(x), peer(x), atol=1e-12)
    assert torch.allclose(ours(x, mask), peer(x, src_mask=~mask), atol=1e-12)


def test_the_decoder_block_has_no_cross_attention():
    """Erratum N43, by the names of the parameters."""
    original = dict(nn.TransformerDecoderLayer(8, 2).named_modules())
    assert "multihead_attn" in original and "self_attn" in original
    attentions = [m for m in tr.Block(8, 2).modules() if isinstance(m, tr.MultiHeadAttention)]
    assert len(attentions) == 1


def test_dropout_only_in_training():
    block, x = tr.Block(8, 2, dropout=0.5), torch.randn(1, 4, 8)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


# --- who depends on whom


def reach(f, T, d):
    """(T, T) bool: does output t change with input s? From the whole Jacobian, exactly."""
    J = torch.autograd.functional.jacobian(lambda x: f(x[None])[0], double(T, d))
    return J.abs().sum((1, 3)) > 0


@pytest.mark.parametrize("kind", ["rotary", "sinusoidal", "none"])
def test_nothing_looks_ahead_and_everything_looks_back(kind):
    model = tr.TransformerLM(9, 8, layers=2, heads=2, positions=kind).double()
    assert torch.equal(reach(model.body, 7, 8), tr.causal_mask(7))
    for peer in (tr.LSTMLM(9, 8), tr.ConvLM(9, 8, layers=3)):
        assert torch.equal(reach(peer.double().body, 7, 8), tr.causal_mask(7))


@pytest.mark.parametrize(("layers", "window"), [(1, 2), (2, 3)])
def test_a_window_limits_how_far_the_layers_reach(layers, window):
    model = tr.TransformerLM(9, 4, layers=layers, heads=1, window=window).double()
    expected = tr.local_mask(torch.arange(8), layers * (window - 1) + 1)
    assert torch.equal(reach(model.body, 8, 4), expected)


@pytest.mark.parametrize(("layers", "kernel", "field"), [(1, 3, 3), (2, 3, 7), (3, 2, 8)])
def test_the_field_of_dilated_convolutions(layers, kernel, field):
    model = tr.ConvLM(9, 4, layers=layers, kernel=kernel).double()
    assert torch.equal(reach(model.body, 12, 4), tr.local_mask(torch.arange(12), field))


def test_without_positions_attention_cannot_tell_orders_apart():
    x, order = double(1, 6, 8), torch.randperm(6)
    plain = tr.Block(8, 2).double()
    assert torch.allclose(plain(x[:, order]), plain(x)[:, order], atol=1e-12)
    turned = tr.Block(8, 2, rotary=True).double()
    assert not torch.allclose(turned(x[:, order]), turned(x)[:, order], atol=1e-3)


# --- positions


def test_sinusoidal_positions():
    P = tr.sinusoidal_positions(50, 6)
    for t, i in ((0, 0), (7, 1), (49, 2)):
        angle = t / 10_000 ** (2 * i / 6)
        assert P[t, 2 * i : 2 * i + 2].tolist() == pytest.approx(
            [math.sin(angle), math.cos(angle)], abs=1e-5
        )
    with pytest.raises(ValueError, match="d must be even, got 5"):
        tr.sinusoidal_positions(4, 5)


def test_rotary_turns_and_only_the_distance_counts():
    q, k = double(16), double(16)
    place = torch.tensor([0, 3, 11, 40, 1000])

    def product(m, n):
        turned = tr.rotary(torch.stack([q, k]), torch.tensor([m, n]))
        return turned[0] @ turned[1]

    for shift in place.tolist():
        assert abs(product(5 + shift, 2 + shift) - product(5, 2)) < 1e-9
    assert abs(product(5, 2) - product(2, 5)) > 1e-3
    many = q.expand(5, 16)
    assert torch.allclose(tr.rotary(many, place).norm(dim=1), q.norm())
    assert torch.equal(tr.rotary(q[None], torch.tensor([0]))[0], q)
    one = tr.rotary(torch.tensor([[1.0, 0, 1, 0]]), torch.tensor([2]))
    slow = 2 / 10_000**0.5
    assert torch.allclose(
        one, torch.tensor([[math.cos(2), math.sin(2), math.cos(slow), math.sin(slow)]])
    )


def test_rotary_keeps_exact_angles_in_half_precision():
    x, place = torch.randn(3, 8), torch.tensor([0, 500, 1001])
    assert torch.allclose(tr.rotary(x.bfloat16(), place).float(), tr.rotary(x, place), atol=0.05)
    with pytest.raises(ValueError, match="d must be even, got 3"):
        tr.rotary(torch.randn(2, 3), torch.arange(2))


@pytest.mark.parametrize("rotary", [False, True])
def test_cached_equals_whole(rotary):
    layer = tr.MultiHeadAttention(8, 2, causal=True, rotary=rotary)
    x, cache = torch.randn(2, 9, 8), tr.KVCache(9)
    parts = [layer(part, cache=cache) for part in x.split([3, 1, 4, 1], 1)]
    assert torch.allclose(torch.cat(parts, 1), layer(x), atol=1e-5)
    with pytest.raises(ValueError, match="cache: expected at most 9 tokens, got 10"):
        layer(x[:, :1], cache=cache)


# --- what heads do


def test_induction_share():
    ids = torch.tensor([[5, 6, 5, 7, 5]])
    weights = torch.zeros(1, 2, 5, 5)
    weights[0, 0, 2, 1], weights[0, 0, 4, 3] = 1.0, 0.5  # after the earlier 5: places 1 and 3
    weights[0, 1, 4, 1] = 1.0  # not after the latest
    assert tr.induction_share(ids, weights).tolist() == [0.75, 0.0]
    assert tr.induction_share(torch.arange(5)[None], weights).tolist() == [0.0, 0.0]


# --- the three models


MODELS = {
    "transformer": partial(tr.TransformerLM, heads=2, layers=2),
    "lstm": tr.LSTMLM,
    "conv": partial(tr.ConvLM, layers=2),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_share_an_interface_and_learn(name):
    model = MODELS[name](7, 8)
    batch = torch.tensor([[1, 2, 3, 4, 5, 6] * 3])
    assert model(batch).shape == (1, 18, 7)
    before = model.loss(batch)
    direct = F.cross_entropy(model(batch[:, :-1])[0], batch[0, 1:])
    assert torch.allclose(before, direct)
    asked = torch.full((1, 17), -100)
    asked[0, 3] = 5
    one = -model(batch[:, :-1]).log_softmax(-1)[0, 3, 5]
    assert torch.allclose(model.loss((batch[:, :-1], asked)), one)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(batch).backward()
        optimizer.step()
    assert model.loss(batch) < 0.3 * before


def test_maps_are_those_the_model_uses():
    ids = torch.randint(7, (2, 5))
    near = tr.TransformerLM(7, 8, 2, 2, positions="sinusoidal", window=2).maps(ids)
    assert ((near > 0) == tr.local_mask(torch.arange(5), 2)).all()
    model = tr.TransformerLM(7, 8, layers=3, heads=2)
    maps = model.maps(ids)
    assert maps.shape == (3, 2, 2, 5, 5)
    assert torch.allclose(maps.sum(-1), torch.ones(3, 2, 2, 5)) and (maps.triu(1) == 0).all()
    first = model.blocks[0]
    x = model.tokens(ids)
    assert torch.equal(maps[0], first.attention.weights(first.norm1(x)))
    assert torch.equal(maps[1], model.blocks[1].attention.weights(model.blocks[1].norm1(first(x))))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="dim: expected a multiple of heads, which is 3, got 10"):
        tr.MultiHeadAttention(10, 3)
    with pytest.raises(ValueError, match="heads: expected a whole number of at least 1, got 0"):
        tr.MultiHeadAttention(8, 0)
    for bad in (torch.randn(5, 8), torch.randn(2, 5, 7), torch.randn(2, 2, 5, 8)):
        with pytest.raises(ValueError, match=r"vectors of tokens \(B, T, 8\)"):
            tr.MultiHeadAttention(8, 2)(bad)
    with pytest.raises(ValueError, match="norm: expected one of 'pre', 'post', got 'sandwich'"):
        tr.Block(8, 2, norm="sandwich")
    with pytest.raises(ValueError, match="activation: expected one of"):
        tr.Block(8, 2, activation="tanh")
    with pytest.raises(ValueError, match="positions: expected one of"):
        tr.TransformerLM(7, 8, positions="learnt")
    model = tr.TransformerLM(7, 8)
    for bad in (torch.zeros(4, dtype=torch.long), torch.zeros(2, 0, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"token ids \(B, T\) with B and T of at least 1"):
            model(bad)
    with pytest.raises(TypeError, match="whole numbers, got a tensor of float32"):
        model(torch.zeros(2, 4))
    for bad in (-1, 7):
        with pytest.raises(ValueError, match="ids from 0 to 6"):
            model(torch.tensor([[0, bad]]))


@pytest.mark.parametrize("kind", ["rotary", "sinusoidal", "none"])
def test_only_positions_tell_the_order_of_what_came_before(kind):
    model = tr.TransformerLM(7, 8, layers=1, heads=2, positions=kind)
    nn.init.normal_(model.tokens.weight)
    last = model(torch.tensor([[1, 2, 3, 4], [3, 1, 2, 4]]))[:, -1]
    assert torch.allclose(last[0], last[1], atol=1e-6) == (kind == "none")
