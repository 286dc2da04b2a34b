"""Exercises of notebook 09_bert: pieces of a word, a pair, the 80/10/10 rule and its loss."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import bert

NOTEBOOK = "09_bert"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- the longest piece first


def words_and_pieces(seed):
    """Words of three letters and more, with all single letters as pieces."""
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
    return cases


def unknown_letters(seed):
    """A letter that is in no piece: in the middle, at the end, at the beginning."""
    cases = []
    for (letters, pieces), place in zip(words_and_pieces(seed), (3, -1, 0), strict=False):
        letters[place] = 8
        cases.append((letters, pieces))
    return cases


def dead_ends(seed):
    """The longest piece leads to a place where none fits; shorter ones would lead to the end."""
    g = _generator(seed)
    cases = []
    for word, pieces in (
        ([0, 1, 2], [(0,), (0, 1), (1, 2)]),
        ([3, 0, 1, 2, 3], [(1, 2), (0, 1), (0,), (3,)]),
        ([0, 0, 0, 1], [(0, 0), (0, 1), (0,), (0, 0, 0)]),
    ):
        order = torch.randperm(len(pieces), generator=g).tolist()
        cases.append((torch.tensor(word), [pieces[i] for i in order]))
    return cases


def no_letters(seed):
    return [(letters[:0], pieces) for letters, pieces in words_and_pieces(seed)[:2]]


def _some_cut(letters, pieces):
    """The longest first, and back again where that leads nowhere."""

    def cut(rest):
        if not rest:
            return []
        for piece in sorted(pieces, key=len, reverse=True):
            if rest[: len(piece)] == piece and (tail := cut(rest[len(piece) :])) is not None:
                return [pieces.index(piece)] * len(piece) + tail
        return None

    cover = cut(tuple(letters.tolist()))
    return torch.full_like(letters, -1) if cover is None else torch.tensor(cover).long()


def _unknown_letter_only(letters, pieces):
    """Letters in no piece are skipped; where no piece fits for another reason, all is -1."""
    known = {letter for piece in pieces for letter in piece}
    if all(letter in known for letter in letters.tolist()):
        return _segment(letters, pieces)
    return _segment(letters, pieces, unknown=False)


def _floats_for_none(letters, pieces):
    return _segment(letters, pieces) if len(letters) else torch.tensor([])


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
    return torch.tensor(cover if start else cover[::-1], dtype=torch.int64)


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
        "lengths": (
            lambda letters, pieces: torch.tensor(
                [len(pieces[i]) if i >= 0 else -1 for i in _segment(letters, pieces)]
            ),
            "You returned the length of each piece: its number in the list is asked.",
        ),
    },
    hints=[
        "Keep a place in the word, from 0 on. Which pieces equal word[place : place + len(piece)]?",
        "max(fits, key=len) is the longest of them; write its number len(piece) times and move on.",
        "letters.tolist() gives numbers; a piece is a tuple, so compare with tuple(...).",
        "If none fits, return torch.full_like(letters, -1) at once.",
    ],
    clauses={
        "unknown word": Clause(
            unknown_letters,
            "If no piece fits at some place, the whole word is unknown: -1 for every letter, also "
            "for those before and after that place.",
            _unknown_letter_only,
        ),
        "dead end": Clause(
            dead_ends,
            "A piece once taken stays. If the longest one leads to a place where none fits, the "
            "word is unknown (all -1), even if shorter pieces would have led to the end.",
            _some_cut,
        ),
        "no letters": Clause(
            no_letters,
            "A word without letters gets a result without numbers, of shape (0,) and int64 like "
            "the others: torch.tensor([]) is float, torch.tensor([], dtype=torch.int64) is not.",
            _floats_for_none,
        ),
    },
)


# --- two texts, one input


def pairs(seed):
    """No text loses a token while both are equally long, or both lose as many."""
    return _texts(seed, (4, 3, 10), (5, 9, 13), (8, 6, 13), (9, 4, 24), (12, 3, 13), (3, 12, 14))


def _texts(seed, *sizes, least=5):
    g = _generator(seed)
    return [
        (
            torch.randint(least, 90, (n,), generator=g),
            torch.randint(least, 90, (m,), generator=g),
            length,
        )
        for n, m, length in sizes
    ]


def equally_long(seed):
    return _texts(seed, (7, 8, 14), (6, 6, 14), (8, 6, 12), (3, 3, 6))


def with_special_ids(seed):
    cases = _texts(seed, (4, 5, 15), (5, 4, 12))
    for a, b, _ in cases:
        a[1:3], b[2:4] = torch.tensor([0, 3]), torch.tensor([3, 0])
    return cases


def one_text_is_empty(seed):
    return _texts(seed, (0, 4, 10), (5, 0, 9), (0, 0, 6), (0, 9, 8))


def too_short(seed):
    return _texts(seed, (3, 4, 4), (1, 1, 4), (0, 0, 3))


def shortest_length(seed):
    return _texts(seed, (3, 5, 5), (6, 2, 5), (1, 1, 5))


def _packed(a, b, length, cut="longer", segment_of_sep=0, padding=0, seps=2, cls=True):
    a, b = a.tolist(), b.tolist()
    extra = seps + cls
    while len(a) + len(b) + extra > length:
        if b and (cut == "b" or len(a) <= len(b)):
            b = b[:-1]
        else:
            a = a[:-1]
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


def _from_the_front(a, b, length):
    while len(a) + len(b) + 3 > length:
        a, b = (a[1:], b) if len(a) > len(b) else (a, b[1:])
    return _packed(a, b, length)


def _cut_at_the_end(a, b, length):
    whole = _packed(a, b, max(length, len(a) + len(b) + 3))
    return tuple(part[:length] for part in whole)


def _halves(a, b, length):
    if len(a) + len(b) + 3 > length:
        a, b = a[: (length - 3 + 1) // 2], b[: (length - 3) // 2]
    return _packed(a, b, length)


def _a_loses_first(a, b, length, least=5):
    if length < least:
        raise ValueError
    while len(a) + len(b) + 3 > length:
        a, b = (a[:-1], b) if len(a) >= len(b) else (a, b[:-1])
    return _packed(a, b, length)


def _checked(a, b, length, least=5):
    if length < least:
        raise ValueError
    return _packed(a, b, length)


def _real_by_id(a, b, length):
    ids, segments, _ = _checked(a, b, length)
    return ids, segments, ids != 0


def _single(a, b, length):
    """A text alone is [CLS] b [SEP], as BERT takes single sentences."""
    if len(a) or length < 5:
        return _checked(a, b, length)
    ids = [2, *b[: length - 2].tolist(), 3]
    real = torch.arange(length) < len(ids)
    return torch.tensor(ids + [0] * (length - len(ids))), torch.zeros(length).long(), real


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
        "halves": (
            _halves,
            "You gave each text half of the room. A short one does not need its half: take tokens "
            "off the longer one only.",
        ),
        "cut at the end": (
            _cut_at_the_end,
            "You cut the finished row at its end: the last [SEP] is lost, and b pays for all. "
            "Shorten the texts first, the longer one each time, and put the marks in afterwards.",
        ),
        "first tokens lost": (
            _from_the_front,
            "You took tokens off the beginning of a text: it loses its last ones.",
        ),
    },
    hints=[
        "First find the two lengths: while n + m + 3 > length, take one off the longer.",
        "[2, *a, 3, *b, 3] and then zeros; a has n tokens, so segment 1 begins at place n + 2.",
        "torch.arange(length) < n + m + 3 is True where there is no padding.",
    ],
    clauses={
        "equally long": Clause(
            equally_long,
            "If both are equally long, b loses its last token, not a.",
            _a_loses_first,
        ),
        "any ids": Clause(
            with_special_ids,
            "The texts may hold any ids, also 0 and 3: what is padding, and where a ends, is told "
            "by lengths and not by looking for [PAD] and [SEP].",
            _real_by_id,
        ),
        "an empty text": Clause(
            one_text_is_empty,
            "A text may be empty: both [SEP] stay, side by side, and so does segment 1.",
            _single,
        ),
        "length 5": Clause(
            shortest_length,
            "A length of 5 is enough: one token of each text.",
            lambda a, b, length: _checked(a, b, length, least=6),
        ),
        "too short": Clause(
            too_short,
            "A length below 5 has no room for a token of each text: raise ValueError.",
            lambda a, b, length: _checked(a, b, length, least=0),
            raises=ValueError,
        ),
    },
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


def borders(seed):
    """Draws of exactly 0, 0.8 and 0.9; in float64, where those numbers are the same for all."""
    cases = []
    for ids, chosen, draw, random_ids in masks(seed)[:2]:
        draw = draw.double()
        chosen[1, :6] = True
        draw[1, :6] = torch.tensor([0.0, 0.8, 0.9, 0.8, 0.9, 0.0], dtype=torch.float64)
        cases.append((ids, chosen, draw, random_ids))
    return cases


def the_same_by_chance(seed):
    cases = masks(seed)[:2]
    for ids, _, _, random_ids in cases:
        random_ids[:, ::2] = ids[:, ::2]
    return cases


def _closed(ids, chosen, draw, random_ids):
    inputs = torch.where(chosen & (draw <= 0.9), random_ids, ids)
    inputs = torch.where(chosen & (draw <= 0.8), torch.full_like(ids, 4), inputs)
    return inputs, ids.masked_fill(~chosen, -100)


def _predicts_what_differs(ids, chosen, draw, random_ids):
    inputs, _ = _masked(ids, chosen, draw, random_ids)
    return _masked(
        ids, chosen, draw, random_ids, predict=(inputs != ids) | (chosen & (draw >= 0.9))
    )


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
    clauses={
        "borders": Clause(
            borders,
            "At a draw of exactly 0.8 the token becomes a random one, and at exactly 0.9 it stays: "
            "compare with < at both borders.",
            _closed,
        ),
        "the same by chance": Clause(
            the_same_by_chance,
            "A random token may happen to be the token itself. It was chosen, so it is predicted: "
            "the labels follow from chosen, not from what has changed.",
            _predicts_what_differs,
        ),
    },
)


# --- the loss


def logits_and_labels(seed):
    g = _generator(seed)
    cases = []
    for B, T, V in ((3, 5, 7), (4, 6, 11), (5, 3, 9)):
        labels = torch.randint(V, (B, T), generator=g)
        labels[torch.rand(B, T, generator=g) < 0.5] = -100
        labels[0, 0], labels[0, 1], labels[1, 0], labels[-1, 0] = 1, -100, 0, 2
        cases.append((2 * torch.randn(B, T, V, generator=g), labels))
    return cases


def nothing_chosen(seed):
    return [(logits, torch.full_like(labels, -100)) for logits, labels in logits_and_labels(seed)]


def large_logits(seed):
    """Whole numbers of some hundreds."""
    return [((200 * logits).round(), labels) for logits, labels in logits_and_labels(seed)]


def ruled_out_elsewhere(seed):
    """Logits of -inf at places where nothing is to be predicted."""
    cases = logits_and_labels(seed)
    for logits, labels in cases:
        logits[..., :2] = logits[..., :2].masked_fill((labels == -100)[..., None], -torch.inf)
    return cases


def _mean_of_none(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _log_of_softmax(logits, labels):
    chosen = labels != -100
    p = logits[chosen].softmax(-1).gather(-1, labels[chosen][:, None])
    return -p.log().sum() / chosen.sum().clamp(min=1)


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
        "token 0 left out": (
            lambda logits, labels: _mean_of_none(
                logits, torch.where(labels > 0, labels, torch.full_like(labels, -100))
            ),
            "You left out places whose token is 0: only the label -100 means that nothing is to be "
            "predicted.",
        ),
    },
    clauses={
        "nothing chosen": Clause(
            nothing_chosen,
            "If nothing is chosen at all, the loss is 0: the mean of no numbers is NaN. Divide "
            "their sum by M, but at least by 1.",
            _mean_of_none,
        ),
        "large logits": Clause(
            large_logits,
            "Logits may be large: exp(100) is infinite in float32, and a probability of exp(-110) "
            "is 0, whose logarithm is -inf. log_softmax and cross_entropy avoid both.",
            _log_of_softmax,
        ),
        "the others do not count": Clause(
            ruled_out_elsewhere,
            "Where nothing is to be predicted, the logits do not count, even if some are -inf: 0 "
            "times infinity is NaN. Leave those places out by an index, or by torch.where.",
            lambda logits, labels: (
                (nll := _nll(logits, labels))[0].sum() / nll[1].sum().clamp(min=1)
            ),
        ),
    },
    hints=[
        "labels != -100 says which tokens count. logits[labels != -100] is (M, V).",
        "log_softmax over V, then gather the entry of the label; the loss is minus their sum, "
        "divided by M.",
        "M may be 0: (labels != -100).sum().clamp(min=1).",
    ],
    grad=True,
)


# --- text_vectors: find the fault ----------------------------------------------------------------


def text_vectors(x, w_q, w_k, w_v, real):
    """One vector for each text of a padded batch: a layer of attention, then the mean.

        out_b = mean over the real t of  sum over the real s of  weights_bts v_bs

    The weights are softmax(q kᵀ / √d) over the real tokens of the text; the mean goes over these,
    too. So padding has no part in the result, whatever stands there and however much there is.
    Shapes: x (B, T, d); w_q, w_k, w_v (d, d); real (B, T) bool, in each row at least one True
    -> (B, d). Source: Devlin et al. 2019; lecture item A23.
    """
    q, k, v = x @ w_q, x @ w_k, x @ w_v  # (B, T, d)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (B, T, T)
    scores = scores.masked_fill(~real[:, None, :], torch.finfo(scores.dtype).min)
    seen = scores.softmax(dim=-1) @ v
    count = real.sum(dim=-1, keepdim=True)
    return (seen * real[:, :, None]).sum(dim=1) / count


def _rows_hidden(x, w_q, w_k, w_v, real):
    q, k, v = x @ w_q, x @ w_k, x @ w_v  # (B, T, d)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (B, T, T)
    scores = scores.masked_fill(~real[:, :, None], torch.finfo(scores.dtype).min)
    seen = scores.softmax(dim=-1) @ v
    count = real.sum(dim=-1, keepdim=True)
    return (seen * real[:, :, None]).sum(dim=1) / count


def _pooled(x, w_q, w_k, w_v, real, hide=None, scale=None, weights=None, count=None):
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = q @ k.mT / (scale or q.shape[-1]) ** 0.5
    hidden = -torch.inf if hide is None else hide
    scores = scores + torch.where(real, 0.0, hidden)[:, None]
    seen = scores.softmax(-1) @ v
    each = real if weights is None else weights
    total = real.sum(1) if count is None else count
    return torch.einsum("bt,btd->bd", each.to(x.dtype), seen) / total.view(-1, 1)


def _scores_of_zero(x, w_q, w_k, w_v, real):
    scores = (x @ w_q) @ (x @ w_k).mT / x.shape[-1] ** 0.5
    seen = scores.masked_fill(~real[:, None], 0.0).softmax(-1) @ (x @ w_v)
    return (seen * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def _padded(*sizes, padding=1.0):
    """Texts of different lengths in one batch; what stands in the padding is no zero."""

    def cases(seed):
        g = torch.Generator().manual_seed(seed)
        made = []
        for B, T, d in sizes:
            x = torch.randn(B, T, d, generator=g)
            matrices = [torch.randn(d, d, generator=g) / d**0.5 for _ in range(3)]
            length = torch.randint(1, T + 1, (B,), generator=g)
            length[0] = max(1, T // 2)
            real = torch.arange(T) < length[:, None]
            made.append((torch.where(real[..., None], x, padding * x), *matrices, real))
        return made

    return cases


exercise(
    text_vectors,
    cases=_padded((3, 6, 4), (4, 5, 7), (5, 8, 3)),
    planted=_rows_hidden,
    symptom="Add padding behind a text, and its vector changes: its tokens still look at padding.",
    mistakes={
        "padding in the mean": (
            lambda x, w_q, w_k, w_v, real: _pooled(
                x, w_q, w_k, w_v, real, weights=torch.ones_like(real), count=real.sum(1)
            ),
            "The attention is right now, but the mean takes in what stands at padding: leave the "
            "last line as it was.",
        ),
        "mean over all places": (
            lambda x, w_q, w_k, w_v, real: _pooled(
                x, w_q, w_k, w_v, real, count=torch.full((len(x),), x.shape[1])
            ),
            "You divide by all T places. The mean is over the real tokens of each text.",
        ),
        "a score of 0": (
            _scores_of_zero,
            "A score of 0 hides nothing: it is a score like any other, and gets the weight e⁰ = 1 "
            "before the division. What is hidden needs the lowest number there is.",
        ),
        "the wrong ones hidden": (
            lambda x, w_q, w_k, w_v, real: _pooled(
                x, w_q, w_k, w_v, ~real, hide=-1e30, weights=real, count=real.sum(1)
            ),
            "You hide the real tokens, and what is looked at is padding: `real` is True where a "
            "token may be looked at, so ~real is what to hide.",
        ),
    },
    clauses={
        "large scores": Clause(
            _padded((3, 5, 4), (4, 6, 3), padding=30.0),
            "Padding gets the weight 0 whatever its score: fill in the lowest number there is, and "
            "do not just subtract something.",
            lambda x, w_q, w_k, w_v, real: _pooled(x, w_q, w_k, w_v, real, hide=-20.0),
        ),
        "sizes of one": Clause(
            _padded((1, 5, 3), (4, 1, 3), (1, 1, 4)),
            "One text or one token changes nothing: the shape is (B, d).",
            lambda x, w_q, w_k, w_v, real: _pooled(x, w_q, w_k, w_v, real).squeeze(0),
        ),
    },
    hints=[
        "Padding must not matter, so there is a test: take one text, append a token whose `real` "
        "is False, and compare the two vectors.",
        "Which line lets padding in: the scores, or the mean? Print the weights of the first text "
        "as a table: rows look, columns are looked at.",
        "scores[b, t, s] is how much t looks at s. What is to be hidden is an s.",
    ],
    grad=["x", "w_q", "w_k", "w_v"],
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "context-that-helps",
        question="How far does your BERT read? Take the hidden places of section 9.6, and let the "
        "model see only the w tokens to the left and the w to the right of each: everything "
        "farther away becomes [MASK]. Hide one place at a time, so that no place is another's "
        "context. No training is needed.",
        hand_in="the smallest w at which the accuracy is within one percentage point of that with "
        "all of the text",
        good=(
            "The accuracy at several w, from 0 (nothing seen: compare it with the unigram) to the "
            "whole text, at the same places.",
            "A number of places that is large enough: the standard error of an accuracy, "
            "√(p (1 − p) / n), is well below the one point that decides.",
            "A remark that a text of masks is nothing that the model was trained on, and a second "
            "way to take the context away (cutting the text off) as a check.",
            "A sentence on what the number does not say: that a word farther away is not used on "
            "average does not mean that it is never used; one such place, if there is one.",
        ),
        minutes=45,
        kind="number",
        unit="tokens",
        between=(1, 64),
        beyond="Is w counted on each side? At w = 0 the model should do about as well as the "
        "unigram, and with the whole text as in section 9.7.",
    ),
)


# --- predictions

PREDICTIONS = (
    Prediction(
        "wordpiece-score",
        "The library calls its trainer WordPiece. Which pair of letters does it merge first?",
        "a",
        "It merges by count: first at, which occurs 9 times, then an with 4, and then xy with 2. "
        "By likelihood xy would be first, with 0.50 (section 9.2).",
        choices=(
            "the pair with the largest count",
            "the pair with the largest likelihood score (9.1)",
        ),
    ),
    Prediction(
        "pretraining-harm",
        "The same network is trained on three tasks, from scratch and from the pre-trained "
        "weights, three times each. In which task did the pre-trained weights come out behind?",
        "c",
        "With film reviews: 61.5 % are right after pre-training and 69.9 % from scratch. With "
        "pairs pre-training came out ahead, 65.6 to 50.0 %. With articles it is undecided: 82.9 to "
        "80.1 %, and the spread is larger than that (section 9.9, means of three trainings).",
        choices=(
            "none of the three",
            "articles: from which of six is a piece",
            "film reviews: positive or not",
            "pairs: are two pieces from the same article",
        ),
    ),
    Prediction(
        "hidden-share",
        "Short trainings, three of each, hide 15 %, 30 % and 60 % of the tokens. Which came out "
        "best at the hidden tokens of held-out articles?",
        "b",
        "After 250 steps it was 30 %, with 4.89 nats. With 60 % it was 5.08, and with BERT's own "
        "15 % it was 5.23 (section 9.10, means of three trainings).",
        choices=("15 %, as BERT does", "30 %", "60 %"),
    ),
)
