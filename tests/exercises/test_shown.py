"""A notebook's own answers are folded where it shows them, those of other notebooks are not."""

import pytest

from genai_utils import course
from genai_utils import run as runs
from genai_utils.checks import shown as shown_sources
from genai_utils.vision import pixel_models, vae


@pytest.mark.parametrize(
    ("notebook", "folds"), [("24_vae", 1), ("20_pixel_models", 1), ("31_none", 0), (None, 0)]
)
def test_what_a_notebook_asks_for_is_folded(notebook, folds):
    bundle = shown_sources.shown_bundle(
        vae.gaussian_kl, pixel_models.gate, vae.VAE, notebook=notebook
    )
    assert bundle.html.count("<details>") == folds and bundle.html.count('genai-where"') == 3


def test_the_notebook_is_the_one_that_was_started(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "genai_utils.display.output.Bundle.display", lambda self: shown.append(self)
    )
    course.show_source(vae.gaussian_kl)
    monkeypatch.setattr(runs, "_current", runs.Run("24_vae", "ci", None, 0))
    course.show_source(vae.gaussian_kl)
    course.solution("gaussian_kl")  # whoever asks for it sees it
    assert [bundle.html.count("<details>") for bundle in shown] == [0, 1, 0]
