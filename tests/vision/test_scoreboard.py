"""The scoreboard: equal budgets, rows that are kept, orders that stand on seeds, grey pixels."""

import dataclasses
import itertools
import json
import math
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

from genai_utils import data
from genai_utils.evaluation import Scorecard
from genai_utils.training import TrainingError, fit
from genai_utils.training.checkpoint import CheckpointError
from genai_utils.vision import budgets, entrants, scoreboard
from genai_utils.vision.budgets import Budget, Entrant, Trainer
from genai_utils.vision.grey_pixels import GreyPixelCNN, levels_log_prob
from genai_utils.vision.image_model import ImageModel
from genai_utils.vision.pixel_chain import jacobian
from genai_utils.vision.scoreboard import ENTRANTS, play

FEW = Budget(steps=2)


@pytest.fixture(scope="module")
def digits():
    return scoreboard.grey_digits(data.digits)


@pytest.fixture(scope="module")
def card(digits):
    return Scorecard(digits, "digits", n=32)


class Blob(ImageModel):
    """One learned image, with noise."""

    def __init__(self, size, width=2):
        super().__init__(size)
        self.a = nn.Parameter(torch.zeros(width, size, size))

    def loss(self, x):
        x, _ = self.batch(x)
        return (x - self.a.mean(0)).square().mean() + (self.a**2).mean()

    def sample(self, n, y=None, generator=None):
        noise = torch.rand(n, 1, self.size, self.size, generator=generator)
        return (self.a.mean(0) + noise).clamp(0, 1)


BLOB = Entrant("blob", Blob)

# --- grey pixels ---------------------------------------------------------------------------------


def tiny(levels=3, size=3):
    torch.manual_seed(1)
    return GreyPixelCNN(size, 4, 2, levels, kernel=3, first=3)


def test_all_images_of_a_grey_pixelcnn_have_the_probability_one():
    model = tiny(levels=3, size=3).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)
    every = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=9))).double()
    log_p = model.log_prob(every.reshape(-1, 1, 3, 3), chunk=5_000)
    assert log_p.std() > 0.05
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_log_probability_is_that_of_a_categorical_distribution():
    g = torch.Generator().manual_seed(0)
    level = torch.randint(8, (5, 1, 4, 3), generator=g)
    logits = 3 * torch.randn(5, 1, 4, 3, 8, generator=g)
    wanted = Categorical(logits=logits).log_prob(level).sum((1, 2, 3))
    torch.testing.assert_close(levels_log_prob(level / 7, logits), wanted)


def test_a_grey_pixel_sees_only_earlier_ones():
    model, x = tiny(levels=4, size=5), torch.rand(1, 1, 5, 5)
    slopes = jacobian(Summed(model), x)
    assert slopes.abs().max() > 1e-4
    assert (slopes.triu() == 0).all()


class Summed(nn.Module):
    """One number for each pixel: a weighted sum of the levels' logits."""

    def __init__(self, model):
        super().__init__()
        self.model, self.weights = model, torch.arange(1.0, model.levels + 1)

    def logits(self, x):
        return (self.model.logits(x) * self.weights).sum(-1)


def test_the_cache_draws_what_the_whole_network_draws():
    model = tiny(levels=5, size=6)
    found = [model.sample(7, generator=torch.Generator().manual_seed(3), cached=c) for c in (0, 1)]
    assert torch.equal(*found)
    k = 4 * found[0]
    assert torch.equal(k, k.round()) and k.min() >= 0 and k.max() <= 4 and len(k.unique()) > 2
    parts = model.sample(7, generator=torch.Generator().manual_seed(3), chunk=3)
    assert torch.equal(parts, found[0])


def test_levels_are_drawn_as_often_as_the_model_says():
    model = tiny(levels=4, size=3)
    with torch.no_grad():
        p = model.logits(torch.zeros(1, 1, 3, 3))[0, 0, 0, 0].softmax(-1)
        x = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    share = torch.bincount((3 * x[:, 0, 0, 0]).round().long(), minlength=4) / 20_000
    assert (share - p).abs().max() < 0.015


