"""Which numbers of the book are the same on another device, and to how many digits?

    python -m benchmarks.same_numbers               # all settings, some minutes; resumable
    python -m benchmarks.same_numbers --only gan vq --settings native avx2 --out FILE

A short training or computation of each kind of model in the book, on data that come with the
installed packages, is run in a process of its own for each SETTING: the same seed and code, and
otherwise one thing changed. What is kept, in `same_numbers.json`, are the recorded figures of each
and the loss at each step; `book/same_numbers.md` is made from that file. Two settings are no change
of the device: `again` changes nothing, and `seed 1` another seed, which is the measure of luck that
any other difference is held against.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from genai_utils import data
from genai_utils.evaluation import frechet_distance, load_judge
from genai_utils.printing import say
from genai_utils.training import TensorBatches, WindowBatches, fit

FILE = Path(__file__).with_name("same_numbers.json")
STEPS = 100

# One thing of the machine each. Of a processor: which of its instructions PyTorch's own kernels
# use (ATEN_CPU_CAPABILITY), oneDNN's convolutions (ONEDNN_MAX_CPU_ISA) and MKL's products and
# factorisations (MKL_CBWR). A processor of another make or age differs in all three.
SETTINGS = {
    "native": {},
    "again": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "another processor": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
    },
    "seed 1": {"GENAI_SEED": "1"},
    "bf16": {"SAME_NUMBERS_PRECISION": "bf16"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "default": {"ATEN_CPU_CAPABILITY": "default"},
}
CLASSICAL = ("kmeans", "pca", "nmf")  # no training, so neither bf16 nor anything drawn in a loss


# --- what is run ----------------------------------------------------------------------------------
# Each function returns the loss or objective at each step, figures by name, and a text or "".


def seed() -> int:
    """0, or what GENAI_SEED says, as in a notebook."""
    return int(os.environ.get("GENAI_SEED", "0"))


def trained(model, batches, **options):
    """The losses of STEPS steps of `fit`, one by one."""
    options = {"lr": 2e-3, "schedule": "constant", "seed": seed(), "progress": False} | options
    precision = os.environ.get("SAME_NUMBERS_PRECISION", "fp32")
    return fit(model, batches, STEPS, precision=precision, **options).history["loss"]


def images():
    """The small digits, (1437, 1, 8, 8), and batches of 64."""
    x = data.digits("train").x
    return x, TensorBatches(x, batch_size=64, seed=seed())


def fid(model) -> float:
    """Fréchet distance of 500 generated digits to the test digits, by the judge's features."""
    judge = load_judge(8, "digits")
    fake = model.sample(500, generator=torch.Generator().manual_seed(seed()))
    real = data.digits("test").x
    return frechet_distance(*(judge.features(x.clamp(0, 1)) for x in (real, fake)))


def kmeans():
    """Lloyd's algorithm from ten digits that were drawn."""
    from genai_utils.structure.clustering import lloyd, start_centres

    digits = data.digits("train")
    X = digits.x.flatten(1)
    found = lloyd(X, start_centres(X, 10, generator=torch.Generator().manual_seed(seed())))
    counts = torch.zeros(10, 10).index_put_(
        (found.labels, digits.y), torch.tensor(1.0), accumulate=True
    )
    purity = counts.max(1).values.sum().item() / len(X)
    return found.history, {"inertia": found.inertia, "purity": purity}, ""


def pca():
    """What 10 directions capture, after 1 to 30 rounds of subspace iteration."""
    from genai_utils.structure.pca import PCA, subspace_iteration

    X = data.digits("train").x.flatten(1)
    X = X - X.mean(0)
    curve = [float(subspace_iteration(X, 10, t, 0, seed())[1].square().sum()) for t in range(1, 31)]
    model = PCA(10).fit(X)
    away = (X - model.reconstruct(X)).square().mean().item()
    return curve, {"variance": float(model.explained_variance.sum()), "error": away}, ""


def nmf():
    """The objective after each of STEPS updates."""
    from genai_utils.structure.nmf import NMF

    X = data.digits("train").x.flatten(1)
    found = NMF(16, seed=seed()).fit(X, updates=STEPS)
    return found.history, {"objective": found.history[-1]}, ""


def skip_gram():
    """Word vectors of Lee's news."""
    from genai_utils.structure.word_embeddings import SkipGram, TextBatches

    texts = [data.words(text) for text in data.lee().background]
    vocabulary = data.Vocabulary(texts, min_count=5)
    ids = [vocabulary.encode(text) for text in texts]
    counts = torch.as_tensor(vocabulary.counts)
    model = SkipGram(counts, 64)
    losses = trained(model, TextBatches(ids, counts, seed=seed()), lr=5e-3)
    v = F.normalize(model.vectors[:200], dim=1)
    nearest = (v @ v.T).fill_diagonal_(-1).max(1).values.mean()
    return losses, {"loss": losses[-1], "cosine of neighbours": float(nearest)}, ""


