"""Headless Chromium for the tests that open pages: the fixture `browser`, one per worker.

Installed already where `tests/conftest.py` imports it. Skips with a reason where no Chromium is.

    def test_something(browser, tmp_path):
        browser.open(page, width=390)          # a path or a URL
        assert browser.errors() == [] and browser.overflow() == 0
        browser.open(page, width=390, wide=True)       # as where a wider font is installed
"""

import base64
import contextlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--hide-scrollbars",
)

# Which fonts a machine has is no affair of the tests: letters set apart are as wide as those of any
# font. MathJax brings fonts of its own for what is seen of a formula; what it hides there for
# screen readers is set in a font of the machine.
WIDE = """
* { letter-spacing: 0.12em !important; }
mjx-container mjx-math * { letter-spacing: normal !important; }
mjx-assistive-mml * { letter-spacing: 0.5em !important; }
"""
FORCE = """
(css => {
  const force = () => {
    const style = document.createElement('style');
    style.textContent = css;
    document.documentElement.append(style);
  };
  if (document.documentElement) force();
  else new MutationObserver((changes, observer) => { observer.disconnect(); force(); })
    .observe(document, {childList: true});
})(%s);
"""


def luminance(colour):
    """Of a computed style's rgb(…), from 0 to 1, as WCAG 2.2 defines it."""
    channels = [float(v) / 255 for v in re.findall(r"[\d.]+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """Of two colours, from 1 to 21; text can be read from 4.5 on (WCAG 2.2, 1.4.3)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class Browser:
    """The few things that tests ask of a browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page, width=1200, height=900, dark=False, calm=False, wide=False):
        """Open a path or URL at a width in CSS pixels; a narrow one is a phone with touch.

        wide: with all text set wider than on this machine, as another font would set it.
        """
        phone = width < 600
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            screenWidth=width,
            screenHeight=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.cdp("Emulation.setEmulatedMedia", features=features)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)  # reading empties it
        url = page if "://" in str(page) else Path(page).resolve().as_uri()
        with self.forced(WIDE if wide else ""):
            self.driver.get(url)

    @contextlib.contextmanager
    def forced(self, css):
        """Pages that are opened meanwhile have this style sheet from their first moment."""
        if not css:
            yield
            return
        source = FORCE % json.dumps(css)
        name = self.cdp("Page.addScriptToEvaluateOnNewDocument", source=source)["identifier"]
        try:
            yield
        finally:
            self.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=name)

    def cdp(self, command, **arguments):
        """A command of the Chrome DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def js(self, script, *arguments):
        """What a script returns; write `return` in it."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *names):
        """Press the buttons with these words, one after the other, without a frame between."""
        buttons = "[...document.querySelectorAll('button')]"
        find = f"{buttons}.find((one) => one.textContent.trim() === name)"
        self.js(f"for (const name of arguments) {find}.click()", *names)

    def wait(self, script, *arguments, seconds=30):
        """The first true value of a script; fails after some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.js(script, *arguments)
            if value:
                return value
            time.sleep(0.03)
        pytest.fail(f"Not within {seconds} s: {script}")

    def errors(self):
        """Errors in the console since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE"]  # fmt: skip

    def requests(self):
        """URLs other than data: and blob: that the page asked for since it was opened."""
        urls = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return [url for url in urls if urlsplit(url).scheme not in ("data", "blob")]

    def overflow(self):
        """CSS pixels by which the page is wider than the screen."""
        # On a phone a page that is too wide widens the layout; the screen is the visual viewport.
        return self.js(
            "const e = document.scrollingElement;"
            "return Math.max(0, e.scrollWidth - Math.min(e.clientWidth, screen.width));"
        )

    def screenshot(self, path):
        """Save the whole page as PNG."""
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def started(profile):
    """A headless Chromium whose profile is in this folder; LookupError where none is installed."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary = os.environ.get("CHROME_BIN") or next(filter(None, map(shutil.which, BINARIES)), None)
    driver_path = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    if not binary or not driver_path:
        raise LookupError(
            "no Chromium with its chromedriver is installed (apt install chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    driver.set_page_load_timeout(60)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium with an empty profile; skips where none is installed."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(started(tmp_path_factory.mktemp("chromium")))
        except LookupError as why:
            pytest.skip(str(why))
        yield opened
