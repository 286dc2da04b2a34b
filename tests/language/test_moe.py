"""The mixture of experts: routing, balance, room, and the same numbers as Mixtral's."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from genai_utils.language import moe
from genai_utils.language.modern import SwiGLU
from genai_utils.language.moe import MoE
from genai_utils.language.transformer import Block

D = 16


def mlps(n, seed=0, scale=0.3):
    """n MLPs of a block, unlike each other, whose outputs are no small numbers."""
    torch.manual_seed(seed)
    found = [Block(D, 2).mlp for _ in range(n)]
    for mlp in found:
        for p in mlp.parameters():
            nn.init.normal_(p, std=scale)
    return found


def mixture(n=4, k=2, seed=0, **options):
    made = MoE(mlps(n, seed), D, k, **options)
    nn.init.normal_(made.router.weight)
    return made


def vectors(*shape, seed=1):
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed))


def by_hand(made, x):
    """The definition, token by token."""
    y = torch.zeros_like(x)
    for n, each in enumerate(x):
        p = (made.router.weight @ each).softmax(0)
        best = (p + made.bias).topk(made.k).indices
        for i in best.tolist():
            gate = {"probability": p[i], "renormalised": p[i] / p[best].sum(), "one": 1.0}
            y[n] += gate[made.gate] * made.experts[i](each)
    return y


# --- the layer


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("gate", moe.GATES)
def test_it_is_the_weighted_sum_of_the_chosen_experts(k, gate):
    made, x = mixture(4, k, capacity=None, gate=gate), vectors(5, 7)
    made.bias.copy_(torch.tensor([0.1, -0.2, 0.0, 0.05]))
    wanted = by_hand(made, x.flatten(0, 1)).view(5, 7, D)
    for mode in (True, False):
        torch.testing.assert_close(made.train(mode)(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_one_after_the_other_gives_what_all_at_once_gives(k):
    """Without a gradient the experts are called in turn, and only those that somebody chose."""
    made, x, called = mixture(6, k, balance="none").eval(), vectors(50), []
    made.bias.copy_(torch.tensor([0.0, -9.0, 0.0, 0.0, 0.0, 0.0]))  # nobody goes to the second
    wanted, seen = made(x), made.seen
    for i, expert in enumerate(made.experts):
        expert.register_forward_hook(lambda *_, i=i: called.append(i))
    with torch.no_grad():
        found = made(x)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert sorted(called) == sorted(set(seen.chosen.flatten().tolist())) and 1 not in called
    for a, b in zip(made.seen, seen, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        assert made(vectors(0)).shape == (0, D)  # of no token there is nothing to say


def test_the_gradients_are_those_of_the_definition():
    made, x = mixture(capacity=None), vectors(40)
    x.requires_grad_(True)
    wanted = torch.autograd.grad(by_hand(made, x).square().sum(), [x, *made.parameters()])
    found = torch.autograd.grad(made(x).square().sum(), [x, *made.parameters()])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_mixtral_of_transformers_gives_the_same_numbers():
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    torch.manual_seed(0)
    peer = MixtralSparseMoeBlock(MixtralConfig(
        hidden_size=D, intermediate_size=24, num_local_experts=4, num_experts_per_tok=2,
    )).eval()  # fmt: skip
    for p in peer.parameters():
        nn.init.normal_(p, std=0.3)
    ours = MoE([SwiGLU(D, 24) for _ in range(4)], D, k=2)
    with torch.no_grad():
        ours.router.weight.copy_(peer.gate.weight)
        for i, expert in enumerate(ours.experts):
            expert.both.weight.copy_(peer.experts.gate_up_proj[i])
            expert.out.weight.copy_(peer.experts.down_proj[i])
            expert.both.bias.zero_(), expert.out.bias.zero_()
        x = vectors(3, 50)
        wanted = peer(x)
        assert wanted.abs().max() > 1
        torch.testing.assert_close(ours.eval()(x), wanted, rtol=1e-5, atol=1e-5)


def test_the_balance_is_that_of_transformers():
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    logits = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    for k in (1, 2, 3):
        _, chosen = moe.choose(logits.softmax(-1), k)
        theirs = load_balancing_loss_func((logits,), 8, k) / k  # they count each choice in full
        torch.testing.assert_close(moe.balance_loss(logits.softmax(-1), chosen), theirs)


def test_one_expert_is_the_mlp():
    (mlp,) = mlps(1)
    made, x = MoE([copy.deepcopy(mlp)], D), vectors(3, 9)
    for mode in (True, False):
        torch.testing.assert_close(made.train(mode)(x), mlp(x))
    assert made.seen.load.tolist() == [1.0] and made.seen.balance == 1 and made.seen.dropped == 0


def test_it_costs_what_its_room_costs_and_no_more():
    for capacity, wanted in ((1.0, 128), (1.25, 160), (None, 160)):
        made, x = mixture(8, 2, capacity=capacity), vectors(64)
        counter = FlopCounterMode(display=False)
        with counter:
            made(x)
        assert counter.get_total_flops() == 2 * wanted * 2 * 4 * D * D + 2 * 64 * 8 * D


def test_a_bfloat16_region_leaves_the_router_in_single_precision():
    made, x = mixture(capacity=None), vectors(30)
    full = made(x)
    with torch.autocast("cpu", torch.bfloat16):
        scores, half = made.scores(x), made(x)
    assert scores.dtype == torch.float32
    assert scores.equal(made.scores(x))
    torch.testing.assert_close(half.float(), full, rtol=0.1, atol=0.1)


# --- gates and choices


def test_top_k_gates_are_a_softmax_over_the_best():
    h = torch.tensor([[2.0, 0.0, 1.0, -3.0], [0.0, 0.0, 5.0, 5.0]])
    e = math.e
    torch.testing.assert_close(
        moe.top_k_gates(h, 2),
        torch.tensor([[e / (e + 1), 0, 1 / (e + 1), 0], [0, 0, 0.5, 0.5]]),
    )
    torch.testing.assert_close(moe.top_k_gates(h, 4), h.softmax(-1))
    assert moe.top_k_gates(h, 1)[0].tolist() == [1, 0, 0, 0]
    for k in (0, 5):
        with pytest.raises(ValueError, match="k: expected a whole number from 1 to 4"):
            moe.top_k_gates(h, k)


def test_two_ways_to_the_same_gates():
    """Softmax, then the best, divided by their sum: the softmax over the best."""
    h = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    gates, chosen = moe.choose(h.softmax(-1), 3)
    dense = torch.zeros(50, 6).scatter(-1, chosen, gates)
    torch.testing.assert_close(dense, moe.top_k_gates(h, 3))


def test_the_bias_chooses_and_does_not_weigh():
    p = torch.tensor([[0.5, 0.3, 0.2]])
    gates, chosen = moe.choose(p, 2, torch.tensor([0.0, 0.0, 0.2]))
    assert chosen.tolist() == [[0, 2]]
    torch.testing.assert_close(gates, torch.tensor([[5 / 7, 2 / 7]]))
    same = moe.choose(p, 2, torch.full((3,), 7.0))
    for a, b in zip(same, moe.choose(p, 2), strict=True):
        torch.testing.assert_close(a, b)


def test_the_router_of_k_1_learns_from_the_text_unless_its_gate_is_a_constant_1():
    """What `renormalised` loses at k = 1, `probability` and `one` keep."""
    learns = {}
    for gate in moe.GATES:
        made = mixture(4, 1, gate=gate, balance="none")
        made(vectors(60)).square().sum().backward()
        learns[gate] = made.router.weight.grad.abs().max().item()
    assert learns["probability"] > 1e-2 and learns["one"] > 1e-2
    assert learns["renormalised"] < 1e-4 * learns["one"]
    assert mixture(4, 1).gate == "probability" and mixture(4, 2).gate == "renormalised"


# --- balance


def test_the_balance_loss_is_1_if_even_and_the_number_of_experts_if_collapsed():
    even = torch.full((8, 4), 0.25)
    chosen = torch.arange(8)[:, None] % 4
    assert moe.balance_loss(even, chosen).item() == pytest.approx(1)
    one = F.one_hot(torch.full((8,), 2), 4).float()
    assert moe.balance_loss(one, torch.full((8, 1), 2)).item() == pytest.approx(4)
    both = torch.stack([chosen[:, 0], (chosen[:, 0] + 1) % 4], 1)  # two choices, even
    assert moe.balance_loss(even, both).item() == pytest.approx(1)


def test_the_balance_loss_takes_probability_from_who_has_much():
    logits = torch.zeros(10, 4, requires_grad=True)
    chosen = torch.tensor([0] * 7 + [1] * 3)[:, None]
    moe.balance_loss(logits.softmax(-1), chosen).backward()
    slope = logits.grad.sum(0)
    assert slope[0] > 0 > slope[2] and slope[2] == slope[3]
    assert slope[1].item() == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("balance", ["loss", "bias"])
def test_either_way_evens_out_a_router_that_prefers_one_expert(balance):
    torch.manual_seed(0)
    made = MoE(mlps(4), D, 1, balance=balance, weight=1.0, rate=0.002, capacity=None)
    x = vectors(400) + 1
    with torch.no_grad():
        made.router.weight[0] += 0.15
    made.eval()(x)
    assert made.seen.load[0] > 0.6
    optimizer = torch.optim.Adam(made.router.parameters(), 0.01)
    for _ in range(300):
        made.train()(x)
        if balance == "loss":
            optimizer.zero_grad()
            made.extra_loss.backward()
            optimizer.step()
    made.eval()(x)
    assert made.seen.load.min() > 0.125 and made.seen.load.max() < 0.5  # within twice


def test_the_bias_step_is_a_sign():
    step = moe.bias_step(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.7, 0.0, 0.3]), 0.1)
    torch.testing.assert_close(step, torch.tensor([-0.1, 1.1, 0.1]))
    even = torch.full((4,), 0.25)
    assert moe.bias_step(torch.zeros(4), even, 0.1).tolist() == [0] * 4


def test_the_bias_moves_in_training_only_and_only_where_it_is_asked():
    for balance in moe.BALANCES:
        made = mixture(balance=balance, rate=0.1)
        made.eval()(vectors(50))
        assert made.bias.abs().max() == 0 and made.extra_loss is None
        made.train()(vectors(50))
        assert (made.bias.abs().max() > 0) == (balance == "bias")
        assert (made.extra_loss is not None) == (balance == "loss")


def test_what_it_asks_for_is_the_balance_and_the_z_loss():
    made, x = mixture(weight=0.5, z_weight=0.25), vectors(50)
    made(x)
    h = made.scores(x)
    z = (h.exp().sum(-1).log() ** 2).mean()
    torch.testing.assert_close(made.extra_loss, 0.5 * made.seen.balance + 0.25 * z)
    made = mixture(balance="none", z_weight=0.25)
    made(x)
    torch.testing.assert_close(made.extra_loss, 0.25 * z)


def test_what_was_seen_holds_no_graph_and_can_be_copied():
    made = mixture()
    made(vectors(3, 8)).sum().backward()
    assert made.seen.chosen.shape == (3, 8, 2) and made.seen.load.sum().item() == pytest.approx(1)
    assert not any(t.requires_grad for t in made.seen)
    made.extra_loss = None
    again = copy.deepcopy(made)
    assert again.seen.load.equal(made.seen.load)
    assert MoE(mlps(2), D).seen.describe() == made.seen.describe()  # one and the same run


# --- room


@pytest.mark.parametrize(
    ("n", "k", "experts", "capacity", "rows"),
    [(64, 2, 8, 1.0, 16), (64, 2, 8, 1.25, 20), (4, 1, 8, 0.1, 1), (10, 1, 4, 1.0, 3)],
)
def test_a_capacity_gives_each_expert_one_block(n, k, experts, capacity, rows):
    chosen = torch.zeros(n, k, dtype=torch.int64)
    found = moe.layout(chosen, experts, capacity)
    assert found.rows == rows and found.owner.tolist() == list(range(experts))
    assert found.slot.flatten()[:rows].tolist() == list(range(rows))
    assert (found.slot.flatten()[rows:] == experts * rows).all()


@pytest.mark.parametrize("kind", ["even", "random", "one", "few"])
@pytest.mark.parametrize(("n", "k", "experts"), [(64, 2, 8), (1, 1, 4), (37, 3, 5), (8, 1, 1)])
def test_without_a_capacity_each_choice_has_a_row_of_its_own_at_its_expert(n, k, experts, kind):
    g = torch.Generator().manual_seed(0)
    chosen = {
        "even": torch.arange(n * k) % experts,
        "random": torch.randint(experts, (n * k,), generator=g),
        "one": torch.full((n * k,), experts - 1),
        "few": torch.randint(min(2, experts), (n * k,), generator=g),
    }[kind].view(n, k)
    slot, owner, rows = moe.layout(chosen, experts)
    assert len(slot.unique()) == n * k and slot.max() < len(owner) * rows
    assert owner[slot // rows].equal(chosen)
    assert len(owner) * rows <= 1.25 * n * k + experts + rows


def test_the_queue_is_token_by_token_then_choice_by_choice():
    chosen = torch.tensor([[2, 0], [2, 1], [0, 2], [2, 0]])
    assert moe.queue_places(chosen, 4).tolist() == [[0, 0], [1, 0], [1, 2], [3, 2]]


def test_who_finds_no_room_is_left_out_and_counted():
    made, x = mixture(4, 1, capacity=0.5), vectors(40)
    y = made(x)
    p, gates, chosen = made.route(made.scores(x))
    room, filled, wanted = 5, [0] * 4, torch.zeros_like(x)
    lost = 0
    for n, i in enumerate(chosen[:, 0].tolist()):
        if filled[i] < room:
            wanted[n] = gates[n] * made.experts[i](x[n])
        else:
            lost += 1
        filled[i] += 1
    assert 20 <= lost < 40 and made.seen.dropped.item() == pytest.approx(lost / 40)
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)
    made.eval()(x)
    assert made.seen.dropped == 0


def test_no_later_token_pushes_an_earlier_one_out():
    made, x = mixture(4, 2, capacity=0.6), vectors(40)
    before = made(x)
    assert made.seen.dropped > 0.3
    other = x.clone()
    other[25:] = vectors(15, seed=9)
    torch.testing.assert_close(made(other)[:25], before[:25])


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"experts": []}, "experts: expected at least one MLP"),
        ({"experts": [Block(D, 2).mlp, Block(8, 2).mlp]}, "all of one form, got 2 forms"),
        ({"k": 5}, "k: expected a whole number from 1 to 4, got 5"),
        ({"k": 0}, "k: expected a whole number from 1 to 4, got 0"),
        ({"capacity": 0}, "capacity: expected a finite number above 0, got 0"),
        ({"capacity": -1.0}, "capacity: expected a finite number above 0"),
        ({"capacity": math.inf}, "capacity: expected a finite number above 0"),
        ({"balance": "even"}, "balance: expected one of 'loss', 'bias', 'none'"),
        ({"gate": "two"}, "gate: expected one of 'probability', 'renormalised', 'one'"),
        ({"weight": -0.1}, "weight: expected a finite number of at least 0"),
        ({"rate": -0.1}, "rate: expected a finite number of at least 0"),
        ({"z_weight": -0.1}, "z_weight: expected a finite number of at least 0"),
    ],
)
def test_what_makes_no_mixture_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        MoE(**({"experts": mlps(4), "dim": D} | arguments))


def test_kinds_are_looked_at_too():
    for arguments in ({"k": 1.0}, {"k": True}, {"capacity": "1"}, {"dim": 8.0}):
        with pytest.raises(TypeError):
            MoE(**({"experts": mlps(4), "dim": D} | arguments))
