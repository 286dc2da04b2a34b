"""Several tasks in one form, text to text: the task, the input, and then the output.

    translation : red cat and black dog = chat rouge et chien noir
    swap : red cat and black dog = black dog and red cat
    qa : what is the capital of norway = oslo
    reading : anna garden . omar cellar . anna garden . where is omar = omar cellar

A language model reads Pr(output | input, task) off the same line of text in each case. The world is
small and its words are real: nouns and adjectives with their French, countries with their capitals,
people in places. Everything that must be known to answer stands in the line, but for `qa`, whose
facts are in no line but their own.

Source: Radford et al. 2019, section 2; Raffel et al. 2020; lecture items A29, A30.
"""

import torch

from genai_utils.inputs import one_of, refusal, texts

from .sampling import generate
from .tokens import IGNORE

FRENCH = {
    "red": "rouge", "black": "noir", "white": "blanc", "green": "vert", "blue": "bleu",
    "grey": "gris", "yellow": "jaune", "brown": "brun", "cat": "chat", "dog": "chien",
    "horse": "cheval", "bird": "oiseau", "book": "livre", "knife": "couteau", "boat": "bateau",
    "hat": "chapeau", "and": "et",
}  # fmt: skip
ADJECTIVES, NOUNS = list(FRENCH)[:8], list(FRENCH)[8:16]
CAPITALS = {
    "norway": "oslo", "italy": "rome", "kenya": "nairobi", "peru": "lima", "japan": "tokyo",
    "egypt": "cairo", "cuba": "havana", "chile": "santiago", "ghana": "accra", "nepal": "kathmandu",
    "greece": "athens", "austria": "vienna", "france": "paris", "spain": "madrid",
    "poland": "warsaw", "canada": "ottawa", "iraq": "baghdad", "ireland": "dublin",
    "iran": "tehran", "mali": "bamako", "oman": "muscat", "qatar": "doha", "libya": "tripoli",
    "finland": "helsinki",
}  # fmt: skip
PEOPLE = ("anna", "omar", "lena", "ravi", "mina", "paul", "sara", "hugo")
PLACES = ("garden", "cellar", "kitchen", "attic", "garage", "hall", "library", "tower")
TASKS = ("translation", "swap", "qa", "reading")
ASKED = ("what is the capital of", "name the capital of", "which country has", "whose capital is")

WORDS = sorted(
    {
        *FRENCH, *FRENCH.values(), *CAPITALS, *CAPITALS.values(), *PEOPLE, *PLACES, *TASKS,
        *" ".join(ASKED).split(), "where", "is", ".", ":", "=",
    }
)  # fmt: skip
END = 0  # the end of a line, and what shorter lines are filled up with
INDEX = {word: i for i, word in enumerate(["\n", *WORDS])}
VOCABULARY = len(INDEX)
CONTEXT = 24


def question(task, rng):
    """An input of a task and its output, two texts. rng: a random.Random.

    Of the inputs of `translation` and `swap` there are 4,096. The document of `reading` has four
    notes on two or three people, each a name and a place; who is noted twice has not moved. There
    are more than a million.
    `qa` has 96: the capital of each of 24 countries and the country of each capital, each asked in
    two wordings.
    """
    one_of(task, "task", TASKS)
    if task == "qa":
        return fact(rng.choice(list(CAPITALS)), rng.randrange(len(ASKED)))
    if task == "reading":
        n = rng.randint(2, 3)
        where = dict(zip(rng.sample(PEOPLE, n), rng.sample(PLACES, n), strict=True))
        noted = [*where, *rng.choices([*where], k=4 - n)]
        rng.shuffle(noted)
        document = " ".join(f"{name} {where[name]} ." for name in noted)
        asked = rng.choice([*where])
        return f"{document} where is {asked}", f"{asked} {where[asked]}"
    (a, m), (b, n) = ((rng.choice(ADJECTIVES), rng.choice(NOUNS)) for _ in range(2))
    if task == "swap":
        return f"{a} {m} and {b} {n}", f"{b} {n} and {a} {m}"
    french = [FRENCH[word] for word in (m, a, "and", n, b)]  # adjectives after their nouns
    return f"{a} {m} and {b} {n}", " ".join(french)


def fact(country, wording):
    """A question of `qa` and its answer. Wordings 0, 1: what is its capital; 2, 3: whose is it."""
    one_of(country, "country", CAPITALS)
    capital, words = CAPITALS[country], ASKED[one_of(wording, "wording", range(len(ASKED)))]
    return (f"{words} {country}", capital) if wording < 2 else (f"{words} {capital}", country)


def line(task, asked, output):
    """The text of one example: "task : input = output"."""
    return f"{task} : {asked} = {output}"


def without_document(asked):
    """The input of `reading` with its document removed: "where is anna"."""
    return asked[asked.rindex("where is") :]


def examples(task, count, rng, avoid=()):
    """`count` pairs (input, output) of a task, none of whose inputs is in `avoid`."""
    found, tries = [], 0
    while len(found) < count:
        pair, tries = question(task, rng), tries + 1
        if pair[0] not in avoid:
            found.append(pair)
        elif tries > 100 * (count + 1):
            raise refusal("avoid", f"inputs of {task} that are left", "next to none")
    return found


def encode(text):
    """The words of a text as numbers, (T,) int64. Raises ValueError for a word it does not know."""
    unknown = [word for word in text.split() if word not in INDEX]
    if unknown:
        raise refusal("text", "words of this small world", repr(unknown[0]), "see WORDS")
    return torch.tensor([INDEX[word] for word in text.split()], dtype=torch.int64)


def decode(ids):
    """The text of numbers, up to the first end of a line."""
    words, names = [], ["\n", *WORDS]
    for i in ids.tolist():
        if i == END:
            break
        words.append(names[i])
    return " ".join(words)


def batch_of(lines, outputs_only=False):
    """What a GPT trains on: (ids, targets), both (B, CONTEXT), lines filled up at their end.

    The targets are all further words of a line and its end: a plain language model. outputs_only:
    only those after "=". Where nothing is asked the target is -100.
    """
    ids = torch.full((len(texts(lines, "lines")), CONTEXT + 1), END)
    targets = torch.full_like(ids, IGNORE)
    for row, text in enumerate(lines):
        words = encode(text)
        if len(words) > CONTEXT:
            raise refusal(f"lines[{row}]", f"at most {CONTEXT} words", f"{len(words)}")
        ids[row, : len(words)] = words
        start = text.split().index("=") + 1 if outputs_only else 1
        targets[row, start : len(words) + 1] = ids[row, start : len(words) + 1]
    return ids[:, :-1], targets[:, 1:]


def outputs(model, prompts, most=8):
    """What a model writes after prompts such as "qa : name the capital of peru =", as texts."""
    device = next(model.parameters()).device
    encoded = [encode(prompt).to(device) for prompt in texts(prompts, "prompts")]
    rows = generate(model, encoded, most, temperature=0.0, stop=END)
    return [decode(row[len(ids) :]) for row, ids in zip(rows, encoded, strict=True)]


def exact_match(model, task, pairs):
    """The share of pairs (input, output) whose output is written word for word, from 0 to 1."""
    said = outputs(model, [line(task, asked, "").rstrip() for asked, _ in pairs])
    return sum(a == b for a, (_, b) in zip(said, pairs, strict=True)) / len(pairs)
