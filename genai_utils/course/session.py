"""The start of a notebook: it chooses profile and device, seeds, and says so in one line."""

import os
import random
import re

import numpy as np
import torch

from genai_utils.printing import say
from genai_utils.run import PROFILES, SEEDS, Run, begin, device_name, seed_of_run


def start(name, seed=None):
    """Begin a notebook: choose profile and device, seed, set the style, and say so in one line.

    The profile is `GENAI_PROFILE` (ci, cpu or gpu); unset, it is gpu where CUDA is there, else cpu.
    The seed is `seed`, or else `GENAI_SEED`, or else 0.
    Raises ValueError for an unknown profile, a seed that is no whole number from 0 to 2**32 - 1,
    or a name that is not like "24_vae".
    """
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
    from genai_utils.display import figures
    from genai_utils.training import ledger

    figures.style()
    data.forget_used()
    ledger.forget()
    run = Run(name, profile, device, seed)
    begin(run)
    where = "GENAI_DATA" if os.environ.get("GENAI_DATA") else "the user's cache"
    if profile == "ci":
        where = "bundled"
    say(f"{name}: {device_name(device)}, profile {profile}, data from {where}, seed {seed}")
    return run
