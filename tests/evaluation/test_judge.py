"""The judge, trained on the 8×8 digits in a second."""

import random

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genai_utils.evaluation import Judge, frechet_distance, train_judge
from genai_utils.evaluation.judge import JudgeNet, add_rubbish


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = torch.tensor(x[order] / 16).float().reshape(-1, 1, 8, 8)
    return x, torch.tensor(y[order])


@pytest.fixture(scope="module")
def judge(digits):
    x, y = digits
    return train_judge(x[:1400], y[:1400], steps=250)


def noise(n=500):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_it_reads_digits_it_has_not_seen(judge, digits):
    x, y = digits
    assert judge.accuracy(x[1400:], y[1400:]) >= 0.95
    assert judge.accuracy(x[1400:], (y[1400:] + 1) % 10) < 0.05


def test_accuracy_is_the_share_of_highest_logits(judge, digits):
    x, _ = digits
    logits = judge.logits(x[:7])
    assert logits.shape == (7, 10)
    best = logits.argmax(1)
    best[0] = (best[0] + 1) % 10
    assert judge.accuracy(x[:7], best) == pytest.approx(6 / 7)


def test_it_recognises_digits_and_not_rubbish(judge, digits):
    x, _ = digits
    real = x[1400:]
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    shuffled = real.flatten(1)[:, order].reshape(real.shape)
    assert judge.recognised_share(real) > 0.85
    assert judge.recognised_share(noise()) < 0.05
    assert judge.recognised_share(shuffled) < 0.05


def test_recognised_share_is_that_of_the_softmax(judge, digits):
    x = torch.cat([digits[0][1400:1500], noise(100)])
    best = judge.logits(x).softmax(1).amax(1)
    for confidence in (0.2, 0.5, 0.9, 0.99):
        expected = (best >= confidence).double().mean().item()
        assert judge.recognised_share(x, confidence) == expected
    assert judge.recognised_share(x, 0.2) > judge.recognised_share(x, 0.99)


def test_features_are_the_penultimate_layer(judge, digits):
    x = digits[0][:5]
    features = judge.features(x)
    assert features.shape == (5, 64) and (features >= 0).all() and not features.requires_grad
    torch.testing.assert_close(features @ judge.net.head.weight.T + judge.net.head.bias,
                               judge.logits(x))  # fmt: skip


def test_features_tell_digits_from_noise_and_not_from_other_digits(judge, digits):
    x = digits[0]
    real, held_out = judge.features(x[:397]), judge.features(x[1400:])
    blurred = torch.nn.functional.avg_pool2d(x[1400:], 3, stride=1, padding=1)
    near = frechet_distance(real, held_out)
    assert near < 0.2 * frechet_distance(real, judge.features(blurred))
    assert near < 0.1 * frechet_distance(real, judge.features(noise()))


def test_it_answers_one_image_as_it_answers_many(judge, digits, monkeypatch):
    x = digits[0][:10]
    together = judge.logits(x)
    monkeypatch.setattr("genai_utils.evaluation.judge.CHUNK", 3)
    torch.testing.assert_close(judge.logits(x), together)
    torch.testing.assert_close(judge.logits(x[3:4])[0], together[3])  # no batch statistics
    torch.testing.assert_close(judge.logits(x[:, 0].numpy()), together)  # (N, H, W), NumPy


def test_training_is_repeatable_and_leaves_the_random_state_alone(digits):
    x, y = digits

    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    def seed_all():
        torch.manual_seed(7)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)

    seed_all()
    expected = draw()
    seed_all()
    first = train_judge(x, y, steps=3)
    assert draw() == expected
    again, other = train_judge(x, y, steps=3), train_judge(x, y, steps=3, seed=1)
    assert torch.equal(first.logits(x), again.logits(x))
    assert not torch.equal(first.logits(x), other.logits(x))


