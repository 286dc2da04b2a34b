"""MaskGIT: an image in a few rounds, by a transformer that fills in hidden tokens anywhere.

The story of the file: how much to hide in training, how many tokens each round of drawing keeps and
which ones, and the model. It is `FillIn` of chapter 10 on a grid of tokens that `vq.VQAutoencoder`
made from an image. Tokens of one round are drawn without knowing each other: that is the price of a
round, and the reason why there are several.

Shapes: B images, T = side^2 tokens of an image, row by row, V kinds of tokens.
Source: Chang et al. 2022 (MaskGIT); lecture items A35, A36, erratum N25.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.evaluation.inputs import positive_int
from genai_utils.language.fill_in import FillIn, hidden_nll, still_hidden
from genai_utils.language.gpt import GPTConfig
from genai_utils.language.transformer import look_up

from .vq import checked_tokens, shaped_tokens

SCHEDULES = {  # share of the rounds that are over -> share of the tokens still hidden
    "cosine": lambda r: math.cos(math.pi / 2 * r),
    "linear": lambda r: 1 - r,
    "square": lambda r: 1 - r**2,
    "root": lambda r: 1 - math.sqrt(r),
}
ORDERS = ("surest", "place", "random", "raster")
CHUNK = 250  # images drawn at once: their numbers stay in the cache


def hide_share(noise: Tensor, share: Tensor) -> Tensor:
    r"""Which tokens to hide in training: of each row a share r, rounded up, at random places.

    $$ \text{hide the } \lceil r_b T \rceil \text{ places of row } b \text{ with the least noise} $$

    Shapes: noise (B, T), all numbers different; share (B,), each in (0, 1] -> (B, T) bool, at
    least one True in each row. r uniform: any number of 1 ... T tokens, each equally likely.
    Source: Chang et al. 2022, section 3.1; lecture item A35.
    """
    rank = noise.argsort(-1).argsort(-1)  # 0 for the least noise of the row
    return rank < share[:, None] * noise.shape[1]


def keep_surest(confidence: Tensor, hidden: Tensor, count: int) -> Tensor:
    r"""Which of the tokens just drawn stay: the `count` surest ones among the hidden places.

    Places that were not hidden never count, whatever their confidence. Where fewer than `count`
    places are hidden, all of them stay.

    Shapes: confidence (B, T), hidden (B, T) bool -> (B, T) bool.
    Source: Chang et al. 2022, section 3.2; lecture item A35.
    """
    masked = confidence.masked_fill(~hidden, -math.inf)
    rank = masked.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return (rank < count) & hidden


def choice_confidence(log_p: Tensor, noise: Tensor, temperature: float) -> Tensor:
    r"""How sure the model is of the tokens that it drew, made a little random.

    $$ c = \log p(\text{drawn}) + \tau g, \quad g = -\log(-\log u), \; u \sim U(0, 1) $$

    The noise g is Gumbel's: to keep the n largest c at temperature 1 is to draw n places without
    putting back, with weights p. Temperature 0: the surest; very high: any.

    Shapes: log_p (B, T), noise u (B, T) in (0, 1) -> (B, T).
    Source: the published code of Chang et al. 2022; lecture item A35.
    """
    return log_p - temperature * (-noise.log()).log()


def round_plan(blanks: int, steps: int, schedule: str = "cosine") -> Tensor:
    r"""Tokens still hidden before round 1 and after each round, (steps + 1,), by a schedule.

    $$ \min\left( \lfloor \gamma(k/S) \cdot \text{blanks} \rfloor, \text{left}_{k-1} - 1 \right) $$

    and never below 0. Cosine is `still_hidden` of chapter 10. Raises ValueError for another name.
    Source: Chang et al. 2022, section 3.3; lecture item A35.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {[*SCHEDULES]}; got {schedule!r}")
    if schedule == "cosine":
        return still_hidden(blanks, steps)
    left = [blanks]
    for k in range(1, steps + 1):
        wanted = math.floor(SCHEDULES[schedule](k / steps) * blanks + 1e-9)  # 47.999… is 48
        left.append(max(0, min(wanted, left[-1] - 1)))
    return torch.tensor(left)


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
        for name, value in {"entries": entries, "side": side}.items():
            positive_int(value, name)
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], or be None for any share; got {share!r}")
        super().__init__(GPTConfig(entries, side * side, layers, heads, dim))
        self.side, self.share = side, share
        self.positions = nn.Embedding(2 * side, dim)  # rows, then columns
        self._init(self.positions)
        self.near = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, ids):
        shaped_tokens(ids, self.side**2)
        row, column = self.positions.weight.split(self.side)
        place = (row[:, None] + column).flatten(0, 1)  # (T, d)
        x = look_up(self.tokens, ids) + place
        grid = x.transpose(1, 2).unflatten(2, (self.side, self.side))
        x = x + self.near(grid).flatten(2).transpose(1, 2)  # (B, T, d)
        for block in self.blocks:
            x = block(x)  # no mask: everyone looks everywhere
        return F.linear(self.norm(x), self.tokens.weight[: self.mask])  # (B, T, V)

    def hide(self, batch, generator=None):
        device = batch.device if generator is None else generator.device
        noise = torch.rand(batch.shape, generator=generator, device=device)
        share = 1 - torch.rand(len(batch), generator=generator, device=device)  # (0, 1]
        if self.share is not None:
            share = torch.full_like(share, self.share)
        return hide_share(noise, share).to(batch.device)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for tokens that do not fit; [MASK] is none of them."""
        checked_tokens(batch, self.side**2, self.mask)

    def loss(self, batch, generator=None):
        shaped_tokens(batch, self.side**2)
        hidden = self.hide(batch, generator)
        return hidden_nll(self(batch.masked_fill(hidden, self.mask)), batch, hidden)

    def sample(self, n, steps=12, **options):
        """n new images as tokens (n, T), from nothing but [MASK]; the options of `complete`."""
        blank = torch.full((positive_int(n, "n"), self.side**2), self.mask)
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
        """
        positive_int(steps, "steps")
        if order not in ORDERS:
            raise ValueError(f"order must be one of {ORDERS}; got {order!r}")
        if not choice >= 0 or not temperature > 0:
            raise ValueError(
                f"choice must be at least 0 and temperature above 0; got {choice}, {temperature}"
            )
        checked_tokens(ids, self.side**2, self.mask + 1)
        training, options = self.training, (steps, choice, temperature, schedule, order)
        self.eval()
        parts = [self._rounds(part, *options, generator, trace) for part in ids.split(CHUNK)]
        self.train(training)
        return torch.cat(parts)

    def _rounds(self, ids, steps, choice, temperature, schedule, order, generator, trace):
        ids = ids.clone()
        blanks = (ids == self.mask).sum(-1).tolist()
        plan = torch.stack([round_plan(b, steps, schedule) for b in blanks]).to(ids.device)
        for k in range(1, steps + 1):
            hidden = ids == self.mask
            count = (hidden.sum(-1) - plan[:, k])[:, None]
            if not hidden.any():
                break
            alike = k == 1 and bool((ids == ids[0]).all())  # one call serves all
            logits = self(ids[:1] if alike else ids).float() / temperature
            p = logits.softmax(-1).expand(len(ids), -1, -1)  # (B, T, V)
            u, noise = _uniform(2, *ids.shape, like=p, generator=generator)
            drawn = draw_tokens(p, u)
            log_p = p.gather(-1, drawn[..., None])[..., 0].log()  # (B, T)
            confidence = _confidence(order, p, log_p, noise, choice * (1 - k / steps))
            kept = keep_surest(confidence, hidden, count)
            ids = torch.where(kept, drawn, ids)
            if trace is not None:
                trace.append((ids.clone(), confidence.masked_fill(~hidden, math.nan)))
        return ids


def _confidence(order, p, log_p, noise, temperature):
    """What decides which of the drawn tokens stay, (B, T): the largest; see `complete`."""
    if order == "surest":
        return choice_confidence(log_p, noise, temperature)
    if order == "place":
        return p.amax(-1)
    return noise if order == "random" else -torch.arange(p.shape[1]).to(p).expand(len(p), -1)


def _uniform(*shape, like, generator):
    """Numbers in (0, 1), on the device of `like`, whatever that of the generator."""
    device = like.device if generator is None else generator.device
    return torch.rand(*shape, generator=generator, device=device).clamp(1e-7, 1 - 1e-7).to(like)
