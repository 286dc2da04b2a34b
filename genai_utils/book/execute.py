"""Run notebooks in place and write their run card, or estimate what they would train.

    python -m genai_utils.book.execute --profile cpu notebooks/24_vae.ipynb
    python -m genai_utils.book.execute --profile gpu --jobs 6 --log run.log
    python -m genai_utils.book.execute --estimate --profile gpu notebooks/24_vae.ipynb

The run card, in the notebook's metadata under "genai", says what the stored outputs came from:
profile, device, versions, seconds, those that the processors worked, peak memory, data sets, what
was trained, the recorded metrics, and the SHA-256 of the code cells. A notebook that fails is left
as it was and named with its cell; the others are run. `--log FILE` and `-v` write a line for each
cell while the notebooks run. Ctrl-C ends the kernels and all that they began; what is stored by
then stays.

`--estimate` needs no graphics card. It runs the notebooks with each training cut to two steps and
prints models, steps, FLOPs and the minutes of training on several cards (`genai_utils.book.cards`
says which of these numbers were measured). It ends with 1 where the gpu profile exceeds its bound.
The files stay as they are, but for `--store`: the estimate goes into the metadata, and the page of
the chapter shows it until there is a run card of a graphics card.
"""

import argparse
import contextlib
import datetime
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from genai_utils.book import estimate as estimates
from genai_utils.book.cards import excess, on_card, trained
from genai_utils.book.digest import code_sha256
from genai_utils.book.running import Kernel, NotebookError, check_writable, read, stop, write
from genai_utils.inputs import one_of, whole
from genai_utils.printing import say
from genai_utils.run import PROFILES

TIMEOUT, ESTIMATE_TIMEOUT = 3600, 600  # seconds for one cell


def load_card(notebook):
    """The run card of a notebook (a dict), or None where it has none."""
    return notebook.metadata.get("genai")


def execute(path, profile=None, timeout=TIMEOUT, log=None):
    """Run one notebook and store its outputs and run card in place. Returns the run card.

    timeout: seconds for one cell. log: called with a line for each cell, or None.

    Raises OSError (no such file, read-only, no room), ValueError (not a notebook, unknown profile,
    changed by somebody else while it ran) or NotebookError; in each case the file is left as it
    was.
    """
    path = Path(path)
    if profile is not None:
        one_of(profile, "profile", PROFILES)
    notebook, text = read(path)
    check_writable(path)
    environment = {"GENAI_ESTIMATE": None}  # what is stored was really trained
    if profile:
        environment["GENAI_PROFILE"] = profile
    with Kernel(path, notebook, timeout, log, **environment) as kernel:
        for index in range(len(notebook.cells)):
            kernel.run(index)
        card = json.loads(kernel.ask("genai_utils.run", "report"))
    card["code_sha256"] = code_sha256(notebook, card["profile"])
    card["date"] = datetime.date.today().isoformat()
    _clean(notebook, card)
    now = None
    with contextlib.suppress(OSError, UnicodeError):
        now = path.read_text(encoding="utf-8")
    if now != text:
        raise ValueError(f"{path} has changed while it ran; run it again.")
    write(notebook, path)
    return card


def _clean(notebook, card):
    """Keep what a reader needs: no widget state, no machine's kernel name, no empty streams."""
    estimate = None if on_card(card) else estimates.fresh(notebook)
    notebook.metadata.clear()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["genai"] = card
    if estimate:
        notebook.metadata[estimates.KEY] = estimate
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def _print(text):
    """Say it at once: who follows a log file does not wait for the end."""
    say(text, flush=True)


def _reason(error):
    """What to say of a failure; the traceback only where it is none that we know."""
    if isinstance(error, (OSError, ValueError, NotebookError)):
        return str(error)
    return "".join(traceback.format_exception(error))


def _run(path, options, log):
    """Run one notebook and say so. Returns whether all is well."""
    try:
        card = execute(path, options.profile, options.timeout or TIMEOUT, log)
    except Exception as error:  # one notebook must not end the others
        say(f"{path}: not stored.\n{_reason(error)}", sys.stderr)
        return False
    what = [card["profile"], f"{card['seconds']:.0f} s", f"{card['peak_memory_gb']:.1f} GB"]
    if card["training"]["models"]:
        what.append(f"trained {trained(card['training'])}")
    _print(f"{path}: {', '.join(what)}")
    return True


