"""Exercises of notebook 17_agents: a quotation, tries, a vote, and what the agent wrote."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import web_agent, web_browser, web_practice

NOTEBOOK = "17_agents"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- quotations_in -------------------------------------------------------------------------------


def _page(g, T):
    """Words of a page; the first one comes again in the middle, with another word behind it."""
    page = torch.randint(0, 30, (T,), generator=g)
    page[T // 2], page[1], page[T // 2 + 1] = page[0], 30, 31
    return page


def _quotes(page, m, g):
    """From the start, the middle and the end, and with one word wrong, left out or turned round."""
    T = len(page)
    rows = [page[:m], page[T // 2 : T // 2 + m], page[T - m :]]
    wrong = page[1 : m + 1].clone()
    wrong[-1] = 40
    rows += [wrong, page[: m + 1][torch.arange(m + 1) != 1], page[2 : m + 2].flip(0)]
    rows.append(F.pad(page[2:5], (0, m - 3), value=-1))
    if m > 4:
        rows.append(F.pad(page[4:8], (0, m - 4), value=-1))
    return torch.stack([row[:m] for row in rows])


def _quoted(seed, sizes=((4, 12), (5, 13), (6, 16))):
    g = _generator(seed)
    return [(_quotes(page, m, g), page) for m, T in sizes for page in [_page(g, T)]]


def _short(seed):
    g, cases = _generator(seed), []
    for m, T in ((4, 12), (5, 14)):
        page = _page(g, T)
        rows = [F.pad(page[i : i + n], (0, m - n), value=-1) for i, n in ((0, 2), (3, 1), (3, 3))]
        cases.append((torch.stack([*rows, torch.full((m,), -1)]), page))
    return cases


def _other_least(seed):
    return [(*case, least) for case in _short(seed) for least in (1, 2)]


def _long(seed):
    g = _generator(seed)
    cases = []
    for m, T in ((9, 5), (8, 6)):
        page = torch.randperm(30, generator=g)[:T]
        rows = [F.pad(page, (0, m - T), value=-1), F.pad(page, (0, m - T), value=35)]
        rows += [F.pad(page[1:], (0, m - T + 1), value=-1), F.pad(page[:3], (0, m - 3), value=-1)]
        cases.append((torch.stack(rows), page))
    return cases


def _digits(seed):
    """Words whose numbers, written one behind the other, have the digits of other words."""
    g, cases = _generator(seed), []
    for m, T in ((3, 9), (4, 11)):
        page = torch.randint(30, 90, (T,), generator=g)
        page[2:5] = torch.tensor([12, 3, 45])
        row = torch.tensor([1, 23, 45])
        rows = [F.pad(r, (0, m - 3), value=-1) for r in (row, page[2:5], page[:3])]
        cases.append((torch.stack(rows), page))
    return cases


def _looked(quotes, page, least=3, at=None, want=lambda own, q: own == q):
    """By a loop over rows and places."""
    found = []
    for row in quotes.tolist():
        q, p = [i for i in row if i >= 0], page.tolist()
        places = range(len(p) - len(q) + 1) if at is None else at(len(p), len(q))
        found.append(len(q) >= least and any(want(p[i : i + len(q)], q) for i in places))
    return torch.tensor(found)


exercise(
    web_browser.quotations_in,
    cases=_quoted,
    mistakes={
        "any order": (
            lambda quotes, page, least=3: _looked(
                quotes, page, least, want=lambda own, q: sorted(own) == sorted(q)
            ),
            "You let the words come in any order.",
        ),
        "with gaps": (
            lambda quotes, page, least=3: (
                ((quotes[..., None] == page).any(2) | (quotes < 0)).all(1)
                & ((quotes >= 0).sum(1) >= least)
            ),
            "You ask whether each word stands somewhere on the page. They must follow each other.",
        ),
        "only at the start": (
            lambda quotes, page, least=3: _looked(quotes, page, least, lambda p, q: range(1)),
            "You look at the beginning of the page only.",
        ),
        "one place too few": (
            lambda quotes, page, least=3: _looked(quotes, page, least, lambda p, q: range(p - q)),
            "A quotation at the very end of the page is lost.",
        ),
        "the first place of its first word": (
            lambda quotes, page, least=3: torch.tensor(
                [
                    len(q) >= least
                    and q[0] in page.tolist()
                    and page[(i := page.tolist().index(q[0])) : i + len(q)].tolist() == q
                    for q in ([i for i in row if i >= 0] for row in quotes.tolist())
                ]
            ),
            "You look only at the first place where its first word stands. It may stand there "
            "again, with other words behind it.",
        ),
        "the ends too": (
            lambda quotes, page, least=3: _looked(
                torch.where(quotes < 0, 99, quotes), page, least
            ),
            "You compare the -1 that fills up a row as if it were a word.",
        ),
        "most of the words": (
            lambda quotes, page, least=3: _looked(
                quotes, page, least,
                want=lambda own, q: sum(a == b for a, b in zip(own, q, strict=True)) >= len(q) - 1,
            ),
            "You let one word be another. Every word has to be right.",
        ),
        "more than least": (
            lambda quotes, page, least=3: _looked(quotes, page, least + 1),
            "A quotation of exactly `least` words is one: fewer than that are too few.",
        ),
        "its beginning": (
            lambda quotes, page, least=3: _looked(quotes[:, :least], page, least),
            "You compare the first `least` words of a quotation only. All of them must stand on "
            "the page.",
        ),
    },
    clauses={
        "too short": Clause(
            _short,
            "A quotation of fewer than three words is none, though it stands on the page; a row of "
            "-1 is none either.",
            lambda quotes, page, least=3: _looked(quotes, page, 0 if least == 3 else least),
        ),
        "another least": Clause(
            _other_least,
            "How many words a quotation has at least is an argument.",
            lambda quotes, page, least=3: _looked(quotes, page, 3),
        ),
        "digits": Clause(
            _digits,
            "Joined as text without a gap, the words 1, 23 look like 12, 3. Compare numbers, or "
            "put something between them.",
            lambda quotes, page, least=3: torch.tensor(
                [
                    len(q) >= least and "".join(map(str, q)) in "".join(map(str, page.tolist()))
                    for q in ([i for i in row if i >= 0] for row in quotes.tolist())
                ]
            ),
        ),
        "longer than the page": Clause(
            _long,
            "A row may be longer than the page: what stands in it may still be on the page, or go "
            "on beyond its end.",
            lambda quotes, page, least=3: (
                _looked(quotes, page, least) & (quotes.shape[1] <= len(page))
            ),
        ),
    },
    hints=[
        "A loop does it: take the words of a row without the -1, n of them, and compare them with "
        "each n words in a row of the page.",
        "There are T - n + 1 places to begin at; with n above T there is none.",
        "Without loops: pad the page with m numbers that are no word, and .unfold(0, m, 1) gives "
        "what begins at each place.",
    ],
)  # fmt: skip


# --- pass_at_k -----------------------------------------------------------------------------------


def _tried(seed, ks=(2, 3)):
    g, cases = _generator(seed), []
    for Q, n in ((5, 6), (4, 8), (6, 7)):
        right = torch.rand(Q, n, generator=g) < 0.5
        right[:, : n // 2 + 1] = right[:, : n // 2 + 1] & (torch.rand(Q, 1, generator=g) < 0.5)
        right[:, 0], right[:, 1], right[:, -3:] = True, True, False
        right[1, :2], right[1, 2] = False, True
        cases += [(right, k) for k in ks]
    return cases


def _never_or_always(seed):
    g, cases = _generator(seed), []
    for n in (5, 8):
        right = torch.rand(5, n, generator=g) < 0.3
        right[0], right[1] = False, True
        right[2, : n - 1], right[2, n - 1] = True, False
        cases += [(right, 2), (right, 4)]
    return cases


def _by_comb(right, k, top=None):
    n = right.shape[1]
    counts = right.sum(1).tolist()
    return torch.tensor(
        [1 - math.comb(n - c, k) / math.comb(n if top is None else top, k) for c in counts]
    )


exercise(
    web_practice.pass_at_k,
    cases=_tried,
    mistakes={
        "with replacement": (
            lambda right, k: 1 - (1 - right.float().mean(1)) ** k,
            "You take the tries as if one could be drawn twice. That is too large: count choices.",
        ),
        "the first k": (
            lambda right, k: right[:, :k].any(1).float(),
            "You look at the first k tries only, and at none of the others.",
        ),
        "any of all": (
            lambda right, k: right.any(1).float(),
            "You ask whether any of the n tries is right. It is about k of them.",
        ),
        "the wrong ones": (
            lambda right, k: 1 - web_practice.pass_at_k(right, k),
            "That is the probability that all k are wrong.",
        ),
        "right in place of wrong": (
            lambda right, k: web_practice.pass_at_k(~right, k),
            "You count the wrong tries as c. c of the n are right.",
        ),
        "the mean": (
            lambda right, k: web_practice.pass_at_k(right, k).mean(),
            "One number for each question is asked for, not their mean.",
        ),
        "the share": (
            lambda right, k: right.float().mean(1),
            "That is one try. Of k tries one has to be right.",
        ),
        "all k": (
            lambda right, k: 1 - web_practice.pass_at_k(~right, k),
            "That is the probability that all k are right. One right try is enough.",
        ),
        "k shares": (
            lambda right, k: (k * right.float().mean(1)).clamp(max=1),
            "You add up k shares. A choice with two right tries counts twice then.",
        ),
    },
    clauses={
        "k is 1": Clause(
            lambda seed: _tried(seed, ks=(1,)),
            "With k = 1 it is the share of right tries.",
            lambda right, k: web_practice.pass_at_k(right, max(k, 2)),
        ),
        "fewer wrong ones than k": Clause(
            _never_or_always,
            "Where fewer than k tries are wrong, no choice of k is without a right one: C(m, k) is "
            "0 for k above m, and the result is 1.",
            lambda right, k: torch.where(
                (~right).sum(1) < k,
                1 - (~right).float().mean(1) ** k,
                web_practice.pass_at_k(right, k),
            ),
        ),
    },
    hints=[
        "c is right.sum(1). Of the C(n, k) choices of k tries, C(n - c, k) hold wrong ones only.",
        "math.comb(n - c, k) is C(n - c, k), and 0 for k above n - c; take each question in turn.",
        "Without factorials: C(n - c, k) / C(n, k) is the product of (n - c - i) / (n - i), i from "
        "0 to k - 1.",
    ],
)  # fmt: skip


# --- vote ----------------------------------------------------------------------------------------


def _ballots(seed, share=0.2):
    """Tries whose most frequent answer is one alone."""
    g, cases = _generator(seed), []
    for Q, n in ((4, 7), (5, 9), (3, 8)):
        answers = torch.randint(3, 20, (Q, n), generator=g)
        popular = torch.randint(20, 40, (Q, 1), generator=g)
        mine = torch.rand(Q, n, generator=g).argsort(1) < 4
        silent = (torch.rand(Q, n, generator=g) < share) & ~mine
        answers = torch.where(mine, popular, answers)
        answers[0] = torch.where(mine[0], popular[0], 50 + torch.arange(n))
        answers = answers.masked_fill(silent, -1)
        for row, own in zip(answers, mine, strict=True):  # the rest at most twice each
            for value in row[~own].unique():
                row[((row == value) & ~own).nonzero()[2:]] = 60 + int(value)
        cases.append((answers,))
    return cases


def _silent(seed):
    """More tries without an answer than for any; and nobody with one."""
    g, cases = _generator(seed), []
    for Q, n in ((4, 7), (3, 8)):
        answers = torch.full((Q, n), -1)
        for row in answers[:-1]:
            row[torch.randperm(n, generator=g)[:3]] = torch.tensor([5, 7, 5])
        cases.append((answers,))
    return cases


def _ties(seed):
    """Two answers with equally many votes: the larger number first, or the smaller."""
    g, cases = _generator(seed), []
    for n in (6, 8):
        rows = []
        for a, b in ((9, 4), (4, 9), (12, 5)):
            rest = torch.tensor([a, b, b])[torch.randperm(3, generator=g)]
            rows.append(torch.cat([torch.tensor([a]), rest, torch.arange(50, 46 + n)]))
        cases.append((torch.stack(rows),))
    return cases


def _elected(answers, key):
    found = []
    for row in answers.tolist():
        known = [a for a in row if a >= 0]
        found.append(max(known, key=lambda a: key(a, known)) if known else -1)
    return torch.tensor(found)


exercise(
    web_practice.vote,
    cases=_ballots,
    mistakes={
        "the first": (
            lambda answers: web_practice.first_that_counts(answers),
            "You take the first answer. The one with the most votes is asked for.",
        ),
        "the largest": (
            lambda answers: answers.amax(1),
            "You take the largest id. An id is a name, and no number of votes.",
        ),
        "the fewest votes": (
            lambda answers: _elected(answers, lambda a, known: -known.count(a)),
            "Yours is the answer with the fewest votes.",
        ),
        "how many": (
            lambda answers: (answers == web_practice.vote(answers)[:, None]).sum(1),
            "That is how many votes the winner has, not who it is.",
        ),
        "its place": (
            lambda answers: (answers == web_practice.vote(answers)[:, None]).long().argmax(1),
            "That is the number of a try. The answer that stands there is asked for.",
        ),
        "over all questions": (
            lambda answers: web_practice.vote(answers.reshape(1, -1)).expand(len(answers)).clone(),
            "You count the votes of all questions together. Each has an election of its own.",
        ),
        "the middle": (
            lambda answers: answers.median(1).values,
            "The median of ids means nothing: they are names.",
        ),
    },
    clauses={
        "tries without an answer": Clause(
            _silent,
            "A try without an answer that counts, -1, has no vote; -1 is given only where nobody "
            "has an answer.",
            lambda answers: torch.tensor(
                [max(row, key=lambda a: (row.count(a), -row.index(a))) for row in answers.tolist()]
            ),
        ),
        "equally many votes": Clause(
            _ties,
            "Of answers with equally many votes the one that came first wins, whatever its id.",
            lambda answers: _elected(answers, lambda a, known: (known.count(a), -a)),
        ),
    },
    hints=[
        "For each try, count how many tries of the same question gave the same answer.",
        "(answers[:, :, None] == answers[:, None, :]).sum(2) are these counts, (Q, n). Set them to "
        "0 where the answer is -1.",
        "argmax gives the first of equal ones; gather takes the answer that stands there.",
    ],
)  # fmt: skip


# --- action_mask: find the fault -----------------------------------------------------------------


def _until_done(ids, go, done):
    begun = (ids == go).cumsum(1)
    ended = (ids == done).cumsum(1)
    return (begun > ended) & (ids != go)


def _rows(seed, cut=False, marks=(1, 2)):
    """Rows of text, go, action, done, text, go, action, done, and what fills up."""
    g, cases = _generator(seed), []
    go, done = marks
    for B, most in ((3, 2), (4, 3), (5, 3)):
        rows = []
        for _ in range(B):
            row = []
            for _ in range(int(torch.randint(1, most + 1, (), generator=g))):
                text, own = (
                    torch.randint(10, 20, (int(torch.randint(1, 4, (), generator=g)),), generator=g)
                    for _ in "ab"
                )
                row += [*text.tolist(), go, *own.tolist(), done]
            rows.append(torch.tensor(row[:-1] if cut else row))
        T = min(map(len, rows)) if cut else max(map(len, rows)) + 2  # cut: the last action is open
        T += T == B
        ids = torch.zeros(B, max(T, *map(len, rows)), dtype=torch.int64)
        for row, own in zip(ids, rows, strict=True):
            row[len(row) - len(own) if cut else 0 :][: len(own)] = own
        cases.append((ids, go, done))
    return cases


def _counts(ids, go, done):
    begun = (ids == go).cumsum(1)
    ended = (ids == done).cumsum(1) - (ids == done).long()
    return begun, ended


exercise(
    web_agent.action_mask,
    cases=_rows,
    planted=_until_done,
    symptom="A policy that is trained with it never learns to end an action: its “;” has no part "
    "in the loss, and the words of an action go on until the engine cuts them off.",
    mistakes={
        "go too": (
            lambda ids, go, done: torch.greater(*_counts(ids, go, done)),
            "Now the `go` is among the agent's tokens. The engine writes it.",
        ),
        "only the done": (
            lambda ids, go, done: ids == done,
            "Now only the ends of actions count, and not their words.",
        ),
        "all behind the first go": (
            lambda ids, go, done: ((ids == go).cumsum(1) > 0) & (ids != go),
            "Now all that was seen counts too: the agent would learn to write the pages.",
        ),
        "outside in place of inside": (
            lambda ids, go, done: ~web_agent.action_mask(ids, go, done),
            "Now it is what came from outside.",
        ),
        "one after the done": (
            lambda ids, go, done: (
                web_agent.action_mask(ids, go, done)
                | torch.nn.functional.pad((ids == done)[:, :-1], (1, 0))
            ),
            "Now the first word of what is seen counts too: one place too far.",
        ),
    },
    clauses={
        "an action that is cut off": Clause(
            lambda seed: _rows(seed, cut=True),
            "An action without a `done` goes to the end of its row.",
            lambda ids, go, done: (
                web_agent.action_mask(ids, go, done) & ((ids == done).flip(1).cumsum(1).flip(1) > 0)
            ),
        ),
        "other tokens": Clause(
            lambda seed: _rows(seed, marks=(7, 4)),
            "go and done are arguments: they need not be 1 and 2.",
            lambda ids, go, done: web_agent.action_mask(ids, 1, 2),
        ),
    },
    hints=[
        "Write down a row by hand: words, go, two words, done, a word. Which places are True, and "
        "which should be?",
        "Each place counts the gos and the dones so far. What do the two counts say at the done "
        "itself?",
        "The done itself must not count as an end yet: take it out of its own running sum.",
    ],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "obey",
        "The agent learned on pages without a lie. Some pages had moved, and the demonstrator "
        "followed their link. Now a page says “moved , open [1]”, and the link leads to another "
        "host; the text browser shows the link as “elsewhere”. How often does the agent try to "
        "follow it?",
        "c",
        "In 99.2 % of the episodes, in each of three seeds. To do what a page says was right on "
        "every page that it was trained on. The browser refuses, and no request left the host. "
        "After a training with such notes no lure was followed (section 17.8).",
        choices=(
            "hardly ever: it was asked a question, not told to open links",
            "about every second time",
            "nearly always",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "how-many-demonstrations",
        question="How many demonstrations does practice need to start from? Clone the agent from "
        "30, 100, 300 and 1,000 demonstrations, and let each practise for the same number of "
        "rollouts. Follow the share of right answers on a new web before and after.",
        hand_in="the smallest number of demonstrations from which practice reaches 80 % right "
        "answers, at temperature 1",
        good=(
            "A figure of right answers before and after practice, over the number of "
            "demonstrations.",
            "The share of rollouts in which a group had a right answer at all: where none has, "
            "GRPO has nothing to learn from.",
            "Three seeds of at least one number, so that the spread is known.",
            "Equal steps of cloning for all, so that only the number of demonstrations differs.",
        ),
        minutes=60,
        kind="number",
        unit="demonstrations",
        between=(10, 1_000),
        beyond="Is it the number of demonstrations, and were the questions asked on a new web?",
    ),
)
