"""Training steps, the same for both sides of a row: loss, gradient, clipping, AdamW."""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import copy
import statistics

import torch

from benchmarks.compare import Race
from genai_utils.training import adamw


def steps(model, loss_of, batches, lr=1e-3):
    """A function that makes a step of a copy of the model for each batch.

    It returns the mean loss of the last quarter of the steps.

    loss_of(model, batch) → scalar. Weights that are frozen stay as they are.
    """
    model = copy.deepcopy(model)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = adamw(weights, lr=lr)

    def run():
        losses = []
        for batch in batches:
            loss = loss_of(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            losses.append(loss.item())
        return statistics.mean(losses[3 * len(losses) // 4 :])

    return run


def training_race(ours, peer, batches, amount) -> Race:
    """A race of training steps. ours, peer: (model, its loss); amount: units of work of a turn.

    Each turn begins with the models as they are given, so that the losses can be compared.
    """
    return Race(
        lambda turn: steps(*ours, batches),
        lambda turn: steps(*peer, batches),
        amount=amount,
        quality=float,
    )
