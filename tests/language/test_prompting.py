"""Streams of sub-tasks, prompts, what they are worth, and the heads of a GPT."""

import math
from collections import Counter

import pytest
import torch

from genai_utils.language import prompting
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.prompting import BLANK, LETTERS, N
from genai_utils.language.tokens import IGNORE


def gpt(layers=2, heads=2, dim=8, seed=0):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(prompting.VOCABULARY, 40, layers, heads, dim))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- rules and streams


def test_a_shift_moves_on_in_a_circle_and_a_table_is_a_permutation():
    rules = prompting.draw_rules(300, "shift", generator=generator())
    for table, shift in zip(rules.tables.tolist(), rules.shifts.tolist(), strict=True):
        assert 1 <= shift < N and table == [(i + shift) % N for i in range(N)]
    rules = prompting.draw_rules(300, "table", generator=generator())
    assert (rules.shifts == 0).all() and (rules.tables.sort(1).values == torch.arange(N)).all()
    assert len({tuple(row) for row in rules.tables.tolist()}) > 280
    mixed = prompting.draw_rules(4000, "mixed", generator=generator()).shifts
    assert (mixed > 0).float().mean().item() == pytest.approx(0.5, abs=0.04)
    counts = Counter(mixed[mixed > 0].tolist())
    assert all(abs(counts[c] - 2000 / 7) < 90 for c in range(1, N))


def sign_by_cycles(table):
    """Another way: each cycle of even length turns the sign."""
    seen, turns = set(), 0
    for start in range(len(table)):
        length, at = 0, start
        while at not in seen:
            seen.add(at)
            at, length = table[at], length + 1
        turns += max(length - 1, 0)
    return turns % 2 == 1


def test_no_table_of_a_test_can_be_trained():
    both = torch.rand(500, N, generator=generator()).argsort(1)
    assert prompting.odd(both).tolist() == [sign_by_cycles(row) for row in both.tolist()]
    for held_out in (False, True):
        tables = prompting.draw_rules(2000, "table", held_out, generator(1)).tables
        assert (prompting.odd(tables) == held_out).all()
        share = torch.nn.functional.one_hot(tables, N).float().mean(0)  # of key and label
        assert (share - 1 / N).abs().max() < 0.04
        ids = prompting.StreamBatches(50, 40, "table", spread=0.0, held_out=held_out).streams(0)
        for k, v in zip(ids[:, 1::2].tolist(), ids[:, 2::2].tolist(), strict=True):
            table = dict(zip(k, v, strict=True))
            if len(table) == N:
                assert sign_by_cycles([table[i] for i in range(N)]) == held_out


def test_a_stream_is_a_description_and_pairs_by_one_rule():
    batches = prompting.StreamBatches(400, pairs=9, described=0.5, seed=3)
    ids = batches.streams(5)
    assert ids.shape == (400, 19) and ids.equal(batches.streams(5))
    assert not ids.equal(batches.streams(6))
    assert not ids.equal(prompting.StreamBatches(400, pairs=9, seed=4).streams(5))
    keys, labels, task = ids[:, 1::2], ids[:, 2::2], ids[:, 0]
    assert keys.max() < N and labels.max() < N and task.min() >= BLANK
    for k, v, t in zip(keys.tolist(), labels.tolist(), task.tolist(), strict=True):
        table = dict(zip(k, v, strict=True))
        assert [table[key] for key in k] == v  # one label for each key
        if t > BLANK:
            assert all((key + t - BLANK) % N == label for key, label in table.items())
    assert (task > BLANK).float().mean().item() == pytest.approx(0.25, abs=0.08)
    assert (prompting.StreamBatches(50, described=0.0).streams(0)[:, 0] == BLANK).all()
    only = prompting.StreamBatches(50, kind="shift", described=1.0).streams(0)
    assert (only[:, 0] > BLANK).all()
    assert Counter(keys.flatten().tolist()).keys() == set(range(N))


