"""How fast does our GPT train and write beside transformers' GPT-2, and when is it good?

    python -m benchmarks --only gpt-train gpt-train-wide gpt-write gpt-write-wide gpt-write-64
    python -m benchmarks.gpt [--repeats 3] [--threads 2] [--quick]

Training: a step of loss, gradient, clipping and AdamW, without dropout. Writing: greedy, until the
context is full, with a cache of keys and values; 1 text, or 64 at a time. Ours and the peer have
the same weights; losses and texts must be equal. The second command asks something else: seconds of
training on Shakespeare's characters until the validation loss is at most 1.886 nats, with nanoGPT's
recipe for a CPU and with the chapter's; measuring it is not counted.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import math
import statistics
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.compare import Race, Row, clock, timed
from benchmarks.steps import training_race
from genai_utils import data
from genai_utils.evaluation import next_token_nll
from genai_utils.language import gpt
from genai_utils.language.tokenizer import CharTokenizer
from genai_utils.training import (
    Muon,
    WindowBatches,
    adamw,
    cosine_to_floor,
    muon_groups,
    trapezoid,
)

# name -> (config, batch size, steps in one turn)
SIZES = {
    "4 x 4 x 128": (gpt.GPTConfig(65, 64, 4, 4, 128), 12, 60),
    "6 x 6 x 384": (gpt.GPTConfig(65, 256, 6, 6, 384), 8, 4),
}
TARGET = 1.886  # nats per character


def by_adamw(net):
    """nanoGPT's optimiser."""
    return adamw(net.parameters(), 1e-3)


def by_muon(net):
    """The chapter's."""
    return Muon(muon_groups(net, net.blocks), 1.2e-2)


