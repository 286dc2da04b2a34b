"""Train one of the book's models from the command line.

    python -m genai_utils.train vae --steps 20000 --out runs/vae
    accelerate launch -m genai_utils.train vae --steps 20000 --out runs/vae

The second form uses every GPU that `accelerate config` names. The model's module says what to
train: its function `recipe()` returns (model, batches, options of fit). A run that was killed
goes on when the same command is given again. The folder `--out` then holds `model.safetensors`,
`ema.safetensors` where there is an average, `history.json` and `checkpoint/`.
"""

import argparse
import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

from genai_utils.inputs import path
from genai_utils.printing import say
from genai_utils.training import CheckpointError, TrainingError, fit, save_model

PACKAGES = ("genai_utils.vision", "genai_utils.language", "genai_utils.structure")
CHANGES = ("steps", "lr", "seed", "every", "precision")


def find_recipe(name: str) -> Callable:
    """The function `recipe` of the model's module. Imports no other model."""
    for package in PACKAGES:
        if name.isidentifier() and importlib.util.find_spec(f"{package}.{name}"):
            module = importlib.import_module(f"{package}.{name}")
            if hasattr(module, "recipe"):
                return module.recipe
            raise ValueError(f"{module.__name__} has no recipe(); it is trained in its notebook.")
    raise ValueError(f"There is no model {name!r}. Those with a recipe: {', '.join(recipes())}.")


def recipes() -> list[str]:
    """The names of the modules that define a recipe, found without importing them."""
    names = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for module in pkgutil.iter_modules(spec.submodule_search_locations):
            source = Path(module.module_finder.path, f"{module.name}.py")
            if source.is_file() and "\ndef recipe(" in source.read_text(encoding="utf-8"):
                names.append(module.name)
    return names


def train(arguments: argparse.Namespace) -> None:
    """Run the recipe with what the command line changes, and write the results."""
    from accelerate import PartialState

    model, batches, options = find_recipe(arguments.model)()
    changes = {name: getattr(arguments, name) for name in CHANGES}
    options = {"title": arguments.model, **options}
    options |= {name: value for name, value in changes.items() if value is not None}
    if "steps" not in options:
        raise ValueError(f"The recipe of {arguments.model} names no steps; give --steps.")
    if isinstance(options["steps"], int) and options["steps"] > 0 and "warmup" in options:
        # A run that is cut short warms up in its first tenth at most.
        options["warmup"] = min(options["warmup"], options["steps"] // 10)
    out = path(arguments.out, "--out")
    result = fit(model, batches, checkpoint=out / "checkpoint", **options)
    if PartialState().is_main_process:
        save_model(result.model, out / "model.safetensors")
        if result.ema_model is not None:
            save_model(result.ema_model, out / "ema.safetensors")
        record = {"model": arguments.model, "seconds": result.seconds, **result.history}
        (out / "history.json").write_text(json.dumps(record), encoding="utf-8")
    if PartialState().num_processes > 1:
        PartialState().destroy_process_group()


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, train, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="name of the model, for example vae")
    parser.add_argument("--out", required=True, help="folder for weights, history and checkpoints")
    parser.add_argument("--steps", type=int, help="number of steps (default: the recipe's)")
    parser.add_argument("--lr", type=float, help="learning rate (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="seed of the run (default: the recipe's)")
    parser.add_argument("--every", type=int, help="steps between checkpoints (default: 1000)")
    parser.add_argument("--precision", help="auto, fp32 or bf16 (default: auto)")
    try:
        train(parser.parse_args(argv))
    except (CheckpointError, TrainingError, ValueError, TypeError, OSError) as error:
        say(f"train: {error}", sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
