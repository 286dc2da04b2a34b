"""Exercises of 09_bert: mistakes named, wrong answers refused, right ones accepted."""

import re

import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("09_bert")


def test_there_are_four_each_with_hints_and_named_mistakes():
    assert list(SHELF) == ["longest_match", "pack_pair", "apply_mask", "cloze_loss"]
    for one in SHELF.values():
        assert len(one.hints) >= 2 and len(one.mistakes) >= 4


# --- pieces


def recursive_match(letters, pieces):
    """The first piece, then the same for the rest of the word."""
    if not len(letters):
        return torch.zeros(0, dtype=torch.int64)
    for n in range(len(letters), 0, -1):
        if (start := tuple(letters[:n].tolist())) in pieces:
            rest = recursive_match(letters[n:], pieces)
            if (rest == -1).any():
                break
            return torch.cat([torch.full((n,), pieces.index(start)), rest])
    return torch.full((len(letters),), -1)


def match_by_regular_expression(letters, pieces):
    """Alternatives of a regular expression are tried in order: the longest first."""
    spell = lambda p: "".join(chr(97 + i) for i in p)  # noqa: E731
    names = {spell(p): i for i, p in enumerate(pieces)}
    pattern = "|".join(sorted(names, key=len, reverse=True))
    word = spell(letters.tolist())
    found = re.findall(pattern, word)
    if "".join(found) != word:
        return torch.full((len(word),), -1)
    return torch.tensor([names[f] for f in found for _ in f])


# --- pairs


def pack_in_place(a, b, length):
    """Write into tensors of zeros; the lengths by going down both at once."""
    room = length - 3
    fits = [(n, m) for n in range(len(a) + 1) for m in range(len(b) + 1) if n + m <= room]
    most = max(n + m for n, m in fits)
    n, m = min(
        ((n, m) for n, m in fits if n + m == most),
        key=lambda nm: (max(nm) if most < len(a) + len(b) else 0, -nm[0]),
    )
    ids = torch.zeros(length, dtype=torch.int64)
    segments, real = torch.zeros_like(ids), torch.zeros(length, dtype=torch.bool)
    ids[0], ids[n + 1], ids[n + m + 2] = 2, 3, 3
    ids[1 : n + 1], ids[n + 2 : n + m + 2] = a[:n], b[:m]
    segments[n + 2 : n + m + 3] = 1
    real[: n + m + 3] = True
    return ids, segments, real


def pack_with_lists(a, b, length):
    a, b = a.tolist(), b.tolist()
    while len(a) + len(b) > length - 3:
        (a if len(a) > len(b) else b).pop()
    ids, ends = [2, *a, 3, *b, 3], [0] * length
    segments = ([0] * (len(a) + 2) + [1] * (len(b) + 1) + ends)[:length]
    real = [place < len(ids) for place in range(length)]
    return torch.tensor((ids + ends)[:length]), torch.tensor(segments), torch.tensor(real)


# --- the rule


def loops_mask(ids, chosen, draw, random_ids):
    inputs, labels = ids.clone(), torch.full_like(ids, -100)
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            if chosen[b, t]:
                labels[b, t] = ids[b, t]
                if draw[b, t] < 0.8:
                    inputs[b, t] = 4
                elif draw[b, t] < 0.9:
                    inputs[b, t] = random_ids[b, t]
    return inputs, labels


def fill_mask(ids, chosen, draw, random_ids):
    inputs = ids.clone()
    inputs[chosen & (draw < 0.8)] = 4
    swap = chosen & (draw >= 0.8) & (draw < 0.9)
    inputs[swap] = random_ids[swap]
    return inputs, ids.masked_fill(~chosen, -100)


# --- the loss


def loops_loss(logits, labels):
    total, n = 0, 0
    for row, wanted in zip(logits.flatten(0, 1), labels.flatten(), strict=True):
        if wanted != -100:
            total, n = total + torch.logsumexp(row, 0) - row[wanted], n + 1
    return total / n


RIGHT = [
    ("longest_match", recursive_match),
    ("longest_match", match_by_regular_expression),
    ("pack_pair", pack_with_lists),
    ("pack_pair", pack_in_place),
    ("apply_mask", loops_mask),
    ("apply_mask", fill_mask),
    ("cloze_loss", loops_loss),
    ("cloze_loss", lambda logits, labels: F.cross_entropy(logits.transpose(1, 2), labels)),
    ("cloze_loss", lambda logits, labels: F.cross_entropy(
        logits.flatten(0, 1).double(), labels.flatten(), ignore_index=-100)),
]  # fmt: skip


WRONG = [
    ("longest_match", lambda letters, pieces: recursive_match(letters, pieces) + 1),
    ("longest_match", lambda letters, pieces: recursive_match(letters, pieces).clamp(min=0)),
    ("longest_match", lambda letters, pieces: recursive_match(letters, pieces).flip(0)),
    ("longest_match", lambda letters, pieces: torch.unique_consecutive(
        recursive_match(letters, pieces))),
    ("pack_pair", lambda a, b, length: pack_with_lists(b, a, length)),
    ("pack_pair", lambda a, b, length: pack_with_lists(a[1:], b, length)),
    ("pack_pair", lambda a, b, length: pack_with_lists(a, b, length)[:2]),
    ("pack_pair", lambda a, b, length: pack_with_lists(a, b, length + 1)),
    ("apply_mask", lambda ids, c, d, r: loops_mask(ids, ~c, d, r)),
    ("apply_mask", lambda ids, c, d, r: loops_mask(ids, c, 1 - d, r)),
    ("apply_mask", lambda ids, c, d, r: loops_mask(ids, c, d, ids)),
    ("apply_mask", lambda ids, c, d, r: loops_mask(ids, c, d, r)[::-1]),
    ("cloze_loss", lambda logits, labels: -loops_loss(logits, labels)),
    ("cloze_loss", lambda logits, labels: loops_loss(logits.detach(), labels)),
    ("cloze_loss", lambda logits, labels: loops_loss(logits.relu(), labels)),
    ("cloze_loss", lambda logits, labels: loops_loss(logits, labels) / 2),
]  # fmt: skip
