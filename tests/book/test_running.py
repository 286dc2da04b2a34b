"""A kernel and the notebook's file: where a run may write, and what is written in the end."""

import errno
import json
import os
import re
import select
import tempfile
from pathlib import Path

import nbformat
import pytest

from genai_utils.book import running
from genai_utils.book.client import Client
from genai_utils.book.execute import execute
from tests.book.toys import QUICK, notebook


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a notebook.ipynb"


# ---- what is written -----------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file_and_nothing_else(monkeypatch, path):
    nbformat.write(notebook("x = 1"), path)
    before = path.read_bytes()

    def full(_, beside):
        Path(beside).write_text("half a note")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nbformat, "write", full)
    with pytest.raises(OSError, match="No space left"):
        running.write(notebook("x = 2"), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_writing_keeps_links_and_rights(path):
    nbformat.write(notebook("x = 1"), path)
    path.chmod(0o640)
    link = path.with_name("link.ipynb")
    link.symlink_to(path.name)
    running.write(notebook("x = 2"), link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert running.read(path)[0].cells[1].source == "x = 2"


def test_what_could_not_be_stored_is_not_run(monkeypatch, path):
    nbformat.write(notebook("x = 1"), path)
    monkeypatch.setattr(Client, "setup_kernel", lambda *_, **__: pytest.fail("it was run"))
    access = os.access
    for closed in (path, path.parent):
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda at, mode: at != closed and access(at, mode))  # noqa: B023
            with pytest.raises(PermissionError, match=f"{re.escape(str(closed))} is read-only"):
                execute(path, "ci")


def test_a_notebook_that_keeps_no_format_is_named_by_one_line(path):
    broken = notebook("x = 1")
    broken.cells[1].outputs = 3
    with pytest.raises(ValueError, match="a notebook.ipynb would be no valid notebook: .*$"):
        running.write(broken, path)
    counted = notebook("x = 1")
    counted.cells[1].execution_count = "one"
    for text in ("[]", "{}", "", "\x00", json.dumps(broken), json.dumps(counted)):
        path.write_text(text)
        with pytest.raises(ValueError, match="a notebook.ipynb cannot be read as a notebook: .+$"):
            running.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileNotFoundError, match="no notebook at"):
        running.read(path)


# ---- where it runs -------------------------------------------------------------------------------


@pytest.fixture
def no_home(monkeypatch):
    """A user without HOME and without an entry in the password file."""
    pwd = pytest.importorskip("pwd")
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(RuntimeError):
        Path.home()


def test_a_notebook_runs_without_a_home(no_home, path):
    nbformat.write(notebook(QUICK, "print(os.environ['HOME'], os.getcwd())"), path)
    execute(path, "ci")
    home, here = nbformat.read(path, as_version=4).cells[2].outputs[0].text.split()
    assert Path(home).name.startswith("genai-") and Path(here).parent == Path(home)
    assert Path(home).parent == Path(tempfile.gettempdir()) and not Path(home).exists()


def test_a_kernel_reads_and_writes_nothing_in_the_home(monkeypatch, path, tmp_path):
    home = tmp_path / "home"
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("mine = 3")
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    monkeypatch.setenv("HOME", str(home))
    before = sorted(home.rglob("*"))
    nbformat.write(notebook(QUICK, "print('mine' in dir())"), path)
    execute(path, "ci")
    assert nbformat.read(path, as_version=4).cells[2].outputs[0].text == "False\n"
    assert sorted(home.rglob("*")) == before


def test_a_home_that_is_read_only_is_no_reason_for_warnings(monkeypatch, tmp_path):
    """matplotlib would complain in the first output that uses it."""
    assert "MPLCONFIGDIR" not in running._places(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert Path(running._places(tmp_path)["MPLCONFIGDIR"]).parent == tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no process groups here")
def test_what_a_killed_kernel_began_is_ended(tmp_path, path):
    """A pipe ends when nobody is left to write to it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = f"subprocess.Popen(['sleep', '3600'], stdout=open({str(pipe)!r}, 'w'))"
    nbformat.write(notebook(f"import os, subprocess\n{child}\nos.kill(os.getpid(), 9)"), path)
    with pytest.raises(running.KernelDied, match="a notebook cell 1/2: the kernel died in it"):
        execute(path, "ci")
    assert select.select([reader], [], [], 60)[0] and os.read(reader, 1) == b""
    os.close(reader)


def test_the_answer_of_a_kernel_is_not_waited_for_without_end(monkeypatch, path):
    monkeypatch.setattr(running, "ANSWER", 1)
    nbformat.write(
        notebook(f"{QUICK}\nimport time\nsession.report = lambda: time.sleep(3600)"), path
    )
    with pytest.raises(
        running.NotebookError, match="a notebook: the kernel gives no answer in 1 s"
    ):
        execute(path, "ci")
