"""Who imports whom: arrows point down, and no module comes back to itself.

Imports inside functions count like those at the top of a file.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = {"printing", "inputs", "data", "training", "evaluation"}
# Room -> the rooms that it may import from, beside itself.
BELOW = {
    "printing": set(),
    "inputs": set(),
    "data": {"printing", "inputs"},
    "training": {"printing", "inputs"},
    "evaluation": {"printing", "inputs", "data", "training"},
    "weights": {"inputs"},
    "structure": GROUND,
    "language": GROUND | {"weights"},
    "vision": GROUND | {"language", "weights"},
    "run": {"printing", "inputs", "data", "training"},
    "display": {"printing", "inputs"},
    "checks": {"printing", "inputs", "run", "display"},
    "toys": GROUND | {"display", "structure", "language", "vision"},
    "exercises": GROUND | {"checks", "structure", "language", "vision"},
    "book": {"printing", "inputs", "data", "training", "run", "display", "checks"},
    "course": {"printing", "inputs", "data", "training", "run", "display", "checks"},
    "train": GROUND | {"structure", "language", "vision", "book"},
}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "genai_utils").rglob("*.py"))
}


def imports(module, path):
    """The modules of the package that a file imports, wherever it does."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            # `from package import module` names a module, `from module import name` does not.
            names = [
                f"{base}.{a.name}" if f"{base}.{a.name}" in FILES else base for a in node.names
            ]
        else:
            continue
        yield from (name for name in names if name in FILES and name != "genai_utils")


ARROWS = {module: set(imports(module, path)) - {module} for module, path in FILES.items()}


def room(module):
    return module.split(".")[1] if "." in module else ""


def upward(arrows):
    """The arrows that no room may send, as "from -> to"."""
    return sorted(
        f"{module} -> {other}"
        for module, others in arrows.items()
        for other in others
        if room(module) != room(other) and room(other) not in BELOW.get(room(module), set())
    )


def circle(arrows):
    """The modules of a circle, in order, or None."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return None
        path.append(module)
        found = next(filter(None, map(visit, sorted(arrows[module]))), None)
        path.pop()
        done.add(module)
        return found

    return next(filter(None, map(visit, arrows)), None)


def test_every_room_has_its_place():
    assert {room(module) for module in FILES} - {""} == set(BELOW)


def test_arrows_point_down():
    assert upward(ARROWS) == []


def test_there_is_no_circle():
    assert circle(ARROWS) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("data.entries", "training.loop"),
        ("vision.vae", "checks.register"),
        ("checks.checking", "exercises.vae"),
        ("display.figures", "course.session"),
        ("book.execute", "vision.vae"),
    ],
)
def test_an_arrow_up_is_seen(one, other):
    one, other = f"genai_utils.{one}", f"genai_utils.{other}"
    assert upward(ARROWS | {one: {other}}) == [f"{one} -> {other}"]


def test_a_circle_is_seen():
    one, other = "genai_utils.vision.vae", "genai_utils.vision.autoencoder"
    assert other in ARROWS[one]
    found = circle(ARROWS | {other: ARROWS[other] | {one}})
    assert found and {one, other} <= set(found)


LARGE = {"gensim", "networkx", "qdrant_client", "sklearn", "transformers"}


def test_a_large_library_is_imported_where_it_is_used():
    """Not with a module: a chapter that needs none of them does not wait for them."""
    found = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            if large := {name.split(".")[0] for name in names} & LARGE:
                found[module] = large
    assert found == {}


def test_the_first_import_of_a_notebook_brings_nothing_with_it():
    code = (
        "import sys, genai_utils.course; print(*{'torch', 'numpy', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "\n", done.stdout + done.stderr
