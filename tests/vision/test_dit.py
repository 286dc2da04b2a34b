"""The diffusion transformer: squares of pixels, modulation, what it hears and what it starts as."""

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language.gpt import GPTConfig
from genai_utils.language.transformer import Stack
from genai_utils.vision.cross_attention import TextEncoder
from genai_utils.vision.diffusion import Diffusion, cosine_betas, guided
from genai_utils.vision.dit import DiT, DiTBlock, modulate, patches, unpatched

IDS = torch.tensor([[3, 4, 5, 0, 0, 0], [3, 4, 6, 7, 0, 0], [1, 2, 3, 4, 5, 6]])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**options):
    text = TextEncoder(Stack(GPTConfig(11, 6, 1, 4, 16), causal=True), end=0)
    return DiT(text, **{"size": 8, "channels": 4, "width": 16, "layers": 2, **options})


def stirred(net):
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return net


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_are_torchs_unfolded_squares_and_come_back(patch):
    x = torch.randn(3, 4, 8, 8)
    found = patches(x, patch)
    expected = F.unfold(x, patch, stride=patch).transpose(1, 2)  # channels, rows, columns
    assert torch.equal(found, expected)
    assert torch.equal(unpatched(found, patch, 8), x)


def test_patches_of_an_image_that_is_no_square():
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(patches(x, 2), F.unfold(x, 2, stride=2).transpose(1, 2))
    with pytest.raises(ValueError, match="divisor"):
        patches(x, 4)
    with pytest.raises(ValueError, match="16 squares"):
        unpatched(torch.randn(2, 9, 16), 2, 8)


def test_modulation_scales_and_shifts_every_token_of_an_example():
    x, a, b = torch.randn(3, 5, 4), torch.randn(3, 4), torch.randn(3, 4)
    found = modulate(x, a, b)
    for i in range(3):
        for n in range(5):
            torch.testing.assert_close(found[i, n], x[i, n] * (1 + a[i]) + b[i])
    assert torch.equal(modulate(x, 0 * a, 0 * b), x)


def test_a_block_begins_as_nothing_and_is_its_formula():
    block = DiTBlock(16, 4, 8)
    x, vector, words = torch.randn(3, 5, 16), torch.randn(3, 16), torch.randn(3, 7, 8)
    assert torch.equal(block(x, vector, words), x)  # adaLN-Zero: the identity
    stirred(block)
    a1, b1, g1, a2, b2, g2 = (part[:, None] for part in block.tell(vector).chunk(6, -1))
    norm = lambda h: F.layer_norm(h, (16,))  # noqa: E731
    h = x + g1 * block.attention((1 + a1) * norm(x) + b1)
    h = h + block.words(norm(h), words)
    expected = h + g2 * block.mlp((1 + a2) * norm(h) + b2)
    torch.testing.assert_close(block(x, vector, words), expected)


def test_it_takes_and_gives_what_a_u_net_does():
    net, x, t = small(), torch.randn(3, 4, 8, 8), torch.tensor([1.0, 500, 999])
    assert net(x, t, IDS).abs().max() == 0  # at first it says nothing
    stirred(net)
    out = net(x, t, IDS)
    assert out.shape == x.shape
    other = IDS.clone()
    other[0, 1] = 9
    changed = (net(x, t, other) - out).flatten(1).abs().amax(1)
    assert changed[0] > 1e-4 and changed[1:].max() < 1e-6
    assert not torch.allclose(net(x, t + 1, IDS), out)
    torch.testing.assert_close(net(x, t), net(x, t, torch.zeros_like(IDS)))


def test_a_place_knows_where_it_is_and_sees_all_others():
    net, t = stirred(small()), torch.full((3,), 500.0)
    x = torch.randn(3, 4, 8, 8)
    moved = net(x.roll(2, 3), t, IDS).roll(-2, 3)
    assert (moved - net(x, t, IDS)).abs().max() > 1e-3
    y = x.clone()
    y[:, :, :2, :2] += 1  # the first square
    assert (net(y, t, IDS) - net(x, t, IDS))[:, :, 6:, 6:].abs().max() > 1e-5


def test_chapter_27s_chain_guides_it_as_it_is():
    net = stirred(small()).eval()
    chain = Diffusion(net, cosine_betas(50))
    x, t = torch.randn(3, 4, 8, 8), torch.tensor([50, 20, 1])
    with torch.no_grad():
        expected = guided(net(x, t), net(x, t, IDS), 2.0)
        found = chain.eps(x, t, IDS, guidance=2.0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_every_part_of_it_learns():
    net = stirred(small())
    net(torch.randn(3, 4, 8, 8), torch.tensor([1.0, 500, 999]), IDS).square().sum().backward()
    for name, weight in net.named_parameters():
        assert not weight.requires_grad or weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patch": 3}, "patch"), ({"width": 12}, "width"), ({"layers": 0}, "layers"),
        ({"size": 0}, "size"), ({"width": 16, "heads": 3}, "heads"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        small(**options)
