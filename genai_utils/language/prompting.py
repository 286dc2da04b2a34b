"""Learning in context: streams of repeated sub-tasks, prompts of examples, and the head for it.

A sub-task is a *rule*: a table that maps each of eight letters to a letter, drawn anew for each
stream. A stream is a description, or a blank in its place, and then pairs of a key and its label:

    ? a d f a c b a …        by a table drawn at random
    +3 a d f a c f a …       by a shift of three letters, whose name stands in front

A model that predicts the next token of such streams can only do so by finding the rule in the
stream: the weights are the same for all rules. Shapes: B streams, K pairs in each, n letters,
T = 2 K + 1 tokens; the keys stand at the odd places, their labels at the even ones from 2 on.

Source: Brown et al. 2020, figure 1.1; Chan et al. 2022; Olsson et al. 2022; lecture items A31, A50,
A51, A54.
"""

import copy
import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from genai_utils import inputs
from genai_utils.inputs import number, one_of, refusal, whole
from genai_utils.training.batches import derive_seed

from .tokens import IGNORE

LETTERS = "abcdefgh"
N = len(LETTERS)
BLANK = N  # the token where a rule is not described; BLANK + c describes the shift by c
VOCABULARY = 2 * N
KINDS = ("shift", "table", "mixed")


class Rules(NamedTuple):
    """B rules. tables (B, n): the label of each letter. shifts (B,): by how much, 0: no shift."""

    tables: Tensor
    shifts: Tensor


def odd(tables):
    """Which permutations (B, n) are odd: an odd number of pairs stands in the wrong order, (B,)."""
    ahead = torch.ones(N, N, dtype=torch.bool, device=tables.device).triu(1)
    wrong = (tables[:, :, None] > tables[:, None, :]) & ahead
    return wrong.sum((1, 2)) % 2 == 1


def draw_rules(count, kind="mixed", held_out=False, generator=None):
    """`count` rules. "shift": the c-th next letter, in a circle, c from 1 to n - 1, each alike.

    "table": a random permutation of the letters, of which there are n! = 40,320. "mixed": each of
    the two with probability ½. held_out: False: even permutations, half of all, for training;
    True: odd ones, so that a test meets no table that was trained. Shifts are few, and serve both.
    """
    count, _ = whole(count, "count"), one_of(kind, "kind", KINDS)
    on = {"generator": generator, "device": "cpu" if generator is None else generator.device}
    tables = torch.rand(count, N, **on).argsort(1)
    wrong = odd(tables) != held_out  # with two labels exchanged it is of the other kind
    tables[:, :2] = torch.where(wrong[:, None], tables[:, :2].flip(1), tables[:, :2])
    shifts = torch.randint(1, N, (count,), **on)
    named = torch.rand(count, **on) < {"shift": 1.0, "table": 0.0, "mixed": 0.5}[kind]
    shifts = torch.where(named, shifts, 0)
    moved = (torch.arange(N, device=shifts.device) + shifts[:, None]) % N  # (B, n)
    return Rules(torch.where(named[:, None], moved, tables), shifts)


