"""How many modes of stacked digits does chapter 26 find in its `cpu` profile?

    python -m benchmarks.stacked    # two trainings, some minutes; writes stacked.json

The chapter's page was made on a graphics card and has the stacking of three digits, 1,000 modes.
This runs the same statements of the notebook, found by slicing backwards (`book.excerpt`), in the
`cpu` profile, where two digits are stacked. The file keeps the table that they make.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import ast
import json
import os
import platform
import time
from pathlib import Path

import torch

from genai_utils.book.digest import code_sha256
from genai_utils.book.excerpt import Excerpt
from genai_utils.book.running import read

STORED = Path(__file__).with_name("stacked.json")
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "26_gan.ipynb"


def counting():
    """The chapter's statements that lead to the count of the stacks, as text."""
    excerpt = Excerpt(NOTEBOOK)
    texts = [ast.unparse(statement) for _, statement in excerpt.statements]
    count = next(place for place, text in enumerate(texts) if "modes.count_stacks(" in text)
    return "\n".join(texts[place] for place in excerpt.needed(count))


def digest():
    """Of the notebook's code; where it differs from the stored one, this is to be run again."""
    return code_sha256(read(NOTEBOOK)[0], "cpu")


def main():
    """Run them in the `cpu` profile and write down what they counted."""
    os.environ["GENAI_PROFILE"] = "cpu"
    began, names = time.perf_counter(), {"__name__": "__main__"}
    exec(compile(counting(), NOTEBOOK.name, "exec"), names)
    counted = {
        "recognised" if "recognised" in row["counted"] else "all": row
        for row in names["rows"]
        if row["model"] == "pairs and penalties"
    }
    found = {
        "modes": counted["all"]["modes"],
        "modes_recognised": counted["recognised"]["modes"],
        "code_sha256": digest(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - began),
        "of": 10 ** names["channels"],
        "rows": names["rows"],
    }
    STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
