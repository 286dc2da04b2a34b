"""Make the weights of a judge that the package brings.

    python -m genai_utils.evaluation.make_judge --size 28 --out genai_utils/evaluation/weights

It trains on training digits only, on a processor, in one thread: 28×28 (MNIST, which must be on
this machine) takes a few minutes, 16×16 (MNIST at half the side) one or two, 8×8 (scikit-learn's) a
few seconds. Two files come out, of 28×28:
`judge_28.safetensors`, in half precision, and `judge_28.json`, the record: the settings, how well
the judge reads digits that it did not learn from, and the SHA-256 of the weights. The same machine
makes the same bytes again; another processor rounds differently, and its judge differs a little.
"""

import argparse
import os
import sys

import torch

from genai_utils import data
from genai_utils.data import shipped
from genai_utils.evaluation import judge_net
from genai_utils.evaluation.inputs import as_images, as_labels
from genai_utils.evaluation.judge import WEIGHTS, Judge
from genai_utils.inputs import path
from genai_utils.printing import say

# Of the training digits the first `images` are learned, the rest are held out.
RECIPES = {
    28: {"data": "mnist", "images": 55_000, "steps": 5_000, "seed": 0},
    16: {"data": "mnist", "images": 55_000, "steps": 5_000, "seed": 0},
    8: {"data": "digits", "images": 1_200, "steps": 1_000, "seed": 0},
}
SETTINGS = {
    "batch": judge_net.BATCH,
    "lr": judge_net.LR,
    "warmup": judge_net.WARMUP,
    "rubbish": judge_net.RUBBISH,
    "features": judge_net.FEATURES,
}


def make(size, steps=None, progress=False):
    """Train the judge of this size; returns the bytes of its weights and its record, a dict.

    steps: fewer than the recipe's, for a trial. Raises DataError where MNIST cannot be had.
    """
    recipe = dict(RECIPES[size])
    recipe["steps"] = steps or recipe["steps"]
    load = getattr(data, recipe["data"])
    train, test = load("train", size), load("test", size)
    if recipe["data"] == "mnist" and "mnist" not in data.used():
        raise data.DataError("the judge of MNIST needs MNIST, not its stand-in; set GENAI_DATA")
    x, y = as_images(train.x, dtype=torch.float32), as_labels(train.y, "y")
    known, held_out = slice(recipe["images"]), slice(recipe["images"], None)

    net = judge_net.learn(x[known], y[known], recipe["steps"], recipe["seed"], progress=progress)
    payload = judge_net.pack(net, torch.float16)
    net = judge_net.fill(judge_net.blank(size, size), payload)  # what a reader will load: rounded
    judge = Judge(net, x.shape[1:], torch.device("cpu"), recipe)
    noise = torch.rand(10_000, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    record = {
        "size": size,
        **recipe,
        **SETTINGS,
        "held_out": len(x[held_out]),
        "accuracy": {
            "held_out": judge.accuracy(x[held_out], y[held_out]),
            "test": judge.accuracy(test.x, test.y),
        },
        "recognised": {
            "test": judge.recognised_share(test.x),
            "noise": judge.recognised_share(noise),
        },
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    return payload, shipped.sealed(record, payload)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.evaluation.make_judge", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--size", type=int, choices=RECIPES, default=28)
    parser.add_argument("--steps", type=int, help="fewer than the recipe's, for a trial")
    parser.add_argument("--out", default=WEIGHTS, help="a folder")
    options = parser.parse_args(arguments)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    try:
        out = path(options.out, "--out")
        payload, record = make(options.size, options.steps, progress=True)
        file = out / f"judge_{options.size}.safetensors"
        shipped.write(file, payload, record)
    except (data.DataError, OSError, ValueError) as error:
        say(error, file=sys.stderr)
        return 1
    right = 100 * record["accuracy"]["test"]
    say(f"{file}: {record['bytes']:,} bytes, {right:.2f} % of the test digits right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
