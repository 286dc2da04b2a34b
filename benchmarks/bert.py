"""Pre-training BERT, ours and transformers': tokens per second.

    python -m benchmarks --only bert

Both sides get the same weights, batches and optimiser. 15 of 100 tokens are to be told; ours
computes the output layer for these alone, transformers' for all. After the steps of a turn, which
begins with the same weights each time, the losses must be equal.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import torch

from benchmarks.compare import Race, Row
from benchmarks.steps import training_race
from genai_utils.language import bert

VOCABULARY, LENGTH, BATCH = 8_000, 128, 16


def our_loss(model, batch):
    return model.loss(batch)["loss"]


def peer_loss(model, batch):
    ids, segments, (places, targets), follows = batch
    labels = torch.full_like(ids, -100).scatter_(1, places, targets)
    return model(
        input_ids=ids, token_type_ids=segments, labels=labels, next_sentence_label=follows
    ).loss


def race(quick: bool) -> Race:
    """12 steps a turn of a model of 4 layers of 256 channels; quick: 4."""
    torch.manual_seed(0)
    count = 4 if quick else 12
    ours = bert.PreTraining(bert.BERTConfig(VOCABULARY, LENGTH, 4, 4, 256))
    peer = bert.to_transformers(ours).train()
    g = torch.Generator().manual_seed(0)
    articles = [torch.randint(5, VOCABULARY, (2_000,), generator=g) for _ in range(4)]
    draw = bert.PairBatches(articles, VOCABULARY, LENGTH, BATCH)
    batches = [draw(step) for step in range(count)]
    amount = count * BATCH * LENGTH
    return training_race((ours, our_loss), (peer, peer_loss), batches, amount)


ROWS = [
    Row("bert", "09_bert", "training BERT, 4 layers of 256, batch 16 × 128", "transformers",
        "tokens/s", race, "loss after the steps", slack=1e-3, small="4 steps a turn")
]  # fmt: skip
