"""Exercises of notebook 12_prompting: a prompt, its worth, the head for it, least squares."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import prompting, regression

NOTEBOOK = "12_prompting"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- few_shot_prompt -----------------------------------------------------------------------------


def _prompts(*sizes):
    """Descriptions, keys, labels and queries of B prompts of k pairs, all tokens different."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for B, k in sizes:
            ids = torch.randperm(500, generator=g)[: B * (2 * k + 2)].view(B, -1)
            cases.append((ids[:, 0], ids[:, 1 : k + 1], ids[:, k + 1 : 2 * k + 1], ids[:, -1]))
        return cases

    return of


def _rows(task, *columns):
    return torch.cat([task[:, None], *columns], 1)


def _pairs(keys, labels):
    return torch.stack([keys, labels], 2).flatten(1)


exercise(
    prompting.few_shot_prompt,
    cases=_prompts((3, 2), (5, 4), (4, 1)),
    mistakes={
        "all keys, then all labels": (
            lambda task, keys, labels, query: _rows(task, keys, labels, query[:, None]),
            "First come all your keys, then all labels. Each label stands right after its own key: "
            "stack the two in a new dimension, then flatten it.",
        ),
        "labels before their keys": (
            lambda task, keys, labels, query: _rows(task, _pairs(labels, keys), query[:, None]),
            "Your labels stand before their keys. The model is to learn what follows a key.",
        ),
        "no description": (
            lambda task, keys, labels, query: torch.cat([_pairs(keys, labels), query[:, None]], 1),
            "The description of the task is missing: it is the first token of each prompt.",
        ),
        "no query": (
            lambda task, keys, labels, query: _rows(task, _pairs(keys, labels)),
            "Your prompt ends with the last example. The key that is asked stands at its end.",
        ),
        "query in front": (
            lambda task, keys, labels, query: _rows(task, query[:, None], _pairs(keys, labels)),
            "The query stands before the examples. A model that looks back only would not see them "
            "when it answers: the query comes last.",
        ),
        "interleaved over the batch": (
            lambda task, keys, labels, query: _rows(
                task,
                torch.stack([keys, labels], 0).flatten().view(len(keys), -1),
                query[:, None],
            ),
            "Your pairs come from several prompts. stack(…, dim=2) puts each label beside its key, "
            "(B, k, 2), and flatten(1) keeps the batch.",
        ),
    },
    clauses={
        "no example": Clause(
            _prompts((3, 0), (6, 0)),
            "With k = 0 there is no example: the prompt is the description and the query, (B, 2).",
            lambda task, keys, labels, query: (
                _rows(task, _pairs(keys, labels), query[:, None])
                if keys.shape[1]
                else query[:, None]
            ),
        ),
    },
    hints=[
        "torch.stack([keys, labels], dim=2) has the shape (B, k, 2): key, label, key, label when "
        "its last two dimensions become one.",
        "torch.cat([task[:, None], pairs, query[:, None]], dim=1)",
    ],
)


# --- label_nll -----------------------------------------------------------------------------------


def _streams(*sizes, scale=2.0):
    """Logits (B, 2 K + 1, V) and ids (B, 2 K + 1)."""

    def of(seed):
        g = _generator(seed)
        return [
            (scale * torch.randn(B, 2 * K + 1, V, generator=g),
             torch.randint(V, (B, 2 * K + 1), generator=g))
            for B, K, V in sizes
        ]  # fmt: skip

    return of


def _taken(logits, ids):
    """-log p of each next token, (B, T - 1)."""
    return -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]


