"""The world of sentences: what a reader trains on, and how its answers are read."""

import functools

import pytest
import torch

from genai_utils.language import fact_world as fw
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.tokens import IGNORE


def texts_of(ids):
    return [" ".join(fw.WORDS[i] for i in row if i != fw.END) for row in ids.tolist()]


def parsed(text):
    """(passages, question, answer and citation) of a text of the training."""
    told, _, answer = text.partition(" = ")
    passages = []
    for tag in fw.TAGS:
        if f"{tag} " in told:
            passages.append(told.split(f"{tag} ")[1].split(" .")[0] + " .")
    question = told.rpartition(" . ")[2] if passages else told
    return passages, question, answer.split()


def test_a_world_tells_its_facts_and_can_be_changed():
    world = fw.World(20, seed=3)
    assert len(world.facts()) == 20 * 5
    for person, relation in world.facts():
        words = world.passage(person, relation).split()
        assert person in words and world.value(person, relation) in words
        for wording in range(fw.WORDINGS):
            asked = fw.question(person, relation, wording).split()
            assert person in asked and not set(asked) & set(fw.VALUES[relation])
    other = next(v for v in fw.VALUES["pet"] if v != world.value("boris", "pet"))
    before = world.passage("boris", "pet")
    world.change("boris", "pet", other)
    old = fw.World(20, seed=3).value("boris", "pet")
    assert world.passage("boris", "pet").split() == [
        other if word == old else word for word in before.split()
    ]
    assert fw.World(20, seed=3).table.ne(world.table).sum() == 1
    with pytest.raises(ValueError, match="value"):
        world.change("boris", "pet", "dragon")
    with pytest.raises(ValueError, match="person"):
        world.passage("zoe", "pet")  # not among the first 20


def test_values_are_all_alike_and_worlds_differ():
    tables = torch.stack([fw.World(seed=s).table for s in range(40)])
    counts = tables.flatten().bincount(minlength=fw.M)
    expected = tables.numel() / fw.M
    assert ((counts - expected).square() / expected).sum() < 70  # chi-square, 31 degrees: p ~ 1e-4


@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_the_texts_of_the_training(unknown):
    batches = fw.ReadingBatches(400, unknown=unknown, seed=2)
    ids, targets = batches(5)
    assert ids.shape == targets.shape and ids.shape[1] <= fw.CONTEXT + 8
    assert all(a.equal(b) for a, b in zip((ids, targets), batches(5), strict=True))
    counts, without, silent = torch.zeros(fw.MOST + 1), 0, 0
    for text, row in zip(texts_of(ids), targets, strict=True):
        passages, question, answer = parsed(text)
        counts[len(passages)] += 1
        assert [fw.WORDS[i] for i in row[row != IGNORE]] == [*answer, "<end>"]
        person = next(w for w in question.split() if w in fw.PEOPLE)
        relation = next(
            r for r in fw.RELATIONS for w in range(3) if question == fw.question(person, r, w)
        )
        right = [p for p in passages if person in p.split()
                 and set(p.split()) & set(fw.VALUES[relation])]  # fmt: skip
        if right:
            assert len(right) == 1
            value, tag = answer
            assert value in right[0].split() and fw.TAGS.index(tag) == passages.index(right[0])
            without += 1
        elif unknown:
            assert answer == ["unknown"]
            silent += 1
        else:
            assert not passages and answer[0] in fw.VALUES[relation] and len(answer) == 1
    assert (counts > 40).all()  # 80 texts of each on average
    assert silent == pytest.approx((0.2 + 0.8 * unknown) * 400 * (unknown > 0), abs=50)


def test_what_is_asked_lies_behind_the_equals_sign_and_ends_the_text():
    ids, targets = fw.ReadingBatches(50, seed=0)(0)
    first = (targets != IGNORE).int().argmax(1)
    assert (ids.gather(1, first[:, None])[:, 0] == fw.INDEX["="]).all()
    asked = (targets != IGNORE).sum(1)
    assert set(asked.tolist()) <= {2, 3}


def test_the_longest_text_fits_the_context():
    ids, targets = fw.ReadingBatches(2_000, seed=1)(0)
    length = (ids != fw.END).sum(1).max()
    assert length <= fw.CONTEXT and ids.shape == targets.shape
    assert ids.shape[1] <= fw.CONTEXT  # or no GPT of that context could train on it


def test_prompts_and_their_refusals():
    prompt = fw.reader_prompt("where does ada live ?", ["ada lives in rome .", "a cat obeys ugo ."])
    assert prompt == "[1] ada lives in rome . [2] a cat obeys ugo . where does ada live ? ="
    assert fw.decode(fw.encode(prompt)) == prompt
    with pytest.raises(ValueError, match="at most 4"):
        fw.reader_prompt("where does ada live ?", ["ada lives in rome ."] * 5)
    with pytest.raises(ValueError, match="'atlantis'"):
        fw.encode("ada lives in atlantis .")
    with pytest.raises(TypeError, match="passages"):
        fw.reader_prompt("where does ada live ?", "ada lives in rome .")


class Copier(GPT):
    """Answers with the value of the passage at a place and cites a tag, whatever is asked."""

    def __init__(self, place, tag):
        super().__init__(GPTConfig(fw.VOCABULARY, fw.CONTEXT, 1, 1, 4))
        self.place, self.tag = place, tag

    def unembed(self, x):
        return x

    def hidden(self, x, cache=None, mask=None):
        return x

    def embed(self, ids, start=0):
        logits = torch.zeros(*ids.shape, fw.VOCABULARY)
        for row, out in zip(ids, logits, strict=True):
            said = fw.INDEX[self.tag] if row[-1] >= fw.FIRST_VALUE else fw.FIRST_VALUE + self.place
            out[-1, said] = 1
        return logits

    def new_cache(self):
        return None


def test_an_answer_names_a_passage_that_is_there(monkeypatch):
    monkeypatch.setattr(fw, "generate", functools.partial(fw.generate, cache=False))
    asked = ["where does ada live ?"] * 2
    told = [["ada lives in rome ."], ["ugo lives in oslo ."] * 3]
    value = fw.VALUES["home"][3]
    assert fw.read(Copier(3, "[2]"), asked, told) == [(value, None), (value, 1)]
    assert fw.read(Copier(3, "="), asked, told) == [(value, None)] * 2
    assert fw.read(Copier(3, "[2]"), [], []) == []
