"""Chapters 8 to 14: attention, the block, what a token may see, and learning from people."""

import numpy as np

from genai_utils.display.drawings.canvas import LEAST, Canvas
from genai_utils.display.drawings.structure import row_of

BANK = ("the", "river", "bank", "was", "steep")  # chapter 8's five words, and two numbers for each
MEANING = np.array([[0, 0], [2, 0], [1, 1], [0, 0], [1, 0]])


def attention_weights(x):
    """softmax(x x^T / sqrt(d))."""
    scores = np.exp(x @ x.T / np.sqrt(x.shape[1]))
    return scores / scores.sum(1, keepdims=True)


# --- 8 The transformer ---------------------------------------------------------------------------


def attention():
    """Attention: from X to queries, keys and values, and from these to the result.

    At the top X, a row of d numbers for each of the T tokens "the river bank was steep". Three
    learned matrices turn it into Q, K and V, each T by d k. Below, Q times K transposed over the
    root of d k gives the scores, a table of T by T. Softmax makes each row of it a row of weights
    that sum to 1; they are shaded as in the example by hand: bank looks most at river and bank. The
    weights times V are the result, T by d k. The row of bank is framed all the way.
    """
    c = Canvas(500, 580)
    size, bank, top, low = 20, BANK.index("bank"), 224, 424
    x = c.tensor(200, 30, 5, 4, "**X**", size=size)
    c.text(292, 86, "*T* × *d*", LEAST, "start", "muted")
    for i, word in enumerate(BANK):
        c.text(x.x - 10, x.y + (i + 0.75) * size, word, LEAST, "end")
    q, k, v = (c.tensor(at, top, 5, 3, size=size) for at in (50, 210, 370))
    for head, letter in ((q, "Q"), (k, "K"), (v, "V")):
        way = [x.bottom, (x.bottom[0], 172), (head.top[0], 172), head.at(0.5, -0.03)]
        c.arrow(*(way if head is not k else way[::3]))
        c.text(head.top[0] + 10, top - 14, f"**W**^{{*{letter}*}}", 17, "start", "parameter")
        c.text(head.x + 72, top + 44, f"**{letter}**", 20, "start")
        c.text(head.x + 72, top + 68, "*T* × *d*_{*k*}", LEAST, "start", "muted")
    scores = c.grid(30, low, [[0.12] * 5] * 5, size, "operation")
    weights = c.grid(208, low, attention_weights(MEANING) / 0.7, size, "parameter")
    out = c.tensor(370, low, 5, 3, size=size, role="output")
    c.arrow(q.at(0.5, 1.04), (q.bottom[0], low - 4))
    c.arrow(k.at(0.5, 1.04), (k.bottom[0], 376), (108, 376), (108, low - 4))
    c.arrow(v.at(0.5, 1.04), (v.bottom[0], low - 4))
    c.arrow(scores.at(1.05, 0.5), weights.at(-0.05, 0.5), text="softmax", shift=(0, -9))
    c.arrow(weights.at(1.05, 0.5), out.at(-0.08, 0.5), text="· **V**", shift=(0, -9))
    for body, name, shape in (
        (scores, "**Q** **K**^{⊤} / √*d*_{*k*}", "scores, *T* × *T*"),
        (weights, "weights", "*T* × *T*"), (out, "result", "*T* × *d*_{*k*}"),
    ):  # fmt: skip
        c.text(body.bottom[0], low + 126, name)
        c.text(body.bottom[0], low + 149, shape, LEAST, kind="muted")
    for body in (x, q, weights, out):
        c.frame(row_of(body, 5, bank))
    return c


