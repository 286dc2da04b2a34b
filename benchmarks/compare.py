"""Two ways to do the same work, side by side: turns, the ratio and its spread, the kept table.

A `Row` says what is compared; its `make` prepares a `Race`, whose sides take turns on the same
machine, in the same process. What a turn prepares is not timed. On one thread the clock is that of
the processor, which other work disturbs least; on more it is the time of day.

The ratio is of speeds: the peer's seconds over ours, of the same round; above 1 ours is quicker.
The median over the rounds counts, its least and largest are the spread. A ratio counts for
something only where ours is as good: each row also has the quality that both reached.

The floor is the least time that the work could take here: the multiplications and additions that
our side does, over the machine's peak in a matrix product, or the bytes that must move, over its
peak in a copy, whichever is more. `share` is the floor over our seconds.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import contextlib
import dataclasses
import importlib.util
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

MOST = 25  # rounds, however short


@dataclasses.dataclass
class Race:
    """Two sides that are ready to run.

    ours, peer: take the number of the turn, prepare it, and return a function without arguments;
    that one is timed, and what it returns goes to `quality`. Turn 0 warms up and does not count.
    amount: how many units of work a turn is.
    quality: what a side returned → a number; None: there is nothing to judge.
    flop: of a turn of ours; None: count the matrix products and convolutions that PyTorch does.
    bytes: that a turn of ours has to read or write at least.
    """

    ours: Callable
    peer: Callable
    amount: float
    quality: Callable | None = None
    flop: float | None = None
    bytes: float = 0.0


@dataclasses.dataclass
class Row:
    """One line of the table.

    name: for the command line. chapter: of the book. work: what is done. peer: the name of its
    package, as pip has it. module: what to import of it. unit: of the work, per second.
    make(quick): the Race; quick: at sizes that take seconds. measure: what the quality is; higher:
    whether more is better; slack: by which share of the peer's ours may be worse and still as good.
    enough: a quality that nobody needs to better. floor: what the least work is, in words. small:
    what quick takes instead. why: for a row below 1, what makes it slower and what was tried, in
    sentences; told below the table and on the results page while the row is below 1.
    """

    name: str
    chapter: str
    work: str
    peer: str
    unit: str
    make: Callable[[bool], Race]
    measure: str = ""
    higher: bool = False
    slack: float = 0.0
    enough: float | None = None
    floor: str = "the products of the network"
    module: str = ""
    small: str = ""
    why: str = ""

    def missing(self) -> str:
        """What has to be installed; empty if all is there."""
        module = self.module or self.peer.replace("-", "_")
        if importlib.util.find_spec(module):
            return ""
        return f"{self.peer} is not installed: pip install -r benchmarks/requirements.txt"


def clock(threads: int) -> Callable[[], float]:
    """Seconds: of the processor on one thread, of the day on more."""
    return time.process_time if threads == 1 else time.perf_counter


def timed(function: Callable, now: Callable[[], float]):
    """Seconds of a call, and what it returns."""
    start = now()
    value = function()
    return now() - start, value


def spread(ours: list[float], peer: list[float]) -> dict:
    """Of the seconds of each round: the median ratio peer / ours, the least and the largest."""
    ratios = [theirs / mine for mine, theirs in zip(ours, peer, strict=True)]
    return {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def as_good(ours: float, peer: float, higher=False, slack=0.0, enough=None) -> bool:
    """Whether ours is `enough`, or no worse than the peer's but for a share `slack` of it."""
    sign = -1 if higher else 1
    if enough is not None and sign * ours <= sign * enough:
        return True
    return sign * (ours - peer) <= slack * abs(peer)


def levelled(ours: Callable, peer: Callable, quality: Callable, amount: float, slack: float,
             most: float = 6.0) -> Race:  # fmt: skip
    """A race in which each side trains as long as it has to, so that both are as good.

    ours, peer: (turn, factor of the passes) → a function that trains. quality: more is better. The
    side that is behind by more than a share `slack` in turn 0, before the race, gets more passes,
    1.5, 2, 3, 4 or 6 times as many, at most `most`. amount: of work, the same for both.
    """
    sides, factors = (ours, peer), [1.0, 1.0]
    scores = [quality(side(0, 1.0)()) for side in sides]
    aim = max(scores) * (1 - slack)
    for i, side in enumerate(sides):
        for factor in (1.5, 2.0, 3.0, 4.0, 6.0):
            if scores[i] >= aim or factor > most:
                break
            factors[i], scores[i] = factor, quality(side(0, factor)())
    a, b = factors
    return Race(lambda turn: ours(turn, a), lambda turn: peer(turn, b), amount, quality)


