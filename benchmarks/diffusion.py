"""Our diffusion against diffusers: the same numbers, and how fast a U-Net of the same size is.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.diffusion [--store]             # do they agree?
    python -m benchmarks --only unet-train unet-look ddim ddpm      # which is quicker?
    python -m benchmarks.diffusion --layouts             # our U-Net alone: channels last, bf16

Numbers: the schedules, one step of DDPM, leaps of DDIM, one step of rectified flow, on the same
tensors; it stops where they differ. --store writes the peer's, for the tests. Speed: training steps
and a look at a batch, each with a network of its own of the same levels, channels and attention;
and sampling, where our U-Net stands inside both chains.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.compare import Race, Row
from benchmarks.steps import training_race
from genai_utils import data
from genai_utils.vision import diffusion, flow_matching
from genai_utils.vision.unet import UNet

STORED = Path(__file__).with_name("diffusion_diffusers.json")
TIMES = (1, 2, 3, 10, 100, 500, 999, 1_000)


def tensors():
    """x_t, eps and z of the comparison, (3, 2, 4) each: the same on every machine."""
    place = torch.arange(24, dtype=torch.float64).reshape(3, 2, 4)
    return (place * 0.7).sin(), (place * 1.3 + 1).cos(), (place * 2.1 + 2).sin()


def ours():
    """The numbers that are compared, by our functions: a dict of lists."""
    x_t, eps, z = tensors()
    found = {}
    schedules = {"linear": diffusion.linear_betas(), "cosine": diffusion.cosine_betas()}
    for name, beta in schedules.items():
        found[f"bar, {name}"] = diffusion.cumulative(beta)[list(TIMES)]
    bar = diffusion.cumulative(schedules["linear"])
    for t, s, eta in ((500, 400, 0.0), (500, 400, 0.5), (100, 0, 0.0)):
        now, then = bar[t].expand(3), bar[s].expand(3)
        found[f"ddim {t} to {s}, eta {eta}"] = diffusion.ddim_step(x_t, eps, now, then, eta, z)
    for t in (2, 500, 1_000):
        now, then = bar[t].expand(3), bar[t - 1].expand(3)
        clean = diffusion.denoised(x_t, eps, now)
        mean, variance = diffusion.posterior(clean, x_t, now, then)
        found[f"ddpm {t}"] = mean + variance.sqrt().reshape(3, 1, 1) * z
    found["noised 500"] = diffusion.noised(x_t, bar[500].expand(3), eps)
    found["euler"] = flow_matching.euler(lambda x, u: eps, x_t, 4)
    return {name: value.flatten().tolist() for name, value in found.items()}


def theirs():
    """The same by diffusers."""
    import diffusers
    from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler

    x_t, eps, z = tensors()
    found = {}
    linear = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    linear["clip_sample"] = False
    for name, options in (("linear", linear), ("cosine", {"beta_schedule": "squaredcos_cap_v2"})):
        bars = DDPMScheduler(num_train_timesteps=1_000, **options).alphas_cumprod
        found[f"bar, {name}"] = bars[[t - 1 for t in TIMES]].double()
    ddim = DDIMScheduler(num_train_timesteps=1_000, set_alpha_to_one=True, **linear)
    ddim.set_timesteps(10)
    for t, s, eta in ((500, 400, 0.0), (500, 400, 0.5), (100, 0, 0.0)):
        noise = z if eta else None
        step = ddim.step(eps, t - 1, x_t, eta=eta, variance_noise=noise)
        found[f"ddim {t} to {s}, eta {eta}"] = step.prev_sample
    ddpm = DDPMScheduler(num_train_timesteps=1_000, variance_type="fixed_small", **linear)
    for t in (2, 500, 1_000):
        g = torch.Generator().manual_seed(0)
        drawn = torch.randn(x_t.shape, generator=g, dtype=torch.float64)  # what it will draw
        g.manual_seed(0)
        step = ddpm.step(eps, t - 1, x_t, generator=g).prev_sample
        std = ddpm._get_variance(t - 1).double().sqrt()
        found[f"ddpm {t}"] = step + std * (z - drawn)
    found["noised 500"] = ddpm.add_noise(x_t, eps, torch.full((3,), 499))
    flow = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1_000)
    flow.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
    x = x_t
    for t in flow.timesteps:
        x = flow.step(eps, t, x).prev_sample
    found["euler"] = x
    numbers = {name: value.double().flatten().tolist() for name, value in found.items()}
    return {"diffusers": diffusers.__version__, "numbers": numbers}


def networks():
    """{name: a network (x, t) -> eps}, of the same levels, channels and attention."""
    from diffusers import UNet2DModel

    peer = UNet2DModel(
        sample_size=28, in_channels=1, out_channels=1, block_out_channels=(32, 64, 64),
        layers_per_block=1, down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3, norm_num_groups=8, attention_head_dim=16,
    )  # fmt: skip
    mine = UNet(28, width=32)
    return {"ours": mine, "diffusers": peer}


def noise_of(net, x, t):
    """What a network says; diffusers' puts it into an object."""
    found = net(x, t)
    return found if torch.is_tensor(found) else found.sample


