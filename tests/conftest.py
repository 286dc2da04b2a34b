"""Fixtures of all tests, and how they are dealt out to the workers."""

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.browser import browser  # noqa: F401  a fixture


class NotebookByNotebook(LoadFileScheduling):
    """A worker takes whole files; of the solved notebooks, a few minutes each, one at a time."""

    def _split_scope(self, nodeid):
        alone = nodeid.startswith("tests/notebooks/test_solved.py")
        return nodeid if alone else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist asks; without it nobody does
def pytest_xdist_make_scheduler(config, log):
    return NotebookByNotebook(config, log)
