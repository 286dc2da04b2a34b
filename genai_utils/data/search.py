"""Where a data set's files are looked for: GENAI_DATA, the user's cache, then the network.

A file counts only when its size and SHA-256 are the catalogue's. What is damaged in the cache is
removed and fetched again; GENAI_DATA belongs to the user and may be read-only, so there it is left,
not used, and named.
"""

import csv
import gzip
import hashlib
import io
import os
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import platformdirs

from genai_utils.printing import say

from . import download
from .entries import DataError, dataset


class Absent(DataError):
    """Nothing was found and nothing was damaged: the case for which stand-ins exist."""


def fetch(name):
    """Local paths of a data set's files, each verified just now: dict file name -> Path.

    A path under GENAI_DATA may be packed (.gz): read it with `read_bytes`, which handles both.

    Raises ValueError for an unknown name, DataError where a file cannot be had or is damaged.
    """
    return {file.name: _locate(name, file) for file in dataset(name).files}


def read_bytes(path):
    """The contents of a fetched file, unpacked."""
    with _opened(Path(path)) as stream:
        return stream.read()


_stood_in = set()


def fetch_or_stand_in(name):
    """Like fetch, but None (and one printed line, once) where the bundled stand-in must serve.

    A stand-in is for what is absent, never for what is damaged: damage stays an error.
    """
    entry = dataset(name)
    # Once it stood in, it goes on to: half of an experiment on each data set would be worse, and
    # each further try could wait for a dead network again.
    where = (name, *(os.environ.get(k) for k in ("GENAI_DATA", "GENAI_CACHE", "GENAI_PROFILE")))
    if where in _stood_in:
        return None
    try:
        return fetch(name)
    except Absent as missing:
        if entry.stand_in is None:
            raise
        why = "the ci profile uses no network" if in_ci() else "no network"
        say(
            f"{entry.title} is not on this machine ({why}): "
            f"using the bundled {entry.stand_in} instead{missing.removed}."
        )
        _stood_in.add(where)
        return None


def in_ci():
    return os.environ.get("GENAI_PROFILE") == "ci"


def cache_dir():
    """The user's cache: GENAI_CACHE, or the platform's usual place."""
    chosen = os.environ.get("GENAI_CACHE")
    return Path(chosen or platformdirs.user_cache_dir("genai_utils", appauthor=False)).expanduser()


def _locate(name, file):
    """A verified local path of `file`, downloaded if need be."""
    damaged = []
    for path in _user_copies(name, file):
        problem = damage(path, file)
        if problem is None:
            return _found(name, path, damaged)
        damaged.append(f"{path} {problem}")

    target, removed = cache_dir() / file.path, ""
    if _exists(target):
        problem = damage(target, file)
        if problem is None:
            return _found(name, target, damaged)
        removed = f" (a copy there {problem}: not used)"
    if in_ci():
        with suppress(OSError):  # the cache may be read-only; then the next call refuses it again
            target.unlink(missing_ok=True)
        reasons, absent = ["the ci profile uses no network"], True
    else:
        with _locked(name, target):
            # Another process may have finished it, or repaired it, while this one waited.
            if _exists(target) and damage(target, file) is None:
                return _found(name, target, damaged)
            if _exists(target):
                _remove(target)
            reasons, absent = download.download(file, target)
            # What has no digest is checked here: its owners may have changed its columns.
            if not reasons and file.columns and (problem := damage(target, file)):
                _remove(target)
                reasons, absent = [f"what {file.urls[0]} gives {problem}"], False
    if not reasons:
        return _found(name, target, damaged)

    folder = os.environ.get("GENAI_DATA") or "<folder>"
    message = "\n".join(
        [f"{name}: the file {file.name} is not on this machine and could not be fetched."]
        + [f"  not used: {line}" for line in damaged]
        + [f"  not in the cache: {target}{removed}"]
        + [f"  not fetched: {reason}" for reason in reasons]
        + [f"Get it from {' or '.join(file.urls)}"]
        + [f"and put it, packed or not, at {folder}/{file.path}, with GENAI_DATA set to {folder}."]
    )
    error = Absent(message) if absent and not damaged else DataError(message)
    error.removed = removed
    raise error


def _found(name, path, damaged):
    """`path`, after saying which other copies were passed over."""
    for line in damaged:
        say(f"{name}: not used: {line}")
    return path


def _user_copies(name, file):
    """The places below GENAI_DATA that hold the file, unpacked first."""
    chosen = os.environ.get("GENAI_DATA")
    if not chosen:
        return []
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"{name}: GENAI_DATA is {chosen!r}, which is no folder on this machine. Set it to the "
            f"folder that holds {file.path}, or unset it to use the cache and the network."
        )
    return [p for p in (folder / file.path, folder / f"{file.path}.gz") if _exists(p)]


def damage(path, file):
    """What is wrong with the copy of `file` at `path`, in words; None where it is right."""
    digest, size = hashlib.sha256(), 0
    try:
        with _opened(path) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "is no whole gzip file"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if file.columns is not None:
        return _no_table(read_bytes(path), file.columns)
    if size != file.size:
        return f"has {size:,} bytes instead of {file.size:,}"
    if digest.hexdigest() != file.sha256:
        return f"has SHA-256 {digest.hexdigest()[:12]}… instead of {file.sha256[:12]}…"
    return None


def _no_table(raw, columns):
    """What keeps `raw` from being a whole CSV table of these columns, in words; None if nothing."""
    try:
        rows = csv.reader(io.StringIO(raw.decode("utf-8")))
        if (header := ",".join(next(rows, []))) != columns:
            return f"has the columns {header[:60]!r} instead of {columns!r}"
        ragged = sum(len(row) != columns.count(",") + 1 for row in rows)
    except (UnicodeDecodeError, csv.Error) as error:
        return f"is no table ({error})"
    if ragged or not raw.endswith(b"\n") or raw.count(b"\n") < 2:
        return "is no whole table: a line is cut off, or there is none"
    return None


def _opened(path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def _exists(path):
    try:
        return path.is_file()
    except OSError:  # a parent is a file, or may not be entered
        return False


def _remove(path):
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} is damaged and cannot be removed ({error.strerror}). Remove it, or set "
            "GENAI_CACHE to a folder that you may write to."
        ) from None


@contextmanager
def _locked(name, target):
    """Hold the file's inter-process lock: two notebooks started at once download it once."""
    lock = filelock.FileLock(f"{target}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # the second: no locks on this file system
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"{name}: the cache folder {target.parent} cannot be written to ({why}). Set "
            "GENAI_CACHE to a folder that you may write to, or GENAI_DATA to one that already "
            f"holds {target.parent.name}/{target.name}."
        ) from None
    try:
        yield
    finally:
        lock.release()