def test_a_grey_pixelcnn_learns_and_refuses_values_between_levels(digits):
    model = GreyPixelCNN(8, 8, 2, first=5)
    before = model.bits_per_dim(digits[1][:50])
    assert before == pytest.approx(3, abs=0.2)  # 8 levels
    batches = Trainer(digits[0], FEW).images[:64]
    fit(model, lambda step: batches, 25, lr=1e-2, progress=False)
    assert model.bits_per_dim(digits[1][:50]) < 0.85 * before
    with pytest.raises(ValueError, match="grey_levels"):
        model.check_batch(torch.full((2, 1, 8, 8), 0.4))


# --- equal terms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [1, 37, 200, 255, 256, 257, 5_000, 10**9])
@pytest.mark.parametrize("widths", [range(1, 65), range(4, 65, 4), [3, 5, 17, 40], [6]])
def test_the_width_found_by_bisection_is_the_nearest_of_all(weights, widths):
    asked = []

    def count(width):
        asked.append(width)
        return 3 * width * width + 7 * width

    found = budgets.nearest_width(count, weights, widths)
    gaps = {width: abs(3 * width * width + 7 * width - weights) for width in widths}
    assert gaps[found] == min(gaps.values())
    assert len(asked) <= math.log2(len(widths)) + 3


@pytest.mark.parametrize("name", [name for name, e in ENTRANTS.items() if len(e.widths)])
def test_all_entrants_can_have_about_as_many_weights(name):
    entrant, budget = ENTRANTS[name], Budget(steps=1, weights=63_000)
    state = torch.get_rng_state()
    width = entrant.width_for(28, budget)
    assert torch.equal(state, torch.get_rng_state())
    assert budgets.weights_of(entrant.build(28, width)) == pytest.approx(63_000, rel=0.1)
    assert width in entrant.widths and entrant.width_for(28, FEW) == entrant.width


def test_steps_of_a_clock_whose_truth_is_known():
    done, clock = [0, 8, 16, 24], [0.0, 10.0, 14.0, 18.0]  # 10 s to start, then half a second each
    assert budgets.steps_in(30.0, done, clock) == 8 + 40
    assert budgets.steps_in(0.1, done, clock) == 1


@pytest.mark.parametrize(
    "given",
    [{}, {"seconds": 1.0, "steps": 3}, {"seconds": 0}, {"seconds": -1.0}, {"steps": 0},
     {"seconds": math.inf}, {"steps": 2, "weights": 0}, {"seconds": 1.0, "most": 0}],
)  # fmt: skip
def test_a_budget_of_nothing_is_refused(given):
    with pytest.raises(ValueError, match="expected"):
        Budget(**given)


def test_seconds_become_steps_and_are_planned_once(digits, tmp_path):
    budget = Budget(seconds=0.3, most=40)
    trainer = Trainer(digits[0], budget, folder=tmp_path)
    trainer.fit(Blob(8))
    assert 1 <= trainer.steps <= 40 and trainer.seconds > 0
    assert json.loads((tmp_path / "plan.json").read_text()) == [trainer.steps]
    (tmp_path / "plan.json").write_text("[7]")  # as if another process had planned
    assert (tmp_path / "stage0").is_dir()
    again = Trainer(digits[0], budget, folder=tmp_path)
    assert again.planned == [7]


def test_seconds_are_read_from_the_clock_of_the_process(digits, monkeypatch):
    clock = [0.0]

    class Slow(Blob):
        def loss(self, x):
            clock[0] += 0.25  # seconds of a step
            return super().loss(x)

    monkeypatch.setattr(budgets.time, "process_time", lambda: clock[0])
    trainer = Trainer(digits[0], Budget(seconds=20.0))
    trainer.fit(Slow(8))
    assert trainer.steps == 80 and trainer.seconds == 20.0
    assert budgets.clock_of("cuda") is budgets.time.perf_counter


