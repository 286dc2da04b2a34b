"""A process of its own for a submission's code, in an empty folder, with limits (see `pupil`)."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import torch

PATIENCE = 120  # seconds that a process has to import torch
GRACE = 10  # seconds that it has beyond the limits to notice them itself
REPLY = 2**26  # bytes of one reply


@dataclass
class Limits:
    """What a submission may take. Seconds None: what each exercise says."""

    seconds: float | None = None
    memory: int = 2048  # MB, beyond those of torch itself
    file: int = 64  # MB, of each file that it writes


class Ended(Exception):
    """The submission's process ended, or was ended; the message is a sentence for the student."""


class CannotStart(RuntimeError):
    """No process for submissions starts here: a fault of this machine, not of a submission."""


class Pupil:
    """A fresh process for one submission, in an empty folder. `with Pupil(limits) as pupil:`"""

    def __init__(self, limits: Limits, total: float = 600.0):
        self.limits, self.total, self.jobs = limits, total, 0

    def __enter__(self):
        self.room = tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True)
        folder = Path(self.room.name, "work")
        folder.mkdir()
        self.folder, self.errors = folder, Path(self.room.name, "errors")
        root = str(Path(__file__).parents[2])
        settings = {
            "path": [*(p for p in sys.path if p and p != root), root],
            "torch": [torch.__file__, torch.__version__],
            "memory": self.limits.memory * 10**6,
            "file": self.limits.file * 10**6,
            "processor": int(self.total * (os.cpu_count() or 1)),
        }
        own = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS")
        environment = {"OMP_NUM_THREADS": "1"}  # threads of many small tensors only wait
        environment |= {name: os.environ[name] for name in own if name in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR", "TEMP", "USERPROFILE"), str(folder))
        environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": "utf-8"}
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(Path(__file__).with_name("pupil.py")),
                 json.dumps(settings)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                cwd=folder, env=environment, start_new_session=os.name == "posix",
            )  # fmt: skip
        self.replies = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()
        try:
            self.held = self._reply(PATIENCE)["limits"]
        except (Ended, KeyError, TypeError) as problem:
            said = self.errors.read_text(errors="replace").strip().splitlines()[-1:]
            self.__exit__()
            raise CannotStart(
                f"The process for submissions did not start: {' '.join(said) or problem}"
            ) from problem
        return self

    def __exit__(self, *_):
        kill = getattr(os, "killpg", None)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # with all that it began
            kill(self.process.pid, signal.SIGKILL) if kill else self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was still to be written goes nowhere
                stream.close()
        self.room.cleanup()

    def ask(self, job: dict, seconds: float) -> dict:
        """The reply to one job. Raises Ended."""
        self.jobs += 1
        job["folder"] = str(self.folder / str(self.jobs))
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Ended(self._end()) from None
        return self._reply(seconds)

    def _listen(self, stream):
        try:
            while line := stream.readline(REPLY):
                self.replies.put(line)
        except (OSError, ValueError):  # closed from here
            pass
        self.replies.put(None)

    def _reply(self, seconds: float) -> dict:
        try:
            line = self.replies.get(timeout=seconds)
        except queue.Empty:
            raise Ended(
                f"Stopped after {seconds:.0f} seconds: your function did not come back, and could "
                "not be interrupted."
            ) from None
        if line is None:
            raise Ended(self._end())
        if not line.endswith(b"\n"):
            raise Ended("Your function gave back more than can be read.")
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise Ended("Your function wrote into the channel that carries its results.") from None

    def _end(self) -> str:
        """The sentence for a process that is no more."""
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "Your function closed the channel that carries its results."
        if code < 0:
            name = (
                signal.Signals(-code).name if -code in iter(signal.Signals) else f"signal {-code}"
            )
            return (
                f"Your function's process was ended by {name}: a crash, or a limit that it broke."
            )
        return f"Your function ended its process (exit code {code})."
