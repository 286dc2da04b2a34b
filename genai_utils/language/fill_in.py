"""Text without an order: hide characters anywhere, learn to fill them in, write in a few rounds.

The counterpart of GPT with the same blocks and without the causal mask. It is trained as a masked
language model for which any share of the text may be missing, so it can also write from nothing.
MaskGIT (chapter 21) is this model on a grid of tokens of an image: what to hide, how many places a
round fills and which ones is written here once.

Source: Ghazvininejad et al. 2019 (mask-predict); Chang et al. 2022 (MaskGIT); lecture item A32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_utils import inputs
from genai_utils.inputs import number, one_of, refusal, whole

from .sampling import draw, evaluating
from .transformer import Stack

SCHEDULES = {  # share of the rounds that are over -> share of the tokens still hidden
    "cosine": lambda r: math.cos(math.pi / 2 * r),
    "linear": lambda r: 1 - r,
    "square": lambda r: 1 - r**2,
    "root": lambda r: 1 - math.sqrt(r),
}


def still_hidden(blanks: int, steps: int, schedule: str = "cosine") -> Tensor:
    """How many of the blanks are still hidden before round 1 and after each round, (steps + 1,).

        left_0 = blanks,   left_k = min( floor( γ(k/steps) · blanks ), left_{k-1} - 1 )

    and never below 0, with γ(r) = cos(π/2 · r) or another of the SCHEDULES: few are filled while
    little is known, many at the end, and each round fills one at least while there are any. With
    as many rounds as blanks the cosine fills exactly one in each.

    Raises TypeError or ValueError for blanks below 0, steps below 1, or another schedule.
    Source: Chang et al. 2022, section 3.3; lecture items A32, A35.
    """
    left, steps = [whole(blanks, "blanks", least=0)], whole(steps, "steps")
    share = SCHEDULES[one_of(schedule, "schedule", SCHEDULES)]
    for k in range(1, min(blanks, steps) + 1):
        wanted = math.floor(share(k / steps) * blanks + 1e-9)  # 47.999… is 48
        left.append(max(0, min(wanted, left[-1] - 1)))
    return torch.tensor(left + [0] * (steps + 1 - len(left)))


def hide_share(noise: Tensor, share: Tensor) -> Tensor:
    """Which tokens to hide in training: of each row a share r, rounded up, at random places.

        hide the ⌈r_b T⌉ places of row b with the least noise

    Shapes: noise (B, T), all numbers different, of any size; share (B,), each in (0, 1]
    -> (B, T) bool, at least one True in each row. Where r T is a whole number, exactly so many.
    r uniform: any number of 1 ... T tokens, each equally likely.
    Source: Chang et al. 2022, section 3.1; lecture item A35.
    """
    rank = noise.argsort(-1).argsort(-1)  # 0 for the least noise of the row
    return rank < share[:, None] * noise.shape[1]


def keep_surest(confidence: Tensor, hidden: Tensor, count: int) -> Tensor:
    """Which of the tokens just drawn stay: the `count` surest ones among the hidden places.

    Places that were not hidden never count, whatever their confidence. Where fewer than `count`
    places are hidden, all of them stay. Of equally sure ones the first stay, never more than
    `count` of them.

    Shapes: confidence (B, T), finite; hidden (B, T) bool; count a whole number, 0 or more
    -> (B, T) bool.
    Source: Chang et al. 2022, section 3.2; lecture item A35.
    """
    masked = confidence.masked_fill(~hidden, -math.inf)
    rank = masked.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return (rank < count) & hidden


def hidden_nll(logits: Tensor, ids: Tensor, hidden: Tensor) -> Tensor:
    """How badly the hidden tokens are guessed: nats per token, a mean over rows of each row's mean.

    logits (B, T, V), of any size, ids (B, T) the true tokens, hidden (B, T) bool, at least one in
    each row. Visible tokens do not count, even if their own loss would be infinite.
    Each row counts alike, however much of it is hidden. If 1, 2, … or T tokens of a row are
    hidden, each number equally likely, this is the negative log-likelihood per token of the text
    written one token at a time in a random order, so it compares with GPT's loss.

    Source: Uria, Murray & Larochelle 2014; lecture item A32.
    """
    nll = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")  # (B, T)
    nll = torch.where(hidden, nll, 0.0)  # a product would make NaN of 0 times infinity
    return (nll.sum(-1) / hidden.sum(-1)).mean()


def rounds(ids: Tensor, mask: int, steps: int, schedule: str = "cosine"):
    """The rounds in which what is hidden gets filled: (k, hidden, count), while anything is hidden.

    ids (B, T), mask where hidden; they are looked at anew before each round, so fill them in place.
    k: 1, 2, …, at most `steps`. hidden (B, T) bool: the hidden places. count (B, 1): how many of
    them the round has to fill, so that `still_hidden` are left.
    """
    blanks = (ids == mask).sum(-1).tolist()
    plans = {n: still_hidden(n, steps, schedule) for n in {0, *blanks}}
    plan = torch.stack([plans[n] for n in [0, *blanks]])[1:].to(ids.device)  # (B, steps + 1)
    for k in range(1, steps + 1):
        hidden = ids == mask
        if not hidden.any():
            break
        yield k, hidden, (hidden.sum(-1) - plan[:, k])[:, None]


def uniform(*shape, device, generator=None) -> Tensor:
    """Numbers in [0, 1) on a device, drawn where the generator is; None: torch's global stream."""
    place = device if generator is None else generator.device
    return torch.rand(*shape, generator=generator, device=place).to(device)


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


