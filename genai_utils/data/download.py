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
from hashlib import sha256

import pooch
import requests
from tqdm.auto import tqdm

# Seconds to wait before a transfer that had begun is taken up again; bytes gained start it anew.
PAUSES = (0.5, 2.0, 5.0)
CHUNK = 1 << 14  # bytes; at most so many are asked for twice
TIMEOUT = (10, 30)  # seconds to connect, seconds of silence


def download(file, target):
    """Fetch `file` to `target` from the first of its addresses that gives the right bytes.

    Returns (reasons, absent): why each address failed (none: `target` is in place), and whether
    all of them just could not be reached. Call it while holding the file's lock.
    """
    reasons, absent = [], True
    for url in file.urls:
        transfer = Transfer(file, part_of(target, url))
        try:
            try:
                _retrieve(url, file, target, transfer)
            except ValueError:
                # The part may have been the beginning of an older file: once more from the start.
                if not transfer.resumed:
                    raise
                _retrieve(url, file, target, transfer)
            return [], False
        except ValueError:
            how = " (SHA-256 does not match)" if file.sha256 else ""
            reasons.append(f"{url} gave a damaged or different file{how}")
            absent = False
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            reasons.append(f"{url} ({f'HTTP {status}' if status else type(error).__name__})")
        except OSError as error:
            reasons.append(f"{target.parent} cannot be written to ({error.strerror or error})")
            transfer.part.unlink(missing_ok=True)
            return reasons, False  # a full disk is no reason for a stand-in
    return reasons or ["no address is known"], absent


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
    finally:
        log.setLevel(level)
    target.chmod(0o644)  # pooch's temporary file is the owner's alone; a class may share a cache


class Transfer:
    """A pooch downloader of two halves: `complete` the part, then unpack it for pooch to check."""

    def __init__(self, file, part):
        self.file, self.part, self.resumed = file, part, False

    def complete(self, url):
        """Bring the part to its end, going on where an earlier transfer stopped."""
        begun, pauses = False, list(PAUSES)
        self.resumed = self._have() > 0
        while True:
            before = self._have()
            try:
                self._stream(url)
                break
            except requests.RequestException as error:
                gained = self._have() > before
                begun = begun or gained
                refused = error.response is not None and error.response.status_code < 500
                if gained:
                    pauses = list(PAUSES)
                if refused or not begun or not pauses:
                    raise
                time.sleep(pauses.pop(0))

    def __call__(self, url, output_file, pooch, check_only=False):
        try:
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
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
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
            raise ValueError(f"{url} is no whole gzip file") from error

    def _member(self, url, output_file):
        try:
            with zipfile.ZipFile(self.part) as archive:
                raw = archive.read(self.file.path)  # checks the member's CRC
        except (zipfile.BadZipFile, KeyError, zlib.error) as error:
            raise ValueError(f"{url} is no whole zip file with {self.file.path}") from error
        with open(output_file, "wb") as out:
            out.write(raw)


def _bar(title, start, total):
    """A progress bar for someone who is watching; none in a published page or a log."""
    ipython = sys.modules.get("IPython")
    watched = sys.stderr.isatty() or (ipython is not None and ipython.get_ipython() is not None)
    quiet = not watched or bool(os.environ.get("GENAI_PUBLISH"))
    return tqdm(
        desc=title, initial=start, total=total, unit="B", unit_scale=True, leave=False,
        disable=quiet,
    )  # fmt: skip
