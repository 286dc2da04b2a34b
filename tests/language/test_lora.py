"""LoRA: the start, the sum, merging, several adapters, files, what is trained, peft's numbers."""

import copy
import json

import pytest
import safetensors.torch
import torch
from torch import nn

from benchmarks import lora as benchmark
from genai_utils.language import adapter_files, lora
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import WindowBatches, fit

close = torch.testing.assert_close


def gpt(seed=0, **sizes):
    """A GPT with weights far from the start, so that logits differ."""
    torch.manual_seed(seed)
    model = GPT(
        GPTConfig(**({"vocabulary": 11, "context": 16, "layers": 2, "heads": 2, "dim": 16} | sizes))
    )
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    return model.eval()


def trained(model, seed=1):
    """Adapters that are on get numbers, as if they had been trained."""
    torch.manual_seed(seed)
    for p in model.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=0.3)
    return model


@pytest.fixture
def ids():
    return torch.randint(11, (3, 12), generator=torch.Generator().manual_seed(3))


# --- the sum -------------------------------------------------------------------------------------


def test_the_sum_is_that_of_the_matrix(ids):
    g = torch.Generator().manual_seed(0)
    x, W, b = (torch.randn(*s, generator=g) for s in ((2, 3, 5), (7, 5), (7,)))
    A, B = torch.randn(2, 5, generator=g), torch.randn(7, 2, generator=g)
    close(lora.low_rank_linear(x, W, b, A, B, 6.0), x @ (W + 3 * B @ A).T + b)
    close(lora.low_rank_linear(x, W, None, A, B, 6.0), x @ (W + 3 * B @ A).T)


def test_the_layer_computes_the_function(ids):
    layer = lora.LoRALinear(nn.Linear(5, 7))
    layer.add("one", 2, 6.0)
    nn.init.normal_(layer.B["one"])
    layer.strength = {"one": 1.0}
    x = torch.randn(3, 5)
    wanted = lora.low_rank_linear(
        x, layer.base.weight, layer.base.bias, layer.A["one"], layer.B["one"], 6.0
    )
    close(layer(x), wanted)
    close(layer.update("one"), 3 * layer.B["one"] @ layer.A["one"])
    assert torch.linalg.matrix_rank(layer.update("one")) == 2


def test_the_size_of_an_adapter_is_that_of_its_weights():
    model = lora.add_adapter(gpt(), "one", 3)
    shapes = [layer.base.weight.shape for layer in lora.lora_layers(model).values()]
    moved, every = lora.trainable(model)
    assert moved == lora.adapter_size(shapes, 3) == 2 * 3 * 16 * (4 + 2 + 5 + 5)
    assert every == sum(p.numel() for p in gpt().parameters())
    for rank in (0, 17):
        with pytest.raises(ValueError, match=f"got {rank}"):
            lora.adapter_size(shapes, rank)


# --- the start -----------------------------------------------------------------------------------


def test_at_the_start_nothing_changes_to_the_last_bit(ids):
    model, wanted = gpt(), gpt()(ids)
    lora.add_adapter(model, "one", 4)
    assert torch.equal(model(ids), wanted)
    for layer in lora.lora_layers(model).values():
        assert (layer.B["one"] == 0).all() and layer.A["one"].std() > 0


def test_the_first_gradient_is_that_of_b_alone(ids):
    model = lora.add_adapter(gpt(), "one", 2)
    model.loss(ids).backward()
    for layer in lora.lora_layers(model).values():
        assert (layer.A["one"].grad == 0).all() and layer.B["one"].grad.abs().sum() > 0
        assert layer.base.weight.grad is None


def test_a_generator_decides_the_first_numbers_and_a_has_variance_one_over_n():
    made = []
    for _ in range(2):
        model = gpt(dim=64)
        lora.add_adapter(model, "one", 16, generator=torch.Generator().manual_seed(5))
        made.append(lora.lora_layers(model)["blocks.0.mlp.2"].A["one"])
    assert torch.equal(*made)
    assert made[0].var().item() == pytest.approx(1 / 256, rel=0.1)


