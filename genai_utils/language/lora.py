"""LoRA: teach a trained model something new by small matrices beside its frozen ones.

Shapes: B sequences in a batch, T tokens; a matrix W (m, n) makes m numbers of n, an adapter of rank
r beside it is A (r, n) and B (m, r).

Source: Hu et al. 2022; lecture item A63.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.inputs import kind_of, number, refusal, whole

TARGETS = ("attention.qkv", "attention.out", "mlp.0", "mlp.2")  # the matrices of a `Block`
ALPHA = 16.0


def low_rank_linear(x, weight, bias, A, B, alpha):
    """A linear layer with a low-rank sum beside it.

        y = x Wᵀ + b + (α / r) (x Aᵀ) Bᵀ

    x (…, n); weight W (m, n); bias b (m,) or None; A (r, n), B (m, r). The sum is taken through
    the r numbers x Aᵀ: the matrix B A, as large as W, is never made. Returns (…, m).
    Source: Hu et al. 2022, eq. 3; lecture item A63.
    """
    return F.linear(x, weight, bias) + alpha / len(A) * F.linear(F.linear(x, A), B)


def adapter_size(shapes, rank):
    """How many weights an adapter of a rank has beside matrices: r (m + n) for each.

    shapes: a list of the (m, n) of the matrices; without any it is 0. rank: 1 ≤ r ≤ the least side
    of all. Raises ValueError for another rank. Source: Hu et al. 2022, section 4.2; item A63.
    """
    if rank < 1 or any(rank > min(shape) for shape in shapes):
        raise ValueError(f"rank must be from 1 to the least side of each matrix, got {rank}")
    return sum(rank * (m + n) for m, n in shapes)


class LoRALinear(nn.Module):
    """A frozen linear layer, and beside it any number of adapters; those that are on are added.

        y = base(x) + Σ_name s · (α / r) (x Aᵀ) Bᵀ

    base: nn.Linear, or another layer with in_features and out_features, such as one of four bits.
    strength: name → s of the adapters that are on. forward: (…, n) → (…, m).
    """

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.alpha, self.strength = {}, {}
        self.kept = None  # the weights as they were, while adapters are merged into them

    def add(self, name, rank, alpha, generator=None):
        """A new adapter: A normal with variance 1 / n, B zero, so that nothing changes at first."""
        n, m = self.base.in_features, self.base.out_features
        whole(rank, "rank", most=min(m, n))
        like = next(self.base.parameters(), next(self.base.buffers(), None))
        made = torch.randn(rank, n, generator=generator) / n**0.5
        self.A[name] = nn.Parameter(made.to(like.device))
        self.B[name] = nn.Parameter(torch.zeros(m, rank, device=like.device))
        self.alpha[name] = alpha

    def update(self, name):
        """What the adapter adds to W at strength 1: (α / r) B A, (m, n)."""
        A, B = self.A[name], self.B[name]
        return self.alpha[name] / len(A) * B @ A

    def forward(self, x):
        y = self.base(x)
        for name, s in self.strength.items() if self.kept is None else ():
            A, B = self.A[name], self.B[name]
            y = y + s * self.alpha[name] / len(A) * F.linear(F.linear(x, A), B)
        return y

    def require_plain(self):
        """Raises ValueError where the base keeps its weights in fewer bits."""
        if not isinstance(self.base, nn.Linear):
            raise refusal(
                "merge", "layers of nn.Linear", type(self.base).__name__,
                "make plain layers of them first: quantization.dequantized(model)",
            )  # fmt: skip

    @torch.no_grad()
    def merge(self):
        """Add what is on to the base's own weight; from then on a plain layer is computed."""
        self.require_plain()
        self.kept = self.base.weight.clone()
        for name, s in self.strength.items():
            self.base.weight += s * self.update(name)

    @torch.no_grad()
    def unmerge(self):
        """Put the weight back as it was, bit for bit."""
        self.base.weight.copy_(self.kept)
        self.kept = None


def lora_layers(model):
    """Where the model has adapters beside a layer: path → LoRALinear."""
    return {path: m for path, m in model.named_modules() if isinstance(m, LoRALinear)}


def adapters(model):
    """The names of the model's adapters, in the order in which they were added."""
    return list(dict.fromkeys(name for layer in lora_layers(model).values() for name in layer.A))


