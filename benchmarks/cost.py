"""How do time and memory grow with the data, the image, the text, the model?

    python -m benchmarks.cost                    # all rows of cost_rows.py, a minute or two
    python -m benchmarks.cost --only linkage_n   # these rows again
    python -m benchmarks.cost --quick            # the three smallest sizes once, nothing is kept

What is found is kept in `cost.json` row by row, so that a run that was ended goes on where it was;
`book/cost.md` is made from that file. One thread. The sizes of a row take turns, REPEATS times, and
a measurement lasts at least LEAST seconds, or is of several calls. Time is processor time, which
other work on the machine disturbs least; wall time stands beside it.

Memory is the most that PyTorch has allocated at once during a call, beyond what stood there before:
its profiler reports each allocation and release, so that the number is exact, and the same in each
run. Weights and data do not count, gradients do. Memory that a library takes without PyTorch is not
seen; a row marked `numpy` counts NumPy's arrays by tracemalloc instead.

The exponent p of cost = c · size^p is the slope of a line through the logarithms of the UPPER
largest sizes, by least squares of the medians. Its interval holds 95 % of the slopes of a bootstrap
that draws sizes anew (at least three different ones) and of each its repeats: it is wide where the
clock is unsteady, and where the curve still bends.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import json
import os
import platform
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from benchmarks.cost_rows import ROWS, Row
from genai_utils.printing import say

FILE = Path(__file__).with_name("cost.json")
REPEATS, LEAST, UPPER = 3, 0.002, 4


class Fit(NamedTuple):
    """cost = scale · size^exponent, for large sizes. low, high: 95 % interval of the exponent.

    bend: the size at which that line reaches the cost of the smallest size: below it a constant
    cost hides the growth. None where the line does so at the smallest size itself, within a half,
    or hardly rises.
    """

    exponent: float
    low: float
    high: float
    scale: float
    bend: float | None


def power_law(sizes, costs, draws=1_000, seed=0) -> Fit:
    """The exponent of costs (a list of repeats for each size, all positive) by the largest sizes.

    Raises ValueError for fewer than UPPER sizes, or costs that are not positive.
    """
    x, rows = np.log(np.asarray(sizes, float)), [np.asarray(row, float) for row in costs]
    if len(x) < UPPER or len(x) != len(rows) or any(row.min() <= 0 for row in rows):
        raise ValueError(f"power_law needs {UPPER} sizes or more, and positive costs of each.")
    y = np.array([np.log(np.median(row)) for row in rows])
    slope, level = np.polyfit(x[-UPPER:], y[-UPPER:], 1)
    g, found = np.random.default_rng(seed), []
    while len(found) < draws:
        drawn = g.integers(len(x) - UPPER, len(x), UPPER)
        if len(set(drawn)) < 3:
            continue
        again = [rows[i][g.integers(0, len(rows[i]), len(rows[i]))].tolist() for i in drawn]
        gap, y_of = x[drawn] - x[drawn].mean(), np.log([median(row) for row in again])
        found.append(gap @ y_of / (gap @ gap))  # as polyfit finds it, which is slower
    low, high = np.quantile(found, [0.025, 0.975])
    bend = None
    if slope > 0.2:
        reached = float(np.exp((y[0] - level) / slope))
        bend = reached if reached > 1.5 * sizes[0] else None
    return Fit(float(slope), float(low), float(high), float(np.exp(level)), bend)


def allocations(event):
    """(time, address, bytes) of an event and those inside it; bytes of a release are negative."""
    if event.tag == _EventType.Allocation:
        yield event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size
    for child in event.children:
        yield from allocations(child)


def peak_bytes(run) -> int:
    """The most bytes that PyTorch has allocated at once during a call, beyond those before it.

    What is released and was there before, such as the last step's gradient, does not count.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    held, most, blocks = 0, 0, {}
    tree = seen.profiler.kineto_results.experimental_event_tree()
    for _, address, size in sorted(each for event in tree for each in allocations(event)):
        if size > 0:
            blocks[address] = size
        held += size if size > 0 else -blocks.pop(address, 0)
        most = max(most, held)
    return most


