"""The start of a notebook: its device, its profile, its seed, and the numbers that it records.

    run = start("24_vae")
    steps = run.pick(ci=50, cpu=2_000, gpu=20_000)
    run.record("IWAE, k = 500", 89.3, "nats")

`genai_utils.course.execute` reads what was recorded and writes it into the notebook's run card.
"""

import json
import os
import platform
import random
import re
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from genai_utils.printing import say

PROFILES = ("ci", "cpu", "gpu")
SEEDS = 2**32  # NumPy's global generator takes no larger seed
_current = None


@dataclass
class Run:
    """One run of one notebook. Made by `start`."""

    name: str
    profile: str
    device: torch.device
    seed: int
    began: float = field(default_factory=time.perf_counter)
    metrics: list = field(default_factory=list)

    def pick(self, **sizes):
        """The size that belongs to this run's profile: `run.pick(ci=50, cpu=2_000, gpu=20_000)`.

        All three profiles must be named, so that no profile is forgotten.
        """
        if set(sizes) != set(PROFILES):
            raise ValueError(
                f"run.pick expects exactly the profiles {', '.join(PROFILES)}; "
                f"it got {', '.join(sizes) or 'none'}."
            )
        return sizes[self.profile]

    def record(self, name, value, unit="", note=""):
        """Note a measured number for the run card; a second record of a name replaces the first.

        `value` is a finite number. `unit` is a word such as "nats", "bits/dim", "%", "s".
        """
        value = float(value)
        if not np.isfinite(value):
            raise ValueError(f"run.record({name!r}) expects a finite number; it got {value}.")
        self.metrics = [m for m in self.metrics if m["name"] != name]
        self.metrics.append(
            {"name": str(name), "value": value, "unit": str(unit), "note": str(note)}
        )


def start(name, seed=None):
    """Begin a notebook: choose profile and device, seed, set the style, and say so in one line.

    The profile is `GENAI_PROFILE` (ci, cpu or gpu); unset, it is gpu where CUDA is there, else cpu.
    The seed is `seed`, or else `GENAI_SEED`, or else 0.
    Raises ValueError for an unknown profile, a seed that is no whole number from 0 to 2**32 - 1,
    or a name that is not like "24_vae".
    """
    global _current
    if not isinstance(name, str) or not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(
            f'start expects the name of a notebook, such as "24_vae"; it got {name!r}.'
        )
    seed = seed_of_run() if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise ValueError(
            f"start expects a seed that is a whole number from 0 to {SEEDS - 1}; it got {seed!r}."
        )
    cuda = torch.cuda.is_available()
    profile = os.environ.get("GENAI_PROFILE") or ("gpu" if cuda else "cpu")
    if profile not in PROFILES:
        raise ValueError(
            f"The profile is one of {', '.join(PROFILES)}; GENAI_PROFILE is {profile!r}. "
            "Set it to one of these, or unset it."
        )
    device = torch.device("cuda" if cuda and profile != "cpu" else "cpu")
    # `fit` leaves the choice of the device to Accelerate, which would take a card (or a Mac's)
    # that this run does not use.
    os.environ["ACCELERATE_USE_CPU"] = str(device.type == "cpu").lower()
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that draw from the global state)
    torch.manual_seed(seed)

    from genai_utils import data
    from genai_utils.course import figures
    from genai_utils.training import ledger

    figures.style()
    data.forget_used()
    ledger.forget()
    _current = Run(name, profile, device, seed)
    where = "GENAI_DATA" if os.environ.get("GENAI_DATA") else "the user's cache"
    if profile == "ci":
        where = "bundled"
    say(f"{name}: {device_name(device)}, profile {profile}, data from {where}, seed {seed}")
    return _current


def seed_of_run():
    """The seed that `GENAI_SEED` names, or 0. Raises ValueError where it is no such number."""
    text = os.environ.get("GENAI_SEED", "").strip()
    if not text:
        return 0
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= SEEDS:
        raise ValueError(
            f"GENAI_SEED is a whole number from 0 to {SEEDS - 1}; it is {text[:40]!r}. "
            "Set it to one, or unset it."
        )
    return int(text)


def current():
    """The run that `start` began last in this process, or None."""
    return _current


def device_name(device):
    """A short name of the device for people: "CPU (2 cores)", "NVIDIA T4"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU ({cores} cores)"


def peak_memory_gb(device):
    """The most memory this process has held, in GB: on the card if there is one, else in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def report():
    """What the run card takes from the notebook's own process, as a JSON string.

    Raises RuntimeError where no notebook was started.
    """
    if _current is None:
        raise RuntimeError('No notebook was started here. Its set-up cell calls start("NN_name").')
    from genai_utils import __version__, data
    from genai_utils.training import ledger

    return json.dumps(
        {
            "notebook": _current.name,
            "profile": _current.profile,
            "device": device_name(_current.device),
            "seconds": round(time.perf_counter() - _current.began, 1),
            "peak_memory_gb": round(peak_memory_gb(_current.device), 2),
            "data": list(data.used()),
            "training": ledger.total(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__.split("+")[0],
                "numpy": np.__version__,
                "genai_utils": __version__,
            },
            "metrics": _current.metrics,
        }
    )
