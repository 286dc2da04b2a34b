"""Muon: nearly orthogonal steps, equal to PyTorch's own where it has one."""

import copy

import pytest
import torch

from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import Muon, WindowBatches, adamw, fit, muon_groups
from genai_utils.training.optimizers import orthogonal


def model_and_text():
    torch.manual_seed(0)
    return GPT(GPTConfig(11, 16, 2, 2, 32)), torch.randint(11, (24,)).repeat(4)


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_singular_values_come_close_to_one_and_directions_stay(shape):
    G = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    U, S, V = torch.linalg.svd(G, full_matrices=False)
    U2, S2, V2 = torch.linalg.svd(orthogonal(1000 * G), full_matrices=False)
    assert S2.min() > 0.6 and S2.max() < 1.25
    near = U.T @ orthogonal(G) @ V.T  # diagonal in the old directions
    assert (near - torch.diag(near.diagonal())).abs().max() < 1e-9


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_steps_are_those_of_pytorch():
    ours, text = model_and_text()
    theirs = copy.deepcopy(ours)
    matrices = [p for p in theirs.blocks.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in theirs.parameters() if id(p) not in chosen]
    one = [Muon(muon_groups(ours, ours.blocks), 0.01)]
    two = [
        torch.optim.Muon(matrices, 0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, 0.01, (0.9, 0.95), weight_decay=0),
    ]
    before = copy.deepcopy(ours)
    batches = WindowBatches(text, 17, 4)
    for step in range(3):
        for model, optimizers in ((ours, one), (theirs, two)):
            model.zero_grad()
            model.loss(batches(step)).backward()
            for optimizer in optimizers:
                optimizer.step()
    for a, b, c in zip(ours.parameters(), theirs.parameters(), before.parameters(), strict=True):
        assert (a - b).norm() < 0.15 * (a - c).norm() + 1e-7  # PyTorch's steps are in bfloat16


def test_without_a_gradient_matrices_only_shrink():
    model, _ = model_and_text()
    before = copy.deepcopy(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    Muon(muon_groups(model, model.blocks), lr=0.1, weight_decay=0.5).step()
    for (name, a), b in zip(model.named_parameters(), before.parameters(), strict=True):
        factor = 0.95 if name.startswith("blocks") and a.ndim == 2 else 1.0
        assert torch.allclose(a, factor * b), name


def test_the_step_looks_ahead_along_the_new_gradient():
    model, _ = model_and_text()
    p = model.blocks[0].mlp[0].weight
    groups = muon_groups(model, model.blocks)
    optimizer = Muon(groups, lr=0.1, weight_decay=0.0, momentum=0.9)
    before = p.detach().clone()
    g = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, *p.shape, generator=g)
    mean = 0.1 * first
    p.grad = first.clone()
    optimizer.step()
    step = 0.2 * max(p.shape) ** 0.5 * 0.1
    assert torch.allclose(before - p, step * orthogonal(first), atol=1e-5)
    before = p.detach().clone()
    p.grad = second.clone()
    optimizer.step()
    mean = 0.9 * mean + 0.1 * second
    assert torch.allclose(before - p, step * orthogonal(0.9 * mean + 0.1 * second), atol=1e-5)


def test_fit_learns_by_it_and_goes_on_after_a_stop(tmp_path):
    whole, text = model_and_text()
    how = {"lr": 1.0, "schedule": "constant", "progress": False}
    batches = WindowBatches(text, 17, 8)
    fit(whole, batches, 60, optimizer=Muon(muon_groups(whole, whole.blocks), 0.01), **how)
    assert whole.loss(text[None, :17]).item() < 0.5

    class Stopping:
        last = 30

        def __repr__(self):
            return "the same batches, whenever they stop"

        def __call__(self, step):
            if step == self.last:
                raise KeyboardInterrupt
            return batches(step)

    stopping, how = Stopping(), how | {"checkpoint": tmp_path, "every": 10}
    stopped, _ = model_and_text()
    groups = muon_groups(stopped, stopped.blocks)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, stopping, 60, optimizer=Muon(groups, 0.01), **how)
    again, _ = model_and_text()
    stopping.last = 60
    fit(again, stopping, 60, optimizer=Muon(muon_groups(again, again.blocks), 0.01), **how)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_groups_are_the_matrices_of_the_blocks_and_the_rest():
    model, _ = model_and_text()
    model.positions.weight.requires_grad_(False)
    matrices, rest = muon_groups(model, model.blocks)
    inside = {p for p in model.blocks.parameters() if p.ndim == 2}
    assert set(matrices["params"]) == inside and matrices["muon"]
    trained = {p for p in model.parameters() if p.requires_grad}
    assert set(rest["params"]) == trained - inside and rest["weight_decay"] == 0


def test_a_kernel_moves_as_the_matrix_that_multiplies_patches():
    g = torch.Generator().manual_seed(2)
    start, slopes = torch.randn(6, 4, 3, 3, generator=g), torch.randn(2, 6, 4, 3, 3, generator=g)
    moved = []
    for shape in ((6, 4, 3, 3), (6, 36)):
        p = torch.nn.Parameter(start.reshape(shape).clone())
        optimizer = Muon([{"params": [p], "muon": True}], lr=0.1)
        for slope in slopes:
            p.grad = slope.reshape(shape).clone()
            optimizer.step()
        moved.append(p.detach().reshape(6, 36))
    assert torch.equal(*moved) and (moved[0] - start.flatten(1)).norm() > 0.1


def test_groups_of_a_network_of_convolutions():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 3))
    kernels, rest = muon_groups(net, net[1])
    assert [p.shape for p in kernels["params"]] == [(4, 4, 3, 3)] and len(rest["params"]) == 3


def test_groups_that_make_no_sense():
    model, _ = model_and_text()
    with pytest.raises(ValueError, match="blocks: .* got LayerNorm with none; pass model.blocks"):
        muon_groups(model, model.norm)
    with pytest.raises(ValueError, match=r"matrices only, got a weight of shape \(11,\)"):
        Muon([{"params": [torch.nn.Parameter(torch.zeros(11))], "muon": True}], 0.1)
    with pytest.raises(ValueError, match="muon_groups makes one"):
        Muon([{"params": [torch.nn.Parameter(torch.zeros(3, 2))]}], 0.1)


def test_adamw_spares_biases_and_norms():
    layer = torch.nn.Linear(3, 2)
    before = copy.deepcopy(layer)
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    adamw(layer.parameters(), lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(layer.weight, 0.95 * before.weight)
    assert torch.equal(layer.bias, before.bias)


def test_a_gradient_of_zero_moves_nothing_but_the_decay():
    zeros = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(orthogonal(zeros), torch.zeros(3, 5, dtype=torch.float64))
    (slope,) = torch.autograd.grad(orthogonal(zeros).sum(), zeros)
    assert torch.isfinite(slope).all()
    for p in (torch.nn.Parameter(torch.ones(3, 5)), torch.nn.Parameter(torch.zeros(3, 5))):
        p.grad = torch.zeros(3, 5)
        before = p.detach().clone()
        Muon([{"params": [p], "muon": True}], lr=0.1, weight_decay=0.5).step()
        assert torch.allclose(p, before * (1 - 0.1 * 0.5))
