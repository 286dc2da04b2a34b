"""A small GPT made ready for a page: one byte per weight, and what the page computes with them.

A page model is any torch module whose state dict has the names of ``genai_utils.language.gpt``:
tokens, positions, blocks.i.{norm1, attention.qkv, attention.out, norm2, mlp.0, mlp.2}, norm; the
output is the transposed token embedding. Nothing here imports such a model.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.display import page_bytes

# of each block; those with a matrix first have a bias too, as the norms have
LAYERS = ("norm1", "attention.qkv", "attention.out", "norm2", "mlp.0", "mlp.2")
DIFFERENCE = 1e-3  # of logits, relative to the largest: beyond it the module is another function


@dataclass
class Sizes:
    """What a page needs to know of the model beside its weights."""

    vocabulary: int
    context: int
    layers: int
    heads: int
    dim: int
    hidden: int
    eps: float


def _expected(sizes):
    """name -> shape of all weights, in the order in which a page reads them."""
    d, hidden = sizes.dim, sizes.hidden
    rows = {"attention.qkv": (3 * d, d), "attention.out": (d, d), "mlp.0": (hidden, d),
            "mlp.2": (d, hidden)}  # fmt: skip
    shapes = {"tokens.weight": (sizes.vocabulary, d), "positions.weight": (sizes.context, d)}
    for i in range(sizes.layers):
        for layer in LAYERS:
            shape = rows.get(layer, (d,))
            shapes[f"blocks.{i}.{layer}.weight"] = shape
            shapes[f"blocks.{i}.{layer}.bias"] = shape[:1]
    return {**shapes, "norm.weight": (d,), "norm.bias": (d,)}


def sizes_of(model):
    """The :class:`Sizes` of a model; raises where it has not the weights of a GPT.

    Raises:
        TypeError: no torch module, weights missing or too many, no ``config.heads``.
        ValueError: weights of other shapes, heads that do not divide the dimension.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module such as a GPT, got {type(model).__name__}.")
    shapes = {name: tuple(w.shape) for name, w in model.state_dict().items()}
    needed = ("tokens.weight", "positions.weight", "norm.weight", "blocks.0.mlp.0.weight")
    missing = [name for name in needed if name not in shapes]
    if missing:
        raise TypeError(
            f"A page can compute a GPT with tokens, positions, blocks and norm; this "
            f"{type(model).__name__} has no {missing[0]}."
        )
    heads = getattr(getattr(model, "config", None), "heads", None)
    if isinstance(heads, bool) or not isinstance(heads, int):
        raise TypeError(f"model.config.heads must be a whole number, got {heads!r}.")
    vocabulary, dim = shapes["tokens.weight"]
    if heads < 1 or dim % heads:
        raise ValueError(f"The {dim} channels must be a multiple of the heads, got {heads} heads.")
    eps = {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)} or {1e-5}
    if len(eps) > 1:
        raise ValueError(f"All layer norms must have the same eps, got {sorted(eps)}.")
    sizes = Sizes(
        vocabulary=vocabulary,
        context=shapes["positions.weight"][0],
        layers=len({name.split(".")[1] for name in shapes if name.startswith("blocks.")}),
        heads=heads,
        dim=dim,
        hidden=shapes["blocks.0.mlp.0.weight"][0],
        eps=eps.pop(),
    )
    expected = _expected(sizes)
    if shapes.keys() != expected.keys():
        odd = sorted(shapes.keys() ^ expected.keys())
        what = "lacks" if odd[0] in expected else "has, but a page does not know,"
        raise TypeError(f"This {type(model).__name__} {what} {odd[0]} ({len(odd)} such weights).")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {shapes[name]}.")
    return sizes


@torch.no_grad()
def quantized_copy(model):
    """A copy of the model with the weights that a page has: matrices rounded to one byte.

    Each row of a matrix (an output, or a token's vector) has a scale of its own, so that its
    largest weight becomes ±127; a weight moves by at most half a scale. Biases and norms stay.
    Compare the loss of the copy with the model's to see what the rounding costs.

    Raises as :func:`sizes_of`, and ValueError for weights that are not finite.
    """
    sizes_of(model)
    return page_bytes.rounded_copy(model)


