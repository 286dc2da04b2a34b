"""From logits to text: which tokens may be drawn, one draw, and one token after the other.

Shapes: B sequences in a batch, T tokens, V tokens in the vocabulary.

Source: Fan, Lewis & Dauphin 2018; Holtzman et al. 2020; lecture items A28, A44.
"""

import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils import inputs
from genai_utils.inputs import kind_of, number, refusal, whole


def top_k_filter(logits, k):
    """Keep the k largest logits, put -inf for the others.

    logits (..., V); k from 1. k of V or more keeps all; logits as large as the k-th are kept too.
    Raises ValueError for k below 1. Source: Fan, Lewis & Dauphin 2018.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]  # the k-th largest
    return logits.masked_fill(logits < least, -math.inf)


def top_p_filter(logits, p):
    """Keep the fewest tokens whose probabilities sum to at least p, put -inf for the others.

    logits (..., V), of any size; 0 < p <= 1. The likeliest token is always kept, and p = 1 keeps
    all. Of equally likely tokens those that come first are taken first.
    Raises ValueError for another p. Source: Holtzman et al. 2020 (nucleus sampling).
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {p}")
    ordered, index = torch.sort(logits, dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability  # the sum of all that are likelier
    keep = torch.empty_like(logits, dtype=torch.bool).scatter_(-1, index, before < p)
    return logits if p == 1 else logits.masked_fill(~keep, -math.inf)


def checked_logits(logits: Tensor) -> Tensor:
    """logits (…, V), unchanged: -inf where a token is ruled out, finite elsewhere.

    Raises ValueError for NaN, +inf, or a row in which every token is ruled out: to go on would be
    to draw the first token, or any. The values are looked at, which waits for a graphics card.
    """
    best = logits.amax(-1)  # NaN if there is one
    if not torch.isfinite(best).all():
        cure = "check how the model was trained"
        if not (best.isnan() | (best == math.inf)).any():
            what, cure = "-inf for every token of a row", "allow one token at least"
        else:
            what = "NaN" if best.isnan().any() else "+inf"
        raise refusal("logits", "finite numbers, or -inf for tokens ruled out", what, cure)
    return logits


def sample_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """The distribution from which the next token is drawn: softmax(logits / τ), cut, sums to 1.

    logits (…, V) → (…, V). First the temperature, then top-k, then top-p. Temperature 0 is the
    limit: all on the largest logit (the first, if several are equal).
    Raises TypeError or ValueError for a temperature that is negative or infinite, k below 1, p
    outside (0, 1], and logits that `checked_logits` refuses.
    """
    _check_settings(temperature, top_k, top_p)
    checked_logits(logits)
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = (logits - logits.amax(-1, keepdim=True)).float() / temperature  # largest: 0
    if top_k is not None:
        logits = top_k_filter(logits, top_k)
    if top_p is not None:
        logits = top_p_filter(logits, top_p)
    return logits.softmax(-1)


def _check_settings(temperature, top_k, top_p):
    number(temperature, "temperature", least=0)
    if top_k is not None:
        whole(top_k, "top_k")
    if top_p is not None:
        number(top_p, "top_p", above=0, most=1)


def draw(logits, temperature=1.0, top_k=None, top_p=None, generator=None) -> Tensor:
    """One token for each row of logits (n, V) → (n,), by `sample_probabilities`.

    generator: of any device; None: torch's global one. Temperature 0 draws nothing from it.
    """
    if temperature == 0:
        _check_settings(temperature, top_k, top_p)
        return checked_logits(logits).argmax(-1)
    p = sample_probabilities(logits, temperature, top_k, top_p)
    if not len(p):
        return logits.argmax(-1)
    device = p.device if generator is None else generator.device
    return torch.multinomial(p.to(device), 1, generator=generator)[:, 0].to(logits.device)


@contextmanager
def evaluating(model: nn.Module):
    """In eval mode inside, afterwards as it was, part by part, also after an error or Ctrl-C."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield model.eval()
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def generate(model, prompt, n, temperature=1.0, top_k=None, top_p=None, cache=True,
             generator=None, stop=None, allowed=None):  # fmt: skip
    """The prompt and n further tokens, each drawn given all before it.

    prompt: (T,) or (B, T) int64, T ≥ 1. Returns (T + n,) or (B, T + n). Or a list of B prompts
    (T_i,) of any lengths, written side by side: returns a list of (T_i + n,). Of a longer prompt
    the tokens are given where a shorter one is already written on.
    temperature, top_k, top_p: see `sample_probabilities`; temperature 0 takes the likeliest.
    cache: keep keys and values, so that a step computes one token only. The model sees the
    last `context` tokens. From there on the window slides, each token gets another position,
    no key stays what it was, and each step computes the whole window: the same tokens.
    stop: a token, or several, after which a text is over. What is returned ends with it; of (B, T)
    with the last one, and a text that is over sooner is filled up with its own.
    allowed: (V,) or (B, V) bool, True for tokens that may be drawn.

    The model is in eval mode meanwhile, and afterwards as it was. Without a generator the draws
    come from torch's global one.

    Raises TypeError or ValueError for an empty prompt (give one token to start from, such as a
    newline), a negative n, and what `sample_probabilities` refuses.
    """
    ids, lengths = _prompts(prompt, model.config.vocabulary)  # (B, T) and (B,)
    n = whole(n, "n", least=0)
    _check_settings(temperature, top_k, top_p)
    stop, allowed = _stops(stop, ids, model.config), _allowed(allowed, ids, model.config)
    context, ends = model.config.context, lengths + n
    first, last = int(lengths.min()), ids.shape[1] + n
    ids = torch.cat([ids, ids.new_zeros(len(ids), n)], 1)
    store = model.new_cache() if cache else None
    with evaluating(model):
        for t in range(first, last):
            if cache and t <= context:
                x = model.embed(ids[:, store[0].used : t], store[0].used)  # only what is new
                x = model.hidden(x, store)
            else:
                x = model.hidden(model.embed(ids[:, max(0, t - context) : t]))
            logits = model.unembed(x[:, -1])  # (B, V)
            if allowed is not None:
                logits = logits.masked_fill(~allowed, -math.inf)
            token = draw(logits, temperature, top_k, top_p, generator)
            if first + n < last:  # of a longer prompt this one is given
                token = torch.where(t < lengths, ids[:, t], token)
            if stop is not None:
                token = torch.where(t < ends, token, ids[:, t - 1])  # over: filled up
                over = torch.isin(token, stop) & (t >= lengths) & (t < ends)
                ends = torch.where(over, t + 1, ends)
            ids[:, t] = token
            if stop is not None and bool((ends <= t + 1).all()):
                break
    if isinstance(prompt, torch.Tensor):
        ids = ids[:, : int(ends.max())]
        return ids[0] if prompt.ndim == 1 else ids
    return [row[:end] for row, end in zip(ids, ends.tolist(), strict=True)]


def _prompts(prompt, vocabulary):
    """The prompts side by side, (B, T), zeros after the shorter ones, and their lengths (B,)."""
    cure = "give one token to start from, such as a newline"
    if isinstance(prompt, torch.Tensor):
        inputs.tokens(prompt, "prompt", vocabulary)
        if prompt.ndim not in (1, 2) or not prompt.numel():
            shape = f"the shape {tuple(prompt.shape)}"
            raise refusal("prompt", "(T,) or (B, T) with T of at least 1", shape, cure)
        ids = prompt[None] if prompt.ndim == 1 else prompt
        return ids, torch.full((len(ids),), ids.shape[1], device=ids.device)
    if not isinstance(prompt, list | tuple) or not len(prompt):
        what = "none" if isinstance(prompt, list | tuple) else kind_of(prompt)
        raise refusal("prompt", "token ids, or a list of them", what, kind=TypeError)
    for i, ids in enumerate(prompt):
        inputs.tokens(ids, f"prompt[{i}]", vocabulary)
        if ids.ndim != 1 or not len(ids):
            shape = f"the shape {tuple(ids.shape)}"
            raise refusal(f"prompt[{i}]", "(T,) with T of at least 1", shape, cure)
    lengths = torch.tensor([len(ids) for ids in prompt], device=prompt[0].device)
    return nn.utils.rnn.pad_sequence(list(prompt), batch_first=True), lengths


def _stops(stop, ids, config):
    """The tokens that end a text, (s,), or None."""
    if stop is None:
        return None
    several = stop.tolist() if isinstance(stop, torch.Tensor) else stop
    several = several if isinstance(several, list | tuple | set | range) else [several]
    return torch.tensor(
        [whole(token, "stop", 0, config.vocabulary - 1) for token in several],
        dtype=ids.dtype, device=ids.device,
    )  # fmt: skip


def _allowed(allowed, ids, config):
    """The mask of tokens that may be drawn, (V,) or (B, V) bool, or None."""
    if allowed is None:
        return None
    if not isinstance(allowed, torch.Tensor) or allowed.dtype != torch.bool:
        raise refusal("allowed", "a tensor of bool", kind_of(allowed), kind=TypeError)
    if allowed.shape not in ((config.vocabulary,), (len(ids), config.vocabulary)):
        shapes = f"({config.vocabulary},) or ({len(ids)}, {config.vocabulary})"
        raise refusal("allowed", f"the shape {shapes}", f"{tuple(allowed.shape)}")
    if not allowed.any(-1).all():
        raise refusal("allowed", "one token at least that may be drawn", "none")
    return allowed.to(ids.device)
