"""What a scene is, a row of words, and the sentences that say it, there and back.

A scene is a row of six whole numbers, one for each of ATTRIBUTES: the place of a word in its list,
or UNSAID. A table is (n, 6) int64. What a caption leaves unsaid may be anything. Of each kind one
colour, and of the digits white too, is HELD_OUT: never drawn unless it is asked for, so that a
model can be asked for combinations that it has never seen together.

How scenes look stands in scenes.py, where these names are at hand too.
"""

import re

import torch

from genai_utils.inputs import one_of, refusal, texts, tokens, whole

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
DIGITS = tuple("0123456789")
KINDS = SHAPES + DIGITS
COLOURS = {
    "red": (0.90, 0.15, 0.15), "orange": (1.00, 0.55, 0.05), "yellow": (0.97, 0.93, 0.25),
    "green": (0.15, 0.75, 0.25), "cyan": (0.20, 0.85, 0.90), "blue": (0.20, 0.35, 0.95),
    "purple": (0.65, 0.25, 0.85), "white": (0.97, 0.97, 0.97),
}  # fmt: skip
PLACES = {  # name -> (right, down, how a sentence says it)
    "top left": (-1, -1, "at the top left"), "top": (0, -1, "at the top"),
    "top right": (1, -1, "at the top right"), "left": (-1, 0, "on the left"),
    "centre": (0, 0, "in the centre"), "right": (1, 0, "on the right"),
    "bottom left": (-1, 1, "at the bottom left"), "bottom": (0, 1, "at the bottom"),
    "bottom right": (1, 1, "at the bottom right"),
}  # fmt: skip
ATTRIBUTES = {  # name -> its words; the columns of a table
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "size": ("small", "medium", "large"),
    "texture": ("plain", "striped", "dotted"),
    "place": tuple(PLACES),
    "count": ("one", "two", "three"),
}
KIND, COLOUR, SIZE, TEXTURE, PLACE, COUNT = range(6)
UNSAID = -1
SAID = torch.tensor([0.9, 0.9, 0.6, 0.6, 0.7, 1.0])  # how often a caption says each attribute
BRIEF = torch.tensor([1.0, 0.8, 0.3, 0.3, 0.3, 0.4])  # the same, of captions that say less
FIRST = torch.tensor([1.0, 0.2, 0.0, 0.0, 0.0, 0.3])  # of those that hardly say more than the kind
COUNTED = torch.tensor([0.6, 0.2, 0.2])  # how many scenes hold one, two, three objects

HELD_OUT = torch.zeros(len(KINDS), len(COLOURS), dtype=torch.bool)
for _kind in range(len(KINDS)):
    HELD_OUT[_kind, 3 * _kind % 7] = True
HELD_OUT[len(SHAPES) :, -1] = True  # white digits, as MNIST's are

END = 0  # the end of a sentence, and what fills up after it
CONTEXT = 16  # tokens, the end included
PHRASINGS = 5
WORDS = (
    "<end>", "a", "an", "is", "are", "there", "picture", "of", "that", "and", "at", "in", "on",
    "the", "object", "objects", "top", "bottom", "left", "right", "centre", *ATTRIBUTES["count"],
    *ATTRIBUTES["size"], *ATTRIBUTES["texture"], *COLOURS, *KINDS,
    *(f"{kind}es" if kind == "cross" else f"{kind}s" for kind in KINDS),
)  # fmt: skip
INDEX = {word: i for i, word in enumerate(WORDS)}
PLURALS = dict(zip(KINDS, WORDS[-len(KINDS) :], strict=True))


# ---- scenes


def scene(**said):
    """A row (6,) of what is said: scene(kind="circle", colour="red"); the rest is UNSAID.

    Raises ValueError for an attribute or a word that is none.
    """
    row = torch.full((len(ATTRIBUTES),), UNSAID)
    for name, word in said.items():
        one_of(name, "attribute", ATTRIBUTES)
        row[list(ATTRIBUTES).index(name)] = ATTRIBUTES[name].index(
            one_of(word, name, ATTRIBUTES[name])
        )
    return row


