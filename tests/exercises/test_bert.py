"""Exercises of 09_bert: mistakes named, wrong answers refused, right ones accepted."""

import math
import re

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("09_bert")


def test_there_are_five_each_with_hints_and_named_mistakes():
    assert list(SHELF) == ["longest_match", "pack_pair", "apply_mask", "cloze_loss", "text_vectors"]
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
    return torch.tensor([names[f] for f in found for _ in f], dtype=torch.int64)


# --- pairs


def pack_in_place(a, b, length):
    """Write into tensors of zeros; the lengths by going down both at once."""
    if length < 5:
        raise ValueError
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
    if length < 5:
        raise ValueError
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
    total, n = torch.zeros(()), 0
    for row, wanted in zip(logits.flatten(0, 1), labels.flatten(), strict=True):
        if wanted != -100:
            total, n = total + torch.logsumexp(row, 0) - row[wanted], n + 1
    return total / max(n, 1)


TV = "text_vectors"


def tv_one_by_one(x, w_q, w_k, w_v, real):
    found = []
    for text, there in zip(x, real, strict=True):
        t = text[there]
        found.append(F.scaled_dot_product_attention(t @ w_q, t @ w_k, t @ w_v).mean(0))
    return torch.stack(found)


def tv_library(x, w_q, w_k, w_v, real):
    seen = F.scaled_dot_product_attention(x @ w_q, x @ w_k, x @ w_v, attn_mask=real.unsqueeze(1))
    return torch.where(real.unsqueeze(-1), seen, 0.0).sum(1) / real.sum(1).unsqueeze(1)


def tv_weights_first(x, w_q, w_k, w_v, real):
    """The mean over the queries is taken of the weights."""
    q, k, v = (x.double() @ w.double() for w in (w_q, w_k, w_v))
    scores = torch.einsum("btd,bsd->bts", q, k) / x.shape[-1] ** 0.5
    weights = scores.where(real[:, None], -torch.inf).softmax(2)
    share = real.double() / real.sum(1, keepdim=True)
    return torch.einsum("bt,bts,bsd->bd", share, weights, v)


def tv_unmasked(x, w_q, w_k, w_v, real):
    seen = F.scaled_dot_product_attention(x @ w_q, x @ w_k, x @ w_v)
    return (seen * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def tv_zeroed_values(x, w_q, w_k, w_v, real):
    """Padding has the value 0, but still takes its share of the weights."""
    seen = F.scaled_dot_product_attention(x @ w_q, x @ w_k, (x @ w_v) * real[..., None])
    return (seen * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def tv_zeroed_scores(x, w_q, w_k, w_v, real):
    """A score of 0 is no weight of 0."""
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = (q @ k.mT / q.shape[-1] ** 0.5) * real[:, None]
    return ((scores.softmax(-1) @ v) * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def tv_after_the_softmax(x, w_q, w_k, w_v, real):
    """Hidden after the softmax: the weights no longer sum to one."""
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) * real[:, None]
    return ((weights @ v) * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def tv_over_queries(x, w_q, w_k, w_v, real):
    """The softmax goes over those who look."""
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~real[:, :, None], -1e30)
    return ((scores.softmax(1) @ v) * real[..., None]).sum(1) / real.sum(1, keepdim=True)


RIGHT = [
    *((TV, f) for f in (tv_one_by_one, tv_library, tv_weights_first)),
    ("longest_match", recursive_match),
    ("longest_match", match_by_regular_expression),
    ("pack_pair", pack_with_lists),
    ("pack_pair", pack_in_place),
    ("apply_mask", loops_mask),
    ("apply_mask", fill_mask),
    ("cloze_loss", loops_loss),
]  # fmt: skip


WRONG = [
    *((TV, f) for f in (tv_unmasked, tv_zeroed_values, tv_zeroed_scores)),
    *((TV, f) for f in (tv_after_the_softmax, tv_over_queries)),
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
    ("cloze_loss", lambda logits, labels: F.cross_entropy(logits.transpose(1, 2), labels)),
    ("cloze_loss", lambda logits, labels: F.cross_entropy(
        logits.flatten(0, 1).double(), labels.flatten(), ignore_index=-100)),
    ("cloze_loss", lambda logits, labels: -loops_loss(logits, labels)),
    ("cloze_loss", lambda logits, labels: loops_loss(logits.detach(), labels)),
    ("cloze_loss", lambda logits, labels: loops_loss(logits.relu(), labels)),
    ("cloze_loss", lambda logits, labels: loops_loss(logits, labels) / 2),
]  # fmt: skip


# --- written from the docstrings alone, before the declared mistakes were read -------------------


def wrong(name):
    return lambda function: WRONG.append((name, function)) or function


def right(name):
    return lambda function: RIGHT.append((name, function)) or function


# --- longest_match
@wrong("longest_match")
def whatever_fits_in_the_end(letters, pieces):
    word = tuple(letters.tolist())
    order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i]))

    def cut(rest):
        if not rest:
            return []
        for i in order:
            p = pieces[i]
            if rest[: len(p)] == p:
                tail = cut(rest[len(p) :])
                if tail is not None:
                    return [i] * len(p) + tail
        return None

    found = cut(word)
    return torch.tensor([-1] * len(word) if found is None else found, dtype=torch.int64)


