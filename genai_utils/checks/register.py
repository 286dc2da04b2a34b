"""The register of the exercises: what an exercise is, and where those of a notebook are found.

The library is the answer key. An exercise names a library function; its stub, its solution and
the reference of its check are all that one function, so they cannot drift apart. An exercise
file holds only what the library does not know: arguments to try it on, the mistakes that people
make, and the hints. `genai_utils/exercises/means.py` of a notebook `31_means` would read::

    import torch

    from genai_utils.checks import exercise
    from genai_utils.structure import means


    def rows(seed):
        g = torch.Generator().manual_seed(seed)
        return [(torch.randn(n, d, generator=g),) for n, d in ((3, 5), (7, 4))]


    exercise(
        means.row_means,
        cases=rows,
        mistakes={
            "mean over the rows": (
                lambda x: x.mean(0),
                "You averaged over the rows (dimension 0). Each row has its own mean.",
            ),
        },
        hints=["Which dimension should disappear?", "x.mean(dim=...) takes that dimension."],
        grad=True,
    )
"""

from __future__ import annotations

import contextlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

SHELF = "genai_utils.exercises"  # the package that holds one file of exercises per notebook
PLANTED = "the planted fault"  # its name among the mistakes
REGISTER: dict[str, dict[str, Exercise]] = {}  # topic ("vae") -> function name -> exercise


class UnknownExercise(LookupError):
    """No such exercise, or no such exercise file; the message says which there are."""


@dataclass(frozen=True)
class Clause:
    """What a docstring promises beside the ordinary, and how it is told whether it is kept.

    cases   seed -> list of argument tuples on which this clause decides; they are tried when all
            ordinary cases are right
    says    the sentence for a student whose function breaks it
    broken  a function that breaks this clause and no other, and is right in all ordinary cases:
            the tests hold that it is refused with this sentence
    raises  the error that is expected in these cases, or None: the library's result
    """

    cases: Callable[[int], Iterable[tuple]]
    says: str
    broken: Callable
    raises: type[Exception] | None = None

    def __post_init__(self):
        if not callable(self.cases) or not callable(self.broken):
            raise TypeError("a clause needs functions for cases (seed -> argument tuples), broken")
        if not isinstance(self.says, str) or not self.says.strip():
            raise TypeError("a clause says, in a sentence, what its breach is")
        if self.raises is not None and not (
            isinstance(self.raises, type) and issubclass(self.raises, Exception)
        ):
            raise TypeError(f"raises of a clause must be a class of errors, not {self.raises!r}")


@dataclass(frozen=True)
class Exercise:
    """One exercise. All that is needed to set it, check it, hint at it and solve it.

    reference   the library function that is the answer
    cases       seed -> list of argument tuples, made afresh at each call. Let the sizes vary, and
                let no two sizes of one case be equal, or a sum over the wrong dimension may pass
    mistakes    name -> (wrong function, the sentence a student reads who wrote that)
    clauses     name -> Clause: an edge, an option, an error, a range that the docstring promises
    hints       from a nudge to nearly the answer
    grad        names of the arguments with respect to which the gradient must be right too;
                True: all floating-point tensors
    canonical   applied to both results before their numbers are compared, where several answers
                are right: `lambda v: v * v[0].sign()` for a vector up to its sign
    rtol        relative tolerance of the comparison
    limit       seconds that one check may take
    planted     a faulty version of the reference, whose one fault is to be found: the notebook
                shows its body in place of `...`. Same arguments, no docstring of its own
    symptom     with it: what the fault does, in a sentence for who has not mended it yet
    """

    reference: Callable
    cases: Callable[[int], Iterable[tuple]]
    mistakes: Mapping[str, tuple[Callable, str]] = field(default_factory=dict)
    hints: Sequence[str] = ()
    grad: bool | Sequence[str] = False
    canonical: Callable | None = None
    rtol: float = 1e-4
    limit: float = 10.0
    topic: str = ""
    clauses: Mapping[str, Clause] = field(default_factory=dict)
    planted: Callable | None = None
    symptom: str = ""

    @property
    def name(self) -> str:
        return self.reference.__name__

    @property
    def chapter(self) -> str:
        """ "24_vae": the notebook of its file, or the topic where the file names none."""
        return notebook_of(self.topic)

    @property
    def number(self) -> str:
        """ "24.2": its chapter and its place there; "" outside of a chapter."""
        mine = list(REGISTER.get(self.topic, {}))
        if not re.match(r"\d\d_", self.chapter) or self.name not in mine:
            return ""
        return f"{int(self.chapter[:2])}.{mine.index(self.name) + 1}"

    @property
    def gradient_places(self) -> list[int] | None:
        """The numbers of the arguments whose gradient must be right; None: all of them."""
        if isinstance(self.grad, bool):
            return None
        return [
            i
            for i, name in enumerate(inspect.signature(self.reference).parameters)
            if name in self.grad
        ]

    def __post_init__(self):
        if not inspect.isfunction(self.reference):
            raise TypeError(
                "an exercise needs a plain function of the library as its reference, "
                f"not {type(self.reference).__name__}"
            )
        if not callable(self.cases):
            raise TypeError(f"cases of {self.name} must be a function: seed -> argument tuples")
        if isinstance(self.hints, str):
            raise TypeError(f"hints of {self.name} must be a list of sentences, not one string")
        if self.planted is not None:
            self._plant()
        for name, entry in self.mistakes.items():
            if not (isinstance(entry, tuple) and len(entry) == 2 and callable(entry[0])):
                raise TypeError(
                    f"mistake {name!r} of {self.name} must be a pair (wrong function, sentence)"
                )
        for name, entry in self.clauses.items():
            if not isinstance(entry, Clause):
                raise TypeError(f"clause {name!r} of {self.name} must be a Clause")
            if name in self.mistakes:
                raise ValueError(f"{self.name}: a clause and a mistake are both called {name!r}")
        if isinstance(self.grad, str):
            raise TypeError(f"grad of {self.name} must be True or a list of argument names")
        parameters = list(inspect.signature(self.reference).parameters)
        for name in self.grad if not isinstance(self.grad, bool) else ():
            if name not in parameters:
                raise ValueError(f"{self.name} has no argument {name!r}; it has {parameters}")
        if self.grad and self.canonical is not None:
            raise ValueError(f"{self.name}: grad and canonical cannot be combined")

    def _plant(self):
        """The planted fault is a mistake with a name: who rewrites it so is told its symptom."""
        planted, wanted = self.planted, list(inspect.signature(self.reference).parameters)
        if not inspect.isfunction(planted) or planted.__doc__:
            raise TypeError(f"planted of {self.name} must be a plain function without a docstring")
        if list(inspect.signature(planted).parameters) != wanted:
            raise ValueError(f"planted of {self.name} must have the arguments {wanted}")
        if not isinstance(self.symptom, str) or not self.symptom.strip():
            raise TypeError(f"{self.name} has a planted fault: say its symptom in a sentence")
        named = {PLANTED: (lambda *given: planted(*given), self.symptom), **self.mistakes}
        object.__setattr__(self, "mistakes", named)

    def arguments(self, seed: int) -> list[tuple]:
        """The argument tuples of the ordinary cases for one seed, in order."""
        return _tuples(self.cases, seed, self.name)

    def promised(self, name: str, seed: int) -> list[tuple]:
        """The argument tuples of a clause for one seed, in order."""
        return _tuples(self.clauses[name].cases, seed, f"the clause {name!r} of {self.name}")


