"""A short notebook in JupyterLab: how it reads before it is trusted, then run and used.

Its set-up, imports and exercise are those of chapter 24, its pad is the one stored there.
"""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest

from genai_utils.display.drawing import drawing_bundle
from genai_utils.display.explorer import explorer_bundle
from genai_utils.display.stored import upgrade

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "notebooks/24_vae.ipynb"
EXPLORE = """import numpy as np
from genai_utils.course import explore

explore(lambda k: np.full((8, 8), k / 4), alt="A grey square.", k=[0, 1, 2, 3])"""
LAB = """import ipywidgets
from matplotlib.figure import Figure

def build():
    field, answer = ipywidgets.Text(placeholder="a word"), ipywidgets.HTML()
    field.observe(lambda change: setattr(answer, "value", change["new"][::-1]), "value")
    return ipywidgets.VBox([field, answer])

lab(build, Figure, alt="A field and its answer.")"""
SOLUTION = "return mu + (0.5 * logvar).exp() * eps"

# What a test looks at, in the cell of that number.
CELL = "document.querySelectorAll('.jp-NotebookPanel .jp-Cell')[{}]"
PANEL = "window.jupyterapp.shell.currentWidget"


def stored(bundle):
    return nbformat.v4.new_output("display_data", data=dict(bundle))


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The path of the notebook, and the numbers of its cells by name."""
    chapter = nbformat.read(CHAPTER, as_version=4)
    code = [cell for cell in chapter.cells if cell.cell_type == "code"]
    sources = {"set-up": code[0].source, "imports": code[1].source}
    sources["explorer"], sources["lab"] = EXPLORE, LAB
    stubs = (cell.source for cell in code if cell.source.startswith("def reparameterize"))
    sources["exercise"] = next(stubs)
    sources["check"] = "check(reparameterize)"
    pads = (
        o.data["text/html"] for c in code for o in c.outputs if "text/html" in o.get("data", {})
    )
    pad = next(html for html in pads if 'data-explorer="pad"' in html)
    cells = [nbformat.v4.new_code_cell(source) for source in sources.values()]
    grey = {"draw": lambda k: np.full((8, 8), k / 4), "k": [0, 1, 2, 3]}
    picture = explorer_bundle(**grey, alt="A grey square.")
    cells[list(sources).index("explorer")].outputs = [stored(picture.data)]
    # The kernel never runs these, so that they stay what a repository holds.
    cells.append(
        nbformat.v4.new_raw_cell("The pad of the chapter, as it is stored, and a drawing:")
    )
    cells.append(nbformat.v4.new_code_cell("", outputs=[stored({"text/html": upgrade(pad)})]))
    cells.append(nbformat.v4.new_code_cell("", outputs=[stored(drawing_bundle("attention").data)]))
    path = tmp_path_factory.mktemp("lab") / "short.ipynb"
    written = nbformat.v4.new_notebook(cells=cells, metadata=dict(chapter.metadata))
    nbformat.write(written, path)
    return path, {name: index for index, name in enumerate([*sources, "", "pad", "drawing"])}


@pytest.fixture(scope="module")
def server(notebook, tmp_path_factory):
    """The address of a JupyterLab that knows nothing of its user's settings."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed (pip install '.[test]')")
    home = tmp_path_factory.mktemp("jupyter")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
               "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")  # fmt: skip
    environment = {**os.environ, **{name: str(home / name) for name in folders}}
    environment |= {"GENAI_PROFILE": "ci", "GENAI_PROGRESS": str(home / "progress.json")}
    environment |= {"PYTHONPATH": str(ROOT), "GENAI_PUBLISH": ""}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
        f"--ServerApp.root_dir={notebook[0].parent}", "--expose-app-in-browser",
    ]  # fmt: skip
    log = home / "log"
    address = f"http://127.0.0.1:{port}/lab"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=home)
    try:
        while not answers(address):
            assert process.poll() is None, log.read_text()[-3000:]
        yield address
    finally:
        process.terminate()
        process.wait()


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except (urllib.error.URLError, TimeoutError):
        return False
    return True


class Lab:
    """The opened notebook."""

    def __init__(self, browser, cells):
        self.browser, self.cells = browser, cells

    def cell(self, name, script, *arguments, seconds=60):
        """The first true value of a script in which `cell` is the element of that cell."""
        place = CELL.format(self.cells[name])
        return self.browser.wait(
            f"const cell = {place}; if (cell) {{ {script} }}", *arguments, seconds=seconds
        )

    def now(self, name, script, *arguments):
        return self.browser.js(
            f"const cell = {CELL.format(self.cells[name])}; {script}", *arguments
        )

    def run(self, *names):
        """Run some cells, as Shift+Enter would; all where none is named."""
        command = "notebook:run-cell" if names else "notebook:run-all-cells"
        for name in names or [""]:
            if name:
                self.browser.js(f"{PANEL}.content.activeCellIndex = {self.cells[name]}")
            self.browser.js(f"window.jupyterapp.commands.execute('{command}')")


