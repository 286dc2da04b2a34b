"""The part of a notebook that a training needs: enough of it, nothing that only shows."""

import ast
import functools
import os
from pathlib import Path

import nbformat
import pytest

from genai_utils import train
from genai_utils.book.excerpt import Excerpt, binds, reads

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CELLS = [
    "import os\nif os.environ.get('NOT_SET') is not None:\n    %pip install -q nothing",
    "import torch\nfrom torch import nn\nfrom genai_utils.course import show, table, yours\n"
    "from genai_utils.training import TensorBatches, fit",
    "width, x = 3, torch.rand(20, 2, generator=torch.Generator().manual_seed(0))\n"
    "table([{'width': width}])\nlog = []",
    "class Net(nn.Module):\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        self.net, x = nn.Linear(2, width), 1\n"
    "    def loss(self, x):\n"
    "        return scale * self.net(x).square().mean()",
    "def learn(x, title):\n    return fit(Net(), TensorBatches(x, batch_size=4), steps, "
    "title=title, progress=False)",
    "width = 5\nscale, steps = 2.0, 7",
    "for other in (1, 2):\n    log.append(other)\nraise AssertionError('not needed')",
    "torch.manual_seed(1)\nfound = {'small': learn(x, 'small')}",
    "show(found, alt='A figure.')\nx[0] = 1.0\nprint(found)",
    "steps = 9\ntorch.manual_seed(2)\nfound['large'] = learn(x, 'The large one')",
    "raise AssertionError('comes after')",
]


@functools.cache
def excerpt_of(name):
    return Excerpt(next(path for path in NOTEBOOKS if path.stem == name))


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "31_toy.ipynb"
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_keeps_what_is_needed_and_nothing_else(notebook):
    excerpt = Excerpt(notebook)
    assert excerpt.trainings() == ["found"]
    source = excerpt.source("found", 2)
    lines = source.splitlines()
    assert lines[-1] == "found['large'] = learn(x, 'The large one')"
    for kept in ("x[0] = 1.0", "steps = 9", "torch.manual_seed(2)", "width = 5", "class Net"):
        assert kept in source
    for left_out in ("show(f", "table(", "print", "AssertionError", "log.append", "steps = 7"):
        assert left_out not in source
    assert "x[0]" not in excerpt.source("found")  # the first training comes before it
    with pytest.raises(ValueError, match=r"one of 31_toy.ipynb: found, got 'lost'"):
        excerpt.source("lost")


def test_a_chapter_is_trained_and_taken_up_again(notebook, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GENAI_PROFILE", raising=False)
    out = tmp_path / "runs"
    command = [str(notebook), "--profile", "ci", "--training", "found:2", "--out", str(out)]
    assert train.main(command) == 0, capsys.readouterr().err
    assert os.environ.pop("GENAI_PROFILE") == "ci"
    names = {path.name for path in out.rglob("*.*")}
    assert {path.name for path in out.iterdir()} == {"01_small", "02_the_large_one"}
    assert {"model.safetensors", "history.json"} <= names
    weights = (out / "02_the_large_one" / "model.safetensors").read_bytes()
    assert train.main(command) == 0
    assert (out / "02_the_large_one" / "model.safetensors").read_bytes() == weights
    assert train.main([*command, "--every", "2", "--steps", "3"]) == 1
    assert "--steps: expected nothing for a chapter, got 3" in capsys.readouterr().err
    assert train.main(["31_none", "--out", str(out)]) == 1
    assert "no notebooks/31_none.ipynb" in capsys.readouterr().err
    assert train.main([str(notebook), "--out", str(out)]) == 1
    assert "one of found, got nothing; 31_toy has no main one" in capsys.readouterr().err
    assert train.main(["vae", "--profile", "ci", "--out", str(out)]) == 1
    assert "expected a chapter, got the model vae" in capsys.readouterr().err


def test_every_chapter_that_trains_by_fit_has_a_main_training():
    trained = [path.stem for path in NOTEBOOKS if excerpt_of(path.stem).trainings()]
    assert trained == [path.stem for path in NOTEBOOKS if path.stem in train.MAIN]


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS if path.stem in train.MAIN])
def test_what_is_kept_stands_by_itself(name):
    """Each name that is read is bound before, the target trains, and no figure is made."""
    excerpt = excerpt_of(name)
    kept = excerpt.kept(*train.MAIN[name])
    bound, later = {"get_ipython", "__name__"}, set()
    for place in kept:
        statement = excerpt.statements[place][1]
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            later |= reads(statement)  # when it is called
        else:
            assert reads(statement) <= bound, ast.unparse(statement)
        bound |= binds(statement)
    assert later <= bound
    assert kept[-1] in excerpt.trains
    source = excerpt.source(*train.MAIN[name])
    for shows in ("show(", "explore(", "table(", "lab(", "progress()", "check("):
        assert f"\n{shows}" not in source, shows