def test_a_prompt_by_hand():
    task, query = torch.tensor([8, 9]), torch.tensor([5, 6])
    keys, labels = torch.tensor([[0, 1], [2, 3]]), torch.tensor([[4, 7], [6, 5]])
    prompt = prompting.few_shot_prompt(task, keys, labels, query)
    assert prompt.tolist() == [[8, 0, 4, 1, 7, 5], [9, 2, 6, 3, 5, 6]]
    assert prompting.few_shot_prompt(task, keys[:, :0], labels[:, :0], query).tolist() == [
        [8, 5],
        [9, 6],
    ]
    assert prompting.stream(task, keys, labels).tolist() == [[8, 0, 4, 1, 7], [9, 2, 6, 3, 5]]


def test_asked_are_the_labels_at_their_keys():
    batches = prompting.StreamBatches(20, pairs=5, seed=3)
    (ids, targets), whole = batches(2), batches.streams(2)
    assert ids.equal(whole[:, :-1]) and ids.shape == targets.shape == (20, 10)
    assert targets[:, 1::2].equal(whole[:, 2::2]) and (targets[:, 0::2] == IGNORE).all()
    GPT(GPTConfig(prompting.VOCABULARY, 10, 1, 1, 8)).check_batch((ids, targets))


def test_a_large_spread_returns_to_few_keys():
    """With all letters alike 16 keys hold 8 (1 - (7/8)^16) = 7.06 different ones in the mean."""
    mean = {}
    for spread in (0.0, 2.5):
        keys = prompting.StreamBatches(500, 16, spread=spread, seed=1).streams(0)[:, 1::2]
        mean[spread] = sum(len(set(row)) for row in keys.tolist()) / 500
        used = Counter(keys.flatten().tolist())
        assert all(abs(used[i] / 8000 - 1 / 8) < 0.03 for i in range(N))  # no letter is special
    assert mean[0.0] == pytest.approx(8 * (1 - (7 / 8) ** 16), abs=0.15) and mean[2.5] < 5


def test_a_wider_start_scales_matrices_and_keeps_norms():
    torch.manual_seed(0)
    model = GPT(GPTConfig(prompting.VOCABULARY, 40, 2, 2, 64))
    before = {name: p.clone() for name, p in model.named_parameters()}
    assert prompting.wider_start(model) is model
    for name, p in model.named_parameters():
        if p.ndim == 1:
            assert p.equal(before[name])
    assert model.tokens.weight.std().item() == pytest.approx(0.3, rel=0.1)
    assert model.positions.weight.std().item() == pytest.approx(0.3, rel=0.1)
    assert model.blocks[0].attention.qkv.weight.std().item() == pytest.approx(0.14, rel=0.05)


@pytest.mark.parametrize("shots", [0, 1, 5, 8])
def test_questions_show_different_letters_and_ask_for_any(shots):
    rules = prompting.draw_rules(2000, "mixed", generator=generator(1))
    asked = prompting.questions(rules, shots, generator=generator(2))
    keys, labels = asked.prompts[:, 1:-1:2], asked.prompts[:, 2::2]
    assert keys.shape == (2000, shots) and (asked.prompts[:, 0] == BLANK).all()
    assert all(len(set(row)) == shots for row in keys.tolist())
    assert labels.equal(rules.tables.gather(1, keys))
    query = asked.prompts[:, -1:]
    assert asked.answers.equal(rules.tables.gather(1, query)[:, 0])
    shown = (keys == query).any(1).float().mean().item()
    assert shown == pytest.approx(shots / N, abs=0.05)


def test_described_names_shifts_only_and_shuffled_keeps_the_labels():
    rules = prompting.draw_rules(500, "mixed", generator=generator(1))
    named = prompting.questions(rules, 0, described=True, generator=generator())
    assert named.prompts[:, 0].equal(BLANK + rules.shifts)
    plain = prompting.questions(rules, 6, generator=generator(3))
    mixed = prompting.questions(rules, 6, shuffled=True, generator=generator(3))
    assert plain.prompts[:, 1::2].equal(mixed.prompts[:, 1::2])
    a, b = plain.prompts[:, 2::2], mixed.prompts[:, 2::2]
    assert a.sort(1).values.equal(b.sort(1).values) and not a.equal(b)
    assert (a == b).float().mean().item() == pytest.approx(1 / 6, abs=0.03)
    assert plain.answers.equal(mixed.answers)


