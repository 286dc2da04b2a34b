"""What was trained is noted, summed and forgotten."""

import pytest

from genai_utils.training import ledger


@pytest.fixture(autouse=True)
def empty():
    ledger.forget()
    yield
    ledger.forget()


def test_trainings_are_kept_in_order_and_summed():
    assert ledger.total() == {"models": 0, "steps": 0, "flops": 0, "seconds": 0}
    ledger.note("first", 100, 2e12, 1.25, 7)
    ledger.note("second", 11, 3e12, 2.5, 8)
    assert ledger.trainings() == [
        {"title": "first", "steps": 100, "flops": 2e12, "seconds": 1.25, "parameters": 7},
        {"title": "second", "steps": 11, "flops": 3e12, "seconds": 2.5, "parameters": 8},
    ]
    assert ledger.total() == {"models": 2, "steps": 111, "flops": 5e12, "seconds": 3.8}


def test_what_is_given_out_is_a_copy():
    ledger.note("one", 1, 1.0, 1.0, 1)
    ledger.trainings()[0]["steps"] = 99
    ledger.trainings().clear()
    assert ledger.total()["steps"] == 1


def test_forgetting_empties_it():
    ledger.note("one", 1, 1.0, 1.0, 1)
    ledger.forget()
    assert ledger.trainings() == [] and ledger.total()["models"] == 0
