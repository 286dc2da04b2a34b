"""What a reader and its encoder train on, and how a reader's answers are read."""

import collections
import functools
import re

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language import fact_world as fw
from genai_utils.language import reading
from genai_utils.language.bi_encoder import BiEncoder, padded
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.tokens import IGNORE


def texts_of(ids):
    return [" ".join(fw.WORDS[i] for i in row if i != fw.END) for row in ids.tolist()]


ASKED = re.compile(r"(\S.*? \?) = (\S+) (\S+) (\[\d\] )?(\S+)(?: |$)")


def parsed(text):
    """(passages, [(question, relation, name, number that is cited or None, answer)]) of a text."""
    told, stop, rest = text.rpartition(" . ")
    passages = []
    for number, piece in enumerate(re.split(r"\[\d\] ", told + stop.rstrip())[1:]):
        assert f"{fw.TAGS[number]} {piece.strip()}" in text
        passages.append(piece.strip())
    found = ASKED.findall(rest)
    assert "".join(f"{q} = {r} {n} {c}{a} " for q, r, n, c, a in found) == rest + " "
    number = lambda tag: fw.TAGS.index(tag.strip()) if tag else None  # noqa: E731
    return passages, [(q, r, n, number(c), a) for q, r, n, c, a in found]


def meant(question):
    """The person and the relation that a question is about."""
    person = next(word for word in question.split() if word in fw.PEOPLE)
    return person, next(
        r for r in fw.RELATIONS for w in range(3) if question == fw.question(person, r, w)
    )


def those_that_tell(passages, person, relation):
    values = set(fw.VALUES[relation])
    return [i for i, p in enumerate(passages) if person in p.split() and values & set(p.split())]


@pytest.mark.parametrize("unknown", [0.0, 0.4])
@pytest.mark.parametrize(("count", "asked"), [(0, None), (1, None), (2, 1), (2, 3), (4, None)])
def test_the_texts_of_the_training(unknown, count, asked):
    batches = reading.ReadingBatches(200, unknown, passages=count, questions=asked, seed=2)
    ids, targets = batches(5)
    assert ids.shape == targets.shape and ids.shape[1] <= fw.CONTEXT
    assert all(a.equal(b) for a, b in zip((ids, targets), batches(5), strict=True))
    silent, places, number = 0, torch.zeros(4), asked or max(count, 1)
    for text, row in zip(texts_of(ids), targets, strict=True):
        passages, questions = parsed(text)
        assert len(passages) == count and len(questions) == number
        wanted, cites = [], []
        for question, about, name, cited, answer in questions:
            person, relation = meant(question)
            assert (about, name) == (relation, person)
            right = those_that_tell(passages, person, relation)
            if right:
                assert right == [cited] and answer in passages[cited].split()
                places[cited] += 1
                cites.append(cited)
            else:
                assert cited is None
                assert answer == "unknown" if unknown else answer in fw.VALUES[relation]
                assert unknown or count == 0
                silent += 1
            wanted += [about, name]
            wanted += [answer, "<end>"] if cited is None else [fw.TAGS[cited], answer]
        assert [fw.WORDS[i] for i in row[row != IGNORE]] == wanted
        if not asked and not unknown:  # each passage is asked for once
            assert sorted(cites) == [*range(count)]
    n = 200 * number
    wanted = n if count == 0 else n * unknown
    assert silent == pytest.approx(wanted, abs=2.5 * n**0.5)  # five deviations
    assert not count or (places[:count] > n * (1 - unknown) / count / 2).all()


