"""Generated arithmetic whose answers can be checked exactly: chains of operations, and sums.

A chain is eight operations one after the other, modulo 10: "4+7*3+9…=". Its answer is a digit, with
or without the value after each operation before it. A sum is of two numbers of three digits,
filled up with zeros: "012+345=". Every line is a question that ends in "=", what is written after
it, and the end of the line.

    line = chain_line(chain(rng), "steps")      # "4+7*3+9=132\\n" (with three operations)
    chain_is_right(line)                        # True: the last digit written is the answer

Source: Wei et al. 2022; Lee et al. 2023; lecture items A52, A53.
"""

import re

import torch

from genai_utils.inputs import one_of, refusal, texts, whole

from .sampling import generate
from .tokenizer import CharTokenizer
from .tokens import IGNORE

TRIGGER = " step by step"  # stands before "=" where the steps are to be written
TOKENIZER = CharTokenizer("\n0123456789+*=.,;" + TRIGGER)
END = 0  # the end of a line

OPERATIONS = tuple(f"+{k}" for k in range(1, 10)) + ("*3", "*7", "*9")
CHAIN_FORMS = ("plain", "dots", "steps")
SUM_FORMS = ("plain", "reversed", "steps")

_CHAIN = re.compile(rf"(\d)((?:\+[1-9]|\*[379])+)(?:{TRIGGER})?=")
_SUM = re.compile(r"(\d+)\+(\d+)=")


# --- chains of operations modulo 10


def chain(rng, length=8, trigger=False):
    """A question: a digit and `length` operations, each of +1 … +9, *3, *7, *9 alike.

    Each operation turns the ten digits into the ten digits, so every answer is as likely as every
    other: chance is 1 in 10. trigger: with " step by step" before the "=". rng: a random.Random.
    """
    operations = "".join(rng.choices(OPERATIONS, k=whole(length, "length")))
    return f"{rng.randrange(10)}{operations}{TRIGGER if trigger else ''}="


def chain_values(question):
    """The value after each operation, modulo 10: "4+7*3+9=" -> [1, 3, 2]. The last: the answer.

    Raises TypeError or ValueError for what is no question of `chain`.
    """
    start, operations = _read(_CHAIN, question, "a question such as '4+7*3='").groups()
    value, values = int(start), []
    for sign, number in zip(operations[::2], operations[1::2], strict=True):
        value = (value + int(number)) % 10 if sign == "+" else value * int(number) % 10
        values.append(value)
    return values


def chain_line(question, form="steps"):
    """The question and what is to be written after it, to the end of the line.

    form "plain": the answer alone. "steps": the value after each operation, of which the last is
    the answer. "dots": as long as "steps", a dot in place of each value but the last.
    """
    one_of(form, "form", CHAIN_FORMS)
    values = chain_values(question)
    if form == "plain":
        return f"{question}{values[-1]}\n"
    before = values[:-1] if form == "steps" else "." * (len(values) - 1)
    return f"{question}{''.join(map(str, before))}{values[-1]}\n"


def chain_is_right(line):
    """Whether the last sign before the end of the line is the answer to the line's own question.

    What is written before it counts for nothing. A line that does not end is wrong.
    """
    question, written = _split(line)
    return (
        len(written) > 1 and written[-1] == "\n" and written[-2] == str(chain_values(question)[-1])
    )


def steps_right(line):
    """How many of the values written in form "steps" are right, from the left, until one is not."""
    question, written = _split(line)
    count = 0
    for value, sign in zip(chain_values(question), written, strict=False):
        if sign != str(value):
            break
        count += 1
    return count


# --- sums of two padded numbers


def sum_question(rng, digits=3):
    """Two numbers below 10 ** digits, each alike, filled up with zeros: "012+345="."""
    most = 10 ** whole(digits, "digits")
    return f"{rng.randrange(most):0{digits}d}+{rng.randrange(most):0{digits}d}="


