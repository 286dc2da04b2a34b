"""Weights of any network, a byte each, for a page: what is rounded, and how it is written down.

Whatever has two axes or more (matrices, convolutions, tables of vectors) is kept as whole numbers
from -127 to 127 and one scale for each of its first axis; biases and norms stay as they are.
`static/page_bytes.js` reads it. Nothing here knows a model.
"""

import base64
import copy

import numpy as np
import torch
from torch import nn

from genai_utils.inputs import refusal


def quantize(weight):
    """A matrix as int8 and one float32 scale per row: weight ≈ whole · scale, |whole| ≤ 127."""
    largest = weight.abs().amax(1)
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return (weight / scale[:, None]).round().to(torch.int8), scale


@torch.no_grad()
def rounded_copy(model: nn.Module) -> nn.Module:
    """A copy of the model with the weights that a page has.

    A weight moves by at most half a scale, which is 1/254 of the largest of its row.
    Raises ValueError for weights that are not finite.
    """
    made = copy.deepcopy(model)
    for name, weight in made.state_dict().items():
        if not weight.isfinite().all():
            raise refusal(name, "finite weights", "NaN or infinity", "train the model again")
        if weight.ndim > 1:
            weight.copy_(rounded(weight))
    return made


def rounded(weight):
    """A tensor of two axes or more as a page has it, in float32."""
    whole, scale = quantize(weight.flatten(1).float())
    return (whole.float() * scale[:, None]).view_as(weight)


@torch.no_grad()
def export(tensors) -> dict:
    """{"shapes": [[name, [sizes]], …], "bytes": base64} of a dict of tensors, in its order.

    First the whole numbers of all that has two axes or more, row by row, as int8. Then, from the
    next multiple of four bytes, in the same order, the scales of each of these and every number of
    the others, as little-endian float32.
    """
    whole_numbers, floats, shapes = [], [], []
    for name, tensor in tensors.items():
        shapes.append([name, list(tensor.shape)])
        if tensor.ndim > 1:
            whole, scale = quantize(tensor.flatten(1).float())
            whole_numbers.append(whole.numpy().tobytes())
            floats.append(scale)
        else:
            floats.append(tensor.float().reshape(-1))
    raw = b"".join(whole_numbers)
    raw += bytes(-len(raw) % 4) + torch.cat(floats).numpy().astype(np.dtype("<f4")).tobytes()
    return {"shapes": shapes, "bytes": base64.b64encode(raw).decode()}
