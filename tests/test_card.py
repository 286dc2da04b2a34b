"""The pretended card: what it refuses, what it lets through, and that it leaves no trace."""

import copy
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from genai_utils.training import TensorBatches, fit
from tests.card import NAME, Card, on_card

ROOT = Path(__file__).parents[1]
TWO = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and"


@pytest.fixture
def card():
    with Card():
        yield torch.device("cuda")


def ids(device="cpu"):
    return torch.tensor([1, 0, 2]).to(device)


def there(*shape):
    return torch.ones(shape, device="cuda")


# What PyTorch refuses: the two families of each line are on different sides.
MIXED = {
    "sum": lambda: there(3) + torch.ones(3),
    "the other way round": lambda: torch.ones(3) + there(3),
    "a number of the card": lambda: torch.ones(3) + there(),
    "product": lambda: there(2, 3) @ torch.ones(3, 2),
    "comparison": lambda: there(3) == torch.ones(3),
    "where": lambda: torch.where(torch.ones(3) > 0, there(3), there(3)),
    "cat": lambda: torch.cat([there(3), torch.ones(3)]),
    "stack of numbers": lambda: torch.stack([there(), torch.ones(())]),
    "in place": lambda: there(3).add_(torch.ones(3)),
    "in place, the other": lambda: torch.ones(3).add_(there(3)),
    "into a number": lambda: torch.zeros(()).add_(there()),
    "out": lambda: torch.add(there(3), there(3), out=torch.ones(3)),
    "foreach": lambda: torch._foreach_add([there(3)], [torch.ones(3)]),
    "index_select": lambda: there(3).index_select(0, ids()),
    "gather": lambda: there(3).gather(0, ids()),
    "scatter": lambda: there(3).scatter(0, ids(), there(3)),
    "written at an index": lambda: there(3).index_put_((ids(),), torch.ones(3)),
    "embedding": lambda: nn.Embedding(3, 2).to("cuda")(ids()),
    "layer": lambda: nn.Linear(3, 2).to("cuda")(torch.ones(4, 3)),
    "input": lambda: nn.Linear(3, 2)(there(4, 3)),
    "convolution": lambda: nn.Conv2d(1, 2, 3).cuda()(torch.ones(1, 1, 4, 4)),
    "recurrent": lambda: nn.LSTM(3, 2).cuda()(torch.ones(4, 1, 3)),
    "target": lambda: F.cross_entropy(there(3, 4), ids()),
    "target of numbers": lambda: F.binary_cross_entropy_with_logits(there(3), torch.ones(3)),
    "mask": lambda: there(3).masked_fill(torch.ones(3) > 0, 0.0),
    "searchsorted": lambda: torch.searchsorted(there(3), torch.ones(2)),
    "attention": lambda: F.scaled_dot_product_attention(*3 * [there(1, 2, 4)], torch.ones(2, 2)),
}


@pytest.mark.parametrize("name", MIXED)
def test_an_operation_on_two_devices_is_refused_as_pytorch_does(card, name):
    with pytest.raises(RuntimeError, match=TWO):
        MIXED[name]()


def test_an_index_on_the_card_is_refused_where_the_tensor_is_not(card):
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        torch.ones(3)[ids("cuda")]


