"""A mixture of experts: many MLPs in a block, and a router that sends each token to a few of them.

Shapes: N tokens of d numbers, E experts, k choices for each token.

    p = softmax(W x),   chosen = the k largest,   y = Σ_{i in chosen} gate_i · expert_i(x)

The model holds E MLPs, and a token passes through k. `MoE` takes the place of a `blocks[i].mlp` of
a GPT. GPTs that are made of it, and what their experts do, are in experts.py.

Source: Shazeer et al. 2017; Fedus, Zoph & Shazeer 2022 (Switch); Jiang et al. 2024 (Mixtral);
Wang et al. 2024 (balance without a loss); lecture item A67.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import number, one_of, refusal, whole

from .modern import SwiGLU

BALANCES = ("loss", "bias", "none")
GATES = ("probability", "renormalised", "one")

# --- The router ----------------------------------------------------------------------------------


def top_k_gates(logits, k):
    """The weight of every expert for every token: a softmax over the k best, 0 for the others.

        g_i = exp(h_i) / Σ_{j in the k best} exp(h_j)   for the k best,   else 0

    logits h (N, E), k from 1 to E → (N, E), rows that sum to 1. Of equal logits any may be taken.
    Raises ValueError for k below 1 or above E.
    Source: Shazeer et al. 2017, eqs. 3 and 5; Jiang et al. 2024, section 2.1; lecture item A67.
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"k: expected a whole number from 1 to {logits.shape[-1]}, got {k}.")
    best = logits.topk(k, dim=-1)
    return torch.zeros_like(logits).scatter(-1, best.indices, best.values.softmax(-1))


def choose(p, k, bias=None):
    """Which k experts each token goes to, and with which weights, which sum to 1.

        chosen = the k largest of p_i + b_i,     gate_i = p_i / Σ_{j in chosen} p_j

    The bias b says who is chosen and nothing else: it keeps the load even, and must not change what
    an expert's answer counts. p (N, E), rows that sum to 1; b (E,), or None for zeros.
    Returns gates (N, k) and chosen (N, k) int64, the best first.
    Source: Wang et al. 2024, eq. 3; DeepSeek-AI 2024, eq. 16; lecture item A67.
    """
    wanted = p if bias is None else p + bias
    chosen = wanted.topk(k, dim=-1).indices
    gates = p.gather(-1, chosen)
    return gates / gates.sum(-1, keepdim=True), chosen


def expert_load(chosen, experts):
    """The share of all choices that each expert got: chosen (…) int64 → (E,), sums to 1."""
    each = torch.arange(experts, device=chosen.device)
    return (chosen.reshape(-1, 1) == each).float().mean(0)


def balance_loss(p, chosen):
    """How uneven the load is: 1 if it is even, up to E if one expert gets all.

        E Σ_i f_i P_i,    f_i: share of the N k choices that went to i,   P_i = 1/N Σ_n p[n, i]

    f is a count and has no gradient; all of it flows through P. So an expert that got too much has
    its probability lowered for every token.
    p (N, E), rows that sum to 1; chosen (N, k) int64. Returns a scalar.
    Source: Fedus, Zoph & Shazeer 2022, eqs. 4 to 6; lecture item A67.
    """
    each = torch.arange(p.shape[-1], device=p.device)
    load = (chosen.reshape(-1, 1) == each).float().mean(0)  # f
    return len(each) * (load * p.mean(0)).sum()


def z_loss(logits):
    """Keeps the router's logits small: the mean of (log Σ_i exp h_i)². Zoph et al. 2022, eq. 5."""
    return logits.logsumexp(-1).square().mean()


def bias_step(bias, load, rate):
    """Balance without a loss: raise the bias of experts with too little load, lower the others'.

        b_i ← b_i + rate · sign(1/E − f_i)

    bias, load f (E,), f sums to 1. Returns (E,). Source: Wang et al. 2024, algorithm 1.
    """
    return bias + rate * (1 / len(load) - load).sign()


# --- Room in the experts -------------------------------------------------------------------------


def queue_places(chosen, experts):
    """How many earlier choices went to the same expert: the place in its queue, from 0.

    The order is token by token, and a token's first choice comes before its second. So no later
    token can push an earlier one out. chosen (N, k) int64 → (N, k) int64.
    Source: Fedus, Zoph & Shazeer 2022, section 2.2; lecture item A67.
    """
    each = torch.arange(experts, device=chosen.device)
    mine = (chosen.reshape(-1, 1) == each).long()  # (N k, E)
    before = mine.cumsum(0) - mine
    return (before * mine).sum(-1).view_as(chosen)


