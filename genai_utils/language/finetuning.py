"""Fine-tuning: a language model that was trained on raw text goes on to a task with labels.

An example of a task is one row of tokens or several, each with the token Extract at its end (see
task_rows.py, whose names are at hand here too). The model's vector there goes into a new linear
layer. Shapes: B examples of r rows of T tokens, d numbers for a token, V tokens in the vocabulary,
C classes.

Source: Radford et al. 2018, section 3; lecture items A45 to A49.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.inputs import kind_of, number, one_of, refusal, whole

from .peers import LanguageModel
from .sampling import evaluating
from .task_rows import (
    DELIMITER,
    EXTRACT,
    PAD,
    START,
    classification,
    entailment,
    multiple_choice,
    pack,
    similarity,
)
from .tokens import asked_nll, look_up
from .transformer import Stack

# --- what is read off, and what is asked


def features(model, ids):
    """The last layer's vectors of a GPT or of a peer of chapter 8: (N, T) int64 → (N, T, d)."""
    if isinstance(model, Stack):
        return model.hidden(model.embed(ids))
    return model.norm(model.body(look_up(model.tokens, ids)))


def read_extract(h, ids):
    """The vector at Extract, which has seen the whole row.

        z_b = h[b, t]   with  ids[b, t] = 4 (Extract), the last one if there are several

    Shapes: h (B, T, d); ids (B, T) int64, with Extract in each row and padding, 0, after it
    → (B, d).
    Source: Radford et al. 2018, section 3.2; lecture item A45.
    """
    place = torch.arange(ids.shape[1], device=ids.device)
    last = ((ids == 4) * place).amax(-1)  # (B,)
    return h.gather(1, last[:, None, None].expand(-1, 1, h.shape[-1]))[:, 0]


def next_targets(ids):
    """What the language model is asked at each place of a padded row: (B, T) → (B, T) int64.

        target[b, t] = ids[b, t + 1],   -100 where that is padding, and at the last place

    -100 is not counted. Padding is 0 and stands only at the end. ids (B, T) int64.
    Source: Radford et al. 2018, eq. 5; lecture item A48.
    """
    following = F.pad(ids[:, 1:], (0, 1))  # the last place is followed by padding
    return following.masked_fill(following == 0, -100)


def fine_tuning_loss(logits, labels, lm_logits, ids, weight=0.5):
    """What fine-tuning minimises: the task's loss, and a share of the language model's, in nats.

        L = 1/B Σ_b -log softmax(logits[b])[labels[b]]
            + λ · 1/M Σ over places that are asked of -log softmax(lm_logits[b, t])[ids[b, t + 1]]

    M: how many places are asked: all that are followed by a token which is not padding (0).
    Shapes: logits (B, C), labels (B,) int64; lm_logits (N, T, V), ids (N, T) int64, where N is B
    times the number of rows → one number. weight: λ; at 0 the first line alone.
    Source: Radford et al. 2018, eqs. 4 and 5; lecture items A45, A48.
    """
    task = F.cross_entropy(logits, labels)
    if not weight:
        return task
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)
    return task + weight * F.cross_entropy(lm_logits[:, :-1].mT, targets)


def sentence_features(h, ids):
    """The mean of the vectors of a row's tokens: what a frozen model has to say of a text.

        z_b = 1/n_b Σ_t h[b, t]   over the n_b tokens of row b that are not padding (0)

    Shapes: h (B, T, d); ids (B, T) int64, each row with at least one token → (B, d). How much
    padding follows makes no difference.
    Source: Peters et al. 2018 (the feature-based way); lecture items A11, A45, erratum N45.
    """
    real = (ids != PAD)[..., None]  # (B, T, 1)
    return (h * real).sum(1) / real.sum(1)


def chosen_by_validation(validation, test):
    """What a method is worth: its test accuracy at the learning rate that validation chooses.

        r* = argmax_r  mean_s validation[r, s],   then the mean and the spread of test[r*, ·]

    The test takes no part in the choice. Of rates that are equally good the first is taken. The
    spread is the standard deviation over seeds, divided by S - 1; with one seed it is 0.
    Shapes: validation (R, N), accuracies of R rates on N trial seeds; test (R, S), the same rates
    on S seeds → mean and spread, two numbers.
    Source: lecture item A47; Cawley & Talbot 2010, section 1.
    """
    mean = validation.mean(1)  # (R,)
    best = (mean == mean.max()).nonzero()[0, 0]
    scores = test[best]  # (S,)
    spread = scores.std() if len(scores) > 1 else torch.zeros_like(scores[0])
    return scores.mean(), spread


