"""The two networks of the toy of scenes, in the page: PyTorch's, whatever their weights are."""

import numpy as np
import torch

from genai_utils.display import page_bytes
from genai_utils.toys import scenes as toy
from genai_utils.vision import scenes


@torch.no_grad()
def test_the_page_sees_and_reads_as_clip_does(browser, open_toy, monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = toy.network().eval()
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    g = torch.Generator().manual_seed(0)
    x = scenes.render(scenes.draw(toy.ACROSS * toy.DOWN, g), g)
    record = {"parameters": 1, "pairs": 1, "test": {"seen": 0.9, "unseen": 0.7}}
    page, sheet = page_bytes.rounded_copy(model), toy.packed(x)
    vectors = toy.sheet_vectors(page, sheet)
    monkeypatch.setattr(toy, "load", lambda: (model, sheet, vectors, record))
    root, _ = open_toy(toy.bundle(), "genaiScenes")
    for asked, given, found in (
        ("image", [v.flatten().tolist() for v in x[:2]], page.image(x[:2])),
        ("text", toy.EXAMPLES, page.text(scenes.encode(list(toy.EXAMPLES)))),
    ):
        assert (found[0] - found[1]).abs().max() > 0.01
        for one, expected in zip(given, found, strict=True):
            seen = browser.js(f"return arguments[0].genaiScenes.{asked}(arguments[1])", root, one)
            np.testing.assert_allclose(seen, expected, atol=2e-4)
    nearest = (vectors @ found[0]).argmax()
    assert browser.js("return arguments[0].genaiScenes.state().order[0]", root) == nearest
    assert browser.errors() == []
