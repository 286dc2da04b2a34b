"""Exponential moving average of a model's weights."""

import copy

import torch
from torch import nn


class EMA:
    """A second copy of the model whose weights trail the trained ones.

    After the t-th update (t = 1, 2, …)

        ema_t = d_t ema_{t-1} + (1 - d_t) theta_t,    d_t = min(decay, (1 + t) / (10 + t)).

    The growing d_t lets a short run forget its random start; after some 10 / (1 - decay) steps
    it is the plain average. Buffers (running means, counters) are copied, not averaged.

    model: the trained module; it is deep-copied once.
    decay: in [0, 1); 0 copies the weights at each step.
    Source: Polyak & Juditsky 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"ema must lie in [0, 1), for example 0.999; got {decay}.")
        self.decay = decay
        self.updates = 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.source = model
        self._mine, self._theirs = list(self.model.parameters()), list(model.parameters())

    def rate(self, update: int) -> float:
        """d_t of update number t = 1, 2, …"""
        return min(self.decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        weight = 1 - self.rate(self.updates)
        torch._foreach_lerp_(self._mine, self._theirs, weight)  # one call for all tensors
        for mine, theirs in zip(self.model.buffers(), self.source.buffers(), strict=True):
            mine.copy_(theirs)
