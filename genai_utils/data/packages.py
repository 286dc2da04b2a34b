"""Data that come with installed packages."""

import importlib
import os
from contextlib import contextmanager
from pathlib import Path

from .entries import DataError


def optional(package, what):
    """Import a package that only some loaders need; DataError that says what to install."""
    top = package.split(".")[0]
    try:
        with _some_home():
            return importlib.import_module(package)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == top
        why = "is not installed here" if missing else f"cannot be imported here ({error})"
        again = "" if missing else "--force-reinstall "
        raise DataError(
            f"{what} comes with the package {top}, which {why}. "
            f"Install it with: pip install {again}{top}"
        ) from error


@contextmanager
def _some_home():
    """Where the user has no home folder, HOME names an empty one: gensim looks there for keys."""
    try:
        Path.home()
        homeless = False
    except (RuntimeError, KeyError):
        homeless = True
        os.environ["HOME"] = os.devnull
    try:
        yield
    finally:
        if homeless:
            del os.environ["HOME"]


def gensim_file(name, what):
    """The path of a file that gensim brings; DataError that says what to do where it is not."""
    path = Path(optional("gensim.test.utils", what).datapath(name))
    if not path.is_file():
        raise DataError(f"{what} should come with gensim, but {path} is missing. {AGAIN}")
    return path


def gensim_lines(name, what, encoding="utf-8"):
    """(number, line) of each line that is not empty in a text file of gensim, from number 1."""
    path = gensim_file(name, what)
    try:
        text = path.read_text(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{what}: {path} cannot be read ({error}). {AGAIN}") from None
    return [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def damaged(name, what, number, expected, line):
    """The error to raise for a line of a file of gensim."""
    path = gensim_file(name, what)
    return DataError(
        f"{what}: {path}, line {number}: expected {expected}, got {line[:60]!r}. {AGAIN}"
    )


AGAIN = "Install gensim from its wheel: pip install --force-reinstall gensim"
