"""Train the networks of ``play("text_to_image")`` one after the other, and measure them.

    python -m genai_utils.toys.make text_to_image

The text encoder is the textual tower of a CLIP as ``play("scenes")`` has one, learned on pairs of
the page's world; then come the image encoder with its decoder, and the denoiser. It trains on a
graphics card where there is one, else on the processor, in one thread, in about a quarter of an
hour. `--checkpoint FOLDER` keeps what is done, each network in a folder of its own: an interrupted
run goes on from there. Two files come out in `weights`: `text_to_image.safetensors`, one byte for
each weight of a matrix, and `text_to_image.json`, the record: the settings, and how often a picture
has what its sentence says, by a judge that had no part in it.
"""

from pathlib import Path

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.toys import text_to_image as toy
from genai_utils.training import TensorBatches, fit
from genai_utils.training.checkpoint import kept_random_state
from genai_utils.vision import clip, scene_judge, scenes
from genai_utils.vision.latent_diffusion import scene_pairs

# Sizes, rates and steps were chosen on scenes of other seeds than those that are measured.
RECIPE = {
    "text": {"steps": 700, "batch": 128, "lr": 5e-3},
    "coder": {"steps": 800, "batch": 64, "lr": 4e-3},
    "denoiser": {"steps": 6_000, "batch": 64, "lr": 2.5e-3, "pairs": 60_000, "ema": 0.998},
    "judge": {"steps": 1_000, "batch": 128, "lr": 3e-3},
    "seed": 0,
}
WORLD = scenes.scene(**toy.WORLD)
TEST_SEED = 10**6  # of the scenes that are measured; no training has it


def _fit(model, batches, recipe, name, folder, progress, **options):
    """Train one of the networks; the random numbers of its start are of the recipe's seed."""
    options = {"lr": recipe["lr"], "warmup": recipe["steps"] // 20, "clip": 1.0, "graph": True,
               "seed": RECIPE["seed"], "title": name, "progress": progress, "every": 50,
               "checkpoint": folder and Path(folder) / name, **options}  # fmt: skip
    return fit(model, batches, recipe["steps"], **options)


def learn_text(recipe, device, folder=None, progress=False):
    """The text encoder: the textual tower of a CLIP that learned pictures with their sentences."""
    say = {"say": scenes.BRIEF, "first": recipe["steps"] // 4}
    batches = scenes.SceneBatches(recipe["batch"], seed=2, said=WORLD, device=device, **say)
    with kept_random_state():
        torch.manual_seed(RECIPE["seed"])
        model = toy.blank_clip().to(device)
        options = {"optimizer": clip.muon(model, recipe["lr"])}
        model = _fit(model, batches, recipe, "text", folder, progress, **options).model.eval()
    return toy.TextEncoder(model.textual, scenes.END)


def learn_coder(recipe, device, folder=None, progress=False):
    """The image encoder and decoder, from pictures alone; its scale is fixed at the end."""
    batches = Pictures(recipe["batch"], device)
    with kept_random_state():
        torch.manual_seed(RECIPE["seed"])
        model = toy.blank_coder().to(device)
        model = _fit(model, batches, recipe, "coder", folder, progress).model.eval()
    return model.measure(torch.cat([batches(-i) for i in range(1, 17)]))


class Pictures:
    """Batches of pictures without their sentences, a function of the step."""

    def __init__(self, batch_size, device):
        self.of = scenes.SceneBatches(batch_size, seed=1, said=WORLD, device=device)

    def describe(self):
        return f"pictures of {WORLD.tolist()}, {self.of.batch_size} at a time, seed {self.of.seed}"

    def __call__(self, step):
        return self.of(10**5 + step)[0]


def learn_denoiser(coder, text, recipe, device, folder=None, progress=False):
    """The denoiser, from pairs of latents and sentences; its averaged weights."""
    z, ids = scene_pairs(recipe["pairs"], coder, seed=3, said=WORLD, device=device)
    batches = TensorBatches(z, ids, batch_size=recipe["batch"], seed=RECIPE["seed"])
    with kept_random_state():
        torch.manual_seed(RECIPE["seed"])
        model = toy.blank(coder, text).to(device)
        options = {"ema": recipe["ema"], "every": 250}
        found = _fit(model, batches, recipe, "denoiser", folder, progress, **options)
    return found.ema_model


@torch.no_grad()
def measured(model, coder, judge, count=500):
    """What the page says of the model, measured on `count` sentences of scenes never trained on.

    Sentences say all attributes of the page's world. seen, unseen: agreement for combinations of
    kind and colour of the training and for held-out ones; shuffled: the same pictures against other
    sentences; short: sentences of kind and colour only; judge: the judge on real pictures of the
    same scenes; psnr: of these, encoded by `coder` and decoded, in decibel.
    """
    found = {}
    for name, unseen in (("seen", False), ("unseen", True)):
        g = torch.Generator().manual_seed(TEST_SEED + unseen)
        table = scenes.draw(count, g, unseen, WORLD)
        real = scenes.render(table, g, "test")
        said = [scenes.caption(row, i % scenes.PHRASINGS) for i, row in enumerate(table)]
        x = model.draw(said, toy.STEPS, toy.GUIDANCE, g)
        found[name] = scene_judge.agreement(judge, x, table)
        found[f"judge, {name}"] = scene_judge.agreement(judge, real, table)
        short = torch.full_like(table, scenes.UNSAID)
        short[:, :2] = table[:, :2]
        drawn = model.draw([scenes.caption(row) for row in short], toy.STEPS, toy.GUIDANCE, g)
        found[f"{name}, short"] = {"pair": scene_judge.agreement(judge, drawn, short)["pair"]}
        if not unseen:
            other = table[torch.randperm(count, generator=g)]
            found["shuffled"] = scene_judge.agreement(judge, x, other)
            again = model.coder.decode(coder.encode(real))
            error = (again - real).square().mean()
            found["psnr"] = -10 * error.log10().item()
            found["judge, decoded"] = scene_judge.agreement(judge, again, table)
    return found


def make(steps=None, progress=False, checkpoint=None):
    """Train and measure; returns the bytes of the weights and the record, a dict.

    steps: fewer than the recipe's, of each network, for a trial.
    """
    parts = ("text", "coder", "denoiser", "judge")
    recipe = {**RECIPE, **{p: {**RECIPE[p], "steps": steps or RECIPE[p]["steps"]} for p in parts}}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    told = {"device": device, "folder": checkpoint, "progress": progress}
    text = learn_text(recipe["text"], **told)
    coder = learn_coder(recipe["coder"], **told)
    model = learn_denoiser(coder, text, recipe["denoiser"], **told).cpu().eval()
    r = recipe["judge"]
    options = {"lr": r["lr"], "checkpoint": checkpoint and Path(checkpoint) / "judge",
               "progress": progress, "title": "judge", "every": 100}  # fmt: skip
    with kept_random_state():
        given = {"said": WORLD, "device": device, **options}
        judge = scene_judge.train_judge(r["steps"], r["batch"], **given).cpu()
    packed = toy.packed(toy.state_of(model))
    payload = safetensors.torch.save(packed)
    model = toy.network(packed)  # what the page has: rounded
    record = {
        **recipe,
        "parameters": toy.counts(model),
        "device": "a graphics card" if device == "cuda" else "a processor",
        "steps of a walk": toy.STEPS,
        "guidance": toy.GUIDANCE,
        "test": measured(model, coder.cpu(), judge),
    }
    return payload, shipped.sealed(record, payload)
