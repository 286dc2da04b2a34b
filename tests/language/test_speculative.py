"""Speculative decoding: the large model's distribution, by enumeration and by chi-square."""

import itertools

import pytest
import torch
from scipy import stats
from torch import nn

from genai_utils.language import sampling, speculative
from genai_utils.language.gpt import GPT, GPTConfig

close = torch.testing.assert_close
V = 3


def gpt(seed, vocabulary=V, layers=1, dim=8, context=8, std=0.6):
    """A GPT in double precision, whose next token depends on what came before."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocabulary, context, layers, 2, dim)).double()
    for p in model.parameters():
        nn.init.normal_(p, std=std)
    return model.eval()


def distributions(seed, *shape):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=g, dtype=torch.float64).pow(2).add(0.01).softmax(-1)


@torch.no_grad()
def exact(model, prompt, n, **how):
    """Probability of each text of n tokens after the prompt, (V,) * n."""
    found = torch.zeros((model.config.vocabulary,) * n, dtype=torch.float64)
    for text in itertools.product(range(model.config.vocabulary), repeat=n):
        ids = torch.cat([prompt, torch.tensor(text)])
        p = sampling.sample_probabilities(model(ids[None])[0], **how)
        place = range(len(prompt) - 1, len(ids) - 1)
        found[text] = torch.stack([p[t, ids[t + 1]] for t in place]).prod()
    return found


class Tree:
    """Every course that a run may take: `choose(weights)` answers with each in turn.

    for chance in tree.courses(): … the run asks tree.choose; chance() is its probability.
    """

    def courses(self):
        self.script = []  # [choice, weights] of this course
        while True:
            self.at = 0
            yield
            while self.script and self._next() is None:
                self.script.pop()
            if not self.script:
                return

    def _next(self):
        choice, weights = self.script[-1]
        later = [c for c in range(choice + 1, len(weights)) if weights[c] > 0]
        if not later:
            return None
        self.script[-1] = [later[0], weights]
        return later[0]

    def choose(self, weights):
        weights = [float(w) for w in weights]
        if self.at == len(self.script):
            self.script.append([next(c for c, w in enumerate(weights) if w > 0), weights])
        self.at += 1
        return self.script[self.at - 1][0]

    def chance(self):
        found = 1.0
        for choice, weights in self.script:
            found *= weights[choice]
        return found


def enumerated(monkeypatch, large, small, prompt, n, k, **how):
    """The distribution of what `write` gives, by going through all that chance may do."""
    tree, verify = Tree(), speculative.verify

    def draw(p, generator):
        return torch.tensor([tree.choose(p)])

    def judged(p, q, drafted, u):
        """Whether each draft stands is a choice, too: u is put below or above the bound."""
        u = []
        for i, x in enumerate(drafted.tolist()):
            stands = min(1.0, (p[i, x] / q[i, x]).item())
            u.append(0.0 if tree.choose([stands, 1 - stands]) == 0 else 1.0)
            if u[-1]:
                u += [0.0] * (len(drafted) - len(u))
                break
        return verify(p, q, drafted, torch.tensor(u, dtype=p.dtype))

    monkeypatch.setattr(speculative, "_draw", draw)
    monkeypatch.setattr(speculative, "verify", judged)
    found = torch.zeros((V,) * n, dtype=torch.float64)
    for _ in tree.courses():
        text = speculative.write(large, small, prompt, n, k, **how).ids[len(prompt) :]
        found[tuple(text.tolist())] += tree.chance()
    return found


@pytest.mark.parametrize(
    ("n", "k", "how"),
    [(2, 1, {}), (3, 2, {}), (3, 4, {}), (3, 2, {"temperature": 0.6}), (3, 2, {"top_k": 2})],
)
def test_all_that_chance_may_do_adds_up_to_the_large_models_distribution(monkeypatch, n, k, how):
    large, small, prompt = gpt(0), gpt(1), torch.tensor([0, 2])
    wanted = exact(large, prompt, n, **how)
    assert (wanted - exact(small, prompt, n, **how)).abs().sum() > 0.3  # the two differ
    found = enumerated(monkeypatch, large, small, prompt, n, k, **how)
    close(found, wanted, rtol=0, atol=1e-6)  # sample_probabilities computes in float32
    assert found.sum().item() == pytest.approx(1)


def test_what_is_drawn_passes_a_chi_square_test():
    large, small, prompt = gpt(0), gpt(1), torch.tensor([0, 2])
    wanted, g = exact(large, prompt, 3).flatten(), torch.Generator().manual_seed(0)
    texts = torch.stack(
        [speculative.write(large, small, prompt, 3, 2, g).ids[2:] for _ in range(1500)]
    )
    counts = torch.bincount(texts @ torch.tensor([9, 3, 1]), minlength=27)
    p_value = lambda p: stats.chisquare(counts, p / p.sum() * len(texts)).pvalue  # noqa: E731
    assert wanted.min() * len(texts) > 5 and p_value(wanted) > 1e-3
    assert p_value(exact(small, prompt, 3).flatten()) < 1e-6  # it could tell the small model


def test_one_token_by_hand():
    """q drafts token 0 too often; what p has more goes to the others."""
    p = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    q = torch.tensor([[0.6, 0.4, 0.0]])
    n, after = speculative.verify(p, q, torch.tensor([0]), torch.tensor([0.3]))  # 0.3 < 1 / 3
    assert n == 1 and after.tolist() == p[1].tolist()
    n, after = speculative.verify(p, q, torch.tensor([0]), torch.tensor([0.34]))
    assert n == 0
    close(after, torch.tensor([0.0, 0.25, 0.75]))  # (0.1, 0.3) / 0.4
    n, _ = speculative.verify(p, q, torch.tensor([1]), torch.tensor([0.99]))  # 0.5 / 0.4 > 1
    assert n == 1


def test_all_after_the_first_that_falls_fall_too():
    p, q = torch.full((4, 2), 0.5), torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5]])
    n, after = speculative.verify(p, q, torch.tensor([0, 0, 1]), torch.tensor([0.1, 0.9, 0.1]))
    assert n == 1 and after.tolist() == [0.0, 1.0]


def test_a_draft_that_the_large_model_rules_out_never_stands():
    p, q = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    n, after = speculative.verify(p, q, torch.tensor([0]), torch.tensor([0.0]))
    assert n == 0 and after.tolist() == [0.0, 1.0]


def test_where_rounding_leaves_nothing_over_it_is_p():
    p = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    q = torch.tensor([[0.5, 0.5]]) * (1 + 1e-6)
    n, after = speculative.verify(p, q, torch.tensor([0]), torch.tensor([0.9999999]))
    assert n == 0 and after.tolist() == [0.5, 0.5]


def test_the_chance_to_stand_is_one_minus_the_total_variation():
    p, q = distributions(0, 4, 5), distributions(1, 4, 5)
    a = speculative.acceptance(p, q)
    close(a, 1 - (p - q).abs().sum(-1) / 2)
    drawn = torch.zeros(4, dtype=torch.float64)
    for i in range(4):  # Σ_x q(x) min(1, p(x) / q(x))
        drawn[i] = sum(q[i, x] * min(1, p[i, x] / q[i, x]) for x in range(5))
    close(a, drawn)


def test_the_tokens_of_a_call():
    assert speculative.expected_tokens(0.8, 4) == pytest.approx((1 - 0.8**5) / 0.2)
    assert speculative.expected_tokens(1.0, 4) == 5 and speculative.expected_tokens(0.0, 4) == 1
    assert speculative.expected_tokens(0.5, 0) == 1


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_at_temperature_zero_it_is_the_text_of_generate(k, seed):
    large, small = gpt(seed, 7, 2, 16, 24), gpt(5, 7, 1, 8, 24)
    prompt = torch.tensor([1, 4, 2])
    found = speculative.write(large, small, prompt, 21, k, temperature=0)
    assert torch.equal(found.ids, large.generate(prompt, 21, temperature=0))
    assert found.calls + found.accepted == 21
    assert found.accepted <= found.drafted <= k * found.calls


def test_a_draft_model_that_is_the_large_one_is_always_right():
    large, g = gpt(0, 7, 2, 16, 24), torch.Generator().manual_seed(0)
    found = speculative.write(large, large, torch.tensor([1]), 20, 4, g)
    assert found.accepted == found.drafted == 16 and found.calls == 4


def test_a_seed_gives_the_text_again_and_models_keep_their_mode():
    large, small, training = gpt(0).train(), gpt(1).train(), []
    for model in (large, small):
        model.blocks[0].register_forward_hook(lambda block, *_: training.append(block.training))
    texts = [
        speculative.write(large, small, torch.tensor([1]), 6, 2, torch.Generator().manual_seed(s))
        for s in (0, 0, 1, 2)
    ]
    assert torch.equal(texts[0].ids, texts[1].ids)
    assert len({tuple(t.ids.tolist()) for t in texts}) > 1
    assert large.training and small.training and training and not any(training)


def test_nothing_to_write_is_the_prompt():
    found = speculative.write(gpt(0), gpt(1), torch.tensor([1, 2]), 0)
    assert found.ids.tolist() == [1, 2] and found.calls == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"small": gpt(1, 4)}, "small: expected the vocabulary of large, 3 tokens, got 4"),
        ({"prompt": torch.zeros(0, dtype=torch.long)}, "T of at least 1"),
        ({"prompt": torch.zeros(2, 2, dtype=torch.long)}, "T of at least 1"),
        ({"prompt": torch.tensor([3])}, "ids from 0 to 2"),
        ({"n": 8}, "at most 7, the contexts have 8 tokens"),
        ({"n": 6, "small": gpt(1, context=6)}, "at most 5, the contexts have 6 tokens"),
        ({"n": 6, "large": gpt(0, context=6)}, "at most 5, the contexts have 6 tokens"),
        ({"k": 0}, "k"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_bad_input_is_named(arguments, words):
    usual = {"large": gpt(0), "small": gpt(1), "prompt": torch.tensor([1]), "n": 3}
    with pytest.raises((ValueError, TypeError), match=words):
        speculative.write(**(usual | arguments))
