"""Is our LoRA the one of peft?

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.lora [--store]        # do they agree?
    python -m benchmarks --only lora           # which is quicker?

Both get the same GPT and the same matrices A and B. The logits, the loss, its gradients by A and B,
the losses of five steps of gradient descent, and the logits with merged weights must be the same,
or the benchmark stops. --store writes what peft gave to `lora_peft.json`, which a test of CI holds
our numbers against without peft. Speed: training steps of the adapters of a larger GPT.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import copy
import json
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.compare import Race, Row
from benchmarks.steps import training_race
from genai_utils.language import lora
from genai_utils.language.gpt import GPT, GPTConfig, next_token_loss

STORED = Path(__file__).with_name("lora_peft.json")
SIZES = {"vocabulary": 13, "context": 12, "layers": 2, "heads": 2, "dim": 8}
RANK, ALPHA, STEPS, LR = 3, 6.0, 5, 0.5


def numbered(parameters, shift=0.0):
    """Give each weight a number that any machine makes: sines, small."""
    count = 0
    with torch.no_grad():
        for weight in parameters:
            places = torch.arange(count, count + weight.numel(), dtype=torch.float64)
            weight.copy_(0.3 * torch.sin(1.7 * places + 0.3 + shift).reshape(weight.shape))
            count += weight.numel()


def base():
    """The GPT that both are given, in double precision."""
    model = GPT(GPTConfig(**SIZES)).double()
    numbered(model.parameters())
    return model.eval()


def text():
    """A batch (3, 12) of tokens."""
    return (torch.arange(36) ** 2 % SIZES["vocabulary"]).view(3, 12)


def told(model, pairs, merge):
    """Numbers of a model with adapters. pairs: A and B of each matrix, in order."""
    numbered([p for pair in pairs for p in pair], shift=1.0)
    ids = text()
    found = {"logits": model(ids[:, :-1])[:, -1].flatten().tolist()}
    loss = next_token_loss(model(ids[:, :-1]), ids)
    loss.backward()
    found["gradients"] = [p.grad.abs().sum().item() for pair in pairs for p in pair]
    found["losses"] = [loss.item()]
    for _ in range(STEPS):
        with torch.no_grad():
            for p in (p for pair in pairs for p in pair):
                p -= LR * p.grad
                p.grad = None
        loss = next_token_loss(model(ids[:, :-1]), ids)
        loss.backward()
        found["losses"].append(loss.item())
    merge()
    with torch.no_grad():
        found["merged"] = model(ids[:, :-1])[:, -1].flatten().tolist()
    return found


def ours():
    """Our numbers."""
    model = lora.add_adapter(base(), "new", RANK, ALPHA).double()
    layers = lora.lora_layers(model).values()
    pairs = [(layer.A["new"], layer.B["new"]) for layer in layers]
    return told(model, pairs, lambda: lora.merge(model))


def with_peft(model, rank, alpha):
    """The model with peft's adapters beside the same matrices."""
    from peft import LoraConfig, get_peft_model

    names = [
        target.rpartition(".")[2] if "mlp" not in target else target for target in lora.TARGETS
    ]
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0)
    return get_peft_model(model, config)


def peft_pairs(model):
    """A and B of each matrix, in order."""
    layers = [m for m in model.modules() if hasattr(m, "lora_A")]
    return [(m.lora_A["default"].weight, m.lora_B["default"].weight) for m in layers]


def theirs():
    """peft's numbers."""
    model = with_peft(base(), RANK, ALPHA).double()
    return told(model.base_model.model, peft_pairs(model), model.merge_adapter)


def race(quick) -> Race:
    """12 steps a turn, or 4, of adapters of rank 8 in a GPT of 4 layers of 256 channels."""
    torch.manual_seed(0)
    made = GPT(GPTConfig(65, 128, 4, 4, 256))
    ours = lora.add_adapter(copy.deepcopy(made), "new", 8)
    peer = with_peft(copy.deepcopy(made), 8, lora.ALPHA)
    pairs = [(layer.A["new"], layer.B["new"]) for layer in lora.lora_layers(ours).values()]
    with torch.no_grad():
        for mine, its in zip(pairs, peft_pairs(peer), strict=True):
            for a, b in zip(mine, its, strict=True):
                b.copy_(a)
    batches = list(torch.randint(65, (4 if quick else 12, 16, 129)))

    def loss_of(model, ids):
        return next_token_loss(model(ids[:, :-1]), ids)

    return training_race((ours, loss_of), (peer, loss_of), batches, len(batches))


ROWS = [
    Row("lora", "15_lora", "LoRA of rank 8, GPT 4 layers of 256, batch 16 × 128", "peft", "steps/s",
        race, "loss after the steps", slack=1e-3, small="4 steps a turn")
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    mine, its = ours(), theirs()
    for name, wanted in its.items():
        off = (torch.tensor(mine[name]) - torch.tensor(wanted)).abs().max().item()
        print(f"{name}: {len(wanted)} numbers, largest difference {off:.1e}")
        if off > 1e-10:
            raise SystemExit(f"{name}: ours are not peft's.")
    if options.store:
        versions = {name: metadata.version(name) for name in ("peft", "torch")}
        about = {"model": SIZES, "rank": RANK, "alpha": ALPHA, "steps": STEPS, "lr": LR}
        STORED.write_text(json.dumps({**versions, **about, **its}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
