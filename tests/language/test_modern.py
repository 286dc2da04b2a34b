"""A modern block: each part is what its paper says, and without one the GPT is GPT-2."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from genai_utils.language import modern
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.modern import PARTS, modern_gpt, rms_norm

CONFIG = GPTConfig(23, context=12, layers=2, heads=4, dim=24)
ALL = [(), *((part,) for part in PARTS), ("rope", "rmsnorm", "swiglu", "qk-norm")]
every_kind = pytest.mark.parametrize("parts", ALL, ids=lambda parts: "+".join(parts) or "none")


def made(parts, seed=0, config=CONFIG):
    torch.manual_seed(seed)
    return modern_gpt(config, parts)


def awake(parts):
    """One whose weights are large, so that outputs differ."""
    model = made(parts)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model.eval()


def ids(n=3, T=10, seed=1):
    return torch.randint(23, (n, T), generator=torch.Generator().manual_seed(seed))


def test_without_a_part_it_is_gpt_bit_for_bit():
    torch.manual_seed(0)
    plain, same = GPT(CONFIG), made(())
    assert type(same) is GPT and list(same.state_dict()) == list(plain.state_dict())
    for name, p in plain.state_dict().items():
        assert torch.equal(p, same.state_dict()[name])
    assert torch.equal(plain(ids()), same(ids()))


@every_kind
def test_nobody_looks_ahead(parts):
    model, text = awake(parts), ids()
    other = text.clone()
    other[:, 6] = (other[:, 6] + 1) % 23
    with torch.no_grad():
        a, b = model(text), model(other)
    assert torch.equal(a[:, :6], b[:, :6])
    assert (a[:, 6:] - b[:, 6:]).abs().amax((0, 2)).min() > 1e-4


@every_kind
def test_the_cache_changes_no_logit(parts):
    model, text = awake(parts), ids()
    cache = model.new_cache()
    with torch.no_grad():
        pieces = [
            model(text[:, :4], cache),
            *(model(text[:, i : i + 1], cache) for i in range(4, 10)),
        ]
        torch.testing.assert_close(torch.cat(pieces, 1), model(text), atol=2e-5, rtol=1e-4)


@every_kind
def test_it_learns(parts):
    model = made(parts)
    batch = torch.arange(13).repeat(4, 1) % 23
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    first = model.loss(batch).item()
    for _ in range(40):
        optimizer.zero_grad()
        model.loss(batch).backward()
        optimizer.step()
    assert model.loss(batch).item() < 0.2 * first
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert unused == []


@every_kind
def test_products_cost_what_they_did(parts):
    def flops(model):
        with FlopCounterMode(display=False) as counter:
            model.loss(ids(2, 13)).backward()
        return counter.get_total_flops()

    assert flops(made(parts)) == pytest.approx(flops(made(())), rel=1e-9)


def test_weights_of_the_kinds():
    count = {p: sum(q.numel() for q in made(p).parameters()) for p in ALL}
    assert count[("rope",)] == count[()] - 12 * 24
    assert count[("relu2",)] == count[()]
    assert count[("rmsnorm",)] == count[()] - 5 * 24
    assert count[("qk-norm",)] == count[()] + 2 * 2 * 6
    assert count[("swiglu",)] - count[()] == 2 * (2 * 64 - 96)  # biases alone
    for part in ("rope", "qk-norm", "relu2", "rmsnorm"):
        torch.testing.assert_close(
            made((part,)).blocks[1].attention.qkv.weight, made(()).blocks[1].attention.qkv.weight
        )


def test_rms_norm_is_pytorchs_and_knows_one_token_only():
    x, gain = 3 * torch.randn(4, 5, 6), torch.randn(6)
    wanted = F.rms_norm(x, (6,), gain, 1e-6)
    torch.testing.assert_close(rms_norm(x, gain), wanted)
    torch.testing.assert_close(modern.RMSNorm(6)(x), F.rms_norm(x, (6,), eps=1e-6))
    assert torch.equal(rms_norm(torch.zeros(2, 6), gain), torch.zeros(2, 6))
    assert not torch.allclose(rms_norm(x + 1, gain), wanted, atol=1e-2)  # the mean stays in


def test_rope_knows_distances_and_no_places():
    """With positions turned in, the same text further on gets the same logits; with a table not."""
    model, text = awake(("rope",)), ids(T=5)
    table = awake(())
    with torch.no_grad():
        for net, same in ((model, True), (table, False)):
            here, there = (net.embed(text, start) for start in (0, 4))
            assert torch.equal(here, there) == same
            swapped = text.flip(1)
            assert not torch.allclose(net(text)[:, -1], net(swapped)[:, -1])  # order counts
    keys = model.blocks[0].attention
    x = torch.randn(1, 6, 24)
    q0, k0, _ = keys.split(x, 0)
    q7, k7, _ = keys.split(x, 7)
    torch.testing.assert_close(q0 @ k0.mT, q7 @ k7.mT, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(q0, q7, atol=1e-2)


def test_qk_norm_bounds_the_scores():
    plain, normed = awake(()).blocks[0].attention, awake(("qk-norm",)).blocks[0].attention
    normed.norm_q.weight.data.fill_(1), normed.norm_k.weight.data.fill_(1)
    x = 100 * torch.randn(2, 6, 24)
    for attention, bounded in ((plain, False), (normed, True)):
        q, k, _ = attention.split(x)
        most = (q @ k.mT / 6**0.5).abs().max().item()
        assert (most <= 6**0.5 + 1e-4) == bounded
    v = plain.split(x)[2]
    normed.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(normed.split(x)[2], v)  # values as they are


def test_qk_norm_with_rope_turns_after_the_norm():
    attention = modern.QKNormAttention(24, 4, causal=True, rotary=True)
    attention.norm_q.weight.data.uniform_(0.5, 2)
    x = torch.randn(1, 6, 24)
    q0, k0, _ = attention.split(x, 0)
    q7, k7, _ = attention.split(x, 7)
    torch.testing.assert_close(q0 @ k0.mT, q7 @ k7.mT, atol=1e-4, rtol=1e-4)
    assert attention.rotary


def test_swiglu_by_hand_and_relu2():
    net = modern.SwiGLU(4, 3)
    x = torch.randn(5, 4)
    w1, w2 = net.both.weight.chunk(2)
    b1, b2 = net.both.bias.chunk(2)
    a = x @ w1.T + b1
    wanted = (a * torch.sigmoid(a) * (x @ w2.T + b2)) @ net.out.weight.T + net.out.bias
    torch.testing.assert_close(net(x), wanted)
    y = torch.tensor([-2.0, 0.0, 3.0])
    assert torch.equal(modern.ReLU2()(y), torch.tensor([0.0, 0.0, 9.0]))


def test_first_weights_are_gpt2s():
    config = GPTConfig(23, 12, layers=4, heads=4, dim=96)
    for block in made(("swiglu",), config=config).blocks:
        assert block.mlp.both.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert block.mlp.out.weight.std().item() == pytest.approx(0.02 / 8**0.5, rel=0.05)
        assert not block.mlp.both.bias.any()


@pytest.mark.parametrize(
    ("parts", "error", "says"),
    [
        ("rope", TypeError, "several names"),
        (("alibi",), ValueError, "one of 'rope'"),
        (("swiglu", "relu2"), ValueError, "one kind of MLP"),
    ],
)
def test_wrong_parts_are_refused(parts, error, says):
    with pytest.raises(error, match=says):
        made(parts)


def test_rope_refuses_odd_heads():
    with pytest.raises(ValueError, match="even number"):
        made(("rope",), config=GPTConfig(23, 12, 1, 4, 12))
