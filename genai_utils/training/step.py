"""One step of training: forward, backward, clipping, optimiser, average."""

import math
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from genai_utils import inputs
from genai_utils.inputs import refusal

Note = Callable[[tuple[str, ...], Tensor], None]


def kind_of(batch: Any) -> Hashable:
    """What tells one kind of batch from another: its nesting, its shapes, and all but its tensors.

    A batch may carry a word that selects a part of the loss, `(x, "critic")`; each kind has its
    own names in the loss dict, and its own graph. Raises TypeError for an array of NumPy in it, or
    anything else by which no kind can be known.
    """
    leaves, nesting = tree_flatten(batch)
    told = tuple(
        (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in leaves
    )
    for leaf in told:
        try:
            hash(leaf)
        except TypeError:
            raise refusal(
                "batches", "tensors, beside them words and numbers", inputs.kind_of(leaf),
                "torch.as_tensor makes a tensor of an array", kind=TypeError,
            ) from None  # fmt: skip
    return str(nesting), told


def is_empty(kind: Hashable) -> bool:
    """Whether the first tensor of such a batch has no rows: a loss would take it for 0 or NaN."""
    shapes = [leaf[0] for leaf in kind[1] if isinstance(leaf, tuple)]
    return bool(shapes and shapes[0] and shapes[0][0] == 0)


class Step:
    """The whole step as one function of the batch.

    net: the loss as a module (see `parallel.Loss`); weights: whose gradient is clipped.
    counted: called after the first step, whose operations were counted.
    flops: kind of batch -> floating-point operations of one step.
    """

    def __init__(self, net: nn.Module, optimizer, weights: list, clip, average, counted):
        self.net, self.optimizer, self.weights = net, optimizer, weights
        self.clip, self.average, self._after_counting = clip, average, counted
        self.average_weight: Tensor | None = None  # 1 - d_t on the device, where a graph needs it
        self.flops: dict[Hashable, int] = {}

    def __call__(self, batch: Any, kind: Hashable, note: Note) -> None:
        """Do it. `note(names, values)` is called with the scalars of the loss dict, (k,) float32,
        before the backward pass, and may raise."""
        if kind in self.flops:
            return self._do(batch, note)
        self.flops[kind] = count_flops(lambda: self._do(batch, note))
        self._after_counting()

    def _do(self, batch: Any, note: Note) -> None:
        losses = self.net(batch)
        note(tuple(losses), torch.stack([v.detach().float() for v in losses.values()]))
        self.optimizer.zero_grad(set_to_none=True)  # what a look or a batch may have left behind
        losses["loss"].backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.optimizer.step()
        # Freed at once: with the old gradient in memory the next step took 5 to 11 % longer.
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None and self.average_weight is None:
            self.average.update()
        elif self.average is not None:
            self.average.move(self.average_weight)

    def rates(self, factor: float, base: list[float], plain: bool = False) -> None:
        """The learning rate of each group: base · factor; plain: as a number, whatever it was."""
        for group, rate in zip(self.optimizer.param_groups, base, strict=True):
            if isinstance(group["lr"], Tensor) and not plain:
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor


def count_flops(function: Callable[[], None]) -> int:
    """Run a function; return the floating-point operations of its matrix products.

    A product of (m, k) and (k, n) is 2 m k n operations, a convolution and an attention likewise;
    what is done value by value (activations, norms, the optimiser) is not counted.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_MORE)
    with counter:
        function()
    return counter.get_total_flops()


def _attention(q, k, v, *rest, out_shape=None, **how) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward(grad, q, k, v, *rest, out_shape=None, **how) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


def _recurrent(times: int):
    """2 per weight, position and example; the backward pass is twice that."""

    def flops(x, *rest, out_shape=None, **how) -> int:
        weights = rest[0] if isinstance(rest[0][0], tuple | list | torch.Size) else rest[:2]
        matrices = sum(math.prod(w) for w in weights if len(w) == 2)
        return times * 2 * x[0] * x[1] * matrices

    return flops


# What PyTorch's counter does not know: attention on a CPU, and the fused recurrent layers.
_MORE = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "mkldnn_rnn_layer": _recurrent(1),
    "mkldnn_rnn_layer_backward": _recurrent(2),
    "_cudnn_rnn": _recurrent(1),
    "_cudnn_rnn_backward": _recurrent(2),
}
_MORE = {getattr(torch.ops.aten, k): v for k, v in _MORE.items() if hasattr(torch.ops.aten, k)}
