"""Which figures of the run cards should be alike on a processor and a graphics card, and are they?

    python -m benchmarks.device_cards           # reads the history of the repository; a minute

The book's chapters were run in the `cpu` profile and later in the `gpu` profile, which trains
longer: most of their figures differ because the sizes do. A figure can be compared where nothing
that its cell needs (by the slice of `genai_utils.book.excerpt`) asks `run.pick` for a size that the
two profiles have apart, and where the statements of that slice are the same in both notebooks.
The last run on a processor is taken and the first on a card after it. Between them lie the device,
the release of PyTorch, and what changed in the package: what agrees does so in spite of all three.
Left out are figures that are made of times, and those that are nothing but rounding on both sides.
"texts" marks figures of the docstrings of the installed packages: other releases of these are other
data. The result goes into `same_numbers.json`, under "cards".
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import ast
import json
import re
import subprocess
import tempfile
from pathlib import Path

import torch  # noqa: F401  (the benchmarks load it alike)

from benchmarks.same_numbers import FILE, digits
from genai_utils.book.excerpt import Excerpt
from genai_utils.printing import say

ROOT = Path(__file__).parents[1]
CLOCK = re.compile(r"perf_counter|process_time|\btime\.time\b|\btimeit\b|\.seconds\b")
ROUNDING = 1e-8  # a figure below it says how exact something is


def git(*words) -> str:
    """What git answers, in this repository."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def versions(path: str) -> list[dict]:
    """All stored notebooks of a path, oldest first, each once."""
    found = {}
    for commit in reversed(git("log", "--format=%H", "--", path).split()):
        blob = git("ls-tree", commit, "--", path).split()
        if blob and blob[2] not in found:
            found[blob[2]] = json.loads(git("cat-file", "blob", blob[2]))
    return list(found.values())


def card_of(notebook: dict) -> dict:
    """The run card of a stored notebook, or {}."""
    kept = notebook["metadata"].get("genai", {})
    card = kept.get("run", kept)
    return card if "profile" in card and "metrics" in card else {}


def pair(notebooks: list[dict]) -> tuple[dict, dict] | None:
    """The last run on a processor, and the first on a card after it."""
    kinds = [card_of(notebook).get("profile") for notebook in notebooks]
    if "gpu" not in kinds or "cpu" not in kinds[: kinds.index("gpu")]:
        return None
    gpu = kinds.index("gpu")
    cpu = max(place for place in range(gpu) if kinds[place] == "cpu")
    return notebooks[cpu], notebooks[gpu]


def excerpt_of(notebook: dict) -> Excerpt:
    """Its code cells as statements."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "notebook.ipynb")
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return Excerpt(path)


def named(statement) -> list[re.Pattern]:
    """Patterns of the names that a statement records."""
    found = []
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.record" and node.args:
            first = node.args[0]
            parts = first.values if isinstance(first, ast.JoinedStr) else [first]
            texts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+"
                     for part in parts]  # fmt: skip
            found.append(re.compile("".join(map(str, texts))))
    return found


def same_size(statement) -> bool:
    """Whether `run` is asked for nothing that differs between the profiles cpu and gpu."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.pick":
            sizes = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if sizes.get("cpu") != sizes.get("gpu"):
                return False
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "run.profile":
            return False
    return True


def slices(notebook: dict) -> list[tuple[re.Pattern, str, bool]]:
    """Of each recorded name: its pattern, the code of its slice, and whether sizes are alike."""
    excerpt, found = excerpt_of(notebook), []
    for place, (_, statement) in enumerate(excerpt.statements):
        for pattern in named(statement):
            body = [excerpt.statements[each][1] for each in excerpt.needed(place)]
            first = excerpt.statements[0][0]  # the set-up cell installs, and names the notebook
            code = [excerpt.statements[each][1] for each in excerpt.needed(place)
                    if excerpt.statements[each][0] != first]  # fmt: skip
            text = "\n".join(map(ast.unparse, code))
            found.append((pattern, text, all(map(same_size, body))))
    return found


def comparable(cpu: dict, gpu: dict) -> list[dict]:
    """The figures of both cards whose slices are alike."""
    cards = card_of(cpu), card_of(gpu)
    here, there = slices(cpu), slices(gpu)
    theirs = {metric["name"]: metric for metric in cards[1]["metrics"]}
    found = []
    for metric in cards[0]["metrics"]:
        name, unit = metric["name"], metric["unit"]
        if name not in theirs:
            continue
        ours = [(code, alike) for pattern, code, alike in here if pattern.fullmatch(name)]
        others = [(code, alike) for pattern, code, alike in there if pattern.fullmatch(name)]
        if not (len(ours) == len(others) == 1 and ours == others and ours[0][1]):
            continue
        values, code = (metric["value"], theirs[name]["value"]), ours[0][0]
        if CLOCK.search(code) or 0 < max(map(abs, values)) < ROUNDING:
            continue
        found.append({"name": name, "unit": unit, "cpu": values[0], "gpu": values[1],
                      "digits": digits(*values), "texts": "docstrings(" in code})  # fmt: skip
    return found


def main() -> None:
    """Compare all chapters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    figures, devices, releases, chapters, shared = [], set(), set(), 0, 0
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        both = pair(versions(f"notebooks/{path.name}"))
        if both is None:
            continue
        chapters += 1
        cards = [card_of(notebook) for notebook in both]
        names = [{metric["name"] for metric in card["metrics"]} for card in cards]
        shared += len(names[0] & names[1])
        devices.add(cards[1]["device"])
        releases.add(tuple(card["versions"]["torch"] for card in cards))
        for one in comparable(*both):
            figures.append({"chapter": path.stem} | one)
            say(f"{path.stem:20} {one['name']}: {one['cpu']:.8g}, {one['gpu']:.8g} {one['unit']}, "
                f"digits {one['digits']}")  # fmt: skip
    record = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    record["cards"] = {
        "device": ", ".join(sorted(devices)), "chapters": chapters, "recorded": shared,
        "compared": len(figures), "torch": sorted(map(list, releases)), "figures": figures,
    }  # fmt: skip
    given.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"{len(figures)} of {shared} figures of {chapters} chapters can be compared")


if __name__ == "__main__":
    main()
