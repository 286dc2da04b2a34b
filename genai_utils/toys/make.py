"""Make the weights that a toy brings.

    python -m genai_utils.toys.make digit
    python -m genai_utils.toys.make attention           see make_attention
    python -m genai_utils.toys.make denoise             see make_denoise
    python -m genai_utils.toys.make prompting           see make_prompting
    python -m genai_utils.toys.make scenes              see make_scenes
    python -m genai_utils.toys.make rag                 see make_rag
    python -m genai_utils.toys.make lora                see make_lora
    python -m genai_utils.toys.make verdict             see make_verdict
    python -m genai_utils.toys.make text_to_image       see make_text_to_image

The first trains on MNIST's training digits (which must be on this machine), on a processor, in one
thread, in about two minutes. Two files come out: `digit.safetensors`, the weights in half precision
with some encoded test digits, and `digit.json`, the record: the settings, what was measured on test
digits, and the SHA-256 of the weights. The same machine makes the same bytes again; another
processor rounds differently, and its model differs a little.
"""

import argparse
import os
import sys

import safetensors.torch
import torch

from genai_utils import data
from genai_utils.data import shipped
from genai_utils.inputs import path
from genai_utils.printing import say
from genai_utils.toys import (
    digit,
    make_attention,
    make_denoise,
    make_lora,
    make_prompting,
    make_rag,
    make_scenes,
    make_text_to_image,
    make_verdict,
)
from genai_utils.training import TensorBatches, dynamic_binarize, fit
from genai_utils.training.checkpoint import kept_random_state

# Of the training digits the first `images` are learned. Sizes and steps were chosen on the rest.
RECIPE = {"images": 55_000, "steps": 16_000, "batch": 128, "lr": 4e-3, "warmup": 100, "seed": 0}


def learn(x, recipe, progress=False):
    """Train the toy's model on digits (N, 1, 28, 28) in [0, 1], a fresh coin for each pixel."""
    batches = TensorBatches(
        x, batch_size=recipe["batch"], seed=recipe["seed"], transform=dynamic_binarize
    )
    with kept_random_state():
        torch.manual_seed(recipe["seed"])
        options = {name: recipe[name] for name in ("lr", "warmup", "seed")}
        net = digit.network()
        return fit(net, batches, recipe["steps"], **options, progress=progress, title="digit").model


@torch.no_grad()
def measured(net, x, y, dots, kinds):
    """What the page says of the model, measured on digits x (N, 1, 28, 28) and labels y (N,).

    elbo: mean of the bound in nats for coins thrown anew, and for pixels made black and white at a
    half, as the page does. nearest: share of digits whose class most of the nearest dots have.
    """
    g = torch.Generator().manual_seed(0)
    coins, sharp = dynamic_binarize(x, g), x.round()
    votes = digit.votes(net.encode(sharp)[0], dots, kinds)  # (N, 10)
    return {
        "elbo": {
            "coins": net.bound(coins, samples=10, generator=g).mean().item(),
            "sharp": net.bound(sharp, samples=10, generator=g).mean().item(),
        },
        "nearest": (votes.argmax(dim=1) == y).double().mean().item(),
    }