def race(given: Race, now: Callable[[], float], rounds: int, seconds: float) -> dict:
    """Let the sides take turns: at least `rounds` rounds, more while `seconds` are not over.

    Who begins changes from round to round. Returns seconds and qualities of both sides, a list
    each, and the flop of a turn of ours.
    """
    sides = {"ours": given.ours, "peer": given.peer}
    took, found = ({name: [] for name in sides} for _ in range(2))
    counter = FlopCounterMode(display=False) if given.flop is None else contextlib.nullcontext()
    warm = given.ours(0)  # its products are not a turn's
    with counter:
        warm()
    given.peer(0)()
    flop = counter.get_total_flops() if given.flop is None else given.flop
    began = time.perf_counter()
    for turn in range(1, MOST + 1):
        for name in ("ours", "peer") if turn % 2 else ("peer", "ours"):
            second, value = timed(sides[name](turn), now)
            took[name].append(second)
            if given.quality:
                found[name].append(float(given.quality(value)))
        if turn >= rounds and time.perf_counter() - began > seconds:
            break
    return {"seconds": took, "quality": found, "flop": flop}


def about(row: Row, quick: bool) -> dict:
    """What a kept row says of itself, measured or not."""
    small = row.small if quick else ""
    kept = {"chapter": row.chapter, "work": row.work, "small": small, "peer": row.peer}
    return kept | {"quick": quick, "why": row.why}


def measured(row: Row, machine: dict, quick: bool, rounds: int, seconds: float) -> dict:
    """Run a row: what the table keeps of it, or why there is nothing."""
    kept = about(row, quick)
    if why := row.missing():
        return kept | {"missing": why}
    version = metadata.version(row.peer)
    began = time.perf_counter()
    given = row.make(quick)
    result = race(given, clock(machine["threads"]), rounds, seconds)
    took, found = result["seconds"], result["quality"]
    mine, theirs = (statistics.median(took[name]) for name in ("ours", "peer"))
    kept |= {
        "version": version,
        "unit": row.unit,
        "amount": given.amount,
        "rounds": len(took["ours"]),
    }
    kept |= {"ours": given.amount / mine, "theirs": given.amount / theirs}
    kept |= spread(took["ours"], took["peer"])
    if given.quality:
        a, b = (statistics.median(found[name]) for name in ("ours", "peer"))
        good = as_good(a, b, row.higher, row.slack, row.enough)
        kept["quality"] = {"measure": row.measure, "ours": a, "theirs": b, "as good": good}
        kept["quality"]["better"] = "higher" if row.higher else "lower"
    least = max(result["flop"] / machine["flops"], given.bytes / machine["copy"])
    if least:
        kept["floor"] = {"flop": result["flop"], "bytes": given.bytes, "what": row.floor}
        kept["floor"] |= {"seconds": least, "share": least / mine}
    return kept | {
        "machine": machine["name"],
        "load": os.getloadavg()[0],
        "took": time.perf_counter() - began,
    }


# --- the machine


def processor() -> str:
    """Its name, as the system has it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peaks(threads: int, side: int = 1536, tries: int = 7) -> dict:
    """The machine's best flop/s in a float32 matrix product, and bytes/s in a copy.

    A copy of b bytes reads b and writes b, which counts as 2 b.
    """
    now, A, big = clock(threads), torch.rand(side, side), torch.rand(2**25)
    goal = torch.empty_like(big)
    product = min(timed(lambda: A @ A, now)[0] for _ in range(tries))
    copied = min(timed(lambda: goal.copy_(big), now)[0] for _ in range(tries))
    return {"flops": 2 * side**3 / product, "copy": 8 * len(big) / copied}


def machine_name(threads: int) -> str:
    """By it a kept row is known to be of this machine."""
    return f"{processor()}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}"


def machine(threads: int) -> dict:
    """What the times depend on: the processor, its threads and peaks, and the versions."""
    about = {"name": machine_name(threads), "threads": threads, "cores": os.cpu_count()}
    about |= {"python": platform.python_version(), "torch": torch.__version__}
    return about | peaks(threads)


# --- the table that is kept


def load(path: Path) -> dict:
    """The table; an empty one where there is none yet."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"machines": {}, "rows": {}}


