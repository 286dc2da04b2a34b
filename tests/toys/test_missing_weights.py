"""A toy whose weights are not there says which command makes them."""

import re
from importlib import import_module

import pytest
import torch

from genai_utils.data import DataError
from genai_utils.toys import TOYS, make, make_text_to_image, play


@pytest.mark.parametrize("name", make.MAKERS)
def test_a_toy_without_its_weights_names_the_command_that_makes_them(name, monkeypatch, tmp_path):
    monkeypatch.setattr(import_module(f"genai_utils.toys.{TOYS[name]}"), "WEIGHTS", tmp_path)
    command = re.escape("missing (") + f".*: python -m genai_utils.toys.make {name}$"
    with pytest.raises(DataError, match=command):
        play(name)


def test_what_another_toy_has_to_bring_is_asked_for_before_anything_is_trained(
    monkeypatch, tmp_path, capsys
):
    """The text encoder of `text_to_image` is that of `scenes`."""
    monkeypatch.setattr(make_text_to_image.toy_of_28, "WEIGHTS", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # those of this process stay
    monkeypatch.setattr(make_text_to_image, "learn_coder", lambda *a, **b: pytest.fail("trained"))
    assert make.main(["text_to_image", "--out", str(tmp_path / "out")]) == 1
    assert "python -m genai_utils.toys.make scenes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
