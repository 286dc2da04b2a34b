"""Draft, criticise, revise: a model that reads its own answer against written rules.

The task is chapter 14's: a review of a film. What a review must keep to is written down, and a
formula finds each fault, so that a critique can be checked:

    blame X      X is a word of blame: say it kindly or not at all
    missing X    the aspect X was asked for, and nothing is said of it
    beside X     the aspect X was not asked for
    twice X      X was said before
    broken .     some words stand in no sentence

One GPT plays all three parts, one after the other, in one text:

    review aurora : plot and music > DRAFT <end> critique … <end> revision … <end>

Source: Bai et al. 2022 (constitutional AI, section 3); Madaan et al. 2023; Nair et al. 2023 (DERA);
lecture item A66.
"""

import random
from typing import NamedTuple

import torch

from genai_utils.inputs import refusal, texts, whole
from genai_utils.training.batches import derive_seed

from . import reviews
from .reviews import ANSWER, ASPECTS, BLAME, END, OPPOSITE, PRAISE, PROMPT, VALUE
from .rlhf import answer_targets
from .sampling import generate
from .tokens import IGNORE

RULES = ("blame", "missing", "beside", "twice", "broken")
CRITIQUE, REVISION, FINE = "critique", "revision", "fine"
WORDS = (*reviews.WORDS, CRITIQUE, REVISION, FINE, *RULES)
INDEX = {word: i for i, word in enumerate(WORDS)}
VOCABULARY = len(WORDS)
MOST = {"draft": ANSWER, CRITIQUE: 15, REVISION: ANSWER}  # tokens, <end> included
CONTEXT = PROMPT + sum(MOST.values()) + 2


def encode(text):
    """The ids of a text, (T,) int64. Raises ValueError for a word of another world."""
    unknown = [word for word in text.split() if word not in INDEX]
    if unknown:
        raise refusal("text", "words of this world", repr(unknown[0]), "see self_critique.WORDS")
    return torch.tensor([INDEX[word] for word in text.split()], dtype=torch.int64)


def decode(ids):
    """The text of ids (T,), up to the first <end>."""
    words = [WORDS[i] for i in torch.as_tensor(ids).tolist()]
    return " ".join(words[: words.index("<end>")] if "<end>" in words else words)


def faults(prompt, review):
    """All faults of a review, by the rules at the head of this file: ["blame dull", …].

    prompt: as of `reviews.wish`. In the order of the rules, then of the words.
    Raises ValueError for a prompt that does not ask for a review.
    """
    asked = prompt.split()
    if len(asked) != PROMPT or asked[0] != "review":
        raise refusal("prompt", '"review TITLE : ASPECT and ASPECT >"', repr(prompt[:60]))
    wanted, words = (asked[3], asked[5]), review.split()
    told = [word for word in words if word in VALUE or word in ASPECTS]
    found = [f"blame {word}" for word in dict.fromkeys(told) if word in BLAME]
    found += [f"missing {aspect}" for aspect in wanted if aspect not in told]
    found += [f"beside {w}" for w in dict.fromkeys(told) if w in ASPECTS and w not in wanted]
    found += [f"twice {word}" for word in dict.fromkeys(told) if told.count(word) > 1]
    broken = len(words) - reviews.well_formed(words)
    return found + ["broken ."] * (broken > 0)


