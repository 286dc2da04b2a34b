"""Chains of operations and sums: right answers by hand, every form, checks that refuse."""

import random
from collections import Counter

import pytest
import torch

from genai_utils.language import arithmetic
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.tokens import IGNORE


def test_values_by_hand():
    assert arithmetic.chain_values("4+7*3+9=") == [1, 3, 2]
    assert arithmetic.chain_values("9*9*7+1+9 step by step=") == [1, 7, 8, 7]
    assert arithmetic.chain_values("0*7=") == [0]


def test_lines_by_hand():
    question = "4+7*3+9="
    assert arithmetic.chain_line(question, "plain") == "4+7*3+9=2\n"
    assert arithmetic.chain_line(question, "steps") == "4+7*3+9=132\n"
    assert arithmetic.chain_line(question, "dots") == "4+7*3+9=..2\n"
    assert arithmetic.sum_line("095+007=") == "095+007=0102\n"
    assert arithmetic.sum_line("095+007=", "reversed") == "095+007=2010\n"
    assert arithmetic.sum_line("095+007=", "steps") == "095+007=2,1;0,1;1,0;0102\n"
    assert arithmetic.sum_line("999+999=") == "999+999=1998\n"


def test_every_operation_is_a_permutation_and_every_answer_as_likely():
    for operation in arithmetic.OPERATIONS:
        ends = {arithmetic.chain_values(f"{d}{operation}=")[-1] for d in range(10)}
        assert ends == set(range(10))
    rng = random.Random(0)
    questions = [arithmetic.chain(rng) for _ in range(6000)]
    counts = Counter(arithmetic.chain_values(q)[-1] for q in questions)
    assert all(abs(counts[d] / 6000 - 0.1) < 0.02 for d in range(10))  # five standard deviations
    used = Counter(q[i : i + 2] for q in questions for i in range(1, 17, 2))
    assert set(used) == set(arithmetic.OPERATIONS)
    assert all(abs(n / 48_000 - 1 / 12) < 0.008 for n in used.values())


def test_questions_have_the_length_that_was_asked_for_and_repeat_with_the_seed():
    for length in (1, 3, 8):
        question = arithmetic.chain(random.Random(1), length)
        assert len(arithmetic.chain_values(question)) == length and question[-1] == "="
        assert len(arithmetic.chain_line(question, "steps")) == len(
            arithmetic.chain_line(question, "dots")
        )
    assert arithmetic.chain(random.Random(4)) == arithmetic.chain(random.Random(4))
    asked = arithmetic.chain(random.Random(4), trigger=True)
    assert asked == arithmetic.chain(random.Random(4))[:-1] + arithmetic.TRIGGER + "="
    assert [len(arithmetic.sum_question(random.Random(0), d)) for d in (1, 3)] == [4, 8]


def test_a_chain_is_judged_by_its_last_digit():
    rng = random.Random(0)
    for _ in range(100):
        question = arithmetic.chain(rng)
        values = arithmetic.chain_values(question)
        for form in arithmetic.CHAIN_FORMS:
            assert arithmetic.chain_is_right(arithmetic.chain_line(question, form))
        wrong = (values[-1] + 1) % 10
        assert not arithmetic.chain_is_right(f"{question}{wrong}\n")
        assert not arithmetic.chain_is_right(f"{question}{values[-1]}")  # no end
        assert not arithmetic.chain_is_right(f"{question}{values[-1]}.\n")
    assert not arithmetic.chain_is_right("4+7=\n") and not arithmetic.chain_is_right("4+7=")
    assert not arithmetic.chain_is_right("4+7*3+9=1325")
    assert arithmetic.chain_is_right("4+7*3+9=9992\n")  # wrong steps, right answer


def test_steps_are_counted_until_one_is_wrong():
    assert arithmetic.steps_right("4+7*3+9=132\n") == 3
    assert arithmetic.steps_right("4+7*3+9=1\n") == 1
    assert arithmetic.steps_right("4+7*3+9=142\n") == 1
    assert arithmetic.steps_right("4+7*3+9=932\n") == 0
    assert arithmetic.steps_right("4+7*3+9=1325\n") == 3


