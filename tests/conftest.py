"""Fixtures of all tests."""

from tests.browser import browser  # noqa: F401  a fixture