ALLOWED = {
    "a number of Python": lambda: there(3) + 1,
    "a number of the processor": lambda: there(3) + torch.tensor(2.0),
    "two numbers": lambda: there() + torch.tensor(2.0),
    "an index on the processor": lambda: there(3)[ids()],
    "a mask on the processor": lambda: there(3)[ids() > 0],
    "a list": lambda: there(3)[[0, 1]],
    "a number written": lambda: there(3).index_put_((ids(),), torch.tensor(2.0)),
    "copy": lambda: there(3).copy_(torch.ones(3)),
    "one_hot": lambda: F.one_hot(ids("cuda"), 4),
    "a random SVD": lambda: torch.svd_lowrank(there(6, 5), 2)[0],
    "a derivative": lambda: torch.func.jvp(torch.sin, (there(3),), (there(3),))[1],
    "a Jacobian": lambda: torch.func.vmap(torch.func.jacrev(torch.sin))(there(3)),
    "a decomposition": lambda: torch.linalg.eigh(torch.eye(3, device="cuda"))[0],
    "a sparse product": lambda: torch.eye(3).to_sparse().to("cuda") @ there(3, 2),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_pytorch_allows_is_done_and_stays_on_the_card(card, name):
    assert ALLOWED[name]().is_cuda


MAKE = {
    "zeros": lambda on: torch.zeros(3, **on),
    "randn": lambda on: torch.randn(3, **on),
    "arange": lambda on: torch.arange(3, **on),
    "tensor": lambda on: torch.tensor([1.0], **on),
    "as_tensor": lambda on: torch.as_tensor([1.0], **on),
    "asarray": lambda on: torch.asarray([1.0], **on),
    "as_tensor of an array": lambda on: torch.as_tensor(np.ones(3), **on),
    "full": lambda on: torch.full((2,), 3.0, **on),
    "eye": lambda on: torch.eye(2, **on),
    "randperm": lambda on: torch.randperm(4, **on),
    "linspace": lambda on: torch.linspace(0, 1, 3, **on),
    "layer": lambda on: nn.Linear(2, 2, **on).weight,
}


@pytest.mark.parametrize("name", MAKE)
def test_what_is_made_is_where_it_was_asked_for(card, name):
    assert MAKE[name]({"device": "cuda"}).is_cuda and not MAKE[name]({}).is_cuda
    assert not MAKE[name]({"device": "cpu"}).is_cuda
    if "tensor" not in name and name != "asarray":
        with card:
            assert MAKE[name]({}).is_cuda


def test_what_is_made_like_another_is_where_that_is(card):
    x = there(3)
    for like in (torch.zeros_like(x), torch.randn_like(x), x.new_zeros(2), x.new_tensor([1.0])):
        assert like.is_cuda
    for other in (torch.zeros_like(x, device="cpu"), x.new_zeros(2, device="cpu")):
        assert not other.is_cuda
    assert torch.zeros_like(torch.ones(3), device=x.device).is_cuda


def test_the_device_is_told_everywhere(card):
    x, y = there(3), torch.ones(3)
    assert x.device == torch.device("cuda", 0) and y.device == torch.device("cpu")
    assert (x.is_cuda, x.is_cpu, x.get_device()) == (True, False, 0)
    assert (y.is_cuda, y.is_cpu, y.get_device()) == (False, True, -1)
    assert "cuda:0" in repr(x) and "cuda" not in repr(y)
    assert nn.Linear(2, 2).to(x.device).bias.device == x.device


def test_copies_change_the_side_and_nothing_else(card):
    x = torch.arange(6.0).view(2, 3).T
    here = x.to("cuda")
    assert here.is_cuda and not x.is_cuda and here.stride() == x.stride()
    assert here.to("cuda") is here and here.to(card, torch.float32) is here and x.to("cpu") is x
    assert here.cuda() is here and x.cpu() is x and here.to(here) is here
    for back in (here.cpu(), here.to("cpu"), here.to(x), here.to(device="cpu"), here.to(x.device)):
        assert torch.equal(back, x) and not back.is_cuda
    assert here.to(torch.float64).is_cuda and here.double().half().is_cuda
    assert not here.to("cpu", torch.float16, non_blocking=True).is_cuda
    assert x.to("cuda", copy=True).add_(1).sum() == 21 and x.sum() == 15
    assert x.to(there(1).double()).dtype == torch.float64 and x.to(there(1)).is_cuda


def test_numpy_gets_nothing_from_the_card(card):
    x = there(3)
    for read in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.array([x, x])):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            read()
    assert x.cpu().numpy().sum() == 3 and x.tolist() == [1, 1, 1] and float(x.sum()) == 3


def test_the_mark_stays_with_the_memory(card):
    x = there(4, 4)
    for view in (x[1:], x.T, x.flatten(), x.detach(), x.unsqueeze(0).expand(3, 4, 4), x.data):
        assert view.is_cuda
    y = x[0]
    del x
    assert y.is_cuda and y.mul_(2).is_cuda
    for _ in range(300):  # memory of the card is given free and used again
        there(4, 4)
        assert not torch.ones(4, 4).is_cuda
    for twin in (copy.deepcopy(y), copy.copy(y), y.clone()):
        assert twin.is_cuda
    layer = nn.BatchNorm1d(3).to("cuda")
    assert all(t.is_cuda for t in copy.deepcopy(layer).state_dict().values())
    gc.collect()


def test_gradients_are_where_their_weights_are(card):
    layer, w = nn.Linear(3, 2).to("cuda"), torch.ones(3, requires_grad=True)
    q, _ = layer(w.to("cuda") * there(5, 3)).chunk(2, 1)  # one half is not used
    q.mean().backward()
    assert layer.weight.grad.is_cuda and not w.grad.is_cuda and w.grad.abs().sum() > 0
    first, second, _ = there(3, 4).requires_grad_().unbind()
    (first + second).sum().backward()


def test_no_gradient_reaches_a_weight_that_was_left_behind(card):
    model = nn.Sequential(nn.Linear(3, 3).to("cuda"), nn.Linear(3, 1))
    with pytest.raises(RuntimeError, match=TWO):
        model(there(2, 3))


