"""A PyTorch decoder as a list of steps that a page can compute, with half-precision weights."""

import base64
import copy
import math

import numpy as np
import torch
from torch import nn

LARGEST = 65504  # of a half-precision number

ACTIVATIONS = {
    nn.ReLU: lambda layer: {"op": "relu"},
    nn.LeakyReLU: lambda layer: {"op": "leaky", "slope": layer.negative_slope},
    nn.SiLU: lambda layer: {"op": "silu"},
    nn.GELU: lambda layer: {"op": "gelu_tanh" if layer.approximate == "tanh" else "gelu"},
    nn.Tanh: lambda layer: {"op": "tanh"},
    nn.Sigmoid: lambda layer: {"op": "sigmoid"},
}
SILENT = (nn.Identity, nn.Dropout, nn.Dropout2d)  # do nothing in evaluation
RESHAPING = (nn.Flatten, nn.Unflatten)  # move no number: the page keeps them in one row
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm1d, nn.BatchNorm2d)
SUPPORTED = (*WEIGHTED, nn.Upsample, *ACTIVATIONS, *RESHAPING, *SILENT, nn.Sequential)


def _layers(module, path="decoder"):
    """(path, layer) of all layers in order, nested nn.Sequential unrolled."""
    if type(module) is nn.Sequential:
        for name, child in module.named_children():
            yield from _layers(child, f"{path}[{name}]")
    elif type(module) in SUPPORTED:
        yield path, module
    else:
        names = ", ".join(kind.__name__ for kind in SUPPORTED)
        raise TypeError(
            f"{path} is a {type(module).__name__}, which a page cannot compute. "
            f"Pass an nn.Sequential of: {names}."
        )


def _pair(value):
    return [int(value)] * 2 if isinstance(value, int) else [int(v) for v in value]


def _step(path, layer):
    """({"op", sizes}, [weights]) of one layer; None where it does nothing."""
    kind = type(layer)
    if kind in ACTIVATIONS:
        return ACTIVATIONS[kind](layer), []
    if kind in SILENT or kind in RESHAPING:
        return None
    if kind is nn.Upsample:
        if layer.mode != "nearest":
            raise TypeError(f"{path} upsamples with mode {layer.mode!r}; a page can do 'nearest'.")
        return {"op": "upsample"}, []
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):  # with fixed statistics: x * scale + shift
        if layer.running_var is None:
            raise TypeError(f"{path} keeps no running statistics, so it is no fixed function.")
        scale = (layer.running_var + layer.eps).rsqrt()
        scale = scale if layer.weight is None else scale * layer.weight
        shift = -layer.running_mean * scale
        return {"op": "affine"}, [scale, shift if layer.bias is None else shift + layer.bias]
    if kind is nn.Linear:
        step, channels = {"op": "linear"}, layer.out_features
    else:
        plain = layer.groups == 1 and _pair(layer.dilation) == [1, 1]
        if not plain or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise TypeError(
                f"{path} ({kind.__name__}) must have groups=1, dilation=1, numbers as padding and "
                "padding_mode='zeros' to be computed in a page."
            )
        step = {
            "op": "conv" if kind is nn.Conv2d else "convT",
            "kernel": _pair(layer.kernel_size),
            "stride": _pair(layer.stride),
            "padding": _pair(layer.padding),
        }
        channels = layer.out_channels
    bias = layer.bias if layer.bias is not None else torch.zeros(channels)
    return step, [layer.weight, bias]


def evaluation_copy(decoder):
    """A copy on the CPU in float32 and in evaluation mode; the caller's module stays as it is."""
    if not isinstance(decoder, nn.Module):
        raise TypeError(f"decoder must be an nn.Sequential, got {type(decoder).__name__}.")
    for _ in _layers(decoder):  # refuse what a page cannot compute before anything is copied
        pass
    return copy.deepcopy(decoder).cpu().float().eval()


@torch.no_grad()
def decode(decoder, codes, shape):
    """Images of a decoder's evaluation copy, (N, *shape); raises where the sizes do not fit."""
    count, size = codes.shape
    first = next((layer for _, layer in _layers(decoder) if isinstance(layer, nn.Linear)), None)
    if first is not None and first.in_features != size:
        raise ValueError(
            f"The decoder takes codes of {first.in_features} numbers, got {size}. "
            "For more than two pass origin=, a code around which two of them move."
        )
    try:
        out = decoder(codes)
    except RuntimeError as error:
        raise ValueError(
            f"The decoder does not take codes of shape {tuple(codes.shape)}: {error}"
        ) from error
    if out[0].numel() != math.prod(shape):
        raise ValueError(
            f"The decoder gives {out[0].numel()} numbers {tuple(out.shape[1:])} per code, "
            f"but shape={tuple(shape)} needs {math.prod(shape)}."
        )
    return out.reshape(count, *shape)


@torch.no_grad()
def export(decoder, size):
    """The network of an evaluation copy as JSON: ``{"steps": [...], "weights": base64}``.

    Every step knows its input and output shape. Weights follow one another as little-endian
    float16 in the order of the steps, each step's weight before its bias.

    Raises:
        TypeError: a layer of another kind or shape than a page can compute.
        ValueError: a weight that half precision cannot hold.
    """
    steps, weights, x = [], [], torch.zeros(1, size)
    for path, layer in _layers(decoder):
        y = layer(x)
        found = _step(path, layer)
        if found is not None:
            step, parts = found
            needs = {"linear": 1, "upsample": 3}.get(step["op"])
            if needs and x.ndim - 1 != needs:
                raise TypeError(
                    f"{path} ({type(layer).__name__}) gets the shape {tuple(x.shape[1:])}; in a "
                    f"page it can take {'(features,)' if needs == 1 else '(channels, H, W)'} only."
                )
            for part in parts:
                if not part.isfinite().all() or part.abs().max() > LARGEST:
                    raise ValueError(f"{path} has a weight that is not finite or above {LARGEST}.")
            weights += [part.detach().reshape(-1) for part in parts]
            steps.append({**step, "from": list(x.shape[1:]), "to": list(y.shape[1:])})
        x = y
    flat = torch.cat(weights) if weights else torch.zeros(0)
    half = flat.numpy().astype(np.dtype("<f2"))
    return {"steps": steps, "weights": base64.b64encode(half.tobytes()).decode()}