def drawn(net):
    """Ours with random weights where it begins with zeros, as the peer's does.

    From zeros 40 steps lead to a loss of 0.44 and from random weights to 0.15, the peer's to 0.21:
    that would compare beginnings, not networks.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            layer.reset_parameters()
    return net


def training(quick) -> Race:
    """Training steps on MNIST, batch 32: 40 a turn, or 12."""
    torch.manual_seed(0)
    bar, count = diffusion.cumulative(diffusion.cosine_betas()).float(), 12 if quick else 40
    x = 2 * data.mnist("train", n=32 * count).x.view(count, 32, 1, 28, 28) - 1
    t, eps = torch.randint(1, 1_001, (count, 32)), torch.randn_like(x)
    x_t = diffusion.noised(x.flatten(0, 1), bar[t].flatten(), eps.flatten(0, 1)).view_as(x)
    batches = list(zip(x_t, t, eps, strict=True))

    def loss_of(net, batch):
        x_t, t, eps = batch
        return F.mse_loss(noise_of(net, x_t, t), eps)

    nets = networks()
    sides = (drawn(nets["ours"]), loss_of), (nets["diffusers"], loss_of)
    return training_race(*sides, batches, 32 * count)


def looking(quick) -> Race:
    """A look at a batch of 32: what sampling does once a step."""
    torch.manual_seed(0)
    x, t = torch.randn(32, 1, 28, 28), torch.randint(1, 1_000, (32,))

    def look(net):
        return torch.no_grad()(lambda: noise_of(net, x, t))

    nets = networks()
    return Race(lambda turn: look(nets["ours"]), lambda turn: look(nets["diffusers"]), 32)


def sampling(kind, quick) -> Race:
    """16 images by 25 leaps of DDIM, or 10; or by a short chain of DDPM, of 25 steps."""
    from diffusers import DDIMScheduler, DDPMScheduler

    torch.manual_seed(0)
    count, T = (10 if quick else 25, 1_000) if kind == "ddim" else (25, 25)
    model = diffusion.DDPM(28, T=T, schedule=diffusion.linear_betas(T))
    options = {"num_train_timesteps": T, "trained_betas": diffusion.linear_betas(T).numpy()}
    options["clip_sample"] = True  # as our chain of images
    scheduler = (DDIMScheduler if kind == "ddim" else DDPMScheduler)(**options)
    scheduler.set_timesteps(count)
    net = model.chain.net

    def ours(turn):
        g = torch.Generator().manual_seed(turn)
        steps = count if kind == "ddim" else None
        return lambda: 2 * model.sample(16, generator=g, steps=steps) - 1

    def peer(turn):
        g = torch.Generator().manual_seed(turn)

        @torch.no_grad()
        def walk():
            x = torch.randn(16, 1, 28, 28, generator=g)
            for t in scheduler.timesteps:
                eps = noise_of(net, x, t.expand(16) + 1)
                x = scheduler.step(eps, t, x, generator=g).prev_sample
            return x.clamp(-1, 1)

        return walk

    return Race(ours, peer, 16, lambda images: images.std())


ROWS = [
    Row("unet-train", "27_diffusion", "training a U-Net, 3 levels of 32, 64, 64, random weights",
        "diffusers", "images/s", training, "loss after the steps", slack=0.05,
        small="12 steps a turn"),
    Row("unet-look", "27_diffusion", "a look of the same U-Nets at 32 images", "diffusers",
        "images/s", looking),
    *(Row(kind, "27_diffusion", f"sampling by {kind.upper()}, our U-Net in both", "diffusers",
          "images/s", partial(sampling, kind), "spread of the images", higher=True, slack=0.05,
          small="10 leaps" if kind == "ddim" else "")
      for kind in ("ddim", "ddpm")),
]  # fmt: skip


def layouts(repeats=15, batch=16):
    """Median processor seconds of a training step of our U-Net, by how its numbers are kept."""
    x, eps = torch.randn(batch, 1, 28, 28), torch.randn(batch, 1, 28, 28)
    t = torch.randint(1, 1_000, (batch,))
    kinds = {
        "contiguous": (torch.contiguous_format, False),
        "channels last": (torch.channels_last, False),
        "channels last, bf16": (torch.channels_last, True),
    }
    nets = {name: UNet(28, width=32).to(memory_format=kind) for name, (kind, _) in kinds.items()}

    def train(name):
        with torch.autocast("cpu", torch.bfloat16, enabled=kinds[name][1]):
            found = nets[name](x, t)
        F.mse_loss(found.float(), eps).backward()

    times = {name: [] for name in nets}
    for name in nets:
        train(name)  # the first call chooses its kernels
    for _ in range(repeats):
        for name in nets:
            start = time.process_time()
            train(name)
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    """Print the largest gap; or store the peer's numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write the peer's numbers")
    parser.add_argument("--layouts", action="store_true", help="our U-Net alone, no peer")
    arguments = parser.parse_args()
    if arguments.layouts:
        for name, seconds in layouts().items():
            print(f"{name:20s} {1e3 * seconds:7.0f} ms a step of training")
        return
    try:
        peer = theirs()
    except ImportError as error:
        parser.error(f"{error}: pip install -r benchmarks/requirements.txt")
    gaps = {
        name: max(abs(a - b) for a, b in zip(values, peer["numbers"][name], strict=True))
        for name, values in ours().items()
    }
    worst = max(gaps, key=gaps.get)
    print(f"diffusers {peer['diffusers']}; largest gap {gaps[worst]:.1e}, in {worst!r}")
    if gaps[worst] > 1e-4:
        raise SystemExit("The numbers differ.")
    if arguments.store:
        STORED.write_text(json.dumps(peer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
