"""Our code against its peers: every comparison that matters to a user, in one table.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks                    # half an hour; keeps what it finds in table.json
    python -m benchmarks --quick            # the same rows at small sizes, ten minutes on two cores
    python -m benchmarks --only kmeans bert [--again]
    python -m benchmarks --minutes 20       # then no further row begins; the next run goes on
    python -m benchmarks --show             # the kept table; measures nothing

A row that was measured on this machine is not run again, unless --again. How the ratio, its spread
and the floor are made: compare.py.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import math
import sys
from pathlib import Path

from benchmarks.compare import run, show
from benchmarks.rows import ROWS
from genai_utils.printing import say

HERE = Path(__file__).parent


def main(argv=None) -> int:
    """Run the rows; 1 if one of them failed or was not as good as its peer."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small sizes; kept elsewhere")
    parser.add_argument("--again", action="store_true", help="measure kept rows too")
    parser.add_argument("--show", action="store_true", help="measure nothing, tell what is kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="at least")
    parser.add_argument("--seconds", type=float, help="of rounds for a row, at least those rounds")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="after which no further row begins"
    )
    parser.add_argument(
        "--out", type=Path, help="default: table.json here, quick: table_quick.json"
    )
    given = parser.parse_args(argv)
    quick = given.quick
    rows = [ROWS[name] for name in given.only]
    out = given.out or HERE / ("table_quick.json" if quick else "table.json")
    if given.show:
        went = show(rows, out, say)
    else:
        seconds = given.seconds or (6.0 if quick else 20.0)
        how = given.threads, quick, given.again, given.rounds, seconds
        went = run(rows, out, *how, say, given.minutes)
    return int(
        any("failed" in row or not row.get("quality", {}).get("as good", True)
            for row in went.values())
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