def test_the_best_accuracy_is_what_a_perfect_reader_gets():
    """A reader who repeats what was shown and else guesses among the labels that are left."""
    g = generator()
    for shots in (0, 1, 4, 7, 8):
        rules = prompting.draw_rules(6000, "table", generator=g)
        asked, right = prompting.questions(rules, shots, generator=g), 0
        for prompt, answer in zip(asked.prompts.tolist(), asked.answers.tolist(), strict=True):
            table = dict(zip(prompt[1:-1:2], prompt[2::2], strict=True))
            left = [label for label in range(N) if label not in table.values()]
            right += table.get(prompt[-1], left[0] if left else None) == answer
        assert right / 6000 == pytest.approx(prompting.best_accuracy(shots), abs=0.025)
    assert prompting.best_accuracy(0) == 1 / 8 and prompting.best_accuracy(8) == 1


class Shift(GPT):
    """A model that moves every letter on by one, whatever the prompt says."""

    def forward(self, ids, cache=None):
        return torch.nn.functional.one_hot((ids + 1) % N, prompting.VOCABULARY).float()


def test_accuracy_counts_likeliest_tokens():
    model = Shift(GPTConfig(prompting.VOCABULARY, 40, 1, 1, 8))
    rules = prompting.Rules((torch.arange(N) + 1).remainder(N).repeat(30, 1), torch.ones(30).long())
    asked = prompting.questions(rules, 3, generator=generator())
    assert prompting.accuracy(model, asked) == 1.0
    wrong = asked._replace(answers=torch.cat([asked.answers[:20], asked.answers[20:] + 1]))
    assert prompting.accuracy(model, wrong, split=7) == pytest.approx(2 / 3)


def test_label_nll_by_hand():
    ids = torch.tensor([[9, 0, 1, 2, 3], [8, 4, 5, 6, 7]])
    logits = torch.zeros(2, 5, 10)
    logits[0, 1, 1] = 3.0
    logits[1, 1, 5] = 1.0
    logits[:, 2] = 50.0 * torch.randn(2, 10, generator=generator())  # at labels: not asked
    one = [math.log(9 + math.exp(v)) - v for v in (3.0, 1.0)]
    found = prompting.label_nll(logits, ids)
    assert found.tolist() == pytest.approx([sum(one) / 2, math.log(10)])


def test_the_digest_changes_with_a_bit_and_with_nothing_else():
    model, twin = gpt(), gpt()
    digest = prompting.weights_sha256(model)
    assert digest == prompting.weights_sha256(twin) and len(digest) == 64
    asked = prompting.questions(prompting.draw_rules(20, generator=generator()), 4)
    prompting.accuracy(model, asked)
    assert prompting.weights_sha256(model) == digest
    with torch.no_grad():
        weight = twin.blocks[1].mlp[0].bias
        weight[3] = torch.nextafter(weight[3], torch.tensor(9.0))
    assert prompting.weights_sha256(twin) != digest


# --- heads


def test_the_share_of_a_perfect_copier_is_one():
    ids = torch.tensor([[8, 0, 5, 1, 6, 0, 5, 2, 7, 0, 5]])
    weights = torch.zeros(1, 3, 11, 11)
    weights[0, :, torch.arange(11), 0] = 1.0  # rests on the first token
    weights[0, 0, 5] = weights[0, 0, 9] = 0
    weights[0, 0, 5, 2] = weights[0, 0, 9, 6] = 1.0  # head 0: the label after
    weights[0, 1, 9] = 0
    weights[0, 1, 9, 2] = weights[0, 1, 9, 6] = 0.5  # head 1: both labels, at one of two keys
    weights[0, 2, 5] = 0
    weights[0, 2, 5, 1] = 1.0  # head 2: the key itself
    assert prompting.copying_share(ids, weights).tolist() == [1.0, 0.5, 0.0]
    assert prompting.copying_share(ids[:, :5], weights[..., :5, :5]).tolist() == [0.0, 0.0, 0.0]


