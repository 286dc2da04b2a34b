"""Two peers of the transformer, an LSTM and convolutions, and the frame that all three share.

Shapes: B sequences in a batch, T tokens, d numbers for a token, V tokens in the vocabulary.

Source: Hochreiter & Schmidhuber 1997; van den Oord et al. 2016; lecture items A21, A22.
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.inputs import whole

from .tokens import asked_nll, check_batch, look_up, require_ids


class LanguageModel(nn.Module):
    """The frame of three models of the next token; what they differ in is `body`: (B, T, d) → same.

    forward(ids): (B, T) int64 → logits of the next token (B, T, V).
    loss(batch): batch (B, T + 1) ids, or a pair (ids, targets), both (B, T), with target −100
    where nothing is asked → mean negative log-likelihood, nats per token; 0 if nothing is asked.

    Raises TypeError or ValueError for ids that are not (B, T) or lie outside the vocabulary.
    """

    def __init__(self, vocabulary, dim):
        super().__init__()
        self.tokens = nn.Embedding(whole(vocabulary, "vocabulary"), whole(dim, "dim"))
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocabulary, bias=False)

    def forward(self, ids):
        x = look_up(self.tokens, require_ids(ids))
        return self.head(self.norm(self.body(x)))  # (B, T, V)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids or targets outside the vocabulary."""
        check_batch(batch, len(self.tokens.weight))

    def loss(self, batch):
        plain = isinstance(batch, torch.Tensor)
        ids, targets = (batch[:, :-1], batch[:, 1:]) if plain else batch
        return asked_nll(self(ids), targets)


class LSTMLM(LanguageModel):
    """A recurrent network: what it knows of the past is one state of fixed size per layer."""

    def __init__(self, vocabulary, dim, layers=2):
        super().__init__(vocabulary, dim)
        self.lstm = nn.LSTM(dim, dim, whole(layers, "layers"), batch_first=True)

    def body(self, x):
        return self.lstm(x)[0]


class ConvLM(LanguageModel):
    """Causal convolutions with gates and shortcuts; layer l looks at t, t − 2^l, t − 2·2^l, …
    Source: van den Oord et al. 2016 (WaveNet); Dauphin et al. 2017."""

    def __init__(self, vocabulary, dim, layers=7, kernel=3):
        super().__init__(vocabulary, dim)
        layers, kernel = whole(layers, "layers"), whole(kernel, "kernel")
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        gates = (nn.Conv1d(dim, 2 * dim, kernel, dilation=2**i) for i in range(layers))
        self.convs = nn.ModuleList(gates)
        self.outs = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))

    def body(self, x):
        for norm, conv, out in zip(self.norms, self.convs, self.outs, strict=True):
            past = (conv.kernel_size[0] - 1) * conv.dilation[0]
            y = conv(F.pad(norm(x).transpose(1, 2), (past, 0)))  # (B, 2d, T)
            x = x + out(F.glu(y, 1).transpose(1, 2))
        return x