def nanogpt(step, steps):
    """Its learning rate's factor; --quick has fewer steps than its warm-up."""
    return cosine_to_floor(step, steps, min(100, steps // 2))


SMALL = gpt.GPTConfig(65, 64, 4, 4, 128)
OURS = gpt.GPTConfig(65, context=128, layers=3, heads=4, dim=96)
# name -> (config, batch size, steps, optimiser of a model, factor of the learning rate)
RECIPES = {
    "nanoGPT's": (SMALL, 12, 2_000, by_adamw, nanogpt),
    "the chapter's": (OURS, 16, 1_150, by_muon, partial(trapezoid, warmup=50, decay=690)),
}


def our_loss(model, batch):
    """Mean negative log-likelihood, nats per token."""
    return model.loss(batch)


def peer_loss(model, batch):
    """The same for a GPT2LMHeadModel."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def shakespeare():
    """Shakespeare's characters as ids (n,), and how many kinds there are."""
    text = data.shakespeare()
    letters = CharTokenizer(text)
    return letters.encode(text), len(letters)


def training(name, quick):
    """A size of SIZES, so many steps a turn, or a quarter of them."""
    torch.manual_seed(0)
    config, size, count = SIZES[name]
    count = max(2, count // 4) if quick else count
    ids, config.vocabulary = shakespeare()
    ours = gpt.GPT(config)
    draw = WindowBatches(ids, config.context + 1, size)
    batches = [draw(step) for step in range(count)]
    peer = gpt.to_transformers(ours).train()
    amount = count * size * config.context
    return training_race((ours, our_loss), (peer, peer_loss), batches, amount)


def writing(name, texts, quick):
    """Greedy, until the context is full. How good: log-probability of the text, nats per token."""
    torch.manual_seed(0)
    config = SIZES[name][0]
    ours = gpt.GPT(config).eval()
    with torch.no_grad():
        for weight in ours.parameters():  # an untrained model would write one letter for ever
            if weight.ndim == 2:
                weight.mul_(4)
    peer = gpt.to_transformers(ours)
    prompts = torch.arange(8) + torch.arange(texts)[:, None] % 50
    n = config.context - 8
    turns = max(1, (100 if quick else 250) // n) if texts == 1 else 1
    options = {
        "attention_mask": torch.ones_like(prompts), "max_new_tokens": n, "do_sample": False,
        "use_cache": True, "eos_token_id": None, "pad_token_id": 0,
    }  # fmt: skip

    def mine():
        for _ in range(turns):
            ids = ours.generate(prompts, n, temperature=0)
        return ids

    @torch.no_grad()
    def theirs():
        for _ in range(turns):
            ids = peer.generate(prompts, **options)
        return ids

    @torch.no_grad()
    def quality(ids):
        assert ids.shape == (texts, config.context) and len(ids.unique()) > 3, ids
        return -ours.loss(ids).item()

    weights = 4 * turns * n * sum(p.numel() for p in ours.parameters())  # bytes, at each token
    return Race(
        lambda turn: mine, lambda turn: theirs, turns * texts * n, quality, bytes=weights
    )  # fmt: skip


SHAPES = {"": ("4 x 4 x 128", "4 layers of 128"), "-wide": ("6 x 6 x 384", "6 layers of 384")}
ROWS = [
    Row(f"gpt-train{short}", "10_gpt", f"training GPT, {shape}", "transformers", "tokens/s",
        partial(training, name), "loss after the steps", slack=1e-3,
        small="a quarter of the steps a turn")
    for short, (name, shape) in SHAPES.items()
] + [
    Row(f"gpt-write{short}", "10_gpt", f"writing by GPT, {shape}, {texts} at a time",
        "transformers", "tokens/s", partial(writing, name, texts), "log-probability of the text",
        higher=True, slack=1e-4, floor="all weights read at each token, or the products")
    for short, name, shape, texts in (
        ("", *SHAPES[""], 1), ("-wide", *SHAPES["-wide"], 1), ("-64", *SHAPES[""], 64),
    )
]  # fmt: skip


def good_after(ids, held_out, recipe, seed, quick):
    """(seconds until TARGET or NaN, seconds of all steps, last validation loss) of a recipe."""
    config, size, steps, make, factor = recipe
    steps = 4 if quick else steps
    torch.manual_seed(seed)
    model = gpt.GPT(config)
    optimizer = make(model)
    base = [group["lr"] for group in optimizer.param_groups]
    draw = WindowBatches(ids, config.context + 1, size, seed=seed)
    weights = list(model.parameters())
    seconds, reached, loss = 0.0, math.nan, math.nan
    every, now = max(1, steps // 20), clock(torch.get_num_threads())

    def one(step):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * float(factor(step, steps))
        model.loss(draw(step)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for step in range(steps):
        seconds += timed(partial(one, step), now)[0]
        if (step + 1) % every == 0 or step + 1 == steps:
            with torch.no_grad():
                loss = next_token_nll(model, held_out, config.context, 256)
            if loss <= TARGET and math.isnan(reached):
                reached = seconds
    return reached, seconds, loss


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few steps: does it run?")
    arguments = parser.parse_args()
    if min(arguments.repeats, arguments.threads) < 1:
        parser.error("--repeats and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    ids, kinds = shakespeare()
    for config, *_ in RECIPES.values():
        config.vocabulary = kinds  # 65; another where a stand-in is read
    ids, held_out = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
    held_out = held_out[:2_000] if arguments.quick else held_out
    print(f"torch {torch.__version__}, {arguments.threads} thread(s)")
    print(
        f"{'recipe':14} {f's to {TARGET}':>11} {'s in all':>10} {'loss':>10}   nats per character"
    )
    for name, recipe in RECIPES.items():
        runs = [
            good_after(ids, held_out, recipe, seed, arguments.quick)
            for seed in range(arguments.repeats)
        ]
        medians = [statistics.median(column) for column in zip(*runs, strict=True)]
        print(f"{name:14} {medians[0]:11.1f} {medians[1]:10.1f} {medians[2]:10.3f}")


if __name__ == "__main__":
    main()
