"""The exercises of a chapter as its notebook sets them: number, level, text, formulas."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from genai_utils.checks import register, stubs

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BOX = re.compile(
    r"^> ?\*\*Exercise (\d+\.\d+)\*\* \(((?:find the fault, )?\w+)(?:, \d+ minutes)?\)\.\s*"
    r"(.*(?:\n>.*)*)",
    re.MULTILINE,
)
FORMULA = re.compile(r"\$\$.*?\$\$", re.DOTALL)
TAG = re.compile(r"\\tag\{(\d+\.\d+)\}")
MENTIONED = re.compile(r"\((\d+\.\d+)\)|\b(?:formula|of|right side of) (\d+\.\d+)")
SENTENCE = re.compile(r"(?<=[.?:])\s+(?=[A-Z`*])")
# What an assignment does not have: the answer, and the cells that come after the exercise.
ELSEWHERE = re.compile(
    r"solution\(|\b(?:cells?|loop) (?:after|below)|\b[Ss]ection \d|^Guess|^Then \*?predict|^Try "
    r"|train (?:it )?again|and re(?:train|fit)\b|trains the model"
)


class NoSuchTask(LookupError):
    """No such chapter or exercise; the message says which there are."""


@dataclass(frozen=True)
class Task:
    """An exercise of a chapter."""

    chapter: str  # "08_transformer"
    number: str  # "8.1"
    name: str  # "attention"
    level: str  # "easy"
    section: str  # the heading that it stands under
    text: str  # what its box says, as Markdown
    formulas: tuple[str, ...]  # those that the text names, and the one right before it

    @property
    def exercise(self) -> register.Exercise:
        return register.find(self.name, self.chapter)


@dataclass(frozen=True)
class Chapter:
    """A chapter's notebook, as far as an assignment needs it."""

    name: str
    title: str  # "8 The transformer"
    setup: str  # the source of its set-up cell
    tasks: tuple[Task, ...]


def chapters(folder: Path = NOTEBOOKS) -> list[str]:
    """The names of the notebooks that have exercises."""
    names = sorted(path.stem for path in Path(folder).glob("[0-9][0-9]_*.ipynb"))
    known = register.topics()
    return [name for name in names if register.topic_of(name) in known]


def find(chapter: str, folder: Path = NOTEBOOKS) -> str:
    """ "8", "08", "transformer" and "08_transformer" are "08_transformer"."""
    for name in chapters(folder):
        number, _, topic = name.partition("_")
        if chapter in (name, number, topic, number.lstrip("0")):
            return name
    there = ", ".join(chapters(folder)) or f"none in {folder}"
    raise NoSuchTask(f"No chapter with exercises is called {chapter!r}. There are: {there}.")


def read(chapter: str, folder: Path = NOTEBOOKS) -> Chapter:
    """The chapter of that name. Raises NoSuchTask, or ValueError where a box has no exercise."""
    name = find(chapter, folder)
    content = json.loads((Path(folder) / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]
    known = register.load(name)
    title = re.search(r"^# +(.+)$", cells[0][1], re.MULTILINE)[1]
    setup = next(text for kind, text in cells if kind == "code" and "start(" in text)
    section, before, found = "", [], []
    formulas = {}
    for kind, text in cells:
        for formula in FORMULA.findall(text) if kind == "markdown" else ():
            if tag := TAG.search(formula):
                formulas[tag[1]] = formula
    for index, (kind, text) in enumerate(cells):
        if kind != "markdown":
            before = []  # a formula before code is about that code
            continue
        for part in re.split(r"(?m)^(?=## |> \*\*Exercise)", text):
            if heading := re.match(r"## +(.+)", part):
                section, before = heading[1].strip(), []
            if not (box := BOX.match(part)):
                before += FORMULA.findall(part)
                continue
            stub = next(s for k, t in cells[index + 1 :] if k == "code" for s in stubs.stubs_in(t))
            if stub.name not in known:
                raise ValueError(f"exercise {box[1]} of {name}: {stub.name} is not in the register")
            said = "\n".join(line.lstrip("> ") for line in box[3].splitlines())
            named = [
                formulas[n] for pair in MENTIONED.findall(said) if (n := max(pair)) in formulas
            ]
            wanted = tuple(dict.fromkeys([*before[-1:], *named]))
            task = Task(name, box[1], stub.name, box[2], section, without_elsewhere(said), wanted)
            found.append(task)
    return Chapter(name, title, setup, tuple(found))


def without_elsewhere(text: str) -> str:
    """The text of a box without the sentences about what an assignment does not have."""
    sentences = SENTENCE.split(text)
    kept = [s for s in sentences if not ELSEWHERE.search(s)]
    return " ".join(kept) or re.split("[,:]", sentences[0])[0] + "."
