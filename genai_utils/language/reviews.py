"""A world of film reviews: raw text, instructions with one right answer, and a judge of reviews.

A vocabulary of whole words, so that a review is some twenty tokens. The judge is a formula: it is
the gold standard that people are in reality. It puts answers into an order for the reward model,
and it judges a trained policy; no step of a policy's training asks it.

Source: lecture items A56 to A58; after Stiennon et al. 2020 and Gao et al. 2023.
"""

import random

import torch

from genai_utils.inputs import kind_of, one_of, refusal, texts

from .sampling import generate

TITLES = (
    "aurora", "harbour", "meridian", "nightfall", "orchard", "paperboy", "quarry", "riverside",
    "saltwater", "tanager", "umbra", "voyager", "winterlight", "zephyr", "hollow", "ember",
)  # fmt: skip
ASPECTS = ("plot", "cast", "music", "ending", "pace", "dialogue", "camera", "humour")
PRAISE = ("superb", "brilliant", "moving", "good", "fresh", "funny", "warm", "clever")
BLAME = ("awful", "clumsy", "dull", "bad", "stale", "dreary", "cold", "silly")  # the opposites
OPPOSITE = dict(zip(PRAISE + BLAME, BLAME + PRAISE, strict=True))
VALUE = {word: 2 if i < 3 else 1 for i, word in enumerate(PRAISE)}
VALUE |= {OPPOSITE[word]: -value for word, value in list(VALUE.items())}

END = 0  # the end of an answer, and of a document
TASKS = {  # name -> what it does to a list of words
    "repeat": lambda words: words,
    "reverse": lambda words: words[::-1],
    "first": lambda words: words[:1],
    "last": lambda words: words[-1:],
    "opposite": lambda words: [OPPOSITE[word] for word in words],
}
WORDS = (
    "<end>", "the", "was", "is", "a", "film", "and", ".", ":", ">", "review", *TASKS,
    *TITLES, *ASPECTS, *PRAISE, *BLAME,
)  # fmt: skip
INDEX = {word: i for i, word in enumerate(WORDS)}
PROMPT = 7  # tokens of "review aurora : plot and music >"
ANSWER = 24  # tokens of an answer, at most, <end> included


def encode(text):
    """The ids of a text of words and signs with a blank between each two, (T,) int64."""
    unknown = [word for word in text.split() if word not in INDEX]
    if unknown:
        raise refusal("text", "words of this world", repr(unknown[0]), "see reviews.WORDS")
    return torch.tensor([INDEX[word] for word in text.split()])


def decode(ids):
    """The text of ids (T,), up to the first <end>."""
    words = [WORDS[i] for i in torch.as_tensor(ids).tolist()]
    return " ".join(words[: words.index("<end>")] if "<end>" in words else words)


def some_words(rng, task):
    """Words for a task: 2 or 3 of any kind, or of praise and blame where opposites are asked."""
    kind = PRAISE + BLAME if task == "opposite" else PRAISE + BLAME + ASPECTS
    return rng.sample(kind, rng.randint(2, 3))


def instruction(rng, task=None):
    """(prompt, answer): "reverse : plot dull music >", "music dull plot". rng: a random.Random."""
    task = rng.choice(list(TASKS)) if task is None else one_of(task, "task", TASKS)
    words = some_words(rng, task)
    return f"{task} : {' '.join(words)} >", " ".join(TASKS[task](words))


def wish(rng):
    """The prompt for a review: "review aurora : plot and music >"."""
    first, second = rng.sample(ASPECTS, 2)
    return f"review {rng.choice(TITLES)} : {first} and {second} >"


def sentence(rng, subject):
    """ "the plot was dull ." or "the plot was dull and superb ." """
    words = rng.sample(PRAISE + BLAME, rng.choice((1, 1, 2)))
    return f"the {subject} was {' and '.join(words)} ."


def review(rng, prompt):
    """What a demonstrator writes, who praises and blames alike, and forgets an aspect at times."""
    _, title, _, first, _, second, _ = prompt.split()
    parts = [sentence(rng, aspect) for aspect in (first, second) if rng.random() < 0.8]
    if rng.random() < 0.3 or not parts:
        parts.insert(0, f"{title} is a {rng.choice(PRAISE + BLAME)} film .")
    if rng.random() < 0.2:
        parts.append(sentence(rng, rng.choice(ASPECTS)))
    while len(" ".join(parts).split()) >= ANSWER:  # <end> needs a place too
        parts.pop()
    return " ".join(parts)


