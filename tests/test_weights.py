"""Exchange of weights by a table: both ways to the last bit, and every fault of a table named."""

import copy

import pytest
import torch
from torch import nn

from genai_utils.language import bert, gpt
from genai_utils.weights import Row, exchange


class Ours(nn.Module):
    """Two blocks with a fused matrix, a vector and a number of its own, a norm."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"qkv": nn.Linear(4, 12), "out": nn.Linear(4, 4)}) for _ in range(2)
        )
        self.norm = nn.LayerNorm(4)
        self.bias = nn.Parameter(torch.randn(5))
        self.scale = nn.Parameter(torch.randn(()))


class Theirs(nn.Module):
    """The same in three matrices; those of `o` turned round, and a table that is used twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleList(
            nn.ModuleDict({x: nn.Linear(4, 4) for x in ("q", "k", "v", "o")}) for _ in range(2)
        )
        self.ln = nn.LayerNorm(4)
        self.shift = nn.Parameter(torch.randn(5))
        self.factor = nn.Parameter(torch.randn(()))
        self.again = self.shift


TABLE = (
    Row("blocks.{i}.qkv", ("layer.{i}.q", "layer.{i}.k", "layer.{i}.v")),
    Row("blocks.{i}.out", "layer.{i}.o", transposed=True),
    Row("norm", "ln"),
    Row("scale", "factor"),
    Row("bias", "shift"),
)


def pair():
    torch.manual_seed(0)
    ours, theirs = Ours(), Theirs()
    for p in (*ours.parameters(), *theirs.parameters()):
        nn.init.normal_(p)
    return ours, theirs


def state(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_there_and_back_by_hand():
    ours, theirs = pair()
    before = state(theirs)
    exchange(ours, theirs, TABLE, to="theirs")
    for i, block in enumerate(ours.blocks):
        q, k, v = block["qkv"].weight.chunk(3)
        peer = theirs.layer[i]
        assert torch.equal(peer["q"].weight, q) and torch.equal(peer["v"].weight, v)
        assert torch.equal(peer["k"].bias, block["qkv"].bias[4:8])
        assert torch.equal(peer["o"].weight, block["out"].weight.T)
        assert torch.equal(peer["o"].bias, block["out"].bias)
    assert torch.equal(theirs.ln.weight, ours.norm.weight) and torch.equal(theirs.again, ours.bias)
    assert not any(torch.equal(before[name], p) for name, p in theirs.state_dict().items())
    other = Ours()
    exchange(other, theirs, TABLE, to="ours")
    assert same(other.state_dict(), ours.state_dict())


def test_the_weights_are_copies():
    ours, theirs = pair()
    exchange(ours, theirs, TABLE, to="ours")
    kept = state(theirs)
    nn.init.zeros_(ours.norm.weight)
    nn.init.zeros_(ours.blocks[0]["out"].weight)
    assert same(kept, theirs.state_dict())


def test_another_precision_is_rounded():
    ours, theirs = pair()
    theirs.half()
    exchange(ours, theirs, TABLE, to="ours")
    assert ours.norm.weight.dtype == torch.float32
    assert torch.equal(ours.norm.weight, theirs.ln.weight.float())


QKV = TABLE[0].theirs
FAULTS = [
    ([*TABLE, Row("head", "ln")], "'head'.*ours has nothing of that name"),
    (
        [Row("blocks.{i}.qkv", ("layer.{i}.query", *QKV[1:])), *TABLE[1:]],
        "theirs has no parameter 'layer.0.query.weight'",
    ),
    (TABLE[:-1], "leaves out of ours: bias"),
    ([*TABLE[:2], Row("norm", "ln"), Row("norm", "ln")], "'norm.weight' is in the table already"),
    (
        [Row("blocks.{i}.qkv", (*QKV[:2], QKV[0])), *TABLE[1:]],
        "'layer.0.q.weight' is in the table already",
    ),
    ([Row("bias", "again"), Row("norm.bias", "shift")], "'shift' is in .* already, as 'again'"),
    (
        [Row("blocks.{i}.qkv", QKV[:2]), *TABLE[1:]],
        r"our 'blocks.0.qkv.weight' has .* \(12, 4\), but theirs 'layer.0.q.weight' \(4, 4\)",
    ),
    ([Row("bias", "ln.weight"), *TABLE], r"our 'bias' .* \(5,\), but theirs 'ln.weight' \(4,\)"),
]


@pytest.mark.parametrize(("table", "message"), FAULTS, ids=range(len(FAULTS)))
@pytest.mark.parametrize("to", ["ours", "theirs"])
def test_a_table_that_does_not_fit_is_named_and_nothing_is_copied(table, message, to):
    ours, theirs = pair()
    before = state(ours), state(theirs)
    with pytest.raises(ValueError, match=message):
        exchange(ours, theirs, table, to)
    assert same(before[0], ours.state_dict()) and same(before[1], theirs.state_dict())


def test_what_they_have_and_we_do_not_is_named():
    ours, theirs = pair()
    theirs.head = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="leaves out of theirs: head.weight, head.bias"):
        exchange(ours, theirs, TABLE, to="ours")


