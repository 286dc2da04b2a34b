"""Learning-rate factors at known steps, and the moving average against its closed form."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from genai_utils.training import EMA, cosine_to_floor, linear_warmup_cosine, trapezoid
from genai_utils.training.schedules import make_schedule


def test_warmup_cosine_at_known_steps():
    factor = [linear_warmup_cosine(step, 110, 10) for step in range(111)]
    assert factor[0] == pytest.approx(0.1) and factor[4] == pytest.approx(0.5)
    assert factor[9] == 1 and factor[10] == 1
    assert factor[35] == pytest.approx((1 + math.sqrt(0.5)) / 2)  # a quarter of the way
    assert factor[60] == pytest.approx(0.5) and factor[110] == pytest.approx(0, abs=1e-12)
    assert linear_warmup_cosine(0, 100) == 1


def test_cosine_to_floor_and_trapezoid_at_known_steps():
    factor = [cosine_to_floor(step, 110, 10, 0.2) for step in range(111)]
    assert factor[0] == pytest.approx(0.1) and factor[4] == pytest.approx(0.5)  # no floor yet
    assert factor[10] == 1 and factor[60] == pytest.approx(0.6)
    assert factor[110] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="floor: expected .* of at least 0 and at most 1, got 1.5"):
        cosine_to_floor(0, 10, floor=1.5)
    own = make_schedule(partial(trapezoid, steps=10, warmup=2, decay=4), 10)
    assert [own(step) for step in (0, 1, 5, 8, 9)] == [0.5, 1, 1, 0.5, 0.25]


def test_named_and_own_schedules():
    constant = make_schedule("constant", 10, warmup=4)
    assert [constant(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert make_schedule("cosine", 10)(5) == pytest.approx(0.5)
    assert make_schedule(lambda step: 1 / (1 + step), 10)(3) == 0.25
    with pytest.raises(ValueError, match="'cosine', 'constant'.*got 'linear'"):
        make_schedule("linear", 10)
    with pytest.raises(ValueError, match="warmup: expected 0 beside a schedule of your own, got 2"):
        make_schedule(lambda step: 1.0, 10, warmup=2)
    for factor in (-1.0, math.nan, math.inf):
        with pytest.raises(
            ValueError, match=r"schedule\(7\): expected a finite number of at least 0"
        ):
            make_schedule(lambda step, factor=factor: factor, 10)(7)
    with pytest.raises(TypeError, match=r"schedule\(7\): expected a finite number .* got None"):
        make_schedule(lambda step: None, 10)(7)
    assert make_schedule(lambda step: torch.tensor([0.5]), 10)(7) == 0.5
    with pytest.raises(
        ValueError, match="warmup: expected from 0 to fewer than the 5 steps, got 5"
    ):
        linear_warmup_cosine(0, 5, 5)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_ema_equals_its_closed_form(decay):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    ema = EMA(model, decay)
    seen = [copy.deepcopy(list(model.parameters()))]
    for _ in range(30):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(torch.randn(5, 3).double())  # moves the running statistics
        ema.update()
        seen.append(copy.deepcopy(list(model.parameters())))
    rates = [min(decay, (1 + t) / (10 + t)) for t in range(1, 31)]
    # ema_T = sum_t (1 - d_t) d_{t+1} … d_T theta_t + d_1 … d_T theta_0
    weights = [math.prod(rates)]
    weights += [(1 - rates[t]) * math.prod(rates[t + 1 :]) for t in range(30)]
    assert sum(weights) == pytest.approx(1)
    for i, average in enumerate(ema.module.parameters()):
        expected = sum(w * p[i] for w, p in zip(weights, seen, strict=True))
        torch.testing.assert_close(average.data, expected.data, rtol=1e-10, atol=1e-10)
        assert not average.requires_grad
    assert torch.equal(ema.module[1].running_mean, model[1].running_mean)
    assert ema.module[1].num_batches_tracked == 30 and not ema.module.training


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match="ema: expected .* of at least 0 and below 1"):
        EMA(nn.Linear(1, 1), decay)
