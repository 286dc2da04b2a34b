"""What does `fit` cost over a loop written by hand? Prints the ratio of their times per step.

    python benchmarks/training_loop.py [--steps 2000] [--repeats 5]

The model is a two-layer perceptron at batch 128 on 64 (digits) and 784 (MNIST) numbers: small on
purpose, for the smaller the step, the more a loop's own work shows. Both loops use the same
optimiser and precision, and gather their batches from the same tensor. The runs alternate, and the
median over the repeats is given. On a CPU processor time is measured, else wall time, so that
other work on the machine counts as little as it can.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import copy
import statistics
import time

import torch
from torch import nn

from genai_utils.printing import say
from genai_utils.training import TensorBatches, fit


class Autoencoder(nn.Module):
    """d -> 512 -> d, trained by the squared error."""

    def __init__(self, d: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 512), nn.ReLU(), nn.Linear(512, d))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Squared error, summed over the d numbers, mean over the batch."""
        return ((self.net(x) - x) ** 2).sum(1).mean()


def by_hand(model: nn.Module, x: torch.Tensor, steps: int) -> None:
    """The shortest loop that trains the same: no history, no check, no checkpoint."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        batch = x[torch.randint(len(x), (128,), device=x.device)]
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def by_fit(model: nn.Module, x: torch.Tensor, steps: int) -> None:
    """The book's loop, in the same precision."""
    fit(model, TensorBatches(x, batch_size=128), steps, precision="fp32", progress=False)


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.process_time if device == "cpu" else time.perf_counter
    say(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for d in (64, 784):
        torch.manual_seed(0)
        x, model = torch.rand(5000, d, device=device), Autoencoder(d).to(device)
        seconds: dict = {by_hand: [], by_fit: []}
        for loop in (by_hand, by_fit):
            loop(copy.deepcopy(model), x, 50)  # warm up
        for _ in range(arguments.repeats):
            for loop, taken in seconds.items():
                start = clock()
                loop(copy.deepcopy(model), x, arguments.steps)
                taken.append(clock() - start)
        hand, ours = (statistics.median(t) / arguments.steps * 1e6 for t in seconds.values())
        ratio = statistics.median(
            b / a for a, b in zip(seconds[by_hand], seconds[by_fit], strict=True)
        )
        say(f"d = {d}: by hand {hand:.0f} µs, fit {ours:.0f} µs per step, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
