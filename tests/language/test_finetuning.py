"""Fine-tuning: forms of input, what is read off, the two losses, and what is trained."""

import copy

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language import finetuning as ft
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.peers import LSTMLM, ConvLM
from genai_utils.training import TensorBatches, fit

V = 30


def ids(*values):
    return torch.tensor(values)


def some(n, seed=0, low=5):
    return torch.randint(low, V, (n,), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def gpt():
    torch.manual_seed(0)
    return GPT(GPTConfig(V, context=16, layers=2, heads=2, dim=12))


@pytest.fixture(params=["gpt", "lstm", "conv"])
def language_model(request):
    torch.manual_seed(0)
    return {
        "gpt": lambda: GPT(GPTConfig(V, context=16, layers=2, heads=2, dim=12)),
        "lstm": lambda: LSTMLM(V, 12, layers=2),
        "conv": lambda: ConvLM(V, 12, layers=2),
    }[request.param]()


# --- forms of input


def test_the_four_forms_by_hand():
    a, b, c = ids(7, 8), ids(9), ids(10, 11, 12)
    assert [r.tolist() for r in ft.classification(a)] == [[2, 7, 8, 4]]
    assert [r.tolist() for r in ft.entailment(a, b)] == [[2, 7, 8, 3, 9, 4]]
    assert [r.tolist() for r in ft.similarity(a, b)] == [[2, 7, 8, 3, 9, 4], [2, 9, 3, 7, 8, 4]]
    rows = [r.tolist() for r in ft.multiple_choice(a, [b, c])]
    assert rows == [[2, 7, 8, 3, 9, 4], [2, 7, 8, 3, 10, 11, 12, 4]]


def test_packed_rows_keep_their_tokens_and_end_in_padding():
    examples = [ft.similarity(some(3), some(2, 1)), ft.similarity(some(5, 2), some(4, 3))]
    packed = ft.pack(examples, 14)
    assert packed.shape == (2, 2, 14)
    for rows, found in zip(examples, packed, strict=True):
        for row, own in zip(rows, found, strict=True):
            assert own[: len(row)].equal(row) and not own[len(row) :].any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ft.pack([], 9), "examples: expected at least one"),
        (lambda: ft.pack([ft.classification(some(9))], 9), "at most 9 tokens, got 11"),
        (lambda: ft.pack([ft.classification(some(2)), ft.similarity(some(2), some(2))], 9),
         "as many rows in each"),
        (lambda: ft.pack([[]], 9), "as many rows in each, at least one"),
        (lambda: ft.multiple_choice(some(2), []), "answers: expected a list of at least one"),
        (lambda: ft.multiple_choice(some(2), some(3)), "answers: expected a list"),
        (lambda: ft.pack([ft.classification(some(2))], 1), "length"),
    ],
)  # fmt: skip
def test_bad_input_says_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_text_must_be_ids():
    with pytest.raises(TypeError, match="text"):
        ft.classification("a film")
    with pytest.raises(TypeError, match="text"):
        ft.entailment(some(3), some(3).float())


# --- what is read off


def test_features_are_what_the_models_own_output_layer_reads(language_model):
    row = some(9)[None]
    h = ft.features(language_model, row)
    out = (
        language_model.unembed(h) if hasattr(language_model, "unembed") else language_model.head(h)
    )
    assert h.shape == (1, 9, 12)
    assert torch.allclose(out, language_model(row), atol=1e-6)


def test_padding_and_company_make_no_difference(language_model):
    net = ft.FineTuned(language_model).eval()
    short, long = ft.classification(some(4)), ft.classification(some(12, 1))
    alone, roomy = ft.pack([short], 6), ft.pack([short, long], 14)
    with torch.no_grad():
        assert torch.allclose(net(alone)[0], net(roomy)[0], atol=1e-6)
        h = [ft.features(language_model, x.flatten(0, 1)) for x in (alone, roomy)]
        z = [
            ft.sentence_features(a, x.flatten(0, 1)) for a, x in zip(h, (alone, roomy), strict=True)
        ]
    assert torch.allclose(z[0][0], z[1][0], atol=1e-6)


def test_sentence_features_are_a_mean_of_real_tokens():
    h = torch.arange(24.0).view(2, 4, 3)
    found = ft.sentence_features(h, ids([5, 6, 0, 0], [7, 8, 9, 5]))
    assert found.equal(torch.stack([h[0, :2].mean(0), h[1].mean(0)]))