def test_the_pace_of_a_row_leaves_out_what_is_slow_at_first(digits, monkeypatch):
    clock, drawn = [0.0], []

    class Slow(Blob):
        def loss(self, x):
            clock[0] += 0.25  # seconds of a step
            return super().loss(x)

        def sample(self, n, y=None, generator=None):
            clock[0] += 0.5 * n + (0.0 if drawn else 3.0)  # of n images, and of the first call
            drawn.append(n)
            return super().sample(n, y, generator)

    monkeypatch.setattr(budgets.time, "process_time", lambda: clock[0])
    row = play(Entrant("slow", Slow), digits[0], FEW, n=16)
    assert row.ms_per_step == 250 and row.ms_per_image == 500
    assert drawn[-1] == 16 and len(drawn) > 1


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (0.8, 0.1, 0.1)])  # 1 - 0.8 - 0.1 < 0.1
def test_shares_of_a_budget_add_up(digits, shares):
    trainer = Trainer(digits[0], Budget(steps=10))
    for share in shares:
        trainer.fit(Blob(8), share)
    assert trainer.steps == 10
    with pytest.raises(ValueError, match="share: expected .* at most what is left, 0, got 0.1"):
        trainer.fit(Blob(8), 0.1)
    assert trainer.steps == 10


def test_the_rate_multiplies(digits):
    seen = []

    def optimizer(model, lr):
        seen.append(lr)
        return torch.optim.SGD(model.parameters(), lr=lr)

    Trainer(digits[0], FEW, rate=3.0).fit(Blob(8), lr=0.5, optimizer=optimizer)
    assert seen == [1.5]


def test_grey_digits_leave_some_aside_and_have_eight_levels():
    train, test = scoreboard.grey_digits(data.digits, aside=100)
    every = data.digits("train").x
    assert len(train) == len(every) - 100 and len(test) == 360
    assert (train - every[:-100]).abs().max() <= 0.5 / 7 + 1e-6
    k = 7 * train
    assert torch.allclose(k, k.round(), atol=1e-5) and len(train.unique()) == 8
    assert len(scoreboard.grey_digits(data.digits, n=50)[0]) == 50
    assert len(scoreboard.grey_digits(data.digits)[0]) == len(every) - len(every) // 5
    with pytest.raises(ValueError, match="levels"):
        budgets.grey_levels(train, 1)


# --- entrants ------------------------------------------------------------------------------------


def test_a_fitted_normal_has_the_moments_of_the_data():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(400, 5, generator=g) @ torch.randn(5, 5, generator=g) + 3
    m, root = entrants.fitted_normal(z)
    torch.testing.assert_close(m, z.mean(0))
    torch.testing.assert_close(root @ root.T, torch.cov(z.T), rtol=1e-4, atol=1e-4)
    assert (root.norm(dim=0).diff() <= 1e-5).all()  # largest first


def test_random_pixels_have_the_histograms_of_the_data(digits):
    model = entrants.RandomPixels(8).fit(digits[0])
    x = model.sample(4_000, generator=torch.Generator().manual_seed(0))
    assert (x.mean(0) - digits[0].mean(0)).abs().max() < 0.04
    assert (x.std(0) - digits[0].std(0)).abs().max() < 0.04
    centred = x.flatten(1) - x.flatten(1).mean(0)
    near = (centred[:, 27] * centred[:, 28]).mean() / (x.std(0).flatten()[27:29].prod())
    assert abs(near) < 0.06  # neighbours know nothing of each other


