"""What the folder GENAI_DATA holds of a data set, under its usual names or other common ones.

The folder is the user's: nothing in it is changed. MNIST alone goes round as
train-images-idx3-ubyte and train-images.idx3-ubyte, packed or not, in mnist, in MNIST/raw, or each
file in a folder of its own name. Contents are verified, so it is enough that names are alike.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from .entries import DataError, catalogue, dataset

DEPTH = 3  # of folders below GENAI_DATA: archive, then two more


class Around(NamedTuple):
    """What else GENAI_DATA holds of a data set.

    copies: dict, file name -> list of (path, sure). sure: the copy bears the file's own name, so
    other contents are damage; else they are some other file's. others: files in the data set's own
    folder, or of such a name, of which nothing tells whether they are its own. closed: folders
    that cannot be read, each with the reason.
    """

    copies: dict
    others: list
    closed: list


def user_folder(name):
    """The folder that GENAI_DATA names, None where it is not set; DataError where it is none."""
    chosen = os.environ.get("GENAI_DATA")
    if not chosen:
        return None
    first = dataset(name).files[0].path
    try:
        folder = Path(chosen).expanduser()
        problem = None if folder.is_dir() else "which is no folder on this machine"
    except RuntimeError:
        problem = "but the user whom ~ means has no home folder"
    except OSError as error:
        problem = f"which cannot be read ({error.strerror or error})"
    if problem:
        raise DataError(
            f"{name}: GENAI_DATA is {chosen!r}, {problem}. Set it to the full path of the folder "
            f"that holds {first}, or unset it to use the cache and the network."
        )
    return folder


def usual(folder, file):
    """The usual places of a file below GENAI_DATA that hold anything, unpacked first."""
    return [path for path in (folder / file.path, folder / f"{file.path}.gz") if _holds(path)]


def around(name, folder):
    """Look through GENAI_DATA for what bears the name of a data set's files, or is like them."""
    entry = dataset(name)
    found = Around({file.name: [] for file in entry.files}, [], [])
    _walk(folder, entry, found, DEPTH)
    return found


def _walk(folder, entry, found, depth):
    """Add to `found` what lies in `folder`, and in those below that may hold the data set."""
    try:
        inside = [(path, path.is_dir()) for path in sorted(folder.iterdir())]
    except OSError as error:
        found.closed.append(f"{folder} cannot be read ({error.strerror or error})")
        return
    own_folder = alike(folder.name) in _own_folders(entry)
    for path, is_folder in inside:
        meant = [file for file in entry.files if alike(path.name) in _names(file)]
        if is_folder:
            if depth and (meant or alike(path.name) in _roads(entry)):
                _walk(path, entry, found, depth - 1)
            continue
        for file in meant:
            # What no digest vouches for is taken from its own folder alone.
            if file.sha256 or alike(folder.name) == alike(_folder_of(file)):
                found.copies[file.name].append((path, alike(path.name) == alike(file.name)))
            else:
                found.others.append(path)
        if own_folder and not meant and not path.name.startswith(".") and path.stem != "README":
            found.others.append(path)


def alike(name):
    """The letters and digits of a name, without .gz: the same for the spellings of one name."""
    return re.sub(r"[\W_]+", "", name.lower().removesuffix(".gz"))


def _names(file):
    return {alike(path.rsplit("/", 1)[-1]) for path in (file.path, *file.also)}


def _roads(entry):
    """Names of folders that may lead to the data set's files."""
    parts = [part for f in entry.files for path in (f.path, *f.also) for part in path.split("/")]
    return {"raw", "archive", alike(entry.name), *map(alike, parts)}


def _own_folders(entry):
    """Names of folders in which no other data set of the catalogue lives."""
    others = [file for e in catalogue.values() if e.name != entry.name for file in e.files]
    mine = {alike(entry.name)} | {alike(_folder_of(file)) for file in entry.files}
    return mine - {alike(_folder_of(file)) for file in others}


def _folder_of(file):
    return file.path.split("/")[-2] if "/" in file.path else ""


def _holds(path):
    """Whether a file is there; a broken link or a folder in its place is left to the walk."""
    try:
        return path.is_file()
    except OSError:  # a folder above may not be entered: the walk names it
        return False
