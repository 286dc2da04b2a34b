"""The judge: the networks that the package brings, and one trained on 8×8 digits in a second."""

import hashlib
import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genai_utils import data
from genai_utils.evaluation import (
    Judge,
    frechet_distance,
    judge_net,
    load_judge,
    make_judge,
    train_judge,
)
from genai_utils.evaluation import judge as module
from genai_utils.evaluation.judge import SIZES, WEIGHTS, JudgeNet, add_rubbish


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of judges that is nobody's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("GENAI_CACHE", str(folder))
        yield folder


@pytest.fixture
def trainings(monkeypatch):
    """The steps of each training of a judge while the test runs."""
    seen, real = [], judge_net.fit

    def counted(net, batches, steps, **options):
        seen.append(steps)
        return real(net, batches, steps, **options)

    monkeypatch.setattr(judge_net, "fit", counted)
    return seen


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


def test_training_is_repeatable_and_leaves_the_random_state_alone(digits, tmp_path, monkeypatch):
    x, y = digits

    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    def seed_all():
        torch.manual_seed(7)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)

    seed_all()
    expected = draw()
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "first"))
    seed_all()
    first = train_judge(x, y, steps=3)
    assert draw() == expected
    seed_all()
    train_judge(x, y, steps=3)  # from the cache
    assert draw() == expected
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "second"))
    again, other = train_judge(x, y, steps=3), train_judge(x, y, steps=3, seed=1)
    assert torch.equal(first.logits(x), again.logits(x))
    assert not torch.equal(first.logits(x), other.logits(x))


def test_the_same_judge_is_trained_once(digits, trainings):
    x, y = digits[0][:100], digits[1][:100]
    first, again = train_judge(x, y, steps=2), train_judge(x.numpy(), y.tolist(), steps=2)
    assert trainings == [2] and torch.equal(first.logits(x), again.logits(x))
    assert first.record == again.record == {"images": 100, "steps": 2, "seed": 0}
    assert str(again) == "judge trained on 100 images of 8 x 8 pixels, 2 steps, seed 0"
    others = [
        (x, y, "cpu", 3), (x, y, "cpu", 2, 1), (x.flip(0), y), (x, y.flip(0)), (x[1:], y[1:]),
    ]  # fmt: skip
    for count, call in enumerate(others, start=2):
        train_judge(*call) if len(call) > 2 else train_judge(*call, steps=2)
        assert len(trainings) == count


def test_a_cache_that_is_damaged_or_closed_means_training_again(
    digits, trainings, tmp_path, monkeypatch
):
    x, y = digits[0][:50], digits[1][:50]
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path))
    expected = train_judge(x, y, steps=2).logits(x)
    [kept] = (tmp_path / "judges").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-7])
    assert torch.equal(train_judge(x, y, steps=2).logits(x), expected)
    assert kept.read_bytes() == whole and len(trainings) == 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "file"))  # no folder can be made in it
    assert torch.equal(train_judge(x, y, steps=2).logits(x), expected)
    assert len(trainings) == 3
    monkeypatch.delenv("GENAI_CACHE")
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user whom nobody knows
    assert torch.equal(train_judge(x, y, steps=2).logits(x), expected)
    assert len(trainings) == 4


def test_an_estimate_leaves_no_half_trained_judge(digits, trainings, tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path))
    monkeypatch.setenv("GENAI_ESTIMATE", "1")
    train_judge(*digits, steps=50)
    monkeypatch.delenv("GENAI_ESTIMATE")
    train_judge(*digits, steps=50)
    assert trainings == [50, 50]


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


def test_rubbish_knows_more_and_more_of_the_batch(digits):
    x, y = digits[0][:1024], digits[1][:1024]
    _, same_y, rubbish = add_rubbish((x, y), torch.Generator().manual_seed(0))
    assert same_y is y and rubbish.shape == (512, 1, 8, 8)
    assert rubbish.min() >= 0 and rubbish.max() <= 1
    noise, shuffled, alone, smeared = rubbish.flatten(1).chunk(4)
    pixels = x.flatten(1)
    assert len(noise.unique()) > 8000  # noise repeats hardly a value, digits have 17 greys
    assert torch.equal(shuffled.sort(1).values, pixels[:128].sort(1).values)
    assert not torch.equal(shuffled, pixels[:128])
    for pixel in range(64):  # values of its own pixel only
        assert set(alone[:, pixel].tolist()) <= set(pixels[:, pixel].tolist())
    assert (alone.mean(0) - pixels.mean(0)).abs().max() < 0.15

    def correlation(images):
        return torch.corrcoef(images.T[[27, 28, 35]])  # pixels side by side in the middle

    real = correlation(pixels)
    assert real[0, 1].abs() > 0.3 and (correlation(smeared) - real).abs().max() < 0.25
    assert (correlation(alone)[0, 1]).abs() < 0.2
    assert (smeared.mean(0) - pixels.mean(0)).abs().max() < 0.15