class Layout(NamedTuple):
    """The work as blocks of rows. slot (N, k): the row of each choice, or one behind the last for
    a choice that is dropped; owner (blocks,): whose rows a block holds; rows: of a block."""

    slot: Tensor
    owner: Tensor
    rows: int


def layout(chosen, experts, capacity=None, parts=4):
    """Rows for all choices, by sizes that do not depend on who chose whom: chosen (N, k) → Layout.

    With a capacity each expert has one block of ⌈capacity · N k / E⌉ rows, and who comes later is
    dropped. 1 is just enough if the load is even. With None nothing is dropped: the blocks are
    small, about N k / (E parts) rows, and an expert has as many as it needs. At most E of them are
    not full, so that this takes 1 + 1 / parts times the work of the choices.
    Source: Fedus, Zoph & Shazeer 2022, section 2.2; Gale et al. 2023 (blocks); lecture item A67.
    """
    n, place = chosen.numel(), queue_places(chosen, experts)
    each = torch.arange(experts, device=chosen.device)
    if capacity is not None:
        rows = max(1, math.ceil(capacity * n / experts))
        slot = torch.where(place < rows, chosen * rows + place, experts * rows)
        return Layout(slot, each, rows)
    rows = max(1, math.ceil(n / (experts * parts)))
    count = (chosen.reshape(-1, 1) == each).sum(0)  # (E,)
    last = ((count + rows - 1) // rows).cumsum(0)  # behind the last block of each
    first = F.pad(last[:-1], (1, 0))
    block = torch.arange(math.ceil(n / rows) + experts, device=chosen.device)
    owner = torch.searchsorted(last, block, right=True).clamp(max=experts - 1)
    return Layout(first[chosen] * rows + place, owner, rows)


def _linear(layers, owner, x):
    """A linear layer of each block's expert, in one product: (blocks, rows, a) → (…, …, b)."""
    weight = torch.stack([layer.weight for layer in layers])[owner]
    if layers[0].bias is None:
        return torch.bmm(x, weight.mT)
    bias = torch.stack([layer.bias for layer in layers])[owner]
    return torch.baddbmm(bias[:, None], x, weight.mT)


def all_experts(experts, owner, x):
    """Expert owner[i] on the rows x[i], all blocks at once: (blocks, rows, d) → the same."""
    if isinstance(experts[0], SwiGLU):
        gate, value = _linear([e.both for e in experts], owner, x).chunk(2, -1)
        return _linear([e.out for e in experts], owner, F.silu(gate) * value)
    for layers in zip(*experts, strict=True):  # the first layer of each, then the second, …
        x = _linear(layers, owner, x) if isinstance(layers[0], nn.Linear) else layers[0](x)
    return x


def at_once(experts, chosen, x, capacity=None):
    """Each expert on the tokens that chose it, all by a few products: (N, d) → (N, k, d), dropped.

    Sizes do not depend on who chose whom, so a graphics card never waits, and each expert has a
    gradient, of zeros if nobody chose it. The price: the weights of all experts are put side by
    side. dropped (N, k): which choices found no room; they are zeros. See `layout`.
    """
    N, (slot, owner, rows) = len(x), layout(chosen, len(experts), capacity)
    token = torch.arange(N, device=x.device)[:, None].expand_as(slot)
    there = torch.full((len(owner) * rows + 1,), N, device=x.device)
    there = there.scatter(0, slot.flatten(), token.flatten())[:-1]  # which token has the row
    nothing = x.new_zeros(1, x.shape[1])
    y = torch.cat([x, nothing])[there].view(len(owner), rows, -1)
    y = all_experts(experts, owner, y).flatten(0, 1)
    return torch.cat([y, nothing.to(y.dtype)])[slot], slot == len(there)


def in_turn(experts, chosen, x):
    """The same one expert after the other, nothing dropped: (N, d) → (N, k, d).

    Only those that somebody chose are called, and no weight is copied. But it has to know how many
    chose each, for which a graphics card would wait.
    """
    order = chosen.flatten().argsort(stable=True)  # by expert
    counts = chosen.flatten().bincount(minlength=len(experts)).tolist()
    parts = x[order // chosen.shape[1]].split(counts)
    pairs = zip(experts, parts, strict=True)
    y = torch.cat([expert(part) for expert, part in pairs if len(part) or not len(x)])
    return y[order.argsort()].view(*chosen.shape, x.shape[1])


class Seen(NamedTuple):
    """What the last forward did. load (E,): shares of the choices; dropped: share of the choices
    that found no room; balance: `balance_loss`; chosen (…, k): where each token went."""

    load: Tensor | None = None
    dropped: Tensor | None = None
    balance: Tensor | None = None
    chosen: Tensor | None = None

    def describe(self):
        return "of the last forward"  # it shapes no run


class MoE(nn.Module):
    """A mixture of experts in place of an MLP. forward(x): (…, d) → (…, d).

    experts: MLPs of one form, such as `Block.mlp` or `SwiGLU`. k: how many each token passes.
    capacity: of each expert in training, see `layout`. A choice that finds no room is dropped: it
        adds nothing, and the token goes on with the block's residual. None, and in eval mode:
        nothing is dropped.
    balance: "loss" asks for weight · `balance_loss` in training, "bias" makes a `bias_step` of
        size `rate` after each forward in training, "none" does nothing.
    z_weight: of `z_loss`.
    gate: what an expert's answer is multiplied by. "probability": p_i, as in Switch; the usual for
        k = 1. "renormalised": as in `choose`, the usual for more. It is 1 if k = 1, so that the
        router learns nothing from the text. "one": 1 as well, but with the gradient of log p_i.

    After forward `seen` holds what it did. With one expert it is that MLP: its gate is 1.
    Raises TypeError or ValueError for no experts or of unlike forms, k above their number, a
    capacity of 0 or less, or names that are none.
    Source: Fedus, Zoph & Shazeer 2022; Wang et al. 2024; lecture item A67.
    """

    def __init__(self, experts, dim, k=1, capacity=None, balance="loss", weight=0.01, rate=0.001,
                 z_weight=0.0, gate=None):  # fmt: skip
        super().__init__()
        self.experts = nn.ModuleList(experts)
        forms = {tuple(p.shape for p in e.parameters()) for e in self.experts}
        if len(forms) != 1:
            got = "none" if not forms else f"{len(forms)} forms"
            raise refusal("experts", "at least one MLP, and all of one form", got)
        self.k = whole(k, "k", 1, len(self.experts))
        self.capacity = None if capacity is None else number(capacity, "capacity", above=0)
        self.balance = one_of(balance, "balance", BALANCES)
        self.weight, self.rate = number(weight, "weight", least=0), number(rate, "rate", least=0)
        self.z_weight = number(z_weight, "z_weight", least=0)
        self.gate = one_of(gate or GATES[self.k > 1], "gate", GATES)
        self.router = nn.Linear(whole(dim, "dim"), len(self.experts), bias=False)
        nn.init.normal_(self.router.weight, std=0.02)
        self.register_buffer("bias", torch.zeros(len(self.experts)))
        self.seen, self.extra_loss = Seen(), None

    def scores(self, x):
        """The router's logits, (…, d) → (…, E), always in single precision."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.router.weight.float())

    def route(self, logits):
        """logits (N, E) → p (N, E), gates (N, k), chosen (N, k)."""
        p = logits.softmax(-1)
        gates, chosen = choose(p, self.k, self.bias)
        if self.gate != "renormalised":
            gates = p.gather(-1, chosen)
        if self.gate == "one":
            gates = gates / gates.detach()
        return p, gates, chosen

    def forward(self, x):
        shape, x = x.shape, x.flatten(0, -2)  # (N, d)
        logits = self.scores(x)
        p, gates, chosen = self.route(logits)
        room = self.capacity if self.training else None
        if room or torch.is_grad_enabled() or x.device.type != "cpu":
            y, dropped = at_once(self.experts, chosen, x, room)
        else:
            y, dropped = in_turn(self.experts, chosen, x), torch.zeros_like(chosen)
        self._look(logits, p, chosen, dropped, shape)
        return (gates[..., None].to(y.dtype) * y).sum(1).view(shape)

    def _look(self, logits, p, chosen, dropped, shape):
        """Note what was done, ask for the loss, move the bias."""
        load, balance = expert_load(chosen, len(self.experts)), balance_loss(p, chosen)
        dropped = dropped.float().mean()
        self.seen = Seen(load, dropped, balance.detach(), chosen.view(*shape[:-1], self.k))
        if not self.training:
            return
        self.extra_loss = self.z_weight * z_loss(logits) if self.z_weight else None
        if self.balance == "loss":
            asked = self.weight * balance
            self.extra_loss = asked if self.extra_loss is None else self.extra_loss + asked
        if self.balance == "bias":
            with torch.no_grad():
                self.bias.copy_(bias_step(self.bias, load, self.rate))