def words(row):
    """What a row says, as a dict: {"kind": "circle", "colour": "red"}."""
    return _words(_row(row).tolist())


def _words(numbers):
    pairs = zip(ATTRIBUTES.items(), numbers, strict=True)
    return {name: known[i] for (name, known), i in pairs if i != UNSAID}


def held_out(table):
    """Which scenes are of a combination that no training sees, (n,) bool; unsaid ones are not."""
    kind, colour = require_table(table)[:, :2].T
    said = (kind != UNSAID) & (colour != UNSAID)
    return HELD_OUT[kind.clamp(min=0), colour.clamp(min=0)] & said


def draw(n, generator, unseen=False, said=None):
    """n complete scenes (n, 6), pairs of kind and colour equally likely.

    unseen: True for held-out pairs only, False for none of them, None for both. said: a row; what
    it says holds in all scenes. Digits are plain unless texture is said. The place is that of one
    object: where it is said there is one; where several are asked for it stays UNSAID.
    Raises ValueError where no such pair is left.
    """
    n = whole(n, "n")
    said = scene() if said is None else _row(said, "said")
    pairs = torch.ones_like(HELD_OUT) if unseen is None else unseen == HELD_OUT
    for axis in (KIND, COLOUR):
        if said[axis] != UNSAID:
            keep = torch.arange(pairs.shape[axis]) == said[axis]
            pairs = pairs & (keep[:, None] if axis == KIND else keep)
    pairs = pairs.nonzero()
    if not len(pairs):
        raise refusal("said", f"scenes with unseen={unseen}", repr(caption(said)))
    of = {"generator": generator}
    table = torch.stack([torch.randint(len(w), (n,), **of) for w in ATTRIBUTES.values()], 1)
    table[:, :2] = pairs[torch.randint(len(pairs), (n,), **of)]
    count = COUNTED.multinomial(n, True, **of)
    table[:, COUNT] = count if said[PLACE] == UNSAID else 0
    table[table[:, KIND] >= len(SHAPES), TEXTURE] = 0
    table = torch.where(said == UNSAID, table, said)
    table[table[:, COUNT] > 0, PLACE] = UNSAID
    return table


def _row(row, name="row"):
    """One scene (6,) of whole numbers."""
    if torch.is_tensor(row) and row.ndim != 1:
        shape = tuple(row.shape)
        raise refusal(name, f"one scene of shape ({len(ATTRIBUTES)},)", f"the shape {shape}")
    return require_table(row[None] if torch.is_tensor(row) else row, name)[0]


def require_table(table, name="table"):
    """A table (n, 6) of whole numbers, each of them UNSAID or the place of a word; else refused."""
    if not torch.is_tensor(table) or table.dtype != torch.int64:
        raise refusal(name, "a tensor of int64", type(table).__name__, kind=TypeError)
    if table.ndim != 2 or table.shape[1] != len(ATTRIBUTES):
        shape = tuple(table.shape)
        raise refusal(name, f"scenes of shape (n, {len(ATTRIBUTES)})", f"the shape {shape}")
    most = torch.tensor([len(w) - 1 for w in ATTRIBUTES.values()], device=table.device)
    if ((table < UNSAID) | (table > most)).any():
        wrong = ((table < UNSAID) | (table > most)).any(1).nonzero()[0].item()
        raise refusal(f"{name}[{wrong}]", "places of words", table[wrong].tolist())
    return table


# ---- sentences


def caption(row, phrasing=0):
    """A sentence that says what the row says, in one of five phrasings.

    0  two small striped red circles          a small red 7 at the top left
    1  there are two small striped red circles
    2  a picture of two small striped red circles
    3  two circles that are small striped and red
    4  two circles small striped red          a list, without grammar

    An unsaid kind is called an object; an unsaid count counts as one.
    """
    return _caption(_row(row).tolist(), whole(phrasing, "phrasing", 0, PHRASINGS - 1))


