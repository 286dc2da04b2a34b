"""Sampling: what may be drawn, prompts of unequal length, stop tokens, errors on every path."""

import math

import pytest
import torch

from genai_utils.language import gpt, sampling
from genai_utils.language.gpt import GPT, GPTConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**sizes):
    """A GPT whose logits differ clearly from token to token."""
    torch.manual_seed(0)
    sizes = {"vocabulary": 11, "context": 8, "layers": 2, "heads": 2, "dim": 16} | sizes
    model = GPT(GPTConfig(**sizes)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


def tokens(*shape, seed=0):
    return torch.randint(11, shape, generator=generator(seed))


PROMPTS = [tokens(3, seed=1), tokens(1, seed=2), tokens(6, seed=3), tokens(12, seed=4)]


# --- the names that chapter 10 uses


def test_the_filters_of_chapter_10_are_these():
    for name in ("top_k_filter", "top_p_filter", "sample_probabilities"):
        assert getattr(gpt, name) is getattr(sampling, name)
    assert GPT.generate is sampling.generate


# --- one draw


def test_a_draw_is_that_of_the_probabilities():
    logits = 2 * torch.randn(4, 11, generator=generator(1))
    how = {"temperature": 0.7, "top_k": 4}
    p = sampling.sample_probabilities(logits, **how)
    drawn = sampling.draw(logits.repeat(5_000, 1), **how, generator=generator()).view(5_000, 4)
    seen = torch.stack([drawn[:, i].bincount(minlength=11) for i in range(4)]) / 5_000
    assert (seen[p == 0] == 0).all() and (seen - p).abs().max() < 0.03
    expected = torch.multinomial(p, 1, generator=generator(3))[:, 0]
    assert torch.equal(sampling.draw(logits, **how, generator=generator(3)), expected)


def test_temperature_0_draws_nothing_from_the_stream():
    before = torch.get_rng_state()
    assert sampling.draw(torch.tensor([[1.0, 3, 3], [-1, -2, -3]]), 0).tolist() == [1, 0]
    assert torch.equal(torch.get_rng_state(), before)
    sampling.draw(torch.zeros(1, 3))
    assert not torch.equal(torch.get_rng_state(), before)


BROKEN = {
    "NaN": [1.0, math.nan, 0.0],
    r"\+inf": [1.0, math.inf, -math.inf],
    "-inf for every token": [-math.inf] * 3,
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("how", [{}, {"temperature": 0}, {"top_k": 1}, {"top_p": 0.5}], ids=str)
def test_broken_logits_are_refused_on_every_path(what, how):
    logits = torch.tensor([[0.0, 1.0, 2.0], BROKEN[what]])
    for ask in (sampling.draw, sampling.sample_probabilities):
        with pytest.raises(ValueError, match=f"logits: expected finite numbers.* got {what}"):
            ask(logits, **how)


def test_minus_infinity_rules_a_token_out_and_is_no_fault():
    logits = torch.tensor([[-math.inf, 0.0, 1.0, -math.inf]])
    p = sampling.sample_probabilities(logits, top_p=0.99)
    assert p[0].tolist() == pytest.approx([0, 1 / (1 + math.e), math.e / (1 + math.e), 0])


@pytest.mark.parametrize(
    "how",
    [{"temperature": "1"}, {"temperature": True}, {"top_k": 2.5}, {"top_k": "3"}, {"top_p": "a"}],
    ids=str,
)
def test_settings_of_the_wrong_kind_are_refused_by_name(how):
    for ask in (sampling.draw, sampling.sample_probabilities):
        with pytest.raises(TypeError, match=f"{next(iter(how))}: expected"):
            ask(torch.zeros(1, 3), **how)


# --- the mode of the model


def test_the_mode_of_every_part_is_given_back_also_after_an_error():
    model = small().train()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(KeyboardInterrupt), sampling.evaluating(model) as inside:
        assert inside is model and not any(module.training for module in model.modules())
        raise KeyboardInterrupt
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("how", [{"temperature": 0}, {}, {"top_k": 3, "cache": False}], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_model_is_named_and_its_mode_stays(how, value):
    model = small().train()
    model.blocks[1].eval()
    model.norm.bias.data[0] = value
    with pytest.raises(ValueError, match="logits: expected finite numbers"):
        model.generate(tokens(2, 3), 4, **how)
    assert model.training and model.blocks[0].training and not model.blocks[1].training


def test_an_interrupted_text_leaves_the_mode(monkeypatch):
    model = small().train()

    def interrupted(*_):
        assert not model.training
        raise KeyboardInterrupt

    monkeypatch.setattr(model.blocks[0], "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.generate(tokens(3), 4)
    assert model.training


# --- prompts of unequal length


@pytest.mark.parametrize("cache", [True, False])
def test_prompts_side_by_side_are_written_on_as_each_alone(cache):
    model = small()  # the context is 8: the window slides for all of them
    together = model.generate(PROMPTS, 9, temperature=0, cache=cache)
    assert [len(row) for row in together] == [12, 10, 15, 21]
    for prompt, row in zip(PROMPTS, together, strict=True):
        assert torch.equal(row, model.generate(prompt, 9, temperature=0))


def test_equal_prompts_in_a_list_are_the_same_as_in_a_tensor():
    model, start = small(), tokens(3, 4)
    rows = model.generate(list(start), 7, generator=generator(5))
    assert torch.equal(torch.stack(rows), model.generate(start, 7, generator=generator(5)))


def test_draws_for_unequal_prompts_follow_the_model():
    model, n = small(), 6_000
    made = model.generate([PROMPTS[0]] * n + [PROMPTS[1]] * n, 1, generator=generator())
    for i, prompt in enumerate(PROMPTS[:2]):
        drawn = torch.stack(made[i * n : (i + 1) * n])
        assert torch.equal(drawn[:, :-1], prompt.expand(n, -1))
        p = model(prompt[None])[0, -1].softmax(-1).detach()
        assert (drawn[:, -1].bincount(minlength=11) / n - p).abs().max() < 0.03


def test_nothing_more_is_the_prompts_themselves():
    same = small().generate(PROMPTS, 0)
    assert all(torch.equal(a, b) for a, b in zip(same, PROMPTS, strict=True))


# --- stop tokens


def greedy(model, prompt, n, stop):
    """One text by hand, token by token, up to the first stop token that it writes itself."""
    ids = prompt
    for _ in range(n):
        ids = torch.cat([ids, model(ids[None, -8:])[0, -1].argmax()[None]])
        if ids[-1] in stop:
            break
    return ids


@pytest.mark.parametrize("stop", [[0], [3, 4], [7, 8, 9, 10], list(range(11)), []], ids=str)
def test_each_text_ends_with_its_stop_token(stop):
    model = small()
    given = [torch.cat([torch.tensor(stop[:1]).long(), p]) for p in PROMPTS]  # one does not count
    rows = model.generate(given, 20, temperature=0, stop=stop)
    for prompt, row in zip(given, rows, strict=True):
        assert row.tolist() == greedy(model, prompt, 20, stop).tolist()


def test_a_batch_is_as_long_as_its_longest_text_and_filled_up_with_the_stop_token():
    model, start = small(), tokens(6, 3, seed=1)
    texts = [greedy(model, row, 12, [3, 4]) for row in start]
    sizes = [len(text) for text in texts]
    assert min(sizes) == 4 and 4 < max(sizes) < 15
    made = model.generate(start, 12, temperature=0, stop=torch.tensor([3, 4]))
    assert made.shape == (6, max(sizes))
    for text, row, size in zip(texts, made, sizes, strict=True):
        assert torch.equal(row[:size], text) and (row[size:] == text[-1]).all()
    one = model.generate(start[0], 12, temperature=0, stop=[3, 4])
    assert torch.equal(one, texts[0])


def test_what_is_over_costs_no_further_step(monkeypatch):
    model, calls = small(), []
    hidden = model.hidden
    monkeypatch.setattr(model, "hidden", lambda *a, **k: calls.append(1) or hidden(*a, **k))
    assert len(model.generate(tokens(3), 100, stop=range(11))) == 4 and len(calls) == 1


@pytest.mark.parametrize("stop", [11, -1, [3, 11], "a", 2.0])
def test_a_stop_that_is_no_token_is_refused(stop):
    with pytest.raises((TypeError, ValueError), match="stop: expected a whole number from 0 to 10"):
        small().generate(tokens(3), 2, stop=stop)


# --- tokens that may be drawn


def test_only_allowed_tokens_are_drawn_and_by_their_probabilities():
    model, allowed = small(), torch.zeros(11, dtype=torch.bool)
    allowed[[2, 3, 8]] = True
    start = tokens(4).expand(5_000, 4)
    drawn = model.generate(start, 1, allowed=allowed, generator=generator())[:, -1]
    p = model(start[:1])[0, -1].masked_fill(~allowed, -math.inf).softmax(-1)
    assert (drawn.bincount(minlength=11) / 5_000 - p).abs().max() < 0.03
    assert model.generate(tokens(2, 3), 30, allowed=allowed)[:, 3:].unique().tolist() == [2, 3, 8]


def test_each_text_may_have_tokens_of_its_own():
    allowed = torch.eye(11, dtype=torch.bool)[[4, 9]]
    for temperature in (0, 1.0):
        made = small().generate(tokens(2, 3), 4, temperature, allowed=allowed)[:, 3:]
        assert made.tolist() == [[4] * 4, [9] * 4]


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (torch.zeros(11, dtype=torch.bool), "one token at least that may be drawn"),
        (torch.eye(11, dtype=torch.bool)[:2].logical_and(torch.arange(11) > 0), "one token at"),
        (torch.ones(12, dtype=torch.bool), r"the shape \(11,\) or \(2, 11\)"),
        (torch.ones(3, 11, dtype=torch.bool), r"the shape \(11,\) or \(2, 11\)"),
        (torch.ones(11), "a tensor of bool, got a tensor of float32"),
        ([True] * 11, "a tensor of bool, got a list"),
    ],
    ids=["none", "none for one", "too many", "too many rows", "numbers", "list"],
)
def test_a_mask_that_does_not_fit_is_refused(allowed, message):
    with pytest.raises((TypeError, ValueError), match=f"allowed: expected {message}"):
        small().generate(tokens(2, 3), 2, allowed=allowed)


# --- prompts that are none


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt: expected token ids, or a list of them, got none"),
        ("abc", "prompt: expected token ids, or a list of them, got 'abc'"),
        ([tokens(2), tokens(0)], r"prompt\[1\]: expected \(T,\) with T of at least 1"),
        ([tokens(2), tokens(1, 2)], r"prompt\[1\]: expected \(T,\)"),
        ([tokens(2), torch.tensor([11])], r"prompt\[1\]: expected ids from 0 to 10, got 11"),
        ([tokens(2), [1, 2]], r"prompt\[1\]: expected a tensor of whole numbers, got a list"),
        (torch.zeros(3), "prompt: expected a tensor of whole numbers"),
        (torch.zeros(1, 1, 3, dtype=torch.int64), r"prompt: expected \(T,\) or \(B, T\)"),
        (torch.tensor(3), r"prompt: expected \(T,\) or \(B, T\)"),
    ],
)
def test_prompts_that_are_none_are_refused(prompt, message):
    with pytest.raises((TypeError, ValueError), match=message):
        small().generate(prompt, 2)
