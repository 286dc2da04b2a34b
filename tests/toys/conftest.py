"""A toy in a page of its own."""

import pytest

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
)


@pytest.fixture
def open_toy(browser, tmp_path):
    """Open a toy (a bundle) at a width; returns its figure and a function that gives a property."""

    def open_at(bundle, name, width=1200, **options):
        page = tmp_path / "t.html"
        page.write_text(PAGE + bundle.html, encoding="utf-8")
        browser.open(page, width=width, **options)
        assert browser.requests() == [page.as_uri()]  # all that it needs is in it
        root = browser.driver.find_element("css selector", "figure.genai")
        return root, lambda: browser.js(f"return arguments[0].{name}", root)

    return open_at
