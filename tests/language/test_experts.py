"""GPTs of experts: new, upcycled, their size, and what can be read off their choices."""

import copy
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from genai_utils.language import experts, modern, moe, scaling
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import fit
from tests.no_wait import NoWait

CONFIG = GPTConfig(23, context=12, layers=2, heads=4, dim=24)


def dense(seed=0, scale=0.2):
    torch.manual_seed(seed)
    model = GPT(CONFIG)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=scale)
    return model.eval()


def new(n=4, k=1, **options):
    torch.manual_seed(0)
    return experts.moe_gpt(CONFIG, n, k, **options)


def ids(n=3, T=10, seed=1):
    return torch.randint(23, (n, T), generator=torch.Generator().manual_seed(seed))


# --- new


def test_it_is_a_gpt_with_a_mixture_in_each_block():
    model = new(4, 2, hidden=10, balance="bias")
    assert type(model) is GPT
    for block in model.blocks:
        assert isinstance(block.mlp, moe.MoE) and len(block.mlp.experts) == 4
        assert block.mlp.k == 2 and block.mlp.balance == "bias"
        assert block.mlp.experts[0][0].out_features == 10
    assert (
        not model.blocks[0].mlp.experts[0][0].weight.equal(model.blocks[0].mlp.experts[1][0].weight)
    )


def test_first_weights_are_those_of_gpt_2():
    torch.manual_seed(0)
    model = experts.moe_gpt(GPTConfig(23, 12, 8, 4, 64), 4)
    for i, std in ((0, 0.02), (2, 0.02 / 4)):
        found = torch.stack([e[i].weight for b in model.blocks for e in b.mlp.experts])
        assert found.std().item() == pytest.approx(std, rel=0.02)
        assert all((e[i].bias == 0).all() for b in model.blocks for e in b.mlp.experts)


def test_a_wide_gpt_is_a_gpt_of_that_width():
    torch.manual_seed(0)
    model = experts.wide_gpt(GPTConfig(23, 12, 8, 4, 64), 700)
    found = torch.stack([block.mlp[0].weight for block in model.blocks])
    assert found.shape == (8, 700, 64) and found.std().item() == pytest.approx(0.02, rel=0.02)
    last = torch.stack([block.mlp[2].weight for block in model.blocks])
    assert last.std().item() == pytest.approx(0.005, rel=0.02)
    size = experts.size_of(model)
    assert (
        size.total
        == size.active
        == scaling.gpt_parameters(8, 64, 23, 12) + 8 * ((700 - 256) * (2 * 64 + 1))
    )
    with pytest.raises(ValueError, match="hidden"):
        experts.wide_gpt(CONFIG, 0)


def test_a_gpt_elsewhere_is_left_as_it_was():
    torch.manual_seed(0)
    plain = GPT(CONFIG)
    torch.manual_seed(0)
    model = new()
    for name, p in plain.state_dict().items():
        if ".mlp." not in name:
            assert torch.equal(p, model.state_dict()[name])


def test_nobody_looks_ahead_and_the_cache_changes_nothing():
    model, text = experts.upcycle(dense(), 4, 2, share=1.0).eval(), ids()
    other = text.clone()
    other[:, 6] = (other[:, 6] + 1) % 23
    with torch.no_grad():
        a, b = model(text), model(other)
        torch.testing.assert_close(a[:, :6], b[:, :6])
        assert (a[:, 6:] - b[:, 6:]).abs().max() > 1e-3
        cache = model.new_cache()
        steps = [
            model(text[:, :4], cache),
            *(model(text[:, t : t + 1], cache) for t in range(4, 10)),
        ]
        torch.testing.assert_close(torch.cat(steps, 1), a, rtol=1e-4, atol=1e-4)


def test_it_learns_and_its_loss_waits_for_nothing():
    for options in ({"balance": "loss", "z_weight": 0.001}, {"balance": "bias"}):
        model, text = new(4, 2, **options), ids(8, 13)
        with NoWait():
            model.loss(text).backward()
        found = fit(model, lambda step, x=text: x, 60, lr=1e-2, progress=False)
        history = found.history["loss"]
        assert history[-1] < history[0] - 1


@pytest.mark.parametrize(
    ("n", "k"), [(0, 1), (4, 5), (4, 0)], ids=["no expert", "k above E", "k of 0"]
)
def test_wrong_numbers_are_refused(n, k):
    for make in (lambda: new(n, k), lambda: experts.upcycle(dense(), n, k)):
        with pytest.raises(ValueError, match="expected a whole number"):
            make()


# --- upcycled


@pytest.mark.parametrize("k", [1, 2, 4])
def test_copies_compute_what_the_model_computed(k):
    model = dense()
    before = copy.deepcopy(model.state_dict())
    made = experts.upcycle(model, 4, k)
    for mode in (True, False):
        for block in made.train(mode).blocks:
            block.mlp.capacity = None
        torch.testing.assert_close(made(ids()), model(ids()), rtol=1e-4, atol=1e-4)
    assert all(before[name].equal(p) for name, p in model.state_dict().items())
    made.blocks[0].mlp.experts[0][0].weight.data.zero_()
    assert model.blocks[0].mlp[0].weight.abs().max() > 0.1  # it has weights of its own


