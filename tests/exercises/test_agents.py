"""Answers to the exercises of 17_agents, written without a look at the declared mistakes.

`test_all.py` runs them: WRONG must be refused, RIGHT accepted.
"""

import itertools
import math
from collections import Counter

import torch

# --- quotations_in -------------------------------------------------------------------------------


def words_of(quotes, page):
    return [[i for i in row if i >= 0] for row in quotes.tolist()], page.tolist()


def qi_loops(quotes, page, least=3):
    rows, words = words_of(quotes, page)
    return torch.tensor([
        len(q) >= least and any(words[i : i + len(q)] == q for i in range(len(words) - len(q) + 1))
        for q in rows
    ])  # fmt: skip


def qi_text(quotes, page, least=3):
    rows, words = words_of(quotes, page)
    text = f" {' '.join(map(str, words))} "
    return torch.tensor([len(q) >= least and f" {' '.join(map(str, q))} " in text for q in rows])


def qi_shifts(quotes, page, least=3):
    """The page shifted by 0, 1, 2, …: which quotations begin there?"""
    hit = torch.zeros(len(quotes), dtype=torch.bool)
    m = quotes.shape[1]
    long = torch.cat([page, page.new_full((m,), -7)])
    for i in range(len(page)):
        hit |= ((long[i : i + m] == quotes) | (quotes < 0)).all(1)
    return hit & ((quotes >= 0).sum(1) >= least)


def qi_isin(quotes, page, least=3):
    return (torch.isin(quotes, page) | (quotes < 0)).all(1) & ((quotes >= 0).sum(1) >= least)


def qi_subsequence(quotes, page, least=3):
    rows, words = words_of(quotes, page)
    found = []
    for q in rows:
        rest = iter(words)
        found.append(len(q) >= least and all(w in rest for w in q))
    return torch.tensor(found)


def qi_any_length(quotes, page, least=3):
    return qi_loops(quotes, page, 0)


def qi_one_word(quotes, page, least=3):
    return qi_loops(quotes, page, 1)


def qi_more_than(quotes, page, least=3):
    return qi_loops(quotes, page, least + 1)


def qi_three(quotes, page, least=3):
    return qi_loops(quotes, page, 3)


def qi_with_filling(quotes, page, least=3):
    m = quotes.shape[1]
    if m > len(page):
        return torch.zeros(len(quotes), dtype=torch.bool)
    return (page.unfold(0, m, 1) == quotes[:, None]).all(2).any(1)


def qi_no_padding(quotes, page, least=3):
    """Windows of the page alone: what begins near its end is lost."""
    m = quotes.shape[1]
    if m > len(page):
        return torch.zeros(len(quotes), dtype=torch.bool)
    alike = (page.unfold(0, m, 1) == quotes[:, None]) | (quotes[:, None] < 0)
    return alike.all(2).any(1) & ((quotes >= 0).sum(1) >= least)


def qi_last_missing(quotes, page, least=3):
    return qi_loops(quotes, page[:-1], least)


def qi_first_word(quotes, page, least=3):
    rows, words = words_of(quotes, page)
    found = []
    for q in rows:
        i = words.index(q[0]) if q and q[0] in words else None
        found.append(i is not None and len(q) >= least and words[i : i + len(q)] == q)
    return torch.tensor(found)


def qi_numbers(quotes, page, least=3):
    return qi_loops(quotes, page, least).float() * 3


# --- vote ----------------------------------------------------------------------------------------


def vo_counter(answers):
    found = []
    for row in answers.tolist():
        counts = Counter(a for a in row if a != -1)  # it keeps the order of the first
        found.append(counts.most_common(1)[0][0] if counts else -1)
    return torch.tensor(found)


def vo_loops(answers):
    winners = []
    for row in answers.tolist():
        best, most = -1, 0
        for a in row:
            if a >= 0 and row.count(a) > most:
                best, most = a, row.count(a)
        winners.append(best)
    return torch.tensor(winners)


def vo_one_hot(answers):
    n = answers.shape[1]
    votes = torch.zeros(len(answers), int(answers.max().clamp(min=0)) + 2)
    votes.scatter_add_(1, answers + 1, torch.ones(answers.shape))
    votes[:, 0] = 0
    mine = votes.gather(1, answers + 1) - torch.arange(n) / (10 * n)
    return answers.gather(1, mine.masked_fill(answers < 0, -1).argmax(1, keepdim=True))[:, 0]


def vo_mode(answers):
    """torch.mode: of equal ones the smallest, and -1 has votes too."""
    return answers.mode(1).values


def vo_mode_without(answers):
    rows = [row[row >= 0] for row in answers]
    return torch.stack([row.mode().values if len(row) else torch.tensor(-1) for row in rows])


def vo_silence_counts(answers):
    return torch.tensor([Counter(row).most_common(1)[0][0] for row in answers.tolist()])


def vo_last_of_ties(answers):
    return vo_counter(answers.flip(1))


def vo_first(answers):
    return torch.tensor([next((a for a in row if a >= 0), -1) for row in answers.tolist()])


def vo_max(answers):
    return answers.max(1).values


def vo_mean(answers):
    return answers.float().mean(1)


def vo_raises(answers):
    return torch.tensor(
        [Counter(a for a in row if a >= 0).most_common(1)[0][0] for row in answers.tolist()]
    )


def vo_count(answers):
    return torch.tensor(
        [max(map([a for a in row if a >= 0].count, row)) for row in answers.tolist()]
    )


def vo_columns(answers):
    return vo_counter(answers.T)


def vo_majority(answers):
    """More than half of all tries, or nobody."""
    won = vo_counter(answers)
    half = (answers == won[:, None]).sum(1) > answers.shape[1] / 2
    return torch.where(half, won, -1)


