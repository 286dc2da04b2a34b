"""How long a page takes from a sentence to its picture, on a processor four times as slow.

    python benchmarks/text_to_image.py [--throttle 4] [--repeats 3]

It opens `play("text_to_image")` in headless Chromium with the processor throttled, draws the first
sentence in the steps and with the guidance that the page opens with, and prints the seconds of each
repeat and the bytes of the figure. The aim of the book: at most 10 seconds, at most 900 kB.
Chromium and its driver are needed (on Debian `apt install chromium chromium-driver`).
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from genai_utils.toys import text_to_image

DRAW = """
const [done] = arguments;
const toy = document.querySelector('.genai').genaiTextToImage;
const [before, began] = [toy.state().finished, performance.now()];
toy.go();
const look = () => toy.state().finished > before ? done(performance.now() - began)
                                                 : setTimeout(look, 20);
look();
"""


def opened(bundle, folder, throttle):
    """A Chromium with the figure in a page of its own."""
    page = Path(folder) / "page.html"
    page.write_text(f'<!doctype html><meta charset="utf-8">{bundle.html}', encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    calm = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": calm})
    driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": throttle})
    driver.set_script_timeout(120)
    driver.get(page.as_uri())
    return driver


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--throttle", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    bundle = text_to_image.bundle()
    with tempfile.TemporaryDirectory() as folder:
        driver = opened(bundle, folder, options.throttle)
        try:
            took = [driver.execute_async_script(DRAW) / 1_000 for _ in range(options.repeats)]
        finally:
            driver.quit()
    print(f"figure: {bundle.size / 1_000:,.0f} kB (aim: at most 900)")
    print(
        f"throttled {options.throttle:g} times: {', '.join(f'{t:.1f}' for t in took)} s (aim: 10)"
    )


if __name__ == "__main__":
    main()