def gpt():
    """Characters of Lee's news; 200 are then drawn, with the same random numbers."""
    from genai_utils.language.gpt import GPT, GPTConfig
    from genai_utils.language.tokenizer import CharTokenizer

    text = "\n".join(data.lee().background)
    tokenizer = CharTokenizer(text)
    ids = torch.as_tensor(tokenizer.encode(text))
    model = GPT(GPTConfig(int(ids.max()) + 1, 64, 2, 4, 64))
    losses = trained(model, WindowBatches(ids[:-20_000], 65, 16, seed=seed()), lr=3e-3)
    held_out = ids[-20_000:].unfold(0, 65, 64)
    with torch.no_grad():
        validation = model.loss(held_out).item()
    dice = torch.Generator().manual_seed(seed())
    written = model.generate(ids[:20], 200, generator=dice)[20:]
    return losses, {"validation loss": validation}, tokenizer.decode(written.tolist())


def vae():
    """Chapter 24's model."""
    from genai_utils.vision.vae import VAE

    _, batches = images()
    model = VAE(8, 8, 128)
    losses = trained(model, batches)
    test = data.digits("test").x
    with torch.no_grad():
        bound = model.bound(test, generator=torch.Generator().manual_seed(seed())).mean().item()
    return losses, {"bound": bound, "Fréchet distance": fid(model)}, ""


def flow():
    """Chapter 25's, two scales."""
    from genai_utils.vision.glow import Glow

    x, batches = images()
    model = Glow(8, depth=2, width=16, blocks=1, noise_depth=2, levels=17)
    with torch.no_grad():
        model.start(x[:64])
    losses = trained(model, batches, clip=1.0)
    return losses, {"loss": losses[-1], "Fréchet distance": fid(model)}, ""


def gan():
    """Chapter 26's, two players."""
    from genai_utils.vision.gan import GAN, two_rates

    _, batches = images()
    model = GAN(8, 16, 8, r1=0.1)
    losses = trained(model, batches, optimizer=two_rates(model, 1e-3))
    return losses, {"loss": losses[-1], "Fréchet distance": fid(model)}, ""


def vq():
    """Chapter 21's codes: each vector takes the nearest entry of a book of 32."""
    from genai_utils.vision.vq import VQAutoencoder, usage_perplexity

    x, batches = images()
    model = VQAutoencoder(8, 32, patience=5)
    losses = trained(model, batches)
    with torch.no_grad():
        used = usage_perplexity(model.tokens(x), 32)
    return losses, {"loss": losses[-1], "entries in use": used}, ""


def diffusion():
    """Chapter 27's, drawn in 20 steps."""
    from genai_utils.vision.diffusion import DDPM

    _, batches = images()
    model = DDPM(8, width=8, mults=(1, 2))
    losses = trained(model, batches)
    model.sample, draw = lambda n, generator: draw(n, generator=generator, steps=20), model.sample
    return losses, {"loss": losses[-1], "Fréchet distance": fid(model)}, ""


def clip():
    """Chapter 28's, on drawn scenes."""
    from genai_utils.vision import clip as of
    from genai_utils.vision import scenes
    from genai_utils.vision.contrastive import recall_at

    model = of.small_clip(len(scenes.WORDS), scenes.CONTEXT, scenes.END, text=16, width=16)
    losses = trained(model, scenes.SceneBatches(32, seed()), lr=1e-3)
    x, ids = scenes.SceneBatches(100, 1_000 + seed())(0)
    with torch.no_grad():
        recall = recall_at(model.image(x) @ model.text(ids).T, 5).item()
    return losses, {"loss": losses[-1], "recall at 5": recall}, ""


MODELS = (kmeans, pca, nmf, skip_gram, gpt, vae, flow, vq, diffusion, clip, gan)


