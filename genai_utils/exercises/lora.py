"""Exercises of notebook 15_lora: the low-rank sum, blocks of four bits, and drafted tokens."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import lora, quantization, speculative

NOTEBOOK = "15_lora"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- low_rank_linear -----------------------------------------------------------------------------


def _layers(*sizes, bias=True):
    """Inputs, a weight, a bias, A, B and alpha; sizes: (shape before n, m, n, r)."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for before, m, n, r in sizes:
            x, W, b, A, B = (
                torch.randn(*shape, generator=g)
                for shape in ((*before, n), (m, n), (m,), (r, n), (m, r))
            )
            alpha = 3.5 + 4 * torch.rand((), generator=g).item()
            cases.append((x, W, b if bias else None, A, B, alpha))
        return cases

    return of


def _sum(x, A, B):
    return F.linear(F.linear(x, A), B)


exercise(
    lora.low_rank_linear,
    cases=_layers(((3, 4), 5, 7, 2), ((4,), 8, 6, 3), ((3, 5), 4, 9, 3)),
    mistakes={
        "the sum alone": (
            lambda x, weight, bias, A, B, alpha: alpha / len(A) * _sum(x, A, B),
            "You return what the adapter adds. The frozen layer's output, x Wᵀ + b, is missing.",
        ),
        "not scaled": (
            lambda x, weight, bias, A, B, alpha: F.linear(x, weight, bias) + _sum(x, A, B),
            "The factor α / r is missing.",
        ),
        "alpha alone": (
            lambda x, weight, bias, A, B, alpha: F.linear(x, weight, bias) + alpha * _sum(x, A, B),
            "You multiply by α. The factor is α / r, with r the rank: one α serves all ranks.",
        ),
        "one over r": (
            lambda x, weight, bias, A, B, alpha: F.linear(x, weight, bias) + _sum(x, A, B) / len(A),
            "You divide by r and leave α out.",
        ),
        "alpha over n": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight, bias) + alpha / A.shape[1] * _sum(x, A, B)
            ),
            "You divide by the number of A's columns. The rank is the number of its rows.",
        ),
        "alpha over the root of r": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight, bias) + alpha / math.sqrt(len(A)) * _sum(x, A, B)
            ),
            "You divide by √r. Some do (rank-stabilised LoRA); here the factor is α / r.",
        ),
        "all of it scaled": (
            lambda x, weight, bias, A, B, alpha: (
                alpha / len(A) * (F.linear(x, weight, bias) + _sum(x, A, B))
            ),
            "You scale the frozen layer, too. α / r belongs to the low-rank sum alone.",
        ),
        "the bias twice": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight, bias) + alpha / len(A) * F.linear(F.linear(x, A), B, bias)
            ),
            "The bias is in both sums. The adapter has none.",
        ),
        "without the bias": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight) + alpha / len(A) * _sum(x, A, B)
            ),
            "The bias b is missing.",
        ),
        "alpha over m": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight, bias) + alpha / len(B) * _sum(x, A, B)
            ),
            "You divide by the number of B's rows, which is that of the outputs. The rank is the "
            "number of A's rows.",
        ),
        "whole division": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight, bias) + alpha // len(A) * _sum(x, A, B)
            ),
            "You divide with //, which cuts off what is behind the point. The factor is α / r.",
        ),
        "a function between": (
            lambda x, weight, bias, A, B, alpha: (
                F.linear(x, weight, bias) + alpha / len(A) * F.linear(F.linear(x, A).relu(), B)
            ),
            "You put a ReLU between A and B. The sum must stay linear, so that B A can be added to "
            "W in the end.",
        ),
    },
    clauses={
        "no bias": Clause(
            _layers(((3, 4), 5, 7, 2), ((4,), 8, 6, 3), bias=False),
            "bias may be None: then nothing is added for it.",
            lambda x, weight, bias, A, B, alpha: lora.low_rank_linear(
                x, weight, torch.ones(len(weight)) if bias is None else bias, A, B, alpha
            ),
        ),
        "any axes before the last": Clause(
            _layers(((), 5, 7, 2), ((2, 3, 4), 8, 6, 3)),
            "x is (…, n): one vector, or any number of axes before the last one.",
            lambda x, weight, bias, A, B, alpha: (
                lora.low_rank_linear(x, weight, bias, A, B, alpha)
                if x.ndim in (2, 3)
                else F.linear(x, weight, bias)
            ),
        ),
    },
    hints=[
        "F.linear(x, weight, bias) is x Wᵀ + b for any number of axes, and bias may be None.",
        "Go through the small side: x Aᵀ has r numbers, and F.linear(…, B) makes m of them.",
        "The rank is len(A): add alpha / len(A) * F.linear(F.linear(x, A), B).",
    ],
    grad=["A", "B"],
)


