"""Exercises of 11_finetuning: mistakes named, wrong answers refused, right ones accepted."""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.checks import register
from genai_utils.checks.diagnosis import diagnose
from genai_utils.language import finetuning

SHELF = register.load("11_finetuning")


def test_there_are_four_each_with_hints_and_named_mistakes():
    names = ["similarity", "read_extract", "fine_tuning_loss", "chosen_by_validation"]
    assert list(SHELF) == names
    for one in SHELF.values():
        assert len(one.hints) >= 3 and len(one.mistakes) >= 5
    assert [e.name for e in SHELF.values() if e.planted] == ["chosen_by_validation"]


def test_the_planted_fault_does_what_its_symptom_says():
    """Accuracies of a coin: the choice by the test lifts the report, the right one does not."""
    g = torch.Generator().manual_seed(1)
    found = {}
    for name, function in (
        ("right", finetuning.chosen_by_validation), ("wrong", SHELF["chosen_by_validation"].planted)
    ):  # fmt: skip
        for rates in (1, 50):
            tables = [
                (50 + torch.randn(rates, 3, generator=g), 50 + torch.randn(rates, 3, generator=g))
                for _ in range(300)
            ]
            found[name, rates] = sum(function(*t)[0].item() for t in tables) / 300
    assert abs(found["right", 50] - 50) < 0.2 and abs(found["wrong", 1] - 50) < 0.2
    assert found["wrong", 50] > 51


# --- right


def rows_by_hand(a, b):
    first = torch.zeros(len(a) + len(b) + 3, dtype=torch.int64)
    second = first.clone()
    for row, one, other in ((first, a, b), (second, b, a)):
        n = len(one)
        row[0], row[n + 1], row[-1] = 2, 3, 4
        row[1 : n + 1], row[n + 2 : -1] = one, other
    return first, second


def rows_by_padding(a, b):
    left = lambda x: F.pad(x, (1, 0), value=2)  # noqa: E731
    right = lambda x: F.pad(F.pad(x, (1, 0), value=3), (0, 1), value=4)  # noqa: E731
    return [torch.cat([left(a), right(b)]), torch.cat([left(b), right(a)])]


def extract_by_loop(h, ids):
    return torch.stack([row[(i == 4).nonzero()[-1, 0]] for row, i in zip(h, ids, strict=True)])


def extract_by_weights(h, ids):
    last = (ids != 0).sum(1) - 1
    return (h * F.one_hot(last, ids.shape[1])[..., None]).sum(1)


def loss_by_loop(logits, labels, lm_logits, ids, weight=0.5):
    loss = -logits.log_softmax(-1)[torch.arange(len(labels)), labels].mean()
    if weight == 0:
        return loss
    asked = [
        -lm_logits[n, t].log_softmax(-1)[ids[n, t + 1]]
        for n in range(len(ids))
        for t in range(ids.shape[1] - 1)
        if ids[n, t + 1] != 0
    ]
    return loss + weight * torch.stack(asked).mean()


def loss_by_ignoring(logits, labels, lm_logits, ids, weight=0.5):
    loss = F.nll_loss(logits.log_softmax(-1), labels)
    if weight > 0:
        wanted = ids[:, 1:].flatten()
        loss = loss + weight * F.cross_entropy(
            lm_logits[:, :-1].flatten(0, 1), wanted, ignore_index=0
        )
    return loss


def choice_in_numbers(validation, test):
    means = [row.mean().item() for row in validation]
    scores = test[means.index(max(means))]
    return scores.mean(), scores.std() if len(scores) > 1 else torch.tensor(0.0)


RIGHT = [
    ("similarity", rows_by_hand),
    ("similarity", rows_by_padding),
    ("similarity", lambda a, b: [
        torch.tensor([2, *x.tolist(), 3, *y.tolist(), 4]) for x, y in ((a, b), (b, a))]),
    ("read_extract", extract_by_loop),
    ("read_extract", extract_by_weights),
    ("read_extract", lambda h, ids: h[torch.arange(len(h)), (ids > 0).sum(1) - 1]),
    ("fine_tuning_loss", loss_by_loop),
    ("fine_tuning_loss", loss_by_ignoring),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: loss_by_ignoring(
        logits.double(), labels, lm.double(), ids, weight)),
    ("chosen_by_validation", choice_in_numbers),
    ("chosen_by_validation", lambda validation, test: (
        test[validation.sum(1).argmax()].mean(),
        (test[validation.sum(1).argmax()] - test[validation.sum(1).argmax()].mean())
        .square().sum().div(max(1, test.shape[1] - 1)).sqrt())),
    ("chosen_by_validation", lambda validation, test: choice_in_numbers(
        validation.float(), test)),
]  # fmt: skip


