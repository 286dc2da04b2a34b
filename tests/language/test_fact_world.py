"""The world of sentences: its facts, its words, its changes."""

import pytest
import torch

from genai_utils.language import fact_world as fw


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


def test_the_words_of_a_search():
    asked = "Where does Ada live ?"
    assert [fw.WORDS[i] for i in fw.search_ids(asked)] == ["where", "does", "ada", "live"]
    assert fw.search_ids("[1] zebra = .") == []