exercise(
    prompting.label_nll,
    cases=_streams((3, 2, 6), (4, 3, 9), (6, 4, 5)),
    mistakes={
        "rows of the labels": (
            lambda logits, ids: (
                -logits[:, 2::2].log_softmax(-1).gather(-1, ids[:, 2::2, None])[..., 0].mean(0)
            ),
            "You read the logits at the labels' own places: they have seen the label and are about "
            "the next key. The prediction stands at the key, one place before.",
        ),
        "the keys": (
            lambda logits, ids: _taken(logits, ids)[:, 0::2].mean(0),
            "You measure how well the keys are predicted, which are random. The labels stand at "
            "the places 2, 4, 6 and so on.",
        ),
        "mean over the labels": (
            lambda logits, ids: _taken(logits, ids)[:, 1::2].mean(),
            "You averaged over the labels as well. One number for each of the K is asked: the mean "
            "over the streams alone.",
        ),
        "one number for each stream": (
            lambda logits, ids: _taken(logits, ids)[:, 1::2].mean(1),
            "You averaged over the labels of each stream. Average over the streams, dimension 0.",
        ),
        "sum over the streams": (
            lambda logits, ids: _taken(logits, ids)[:, 1::2].sum(0),
            "You added up over the streams. Take the mean, or it would grow with their number.",
        ),
        "likelihood": (
            lambda logits, ids: -_taken(logits, ids)[:, 1::2].mean(0),
            "Your sign is turned: a log-likelihood is never above 0, its negative never below.",
        ),
        "no logarithm": (
            lambda logits, ids: (-_taken(logits, ids)[:, 1::2]).exp().mean(0),
            "You averaged probabilities. Take minus the logarithm of each, then the mean.",
        ),
    },
    clauses={
        "large logits": Clause(
            lambda seed: [((200 * a).round(), b) for a, b in _streams((3, 2, 6), (4, 3, 9))(seed)],
            "Logits may be large: the logarithm of a softmax that has come out as 0 is infinite. "
            "log_softmax avoids it.",
            lambda logits, ids: (
                -logits[:, 1:-1:2].softmax(-1).gather(-1, ids[:, 2::2, None])[..., 0].log().mean(0)
            ),
        ),
    },
    hints=[
        "Row t of the logits has seen the tokens 0 … t and is about token t + 1. Which rows are "
        "about the labels, at the places 2, 4, …?",
        "logits[:, 1:-1:2] are the rows at the keys, (B, K, V), and ids[:, 2::2] the labels.",
        "log_softmax(-1).gather(-1, labels[..., None]) picks one number each; then minus the mean "
        "over dimension 0.",
    ],
    grad=["logits"],
)


# --- copying_share -------------------------------------------------------------------------------


