"""What does a CUDA graph gain? Milliseconds of a training step: as it is, recorded, recorded and
compiled.

    python benchmarks/graphs.py [--steps 200] [--compile]

`fit` trains each model on random data; 30 steps warm up, and the time of the next ones is divided
by their number. Without a card only the first column is there.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import time

import torch

from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import Muon, TensorBatches, WindowBatches, adamw, fit, muon_groups
from genai_utils.vision.diffusion import DDPM
from genai_utils.vision.glow import Glow
from genai_utils.vision.pixel_models import PixelCNN
from genai_utils.vision.vae import VAE

WARM_UP = 30


def cases(device):
    """Name -> (model, batches, options of fit)."""
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(65, (200_000,), generator=g).to(device)
    x = torch.rand(4096, 1, 28, 28, generator=g).round().to(device)
    small = GPTConfig(65, context=64, layers=4, heads=4, dim=128)
    large = GPTConfig(65, context=256, layers=6, heads=6, dim=384, dropout=0.2)
    return {
        "GPT 4 x 128, AdamW": (GPT(small), WindowBatches(ids, 65, 24), {"optimizer": adamw}),
        "GPT 4 x 128, Muon": (GPT(small), WindowBatches(ids, 65, 24), {"optimizer": "muon"}),
        "GPT 6 x 384, bf16": (GPT(large), WindowBatches(ids, 257, 64), {"precision": "bf16"}),
        "VAE, dense, 512": (VAE(28, 40, 512, "dense"), TensorBatches(x, batch_size=128), {}),
        "VAE, conv, 64": (VAE(28, 40, 64, "conv"), TensorBatches(x, batch_size=128), {}),
        "PixelCNN 64 x 10, bf16": (
            PixelCNN(28, 64, 10, dilations=(1, 2, 4)),
            TensorBatches(x, batch_size=64),
            {"precision": "bf16", "ema": 0.999, "clip": 50.0},
        ),
        **{
            f"Glow 96 x 6, {kind}": (
                Glow(28, width=96, depth=6, noise_depth=2, lu=True),
                TensorBatches(x, batch_size=128),
                {"precision": kind, "ema": 0.998, "clip": 1.0},
            )
            for kind in ("fp32", "bf16")
        },
        **{
            f"U-Net 32, T = 1,000, {kind}": (
                DDPM(28, T=1_000, width=32, output="velocity"),
                TensorBatches(x, batch_size=128),
                {"precision": kind, "ema": 0.999, "clip": 1.0},
            )
            for kind in ("fp32", "bf16")
        },
    }


class Watched:
    """Batches that note the time when the warm-up is over and at the end."""

    def __init__(self, batches, steps):
        self.batches, self.at, self.times = batches, (WARM_UP, WARM_UP + steps), []

    def __call__(self, step):
        """The batch of this step."""
        if step in self.at:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())
        return self.batches(step)


def milliseconds(model, batches, options, steps, **how):
    """Of one step."""
    if options.get("optimizer") == "muon":
        options = {**options, "optimizer": Muon(muon_groups(model, model.blocks), 0.01)}
    watched = Watched(batches, steps)
    fit(model, watched, WARM_UP + steps + 1, progress=False, **options, **how)
    first, last = watched.times
    return (last - first) / steps * 1e3


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--compile", action="store_true", help="the third column, minutes more")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    ways = [{}]
    if device == "cuda":
        ways += [{"graph": True}, {"graph": True, "compile": True}][: 1 + arguments.compile]
    print(f"{name}, torch {torch.__version__}; milliseconds per step")
    for title in cases("cpu"):
        row = []
        for how in ways:
            torch.manual_seed(0)
            row.append(milliseconds(*cases(device)[title], arguments.steps, **how))
        print(f"{title:24}" + "".join(f"{each:10.2f}" for each in row))


if __name__ == "__main__":
    main()