def test_sums_are_judged_by_all_their_digits():
    rng = random.Random(0)
    for _ in range(100):
        question = arithmetic.sum_question(rng)
        for form in arithmetic.SUM_FORMS:
            line = arithmetic.sum_line(question, form)
            assert arithmetic.sum_is_right(line, form)
            assert int(question[:3]) + int(question[4:7]) == int(
                line[8:-1][::-1] if form == "reversed" else line[-5:-1]
            )
    assert not arithmetic.sum_is_right("095+007=0103\n")
    assert not arithmetic.sum_is_right("095+007=102\n")
    assert not arithmetic.sum_is_right("095+007=0102")
    assert not arithmetic.sum_is_right("095+007=0102\n", "reversed")
    assert arithmetic.sum_is_right("095+007=9,9;0102\n", "steps")


def test_a_batch_asks_for_what_follows_the_question_only():
    lines = ["4+7=1\n", "4+7*3+9=132\n"]
    ids, targets = arithmetic.line_batch(lines)
    assert ids.shape == targets.shape == (2, 11)
    for row, line in enumerate(lines):
        n, start = len(line), line.index("=")
        assert arithmetic.TOKENIZER.decode(ids[row, : n - 1]) == line[:-1]
        asked = targets[row] != IGNORE
        assert asked.nonzero()[:, 0].tolist() == list(range(start, n - 1))
        assert arithmetic.TOKENIZER.decode(targets[row, asked]) == line[start + 1 :]
    model = GPT(GPTConfig(len(arithmetic.TOKENIZER), 32, 1, 1, 8))
    model.check_batch((ids, targets))
    assert model.loss((ids, targets)).isfinite()


class Parrot(GPT):
    """A model that always writes the same signs: "1" after "=", and so on in a circle."""

    def __init__(self, order):
        super().__init__(GPTConfig(len(arithmetic.TOKENIZER), 64, 1, 1, 8))
        self.follow = dict(zip(order, order[1:], strict=False))

    def unembed(self, x):
        return x

    def hidden(self, x, cache=None, mask=None):
        return x

    def embed(self, ids, start=0):
        wanted = [[self.follow.get(c, "\n") for c in arithmetic.TOKENIZER.decode(r)] for r in ids]
        wanted = torch.stack([arithmetic.TOKENIZER.encode("".join(row)) for row in wanted])
        return torch.nn.functional.one_hot(wanted, len(arithmetic.TOKENIZER)).float()


def test_written_gives_whole_lines_and_their_end_only_where_it_was_written():
    questions = ["4+7=", "4+7*3+9="]
    model = Parrot("=12\n")
    model.new_cache = lambda: [type("None", (), {"used": 0})()]
    assert arithmetic.written(model, questions) == ["4+7=12\n", "4+7*3+9=12\n"]
    assert arithmetic.written(model, questions[:1], most=2) == ["4+7=12"]
    assert arithmetic.written(model, [questions[0]] * 2, most=9) == ["4+7=12\n"] * 2


@pytest.mark.parametrize(
    "bad",
    ["4+7", "14+7=", "4+0=", "4*2=", "4=", "4+7= ", "", "+7=", "4+7 step=", "4-3="],
)
def test_what_is_no_chain_is_refused(bad):
    with pytest.raises(ValueError, match="question: expected"):
        arithmetic.chain_values(bad)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="question"):
        arithmetic.chain_values(47)
    with pytest.raises(ValueError, match="form"):
        arithmetic.chain_line("4+7=", "reversed")
    with pytest.raises(ValueError, match="form"):
        arithmetic.sum_line("4+7=", "dots")
    with pytest.raises(ValueError, match="length"):
        arithmetic.chain(random.Random(0), 0)
    with pytest.raises(ValueError, match="digits"):
        arithmetic.sum_question(random.Random(0), 0)
    with pytest.raises(ValueError, match="'='"):
        arithmetic.chain_is_right("4+7")
    with pytest.raises(TypeError, match="line"):
        arithmetic.sum_is_right(None)
    with pytest.raises(ValueError, match="end"):
        arithmetic.line_batch(["4+7=1"])
    with pytest.raises(ValueError, match="at least one"):
        arithmetic.line_batch([])
    with pytest.raises(TypeError, match="list"):
        arithmetic.line_batch("4+7=1\n")
    with pytest.raises(ValueError, match="question"):
        arithmetic.sum_line("12+=")