def test_gpt_itself_is_as_before(ids):
    """The same weights from the same seed, and no name in it that LoRA brought."""
    torch.manual_seed(7)
    first = GPT(GPTConfig(11, 16, 2, 2, 16)).state_dict()
    torch.manual_seed(7)
    lora.add_adapter(copy.deepcopy(gpt()), "one", 2)
    torch.manual_seed(7)
    again = GPT(GPTConfig(11, 16, 2, 2, 16)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


# --- training ------------------------------------------------------------------------------------


def test_training_moves_the_adapter_and_nothing_else(ids):
    model = lora.add_adapter(gpt(), "one", 2)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    text = torch.randint(11, (300,), generator=torch.Generator().manual_seed(0))
    result = fit(model, WindowBatches(text, 13, 4), 5, lr=1e-2, progress=False)
    moved = {n for n, p in result.model.state_dict().items() if not torch.equal(p, before[n])}
    assert moved == {n for n in before if ".A.one" in n or ".B.one" in n}
    lora.switch(result.model, None)
    close(result.model(ids), gpt()(ids), rtol=0, atol=0)


def test_it_learns_what_full_training_learns_where_one_rank_is_enough():
    """The target is the base plus a sum of rank 1 in each matrix."""
    target, model = trained(lora.add_adapter(gpt(), "one", 1)), gpt()
    lora.switch(target, "one").requires_grad_(False)
    g = torch.Generator().manual_seed(0)
    prompts = torch.randint(11, (256, 1), generator=g)
    text = target.generate(prompts, 12, generator=g)
    lora.add_adapter(model, "mine", 1)
    start, best = model.loss(text).item(), target.loss(text).item()
    fit(model, lambda step: text, 150, lr=3e-2, progress=False)
    assert model.loss(text).item() < best + 0.2 * (start - best)


def test_what_training_keeps_is_counted():
    model = gpt()
    optimiser = torch.optim.Adam(model.parameters())
    model.loss(torch.zeros(2, 5, dtype=torch.long)).backward()
    optimiser.step()
    found = lora.training_bytes(model)
    state = optimiser.state.values()
    kept = sum(t.numel() * 4 for s in state for name, t in s.items() if name != "step")
    assert found["optimiser"] == kept
    assert found["weights"] == found["gradients"] == 4 * sum(p.numel() for p in model.parameters())
    small = lora.training_bytes(lora.add_adapter(gpt(), "one", 1))
    assert small["optimiser"] == 2 * small["gradients"] == 8 * 2 * 16 * 16
    assert small["all"] == small["weights"] + small["gradients"] + small["optimiser"]


# --- merged --------------------------------------------------------------------------------------


def test_merged_weights_give_the_same_logits_and_unmerging_is_exact(ids):
    model = trained(lora.add_adapter(gpt(), "one", 3))
    beside, first = model(ids), model.blocks[0].mlp[0].base.weight.clone()
    assert (beside - gpt()(ids)).abs().max() > 0.1
    lora.merge(model)
    close(model(ids), beside, rtol=0, atol=1e-5)
    assert not torch.equal(model.blocks[0].mlp[0].base.weight, first)
    lora.unmerge(model)
    assert torch.equal(model.blocks[0].mlp[0].base.weight, first)
    assert torch.equal(model(ids), beside)


def test_merging_twice_or_switching_while_merged_is_refused(ids):
    model = trained(lora.add_adapter(gpt(), "one", 3))
    with pytest.raises(ValueError, match="expected merged adapters, got none"):
        lora.unmerge(model)
    lora.merge(model)
    for act in (lora.merge, lambda m: lora.switch(m, None), lambda m: lora.add_adapter(m, "b", 1)):
        with pytest.raises(ValueError, match=r"unmerge\(model\) first"):
            act(model)


def test_a_plain_copy_is_a_gpt_like_any_other(ids):
    model = trained(lora.add_adapter(gpt(), "one", 3))
    for made in (lora.plain(model), lora.plain(lora.merge(copy.deepcopy(model)))):
        assert made.state_dict().keys() == gpt().state_dict().keys()
        assert all(p.requires_grad for p in made.parameters())
        close(made(ids), model(ids), rtol=0, atol=1e-5)
    assert torch.equal(lora.plain(lora.switch(model, None))(ids), gpt()(ids))


# --- several -------------------------------------------------------------------------------------


def test_several_adapters_on_one_base_are_switched_by_name(ids):
    model = trained(lora.add_adapter(gpt(), "one", 2), 1)
    trained(lora.add_adapter(model, "two", 3, alpha=4.0, targets=("mlp.0",)), 2)
    assert lora.adapters(model) == ["one", "two"]
    alone = {}
    for name, seed, rest in (("one", 1, {}), ("two", 2, {"alpha": 4.0, "targets": ("mlp.0",)})):
        rank = 2 if name == "one" else 3
        alone[name] = trained(lora.add_adapter(gpt(), name, rank, **rest), seed)(ids)
        close(lora.switch(model, name)(ids), alone[name])
    assert torch.equal(lora.switch(model, None)(ids), gpt()(ids))
    close(lora.switch(model, {"one": 0.0, "two": 1.0})(ids), alone["two"])


def test_strengths_scale_the_sum(ids):
    model = trained(lora.add_adapter(gpt(), "one", 2))
    half = lora.plain(lora.switch(model, {"one": 0.5})).blocks[1].attention.qkv.weight
    whole = lora.plain(lora.switch(model, "one")).blocks[1].attention.qkv.weight
    none = gpt().blocks[1].attention.qkv.weight
    close(half, (whole + none) / 2)


def test_only_what_is_on_can_be_trained():
    model = lora.add_adapter(lora.add_adapter(gpt(), "one", 2), "two", 2)
    on = lambda: {n for n, p in model.named_parameters() if p.requires_grad}  # noqa: E731
    assert on() and all(name.endswith(".two") for name in on())
    lora.switch(model, ["one", "two"])
    assert {name.rpartition(".")[2] for name in on()} == {"one", "two"}
    lora.switch(model, None)
    assert not on()


def test_generation_with_a_cache_uses_the_adapter():
    model = trained(lora.add_adapter(gpt(), "one", 2))
    start = torch.tensor([1, 2])
    made = [model.generate(start, 12, temperature=0, cache=cache) for cache in (True, False)]
    assert torch.equal(*made)
    assert not torch.equal(made[0], gpt().generate(start, 12, temperature=0))


# --- files ---------------------------------------------------------------------------------------


def test_an_adapter_goes_through_a_file(ids, tmp_path):
    model = trained(
        lora.add_adapter(gpt(), "one", 2, alpha=5.5, targets=("mlp.2", "attention.out"))
    )
    path = adapter_files.save_adapter(model, "one", tmp_path / "new" / "one.safetensors")
    assert [p.name for p in path.parent.iterdir()] == ["one.safetensors"]
    assert path.stat().st_size < 4 * lora.trainable(model)[0] + 1_500
    other = adapter_files.load_adapter(gpt(), "again", path)
    assert lora.adapters(other) == ["again"]
    assert torch.equal(other(ids), model(ids))


def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(ids, tmp_path):
    model = trained(lora.add_adapter(gpt(), "one", 2))
    path = adapter_files.save_adapter(model, "one", tmp_path / "one.safetensors")
    for other, words in ((gpt(dim=32), "it was trained on"), (gpt(layers=3), "3 blocks")):
        wanted = other(ids)
        with pytest.raises(ValueError, match=words):
            adapter_files.load_adapter(other, "one", path)
        assert not lora.lora_layers(other) and torch.equal(other(ids), wanted)
    (tmp_path / "junk").write_bytes(b"no adapter")
    with pytest.raises(ValueError, match="a file of save_adapter"):
        adapter_files.load_adapter(gpt(), "one", tmp_path / "junk")
    with pytest.raises(OSError):
        adapter_files.load_adapter(gpt(), "one", tmp_path / "none")
    with pytest.raises(ValueError, match="one of one, got 'two'"):
        adapter_files.save_adapter(model, "two", tmp_path / "two")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {key: m for key, m in t.items() if key.endswith(".A")},
        lambda t: {key: m if key.endswith(".A") else m[:, :1] for key, m in t.items()},
        lambda t: {key.replace(".A", ".C"): m for key, m in t.items()},
        lambda t: {key.replace("mlp.0", "mlp.9"): m for key, m in t.items()},
        lambda t: {key: m.sum() for key, m in t.items()},
    ],
    ids=["no B", "B of another rank", "no A", "no such part", "no matrices"],
)
def test_a_file_that_is_not_quite_an_adapter_is_refused(ids, tmp_path, change):
    model = lora.add_adapter(gpt(), "one", 2)
    tensors = safetensors.torch.load_file(
        adapter_files.save_adapter(model, "one", tmp_path / "one.safetensors")
    )
    changed = {key: t.contiguous() for key, t in change(tensors).items()}
    safetensors.torch.save_file(changed, tmp_path / "other", {"alpha": "16.0"})
    fresh = gpt()
    with pytest.raises(ValueError, match="path: expected an adapter for"):
        adapter_files.load_adapter(fresh, "one", tmp_path / "other")
    assert not lora.lora_layers(fresh)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    model = lora.add_adapter(gpt(), "one", 2)
    path = adapter_files.save_adapter(model, "one", tmp_path / "one.safetensors")
    before = path.read_bytes()

    def broken(file, content):
        file.write_bytes(content[:20])
        raise OSError("no space left")

    monkeypatch.setattr(adapter_files, "write_file", broken)
    with pytest.raises(OSError, match="no space left"):
        adapter_files.save_adapter(trained(model), "one", path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "a b"}, "a word"),
        ({"name": 3}, "a word"),
        ({"rank": 0}, "rank: expected a whole number from 1 to 16, got 0"),
        ({"rank": 17}, "rank: expected a whole number from 1 to 16, got 17"),
        ({"rank": 2.5}, "rank"),
        ({"alpha": 0}, "alpha"),
        ({"targets": ("mlp.1",)}, "linear layers of a block"),
        ({"targets": ("mlp.7",)}, "linear layers of a block"),
        ({"targets": "mlp.0"}, r"put it into a tuple"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(arguments, words):
    model = gpt()
    with pytest.raises((ValueError, TypeError), match=words):
        lora.add_adapter(model, **({"name": "one", "rank": 2} | arguments))
    assert not lora.lora_layers(model) and all(p.requires_grad for p in model.parameters())


def test_names_are_checked():
    model = lora.add_adapter(gpt(), "one", 2)
    with pytest.raises(ValueError, match="one that no adapter has"):
        lora.add_adapter(model, "one", 2)
    with pytest.raises(ValueError, match=r"adapters of this model \(one\), got two"):
        lora.switch(model, ["one", "two"])
    with pytest.raises(ValueError, match="strength of one"):
        lora.switch(model, {"one": float("nan")})
    assert lora.lora_layers(model)["blocks.0.mlp.0"].strength == {"one": 1.0}


# --- peft ----------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_peft():
    """Logits, gradients, five steps and merged weights, as stored by benchmarks/lora.py."""
    stored = json.loads(benchmark.STORED.read_text(encoding="utf-8"))
    assert f"peft=={stored['peft']}" in benchmark.STORED.with_name("requirements.txt").read_text()
    for name, found in benchmark.ours().items():
        close(torch.tensor(found), torch.tensor(stored[name]), rtol=0, atol=1e-8)
    assert stored["losses"][-1] < stored["losses"][0] - 0.005