@torch.no_grad()
def logits(weights, sizes, ids):
    """What the page computes, in tensors: ids (T,) → logits of the next token (T, V).

    weights: a state dict in float32. The same steps as ``static/page_gpt.js``, whole text at once.
    """
    d, size = sizes.dim, sizes.dim // sizes.heads

    def norm(x, name):
        w, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.layer_norm(x, (d,), w, b, sizes.eps)

    def linear(x, name):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    T = len(ids)
    ahead = torch.ones(T, T, dtype=torch.bool).triu(1)
    x = weights["tokens.weight"][ids] + weights["positions.weight"][:T]  # (T, d)
    for i in range(sizes.layers):
        at = f"blocks.{i}"
        qkv = linear(norm(x, f"{at}.norm1"), f"{at}.attention.qkv").view(T, 3, sizes.heads, size)
        q, k, v = qkv.permute(1, 2, 0, 3)  # each (h, T, d/h)
        scores = (q @ k.transpose(1, 2) / math.sqrt(size)).masked_fill(ahead, -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(T, d)
        x = x + linear(mixed, f"{at}.attention.out")
        wide = F.gelu(linear(norm(x, f"{at}.norm2"), f"{at}.mlp.0"), approximate="tanh")
        x = x + linear(wide, f"{at}.mlp.2")
    return norm(x, "norm") @ weights["tokens.weight"].T


def window(n, context):
    """How many of n tokens the model sees: all while they fit; then half a context, growing again.

    When the context is full, the last half of it is encoded anew, as the first positions, and the
    text goes on from there; the older half is forgotten.
    """
    half = max(context // 2, 1)
    return n if n <= context else half + (n - context - 1) % (context - half + 1)


def _mulberry32(seed):
    """Numbers in [0, 1), the same as in the page (Tommy Ettinger's generator, public domain)."""
    state = seed & 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = ((state ^ state >> 15) * (state | 1)) & 0xFFFFFFFF
        t ^= (t + (((t ^ t >> 7) * (t | 61)) & 0xFFFFFFFF)) & 0xFFFFFFFF
        yield (t ^ t >> 14) / 2**32


def draw(scores, temperature, top_p, u):
    """One token: the likeliest at temperature 0, else one of the fewest that hold ``top_p``.

    scores: (V,) logits. u: a number in [0, 1) that decides.
    """
    if temperature == 0:
        return int(scores.argmax())
    p = np.exp((scores - scores.max()) / temperature)
    order = np.argsort(-p, kind="stable")
    mass = np.cumsum(p[order]) / p.sum()
    keep = min(int((mass < top_p).sum()) + 1, len(p))
    place = np.searchsorted(mass[:keep], u * mass[keep - 1], side="right")
    return int(order[min(place, keep - 1)])


class PageGPT:
    """A model with its weights rounded, computed as the page computes it.

    Raises as :func:`quantized_copy`, and ValueError where the module itself gives other logits
    than a pre-norm GPT-2 with tanh-GELU and tied output has with these weights.
    """

    OTHERS = 4  # likely tokens that are kept beside the one drawn

    def __init__(self, model):
        rounded = quantized_copy(model).cpu().float().eval()
        self.sizes, self.weights = sizes_of(rounded), rounded.state_dict()
        ids = torch.arange(min(self.sizes.context, 12)) % self.sizes.vocabulary
        ours = logits(self.weights, self.sizes, ids)
        try:
            with torch.no_grad():
                theirs = rounded(ids[None])[0]
            same = (ours - theirs).abs().max() <= DIFFERENCE * theirs.abs().max().clamp(1e-3)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise TypeError(f"model(ids) must give logits (B, T, V); it said: {error}") from error
        if not same:
            raise ValueError(
                "The module does not compute what a page computes with its weights: pre-norm "
                "blocks, causal attention, tanh-GELU, the token embedding as output."
            )

    @property
    def count(self):
        """How many weights there are."""
        return sum(weight.numel() for weight in self.weights.values())

    def next_logits(self, ids):
        """Logits of the token that follows a list of ids, (V,) float64; :func:`window` applies."""
        seen = torch.tensor(ids[-window(len(ids), self.sizes.context) :])
        return logits(self.weights, self.sizes, seen)[-1].double().numpy()

    def write(self, ids, n, temperature, top_p, seed):
        """n further tokens: [[id, probability, likely ids, their probabilities]]."""
        ids, found, random = list(ids), [], _mulberry32(seed)
        for _ in range(n):
            scores = self.next_logits(ids)
            p = np.exp(scores - scores.max())
            p /= p.sum()
            u = next(random) if temperature else 0.0
            token = draw(scores, temperature, top_p, u)
            likely = np.argsort(-p, kind="stable")[: self.OTHERS]
            shares = p[likely].round(4).tolist()
            found.append([token, round(float(p[token]), 6), likely.tolist(), shares])
            ids.append(token)
        return found

    def export(self):
        """The model as JSON: the sizes, and its weights as `page_bytes.export` writes them down."""
        weights = page_bytes.export({name: self.weights[name] for name in _expected(self.sizes)})
        return {**asdict(self.sizes), "weights": weights["bytes"]}
