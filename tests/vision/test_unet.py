"""The networks of chapter 27: what they are told, what they see, where they begin."""

import math

import pytest
import torch
from torch import nn

from genai_utils.vision.diffusion import DDPM
from genai_utils.vision.unet import Attention, Block, Norm, PointNet, UNet, muon, time_features


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def awake(net):
    """Weights that are zero at first are drawn: a net that was trained a little."""
    with torch.no_grad():
        for p in net.parameters():
            if p.abs().sum() == 0:
                p.normal_(std=0.1)
    return net


def test_times_are_told_by_waves_of_many_lengths():
    found = time_features(torch.tensor([0, 1, 700]), 6)
    waves = 10_000 ** -(torch.arange(3) / 3)
    for row, t in zip(found, (0, 1, 700), strict=True):
        expected = [math.cos(w * t) for w in waves] + [math.sin(w * t) for w in waves]
        assert torch.allclose(row, torch.tensor(expected), atol=1e-4)
    assert not torch.allclose(found[1], found[0])


def test_groups_of_channels_are_normalised_and_keep_their_type():
    norm, x = Norm(8), 3 * torch.randn(2, 8, 3, 3) + 1
    grouped = norm(x).reshape(2, 4, 18)
    assert grouped.mean(2).abs().max() < 1e-5
    assert torch.allclose(grouped.var(2, correction=0), torch.ones(2, 4), atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(x.bfloat16()).dtype == torch.bfloat16


def test_blocks_let_pass_what_comes_until_they_have_learned():
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Block(8, 8, 16)(x, torch.randn(2, 16)), x)
    assert torch.equal(Attention(8)(x), x)


def test_attention_is_the_librarys():
    layer, x = awake(Attention(8, heads=2)), torch.randn(3, 8, 2, 3)
    peer = nn.MultiheadAttention(8, 2, bias=True, batch_first=True)
    with torch.no_grad():
        peer.in_proj_weight.copy_(layer.qkv.weight.flatten(1))
        peer.in_proj_bias.copy_(layer.qkv.bias)
        peer.out_proj.weight.copy_(layer.out.weight.flatten(1))
        peer.out_proj.bias.copy_(layer.out.bias)
    rows = layer.norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
    expected = peer(rows, rows, rows)[0].transpose(1, 2).reshape(x.shape)
    assert torch.allclose(layer(x) - x, expected, atol=1e-5)


@pytest.mark.parametrize("options", [
    {}, {"mults": (1, 2)}, {"channels": 3}, {"mults": (1,)}, {"mults": (1, 2), "patch": 2},
    {"channels": 3, "mults": (1, 2), "patch": 4},
])  # fmt: skip
def test_a_unet_keeps_the_shape_and_is_zero_at_first(options):
    net = UNet(16, width=8, **options)
    x = torch.randn(3, options.get("channels", 1), 16, 16)
    t = torch.tensor([0, 5, 9])
    assert net(x, t).shape == x.shape and net(x, t).abs().max() == 0
    assert awake(net)(x, t).abs().max() > 0


def test_every_pixel_sees_every_other_and_every_weight_counts():
    net = awake(UNet(16, width=8, classes=3))
    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    out = net(x, torch.tensor([3]), torch.tensor([1]))
    (gradient,) = torch.autograd.grad(out[0, 0, 0, 0], x, retain_graph=True)
    assert (gradient != 0).float().mean() > 0.99
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_time_and_class_are_heard_and_none_is_a_class():
    for net, x in (
        (awake(UNet(8, width=8, mults=(1, 2), classes=3)), torch.randn(2, 1, 8, 8)),
        (awake(PointNet(2, width=8, classes=3)), torch.randn(2, 2)),
    ):
        t, y = torch.tensor([1, 1]), torch.tensor([0, 2])
        base = net(x, t, y)
        assert not torch.allclose(net(x, t + 5, y), base)
        assert not torch.allclose(net(x, t, y.flip(0)), base)
        assert torch.equal(net(x, t), net(x, t, torch.tensor([3, 3])))
        assert torch.allclose(net(x[1:], t[1:], y[1:]), base[1:], atol=1e-4)  # row by row


def test_a_patch_is_a_place_with_more_channels():
    net = awake(UNet(16, width=8, mults=(1, 2), patch=2))
    same = UNet(8, channels=4, width=8, mults=(1, 2))
    same.load_state_dict(net.state_dict())
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([1, 7])
    quarters = torch.stack([x[:, 0, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
    out = same(quarters, t)
    for k, (i, j) in enumerate((i, j) for i in (0, 1) for j in (0, 1)):
        assert torch.allclose(net(x, t)[:, 0, i::2, j::2], out[:, k], atol=1e-6)


def test_bad_sizes_are_told():
    with pytest.raises(ValueError, match="multiple of 4 for 3 levels .* got 30"):
        UNet(30)
    with pytest.raises(ValueError, match="size: expected a multiple of 8 .* patch = 2, got 28"):
        UNet(28, patch=2)
    with pytest.raises(ValueError, match="multiple of 4"):
        UNet(8, width=10)
    with pytest.raises(TypeError, match="mults"):
        UNet(8, mults=(1, 1.5))


def test_muon_takes_the_kernels_inside_and_adamw_the_ends():
    model = DDPM(8, T=5, width=8, mults=(1, 2), classes=3)
    optimizer = muon(model, 0.01)
    inside, rest = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    net = model.chain.net
    assert {id(net.down[0].conv_in.weight), id(net.attention.qkv.weight)} <= inside
    for part in (net.first, net.last, net.condition):
        assert {id(p) for p in part.parameters()} <= rest
    assert len(inside) + len(rest) == len(list(model.parameters()))
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.005]
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups)
