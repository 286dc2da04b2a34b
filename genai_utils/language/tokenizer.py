"""From text to numbers and back: characters, and pieces of words learned from counts.

The trainers for real text are those of the library `tokenizers`. `learn_merges` shows on a
hand-sized example what they do; one line decides between byte-pair encoding and WordPiece.

Source: Sennrich, Haddow & Birch 2016 (BPE); Schuster & Nakajima 2012 (WordPiece).
"""

from collections import Counter

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from genai_utils import inputs
from genai_utils.inputs import kind_of, one_of, refusal, whole

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # BERT's, numbers 0 to 4


def pair_counts(words):
    """How often two pieces stand side by side: Counter of (left, right).

    words: dict, word as a tuple of pieces -> how often the word occurs.
    """
    counts = Counter()
    for pieces, n in words.items():
        for pair in zip(pieces, pieces[1:], strict=False):
            counts[pair] += n
    return counts


def merge_pair(pieces, pair):
    """A word's pieces (a tuple) with each occurrence of the pair, left to right, made one piece."""
    merged, i = [], 0
    while i < len(pieces):
        if pieces[i : i + 2] == pair:
            merged.append(pieces[i] + pieces[i + 1])
            i += 2
        else:
            merged.append(pieces[i])
            i += 1
    return tuple(merged)


def learn_merges(words, merges, score="count"):
    """The first merges of a text: a list of pairs, best first.

    words: dict, word -> how often it occurs; each starts as a tuple of its letters.
    score: "count" (byte-pair encoding): the pair seen most often; "likelihood" (WordPiece): the
    pair with the highest count(left, right) / (count(left) · count(right)).
    Ties go to the pair that is first in the alphabet. It ends early where no pair is left.

    Raises TypeError for words that are no dict, ValueError for another score or no words.
    Source: Sennrich, Haddow & Birch 2016, algorithm 1.
    """
    one_of(score, "score", ("count", "likelihood")), whole(merges, "merges", least=0)
    if not isinstance(words, dict):
        raise refusal(
            "words", "a dict, word -> how often it occurs", kind_of(words),
            "count them first: Counter(text.split())", TypeError,
        )  # fmt: skip
    if not words:
        raise refusal("words", "at least one word", "none")
    words, learned = {tuple(word): n for word, n in words.items()}, []
    for _ in range(merges):
        pairs = pair_counts(words)
        if not pairs:
            break
        if score == "likelihood":
            single = Counter()
            for pieces, n in words.items():
                for piece in pieces:
                    single[piece] += n
            pairs = {(a, b): n / (single[a] * single[b]) for (a, b), n in pairs.items()}
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learned.append(best)
        merged = Counter()
        for pieces, n in words.items():
            merged[merge_pair(pieces, best)] += n
        words = dict(merged)
    return learned


class CharTokenizer:
    """One number for each character of a text, in the order of their code points.

    Raises TypeError for what is no text, ValueError for an empty one, and where encode meets a
    character it has never seen.
    """

    def __init__(self, text):
        if not _text(text):
            raise refusal("text", "a text with at least one character", "none")
        self.characters = sorted(set(text))
        self.index = {c: i for i, c in enumerate(self.characters)}

    def __len__(self):
        return len(self.characters)

    def encode(self, text):
        """The numbers of a text, (T,) int64."""
        unknown = sorted(set(_text(text)) - set(self.characters))
        if unknown:
            raise refusal(
                "text", f"the {len(self)} characters of this vocabulary", f"{unknown} too",
                "leave them out, or build the tokenizer from a text that has them",
            )  # fmt: skip
        return torch.tensor([self.index[c] for c in text], dtype=torch.int64)

    def decode(self, ids):
        """The text of a list or tensor of numbers."""
        return "".join(self.characters[int(i)] for i in ids)

    def pieces(self, ids):
        """The text of each number on its own."""
        return [self.characters[int(i)] for i in ids]


class SubwordTokenizer:
    """A tokenizer of the library `tokenizers`, with tensors in and out.

    tokenizer: the library's object. index: dict piece -> number. len(): size of the vocabulary.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        # the library's dict comes in another order in every process
        self.index = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))

    def __len__(self):
        return self.tokenizer.get_vocab_size()

    def encode(self, text):
        """The numbers of a text, (T,) int64, without special tokens around it."""
        ids = self.tokenizer.encode(_text(text), add_special_tokens=False).ids
        return torch.tensor(ids, dtype=torch.int64)

    def encode_all(self, texts):
        """The numbers of many texts at once (faster): a list of (T,) int64.

        Raises TypeError for one text, or anything else that is no list of texts.
        """
        texts = inputs.texts(texts, "texts")
        found = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [torch.tensor(e.ids, dtype=torch.int64) for e in found]

    def decode(self, ids):
        """The text of a list or tensor of numbers, special tokens included."""
        return self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)

    def pieces(self, ids):
        """The piece of each number as the vocabulary spells it."""
        return [self.tokenizer.id_to_token(int(i)) for i in ids]


def train_bpe(texts, size):
    """Byte-level byte-pair encoding as in GPT-2, trained on texts; no text is unknown to it.

    size: of the vocabulary, at least 256 (the bytes). A piece that begins with a space is spelled
    with Ġ. Raises TypeError for one text instead of a list of them, ValueError for a smaller size.
    Source: Radford et al. 2019, section 2.2.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size, texts = whole(size, "size", len(alphabet)), inputs.texts(texts, "texts")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return SubwordTokenizer(tokenizer)


def train_wordpiece(texts, size):
    """WordPiece as in uncased BERT, trained on texts; pieces inside a word begin with ##.

    Numbers 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK]. size: of the vocabulary with them.
    Raises TypeError for one text instead of a list of them, ValueError for a smaller size.
    Source: Devlin et al. 2019, section 3.
    """
    size, texts = whole(size, "size", len(SPECIAL) + 1), inputs.texts(texts, "texts")
    tokenizer = _wordpiece(models.WordPiece(unk_token="[UNK]"))
    # The library numbers the letters inside words (##a) in an order that changes from run to run,
    # and the numbers decide which of two pairs is merged first. So they are given, in order.
    inside = sorted({f"##{letter}" for word in _words(tokenizer, texts) for letter in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*SPECIAL, *inside], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = _wordpiece(models.WordPiece(tokenizer.get_vocab(), unk_token="[UNK]"))
    trained.add_special_tokens(list(SPECIAL))  # these alone: ##a is a piece like all others
    return SubwordTokenizer(trained)


def from_pieces(pieces):
    """The WordPiece tokenizer with these pieces, numbered in this order; the first are SPECIAL.

    Raises TypeError for one text instead of a list of them, ValueError for other first pieces, or
    a piece that is there twice.
    """
    pieces = inputs.texts(pieces, "pieces")
    if tuple(pieces[: len(SPECIAL)]) != SPECIAL or len(set(pieces)) < len(pieces):
        expected = f"different pieces, the first of them {', '.join(SPECIAL)}"
        raise refusal("pieces", expected, f"{len(pieces)}, {len(set(pieces))} of them different")
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = _wordpiece(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    return SubwordTokenizer(tokenizer)


def _wordpiece(model):
    """BERT's way around a model of pieces: lower case, words and signs apart."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _words(tokenizer, texts):
    """The words of the texts as the trainer sees them, each once."""
    found = set()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        found.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return found


def _text(text):
    """text, unchanged. Raises TypeError for what is no string, such as a list of texts."""
    if not isinstance(text, str):
        raise refusal("text", "one text", kind_of(text), kind=TypeError)
    return text
