"""Exponential moving average of a model's weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from genai_utils.inputs import number


class EMA(AveragedModel):
    """A second copy of the model whose weights trail the trained ones.

    After the t-th update (t = 1, 2, …)

        ema_t = d_t ema_{t-1} + (1 - d_t) theta_t,    d_t = min(decay, (1 + t) / (10 + t)).

    The growing d_t lets a short run forget its random start; after some 10 / (1 - decay) steps
    it is the plain average. Buffers (running means, counters) are copied, not averaged.

    model: the trained module; it is deep-copied once. The copy is `module`.
    decay: in [0, 1); 0 copies the weights at each step.
    It is PyTorch's `AveragedModel` with this rate. Source: Polyak & Juditsky 1992; the warm-up is
    that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float):
        decay = number(decay, "ema", least=0, below=1)
        super().__init__(model, multi_avg_fn=_Mover())
        self.module.requires_grad_(False).eval()
        self.decay, self.source = decay, [model]  # in a list: no submodule of this one
        self.n_averaged.fill_(1)  # the copy is the first of the series

    @property
    def updates(self) -> int:
        """How many updates there were."""
        return int(self.n_averaged) - 1

    @updates.setter
    def updates(self, count: int) -> None:
        self.n_averaged.fill_(count + 1)

    def rate(self, update: int) -> float:
        """d_t of update number t = 1, 2, …"""
        return min(self.decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's present weights."""
        self.multi_avg_fn.weight = 1 - self.rate(self.updates + 1)
        self.update_parameters(self.source[0])

    @torch.no_grad()
    def move(self, weight: torch.Tensor) -> None:
        """The same by 1 - d_t as a tensor () on the device: a step that a graph can replay.

        Whoever replays it fills the weight before, and counts `updates` on.
        """
        averaged, current = self.module.parameters(), self.source[0].parameters()
        averaged, current = list(averaged), list(current)
        gap = torch._foreach_sub(current, averaged)
        torch._foreach_mul_(gap, weight)
        torch._foreach_add_(averaged, gap)
        for mine, theirs in zip(self.module.buffers(), self.source[0].buffers(), strict=True):
            mine.copy_(theirs)


class _Mover:
    """ema ← ema + weight (theta - ema), one call for all tensors."""

    weight = 0.0

    def __call__(self, averaged, current, _count):
        torch._foreach_lerp_(averaged, current, self.weight)
