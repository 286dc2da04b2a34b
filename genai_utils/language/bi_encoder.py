"""A small encoder of texts, trained so that a question lies near the passage that answers it.

A text's vector is a weighted mean of the vectors of its words, and how much a word counts is
learned too. Questions and passages share the encoder. Symbols: B pairs in a batch, T words of a
text, V words in the vocabulary, d numbers of a vector; -1 stands where a text has no more words.

Sources: van den Oord, Li & Vinyals 2018; Karpukhin et al. 2020; lecture item A65.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import number, refusal, tokens, whole

PAD = -1


def in_batch_loss(queries: Tensor, passages: Tensor, temperature: float = 0.05) -> Tensor:
    """Each question must find its own passage among those of the whole batch, in nats per question.

        -1/B Σ_i log( exp(s_ii / τ) / Σ_j exp(s_ij / τ) ),   s_ij the cosine of question i and
        passage j

    queries, passages (B, d), row i of both are a pair; of any length, but not 0. temperature τ > 0
    may be small. The other B - 1 passages are the negatives, so none has to be looked for. With
    B = 1 there is none, and the loss is 0. Returns a tensor of no dimension.
    Source: van den Oord, Li & Vinyals 2018, eq. 4; Karpukhin et al. 2020.
    """
    cosine = F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T  # (B, B)
    return F.cross_entropy(cosine / temperature, torch.arange(len(cosine), device=cosine.device))


class BiEncoder(nn.Module):
    """Texts as vectors: x = Σ_t exp(a_t) y_t / Σ_t exp(a_t) over the words of a text.

    y (V, d) and a (V,) are learned: `vectors` and `weights`. forward(ids): ids (B, T) int64, words
    0 … V - 1, -1 where a text has no more → (B, d); a text without a word gets 0, no direction.
    loss(batch): batch (queries (B, T), passages (B, T')) of ids, pairs row by row, `in_batch_loss`.
    """

    def __init__(self, vocabulary, dim=64, temperature=0.05):
        super().__init__()
        self.vocabulary, dim = whole(vocabulary, "vocabulary"), whole(dim, "dim")
        self.temperature = number(temperature, "temperature", above=0)
        self.vectors = nn.Embedding(vocabulary, dim)
        self.weights = nn.Embedding(vocabulary, 1)
        nn.init.normal_(self.vectors.weight, std=dim**-0.5)
        nn.init.zeros_(self.weights.weight)

    def forward(self, ids):
        real = ids >= 0  # (B, T)
        ids = ids.clamp(min=0)
        share = self.weights(ids)[..., 0].exp() * real
        share = share / share.sum(1, keepdim=True).clamp(min=1e-9)
        return (share[..., None] * self.vectors(ids)).sum(1)  # (B, d)

    def loss(self, batch):
        queries, passages = batch
        return in_batch_loss(self(queries), self(passages), self.temperature)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for words outside the vocabulary."""
        for ids, name in zip(batch, ("queries", "passages"), strict=True):
            tokens(ids.clamp(min=0), name, self.vocabulary)

    @torch.no_grad()
    def encode(self, ids, split=512):
        """The vectors of many texts (n, T), a piece at a time, (n, d) on the processor."""
        device = self.vectors.weight.device
        parts = [self(part.to(device)).cpu() for part in ids.split(split)]
        return torch.cat(parts) if parts else torch.zeros(0, self.vectors.weight.shape[1])


def padded(texts, length=None):
    """Lists of word numbers (or tensors) as one tensor (n, T), filled up with -1.

    length: the most words that are kept of a text; None: all. T is at least 1.
    Raises ValueError for no text.
    """
    rows = [torch.as_tensor(text, dtype=torch.int64)[:length] for text in texts]
    if not rows:
        raise refusal("texts", "at least one text", "none")
    ids = torch.full((len(rows), max(1, *map(len, rows))), PAD)
    for row, text in zip(ids, rows, strict=True):
        row[: len(text)] = text
    return ids