def work(names, out: Path) -> None:
    """One process: run these and write what they gave."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    found = {"capability": torch.backends.cpu.get_cpu_capability()}
    for make in MODELS:
        if make.__name__ in names:
            torch.manual_seed(seed())
            start = time.process_time()
            curve, figures, text = make()
            found[make.__name__] = {
                "curve": curve, "figures": figures, "text": text,
                "seconds": round(time.process_time() - start, 1),
            }  # fmt: skip
    out.write_text(json.dumps(found))


# --- what is compared -----------------------------------------------------------------------------


def relative(value: float, other: float) -> float:
    """|a - b| / |a|: 0 where they are equal to the last bit."""
    return abs(value - other) / max(abs(value), 1e-300)


def digits(value: float, other: float) -> float | None:
    """How many decimal digits two numbers share: -log10 of their relative difference.

    None where they are equal; never below 0.
    """
    away = relative(value, other)
    return None if away == 0 else float(max(0.0, -np.log10(away)))


def shared(text: str, other: str) -> int:
    """After how many characters two texts part."""
    pairs = zip(text, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))


def growth(curve, other) -> dict:
    """How the difference of two loss curves grows.

    first: the step at which they differ at all, from 1; None where they never do.
    decades: powers of ten per 100 steps by which the relative difference rises, a line by least
        squares through its logarithm, from `first` on until it has passed 1 % for the first time
        (there it can grow no more); None for fewer than 10 such steps.
    end: median relative difference of the last 20 steps.
    """
    n = min(len(curve), len(other))  # Lloyd's algorithm may stop sooner
    away = np.array([relative(a, b) for a, b in zip(curve[:n], other[:n], strict=True)])
    there = np.flatnonzero(away)
    found = {"first": None, "decades": None, "end": float(np.median(away[-20:]))}
    if not len(there):
        return found
    large = np.flatnonzero(away > 0.01)
    rising = there[there <= (large[0] if len(large) else n)]
    found["first"] = int(there[0]) + 1
    if len(rising) >= 10:
        found["decades"] = float(100 * np.polyfit(rising, np.log10(away[rising]), 1)[0])
    return found


def compared(base: dict, other: dict) -> dict:
    """What another setting gave beside the first."""
    n = min(len(base["curve"]), len(other["curve"]))
    away = [relative(a, b) for a, b in zip(base["curve"][:n], other["curve"][:n], strict=True)]
    found = {
        "figures": other["figures"],
        "digits": {k: digits(v, other["figures"][k]) for k, v in base["figures"].items()},
        "apart": [float(f"{a:.2g}") for a in away],
        **growth(base["curve"], other["curve"]),
    }
    if base["text"]:
        found["text"] = shared(base["text"], other["text"])
    return found


# --- the command ----------------------------------------------------------------------------------


def run(setting: str, names) -> dict:
    """These models in a process of that setting."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "found.json")
        others = {name for changed in SETTINGS.values() for name in changed}
        env = {key: value for key, value in os.environ.items() if key not in others}
        env |= {"OMP_NUM_THREADS": "1", "GENAI_SEED": "0", "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, "-m", "benchmarks.same_numbers", "--work", *names]
        done = subprocess.run([*command, "--out", str(out)], env=env | SETTINGS[setting])
        if done.returncode:
            raise SystemExit(f"the run of {setting!r} failed")
        return json.loads(out.read_text())


def line(name: str, setting: str, other: dict) -> str:
    """A comparison for the terminal."""
    same = {k: "all" if d is None else f"{d:.1f}" for k, d in other["digits"].items()}
    rise = "" if other["decades"] is None else f", {other['decades']:.2f} decades per 100 steps"
    return (
        f"{name:10} {setting:18} digits {same}, apart from step {other['first']}{rise}, "
        f"{other['end']:.1e} at the end {other.get('text', '')}"
    )


def main() -> None:
    """Run what is missing and compare."""
    names = [make.__name__ for make in MODELS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work, given.out)
        return
    head = {
        "device": "CPU",
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
        "steps": STEPS,
    }
    record = head | {"settings": SETTINGS, "capability": {}, "models": {}}
    if given.out.is_file():
        stored = json.loads(given.out.read_text(encoding="utf-8"))
        if {key: stored.get(key) for key in head} == head:
            record = stored | {"settings": SETTINGS}
    models = record["models"]
    for setting in dict.fromkeys(["native", *given.settings]):
        wanted = [
            name
            for name in given.only
            if setting not in models.get(name, {}) and (setting != "bf16" or name not in CLASSICAL)
        ]
        if not wanted:
            continue
        start = time.perf_counter()
        found = run(setting, wanted)
        record["capability"][setting] = found["capability"]
        for name in wanted:
            if setting == "native":
                models[name] = {"native": found[name]}
            else:
                models[name][setting] = compared(models[name]["native"], found[name])
        record["models"] = {name: models[name] for name in names if name in models}
        text = json.dumps(record, indent=1, ensure_ascii=False)
        given.out.write_text(text + "\n", encoding="utf-8")
        say(f"{setting}: {time.perf_counter() - start:.0f} s", flush=True)
    for name, found in record["models"].items():
        for setting in found:
            if setting != "native":
                say(line(name, setting, found[setting]))


if __name__ == "__main__":
    main()
