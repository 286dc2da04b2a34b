"""Exercises of notebook 10_gpt: two losses, the learning rate, and which tokens may be drawn."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
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


def large_logits(seed):
    """Whole numbers of some hundreds."""
    return [((200 * logits).round(), batch) for logits, batch in logits_and_texts(seed)]


LARGE = (
    "Logits may be large: exp(100) is infinite in float32, and a probability of exp(-110) is 0, "
    "whose logarithm is -inf. log_softmax and cross_entropy avoid both."
)


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
    clauses={
        "large logits": Clause(
            large_logits,
            LARGE,
            lambda logits, batch: -logits.softmax(-1).gather(-1, batch[:, 1:, None]).log().mean(),
        ),
    },
    grad=["logits"],
)


def plans(seed):
    g = _generator(seed)
    cases = []
    for n, steps, warmup, decay in ((9, 40, 5, 12), (13, 60, 7, 21), (17, 90, 11, 33)):
        some = torch.randint(steps, (n - 4,), generator=g)  # and the ends of each part
        ends = torch.tensor([0, warmup - 1, steps - decay + 1, steps - 1])
        cases.append((torch.cat([some, ends]), steps, warmup, decay))
    return cases


def overlapping(seed):
    """The factor never reaches 1: warm-up and decay together are longer than all steps."""
    g = _generator(seed)
    return [
        (torch.randperm(steps, generator=g)[:n], steps, warmup, decay)
        for n, steps, warmup, decay in ((8, 10, 7, 8), (15, 20, 18, 9), (12, 16, 5, 16))
    ]


def _in_pieces(step, steps, warmup, decay):
    rise, fall = (step + 1) / warmup, (steps - step) / decay
    return torch.where(step < warmup, rise, fall.clamp(max=1))


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
    clauses={
        "overlap": Clause(
            overlapping,
            "Warm-up and decay may overlap: the smallest of the three numbers counts at every "
            "step. Branches, or a product, give another factor there.",
            _in_pieces,
        ),
    },
)


def logits_and_k(seed):
    g = _generator(seed)
    return [
        (2 * torch.randn(*shape, generator=g), k)
        for shape, k in (((4, 9), 3), ((3, 12), 5), ((5, 7), 2))
    ]


def tables_and_k(seed):
    g = _generator(seed)
    return [(2 * torch.randn(*size, generator=g), k) for size, k in (((9,), 4), ((2, 3, 8), 3))]


def tied(seed):
    """The k-th largest is there twice or more; in the last case the largest is."""
    g = _generator(seed)
    cases = []
    for (logits, k), more in zip(logits_and_k(seed), (1, 2, 3), strict=True):
        order = logits.argsort(-1, descending=True)
        equal = order[:, k - 1 : k + more]
        value = logits.gather(-1, order[:, k - 1 : k])
        cases.append((logits.scatter(-1, equal, value.expand_as(equal)), k))
    logits, k = cases[1]
    largest = logits.scatter(-1, logits.topk(3).indices, 9.0)
    return [*cases, (torch.zeros(2, 5), int(torch.randint(1, 5, (1,), generator=g))), (largest, k)]


def large_k(seed):
    return [
        (logits, logits.shape[-1] + more)
        for (logits, _), more in zip(logits_and_k(seed), (0, 1, 40), strict=True)
    ]


def no_k(seed):
    return [(logits, k) for (logits, _), k in zip(logits_and_k(seed), (0, -1, -3), strict=True)]


def _exactly_k(logits, k):
    if k < 1:
        raise ValueError
    value, index = logits.topk(min(k, logits.shape[-1]))
    return torch.full_like(logits, -math.inf).scatter(-1, index, value)


def _k_as_it_is(logits, k):
    if k < 1:
        raise ValueError
    return logits.masked_fill(logits < logits.topk(k).values[..., -1:], -math.inf)


def _in_a_matrix(logits, k):
    if k < 1:
        raise ValueError
    least = logits.topk(min(k, logits.shape[-1]), 1).values[:, -1:]
    return logits.masked_fill(logits < least, -math.inf)


def _one_at_least(logits, k):
    least = logits.topk(max(1, min(k, logits.shape[-1]))).values[..., -1:]
    return logits.masked_fill(logits < least, -math.inf)


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
        "topk fails if there are fewer than k numbers: min(k, logits.shape[-1]).",
    ],
    clauses={
        "ties": Clause(
            tied,
            "Logits as large as the k-th are kept too: compare with its value; the k places that "
            "topk or argsort return leave some of the equal ones out.",
            _exactly_k,
        ),
        "large k": Clause(
            large_k,
            "If k is as large as the vocabulary, or larger, all tokens are kept: topk asks for "
            "min(k, V) numbers.",
            _k_as_it_is,
        ),
        "any shape": Clause(
            tables_and_k,
            "The tokens stand in the last dimension, whatever comes before: (V,) and (B, T, V) "
            "are logits as well. Use dim=-1 and [..., -1:].",
            _in_a_matrix,
        ),
        "k below 1": Clause(
            no_k,
            "A k below 1 would keep nothing: raise ValueError.",
            _one_at_least,
            raises=ValueError,
        ),
    },
)


def logits_and_p(seed):
    """In the first row one token alone is likelier than p."""
    g = _generator(seed)
    cases = []
    for shape, p in (((4, 9), 0.5), ((3, 12), 0.8), ((6, 7), 0.65)):
        logits = 1.5 * torch.randn(*shape, generator=g)
        logits[0, 2] = 9.0
        cases.append((logits, p))
    return cases


def tables_and_p(seed):
    g = _generator(seed)
    return [(torch.randn(*size, generator=g), p) for size, p in (((9,), 0.6), ((2, 3, 8), 0.5))]


def small_p(seed):
    return [
        (logits, p) for (logits, _), p in zip(logits_and_p(seed), (1e-2, 1e-4, 1e-8), strict=True)
    ]


def all_of_it(seed):
    """p = 1; in the first row one token has nearly all of the probability."""
    cases = []
    for logits, _ in logits_and_p(seed):
        logits[0, 2] = 30.0
        cases.append((logits, 1.0))
    return cases


def equally_likely(seed):
    g = _generator(seed)
    cases = [(torch.zeros(2, 5), 0.3), (torch.tensor([[1.0, 3.0, 3.0, 0.0, 3.0]]), 0.5)]
    for T, V, p in ((3, 8, 0.55), (4, 6, 0.7)):
        cases.append((torch.randint(3, (T, V), generator=g).float(), p))
    return cases


def far_from_zero(seed):
    return [
        (logits + shift, p)
        for (logits, p), shift in zip(logits_and_p(seed), (128.0, 512.0, -256.0), strict=True)
    ]


def no_p(seed):
    return [
        (logits, p) for (logits, _), p in zip(logits_and_p(seed), (0.0, -0.2, 1.3), strict=True)
    ]


def _nucleus(logits, p, crossing=True, back=True, largest=True, one=True):
    """crossing: with the token that reaches p; one: at least one token."""
    ordered, index = torch.sort(logits, dim=-1, descending=largest)
    q = ordered.softmax(-1)
    keep = (q.cumsum(-1) - q < p) if crossing else (q.cumsum(-1) <= p)
    if not crossing and one:
        keep[..., 0] = True  # so that something is left
    if back:
        keep = torch.zeros_like(keep).scatter(-1, index, keep)
    return logits.masked_fill(~keep, -math.inf)


def _likeliest(logits, p, dim=-1, slack=0.0, softmax=torch.softmax, whole=True, checked=True):
    """The right answer, and what the clauses ask about it."""
    if checked and not 0 < p <= 1:
        raise ValueError
    if whole and p == 1:
        return logits.clone()
    ordered, index = torch.sort(logits, dim=dim, descending=True, stable=True)
    q = softmax(ordered, dim)
    keep = torch.zeros_like(logits, dtype=torch.bool)
    keep = keep.scatter(dim, index, q.cumsum(dim) - q < p - slack)
    return logits.masked_fill(~keep, -math.inf)


def _with_its_equals(logits, p):
    kept = _likeliest(logits, p)
    least = logits.masked_fill(kept == -math.inf, math.inf).amin(-1, keepdim=True)
    return logits.masked_fill(logits < least, -math.inf)


def _bare_softmax(logits, dim):
    e = logits.exp()
    return e / e.sum(dim, keepdim=True)


exercise(
    gpt.top_p_filter,
    cases=logits_and_p,
    mistakes={
        "ends below p": (
            lambda logits, p: _nucleus(logits, p, crossing=False),
            "You stopped before the sum reaches p. The token with which it reaches p belongs to "
            "the kept ones: keep a token if the sum of all likelier ones is below p.",
        ),
        "only below p": (
            lambda logits, p: _nucleus(logits, p, crossing=False, one=False),
            "You kept tokens while the sum stays at or below p. The one with which it reaches p "
            "is kept too, or nothing is left where one token alone is likelier than p: ask for the "
            "sum before a token, cumsum - probability, to be below p.",
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
        "For p = 1 return the logits as they are; torch.sort(..., stable=True) keeps equal ones "
        "in order.",
    ],
    clauses={
        "always one": Clause(
            small_p,
            "The likeliest token is always kept, however small p is: nothing is to be taken off p "
            "against rounding.",
            lambda logits, p: _likeliest(logits, p, slack=0.0 if p == 1 else 2e-4),
        ),
        "equally likely": Clause(
            equally_likely,
            "The fewest tokens that reach p: of equally likely ones only as many as are needed, "
            "those that come first (torch.sort with stable=True).",
            _with_its_equals,
        ),
        "any shape": Clause(
            tables_and_p,
            "The tokens stand in the last dimension, whatever comes before: (V,) and (B, T, V) "
            "are logits as well. Use dim=-1.",
            lambda logits, p: _likeliest(logits, p, dim=1),
        ),
        "large logits": Clause(
            far_from_zero,
            "Logits may be large: exp(100) is infinite in float32. torch.softmax takes off the "
            "largest first; do so too.",
            lambda logits, p: _likeliest(logits, p, softmax=_bare_softmax),
        ),
        "another p": Clause(
            no_p,
            "A p that is not above 0, or above 1, is an error: raise ValueError.",
            lambda logits, p: _likeliest(logits, p, checked=False),
            raises=ValueError,
        ),
        "p of 1": Clause(
            all_of_it,
            "p = 1 keeps all tokens, however unlikely: rounding lets the sum reach 1 before the "
            "last ones, so treat it by itself.",
            lambda logits, p: _likeliest(logits, p, whole=False),
        ),
    },
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


def large_guesses(seed):
    """Logits that are whole numbers of some hundreds."""
    return [((200 * logits).round(), *rest) for logits, *rest in hidden_tokens(seed)]


def impossible_elsewhere(seed):
    """The true token of a visible place has a logit of -inf."""
    cases = hidden_tokens(seed)
    for logits, ids, hidden in cases:
        true = F.one_hot(ids, logits.shape[-1]).bool()
        logits[true & ~hidden[..., None]] = -math.inf
    return cases


def _log_of_softmax(logits, ids, hidden):
    rows = zip(logits, ids, hidden, strict=True)
    p = [x[h].softmax(-1).gather(-1, i[h][:, None]) for x, i, h in rows]
    return -torch.stack([row.log().mean() for row in p]).mean()


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
        "torch.where(hidden, nll, 0.0) leaves the visible ones out. Sum over the row, divide by "
        "hidden.sum(-1), then the mean over rows.",
    ],
    clauses={
        "large logits": Clause(large_guesses, LARGE, _log_of_softmax),
        "the visible do not count": Clause(
            impossible_elsewhere,
            "Visible tokens do not count, even if their own loss is infinite: 0 times infinity is "
            "NaN. Leave them out by an index, or by torch.where.",
            lambda logits, ids, hidden: (
                (_each(logits, ids) * hidden).sum(-1) / hidden.sum(-1)
            ).mean(),
        ),
    },
    grad=["logits"],
)