def replace(model, path, module):
    """Put a module in the place of the model's part at `path`."""
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def add_adapter(model, name, rank, alpha=ALPHA, targets=TARGETS, generator=None):
    """Give a model (a `Stack`) an adapter beside its matrices, and switch it on, alone.

    All weights of the model are frozen; the adapter's can be trained. B is zero, so the outputs are
    what they were. name: a word, not yet that of an adapter. rank: r, at most the least side of
    each matrix. alpha: the sum is scaled by α / r. targets: parts of each block. generator: of A's
    numbers; None: torch's global one. Returns the model, changed.

    Raises ValueError or TypeError for another name, rank, alpha or target; the model is then as it
    was.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise refusal("name", "a word such as 'shakespeare'", kind_of(name))
    if name in adapters(model):
        raise refusal("name", "one that no adapter has", repr(name), "load or train that one")
    _not_merged(model)
    alpha = number(alpha, "alpha", above=0)
    targets = inputs.texts(targets, "targets", "put it into a tuple: ('mlp.0',)")
    found = {}
    for i, block in enumerate(model.blocks):
        parts = dict(block.named_modules())
        for target in targets:
            part = parts.get(target)
            if not hasattr(getattr(part, "base", part), "in_features"):
                raise refusal("targets", f"linear layers of a block, {', '.join(TARGETS)}", target)
            found[f"blocks.{i}.{target}"] = part
    for part in found.values():
        base = getattr(part, "base", part)
        whole(rank, "rank", most=min(base.in_features, base.out_features))
    for path, part in found.items():
        if not isinstance(part, LoRALinear):
            replace(model, path, part := LoRALinear(part))
        part.add(name, rank, alpha, generator)
    return switch(model, name)


def switch(model, names):
    """Say which adapters are on; those can be trained, and nothing else of the model.

    names: one name, several, a dict name → strength (1: as trained, 0.5: half of what it adds,
    negative: away from it), or None for the model without adapters. Returns the model.
    Raises ValueError for a name that is none, or while adapters are merged into the weights.
    """
    if names is None or isinstance(names, str):
        names = [] if names is None else [names]
    strengths = names if isinstance(names, dict) else dict.fromkeys(names, 1)
    known = adapters(model)
    for name, s in strengths.items():
        if name not in known:
            raise refusal("names", f"adapters of this model ({', '.join(known) or 'none'})", name)
        number(s, f"strength of {name}")
    _not_merged(model)
    model.requires_grad_(False)
    for layer in lora_layers(model).values():
        layer.strength = {name: float(s) for name, s in strengths.items() if name in layer.A}
        for name in layer.strength:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)
    return model


def merge(model):
    """Add the adapters that are on into the weights: no further work when the model is used.

        W ← W + Σ_name s · (α / r) B A

    Raises ValueError where they are merged already, or any of the weights are no plain numbers; the
    model is then as it was.
    """
    _not_merged(model)
    layers = lora_layers(model).values()
    for layer in layers:
        layer.require_plain()
    for layer in layers:
        layer.merge()
    return model


def unmerge(model):
    """Take merged adapters out again: the weights are what they were, to the last bit."""
    layers = lora_layers(model).values()
    if not any(layer.kept is not None for layer in layers):
        raise refusal("model", "merged adapters", "none that are merged")
    for layer in layers:
        layer.unmerge()
    return model


def _not_merged(model):
    if any(layer.kept is not None for layer in lora_layers(model).values()):
        raise refusal("model", "adapters beside the weights", "merged ones", "unmerge(model) first")


def plain(model):
    """A copy without adapters, those that are on merged in: a model like the one before LoRA."""
    made = copy.deepcopy(model)
    for path, layer in lora_layers(made).items():
        if layer.kept is None and layer.strength:
            layer.merge()
        replace(made, path, layer.base)
    return made.requires_grad_(True)


def trainable(model):
    """How many weights are trained, and how many the model has without its adapters."""
    both = [d for layer in lora_layers(model).values() for d in (layer.A, layer.B)]
    beside = sum(p.numel() for d in both for p in d.values())
    coded = sum(getattr(m, "coded", 0) for m in model.modules())  # weights kept in fewer bits
    every = sum(p.numel() for p in model.parameters()) + coded - beside
    return sum(p.numel() for p in model.parameters() if p.requires_grad), every


def training_bytes(model):
    """Bytes that a training by Adam keeps: weights, gradients, and two means for each weight moved.

    Activations, which depend on the batch, are not in it. Returns a dict with the sum as "all".
    """
    held = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    moved = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    found = {"weights": held, "gradients": moved, "optimiser": 2 * moved}
    return found | {"all": sum(found.values())}
