"""Exercises of notebook 11_finetuning: a form of input, what is read off, the loss, the choice."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import finetuning

NOTEBOOK = "11_finetuning"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- a form of input


def _texts(*sizes):
    def cases(seed):
        g = _generator(seed)
        return [tuple(torch.randint(5, 90, (n,), generator=g) for n in pair) for pair in sizes]

    return cases


def _rows(a, b, order=((0, 1), (1, 0)), marks=(2, 3, 4), last=True, first=True):
    """The two rows; order: which text comes first and second in each."""
    start, delimiter, extract = ([mark] for mark in marks)
    texts = a.tolist(), b.tolist()
    rows = []
    for one, other in order:
        row = start * first + texts[one] + delimiter + texts[other] + extract * last
        rows.append(torch.tensor(row, dtype=torch.int64))
    return rows


def _marks_of_the_texts(a, b):
    """Marks that stand in the texts are taken out: they are tokens like any other there."""
    return _rows(*(x[(x < 2) | (x > 4)] for x in (a, b)))


def _with_marks(seed):
    """Texts that hold the numbers 2, 3 and 4 themselves."""
    return [
        (torch.cat([torch.tensor([4, 3]), a, torch.tensor([2])]), torch.cat([b, torch.tensor([4])]))
        for a, b in _texts((3, 5), (6, 2), (4, 7))(seed)
    ]


def _without_an_empty_one(a, b):
    rows = _rows(a, b)
    return [row[row != 3] for row in rows] if not (len(a) and len(b)) else rows


exercise(
    finetuning.similarity,
    cases=_texts((3, 5), (6, 2), (4, 9), (7, 1)),
    mistakes={
        "one order twice": (
            lambda a, b: _rows(a, b, order=((0, 1), (0, 1))),
            "Both of your rows have the same order. In the second b stands first.",
        ),
        "each text with itself": (
            lambda a, b: _rows(a, b, order=((0, 0), (1, 1))),
            "Each of your rows holds one text twice. Each holds both, in two orders.",
        ),
        "the orders exchanged": (
            lambda a, b: _rows(a, b, order=((1, 0), (0, 1))),
            "You have both orders, but the row that begins with a comes first.",
        ),
        "no Extract": (
            lambda a, b: _rows(a, b, last=False),
            "Your rows do not end with Extract, 4. The model is read there.",
        ),
        "no Start": (
            lambda a, b: _rows(a, b, first=False),
            "Your rows do not begin with Start, 2.",
        ),
        "Extract between": (
            lambda a, b: _rows(a, b, marks=(2, 4, 3)),
            "You exchanged two marks: the Delimiter, 3, stands between the texts and Extract, 4, "
            "at the end.",
        ),
        "Start between": (
            lambda a, b: _rows(a, b, marks=(2, 2, 4)),
            "Between the texts stands the Delimiter, 3, and not Start once more.",
        ),
    },
    hints=[
        "One row is Start, text, Delimiter, text, Extract; torch.cat joins tensors.",
        "torch.tensor([2]) is a text of one token, Start.",
        "Write the row for (a, b) and for (b, a), in this order.",
    ],
    clauses={
        "an empty text": Clause(
            _texts((0, 4), (5, 0), (0, 0)),
            "A text may be empty: the marks stay where they are.",
            _without_an_empty_one,
        ),
        "marks inside": Clause(
            _with_marks,
            "The ids of a text may be any, 2, 3 and 4 too: leave them as they are.",
            _marks_of_the_texts,
        ),
    },
)


# --- what is read off


def _vectors(*sizes, inside=False):
    """(h, ids): rows of different lengths, each with Extract before its padding."""

    def cases(seed):
        g = _generator(seed)
        found = []
        for B, T, d in sizes:
            ids = torch.randint(5, 50, (B, T), generator=g)
            last = torch.randint(2, max(T - 1, 3), (B,), generator=g).clamp(max=T - 1)
            last[0] = min(2, T - 1)
            ids[torch.arange(T) > last[:, None]] = 0
            ids[:, 0] = 2
            if inside:  # the text holds the number of Extract itself
                ids[:, 1] = 4
            ids[torch.arange(B), last] = 4
            found.append((torch.randn(B, T, d, generator=g), ids))
        return found

    return cases


def _full(seed):
    """Rows without padding: Extract is the last token of all."""
    cases = _vectors((3, 5, 4), (4, 6, 2))(seed)
    for _, ids in cases:
        ids[ids == 0] = 7
        ids[:, 1:-1] = ids[:, 1:-1].masked_fill(ids[:, 1:-1] == 4, 7)
        ids[:, -1] = 4
    return cases


def _at(h, place):
    return h[torch.arange(len(h)), place]


def _last(ids):
    return (ids != 0).sum(1) - 1


exercise(
    finetuning.read_extract,
    cases=_vectors((3, 6, 4), (4, 8, 5), (5, 9, 3)),
    mistakes={
        "the last place": (
            lambda h, ids: h[:, -1],
            "You read the last place of the table, which is padding in shorter rows: a text's "
            "verdict would depend on how long the others are.",
        ),
        "the first place": (
            lambda h, ids: h[:, 0],
            "You read the first place, as BERT does. A GPT looks back only: at its first place it "
            "has seen nothing but Start.",
        ),
        "one place too late": (
            lambda h, ids: _at(h, _last(ids) + 1),
            "You read one place behind Extract: places count from 0.",
        ),
        "one place too early": (
            lambda h, ids: _at(h, _last(ids) - 1),
            "You read one place before Extract.",
        ),
        "a mean": (
            lambda h, ids: (h * (ids != 0)[..., None]).sum(1) / (ids != 0).sum(1, keepdim=True),
            "You took the mean over the row. That is what a frozen model is read by in this "
            "chapter; GPT-1 reads one place.",
        ),
        "the largest": (
            lambda h, ids: h.amax(1),
            "You took the largest value of each number over all places: take the vector of one.",
        ),
        "one row's place for all": (
            lambda h, ids: h[:, _last(ids)[0]],
            "You took the place of the first row for all rows. Each row has its own.",
        ),
    },
    hints=[
        "Where does Extract, 4, stand in each row? ids == 4 says it.",
        "h[torch.arange(B), place] takes one vector of each row.",
        "The last 4 counts: ((ids == 4) * torch.arange(T)).amax(-1) is its place.",
    ],
    clauses={
        "several": Clause(
            _vectors((3, 7, 4), (4, 9, 5), inside=True),
            "A text may hold the number 4 itself: the last one of the row is Extract.",
            lambda h, ids: _at(h, (ids == 4).long().argmax(1)),
        ),
        "no padding": Clause(
            _full,
            "A row may be full: then Extract stands at its last place.",
            lambda h, ids: _at(h, (ids == 0).long().argmax(1) - 1 + 2 * (ids[:, -1] != 0)),
        ),
    },
    grad=["h"],
)


# --- the loss


def _batches(*sizes, scale=1.0, weight=0.5):
    """(logits, labels, lm_logits, ids, weight) for B examples of r rows."""

    def cases(seed):
        g = _generator(seed)
        found = []
        for i, (B, r, C, T, V) in enumerate(sizes):
            ids = torch.randint(5, V, (B * r, T), generator=g)
            length = torch.randint(3, T + 1, (B * r,), generator=g)
            length[0], length[-1] = 3, T
            ids[torch.arange(T) >= length[:, None]] = 0
            found.append((
                (scale * torch.randn(B, C, generator=g)).round(decimals=3),
                torch.randint(C, (B,), generator=g),
                (scale * torch.randn(B * r, T, V, generator=g)).round(decimals=3),
                ids,
                weight + 0.3 * i if weight else 0.0,
            ))  # fmt: skip
        return found

    return cases


def _no_weight(seed):
    """λ = 0, and a language model whose loss is infinite: it takes no part."""
    cases = _batches((3, 1, 2, 5, 11), (4, 2, 3, 6, 13), weight=0.0)(seed)
    for _, _, lm_logits, ids, _ in cases:
        lm_logits[0, 0, ids[0, 1]] = -math.inf
    return cases


def _impossible_padding(seed):
    """The logits at padding hold -inf where nothing is asked."""
    cases = _batches((3, 1, 2, 5, 11), (4, 2, 3, 6, 13))(seed)
    for _, _, lm_logits, ids, _ in cases:
        following = F.pad(ids[:, 1:], (0, 1))
        lm_logits[..., 0] = lm_logits[..., 0].masked_fill(following == 0, -math.inf)
    return cases


def _asked(lm_logits, ids, shift=1, padding=False):
    """NLL of each place that is asked, and which are: (N, T'), (N, T') bool."""
    T = ids.shape[1] - shift
    wanted = ids[:, shift:]
    nll = F.cross_entropy(lm_logits[:, :T].mT, wanted, reduction="none")
    return nll, torch.ones_like(wanted, dtype=torch.bool) if padding else wanted != 0


def _mean(nll, asked):
    return torch.where(asked, nll, 0.0).sum() / asked.sum()


def _loss(logits, labels, lm_logits, ids, weight=0.5, shift=1, padding=False):
    task = F.cross_entropy(logits, labels)
    return task + weight * _mean(*_asked(lm_logits, ids, shift, padding)) if weight else task


def _by_rows(logits, labels, lm_logits, ids, weight=0.5):
    nll, asked = _asked(lm_logits, ids)
    rows = torch.where(asked, nll, 0.0).sum(1) / asked.sum(1)
    return F.cross_entropy(logits, labels) + weight * rows.mean()


def _task_of_probabilities(logits, labels, lm_logits, ids, weight=0.5):
    task = -logits.softmax(-1).log().gather(1, labels[:, None]).mean()
    return task + (weight * _mean(*_asked(lm_logits, ids)) if weight else 0.0)


def _always_added(logits, labels, lm_logits, ids, weight=0.5):
    return F.cross_entropy(logits, labels) + weight * _mean(*_asked(lm_logits, ids))


def _product_with_padding(logits, labels, lm_logits, ids, weight=0.5):
    task = F.cross_entropy(logits, labels)
    if not weight:
        return task
    nll, asked = _asked(lm_logits, ids)
    return task + weight * (nll * asked).sum() / asked.sum()


exercise(
    finetuning.fine_tuning_loss,
    cases=_batches((3, 1, 2, 5, 11), (4, 2, 3, 6, 13), (6, 1, 5, 7, 17)),
    mistakes={
        "padding is asked too": (
            lambda *given: _loss(*given, padding=True),
            "You asked for padding too. The language model should not spend its time on that: "
            "leave out the places that are followed by 0.",
        ),
        "not shifted": (
            lambda *given: _loss(*given, shift=0),
            "You compared place t with token t, which the model has read. Place t is about token "
            "t + 1.",
        ),
        "no weight": (
            lambda logits, labels, lm_logits, ids, weight=0.5: _loss(
                logits, labels, lm_logits, ids, 1.0
            ),
            "You added the language model's loss in full: λ times it is asked.",
        ),
        "a mixture": (
            lambda logits, labels, lm_logits, ids, weight=0.5: (
                (1 - weight) * F.cross_entropy(logits, labels)
                + weight * _mean(*_asked(lm_logits, ids))
            ),
            "You took (1 − λ) of the task's loss. It counts in full, and λ of the other is added.",
        ),
        "each row the same": (
            _by_rows,
            "You averaged over each row first, so that a token of a short text counts more. One "
            "mean over all places that are asked.",
        ),
        "a sum": (
            lambda logits, labels, lm_logits, ids, weight=0.5: (
                F.cross_entropy(logits, labels)
                + weight * torch.where(*reversed(_asked(lm_logits, ids)), 0.0).sum()
            ),
            "You summed the language model's loss over all places: take the mean.",
        ),
        "divided by all places": (
            lambda logits, labels, lm_logits, ids, weight=0.5: (
                F.cross_entropy(logits, labels)
                + weight * torch.where(*reversed(_asked(lm_logits, ids)), 0.0).sum() / ids.numel()
            ),
            "You divided by all places, padding included: divide by the number of places that are "
            "asked.",
        ),
        "the task is left out": (
            lambda logits, labels, lm_logits, ids, weight=0.5: (
                weight * _mean(*_asked(lm_logits, ids))
            ),
            "The task's own loss is missing.",
        ),
    },
    hints=[
        "Two parts. The first is F.cross_entropy(logits, labels).",
        "For the second: lm_logits[:, :-1] are about ids[:, 1:]; of these, those that are not 0 "
        "count.",
        "F.cross_entropy(lm_logits[:, :-1].mT, ids[:, 1:], reduction='none') gives one number for "
        "each place; torch.where(asked, nll, 0.0).sum() / asked.sum() is their mean.",
        "if weight == 0: return the first part alone.",
    ],
    clauses={
        "a weight of 0": Clause(
            _no_weight,
            "With λ = 0 the language model takes no part, whatever its loss is: 0 times infinity "
            "is NaN.",
            _always_added,
        ),
        "padding does not count": Clause(
            _impossible_padding,
            "A place that is followed by padding does not count, even if padding is impossible "
            "there: 0 times infinity is NaN. Leave it out by torch.where or an index.",
            _product_with_padding,
        ),
        "large logits": Clause(
            _batches((3, 1, 2, 5, 11), (4, 2, 3, 6, 13), scale=300.0),
            "Logits may be large: a probability of exp(-300) is 0, whose logarithm is -inf. "
            "F.cross_entropy avoids it.",
            _task_of_probabilities,
        ),
    },
    grad=["logits", "lm_logits"],
)


# --- the planted fault: what is chosen by what


def _tables(*sizes):
    """Accuracies in %: the best rate by the mean of the trials is not the test's, nor one of
    those that were lucky in a single trial."""

    def cases(seed):
        g = _generator(seed)
        found = []
        for R, N, S in sizes:
            validation = 60 + 3 * torch.rand(R, N, generator=g, dtype=torch.float64)
            test = 60 + 3 * torch.rand(R, S, generator=g, dtype=torch.float64)
            order = torch.randperm(R, generator=g)
            validation[order[0]] += 20
            test[order[1]] += 20
            validation[order[2]] += 16  # good in both: the best by the sum of the two
            test[order[2]] += 16
            if N > 1:  # lucky in one trial
                validation[order[3], 0] += 26
                validation[order[4], -1] += 32
            found.append((validation, test))
        return found

    return cases


def _ties(seed):
    """Two rates are equally good on the validation texts."""
    cases = _tables((5, 2, 3), (6, 3, 4), (7, 1, 2))(seed)
    for validation, _ in cases:
        validation[[1, -1]] = 90.0
    return cases


def _planted(validation, test):
    mean = test.mean(1)  # (R,)
    best = (mean == mean.max()).nonzero()[0, 0]
    scores = test[best]  # (S,)
    spread = scores.std() if len(scores) > 1 else torch.zeros_like(scores[0])
    return scores.mean(), spread


def _chosen(validation, test, by=None, last=False, correction=1, alone=0.0):
    mean = validation.mean(1) if by is None else by
    best = len(mean) - 1 - mean.flip(0).argmax() if last else mean.argmax()
    scores = test[best]
    spread = scores.std(correction=correction) if len(scores) > 1 else 0 * scores[0] + alone
    return scores.mean(), spread


exercise(
    finetuning.chosen_by_validation,
    cases=_tables((5, 2, 3), (6, 3, 4), (7, 1, 2)),
    planted=_planted,
    symptom="Take labels from a coin: nothing can be learnt, and any method should come out at "
    "50 %. By this function it comes out above, and the more rates were tried, the further above.",
    mistakes={
        "both together": (
            lambda validation, test: _chosen(
                validation, test, by=(validation.mean(1) + test.mean(1)) / 2
            ),
            "The choice looks at the test still, together with the validation. It must not look "
            "at the test at all.",
        ),
        "the validation is reported": (
            lambda validation, test: _chosen(validation, validation, alone=0.0),
            "Now you report the validation accuracy. It was used for the choice, and so flatters "
            "the method too; the test's at the chosen rate is asked.",
        ),
        "the worst": (
            lambda validation, test: _chosen(validation, test, by=-validation.mean(1)),
            "You chose the rate with the lowest validation accuracy.",
        ),
        "the first trial": (
            lambda validation, test: _chosen(validation, test, by=validation[:, 0]),
            "You chose by the first trial seed alone. A rate may have been lucky there: take the "
            "mean over the trial seeds.",
        ),
        "the luckiest trial": (
            lambda validation, test: _chosen(validation, test, by=validation.amax(1)),
            "You chose the rate of the single best trial. One trial may be lucky: take the mean "
            "over the trial seeds first.",
        ),
        "the mean over rates": (
            lambda validation, test: (test.mean(), test.mean(0).std()),
            "You averaged over all rates. One is chosen, and its seeds are averaged.",
        ),
    },
    hints=[
        "Make a test: accuracies that are all 50 plus chance, in both tables. What comes out for "
        "one rate, and for a hundred?",
        "Something looks at the table that should only be looked at last.",
        "By which accuracies is `best` found?",
    ],
    clauses={
        "ties": Clause(
            _ties,
            "Of rates that are equally good on the validation texts the first is taken.",
            lambda validation, test: _chosen(validation, test, last=True),
        ),
        "one seed": Clause(
            _tables((5, 2, 1), (6, 3, 1)),
            "With one seed there is no spread to be seen, and it is 0: the standard deviation of "
            "one number is NaN.",
            lambda validation, test: _chosen(validation, test, alone=math.nan),
        ),
    },
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "worth-in-labels",
        question="How many labelled docstrings is the pre-training worth? Find the number of "
        "labels at which the GPT without pre-training is as good as the pre-trained one with 500; "
        "both read by the mean (`tune` of section 11.5). Give both the same care: a learning rate "
        "of its own for each number of labels, and enough steps.",
        hand_in="the number of labels with which the net from scratch reaches the accuracy of the "
        "pre-trained one with 500 labels",
        good=(
            "A curve over at least four numbers of labels between 500 and all, with three seeds "
            "and their spread, and the place where it crosses the level, with an interval.",
            "Learning rates, and the number of steps, chosen on the validation texts for each "
            "number of labels, and a sentence that says so.",
            "The standard error of the level itself: 2,000 test texts are good for one point.",
            "A word on the price: what the additional labels would cost people in time, against "
            "the minutes of pre-training.",
        ),
        minutes=60,
        kind="number",
        unit="labels",
        between=(500, 8_000),
        beyond="Below 500 pre-training would do harm, and from 8,000 labels on it would be worth "
        "sixteen times the labels: did both get a rate of their own and enough steps, and is the "
        "level that of the test texts?",
    ),
)


# --- predictions

PREDICTIONS = (
    Prediction(
        "few-or-many-labels",
        "A GPT reads raw docstrings, and is then fine-tuned with 100, 500 or 5,000 labels on the "
        "question which package one comes from, read at Extract. With how many labels does the "
        "reading bring most, compared with random weights?",
        "c",
        "With 100 labels it brings −2.6 ± 5.5 points, with 500 +6.5 ± 4.9, with 5,000 +15.5 ± 3.2 "
        "(section 11.8, three seeds). Extract is a new token: it takes labels to learn what to "
        "gather there. Read by the mean of all vectors it brings +5.1 ± 3.5 with 100 labels.",
        choices=(
            "with 100: where labels are few, reading matters most",
            "with 500",
            "with 5,000: where there are labels enough to learn to use what was read",
        ),
    ),
)