def few_shot_prompt(task: Tensor, keys: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """A description, k examples and one more key, whose label is asked.

        task, key_1, label_1, …, key_k, label_k, query

    task (B,), keys and labels (B, k) with k from 0, query (B,), all int64 -> (B, 2 k + 2).
    Source: Brown et al. 2020, figure 2.1; lecture items A50, A54.
    """
    pairs = torch.stack([keys, labels], dim=2).flatten(1)  # (B, 2 k)
    return torch.cat([task[:, None], pairs, query[:, None]], dim=1)


def stream(task, keys, labels):
    """A stream of K pairs: task (B,), keys and labels (B, K) -> ids (B, 2 K + 1)."""
    prompt = few_shot_prompt(task, keys[:, :-1], labels[:, :-1], keys[:, -1])
    return torch.cat([prompt, labels[:, -1:]], 1)


class StreamBatches:
    """Streams of fresh rules: `batches(step)` is (ids, targets), a function of seed and step.

    pairs: K. kind, held_out: of the rules, see `draw_rules`. described: the probability that a
    shift's name stands in front of its stream; all other streams begin with the blank. spread: of
    the logarithms of the keys' frequencies, drawn anew for each stream; 0: all letters alike. Where
    it is large a stream returns to few keys again and again, as a text returns to its names.

    ids and targets are (B, 2 K); asked for are the labels, the keys are random (target -100).
    `streams(step)` gives the whole streams, (B, 2 K + 1). Source of the spread: Chan et al. 2022.
    """

    def __init__(self, batch_size, pairs=16, kind="mixed", described=0.3, spread=1.5,
                 held_out=False, seed=0, device="cpu"):  # fmt: skip
        self.batch_size, self.pairs = whole(batch_size, "batch_size"), whole(pairs, "pairs")
        self.kind = one_of(kind, "kind", KINDS)
        self.described = number(described, "described", least=0, most=1)
        self.spread, self.held_out = number(spread, "spread", least=0), bool(held_out)
        self.seed, self.device = whole(seed, "seed", least=None), torch.device(device)
        self.generator = torch.Generator(self.device)

    def __repr__(self):
        return (
            f"StreamBatches({self.batch_size}, pairs={self.pairs}, kind={self.kind!r}, "
            f"described={self.described}, spread={self.spread}, "
            f"held_out={self.held_out}, seed={self.seed})"
        )

    def describe(self):
        return {"batches": repr(self)}

    def streams(self, step):
        g = self.generator.manual_seed(derive_seed(self.seed, "stream", int(step)))
        on = {"generator": g, "device": self.device}
        rules = draw_rules(self.batch_size, self.kind, self.held_out, g)
        frequency = (self.spread * torch.randn(self.batch_size, N, **on)).exp()
        keys = frequency.multinomial(self.pairs, replacement=True, generator=g)  # (B, K)
        said = torch.rand(self.batch_size, **on) < self.described
        task = BLANK + torch.where(said, rules.shifts, 0)
        return stream(task, keys, rules.tables.gather(1, keys))

    def __call__(self, step):
        ids = self.streams(step)
        targets = torch.full_like(ids[:, 1:], IGNORE)
        targets[:, 1::2] = ids[:, 2::2]
        return ids[:, :-1], targets


def wider_start(model):
    """Makes the first weights of a small GPT larger, in place; returns the model.

    GPT's own, with a deviation of 0.02, are meant for hundreds of numbers a token. Here tokens and
    places begin with 0.3, and the matrices of the blocks with 0.14. Without it a model of 32
    numbers a token takes far longer to form a head that copies.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(7 if name.startswith("blocks") else 15)
    return model


class Questions(NamedTuple):
    """B prompts of one length, ids (B, 2 k + 2), and the labels by the rule, answers (B,)."""

    prompts: Tensor
    answers: Tensor


def questions(rules, shots, described=False, shuffled=False, generator=None):
    """A prompt for each rule, with `shots` examples of different letters, k from 0 to n.

    The query is any letter, each alike: with k examples it is among them with probability k / n.
    described: with the name of a shift in front, else with the blank. shuffled: the labels of a
    prompt are dealt out anew among its examples, the control of A50; the answer stays the rule's.
    """
    shots = whole(shots, "shots", 0, N)
    on = {"generator": generator, "device": rules.tables.device}
    count = len(rules.tables)
    keys = torch.rand(count, N, **on).argsort(1)[:, :shots]
    query = torch.randint(N, (count,), **on)
    labels = rules.tables.gather(1, keys)
    if shuffled:
        labels = labels.gather(1, torch.rand(count, shots, **on).argsort(1))
    task = BLANK + (rules.shifts if described else torch.zeros_like(rules.shifts))
    answers = rules.tables.gather(1, query[:, None])[:, 0]
    return Questions(few_shot_prompt(task, keys, labels, query), answers)


def best_accuracy(shots):
    """What no method can beat in the mean over random tables: (k + 1) / n, k from 0 to n - 1; 1.

    With probability k / n the query was shown. If not, its label is one of the n - k that were
    not shown, each alike: k/n + (n - k)/n · 1/(n - k).
    """
    return min(whole(shots, "shots", 0, N) + 1, N) / N


@torch.no_grad()
def accuracy(model, asked, split=4096):
    """The share of `Questions` to which the likeliest next token is the answer, from 0 to 1."""
    device, right = next(model.parameters()).device, 0
    pieces = zip(asked.prompts.split(split), asked.answers.split(split), strict=True)
    for prompts, answers in pieces:
        said = model(prompts.to(device))[:, -1].argmax(-1)
        right += (said == answers.to(device)).sum().item()
    return right / len(asked.answers)


def label_nll(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean negative log-likelihood of the 1st, 2nd, …, K-th label of a stream, in nats.

        nll_k = -1/B Σ_b log softmax(logits[b, 2 k - 1])[ids[b, 2 k]],   k = 1 … K

    ids (B, 2 K + 1) int64: a description, then pairs of key and label. logits (B, 2 K + 1, V), of
    any size: row t has seen the tokens 0 … t. Returns (K,).
    Source: Brown et al. 2020, figure 1.1; lecture item A51.
    """
    log_p = logits[:, 1:-1:2].log_softmax(-1)  # (B, K, V), at the keys
    return -log_p.gather(-1, ids[:, 2::2, None])[..., 0].mean(0)


def weights_sha256(model):
    """A digest of all weights, names and shapes included: it changes if one bit of them does."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        weight = weight.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# --- the head that does it


def copying_share(ids: Tensor, weights: Tensor) -> Tensor:
    """How much of its weight each head puts, at a key, on the labels that this key had before.

    The mark of an induction head. At each key that stood in the stream before, the attention on all
    the labels right after its earlier occurrences, added up; then the mean over all such keys of
    all streams. 0 for each head if no key comes twice.

    ids (B, T) int64, T = 2 K + 1, with keys at the odd places. weights (B, h, T, T), row t is what
    place t looks at. Returns (h,). Source: Olsson et al. 2022.
    """
    keys = ids[:, 1::2]  # (B, K)
    same = (keys[:, :, None] == keys[:, None, :]).tril(-1)  # (B, K, K): this key, earlier
    looks = weights[:, :, 1::2, 2::2]  # (B, h, K, K): from keys to labels
    share = (looks * same[:, None]).sum(-1)  # (B, h, K)
    return share.sum((0, 2)) / same.any(-1).sum().clamp(min=1)


@torch.no_grad()
def head_weights(model, ids):
    """Who looks where in a GPT: ids (B, T) -> (layers, B, h, T, T)."""
    x, found = model.embed(ids.to(next(model.parameters()).device)), []
    for block in model.blocks:
        found.append(block.attention.weights(block.norm1(x)))
        x = block(x)
    return torch.stack(found)


def cut_head(out: Tensor, head: int, heads: int) -> Tensor:
    """The matrix that mixes the heads of a layer, with what one head adds to the stream cut out.

    The layer adds out @ [z_0; z_1; …] to each token; z_i, of d / heads numbers, is the result of
    head i. What head i adds must become 0, and no other head may change.

    out (m, d), d a multiple of heads; head from 0 to heads - 1. Returns a new (m, d) matrix; `out`
    itself is left as it was. Source: Olsson et al. 2022 (ablations).
    """
    size = out.shape[1] // heads
    kept = torch.ones_like(out)
    kept[:, head * size : (head + 1) * size] = 0
    return out * kept


@torch.no_grad()
def without_head(model, layer, head):
    """A copy of a GPT in which one head adds nothing; the model itself is left as it was.

    Raises TypeError or ValueError for a layer or head that the model does not have.
    """
    layer = whole(layer, "layer", 0, len(model.blocks) - 1)
    head = whole(head, "head", 0, model.config.heads - 1)
    cut = copy.deepcopy(model)
    out = cut.blocks[layer].attention.out.weight
    out.copy_(cut_head(out, head, model.config.heads))
    return cut


# --- prompts as people write them


def read_prompt(text):
    """The examples and the query of a prompt such as "ad fa c?": (keys, labels, query).

    Pairs are two letters of a to h, one after the other, apart by blanks or commas; "a>d" and
    "a→d" are read as "ad". The last piece is one letter, with or without a question mark.
    Returns three tensors (1, k), (1, k) and (1,), for `few_shot_prompt`.
    Raises TypeError or ValueError for anything else, for more than 16 pairs, and for no query.
    """
    if not isinstance(text, str):
        raise refusal("text", "a prompt such as 'ad fa c?'", inputs.kind_of(text), kind=TypeError)
    pieces = text.lower().replace("→", "").replace(">", "").replace(",", " ").split()
    *pairs, query = [piece.removesuffix("?") for piece in pieces] or [""]
    if len(query) != 1 or query not in LETTERS:
        cure = "end with one letter of a to h, whose label is asked"
        raise refusal("text", "a query at the end", repr(query), cure)
    for pair in pairs:
        if len(pair) != 2 or set(pair) - set(LETTERS):
            raise refusal("text", "pairs of two letters of a to h", repr(pair))
    if len(pairs) > 16:
        raise refusal("text", "at most 16 pairs", f"{len(pairs)}", "leave some out")
    ids = torch.tensor([[LETTERS.index(c) for c in pair] for pair in pairs], dtype=torch.int64)
    ids = ids.view(1, -1, 2)
    return ids[..., 0], ids[..., 1], torch.tensor([LETTERS.index(query)])


def fine_tuning_batch(table, generator, batch_size=64):
    """Single pairs of one rule with the blank in front, ids (B, 3): the fine-tuning of A54."""
    keys = torch.randint(N, (batch_size, 1), generator=generator, device=table.device)
    task = torch.full((batch_size,), BLANK, device=table.device)
    return stream(task, keys, table[keys])
