"""Scaling: how large a model, on how many tokens, for how much compute, and at what cost.

N weights, D training tokens, C floating-point operations (FLOPs) of the training, L layers, d
numbers for a token, V tokens in the vocabulary, T tokens of context.

How the loss depends on N and D stands in scaling_law.py.

Source: Kaplan et al. 2020; Hoffmann et al. 2022; lecture items A59, A60, A61, A62.
"""

import math
from typing import NamedTuple

from genai_utils.inputs import number, one_of

from .scaling_law import LAWS

# --- Counting ------------------------------------------------------------------------------------


def gpt_parameters(layers, dim, vocabulary, context, tied=True):
    """The number of weights of a GPT-2, exactly.

        L (12 d² + 13 d)     blocks: 4d² of attention, 8d² of the MLP, biases, two norms
        + 2 d                the last norm
        + V d + T d          tables of tokens and positions
        + V d                the head, if it has a table of its own (not tied)

    Sizes are whole numbers, or int64 tensors of one shape, as is what is returned. GPT-2 small:
    gpt_parameters(12, 768, 50257, 1024) = 124,439,808.
    Source: Radford et al. 2019; lecture item A59.
    """
    block = 12 * dim**2 + 13 * dim
    tables = vocabulary * dim + context * dim
    head = 0 if tied else vocabulary * dim
    return layers * block + 2 * dim + tables + head


def rule_of_thumb(layers, dim, vocabulary=0):
    """12 L d² + V d: the matrices only. Without a vocabulary those of the blocks (A59)."""
    return 12 * layers * dim**2 + vocabulary * dim


WAYS = {  # what is counted as N -> how many tables of V·d numbers are
    "blocks": 0,  # Kaplan et al. 2020
    "blocks + table": 1,  # what is multiplied for each token; one table is embedding and head
    "blocks + two tables": 2,  # embedding and head, as for a network whose head is its own
}


def counted(config, way):
    """N of a `GPTConfig`-like size, by one of the `WAYS` of counting its matrices.

    Positions, biases and norms are in none of them.
    """
    tables = WAYS[one_of(way, "way", WAYS)]
    return rule_of_thumb(config.layers, config.dim, tables * config.vocabulary)


def training_flops(N, D):
    """C = 6 N D: for each weight and token 2 operations forward and 4 backward.

    Source: Kaplan et al. 2020, section 2.1; lecture item A62.
    """
    return 6 * N * D


def flops_per_token(config):
    """Operations for a training token, exactly: those of all matrix products.

        6 (12 L d² + V d) + 14 L T d

    The second term is attention: scores and weighted values, 4 L T d forward, and 10 backward,
    where the fused kernel computes the scores once more. Masked halves are counted, as the
    kernel's count does. The table of tokens is looked up, and costs nothing as an input.
    """
    c = config
    return 6 * rule_of_thumb(c.layers, c.dim, c.vocabulary) + 14 * c.layers * c.context * c.dim


def muon_flops(model, blocks, steps=5):
    """Operations of Muon beyond AdamW's in one step: Newton-Schulz on the matrices of `blocks`.

    An m × n matrix, m ≤ n, takes 4 m² n + 2 m³ operations in each of its `steps`.
    """
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    shapes = [sorted(p.shape) for p in blocks.parameters() if p.ndim == 2 and id(p) in trained]
    return sum(steps * (4 * m * m * n + 2 * m**3) for m, n in shapes)


# --- All or nothing ------------------------------------------------------------------------------


def answer_scores(predicted, answers):
    """Two scores of the same answers: tokens that are right, and answers that are all right.

    predicted, answers: (n, T) int64; an answer ends before its first -100, and each has at least
    one token. Whatever is predicted from there on does not count.
    Returns two scalars: the share of the tokens of all answers together, and the share of answers
    of which every token is right. With p per token, independently, the second of L tokens is p^L.
    Source: Schaeffer et al. 2023; lecture item A61, erratum N40.
    """
    asked = answers != -100
    right = predicted == answers
    tokens = (right & asked).sum() / asked.sum()
    return tokens, (right | ~asked).all(dim=1).float().mean()


# --- Costs ---------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A graphics card: dense 16-bit operations a second at the peak, memory in bytes."""

    peak: float
    memory: float


CARDS = {  # the makers' data sheets
    "V100": Card(125e12, 32e9),
    "A100": Card(312e12, 80e9),
    "H100": Card(989e12, 80e9),
}
BYTES = 16  # of training memory for each weight: see `training_memory`


def training_memory(N, bytes_each=BYTES):
    """Bytes for weights, gradients and Adam in mixed precision, activations not counted.

    16 for each weight: 2 + 2 in half precision, and 4 + 4 + 4 for a copy of the weight and Adam's
    two averages. Source: Rajbhandari et al. 2020, section 3.1.
    """
    return bytes_each * N


class Plan(NamedTuple):
    """What a budget buys; see `plan`."""

    flops: float
    parameters: float
    tokens: float
    loss: float
    best_loss: float
    card_hours: float
    dollars: float
    memory: float
    least_cards: int


def plan(amount, unit="FLOPs", law="Besiroglu et al. 2024", card="H100", rent=2.0, use=0.4,
         stretch=1.0):  # fmt: skip
    """What a budget buys: the best size and tokens for it, the loss to expect, time and dollars.

    amount: of `unit`, "FLOPs", "dollars" or "card-hours". rent: dollars for a card-hour. use: the
    share of the peak that is reached. stretch: a size so many times the best one, on as many
    fewer tokens. least_cards: so many hold weights, gradients and Adam.
    Raises ValueError for a budget or a share that is not above 0.
    """
    amount, stretch = number(amount, "amount", above=0), number(stretch, "stretch", above=0)
    rent, use = number(rent, "rent", above=0), number(use, "use", above=0, most=1)
    found, speed = LAWS[one_of(law, "law", LAWS)], CARDS[one_of(card, "card", CARDS)]
    hour = 3600 * speed.peak * use  # operations of a card-hour
    one_of(unit, "unit", ("FLOPs", "dollars", "card-hours"))
    flops = amount * {"FLOPs": 1, "dollars": hour / rent, "card-hours": hour}[unit]
    N, D = found.optimum(flops)
    best = found.loss(N, D)
    N, D = N * stretch, D / stretch
    memory = training_memory(N)
    return Plan(flops, N, D, found.loss(N, D), best, flops / hour, flops / hour * rent, memory,
                math.ceil(memory / speed.memory))  # fmt: skip
