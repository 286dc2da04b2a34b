"""In a notebook, a function that calls the library's answer is told so; the library is unharmed."""

import functools
import sys

import pytest
import torch

from genai_utils.checks import Exercise, register, sandbox
from genai_utils.checks.diagnosis import diagnose

from . import toys
from .toys import VALUES, matrices, row_norms


def own(x):
    return torch.linalg.vector_norm(x, dim=1)


def direct(x):
    return row_norms(x)


def by_its_module(x):
    return toys.row_norms(x) * 1.0


def in_the_second_case(x):
    return row_norms(x) if len(x) == 7 else own(x)


def before_it_fails(x):
    return row_norms(x) + "1"


def inside_a_helper(x):
    return torch.func.vmap(lambda row: row_norms(row[None])[0])(x)


@pytest.mark.parametrize(
    "answer",
    [direct, by_its_module, in_the_second_case, before_it_fails, inside_a_helper,
     functools.partial(row_norms)],
)  # fmt: skip
def test_a_call_of_the_librarys_own_function_is_recognised(answer):
    verdict = diagnose(VALUES, answer)
    assert verdict.state == "not yet"
    assert "row_norms: this is the library's; write it yourself." in verdict.sentence


def test_another_function_of_the_same_name_is_no_call_of_it():
    def row_norms(x):
        return own(x)

    assert diagnose(VALUES, lambda x: row_norms(x)).state == "correct"
    assert diagnose(VALUES, own).state == "correct"


def test_functions_of_the_library_may_call_each_other():
    """An answer may use what else the library has, although that calls the answer inside."""
    from genai_utils.vision import vae

    exercise = register.find("gaussian_kl", "24_vae")
    home = {"kl": vae.gaussian_kl, "__name__": "genai_utils.vision.elsewhere"}
    exec("def inner(mu, logvar): return kl(mu, logvar)", home)
    assert diagnose(exercise, lambda mu, logvar: home["inner"](mu, logvar)).state == "correct"
    home["__name__"] = "notebook"
    assert "this is the library's" in diagnose(exercise, home["inner"]).sentence


def test_nothing_is_left_behind_and_a_running_profiler_is_left_alone():
    code, before = row_norms.__code__, sys.getprofile()
    diagnose(VALUES, direct)
    assert row_norms.__code__ is code and sys.getprofile() is before

    seen = []

    def other(frame, event, argument):
        seen.append(event)

    sys.setprofile(other)
    try:
        with sandbox.calls_of(row_norms) as calls:
            row_norms(matrices(1)[0][0])
        assert sys.getprofile() is other
    finally:
        sys.setprofile(None)
    assert calls == [] and seen


def test_an_endless_loop_is_still_stopped_while_calls_are_watched():
    def endless(x):
        while True:
            try:  # noqa: SIM105
                x = x + 1
            except BaseException:
                pass

    verdict = diagnose(Exercise(row_norms, cases=matrices, limit=0.3), endless)
    assert verdict.state == "error" and "Stopped after 0.3 seconds" in verdict.sentence
    assert sys.getprofile() is None