def transformer_block():
    """The block: two detours beside a stream.

    From top to bottom runs the residual stream, B by T by d. A first detour goes through a norm and
    attention, where tokens exchange, and is added to the stream. A second goes through a norm and
    an MLP, where each token is worked on by itself, and is added too. What comes out has the shape
    of what went in, so that L such blocks can follow each other.
    """
    c = Canvas(500, 470)
    stream = 112
    c.box(52, 10, 120, 40, "(*B*, *T*, *d*)", "data")
    c.box(52, 418, 120, 40, "(*B*, *T*, *d*)", "data")
    sums = []
    for top, name, what in (
        (84, "attention", "tokens exchange"),
        (244, "MLP", "each token by itself"),
    ):
        norm = c.box(196, top, 84, 42, "norm")
        part = c.box(324, top, 132, 42, name, "parameter")
        c.arrow((stream, top + 21), norm.left)
        c.arrow(norm.right, part.left)
        plus = c.node(stream, top + 112, 15, "+", "operation", 20)
        c.arrow(part.bottom, (part.bottom[0], top + 112), plus.right)
        c.text(216, top + 104, what, LEAST, "start", "muted")
        sums.append(plus)
    c.arrow((stream, 50), sums[0].top)
    c.arrow(sums[0].bottom, sums[1].top)
    c.arrow(sums[1].bottom, (stream, 418))
    c.text(stream + 16, 408, "the residual stream", LEAST, "start", "muted")
    c.brace((62, 382), (62, 70), "× *L*", kind="")
    return c


# --- 9 BERT and 10 GPT ---------------------------------------------------------------------------


def sight(c, tokens, seen, x=84, y=80, size=34):
    """Who sees whom: a row for each token that looks, a column for each that is looked at."""
    body = c.grid(x, y, [["data" if cell else None for cell in row] for row in seen], size)
    for i, token in enumerate(tokens):
        c.text(x - 10, y + (i + 0.5) * size + 5, token, LEAST, "end")
        c.text(x + (i + 0.72) * size, y - 9, token, LEAST, "start", turn=-52)
    return body


def full_mask():
    """BERT sees everything, and is asked about the blanks.

    A square with a row and a column for each token of "to buy a [MASK] of milk". Rows look, columns
    are looked at, and every cell is filled: each token sees all others, to the left and to the
    right. From the row of [MASK] an arrow leads to the target, gallon; the other rows have none.
    """
    c = Canvas(500, 330)
    tokens = ["to", "buy", "a", "[MASK]", "of", "milk"]
    body = sight(c, tokens, np.ones((6, 6)))
    row = row_of(body, 6, 3)
    c.frame(row)
    c.arrow((row.x + row.width + 8, row.right[1]), (344, row.right[1]))
    c.box(350, row.right[1] - 15, 84, 30, "gallon", "output", round=6)
    c.text(392, 62, "what was there", LEAST, kind="muted")
    c.text(body.bottom[0], 312, "each token sees all others", kind="muted")
    return c


def causal_mask():
    """GPT sees what came before, and is asked what comes next.

    A square with a row and a column for each token of "to buy a gallon of milk". Rows look, columns
    are looked at. Only the cells on the diagonal and to its left are filled: each token sees itself
    and what came before. From each row an arrow leads to its target, the next token: buy, a,
    gallon, of, milk and a full stop.
    """
    c = Canvas(500, 330)
    tokens = ["to", "buy", "a", "gallon", "of", "milk"]
    body = sight(c, tokens, np.tril(np.ones((6, 6))))
    for i, target in enumerate([*tokens[1:], "."]):
        y = body.y + (i + 0.5) * body.height / 6
        c.arrow((body.x + body.width + 8, y), (344, y))
        c.box(350, y - 15, 84, 30, target, "output", round=6)
    c.text(392, 62, "what comes next", LEAST, kind="muted")
    c.text(body.bottom[0], 312, "no token sees a later one", kind="muted")
    return c


