"""MaskGIT: an image in a few rounds, by a transformer that fills in hidden tokens anywhere.

The story of the file: which of the tokens drawn in a round stay, and the model. It is `FillIn` of
chapter 10 on a grid of tokens that `vq.VQAutoencoder` made from an image; how much to hide in
training and how many tokens a round keeps stands there. Tokens of one round are drawn without
knowing each other: that is the price of a round, and the reason why there are several.

Shapes: B images, T = side^2 tokens of an image, row by row, V kinds of tokens.
Source: Chang et al. 2022 (MaskGIT); lecture items A35, A36, erratum N25.
"""

import math

import torch
from torch import Tensor, nn

from genai_utils import inputs
from genai_utils.inputs import number, one_of, refusal, whole
from genai_utils.language.fill_in import (
    SCHEDULES,
    FillIn,
    hide_share,
    keep_surest,
    rounds,
    still_hidden,
    uniform,
)
from genai_utils.language.gpt import GPTConfig
from genai_utils.language.sampling import checked_logits, evaluating
from genai_utils.language.tokens import look_up

ORDERS = ("surest", "place", "random", "raster")
CHUNK = 250  # images drawn at once: their numbers stay in the cache
round_plan = still_hidden  # as chapter 21 calls it


def choice_confidence(log_p: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """How sure the model is of the tokens that it drew, made a little random.

        c = log p(drawn) + τ g,   g = -log(-log u),   u ~ U(0, 1)

    The noise g is Gumbel's: to keep the n largest c at temperature τ = 1 is to draw n places
    without putting back, with weights p. Temperature 0: the surest; very high: any.

    Shapes: log_p (B, T), noise u (B, T) in (0, 1) -> (B, T).
    Source: the published code of Chang et al. 2022; lecture item A35.
    """
    return log_p - temperature * (-noise.log()).log()


def draw_tokens(p: Tensor, u: Tensor) -> Tensor:
    """One token per place: p (..., V) probabilities, u (...) uniform in [0, 1) -> (...) int64."""
    below = p.cumsum(-1)[..., :-1] <= u[..., None]
    return below.sum(-1)


class MaskGIT(FillIn):
    """`FillIn` on a grid: tokens know their row and column, and every token sees every other.

    A hidden token knows only its place, and a small model is slow to find out who its neighbours
    are; chapter 10 gave some heads to them. Here one 3 x 3 convolution adds what stands around.

    Args: entries (V), the kinds of tokens; side, of the grid; dim, layers, heads of the blocks;
    share: of the tokens hidden in training, None for any share, each equally likely.

    forward(ids): (B, T) with [MASK] = V where hidden -> logits (B, T, V).
    loss(ids): (B, T) -> nats per hidden token. With share=None it is, times T, an upper bound of
    -log P of the tokens in nats (`hidden_nll`). sample(n, steps, ...), complete(ids, steps, ...).

    Raises TypeError or ValueError for settings or tokens that do not fit.
    """

    def __init__(self, entries=64, side=7, dim=64, layers=3, heads=4, share=None):
        if share is not None:
            number(share, "share", above=0, most=1)
        T = whole(side, "side") ** 2
        super().__init__(GPTConfig(whole(entries, "entries"), T, layers, heads, dim))
        self.side, self.share = side, share
        self.positions = nn.Embedding(2 * side, dim)  # rows, then columns
        self.first_weights(self.positions)
        self.near = nn.Conv2d(dim, dim, 3, padding=1)

    def embed(self, ids):
        """Token plus row plus column, (B, T) → (B, T, d)."""
        self._require(ids)
        row, column = self.positions.weight.split(self.side)
        return look_up(self.tokens, ids) + (row[:, None] + column).flatten(0, 1)

    def forward(self, ids):
        x = self.embed(ids)  # (B, T, d): token + row + column
        grid = x.transpose(1, 2).unflatten(2, (self.side, self.side))
        x = x + self.near(grid).flatten(2).transpose(1, 2)  # (B, T, d)
        x = self.hidden(x)  # no mask: everyone looks everywhere
        return self.unembed(x)  # (B, T, V)

    def hide(self, batch, generator=None):
        noise = uniform(*batch.shape, device=batch.device, generator=generator)
        share = 1 - uniform(len(batch), device=batch.device, generator=generator)  # (0, 1]
        if self.share is not None:
            share = torch.full_like(share, self.share)
        return hide_share(noise, share)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for tokens that do not fit; [MASK] is none of them."""
        inputs.tokens(self._require(batch), "ids", self.mask)

    def loss(self, batch, generator=None):
        return super().loss(self._require(batch), generator)

    def sample(self, n, steps=12, **options):
        """n new images as tokens (n, T), from nothing but [MASK]; the options of `complete`."""
        blank = torch.full((whole(n, "n"), self.side**2), self.mask)
        return self.complete(blank.to(self.tokens.weight.device), steps, **options)

    @torch.no_grad()
    def complete(
        self, ids, steps=12, choice=1.0, temperature=1.0, schedule="cosine", order="surest",
        generator=None, trace=None,
    ):  # fmt: skip
        """Draw the hidden tokens of ids (B, T) in at most `steps` rounds; returns (B, T).

        Each round draws a token for every hidden place and keeps as many as `round_plan` says; the
        others are hidden again. order: which ones stay.
            "surest"  whose drawn token has the largest `choice_confidence`, at the temperature
                      `choice` times the share of the rounds still to come (MaskGIT)
            "place"   whose largest probability is largest, whatever was drawn (chapter 10)
            "random", "raster"  at random, or row by row: with T rounds the chain rule, exactly
        temperature: divides the logits. trace: a list that gets (ids, confidence) of each round.
        Without a generator the draws come from torch's global one.

        Raises TypeError or ValueError for other options or ids, and NaN or infinite logits.
        """
        whole(steps, "steps"), one_of(order, "order", ORDERS)
        one_of(schedule, "schedule", SCHEDULES)
        number(choice, "choice", least=0), number(temperature, "temperature", above=0)
        inputs.tokens(self._require(ids), "ids", self.mask + 1)
        options = (steps, choice, temperature, schedule, order)
        with evaluating(self):
            parts = [self._rounds(part, *options, generator, trace) for part in ids.split(CHUNK)]
        return torch.cat(parts)

    def _rounds(self, ids, steps, choice, temperature, schedule, order, generator, trace):
        ids = ids.clone()
        for k, hidden, count in rounds(ids, self.mask, steps, schedule):
            alike = k == 1 and bool((ids == ids[0]).all())  # one call serves all
            logits = checked_logits(self(ids[:1] if alike else ids).float()) / temperature
            p = logits.softmax(-1).expand(len(ids), -1, -1)  # (B, T, V)
            u, noise = _inner(2, *ids.shape, device=p.device, generator=generator)
            drawn = draw_tokens(p, u)
            log_p = p.gather(-1, drawn[..., None])[..., 0].log()  # (B, T)
            confidence = _confidence(order, p, log_p, noise, choice * (1 - k / steps))
            kept = keep_surest(confidence, hidden, count)
            ids.copy_(torch.where(kept, drawn, ids))
            if trace is not None:
                trace.append((ids.clone(), confidence.masked_fill(~hidden, math.nan)))
        return ids

    def _require(self, ids):
        """ids, unchanged: whole numbers (B, T), whatever their values."""
        inputs.tokens(ids, "ids", None, values=False)
        if ids.ndim != 2 or ids.shape[1] != self.side**2:
            raise refusal("ids", f"the shape (B, {self.side**2})", f"{tuple(ids.shape)}")
        return ids


def _confidence(order, p, log_p, noise, temperature):
    """What decides which of the drawn tokens stay, (B, T): the largest; see `complete`."""
    if order == "surest":
        return choice_confidence(log_p, noise, temperature)
    if order == "place":
        return p.amax(-1)
    return noise if order == "random" else -torch.arange(p.shape[1]).to(p).expand(len(p), -1)


def _inner(*shape, device, generator):
    """Numbers in (0, 1), without its ends."""
    return uniform(*shape, device=device, generator=generator).clamp(1e-7, 1 - 1e-7)


__all__ = [
    "MaskGIT", "ORDERS", "SCHEDULES", "choice_confidence", "draw_tokens", "hide_share",
    "keep_surest", "round_plan",
]  # fmt: skip
