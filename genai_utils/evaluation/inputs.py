"""What comes into a metric, checked once and brought to one form: double precision, on the CPU.

The checks are those of `genai_utils.inputs`; here stands what metrics add to them.
"""

import torch

from genai_utils.inputs import array, matrix, refusal


def as_array(values, name, dtype=torch.float64):
    """`values` (tensor, array or nested list of numbers) as a finite CPU tensor of `dtype`.

    Raises TypeError for what is no array of real numbers, ValueError if it is empty or holds NaN
    or infinity.
    """
    if torch.is_tensor(values):
        values = values.detach().cpu()  # first: some devices have no float64
    return array(values, name, dtype)


def as_images(images, name="images", smallest=1, dtype=torch.float64):
    """Images as (N, C, H, W) with C = 1 or 3 and values in [0, 1].

    Takes (N, H, W), (N, 1, H, W), (N, 3, H, W) and (N, H, W, 3).
    Raises ValueError for another shape, a side below `smallest` pixels, or values outside [0, 1].
    """
    x = as_array(images, name, dtype)
    if x.ndim == 3:
        x = x[:, None]  # (N, 1, H, W)
    elif x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] == 3:
        x = x.permute(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise refusal(
            name, "images of shape (N, H, W), (N, 1, H, W), (N, 3, H, W) or (N, H, W, 3)",
            tuple(x.shape), "a single image needs a batch axis in front: x[None]",
        )  # fmt: skip
    if min(x.shape[2:]) < smallest:
        raise refusal(name, f"sides of at least {smallest} pixels", tuple(x.shape[2:]))
    low, high = x.min().item(), x.max().item()
    if low < -1e-6 or high > 1 + 1e-6:  # room for the rounding of float32 only
        raise refusal(
            name, "pixels between 0 and 1", f"values from {low:.3g} to {high:.3g}",
            "divide by 255, undo the normalisation, or use x.clamp(0, 1) for a reconstruction that "
            "overshoots",
        )  # fmt: skip
    return x


def as_points(points, name, at_least=1):
    """Feature vectors as (n, d); further axes are flattened: (n, 1, 8, 8) becomes (n, 64).

    Raises ValueError for fewer than two axes or fewer than `at_least` rows.
    """
    x = as_array(points, name)
    return matrix(x.flatten(1) if x.ndim > 1 else x, name, rows=at_least, finite=False)  # (n, d)


def as_labels(labels, name, length=None):
    """Class labels as (n,) int64.

    Raises TypeError if they are no whole numbers, ValueError for another shape, another length
    than `length`, or a negative label.
    """
    values = as_array(labels, name)
    if values.ndim != 1:
        raise refusal(name, "one label a sample, of shape (n,)", tuple(values.shape))
    if length is not None and len(values) != length:
        raise refusal(name, f"{length} labels, one a sample", len(values))
    whole = values.to(torch.int64)
    if not torch.equal(whole.to(torch.float64), values):
        wrong = values[whole != values][0].item()
        raise refusal(name, "whole numbers", f"{wrong:g}", kind=TypeError)
    if whole.min() < 0:
        raise refusal(name, "labels of at least 0", whole.min().item())
    return whole


def same_width(a, b, name_a, name_b):
    """Raises ValueError if the rows of `a` and `b` live in spaces of different dimension."""
    if a.shape[1] != b.shape[1]:
        raise refusal(name_b, f"as many columns as {name_a}, {a.shape[1]}", b.shape[1])