@pytest.mark.parametrize("name", ENTRANTS)
def test_each_entrant_plays(name, digits, card):
    row = play(name, digits[0], Budget(steps=4), n=16)
    assert row.images.shape == (16, 1, 8, 8)
    k = 7 * row.images
    assert torch.allclose(k, k.round(), atol=1e-5) and row.images.std() > 0
    learned = name not in ("random pixels", "PCA")
    assert (row.steps == 4) == learned and (row.seconds > 0) == learned
    assert (row.calls > 0) == learned and row.ms_per_image > 0
    numbers = scoreboard.score(row, card)
    assert set(scoreboard.LARGER) <= set(numbers)
    assert numbers["Fréchet / floor"] > 1 and numbers["weights"] == row.weights


# --- rows ----------------------------------------------------------------------------------------


def scores_of(row):
    return [path.name for path in Path(row.folder).glob("scores-*.json")]


def test_a_row_is_the_same_again_and_is_read_from_its_folder(digits, card, tmp_path):
    state = torch.get_rng_state()
    first = play(BLOB, digits[0], FEW, seed=1, n=16, folder=tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.images, play(BLOB, digits[0], FEW, seed=1, n=16).images)
    again = play(BLOB, digits[0], FEW, seed=1, n=16, folder=tmp_path)
    assert again.folder == first.folder and torch.equal(again.images, first.images)
    assert again.seconds == first.seconds
    other = play(BLOB, digits[0], FEW, seed=2, n=16, folder=tmp_path)
    assert other.folder != first.folder and not torch.equal(other.images, first.images)
    longer = play(BLOB, digits[0], Budget(steps=3), seed=1, n=16, folder=tmp_path)
    assert longer.folder != first.folder
    numbers = scoreboard.score(first, card)
    assert scoreboard.score(again, card) == numbers
    assert {path.name for path in Path(first.folder).iterdir()} == {
        "plan.json", "row.json", "samples.safetensors", "model.safetensors", *scores_of(first)
    }  # fmt: skip
    model = scoreboard.trained(first, {"blob": BLOB})
    assert isinstance(model, Blob) and not model.training


@pytest.mark.parametrize(
    ("name", "file", "changes"),
    [("VAE", "vae.py", True), ("VAE", "autoencoder.py", True), ("VAE", "glow.py", False),
     ("MaskGIT", "vq.py", True), ("MaskGIT", "maskgit.py", True), ("VAE", "entrants.py", True),
     ("PixelCNN", "pixel_models.py", True), ("flow matching", "budgets.py", True)],
)  # fmt: skip
def test_a_row_of_other_code_is_another_row(name, file, changes, digits, monkeypatch):
    given = ENTRANTS[name], digits[0][:10], FEW, 0, 16, 1.0
    state, before, read = torch.get_rng_state(), scoreboard.key_of(*given), Path.read_text
    assert scoreboard.key_of(*given) == before and torch.equal(state, torch.get_rng_state())

    def edited(path, **options):
        return read(path, **options) + "# another line" * (path.name == file)

    monkeypatch.setattr(Path, "read_text", edited)
    assert (scoreboard.key_of(*given) != before) == changes


def test_a_class_of_a_notebook_is_known_by_its_methods(digits, monkeypatch):
    cells = types.ModuleType("cells")  # a module of no file
    monkeypatch.setitem(sys.modules, "cells", cells)
    cells.Blob, keys = Blob, []
    for noise in (0.1, 0.1, 0.2):
        exec(
            "class Mine(Blob):\n"
            "    def sample(self, n, y=None, generator=None):\n"
            f"        return super().sample(n, y, generator) * {noise}\n",
            vars(cells),
        )
        mine = Entrant("mine", cells.Mine)
        keys.append(scoreboard.key_of(mine, digits[0][:10], FEW, 0, 16, 1.0))
    assert keys[0] == keys[1] != keys[2]


