"""The book as a reader meets it: bytes of a first visit, time to the first picture, build, import.

    python -m benchmarks.book _build/html              # bytes of each page; needs Chromium
    python -m benchmarks.book _build/html --slow       # and how soon one sees something
    python -m benchmarks.book --build                  # builds it cold and warm
    python -m benchmarks.book --install                # into a fresh environment, from the network
    python -m benchmarks.book --import

What was found is kept in book.json, and a line is printed for each page or command.

The page is served compressed, as hosts do, and opened with an empty cache. All that the site sends
counts until the page has been still for two seconds; nobody scrolls. `--slow` takes the line and
the processor that Lighthouse takes for a telephone: 1.6 Mbit/s, answers after 150 ms, four times as
slow. The first picture is the first image, drawing or canvas of the text with 100 pixels each way.
"""

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.compare import save
from genai_utils.book.chapters import Book
from genai_utils.printing import say

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).with_suffix(".json")
MOST = 1e6  # bytes of a first visit, compressed
LINE = {"offline": False, "latency": 150, "downloadThroughput": 2e5, "uploadThroughput": 9.4e4}
SLOWER, STILL = 4, 2.0  # times; seconds
PACKED = {".png", ".jpg", ".webp", ".woff2", ".woff", ".ico", ".gz"}  # these are compressed already

FIRST_PICTURE = """
(() => {
  const look = () => {
    for (const one of document.querySelectorAll("article img, article canvas, article svg")) {
      const box = one.getBoundingClientRect();
      if (box.width >= 100 && box.height >= 100 && one.complete !== false) {
        window.firstPicture = performance.now();
        return;
      }
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""
FIRST_TEXT = """
const [paint] = performance.getEntriesByName("first-contentful-paint");
return paint ? paint.startTime : null;
"""


class Site(SimpleHTTPRequestHandler):
    """Files of a folder, compressed; counts what it sends."""

    sent: dict[str, int] = {}  # path → bytes
    packed: dict[str, bytes] = {}  # a host keeps them, too

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        raw = path.suffix in PACKED
        if str(path) not in self.packed:
            data = path.read_bytes()
            self.packed[str(path)] = data if raw else gzip.compress(data, 6)
        body = self.packed[str(path)]
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(body)))
        if not raw:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.sent[self.path] = len(body)  # before: who reads the body may ask for it at once
        self.wfile.write(body)

    def log_message(self, *given):
        pass


def served(folder):
    """A server of the folder, and its address."""
    handler = lambda *given: Site(*given, directory=str(folder))  # noqa: E731
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def visit(browser, address, page, slow):
    """A first visit: bytes, files, and if slow, seconds until the first text and picture."""
    Site.sent.clear()
    browser.cdp("Network.clearBrowserCache")
    browser.open(f"{address}{page}.html", width=390, height=844)
    known, since = -1, time.monotonic()
    while time.monotonic() - since < STILL:
        if len(Site.sent) != known:
            known, since = len(Site.sent), time.monotonic()
        time.sleep(0.1)
    sent = dict(Site.sent)
    found = {"bytes": sum(sent.values()), "files": len(sent), "largest": max(sent, key=sent.get)}
    if slow:
        times = {"text": FIRST_TEXT, "picture": "return window.firstPicture"}
        times = {name: browser.js(script) for name, script in times.items()}
        found["seconds"] = {name: t and round(t / 1000, 2) for name, t in times.items()}
        found["seconds"]["load"] = round(os.getloadavg()[0], 1)  # other work: the times are bounds
    return found


def pages(folder, names, slow):
    """The first visits of pages of a built book, one by one: name, what was found."""
    from tests.browser import started

    server, address = served(folder)
    with tempfile.TemporaryDirectory() as profile, started(profile) as browser:
        browser.driver.set_page_load_timeout(600)
        browser.cdp("Network.enable")
        if slow:
            browser.cdp("Network.emulateNetworkConditions", **LINE)
            browser.cdp("Emulation.setCPUThrottlingRate", rate=SLOWER)
            browser.cdp("Page.addScriptToEvaluateOnNewDocument", source=FIRST_PICTURE)
        for name in names:
            yield name, visit(browser, address, name, slow)
    server.shutdown()


def told(name, found):
    """A line for a page."""
    line = f"{name:36} {found['bytes'] / 1e3:6.0f} kB in {found['files']:3} files"
    line += "" if found["bytes"] <= MOST else f", OVER {MOST / 1e6:g} MB"
    if times := found.get("seconds"):
        line += f"; text after {times['text']} s, picture after {times['picture']} s"
    return line


def timed(*command, **environment):
    """Seconds of a command by the wall, and of the processor, those of its children with it."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | environment)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(wall, 2), "processor": round(used, 2)}


def build():
    """The book from nothing, and once more when nothing has changed."""
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build",
                   ".", "-q", "--path-output", folder)  # fmt: skip
        return {"cold build": timed(*command), "warm build": timed(*command)}


def install():
    """A fresh environment with all that builds and tests the book."""
    with tempfile.TemporaryDirectory() as folder:
        made = timed(sys.executable, "-m", "venv", folder)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        pip = (str(python), "-m", "pip", "install", "-q", "-r", "requirements.txt")
        return {"environment": made, "pip install": timed(*pip)}


def imports():
    """What a notebook imports first, in processes of their own, and a bare one to compare."""
    course = "import genai_utils.course as course"
    code = {
        "python": "pass",
        "import genai_utils.course": course,
        "its first figure": f"{course}; course.show",
    }
    return {name: timed(sys.executable, "-c", lines) for name, lines in code.items()}


def main(argv=None) -> int:
    """Measure what is asked for; 1 if a page is over its bound."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.book", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, help="of a built book: its pages")
    parser.add_argument("--pages", nargs="+", metavar="NAME", help="only these: notebooks/24_vae")
    parser.add_argument("--slow", action="store_true", help="on a slow line and processor")
    for kind in ("build", "install", "import"):
        parser.add_argument(f"--{kind}", action="store_true")
    given = vars(parser.parse_args(argv))
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    where = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    for kind, measure in (("build", build), ("install", install), ("import", imports)):
        if given[kind]:
            kept.setdefault("commands", {}).update(
                {name: seconds | where for name, seconds in measure().items()}
            )
    if given["folder"]:
        names = given["pages"] or ["book/intro", *(f"notebooks/{n}" for n in Book(ROOT).chapters)]
        for name, found in pages(given["folder"], names, given["slow"]):
            kept.setdefault("pages", {}).setdefault(name, {}).update(found)
            save(KEPT, kept)
            say(told(name, found))
    for name, seconds in kept.get("commands", {}).items():
        say(f"{name:36} {seconds['wall']:7.1f} s, {seconds['processor']:.1f} s of the processor")
    save(KEPT, kept)
    return int(any(one["bytes"] > MOST for one in kept.get("pages", {}).values()))


if __name__ == "__main__":
    sys.exit(main())
