"""How fast does our GPT train and write beside transformers' GPT-2, and when is it good?

    python benchmarks/gpt.py [--parts train write good] [--repeats 5] [--threads 2] [--quick]

train: tokens/s of one training step (loss, gradient, clipping, AdamW), without dropout. write:
tokens/s of greedy generation, batch 1, until the context is full; with a cache of keys and values
both, and ours without. Ours and the peer have the same weights, and the benchmark stops where their
losses or texts differ. They take turns, a few seconds each; the median over the repeats counts.
good: seconds of training on Shakespeare's characters until the validation loss is at most 1.886
nats, with nanoGPT's recipe for a CPU and with the chapter's; measuring it is not counted.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import math
import statistics
import time
from functools import partial

import torch
import torch.nn.functional as F
import transformers

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
CLOCKS = {True: time.process_time, False: time.perf_counter}  # one thread or several


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


def clock():
    """Seconds: of the processor on one thread, which other work disturbs least; else of the day."""
    return CLOCKS[torch.get_num_threads() == 1]()


def our_loss(model, batch):
    """Mean negative log-likelihood, nats per token."""
    return model.loss(batch)


def peer_loss(model, batch):
    """The same for a GPT2LMHeadModel."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def train(model, loss_of, optimizer, batches, steps):
    """Seconds of so many steps."""
    weights = list(model.parameters())
    start = clock()
    for batch in batches[:steps]:
        loss = loss_of(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return clock() - start


def compare_training(ids, repeats, quick):
    """Print tokens/s of a training step."""
    heads = f"{'weights':>11} {'ours':>10} {'peer':>10} {'ours / peer':>12}"
    print(f"\n{'training':14} {heads}   tokens/s")
    for name, (config, size, steps) in SIZES.items():
        torch.manual_seed(0)
        steps = 2 if quick else steps
        ours = gpt.GPT(config)
        peer = gpt.to_transformers(ours).train()
        draw = WindowBatches(ids, config.context + 1, size)
        batches = [draw(step) for step in range(steps)]
        sides = [(model, loss, adamw(model.parameters(), lr=1e-3))
                 for model, loss in ((ours, our_loss), (peer, peer_loss))]  # fmt: skip
        losses = [loss(model, batches[0]).item() for model, loss, _ in sides]
        assert abs(losses[0] - losses[1]) < 1e-4, losses
        for side in sides:  # the first steps reserve memory
            train(*side, batches, 2)
        seconds = [[train(*side, batches, steps) for side in sides] for _ in range(repeats)]
        tokens = steps * size * config.context
        a, b = (tokens / statistics.median(column) for column in zip(*seconds, strict=True))
        ratio = statistics.median(theirs / mine for mine, theirs in seconds)
        count = sum(p.numel() for p in ours.parameters())
        print(f"{name:14} {count:11,} {a:10,.0f} {b:10,.0f} {ratio:12.2f}")


def writers(ours, peer, prompt, n):
    """Three functions that give the prompt and n likeliest tokens: ours, the peer, no cache."""
    mask = torch.ones(1, len(prompt), dtype=torch.int64)
    return [
        lambda: ours.generate(prompt, n, temperature=0),
        lambda: peer.generate(
            prompt[None], attention_mask=mask, max_new_tokens=n, do_sample=False,
            use_cache=True, eos_token_id=None, pad_token_id=0,
        )[0],
        lambda: ours.generate(prompt, n, temperature=0, cache=False),
    ]  # fmt: skip


@torch.no_grad()
def compare_writing(repeats, quick):
    """Print tokens/s of greedy generation."""
    print(f"\n{'writing':14} {'ours':>10} {'peer':>10} {'no cache':>10} {'ours / peer':>12} "
          f"{'cache gains':>12}   tokens/s")  # fmt: skip
    for name, (config, _, _) in SIZES.items():
        torch.manual_seed(0)
        ours = gpt.GPT(config).eval()
        for weight in ours.parameters():  # an untrained model would write one letter for ever
            if weight.ndim == 2:
                weight.mul_(4)
        peer = gpt.to_transformers(ours)
        prompt = torch.arange(8)
        n = 4 if quick else config.context - len(prompt)
        turns = 1 if quick else max(1, 250 // n)
        ways = writers(ours, peer, prompt, n)
        texts = [way().tolist() for way in ways]
        assert texts[0] == texts[1] == texts[2], "they write different texts"
        assert len(texts[0]) == len(prompt) + n and (quick or len(set(texts[0])) > 3), texts[0]
        seconds = []
        for _ in range(repeats):
            seconds.append([])
            for way in ways:
                start = clock()
                for _ in range(turns):
                    way()
                seconds[-1].append((clock() - start) / turns)
        rates = [n / statistics.median(column) for column in zip(*seconds, strict=True)]
        ratio = statistics.median(theirs / mine for mine, theirs, _ in seconds)
        gain = statistics.median(without / cached for cached, _, without in seconds)
        shown = " ".join(f"{rate:10,.0f}" for rate in rates)
        print(f"{name:14} {shown} {ratio:12.2f} {gain:12.1f}")


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
    every = max(1, steps // 20)
    for step in range(steps):
        start = clock()
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * float(factor(step, steps))
        model.loss(draw(step)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds += clock() - start
        if (step + 1) % every == 0 or step + 1 == steps:
            with torch.no_grad():
                loss = next_token_nll(model, held_out, config.context, 256)
            if loss <= TARGET and math.isnan(reached):
                reached = seconds
    return reached, seconds, loss


def main():
    """Print one table for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("train", "write", "good")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few steps: does it run?")
    arguments = parser.parse_args()
    if min(arguments.repeats, arguments.threads) < 1:
        parser.error("--repeats and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    text = data.shakespeare()
    letters = CharTokenizer(text)
    ids = letters.encode(text)
    for config, *_ in [*SIZES.values(), *RECIPES.values()]:
        config.vocabulary = len(letters)  # 65; another where a stand-in is read
    ids, held_out = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
    held_out = held_out[:2_000] if arguments.quick else held_out
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, "
          f"{arguments.threads} thread(s); layers x heads x channels")  # fmt: skip
    if "train" in arguments.parts:
        compare_training(ids, arguments.repeats, arguments.quick)
    if "write" in arguments.parts:
        compare_writing(arguments.repeats, arguments.quick)
    if "good" in arguments.parts:
        heads = f"{f's to {TARGET}':>11} {'s in all':>10} {'loss':>10}"
        print(f"\n{'recipe':14} {heads}   nats per character")
        for name, recipe in RECIPES.items():
            runs = [good_after(ids, held_out, recipe, seed, arguments.quick)
                    for seed in range(min(arguments.repeats, 3))]  # fmt: skip
            medians = [statistics.median(column) for column in zip(*runs, strict=True)]
            print(f"{name:14} {medians[0]:11.1f} {medians[1]:10.1f} {medians[2]:10.3f}")


if __name__ == "__main__":
    main()
