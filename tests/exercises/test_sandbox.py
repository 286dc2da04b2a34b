"""A student's function can do what it likes: nothing of it reaches the notebook."""

import random
import signal
import sys
import threading
import time

import numpy as np
import pytest
import torch

from genai_utils.checks import sandbox
from genai_utils.checks.sandbox import call

LIMIT = 0.15


def forever():
    while True:
        pass


def forever_in_except_exception():
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


def forever_in_two_excepts():
    while True:
        try:
            try:
                while True:
                    pass
            except Exception:
                sum(range(50))
        except Exception:
            pass


def forever_in_bare_except():
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def forever_with_work_in_bare_except():
    while True:
        try:
            for _ in range(10**9):
                sum(range(50))
        except:  # noqa: E722
            continue


def forever_in_finally():
    while True:
        try:
            sum(range(50))
        finally:
            continue  # noqa: B012


def sleeps():
    time.sleep(60)


def sleeps_in_a_generator():
    def numbers():
        while True:
            yield 1

    return sum(numbers())


ENDLESS = [
    forever,
    forever_in_except_exception,
    forever_in_two_excepts,
    forever_in_bare_except,
    forever_with_work_in_bare_except,
    forever_in_finally,
    sleeps_in_a_generator,
]


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("function", [*ENDLESS, sleeps])
def test_endless_function_is_stopped(function):
    assert call(function, (), limit=LIMIT).failure == "time"


@pytest.mark.parametrize("function", ENDLESS)
def test_endless_function_is_stopped_in_a_thread_where_no_signal_comes(function):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(call(function, (), limit=LIMIT).failure), daemon=True
    )
    thread.start()
    thread.join(20)
    assert found == ["time"]


def test_time_limit_leaves_handler_alarm_and_tracing_as_they_were():
    def mine(*_):
        raise AssertionError("the outer alarm rang")

    def my_trace(*_):
        return None

    before, trace = signal.signal(signal.SIGALRM, mine), sys.gettrace()
    remaining = signal.setitimer(signal.ITIMER_REAL, 100)
    sys.settrace(my_trace)
    try:
        assert call(forever, (), limit=LIMIT).failure == "time"
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 100
        assert sys.gettrace() is my_trace
    finally:
        sys.settrace(trace)
        signal.setitimer(signal.ITIMER_REAL, *remaining)
        signal.signal(signal.SIGALRM, before)


def test_nothing_is_raised_after_a_function_that_came_back():
    assert call(lambda: 3, (), limit=0.05).value == 3
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        pass


def test_alarm_outside_the_students_frames_is_ignored():
    with sandbox._by_signal(0.02):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass


def test_arguments_are_copies():
    x, nested = torch.ones(3), {"a": [torch.ones(2)]}

    def spoil(x, nested):
        x.zero_()
        nested["a"].append(0)

    outcome = call(spoil, (x, nested), limit=1)
    assert x.sum() == 3 and len(nested["a"]) == 1
    assert outcome.arguments[0].sum() == 0


def test_random_state_is_forked_and_equal_each_time():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    kept = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002

    def draws():
        return random.random(), float(np.random.rand()), torch.rand(1).item()  # noqa: NPY002

    first, again = call(draws, (), limit=1), call(draws, (), limit=1)
    assert first.value == again.value and first.drew
    assert call(draws, (), limit=1, seed=2).value != first.value
    assert not call(lambda: torch.ones(1), (), limit=1).drew
    assert call(lambda: torch.manual_seed(77), (), limit=1).drew
    assert random.getstate() == kept[0]
    assert (np.random.get_state()[1] == kept[1]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), kept[2])


def test_settings_of_torch_are_put_back():
    def spoil():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        sys.setrecursionlimit(500)

    depth = sys.getrecursionlimit()
    call(spoil, (), limit=1)
    assert torch.get_default_dtype() is torch.float32 and torch.is_grad_enabled()
    assert sys.getrecursionlimit() == depth


def test_prints_are_captured_and_their_length_is_bounded(capsys):
    def chatty():
        print("hello")
        print("to stderr", file=sys.stderr)
        for _ in range(10_000):
            print("x" * 100)

    outcome = call(chatty, (), limit=10)
    assert outcome.failure is None
    assert outcome.printed.startswith("hello\nto stderr\n")
    assert len(outcome.printed) == sandbox.PRINTED
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("act", "failure"),
    [
        (lambda: sys.exit(0), "exit"),
        (lambda: exec("raise KeyboardInterrupt"), "exit"),
        (lambda: exec("raise BaseException('odd')"), "raised"),
        (lambda: 1 / 0, "raised"),
        (lambda: torch.ones(2) @ torch.ones(3), "raised"),
        (lambda: undefined, "raised"),  # noqa: F821
    ],
)
def test_whatever_is_raised_comes_back_as_a_value(act, failure):
    outcome = call(act, (), limit=1)
    assert outcome.failure == failure and outcome.error is not None


def test_the_line_that_raised_is_the_students_own():
    def wrong(x):
        y = x + 1
        return y @ torch.ones(9)

    line = call(wrong, (torch.ones(3),), limit=1).line
    assert line == "line 3 of your function: return y @ torch.ones(9)"
