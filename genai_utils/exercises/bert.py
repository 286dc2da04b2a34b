"""Exercises of notebook 09_bert: pieces of a word, a pair, the 80/10/10 rule and its loss."""

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.language import bert

NOTEBOOK = "09_bert"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- the longest piece first


def words_and_pieces(seed):
    """Words of three letters, with all single letters as pieces; then one that lacks a letter."""
    g = _generator(seed)
    cases = []
    for n, size in ((7, 3), (12, 3), (19, 4), (9, 3)):
        letters = torch.randint(size, (n,), generator=g)
        letters[:6] = torch.tensor([0, 1, 0, 1, 2, 0])  # (0, 1), then (0, 1, 2): lengths matter
        pieces = [
            (2,),
            (0, 1),
            (1, 2),
            (0,),
            (0, 1, 2),
            (1,),
            (0, 1, 0),
            *((i,) for i in range(3, size)),
        ]
        order = torch.randperm(len(pieces), generator=g).tolist()
        cases.append((letters, [pieces[i] for i in order]))
    letters, pieces = cases[-1]
    cases[-1] = (letters, [p for p in pieces if p != (2,) and p != (0, 1, 2) and p != (1, 2)])
    return cases


def _segment(letters, pieces, choose=max, unknown=True, start=True):
    word = tuple(letters.tolist())
    if not start:  # from the right
        word = word[::-1]
        pieces = [p[::-1] for p in pieces]
    cover, place = [], 0
    while place < len(word):
        fits = [p for p in pieces if word[place : place + len(p)] == p]
        if not fits and unknown:
            return torch.full_like(letters, -1)
        if not fits:
            cover, place = [*cover, -1], place + 1
            continue
        best = choose(fits, key=len)
        cover += [pieces.index(best)] * len(best)
        place += len(best)
    return torch.tensor(cover if start else cover[::-1])


def _first_in_list(letters, pieces):
    return _segment(letters, pieces, choose=lambda fits, key: fits[0])


exercise(
    bert.longest_match,
    cases=words_and_pieces,
    mistakes={
        "shortest": (
            lambda letters, pieces: _segment(letters, pieces, min),
            "You took the shortest piece that fits: WordPiece takes the longest.",
        ),
        "first in the list": (
            _first_in_list,
            "You took the first piece of the list that fits. Of all that fit, take the longest.",
        ),
        "from the right": (
            lambda letters, pieces: _segment(letters, pieces, start=False),
            "You cut from the end of the word: WordPiece starts at its beginning.",
        ),
        "letter by letter unknown": (
            lambda letters, pieces: _segment(letters, pieces, unknown=False),
            "You marked only the letter that no piece fits. The whole word is unknown: all -1.",
        ),
        "lengths": (
            lambda letters, pieces: torch.tensor(
                [len(pieces[i]) if i >= 0 else -1 for i in bert.longest_match(letters, pieces)]
            ),
            "You returned the length of each piece: its number in the list is asked.",
        ),
    },
    hints=[
        "Keep a place in the word, from 0 on. Which pieces equal word[place : place + len(piece)]?",
        "max(fits, key=len) is the longest of them; write its number len(piece) times and move on.",
        "letters.tolist() gives numbers; a piece is a tuple, so compare with tuple(...).",
    ],
)


# --- two texts, one input


def pairs(seed):
    g = _generator(seed)
    sizes = ((4, 3, 10), (5, 9, 13), (8, 6, 12), (9, 4, 24), (7, 8, 14))
    return [
        (torch.randint(5, 90, (n,), generator=g), torch.randint(5, 90, (m,), generator=g), length)
        for n, m, length in sizes
    ]


def _packed(a, b, length, cut="longer", last=True, segment_of_sep=0, padding=0, seps=2, cls=True):
    a, b = a.tolist(), b.tolist()
    extra = seps + cls
    while len(a) + len(b) + extra > length:
        if cut == "b" or (cut == "longer" and len(a) <= len(b)):
            b = b[:-1]
        elif last:
            a = a[:-1]
        else:
            a = a[1:]
    ids = [2] * cls + a + [3] + b + [3] * (seps - 1)
    first = cls + len(a) + (1 - segment_of_sep)
    segments = [0] * first + [1] * (len(ids) - first)
    empty = length - len(ids)
    tensor = lambda x: torch.tensor(x, dtype=torch.int64)  # noqa: E731
    return (
        tensor(ids + [0] * empty),
        tensor(segments + [padding] * empty),
        torch.arange(length) < len(ids),
    )


exercise(
    bert.pack_pair,
    cases=pairs,
    mistakes={
        "no end": (
            lambda a, b, length: _packed(a, b, length, seps=1),
            "The second [SEP] is missing: it ends b as the first one ends a.",
        ),
        "no [CLS]": (
            lambda a, b, length: _packed(a, b, length, cls=False),
            "[CLS], number 2, is missing at the beginning.",
        ),
        "first [SEP] in segment 1": (
            lambda a, b, length: _packed(a, b, length, segment_of_sep=1),
            "The first [SEP] belongs to a: its segment is 0.",
        ),
        "padding in segment 1": (
            lambda a, b, length: _packed(a, b, length, padding=1),
            "Your segments go on with 1 on the padding. They are 0 there.",
        ),
        "only b shortened": (
            lambda a, b, length: _packed(a, b, length, cut="b"),
            "You shortened b only. Take each token from whichever is the longer one now.",
        ),
    },
    hints=[
        "First find the two lengths: while n + m + 3 > length, take one off the longer.",
        "[2, *a, 3, *b, 3] and then zeros; a has n tokens, so segment 1 begins at place n + 2.",
        "torch.arange(length) < n + m + 3 is True where there is no padding.",
    ],
)