def sum_line(question, form="plain"):
    """The question and its sum, one digit longer than the summands, to the end of the line.

    form "plain": "095+007=0102". "reversed": units first, "095+007=2010". "steps": for each place,
    units first, the digit of the sum and what is carried, then the sum:
    "095+007=2,1;0,1;1,0;0102". Source: Lee et al. 2023, figure 1.
    """
    one_of(form, "form", SUM_FORMS)
    a, b = _read(_SUM, question, "a question such as '012+345='").groups()
    places = max(len(a), len(b))
    total = f"{int(a) + int(b):0{places + 1}d}"
    if form == "plain":
        return f"{question}{total}\n"
    if form == "reversed":
        return f"{question}{total[::-1]}\n"
    carry, steps = 0, ""
    for x, y in zip(a.zfill(places)[::-1], b.zfill(places)[::-1], strict=True):
        carry, digit = divmod(int(x) + int(y) + carry, 10)
        steps += f"{digit},{carry};"
    return f"{question}{steps}{total}\n"


def sum_is_right(line, form="plain"):
    """Whether the sum that the line ends with is that of its own question, all digits of it.

    form: how to read it. Of "steps" the sum after the last ";" counts alone.
    """
    question, written = _split(line)
    wanted = sum_line(question, one_of(form, "form", SUM_FORMS))[len(question) :]
    if form == "steps":
        written, wanted = written.rpartition(";")[2], wanted.rpartition(";")[2]
    return written == wanted


# --- lines as tokens


def line_batch(lines):
    """What a GPT trains on: (ids, targets), both (B, T) int64; only what follows "=" is asked.

    Shorter lines are filled up with ends of line that are not asked (target -100).
    Raises TypeError or ValueError for lines without a question or an end.
    """
    encoded, starts = [], []
    for i, line in enumerate(texts(lines, "lines", "put it into a list: [line]")):
        question, written = _split(line, f"lines[{i}]")
        if written[-1:] != "\n":
            raise refusal(f"lines[{i}]", "a line with an end, '\\n'", repr(line))
        encoded.append(TOKENIZER.encode(line))
        starts.append(len(question))
    if not encoded:
        raise refusal("lines", "at least one line", "none")
    longest = max(map(len, encoded))
    ids = torch.full((len(encoded), longest), END)
    targets = torch.full((len(encoded), longest), IGNORE)
    for row, (line, start) in enumerate(zip(encoded, starts, strict=True)):
        ids[row, : len(line)] = line
        targets[row, start : len(line)] = line[start:]
    return ids[:, :-1], targets[:, 1:]


def written(model, questions, most=9, temperature=0.0, generator=None):
    """What a model writes after each question: the whole lines, as texts.

    most: tokens at most, the end of the line counted. temperature 0 takes the likeliest token.
    A line that has not ended by then is returned without its end. Questions of different lengths
    go together. Raises TypeError or ValueError as `sampling.generate` does.
    """
    device = next(model.parameters()).device
    encoded = [TOKENIZER.encode(q).to(device) for q in texts(questions, "questions")]
    if len({len(ids) for ids in encoded}) == 1:
        rows = generate(
            model, torch.stack(encoded), most, temperature, generator=generator, stop=END
        )
    else:
        rows = generate(model, encoded, most, temperature, generator=generator, stop=END)
    lines = [TOKENIZER.decode(row.cpu()) for row in rows]
    return [line.partition("\n")[0] + "\n" * ("\n" in line) for line in lines]


def _read(pattern, question, expected):
    """The question taken apart, or TypeError or ValueError for what the pattern does not fit."""
    if not isinstance(question, str):
        raise refusal("question", expected, f"a {type(question).__name__}", kind=TypeError)
    found = pattern.fullmatch(question)
    if found is None:
        raise refusal("question", expected, repr(question))
    return found


def _split(line, name="line"):
    """A line's question, "=" included, and what is written after it."""
    if not isinstance(line, str):
        raise refusal(name, "a text", f"a {type(line).__name__}", kind=TypeError)
    question, equals, rest = line.partition("=")
    if not equals:
        raise refusal(name, "a question that ends in '='", repr(line))
    return question + equals, rest
