"""Train one of the book's models from the command line.

    python -m genai_utils.train 24_vae --profile gpu --out runs/vae
    accelerate launch -m genai_utils.train 24_vae --profile gpu --out runs/vae
    accelerate launch -m genai_utils.train vae --steps 20000 --out runs/vae

`accelerate launch` uses every GPU that `accelerate config` names, or the file that its
`--config_file` does; with "distributed_type: FSDP" the processes share the weights. A chapter,
such as 24_vae, is trained by the code of its notebook: of its cells those statements are run that
its main training needs, and nothing is shown. Each training among them has a folder of its own in
`--out`. A model, such as vae, is trained as its module says: the function `recipe()` returns
(model, batches, options of fit).

A run that was killed goes on when the same command is given again, also with another number of
processes. A folder of results holds `model.safetensors`, `ema.safetensors` where there is an
average, `history.json` and `checkpoint/`.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from pathlib import Path

from genai_utils import training
from genai_utils.inputs import path, refusal
from genai_utils.printing import say
from genai_utils.training import CheckpointError, TrainingError, fit, save_model
from genai_utils.training.describe import Undescribable

PACKAGES = ("genai_utils.vision", "genai_utils.language", "genai_utils.structure")
CHANGES = ("steps", "lr", "seed", "every", "precision")
# The main training of a chapter: the name that its statement binds, the how manieth such statement.
MAIN = {
    "02_pca": ("by_batches", 1),
    "04_lsa": ("skip_grams", 1),
    "05_word_embeddings": ("models", 1),
    "06_doc2vec": ("bow", 1),
    "07_node_embeddings": ("vectors", 1),
    "08_transformer": ("trained", 1),
    "09_bert": ("done", 2),
    "10_gpt": ("recipes", 2),
    "11_finetuning": ("models", 1),
    "12_prompting": ("runs", 1),
    "13_scaling": ("runs", 1),
    "14_rlhf": ("trained", 1),
    "15_lora": ("runs", 1),
    "16_rag": ("readers", 1),
    "17_agents": ("practised", 1),
    "18_moe": ("runs", 1),
    "19_divergence": ("g", 1),
    "20_pixel_models": ("result", 1),
    "21_maskgit": ("result", 2),
    "22_autoencoder": ("conv", 1),
    "23_manifold": ("fits", 1),
    "24_vae": ("result", 1),
    "25_flow": ("result", 2),
    "26_gan": ("main", 1),
    "27_diffusion": ("fitted", 1),
    "28_clip": ("trained", 1),
    "29_latent_diffusion": ("trained", 1),
}


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
    store(result, arguments.model, out)


def store(result, name: str, folder: Path) -> None:
    """Write the weights and the history of a run, in one process of several."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    save_model(result.model, folder / "model.safetensors")
    if result.ema_model is not None:
        save_model(result.ema_model, folder / "ema.safetensors")
    record = {"model": name, "seconds": result.seconds, **result.history}
    (folder / "history.json").write_text(json.dumps(record), encoding="utf-8")


# --- a chapter, by the code of its notebook -------------------------------------------------------


def find_notebook(name: str) -> Path | None:
    """The notebook of a chapter such as "24_vae", or at a path; None for another kind of name."""
    if name.endswith(".ipynb"):
        return path(name, "model")
    if not re.fullmatch(r"\d\d_\w+", name):
        return None
    for root in (Path.cwd(), Path(__file__).parents[1]):
        if (found := root / "notebooks" / f"{name}.ipynb").is_file():
            return found
    raise ValueError(
        f"There is no notebooks/{name}.ipynb here or beside the package. Clone the repository, "
        "or give the path of the notebook."
    )


