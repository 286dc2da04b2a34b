"""The run of a notebook: its profile, its device, its seed, and the numbers that it records.

    run = start("24_vae")               # genai_utils.course.start makes it
    steps = run.pick(ci=50, cpu=2_000, gpu=20_000)
    run.record("IWAE, k = 500", 89.3, "nats")

`genai_utils.book.execute` asks for the `report` and writes it into the notebook's run card.
"""

import json
import os
import platform
import re
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import torch

PROFILES = ("ci", "cpu", "gpu")
SEEDS = 2**32  # NumPy's global generator takes no larger seed
_current = None


def processor_seconds():
    """Seconds that the processors have worked for this process and for those that it has ended.

    Beside other programs a run takes longer than it works; with n threads, up to n times shorter.
    """
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass
class Run:
    """One run of one notebook. Made by `start`."""

    name: str
    profile: str
    device: torch.device
    seed: int
    began: float = field(default_factory=time.perf_counter)
    worked: float = field(default_factory=processor_seconds)
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


def begin(run):
    """Make `run` the current one."""
    global _current
    _current = run


def current():
    """The run that began last in this process, or None."""
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
            "processor_seconds": round(processor_seconds() - _current.worked, 1),
            "threads": torch.get_num_threads(),
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
