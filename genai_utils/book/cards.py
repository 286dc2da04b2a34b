"""What a training takes on the graphics cards that readers have, and how much may be asked of them.

    minutes(ledger.trainings(), "T4")

A step takes as long as its arithmetic, and never less than a card needs to begin all its kernels:
seconds = sum over the models of steps · max(launch, FLOPs of one step / rate). Two numbers a card:

rate: FLOPs per second that our models reach in practice.
    Measured: T4, 4.5 TFLOP/s in float32 (it has no bfloat16). H200, a GPT 6 × 384 in bfloat16 as a
    CUDA graph, 1.17 TFLOP in 8.65 ms, so 135 TFLOP/s (compiled too: 180, at 28 s of compiling).
    Assumed: A100 and L4 reach that times the ratio of memory bandwidths (4.8, 1.56 and 0.30 TB/s
    on the data sheets), since small models wait for memory. This fits the T4: 0.32 TB/s, and
    numbers of twice the size. An H100 (3.35 TB/s) is taken for an H200; it may be a third slower.
launch: seconds of a small model's step as a CUDA graph.
    Measured: H200, a GPT 4 × 128, 1.1 ms. Assumed: T4 three times that, L4 twice, A100 half again.

A training that cannot be captured as a graph waits for Python: its launch-bound steps take about
eight times as long (measured on the H200: 8.6 ms). The estimate does not know of this.
"""

from typing import NamedTuple


class Card(NamedTuple):
    """rate: FLOPs per second; launch: seconds of the shortest step."""

    rate: float
    launch: float


CARDS = {
    "T4": Card(4.5e12, 3.3e-3),
    "L4": Card(8e12, 2.2e-3),
    "A100": Card(44e12, 1.6e-3),
    "H100/H200": Card(135e12, 1.1e-3),
}
# What a notebook's gpu profile may train in sum: about 15 minutes on a free T4.
MOST_FLOPS = 4e15
MOST_STEPS = 60_000

_UNITS = {"PFLOP": 1e15, "TFLOP": 1e12, "GFLOP": 1e9, "MFLOP": 1e6}


def minutes(trainings, card):
    """Estimated minutes of training on a card of the table.

    trainings: dicts with "steps" and "flops" (of the whole run), as `ledger.trainings()` gives.
    """
    rate, launch = CARDS[card]
    return sum(max(t["steps"] * launch, t["flops"] / rate) for t in trainings) / 60


def excess(training):
    """What exceeds the bound of the gpu profile, in a sentence each; an empty list is good.

    training: a dict with "steps" and "flops", such as `ledger.total()`.
    """
    found = []
    if training["flops"] > MOST_FLOPS:
        found.append(f"{training['flops'] / 1e15:.2f} PFLOP of training, at most 4")
    if training["steps"] > MOST_STEPS:
        found.append(f"{training['steps']:,} steps of training, at most {MOST_STEPS:,}")
    return found


def operations(flops, least=0.1):
    """8e14 -> "0.8 PFLOP", 6.1e13 -> "61 TFLOP"; `least` of a unit makes it the unit."""
    unit = next((unit for unit, size in _UNITS.items() if flops >= least * size), "MFLOP")
    value = flops / _UNITS[unit]
    text = f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"
    return f"{text} {unit}"


def trained(training):
    """ "9 models, 61,000 steps, 0.8 PFLOP, at 4.1 TFLOP/s"; empty where nothing was trained.

    training: as on a run card, or None where the card is older than this.
    """
    if not training or not training["models"]:
        return ""
    models = "1 model" if training["models"] == 1 else f"{training['models']:,} models"
    steps = "1 step" if training["steps"] == 1 else f"{training['steps']:,} steps"
    text = f"{models}, {steps}"
    if training["flops"] < 1e6:  # a handful of numbers was trained
        return text
    text += f", {operations(training['flops'])}"
    if training["seconds"]:
        text += f", at {operations(training['flops'] / training['seconds'], least=1)}/s"
    return text


def on_card(card):
    """Whether a run card comes from the gpu profile on a graphics card."""
    return card["profile"] == "gpu" and not card["device"].startswith("CPU")
