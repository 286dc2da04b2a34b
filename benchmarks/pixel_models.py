"""What do the two tricks of chapter 20 gain: kept values when drawing, half precision in training?

    python benchmarks/pixel_models.py [--repeats 3] [--threads 1]

draw: seconds per image by the whole network for each pixel (naive) and by kept values (cached), for
one image and for a batch; both draw the same image, or the benchmark stops. train: one step (loss
and gradient) of a batch of 32, float32 and bf16. They take turns; the median over the repeats
counts, of processor time on one thread and of wall time on more.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import statistics
import time

import torch

from genai_utils.vision.pixel_models import PixelCNN

SIZES = {"width": 32, "layers": 6, "dilations": (1, 2, 4)}  # as in the chapter


def timed(clock, function):
    """Seconds of one call, and what it returns."""
    start = clock()
    value = function()
    return clock() - start, value


def draw(model, clock, repeats, batch):
    """Median seconds per image, naive and cached."""
    size = model.size
    u = torch.rand(batch, size, size, generator=torch.Generator().manual_seed(0))
    times = {False: [], True: []}
    for _ in range(repeats):
        images = {}
        for cached in times:
            seconds, images[cached] = timed(
                clock, lambda c=cached: model.sample(batch, cached=c, u=u)
            )
            times[cached].append(seconds / batch)
        if not torch.equal(images[False], images[True]):
            raise SystemExit("The two ways drew different images.")
    return statistics.median(times[False]), statistics.median(times[True])


def train(model, clock, repeats, steps=5):
    """Median seconds of a training step, in float32 and in bf16."""
    x = (torch.rand(32, 1, model.size, model.size) > 0.8).float()

    def step(half):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model.loss(x)
        loss.backward()

    times = {False: [], True: []}
    for half in times:
        step(half)  # the first call chooses its kernels
    for _ in range(repeats):
        for half in times:
            seconds, _ = timed(clock, lambda h=half: [step(h) for _ in range(steps)])
            times[half].append(seconds / steps)
    return statistics.median(times[False]), statistics.median(times[True])


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    if min(vars(arguments).values()) < 1:
        parser.error(f"every number must be at least 1: {vars(arguments)}")
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    torch.manual_seed(0)
    model = PixelCNN(**SIZES)
    print(f"torch {torch.__version__}, {arguments.threads} thread(s)")
    print(f"{'':24s}{'plain (s)':>12s}{'trick (s)':>12s}{'ratio':>8s}")
    for batch in (1, arguments.batch):
        slow, quick = draw(model, clock, arguments.repeats, batch)
        print(f"{f'draw, batch of {batch}':24s}{slow:12.4f}{quick:12.4f}{slow / quick:8.1f}")
    slow, quick = train(model, clock, arguments.repeats)
    print(f"{'train, bf16':24s}{slow:12.4f}{quick:12.4f}{slow / quick:8.1f}")


if __name__ == "__main__":
    main()