def mask_rule():
    """Of the chosen tokens 80 % are hidden, 10 % replaced, 10 % left.

    The text is "to buy a gallon of milk", and gallon was chosen. A bar is cut into 80, 10 and 10
    per cent. In 80 % of the cases the model sees [MASK] in its place, in 10 % a random word, river,
    and in 10 % gallon itself. In all three cases the target is gallon.
    """
    c = Canvas(500, 320)
    c.bar(10, 34, [(80, "80 %", "warning"), (10, "10", "parameter"), (10, "10", "data")], 4.8, 38)
    c.text(10, 22, "the chosen tokens", LEAST, "start", "muted")
    cases = (
        ("[MASK]", "warning", "hidden"),
        ("river", "parameter", "replaced"),
        ("gallon", "data", "left"),
    )
    for k, (word, role, what) in enumerate(cases):
        y = 104 + 66 * k
        c.mark(20, y + 19, "square", role, 7)
        c.text(36, y + 25, what, LEAST, "start", "muted")
        c.text(122, y + 25, "to buy a", anchor="start")
        c.box(198, y, 78, 38, word, role)
        c.text(286, y + 25, "of milk", anchor="start")
        c.arrow((356, y + 19), (398, y + 19))
        c.box(404, y, 78, 38, "gallon", "output")
    c.text(237, 310, "what the model sees", LEAST, kind="muted")
    c.text(443, 310, "target", LEAST, kind="muted")
    return c


# --- 14 Learning from human feedback --------------------------------------------------------------


def rlhf():
    """Three steps from a language model to an assistant.

    Step 1: a GPT learns to continue prompts with answers that people wrote; it becomes the SFT
    policy. Step 2: people put four answers of it into an order, D before C before A and B, which
    tie; the order holds five pairs, and a reward model r learns them. Step 3, a loop: the policy
    pi, which begins as SFT, writes an answer; the reward model judges it; what is made large is the
    reward minus beta times the KL divergence from SFT, which stands still beside it.
    """
    c = Canvas(500, 540)
    for y, number, title in (
        (24, "1", "people write answers"),
        (132, "2", "people order answers"),
        (310, "3", "the model practises"),
    ):
        c.text(10, y, number, 18, "start", "strong")
        c.text(32, y, title, anchor="start", kind="muted")
    gpt = c.box(12, 50, 76, 44, "GPT")
    pair = c.box(136, 44, 212, 56, ["prompt, answer", "loss on the answer"], "data")
    sft = c.box(396, 50, 90, 44, "SFT", "parameter")
    c.arrow(gpt.right, pair.left)
    c.arrow(pair.right, sft.left)
    four = [c.box(12 + 46 * i, 182, 38, 38, letter, "data") for i, letter in enumerate("ABCD")]
    order = c.box(214, 176, 160, 50, ["D > C > A = B", "5 pairs"], "data")
    reward = c.box(396, 179, 90, 44, "*r*", "output")
    c.arrow((four[-1].x + 42, 201), order.left)
    c.arrow(order.right, reward.left)
    c.arrow(sft.bottom, (441, 152), (103, 152), (103, 178), text="writes", shift=(0, 8))
    policy = c.box(12, 344, 90, 50, "policy *π*", "parameter")
    answer = c.box(176, 344, 116, 50, "answer *y*", "data")
    judge = c.box(396, 344, 90, 50, "*r*(*x*, *y*)", "output")
    still = c.box(168, 432, 132, 44, "SFT, held still", "plain", size=15, dashed=True)
    c.arrow(policy.right, answer.left, text="writes")
    c.arrow(answer.right, judge.left, text="is judged")
    c.arrow(answer.bottom, still.top)
    c.arrow(reward.bottom, judge.top, dashed=True)
    goal = c.box(340, 432, 146, 44, "*r* − *β* KL", "operation")
    c.arrow(judge.at(0.5, 1.0), (441, 428))
    c.arrow(still.right, goal.left, text="KL")
    c.arrow(goal.bottom, (413, 512), (57, 512), policy.bottom, kind="operation")
    c.text(235, 504, "made large", LEAST, kind="operation")
    return c


DRAWINGS = {
    "attention": attention,
    "transformer-block": transformer_block,
    "full-mask": full_mask,
    "mask-rule": mask_rule,
    "causal-mask": causal_mask,
    "rlhf": rlhf,
}
