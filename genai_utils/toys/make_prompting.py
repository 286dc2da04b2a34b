"""Train the small GPT of ``play("prompting")`` and measure what examples are worth to it.

    python -m genai_utils.toys.make prompting

It trains on the processor, in one thread, in about a minute. Two files come out in `weights`:
`prompting.safetensors`, in half precision, and `prompting.json`, the record: the settings, how
often the model is right after 0 to 8 examples, what its heads do, and the cost of the precision.
"""

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language import prompting
from genai_utils.toys import prompting as toy
from genai_utils.training import fit
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.training.optimizers import Muon, muon_groups

STEPS, BATCH, LR, SEED = 1_500, 64, 1e-2, 0
QUESTIONS = 2_000  # on which it is measured, for each number of examples


def train(steps, progress=False):
    """The trained model."""
    with kept_random_state():
        torch.manual_seed(SEED)
        model = prompting.wider_start(toy.blank())
        batches = prompting.StreamBatches(BATCH, toy.PAIRS + 1, seed=SEED)
        fit(
            model, batches, steps, lr=LR, warmup=steps // 20, clip=1.0,
            optimizer=Muon(muon_groups(model, model.blocks), lr=LR), seed=SEED, precision="fp32",
            progress=progress, title="prompting",
        )  # fmt: skip
    return model.cpu().eval()


def measured(model, count=QUESTIONS):
    """Accuracy after 0 to n examples of new tables and shifts, of shuffled labels, and by name."""
    g = torch.Generator().manual_seed(10**9)
    found = {}
    for kind in ("table", "shift"):
        rules = prompting.draw_rules(count, kind, True, g)
        asked = [prompting.questions(rules, k, generator=g) for k in range(prompting.N + 1)]
        found[kind] = [round(prompting.accuracy(model, one), 4) for one in asked]
    named = prompting.questions(rules, 0, described=True, generator=g)
    found["named"] = round(prompting.accuracy(model, named), 4)
    tables = prompting.draw_rules(count, "table", True, g)
    shuffled = prompting.questions(tables, prompting.N, shuffled=True, generator=g)
    found["shuffled"] = round(prompting.accuracy(model, shuffled), 4)
    return found


@torch.no_grad()
def make(steps=None, progress=False):
    """Train and measure; returns the bytes of the weights and the record, a dict."""
    steps = STEPS if steps is None else steps
    with torch.enable_grad():
        model = train(steps, progress)
    exact = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = {name: weight.half().contiguous() for name, weight in exact.items()}
    payload = safetensors.torch.save(state)
    model.load_state_dict({name: weight.float() for name, weight in state.items()})
    page = quantized_copy(model)  # what the page has: one byte for each weight of a matrix
    full = toy.blank()
    full.load_state_dict(exact)

    ids = prompting.StreamBatches(500, toy.PAIRS, "table", held_out=True, seed=10**9).streams(0)
    off = (page(ids).softmax(-1) - full(ids).softmax(-1)).abs()
    scores = [prompting.copying_share(ids, w) for w in prompting.head_weights(page, ids)]
    record = {
        "steps": steps, "batch": BATCH, "lr": LR, "seed": SEED, "streams": steps * BATCH,
        "accuracy": measured(page),
        "questions": QUESTIONS,
        "copying": [[round(share.item(), 4) for share in layer] for layer in scores],
        "precision": [round(off.max().item(), 5), round(off.mean().item(), 6)],
        "parameters": sum(weight.numel() for weight in exact.values()),
    }  # fmt: skip
    return payload, shipped.sealed(record, payload)
