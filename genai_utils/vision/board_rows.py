"""One row of the scoreboard: an entrant trained within a budget, sampled and scored. Item A41.

    row = play("VAE", images, Budget(seconds=10), seed=0, n=500, folder="runs/board")
    numbers = score(row, Scorecard((images, test), n=500))

A row has a folder of its own, named by a digest of all that shapes it. There lie the plan of its
training, a checkpoint while it trains, the weights, the samples and, written last, the numbers.
Each file is written all or nothing, so that whatever is killed can go on.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import safetensors.torch
import torch

from genai_utils import inputs
from genai_utils.training import TrainingError, load_model, save_model
from genai_utils.training.batches import derive_seed
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.training.describe import describe, fingerprint

from .budgets import LEVELS, Trainer, grey_levels, keep, weights_of
from .entrants import ENTRANTS

HERE = __name__.rpartition(".")[0] + "."
LEAST = 8  # images, so that the judge can take halves of them


@dataclass(frozen=True)
class Row:
    """What became of one entrant under one seed and budget; `images` (n, 1, H, W) of its levels."""

    entrant: str
    seed: int
    budget: str
    rate: float
    width: int
    weights: int
    steps: int
    seconds: float
    ms_per_step: float
    ms_per_image: float
    calls: int
    folder: str
    images: torch.Tensor


def key_of(entrant, images, budget, seed, n, rate):
    """A digest of all that shapes a row: the entrant with its code, the data, the budget, n, …

    Another version of Python may give another key, since it compiles functions otherwise.
    """
    said = describe({"entrant": entrant, "budget": budget, "seed": seed, "n": n, "rate": rate})
    text = json.dumps([said, fingerprint(images), _code_of(entrant, images.shape[-1])],
                      sort_keys=True)  # fmt: skip
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _code_of(entrant, size):
    """What its functions, its model's classes, the trainer and `Row` are written in: their files.

    And those of `genai_utils.vision` whose names these take; what they take from elsewhere, such as
    `inputs`, is not looked at. Classes of no file, as a notebook's, are known by their methods.
    """
    with torch.random.fork_rng():
        model = entrant.build(size, entrant.width)
    kinds = {kind for part in model.modules() for kind in type(part).__mro__} | {Trainer, Row}
    kinds = {
        kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")
    }
    names, new = set(), {kind.__module__ for kind in kinds}
    while new:
        names |= new
        ours = [vars(sys.modules[name]).values() for name in new if name.startswith(HERE)]
        taken = {str(getattr(value, "__module__", "")) for values in ours for value in values}
        new = {name for name in taken if name.startswith(HERE)} - names
    functions = (entrant.build, entrant.train, entrant.sample)
    names |= {f.__module__ for f in functions if f.__module__.startswith("genai_utils.")}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in names}
    code = {name: Path(file).read_text(encoding="utf-8") for name, file in files.items() if file}
    for kind in kinds:
        if kind.__module__ not in code:
            methods = {k: v for k, v in vars(kind).items() if isinstance(v, FunctionType)}
            code[kind.__qualname__] = describe(methods, f"the class {kind.__qualname__}")
    return code


def play(entrant, images, budget, seed=0, n=500, folder=None, device="cpu", rate=1.0):
    """Train an entrant within a budget, draw n images, keep both. Returns a `Row`.

    entrant: an `Entrant`, or the name of one of `ENTRANTS`. images: (N, 1, H, W) of grey levels, to
    learn from. folder: where rows are kept; a row that is there is read, a training that was
    killed goes on. None: nothing is kept. rate: multiplies the learning rates.

    Raises ValueError for a name that is none, n below 8, and samples of another shape, outside
    [0, 1] or not finite; TypeError for a training that returns no model; TrainingError for a loss
    that is not finite. The message names the entrant.
    """
    if isinstance(entrant, str):
        entrant = ENTRANTS[inputs.one_of(entrant, "entrant", ENTRANTS)]
    images = grey_levels(inputs.images(images, "images"))
    n, size = inputs.whole(n, "n", least=LEAST), images.shape[-1]
    own = None
    if folder is not None:
        name = entrant.name.replace(" ", "-")
        key = key_of(entrant, images, budget, seed, n, rate)
        own = inputs.path(folder, "folder") / f"{name}-{seed}-{key}"
        if (own / "row.json").exists():
            return read(own)
    trainer = Trainer(images, budget, seed, own, device, rate)
    width = entrant.width_for(size, budget)
    with kept_random_state():
        torch.manual_seed(derive_seed(seed, "weights"))
        model = entrant.build(size, width)
        model = _fitted(entrant, model, trainer).eval()
        torch.manual_seed(derive_seed(seed, "samples"))
        generator = torch.Generator().manual_seed(derive_seed(seed, "draws"))
        entrant.sample(model, LEAST, generator)  # what is slow at first only is not counted
        began = trainer.clock()
        with torch.no_grad():
            x = entrant.sample(model, n, generator)
            x = x.cpu() if torch.is_tensor(x) else x  # waits for a card
        drawing = trainer.clock() - began
    x = grey_levels(_checked(x, entrant, n, images.shape[1:]))
    row = Row(
        entrant.name, seed, str(budget), rate, width, weights_of(model), trainer.steps,
        trainer.seconds, 1e3 * trainer.seconds / max(1, trainer.steps), 1e3 * drawing / n,
        entrant.calls(model), "" if own is None else str(own), x,
    )  # fmt: skip
    if own is not None:
        _write(own, row, model)
    return row


def _fitted(entrant, model, trainer):
    """The model that the entrant's `train` returns, or an error that names the entrant."""
    try:
        model = entrant.train(model, trainer)
    except TrainingError as error:
        raise TrainingError(f"{entrant.name!r}, seed {trainer.seed}: {error}") from error
    if not isinstance(model, torch.nn.Module):
        raise inputs.refusal(f"train of {entrant.name!r}", "the trained model to come back",
                             inputs.kind_of(model), kind=TypeError)  # fmt: skip
    return model


