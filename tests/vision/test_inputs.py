"""The checks that all image models share."""

import pytest
import torch

from genai_utils.vision.inputs import checked_codes, checked_images, shaped_images


def test_good_input_passes_through():
    x = torch.rand(3, 1, 8, 8)
    assert checked_images(x, 8, "model") is x
    rgb = torch.rand(1, 3, 4, 4)
    assert checked_images(rgb, 4, "model", channels=3) is rgb
    c = torch.zeros(2, 5, 3)
    assert checked_codes(c, 3) is c


@pytest.mark.parametrize(
    "x, words",
    [
        (torch.zeros(2, 3, 8, 8), r"\(B, 1, 8, 8\); it got \(2, 3, 8, 8\)"),
        (torch.zeros(1, 8, 8), r"it got \(1, 8, 8\)"),
        (torch.zeros(0, 1, 8, 8), r"it got \(0, 1, 8, 8\)"),
        (torch.full((1, 1, 8, 8), 255.0), "from 255 to 255. Divide by 255"),
        (torch.full((1, 1, 8, 8), -0.1), "between 0 and 1"),
        (torch.full((1, 1, 8, 8), float("nan")), "between 0 and 1"),
    ],
    ids=["channels", "no batch axis", "empty", "bytes", "negative", "nan"],
)
def test_wrong_images_are_refused_in_words(x, words):
    with pytest.raises(ValueError, match=words):
        checked_images(x, 8, "model")


def test_what_is_no_tensor_of_floats_is_refused():
    with pytest.raises(TypeError, match="it got torch.uint8"):
        checked_images(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 8, "model")
    with pytest.raises(TypeError, match="it got list"):
        checked_images([[0.0]], 8, "model")


def test_codes_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"\(\.\.\., 3\) codes; it got \(2, 4\)"):
        checked_codes(torch.zeros(2, 4), 3)


def test_the_shape_alone_is_looked_at_where_values_would_have_to_be_waited_for():
    x = torch.full((3, 1, 8, 8), 255.0)
    assert shaped_images(x, 8, "model") is x
    for wrong in (x[:0], x[:, 0], x[..., :4], x.repeat(1, 3, 1, 1)):
        with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\)"):
            shaped_images(wrong, 8, "model")
    with pytest.raises(TypeError, match="floats"):
        shaped_images(x.long(), 8, "model")