def test_all_that_shapes_a_row_is_in_its_key(digits):
    given = {"entrant": BLOB, "images": digits[0][:10], "budget": FEW, "seed": 0, "n": 16,
             "rate": 1.0}  # fmt: skip
    others = {"entrant": Entrant("blob", Blob, width=3), "images": digits[0][1:11],
              "budget": Budget(steps=2, weights=100), "seed": 1, "n": 17, "rate": 3.0}  # fmt: skip
    keys = [scoreboard.key_of(**{**given, name: other}) for name, other in others.items()]
    assert len({scoreboard.key_of(**given), *keys}) == 7


class Mortal(Blob):
    """A blob whose process is killed after some steps."""

    left = math.inf

    def loss(self, x):
        Mortal.left -= 1
        if Mortal.left < 0:
            raise KeyboardInterrupt
        return super().loss(x)


def test_a_killed_training_goes_on(digits, tmp_path, monkeypatch):
    mortal = Entrant("mortal", Mortal)
    whole = play(mortal, digits[0], Budget(steps=8), n=16)  # checkpoints after 2, 4, 6 and 8 steps
    monkeypatch.setattr(Mortal, "left", 5)
    with pytest.raises(KeyboardInterrupt):
        play(mortal, digits[0], Budget(steps=8), n=16, folder=tmp_path)
    assert not list(tmp_path.glob("*/row.json"))
    monkeypatch.setattr(Mortal, "left", 4)  # enough from step 4 on, too few from the beginning
    row = play(mortal, digits[0], Budget(steps=8), n=16, folder=tmp_path)
    assert torch.equal(row.images, whole.images) and row.steps == 8
    assert Mortal.left == 0
    monkeypatch.setattr(Mortal, "left", 0)
    assert torch.equal(
        play(mortal, digits[0], Budget(steps=8), n=16, folder=tmp_path).images, row.images
    )


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda m, n, g: torch.rand(n, 1, 8, 9), "samples of 'bad'.*shape"),
        (lambda m, n, g: torch.rand(n, 8, 8), "samples of 'bad'.*shape"),
        (lambda m, n, g: torch.rand(n - 1, 1, 8, 8), "samples of 'bad'.*16 images"),
        (lambda m, n, g: 2 * torch.rand(n, 1, 8, 8), "samples of 'bad'.*between 0 and 1"),
        (lambda m, n, g: torch.rand(n, 1, 8, 8) - 0.5, "samples of 'bad'.*between 0 and 1"),
        (lambda m, n, g: torch.full((n, 1, 8, 8), math.nan), "samples of 'bad'.*between 0 and 1"),
        (lambda m, n, g: torch.zeros(n, 1, 8, 8, dtype=torch.long), "samples of 'bad'.*floats"),
        (lambda m, n, g: None, "samples of 'bad'.*floats"),
    ],
)
def test_bad_samples_are_refused_by_name(sample, message, digits, tmp_path):
    with pytest.raises((ValueError, TypeError), match=message):
        play(Entrant("bad", Blob, sample=sample), digits[0], FEW, n=16, folder=tmp_path)
    assert not list(tmp_path.glob("*/row.json"))


def test_an_entrant_that_returns_no_model_or_learns_nan_is_named(digits, tmp_path):
    with pytest.raises(TypeError, match="train of 'bad': expected the trained model .* got None"):
        play(Entrant("bad", Blob, lambda model, trainer: None), digits[0], FEW, n=16)

    class Lost(Blob):
        def loss(self, x):
            return super().loss(x) * math.nan

    with pytest.raises(TrainingError, match="'lost', seed 2: .*loss is nan at step 0"):
        play(Entrant("lost", Lost), digits[0], FEW, seed=2, n=16, folder=tmp_path)
    assert not list(tmp_path.glob("*/row.json"))


def test_another_model_than_was_built_is_played_but_not_read_back_as_that(digits, tmp_path):
    wide = Entrant("wide", Blob, lambda model, trainer: trainer.fit(Blob(8, 5)))
    row = play(wide, digits[0], FEW, n=16, folder=tmp_path)
    assert row.weights == 5 * 64 and row.width == wide.width
    with pytest.raises(CheckpointError, match="another model"):
        scoreboard.trained(row, {"wide": wide})


