"""Tokenizers: round trips, merges by hand and as the library learns them, unknown pieces."""

import json
import random

import pytest
import torch

from genai_utils import data
from genai_utils.language.tokenizer import (
    SPECIAL,
    CharTokenizer,
    learn_merges,
    merge_pair,
    pair_counts,
    train_bpe,
    train_wordpiece,
)

WORDS = {"low": 5, "lower": 2, "newest": 6, "widest": 3}


@pytest.fixture(scope="module")
def texts():
    return [article.text for article in data.wikipedia(4)]


def test_pairs_are_counted_as_often_as_their_word():
    counts = pair_counts({("l", "o", "w"): 5, ("l", "o", "l", "o"): 2})
    assert counts == {("l", "o"): 9, ("o", "w"): 5, ("o", "l"): 2}


@pytest.mark.parametrize(
    "pieces, pair, merged",
    [
        ("abab", ("a", "b"), ("ab", "ab")),
        ("aaa", ("a", "a"), ("aa", "a")),  # from the left, no letter used twice
        ("abc", ("b", "a"), ("a", "b", "c")),
        ("", ("a", "b"), ()),
    ],
)
def test_merging_a_pair(pieces, pair, merged):
    assert merge_pair(tuple(pieces), pair) == merged


def test_merges_of_the_textbook_example():
    # es is in newest and widest, 9 times; then est; then lo and low, 7 times each
    assert learn_merges(WORDS, 4) == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]
    # i (3) and d (3) stand together each time: 3/9 is the highest score
    assert learn_merges(WORDS, 1, "likelihood") == [("i", "d")]


def test_merges_end_when_each_word_is_one_piece():
    assert learn_merges({"ab": 3}, 10) == [("a", "b")]
    for words, score, message in ((WORDS, "best", "'count'"), ({}, "count", "at least one word")):
        with pytest.raises(ValueError, match=message):
            learn_merges(words, 2, score)


def test_our_merges_are_those_of_the_library(texts):
    """The same text, the same first merges, wherever no two pairs are equally frequent."""
    tokenizer = train_bpe(texts, 256 + 40).tokenizer
    theirs = json.loads(tokenizer.to_str())["model"]["merges"]
    words = {}
    for text in texts:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
            words[word] = words.get(word, 0) + 1
    assert [tuple(pair) for pair in theirs] == learn_merges(words, 40)


def test_bpe_gives_back_any_text(texts):
    tokenizer = train_bpe(texts, 400)
    assert len(tokenizer) == 400
    for text in ("The quick fox.", "naïve 漢字 🙂", "  two  spaces\nand a line", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = tokenizer.encode_all(["The law", "of"])
    assert [len(x) for x in ids] == [len(tokenizer.encode("The law")), len(tokenizer.encode("of"))]
    assert "".join(tokenizer.pieces(ids[0])) == "TheĠlaw"


def test_wordpiece_knows_its_special_tokens(texts):
    tokenizer = train_wordpiece(texts, 500)
    assert tokenizer.pieces(range(5)) == list(SPECIAL)
    ids = tokenizer.encode("The [MASK] of Anarchism")
    assert 4 in ids and ids.dtype == torch.int64
    assert tokenizer.pieces(tokenizer.encode("漢")) == ["[UNK]"]
    assert tokenizer.decode(tokenizer.encode("THE ANARCHISTS")) == "the anarchists"
    with pytest.raises(TypeError, match="text: expected one text, got 3"):
        tokenizer.encode(3)


@pytest.mark.parametrize("train, size", [(train_bpe, 255), (train_wordpiece, 5), (train_bpe, 3e3)])
def test_too_small_a_vocabulary(train, size):
    with pytest.raises((TypeError, ValueError), match="size: expected a whole number of at least"):
        train(["a"], size)


def test_one_text_is_no_list_of_texts(texts):
    """Python would take it for its letters: a vocabulary of single letters, ids of each letter."""
    for make in (train_bpe, train_wordpiece):
        with pytest.raises(TypeError, match=r"texts: expected a list of texts.*put it into a list"):
            make("the cat sat on the mat", 300)
    tokenizer = train_bpe(texts, 300)
    with pytest.raises(TypeError, match=r"texts: expected a list of texts.*put it into a list"):
        tokenizer.encode_all("the cat")
    with pytest.raises(TypeError, match=r"texts\[1\]: expected a text, got 3"):
        tokenizer.encode_all(["the cat", 3])
    assert len(train_bpe((text for text in texts), 300)) == 300  # any row of texts will do


def test_a_list_of_texts_is_no_text(texts):
    for make in (CharTokenizer, CharTokenizer("ab").encode, train_bpe(texts, 300).encode):
        with pytest.raises(TypeError, match="text: expected one text, got a list"):
            make(["ab", "ba"])
    with pytest.raises(TypeError, match="words: expected a dict.*count them first"):
        learn_merges("low lower", 2)


def test_characters():
    tokenizer = CharTokenizer("hello")
    assert len(tokenizer) == 4 and tokenizer.characters == list("ehlo")
    assert tokenizer.encode("hole").tolist() == [1, 3, 2, 0]
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello" and tokenizer.pieces([1]) == ["h"]
    assert tokenizer.encode("").shape == (0,)
    with pytest.raises(ValueError, match=r"the 4 characters of this .*, got \['!', 'x'\] too"):
        tokenizer.encode("hex!")
    with pytest.raises(ValueError, match="at least one character"):
        CharTokenizer("")


def test_wordpiece_is_the_same_whenever_it_is_trained():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 7))) for _ in range(400)]
    texts = [" ".join(rng.choices(words, k=200)) for _ in range(5)]
    first, *others = (train_wordpiece(texts, 120).index for _ in range(4))
    assert all(other == first for other in others)
    inside = [piece for piece in sorted(first, key=first.get) if len(piece) == 3 and "##" in piece]
    assert inside == [f"##{letter}" for letter in "abcdefgh"]


def test_a_letter_inside_a_word_is_no_special_token():
    tokenizer = train_wordpiece(["ab ba abab"], 20)
    assert tokenizer.pieces(tokenizer.encode("a##b")) != ["a", "##b"]
    assert tokenizer.tokenizer.decode([tokenizer.index[p] for p in ("a", "##b", "[SEP]")]) == "ab"


def test_the_index_has_the_order_of_its_numbers():
    """The library's own dict has another order in every process; the special ones come first."""
    tokenizer = train_wordpiece(["a quick brown fox jumps over the lazy dog"] * 3, 60)
    assert list(tokenizer.index.values()) == list(range(len(tokenizer)))
    assert tuple(tokenizer.index)[:5] == SPECIAL
