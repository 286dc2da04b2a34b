"""The open experiments of the chapters: what is asked, what is handed in, what a good answer has.

A chapter declares them in its file of exercises, as `EXPERIMENTS = (Experiment(…), …)`. Their names
are unique in the book. Nothing decides whether an answer is right: a reader holds it against the
points of a good one, a lecturer marks it by hand.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from numbers import Real

from genai_utils.checks import register
from genai_utils.checks.predictions import brief, named

KINDS = ("number", "text", "figure")
POINTS = (3, 5)  # of a good answer, at least and at most
WORDS = 5  # fewer are no text


@dataclass(frozen=True)
class Experiment:
    """Something to find out with the chapter's code, for which no line is given.

    name      unique in the book, as in `experiment("kept-dimensions")`
    question  what is to be found out, and with which budget
    hand_in   what is handed in: "the smallest width at which …"
    good      three to five sentences: what a good answer contains
    minutes   that a student takes for it, training included
    kind      "number", "text" or "figure"
    unit      of the number, such as "nats"
    between   the lowest and the highest number that is plausible, generously
    beyond    what to check where the number lies outside
    """

    name: str
    question: str
    hand_in: str
    good: Sequence[str]
    minutes: int
    kind: str = "text"
    unit: str = ""
    between: tuple[float, float] | None = None
    beyond: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind is one of {', '.join(KINDS)}; got {self.kind!r}.")
        if isinstance(self.good, str) or not POINTS[0] <= len(self.good) <= POINTS[1]:
            raise ValueError(f"{self.name}: a good answer contains 3 to 5 points, in a list.")
        if {self.kind == "number"} != {bool(self.between), bool(self.beyond)}:
            raise ValueError(f"{self.name}: a number, and it alone, has `between` and `beyond`.")
        if self.unit and self.kind != "number":
            raise ValueError(f"{self.name}: a {self.kind} has no unit.")
        if self.between and not self.between[0] < self.between[1]:
            raise ValueError(f"{self.name}: `between` is (lowest, highest); got {self.between}.")

    @property
    def wanted(self) -> str:
        """What the call takes: "a number of nats"."""
        unit = f" of {self.unit}" if self.unit else ""
        return {"number": f"a number{unit}", "text": "a text", "figure": "a figure"}[self.kind]

    def read(self, found) -> str:
        """What is handed in, as a text that can be kept. Raises TypeError or ValueError."""
        call = f'hand_in("{self.name}", …) expects'
        if self.kind == "number":
            if getattr(found, "ndim", None) == 0:  # a tensor or an array that holds one number
                found = found.item()
            if isinstance(found, bool) or not isinstance(found, Real):
                raise TypeError(f"{call} {self.wanted}, without its unit; got {brief(found)}.")
            if not math.isfinite(found):
                raise ValueError(f"{call} a finite number; got {found}.")
            return f"{float(found):.6g}"
        if self.kind == "text":
            if not isinstance(found, str):
                raise TypeError(f"{call} a text in quotes; got {brief(found)}.")
            if len(found.split()) < WORDS:
                raise ValueError(f"{call} a text of at least {WORDS} words; got {found!r}.")
            return found.strip()
        return _picture(found, call)

    def words(self, kept: str) -> str:
        """What was handed in, as it is told: "3.5 nats", a text, or that it is a figure."""
        if self.kind == "figure":
            return "a figure"
        return f"{kept} {self.unit}".strip() if self.kind == "number" else kept

    def doubt(self, kept: str) -> str:
        """What to check, for a number outside the plausible range; else nothing."""
        if self.between is None or self.between[0] <= float(kept) <= self.between[1]:
            return ""
        low, high = self.between
        unit = f" {self.unit}" if self.unit else ""
        return f"That is not between {low:g} and {high:g}{unit}, where we expect it. {self.beyond}"


LARGEST = 300_000  # bytes of a figure that is kept


def _picture(figure, call) -> str:
    """A figure of matplotlib as the address of a picture that holds it."""
    import base64
    import io

    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise TypeError(
            f"{call} a matplotlib figure, as in `fig, ax = plt.subplots()`; got {brief(figure)}."
        )
    if not any(axes.has_data() for axes in figure.axes):
        raise ValueError(f"{call} a figure with something in it; nothing is drawn in this one.")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90, bbox_inches="tight")
    picture = stream.getvalue()
    if len(picture) > LARGEST:
        raise ValueError(
            f"{call} a figure of at most {LARGEST // 1000} kB, it has {len(picture) // 1000} kB: "
            "make it smaller, or leave pictures out."
        )
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def prose(text: str) -> str:
    """A text of an experiment as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def of_topic(topic) -> tuple[Experiment, ...]:
    """The experiments of a chapter. Raises UnknownExercise where its file cannot be loaded."""
    register.load(topic)
    return getattr(sys.modules.get(f"{register.SHELF}.{topic}"), "EXPERIMENTS", ())


def find(name) -> tuple[str, Experiment]:
    """The topic and the experiment of that name. Raises TypeError or ValueError for none."""
    return named(name, of_topic, "open experiment")
