"""Text without an order: hide characters anywhere, learn to fill them in, write in a few rounds.

The counterpart of GPT with the same blocks and without the causal mask. It is trained as a masked
language model for which any share of the text may be missing, so it can also write from nothing.

Source: Ghazvininejad et al. 2019 (mask-predict); Chang et al. 2022 (MaskGIT); lecture item A32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transformer import Block, checked_ids, look_up


def still_hidden(blanks: int, steps: int) -> Tensor:
    """How many of the blanks are still hidden before round 1 and after each round, (steps + 1,).

        left_0 = blanks,   left_k = min( floor( blanks cos(π/2 · k/steps) ), left_{k-1} - 1 )

    and never below 0: few are filled while little is known, many at the end, and each round fills
    one at least while there are any. With as many rounds as blanks each round fills exactly one.

    Source: Chang et al. 2022, section 3.3; lecture item A32.
    """
    left = [blanks]
    for k in range(1, steps + 1):
        wanted = math.floor(blanks * math.cos(math.pi / 2 * k / steps))
        left.append(max(0, min(wanted, left[-1] - 1)))
    return torch.tensor(left)


def hidden_nll(logits: Tensor, ids: Tensor, hidden: Tensor) -> Tensor:
    """How badly the hidden tokens are guessed: nats per token, a mean over rows of each row's mean.

    logits (B, T, V), ids (B, T) the true tokens, hidden (B, T) bool, at least one in each row.
    Each row counts alike, however much of it is hidden. If 1, 2, … or T tokens of a row are
    hidden, each number equally likely, this is the negative log-likelihood per token of the text
    written one token at a time in a random order, so it compares with GPT's loss.

    Source: Uria, Murray & Larochelle 2014; lecture item A32.
    """
    nll = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")  # (B, T)
    return ((nll * hidden).sum(-1) / hidden.sum(-1)).mean()


def who_sees_whom(T, heads, device=None):
    """The heads' fields of view, (heads, T, T) bool, True where a token (row) may look.

    A quarter of the heads sees the left neighbour only and a quarter the right one (at the ends:
    the token itself); the others see everything. A hidden token knows nothing but its place, and
    to find out where its neighbours stand is what takes a small masked model longest to learn.
    """
    place, near = torch.arange(T, device=device), heads // 4
    left = place == (place[:, None] - 1).clamp(min=0)  # (T, T)
    right = place == (place[:, None] + 1).clamp(max=T - 1)
    everything = torch.ones_like(left)
    return torch.stack([left] * near + [right] * near + [everything] * (heads - 2 * near))


class FillIn(nn.Module):
    """Pre-norm blocks in which every token sees every other, and one more token: [MASK].

    config: a GPTConfig; its vocabulary counts the real tokens only, [MASK] has the number after
    the last (`model.mask`). forward(ids): (B, T) → logits (B, T, V) of what stands at each place.
    loss(batch): batch (B, T) → nats per hidden token. fill_in(ids, …): see there.

    Raises ValueError for more tokens than the context, or ids outside the vocabulary.
    """

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.mask = c.vocabulary
        self.tokens = nn.Embedding(c.vocabulary + 1, c.dim)
        self.positions = nn.Embedding(c.context, c.dim)
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(
            Block(c.dim, c.heads, causal=False, activation="gelu_tanh", dropout=c.dropout)
            for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.dim)
        self.apply(self._init)

    def _init(self, module):  # as GPT
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            for layer in (module.attention.out, module.mlp[-1]):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * self.config.layers))

    def forward(self, ids):
        self._check(ids)
        place = torch.arange(ids.shape[1], device=ids.device)
        see = who_sees_whom(ids.shape[1], self.config.heads, ids.device)
        x = self.drop(look_up(self.tokens, ids) + self.positions(place))  # (B, T, d)
        for block in self.blocks:
            x = block(x, mask=see)
        return F.linear(self.norm(x), self.tokens.weight[: self.mask])  # (B, T, V): never [MASK]

    def hide(self, batch, generator=None):
        """Which tokens to hide, (B, T) bool: in each row 1, 2, … or all T, each equally likely."""
        B, T = batch.shape
        device = batch.device if generator is None else generator.device
        share = 1 - torch.rand(B, 1, generator=generator, device=device)  # r in (0, 1]
        rank = torch.rand(B, T, generator=generator, device=device).argsort(-1).argsort(-1)
        return (rank < share * T).to(batch.device)

    def check_batch(self, batch):
        """Raises ValueError for ids outside the vocabulary; [MASK] is none of it."""
        checked_ids(batch, self.mask)

    def loss(self, batch, generator=None):
        hidden = self.hide(batch, generator)
        logits = self(batch.masked_fill(hidden, self.mask))
        return hidden_nll(logits, batch, hidden)

    @torch.no_grad()
    def fill_in(self, ids, steps, temperature=1.0, generator=None, trace=None):
        """Fill all places that hold [MASK], in at most `steps` rounds, the surest first.

        In each round one call of the network gives every hidden place its distribution. Those
        whose largest probability is highest are drawn, each by itself, and stay; `still_hidden`
        says how many. The choice of places does not look at what is drawn there, so at temperature
        1 each draw follows the network's distribution. steps=1: all at once. As many steps as
        blanks, or more: one token at a time. temperature: divides the logits; 0 takes the best.

        ids: (B, T) int64. trace: a list to which the text after each round is appended.
        Returns (B, T); the places that were not hidden stay as they are.
        Raises TypeError or ValueError for other steps, temperatures or ids.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
        if not (isinstance(temperature, int | float) and 0 <= temperature < math.inf):
            raise ValueError(f"temperature must be a number of at least 0, got {temperature!r}")
        self._check(ids)
        checked_ids(ids, self.mask + 1)
        ids, training = ids.clone(), self.training
        blanks = (ids == self.mask).sum(-1)  # (B,)
        steps = min(steps, int(blanks.max())) if ids.numel() else 0
        plan = [still_hidden(n, min(n, steps)) for n in blanks.tolist()]
        self.eval()
        for k in range(1, steps + 1):
            hidden = ids == self.mask
            logits = self(ids).float()
            sure = logits.softmax(-1).amax(-1).masked_fill(~hidden, -1.0)  # (B, T)
            rank = sure.argsort(dim=-1, descending=True, stable=True).argsort(-1)
            left = torch.tensor([p[min(k, len(p) - 1)] for p in plan], device=ids.device)
            now = rank < (hidden.sum(-1) - left)[:, None]  # (B, T)
            ids[now] = _draw(logits[now], temperature, generator)
            if trace is not None:
                trace.append(ids.clone())
        self.train(training)
        return ids

    def _check(self, ids):
        if ids.ndim != 2 or ids.dtype != torch.int64:
            raise TypeError(f"ids must be (B, T) int64, got {tuple(ids.shape)} {ids.dtype}")
        if ids.shape[1] > self.config.context:
            raise ValueError(
                f"the context is {self.config.context} tokens, got {ids.shape[1]}: "
                "cut the text, or build the model with a longer context"
            )


def _draw(logits, temperature, generator):
    """One token for each row of logits (n, V) → (n,)."""
    if temperature == 0 or not len(logits):
        return logits.argmax(-1)
    p = (logits / temperature).softmax(-1)
    device = p.device if generator is None else generator.device
    return torch.multinomial(p.to(device), 1, generator=generator)[:, 0].to(logits.device)
