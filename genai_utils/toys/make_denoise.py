"""Train the small denoiser of ``play("denoise")`` and measure what it draws.

    python -m genai_utils.toys.make denoise

It trains on a graphics card where there is one (in less than a minute), else on the processor (in
about half an hour). Two files come out in `weights`: `denoise.safetensors`, in half precision, and
`denoise.json`, the record: the settings, the error on test digits, and how often a digit that was
asked for is one.
"""

import safetensors.torch
import torch
import torch.nn.functional as F

from genai_utils import data, evaluation
from genai_utils.data import shipped
from genai_utils.toys import denoise as toy
from genai_utils.training import TensorBatches, fit
from genai_utils.training.checkpoint import kept_random_state

# Of the training digits the first `images` are learned.
RECIPE = {
    "images": 55_000, "steps": 16_000, "batch": 256, "lr": 2e-3, "warmup": 200, "ema": 0.999,
    "seed": 0,
}  # fmt: skip


def learn(images, recipe, device, progress=False):
    """Train the toy's model on coarse digits (x, y); the model with averaged weights."""
    batches = TensorBatches(
        images.x, images.y, batch_size=recipe["batch"], seed=recipe["seed"], device=device
    )
    with kept_random_state():
        torch.manual_seed(recipe["seed"])
        model = toy.network().to(device)
        options = {name: recipe[name] for name in ("lr", "warmup", "ema", "seed")}
        return fit(
            model, batches, recipe["steps"], **options, clip=1.0, graph=True, progress=progress,
            title="denoise",
        ).ema_model.cpu()  # fmt: skip


@torch.no_grad()
def measured(model, images, judge, count=1_000):
    """What the page says of the model, measured on coarse test digits and as many samples.

    error: ‖ε - ε(x_t, t, y)‖² per pixel. right: of samples asked for by class, in 25 steps of DDIM,
    the share that the judge, to whom they are shown enlarged, reads as that class; real: the same
    of test digits that were made as coarse.
    """
    g = torch.Generator().manual_seed(0)
    with kept_random_state():
        torch.manual_seed(0)
        x, y = images.x[:count], images.y[:count]
        error = model.chain.loss(2 * x - 1, y).item()
    asked = torch.arange(count) % 10
    drawn = model.sample(count, asked, generator=g, steps=25)
    return {
        "error": error,
        "right": judge.accuracy(enlarged(drawn), asked),
        "real": judge.accuracy(enlarged(x), y),
    }


def enlarged(x):
    """Coarse digits (N, 1, 14, 14) as a judge of 28 by 28 pixels takes them."""
    return F.interpolate(x, scale_factor=2, mode="bilinear").clamp(0, 1)


def make(steps=None, progress=False):
    """Train; returns the bytes of the weights and the record. DataError where MNIST is missing."""
    recipe = {**RECIPE, "steps": steps or RECIPE["steps"]}
    recipe["warmup"] = min(recipe["warmup"], recipe["steps"] // 10)
    train, test = data.mnist("train"), data.mnist("test")
    if "mnist" not in data.used():
        raise data.DataError("the denoising toy needs MNIST, not its stand-in; set GENAI_DATA")
    known = data.Images(toy.coarse(train.x), train.y)
    known = data.Images(known.x[: recipe["images"]], known.y[: recipe["images"]])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = learn(known, recipe, device, progress)
    state = model.chain.net.state_dict()
    state = {name: p.detach().half().contiguous() for name, p in state.items()}
    model = toy.network(state).eval()  # what the page has: rounded
    payload = safetensors.torch.save(state)
    coarse = data.Images(toy.coarse(test.x), test.y)
    record = {
        **recipe,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": "a graphics card" if device == "cuda" else "a processor",
        "test": measured(model, coarse, evaluation.load_judge(28, "mnist")),
    }
    return payload, shipped.sealed(record, payload)
