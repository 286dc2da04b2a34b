"""Words: how a text is cut into them, how they are numbered, and lists of pairs to test them on."""

import re
from collections import Counter
from typing import NamedTuple

import torch

from ._arguments import one_of, positive_int
from .entries import mark_used
from .search import fetch_or_stand_in, read_bytes
from .text import _gensim_file

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # letters of any alphabet, inner apostrophes


def words(text):
    """The words of a text, lower case: "Don't stop at 2.5!" -> ["don't", "stop", "at"]."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]


class Vocabulary:
    """The words of some documents, numbered from 0, the most frequent first.

    documents: lists of words. Words seen less than min_count times are left out, and of the others
    only the first max_size are kept (None: all). Ties are in alphabetical order.

    words: list of V words. counts: (V,) int64. index: dict word -> number.

    Raises TypeError for a document that is a bare string, ValueError where no word is left.
    """

    def __init__(self, documents, min_count=1, max_size=None):
        min_count = positive_int("min_count", min_count)
        if max_size is not None:
            max_size = positive_int("max_size", max_size)
        counter = Counter()
        for document in documents:
            _not_a_string(document)
            counter.update(document)
        kept = [(word, n) for word, n in counter.items() if n >= min_count]
        kept = sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:max_size]
        if not kept:
            raise ValueError(
                f"no word is left: the documents hold {len(counter)} different words, "
                f"none of them {min_count} times; lower min_count or give more text"
            )
        self.words = [word for word, _ in kept]
        self.counts = torch.tensor([n for _, n in kept])  # (V,)
        self.index = {word: i for i, word in enumerate(self.words)}

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self.index

    def __repr__(self):
        return f"Vocabulary of {len(self):,} words, {self.counts.sum().item():,} counted"

    def encode(self, words):
        """The numbers (m,) int64 of a list of words; those it does not know are left out."""
        _not_a_string(words)
        return torch.tensor([self.index[w] for w in words if w in self.index], dtype=torch.int64)

    def decode(self, ids):
        """The words of a list or tensor of numbers."""
        return [self.words[int(i)] for i in ids]


def _not_a_string(words):
    if isinstance(words, str):
        raise TypeError("expected a list of words, got a bare string: cut it with data.words(text)")


class Reviews(NamedTuple):
    """n sentences in a fixed mixed order; labels (n,) int64: 1 praises the film, 0 does not."""

    texts: list
    labels: torch.Tensor


def reviews():
    """10,662 sentences of film reviews, half of them positive.

    Where they cannot be had (no network, or the ci profile) the 200 that come with gensim stand in
    for them, with one printed line.

    Returns Reviews. Raises DataError for files that are damaged.
    Source: Pang & Lee 2005; lecture items B33-B36.
    """
    paths = fetch_or_stand_in("reviews")
    if paths is None:
        lines = _gensim_file("pang_lee_polarity.cor", "reviews").read_text("latin-1").split("\n")
        pairs = [line.strip().split(" ", 1) for line in lines if line.strip()]
        pairs = [(text, int(label == "__label__pos")) for label, text in pairs]
        mark_used("review_sample (stand-in for reviews)")
    else:
        pairs = []
        for label, name in enumerate(("rt-polarity.neg", "rt-polarity.pos")):
            lines = read_bytes(paths[name]).decode("latin-1").split("\n")
            pairs += [(line.strip(), label) for line in lines if line.strip()]
        mark_used("reviews")
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()
    return Reviews(
        [pairs[i][0] for i in order],
        torch.tensor([pairs[i][1] for i in order]),
    )


SIMILARITY = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}


def word_similarity(name):
    """Pairs of words and how alike people find them, 0 to 10: a list of (word, word, score).

    "wordsim353": 353 pairs, relatedness (tiger, zoo) and likeness (tiger, cat) mixed.
    "simlex999": 999 pairs, likeness alone: (coffee, cup) is low.

    Raises ValueError for another name, DataError where gensim is not installed.
    Source: Finkelstein et al. 2002; Hill, Reichart & Korhonen 2015.
    """
    one_of("name", name, SIMILARITY)
    lines = _gensim_file(SIMILARITY[name], "word_benchmarks").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    mark_used("word_benchmarks")
    return [(a.lower(), b.lower(), float(score)) for a, b, score in rows if _is_number(score)]


def analogies():
    """Questions "a is to b as c is to …": a dict, section -> list of (a, b, c, d), lower case.

    Source: Mikolov et al. 2013.
    """
    sections, questions = {}, None
    text = _gensim_file("questions-words.txt", "word_benchmarks").read_text("utf-8")
    for line in text.splitlines():
        if line.startswith(":"):
            questions = sections.setdefault(line[1:].strip(), [])
        elif line.strip():
            questions.append(tuple(line.lower().split()))
    mark_used("word_benchmarks")
    return sections


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
