"""Every test of the exercises has a progress file, a notebook and a hint counter of its own."""

import pytest

from genai_utils import run
from genai_utils.checks import checking, records


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("GENAI_PUBLISH", raising=False)
    monkeypatch.setattr(run, "_current", None)
    monkeypatch.setattr(checking, "_hints_shown", {})
    monkeypatch.setattr(records, "_told", set())
    return tmp_path