def critique(prompt, review):
    """What a critic who knows the rules writes: the faults, or "fine"."""
    return " ".join(faults(prompt, review)[: (MOST[CRITIQUE] - 1) // 2]) or FINE


def revision(prompt, review, rng):
    """What an editor makes of a draft: as much of it as the rules leave, and what is missing."""
    asked = prompt.split()
    kept, used = {}, set()
    for sentence in review.split(" ."):
        words = sentence.split()
        subject = next((w for w in words if w in ASPECTS), None)
        told = [OPPOSITE[w] if w in BLAME else w for w in words if w in VALUE]
        told = [w for w in dict.fromkeys(told) if w not in used]
        if subject in kept or subject not in (asked[3], asked[5]) or not told:
            continue
        kept[subject] = told
        used.update(told)
    for aspect in (asked[3], asked[5]):
        if aspect not in kept:
            kept[aspect] = [rng.choice([w for w in PRAISE if w not in used])]
            used.update(kept[aspect])
    return " ".join(f"the {a} was {' and '.join(kept[a])} ." for a in (asked[3], asked[5]))


def demonstrations(n, prompts, seed=0):
    """n texts of draft, critique and revision: (ids, targets), both (n, T), for `GPT.loss`.

    Drafts are those of chapter 14's crowd; critic and editor know the rules. All three parts count,
    the prompt and the words "critique" and "revision" do not.
    """
    prompts, rng = texts(prompts, "prompts"), random.Random(derive_seed(seed, "critiques"))
    ids = torch.full((whole(n, "n"), CONTEXT), END)
    targets = torch.full_like(ids, IGNORE)
    for row, wanted in zip(ids, targets, strict=True):
        prompt = rng.choice(prompts)
        draft = reviews.review(rng, prompt)
        parts = (
            (prompt, f"{draft} <end>"),
            (CRITIQUE, f"{critique(prompt, draft)} <end>"),
            (REVISION, f"{revision(prompt, draft, rng)} <end>"),
        )
        t = 0
        for given, written in parts:
            for text, counts in ((given, False), (written, True)):
                piece = encode(text)
                row[t : t + len(piece)] = piece
                if counts:
                    wanted[t : t + len(piece)] = piece
                t += len(piece)
    return ids[:, :-1], targets[:, 1:]


class Part(NamedTuple):
    """What a model wrote: texts, and how many tokens each took, <end> included."""

    texts: list[str]
    tokens: list[int]


def write(model, begun, most, generator=None, temperature=1.0):
    """What a model writes on from texts that have begun, each up to <end>: a `Part`."""
    device = next(model.parameters()).device
    prompts = [encode(text).to(device) for text in texts(begun, "begun")]
    rows = generate(model, prompts, most, temperature, generator=generator, stop=END)
    own = [row[len(start) :] for row, start in zip(rows, prompts, strict=True)]
    return Part([decode(ids) for ids in own], [len(ids) for ids in own])


def drafts(model, prompts, generator=None):
    """A draft for each prompt, at temperature 1."""
    return write(model, prompts, MOST["draft"], generator)


def criticise(model, prompts, drafted, generator=None):
    """What a model says against each draft; the likeliest words."""
    begun = [f"{p} {d} <end> {CRITIQUE}" for p, d in zip(prompts, drafted, strict=True)]
    return write(model, begun, MOST[CRITIQUE], generator, 0.0)


def revise(model, prompts, drafted, critiques, generator=None):
    """What a model makes of each draft, having read what was said against it."""
    begun = [
        f"{p} {d} <end> {CRITIQUE} {c} <end> {REVISION}"
        for p, d, c in zip(prompts, drafted, critiques, strict=True)
    ]
    return write(model, begun, MOST[REVISION], generator)


def resample(model, prompts, budget, critic=None, generator=None):
    """Drafts until the budget of tokens is spent, and the one that is kept of each: a `Part`.

    budget: tokens for each prompt, such as draft, critique and revision took. Another draft is
    drawn while at least half of what one has cost so far is left, so that on the whole as much is
    spent as there is. critic(prompts, drafts) -> a `Part`, whose tokens count too: the draft
    against which it says least is kept, of equal ones the first. None: the true number of faults
    decides, for which nothing is paid: no critic can do better.
    """
    n = len(prompts)
    best, spent, drawn, least = [""] * n, [0] * n, [0] * n, [None] * n

    def affordable(i):
        return budget[i] > 0 and (not drawn[i] or budget[i] - spent[i] >= spent[i] / drawn[i] / 2)

    while left := [i for i in range(n) if affordable(i)]:
        asked = [prompts[i] for i in left]
        new = drafts(model, asked, generator)
        said = critic(asked, new.texts) if critic else None
        for k, i in enumerate(left):
            spent[i] += new.tokens[k] + (said.tokens[k] if said else 0)
            drawn[i] += 1
            text = said.texts[k] if said else critique(asked[k], new.texts[k])
            against = 0 if text == FINE else 1 + len(text.split())
            if least[i] is None or against < least[i]:
                best[i], least[i] = new.texts[k], against
    return Part(best, spent)


def without_critique(prompts, revised):
    """Texts of a prompt and a finished revision, (ids, targets): to write it at once (SL-CAI)."""
    rows = [encode(f"{p} {r} <end>") for p, r in zip(prompts, revised, strict=True)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=END)
    return answer_targets(ids, PROMPT, END)