def test_one_seed_orders_the_data_and_starts_the_training(digits, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "genai_utils.evaluation.judge.fit",
        lambda net, batches, steps, **options: seen.update(options, batches=batches, steps=steps),
    )
    train_judge(*digits, steps=40, seed=5)
    assert seen["batches"].seed == seen["seed"] == 5 and seen["steps"] == 40


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (1, 32, 32), (3, 32, 32), (1, 20, 9)])
def test_it_takes_the_sizes_of_the_book(shape):
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    judge = train_judge(x, torch.arange(6) % 3, steps=2)
    assert judge.logits(x).shape == (6, 3) and judge.features(x).shape == (6, 64)
    assert judge.shape == shape


def test_a_28x28_image_ends_as_4x4():
    assert JudgeNet(28, 28).flat == JudgeNet(32, 32).flat == 64 * 4 * 4
    assert JudgeNet(8, 8).flat == 64 * 2 * 2


def test_the_loss_is_cross_entropy_plus_that_of_a_uniform_answer():
    net = JudgeNet(8, 8, classes=4)
    with torch.no_grad():  # the logits are then the bias, whatever comes in
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor([0.7, 0.1, 0.1, 0.1]).log())
    batch = torch.rand(5, 1, 8, 8), torch.tensor([0, 0, 0, 0, 1]), torch.rand(2, 1, 8, 8)
    log = np.log
    known = -(4 * log(0.7) + log(0.1)) / 5
    unknown = -(log(0.7) + 3 * log(0.1)) / 4
    loss = net.loss(batch)
    assert loss["loss"].item() == pytest.approx(known + 0.3 * unknown, rel=1e-5)
    assert loss["known"].item() == pytest.approx(known, rel=1e-5)


def test_rubbish_is_noise_and_shuffled_images(digits):
    x, y = digits[0][:16], digits[1][:16]
    same_x, same_y, rubbish = add_rubbish((x, y), torch.Generator().manual_seed(0))
    assert same_x is x and same_y is y and rubbish.shape == (4, 1, 8, 8)
    assert len(rubbish[:2].unique()) == 128  # noise repeats no value, digits have 17 greys
    shuffled = rubbish[2:].flatten(1)
    assert torch.equal(shuffled.sort(1).values, x[:2].flatten(1).sort(1).values)
    assert not torch.equal(shuffled, x[:2].flatten(1))


def test_it_refuses_to_be_trained_on_nonsense(digits):
    x, y = digits[0][:20], digits[1][:20]
    for args, error, message in [
        ((255 * x, y), ValueError, r"values in \[0, 1\]"),
        ((x[0], y), ValueError, "expected 1 labels, one a sample, got 20"),
        ((x[:, :, :6], y), ValueError, r"at least 8 pixels, got \(6, 8\)"),
        ((x[:0], y[:0]), ValueError, "empty"),
        ((x, y[:5]), ValueError, "expected 20 labels, one a sample, got 5"),
        ((x, y * 0), ValueError, "at least 2 classes"),
        ((x, y + 0.5), TypeError, "whole numbers"),
        ((x, y, "abacus"), ValueError, "device: expected .* got 'abacus'"),
        ((x, y, "cpu", 0), ValueError, "steps: expected at least 1"),
    ]:
        with pytest.raises(error, match=message):
            train_judge(*args)


def test_it_refuses_to_judge_nonsense(judge, digits):
    x, y = digits[0][:4], digits[1][:4]
    assert isinstance(judge, Judge)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\), got \(1, 8, 7\)"):
        judge.logits(x[..., :7])
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        judge.features(2 * x - 1)
    with pytest.raises(ValueError, match="empty"):
        judge.recognised_share(x[:0])
    with pytest.raises(ValueError, match="expected 4 labels"):
        judge.accuracy(x, y[:3])
    for confidence in (0, 1, 90):
        with pytest.raises(ValueError, match="confidence: expected between 0 and 1"):
            judge.recognised_share(x, confidence)
