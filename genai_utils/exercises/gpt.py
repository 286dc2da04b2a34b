"""Exercises of notebook 10_gpt: two losses, which tokens may be drawn, and the learning rate."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.language import fill_in, gpt
from genai_utils.training import schedules

NOTEBOOK = "10_gpt"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def logits_and_texts(seed):
    g = _generator(seed)
    return [
        (2 * torch.randn(B, T, V, generator=g), torch.randint(V, (B, T + 1), generator=g))
        for B, T, V in ((3, 5, 7), (4, 3, 9), (6, 8, 5))
    ]


def _taken(logits, batch):
    """log-probability of the token that comes, (B, T)."""
    return logits.log_softmax(-1).gather(-1, batch[:, 1:, None])[..., 0]


exercise(
    gpt.next_token_loss,
    cases=logits_and_texts,
    mistakes={
        "not shifted": (
            lambda logits, batch: F.cross_entropy(logits.flatten(0, 1), batch[:, :-1].flatten()),
            "You compared row t with token t, which the model has seen: it would learn to copy. "
            "Row t is about token t + 1: batch[:, 1:].",
        ),
        "sum": (
            lambda logits, batch: -_taken(logits, batch).sum(),
            "You summed over all tokens: take the mean, so that the loss does not depend on how "
            "long the texts are.",
        ),
        "sum over a text": (
            lambda logits, batch: -_taken(logits, batch).sum(1).mean(),
            "You averaged over the texts, but summed over the tokens of each. Average over both.",
        ),
        "likelihood": (
            lambda logits, batch: _taken(logits, batch).mean(),
            "You returned the log-likelihood, which is to be made large: the loss is minus that.",
        ),
        "no logarithm": (
            lambda logits, batch: -_taken(logits, batch).exp().mean(),
            "You averaged the probabilities: take the logarithm of each first.",
        ),
        "bits": (
            lambda logits, batch: -_taken(logits, batch).mean() / math.log(2),
            "You took the logarithm to base 2: nats, the natural logarithm, are asked.",
        ),
    },
    hints=[
        "Row t of the logits is about token t + 1: batch[:, 1:] are the tokens to compare with.",
        "logits.log_softmax(-1).gather(-1, targets[..., None]) picks the log-probability of each; "
        "F.cross_entropy(logits of (N, V), targets of (N,)) does it in one step.",
    ],
    grad=["logits"],
)


def logits_and_k(seed):
    g = _generator(seed)
    return [
        (2 * torch.randn(*shape, generator=g), k)
        for shape, k in (((4, 9), 3), ((3, 12), 5), ((5, 7), 2))
    ]


def _over_all(logits, k):
    least = logits.flatten().topk(k).values[-1]
    return logits.masked_fill(logits < least, -math.inf)


exercise(
    gpt.top_k_filter,
    cases=logits_and_k,
    mistakes={
        "zero for the others": (
            lambda logits, k: logits * (logits >= logits.topk(k).values[..., -1:]),
            "You put 0 for the others. Before the softmax 0 is a logit like any other; "
            "probability 0 is the logit -inf.",
        ),
        "the k-th is left out": (
            lambda logits, k: logits.masked_fill(
                logits <= logits.topk(k).values[..., -1:], -math.inf
            ),
            "You kept k - 1: the k-th largest itself stays. Replace what is smaller than it (<).",
        ),
        "one limit for all": (
            _over_all,
            "You took one limit for the whole table. Each row is a prediction of its own: "
            "topk along the last dimension.",
        ),
        "the largest only": (
            lambda logits, k: logits.masked_fill(
                logits < logits.max(-1, keepdim=True).values, -math.inf
            ),
            "You kept the largest only: that is k = 1.",
        ),
        "the smallest": (
            lambda logits, k: logits.masked_fill(
                logits > logits.topk(k, largest=False).values[..., -1:], -math.inf
            ),
            "You kept the k smallest logits: the likeliest tokens have the largest.",
        ),
        "the values only": (
            lambda logits, k: logits.topk(k).values,
            "You returned the k values. The other tokens keep their places, with -inf in them: "
            "the shape stays.",
        ),
    },
    hints=[
        "logits.topk(k).values[..., -1:] is the k-th largest of each row, with shape (…, 1).",
        "logits.masked_fill(logits < that, -math.inf)",
    ],
)


def logits_and_p(seed):
    g = _generator(seed)
    return [
        (1.5 * torch.randn(*shape, generator=g), p)
        for shape, p in (((4, 9), 0.5), ((3, 12), 0.8), ((6, 7), 0.65))
    ]


def _nucleus(logits, p, crossing=True, back=True, largest=True):
    ordered, index = torch.sort(logits, dim=-1, descending=largest)
    q = ordered.softmax(-1)
    keep = (q.cumsum(-1) - q < p) if crossing else (q.cumsum(-1) <= p)
    if not crossing:
        keep[..., 0] = True  # so that something is left
    if back:
        keep = torch.zeros_like(keep).scatter(-1, index, keep)
    return logits.masked_fill(~keep, -math.inf)


exercise(
    gpt.top_p_filter,
    cases=logits_and_p,
    mistakes={
        "ends below p": (
            lambda logits, p: _nucleus(logits, p, crossing=False),
            "You stopped before the sum reaches p. The token with which it reaches p belongs to "
            "the kept ones: keep a token if the sum of all likelier ones is below p.",
        ),
        "order not undone": (
            lambda logits, p: _nucleus(logits, p, back=False),
            "Your mask is in sorted order, the logits are not. Put it back: "
            "mask.scatter(-1, index, keep).",
        ),
        "a limit of p": (
            lambda logits, p: logits.masked_fill(
                logits.softmax(-1) < p * logits.softmax(-1).max(-1, keepdim=True).values, -math.inf
            ),
            "You kept what is at least p times as likely as the likeliest (that is called min-p). "
            "Here probabilities are summed, from the likeliest on.",
        ),
        "from the least likely": (
            lambda logits, p: _nucleus(logits, p, largest=False),
            "You summed from the least likely token on: sort descending.",
        ),
        "sum of logits": (
            lambda logits, p: logits.masked_fill(
                ~torch.zeros_like(logits, dtype=torch.bool).scatter(
                    -1,
                    logits.argsort(-1, descending=True),
                    logits.sort(-1, descending=True).values.cumsum(-1)
                    - logits.sort(-1, descending=True).values
                    < p,
                ),
                -math.inf,
            ),
            "You summed logits. It is probabilities that have to reach p: softmax first.",
        ),
        "probabilities returned": (
            lambda logits, p: _nucleus(logits, p).softmax(-1),
            "You returned probabilities: logits are asked, -inf where a token is left out.",
        ),
    },
    hints=[
        "Sort descending, take the softmax of the sorted logits, and its cumsum.",
        "cumsum - probability is the sum of all that are likelier. Keep a token if that is < p.",
        "The index of the sort brings the mask back to the old places: "
        "torch.zeros_like(keep).scatter(-1, index, keep).",
    ],
)


def plans(seed):
    g = _generator(seed)
    cases = []
    for n, steps, warmup, decay in ((9, 40, 5, 12), (13, 60, 7, 21), (17, 90, 11, 33)):
        some = torch.randint(steps, (n - 4,), generator=g)  # and the ends of each part
        ends = torch.tensor([0, warmup - 1, steps - decay + 1, steps - 1])
        cases.append((torch.cat([some, ends]), steps, warmup, decay))
    return cases


def _lowest(*lines):
    return torch.stack([torch.as_tensor(line).expand_as(lines[0]) for line in lines]).amin(0)


exercise(
    schedules.trapezoid,
    cases=plans,
    mistakes={
        "starts at 0": (
            lambda step, steps, warmup, decay: _lowest(step / warmup, (steps - step) / decay, 1.0),
            "Your first step has rate 0 and changes nothing: (step + 1) / warmup.",
        ),
        "ends at 0": (
            lambda step, steps, warmup, decay: _lowest(
                (step + 1) / warmup, (steps - step - 1) / decay, 1.0
            ),
            "Your last step, steps - 1, has rate 0 and changes nothing: (steps - step) / decay.",
        ),
        "no limit of 1": (
            lambda step, steps, warmup, decay: _lowest((step + 1) / warmup, (steps - step) / decay),
            "In the middle your factor is above 1: it stays at 1 there.",
        ),
        "no decay": (
            lambda step, steps, warmup, decay: _lowest((step + 1) / warmup, 1.0),
            "Your factor stays at 1 to the end: the last `decay` steps go down.",
        ),
        "no warm-up": (
            lambda step, steps, warmup, decay: _lowest((steps - step) / decay, 1.0),
            "Your factor is 1 from the start: the first `warmup` steps go up.",
        ),
        "a triangle": (
            lambda step, steps, warmup, decay: _lowest(
                (step + 1) / warmup, (steps - step) / (steps - warmup), 1.0
            ),
            "You go down from the end of the warm-up on. It stays at 1 until the last `decay` "
            "steps.",
        ),
    },
    hints=[
        "Three lines: one that rises, 1, and one that falls. The smallest of the three counts.",
        "The rising one is 1 / warmup at step 0, the falling one is 1 / decay at step steps - 1.",
        "torch.minimum(rise, fall).clamp(max=1)",
    ],
)


def hidden_tokens(seed):
    g = torch.Generator().manual_seed(seed)
    cases = []
    for B, T, V in ((3, 5, 4), (4, 7, 9), (5, 4, 6)):
        hidden = torch.rand(B, T, generator=g) < 0.5
        hidden[:, 0] = True
        hidden[0] = torch.arange(T) < 1  # one row with a single hidden token
        hidden[1] = True  # and one in which all are
        logits = 2 * torch.randn(B, T, V, generator=g)
        cases.append((logits, torch.randint(V, (B, T), generator=g), hidden))
    return cases


def _each(logits, ids):
    return F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")  # (B, T)


exercise(
    fill_in.hidden_nll,
    cases=hidden_tokens,
    mistakes={
        "all tokens": (
            lambda logits, ids, hidden: _each(logits, ids).mean(),
            "You scored the visible tokens too. The model reads them in its input: there is "
            "nothing to guess.",
        ),
        "the visible ones": (
            lambda logits, ids, hidden: (
                (_each(logits, ids) * ~hidden).sum() / (~hidden).sum().clamp(min=1)
            ),
            "You scored the visible tokens in place of the hidden ones: hidden is True where "
            "the model had to guess.",
        ),
        "one mean over all": (
            lambda logits, ids, hidden: _each(logits, ids)[hidden].mean(),
            "You averaged over all hidden tokens of the batch, so rows with much hidden count "
            "more. Average inside each row first, then over the rows.",
        ),
        "divided by T": (
            lambda logits, ids, hidden: (_each(logits, ids) * hidden).mean(),
            "You divided by all T tokens of a row: divide by the number of hidden ones.",
        ),
        "sum": (
            lambda logits, ids, hidden: (_each(logits, ids) * hidden).sum(-1).mean(),
            "You summed over the hidden tokens of a row: take their mean, so that the unit is "
            "nats per token.",
        ),
        "sign": (
            lambda logits, ids, hidden: (
                -((_each(logits, ids) * hidden).sum(-1) / hidden.sum(-1)).mean()
            ),
            "You returned the log-likelihood, which is to be made large: the loss is minus that.",
        ),
    },
    hints=[
        "F.cross_entropy with reduction='none' gives one number for each token, if the classes "
        "stand in dimension 1: logits.transpose(1, 2).",
        "Multiply by hidden, sum over the row, divide by hidden.sum(-1). Then the mean over rows.",
    ],
    grad=["logits"],
)
