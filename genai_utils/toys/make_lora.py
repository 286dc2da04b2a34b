"""Train the small GPT of ``play("lora")`` and its two adapters, and measure them.

    python -m genai_utils.toys.make lora

The base reads Wikipedia, letter by letter. Then it is frozen, and an adapter of rank 4 beside its
matrices reads Shakespeare, another one NumPy's manual (its docstrings). It trains on the processor,
in one thread, in about a minute. Two files come out in `weights`: `lora.safetensors`, the base's
matrices in one byte for each weight, the rest in half precision, and `lora.json`, the record: the
settings, the loss on held-out pieces of the three texts with each adapter on, and the share of the
weights that an adapter has. Another version of NumPy has another manual.
"""

import copy

import safetensors.torch
import torch

from genai_utils import data, evaluation
from genai_utils.data import shipped
from genai_utils.display.page_bytes import quantize
from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language import lora
from genai_utils.language.gpt import GPT
from genai_utils.toys import lora as toy
from genai_utils.training import WindowBatches, fit
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.training.optimizers import Muon, muon_groups
from genai_utils.training.schedules import trapezoid

STEPS, BATCH, LR, SEED = 1_200, 16, 1.5e-2, 0
ADAPTER_STEPS, ADAPTER_LR = 300, 5e-3
HELD_OUT = 20_000  # letters of each text on which the losses are measured


def texts():
    """name → (letters to train, letters held out): the last tenth of each; of the encyclopaedia
    every tenth article."""
    articles = [article.text for article in data.wikipedia()]
    seen = "\n\n".join(text for i, text in enumerate(articles) if i % 10)
    new = "\n\n".join(text for i, text in enumerate(articles) if i % 10 == 0)
    found = {"wikipedia": (toy.encode(seen), toy.encode(new))}
    manual = "\n\n\n".join(each.text for each in data.docstrings(("numpy",)))
    for name, text in (("shakespeare", data.shakespeare()), ("manual", manual)):
        ids = toy.encode(text)
        cut = int(0.9 * len(ids))
        found[name] = (ids[:cut], ids[cut:])
    return found


def train_base(ids, steps, progress=False, checkpoint=None):
    """The base: it reads the encyclopaedia."""
    with kept_random_state():
        torch.manual_seed(SEED)
        model = GPT(toy.CONFIG)
        windows = WindowBatches(ids, toy.CONFIG.context + 1, BATCH, seed=SEED)

        def plan(step):
            return float(trapezoid(torch.tensor([step]), steps, max(1, steps // 20), 0.6 * steps))

        optimizer = Muon(muon_groups(model, model.blocks), lr=LR)
        fit(
            model, windows, steps, optimizer=optimizer, schedule=plan, clip=1.0, seed=SEED,
            precision="fp32", progress=progress, title="base", checkpoint=checkpoint, every=10,
        )  # fmt: skip
    return model.cpu().eval()


def train_adapter(model, name, ids, steps, progress=False, checkpoint=None):
    """One more adapter beside the base, trained alone."""
    with kept_random_state():
        torch.manual_seed(SEED)
        lora.add_adapter(model, name, toy.RANK)
        windows = WindowBatches(ids, toy.CONFIG.context + 1, BATCH, seed=SEED)
        fit(
            model, windows, steps, lr=ADAPTER_LR, warmup=steps // 20, clip=1.0, seed=SEED,
            precision="fp32", progress=progress, title=name, checkpoint=checkpoint, every=10,
        )  # fmt: skip
    return model.cpu().eval()


@torch.no_grad()
def losses(model, held_out):
    """Nats per letter of each text, with no adapter and with each: name or "none" → text → nats."""
    found = {}
    for on in (None, *lora.adapters(model)):
        lora.switch(model, on)
        found[on or "none"] = {
            text: round(evaluation.next_token_nll(model, ids, toy.CONFIG.context), 4)
            for text, ids in held_out.items()
        }
    return found


def tensors_of(model):
    """What is stored: the base with matrices in bytes, and A and B of each adapter in halves."""
    state = {}
    for name, weight in lora.plain(lora.switch(model, None)).state_dict().items():
        if weight.ndim == 2:
            whole, scale = quantize(weight)
            state |= {f"{name}.whole": whole, f"{name}.scale": scale}
        else:
            state[name] = weight.half()
    for path, layer in lora.lora_layers(model).items():
        for name in layer.A:
            state |= {f"{path}.{which}.{name}": p[name].half()
                      for which, p in (("A", layer.A), ("B", layer.B))}  # fmt: skip
    return {name: t.detach().contiguous() for name, t in state.items()}


def make(steps=None, progress=False, checkpoint=None):
    """Train and measure; returns the bytes of the weights and the record, a dict.

    checkpoint: a folder in which interrupted trainings are kept, to be taken up again.
    """
    steps = STEPS if steps is None else steps
    few = min(ADAPTER_STEPS, steps)
    read = texts()
    at = (lambda name: None) if checkpoint is None else (lambda name: f"{checkpoint}/{name}")
    base = train_base(read["wikipedia"][0], steps, progress, at("base"))
    unrounded = {
        name: round(evaluation.next_token_nll(base, ids[:HELD_OUT], toy.CONFIG.context), 4)
        for name, (_, ids) in read.items()
    }
    base = quantized_copy(base)  # the adapters learn beside the base that the page has
    model = copy.deepcopy(base)
    with kept_random_state():
        for name in toy.ADAPTERS:  # each is trained without the other
            alone = train_adapter(copy.deepcopy(base), name, read[name][0], few, progress, at(name))
            its = lora.lora_layers(alone)
            lora.add_adapter(model, name, toy.RANK)
            for path, layer in lora.lora_layers(model).items():
                layer.A[name].data.copy_(its[path].A[name])
                layer.B[name].data.copy_(its[path].B[name])
    payload = safetensors.torch.save(tensors_of(model))
    page = toy.build(payload)
    held_out = {name: ids[:HELD_OUT] for name, (_, ids) in read.items()}
    lora.switch(page, toy.ADAPTERS[0])
    moved, every = lora.trainable(page)
    record = {
        "steps": steps, "batch": BATCH, "lr": LR, "seed": SEED, "rank": toy.RANK,
        "adapter_steps": few, "adapter_lr": ADAPTER_LR,
        "nats": losses(page, held_out),
        "unrounded": unrounded,
        "parameters": every,
        "adapter": moved,
        "pieces": {name: toy.decode(ids[: toy.PIECE]) for name, ids in held_out.items()},
    }  # fmt: skip
    return payload, shipped.sealed(record, payload)
