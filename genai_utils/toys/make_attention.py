"""Train the small transformer of ``play("attention")`` and measure where its heads look.

    python -m genai_utils.toys.make attention

It trains on the processor, in one thread, in about two minutes. Two files come out in `weights`:
`attention.safetensors`, in half precision, and `attention.json`, the record: the settings, what
each head looks at, how often the model is right, and the cost of the precision.

Heads as plain as these are one way to do it, and the seed and the first weights were chosen for it,
after looking at the heads. With seed 1, or with first weights ten times GPT's throughout, the model
repeats as well, but no head of its second layer puts more than 0.11 on the letter that came after.
"""

import safetensors.torch
import torch
import torch.nn.functional as F

from genai_utils.data import shipped
from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language.attention import induction_share
from genai_utils.toys import attention as toy
from genai_utils.training import fit
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.training.optimizers import Muon, muon_groups

STEPS, BATCH, LR, SEED = 2_000, 64, 1e-2, 0
FIRST = {"tokens": 15, "positions": 15, "blocks": 7}  # times GPT's first weights
COPIED = 0.5  # share of the steps in which only the letters of a copy count
START, STOP = 0.2, 0.1  # chance that a copy begins, and ends, at a letter
TEXTS = 1_000  # over which the heads are measured


def texts(count, length, spread, generator):
    """Random letters in which pieces come again: ids (B, T), and which are the rest of a copy.

    spread: of the logarithms of the letters' frequencies, drawn anew for each text; 0: all alike.
    """
    on = {"generator": generator}
    frequency = (spread * torch.randn(count, len(toy.SIGNS), **on)).exp()
    ids = frequency.multinomial(length, replacement=True, **on)
    copied = torch.zeros(count, length, dtype=torch.bool)
    source = torch.full((count,), -1)  # the place that is copied from; -1: none
    for t in range(3, length):
        chance = torch.rand(count, **on)
        fresh = (torch.rand(count, **on) * (t - 1)).long()
        goes_on = (source >= 0) & (chance >= STOP)
        begins = (source < 0) & (chance < START)
        source = torch.where(begins, fresh, torch.where(goes_on, source + 1, -1))
        there = ids.gather(1, source.clamp(min=0)[:, None])[:, 0]
        ids[:, t] = torch.where(source >= 0, there, ids[:, t])
        copied[:, t] = goes_on
    return ids, copied


def batches(step, steps):
    """(ids, targets): first all letters are alike and only copies count, then all count.

    So the model first learns to look, and then when not to.
    """
    generator = torch.Generator().manual_seed(1_000_003 * SEED + step)
    early = step < COPIED * steps
    spread = 0.0 if early else torch.rand(1, generator=generator).item()
    ids, copied = texts(BATCH, toy.CONFIG.context + 1, spread, generator)
    wanted = ids[:, 1:]
    return ids[:, :-1], torch.where(copied[:, 1:], wanted, -100) if early else wanted


def train(steps, progress=False):
    """The trained model."""
    with kept_random_state():
        torch.manual_seed(SEED)
        model = toy.blank()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 2:  # GPT's 0.02 is meant for hundreds of numbers, here are 48:
                    weight.mul_(FIRST[name.split(".")[0]])  # with it no head forms in this time
        fit(
            model, lambda step: batches(step, steps), steps, lr=LR, warmup=steps // 20, clip=1.0,
            optimizer=Muon(muon_groups(model, model.blocks), lr=LR), seed=SEED, precision="fp32",
            progress=progress, title="attention",
        )  # fmt: skip
    return model.cpu().eval()


def twice(count, generator):
    """Half a context of letters, all different, then the same again: (B, T)."""
    half = toy.CONFIG.context // 2
    order = torch.rand(count, len(toy.SIGNS), generator=generator).argsort(1)[:, :half]
    return torch.cat([order, order], 1)


def look(model, ids):
    """Shares of each head's weight over the second half of such texts: [layer][head] → dict."""
    half = ids.shape[1] // 2
    place = torch.arange(half, 2 * half)
    found = []
    for weights in toy.maps(model, ids):  # (B, h, T, T)
        at = {"before": place - 1, "two before": place - 2, "itself": place,
              "same": place - half, "first": 0 * place}  # fmt: skip
        shares = {key: weights[..., place, s].mean((0, 2)) for key, s in at.items()}
        shares["after"] = induction_share(ids, weights)
        shares["new"] = weights[:, :, 1:half, 0].mean((0, 2))  # letters that have not come before
        found.append([
            {key: round(shares[key][head].item(), 4) for key in [*toy.TOLD, "new"]}
            for head in range(weights.shape[1])
        ])  # fmt: skip
    return found


def apart(one, other):
    """The largest and the mean difference of two tensors."""
    off = (one - other).abs()
    return [round(off.max().item(), 5), round(off.mean().item(), 6)]


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

    generator = torch.Generator().manual_seed(10**9)
    ids = twice(TEXTS, generator)
    half = ids.shape[1] // 2
    mixed, copied = texts(TEXTS, toy.CONFIG.context + 1, 0.0, generator)
    seen, wanted, copied = mixed[:, :-1], mixed[:, 1:], copied[:, 1:]
    logits = page(seen)
    nll = F.cross_entropy(logits.mT, wanted, reduction="none")
    right = logits.argmax(-1) == wanted
    again = page(ids[:, :-1]).argmax(-1)[:, half:] == ids[:, half + 1 :]
    record = {
        "steps": steps, "batch": BATCH, "lr": LR, "seed": SEED, "texts": TEXTS,
        "heads": look(page, ids),
        "even": round((1 / torch.arange(half + 1, 2 * half + 1)).mean().item(), 4),
        "right": {
            "second half": round(again.float().mean().item(), 4),
            "copies": round(right[copied].float().mean().item(), 4),
        },
        "nll": {
            "copies": round(nll[copied].mean().item(), 4),
            "rest": round(nll[~copied].mean().item(), 4),
        },
        "precision": {  # what the page's weights cost: largest and mean difference
            "attention": apart(toy.maps(page, seen), toy.maps(full, seen)),
            "probabilities": apart(logits.softmax(-1), full(seen).softmax(-1)),
        },
        "parameters": sum(weight.numel() for weight in exact.values()),
    }  # fmt: skip
    return payload, shipped.sealed(record, payload)
