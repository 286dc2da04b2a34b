"""Linear regression in context: the data, least squares, and the model that reads numbers."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from genai_utils.language import regression
from genai_utils.language.regression import RegressionBatches, RegressionGPT


def test_the_values_are_those_of_one_weight_vector():
    x, y = RegressionBatches(200, 7, 3, seed=1)(4)
    assert x.shape == (200, 7, 3) and y.shape == (200, 7)
    for points, values in zip(x[:20].double(), y[:20].double(), strict=True):
        w = torch.linalg.lstsq(points[:3], values[:3, None]).solution
        torch.testing.assert_close((points @ w)[:, 0], values, rtol=1e-3, atol=1e-3)
    assert x.std().item() == pytest.approx(1, abs=0.05)
    assert y.square().mean().item() == pytest.approx(3, rel=0.2)  # E (w·x)² = d
    again = RegressionBatches(200, 7, 3, seed=1)(4)
    assert again[0].equal(x) and not RegressionBatches(200, 7, 3, seed=1)(5)[0].equal(x)
    noisy = RegressionBatches(2000, 7, 3, noise=0.5, seed=1)(4)[1]
    clean = RegressionBatches(2000, 7, 3, seed=1)(4)[1]
    assert (noisy - clean).std().item() == pytest.approx(0.5, abs=0.02)


def test_least_squares_equals_numpys():
    x, y = (t.double() for t in RegressionBatches(4, 6, 3, noise=1.0)(0))
    found = regression.least_squares(x, y)
    assert found.dtype == torch.float64 and (found[:, 0] == 0).all()
    for b in range(4):
        for k in range(1, 6):
            w, *_ = np.linalg.lstsq(x[b, :k].numpy(), y[b, :k].numpy(), rcond=None)
            assert found[b, k].item() == pytest.approx(float(x[b, k].numpy() @ w))


def test_least_squares_is_exact_from_d_pairs_on_and_else_a_projection():
    """Without noise: 0 from d pairs on, and (d - k)/d of the variance before that."""
    x, y = RegressionBatches(4000, 7, 4, seed=3)(0)
    found = regression.errors(regression.least_squares, x.double(), y.double())
    assert found[4:].max() < 1e-6
    assert found[:4].tolist() == pytest.approx([1, 0.75, 0.5, 0.25], abs=0.08)


def test_ridge_is_the_mean_of_what_the_pairs_allow_and_least_squares_without_noise():
    """Against sklearn's Ridge; and one that believes in less or more noise has a larger error."""
    x, y = (t.double() for t in RegressionBatches(4, 6, 3, noise=0.7)(0))
    found = regression.ridge(x, y, 0.7)
    assert found.dtype == torch.float64 and (found[:, 0] == 0).all()
    for b in range(4):
        for k in range(1, 6):
            fitted = Ridge(alpha=0.7**2, fit_intercept=False).fit(x[b, :k], y[b, :k])
            assert found[b, k].item() == pytest.approx(fitted.predict(x[b, k : k + 1])[0])
    x, y = (t.double() for t in RegressionBatches(20_000, 5, 3, noise=0.7)(1))
    best, *others = (
        regression.errors(partial(regression.ridge, noise=noise), x, y)
        for noise in (0.7, 0.35, 1.4)
    )
    assert all((other > best)[1:].all() for other in others)
    x, y = (t.double() for t in RegressionBatches(4, 6, 3)(0))
    near, exact = regression.ridge(x, y, 1e-5), regression.least_squares(x, y)
    torch.testing.assert_close(near, exact, rtol=1e-3, atol=1e-3)


def test_a_prediction_does_not_depend_on_its_value_or_later_pairs():
    torch.manual_seed(0)
    x, y = RegressionBatches(3, 6, 4)(0)
    model = RegressionGPT(4, 6, layers=2, heads=2, dim=16).eval()
    for predict in (model, regression.least_squares):
        before = predict(x, y)
        changed, moved = y.clone(), x.clone()
        changed[:, 3:] += 5.0
        moved[:, 4:] -= 3.0
        after = predict(moved, changed)
        torch.testing.assert_close(after[:, :4], before[:, :4])
        assert (after[:, 4:] - before[:, 4:]).abs().min() > 1e-6
    y2 = y.clone()
    y2[:, 0] += 1.0
    assert (model(x, y2)[:, 1:] - model(x, y)[:, 1:]).abs().min() > 1e-8  # it reads the values


def test_the_loss_is_the_mean_of_the_errors_and_has_gradients():
    torch.manual_seed(0)
    batch = RegressionBatches(5, 6, 4)(0)
    model = RegressionGPT(4, 6, layers=1, heads=2, dim=16)
    loss = model.loss(batch)
    assert loss.item() == pytest.approx(regression.errors(model, *batch).mean().item(), rel=1e-5)
    loss.backward()
    for name, p in model.named_parameters():
        assert (p.grad is None) == (name == "gpt.tokens.weight"), name
    assert model.gpt.positions.weight.grad.abs().sum() > 0


def test_shorter_prompts_are_the_beginning_of_longer_ones():
    torch.manual_seed(0)
    x, y = RegressionBatches(3, 6, 4)(0)
    model = RegressionGPT(4, 6, layers=2, heads=2, dim=16).eval()
    torch.testing.assert_close(model(x[:, :4], y[:, :4]), model(x, y)[:, :4])


def test_bad_input_is_refused():
    model = RegressionGPT(4, 6, layers=1, heads=2, dim=16)
    with pytest.raises(ValueError, match="K up to 6"):
        model(torch.randn(2, 7, 4), torch.randn(2, 7))
    with pytest.raises(ValueError, match="x: expected"):
        model(torch.randn(2, 6, 3), torch.randn(2, 6))
    with pytest.raises(ValueError, match="noise"):
        RegressionBatches(3, 4, 2, noise=-1)
    with pytest.raises(ValueError, match="noise"):
        regression.ridge(torch.randn(2, 3, 2), torch.randn(2, 3), 0.0)
    with pytest.raises(ValueError, match="dimensions"):
        RegressionBatches(3, 4, 0)
    with pytest.raises(ValueError, match="pairs"):
        RegressionGPT(4, 0)