def train_chapter(notebook: Path, arguments: argparse.Namespace) -> None:
    """Run of a notebook what its main training needs; every `fit` keeps checkpoints."""
    import torch

    from genai_utils.book.excerpt import Excerpt

    for name in ("steps", "lr"):
        if getattr(arguments, name) is not None:
            raise refusal(f"--{name}", "nothing for a chapter", getattr(arguments, name),
                          "its profile says how long it trains, see --profile")  # fmt: skip
    name, which = arguments.training or MAIN.get(notebook.stem, (None, 1))
    if name is None:
        known = ", ".join(Excerpt(notebook).trainings()) or "none"
        raise refusal(
            "--training", f"one of {known}", "nothing", f"{notebook.stem} has no main one"
        )
    code = Excerpt(notebook).code(name, which)
    if arguments.profile is not None:
        os.environ["GENAI_PROFILE"] = arguments.profile
    if arguments.seed is not None:
        os.environ["GENAI_SEED"] = str(arguments.seed)
    if torch.cuda.is_available():  # "cuda" is then this process's card
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    first = int(os.environ.get("RANK", 0)) == 0
    training.fit = kept(fit, path(arguments.out, "--out"), arguments)
    try:
        with contextlib.nullcontext() if first else contextlib.redirect_stdout(None):
            exec(code, {"__name__": "__main__"})  # the notebook's own statements
    finally:
        training.fit = fit


def kept(function: Callable, out: Path, arguments: argparse.Namespace) -> Callable:
    """`fit` that keeps checkpoints, weights and history of each run in a folder of its own."""
    count = 0

    @functools.wraps(function)
    def fit_and_keep(model, *rest, **options):
        nonlocal count
        count += 1
        title = options.get("title") or type(model).__name__
        folder = out / f"{count:02d}_{re.sub(r'[^a-z0-9]+', '_', title.lower()).strip('_')}"
        for name in ("every", "precision"):
            if getattr(arguments, name) is not None:
                options[name] = getattr(arguments, name)
        try:
            result = function(model, *rest, **{"checkpoint": folder / "checkpoint", **options})
        except Undescribable as error:
            say(f"{title} cannot be taken up again: {error}", sys.stderr)
            result = function(model, *rest, **options)
        store(result, title, folder)
        return result

    return fit_and_keep


def named_training(text: str) -> tuple[str, int]:
    """ "result" or "result:2", the second statement that trains and binds that name."""
    name, _, which = text.partition(":")
    return name, int(which or 1)


def join_processes() -> None:
    """Where no card is: several processes meet on the processor, which is to be told Accelerate.

    Processes of one host that were started again meet under another name: the launcher's store
    still holds the addresses of those that died. (Several hosts have a new store with
    `--rdzv_backend c10d`, and may have counted their starts differently.)
    """
    import torch
    from torch import distributed

    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return
    card = torch.cuda.is_available()
    if not card:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if start != "0" and os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        store, rank, size = next(distributed.rendezvous("env://"))
        store = distributed.PrefixStore(f"start {start}", store)
        backend = "nccl" if card else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)


def end_processes() -> None:
    """Leave the group of processes, where there is one."""
    from accelerate import PartialState

    if PartialState._shared_state and PartialState().num_processes > 1:
        PartialState().destroy_process_group()


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, train, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a chapter, for example 24_vae, or a model, for example vae")
    parser.add_argument("--out", required=True, help="folder for weights, history and checkpoints")
    parser.add_argument("--steps", type=int, help="number of steps (default: the recipe's)")
    parser.add_argument("--lr", type=float, help="learning rate (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="seed of the run (default: the recipe's)")
    parser.add_argument("--every", type=int, help="steps between checkpoints (default: 1000)")
    parser.add_argument("--precision", help="auto, fp32 or bf16 (default: auto)")
    parser.add_argument("--profile", choices=("ci", "cpu", "gpu"), help="sizes of a chapter")
    parser.add_argument(
        "--training", type=named_training, metavar="NAME[:N]",
        help="another training of a chapter: the name that the (N-th) statement binds",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        join_processes()
        if (notebook := find_notebook(arguments.model)) is not None:
            train_chapter(notebook, arguments)
        elif arguments.profile or arguments.training:
            raise refusal("--profile and --training", "a chapter", f"the model {arguments.model}")
        else:
            train(arguments)
        end_processes()
    except (CheckpointError, TrainingError, ValueError, TypeError, OSError) as error:
        say(f"train: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say(f"train: stopped; the same command goes on with what {arguments.out} has.", sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