def _looks(*sizes, letters=4):
    """Streams of few letters, so that keys return, and causal weights of h heads."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for B, h, K in sizes:
            T = 2 * K + 1
            scores = 1.5 * torch.randn(B, h, T, T, generator=g)
            ahead = torch.ones(T, T, dtype=torch.bool).triu(1)
            ids = torch.randint(letters, (B, T), generator=g)
            cases.append((ids, scores.masked_fill(ahead, -torch.inf).softmax(-1)))
        return cases

    return of


def _no_key_twice(seed):
    """Streams in which each key is new, and every label is one of the keys."""
    g = _generator(seed)
    cases = []
    for (ids, weights), K in zip(_looks((3, 2, 3), (4, 3, 5))(seed), (3, 5), strict=True):
        ids = ids.clone()
        ids[:, 1::2] = torch.rand(len(ids), K, generator=g).argsort(1)
        cases.append((ids, weights))
    return cases


def _same_key(ids):
    keys = ids[:, 1::2]
    return (keys[:, :, None] == keys[:, None, :]).tril(-1)  # (B, K, K)


def _share(ids, weights, looks=None, counted=None):
    same = _same_key(ids)
    looks = weights[:, :, 1::2, 2::2] if looks is None else looks
    counted = same.any(-1) if counted is None else counted
    share = (looks * same[:, None]).sum(-1)
    return share.sum((0, 2)) / counted.sum().clamp(min=1)


def _labels_like_the_key(ids, weights):
    same = (ids[:, 1::2, None] == ids[:, None, 2::2]).tril(-1)
    share = (weights[:, :, 1::2, 2::2] * same[:, None]).sum((0, 2, 3))
    return share / same.any(-1).sum().clamp(min=1)


def _latest_only(ids, weights):
    same = _same_key(ids)
    order = torch.arange(same.shape[-1]) * same
    latest = same & (order == order.amax(-1, keepdim=True))
    share = (weights[:, :, 1::2, 2::2] * latest[:, None]).sum(-1)
    return share.sum((0, 2)) / same.any(-1).sum().clamp(min=1)


exercise(
    prompting.copying_share,
    cases=_looks((3, 2, 4), (4, 3, 5), (5, 2, 6)),
    mistakes={
        "the key instead of its label": (
            lambda ids, weights: _share(ids, weights, weights[:, :, 1::2, 1::2]),
            "You add up what is looked at on the earlier key itself. The answer stands right after "
            "it: on the label, one place further on.",
        ),
        "mean over all keys": (
            lambda ids, weights: _share(ids, weights, counted=torch.ones_like(ids[:, 1::2])),
            "You divide by all keys. A key that is new has nothing to copy: count those alone that "
            "stood in the stream before. (No key is its own earlier occurrence: tril(-1).)",
        ),
        "the latest alone": (
            _latest_only,
            "You look at the latest occurrence alone. If a key stood there several times, its "
            "labels are added up.",
        ),
        "labels like the key": (
            _labels_like_the_key,
            "You look for labels that are the same letter as the key. Look for the same letter "
            "among the earlier keys; the label after it may be any.",
        ),
        "who is looked at by whom": (
            lambda ids, weights: _share(ids, weights, weights.mT[:, :, 1::2, 2::2]),
            "You read the table the wrong way round: row t is what place t looks at, so the keys "
            "choose the rows and the labels the columns.",
        ),
        "from the labels": (
            lambda ids, weights: _share(ids, weights, weights[:, :, 2::2, 2::2]),
            "You look from the labels. The answer is needed at the key, before its label is there: "
            "rows 1, 3, 5 and so on.",
        ),
        "mean over the heads": (
            lambda ids, weights: _share(ids, weights).mean(0, keepdim=True),
            "You averaged over the heads. One number for each head is asked.",
        ),
        "per occurrence": (
            lambda ids, weights: _share(ids, weights, counted=_same_key(ids)),
            "You divide by the number of pairs of equal keys. Add up over the earlier occurrences, "
            "and divide by the number of keys that have one.",
        ),
    },
    clauses={
        "no key twice": Clause(
            _no_key_twice,
            "Where no key comes twice there is nothing to copy: 0 for each head, not 0 / 0.",
            lambda ids, weights: (
                (weights[:, :, 1::2, 2::2] * _same_key(ids)[:, None]).sum((0, 2, 3))
                / _same_key(ids).any(-1).sum()
            ),
        ),
    },
    hints=[
        "keys = ids[:, 1::2]. Which earlier keys are the same? A (B, K, K) table of True and False "
        "below its diagonal: tril(-1).",
        "weights[:, :, 1::2, 2::2] is what keys look at on labels; column j is the label after key "
        "j.",
        "Multiply the two, sum over the last dimension, then over batch and keys, and divide by "
        "the number of keys with at least one True.",
    ],
    grad=["weights"],
)


# --- cut_head ------------------------------------------------------------------------------------


def _matrices(*sizes):
    def of(seed):
        g = _generator(seed)
        return [(torch.randn(m, d, generator=g), head, heads) for m, d, head, heads in sizes]

    return of


def _blank(out, rows=slice(None), columns=slice(None)):
    copy = out.clone()
    copy[rows, columns] = 0
    return copy


def _part(out, head, heads, side=1):
    size = out.shape[side] // heads
    return slice(head * size, (head + 1) * size)


exercise(
    prompting.cut_head,
    cases=_matrices((5, 6, 1, 3), (8, 12, 2, 4), (6, 8, 1, 2), (10, 9, 0, 3)),
    mistakes={
        "rows": (
            lambda out, head, heads: _blank(out, rows=_part(out, head, heads)),
            "You blanked rows. A row makes one number of the sum from all heads; what head i adds "
            "comes through its columns.",
        ),
        "every so manyth column": (
            lambda out, head, heads: _blank(out, columns=slice(head, None, heads)),
            "You took every so manyth column. The results of the heads stand one after the other: "
            "head i has the columns from i · d / heads on.",
        ),
        "one column": (
            lambda out, head, heads: _blank(out, columns=head),
            "You blanked one column. A head has d / heads numbers, so as many columns.",
        ),
        "all others": (
            lambda out, head, heads: out - _blank(out, columns=_part(out, head, heads)),
            "You kept the head and cut out all the others.",
        ),
        "counted from 1": (
            lambda out, head, heads: _blank(out, columns=_part(out, head - 1, heads)),
            "You cut another head: they are counted from 0.",
        ),
        "from there on": (
            lambda out, head, heads: _blank(
                out, columns=slice(head * (out.shape[1] // heads), None)
            ),
            "You also cut out the heads after it: the columns end at (head + 1) · d / heads.",
        ),
    },
    clauses={
        "a single head": Clause(
            _matrices((3, 4, 0, 1), (5, 6, 0, 1)),
            "With one head all columns are its own: nothing is left, a matrix of zeros.",
            lambda out, head, heads: (
                _blank(out, columns=_part(out, head, heads)) if heads > 1 else out.clone()
            ),
        ),
    },
    hints=[
        "out @ [z_0; z_1; …] = out[:, :s] @ z_0 + out[:, s : 2 s] @ z_1 + …, with s = d / heads.",
        "A mask of ones with zeros in the columns head · s to (head + 1) · s; return out · mask.",
    ],
    grad=["out"],
)


# --- least_squares: find the fault ---------------------------------------------------------------


def _with_itself(x, y):
    predictions = [torch.zeros_like(y[:, 0])]
    for k in range(1, y.shape[1]):
        w = torch.linalg.pinv(x[:, : k + 1]) @ y[:, : k + 1, None]  # (B, d, 1)
        predictions.append((x[:, k] * w[..., 0]).sum(-1))
    return torch.stack(predictions, dim=1)


def _points(*sizes, repeated=False):
    """Points (B, K, d) and noisy values (B, K), in double precision."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for B, K, d in sizes:
            x, w, noise = (
                torch.randn(*shape, generator=g, dtype=torch.float64)
                for shape in ((B, K, d), (B, d, 1), (B, K))
            )
            if repeated:  # each point stands there twice
                x = x[:, : (K + 1) // 2].repeat_interleave(2, 1)[:, :K]
            cases.append((x, (x @ w)[..., 0] + 0.5 * noise))
        return cases

    return of


def _fitted(x, y, weights):
    """Predictions with weights(x (B, k, d), y (B, k)) -> (B, d) for k = 1 … K - 1; the first 0."""
    found = [torch.zeros_like(y[:, 0])]
    for k in range(1, y.shape[1]):
        found.append((x[:, k] * weights(x[:, :k], y[:, :k])).sum(-1))
    return torch.stack(found, 1)


def _shortest(x, y):
    return (torch.linalg.pinv(x) @ y[..., None])[..., 0]


def _by_inverse(x, y):
    """Right where the points are in general position."""
    k, d = x.shape[1:]
    inverse = lambda a: torch.linalg.inv_ex(a).inverse  # noqa: E731
    if k < d:
        return (x.mT @ inverse(x @ x.mT) @ y[..., None])[..., 0]
    return (inverse(x.mT @ x) @ x.mT @ y[..., None])[..., 0]


def _ridge(x, y):
    eye = torch.eye(x.shape[-1], dtype=x.dtype)
    return torch.linalg.solve(x.mT @ x + eye, x.mT @ y[..., None])[..., 0]


exercise(
    regression.least_squares,
    cases=_points((3, 7, 2), (4, 8, 3), (5, 9, 4)),
    planted=_with_itself,
    symptom="The pair that is to be predicted is among those that the weights are fitted to. Up to "
    "k = d its y is hit exactly, and after that the error is smaller than it can be.",
    mistakes={
        "one pair too few": (
            lambda x, y: torch.cat(
                [
                    torch.zeros_like(y[:, :1]),
                    _fitted(x[:, 1:], y[:, 1:], _shortest),
                ],
                1,
            ),
            "Now the first pair is never used. The prediction of y_k has the pairs 1 … k - 1.",
        ),
        "one fit for all": (
            lambda x, y: (x @ (torch.linalg.pinv(x) @ y[..., None]))[..., 0],
            "You fit once, to all pairs. Each prediction may use the pairs before it alone.",
        ),
        "the mean of y": (
            lambda x, y: torch.stack(
                [torch.zeros_like(y[:, 0]), *(y[:, :k].mean(1) for k in range(1, y.shape[1]))], 1
            ),
            "You predict the mean of the y before. They depend on their x: w·x is asked.",
        ),
        "ridge": (
            lambda x, y: _fitted(x, y, _ridge),
            "You shorten w beyond what fits. Least squares has no penalty; only among equally good "
            "w the shortest is taken.",
        ),
        "the value before": (
            lambda x, y: torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1),
            "You predict the y before. Fit w to the pairs before, then take w·x_k.",
        ),
    },
    clauses={
        "points in a plane": Clause(
            _points((3, 7, 4), (4, 9, 5), repeated=True),
            "Where points repeat or lie in a plane, x xᵀ and xᵀ x have no inverse: pinv still "
            "finds the shortest w.",
            lambda x, y: _fitted(x, y, _by_inverse),
        ),
        "one pair": Clause(
            _points((3, 1, 2), (4, 1, 3)),
            "With K = 1 there is one prediction, from no pair: 0, of the shape (B, 1).",
            lambda x, y: y if y.shape[1] == 1 else _fitted(x, y, _shortest),
        ),
    },
    hints=[
        "Take one prompt of two pairs in three dimensions, with y that have nothing to do with x. "
        "What error do you expect for y_2, and what do you get?",
        "Change the last y of a prompt. Which predictions may change?",
        "The prediction of y_k, at the place k counted from 0, has seen x[:, :k] and y[:, :k].",
    ],
    grad=["y"],
)