def test_smears_have_the_covariance_of_the_batch():
    """Far from 0 and 1 nothing is cut off, and their moments are those of the batch."""
    g = torch.Generator().manual_seed(1)
    base = torch.randn(4096, 3, generator=g) @ torch.tensor([[2.0, 1, 0], [0, 1, 1], [0, 0, 1]])
    x = (0.5 + 0.02 * base).reshape(4096, 1, 1, 3)
    _, _, rubbish = add_rubbish((x, torch.zeros(4096)), g)
    smeared = rubbish[-512:].flatten(1)
    expected, found = torch.cov(x.flatten(1).T), torch.cov(smeared.T)
    assert (found - expected).abs().max() < 0.15 * expected.abs().max()
    assert (smeared.mean(0) - 0.5).abs().max() < 0.01


def test_a_quarter_is_softened_and_keeps_its_labels(digits):
    x, y = digits[0][:16], digits[1][:16]
    softened, _, _ = add_rubbish((x, y), torch.Generator().manual_seed(0))
    assert softened.shape == x.shape and torch.equal(softened[4:], x[4:])
    blurred = torch.nn.functional.avg_pool2d(x[:4], 3, 1, padding=1)
    step, way = softened[:4] - x[:4], blurred - x[:4]
    share = (step * way).sum((1, 2, 3)) / (way * way).sum((1, 2, 3))  # of the way to the mean
    assert (share > 0).all() and (share < 1).all() and len(share.unique()) == 4
    torch.testing.assert_close(step, share[:, None, None, None] * way)


def test_it_refuses_to_be_trained_on_nonsense(digits):
    x, y = digits[0][:20], digits[1][:20]
    for args, error, message in [
        ((255 * x, y), ValueError, "pixels between 0 and 1"),
        ((x[0], y), ValueError, "expected 1 labels, one a sample, got 20"),
        ((x[:, :, :6], y), ValueError, r"at least 8 pixels, got \(6, 8\)"),
        ((x[:0], y[:0]), ValueError, "images: expected at least one number, got none"),
        ((x, y[:5]), ValueError, "expected 20 labels, one a sample, got 5"),
        ((x, y * 0), ValueError, "at least 2 classes"),
        ((x, y + 0.5), TypeError, "whole numbers"),
        ((x, y, "abacus"), ValueError, "device: expected .* got 'abacus'"),
        ((x, y, "cpu", 0), ValueError, "steps: expected a whole number of at least 1, got 0"),
    ]:
        with pytest.raises(error, match=message):
            train_judge(*args)


def test_it_refuses_to_judge_nonsense(judge, digits):
    x, y = digits[0][:4], digits[1][:4]
    assert isinstance(judge, Judge)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\) of this judge, got \(1, 8, 7\)"):
        judge.logits(x[..., :7])
    with pytest.raises(ValueError, match="pixels between 0 and 1"):
        judge.features(2 * x - 1)
    with pytest.raises(ValueError, match="images: expected at least one number, got none"):
        judge.recognised_share(x[:0])
    with pytest.raises(ValueError, match="expected 4 labels"):
        judge.accuracy(x, y[:3])
    for confidence in (0, 1, 90):
        with pytest.raises(ValueError, match="confidence: expected .* above 0 and below 1"):
            judge.recognised_share(x, confidence)


# What the package brings.


@pytest.fixture(scope="module", params=make_judge.RECIPES)
def size(request):
    return request.param


def record_of(size):
    return json.loads((WEIGHTS / f"judge_{size}.json").read_text(encoding="utf-8"))


def uniform(*shape, n=1000):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(3))


def test_the_weights_are_those_of_the_record_and_small(size):
    payload = (WEIGHTS / f"judge_{size}.safetensors").read_bytes()
    record = record_of(size)
    assert record["bytes"] == len(payload) < 200_000
    assert record["sha256"] == hashlib.sha256(payload).hexdigest()
    right = {28: 0.99, 16: 0.985, 8: 0.99}[size]  # half the side: some digits can no more be told
    assert record["accuracy"]["test"] >= right and record["accuracy"]["held_out"] >= right
    # an 8×8 digit is nearer to what a linear model writes: more of them leave it in doubt
    least = {28: 0.97, 16: 0.96, 8: 0.93}[size]
    assert record["recognised"]["test"] >= least and record["recognised"]["noise"] <= 0.001