@wrong("longest_match")
def unknown_from_there_on(letters, pieces):
    word = tuple(letters.tolist())
    out, at = torch.full((len(word),), -1), 0
    while at < len(word):
        fits = [i for i, p in enumerate(pieces) if word[at : at + len(p)] == p]
        if not fits:
            break
        best = max(fits, key=lambda i: len(pieces[i]))
        out[at : at + len(pieces[best])] = best
        at += len(pieces[best])
    return out


@wrong("longest_match")
def one_letter_skipped(letters, pieces):
    word = tuple(letters.tolist())
    out, at = torch.full((len(word),), -1), 0
    while at < len(word):
        fits = [i for i, p in enumerate(pieces) if word[at : at + len(p)] == p]
        if not fits:
            at += 1
            continue
        best = max(fits, key=lambda i: len(pieces[i]))
        out[at : at + len(pieces[best])] = best
        at += len(pieces[best])
    return out


@wrong("longest_match")
def first_of_the_list(letters, pieces):
    word = tuple(letters.tolist())
    out, at = torch.full((len(word),), -1), 0
    while at < len(word):
        fits = [i for i, p in enumerate(pieces) if word[at : at + len(p)] == p]
        if not fits:
            return torch.full((len(word),), -1)
        best = fits[0]
        out[at : at + len(pieces[best])] = best
        at += len(pieces[best])
    return out


@wrong("longest_match")
def longest_anywhere_first(letters, pieces):
    word = tuple(letters.tolist())
    out = [-1] * len(word)
    for i in sorted(range(len(pieces)), key=lambda i: -len(pieces[i])):
        p = pieces[i]
        for at in range(len(word) - len(p) + 1):
            if word[at : at + len(p)] == p and all(o == -1 for o in out[at : at + len(p)]):
                out[at : at + len(p)] = [i] * len(p)
    if -1 in out:
        out = [-1] * len(word)
    return torch.tensor(out, dtype=torch.int64)


@wrong("longest_match")
def overlapping_the_end(letters, pieces):
    word = tuple(letters.tolist())
    out, at = torch.full((len(word),), -1), 0
    while at < len(word):
        fits = [
            i
            for i, p in enumerate(pieces)
            if all(x == y for x, y in zip(word[at:], p, strict=False))
        ]
        if not fits:
            return torch.full((len(word),), -1)
        best = max(fits, key=lambda i: len(pieces[i]))
        out[at : at + len(pieces[best])] = best
        at += len(pieces[best])
    return out


