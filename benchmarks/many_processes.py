"""Do two processes train as one does, at the same global batch, and how long do they take?

    python benchmarks/many_processes.py --out FILE [--only vae gan] [--steps 60] [--before]
    python benchmarks/many_processes.py --out FILE --memory
    python benchmarks/many_processes.py --out FILE --speed
    python benchmarks/many_processes.py --out FILE --shared [--only vae gpt]

Each model is trained twice from the same weights on the same batches: by one process, and by two
that share each batch (gloo, on the processor, one thread each). What is found is written to the
file, beside what other models gave before. `many_processes.json` is what `book/many_machines.md`
tells: the largest difference of two loss curves, and how many times as fast two processes were.
With --before a third run, of two processes of which each draws noise of its own and sees only its
own rows, gives "before": the same difference without what `genai_utils.training.draws` does.
With --speed one process and two take turns, and the ratios of their times are kept. With --shared
the two share the weights (FSDP), and it is noted how many bytes each of them held.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
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


def held_by(optimizer) -> int:
    """Bytes of the weights and of their averages that this process holds."""
    tensors = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    tensors += [p for group in optimizer.param_groups for p in group["params"]]
    mine = [t.to_local() if hasattr(t, "to_local") else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in mine)


def work(before: bool) -> None:
    """One process: for each line that it reads, "vae 60", train so long and say what was found."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if before:
        draw_apart()
    for line in sys.stdin:
        name, steps = line.split()
        torch.manual_seed(0)
        model, batches, options = next(m for m in MODELS if m.__name__ == name)()
        made = []

        def adam(parameters, lr, made=made):
            made.append(torch.optim.Adam(parameters, lr=lr, fused=True))
            return made[0]

        options = {"optimizer": adam} | options
        options |= {"schedule": "constant", "warmup": 0, "progress": False, "precision": "fp32"}
        options["steps"] = int(steps)
        began = time.process_time()
        result = fit(model, batches, **options)
        found = {"loss": result.history["loss"], "seconds": result.seconds}
        found |= {"cpu": time.process_time() - began, "held": held_by(*made) if made else None}
        found["weights"] = sum(p.numel() for p in model.parameters())
        print(json.dumps(found), flush=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Crew:
    """So many processes that wait for work; within `with`."""

    def __init__(self, processes: int, before: bool = False, shared: bool = False):
        self.command = [sys.executable, str(HERE), "--work", "--out", "-"]
        self.command += ["--before"] * before
        env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        if processes > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
            env["WORLD_SIZE"] = str(processes)
        if shared:  # as `accelerate launch` says it to its processes
            env |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
            env |= {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
            env |= {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Block"}
        ranks = [{"RANK": str(r), "LOCAL_RANK": str(r)} for r in range(processes)]
        self.envs = [env | rank for rank in ranks] if processes > 1 else [env]

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.started = [subprocess.Popen(self.command, env=env, **pipes) for env in self.envs]
        return self

    def __exit__(self, *error):
        for process in self.started:
            process.stdin.close()
        for process in self.started:
            process.wait()

    def train(self, name: str, steps: int) -> list[dict]:
        """What each process found."""
        for process in self.started:
            process.stdin.write(f"{name} {steps}\n")
            process.stdin.flush()
        lines = [process.stdout.readline() for process in self.started]
        if not all(lines):
            raise SystemExit(f"{len(lines)} processes could not train {name}")
        return [json.loads(line) for line in lines]


def speed(name: str, steps: int, turns: int = 5) -> dict:
    """How many times as fast two processes are as one: the ratio of each turn.

    They take turns, the first of which warms up and is left out. "wall": by the clock, which other
    work on the machine disturbs. "cpu": by the processor's time of the busier process, which leaves
    out waiting: what two free cores would give if the exchange cost no waiting.
    """
    found = {"steps": steps, "wall": [], "cpu": []}
    with Crew(1) as one, Crew(2) as two:
        for turn in range(turns + 1):
            (alone,), pair = one.train(name, steps), two.train(name, steps)
            if turn:
                found["wall"].append(alone["seconds"] / max(each["seconds"] for each in pair))
                found["cpu"].append(alone["cpu"] / max(each["cpu"] for each in pair))
    return found


def shared(name: str, steps: int) -> dict:
    """Two processes that share the weights against one: how far apart, and bytes held by each."""
    with Crew(1) as one, Crew(2, shared=True) as two:
        (alone,), pair = one.train(name, steps), two.train(name, steps)
    found = {"steps": steps, **difference(alone["loss"], pair[0]["loss"])}
    held = [alone["held"], *(each["held"] for each in pair)]
    return found | {"weights": alone["weights"], "held": held}


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
    parser.add_argument("--speed", action="store_true", help="by turns: how much faster are two?")
    parser.add_argument("--shared", action="store_true", help="two that share the weights (FSDP)")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.before)
        return
    record = {"models": {}}
    if given.out.is_file():
        record = json.loads(given.out.read_text(encoding="utf-8"))
    record["torch"] = torch.__version__.split("+")[0]
    if given.memory:
        record["memory"] = memory()
        say(json.dumps(record["memory"], indent=1))
    for kind, measure in {"speed": speed, "shared": shared}.items():
        for name in given.only if getattr(given, kind) else ():
            record.setdefault(kind, {})[name] = measure(name, given.steps)
            say(f"{name}: {record[kind][name]}")
            write(given.out, record)
    if not (given.memory or given.speed or given.shared):
        compare(given.only, given.steps, given.before, record)
    write(given.out, record)


def write(file: Path, record: dict) -> None:
    """Keep what was found."""
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def compare(names: list[str], steps: int, before: bool, record: dict) -> None:
    """The loss curves of one process and of two, into the record."""
    with contextlib.ExitStack() as stack:
        crews = [stack.enter_context(Crew(1)), stack.enter_context(Crew(2))]
        crews += [stack.enter_context(Crew(2, before=True))] * before
        found = {name: [crew.train(name, steps)[0] for crew in crews] for name in names}
    for name, (one, two, *apart) in found.items():
        losses = one["loss"]
        row = {"steps": steps, "first": losses[0], "last": losses[-1]}
        row |= difference(losses, two["loss"])
        for other in apart:
            row["before"] = difference(losses, other["loss"])
        record["models"][name] = record["models"].get(name, {}) | row
        say(f"{name:10} {row['first']:9.4f} → {row['last']:9.4f}, apart at the end "
            f"{row['end']:.2e}, at most {row['most']:.2e}")  # fmt: skip


if __name__ == "__main__":
    main()
