"""Is a copy of a file the right one? By its digest, or for a table by its columns."""

import csv
import gzip
import hashlib
import io
import zlib
from pathlib import Path


def read_bytes(path):
    """The contents of a fetched file, unpacked."""
    with _opened(Path(path)) as stream:
        return stream.read()


def damage(path, file):
    """What is wrong with the copy of `file` at `path`, in words; None where it is right."""
    digest, size = hashlib.sha256(), 0
    try:
        if path.is_dir():
            return "is a folder and no file"
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
        rows = csv.reader(io.StringIO(raw.decode("utf-8-sig")))  # spreadsheets write a mark first
        if (header := ",".join(next(rows, []))) != columns:
            return f"has the columns {header[:60]!r} instead of {columns!r}"
        ragged = sum(len(row) != columns.count(",") + 1 for row in rows)
    except (UnicodeDecodeError, csv.Error) as error:
        return f"is no table ({error})"
    if ragged or not raw.endswith(b"\n") or raw.count(b"\n") < 2:
        return "is no whole table: a line is cut off, or there is none"
    return None


def _opened(path):
    """The file, unpacked on the way where it is packed: names do not always tell."""
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")
