"""Speculative decoding: a small model drafts, the large one checks several tokens in one call.

What comes out has exactly the large model's distribution; the small one only decides how fast.

Shapes: V tokens in the vocabulary, k drafted tokens.

Source: Leviathan, Kalman & Matias 2023.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genai_utils import inputs
from genai_utils.inputs import refusal, whole

from .sampling import evaluating, sample_probabilities


def verify(p, q, drafted, u):
    """How many drafted tokens stand, and the distribution of the token after them.

    Token i stands if u_i < p_i(x_i) / q_i(x_i) and all before it stand. Where one falls, another
    is drawn in its place from what p has more than q, norm(max(0, p_i − q_i)); that makes up for
    exactly what was drafted too often. Where all stand, one more comes from p. Where p nowhere has
    more than q, the two are alike, and it is p.

    p (k + 1, V) and q (k, V): distributions of the large and the small model; drafted (k,) int64,
    drawn from q; u (k,) uniform in [0, 1). Returns a whole number and (V,), which sums to 1.
    Source: Leviathan et al. 2023, algorithm 1.
    """
    place = torch.arange(len(drafted), device=p.device)
    stands = u < p[place, drafted] / q[place, drafted]
    n = int(stands.long().cumprod(0).sum())
    if n == len(drafted):
        return n, p[n]
    more = (p[n] - q[n]).clamp(min=0)
    return n, more / more.sum() if more.any() else p[n]


def acceptance(p, q):
    """The chance that a token drafted from q stands: Σ min(p, q), (…, V) → (…).

    It is 1 minus the total variation distance of the two. Source: Leviathan et al. 2023, thm. 3.5.
    """
    return torch.minimum(p, q).sum(-1)


def expected_tokens(a, k):
    """Tokens for each call of the large model, if each of k drafts stands with chance a.

        1 + a + … + a^k = (1 − a^(k+1)) / (1 − a)

    Source: Leviathan et al. 2023, eq. 1.
    """
    return sum(a**i for i in range(whole(k, "k", least=0) + 1))


class Written(NamedTuple):
    """ids (T + n,): prompt and text; calls: of the large model; drafted, accepted: tokens."""

    ids: Tensor
    calls: int
    drafted: int
    accepted: int


def _uniform(k, generator, device):
    at = device if generator is None else generator.device
    return torch.rand(k, generator=generator, device=at).to(device)


def _draw(p, generator):
    at = p.device if generator is None else generator.device
    return torch.multinomial(p.to(at), 1, generator=generator).to(p.device)  # (1,)


class _Reader:
    """A model with its cache: distributions after each of the last tokens of a text."""

    def __init__(self, model, how):
        self.model, self.how, self.cache = model, how, model.new_cache()

    def __call__(self, ids, last):
        """(last, V): what may follow the last `last` prefixes of ids (T,); reads what is new."""
        used = self.cache[0].used
        x = self.model.hidden(self.model.embed(ids[None, used:], used), self.cache)
        return sample_probabilities(self.model.unembed(x[0, -last:]), **self.how)

    def forget(self, length):
        """Keep what was read of the first `length` tokens."""
        for block in self.cache:
            block.used = min(block.used, length)


@torch.no_grad()
def write(large, small, prompt, n, k=4, generator=None, **how):
    """The prompt and n further tokens, distributed as `large.generate` draws them.

    The small model drafts k tokens one by one; the large one reads all of them in one call, and
    `verify` says how many stand. So each call of the large model gives from 1 to k + 1 tokens.

    large, small: GPTs with one vocabulary. prompt (T,) int64, T ≥ 1. how: temperature, top_k,
    top_p, see `sampling.sample_probabilities`; both models are cut alike. Temperature 0: the text
    of `generate`. generator: None is torch's global one. Returns `Written`.

    Raises ValueError or TypeError for vocabularies that differ, a prompt of another form, or a text
    longer than the context of either model.
    """
    mine, its = large.config.vocabulary, small.config.vocabulary
    if mine != its:
        raise refusal("small", f"the vocabulary of large, {mine:,} tokens", f"{its:,}")
    n, k = whole(n, "n", least=0), whole(k, "k")
    ids = inputs.tokens(prompt, "prompt", large.config.vocabulary)
    context = min(large.config.context, small.config.context)
    if ids.ndim != 1 or not len(ids):
        raise refusal("prompt", "(T,) with T of at least 1", f"the shape {tuple(ids.shape)}")
    if len(ids) + n > context:
        what = f"at most {context - len(ids)}, the contexts have {context} tokens"
        raise refusal("n", what, n, "shorten the prompt")
    end, calls, drafted, accepted = len(ids) + n, 0, 0, 0
    big, little = _Reader(large, how), _Reader(small, how)
    with evaluating(large), evaluating(small):
        while len(ids) < end:
            q, text = [], ids
            for _ in range(min(k, end - len(ids) - 1)):
                q.append(little(text, 1))
                text = torch.cat([text, _draw(q[-1][0], generator)])
            p, tried = big(text, len(q) + 1), text[len(ids) :]
            stand, following = 0, p[0]
            if q:
                u = _uniform(len(q), generator, p.device)
                stand, following = verify(p, torch.cat(q), tried, u)
            ids = torch.cat([text[: len(ids) + stand], _draw(following, generator)])
            big.forget(len(ids) - 1), little.forget(len(ids) - 1)
            calls, drafted, accepted = calls + 1, drafted + len(q), accepted + stand
    return Written(ids, calls, drafted, accepted)
