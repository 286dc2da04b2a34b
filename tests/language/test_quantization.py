"""Four and eight bits: the published table, nearest levels, exact numbers back, bytes, QLoRA."""

import copy

import pytest
import torch
from torch import nn

from genai_utils.language import lora, quantization
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.quantization import normal_float, quantize_blocks
from genai_utils.training import WindowBatches, fit
from tests.card import Card
from tests.no_wait import NoWait

close = torch.testing.assert_close
PAPER = (  # Dettmers et al. 2023, appendix E
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip


def gpt(seed=0, dim=16):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(11, 16, 2, 2, dim))
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    return model.eval()


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def ids():
    return torch.randint(11, (3, 12), generator=torch.Generator().manual_seed(3))


# --- the table -----------------------------------------------------------------------------------


def test_the_table_is_the_published_one():
    close(normal_float(), torch.tensor(PAPER), rtol=0, atol=1e-6)
    assert str(normal_float()[7].item()) == "0.0"


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_tables_of_other_sizes(bits):
    table = normal_float(bits)
    assert len(table) == 2**bits and (table.diff() > 0).all()
    assert table[0] == -1 and table[-1] == 1 and (table == 0).sum() == 1
    assert table.dtype == torch.float32


def test_normal_numbers_use_the_levels_more_evenly_than_those_of_equal_steps():
    """In blocks of 64. Not quite evenly: the largest of a block is 1, so that the ends are rare."""

    def most_over_least(table):
        codes, _ = quantize_blocks(normal(0, 4096, 64), table, 64)
        inner = torch.bincount(codes.flatten(), minlength=16)[1:15].float()
        return (inner.max() / inner.min()).item()

    assert most_over_least(normal_float()) < 3
    assert most_over_least(torch.linspace(-1, 1, 16)) > 8


@pytest.mark.parametrize("bits", [1, 9, 4.0])
def test_bits_are_checked(bits):
    with pytest.raises((ValueError, TypeError), match="bits"):
        normal_float(bits)


# --- blocks --------------------------------------------------------------------------------------