def test_most_wrong_passages_are_near_misses():
    ids, _ = reading.ReadingBatches(400, passages=4, questions=1, seed=4)(0)
    kinds = collections.Counter()
    for text in texts_of(ids):
        passages, [(question, *_)] = parsed(text)
        person, relation = meant(question)
        for words in (set(p.split()) for p in passages):
            kinds[person in words, bool(words & set(fw.VALUES[relation]))] += 1
    # Half of the texts have one relation. In the others, of nine other facts of two people, four
    # are of the same person and one is of the relation.
    for kind, share in (((True, False), 2 / 9), ((False, True), 5 / 9), ((False, False), 2 / 9)):
        assert kinds[kind] / 1200 == pytest.approx(share, abs=0.06)
    assert kinds[True, True] == 400


def test_doubt_comes_after_the_ramp():
    batches = reading.ReadingBatches(300, 0.5, passages=4, ramp=100, seed=1)
    for step, share in ((0, 0), (99, 0), (100, 0.5), (1_000, 0.5)):
        texts = [parsed(text) for text in texts_of(batches(step)[0])]
        silent = [a == "unknown" for _, questions in texts for *_, a in questions]
        assert sum(silent) / len(silent) == pytest.approx(share, abs=0.08 * (share > 0))
    nothing = reading.ReadingBatches(20, 0.5, passages=0, ramp=100)(0)[0]  # says so at once
    assert all(parsed(text)[1][0][-1] == "unknown" for text in texts_of(nothing))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_near_texts_are_about_one_person(count):
    batches = reading.ReadingBatches(200, 0.5, passages=count, ramp=10, near=1.0, seed=6)
    for text in texts_of(batches(10)[0]):
        passages, questions = parsed(text)
        names = {w for p in passages for w in p.split() if w in fw.PEOPLE}
        assert len(names) == 1  # nothing but the relation tells them apart,
        assert {meant(q)[0] for q, *_ in questions} == names  # and a missing one is as near
        told = [r for p in passages for r in fw.RELATIONS if set(p.split()) & set(fw.VALUES[r])]
        assert len(set(told)) == count
    plain = reading.ReadingBatches(200, passages=count, seed=6)(9)[0]
    assert batches(9)[0].equal(plain)  # before the end of the ramp there are none


def test_a_share_of_the_texts_is_near():
    batches = reading.ReadingBatches(600, passages=4, near=0.4, seed=2)
    kinds = collections.Counter()
    for text in texts_of(batches(0)[0]):
        passages, _ = parsed(text)
        names = len({w for p in passages for w in p.split() if w in fw.PEOPLE})
        kinds[names] += 1
    # Of the texts that are not near, half are of four people; of four of the ten facts of two
    # people, all are of one person in 1 of 21.
    assert kinds[1] / 600 == pytest.approx(0.4 + 0.3 / 21, abs=0.08)
    assert kinds[4] / 600 == pytest.approx(0.3, abs=0.08)


def test_each_step_has_as_many_passages_in_all_its_texts():
    batches, seen = reading.ReadingBatches(20, seed=3), set()
    for step in range(40):
        ids, _ = batches(step)
        counts = {len(parsed(text)[0]) for text in texts_of(ids)}
        assert len(counts) == 1
        seen |= counts
    assert seen == {0, 1, 2, 3, 4}


def test_what_is_asked_lies_behind_an_equals_sign():
    for passages in (0, 3):
        ids, targets = reading.ReadingBatches(50, passages=passages, seed=0)(0)
        sign = ids == fw.INDEX["="]
        asked = sum(sign.roll(i, 1) for i in range(4)).bool()
        assert (targets != IGNORE).equal(asked)
        assert asked.sum(1).eq(4 * max(passages, 1)).all()


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
        "where does ada live ?", ["ada lives in rome .", "ugo owns a cat ."]
    )
    assert prompt == "[1] ada lives in rome . [2] ugo owns a cat . where does ada live ? ="
    assert fw.decode(fw.encode(prompt)) == prompt
    with pytest.raises(ValueError, match="at most 4"):
        reading.reader_prompt("where does ada live ?", ["ada lives in rome ."] * 5)
    with pytest.raises(ValueError, match="'atlantis'"):
        fw.encode("ada lives in atlantis .")
    with pytest.raises(TypeError, match="passages"):
        reading.reader_prompt("where does ada live ?", "ada lives in rome .")


