"""The source of the package, shown where a notebook teaches it; its own answers are folded.

A function that an exercise of the notebook asks for is shown folded, on Colab and in Jupyter as in
the book, so that whoever wants to try first does not see it. What it says is there all the same.
"""

from genai_utils.checks import register
from genai_utils.display.source import source_bundle
from genai_utils.run import current


def shown_bundle(*objects, notebook=None):
    """The output that `show_source` displays in a notebook ("24_vae"); None: nothing is folded."""
    return source_bundle(*objects, answers=_answers(notebook))


def show_source(*objects):
    """Display the highlighted source of functions, classes, methods or modules.

    Answers to exercises of the notebook that was started are folded.

    Raises:
        TypeError: something that has no Python source, such as a built-in or a number.
        ValueError: called with nothing.
    """
    run = current()
    shown_bundle(*objects, notebook=run and run.name).display()


def _answers(notebook):
    """The library functions that the exercises of a notebook ask for."""
    try:
        return [exercise.reference for exercise in register.load(notebook or "").values()]
    except register.UnknownExercise:  # a notebook without exercises
        return []
