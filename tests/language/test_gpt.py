"""GPT: causal to the last bit, equal to transformers' GPT-2, the same with and without cache."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

from genai_utils.language import gpt
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import WindowBatches, adamw, fit, trapezoid


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small(scale=0.3, **sizes):
    """A GPT whose logits differ clearly from token to token."""
    torch.manual_seed(0)
    sizes = {"vocabulary": 11, "context": 8, "layers": 2, "heads": 2, "dim": 16} | sizes
    model = GPT(GPTConfig(**sizes)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=scale)
    return model


def tokens(*shape, seed=0, vocabulary=11):
    return torch.randint(vocabulary, shape, generator=generator(seed))


# ---- the model -----------------------------------------------------------------------------------


def test_forward_is_its_three_parts_and_knows_the_shapes():
    model, ids = small(), tokens(3, 7)
    logits = model(ids)
    assert logits.shape == (3, 7, 11)
    assert torch.equal(logits, model.unembed(model.hidden(model.embed(ids))))


def test_no_logit_depends_on_a_later_token():
    model, ids = small(), tokens(1, 6)
    x = model.embed(ids).detach()
    J = torch.autograd.functional.jacobian(lambda x: model.unembed(model.hidden(x)), x)
    size = J[0, :, :, 0].abs().amax((1, 3))  # (T out, T in)
    later = torch.ones(6, 6).triu(1).bool()
    assert (size[later] == 0).all()
    assert (size[~later] > 1e-4).all()


def test_it_is_a_decoder_without_cross_attention():
    names = [name for name, _ in small().named_parameters()]
    assert not [n for n in names if "cross" in n or "encoder" in n]
    assert "positions.weight" in names  # learned
    block = small().blocks[0]
    assert block.norm == "pre" and block.attention.causal
    assert sum("attention.qkv.weight" in n for n in names) == 2  # one attention for each block


def test_gpt2_small_has_the_weights_that_everybody_counts():
    with torch.device("meta"):
        model = GPT(GPTConfig(50257, 1024, 12, 12, 768))
    assert sum(p.numel() for p in model.parameters()) == 124_439_808


def test_an_untrained_model_knows_nothing():
    torch.manual_seed(0)
    model = GPT(GPTConfig(65, 32, 4, 4, 64))
    assert model.loss(tokens(8, 33, vocabulary=65)).item() == pytest.approx(math.log(65), abs=0.05)


def test_what_is_added_to_the_stream_starts_smaller():
    torch.manual_seed(0)
    model = GPT(GPTConfig(65, 32, 8, 4, 128))
    assert model.blocks[0].mlp[-1].weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert model.blocks[0].attention.out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert model.blocks[0].mlp[0].weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_loss_is_the_surprise_at_the_next_token():
    model, batch = small(), tokens(3, 9)
    p = model(batch[:, :-1]).softmax(-1)
    surprise = [-p[b, t, batch[b, t + 1]].log() for b in range(3) for t in range(8)]
    assert model.loss(batch).item() == pytest.approx(sum(surprise).item() / 24, rel=1e-5)


def test_training_learns_a_text_by_heart():
    text = tokens(24).repeat(4)
    torch.manual_seed(0)
    model = GPT(GPTConfig(11, 16, 2, 2, 32))
    fit(model, WindowBatches(text, 17, 16), 150, lr=3e-3, optimizer=adamw, progress=False)
    assert model.loss(text[None, :17]).item() < 0.5
    assert torch.equal(model.generate(text[:8], 8, temperature=0), text[:16])


# ---- transformers --------------------------------------------------------------------------------


def tiny_gpt2(n_layer=1, **other):
    sizes = {"vocab_size": 29, "n_positions": 12, "n_embd": 16, "n_layer": n_layer, "n_head": 4}
    return GPT2LMHeadModel(GPT2Config(**sizes, **other)).eval()


def test_logits_and_gradients_are_those_of_transformers():
    model, ids = small(), tokens(3, 8)
    peer = gpt.to_transformers(model)
    assert (model(ids) - peer(ids).logits).abs().max() < 1e-4
    model.loss(ids).backward()
    peer(ids, labels=ids).loss.backward()
    assert torch.allclose(model.tokens.weight.grad, peer.transformer.wte.weight.grad, atol=1e-5)
    ours, theirs = model.blocks[0].attention.qkv, peer.transformer.h[0].attn.c_attn
    assert torch.allclose(ours.weight.grad, theirs.weight.grad.T, atol=1e-5)


def test_every_weight_is_exchanged():
    model = small()
    peer = gpt.to_transformers(model)
    back = gpt.from_transformers(peer)
    assert back.config == model.config
    for name, p in model.state_dict().items():
        assert torch.equal(p, back.state_dict()[name]), name
    assert sum(p.numel() for p in peer.parameters()) == sum(p.numel() for p in model.parameters())


def test_a_gpt2_that_transformers_stored_is_loaded(tmp_path):
    torch.manual_seed(3)
    peer = tiny_gpt2(n_layer=3, initializer_range=0.3)
    peer.save_pretrained(tmp_path)
    model, ids = GPT.from_pretrained(tmp_path), tokens(2, 12, vocabulary=29)
    assert not model.training
    assert (model(ids) - peer(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize(
    "change", [{"activation_function": "relu"}, {"n_inner": 20}, {"layer_norm_epsilon": 1e-3},
               {"tie_word_embeddings": False}, {"scale_attn_by_inverse_layer_idx": True}]
)  # fmt: skip
def test_other_models_than_gpt2_are_refused(change):
    peer = tiny_gpt2(**change)
    with pytest.raises(ValueError, match=next(iter(change))):
        gpt.from_transformers(peer)


def test_generation_is_that_of_transformers():
    model, prompt = small(context=24), tokens(2, 4)
    theirs = gpt.to_transformers(model).generate(
        prompt, max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    assert torch.equal(model.generate(prompt, 20, temperature=0), theirs)


# ---- cache and generation ------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [(8,), (1,) * 8, (3, 1, 4), (5, 3)])
def test_with_the_cache_the_logits_are_the_same(pieces):
    model, ids = small(), tokens(2, 8)
    cache = model.new_cache()
    parts = [model(part, cache) for part in ids.split(pieces, 1)]
    assert torch.allclose(torch.cat(parts, 1), model(ids), atol=1e-5)
    assert cache[0].used == 8
    with pytest.raises(ValueError, match="at most 8 tokens, the context"):
        model(ids[:, :1], cache)


@pytest.mark.parametrize("prompt", [1, 5, 8, 13], ids=lambda T: f"prompt of {T}")
@pytest.mark.parametrize(
    "how",
    [{"temperature": 0}, {}, {"temperature": 0.7, "top_p": 0.9}, {"top_k": 3}],
    ids=["argmax", "plain", "nucleus", "top-k"],
)
def test_the_cache_changes_no_token_also_where_the_window_slides(prompt, how):
    model, start = small(), tokens(2, prompt)
    with_cache, without = (
        model.generate(start, 15, cache=cache, generator=generator(1), **how)
        for cache in (True, False)
    )
    assert torch.equal(with_cache, without)
    assert torch.equal(with_cache[:, :prompt], start)
    assert with_cache.shape == (2, prompt + 15)


def test_each_token_comes_from_the_last_tokens_of_the_context():
    model, start = small(), tokens(1, 3)
    made = model.generate(start, 12, temperature=0)[0]
    for t in range(3, 15):
        assert made[t] == model(made[None, max(0, t - 8) : t])[0, -1].argmax()
    longer = torch.cat([tokens(1, 20, seed=5), made[None, :8]], 1)  # only the last 8 are seen
    assert torch.equal(model.generate(longer, 3, 0)[0, -3:], model.generate(made[:8], 3, 0)[-3:])


def test_the_cache_saves_work():
    from torch.utils.flop_counter import FlopCounterMode

    model, start = small(context=64), tokens(1, 8)
    flops = []
    for cache in (True, False):
        with FlopCounterMode(display=False) as counter:
            model.generate(start, 40, cache=cache)
        flops.append(counter.get_total_flops())
    assert flops[0] < flops[1] / 8


def test_draws_follow_the_probabilities():
    model, start = small(0.15), tokens(1, 5).repeat(4000, 1)
    drawn = model.generate(start, 1, 0.8, top_k=6, generator=generator())[:, -1]
    p = gpt.sample_probabilities(model(start[:1])[0, -1], 0.8, top_k=6).detach()
    seen = drawn.bincount(minlength=11) / 4000
    assert (seen[p == 0] == 0).all()
    assert ((seen - p).abs() < 5 * (p * (1 - p) / 4000).sqrt() + 1e-9).all()


def test_generate_leaves_the_model_as_it_was():
    model = small(dropout=0.5).train()
    a = model.generate(tokens(1, 4), 8, generator=generator())
    assert model.training and not a.requires_grad
    assert torch.equal(a, model.generate(tokens(1, 4), 8, generator=generator()))  # no dropout
    assert model.generate(tokens(4), 3).shape == (7,)
    assert torch.equal(model.generate(tokens(4), 0), tokens(4))


# ---- which token: temperature, top-k, top-p ------------------------------------------------------

LOGITS = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03]).log()[[2, 0, 4, 1, 3]]  # .15 .5 .03 .25 .07


@pytest.mark.parametrize(
    "how, expected",
    [
        ({}, [0.15, 0.5, 0.03, 0.25, 0.07]),
        ({"temperature": 0}, [0, 1, 0, 0, 0]),
        ({"top_k": 1}, [0, 1, 0, 0, 0]),
        ({"top_k": 3}, [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9, 0]),
        ({"top_k": 50}, [0.15, 0.5, 0.03, 0.25, 0.07]),
        ({"top_p": 0.01}, [0, 1, 0, 0, 0]),
        ({"top_p": 0.6}, [0, 2 / 3, 0, 1 / 3, 0]),  # .5 is too little, .75 enough
        ({"top_p": 0.8}, [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9, 0]),
        ({"top_p": 1.0}, [0.15, 0.5, 0.03, 0.25, 0.07]),
        ({"top_k": 2, "top_p": 0.6}, [0, 1, 0, 0, 0]),  # of the two, .667 is enough
    ],
)
def test_five_logits_by_hand(how, expected):
    assert gpt.sample_probabilities(LOGITS, **how).tolist() == pytest.approx(expected, abs=1e-6)


def test_temperature_divides_the_logits():
    p = LOGITS.exp()
    for temperature in (0.5, 2.0):
        power = p ** (1 / temperature)
        assert torch.allclose(gpt.sample_probabilities(LOGITS, temperature), power / power.sum())
    assert torch.allclose(gpt.sample_probabilities(LOGITS, 1e6), torch.full((5,), 0.2), atol=1e-5)


@pytest.mark.parametrize("temperature", [0, 1e-40, 1e-3, 1.0, 1e6])
def test_extreme_logits_give_no_nan(temperature):
    logits = torch.tensor([[1e4, -1e4, 9e3], [-math.inf, 0.0, -1.0], [3e38, -3e38, 0.0]])
    p = gpt.sample_probabilities(logits, temperature)
    assert torch.allclose(p.sum(-1), torch.ones(3)) and (p >= 0).all()
    assert p[1, 0] == 0


def test_several_largest_logits():
    tied = torch.tensor([1.0, 3.0, 3.0, 0.0])
    assert gpt.sample_probabilities(tied, 0).tolist() == [0, 1, 0, 0]  # the first
    assert gpt.top_k_filter(tied, 1).isfinite().tolist() == [False, True, True, False]
    assert gpt.top_p_filter(tied, 0.2).isfinite().tolist() == [False, True, False, False]


def test_filters_are_those_of_transformers():
    logits = 3 * torch.randn(6, 40, generator=generator())
    for k in (1, 5, 39, 40, 60):
        assert torch.equal(gpt.top_k_filter(logits, k), TopKLogitsWarper(k)(None, logits))
    for p in (0.1, 0.5, 0.9, 0.99):
        assert torch.equal(gpt.top_p_filter(logits, p), TopPLogitsWarper(p)(None, logits))
    deep = logits.view(2, 3, 40)
    assert torch.equal(gpt.top_p_filter(deep, 0.7).view(6, 40), gpt.top_p_filter(logits, 0.7))


def test_top_p_keeps_the_fewest_that_reach_p():
    logits = 2 * torch.randn(50, 20, generator=generator(1))
    for p in (0.3, 0.8, 0.95):
        for row, kept in zip(
            logits.softmax(-1), gpt.top_p_filter(logits, p).isfinite(), strict=True
        ):
            assert row[kept].sum() >= p - 1e-6
            assert row[kept].sum() - row[kept].min() < p
            assert row[kept].min() >= (row[~kept].max() if (~kept).any() else 0)


def test_filters_leave_their_input_alone():
    logits = LOGITS.clone()
    for how in ({"top_k": 2}, {"top_p": 0.5}, {"temperature": 0}, {"temperature": 2.0}):
        gpt.sample_probabilities(logits, **how)
    assert torch.equal(logits, LOGITS)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids, words",
    [
        (torch.zeros(1, 9, dtype=torch.int64), "at most 8 tokens, the context, got 9"),
        (torch.zeros(1, 0, dtype=torch.int64), "T of at least 1"),
        (torch.zeros(4, dtype=torch.int64), r"\(B, T\)"),
        (torch.tensor([[3, 11]]), "ids from 0 to 10, got 3 to 11"),
        (torch.tensor([[-1, 2]]), "ids from 0 to 10, got -1 to 2"),
    ],
    ids=["too long", "empty", "one sequence", "unknown token", "negative token"],
)
def test_forward_refuses(ids, words):
    with pytest.raises(ValueError, match=words):
        small()(ids)


@pytest.mark.parametrize(
    "how, words",
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": -3}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": -1}, "n: expected"),
        ({"n": 2.5}, "n: expected"),
        ({"prompt": torch.zeros(0, dtype=torch.int64)}, "T of at least 1"),
        ({"prompt": torch.tensor([2, 99])}, "prompt: expected ids from 0 to 10"),
    ],
    ids=lambda value: str(list(value.items())[0][0]) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("cache", [True, False])
def test_generate_refuses_and_says_why(how, words, cache):
    model = small().train()
    with pytest.raises((TypeError, ValueError), match=words):
        model.generate(**({"prompt": tokens(3), "n": 2, "cache": cache} | how))
    assert model.training


def test_broken_logits_are_named():
    with pytest.raises(ValueError, match="NaN"):
        gpt.sample_probabilities(torch.tensor([1.0, math.nan]))


# ---- recipe --------------------------------------------------------------------------------------


def test_weight_decay_acts_on_matrices_only():
    model = small(0.1)
    decayed, rest = adamw(model.parameters(), lr=1e-3).param_groups
    assert decayed["weight_decay"] == 0.1 and rest["weight_decay"] == 0
    assert all(p.ndim == 2 for p in decayed["params"]) and all(p.ndim == 1 for p in rest["params"])
    assert len(decayed["params"]) + len(rest["params"]) == len(list(model.parameters()))


def test_trapezoid_by_hand():
    factors = trapezoid(torch.arange(10), 10, 2, 4)
    assert factors.tolist() == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_next_token_loss_is_cross_entropy_of_what_comes():
    logits, batch = torch.randn(2, 3, 5, generator=generator()), tokens(2, 4, vocabulary=5)
    expected = torch.stack(
        [F.cross_entropy(logits[b, t], batch[b, t + 1]) for b in range(2) for t in range(3)]
    ).mean()
    assert torch.allclose(gpt.next_token_loss(logits, batch), expected)


def test_dropout_is_off_where_it_should_be():
    model, ids = small(dropout=0.5), tokens(1, 8)
    assert torch.equal(model(ids), model(ids))
    assert not torch.equal(copy.deepcopy(model).train()(ids), model(ids))