def test_the_verdict_reads_the_last_extract_only(gpt):
    net = ft.FineTuned(gpt).eval()
    row = ft.pack([ft.classification(ids(7, 4, 9))], 8)
    h = ft.features(gpt, row[:, 0])
    assert torch.allclose(net(row), net.head(h[:, 4]))


def test_a_verdict_by_the_mean_reads_all_tokens_of_each_row(gpt):
    net = ft.FineTuned(gpt, 3, reads="mean").eval()
    x = ft.pack([ft.similarity(some(4), some(6, 1)), ft.similarity(some(2, 2), some(3, 3))], 15)
    z = sum(ft.sentence_features(ft.features(gpt, x[:, i]), x[:, i]) for i in (0, 1))
    assert torch.allclose(net(x), net.head(z), atol=1e-6)
    with pytest.raises(ValueError, match="reads"):
        ft.FineTuned(gpt, reads="first")


def test_both_orders_get_one_score(gpt):
    net = ft.FineTuned(gpt, 3).eval()
    a, b = some(4), some(6, 1)
    with torch.no_grad():
        one, other = (net(ft.pack([ft.similarity(*pair)], 13)) for pair in ((a, b), (b, a)))
        ordered = [net(ft.pack([ft.entailment(*pair)], 13)) for pair in ((a, b), (b, a))]
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(*ordered, atol=1e-4)


def test_a_choice_scores_each_answer_by_itself(gpt):
    net = ft.FineTuned(gpt, choice=True).eval()
    context, answers = some(4), [some(3, 1), some(5, 2), some(2, 3)]
    with torch.no_grad():
        scores = net(ft.pack([ft.multiple_choice(context, answers)], 13))[0]
        turned = net(ft.pack([ft.multiple_choice(context, answers[::-1])], 13))[0]
    assert scores.shape == (3,) and torch.allclose(scores, turned.flip(0), atol=1e-6)
    assert scores.softmax(0).sum().item() == pytest.approx(1)


def test_a_starting_point_is_a_copy_with_marks_that_begin_in_the_middle(language_model):
    before = {k: v.clone() for k, v in language_model.state_dict().items()}
    copied = ft.starting_point(language_model, dropout=0.3)
    for name, weight in language_model.state_dict().items():
        assert weight.equal(before[name])
    found = copied.state_dict()
    for name in before.keys() - {"tokens.weight"}:
        assert found[name].equal(before[name])
    table = found["tokens.weight"]
    assert table[3].equal(table[4]) and table[3].allclose(before["tokens.weight"][5:].mean(0))
    rest = [0, 1, 2, *range(5, V)]
    assert table[rest].equal(before["tokens.weight"][rest])


def test_a_starting_point_sets_the_dropout(gpt):
    copied, row = ft.starting_point(gpt, dropout=0.3), some(9)[None]
    assert copied.eval()(row).equal(copied(row))
    copied.train()
    assert not copied(row).equal(copied(row)) and gpt.train()(row).equal(gpt(row))
    with pytest.raises(ValueError, match="dropout"):
        ft.starting_point(gpt, dropout=1)
    with pytest.raises(TypeError, match="dropout"):
        ft.starting_point(gpt, dropout="0.1")


# --- the losses


def batch(n=6, length=10):
    rows = [ft.classification(some(3 + i % 5, i)) for i in range(n)]
    return ft.pack(rows, length), torch.arange(n) % 2


def test_the_loss_is_the_task_and_a_share_of_the_language_model(language_model):
    x, y = batch()
    net = ft.FineTuned(language_model, aux=0.3)
    found = net.loss((x, y))
    task = F.cross_entropy(net(x), y)
    rows = [row[: int((row != 0).sum())] for row in x[:, 0]]
    nll = [F.cross_entropy(language_model(r[None, :-1])[0], r[1:], reduction="none") for r in rows]
    assert found["task"].item() == pytest.approx(task.item(), rel=1e-5)
    assert found["lm"].item() == pytest.approx(torch.cat(nll).mean().item(), rel=1e-4)
    assert found["loss"].item() == pytest.approx(task.item() + 0.3 * found["lm"].item(), rel=1e-5)
    by_exercise = ft.fine_tuning_loss(net(x), y, language_model(x[:, 0]), x[:, 0], 0.3)
    assert found["loss"].item() == pytest.approx(by_exercise.item(), rel=1e-5)
    assert net.model is language_model and "lm" not in ft.FineTuned(language_model).loss((x, y))