def test_the_record_has_the_settings_of_the_command(size):
    expected = {"size": size, **make_judge.RECIPES[size], **make_judge.SETTINGS}
    assert {key: record_of(size)[key] for key in expected} == expected
    train = {28: 60_000, 16: 60_000, 8: 1437}[size]
    assert record_of(size)["held_out"] == train - expected["images"] > 0


def test_they_are_half_precision_and_loading_rounds_nothing_more(size):
    weights = load_judge(size).net.state_dict()
    packed = module.safetensors.torch.load((WEIGHTS / f"judge_{size}.safetensors").read_bytes())
    assert {v.dtype for v in packed.values()} == {torch.float16}
    for name, half in packed.items():
        assert weights[name].dtype == torch.float32 and torch.equal(weights[name], half.float())
    assert len(packed) == sum(v.is_floating_point() for v in weights.values())


def test_it_reads_the_bundled_test_digits_as_the_record_says():
    test = data.digits("test")
    for name in ("mnist", "digits"):  # there is one for this size
        judge = load_judge(8, name)
        accuracy = judge.record["accuracy"]["test"]
        assert judge.accuracy(test.x, test.y) == pytest.approx(accuracy, abs=0.003)  # one image
        assert f"reads {100 * accuracy:.1f} % of the test digits" in str(judge)
    assert judge.recognised_share(test.x) == pytest.approx(
        judge.record["recognised"]["test"], abs=0.01
    )


@pytest.mark.parametrize("side", [16, 28, 32])
def test_it_reads_mnist_as_the_record_says(side, monkeypatch):
    monkeypatch.setattr("genai_utils.data.search._stood_in", set())
    test = data.mnist("test", size=side)
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine")
    judge = load_judge(side)
    assert judge.accuracy(test.x, test.y) == pytest.approx(
        judge.record["accuracy"]["test"], abs=3e-4
    )


@pytest.mark.parametrize("side", [16, 28, 30, 32])
def test_enlarged_digits_are_judged_as_the_small_ones_are(side):
    small = data.digits("test")
    judge = load_judge(side, "digits")
    large = torch.nn.functional.interpolate(small.x, size=20, mode="bilinear", align_corners=False)
    edge = 6 if side == 16 else (side - 20) // 2
    large = torch.nn.functional.pad(large, [edge] * 4)
    if side == 16:
        large = torch.nn.functional.avg_pool2d(large, 2)
    if side in (28, 32):
        assert torch.equal(large, data.digits("test", size=side).x)
    torch.testing.assert_close(
        judge.logits(large), load_judge(8).logits(small.x), atol=2e-3, rtol=0
    )
    assert judge.features(large).shape == (360, 64)
    assert "brought back to 8 x 8" in str(judge) and "brought" not in str(load_judge(8))


def test_no_judge_is_sure_of_rubbish():
    x = data.digits("test", size=28).x
    order = torch.randperm(784, generator=torch.Generator().manual_seed(2))
    shuffled = x.flatten(1)[:, order].reshape(x.shape)
    for judge, rubbish in (
        (load_judge(28), uniform(28, 28)),
        (load_judge(28), shuffled),
        (load_judge(28, "digits"), uniform(28, 28)),
        (load_judge(8), uniform(8, 8)),
    ):
        assert judge.recognised_share(rubbish) <= 0.01
        assert judge.logits(rubbish).softmax(1).amax(1).mean() < 0.3


def clouds(x, n=500):
    """Pictures whose pixels are those of the images x (N, 1, H, W), each drawn on its own."""
    which = torch.randint(len(x), (n, x[0].numel()), generator=torch.Generator().manual_seed(4))
    return x.flatten(1).gather(0, which).reshape(n, *x.shape[1:])


def smears(x, k, n=500):
    """What a PCA of k components writes that was fitted to the images x (N, 1, H, W)."""
    flat = x.flatten(1).double()
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    code = torch.randn(n, k, generator=torch.Generator().manual_seed(5), dtype=torch.double)
    drawn = flat.mean(0) + code * values[-k:].clamp(min=0).sqrt() @ vectors[:, -k:].T
    return drawn.clamp(0, 1).float().reshape(n, *x.shape[1:])


