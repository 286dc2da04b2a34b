"""What a notebook would train, found without training: each `fit` takes two steps and counts.

    estimate("notebooks/10_gpt.ipynb", "gpu")["minutes"]["T4"]

The notebook runs in the named profile, on the CPU where there is no card, and its file is not
touched. Only what `fit` trains is counted; loops that a notebook writes itself are not. Evaluation
is cut short, see `book.rehearsal`. A cell that fails on barely trained models, takes too long or
shows too much is named, and the next ones are run; what such cells would have trained is missing,
so the estimate may then be too low.
"""

import datetime
from pathlib import Path

from genai_utils.book.cards import CARDS, minutes
from genai_utils.book.digest import code_sha256
from genai_utils.book.running import CellError, CellTimeout, Kernel, NotebookError, read, write
from genai_utils.inputs import one_of
from genai_utils.run import PROFILES

KEY = "genai_estimate"  # in the notebook's metadata


def estimate(path, profile="gpu", timeout=600, log=None):
    """Run a notebook with each training cut to two steps. Returns the estimate and what failed.

    The estimate is a dict: "profile", "models", "steps" and "flops" in sum, "minutes" of training
    for each card, "failed" (the number of cells), "code_sha256" and "date". What failed is a list
    of sentences. timeout: seconds for one cell. log: as in `Kernel`.

    Raises FileNotFoundError, ValueError (not a notebook, unknown profile), NotebookError (no kernel
    starts, or it was stopped).
    """
    one_of(profile, "profile", PROFILES)
    path = Path(path)
    notebook, _ = read(path)
    trainings, failed = [], []
    environment = {"GENAI_PROFILE": profile, "GENAI_ESTIMATE": "1"}
    with Kernel(path, notebook, timeout, log, forgiving=True, **environment) as kernel:
        try:
            kernel.ask("genai_utils.book.rehearsal", "begin")
            for index, cell in enumerate(notebook.cells):
                try:
                    kernel.run(index)
                except CellError as error:
                    failed.append(str(error))
                except CellTimeout as error:
                    failed.append(str(error))
                    kernel.interrupt()
                # Asked after each cell, since the next one may kill the kernel.
                if cell.cell_type == "code":
                    trainings = kernel.ask("genai_utils.training.ledger", "trainings")
        except NotebookError as error:
            if kernel.stopped:
                raise
            failed.append(f"{error} The cells after it were not run.")
    found = {
        "profile": profile,
        "models": len(trainings),
        "steps": sum(t["steps"] for t in trainings),
        "flops": sum(t["flops"] for t in trainings),
        "minutes": {card: round(minutes(trainings, card), 2) for card in CARDS},
        "failed": len(failed),
        "code_sha256": code_sha256(notebook, profile),
        "date": datetime.date.today().isoformat(),
    }
    return found, failed


def store(path, found):
    """Write an estimate into the notebook's metadata, and change nothing else there.

    Raises ValueError where the code has changed in the meantime.
    """
    path = Path(path)
    notebook, _ = read(path)
    if code_sha256(notebook, found["profile"]) != found["code_sha256"]:
        raise ValueError(f"{path} has changed while it was estimated; estimate it again.")
    notebook.metadata[KEY] = found
    write(notebook, path)


def load(notebook):
    """The stored estimate, or None where there is none."""
    return notebook.metadata.get(KEY)


def fresh(notebook):
    """The stored estimate, or None where there is none or the code has changed since."""
    found = load(notebook)
    if found and found["code_sha256"] == code_sha256(notebook, found["profile"]):
        return found
    return None


HEAD = (
    f"{'':20}{'models':>8}{'steps':>10}{'PFLOP':>9}"
    + "".join(f"{card:>11}" for card in CARDS)
    + "   (minutes of training)"
)


def row(found, name):
    """The estimate as a line below `HEAD`."""
    cells = "".join(f"{found['minutes'][card]:11.1f}" for card in CARDS)
    return f"{name:20}{found['models']:8}{found['steps']:10,}{found['flops'] / 1e15:9.3f}{cells}"
