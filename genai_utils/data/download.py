"""One verified file from the network: several addresses, resumed, unpacked, moved in place whole.

pooch checks the digest and moves the finished file; this module adds what pooch's own downloader
leaves out: going on where a broken transfer stopped, and unpacking before the digest is taken.
"""

import gzip
import logging
import os
import shutil
import sys
import time
import zipfile
import zlib
from contextlib import suppress
from hashlib import sha256

import pooch
import requests
from tqdm.auto import tqdm

from .cache import Unwritable
from .reasons import TIMEOUT, Reason, reason_of

# Seconds to wait before a transfer that had begun is taken up again; bytes gained start it anew.
PAUSES = (0.5, 2.0, 5.0)
CHUNK = 1 << 14  # bytes; at most so many are asked for twice


def download(file, target, locked=True):
    """Fetch `file` to `target` from the first of its addresses that gives the right bytes.

    Returns the Reason why each address failed; none: `target` is in place. Call it while holding
    the file's lock; locked=False: there is none, so nothing is shared with another process. Raises
    Unwritable where the folder cannot be written to, or its disk is full.
    """
    reasons = []
    for url in file.urls:
        part = part_of(target, url) if locked else part_of(target, f"{url} {os.getpid()}")
        transfer = Transfer(file, part)
        try:
            try:
                _retrieve(url, file, target, transfer)
            except Different:
                # The part may have been the beginning of an older file: once more from the start.
                if not transfer.resumed:
                    raise
                _retrieve(url, file, target, transfer)
            return []
        except Different as error:
            reasons.append(Reason(url, str(error)))
        except requests.RequestException as error:
            reasons.append(reason_of(error, url, transfer.gained))
        except OSError as error:
            with suppress(OSError):
                transfer.part.unlink(missing_ok=True)
            raise Unwritable(f"{target.parent}: {error.strerror or error}") from None
    return reasons or [Reason("", "no address is known")]


class Different(Exception):
    """What came is not the file; str() says what it is."""


def part_of(target, url):
    """Where the unfinished transfer of `url` waits; no loader ever looks there."""
    return target.with_name(f"{target.name}.{sha256(url.encode()).hexdigest()[:8]}.part")


def _retrieve(url, file, target, transfer):
    transfer.complete(url)  # before pooch makes its temporary file: a kill -9 leaves only the part
    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.WARNING)  # its notices would stand in the published notebook
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}" if file.sha256 else None,
            fname=target.name,
            path=target.parent,
            downloader=transfer,
        )
    except ValueError:  # as pooch calls a wrong digest
        raise Different("a damaged or different file came (SHA-256 does not match)") from None
    finally:
        log.setLevel(level)
    with suppress(OSError):  # some disks know no modes
        target.chmod(0o644)  # pooch's temporary file is the owner's; a class may share a cache


class Transfer:
    """A pooch downloader of two halves: `complete` the part, then unpack it for pooch to check.

    resumed: whether it goes on from an earlier part. gained: bytes that came since.
    """

    def __init__(self, file, part):
        self.file, self.part, self.resumed, self.gained = file, part, False, 0

    def complete(self, url):
        """Bring the part to its end, going on where an earlier transfer stopped."""
        pauses = list(PAUSES)
        self.resumed = self._have() > 0
        while True:
            before = self._have()
            try:
                self._stream(url)
                break
            except requests.RequestException as error:
                refused = error.response is not None and error.response.status_code < 500
                if (gained := self._have() - before) > 0:
                    self.gained += gained
                    pauses = list(PAUSES)
                if refused or not self.gained or not pauses:
                    raise
                time.sleep(pauses.pop(0))

    def __call__(self, url, output_file, pooch, check_only=False):
        try:
            with open(self.part, "rb") as stream:
                head = stream.read(200).lstrip().lower()
            if head.startswith((b"<!doctype html", b"<html")):
                raise Different(
                    "a web page came instead of the file: open the address in a browser, the "
                    "network may want you to log in"
                )
            self._unpack(url, output_file)
        finally:
            self.part.unlink(missing_ok=True)

    def _have(self):
        return self.part.stat().st_size if self.part.exists() else 0

    def _stream(self, url):
        """Append to the part what the server still has; RequestException while it is unfinished."""
        have = self._have()
        headers = {"Accept-Encoding": "identity"}  # else offsets would count other bytes
        if have:
            headers["Range"] = f"bytes={have}-"
        with _asked(url, headers) as answer:
            said = answer.headers.get("Content-Range", "")
            if have and answer.status_code == 416 and said == f"bytes */{have}":
                return  # it was complete already
            continued = answer.status_code == 206 and said.startswith(f"bytes {have}-")
            if have and (answer.status_code == 416 or answer.status_code == 206 and not continued):
                self.part.unlink()
                return self._stream(url)
            answer.raise_for_status()
            start = have if continued else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            with (
                open(self.part, "ab" if start else "wb") as stream,
                _bar(self.file.name, start, total) as bar,
            ):
                for chunk in answer.iter_content(CHUNK):
                    stream.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._have() != total:
            raise requests.ConnectionError(f"{self._have()} of {total} bytes came")

    def _unpack(self, url, output_file):
        if url.split("?")[0].endswith(".zip"):
            return self._member(url, output_file)
        packed = url.split("?")[0].endswith(".gz") and not self.file.path.endswith(".gz")
        with open(self.part, "rb") as stream:
            packed = packed and stream.read(2) == b"\x1f\x8b"  # some servers unpack on the way
        if not packed:
            os.replace(self.part, output_file)
            return
        try:
            with gzip.open(self.part, "rb") as stream, open(output_file, "wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Different("a damaged or different file came (no whole gzip file)") from error

    def _member(self, url, output_file):
        try:
            with zipfile.ZipFile(self.part) as archive:
                raw = archive.read(self.file.path)  # checks the member's CRC
        except (zipfile.BadZipFile, KeyError, zlib.error) as error:
            what = f"no whole zip file that holds {self.file.path}"
            raise Different(f"a damaged or different file came ({what})") from error
        with open(output_file, "wb") as out:
            out.write(raw)


def _asked(url, headers):
    """The answer of a server. Whatever else is wrong before one comes is a RequestException too."""
    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException:
        raise
    except (OSError, ValueError) as error:  # a file of certificates that is not there, a bad name
        raise requests.RequestException(str(error)) from error


def _bar(title, start, total):
    """A progress bar for someone who is watching; none in a published page or a log."""
    ipython = sys.modules.get("IPython")
    watched = sys.stderr.isatty() or (ipython is not None and ipython.get_ipython() is not None)
    quiet = not watched or bool(os.environ.get("GENAI_PUBLISH"))
    return tqdm(
        desc=title, initial=start, total=total, unit="B", unit_scale=True, leave=False,
        disable=quiet,
    )  # fmt: skip