# --- wrong


def _swap(rows):
    return [row.flip(0) for row in rows]


WRONG = [
    ("similarity", lambda a, b: rows_by_hand(a, b)[0]),
    ("similarity", lambda a, b: rows_by_hand(a, b)[:1]),
    ("similarity", lambda a, b: _swap(rows_by_hand(a, b))),
    ("similarity", lambda a, b: [row[1:-1] for row in rows_by_hand(a, b)]),
    ("similarity", lambda a, b: rows_by_hand(a, a)),
    ("similarity", lambda a, b: [row[row != 3] for row in rows_by_hand(a, b)]),
    ("similarity", lambda a, b: [row + 1 for row in rows_by_hand(a, b)]),
    ("similarity", lambda a, b: [row.float() * 1.5 for row in rows_by_hand(a, b)]),
    ("similarity", lambda a, b: [torch.cat([row, row[-1:]]) for row in rows_by_hand(a, b)]),
    ("similarity", lambda a, b: [a, b]),
    ("read_extract", lambda h, ids: h),
    ("read_extract", lambda h, ids: h[:, 1]),
    ("read_extract", lambda h, ids: h.mean(1)),
    ("read_extract", lambda h, ids: extract_by_loop(h, ids).T),
    ("read_extract", lambda h, ids: extract_by_loop(h, ids)[:, None]),
    ("read_extract", lambda h, ids: extract_by_loop(h, ids).detach()),
    ("read_extract", lambda h, ids: -extract_by_loop(h, ids)),
    ("read_extract", lambda h, ids: torch.stack([row[(i == 2).nonzero()[0, 0]]
                                                 for row, i in zip(h, ids, strict=True)])),
    ("read_extract", lambda h, ids: h[0, (ids != 0).sum(1) - 1]),
    ("fine_tuning_loss", lambda *given: -loss_by_loop(*given)),
    ("fine_tuning_loss", lambda *given: loss_by_loop(*given) / math.log(2)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: F.cross_entropy(
        logits, labels)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: loss_by_loop(
        logits, labels, lm, ids, 0.5)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: loss_by_loop(
        logits.softmax(-1), labels, lm, ids, weight)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: loss_by_loop(
        logits, labels, lm.detach(), ids, weight)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: loss_by_loop(
        logits, labels, lm[:1], ids[:1], weight)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: loss_by_loop(
        logits, labels, lm, ids, weight ** 2)),
    ("fine_tuning_loss", lambda logits, labels, lm, ids, weight=0.5: (
        weight * F.cross_entropy(logits, labels) + loss_by_loop(logits, labels, lm, ids, 1.0))),
    ("chosen_by_validation", lambda validation, test: (test.max(), test.std())),
    ("chosen_by_validation", lambda validation, test: (
        test[test.mean(1).argmax()].mean(), test[validation.mean(1).argmax()].std())),
    ("chosen_by_validation", lambda validation, test: (
        test[validation.mean(1).argsort()[-2]].mean(), torch.tensor(0.0))),
    ("chosen_by_validation", lambda validation, test: (
        choice_in_numbers(validation, test)[0], test[validation.mean(1).argmax()].var())),
    ("chosen_by_validation", lambda validation, test: (
        choice_in_numbers(validation, test)[0],
        test[validation.mean(1).argmax()].std(correction=0))),
    ("chosen_by_validation", lambda validation, test: choice_in_numbers(validation, test)[0]),
    ("chosen_by_validation", lambda validation, test: choice_in_numbers(
        validation.flip(0), test)),
]  # fmt: skip


@pytest.mark.parametrize("name", list(SHELF))
def test_enough_of_each(name):
    assert sum(n == name for n, _ in RIGHT) >= 3
    assert sum(n == name for n, _ in WRONG) >= (5 if SHELF[name].planted else 8)


def test_a_padded_reading_is_named():
    verdict = diagnose(SHELF["read_extract"], lambda h, ids: h[:, -1])
    assert verdict.mistake == "the last place"
