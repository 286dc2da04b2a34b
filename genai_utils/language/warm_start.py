"""First weights and step sizes that let a small BERT learn from a hundred articles in minutes.

BERT's own first weights are small random numbers, and a long training. On a short one the loss
stays where counting single words puts it: a [MASK] says nothing itself, and no head looks at its
neighbours yet. Here the heads begin by doing so. The weights keep BERT's form.
"""

import math

import torch
from torch import nn

from genai_utils import inputs
from genai_utils.inputs import refusal, whole

from .bert import PreTraining
from .tokenizer import SPECIAL


def topic_vectors(texts, vocabulary, k, window=60):
    """What a token is about: chapter 4's LSA of pieces of text, (V, k).

    Rows are pieces of `window` tokens, columns tokens, weighted sqrt(count) · log(pieces / pieces
    with the token); k components of its SVD, times the same weight, scaled to a deviation of 0.3.
    The SVD is a randomised one and draws from torch's global generator.

    texts: list of (n,) int64. Raises TypeError or ValueError for ids outside the vocabulary, for
    fewer than k pieces of that length, or no token that tells one from another.
    """
    if torch.is_tensor(texts):
        raise refusal("texts", "a list of token ids (n,)", "one tensor", kind=TypeError)
    whole(vocabulary, "vocabulary"), whole(k, "k", most=vocabulary), whole(window, "window")
    for i, ids in enumerate(texts := list(texts)):
        inputs.tokens(ids, f"texts[{i}]", vocabulary)
    pieces = sum(len(ids) // window for ids in texts)
    if pieces < k:
        cure = "take more text, a smaller window or a smaller k"
        raise refusal("texts", f"{k} pieces of {window} tokens, as k", f"{pieces}", cure)
    rows = torch.cat([t[: len(t) // window * window].view(-1, window) for t in texts])
    counts = torch.zeros(len(rows), vocabulary).scatter_add_(1, rows, torch.ones(rows.shape))
    weight = (len(rows) / (1 + (counts > 0).sum(0))).log()  # (V,)
    weight[: len(SPECIAL)] = 0
    _, s, Y = torch.svd_lowrank(counts.sqrt() * weight, k, niter=4)
    Y = Y * s.sqrt() * weight[:, None]
    if not Y.std() > 0:
        raise refusal("texts", "tokens that tell pieces apart", "none")
    return 0.3 * Y / Y.std()


@torch.no_grad()
def neighbour_start(model, topics=None):
    """First weights for a small BERT and a short training: its heads begin by looking next door.

    The positions are sines of d/h numbers, the tokens' vectors fill the others; head 1 of the first
    block looks at the token before, head 2 at the one after, heads 3 and 4 two away, and so on.
    Later blocks add little at first. topics (V, d/h), optional: `topic_vectors`, put into the
    tokens' vectors; two heads of the second block then compare the two texts. Everything is
    trained on. Returns the model, a `PreTraining` or `Classifier`. The numbers come from torch's
    global generator, as all first weights do.

    Raises ValueError for heads of an odd size; with topics, for fewer than two blocks or three
    heads, heads of fewer than four numbers, or topics of another shape.
    Source: sines: Vaswani et al. 2017, section 3.5; the rest is this book's.
    """
    bert, c = model.bert, model.bert.config
    size = c.dim // c.heads
    if size % 2:
        raise refusal("model", "heads of an even size", f"{size} = {c.dim} / {c.heads}")
    if topics is not None:
        if c.layers < 2 or c.heads < 3 or size < 4:
            sizes = f"{c.layers} blocks, {c.heads} heads of {size}"
            raise refusal("model", "two blocks and three heads of 4 numbers for topics", sizes)
        if topics.shape != (c.vocabulary, size):
            raise refusal("topics", f"the shape ({c.vocabulary}, {size})", f"{tuple(topics.shape)}")
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    rate = torch.logspace(math.log10(2), math.log10(0.05), size // 2)  # radians per token
    angle = torch.arange(c.context)[:, None] * rate
    nn.init.normal_(bert.tokens.weight, std=0.3)
    bert.tokens.weight[:, :size] *= 0.1
    bert.positions.weight.zero_()
    bert.positions.weight[:, :size] = 0.42 * torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    q, k, _ = bert.blocks[0].attention.qkv.weight.chunk(3)
    for head, step in zip(range(c.heads), (-1, 1, -2, 2, -3, 3, -4, 4), strict=False):
        cos, sin = (rate * step).cos(), (rate * step).sin()
        turns = [torch.tensor([[x, -y], [y, x]]) for x, y in zip(cos, sin, strict=True)]
        rows = slice(head * size, (head + 1) * size)
        q[rows] *= 0.1
        k[rows] *= 0.1
        q[rows, :size] += 1.3 * torch.eye(size)
        k[rows, :size] += 1.3 * torch.block_diag(*turns)  # turns position s into s - step
    for i, block in enumerate(bert.blocks):
        block.mlp[-1].weight *= 0.1
        block.attention.out.weight *= 0.1 if i else 1.0
    if topics is not None:  # [CLS] begins with the mean of its own text, minus the other's
        own, about = slice(size, size + 4), slice(size + 4, 2 * size + 4)
        bert.blocks[0].attention.out.weight[size : 2 * size + 4] *= 0.05  # left alone by block 1
        bert.tokens.weight[:, own] = 0.0
        bert.tokens.weight[:, about] = topics
        bert.segments.weight.zero_()
        bert.segments.weight[:, own] = torch.tensor([[0.8], [-0.8]])
        attention = bert.blocks[1].attention
        q, k, v = attention.qkv.weight.chunk(3)
        for head, sign in ((0, 1.0), (1, -1.0)):
            rows = slice(head * size, (head + 1) * size)
            q[rows], k[rows], v[rows], attention.out.weight[:, rows] = 0.0, 0.0, 0.0, 0.0
            q[rows, own] = 1.2 * torch.eye(size)[:, :4]
            k[rows, own] = 1.2 * sign * torch.eye(size)[:, :4]
            v[rows, about] = 16 * torch.eye(size)
            attention.out.weight[about, rows] = sign * torch.eye(size)
    if isinstance(model, PreTraining):
        model.norm.weight.fill_(0.3)
    return model


def adamw(model, lr, table=5.0):
    """AdamW in which the table of the tokens, whose rows come up rarely, has `table` times the lr.

    Biases and LayerNorms are not decayed. For `fit`'s optimizer, with the same lr.
    """
    rows = model.bert.tokens.weight
    rest = [p for p in model.parameters() if p is not rows]
    groups = [
        {"params": [rows], "lr": table * lr},
        {"params": [p for p in rest if p.ndim > 1]},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