def _caption(numbers, phrasing):
    said = _words(numbers)
    count = said.get("count", "one")
    one = count == "one"
    kind = said.get("kind")
    noun = ("object" if one else "objects") if kind is None else kind if one else PLURALS[kind]
    place = PLACES[said["place"]][2] if "place" in said else ""
    adjectives = [said[name] for name in ("size", "texture", "colour") if name in said]
    if phrasing == 4:
        return " ".join([count, noun, *adjectives, said.get("place", "")]).strip()
    are = "is" if one else "are"
    head = [noun] if phrasing == 3 else [*adjectives, noun]
    article = ("an" if head[0][0] in "o8" else "a") if one else count
    text = " ".join([article, *head])
    if phrasing == 3 and adjectives:
        *others, last = adjectives
        text += f" that {are} " + " ".join([*others, *(["and"] if others else []), last])
    text = {1: f"there {are} {text}", 2: f"a picture of {text}"}.get(phrasing, text)
    return f"{text} {place}".strip()


def captions(table, generator, say=SAID):
    """A caption for each scene: phrasings at random, each attribute said with its probability."""
    table = require_table(table)
    spoken = torch.rand(table.shape, generator=generator) < say
    how = torch.randint(PHRASINGS, (len(table),), generator=generator).tolist()
    rows = torch.where(spoken, table, UNSAID).tolist()
    return [_caption(row, phrasing) for row, phrasing in zip(rows, how, strict=True)]


def split(text):
    """The words of a sentence, in small letters, without signs. Raises ValueError for none."""
    found = re.findall(r"\w+", text.lower())
    if not found:
        raise refusal("text", "at least one word", repr(text[:60]), "say what is to be seen")
    if unknown := [word for word in found if word not in INDEX]:
        near = ", ".join([*ATTRIBUTES["colour"][:3], *KINDS[:3]])
        raise refusal(
            "text", "words of this world", repr(unknown[0]), f"as {near}, …; see scenes.WORDS"
        )
    return found


def encode(sentences):
    """Sentences as numbers, (n, CONTEXT) int64: the words, the END, and END again to fill up.

    Raises TypeError or ValueError for no list of texts, a text without a word, a word that the
    world does not have, or more words than fit.
    """
    rows = []
    for text in texts(sentences, "sentences"):
        found = split(text)
        if len(found) >= CONTEXT:
            raise refusal("text", f"at most {CONTEXT - 1} words", f"{len(found)}")
        rows.append([INDEX[word] for word in found] + [END] * (CONTEXT - len(found)))
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, CONTEXT)


def decode(ids):
    """The sentence of ids (T,), up to the first END."""
    found = [WORDS[i] for i in tokens(ids, "ids", len(WORDS)).tolist()]
    return " ".join(found[: found.index("<end>")] if "<end>" in found else found)


def parse(text):
    """The row (6,) that a sentence says: the opposite of `caption`, whatever the order of words.

    Raises ValueError as `encode`, or where an attribute is said twice in different words.
    """
    found, said = split(text), {}

    def note(name, word):
        if said.setdefault(name, word) != word:
            raise refusal("text", f"one {name}", f"{said[name]} and {word}")

    singular = {plural: kind for kind, plural in PLURALS.items()}
    for word in found:
        for name in ("colour", "size", "texture", "count"):
            if word in ATTRIBUTES[name]:
                note(name, word)
        if word in KINDS or word in singular:
            note("kind", singular.get(word, word))
    sides = ("top", "bottom", "left", "right", "centre")
    if where := sorted(set(found) & set(sides), key=sides.index):
        note("place", one_of(" ".join(where), "place", PLACES))
    if "count" not in said and ({"a", "an"} & set(found)):
        said["count"] = "one"
    return scene(**said)