def test_copies_give_the_router_no_signal():
    """With gates that sum to 1 the output does not depend on the choice, whatever the text."""
    made = experts.upcycle(dense(), 4, 2, balance="none", capacity=None).train()
    made.loss(ids()).backward()
    assert max(b.mlp.router.weight.grad.abs().max() for b in made.blocks) < 1e-6
    other = experts.upcycle(dense(), 4, 2, share=0.5, balance="none", capacity=None).train()
    other.loss(ids()).backward()
    assert min(b.mlp.router.weight.grad.abs().max() for b in other.blocks) > 1e-4


def test_a_share_of_the_hidden_units_begins_anew():
    mlp = dense().blocks[0].mlp
    g = torch.Generator().manual_seed(0)
    for share in (0.0, 0.25, 1.0):
        found = torch.stack([
            (experts.renewed(mlp, share, g)[0].weight != mlp[0].weight).all(1) for _ in range(20)
        ])  # fmt: skip
        assert found.float().mean().item() == pytest.approx(share, abs=0.03)
    new = experts.renewed(mlp, 0.5, g)
    units = (new[0].weight != mlp[0].weight).all(1)
    assert (new[2].weight != mlp[2].weight).all(0).equal(units)
    assert (new[0].bias == 0).equal(units) and new[2].bias.equal(mlp[2].bias)
    assert new[0].weight.std().item() == pytest.approx(mlp[0].weight.std().item(), rel=0.1)
    for share in (-0.1, 1.5):
        with pytest.raises(ValueError, match="share"):
            experts.renewed(mlp, share)


def test_likeness():
    made = experts.upcycle(dense(), 4)
    assert experts.likeness(made.blocks[0].mlp) == pytest.approx(1)
    assert abs(experts.likeness(new().blocks[0].mlp)) < 0.1
    half = experts.likeness(experts.upcycle(dense(), 4, share=0.5).blocks[0].mlp)
    assert half == pytest.approx(0.25, abs=0.1)  # both old in a quarter of the units
    assert math.isnan(experts.likeness(experts.upcycle(dense(), 1).blocks[0].mlp))


# --- size


def test_the_size_of_a_plain_gpt_is_that_of_chapter_13():
    size = experts.size_of(dense())
    assert size.total == size.active == scaling.gpt_parameters(2, 24, 23, 12)
    assert size.flops == scaling.flops_per_token(CONFIG)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (8, 1), (8, 2), (8, 8)])
def test_active_weights_and_operations(n, k):
    plain, size = experts.size_of(dense()), experts.size_of(new(n, k))
    router = 2 * n * 24
    mlp = 2 * (2 * 24 * (96 // k) + 96 // k + 24)
    old = 2 * (2 * 24 * 96 + 96 + 24)
    assert size.active == plain.active + router + k * mlp - old
    assert size.total == size.active + (n - k) * mlp
    assert size.flops == plain.flops + 6 * router  # 4 d / k hidden units: the same work


def test_the_operations_are_those_that_are_done_where_all_room_is_filled():
    """An even load, capacity 1: forward, a third of what training takes (but for attention)."""
    model, text = new(4, 1, capacity=1.0), ids(4, 12)
    for block in model.blocks:
        block.mlp.capacity = 1.0
    counter = FlopCounterMode(display=False, mods=None)
    with counter:
        model(text)
    attention = 2 * 4 * 12 * 24  # of a token; PyTorch's counter may not know it on a processor
    matrices = (experts.size_of(model).flops - 14 * 2 * 12 * 24) // 3
    assert counter.get_total_flops() in (48 * matrices, 48 * (matrices + attention))


# --- what they do


def test_choices_are_those_of_the_eval_mode():
    model, text = new(4, 2, capacity=0.3).train(), ids()
    found = experts.choices(model, text)
    assert found.shape == (2, 3, 10, 2) and model.training
    experts.choices(model.eval(), text)
    assert not model.training
    model.train()
    x = model.embed(text)
    p = model.blocks[0].mlp.scores(
        model.blocks[0].norm2(x + model.blocks[0].attention(model.blocks[0].norm1(x)))
    )
    assert found[0].equal(p.topk(2).indices)


def test_information_is_0_for_chance_and_all_for_a_rule():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(12, (20_000,), generator=g)
    assert experts.information(labels, labels % 4, 12, 4) == pytest.approx(math.log(4), abs=1e-3)
    chance = experts.information(labels, torch.randint(4, (20_000,), generator=g), 12, 4)
    assert 0 <= chance < 4 * 11 * 3 / 40_000
    assert experts.information(labels, torch.zeros_like(labels), 12, 4) == pytest.approx(0)
    half = torch.where(labels < 6, 0, torch.randint(2, (20_000,), generator=g))
    wanted = math.log(4 / 3) * 0.5 + math.log(2 / 3) * 0.25 + math.log(2) * 0.25
    assert experts.information(labels, half, 12, 2) == pytest.approx(wanted, abs=0.01)


def test_experts_of_other_forms():
    """A block with SwiGLU is upcycled as it is."""
    torch.manual_seed(0)
    model = modern.modern_gpt(CONFIG, ("swiglu",)).eval()
    made = experts.upcycle(model, 3, 2).eval()
    torch.testing.assert_close(made(ids()), model(ids()), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="two linear layers"):
        experts.upcycle(model, 3, 2, share=0.5)
