"""The table of graphics cards: minutes by hand, the bound, and how sums are written."""

import pytest

from genai_utils.book import cards


def test_a_step_takes_its_arithmetic_and_at_least_its_launch(monkeypatch):
    monkeypatch.setitem(cards.CARDS, "toy", cards.Card(rate=1e12, launch=1e-3))
    small = {"steps": 60_000, "flops": 6e9}  # 1e5 a step: launch-bound, 60 s
    large = {"steps": 10, "flops": 6e13}  # 6e12 a step: 6 s each, 60 s
    assert cards.minutes([small], "toy") == pytest.approx(1)
    assert cards.minutes([large], "toy") == pytest.approx(1)
    assert cards.minutes([small, large], "toy") == pytest.approx(2)  # each by its own bound
    assert cards.minutes([], "toy") == 0


def test_the_bound_is_a_quarter_of_an_hour_on_a_t4():
    most = {"steps": cards.MOST_STEPS, "flops": cards.MOST_FLOPS}
    assert 14 < cards.minutes([most], "T4") < 16
    assert cards.minutes([most], "H100/H200") < 2
    order = [cards.minutes([most], name) for name in ("T4", "L4", "A100", "H100/H200")]
    assert order == sorted(order, reverse=True)


def test_what_exceeds_the_bound_is_named():
    most = {"steps": 60_000, "flops": 4e15}
    assert cards.excess(most) == []
    assert cards.excess(most | {"steps": 60_001}) == ["60,001 steps of training, at most 60,000"]
    assert cards.excess(most | {"flops": 4.1e15}) == ["4.10 PFLOP of training, at most 4"]
    assert len(cards.excess({"steps": 10**6, "flops": 1e16})) == 2


@pytest.mark.parametrize(
    ("flops", "least", "shown"),
    [(8e14, 0.1, "0.8 PFLOP"), (1.23e15, 0.1, "1.2 PFLOP"), (6.1e13, 0.1, "61 TFLOP"),
     (1.8e14, 1, "180 TFLOP"), (4.1e12, 1, "4.1 TFLOP"), (9.97e12, 1, "10 TFLOP"),
     (0, 0.1, "0 MFLOP"), (3e18, 0.1, "3,000 PFLOP")],
)  # fmt: skip
def test_operations_have_a_unit(flops, least, shown):
    assert cards.operations(flops, least) == shown


def test_what_was_trained_is_said_in_one_line():
    nine = {"models": 9, "steps": 61_000, "flops": 8e14, "seconds": 195.0}
    assert cards.trained(nine) == "9 models, 61,000 steps, 0.8 PFLOP, at 4.1 TFLOP/s"
    one = {"models": 1, "steps": 1, "flops": 2e9, "seconds": 0.0}
    assert cards.trained(one) == "1 model, 1 step, 2.0 GFLOP"
    assert cards.trained(None) == cards.trained(one | {"models": 0}) == ""


def test_a_card_is_known_by_profile_and_device():
    assert cards.on_card({"profile": "gpu", "device": "NVIDIA T4"})
    assert not cards.on_card({"profile": "gpu", "device": "CPU (2 cores)"})
    assert not cards.on_card({"profile": "ci", "device": "NVIDIA T4"})