def raw_text(rng):
    """A document as one finds them: talk about a film, or a list of tasks without answers."""
    if rng.random() < 0.5:
        return " ".join(instruction(rng)[0] for _ in range(rng.randint(2, 4))) + " <end>"
    title = rng.choice(TITLES)
    parts = [f"{title} is a {rng.choice(PRAISE + BLAME)} film ."]
    parts += [sentence(rng, rng.choice(ASPECTS)) for _ in range(rng.randint(1, 4))]
    return " ".join(parts) + " <end>"


def well_formed(words):
    """How many of these words stand in sentences of this world; words: a list without <end>."""
    good, now = 0, []
    for word in words:
        now.append(word)
        if word == ".":
            good += len(now) if _is_sentence(now) else 0
            now = []
    return good


def _is_sentence(words):
    match words:
        case [title, "is", "a", word, "film", "."]:
            return title in TITLES and word in VALUE
        case ["the", aspect, "was", word, "."]:
            return aspect in ASPECTS and word in VALUE
        case ["the", aspect, "was", word, "and", other, "."]:
            return aspect in ASPECTS and word in VALUE and other in VALUE
    return False


def gold(prompt, answer):
    """What a review is worth to our people: a formula, in points.

        praise − blame        of the different words, 2 for a strong one, else 1
        + 1                   for each of the two aspects asked for that is spoken of
        − 1                   each time a word of praise, blame or an aspect comes again
        − 1/2                 for each word outside of a sentence of this world
        − 1/4                 for each word after the sixteenth

    prompt: as of `wish`. answer: text; "" is worth 0.
    Raises ValueError for a prompt that does not ask for a review.
    """
    asked = prompt.split()
    if len(asked) != PROMPT or asked[0] != "review" or {asked[3], asked[5]} - set(ASPECTS):
        raise refusal("prompt", '"review TITLE : ASPECT and ASPECT >"', repr(prompt[:60]))
    if not isinstance(answer, str):
        raise refusal("answer", "a text", kind_of(answer), kind=TypeError)
    words = answer.split()
    told = [word for word in words if word in VALUE or word in ASPECTS]
    points = sum(VALUE.get(word, 0) for word in set(told))
    points += sum(aspect in told for aspect in (asked[3], asked[5]))
    points -= len(told) - len(set(told))
    return points - (len(words) - well_formed(words)) / 2 - max(0, len(words) - 16) / 4


def gold_scores(prompts, answers):
    """`gold` of each pair, a tensor (n,). Raises ValueError where there are not as many of each."""
    prompts, answers = texts(prompts, "prompts"), texts(answers, "answers")
    if len(prompts) != len(answers):
        raise refusal("answers", f"one for each of the {len(prompts)} prompts", len(answers))
    return torch.tensor([gold(p, a) for p, a in zip(prompts, answers, strict=True)])


def every_prompt(seed=0):
    """All prompts for reviews, in an order drawn once: 16 titles with 56 ordered pairs, 896."""
    made = [
        f"review {title} : {a} and {b} >" for title in TITLES for a in ASPECTS for b in ASPECTS
        if a != b
    ]  # fmt: skip
    random.Random(seed).shuffle(made)
    return made


def demonstrations(n, prompts, seed=0, without=()):
    """What people wrote: two tasks for each review. (ids, start): (n, T) and (n,), int64.

    The reviews are for some of the `prompts`; no task is among the prompts of `without`. Texts end
    with <end> and are filled up with it to PROMPT + ANSWER tokens.
    """
    rng, rows, starts, without = random.Random(seed), [], [], set(without)
    while len(rows) < n:
        prompt = rng.choice(prompts)
        answer = review(rng, prompt)
        if len(rows) % 3:
            prompt, answer = instruction(rng)
        if prompt not in without:
            rows.append(encode(f"{prompt} {answer} <end>"))
            starts.append(len(prompt.split()))
    ids = torch.full((n, PROMPT + ANSWER), END)
    for row, text in zip(ids, rows, strict=True):
        row[: len(text)] = text
    return ids, torch.tensor(starts)


def exact_match(model, tasks):
    """The share of tasks, pairs (prompt, answer), that a model answers word for word, by name.

    It takes the likeliest word each time. {task: share}, and "all": the share of all.
    """
    device = next(model.parameters()).device
    prompts = [encode(prompt).to(device) for prompt, _ in tasks]
    found = {}
    written = generate(model, prompts, 8, temperature=0, stop=END)
    for ids, start, (prompt, answer) in zip(written, prompts, tasks, strict=True):
        right = decode(ids[len(start) :]) == answer
        for name in (prompt.split()[0], "all"):
            found.setdefault(name, []).append(right)
    return {name: sum(rights) / len(rights) for name, rights in found.items()}
