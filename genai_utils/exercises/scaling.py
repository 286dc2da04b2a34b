"""Exercises of notebook 13_scaling: weights, the law and its optimum, two scores, a norm."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import modern, scaling, scaling_law

NOTEBOOK = "13_scaling"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- gpt_parameters ------------------------------------------------------------------------------


def sizes(seed):
    g = _generator(seed)
    return [
        tuple(torch.randint(*between, (n,), generator=g)
              for between in ((2, 9), (16, 99), (300, 900), (40, 99)))
        for n in (3, 4, 5)
    ]  # fmt: skip


def one_model(seed):
    """Plain numbers."""
    return [tuple(int(v[0]) for v in size) for size in sizes(seed)]


def untied(seed):
    return [(*size, False) for size in sizes(seed)]


def _count(layers, dim, vocabulary, context, tied=True, block=None, norm=2, tables=1):
    block = 12 * dim**2 + 13 * dim if block is None else block
    tables += not tied
    return layers * block + norm * dim + context * dim + tables * vocabulary * dim


def _with(**change):
    return lambda layers, dim, vocabulary, context, tied=True: _count(
        layers, dim, vocabulary, context, tied,
        **{name: value(dim) if callable(value) else value for name, value in change.items()},
    )  # fmt: skip


exercise(
    scaling.gpt_parameters,
    cases=sizes,
    rtol=1e-9,
    mistakes={
        "matrices only": (
            _with(block=lambda d: 12 * d**2, norm=0),
            "You counted the matrices alone. Biases and norms have weights too: 13 d in each "
            "block, 2 d in the last norm.",
        ),
        "no biases": (
            _with(block=lambda d: 12 * d**2 + 4 * d),
            "The biases are missing: 3 d + d in the attention, 4 d + d in the MLP.",
        ),
        "no norms": (
            _with(block=lambda d: 12 * d**2 + 9 * d, norm=0),
            "The norms are missing: each has a gain and a bias of d numbers, two in each block "
            "and one at the end.",
        ),
        "the last norm": (
            _with(norm=0),
            "The norm after the last block is missing: 2 d.",
        ),
        "no positions": (
            lambda layers, dim, vocabulary, context, tied=True: _count(
                layers, dim, vocabulary, 0, tied
            ),
            "The table of positions is missing: T d.",
        ),
        "MLP as wide as the rest": (
            _with(block=lambda d: 6 * d**2 + 10 * d),
            "Your MLP has d hidden numbers. GPT-2's has 4 d: two matrices of 4 d² each.",
        ),
        "the head counted": (
            _with(tables=2),
            "You counted a table for the head. In GPT-2 the table of tokens is the head too: "
            "once, unless tied is False.",
        ),
        "one norm in a block": (
            _with(block=lambda d: 12 * d**2 + 11 * d),
            "Each block has two norms, one before the attention and one before the MLP: 4 d.",
        ),
        "biases of one block": (
            lambda layers, dim, vocabulary, context, tied=True: (
                _count(layers, dim, vocabulary, context, tied) - (layers - 1) * 13 * dim
            ),
            "You counted the biases and norms of one block only. Each of the L blocks has 13 d.",
        ),
    },
    hints=[
        "One block: queries, keys, values and the output are 4 d², the MLP is 2 · 4 d². Then the "
        "biases of these, and two norms of 2 d.",
        "layers * (12 * dim**2 + 13 * dim) is all blocks. Then come 2 d, V d and T d.",
    ],
    clauses={
        "not tied": Clause(
            untied,
            "With tied=False the head has a table of its own: V d more.",
            lambda layers, dim, vocabulary, context, tied=True: _count(
                layers, dim, vocabulary, context
            ),
        ),
        "one model": Clause(
            one_model,
            "Sizes may be plain whole numbers, and then the count is one.",
            lambda layers, dim, vocabulary, context, tied=True: (
                _count(layers, dim, vocabulary, context, tied)
                if torch.is_tensor(dim)
                else [_count(layers, dim, vocabulary, context, tied)]
            ),
        ),
    },
)

# --- law_error -----------------------------------------------------------------------------------


def runs(seed):
    """Parameters near a law, and runs of it with errors around δ, below and above."""
    g, cases = _generator(seed), []
    for n in (7, 9, 12):
        p = torch.tensor([3.0, 4.1, 0.2, 0.35, 0.37], dtype=torch.float64)
        N = (8 + 4 * torch.rand(n, generator=g, dtype=torch.float64)).exp()
        D = (12 + 4 * torch.rand(n, generator=g, dtype=torch.float64)).exp()
        loss = p[2].exp() + (p[0] - p[3] * N.log()).exp() + (p[1] - p[4] * D.log()).exp()
        error = torch.randn(n, generator=g, dtype=torch.float64) * 0.01
        cases.append((p, N, D, loss * error.exp(), 0.007))
    return cases


def far_off(seed):
    """Parameters whose terms are infinite in floats of 32 bits, as a search meets them."""
    return [
        (
            (p + torch.tensor([120.0, 110.0, 0.0, 0.0, 0.0])).float(),
            N.float(),
            D.float(),
            loss.float(),
            delta,
        )
        for p, N, D, loss, delta in runs(seed)
    ]


def as_usual(seed):
    """δ left out."""
    return [case[:4] for case in runs(seed)]


def _residual(p, N, D, loss):
    a, b, e, alpha, beta = p
    terms = torch.stack([e.expand(len(N)), a - alpha * N.log(), b - beta * D.log()])
    return terms.logsumexp(0) - loss.log()


def _huber(r, delta):
    r = r.abs()
    return torch.where(r <= delta, r.square() / 2, delta * (r - delta / 2))


def _in_order(*places):
    """The error with the five numbers read in another order."""
    return lambda p, N, D, loss, delta=1e-3: _huber(
        _residual(p[list(places)], N, D, loss), delta
    ).sum()


def _bare(p, N, D, loss):
    a, b, e, alpha, beta = p
    return e.exp() + a.exp() / N**alpha + b.exp() / D**beta


exercise(
    scaling_law.law_error,
    cases=runs,
    mistakes={
        "mean": (
            lambda p, N, D, loss, delta=1e-3: _huber(_residual(p, N, D, loss), delta).mean(),
            "You took the mean over the runs: the sum is asked. With a mean the numbers are so "
            "small that a search may stop too early.",
        ),
        "squares": (
            lambda p, N, D, loss, delta=1e-3: (_residual(p, N, D, loss).square() / 2).sum(),
            "You squared all errors. Those larger than δ count by their size only, or one bad run "
            "would pull the whole law.",
        ),
        "sizes": (
            lambda p, N, D, loss, delta=1e-3: (
                delta * (_residual(p, N, D, loss).abs() - delta / 2)
            ).sum(),
            "You counted all errors by their size. Those up to δ are squared: r²/2.",
        ),
        "errors of the loss": (
            lambda p, N, D, loss, delta=1e-3: _huber(_bare(p, N, D, loss) - loss, delta).sum(),
            "You compared the losses. Compare their logarithms: an error of one per cent then "
            "weighs the same at every loss.",
        ),
        "E as it is": (
            lambda p, N, D, loss, delta=1e-3: _huber(
                (_bare(p, N, D, loss) - p[2].exp() + p[2]).log() - loss.log(), delta
            ).sum(),
            "You used e as E. The law's E is exp(e), as A is exp(a).",
        ),
        "without E": (
            lambda p, N, D, loss, delta=1e-3: _huber(
                (_bare(p, N, D, loss) - p[2].exp()).log() - loss.log(), delta
            ).sum(),
            "E is missing: the loss that remains for any size and any text.",
        ),
        "exponents exchanged": (
            _in_order(0, 1, 2, 4, 3),
            "You exchanged α and β: α belongs to the size N, β to the tokens D.",
        ),
        "signs": (
            lambda p, N, D, loss, delta=1e-3: (
                lambda r: torch.where(r <= delta, r.square() / 2, delta * (r - delta / 2))
            )(_residual(p, N, D, loss)).sum(),
            "You compare the error with its sign: a negative one is never above δ, however large "
            "it is. Huber's loss looks at |r|.",
        ),
        "squares not halved": (
            lambda p, N, D, loss, delta=1e-3: (
                lambda r: torch.where(r <= delta, r.square(), delta * (r - delta / 2))
            )(_residual(p, N, D, loss).abs()).sum(),
            "Where |r| ≤ δ it is half of the square. As you have it, the loss jumps at δ.",
        ),
        "pieces that do not meet": (
            lambda p, N, D, loss, delta=1e-3: (
                lambda r: torch.where(r <= delta, r.square() / 2, delta * (r - delta))
            )(_residual(p, N, D, loss).abs()).sum(),
            "Your two pieces do not meet at |r| = δ: the square is δ²/2 there, and yours is 0. "
            "Only δ/2 is taken off.",
        ),
        "divided by δ": (
            lambda p, N, D, loss, delta=1e-3: (
                _huber(_residual(p, N, D, loss), delta) / delta
            ).sum(),
            "Yours is divided by δ, as F.smooth_l1_loss is. Huber's loss is not.",
        ),
        "e first": (
            _in_order(1, 2, 0, 3, 4),
            "You read the five numbers in another order. They come as a, b, e, α, β.",
        ),
    },
    hints=[
        "The logarithm of a sum of exponentials of three terms: e, a - α log N, b - β log D. "
        "torch.logsumexp adds them without leaving logarithms.",
        "e is one number and the other terms have n: e.expand(len(N)), then torch.stack.",
        "torch.where(r <= delta, r.square() / 2, delta * (r - delta / 2)).sum(), r the size of "
        "the error. F.huber_loss(…, delta=delta, reduction='sum') is the same.",
    ],
    clauses={
        "large a and b": Clause(
            far_off,
            "a and b may be large: exp(120) is infinite in 32 bits. Stay with logarithms: "
            "logsumexp.",
            lambda p, N, D, loss, delta=1e-3: _huber(
                _bare(p, N, D, loss).log() - loss.log(), delta
            ).sum(),
        ),
        "δ of 0.001": Clause(
            as_usual,
            "Without a δ it is 0.001: delta=1e-3.",
            lambda p, N, D, loss, delta=1e-2: _huber(_residual(p, N, D, loss), delta).sum(),
        ),
    },
    grad=["parameters"],
)

# --- compute_optimal -----------------------------------------------------------------------------


def budgets(seed):
    g, cases = _generator(seed), []
    for n in (3, 4, 5):
        C = 10 ** (9 + 6 * torch.rand(n, generator=g, dtype=torch.float64))
        A, B = (50 + 900 * torch.rand(2, generator=g, dtype=torch.float64)).tolist()
        alpha, beta = (0.25 + 0.3 * torch.rand(2, generator=g, dtype=torch.float64)).tolist()
        cases.append((C, A, B, alpha, beta))
    return cases


def single(seed):
    return [(float(C[0]), *rest) for C, *rest in budgets(seed)]


def _best(C, A, B, alpha, beta, work=6.0, power=None, G=None):
    C = C / work
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) if G is None else G
    N = G * C ** (beta / (alpha + beta) if power is None else power)
    return N, C / N


exercise(
    scaling_law.compute_optimal,
    cases=budgets,
    mistakes={
        "without the 6": (
            lambda C, A, B, alpha, beta: _best(C, A, B, alpha, beta, work=1.0),
            "Your N D is C. A training takes six operations for each weight and token: N D = C/6.",
        ),
        "exponents exchanged": (
            lambda C, A, B, alpha, beta: _best(C, A, B, alpha, beta, power=alpha / (alpha + beta)),
            "Your size grows as C^(α/(α+β)): that is how the tokens grow. The size has β on top.",
        ),
        "half and half": (
            lambda C, A, B, alpha, beta: _best(C, A, B, alpha, beta, power=0.5),
            "You let the size grow as √C. That holds for α = β only.",
        ),
        "G without α and β": (
            lambda C, A, B, alpha, beta: _best(
                C, A, B, alpha, beta, G=(A / B) ** (1 / (alpha + beta))
            ),
            "Your N makes the two terms equally large. At the lowest place their slopes are equal: "
            "G holds α A / (β B).",
        ),
        "G upside down": (
            lambda C, A, B, alpha, beta: _best(
                C, A, B, alpha, beta, G=(beta * B / (alpha * A)) ** (1 / (alpha + beta))
            ),
            "Your G is upside down. The worse small models are (A large), the larger N is.",
        ),
        "no root": (
            lambda C, A, B, alpha, beta: _best(C, A, B, alpha, beta, G=alpha * A / (beta * B)),
            "The root is missing in G: to the power 1/(α + β).",
        ),
        "D first": (
            lambda C, A, B, alpha, beta: _best(C, A, B, alpha, beta)[::-1],
            "You returned D and N: the size comes first.",
        ),
        "G in both": (
            lambda C, A, B, alpha, beta: (
                _best(C, A, B, alpha, beta)[0],
                _best(C, A, B, alpha, beta, power=alpha / (alpha + beta))[0],
            ),
            "Your D has G as a factor, too, so that 6 N D is no longer C. D is what N leaves: "
            "(C/6) / N.",
        ),
    },
    hints=[
        "Put D = C/(6 N) into A/N^α + B/D^β and set the derivative by N to zero.",
        "N^(α+β) = (α A / (β B)) · (C/6)^β. Then D = (C/6)/N.",
    ],
    clauses={
        "one number": Clause(
            single,
            "C may be a plain number: then N and D are numbers too.",
            lambda C, A, B, alpha, beta: (
                _best(C, A, B, alpha, beta) if torch.is_tensor(C) else (C / 6, 6.0)
            ),
        ),
    },
)

# --- answer_scores -------------------------------------------------------------------------------


def answers(seed):
    """Answers of one length, of which some are right throughout."""
    g, cases = _generator(seed), []
    for n, T, V in ((6, 4, 9), (9, 3, 7), (8, 5, 11)):
        truth = torch.randint(V, (n, T), generator=g)
        wrong = torch.rand(n, T, generator=g) < 0.25
        wrong[0], wrong[1] = False, torch.arange(T) == T - 1  # all right; all but the last
        wrong[2] = torch.arange(T) == 0
        cases.append((torch.where(wrong, (truth + 1) % V, truth), truth))
    return cases


def shorter(seed):
    """Answers of different lengths; after the end something is predicted."""
    cases = []
    for said, truth in answers(seed):
        n, T = truth.shape
        length = 1 + torch.arange(n) % T
        over = torch.arange(T) >= length[:, None]
        cases.append((said, truth.masked_fill(over, -100)))
    return cases


def _scores(said, truth):
    asked = truth != -100
    right = said == truth
    return (right & asked).sum() / asked.sum(), (right | ~asked).all(1).float().mean()


exercise(
    scaling.answer_scores,
    cases=answers,
    mistakes={
        "any token": (
            lambda said, truth: (_scores(said, truth)[0], (said == truth).any(1).float().mean()),
            "Your second score counts answers with at least one right token: all must be right.",
        ),
        "the last token": (
            lambda said, truth: (_scores(said, truth)[0], (said == truth)[:, -1].float().mean()),
            "Your second score looks at the last token alone: all must be right.",
        ),
        "exchanged": (
            lambda said, truth: _scores(said, truth)[::-1],
            "You returned the two scores in the other order: tokens first.",
        ),
        "the power": (
            lambda said, truth: (
                _scores(said, truth)[0],
                _scores(said, truth)[0] ** truth.shape[1],
            ),
            "You computed p^L. That is what independent tokens would give; count the answers that "
            "are right.",
        ),
        "shares wrong": (
            lambda said, truth: tuple(1 - s for s in _scores(said, truth)),
            "You counted what is wrong: the shares of what is right are asked.",
        ),
        "counts": (
            lambda said, truth: ((said == truth).sum(), (said == truth).all(1).sum()),
            "You returned counts: divide by the number of tokens, and by that of answers.",
        ),
        "down the columns": (
            lambda predicted, answers: (
                (predicted == answers).float().mean(),
                (predicted == answers).all(dim=0).float().mean(),
            ),
            "Your second score asks of each place whether all answers are right there. Ask of each "
            "answer whether all its places are: dim=1.",
        ),
    },
    hints=[
        "(predicted == answers) is a table of right and wrong. Where answers is -100 nothing is "
        "asked.",
        "An answer is right if each token is right or not asked: (right | ~asked).all(dim=1).",
    ],
    clauses={
        "shorter answers": Clause(
            shorter,
            "An answer ends before its first -100. What is predicted from there on counts in "
            "neither score, and the tokens of all answers are counted together.",
            lambda said, truth: (
                (said == truth).float().mean(),
                (said == truth).all(1).float().mean(),
            ),
        ),
    },
)

# --- rms_norm, planted ---------------------------------------------------------------------------


def vectors(seed):
    g, cases = _generator(seed), []
    for B, T, d in ((3, 4, 6), (5, 3, 8), (4, 6, 5)):
        size = 0.3 + 3 * torch.rand(B, T, 1, generator=g)  # tokens of unlike lengths
        cases.append((size * (torch.randn(B, T, d, generator=g) + 0.7),
                      torch.randn(d, generator=g)))  # fmt: skip
    return cases


def other_shapes(seed):
    """Single tokens in a row, and heads of attention, which have an axis more."""
    g = _generator(seed)
    return [
        (torch.randn(*shape, generator=g) + 0.7, torch.randn(shape[-1], generator=g))
        for shape in ((4, 6), (2, 3, 4, 6), (3, 2, 5, 8))
    ]


def faint(seed):
    """Vectors so short that eps counts, and zeros."""
    cases = [(2e-3 * x, gain) for x, gain in vectors(seed)]
    for x, _ in cases:
        x[0, 1] = 0.0
    return [(*case, eps) for case, eps in zip(cases, (1e-6, 1e-5, 1e-6), strict=True)]


def _over_all_tokens(x, gain, eps=1e-6):
    scale = x.square().mean(dim=(-2, -1), keepdim=True).add(eps).rsqrt()  # (…, 1)
    return gain * x * scale


exercise(
    modern.rms_norm,
    cases=vectors,
    planted=_over_all_tokens,
    symptom="One scale serves a whole text: edit its last token, and the vectors of all earlier "
    "ones change. A GPT with it sees a little of what comes next.",
    mistakes={
        "over the tokens": (
            lambda x, gain, eps=1e-6: gain * x * x.square().mean(-2, keepdim=True).add(eps).rsqrt(),
            "You average over the tokens now, for each of the d numbers. The mean is over the d "
            "numbers of one token.",
        ),
        "sum": (
            lambda x, gain, eps=1e-6: gain * x * x.square().sum(-1, keepdim=True).add(eps).rsqrt(),
            "You divide by the length of the vector. The root of the mean square is asked, so that "
            "numbers stay near 1 whatever d is.",
        ),
        "a LayerNorm": (
            lambda x, gain, eps=1e-6: gain * F.layer_norm(x, x.shape[-1:], eps=eps),
            "You take off the mean: that is LayerNorm. RMSNorm leaves the mean where it is.",
        ),
        "mean size": (
            lambda x, gain, eps=1e-6: gain * x / (x.abs().mean(-1, keepdim=True) + eps),
            "You divide by the mean size. Square, take the mean, then the root.",
        ),
        "times the root": (
            lambda x, gain, eps=1e-6: (
                gain * x * x.square().mean(dim=-1, keepdim=True).add(eps).sqrt()
            ),
            "Now you multiply by the root of the mean square. Divide by it: rsqrt.",
        ),
        "the square root forgotten": (
            lambda x, gain, eps=1e-6: gain * x / x.square().mean(dim=-1, keepdim=True).add(eps),
            "Now you divide by the mean square. Its root is missing.",
        ),
    },
    clauses={
        "any shape": Clause(
            other_shapes,
            "x may have any number of axes, (n, d) or the heads of attention (B, h, T, d/h): the "
            "mean is over the last one.",
            lambda x, gain, eps=1e-6: (
                gain * x * x.square().mean(min(2, x.ndim - 1), keepdim=True).add(eps).rsqrt()
            ),
        ),
        "faint vectors": Clause(
            faint,
            "eps stands below the root, with the mean square: it keeps a vector of zeros from "
            "being divided by 0.",
            lambda x, gain, eps=1e-6: gain * x / (x.square().mean(-1, keepdim=True).sqrt() + eps),
        ),
    },
    hints=[
        "The test to make: change one token of x and see which rows of the result change.",
        "Each token has a scale of its own. Look at which axes the mean is taken over.",
        "dim=-1, with keepdim=True, gives (B, T, 1): a scale for each token.",
    ],
    grad=True,
)

# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "ten-times-the-compute",
        "You may spend ten times as many operations on one training. What do you do with them?",
        "b",
        "Chinchilla's refit has the exponent 0.513: for ten times the budget 3.3 times the size "
        "and 3.1 times the text (section 13.4).",
        choices=(
            "a model ten times as large, on the same text",
            "a model about three times as large, on about three times as much text",
            "the same model, on ten times as much text",
        ),
    ),
    Prediction(
        "who-counts-what",
        "Two teams fit the law to the very same runs, of models of some thousand to some hundred "
        "thousand weights. One counts the weights of the blocks alone, the other all weights, the "
        "table of tokens included. How do their exponents of the best size compare?",
        "c",
        "By the blocks alone it is 0.50, with the table 0.42 (section 13.5). The smaller the "
        "model, the larger is the share of its table, so that one count grows faster along the "
        "ladder than the other, and the exponent moves with it.",
        choices=(
            "they are equal: the runs are",
            "they differ by less than 0.01",
            "they differ by more than that",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "one-rung-higher",
        question="Does the law of section 13.5 foresee a run that it has not seen? Take three "
        "times the largest budget. Read the best size and its loss off the fitted law and write "
        "them down. Then train that model once, with `train`, and measure it on the test text.",
        hand_in="measured minus foreseen loss",
        good=(
            "The forecast is written down before the training, with its size, tokens and loss.",
            "An interval for the forecast, from the laws of the bootstrap.",
            "A learning rate from the rule, and a check of it on validation text at the new size.",
            "A sentence on whether the measured loss lies inside the interval, and what could "
            "move it: repeated text, the rate, the batch, the seed.",
        ),
        minutes=60,
        kind="number",
        unit="nats",
        between=(-0.3, 0.3),
        beyond="Are both in nats per byte, on the same test text, and is the size counted as in "
        "the fit?",
    ),
)
