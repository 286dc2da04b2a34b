"""How a page reads: its height, how much of it is code, where the first picture stands, its bytes.

python -m tests.book.reading _build/html              a table of all chapters at 1280 pixels
"""

import functools
import json
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Code is what a cell ran and what show_source shows, as far as it is seen.
MEASURE = """
const seen = e => e.checkVisibility() && e.getBoundingClientRect().height > 0;
const article = document.querySelector('article.bd-article');
const code = [...article.querySelectorAll('.cell_input pre, .genai-source')].filter(seen);
const looks = 'img, canvas, svg, .genai-tokens, .genai-guesses, .genai-review, .genai-lora, '
  + '.genai-agent';
const pictures = [...article.querySelectorAll(looks)].filter(
  e => seen(e) && e.getBoundingClientRect().height >= 60);
const height = e => e.getBoundingClientRect().height;
return {
  height: document.documentElement.scrollHeight,
  code: code.reduce((sum, e) => sum + height(e), 0) / height(article),
  picture: pictures.length ? Math.min(...pictures.map(e => e.getBoundingClientRect().top)) + scrollY
    : 1e9,
};
"""


def reads(browser):
    """Height (CSS pixels), share of code, top of the first picture of the page that is open."""
    browser.js("return document.fonts.ready.then(() => true)")
    return browser.js(MEASURE)


def measure(browser, address, width=1280):
    """The same of the page at this address, and the bytes of a first visit."""
    browser.cdp("Network.enable")
    browser.cdp("Network.clearBrowserCache")
    browser.open(address, width=width)
    browser.wait("return document.readyState === 'complete'")
    browser.wait("return !window.MathJax?.startup || document.querySelector('mjx-container') "
                 "|| !document.querySelector('.math')")  # fmt: skip
    found = reads(browser)
    found["bytes"] = 0
    for entry in browser.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.loadingFinished":
            found["bytes"] += message["params"]["encodedDataLength"]
    return found


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def main(folder):
    import tempfile

    import tests.browser as chromium

    class Factory:
        @staticmethod
        def mktemp(name):
            return tempfile.mkdtemp(prefix=name)

    handler = functools.partial(Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        browsers = chromium.browser.__wrapped__(Factory)
        browser = next(browsers)
        print(f"{'page':22}{'height':>8}{'code':>7}{'picture':>9}{'kB':>7}")
        for page in sorted(Path(folder, "notebooks").glob("*.html")):
            address = f"http://127.0.0.1:{http.server_port}/notebooks/{page.name}"
            m = measure(browser, address)
            print(f"{page.stem:22}{m['height']:8,.0f}{m['code']:7.1%}{m['picture']:9,.0f}"
                  f"{m['bytes'] / 1000:7,.0f}", flush=True)  # fmt: skip
        next(browsers, None)
        http.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