@wrong("longest_match")
def as_floats(letters, pieces):
    word = tuple(letters.tolist())
    out, at = torch.full((len(word),), -1.0), 0
    while at < len(word):
        fits = [i for i, p in enumerate(pieces) if word[at : at + len(p)] == p]
        if not fits:
            return torch.full((len(word),), -1.0)
        best = max(fits, key=lambda i: len(pieces[i]))
        out[at : at + len(pieces[best])] = best
        at += len(pieces[best])
    return out


@wrong("longest_match")
def number_by_length(letters, pieces):
    pieces = sorted(pieces, key=len, reverse=True)
    word = tuple(letters.tolist())
    out, at = torch.full((len(word),), -1), 0
    while at < len(word):
        fits = [i for i, p in enumerate(pieces) if word[at : at + len(p)] == p]
        if not fits:
            return torch.full((len(word),), -1)
        out[at : at + len(pieces[fits[0]])] = fits[0]
        at += len(pieces[fits[0]])
    return out


@wrong("longest_match")
def empty_word_fails(letters, pieces):
    word = tuple(letters.tolist())
    out, at = [], 0
    while at < len(word):
        fits = [i for i, p in enumerate(pieces) if word[at : at + len(p)] == p]
        if not fits:
            return torch.full((len(word),), -1)
        best = max(fits, key=lambda i: len(pieces[i]))
        out.append(torch.full((len(pieces[best]),), best))
        at += len(pieces[best])
    return torch.cat(out)


@right("longest_match")
def places_in_a_dictionary(letters, pieces):
    word = tuple(int(x) for x in letters)
    number = {}
    for i, p in enumerate(pieces):
        number.setdefault(tuple(p), i)
    out = []
    while len(out) < len(word):
        at = len(out)
        for end in range(len(word), at, -1):
            i = number.get(word[at:end])
            if i is not None:
                out += [i] * (end - at)
                break
        else:
            return torch.full((len(word),), -1, dtype=torch.int64)
    return torch.tensor(out, dtype=torch.int64)


@right("longest_match")
def by_calling_itself(letters, pieces):
    def cut(rest):
        if not rest:
            return []
        fits = [i for i in range(len(pieces)) if pieces[i] == rest[: len(pieces[i])]]
        if not fits:
            return None
        i = max(fits, key=lambda j: len(pieces[j]))
        tail = cut(rest[len(pieces[i]) :])
        return None if tail is None else [i] * len(pieces[i]) + tail

    found = cut(tuple(letters.tolist()))
    return torch.full(letters.shape, -1) if found is None else torch.tensor(found, dtype=torch.long)


@right("longest_match")
def with_numpy(letters, pieces):
    word, out, at = letters.numpy(), np.full(len(letters), -1), 0
    order = sorted(enumerate(pieces), key=lambda e: len(e[1]), reverse=True)
    while at < len(word):
        for i, p in order:
            if len(p) <= len(word) - at and np.array_equal(word[at : at + len(p)], p):
                out[at : at + len(p)] = i
                at += len(p)
                break
        else:
            return torch.full(letters.shape, -1)
    return torch.from_numpy(out)


# --- pack_pair
def _pack(a, b, length, PAD=0, CLS=2, SEP=3):
    ids = [CLS, *a, SEP, *b, SEP]
    seg = [0] * (len(a) + 2) + [1] * (len(b) + 1)
    n = len(ids)
    fill = length - n
    return (
        torch.tensor(ids + [PAD] * fill, dtype=torch.int64),
        torch.tensor(seg + [0] * fill, dtype=torch.int64),
        torch.tensor([True] * n + [False] * fill),
    )


def _cut(a, b, length):
    a, b = a.tolist(), b.tolist()
    while len(a) + len(b) + 3 > length:
        if len(a) > len(b):
            a.pop()
        else:
            b.pop()
    return a, b


@wrong("pack_pair")
def a_loses_when_equal(a, b, length):
    if length < 5:
        raise ValueError
    a, b = a.tolist(), b.tolist()
    while len(a) + len(b) + 3 > length:
        if len(a) >= len(b):
            a.pop()
        else:
            b.pop()
    return _pack(a, b, length)