def numpy_bytes(run) -> int:
    """The same of NumPy's arrays."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def seconds(run, least=LEAST) -> tuple[float, float]:
    """Processor and wall seconds of one call, of as many as take `least` seconds."""
    wall, cpu, calls = time.perf_counter(), time.process_time(), 0
    while calls == 0 or time.process_time() - cpu < least:
        run()
        calls += 1
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


def measure(row: Row, sizes=None, repeats=REPEATS, least=LEAST) -> dict:
    """All curves of a row, with their fits where there are sizes enough."""
    torch.manual_seed(0)
    sizes = row.sizes if sizes is None else sizes
    runs = [row.make(size) for size in sizes]
    peak = numpy_bytes if row.numpy else peak_bytes
    for run in runs:  # the first call chooses its kernels
        run()
    times = [[seconds(run, least) for run in runs] for _ in range(repeats)]
    times = np.array(times)  # (repeats, sizes, 2)
    found = {
        "x": [row.x(size) for size in sizes],
        "seconds": [[float(f"{t:.4g}") for t in column] for column in times[:, :, 0].T],
        "wall": [float(f"{t:.4g}") for t in np.median(times[:, :, 1], 0)],
        "bytes": [max(1, peak(run)) for run in runs],
    }
    return found | fits(found)


def fits(found: dict) -> dict:
    """What the curves of a row say."""
    if len(found["x"]) < UPPER:
        return {}
    memory = [[b] for b in found["bytes"]]
    return {
        "time": power_law(found["x"], found["seconds"])._asdict(),
        "memory": power_law(found["x"], memory)._asdict(),
    }


def told(row: Row) -> dict:
    """What the table says of a row, as the page needs it."""
    told = row._asdict()
    theory = {"time": row.time, "memory": row.memory}
    drop = ("name", "make", "x", "sizes", "time", "memory")
    kept = {key: value for key, value in told.items() if key not in drop}
    return kept | {"sizes": list(row.sizes), "theory": theory}


def versions() -> dict:
    """What the numbers of a file were measured with. They are of one machine, and of one thread."""
    return {
        "device": "CPU, 1 thread",
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
        "repeats": REPEATS,
    }


def kept(path: Path, head: dict) -> dict:
    """The rows of a file that was written with the same versions, else none."""
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored["rows"] if {key: stored.get(key) for key in head} == head else {}


def write(path: Path, record: dict) -> None:
    """Write all or nothing."""
    part = path.with_suffix(".part")
    text = json.dumps(record, indent=1, ensure_ascii=False)
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)


def line(row: Row, found: dict) -> str:
    """A row for the terminal."""
    if "time" not in found:
        return f"{row.name:15} {[row[0] for row in found['seconds']]} s, {found['bytes']} bytes"
    fits = [f"{f['exponent']:5.2f} [{f['low']:5.2f}, {f['high']:5.2f}]"
            for f in (found["time"], found["memory"])]  # fmt: skip
    return f"{row.name:15} time {fits[0]} theory {row.time}; memory {fits[1]} theory {row.memory}"


def main() -> None:
    """Measure what is missing, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, once; keep nothing")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [row for row in ROWS if not given.only or row.name in given.only]
    if given.quick:
        for row in wanted:
            say(line(row, measure(row, row.sizes[:3], 1, 0.0)))
        return
    head = versions()
    rows = kept(given.out, head)
    for row in wanted:
        about = told(row)
        old = rows.get(row.name)
        if (
            not given.only
            and old
            and {key: old.get(key) for key in about} == json.loads(json.dumps(about))
        ):
            continue
        start = time.perf_counter()
        rows[row.name] = about | measure(row)
        in_order = {each.name: rows[each.name] for each in ROWS if each.name in rows}
        write(given.out, head | {"rows": in_order})
        say(f"{line(row, rows[row.name])}  ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
