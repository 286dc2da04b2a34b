"""Train the two classifiers of ``play("verdict")``: one reads raw reviews first, one does not.

    python -m genai_utils.toys.make verdict

It needs the film reviews (chapter 11's; they must be on this machine), and takes about three
minutes on a processor, in one thread. Two files come out in `weights`: `verdict.safetensors`, both
models in half precision, and `verdict.json`, the record: settings, pieces, examples, and how many
of the test sentences each model gets right. Each model's learning rate was chosen on the validation
sentences, from RATES. The examples are the first test sentences of a fitting length, chosen by
nothing else.
"""

import copy

import safetensors.torch
import torch

from genai_utils import data
from genai_utils.data import shipped
from genai_utils.language.finetuning import FineTuned, classification, pack, starting_point
from genai_utils.language.tokenizer import train_wordpiece
from genai_utils.toys import verdict as toy
from genai_utils.training import TensorBatches, WindowBatches, adamw, fit
from genai_utils.training.checkpoint import kept_random_state

PIECES, LABELS, TEST, VALIDATION = 1_280, 5_000, 2_000, 1_000
STEPS, READ, TUNING, BATCH, SEED = 3_000, 16, 300, 32, 0  # READ: texts in a step of pre-training
RATES, DROPOUT = (1e-3, 3e-3, 6e-3), 0.1
EXAMPLES, WORDS = 8, (8, 20)  # how many sentences are shown, and of how many words


def prepare():
    """Ids (n, 1, T) and labels (n,) of all sentences, the raw ids of the training part, pieces."""
    reviews = data.reviews()
    if "reviews" not in data.used():
        raise data.DataError("the verdict toy needs the film reviews; set GENAI_DATA")
    raw = reviews.texts[TEST + VALIDATION :]
    pieces = train_wordpiece(raw, PIECES)
    cut = pieces.encode_all(reviews.texts)
    length = toy.SIZES["context"]
    ids = pack([classification(row[: length - 2]) for row in cut], length)
    text = torch.cat(
        [row for rows in map(classification, cut[TEST + VALIDATION :]) for row in rows]
    )
    return reviews, ids, text, pieces


def tune(model, ids, labels, steps, lr):
    """A copy of a language model, fine-tuned."""
    with kept_random_state():
        torch.manual_seed(SEED + 1)
        net = FineTuned(starting_point(model, DROPOUT))
    batches = TensorBatches(ids, labels, batch_size=BATCH, seed=SEED)
    options = {"lr": lr, "optimizer": adamw, "warmup": steps // 10, "clip": 1.0, "seed": SEED}
    return fit(net, batches, steps, **options, precision="fp32", progress=False).model


def make(steps=None, progress=False):
    """Train and measure; returns the bytes of the weights and the record, a dict."""
    reviews, ids, text, pieces = prepare()
    steps, tuning = steps or STEPS, min(TUNING, steps or TUNING)
    test, held = slice(TEST), slice(TEST, TEST + VALIDATION)
    seen = slice(TEST + VALIDATION, TEST + VALIDATION + LABELS)
    with kept_random_state():
        torch.manual_seed(SEED)
        scratch = toy.blank(len(pieces))
        windows = WindowBatches(text, toy.SIZES["context"] + 1, READ, seed=SEED)
        options = {"lr": 3e-3, "optimizer": adamw, "warmup": steps // 20, "clip": 1.0}
        read = fit(
            copy.deepcopy(scratch), windows, steps, **options, seed=SEED, precision="fp32",
            progress=progress, title="verdict",
        ).model  # fmt: skip
        state, right, rates = {}, {}, {}
        for name, model in (("pretrained", read), ("scratch", scratch)):
            tuned = {lr: tune(model, ids[seen], reviews.labels[seen], tuning, lr) for lr in RATES}
            found = {lr: net.accuracy(ids[held], reviews.labels[held]) for lr, net in tuned.items()}
            rates[name] = max(RATES, key=found.get)
            net = tuned[rates[name]].cpu()
            right[name] = round(net.accuracy(ids[test], reviews.labels[test]), 4)
            state |= {f"{name}.{k}": v.half().contiguous() for k, v in net.state_dict().items()}
    low, high = WORDS
    texts = zip(reviews.texts[test], reviews.labels[test].tolist(), strict=True)
    fitting = [{"text": t, "label": y} for t, y in texts if low <= len(t.split()) <= high]
    payload = safetensors.torch.save(state)
    record = {
        "steps": steps, "tuning": tuning, "batch": BATCH, "seed": SEED, "rates": rates,
        "labels": LABELS, "raw": len(reviews.texts) - TEST - VALIDATION, "sentences": TEST,
        "test": right, "parameters": sum(p.numel() for p in net.parameters()),
        "examples": fitting[:EXAMPLES], "pieces": pieces.pieces(range(len(pieces))),
    }  # fmt: skip
    return payload, shipped.sealed(record, payload)
