"""Labs: live with a kernel, a still in the output."""

import sys

import ipywidgets
import matplotlib.pyplot as plt
import pytest

from genai_utils.display import output
from genai_utils.display.labs import PUBLISHED, lab


@pytest.fixture
def shown(monkeypatch):
    """What was displayed."""
    shown = []
    keep = lambda value, raw=False: shown.append(value)  # noqa: E731
    monkeypatch.setattr(output, "display", keep)
    monkeypatch.setattr(output, "get_ipython", object)
    monkeypatch.setattr(sys.modules[lab.__module__], "display", keep)
    return shown


def test_it_is_live_where_a_kernel_is(shown, monkeypatch, capsys):
    monkeypatch.delenv("GENAI_PUBLISH", raising=False)
    still = plt.figure()
    lab(lambda: ipywidgets.IntSlider(), still, "A slider.", hint="Move it.")
    assert isinstance(shown[0], ipywidgets.IntSlider) and len(shown) == 1
    assert "Move it." in capsys.readouterr().out and not plt.fignum_exists(still.number)


def test_the_page_gets_a_still_that_says_how_to_run_it(shown, monkeypatch):
    monkeypatch.setenv("GENAI_PUBLISH", "1")
    lab(lambda: pytest.fail("built"), lambda: plt.figure(), "A slider.", hint="Move it.")
    html = shown[0]["text/html"]
    assert 'alt="A slider."' in html and f"{PUBLISHED} Move it." in html
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((3, plt.Figure(), "A."), TypeError), ((dict, 3, "A."), TypeError),
     ((dict, plt.Figure(), ""), ValueError), ((dict, plt.Figure(), None), TypeError)],
)  # fmt: skip
def test_it_refuses(arguments, error):
    with pytest.raises(error):
        lab(*arguments)
