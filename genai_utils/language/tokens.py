"""Token ids on their way in and out: checks, the look-up, a batch, and the loss of what counts.

What every model of tokens shares. Shapes: B sequences of T tokens, V tokens in the vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils import inputs
from genai_utils.inputs import refusal
from genai_utils.training import counted

IGNORE = -100  # the target of a place where nothing is asked, as in F.cross_entropy


def require_ids(ids: Tensor, context: int | None = None, start: int = 0) -> Tensor:
    """ids, unchanged: whole numbers (B, T) with at least one token; their values are not looked at.

    context: the most tokens that a model sees; `start` of them came before these.
    Raises TypeError for other kinds, ValueError for other shapes or more tokens.
    """
    inputs.tokens(ids, "ids", None, values=False)
    if ids.ndim != 2 or not ids.numel():
        shape = f"the shape {tuple(ids.shape)}"
        raise refusal("ids", "token ids (B, T) with B and T of at least 1", shape)
    if context is not None and start + ids.shape[1] > context:
        raise refusal(
            "ids", f"at most {context} tokens, the context", f"{start + ids.shape[1]}",
            "shorten the text, or build the model with a longer context",
        )  # fmt: skip
    return ids


def look_up(table: nn.Embedding, ids: Tensor) -> Tensor:
    """The vectors of tokens: ids (…) int64 → (…, d).

    Raises ValueError for ids outside the table. The table itself finds them, so that no ids are
    looked at here: on a graphics card each look would make the processor wait for it. There the
    card stops with an assertion of its own; `check_batch` of a model tells before it comes to that.
    """
    try:
        return table(ids)
    except IndexError:
        inputs.tokens(ids, "ids", len(table.weight))
        raise


def check_batch(batch, vocabulary: int) -> None:
    """Looks at the values of a batch of next tokens: (B, T + 1) ids, or a pair (ids, targets).

    Raises TypeError or ValueError for ids outside the vocabulary, or targets that are neither in
    it nor -100.
    """
    if torch.is_tensor(batch):
        inputs.tokens(batch, "batch", vocabulary)
        return
    ids, targets = batch
    if ids.shape != targets.shape:
        shapes = f"{tuple(ids.shape)} and {tuple(targets.shape)}"
        raise refusal("batch", "ids and targets of one shape", shapes)
    inputs.tokens(ids, "ids", vocabulary)
    inputs.tokens(targets.masked_fill(targets == IGNORE, 0), "targets", vocabulary)


def asked_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of the targets that count, nats per token.

        -1/M Σ over targets (b, t) that are not -100 of  log softmax(logits[b, t])[targets[b, t]]

    logits (B, T, V), targets (B, T). If nothing counts (M = 0), the loss is 0, not NaN.
    """
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / counted((targets != IGNORE).sum())
