"""What runs notebooks: nbclient's NotebookClient, with a few of its edges taken off.

It never waits on a lost wake-up. What a cell shows has a bound, and is put together while it comes.
What listens to a cell ends with the cell. The kernel is this very Python, whatever kernels a home
folder names, and can be killed with all that it began.
"""

import asyncio
import contextlib
import functools
import os
import signal
import time
from queue import Empty

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

SLICE = 1.0  # seconds
MOST_OUTPUT = 20_000_000  # characters of one cell; no page holds more than a tenth of it


class TooMuchOutput(Exception):
    """A cell shows more than MOST_OUTPUT; it may still run."""


def asking_anew(get_msg):
    """`get_msg(timeout)` of a channel, which looks again every SLICE seconds until the timeout.

    The wake-up of a waiting socket can get lost. The message is there then, but a single wait ends
    with the timeout only: a test of 12 seconds took 200, about once in 2,000 cells.
    """

    @functools.wraps(get_msg)
    async def patient(timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = SLICE if end is None else min(SLICE, max(0.0, end - time.monotonic()))
            try:
                return await get_msg(timeout=left)
            except Empty:
                if end is not None and time.monotonic() >= end:
                    raise

    return patient


def overwritten(text):
    """The text as a terminal shows it: a carriage return in a line takes back what stands before.

    One that ends its line stays. nbclient's own search for them takes the square of a line's
    length, which is minutes for a line of a megabyte.
    """
    return "\n".join(line[line.rfind("\r", 0, -1) + 1 :] for line in text.split("\n"))


class Client(NotebookClient):
    """A NotebookClient whose channels ask anew, with a bound on output.

    kernel: the process of the kernel, or None before it starts.
    """

    kernel = None

    def __init__(self, notebook, **options):
        super().__init__(notebook, coalesce_streams=False, on_cell_executed=self._tidy, **options)

    def create_kernel_manager(self):
        manager = super().create_kernel_manager()
        # Without folders to look in, "python3" is the Python that runs. So no home is needed.
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
        return manager

    async def async_start_new_kernel(self, **options):
        await super().async_start_new_kernel(**options)
        self.kernel = getattr(self.km.provisioner, "process", None)

    start_new_kernel = run_sync(async_start_new_kernel)

    async def async_start_new_kernel_client(self):
        client = await super().async_start_new_kernel_client()
        for channel in (client.shell_channel, client.iopub_channel):
            channel.get_msg = asking_anew(channel.get_msg)
        return client

    start_new_kernel_client = run_sync(async_start_new_kernel_client)

    def kill(self):
        """Kill the kernel and the processes that it began, those too that have outlived it."""
        if self.kernel is None:
            return
        with contextlib.suppress(OSError):  # they have ended
            if hasattr(os, "killpg"):
                os.killpg(self.kernel.pid, signal.SIGKILL)  # the kernel leads a group of its own
            else:
                self.kernel.kill()

    async def async_execute_cell(self, cell, cell_index, *arguments, **options):
        """As nbclient's. Raises TooMuchOutput too."""
        self._shown, before = 0, asyncio.all_tasks()
        try:
            return await super().async_execute_cell(cell, cell_index, *arguments, **options)
        except DeadKernelError:
            if self._shown > MOST_OUTPUT:
                raise TooMuchOutput from None
            raise
        finally:
            # After a timeout, nbclient goes on listening, and the next cell may miss its messages.
            left = asyncio.all_tasks() - before
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    execute_cell = run_sync(async_execute_cell)

    def output(self, outs, msg, display_id, cell_index):
        """Add an output to those of a cell, or a piece of a stream to the stream that is there.

        nbclient joins streams after the cell; a display that is renewed later is lost by that.
        """
        if self.clear_before_next_output:
            self._shown = 0
        found = super().output(outs, msg, display_id, cell_index)
        if found is None:
            return None
        self._shown += len(found.get("text") or str(found.get("data", "")))
        if self._shown > MOST_OUTPUT:
            self.task_poll_for_reply.cancel()
        if found.output_type == "stream":
            same = (o for o in outs[:-1] if o.output_type == "stream" and o.name == found.name)
            if earlier := next(same, None):
                earlier.text += outs.pop().text
                return earlier
        return found

    def clear_output(self, outs, msg, cell_index):
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self._shown = 0

    @staticmethod
    def _tidy(cell, **_):
        """What a line overwrote is left out, and stdout stands before a stderr next to it."""
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = overwritten(output.text)
        names = [output.get("name") for output in cell.outputs]
        for at in range(len(names) - 1):
            if names[at : at + 2] == ["stderr", "stdout"]:
                cell.outputs[at], cell.outputs[at + 1] = cell.outputs[at + 1], cell.outputs[at]
                break
