"""Keeps what a student has solved, predicted and handed in, where the platform keeps such things.

One JSON file for all notebooks. `GENAI_PROGRESS` names another file (or a folder for it); on Colab
it lies in the mounted Drive, else beside the notebook; on Kaggle beside the notebook. Nothing is
kept while the book is published (GENAI_PUBLISH=1). Where nothing can be kept (no home folder, a
disk that is full or read-only), that costs a note, never the check; on a disk without locks it is
kept without one; a file that cannot be read is moved aside, never overwritten.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import sys
import tempfile
from pathlib import Path

import filelock
import platformdirs

FORMAT = "genai-from-scratch progress"
# 2 has predictions, 3 what was handed in: an earlier version of this book would drop them.
VERSION = 3
FAILURES = (OSError, RuntimeError, ValueError)  # of a disk, of a missing home, of an odd path
FIELDS = {
    "state": str, "solved": str, "last": str, "tries": int, "hints": int, "solution": bool,
    "code": str,
}  # fmt: skip
PREDICTED = {"said": str, "shown": bool, "right": bool, "last": str}
HANDED_IN = {"kind": str, "said": str, "note": str, "last": str, "earlier": list}
EARLIER = 5  # answers that are kept beside the last one: a figure may have 300 kB
PARTS = {"notebooks": FIELDS, "predictions": PREDICTED, "handed_in": HANDED_IN}
FLEETING = (
    "Your progress is kept in this runtime only and ends with it: mount your Drive, or write it "
    'out with progress("report.json").'
)
DRIVE = Path("/content/drive/MyDrive")  # of Colab, where it is mounted
_told: set[str] = set()  # notes that are said once


class Records:
    """The progress file. All but `read` return the notes to show; a disk never stops them."""

    def __init__(self, path: Path | None = None):
        self.named = path
        self.notes: list[str] = []

    @functools.cached_property
    def path(self) -> Path:
        """The file's place, which is looked for when it is needed: there may be none."""
        return Path(self.named) if self.named else place()

    def read(self) -> dict:
        """notebook -> exercise -> record. Empty if there is no file yet."""
        return self._content()["notebooks"]

    def _content(self) -> dict:
        """All that is kept: each of the PARTS, by notebook and name."""
        path, nothing = self.path, {part: {} for part in PARTS}
        try:
            text = path.read_text(encoding="utf-8-sig")  # an editor may put a mark before it
        except FileNotFoundError:
            return nothing
        except (OSError, UnicodeDecodeError) as problem:
            if isinstance(problem, OSError):
                raise
            text = ""
        try:
            content = json.loads(text)
            if content["format"] != FORMAT or not isinstance(content["version"], int):
                raise ValueError
            newer = content["version"] > VERSION  # its fields may be others
            content["notebooks"]  # which every version has
            parts = {} if newer else PARTS
            kept = {part: _shelves(content.get(part, {}), fields) for part, fields in parts.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._set_aside()
            return nothing
        if newer:
            raise OSError(
                f"{self.path} was written by a newer version of this book: install that one here, "
                "too, or let GENAI_PROGRESS name another file"
            )
        return kept

    def _set_aside(self):
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        aside = self.path.with_name(f"{self.path.stem}.unreadable-{stamp}{self.path.suffix}")
        os.replace(self.path, aside)
        self.notes.append(f"Your progress file could not be read. It is kept as {aside}.")

    def change(self, notebook: str, name: str, **changes) -> list[str]:
        """Merge changes into one record, and return notes. Tries are added, the rest replaced.

        Of the hints the highest number that was seen stays, also after a restart of the kernel.
        Once it is solved, a further check is no further try, and only other code that is correct
        takes the place of the code that solved it.
        """

        def merge(kept):
            record = kept["notebooks"].setdefault(notebook, {}).setdefault(name, _clean({}))
            if record["solved"]:
                changes.pop("tries", None)
                if changes.get("state", "correct") != "correct":
                    changes.pop("code", None)
            together = {"tries": int.__add__, "hints": max}
            for key, value in changes.items():
                record[key] = together[key](record[key], value) if key in together else value
            record["last"] = _now()
            if record["state"] == "correct" and not record["solved"]:
                record["solved"] = record["last"]

        return self._change(merge)

    def foretell(self, notebook: str, name: str, **changes) -> list[str]:
        """Merge changes into one prediction, and return notes. What was shown stays as it was."""

        def merge(kept):
            shelf = kept["predictions"].setdefault(notebook, {})
            record = shelf.setdefault(name, _clean({}, PREDICTED))
            if not record["shown"]:
                record.update(changes, last=_now())

        return self._change(merge)

    def hand_in(self, notebook: str, name: str, **found) -> list[str]:
        """Keep the answer to an open experiment, and return notes. The last EARLIER stay, too."""

        def merge(kept):
            shelf = kept["handed_in"].setdefault(notebook, {})
            record = shelf.setdefault(name, _clean({}, HANDED_IN))
            if all(record[key] == value for key, value in found.items()):
                return
            if record["said"]:
                record["earlier"].append({k: v for k, v in record.items() if k != "earlier"})
                del record["earlier"][:-EARLIER]
            record.update(found, last=_now())

        return self._change(merge)

    def _change(self, merge) -> list[str]:
        """Let `merge` change what is kept, and write it."""
        if os.environ.get("GENAI_PUBLISH") == "1":
            return []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as no_lock:
                kept = self._content()  # again, inside the lock: another notebook may have written
                merge(kept)
                write(self.path, {"format": FORMAT, "version": VERSION, **kept})
            if no_lock is not None:
                self._tell_once(f"Your progress is kept without a lock ({no_lock}).")
            if on_colab() and not DRIVE.is_dir() and not os.environ.get("GENAI_PROGRESS"):
                self._tell_once(FLEETING)
        except FAILURES as problem:
            self.notes.append(f"Your progress could not be saved ({problem}).")
        return self._told()

    def all(self) -> tuple[dict, list[str]]:
        """The records and the notes."""
        return self._part("notebooks")

    def predictions(self) -> tuple[dict, list[str]]:
        """notebook -> name -> what was predicted, and the notes."""
        return self._part("predictions")

    def handed_in(self) -> tuple[dict, list[str]]:
        """notebook -> name -> the answer to an open experiment, and the notes."""
        return self._part("handed_in")

    def _part(self, name):
        try:
            return self._content()[name], self._told()
        except FAILURES as problem:
            return {}, [f"Your progress could not be read ({problem}).", *self._told()]

    def _tell_once(self, note: str) -> None:
        """Note what matters once in a process: nothing was lost."""
        if note not in _told:
            _told.add(note)
            self.notes.append(note)

    def _told(self) -> list[str]:
        notes, self.notes = self.notes, []
        return notes


def saved(notes: list[str]) -> bool:
    """Whether a change that gave these notes is kept."""
    published = os.environ.get("GENAI_PUBLISH") == "1"
    return not published and not any("could not be saved" in note for note in notes)


@contextlib.contextmanager
def _locked(path: Path):
    """Keep other notebooks from writing. Yields None, or why the disk has no lock for it."""
    lock, why = filelock.FileLock(f"{path}.lock", timeout=3), None
    try:
        lock.acquire()
    except filelock.Timeout:
        raise
    except (OSError, NotImplementedError) as problem:
        lock, why = contextlib.nullcontext(), problem
    with lock:
        yield why


def _shelves(shelves, fields) -> dict:
    return {n: {e: _clean(r, fields) for e, r in s.items()} for n, s in shelves.items()}


def _clean(record, fields=FIELDS) -> dict:
    """A record with every field, each of its type."""
    if not isinstance(record, dict):
        raise TypeError
    clean = {key: record.get(key, kind()) for key, kind in fields.items()}
    if not all(isinstance(clean[key], kind) for key, kind in fields.items()):
        raise TypeError
    return clean


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def place() -> Path:
    """Where the progress file lies on this platform."""
    named = os.environ.get("GENAI_PROGRESS")
    if named:
        path = Path(named).expanduser()
        return path / "progress.json" if path.is_dir() else path
    if on_colab():
        return (DRIVE / "genai-from-scratch" if DRIVE.is_dir() else Path.cwd()) / "progress.json"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return Path.cwd() / "progress.json"
    with contextlib.suppress(RuntimeError):  # no HOME, and no entry in the password file
        folder = Path(platformdirs.user_data_dir("genai-from-scratch", appauthor=False))
        if folder.is_absolute():  # older platformdirs leave a ~ that nobody can expand
            return folder / "progress.json"
    raise OSError("you have no home folder; GENAI_PROGRESS can name a file to keep it in")


def on_colab() -> bool:
    """Whether this notebook runs on Google Colab."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def write(path: Path, content: dict | str) -> None:
    """Write a file whole or not at all."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1, sort_keys=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        with contextlib.suppress(OSError):  # some disks know no permissions
            os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
