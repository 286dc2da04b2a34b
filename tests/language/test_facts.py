"""The world of facts: texts hold the table, quizzes ask it, and a model learns it by heart."""

import pytest
import torch

from genai_utils.language.facts import Facts, OpenBook
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import fit

SMALL = {"first": 3, "last": 4, "columns": 2, "values": 5, "length": 4, "batch_size": 8}


def test_texts_hold_the_table():
    facts = Facts(**SMALL)
    ids, targets = facts(3)
    assert ids.shape == targets.shape == (8, 13) and (ids[:, 0] == 0).all()
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        columns = set()
        for i in range(4):
            first, last, value = row[1 + 3 * i : 4 + 3 * i]
            person = (first - 1) * 4 + (last - 4)
            column, said = divmod(value - 8, 5)
            columns.add(column)
            assert facts.table[person, column] == said
            assert wanted[2 + 3 * i] == value
        assert len(columns) == 1  # a text is about one column
    assert (targets != -100).sum() == 32 and ids.max() < facts.vocabulary
    assert torch.equal(facts(3)[0], ids) and not torch.equal(facts(4)[0], ids)


def test_nobody_is_asked_twice_in_a_text():
    people, columns = Facts(**SMALL).draw(50, 12, torch.Generator().manual_seed(0))
    assert all(len(set(row)) == 12 for row in people.tolist()) and set(columns.tolist()) == {0, 1}


class Knows(torch.nn.Module):
    """Answers as a perfect memory of the table would, that guesses column 0 without an example."""

    def __init__(self, facts):
        super().__init__()
        self.facts = facts

    def forward(self, ids):
        f = self.facts
        logits = torch.zeros(*ids.shape, f.vocabulary)
        for b, row in enumerate(ids.tolist()):
            column = 0
            for t in range(2, len(row), 3):
                person = (row[t - 1] - 1) * f.last + row[t] - 1 - f.first
                value = f.table[person, column] + 1 + f.first + f.last + column * f.values
                logits[b, t, value] = 1
                if t + 1 < len(row):
                    column = (row[t + 1] - 1 - f.first - f.last) // f.values
        return logits


def test_a_quiz_of_one_who_knows():
    facts = Facts(**SMALL)
    said, truth = facts.quiz(Knows(facts), 1, questions=3, n=400)
    assert said.shape == (400, 3) and torch.equal(said, truth)
    said, truth = facts.quiz(Knows(facts), 0, n=400)
    assert 0.4 < (said == truth).float().mean() < 0.65  # one column of two, and luck


def test_a_small_gpt_learns_the_table():
    facts = Facts(**{**SMALL, "batch_size": 32})
    torch.manual_seed(0)
    model = GPT(GPTConfig(facts.vocabulary, 16, 1, 2, 32))
    fit(model, facts, 400, lr=3e-3, warmup=20, progress=False)
    said, truth = facts.quiz(model, 1)
    assert (said == truth).float().mean() > 0.95
    said, truth = facts.quiz(model, 0)
    assert (said == truth).float().mean() < 0.75


def test_sizes_and_bits():
    facts = Facts(16, 16, 4, 16)
    assert facts.people == 256 and facts.bits == 256 * 4 * 4 and facts.vocabulary == 1 + 32 + 64
    with pytest.raises(ValueError, match="at most 12 facts"):
        Facts(**{**SMALL, "length": 13})
    with pytest.raises(ValueError, match="columns"):
        Facts(**{**SMALL, "columns": 0})


# --- with a store


def test_a_text_of_the_open_book_has_a_row_before_each_answer():
    facts = Facts(**SMALL)
    book = OpenBook(facts, length=3)
    ids, targets = book(2)
    assert ids.shape == targets.shape == (8, 3 * 5) and (ids[:, 0] == 0).all()
    others = 0
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        columns = set()
        for i in range(3):
            first, last, *values = row[1 + 5 * i : 5 + 5 * i]
            answer = wanted[4 + 5 * i]
            columns.add(values.index(answer))  # the row holds the answer, and says no column
            assert i == 2 or row[5 + 5 * i] == answer
            person = (first - 1) * 4 + (last - 4)
            others += values != facts.rows(facts.table[person]).tolist()
        assert len(columns) == 1
    assert others > 12  # rows drawn anew, not those of the table
    assert (targets != -100).sum() == 24
    assert torch.equal(book(2)[0], ids) and not torch.equal(book(3)[0], ids)


class Reads(torch.nn.Module):
    """Answers with the value of the last row in the column of the answer before, else the first."""

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, 18)
        before = (ids[:, -5] - 8) // 5 if ids.shape[1] > 5 else torch.zeros(len(ids)).long()
        logits[torch.arange(len(ids)), -1, ids[torch.arange(len(ids)), before - 2]] = 1
        return logits


def test_a_reader_knows_what_is_looked_up_and_nothing_else():
    facts = Facts(**SMALL)
    book, rows = OpenBook(facts), facts.rows(facts.table)

    def look_up(asked):
        return rows[(asked[:, 0] - 1) * 4 + asked[:, 1] - 4]

    said, truth = book.quiz(Reads(), look_up, 2)
    assert torch.equal(said, truth) and torch.equal(truth, facts.quiz(Knows(facts), 2)[1])
    wrong, truth = book.quiz(Reads(), lambda asked: look_up(asked).roll(1, 0), 1)
    assert (wrong == truth).float().mean() < 0.5
    blind, truth = book.quiz(Reads(), look_up, 0)
    assert 0.4 < (blind == truth).float().mean() < 0.75  # one column of two, and luck