def test_blocks_by_hand():
    table = torch.tensor([-1.0, 0.0, 0.5, 1.0])
    w = torch.tensor([[2.0, -1.1, 0.4], [0.6, 0.0, 0.0]])
    codes, scales = quantize_blocks(w, table, 4)  # units: 1, −0.55, 0.2, 0.3 | 0, 0
    assert codes.tolist() == [[3, 0, 1], [2, 1, 1]] and scales.tolist() == [2.0, 0.0]
    assert codes.dtype == torch.uint8
    back = quantization.dequantize_blocks(codes, scales, table, 4)
    assert back.tolist() == [[2.0, -2.0, 0.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize(("shape", "block"), [((6, 10), 64), ((7, 9), 8), ((5,), 5), ((3, 4), 1)])
def test_every_code_is_the_nearest_level(shape, block):
    w, table = normal(1, *shape), normal_float()
    codes, scales = quantize_blocks(w, table, block)
    flat = w.flatten()
    for i, (x, code) in enumerate(zip(flat, codes.flatten().tolist(), strict=True)):
        scale = flat[i // block * block : (i // block + 1) * block].abs().max()
        assert scales[i // block] == scale
        assert code == (x / scale - table).abs().argmin()


def test_a_tie_takes_the_lower_level():
    table = torch.tensor([-1.0, 0.0, 1.0])
    codes, _ = quantize_blocks(torch.tensor([0.5, -0.5, 1.0]), table, 3)
    assert codes.tolist() == [1, 0, 2]


def test_the_error_is_at_most_half_the_widest_gap():
    w, table = normal(2, 64, 64), normal_float()
    codes, scales = quantize_blocks(w, table, 64)
    off = (quantization.dequantize_blocks(codes, scales, table, 64) - w).abs().view(-1, 64)
    assert (off.amax(1) <= table.diff().max() / 2 * scales + 1e-6).all()


def test_levels_of_a_table_come_back_exactly():
    table, scales = normal_float(), torch.tensor([0.5, 4.0])  # powers of two: no rounding
    codes = torch.arange(32, dtype=torch.uint8) % 16
    w = quantization.dequantize_blocks(codes, scales, table, 16)
    again, found = quantize_blocks(w, table, 16)
    assert torch.equal(again, codes) and torch.equal(found, scales)


@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (1,)])
def test_two_codes_share_a_byte(shape):
    codes = torch.randint(16, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    packed = quantization.pack(codes)
    assert packed.dtype == torch.uint8 and len(packed) == (codes.numel() + 1) // 2
    assert torch.equal(quantization.unpack(packed, shape), codes)


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "double"), [(4, False), (4, True), (8, False)])
def test_the_dequantised_model_computes_the_very_same(ids, bits, double):
    few = quantization.quantized(gpt(), bits, double=double)
    exact = quantization.dequantized(few)
    assert exact.state_dict().keys() == gpt().state_dict().keys()
    assert torch.equal(exact(ids), few(ids))
    again = quantization.quantized(exact, bits)  # what lies on levels stays there
    if not double:
        close(again(ids), few(ids), rtol=0, atol=1e-5)


def test_eight_bits_are_nearer_than_four_and_smaller_blocks_nearer_than_large_ones():
    weight = gpt(dim=64).blocks[0].mlp[0].weight

    def off(**how):
        few = quantization.quantized(gpt(dim=64), **how)
        return (few.blocks[0].mlp[0].weight - weight).abs().mean().item()

    assert off(bits=8) < off(bits=4, block=16) < off(bits=4) < off(bits=4, block=1024)
    assert off(bits=4, double=True) == pytest.approx(off(bits=4), rel=0.05)


def test_eight_bits_move_a_weight_by_at_most_half_a_scale():
    linear = nn.Linear(7, 5)
    few = quantization.Linear8bit(linear)
    largest = linear.weight.abs().amax(1, keepdim=True)
    assert ((few.weight - linear.weight).abs() <= largest / 254 + 1e-7).all()
    assert few.whole.dtype == torch.int8 and few.whole.abs().amax(1).eq(127).all()


def test_double_quantisation_moves_a_scale_by_at_most_half_a_step():
    linear = nn.Linear(96, 200)
    once, twice = (quantization.Linear4bit(linear, 16, double) for double in (False, True))
    largest = (once.scales - once.scales.mean()).abs().max()
    scales = twice._scales()
    assert len(scales) == 1200 and ((scales - once.scales).abs() <= largest / 254 + 1e-7).all()
    levels = quantization.unpack(once.packed, linear.weight.shape)
    wanted = quantization.dequantize_blocks(levels, scales, normal_float(), 16)
    close(twice.weight, wanted)


def test_bytes_are_counted():
    """4 bits and 32 / 64 for a scale; or 8 / 64 and 32 / (64 · 256) for two kinds of them."""
    model = gpt(dim=64)
    matrices = 2 * 12 * 64 * 64
    rest = quantization.weight_bytes(model) - 4 * matrices
    found = lambda **how: quantization.weight_bytes(quantization.quantized(model, **how)) - rest  # noqa: E731
    assert found(bits=4) == matrices // 2 + 4 * matrices // 64
    steps = sum(-(-n // 64 // 256) for n in (3 * 64**2, 64**2, 4 * 64**2, 4 * 64**2)) * 2
    assert found(bits=4, double=True) == matrices // 2 + matrices // 64 + 4 * (steps + 8)
    assert found(bits=8) == matrices + 4 * 2 * (3 + 1 + 4 + 1) * 64
    assert 4.4 < 8 * found(bits=4) / matrices < 4.6


def test_embeddings_norms_and_biases_stay(ids):
    model = gpt()
    few = quantization.quantized(model).state_dict()
    same = {n for n, p in model.state_dict().items() if n in few and torch.equal(few[n], p)}
    assert same == {n for n in model.state_dict() if "weight" not in n or "blocks" not in n
                    or "norm" in n}  # fmt: skip


def test_bias_may_be_absent():
    linear = nn.Linear(8, 4, bias=False)
    for few in (quantization.Linear4bit(linear), quantization.Linear8bit(linear)):
        x = normal(0, 3, 8)
        close(few(x), x @ few.weight.T)
        close(few.plain()(x), few(x))


# --- QLoRA ---------------------------------------------------------------------------------------


def test_an_adapter_beside_four_bits_begins_as_nothing_and_learns(ids):
    few = quantization.quantized(gpt())
    wanted = few(ids)
    model = lora.add_adapter(copy.deepcopy(few), "one", 2)
    assert torch.equal(model(ids), wanted)
    assert lora.trainable(model)[1] == sum(p.numel() for p in gpt().parameters())
    text = torch.randint(3, (400,), generator=torch.Generator().manual_seed(0))
    before = {n: b.clone() for n, b in model.named_buffers()}
    start = model.loss(text[:300].view(25, 12)).item()
    fit(model, WindowBatches(text, 13, 8), 40, lr=3e-2, progress=False)
    assert model.loss(text[:300].view(25, 12)).item() < start - 0.2
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


def test_merging_into_four_bits_is_refused_and_possible_after_dequantising(ids):
    model = lora.add_adapter(quantization.quantized(gpt()), "one", 2)
    for p in model.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=0.2)
    with pytest.raises(ValueError, match="quantization.dequantized"):
        lora.merge(model)
    close(lora.merge(quantization.dequantized(model))(ids), model(ids), rtol=0, atol=1e-5)


def test_where_some_layers_cannot_be_merged_none_is():
    model = lora.add_adapter(quantization.quantized(gpt(), targets=("mlp.2",)), "one", 2)
    with pytest.raises(ValueError, match="quantization.dequantized"):
        lora.merge(model)
    assert all(layer.kept is None for layer in lora.lora_layers(model).values())


@pytest.mark.parametrize("how", [None, {}, {"double": True}, {"bits": 8}])
def test_a_step_of_an_adapter_does_not_wait_for_a_card(how):
    """And nothing lies on the wrong device: adapters and codes are made where the model is."""
    with Card():
        model = gpt().to("cuda")
        model = model if how is None else quantization.quantized(model, **how)
        lora.add_adapter(model, "one", 2)
        weights = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(weights, fused=True)
        ids = torch.randint(11, (2, 9), device="cuda")
        with NoWait():
            loss = model.loss(ids)
            loss.backward()
            optimiser.step()
        assert loss.is_cuda and all(p.is_cuda and p.grad.is_cuda for p in weights)


def test_nothing_is_drawn_from_the_global_generator():
    model, state = gpt(), torch.get_rng_state()
    quantization.dequantized(quantization.quantized(model, double=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_gradients_pass_through_to_the_input():
    for few in (quantization.Linear4bit(nn.Linear(8, 4)), quantization.Linear8bit(nn.Linear(8, 4))):
        x = normal(0, 3, 8).requires_grad_()
        few(x).sum().backward()
        close(x.grad, few.weight.sum(0).expand(3, 8))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="bits: expected one of 4, 8, got 5"):
        quantization.quantized(gpt(), 5)
    with pytest.raises(ValueError, match="quantise first"):
        quantization.quantized(lora.add_adapter(gpt(), "one", 2))
    with pytest.raises(ValueError, match="expected an nn.Linear, got Linear4bit"):
        quantization.quantized(quantization.quantized(gpt()))
    with pytest.raises(ValueError, match="block"):
        quantization.quantized(gpt(), block=0)
    broken = gpt()
    with torch.no_grad():
        broken.blocks[1].mlp[0].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"blocks.1.mlp.0: expected finite numbers"):
        quantization.quantized(broken)