def test_a_matrix_that_should_be_turned_round_is_noticed_by_its_shape():
    a, b = nn.ModuleDict({"x": nn.Linear(3, 5)}), nn.ModuleDict({"y": nn.Linear(5, 3, bias=False)})
    b.bias = nn.Parameter(torch.zeros(5))
    rows = lambda turned: (Row("x.weight", "y.weight", turned), Row("x.bias", "bias"))  # noqa: E731
    with pytest.raises(ValueError, match=r"\(5, 3\), but theirs 'y.weight' \(3, 5\)"):
        exchange(a, b, rows(False), to="ours")
    exchange(a, b, rows(True), to="ours")
    assert torch.equal(a["x"].weight, b["y"].weight.T)


def test_a_direction_is_needed():
    with pytest.raises(ValueError, match="to: expected one of 'ours', 'theirs', got 'both'"):
        exchange(*pair(), TABLE, to="both")


# --- the two tables of the book


def test_the_table_of_gpt_is_exact_both_ways():
    torch.manual_seed(1)
    model = gpt.GPT(gpt.GPTConfig(13, 9, 2, 2, 8)).eval()
    peer, ids = gpt.to_transformers(model), torch.randint(13, (3, 9))
    first = peer.transformer.h[1]
    assert torch.equal(first.attn.c_attn.weight, model.blocks[1].attention.qkv.weight.T)
    assert torch.equal(first.mlp.c_proj.bias, model.blocks[1].mlp[2].bias)
    assert same(gpt.from_transformers(peer).state_dict(), model.state_dict())
    assert (peer(ids).logits - model(ids)).abs().max() < 1e-5


def test_the_table_of_bert_is_exact_both_ways():
    torch.manual_seed(1)
    model = bert.PreTraining(bert.BERTConfig(13, 9, 2, 2, 8)).eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    peer, ids = bert.to_transformers(model), torch.randint(13, (3, 9))
    heads = peer.bert.encoder.layer[1].attention.self
    parts = torch.cat([part.weight for part in (heads.query, heads.key, heads.value)])
    assert torch.equal(parts, model.bert.blocks[1].attention.qkv.weight)
    assert same(bert.from_transformers(peer).state_dict(), model.state_dict())
    assert (peer(ids).prediction_logits - model(ids)[0]).abs().max() < 1e-5


def test_a_gpt_with_a_part_replaced_is_no_gpt2_and_says_so():
    model = gpt.GPT(gpt.GPTConfig(13, 9, 2, 2, 8))
    model.blocks[1].mlp[0] = nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 32))
    with pytest.raises(ValueError, match=r"leaves out of ours: blocks.1.mlp.0.0.weight"):
        gpt.to_transformers(model)
