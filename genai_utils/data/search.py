"""Where a data set's files are looked for: GENAI_DATA, the user's cache, then the network.

A file counts only when its size and SHA-256 are the catalogue's. What is damaged in the cache is
removed and fetched again; GENAI_DATA belongs to the user and may be read-only, so there it is left,
not used, and named.
"""

import os
from contextlib import suppress
from typing import NamedTuple

from genai_utils.printing import say

from . import download
from .cache import LASTS, Unwritable, alone, cache_dir, exists, for_now, note, remove
from .entries import DataError, dataset
from .places import around, user_folder, usual
from .reasons import Reason
from .verify import damage, read_bytes

__all__ = ["cache_dir", "fetch", "fetch_or_stand_in", "in_ci", "read_bytes"]


class Absent(DataError):
    """Nothing was found, and no network: the case for which stand-ins exist. `why`: in a clause."""


def fetch(name):
    """Local paths of a data set's files, each verified just now: dict file name -> Path.

    A path under GENAI_DATA may be packed (.gz) or bear another common name: read it with
    `read_bytes`. Where nothing can be written to, files are kept in a folder that Python removes
    when it ends, and a line says so.

    Raises ValueError for an unknown name, DataError where a file cannot be had or is damaged: the
    message says where it was looked for, what came of it, and what to do.
    """
    files = dataset(name).files
    mine = _from_user(name, files)
    paths = {f.name: mine.paths.get(f.name) or _kept_or_fetched(name, f, mine) for f in files}
    for line in mine.wrong:
        note(f"{name}: not used: {line}")
    return paths


_stood_in = set()


def fetch_or_stand_in(name):
    """Like fetch, but None (and one printed line, once) where the bundled stand-in must serve.

    A stand-in is for a missing network (or the ci profile, which uses none) and for nothing else:
    where a server or a proxy refuses, or GENAI_DATA holds a part of the files, or damaged ones,
    the error stays an error.
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
        say(
            f"{entry.title} is not on this machine ({missing.why}): "
            f"using the bundled {entry.stand_in} instead."
        )
        _stood_in.add(where)
        return None


def in_ci():
    return os.environ.get("GENAI_PROFILE") == "ci"


class Mine(NamedTuple):
    """Of a data set in GENAI_DATA: paths, dict file name -> verified copy; wrong, damaged copies,
    in words; lines, what a message says of the rest; meant: whether the user put any of it there.
    """

    paths: dict
    wrong: list
    lines: list
    meant: bool


def _from_user(name, files):
    """What GENAI_DATA has of a data set; names are told apart only where the usual ones fail."""
    paths, wrong, lines = {}, [], []
    folder = user_folder(name) if files else None
    if folder is None:
        return Mine(paths, wrong, lines, False)
    for file in files:
        _take(file, [(path, True) for path in usual(folder, file)], paths, wrong)
    if len(paths) == len(files):
        return Mine(paths, wrong, lines, True)
    seen = around(name, folder)
    for file in files:
        if file.name not in paths:
            _take(file, seen.copies[file.name], paths, wrong)
    missing = [file.path for file in files if file.name not in paths]
    if missing:
        lines.append(
            f"not below GENAI_DATA ({folder}), nor under a like name: {', '.join(missing)}"
        )
    lines += [f"not used: {line}" for line in (*wrong, *seen.closed)]
    lines += [f"not known to be one of its files: {path}" for path in seen.others[:5]]
    return Mine(paths, wrong, lines, bool(paths or wrong or seen.closed or seen.others))


def _take(file, copies, paths, wrong):
    """Put the first right copy of `file` into `paths`, and what is wrong with others in `wrong`."""
    for path, sure in copies:
        problem = damage(path, file)
        if problem is None:
            paths[file.name] = path
            return
        if sure and f"{path} {problem}" not in wrong:
            wrong.append(f"{path} {problem}")


def _kept_or_fetched(name, file, mine):
    """A verified path of `file` in the cache, downloaded if need be."""
    cached, removed = cache_dir() / file.path, ""
    if exists(cached):
        problem = damage(cached, file)
        if problem is None:
            return cached
        removed = f" (a copy there {problem}: not used)"
    if in_ci():
        with suppress(OSError):  # the cache may be read-only; then the next call refuses it again
            cached.unlink(missing_ok=True)
        reasons = [Reason("", "the ci profile uses no network", absent=True)]
    else:
        path, reasons = _download(file, cached)
        if not reasons:
            return path

    folder = os.environ.get("GENAI_DATA") or "<folder>"
    message = "\n".join(
        [f"{name}: the file {file.name} is not on this machine and could not be fetched."]
        + [f"  {line}" for line in mine.lines]
        + [f"  not in the cache: {cached}{removed}"]
        + [f"  not fetched: {reason}" for reason in reasons]
        + [f"Get it from {' or '.join(file.urls)}" if file.urls else "Get it"]
        + [f"and put it, packed or not, at {folder}/{file.path}, with GENAI_DATA set to {folder}."]
    )
    if mine.meant or not all(reason.absent for reason in reasons):
        raise DataError(message)
    error = Absent(message)
    error.why = f"{reasons[0].why if in_ci() else f'no network: {reasons[0].why}'}{removed}"
    raise error


def _download(file, cached):
    """(path, reasons): where the file now is, in the cache if it can be; or why it is nowhere."""
    try:
        return cached, _bring(file, cached)
    except Unwritable as error:
        unwritable = error
    kept = for_now() / file.path
    try:
        reasons = _bring(file, kept)
    except Unwritable as error:  # a full disk is no reason for a stand-in
        return kept, [Reason("", f"{where} cannot be written to") for where in (unwritable, error)]
    if not reasons:
        note(f"The cache cannot be written to ({unwritable}): {LASTS}.")
    return kept, reasons


def _bring(file, target):
    """Download `file` to `target` unless another process did. Returns the reasons why not."""
    with alone(target) as locked:
        # Another process may have finished it, or repaired it, while this one waited.
        if exists(target):
            if damage(target, file) is None:
                return []
            remove(target)
        reasons = download.download(file, target, locked)
        # What has no digest is checked here: its owners may have changed its columns.
        if not reasons and file.columns and (problem := damage(target, file)):
            remove(target)
            return [Reason(file.urls[0], f"what it gives {problem}")]
        return reasons