# --- pass_at_k -----------------------------------------------------------------------------------


def pk_choices(right, k):
    """All choices of k, one after the other."""
    rows = [
        [float(any(choice)) for choice in itertools.combinations(row, k)] for row in right.tolist()
    ]
    return torch.tensor([sum(row) / len(row) for row in rows])


def pk_comb(right, k):
    n = right.shape[1]
    counts = right.sum(1).tolist()
    return torch.tensor([1 - math.comb(n - c, k) / math.comb(n, k) for c in counts])


def pk_loop(right, k):
    n, c = right.shape[1], right.sum(1).double()
    miss = torch.ones(len(right), dtype=torch.double)
    for i in range(k):
        miss = miss * ((n - c - i) / (n - i)).clamp(min=0)
    return 1 - miss


def pk_power(right, k):
    return 1 - (1 - right.double().mean(1)) ** k


def pk_first(right, k):
    return right[:, :k].any(1).double()


def pk_whole(right, k):
    return pk_comb(right, k).mean()


def pk_no_clamp(right, k):
    """No factor below 0 is harmful: one of them is 0 then."""
    n, c = right.shape[1], right.sum(1).double()
    i = torch.arange(k)
    return 1 - ((n - c[:, None] - i) / (n - i)).prod(1)


def pk_upside_down(right, k):
    return 1 - pk_comb(right, k)


def pk_all_right(right, k):
    """The probability that all k are right."""
    n = right.shape[1]
    return torch.tensor([math.comb(c, k) / math.comb(n, k) for c in right.sum(1).tolist()])


def pk_columns(right, k):
    return pk_comb(right.T, min(k, len(right)))


def pk_same_denominator(right, k):
    n, c = right.shape[1], right.sum(1).double()
    i = torch.arange(k)
    return 1 - ((n - c[:, None] - i).clamp(min=0) / n).prod(1)


def pk_one_less(right, k):
    return pk_comb(right, max(1, k - 1))


def pk_blocks(right, k):
    """The tries cut into blocks of k."""
    n = right.shape[1] // k * k
    return right[:, :n].view(len(right), -1, k).any(2).double().mean(1)


# --- action_mask ---------------------------------------------------------------------------------


def ac_loops(ids, go, done):
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for b in range(len(ids)):
        own = False
        for t, token in enumerate(ids[b].tolist()):
            if token == go:
                own = True
            elif own:
                mask[b, t] = True
                own = token != done
    return mask


def ac_last_mark(ids, go, done):
    """What was the last mark before each place?"""
    place = torch.arange(1, ids.shape[1] + 1).expand_as(ids)
    last_go = torch.where(ids == go, place, 0).cummax(1).values
    last_done = torch.where(ids == done, place, 0).cummax(1).values
    return (last_go > torch.nn.functional.pad(last_done[:, :-1], (1, 0))) & (ids != go)


def ac_difference(ids, go, done):
    step = (ids == go).int() - (ids == done).int()
    return (step.cumsum(1) + (ids == done).int() == 1) & ~(ids == go)


def ac_planted(ids, go, done):
    return ((ids == go).cumsum(1) > (ids == done).cumsum(1)) & (ids != go)


def ac_with_go(ids, go, done):
    return ac_loops(ids, go, done) | (ids == go)


def ac_first_action(ids, go, done):
    mask = ac_loops(ids, go, done)
    return mask & ((ids == done).cumsum(1) - (ids == done).long() == 0)


def ac_all_after(ids, go, done):
    return ((ids == go).cumsum(1) > 0) & (ids != go)


def ac_outside(ids, go, done):
    return ~ac_loops(ids, go, done)


def ac_shifted(ids, go, done):
    return torch.nn.functional.pad(ac_loops(ids, go, done)[:, 1:], (0, 1))


def ac_one_and_two(ids, go, done):
    return ac_loops(ids, 1, 2)


def ac_needs_done(ids, go, done):
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for b, row in enumerate(ids.tolist()):
        begun = None
        for t, token in enumerate(row):
            if token == go:
                begun = t
            elif token == done and begun is not None:
                mask[b, begun + 1 : t + 1] = True
    return mask


def ac_numbers(ids, go, done):
    return ac_loops(ids, go, done).float() * 2


WRONG = [
    *(("quotations_in", f) for f in (qi_isin, qi_subsequence, qi_any_length,
      qi_one_word, qi_more_than, qi_three, qi_with_filling, qi_no_padding, qi_last_missing,
      qi_first_word, qi_numbers)),
    *(("vote", f) for f in (vo_mode, vo_mode_without, vo_silence_counts, vo_last_of_ties, vo_first,
      vo_max, vo_mean, vo_raises, vo_count, vo_columns, vo_majority)),
    *(("pass_at_k", f) for f in (pk_power, pk_first, pk_whole, pk_upside_down,
      pk_all_right, pk_columns, pk_same_denominator, pk_one_less, pk_blocks)),
    *(("action_mask", f) for f in (ac_planted, ac_with_go, ac_first_action, ac_all_after,
      ac_outside, ac_shifted, ac_one_and_two, ac_needs_done, ac_numbers)),
]  # fmt: skip

RIGHT = [
    *(("quotations_in", f) for f in (qi_loops, qi_text, qi_shifts)),
    *(("vote", f) for f in (vo_counter, vo_loops, vo_one_hot)),
    *(("pass_at_k", f) for f in (pk_choices, pk_comb, pk_loop, pk_no_clamp)),
    *(("action_mask", f) for f in (ac_loops, ac_last_mark, ac_difference)),
]  # fmt: skip
