"""The command line: finds recipes by name, trains, writes weights, goes on where it stopped."""

import json
import sys

import pytest
import torch
from toy import Toy

from genai_utils import train
from genai_utils.training import load_model

RECIPE = """
from genai_utils.training import TensorBatches
from toy import Toy, toy_data


def recipe():
    batches = TensorBatches(toy_data(), batch_size=8)
    return Toy(), batches, {"steps": 30, "ema": 0.9, "lr": 0.01, "warmup": 20}
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A package of models: one with a recipe, one without, one that must not be imported."""
    folder = tmp_path / "path" / "toymodels"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "toy_recipe.py").write_text(RECIPE)
    (folder / "plain.py").write_text("x = 1\n")
    (folder / "broken.py").write_text("raise AssertionError('imported')\n\ndef recipe():\n")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(train, "PACKAGES", ("toymodels",))
    yield
    for name in [name for name in sys.modules if name.startswith("toymodels")]:
        del sys.modules[name]


def test_trains_writes_and_resumes(models, tmp_path, capsys):
    out = tmp_path / "runs" / "toy"
    command = ["toy_recipe", "--steps", "20", "--out", str(out), "--seed", "4"]
    assert train.main(command) == 0
    assert "toy_recipe: 20 steps, loss" in capsys.readouterr().out
    history = json.loads((out / "history.json").read_text())
    assert history["step"] == list(range(1, 21)) and history["model"] == "toy_recipe"
    model, ema = (load_model(Toy(), out / f"{n}.safetensors") for n in ("model", "ema"))
    assert not torch.equal(model.net[0].weight, ema.net[0].weight)
    assert train.main(command) == 0
    assert "finished earlier" in capsys.readouterr().out
    assert train.main(["toy_recipe", "--out", str(out)]) == 1  # the recipe's own 30 steps
    assert "steps was 20 and is now 30" in capsys.readouterr().err


def test_a_run_that_is_stopped_by_hand_says_how_to_go_on(models, tmp_path, capsys, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", stopped)
    assert train.main(["toy_recipe", "--steps", "2", "--out", str(tmp_path / "runs")]) == 130
    err = capsys.readouterr().err
    assert err.startswith("train: stopped; the same command goes on") and err.count("\n") == 1


def test_a_wave_in_out_is_the_home_folder(models, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "path")
    assert train.main(["toy_recipe", "--steps", "2", "--out", "~/runs"]) == 0
    names = {p.name for p in (tmp_path / "runs").iterdir()}
    assert names == {"model.safetensors", "ema.safetensors", "history.json", "checkpoint"}
    assert {p.name for p in (tmp_path / "path").iterdir()} == {"toymodels"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["unknown"], "no model 'unknown'. Those with a recipe: broken, toy_recipe."),
        (["../plain"], "no model '../plain'"),
        (["plain"], "toymodels.plain has no recipe()"),
        (["toy_recipe", "--steps", "-3"], "steps: expected a whole number of at least 1, got -3."),
        (
            ["toy_recipe", "--precision", "int8"],
            "precision: expected one of 'auto', 'fp32', 'bf16', got 'int8'.",
        ),
    ],
)
def test_mistakes_are_one_line(models, tmp_path, capsys, arguments, message):
    assert train.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("train: ") and message in err and err.count("\n") == 1


def test_the_book_s_own_recipes_are_found_without_importing_a_model():
    before = set(sys.modules)
    names = train.recipes()
    assert names == sorted(set(names), key=names.index)
    assert set(sys.modules) - before <= {f"{p}" for p in train.PACKAGES}
