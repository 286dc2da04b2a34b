"""The world of letters, and answers to prompts."""

import random

import pytest
import torch

from genai_utils.language import letter_world
from genai_utils.language.gpt import GPT, GPTConfig


def gpt(seed=0):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(len(letter_world.TOKENIZER), 65, 2, 4, 32))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model.eval()


# --- the world


@pytest.mark.parametrize(
    ("name", "answer"), [("copy", "hbca"), ("reverse", "acbh"), ("sort", "abch"), ("shift", "acdb")]
)
def test_tasks_by_hand(name, answer):
    assert letter_world.TASKS[name]("hbca") == answer


def test_lines_are_true_and_end():
    rng = random.Random(0)
    for _ in range(200):
        name, rest = letter_world.task(rng).split(":")
        asked, said = rest.split(">")
        assert said == letter_world.TASKS[name](asked) + "\n" and 3 <= len(asked) <= 5
        letter, wished = letter_world.wish(rng).removeprefix("a word with ").rstrip().split(">")
        assert letter in wished and 2 <= len(wished) <= 6
    for name, phrase in letter_world.PHRASES.items():
        asked, said = letter_world.instruction(rng, name).rstrip().split(">")
        front, back = phrase.split("{}")
        assert letter_world.TASKS[name](asked.removeprefix(front).removesuffix(back)) == said


def test_same_seed_same_text_and_every_line_can_be_encoded():
    world = letter_world.Sentences()
    kinds = (
        world.sentence,
        letter_world.task,
        letter_world.examples,
        letter_world.instruction,
        letter_world.wish,
    )
    for make in kinds:
        assert make(random.Random(5)) == make(random.Random(5)) != make(random.Random(6))
        line = make(random.Random(0))
        assert letter_world.TOKENIZER.decode(letter_world.stream([line])) == line and line.endswith(
            "\n"
        )
        assert len(line) <= 66


def test_a_sentence_returns_to_its_name_and_follows_the_chain():
    world = letter_world.Sentences(seed=3)
    parts = [p.split() for p in world.sentence(random.Random(1)).rstrip().split(", ")]
    assert len({p[2] for p in parts}) == 1
    chain = [word for p in parts for word in p[:2]]
    for a, b in zip(chain, chain[1:], strict=False):
        follows = [world.words[j] for i, w in enumerate(world.words) if w == a
                   for j in world.next[i]]  # fmt: skip
        assert b in follows


def test_examples_show_the_secret_seven_times_in_ten():
    rng, hits, shown = random.Random(0), 0, 0
    for _ in range(2000):
        prompt, secret = letter_world.examples(rng, shown=5)
        labels = [pair[-1] for pair in prompt.split(",")[:-1]]
        assert len(labels) == 5 and prompt[0] == "\n" and prompt[-1] == ">"
        hits, shown = hits + sum(label == secret for label in labels), shown + 5
    assert hits / shown == pytest.approx(0.7 + 0.3 / 8, abs=0.015)
    prompt, secret = letter_world.examples(rng, shown=0)
    assert len(prompt) == 3 and secret in "stuvwxyz"


def test_a_dictionary_has_one_value_for_each_key_and_always_the_same():
    book, rng = letter_world.Dictionary(50), random.Random(1)
    assert len(book.keys) == len(set(book.keys)) == 50
    for _ in range(300):
        key, value = book.line(rng).removeprefix("know ").rstrip().split(">")
        assert len(key) == 4 and len(value) == 3 and book.values[key] == value
    letter_world.stream([book.line(rng)])
    assert letter_world.Dictionary(50).values == book.values
    assert letter_world.Dictionary(50, seed=1).values != book.values
    for keys in (0, 4097):
        with pytest.raises(ValueError, match="keys: expected a whole number from 1 to 4,096"):
            letter_world.Dictionary(keys)


def test_preference_by_hand():
    assert letter_world.preference("c", "abcdef") == 6
    assert letter_world.preference("c", "cc") == 0
    assert letter_world.preference("c", "abccc") == 1
    assert letter_world.preference("c", "ab") == letter_world.preference("c", "cx") == -3
    assert letter_world.preference("c", "") == -3
    assert letter_world.preference("c", "abccc", repeat=0) == 5
    assert letter_world.preference("c", "abccc", repeat=0.5) == 4
    assert letter_world.preference("c", "ab", repeat=0) == -3


# --- answers


def test_answers_are_greedy_one_letter_at_a_time():
    model = gpt()
    prompts = ["\ncopy:ab>", "\nreverse:cdefg>", "\na>x,b>"]
    ids, start, said = letter_world.answers(model, prompts, most=4)
    for row, begin, prompt, text in zip(ids, start, prompts, said, strict=True):
        by_hand = letter_world.TOKENIZER.encode(prompt)
        assert begin == len(by_hand)
        for _ in range(4):
            nxt = model(by_hand[None])[0, -1].argmax()
            by_hand = torch.cat([by_hand, nxt[None]])
            if nxt == 0:
                break
        assert row[: len(by_hand)].tolist() == by_hand.tolist()
        assert text == letter_world.TOKENIZER.decode(by_hand[begin:]).rstrip("\n")
        assert (row[len(by_hand) :] == 0).all()


def test_answers_at_temperature_one_follow_the_model():
    model = gpt()
    g = torch.Generator().manual_seed(0)
    ids, start, _ = letter_world.answers(
        model, ["\nab>"] * 20_000, most=1, temperature=1.0, generator=g
    )
    p = model(ids[:1, :4])[0, -1].softmax(-1)
    found = torch.bincount(ids[:, 4], minlength=len(p)) / len(ids)
    torch.testing.assert_close(found, p.detach(), rtol=0, atol=0.012)