def _estimate(path, options, log):
    """Estimate one notebook and say so. Returns whether it keeps its bound."""
    profile = options.profile or "gpu"
    try:
        if options.store and Path(path).exists():
            check_writable(path)
        found, failed = estimates.estimate(path, profile, options.timeout or ESTIMATE_TIMEOUT, log)
        if options.store:
            estimates.store(path, found)
    except Exception as error:  # one notebook must not end the others
        say(f"{path}: no estimate.\n{_reason(error)}", sys.stderr)
        return False
    over = excess(found) if profile == "gpu" else []
    lines = [estimates.row(found, Path(path).stem)]
    if failed:
        lines.append(
            "  The estimate may be too low. With barely trained models these cells failed:"
        )
        lines += [f"  {line}" for sentence in failed for line in sentence.splitlines()]
    lines += [f"  Too much for the gpu profile: {sentence}." for sentence in over]
    _print("\n".join(lines))
    return not over


def _logger(options, paths):
    """A function `log(path)` of a notebook: what writes its lines to where it was asked for."""
    lock, lost = threading.Lock(), []
    names = Counter(Path(path).stem for path in paths)

    def write_line(line):
        with lock:
            if options.verbose:
                say(line, sys.stderr)
            if options.log and not lost:
                try:
                    with open(options.log, "a", encoding="utf-8") as file:
                        file.write(line + "\n")
                except OSError as error:  # no reason to lose the run
                    lost.append(error)
                    say(f"The log ends here: {error}", sys.stderr)

    def log(path):
        if not options.log and not options.verbose:
            return None
        # A line begins with the notebook's name, which two folders may have in common.
        before = f"{Path(path).parent}/" if names[Path(path).stem] > 1 else ""
        return lambda line: write_line(before + line)

    return log


def _all(paths, jobs, work):
    """Call `work` for each path, so many at once. Returns the paths for which it returned False.

    Raises KeyboardInterrupt, after all of it has ended.
    """
    pool = ThreadPoolExecutor(jobs)
    running = {pool.submit(work, path): path for path in paths}
    try:
        return [running[done] for done in as_completed(running) if not done.result()]
    except KeyboardInterrupt:
        say("Stopped. What was running is not stored.", sys.stderr)
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(work.done() for work in running):  # a kernel may just be starting
            stop()
            time.sleep(0.2)
        raise


@contextlib.contextmanager
def _stoppable():
    """The signals by which a time limit or a closed terminal ends a program act as Ctrl-C."""

    def interrupt(*_):
        raise KeyboardInterrupt

    kinds = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # One that is ignored stays so: `nohup` asks for that.
    kinds = [kind for kind in kinds if signal.getsignal(kind) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        kinds = []  # Python hands signals to the main thread alone
    for kind in kinds:
        signal.signal(kind, interrupt)
    try:
        yield
    finally:
        for kind in kinds:
            signal.signal(kind, signal.SIG_DFL)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.book.execute", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("notebooks", nargs="*", help="paths; all of notebooks/ when none is named")
    add("--profile", choices=PROFILES, help="default: gpu where CUDA is, else cpu")
    add("--timeout", type=int, help="seconds for one cell: 3600, in an estimate 600")
    add("--jobs", type=int, default=1, help="how many notebooks at once")
    add("--estimate", action="store_true", help="train two steps each and say what all would take")
    add("--store", action="store_true", help="keep the estimate in the notebook's metadata")
    add("--log", metavar="FILE", help="append a line for each cell to this file")
    add("-v", "--verbose", action="store_true", help="write these lines to stderr")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(map(str, Path("notebooks").glob("*.ipynb")))
    # A notebook that is named twice is run once: two runs would write the same file.
    once = {}
    for path in paths:
        once.setdefault(os.path.realpath(path), path)
    paths = list(once.values())
    if not paths:
        parser.error("no notebook named, and there is none in notebooks/")
    if options.store and not options.estimate:
        parser.error("--store belongs to --estimate; a run is always stored")
    if options.store and options.profile not in (None, "gpu"):
        parser.error("--store keeps an estimate of the gpu profile, which the pages show")
    try:
        whole(options.jobs, "--jobs")
        whole(1 if options.timeout is None else options.timeout, "--timeout")
        if options.log:
            open(options.log, "a", encoding="utf-8").close()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    log = _logger(options, paths)
    if options.estimate:
        _print(estimates.HEAD)
    work = _estimate if options.estimate else _run
    try:
        with _stoppable():
            failed = _all(paths, options.jobs, lambda path: work(path, options, log(path)))
    except KeyboardInterrupt:
        return 130
    if failed and len(paths) > 1:
        what = "over the bound or without an estimate" if options.estimate else "not stored"
        say(f"{len(failed)} of {len(paths)} {what}: {', '.join(sorted(failed))}", sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