def _checked(x, entrant, n, shape):
    """Samples as they should be, or a ValueError that names the entrant."""
    name = f"samples of {entrant.name!r}"
    x = inputs.images(x, name, shape[-1], shape[0])
    if len(x) != n:
        raise inputs.refusal(name, f"{n} images", len(x))
    return x.float()


def _write(folder, row, model):
    """Keep a row: weights, samples, and last the numbers, which say that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.safetensors")
    level = (row.images * (LEVELS - 1)).round().to(torch.uint8)
    keep(folder / "samples.safetensors", safetensors.torch.save({"level": level}))
    numbers = {k: v for k, v in row.__dict__.items() if k not in ("images", "folder")}
    keep(folder / "row.json", json.dumps(numbers).encode())
    for stage in folder.glob("stage*"):  # its checkpoints are needed no more
        shutil.rmtree(stage, ignore_errors=True)


def read(folder):
    """The row that a folder holds."""
    numbers = json.loads((folder / "row.json").read_text(encoding="utf-8"))
    level = safetensors.torch.load_file(folder / "samples.safetensors")["level"]
    return Row(**numbers, folder=str(folder), images=level.float() / (LEVELS - 1))


def trained(row, entrants=ENTRANTS):
    """The model of a row that was kept, ready to sample."""
    entrant = entrants[inputs.one_of(row.entrant, "entrant", entrants)]
    model = entrant.build(row.images.shape[-1], row.width)
    return load_model(model, Path(row.folder) / "model.safetensors").eval()


def score(row, card):
    """The measures of a row, a dict of numbers by name, by a `Scorecard`; kept beside the row."""
    kept = None
    if row.folder:
        by = f"{fingerprint(card.train)} {fingerprint(card.test)} {card.judge} {card.n} {card.seed}"
        by = hashlib.blake2b(by.encode(), digest_size=6).hexdigest()
        kept = Path(row.folder) / f"scores-{by}.json"
        if kept.exists():
            return json.loads(kept.read_text(encoding="utf-8"))
    found = card.of(row.images)
    numbers = {name: measure.value for name, measure in found.measures.items()}
    frechet = found["frechet"]
    numbers["Fréchet / floor"] = frechet.value / frechet.real
    numbers |= {"ms per image": row.ms_per_image, "ms per step": row.ms_per_step,
                "seconds": row.seconds, "weights": row.weights}  # fmt: skip
    if kept is not None:
        keep(kept, json.dumps(numbers).encode())
    return numbers