@torch.no_grad()
def typical(net, x, y):
    """Of each class the digit whose bound is the median of its class: their places, (10,)."""
    bound = net.bound(x.round(), samples=10, generator=torch.Generator().manual_seed(0))
    places = []
    for kind in range(10):
        mine = (y == kind).nonzero().flatten()
        places.append(int(mine[bound[mine].argsort()[len(mine) // 2]]))
    return places


def make(steps=None, progress=False):
    """Train the model of the digit toy; returns the bytes of its weights and its record, a dict.

    steps: fewer than the recipe's, for a trial. Raises DataError where MNIST cannot be had.
    """
    recipe = {**RECIPE, "steps": steps or RECIPE["steps"]}
    recipe["warmup"] = min(recipe["warmup"], recipe["steps"] // 10)
    train, test = data.mnist("train"), data.mnist("test")
    if "mnist" not in data.used():
        raise data.DataError("the digit toy needs MNIST, not its stand-in; set GENAI_DATA")
    known, held_out = slice(recipe["images"]), slice(recipe["images"], None)
    net = learn(train.x[known], recipe, progress)
    state = {name: p.detach().half().contiguous() for name, p in net.state_dict().items()}
    net = digit.network(state).eval()  # what the page has: rounded
    shown, rest = slice(digit.DOTS), slice(digit.DOTS, None)
    with torch.no_grad():
        dots, kinds = net.encode(test.x[shown].round())[0], test.y[shown]
    places = typical(net, test.x, test.y)
    payload = safetensors.torch.save(
        {
            **state,
            "dots": dots.half(),
            "kinds": kinds.to(torch.uint8),
            "digits": (255 * test.x[places, 0]).round().to(torch.uint8),
        }
    )
    record = {
        **recipe,
        "parameters": sum(p.numel() for p in net.parameters()),
        "held_out": measured(net, train.x[held_out], train.y[held_out], dots, kinds),
        "test": measured(net, test.x[rest], test.y[rest], dots, kinds),
        "test_images": len(test.x[rest]),
    }
    return payload, shipped.sealed(record, payload)


MAKERS = {
    "digit": make, "attention": make_attention.make, "denoise": make_denoise.make,
    "prompting": make_prompting.make, "scenes": make_scenes.make, "rag": make_rag.make,
    "lora": make_lora.make, "verdict": make_verdict.make,
    "text_to_image": make_text_to_image.make,
}  # fmt: skip

REACHED = {  # what the command says of a toy, from its record
    "digit": lambda r: f"{-r['test']['elbo']['coins']:.1f} nats for a test digit (−ELBO)",
    "attention": lambda r: f"{100 * r['right']['second half']:.1f} % of repeated letters right",
    "denoise": lambda r: f"{100 * r['test']['right']:.1f} % of the digits are read as asked for",
    "prompting": lambda r: f"{100 * r['accuracy']['table'][-1]:.1f} % right after eight examples",
    "scenes": lambda r: f"{100 * r['test']['unseen']:.1f} % of scenes of unseen pairs read right",
    "rag": lambda r: f"{100 * r['accuracy']['right']:.1f} % right where a passage answers",
    "lora": lambda r: (
        f"{r['nats']['none']['shakespeare']:.2f} nats per letter of Shakespeare, "
        f"{r['nats']['shakespeare']['shakespeare']:.2f} with the adapter"
    ),
    "verdict": lambda r: (
        f"{100 * r['test']['pretrained']:.1f} % of the test sentences right, "
        f"{100 * r['test']['scratch']:.1f} % without pre-training"
    ),
    "text_to_image": lambda r: (
        f"kind and colour as asked in {100 * r['test']['seen']['pair']:.1f} %, "
        f"of unseen pairs {100 * r['test']['unseen']['pair']:.1f} %"
    ),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.toys.make", description=__doc__.splitlines()[0]
    )
    parser.add_argument("toy", choices=list(MAKERS))
    parser.add_argument("--steps", type=int, help="fewer than the recipe's, for a trial")
    parser.add_argument("--out", default=digit.WEIGHTS, help="a folder; the package's own")
    what = "text_to_image only: a folder for what is done so far; a run goes on from it"
    parser.add_argument("--checkpoint", help=what)
    options = parser.parse_args(arguments)
    if options.checkpoint and options.toy != "text_to_image":
        parser.error(f"--checkpoint goes with text_to_image, not with {options.toy}")
    if options.toy not in ("denoise", "text_to_image"):
        os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    try:
        out = path(options.out, "--out")
        more = {"checkpoint": options.checkpoint} if options.toy == "text_to_image" else {}
        payload, record = MAKERS[options.toy](options.steps, progress=True, **more)
        file = out / f"{options.toy}.safetensors"
        shipped.write(file, payload, record)
    except (data.DataError, OSError, ValueError) as error:
        say(error, file=sys.stderr)
        return 1
    say(f"{file}: {record['bytes']:,} bytes, {REACHED[options.toy](record)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
