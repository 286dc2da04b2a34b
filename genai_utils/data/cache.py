"""The user's cache, and what serves where there is none.

A cache is a convenience. With no home folder, on a disk that is full or cannot be written to, a
folder that lasts as long as Python does serves instead, and a line says so.
"""

import atexit
import functools
import os
import shutil
import tempfile
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import platformdirs

from genai_utils.printing import say

from .entries import DataError


class Unwritable(Exception):
    """A folder cannot be written to: str() says which one and why."""


LASTS = "what is fetched is kept until Python ends (GENAI_CACHE can name a folder to keep it in)"


def cache_dir():
    """The user's cache: GENAI_CACHE, or the platform's usual place; without a home, `for_now()`.

    It need not exist, nor be one that can be written to; asking for it never fails.
    """
    try:
        chosen = os.environ.get("GENAI_CACHE")
        chosen = chosen or platformdirs.user_cache_dir("genai_utils", appauthor=False)
        return Path(chosen).expanduser()
    except (RuntimeError, LookupError, ValueError, OSError):  # as the platforms put it
        note(f"There is no home folder for a cache: {LASTS}.")
    try:
        return for_now()
    except DataError:
        return Path(os.devnull, "genai_utils")  # where nothing is and nothing can be made


@functools.cache
def for_now():
    """A folder that is removed when Python ends. Raises DataError where none can be made."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="genai_utils-"))
    except OSError as error:
        raise DataError(
            f"No file can be kept, in the cache or for now ({error.strerror or error}). Set "
            "GENAI_CACHE or TMPDIR to a folder that you may write to."
        ) from None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def exists(path):
    """Whether anything lies at a place of the cache."""
    try:
        return path.exists()
    except OSError:  # a parent is a file, or may not be entered
        return False


def remove(path):
    """Remove a damaged copy. Raises Unwritable where that cannot be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Unwritable(f"{path}: {error.strerror or error}") from None


@contextmanager
def alone(target):
    """Hold a file's inter-process lock: two notebooks started at once download it once.

    Gives True, or False where the disk knows no locks: the caller then writes under a name of its
    own. Raises Unwritable where the folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(f"{target}.lock")
        if lock is None:
            tempfile.TemporaryFile(dir=target.parent).close()  # can it be written to at all?
    except OSError as error:
        raise Unwritable(f"{target.parent}: {error.strerror or error}") from None
    if lock is None:
        note(f"{target.parent} has no file locks: two notebooks at once may fetch a file twice.")
    try:
        yield lock is not None
    finally:
        if lock is not None:
            with suppress(OSError):  # the file is in place all the same
                lock.release()


def _acquired(path):
    """The lock, held; None where there can be none."""
    try:
        with warnings.catch_warnings():  # it may say that it makes do with a softer lock
            warnings.simplefilter("ignore")
            lock = filelock.FileLock(path)
            lock.acquire()
        return lock
    except (OSError, NotImplementedError):
        return None


_noted = set()


def note(line):
    """Say a line, once."""
    if line not in _noted:
        _noted.add(line)
        say(line)
