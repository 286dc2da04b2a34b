"""Renew what a notebook took from the package, without running it: stubs, source, drawings, toys.

    python -m genai_utils.book.renew                        all of notebooks/
    python -m genai_utils.book.renew notebooks/24_vae.ipynb

A stub is written anew as the library's function gives it today, and what `show_source(...)` stored
is what it would show today. A cell that only calls `draw("…")`, `play("…")`, `predict("…")`,
`reveal("…")` or `experiment("…")`, hands in None or checks a planted fault gets the output of
today too, and a number. None of it changes what a run computes.
Where a stub gets another signature, the notebook has to be run again, and this says so.

Alt texts, captions, where an explorer opens and the names of a walk's stops are brought up to date
too, where the code says them literally (`genai_utils.book.retouch`).
"""

import argparse
import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import nbformat

from genai_utils.book import estimate
from genai_utils.book.digest import checked, code_sha256, package_call, planted_cells
from genai_utils.book.retouch import retouched
from genai_utils.book.running import read, write
from genai_utils.checks import register, stubs
from genai_utils.checks.shown import shown_bundle
from genai_utils.display.stored import upgrade
from genai_utils.printing import say

_BUNDLES = {
    "draw": ("display.drawing", "drawing_bundle"),
    "play": ("toys", "play_bundle"),
    "predict": ("checks.predicting", "predict_bundle"),
    "reveal": ("checks.predicting", "reveal_bundle"),
    "experiment": ("checks.experimenting", "experiment_bundle"),
    "check": ("checks.checking", "planted_bundle"),
    "hand_in": ("checks.experimenting", "hand_in_bundle"),
}
MARK = "genai-source"  # a class of every output of show_source


class Stale(ValueError):
    """Something that cannot be renewed without a run. The message says what and why."""


def renewed_stubs(notebook, name):
    """Write the stubs of exercises anew. Returns the names of those that changed."""
    try:
        known = register.load(name)
    except register.UnknownExercise:
        return []
    changed = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for node in stubs.stubs_in(cell.source):
            if node.name not in known:
                continue
            lines = cell.source.splitlines()
            fresh = stubs.stub(known[node.name]).rstrip().splitlines()
            if lines[node.lineno - 1 : node.end_lineno] != fresh:
                lines[node.lineno - 1 : node.end_lineno] = fresh
                cell.source = "\n".join(lines)
                changed.append(node.name)
    return changed


