"""What a reader and its encoder train on, and how a reader's answers are read."""

import functools

import pytest
import torch

from genai_utils.language import fact_world as fw
from genai_utils.language import reading
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


@pytest.mark.parametrize("unknown", [0.0, 0.4])
@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_the_texts_of_the_training(unknown, count):
    batches = reading.ReadingBatches(200, unknown=unknown, passages=count, seed=2)
    ids, targets = batches(5)
    assert ids.shape == targets.shape and ids.shape[1] <= fw.CONTEXT
    assert all(a.equal(b) for a, b in zip((ids, targets), batches(5), strict=True))
    silent, places = 0, torch.zeros(4)
    for text, row in zip(texts_of(ids), targets, strict=True):
        passages, question, answer = parsed(text)
        assert len(passages) == count
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
            places[fw.TAGS.index(tag)] += 1
            assert value in right[0].split() and fw.TAGS.index(tag) == passages.index(right[0])
        elif unknown:
            assert answer == ["unknown"]
            silent += 1
        else:
            assert count == 0 and answer[0] in fw.VALUES[relation] and len(answer) == 1
    wanted = 200 * (unknown if count else 1) * (unknown > 0)
    assert silent == pytest.approx(wanted, abs=35)  # five deviations
    assert not count or (places[:count] > 200 * (1 - unknown) / count / 2).all()


def test_most_wrong_passages_are_near_misses():
    ids, _ = reading.ReadingBatches(400, passages=4, seed=4)(0)
    kinds = {"person": 0, "relation": 0, "neither": 0}
    for text in texts_of(ids):
        passages, question, answer = parsed(text)
        person = next(w for w in question.split() if w in fw.PEOPLE)
        relation = next(r for r in fw.RELATIONS if answer[0] in fw.VALUES[r])
        for words in (set(p.split()) for p in passages):
            same = (person in words, bool(words & set(fw.VALUES[relation])))
            kinds["person"] += same == (True, False)
            kinds["relation"] += same == (False, True)
            kinds["neither"] += same == (False, False)
    for name, share in (("person", 0.4), ("relation", 0.4), ("neither", 0.2)):
        assert kinds[name] / 1200 == pytest.approx(share, abs=0.06)


def test_each_step_has_as_many_passages_in_all_its_texts():
    batches, seen = reading.ReadingBatches(20, seed=3), set()
    for step in range(40):
        ids, _ = batches(step)
        counts = {len(parsed(text)[0]) for text in texts_of(ids)}
        assert len(counts) == 1
        seen |= counts
    assert seen == {0, 1, 2, 3, 4}


def test_what_is_asked_lies_behind_the_equals_sign_and_ends_the_text():
    ids, targets = reading.ReadingBatches(50, seed=0)(0)
    first = (targets != IGNORE).int().argmax(1)
    assert (ids.gather(1, first[:, None])[:, 0] == fw.INDEX["="]).all()
    asked = (targets != IGNORE).sum(1)
    assert set(asked.tolist()) <= {2, 3}


def test_the_longest_text_fits_the_context():
    ids, targets = reading.ReadingBatches(1_000, passages=4, seed=1)(0)
    length = (ids != fw.END).sum(1).max()
    assert length <= fw.CONTEXT and ids.shape == targets.shape
    assert ids.shape[1] <= fw.CONTEXT  # or no GPT of that context could train on it


def test_the_pairs_of_the_encoder_tell_and_ask_one_fact():
    questions, passages = reading.PairBatches(100, seed=3)(7)
    again = reading.PairBatches(100, seed=3)(7)
    assert questions.equal(again[0]) and passages.equal(again[1])
    asked = set()
    for q, p in zip(questions.tolist(), passages.tolist(), strict=True):
        q, p = ([fw.WORDS[i] for i in row if i >= 0] for row in (q, p))
        assert not {".", "?", "<end>"} & {*q, *p}
        person = next(word for word in q if word in fw.PEOPLE)
        assert person in p
        relation = next(r for r in fw.RELATIONS if set(p) & set(fw.VALUES[r]))
        assert any(" ".join(q) + " ?" == fw.question(person, relation, w) for w in range(3))
        asked.add((person, relation))
    assert len(asked) == 100  # no question has a second right passage in its batch


def test_prompts_and_their_refusals():
    prompt = reading.reader_prompt(
        "where does ada live ?", ["ada lives in rome .", "a cat obeys ugo ."]
    )
    assert prompt == "[1] ada lives in rome . [2] a cat obeys ugo . where does ada live ? ="
    assert fw.decode(fw.encode(prompt)) == prompt
    with pytest.raises(ValueError, match="at most 4"):
        reading.reader_prompt("where does ada live ?", ["ada lives in rome ."] * 5)
    with pytest.raises(ValueError, match="'atlantis'"):
        fw.encode("ada lives in atlantis .")
    with pytest.raises(TypeError, match="passages"):
        reading.reader_prompt("where does ada live ?", "ada lives in rome .")


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
    monkeypatch.setattr(reading, "generate", functools.partial(reading.generate, cache=False))
    asked = ["where does ada live ?"] * 2
    told = [["ada lives in rome ."], ["ugo lives in oslo ."] * 3]
    value = fw.VALUES["home"][3]
    assert reading.read(Copier(3, "[2]"), asked, told) == [(value, None), (value, 1)]
    assert reading.read(Copier(3, "="), asked, told) == [(value, None)] * 2
    assert reading.read(Copier(3, "[2]"), [], []) == []
