"""A plain stack, extended from outside: LoRA, experts, other heads; losses that parts ask for."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.language import moe, tokens
from genai_utils.language.fill_in import FillIn
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.peers import LSTMLM
from genai_utils.language.transformer import Stack
from genai_utils.vision.maskgit import MaskGIT
from tests.no_wait import NoWait

CONFIG = GPTConfig(11, 8, 2, 2, 16)


def plain(config=CONFIG):
    torch.manual_seed(0)
    model = GPT(config).eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model


def ids(B=3, T=8, seed=0):
    return torch.randint(11, (B, T), generator=torch.Generator().manual_seed(seed))


# --- one stack for all


@pytest.mark.parametrize("causal", [True, False])
def test_a_stack_is_its_three_parts_and_looks_ahead_only_if_it_may(causal):
    torch.manual_seed(0)
    model, x = Stack(CONFIG, causal), ids()
    assert torch.equal(model(x), model.unembed(model.hidden(model.embed(x))))
    other = x.clone()
    other[:, -1] = (x[:, -1] + 1) % 11
    moved = (model(other) - model(x)).abs().amax(-1)[:, :-1]
    assert (moved == 0).all() if causal else (moved > 0).all()


def test_a_mask_says_who_sees_whom():
    model, x = Stack(CONFIG, causal=False), ids(1)
    causal = torch.ones(8, 8, dtype=torch.bool).tril()
    peer = GPT(CONFIG)
    peer.load_state_dict(model.state_dict())
    seen = model.unembed(model.hidden(model.embed(x), mask=causal))
    assert torch.allclose(seen, peer(x), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "further"),
    [(lambda: GPT(CONFIG), 0), (lambda: FillIn(CONFIG), 1), (lambda: MaskGIT(11, 2, 16, 2, 2), 1)],
    ids=["GPT", "FillIn", "MaskGIT"],
)
def test_the_models_keep_the_names_of_their_weights(make, further):
    model = make()
    assert isinstance(model, Stack)
    names = {name.split(".")[0] for name in model.state_dict()}
    assert names - {"near"} == {"tokens", "positions", "blocks", "norm"}
    assert model.tokens.weight.shape == (11 + further, 16)
    assert "blocks.1.attention.qkv.weight" in model.state_dict()
    assert "blocks.0.mlp.2.bias" in model.state_dict() and "norm.weight" in model.state_dict()


def test_first_weights_are_drawn_in_this_order():
    """Stored results hang on it: the tables, then block by block, what is added last again."""
    model = Stack(CONFIG, causal=True)
    torch.manual_seed(7)
    model = Stack(CONFIG, causal=True)
    torch.manual_seed(7)
    nn.Embedding(11, 16), nn.Embedding(8, 16)
    for _ in range(2):
        nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 64), nn.Linear(64, 16)
    normal = lambda *shape, std=0.02: nn.init.normal_(torch.empty(shape), std=std)  # noqa: E731
    assert torch.equal(model.tokens.weight, normal(11, 16))
    assert torch.equal(model.positions.weight, normal(8, 16))
    for block in model.blocks:
        assert torch.equal(block.attention.qkv.weight, normal(48, 16))
        normal(16, 16)
        assert torch.equal(block.mlp[0].weight, normal(64, 16))
        normal(16, 64)
        assert torch.equal(block.attention.out.weight, normal(16, 16, std=0.02 / math.sqrt(4)))
        assert torch.equal(block.mlp[2].weight, normal(16, 64, std=0.02 / math.sqrt(4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": 0}, "vocabulary: expected a whole number of at least 1"),
        ({"context": 2.0}, "context: expected a whole number"),
        ({"layers": 0}, "layers: expected"),
        ({"dim": "16"}, "dim: expected"),
        ({"heads": 3}, "dim: expected a multiple of heads"),
        ({"dropout": 1.0}, "dropout: expected"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        GPT(GPTConfig(**({"vocabulary": 11, "heads": 2, "dim": 16} | change)))


# --- surgery


class LowRank(nn.Module):
    """A linear layer, held still, plus a product of two thin matrices: LoRA."""

    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


PLACES = ["attention.qkv", "attention.out", "mlp.0", "mlp.2"]


@pytest.mark.parametrize("place", PLACES)
def test_a_linear_layer_of_each_block_can_be_replaced(place):
    model, x = plain(), ids()
    before, text = model(x), model.generate(x[:, :3], 9, temperature=0)
    model.requires_grad_(False)
    for block in model.blocks:
        parent, name = place.rsplit(".", 1)
        parent = block.get_submodule(parent)
        setattr(parent, name, LowRank(getattr(parent, name), 2))
    assert torch.allclose(model(x), before, atol=1e-6)  # it begins as what it was
    assert torch.equal(model.generate(x[:, :3], 9, temperature=0), text)  # with the cache too
    assert model.blocks[0].attention.weights(torch.randn(1, 4, 16)).shape == (1, 2, 4, 4)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(trained) == 4 and sum(p.numel() for p in trained) < 800
    optimizer, first = torch.optim.Adam(trained, 0.02), model.loss(x).item()
    for _ in range(30):
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()
    assert model.loss(x).item() < first - 0.1


def test_other_heads_stand_on_hidden():
    """A class of a text, and a value of each token, beside the next one."""
    model, x = plain(), ids(40)
    classes, value = nn.Linear(16, 3), nn.Linear(16, 1)
    h = model.hidden(model.embed(x))
    assert classes(h[:, -1]).shape == (40, 3) and value(h)[..., 0].shape == (40, 8)
    y = x[:, 0] % 3  # the first token says it, 7 places before the head
    optimizer = torch.optim.Adam([*model.parameters(), *classes.parameters()], 0.01)
    for _ in range(60):
        loss = F.cross_entropy(classes(model.hidden(model.embed(x))[:, -1]), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_a_stack_without_a_head_gives_vectors_of_texts():
    class Tower(Stack):
        def __init__(self):
            super().__init__(CONFIG, causal=True)
            self.project = nn.Linear(16, 5, bias=False)

        def forward(self, ids):
            return self.project(self.hidden(self.embed(ids))[:, -1])

    assert Tower()(ids()).shape == (3, 5)


# --- losses that parts ask for


def with_experts(weight=0.5):
    model = plain().train()
    for block in model.blocks:
        block.mlp = moe.MoE([copy.deepcopy(block.mlp) for _ in range(4)], 16, weight=weight)
        nn.init.normal_(block.mlp.router.weight)
    return model


def test_the_loss_adds_the_balance_of_every_mixture_once():
    model, x = with_experts(), ids(5, 9)
    loss = model.loss(x)
    balance = [block.mlp.seen.balance for block in model.blocks]
    text = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
    assert all(b > 1 for b in balance)
    assert loss.item() == pytest.approx((text + 0.5 * sum(balance)).item(), rel=1e-5)
    assert model.loss(x).item() == pytest.approx(loss.item(), rel=1e-6)  # not those of before
    pair = model.loss((x[:, :-1], x[:, 1:]))
    assert pair.item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_balance_reaches_the_router_and_no_graph_is_left_behind():
    model, x = with_experts(), ids(5, 9)
    model.loss(x).backward()
    both = model.blocks[1].mlp.router.weight.grad.clone()
    for block in model.blocks:
        block.mlp.weight = 0.0
        assert block.mlp.extra_loss is None and not block.mlp.seen.balance.requires_grad
    model.zero_grad()
    model.loss(x).backward()
    assert (both - model.blocks[1].mlp.router.weight.grad).abs().max() > 1e-4
    copy.deepcopy(model)  # an average of weights begins with a copy


def test_held_out_text_is_judged_by_the_text_alone():
    model, x = with_experts().eval(), ids(5, 9)
    text = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
    assert model.loss(x).item() == pytest.approx(text.item(), rel=1e-6)


class Asks(nn.Module):
    """A layer that wants its output to be small."""

    def forward(self, x):
        self.extra_loss = x.square().mean()
        return x


@pytest.mark.parametrize(
    ("make", "T"), [(lambda: GPT(CONFIG), 9), (lambda: FillIn(CONFIG), 8),
                    (lambda: MaskGIT(11, 2, 16, 2, 2), 4)], ids=["GPT", "FillIn", "MaskGIT"]
)  # fmt: skip
def test_every_stack_adds_what_its_parts_ask_for_and_waits_for_nothing(make, T):
    model, x = make(), ids(3, T)
    torch.manual_seed(1)
    before = model.loss(x)
    model.norm = nn.Sequential(model.norm, Asks())
    torch.manual_seed(1)
    with NoWait():
        after = model.loss(x)
        after.backward()
    assert 0.5 < (after - before).item() < 1.5  # after a layer norm the mean square is 1
    torch.manual_seed(1)
    model.norm = model.norm[0]
    assert torch.equal(model.loss(x), before)


# --- targets that do not count


def test_only_the_targets_that_count_are_learned():
    model, x = plain(), ids(4, 9)
    targets = x[:, 1:].masked_fill(torch.arange(8) < 5, -100)
    logits = model(x[:, :-1])
    nll = [-logits[b, t].log_softmax(-1)[targets[b, t]] for b in range(4) for t in (5, 6, 7)]
    assert model.loss((x[:, :-1], targets)).item() == pytest.approx(sum(nll).item() / 12, rel=1e-5)
    assert torch.equal(model.loss((x[:, :-1], x[:, 1:])), model.loss(x))


@pytest.mark.parametrize("make", [lambda: plain(), lambda: LSTMLM(11, 8)], ids=["GPT", "LSTM"])
def test_if_nothing_counts_the_loss_and_its_gradient_are_0_and_no_nan(make):
    model, x = make(), ids()
    with NoWait():
        loss = model.loss((x, torch.full_like(x, -100)))
        loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


def test_the_mean_is_that_of_torch_to_the_last_bit():
    g = torch.Generator().manual_seed(0)
    for B, T, V in ((3, 5, 7), (16, 64, 33), (2, 300, 1000)):
        logits = torch.randn(B, T, V, generator=g, requires_grad=True)
        targets = torch.randint(V, (B, T), generator=g)
        targets[torch.rand(B, T, generator=g) < 0.6] = -100
        ours = tokens.asked_nll(logits, targets)
        theirs = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        assert torch.equal(ours, theirs)
        a, b = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
        assert torch.equal(a, b)


@pytest.mark.parametrize("make", [lambda: plain(), lambda: LSTMLM(11, 8)], ids=["GPT", "LSTM"])
@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (ids() + 4, "batch: expected ids from 0 to 10"),
        ((ids() + 4, ids()), "ids: expected ids from 0 to 10"),
        ((ids(), ids() - 1), "targets: expected ids from 0 to 10, got -1"),
        ((ids(), ids() + 9), "targets: expected ids from 0 to 10"),
        ((ids(), ids(2)), r"batch: expected ids and targets of one shape, got \(3, 8\) and \(2, 8"),
        (torch.zeros(2, 3), "batch: expected a tensor of whole numbers"),
    ],
    ids=["ids", "ids of a pair", "negative target", "target", "shapes", "numbers"],
)
def test_a_batch_that_does_not_fit_is_refused(make, batch, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make().check_batch(batch)
    make().check_batch((ids(), ids().masked_fill(ids() > 3, -100)))


def test_a_batch_of_one_token_has_nothing_to_predict():
    """Its mean over no tokens would be NaN."""
    for model in (plain(), LSTMLM(11, 8)):
        with pytest.raises(ValueError, match="T of at least 1"):
            model.loss(ids(3, 1))
