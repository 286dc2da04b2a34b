"""Words: how a text is cut into them, how they are numbered, and lists of pairs to test them on."""

import re
from collections import Counter
from typing import NamedTuple

import torch

from genai_utils.inputs import kind_of, one_of, refusal, texts, whole

from .entries import mark_used
from .packages import damaged, gensim_lines
from .search import fetch_or_stand_in, read_bytes

CUT = "cut it into words: data.words(text)"
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # letters of any alphabet, inner apostrophes


def words(text):
    """The words of a text, lower case: "Don't stop at 2.5!" -> ["don't", "stop", "at"]."""
    if not isinstance(text, str):
        raise refusal(
            "text", "a text", kind_of(text), "take texts one by one: [words(t) for t in texts]",
            kind=TypeError,
        )  # fmt: skip
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]


class Vocabulary:
    """The words of some documents, numbered from 0, the most frequent first.

    documents: lists of words. Words seen less than min_count times are left out, and of the others
    only the first max_size are kept (None: all). Ties are in alphabetical order.

    words: list of V words. counts: (V,) int64. index: dict word -> number.

    Raises TypeError for a document that is a bare string, ValueError where no word is left.
    """

    def __init__(self, documents, min_count=1, max_size=None):
        min_count = whole(min_count, "min_count")
        max_size = None if max_size is None else whole(max_size, "max_size")
        if isinstance(documents, (str, bytes)) or not hasattr(documents, "__iter__"):
            raise refusal(
                "documents", "a list of lists of words", kind_of(documents),
                "cut each text into words: [data.words(text)]", kind=TypeError,
            )  # fmt: skip
        counter = Counter()
        for place, document in enumerate(documents):
            counter.update(texts(document, f"documents[{place}]", CUT))
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
        words = texts(words, "words", CUT)
        return torch.tensor([self.index[w] for w in words if w in self.index], dtype=torch.int64)

    def decode(self, ids):
        """The words of a list or tensor of numbers, each from 0 to V - 1."""
        return [self.words[whole(i, "ids", least=0, most=len(self) - 1)] for i in ids]


class Reviews(NamedTuple):
    """n sentences in a fixed mixed order; labels (n,) int64: 1 praises the film, 0 does not."""

    texts: list
    labels: torch.Tensor


SAMPLE = "pang_lee_polarity.cor"


def reviews():
    """10,662 sentences of film reviews, half of them positive.

    Where they cannot be had (no network, or the ci profile) the 200 that come with gensim stand in
    for them, with one printed line.

    Returns Reviews. Raises DataError for files that are damaged.
    Source: Pang & Lee 2005; lecture items B33-B36.
    """
    paths = fetch_or_stand_in("reviews")
    if paths is None:
        pairs = [_labelled(*line) for line in gensim_lines(SAMPLE, "reviews", "latin-1")]
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


def _labelled(number, line):
    """(text, 1 or 0) of a line "__label__pos text"."""
    label, _, text = line.strip().partition(" ")
    if label not in ("__label__pos", "__label__neg") or not text:
        raise damaged(SAMPLE, "reviews", number, "__label__pos or __label__neg and a text", line)
    return text, int(label == "__label__pos")


SIMILARITY = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}


def word_similarity(name):
    """Pairs of words and how alike people find them, 0 to 10: a list of (word, word, score).

    "wordsim353": 353 pairs, relatedness (tiger, zoo) and likeness (tiger, cat) mixed.
    "simlex999": 999 pairs, likeness alone: (coffee, cup) is low.

    Raises ValueError for another name, DataError where gensim is not installed.
    Source: Finkelstein et al. 2002; Hill, Reichart & Korhonen 2015.
    """
    one_of(name, "name", SIMILARITY)
    lines = gensim_lines(SIMILARITY[name], "word_benchmarks")
    found = [_scored(name, *line) for line in lines if not line[1].startswith("#")]
    mark_used("word_benchmarks")
    return found


def _scored(name, number, line):
    """(word, word, score) of a line of the three, with tabs between them."""
    try:
        a, b, score = line.split("\t")
        score = float(score)
        if not (a and b and 0 <= score <= 10):
            raise ValueError
    except ValueError:
        expected = "two words and a score from 0 to 10"
        raise damaged(SIMILARITY[name], "word_benchmarks", number, expected, line) from None
    return a.lower(), b.lower(), score


def analogies():
    """Questions "a is to b as c is to …": a dict, section -> list of (a, b, c, d), lower case.

    Source: Mikolov et al. 2013.
    """
    name, sections, questions = "questions-words.txt", {}, None
    for number, line in gensim_lines(name, "word_benchmarks"):
        words = tuple(line.lower().split())
        if line.startswith(":"):
            questions = sections.setdefault(line[1:].strip(), [])
        elif questions is None or len(words) != 4:
            expected = "a line with four words, below one with a colon"
            raise damaged(name, "word_benchmarks", number, expected, line)
        else:
            questions.append(words)
    mark_used("word_benchmarks")
    return sections
