"""Metrics of likelihoods."""

import math

import numpy as np
import torch

from genai_utils.inputs import kind_of, refusal, whole


def bits_per_dim(nats, dims, levels=1):
    """Negative log-likelihood per dimension in bits, from nats per example.

        bits/dim = nats / (dims · ln 2) + log2(levels)

    nats: −log p(x) per example (number, array or tensor of any shape; the result has the same).
    dims: the number of dimensions of x, 784 for a 28×28 image. levels: leave it at 1 for a discrete
    model; for a density over pixels that were scaled from 0…L−1 (plus noise) to [0, 1) give L, as
    each dimension was squeezed by that factor. A uniform density then costs log2(L) bits/dim.

    Raises TypeError if `nats` is no number or `dims`/`levels` no whole number, ValueError if it is
    NaN, or if `dims` or `levels` is below 1.
    Source: Theis, van den Oord & Bethge 2016; lecture item A99.
    """
    dims, levels = whole(dims, "dims"), whole(levels, "levels")
    values = nats if torch.is_tensor(nats) else np.asarray(nats)
    if not torch.is_tensor(values) and values.dtype.kind not in "fiu":
        raise refusal("nats", "numbers", kind_of(nats), kind=TypeError)
    if (values != values).any():
        raise refusal("nats", "numbers", "NaN", "the likelihood that came in is already broken")
    result = values / (dims * math.log(2)) + math.log2(levels)
    return result if isinstance(nats, (torch.Tensor, np.ndarray)) else float(result)
