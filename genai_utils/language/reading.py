"""A small GPT that answers from passages and cites them, and what it and its encoder train on.

    [1] ravi owns a goat . [2] ravi works as a baker . what is the job of ravi ?
        = work ravi [2] baker

It says first what is asked of whom, then which passage tells it, then the answer: steps written
down, as in a chain of thought.
Both train on worlds drawn anew for every text, so that no fact can be learned by heart: where its
passages say nothing, a reader can only guess. Symbols: B texts, T tokens, K passages at most.

Source: after Lewis et al. 2020; lecture item A65.
"""

import torch
import torch.nn.functional as F

from genai_utils.inputs import number, refusal, texts, whole
from genai_utils.training.batches import derive_seed
from genai_utils.training.optimizers import muon_groups

from .bi_encoder import PAD
from .fact_world import (
    ASKED_IDS,
    END,
    FIRST_PERSON,
    FIRST_RELATION,
    FIRST_VALUE,
    INDEX,
    MOST,
    PEOPLE,
    PERSON,
    RELATIONS,
    TAGS,
    TOLD_IDS,
    UNKNOWN,
    VALUE,
    WORDINGS,
    M,
    decode,
    encode,
)
from .prompting import wider_start
from .sampling import generate
from .tokens import IGNORE

COUNTS = (0, 1, 2, 2, 3, 3, 4, 4, 4, 4)  # passages of a batch, each of these alike
STOP = -3  # an <end> that is said, while END still fills gaps
CELLS = 2 * len(RELATIONS)  # of facts of a text's world: all relations of two people,
ALIKE = 0.5  # or, in this share of the texts, one relation of ten people