def test_scores_of_another_card_are_kept_beside(digits, card, tmp_path):
    row = play(BLOB, digits[0], FEW, n=16, folder=tmp_path)
    cards = [card, Scorecard(digits, "digits", n=16), Scorecard(digits, "digits", n=32, seed=1),
             Scorecard((row.images, digits[1]), "digits", n=32),
             Scorecard((digits[0], digits[1][:300]), "digits", n=32)]  # fmt: skip
    found = [scoreboard.score(row, one) for one in cards]
    assert len(scores_of(row)) == len(cards)
    assert found[3]["copies"] == 1 != found[0]["copies"]  # that card searched these very images


# --- seconds that are held -----------------------------------------------------------------------


def seconds_row(seconds=10.0, steps=100):
    return types.SimpleNamespace(seconds=seconds, steps=steps)


def test_departure_is_a_share_of_the_seconds_on_either_side():
    budget = Budget(seconds=10)
    found = [scoreboard.departure(seconds_row(s), budget) for s in (8.0, 10.0, 12.5)]
    assert found == pytest.approx([0.2, 0.0, 0.25])


def test_nothing_departs_where_the_seconds_did_not_end_the_training():
    capped = Budget(seconds=10, most=50)
    assert scoreboard.departure(seconds_row(2.0, 50), capped) == 0
    assert scoreboard.departure(seconds_row(2.0, 40), capped) == pytest.approx(0.8)
    assert scoreboard.departure(seconds_row(2.0), FEW) == 0
    assert scoreboard.departure(seconds_row(0.0, 0), Budget(seconds=10)) == 0


def paced(monkeypatch, *seconds):
    """`play` whose trainings take these seconds, one after the other; returns the rows it gave."""
    real, left, given = scoreboard.play, list(seconds), []

    def play(entrant, images, budget, seed, n, **options):
        row = real(entrant, images, FEW, seed, n, **options)
        given.append(dataclasses.replace(row, seconds=left.pop(0)))
        return given[-1]

    monkeypatch.setattr(scoreboard, "play", play)
    return given


@pytest.mark.parametrize(
    ("seconds", "within", "kept"),
    [((10.9,), 0.1, 10.9), ((11.1, 8.9, 9.1), 0.1, 9.1), ((11.2, 8.9), 0.115, 8.9),
     ((20.0, 30.0, 40.0), 0.1, 40.0), ((20.0,), None, 20.0)],
)  # fmt: skip
def test_a_training_whose_pace_changed_is_trained_anew(
    digits, card, tmp_path, monkeypatch, seconds, within, kept
):
    given = paced(monkeypatch, *seconds)
    found = scoreboard.board(
        digits[0], card, Budget(seconds=10), seeds=[0], n=16, entrants=[BLOB], within=within,
        folder=tmp_path,
    )  # fmt: skip
    assert len(given) == len(seconds) and found["blob"][0]["seconds"] == kept
    assert len(list(tmp_path.iterdir())) == 1  # the others' folders are gone


def test_a_training_is_planned_anew_by_its_own_pace(digits, card, tmp_path, monkeypatch):
    given = paced(monkeypatch, 40.0, 25.0, 10.0)  # of seconds that should be 20
    found = scoreboard.board(
        digits[0], card, Budget(seconds=20), [0], 16, [BLOB], within=0.1, folder=tmp_path
    )
    assert [row.steps for row in given] == [2, 1, 1]  # 2 · 20 / 40, then 1 · 20 / 25
    assert found["blob"][0]["row"].steps == 1
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "plan.json").read_text(encoding="utf-8")) == [1]


def test_an_estimate_trains_each_row_once(digits, card, monkeypatch):
    given = paced(monkeypatch, 20.0)
    monkeypatch.setenv("GENAI_ESTIMATE", "1")
    scoreboard.board(digits[0], card, Budget(seconds=10), [0], 16, [BLOB], within=0.1)
    assert len(given) == 1