# --- quantize_blocks -----------------------------------------------------------------------------

_TABLES = (
    quantization.normal_float(),
    torch.tensor([-1.0, -0.45, -0.1, 0.0, 0.2, 0.7, 1.0]),
    quantization.normal_float(3),
)


def _weights(*shapes, zeros=False):
    """Weights that fill their blocks, a table, the size of a block."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for (shape, block), table in zip(shapes, _TABLES, strict=False):
            w = torch.randn(shape, generator=g) * (1 + 3 * torch.rand(shape[0], 1, generator=g))
            if zeros:
                w.view(-1)[block : 2 * block] = 0.0
            cases.append((w, table, block))
        return cases

    return of


def _ties(seed):
    """Numbers half-way between two levels, of a table whose middles are floats exactly."""
    table = torch.tensor([-1.0, -0.5, 0.0, 0.25, 1.0])
    w = torch.tensor([[1.0, 0.125, -0.25, -0.75], [-2.0, 1.25, 0.25, 0.5], [4.0, 2.5, 0.5, -3.0]])
    return [(w, table, 4), (w.flip(1), table, 4)]


def _coded(w, table, block, scale=None, nearest=None):
    """Codes and scales by a way to scale a block and a way to find a level."""
    flat = w.flatten()
    blocks = F.pad(flat, (0, -len(flat) % block)).view(-1, block)
    scales = blocks.abs().amax(1) if scale is None else scale(blocks)
    unit = blocks / torch.where(scales != 0, scales, 1.0)[:, None]
    codes = (unit[..., None] - table).abs().argmin(-1) if nearest is None else nearest(unit, table)
    return codes.flatten()[: len(flat)].view(w.shape).to(torch.uint8), scales


def _upper(unit, table):
    middles = (table[1:] + table[:-1]) / 2
    return torch.bucketize(unit, middles, right=True)


def _shortened(w, table, block):
    """What does not fill a block is not coded."""
    codes, scales = quantization.quantize_blocks(w, table, block)
    full = w.numel() // block * block
    codes.view(-1)[full:] = 0
    return codes, scales


def _divides(w, table, block):
    codes, scales = quantization.quantize_blocks(w, table, block)
    zero = (scales == 0).repeat_interleave(block)[: codes.numel()].view(codes.shape)
    return codes.masked_fill(zero, len(table) - 1), scales


exercise(
    quantization.quantize_blocks,
    cases=_weights(((4, 16), 8), ((6, 10), 12), ((5, 8), 8)),
    mistakes={
        "one scale for all": (
            lambda w, table, block: _coded(
                w, table, block, lambda x: x.abs().amax().expand(len(x))
            ),
            "One scale serves all of your weights. Each block has its own, so that one large "
            "weight spoils its block only.",
        ),
        "largest, not largest size": (
            lambda w, table, block: _coded(w, table, block, lambda x: x.amax(1)),
            "Your scale is the largest weight. It should be the largest absolute value, or a "
            "large negative weight falls off the table.",
        ),
        "standard deviation": (
            lambda w, table, block: _coded(w, table, block, lambda x: x.std(1)),
            "Your scale is a standard deviation. With the largest absolute value nothing falls off "
            "the table, and the largest weight of a block is kept exactly.",
        ),
        "mean size": (
            lambda w, table, block: _coded(w, table, block, lambda x: x.abs().mean(1)),
            "Your scale is the mean absolute value: half of the weights fall off the table.",
        ),
        "the level below": (
            lambda w, table, block: _coded(
                w,
                table,
                block,
                nearest=lambda unit, t: (torch.bucketize(unit, t, right=True) - 1).clamp(0),
            ),
            "You take the level below. The nearest one is at most half a gap away.",
        ),
        "the level above": (
            lambda w, table, block: _coded(
                w,
                table,
                block,
                nearest=lambda unit, t: torch.bucketize(unit, t).clamp(max=len(t) - 1),
            ),
            "You take the level above. The nearest one is at most half a gap away.",
        ),
        "equal steps": (
            lambda w, table, block: _coded(w, torch.linspace(-1, 1, len(table)), block),
            "You round as if the levels had equal distances. Theirs are those of the table.",
        ),
        "columns": (
            lambda w, table, block: (
                quantization.quantize_blocks(w.T.contiguous(), table, block)[0].T,
                quantization.quantize_blocks(w.T.contiguous(), table, block)[1],
            ),
            "Your blocks run down the columns. The weights are taken row by row.",
        ),
        "the weights again": (
            lambda w, table, block: (
                table[quantization.quantize_blocks(w, table, block)[0].long()]
                * quantization.quantize_blocks(w, table, block)[1]
                .repeat_interleave(block)[: w.numel()]
                .view(w.shape),
                quantization.quantize_blocks(w, table, block)[1],
            ),
            "These are the weights again, rounded. The codes are asked for: the places of the "
            "levels in the table.",
        ),
        "not divided": (
            lambda w, table, block: (
                (w[..., None] - table).abs().argmin(-1),
                quantization.quantize_blocks(w, table, block)[1],
            ),
            "You compare the weights as they are with the table. Divide each by the scale of its "
            "block first.",
        ),
        "so many blocks": (
            lambda w, table, block: quantization.quantize_blocks(w, table, -(-w.numel() // block)),
            "You cut the row into `block` blocks. Each block holds `block` weights.",
        ),
    },
    clauses={
        "the last block": Clause(
            _weights(((4, 7), 8), ((3, 5), 4), ((2, 3), 16)),
            "The last block may be shorter; what it has is coded like the rest.",
            _shortened,
        ),
        "zeros": Clause(
            _weights(((4, 16), 8), ((6, 10), 12), ((5, 8), 8), zeros=True),
            "A block of zeros has the scale 0, and codes of the level nearest to 0. Do not divide "
            "by it.",
            _divides,
        ),
        "half-way": Clause(
            _ties,
            "Half-way between two levels the lower one is taken.",
            lambda w, table, block: _coded(w, table, block, nearest=_upper),
        ),
    },
    hints=[
        "w.flatten() puts the numbers into a row. F.pad(flat, (0, -len(flat) % block)) fills it up "
        "to whole blocks, and .view(-1, block) makes a row of each block.",
        "Divide each row by its largest absolute value, or by 1 where that is 0. Then "
        "(unit[..., None] - table).abs().argmin(-1) is the place of the nearest level.",
        "Cut off what was filled up: codes.flatten()[: len(flat)].view(w.shape).to(torch.uint8).",
    ],
)


# --- acceptance ----------------------------------------------------------------------------------


def _pairs(*shapes, cut=False):
    """Two distributions for each place; cut: some tokens are ruled out by one, or by both."""

    def of(seed):
        g = _generator(seed)
        cases = []
        for shape in shapes:
            p, q = (torch.rand(shape, generator=g).pow(3) + 0.01 for _ in range(2))
            if cut:
                p[..., 0], q[..., 1] = 0.0, 0.0
                p[..., 2], q[..., 2] = 0.0, 0.0
            cases.append(tuple(x / x.sum(-1, keepdim=True) for x in (p, q)))
        return cases

    return of


exercise(
    speculative.acceptance,
    cases=_pairs((3, 5), (4, 7), (3, 4, 6)),
    mistakes={
        "the distance": (
            lambda p, q: (p - q).abs().sum(-1) / 2,
            "This is the total variation distance, the chance that a draft falls. Take it from 1.",
        ),
        "the whole distance": (
            lambda p, q: 1 - (p - q).abs().sum(-1),
            "Each difference is counted twice: what p has more in one place, it lacks in another.",
        ),
        "both draw the same": (
            lambda p, q: (p * q).sum(-1),
            "This is the chance that two independent draws agree. A draft need not be drawn again: "
            "it stands with chance min(1, p / q).",
        ),
        "the larger": (
            lambda p, q: torch.maximum(p, q).sum(-1),
            "You take the larger of both. What both have in common is the smaller.",
        ),
        "the ratio alone": (
            lambda p, q: torch.clamp(p / q, max=1).mean(-1),
            "You average min(1, p / q) over the tokens. They are drafted with the weights q.",
        ),
        "by p": (
            lambda p, q: (p * torch.clamp(p / q, max=1)).sum(-1),
            "The drafts come from q, the small model: weigh by q.",
        ),
        "mean": (
            lambda p, q: torch.minimum(p, q).mean(-1),
            "You take the mean over the tokens. It is their sum.",
        ),
        "over all places": (
            lambda p, q: torch.minimum(p, q).sum(-1).mean(),
            "Each place has a chance of its own; you averaged over them.",
        ),
        "over the axis 1": (
            lambda p, q: torch.minimum(p, q).sum(1),
            "You sum over axis 1. There may be several axes of places; the tokens are on the last "
            "one, -1.",
        ),
    },
    clauses={
        "ruled out": Clause(
            _pairs((3, 5), (4, 7), (3, 4, 6), cut=True),
            "A token may be ruled out by one model, or by both (top-k): do not divide by 0.",
            lambda p, q: (q * torch.clamp(p / q, max=1)).sum(-1),
        ),
        "one place": Clause(
            _pairs((5,), (7,)),
            "p and q may be one distribution each, (V,): the result is one number.",
            lambda p, q: (
                speculative.acceptance(p, q) if p.ndim > 1 else torch.minimum(p, q).sum(0, True)
            ),
        ),
    },
    hints=[
        "Token x is drafted with chance q(x), and then stands with chance min(1, p(x) / q(x)).",
        "Multiply the two: q · min(1, p / q) = min(q, p). No division is left.",
        "torch.minimum(p, q), summed over the last axis.",
    ],
    grad=False,
)


# --- verify: find the fault ----------------------------------------------------------------------


def _again(p, q, drafted, u):
    place = torch.arange(len(drafted), device=p.device)
    stands = u < p[place, drafted] / q[place, drafted]
    n = int(stands.long().cumprod(0).sum())
    if n == len(drafted):
        return n, p[n]
    more = p[n].clamp(min=0)
    return n, more / more.sum() if more.any() else p[n]


def _drafts(seed, stands=False, alike=False):
    """Distributions, drafted tokens, and numbers u; by default one of the drafts falls."""
    g = _generator(seed)
    cases = []
    for k, V in ((3, 5), (4, 4), (2, 6)):
        p, q = (torch.rand(k + 1, V, generator=g).pow(2).add(0.02) for _ in range(2))
        p, q = p / p.sum(1, keepdim=True), (q / q.sum(1, keepdim=True))[:k]
        if alike:
            q = p[:k] * (1 + 2e-6)
        drafted = torch.multinomial(q, 1, generator=g)[:, 0]
        bound = (p[torch.arange(k), drafted] / q[torch.arange(k), drafted]).clamp(max=1)
        u = bound * 0.9 * torch.rand(k, generator=g)
        if not stands and not alike:
            falls = int(torch.randint(k, (), generator=g))
            drafted[falls] = int((q[falls] - p[falls]).argmax())  # one that q has too much of
            ratio = p[falls, drafted[falls]] / q[falls, drafted[falls]]
            u[falls] = ratio + (1 - ratio) * 0.5
        if alike:
            u[0] = 1 - 1e-7
        cases.append((p, q, drafted, u))
    return cases


def _judged(p, q, drafted, u, after, stands=None):
    place = torch.arange(len(drafted))
    good = u < p[place, drafted] / q[place, drafted] if stands is None else stands
    n = int(good.long().cumprod(0).sum())
    if n == len(drafted):
        return n, p[n]
    rest = after(p, q, n)
    return n, rest / rest.sum() if rest.any() else p[n]


def _more(p, q, n):
    return (p[n] - q[n]).clamp(min=0)


exercise(
    speculative.verify,
    cases=_drafts,
    planted=_again,
    symptom="With a draft model that is the large one all is right, and at temperature 0 it is, "
    "too. The more the two differ, the more often comes what the small one likes: after a draft "
    "that fell, the large model's own favourites come as often as if nothing had been drafted.",
    mistakes={
        "from the small model": (
            lambda p, q, drafted, u: _judged(p, q, drafted, u, lambda p, q, n: q[n]),
            "Now the token after a draft that fell comes from the small model.",
        ),
        "the wrong way round": (
            lambda p, q, drafted, u: _judged(
                p, q, drafted, u, lambda p, q, n: (q[n] - p[n]).clamp(min=0)
            ),
            "Now those tokens come of which the small model has too much. Turn it round.",
        ),
        "both ways": (
            lambda p, q, drafted, u: _judged(p, q, drafted, u, lambda p, q, n: (p[n] - q[n]).abs()),
            "Now all tokens come on which the two differ, also those that were drafted too often.",
        ),
        "the draft forbidden": (
            lambda p, q, drafted, u: _judged(
                p,
                q,
                drafted,
                u,
                lambda p, q, n: p[n] * (torch.arange(p.shape[1]) != drafted[n]),
            ),
            "You rule out the token that fell. That is not enough: the others of which the small "
            "model has too much were drafted too often as well.",
        ),
        "not scaled": (
            lambda p, q, drafted, u: (
                (
                    _judged(p, q, drafted, u, _more)[0],
                    _more(p, q, _judged(p, q, drafted, u, _more)[0]),
                )
                if _judged(p, q, drafted, u, _more)[0] < len(drafted)
                else _judged(p, q, drafted, u, _more)
            ),
            "The right tokens, but their numbers do not sum to 1.",
        ),
    },
    clauses={
        "all stand": Clause(
            lambda seed: _drafts(seed, stands=True),
            "Where all drafts stand, one more token comes from the last row of p.",
            lambda p, q, drafted, u: (
                (len(drafted), p[len(drafted) - 1])
                if _judged(p, q, drafted, u, _more)[0] == len(drafted)
                else _judged(p, q, drafted, u, _more)
            ),
        ),
        "alike": Clause(
            lambda seed: _drafts(seed, alike=True),
            "Where p nowhere has more than q, the two are alike but for rounding: it is p.",
            lambda p, q, drafted, u: (
                _judged(p, q, drafted, u, _more)
                if (p[: len(q)] > q).any()
                else (_judged(p, q, drafted, u, _more)[0], torch.full_like(p[0], 1 / p.shape[1]))
            ),
        ),
    },
    hints=[
        "Take three tokens and one draft. List all that may happen, with its probability: which "
        "token was drafted, whether it stands, which one comes instead. Add up what comes out.",
        "A token comes out with q · min(1, p / q) = min(p, q) as a draft. What is missing to p?",
        "What is missing is p − min(p, q) = max(0, p − q). That, scaled, is what the other token "
        "must come from.",
    ],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "both-zero",
        "B begins at zero, so that an adapter changes nothing at first. Somebody lets A begin at "
        "zero, too: it is tidier, and the outputs at first are the same. What does training do?",
        "c",
        "Nothing, for ever: the gradient of B is a product with A, and that of A a product with B. "
        "Where both are zero, so are both gradients, and no step leaves the place (section 15.2).",
        choices=(
            "it learns as before, for the sum at the start is the same",
            "it learns more slowly, until A has grown",
            "it learns nothing at all",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "where-adapters-go",
        question="Which matrices need an adapter? Spend the same number of weights in three ways: "
        "on the attention alone, on the MLP alone, on all matrices of the first half of the blocks "
        "or of the last. The rank follows from the number. Use `train` of section 15.3, the text "
        "and the steps of its table, and choose the rate for each on validation text.",
        hand_in="the share of full fine-tuning's gain that your best way reaches, in percent",
        good=(
            "All ways have the same number of trained weights, to within a few percent, and the "
            "table says it.",
            "Each has its own learning rate, chosen on validation text, and measured on test text.",
            "Three seeds, and a spread beside each number.",
            "A sentence on whether the differences are larger than the spread, and one on what the "
            "answer might depend on: the new text, the size of the model, the rank.",
        ),
        minutes=60,
        kind="number",
        unit="%",
        between=(20, 115),
        beyond="Is it the fall of the test loss from the base, divided by full fine-tuning's fall?",
    ),
)
