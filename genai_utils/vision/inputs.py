"""What comes into an image model: a clear error instead of a wrong picture.

Type and shape are looked at wherever images come in, which costs nothing. To look at the pixels'
values makes the processor wait for a graphics card, at every step of a training. So a `loss` does
not: values are checked once, by `check_batch` of the model, and where a user hands images over
(`encode`, `log_prob` and the like).
"""

import torch


def shaped_images(x, size, who, channels=1):
    """Images x (B, C, size, size), unchanged, whatever their values.

    Raises TypeError for what is no tensor of floats; ValueError for another shape or an empty
    batch. `who` is the name of the model in the message.
    """
    if not torch.is_tensor(x) or not x.is_floating_point():
        kind = str(x.dtype) if torch.is_tensor(x) else type(x).__name__
        raise TypeError(f"This {who} expects a tensor of floats in [0, 1]; it got {kind}.")
    shape = (channels, size, size)
    if x.dim() != 4 or tuple(x.shape[1:]) != shape or len(x) == 0:
        raise ValueError(
            f"This {who} expects images of shape (B, {', '.join(map(str, shape))}); "
            f"it got {tuple(x.shape)}."
        )
    return x


def checked_images(x, size, who, channels=1):
    """Images x (B, C, size, size), floats in [0, 1], unchanged.

    Raises as `shaped_images` does, and ValueError for other values.
    """
    low, high = shaped_images(x, size, who, channels).aminmax()
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise ValueError(
            f"This {who} expects pixels between 0 and 1; it got values from {low:.3g} to "
            f"{high:.3g}. Divide by 255, or undo the normalisation."
        )
    return x


def checked_binary(x, size, who):
    """Black-and-white images x (B, 1, size, size), unchanged; the errors of `checked_images`.

    Raises ValueError for pixels that are neither 0 nor 1.
    """
    checked_images(x, size, who)
    if not ((x == 0) | (x == 1)).all():
        raise ValueError(
            f"This {who} expects pixels that are 0 or 1; it got grey values. Throw the coins "
            "first: dynamic_binarize(x, generator)."
        )
    return x


def checked_codes(c, code):
    """Codes c (..., code), unchanged. Raises ValueError for another width."""
    if c.shape[-1] != code:
        raise ValueError(f"decode expects (..., {code}) codes; it got {tuple(c.shape)}.")
    return c
