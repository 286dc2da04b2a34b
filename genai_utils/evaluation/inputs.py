"""What comes into a metric, checked once and brought to one form: double precision, on the CPU."""

import numpy as np
import torch


def as_array(values, name, dtype=torch.float64):
    """`values` (tensor, array or nested list of numbers) as a finite CPU tensor of `dtype`.

    Raises TypeError for what is no array of real numbers, ValueError if it is empty or holds NaN
    or infinity.
    """
    try:
        tensor = values if torch.is_tensor(values) else torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: expected a torch tensor or NumPy array of numbers, got "
            f"{type(values).__name__} ({error})"
        ) from error
    if tensor.is_complex():
        raise TypeError(f"{name}: expected real numbers, got {tensor.dtype}")
    tensor = tensor.detach().cpu().to(dtype)  # .cpu() first: some devices have no float64
    if tensor.numel() == 0:
        raise ValueError(f"{name} is empty: its shape is {tuple(tensor.shape)}")
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(f"{name} holds {bad} NaN or infinite value(s) of {tensor.numel()}")
    return tensor


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
        raise ValueError(
            f"{name}: expected shape (N, H, W), (N, 1, H, W), (N, 3, H, W) or (N, H, W, 3), got "
            f"{tuple(x.shape)}; a single image needs a batch axis in front: x[None]"
        )
    if min(x.shape[2:]) < smallest:
        raise ValueError(
            f"{name}: expected sides of at least {smallest} pixels, got {tuple(x.shape[2:])}"
        )
    low, high = x.min().item(), x.max().item()
    if low < -1e-6 or high > 1 + 1e-6:  # room for the rounding of float32 only
        raise ValueError(
            f"{name}: expected values in [0, 1], got [{low:.4g}, {high:.4g}]; rescale them, or use "
            "x.clamp(0, 1) for a reconstruction that overshoots"
        )
    return x


def as_points(points, name, at_least=1):
    """Feature vectors as (n, d); further axes are flattened: (n, 1, 8, 8) becomes (n, 64).

    Raises ValueError for fewer than two axes or fewer than `at_least` rows.
    """
    x = as_array(points, name)
    if x.ndim < 2:
        raise ValueError(f"{name}: expected shape (n, d), one row a sample, got {tuple(x.shape)}")
    if len(x) < at_least:
        raise ValueError(f"{name}: expected at least {at_least} samples, got {len(x)}")
    return x.flatten(1)  # (n, d)


def as_labels(labels, name, length=None):
    """Class labels as (n,) int64.

    Raises TypeError if they are no whole numbers, ValueError for another shape, another length
    than `length`, or a negative label.
    """
    values = as_array(labels, name)
    if values.ndim != 1:
        shape = tuple(values.shape)
        raise ValueError(f"{name}: expected shape (n,), one label a sample, got {shape}")
    if length is not None and len(values) != length:
        raise ValueError(f"{name}: expected {length} labels, one a sample, got {len(values)}")
    whole = values.to(torch.int64)
    if not torch.equal(whole.to(torch.float64), values):
        wrong = values[whole != values][0].item()
        raise TypeError(f"{name}: expected whole numbers, got {wrong:g}")
    if whole.min() < 0:
        raise ValueError(f"{name}: expected labels of at least 0, got {whole.min().item()}")
    return whole


def same_width(a, b, name_a, name_b):
    """Raises ValueError if the rows of `a` and `b` live in spaces of different dimension."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{name_a} and {name_b} must have equally many columns, got {a.shape[1]} and "
            f"{b.shape[1]}"
        )


def positive_int(value, name):
    """Raises TypeError if `value` is no whole number, ValueError if it is below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
    return int(value)