def test_all_rows_of_an_example_take_part_in_the_auxiliary_loss(gpt):
    x = ft.pack([ft.similarity(some(4), some(6, 1)), ft.similarity(some(2, 2), some(3, 3))], 15)
    y, net = ids(1, 0), ft.FineTuned(gpt, aux=0.7)
    rows = x.flatten(0, 1)
    expected = ft.fine_tuning_loss(net(x), y, gpt(rows), rows, 0.7)
    assert net.loss((x, y))["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_next_targets_by_hand():
    row = ids([2, 7, 4, 0, 0], [2, 7, 8, 9, 4])
    assert ft.next_targets(row).tolist() == [[7, 4, -100, -100, -100], [7, 8, 9, 4, -100]]


def test_the_choice_of_a_rate_by_hand():
    validation = torch.tensor([[60.0, 62.0], [70.0, 72.0], [71.0, 71.0]])
    test = torch.tensor([[80.0, 82.0, 84.0], [60.0, 63.0, 66.0], [90.0, 90.0, 90.0]])
    mean, spread = ft.chosen_by_validation(validation, test)
    assert (mean.item(), spread.item()) == (63.0, 3.0)
    assert ft.chosen_by_validation(validation, test[:, :1])[1].item() == 0


# --- what is trained


def test_every_tensor_moves_and_with_a_frozen_model_only_the_head(language_model):
    x, y = batch(8)
    batches = TensorBatches(x, y, batch_size=8)
    for frozen in (False, True):
        net = ft.FineTuned(copy.deepcopy(language_model), aux=0.5)
        net.model.requires_grad_(not frozen)
        before = {k: v.clone() for k, v in net.state_dict().items()}
        net = fit(net, batches, 3, lr=1e-2, progress=False).model
        moved = {k for k, v in net.state_dict().items() if not v.equal(before[k])}
        everything = {k for k, _ in net.named_parameters()}
        assert moved == ({"head.weight", "head.bias"} if frozen else everything)


def test_it_learns_a_word():
    """Whether token 7 is in the text: a few steps are enough, for one text, two, or a choice."""
    torch.manual_seed(0)
    texts = [some(5, i, low=8) for i in range(60)]
    y = torch.arange(60) % 2
    for i in range(0, 60):
        if y[i]:
            texts[i][i % 5] = 7
    x = ft.pack([ft.classification(t) for t in texts], 8)
    model = GPT(GPTConfig(V, context=16, layers=1, heads=2, dim=16))
    net = ft.FineTuned(model)
    net = fit(net, TensorBatches(x, y, batch_size=20), 60, lr=1e-2, progress=False).model
    assert net.accuracy(x, y) > 0.95
    pairs = [ft.multiple_choice(some(2, 100 + i), [texts[i], texts[i + 1]]) for i in range(59)]
    choice = ft.FineTuned(copy.deepcopy(model), choice=True)
    answer = 1 - y[:59]  # the answer that holds 7
    packed = ft.pack(pairs, 12)
    batches = TensorBatches(packed, answer, batch_size=20)
    choice = fit(choice, batches, 80, lr=1e-2, progress=False).model
    assert choice.accuracy(packed, answer) > 0.95


def test_accuracy_counts(gpt):
    net = ft.FineTuned(ft.starting_point(gpt, dropout=0.9))  # which accuracy leaves out
    x, _ = batch(40)
    with torch.no_grad():
        said = net.eval()(x).argmax(-1)
    net.train()
    wrong = said.clone()
    wrong[:2] = 1 - wrong[:2]
    assert net.accuracy(x, wrong, batch_size=3) == pytest.approx(38 / 40)
    assert net.training


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (torch.cat([x[:1].clamp(max=3), x[1:]]), y), "Extract"),  # one row has none
        (lambda x, y: (x[:, 0], y), r"\(B, r, T\)"),
        (lambda x, y: (x + V, y), "ids"),
        (lambda x, y: (x, y + 1), "labels"),
    ],
)
def test_values_are_looked_at_on_the_first_batch(gpt, change, words):
    x, y = change(*batch())
    with pytest.raises((TypeError, ValueError), match=words):
        fit(ft.FineTuned(gpt), lambda step: (x, y), 1, progress=False)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"aux": -1}, ValueError), ({"classes": 1}, ValueError), ({"classes": 2.0}, TypeError)],
)
def test_settings_that_make_no_sense(gpt, options, kind):
    with pytest.raises(kind):
        ft.FineTuned(gpt, **options)


def test_only_a_language_model_is_fine_tuned():
    with pytest.raises(TypeError, match="a GPT, or a peer of chapter 8"):
        ft.FineTuned(torch.nn.Linear(2, 2))
