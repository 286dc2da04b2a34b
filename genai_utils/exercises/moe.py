"""Exercises of notebook 18_moe: gates, queues, balance, and a bias that may only choose."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import moe

NOTEBOOK = "18_moe"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- top_k_gates ---------------------------------------------------------------------------------


def _logits(seed, scale=1.5, every=False):
    g = _generator(seed)
    cases = []
    for N, E, k in ((5, 4, 2), (6, 5, 3), (4, 6, 2)):
        # at least 0.1 apart, in any order: no two are alike
        order = torch.rand(N, E, generator=g).argsort(1)
        h = scale * (order - E / 2 + 0.8 * torch.rand(N, E, generator=g))
        cases.append((h, E if every else k))
    return cases


def _large(seed):
    return [((300 * h).round(), k) for h, k in _logits(seed)]


def _out_of_range(seed):
    (h, _), *_ = _logits(seed)
    return [(h, 0), (h, h.shape[-1] + 1), (h, -1)]


def _keep(h, k):
    """Which are among the k best, (N, E) bool."""
    return torch.zeros_like(h, dtype=torch.bool).scatter(-1, h.topk(k, dim=-1).indices, True)


def _exponentials(h, k):
    e = torch.where(moe.top_k_gates(h, k) > 0, h.exp(), 0.0)
    return e / e.sum(-1, keepdim=True)


exercise(
    moe.top_k_gates,
    cases=_logits,
    mistakes={
        "not divided": (
            lambda logits, k: torch.where(_keep(logits, k), logits.softmax(-1), 0.0),
            "Your rows do not sum to 1: you took the softmax over all experts and left out some. "
            "It is over the k best only.",
        ),
        "zeros in the softmax": (
            lambda logits, k: torch.where(_keep(logits, k), logits, 0.0).softmax(-1),
            "You put 0 for the logits of the others, and exp(0) is 1: they still get a share. "
            "Minus infinity would give them none.",
        ),
        "all alike": (
            lambda logits, k: _keep(logits, k) / k,
            "You gave each of the k best the same share. Their logits say how much each counts.",
        ),
        "the smallest": (
            lambda logits, k: torch.where(_keep(-logits, k), logits, -torch.inf).softmax(-1),
            "You kept the k smallest logits. The router prefers the largest.",
        ),
        "over the tokens": (
            lambda logits, k: moe.top_k_gates(logits.T, min(k, len(logits))).T,
            "You chose among the tokens of an expert. Each token, a row, chooses its experts.",
        ),
        "the gates alone": (
            lambda logits, k: logits.topk(k, dim=-1).values.softmax(-1),
            "These are the k gates, the best first, without their places. (N, E) is asked, with "
            "0 for those that were not chosen.",
        ),
        "one only": (
            lambda logits, k: F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype),
            "You kept the best expert only. k of them are asked.",
        ),
        "everyone": (
            lambda logits, k: logits.softmax(-1),
            "You gave every expert its share. All but the k best should get 0.",
        ),
        "one too few": (
            lambda logits, k: (
                torch.where(_keep(logits, k - 1), logits, -torch.inf).softmax(-1)
                if k > 1
                else torch.full_like(logits, torch.nan)
            ),
            "You kept k - 1 of them. The k-th best belongs to the k best: ≥ it, not > it.",
        ),
        "shares of the tokens": (
            lambda logits, k: torch.zeros_like(logits).scatter(
                -1, logits.topk(k, dim=-1).indices, logits.topk(k, dim=-1).values.softmax(0)
            ),
            "Your softmax runs over the tokens. The gates of one token sum to 1: dim=-1.",
        ),
    },
    clauses={
        "all experts": Clause(
            lambda seed: _logits(seed, every=True),
            "k may be the number of experts: then nobody is left out, and it is the softmax.",
            lambda logits, k: moe.top_k_gates(logits, k - (k == logits.shape[-1])),
        ),
        "large logits": Clause(
            _large,
            "Logits may be large, and exp(500) is infinite. torch.softmax takes off the largest "
            "first.",
            _exponentials,
        ),
        "k out of range": Clause(
            _out_of_range,
            "Fewer than one choice, or more than there are experts, makes no sense: raise "
            "ValueError.",
            lambda logits, k: moe.top_k_gates(logits, min(max(k, 1), logits.shape[-1])),
            raises=ValueError,
        ),
    },
    hints=[
        "logits.topk(k, dim=-1) gives values and indices (N, k), the best first.",
        "The softmax of these values are the gates. zeros.scatter(-1, indices, gates) puts them "
        "where they belong.",
        "topk itself raises RuntimeError for a k that is too large, and takes 0 without a word.",
    ],
    grad=["logits"],
)


# --- balance_loss --------------------------------------------------------------------------------


def _routed(seed, k=1, missing=False):
    g = _generator(seed)
    cases = []
    for N, E in ((12, 3), (20, 4), (30, 5)):
        p = (1.5 * torch.randn(N, E, generator=g)).softmax(-1)
        chosen = p.topk(k, dim=-1).indices
        if missing:
            chosen = chosen.clamp(max=E - 2)
        else:
            chosen[:E, 0] = torch.arange(E)  # each is chosen at least once
        cases.append((p, chosen))
    return cases


def _shares(chosen, experts):
    return F.one_hot(chosen.flatten(), experts).double().mean(0).float()


exercise(
    moe.balance_loss,
    cases=_routed,
    mistakes={
        "without E": (
            lambda p, chosen: (_shares(chosen, p.shape[1]) * p.mean(0)).sum(),
            "The factor E is missing: an even load should give 1, whatever the number of experts.",
        ),
        "mean over the experts": (
            lambda p, chosen: (_shares(chosen, p.shape[1]) * p.mean(0)).mean(),
            "You averaged over the experts. It is E times the sum.",
        ),
        "probabilities only": (
            lambda p, chosen: p.shape[1] * p.mean(0).square().sum(),
            "You used the probabilities twice. f counts where the tokens really went.",
        ),
        "counts only": (
            lambda p, chosen: p.shape[1] * _shares(chosen, p.shape[1]).square().sum() + 0 * p.sum(),
            "You used the counts twice. A count has no slope, so that the router would learn "
            "nothing from it: one factor has to be the mean probability.",
        ),
        "sums for means": (
            lambda p, chosen: p.shape[1] * (_shares(chosen, p.shape[1]) * p.sum(0)).sum(),
            "Yours is N times too large: P is a mean over the tokens, and f a share, no number.",
        ),
        "of the chosen": (
            lambda p, chosen: (
                p.shape[1]
                * (
                    _shares(chosen, p.shape[1]) * (p * F.one_hot(chosen[:, 0], p.shape[1])).mean(0)
                ).sum()
            ),
            "Your P holds the probabilities of the chosen experts only. It is the mean of all, "
            "chosen or not.",
        ),
        "how far from even": (
            lambda p, chosen: (
                p.shape[1] * ((_shares(chosen, p.shape[1]) - 1 / p.shape[1]) * p.mean(0)).sum()
            ),
            "Yours is 0 for an even load. Only a constant is missing, but the loss as defined is "
            "1 there.",
        ),
    },
    clauses={
        "more than one choice": Clause(
            lambda seed: _routed(seed, 2),
            "With k choices for each token f is the share of all N k choices, and sums to 1.",
            lambda p, chosen: (
                p.shape[1]
                * (F.one_hot(chosen, p.shape[1]).float().sum(1).mean(0) * p.mean(0)).sum()
            ),
        ),
        "an expert that nobody chose": Clause(
            lambda seed: _routed(seed, missing=True),
            "An expert may have got nothing at all. It has a share of 0, and counts among the E.",
            lambda p, chosen: (
                int(chosen.max() + 1) * (_shares(chosen, p.shape[1]) * p.mean(0)).sum()
            ),
        ),
    },
    hints=[
        "f: compare chosen.reshape(-1, 1) with torch.arange(E), a table of truths; its mean over "
        "the rows.",
        "P is p.mean(0). The number of experts is p.shape[-1]; do not read it off the choices.",
    ],
    grad=["p"],
)


# --- queue_places --------------------------------------------------------------------------------


def _choices(seed, k=2):
    """Choices of tokens, of which some experts get several; the last expert gets none."""
    g = _generator(seed)
    cases = []
    for N, E in ((7, 4), (9, 5), (12, 4)):
        chosen = torch.rand(N, E - 1, generator=g).argsort(1)[:, :k]
        chosen[1], chosen[2] = chosen[0], chosen[0].flip(0)  # somebody has to wait
        cases.append((chosen, E))
    return cases


def _many(seed):
    g = _generator(seed)
    second = torch.randint(1, 4, (200, 1), generator=g)
    return [(torch.cat([0 * second, second], 1), 4), (torch.tensor([[1, 0]] * 150), 2)]


def _count(flat, experts, before=True):
    one = F.one_hot(flat, experts)
    upto = one.cumsum(0) - (one if before else 0)
    return (upto * one).sum(-1)


def _counted_in_bytes(chosen, experts):
    one = F.one_hot(chosen.flatten(), experts).to(torch.int8)
    return ((one.cumsum(0, dtype=torch.int8) - one) * one).sum(-1).view_as(chosen)


exercise(
    moe.queue_places,
    cases=_choices,
    mistakes={
        "from 1": (
            lambda chosen, experts: _count(chosen.flatten(), experts, False).view_as(chosen),
            "You counted the choice itself: the first in a queue has place 0.",
        ),
        "first choices first": (
            lambda chosen, experts: _count(chosen.T.flatten(), experts).view(*chosen.T.shape).T,
            "You let all first choices pass before the second ones. Then a later token can push "
            "an earlier one out, and the model would know of what comes. Go token by token.",
        ),
        "a queue for each choice": (
            lambda chosen, experts: torch.stack(
                [_count(column, experts) for column in chosen.T], 1
            ),
            "First and second choices wait in queues of their own in your version. An expert has "
            "one queue.",
        ),
        "from the end": (
            lambda chosen, experts: (
                _count(chosen.flatten().flip(0), experts).flip(0).view_as(chosen)
            ),
            "You counted the choices that come later. Who comes first is served first.",
        ),
        "one queue for all": (
            lambda chosen, experts: torch.arange(chosen.numel()).view_as(chosen),
            "You numbered all choices in one queue. Each expert has a queue of its own.",
        ),
        "those that went elsewhere": (
            lambda chosen, experts: (
                torch.arange(chosen.numel()).view_as(chosen)
                - _count(chosen.flatten(), experts).view_as(chosen)
            ),
            "You counted the earlier choices that went to other experts.",
        ),
        "how many in all": (
            lambda chosen, experts: F.one_hot(chosen.flatten(), experts).sum(0)[chosen],
            "You gave the length of the whole queue. What is asked is how many stand in front.",
        ),
        "one flat row": (
            lambda chosen, experts: _count(chosen.flatten(), experts),
            "The numbers are right, in one row. Return the shape of `chosen`, (N, k).",
        ),
        "anew for each token": (
            lambda chosen, experts: torch.stack([_count(row, experts) for row in chosen]),
            "You begin to count anew with each token. A queue holds those of all earlier tokens.",
        ),
    },
    clauses={
        "one choice each": Clause(
            lambda seed: _choices(seed, 1),
            "With k = 1 the shape stays (N, 1).",
            lambda chosen, experts: moe.queue_places(chosen, experts).squeeze(-1),
        ),
        "long queues": Clause(
            _many,
            "A queue may be longer than 127: count in int64, not in bytes.",
            _counted_in_bytes,
        ),
    },
    hints=[
        "Flatten the choices: row after row is the order of the queue. Compare them with "
        "torch.arange(experts): a table (N k, E) that says who went where.",
        "cumsum(0) of the table counts the choices up to and with each row. Take the row itself "
        "off again.",
        "Of each row only the column of its own expert is wanted: times the table, sum over the "
        "columns; then view_as(chosen).",
    ],
)


# --- choose: find the fault ----------------------------------------------------------------------


def _weighs(p, k, bias=None):
    wanted = p if bias is None else p + bias
    chosen = wanted.topk(k, dim=-1).indices
    gates = wanted.gather(-1, chosen)
    return gates / gates.sum(-1, keepdim=True), chosen


def _biased(seed, bias=True, k=2):
    g = _generator(seed)
    cases = []
    for N, E in ((6, 4), (8, 5), (10, 6)):
        p = torch.randn(N, E, generator=g).softmax(-1)
        b = 0.4 * torch.rand(E, generator=g)
        b[0] = 0.5
        cases.append((p, k, b) if bias else (p, k))
    return cases


def _shifted(seed):
    return [(p, k, b - 3.0) for p, k, b in _biased(seed)]


exercise(
    moe.choose,
    cases=_biased,
    planted=_weighs,
    symptom="Where all biases are 0 all is right. The larger a bias, the more its expert's answer "
    "counts, though the router likes it no better. And adding the same number to all biases, "
    "which changes no choice, changes the gates.",
    mistakes={
        "not divided": (
            lambda p, k, bias=None: (
                p.gather(-1, (c := (p if bias is None else p + bias).topk(k, dim=-1).indices)),
                c,
            ),
            "Now the gates of a token no longer sum to 1.",
        ),
        "no bias at all": (
            lambda p, k, bias=None: moe.choose(p, k),
            "Now the bias does nothing: it has to say who is chosen.",
        ),
        "the best gates": (
            lambda p, k, bias=None: (
                (g := p.topk(k, dim=-1).values) / g.sum(-1, keepdim=True),
                (p if bias is None else p + bias).topk(k, dim=-1).indices,
            ),
            "Now the gates are those of the experts that the router likes best, which need not be "
            "those that were chosen.",
        ),
        "softmax": (
            lambda p, k, bias=None: (
                p.gather(-1, moe.choose(p, k, bias)[1]).softmax(-1),
                moe.choose(p, k, bias)[1],
            ),
            "Now you take a softmax of what are probabilities already. Divide by their sum.",
        ),
    },
    clauses={
        "no bias": Clause(
            lambda seed: _biased(seed, bias=False),
            "Without a bias the most probable experts are chosen.",
            lambda p, k, bias=None: moe.choose(
                p, k, torch.arange(p.shape[1]) / 2.0 if bias is None else bias
            ),
        ),
        "negative biases": Clause(
            _shifted,
            "Biases may be negative, all of them: only their differences matter.",
            lambda p, k, bias=None: moe.choose(p, k, None if bias is None else bias.clamp(min=0)),
        ),
    },
    hints=[
        "A test: add 1 to every bias. The same experts are chosen. What becomes of the gates?",
        "Follow the bias through the function. Where does it come in, and where does it leave?",
        "The gates are read from something that holds the bias. They should be read from p.",
    ],
    grad=["p"],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "copied-experts",
        "A trained GPT becomes a mixture: each MLP is copied eight times, a new router sends every "
        "token to two of the copies, and their gates sum to 1. How large is the gradient of the "
        "loss of the text with respect to the router in the first step, compared with that of a "
        "mixture whose experts differ?",
        "a",
        "Whichever copies are chosen, and with whatever gates, the answer is the same: the output "
        "does not depend on the router, and its gradient is 0 but for rounding (section 18.8).",
        choices=(
            "zero",
            "about as large: the router is new, and has everything to learn",
            "larger: eight trained experts answer louder than eight random ones",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "experts-that-pay",
        question="How many experts pay? Take a table of 1,024 people, dim 16 and k = 1, and train "
        "1, 2, 4, 8, 16 and 32 experts for 1,000 steps each, with the balance that you like best. "
        "Follow recall over the total number of weights.",
        hand_in="the smallest number of experts from which twice as many bring less than 2 points "
        "of recall",
        good=(
            "A curve of recall over the number of experts, the weights written beside it.",
            "The seconds of a step beside it: more experts do the same work, and cost more time.",
            "Three seeds of at least two of the sizes, so that 2 points can be told from chance.",
            "How many texts each expert sees in all: with 32 experts a 32nd of them.",
        ),
        minutes=60,
        kind="number",
        unit="experts",
        between=(1, 32),
        beyond="Is it a number of experts, and one of those that were trained?",
    ),
)