PREDICTIONS = (
    Prediction(
        "steps-or-not",
        "A small GPT learns from 1,000 examples to apply eight operations modulo 10, one after the "
        "other (+7, *3, …). One model is shown the questions with their answers, the other one the "
        "value after each operation too. Chance is 10 %. Who is right how often on new questions?",
        "c",
        "Plain, 9.9 ± 0.9 % are right: to learn from the answer alone, all eight operations must "
        "be right before any pays. With the values 99.9 ± 0.2 % are right, for each operation is "
        "an example of its own, and a written value can be read. Dots, which take as much room and "
        "say nothing, leave it at 10.7 ± 0.5 % (section 12.9).",
        choices=(
            "both above 90 %: eight steps are few for a transformer",
            "about 50 % without the values, above 90 % with them",
            "near chance without the values, above 90 % with them",
            "near chance both: 1,000 examples are too few",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "fewest-worked-examples",
        question="How few worked examples are enough? Train the model of section 12.9 in the form "
        '"steps" on 1,000, 500, 250, 125 and 60 examples, with the same number of steps, three '
        "seeds each, and measure the share of right answers on the same new questions.",
        hand_in="the smallest number of worked examples with at least 90 % right",
        good=(
            "A table or figure of accuracy against the number of examples, mean and spread of the "
            "seeds.",
            "The share of single steps that are right beside it: p per step gives about p^8.",
            "A reason: the examples contain 8 steps each, and there are 120 pairs of a digit and "
            "an operation.",
            "One change that needs fewer, such as another form, a smaller model or weight decay, "
            "chosen on other questions than those that judge it.",
        ),
        minutes=45,
        kind="number",
        unit="examples",
        between=(20, 1000),
        beyond="Are the questions that judge it new, and are the steps of training as many for "
        "each size?",
    ),
)