class FillIn(Stack):
    """Pre-norm blocks in which every token sees every other, and one more token: [MASK].

    config: a GPTConfig; its vocabulary counts the real tokens only, [MASK] has the number after
    the last (`model.mask`). forward(ids): (B, T) → logits (B, T, V) of what stands at each place.
    loss(batch): batch (B, T) → nats per hidden token. fill_in(ids, …): see there.

    Raises TypeError or ValueError for more tokens than the context, or ids outside the vocabulary.
    """

    def __init__(self, config):
        super().__init__(config, causal=False, further=1)
        self.mask = config.vocabulary

    def forward(self, ids):
        see = who_sees_whom(ids.shape[-1], self.config.heads, ids.device)
        return self.unembed(self.hidden(self.embed(ids), mask=see))  # (B, T, V)

    def unembed(self, x):
        """Logits of the tokens, (…, d) → (…, V): never [MASK]."""
        return F.linear(x, self.tokens.weight[: self.mask])

    def hide(self, batch, generator=None):
        """Which tokens to hide, (B, T) bool: in each row 1, 2, … or all T, each equally likely."""
        B, T = batch.shape
        share = 1 - uniform(B, device=batch.device, generator=generator)  # r in (0, 1]
        return hide_share(uniform(B, T, device=batch.device, generator=generator), share)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids outside the vocabulary; [MASK] is none of it."""
        inputs.tokens(batch, "batch", self.mask)

    def loss(self, batch, generator=None):
        hidden = self.hide(batch, generator)
        logits = self(batch.masked_fill(hidden, self.mask))
        return self.with_extras(hidden_nll(logits, batch, hidden))

    @torch.no_grad()
    def fill_in(self, ids, steps, temperature=1.0, generator=None, trace=None):
        """Fill all places that hold [MASK], in at most `steps` rounds, the surest first.

        In each round one call of the network gives every hidden place its distribution. Those
        whose largest probability is highest are drawn, each by itself, and stay; `still_hidden`
        says how many. The choice of places does not look at what is drawn there, so at temperature
        1 each draw follows the network's distribution. steps=1: all at once. As many steps as
        blanks, or more: one token at a time. temperature: divides the logits; 0 takes the best.

        ids: (B, T) int64. trace: a list to which the text after each round is appended.
        Without a generator the draws come from torch's global one.
        Returns (B, T); the places that were not hidden stay as they are.
        Raises TypeError or ValueError for other steps, temperatures or ids, and NaN or infinite
        logits.
        """
        steps, T = whole(steps, "steps"), self.config.context
        number(temperature, "temperature", least=0)
        inputs.tokens(ids, "ids", self.mask + 1)
        if ids.ndim != 2 or ids.shape[1] > T:
            raise refusal("ids", f"(B, T), T at most {T}, the context", f"{tuple(ids.shape)}")
        ids = ids.clone()
        with evaluating(self):
            for _, hidden, count in rounds(ids, self.mask, min(steps, T)):
                logits = self(ids).float()
                sure = logits.softmax(-1).amax(-1)  # (B, T); NaN is first in line, and draw says so
                now = keep_surest(sure, hidden, count)
                ids[now] = draw(logits[now], temperature, generator=generator)
                if trace is not None:
                    trace.append(ids.clone())
        return ids
