"""The same weights in another library: a table says what is called how there, one function copies.

    TABLE = (
        Row("tokens", "transformer.wte"),
        Row("blocks.{i}.attention.qkv", "transformer.h.{i}.attn.c_attn", transposed=True),
        …
    )
    exchange(ours, theirs, TABLE, to="theirs")

A new model of another library costs one table.
"""

import re
from typing import NamedTuple

import torch
from torch import nn

from genai_utils.inputs import one_of


class Row(NamedTuple):
    """One part of our model and the part of theirs that holds the same numbers.

    ours: name of a parameter, or of a module with its weight and bias. {i} stands for 0, 1, … as
    far as our model goes. theirs: the same there; or several, whose rows one below the other are
    ours (query, key, value). transposed: their matrices are ours turned round; vectors are not.
    """

    ours: str
    theirs: str | tuple[str, ...]
    transposed: bool = False


@torch.no_grad()
def exchange(ours: nn.Module, theirs: nn.Module, table, to: str) -> None:
    """Copy every parameter of one model into the other, by a table of `Row`.

    to: "ours" or "theirs", the one that is written. Every parameter of both must be named, and once
    only; one that two parts of a model share counts as one. Nothing is copied unless all fits.
    Raises ValueError for a name that is not there, one that is left out or named twice, and for
    shapes that differ.
    """
    one_of(to, "to", ("ours", "theirs"))
    for mine, peers, transposed in _matched(_parameters(ours), _parameters(theirs), table):
        peers = [p.T if transposed and p.ndim > 1 else p for p in peers]
        if len(peers) == 1:  # it may be a single number, which has no rows
            mine.copy_(peers[0]) if to == "ours" else peers[0].copy_(mine)
        elif to == "ours":
            mine.copy_(torch.cat([p.to(mine) for p in peers]))
        else:
            for p, part in zip(peers, mine.split([len(p) for p in peers]), strict=True):
                p.copy_(part)


def _parameters(model):
    """Every name of every parameter: one that is shared has several."""
    return dict(model.named_parameters(remove_duplicate=False))


def _matched(ours, theirs, table):
    """(our parameter, theirs, transposed) for all of them; ValueError where something is amiss."""
    found, taken = [], {}  # taken: a parameter's id -> the name by which it was matched

    def take(parameters, whose, name, row):
        if name not in parameters:
            raise ValueError(f"{row}: {whose} has no parameter {name!r}.")
        p = parameters[name]
        if id(p) in taken:
            raise ValueError(f"{row}: {name!r} is in the table already, as {taken[id(p)]!r}.")
        taken[id(p)] = name
        return p

    for row in table:
        pattern = re.escape(row.ours).replace(r"\{i\}", r"(?P<i>\d+)") + r"(?P<kind>\.[a-z]+)?"
        hits = [hit for name in ours if (hit := re.fullmatch(pattern, name))]
        if not hits:
            raise ValueError(f"{row}: ours has nothing of that name.")
        for hit in hits:
            i, kind = hit.groupdict().get("i"), hit["kind"] or ""
            several = row.theirs if isinstance(row.theirs, tuple) else (row.theirs,)
            names = [name.format(i=i) + kind for name in several]
            mine = take(ours, "ours", hit[0], row)
            peers = [take(theirs, "theirs", name, row) for name in names]
            shapes = [tuple(p.shape[:: -1 if row.transposed else 1]) for p in peers]
            joined = shapes[0]
            if len(shapes) > 1:
                joined = (sum(shape[0] for shape in shapes), *joined[1:])
            if joined != tuple(mine.shape) or len({shape[1:] for shape in shapes}) > 1:
                raise ValueError(
                    f"{row}: our {hit[0]!r} has the shape {tuple(mine.shape)}, but theirs "
                    f"{', '.join(f'{n!r} {s}' for n, s in zip(names, shapes, strict=True))}."
                )
            found.append((mine, peers, row.transposed))
    for whose, parameters in (("ours", ours), ("theirs", theirs)):
        forgotten = [name for name, p in parameters.items() if id(p) not in taken]
        if forgotten:
            raise ValueError(f"The table leaves out of {whose}: {', '.join(forgotten)}.")
    return found
