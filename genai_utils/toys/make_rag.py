"""Train the encoder and the reader of ``play("rag")`` and measure them.

    python -m genai_utils.toys.make rag

They train on the processor, in one thread, in about three minutes. Two files come out in `weights`:
`rag.safetensors`, both in half precision, and `rag.json`, the record: the settings, how often the
reader is right with and without a passage that answers, what the searches find, and the cost of the
precision.
"""

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.display.page_gpt import quantized_copy
from genai_utils.language import fact_world as world
from genai_utils.language import reading
from genai_utils.toys import rag as toy
from genai_utils.training import fit
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.training.optimizers import Muon

STEPS, RAMP, BATCH, LR, SEED, UNKNOWN = 5_000, 2_000, 32, 1e-2, 0, 0.3
ENCODER_STEPS, ENCODER_BATCH, ENCODER_LR = 600, 256, 1e-2
QUESTIONS = 2_000  # on which it is measured


def train(steps, progress=False, checkpoint=None):
    """The trained reader and encoder, in float32. checkpoint: a folder to go on from."""
    with kept_random_state():
        torch.manual_seed(SEED)
        reader, encoder = toy.blank()
        common = {"seed": SEED, "precision": "fp32", "progress": progress}
        pairs = reading.PairBatches(ENCODER_BATCH, seed=SEED)
        few = min(steps, ENCODER_STEPS)
        fit(encoder, pairs, few, lr=ENCODER_LR, warmup=few // 20, title="encoder", **common)
        reading.reader_start(reader)
        texts = reading.ReadingBatches(BATCH, UNKNOWN, ramp=RAMP, seed=SEED)
        fit(
            reader, texts, steps, optimizer=Muon(reading.reader_groups(reader, LR), lr=LR),
            warmup=steps // 50, clip=1.0, title="reader", checkpoint=checkpoint, every=100,
            **common,
        )  # fmt: skip
    return reader.cpu().eval(), encoder.cpu().eval()


@torch.no_grad()
def measured(reader, count=QUESTIONS):
    """{"right", "cited", "unknown"}: with four passages of which one answers, and without it.

    Each word is said after those that the reader said before, as in the page.
    """
    found = {}
    for unknown in (0.0, 1.0):
        asked = reading.ReadingBatches(count, unknown, world.MOST, questions=1, seed=10**9)
        ids, targets = asked(0)
        place, right = ids == world.INDEX["="], []  # behind it the four words are said
        for _ in range(4):
            said = reader(ids).argmax(-1)[place]
            right.append(round((said == targets[place]).float().mean().item(), 4))
            place = place.roll(1, 1)
            ids[place] = said
        found |= {"unknown": right[2]} if unknown else {"cited": right[2], "right": right[3]}
    return found


def recall(encoder, people=40, wording=0):
    """How often the right sentence of a world is the first that each search finds."""
    facts = world.World(people, seed=10**9)
    lines = [facts.passage(*fact) for fact in facts.facts()]
    found = {}
    for method in toy.METHODS:
        asked = [world.question(*fact, wording) for fact in facts.facts()[:100]]
        hits = [toy.ranked(encoder, lines, q, method)[:1] == [i] for i, q in enumerate(asked)]
        found[method] = round(sum(hits) / len(hits), 4)
    return found


@torch.no_grad()
def make(steps=None, progress=False, checkpoint=None):
    """Train and measure; returns the bytes of the weights and the record, a dict."""
    steps = STEPS if steps is None else steps
    with torch.enable_grad():
        reader, encoder = train(steps, progress, checkpoint)
    parts = (("reader.", reader), ("encoder.", encoder))
    state = {
        name + key: weight.half().contiguous()
        for name, part in parts for key, weight in part.state_dict().items()
    }  # fmt: skip
    payload = safetensors.torch.save(state)
    ids = reading.ReadingBatches(500, UNKNOWN, world.MOST, questions=1, seed=10**9)(0)[0]
    exact = reader(ids).softmax(-1)
    for name, part in parts:
        part.load_state_dict({k: state[name + k].float() for k in part.state_dict()})
    page = quantized_copy(reader)  # what the page has: one byte for each weight of a matrix
    off = (page(ids).softmax(-1) - exact).abs()
    record = {
        "steps": steps, "ramp": RAMP, "batch": BATCH, "lr": LR, "seed": SEED, "unknown": UNKNOWN,
        "encoder": {"steps": min(steps, ENCODER_STEPS), "batch": ENCODER_BATCH, "lr": ENCODER_LR},
        "accuracy": measured(page),
        "questions": QUESTIONS,
        "first": recall(encoder),
        "precision": [round(off.max().item(), 5), round(off.mean().item(), 6)],
        "parameters": sum(weight.numel() for weight in reader.parameters()),
    }  # fmt: skip
    return payload, shipped.sealed(record, payload)