@pytest.mark.parametrize("side", [8, 28])
def test_no_judge_is_sure_of_what_has_the_statistics_of_digits_only(side):
    x = data.digits("train", size=side).x
    judge = load_judge(side, "digits")
    assert judge.recognised_share(clouds(x)) <= 0.01
    for k in (2, 8, 32):
        assert judge.recognised_share(smears(x, k)) <= 0.05


def test_the_judge_of_halved_digits_reads_no_linear_model_of_many_components(monkeypatch):
    monkeypatch.setattr("genai_utils.data.search._stood_in", set())
    x = data.mnist("train", size=16, n=10_000).x
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine")
    judge = load_judge(16)
    assert judge.recognised_share(clouds(x)) <= 0.005
    for k, most in ((32, 0.06), (256, 0.005)):  # of 4 components it is sure of a quarter
        assert judge.recognised_share(smears(x, k)) <= most


def test_the_judge_of_mnist_reads_blurred_digits_and_no_linear_model(monkeypatch):
    monkeypatch.setattr("genai_utils.data.search._stood_in", set())
    train, test = data.mnist("train"), data.mnist("test")
    if "mnist" not in data.used():
        pytest.skip("MNIST is not on this machine")
    judge, x = load_judge(), train.x[:10_000]
    assert judge.recognised_share(clouds(x)) <= 0.005
    for k in (4, 32, 784):
        assert judge.recognised_share(smears(x, k)) <= 0.02
    blurred = torch.nn.functional.avg_pool2d(test.x[:2000], 3, 1, padding=1)
    assert judge.recognised_share(blurred) >= 0.95


def test_of_larger_images_it_sees_the_middle():
    judge, x = load_judge(28), data.digits("test", size=28).x[:20]
    logits = judge.logits(x)
    for edge in (1, 2):
        padded = torch.nn.functional.pad(x, [edge] * 4, value=1.0)
        assert torch.equal(judge.logits(padded), logits)
    assert not torch.allclose(judge.logits(x.roll(1, 3)), logits, atol=0.1)


def test_which_judge_it_is_follows_from_size_and_data():
    for size in SIZES:
        assert load_judge(size, "digits").record == record_of(8)
    for names in ("mnist", ["digits", "mnist"], ["digits (stand-in for mnist)", "mnist"]):
        assert load_judge(32, names).record == record_of(28)
    assert load_judge(16, "mnist").record == record_of(16)
    stand_in = load_judge(28, ["photographs", "digits (stand-in for mnist)"])
    assert stand_in.record == record_of(8) and stand_in.shape == (1, 8, 8)
    assert "MNIST, 28 x 28" in str(load_judge()) and record_of(28)["sha256"][:8] in str(
        load_judge()
    )


@pytest.mark.parametrize("names", ["cora", [], ["photographs"], ""])
def test_it_refuses_data_that_no_judge_knows(names):
    with pytest.raises(ValueError, match="digits: expected"):
        load_judge(28, names)


def test_it_refuses_other_sizes(digits):
    for size in (7, 9, 20, 27, 33, 64):
        with pytest.raises(
            ValueError, match=f"size: expected 8, 16 or 28 to 32 pixels, got {size}"
        ):
            load_judge(size)
    with pytest.raises(TypeError, match="size: expected a whole number"):
        load_judge("28")
    with pytest.raises(ValueError, match="device: expected"):
        load_judge(28, device="abacus")
    for judge in (load_judge(28), load_judge(28, "digits")):
        for shape in ((8, 8), (27, 27), (33, 33), (64, 64), (28, 32), (28, 30)):
            with pytest.raises(ValueError, match=f"28 to 32 pixels .* got {shape[0]}×{shape[1]}"):
                judge.logits(uniform(*shape, n=2))
        with pytest.raises(ValueError, match=r"\(C, H, W\) = \(1,"):
            judge.logits(uniform(3, 28, 28, n=2))
    with pytest.raises(ValueError, match=r"\(1, 8, 8\) of .*, got \(1, 28, 28\); load_judge"):
        load_judge(8).logits(uniform(28, 28, n=2))