def test_bad_input_is_refused(digits, card):
    with pytest.raises(ValueError, match="within: expected"):
        scoreboard.board(digits[0], card, FEW, n=16, entrants=[BLOB], within=0.0)
    with pytest.raises(ValueError, match="entrant: expected one of 'random pixels'"):
        play("WGAN", digits[0], FEW)
    with pytest.raises(ValueError, match="n: expected .* of at least 8"):
        play(BLOB, digits[0], FEW, n=7)
    with pytest.raises(ValueError, match="at most 32, which this card judges"):
        scoreboard.board(digits[0], card, FEW, n=33, entrants=[BLOB])
    with pytest.raises(ValueError, match="pixels between 0 and 1"):
        play(BLOB, 2 * digits[0], FEW, n=16)


# --- what may be said ----------------------------------------------------------------------------


def test_ranks_that_the_seeds_decide():
    values = torch.tensor([[1.0, 2.0, 3.0], [2.5, 4.0, 5.0], [6.0, 7.0, 8.0], [0.0, 0.1, 0.5]])
    assert scoreboard.rank_range(values).tolist() == [[2, 3], [2, 3], [4, 4], [1, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_true_ranks_lie_in_the_range_and_one_seed_decides_all(seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.rand(9, 3, generator=g)
    ranks = scoreboard.rank_range(values)
    for order in itertools.islice(itertools.product(range(3), repeat=9), 0, None, 37):
        drawn = values[torch.arange(9), list(order)]
        place = drawn.argsort().argsort() + 1
        assert (ranks[:, 0] <= place).all() and (place <= ranks[:, 1]).all()
    one = scoreboard.rank_range(values[:, :1])
    assert torch.equal(one[:, 0], one[:, 1])


def test_an_entrant_leans_where_all_seeds_agree():
    values = torch.tensor([[5.0, 6.0, 7.0], [1.0, 2.0, 3.0], [2.0, 1.0, 4.0], [3.0, 3.0, 3.5]])
    assert [scoreboard.leaning(values, i, True) for i in range(4)] == [1, -1, 0, 0]
    assert [scoreboard.leaning(values, i, False) for i in range(4)] == [-1, 1, 0, 0]
    equal = torch.ones(3, 2)
    assert scoreboard.leaning(equal, 0, True) == 0


# --- the command ---------------------------------------------------------------------------------


def test_the_command_runs_and_goes_on(tmp_path, capsys, monkeypatch):
    given = ["--out", str(tmp_path), "--budget", "parameters", "--steps", "2", "--weights", "9000",
             "--seeds", "2", "--images", "16", "--data", "digits",
             "--entrants", "PCA", "AE"]  # fmt: skip
    assert scoreboard.main(given) == 0
    first = capsys.readouterr().out
    assert "AE, seed 1" in first and "rank" in first
    found = json.loads((tmp_path / "board-parameters.json").read_text(encoding="utf-8"))
    assert list(found["board"]) == ["PCA", "AE"] and len(found["board"]["AE"]) == 2
    assert found["budget"]["weights"] == 9000

    def never(*given, **more):
        raise AssertionError("trained again")

    monkeypatch.setattr(budgets, "fit", never)
    assert scoreboard.main(given) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("change", "message"),
    [(["--entrants", "WGAN"], "one of"), (["--seeds", "0"], "--seeds"), (["--steps", "0"], "steps"),
     (["--images", "7"], "at least 8"), (["--images", "5000"], "at most")],
)  # fmt: skip
def test_the_command_says_what_is_wrong(tmp_path, capsys, change, message):
    given = ["--out", str(tmp_path), "--budget", "parameters", "--data", "digits",
             "--images", "16", "--steps", "1"]  # fmt: skip
    assert scoreboard.main([*given, *change]) == 1
    assert message in capsys.readouterr().err