def shown_sources(notebook, name):
    """(index of the cell, output, what `show_source` would store there today), for each output.

    The names are looked up in the package, by the imports of the notebook; nothing else is run.
    Raises Stale where the calls of a cell and its stored outputs do not go together, or a name is
    none of an import.
    """
    names = {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:  # %magics
            continue
        calls = []
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                # The notebook's own import line, of the package and what the package needs.
                exec(compile(ast.Module([node], []), "<imports>", "exec"), names)
            elif ast.unparse(node).startswith("show_source("):
                calls.append(node.value)
        outputs = [o for o in cell.outputs if MARK in o.get("data", {}).get("text/html", "")]
        if len(calls) != len(outputs):
            raise Stale(f"cell {index} calls show_source {len(calls)} times and stores "
                        f"{len(outputs)} outputs of it: run the notebook.")  # fmt: skip
        for call, output in zip(calls, outputs, strict=True):
            try:
                things = [_thing(argument, names) for argument in call.args]
            except (KeyError, AttributeError) as error:
                raise Stale(
                    f"cell {index} shows {ast.unparse(call)}: {error} is not there."
                ) from None
            yield index, output, shown_bundle(*things, notebook=name).data


def _thing(node, names):
    """The object that a dotted name stands for."""
    if isinstance(node, ast.Attribute):
        return getattr(_thing(node.value, names), node.attr)
    return names[node.id]


def package_outputs(notebook):
    """(index of the cell, what it would store today, whether that is stored): draw, play, …

    The check of a planted fault is one of them: it says that the fault is still there.
    """
    faults = planted_cells(notebook)
    for index, cell in enumerate(notebook.cells):
        call = cell.cell_type == "code" and package_call(cell.source)
        if index in faults and checked(cell.source):
            call = "check", faults[index]
        if call:
            kind, name = call
            home, bundle = _BUNDLES[kind]
            made = getattr(import_module(f"genai_utils.{home}"), bundle)(name)
            stored = [_named_once(output.get("data", {})) for output in cell.outputs]
            yield index, dict(made.data), stored == [_named_once(made.data)]


def _named_once(data):
    """Data whose ids do not tell how often a process has shown the same."""
    return {key: re.sub(r"(genai-[0-9a-f]{10})-\d+", r"\1", text) for key, text in data.items()}


def renewed_outputs(notebook):
    """Store today's output of cells that draw, play, predict or reveal. Returns those changed."""
    changed = []
    for index, data, current in package_outputs(notebook):
        cell = notebook.cells[index]
        if not current:
            cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
            changed.append((package_call(cell.source) or ("", checked(cell.source)))[1])
    if changed:  # they may be new: the numbers of a run from top to bottom
        count = 0
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.source.strip():
                count += 1
                cell.execution_count = count
                for output in cell.outputs:
                    if output.output_type == "execute_result":
                        output.execution_count = count
    return changed


def stale_sources(notebook, name):
    """The indices of cells that store another source than the package's, or an answer unfolded."""
    return [
        index
        for index, output, fresh in shown_sources(notebook, name)
        if _seen(output["data"]) != _seen(fresh)
    ]


def _seen(data):
    """What a reader sees of a shown source, but for its colours: the text, and what is folded."""
    return data["text/plain"], data["text/html"].count("<summary")


def upgraded(notebook):
    """(output, its HTML as today's package writes it around the pictures), where that differs."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            html = output.get("data", {}).get("text/html")
            if html and upgrade(html) != html:
                yield output, upgrade(html)


def stale_words(notebook):
    """The indices of cells whose stored output has other words than the cell says."""
    return [index for index, output, fresh in retouched(notebook) if dict(output["data"]) != fresh]


def renew(path):
    """Renew one notebook in place. Returns what was changed, in sentences; none: nothing was.

    Raises FileNotFoundError, ValueError (no notebook) or Stale; the file is then as it was.
    """
    path = Path(path)
    notebook, _ = read(path)
    done = []
    kept = [k for k in (notebook.metadata.get("genai"), estimate.load(notebook)) if k]
    fresh = []
    for card in kept:
        fresh.append(card["code_sha256"] == code_sha256(notebook, card["profile"]))
    if changed := renewed_stubs(notebook, path.stem):
        done.append(f"stubs: {', '.join(changed)}")
    sources = 0
    for _, output, data in shown_sources(notebook, path.stem):
        if dict(output["data"]) != data:
            output["data"], sources = data, sources + 1
    if sources:
        done.append(f"{sources} shown sources")
    older = list(upgraded(notebook))
    for output, html in older:
        output["data"]["text/html"] = html
    if older:
        done.append(f"{len(older)} outputs in today's form")
    worded = 0
    for _, output, data in retouched(notebook):
        if dict(output["data"]) != data:
            output["data"], worded = data, worded + 1
    if worded:
        done.append(f"the words of {worded} outputs")
    if outputs := renewed_outputs(notebook):
        done.append(f"drawings, toys and tasks: {', '.join(outputs)}")
    for card, was in zip(kept, fresh, strict=True):
        if was and card["code_sha256"] != code_sha256(notebook, card["profile"]):
            done.append("a stub has another signature now: run the notebook again")
    if done:
        write(notebook, path)
    return done


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.book.renew", description=__doc__.splitlines()[0]
    )
    parser.add_argument("notebooks", nargs="*", help="paths; all of notebooks/ when none is named")
    paths = parser.parse_args(arguments).notebooks
    paths = paths or sorted(map(str, Path("notebooks").glob("*.ipynb")))
    if not paths:
        parser.error("no notebook named, and there is none in notebooks/")
    failed = False
    for path in paths:
        try:
            done = renew(path)
        except (OSError, ValueError) as error:
            failed = True
            say(f"{path}: left as it was. {error}", sys.stderr)
        else:
            say(f"{path}: {'; '.join(done) or 'up to date'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