@wrong("pack_pair")
def first_tokens_lost(a, b, length):
    if length < 5:
        raise ValueError
    a, b = a.tolist(), b.tolist()
    while len(a) + len(b) + 3 > length:
        if len(a) > len(b):
            a.pop(0)
        else:
            b.pop(0)
    return _pack(a, b, length)


@wrong("pack_pair")
def any_length(a, b, length):
    a, b = _cut(a, b, length)
    return _pack(a, b, length)


@wrong("pack_pair")
def padding_in_segment_one(a, b, length):
    if length < 5:
        raise ValueError
    a, b = _cut(a, b, length)
    ids, seg, real = _pack(a, b, length)
    return ids, seg.masked_fill(~real, 1), real


@wrong("pack_pair")
def real_by_the_ids(a, b, length):
    """a [PAD] id inside a text"""
    if length < 5:
        raise ValueError
    a, b = _cut(a, b, length)
    ids, seg, real = _pack(a, b, length)
    return ids, seg, ids != 0


@wrong("pack_pair")
def real_as_numbers(a, b, length):
    if length < 5:
        raise ValueError
    a, b = _cut(a, b, length)
    ids, seg, real = _pack(a, b, length)
    return ids, seg, real.long()


@wrong("pack_pair")
def half_for_each(a, b, length):
    if length < 5:
        raise ValueError
    if len(a) + len(b) + 3 > length:
        room = length - 3
        a, b = a[: (room + 1) // 2], b[: room // 2]
    return _pack(a.tolist(), b.tolist(), length)


@wrong("pack_pair")
def segment_one_from_the_first_sep(a, b, length):
    if length < 5:
        raise ValueError
    a, b = _cut(a, b, length)
    ids, seg, real = _pack(a, b, length)
    seg[len(a) + 1] = 1
    return ids, seg, real


@wrong("pack_pair")
def five_refused(a, b, length):
    if length <= 5:
        raise ValueError
    a, b = _cut(a, b, length)
    return _pack(a, b, length)


@wrong("pack_pair")
def error_only_below_three(a, b, length):
    if length < 3:
        raise ValueError
    a, b = _cut(a, b, length)
    return _pack(a, b, length)


@wrong("pack_pair")
def segments_by_counting_seps(a, b, length):
    if length < 5:
        raise ValueError
    a, b = _cut(a, b, length)
    ids, _, real = _pack(a, b, length)
    seps = (ids == 3).cumsum(0)
    before = seps - (ids == 3).long()
    return ids, (before == 1).long(), real


@right("pack_pair")
def lists_and_pops(a, b, length):
    if length < 5:
        raise ValueError("length")
    a, b = _cut(a, b, length)
    return _pack(a, b, length)


@right("pack_pair")
def lengths_worked_out(a, b, length):
    if length < 5:
        raise ValueError("length")
    n, m, room = len(a), len(b), length - 3
    if n + m > room:
        low, high = room // 2, room - room // 2
        if n <= low:
            m = room - n
        elif m <= low:
            n = room - m
        else:
            n, m = high, low
    ids = torch.zeros(length, dtype=torch.int64)
    ids[0] = 2
    ids[1 : n + 1] = a[:n]
    ids[n + 1] = 3
    ids[n + 2 : n + m + 2] = b[:m]
    ids[n + m + 2] = 3
    place = torch.arange(length)
    return ids, ((place >= n + 2) & (place < n + m + 3)).long(), place < n + m + 3


@right("pack_pair")
def cat_and_pad(a, b, length):
    if not length >= 5:
        raise ValueError("length")
    while len(a) + len(b) > length - 3:
        a, b = (a[:-1], b) if len(a) > len(b) else (a, b[:-1])
    ids = torch.cat([torch.tensor([2]), a, torch.tensor([3]), b, torch.tensor([3])])
    seg = torch.cat([torch.zeros(len(a) + 2), torch.ones(len(b) + 1)]).long()
    real = torch.ones(len(ids), dtype=torch.bool)
    fill = (0, length - len(ids))
    return F.pad(ids, fill), F.pad(seg, fill), F.pad(real, fill, value=False)


# --- apply_mask
MASK = 4


@wrong("apply_mask")
def closed_boundaries(ids, chosen, draw, random_ids):
    x = torch.where(chosen & (draw <= 0.8), MASK, ids)
    x = torch.where(chosen & (draw > 0.8) & (draw <= 0.9), random_ids, x)
    return x, torch.where(chosen, ids, -100)


@wrong("apply_mask")
def labels_where_changed(ids, chosen, draw, random_ids):
    x = torch.where(chosen & (draw < 0.8), MASK, ids)
    x = torch.where(chosen & (draw >= 0.8) & (draw < 0.9), random_ids, x)
    return x, torch.where(chosen & (draw < 0.9), ids, -100)


@wrong("apply_mask")
def labels_where_different(ids, chosen, draw, random_ids):
    x = torch.where(chosen & (draw < 0.8), MASK, ids)
    x = torch.where(chosen & (draw >= 0.8) & (draw < 0.9), random_ids, x)
    return x, torch.where(x != ids, ids, -100)


@wrong("apply_mask")
def in_place(ids, chosen, draw, random_ids):
    labels = torch.where(chosen, ids, -100)
    ids[chosen & (draw < 0.8)] = MASK
    m = chosen & (draw >= 0.8) & (draw < 0.9)
    ids[m] = random_ids[m]
    return ids, labels


@wrong("apply_mask")
def everything_masked(ids, chosen, draw, random_ids):
    return torch.where(chosen, MASK, ids), torch.where(chosen, ids, -100)


@wrong("apply_mask")
def random_without_chosen(ids, chosen, draw, random_ids):
    x = torch.where(chosen & (draw < 0.8), MASK, ids)
    x = torch.where((draw >= 0.8) & (draw < 0.9), random_ids, x)
    return x, torch.where(chosen, ids, -100)


@wrong("apply_mask")
def labels_of_the_inputs(ids, chosen, draw, random_ids):
    x = torch.where(chosen & (draw < 0.8), MASK, ids)
    x = torch.where(chosen & (draw >= 0.8) & (draw < 0.9), random_ids, x)
    return x, torch.where(chosen, x, -100)


@wrong("apply_mask")
def floats_all_the_way(ids, chosen, draw, random_ids):
    x = torch.where(chosen & (draw < 0.8), float(MASK), ids.float())
    x = torch.where(chosen & (draw >= 0.8) & (draw < 0.9), random_ids.float(), x)
    return x, torch.where(chosen, ids.float(), -100.0)


@wrong("apply_mask")
def exact_counts(ids, chosen, draw, random_ids):
    """80% of the chosen by rank of draw"""
    d = draw.masked_fill(~chosen, 2.0).flatten()
    n = int(chosen.sum())
    rank = d.argsort().argsort().reshape(ids.shape)
    x = torch.where(chosen & (rank < round(0.8 * n)), MASK, ids)
    x = torch.where(chosen & (rank >= round(0.8 * n)) & (rank < round(0.9 * n)), random_ids, x)
    return x, torch.where(chosen, ids, -100)


@right("apply_mask")
def index_assignment_on_copies(ids, chosen, draw, random_ids):
    x, y = ids.clone(), torch.full_like(ids, -100)
    y[chosen] = ids[chosen]
    m = chosen & (draw < 0.8)
    x[m] = MASK
    m = chosen & ~m & (draw < 0.9)
    x[m] = random_ids[m]
    return x, y


@right("apply_mask")
def one_by_one(ids, chosen, draw, random_ids):
    x, y = ids.tolist(), [[-100] * ids.shape[1] for _ in ids]
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            if chosen[b, t]:
                y[b][t] = x[b][t]
                u = draw[b, t]
                if u < 0.8:
                    x[b][t] = MASK
                elif u < 0.9:
                    x[b][t] = int(random_ids[b, t])
    return torch.tensor(x), torch.tensor(y)


@right("apply_mask")
def select_of_numpy(ids, chosen, draw, random_ids):
    i, c, u, r = (z.numpy() for z in (ids, chosen, draw, random_ids))
    x = np.select([~c, u < 0.8, u < 0.9], [i, np.full_like(i, MASK), r], i)
    return torch.from_numpy(x), torch.from_numpy(np.where(c, i, -100))


# --- cloze_loss
@wrong("cloze_loss")
def nan_without_a_choice(logits, labels):
    m = labels != -100
    return F.cross_entropy(logits[m], labels[m])


@wrong("cloze_loss")
def logarithm_of_softmax(logits, labels):
    m = labels != -100
    p = logits[m].softmax(-1).gather(-1, labels[m][:, None])
    return -p.log().sum() / m.sum().clamp(min=1)


@wrong("cloze_loss")
def over_all_tokens(logits, labels):
    m = labels != -100
    return F.cross_entropy(logits[m], labels[m], reduction="sum") / labels.numel()


@wrong("cloze_loss")
def mean_of_rows(logits, labels):
    m = (labels != -100).float()
    nll = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return ((nll * m).sum(1) / m.sum(1).clamp(min=1)).mean()


@wrong("cloze_loss")
def token_zero_is_ignored_too(logits, labels):
    m = labels > 0
    return F.cross_entropy(logits[m], labels[m], reduction="sum") / m.sum().clamp(min=1)


@wrong("cloze_loss")
def a_bare_exponential(logits, labels):
    m = labels != -100
    l = logits[m]
    nll = l.exp().sum(-1).log() - l.gather(-1, labels[m][:, None])[:, 0]
    return nll.sum() / m.sum().clamp(min=1)


@wrong("cloze_loss")
def in_bits(logits, labels):
    m = labels != -100
    return (
        F.cross_entropy(logits[m], labels[m], reduction="sum") / m.sum().clamp(min=1) / math.log(2)
    )


@wrong("cloze_loss")
def one_where_nothing_is_chosen(logits, labels):
    m = labels != -100
    if not m.any():
        return logits.sum() * 0 + 1
    return F.cross_entropy(logits[m], labels[m])


@wrong("cloze_loss")
def detached_normaliser(logits, labels):
    m = labels != -100
    l = logits[m]
    nll = l.logsumexp(-1).detach() - l.gather(-1, labels[m][:, None])[:, 0]
    return nll.sum() / m.sum().clamp(min=1)


@wrong("cloze_loss")
def zero_times_infinity(logits, labels):
    m = labels != -100
    lp = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return -(lp * m).sum() / m.sum().clamp(min=1)


@right("cloze_loss")
def the_sum_of_cross_entropy(logits, labels):
    n = (labels != -100).sum()
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / n.clamp(min=1)


@right("cloze_loss")
def a_loop_over_the_chosen(logits, labels):
    terms = []
    for b, t in (labels != -100).nonzero().tolist():
        row = logits[b, t].double()
        terms.append(torch.logsumexp(row, 0) - row[labels[b, t]])
    return torch.stack(terms).mean() if terms else logits.sum() * 0


@right("cloze_loss")
def a_categorical_distribution(logits, labels):
    m = labels != -100
    if not m.any():
        return torch.zeros(())
    return -torch.distributions.Categorical(logits=logits[m]).log_prob(labels[m]).mean()


@wrong("cloze_loss")
def one_hot_sum(logits, labels):
    m = labels != -100
    hot = F.one_hot(labels.clamp(min=0), logits.shape[-1]) * m[..., None]
    return -(logits.log_softmax(-1) * hot).sum() / max(int(m.sum()), 1)


@right("cloze_loss")
def nll_loss_of_the_chosen(logits, labels):
    chosen = labels != -100
    each = F.nll_loss(logits[chosen].double().log_softmax(-1), labels[chosen], reduction="none")
    return each.sum() / max(len(each), 1)
