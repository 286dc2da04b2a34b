"""Do two processes train as one does, at the same global batch, and how long do they take?

    python benchmarks/many_processes.py --out FILE [--only vae gan] [--steps 60] [--before]
    python benchmarks/many_processes.py --out FILE --memory

Each model is trained twice from the same weights on the same batches: by one process, and by two
that share each batch (gloo, on the processor, one thread each). What is found is written to the
file, beside what other models gave before. `many_processes.json` is what `book/many_machines.md`
tells: the largest difference of two loss curves, and seconds of the machine that it names.
With --before a third run, of two processes of which each draws noise of its own and sees only its
own rows, gives "before": the same difference without what `genai_utils.training.draws` does.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from genai_utils import data
from genai_utils.printing import say
from genai_utils.training import TensorBatches, WindowBatches, fit, loop, parallel

HERE = Path(__file__).resolve()


def vae():
    """The recipe of chapter 24, on MNIST."""
    from genai_utils.vision.vae import recipe

    return recipe()


def image_model(make, batch_size=64, **options):
    """A model of the small digits, at a constant rate."""
    batches = TensorBatches(data.digits("train").x, batch_size=batch_size)
    return make(), batches, {"lr": 2e-3, **options}


def diffusion():
    """It draws a time and noise for each image."""
    from genai_utils.vision.diffusion import DDPM

    return image_model(lambda: DDPM(size=8, width=8, mults=(1, 2)))


def flow():
    """It draws noise that fills the steps between grey levels."""
    from genai_utils.vision.glow import Glow

    make = lambda: Glow(8, depth=2, width=16, blocks=1, noise_depth=2, levels=17)  # noqa: E731
    return image_model(make, clip=1.0)


def gan():
    """Two players with codes from a generator, and batch norm between the images."""
    from genai_utils.vision.gan import GAN, two_rates

    torch.manual_seed(0)
    model = GAN(size=8, width=8, r1=0.1)
    return image_model(lambda: model, optimizer=two_rates(model, 1e-3))


def maskgit():
    """It draws which tokens to hide."""
    from genai_utils.vision.maskgit import MaskGIT

    tokens = (data.digits("train").x * 16).round().long().flatten(1)
    return MaskGIT(17, 8, 32, 2, 4), TensorBatches(tokens, batch_size=64), {"lr": 2e-3}


def vq():
    """It moves idle entries of its codebook to vectors of the batch."""
    from genai_utils.vision.vq import VQAutoencoder

    return image_model(lambda: VQAutoencoder(size=8, entries=32, patience=5))


def words():
    """It draws windows and made-up words; its mean is over the pairs that were drawn."""
    from genai_utils.structure.word_embeddings import SkipGram, TextBatches

    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(200, (400,), generator=generator).tolist() for _ in range(40)]
    counts = torch.bincount(torch.tensor(texts).flatten(), minlength=200)
    batches = TextBatches(texts, counts, batch_size=64, sample=None)
    return SkipGram(counts, 32), batches, {"lr": 5e-3}


def gpt():
    """A language model of 1.2 million weights; it draws nothing. It is the one that is timed."""
    from genai_utils.language.gpt import GPT, GPTConfig

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(256, (20_000,), generator=generator)
    return GPT(GPTConfig(256, 128, 6, 4, 128)), WindowBatches(ids, 129, 32), {"lr": 1e-3}


def clip():
    """Each picture must find its sentence among those of the whole batch."""
    from genai_utils.vision import clip as of
    from genai_utils.vision import scenes

    model = of.small_clip(len(scenes.WORDS), scenes.CONTEXT, scenes.END, text=16, width=16)
    return model, scenes.SceneBatches(32, 0), {"lr": 1e-3}


MODELS = (vae, diffusion, flow, gan, maskgit, vq, words, clip, gpt)


def draw_apart() -> None:
    """From now on this process draws for its own rows only, from a seed of its own."""
    seed_alike, rank = loop.set_seed, int(os.environ.get("RANK", "0"))
    loop.set_seed = lambda seed: seed_alike(seed + rank)
    parallel.Loss.draws = lambda self, batch: contextlib.nullcontext()


def work(names: list[str], steps: int, out: Path, before: bool) -> None:
    """One process of a run: train each model, write its loss curve and seconds."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if before:
        draw_apart()
    found = {}
    for make in MODELS:
        if make.__name__ not in names:
            continue
        torch.manual_seed(0)
        model, batches, options = make()
        options |= {"steps": steps, "schedule": "constant", "warmup": 0, "progress": False}
        result = fit(model, batches, precision="fp32", **options)
        found[make.__name__] = {"loss": result.history["loss"], "seconds": result.seconds}
    if int(os.environ.get("RANK", "0")) == 0:
        out.write_text(json.dumps(found))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run(processes: int, names: list[str], steps: int, before: bool = False) -> dict:
    """The curves and seconds of so many processes."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        out = Path(folder, "found.json")
        command = [sys.executable, str(HERE), "--work", "--out", str(out), "--steps", str(steps)]
        command += ["--before"] * before
        started = []
        for rank in range(processes):
            env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
            if processes > 1:
                env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
                env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            started.append(subprocess.Popen([*command, "--only", *names], env=env))
        if any(process.wait() for process in started):
            raise SystemExit(f"a run of {processes} processes failed")
        return json.loads(out.read_text())


def difference(losses: list[float], others: list[float]) -> dict[str, float]:
    """Of two loss curves: after the last step, and at most."""
    between = (torch.tensor(losses) - torch.tensor(others)).abs()
    return {"end": between[-1].item(), "most": between.max().item()}


SIZES = {"100 M": (12, 768), "1 B": (24, 1792), "70 B": (86, 8192)}  # L, d


def memory(layers: int = 8, dim: int = 512) -> dict:
    """What training a GPT takes beside activations: measured for a small one, reckoned for others.

    Measured: by how much the most memory that the process has held grows in a step of a batch of 16
    tokens. Reckoned: by chapter 13's formula, and by what `accelerate estimate-memory` prints, here
    of our own model, whose weights are not made.
    """
    import resource

    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes

    from genai_utils.language.gpt import GPT, GPTConfig
    from genai_utils.language.scaling import CARDS, training_flops, training_memory

    def held() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def train(layers, dim, vocabulary) -> int:
        model = GPT(GPTConfig(vocabulary, 16, layers, 8, dim))
        batch = torch.zeros(1, 17, dtype=torch.long)
        fit(model, lambda step: batch, 2, precision="fp32", progress=False)
        return sum(p.numel() for p in model.parameters())

    train(1, 32, 64)  # what a first run loads
    before = held()
    weights = train(layers, dim, 4_096)
    found = {"weights": weights, "bytes each": (held() - before) / weights, "sizes": {}}
    for name, (layers, dim) in SIZES.items():
        with torch.device("meta"):
            model = GPT(GPTConfig(32_768, 2_048, layers, dim // 64, dim))
        N = sum(p.numel() for p in model.parameters())
        total, _ = calculate_maximum_sizes(model)
        flops = training_flops(N, 20 * N)
        found["sizes"][name] = {
            "layers": layers, "dim": dim, "weights": N, "bytes": training_memory(N),
            "accelerate": estimate_training_usage(total, "float32")["step"], "flops": flops,
            "H100 days": flops / (0.4 * CARDS["H100"].peak) / 86_400,
        }  # fmt: skip
    return found


def main() -> None:
    """Run and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=[make.__name__ for make in MODELS])
    parser.add_argument("--before", action="store_true", help="a third run, without our draws")
    parser.add_argument("--memory", action="store_true", help="measure and reckon memory instead")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.only, given.steps, given.out, given.before)
        return
    if given.memory:
        record = json.loads(given.out.read_text(encoding="utf-8"))
        record["memory"] = memory()
        say(json.dumps(record["memory"], indent=1))
        given.out.write_text(json.dumps(record, indent=1) + "\n")
        return
    one, two = (run(processes, given.only, given.steps) for processes in (1, 2))
    apart = run(2, given.only, given.steps, before=True) if given.before else {}
    record = {"models": {}}
    if given.out.is_file():
        record = json.loads(given.out.read_text(encoding="utf-8"))
    record["torch"] = torch.__version__.split("+")[0]
    for name in one:
        losses = one[name]["loss"]
        row = {"steps": given.steps, "first": losses[0], "last": losses[-1]}
        row |= difference(losses, two[name]["loss"])
        row |= {"seconds": [one[name]["seconds"], two[name]["seconds"]]}
        if given.before:
            row["before"] = difference(losses, apart[name]["loss"])
        record["models"][name] = record["models"].get(name, {}) | row
        say(f"{name:10} {row['first']:9.4f} → {row['last']:9.4f}, apart at the end "
            f"{row['end']:.2e}, at most {row['most']:.2e}; "
            f"{row['seconds'][0]:.1f} s and {row['seconds'][1]:.1f} s")  # fmt: skip
    given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
