"""Runs a student's function so that nothing it does reaches the rest of the notebook.

The function gets deep copies of its arguments, a random state of its own (Python, NumPy, torch),
a captured standard output, and a time limit. Whatever it raises, sys.exit included, comes back as
a value. What this cannot do: stop a single call into C that never returns to Python (one enormous
matrix product), or undo what the function does on purpose to files or to other modules.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import io
import linecache
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

TICK = 0.02  # seconds between two attempts to stop a function that has swallowed the first one
HOME = __name__.partition(".")[0]  # the package
PRINTED = 2_000  # characters of the function's own output that are kept


class TimeUp(BaseException):  # not an Exception: `except Exception` in a loop must not swallow it
    """Raised inside the student's function when its time is over."""


@dataclass
class Outcome:
    """What one call did: a value, or how it failed."""

    value: Any = None
    failure: str | None = None  # None, "raised", "time" or "exit"
    error: BaseException | None = None
    line: str = ""  # the student's own line that raised, "line 3: return mu + sd"
    printed: str = ""
    arguments: tuple = ()  # the copies, as the function left them
    drew: bool = False  # it used or seeded a global random state


class _Shortened(io.TextIOBase):
    """A text stream that keeps its beginning: a loop that prints must not fill the memory."""

    def __init__(self):
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text) -> int:
        if len(self.text) < PRINTED:
            self.text = (self.text + str(text))[:PRINTED]
        return len(text)


def call(function: Callable, arguments: tuple, *, limit: float, seed: int = 0) -> Outcome:
    """Call function(*copies of arguments) in the sandbox, for at most `limit` seconds."""
    outcome = Outcome(arguments=copy.deepcopy(arguments))
    stream = _Shortened()
    with untouched():
        seed_all(seed)
        before = _random_state()
        try:
            with (
                contextlib.redirect_stdout(stream),
                contextlib.redirect_stderr(stream),
                _time_limit(limit),
                _settings_kept(),  # also here: what follows must not run under its settings
            ):
                outcome.value = _run(function, outcome.arguments)
        except TimeUp:
            outcome.failure = "time"
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            outcome.failure, outcome.error = "exit", error
        except BaseException as error:
            outcome.failure, outcome.error = "raised", error
            outcome.line = _line_of(error, function)
            error.__traceback__ = None  # or its frames would keep the copies alive
        outcome.drew = not _same_state(before, _random_state())
    outcome.printed = stream.text
    return outcome


def _line_of(error: BaseException, function: Callable) -> str:
    """The deepest line of the student's own code on the way to the error."""
    home = getattr(getattr(function, "__code__", None), "co_filename", None)
    found, trace = "", error.__traceback__
    for _ in range(100):  # the first hundred frames are enough, also of an endless recursion
        if trace is None:
            break
        if trace.tb_frame.f_code.co_filename == home:
            text = linecache.getline(home, trace.tb_lineno).strip()
            start = function.__code__.co_firstlineno
            if trace.tb_frame.f_code is function.__code__:
                found = f"line {trace.tb_lineno - start + 1} of your function"
            else:
                found = f"line {trace.tb_lineno} of its cell"
            found += f": {text}" if text else ""
        trace = trace.tb_next
    return found


@contextlib.contextmanager
def calls_of(function: Callable):
    """Yields a list that is no longer empty once code outside of the package calls the function.

    Functions of the package may call each other. Nothing of the package is changed: a profile
    function looks on. Where a profiler is at work already, nothing is noted.
    """
    calls, code, before = [], function.__code__, sys.getprofile()

    def look(frame, event, argument):
        if event == "call" and frame.f_code is code and frame.f_back is not None:
            caller = str(frame.f_back.f_globals.get("__name__"))
            own, ours = caller.partition(".")[0] == HOME, caller.startswith(f"{HOME}.checks.")
            if ours or not own:  # of our own, only this room calls what a student wrote
                calls.append(caller)

    if before is None:
        sys.setprofile(look)
    try:
        yield calls
    finally:
        if before is None:
            sys.setprofile(None)


# --- time -------------------------------------------------------------------------------------


def _run(function: Callable, arguments: tuple):
    """The frame under which the student's code runs: only there may time be called."""
    return function(*arguments)


def _students(frame) -> list:
    """The student's frames, innermost first; empty once the student's function has been left."""
    frames = []
    while frame is not None:
        if frame.f_code is _run.__code__:
            return frames
        frames.append(frame)
        frame = frame.f_back
    return []


def _at_next_line(frame, event, argument):
    """A frame's trace function: time is up at its next line."""
    if event == "line":
        raise TimeUp
    return _at_next_line


def _leave_alone(frame, event, argument):
    """The trace function of new frames. It is there because tracing must be switched on."""


@contextlib.contextmanager
def _time_limit(seconds: float):
    main = threading.current_thread() is threading.main_thread()
    way = _by_signal if main and hasattr(signal, "setitimer") else _by_thread
    with way(max(seconds, TICK)):
        yield


@contextlib.contextmanager
def _by_signal(seconds: float):
    """SIGALRM, again and again until the student's frames are gone.

    A bare `except:` swallows even a BaseException. So the handler also leaves a trace function
    behind that raises at the next line: that line is the `except:` itself, outside its try.
    """
    traced, started = sys.gettrace(), time.monotonic()

    def ring(number, frame):
        frames = _students(frame)
        if not frames:
            return
        for each in frames:
            each.f_trace = _at_next_line
        sys.settrace(_leave_alone)
        raise TimeUp

    handler = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds, TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(traced)
        signal.signal(signal.SIGALRM, handler)
        if remaining:  # somebody else's alarm, such as a test runner's: give it back its rest
            rest = max(remaining - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, rest, interval)


@contextlib.contextmanager
def _by_thread(seconds: float):
    """Where there is no SIGALRM (Windows, a thread): an exception raised from another thread."""
    target, traced = threading.get_ident(), sys.gettrace()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
    over, chance = threading.Event(), random.Random(0)

    def watch():
        wait = seconds
        while not over.wait(wait):
            frames = _students(sys._current_frames().get(target))
            for each in frames:
                each.f_trace = _at_next_line
            if frames:
                raise_in(target, TimeUp)
            wait = TICK * chance.random()  # land at another place each time

    threading.Thread(target=watch, daemon=True).start()
    sys.settrace(traced or _leave_alone)
    try:
        yield
    finally:
        over.set()
        sys.settrace(traced)


# --- random state and settings ------------------------------------------------------------------


def _random_state():
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _same_state(a, b) -> bool:
    numpy_same = all(np.array_equal(x, y) for x, y in zip(a[1], b[1], strict=True))
    return a[0] == b[0] and numpy_same and torch.equal(a[2], b[2])


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.random.default_generator.manual_seed(seed)


@contextlib.contextmanager
def untouched():
    """Whatever happens inside, random states and torch's settings are as before afterwards."""
    with _settings_kept(), _random_state_kept():
        yield


@contextlib.contextmanager
def _random_state_kept():
    kept = _random_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


@contextlib.contextmanager
def _settings_kept():
    depth, floats = sys.getrecursionlimit(), np.geterr()
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.get_default_device()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            sys.setrecursionlimit(depth)
            np.seterr(**floats)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            if torch.get_default_device() != device:
                torch.set_default_device(None if device.type == "cpu" else device)
