"""Train the two small networks of ``play("scenes")`` and measure what they understand.

    python -m genai_utils.toys.make scenes

They train on the processor, in one thread, in about four minutes, on scenes with digits of MNIST's
training part (which must be on this machine). Two files come out in `weights`:
`scenes.safetensors`, in half precision, with the sheet of 400 scenes and its vectors, and
`scenes.json`, the record: the settings, what was measured on new scenes, and the cost of the
precision.
"""

import safetensors.torch
import torch

from genai_utils import data
from genai_utils.data import shipped
from genai_utils.display import page_bytes
from genai_utils.toys import scenes as toy
from genai_utils.training import fit
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.vision import clip, contrastive, scenes

STEPS, BATCH, LR, SEED = 3_000, 128, 5e-3, 0
FIRST = 4  # in a quarter of the steps captions hardly say more than the kind
TESTED = 2_000  # scenes, of each sort


def train(steps, progress=False):
    """The trained model."""
    say = {"say": scenes.BRIEF, "first": steps // FIRST}
    batches = scenes.SceneBatches(BATCH, seed=SEED, **say)
    with kept_random_state():
        torch.manual_seed(SEED)
        model = toy.network()
        fit(
            model, batches, steps, optimizer=clip.muon(model, LR), warmup=steps // 20, clip=1.0,
            seed=SEED, precision="fp32", progress=progress, title="scenes",
        )  # fmt: skip
    return model.cpu().eval()


@torch.no_grad()
def measured(model, count=TESTED):
    """The share of new scenes of which kind and colour are read right, of seen and unseen pairs."""
    prompts = model.text(scenes.encode(toy.readings()))[:, None]  # (K, 1, d)
    found = {}
    for name, unseen in (("seen", False), ("unseen", True)):
        generator = torch.Generator().manual_seed(10**9)
        table = scenes.draw(count, generator, unseen)
        x = scenes.render(table, generator, "test")
        read = contrastive.zero_shot(model.image(x), prompts).argmax(1)
        right = read == table[:, scenes.KIND] * len(scenes.COLOURS) + table[:, scenes.COLOUR]
        found[name] = round(right.double().mean().item(), 4)
    return found


@torch.no_grad()
def make(steps=None, progress=False):
    """Train and measure; returns the bytes of the weights and the record. Needs MNIST."""
    steps = STEPS if steps is None else steps
    data.mnist("test")
    if "mnist" not in data.used():
        raise data.DataError("the toy of scenes needs MNIST, not its stand-in; set GENAI_DATA")
    with torch.enable_grad():
        model = train(steps, progress)
    state = {name: weight.half().contiguous() for name, weight in model.state_dict().items()}
    full, page = model, page_bytes.rounded_copy(toy.network(state).eval())
    generator = torch.Generator().manual_seed(5)
    table = scenes.draw(toy.ACROSS * toy.DOWN, generator, unseen=None)
    sheet = toy.packed(scenes.render(table, generator, "test", noise=0.0))
    kept = torch.frombuffer(bytearray(sheet), dtype=torch.uint8)
    vectors = toy.sheet_vectors(page, sheet)
    payload = safetensors.torch.save({**state, "sheet": kept, "vectors": vectors})
    x, ids = toy.unpacked(sheet), scenes.encode(toy.readings())
    off = page.image(x) @ page.text(ids).T - full.image(x) @ full.text(ids).T
    record = {
        "steps": steps, "batch": BATCH, "lr": LR, "seed": SEED, "pairs": steps * BATCH,
        "parameters": sum(p.numel() for p in model.parameters()),
        "test": measured(page), "test_scenes": TESTED,
        "precision": [round(off.abs().max().item(), 4), round(off.abs().mean().item(), 5)],
    }  # fmt: skip
    return payload, shipped.sealed(record, payload)
