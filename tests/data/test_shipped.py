"""Weights that the package brings are read whole or not at all."""

import json

import pytest
import safetensors.torch
import torch

from genai_utils.data import DataError, shipped

PAYLOAD = safetensors.torch.save({"a": torch.arange(3.0)})


def build(payload):
    return safetensors.torch.load(payload)["a"]


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "new" / "toy.safetensors"
    shipped.write(file, PAYLOAD, shipped.sealed({"steps": 2}, PAYLOAD))
    return file


def test_what_was_written_is_read(file):
    weights, record = shipped.read(file, "toy", "make it", build)
    assert weights.tolist() == [0, 1, 2] and record["steps"] == 2
    assert record["bytes"] == len(PAYLOAD) and record["torch"] == torch.__version__.split("+")[0]


def change(file, **changes):
    record = json.loads(file.with_suffix(".json").read_text(encoding="utf-8")) | changes
    file.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.with_suffix(".json").unlink(),
        lambda file: file.write_bytes(PAYLOAD[:-1]),
        lambda file: file.with_suffix(".json").write_text("[]"),
        lambda file: file.with_suffix(".json").write_text("{"),
        lambda file: change(file, sha256="0" * 64),
        lambda file: shipped.write(file, b"x", shipped.sealed({}, b"x")),
        lambda file: shipped.write(
            file, other := safetensors.torch.save({"b": torch.ones(1)}), shipped.sealed({}, other)
        ),
    ],
)
def test_what_is_damaged_says_how_to_mend_it(file, damage):
    damage(file)
    with pytest.raises(DataError, match="the weights of the toy, .*make them anew: make it"):
        shipped.read(file, "toy", "make it", build)
