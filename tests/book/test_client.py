"""The notebooks' client: it waits in slices, bounds and joins output, and leaves nothing behind."""

import asyncio
import json
import os
import select
import sys
import time
from queue import Empty

import nbformat
import pytest
from jupyter_core.utils import ensure_event_loop, run_sync
from nbclient.exceptions import CellTimeoutError

from genai_utils.book import client


def waiting(get_msg, **options):
    """Result of the patient get_msg, with a limit of 10 s."""
    return asyncio.run(asyncio.wait_for(client.asking_anew(get_msg)(**options), 10))


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_lost_wake_up_costs_a_moment(monkeypatch, timeout):
    monkeypatch.setattr(client, "SLICE", 0.01)
    asked = []

    async def get_msg(timeout):
        """The message has come, but the first two waits end with their timeouts."""
        asked.append(timeout)
        if len(asked) <= 2:
            await asyncio.sleep(timeout)
            raise Empty
        return "the message"

    assert waiting(get_msg, timeout=timeout) == "the message"
    assert asked == [0.01, 0.01, 0.01]


def test_no_message_is_empty_after_the_timeout(monkeypatch):
    monkeypatch.setattr(client, "SLICE", 0.01)

    async def get_msg(timeout):
        await asyncio.sleep(timeout)
        raise Empty

    begin = time.monotonic()
    with pytest.raises(Empty):
        waiting(get_msg, timeout=0.05)
    assert time.monotonic() - begin >= 0.05


def running(*sources, timeout=60):
    """A client, to be used in `with runs.setup_kernel():`, and the cells of its notebook."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    # With errors allowed, a kernel takes the next cell right after it was interrupted.
    options = {"timeout": timeout, "kernel_name": "python3", "allow_errors": True}
    return client.Client(notebook, **options), notebook.cells


def test_the_client_of_a_notebook_asks_anew():
    runs, cells = running("print(6 * 7)")
    with runs.setup_kernel():
        for channel in (runs.kc.shell_channel, runs.kc.iopub_channel):
            assert hasattr(channel.get_msg, "__wrapped__")
        runs.execute_cell(cells[0], 0)
    assert cells[0].outputs[0].text == "42\n"


def test_a_carriage_return_takes_back_its_line():
    for text, shown in (
        ("10 %\r20 %\r30 %\ndone\r\n", "30 %\ndone\r\n"),
        ("a\rb\r", "b\r"), ("\r", "\r"), ("\ra", "a"), ("", ""), ("a\n\rb\n\n", "a\nb\n\n"),
    ):  # fmt: skip
        assert client.overwritten(text) == shown


def test_streams_are_joined_as_they_come_and_a_display_can_be_renewed_afterwards():
    """nbclient counts outputs before it joins them, and then renews another one, or none."""
    pieces = "import sys, time\nfor i in '123': print(i, flush=True); time.sleep(0.01)\n"
    shown = "h = display('old', display_id=True)\nprint('4', '5\\r6', 'x' * 10**6)"
    streams = "print('e', file=sys.stderr, flush=True); time.sleep(0.5); print('o')"
    runs, cells = running(pieces + shown, "h.update('new')", streams)
    with runs.setup_kernel():
        for index, cell in enumerate(cells):
            runs.execute_cell(cell, index)
    stream, display = cells[0].outputs
    # A line of a million letters is joined at once, too.
    assert stream.text == "1\n2\n3\n6 " + "x" * 10**6 + "\n"
    assert display.data["text/plain"] == "'new'"
    assert [(o.name, o.text) for o in cells[2].outputs] == [("stdout", "o\n"), ("stderr", "e\n")]


def test_what_a_cell_shows_has_a_bound(monkeypatch):
    monkeypatch.setattr(client, "MOST_OUTPUT", 1000)
    cleared = (
        "from IPython.display import clear_output\n"
        "for wait in [False] * 3 + [True] * 3: print('x' * 400); clear_output(wait=wait)\n"
        "print('end')"
    )
    endless = "import time\n{}\ntime.sleep(3600)"
    much = ["print('x' * 1001, flush=True)", "display('x' * 600)\ndisplay('x' * 600)"]
    runs, cells = running(cleared, *map(endless.format, much))
    with runs.setup_kernel():
        runs.execute_cell(cells[0], 0)
        assert cells[0].outputs[0].text == "end\n"
        for index in (1, 2):
            with pytest.raises(client.TooMuchOutput):
                runs.execute_cell(cells[index], index)
            run_sync(runs.km.interrupt_kernel)()


def test_nothing_listens_to_a_cell_that_took_too_long():
    runs, cells = running("import time\nprint(1)\ntime.sleep(3600)", "print(6 * 7)", timeout=5)
    with runs.setup_kernel():
        with pytest.raises(CellTimeoutError):
            runs.execute_cell(cells[0], 0)
        assert asyncio.all_tasks(ensure_event_loop()) == set()
        run_sync(runs.km.interrupt_kernel)()
        runs.execute_cell(cells[1], 1)
    assert cells[1].outputs[0].text == "42\n"


def test_the_kernel_is_this_python_and_its_programs_wait_for_no_input(monkeypatch, tmp_path):
    """Another kernel that calls itself python3 is not taken, though Jupyter would."""
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "another", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    ask = "[sys.executable, '-c', 'import sys; print([sys.stdin.read()])']"
    code = f"import subprocess, sys\nprint(sys.executable)\nprint(subprocess.check_output({ask}))"
    runs, cells = running(code)
    with runs.setup_kernel():
        runs.execute_cell(cells[0], 0)
    assert cells[0].outputs[0].text.split("\n")[:2] == [sys.executable, str(b"['']\n")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no process groups here")
@pytest.mark.parametrize("first", ["", "import os; os.kill(os.getpid(), 9)"])
def test_what_a_kernel_began_is_killed_with_it(tmp_path, first):
    """Also where the kernel died before. A pipe ends when nobody is left to write to it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = f"subprocess.Popen(['sleep', '3600'], stdout=open({str(pipe)!r}, 'w'))"
    child = f"import subprocess\n{child}"
    runs, cells = running(child, f"{first}\nNone")
    with runs.setup_kernel():
        runs.execute_cell(cells[0], 0)
        if first:
            with pytest.raises(client.DeadKernelError):
                runs.execute_cell(cells[1], 1)
        assert select.select([reader], [], [], 0) == ([], [], [])  # it runs
        runs.kill()
        assert select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b""
    os.close(reader)
    runs.kill()  # a second time is no error
