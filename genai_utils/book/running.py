"""A notebook in a kernel of its own, one cell after the other; failures name notebook and cell.

Cells are counted from 0, text cells too, as in `notebook.cells`. Nothing is shared with other runs
but the machine: the kernel has its own process, folder and ports, keeps no history, and does not
read the settings of IPython in the home folder. Processes that it began end with it.
"""

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path
from queue import Empty

import nbformat
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from genai_utils.book.client import MOST_OUTPUT, Client, TooMuchOutput
from genai_utils.inputs import whole

TRIES = 3  # of starting a kernel: another program may take its port in the meantime
PATIENCE = 60  # seconds that an interrupted cell has to stop
ANSWER = 600  # seconds for a question to the kernel; the first one may import torch
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_kernels = set()  # those that run in this process


class NotebookError(RuntimeError):
    """A notebook could not be run to its end. The message names it and the cell."""


class CellError(NotebookError):
    """A cell raised; the kernel goes on."""


class CellTimeout(NotebookError):
    """A cell took longer or showed more than it may; it may run until `Kernel.interrupt`."""


class KernelDied(NotebookError):
    """The kernel was killed, crashed or ended itself, or none starts."""


def read(path):
    """The notebook at a path, and its text as it stands in the file.

    Raises FileNotFoundError, or ValueError where the file is no notebook.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no notebook at {path}.")
    try:
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)  # `write` would find it out when all has run
        return notebook, text
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a notebook: {_first_line(error)}") from error


def write(notebook, path):
    """Write beside the file, then rename: a reader never sees half a notebook.

    Raises ValueError where the notebook keeps no format, OSError where there is no room or right.
    """
    path = Path(path).resolve()  # what a link names is replaced, not the link
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise ValueError(f"{path} would be no valid notebook: {_first_line(error)}") from error
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, beside)
        if path.exists():
            shutil.copymode(path, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_writable(path):
    """Raises PermissionError where `write` would not be allowed, or a file is marked read-only."""
    path = Path(path).resolve()
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise PermissionError(f"{place} is read-only, so nothing could be stored in it.")


def stop():
    """End all kernels of this process; what runs in them raises KernelDied."""
    for kernel in list(_kernels):
        kernel.stopped = True
        kernel.client.kill()


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def _places(folder):
    """Variables of a kernel that lead what it writes by itself into its folder.

    They make a kernel start where the home is read-only, and where there is none: no HOME, and no
    entry in the password file.
    """
    found = {"IPYTHONDIR": f"{folder}/ipython", "JUPYTER_RUNTIME_DIR": f"{folder}/jupyter"}
    try:
        if not os.access(Path.home(), os.W_OK):
            found["MPLCONFIGDIR"] = f"{folder}/matplotlib"  # it would complain in the outputs
    except RuntimeError:
        found["HOME"] = str(folder)
    return found


class Kernel:
    """`with Kernel(path, notebook, timeout, GENAI_PROFILE="ci") as kernel: kernel.run(0)`

    timeout: seconds for one cell. log: called with a line for each code cell, or None.
    forgiving: whether further cells are to be run after one that raised.
    environment: variables of the kernel beside those of this process; None removes one.
    """

    def __init__(self, path, notebook, timeout, log=None, forgiving=False, **environment):
        self.name, self.notebook, self.log = path.stem, notebook, log
        self.timeout = whole(timeout, "timeout")
        # Without this, the kernel may refuse what is asked of it right after an error.
        self.forgiving = forgiving
        quiet = {"GENAI_PUBLISH": "1", "PYTHONWARNINGS": "ignore::FutureWarning"}
        self.environment = quiet | environment
        self.stopped = False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="genai-", ignore_cleanup_errors=True)
            )
            here = Path(folder, "notebook")
            here.mkdir()
            places = {k: v for k, v in _places(folder).items() if k not in self.environment}
            merged = {**os.environ, **places, **self.environment}
            environment = {key: value for key, value in merged.items() if value is not None}
            stack.callback(_kernels.discard, self)
            for last in range(1 - TRIES, 1):
                self.client = Client(
                    self.notebook,
                    timeout=self.timeout,
                    kernel_name="python3",
                    resources={"metadata": {"path": str(here)}},
                    record_timing=False,
                    allow_errors=self.forgiving,
                    extra_arguments=["--log-level=50", "--HistoryManager.enabled=False"],
                )
                stack.callback(self.client.kill)  # of a kernel that died, its children are left
                _kernels.add(self)
                try:
                    self.client.create_kernel_manager().connection_file = f"{folder}/kernel.json"
                    stack.enter_context(self.client.setup_kernel(env=environment))
                    break
                except Exception as error:
                    if not last or self.stopped:
                        reason = "it was stopped" if self.stopped else _first_line(error)
                        raise KernelDied(f"{self.name}: no kernel starts: {reason}") from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem):
        return self._stack.__exit__(*problem)

    def _death(self):
        """Why the kernel is no more, or an empty text."""
        process = self.client.kernel
        code = process.poll() if process else None
        if self.stopped:
            return "it was stopped"
        if code is None:
            return ""
        if code >= 0:
            return f"it ended with exit code {code}"
        reason = f"{signal.strsignal(-code) or 'unknown'}, signal {-code}"
        if -code == getattr(signal, "SIGKILL", None):
            reason += "; the usual reason is memory that ran out"
        return reason

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
        except nbformat.ValidationError as error:
            how = " shows no valid output"
            raise CellError(f"{place} shows no valid output: {_first_line(error)}") from None
        except CellTimeoutError:
            how = " took too long"
            raise CellTimeout(f"{place} took more than {self.timeout} seconds.") from None
        except TooMuchOutput:
            how = " showed too much"
            most = f"{MOST_OUTPUT / 1e6:.0f} million characters"
            raise CellTimeout(f"{place} shows more than {most}.") from None
        except DeadKernelError:
            how = " killed its kernel"
            raise KernelDied(f"{place}: the kernel died in it: {self._death()}.") from None
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
        # The limit is for cells. After this one the reply is None, and the kernel interrupted.
        self.client.timeout, self.client.interrupt_on_timeout = ANSWER, True
        try:
            reply = self.client.wait_for_reply(message)
        except DeadKernelError:
            raise KernelDied(f"{self.name}: the kernel died: {self._death()}.") from None
        finally:
            self.client.timeout, self.client.interrupt_on_timeout = self.timeout, False
        if reply is None:
            raise NotebookError(f"{self.name}: the kernel gives no answer in {ANSWER} seconds.")
        answer = reply["content"]["user_expressions"]["asked"]
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
            if self.client.kernel and self.client.kernel.poll() is not None:
                raise KernelDied(f"{self.name}: the kernel died: {self._death()}.")
        raise CellTimeout(f"{self.name}: the cell cannot be interrupted.")