# --- the 80/10/10 rule


def masks(seed):
    g = _generator(seed)
    cases = []
    for B, T in ((3, 40), (4, 30), (5, 64)):
        ids = torch.randint(5, 500, (B, T), generator=g)
        chosen = torch.rand(B, T, generator=g) < 0.5
        draw, other = torch.rand(B, T, generator=g), torch.randint(5, 500, (B, T), generator=g)
        chosen[0, :6] = torch.tensor([True, True, True, False, False, False])
        draw[0, :6] = torch.tensor([0.3, 0.85, 0.95, 0.3, 0.85, 0.95])
        cases.append((ids, chosen, draw, other))
    return cases


def _masked(ids, chosen, draw, random_ids, first=0.8, second=0.9, predict=None, everywhere=False):
    seen = torch.ones_like(chosen) if everywhere else chosen
    inputs = torch.where(seen & (draw < second), random_ids, ids)
    inputs = torch.where(seen & (draw < first), torch.full_like(ids, 4), inputs)
    predict = chosen if predict is None else predict
    return inputs, torch.where(predict, ids, torch.full_like(ids, -100))


exercise(
    bert.apply_mask,
    cases=masks,
    mistakes={
        "always [MASK]": (
            lambda ids, chosen, draw, random_ids: _masked(ids, chosen, draw, random_ids, 1.1, 1.1),
            "You wrote [MASK] at every chosen place: a tenth of them gets a random token, and a "
            "tenth stays as it is.",
        ),
        "everywhere": (
            lambda ids, chosen, draw, random_ids: _masked(
                ids, chosen, draw, random_ids, everywhere=True
            ),
            "You changed tokens that were not chosen. The rule applies to chosen ones only.",
        ),
        "only what changed is predicted": (
            lambda ids, chosen, draw, random_ids: _masked(
                ids, chosen, draw, random_ids, predict=chosen & (draw < 0.9)
            ),
            "You left out the chosen tokens that stay as they are. They are predicted too, or the "
            "model would learn that a word it sees need not be thought about.",
        ),
        "all predicted": (
            lambda ids, chosen, draw, random_ids: _masked(
                ids, chosen, draw, random_ids, predict=torch.ones_like(chosen)
            ),
            "Your labels hold every token. Where none was chosen the label is -100: no loss there.",
        ),
        "10/80/10": (
            lambda ids, chosen, draw, random_ids: _masked(ids, chosen, draw, random_ids, 0.1),
            "Your shares are in another order: [MASK] for draws below 0.8.",
        ),
        "80/20/0": (
            lambda ids, chosen, draw, random_ids: _masked(ids, chosen, draw, random_ids, 0.8, 1.1),
            "You replaced the last tenth as well. For draws of 0.9 and more the token stays.",
        ),
    },
    hints=[
        "torch.where(condition, a, b) takes a where the condition holds, else b. Twice will do.",
        "First the random tokens where chosen & (draw < 0.9), then [MASK], number 4, over those "
        "with draw < 0.8.",
        "The labels do not depend on draw: the token where chosen, else -100.",
    ],
)


# --- the loss


def logits_and_labels(seed):
    g = _generator(seed)
    cases = []
    for B, T, V in ((3, 5, 7), (4, 6, 11), (5, 3, 9)):
        labels = torch.randint(V, (B, T), generator=g)
        labels[torch.rand(B, T, generator=g) < 0.5] = -100
        labels[0, 0], labels[0, 1], labels[-1, 0] = 1, -100, 2
        cases.append((2 * torch.randn(B, T, V, generator=g), labels))
    return cases


def _nll(logits, labels):
    """Of each token, 0 where there is no label, (B, T)."""
    chosen = labels != -100
    nll = -logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return nll * chosen, chosen


exercise(
    bert.cloze_loss,
    cases=logits_and_labels,
    mistakes={
        "mean over all tokens": (
            lambda logits, labels: _nll(logits, labels)[0].mean(),
            "You divided by all B x T tokens. The mean is over the chosen ones only.",
        ),
        "unchosen tokens counted": (
            lambda logits, labels: F.cross_entropy(
                logits.flatten(0, 1), labels.flatten().clamp(min=0)
            ),
            "You counted tokens with the label -100, as if they were token 0. Leave them out.",
        ),
        "sum": (
            lambda logits, labels: _nll(logits, labels)[0].sum(),
            "You summed over the chosen tokens: the loss is their mean.",
        ),
        "mean of means": (
            lambda logits, labels: (
                (nll := _nll(logits, labels))[0].sum(1) / nll[1].sum(1).clamp(min=1)
            ).mean(),
            "You averaged within each row first. Rows with few blanks would weigh as much as rows "
            "with many: average over all chosen tokens at once.",
        ),
        "no softmax": (
            lambda logits, labels: (
                -logits[labels != -100].gather(-1, labels[labels != -100][:, None]).mean()
            ),
            "You took the logits themselves: turn them into log probabilities by log_softmax.",
        ),
    },
    hints=[
        "labels != -100 says which tokens count. logits[labels != -100] is (M, V).",
        "log_softmax over V, then gather the entry of the label, minus its mean.",
    ],
    grad=True,
)
