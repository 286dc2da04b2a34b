"""The notebooks' client: a message whose wake-up was lost is found all the same."""

import asyncio
import time
from queue import Empty

import nbformat
import pytest

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


def test_the_client_of_a_notebook_asks_anew(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")])
    runs = client.Client(notebook, timeout=60, kernel_name="python3")
    with runs.setup_kernel():
        for channel in (runs.kc.shell_channel, runs.kc.iopub_channel):
            assert hasattr(channel.get_msg, "__wrapped__")
        runs.execute_cell(notebook.cells[0], 0)
    assert notebook.cells[0].outputs[0].text == "42\n"