def test_it_needs_neither_network_nor_cache_nor_training(monkeypatch, size):
    def refuse(*args, **kwargs):
        raise AssertionError("not here")

    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr(judge_net, "fit", refuse)
    monkeypatch.setattr(module, "cache_dir", refuse)
    state = torch.get_rng_state()
    load_judge(size).logits(uniform(size, size, n=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_on_a_card_it_computes_in_double_precision_and_says_the_same(monkeypatch):
    x = data.digits("test", size=28).x[:50]
    judge = load_judge(28)
    expected = judge.logits(x)
    judge.net, judge.dtype = judge.net.double(), torch.float64  # as on a card
    assert judge.logits(x).dtype == torch.float32
    torch.testing.assert_close(judge.logits(x), expected, atol=1e-4, rtol=0)
    asked = []
    monkeypatch.setattr(JudgeNet, "to", lambda self, *target: asked.append(target) or self)
    Judge(JudgeNet(8, 8), (1, 8, 8), torch.device("cuda"), {})
    Judge(JudgeNet(8, 8), (1, 8, 8), torch.device("cpu"), {})
    assert asked == [
        (torch.device("cuda"), torch.float64),
        (torch.device("cpu"), torch.float32),
    ]


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").write_text("{}"),
        lambda path: path.with_suffix(".json").write_text("[]"),
    ],
    ids=["a bit", "cut off", "gone", "no record", "half a record", "empty record", "a list"],
)
def test_damaged_weights_are_refused(harm, tmp_path, monkeypatch):
    for path in WEIGHTS.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    load_judge(8)
    harm(tmp_path / "judge_8.safetensors")
    with pytest.raises(
        data.DataError, match=r"judge_8.safetensors.* damaged or missing .*--size 8"
    ):
        load_judge(8)
    load_judge(28)


def test_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    for path in WEIGHTS.iterdir():
        shutil.copy(path, tmp_path / path.name.replace("_28", "_x").replace("_8", "_28"))
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    with pytest.raises(data.DataError, match="belong to another network"):
        load_judge(28)


# The command that makes them.


def test_the_command_writes_into_the_home_folder_and_not_beside_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(make_judge, "make", lambda *a, **k: (b"x", make_record()))
    threads = torch.get_num_threads()
    assert make_judge.main(["--size", "8", "--out", "~/weights"]) == 0
    torch.set_num_threads(threads)
    names = {path.name for path in (tmp_path / "home" / "weights").iterdir()}
    assert names == {"judge_8.safetensors", "judge_8.json"}
    assert not list((tmp_path / "here").iterdir())


def make_record():
    return {"bytes": 1, "accuracy": {"test": 1.0}}


def test_the_command_makes_weights_that_load(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    threads = torch.get_num_threads()
    try:
        for folder in ("a", "b"):
            arguments = ["--size", "8", "--steps", "60", "--out", str(tmp_path / folder)]
            assert make_judge.main(arguments) == 0
    finally:
        torch.set_num_threads(threads)
    assert "bytes" in capsys.readouterr().out
    a, b = ((tmp_path / f / "judge_8.safetensors").read_bytes() for f in "ab")
    assert a == b  # the seed decides
    assert {v.dtype for v in module.safetensors.torch.load(a).values()} == {torch.float16}
    shutil.copytree(tmp_path / "a", tmp_path / "weights")
    monkeypatch.setattr(module, "WEIGHTS", tmp_path / "weights")
    judge, test = load_judge(8), data.digits("test")
    assert judge.record["steps"] == 60
    assert judge.record["accuracy"]["test"] == pytest.approx(
        judge.accuracy(test.x, test.y), abs=0.003
    )
    train = data.digits("train")
    held_out = judge.accuracy(train.x[1200:], train.y[1200:])
    assert judge.record["accuracy"]["held_out"] == pytest.approx(held_out, abs=0.005)
    assert set(judge.record) == set(record_of(8))


def test_it_learns_from_training_digits_only(monkeypatch):
    seen = {}

    def learn(x, y, steps, seed, **options):
        seen.update(x=x, y=y, steps=steps, seed=seed)
        return JudgeNet(8, 8)

    monkeypatch.setattr(judge_net, "learn", learn)
    make_judge.make(8)
    train = data.digits("train")
    assert torch.equal(seen["x"], train.x[:1200]) and torch.equal(seen["y"], train.y[:1200])
    assert seen["steps"] == 1000 and seen["seed"] == 0


def test_the_stand_in_does_not_become_the_judge_of_mnist(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path))
    data.forget_used()
    threads = torch.get_num_threads()
    assert make_judge.main(["--size", "28", "--out", str(tmp_path / "out")]) == 1
    torch.set_num_threads(threads)
    assert "needs MNIST" in capsys.readouterr().err and not (tmp_path / "out").exists()
