"""A tiny world of letters in which one small GPT can walk from GPT-1's rung to GPT-4's.

Everything is text of lower-case letters, one document per line: sentences, tasks with their name
in front, a task shown by examples only, and instructions. Chapter 18 closes with it.

Source: lecture item A43.
"""

import random
from itertools import product

import torch
from torch import nn

from genai_utils.inputs import texts, whole

from .sampling import generate
from .tokenizer import CharTokenizer

LETTERS = "abcdefgh"
TOKENIZER = CharTokenizer("\nabcdefghijklmnopqrstuvwxyz ,:>")
END = 0  # the end of a line, which is the end of a document

TASKS = {  # name -> what it does to a word
    "copy": lambda word: word,
    "reverse": lambda word: word[::-1],
    "sort": lambda word: "".join(sorted(word)),
    "shift": lambda word: "".join(LETTERS[(LETTERS.index(c) + 1) % 8] for c in word),
}
PHRASES = {  # the same tasks as people would ask for them
    "copy": "say {} again",
    "reverse": "turn {} around",
    "sort": "put {} in order",
    "shift": "move {} on by one",
}


def word(rng, low=3, high=5):
    """Random letters a to h, from `low` to `high` of them. rng: a random.Random."""
    return "".join(rng.choices(LETTERS, k=rng.randint(low, high)))


class Sentences:
    """Rung 1, unlabelled text: a chain of words, each followed by one of three, about a name.

    sentence(rng): "cab edge hag, fee cab hag, …", in which "hag" is a random name that returns.
    """

    def __init__(self, words=60, seed=0):
        rng = random.Random(seed)
        self.words = [word(rng, 2, 5) for _ in range(words)]
        self.next = [rng.sample(range(words), 3) for _ in range(words)]

    def sentence(self, rng):
        name, now, parts = word(rng, 3, 5), rng.randrange(len(self.words)), []
        for _ in range(3):
            chain = []
            for _ in range(2):
                chain.append(self.words[now])
                now = rng.choices(self.next[now], [4, 2, 1])[0]
            parts.append(" ".join([*chain, name]))
        return ", ".join(parts) + "\n"


def task(rng, name=None):
    """Rung 2: the task's name, a word, and the answer: "reverse:cab>bac"."""
    name = rng.choice(list(TASKS)) if name is None else name
    w = word(rng)
    return f"{name}:{w}>{TASKS[name](w)}\n"


def examples(rng, pairs=16, shown=None, right=0.7):
    """Rung 3: letters and their labels, "c>x,a>x,f>s,…": a label is the secret letter or noise.

    Each document has a secret letter of s to z, which is nowhere named. An example shows it with
    probability `right`, else any of the eight. shown=k: returns (prompt, secret), the prompt
    with k examples and one more letter to be labelled, instead of the text.
    """
    labels = "stuvwxyz"
    secret = rng.choice(labels)

    def example():
        label = secret if rng.random() < right else rng.choice(labels)
        return f"{rng.choice(LETTERS)}>{label}"

    if shown is None:
        return ",".join(example() for _ in range(pairs)) + "\n"
    shots = [example() + "," for _ in range(shown)]
    return "\n" + "".join(shots) + rng.choice(LETTERS) + ">", secret


def instruction(rng, name=None):
    """Rung 4: a task as a person would ask for it: "turn cab around>bac"."""
    name = rng.choice(list(PHRASES)) if name is None else name
    w = word(rng)
    return f"{PHRASES[name].format(w)}>{TASKS[name](w)}\n"


def wish(rng):
    """Rung 4, with many right answers: "a word with c>", a word of 2 to 6 letters that has it."""
    letter, w = rng.choice(LETTERS), list(word(rng, 2, 6))
    w[rng.randrange(len(w))] = letter
    return f"a word with {letter}>{''.join(w)}\n"


class Dictionary:
    """Rung 5, knowledge: keys of four letters, each with three letters that nobody can guess.

    line(rng): "know dgab>hce". keys: how many there are, up to 4,096.
    """

    def __init__(self, keys=1000, seed=0):
        rng, every = random.Random(seed), ["".join(k) for k in product(LETTERS, repeat=4)]
        self.values = {k: word(rng, 3, 3) for k in rng.sample(every, whole(keys, "keys", 1, 4096))}
        self.keys = list(self.values)

    def line(self, rng):
        key = rng.choice(self.keys)
        return f"know {key}>{self.values[key]}\n"


def preference(letter, answer, repeat=2.0):
    """What people like in the answer to such a wish: +1 for a letter, -`repeat` for each repeat.

    An answer without the wished letter, or with anything but the letters a to h, is worth -3.
    """
    if letter not in answer or set(answer) - set(LETTERS):
        return -3.0
    return float(len(answer) - repeat * (len(answer) - len(set(answer))))


def stream(lines):
    """One sequence of ids from lines of text, (n,) int64."""
    return TOKENIZER.encode("".join(lines))


def answers(model, prompts, most=8, temperature=0.0, generator=None):
    """The model's answers to prompts that end in ">", up to the end of the line.

    Prompts of different lengths go together. temperature 0 takes the best character.
    Returns ids (N, L), filled up with ends of line, start (N,): where each answer begins, and the
    answers as strings. Raises TypeError or ValueError as `sampling.generate` does.
    """
    device = next(model.parameters()).device
    encoded = [TOKENIZER.encode(prompt).to(device) for prompt in texts(prompts, "prompts")]
    written = generate(model, encoded, most, temperature, generator=generator, stop=END)
    start = torch.tensor([len(ids) for ids in encoded], device=device)
    said = [
        TOKENIZER.decode(ids[n:]).rstrip("\n")
        for ids, n in zip(written, start.tolist(), strict=True)
    ]
    return nn.utils.rnn.pad_sequence(written, batch_first=True, padding_value=END), start, said