def test_the_share_by_loops():
    ids = prompting.StreamBatches(6, pairs=7, seed=2).streams(0)
    model = gpt(heads=4)
    weights = prompting.head_weights(model, ids)
    assert weights.shape == (2, 6, 4, 15, 15)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6, 4, 15))
    total, count = torch.zeros(4), 0
    for b in range(6):
        for t in range(1, 15, 2):
            places = [s + 1 for s in range(1, t, 2) if ids[b, s] == ids[b, t]]
            count += bool(places)
            total += sum((weights[1, b, :, t, s] for s in places), torch.zeros(4))
    torch.testing.assert_close(prompting.copying_share(ids, weights[1]), total / count)


def test_the_weights_of_heads_are_those_that_the_model_uses():
    ids, model = prompting.StreamBatches(2, pairs=4, seed=2).streams(0), gpt(heads=2, dim=8)
    block, x = model.blocks[0], model.embed(ids)
    qkv = block.attention.qkv(block.norm1(x)).view(2, 9, 3, 2, 4)
    mixed = torch.einsum("bhts,bshd->bthd", prompting.head_weights(model, ids)[0], qkv[:, :, 2])
    torch.testing.assert_close(
        block.attention(block.norm1(x)), block.attention.out(mixed.flatten(2))
    )


def test_a_head_that_is_cut_adds_nothing_and_the_others_stay():
    model, x = gpt(heads=4, dim=12), torch.randn(2, 5, 12)
    before = prompting.weights_sha256(model)
    old = model.blocks[1].attention
    z = torch.randn(2, 5, 12)
    for head in range(4):
        cut = prompting.without_head(model, 1, head)
        new = cut.blocks[1].attention
        other = z.clone()
        other[..., 3 * head : 3 * head + 3] = 99.0  # what this head found does not matter now
        torch.testing.assert_close(new.out(z), new.out(other))
        z0 = z.clone()
        z0[..., 3 * head : 3 * head + 3] = 0
        torch.testing.assert_close(new.out(z), old.out(z0))
        assert not torch.equal(new(x), old(x))
        assert cut.blocks[0].attention.out.weight.equal(model.blocks[0].attention.out.weight)
    assert prompting.weights_sha256(model) == before


# --- prompts as people write them


def test_prompts_are_read_in_the_ways_people_write_them():
    for text in ("ad fa c?", "a>d, f>a, c", "A→D  f→a c?", "ad,fa,c"):
        keys, labels, query = prompting.read_prompt(text)
        assert (keys.tolist(), labels.tolist(), query.tolist()) == ([[0, 5]], [[3, 0]], [2])
    keys, labels, query = prompting.read_prompt("h?")
    assert keys.shape == labels.shape == (1, 0) and query.tolist() == [LETTERS.index("h")]
    assert keys.dtype == torch.int64


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("ad fa", "query"), ("", "query"), ("ad xz c?", "pairs"), ("adf c?", "pairs"),
        ("ad z?", "query"), ("ab " * 17 + "c", "16"),
    ],
)  # fmt: skip
def test_other_prompts_are_refused(bad, says):
    with pytest.raises(ValueError, match=says):
        prompting.read_prompt(bad)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="text"):
        prompting.read_prompt(["ad", "c"])
    with pytest.raises(ValueError, match="kind"):
        prompting.draw_rules(3, "word")
    rules = prompting.draw_rules(3, generator=generator())
    with pytest.raises(ValueError, match="shots"):
        prompting.questions(rules, 9)
    with pytest.raises(ValueError, match="described"):
        prompting.StreamBatches(3, described=1.5)
    with pytest.raises(ValueError, match="pairs"):
        prompting.StreamBatches(3, pairs=0)
    with pytest.raises(ValueError, match="spread"):
        prompting.StreamBatches(3, spread=-0.1)
    with pytest.raises(ValueError, match="layer"):
        prompting.without_head(gpt(), 2, 0)
    with pytest.raises(ValueError, match="head"):
        prompting.without_head(gpt(), 0, 2)
    with pytest.raises(ValueError, match="shots"):
        prompting.best_accuracy(-1)


def test_fine_tuning_shows_single_pairs_of_one_rule():
    table = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    ids = prompting.fine_tuning_batch(table, generator(), 50)
    assert ids.shape == (50, 3) and (ids[:, 0] == BLANK).all()
    assert ids[:, 2].equal(table[ids[:, 1]]) and len(set(ids[:, 1].tolist())) == N
