"""What a chapter lets its readers predict, and where the predictions of all chapters are found.

A chapter declares them in its file of exercises, as `PREDICTIONS = (Prediction(…), …)`. Their names
are unique in the book.
"""

from __future__ import annotations

import difflib
import math
import sys
from dataclasses import dataclass
from numbers import Real

from genai_utils.checks import register

LETTERS = "abcdefgh"


@dataclass(frozen=True)
class Prediction:
    """A question that is answered by an experiment of its chapter.

    name      unique in the book, as in `predict("recall-far")`
    answer    the letter of the choice that is right, or the measured number
    because   the measured numbers and their section, in one or two sentences
    choices   short texts, in the order of their letters; none: a number is asked for
    unit      of the number, such as "%"
    within    a number that is at most so far from the answer is right
    factor    or: a number that is at most so many times too large or too small is right
    """

    name: str
    question: str
    answer: str | float
    because: str
    choices: tuple[str, ...] = ()
    unit: str = ""
    within: float | None = None
    factor: float | None = None

    def __post_init__(self):
        if self.choices:
            if not 2 <= len(self.choices) <= len(LETTERS):
                raise ValueError(
                    f"{self.name}: expected 2 to {len(LETTERS)} choices, got {len(self.choices)}."
                )
            self.read(self.answer)
        elif (self.within is None) == (self.factor is None):
            raise ValueError(f"{self.name}: a number needs `within` or `factor`, and not both.")
        elif self.factor is not None and (self.factor <= 1 or self.read(self.answer) <= 0):
            raise ValueError(f"{self.name}: `factor` is above 1, and the answer above 0.")

    @property
    def letters(self) -> str:
        return LETTERS[: len(self.choices)]

    def read(self, said) -> str | float:
        """A prediction in its own form. Raises TypeError or ValueError for one that is none."""
        if self.choices:
            letter = said.strip().lower().rstrip(".)") if isinstance(said, str) else None
            if not letter or len(letter) > 1 or letter not in self.letters:
                kind = ValueError if isinstance(said, str) else TypeError
                raise kind(
                    f'predict("{self.name}", …) expects the letter of a choice, '
                    f"{', '.join(self.letters[:-1])} or {self.letters[-1]}, in quotes; "
                    f"got {brief(said)}."
                )
            return letter
        if isinstance(said, bool) or not isinstance(said, Real):
            unit = f" of {self.unit}, without its unit" if self.unit else ""
            raise TypeError(
                f'predict("{self.name}", …) expects a number{unit}, as in '
                f'predict("{self.name}", 42); got {brief(said)}.'
            )
        if not math.isfinite(said):
            raise ValueError(f'predict("{self.name}", …) expects a finite number; got {said}.')
        return float(said)

    def right(self, said) -> bool:
        """Whether a prediction, in its own form, came true."""
        if self.choices:
            return said == self.answer
        if self.within is not None:
            return abs(said - self.answer) <= self.within
        return self.answer / self.factor <= said <= self.answer * self.factor

    def words(self, said) -> str:
        """ "b. the LSTM", or "3.5 %"."""
        if self.choices:
            return f"{said}. {self.choices[self.letters.index(said)]}"
        return f"{said:g}{self._unit}"

    @property
    def allowed(self) -> str:
        """What counts as right, where a number is asked for."""
        if self.choices:
            return ""
        if self.within is not None:
            return f"Within {self.within:g} of the measured number counts as right."
        return f"Up to {self.factor:g} times too large or too small counts as right."

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def brief(value) -> str:
    if isinstance(value, str | Real):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"a {type(value).__name__}"


# ---- where they are ------------------------------------------------------------------------------


def of_topic(topic) -> tuple[Prediction, ...]:
    """The predictions of a chapter. Raises UnknownExercise where its file cannot be loaded."""
    register.load(topic)
    return getattr(sys.modules.get(f"{register.SHELF}.{topic}"), "PREDICTIONS", ())


def find(name) -> tuple[str, Prediction]:
    """The topic and the prediction of that name.

    The chapter that was started is searched first, so that no other one is loaded.
    Raises TypeError or ValueError for a name that is none.
    """
    return named(name, of_topic, "prediction")


def named(name, shelf_of, what):
    """The topic, and the entry of that name among the shelves of all topics."""
    from genai_utils.run import current

    if not isinstance(name, str):
        raise TypeError(f"The name of a{'n' * (what[0] in 'aeiou')} {what} is a text in quotes; "
                        f"got {brief(name)}.")  # fmt: skip
    run = current()
    here = register.topic_of(run.name) if run else ""
    known = []
    for topic in sorted(register.topics(), key=lambda topic: topic != here):
        try:
            shelf = shelf_of(topic)
        except register.UnknownExercise:  # a chapter whose packages are missing hides no other
            continue
        for entry in shelf:
            if entry.name == name:
                return topic, entry
            known.append(entry.name)
    near = difflib.get_close_matches(name, known, n=3) or known
    raise ValueError(f"There is no {what} {name!r}. Near it: {', '.join(near) or '(none)'}.")
