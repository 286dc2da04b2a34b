"""A world of captioned scenes: small colour pictures of shapes and real digits, and sentences.

    g = torch.Generator().manual_seed(0)
    table = draw(8, g)                       # eight scenes, none of a held-out combination
    x = render(table, g)                     # their pictures (8, 3, 32, 32) in [0, 1]
    captions(table, g)                       # "two small striped red circles", …
    ids = encode(captions(table, g))         # the words as numbers (8, CONTEXT)
    parse("a red 7 at the top")              # kind, colour, place and count of a scene are said

What a scene is and how it is said stands in scene_words.py, whose names are at hand here too; how
it looks stands here. Pictures are made of signed distances: how far a pixel lies inside or outside
of an outline, from which follows how much of it is covered. Nothing is stored; all follows from
the generator.
"""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils import data
from genai_utils.inputs import one_of, refusal, whole

from .scene_words import (
    ATTRIBUTES,
    BRIEF,
    COLOUR,
    COLOURS,
    CONTEXT,
    COUNT,
    COUNTED,
    DIGITS,
    END,
    FIRST,
    HELD_OUT,
    KIND,
    KINDS,
    PHRASINGS,
    PLACE,
    PLACES,
    PLURALS,
    SAID,
    SHAPES,
    SIZE,
    TEXTURE,
    UNSAID,
    WORDS,
    caption,
    captions,
    decode,
    draw,
    encode,
    held_out,
    parse,
    require_table,
    scene,
    split,
    words,
)

SIDE = 32
RADII = ((5.0, 6.7, 8.8), (4.2, 5.1, 6.1))  # pixels; of one object, of several
FILLED = 0.85  # share of its box that an outline fills
FIELD = 32  # numbers along the side of a box of signed distances
EACH = 200  # real digits of each kind


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
    table = require_table(table)
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
    device: where the pictures are made; say: how often a caption says each attribute; first: in so
    many steps at the start the captions hardly say more than the kind (FIRST). A step gives the
    same pairs each time, and no two steps the same.
    """

    def __init__(
        self, batch_size, seed=0, unseen=False, said=None, split="train", device="cpu", say=SAID,
        first=0,
    ):  # fmt: skip
        self.batch_size, self.seed = whole(batch_size, "batch_size"), whole(seed, "seed", least=0)
        self.unseen, self.said, self.split, self.device = unseen, said, split, device
        self.say, self.first = say, whole(first, "first", least=0)

    def __repr__(self):  # what a checkpoint is known by
        said = None if self.said is None else self.said.tolist()
        drawn = f"unseen={self.unseen}, said={said}, split={self.split!r}"
        if self.first or not torch.equal(self.say, SAID):
            drawn += f", say={[round(p, 6) for p in self.say.tolist()]}, first={self.first}"
        return f"SceneBatches({self.batch_size}, seed={self.seed}, {drawn})"

    def pairs(self, step):
        """The table, the pictures and the captions of a step."""
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + step)
        table = draw(self.batch_size, generator, self.unseen, self.said)
        x = render(table, generator, self.split, self.device)
        return table, x, captions(table, generator, FIRST if step < self.first else self.say)

    def __call__(self, step):
        _, x, said = self.pairs(step)
        return x, encode(said).to(self.device)


__all__ = [
    "ATTRIBUTES", "BRIEF", "COLOUR", "COLOURS", "CONTEXT", "COUNT", "COUNTED", "DIGITS", "EACH",
    "END", "FIELD", "FILLED", "FIRST", "HELD_OUT", "KIND", "KINDS", "PHRASINGS", "PLACE",
    "PLACES", "PLURALS", "RADII", "SAID", "SHAPES", "SIDE", "SIZE", "SceneBatches", "TEXTURE",
    "UNSAID", "WORDS", "caption", "captions", "decode", "draw", "encode", "fields", "held_out",
    "parse", "render", "scene", "signed_distance", "split", "words",
]  # fmt: skip
