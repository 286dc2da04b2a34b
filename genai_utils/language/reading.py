"""A small GPT that answers from passages and cites them, and what it and its encoder train on.

    [1] ravi owns a goat . [2] ravi works as a baker . what is the job of ravi ? = baker [2]

Both train on worlds drawn anew for every text, so that no fact can be learned by heart: where its
passages say nothing, a reader can only guess. Symbols: B texts, T tokens, K passages at most.

Source: after Lewis et al. 2020; lecture item A65.
"""

import torch

from genai_utils.inputs import number, refusal, texts, whole
from genai_utils.training.batches import derive_seed

from .fact_world import (
    ASKED_IDS,
    END,
    FIRST_PERSON,
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
from .sampling import generate
from .tokens import IGNORE

COUNTS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # passages of a batch, each of these alike


class ReadingBatches:
    """What a reader trains on: `batches(step)` is (ids, targets), (B, T) each, of seed and step.

    Each text has a world of its own: K passages, one of which answers the question, and the
    question; asked for are the answer, the number of its passage and <end>. Four in five of the
    others tell something else of the person who is asked about, or the same of somebody else.
    Without a passage the answer is the person's value in that text's world, which nobody can know.
    passages: K, the same in all texts of a batch; None: drawn anew for each step, from 0 to 4.
    unknown: the share of texts whose right passage is replaced by another one; there the answer is
    "unknown", and no number follows. If it is above 0, so it is where there is no passage.
    """

    def __init__(self, batch_size, unknown=0.0, passages=None, seed=0, device="cpu"):
        self.batch_size = whole(batch_size, "batch_size")
        self.unknown = number(unknown, "unknown", least=0, most=1)
        self.passages = passages if passages is None else whole(passages, "passages", 0, MOST)
        self.seed, self.device = whole(seed, "seed", least=None), torch.device(device)
        self.generator = torch.Generator(self.device)
        self.told, self.asked = TOLD_IDS.to(self.device), ASKED_IDS.to(self.device)

    def __repr__(self):
        return (
            f"ReadingBatches({self.batch_size}, unknown={self.unknown}, "
            f"passages={self.passages}, seed={self.seed})"
        )

    def describe(self):
        return {"batches": repr(self)}

    def __call__(self, step):
        seed = derive_seed(self.seed, "reading", int(step))
        count = COUNTS[seed % len(COUNTS)] if self.passages is None else self.passages
        B, K, device = self.batch_size, max(count, 1), self.device
        on = {"generator": self.generator.manual_seed(seed), "device": device}
        draw = lambda most, *shape: torch.randint(most, shape, **on)  # noqa: E731
        who, what = draw(len(PEOPLE), B), draw(len(RELATIONS), B)
        # Hard to tell apart, or a reader would learn to look at the person alone, or the relation.
        kind = draw(5, B, K) // 2  # 0: the same person; 1: the same relation; 2: neither
        step_who, step_what = 1 + draw(len(PEOPLE) - 1, B, K), 1 + draw(len(RELATIONS) - 1, B, K)
        person = (who[:, None] + step_who.masked_fill(kind == 0, 0)) % len(PEOPLE)
        relation = (what[:, None] + step_what.masked_fill(kind == 1, 0)) % len(RELATIONS)
        value, wording, right = draw(M, B, K), draw(WORDINGS, B, K), draw(K, B)
        known = torch.rand(B, **on) >= self.unknown
        here = (torch.arange(K, device=device) == right[:, None]) & known[:, None]  # it answers
        person = torch.where(here, who[:, None], person)
        relation = torch.where(here, what[:, None], relation)
        passages = _lines(self.told[relation, wording], person, relation, value)
        tags = 1 + torch.arange(K, device=device).expand(B, K)
        passages = torch.cat([tags[..., None], passages], -1)[:, :count]  # (B, K or 0, …)
        asked = _lines(self.asked[what, draw(WORDINGS, B)], who, what, what)
        known = known & (count > 0)
        silent = ~known & (self.unknown > 0)
        own = FIRST_VALUE + what * M + value.gather(1, right[:, None])[:, 0]
        answer = torch.where(silent, INDEX[UNKNOWN], own)
        cite = torch.where(known, 1 + right, END)
        last = torch.stack([torch.full_like(answer, INDEX["="]), answer, cite], 1)
        ids = torch.cat([passages.flatten(1), asked, last], 1)  # (B, …), with gaps
        gaps = (ids == END).to(torch.int8)
        ids = ids.gather(1, gaps.argsort(dim=1, stable=True))  # the gaps to the end
        ids = torch.cat([ids, torch.full_like(ids[:, :1], END)], 1)
        seen = (ids == INDEX["="]).cumsum(1) > 0  # from "=" on
        length = (ids != END).sum(1, keepdim=True)
        wanted = seen[:, :-1] & (torch.arange(ids.shape[1] - 1, device=device) < length)
        return ids[:, :-1], ids[:, 1:].masked_fill(~wanted, IGNORE)


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
        for ids, row in zip(part, generate(model, part, 2, temperature=0.0, stop=END), strict=True):
            words = decode(row[len(ids) :]).split()
            cited = TAGS.index(words[1]) if words[1:] and words[1] in TAGS else None
            here = len(passages[len(found)])
            found.append((words[0] if words else "", cited if (cited or 0) < here else None))
    return found
