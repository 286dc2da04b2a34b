"""A toy whose weights are not there says which command makes them."""

import re
from importlib import import_module

import pytest

from genai_utils.data import DataError
from genai_utils.toys import TOYS, make, play


@pytest.mark.parametrize("name", make.MAKERS)
def test_a_toy_without_its_weights_names_the_command_that_makes_them(name, monkeypatch, tmp_path):
    monkeypatch.setattr(import_module(f"genai_utils.toys.{TOYS[name]}"), "WEIGHTS", tmp_path)
    command = re.escape("missing (") + f".*: python -m genai_utils.toys.make {name}$"
    with pytest.raises(DataError, match=command):
        play(name)
