"""A data set of one small file, and a server on 127.0.0.1 that can be as bad as the network is."""

import dataclasses
import gzip
import hashlib
import os
import socket
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genai_utils import data
from genai_utils.data import cache, download, entries, search

BODY = bytes(range(256)) * 1200  # 307,200 bytes, several chunks of the transfer


class Page:
    """What the server sends for one path; `cuts`: after how many bytes each answer breaks off.

    status 0: it hangs up without a word.
    """

    def __init__(self, body, *, ranges=True, cuts=(), status=200, truncated_to=None, wait=None):
        self.body, self.ranges, self.cuts = body, ranges, list(cuts)
        self.status, self.truncated_to, self.wait = status, truncated_to, wait


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked = {}, []  # asked: (path, Range header or None)
        self.proxy_says = None  # a status, where it plays a proxy

    def url(self, path, page):
        self.pages[path] = page
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.server.proxy_says:
            return self.send_error(self.server.proxy_says)
        page = self.server.pages[self.path]
        if page.status == 0:
            return None
        if page.status != 200:
            return self.send_error(page.status)
        body, start = page.body, 0
        if page.truncated_to is not None:
            body = body[: page.truncated_to]
        if wanted and page.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + page.cuts.pop(0) if page.cuts else len(body)
        self.wfile.write(body[start:end])
        self.wfile.flush()
        if page.wait is not None:
            page.wait.wait(30)

    def do_CONNECT(self):
        self.server.asked.append((self.path, None))
        self.send_error(self.server.proxy_says)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def dead_url():
    """An address at which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    return f"http://127.0.0.1:{port}/nothing"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Each test has its own empty cache (with a space in its path) and remembers nothing."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in ("GENAI_DATA", "GENAI_PROFILE", *proxies, *map(str.upper, proxies)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "a cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSES", (0, 0, 0))
    (tmp_path / "for now").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "for now"))
    cache.for_now.cache_clear()
    for remembered in (search._stood_in, cache._noted):
        remembered.clear()
    data.forget_used()


@pytest.fixture
def toy(monkeypatch):
    """toy(*urls, body=…) puts the data set "toy" of one file toy/toy.bin into the catalogue."""

    def put(*urls, body=BODY, stand_in=None):
        file = data.File("toy/toy.bin", urls, hashlib.sha256(body).hexdigest(), len(body))
        entry = data.Dataset(
            "toy", "Toy", "one file", "CC0", "nobody", "here", (file,), stand_in=stand_in
        )
        monkeypatch.setitem(data.catalogue, "toy", entry)
        return file

    return put


@pytest.fixture
def page():
    return Page


@pytest.fixture
def body():
    return BODY


@pytest.fixture
def cached(tmp_path):
    """Where the toy's file belongs in the cache."""
    return tmp_path / "a cache" / "toy" / "toy.bin"


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """MNIST's four files in small, packed, in a GENAI_DATA folder: 30 + 12 images of noise."""
    import numpy as np

    rng = np.random.default_rng(0)
    folder, files, truth = tmp_path / "mine", [], {}
    (folder / "mnist").mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 12)):
        x = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        y = rng.integers(0, 10, count, dtype=np.uint8)
        truth[part] = x, y
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            raw = bytes([0, 0, 8, array.ndim])
            raw += np.array(array.shape, ">i4").tobytes() + array.tobytes()
            path = f"mnist/{part}-{kind}-ubyte"
            (folder / f"{path}.gz").write_bytes(gzip.compress(raw))
            files.append(data.File(path, (), hashlib.sha256(raw).hexdigest(), len(raw)))
    entry = dataclasses.replace(data.catalogue["mnist"], files=tuple(files))
    monkeypatch.setitem(entries.catalogue, "mnist", entry)
    monkeypatch.setenv("GENAI_DATA", str(folder))
    return truth


@pytest.fixture
def homeless(monkeypatch):
    """A user without an entry in the password file, and no variable that names a home or a cache.

    Python then leaves the ~ of a string as it is, and Path.expanduser fails.
    """
    pwd = pytest.importorskip("pwd")
    for name in ("HOME", "USERPROFILE", "GENAI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(user):
        raise KeyError(f"uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)


REAL = os.environ.get("GENAI_DATA")


@pytest.fixture
def real_data(monkeypatch):
    """The real files, where the person who runs the tests has named a folder of them."""
    if not REAL or not os.path.isdir(REAL):
        pytest.skip("GENAI_DATA is not set to a folder of real data")
    monkeypatch.setenv("GENAI_DATA", REAL)
    return REAL