def test_a_reader_starts_with_places_that_know_their_neighbours():
    torch.manual_seed(0)
    net = GPT(GPTConfig(fw.VOCABULARY, fw.CONTEXT, 2, 2, 32))
    before = net.tokens.weight.detach().clone()
    assert reading.reader_start(net) is net
    places = net.positions.weight.detach()
    turn = torch.atan2(places[:, ::2], places[:, 1::2])[1]  # from one place to the next
    torch.testing.assert_close(turn, fw.CONTEXT ** -(torch.arange(0, 32, 2) / 32))
    torch.testing.assert_close(
        places[:, ::2].hypot(places[:, 1::2]), torch.full((fw.CONTEXT, 16), 0.7)
    )
    alike = F.normalize(places, dim=1)
    alike = alike @ alike.T
    assert (alike.diagonal(1) > alike.diagonal(8).max()).all()
    torch.testing.assert_close(net.tokens.weight, 15 * before)
    for i, block in enumerate(net.blocks):
        query, key, _ = block.attention.qkv.weight.split(32)
        same = (query == key).all(1)
        assert same.tolist() == [i > 0] * 16 + [False] * 16
    matrices, rest = reading.reader_groups(net, 0.01)
    assert matrices["muon"] and "lr" not in matrices and rest["lr"] == 0.005
    assert len(matrices["params"]) + len(rest["params"]) == len(list(net.parameters()))


def test_a_reader_may_start_from_the_vectors_of_the_search():
    torch.manual_seed(0)
    encoder = BiEncoder(fw.VOCABULARY, 32)
    torch.nn.init.normal_(encoder.weights.weight, mean=1.0)  # longer than the usual tokens
    start = lambda encoder: reading.reader_start(  # noqa: E731
        GPT(GPTConfig(fw.VOCABULARY, fw.CONTEXT, 2, 2, 32)), encoder
    )
    net = start(encoder)
    rows = encoder.weights.weight.exp() * encoder.vectors.weight
    told = fw.INDEX["job"], fw.INDEX["baker"], fw.INDEX["ravi"]
    tokens = net.tokens.weight.detach()
    length, usual = (x.norm(dim=1).mean().item() for x in (tokens, start(None).tokens.weight))
    assert length == pytest.approx(usual, rel=0.02)
    larger = tokens[told, :] / rows[told, :]
    torch.testing.assert_close(larger, larger[0, 0].expand_as(larger))
    texts = [fw.search_ids(fw.question("ravi", "pet", w)) for w in range(3)]
    texts = [[i for i in text if i != fw.INDEX["ravi"]] for text in texts]
    wanted = F.normalize(encoder.encode(padded(texts)).mean(0), dim=0)
    mean = larger[0, 0] * rows.norm(dim=1).mean()
    torch.testing.assert_close(tokens[fw.INDEX["pet"]], mean * wanted)
    with pytest.raises(ValueError, match="encoder: expected vectors of shape .*32.*16"):
        start(BiEncoder(fw.VOCABULARY, 16))


class Copier(GPT):
    """Says "work ada", then a tag or not, then the value at a place, whatever is asked."""

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
            value = fw.FIRST_VALUE + self.place
            after = {fw.INDEX["="]: fw.INDEX["work"], fw.INDEX["work"]: fw.INDEX["ada"],
                     fw.INDEX["ada"]: fw.INDEX.get(self.tag, value)}  # fmt: skip
            said = after.get(row[-1].item(), value)
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
    assert reading.read(Copier(3, None), asked, told) == [(value, None)] * 2
    unknown = Copier(0, "unknown")
    assert reading.read(unknown, asked, told) == [("unknown", None)] * 2
    assert reading.read(Copier(3, "[2]"), [], []) == []
