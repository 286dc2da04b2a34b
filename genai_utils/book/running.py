"""A notebook in a kernel of its own, one cell after the other; failures name notebook and cell.

Cells are counted from 0, text cells too, as in `notebook.cells`. Nothing is shared with other runs
but the machine: the kernel has its own process, folder and ports, and keeps no history.
"""

import ast
import asyncio
import contextlib
import json
import os
import re
import tempfile
import time
from pathlib import Path
from queue import Empty

import nbformat
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from genai_utils.book.client import Client

TRIES = 3  # of starting a kernel: another program may take its port in the meantime
PATIENCE = 60  # seconds that an interrupted cell has to stop
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(RuntimeError):
    """A notebook could not be run to its end. The message names it and the cell."""


class CellError(NotebookError):
    """A cell raised; the kernel goes on."""


class CellTimeout(NotebookError):
    """A cell took longer than it may; it still runs until `Kernel.interrupt`."""


class KernelDied(NotebookError):
    """The kernel was killed or crashed."""


def read(path):
    """The notebook at a path, and its text as it stands in the file.

    Raises FileNotFoundError, or ValueError where the file is no notebook.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no notebook at {path}.")
    try:
        text = path.read_text(encoding="utf-8")
        return nbformat.reads(text, as_version=4), text
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a notebook: {error}") from error


def write(notebook, path):
    """Write beside the file, then rename: a reader never sees half a notebook."""
    nbformat.validate(notebook)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


class Kernel:
    """`with Kernel(path, notebook, timeout, GENAI_PROFILE="ci") as kernel: kernel.run(0)`

    timeout: seconds for one cell. log: called with a line for each code cell, or None.
    forgiving: whether further cells are to be run after one that raised.
    environment: variables of the kernel beside those of this process; None removes one.
    """

    def __init__(self, path, notebook, timeout, log=None, forgiving=False, **environment):
        self.name, self.notebook, self.timeout, self.log = path.stem, notebook, timeout, log
        # Without this, the kernel may refuse what is asked of it right after an error.
        self.forgiving = forgiving
        quiet = {"GENAI_PUBLISH": "1", "PYTHONWARNINGS": "ignore::FutureWarning"}
        merged = {**os.environ, **quiet, **environment}
        self.environment = {key: value for key, value in merged.items() if value is not None}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="genai-", ignore_cleanup_errors=True)
            )
            for last in range(1 - TRIES, 1):
                self.client = Client(
                    self.notebook,
                    timeout=self.timeout,
                    kernel_name="python3",
                    resources={"metadata": {"path": folder}},
                    record_timing=False,
                    coalesce_streams=True,
                    allow_errors=self.forgiving,
                    extra_arguments=["--log-level=50", "--HistoryManager.enabled=False"],
                )
                try:
                    stack.enter_context(self.client.setup_kernel(env=self.environment))
                    break
                except RuntimeError as error:
                    if not last:
                        raise KernelDied(f"{self.name}: no kernel starts: {error}") from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem):
        run_sync(asyncio.sleep)(0.01)  # what nbclient has cancelled ends, and does not complain
        return self._stack.__exit__(*problem)

    def run(self, index):
        """Run one cell; text cells are passed over. Raises a NotebookError."""
        cell = self.notebook.cells[index]
        if cell.cell_type != "code":
            return
        place = f"{self.name} cell {index}/{len(self.notebook.cells)}"
        began, how = time.perf_counter(), ""
        try:
            self.client.execute_cell(cell, index)
            for error in (o for o in cell.outputs if o.output_type == "error"):
                how = f" {error.ename}"
                raise CellError(f"{place}: {error.ename}: {error.evalue}")
        except CellExecutionError as error:
            how = f" {error.ename}"
            raise CellError(f"{place}: {_COLOURS.sub('', str(error)).strip()}") from None
        except CellTimeoutError:
            how = " took too long"
            raise CellTimeout(f"{place} took more than {self.timeout} seconds.") from None
        except DeadKernelError:
            how = " killed its kernel"
            reason = "The usual reason is memory that ran out."
            raise KernelDied(f"{place}: the kernel died in it. {reason}") from None
        finally:
            if self.log:
                self.log(f"{place} {time.perf_counter() - began:.1f} s{how}")

    def ask(self, module, call):
        """What a function of ours without arguments returns in the kernel; it must fit JSON."""
        expression = (
            f"__import__('json').dumps(__import__({module!r}, fromlist=[{call!r}]).{call}())"
        )
        message = self.client.kc.execute(
            "", user_expressions={"asked": expression}, silent=False, store_history=False
        )
        self.client.timeout = None  # the limit is for cells; the first question may import torch
        try:
            answer = self.client.wait_for_reply(message)["content"]["user_expressions"]["asked"]
        except DeadKernelError:
            raise KernelDied(f"{self.name}: the kernel died.") from None
        finally:
            self.client.timeout = self.timeout
        if answer["status"] != "ok":
            raise NotebookError(f"{self.name} gives no {call}: {answer['evalue']}")
        # The kernel answers with the repr of a JSON string.
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def interrupt(self):
        """Stop the cell that runs. Raises CellTimeout where it does not stop within a minute."""
        run_sync(self.client.km.interrupt_kernel)()
        waiting = self.client.kc.execute("", silent=True)
        listen = run_sync(self.client.kc.shell_channel.get_msg)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(Empty):
                if listen(timeout=1)["parent_header"].get("msg_id") == waiting:
                    return
        raise CellTimeout(f"{self.name}: the cell cannot be interrupted.")