class ReadingBatches:
    """What a reader trains on: `batches(step)` is (ids, targets), (B, T) each, of seed and step.

    Each text has a world of its own: K different facts, then questions, each followed by four
    words, which are asked for: the relation and the person it is about, the number of the passage
    that tells it, and the answer. The facts are of two people; or, in a share `ALIKE` of the texts,
    of one relation of different people, so that nothing but the name tells them apart. Without a
    passage the answer, in place of the number, is the person's value in that text's world, which
    nobody can know; <end> follows.
    passages: K, the same in all texts of a batch; None: drawn anew for each step, from 0 to 4.
    questions: how many a text has; None: one about each passage, in any order.
    unknown: the share of questions about a fact that no passage tells; there "unknown" is in place
    of the number, then <end>. If it is above 0, so it is where there is no passage.
    ramp: steps before the first question whose passage is missing: it learns first to read.
    near: the share of the texts whose facts are all of one person, a missing one too, as a search
    by a name brings them: nothing but the relation tells them apart. It is taken from both kinds.
    """

    def __init__(self, batch_size, unknown=0.0, passages=None, questions=None, ramp=0, seed=0,
                 device="cpu", near=0.0):  # fmt: skip
        self.batch_size = whole(batch_size, "batch_size")
        self.unknown = number(unknown, "unknown", least=0, most=1)
        self.passages = passages if passages is None else whole(passages, "passages", 0, MOST)
        self.questions = questions if questions is None else whole(questions, "questions", 1, MOST)
        self.ramp = whole(ramp, "ramp", least=0)
        self.near = number(near, "near", least=0, most=1)
        self.seed, self.device = whole(seed, "seed", least=None), torch.device(device)
        self.generator = torch.Generator(self.device)
        self.told, self.asked = TOLD_IDS.to(self.device), ASKED_IDS.to(self.device)

    def __repr__(self):
        return (
            f"ReadingBatches({self.batch_size}, unknown={self.unknown}, "
            f"passages={self.passages}, questions={self.questions}, ramp={self.ramp}, "
            f"seed={self.seed}, near={self.near})"
        )

    def describe(self):
        return {"batches": repr(self)}

    def __call__(self, step):
        seed = derive_seed(self.seed, "reading", int(step))
        count = COUNTS[seed % len(COUNTS)] if self.passages is None else self.passages
        B, K, device = self.batch_size, max(count, 1), self.device
        Q = self.questions or K
        unknown = self.unknown if step >= self.ramp else 0.0
        on = {"generator": self.generator.manual_seed(seed), "device": device}
        draw = lambda most, *shape: torch.randint(most, shape, **on)  # noqa: E731
        deal = lambda most: torch.rand(B, most, **on).argsort(1)  # noqa: E731
        cells = deal(CELLS)  # facts of the text's world; the first `count` are told
        kind = torch.rand(B, 1, **on)
        share = self.near if step >= self.ramp else 0.0
        near, alike = kind >= 1 - share, kind < ALIKE * (1 - share)
        first = (cells >= len(RELATIONS)).to(torch.int8).argsort(dim=1, stable=True)
        cells = torch.where(near, cells.gather(1, first), cells)  # one person's, then the other's
        person = deal(len(PEOPLE)).gather(
            1, torch.where(alike, cells, cells // len(RELATIONS))
        )  # (B, 9)
        relation = torch.where(alike, cells[:, :1], cells) % len(RELATIONS)
        value = draw(M, B, CELLS)

        tags = 1 + torch.arange(count, device=device).expand(B, count)
        wording = self.told[relation, draw(WORDINGS, B, CELLS)]
        told = _lines(wording, person, relation, value)[:, :count]
        told = torch.cat([tags[..., None], told], -1).flatten(1)  # (B, …), with gaps

        right = deal(K)[:, torch.arange(Q, device=device) % K]  # (B, Q): whose passage answers
        known = (torch.rand(B, Q, **on) >= unknown) & (count > 0)
        other = draw(CELLS - count, B, Q)
        other = torch.where(near, other % (len(RELATIONS) - count), other)
        place = torch.where(known, right, count + other)
        who, what, own = (x.gather(1, place) for x in (person, relation, value))
        question = _lines(self.asked[what, draw(WORDINGS, B, Q)], who, what, own)
        silent = ~known & (self.unknown > 0)
        answer = torch.where(silent, INDEX[UNKNOWN], FIRST_VALUE + what * M + own)
        second, third = torch.where(known, 1 + right, answer), torch.where(known, answer, STOP)
        sign = torch.full_like(answer, INDEX["="])
        said = torch.stack([sign, FIRST_RELATION + what, FIRST_PERSON + who, second, third], -1)
        asked = torch.cat([question, said], -1)  # (B, Q, …)
        wanted = torch.zeros_like(asked, dtype=torch.bool)
        wanted[..., -4:] = True

        ids = torch.cat([told, asked.flatten(1)], 1)
        wanted = torch.cat([torch.zeros_like(told, dtype=torch.bool), wanted.flatten(1)], 1)
        order = (ids == END).to(torch.int8).argsort(dim=1, stable=True)  # the gaps to the end
        ids, wanted = ids.gather(1, order), wanted.gather(1, order)
        ids = ids.masked_fill(ids == STOP, END)
        return ids[:, :-1], ids[:, 1:].masked_fill(~wanted[:, 1:], IGNORE)


def _lines(wording, person, relation, value):
    """Wordings (…, LONGEST) with the ids of the person and of the value in their places."""
    person, value = FIRST_PERSON + person, FIRST_VALUE + relation * M + value
    wording = torch.where(wording == PERSON, person[..., None], wording)
    return torch.where(wording == VALUE, value[..., None], wording)


class PairBatches:
    """Questions and the sentences that answer them: `batches(step)`, two (B, LONGEST) of ids.

    What the encoder trains on: each pair has a world of its own, and nothing is in it twice. Full
    stops and question marks are left out, as a search does; -1 where there is no more.
    """

    def __init__(self, batch_size, seed=0, device="cpu"):
        self.batch_size = whole(batch_size, "batch_size", most=len(PEOPLE) * len(RELATIONS))
        self.seed, self.device = whole(seed, "seed", least=None), torch.device(device)
        self.generator = torch.Generator(self.device)
        self.told, self.asked = TOLD_IDS.to(self.device), ASKED_IDS.to(self.device)

    def __repr__(self):
        return f"PairBatches({self.batch_size}, seed={self.seed})"

    def describe(self):
        return {"batches": repr(self)}

    def __call__(self, step):
        B, on = self.batch_size, {"generator": self.generator, "device": self.device}
        self.generator.manual_seed(derive_seed(self.seed, "pairs", int(step)))
        fact = torch.randperm(len(PEOPLE) * len(RELATIONS), **on)[:B]  # nobody is asked twice
        who, what = fact // len(RELATIONS), fact % len(RELATIONS)
        value = torch.randint(M, (B,), **on)
        told, asked = (torch.randint(WORDINGS, (B,), **on) for _ in range(2))
        passages = _lines(self.told[what, told], who, what, value)
        questions = _lines(self.asked[what, asked], who, what, value)
        return tuple(
            ids.masked_fill((ids == END) | (ids == INDEX["."]) | (ids == INDEX["?"]), -1)
            for ids in (questions, passages)
        )


def reader_start(model, encoder=None):
    """Makes the first weights of a small GPT those of a reader, in place; returns the model.

    To read is to find a word of the question again in a passage, and to stay inside a sentence.
    Three things make both likely from the start, and nothing forbids the training to undo them:
    `prompting.wider_start`; places of sines and cosines, the slowest of which turns by about one
    radian over the whole context, so that near ones are alike; and in every layer but the first,
    keys of half the heads that are their queries, W_k = W_q, so that a word scores high where it
    stands again.
    encoder: a trained `BiEncoder` with as many numbers as the model. Then each token begins with
    the vector of its word times the word's weight, and a relation, a word that stands in no text,
    with the mean of its questions. So what is alike for the search is alike for the reader, and
    what is asked finds the wording that tells it. They are made as long as the tokens of
    `wider_start`, in the mean.
    Raises ValueError for an encoder of another shape.
    Source of the keys: Trockman & Kolter 2023 (mimetic initialisation).
    """
    wider_start(model)
    T, d = model.positions.weight.shape
    angle = torch.arange(T)[:, None] / T ** (torch.arange(0, d, 2) / d)
    tokens = model.tokens.weight  # (V, d)
    with torch.no_grad():
        if encoder is not None:
            vectors = _search_vectors(encoder).to(tokens)
            if vectors.shape != tokens.shape:
                shapes = (f"vectors of shape {tuple(s)}" for s in (tokens.shape, vectors.shape))
                raise refusal("encoder", *shapes)
            tokens.copy_(vectors * tokens.norm(dim=1).mean() / vectors.norm(dim=1).mean())
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)  # (T, d)
        model.positions.weight.copy_(0.7 * waves)
        for block in model.blocks[1:]:
            query, key, _ = block.attention.qkv.weight.split(d)
            key[: d // 2] = query[: d // 2]
    return model


def _search_vectors(encoder):
    """What an encoder knows of each word, (V, d): its vector times its weight.

    A relation is a word that it never met: the mean vector of its questions, of the mean length.
    """
    vectors = (encoder.weights.weight.exp() * encoder.vectors.weight).detach().cpu()
    asked = ASKED_IDS.masked_fill((ASKED_IDS <= END) | (INDEX["?"] == ASKED_IDS), PAD)
    means = encoder.encode(asked.flatten(0, 1)).unflatten(0, asked.shape[:2]).mean(1)  # (R, d)
    length = vectors.norm(dim=1).mean()
    vectors[FIRST_RELATION : FIRST_RELATION + len(RELATIONS)] = length * F.normalize(means, dim=1)
    return vectors


def reader_groups(model, lr):
    """The groups of `Muon` for a reader: tokens and places move half as fast as the matrices.

    What looks a name up can follow its vector then.
    """
    matrices, rest = muon_groups(model, model.blocks)
    return [matrices, {**rest, "lr": lr / 2}]


def reader_prompt(asked, passages):
    """What the reader is given: "[1] first passage [2] second passage question =".

    Raises ValueError for more than K passages, and for words of another world.
    """
    passages = texts(passages, "passages")
    if len(passages) > MOST:
        raise refusal("passages", f"at most {MOST}", f"{len(passages)}", "hand over the best ones")
    parts = [f"{tag} {text}" for tag, text in zip(TAGS, passages, strict=False)]
    return " ".join([*parts, asked, "="])


def read(model, asked, passages):
    """What a reader answers to questions from their passages: [(answer, number of its passage)].

    asked: n texts; passages: n lists of at most K texts. The number counts from 0; None where the
    reader cites nothing, or a passage that is not there. It takes the likeliest token each time.
    """
    device = next(model.parameters()).device
    prompts = [encode(reader_prompt(a, p)).to(device) for a, p in zip(asked, passages, strict=True)]
    found = []
    for start in range(0, len(prompts), 512):
        part = prompts[start : start + 512]
        for ids, row in zip(part, generate(model, part, 4, temperature=0.0, stop=END), strict=True):
            words = [*decode(row[len(ids) :]).split(), "", "", ""]
            cited = TAGS.index(words[2]) if words[2] in TAGS else None
            word = words[2] if cited is None else words[3]
            here = len(passages[len(found)])
            found.append((word, cited if (cited or 0) < here else None))
    return found