@torch.no_grad()
def starting_point(model, dropout=0.0):
    """A copy of a language model, ready to be fine-tuned; the model itself stays as it is.

    Delimiter and Extract do not occur in raw text: pre-training only ever pushed their vectors
    away, as wrong answers. They begin as the mean of all other tokens' vectors. dropout: of a GPT's
    input and of what its blocks add, from now on; a short pre-training needs none. The weights of
    attention are left alone, which keeps its fast kernel. An LSTM or a ConvLM has no dropout.
    Raises TypeError or ValueError for a dropout outside [0, 1).
    """
    number(dropout, "dropout", least=0, below=1)
    model = copy.deepcopy(model)
    vectors = model.tokens.weight
    vectors[[DELIMITER, EXTRACT]] = vectors[EXTRACT + 1 :].mean(0)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model


class FineTuned(nn.Module):
    """A language model with a new linear layer on the vector of a row; all of it is trained on.

    forward(ids): (B, r, T) int64 → logits (B, C). The r vectors of an example are added and go
    through the layer; with choice=True each goes through it alone, and the r numbers are the
    logits, so C = r. loss(batch): batch is (ids, labels) → dict of loss = task + aux · lm, in nats.

    model: a GPT or a peer of chapter 8, used as it is, not copied. classes: C (of no meaning for a
    choice). aux: λ of the auxiliary loss; 0 leaves it out, with its work. reads: what a row's
    vector is, "extract" (GPT-1, `read_extract`) or "mean" (`sentence_features`).
    """

    READS = {"extract": read_extract, "mean": sentence_features}

    def __init__(self, model, classes=2, aux=0.0, choice=False, reads="extract"):
        super().__init__()
        if not isinstance(model, Stack | LanguageModel):
            wanted = "a GPT, or a peer of chapter 8"
            raise refusal("model", wanted, kind_of(model), kind=TypeError)
        self.model, self.choice = model, bool(choice)
        self.aux = number(aux, "aux", least=0)
        self.reads = one_of(reads, "reads", self.READS)
        width = model.tokens.weight.shape[1]
        self.head = nn.Linear(width, 1 if choice else whole(classes, "classes", least=2))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def read(self, ids):
        """Logits (B, C), and the vectors of all tokens (B r, T, d)."""
        rows = ids.flatten(0, 1)  # (B r, T)
        h = features(self.model, rows)
        z = self.READS[self.reads](h, rows).view(*ids.shape[:2], -1)  # (B, r, d)
        logits = self.head(z)[..., 0] if self.choice else self.head(z.sum(1))
        return logits, h

    def forward(self, ids):
        return self.read(ids)[0]

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids outside the vocabulary, or without Extract."""
        ids, labels = batch
        inputs.tokens(ids, "ids", len(self.model.tokens.weight))
        if ids.ndim != 3 or not (ids == EXTRACT).any(-1).all():
            raise refusal("ids", "(B, r, T) with Extract, 4, in each row", f"{tuple(ids.shape)}")
        inputs.tokens(labels, "labels", ids.shape[1] if self.choice else self.head.out_features)

    def loss(self, batch):
        ids, labels = batch
        logits, h = self.read(ids)
        task = F.cross_entropy(logits.float(), labels)
        if not self.aux:
            return {"loss": task, "task": task.detach()}
        head = self.model.unembed if isinstance(self.model, Stack) else self.model.head
        lm = asked_nll(head(h).float(), next_targets(ids.flatten(0, 1)))
        return {"loss": task + self.aux * lm, "task": task.detach(), "lm": lm.detach()}

    @torch.no_grad()
    def accuracy(self, ids, labels, batch_size=250):
        """The share of examples whose greatest logit is their label's."""
        device = self.head.weight.device
        with evaluating(self):
            said = [self(part.to(device)).argmax(-1).cpu() for part in ids.split(batch_size)]
        return (torch.cat(said) == labels.cpu()).double().mean().item()


__all__ = [
    "DELIMITER", "EXTRACT", "PAD", "START", "FineTuned", "chosen_by_validation",
    "classification", "entailment", "features", "fine_tuning_loss", "multiple_choice",
    "next_targets", "pack", "read_extract", "sentence_features", "similarity", "starting_point",
]  # fmt: skip