@pytest.mark.parametrize("how", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
def test_optimisers_step_on_the_card(card, how):
    layer = nn.Linear(3, 2).to("cuda")
    before = layer.weight.detach().clone()
    for kind in (torch.optim.AdamW, torch.optim.SGD):
        optimizer = kind(layer.parameters(), lr=0.1, **how)
        layer(there(4, 3)).square().mean().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
    assert layer.weight.is_cuda and (layer.weight != before).any()
    assert all(m.is_cuda for s in optimizer.state.values() for m in s.values() if m is not None)


def test_a_generator_serves_its_own_side(card):
    here, g = torch.Generator("cuda"), torch.Generator()
    assert here.device == torch.device("cuda", 0) and g.device.type == "cpu"
    assert isinstance(here, torch.Generator) and isinstance(g, torch.Generator)
    one, two = (torch.rand(3, generator=here.manual_seed(4), device=card) for _ in "ab")
    assert torch.equal(one, two) and one.is_cuda
    assert torch.rand(3, generator=g.manual_seed(4)).tolist() == one.tolist()
    for generator, device, words in ((g, "cuda", "'cuda' device .* 'cpu'"), (here, "cpu", "'cpu'")):
        with pytest.raises(RuntimeError, match=f"Expected a {words}"):
            torch.rand(3, generator=generator, device=device)
        with pytest.raises(RuntimeError, match=f"Expected a {words}"):
            torch.ones(3, device=device).multinomial(1, generator=generator)
        with pytest.raises(RuntimeError, match=f"Expected a {words}"):
            torch.ones(3, device=device).normal_(generator=generator)
    del here
    assert torch.rand(2, generator=torch.Generator()).shape == (2,)


def test_autocast_of_the_card_computes_in_half_precision(card):
    layer = nn.Linear(3, 2).to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert layer(there(1, 3)).dtype == torch.bfloat16
    with torch.autocast("cuda", enabled=False):
        assert layer(there(1, 3)).dtype == torch.float32


def test_the_card_can_be_asked_for(card):
    assert torch.cuda.is_available() and torch.cuda.device_count() == 1
    assert torch.cuda.get_device_name() == NAME and torch.cuda.current_device() == 0
    assert torch.cuda.max_memory_allocated() == 0 and len(torch.cuda.get_device_capability()) == 2
    torch.cuda.synchronize(), torch.cuda.manual_seed_all(3), torch.cuda.empty_cache()
    torch.cuda.set_rng_state(torch.cuda.get_rng_state())
    with torch.random.fork_rng(devices=[0]), torch.cuda.device(0):
        torch.manual_seed(0)
    assert Accelerator().device.type == "cuda" and not there(1).is_pinned()
    assert torch.ones(3).pin_memory().to("cuda", non_blocking=True).is_cuda


class Toy(nn.Module):
    def __init__(self, waits=False):
        super().__init__()
        self.layer, self.waits = nn.Linear(3, 1), waits

    def loss(self, x):
        if self.waits and x.sum() > -1:
            x = x * 1
        return self.layer(x).square().mean()


@pytest.mark.parametrize("graph", [False, True])
def test_fit_trains_on_the_card(card, graph):
    batches = TensorBatches(torch.rand(20, 3), batch_size=5)
    done = fit(Toy(), batches, 8, graph=graph, ema=0.9, clip=1.0, progress=False)
    assert all(p.is_cuda for p in (*done.model.parameters(), *done.ema_model.parameters()))


def test_a_training_is_cut_short_wherever_fit_was_imported():
    """In a process of its own, as in a notebook's kernel: it stays so."""
    code = """if True:
        import torch
        from genai_utils import training
        from genai_utils.training import TensorBatches, fit
        from tests import card
        from tests.test_card import Toy
        card.train_shortly()
        from genai_utils.training import fit as later
        for one in (fit, later, training.fit, training.loop.fit):
            batches = TensorBatches(torch.rand(20, 3), batch_size=5)
            for steps, warmup, asked in ((500, 100, card.STEPS), (3, 2, 3)):
                options = dict(warmup=warmup, look=lambda model, step: {}, progress=False)
                assert one(Toy(), batches, steps, **options).looks["step"][-1] == asked
        kept = []
        fit(Toy(), batches, 500, look=lambda model, step: kept.append(step) or {}, looks=3,
            progress=False)
        assert set(kept) >= {0, 250, 500}, kept  # what is kept by its step is there
        print("short")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "short\n", done.stderr


def test_a_step_that_is_to_be_a_graph_may_not_wait(card):
    batches = TensorBatches(torch.rand(20, 3), batch_size=5, device=card)
    fit(Toy(waits=True), batches, 3, progress=False)
    with pytest.raises(AssertionError, match="waits for the card"):
        fit(Toy(waits=True), batches, 3, graph=True, progress=False)


def test_it_leaves_no_trace():
    names = ("Generator", "tensor", "as_tensor", "asarray")
    before = {name: getattr(torch, name) for name in names}
    device = Accelerator().device
    with Card():
        x = torch.ones(3, device="cuda")
    assert {name: getattr(torch, name) for name in names} == before
    assert x.device.type == "cpu" and x.numpy().sum() == 3 and on_card(x)
    assert not torch.cuda.is_available() and Accelerator().device == device
    assert "device" not in vars(torch.Tensor) and "to" not in vars(torch.Tensor)
    with pytest.raises((RuntimeError, AssertionError)):
        torch.ones(3).to("cuda")


def test_it_keeps_the_choice_of_accelerate(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with Card():
        assert "ACCELERATE_USE_CPU" not in os.environ
        os.environ["ACCELERATE_USE_CPU"] = "false"
    assert os.environ["ACCELERATE_USE_CPU"] == "true"
