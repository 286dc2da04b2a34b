"""Run notebooks in place and write their run card.

    python -m genai_utils.course.execute --profile cpu notebooks/24_vae.ipynb

The run card, in the notebook's metadata under "genai", says what the stored outputs came from:
profile, device, versions, seconds, peak memory, data sets, the recorded metrics, and the SHA-256 of
the code cells. A notebook that fails is left as it was; its traceback is printed.
"""

import argparse
import ast
import datetime
import hashlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

from genai_utils.course.client import Client
from genai_utils.course.session import PROFILES

# The repository's address may change (genai_utils.course.address) without making results stale.
_ADDRESS = re.compile(r"https://[^\"'\s]+")
_REPORT = "__import__('genai_utils.course.session', fromlist=['report']).report()"


def code_sha256(notebook):
    """SHA-256 of the code cells, in order; URLs are left out, and so is trailing white space."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(_ADDRESS.sub("<address>", cell.source.rstrip()).encode() + b"\0")
    return digest.hexdigest()


def load_card(notebook):
    """The run card of a notebook (a dict), or None where it has none."""
    return notebook.metadata.get("genai")


def execute(path, profile=None, timeout=3600):
    """Run one notebook and store its outputs and run card in place. Returns the run card.

    Raises FileNotFoundError, ValueError (not a notebook, unknown profile) or nbclient's
    CellExecutionError; in each case the file is left as it was.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no notebook at {path}.")
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"The profile is one of {', '.join(PROFILES)}; it is {profile!r}.")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a notebook: {error}") from error

    environment = dict(os.environ, GENAI_PUBLISH="1", PYTHONWARNINGS="ignore::FutureWarning")
    # OpenMP threads wait by spinning. On cores that others use too, that made a training run 12
    # times slower; a short spin costs nothing measurable on free ones.
    environment.setdefault("GOMP_SPINCOUNT", "3000")
    if profile:
        environment["GENAI_PROFILE"] = profile
    with tempfile.TemporaryDirectory(prefix="genai-") as folder:
        client = Client(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=50"],
        )
        with client.setup_kernel(env=environment):
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    client.execute_cell(cell, index)
            reply = client.kc.execute(
                "", user_expressions={"report": _REPORT}, silent=False, store_history=False
            )
            content = client.wait_for_reply(reply)["content"]
    expression = content["user_expressions"]["report"]
    if expression["status"] != "ok":
        raise ValueError(f"{path} gives no run card: {expression['evalue']}")
    # The kernel answers with the repr of a JSON string.
    card = json.loads(ast.literal_eval(expression["data"]["text/plain"]))
    card["code_sha256"] = code_sha256(notebook)
    card["date"] = datetime.date.today().isoformat()
    _clean(notebook, card)
    _write(notebook, path)
    return card


def _clean(notebook, card):
    """Keep what a reader needs: no widget state, no machine's kernel name, no empty streams."""
    notebook.metadata.clear()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["genai"] = card
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def _write(notebook, path):
    """Write beside the file, then rename: a reader never sees half a notebook."""
    nbformat.validate(notebook)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.course.execute", description=__doc__.splitlines()[0]
    )
    parser.add_argument("notebooks", nargs="*", help="paths; all of notebooks/ when none is named")
    parser.add_argument("--profile", choices=PROFILES, help="default: gpu where CUDA is, else cpu")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for one cell")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(map(str, Path("notebooks").glob("*.ipynb")))
    if not paths:
        parser.error("no notebook named, and there is none in notebooks/")
    for path in paths:
        try:
            card = execute(path, options.profile, options.timeout)
        except (FileNotFoundError, ValueError, CellExecutionError) as error:
            print(f"{path}: not stored.\n{error}", file=sys.stderr)
            return 1
        memory = card["peak_memory_gb"]
        print(f"{path}: {card['profile']}, {card['seconds']:.0f} s, {memory:.1f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