RIGHT = """
const box = cell.querySelector('input[type=range]').getBoundingClientRect();
return [box.x + 0.8 * box.width, box.y + box.height / 2];
"""
SHOWN = "[...cell.querySelectorAll({!r})].filter(e => e.getClientRects().length)"


@pytest.fixture(scope="module")
def lab(browser, server, notebook):
    path, cells = notebook
    browser.open(f"{server}/tree/{path.name}", width=1280, height=4000)
    lab = Lab(browser, cells)
    lab.cell("pad", "return cell.querySelector('.genai-pad img')")
    return lab


def test_before_it_is_trusted_it_says_why_nothing_moves(lab):
    for name in ("explorer", "pad"):
        lines = lab.now(name, f"return {SHOWN.format('.genai-untrusted')}.map(e => e.textContent)")
        assert len(lines) == 1 and "trust the notebook" in lines[0]
        dead = SHOWN.format("input, button, .genai-padline, .genai-controls")
        assert lab.now(name, f"return {dead}.length") == 0
        assert lab.now(name, "return cell.querySelectorAll('script, style').length") == 0
    legend = lab.now("pad", "return cell.querySelector('.genai-legend').innerText")
    assert legend.split() == list("0123456789")
    swatch = "return cell.querySelector('.genai-legend i').getBoundingClientRect().width"
    assert lab.now("pad", swatch) > 5


def test_before_it_is_trusted_a_drawing_is_told_in_words(lab):
    """JupyterLab drops the drawing; its labels must not stand there without it, one by one."""
    lab.cell("drawing", "return cell.querySelector('.genai-drawing')")
    assert lab.now("drawing", "return cell.querySelectorAll('svg, style').length") == 0
    told = lab.now("drawing", "return cell.querySelector('.genai-alt').getBoundingClientRect()")
    assert told["height"] > 10 and told["width"] > 100
    left = lab.now(
        "drawing",
        """const words = document.createTreeWalker(cell.querySelector('figure > div'), 4), seen = [];
        while (words.nextNode()) {
          const range = document.createRange();
          range.selectNodeContents(words.currentNode);
          if (range.getBoundingClientRect().width > 1) seen.push(words.currentNode.data);
        }
        return seen;""",
    )
    assert left == []


def test_run_and_used(lab, browser):
    browser.wait(f"return {PANEL}.sessionContext.session?.kernel?.status === 'idle'", seconds=60)
    lab.run()
    verdict = "return cell.querySelector('.jp-OutputArea')?.innerText.includes(arguments[0])"
    lab.cell("check", verdict, "to do", seconds=90)

    # an explorer moves
    lab.cell("explorer", "return cell.querySelector('.genai-controls input')?.offsetWidth")
    assert lab.now("explorer", f"return {SHOWN.format('.genai-untrusted')}.length") == 0
    before = lab.now("explorer", "return cell.querySelector('img').src")
    click(browser, *lab.now("explorer", RIGHT))
    lab.cell("explorer", "return cell.querySelector('img').src !== arguments[0]", before)

    # a lab answers
    lab.cell("lab", "return cell.querySelector('input[type=text]')")
    lab.now("lab", "cell.querySelector('input[type=text]').focus()")
    browser.cdp("Input.insertText", text="drow")
    lab.cell("lab", "return cell.querySelector('.jp-OutputArea').innerText.includes('word')")

    # an exercise is solved
    browser.js(
        f"{PANEL}.content.activeCellIndex = {lab.cells['exercise']};"
        f"{PANEL}.content.mode = 'edit'; {PANEL}.content.activeCell.editor.focus();"
    )
    press(browser, "End", 35, modifiers=2)  # Ctrl+End: behind the three points
    for _ in "...":
        press(browser, "Backspace", 8)
    browser.cdp("Input.insertText", text=SOLUTION)
    lab.cell("exercise", "return cell.innerText.includes(arguments[0])", SOLUTION)
    lab.run("exercise", "check")
    lab.cell("check", verdict, "correct")


def press(browser, name, code, modifiers=0):
    pressed = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
    for kind in ("keyDown", "keyUp"):
        browser.cdp("Input.dispatchKeyEvent", type=kind, **pressed)


def click(browser, x, y):
    where = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        browser.cdp("Input.dispatchMouseEvent", type=kind, **where)
