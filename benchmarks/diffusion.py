"""Our diffusion against diffusers: the same numbers, and how fast a U-Net of the same size is.

    pip install -r benchmarks/requirements.txt
    python benchmarks/diffusion.py [--repeats 5] [--threads 1] [--batch 16]
    python benchmarks/diffusion.py --store      # the peer's numbers, for the tests
    python benchmarks/diffusion.py --layouts    # our U-Net alone: channels last, bf16

Numbers: the schedules, one step of DDPM, leaps of DDIM, one step of rectified flow, on the same
tensors; it stops where they differ. Speed: a step of training (loss and gradient) and a look at a
batch (what sampling does once a step), which take turns; the median counts, of processor time on
one thread and of wall time on more.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

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


def timed(clock, function):
    start = clock()
    function()
    return clock() - start


def speed(nets, clock, repeats, batch):
    """Median seconds of a step of training and of a look, by network."""
    x, eps = torch.randn(batch, 1, 28, 28), torch.randn(batch, 1, 28, 28)
    t = torch.randint(1, 1_000, (batch,))

    def look(name):
        with torch.no_grad():
            found = nets[name](x, t)
            return found if torch.is_tensor(found) else found.sample

    def train(name):
        found = nets[name](x, t)
        F.mse_loss(found if torch.is_tensor(found) else found.sample, eps).backward()

    times = {(what, name): [] for what in ("train", "look") for name in nets}
    for name in nets:
        train(name), look(name)  # the first call chooses its kernels
    for _ in range(repeats):
        for name in nets:
            times["train", name].append(timed(clock, lambda n=name: train(n)))
            times["look", name].append(timed(clock, lambda n=name: look(n)))
    return {key: statistics.median(values) for key, values in times.items()}


def layouts(clock, repeats, batch):
    """Median seconds of a step of training of our U-Net, by how its numbers are kept."""
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
            times[name].append(timed(clock, lambda n=name: train(n)))
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    """Print the largest gap and one table; or store the peer's numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--store", action="store_true", help="write the peer's numbers")
    parser.add_argument("--layouts", action="store_true", help="our U-Net alone, no peer")
    arguments = parser.parse_args()
    if min(arguments.repeats, arguments.threads, arguments.batch) < 1:
        parser.error("every number must be at least 1")
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    if arguments.layouts:
        for name, seconds in layouts(clock, arguments.repeats, arguments.batch).items():
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
        return
    nets = networks()
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), batch {arguments.batch}")
    for name, net in nets.items():
        print(f"{name:10s} {sum(p.numel() for p in net.parameters()):,} weights")
    times = speed(nets, clock, arguments.repeats, arguments.batch)
    for what in ("train", "look"):
        mine, peers = times[what, "ours"], times[what, "diffusers"]
        print(f"{what:6s} ours {1e3 * mine:7.0f} ms   diffusers {1e3 * peers:7.0f} ms   "
              f"ratio {mine / peers:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
