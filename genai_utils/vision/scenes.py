"""A world of captioned scenes: small colour pictures of shapes and real digits, and sentences.

    g = torch.Generator().manual_seed(0)
    table = draw(8, g)                       # eight scenes, none of a held-out combination
    x = render(table, g)                     # their pictures (8, 3, 32, 32) in [0, 1]
    captions(table, g)                       # "two small striped red circles", …
    ids = encode(captions(table, g))         # the words as numbers (8, CONTEXT)
    parse("a red 7 at the top")              # kind, colour, place and count of a scene are said

A scene is a row of six whole numbers, one for each of ATTRIBUTES: the place of a word in its list,
or UNSAID. A table is (n, 6) int64. What a caption leaves unsaid may be anything. Of each kind one
colour, and of the digits white too, is HELD_OUT: never drawn unless it is asked for, so that a
model can be asked for combinations that it has never seen together.

Pictures are made of signed distances: how far a pixel lies inside or outside of an outline, from
which follows how much of it is covered. Nothing here is stored; all follows from the generator.
"""

import functools
import math
import re

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils import data
from genai_utils.inputs import one_of, refusal, texts, tokens, whole

SIDE = 32
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
COUNTED = torch.tensor([0.6, 0.2, 0.2])  # how many scenes hold one, two, three objects
RADII = ((5.0, 6.7, 8.8), (4.2, 5.1, 6.1))  # pixels; of one object, of several
FILLED = 0.85  # share of its box that an outline fills
FIELD = 32  # numbers along the side of a box of signed distances
EACH = 200  # real digits of each kind

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
    kind, colour = _table(table)[:, :2].T
    said = (kind != UNSAID) & (colour != UNSAID)
    return HELD_OUT[kind.clamp(min=0), colour.clamp(min=0)] & said


def draw(n, generator, unseen=False, said=None):
    """n complete scenes (n, 6), pairs of kind and colour equally likely.

    unseen: True for held-out pairs only, False for none of them, None for both. said: a row; what
    it says holds in all scenes. Digits are plain unless texture is said. The place is that of one
    object; where there are several it stays UNSAID.
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
    table[:, COUNT] = COUNTED.multinomial(n, True, **of)
    table[table[:, KIND] >= len(SHAPES), TEXTURE] = 0
    table = torch.where(said == UNSAID, table, said)
    table[table[:, COUNT] > 0, PLACE] = UNSAID
    return table


def _row(row, name="row"):
    """One scene (6,) of whole numbers."""
    if torch.is_tensor(row) and row.ndim != 1:
        shape = tuple(row.shape)
        raise refusal(name, f"one scene of shape ({len(ATTRIBUTES)},)", f"the shape {shape}")
    return _table(row[None] if torch.is_tensor(row) else row, name)[0]


def _table(table, name="table"):
    """A table (n, 6) of whole numbers, each of them UNSAID or the place of a word."""
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
    table = _table(table)
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
    sentences = texts(sentences, "sentences")
    rows = []
    for text in sentences:
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


# ---- pictures


def _outlines(x, y):
    """Whether points of the box [-1, 1]² lie inside of each shape, a dict; y points down."""
    r, angle = np.hypot(x, y), np.arctan2(x, -y)
    far, near = np.abs(x), np.abs(y)
    ray = np.abs(angle / (2 * np.pi / 5) % 1 - 0.5) * 2  # 1 at the five tips, 0 between them
    a, b = 1.25 * x, -1.25 * y + 0.25
    return {
        "circle": r < 1,
        "square": np.maximum(far, near) < 0.76,
        "triangle": (y < 0.85) & (far < 0.58 * (y + 0.97)),
        "diamond": far / 0.75 + near < 1,
        "star": r < 0.4 + 0.6 * ray**1.5,
        "cross": (np.minimum(far, near) < 0.32) & (np.maximum(far, near) < 0.95),
        "ring": (r < 1) & (r > 0.55),
        "heart": (a * a + b * b - 1) ** 3 < a * a * b**3,
    }


def signed_distance(inside):
    """How far each place lies outside (positive) or inside of what is True, in places; (H, W)."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~inside) - distance_transform_edt(inside)