def _tuples(cases, seed, what) -> list[tuple]:
    found = list(cases(seed))
    if not found or not all(isinstance(case, tuple) for case in found):
        raise TypeError(
            f"cases({seed}) of {what} must give a list of argument tuples; "
            "one argument is written (x,)"
        )
    return found


def exercise(reference: Callable, **settings) -> Exercise:
    """Set an exercise of the calling file's topic; the settings are those of `Exercise`."""
    caller = sys._getframe(1).f_globals.get("__name__", "")
    made = Exercise(reference, topic=caller.rpartition(".")[2], **settings)
    REGISTER.setdefault(made.topic, {})[made.name] = made
    return made


def topics() -> list[str]:
    """The topics that have an exercise file, in alphabetical order."""
    folders = find_spec(SHELF).submodule_search_locations
    return sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_"))


def topic_of(notebook: str) -> str:
    """'24_vae' -> 'vae': a notebook, its module and its exercise file share one name."""
    return re.sub(r"^\d+_", "", notebook)


def notebook_of(topic: str) -> str:
    """'vae' -> '24_vae': as its file names it; the topic where it names none, or is not loaded."""
    if topic not in REGISTER:
        with contextlib.suppress(UnknownExercise):
            load(topic)
    return getattr(sys.modules.get(f"{SHELF}.{topic}"), "NOTEBOOK", topic)


def load(notebook: str) -> dict[str, Exercise]:
    """The exercises of one notebook ('24_vae' or 'vae') by function name, in their order."""
    topic = topic_of(notebook)
    if topic not in topics():
        raise UnknownExercise(
            f"There are no exercises for {notebook!r}. There are some for: {', '.join(topics())}."
        )
    try:
        import_module(f"{SHELF}.{topic}")
    except ImportError as problem:
        raise UnknownExercise(
            f"The exercises for {notebook!r} could not be loaded: {problem}."
        ) from problem
    return REGISTER.get(topic, {})


def find(name: str, notebook: str | None = None) -> Exercise:
    """The exercise of that function name: in the given notebook, or in all of them."""
    where = [topic_of(notebook)] if notebook else topics()
    shelves, lost = {}, []
    for topic in where:
        try:
            shelves[topic] = load(topic)
        except UnknownExercise as problem:
            if notebook:
                raise
            lost.append(f" {problem}")  # a chapter that cannot be loaded must not hide the others
    found = [shelf[name] for shelf in shelves.values() if name in shelf]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownExercise(
            f"Several notebooks have an exercise {name!r}: {', '.join(e.topic for e in found)}. "
            "Run the notebook's first code cell, so that it is known which one you mean."
        )
    known = [known for shelf in shelves.values() for known in shelf]
    place = f"of {notebook}" if notebook else "of this book"
    raise UnknownExercise(
        f"No exercise {place} is called {name!r}. They are called: {', '.join(known) or '(none)'}."
        + "".join(lost)
    )
