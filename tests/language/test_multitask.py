"""Four tasks in one form: their inputs and outputs, lines as tokens, and what counts as right."""

import random
from math import comb

import pytest
import torch

from genai_utils.language import multitask
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.tokens import IGNORE


def test_outputs_follow_from_inputs():
    rng, forms = random.Random(0), set()
    for _ in range(200):
        asked, out = multitask.question("translation", rng)
        a, m, _, b, n = asked.split()
        french = multitask.FRENCH
        assert out == f"{french[m]} {french[a]} et {french[n]} {french[b]}"
        asked, out = multitask.question("swap", rng)
        first, second = asked.split(" and ")
        assert out == f"{second} and {first}"
        asked, out = multitask.question("qa", rng)
        capitals = multitask.CAPITALS
        known = asked.split()[-1]
        country = asked.startswith(("which", "whose"))
        assert capitals[out if country else known] == (known if country else out)
        asked, out = multitask.question("reading", rng)
        document, who = asked.split(" where is ")
        notes = [tuple(note.split()) for note in document.rstrip(" .").split(" . ")]
        where = dict(notes)
        assert len(notes) == 4 and set(notes) == set(where.items())  # nobody in two places
        assert 2 <= len(where) <= 3 and len(set(where.values())) == len(where)
        assert out == f"{who} {where[who]}"
        assert multitask.without_document(asked) == f"where is {who}"
        forms.add((len(where), notes[0] == notes[1], who == notes[-1][0]))
    assert len(forms) == 8  # two or three people; who is noted twice, or asked for, stands anywhere


def test_the_numbers_of_inputs_in_the_docstring():
    adjectives, nouns = len(multitask.ADJECTIVES), len(multitask.NOUNS)
    assert (adjectives * nouns) ** 2 == 4096
    people, places = len(multitask.PEOPLE), len(multitask.PLACES)
    # three people, one of them twice: 12 orders of the notes for each set of three
    three = comb(people, 3) * places * (places - 1) * (places - 2) * 3 * 12 * 3
    assert three > 1_000_000
    rng = random.Random(0)
    assert len({multitask.question("qa", rng)[0] for _ in range(6000)}) == 96
    assert len(set(multitask.WORDS)) == multitask.VOCABULARY - 1


def test_examples_avoid_what_is_kept_for_the_test():
    rng = random.Random(0)
    kept = {asked for asked, _ in multitask.examples("qa", 20, rng)}
    rest = multitask.examples("qa", 100, rng, avoid=kept)
    assert len(rest) == 100 and not {asked for asked, _ in rest} & kept
    every = {multitask.question("qa", rng)[0] for _ in range(9000)}
    with pytest.raises(ValueError, match="avoid"):
        multitask.examples("qa", 5, rng, avoid=every)


def test_a_batch_asks_for_all_words_or_for_the_output():
    lines = [
        multitask.line("swap", "red cat and grey dog", "grey dog and red cat"),
        multitask.line("qa", "name the capital of peru", "lima"),
    ]
    ids, targets = multitask.batch_of(lines)
    assert ids.shape == targets.shape == (2, multitask.CONTEXT)
    for row, text in enumerate(lines):
        n = len(text.split())
        assert multitask.decode(ids[row]) == text
        assert targets[row, : n - 1].equal(ids[row, 1:n]) and targets[row, n - 1] == multitask.END
        assert (targets[row, n:] == IGNORE).all()
    _, outputs = multitask.batch_of(lines, outputs_only=True)
    for row, text in enumerate(lines):
        asked = outputs[row] != IGNORE
        said = multitask.decode(outputs[row][asked])
        assert said == text.split(" = ")[1] and outputs[row][asked][-1] == multitask.END
    model = GPT(GPTConfig(multitask.VOCABULARY, multitask.CONTEXT, 1, 1, 8))
    model.check_batch((ids, targets))


def test_exact_match_counts_whole_outputs(monkeypatch):
    pairs = [("name the capital of peru", "lima"), ("name the capital of cuba", "havana")]
    seen = []

    def say(model, prompts, most=8):
        seen.extend(prompts)
        return ["lima", "havana rome"]

    monkeypatch.setattr(multitask, "outputs", say)
    assert multitask.exact_match(None, "qa", pairs) == 0.5
    assert seen[0] == "qa : name the capital of peru ="


def test_a_trained_model_writes_its_line():
    """One line learned by heart: what is written after its prompt is its output."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(multitask.VOCABULARY, multitask.CONTEXT, 1, 2, 16))
    batch = multitask.batch_of([multitask.line("qa", "name the capital of peru", "lima")])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(batch).backward()
        optimizer.step()
    prompts = ["qa : name the capital of peru =", "qa : name the capital of"]
    assert multitask.outputs(model, prompts) == ["lima", "peru = lima"]
    assert multitask.exact_match(model, "qa", [("name the capital of peru", "lima")]) == 1.0


def test_facts_by_hand():
    assert multitask.fact("peru", 1) == ("name the capital of peru", "lima")
    assert multitask.fact("peru", 2) == ("which country has lima", "peru")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="country"):
        multitask.fact("atlantis", 0)
    with pytest.raises(ValueError, match="wording"):
        multitask.fact("peru", 4)
    with pytest.raises(ValueError, match="task"):
        multitask.question("poetry", random.Random(0))
    with pytest.raises(ValueError, match="words of this small world"):
        multitask.encode("qa : where is bob =")
    with pytest.raises(ValueError, match="at most 24 words"):
        multitask.batch_of(["qa : = " + "cat " * 30])
    with pytest.raises(TypeError, match="lines"):
        multitask.batch_of("qa : x = y")