def _field(inside):
    """Signed distances (FIELD, FIELD) of an outline in its box, in units of half the box."""
    distance = torch.from_numpy(signed_distance(inside)).float()[None, None]
    fine = F.interpolate(distance, size=FIELD, mode="bilinear", antialias=True)[0, 0]
    return fine / (len(inside) / 2)


def _framed(image, side=64):
    """Whether there is ink, (side, side): a digit whose longer side fills FILLED of the box."""
    down, across = (
        (image > 0.4).any(1).nonzero().flatten(),
        (image > 0.4).any(0).nonzero().flatten(),
    )
    image = image[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    scale = FILLED * side / max(image.shape)
    size = [max(round(scale * n), 1) for n in image.shape]
    image = F.interpolate(image[None, None], size=size, mode="bicubic", align_corners=False)[0, 0]
    top, left = ((side - n) // 2 for n in size)
    edges = (left, side - size[1] - left, top, side - size[0] - top)
    return (F.pad(image, edges) > 0.4).numpy()


@functools.lru_cache(maxsize=4)
def fields(split="train"):
    """Signed distances of all outlines (K, FIELD, FIELD), and where those of each kind are.

    The digits are real ones, EACH of a kind, of that part of MNIST (or of what stands in for it).
    Returns the fields, and for each kind the place of its first outline and how many it has, two
    tensors (len(KINDS),).
    """
    images = data.mnist(split)
    fine = ((np.arange(128) + 0.5) / 64 - 1) / FILLED
    found = [_field(inside) for inside in _outlines(*np.meshgrid(fine, fine)).values()]
    counts = [1] * len(found)
    for digit in range(10):
        mine = images.x[images.y == digit][:EACH, 0]
        found += [_field(_framed(image)) for image in mine]
        counts.append(len(mine))
    counts = torch.tensor(counts)
    return torch.stack(found), counts.cumsum(0) - counts, counts


def render(table, generator, split="train", device="cpu", noise=0.02):
    """Pictures (n, 3, 32, 32) in [0, 1] of complete scenes (n, 6), anti-aliased.

    What no attribute says is drawn at random: the exact place and size, a small turn, a shade, the
    ground, and whose handwriting a digit is (split: of MNIST's "train" or "test" digits). Random
    numbers are drawn where the generator is; the pictures are computed on the device. noise: the
    deviation of what is added to each pixel, alike in the three colours.
    Raises ValueError for a scene of which something but the place is unsaid.
    """
    table = _table(table)
    if (unsaid := (table == UNSAID) & (torch.arange(6) != PLACE)).any():
        row = unsaid.any(1).nonzero()[0].item()
        raise refusal(
            f"table[{row}]", "a complete scene", repr(caption(table[row])),
            "let draw(…, said=row) choose the rest",
        )  # fmt: skip
    outlines, first, many = fields(one_of(split, "split", ("train", "test")))
    n = len(table)

    def random(*shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(*shape, generator=generator)

    several = table[:, COUNT] > 0
    radius = torch.tensor(RADII)[several.long(), table[:, SIZE]] * random(n, low=0.94, high=1.06)
    where = torch.tensor([(right, down) for right, down, _ in PLACES.values()])
    anywhere = torch.where(table[:, PLACE] == UNSAID, 4, table[:, PLACE])
    middle = where[anywhere] * (SIDE / 2 - 1.2 - radius)[:, None] + random(n, 2, low=-1.0)
    middle = torch.where(several[:, None], 0.3 * middle, middle)
    turned = random(n, high=2 * math.pi)
    colour = torch.tensor(list(COLOURS.values()))[table[:, COLOUR]]
    colour = (colour * random(n, 1, low=0.85) + random(n, 3, low=-0.04, high=0.04)).clamp(0, 1)
    ground = random(n, 1, high=0.22) * random(n, 3, low=0.6)
    x = ground[:, :, None, None].repeat(1, 1, SIDE, SIDE).to(device)
    for k in range(3):
        mine = (table[:, COUNT] >= k).nonzero().flatten()
        m, several_of_mine = len(mine), several[mine]
        total = table[mine, COUNT] + 1
        angle = turned[mine] + 2 * math.pi * k / total
        # Two stand opposite to each other, three on a circle on which they do not touch.
        away = (radius[mine] + 0.8) / torch.sin(math.pi / total.clamp(min=2)) * several_of_mine
        centre = middle[mine] + away[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        kind = table[mine, KIND]
        outline = first[kind] + (random(m) * many[kind]).long()
        tilt = random(m, low=-0.2, high=0.2) * (kind < len(SHAPES))
        phase = random(m, 2, high=2 * math.pi)
        if m:
            parts = (radius[mine], centre, tilt, phase, table[mine, TEXTURE], colour[mine])
            cover, paint = _object(outlines[outline].to(device), *(p.to(device) for p in parts))
            mine = mine.to(device)
            x[mine] = torch.lerp(x[mine], paint, cover)
    grain = torch.randn(n, 1, SIDE, SIDE, generator=generator)
    return (x + noise * grain.to(device)).clamp(0, 1)


def _object(outline, radius, centre, tilt, phase, texture, colour):
    """How much of each pixel an object covers (m, 1, S, S), and its paint there (m, 3, S, S)."""
    pixel = torch.arange(SIDE, device=outline.device) + 0.5 - SIDE / 2
    dx = pixel[None, None, :] - centre[:, 0, None, None]  # (m, 1, S)
    dy = pixel[None, :, None] - centre[:, 1, None, None]  # (m, S, 1)
    cos, sin = tilt.cos()[:, None, None], tilt.sin()[:, None, None]
    u, v = cos * dx + sin * dy, cos * dy - sin * dx  # (m, S, S), turned with the object
    box = (radius / FILLED)[:, None, None]
    grid = torch.stack([u / box, v / box], -1)
    found = F.grid_sample(outline[:, None], grid, padding_mode="border", align_corners=False)
    cover = (0.5 - found * box[:, None]).clamp(0, 1)  # a pixel's width around the edge is grey
    wave = 2 * math.pi / 4.4
    p, q = phase[:, 0, None, None], phase[:, 1, None, None]
    stripes = torch.sin(wave * v + p)
    dots = torch.cos(wave * u + p) * torch.cos(wave * v + q) - 0.25
    kind = texture[:, None, None]
    light = torch.where(kind == 1, 0.5 + 1.2 * stripes, torch.where(kind == 2, 0.5 - 2 * dots, 1.0))
    shade = 0.25 + 0.75 * light.clamp(0, 1)
    return cover, colour[:, :, None, None] * shade[:, None]


class SceneBatches:
    """Batches of (pictures, ids of their captions) without end, each a function of its step.

    batch_size; seed: of the whole run; unseen, said: as of `draw`; split: whose handwriting;
    device: where the pictures are made. A step gives the same pairs each time, and no two steps
    the same.
    """

    def __init__(self, batch_size, seed=0, unseen=False, said=None, split="train", device="cpu"):
        self.batch_size, self.seed = whole(batch_size, "batch_size"), whole(seed, "seed", least=0)
        self.unseen, self.said, self.split, self.device = unseen, said, split, device

    def __repr__(self):  # what a checkpoint is known by
        said = None if self.said is None else self.said.tolist()
        drawn = f"unseen={self.unseen}, said={said}, split={self.split!r}"
        return f"SceneBatches({self.batch_size}, seed={self.seed}, {drawn})"

    def pairs(self, step):
        """The table, the pictures and the captions of a step."""
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + step)
        table = draw(self.batch_size, generator, self.unseen, self.said)
        x = render(table, generator, self.split, self.device)
        return table, x, captions(table, generator)

    def __call__(self, step):
        _, x, said = self.pairs(step)
        return x, encode(said).to(self.device)