def save(path: Path, table: dict) -> None:
    """Write it whole or not at all: a run that is stopped leaves the last one."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(path)


def done(table: dict, row: Row, name: str, quick: bool) -> bool:
    """Whether the row was measured on this machine at these sizes, as it is asked for now."""
    kept = table["rows"].get(row.name, {})
    asked = {"machine": name, "quick": quick, "work": row.work}
    return "ratio" in kept and asked == {key: kept[key] for key in asked}


def reworded(table: dict, rows: list[Row]) -> bool:
    """Put the rows' `why` into the table, which no measurement changes; whether one was another."""
    old = {row.name: table["rows"][row.name] for row in rows if row.name in table["rows"]}
    new = [row for row in rows if row.name in old and old[row.name].get("why", "") != row.why]
    for row in new:
        old[row.name]["why"] = row.why
    return bool(new)


def show(rows: list[Row], path: Path, say: Callable[[str], None] = print) -> dict:
    """Tell the kept table and measure nothing; the words of the rows are brought up to date."""
    table = load(path)
    if reworded(table, rows):
        save(path, table)
    kept = {row.name: table["rows"][row.name] for row in rows if row.name in table["rows"]}
    for line in (
        HEAD,
        *(told(name, row) for name, row in kept.items()),
        *reasons(kept),
        together(kept),
    ):
        say(line)
    return kept


def shortest_first(rows: list[Row], table: dict) -> list[Row]:
    """By the seconds that the kept measurements took; rows without one come last."""
    took = {name: kept.get("took", math.inf) for name, kept in table["rows"].items()}
    return sorted(rows, key=lambda row: took.get(row.name, math.inf))


def run(rows: list[Row], path: Path, threads=1, quick=False, again=False, rounds=5, seconds=20.0,
        say: Callable[[str], None] = print, minutes: float = math.inf) -> dict:  # fmt: skip
    """Measure the rows, keep each as soon as it is there, and return how each went, by its name.

    A row that was measured is left as it is, unless `again`. A peer that is missing, or a row that
    fails, is written down as that, unless the table has a measurement of it, and the next begins.
    The shortest come first; after so many minutes none begins any more.
    """
    end = time.perf_counter() + 60 * minutes
    table, here, went = load(path), None, {}
    if reworded(table, rows):
        save(path, table)
    say(HEAD)
    for row in shortest_first(rows, table):
        if not again and done(table, row, machine_name(threads), quick):
            went[row.name] = table["rows"][row.name]
            say(told(row.name, went[row.name]) + " (kept)")
            continue
        if time.perf_counter() >= end:
            say(f"{row.name:16} not begun: {minutes:g} minutes are over")
            continue
        with threadpool_limits(threads):
            torch.set_num_threads(threads)
            here = here or machine(threads)
            try:
                found = measured(row, here, quick, rounds, seconds)
            except Exception as error:  # one row that fails does not stop the others
                why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                found = about(row, quick) | {"failed": why}
        if "ratio" in found or "ratio" not in table["rows"].get(row.name, {}):
            table["rows"][row.name] = found
            used = {kept.get("machine") for kept in table["rows"].values()}
            known = table["machines"] | {here["name"]: here}
            table["machines"] = {name: each for name, each in known.items() if name in used}
            save(path, table)
        went[row.name] = found
        say(told(row.name, found))
    for line in (*reasons(went), together(went)):
        say(line)
    return went


HEAD = f"{'row':16} {'ours':>12} {'peer':>12} {'unit':14} {'ratio':>6} (least to largest) peer; "
HEAD += "quality ours, peer; share of the floor"


def reasons(rows: dict) -> list[str]:
    """Why a row is below 1: a line for each that is, and says so."""
    below = {name: row for name, row in rows.items() if row.get("ratio", 1.0) < 1.0}
    return [f"{name}: {row['why']}" for name, row in below.items() if row.get("why")]


def together(rows: dict) -> str:
    """How long the measured rows took in sum."""
    took = [row["took"] for row in rows.values() if "took" in row]
    return f"{len(took)} rows, measured in {sum(took) / 60:.0f} minutes"


def told(name: str, row: dict) -> str:
    """One line for a row."""
    if "ratio" not in row:
        return f"{name:16} {row.get('missing') or 'failed: ' + row['failed']}"
    line = f"{name:16} {row['ours']:12,.1f} {row['theirs']:12,.1f} {row['unit']:14} "
    line += f"{row['ratio']:6.2f} ({row['low']:.2f} to {row['high']:.2f}) {row['peer']}"
    if judged := row.get("quality"):
        line += f"; {judged['measure']} {judged['ours']:.6g}, {judged['theirs']:.6g}"
        line += "" if judged["as good"] else ": NOT AS GOOD"
    if floor := row.get("floor"):
        line += f"; {100 * floor['share']:.0f} % of the floor"
    return line
